#include "edge/dispatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/forward.h"
#include "edge/pending.h"
#include "edge/watch.h"

unsigned pawl_wire_status(enum pawl_status status)
{
    switch (status) {
    case PAWL_OK:
        return PAWL__V1__STATUS__STATUS_OK;
    case PAWL_EINVAL:
    case PAWL_ETOOBIG:
        return PAWL__V1__STATUS__STATUS_INVALID;
    case PAWL_EPERM:
        return PAWL__V1__STATUS__STATUS_DENIED;
    case PAWL_ENOENT:
        return PAWL__V1__STATUS__STATUS_NOT_FOUND;
    case PAWL_EFULL:
        return PAWL__V1__STATUS__STATUS_FULL;
    case PAWL_EFROZEN:
        return PAWL__V1__STATUS__STATUS_FROZEN;
    case PAWL_ETIMEDOUT:
        return PAWL__V1__STATUS__STATUS_LATE;
    default:
        return PAWL__V1__STATUS__STATUS_UNAVAILABLE;
    }
}

void pawl_reply_error(struct pawl_session *session, uint64_t id, unsigned status, const char *text)
{
    const struct pawl_wire_reply reply = {
        .id = id, .status = status, .error = pawl_bytes_of(text, strnlen(text, PAWL_ERROR_BYTES))
    };

    pawl_reply_hot(session, &reply);
}

void pawl_reply_perhaps(struct pawl_session *session, uint64_t id, const char *text)
{
    const struct pawl_wire_reply reply = {
        .id = id,
        .status = PAWL__V1__STATUS__STATUS_UNAVAILABLE,
        .error = pawl_bytes_of(text, strnlen(text, PAWL_ERROR_BYTES)),
        .effect_unknown = true,
    };

    pawl_reply_hot(session, &reply);
}

void pawl_dispatch_forbid(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const char *role)
{
    pawl_count(&dispatch->metrics->forbidden);
    pawl_audit_say_forbidden(dispatch, session, role);
    (void)snprintf(dispatch->error, sizeof(dispatch->error),
                   "this connection lacks the role %s in namespace \"%.*s\": see credentials, "
                   "tls.clients and listen in the settings",
                   role, (int)dispatch->ns.size, (const char *)dispatch->ns.data);
    pawl_reply_error(session, dispatch->request.id, PAWL__V1__STATUS__STATUS_DENIED,
                     dispatch->error);
}

/* The answer to a hello that came with the request goes with the reply. */
static Pawl__V1__Reply reply_whole(struct pawl_dispatch *dispatch, struct pawl_session *session,
                                   const Pawl__V1__Reply *reply, Pawl__V1__HelloReply *hello,
                                   Pawl__V1__Role *roles)
{
    Pawl__V1__Reply whole = *reply;
    struct pawl_session_state *state = pawl_session_user(session);

    if (PAWL_UNLIKELY(state->hello_owed && state->hello_id == reply->id)) {
        state->hello_owed = false;
        pawl_hello_fill(dispatch, session, hello, roles);
        whole.hello = hello;
    }
    return whole;
}

void pawl_reply_cold(struct pawl_dispatch *dispatch, struct pawl_session *session,
                     const Pawl__V1__Reply *reply)
{
    Pawl__V1__HelloReply hello;
    Pawl__V1__Role roles[PAWL_ROLES_MAX];
    Pawl__V1__Reply whole = reply_whole(dispatch, session, reply, &hello, roles);
    size_t size = pawl__v1__reply__get_packed_size(&whole);

    if (size > PAWL_REPLY_BYTES_MAX) {
        pawl_reply_error(session, reply->id, PAWL__V1__STATUS__STATUS_INVALID,
                         "the answer is longer than a frame may be; ask for less");
        return;
    }
    uint8_t *out = pawl_session_reserve(session, PAWL_FRAME_HEADER_BYTES + size);

    if (out != NULL) {
        pawl_session_commit(session,
                            pawl_cold_write_reply(out, PAWL_FRAME_HEADER_BYTES + size, &whole));
    }
}

