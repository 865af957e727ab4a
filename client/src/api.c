/*
 * The public calls: one way to submit and one to block, and a typed door for each kind.
 */
#include "private.h"

#include <limits.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

union any_call {
    struct pawl_check_call check;
    struct pawl_token_check_call token_check;
    struct pawl_refund_call refund;
    struct pawl_reset_call reset;
    struct pawl_revoke_call revoke;
    struct pawl_unrevoke_call unrevoke;
    struct pawl_rotate_call rotate;
    struct pawl_family_open_call family_open;
    struct pawl_family_end_call family_end;
    struct pawl_limits_call limits;
    struct pawl_stats_call stats;
    struct pawl_thaw_call thaw;
    struct pawl_ping_call ping;
    struct pawl_reserve_call reserve;
    struct pawl_commit_call commit;
    struct pawl_cancel_lease_call cancel_lease;
    struct pawl_top_call top;
    struct pawl_watch_call watch;
    struct pawl_members_call members;
};

static size_t size_of_struct(const void *object)
{
    size_t size;

    memcpy(&size, object, sizeof(size)); /* struct_size comes first */
    return size;
}

static int enqueue(struct pawl_client *client, const struct call_type *type, const void *call,
                   pawl_on_answer on_answer, void *data, uint64_t *id)
{
    struct slot *slot = pawl_client_slot_take(client, type);
    uint32_t deadline_ms = pawl_client_call_deadline(type, call);
    int rc;

    if (slot == NULL) {
        return PAWL_RC_FULL;
    }
    rc = type->encode(client, slot, call);
    if (rc != PAWL_RC_OK) {
        pawl_client_slot_free(client, slot);
        return rc;
    }
    if (deadline_ms == 0) {
        deadline_ms = type->quick ? client->check_deadline_ms : client->durable_deadline_ms;
    }
    slot->deadline_ns = client->clock_ns() + (uint64_t)deadline_ms * NS_PER_MS;
    if (slot->deadline_ns < client->deadline_ns) {
        client->deadline_ns = slot->deadline_ns;
    }
    slot->on_answer = on_answer;
    slot->data = data;
    slot->state = SLOT_QUEUED;
    pawl_client_slot_move(slot, pawl_client_route_queue(client, slot));
    client->figures.requests++;
    if (id != NULL) {
        *id = slot->id;
    }
    return PAWL_RC_OK;
}

/* The caller's struct may be older (shorter) than ours: what it lacks is zero. */
static int submit_locked(struct pawl_client *client, enum pawl_call_kind kind, const void *call,
                         pawl_on_answer on_answer, void *data, uint64_t *id)
{
    const struct call_type *type = pawl_client_call_type(kind);
    union any_call full;

    client->refusal[0] = '\0';
    if (client->doomed) {
        return PAWL_RC_CANCELED;
    }
    memset(&full, 0, sizeof(full));
    if (call != NULL) {
        size_t size = size_of_struct(call);

        if (size < sizeof(size_t)) {
            return PAWL_RC_INVALID;
        }
        memcpy(&full, call, size < type->call_size ? size : type->call_size);
    }
    return enqueue(client, type, &full, on_answer, data, id);
}

static int submit(struct pawl_client *client, enum pawl_call_kind kind, const void *call,
                  pawl_on_answer on_answer, void *data, uint64_t *id)
{
    int rc;

    pawl_client_enter(client);
    rc = submit_locked(client, kind, call, on_answer, data, id);
    (void)pawl_client_leave(client);
    return rc;
}

/* ---- blocking ---------------------------------------------------------------------------- */

struct blocking {
    const struct call_type *type;
    void *result;
    int rc;
    bool done;
};

static void copy_token(struct pawl_token_answer *to, struct pawl_claims *storage,
                       const struct pawl_token_answer *from)
{
    to->claims = storage;
    to->has_claims = from->has_claims && storage != NULL;
    if (to->has_claims) {
        *storage = *from->claims;
    }
}

static void copy_check(struct pawl_check_result *to, const struct pawl_check_result *from)
{
    struct pawl_rate_result *rates = to->rates;
    struct pawl_claims *storage = to->token.claims;
    size_t size = to->struct_size;
    size_t max = rates != NULL ? to->rates_max : 0;

    memcpy(to, from, size < sizeof(*to) ? size : sizeof(*to));
    to->struct_size = size;
    to->rates = rates;
    to->rates_max = max;
    to->rate_count = from->rate_count < max ? from->rate_count : max;
    if (to->rate_count > 0) {
        memcpy(rates, from->rates, to->rate_count * sizeof(*rates));
    }
    copy_token(&to->token, storage, &from->token);
}

static void copy_token_check(struct pawl_token_check_result *to,
                             const struct pawl_token_check_result *from)
{
    struct pawl_claims *storage = to->token.claims;
    size_t size = to->struct_size;

    memcpy(to, from, size < sizeof(*to) ? size : sizeof(*to));
    to->struct_size = size;
    copy_token(&to->token, storage, &from->token);
}

