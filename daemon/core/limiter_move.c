/* Slots that come and go: records joined, walked by slot, marked and forgotten. */
#include "core/limiter_slots.h"
#include "core/octets.h"
#include "core/record_join.h"

#include <string.h>

#define WALK_RECORDS 256  /* looked at before the shard's lock is let go for a moment */
#define WALK_PLACES  4096 /* of the index, the same */

static struct pawl_limiter_shard *bundle_of(const struct pawl_limiter *limiter, unsigned bundle)
{
    return &limiter->shards[bundle & (limiter->shards_count - 1)];
}

static bool in_set(uint64_t set, struct pawl_id id)
{
    return (set >> (id.lo & (PAWL_LIMITER_CELLS - 1)) / PAWL_LIMITER_BUNDLES & 1) != 0;
}

struct pawl_id pawl_limiter_record_id(const uint8_t *record)
{
    struct pawl_id id = { pawl_get_le(record + 8, 8), pawl_get_le(record + 16, 8) };

    return id;
}

/* ---- joining ---- */

/* Only the saver's deletion is outstanding: nothing is counted here. */
static bool is_tombstone(const struct pawl_window *record)
{
    const unsigned both = PAWL_RECORD_DIRTY | PAWL_RECORD_RESET;

    return (record->flags & both) == both;
}

static void make_tombstone(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                           const struct pawl_record_head *head, struct pawl_instant now)
{
    struct pawl_window *record =
        pawl_table_create(limiter, shard, head->id, pawl_table_tag(limiter, head->id),
                          PAWL_WINDOW_BYTES_MIN, PAWL_TABLE_CELL, head->window_ms, now);

    if (record != NULL) {
        record->flags |= PAWL_RECORD_RESET;
        pawl_table_dirty(limiter, shard, record, now);
    }
}

/* Two records of which nobody can say what they come to together: the next rate finds all used. */
static void use_up(struct pawl_window *record, uint32_t window_ms, struct pawl_instant now)
{
    uint8_t saved[PAWL_RECORD_HEAD_BYTES] = { 15 << 4 | PAWL_RECORD_VERSION }; /* of the future */
    struct pawl_record_head head = { .kind = 15, .id = record->id };
    struct pawl_instant seen = { now.ns > record->seen_ns ? now.ns : record->seen_ns };
    uint8_t keep = record->flags;

    head.window_ms = record->window_ms > window_ms ? record->window_ms : window_ms;
    pawl_window_load(record, (size_t)record->units * 8, pawl_bytes_of(saved, sizeof(saved)), &head,
                     0, seen);
    record->flags |= keep & (PAWL_RECORD_CELL | PAWL_RECORD_DIRTY);
}

/* There is no memory for the union: what comes is charged to what is here, as of now. */
static void join_tight(struct pawl_window *record, const struct pawl_join_side *side,
                       struct pawl_instant now)
{
    uint32_t window_ms = side->head->window_ms;
    uint64_t total;

    if (side->head->kind != PAWL_RECORD_SLIDING) {
        use_up(record, window_ms, now);
        return;
    }
    total = pawl_window_join_total(side);
    pawl_window_advance(record, record->window_ms > window_ms ? record->window_ms : window_ms, now);
    if (total > 0) {
        (void)pawl_window_charge(record, PAWL_PRECISION_MAX,
                                 total < PAWL_COUNT_MAX ? total : PAWL_COUNT_MAX);
    }
}

/* Unite the entries of @record with those of @side. */
static void join_entries(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                         struct pawl_window *record, const struct pawl_join_side *side,
                         struct pawl_instant now, uint8_t *scratch)
{
    struct pawl_instant seen = { now.ns > record->seen_ns ? now.ns : record->seen_ns };
    uint8_t *joined = scratch + PAWL_RECORD_BYTES_MAX;
    size_t size = pawl_record_save(record, seen, scratch);
    struct pawl_record_head heads[2];
    struct pawl_join_side mine = { pawl_bytes_of(scratch, size), &heads[0], 0 };
    enum pawl_status status = pawl_record_check(mine.bytes, &heads[0]);

    if (status == PAWL_OK) {
        size = side->head->kind == PAWL_RECORD_SLIDING ? pawl_window_join(&mine, side, joined)
                                                       : pawl_slots_join(&mine, side, joined);
        status = pawl_record_check(pawl_bytes_of(joined, size), &heads[1]);
    }
    if (status == PAWL_OK) {
        status = pawl_table_load(limiter, shard, pawl_bytes_of(joined, size), &heads[1], 0, seen);
    }
    if (status != PAWL_OK) {
        join_tight(record, side, seen);
    }
}

