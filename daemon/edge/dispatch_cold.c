#include <stdio.h>
#include <string.h>

#include "edge/durable.h"
#include "edge/watch.h"
#include "ops/status.h"

static ProtobufCBinaryData text_of(const char *text)
{
    ProtobufCBinaryData data = { strlen(text), (uint8_t *)(uintptr_t)text };

    return data;
}

static void *arena_take(struct pawl_dispatch *dispatch, size_t size)
{
    ProtobufCAllocator *allocator = &dispatch->arena.allocator;

    return allocator->alloc(allocator->allocator_data, size);
}

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
    unsigned held = pawl_session_roles(session);

    pawl__v1__hello_reply__init(reply);
    for (unsigned i = 0; i < PAWL_ROLES_MAX; i++) {
        if ((held & names[i].bit) != 0) {
            roles[reply->n_roles++] = names[i].role;
        }
    }
    reply->roles = roles;
    reply->version = 1;
    reply->server = text_of("pawld " PAWL_VERSION);
    reply->node.data = dispatch->app->node;
    reply->node.len = sizeof(dispatch->app->node);
    reply->frame_max = PAWL_REQUEST_BYTES_MAX;
    reply->in_flight_max = dispatch->app->in_flight_max;
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
    /* The roles in the answer are those in this namespace; it need not be one for any request. */
    (void)pawl_session_enter(session, state->ns_size > 0
                                          ? pawl_bytes_of(state->ns, state->ns_size)
                                          : pawl_bytes_of((const uint8_t *)PAWL_NS_DEFAULT,
                                                          sizeof(PAWL_NS_DEFAULT) - 1));
    Pawl__V1__HelloReply reply;
    Pawl__V1__Role roles[PAWL_ROLES_MAX];

    pawl_hello_fill(dispatch, session, &reply, roles);
    if (pawl__v1__hello_reply__get_packed_size(&reply) > capacity) {
        return 0;
    }
    return pawl__v1__hello_reply__pack(&reply, packed);
}

/* ---- refund, reset ------------------------------------------------------------------------- */

/* protobuf-c's view of limit, key and rates as the hot codec's, to share one way to items. */
static enum pawl_status wire_item(struct pawl_wire_item *item, ProtobufCBinaryData limit,
                                  size_t key_count, const ProtobufCBinaryData *key,
                                  size_t rate_count, Pawl__V1__Rate *const *rates)
{
    memset(item, 0, sizeof(*item));
    if (key_count > PAWL_KEY_PARTS_MAX || rate_count > PAWL_RATES_MAX) {
        return PAWL_ETOOBIG;
    }
    item->limit = pawl_wire_bytes(limit);
    item->key_count = (uint32_t)key_count;
    for (size_t i = 0; i < key_count; i++) {
        item->key[i] = pawl_wire_bytes(key[i]);
    }
    item->rate_count = (uint32_t)rate_count;
    for (size_t i = 0; i < rate_count; i++) {
        item->rates[i].count = rates[i]->count;
        item->rates[i].window_ms = rates[i]->window_ms;
        item->rates[i].algorithm = rates[i]->algorithm;
    }
    return PAWL_OK;
}

static unsigned refund_one(struct pawl_dispatch *dispatch, const Pawl__V1__RefundItem *from,
                           uint64_t *refunded)
{
    uint64_t charges[PAWL_RATES_MAX] = { 0 };
    uint64_t by_rate[PAWL_RATES_MAX] = { 0 };
    struct pawl_wire_item wire;
    struct pawl_limit_item item;
    bool exact = false;

    if (wire_item(&wire, from->limit, from->n_key, from->key, from->n_rates, from->rates) !=
            PAWL_OK ||
        from->n_charges > PAWL_RATES_MAX) {
        (void)snprintf(dispatch->error, sizeof(dispatch->error),
                       "a refund has at most 8 key parts, rates and charges");
        return PAWL__V1__STATUS__STATUS_INVALID;
    }
    wire.cost = from->cost;
    unsigned status =
        pawl_dispatch_item(dispatch, &wire, &dispatch->inline_limits[0], &item, &exact);

    if (status != 0) {
        return status;
    }
    if (from->n_charges > 0) {
        memcpy(charges, from->charges, from->n_charges * sizeof(charges[0]));
    }
    enum pawl_status done =
        pawl_limiter_refund(dispatch->app->limiter, &item, from->n_charges > 0 ? charges : NULL,
                            dispatch->now.instant, by_rate);

    if (done != PAWL_OK) {
        (void)snprintf(dispatch->error, sizeof(dispatch->error),
                       "a refund needs a key of 1 to 8 parts and a cost below 2^40");
        return pawl_wire_status(done);
    }
    *refunded = by_rate[0];
    return 0;
}

