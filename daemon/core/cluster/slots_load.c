/* Records from the engine: of slots whose owner died, and the sweep of what is spent there. */
#include "core/cluster/slots_inside.h"
#include "core/gcra.h"
#include "core/octets.h"
#include "core/quota.h"
#include "core/slots.h"

#include <string.h>

__extension__ typedef unsigned __int128 wide;

static void load_again(struct pawl_cluster_slots *slots, uint32_t slot, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;
    uint32_t bundle = pawl_slot_bundle(slot);

    if (tables->load_retry_ms <= now_ms) {
        tables->load_retry_ms = now_ms + PAWL_SLOTS_RETRY_MS;
    }
    tables->load_later[bundle] |= pawl_slot_bit(slot);
    pawl_slots_due(slots, tables->load_retry_ms);
}

/* A save of nothing first: a save of the last owner that is still on its way would be missed. */
static bool load_start(struct pawl_cluster_slots *slots, uint32_t slot)
{
    struct pawl_slots_tables *tables = slots->tables;
    uint32_t bundle = pawl_slot_bundle(slot);
    uint64_t bit = pawl_slot_bit(slot);
    const struct pawl_slots_save *fence = pawl_slots_command(slots, PAWL_SLOTS_FENCE, slot);

    if (fence == NULL) {
        return false;
    }
    pawl_slots_emit(slots, fence, NULL, 0);
    const struct pawl_slots_save *load = pawl_slots_command(slots, PAWL_SLOTS_LOAD, slot);

    if (load == NULL) {
        return false;
    }
    tables->load_due[bundle] &= ~bit;
    tables->loading[bundle] |= bit;
    tables->fenced[bundle] &= ~bit;
    pawl_slots_emit(slots, load, NULL, 0);
    return true;
}

static bool load_bundle(struct pawl_cluster_slots *slots, uint32_t bundle)
{
    struct pawl_slots_tables *tables = slots->tables;

    tables->load_due[bundle] &= tables->wanted[bundle];
    while (tables->load_due[bundle] != 0) {
        if (slots->loads >= PAWL_SLOTS_LOADS_MAX ||
            !load_start(slots,
                        pawl_slot_number(bundle, pawl_set_first(tables->load_due[bundle])))) {
            return false;
        }
    }
    return true;
}

static void sweep_tick(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;

    if (now_ms >= tables->sweep_ms) {
        tables->sweep_ms = now_ms + PAWL_SLOTS_SWEEP_MS;
        for (uint32_t i = 0; i < PAWL_RING_SLOTS; i++) {
            uint32_t slot = (tables->sweep_slot + i) % PAWL_RING_SLOTS;
            uint32_t bundle = pawl_slot_bundle(slot);
            const struct pawl_slots_save *look;

            if ((tables->held[bundle] & tables->mine[bundle] & pawl_slot_bit(slot)) == 0) {
                continue;
            }
            look = pawl_slots_command(slots, PAWL_SLOTS_LOOK, slot);
            if (look != NULL) {
                pawl_slots_emit(slots, look, NULL, 0);
                tables->sweep_slot = slot + 1;
            }
            break;
        }
    }
    pawl_slots_due(slots, tables->sweep_ms);
}

static void load_tick(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;
    uint64_t due = 0;
    bool room = true;

    for (uint32_t bundle = 0; bundle < PAWL_BUNDLES; bundle++) {
        if (now_ms >= tables->load_retry_ms) {
            tables->load_due[bundle] |= tables->load_later[bundle];
            tables->load_later[bundle] = 0;
        } else if (tables->load_later[bundle] != 0) {
            pawl_slots_due(slots, tables->load_retry_ms);
        }
        due |= tables->load_due[bundle] != 0 ? UINT64_C(1) << bundle : 0;
    }
    for (uint64_t set = due & tables->first; room && set != 0; set &= set - 1) {
        room = load_bundle(slots, pawl_set_first(set));
    }
    for (uint64_t set = due & ~tables->first; room && set != 0; set &= set - 1) {
        room = load_bundle(slots, pawl_set_first(set));
    }
}

