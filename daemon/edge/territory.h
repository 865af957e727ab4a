/*
 * Who is who: the members of the view and the ring over them, as one immutable object. The
 * cluster's thread publishes a new one with each view; each worker picks it up at its next batch,
 * and the last one to let go of the old frees it. So no request ever sees half a change.
 *
 * It says who a request goes to. Who decides is in struct pawl_ownership, slot by slot: the two
 * change one after the other, and a request that meets the moment between waits (forward.h).
 */
#ifndef PAWL_EDGE_TERRITORY_H
#define PAWL_EDGE_TERRITORY_H

#include "core/address.h"
#include "core/ring.h"

#include <pthread.h>
#include <stdatomic.h>

enum pawl_territory_state {
    PAWL_TERRITORY_SERVING = 0, /* owns its part of the slots */
    PAWL_TERRITORY_LEAVING = 1, /* owns none, is still there */
};

struct pawl_territory_member {
    struct pawl_member_id id;
    enum pawl_territory_state state;
    char address[PAWL_ADDRESS_TEXT_MAX]; /* core/address.h: where other members reach it */
    uint64_t started_ms; /* BOOTTIME of this node when it was first seen; 0: not known */
    char version[32];    /* of its pawld, for people; "" = not known */
    bool frozen;         /* as it said last, for people */
};

struct pawl_territory {
    uint64_t view; /* its number; 0: there is none yet */
    struct pawl_ring ring;
    uint16_t self; /* own index in ring.members, or PAWL_RING_NOBODY */
    /* Those of the ring in its order, then those that leave. */
    uint16_t member_count;
    struct pawl_territory_member members[PAWL_MEMBERS_MAX];
    /* ---- private ---- */
    _Atomic unsigned references;
};

/**
 * The members of a view as an object with one reference, the caller's.
 *
 * @key      PAWL_SUBKEY_SLOTS.
 * @view     0: nobody is known yet, and @members has to be empty.
 * @self     this node's id; it need not be among them.
 * @members  in any order, up to PAWL_MEMBERS_MAX, all different; copied.
 *
 * NULL: too many, one twice, or no memory.
 */
struct pawl_territory *pawl_territory_create(const struct pawl_subkey *key, uint64_t view,
                                             struct pawl_member_id self,
                                             const struct pawl_territory_member *members,
                                             size_t count);

/** One reference more or less; the last one frees. NULL is allowed for release. Any thread. */
struct pawl_territory *pawl_territory_acquire(struct pawl_territory *territory);
void pawl_territory_release(struct pawl_territory *territory);

/** Index of the member @id in territory->members, or PAWL_RING_NOBODY. */
uint16_t pawl_territory_find(const struct pawl_territory *territory,
                             const struct pawl_member_id *id);

/* ---- publishing ---------------------------------------------------------------------------- */

/** Where the current one hangs. */
struct pawl_territory_slot {
    pthread_mutex_t mutex;
    _Atomic unsigned version; /* changes with each publication: cheap to compare */
    struct pawl_territory *current;
};

/** Start with @territory, which is not NULL; the slot takes over the caller's reference. */
void pawl_territory_slot_init(struct pawl_territory_slot *slot, struct pawl_territory *territory);
void pawl_territory_slot_deinit(struct pawl_territory_slot *slot);

/** Make @territory the current one (takes over the reference) and release the old. Any thread. */
void pawl_territory_publish(struct pawl_territory_slot *slot, struct pawl_territory *territory);

/** The current one with a reference for the caller, and its version. Any thread. */
struct pawl_territory *pawl_territory_current(struct pawl_territory_slot *slot, unsigned *version);

#endif
