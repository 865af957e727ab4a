/* Reservations: the largest amount that all rates of a request have room for, charged at once. */
#include "core/limiter_slots.h"

#include <string.h>

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* How many slots of the request count in the record of slots[i], itself included. */
static uint64_t sharers_of(const struct pawl_limiter_plan *plan, size_t i)
{
    uint64_t sharers = 0;

    for (size_t j = 0; j < plan->slots_count; j++) {
        sharers += plan->slots[j].record == plan->slots[i].record ? 1 : 0;
    }
    return sharers;
}

/* What every rate that can refuse has room for, as of now. Slots are left as they were. */
static uint64_t room_of(struct pawl_limiter *limiter, struct pawl_limiter_plan *plan, uint64_t max)
{
    for (size_t i = 0; i < plan->slots_count; i++) {
        pawl_slot_find(limiter, &plan->slots[i], plan->now, plan->wall);
    }
    for (size_t i = 0; i < plan->slots_count; i++) {
        const struct pawl_limiter_slot *slot = &plan->slots[i];
        struct pawl_terms terms = pawl_slot_terms(slot, plan->wall);
        uint64_t room = pawl_record_room(slot->record, &terms);

        if (!slot->limit->shadow) {
            max = least(max, slot->in_cell ? room / sharers_of(plan, i) : room);
        }
    }
    for (size_t i = 0; i < plan->slots_count; i++) {
        plan->slots[i].record = NULL;
        plan->slots[i].in_cell = false;
    }
    return max;
}

/* As a check of @cost on every slot; true if it is refused. */
static bool try_cost(struct pawl_limiter *limiter, struct pawl_limiter_plan *plan, uint64_t cost,
                     struct pawl_limit_result *results)
{
    for (size_t i = 0; i < plan->slots_count; i++) {
        struct pawl_limiter_slot *slot = &plan->slots[i];

        slot->cost = cost;
        slot->record = NULL;
        slot->allowed = false;
        slot->fresh = false;
        slot->in_cell = false;
        slot->full = false;
    }
    return pawl_group_decide(limiter, plan, plan->slots, plan->slots_count, results);
}

static void note_charges(const struct pawl_limiter_plan *plan,
                         const struct pawl_limit_result *results, struct pawl_limit_grant *grant)
{
    for (size_t i = 0; i < plan->slots_count; i++) {
        const struct pawl_limiter_slot *slot = &plan->slots[i];

        if (results[i].charge == 0 || slot->record == NULL) {
            continue;
        }
        struct pawl_charged *charged = &grant->charges[grant->charges_count++];

        charged->id = slot->record->id;
        charged->charge = results[i].charge;
        charged->kind = slot->in_cell && slot->algorithm == PAWL_ALGORITHM_CONCURRENCY
                            ? PAWL_RECORD_NONE /* nothing is released there */
                            : slot->record->kind >> 4;
    }
}

static void decide(struct pawl_limiter *limiter, struct pawl_limiter_plan *plan, uint64_t min,
                   uint64_t max, struct pawl_limit_result *results, struct pawl_limit_grant *grant)
{
    struct pawl_locks locks;

    pawl_locks_take(limiter, plan, &locks);
    uint64_t cost = room_of(limiter, plan, max);

    cost = cost < min ? min : cost;
    bool refused = try_cost(limiter, plan, cost, results);

    if (refused && cost > min) { /* memory is short: some key came to a cell with less room */
        cost = min;
        refused = try_cost(limiter, plan, cost, results);
    }
    grant->verdict = refused ? PAWL_DENY : PAWL_ALLOW;
    grant->granted = refused ? 0 : cost;
    grant->results_count = plan->slots_count;
    if (!refused) {
        note_charges(plan, results, grant);
    }
    pawl_count_request(pawl_slot_shard(limiter, &plan->slots[0]), PAWL_OP_CHECK, grant->verdict);
    pawl_locks_give(limiter, &locks);
}

enum pawl_status pawl_limiter_reserve(struct pawl_limiter *limiter,
                                      const struct pawl_limit_request *request, uint64_t min,
                                      uint64_t max, struct pawl_limit_result *results,
                                      size_t capacity, struct pawl_limit_grant *grant)
{
    struct pawl_limiter_slot slots[PAWL_LIMITER_SLOTS_MAX];
    struct pawl_limiter_plan plan = { .slots = slots, .slots_max = PAWL_LIMITER_SLOTS_MAX };
    struct pawl_limit_item items[PAWL_LIMITER_SLOTS_MAX];
    struct pawl_limit_request ask = *request;

    grant->verdict = PAWL_VERDICT_NONE;
    grant->granted = 0;
    grant->results_count = 0;
    grant->charges_count = 0;
    if (min == 0 || min > max || max > PAWL_COUNT_MAX) {
        return PAWL_EINVAL;
    }
    if (request->items_count > PAWL_LIMITER_SLOTS_MAX) {
        return PAWL_ETOOBIG;
    }
    for (size_t i = 0; i < request->items_count; i++) {
        items[i] = request->items[i];
        items[i].cost = min;
    }
    ask.items = items;
    ask.mode = PAWL_MODE_ATOMIC;
    ask.op = PAWL_OP_CHECK;
    enum pawl_status status = pawl_limiter_prepare(limiter, &ask, &plan);

    if (status == PAWL_OK && capacity < plan.slots_count) {
        status = PAWL_ETOOBIG;
    }
    if (status == PAWL_OK) {
        if (plan.others != 0) {
            pawl_limiter_set_wall(limiter, plan.wall);
        }
        decide(limiter, &plan, min, max, results, grant);
    }
    return status;
}
