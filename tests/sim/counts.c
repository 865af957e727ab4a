#include "sim/counts.h"

#include <stdlib.h>
#include <string.h>

/* What was counted without an owner reaches it when it can, and is as young then as when it left.
 */
#define PUSHED_LATE_US UINT64_C(120000000)
#define ROUNDING_US    3000 /* ages travel in whole milliseconds, and are rounded down twice */

void counts_init(struct counts *counts, struct kernel *kernel)
{
    memset(counts, 0, sizeof(*counts));
    counts->kernel = kernel;
}

void counts_deinit(struct counts *counts)
{
    for (unsigned i = 0; i < COUNT_KEYS; i++) {
        free(counts->keys[i].events);
    }
}

#define LOADED_LATE_US UINT64_C(2500000) /* between announcements the engine's clock is guessed */

/* Forget what has left every window that could matter. */
static void let_pass(struct counts *counts, struct count_key *key)
{
    uint64_t now = counts->kernel->now_us;
    uint64_t reach = key->window_us + PUSHED_LATE_US;

    while (key->first < key->count && key->events[key->first].at_us + reach < now) {
        key->first++;
    }
    if (key->first > 256 && key->first > key->count / 2) {
        key->count -= key->first;
        memmove(key->events, key->events + key->first, key->count * sizeof(*key->events));
        key->first = 0;
    }
}

static uint64_t count_in(const struct count_key *key, uint64_t now_us, uint64_t window_us,
                         bool maybe_too)
{
    uint64_t count = 0;

    for (uint32_t i = key->first; i < key->count; i++) {
        const struct count_event *event = &key->events[i];
        bool pushed = key->kind == COUNT_LOCAL && event->state != COUNT_CERTAIN;
        uint64_t late_us = pushed ? PUSHED_LATE_US : event->late_us;

        if (maybe_too ? event->at_us + window_us + late_us > now_us
                      : event->at_us + window_us > now_us && event->state == COUNT_CERTAIN) {
            count++;
        }
    }
    return count;
}

void counts_admitted(struct counts *counts, unsigned index, unsigned node, enum count_state state,
                     bool acknowledged)
{
    struct count_key *key = &counts->keys[index];
    struct count_event *event;
    uint64_t now = counts->kernel->now_us;
    uint64_t certain;

    let_pass(counts, key);
    if (key->count == key->capacity) {
        key->capacity = key->capacity > 0 ? 2 * key->capacity : 64;
        key->events = sim_grow(key->events, key->capacity * sizeof(*key->events));
    }
    event = &key->events[key->count++];
    event->at_us = now;
    event->late_us = 0;
    event->node = (uint8_t)node;
    event->state = (uint8_t)state;
    event->acknowledged = acknowledged;
    if (state != COUNT_CERTAIN) {
        key->maybe++;
        return;
    }
    key->admitted++;
    /* A millisecond is the smallest thing a window knows. */
    certain = count_in(key, now, key->window_us - 1000, false);
    if (certain > key->limit) {
        kernel_fail(counts->kernel,
                    "C3, C4, C6: key %u admitted %llu times in its window, the limit is %llu (node "
                    "%u)",
                    index, (unsigned long long)certain, (unsigned long long)key->limit, node);
    }
}

void counts_acknowledged(struct counts *counts, unsigned index, unsigned node, uint64_t at_us)
{
    struct count_key *key = &counts->keys[index];

    for (uint32_t i = key->count; i-- > key->first;) {
        if (key->events[i].at_us == at_us && key->events[i].node == node) {
            key->events[i].acknowledged = true;
        }
    }
}

void counts_denied(struct counts *counts, unsigned index, unsigned node, bool exact_place)
{
    struct count_key *key = &counts->keys[index];
    uint64_t all;

    let_pass(counts, key);
    key->denied++;
    if (!exact_place) {
        return;
    }
    counts->checked_denials++;
    all = count_in(key, counts->kernel->now_us, key->window_us + ROUNDING_US, true);
    if (all < key->limit) {
        kernel_fail(counts->kernel,
                    "C3: key %u denied by node %u with %llu of %llu in its window: counted twice",
                    index, node, (unsigned long long)all, (unsigned long long)key->limit);
    }
}

static void become_late(struct count_key *key, uint64_t late_us)
{
    for (uint32_t i = key->first; i < key->count; i++) {
        key->events[i].late_us += late_us;
    }
}

static const struct model_record *record_of(const struct model_slot *slot, struct pawl_id id)
{
    for (uint32_t i = 0; slot != NULL && i < slot->count; i++) {
        if (pawl_id_equal(slot->records[i].id, id)) {
            return &slot->records[i];
        }
    }
    return NULL;
}

void counts_loaded(struct counts *counts, uint32_t slot, const struct model_slot *found,
                   const struct counts_excuse *excuse)
{
    for (unsigned k = 0; k < COUNT_KEYS && !counts->kernel->failed; k++) {
        struct count_key *key = &counts->keys[k];
        const struct model_record *record;
        uint64_t as_of;

        if (key->slot != slot) {
            continue;
        }
        let_pass(counts, key);
        record = record_of(found, key->id);
        as_of = record != NULL ? record->as_of_us : 0;
        if (record != NULL) {
            become_late(key, counts->clocks_jump ? counts->kernel->now_us - as_of : LOADED_LATE_US);
        }
        for (uint32_t i = key->first; i < key->count; i++) {
            struct count_event *event = &key->events[i];

            if (event->state != COUNT_CERTAIN ||
                event->at_us + key->window_us <= counts->kernel->now_us) {
                continue;
            }
            if (event->at_us <= as_of) {
                /* It is there; but both clocks may say that it is older than it is. */
                event->state = counts->clocks_jump ? COUNT_MAYBE : COUNT_CERTAIN;
                continue;
            }
            event->state = COUNT_MAYBE;
            counts->certain_lost++;
            if (!excuse->may_be_lost(excuse->world, event->node, event->at_us,
                                     event->acknowledged)) {
                kernel_fail(counts->kernel,
                            "%s: key %u: an admission of node %u, %llu ms ago, is not in what is "
                            "loaded of slot %u (saved as of %llu ms ago)",
                            event->acknowledged ? "C1" : "C3", k, event->node,
                            (unsigned long long)(counts->kernel->now_us - event->at_us) / 1000,
                            slot, (unsigned long long)(counts->kernel->now_us - as_of) / 1000);
            }
        }
    }
}

void counts_moved(struct counts *counts, uint32_t bundle, uint64_t late_us)
{
    for (unsigned k = 0; k < COUNT_KEYS; k++) {
        if (counts->keys[k].slot % 64 == bundle) {
            become_late(&counts->keys[k], late_us);
        }
    }
}