static void join_both(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                      struct pawl_window *record, const struct pawl_join_side *side,
                      struct pawl_instant now, uint8_t *scratch)
{
    const uint8_t *body = side->bytes.data + PAWL_RECORD_HEAD_BYTES;

    if (!side->head->known ||
        record->kind != pawl_record_byte((enum pawl_record_kind)side->head->kind)) {
        use_up(record, side->head->window_ms, now);
    } else if (side->head->kind == PAWL_RECORD_GCRA) {
        pawl_gcra_join(record, body, side->head->window_ms, side->elapsed_ms, now);
    } else if (side->head->kind == PAWL_RECORD_CALENDAR) {
        pawl_quota_join(record, body, side->elapsed_ms, now, pawl_table_wall(limiter));
    } else {
        join_entries(limiter, shard, record, side, now, scratch);
    }
}

static enum pawl_status join_locked(struct pawl_limiter *limiter, struct pawl_limiter_shard *shard,
                                    const struct pawl_join_side *side, enum pawl_join join,
                                    struct pawl_instant now, uint8_t *scratch)
{
    const struct pawl_record_head *head = side->head;
    uint32_t tag = pawl_table_tag(limiter, head->id);
    struct pawl_window *record = pawl_table_find(limiter, shard, head->id, tag);
    bool windowed = head->kind != PAWL_RECORD_GCRA && head->kind != PAWL_RECORD_CALENDAR;
    enum pawl_status status = PAWL_OK;
    bool dirty = join == PAWL_JOIN_GIVEN;

    if (head->known && head->entries == 0) {
        if (record == NULL && dirty && limiter->persist) {
            make_tombstone(limiter, shard, head, now);
        }
        return PAWL_OK;
    }
    if ((windowed && side->elapsed_ms >= head->window_ms) ||
        (record != NULL && is_tombstone(record) && !dirty)) {
        return PAWL_OK; /* left; or forgotten here after it was saved */
    }
    if (record == NULL || record->length == 0 ||
        pawl_record_is_spent(record, now, pawl_table_wall(limiter))) {
        status = pawl_table_load(limiter, shard, side->bytes, head, side->elapsed_ms, now);
    } else {
        join_both(limiter, shard, record, side, now, scratch);
        dirty = true;
    }
    record = pawl_table_find(limiter, shard, head->id, tag); /* it may have moved */
    if (dirty && record != NULL) {
        pawl_table_dirty(limiter, shard, record, now);
    }
    return status;
}

enum pawl_status pawl_limiter_join(struct pawl_limiter *limiter, struct pawl_bytes record,
                                   uint64_t elapsed_ms, enum pawl_join join,
                                   struct pawl_instant now, uint8_t *scratch)
{
    struct pawl_record_head head;
    enum pawl_status status = pawl_record_check(record, &head);
    struct pawl_join_side side = { record, &head, elapsed_ms };

    if (status != PAWL_OK) {
        return status;
    }
    struct pawl_limiter_shard *shard = &limiter->shards[pawl_table_shard(limiter, head.id)];

    (void)pthread_mutex_lock(&shard->lock);
    status = join_locked(limiter, shard, &side, join, now, scratch);
    (void)pthread_mutex_unlock(&shard->lock);
    return status;
}

/* ---- walking ---- */

enum walk_act {
    WALK_HAND,
    WALK_TAKE, /* hand over, then forget */
    WALK_MARK,
    WALK_FORGET,
};

struct walk {
    struct pawl_limiter *limiter;
    struct pawl_limiter_shard *shard;
    enum walk_act act;
    uint64_t set;
    uint64_t at; /* pawl_table_mix() of the next one, or more */
    bool ended;
    bool full; /* the sink took no more */
    size_t budget;
    struct pawl_instant now;
    uint8_t *scratch;
    pawl_limiter_sink sink;
    void *data;
    size_t count; /* acted upon */
};

/*
 * The first record from walk->at on, in the order of pawl_table_mix(). Its high bits are the home
 * of an entry in the index, which lies there or behind, before the next empty place: so the order
 * is the same whatever comes, goes, or makes the index grow. NULL: none within WALK_PLACES places
 * (walk->at says how far), or at all (walk->ended).
 */
static struct pawl_window *walk_next(struct walk *walk)
{
    const struct pawl_limiter_shard *shard = walk->shard;
    size_t mask = pawl_table_places(shard) - 1;
    unsigned shift = 32 + shard->index_shift;
    size_t last = (size_t)(walk->at >> shift) + WALK_PLACES;

