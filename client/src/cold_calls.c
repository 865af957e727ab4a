/*
 * Everything but checks: structs of the generated code on the stack, packed into the slot's frame.
 */
#include "cold_pack.h"

#include <stdio.h>

#define MINTED_BYTES 16 /* 128 random bits, 22 characters of base64url */
#define MINTED_CHARS 22

int pawl_cold_refuse(struct pawl_client *client, const char *text)
{
    (void)snprintf(client->refusal, sizeof(client->refusal), "%s", text);
    return PAWL_RC_INVALID;
}

ProtobufCBinaryData pawl_cold_binary(const void *data, size_t size)
{
    union {
        const void *in;
        uint8_t *out;
    } pointer = { data };
    ProtobufCBinaryData value = { size, pointer.out };

    return value;
}

ProtobufCBinaryData pawl_cold_binary_of(struct pawl_str str)
{
    return pawl_cold_binary(str.data, str.size);
}

void pawl_cold_begin(struct pawl_client *client, const struct slot *slot, const void *call,
                     Pawl__V1__Request *request)
{
    uint32_t deadline_ms = pawl_client_call_deadline(slot->type, call);
    uint32_t usual_ms = slot->type->quick ? client->check_deadline_ms : client->durable_deadline_ms;

    pawl__v1__request__init(request);
    request->id = slot->id;
    request->deadline_ms = deadline_ms != 0 ? deadline_ms : usual_ms;
    request->now_ms = pawl_client_call_now(slot->type, call);
    request->namespace_ = pawl_cold_binary_of(pawl_client_call_ns(slot->type, call));
    request->body_case = (Pawl__V1__Request__BodyCase)slot->type->kind;
}

int pawl_cold_finish(struct pawl_client *client, struct slot *slot,
                     const Pawl__V1__Request *request)
{
    size_t size = pawl__v1__request__get_packed_size(request) + PAWL_FRAME_HEADER_BYTES;

    if (size > PAWL_REQUEST_BYTES_MAX + PAWL_FRAME_HEADER_BYTES) {
        return PAWL_RC_TOO_BIG;
    }
    if (!pawl_client_slot_room(client, slot, size)) {
        return PAWL_RC_FULL;
    }
    slot->frame_size = pawl_cold_write_request(slot->frame, slot->frame_capacity, request);
    client->queue_bytes += slot->frame_size;
    return slot->frame_size > 0 ? PAWL_RC_OK : PAWL_RC_TOO_BIG;
}

static void base64url(char *out, const uint8_t *in)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    unsigned have = 0;
    size_t at = 0;

    for (unsigned i = 0; i < MINTED_BYTES; i++) {
        bits = bits << 8 | in[i];
        have += 8;
        while (have >= 6) {
            have -= 6;
            out[at++] = digits[bits >> have & 63];
        }
    }
    out[at] = digits[bits << (6 - have) & 63];
}

/* The jti that the caller proposes, or a fresh one; the result tells which. */
static ProtobufCBinaryData propose(struct slot *slot, struct pawl_str given)
{
    if (given.size > 0 && given.size <= PAWL_TEXT_ID_MAX) {
        memcpy(slot->proposed, given.data, given.size);
        slot->proposed_size = (uint16_t)given.size;
    } else {
        uint8_t random[MINTED_BYTES];

        pawl_client_fill_random(random, sizeof(random));
        base64url(slot->proposed, random);
        slot->proposed_size = MINTED_CHARS;
    }
    return pawl_cold_binary(slot->proposed, slot->proposed_size);
}

/* ---- limits ------------------------------------------------------------------------------ */

int pawl_cold_pack_rates(struct pawl_client *client, const char *text,
                         const struct pawl_rate_spec *list, size_t count, struct rates_kind kind,
                         struct packed_rates *packed)
{
    struct pawl_wire_rate rates[PAWL_RATES_MAX];

