/* Slots that come and go: life, views, states, figures. slots.h has the rules. */
#include "core/cluster/slots_inside.h"

#include <string.h>

/* ---- small things ---- */

void *pawl_slots_heap(struct pawl_cluster_slots *slots, void *old, size_t size)
{
    return slots->options.heap.take(slots->options.heap.self, old, size);
}

void pawl_slots_set(struct pawl_cluster_slots *slots, uint32_t slot, enum pawl_slot_state state)
{
    struct pawl_slots_tables *tables = slots->tables;
    uint32_t bundle = pawl_slot_bundle(slot);
    uint64_t bit = pawl_slot_bit(slot);
    _Atomic uint8_t *at = &slots->options.ownership->states[slot];

    if (atomic_load_explicit(at, memory_order_relaxed) == (uint8_t)state) {
        return;
    }
    tables->wanted[bundle] &= ~bit;
    tables->held[bundle] &= ~bit;
    tables->given[bundle] &= ~bit;
    switch (state) {
    case PAWL_SLOT_WANTED:
        tables->wanted[bundle] |= bit;
        break;
    case PAWL_SLOT_HELD:
        tables->held[bundle] |= bit;
        tables->whole[bundle] &= ~bit;
        break;
    case PAWL_SLOT_GIVEN:
        tables->given[bundle] |= bit;
        break;
    default:
        break;
    }
    if (state != PAWL_SLOT_WANTED) {
        tables->load_due[bundle] &= ~bit;
        tables->loading[bundle] &= ~bit;
    }
    atomic_store_explicit(at, (uint8_t)state, memory_order_release);
    slots->told = true;
}

void pawl_slots_set_all(struct pawl_cluster_slots *slots, uint32_t bundle, uint64_t set,
                        enum pawl_slot_state state)
{
    for (; set != 0; set &= set - 1) {
        pawl_slots_set(slots, pawl_slot_number(bundle, pawl_set_first(set)), state);
    }
}

void pawl_slots_set_away(struct pawl_cluster_slots *slots, uint32_t bundle, uint64_t set)
{
    uint64_t mine = slots->tables->mine[bundle];

    pawl_slots_set_all(slots, bundle, set & mine, PAWL_SLOT_WANTED);
    pawl_slots_set_all(slots, bundle, set & ~mine, PAWL_SLOT_FOREIGN);
}

uint16_t pawl_slots_member(const struct pawl_cluster_slots *slots, const struct pawl_member_id *id)
{
    for (uint16_t i = 0; i < slots->tables->member_count; i++) {
        if (pawl_member_id_equal(slots->tables->members[i], *id)) {
            return i;
        }
    }
    return PAWL_RING_NOBODY;
}

bool pawl_slots_in_view(const struct pawl_cluster_slots *slots, const struct pawl_member_id *id)
{
    return pawl_slots_member(slots, id) != PAWL_RING_NOBODY;
}

void pawl_slots_tell(struct pawl_cluster_slots *slots)
{
    if (slots->told) {
        slots->told = false;
        if (slots->options.calls.changed != NULL) {
            slots->options.calls.changed(slots->options.calls.self);
        }
    }
}

struct pawl_slot_anchor pawl_slots_anchor(const struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    uint64_t since_ms = now_ms > slots->clock_ms ? now_ms - slots->clock_ms : 0;
    struct pawl_slot_anchor anchor = { slots->fleet_ms != 0 ? slots->fleet_ms + since_ms : 0,
                                       slots->wall_ms != 0 ? slots->wall_ms + since_ms : 0 };

    return anchor;
}

uint64_t pawl_slots_join_run(struct pawl_cluster_slots *slots, uint32_t bundle, uint64_t skip,
                             struct pawl_bytes run, uint64_t now_ms)
{
    struct pawl_bytes record;
    uint64_t joined = 0;

    while (pawl_slot_run_next(&run, &record)) {
        uint32_t slot = pawl_slot_of_id(pawl_limiter_record_id(record.data));

        if (pawl_slot_bundle(slot) == bundle && (skip & pawl_slot_bit(slot)) != 0) {
            continue;
        }
        if (pawl_slot_bundle(slot) == bundle &&
            pawl_limiter_join(slots->options.limiter, record, 0, PAWL_JOIN_GIVEN,
                              pawl_slots_coming(now_ms), slots->tables->scratch) == PAWL_OK) {
            joined++;
        } else {
            slots->figures.join_lost++;
        }
    }
    return joined;
}

/* ---- life ---- */

