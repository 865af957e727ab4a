#include "adapter/sys/credential.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum pawl_status check_file(int fd, const char *path, struct pawl_error *error)
{
    struct stat info;

    if (fstat(fd, &info) != 0) {
        return pawl_error_set(error, PAWL_EIO, errno, "credential %s: %s", path, strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "credential %s is not a regular file", path);
    }
    /* A group may read it: that is how service managers hand secrets to a user. */
    if ((info.st_mode & (S_IWGRP | S_IRWXO)) != 0) {
        return pawl_error_set(
            error, PAWL_EPERM, 0,
            "credential %s has mode %04o, others may read or change it: chmod 0600 "
            "it, and replace it if it may have been read",
            path, (unsigned)info.st_mode & 07777);
    }
    return PAWL_OK;
}

/** All of the file, which has to end within the room; the bytes read, or -1. */
static ssize_t read_whole(int fd, uint8_t *out)
{
    size_t used = 0;

    while (used < PAWL_CREDENTIAL_FILE_BYTES_MAX) {
        ssize_t size = read(fd, out + used, PAWL_CREDENTIAL_FILE_BYTES_MAX - used);

        if (size == 0) {
            return (ssize_t)used;
        }
        if (size < 0 && errno != EINTR) {
            return -1;
        }
        used += size > 0 ? (size_t)size : 0;
    }
    errno = EFBIG;
    return -1;
}

enum pawl_status pawl_credential_read(const char *path, uint8_t *out, size_t *size,
                                      struct pawl_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    enum pawl_status status;
    ssize_t used;

    *size = 0;
    if (fd < 0) {
        return pawl_error_set(error,
                              errno == ENOENT   ? PAWL_ENOENT
                              : errno == EACCES ? PAWL_EPERM
                                                : PAWL_EIO,
                              errno, "credential %s: %s", path, strerror(errno));
    }
    status = check_file(fd, path, error);
    if (status == PAWL_OK) {
        used = read_whole(fd, out);
        if (used < 0) {
            status = pawl_error_set(error, errno == EFBIG ? PAWL_ETOOBIG : PAWL_EIO, errno,
                                    "credential %s: %s", path, strerror(errno));
        }
        while (used > 0 && (out[used - 1] == '\n' || out[used - 1] == '\r')) {
            used--;
        }
        *size = used > 0 ? (size_t)used : 0;
    }
    (void)close(fd);
    return status;
}
