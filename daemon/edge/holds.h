/*
 * Records that hold a charge of a check about keys of several members, which may be given back: for
 * a moment, so that who is denied meanwhile can be told that asking again may help (`contended`).
 *
 * A hint, not a lock: a small table in which a later hold may take the place of an earlier one.
 * Any thread.
 */
#ifndef PAWL_EDGE_HOLDS_H
#define PAWL_EDGE_HOLDS_H

#include "core/types.h"

#include <stdatomic.h>

#define PAWL_HOLDS_MAX 1024 /* a power of two */
#define PAWL_HOLD_MS   1000 /* then a charge that was not given back stays */

#define PAWL_HOLD_TIME_MASK UINT64_C(0xffffff) /* of a place: until when; above: whose */

struct pawl_holds {
    _Atomic uint64_t places[PAWL_HOLDS_MAX];
};

static inline _Atomic uint64_t *pawl_hold_place(struct pawl_holds *holds, struct pawl_id id)
{
    return &holds->places[id.hi % PAWL_HOLDS_MAX];
}

/** The record @id holds a charge from @now_ms (BOOTTIME) on. */
static inline void pawl_hold_begin(struct pawl_holds *holds, struct pawl_id id, uint64_t now_ms)
{
    atomic_store_explicit(pawl_hold_place(holds, id),
                          (id.hi & ~PAWL_HOLD_TIME_MASK) |
                              ((now_ms + PAWL_HOLD_MS) & PAWL_HOLD_TIME_MASK),
                          memory_order_relaxed);
}

/** It was given back. */
static inline void pawl_hold_end(struct pawl_holds *holds, struct pawl_id id)
{
    uint64_t place = atomic_load_explicit(pawl_hold_place(holds, id), memory_order_relaxed);

    if (((place ^ id.hi) & ~PAWL_HOLD_TIME_MASK) == 0) {
        atomic_store_explicit(pawl_hold_place(holds, id), 0, memory_order_relaxed);
    }
}

static inline bool pawl_hold_is(struct pawl_holds *holds, struct pawl_id id, uint64_t now_ms)
{
    uint64_t place = atomic_load_explicit(pawl_hold_place(holds, id), memory_order_relaxed);
    uint64_t left_ms = (place - now_ms) & PAWL_HOLD_TIME_MASK;

    return place != 0 && ((place ^ id.hi) & ~PAWL_HOLD_TIME_MASK) == 0 && left_ms != 0 &&
           left_ms <= PAWL_HOLD_MS;
}

#endif
