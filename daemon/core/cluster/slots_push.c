/* What was counted without an owner, on its way to him; and what others send so. */
#include "core/cluster/slots_inside.h"
#include "core/octets.h"

#include <string.h>

#define PUSH_RETRY_MS 1000

static bool push_put(void *data, const uint8_t *record, size_t size)
{
    struct pawl_slots_push *push = data;

    if (PAWL_SLOTS_PUSH_MAX - push->size < size + 4) {
        return false;
    }
    pawl_put_le(push->bytes + push->size, size, 4);
    memcpy(push->bytes + push->size + 4, record, size);
    push->size += size + 4;
    push->records += pawl_get_le(record + 2, 2) > 0 ? 1 : 0;
    return true;
}

/* Slots of @bundle that @owner has by the view and nobody is busy with here. */
static uint64_t slots_of(const struct pawl_cluster_slots *slots, uint16_t owner, uint32_t bundle)
{
    const struct pawl_slots_tables *tables = slots->tables;
    uint64_t busy = tables->held[bundle] | tables->wanted[bundle] | tables->given[bundle] |
                    tables->whole[bundle] | pawl_slots_giving(slots, bundle);
    uint64_t set = 0;

    for (unsigned bit = 0; bit < PAWL_SLOTS_WORDS; bit++) {
        if (tables->ring.owner[pawl_slot_number(bundle, bit)] == owner) {
            set |= UINT64_C(1) << bit;
        }
    }
    return set & ~busy;
}

static void push_ask(struct pawl_cluster_slots *slots)
{
    struct pawl_slots_push *push = &slots->tables->push;
    struct pawl_slots_request request = { .member = push->owner, .push = true };

    push->waiting = true;
    push->tag = ++slots->tags;
    request.tag = push->tag;
    request.sequence = push->sequence;
    request.records = pawl_bytes_of(push->bytes, push->size);
    slots->options.calls.ask(slots->options.calls.self, &request);
}

/* Take what is there for one owner out of the table. True if it was something. */
static bool push_fill(struct pawl_cluster_slots *slots, uint32_t bundle, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;
    struct pawl_slots_push *push = &tables->push;

    if (push->bytes == NULL) {
        push->bytes = pawl_slots_heap(slots, NULL, PAWL_SLOTS_PUSH_MAX);
    }
    for (uint16_t owner = 0; push->bytes != NULL && owner < tables->ring.member_count; owner++) {
        uint64_t set = owner != tables->self ? slots_of(slots, owner, bundle) : 0;
        uint64_t cursor = 0;

        if (set == 0) {
            continue;
        }
        push->size = 0;
        push->records = 0;
        /* what does not fit comes with the next one */
        enum pawl_status status =
            pawl_limiter_collect_slots(slots->options.limiter, bundle, set, true, &cursor,
                                       PAWL_SLOTS_PUSH_MAX, pawl_slots_leaving(now_ms),
                                       tables->scratch, push_put, push, NULL);

        (void)status;
        if (push->size > 0) {
            push->used = true;
            push->owner = tables->ring.members[owner];
            push->bundle = bundle;
            push->set = set;
            push->sequence = ++tables->push_sequence;
            return true;
        }
    }
    return false;
}

static bool may_decide(const struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    return now_ms < atomic_load(&slots->options.ownership->tenure_until_ms);
}

/* The owner of a slot that he has not asked for in all that time; PAWL_RING_NOBODY: none. */
static uint16_t owner_to_nudge(const struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    const struct pawl_slots_tables *tables = slots->tables;

    for (uint32_t bundle = 0; bundle < PAWL_BUNDLES; bundle++) {
        uint64_t set = (tables->held[bundle] | tables->whole[bundle]) & ~tables->mine[bundle];

        for (; set != 0; set &= set - 1) {
            uint16_t owner = tables->ring.owner[pawl_slot_number(bundle, pawl_set_first(set))];
            uint16_t index = owner != PAWL_RING_NOBODY
                                 ? pawl_slots_member(slots, &tables->ring.members[owner])
                                 : PAWL_RING_NOBODY;

            if (index != PAWL_RING_NOBODY &&
                now_ms - tables->asked_ms[index] >= PAWL_SLOTS_LINGER_MS) {
                return index;
            }
        }
    }
    return PAWL_RING_NOBODY;
}

static bool something_lingers(const struct pawl_slots_tables *tables)
{
    uint64_t any = 0;

    for (uint32_t bundle = 0; bundle < PAWL_BUNDLES; bundle++) {
        any |= (tables->held[bundle] | tables->whole[bundle] | tables->given[bundle]) &
               ~tables->mine[bundle];
    }
    return any != 0;
}

/* Whoever decides a slot already asks nobody for it; then two would for ever. */
static void nudge_tick(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;
    struct pawl_slots_push *push = &tables->push;

    if (!something_lingers(tables)) {
        return;
    }
    if (now_ms >= tables->linger_ms && !push->used && may_decide(slots, now_ms)) {
        uint16_t index = owner_to_nudge(slots, now_ms);

        tables->linger_ms = now_ms + PAWL_SLOTS_LINGER_MS / 10;
        if (index != PAWL_RING_NOBODY) {
            tables->asked_ms[index] = now_ms; /* he may be told again after as long */
            push->used = push->nudge = true;
            push->owner = tables->members[index];
            push->set = 0;
            push->size = 0;
            push->records = 0;
            push->sequence = ++tables->push_sequence;
            push_ask(slots);
        }
    }
    pawl_slots_due(slots, tables->linger_ms > now_ms ? tables->linger_ms : now_ms + PUSH_RETRY_MS);
}

