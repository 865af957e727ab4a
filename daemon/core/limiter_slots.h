/*
 * Slots of a request: where each counts, how it is decided, charged and answered, and the groups
 * and locks around them. Private to limiter*.c.
 *
 * limiter.c has the sliding window's own way through all this, written out for speed; what ends in
 * _other is for the other algorithms (limiter_other.c).
 *
 * Overflow cells of gcra and concurrency limits are sliding windows as all others: as many events
 * as fit at once in the time in which so many flow, or in which a slot expires, is never more than
 * those algorithms admit, whoever shares the cell. Cells of calendar quotas are quotas.
 */
#ifndef PAWL_CORE_LIMITER_SLOTS_H
#define PAWL_CORE_LIMITER_SLOTS_H

#include "core/limiter_table.h"

#define PAWL_EVENT_BITS 48 /* of a charge handle: what names it; above it the life's mark */
#define PAWL_EVENT_MASK ((UINT64_C(1) << PAWL_EVENT_BITS) - 1)

/** The shards of a plan, each once, ascending: the order in which all threads lock. */
struct pawl_locks {
    size_t count;
    uint16_t shards[PAWL_LIMITER_SLOTS_MAX];
};

void pawl_locks_take(struct pawl_limiter *limiter, const struct pawl_limiter_plan *plan,
                     struct pawl_locks *locks);
void pawl_locks_give(struct pawl_limiter *limiter, const struct pawl_locks *locks);

/** Find where a slot counts now, and let time pass there: its record, or the cell that holds it. */
void pawl_slot_find(struct pawl_limiter *limiter, struct pawl_limiter_slot *slot,
                    struct pawl_instant now, struct pawl_wall wall);

/** As pawl_table_find_cell(), for every algorithm. */
struct pawl_window *pawl_slot_find_cell(struct pawl_limiter *limiter,
                                        const struct pawl_limiter_slot *slot,
                                        struct pawl_instant now, struct pawl_wall wall);

/**
 * Decide @count slots that stand or fall together, charge them if plan->op says so, and fill their
 * results. Under all their locks. Returns true if they are refused.
 */
bool pawl_group_decide(struct pawl_limiter *limiter, const struct pawl_limiter_plan *plan,
                       struct pawl_limiter_slot *slots, size_t count,
                       struct pawl_limit_result *results);

/** Count a request in the metrics of @shard, under its lock. */
static inline void pawl_count_request(struct pawl_limiter_shard *shard, enum pawl_limiter_op op,
                                      enum pawl_verdict verdict)
{
    if (op == PAWL_OP_PEEK) {
        shard->metrics.peeks++;
    } else if (verdict == PAWL_ALLOW) {
        shard->metrics.allowed++;
    } else {
        shard->metrics.denied++;
    }
}

/* ---- of other algorithms than sliding ---- */

/** What the rate of @slot asks of the record it counts in (its own, or a cell). */
struct pawl_terms pawl_slot_terms(const struct pawl_limiter_slot *slot, struct pawl_wall wall);

void pawl_slot_find_other(struct pawl_limiter *limiter, struct pawl_limiter_slot *slot,
                          struct pawl_instant now, struct pawl_wall wall);
void pawl_slot_touch_other(struct pawl_limiter *limiter, struct pawl_limiter_slot *slot,
                           struct pawl_instant now, struct pawl_wall wall);
void pawl_slot_decide_other(struct pawl_limiter_slot *slot, uint64_t pending,
                            struct pawl_wall wall);
uint64_t pawl_slot_charge_other(struct pawl_limiter *limiter, struct pawl_limiter_slot *slot,
                                struct pawl_instant now);
void pawl_slot_result_other(const struct pawl_limiter_slot *slot, uint64_t charge,
                            struct pawl_wall wall, struct pawl_limit_result *result);

#endif
