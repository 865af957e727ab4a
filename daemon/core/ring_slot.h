/*
 * pawl_ring_slot() (ring.h) in two steps, for who asks about many keys of one namespace: what they
 * begin with is hashed once. Pure.
 */
#ifndef PAWL_CORE_RING_SLOT_H
#define PAWL_CORE_RING_SLOT_H

#include "core/ring.h"
#include "core/siphash.h"

/** What is hashed for every key of @ns begins so. @key: PAWL_SUBKEY_SLOTS. */
PAWL_SIPHASH_INLINE struct pawl_siphash pawl_ring_slot_begin(const struct pawl_subkey *key,
                                                             struct pawl_bytes ns)
{
    struct pawl_siphash state = pawl_siphash64_init(key);

    pawl_siphash_part(&state, ns);
    return state;
}

/** The slot of the key with @parts behind that beginning. */
PAWL_SIPHASH_INLINE uint32_t pawl_ring_slot_end(struct pawl_siphash state,
                                                const struct pawl_bytes *parts, size_t part_count)
{
    for (size_t i = 0; i < part_count; i++) {
        pawl_siphash_part(&state, parts[i]);
    }
    return (uint32_t)(pawl_siphash64_end(state) % PAWL_RING_SLOTS);
}

#endif
