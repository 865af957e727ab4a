/* Slots that come: pulls from the members that may have something of them. */
#include "core/cluster/slots_inside.h"

#include <string.h>

#define GROWTH_MIN ((size_t)64 * 1024)
#define TRIES_MAX  8

bool pawl_slots_is_confirming(const struct pawl_cluster_slots *slots, uint32_t bundle)
{
    for (uint32_t i = 0; i < PAWL_SLOTS_PULLS_MAX; i++) {
        const struct pawl_slots_pull *pull = &slots->tables->pulls[i];

        if (pull->used && pull->joined && pull->bundle == bundle) {
            return true;
        }
    }
    return false;
}

/* What has come so far is worth nothing. */
static void pull_empty(struct pawl_cluster_slots *slots, struct pawl_slots_pull *pull)
{
    if (pull->bytes != NULL) {
        (void)pawl_slots_heap(slots, pull->bytes, 0);
    }
    pull->bytes = NULL;
    pull->size = 0;
    pull->capacity = 0;
    pull->cursor = 0;
    pull->whole = 0;
}

static void pull_end(struct pawl_cluster_slots *slots, struct pawl_slots_pull *pull)
{
    pull_empty(slots, pull);
    pull->used = false;
    slots->tables->recheck |= UINT64_C(1) << pull->bundle;
}

void pawl_slots_pulls_drop(struct pawl_cluster_slots *slots, bool all)
{
    for (uint32_t i = 0; i < PAWL_SLOTS_PULLS_MAX; i++) {
        struct pawl_slots_pull *pull = &slots->tables->pulls[i];

        pull->index = pawl_slots_member(slots, &pull->member);
        if (pull->used && (all || pull->index == PAWL_RING_NOBODY)) {
            pull_end(slots, pull);
        }
    }
}

/*
 * Who was asked in another view is asked anew, also where nothing is wanted of him any more: he
 * keeps what he gave until he hears of it. What is joined stays to be confirmed.
 */
void pawl_slots_pulls_on_view(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    pawl_slots_pulls_drop(slots, !slots->member);
    for (uint32_t i = 0; i < PAWL_SLOTS_PULLS_MAX; i++) {
        struct pawl_slots_pull *pull = &slots->tables->pulls[i];

        if (pull->used && !pull->joined) {
            pull_empty(slots, pull);
            pull->waiting = false;
            pull->retry_ms = now_ms;
        }
    }
}

/* ---- asking ---- */

static void pull_ask(struct pawl_cluster_slots *slots, struct pawl_slots_pull *pull)
{
    struct pawl_slots_request request = { .member = pull->member, .bundle = pull->bundle };

    if (!pull->joined && pull->cursor == 0) {
        pull->view = slots->view;
    }
    pull->waiting = true;
    pull->tag = ++slots->tags;
    request.tag = pull->tag;
    request.have = pull->joined;
    request.cursor = pull->joined ? pull->view : pull->cursor;
    slots->options.calls.ask(slots->options.calls.self, &request);
}

/*
 * Most refusals are of somebody who is about to confirm the same bundle, some milliseconds: two
 * heirs begin with the same ones, and first of all with those for which requests wait.
 */
static uint64_t pause_ms(struct pawl_slots_pull *pull)
{
    uint64_t pause = (uint64_t)PAWL_SLOTS_FIRST_MS << pull->tries;

    pull->tries = (uint8_t)(pull->tries + (pull->tries < TRIES_MAX ? 1 : 0));
    return pause < PAWL_SLOTS_RETRY_MS ? pause : PAWL_SLOTS_RETRY_MS;
}

static void pull_failed(struct pawl_cluster_slots *slots, struct pawl_slots_pull *pull,
                        uint64_t now_ms)
{
    if (!pull->joined) {
        pull_empty(slots, pull); /* from the start */
    }
    pull->retry_ms = now_ms + pause_ms(pull);
    slots->figures.pull_retries++;
    pawl_slots_due(slots, pull->retry_ms);
}