    for (size_t home = (size_t)(walk->at >> shift); home <= mask; home++) {
        struct pawl_window *best = NULL;
        uint64_t best_at = UINT64_MAX;

        if (home >= last) {
            walk->at = (uint64_t)home << shift;
            return NULL;
        }
        for (size_t place = home; shard->index[place] != 0; place = (place + 1) & mask) {
            if ((shard->index[place] >> 32) >> shard->index_shift != home) {
                continue;
            }
            struct pawl_window *record = pawl_table_record(walk->limiter, shard->index[place]);
            uint64_t at = pawl_table_mix(walk->limiter, record->id);

            if (at >= walk->at && (best == NULL || at < best_at)) {
                best = record;
                best_at = at;
            }
        }
        if (best != NULL) {
            walk->at = best_at;
            return best;
        }
    }
    walk->ended = true;
    return NULL;
}

/* Hand out what @record holds; false: no room for it now. */
static bool walk_save(struct walk *walk, struct pawl_window *record)
{
    if (walk->budget == 0) {
        return false;
    }
    size_t size = pawl_record_save(record, walk->now, walk->scratch);

    if (!walk->sink(walk->data, walk->scratch, size)) {
        return false;
    }
    walk->budget -= size < walk->budget ? size : walk->budget;
    walk->shard->metrics.collected++;
    walk->count++;
    return true;
}

static bool walk_hand(struct walk *walk, struct pawl_window *record)
{
    if (!is_tombstone(record) &&
        pawl_record_is_spent(record, walk->now, pawl_table_wall(walk->limiter))) {
        return true;
    }
    if (!walk_save(walk, record)) {
        return false;
    }
    if (walk->act == WALK_TAKE) {
        pawl_table_remove(walk->limiter, walk->shard, record);
    }
    return true;
}

/* False when the sink is full. */
static bool walk_act(struct walk *walk, struct pawl_window *record)
{
    switch (walk->act) {
    case WALK_MARK:
        if (!pawl_record_is_spent(record, walk->now, pawl_table_wall(walk->limiter))) {
            pawl_table_dirty(walk->limiter, walk->shard, record, walk->now);
            if (walk->shard->unsaved_ns > walk->now.ns) { /* dirty since then, not since now */
                walk->shard->unsaved_ns = walk->now.ns;
            }
            walk->count++;
        }
        return true;
    case WALK_FORGET:
        pawl_table_remove(walk->limiter, walk->shard, record);
        walk->count++;
        return true;
    default:
        return walk_hand(walk, record);
    }
}

/* A stretch under the lock. */
static void walk_some(struct walk *walk)
{
    for (unsigned i = 0; i < WALK_RECORDS && !walk->ended; i++) {
        struct pawl_window *record = walk_next(walk);

        if (record == NULL) {
            return;
        }
        if (in_set(walk->set, record->id) && !walk_act(walk, record)) {
            walk->full = true;
            return;
        }
        walk->ended = walk->at == UINT64_MAX;
        walk->at++;
    }
}

static void walk_all(struct walk *walk)
{
    while (!walk->ended && !walk->full) {
        (void)pthread_mutex_lock(&walk->shard->lock);
        walk_some(walk);
        (void)pthread_mutex_unlock(&walk->shard->lock);
    }
}

enum pawl_status pawl_limiter_collect_slots(struct pawl_limiter *limiter, unsigned bundle,
                                            uint64_t set, bool take, uint64_t *cursor,
                                            size_t budget, struct pawl_instant now,
                                            uint8_t *scratch, pawl_limiter_sink sink, void *data,
                                            size_t *handed)
{
    struct walk walk = { .limiter = limiter,
                         .shard = bundle_of(limiter, bundle),
                         .act = take ? WALK_TAKE : WALK_HAND,
                         .set = set,
                         .at = *cursor,
                         .budget = budget,
                         .now = now,
                         .sink = sink,
                         .data = data };

    walk.scratch = scratch;
    walk_all(&walk);
    *cursor = walk.at;
    if (handed != NULL) {
        *handed = walk.count;
    }
    return walk.ended ? PAWL_OK : PAWL_EAGAIN;
}

size_t pawl_limiter_mark_slots(struct pawl_limiter *limiter, unsigned bundle, uint64_t set,
                               struct pawl_instant now)
{
    struct walk walk = { .limiter = limiter,
                         .shard = bundle_of(limiter, bundle),
                         .act = WALK_MARK,
                         .set = set,
                         .now = now };

    walk_all(&walk);
    return walk.count;
}