enum pawl_status pawl_cluster_slots_init(struct pawl_cluster_slots *slots,
                                         const struct pawl_cluster_slots_options *options,
                                         uint64_t now_ms)
{
    memset(slots, 0, sizeof(*slots));
    if (options->limiter == NULL || !options->limiter->slotted || !options->limiter->persist ||
        options->limiter->shards_count != PAWL_BUNDLES || options->interval_ms == 0 ||
        options->out.emit == NULL || options->calls.ask == NULL || options->heap.take == NULL) {
        return PAWL_EINVAL;
    }
    slots->options = *options;
    slots->tables = pawl_slots_heap(slots, NULL, sizeof(*slots->tables));
    if (slots->tables == NULL) {
        return PAWL_ENOMEM;
    }
    memset(slots->tables, 0, sizeof(*slots->tables));
    slots->tables->self = PAWL_RING_NOBODY;
    slots->tables->me = PAWL_RING_NOBODY;
    slots->tables->round_ms = now_ms;
    slots->tables->budget_ms = now_ms;
    slots->next_ms = now_ms;
    return PAWL_OK;
}

void pawl_cluster_slots_deinit(struct pawl_cluster_slots *slots)
{
    if (slots->tables == NULL) {
        return;
    }
    pawl_slots_pulls_drop(slots, true);
    for (uint32_t i = 0; i < PAWL_SLOTS_COMMANDS; i++) {
        if (slots->tables->commands[i].deleted != NULL) {
            (void)pawl_slots_heap(slots, slots->tables->commands[i].deleted, 0);
        }
    }
    if (slots->tables->push.bytes != NULL) {
        (void)pawl_slots_heap(slots, slots->tables->push.bytes, 0);
    }
    (void)pawl_slots_heap(slots, slots->tables, 0);
    slots->tables = NULL;
    pawl_wipe(&slots->options.limits, sizeof(slots->options.limits));
}

/* ---- views ---- */

/* Others decided about these meanwhile, on what the engine had: what is here is of another time. */
static void drop_all(struct pawl_cluster_slots *slots)
{
    struct pawl_slots_tables *tables = slots->tables;

    for (uint32_t bundle = 0; bundle < PAWL_BUNDLES; bundle++) {
        uint64_t set = tables->held[bundle] | tables->given[bundle] | tables->whole[bundle] |
                       pawl_slots_giving(slots, bundle);

        pawl_slots_set_all(slots, bundle, UINT64_MAX, PAWL_SLOT_FOREIGN);
        if (set != 0) {
            (void)pawl_limiter_forget_slots(slots->options.limiter, bundle, set);
            slots->figures.seized_slots += (uint64_t)__builtin_popcountll(set);
        }
        tables->whole[bundle] = 0;
    }
    pawl_slots_pulls_drop(slots, true);
    pawl_slots_gives_drop(slots);
    tables->counted = UINT64_MAX; /* what had come for us without being whole may be left */
}

static void take_view(struct pawl_cluster_slots *slots, const struct pawl_slots_view *view,
                      uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;

    slots->view = view->ring->view;
    tables->ring = *view->ring;
    tables->member_count =
        view->member_count < PAWL_MEMBERS_MAX ? view->member_count : PAWL_MEMBERS_MAX;
    if (tables->member_count > 0) {
        memcpy(tables->members, view->members, tables->member_count * sizeof(tables->members[0]));
    }
    tables->self = pawl_ring_find(&tables->ring, &slots->options.self);
    memset(tables->answered, 0, sizeof(tables->answered));
    memset(tables->nudged, 0, sizeof(tables->nudged));
    for (uint16_t i = 0; i < tables->member_count; i++) {
        tables->asked_ms[i] = now_ms;
    }
    tables->linger_ms = now_ms + PAWL_SLOTS_LINGER_MS;
    memset(tables->mine, 0, sizeof(tables->mine));
    for (uint32_t slot = 0; slot < PAWL_RING_SLOTS && tables->self != PAWL_RING_NOBODY; slot++) {
        if (tables->ring.owner[slot] == tables->self) {
            tables->mine[pawl_slot_bundle(slot)] |= pawl_slot_bit(slot);
            tables->owned_view[slot] = slots->view;
        }
    }
    tables->recheck = UINT64_MAX;
}

