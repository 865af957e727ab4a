/*
 * Where facts lie: from an id to n, the row.
 *
 * Facts that one life of a daemon took itself lie at n = base + sequence, so a life costs one entry
 * whatever it took. Facts that were kept under the ids of other nodes lie in the order in which
 * they came: those that do not fit their origin's base are in a table of their own, 16 bytes in a
 * slot, half to three quarters full. What is found is a place to look at, no proof: whoever
 * looks compares the id in the row. One thread, or a lock of the caller's.
 */
#ifndef PAWL_ADAPTER_SQLITE_PLACES_H
#define PAWL_ADAPTER_SQLITE_PLACES_H

#include "core/fact.h"

#define PAWL_BASES_MAX 65536u              /* origins with a base; facts of others are strays */
#define PAWL_NAMED_MAX (UINT32_C(1) << 20) /* ids that cancels name; more are not noted */

/** Open addressing from hashed ids to rows. All zero: empty. */
struct pawl_id_map {
    struct pawl_id_slot {
        uint64_t key; /* 0: free */
        uint64_t n;
    } * slots;
    size_t mask;
    size_t count;
};

struct pawl_places {
    struct pawl_origin_base {
        struct pawl_origin origin;
        uint64_t base;
    } * bases;
    size_t count;
    size_t capacity;
    struct pawl_id_map strays; /* facts */
    struct pawl_id_map named;  /* ids that cancels name: n of the cancel */
};

/** Note that @id lies at @n. PAWL_OK or PAWL_ENOMEM. */
PAWL_MUST_USE enum pawl_status pawl_places_note(struct pawl_places *places,
                                                const struct pawl_fact_id *id, uint64_t n);
/** Where @id lies if it is held; 0: not known. */
uint64_t pawl_places_find(const struct pawl_places *places, const struct pawl_fact_id *id);
/** @id lay at @n, and is gone. */
void pawl_places_forget(struct pawl_places *places, const struct pawl_fact_id *id, uint64_t n);

/** Note what the cancel @fact at @n names. PAWL_OK or PAWL_ENOMEM. */
PAWL_MUST_USE enum pawl_status pawl_places_note_cancel(struct pawl_places *places,
                                                       const struct pawl_fact *fact, uint64_t n);
/** The row of a cancel that named @id last, or 0. It may be gone by now. */
uint64_t pawl_places_find_cancel(const struct pawl_places *places, const struct pawl_fact_id *id);

void pawl_places_deinit(struct pawl_places *places);

#endif
