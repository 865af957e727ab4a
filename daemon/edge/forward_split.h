/*
 * A check that is taken apart, shared by forward_split.c (rounds, the answer) and forward_part.c
 * (the parts of a round). One thread: the worker's.
 */
#ifndef PAWL_EDGE_FORWARD_SPLIT_H
#define PAWL_EDGE_FORWARD_SPLIT_H

#include "edge/forward.h"

/** What one other member was asked. */
struct pawl_part {
    struct pawl_parcel *parcel;
    uint64_t items; /* of the check; in the part they lie in the same order */
    struct pawl_member_id owner;
};

struct pawl_split {
    uint64_t pending;  /* items that nobody has decided; a bit for each */
    uint64_t local;    /* decided here ... */
    uint64_t exact;    /* ... and to be saved before the answer */
    uint64_t charged;  /* and not given back */
    uint64_t returned; /* charged, and given back */
    bool atomic;
    bool refused;
    bool undecided;
    bool contended; /* a denial that may be another's hold */
    bool ordered;   /* part by part */
    bool unheard;   /* a part went again: `again` is why */
    enum pawl_again again;
    uint64_t begun_ms;   /* BOOTTIME */
    unsigned part_count; /* of this round: used in `parts` ... */
    unsigned under_way;  /* ... and without an answer */
    unsigned failed;     /* status of the wire of a part that ends the check; 0: none */
    bool perhaps;        /* what is not given back may be charged */
    char text[PAWL_ERROR_BYTES];
    struct pawl_part parts[PAWL_ITEMS_MAX];
    uint32_t result_count;
    struct pawl_wire_result results[PAWL_RESULTS_MAX];
};

static inline uint64_t pawl_split_bit(uint32_t item)
{
    return UINT64_C(1) << item;
}

static inline bool pawl_split_has(uint64_t set, uint32_t item)
{
    return (set >> item & 1) != 0;
}

/* The @nth item of @items, from 0 on; PAWL_ITEMS_MAX: it has fewer. */
static inline uint32_t pawl_split_item_at(uint64_t items, uint32_t nth)
{
    for (uint32_t i = 0; i < PAWL_ITEMS_MAX; i++) {
        if (pawl_split_has(items, i) && nth-- == 0) {
            return i;
        }
    }
    return PAWL_ITEMS_MAX;
}

/** All parts of a round have ended. */
void pawl_split_go_on(struct pawl_parcel *parcel);

/* ---- forward_part.c ---- */

/** Decide @items of the check at hand here. */
void pawl_part_decide(struct pawl_dispatch *dispatch, struct pawl_session *session,
                      struct pawl_split *split, const struct pawl_check *check, uint64_t items);

/**
 * Ask member @to about @items of the check at hand; pawl_split_go_on() comes when no part is under
 * way any more, never from inside this call. Where it cannot be asked they are pending still.
 */
void pawl_part_send(struct pawl_dispatch *dispatch, struct pawl_parcel *parcel,
                    const struct pawl_check *check, uint64_t items, uint16_t to);

#endif