/* What was ours stays until its heir asks; what is ours now and not here is wanted. */
static void change_states(struct pawl_cluster_slots *slots)
{
    struct pawl_slots_tables *tables = slots->tables;

    for (uint32_t bundle = 0; bundle < PAWL_BUNDLES; bundle++) {
        uint64_t mine = tables->mine[bundle];

        /* What was counted here for want of an owner, while it was on its way, is his now. */
        tables->counted |= (tables->wanted[bundle] & ~mine) != 0 ? UINT64_C(1) << bundle : 0;
        tables->load_due[bundle] = 0;
        tables->load_later[bundle] = 0;
        tables->loading[bundle] = 0; /* what comes of them was asked in another view */
        pawl_slots_set_all(slots, bundle, mine & ~tables->held[bundle], PAWL_SLOT_WANTED);
        pawl_slots_set_all(slots, bundle, tables->wanted[bundle] & ~mine, PAWL_SLOT_FOREIGN);
    }
}

void pawl_cluster_slots_on_view(struct pawl_cluster_slots *slots,
                                const struct pawl_slots_view *view, uint64_t now_ms)
{
    bool was = slots->member;

    if (view->ring->view <= slots->view) {
        return;
    }
    take_view(slots, view, now_ms);
    slots->tables->me = pawl_slots_member(slots, &slots->options.self);
    slots->member = slots->tables->me != PAWL_RING_NOBODY;
    if (was && !slots->member) {
        drop_all(slots);
    }
    if (slots->member) {
        change_states(slots);
    }
    pawl_slots_gives_on_view(slots);
    pawl_slots_pulls_on_view(slots, now_ms);
    pawl_slots_push_on_view(slots, now_ms);
    pawl_slots_due(slots, now_ms);
    pawl_slots_tell(slots);
}

/* ---- the engine, the clocks ---- */

void pawl_cluster_slots_emptied(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    for (uint32_t bundle = 0; bundle < PAWL_BUNDLES; bundle++) {
        pawl_slots_mark(slots, bundle, UINT64_MAX, now_ms, now_ms);
    }
}

void pawl_cluster_slots_on_up(struct pawl_cluster_slots *slots, struct pawl_epoch epoch,
                              uint64_t now_ms)
{
    if (!pawl_epoch_equal(epoch, slots->epoch)) {
        slots->epoch = epoch;
        pawl_cluster_slots_emptied(slots, now_ms); /* it may have lost what it acknowledged */
    }
    slots->up = true;
    slots->tables->load_retry_ms = now_ms;
    pawl_slots_due(slots, now_ms);
}

void pawl_cluster_slots_on_down(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    slots->up = false;
    pawl_slots_due(slots, now_ms);
}

void pawl_cluster_slots_set_clock(struct pawl_cluster_slots *slots, uint64_t fleet_ms,
                                  uint64_t wall_ms, uint64_t now_ms)
{
    slots->fleet_ms = fleet_ms;
    slots->wall_ms = wall_ms;
    slots->clock_ms = now_ms;
}

/* ---- what happens ---- */

void pawl_slots_mark(struct pawl_cluster_slots *slots, uint32_t bundle, uint64_t set,
                     uint64_t since_ms, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;

    since_ms = since_ms < now_ms ? since_ms : now_ms;
    if ((tables->mark_due >> bundle & 1) == 0) {
        tables->mark_due |= UINT64_C(1) << bundle;
        tables->mark[bundle] = 0;
        tables->mark_since_ms[bundle] = since_ms;
    } else if (since_ms < tables->mark_since_ms[bundle]) {
        tables->mark_since_ms[bundle] = since_ms;
    }
    tables->mark[bundle] |= set;
    pawl_slots_due(slots, now_ms);
}

/* One bundle at a time: a walk over all of it. */
static void mark_some(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;

    if (tables->again_ms != 0 && now_ms >= tables->again_ms) {
        tables->again_ms = 0;
        for (uint32_t bundle = 0; bundle < PAWL_BUNDLES; bundle++) {
            if (tables->again[bundle] != 0) {
                pawl_slots_mark(slots, bundle, tables->again[bundle], now_ms, now_ms);
                tables->again[bundle] = 0;
            }
        }
    }
    if (tables->mark_due != 0) {
        uint32_t bundle = pawl_set_first(tables->mark_due);
        uint64_t set = tables->mark[bundle] & tables->held[bundle];

        tables->mark_due &= tables->mark_due - 1;
        if (set != 0) { /* dirty since then, not since now: the figure says what could be lost */
            (void)pawl_limiter_mark_slots(slots->options.limiter, bundle, set,
                                          pawl_slots_leaving(tables->mark_since_ms[bundle]));
        }
        pawl_slots_due(slots, tables->mark_due != 0 ? now_ms : UINT64_MAX);
    }
    if (tables->again_ms != 0) {
        pawl_slots_due(slots, tables->again_ms);
    }
}

