/*
 * One shard of the limiter: its lock, its index, its records. Private to limiter*.c.
 *
 * The index is open addressing with linear probing over entries of 8 bytes: a tag of 32 bits above
 * a reference of 32 bits (units of 8 bytes from the arena's base; 0 is an empty place). A place
 * follows from the tag's high bits alone, so growing the index touches no record and a miss
 * hardly ever touches one.
 *
 * All calls under the shard's lock, but for what is said to need none.
 */
#ifndef PAWL_CORE_LIMITER_TABLE_H
#define PAWL_CORE_LIMITER_TABLE_H

#include "core/limiter.h"
#include "core/limiter_slab.h"
#include "core/record.h"

#define PAWL_TABLE_SHIFT_FIRST (32 - 9) /* an index begins with 512 places: one page */

/** 64-bit fields with one writer: who holds the lock. */
struct pawl_shard_metrics {
    uint64_t allowed, denied, shadow_denied, peeks;
    uint64_t keys, cells, overflowed, full;
    uint64_t sweeps, expired, squeezed, refunded, resets, loaded, collected;
};

struct pawl_limiter_shard {
    pthread_mutex_t lock;
    uint64_t *index;      /* prefetched by others without the lock: read and set atomically */
    uint32_t index_shift; /* place = tag >> shift */
    uint32_t index_used;
    uint32_t hand;       /* the next place to sweep */
    uint64_t unsaved_ns; /* "now" of the oldest change not yet collected; 0: none */
    uint64_t tickets;    /* the last handle given to a charge of slots */
    struct pawl_slab slab;
    struct pawl_shard_metrics metrics;
} __attribute__((aligned(64)));

/** What a record is created for: how far into memory it may reach. */
enum pawl_table_need {
    PAWL_TABLE_KEY,  /* stops at the reserve */
    PAWL_TABLE_CELL, /* a cell, or a record from the saver */
};

enum pawl_status pawl_shard_init(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard);
void pawl_shard_deinit(struct pawl_limiter_shard *shard);

/** @id, mixed for this life: the order in which cursors walk. No lock. */
static inline uint64_t pawl_table_mix(const struct pawl_limiter *limiter, struct pawl_id id)
{
    uint64_t mixed = (id.hi ^ limiter->salt[0]) + id.lo * (limiter->salt[1] | 1);

    mixed ^= mixed >> 29;
    return mixed * UINT64_C(0x9e3779b97f4a7c15);
}

/** The tag of @id in this life. No lock. */
static inline uint32_t pawl_table_tag(const struct pawl_limiter *limiter, struct pawl_id id)
{
    return (uint32_t)(pawl_table_mix(limiter, id) >> 32);
}

/** The shard of @id. No lock. */
static inline uint16_t pawl_table_shard(const struct pawl_limiter *limiter, struct pawl_id id)
{
    return (uint16_t)(id.lo & (limiter->shards_count - 1));
}

/** Ask the processor to fetch the index line of @tag. No lock. */
static inline void pawl_table_prefetch(const struct pawl_limiter_shard *shard, uint32_t tag)
{
    uint64_t *index = __atomic_load_n(&shard->index, __ATOMIC_RELAXED);
    uint32_t shift = __atomic_load_n(&shard->index_shift, __ATOMIC_RELAXED);

    __builtin_prefetch(index + (tag >> shift));
}

/** True while all shards together hold what fits in a processor's cache. No lock. */
static inline bool pawl_shard_is_small(const struct pawl_limiter_shard *shard)
{
    return __atomic_load_n(&shard->index_shift, __ATOMIC_RELAXED) >= PAWL_TABLE_SHIFT_FIRST;
}

/**
 * Ask the processor to fetch the record that has @tag, without looking at it, and the head of its
 * page, which a charge marks.
 */
void pawl_table_prefetch_record(const struct pawl_limiter *limiter,
                                const struct pawl_limiter_shard *shard, uint32_t tag);

static inline size_t pawl_table_places(const struct pawl_limiter_shard *shard)
{
    return (size_t)1 << (32 - shard->index_shift);
}

/** The record of an entry of the index. */
static inline struct pawl_window *pawl_table_record(const struct pawl_limiter *limiter,
                                                    uint64_t entry)
{
    return (struct pawl_window *)(limiter->arena.base + (size_t)(uint32_t)entry * 8);
}

/** The record of @id, or NULL; @place says where in the index it is. */
static inline struct pawl_window *pawl_table_seek(const struct pawl_limiter *limiter,
                                                  const struct pawl_limiter_shard *shard,
                                                  struct pawl_id id, uint32_t tag, size_t *place)
{
    size_t mask = pawl_table_places(shard) - 1;

