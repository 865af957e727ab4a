#include "core/limiter_slots.h"

#include <string.h>

#define MEMORY_MIN       1048576
#define MEMORY_SHARD_MIN 32768
#define RESERVE_PART     16  /* this part of memory is kept for growth and cells, ... */
#define RESERVE_MIN      256 /* ... at least this many pages, ... */
#define RESERVE_PART_MAX 4   /* ... but no more than this part */
/*
 * Cells begin in another size than keys do: in the same pages new keys would take the places that
 * cells opened in the reserve, and eat it up.
 */
#define CELL_BYTES (PAWL_WINDOW_BYTES_MIN + 8)

/* ---- life ---- */

static enum pawl_status config_check(const struct pawl_limiter_config *config, unsigned shards,
                                     struct pawl_error *error)
{
    if (shards > PAWL_LIMITER_SHARDS_MAX || (shards & (shards - 1)) != 0) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "shards has to be a power of two up to %d, not %u",
                              PAWL_LIMITER_SHARDS_MAX, shards);
    }
    if (config->slots != NULL && shards != PAWL_LIMITER_BUNDLES) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "in a cluster there are %d shards, not %u",
                              PAWL_LIMITER_BUNDLES, shards);
    }
    if (config->memory_max < MEMORY_MIN || config->memory_max < (size_t)shards * MEMORY_SHARD_MIN ||
        config->memory_max > PAWL_ARENA_BYTES_MAX) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "memory_max has to be 1 MiB to 32 GiB, and 32 KiB for each of %u "
                              "shards; it is %zu bytes",
                              shards, config->memory_max);
    }
    return PAWL_OK;
}

static enum pawl_status shards_init(struct pawl_limiter *limiter, unsigned shards)
{
    unsigned order = pawl_arena_order(shards * sizeof(struct pawl_limiter_shard));
    uint32_t page = pawl_arena_take(&limiter->arena, order, 0);

    if (page == PAWL_ARENA_NONE) {
        return PAWL_ENOMEM;
    }
    limiter->shards = pawl_arena_at(&limiter->arena, page);
    limiter->shards_count = shards;
    for (unsigned i = 0; i < shards; i++) {
        enum pawl_status status = pawl_shard_init(limiter, &limiter->shards[i]);

        if (status != PAWL_OK) {
            return status;
        }
    }
    return PAWL_OK;
}

static uint32_t reserve_of(uint32_t pages)
{
    uint32_t reserve = pages / RESERVE_PART;

    if (reserve < RESERVE_MIN) {
        reserve = RESERVE_MIN < pages / RESERVE_PART_MAX ? RESERVE_MIN : pages / RESERVE_PART_MAX;
    }
    return reserve;
}

enum pawl_status pawl_limiter_init(struct pawl_limiter *limiter,
                                   const struct pawl_limiter_config *config,
                                   struct pawl_error *error)
{
    unsigned shards = config->shards != 0 ? config->shards : PAWL_LIMITER_SHARDS;
    enum pawl_status status = config_check(config, shards, error);

    if (status != PAWL_OK) {
        return status;
    }
    memset(limiter, 0, sizeof(*limiter));
    limiter->salt[0] = config->salt[0];
    limiter->salt[1] = config->salt[1];
    limiter->life = config->life != 0 ? config->life : 1;
    limiter->persist = config->persist;
    limiter->subkey = config->subkey;
    if (config->slots != NULL) {
        limiter->slotted = true;
        limiter->slots = *config->slots;
    }
    limiter->memory_max = config->memory_max;
    limiter->wall_s = INT64_MIN;
    status = pawl_arena_init(&limiter->arena, config->region, config->memory_max, config->release);
    if (status != PAWL_OK) {
        return pawl_error_set(error, status, 0, "the region has to be aligned to 4 KiB");
    }
    status = shards_init(limiter, shards);
    if (status != PAWL_OK) {
        return pawl_error_set(error, status, 0, "memory_max is too small for %u shards", shards);
    }
    limiter->reserve_pages = reserve_of(limiter->arena.pages_count);
    limiter->inline_cells = pawl_limit_inline_cells(limiter);
    return PAWL_OK;
}