static void on_refund(struct pawl_dispatch *dispatch, struct pawl_session *session,
                      const Pawl__V1__Request *request)
{
    const Pawl__V1__Refund *refund = request->refund;
    Pawl__V1__RefundReply body = PAWL__V1__REFUND_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    uint64_t refunded[PAWL_ITEMS_MAX] = { 0 };

    for (size_t i = 0; i < refund->n_items && i < PAWL_ITEMS_MAX; i++) {
        unsigned status = refund_one(dispatch, refund->items[i], &refunded[i]);

        if (status != 0) {
            pawl_reply_error(session, request->id, status, dispatch->error);
            return;
        }
    }
    body.n_refunded = refund->n_items < PAWL_ITEMS_MAX ? refund->n_items : PAWL_ITEMS_MAX;
    body.refunded = refunded;
    reply.id = request->id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_REFUND;
    reply.refund = &body;
    pawl_reply_cold(dispatch, session, &reply);
}

static void on_reset(struct pawl_dispatch *dispatch, struct pawl_session *session,
                     const Pawl__V1__Request *request)
{
    const Pawl__V1__Reset *reset = request->reset;
    Pawl__V1__ResetReply body = PAWL__V1__RESET_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    struct pawl_wire_item wire;
    struct pawl_limit_item item;
    bool exact = false;
    size_t forgotten = 0;

    if (wire_item(&wire, reset->limit, reset->n_key, reset->key, reset->n_rates, reset->rates) !=
        PAWL_OK) {
        pawl_reply_error(session, request->id, PAWL__V1__STATUS__STATUS_INVALID,
                         "a reset has at most 8 key parts and rates");
        return;
    }
    unsigned status =
        pawl_dispatch_item(dispatch, &wire, &dispatch->inline_limits[0], &item, &exact);

    if (status != 0) {
        pawl_reply_error(session, request->id, status, dispatch->error);
        return;
    }
    enum pawl_status done =
        pawl_limiter_reset(dispatch->app->limiter, &item, dispatch->now.instant, &forgotten);

    if (done != PAWL_OK) {
        pawl_reply_error(session, request->id, pawl_wire_status(done),
                         "a reset needs a key of 1 to 8 parts, 1024 bytes at most");
        return;
    }
    body.records = (uint32_t)forgotten;
    pawl_audit_say_reset(dispatch, session, &wire, forgotten);
    reply.id = request->id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_RESET;
    reply.reset = &body;
    pawl_reply_cold(dispatch, session, &reply);
}

/* ---- limits -------------------------------------------------------------------------------- */

#define LIMITS_PAGE 256

static const char *when_full_name(enum pawl_when_full when_full)
{
    switch (when_full) {
    case PAWL_WHEN_FULL_OPEN:
        return "open";
    case PAWL_WHEN_FULL_CLOSED:
        return "closed";
    default:
        return "overflow";
    }
}

static bool limit_info(struct pawl_dispatch *dispatch, const struct pawl_limit *limit,
                       Pawl__V1__LimitInfo *info)
{
    pawl__v1__limit_info__init(info);
    info->name = text_of(limit->name);
    info->namespace_ = text_of(limit->ns);
    info->precision = limit->precision == 0 ? PAWL_PRECISION_DEFAULT : limit->precision;
    info->on_error = (Pawl__V1__OnError)limit->on_error;
    info->count_denied = limit->count_denied;
    info->shadow = limit->shadow;
    info->when_full = text_of(when_full_name(limit->when_full));
    info->rates = arena_take(dispatch, limit->rates_count * sizeof(*info->rates));
    for (size_t i = 0; info->rates != NULL && i < limit->rates_count; i++) {
        Pawl__V1__Rate *rate = arena_take(dispatch, sizeof(*rate));

        if (rate == NULL) {
            return false;
        }
        pawl__v1__rate__init(rate);
        rate->count = limit->rates[i].count;
        rate->window_ms = limit->rates[i].window_ms;
        info->rates[info->n_rates++] = rate;
    }
    return info->rates != NULL;
}

static bool wanted(const struct pawl_limit *limit, struct pawl_bytes ns, struct pawl_bytes name,
                   struct pawl_bytes after)
{
    struct pawl_bytes own = pawl_bytes_of(limit->name, strlen(limit->name));
    size_t common = own.size < after.size ? own.size : after.size;
    int order = common == 0 ? 0 : memcmp(own.data, after.data, common);

    if (strlen(limit->ns) != ns.size || memcmp(limit->ns, ns.data, ns.size) != 0) {
        return false;
    }
    if (name.size > 0 && (own.size != name.size || memcmp(own.data, name.data, name.size) != 0)) {
        return false;
    }
    return after.size == 0 || order > 0 || (order == 0 && own.size > after.size);
}