void pawl_slots_push_tick(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;

    if (slots->member) {
        nudge_tick(slots, now_ms);
    }
    if (!slots->member || (tables->counted == 0 && !tables->push.used) || tables->push.waiting) {
        return;
    }
    /* What leaves the table is not counted here any more: while the engine is away, when nobody
     * may decide, this member's share would begin anew with each push. */
    if (!tables->push.used && !may_decide(slots, now_ms)) {
        pawl_slots_due(slots, now_ms + PUSH_RETRY_MS);
        return;
    }
    if (now_ms < tables->push_ms) {
        pawl_slots_due(slots, tables->push_ms);
        return;
    }
    while (!tables->push.used && tables->counted != 0) {
        if (!push_fill(slots, pawl_set_first(tables->counted), now_ms)) {
            tables->counted &= tables->counted - 1;
        }
    }
    if (tables->push.used) {
        push_ask(slots);
    }
}

/* Another has these slots now: back into the table, to be sent to him. */
void pawl_slots_push_on_view(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;
    struct pawl_slots_push *push = &tables->push;
    uint16_t owner = pawl_ring_find(&tables->ring, &push->owner);
    bool same = owner != PAWL_RING_NOBODY;

    if (!push->used) {
        return;
    }
    for (uint64_t set = push->set; set != 0 && same; set &= set - 1) {
        same = tables->ring.owner[pawl_slot_number(push->bundle, pawl_set_first(set))] == owner;
    }
    if (same && !push->nudge) {
        return;
    }
    if (push->nudge) {
        push->used = push->nudge = push->waiting = false;
        return;
    }
    (void)pawl_slots_join_run(slots, push->bundle, 0, pawl_bytes_of(push->bytes, push->size),
                              now_ms);
    push->used = false;
    push->waiting = false;
    tables->counted |= UINT64_C(1) << push->bundle;
}

bool pawl_slots_push_on_answer(struct pawl_cluster_slots *slots,
                               const struct pawl_slots_answer *answer, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;
    struct pawl_slots_push *push = &tables->push;

    if (!push->used || !push->waiting || push->tag != answer->tag) {
        return false;
    }
    push->waiting = false;
    if (push->nudge) {
        push->used = push->nudge = false;
    } else if (answer->status == PAWL_OK) {
        slots->figures.pushed_records += push->records;
        push->used = false;
        tables->push_ms = now_ms;
    } else {
        tables->push_ms = now_ms + PUSH_RETRY_MS;
    }
    pawl_slots_due(slots, tables->push_ms);
    return true;
}

/* ---- from others ---- */

static struct pawl_slots_sender *sender_of(struct pawl_cluster_slots *slots,
                                           const struct pawl_member_id *member)
{
    struct pawl_slots_tables *tables = slots->tables;
    struct pawl_slots_sender *free = NULL;

    for (uint32_t i = 0; i < PAWL_MEMBERS_MAX; i++) {
        if (pawl_member_id_equal(tables->senders[i].member, *member)) {
            return &tables->senders[i];
        }
        if (free == NULL && !pawl_slots_in_view(slots, &tables->senders[i].member)) {
            free = &tables->senders[i];
        }
    }
    if (free != NULL) {
        *free = (struct pawl_slots_sender){ *member, 0 };
    }
    return free;
}

/* He has something of ours and was not asked for it. */
static void pull_all_of(struct pawl_cluster_slots *slots, const struct pawl_member_id *member,
                        uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;
    uint16_t index = pawl_slots_member(slots, member);

    for (uint32_t bundle = 0; bundle < PAWL_BUNDLES && index != PAWL_RING_NOBODY; bundle++) {
        if (tables->mine[bundle] != 0) {
            tables->nudged[index] |= UINT64_C(1) << bundle;
        }
    }
    pawl_slots_due(slots, now_ms);
}

enum pawl_status pawl_cluster_slots_pushed(struct pawl_cluster_slots *slots,
                                           const struct pawl_member_id *sender, uint64_t sequence,
                                           struct pawl_bytes records, bool *known, uint64_t now_ms)
{
    struct pawl_slots_sender *from = sender_of(slots, sender);
    struct pawl_bytes run = records;
    struct pawl_bytes record;

    *known = false;
    if (from == NULL || !pawl_slots_in_view(slots, sender)) {
        return PAWL_EAGAIN;
    }
    if (!may_decide(slots, now_ms)) { /* the counts stay with their sender */
        return PAWL_EAGAIN;
    }
    if (sequence <= from->sequence) {
        *known = true;
        return PAWL_OK;
    }
    while (pawl_slot_run_next(&run, &record)) {
        uint32_t slot = pawl_slot_of_id(pawl_limiter_record_id(record.data));

        if ((slots->tables->mine[pawl_slot_bundle(slot)] & pawl_slot_bit(slot)) == 0) {
            return PAWL_EAGAIN;
        }
    }
    if (run.size != 0) {
        return PAWL_ECORRUPT;
    }
    from->sequence = sequence;
    if (records.size == 0) {
        pull_all_of(slots, sender, now_ms);
    }
    run = records;
    while (pawl_slot_run_next(&run, &record)) {
        if (pawl_limiter_join(slots->options.limiter, record, 0, PAWL_JOIN_GIVEN,
                              pawl_slots_coming(now_ms), slots->tables->scratch) == PAWL_OK) {
            slots->figures.push_joined++;
        } else {
            slots->figures.join_lost++;
        }
    }
    return PAWL_OK;
}