    for (*place = tag >> shard->index_shift;; *place = (*place + 1) & mask) {
        uint64_t entry = shard->index[*place];

        if (entry == 0) {
            return NULL;
        }
        if (entry >> 32 == tag) {
            struct pawl_window *record = pawl_table_record(limiter, entry);

            if (PAWL_LIKELY(pawl_id_equal(record->id, id))) {
                return record;
            }
        }
    }
}

/** The record of @id, or NULL. */
static inline struct pawl_window *pawl_table_find(const struct pawl_limiter *limiter,
                                                  const struct pawl_limiter_shard *shard,
                                                  struct pawl_id id, uint32_t tag)
{
    size_t place;

    return pawl_table_seek(limiter, shard, id, tag, &place);
}

/**
 * Make an empty record of at least @bytes for @id, which has none. When memory is short a few
 * expired records are freed first. NULL if there is no room.
 */
struct pawl_window *pawl_table_create(struct pawl_limiter *limiter,
                                      struct pawl_limiter_shard *shard, struct pawl_id id,
                                      uint32_t tag, size_t bytes, enum pawl_table_need need,
                                      uint32_t window_ms, struct pawl_instant now);

/** Move @record to a place of @bytes. Returns the new one, or NULL (nothing changed). */
struct pawl_window *pawl_table_grow(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                                    struct pawl_window *record, size_t bytes, bool wide);

/** Remove @record from the index and free it. */
void pawl_table_remove(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                       struct pawl_window *record);

/** Note that @record changed at @now and has to be saved. */
void pawl_table_dirty(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                      struct pawl_window *record, struct pawl_instant now);

/** After a charge of @record: it is not forgotten any more, and has to be saved. */
static inline void pawl_table_charged(struct pawl_limiter *limiter,
                                      struct pawl_limiter_shard *shard, struct pawl_window *record,
                                      struct pawl_instant now)
{
    record->flags &= (uint8_t)~PAWL_RECORD_RESET;
    if ((record->flags & PAWL_RECORD_DIRTY) == 0) {
        pawl_table_dirty(limiter, shard, record, now);
    }
}

/** Look at @budget places from the hand on; returns how many expired records were freed. */
size_t pawl_table_sweep(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                        size_t budget, struct pawl_instant now);

/** Charge @record (grown if needed); returns where it is now. @event_ms: pawl_window_charge()'s. */
struct pawl_window *pawl_table_charge(struct pawl_limiter *limiter,
                                      struct pawl_limiter_shard *shard, struct pawl_window *record,
                                      unsigned precision, uint64_t cost, struct pawl_instant now,
                                      uint64_t *event_ms);

/** Let time pass on @record for @rate; a record of another kind becomes a used up one. */
void pawl_table_touch(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                      struct pawl_window *record, const struct pawl_rate *rate,
                      struct pawl_instant now);

/** The overflow cell of rate @rate_index of @limit for a key with @id. No lock. */
static inline struct pawl_id pawl_table_cell_id(const struct pawl_limit *limit, unsigned rate_index,
                                                struct pawl_id id)
{
    struct pawl_id cell = limit->cells[rate_index];

    cell.lo = (cell.lo & ~(uint64_t)(PAWL_LIMITER_CELLS - 1)) | (id.lo & (PAWL_LIMITER_CELLS - 1));
    return cell;
}

/** The cell of a slot as of @now if it holds anything of its window, else NULL. */
struct pawl_window *pawl_table_find_cell(struct pawl_limiter *limiter,
                                         struct pawl_limiter_shard *shard,
                                         const struct pawl_limiter_slot *slot,
                                         struct pawl_instant now);

static inline const struct pawl_rate *pawl_slot_rate(const struct pawl_limiter_slot *slot)
{
    return slot->rate;
}

static inline struct pawl_limiter_shard *pawl_slot_shard(const struct pawl_limiter *limiter,
                                                         const struct pawl_limiter_slot *slot)
{
    return &limiter->shards[slot->shard];
}

/** What the wall clock read when somebody last said so; INT64_MIN: nobody has. No lock. */
static inline struct pawl_wall pawl_table_wall(const struct pawl_limiter *limiter)
{
    struct pawl_wall wall = { __atomic_load_n(&limiter->wall_s, __ATOMIC_RELAXED) };

    return wall;
}

/**
 * Put a serialized record in the place of what @head->id has: pawl_limiter_load() under the lock.
 */
enum pawl_status pawl_table_load(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                                 struct pawl_bytes bytes, const struct pawl_record_head *head,
                                 uint64_t elapsed_ms, struct pawl_instant now);

/** The base id of the pool of cells that inline rates share. */
struct pawl_id pawl_limit_inline_cells(const struct pawl_limiter *limiter);

/**
 * Check one item and append its slots to @plan. No lock. Returns as pawl_limiter_check.
 */
enum pawl_status pawl_limiter_resolve(const struct pawl_limiter *limiter,
                                      const struct pawl_limit_item *item, uint16_t item_index,
                                      struct pawl_limiter_plan *plan);

#endif
