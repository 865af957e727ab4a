/*
 * A preloaded library that takes memory from a daemon when a test says so: alloc_fault.h for a
 * whole process.
 *
 *   PAWL_SHIM_ALLOC  a file of one struct alloc_plan (four 64-bit numbers of this machine's byte
 *                    order: calls, first, length, failed), mapped shared, so that a test counts the
 *                    calls of a running daemon and says which are to fail
 *
 * Without it nothing fails.
 */
#include "alloc_fault.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Early, but behind the C library; the calls before it are the dynamic linker's. */
__attribute__((constructor)) static void map_plan(void)
{
    const char *path = getenv("PAWL_SHIM_ALLOC");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *plan;

    if (fd < 0) {
        return;
    }
    plan = mmap(NULL, sizeof(struct alloc_plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (plan != MAP_FAILED) {
        atomic_store_explicit(&alloc_plan_shared, (struct alloc_plan *)plan, memory_order_release);
    }
}
