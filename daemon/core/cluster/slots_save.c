/* Saving behind the answers, and what is outstanding at the engine. */
#include "core/cluster/slots_inside.h"
#include "core/octets.h"

#include <string.h>

#define BUDGET_MAX (4u * PAWL_SLOTS_BUFFER) /* what may leave at once after a rest */
#define PASS_MS    10                       /* until the next look when the budget is used up */
#define NEVER      UINT64_MAX
#define NS_PER_MS  1000000

/* ---- what is outstanding ---- */

struct pawl_slots_save *pawl_slots_command(struct pawl_cluster_slots *slots,
                                           enum pawl_slots_kind kind, uint32_t slot)
{
    struct pawl_slots_tables *tables = slots->tables;

    for (uint32_t i = 0; i < PAWL_SLOTS_COMMANDS; i++) {
        uint32_t at = (tables->command_hand + i) % PAWL_SLOTS_COMMANDS;
        struct pawl_slots_save *save = &tables->commands[at];

        if (save->kind == 0) {
            slots->tags += PAWL_SLOTS_COMMANDS; /* the low part is the place */
            *save = (struct pawl_slots_save){ .kind = kind, .slot = slot, .view = slots->view };
            save->tag = slots->tags / PAWL_SLOTS_COMMANDS * PAWL_SLOTS_COMMANDS + at;
            save->since_ms = NEVER;
            tables->command_hand = at + 1;
            slots->saves += kind == PAWL_SLOTS_SAVE ? 1 : 0;
            slots->loads += kind == PAWL_SLOTS_LOAD ? 1 : 0;
            return save;
        }
    }
    return NULL;
}

void pawl_slots_emit(struct pawl_cluster_slots *slots, const struct pawl_slots_save *save,
                     const struct pawl_slot_entry *entries, uint32_t count)
{
    bool load = save->kind == PAWL_SLOTS_LOAD || save->kind == PAWL_SLOTS_LOOK;
    struct pawl_engine_command command = { .verb =
                                               load ? PAWL_ENGINE_SLOT_LOAD : PAWL_ENGINE_SLOT_SAVE,
                                           .part = PAWL_PART_SLOTS,
                                           .tag = save->tag,
                                           .deadline_ms = PAWL_SLOTS_DEADLINE_MS };

    command.slot.slot = save->slot;
    if (!load) {
        command.slot.view = slots->tables->owned_view[save->slot];
        command.slot.owner = slots->options.self;
        command.slot.entries = entries;
        command.slot.count = count;
        command.slot.keep_ms = PAWL_SLOT_KEEP_MS;
    }
    pawl_engine_emit(&slots->options.out, &command);
}

void pawl_slots_command_end(struct pawl_cluster_slots *slots, struct pawl_slots_save *save)
{
    slots->saves -= save->kind == PAWL_SLOTS_SAVE ? 1 : 0;
    slots->loads -= save->kind == PAWL_SLOTS_LOAD ? 1 : 0;
    if (save->deleted != NULL) {
        (void)pawl_slots_heap(slots, save->deleted, 0);
    }
    memset(save, 0, sizeof(*save));
}

/* ---- a pass: records into the buffer, then one save for each slot ---- */

static bool buffer_put(void *data, const uint8_t *record, size_t size)
{
    struct pawl_cluster_slots *slots = data;
    struct pawl_slots_tables *tables = slots->tables;
    struct pawl_slots_item *item = &tables->items[tables->item_count];

    if (tables->item_count == PAWL_SLOT_SAVE_MAX ||
        PAWL_SLOTS_BUFFER - tables->buffer_used < PAWL_SLOT_ANCHOR_BYTES + size + 8) {
        return false;
    }
    item->id = pawl_limiter_record_id(record);
    item->offset = (uint32_t)tables->buffer_used;
    item->size = 0;
    if (pawl_get_le(record + 2, 2) > 0 || record[0] >> 4 > PAWL_RECORD_CONCURRENCY) {
        item->size = (uint32_t)pawl_slot_value_make(slots->options.limits.keys,
                                                    pawl_slots_anchor(slots, slots->save_now_ms),
                                                    pawl_bytes_of(record, size),
                                                    tables->buffer + tables->buffer_used);
    }
    tables->buffer_used += item->size;
    tables->item_count++;
    return true;
}