void pawl_limiter_deinit(struct pawl_limiter *limiter)
{
    for (unsigned i = 0; i < limiter->shards_count; i++) {
        pawl_shard_deinit(&limiter->shards[i]);
    }
    pawl_arena_deinit(&limiter->arena);
    pawl_wipe(&limiter->subkey, sizeof(limiter->subkey));
    pawl_wipe(&limiter->slots, sizeof(limiter->slots));
}

/* ---- locks ---- */

void pawl_locks_take(struct pawl_limiter *limiter, const struct pawl_limiter_plan *plan,
                     struct pawl_locks *locks)
{
    locks->count = 0;
    for (size_t i = 0; i < plan->slots_count; i++) {
        uint16_t shard = plan->slots[i].shard;
        size_t at = locks->count;

        while (at > 0 && locks->shards[at - 1] > shard) {
            at--;
        }
        if (at > 0 && locks->shards[at - 1] == shard) {
            continue;
        }
        memmove(locks->shards + at + 1, locks->shards + at,
                (locks->count - at) * sizeof(locks->shards[0]));
        locks->shards[at] = shard;
        locks->count++;
    }
    for (size_t i = 0; i < locks->count; i++) {
        (void)pthread_mutex_lock(&limiter->shards[locks->shards[i]].lock);
    }
}

void pawl_locks_give(struct pawl_limiter *limiter, const struct pawl_locks *locks)
{
    for (size_t i = locks->count; i > 0; i--) {
        (void)pthread_mutex_unlock(&limiter->shards[locks->shards[i - 1]].lock);
    }
}

/* ---- slots ---- */

/* Where a slot counts now: its @record, or if that is NULL the cell it is still held in. */
static void slot_meet(struct pawl_limiter *limiter, struct pawl_limiter_slot *slot,
                      struct pawl_window *record, struct pawl_instant now)
{
    struct pawl_limiter_shard *shard = pawl_slot_shard(limiter, slot);

    slot->record = record;
    if (PAWL_LIKELY(slot->record != NULL)) {
        pawl_table_touch(limiter, shard, slot->record, pawl_slot_rate(slot), now);
    } else if (PAWL_UNLIKELY(shard->metrics.cells > 0)) {
        slot->record = pawl_table_find_cell(limiter, shard, slot, now);
        slot->in_cell = slot->record != NULL;
    }
}

static void slot_find(struct pawl_limiter *limiter, struct pawl_limiter_slot *slot,
                      struct pawl_instant now)
{
    slot_meet(limiter, slot,
              pawl_table_find(limiter, pawl_slot_shard(limiter, slot), slot->id, slot->tag), now);
}

void pawl_slot_find(struct pawl_limiter *limiter, struct pawl_limiter_slot *slot,
                    struct pawl_instant now, struct pawl_wall wall)
{
    if (PAWL_LIKELY(slot->algorithm == PAWL_ALGORITHM_SLIDING)) {
        slot_find(limiter, slot, now);
    } else {
        pawl_slot_find_other(limiter, slot, now, wall);
    }
}

/* Make the slot's cell its place to count; it may exist and hold nothing of this rate. */
static void slot_enter_cell(struct pawl_limiter *limiter, struct pawl_limiter_slot *slot,
                            struct pawl_instant now, struct pawl_wall wall)
{
    struct pawl_limiter_shard *shard = pawl_slot_shard(limiter, slot);
    struct pawl_id id = pawl_table_cell_id(slot->limit, slot->rate_index, slot->id);
    uint32_t tag = pawl_table_tag(limiter, id);

    slot->record = pawl_table_find(limiter, shard, id, tag);
    if (slot->record == NULL) {
        slot->record = pawl_table_create(limiter, shard, id, tag, CELL_BYTES, PAWL_TABLE_CELL,
                                         pawl_slot_rate(slot)->window_ms, now);
        if (slot->record == NULL) {
            return;
        }
        slot->record->flags |= PAWL_RECORD_CELL;
        shard->metrics.keys--;
        shard->metrics.cells++;
        slot->fresh = true;
    } else {
        (void)pawl_slot_find_cell(limiter, slot, now, wall); /* lets time pass on it */
    }
    slot->in_cell = true;
    if (slot->fresh && slot->algorithm != PAWL_ALGORITHM_SLIDING) {
        pawl_slot_touch_other(limiter, slot, now, wall);
    }
}

