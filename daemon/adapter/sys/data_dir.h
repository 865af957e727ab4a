/*
 * The directory that holds a node's state: pawl.db, counters, secret. Made 0700, owned by us,
 * and locked, so that two daemons never write the same files. Lives as long as the process.
 *
 * Names inside are given relative to `fd`, so that a rename of the directory does not split the
 * state in two. One thread at a time.
 */
#ifndef PAWL_ADAPTER_SYS_DATA_DIR_H
#define PAWL_ADAPTER_SYS_DATA_DIR_H

#include "core/status.h"

#include <limits.h>

#define PAWL_DATA_DIR_LOCK "lock"

struct pawl_data_dir {
    int fd;
    char path[PATH_MAX]; /* absolute */
    /* private */
    int lock_fd;
};

/**
 * Open @path, made with mode 0700 if it is not there (its parent has to be), narrowed to 0700 if
 * it is wider, and lock it. PAWL_EPERM: another owner; PAWL_EBUSY: another daemon has it (its
 * process id is in the text); PAWL_EIO. On failure nothing stays open.
 */
PAWL_MUST_USE enum pawl_status pawl_data_dir_open(struct pawl_data_dir *dir, const char *path,
                                                  struct pawl_error *error);

/**
 * Make the directory @path and the parents that are missing, all with @mode, whatever the umask;
 * what is there stays as it is. PAWL_EPERM, PAWL_EIO: which directory and why.
 */
PAWL_MUST_USE enum pawl_status pawl_dir_make(const char *path, unsigned mode,
                                             struct pawl_error *error);

/** Give up the lock and the directory. A closed or zeroed @dir is left alone. */
void pawl_data_dir_close(struct pawl_data_dir *dir);

/** Make names in the directory durable (fsync). PAWL_OK or PAWL_EIO. */
PAWL_MUST_USE enum pawl_status pawl_dir_sync(int dir_fd);

/**
 * Rename @name to "<name>.bad-<unix_s>" (with "-2", "-3", ... where that is taken: a file that was
 * set aside is never overwritten). The new name goes to @aside (256 bytes, may be NULL).
 * PAWL_OK, PAWL_ENOENT or PAWL_EIO.
 */
PAWL_MUST_USE enum pawl_status pawl_dir_set_aside(int dir_fd, const char *name, int64_t unix_s,
                                                  char *aside);

#endif
