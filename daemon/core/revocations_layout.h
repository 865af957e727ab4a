/*
 * Where things lie in a region of revocations; for revocations*.c only.
 */
#ifndef PAWL_CORE_REVOCATIONS_LAYOUT_H
#define PAWL_CORE_REVOCATIONS_LAYOUT_H

#include "core/revocations.h"

/*
 * All areas of a shard are side by side: for each level from level_min on two
 * banks of 24 << level bytes. With level_min 9 every area is a whole number of 4 KiB pages, and
 * the offset of level l in its shard is 48 * ((1 << l) - (1 << level_min)).
 */
#define PAGE       UINT64_C(4096)
#define SLOT_BYTES UINT64_C(24)
#define LEVEL_MIN  9
#define LEVEL_TOP  30
#define SHARD_BITS 8
#define AREAS_AT   (PAGE + PAWL_REVOCATIONS_SHARDS * UINT64_C(64))

_Static_assert(1 << SHARD_BITS == PAWL_REVOCATIONS_SHARDS, "a shard is chosen by bits");
_Static_assert(sizeof(struct pawl_revocations_header) <= PAGE, "the header is page 0");
_Static_assert((PAWL_REVOCATIONS_SHARDS * UINT64_C(64)) % PAGE == 0,
               "the descriptors are whole pages");
_Static_assert((SLOT_BYTES << LEVEL_MIN) % PAGE == 0, "areas are whole pages");
_Static_assert(2 * (LEVEL_TOP - LEVEL_MIN + 1) <= 64, "a bit of `dirty` for each area");
_Static_assert(sizeof(_Atomic uint64_t) == 8 && ATOMIC_LLONG_LOCK_FREE == 2,
               "atomics work between processes");

struct slot {
    _Atomic uint64_t k0;
    _Atomic uint64_t k1;
    _Atomic uint64_t value;
};
_Static_assert(sizeof(struct slot) == SLOT_BYTES, "three words");

struct descriptor {
    _Alignas(64) _Atomic uint64_t word;
};

static inline const struct descriptor *descriptor_of(const struct pawl_revocations_view *view,
                                                     unsigned shard)
{
    return (const struct descriptor *)(const void *)(view->base + PAGE) + shard;
}

static inline struct descriptor *descriptor_to_write(const struct pawl_revocations *table,
                                                     unsigned shard)
{
    return (struct descriptor *)(void *)((uint8_t *)table->header + PAGE) + shard;
}

/* Raise @largest to @value; any thread. */
static inline void raise_to(_Atomic uint64_t *largest, uint64_t value)
{
    uint64_t seen = atomic_load_explicit(largest, memory_order_relaxed);

    while (value > seen && !atomic_compare_exchange_weak_explicit(
                               largest, &seen, value, memory_order_release, memory_order_relaxed)) {
    }
}

/* How many slots of an area may be taken before it is built anew: a quarter stays empty. */
static inline uint64_t slots_allowed(uint64_t level)
{
    return (UINT64_C(3) << level) / 4;
}

#endif
