/*
 * A thin layer between SQLite and the files: counts syncs, remembers the first one that failed,
 * and lets tests fail the n-th write or sync.
 *
 * A sync that failed once may have dropped the dirty pages, and the next one would say "done"
 * about data that never reached the disk; so the store stops trusting the file (CLUSTER D2).
 *
 * Life: init, opens with `name` as the VFS, all closed, deinit. Counters are atomic; any thread.
 */
#ifndef PAWL_ADAPTER_SQLITE_VFS_H
#define PAWL_ADAPTER_SQLITE_VFS_H

#include "core/status.h"

#include <sqlite3.h>
#include <stdatomic.h>

enum pawl_vfs_op {
    PAWL_VFS_WRITE = 1,
    PAWL_VFS_SYNC = 2,
    PAWL_VFS_TRUNCATE = 3,
};

struct pawl_vfs {
    char name[40]; /* for sqlite3_open_v2() */
    _Atomic uint64_t syncs;
    _Atomic uint64_t writes;
    _Atomic bool sync_failed; /* since init; never cleared */
    _Atomic int os_code;      /* errno of the last failure */
    /**
     * Tests only: asked before each operation. Returns 0 to let it pass, or the errno it shall
     * fail with (ENOSPC, EIO); with EIO and @short_write set by it, half of the bytes are written.
     */
    int (*fault)(void *data, enum pawl_vfs_op op, bool *short_write);
    void *fault_data;
    /* private */
    sqlite3_vfs *real;
    sqlite3_vfs vfs;
};

/** Register under a name of its own. @vfs must not move. PAWL_OK or PAWL_ENOMEM. */
PAWL_MUST_USE enum pawl_status pawl_vfs_init(struct pawl_vfs *vfs);

void pawl_vfs_deinit(struct pawl_vfs *vfs);

#endif
