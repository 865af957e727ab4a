#include "core/fact.h"

#include "core/octets.h"

#include <stdio.h>
#include <string.h>

#define FACT_VERSION 1
#define FACT_HEAD    (1 + 1 + PAWL_FACT_ID_BYTES + 8 + 8 + 2) /* up to and with ns' size */

_Static_assert(FACT_HEAD + PAWL_NS_MAX + 10 + 5 * 2 + 2 * PAWL_NAME_MAX + PAWL_ACTOR_MAX +
                       PAWL_FACT_CANCELS_BYTES_MAX + PAWL_FACT_EXTRA_MAX <=
                   PAWL_FACT_BYTES_MAX,
               "any fact fits");

const char *pawl_reason_name(enum pawl_reason reason)
{
    switch (reason) {
#define X(name, value, text) \
    case PAWL_REASON_##name: \
        return text;
        PAWL_REASON_MAP(X)
#undef X
    }
    return "other";
}

static bool bytes_equal(struct pawl_bytes a, const char *text)
{
    return a.size == strlen(text) && memcmp(a.data, text, a.size) == 0;
}

enum pawl_reason pawl_reason_parse(struct pawl_bytes name)
{
#define X(id, value, text)         \
    if (bytes_equal(name, text)) { \
        return PAWL_REASON_##id;   \
    }
    PAWL_REASON_MAP(X)
#undef X
    return PAWL_REASON_NONE;
}

const char *pawl_scope_name(enum pawl_scope scope)
{
    static const char *const names[PAWL_SCOPES] = { "none",   "token",  "signed",
                                                    "opaque", "family", "subject",
                                                    "client", "key",    "namespace" };

    return (unsigned)scope < PAWL_SCOPES ? names[scope] : "none";
}

/*
 * The top two bits of an identity are its class, so that tables keep the few entries about
 * subjects, clients and keys apart from the many about tokens: a look-up that finds nothing, as
 * nearly all do, then stays in the cache. The other 126 bits are the hash.
 */
static struct pawl_id with_class(enum pawl_scope scope, struct pawl_id id)
{
    uint64_t class = scope < PAWL_SCOPE_FAMILY     ? 0
                     : scope == PAWL_SCOPE_FAMILY  ? 1
                     : scope == PAWL_SCOPE_SUBJECT ? 2
                                                   : 3;

    id.hi = (id.hi >> 2) | class << 62;
    return id;
}

static bool scope_has_issuer(enum pawl_scope scope)
{
    return scope != PAWL_SCOPE_SIGNED && scope != PAWL_SCOPE_OPAQUE &&
           scope != PAWL_SCOPE_NAMESPACE;
}

void pawl_scope_keyer_init(struct pawl_scope_keyer *keyer, const struct pawl_subkey *facts,
                           struct pawl_bytes ns, struct pawl_bytes issuer)
{
    if (PAWL_UNLIKELY(ns.size > PAWL_NS_MAX || issuer.size > PAWL_NAME_MAX)) {
        __builtin_trap(); /* callers check the caps */
    }
    keyer->facts = facts;
    keyer->ns = ns;
    keyer->shared = pawl_siphash_init(facts);
    pawl_siphash_part(&keyer->shared, ns);
    pawl_siphash_part(&keyer->shared, issuer);
}

static struct pawl_id keyer_end(const struct pawl_scope_keyer *keyer, enum pawl_scope scope,
                                struct pawl_bytes value)
{
    struct pawl_siphash state = keyer->shared;

    if (PAWL_UNLIKELY(value.size > PAWL_NAME_MAX)) {
        __builtin_trap();
    }
    pawl_siphash_put(&state, UINT64_C(1) | (uint64_t)scope << 32, 5); /* a part of one byte */
    pawl_siphash_part(&state, value);
    return with_class(scope, pawl_siphash_end(state));
}

struct pawl_id pawl_scope_keyer_id(const struct pawl_scope_keyer *keyer, enum pawl_scope scope,
                                   struct pawl_bytes value)
{
    if (!scope_has_issuer(scope)) {
        return pawl_scope_id(keyer->facts, scope, keyer->ns, pawl_bytes_of(NULL, 0), value);
    }
    return keyer_end(keyer, scope, value);
}

struct pawl_id pawl_scope_id(const struct pawl_subkey *facts, enum pawl_scope scope,
                             struct pawl_bytes ns, struct pawl_bytes issuer,
                             struct pawl_bytes value)
{
    struct pawl_scope_keyer keyer;

