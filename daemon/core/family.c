#include "core/family.h"

#include "core/octets.h"

#include <string.h>

/*
 * Serialized form, little endian: version u8 = 1, state u8, reason u8, flags u8 (1: reuse was
 * reported), then u64 each: born, abs_exp, idle, generation, rotated, superseded, grace_until,
 * revoked; grace_uses u32; u16+bytes each: ns, issuer, sid, subject, client, binding, actor; the
 * current and the previous token as scope u8, iat u64, exp u64, seed 16, value u16+bytes; count
 * u8 and that many hashes of 16 bytes. Nothing may follow.
 */
#define FAMILY_VERSION      1
#define FLAG_REUSE_REPORTED 1
#define TOKEN_BYTES_MAX     (1 + 8 + 8 + PAWL_FAMILY_SEED_BYTES + 2 + PAWL_NAME_MAX)

_Static_assert(4 + 8 * 8 + 4 + 7 * 2 + PAWL_NS_MAX + 4 * PAWL_NAME_MAX + PAWL_FAMILY_KEY_BYTES +
                       PAWL_ACTOR_MAX + 2 * TOKEN_BYTES_MAX + 1 + 16 * PAWL_FAMILY_JTIS <=
                   PAWL_FAMILY_BYTES_MAX,
               "any family fits");

bool pawl_name_set(struct pawl_name *name, struct pawl_bytes bytes)
{
    if (bytes.size > PAWL_NAME_MAX) {
        name->size = 0;
        return false;
    }
    name->size = (uint16_t)bytes.size;
    if (bytes.size > 0) {
        memcpy(name->data, bytes.data, bytes.size);
    }
    return true;
}

struct pawl_id pawl_family_jti(enum pawl_scope scope, struct pawl_bytes value)
{
    uint8_t buffer[4 + 1 + 4 + PAWL_NAME_MAX];
    uint8_t digest[PAWL_SHA256_BYTES];
    uint8_t tag = (uint8_t)scope;
    struct pawl_id id = { 0, 0 };
    struct pawl_pack pack;

    pawl_pack_init(&pack, buffer, sizeof(buffer));
    pawl_pack_bytes(&pack, &tag, 1);
    pawl_pack_bytes(&pack, value.data, value.size);
    if (PAWL_UNLIKELY(pack.overflown)) {
        __builtin_trap(); /* callers check the cap */
    }
    pawl_sha256(digest, buffer, pack.size);
    for (unsigned i = 0; i < 8; i++) {
        id.lo |= (uint64_t)digest[i] << (8 * i);
        id.hi |= (uint64_t)digest[8 + i] << (8 * i);
    }
    return id;
}

struct pawl_id pawl_family_key(const struct pawl_subkey *facts, struct pawl_bytes ns,
                               struct pawl_bytes issuer, struct pawl_bytes sid)
{
    return pawl_scope_id(facts, PAWL_SCOPE_FAMILY, ns, issuer, sid);
}

static bool token_is_well_formed(enum pawl_scope scope, size_t size)
{
    return pawl_scope_is_token(scope) && size != 0 && size <= PAWL_NAME_MAX &&
           (scope == PAWL_SCOPE_TOKEN || size == PAWL_SHA256_BYTES);
}

static enum pawl_status open_check(const struct pawl_family_open *open, struct pawl_error *error)
{
    if (open->ns.size > PAWL_NS_MAX || open->issuer.size > PAWL_NAME_MAX ||
        open->sid.size > PAWL_NAME_MAX || open->subject.size > PAWL_NAME_MAX ||
        open->client.size > PAWL_NAME_MAX || open->value.size > PAWL_NAME_MAX ||
        open->binding.size > PAWL_FAMILY_KEY_BYTES) {
        return pawl_error_set(error, PAWL_ETOOBIG, 0,
                              "a family's namespace has at most %d bytes, its binding %d, its "
                              "other names %d",
                              PAWL_NS_MAX, PAWL_FAMILY_KEY_BYTES, PAWL_NAME_MAX);
    }
    if (open->ns.size == 0 || open->sid.size == 0) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "a family needs a namespace and an id");
    }
    if (!token_is_well_formed(open->scope, open->value.size)) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "a family needs its first token: a jti, or 32 bytes of SHA-256");
    }
    if (open->exp_s <= 0 || open->iat_s < 0) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "a family's first token needs an exp, and no negative iat");
    }
    return PAWL_OK;
}