static void buffer_clear(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    slots->tables->item_count = 0;
    slots->tables->buffer_used = 0;
    slots->save_now_ms = now_ms;
}

/* What a save deletes has no record here any more that could be marked if it fails. */
static void keep_deleted(struct pawl_cluster_slots *slots, struct pawl_slots_save *save,
                         uint32_t count)
{
    const struct pawl_slots_tables *tables = slots->tables;
    uint32_t deleted = 0;

    for (uint32_t i = 0; i < count; i++) {
        deleted += tables->entries[i].value.size == 0 ? 1 : 0;
    }
    if (deleted == 0) {
        return;
    }
    save->deleted = pawl_slots_heap(slots, NULL, deleted * sizeof(*save->deleted));
    for (uint32_t i = 0; i < count && save->deleted != NULL; i++) {
        if (tables->entries[i].value.size == 0) {
            save->deleted[save->deleted_count++] = tables->entries[i].id;
        }
    }
}

/* Emit what the buffer has of @slot. False: too much is outstanding. */
static bool save_slot(struct pawl_cluster_slots *slots, uint32_t slot, uint64_t since_ms,
                      uint32_t exact)
{
    struct pawl_slots_tables *tables = slots->tables;
    uint32_t count = 0;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < tables->item_count; i++) {
        const struct pawl_slots_item *item = &tables->items[i];

        if (pawl_slot_of_id(item->id) == slot) {
            tables->entries[count].id = item->id;
            tables->entries[count].value = pawl_bytes_of(tables->buffer + item->offset, item->size);
            count++;
            bytes += item->size;
        }
    }
    if (count == 0) {
        return true;
    }
    struct pawl_slots_save *save = pawl_slots_command(slots, PAWL_SLOTS_SAVE, slot);

    if (save == NULL) {
        return false;
    }
    save->since_ms = since_ms;
    save->records = count;
    save->bytes = bytes;
    save->exact = exact;
    keep_deleted(slots, save, count);
    pawl_slots_emit(slots, save, tables->entries, count);
    return true;
}

static uint64_t slots_in_buffer(const struct pawl_cluster_slots *slots)
{
    const struct pawl_slots_tables *tables = slots->tables;
    uint64_t set = 0;

    for (uint32_t i = 0; i < tables->item_count; i++) {
        set |= pawl_slot_bit(pawl_slot_of_id(tables->items[i].id));
    }
    return set;
}

/* True when the bundle has nothing more to save. */
static bool save_bundle(struct pawl_cluster_slots *slots, uint32_t bundle, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;
    struct pawl_instant since;
    enum pawl_status status;

    if (tables->held[bundle] == 0 ||
        !pawl_limiter_bundle_unsaved(slots->options.limiter, bundle, &since)) {
        return true;
    }
    buffer_clear(slots, now_ms);
    status = pawl_limiter_collect_dirty_slots(slots->options.limiter, bundle, tables->held[bundle],
                                              tables->budget, pawl_slots_leaving(now_ms),
                                              tables->scratch, buffer_put, slots, NULL);
    tables->budget -= tables->buffer_used < tables->budget ? tables->buffer_used : tables->budget;
    for (uint64_t set = slots_in_buffer(slots); set != 0; set &= set - 1) {
        uint32_t slot = pawl_slot_number(bundle, pawl_set_first(set));

        if (!save_slot(slots, slot, since.ns / NS_PER_MS, 0)) {
            pawl_slots_mark(slots, bundle, pawl_slot_bit(slot), since.ns / NS_PER_MS, now_ms);
        }
    }
    return status == PAWL_OK;
}

static void budget_grow(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;
    uint64_t passed_ms = now_ms > tables->budget_ms ? now_ms - tables->budget_ms : 0;

    passed_ms = passed_ms < 1000 ? passed_ms : 1000;
    tables->budget += passed_ms * (PAWL_SLOTS_SAVE_BYTES_S / 1000);
    tables->budget = tables->budget < BUDGET_MAX ? tables->budget : BUDGET_MAX;
    tables->budget_ms = now_ms;
}

