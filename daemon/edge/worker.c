#include "edge/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "edge/loop.h"
#include "edge/session.h"

#define SLOTS_FIRST 64
#define SLOT_NONE   UINT32_MAX
#define REVIEW_STEP 64 /* sessions judged anew between two turns */

static uint64_t boottime_ms(void)
{
    struct timespec now = { 0, 0 };

    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t pawl_worker_clock_ms(struct pawl_worker *worker)
{
    if (worker->clock_turn != worker->turn) {
        worker->clock_turn = worker->turn;
        worker->clock_ms = boottime_ms();
    }
    return worker->clock_ms;
}

uint64_t pawl_worker_batch_ms(const struct pawl_worker *worker)
{
    return worker->batch_ms;
}

bool pawl_log_gate_open(struct pawl_log_gate *gate, uint64_t now_ms, uint64_t *held)
{
    if (gate->used && now_ms - gate->last_ms < 1000) {
        gate->held++;
        return false;
    }
    *held = gate->held;
    gate->used = true;
    gate->held = 0;
    gate->last_ms = now_ms;
    return true;
}

/* ---- the table of sessions ---- */

static enum pawl_status slots_grow(struct pawl_worker *worker)
{
    uint32_t old = worker->slot_count;
    uint32_t count = old == 0 ? SLOTS_FIRST : old * 2; /* at most 2 x connections_max */
    struct pawl_slot *slots = pawl_edge_grow(worker->slots, count, sizeof(*slots));

    if (slots == NULL) {
        return PAWL_ENOMEM;
    }
    for (uint32_t i = old; i < count; i++) {
        slots[i].session = NULL;
        slots[i].generation = 1;
        slots[i].next_free = i + 1 < count ? i + 1 : SLOT_NONE;
    }
    worker->slots = slots;
    worker->slot_count = count;
    worker->slot_free = old;
    return PAWL_OK;
}

enum pawl_status pawl_worker_enter(struct pawl_worker *worker, struct pawl_session *session)
{
    struct pawl_slot *slot;

    if (worker->slot_free == SLOT_NONE && slots_grow(worker) != PAWL_OK) {
        return PAWL_ENOMEM;
    }
    session->ticket.index = worker->slot_free;
    slot = &worker->slots[worker->slot_free];
    worker->slot_free = slot->next_free;
    slot->session = session;
    session->ticket.generation = slot->generation;
    pawl_edge_stat_add(&worker->stats.sessions, 1);
    return PAWL_OK;
}

void pawl_worker_leave(struct pawl_worker *worker, struct pawl_session *session)
{
    struct pawl_slot *slot = &worker->slots[session->ticket.index];

    slot->session = NULL;
    slot->generation = slot->generation == UINT32_MAX ? 1 : slot->generation + 1;
    slot->next_free = worker->slot_free;
    worker->slot_free = session->ticket.index;
    pawl_edge_stat_add(&worker->stats.sessions, UINT64_MAX);
}

struct pawl_session *pawl_session_find(struct pawl_worker *worker, struct pawl_ticket ticket)
{
    const struct pawl_slot *slot;

    if (ticket.index >= worker->slot_count) {
        return NULL;
    }
    slot = &worker->slots[ticket.index];
    return slot->generation == ticket.generation ? slot->session : NULL;
}

/** @visit every session of the table; it may close them. */
static void each_session(struct pawl_worker *worker,
                         void (*visit)(struct pawl_session *session, uint64_t argument),
                         uint64_t argument)
{
    for (uint32_t i = 0; i < worker->slot_count; i++) {
        if (worker->slots[i].session != NULL) {
            visit(worker->slots[i].session, argument);
        }
    }
}

/* ---- end of a turn ---- */

void pawl_worker_mark(struct pawl_worker *worker, struct pawl_session *session)
{
    if (session->dirty) {
        return;
    }
    session->dirty = true;
    worker->dirty_count++;
    session->dirty_next = NULL;
    if (worker->dirty_last == NULL) {
        worker->dirty = session;
    } else {
        worker->dirty_last->dirty_next = session;
    }
    worker->dirty_last = session;
}

void pawl_worker_end_batch(struct pawl_worker *worker)
{
    if (worker->in_batch) {
        worker->in_batch = false;
        if (worker->edge->handler.on_batch_end != NULL) {
            worker->edge->handler.on_batch_end(worker->ctx);
        }
    }
}

void pawl_worker_bury(struct pawl_worker *worker, struct pawl_session *session)
{
    session->reap_next = worker->reap;
    worker->reap = session;
}

void pawl_worker_uncount(struct pawl_worker *worker)
{
    (void)atomic_fetch_sub(&worker->edge->connections, 1);
    (void)atomic_fetch_sub(&worker->assigned, 1);
}

void pawl_worker_step_dirty(struct pawl_worker *worker)
{
    while (worker->dirty != NULL) {
        struct pawl_session *session = worker->dirty;

        worker->dirty = session->dirty_next;
        if (worker->dirty == NULL) {
            worker->dirty_last = NULL;
        }
        session->dirty = false;
        worker->dirty_count--;
        pawl_session_step(session); /* does nothing to a closed one */
    }
}

static void reap(struct pawl_worker *worker)
{
    while (worker->reap != NULL) {
        struct pawl_session *session = worker->reap;

        worker->reap = session->reap_next;
        pawl_edge_free(session);
        pawl_worker_uncount(worker);
    }
}

/** Nothing here and nothing on its way here: report once and leave the loop. */
static void report_if_empty(struct pawl_worker *worker)
{
    struct pawl_edge *edge = worker->edge;

    if (worker->phase == PAWL_WORKER_SERVING || worker->reported ||
        atomic_load(&edge->accepting) > 0 || atomic_load(&worker->assigned) > 0) {
        return;
    }
    worker->reported = true;
    uv_stop(&worker->loop);
    (void)atomic_fetch_sub(&edge->running, 1);
    edge->on_empty(edge);
}

static void on_turn_end(uv_prepare_t *handle)
{
    struct pawl_worker *worker = handle->data;

    pawl_worker_settle(worker);
    pawl_worker_step_dirty(worker);
    reap(worker);
    atomic_store_explicit(&worker->stats.buffers_bytes, worker->pool.bytes, memory_order_relaxed);
    atomic_store_explicit(&worker->stats.buffers_peak_bytes, worker->pool.bytes_peak,
                          memory_order_relaxed);
    atomic_store_explicit(&worker->heartbeat_ms, boottime_ms(), memory_order_relaxed);
    worker->turn++;
    report_if_empty(worker);
}

/* ---- posts ---- */

void pawl_worker_post(struct pawl_worker *worker, struct pawl_post *post)
{
    struct pawl_post *head = atomic_load_explicit(&worker->posts, memory_order_relaxed);

    do {
        post->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&worker->posts, &head, post,
                                                    memory_order_release, memory_order_relaxed));
    if (head == NULL) { /* otherwise whoever came first has called */
        (void)uv_async_send(&worker->wake);
    }
}

