/* Slots that come: pulls from the members that may have something of them. */
#include "core/cluster/slots_inside.h"

#include <string.h>

#define GROWTH_MIN (64u * 1024)

static struct pawl_slots_pull *pull_find(const struct pawl_cluster_slots *slots,
                                         const struct pawl_member_id *member, uint32_t bundle)
{
    for (uint32_t i = 0; i < PAWL_SLOTS_PULLS_MAX; i++) {
        struct pawl_slots_pull *pull = &slots->tables->pulls[i];

        if (pull->used && pull->bundle == bundle && pawl_member_id_equal(pull->member, *member)) {
            return pull;
        }
    }
    return NULL;
}

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

        if (pull->used && (all || !pawl_slots_in_view(slots, &pull->member))) {
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

static void pull_failed(struct pawl_cluster_slots *slots, struct pawl_slots_pull *pull,
                        uint64_t now_ms)
{
    if (!pull->joined) {
        pull_empty(slots, pull); /* from the start */
    }
    pull->retry_ms = now_ms + PAWL_SLOTS_RETRY_MS;
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

    slots->figures.pulled_records +=
        pawl_slots_join_run(slots, pull->bundle, pawl_bytes_of(pull->bytes, pull->size), now_ms);
    pull_empty(slots, pull);
    pull->joined = true;
    tables->whole[pull->bundle] |= whole & tables->wanted[pull->bundle];
}

static void pull_confirmed(struct pawl_cluster_slots *slots, struct pawl_slots_pull *pull)
{
    struct pawl_slots_tables *tables = slots->tables;

    for (uint16_t i = 0; i < tables->member_count; i++) {
        if (pull->view == slots->view && pawl_member_id_equal(tables->members[i], pull->member)) {
            tables->answered[i] |= UINT64_C(1) << pull->bundle;
        }
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
    if (answer->status != PAWL_OK) {
        pull_failed(slots, pull, now_ms);
    } else if (pull->joined) {
        pull_confirmed(slots, pull);
    } else if (!pull_keep(slots, pull, answer->records)) {
        pull_failed(slots, pull, now_ms);
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
        if ((tables->answered[i] >> bundle & 1) == 0 &&
            !pawl_member_id_equal(tables->members[i], slots->options.self)) {
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

static void start_some(struct pawl_cluster_slots *slots, uint32_t bundle, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;

    for (uint16_t i = 0; i < tables->member_count; i++) {
        const struct pawl_member_id *member = &tables->members[i];
        struct pawl_slots_pull *free = NULL;
        unsigned its = 0;
        unsigned fetches = 0;

        if ((tables->answered[i] >> bundle & 1) != 0 ||
            pawl_member_id_equal(*member, slots->options.self) ||
            pull_find(slots, member, bundle) != NULL) {
            continue;
        }
        for (uint32_t j = 0; j < PAWL_SLOTS_PULLS_MAX; j++) {
            struct pawl_slots_pull *pull = &tables->pulls[j];

            its += pull->used && pawl_member_id_equal(pull->member, *member) ? 1 : 0;
            fetches += pull->used && !pull->joined ? 1 : 0;
            free = !pull->used ? pull : free;
        }
        if (free == NULL || its >= PAWL_SLOTS_MEMBER_PULLS || fetches >= PAWL_SLOTS_FETCHES_MAX) {
            continue;
        }
        *free = (struct pawl_slots_pull){ .used = true, .member = *member, .bundle = bundle };
        free->retry_ms = now_ms;
    }
}

void pawl_slots_pulls_tick(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;

    for (; tables->recheck != 0; tables->recheck &= tables->recheck - 1) {
        check_ready(slots, pawl_set_first(tables->recheck), now_ms);
    }
    for (unsigned turn = 0; turn < 2; turn++) {
        for (uint32_t bundle = 0; bundle < PAWL_BUNDLES; bundle++) {
            bool first = (tables->first >> bundle & 1) != 0;

            if (tables->wanted[bundle] == 0) {
                tables->first &= ~(UINT64_C(1) << bundle);
            } else if (first == (turn == 0)) {
                start_some(slots, bundle, now_ms);
            }
        }
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
