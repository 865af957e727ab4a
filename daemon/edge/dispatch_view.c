/*
 * Who is in the fleet: asked for, and told to clients that ask the owners of their keys by
 * themselves (COMPAT.md, "Routing").
 */
#include "edge/forward.h"

#include <string.h>
#include <time.h>

/* ---- the view ------------------------------------------------------------------------------ */

/* How long ago @started_ms, BOOTTIME, was; 0: not known. */
static uint64_t uptime_s(uint64_t started_ms)
{
    struct timespec now = { 0, 0 };
    uint64_t now_ms;

    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    return started_ms != 0 && now_ms > started_ms ? (now_ms - started_ms) / 1000 : 0;
}

/* What a node says of itself. */
static void fill_self(const struct pawl_dispatch *dispatch, Pawl__V1__Member *to)
{
    const struct pawl_app *app = dispatch->app;
    bool frozen = app->store.ops->frozen(app->store.self);

    pawl__v1__member__init(to);
    to->node.data = (uint8_t *)(uintptr_t)app->node;
    to->node.len = sizeof(app->node);
    to->state = pawl_wire_text(frozen ? "frozen" : "serving");
    to->frozen = frozen;
    to->version = pawl_wire_text(PAWL_VERSION);
    to->uptime_s = (pawl_clock_read(app->clock).instant.ns - app->started.ns) / 1000000000;
}

static void fill_member(const struct pawl_dispatch *dispatch,
                        const struct pawl_territory *territory, uint16_t index,
                        Pawl__V1__Member *to)
{
    const struct pawl_territory_member *from = &territory->members[index];

    if (memcmp(from->id.bytes, dispatch->forward->world->self.bytes, sizeof(from->id.bytes)) == 0) {
        fill_self(dispatch, to);
    } else {
        pawl__v1__member__init(to);
        to->version = pawl_wire_text(from->version);
        to->uptime_s = uptime_s(from->started_ms);
        to->frozen = from->frozen;
    }
    /* Frozen or not it counts: who routes goes by the view alone. */
    to->node.data = (uint8_t *)(uintptr_t)from->id.bytes;
    to->node.len = sizeof(from->id.bytes);
    to->state = pawl_wire_text(from->state == PAWL_TERRITORY_LEAVING ? "leaving" : "serving");
    to->address = pawl_wire_text(from->address);
    to->view = territory->view;
}

static void send_view(struct pawl_dispatch *dispatch, struct pawl_session *session, uint64_t id)
{
    Pawl__V1__Member members[PAWL_MEMBERS_MAX];
    Pawl__V1__Member *list[PAWL_MEMBERS_MAX];
    Pawl__V1__ViewReply body = PAWL__V1__VIEW_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    const struct pawl_territory *territory =
        dispatch->forward != NULL ? dispatch->forward->territory : NULL;

    body.members = list;
    if (territory != NULL && territory->view != 0) {
        body.view = territory->view;
        for (uint16_t i = 0; i < territory->member_count; i++) {
            fill_member(dispatch, territory, i, &members[i]);
            list[body.n_members++] = &members[i];
        }
    } else { /* one node, or one that has not joined: its own only member */
        fill_self(dispatch, &members[0]);
        list[body.n_members++] = &members[0];
    }
    reply.id = id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_VIEW;
    reply.view = &body;
    pawl_reply_cold(dispatch, session, &reply);
}

void pawl_dispatch_view(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const Pawl__V1__Request *request)
{
    send_view(dispatch, session, request->id);
}

/* ---- clients that route -------------------------------------------------------------------- */

void pawl_dispatch_route_hello(struct pawl_dispatch *dispatch, struct pawl_session *session,
                               unsigned roles, Pawl__V1__HelloReply *reply)
{
    struct pawl_session_state *state = pawl_session_user(session);

    if (dispatch->forward != NULL) { /* its name in the view */
        reply->node.data = dispatch->forward->world->self.bytes;
        reply->node.len = sizeof(dispatch->forward->world->self.bytes);
    }
    state->routes = state->wants_route && dispatch->forward != NULL &&
                    (roles & PAWL_ROLE_CHECK) != 0 && pawl_session_is_known(session);
    if (state->routes) {
        const struct pawl_subkey *key = &dispatch->forward->world->slots_key;

        reply->features = PAWL_FEATURE_ROUTING;
        reply->slots_subkey.data = (uint8_t *)(uintptr_t)key->bytes;
        reply->slots_subkey.len = sizeof(key->bytes);
    }
}

void pawl_dispatch_route_tell(struct pawl_dispatch *dispatch, struct pawl_session *session,
                              struct pawl_session_state *state)
{
    uint64_t view = dispatch->forward->territory->view;
    /* The counter and the random bits of the number: two views in a row differ. */
    uint32_t mark = (uint32_t)view ^ (uint32_t)(view >> 32);

    if (view != 0 && mark != state->view_told) {
        state->view_told = mark;
        send_view(dispatch, session, 0);
    }
}