/* Give a slot that has no record a place to count. */
static void slot_create(struct pawl_limiter *limiter, struct pawl_limiter_slot *slot,
                        struct pawl_instant now, struct pawl_wall wall)
{
    struct pawl_limiter_shard *shard = pawl_slot_shard(limiter, slot);

    slot->record = pawl_table_create(limiter, shard, slot->id, slot->tag, PAWL_WINDOW_BYTES_MIN,
                                     PAWL_TABLE_KEY, pawl_slot_rate(slot)->window_ms, now);
    if (PAWL_LIKELY(slot->record != NULL)) {
        slot->fresh = true;
        if (PAWL_UNLIKELY(slot->algorithm != PAWL_ALGORITHM_SLIDING)) {
            pawl_slot_touch_other(limiter, slot, now, wall);
        }
        return;
    }
    if (slot->limit->when_full == PAWL_WHEN_FULL_OVERFLOW) {
        slot_enter_cell(limiter, slot, now, wall);
    }
    if (slot->record == NULL) {
        slot->full = true;
        shard->metrics.full++;
    }
}

static uint64_t slot_charge(struct pawl_limiter *limiter, struct pawl_limiter_slot *slot,
                            struct pawl_instant now)
{
    struct pawl_limiter_shard *shard = pawl_slot_shard(limiter, slot);
    const struct pawl_rate *rate = pawl_slot_rate(slot);
    uint64_t event_ms = 0;

    if (slot->in_cell) {
        shard->metrics.overflowed++;
        if (slot->record->length == 0 || slot->record->window_ms < rate->window_ms) {
            slot->record->window_ms = rate->window_ms;
        }
    }
    slot->record = pawl_table_charge(limiter, shard, slot->record, slot->limit->precision,
                                     slot->cost, now, &event_ms);
    return (uint64_t)limiter->life << PAWL_EVENT_BITS | event_ms;
}

/* ---- results ---- */

static void result_of_full(const struct pawl_limiter_slot *slot, struct pawl_limit_result *result)
{
    const struct pawl_rate *rate = pawl_slot_rate(slot);

    result->count = 0;
    result->remaining = slot->allowed ? rate->count : 0;
    result->oldest_age_ms = 0;
    result->reset_after_ms = 0;
    result->never = slot->cost > rate->count;
    result->retry_after_ms = slot->allowed || result->never ? 0 : PAWL_LIMITER_FULL_RETRY_MS;
}

/* @charge is 0 when nothing was charged; then the answer is about the cost, else about what is. */
static void result_fill(const struct pawl_limiter_slot *slot, uint64_t charge,
                        struct pawl_limit_result *result)
{
    const struct pawl_rate *rate = pawl_slot_rate(slot);
    struct pawl_window_answer answer;

    result->limit_count = rate->count;
    result->charge = charge;
    result->window_ms = rate->window_ms;
    result->item = slot->item;
    result->rate_index = slot->rate_index;
    result->allowed = slot->allowed;
    result->shadow = slot->limit->shadow;
    result->overflow = slot->in_cell;
    result->full = slot->full;
    if (PAWL_UNLIKELY(slot->full)) {
        result_of_full(slot, result);
        return;
    }
    if (slot->record == NULL) {
        (void)pawl_window_ask_empty(rate, slot->cost, &answer);
    } else {
        (void)pawl_window_ask(slot->record, rate, slot->allowed ? 0 : slot->cost, &answer);
    }
    result->count = answer.count;
    result->remaining = answer.remaining;
    result->oldest_age_ms = answer.oldest_age_ms;
    result->reset_after_ms = answer.reset_after_ms;
    result->retry_after_ms = slot->allowed ? 0 : answer.retry_after_ms;
    result->never = slot->cost > rate->count;
    if (!slot->allowed && answer.allowed && !result->never) {
        result->retry_after_ms = answer.reset_after_ms; /* lost to another item in its cell */
    }
}