void pawl_slots_loads_tick(struct pawl_cluster_slots *slots, uint64_t now_ms)
{
    if (!slots->up) {
        return;
    }
    load_tick(slots, now_ms);
    sweep_tick(slots, now_ms);
}

/* ---- what was loaded ---- */

static enum pawl_status open_value(const struct pawl_cluster_slots *slots,
                                   const struct pawl_slot_entry *entry, uint32_t slot,
                                   struct pawl_slot_anchor now, struct pawl_bytes *record,
                                   uint64_t *elapsed_ms)
{
    const struct pawl_seal_keys *limits = &slots->options.limits;
    enum pawl_status status = PAWL_ECORRUPT;

    for (unsigned i = 0; i < limits->count && status == PAWL_ECORRUPT; i++) {
        status = pawl_slot_value_open(&limits->keys[i], entry->id, slot, now, entry->value, record,
                                      elapsed_ms);
    }
    return status;
}

static void load_entries(struct pawl_cluster_slots *slots, uint32_t slot,
                         const struct pawl_engine_reply *reply, uint64_t now_ms)
{
    struct pawl_slot_anchor now = pawl_slots_anchor(slots, now_ms);

    for (uint32_t i = 0; i < reply->slot.count; i++) {
        const struct pawl_slot_entry *entry = &reply->slot.entries[i];
        struct pawl_bytes record;
        uint64_t elapsed_ms;
        enum pawl_status status = open_value(slots, entry, slot, now, &record, &elapsed_ms);

        if (status == PAWL_OK) {
            status = pawl_limiter_join(slots->options.limiter, record, elapsed_ms, PAWL_JOIN_SAVED,
                                       pawl_slots_coming(now_ms), slots->tables->scratch);
        }
        if (status == PAWL_OK) {
            slots->figures.loaded_records++;
        } else if (status == PAWL_EFULL) {
            slots->figures.join_lost++;
        } else {
            slots->figures.load_bad++;
        }
    }
}

static void loaded(struct pawl_cluster_slots *slots, const struct pawl_slots_save *load,
                   const struct pawl_engine_reply *reply, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;
    uint32_t bundle = pawl_slot_bundle(load->slot);
    uint64_t bit = pawl_slot_bit(load->slot);

    if (load->view != slots->view || (tables->loading[bundle] & bit) == 0) {
        return; /* asked in another view: by this one it comes from somebody, or is asked anew */
    }
    tables->loading[bundle] &= ~bit;
    bool won = reply->result == PAWL_ENGINE_WON && (tables->fenced[bundle] & bit) == 0;

    if (!won && (reply->result != PAWL_ENGINE_FAILED ||
                 ++tables->load_tries[load->slot] < PAWL_SLOTS_LOAD_TRIES)) {
        load_again(slots, load->slot, now_ms);
        return;
    }
    if (won) {
        load_entries(slots, load->slot, reply, now_ms);
        slots->figures.loaded_slots++;
    } else { /* refused for good, as a slot that is too large is: better empty than never */
        slots->figures.load_given_up++;
    }
    tables->load_tries[load->slot] = 0;
    pawl_slots_set(slots, load->slot, PAWL_SLOT_HELD);
}

/* ---- the sweep ---- */

/* The age of the newest of @count entries, each @bytes long with its age in front. */
static bool newest_left(const uint8_t *body, size_t size, unsigned bytes, uint64_t elapsed_ms,
                        uint32_t window_ms)
{
    return size < bytes || pawl_get_le(body + size - bytes, 4) + elapsed_ms >= window_ms;
}