void pawl_cluster_slots_tick(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    slots->next_ms = UINT64_MAX;
    mark_some(slots, now_ms);
    pawl_slots_pulls_tick(slots, now_ms);
    pawl_slots_loads_tick(slots, now_ms);
    pawl_slots_push_tick(slots, now_ms);
    pawl_slots_saves_tick(slots, now_ms);
    pawl_slots_tell(slots);
}

void pawl_cluster_slots_on_reply(struct pawl_cluster_slots *slots,
                                 const struct pawl_engine_reply *reply, uint64_t now_ms)
{
    struct pawl_slots_save *save = &slots->tables->commands[reply->tag % PAWL_SLOTS_COMMANDS];

    if (save->kind == 0 || save->tag != reply->tag) {
        return;
    }
    if (save->kind == PAWL_SLOTS_SAVE) {
        pawl_slots_saves_on_reply(slots, save, reply, now_ms);
    } else {
        pawl_slots_loads_on_reply(slots, save, reply, now_ms);
    }
    pawl_slots_command_end(slots, save);
    pawl_slots_tell(slots);
}

void pawl_cluster_slots_on_answer(struct pawl_cluster_slots *slots,
                                  const struct pawl_slots_answer *answer, uint64_t now_ms)
{
    if (!pawl_slots_push_on_answer(slots, answer, now_ms)) {
        (void)pawl_slots_pulls_on_answer(slots, answer, now_ms);
    }
    pawl_slots_tell(slots);
}

void pawl_cluster_slots_wanted_first(struct pawl_cluster_slots *slots, uint32_t slot)
{
    if (slot < PAWL_RING_SLOTS) {
        slots->tables->first |= UINT64_C(1) << pawl_slot_bundle(slot);
    }
}

void pawl_cluster_slots_counted(struct pawl_cluster_slots *slots, uint32_t slot, uint64_t now_ms)
{
    if (slot < PAWL_RING_SLOTS) {
        slots->tables->counted |= UINT64_C(1) << pawl_slot_bundle(slot);
        pawl_slots_due(slots, now_ms > slots->tables->push_ms ? now_ms : slots->tables->push_ms);
    }
}

/* ---- how it stands ---- */

static uint64_t count_of(const uint64_t sets[PAWL_BUNDLES])
{
    uint64_t count = 0;

    for (uint32_t bundle = 0; bundle < PAWL_BUNDLES; bundle++) {
        count += (uint64_t)__builtin_popcountll(sets[bundle]);
    }
    return count;
}

bool pawl_cluster_slots_settled(const struct pawl_cluster_slots *slots)
{
    return slots->member && count_of(slots->tables->wanted) == 0;
}

bool pawl_cluster_slots_empty(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    const struct pawl_slots_tables *tables = slots->tables;

    (void)now_ms;
    if (!slots->member) {
        return true;
    }
    if (tables->push.used) {
        return false;
    }
    if (tables->ring.member_count == 0) {
        return slots->saves == 0 && pawl_slots_unsaved_ms(slots) == UINT64_MAX;
    }
    return count_of(tables->mine) == 0 && count_of(tables->held) == 0 &&
           count_of(tables->given) == 0 && count_of(tables->whole) == 0;
}

void pawl_cluster_slots_figures(struct pawl_cluster_slots *slots, uint64_t now_ms,
                                struct pawl_slots_figures *figures)
{
    uint64_t since_ms = pawl_slots_unsaved_ms(slots);

    slots->figures.unsaved_age_ms = since_ms < now_ms ? now_ms - since_ms : 0;
    if (slots->up && slots->figures.unsaved_age_ms > slots->figures.unsaved_age_max_ms) {
        slots->figures.unsaved_age_max_ms = slots->figures.unsaved_age_ms;
    }
    slots->figures.held = count_of(slots->tables->held);
    slots->figures.wanted = count_of(slots->tables->wanted);
    slots->figures.given = count_of(slots->tables->given);
    slots->figures.saves = slots->saves;
    slots->figures.pulls = 0;
    for (uint32_t i = 0; i < PAWL_SLOTS_PULLS_MAX; i++) {
        slots->figures.pulls += slots->tables->pulls[i].used ? 1 : 0;
    }
    *figures = slots->figures;
}
