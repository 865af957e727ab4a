/*
 * A look at a write-ahead log before SQLite opens it. SQLite takes the log up to the first frame
 * that does not check out and silently drops everything behind it: right for a torn last
 * transaction, wrong for damage in the middle. This tells the two apart. Pure over bytes; the
 * format is https://sqlite.org/fileformat2.html#walformat.
 */
#ifndef PAWL_ADAPTER_SQLITE_WALCHECK_H
#define PAWL_ADAPTER_SQLITE_WALCHECK_H

#include "core/status.h"

struct pawl_walcheck {
    uint64_t frames;       /* good ones from the start */
    uint64_t commits;      /* transactions that end among them */
    uint64_t bad_frame;    /* number of the first bad one, from 0; where damaged */
    uint64_t frames_after; /* frames of the same life of the log behind it */
};

/**
 * Check the @data of a log.
 *
 * Returns PAWL_OK: whole, empty, or with a tail that may be a torn last transaction;
 * PAWL_ECORRUPT: the header is damaged, or a frame is and a later transaction stands behind it,
 * which began only after that frame was on disk. @out is filled in both cases.
 *
 * Cannot be told: damage to the last transaction looks like a torn one. The store's mark does
 * tell, after a crash of the process alone (mark.h).
 */
PAWL_MUST_USE enum pawl_status pawl_walcheck(struct pawl_bytes data, struct pawl_walcheck *out);

/** The same for a file in @dir_fd; not there: PAWL_OK. PAWL_EIO, PAWL_ENOMEM where unreadable. */
PAWL_MUST_USE enum pawl_status pawl_walcheck_file(int dir_fd, const char *name,
                                                  struct pawl_walcheck *out,
                                                  struct pawl_error *error);

#endif
