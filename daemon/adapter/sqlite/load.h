/*
 * Reading everything there is: at start to check it, at a thaw to save what is good.
 *
 * A walk goes up in key order until the end or the first page that cannot be read, then down from
 * the other end, so that one broken page costs no more rows than lie on it. One thread.
 */
#ifndef PAWL_ADAPTER_SQLITE_LOAD_H
#define PAWL_ADAPTER_SQLITE_LOAD_H

#include "adapter/sqlite/places.h"
#include "adapter/sqlite/rows.h"
#include "port/store.h"

/** What a walk found. */
struct pawl_walk {
    uint64_t rows;                            /* whose MAC holds */
    uint64_t bad_rows;                        /* whose MAC does not, or that are out of order */
    uint64_t top;                             /* facts: the highest n seen */
    bool broken;                              /* some page could not be read */
    struct pawl_digest digests[PAWL_BUCKETS]; /* of the good rows */
};

/** Called for each good row; false ends the walk. */
typedef bool (*pawl_visit_fact)(void *data, const struct pawl_fact_row *row);
typedef bool (*pawl_visit_family)(void *data, const struct pawl_family_row *row);

/** SQLITE_OK (damage is in @walk) or SQLITE_NOMEM. @visit may be NULL. */
PAWL_MUST_USE int pawl_walk_facts(struct pawl_db *db, pawl_visit_fact visit, void *data,
                                  struct pawl_walk *walk);
PAWL_MUST_USE int pawl_walk_families(struct pawl_db *db, pawl_visit_family visit, void *data,
                                     struct pawl_walk *walk);

/** What pawl_load() found. */
struct pawl_load {
    uint64_t facts;
    uint64_t families;
    bool damaged;
    char reason[160]; /* for people, where damaged */
};

/**
 * Check the whole database: tables, state, every row, the digests, the pages; hand every fact
 * to @events->on_row, and those that count (known, no cancel, not canceled) to @events->on_fact,
 * from damaged databases too. @events and @places may be NULL.
 *
 * Returns PAWL_OK (look at @load->damaged), PAWL_ESECRET (of another secret), PAWL_ENOMEM.
 */
PAWL_MUST_USE enum pawl_status pawl_load(struct pawl_db *db, const struct pawl_store_events *events,
                                         struct pawl_places *places, struct pawl_load *load);

#endif
