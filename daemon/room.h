/*
 * The room that this process has on its machine, a part of main.c: processors and memory that its
 * control group grants, as a container or a unit of the service manager sets them.
 */
#ifndef PAWL_ROOM_H
#define PAWL_ROOM_H

#include "adapter/sys/control_group.h"
#include "ops/settings.h"
#include "port/log.h"

struct pawl_room {
    struct pawl_control_group group;
};

/** Look, before the sandbox; warn where the tables of @settings may grow beyond the memory. */
void pawl_room_open(struct pawl_room *room, const struct pawl_settings *settings,
                    const struct pawl_log *log);

/** Whole processors that more threads than would only be throttled on; 0: no limit. */
unsigned pawl_room_cores(const struct pawl_room *room);

#endif