enum pawl_status pawl_family_init(struct pawl_family *family, const struct pawl_family_open *open,
                                  struct pawl_stamp now, struct pawl_error *error)
{
    enum pawl_status status = open_check(open, error);

    memset(family, 0, sizeof(*family));
    if (status != PAWL_OK) {
        return status;
    }
    (void)pawl_name_set(&family->ns, open->ns);
    (void)pawl_name_set(&family->issuer, open->issuer);
    (void)pawl_name_set(&family->sid, open->sid);
    (void)pawl_name_set(&family->subject, open->subject);
    (void)pawl_name_set(&family->client, open->client);
    family->binding_size = (uint8_t)open->binding.size;
    if (open->binding.size > 0) {
        memcpy(family->binding, open->binding.data, open->binding.size);
    }
    family->born_ms = open->born_ms != 0 ? open->born_ms : now.us / 1000;
    family->idle_s = open->idle_max_s;
    family->rotated_ms = family->born_ms;
    family->cur.scope = open->scope;
    (void)pawl_name_set(&family->cur.value, open->value);
    family->cur.iat_s = open->iat_s != 0 ? open->iat_s : (int64_t)(now.us / 1000000);
    family->cur.exp_s = open->exp_s;
    if (open->family_max_s != 0) {
        family->abs_exp_s = family->born_ms / 1000 + open->family_max_s;
        if ((uint64_t)family->cur.exp_s > family->abs_exp_s) {
            family->cur.exp_s = (int64_t)family->abs_exp_s;
        }
    }
    family->jtis_count = 1;
    family->jtis[0] = pawl_family_jti(open->scope, open->value);
    family->state = PAWL_FAMILY_ACTIVE;
    return PAWL_OK;
}

bool pawl_family_has_ended(const struct pawl_family *family, struct pawl_stamp now)
{
    uint64_t now_ms = now.us / 1000;

    if (family->abs_exp_s != 0 && family->abs_exp_s <= now_ms / 1000) {
        return true;
    }
    return family->idle_s != 0 && now_ms > family->rotated_ms &&
           (now_ms - family->rotated_ms) / 1000 >= family->idle_s;
}

int pawl_family_position(const struct pawl_family *family, struct pawl_id token)
{
    for (unsigned i = 0; i < family->jtis_count && i < PAWL_FAMILY_JTIS; i++) {
        if (pawl_id_equal(family->jtis[i], token)) {
            return (int)i;
        }
    }
    return -1;
}

bool pawl_family_revoke(struct pawl_family *family, enum pawl_reason reason,
                        struct pawl_bytes actor, uint64_t at_ms)
{
    if (family->state != PAWL_FAMILY_ACTIVE) {
        return false;
    }
    if (actor.size > PAWL_ACTOR_MAX) {
        actor.size = PAWL_ACTOR_MAX;
    }
    family->state = PAWL_FAMILY_REVOKED;
    family->reason = reason;
    family->revoked_ms = at_ms;
    (void)pawl_name_set(&family->actor, actor);
    return true;
}

/* ---- merge ---- */

static int bytes_compare(const void *a, size_t a_size, const void *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);

    return order != 0 ? order : a_size == b_size ? 0 : a_size < b_size ? -1 : 1;
}

static int name_compare(const struct pawl_name *a, const struct pawl_name *b)
{
    return bytes_compare(a->data, a->size, b->data, b->size);
}

/* For what is fixed at birth: said sorts before left out, so that it is never lost. */
static int said_compare(const void *a, size_t a_size, const void *b, size_t b_size)
{
    if ((a_size == 0) != (b_size == 0)) {
        return a_size == 0 ? 1 : -1;
    }
    return bytes_compare(a, a_size, b, b_size);
}

static int number_compare(uint64_t a, uint64_t b)
{
    return a == b ? 0 : a < b ? -1 : 1;
}

static int id_compare(struct pawl_id a, struct pawl_id b)
{
    int order = number_compare(a.hi, b.hi);

    return order != 0 ? order : number_compare(a.lo, b.lo);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* 0 is "none", and anything is sooner than that. */
static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a == 0 || b == 0 ? a | b : smaller(a, b);
}

