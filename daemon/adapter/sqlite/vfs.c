#include "adapter/sqlite/vfs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct shim_file {
    sqlite3_file base;
    struct pawl_vfs *vfs;
    sqlite3_file *real; /* right behind this struct */
};

static struct shim_file *shim(sqlite3_file *file)
{
    return (struct shim_file *)file;
}

static sqlite3_file *real(sqlite3_file *file)
{
    return shim(file)->real;
}

/* Whether a test wants this operation to fail: the errno, or 0. */
static int fault(struct pawl_vfs *vfs, enum pawl_vfs_op op, bool *short_write)
{
    *short_write = false;
    int code = vfs->fault != NULL ? vfs->fault(vfs->fault_data, op, short_write) : 0;

    if (code != 0) {
        atomic_store(&vfs->os_code, code);
    }
    return code;
}

static int note(struct pawl_vfs *vfs, int rc)
{
    if (rc != SQLITE_OK) {
        atomic_store(&vfs->os_code, errno);
    }
    return rc;
}

static int shim_close(sqlite3_file *file)
{
    return real(file)->pMethods != NULL ? real(file)->pMethods->xClose(real(file)) : SQLITE_OK;
}

static int shim_read(sqlite3_file *file, void *out, int size, sqlite3_int64 offset)
{
    return real(file)->pMethods->xRead(real(file), out, size, offset);
}

static int shim_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    struct pawl_vfs *vfs = shim(file)->vfs;
    bool short_write;
    int code = fault(vfs, PAWL_VFS_WRITE, &short_write);

    atomic_fetch_add_explicit(&vfs->writes, 1, memory_order_relaxed);
    if (code != 0) {
        if (short_write) {
            (void)real(file)->pMethods->xWrite(real(file), data, size / 2, offset);
        }
        return code == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    return note(vfs, real(file)->pMethods->xWrite(real(file), data, size, offset));
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct pawl_vfs *vfs = shim(file)->vfs;
    bool short_write;

    if (fault(vfs, PAWL_VFS_TRUNCATE, &short_write) != 0) {
        return SQLITE_IOERR_TRUNCATE;
    }
    return note(vfs, real(file)->pMethods->xTruncate(real(file), size));
}

static int shim_sync(sqlite3_file *file, int flags)
{
    struct pawl_vfs *vfs = shim(file)->vfs;
    bool short_write;
    int rc = fault(vfs, PAWL_VFS_SYNC, &short_write) != 0
                 ? SQLITE_IOERR_FSYNC
                 : note(vfs, real(file)->pMethods->xSync(real(file), flags));

    atomic_fetch_add_explicit(&vfs->syncs, 1, memory_order_relaxed);
    if (rc != SQLITE_OK) {
        atomic_store(&vfs->sync_failed, true);
    }
    return rc;
}

static int shim_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real(file)->pMethods->xFileSize(real(file), size);
}

static int shim_lock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xLock(real(file), level);
}

static int shim_unlock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xUnlock(real(file), level);
}

static int shim_check_lock(sqlite3_file *file, int *out)
{
    return real(file)->pMethods->xCheckReservedLock(real(file), out);
}

static int shim_control(sqlite3_file *file, int op, void *arg)
{
    return real(file)->pMethods->xFileControl(real(file), op, arg);
}

static int shim_sector(sqlite3_file *file)
{
    return real(file)->pMethods->xSectorSize(real(file));
}

static int shim_traits(sqlite3_file *file)
{
    return real(file)->pMethods->xDeviceCharacteristics(real(file));
}

static int shim_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    return real(file)->pMethods->xShmMap(real(file), page, size, extend, out);
}

static int shim_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return real(file)->pMethods->xShmLock(real(file), offset, count, flags);
}

static void shim_shm_barrier(sqlite3_file *file)
{
    real(file)->pMethods->xShmBarrier(real(file));
}

static int shim_shm_unmap(sqlite3_file *file, int remove)
{
    return real(file)->pMethods->xShmUnmap(real(file), remove);
}

/* Version 2: shared memory for the WAL, but no mapping of the database (reads go by pread). */
static const sqlite3_io_methods shim_methods = {
    .iVersion = 2,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_check_lock,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector,
    .xDeviceCharacteristics = shim_traits,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
};

static int shim_open(sqlite3_vfs *base, const char *name, sqlite3_file *file, int flags, int *out)
{
    struct pawl_vfs *vfs = base->pAppData;

    *shim(file) = (struct shim_file){ .vfs = vfs, .real = (sqlite3_file *)(shim(file) + 1) };
    int rc = note(vfs, vfs->real->xOpen(vfs->real, name, real(file), flags, out));

    /* SQLite closes a file exactly when its methods are set. */
    file->pMethods = real(file)->pMethods != NULL ? &shim_methods : NULL;
    return rc;
}

enum pawl_status pawl_vfs_init(struct pawl_vfs *vfs)
{
    *vfs = (struct pawl_vfs){ .real = sqlite3_vfs_find(NULL) };
    if (vfs->real == NULL) {
        return PAWL_ENOMEM;
    }
    (void)snprintf(vfs->name, sizeof(vfs->name), "pawl-%p", (void *)vfs);
    /* All that is not about one file is the system's own, called with the system's own VFS. */
    vfs->vfs = *vfs->real;
    vfs->vfs.pNext = NULL;
    vfs->vfs.szOsFile = (int)sizeof(struct shim_file) + vfs->real->szOsFile;
    vfs->vfs.zName = vfs->name;
    vfs->vfs.pAppData = vfs;
    vfs->vfs.xOpen = shim_open;
    return sqlite3_vfs_register(&vfs->vfs, 0) == SQLITE_OK ? PAWL_OK : PAWL_ENOMEM;
}

void pawl_vfs_deinit(struct pawl_vfs *vfs)
{
    if (vfs->real != NULL) {
        (void)sqlite3_vfs_unregister(&vfs->vfs);
        vfs->real = NULL;
    }
}
