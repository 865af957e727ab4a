/* Requests: named tuples into libpawl's structs, and the table of the kinds of calls. */
#include "native.h"

#include <stddef.h>

/* What each call struct begins and ends with. */
#define BEGIN(call)                                \
    do {                                           \
        (call)->struct_size = sizeof(*(call));     \
        (call)->deadline_ms = reader->deadline_ms; \
        (call)->now_ms = reader->now_ms;           \
    } while (0)

#define U32(at, name, out)   native_read_u32(reader, request, (at), (name), (out))
#define U64(at, name, out)   native_read_u64(reader, request, (at), (name), UINT64_MAX, (out))
#define BOOL(at, name, out)  native_read_bool(reader, request, (at), (name), (out))
#define TEXT(at, name, out)  native_read_text(reader, request, (at), (name), (out))
#define BYTES(at, name, out) native_read_bytes(reader, request, (at), (name), (out))

/* ---- words ------------------------------------------------------------------------------- */

static unsigned scope_of(const char *text)
{
    return (unsigned)pawl_revoke_scope_from_text(text);
}

static unsigned why_of(const char *text)
{
    return (unsigned)pawl_why_from_text(text);
}

static unsigned level_of(const char *text)
{
    return (unsigned)pawl_level_from_text(text);
}

static bool read_why(struct native_reader *reader, PyObject *request, Py_ssize_t at,
                     enum pawl_why *why)
{
    unsigned value;

    if (!native_read_word(reader, request, at, "reason", why_of, &value)) {
        return false;
    }
    *why = (enum pawl_why)value;
    return true;
}

static bool read_level(struct native_reader *reader, PyObject *request, Py_ssize_t at,
                       enum pawl_level *level)
{
    unsigned value;

    if (!native_read_word(reader, request, at, "level", level_of, &value)) {
        return false;
    }
    *level = (enum pawl_level)value;
    return true;
}

static bool read_algorithm(struct native_reader *reader, PyObject *item, uint32_t *algorithm)
{
    static const struct {
        const char *word;
        uint32_t value;
    } known[] = {
        { "sliding", PAWL_RATE_SLIDING },
        { "gcra", PAWL_RATE_GCRA },
        { "concurrency", PAWL_RATE_CONCURRENCY },
    };
    PyObject *word = PyTuple_GetItem(item, 7);

    for (size_t i = 0; word != NULL && PyUnicode_Check(word) && i < 3; i++) {
        if (PyUnicode_CompareWithASCIIString(word, known[i].word) == 0) {
            *algorithm = known[i].value;
            return true;
        }
    }
    return native_refuse(reader, "algorithm", "write 'sliding', 'gcra' or 'concurrency'");
}

/* ---- items ------------------------------------------------------------------------------- */

/* The parts of an item that every call has. */
struct item_parts {
    struct native_item *space;
    struct pawl_str limit;
    size_t key_count;
    size_t rate_count;
    uint64_t cost;
};

static bool read_key(struct native_reader *reader, PyObject *item, struct item_parts *parts)
{
    Py_ssize_t count = 0;
    PyObject *key = native_read_tuple(reader, item, 0, "key", 1, NATIVE_KEY_PARTS, &count);

    for (Py_ssize_t i = 0; key != NULL && i < count; i++) {
        if (!native_read_bytes(reader, key, i, "key", &parts->space->key[i])) {
            return false;
        }
    }
    parts->key_count = (size_t)count;
    return key != NULL;
}

static bool read_rates(struct native_reader *reader, PyObject *item, uint32_t algorithm,
                       struct item_parts *parts)
{
    Py_ssize_t count = 0;
    PyObject *rates = native_read_tuple(reader, item, 1, "rates", 0, PAWL_TEXT_RATES, &count);
    uint64_t burst = 0;

    if (rates == NULL || !native_read_u64(reader, item, 8, "burst", UINT64_MAX, &burst)) {
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        struct pawl_rate_spec *spec = &parts->space->rates[i];
        PyObject *rate = PyTuple_GetItem(rates, i);

        memset(spec, 0, sizeof(*spec));
        if (rate == NULL || !native_is(reader, rate, "rates", CLASS_RATE) ||
            !native_read_u64(reader, rate, 0, "rates.count", UINT64_MAX, &spec->count) ||
            !native_read_u32(reader, rate, 1, "rates.window_ms", &spec->window_ms)) {
            return false;
        }
        spec->algorithm = algorithm;
        spec->burst = burst;
    }
    parts->rate_count = (size_t)count;
    return true;
}

