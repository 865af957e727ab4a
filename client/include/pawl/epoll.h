/*
 * A pawl handle in an epoll loop. Header only.
 *
 *     struct pawl_epoll pawl;
 *
 *     pawl_epoll_start(&pawl, epoll_fd, client, tag);      // tag: your epoll_data.ptr for it
 *     for (;;) {
 *         int n = epoll_wait(epoll_fd, events, max, pawl_epoll_timeout(&pawl, your_timeout_ms));
 *         ... your events; nothing special for those with the tag ...
 *         if (pawl_epoll_turn(&pawl) < 0) { ... }          // once per loop, after the events
 *     }
 *     pawl_epoll_stop(&pawl);                              // before pawl_client_destroy()
 *
 * What is submitted between two turns leaves in one write. The handle's descriptor stays the same
 * over reconnects; after a fork it is another one, which pawl_epoll_turn() notices (make a new
 * epoll instance in the child before: an epoll set is shared with the parent).
 *
 * Everything belongs to the thread of the loop.
 */
#ifndef PAWL_EPOLL_H
#define PAWL_EPOLL_H

#include <pawl/pawl.h>

#include <errno.h>
#include <sys/epoll.h>

struct pawl_epoll {
    struct pawl_client *client;
    int epoll_fd;
    int fd; /* of the handle, as registered; -1: not */
    void *tag;
};

/** Register the handle's descriptor if it is not yet, or is another one. 0, or -1 with errno. */
static inline int pawl_epoll_register(struct pawl_epoll *pawl)
{
    struct epoll_event event;
    int fd = pawl_client_fd(pawl->client);

    if (fd == pawl->fd && fd >= 0) {
        return 0;
    }
    memset(&event, 0, sizeof(event));
    event.events = EPOLLIN;
    event.data.ptr = pawl->tag;
    if (fd < 0 || (epoll_ctl(pawl->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0 && errno != EEXIST)) {
        return -1;
    }
    pawl->fd = fd;
    return 0;
}

/** Begin. @client and @epoll_fd are kept until pawl_epoll_stop(). 0, or -1 with errno. */
static inline int pawl_epoll_start(struct pawl_epoll *pawl, int epoll_fd,
                                   struct pawl_client *client, void *tag)
{
    pawl->client = client;
    pawl->epoll_fd = epoll_fd;
    pawl->fd = -1;
    pawl->tag = tag;
    return pawl_epoll_register(pawl);
}

/** The time to give to epoll_wait(): the handle's next deadline or @timeout_ms (-1: none). */
static inline int pawl_epoll_timeout(struct pawl_epoll *pawl, int timeout_ms)
{
    int ours_ms = pawl_client_timeout_ms(pawl->client);

    return ours_ms >= 0 && (timeout_ms < 0 || ours_ms < timeout_ms) ? ours_ms : timeout_ms;
}

/** Send, receive, call back. Returns callbacks called, or a negative enum pawl_rc. */
static inline int pawl_epoll_turn(struct pawl_epoll *pawl)
{
    int count = pawl_client_process(pawl->client, EPOLLIN);

    if (count != PAWL_RC_CANCELED && pawl_epoll_register(pawl) != 0) {
        return PAWL_RC_NOMEM;
    }
    return count;
}

static inline void pawl_epoll_stop(struct pawl_epoll *pawl)
{
    if (pawl->fd >= 0) {
        (void)epoll_ctl(pawl->epoll_fd, EPOLL_CTL_DEL, pawl->fd, NULL);
    }
    pawl->fd = -1;
}

#endif
