/*
 * Family ids that carry a birth time.
 *
 * A sid is a UUIDv7 (RFC 9562) on the fleet's clock whose last 32 bits are a MAC under the `sid`
 * subkey over namespace and the other bits; 42 bits are random. It goes into the tokens as a
 * signed claim. Any other sid, foreign or forged, is an opaque id without a birth time: such
 * families are never spared by a cutoff.
 *
 * Bytes: 0-5 milliseconds big endian; 6 version 7 and 4 random bits; 7 random; 8 variant 10 and
 * 6 random bits; 9-11 random; 12-15 MAC.
 *
 * Everything here is pure and may be called from any thread.
 */
#ifndef PAWL_CORE_SID_H
#define PAWL_CORE_SID_H

#include "core/keyhash.h"
#include "core/types.h"

#define PAWL_SID_TEXT    36 /* 8-4-4-4-12 in lower case; no closing NUL is counted */
#define PAWL_SID_ENTROPY 6  /* bytes of randomness for one id */
#define PAWL_SID_KEYS    2  /* secret_files: [new, old] */
#define PAWL_NAME_KEYS   3  /* and names_secret_file */

/**
 * The subkeys that token work needs. [0] of `sid` mints, all of them verify. `adopt` are the `sid`
 * subkeys that families are adopted under: [0] from now on, the others before.
 */
struct pawl_token_keys {
    struct pawl_subkey facts;
    struct pawl_subkey sid[PAWL_SID_KEYS];
    unsigned sid_count;
    struct pawl_subkey adopt[PAWL_NAME_KEYS];
    unsigned adopt_count;
};

/** A minted id in its text form. */
struct pawl_sid {
    char text[PAWL_SID_TEXT + 1]; /* NUL at the end */
};

/**
 * Mint an id for a new family of @ns.
 *
 * @now           the fleet's clock.
 * @not_before_ms largest known cutoff + 1 (0: none): born no earlier, so that a login right after
 *                a log-out everywhere is spared. pawl_revocations_newborn_ms() has it.
 * @entropy       PAWL_SID_ENTROPY random bytes. A family of this id may exist (2^-42 for each
 *                other login in the same millisecond): the store refuses to open it twice.
 *
 * Returns the birth time in ms that the id carries.
 */
uint64_t pawl_sid_mint(struct pawl_sid *sid, const struct pawl_token_keys *keys,
                       struct pawl_bytes ns, struct pawl_stamp now, uint64_t not_before_ms,
                       const uint8_t *entropy);

/**
 * The id of a family that is made from a token minted before pawl was there: a function of
 * (ns, token, iat) under one key, so that concurrent adoptions meet; born at the token's iat.
 *
 * @key    one of the `adopt` subkeys: [0] for a new family; the others find families adopted before
 *         the secret changed.
 * @token  pawl_scope_id() of the presented token under that same key. @iat_s >= 0.
 */
void pawl_sid_adopt(struct pawl_sid *sid, const struct pawl_subkey *key, struct pawl_bytes ns,
                    struct pawl_id token, int64_t iat_s);

/**
 * The birth time in ms that @sid carries, or 0 if it carries none: not the canonical text of a
 * version 7 UUID, later than @now + @skew_ms, or its MAC does not hold under any of the keys.
 * The MAC is compared in constant time.
 */
uint64_t pawl_sid_birth_ms(const struct pawl_token_keys *keys, struct pawl_bytes ns,
                           struct pawl_bytes sid, struct pawl_stamp now, uint64_t skew_ms);

/** Strict canonical form (lower case, hyphens in place) to 16 bytes; false if it is not. */
bool pawl_uuid_parse(uint8_t out[16], struct pawl_bytes text);
void pawl_uuid_format(char text[PAWL_SID_TEXT + 1], const uint8_t uuid[16]);

#endif
