/*
 * Top: figures of each limit, the keys denied most, the last revocations, of one namespace.
 */
#include <stdlib.h>
#include <string.h>

#include "edge/durable.h"

#define TOP_DEFAULT 20

/** What is read before it is packed: too much for the worker's arena. */
struct top {
    struct pawl_observed_key keys[PAWL_OBSERVED_KEYS_MAX];
    struct pawl_observed_event events[PAWL_OBSERVED_EVENTS_MAX];
    struct pawl_dispatch *dispatch;
    Pawl__V1__TopReply body;
    size_t limits_max;
};

static size_t asked_or_default(uint32_t asked)
{
    return asked == 0 ? TOP_DEFAULT : asked;
}

/* Limits of the namespace, and inline rates, which have none. */
static void on_limit(void *ctx, const struct pawl_observed_limit *limit)
{
    struct top *top = ctx;
    struct pawl_bytes ns = top->dispatch->ns;
    bool is_own = strlen(limit->ns) == ns.size && memcmp(limit->ns, ns.data, ns.size) == 0;

    if ((!is_own && limit->limit[0] != '\0') || top->body.n_limits == top->limits_max) {
        return;
    }
    Pawl__V1__LimitFigures *to = pawl_dispatch_room(top->dispatch, sizeof(*to));

    if (to == NULL) {
        return;
    }
    pawl__v1__limit_figures__init(to);
    to->limit = pawl_wire_text(limit->limit);
    to->namespace_ = pawl_wire_text(limit->ns);
    to->allowed = limit->allowed;
    to->denied = limit->denied;
    to->shadow_denied = limit->shadow_denied;
    to->bypassed = limit->bypassed;
    to->overflowed = limit->overflowed;
    top->body.limits[top->body.n_limits++] = to;
}

static void fill_keys(struct top *top, size_t count)
{
    top->body.keys = pawl_dispatch_room(top->dispatch, (count + 1) * sizeof(top->body.keys[0]));
    for (size_t i = 0; top->body.keys != NULL && i < count; i++) {
        Pawl__V1__DeniedKey *to = pawl_dispatch_room(top->dispatch, sizeof(*to));

        if (to == NULL) {
            return;
        }
        pawl__v1__denied_key__init(to);
        to->limit = pawl_wire_text(top->keys[i].limit);
        to->namespace_ = pawl_wire_text(top->keys[i].ns);
        to->key = pawl_wire_text(top->keys[i].key);
        to->denied = top->keys[i].denied;
        to->last_ms = top->keys[i].last_ms;
        top->body.keys[top->body.n_keys++] = to;
    }
}

static void fill_events(struct top *top, size_t count)
{
    top->body.events = pawl_dispatch_room(top->dispatch, (count + 1) * sizeof(top->body.events[0]));
    for (size_t i = 0; top->body.events != NULL && i < count; i++) {
        Pawl__V1__RevocationEvent *to = pawl_dispatch_room(top->dispatch, sizeof(*to));

        if (to == NULL) {
            return;
        }
        pawl__v1__revocation_event__init(to);
        to->scope = (Pawl__V1__Scope)top->events[i].scope;
        to->reason = (Pawl__V1__Reason)top->events[i].reason;
        to->namespace_ = pawl_wire_text(top->events[i].ns);
        to->value = pawl_wire_text(top->events[i].value);
        to->at_ms = top->events[i].at_ms;
        top->body.events[top->body.n_events++] = to;
    }
}

void pawl_dispatch_top(struct pawl_dispatch *dispatch, struct pawl_session *session,
                       const Pawl__V1__Request *request)
{
    struct pawl_observe *observe = dispatch->app->observe;
    struct pawl_observed reader = pawl_observe_reader(observe);
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    struct top *top = calloc(1, sizeof(*top));

    if (top == NULL) {
        pawl_reply_error(session, request->id, PAWL__V1__STATUS__STATUS_UNAVAILABLE,
                         "out of memory");
        return;
    }
    top->dispatch = dispatch;
    pawl__v1__top_reply__init(&top->body);
    fill_keys(top, pawl_observe_keys_of(observe, dispatch->ns, top->keys,
                                        asked_or_default(request->top->keys_max)));
    fill_events(top, pawl_observe_events_of(observe, dispatch->ns, top->events,
                                            asked_or_default(request->top->events_max)));
    top->body.limits =
        pawl_dispatch_room(dispatch, (PAWL_SETTINGS_LIMITS_MAX + 1) * sizeof(top->body.limits[0]));
    top->limits_max = top->body.limits != NULL ? PAWL_SETTINGS_LIMITS_MAX + 1 : 0;
    reader.limits(reader.self, on_limit, top);
    reply.id = request->id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_TOP;
    reply.top = &top->body;
    pawl_reply_cold(dispatch, session, &reply);
    free(top);
}