static void on_limits(struct pawl_dispatch *dispatch, struct pawl_session *session,
                      const Pawl__V1__Request *request)
{
    Pawl__V1__LimitsReply body = PAWL__V1__LIMITS_REPLY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    struct pawl_bytes name = pawl_wire_bytes(request->limits->limit);
    struct pawl_bytes after = pawl_wire_bytes(request->limits->after);
    const struct pawl_rule *rule;

    body.limits = arena_take(dispatch, LIMITS_PAGE * sizeof(*body.limits));
    for (unsigned i = 0; body.limits != NULL && (rule = pawl_rules_at(dispatch->rules, i)) != NULL;
         i++) {
        if (!wanted(&rule->limit, dispatch->ns, name, after)) {
            continue;
        }
        Pawl__V1__LimitInfo *info =
            body.n_limits < LIMITS_PAGE ? arena_take(dispatch, sizeof(*info)) : NULL;

        if (info == NULL || !limit_info(dispatch, &rule->limit, info)) {
            body.more = true;
            break;
        }
        body.limits[body.n_limits++] = info;
    }
    reply.id = request->id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_LIMITS;
    reply.limits = &body;
    if (name.size > 0 && body.n_limits == 0) {
        pawl_reply_error(session, request->id, PAWL__V1__STATUS__STATUS_NOT_FOUND,
                         "no limit of this name in the settings of this namespace");
        return;
    }
    pawl_reply_cold(dispatch, session, &reply);
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
    stat = arena_take(dispatch, sizeof(*stat));
    if (stat == NULL) {
        return false;
    }
    pawl__v1__stat__init(stat);
    stat->name = text_of(from->name);
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
    struct pawl_stat_list *list = arena_take(dispatch, sizeof(*list));

    body.stats = arena_take(dispatch, PAWL_STATS_MAX * sizeof(*body.stats));
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

/* One node is its own only member; the cluster's view takes this place. */
static void on_view(struct pawl_dispatch *dispatch, struct pawl_session *session,
                    const Pawl__V1__Request *request)
{
    Pawl__V1__ViewReply body = PAWL__V1__VIEW_REPLY__INIT;
    Pawl__V1__Member member = PAWL__V1__MEMBER__INIT;
    Pawl__V1__Member *members[] = { &member };
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;

    member.node.data = dispatch->app->node;
    member.node.len = sizeof(dispatch->app->node);
    member.state =
        text_of(dispatch->app->store.ops->frozen(dispatch->app->store.self) ? "frozen" : "serving");
    member.version = text_of(PAWL_VERSION);
    member.uptime_s =
        (pawl_clock_read(dispatch->app->clock).instant.ns - dispatch->app->started.ns) / 1000000000;
    body.n_members = 1;
    body.members = members;
    reply.id = request->id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    reply.body_case = PAWL__V1__REPLY__BODY_VIEW;
    reply.view = &body;
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
    { PAWL__V1__REQUEST__BODY_REFUND, PAWL_ROLE_CHECK, "check", on_refund },
    { PAWL__V1__REQUEST__BODY_RESET, PAWL_ROLE_ADMIN, "admin", on_reset },
    { PAWL__V1__REQUEST__BODY_REVOKE, PAWL_ROLE_REVOKE, "revoke", pawl_dispatch_revoke },
    { PAWL__V1__REQUEST__BODY_UNREVOKE, PAWL_ROLE_ADMIN, "admin", pawl_dispatch_unrevoke },
    { PAWL__V1__REQUEST__BODY_ROTATE, PAWL_ROLE_REVOKE, "revoke", pawl_dispatch_rotate },
    { PAWL__V1__REQUEST__BODY_FAMILY_OPEN, PAWL_ROLE_REVOKE, "revoke", pawl_dispatch_family_open },
    { PAWL__V1__REQUEST__BODY_FAMILY_END, PAWL_ROLE_REVOKE, "revoke", pawl_dispatch_family_end },
    { PAWL__V1__REQUEST__BODY_THAW, PAWL_ROLE_ADMIN, "admin", pawl_dispatch_thaw },
    { PAWL__V1__REQUEST__BODY_VIEW_GET, PAWL_ROLE_READ, "read", on_view },
    { PAWL__V1__REQUEST__BODY_STATS, PAWL_ROLE_READ, "read", on_stats },
    { PAWL__V1__REQUEST__BODY_WATCH, PAWL_ROLE_READ, "read", pawl_dispatch_watch },
    { PAWL__V1__REQUEST__BODY_LIMITS, PAWL_ROLE_READ, "read", on_limits },
    { PAWL__V1__REQUEST__BODY_PING, 0, "none", on_ping },
};

/* The name of a body in the .proto. */
static const char *request_name(Pawl__V1__Request__BodyCase body)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(&pawl__v1__request__descriptor, (unsigned)body);

    return field != NULL ? field->name : "";
}

static void dispatch_to(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const Pawl__V1__Request *request, unsigned index)
{
    if (handlers[index].role != 0 && (pawl_session_roles(session) & handlers[index].role) == 0) {
        pawl_count(&dispatch->metrics->forbidden);
        pawl_audit_say_forbidden(dispatch, session, handlers[index].role_name);
        (void)snprintf(dispatch->error, sizeof(dispatch->error),
                       "this connection lacks the role %s; use the Unix socket as root, as the "
                       "daemon's user or as a member of the socket's group",
                       handlers[index].role_name);
        pawl_reply_error(session, request->id, PAWL__V1__STATUS__STATUS_DENIED, dispatch->error);
        return;
    }
    if (handlers[index].role == PAWL_ROLE_ADMIN) {
        pawl_audit_say_admin(dispatch, session, request_name(request->body_case));
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
