#include "adapter/jwt/verifier.h"

#include <string.h>

void pawl_jwt_verifier_deinit(struct pawl_jwt_verifier *verifier)
{
    pawl_signatures_destroy(verifier->signatures);
    pawl_jwt_cache_deinit(&verifier->cache);
    pawl_jwt_keys_unref(verifier->keys);
    verifier->signatures = NULL;
    verifier->keys = NULL;
}

/* A daemon without issuers never wakes OpenSSL, whose start does not bear a failed allocation. */
static bool use_signatures(struct pawl_jwt_verifier *verifier, const struct pawl_jwt_keys *keys)
{
    if (keys->issuer_count == 0) {
        return true;
    }
    if (verifier->signatures == NULL) {
        verifier->signatures = pawl_signatures_create();
    }
    return verifier->signatures != NULL && pawl_signatures_use(verifier->signatures, keys);
}

static bool resize_cache(struct pawl_jwt_verifier *verifier, uint64_t entries_max)
{
    if (verifier->cache.sets != NULL && verifier->cache_max == entries_max) {
        pawl_jwt_cache_clear(&verifier->cache);
        return true;
    }
    pawl_jwt_cache_deinit(&verifier->cache);
    verifier->cache_max = entries_max;
    return pawl_jwt_cache_init(&verifier->cache, entries_max);
}

void pawl_jwt_verifier_use(struct pawl_jwt_verifier *verifier, struct pawl_jwt_keys *keys)
{
    struct pawl_jwt_keys *old = verifier->keys;
    bool good = resize_cache(verifier, keys->settings.cache_max) && use_signatures(verifier, keys);

    if (!good) {
        pawl_jwt_cache_clear(&verifier->cache);
        pawl_jwt_keys_unref(keys);
    }
    verifier->keys = good ? keys : NULL;
    pawl_jwt_keys_unref(old);
}

/* ---- a token that was not seen before -------------------------------------------------------- */

