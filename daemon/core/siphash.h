/*
 * SipHash-2-4 with 128 or 64 bits of output, stopped and gone on from (Aumasson, Bernstein:
 * "SipHash", 2012, and the authors' reference code for the 128-bit form).
 *
 * keyhash.c hashes whole messages with libsodium. This is for identities that share a beginning,
 * namespace and issuer: what they share is taken in once, which makes a token verdict over five
 * scopes a third cheaper. tests/unit/test_fact.c and test_ring.c hold it against libsodium. Pure.
 */
#ifndef PAWL_CORE_SIPHASH_H
#define PAWL_CORE_SIPHASH_H

#include "core/keyhash.h"
#include "core/types.h"

#include <string.h>

/* The state has to stay in registers: a third of the time otherwise goes into moving it. */
#define PAWL_SIPHASH_INLINE static inline __attribute__((always_inline))

/** A hash on its way. A copy goes on by itself. */
struct pawl_siphash {
    uint64_t v0, v1, v2, v3;
    uint64_t pending; /* the last size % 8 bytes, low first */
    size_t size;      /* bytes taken in */
};

PAWL_SIPHASH_INLINE uint64_t pawl_siphash_load(const uint8_t *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

PAWL_SIPHASH_INLINE uint64_t pawl_siphash_load4(const uint8_t *bytes)
{
    uint32_t word;

    memcpy(&word, bytes, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap32(word);
#endif
    return word;
}

/** Fewer than 8 bytes, without a loop and without reading past them. */
PAWL_SIPHASH_INLINE uint64_t pawl_siphash_load_tail(const uint8_t *bytes, size_t size)
{
    if (size >= 4) {
        return pawl_siphash_load4(bytes) | pawl_siphash_load4(bytes + size - 4) << (8 * (size - 4));
    }
    if (size == 0) {
        return 0;
    }
    return (uint64_t)bytes[0] | (uint64_t)bytes[size / 2] << (8 * (size / 2)) |
           (uint64_t)bytes[size - 1] << (8 * (size - 1));
}

PAWL_SIPHASH_INLINE uint64_t pawl_siphash_rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

PAWL_SIPHASH_INLINE void pawl_siphash_round(struct pawl_siphash *state)
{
    state->v0 += state->v1;
    state->v1 = pawl_siphash_rotate(state->v1, 13) ^ state->v0;
    state->v0 = pawl_siphash_rotate(state->v0, 32);
    state->v2 += state->v3;
    state->v3 = pawl_siphash_rotate(state->v3, 16) ^ state->v2;
    state->v0 += state->v3;
    state->v3 = pawl_siphash_rotate(state->v3, 21) ^ state->v0;
    state->v2 += state->v1;
    state->v1 = pawl_siphash_rotate(state->v1, 17) ^ state->v2;
    state->v2 = pawl_siphash_rotate(state->v2, 32);
}

PAWL_SIPHASH_INLINE struct pawl_siphash pawl_siphash_init(const struct pawl_subkey *key)
{
    uint64_t k0 = pawl_siphash_load(key->bytes);
    uint64_t k1 = pawl_siphash_load(key->bytes + 8);
    struct pawl_siphash state = { k0 ^ UINT64_C(0x736f6d6570736575),
                                  k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
                                  k0 ^ UINT64_C(0x6c7967656e657261),
                                  k1 ^ UINT64_C(0x7465646279746573),
                                  0,
                                  0 };

    return state;
}

PAWL_SIPHASH_INLINE void pawl_siphash_word(struct pawl_siphash *state, uint64_t word)
{
    state->v3 ^= word;
    pawl_siphash_round(state);
    pawl_siphash_round(state);
    state->v0 ^= word;
}

/** Take in a whole word behind @held pending bytes. */
PAWL_SIPHASH_INLINE void pawl_siphash_shifted(struct pawl_siphash *state, uint64_t word,
                                              unsigned held)
{
    pawl_siphash_word(state, state->pending | word << (8 * held));
    state->pending = (word >> 1) >> (63 - 8 * held); /* by 64 in two steps when none is held */
}

/** Take in the low @bytes bytes of @word, 1 to 7; the others are zero. */
PAWL_SIPHASH_INLINE void pawl_siphash_put(struct pawl_siphash *state, uint64_t word, unsigned bytes)
{
    unsigned held = (unsigned)(state->size % 8);

    if (held + bytes >= 8) {
        pawl_siphash_shifted(state, word, held);
    } else {
        state->pending |= word << (8 * held);
    }
    state->size += bytes;
}

/** Take in @part as pawl_pack_bytes() would write it: 4 bytes of length, then its bytes. */
PAWL_SIPHASH_INLINE void pawl_siphash_part(struct pawl_siphash *state, struct pawl_bytes part)
{
    const uint8_t *data = part.data;
    size_t left = part.size;
    unsigned held;

    pawl_siphash_put(state, part.size, 4);
    held = (unsigned)(state->size % 8);
    state->size += left - left % 8;
    for (; left >= 8; left -= 8) {
        pawl_siphash_shifted(state, pawl_siphash_load(data), held);
        data += 8;
    }
    if (left > 0) {
        pawl_siphash_put(state, pawl_siphash_load_tail(data, left), (unsigned)left);
    }
}

PAWL_SIPHASH_INLINE uint64_t pawl_siphash_out(struct pawl_siphash *state)
{
    pawl_siphash_round(state);
    pawl_siphash_round(state);
    pawl_siphash_round(state);
    pawl_siphash_round(state);
    return state->v0 ^ state->v1 ^ state->v2 ^ state->v3;
}

/** The hash of all that was taken in since pawl_siphash_init(). */
PAWL_SIPHASH_INLINE struct pawl_id pawl_siphash_end(struct pawl_siphash state)
{
    struct pawl_id id;

    pawl_siphash_word(&state, (uint64_t)state.size << 56 | state.pending);
    state.v2 ^= 0xee;
    id.lo = pawl_siphash_out(&state);
    state.v1 ^= 0xdd;
    id.hi = pawl_siphash_out(&state);
    return id;
}

/** The form with 64 bits of output: begun so, and ended by pawl_siphash64_end(). */
PAWL_SIPHASH_INLINE struct pawl_siphash pawl_siphash64_init(const struct pawl_subkey *key)
{
    struct pawl_siphash state = pawl_siphash_init(key);

    state.v1 ^= 0xee;
    return state;
}

/** pawl_keyhash64() of all that was taken in since pawl_siphash64_init(). */
PAWL_SIPHASH_INLINE uint64_t pawl_siphash64_end(struct pawl_siphash state)
{
    pawl_siphash_word(&state, (uint64_t)state.size << 56 | state.pending);
    state.v2 ^= 0xff;
    return pawl_siphash_out(&state);
}

#endif