    if (pawl_client_read_rates(text, list, count, rates, &packed->count) != PAWL_RC_OK) {
        return pawl_cold_refuse(client, "rates: write them as \"100/minute, 1000/day\", at most 8");
    }
    for (uint32_t i = 0; i < packed->count; i++) {
        pawl__v1__rate__init(&packed->rates[i]);
        packed->rates[i].count = rates[i].count;
        packed->rates[i].window_ms = rates[i].window_ms;
        packed->rates[i].algorithm =
            (Pawl__V1__Algorithm)(text != NULL ? kind.algorithm : rates[i].algorithm);
        packed->rates[i].burst = text != NULL ? kind.burst : rates[i].burst;
        packed->pointers[i] = &packed->rates[i];
    }
    return PAWL_RC_OK;
}

int pawl_cold_pack_key(struct pawl_client *client, const struct pawl_str *key, size_t count,
                       ProtobufCBinaryData *packed)
{
    if (count < 1 || count > PAWL_KEY_PARTS_MAX) {
        return pawl_cold_refuse(client, "a key has 1 to 8 parts");
    }
    for (size_t i = 0; i < count; i++) {
        if (key[i].size > PAWL_KEY_BYTES_MAX) {
            return pawl_cold_refuse(client, "a part of a key has at most 1024 bytes");
        }
        packed[i] = pawl_cold_binary_of(key[i]);
    }
    return PAWL_RC_OK;
}

struct packed_refund {
    Pawl__V1__RefundItem item;
    ProtobufCBinaryData key[PAWL_KEY_PARTS_MAX];
    struct packed_rates rates;
    uint64_t charges[PAWL_RATES_MAX];
};

static int pack_refund(struct pawl_client *client, const struct pawl_refund_item *given,
                       struct packed_refund *packed)
{
    int rc = pawl_cold_pack_key(client, given->key, given->key_count, packed->key);

    if (rc == PAWL_RC_OK) {
        rc = pawl_cold_pack_rates(client, given->rates, given->rate_list, given->rate_count,
                                  (struct rates_kind){ given->algorithm, given->burst },
                                  &packed->rates);
    }
    if (rc != PAWL_RC_OK) {
        return rc;
    }
    if (given->charge_count > PAWL_RATES_MAX) {
        return pawl_cold_refuse(client, "a refund has at most 8 charges, one for each rate");
    }
    pawl__v1__refund_item__init(&packed->item);
    packed->item.limit = pawl_cold_binary_of(given->limit);
    packed->item.n_key = given->key_count;
    packed->item.key = packed->key;
    packed->item.cost = given->cost;
    packed->item.n_rates = given->limit.size > 0 ? 0 : packed->rates.count;
    packed->item.rates = packed->rates.pointers;
    if (given->charge_count > 0) {
        memcpy(packed->charges, given->charges, given->charge_count * sizeof(packed->charges[0]));
    }
    packed->item.n_charges = given->charge_count;
    packed->item.charges = packed->charges;
    return PAWL_RC_OK;
}

int pawl_client_encode_refund(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_refund_call *refund = call;
    struct packed_refund packed[PAWL_ITEMS_MAX];
    Pawl__V1__RefundItem *pointers[PAWL_ITEMS_MAX];
    Pawl__V1__Request request;
    Pawl__V1__Refund body;

    if (refund->item_count < 1 || refund->item_count > PAWL_ITEMS_MAX) {
        return pawl_cold_refuse(client, "a refund has 1 to 64 items");
    }
    for (size_t i = 0; i < refund->item_count; i++) {
        int rc = pack_refund(client, &refund->items[i], &packed[i]);

        if (rc != PAWL_RC_OK) {
            return rc;
        }
        pointers[i] = &packed[i].item;
    }
    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__refund__init(&body);
    body.n_items = refund->item_count;
    body.items = pointers;
    request.refund = &body;
    return pawl_cold_finish(client, slot, &request);
}

int pawl_client_encode_reset(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_reset_call *reset = call;
    ProtobufCBinaryData key[PAWL_KEY_PARTS_MAX];
    struct packed_rates rates;
    Pawl__V1__Request request;
    Pawl__V1__Reset body;
    int rc = pawl_cold_pack_key(client, reset->key, reset->key_count, key);

    if (rc == PAWL_RC_OK) {
        rc = pawl_cold_pack_rates(client, reset->rates, reset->rate_list, reset->rate_count,
                                  (struct rates_kind){ reset->algorithm, reset->burst }, &rates);
    }
    if (rc != PAWL_RC_OK) {
        return rc;
    }
    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__reset__init(&body);
    body.limit = pawl_cold_binary_of(reset->limit);
    body.n_key = reset->key_count;
    body.key = key;
    body.n_rates = reset->limit.size > 0 ? 0 : rates.count;
    body.rates = rates.pointers;
    request.reset = &body;
    return pawl_cold_finish(client, slot, &request);
}

