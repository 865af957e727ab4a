#include "adapter/jwt/claims.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

void pawl_jwt_record_clear(struct pawl_jwt_record *record)
{
    memset(record, 0, offsetof(struct pawl_jwt_record, texts));
}

/* ---- reading ------------------------------------------------------------------------------- */

static bool append(struct pawl_jwt_record *record, const void *data, size_t size)
{
    if (size > sizeof(record->texts) - record->size) {
        return false;
    }
    memcpy(record->texts + record->size, data, size);
    record->size = (uint16_t)(record->size + size);
    return true;
}

static enum pawl_jwt_reason keep(struct pawl_jwt_record *record, enum pawl_jwt_text which,
                                 struct pawl_bytes text, size_t max)
{
    record->text[which].at = record->size;
    if (text.size > max || !append(record, text.data, text.size)) {
        return PAWL_JWT_CLAIM;
    }
    record->text[which].size = (uint16_t)text.size;
    return PAWL_JWT_OK;
}

/* A text claim that may be left out. */
static enum pawl_jwt_reason read_text(const struct pawl_json *object, const char *name,
                                      struct pawl_jwt_record *record, enum pawl_jwt_text which)
{
    const struct pawl_json_value *value = pawl_json_member(object, name);

    if (value == NULL) {
        return PAWL_JWT_OK;
    }
    if (value->type != PAWL_JSON_STRING) {
        return PAWL_JWT_CLAIM;
    }
    return keep(record, which, value->text, PAWL_JWT_CLAIM_MAX);
}

/* "7" and 7 are one subject: one key of revocations and limits. */
static enum pawl_jwt_reason read_subject(const struct pawl_json *payload, const char *name,
                                         struct pawl_jwt_record *record)
{
    const struct pawl_json_value *value = pawl_json_member(payload, name);
    char digits[24];

    if (value == NULL || value->type != PAWL_JSON_INTEGER) {
        return read_text(payload, name, record, PAWL_JWT_TEXT_SUBJECT);
    }
    if (value->integer > PAWL_JWT_NUMBER_MAX || value->integer < -PAWL_JWT_NUMBER_MAX) {
        return PAWL_JWT_CLAIM;
    }
    int size = snprintf(digits, sizeof(digits), "%" PRId64, value->integer);

    return keep(record, PAWL_JWT_TEXT_SUBJECT, pawl_bytes_of(digits, (size_t)size),
                PAWL_JWT_CLAIM_MAX);
}

/* A whole number from 0 to 2^53 that may be left out. */
static enum pawl_jwt_reason read_number(const struct pawl_json *payload, const char *name,
                                        int64_t *out, bool *present)
{
    const struct pawl_json_value *value = pawl_json_member(payload, name);

    *present = value != NULL;
    if (value == NULL) {
        return PAWL_JWT_OK;
    }
    *out = value->integer;
    return value->type == PAWL_JSON_INTEGER && *out >= 0 && *out <= PAWL_JWT_NUMBER_MAX
               ? PAWL_JWT_OK
               : PAWL_JWT_CLAIM;
}

static bool keep_audience(struct pawl_jwt_record *record, const struct pawl_json_value *value)
{
    uint8_t prefix = (uint8_t)value->text.size;

    if (value->type != PAWL_JSON_STRING || value->text.size > PAWL_JWT_CLAIM_MAX ||
        record->audience_count == PAWL_JWT_AUDIENCES_MAX || !append(record, &prefix, 1) ||
        !append(record, value->text.data, value->text.size)) {
        return false;
    }
    record->audience_count++;
    return true;
}

static enum pawl_jwt_reason read_audience(const struct pawl_json *payload,
                                          struct pawl_jwt_record *record)
{
    const struct pawl_json_value *value = pawl_json_member(payload, "aud");
    bool good = true;

    record->audience_at = record->size;
    if (value != NULL && value->type == PAWL_JSON_ARRAY) {
        unsigned first = (unsigned)(value - payload->value) + 1;

        for (unsigned i = first; good && i < value->end; i = payload->value[i].end) {
            good = keep_audience(record, &payload->value[i]);
        }
    } else if (value != NULL) {
        good = keep_audience(record, value);
    }
    record->audience_bytes = (uint16_t)(record->size - record->audience_at);
    return good ? PAWL_JWT_OK : PAWL_JWT_CLAIM;
}

