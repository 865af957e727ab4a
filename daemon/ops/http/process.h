/*
 * What the kernel says of this process, for the metrics that every exporter has. The files are
 * opened once: after the start a sandbox may forbid opening more.
 *
 * Life: open -> read, any number of times, one thread -> close.
 */
#ifndef PAWL_OPS_HTTP_PROCESS_H
#define PAWL_OPS_HTTP_PROCESS_H

#include <dirent.h>
#include <stdint.h>

struct pawl_process {
    uint64_t cpu_ms;
    uint64_t resident_bytes, virtual_bytes;
    uint64_t start_ms; /* since 1970: when this was opened */
    uint64_t fds, fds_max;
    uint64_t threads;
};

/** Fields are private. */
struct pawl_process_reader {
    int stat_fd; /* -1 = could not be opened */
    DIR *fds;    /* NULL likewise */
    uint64_t start_ms;
};

/** Open what is read. What cannot be opened reads as 0. */
void pawl_process_open(struct pawl_process_reader *reader);

void pawl_process_read(struct pawl_process_reader *reader, struct pawl_process *process);

void pawl_process_close(struct pawl_process_reader *reader);

#endif