static bool read_parts(struct native_reader *reader, PyObject *item, struct native_item *space,
                       struct item_parts *parts)
{
    uint32_t algorithm = PAWL_RATE_SLIDING;

    parts->space = space;
    if (!native_is(reader, item, "item", CLASS_ITEM) || !read_algorithm(reader, item, &algorithm) ||
        !read_key(reader, item, parts) || !read_rates(reader, item, algorithm, parts) ||
        !native_read_text(reader, item, 2, "limit", &parts->limit) ||
        !native_read_u64(reader, item, 3, "cost", UINT64_MAX, &parts->cost)) {
        return false;
    }
    if (parts->cost == 0) { /* libpawl would take it for 1 */
        return native_refuse(reader, "cost", "at least 1; to look without charging use peek");
    }
    return true;
}

static bool read_check_item(struct native_reader *reader, PyObject *item, struct native_item *space,
                            struct pawl_check_item *to)
{
    struct item_parts parts;

    if (!read_parts(reader, item, space, &parts) ||
        !native_read_u32(reader, item, 5, "precision", &to->precision) ||
        !native_read_text(reader, item, 6, "tier", &to->tier)) {
        return false;
    }
    to->limit = parts.limit;
    to->key = space->key;
    to->key_count = parts.key_count;
    to->rate_list = parts.rate_count > 0 ? space->rates : NULL;
    to->rate_count = parts.rate_count;
    to->cost = parts.cost;
    return true;
}

/* Field 0 of a request, a tuple, as check items; *@count of them. */
static bool read_check_items(struct native_reader *reader, PyObject *request, Py_ssize_t min,
                             size_t *count)
{
    Py_ssize_t given = 0;
    PyObject *items = native_read_tuple(reader, request, 0, "items", min, NATIVE_ITEMS_MAX, &given);

    if (items == NULL || !native_reader_room(reader, (size_t)given)) {
        return false;
    }
    reader->list = "items";
    for (Py_ssize_t i = 0; i < given; i++) {
        reader->index = i;
        if (!read_check_item(reader, PyTuple_GetItem(items, i), &reader->spaces[i],
                             &reader->items.check[i])) {
            return false;
        }
    }
    reader->list = NULL;
    *count = (size_t)given;
    return true;
}

static bool read_token(struct native_reader *reader, PyObject *request)
{
    struct pawl_token *token = &reader->token;

    token->struct_size = sizeof(*token);
    return native_is(reader, request, "token", CLASS_TOKEN) &&
           TEXT(0, "token.issuer", &token->issuer) && TEXT(1, "token.jti", &token->jti) &&
           TEXT(2, "token.subject", &token->subject) && TEXT(3, "token.client", &token->client) &&
           TEXT(4, "token.key", &token->key) && TEXT(5, "token.sid", &token->sid) &&
           U64(6, "token.iat_s", &token->iat_s) && U64(7, "token.exp_s", &token->exp_s) &&
           BYTES(8, "token.opaque", &token->opaque) &&
           BYTES(9, "token.signed_text", &token->signed_text) &&
           BYTES(10, "token.raw", &token->raw) && TEXT(11, "token.audience", &token->audience) &&
           TEXT(12, "token.type", &token->type);
}

/* ---- checks ------------------------------------------------------------------------------ */

NATIVE_READ(check)
{
    PyObject *token = PyTuple_GetItem(request, 1);
    bool peek = false;
    bool each = false;

    BEGIN(&call->check);
    if (token == NULL || !read_check_items(reader, request, 0, &call->check.item_count) ||
        !BOOL(2, "peek", &peek) || !BOOL(3, "each", &each) ||
        !TEXT(4, "namespace", &call->check.ns)) {
        return false;
    }
    call->check.items = reader->items.check;
    call->check.flags = (peek ? PAWL_CHECK_PEEK : 0) | (each ? PAWL_CHECK_EACH : 0);
    if (token != Py_None) {
        call->check.token = &reader->token;
        return read_token(reader, token);
    }
    return true;
}

NATIVE_READ(token_check)
{
    PyObject *token = PyTuple_GetItem(request, 0);

    BEGIN(&call->token_check);
    call->token_check.token = &reader->token;
    return token != NULL && read_token(reader, token) &&
           TEXT(1, "namespace", &call->token_check.ns);
}