/* ---- facts and families ------------------------------------------------------------------ */

int pawl_client_encode_revoke(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_revoke_call *revoke = call;
    uint8_t digest[PAWL_SHA256_BYTES];
    bool hashed = revoke->scope == PAWL_REVOKE_OPAQUE || revoke->scope == PAWL_REVOKE_SIGNED;
    bool family = revoke->scope == PAWL_REVOKE_JWT_FAMILY;
    bool raw = family || revoke->scope == PAWL_REVOKE_JWT;
    Pawl__V1__Request request;
    Pawl__V1__Revoke body;

    if (!raw && (revoke->scope <= PAWL_REVOKE_NONE || revoke->scope > PAWL_REVOKE_NAMESPACE)) {
        return pawl_cold_refuse(client,
                                "a revocation has a scope: token, family, subject, client, key, "
                                "namespace, opaque, signed or jwt");
    }
    if (revoke->scope != PAWL_REVOKE_NAMESPACE && revoke->value.size == 0) {
        return pawl_cold_refuse(client, "a revocation of this scope needs a value");
    }
    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__revoke__init(&body);
    body.scope = family ? PAWL__V1__SCOPE__SCOPE_FAMILY
                 : raw  ? PAWL__V1__SCOPE__SCOPE_TOKEN
                        : (Pawl__V1__Scope)revoke->scope;
    body.issuer = pawl_cold_binary_of(revoke->issuer);
    if (hashed && (revoke->flags & PAWL_REVOKE_HASHED) != 0) {
        if (revoke->value.size != PAWL_SHA256_BYTES) {
            return pawl_cold_refuse(client, "a SHA-256 has 32 bytes");
        }
        body.value = pawl_cold_binary_of(revoke->value);
    } else if (hashed) { /* never raw (P9) */
        pawl_sha256(digest, revoke->value.data, revoke->value.size);
        body.value = pawl_cold_binary(digest, sizeof(digest));
    } else if (raw) {
        body.raw = pawl_cold_binary_of(revoke->value);
        slot->secret = true;
    } else {
        body.value = pawl_cold_binary_of(revoke->value);
    }
    body.before_ms = revoke->before_ms;
    body.exp = revoke->exp_s;
    body.reason = (Pawl__V1__Reason)revoke->reason;
    body.actor = pawl_cold_binary_of(revoke->actor);
    body.ack = (Pawl__V1__Ack)revoke->level;
    request.revoke = &body;
    return pawl_cold_finish(client, slot, &request);
}

int pawl_client_encode_unrevoke(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_unrevoke_call *unrevoke = call;
    Pawl__V1__FactId ids[PAWL_FACT_IDS_MAX];
    Pawl__V1__FactId *pointers[PAWL_FACT_IDS_MAX];
    Pawl__V1__Request request;
    Pawl__V1__Unrevoke body;

    if (unrevoke->id_count < 1 || unrevoke->id_count > PAWL_FACT_IDS_MAX) {
        return pawl_cold_refuse(client, "an unrevoke names 1 to 64 facts");
    }
    for (size_t i = 0; i < unrevoke->id_count; i++) {
        const struct pawl_fact_name *name = &unrevoke->ids[i];

        if (name->origin_size > sizeof(name->origin)) {
            return pawl_cold_refuse(client, "the origin of a fact has 16 bytes");
        }
        pawl__v1__fact_id__init(&ids[i]);
        ids[i].origin = pawl_cold_binary(name->origin, name->origin_size);
        ids[i].sequence = name->sequence;
        pointers[i] = &ids[i];
    }
    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__unrevoke__init(&body);
    body.n_ids = unrevoke->id_count;
    body.ids = pointers;
    body.actor = pawl_cold_binary_of(unrevoke->actor);
    body.ack = (Pawl__V1__Ack)unrevoke->level;
    request.unrevoke = &body;
    return pawl_cold_finish(client, slot, &request);
}