/* Any total order would do; no token sorts last, so that one is kept if there is one. */
static int token_compare(const struct pawl_family_token *a, const struct pawl_family_token *b)
{
    int order = number_compare((uint64_t)a->scope - 1, (uint64_t)b->scope - 1);

    if (order == 0) {
        order = name_compare(&a->value, &b->value);
    }
    if (order == 0) {
        order = number_compare((uint64_t)a->exp_s, (uint64_t)b->exp_s);
    }
    if (order == 0) {
        order = number_compare((uint64_t)a->iat_s, (uint64_t)b->iat_s);
    }
    return order != 0 ? order : memcmp(a->seed, b->seed, sizeof(a->seed));
}

static int history_compare(const struct pawl_family *a, const struct pawl_family *b)
{
    int order = number_compare(b->jtis_count, a->jtis_count); /* the longer one first */

    for (unsigned i = 0; order == 0 && i < a->jtis_count && i < PAWL_FAMILY_JTIS; i++) {
        order = id_compare(a->jtis[i], b->jtis[i]);
    }
    return order;
}

/* Which version's place in the family holds: higher generation, then any fixed order of tokens. */
static int place_compare(const struct pawl_family *a, const struct pawl_family *b)
{
    int order = number_compare(b->generation, a->generation);

    return order != 0 ? order : id_compare(a->jtis[0], b->jtis[0]);
}

/* Two winners of one generation: the newest one that both remember differs. */
static bool is_fork(const struct pawl_family *a, const struct pawl_family *b)
{
    uint64_t common = smaller(a->generation, b->generation);
    uint64_t back_a = a->generation - common;
    uint64_t back_b = b->generation - common;

    return back_a < a->jtis_count && back_b < b->jtis_count &&
           !pawl_id_equal(a->jtis[back_a], b->jtis[back_b]);
}

/* The part that says where the family is; @out holds the version that goes first. */
static void merge_place(struct pawl_family *out, const struct pawl_family *other)
{
    if (place_compare(out, other) != 0) {
        return; /* another generation or token: all of this part is that version's */
    }
    if (token_compare(&other->cur, &out->cur) < 0) {
        out->cur = other->cur;
    }
    if (token_compare(&other->prev, &out->prev) < 0) {
        out->prev = other->prev;
    }
    if (history_compare(other, out) < 0) {
        out->jtis_count = other->jtis_count;
        memcpy(out->jtis, other->jtis, sizeof(out->jtis));
    }
    out->rotated_ms = smaller(out->rotated_ms, other->rotated_ms);
    out->superseded_ms = smaller(out->superseded_ms, other->superseded_ms);
    out->grace_until_ms = smaller(out->grace_until_ms, other->grace_until_ms);
    if (other->grace_uses > out->grace_uses) {
        out->grace_uses = other->grace_uses;
    }
}

/* What was fixed at birth: the same in both, or else the smaller, in whatever order. */
static void merge_birth(struct pawl_family *out, const struct pawl_family *other)
{
    if (said_compare(other->subject.data, other->subject.size, out->subject.data,
                     out->subject.size) < 0) {
        out->subject = other->subject;
    }
    if (said_compare(other->client.data, other->client.size, out->client.data, out->client.size) <
        0) {
        out->client = other->client;
    }
    if (said_compare(other->binding, other->binding_size, out->binding, out->binding_size) < 0) {
        memcpy(out->binding, other->binding, sizeof(out->binding));
        out->binding_size = other->binding_size;
    }
    out->born_ms = smaller(out->born_ms, other->born_ms);
    out->abs_exp_s = sooner(out->abs_exp_s, other->abs_exp_s);
    out->idle_s = sooner(out->idle_s, other->idle_s);
}

/* REVOKED absorbs; of two, the earlier one stays. */
static void merge_state(struct pawl_family *out, const struct pawl_family *other)
{
    int order = number_compare(other->revoked_ms, out->revoked_ms);

    out->reuse_reported = out->reuse_reported || other->reuse_reported;
    if (other->state != PAWL_FAMILY_REVOKED) {
        return;
    }
    if (order == 0) {
        order = number_compare((uint64_t)other->reason, (uint64_t)out->reason);
    }
    if (order == 0) {
        order = name_compare(&other->actor, &out->actor);
    }
    if (out->state != PAWL_FAMILY_REVOKED || order < 0) {
        out->state = PAWL_FAMILY_REVOKED;
        out->reason = other->reason;
        out->actor = other->actor;
        out->revoked_ms = other->revoked_ms;
    }
}

