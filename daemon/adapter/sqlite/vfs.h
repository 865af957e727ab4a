/*
 * A thin layer between SQLite and the files: counts syncs, remembers the first one that failed,
 * and lets tests fail the n-th write or sync.
 *
 * A sync that failed once may have dropped the dirty pages, and the next one would say "done"
 * about data that never reached the disk; so the store stops trusting the file.
 *
 * Life: init, opens with `name` as the VFS, all closed, deinit. Counters are atomic; any thread.
 */
#ifndef PAWL_ADAPTER_SQLITE_VFS_H
#define PAWL_ADAPTER_SQLITE_VFS_H

#include "adapter/sqlite/fault.h"
#include "core/status.h"

#include <sqlite3.h>
#include <stdatomic.h>

struct pawl_vfs {
    char name[40]; /* for sqlite3_open_v2() */
    _Atomic uint64_t syncs;
    _Atomic uint64_t writes;
    _Atomic bool sync_failed; /* since init; never cleared */
    _Atomic int os_code;      /* errno of the last failure */
    pawl_vfs_fault fault;     /* tests only, else NULL */
    void *fault_data;
    /* private */
    sqlite3_vfs *real;
    sqlite3_vfs vfs;
};

/** Register under a name of its own. @vfs must not move. PAWL_OK or PAWL_ENOMEM. */
PAWL_MUST_USE enum pawl_status pawl_vfs_init(struct pawl_vfs *vfs);

void pawl_vfs_deinit(struct pawl_vfs *vfs);

#endif
