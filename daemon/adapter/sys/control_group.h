/*
 * What the control groups of this process give it: of a container, or of a unit of the service
 * manager. Version 2 (cpu.max, memory.max), and version 1 where that is what the machine has.
 */
#ifndef PAWL_ADAPTER_SYS_CONTROL_GROUP_H
#define PAWL_ADAPTER_SYS_CONTROL_GROUP_H

#include <stdint.h>

struct pawl_control_group {
    uint32_t processors_milli; /* thousandths of one; 0: no limit */
    uint64_t memory_max_bytes; /* 0: no limit */
};

/**
 * Read the limits: the least of the own group and those above it that can be seen. What cannot be
 * read or understood is no limit. Before the sandbox, which closes these files. Cannot fail.
 *
 * @root  goes before all paths; NULL: none.
 */
void pawl_control_group_read(struct pawl_control_group *group, const char *root);

#endif
