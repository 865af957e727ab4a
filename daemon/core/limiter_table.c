#include "core/limiter_table.h"

#include <string.h>

#define INDEX_ORDER_FIRST 0  /* one page: see PAWL_TABLE_SHIFT_FIRST */
#define SWEEP_WHEN_SHORT  16 /* places looked at by a check that finds no room */

static unsigned order_of_index(const struct pawl_limiter_shard *shard)
{
    return pawl_arena_order(pawl_table_places(shard) * sizeof(uint64_t));
}

static uint64_t entry_of(const struct pawl_limiter *limiter, const struct pawl_window *record,
                         uint32_t tag)
{
    size_t offset = (size_t)((const uint8_t *)record - limiter->arena.base);

    return (uint64_t)tag << 32 | (uint32_t)(offset / 8);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): stored, and written through later */
static void set_index(struct pawl_limiter_shard *shard, uint64_t *index, uint32_t shift)
{
    __atomic_store_n(&shard->index, index, __ATOMIC_RELAXED);
    __atomic_store_n(&shard->index_shift, shift, __ATOMIC_RELAXED);
}

enum pawl_status pawl_shard_init(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard)
{
    uint32_t page = pawl_arena_take(&limiter->arena, INDEX_ORDER_FIRST, 0);

    memset(shard, 0, sizeof(*shard));
    if (page == PAWL_ARENA_NONE) {
        return PAWL_EINVAL;
    }
    memset(pawl_arena_at(&limiter->arena, page), 0, PAWL_ARENA_PAGE << INDEX_ORDER_FIRST);
    set_index(shard, pawl_arena_at(&limiter->arena, page), PAWL_TABLE_SHIFT_FIRST);
    pawl_slab_init(&shard->slab, &limiter->arena);
    shard->tickets = limiter->salt[0]; /* handles of another life are not to come again */
    return pthread_mutex_init(&shard->lock, NULL) == 0 ? PAWL_OK : PAWL_ENOMEM;
}

void pawl_shard_deinit(struct pawl_limiter_shard *shard)
{
    (void)pthread_mutex_destroy(&shard->lock);
}

/* ---- index ---- */

void pawl_table_prefetch_record(const struct pawl_limiter *limiter,
                                const struct pawl_limiter_shard *shard, uint32_t tag)
{
    size_t mask = pawl_table_places(shard) - 1;

    for (size_t place = tag >> shard->index_shift; shard->index[place] != 0;
         place = (place + 1) & mask) {
        if (shard->index[place] >> 32 == tag) {
            const struct pawl_window *record = pawl_table_record(limiter, shard->index[place]);

            __builtin_prefetch(record, 1);
            __builtin_prefetch(
                (const void *)((uintptr_t)record & ~(uintptr_t)(PAWL_ARENA_PAGE - 1)), 1);
            return;
        }
    }
}

static void index_insert(struct pawl_limiter_shard *shard, uint64_t entry)
{
    size_t mask = pawl_table_places(shard) - 1;
    size_t place = (size_t)(entry >> 32) >> shard->index_shift;

    while (shard->index[place] != 0) {
        place = (place + 1) & mask;
    }
    shard->index[place] = entry;
}

/* Close the gap at @hole: entries behind it that would be found earlier move up. */
static void index_erase(struct pawl_limiter_shard *shard, size_t hole)
{
    size_t mask = pawl_table_places(shard) - 1;

    for (size_t place = (hole + 1) & mask; shard->index[place] != 0; place = (place + 1) & mask) {
        size_t home = (size_t)(shard->index[place] >> 32) >> shard->index_shift;

        if (((place - home) & mask) >= ((place - hole) & mask)) {
            shard->index[hole] = shard->index[place];
            hole = place;
        }
    }
    shard->index[hole] = 0;
    shard->index_used--;
}

static bool index_double(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                         uint32_t reserve)
{
    size_t places = pawl_table_places(shard);
    unsigned order = order_of_index(shard);
    uint64_t *before = shard->index;
    uint32_t page;

    if (shard->index_shift <= 1) {
        return false;
    }
    page = pawl_arena_take(&limiter->arena, order + 1, reserve);
    if (page == PAWL_ARENA_NONE) {
        return false;
    }
    memset(pawl_arena_at(&limiter->arena, page), 0, places * 2 * sizeof(uint64_t));
    set_index(shard, pawl_arena_at(&limiter->arena, page), shard->index_shift - 1);
    for (size_t place = 0; place < places; place++) {
        if (before[place] != 0) {
            index_insert(shard, before[place]);
        }
    }
    shard->hand *= 2; /* entries keep their order, about */
    pawl_arena_give(&limiter->arena, pawl_arena_page_of(&limiter->arena, before), order);
    return true;
}