/* Nothing in this record counts any more. */
static bool is_spent(struct pawl_bytes record, const struct pawl_record_head *head,
                     uint64_t elapsed_ms, uint64_t wall_ms)
{
    const uint8_t *body = record.data + PAWL_RECORD_HEAD_BYTES;
    size_t size = record.size - PAWL_RECORD_HEAD_BYTES;

    if (!head->known || head->entries == 0 || elapsed_ms >= UINT32_MAX) {
        return head->known ? head->entries == 0 : elapsed_ms >= head->window_ms;
    }
    switch (head->kind) {
    case PAWL_RECORD_SLIDING:
        return newest_left(body, size, head->wide ? 9 : 5, elapsed_ms, head->window_ms);
    case PAWL_RECORD_CONCURRENCY:
        return newest_left(body, size, PAWL_SLOTS_SAVED_BYTES, elapsed_ms, head->window_ms);
    case PAWL_RECORD_GCRA:
        return (pawl_get_le(body, 8) | (wide)pawl_get_le(body + 8, 8) << 64) <=
               (wide)pawl_get_le(body + 16, 8) * elapsed_ms * 1000000;
    default:
        return wall_ms / 1000 < INT64_MAX &&
               (int64_t)(wall_ms / 1000) >= (int64_t)pawl_get_le(body + 8, 8) &&
               elapsed_ms / 1000 >= pawl_get_le(body + 24, 4);
    }
}

static void looked(struct pawl_cluster_slots *slots, const struct pawl_slots_save *look,
                   const struct pawl_engine_reply *reply, uint64_t now_ms)
{
    struct pawl_slots_tables *tables = slots->tables;
    struct pawl_slot_anchor now = pawl_slots_anchor(slots, now_ms);
    uint32_t bundle = pawl_slot_bundle(look->slot);
    uint32_t count = 0;

    if (reply->result != PAWL_ENGINE_WON ||
        (tables->held[bundle] & pawl_slot_bit(look->slot)) == 0) {
        return;
    }
    for (uint32_t i = 0; i < reply->slot.count && count < PAWL_SLOT_SAVE_MAX; i++) {
        const struct pawl_slot_entry *entry = &reply->slot.entries[i];
        struct pawl_record_head head;
        struct pawl_bytes record;
        uint64_t elapsed_ms;

        if (open_value(slots, entry, look->slot, now, &record, &elapsed_ms) != PAWL_OK ||
            pawl_record_check(record, &head) != PAWL_OK) {
            slots->figures.load_bad++;
        } else if (is_spent(record, &head, elapsed_ms, now.wall_ms) &&
                   !pawl_limiter_holds(slots->options.limiter, entry->id,
                                       pawl_slots_leaving(now_ms))) {
            tables->entries[count].id = entry->id;
            tables->entries[count].value = pawl_bytes_of(NULL, 0);
            count++;
        }
    }
    if (count > 0) {
        struct pawl_slots_save *clean = pawl_slots_command(slots, PAWL_SLOTS_CLEAN, look->slot);

        if (clean != NULL) {
            clean->records = count;
            pawl_slots_emit(slots, clean, tables->entries, count);
        }
    }
}

void pawl_slots_loads_on_reply(struct pawl_cluster_slots *slots, struct pawl_slots_save *save,
                               const struct pawl_engine_reply *reply, uint64_t now_ms)
{
    switch (save->kind) {
    case PAWL_SLOTS_FENCE:
        /* an engine without memory takes no fence, nor the save that it is for */
        if (reply->result != PAWL_ENGINE_WON && reply->result != PAWL_ENGINE_FAILED) {
            slots->tables->fenced[pawl_slot_bundle(save->slot)] |= pawl_slot_bit(save->slot);
            if (reply->result == PAWL_ENGINE_REFUSED) {
                slots->figures.save_refused++;
                slots->fence = reply->slot.view > slots->fence ? reply->slot.view : slots->fence;
            }
        }
        return;
    case PAWL_SLOTS_LOAD:
        loaded(slots, save, reply, now_ms);
        pawl_slots_due(slots, now_ms); /* there is room for another */
        return;
    case PAWL_SLOTS_LOOK:
        looked(slots, save, reply, now_ms);
        return;
    default:
        slots->figures.swept_fields += reply->result == PAWL_ENGINE_WON ? save->records : 0;
        return;
    }
}