    pawl_scope_keyer_init(&keyer, facts, ns,
                          scope_has_issuer(scope) ? issuer : pawl_bytes_of(NULL, 0));
    return keyer_end(&keyer, scope, value);
}

struct pawl_id pawl_fact_scope_id(const struct pawl_subkey *facts, const struct pawl_fact *fact)
{
    return pawl_scope_id(facts, fact->scope, fact->ns, fact->issuer, fact->value);
}

static uint64_t add_capped(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

uint64_t pawl_fact_until(enum pawl_scope scope, int64_t exp_s, uint64_t now_s,
                         uint64_t max_lifetime_s)
{
    uint64_t last_s = add_capped(now_s, max_lifetime_s);

    if (pawl_scope_is_token(scope) && exp_s > 0 && (uint64_t)exp_s < last_s) {
        last_s = (uint64_t)exp_s;
    }
    return add_capped(last_s, PAWL_FACT_SLACK_S);
}

uint64_t pawl_cutoff_ms(struct pawl_stamp now, uint64_t before_ms, uint64_t birth_max_ms)
{
    uint64_t latest_ms = now.us / 1000 + PAWL_CUTOFF_BOUND_MS;

    if (birth_max_ms > latest_ms) {
        latest_ms = birth_max_ms;
    }
    return before_ms == 0 || before_ms > latest_ms ? latest_ms : before_ms;
}

bool pawl_fact_cancellable(const struct pawl_fact *fact)
{
    return pawl_fact_is_known(fact) && fact->kind == PAWL_FACT_REVOCATION &&
           pawl_scope_is_token(fact->scope);
}

bool pawl_fact_cancels(const struct pawl_fact *fact, const struct pawl_fact_id *id)
{
    uint8_t wanted[PAWL_FACT_ID_BYTES];

    if (fact->kind != PAWL_FACT_CANCEL || !pawl_fact_is_known(fact)) {
        return false;
    }
    pawl_fact_id_write(wanted, id);
    for (size_t at = 0; at + sizeof(wanted) <= fact->cancels.size; at += sizeof(wanted)) {
        if (memcmp(fact->cancels.data + at, wanted, sizeof(wanted)) == 0) {
            return true;
        }
    }
    return false;
}

static enum pawl_status check_sizes(const struct pawl_fact *fact, struct pawl_error *error)
{
    const struct {
        const char *name;
        size_t size;
        size_t max;
    } parts[] = {
        { "namespace", fact->ns.size, PAWL_NS_MAX },
        { "issuer", fact->issuer.size, PAWL_NAME_MAX },
        { "value", fact->value.size, PAWL_NAME_MAX },
        { "actor", fact->actor.size, PAWL_ACTOR_MAX },
        { "cancels", fact->cancels.size, PAWL_FACT_CANCELS_BYTES_MAX },
        { "extra", fact->extra.size, PAWL_FACT_EXTRA_MAX },
    };

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].size > parts[i].max) {
            return pawl_error_set(error, PAWL_ETOOBIG, 0,
                                  "the %s of a fact has %zu bytes, at most %zu are allowed",
                                  parts[i].name, parts[i].size, parts[i].max);
        }
    }
    return PAWL_OK;
}

static enum pawl_status check_about(const struct pawl_fact *fact, struct pawl_error *error)
{
    bool hash = fact->scope == PAWL_SCOPE_SIGNED || fact->scope == PAWL_SCOPE_OPAQUE;

    if (fact->scope <= PAWL_SCOPE_NONE || fact->scope >= PAWL_SCOPES) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "a fact needs a scope");
    }
    if ((fact->scope == PAWL_SCOPE_NAMESPACE) != (fact->value.size == 0)) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "a fact about a %s %s",
                              pawl_scope_name(fact->scope),
                              fact->value.size == 0 ? "must name it" : "names no value");
    }
    if (hash && fact->value.size != PAWL_SHA256_BYTES) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "a token without jti is named by the 32 bytes of a SHA-256, not %zu",
                              fact->value.size);
    }
    return PAWL_OK;
}