/* An array that the caller lends stays where it is, and takes what fits. */
static size_t copy_array(void *to, size_t max, const void *from, size_t count, size_t size)
{
    size_t fits = to == NULL ? 0 : count < max ? count : max;

    if (fits > 0) {
        memcpy(to, from, fits * size);
    }
    return fits;
}

/* Copies @from over @to but for the array that the caller lends in @items. */
#define COPY_WITH(to, from, items, items_max, item_count)                                      \
    do {                                                                                       \
        void *array = (to)->items;                                                             \
        size_t size = (to)->struct_size;                                                       \
        size_t max = array != NULL ? (to)->items_max : 0;                                      \
                                                                                               \
        memcpy((to), (from), size < sizeof(*(to)) ? size : sizeof(*(to)));                     \
        (to)->struct_size = size;                                                              \
        (to)->items = array;                                                                   \
        (to)->items_max = max;                                                                 \
        (to)->item_count =                                                                     \
            copy_array(array, max, (from)->items, (from)->item_count, sizeof(*(from)->items)); \
    } while (0)

static void copy_limits(struct pawl_limits_result *to, const struct pawl_limits_result *from)
{
    COPY_WITH(to, from, limits, limits_max, limit_count);
    to->more = from->more || to->limit_count < from->limit_count;
}

static void copy_stats(struct pawl_stats_result *to, const struct pawl_stats_result *from)
{
    COPY_WITH(to, from, stats, stats_max, stat_count);
}

static void copy_members(struct pawl_members_result *to, const struct pawl_members_result *from)
{
    COPY_WITH(to, from, members, members_max, member_count);
}

static void copy_reserve(struct pawl_reserve_result *to, const struct pawl_reserve_result *from)
{
    COPY_WITH(to, from, rates, rates_max, rate_count);
}

static void copy_top(struct pawl_top_result *to, const struct pawl_top_result *from)
{
    struct pawl_top_result lent = *to;

    COPY_WITH(to, from, limits, limits_max, limit_count);
    to->keys = lent.keys;
    to->keys_max = lent.keys != NULL ? lent.keys_max : 0;
    to->key_count =
        copy_array(to->keys, to->keys_max, from->keys, from->key_count, sizeof(*from->keys));
    to->events = lent.events;
    to->events_max = lent.events != NULL ? lent.events_max : 0;
    to->event_count = copy_array(to->events, to->events_max, from->events, from->event_count,
                                 sizeof(*from->events));
}

static void copy_watch(struct pawl_watch_result *to, const struct pawl_watch_result *from)
{
    struct pawl_watch_result lent = *to;

    COPY_WITH(to, from, facts, facts_max, fact_count);
    to->cursors = lent.cursors;
    to->cursors_max = lent.cursors != NULL ? lent.cursors_max : 0;
    to->cursor_count = copy_array(to->cursors, to->cursors_max, from->cursors, from->cursor_count,
                                  sizeof(*from->cursors));
}

static void copy_result(const struct call_type *type, void *to, const void *from)
{
    size_t size;

    if (to == NULL) {
        return;
    }
    size = size_of_struct(to);
    switch (type->kind) {
    case PAWL_CALL_CHECK:
        copy_check(to, from);
        break;
    case PAWL_CALL_TOKEN_CHECK:
        copy_token_check(to, from);
        break;
    case PAWL_CALL_LIMITS:
        copy_limits(to, from);
        break;
    case PAWL_CALL_STATS:
        copy_stats(to, from);
        break;
    case PAWL_CALL_MEMBERS:
        copy_members(to, from);
        break;
    case PAWL_CALL_RESERVE:
        copy_reserve(to, from);
        break;
    case PAWL_CALL_TOP:
        copy_top(to, from);
        break;
    case PAWL_CALL_WATCH:
        copy_watch(to, from);
        break;
    default:
        memcpy(to, from, size < type->result_size ? size : type->result_size);
        memcpy(to, &size, sizeof(size));
        break;
    }
}

static void on_blocking(void *data, const struct pawl_answer *answer)
{
    struct blocking *blocking = data;

    copy_result(blocking->type, blocking->result, answer->of.check);
    blocking->rc = answer->rc;
    blocking->done = true;
}

/* It was not even submitted: the result says so. */
static void refuse_blocking(struct pawl_client *client, struct blocking *blocking, int rc)
{
    struct slot none;

    blocking->rc = rc;
    memset(&none, 0, sizeof(none));
    none.type = blocking->type;
    (void)pawl_client_resolve_outcome(client, &none, (enum pawl_rc)rc, PAWL_EFFECT_NONE, false,
                                      pawl_str(client->refusal));
    copy_result(blocking->type, blocking->result, &client->results.of);
}

