#include "adapter/sys/zoneinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_name_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '+' || byte == '-' || byte == '_';
}

/* No dot at all, so no "..": names of zones have none. */
static bool is_zone_name(const char *name)
{
    size_t size = strnlen(name, PAWL_ZONE_NAME_MAX + 1);

    if (size == 0 || size > PAWL_ZONE_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        bool slash_between =
            name[i] == '/' && i > 0 && i + 1 < size && name[i - 1] != '/' && name[i + 1] != '/';

        if (!is_name_byte(name[i]) && !slash_between) {
            return false;
        }
    }
    return true;
}

static enum pawl_status read_whole(int fd, const char *path, uint8_t *out, size_t capacity,
                                   size_t *size, struct pawl_error *error)
{
    struct stat info;

    *size = 0;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "%s is no file of a time zone; write one as Europe/Vienna", path);
    }
    for (;;) {
        ssize_t got = read(fd, out + *size, capacity - *size);

        if (got == 0) {
            return PAWL_OK;
        }
        if (got < 0 && errno != EINTR) {
            return pawl_error_set(error, PAWL_EIO, errno, "%s: %s", path, strerror(errno));
        }
        *size += got > 0 ? (size_t)got : 0;
        if (*size == capacity) {
            return pawl_error_set(error, PAWL_ETOOBIG, 0,
                                  "%s is longer than any time zone: %zu bytes are read at most",
                                  path, capacity);
        }
    }
}

static enum pawl_status read_zone(void *self, const char *name, uint8_t *out, size_t capacity,
                                  size_t *size, struct pawl_error *error)
{
    const char *folder = self;
    char path[PATH_MAX];

    if (!is_zone_name(name)) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "'%.64s' is no name of a time zone; write one as Europe/Vienna, or "
                              "UTC",
                              name);
    }
    (void)snprintf(path, sizeof(path), "%.3000s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0) {
        return pawl_error_set(error, errno == ENOENT || errno == ENOTDIR ? PAWL_ENOENT : PAWL_EIO,
                              errno,
                              "no time zone '%s': %s: %s; look at its spelling, and whether the "
                              "package tzdata is installed",
                              name, path, strerror(errno));
    }
    enum pawl_status status = read_whole(fd, path, out, capacity, size, error);

    (void)close(fd);
    return status;
}

void pawl_zoneinfo_init(struct pawl_zones *zones, const char *folder)
{
    zones->read = read_zone;
    zones->self = (void *)(uintptr_t)(folder != NULL ? folder : PAWL_ZONEINFO_FOLDER);
}