/*
 * Keys stop at 7/8, so that cells always find a place; cells grow the index out of the reserve only
 * when it is nearly full. An empty place always stays: look-ups end there.
 */
static bool index_has_room(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                           enum pawl_table_need need)
{
    size_t places = pawl_table_places(shard);
    size_t used = (size_t)shard->index_used + 1;

    if (PAWL_LIKELY(used <= places / 4 * 3) ||
        index_double(limiter, shard, limiter->reserve_pages)) {
        return true;
    }
    if (need == PAWL_TABLE_KEY) {
        return used <= places / 8 * 7;
    }
    return used <= places / 16 * 15 || index_double(limiter, shard, 0) ||
           used <= places - places / 64;
}

/* ---- records ---- */

static void count_record(struct pawl_limiter_shard *shard, const struct pawl_window *record,
                         int64_t by)
{
    if ((record->flags & PAWL_RECORD_CELL) != 0) {
        shard->metrics.cells += (uint64_t)by;
    } else {
        shard->metrics.keys += (uint64_t)by;
    }
}

static struct pawl_window *try_create(struct pawl_limiter *limiter,
                                      struct pawl_limiter_shard *shard, size_t bytes,
                                      enum pawl_table_need need, size_t *size)
{
    if (!index_has_room(limiter, shard, need)) {
        return NULL;
    }
    return pawl_slab_take(&shard->slab, bytes, need == PAWL_TABLE_KEY ? limiter->reserve_pages : 0,
                          size);
}

struct pawl_window *pawl_table_create(struct pawl_limiter *limiter,
                                      struct pawl_limiter_shard *shard, struct pawl_id id,
                                      uint32_t tag, size_t bytes, enum pawl_table_need need,
                                      uint32_t window_ms, struct pawl_instant now)
{
    size_t size = 0;
    struct pawl_window *record = try_create(limiter, shard, bytes, need, &size);

    if (PAWL_UNLIKELY(record == NULL)) {
        if (pawl_table_sweep(limiter, shard, SWEEP_WHEN_SHORT, now) == 0) {
            return NULL;
        }
        record = try_create(limiter, shard, bytes, need, &size);
        if (record == NULL) {
            return NULL;
        }
    }
    pawl_window_init(record, size, id, window_ms, now);
    index_insert(shard, entry_of(limiter, record, tag));
    shard->index_used++;
    shard->metrics.keys++;
    return record;
}

struct pawl_window *pawl_table_grow(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                                    struct pawl_window *record, size_t bytes, bool wide)
{
    size_t size = 0;
    struct pawl_window *to = pawl_slab_take(&shard->slab, bytes, 0, &size);

    if (to == NULL) {
        return NULL;
    }
    uint32_t tag = pawl_table_tag(limiter, record->id);
    size_t place;

    (void)pawl_table_seek(limiter, shard, record->id, tag, &place);
    pawl_record_move(to, size, record, wide);
    shard->index[place] = entry_of(limiter, to, tag);
    if ((to->flags & PAWL_RECORD_DIRTY) != 0) {
        pawl_slab_mark(&shard->slab, to);
    }
    pawl_slab_give(&shard->slab, record);
    return to;
}

static void remove_at(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard, size_t place)
{
    struct pawl_window *record = pawl_table_record(limiter, shard->index[place]);

    count_record(shard, record, -1);
    index_erase(shard, place);
    pawl_slab_give(&shard->slab, record);
}

void pawl_table_remove(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                       struct pawl_window *record)
{
    size_t place;

    (void)pawl_table_seek(limiter, shard, record->id, pawl_table_tag(limiter, record->id), &place);
    remove_at(limiter, shard, place);
}

void pawl_table_dirty(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                      struct pawl_window *record, struct pawl_instant now)
{
    if (!limiter->persist || (record->flags & PAWL_RECORD_DIRTY) != 0) {
        return;
    }
    if (shard->unsaved_ns == 0) {
        shard->unsaved_ns = now.ns != 0 ? now.ns : 1;
    }
    record->flags |= PAWL_RECORD_DIRTY;
    pawl_slab_mark(&shard->slab, record);
}

/* A record whose reset the saver has not heard of has to stay until it has. */
static bool may_free(const struct pawl_limiter *limiter, const struct pawl_window *record,
                     struct pawl_instant now)
{
    const unsigned held = PAWL_RECORD_DIRTY | PAWL_RECORD_RESET;