static enum pawl_jwt_reason read_scope(const struct pawl_json *payload,
                                       struct pawl_jwt_record *record)
{
    const struct pawl_json_value *value = pawl_json_member(payload, "scope");

    if (value == NULL || value->type != PAWL_JSON_STRING) {
        return PAWL_JWT_OK; /* some issuers write a list: it grants nothing here, and hurts nobody
                             */
    }
    return keep(record, PAWL_JWT_TEXT_SCOPE, value->text, PAWL_JWT_SCOPE_MAX);
}

static enum pawl_jwt_reason read_alg(const struct pawl_json *header,
                                     const struct pawl_jwt_alg_info **alg)
{
    const struct pawl_json_value *value = pawl_json_member(header, "alg");

    if (value == NULL) {
        return PAWL_JWT_ALG_MISSING;
    }
    if (value->type != PAWL_JSON_STRING) {
        return PAWL_JWT_ALG_UNKNOWN;
    }
    if (value->text.size == 4 && strncasecmp((const char *)value->text.data, "none", 4) == 0) {
        return PAWL_JWT_ALG_NONE;
    }
    *alg = pawl_jwt_alg_named(value->text);
    return *alg == NULL ? PAWL_JWT_ALG_UNKNOWN : PAWL_JWT_OK;
}

enum pawl_jwt_reason pawl_jwt_read_header(const struct pawl_json *header,
                                          struct pawl_jwt_record *record,
                                          const struct pawl_jwt_alg_info **alg)
{
    if (pawl_json_member(header, "crit") != NULL || pawl_json_member(header, "b64") != NULL) {
        return PAWL_JWT_CRIT;
    }
    enum pawl_jwt_reason reason = read_alg(header, alg);

    if (reason == PAWL_JWT_OK) {
        record->has_typ = pawl_json_member(header, "typ") != NULL;
        reason = read_text(header, "typ", record, PAWL_JWT_TEXT_TYP);
    }
    return reason == PAWL_JWT_OK ? read_text(header, "kid", record, PAWL_JWT_TEXT_KID) : reason;
}

enum pawl_jwt_reason pawl_jwt_read_issuer(const struct pawl_json *payload,
                                          struct pawl_jwt_record *record)
{
    return read_text(payload, "iss", record, PAWL_JWT_TEXT_ISSUER);
}

static enum pawl_jwt_reason read_numbers(const struct pawl_json *payload,
                                         struct pawl_jwt_record *record)
{
    int64_t generation = 0;

    if (read_number(payload, "exp", &record->exp_s, &record->has_exp) != PAWL_JWT_OK ||
        read_number(payload, "iat", &record->iat_s, &record->has_iat) != PAWL_JWT_OK ||
        read_number(payload, "nbf", &record->nbf_s, &record->has_nbf) != PAWL_JWT_OK ||
        read_number(payload, "gen", &generation, &record->has_generation) != PAWL_JWT_OK) {
        return PAWL_JWT_CLAIM;
    }
    record->generation = (uint64_t)generation;
    return record->has_exp ? PAWL_JWT_OK : PAWL_JWT_EXP_MISSING;
}

enum pawl_jwt_reason pawl_jwt_read_claims(const struct pawl_json *payload,
                                          const struct pawl_jwt_names *names,
                                          struct pawl_jwt_record *record)
{
    record->has_token_type = pawl_json_member(payload, "token_type") != NULL;
    if (read_text(payload, "jti", record, PAWL_JWT_TEXT_JTI) != PAWL_JWT_OK ||
        read_subject(payload, names->subject, record) != PAWL_JWT_OK ||
        read_text(payload, names->client, record, PAWL_JWT_TEXT_CLIENT) != PAWL_JWT_OK ||
        read_text(payload, names->sid, record, PAWL_JWT_TEXT_SID) != PAWL_JWT_OK ||
        read_text(payload, "token_type", record, PAWL_JWT_TEXT_TOKEN_TYPE) != PAWL_JWT_OK ||
        read_scope(payload, record) != PAWL_JWT_OK ||
        read_audience(payload, record) != PAWL_JWT_OK) {
        return PAWL_JWT_CLAIM;
    }
    return read_numbers(payload, record);
}

