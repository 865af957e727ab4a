#include "edge/poller.h"

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct pawl_poller *poller = poll->data;

    (void)status; /* errors show when the owner reads */
    (void)events;
    poller->watch.ready(poller->watch.ctx);
}

static void on_timer(uv_timer_t *timer)
{
    struct pawl_poller *poller = timer->data;

    poller->watch.ready(poller->watch.ctx);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct pawl_poller *poller = prepare->data;
    int timeout_ms = poller->watch.timeout_ms(poller->watch.ctx);

    if (timeout_ms < 0) {
        (void)uv_timer_stop(&poller->timer);
        return;
    }
    uv_update_time(prepare->loop); /* the turn may have taken long */
    (void)uv_timer_start(&poller->timer, on_timer, (uint64_t)timeout_ms, 0);
}

enum pawl_status pawl_poller_start(struct pawl_poller *poller, uv_loop_t *loop,
                                   const struct pawl_watch *watch)
{
    poller->watch = *watch;
    if (uv_poll_init(loop, &poller->poll, watch->fd) != 0) {
        return PAWL_EIO;
    }
    poller->poll.data = poller;
    poller->has_poll = true;
    (void)uv_timer_init(loop, &poller->timer);
    (void)uv_prepare_init(loop, &poller->prepare);
    poller->timer.data = poller;
    poller->prepare.data = poller;
    poller->has_rest = true;
    if (uv_poll_start(&poller->poll, UV_READABLE, on_poll) != 0) {
        return PAWL_EIO;
    }
    return uv_prepare_start(&poller->prepare, on_prepare) == 0 ? PAWL_OK : PAWL_EIO;
}

void pawl_poller_close(struct pawl_poller *poller)
{
    if (poller->has_poll) {
        poller->has_poll = false;
        uv_close((uv_handle_t *)&poller->poll, NULL);
    }
    if (poller->has_rest) {
        poller->has_rest = false;
        uv_close((uv_handle_t *)&poller->timer, NULL);
        uv_close((uv_handle_t *)&poller->prepare, NULL);
    }
}
