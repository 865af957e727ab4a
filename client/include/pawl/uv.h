/*
 * A pawl handle in a libuv loop. Header only; link with libuv.
 *
 *     struct pawl_uv pawl;
 *
 *     pawl_uv_start(&pawl, loop, client);
 *     ... pawl_client_submit_check(client, ...) from anywhere on the loop's thread ...
 *     pawl_uv_stop(&pawl, on_stopped);   // the memory of `pawl` may go when on_stopped is called
 *
 * What is submitted during one turn of the loop leaves in one write before the loop sleeps.
 * Callbacks run on the loop's thread. The handles keep the loop alive until pawl_uv_stop(); destroy
 * the client in on_stopped or later, not inside a callback of its own.
 *
 * After a fork call uv_loop_fork() in the child as libuv demands, then submit: the adapter notices
 * the handle's new descriptor by itself.
 */
#ifndef PAWL_UV_H
#define PAWL_UV_H

#include <pawl/pawl.h>

#include <poll.h>
#include <uv.h>

struct pawl_uv {
    void *data; /* yours */
    /* ---- private ---- */
    struct pawl_client *client;
    uv_loop_t *loop;
    uv_poll_t poll;
    uv_timer_t timer;
    uv_prepare_t prepare;
    int fd;
    unsigned open; /* handles that libuv has not closed yet */
    bool stopping;
    bool moving; /* the poll handle is being closed because the descriptor changed */
    void (*on_stopped)(struct pawl_uv *pawl);
};

static inline void pawl_uv_on_poll(uv_poll_t *poll, int status, int events)
{
    struct pawl_uv *pawl = (struct pawl_uv *)poll->data;

    (void)status; /* errors show when the handle reads */
    (void)events;
    (void)pawl_client_process(pawl->client, POLLIN);
}

static inline void pawl_uv_on_timer(uv_timer_t *timer)
{
    struct pawl_uv *pawl = (struct pawl_uv *)timer->data;

    (void)pawl_client_process(pawl->client, 0);
}

static inline int pawl_uv_watch(struct pawl_uv *pawl)
{
    int rc = uv_poll_init(pawl->loop, &pawl->poll, pawl->fd);

    if (rc != 0) {
        return rc;
    }
    pawl->poll.data = pawl;
    pawl->open++;
    return uv_poll_start(&pawl->poll, UV_READABLE, pawl_uv_on_poll);
}

static inline void pawl_uv_on_close(uv_handle_t *handle)
{
    struct pawl_uv *pawl = (struct pawl_uv *)handle->data;

    pawl->open--;
    if (pawl->moving && handle == (uv_handle_t *)&pawl->poll) {
        pawl->moving = false;
        if (!pawl->stopping) {
            (void)pawl_uv_watch(pawl);
        }
    }
    if (pawl->stopping && pawl->open == 0 && pawl->on_stopped != NULL) {
        pawl->on_stopped(pawl);
    }
}

/* Before the loop sleeps: send what was submitted, set the alarm for the next deadline. */
static inline void pawl_uv_on_prepare(uv_prepare_t *prepare)
{
    struct pawl_uv *pawl = (struct pawl_uv *)prepare->data;
    int timeout_ms;
    int fd;

    pawl_client_flush(pawl->client);
    fd = pawl_client_fd(pawl->client);
    if (fd != pawl->fd && !pawl->moving) { /* forked */
        pawl->fd = fd;
        pawl->moving = true;
        uv_close((uv_handle_t *)&pawl->poll, pawl_uv_on_close);
    }
    timeout_ms = pawl_client_timeout_ms(pawl->client);
    if (timeout_ms < 0) {
        (void)uv_timer_stop(&pawl->timer);
    } else {
        uv_update_time(pawl->loop);
        (void)uv_timer_start(&pawl->timer, pawl_uv_on_timer, (uint64_t)timeout_ms, 0);
    }
}

/**
 * Begin. @pawl is the caller's until on_stopped; @loop and @client are kept. Returns 0 or a
 * negative code of libuv; then call pawl_uv_stop() all the same.
 */
static inline int pawl_uv_start(struct pawl_uv *pawl, uv_loop_t *loop, struct pawl_client *client)
{
    int rc;

    memset(pawl, 0, sizeof(*pawl));
    pawl->client = client;
    pawl->loop = loop;
    pawl->fd = pawl_client_fd(client);
    if (pawl->fd < 0) {
        return UV_EMFILE;
    }
    (void)uv_timer_init(loop, &pawl->timer);
    (void)uv_prepare_init(loop, &pawl->prepare);
    pawl->timer.data = pawl;
    pawl->prepare.data = pawl;
    pawl->open = 2;
    rc = pawl_uv_watch(pawl);
    if (rc == 0) {
        rc = uv_prepare_start(&pawl->prepare, pawl_uv_on_prepare);
    }
    return rc;
}

/** End; @on_stopped (may be NULL) is called from the loop when libuv has let go of everything. */
static inline void pawl_uv_stop(struct pawl_uv *pawl, void (*on_stopped)(struct pawl_uv *pawl))
{
    uv_handle_t *handles[3];

    handles[0] = (uv_handle_t *)&pawl->poll;
    handles[1] = (uv_handle_t *)&pawl->timer;
    handles[2] = (uv_handle_t *)&pawl->prepare;
    pawl->stopping = true;
    pawl->on_stopped = on_stopped;
    for (unsigned i = 0; i < 3; i++) {
        if (handles[i]->data != NULL && !uv_is_closing(handles[i])) {
            uv_close(handles[i], pawl_uv_on_close);
        }
    }
}

#endif
