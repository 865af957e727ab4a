#include <stdio.h>
#include <string.h>

#include "edge/durable.h"
#include "edge/forward.h"
#include "edge/watch.h"
#include "ops/status.h"

/* ---- hello --------------------------------------------------------------------------------- */

void pawl_hello_fill(struct pawl_dispatch *dispatch, struct pawl_session *session,
                     Pawl__V1__HelloReply *reply, Pawl__V1__Role *roles)
{
    static const struct {
        unsigned bit;
        Pawl__V1__Role role;
    } names[PAWL_ROLES_MAX] = {
        { PAWL_ROLE_CHECK, PAWL__V1__ROLE__ROLE_CHECK },
        { PAWL_ROLE_READ, PAWL__V1__ROLE__ROLE_READ },
        { PAWL_ROLE_REVOKE, PAWL__V1__ROLE__ROLE_REVOKE },
        { PAWL_ROLE_ADMIN, PAWL__V1__ROLE__ROLE_ADMIN },
        { PAWL_ROLE_PEER, PAWL__V1__ROLE__ROLE_PEER },
    };
    const struct pawl_session_state *state = pawl_session_user(session);
    struct pawl_bytes ns = state->ns_size > 0
                               ? pawl_bytes_of(state->ns, state->ns_size)
                               : pawl_bytes_of(PAWL_NS_DEFAULT, sizeof(PAWL_NS_DEFAULT) - 1);

    /* Of the namespace of hello, whatever one was entered last; it need not be for any request. */
    (void)pawl_session_enter(session, ns);
    unsigned held = pawl_session_roles(session);

    pawl__v1__hello_reply__init(reply);
    for (unsigned i = 0; i < PAWL_ROLES_MAX; i++) {
        if ((held & names[i].bit) != 0) {
            roles[reply->n_roles++] = names[i].role;
        }
    }
    reply->roles = roles;
    reply->version = 1;
    reply->server = pawl_wire_text("pawld " PAWL_VERSION);
    reply->node.data = dispatch->app->node;
    reply->node.len = sizeof(dispatch->app->node);
    reply->frame_max = PAWL_REQUEST_BYTES_MAX;
    reply->in_flight_max = dispatch->app->in_flight_max;
    pawl_dispatch_route_hello(dispatch, session, held, reply);
}

static const char *hello_fault(const Pawl__V1__Hello *hello)
{
    if (hello == NULL) {
        return "hello is malformed";
    }
    /* 1 lies in every range that begins at 0 or 1: a hello that names no version means 1. */
    if (hello->version_min > 1) {
        return "this pawld speaks version 1 of the protocol only";
    }
    if (hello->namespace_.len > PAWL_NAMESPACE_MAX) {
        return "the namespace in hello is longer than 64 bytes";
    }
    return NULL;
}

/* A credential in hello counts from this request on. What it was is wiped wherever it lay. */
static bool hello_proves(struct pawl_session *session, const Pawl__V1__Hello *hello,
                         struct pawl_bytes raw)
{
    const ProtobufCBinaryData secret = hello->credential;
    bool good;

    if (secret.len == 0 && hello->credential_id.len == 0) {
        return true;
    }
    good = pawl_session_authenticate(session, pawl_wire_bytes(hello->credential_id),
                                     pawl_wire_bytes(secret)) == PAWL_OK;
    uint8_t *there = secret.len > 0 ? memmem(raw.data, raw.size, secret.data, secret.len) : NULL;

    if (there != NULL) {
        pawl_wipe(there, secret.len); /* still well-formed: the cold reader comes by once more */
    }
    if (secret.len > 0) {
        pawl_wipe(secret.data, secret.len);
    }
    return good;
}

size_t pawl_dispatch_hello(struct pawl_dispatch *dispatch, struct pawl_session *session,
                           struct pawl_bytes hello, uint8_t *packed, size_t capacity)
{
    pawl_cold_arena_reset(&dispatch->arena);
    const Pawl__V1__Hello *read =
        pawl__v1__hello__unpack(&dispatch->arena.allocator, hello.size, hello.data);
    const char *fault = hello_fault(read);

    if (fault != NULL) {
        (void)snprintf(dispatch->error, sizeof(dispatch->error), "%s", fault);
        return 0;
    }
    if (!hello_proves(session, read, hello)) {
        (void)snprintf(dispatch->error, sizeof(dispatch->error),
                       "the credential is unknown or its secret is wrong");
        return PAWL_HELLO_DENIED;
    }
    struct pawl_session_state *state = pawl_session_user(session);