/** Run all posts in the order they came. */
static void run_posts(struct pawl_worker *worker)
{
    struct pawl_post *newest = atomic_exchange_explicit(&worker->posts, NULL, memory_order_acquire);
    struct pawl_post *oldest = NULL;
    uint64_t count = 0;

    while (newest != NULL) {
        struct pawl_post *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct pawl_post *post = oldest;

        oldest = post->next; /* before run: it may free the post */
        post->run(post, worker);
        count++;
    }
    pawl_edge_stat_add(&worker->stats.posts, count);
}

static void on_wake(uv_async_t *handle)
{
    struct pawl_worker *worker = handle->data;

    pawl_worker_settle(worker); /* what was read before a drain began is answered */
    run_posts(worker);
    pawl_worker_step_dirty(worker);
}

/* ---- guards ---- */

void pawl_worker_set_guard(struct pawl_worker *worker, struct pawl_guard *guard)
{
    pawl_guard_unref(worker->guard);
    worker->guard = pawl_guard_ref(guard);
    worker->guard_serial++;
}

/** A chain of certificates takes a tenth of a millisecond to judge: some, then everybody's turn. */
static void run_review(struct pawl_post *post, struct pawl_worker *worker)
{
    uint32_t end = worker->slot_count - worker->review_next < REVIEW_STEP
                       ? worker->slot_count
                       : worker->review_next + REVIEW_STEP;

    while (worker->review_next < end) {
        struct pawl_session *session = worker->slots[worker->review_next++].session;

        if (session != NULL) {
            pawl_session_review(session);
        }
    }
    worker->reviewing = worker->review_next < worker->slot_count;
    if (worker->reviewing) {
        pawl_worker_post(worker, post);
    }
}