static void pack_token(const struct pawl_token *given, Pawl__V1__Token *token, uint8_t *digests)
{
    struct pawl_token full;

    memset(&full, 0, sizeof(full));
    memcpy(&full, given, given->struct_size < sizeof(full) ? given->struct_size : sizeof(full));
    pawl__v1__token__init(token);
    token->issuer = pawl_cold_binary_of(full.issuer);
    token->jti = pawl_cold_binary_of(full.jti);
    token->subject = pawl_cold_binary_of(full.subject);
    token->client = pawl_cold_binary_of(full.client);
    token->key = pawl_cold_binary_of(full.key);
    token->sid = pawl_cold_binary_of(full.sid);
    token->iat = full.iat_s;
    token->exp = full.exp_s;
    if (full.opaque.size > 0) {
        pawl_sha256(digests, full.opaque.data, full.opaque.size);
        token->opaque_sha256 = pawl_cold_binary(digests, PAWL_SHA256_BYTES);
    }
    if (full.signed_text.size > 0) {
        pawl_sha256(digests + PAWL_SHA256_BYTES, full.signed_text.data, full.signed_text.size);
        token->signed_sha256 = pawl_cold_binary(digests + PAWL_SHA256_BYTES, PAWL_SHA256_BYTES);
    }
    token->raw = pawl_cold_binary_of(full.raw);
    token->audience = pawl_cold_binary_of(full.audience);
    token->type = pawl_cold_binary_of(full.type);
}

int pawl_client_encode_rotate(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_rotate_call *rotate = call;
    uint8_t digests[2 * PAWL_SHA256_BYTES];
    uint8_t next[PAWL_SHA256_BYTES];
    Pawl__V1__Request request;
    Pawl__V1__Rotate body;
    Pawl__V1__Token presented;

    if (rotate->presented == NULL) {
        return pawl_cold_refuse(client, "a rotation needs the presented token");
    }
    if (rotate->next_jti.size > PAWL_TEXT_ID_MAX) {
        return pawl_cold_refuse(client, "next_jti has at most 512 bytes");
    }
    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__rotate__init(&body);
    pack_token(rotate->presented, &presented, digests);
    slot->secret = presented.raw.len > 0;
    body.presented = &presented;
    body.generation = rotate->generation;
    body.has_generation = (rotate->flags & PAWL_ROTATE_HAS_GENERATION) != 0;
    if (rotate->next_opaque.size > 0) {
        pawl_sha256(next, rotate->next_opaque.data, rotate->next_opaque.size);
        body.next_opaque_sha256 = pawl_cold_binary(next, sizeof(next));
        body.next_seed = pawl_cold_binary_of(rotate->next_seed);
    } else {
        body.next_jti = propose(slot, rotate->next_jti);
    }
    body.next_iat = rotate->next_iat_s;
    body.next_exp = rotate->next_exp_s;
    body.binding = pawl_cold_binary_of(rotate->binding);
    body.leeway_ms = rotate->leeway_ms;
    body.has_leeway = (rotate->flags & PAWL_ROTATE_HAS_LEEWAY) != 0;
    body.adopt = (rotate->flags & PAWL_ROTATE_ADOPT) != 0;
    body.verified = (rotate->flags & PAWL_ROTATE_VERIFIED) != 0;
    body.request_id = pawl_cold_binary_of(rotate->request_id);
    body.ack = (Pawl__V1__Ack)rotate->level;
    request.rotate = &body;
    return pawl_cold_finish(client, slot, &request);
}

int pawl_client_encode_family_open(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_family_open_call *open = call;
    uint8_t digest[PAWL_SHA256_BYTES];
    Pawl__V1__Request request;
    Pawl__V1__FamilyOpen body;

    if (open->jti.size > PAWL_TEXT_ID_MAX) {
        return pawl_cold_refuse(client, "jti has at most 512 bytes");
    }
    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__family_open__init(&body);
    body.issuer = pawl_cold_binary_of(open->issuer);
    body.subject = pawl_cold_binary_of(open->subject);
    body.client = pawl_cold_binary_of(open->client);
    body.binding = pawl_cold_binary_of(open->binding);
    if (open->opaque.size > 0) {
        pawl_sha256(digest, open->opaque.data, open->opaque.size);
        body.opaque_sha256 = pawl_cold_binary(digest, sizeof(digest));
    } else {
        body.jti = propose(slot, open->jti);
    }
    body.iat = open->iat_s;
    body.exp = open->exp_s;
    body.ack = (Pawl__V1__Ack)open->level;
    request.family_open = &body;
    return pawl_cold_finish(client, slot, &request);
}