/* Answers whose saves are all through, or that had none. */
static void tell_exacts(struct pawl_cluster_slots *slots)
{
    struct pawl_slots_tables *tables = slots->tables;

    for (uint32_t i = 0; i < PAWL_SLOTS_EXACTS && tables->exacts_ready > 0; i++) {
        struct pawl_slots_exact exact = tables->exacts[i];

        if (exact.used && exact.left == 0) {
            tables->exacts[i].used = false;
            tables->exacts_ready--;
            slots->options.calls.saved(slots->options.calls.self, exact.ticket, exact.worst);
        }
    }
}

void pawl_slots_saves_tick(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;

    tell_exacts(slots);
    budget_grow(slots, now_ms);
    if (now_ms >= tables->round_ms) {
        tables->round = UINT64_MAX;
        tables->round_ms = now_ms + slots->options.interval_ms;
    }
    if (!slots->up) {
        tables->round = 0;
    }
    while (tables->round != 0 && tables->budget >= PAWL_RECORD_BYTES_MAX &&
           slots->saves + PAWL_SLOTS_WORDS <= PAWL_SLOTS_SAVES_MAX) {
        uint32_t bundle = pawl_set_first(tables->round);

        if (save_bundle(slots, bundle, now_ms)) {
            tables->round &= tables->round - 1;
        }
    }
    pawl_slots_due(slots, tables->round_ms);
    if (tables->round != 0) {
        pawl_slots_due(slots, now_ms + PASS_MS);
    }
}

/* ---- replies ---- */

/* To be deleted again, unless something was counted there since. */
static void delete_again(struct pawl_cluster_slots *slots, const struct pawl_slots_save *save,
                         uint64_t now_ms)
{
    uint8_t tombstone[PAWL_RECORD_HEAD_BYTES] = { PAWL_RECORD_BYTE_SLIDING };

    pawl_put_le(tombstone + 4, 1, 4);
    for (uint32_t i = 0; i < save->deleted_count; i++) {
        pawl_put_le(tombstone + 8, save->deleted[i].lo, 8);
        pawl_put_le(tombstone + 16, save->deleted[i].hi, 8);
        enum pawl_status status =
            pawl_limiter_join(slots->options.limiter, pawl_bytes_of(tombstone, sizeof(tombstone)),
                              0, PAWL_JOIN_GIVEN, pawl_slots_coming(now_ms),
                              slots->tables->scratch);

        (void)status; /* without memory it stays until the sweep finds it spent */
    }
}

static void mark_slot(struct pawl_cluster_slots *slots, const struct pawl_slots_save *save,
                      uint64_t now_ms)
{
    uint32_t bundle = pawl_slot_bundle(save->slot);
    uint64_t bit = pawl_slot_bit(save->slot);

    if ((slots->tables->held[bundle] & bit) == 0) {
        return;
    }
    pawl_slots_mark(slots, bundle, bit, save->since_ms, now_ms);
    delete_again(slots, save, now_ms);
}

/* Somebody newer has saved the slot. */
static void save_refused(struct pawl_cluster_slots *slots, const struct pawl_slots_save *save,
                         uint64_t view, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;
    uint32_t bundle = pawl_slot_bundle(save->slot);
    uint64_t bit = pawl_slot_bit(save->slot);

    slots->fence = view > slots->fence ? view : slots->fence;
    if ((tables->held[bundle] & bit) == 0) {
        return; /* it was given away since, and its records with it */
    }
    if ((tables->mine[bundle] & bit) != 0 && slots->view >= view) {
        mark_slot(slots, save, now_ms); /* ours again since */
        return;
    }
    slots->figures.save_refused++;
    pawl_slots_set(slots, save->slot, PAWL_SLOT_FOREIGN);
    (void)pawl_limiter_forget_slots(slots->options.limiter, bundle, bit);
}

static void exact_done(struct pawl_cluster_slots *slots, const struct pawl_slots_save *save,
                       enum pawl_engine_result result, uint64_t now_ms)
{
    if (save->exact == 0) {
        return;
    }
    struct pawl_slots_exact *exact = &slots->tables->exacts[save->exact - 1];

    if (result != PAWL_ENGINE_WON) {
        exact->worst = result;
    }
    exact->left--;
    if (exact->left == 0) {
        slots->tables->exacts_ready++;
        pawl_slots_due(slots, now_ms);
    }
}

