#include "adapter/sys/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

enum pawl_status pawl_region_map(struct pawl_region *region, size_t size, struct pawl_error *error)
{
    *region = (struct pawl_region){ .fd = -1 };
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (data == MAP_FAILED) {
        return pawl_error_set(error, PAWL_ENOMEM, errno, "%zu bytes of memory: %s", size,
                              strerror(errno));
    }
    (void)madvise(data, size, MADV_DONTDUMP); /* tables have no place in a core file */
    /* Over millions of keys a record costs a page walk besides its own miss: a third of the time.
     */
    (void)madvise(data, size, MADV_HUGEPAGE);
    region->data = data;
    region->size = size;
    return PAWL_OK;
}

enum pawl_status pawl_region_map_shared(struct pawl_region *region, const char *name, size_t size,
                                        struct pawl_error *error)
{
    *region = (struct pawl_region){ .fd = -1 };
    void *data = MAP_FAILED;
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 && fchmod(fd, 0400) == 0 && ftruncate(fd, (off_t)size) == 0) {
        data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    }
    if (data == MAP_FAILED ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        int saved = errno;

        if (data != MAP_FAILED) {
            (void)munmap(data, size);
        }
        if (fd >= 0) {
            (void)close(fd);
        }
        return pawl_error_set(error, saved == ENOMEM ? PAWL_ENOMEM : PAWL_EIO, saved,
                              "%zu bytes of shared memory \"%s\": %s", size, name, strerror(saved));
    }
    (void)madvise(data, size, MADV_DONTDUMP);
    *region = (struct pawl_region){ .data = data, .size = size, .fd = fd };
    return PAWL_OK;
}

int pawl_region_reader_fd(const struct pawl_region *region)
{
    char path[40];

    if (region->fd < 0) {
        return -1;
    }
    /* A new open file description: the mode given here holds for whoever gets it. */
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", region->fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

void pawl_region_release(void *ptr, size_t size)
{
    uintptr_t page = page_size();
    uintptr_t start = ((uintptr_t)ptr + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)ptr + size) & ~(page - 1);

    if (end > start) {
        (void)madvise((uint8_t *)ptr + (start - (uintptr_t)ptr), end - start, MADV_DONTNEED);
    }
}

bool pawl_region_punch(const struct pawl_region *region, size_t offset, size_t size)
{
    return region->fd >= 0 && fallocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                        (off_t)offset, (off_t)size) == 0;
}

void pawl_region_unmap(struct pawl_region *region)
{
    if (region->data != NULL) {
        (void)munmap(region->data, region->size);
    }
    if (region->fd >= 0) {
        (void)close(region->fd);
    }
    *region = (struct pawl_region){ .fd = -1 };
}