int pawl_client_encode_family_end(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_family_end_call *end = call;
    Pawl__V1__Request request;
    Pawl__V1__FamilyEnd body;

    if (end->sid.size == 0) {
        return pawl_cold_refuse(client, "sid: which family ends?");
    }
    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__family_end__init(&body);
    body.issuer = pawl_cold_binary_of(end->issuer);
    body.sid = pawl_cold_binary_of(end->sid);
    body.reason = end->reason != PAWL_WHY_NONE ? (Pawl__V1__Reason)end->reason
                                               : PAWL__V1__REASON__REASON_LOGOUT;
    body.actor = pawl_cold_binary_of(end->actor);
    body.exp = end->exp_s;
    body.ack = (Pawl__V1__Ack)end->level;
    request.family_end = &body;
    return pawl_cold_finish(client, slot, &request);
}

/* ---- listings, thaw, ping, hello --------------------------------------------------------- */

int pawl_client_encode_limits(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_limits_call *limits = call;
    Pawl__V1__Request request;
    Pawl__V1__Limits body;

    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__limits__init(&body);
    body.limit = pawl_cold_binary_of(limits->limit);
    body.after = pawl_cold_binary_of(limits->after);
    request.limits = &body;
    return pawl_cold_finish(client, slot, &request);
}

int pawl_client_encode_members(struct pawl_client *client, struct slot *slot, const void *call)
{
    Pawl__V1__Request request;
    Pawl__V1__ViewGet body;

    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__view_get__init(&body);
    request.view_get = &body;
    return pawl_cold_finish(client, slot, &request);
}

int pawl_client_encode_stats(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_stats_call *stats = call;
    Pawl__V1__Request request;
    Pawl__V1__Stats body;

    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__stats__init(&body);
    body.prefix = pawl_cold_binary_of(stats->prefix);
    request.stats = &body;
    return pawl_cold_finish(client, slot, &request);
}

int pawl_client_encode_thaw(struct pawl_client *client, struct slot *slot, const void *call)
{
    const struct pawl_thaw_call *thaw = call;
    Pawl__V1__Request request;
    Pawl__V1__Thaw body;

    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__thaw__init(&body);
    body.lost_since = thaw->lost_since_s;
    body.actor = pawl_cold_binary_of(thaw->actor);
    request.thaw = &body;
    return pawl_cold_finish(client, slot, &request);
}

int pawl_client_encode_ping(struct pawl_client *client, struct slot *slot, const void *call)
{
    Pawl__V1__Request request;
    Pawl__V1__Ping body;

    pawl_cold_begin(client, slot, call, &request);
    pawl__v1__ping__init(&body);
    request.ping = &body;
    return pawl_cold_finish(client, slot, &request);
}

size_t pawl_client_write_hello(struct pawl_client *client, uint64_t id, bool route, bool tell,
                               uint8_t *out, size_t capacity)
{
    Pawl__V1__Request request;
    Pawl__V1__Hello hello;
    Pawl__V1__Ping ping;

    pawl__v1__request__init(&request);
    pawl__v1__hello__init(&hello);
    pawl__v1__ping__init(&ping);
    hello.version_min = 1;
    hello.version_max = 1;
    hello.features = route ? PAWL_FEATURE_ROUTING : 0;
    hello.namespace_ = pawl_cold_binary(client->ns, strlen(client->ns));
    hello.client = pawl_cold_binary(client->name, strlen(client->name));
    if (tell && client->credential_size > 0) {
        hello.credential_id =
            pawl_cold_binary(client->credential_id, strlen(client->credential_id));
        hello.credential = pawl_cold_binary(client->credential, client->credential_size);
    }
    request.id = id;
    request.hello = &hello;
    request.body_case = PAWL__V1__REQUEST__BODY_PING;
    request.ping = &ping;
    return pawl_cold_write_request(out, capacity, &request);
}