static enum pawl_status check_kind(const struct pawl_fact *fact, struct pawl_error *error)
{
    switch (fact->kind) {
    case PAWL_FACT_REVOCATION:
        if (fact->cutoff_ms != 0 || fact->cancels.size != 0) {
            return pawl_error_set(error, PAWL_EINVAL, 0, "a revocation has no cutoff or cancels");
        }
        return check_about(fact, error);
    case PAWL_FACT_CUTOFF:
        if (!pawl_scope_has_cutoff(fact->scope) || fact->cancels.size != 0) {
            return pawl_error_set(error, PAWL_EINVAL, 0,
                                  "a cutoff is about a subject, client, key or namespace");
        }
        if (fact->cutoff_ms == 0 || fact->cutoff_ms >= PAWL_CUTOFF_ALL_MS) {
            return pawl_error_set(error, PAWL_EINVAL, 0, "the time of a cutoff is out of range");
        }
        return check_about(fact, error);
    case PAWL_FACT_CANCEL:
        if (fact->cancels.size == 0 || fact->cancels.size % PAWL_FACT_ID_BYTES != 0) {
            return pawl_error_set(error, PAWL_EINVAL, 0, "a cancel names one fact or more");
        }
        if (fact->scope != PAWL_SCOPE_NONE || fact->value.size != 0 || fact->cutoff_ms != 0) {
            return pawl_error_set(error, PAWL_EINVAL, 0, "a cancel names facts and nothing else");
        }
        return PAWL_OK;
    default:
        return pawl_error_set(error, PAWL_EINVAL, 0, "kind %u of facts is not known here",
                              fact->kind);
    }
}

enum pawl_status pawl_fact_check(const struct pawl_fact *fact, struct pawl_error *error)
{
    enum pawl_status status = check_sizes(fact, error);

    if (status != PAWL_OK) {
        return status;
    }
    if (fact->ns.size == 0) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "a fact needs a namespace");
    }
    if ((unsigned)fact->reason > PAWL_REASON_OTHER) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "a reason is at most %u",
                              (unsigned)PAWL_REASON_OTHER);
    }
    if (fact->until_s == 0) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "a fact needs a time until when it is kept");
    }
    return check_kind(fact, error);
}

void pawl_fact_id_write(uint8_t *out, const struct pawl_fact_id *id)
{
    memcpy(out, id->origin.bytes, PAWL_ORIGIN_BYTES);
    for (unsigned i = 0; i < 8; i++) {
        out[PAWL_ORIGIN_BYTES + i] = (uint8_t)(id->sequence >> (8 * i));
    }
}

struct pawl_fact_id pawl_fact_id_read(const uint8_t *bytes)
{
    struct pawl_fact_id id = { .sequence = 0 };

    memcpy(id.origin.bytes, bytes, PAWL_ORIGIN_BYTES);
    for (unsigned i = 0; i < 8; i++) {
        id.sequence |= (uint64_t)bytes[PAWL_ORIGIN_BYTES + i] << (8 * i);
    }
    return id;
}

int pawl_fact_id_compare(const struct pawl_fact_id *a, const struct pawl_fact_id *b)
{
    int order = memcmp(a->origin.bytes, b->origin.bytes, PAWL_ORIGIN_BYTES);

    if (order != 0) {
        return order;
    }
    return a->sequence == b->sequence ? 0 : a->sequence < b->sequence ? -1 : 1;
}

void pawl_fact_id_format(char *text, const struct pawl_fact_id *id)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < PAWL_ORIGIN_BYTES; i++) {
        text[2 * i] = digits[id->origin.bytes[i] >> 4];
        text[2 * i + 1] = digits[id->origin.bytes[i] & 15];
    }
    (void)snprintf(text + 2 * (size_t)PAWL_ORIGIN_BYTES,
                   PAWL_FACT_ID_TEXT_BYTES - 2 * (size_t)PAWL_ORIGIN_BYTES, "-%llu",
                   (unsigned long long)id->sequence);
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum pawl_status pawl_fact_id_parse(struct pawl_fact_id *id, struct pawl_bytes text)
{
    const size_t hex = 2 * (size_t)PAWL_ORIGIN_BYTES;
    struct pawl_fact_id out = { .sequence = 0 };

    if (text.size < hex + 2 || text.size >= PAWL_FACT_ID_TEXT_BYTES || text.data[hex] != '-' ||
        text.data[hex + 1] == '0') {
        return PAWL_EINVAL;
    }
    for (size_t i = 0; i < hex; i++) {
        int digit = hex_digit(text.data[i]);

        if (digit < 0) {
            return PAWL_EINVAL;
        }
        out.origin.bytes[i / 2] = (uint8_t)(out.origin.bytes[i / 2] << 4 | digit);
    }
    for (size_t i = hex + 1; i < text.size; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';

        if (digit > 9 || out.sequence > (UINT64_MAX - digit) / 10) {
            return PAWL_EINVAL;
        }
        out.sequence = 10 * out.sequence + digit;
    }
    *id = out;
    return PAWL_OK;
}

