/*
 * How tests make the disk refuse: asked before each write, sync and truncation of a database.
 */
#ifndef PAWL_ADAPTER_SQLITE_FAULT_H
#define PAWL_ADAPTER_SQLITE_FAULT_H

#include <stdbool.h>

enum pawl_vfs_op {
    PAWL_VFS_WRITE = 1,
    PAWL_VFS_SYNC = 2,
    PAWL_VFS_TRUNCATE = 3,
};

/**
 * Returns 0 to let the operation pass, or the errno it shall fail with (ENOSPC, EIO). Where it
 * sets *@short_write, half of the bytes are written first. On the thread that writes.
 */
typedef int (*pawl_vfs_fault)(void *data, enum pawl_vfs_op op, bool *short_write);

#endif
