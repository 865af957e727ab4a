/* What takes charges back: refund by key, giving back by record, reset. */
#include "core/limiter_slots.h"

/* ---- refund ---- */

/* How a charge is named: by a handle, or not at all (NULL). */
struct named {
    const uint64_t *charge;
    uint64_t event;
    bool of_this_life;
};

static struct named name_of(const struct pawl_limiter *limiter, const uint64_t *charge)
{
    struct named named = { charge, charge != NULL ? *charge & PAWL_EVENT_MASK : 0, true };

    if (charge != NULL) {
        named.of_this_life = named.event != 0 && *charge >> PAWL_EVENT_BITS == limiter->life;
    }
    return named;
}

static void note_refund(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                        struct pawl_window *record, uint64_t taken, struct pawl_instant now)
{
    if (taken > 0) {
        shard->metrics.refunded += taken;
        pawl_table_dirty(limiter, shard, record, now);
    }
}

static uint64_t slot_refund(struct pawl_limiter *limiter, struct pawl_limiter_slot *slot,
                            const struct named *named, struct pawl_instant now)
{
    slot->record = NULL;
    pawl_slot_find(limiter, slot, now, pawl_table_wall(limiter));
    if (slot->record == NULL || !named->of_this_life || (named->charge == NULL && slot->in_cell)) {
        return 0;
    }
    return pawl_window_refund(slot->record, slot->rate->window_ms, named->event, slot->cost);
}

/* Time passes on a record by what it knows itself: the limit may be gone. */
static uint64_t record_refund(struct pawl_window *record, const struct named *named, uint64_t cost,
                              struct pawl_instant now)
{
    struct pawl_rate rate = { record->total, record->window_ms, PAWL_PERIOD_NONE };
    bool is_slots = record->kind == PAWL_RECORD_BYTE_SLOTS;

    if (!is_slots && !named->of_this_life) {
        return 0;
    }
    switch (record->kind) {
    case PAWL_RECORD_BYTE_SLIDING:
        pawl_window_advance(record, record->window_ms, now);
        return pawl_window_refund(record, record->window_ms, named->event, cost);
    case PAWL_RECORD_BYTE_GCRA:
        pawl_gcra_advance(record, &rate, now);
        return pawl_gcra_refund(record, named->event, cost);
    case PAWL_RECORD_BYTE_QUOTA:
        return pawl_quota_refund(record, named->event, cost);
    case PAWL_RECORD_BYTE_SLOTS:
        if (named->charge != NULL && *named->charge == 0) {
            return 0;
        }
        pawl_slots_advance(record, record->window_ms, now);
        return pawl_slots_release(record, named->charge != NULL ? *named->charge : 0, cost);
    default:
        return 0;
    }
}

/* In a cell nothing is released for concurrency: a handle there does not name a slot. */
static uint64_t slot_refund_other(struct pawl_limiter *limiter, struct pawl_limiter_slot *slot,
                                  const struct named *named, struct pawl_instant now)
{
    struct pawl_limiter_shard *shard = pawl_slot_shard(limiter, slot);

    slot->record = pawl_table_find(limiter, shard, slot->id, slot->tag);
    if (slot->record == NULL) {
        struct pawl_id id = pawl_table_cell_id(slot->limit, slot->rate_index, slot->id);

        if (named->charge == NULL || slot->algorithm == PAWL_ALGORITHM_CONCURRENCY) {
            return 0;
        }
        slot->record = pawl_table_find(limiter, shard, id, pawl_table_tag(limiter, id));
        slot->in_cell = true;
    }
    if (slot->record == NULL ||
        (!slot->in_cell &&
         slot->record->kind != pawl_record_byte((enum pawl_record_kind)(slot->algorithm + 1U)))) {
        return 0;
    }
    return record_refund(slot->record, named, slot->cost, now);
}

