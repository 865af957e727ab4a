/*
 * The mark: 64 bytes beside the database that say which store is here and how many of its
 * transactions are known to be on disk. Written (not synced) after each commit and before its
 * answers go out. So a database that was emptied, deleted, replaced by an older copy, or cut at
 * its end is told from a fresh one, and after a crash of the process alone even the last
 * acknowledged transaction is accounted for. After a power cut the mark may be older than the
 * database, which says nothing.
 *
 * One thread at a time.
 */
#ifndef PAWL_ADAPTER_SQLITE_MARK_H
#define PAWL_ADAPTER_SQLITE_MARK_H

#include "adapter/sqlite/state.h"

#define PAWL_MARK_FILE "mark"

struct pawl_mark {
    uint8_t birth[PAWL_BIRTH_BYTES];
    uint64_t commits;
};

/**
 * Read the mark in @dir_fd. PAWL_OK; PAWL_ENOENT; PAWL_ESECRET; PAWL_EVERSION; PAWL_ECORRUPT;
 * PAWL_EIO. @mark is all zero unless PAWL_OK.
 */
PAWL_MUST_USE enum pawl_status pawl_mark_read(int dir_fd, const struct pawl_store_keys *keys,
                                              unsigned keys_count, struct pawl_mark *mark);

/** Open the file for writing, made if need be (mode 0600): its descriptor, or -1 and errno. */
int pawl_mark_open(int dir_fd);

/** Write @mark to @fd in one go. PAWL_OK or PAWL_EIO. */
PAWL_MUST_USE enum pawl_status pawl_mark_write(int fd, const struct pawl_store_keys *keys,
                                               const struct pawl_mark *mark);

#endif