/* ---- deciding: one rate, by far the most common ---- */

static void slot_decide(struct pawl_limiter_slot *slot, uint64_t pending)
{
    const struct pawl_rate *rate = pawl_slot_rate(slot);

    if (PAWL_UNLIKELY(slot->full)) {
        slot->allowed = slot->limit->when_full == PAWL_WHEN_FULL_OPEN && slot->cost <= rate->count;
    } else if (slot->record == NULL) {
        slot->allowed = slot->cost <= rate->count && pending <= rate->count - slot->cost;
    } else {
        slot->allowed =
            slot->cost <= rate->count && pawl_window_fits(slot->record, rate, slot->cost + pending);
    }
}

/* By far the most common: a check of a key that has a record, with room for it there. */
static inline bool decide_hit(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                              const struct pawl_limiter_slot *slot, struct pawl_window *record,
                              struct pawl_instant now, struct pawl_limit_result *result)
{
    const struct pawl_rate *rate = pawl_slot_rate(slot);
    struct pawl_window_answer answer;
    uint64_t event_ms = 0;

    if (record->kind != PAWL_RECORD_BYTE_SLIDING ||
        !pawl_window_hit(record, rate, slot->limit->precision, slot->cost, now, &event_ms,
                         &answer)) {
        return false;
    }
    pawl_table_charged(limiter, shard, record, now);
    shard->metrics.allowed++;
    result->limit_count = rate->count;
    result->count = answer.count;
    result->remaining = answer.remaining;
    result->oldest_age_ms = answer.oldest_age_ms;
    result->reset_after_ms = answer.reset_after_ms;
    result->retry_after_ms = 0;
    result->charge = (uint64_t)limiter->life << PAWL_EVENT_BITS | event_ms;
    result->window_ms = rate->window_ms;
    result->item = slot->item;
    result->rate_index = slot->rate_index;
    result->allowed = true;
    result->never = false;
    result->shadow = slot->limit->shadow;
    result->overflow = false;
    result->full = false;
    return true;
}

static void decide_one(struct pawl_limiter *limiter, struct pawl_limiter_plan *plan,
                       struct pawl_limit_result *result, struct pawl_limit_outcome *outcome)
{
    struct pawl_limiter_slot *slot = &plan->slots[0];
    struct pawl_limiter_shard *shard = pawl_slot_shard(limiter, slot);
    struct pawl_instant now = plan->now;
    bool check = plan->op == PAWL_OP_CHECK;
    uint64_t charge = 0;

    (void)pthread_mutex_lock(&shard->lock);
    struct pawl_window *found = pawl_table_find(limiter, shard, slot->id, slot->tag);

    if (PAWL_LIKELY(found != NULL && check) &&
        PAWL_LIKELY(decide_hit(limiter, shard, slot, found, now, result))) {
        (void)pthread_mutex_unlock(&shard->lock);
        outcome->verdict = PAWL_ALLOW;
        return;
    }
    slot_meet(limiter, slot, found, now);
    slot_decide(slot, 0);
    bool record = check && (slot->allowed || slot->limit->count_denied);

    if (record && slot->record == NULL) {
        slot_create(limiter, slot, now, plan->wall);
        slot_decide(slot, 0);
        record = slot->record != NULL && (slot->allowed || slot->limit->count_denied);
    }
    if (record) {
        charge = slot_charge(limiter, slot, now);
    }
    bool refused = !slot->allowed;

    outcome->verdict = refused && !slot->limit->shadow ? PAWL_DENY : PAWL_ALLOW;
    shard->metrics.shadow_denied += refused && slot->limit->shadow && check ? 1 : 0;
    pawl_count_request(shard, plan->op, outcome->verdict);
    result_fill(slot, refused ? 0 : charge, result);
    (void)pthread_mutex_unlock(&shard->lock);
}

