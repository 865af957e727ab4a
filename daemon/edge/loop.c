#include "edge/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "edge/buffer.h"

/* Taken before libuv asks, handed out if the system then refuses. Of the opening thread. */
static _Thread_local void *spare;
static _Thread_local size_t spare_bytes;

/*
 * The realloc of libuv. A block that is big enough stays: so a table that came from the spare is
 * its own next size too.
 */
static void *loop_grow(void *memory, size_t size)
{
    size_t before = memory == NULL ? 0 : malloc_usable_size(memory);
    void *grown = before >= size ? memory : pawl_edge_grow(memory, size, 1);

    if (grown == NULL && size <= spare_bytes) {
        grown = spare;
        spare = NULL;
        spare_bytes = 0;
        if (before > 0) {
            memcpy(grown, memory, before);
        }
        pawl_edge_free(memory);
    }
    return grown;
}

static void *loop_take(size_t size)
{
    return pawl_edge_grow(NULL, size, 1);
}

/* The numbers below @fds that the process can open. */
static unsigned fds_possible(unsigned fds)
{
    struct rlimit limit = { 0, 0 };

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < fds) {
        fds = (unsigned)limit.rlim_cur;
    }
    return fds;
}

/* As libuv rounds it: a power of two that holds @fds and two more. */
static size_t table_bytes(unsigned fds)
{
    size_t entries = 16;

    while (entries < (size_t)fds + 2) {
        entries *= 2;
    }
    return entries * sizeof(void *);
}

/* Watch the highest number for a moment: the table is then as long as it will ever be. */
static void stretch_table(uv_loop_t *loop, unsigned fds)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int highest = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, (int)fds - 1);
    uv_poll_t poll;

    if (highest >= 0 && uv_poll_init(loop, &poll, highest) == 0) {
        (void)uv_poll_start(&poll, UV_READABLE, NULL);
        (void)uv_poll_stop(&poll);
        uv_close((uv_handle_t *)&poll, NULL);
        (void)uv_run(loop, UV_RUN_NOWAIT); /* nothing else is in it */
    }
    if (highest >= 0) {
        (void)close(highest);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

enum pawl_status pawl_loop_open(uv_loop_t *loop, unsigned fds)
{
    unsigned possible = fds_possible(fds);
    size_t bytes = table_bytes(possible);
    int result;

    /* The same memory as before, so it does not matter who used libuv first. */
    (void)uv_replace_allocator(loop_take, loop_grow, pawl_edge_alloc, pawl_edge_free);
    spare = pawl_edge_alloc(1, bytes);
    if (spare == NULL) {
        errno = ENOMEM;
        return PAWL_ENOMEM;
    }
    spare_bytes = bytes;
    result = uv_loop_init(loop);
    if (result == 0) {
        stretch_table(loop, possible);
    }
    pawl_edge_free(spare);
    spare = NULL;
    spare_bytes = 0;
    if (result != 0) {
        errno = -result;
        return result == UV_ENOMEM ? PAWL_ENOMEM : PAWL_EIO;
    }
    return PAWL_OK;
}