/* ---- judging ------------------------------------------------------------------------------- */

static bool same(struct pawl_bytes a, struct pawl_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static struct pawl_bytes text_of(const char *text)
{
    return pawl_bytes_of(text, strlen(text));
}

/* RFC 7515 section 4.1.9: a media type, without regard to case, "application/" may be left out. */
static bool same_typ(struct pawl_bytes typ, struct pawl_bytes wanted)
{
    static const char prefix[] = "application/";
    const size_t size = sizeof(prefix) - 1;

    if (typ.size > size && strncasecmp((const char *)typ.data, prefix, size) == 0) {
        typ = pawl_bytes_of(typ.data + size, typ.size - size);
    }
    return typ.size == wanted.size &&
           strncasecmp((const char *)typ.data, (const char *)wanted.data, typ.size) == 0;
}

static bool typ_is(const struct pawl_jwt_record *record, const char *wanted)
{
    struct pawl_bytes typ = pawl_jwt_record_text(record, PAWL_JWT_TEXT_TYP);

    if (wanted[0] == '\0') {
        return !record->has_typ || same_typ(typ, text_of("JWT"));
    }
    return record->has_typ && same_typ(typ, text_of(wanted));
}

/* What the request wants stands in place of what the issuer's settings want (port/jwt.h). */
static bool type_is_wanted(const struct pawl_jwt_record *record,
                           const struct pawl_jwt_issuer_settings *issuer, struct pawl_bytes wanted)
{
    struct pawl_bytes token_type = pawl_jwt_record_text(record, PAWL_JWT_TEXT_TOKEN_TYPE);

    if (wanted.size > 0) {
        return record->has_token_type
                   ? same(token_type, wanted)
                   : record->has_typ &&
                         same_typ(pawl_jwt_record_text(record, PAWL_JWT_TEXT_TYP), wanted);
    }
    return typ_is(record, issuer->type) &&
           (issuer->token_type[0] == '\0' ||
            (record->has_token_type && same(token_type, text_of(issuer->token_type))));
}

static bool audience_is_wanted(struct pawl_bytes audience,
                               const struct pawl_jwt_issuer_settings *issuer,
                               struct pawl_bytes wanted)
{
    if (wanted.size > 0) {
        return same(audience, wanted);
    }
    for (unsigned i = 0; i < issuer->audience.count; i++) {
        if (same(audience, text_of(issuer->audience.items[i]))) {
            return true;
        }
    }
    return issuer->audience.count == 0;
}

static bool find_audience(const struct pawl_jwt_record *record,
                          const struct pawl_jwt_issuer_settings *issuer, struct pawl_bytes wanted,
                          struct pawl_bytes *found)
{
    const uint8_t *at = record->texts + record->audience_at;

    *found = pawl_bytes_of(NULL, 0);
    for (unsigned i = 0; i < record->audience_count; i++) {
        struct pawl_bytes audience = pawl_bytes_of(at + 1, at[0]);

        at += 1 + audience.size;
        if (i == 0) {
            *found = audience;
        }
        if (audience_is_wanted(audience, issuer, wanted)) {
            *found = audience;
            return true;
        }
    }
    return wanted.size == 0 && issuer->audience.count == 0;
}

enum pawl_jwt_reason pawl_jwt_judge(const struct pawl_jwt_record *record,
                                    const struct pawl_jwt_issuer_settings *issuer,
                                    const struct pawl_jwt_request *request,
                                    struct pawl_bytes *audience)
{
    bool for_us = find_audience(record, issuer, request->audience, audience);
    uint64_t skew_s = request->skew_s < INT32_MAX ? request->skew_s : INT32_MAX;

    if (request->signature_only) {
        return PAWL_JWT_OK;
    }
    if (record->has_high_s && issuer->ecdsa_s == PAWL_JWT_ECDSA_S_LOW) {
        return PAWL_JWT_HIGH_S;
    }
    if (!type_is_wanted(record, issuer, request->type)) {
        return PAWL_JWT_TYPE;
    }
    if (record->has_nbf && record->nbf_s - (int64_t)skew_s > request->now.unix_s) {
        return PAWL_JWT_NOT_BEFORE;
    }
    return for_us ? PAWL_JWT_OK : PAWL_JWT_AUDIENCE;
}