static bool pull_keep(struct pawl_cluster_slots *slots, struct pawl_slots_pull *pull,
                      struct pawl_bytes records)
{
    struct pawl_bytes run = records;
    struct pawl_bytes record;

    while (pawl_slot_run_next(&run, &record)) {
    }
    if (run.size != 0 || records.size > PAWL_SLOTS_PULL_MAX - pull->size) {
        return false;
    }
    if (pull->capacity - pull->size < records.size) {
        size_t capacity = pull->capacity * 2 > GROWTH_MIN ? pull->capacity * 2 : GROWTH_MIN;
        uint8_t *bytes;

        while (capacity < pull->size + records.size) {
            capacity *= 2;
        }
        bytes = pawl_slots_heap(slots, pull->bytes, capacity);
        if (bytes == NULL) {
            return false;
        }
        pull->bytes = bytes;
        pull->capacity = capacity;
    }
    if (records.size > 0) {
        memcpy(pull->bytes + pull->size, records.data, records.size);
    }
    pull->size += records.size;
    return true;
}

static void pull_join(struct pawl_cluster_slots *slots, struct pawl_slots_pull *pull,
                      uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;
    uint64_t whole = pull->whole;
    uint64_t both = whole & tables->held[pull->bundle]; /* decided there and here: see slots.h */

    slots->figures.pulled_records +=
        pawl_slots_join_run(slots, pull->bundle, both, pawl_bytes_of(pull->bytes, pull->size),
                            now_ms);
    pull_empty(slots, pull);
    pull->joined = true;
    tables->whole[pull->bundle] |= whole & tables->wanted[pull->bundle];
}

static void pull_confirmed(struct pawl_cluster_slots *slots, struct pawl_slots_pull *pull)
{
    struct pawl_slots_tables *tables = slots->tables;

    if (pull->view == slots->view) {
        tables->answered[pull->index] |= UINT64_C(1) << pull->bundle;
        tables->nudged[pull->index] &= ~(UINT64_C(1) << pull->bundle);
    }
    pull_end(slots, pull);
}

bool pawl_slots_pulls_on_answer(struct pawl_cluster_slots *slots,
                                const struct pawl_slots_answer *answer, uint64_t now_ms)
{
    struct pawl_slots_pull *pull = NULL;

    for (uint32_t i = 0; i < PAWL_SLOTS_PULLS_MAX && pull == NULL; i++) {
        if (slots->tables->pulls[i].used && slots->tables->pulls[i].waiting &&
            slots->tables->pulls[i].tag == answer->tag) {
            pull = &slots->tables->pulls[i];
        }
    }
    if (pull == NULL) {
        return false; /* of an attempt that was given up */
    }
    pull->waiting = false;
    pawl_slots_due(slots, now_ms);
    if (answer->status != PAWL_OK || (!pull->joined && !pull_keep(slots, pull, answer->records))) {
        pull_failed(slots, pull, now_ms);
    } else if (pull->joined) {
        pull_confirmed(slots, pull);
    } else {
        pull->whole |= answer->whole;
        pull->cursor = answer->cursor;
        if (answer->cursor == 0) {
            pull_join(slots, pull, now_ms);
        }
        pull_ask(slots, pull); /* the next page, or that all is here */
    }
    return true;
}

/* ---- what is ready, what comes next ---- */

static bool all_answered(const struct pawl_cluster_slots *slots, uint32_t bundle)
{
    const struct pawl_slots_tables *tables = slots->tables;

    for (uint16_t i = 0; i < tables->member_count; i++) {
        if ((tables->answered[i] >> bundle & 1) == 0 && i != tables->me) {
            return false;
        }
    }
    for (uint32_t i = 0; i < PAWL_SLOTS_PULLS_MAX; i++) {
        if (tables->pulls[i].used && tables->pulls[i].bundle == bundle) {
            return false;
        }
    }
    return true;
}

