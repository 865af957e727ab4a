/* What the two halves of families.h share; nobody else includes this. */
#ifndef PAWL_CORE_CLUSTER_FAMILIES_INSIDE_H
#define PAWL_CORE_CLUSTER_FAMILIES_INSIDE_H

#include "core/cluster/families.h"

#define PAWL_FAMILY_NOWHERE UINT32_MAX

enum pawl_family_step {
    PAWL_FAMILY_STEP_FREE = 0,
    PAWL_FAMILY_STEP_PARKED, /* no engine, or the gate is closed */
    PAWL_FAMILY_STEP_GETTING,
    PAWL_FAMILY_STEP_SETTING,
    PAWL_FAMILY_STEP_WON,     /* for the next WAIT */
    PAWL_FAMILY_STEP_WAITING, /* for the one that is out */
};

/** A call, or the join of one kept record, under way. */
struct pawl_family_slot {
    enum pawl_family_step step;
    struct pawl_family_call *call; /* NULL: a join ... */
    uint32_t kept;                 /* ... of this record */
    uint64_t tag;                  /* of the command that is out; others are late */
    uint64_t version, next;        /* what was read, what is written */
    struct pawl_epoch epoch;       /* in which it was read */
    uint64_t until_s;
    uint8_t *value; /* what was sent, sealed; from the heap */
    size_t size;
};

/** A record written here, encoded. In a list from the oldest to the newest. */
struct pawl_family_kept {
    struct pawl_id key;
    uint64_t version;
    uint64_t until_s;
    uint64_t at_ms;
    uint8_t *bytes; /* from the heap; NULL: the place is free */
    uint32_t size;
    uint32_t older, newer; /* free: `newer` is the next free one */
    uint32_t chain;        /* next of the same bucket */
    uint32_t round;        /* in which it was joined */
    bool merging;
};

/** Where a family lies: what its seal is over. */
struct pawl_family_place {
    uint8_t bytes[24];
};
struct pawl_family_place pawl_family_place_of(struct pawl_id key, uint64_t version);

void *pawl_families_take(struct pawl_families *families, void *old, size_t size);

/** Send the command that @slot is about to; its tag is made. */
void pawl_family_slot_get(struct pawl_families *families, struct pawl_family_slot *slot);
void pawl_family_slot_set(struct pawl_families *families, struct pawl_family_slot *slot,
                          bool gated);

/** Encode and seal families->fresh as what @slot writes as version @next; false: no memory. */
bool pawl_family_slot_fill(struct pawl_families *families, struct pawl_family_slot *slot,
                           uint64_t next);

/** Read what a reply brought into families->old: PAWL_OK, PAWL_ENOENT, PAWL_ECORRUPT, ... */
enum pawl_status pawl_family_reply_read(struct pawl_families *families, struct pawl_id key,
                                        const struct pawl_engine_reply *reply);

void pawl_family_slot_free(struct pawl_families *families, struct pawl_family_slot *slot);

/* ---- families_kept.c ---- */

PAWL_MUST_USE enum pawl_status pawl_families_kept_init(struct pawl_families *families);
void pawl_families_kept_deinit(struct pawl_families *families);
/** Keep what @slot wrote: its call's key, families' record in sealed form. */
void pawl_families_keep(struct pawl_families *families, const struct pawl_family_slot *slot,
                        uint64_t now_ms);
void pawl_families_forget_old(struct pawl_families *families, uint64_t now_ms);
/** Begin joins while there is room for them and something to join. */
void pawl_families_merge_more(struct pawl_families *families);
/** All anew: another epoch. */
void pawl_families_merge_again(struct pawl_families *families);
void pawl_families_merge_reply(struct pawl_families *families, struct pawl_family_slot *slot,
                               const struct pawl_engine_reply *reply);

#endif