static bool read_charges(struct native_reader *reader, PyObject *refund, struct native_item *space,
                         struct pawl_refund_item *to)
{
    Py_ssize_t count = 0;
    PyObject *charges = native_read_tuple(reader, refund, 1, "charges", 0, PAWL_TEXT_RATES, &count);

    for (Py_ssize_t i = 0; charges != NULL && i < count; i++) {
        if (!native_read_u64(reader, charges, i, "charges", UINT64_MAX, &space->charges[i])) {
            return false;
        }
    }
    to->charges = space->charges;
    to->charge_count = (size_t)count;
    return charges != NULL;
}

static bool read_refund_item(struct native_reader *reader, PyObject *refund,
                             struct native_item *space, struct pawl_refund_item *to)
{
    struct item_parts parts;
    PyObject *item;

    if (!native_is(reader, refund, "item", CLASS_REFUND_ITEM)) {
        return false;
    }
    item = PyTuple_GetItem(refund, 0);
    if (item == NULL || !read_parts(reader, item, space, &parts)) {
        return false;
    }
    to->limit = parts.limit;
    to->key = space->key;
    to->key_count = parts.key_count;
    to->rate_list = parts.rate_count > 0 ? space->rates : NULL;
    to->rate_count = parts.rate_count;
    to->cost = parts.cost;
    return read_charges(reader, refund, space, to);
}

NATIVE_READ(refund)
{
    Py_ssize_t count = 0;
    PyObject *items = native_read_tuple(reader, request, 0, "items", 1, NATIVE_ITEMS_MAX, &count);

    BEGIN(&call->refund);
    if (items == NULL || !native_reader_room(reader, (size_t)count)) {
        return false;
    }
    reader->list = "items";
    for (Py_ssize_t i = 0; i < count; i++) {
        reader->index = i;
        if (!read_refund_item(reader, PyTuple_GetItem(items, i), &reader->spaces[i],
                              &reader->items.refund[i])) {
            return false;
        }
    }
    reader->list = NULL;
    call->refund.items = reader->items.refund;
    call->refund.item_count = (size_t)count;
    return TEXT(1, "namespace", &call->refund.ns);
}

NATIVE_READ(reset)
{
    PyObject *item = PyTuple_GetItem(request, 0);
    struct item_parts parts;

    BEGIN(&call->reset);
    if (item == NULL || !native_reader_room(reader, 1) ||
        !read_parts(reader, item, &reader->spaces[0], &parts)) {
        return false;
    }
    call->reset.limit = parts.limit;
    call->reset.key = parts.space->key;
    call->reset.key_count = parts.key_count;
    call->reset.rate_list = parts.rate_count > 0 ? parts.space->rates : NULL;
    call->reset.rate_count = parts.rate_count;
    return TEXT(1, "namespace", &call->reset.ns);
}

NATIVE_READ(reserve)
{
    BEGIN(&call->reserve);
    if (!read_check_items(reader, request, 1, &call->reserve.item_count)) {
        return false;
    }
    call->reserve.items = reader->items.check;
    return U64(1, "min", &call->reserve.min) && U64(2, "max", &call->reserve.max) &&
           U32(3, "lease_ms", &call->reserve.lease_ms) && TEXT(4, "namespace", &call->reserve.ns);
}

NATIVE_READ(commit)
{
    BEGIN(&call->commit);
    return native_read_exactly(reader, request, 0, "lease", call->commit.lease, PAWL_LEASE_BYTES) &&
           U64(1, "used", &call->commit.used) && TEXT(2, "namespace", &call->commit.ns);
}

NATIVE_READ(cancel_lease)
{
    BEGIN(&call->cancel_lease);
    return native_read_exactly(reader, request, 0, "lease", call->cancel_lease.lease,
                               PAWL_LEASE_BYTES) &&
           TEXT(1, "namespace", &call->cancel_lease.ns);
}

/* ---- tokens ------------------------------------------------------------------------------ */