size_t pawl_reply_cold_write(struct pawl_dispatch *dispatch, struct pawl_session *session,
                             const Pawl__V1__Reply *reply, uint8_t *out, size_t capacity)
{
    Pawl__V1__HelloReply hello;
    Pawl__V1__Role roles[PAWL_ROLES_MAX];
    Pawl__V1__Reply whole = reply_whole(dispatch, session, reply, &hello, roles);

    return pawl_cold_write_reply(out, capacity, &whole);
}

static void close_dispatch(struct pawl_dispatch *dispatch)
{
    pawl_watch_close(dispatch);
    pawl_pending_free_all(dispatch);
    if (dispatch->verifier != NULL) {
        dispatch->app->jwt.ops->close(dispatch->verifier);
    }
    pawl_rules_release(dispatch->rules);
    free(dispatch);
}

static void *worker_open(void *data, struct pawl_worker *worker, unsigned index)
{
    struct pawl_app *app = data;
    struct pawl_dispatch *dispatch = index < PAWL_WORKERS_MAX ? calloc(1, sizeof(*dispatch)) : NULL;

    if (dispatch == NULL) {
        return NULL;
    }
    dispatch->figures = pawl_observe_worker(app->observe, index);
    if (dispatch->figures == NULL) {
        free(dispatch);
        return NULL;
    }
    if (app->jwt.ops != NULL) {
        dispatch->verifier = app->jwt.ops->open(app->jwt.self);
        if (dispatch->verifier == NULL) {
            free(dispatch);
            return NULL;
        }
    }
    dispatch->app = app;
    dispatch->worker = worker;
    dispatch->metrics = &app->metrics[index];
    dispatch->index = index;
    pawl_watch_open(dispatch, index);
    dispatch->rules = pawl_rules_current(&app->rules, &dispatch->rules_version);
    dispatch->now = pawl_clock_read(app->clock);
    pawl_cold_arena_init(&dispatch->arena, dispatch->arena_memory, sizeof(dispatch->arena_memory));
    if (app->cluster != NULL) {
        dispatch->forward = pawl_forward_open(dispatch);
        if (dispatch->forward == NULL) {
            close_dispatch(dispatch);
            return NULL;
        }
    }
    return dispatch;
}

static void worker_close(void *ctx)
{
    struct pawl_dispatch *dispatch = ctx;

    pawl_forward_close(dispatch->forward);
    close_dispatch(dispatch);
}

static void on_batch(void *ctx)
{
    struct pawl_dispatch *dispatch = ctx;
    struct pawl_app *app = dispatch->app;

    dispatch->in_batch = true;
    dispatch->now = pawl_clock_read(app->clock);
    dispatch->batch_ns = dispatch->now.instant.ns; /* the test clock moves `now` meanwhile */
    dispatch->staleness_ms =
        pawl_revocations_staleness_ms(&app->revocations->view, dispatch->now.instant.ns / 1000000);
    if (PAWL_UNLIKELY(dispatch->rules_version !=
                      atomic_load_explicit(&app->rules.version, memory_order_acquire))) {
        pawl_rules_release(dispatch->rules);
        dispatch->rules = pawl_rules_current(&app->rules, &dispatch->rules_version);
        memset(dispatch->last_rules, 0, sizeof(dispatch->last_rules));
    }
    if (PAWL_UNLIKELY(dispatch->forward != NULL)) {
        pawl_forward_on_batch(dispatch->forward);
    }
}

