/* Slots of gcra, calendar and concurrency limits. */
#include "core/limiter_slots.h"

__extension__ typedef unsigned __int128 wide;

/*
 * The sliding window that a gcra or concurrency rate has in a cell. Capacity events in each stretch
 * of capacity * window / count are at most capacity + count * t / window in any stretch t; where
 * that stretch is longer than a window can be, count in each window are too.
 */
static struct pawl_rate cell_rate(const struct pawl_terms *own)
{
    struct pawl_rate rate = own->rate;
    uint64_t capacity = pawl_record_limit(own);

    if (own->kind == PAWL_RECORD_CONCURRENCY) {
        rate.count = capacity < PAWL_SLOTS_MAX ? capacity : PAWL_SLOTS_MAX;
    } else if (capacity > 0 && capacity != rate.count) {
        wide window_ms = ((wide)capacity * rate.window_ms + rate.count - 1) / rate.count;

        if (window_ms <= PAWL_WINDOW_MS_MAX) {
            rate.count = capacity;
            rate.window_ms = (uint32_t)window_ms;
        }
    }
    return rate;
}

struct pawl_terms pawl_slot_terms(const struct pawl_limiter_slot *slot, struct pawl_wall wall)
{
    struct pawl_terms terms = { .kind = (enum pawl_record_kind)(slot->algorithm + 1U),
                                .rate = *slot->rate };

    terms.burst = slot->limit->bursts[slot->rate_index];
    if (terms.kind == PAWL_RECORD_CALENDAR) {
        wall.unix_s = wall.unix_s < PAWL_CALENDAR_MIN_S   ? PAWL_CALENDAR_MIN_S
                      : wall.unix_s > PAWL_CALENDAR_MAX_S ? PAWL_CALENDAR_MAX_S
                                                          : wall.unix_s;
        terms.rate.window_ms = 0;
        terms.time.wall = wall;
        terms.time.period =
            pawl_calendar_period_of(slot->limit->zone, (enum pawl_period)slot->rate->period,
                                    slot->limit->anchor_day, wall);
    } else if (slot->in_cell && terms.kind != PAWL_RECORD_SLIDING) {
        terms.rate = cell_rate(&terms);
        terms.kind = PAWL_RECORD_SLIDING;
    }
    return terms;
}

/* ---- finding ---- */

static void touch(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                  struct pawl_window *record, const struct pawl_terms *terms,
                  struct pawl_instant now)
{
    if (pawl_record_touch(record, terms, now, pawl_table_wall(limiter))) {
        pawl_table_dirty(limiter, shard, record, now);
    }
}

void pawl_slot_touch_other(struct pawl_limiter *limiter, struct pawl_limiter_slot *slot,
                           struct pawl_instant now, struct pawl_wall wall)
{
    struct pawl_terms terms = pawl_slot_terms(slot, wall);

    touch(limiter, pawl_slot_shard(limiter, slot), slot->record, &terms, now);
}

struct pawl_window *pawl_slot_find_cell(struct pawl_limiter *limiter,
                                        const struct pawl_limiter_slot *slot,
                                        struct pawl_instant now, struct pawl_wall wall)
{
    struct pawl_limiter_shard *shard = pawl_slot_shard(limiter, slot);

    if (slot->algorithm == PAWL_ALGORITHM_SLIDING) {
        return pawl_table_find_cell(limiter, shard, slot, now);
    }
    struct pawl_limiter_slot in_cell = *slot;
    struct pawl_window_answer answer;

    in_cell.in_cell = true;
    struct pawl_terms terms = pawl_slot_terms(&in_cell, wall);
    struct pawl_terms kept = terms;
    struct pawl_id id = pawl_table_cell_id(slot->limit, slot->rate_index, slot->id);
    struct pawl_window *cell = pawl_table_find(limiter, shard, id, pawl_table_tag(limiter, id));

    if (cell == NULL) {
        return NULL;
    }
    if (cell->kind == PAWL_RECORD_BYTE_SLIDING && cell->length > 0 &&
        cell->window_ms > terms.rate.window_ms && terms.kind == PAWL_RECORD_SLIDING) {
        kept.rate.window_ms = cell->window_ms; /* of others, or of another burst: keep it all */
    }
    touch(limiter, shard, cell, &kept, now);
    pawl_record_ask(cell, &terms, 0, &answer);
    return answer.count > 0 ? cell : NULL;
}

void pawl_slot_find_other(struct pawl_limiter *limiter, struct pawl_limiter_slot *slot,
                          struct pawl_instant now, struct pawl_wall wall)
{
    struct pawl_limiter_shard *shard = pawl_slot_shard(limiter, slot);

    slot->record = pawl_table_find(limiter, shard, slot->id, slot->tag);
    if (slot->record != NULL) {
        pawl_slot_touch_other(limiter, slot, now, wall);
    } else if (shard->metrics.cells > 0) {
        slot->record = pawl_slot_find_cell(limiter, slot, now, wall);
        slot->in_cell = slot->record != NULL;
    }
}

/* ---- deciding ---- */