NATIVE_READ(revoke)
{
    struct pawl_revoke_call *revoke = &call->revoke;
    unsigned scope = 0;
    bool hashed = false;

    BEGIN(revoke);
    if (!native_read_word(reader, request, 0, "scope", scope_of, &scope) ||
        !BYTES(1, "value", &revoke->value) || !read_why(reader, request, 2, &revoke->reason) ||
        !TEXT(3, "issuer", &revoke->issuer) || !U64(4, "before_ms", &revoke->before_ms) ||
        !U64(5, "exp_s", &revoke->exp_s) || !TEXT(6, "actor", &revoke->actor) ||
        !read_level(reader, request, 7, &revoke->level) || !BOOL(8, "hashed", &hashed) ||
        !TEXT(9, "namespace", &revoke->ns)) {
        return false;
    }
    if (scope == 0) {
        return native_refuse(reader, "scope", "say what is revoked: 'token', 'subject', ...");
    }
    revoke->scope = (enum pawl_revoke_scope)scope;
    revoke->flags = hashed ? PAWL_REVOKE_HASHED : 0;
    return true;
}

NATIVE_READ(unrevoke)
{
    Py_ssize_t count = 0;
    PyObject *ids = native_read_tuple(reader, request, 0, "ids", 1, NATIVE_ITEMS_MAX, &count);

    BEGIN(&call->unrevoke);
    if (ids == NULL || !native_reader_room(reader, (size_t)count)) {
        return false;
    }
    reader->list = "ids";
    for (Py_ssize_t i = 0; i < count; i++) {
        struct pawl_fact_name *name = &reader->items.names[i];
        PyObject *id = PyTuple_GetItem(ids, i);

        reader->index = i;
        memset(name, 0, sizeof(*name));
        name->origin_size = sizeof(name->origin);
        if (id == NULL || !native_is(reader, id, "id", CLASS_FACT_NAME) ||
            !native_read_exactly(reader, id, 0, "origin", name->origin, sizeof(name->origin)) ||
            !native_read_u64(reader, id, 1, "sequence", UINT64_MAX, &name->sequence)) {
            return false;
        }
    }
    reader->list = NULL;
    call->unrevoke.ids = reader->items.names;
    call->unrevoke.id_count = (size_t)count;
    return TEXT(1, "actor", &call->unrevoke.actor) &&
           read_level(reader, request, 2, &call->unrevoke.level) &&
           TEXT(3, "namespace", &call->unrevoke.ns);
}

NATIVE_READ(family_open)
{
    struct pawl_family_open_call *open = &call->family_open;

    BEGIN(open);
    return TEXT(0, "subject", &open->subject) && U64(1, "exp_s", &open->exp_s) &&
           TEXT(2, "jti", &open->jti) && BYTES(3, "opaque", &open->opaque) &&
           TEXT(4, "issuer", &open->issuer) && TEXT(5, "client", &open->client) &&
           BYTES(6, "binding", &open->binding) && U64(7, "iat_s", &open->iat_s) &&
           read_level(reader, request, 8, &open->level) && TEXT(9, "namespace", &open->ns);
}

NATIVE_READ(family_end)
{
    struct pawl_family_end_call *end = &call->family_end;

    BEGIN(end);
    return TEXT(0, "sid", &end->sid) && TEXT(1, "issuer", &end->issuer) &&
           read_why(reader, request, 2, &end->reason) && TEXT(3, "actor", &end->actor) &&
           U64(4, "exp_s", &end->exp_s) && read_level(reader, request, 5, &end->level) &&
           TEXT(6, "namespace", &end->ns);
}

/* generation and leeway_ms, which may be None. */
static bool read_optional(struct native_reader *reader, PyObject *request,
                          struct pawl_rotate_call *rotate)
{
    PyObject *generation = PyTuple_GetItem(request, 6);
    PyObject *leeway = PyTuple_GetItem(request, 7);

    if (generation == NULL || leeway == NULL) {
        return false;
    }
    if (generation != Py_None) {
        rotate->flags |= PAWL_ROTATE_HAS_GENERATION;
        if (!U64(6, "generation", &rotate->generation)) {
            return false;
        }
    }
    if (leeway != Py_None) {
        rotate->flags |= PAWL_ROTATE_HAS_LEEWAY;
        return U32(7, "leeway_ms", &rotate->leeway_ms);
    }
    return true;
}