static void run_order(struct pawl_post *post, struct pawl_worker *worker)
{
    struct pawl_guard *guard = atomic_exchange(&worker->next_guard, NULL);

    (void)post;
    pawl_worker_set_guard(worker, guard);
    pawl_guard_unref(guard);
    worker->review_next = 0;
    if (!worker->reviewing) {
        worker->reviewing = true;
        pawl_worker_post(worker, &worker->review_post);
    }
}

void pawl_worker_order_guard(struct pawl_worker *worker, struct pawl_guard *guard)
{
    struct pawl_guard *before = atomic_exchange(&worker->next_guard, pawl_guard_ref(guard));

    if (before == NULL) {
        pawl_worker_post(worker, &worker->guard_post);
    }
    pawl_guard_unref(before);
}

/* ---- drain ---- */

static void stop_accepting(struct pawl_worker *worker)
{
    if (!worker->accepting) {
        return;
    }
    for (unsigned i = 0; i < worker->edge->listener_count; i++) {
        pawl_acceptor_close(&worker->acceptors[i]);
    }
    worker->accepting = false;
    (void)atomic_fetch_sub(&worker->edge->accepting, 1);
}

static void visit_drain(struct pawl_session *session, uint64_t argument)
{
    (void)argument;
    pawl_session_drain(session);
    pawl_session_step(session);
}

static void visit_check(struct pawl_session *session, uint64_t quiet_ms)
{
    pawl_session_drain_check(session, quiet_ms);
}

static void visit_close(struct pawl_session *session, uint64_t argument)
{
    (void)argument;
    pawl_session_close(session);
}

static void run_drain(struct pawl_post *post, struct pawl_worker *worker)
{
    (void)post;
    if (worker->phase != PAWL_WORKER_SERVING) {
        return;
    }
    for (unsigned i = 0; i < worker->edge->listener_count; i++) {
        pawl_acceptor_empty(&worker->acceptors[i]); /* who connected in time is served */
    }
    stop_accepting(worker);
    worker->phase = PAWL_WORKER_DRAINING;
    worker->drain_ms = uv_now(&worker->loop);
    each_session(worker, visit_drain, 0);
}

static void run_halt(struct pawl_post *post, struct pawl_worker *worker)
{
    (void)post;
    stop_accepting(worker);
    worker->phase = PAWL_WORKER_HALTING;
    each_session(worker, visit_close, 0);
}

static void check_drain(struct pawl_worker *worker)
{
    uint64_t drain_timeout_ms = worker->edge->options.drain_timeout_ms;
    uint64_t past_ms = uv_now(&worker->loop) - worker->drain_ms;

    if (past_ms < drain_timeout_ms / 2) {
        each_session(worker, visit_check, PAWL_DRAIN_QUIET_MS);
    } else if (past_ms < drain_timeout_ms) {
        each_session(worker, visit_check, 0);
    } else if (pawl_edge_stat_get(&worker->stats.sessions) > 0) {
        atomic_store(&worker->edge->cut, true);
        each_session(worker, visit_close, 0);
    }
}