enum pawl_status pawl_fact_encode(const struct pawl_fact *fact, uint8_t *buffer, size_t capacity,
                                  size_t *size)
{
    struct pawl_octet_writer out = pawl_octet_writer_init(buffer, capacity);
    uint8_t id[PAWL_FACT_ID_BYTES];

    if (pawl_fact_is_known(fact)) {
        enum pawl_status status = pawl_fact_check(fact, NULL);

        if (status != PAWL_OK) {
            return status;
        }
        pawl_fact_id_write(id, &fact->id);
        pawl_octet_put_uint(&out, FACT_VERSION, 1);
        pawl_octet_put_uint(&out, fact->kind, 1);
        pawl_octet_put(&out, id, sizeof(id));
        pawl_octet_put_uint(&out, fact->at_ms, 8);
        pawl_octet_put_uint(&out, fact->until_s, 8);
        pawl_octet_put_part(&out, fact->ns);
        pawl_octet_put_uint(&out, (uint64_t)fact->scope, 1);
        pawl_octet_put_uint(&out, (uint64_t)fact->reason, 1);
        pawl_octet_put_uint(&out, fact->cutoff_ms, 8);
        pawl_octet_put_part(&out, fact->issuer);
        pawl_octet_put_part(&out, fact->value);
        pawl_octet_put_part(&out, fact->actor);
        pawl_octet_put_part(&out, fact->cancels);
        pawl_octet_put_part(&out, fact->extra);
    } else {
        pawl_octet_put(&out, fact->raw.data, fact->raw.size);
    }
    if (out.overflown) {
        return PAWL_ETOOBIG;
    }
    *size = out.size;
    return PAWL_OK;
}

/* What follows the head in version 1. */
static void read_body(struct pawl_fact *fact, struct pawl_octet_reader *in)
{
    fact->scope = (enum pawl_scope)pawl_octet_get_uint(in, 1);
    fact->reason = (enum pawl_reason)pawl_octet_get_uint(in, 1);
    fact->cutoff_ms = pawl_octet_get_uint(in, 8);
    fact->issuer = pawl_octet_get_part(in, PAWL_NAME_MAX);
    fact->value = pawl_octet_get_part(in, PAWL_NAME_MAX);
    fact->actor = pawl_octet_get_part(in, PAWL_ACTOR_MAX);
    fact->cancels = pawl_octet_get_part(in, PAWL_FACT_CANCELS_BYTES_MAX);
    fact->extra = pawl_octet_get_part(in, PAWL_FACT_EXTRA_MAX);
}

enum pawl_status pawl_fact_decode(struct pawl_fact *fact, struct pawl_bytes bytes)
{
    struct pawl_octet_reader in = { bytes.data, bytes.size, 0, bytes.size > PAWL_FACT_BYTES_MAX };
    struct pawl_fact out = { .kind = 0 };
    uint64_t version = pawl_octet_get_uint(&in, 1);
    const uint8_t *id;

    memset(fact, 0, sizeof(*fact));
    out.kind = (unsigned)pawl_octet_get_uint(&in, 1);
    id = pawl_octet_get(&in, PAWL_FACT_ID_BYTES);
    out.at_ms = pawl_octet_get_uint(&in, 8);
    out.until_s = pawl_octet_get_uint(&in, 8);
    out.ns = pawl_octet_get_part(&in, PAWL_NS_MAX);
    if (in.bad || id == NULL || version == 0 || out.kind == PAWL_FACT_NONE || out.ns.size == 0 ||
        out.until_s == 0) {
        return PAWL_ECORRUPT;
    }
    out.id = pawl_fact_id_read(id);
    if (version > FACT_VERSION || out.kind > PAWL_FACT_CANCEL) {
        out.raw = bytes;
        *fact = out;
        return PAWL_OK;
    }
    read_body(&out, &in);
    if (!pawl_octet_all_read(&in) || pawl_fact_check(&out, NULL) != PAWL_OK) {
        return PAWL_ECORRUPT;
    }
    *fact = out;
    return PAWL_OK;
}