/* ---- deciding: several ---- */

static void any_decide(struct pawl_limiter_slot *slot, uint64_t pending, struct pawl_wall wall)
{
    if (PAWL_LIKELY(slot->algorithm == PAWL_ALGORITHM_SLIDING)) {
        slot_decide(slot, pending);
    } else {
        pawl_slot_decide_other(slot, pending, wall);
    }
}

static void any_result(const struct pawl_limiter_slot *slot, uint64_t charge, struct pawl_wall wall,
                       struct pawl_limit_result *result)
{
    if (PAWL_LIKELY(slot->algorithm == PAWL_ALGORITHM_SLIDING)) {
        result_fill(slot, charge, result);
        return;
    }
    pawl_slot_result_other(slot, charge, wall, result);
}

/* What earlier slots of the group would charge to the same cell. */
static uint64_t pending_before(const struct pawl_limiter_slot *slots, size_t i)
{
    uint64_t pending = 0;

    for (size_t j = 0; slots[i].in_cell && j < i; j++) {
        if (slots[j].record == slots[i].record) {
            pending += slots[j].cost;
        }
    }
    return pending;
}

/* All rates of the item of slots[i] have room. */
static bool item_allows(const struct pawl_limiter_slot *slots, size_t count, size_t i)
{
    for (size_t j = 0; j < count; j++) {
        if (slots[j].item == slots[i].item && !slots[j].allowed) {
            return false;
        }
    }
    return true;
}

/* Decide all slots of a group; true if it is refused. */
static bool group_decide(struct pawl_limiter_slot *slots, size_t count, struct pawl_wall wall)
{
    bool refused = false;

    for (size_t i = 0; i < count; i++) {
        any_decide(&slots[i], pending_before(slots, i), wall);
        refused = refused || (!slots[i].allowed && !slots[i].limit->shadow);
    }
    return refused;
}

/* Does the item of slots[i] record something, given that its group is refused or not? */
static bool slot_records(const struct pawl_limiter_slot *slots, size_t count, size_t i,
                         bool refused)
{
    if (item_allows(slots, count, i)) {
        return !refused;
    }
    return slots[i].limit->count_denied && slots[i].algorithm == PAWL_ALGORITHM_SLIDING;
}

/* Pinned records are not swept away while others are made. */
static void group_pin(struct pawl_limiter_slot *slots, size_t count, bool pin)
{
    for (size_t i = 0; i < count; i++) {
        if (slots[i].record != NULL) {
            slots[i].record->flags = pin ? slots[i].record->flags | PAWL_RECORD_PINNED
                                         : slots[i].record->flags & (uint8_t)~PAWL_RECORD_PINNED;
        }
    }
}

/* Two slots may come to the same cell: when one moves it, the others follow. */
static uint64_t group_charge(struct pawl_limiter *limiter, struct pawl_limiter_slot *slots,
                             size_t count, size_t i, const struct pawl_limiter_plan *plan)
{
    const struct pawl_window *before = slots[i].record;
    uint64_t charge = slots[i].algorithm == PAWL_ALGORITHM_SLIDING
                          ? slot_charge(limiter, &slots[i], plan->now)
                          : pawl_slot_charge_other(limiter, &slots[i], plan->now);

    for (size_t j = 0; j < count; j++) {
        if (slots[j].record == before) {
            slots[j].record = slots[i].record;
        }
    }
    return charge;
}

/* Make places for all that will record; the decision may change when a slot lands in a cell. */
static bool group_create(struct pawl_limiter *limiter, struct pawl_limiter_slot *slots,
                         size_t count, bool refused, const struct pawl_limiter_plan *plan)
{
    bool changed = false;

    for (size_t i = 0; i < count; i++) {
        if (slots[i].record == NULL && !slots[i].full && slot_records(slots, count, i, refused)) {
            slot_create(limiter, &slots[i], plan->now, plan->wall);
            group_pin(&slots[i], 1, true);
            changed = changed || slots[i].in_cell || slots[i].full;
        }
    }
    return changed ? group_decide(slots, count, plan->wall) : refused;
}

