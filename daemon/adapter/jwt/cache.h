/*
 * Tokens that were verified, by SHA-256 of the whole token, signature included: another signature
 * over the same claims is another token here. What is kept is what the token says; a hit skips
 * the parse and the signature, and nothing else: exp, nbf, aud, type, the state of its key and
 * revocation are judged each time.
 *
 * Sets of 8 places, the oldest unused one goes; whoever is over goes first. Memory is reserved
 * once and touched as it is used: at most PAWL_JWT_CACHE_BYTES_MAX, whatever the settings say. A
 * token that says more than a place holds is not kept. One thread.
 */
#ifndef PAWL_ADAPTER_JWT_CACHE_H
#define PAWL_ADAPTER_JWT_CACHE_H

#include "adapter/jwt/claims.h"

#define PAWL_JWT_CACHE_WAYS        8
#define PAWL_JWT_CACHE_PLACE_BYTES 1024
#define PAWL_JWT_CACHE_BYTES_MAX   (UINT64_C(256) << 20)

struct pawl_jwt_cache {
    uint64_t hits;
    uint64_t entries;
    uint64_t evicted; /* gave way while they were still good */
    uint64_t too_big; /* not kept for their size */

    /* ---- private ---- */
    struct pawl_jwt_cache_set *sets; /* NULL: nothing is kept */
    struct pawl_jwt_cache_place *places;
    uint64_t set_count; /* a power of two */
    uint64_t bytes;
    uint32_t tick;
};

/** Room for about @entries_max tokens; 0: none. False: no memory, and nothing is kept. */
PAWL_MUST_USE bool pawl_jwt_cache_init(struct pawl_jwt_cache *cache, uint64_t entries_max);
void pawl_jwt_cache_deinit(struct pawl_jwt_cache *cache);

/**
 * Copy what the token of @sha256 says into @record. False: not known. One that is over at @now is
 * handed out for the last time.
 */
PAWL_MUST_USE bool pawl_jwt_cache_find(struct pawl_jwt_cache *cache, const uint8_t sha256[32],
                                       struct pawl_wall now, struct pawl_jwt_record *record);

/** Keep what a verified token says, unless it is over or too big. */
void pawl_jwt_cache_put(struct pawl_jwt_cache *cache, const uint8_t sha256[32],
                        struct pawl_wall now, const struct pawl_jwt_record *record);

/** Forget all: the keys are others now. */
void pawl_jwt_cache_clear(struct pawl_jwt_cache *cache);

#endif