static bool same(struct pawl_bytes a, struct pawl_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Into the buffer that the parts were decoded to: escapes are resolved there. */
static enum pawl_jwt_reason read_json(struct pawl_jwt_verifier *verifier, struct pawl_bytes part)
{
    return pawl_json_read(&verifier->json, verifier->buffer + (part.data - verifier->buffer),
                          part.size);
}

static enum pawl_jwt_reason read_header(struct pawl_jwt_verifier *verifier,
                                        const struct pawl_jws *jws,
                                        const struct pawl_jwt_alg_info **alg)
{
    enum pawl_jwt_reason reason = read_json(verifier, jws->header);

    return reason == PAWL_JWT_OK ? pawl_jwt_read_header(&verifier->json, &verifier->record, alg)
                                 : reason;
}

/* By (issuer, kid), before any cryptography; RFC 8725 sections 3.1 and 3.8. */
static enum pawl_jwt_reason choose_key(const struct pawl_jwt_verifier *verifier,
                                       const struct pawl_jwt_request *request,
                                       const struct pawl_jwt_alg_info *alg,
                                       const struct pawl_jwt_issuer **issuer,
                                       const struct pawl_jwt_key **key)
{
    struct pawl_bytes name = pawl_jwt_record_text(&verifier->record, PAWL_JWT_TEXT_ISSUER);

    *issuer = pawl_jwt_keys_issuer(verifier->keys, name);
    if (*issuer == NULL || (request->issuer.size > 0 && !same(request->issuer, name))) {
        return PAWL_JWT_ISSUER;
    }
    *key = pawl_jwt_keys_find(verifier->keys, *issuer,
                              pawl_jwt_record_text(&verifier->record, PAWL_JWT_TEXT_KID));
    if (*key == NULL) {
        return PAWL_JWT_KEY_UNKNOWN;
    }
    if ((*key)->state == PAWL_JWT_STATE_PENDING) {
        return PAWL_JWT_KEY_PENDING;
    }
    return (*key)->alg == alg ? PAWL_JWT_OK : PAWL_JWT_ALG_MISMATCH;
}

static enum pawl_jwt_reason read_payload(struct pawl_jwt_verifier *verifier,
                                         const struct pawl_jwt_request *request,
                                         const struct pawl_jws *jws,
                                         const struct pawl_jwt_alg_info *alg)
{
    const struct pawl_jwt_issuer *issuer = NULL;
    const struct pawl_jwt_key *key = NULL;
    enum pawl_jwt_reason reason = pawl_jwt_read_issuer(&verifier->json, &verifier->record);

    if (reason == PAWL_JWT_OK) {
        reason = choose_key(verifier, request, alg, &issuer, &key);
    }
    if (reason == PAWL_JWT_OK) {
        verifier->record.key = key->index;
        reason = pawl_signatures_hash(verifier->signatures, jws->signed_part,
                                      verifier->record.signed_sha256)
                     ? pawl_signatures_verify(verifier->signatures, key, request->raw, jws,
                                              &verifier->record)
                     : PAWL_JWT_INTERNAL;
    }
    verifier->record.has_high_s = reason == PAWL_JWT_OK && key->alg->kind == PAWL_JWT_KIND_EC &&
                                  pawl_es_is_high(key->alg, jws->signature);
    if (reason == PAWL_JWT_OK) {
        struct pawl_jwt_names names = { issuer->settings->subject_claim,
                                        issuer->settings->client_claim,
                                        issuer->settings->sid_claim };

        reason = pawl_jwt_read_claims(&verifier->json, &names, &verifier->record);
    }
    return reason;
}

static enum pawl_jwt_reason read_token(struct pawl_jwt_verifier *verifier,
                                       const struct pawl_jwt_request *request)
{
    const struct pawl_jwt_alg_info *alg = NULL;
    struct pawl_jws jws;
    enum pawl_jwt_reason reason = pawl_jws_split(request->raw, verifier->buffer, &jws);

    pawl_jwt_record_clear(&verifier->record);
    if (reason == PAWL_JWT_OK) {
        reason = read_header(verifier, &jws, &alg);
    }
    if (reason == PAWL_JWT_OK) {
        reason = read_json(verifier, jws.payload);
    }
    if (reason == PAWL_JWT_OK) {
        reason = read_payload(verifier, request, &jws, alg);
    }
    return reason;
}

/* ---- every token ----------------------------------------------------------------------------- */

static void hand_out(const struct pawl_jwt_record *record, struct pawl_bytes audience, bool cached,
                     struct pawl_jwt_claims *claims)
{
    memset(claims, 0, sizeof(*claims));
    claims->issuer = pawl_jwt_record_text(record, PAWL_JWT_TEXT_ISSUER);
    claims->jti = pawl_jwt_record_text(record, PAWL_JWT_TEXT_JTI);
    claims->subject = pawl_jwt_record_text(record, PAWL_JWT_TEXT_SUBJECT);
    claims->client = pawl_jwt_record_text(record, PAWL_JWT_TEXT_CLIENT);
    claims->kid = pawl_jwt_record_text(record, PAWL_JWT_TEXT_KID);
    claims->sid = pawl_jwt_record_text(record, PAWL_JWT_TEXT_SID);
    claims->scope = pawl_jwt_record_text(record, PAWL_JWT_TEXT_SCOPE);
    claims->type = pawl_jwt_record_text(record, record->has_token_type ? PAWL_JWT_TEXT_TOKEN_TYPE
                                                                       : PAWL_JWT_TEXT_TYP);
    claims->audience = audience;
    claims->exp_s = record->exp_s;
    claims->iat_s = record->iat_s;
    claims->has_iat = record->has_iat;
    claims->generation = record->generation;
    claims->has_generation = record->has_generation;
    claims->cached = cached;
    memcpy(claims->signed_sha256, record->signed_sha256, sizeof(claims->signed_sha256));
}

static enum pawl_jwt_reason judge(const struct pawl_jwt_verifier *verifier,
                                  const struct pawl_jwt_request *request, bool cached,
                                  struct pawl_jwt_claims *claims)
{
    const struct pawl_jwt_record *record = &verifier->record;
    const struct pawl_jwt_key *key = &verifier->keys->keys[record->key];
    const struct pawl_jwt_issuer *issuer = &verifier->keys->issuers[key->issuer];
    struct pawl_bytes audience;
    enum pawl_jwt_reason reason = pawl_jwt_judge(record, issuer->settings, request, &audience);

    if (request->issuer.size > 0 && !same(request->issuer, issuer->name)) {
        return PAWL_JWT_ISSUER;
    }
    if (key->state == PAWL_JWT_STATE_REVOKED) {
        reason = PAWL_JWT_KEY_REVOKED;
    }
    if (reason == PAWL_JWT_OK || reason == PAWL_JWT_KEY_REVOKED) {
        hand_out(record, audience, cached, claims);
    }
    return reason;
}

static enum pawl_jwt_reason verify(struct pawl_jwt_verifier *verifier,
                                   const struct pawl_jwt_request *request,
                                   struct pawl_jwt_claims *claims)
{
    bool caching = verifier->cache.sets != NULL;
    uint8_t sha256[32];

    if (verifier->keys == NULL) {
        return PAWL_JWT_INTERNAL;
    }
    if (verifier->keys->issuer_count == 0) {
        return PAWL_JWT_NO_KEYS;
    }
    if (request->raw.size > PAWL_JWT_BYTES_MAX) {
        return PAWL_JWT_TOO_BIG;
    }
    if (caching && !pawl_signatures_hash(verifier->signatures, request->raw, sha256)) {
        return PAWL_JWT_INTERNAL;
    }
    if (caching && pawl_jwt_cache_find(&verifier->cache, sha256, request->now, &verifier->record)) {
        return judge(verifier, request, true, claims);
    }
    enum pawl_jwt_reason reason = read_token(verifier, request);

    if (reason != PAWL_JWT_OK) {
        return reason;
    }
    if (caching) {
        pawl_jwt_cache_put(&verifier->cache, sha256, request->now, &verifier->record);
    }
    return judge(verifier, request, false, claims);
}

static void show(_Atomic uint64_t *figure, uint64_t value)
{
    atomic_store_explicit(figure, value, memory_order_relaxed);
}

enum pawl_jwt_reason pawl_jwt_verifier_verify(struct pawl_jwt_verifier *verifier,
                                              const struct pawl_jwt_request *request,
                                              struct pawl_jwt_claims *claims)
{
    enum pawl_jwt_reason reason = verify(verifier, request, claims);
    _Atomic uint64_t *answered = &verifier->figures.answered[reason];

    show(answered, atomic_load_explicit(answered, memory_order_relaxed) + 1);
    show(&verifier->figures.cache_hits, verifier->cache.hits);
    show(&verifier->figures.cache_entries, verifier->cache.entries);
    show(&verifier->figures.cache_evicted, verifier->cache.evicted);
    show(&verifier->figures.cache_too_big, verifier->cache.too_big);
    return reason;
}