void pawl_slot_decide_other(struct pawl_limiter_slot *slot, uint64_t pending, struct pawl_wall wall)
{
    struct pawl_terms terms = pawl_slot_terms(slot, wall);

    if (slot->full) {
        slot->allowed = slot->limit->when_full == PAWL_WHEN_FULL_OPEN &&
                        slot->cost <= pawl_record_limit(&terms);
        return;
    }
    uint64_t room = pawl_record_room(slot->record, &terms);

    slot->allowed = slot->cost <= room && pending <= room - slot->cost;
}

/* ---- charging ---- */

static uint64_t ticket(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard)
{
    shard->tickets = (shard->tickets + 1) & PAWL_EVENT_MASK;
    return (uint64_t)limiter->life << PAWL_EVENT_BITS | shard->tickets;
}

static uint64_t charge_slots(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                             struct pawl_limiter_slot *slot)
{
    size_t wanted = pawl_slots_wants(slot->record);
    uint64_t handle = ticket(limiter, shard);

    if (wanted != 0) {
        struct pawl_window *grown = pawl_table_grow(limiter, shard, slot->record, wanted, false);

        slot->record = grown != NULL ? grown : slot->record;
    }
    if (!pawl_slots_charge(slot->record, handle, slot->cost)) {
        shard->metrics.squeezed++;
    }
    return handle;
}

static uint64_t charge_cell(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                            struct pawl_limiter_slot *slot, struct pawl_instant now)
{
    struct pawl_terms terms = pawl_slot_terms(slot, (struct pawl_wall){ 0 });
    uint64_t event_ms = 0;

    if (slot->record->length == 0 || slot->record->window_ms < terms.rate.window_ms) {
        slot->record->window_ms = terms.rate.window_ms;
    }
    slot->record = pawl_table_charge(limiter, shard, slot->record, slot->limit->precision,
                                     slot->cost, now, &event_ms);
    return event_ms;
}

uint64_t pawl_slot_charge_other(struct pawl_limiter *limiter, struct pawl_limiter_slot *slot,
                                struct pawl_instant now)
{
    struct pawl_limiter_shard *shard = pawl_slot_shard(limiter, slot);
    uint64_t event;

    shard->metrics.overflowed += slot->in_cell ? 1 : 0;
    switch (slot->record->kind >> 4) {
    case PAWL_RECORD_GCRA:
        event = pawl_gcra_charge(slot->record, slot->cost);
        break;
    case PAWL_RECORD_CALENDAR:
        event = pawl_quota_charge(slot->record, slot->cost);
        break;
    case PAWL_RECORD_CONCURRENCY:
        event = charge_slots(limiter, shard, slot);
        break;
    default:
        event = charge_cell(limiter, shard, slot, now);
    }
    slot->record->flags &= (uint8_t)~PAWL_RECORD_RESET;
    pawl_table_dirty(limiter, shard, slot->record, now);
    return (uint64_t)limiter->life << PAWL_EVENT_BITS | (event & PAWL_EVENT_MASK);
}

/* ---- answers ---- */

static void result_of_full(const struct pawl_limiter_slot *slot, const struct pawl_terms *terms,
                           struct pawl_limit_result *result)
{
    result->count = 0;
    result->remaining = slot->allowed ? pawl_record_limit(terms) : 0;
    result->oldest_age_ms = 0;
    result->reset_after_ms = 0;
    result->retry_after_ms = slot->allowed || result->never ? 0 : PAWL_LIMITER_FULL_RETRY_MS;
}

void pawl_slot_result_other(const struct pawl_limiter_slot *slot, uint64_t charge,
                            struct pawl_wall wall, struct pawl_limit_result *result)
{
    struct pawl_limiter_slot own = *slot;
    struct pawl_terms terms = pawl_slot_terms(slot, wall);
    struct pawl_window_answer answer;

    own.in_cell = false;
    struct pawl_terms own_terms = pawl_slot_terms(&own, wall);

    result->limit_count = pawl_record_limit(&terms);
    result->charge = charge;
    result->window_ms = slot->rate->window_ms;
    result->item = slot->item;
    result->rate_index = slot->rate_index;
    result->allowed = slot->allowed;
    result->shadow = slot->limit->shadow;
    result->overflow = slot->in_cell;
    result->full = slot->full;
    result->never = slot->cost > pawl_record_limit(&own_terms);
    if (slot->full) {
        result_of_full(slot, &terms, result);
        return;
    }
    pawl_record_ask(slot->record, &terms, slot->allowed ? 0 : slot->cost, &answer);
    result->count = answer.count;
    result->remaining = answer.remaining;
    result->oldest_age_ms = answer.oldest_age_ms;
    result->reset_after_ms = answer.reset_after_ms;
    result->retry_after_ms = slot->allowed || result->never ? 0 : answer.retry_after_ms;
    if (!slot->allowed && !result->never && answer.allowed) {
        result->retry_after_ms = answer.reset_after_ms; /* lost to another item in its cell */
    } else if (!slot->allowed && !result->never && answer.never) {
        result->retry_after_ms = PAWL_LIMITER_FULL_RETRY_MS; /* its own record would have room */
    }
}