enum pawl_status pawl_limiter_refund(struct pawl_limiter *limiter,
                                     const struct pawl_limit_item *item, const uint64_t *charges,
                                     struct pawl_instant now, uint64_t *refunded)
{
    struct pawl_limiter_slot slots[PAWL_RATES_MAX];
    struct pawl_limiter_plan plan = { .slots = slots, .slots_max = PAWL_RATES_MAX };
    enum pawl_status status = pawl_limiter_resolve(limiter, item, 0, &plan);
    struct pawl_locks locks;

    if (status != PAWL_OK) {
        return status;
    }
    pawl_locks_take(limiter, &plan, &locks);
    for (size_t i = 0; i < plan.slots_count; i++) {
        struct pawl_limiter_slot *slot = &plan.slots[i];
        struct named named = name_of(limiter, charges != NULL ? &charges[i] : NULL);
        uint64_t taken = slot->algorithm == PAWL_ALGORITHM_SLIDING
                             ? slot_refund(limiter, slot, &named, now)
                             : slot_refund_other(limiter, slot, &named, now);

        note_refund(limiter, pawl_slot_shard(limiter, slot), slot->record, taken, now);
        if (refunded != NULL) {
            refunded[i] = taken;
        }
    }
    pawl_locks_give(limiter, &locks);
    return PAWL_OK;
}

uint64_t pawl_limiter_give_back(struct pawl_limiter *limiter, const struct pawl_charged *charged,
                                uint64_t cost, struct pawl_instant now)
{
    struct pawl_limiter_shard *shard = &limiter->shards[pawl_table_shard(limiter, charged->id)];
    struct named named = name_of(limiter, &charged->charge);
    uint64_t taken = 0;

    if (charged->charge == 0 || cost == 0) {
        return 0;
    }
    (void)pthread_mutex_lock(&shard->lock);
    struct pawl_window *record =
        pawl_table_find(limiter, shard, charged->id, pawl_table_tag(limiter, charged->id));

    if (record != NULL && record->kind == pawl_record_byte((enum pawl_record_kind)charged->kind)) {
        taken = record_refund(record, &named, cost, now);
        note_refund(limiter, shard, record, taken, now);
    }
    (void)pthread_mutex_unlock(&shard->lock);
    return taken;
}

/* ---- reset ---- */

/* With a saver the empty record stays until it has been collected as a tombstone. */
static void record_forget(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                          struct pawl_window *record, struct pawl_instant now)
{
    if (!limiter->persist) {
        pawl_table_remove(limiter, shard, record);
        return;
    }
    pawl_record_clear(record);
    record->flags |= PAWL_RECORD_RESET;
    pawl_table_dirty(limiter, shard, record, now);
}

enum pawl_status pawl_limiter_reset(struct pawl_limiter *limiter,
                                    const struct pawl_limit_item *item, struct pawl_instant now,
                                    size_t *forgotten)
{
    struct pawl_limiter_slot slots[PAWL_RATES_MAX];
    struct pawl_limiter_plan plan = { .slots = slots, .slots_max = PAWL_RATES_MAX };
    struct pawl_limit_item any_cost = *item;
    struct pawl_locks locks;
    size_t count = 0;

    any_cost.cost = 1;
    enum pawl_status status = pawl_limiter_resolve(limiter, &any_cost, 0, &plan);

    if (status != PAWL_OK) {
        return status;
    }
    pawl_locks_take(limiter, &plan, &locks);
    for (size_t i = 0; i < plan.slots_count; i++) {
        struct pawl_limiter_slot *slot = &plan.slots[i];
        struct pawl_limiter_shard *shard = pawl_slot_shard(limiter, slot);
        struct pawl_window *record = pawl_table_find(limiter, shard, slot->id, slot->tag);

        if (record != NULL && record->length > 0) {
            record_forget(limiter, shard, record, now);
            shard->metrics.resets++;
            count++;
        }
    }
    pawl_locks_give(limiter, &locks);
    if (forgotten != NULL) {
        *forgotten = count;
    }
    return PAWL_OK;
}