enum pawl_status pawl_family_merge(struct pawl_family *out, const struct pawl_family *a,
                                   const struct pawl_family *b)
{
    bool a_first = place_compare(a, b) <= 0;
    const struct pawl_family *other = a_first ? b : a;
    struct pawl_family merged = a_first ? *a : *b;
    bool fork = is_fork(a, b);

    if (name_compare(&a->ns, &b->ns) != 0 || name_compare(&a->issuer, &b->issuer) != 0 ||
        name_compare(&a->sid, &b->sid) != 0) {
        return PAWL_EINVAL;
    }
    merge_place(&merged, other);
    merge_birth(&merged, other);
    merge_state(&merged, other);
    if (fork) { /* no moment of its own: never displaces a reason that somebody gave */
        (void)pawl_family_revoke(&merged, PAWL_REASON_FORK, pawl_bytes_of(NULL, 0),
                                 PAWL_FAMILY_FORK_AT_MS);
    }
    *out = merged;
    return PAWL_OK;
}

/* ---- serialized form ---- */

static void put_token(struct pawl_octet_writer *out, const struct pawl_family_token *token)
{
    pawl_octet_put_uint(out, (uint64_t)token->scope, 1);
    pawl_octet_put_uint(out, (uint64_t)token->iat_s, 8);
    pawl_octet_put_uint(out, (uint64_t)token->exp_s, 8);
    pawl_octet_put(out, token->seed, sizeof(token->seed));
    pawl_octet_put_part(out, pawl_name_bytes(&token->value));
}

enum pawl_status pawl_family_encode(const struct pawl_family *family, uint8_t *buffer,
                                    size_t capacity, size_t *size)
{
    struct pawl_octet_writer out = pawl_octet_writer_init(buffer, capacity);
    const uint64_t numbers[] = { family->born_ms,        family->abs_exp_s,  family->idle_s,
                                 family->generation,     family->rotated_ms, family->superseded_ms,
                                 family->grace_until_ms, family->revoked_ms };
    const struct pawl_name *names[] = { &family->ns, &family->issuer, &family->sid,
                                        &family->subject, &family->client };

    pawl_octet_put_uint(&out, FAMILY_VERSION, 1);
    pawl_octet_put_uint(&out, (uint64_t)family->state, 1);
    pawl_octet_put_uint(&out, (uint64_t)family->reason, 1);
    pawl_octet_put_uint(&out, family->reuse_reported ? FLAG_REUSE_REPORTED : 0, 1);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        pawl_octet_put_uint(&out, numbers[i], 8);
    }
    pawl_octet_put_uint(&out, family->grace_uses, 4);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        pawl_octet_put_part(&out, pawl_name_bytes(names[i]));
    }
    pawl_octet_put_part(&out, pawl_bytes_of(family->binding, family->binding_size));
    pawl_octet_put_part(&out, pawl_name_bytes(&family->actor));
    put_token(&out, &family->cur);
    put_token(&out, &family->prev);
    pawl_octet_put_uint(&out, family->jtis_count, 1);
    for (unsigned i = 0; i < family->jtis_count && i < PAWL_FAMILY_JTIS; i++) {
        pawl_octet_put_uint(&out, family->jtis[i].lo, 8);
        pawl_octet_put_uint(&out, family->jtis[i].hi, 8);
    }
    if (out.overflown) {
        return PAWL_ETOOBIG;
    }
    *size = out.size;
    return PAWL_OK;
}

static void get_name(struct pawl_octet_reader *in, struct pawl_name *name, size_t max)
{
    (void)pawl_name_set(name, pawl_octet_get_part(in, max));
}

static void get_token(struct pawl_octet_reader *in, struct pawl_family_token *token)
{
    const uint8_t *seed;

    token->scope = (enum pawl_scope)pawl_octet_get_uint(in, 1);
    token->iat_s = (int64_t)pawl_octet_get_uint(in, 8);
    token->exp_s = (int64_t)pawl_octet_get_uint(in, 8);
    seed = pawl_octet_get(in, sizeof(token->seed));
    if (seed != NULL) {
        memcpy(token->seed, seed, sizeof(token->seed));
    }
    get_name(in, &token->value, PAWL_NAME_MAX);
}

