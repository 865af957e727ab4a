/*
 * Who may decide about a key right now, as the threads that answer checks see it.
 *
 * One writer (the cluster's thread), many readers. A slot changes to HELD when its records are all
 * here, and away from it before they are given to another: after such a change the writer waits
 * until every reader has begun a new batch, and only then reads the slot's records. So no decision
 * is made on a slot after it was given away.
 */
#ifndef PAWL_CORE_CLUSTER_OWNERSHIP_H
#define PAWL_CORE_CLUSTER_OWNERSHIP_H

#include "core/ring.h"

#include <stdatomic.h>

enum pawl_slot_state {
    PAWL_SLOT_FOREIGN = 0, /* another's: forward */
    PAWL_SLOT_WANTED = 1,  /* ours by the view, its records are on their way: wait */
    PAWL_SLOT_HELD = 2,  /* decided here, also by one who owned it until its heir has fetched it */
    PAWL_SLOT_GIVEN = 3, /* sent to its heir, whose word is outstanding: forward */
};

/* A decision is made no later than this after the last accepted heartbeat was *sent* (BOOTTIME). */
#define PAWL_TENURE_MS 3500
/* A member is dead when nothing new was heard of it for so long, by each observer's own clock. */
#define PAWL_MEMBER_TTL_MS 5000

struct pawl_ownership {
    _Atomic uint64_t tenure_until_ms; /* BOOTTIME; 0: none */
    _Atomic uint8_t states[PAWL_RING_SLOTS];
};

enum pawl_route_kind {
    PAWL_ROUTE_LAPSED = 0, /* nobody may decide here: no tenure, no view. on_error rules */
    PAWL_ROUTE_LOCAL,
    PAWL_ROUTE_FORWARD, /* to member `to` of the ring */
    PAWL_ROUTE_WAIT,
};

struct pawl_route {
    enum pawl_route_kind kind;
    uint16_t to; /* index in ring->members, with FORWARD */
};

/**
 * Where a request about @slot goes.
 *
 * @ring  of the view as this reader knows it; member_count 0: none yet. @self  its own index, or
 *        PAWL_RING_NOBODY. @now_ms  BOOTTIME, read after the request was.
 */
static inline struct pawl_route pawl_route(const struct pawl_ownership *ownership,
                                           const struct pawl_ring *ring, uint16_t self,
                                           uint32_t slot, uint64_t now_ms)
{
    struct pawl_route route = { PAWL_ROUTE_LAPSED, PAWL_RING_NOBODY };

    switch (atomic_load_explicit(&ownership->states[slot], memory_order_acquire)) {
    case PAWL_SLOT_HELD:
        if (now_ms < atomic_load_explicit(&ownership->tenure_until_ms, memory_order_acquire)) {
            route.kind = PAWL_ROUTE_LOCAL;
        }
        return route;
    case PAWL_SLOT_WANTED:
        route.kind = PAWL_ROUTE_WAIT;
        return route;
    default:
        break;
    }
    if (ring->member_count > 0 && ring->owner[slot] != PAWL_RING_NOBODY &&
        ring->owner[slot] != self) {
        route.kind = PAWL_ROUTE_FORWARD;
        route.to = ring->owner[slot];
    }
    return route;
}

#endif
