/*
 * What a token says, read strictly: each claim of its one JSON type and within its cap,
 * or the token is refused. The record is one flat block, so that the cache keeps it by copying.
 *
 * Who the token is for and from when it holds are judged each time, on the record: the cache skips
 * none of that.
 */
#ifndef PAWL_ADAPTER_JWT_CLAIMS_H
#define PAWL_ADAPTER_JWT_CLAIMS_H

#include "adapter/jwt/alg.h"
#include "adapter/jwt/json.h"
#include "port/jwt.h"

#define PAWL_JWT_CLAIM_MAX     255 /* as the wire's claims; tests/unit/test_jwt.c compares */
#define PAWL_JWT_SCOPE_MAX     2048
#define PAWL_JWT_AUDIENCES_MAX 32
#define PAWL_JWT_NUMBER_MAX    (INT64_C(1) << 53) /* RFC 8259 section 6: beyond it readers differ */
#define PAWL_JWT_TEXTS_BYTES   6656 /* more than a whole token holds: checked all the same */

enum pawl_jwt_text {
    PAWL_JWT_TEXT_ISSUER,
    PAWL_JWT_TEXT_JTI,
    PAWL_JWT_TEXT_SUBJECT,
    PAWL_JWT_TEXT_CLIENT,
    PAWL_JWT_TEXT_KID,
    PAWL_JWT_TEXT_SID,
    PAWL_JWT_TEXT_TYP,        /* of the header */
    PAWL_JWT_TEXT_TOKEN_TYPE, /* of the payload */
    PAWL_JWT_TEXT_SCOPE,
    PAWL_JWT_TEXTS,
};

struct pawl_jwt_record {
    int64_t exp_s;
    int64_t iat_s;
    int64_t nbf_s;
    uint64_t generation;
    uint8_t signed_sha256[32];
    uint32_t key; /* its place in the set that verified it */
    bool has_iat;
    bool has_nbf;
    bool has_generation;
    bool has_typ;
    bool has_token_type;
    bool has_exp;
    bool has_high_s; /* an ES signature whose s lies above half the order: it has a low twin */
    uint16_t audience_count;
    uint16_t audience_at; /* each a byte of size, then its bytes */
    uint16_t audience_bytes;
    uint16_t size; /* of texts */
    struct {
        uint16_t at, size;
    } text[PAWL_JWT_TEXTS];
    uint8_t texts[PAWL_JWT_TEXTS_BYTES];
};

/** Bytes of a record that are in use: what a copy has to hold. */
static inline size_t pawl_jwt_record_bytes(const struct pawl_jwt_record *record)
{
    return offsetof(struct pawl_jwt_record, texts) + record->size;
}

static inline struct pawl_bytes pawl_jwt_record_text(const struct pawl_jwt_record *record,
                                                     enum pawl_jwt_text which)
{
    return pawl_bytes_of(record->texts + record->text[which].at, record->text[which].size);
}

/** Which claims say what, and what is wanted of them: an issuer's settings. */
struct pawl_jwt_names {
    const char *subject;
    const char *client;
    const char *sid;
};

/** Make @record hold nothing. */
void pawl_jwt_record_clear(struct pawl_jwt_record *record);

/**
 * Read a header into @record: typ, kid, and the algorithm into @alg.
 * OK; CRIT (crit, or b64, of which RFC 7797 section 6 says that crit names it), ALG_MISSING,
 * ALG_NONE, ALG_UNKNOWN, CLAIM (kid or typ of another type or beyond the cap), INTERNAL.
 * jwk, jku, x5c, x5u and all other members are not looked at: a token brings no keys.
 */
PAWL_MUST_USE enum pawl_jwt_reason pawl_jwt_read_header(const struct pawl_json *header,
                                                        struct pawl_jwt_record *record,
                                                        const struct pawl_jwt_alg_info **alg);

/** Read iss alone, by which the key is chosen. OK or CLAIM. */
PAWL_MUST_USE enum pawl_jwt_reason pawl_jwt_read_issuer(const struct pawl_json *payload,
                                                        struct pawl_jwt_record *record);

/**
 * Read the other claims, by the names of its issuer. OK, CLAIM or EXP_MISSING.
 * exp, nbf, iat and gen are whole numbers from 0 to 2^53; texts are 255 bytes at most; the subject
 * may be a whole number and is then its decimal text; aud is a text or up to 32. A scope that is no
 * text counts as none.
 */
PAWL_MUST_USE enum pawl_jwt_reason pawl_jwt_read_claims(const struct pawl_json *payload,
                                                        const struct pawl_jwt_names *names,
                                                        struct pawl_jwt_record *record);

/**
 * Is the token signed in the wanted form, of the wanted type, begun, and for the wanted audience?
 * In that order: OK, HIGH_S, TYPE, NOT_BEFORE or AUDIENCE.
 *
 * @audience  out: the one that matched, else the first; empty where there is none.
 */
PAWL_MUST_USE enum pawl_jwt_reason pawl_jwt_judge(const struct pawl_jwt_record *record,
                                                  const struct pawl_jwt_issuer_settings *issuer,
                                                  const struct pawl_jwt_request *request,
                                                  struct pawl_bytes *audience);

#endif
