#include "adapter/sys/data_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASIDE_TRIES 100
#define ASIDE_BYTES 256

static enum pawl_status check_owner(int fd, const char *path, struct pawl_error *error)
{
    struct stat info;

    if (fstat(fd, &info) != 0) {
        return pawl_error_set(error, PAWL_EIO, errno, "data_dir %s: %s", path, strerror(errno));
    }
    if (info.st_uid != geteuid()) {
        return pawl_error_set(error, PAWL_EPERM, 0,
                              "data_dir %s belongs to user %u, this process is user %u: change its "
                              "owner or choose another directory",
                              path, (unsigned)info.st_uid, (unsigned)geteuid());
    }
    if ((info.st_mode & 077) != 0 && fchmod(fd, 0700) != 0) {
        return pawl_error_set(error, PAWL_EPERM, errno, "data_dir %s: cannot be made 0700: %s",
                              path, strerror(errno));
    }
    return PAWL_OK;
}

static enum pawl_status refuse_busy(int lock_fd, const char *path, struct pawl_error *error)
{
    char pid[24] = { 0 };
    ssize_t size = pread(lock_fd, pid, sizeof(pid) - 1, 0);

    pid[size > 0 ? size : 0] = '\0';
    pid[strcspn(pid, "\n")] = '\0';
    return pawl_error_set(error, PAWL_EBUSY, 0,
                          "data_dir %s is in use by another pawld (process %s): stop it or choose "
                          "another directory",
                          path, pid[0] != '\0' ? pid : "unknown");
}

static enum pawl_status take_lock(struct pawl_data_dir *dir, const char *path,
                                  struct pawl_error *error)
{
    char pid[24];

    dir->lock_fd =
        openat(dir->fd, PAWL_DATA_DIR_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (dir->lock_fd < 0) {
        return pawl_error_set(error, PAWL_EIO, errno, "%s/%s cannot be written: %s", path,
                              PAWL_DATA_DIR_LOCK, strerror(errno));
    }
    if (flock(dir->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return refuse_busy(dir->lock_fd, path, error);
    }
    int size = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());

    /* Only a help for people; a full disk must not keep the limits from starting. */
    if (ftruncate(dir->lock_fd, 0) != 0 || pwrite(dir->lock_fd, pid, (size_t)size, 0) != size) {
        pid[0] = '\0';
    }
    return PAWL_OK;
}

enum pawl_status pawl_data_dir_open(struct pawl_data_dir *dir, const char *path,
                                    struct pawl_error *error)
{
    dir->fd = -1;
    dir->lock_fd = -1;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return pawl_error_set(error, PAWL_EIO, errno, "data_dir %s cannot be made: %s%s", path,
                              strerror(errno),
                              errno == ENOENT ? "; make its folder, mount its disk, or choose "
                                                "another directory"
                                              : "");
    }
    dir->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir->fd < 0 || realpath(path, dir->path) == NULL) {
        enum pawl_status status =
            pawl_error_set(error, PAWL_EIO, errno, "data_dir %s: %s", path, strerror(errno));

        pawl_data_dir_close(dir);
        return status;
    }
    enum pawl_status status = check_owner(dir->fd, path, error);

    if (status == PAWL_OK) {
        status = take_lock(dir, path, error);
    }
    if (status != PAWL_OK) {
        pawl_data_dir_close(dir);
    }
    return status;
}

static enum pawl_status make_one(const char *path, unsigned mode, struct pawl_error *error)
{
    struct stat info;

    /* Looked at first: above what is ours a mkdir may be refused where the directory is there. */
    if (stat(path, &info) == 0) {
        return S_ISDIR(info.st_mode)
                   ? PAWL_OK
                   : pawl_error_set(error, PAWL_EIO, ENOTDIR, "%s is no directory", path);
    }
    if ((mkdir(path, mode) != 0 && errno != EEXIST) || chmod(path, mode) != 0) {
        return pawl_error_set(error, errno == EACCES || errno == EPERM ? PAWL_EPERM : PAWL_EIO,
                              errno, "directory %s cannot be made: %s", path, strerror(errno));
    }
    return PAWL_OK;
}

enum pawl_status pawl_dir_make(const char *path, unsigned mode, struct pawl_error *error)
{
    char part[PATH_MAX];
    size_t size = strlen(path);
    enum pawl_status status = PAWL_OK;

    if (size >= sizeof(part)) {
        return pawl_error_set(error, PAWL_EIO, ENAMETOOLONG, "directory %.80s...: name too long",
                              path);
    }
    for (size_t i = 1; i <= size && status == PAWL_OK; i++) {
        if (path[i] == '/' || path[i] == '\0') {
            memcpy(part, path, i);
            part[i] = '\0';
            status = make_one(part, mode, error);
        }
    }
    return status;
}

void pawl_data_dir_close(struct pawl_data_dir *dir)
{
    if (dir->lock_fd > 0) {
        (void)close(dir->lock_fd); /* the lock goes with it */
    }
    if (dir->fd > 0) {
        (void)close(dir->fd);
    }
    dir->fd = -1;
    dir->lock_fd = -1;
}

enum pawl_status pawl_dir_sync(int dir_fd)
{
    return fsync(dir_fd) == 0 ? PAWL_OK : PAWL_EIO;
}

enum pawl_status pawl_dir_set_aside(int dir_fd, const char *name, int64_t unix_s, char *aside)
{
    char to[ASIDE_BYTES];

    for (unsigned i = 1; i <= ASIDE_TRIES; i++) {
        if (i == 1) {
            (void)snprintf(to, sizeof(to), "%s.bad-%" PRId64, name, unix_s);
        } else {
            (void)snprintf(to, sizeof(to), "%s.bad-%" PRId64 "-%u", name, unix_s, i);
        }
        if (renameat2(dir_fd, name, dir_fd, to, RENAME_NOREPLACE) == 0) {
            if (aside != NULL) {
                memcpy(aside, to, sizeof(to));
            }
            return PAWL_OK;
        }
        if (errno != EEXIST) {
            return errno == ENOENT ? PAWL_ENOENT : PAWL_EIO;
        }
    }
    return PAWL_EIO;
}