    if ((record->flags & PAWL_RECORD_PINNED) != 0 ||
        (limiter->persist && (record->flags & held) == held)) {
        return false;
    }
    return pawl_record_is_spent(record, now, pawl_table_wall(limiter));
}

size_t pawl_table_sweep(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                        size_t budget, struct pawl_instant now)
{
    size_t mask = pawl_table_places(shard) - 1;
    size_t freed = 0;

    for (size_t i = 0; i < budget; i++) {
        size_t ahead = (shard->hand + 4U) & mask;
        uint64_t entry = shard->index[shard->hand & mask];

        if (shard->index[ahead] != 0) {
            __builtin_prefetch(pawl_table_record(limiter, shard->index[ahead]));
        }
        shard->metrics.sweeps += entry != 0 ? 1 : 0;
        if (entry != 0 && may_free(limiter, pawl_table_record(limiter, entry), now)) {
            remove_at(limiter, shard, shard->hand & mask); /* another may have moved here */
            freed++;
        } else {
            shard->hand = (uint32_t)((shard->hand + 1U) & mask);
        }
    }
    shard->metrics.expired += freed;
    return freed;
}

/* Give the record the room that a charge would like, if there is any. */
static struct pawl_window *make_room(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                                     struct pawl_window *record, unsigned precision, uint64_t cost)
{
    bool wide = false;
    size_t bytes = pawl_window_wants(record, precision, cost, &wide);
    struct pawl_window *grown =
        bytes != 0 ? pawl_table_grow(limiter, shard, record, bytes, wide) : record;

    if (grown == NULL) {
        shard->metrics.squeezed++;
        return record;
    }
    return grown;
}

struct pawl_window *pawl_table_charge(struct pawl_limiter *limiter,
                                      struct pawl_limiter_shard *shard, struct pawl_window *record,
                                      unsigned precision, uint64_t cost, struct pawl_instant now,
                                      uint64_t *event_ms)
{
    if (PAWL_UNLIKELY(!pawl_window_charge_simply(record, precision, cost, event_ms))) {
        record = make_room(limiter, shard, record, precision, cost);
        *event_ms = pawl_window_charge(record, precision, cost);
    }
    pawl_table_charged(limiter, shard, record, now);
    return record;
}

/* Apart from its caller, which nearly always is done without. */
static __attribute__((noinline, cold)) void become_sliding(struct pawl_limiter *limiter,
                                                           struct pawl_limiter_shard *shard,
                                                           struct pawl_window *record,
                                                           const struct pawl_rate *rate,
                                                           struct pawl_instant now)
{
    struct pawl_terms terms = { .kind = PAWL_RECORD_SLIDING, .rate = *rate };

    (void)pawl_record_touch(record, &terms, now, pawl_table_wall(limiter));
    pawl_table_dirty(limiter, shard, record, now);
}

void pawl_table_touch(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                      struct pawl_window *record, const struct pawl_rate *rate,
                      struct pawl_instant now)
{
    if (PAWL_UNLIKELY(record->kind != PAWL_RECORD_BYTE_SLIDING)) {
        become_sliding(limiter, shard, record, rate, now);
    }
    if (PAWL_UNLIKELY(record->window_ms != rate->window_ms && record->length > 0)) {
        pawl_table_dirty(limiter, shard, record, now);
    }
    pawl_window_advance(record, rate->window_ms, now);
}

struct pawl_window *pawl_table_find_cell(struct pawl_limiter *limiter,
                                         struct pawl_limiter_shard *shard,
                                         const struct pawl_limiter_slot *slot,
                                         struct pawl_instant now)
{
    const struct pawl_rate *rate = pawl_slot_rate(slot);
    struct pawl_rate kept = *rate;
    struct pawl_window_answer answer;
    struct pawl_id id = pawl_table_cell_id(slot->limit, slot->rate_index, slot->id);
    struct pawl_window *cell = pawl_table_find(limiter, shard, id, pawl_table_tag(limiter, id));

    if (cell == NULL) {
        return NULL;
    }
    if (slot->limit->inline_rates && cell->length > 0 && cell->window_ms > rate->window_ms) {
        kept.window_ms = cell->window_ms; /* the pool keeps what the longest asked needs */
    }
    pawl_table_touch(limiter, shard, cell, &kept, now);
    (void)pawl_window_ask(cell, rate, 0, &answer);
    return answer.count > 0 ? cell : NULL;
}