/* The test clock: the request's time is everybody's time from now on. */
static bool take_request_time(struct pawl_dispatch *dispatch)
{
    const struct pawl_wire_request *request = &dispatch->request;

    if (request->now_ms == 0) {
        return true;
    }
    if (!dispatch->app->test_clock) {
        return false;
    }
    dispatch->app->set_clock(dispatch->app->clock->self, request->now_ms);
    dispatch->now = pawl_clock_read(dispatch->app->clock);
    dispatch->now.instant.ns = request->now_ms * 1000000;
    dispatch->now.wall.unix_s = (int64_t)(request->now_ms / 1000);
    dispatch->staleness_ms = 0; /* time jumps between two pulses here */
    return true;
}

/* The namespace of the request: its own, else that of the connection's hello, else "default". */
static void take_namespace(struct pawl_dispatch *dispatch, struct pawl_session *session)
{
    const struct pawl_session_state *state = pawl_session_user(session);

    if (dispatch->request.namespace_.size > 0) {
        dispatch->ns = dispatch->request.namespace_;
    } else if (state->ns_size > 0) {
        dispatch->ns = pawl_bytes_of(state->ns, state->ns_size);
    } else {
        dispatch->ns = pawl_bytes_of(PAWL_NS_DEFAULT, sizeof(PAWL_NS_DEFAULT) - 1);
    }
}

static bool is_late(struct pawl_dispatch *dispatch)
{
    uint32_t budget = dispatch->request.deadline_ms;
    struct pawl_instant now;

    if (budget == 0 || dispatch->app->test_clock) {
        return false;
    }
    now = dispatch->now.instant;
    return now.ns / 1000000 > pawl_worker_batch_ms(dispatch->worker) + budget;
}

static enum pawl_status refuse(struct pawl_dispatch *dispatch, struct pawl_session *session,
                               enum pawl_status status)
{
    pawl_count(&dispatch->metrics->invalid);
    pawl_reply_error(session, dispatch->request.id, PAWL__V1__STATUS__STATUS_INVALID,
                     status == PAWL_ETOOBIG
                         ? "a field or a count is over the caps of the protocol (caps.h)"
                         : "not a request of pawl.v1: close, and check the client's version");
    /* What is not protobuf at all may be anything: do not listen on. */
    return status == PAWL_ETOOBIG ? PAWL_OK : PAWL_EINVAL;
}

/* No common version, or no hello at all: the answer still names the version spoken here. */
static void refuse_hello(struct pawl_dispatch *dispatch, struct pawl_session *session)
{
    static const uint8_t version_one[] = { 0x08, 0x01 }; /* HelloReply{version: 1} */
    struct pawl_wire_reply reply = {
        .id = dispatch->request.id,
        .status = PAWL__V1__STATUS__STATUS_UNSUPPORTED,
        .error = pawl_bytes_of(dispatch->error, strnlen(dispatch->error, PAWL_ERROR_BYTES)),
        .hello = pawl_bytes_of(version_one, sizeof(version_one)),
    };
    uint8_t *out = pawl_session_reserve(session, pawl_wire_reply_bound(&reply));

    if (out != NULL) {
        pawl_session_commit(session, pawl_wire_write_reply(out, &reply));
    }
}

/* The answer to a hello that came along says that what it proved was good. */
static void refuse_namespace(struct pawl_dispatch *dispatch, struct pawl_session *session,
                             struct pawl_bytes hello_reply)
{
    struct pawl_wire_reply reply = { .id = dispatch->request.id,
                                     .status = PAWL__V1__STATUS__STATUS_DENIED,
                                     .hello = hello_reply };

    pawl_count(&dispatch->metrics->forbidden);
    pawl_audit_say_forbidden(dispatch, session, "any");
    (void)snprintf(dispatch->error, sizeof(dispatch->error),
                   "what this connection has proved gives it nothing in namespace \"%.*s\"",
                   (int)dispatch->ns.size, (const char *)dispatch->ns.data);
    reply.error = pawl_bytes_of(dispatch->error, strnlen(dispatch->error, PAWL_ERROR_BYTES));
    pawl_reply_hot(session, &reply);
}