void pawl_worker_drain(struct pawl_worker *worker)
{
    pawl_worker_post(worker, &worker->drain_post);
}

void pawl_worker_halt(struct pawl_worker *worker)
{
    pawl_worker_post(worker, &worker->halt_post);
}

/* ---- the tick ---- */

/** A quarter of the shortest timeout, so that none runs over by more than that. */
static uint64_t tick_ms(const struct pawl_server_options *options)
{
    uint64_t shortest = (uint64_t)PAWL_WORKER_TICK_MS * 4;
    const uint64_t timeouts[] = { options->frame_timeout_ms, options->write_timeout_ms,
                                  options->drain_timeout_ms, options->idle_timeout_ms };

    for (size_t i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++) {
        if (timeouts[i] > 0 && timeouts[i] < shortest) {
            shortest = timeouts[i];
        }
    }
    return shortest / 4 > 5 ? shortest / 4 : 5;
}

static void on_tick(uv_timer_t *handle)
{
    struct pawl_worker *worker = handle->data;
    uint64_t now_ms = uv_now(&worker->loop);
    uint64_t gap_ms = now_ms - worker->tick_ms;

    pawl_worker_settle(worker);
    worker->tick_ms = now_ms;
    for (unsigned i = 0; i < worker->edge->listener_count; i++) {
        pawl_acceptor_resume(&worker->acceptors[i]);
    }
    /* After the process or this loop stood still, what the peers did meanwhile still waits in the
     * kernel: read it before anybody is called slow. */
    if (gap_ms > 4 * uv_timer_get_repeat(handle) + 100) {
        return;
    }
    pawl_session_expire(worker);
    if (worker->phase == PAWL_WORKER_DRAINING) {
        check_drain(worker);
    }
}

/* ---- life ---- */

static enum pawl_status init_handles(struct pawl_worker *worker)
{
    uint64_t period_ms = tick_ms(&worker->edge->options);

    /* None of these can fail once the loop and its wake descriptor exist. */
    if (uv_async_init(&worker->loop, &worker->wake, on_wake) != 0) {
        return PAWL_EIO;
    }
    worker->wake.data = worker;
    (void)uv_prepare_init(&worker->loop, &worker->turn_end);
    worker->turn_end.data = worker;
    (void)uv_prepare_start(&worker->turn_end, on_turn_end);
    (void)uv_timer_init(&worker->loop, &worker->tick);
    worker->tick.data = worker;
    pawl_transport_hub_init(&worker->hub, &worker->loop, &worker->turn);
    worker->tick_ms = uv_now(&worker->loop);
    (void)uv_timer_start(&worker->tick, on_tick, period_ms, period_ms);
    return PAWL_OK;
}

static enum pawl_status open_acceptors(struct pawl_worker *worker)
{
    for (unsigned i = 0; i < worker->edge->listener_count; i++) {
        if (pawl_acceptor_open(&worker->acceptors[i], worker, &worker->edge->listeners[i]) !=
            PAWL_OK) {
            return PAWL_EIO;
        }
    }
    worker->accepting = true;
    (void)atomic_fetch_add(&worker->edge->accepting, 1);
    return PAWL_OK;
}