    state->ns_size = (uint8_t)read->namespace_.len;
    if (read->namespace_.len > 0) {
        memcpy(state->ns, read->namespace_.data, read->namespace_.len);
    }
    state->wants_route = (read->features & PAWL_FEATURE_ROUTING) != 0;
    state->view_told = 0;
    Pawl__V1__HelloReply reply;
    Pawl__V1__Role roles[PAWL_ROLES_MAX];

    pawl_hello_fill(dispatch, session, &reply, roles);
    if (pawl__v1__hello_reply__get_packed_size(&reply) > capacity) {
        return 0;
    }
    return pawl__v1__hello_reply__pack(&reply, packed);
}

/* ---- figures ------------------------------------------------------------------------------- */

static bool stat_fill(struct pawl_dispatch *dispatch, const struct pawl_stat_list *list,
                      const struct pawl_stat *from, Pawl__V1__StatsReply *body)
{
    struct pawl_bytes text = pawl_stat_text(list, from);
    Pawl__V1__Stat *stat = NULL;

    if (from->kind == PAWL_STAT_TEXT && text.size == 0) {
        return true; /* cannot be told from the number 0 on the wire: left out */
    }
    stat = pawl_dispatch_room(dispatch, sizeof(*stat));
    if (stat == NULL) {
        return false;
    }
    pawl__v1__stat__init(stat);
    stat->name = pawl_wire_text(from->name);
    stat->value = from->value;
    stat->flag = from->kind == PAWL_STAT_FLAG;
    stat->text.data = (uint8_t *)(uintptr_t)text.data;
    stat->text.len = text.size;
    body->stats[body->n_stats++] = stat;
    return true;
}

static void on_stats(struct pawl_dispatch *dispatch, struct pawl_session *session,
                     const Pawl__V1__Request *request)
{
    Pawl__V1__StatsReply body = PAWL__V1__STATS_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    struct pawl_bytes asked = pawl_wire_bytes(request->stats->prefix);
    char prefix[PAWL_STAT_NAME_BYTES_MAX + 1] = "";
    struct pawl_stat_list *list = pawl_dispatch_room(dispatch, sizeof(*list));

    body.stats = pawl_dispatch_room(dispatch, PAWL_STATS_MAX * sizeof(*body.stats));
    if (list == NULL || body.stats == NULL || asked.size >= sizeof(prefix)) {
        pawl_reply_error(session, request->id, PAWL__V1__STATUS__STATUS_INVALID,
                         "the name of a figure has at most 64 bytes");
        return;
    }
    if (asked.size > 0) {
        memcpy(prefix, asked.data, asked.size);
    }
    pawl_stat_list_init(list, prefix);
    struct pawl_stats_sink sink = pawl_stat_list_sink(list);

    pawl_app_stats(dispatch->app, &sink);
    for (unsigned i = 0; i < list->count && stat_fill(dispatch, list, &list->items[i], &body);
         i++) {
    }
    reply.id = request->id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_STATS;
    reply.stats = &body;
    pawl_reply_cold(dispatch, session, &reply);
}

static void on_ping(struct pawl_dispatch *dispatch, struct pawl_session *session,
                    const Pawl__V1__Request *request)
{
    Pawl__V1__PingReply body = PAWL__V1__PING_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;

    reply.id = request->id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_PING;
    reply.ping = &body;
    pawl_reply_cold(dispatch, session, &reply);
}

/* ---- the table of cold requests ------------------------------------------------------------ */

