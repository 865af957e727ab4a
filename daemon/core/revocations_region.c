/*
 * The life of a region of revocations: layout, attaching, pulse, mode, figures.
 */
#include "core/revocations.h"
#include "core/revocations_layout.h"

#include <string.h>

static uint64_t shard_bytes(uint32_t level_max)
{
    return 2 * SLOT_BYTES * ((UINT64_C(2) << level_max) - (UINT64_C(1) << LEVEL_MIN));
}

/*
 * The largest level a shard may need, if all entries are of one class (64 shards): its part of @max
 * and what chance adds to one shard
 * (8 deviations of a Poisson count; `spread` is at least 8 square roots), at 3/4 of 3/4.
 */
static uint32_t level_max_for(uint64_t max)
{
    uint64_t part = max / (PAWL_REVOCATIONS_SHARDS / 4) + 1;
    uint64_t spread = 16;
    uint32_t level = LEVEL_MIN;

    while (spread * spread < 64 * part) {
        spread *= 2;
    }
    while (level < LEVEL_TOP && part + spread > slots_allowed(level) / 4 * 3) {
        level++;
    }
    return level;
}

uint64_t pawl_revocations_size(uint64_t max)
{
    if (max == 0 || max > PAWL_REVOCATIONS_MAX_CAP) {
        return 0;
    }
    return AREAS_AT + PAWL_REVOCATIONS_SHARDS * shard_bytes(level_max_for(max));
}

static void view_init(struct pawl_revocations_view *view, const void *region)
{
    const struct pawl_revocations_header *header = region;

    view->base = region;
    view->header = header;
    view->level_min = header->level_min;
    view->level_max = header->level_max;
    view->shard_bytes = shard_bytes(header->level_max);
}

static void shards_init(struct pawl_revocations *table)
{
    for (unsigned i = 0; i < PAWL_REVOCATIONS_SHARDS; i++) {
        atomic_store_explicit(&descriptor_to_write(table, i)->word, UINT64_C(1) << 16 | LEVEL_MIN,
                              memory_order_relaxed);
        table->shards[i].until_min_s = UINT64_MAX;
        (void)pthread_mutex_init(&table->shards[i].mutex, NULL);
    }
}

enum pawl_status pawl_revocations_init(struct pawl_revocations *table, void *region, uint64_t size,
                                       const struct pawl_revocations_options *options)
{
    struct pawl_revocations_header *header = region;

    if (size == 0 || size != pawl_revocations_size(options->max) || region == NULL ||
        (uintptr_t)region % 64 != 0) {
        return PAWL_EINVAL;
    }
    memset(table, 0, sizeof(*table));
    table->header = header;
    table->release = options->release;
    table->user = options->user;
    header->layout = PAWL_REVOCATIONS_LAYOUT;
    header->shards = PAWL_REVOCATIONS_SHARDS;
    header->size_bytes = size;
    header->max = options->max;
    header->level_min = LEVEL_MIN;
    header->level_max = level_max_for(options->max);
    header->generation = options->generation;
    view_init(&table->view, region);
    shards_init(table);
    atomic_thread_fence(memory_order_release);
    header->magic = PAWL_REVOCATIONS_MAGIC;
    return PAWL_OK;
}

void pawl_revocations_deinit(struct pawl_revocations *table)
{
    for (unsigned i = 0; i < PAWL_REVOCATIONS_SHARDS; i++) {
        (void)pthread_mutex_destroy(&table->shards[i].mutex);
    }
    memset(table, 0, sizeof(*table));
}

enum pawl_status pawl_revocations_attach(struct pawl_revocations_view *view, const void *region,
                                         uint64_t size, uint64_t boottime_ms)
{
    const struct pawl_revocations_header *header = region;

    memset(view, 0, sizeof(*view));
    if (size < AREAS_AT || header->magic != PAWL_REVOCATIONS_MAGIC) {
        return PAWL_ECORRUPT;
    }
    if (header->layout != PAWL_REVOCATIONS_LAYOUT) {
        return PAWL_EVERSION;
    }
    if (header->size_bytes != size || size != pawl_revocations_size(header->max) ||
        header->shards != PAWL_REVOCATIONS_SHARDS || header->level_min != LEVEL_MIN ||
        header->level_max != level_max_for(header->max)) {
        return PAWL_ECORRUPT;
    }
    view_init(view, region);
    return pawl_revocations_alive(view, boottime_ms) ? PAWL_OK : PAWL_EUNAVAIL;
}