size_t pawl_limiter_forget_slots(struct pawl_limiter *limiter, unsigned bundle, uint64_t set)
{
    struct walk walk = {
        .limiter = limiter, .shard = bundle_of(limiter, bundle), .act = WALK_FORGET, .set = set
    };

    walk_all(&walk);
    return walk.count;
}

/* ---- what changed ---- */

/* Hand over what is dirty in a page, of the slots of @walk; @left: some of others is. */
static bool page_dirty(struct walk *walk, struct pawl_slab_page *page, bool *left)
{
    *left = false;
    for (unsigned place = 0; place < pawl_slab_places(page); place++) {
        struct pawl_window *record = pawl_slab_record(page, place);

        if (record == NULL || (record->flags & PAWL_RECORD_DIRTY) == 0) {
            continue;
        }
        if (!in_set(walk->set, record->id)) {
            *left = true;
            continue;
        }
        if (!walk_save(walk, record)) {
            return false;
        }
        record->flags &= (uint8_t)~PAWL_RECORD_DIRTY;
        if ((record->flags & PAWL_RECORD_RESET) != 0) {
            pawl_table_remove(walk->limiter, walk->shard, record);
        }
    }
    return true;
}

static enum pawl_status dirty_locked(struct walk *walk)
{
    struct pawl_slab *slab = &walk->shard->slab;
    uint32_t number = slab->dirty;

    while (number != PAWL_ARENA_NONE) {
        struct pawl_slab_page *page = pawl_slab_page_at(slab, number);
        uint32_t next = page->dirty_next;
        bool left;

        pawl_slab_hold(page); /* its last record may be a tombstone that goes */
        bool whole = page_dirty(walk, page, &left);

        if (whole && !left) {
            pawl_slab_unmark(slab, page);
        }
        pawl_slab_unhold(slab, page);
        if (!whole) {
            return PAWL_EAGAIN;
        }
        number = next;
    }
    walk->shard->unsaved_ns = slab->dirty == PAWL_ARENA_NONE ? 0 : walk->now.ns;
    return PAWL_OK;
}

enum pawl_status pawl_limiter_collect_dirty_slots(struct pawl_limiter *limiter, unsigned bundle,
                                                  uint64_t set, size_t budget,
                                                  struct pawl_instant now, uint8_t *scratch,
                                                  pawl_limiter_sink sink, void *data,
                                                  size_t *handed)
{
    struct walk walk = { .limiter = limiter,
                         .shard = bundle_of(limiter, bundle),
                         .set = set,
                         .budget = budget,
                         .now = now,
                         .sink = sink,
                         .data = data };

    walk.scratch = scratch;
    (void)pthread_mutex_lock(&walk.shard->lock);
    enum pawl_status status = dirty_locked(&walk);

    (void)pthread_mutex_unlock(&walk.shard->lock);
    if (handed != NULL) {
        *handed = walk.count;
    }
    return status;
}

bool pawl_limiter_bundle_unsaved(struct pawl_limiter *limiter, unsigned bundle,
                                 struct pawl_instant *since)
{
    struct pawl_limiter_shard *shard = bundle_of(limiter, bundle);

    (void)pthread_mutex_lock(&shard->lock);
    bool dirty = shard->slab.dirty != PAWL_ARENA_NONE;

    since->ns = shard->unsaved_ns;
    (void)pthread_mutex_unlock(&shard->lock);
    return dirty;
}

/* ---- one record ---- */

bool pawl_limiter_collect_id(struct pawl_limiter *limiter, struct pawl_id id,
                             struct pawl_instant now, uint8_t *scratch, pawl_limiter_sink sink,
                             void *data)
{
    struct pawl_limiter_shard *shard = &limiter->shards[pawl_table_shard(limiter, id)];

    (void)pthread_mutex_lock(&shard->lock);
    const struct pawl_window *record =
        pawl_table_find(limiter, shard, id, pawl_table_tag(limiter, id));
    bool taken = record != NULL && sink(data, scratch, pawl_record_save(record, now, scratch));

    (void)pthread_mutex_unlock(&shard->lock);
    return taken;
}

bool pawl_limiter_holds(struct pawl_limiter *limiter, struct pawl_id id, struct pawl_instant now)
{
    struct pawl_limiter_shard *shard = &limiter->shards[pawl_table_shard(limiter, id)];

    (void)pthread_mutex_lock(&shard->lock);
    const struct pawl_window *record =
        pawl_table_find(limiter, shard, id, pawl_table_tag(limiter, id));
    bool holds = record != NULL && (is_tombstone(record) ||
                                    !pawl_record_is_spent(record, now, pawl_table_wall(limiter)));

    (void)pthread_mutex_unlock(&shard->lock);
    return holds;
}
