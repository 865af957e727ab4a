/* What leaves for the saver and comes back from it. */
#include "core/limiter_slots.h"

#include <string.h>

/* Where serialized records go, and how much more of them. */
struct outlet {
    struct pawl_instant now;
    uint8_t *scratch;
    pawl_limiter_sink sink;
    void *data;
    size_t budget;
    size_t handed;
};

/* False when the outlet is full: the record was not taken. */
static bool hand_over(struct outlet *outlet, struct pawl_limiter_shard *shard,
                      const struct pawl_window *record)
{
    if (outlet->budget == 0) {
        return false;
    }
    size_t size = pawl_record_save(record, outlet->now, outlet->scratch);

    if (!outlet->sink(outlet->data, outlet->scratch, size)) {
        return false;
    }
    outlet->budget -= size < outlet->budget ? size : outlet->budget;
    outlet->handed++;
    shard->metrics.collected++;
    return true;
}

/* Hand over the changed records of a page; false if the outlet is full. */
static bool collect_page(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                         struct pawl_slab_page *page, struct outlet *outlet)
{
    for (unsigned place = 0; place < pawl_slab_places(page); place++) {
        struct pawl_window *record = pawl_slab_record(page, place);

        if (record == NULL || (record->flags & PAWL_RECORD_DIRTY) == 0) {
            continue;
        }
        if (!hand_over(outlet, shard, record)) {
            return false;
        }
        record->flags &= (uint8_t)~PAWL_RECORD_DIRTY;
        if ((record->flags & PAWL_RECORD_RESET) != 0) {
            pawl_table_remove(limiter, shard, record);
        }
    }
    return true;
}

static enum pawl_status collect_dirty_locked(struct pawl_limiter *limiter,
                                             struct pawl_limiter_shard *shard,
                                             struct outlet *outlet)
{
    while (shard->slab.dirty != PAWL_ARENA_NONE) {
        struct pawl_slab_page *page = pawl_slab_page_at(&shard->slab, shard->slab.dirty);

        pawl_slab_hold(page); /* its last record may be a tombstone that goes */
        bool whole = collect_page(limiter, shard, page, outlet);

        if (whole) {
            pawl_slab_unmark(&shard->slab, page);
        }
        pawl_slab_unhold(&shard->slab, page);
        if (!whole) {
            return PAWL_EAGAIN;
        }
    }
    shard->unsaved_ns = 0;
    return PAWL_OK;
}

enum pawl_status pawl_limiter_collect_dirty(struct pawl_limiter *limiter, unsigned shard_index,
                                            size_t budget, struct pawl_instant now,
                                            uint8_t *scratch, pawl_limiter_sink sink, void *data,
                                            size_t *handed)
{
    struct pawl_limiter_shard *shard = &limiter->shards[shard_index & (limiter->shards_count - 1)];
    struct outlet outlet = { now, NULL, sink, data, budget, 0 };

    outlet.scratch = scratch;
    (void)pthread_mutex_lock(&shard->lock);
    enum pawl_status status = collect_dirty_locked(limiter, shard, &outlet);

    (void)pthread_mutex_unlock(&shard->lock);
    if (handed != NULL) {
        *handed = outlet.handed;
    }
    return status;
}

/* Pages are handed over whole: a page that was begun is finished, a little above the budget. */
static enum pawl_status collect_all_locked(const struct pawl_limiter *limiter,
                                           struct pawl_limiter_shard *shard, struct outlet *outlet)
{
    while (shard->slab.walk != PAWL_ARENA_NONE) {
        struct pawl_slab_page *page = pawl_slab_page_at(&shard->slab, shard->slab.walk);

        if (outlet->budget == 0) {
            return PAWL_EAGAIN;
        }
        for (unsigned place = 0; place < pawl_slab_places(page); place++) {
            const struct pawl_window *record = pawl_slab_record(page, place);

            if (record == NULL ||
                pawl_record_is_spent(record, outlet->now, pawl_table_wall(limiter))) {
                continue;
            }
            outlet->budget = outlet->budget > 0 ? outlet->budget : 1;
            if (!hand_over(outlet, shard, record)) {
                return PAWL_EAGAIN; /* this page again, from its start: the last one wins */
            }
        }
        shard->slab.walk = page->all_next;
    }
    return PAWL_OK;
}

enum pawl_status pawl_limiter_collect_all(struct pawl_limiter *limiter, unsigned shard_index,
                                          bool restart, size_t budget, struct pawl_instant now,
                                          uint8_t *scratch, pawl_limiter_sink sink, void *data,
                                          size_t *handed)
{
    struct pawl_limiter_shard *shard = &limiter->shards[shard_index & (limiter->shards_count - 1)];
    struct outlet outlet = { now, NULL, sink, data, budget, 0 };

    outlet.scratch = scratch;
    (void)pthread_mutex_lock(&shard->lock);
    if (restart) {
        shard->slab.walk = shard->slab.all;
    }
    enum pawl_status status = collect_all_locked(limiter, shard, &outlet);

    (void)pthread_mutex_unlock(&shard->lock);
    if (handed != NULL) {
        *handed = outlet.handed;
    }
    return status;
}