bool pawl_revocations_alive(const struct pawl_revocations_view *view, uint64_t boottime_ms)
{
    uint64_t pulse_ms = atomic_load_explicit(&view->header->pulse_ms, memory_order_acquire);

    /* A beat from the future is one of an earlier boot: not ours. One interval of grace, because
     * the reader's time was taken before the beat was read. */
    return pulse_ms != 0 && pulse_ms <= boottime_ms + PAWL_REVOCATIONS_PULSE_STALE_MS &&
           boottime_ms <= pulse_ms + PAWL_REVOCATIONS_PULSE_STALE_MS;
}

void pawl_revocations_pulse(struct pawl_revocations *table, uint64_t boottime_ms)
{
    atomic_store_explicit(&table->header->pulse_ms, boottime_ms, memory_order_release);
}

void pawl_revocations_synced(struct pawl_revocations *table, uint64_t boottime_ms)
{
    atomic_store_explicit(&table->header->synced_ms, boottime_ms, memory_order_release);
}

uint64_t pawl_revocations_staleness_ms(const struct pawl_revocations_view *view,
                                       uint64_t boottime_ms)
{
    uint64_t synced_ms = atomic_load_explicit(&view->header->synced_ms, memory_order_acquire);

    if (synced_ms == 0) {
        return UINT64_MAX;
    }
    return synced_ms >= boottime_ms ? 0 : boottime_ms - synced_ms;
}

void pawl_revocations_set_mode(struct pawl_revocations *table, enum pawl_revocations_mode mode)
{
    atomic_store_explicit(&table->header->mode, (uint32_t)mode, memory_order_release);
}

void pawl_revocations_set_floor(struct pawl_revocations *table, uint64_t floor_ms)
{
    atomic_store_explicit(&table->header->floor_ms, floor_ms, memory_order_release);
}

enum pawl_revocations_mode pawl_revocations_get_mode(const struct pawl_revocations_view *view)
{
    return (enum pawl_revocations_mode)atomic_load_explicit(&view->header->mode,
                                                            memory_order_acquire);
}

uint64_t pawl_revocations_newborn_ms(const struct pawl_revocations_view *view)
{
    uint64_t largest_ms = atomic_load_explicit(&view->header->cutoff_max_ms, memory_order_acquire);
    uint64_t floor_ms = pawl_revocations_floor_ms(view);

    if (floor_ms > largest_ms) {
        largest_ms = floor_ms;
    }
    return largest_ms == 0 ? 0 : largest_ms + 1;
}

void pawl_revocations_born(struct pawl_revocations *table, uint64_t birth_ms)
{
    raise_to(&table->header->birth_max_ms, birth_ms);
}

uint64_t pawl_revocations_birth_max_ms(const struct pawl_revocations_view *view)
{
    return atomic_load_explicit(&view->header->birth_max_ms, memory_order_acquire);
}

void pawl_revocations_get_stats(struct pawl_revocations *table,
                                struct pawl_revocations_stats *stats)
{
    memset(stats, 0, sizeof(*stats));
    for (unsigned i = 0; i < PAWL_REVOCATIONS_SHARDS; i++) {
        struct pawl_revocations_shard *shard = &table->shards[i];

        (void)pthread_mutex_lock(&shard->mutex);
        stats->entries += shard->live;
        stats->slots += UINT64_C(1) << (atomic_load_explicit(&descriptor_of(&table->view, i)->word,
                                                             memory_order_relaxed) &
                                        0xff);
        stats->rebuilds += shard->rebuilds;
        stats->dropped += shard->dropped;
        stats->refused += shard->refused;
        (void)pthread_mutex_unlock(&shard->mutex);
    }
}