static const struct {
    Pawl__V1__Request__BodyCase body;
    unsigned role;
    const char *role_name;
    void (*handle)(struct pawl_dispatch *dispatch, struct pawl_session *session,
                   const Pawl__V1__Request *request);
} handlers[] = {
    { PAWL__V1__REQUEST__BODY_REFUND, PAWL_ROLE_CHECK, "check", pawl_dispatch_refund },
    { PAWL__V1__REQUEST__BODY_RESET, PAWL_ROLE_ADMIN, "admin", pawl_dispatch_reset },
    { PAWL__V1__REQUEST__BODY_REVOKE, PAWL_ROLE_REVOKE, "revoke", pawl_dispatch_revoke },
    { PAWL__V1__REQUEST__BODY_UNREVOKE, PAWL_ROLE_ADMIN, "admin", pawl_dispatch_unrevoke },
    { PAWL__V1__REQUEST__BODY_ROTATE, PAWL_ROLE_REVOKE, "revoke", pawl_dispatch_rotate },
    { PAWL__V1__REQUEST__BODY_FAMILY_OPEN, PAWL_ROLE_REVOKE, "revoke", pawl_dispatch_family_open },
    { PAWL__V1__REQUEST__BODY_FAMILY_END, PAWL_ROLE_REVOKE, "revoke", pawl_dispatch_family_end },
    { PAWL__V1__REQUEST__BODY_THAW, PAWL_ROLE_ADMIN, "admin", pawl_dispatch_thaw },
    { PAWL__V1__REQUEST__BODY_VIEW_GET, PAWL_ROLE_READ, "read", pawl_dispatch_view },
    { PAWL__V1__REQUEST__BODY_STATS, PAWL_ROLE_READ, "read", on_stats },
    { PAWL__V1__REQUEST__BODY_WATCH, PAWL_ROLE_READ, "read", pawl_dispatch_watch },
    { PAWL__V1__REQUEST__BODY_LIMITS, PAWL_ROLE_READ, "read", pawl_dispatch_limits },
    { PAWL__V1__REQUEST__BODY_RESERVE, PAWL_ROLE_CHECK, "check", pawl_dispatch_reserve },
    { PAWL__V1__REQUEST__BODY_COMMIT, PAWL_ROLE_CHECK, "check", pawl_dispatch_commit },
    { PAWL__V1__REQUEST__BODY_CANCEL, PAWL_ROLE_CHECK, "check", pawl_dispatch_cancel },
    { PAWL__V1__REQUEST__BODY_TOP, PAWL_ROLE_READ, "read", pawl_dispatch_top },
    { PAWL__V1__REQUEST__BODY_PING, 0, "none", on_ping },
    { PAWL__V1__REQUEST__BODY_PULL, PAWL_ROLE_PEER, "peer", pawl_dispatch_pull },
    { PAWL__V1__REQUEST__BODY_PUSH, PAWL_ROLE_PEER, "peer", pawl_dispatch_push },
    { PAWL__V1__REQUEST__BODY_VIEW_PUSH, PAWL_ROLE_PEER, "peer", pawl_dispatch_view_push },
};

/* The name of a body in the .proto. */
static const char *request_name(Pawl__V1__Request__BodyCase body)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(&pawl__v1__request__descriptor, (unsigned)body);

    return field != NULL ? field->name : "";
}

/* The roles that count for a request: what is done to the whole node wants them everywhere. */
static unsigned roles_for(const struct pawl_session *session, Pawl__V1__Request__BodyCase body)
{
    switch (body) {
    case PAWL__V1__REQUEST__BODY_THAW:
    case PAWL__V1__REQUEST__BODY_PULL:
    case PAWL__V1__REQUEST__BODY_PUSH:
    case PAWL__V1__REQUEST__BODY_VIEW_PUSH:
        return pawl_session_roles_everywhere(session);
    default:
        return pawl_session_roles(session);
    }
}

static void dispatch_to(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const Pawl__V1__Request *request, unsigned index)
{
    unsigned role = handlers[index].role;
    bool forwarded = dispatch->request.forwarded; /* then it was asked where it came from */
    bool again = dispatch->forward != NULL && dispatch->forward->at_hand != NULL;

    if (PAWL_UNLIKELY(forwarded && !pawl_forward_is_passed_on(request->body_case))) {
        pawl_count(&dispatch->metrics->invalid);
        pawl_reply_error(session, request->id, PAWL__V1__STATUS__STATUS_INVALID,
                         "members do not pass such requests on");
        return;
    }
    if (role != 0 && !forwarded && (roles_for(session, request->body_case) & role) == 0) {
        pawl_dispatch_forbid(dispatch, session, handlers[index].role_name);
        return;
    }
    if (handlers[index].role == PAWL_ROLE_ADMIN && !forwarded && !again) {
        pawl_audit_say_admin(dispatch, session, request_name(request->body_case));
    }
    if (PAWL_UNLIKELY(dispatch->forward != NULL) &&
        !pawl_forward_cold(dispatch, session, request)) {
        return;
    }
    handlers[index].handle(dispatch, session, request);
}

void pawl_dispatch_cold(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        struct pawl_bytes message)
{
    Pawl__V1__Request *request = NULL;

    pawl_cold_arena_reset(&dispatch->arena);
    pawl_count(&dispatch->metrics->cold);
    enum pawl_status status = pawl_cold_read_request(&dispatch->arena, message, &request);

    if (status != PAWL_OK) {
        pawl_count(&dispatch->metrics->invalid);
        pawl_reply_error(session, dispatch->request.id, PAWL__V1__STATUS__STATUS_INVALID,
                         status == PAWL_ETOOBIG
                             ? "a field or a count is over the caps of the protocol (caps.h)"
                             : "malformed request");
        return;
    }
    for (unsigned i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
        if (handlers[i].body == request->body_case) {
            dispatch_to(dispatch, session, request, i);
            return;
        }
    }
    pawl_reply_error(session, request->id, PAWL__V1__STATUS__STATUS_UNSUPPORTED,
                     "this pawld does not know that request; is it older than its client?");
}