/* All have said what they have: what is whole is decided here from now on, the rest is loaded. */
static void check_ready(struct pawl_cluster_slots *slots, uint32_t bundle, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;

    if (tables->wanted[bundle] == 0 || !all_answered(slots, bundle)) {
        return;
    }
    uint64_t ready = tables->wanted[bundle] & ~pawl_slots_giving(slots, bundle);
    uint64_t whole = ready & tables->whole[bundle];

    tables->load_due[bundle] |= ready & ~whole & ~tables->loading[bundle];
    pawl_slots_set_all(slots, bundle, whole, PAWL_SLOT_HELD);
    pawl_slots_due(slots, now_ms);
}

/* What is under way: bundles of each member, how many of his, and a place for one more. */
struct under_way {
    uint64_t bundles[PAWL_MEMBERS_MAX];
    uint8_t count[PAWL_MEMBERS_MAX];
    uint64_t bytes;
};

static void look_around(const struct pawl_slots_tables *tables, struct under_way *now)
{
    memset(now, 0, sizeof(*now));
    for (uint32_t i = 0; i < PAWL_SLOTS_PULLS_MAX; i++) {
        const struct pawl_slots_pull *pull = &tables->pulls[i];

        if (pull->used) {
            now->bundles[pull->index] |= UINT64_C(1) << pull->bundle;
            now->count[pull->index]++;
            now->bytes += pull->capacity;
        }
    }
}

/* Begin pulls of the bundles @wanted, and where somebody has told that he holds something. */
static void start_some(struct pawl_cluster_slots *slots, struct under_way *now, uint64_t wanted,
                       uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;
    uint32_t place = 0;

    for (uint16_t i = 0; i < tables->member_count; i++) {
        uint64_t todo = (wanted & ~tables->answered[i]) | tables->nudged[i];

        todo = i != tables->me ? todo & ~now->bundles[i] : 0;
        for (; todo != 0 && now->count[i] < PAWL_SLOTS_MEMBER_PULLS; todo &= todo - 1) {
            while (place < PAWL_SLOTS_PULLS_MAX && tables->pulls[place].used) {
                place++;
            }
            if (place == PAWL_SLOTS_PULLS_MAX || now->bytes > PAWL_SLOTS_PULLED_MAX) {
                return;
            }
            tables->pulls[place] = (struct pawl_slots_pull){ .used = true,
                                                             .member = tables->members[i],
                                                             .index = i,
                                                             .bundle = pawl_set_first(todo),
                                                             .retry_ms = now_ms };
            now->bundles[i] |= todo & (~todo + 1);
            now->count[i]++;
        }
    }
}

void pawl_slots_pulls_tick(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;
    uint64_t wanted = 0;
    uint64_t nudged = 0;

    for (; tables->recheck != 0; tables->recheck &= tables->recheck - 1) {
        check_ready(slots, pawl_set_first(tables->recheck), now_ms);
    }
    for (uint32_t bundle = 0; bundle < PAWL_BUNDLES; bundle++) {
        wanted |= tables->wanted[bundle] != 0 ? UINT64_C(1) << bundle : 0;
    }
    for (uint16_t i = 0; i < tables->member_count; i++) {
        nudged |= tables->nudged[i];
    }
    tables->first &= wanted;
    if ((wanted | nudged) != 0) {
        struct under_way now;

        look_around(tables, &now);
        start_some(slots, &now, wanted & tables->first, now_ms);
        start_some(slots, &now, wanted & ~tables->first, now_ms);
    }
    for (uint32_t i = 0; i < PAWL_SLOTS_PULLS_MAX; i++) {
        struct pawl_slots_pull *pull = &tables->pulls[i];

        if (pull->used && !pull->waiting && pull->retry_ms <= now_ms) {
            pull_ask(slots, pull);
        } else if (pull->used && !pull->waiting) {
            pawl_slots_due(slots, pull->retry_ms);
        }
    }
}