static void by_body(struct pawl_dispatch *dispatch, struct pawl_session *session,
                    struct pawl_bytes message, struct pawl_bytes hello_reply)
{
    if (PAWL_UNLIKELY(dispatch->forward != NULL)) {
        dispatch->forward->message = message;
        dispatch->forward->hello = hello_reply;
    }
    switch (dispatch->request.body) {
    case PAWL_BODY_CHECK:
        pawl_dispatch_check(dispatch, session, message, hello_reply);
        return;
    case PAWL_BODY_TOKEN_CHECK:
        pawl_dispatch_token(dispatch, session, hello_reply);
        return;
    default:
        if (hello_reply.size > 0) {
            struct pawl_session_state *state = pawl_session_user(session);

            state->hello_owed = true;
            state->hello_id = dispatch->request.id;
        }
        pawl_dispatch_flush(dispatch); /* what came before it acts before it */
        pawl_dispatch_cold(dispatch, session, message);
        return;
    }
}

/* A request that says that a member passed it on: from members alone, and then it goes no further.
 * What is not about limits no member passes on. */
static bool may_be_forwarded(struct pawl_dispatch *dispatch, struct pawl_session *session)
{
    if (dispatch->forward == NULL || (pawl_session_roles(session) & PAWL_ROLE_PEER) == 0) {
        pawl_dispatch_forbid(dispatch, session, "peer");
        return false;
    }
    if (dispatch->request.body == PAWL_BODY_TOKEN_CHECK || dispatch->request.has_token) {
        pawl_count(&dispatch->metrics->invalid);
        pawl_reply_error(session, dispatch->request.id, PAWL__V1__STATUS__STATUS_INVALID,
                         "a member judges tokens itself, and does not pass them on");
        return false;
    }
    return true;
}

static enum pawl_status on_frame(void *ctx, struct pawl_session *session, struct pawl_bytes message)
{
    struct pawl_dispatch *dispatch = ctx;
    struct pawl_wire_request *request = &dispatch->request;
    struct pawl_bytes hello_reply = { NULL, 0 };
    enum pawl_status status = pawl_wire_read_request(request, message);

    if (PAWL_UNLIKELY(status != PAWL_OK)) {
        return refuse(dispatch, session, status);
    }
    pawl_session_accepted(session, request->id);
    if (PAWL_UNLIKELY(!take_request_time(dispatch))) {
        pawl_reply_error(session, request->id, PAWL__V1__STATUS__STATUS_INVALID,
                         "now_ms is for a pawld that runs with --test-clock");
        return PAWL_OK;
    }
    if (PAWL_UNLIKELY(request->has_hello)) {
        hello_reply = pawl_bytes_of(dispatch->hello_reply,
                                    pawl_dispatch_hello(dispatch, session, request->hello,
                                                        dispatch->hello_reply,
                                                        sizeof(dispatch->hello_reply)));
        if (hello_reply.size == PAWL_HELLO_DENIED) {
            pawl_count(&dispatch->metrics->forbidden);
            pawl_reply_error(session, request->id, PAWL__V1__STATUS__STATUS_DENIED,
                             dispatch->error);
            return PAWL_OK;
        }
        if (hello_reply.size == 0) {
            refuse_hello(dispatch, session);
            return PAWL_EINVAL;
        }
    }
    if (PAWL_UNLIKELY(is_late(dispatch))) {
        pawl_count(&dispatch->metrics->late);
        pawl_reply_error(session, request->id, PAWL__V1__STATUS__STATUS_LATE,
                         "its deadline had passed before it was read; nothing was done");
        return PAWL_OK;
    }
    take_namespace(dispatch, session);
    if (PAWL_UNLIKELY(!pawl_session_enter(session, dispatch->ns))) {
        refuse_namespace(dispatch, session, hello_reply);
        return PAWL_OK;
    }
    if (PAWL_UNLIKELY(request->forwarded) && !may_be_forwarded(dispatch, session)) {
        return PAWL_OK;
    }
    if (PAWL_UNLIKELY(dispatch->forward != NULL)) {
        struct pawl_session_state *state = pawl_session_user(session);

        if (state->routes && !request->has_hello) { /* its answer comes first */
            pawl_dispatch_route_tell(dispatch, session, state);
        }
    }
    by_body(dispatch, session, message, hello_reply);
    return PAWL_OK;
}

