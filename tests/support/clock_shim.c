/*
 * A preloaded library that gives a daemon another machine's clocks: the tests of restarts with a
 * wrong wall clock, and of reboots, without a hook in the daemon.
 *
 *   PAWL_SHIM_CLOCKS   a file of two 64-bit numbers of this machine's byte order, mapped shared so
 *                      that a test moves the clocks of a running daemon: nanoseconds added to
 *                      CLOCK_REALTIME, and to CLOCK_BOOTTIME
 *   PAWL_SHIM_BOOT_ID  a file that is read in place of the kernel's boot id
 *
 * Either may be missing. Any thread: the numbers are read with one aligned load each.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BOOT_ID   "/proc/sys/kernel/random/boot_id"
#define SECOND_NS 1000000000

static volatile const int64_t *offsets; /* [0] realtime, [1] boottime; NULL = none */

__attribute__((constructor)) static void map_clocks(void)
{
    const char *path = getenv("PAWL_SHIM_CLOCKS");
    long fd = path != NULL ? syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd >= 0) {
        void *memory = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, (int)fd, 0);

        offsets = memory != MAP_FAILED ? memory : NULL;
        (void)close((int)fd);
    }
}

static int64_t offset_of(clockid_t which)
{
    if (offsets == NULL) {
        return 0;
    }
    switch (which) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        return offsets[0];
    case CLOCK_BOOTTIME:
        return offsets[1];
    default:
        return 0;
    }
}

int clock_gettime(clockid_t which, struct timespec *out)
{
    long result = syscall(SYS_clock_gettime, which, out);
    int64_t offset_ns = result == 0 ? offset_of(which) : 0;

    if (offset_ns != 0) {
        int64_t ns = out->tv_nsec + offset_ns % SECOND_NS;

        out->tv_sec += offset_ns / SECOND_NS;
        out->tv_sec += ns < 0 ? -1 : ns / SECOND_NS;
        out->tv_nsec = ns < 0 ? ns + SECOND_NS : ns % SECOND_NS;
    }
    return (int)result;
}

static const char *redirected(const char *path)
{
    const char *other = getenv("PAWL_SHIM_BOOT_ID");

    return path != NULL && other != NULL && strcmp(path, BOOT_ID) == 0 ? other : path;
}

static int open_at(const char *path, int flags, va_list args)
{
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;

    return (int)syscall(SYS_openat, AT_FDCWD, redirected(path), flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    int fd = open_at(path, flags, args);

    va_end(args);
    return fd;
}

int open64(const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    int fd = open_at(path, flags, args);

    va_end(args);
    return fd;
}

/* What _FORTIFY_SOURCE makes of an open without a mode. */
int __open_2(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, redirected(path), flags);
}

int __open64_2(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, redirected(path), flags);
}