static bool collect_slot(struct pawl_limiter *limiter, const struct pawl_limiter_slot *slot,
                         struct outlet *outlet)
{
    struct pawl_limiter_shard *shard = pawl_slot_shard(limiter, slot);
    bool taken = true;

    (void)pthread_mutex_lock(&shard->lock);
    const struct pawl_window *record = pawl_table_find(limiter, shard, slot->id, slot->tag);

    if (record == NULL) {
        record = pawl_slot_find_cell(limiter, slot, outlet->now, pawl_table_wall(limiter));
    }
    if (record != NULL) {
        taken = hand_over(outlet, shard, record);
    }
    (void)pthread_mutex_unlock(&shard->lock);
    return taken;
}

enum pawl_status pawl_limiter_collect_item(struct pawl_limiter *limiter,
                                           const struct pawl_limit_item *item,
                                           struct pawl_instant now, uint8_t *scratch,
                                           pawl_limiter_sink sink, void *data)
{
    struct pawl_limiter_slot slots[PAWL_RATES_MAX];
    struct pawl_limiter_plan plan = { .slots = slots, .slots_max = PAWL_RATES_MAX };
    struct outlet outlet = { now, NULL, sink, data, SIZE_MAX, 0 };

    outlet.scratch = scratch;
    enum pawl_status status = pawl_limiter_resolve(limiter, item, 0, &plan);

    for (size_t i = 0; status == PAWL_OK && i < plan.slots_count; i++) {
        if (!collect_slot(limiter, &plan.slots[i], &outlet)) {
            status = PAWL_EAGAIN;
        }
    }
    return status;
}

bool pawl_limiter_unsaved_since(struct pawl_limiter *limiter, struct pawl_instant *since)
{
    uint64_t oldest = 0;

    for (unsigned i = 0; i < limiter->shards_count; i++) {
        struct pawl_limiter_shard *shard = &limiter->shards[i];

        (void)pthread_mutex_lock(&shard->lock);
        uint64_t unsaved = shard->unsaved_ns;

        (void)pthread_mutex_unlock(&shard->lock);
        if (unsaved != 0 && (oldest == 0 || unsaved < oldest)) {
            oldest = unsaved;
        }
    }
    since->ns = oldest;
    return oldest != 0;
}

/* ---- loading ---- */

/*
 * The new record takes the place of the old one only once it has memory of its own. It goes
 * through a place of the slab, so that a record which has nothing left costs nothing.
 */
enum pawl_status pawl_table_load(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                                 struct pawl_bytes bytes, const struct pawl_record_head *head,
                                 uint64_t elapsed_ms, struct pawl_instant now)
{
    uint32_t tag = pawl_table_tag(limiter, head->id);
    struct pawl_window *before = pawl_table_find(limiter, shard, head->id, tag);
    bool windowed = head->kind != PAWL_RECORD_GCRA && head->kind != PAWL_RECORD_CALENDAR;
    bool gone = (windowed && elapsed_ms >= head->window_ms) || (head->known && head->entries == 0);

    if (gone) {
        if (before != NULL) {
            pawl_table_remove(limiter, shard, before);
        }
        return PAWL_OK;
    }
    size_t size = pawl_record_size(head);

    if (before != NULL && (size_t)before->units * 8 < size) {
        before = pawl_table_grow(limiter, shard, before, size, false);
        if (before == NULL) {
            return PAWL_EFULL;
        }
    } else if (before == NULL) {
        before = pawl_table_create(limiter, shard, head->id, tag, size, PAWL_TABLE_CELL,
                                   head->window_ms, now);
        if (before == NULL) {
            return PAWL_EFULL;
        }
        if (head->cell) {
            before->flags |= PAWL_RECORD_CELL;
            shard->metrics.keys--;
            shard->metrics.cells++;
        }
    }
    uint8_t keep = before->flags & (PAWL_RECORD_CELL | PAWL_RECORD_DIRTY);

    pawl_record_load(before, (size_t)before->units * 8, bytes, head, elapsed_ms, now);
    before->flags = (uint8_t)((before->flags & ~PAWL_RECORD_CELL) | keep);
    shard->metrics.loaded++;
    if (before->length == 0) {
        pawl_table_remove(limiter, shard, before);
    }
    return PAWL_OK;
}

enum pawl_status pawl_limiter_load(struct pawl_limiter *limiter, struct pawl_bytes record,
                                   uint64_t elapsed_ms, struct pawl_instant now)
{
    struct pawl_record_head head;
    enum pawl_status status = pawl_record_check(record, &head);

    if (status != PAWL_OK) {
        return status;
    }
    struct pawl_limiter_shard *shard = &limiter->shards[pawl_table_shard(limiter, head.id)];

    (void)pthread_mutex_lock(&shard->lock);
    status = pawl_table_load(limiter, shard, record, &head, elapsed_ms, now);
    (void)pthread_mutex_unlock(&shard->lock);
    return status;
}