/* Free what was made and then not charged. */
static void group_tidy(struct pawl_limiter *limiter, struct pawl_limiter_slot *slots, size_t count)
{
    group_pin(slots, count, false);
    for (size_t i = 0; i < count; i++) {
        struct pawl_window *record = slots[i].record;

        if (!slots[i].fresh || record->length > 0) {
            continue;
        }
        pawl_table_remove(limiter, pawl_slot_shard(limiter, &slots[i]), record);
        for (size_t j = 0; j < count; j++) {
            if (slots[j].record == record) {
                slots[j].record = NULL;
                slots[j].fresh = false;
            }
        }
    }
}

bool pawl_group_decide(struct pawl_limiter *limiter, const struct pawl_limiter_plan *plan,
                       struct pawl_limiter_slot *slots, size_t count,
                       struct pawl_limit_result *results)
{
    uint64_t charges[PAWL_LIMITER_SLOTS_MAX] = { 0 };

    for (size_t i = 0; i < count; i++) {
        if (PAWL_LIKELY(slots[i].algorithm == PAWL_ALGORITHM_SLIDING)) {
            slot_find(limiter, &slots[i], plan->now);
        } else {
            pawl_slot_find_other(limiter, &slots[i], plan->now, plan->wall);
        }
    }
    group_pin(slots, count, true);
    bool refused = group_decide(slots, count, plan->wall);