static void run_blocking(struct pawl_client *client, struct blocking *blocking)
{
    pid_t pid = client->pid;

    pawl_client_pump(client);
    (void)pawl_client_deliver(client);
    while (!blocking->done) {
        if (client->pid != pid) { /* some callback forked, and this is the child */
            blocking->rc = PAWL_RC_CANCELED;
            return;
        }
        pawl_client_wait(client);
        (void)pawl_client_turn(client);
    }
}

static int call_and_wait(struct pawl_client *client, enum pawl_call_kind kind, const void *call,
                         void *result)
{
    struct blocking blocking = { pawl_client_call_type(kind), result, PAWL_RC_OK, false };
    int rc = PAWL_RC_BUSY;

    pawl_client_enter(client);
    if (!client->in_callback) {
        rc = submit_locked(client, kind, call, on_blocking, &blocking, NULL);
        if (rc == PAWL_RC_OK) {
            run_blocking(client, &blocking);
        } else {
            refuse_blocking(client, &blocking, rc);
        }
        rc = blocking.rc;
    }
    (void)pawl_client_leave(client);
    return rc;
}

#define BLOCKING(KIND, name, result_name)                                                          \
    int pawl_client_##name(struct pawl_client *client, const struct pawl_##name##_call *call,      \
                           struct pawl_##result_name##_result *result)                             \
    {                                                                                              \
        return call_and_wait(client, PAWL_CALL_##KIND, call, result);                              \
    }                                                                                              \
    int pawl_client_submit_##name(struct pawl_client *client,                                      \
                                  const struct pawl_##name##_call *call, pawl_on_answer on_answer, \
                                  void *data, uint64_t *id)                                        \
    {                                                                                              \
        return submit(client, PAWL_CALL_##KIND, call, on_answer, data, id);                        \
    }

BLOCKING(CHECK, check, check)
BLOCKING(TOKEN_CHECK, token_check, token_check)
BLOCKING(REFUND, refund, refund)
BLOCKING(RESET, reset, reset)
BLOCKING(REVOKE, revoke, revoke)
BLOCKING(UNREVOKE, unrevoke, unrevoke)
BLOCKING(FAMILY_OPEN, family_open, family_open)
BLOCKING(FAMILY_END, family_end, revoke)
BLOCKING(ROTATE, rotate, rotate)
BLOCKING(LIMITS, limits, limits)
BLOCKING(MEMBERS, members, members)
BLOCKING(STATS, stats, stats)
BLOCKING(THAW, thaw, thaw)
BLOCKING(PING, ping, ping)
BLOCKING(RESERVE, reserve, reserve)
BLOCKING(COMMIT, commit, commit)
BLOCKING(CANCEL_LEASE, cancel_lease, commit)
BLOCKING(TOP, top, top)
BLOCKING(WATCH, watch, watch)

/* ---- without blocking -------------------------------------------------------------------- */

const char *pawl_client_refusal(const struct pawl_client *client)
{
    return client->refusal;
}

int pawl_client_fd(struct pawl_client *client)
{
    int fd;

    pawl_client_enter(client);
    if (client->epoll_fd < 0) {
        client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        for (unsigned i = 0; i < client->conn_count; i++) {
            pawl_client_conn_watch(client, &client->conns[i]);
        }
    }
    fd = client->epoll_fd;
    (void)pawl_client_leave(client);
    return fd;
}

int pawl_client_events(struct pawl_client *client)
{
    (void)client;
    return POLLIN;
}

int pawl_client_timeout_ms(struct pawl_client *client)
{
    uint64_t next_ns;
    uint64_t now_ns;
    uint64_t left_ms = 0;

    pawl_client_enter(client);
    next_ns = pawl_client_next_ns(client);
    now_ns = client->clock_ns();
    (void)pawl_client_leave(client);
    if (next_ns == UINT64_MAX) {
        return -1;
    }
    if (next_ns > now_ns) {
        left_ms = (next_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
    }
    return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

int pawl_client_process(struct pawl_client *client, int revents)
{
    int count = PAWL_RC_BUSY;

    (void)revents;
    pawl_client_enter(client);
    if (!client->in_callback) {
        count = pawl_client_turn(client);
    }
    return pawl_client_leave(client) ? (int)PAWL_RC_CANCELED : count;
}

void pawl_client_flush(struct pawl_client *client)
{
    pawl_client_enter(client);
    if (!client->in_callback) { /* inside one the turn does it when the callbacks are through */
        pawl_client_pump(client);
    }
    (void)pawl_client_leave(client);
}

int pawl_client_cancel(struct pawl_client *client, uint64_t id)
{
    struct slot *slot;
    int rc = PAWL_RC_NOT_FOUND;

    pawl_client_enter(client);
    slot = pawl_client_slot_find(client, id);
    if (slot != NULL && (slot->state == SLOT_QUEUED || slot->state == SLOT_SENT)) {
        pawl_client_slot_fail(client, slot, PAWL_RC_CANCELED);
        rc = PAWL_RC_OK;
    }
    (void)pawl_client_leave(client);
    return rc;
}