NATIVE_READ(rotate)
{
    struct pawl_rotate_call *rotate = &call->rotate;
    PyObject *presented = PyTuple_GetItem(request, 0);
    bool adopt = false;
    bool verified = false;

    BEGIN(rotate);
    rotate->presented = &reader->token;
    if (presented == NULL || !read_token(reader, presented) ||
        !U64(1, "next_exp_s", &rotate->next_exp_s) || !TEXT(2, "next_jti", &rotate->next_jti) ||
        !BYTES(3, "next_opaque", &rotate->next_opaque) ||
        !BYTES(4, "next_seed", &rotate->next_seed) || !U64(5, "next_iat_s", &rotate->next_iat_s) ||
        !read_optional(reader, request, rotate) || !BOOL(8, "adopt", &adopt) ||
        !BOOL(9, "verified", &verified) || !BYTES(10, "binding", &rotate->binding) ||
        !BYTES(11, "request_id", &rotate->request_id) ||
        !read_level(reader, request, 12, &rotate->level) || !TEXT(13, "namespace", &rotate->ns)) {
        return false;
    }
    rotate->flags |= (adopt ? PAWL_ROTATE_ADOPT : 0) | (verified ? PAWL_ROTATE_VERIFIED : 0);
    return true;
}

/* ---- listings ---------------------------------------------------------------------------- */

NATIVE_READ(limits)
{
    BEGIN(&call->limits);
    return TEXT(0, "limit", &call->limits.limit) && TEXT(1, "after", &call->limits.after) &&
           TEXT(2, "namespace", &call->limits.ns);
}

NATIVE_READ(stats)
{
    BEGIN(&call->stats);
    return TEXT(0, "prefix", &call->stats.prefix) && TEXT(1, "namespace", &call->stats.ns);
}

NATIVE_READ(ping)
{
    BEGIN(&call->ping);
    return TEXT(0, "namespace", &call->ping.ns);
}

/* ---- the table --------------------------------------------------------------------------- */

#define SUBMIT(name)                                                                    \
    static int submit_##name(struct pawl_client *client, const union native_call *call, \
                             pawl_on_answer on_answer, void *data, uint64_t *id)        \
    {                                                                                   \
        return pawl_client_submit_##name(client, &call->name, on_answer, data, id);     \
    }

SUBMIT(check)
SUBMIT(token_check)
SUBMIT(refund)
SUBMIT(reset)
SUBMIT(reserve)
SUBMIT(commit)
SUBMIT(cancel_lease)
SUBMIT(revoke)
SUBMIT(unrevoke)
SUBMIT(family_open)
SUBMIT(family_end)
SUBMIT(rotate)
SUBMIT(limits)
SUBMIT(stats)
SUBMIT(ping)

#define KIND(class, name, result)                                                \
    {                                                                            \
        .request = (class), .read = native_read_##name, .submit = submit_##name, \
        .answer = native_answer_##result,                                        \
        .info_at = offsetof(struct pawl_##result##_result, info),                \
    }

const struct native_kind native_kinds[NATIVE_CALLS] = {
    [KIND_CHECK] = KIND(CLASS_CHECK_REQUEST, check, check),
    [KIND_TOKEN_CHECK] = KIND(CLASS_TOKEN_CHECK_REQUEST, token_check, token_check),
    [KIND_REFUND] = KIND(CLASS_REFUND_REQUEST, refund, refund),
    [KIND_RESET] = KIND(CLASS_RESET_REQUEST, reset, reset),
    [KIND_RESERVE] = KIND(CLASS_RESERVE_REQUEST, reserve, reserve),
    [KIND_COMMIT] = KIND(CLASS_COMMIT_REQUEST, commit, commit),
    [KIND_CANCEL_LEASE] = KIND(CLASS_CANCEL_REQUEST, cancel_lease, commit),
    [KIND_REVOKE] = KIND(CLASS_REVOKE_REQUEST, revoke, revoke),
    [KIND_UNREVOKE] = KIND(CLASS_UNREVOKE_REQUEST, unrevoke, unrevoke),
    [KIND_FAMILY_OPEN] = KIND(CLASS_FAMILY_OPEN_REQUEST, family_open, family_open),
    [KIND_FAMILY_END] = KIND(CLASS_FAMILY_END_REQUEST, family_end, revoke),
    [KIND_ROTATE] = KIND(CLASS_ROTATE_REQUEST, rotate, rotate),
    [KIND_LIMITS] = KIND(CLASS_LIMITS_REQUEST, limits, limits),
    [KIND_STATS] = KIND(CLASS_STATS_REQUEST, stats, stats),
    [KIND_PING] = KIND(CLASS_PING_REQUEST, ping, ping),
};