    if (plan->op == PAWL_OP_CHECK) {
        bool records[PAWL_LIMITER_SLOTS_MAX];

        refused = group_create(limiter, slots, count, refused, plan);
        for (size_t i = 0; i < count; i++) {
            records[i] = slots[i].record != NULL && slot_records(slots, count, i, refused);
        }
        for (size_t i = 0; i < count; i++) {
            if (records[i]) {
                charges[i] = group_charge(limiter, slots, count, i, plan);
            }
            if (!slots[i].allowed && slots[i].limit->shadow) {
                pawl_slot_shard(limiter, &slots[i])->metrics.shadow_denied++;
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        any_result(&slots[i], item_allows(slots, count, i) ? charges[i] : 0, plan->wall,
                   &results[i]);
    }
    group_tidy(limiter, slots, count);
    return refused;
}

static void decide_many(struct pawl_limiter *limiter, struct pawl_limiter_plan *plan,
                        struct pawl_limit_result *results, struct pawl_limit_outcome *outcome)
{
    bool refused = false;
    struct pawl_locks locks;

    pawl_locks_take(limiter, plan, &locks);
    for (size_t from = 0; from < plan->slots_count;) {
        size_t to = plan->slots_count;

        if (plan->mode == PAWL_MODE_EACH) {
            to = from + 1;
            while (to < plan->slots_count && plan->slots[to].item == plan->slots[from].item) {
                to++;
            }
        }
        refused |= pawl_group_decide(limiter, plan, &plan->slots[from], to - from, &results[from]);
        from = to;
    }
    outcome->verdict = refused ? PAWL_DENY : PAWL_ALLOW;
    pawl_count_request(pawl_slot_shard(limiter, &plan->slots[0]), plan->op, outcome->verdict);
    pawl_locks_give(limiter, &locks);
}

bool pawl_limiter_is_small(const struct pawl_limiter *limiter)
{
    return pawl_shard_is_small(&limiter->shards[0]);
}

void pawl_limiter_warm(struct pawl_limiter *limiter, const struct pawl_limiter_plan *plan)
{
    for (size_t i = 0; i < plan->slots_count; i++) {
        const struct pawl_limiter_slot *slot = &plan->slots[i];
        struct pawl_limiter_shard *shard = pawl_slot_shard(limiter, slot);

        if (pawl_shard_is_small(shard)) {
            continue;
        }
        (void)pthread_mutex_lock(&shard->lock);
        pawl_table_prefetch_record(limiter, shard, slot->tag);
        (void)pthread_mutex_unlock(&shard->lock);
    }
}

void pawl_limiter_decide(struct pawl_limiter *limiter, struct pawl_limiter_plan *plan,
                         struct pawl_limit_result *results, struct pawl_limit_outcome *outcome)
{
    outcome->results_count = plan->slots_count;
    if (PAWL_UNLIKELY(plan->others != 0)) {
        pawl_limiter_set_wall(limiter, plan->wall);
        decide_many(limiter, plan, results, outcome);
    } else if (PAWL_LIKELY(plan->slots_count == 1)) {
        decide_one(limiter, plan, results, outcome);
    } else {
        decide_many(limiter, plan, results, outcome);
    }
}

enum pawl_status pawl_limiter_check(struct pawl_limiter *limiter,
                                    const struct pawl_limit_request *request,
                                    struct pawl_limit_result *results, size_t capacity,
                                    struct pawl_limit_outcome *outcome)
{
    struct pawl_limiter_slot slots[PAWL_LIMITER_SLOTS_MAX];
    struct pawl_limiter_plan plan = { .slots = slots, .slots_max = PAWL_LIMITER_SLOTS_MAX };
    enum pawl_status status = pawl_limiter_prepare(limiter, request, &plan);

    outcome->verdict = PAWL_VERDICT_NONE;
    outcome->results_count = 0;
    if (status == PAWL_OK && capacity < plan.slots_count) {
        status = PAWL_ETOOBIG;
    }
    if (status == PAWL_OK) {
        pawl_limiter_decide(limiter, &plan, results, outcome);
    }
    return status;
}

/* ---- sweeping, metrics ---- */

void pawl_limiter_set_wall(struct pawl_limiter *limiter, struct pawl_wall wall)
{
    __atomic_store_n(&limiter->wall_s, wall.unix_s, __ATOMIC_RELAXED);
}

size_t pawl_limiter_sweep(struct pawl_limiter *limiter, unsigned shard_index, size_t budget,
                          struct pawl_instant now)
{
    struct pawl_limiter_shard *shard = &limiter->shards[shard_index & (limiter->shards_count - 1)];

    (void)pthread_mutex_lock(&shard->lock);
    size_t freed = pawl_table_sweep(limiter, shard, budget, now);

    (void)pthread_mutex_unlock(&shard->lock);
    return freed;
}

static void metrics_add(struct pawl_limiter_metrics *sum, const struct pawl_limiter_shard *shard)
{
    const struct pawl_shard_metrics *metrics = &shard->metrics;

    sum->allowed += metrics->allowed;
    sum->denied += metrics->denied;
    sum->shadow_denied += metrics->shadow_denied;
    sum->peeks += metrics->peeks;
    sum->keys += metrics->keys;
    sum->cells += metrics->cells;
    sum->overflowed += metrics->overflowed;
    sum->full += metrics->full;
    sum->sweeps += metrics->sweeps;
    sum->expired += metrics->expired;
    sum->squeezed += metrics->squeezed;
    sum->refunded += metrics->refunded;
    sum->resets += metrics->resets;
    sum->loaded += metrics->loaded;
    sum->collected += metrics->collected;
    sum->memory_records += shard->slab.bytes;
    sum->memory_index += (UINT64_C(1) << (32 - shard->index_shift)) * sizeof(uint64_t);
}

void pawl_limiter_metrics_get(struct pawl_limiter *limiter, struct pawl_limiter_metrics *metrics)
{
    memset(metrics, 0, sizeof(*metrics));
    for (unsigned i = 0; i < limiter->shards_count; i++) {
        (void)pthread_mutex_lock(&limiter->shards[i].lock);
        metrics_add(metrics, &limiter->shards[i]);
        (void)pthread_mutex_unlock(&limiter->shards[i].lock);
    }
    uint64_t shards = limiter->shards_count * sizeof(struct pawl_limiter_shard);

    metrics->memory_max = limiter->memory_max;
    metrics->memory_free = pawl_arena_free_bytes(&limiter->arena);
    metrics->memory_own = (uint64_t)limiter->arena.pages_own * PAWL_ARENA_PAGE +
                          ((uint64_t)PAWL_ARENA_PAGE << pawl_arena_order(shards));
}