static void get_numbers(struct pawl_octet_reader *in, struct pawl_family *family)
{
    family->born_ms = pawl_octet_get_uint(in, 8);
    family->abs_exp_s = pawl_octet_get_uint(in, 8);
    family->idle_s = pawl_octet_get_uint(in, 8);
    family->generation = pawl_octet_get_uint(in, 8);
    family->rotated_ms = pawl_octet_get_uint(in, 8);
    family->superseded_ms = pawl_octet_get_uint(in, 8);
    family->grace_until_ms = pawl_octet_get_uint(in, 8);
    family->revoked_ms = pawl_octet_get_uint(in, 8);
    family->grace_uses = (uint32_t)pawl_octet_get_uint(in, 4);
}

static void get_binding(struct pawl_octet_reader *in, struct pawl_family *family)
{
    struct pawl_bytes binding = pawl_octet_get_part(in, PAWL_FAMILY_KEY_BYTES);

    family->binding_size = (uint8_t)binding.size;
    if (binding.size > 0) {
        memcpy(family->binding, binding.data, binding.size);
    }
}

static void get_history(struct pawl_octet_reader *in, struct pawl_family *family)
{
    uint64_t count = pawl_octet_get_uint(in, 1);

    if (count == 0 || count > PAWL_FAMILY_JTIS) {
        in->bad = true;
        return;
    }
    family->jtis_count = (uint8_t)count;
    for (unsigned i = 0; i < count; i++) {
        family->jtis[i].lo = pawl_octet_get_uint(in, 8);
        family->jtis[i].hi = pawl_octet_get_uint(in, 8);
    }
}

/* Whether the parts make sense together; what a row's MAC cannot say after a bug elsewhere. */
static bool family_is_sound(const struct pawl_family *family, uint64_t flags)
{
    bool rotated = family->prev.scope != PAWL_SCOPE_NONE;
    bool active = family->state == PAWL_FAMILY_ACTIVE;

    if ((!active && family->state != PAWL_FAMILY_REVOKED) || flags > FLAG_REUSE_REPORTED ||
        (unsigned)family->reason > PAWL_REASON_OTHER || family->ns.size == 0 ||
        family->sid.size == 0 || family->grace_uses > PAWL_FAMILY_GRACE_MAX) {
        return false;
    }
    if (active && (family->reason != PAWL_REASON_NONE || family->revoked_ms != 0 ||
                   family->actor.size != 0)) {
        return false;
    }
    return token_is_well_formed(family->cur.scope, family->cur.value.size) &&
           (!rotated || token_is_well_formed(family->prev.scope, family->prev.value.size)) &&
           rotated == (family->generation > 0) && rotated == (family->jtis_count > 1) &&
           family->jtis_count - 1u <= family->generation;
}

enum pawl_status pawl_family_decode(struct pawl_family *family, struct pawl_bytes bytes)
{
    struct pawl_octet_reader in = { bytes.data, bytes.size, 0, bytes.size > PAWL_FAMILY_BYTES_MAX };
    uint64_t version = pawl_octet_get_uint(&in, 1);
    uint64_t flags;

    memset(family, 0, sizeof(*family));
    if (version > FAMILY_VERSION) {
        return PAWL_EVERSION;
    }
    family->state = (enum pawl_family_state)pawl_octet_get_uint(&in, 1);
    family->reason = (enum pawl_reason)pawl_octet_get_uint(&in, 1);
    flags = pawl_octet_get_uint(&in, 1);
    family->reuse_reported = (flags & FLAG_REUSE_REPORTED) != 0;
    get_numbers(&in, family);
    get_name(&in, &family->ns, PAWL_NS_MAX);
    get_name(&in, &family->issuer, PAWL_NAME_MAX);
    get_name(&in, &family->sid, PAWL_NAME_MAX);
    get_name(&in, &family->subject, PAWL_NAME_MAX);
    get_name(&in, &family->client, PAWL_NAME_MAX);
    get_binding(&in, family);
    get_name(&in, &family->actor, PAWL_ACTOR_MAX);
    get_token(&in, &family->cur);
    get_token(&in, &family->prev);
    get_history(&in, family);
    if (version == 0 || !pawl_octet_all_read(&in) || !family_is_sound(family, flags)) {
        memset(family, 0, sizeof(*family));
        return PAWL_ECORRUPT;
    }
    return PAWL_OK;
}