void pawl_slots_saves_on_reply(struct pawl_cluster_slots *slots, struct pawl_slots_save *save,
                               const struct pawl_engine_reply *reply, uint64_t now_ms)
{
    uint64_t now_unsaved_ms = save->since_ms < now_ms ? now_ms - save->since_ms : 0;

    switch (reply->result) {
    case PAWL_ENGINE_WON:
        slots->figures.saved_records += save->records;
        slots->figures.saved_bytes += save->bytes;
        if (now_unsaved_ms > slots->figures.unsaved_age_max_ms && save->since_ms != NEVER) {
            slots->figures.unsaved_age_max_ms = now_unsaved_ms;
        }
        break;
    case PAWL_ENGINE_REFUSED:
        save_refused(slots, save, reply->slot.view, now_ms);
        break;
    default:
        slots->figures.save_unknown++;
        mark_slot(slots, save, now_ms);
        if (reply->result == PAWL_ENGINE_UNKNOWN) {
            slots->tables->again[pawl_slot_bundle(save->slot)] |= pawl_slot_bit(save->slot);
            slots->tables->again_ms = now_ms + PAWL_SLOTS_RESAVE_MS;
            pawl_slots_due(slots, slots->tables->again_ms);
        }
        break;
    }
    exact_done(slots, save, reply->result, now_ms);
    if (slots->tables->round != 0) {
        pawl_slots_due(slots, now_ms);
    }
}

/* ---- before an answer ---- */

enum pawl_status pawl_cluster_slots_save_now(struct pawl_cluster_slots *slots,
                                             const struct pawl_id *ids, size_t count,
                                             uint64_t ticket, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;
    uint32_t free = 0;

    while (free < PAWL_SLOTS_EXACTS && tables->exacts[free].used) {
        free++;
    }
    if (!slots->up || free == PAWL_SLOTS_EXACTS || count > PAWL_LIMITER_SLOTS_MAX ||
        slots->saves + count > PAWL_SLOTS_COMMANDS / 2) {
        return PAWL_EAGAIN;
    }
    struct pawl_slots_exact *exact = &tables->exacts[free];

    *exact = (struct pawl_slots_exact){ .used = true, .ticket = ticket, .worst = PAWL_ENGINE_WON };
    for (size_t i = 0; i < count; i++) {
        uint32_t slot = pawl_slot_of_id(ids[i]);

        if ((tables->held[pawl_slot_bundle(slot)] & pawl_slot_bit(slot)) == 0) {
            continue;
        }
        buffer_clear(slots, now_ms);
        if (pawl_limiter_collect_id(slots->options.limiter, ids[i], pawl_slots_leaving(now_ms),
                                    tables->scratch, buffer_put, slots)) {
            exact->left++;
            if (!save_slot(slots, slot, NEVER, free + 1)) {
                exact->left--;
                exact->worst = PAWL_ENGINE_UNSENT;
            }
        }
    }
    if (exact->left == 0) {
        tables->exacts_ready++;
        pawl_slots_due(slots, now_ms);
    }
    return PAWL_OK;
}

/* ---- figures ---- */

uint64_t pawl_slots_unsaved_ms(struct pawl_cluster_slots *slots)
{
    const struct pawl_slots_tables *tables = slots->tables;
    uint64_t oldest_ms = NEVER;
    struct pawl_instant since;

    for (uint32_t bundle = 0; bundle < PAWL_BUNDLES; bundle++) {
        if (tables->held[bundle] != 0 &&
            pawl_limiter_bundle_unsaved(slots->options.limiter, bundle, &since) &&
            since.ns / NS_PER_MS < oldest_ms) {
            oldest_ms = since.ns / NS_PER_MS;
        }
        if ((tables->mark_due >> bundle & 1) != 0 && tables->mark_since_ms[bundle] < oldest_ms &&
            (tables->mark[bundle] & tables->held[bundle]) != 0) {
            oldest_ms = tables->mark_since_ms[bundle];
        }
    }
    for (uint32_t i = 0; i < PAWL_SLOTS_COMMANDS && slots->saves > 0; i++) {
        if (tables->commands[i].kind == PAWL_SLOTS_SAVE &&
            tables->commands[i].since_ms < oldest_ms) {
            oldest_ms = tables->commands[i].since_ms;
        }
    }
    return oldest_ms;
}