static void close_if_open(uv_handle_t *handle)
{
    if (handle->data != NULL && !uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

/** Everything but the context; the thread is not running. */
static void close_loop(struct pawl_worker *worker)
{
    stop_accepting(worker);
    for (unsigned i = 0; i < worker->edge->listener_count; i++) {
        pawl_acceptor_close(&worker->acceptors[i]);
    }
    each_session(worker, visit_close, 0);
    close_if_open((uv_handle_t *)&worker->wake);
    close_if_open((uv_handle_t *)&worker->turn_end);
    close_if_open((uv_handle_t *)&worker->tick);
    pawl_transport_hub_close(&worker->hub);
    (void)uv_run(&worker->loop, UV_RUN_DEFAULT);
    reap(worker);
    (void)uv_loop_close(&worker->loop);
    if (worker->reserve_fd >= 0) {
        (void)close(worker->reserve_fd);
        worker->reserve_fd = -1;
    }
    pawl_buffer_pool_deinit(&worker->pool);
    pawl_edge_free(worker->slots);
    worker->slots = NULL;
    worker->slot_count = 0;
}

enum pawl_status pawl_worker_init(struct pawl_worker *worker, struct pawl_edge *edge,
                                  unsigned index, struct pawl_error *error)
{
    worker->edge = edge;
    worker->index = index;
    worker->slot_free = SLOT_NONE;
    worker->reserve_fd = -1;
    worker->drain_post.run = run_drain;
    worker->halt_post.run = run_halt;
    worker->guard_post.run = run_order;
    worker->review_post.run = run_review;
    worker->turn = 1;
    atomic_store(&worker->heartbeat_ms, boottime_ms());
    for (unsigned i = 0; i < PAWL_LISTEN_SOCKETS_MAX; i++) {
        worker->acceptors[i].fd = -1;
    }
    pawl_deadlines_init(&worker->frame);
    pawl_deadlines_init(&worker->write);
    pawl_deadlines_init(&worker->idle);
    pawl_deadlines_init(&worker->finish);
    pawl_deadlines_init(&worker->linger);
    pawl_deadlines_init(&worker->handshake);
    pawl_buffer_pool_init(&worker->pool, edge->options.buffers_max_bytes / edge->worker_count);
    if (pawl_loop_open(&worker->loop, edge->options.connections_max + PAWL_FDS_BESIDE) != PAWL_OK) {
        return pawl_error_set(error, PAWL_EIO, errno,
                              "worker %u: no event loop (descriptors or memory used up?)", index);
    }
    worker->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (worker->reserve_fd < 0 || init_handles(worker) != PAWL_OK ||
        open_acceptors(worker) != PAWL_OK) {
        enum pawl_status status =
            pawl_error_set(error, PAWL_EIO, errno, "worker %u: %s; raise the limit of open files",
                           index, strerror(errno));

        close_loop(worker);
        return status;
    }
    worker->ctx = edge->handler.worker_open(edge->handler.app, worker, index);
    if (worker->ctx == NULL) {
        close_loop(worker);
        return pawl_error_set(error, PAWL_EUNAVAIL, 0, "worker %u: no context for its requests",
                              index);
    }
    return PAWL_OK;
}

static void *run(void *data)
{
    struct pawl_worker *worker = data;

    (void)uv_run(&worker->loop, UV_RUN_DEFAULT);
    return NULL;
}

enum pawl_status pawl_worker_start(struct pawl_worker *worker)
{
    sigset_t all;
    sigset_t before;
    char name[16];
    int result;

    /* Signals are the main loop's. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    result = pthread_create(&worker->thread, NULL, run, worker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0) {
        return PAWL_EIO;
    }
    worker->started = true;
    (void)snprintf(name, sizeof(name), "pawl-edge-%u", worker->index % 1000);
    (void)pthread_setname_np(worker->thread, name);
    return PAWL_OK;
}

void pawl_worker_join(struct pawl_worker *worker)
{
    if (worker->started) {
        (void)pthread_join(worker->thread, NULL);
        worker->started = false;
    }
}

bool pawl_worker_finish(struct pawl_worker *worker)
{
    bool any = atomic_load_explicit(&worker->posts, memory_order_relaxed) != NULL;

    run_posts(worker);
    return any;
}

void pawl_worker_deinit(struct pawl_worker *worker)
{
    run_posts(worker);
    if (worker->ctx != NULL) {
        worker->edge->handler.worker_close(worker->ctx);
        worker->ctx = NULL;
    }
    close_loop(worker);
    pawl_guard_unref(worker->guard);
    worker->guard = NULL;
}