/* How long the read at hand took, on the clock that on_batch read. */
static void take_latency(struct pawl_dispatch *dispatch)
{
    static const unsigned bounds[] = PAWL_LATENCY_BOUNDS_US;
    struct pawl_dispatch_metrics *metrics = dispatch->metrics;
    uint64_t took_us =
        (pawl_clock_read(dispatch->app->clock).instant.ns - dispatch->batch_ns + 999) / 1000;
    unsigned bucket = 0;

    while (bucket < PAWL_LATENCY_BUCKETS - 1 && took_us > bounds[bucket]) {
        bucket++;
    }
    pawl_count(&metrics->batch_us[bucket]);
    atomic_store_explicit(&metrics->batch_us_sum,
                          atomic_load_explicit(&metrics->batch_us_sum, memory_order_relaxed) +
                              took_us,
                          memory_order_relaxed);
}

static void on_batch_end(void *ctx)
{
    struct pawl_dispatch *dispatch = ctx;

    pawl_dispatch_flush(dispatch);
    dispatch->in_batch = false;
    if (PAWL_UNLIKELY(dispatch->batches++ % PAWL_LATENCY_SAMPLE == 0)) {
        take_latency(dispatch);
    }
}

/* ---- requests that are run again ----------------------------------------------------------- */

bool pawl_dispatch_begin(struct pawl_dispatch *dispatch)
{
    if (dispatch->in_batch) {
        return false;
    }
    on_batch(dispatch);
    return true;
}

void pawl_dispatch_end(struct pawl_dispatch *dispatch)
{
    pawl_dispatch_flush(dispatch);
    dispatch->in_batch = false;
}

/* Its frame was read before, its hello is answered and its namespace known: the rest anew, also who
 * may do what. */
void pawl_dispatch_run_again(struct pawl_dispatch *dispatch, struct pawl_session *session,
                             struct pawl_parcel *parcel)
{
    struct pawl_forward *forward = dispatch->forward;
    bool began;

    pawl_dispatch_flush(dispatch); /* what lends from the request at hand */
    began = pawl_dispatch_begin(dispatch);
    dispatch->ns = pawl_parcel_ns(parcel);
    if (pawl_wire_read_request(&dispatch->request, pawl_parcel_message(parcel)) != PAWL_OK) {
        pawl_parcel_drop(parcel); /* cannot be: it was read before */
    } else if (!pawl_session_enter(session, dispatch->ns)) {
        pawl_parcel_refuse(parcel, PAWL__V1__STATUS__STATUS_DENIED, false,
                           "what this connection has proved gives it nothing in the namespace");
    } else {
        forward->at_hand = parcel;
        by_body(dispatch, session, pawl_parcel_message(parcel), pawl_parcel_hello(parcel));
        pawl_dispatch_flush(dispatch);
        if (forward->at_hand == parcel) { /* it was answered */
            forward->at_hand = NULL;
            pawl_parcel_drop(parcel);
        }
    }
    if (began) {
        pawl_dispatch_end(dispatch);
    }
}

struct pawl_handler pawl_dispatch_handler(struct pawl_app *app)
{
    (void)pthread_mutex_init(&app->exact_order, NULL);
    return (struct pawl_handler){
        .worker_open = worker_open,
        .worker_close = worker_close,
        .on_batch = on_batch,
        .on_frame = on_frame,
        .on_batch_end = on_batch_end,
        .app = app,
    };
}
