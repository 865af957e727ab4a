/*
 * Leases: reservations that wait to be committed or canceled.
 *
 * pawl_limiter_reserve() charges, and says with struct pawl_charged where it charged; a lease keeps
 * that under a random id until somebody says how much was used. Take a lease to commit or to cancel
 * it: it is removed and handed over whole, so it works once. One that nobody takes until its
 * deadline is dropped; its charge stays, and leaves as every charge does.
 *
 *   reserve -> pawl_leases_open -> pawl_leases_take -> give back granted - used on every charge
 *                              \-> (deadline) dropped by pawl_leases_take or pawl_leases_expire
 *
 * Memory is the caller's, of fixed size: places of PAWL_LEASE_PLACE_BYTES. A place holds a lease of
 * up to PAWL_LEASE_INLINE charges; one of more takes a place more for each further
 * PAWL_LEASE_INLINE, out of the same places. Full is refused, nothing open is dropped for it.
 *
 * Threads: any, but for init and deinit; one lock. Nothing here outlives the process: after a
 * restart a lease is unknown and its charge stays.
 */
#ifndef PAWL_CORE_LEASE_H
#define PAWL_CORE_LEASE_H

#include "core/limiter.h"

#define PAWL_LEASE_INLINE      8
#define PAWL_LEASE_PLACE_BYTES 256
#define PAWL_LEASES_MAX        1000000

/** A lease as it is opened and taken. */
struct pawl_lease {
    struct pawl_id owner;         /* whose: the keyed hash of the namespace, say; has to match */
    uint64_t granted;             /* of each charge */
    struct pawl_instant deadline; /* from then on it is unknown */
    size_t charges_count;         /* 0 to PAWL_LIMITER_SLOTS_MAX */
    struct pawl_charged charges[PAWL_LIMITER_SLOTS_MAX];
};

struct pawl_leases {
    /* private */
    pthread_mutex_t lock;
    struct pawl_lease_place *places;
    uint32_t *index;     /* place + 1 by hash of the id; 0: empty */
    uint32_t index_mask; /* a power of two less 1 */
    uint32_t places_max;
    uint32_t used;  /* places */
    uint32_t open;  /* leases */
    uint32_t fresh; /* places from here on were never used */
    uint32_t free;  /* place + 1; list */
    uint32_t hand;  /* the next place to look at */
    uint64_t expired, refused;
    struct pawl_id salt;
};

/** Figures; leases but for the places. */
struct pawl_leases_metrics {
    uint64_t open, places, places_max;
    uint64_t expired; /* dropped at their deadline */
    uint64_t refused; /* for want of a place */
};

/** Bytes of memory for @leases_max leases (1 to PAWL_LEASES_MAX) of up to PAWL_LEASE_INLINE
 * charges. */
size_t pawl_leases_size(size_t leases_max);

/**
 * Begin an empty table in @memory (aligned to 8, zero, pawl_leases_size(@leases_max) bytes; the
 * caller's until deinit). @salt: random at each boot. Returns PAWL_OK; PAWL_EINVAL for a
 * @leases_max out of bounds; PAWL_ENOMEM if the lock cannot be made.
 */
PAWL_MUST_USE enum pawl_status pawl_leases_init(struct pawl_leases *leases, void *memory,
                                                size_t leases_max, struct pawl_id salt);

void pawl_leases_deinit(struct pawl_leases *leases);

/**
 * Keep @lease (copied) under @id: 128 bits that nobody can guess, from the entropy port.
 *
 * Returns PAWL_OK; PAWL_EINVAL for more charges than the maximum or an id of zero; PAWL_EBUSY if
 * the id is in use (roll again); PAWL_EFULL if there is no place, also after a look for expired
 * ones: then nothing is kept, and the caller gives the whole charge back.
 */
PAWL_MUST_USE enum pawl_status pawl_leases_open(struct pawl_leases *leases, struct pawl_id id,
                                                const struct pawl_lease *lease,
                                                struct pawl_instant now);

/**
 * Remove the lease @id of @owner and hand it over in @lease, to be committed or canceled by the
 * caller with pawl_limiter_give_back() on each charge.
 *
 * Returns PAWL_OK, or PAWL_ENOENT if it is unknown, another owner's, over, or was taken before.
 */
PAWL_MUST_USE enum pawl_status pawl_leases_take(struct pawl_leases *leases, struct pawl_id id,
                                                struct pawl_id owner, struct pawl_instant now,
                                                struct pawl_lease *lease);

/**
 * Drop leases whose deadline has come, looking at up to @budget places from where the last call
 * stopped. Call it by a timer. Returns how many were dropped.
 */
size_t pawl_leases_expire(struct pawl_leases *leases, size_t budget, struct pawl_instant now);

void pawl_leases_metrics_get(struct pawl_leases *leases, struct pawl_leases_metrics *metrics);

#endif
