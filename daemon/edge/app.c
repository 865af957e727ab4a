#include "edge/app.h"

#include "edge/cluster_world.h"
#include "edge/watch.h"

#include <stdio.h>
#include <string.h>

#define SWEEP_SHARDS  8    /* shards looked at in one tick */
#define SWEEP_BUDGET  512  /* places of the index looked at in each */
#define LEASE_BUDGET  4096 /* places of the leases looked at in one tick */
#define FLOOR_SLACK_S 3600 /* as long as any cutoff is kept past the longest life */

/* ---- what the store hands over ------------------------------------------------------------- */

void pawl_app_on_fact(void *self, const struct pawl_fact *fact)
{
    struct pawl_app *app = self;

    pawl_watch_on_fact(app);
    if (!pawl_fact_is_known(fact) || fact->kind == PAWL_FACT_CANCEL) {
        return; /* kept and passed on by the store; says nothing to this version's table */
    }
    if (fact->at_ms >= app->started_ms || app->test_clock) { /* not those of the load */
        pawl_observe_revoked(app->observe, fact, fact->at_ms);
    }
    enum pawl_status status = pawl_revocations_apply(app->revocations, &app->keys->facts, fact,
                                                     atomic_load(&app->slow_s));

    if (status != PAWL_OK &&
        atomic_fetch_add_explicit(&app->facts_refused, 1, memory_order_relaxed) == 0) {
        pawl_log_event(app->log, PAWL_LOG_ERROR, "revocation_table_refused",
                       PAWL_F_TEXT("why", pawl_status_text(status)),
                       PAWL_F_TEXT("do", "raise revocations_max and restart"));
    }
    if (status != PAWL_OK) {
        /* A fact that the table cannot hold must not read as "valid". */
        pawl_revocations_set_mode(app->revocations, PAWL_REVOCATIONS_FROZEN);
    }
}

void pawl_app_on_cancel(void *self, const struct pawl_fact *canceled,
                        const struct pawl_fact *remaining)
{
    struct pawl_app *app = self;
    struct pawl_revocation rest = { PAWL_REASON_NONE, 0, 0 };

    pawl_watch_on_fact(app);
    if (remaining != NULL) {
        rest.reason = remaining->reason;
        rest.until_s = remaining->until_s;
    }
    (void)pawl_revocations_clear(app->revocations, pawl_fact_scope_id(&app->keys->facts, canceled),
                                 remaining == NULL ? NULL : &rest);
}

void pawl_app_on_counter(void *self, struct pawl_bytes record, uint64_t elapsed_ms)
{
    struct pawl_app *app = self;

    if (pawl_limiter_load(app->limiter, record, elapsed_ms, pawl_clock_read(app->clock).instant) !=
        PAWL_OK) {
        (void)atomic_fetch_add_explicit(&app->counters_refused, 1, memory_order_relaxed);
    }
}

void pawl_app_on_frozen(void *self, bool frozen, const char *reason)
{
    struct pawl_app *app = self;

    (void)reason; /* the store logs it */
    pawl_revocations_set_mode(app->revocations,
                              frozen ? PAWL_REVOCATIONS_FROZEN : PAWL_REVOCATIONS_SERVING);
}

/* ---- counters out of the limiter ----------------------------------------------------------- */

bool pawl_record_append(void *data, const uint8_t *record, size_t size)
{
    struct pawl_record_sink *sink = data;

    if (sink->capacity - sink->used < size + 4) {
        return false;
    }
    uint8_t *out = sink->out + sink->used;

    for (unsigned i = 0; i < 4; i++) {
        out[i] = (uint8_t)(size >> (8 * i));
    }
    memcpy(out + 4, record, size);
    sink->used += size + 4;
    return true;
}

#define CURSOR_INSIDE (UINT64_C(1) << 32) /* the walk of this shard goes on */

/* NOLINTNEXTLINE(readability-non-const-parameter): written through the sink */
size_t pawl_app_collect(void *self, uint64_t *cursor, bool all, uint8_t *out, size_t capacity,
                        struct pawl_now now)
{
    struct pawl_app *app = self;
    struct pawl_record_sink sink = { out, 0, capacity };
    unsigned shard = (unsigned)(*cursor & UINT32_MAX);
    bool inside = (*cursor & CURSOR_INSIDE) != 0;

    while (shard < app->limiter->shards_count) {
        size_t before = sink.used;
        enum pawl_status status =
            all ? pawl_limiter_collect_all(app->limiter, shard, !inside, capacity, now.instant,
                                           app->collect_scratch, pawl_record_append, &sink, NULL)
                : pawl_limiter_collect_dirty(app->limiter, shard, capacity, now.instant,
                                             app->collect_scratch, pawl_record_append, &sink, NULL);

        if (status == PAWL_OK) {
            shard++;
            inside = false;
            continue;
        }
        inside = true;
        if (sink.used == before || capacity - sink.used < PAWL_RECORD_BYTES_MAX + 4) {
            *cursor = shard | CURSOR_INSIDE;
            return sink.used;
        }
    }
    *cursor = 0;
    return sink.used;
}

bool pawl_app_unsaved_since(void *self, struct pawl_instant *since)
{
    struct pawl_app *app = self;

    return pawl_limiter_unsaved_since(app->limiter, since);
}

/* ---- time passes --------------------------------------------------------------------------- */

/* A bit of cleaning in each tick, by the clock that cannot run fast; and the floor of a thaw. */
static void forget_what_is_over(struct pawl_app *app)
{
    const struct pawl_store *store = &app->store;
    uint64_t slow_s = store->ops->slow_s(store->self);
    uint64_t floor_ms = store->ops->floor_ms(store->self);
    unsigned version;
    struct pawl_rules *rules = pawl_rules_current(&app->rules, &version);
    uint64_t life_s = rules->tokens.max_lifetime_s + FLOOR_SLACK_S;

    pawl_rules_release(rules);
    atomic_store_explicit(&app->slow_s, slow_s, memory_order_relaxed);
    pawl_revocations_set_floor(app->revocations, floor_ms / 1000 + life_s < slow_s ? 0 : floor_ms);
    (void)pawl_revocations_clean(app->revocations, app->clean_shard, slow_s);
    app->clean_shard = (app->clean_shard + 1) % PAWL_REVOCATIONS_SHARDS;
}

void pawl_app_tick(struct pawl_app *app)
{
    struct pawl_now now = pawl_clock_read(app->clock);
    uint64_t boottime_ms = now.instant.ns / 1000000;

    pawl_watch_tick(app);
    pawl_revocations_pulse(app->revocations, boottime_ms);
    if (app->cluster == NULL) { /* this node's memory is all there is to know; else the log says */
        pawl_revocations_synced(app->revocations, boottime_ms);
    }
    forget_what_is_over(app);
    (void)pawl_leases_expire(app->leases, LEASE_BUDGET, now.instant);
    pawl_limiter_set_wall(app->limiter, now.wall);
    for (unsigned i = 0; i < SWEEP_SHARDS; i++) {
        (void)pawl_limiter_sweep(app->limiter, app->sweep_shard, SWEEP_BUDGET, now.instant);
        app->sweep_shard = (app->sweep_shard + 1) % app->limiter->shards_count;
    }
}

/* ---- figures ------------------------------------------------------------------------------- */

static void limiter_stats(struct pawl_app *app, const struct pawl_stats_sink *sink)
{
    struct pawl_limiter_metrics m;

    pawl_limiter_metrics_get(app->limiter, &m);
    sink->number(sink->self, "keys", m.keys);
    sink->number(sink->self, "overflow_keys", m.cells);
    sink->number(sink->self, "limiter_allowed", m.allowed);
    sink->number(sink->self, "limiter_denied", m.denied);
    sink->number(sink->self, "limiter_shadow_denied", m.shadow_denied);
    sink->number(sink->self, "limiter_peeks", m.peeks);
    sink->number(sink->self, "limiter_overflowed", m.overflowed);
    sink->number(sink->self, "limiter_full", m.full);
    sink->number(sink->self, "limiter_expired", m.expired);
    sink->number(sink->self, "limiter_squeezed", m.squeezed);
    sink->number(sink->self, "limiter_refunded", m.refunded);
    sink->number(sink->self, "limiter_resets", m.resets);
    sink->number(sink->self, "counters_loaded", m.loaded);
    sink->number(sink->self, "counters_collected", m.collected);
    sink->number(sink->self, "counters_refused", atomic_load(&app->counters_refused));
    sink->number(sink->self, "memory_max_bytes", m.memory_max);
    sink->number(sink->self, "memory_records_bytes", m.memory_records);
    sink->number(sink->self, "memory_index_bytes", m.memory_index);
    sink->number(sink->self, "memory_limiter_own_bytes", m.memory_own);
}

static void lease_stats(struct pawl_app *app, const struct pawl_stats_sink *sink)
{
    struct pawl_leases_metrics m;

    pawl_leases_metrics_get(app->leases, &m);
    sink->number(sink->self, "leases_open", m.open);
    sink->number(sink->self, "leases_places", m.places);
    sink->number(sink->self, "leases_max", m.places_max);
    sink->number(sink->self, "leases_expired", m.expired);
    sink->number(sink->self, "leases_refused", m.refused);
}

static void token_stats(struct pawl_app *app, const struct pawl_stats_sink *sink)
{
    struct pawl_revocations_stats stats;
    uint64_t now_ms = pawl_clock_read(app->clock).instant.ns / 1000000;

    pawl_revocations_get_stats(app->revocations, &stats);
    sink->number(sink->self, "revocations", stats.entries);
    sink->number(sink->self, "revocations_max", app->revocations->header->max);
    sink->number(sink->self, "revocations_rebuilds", stats.rebuilds);
    sink->number(sink->self, "revocations_dropped", stats.dropped);
    sink->number(sink->self, "revocations_refused", stats.refused);
    sink->number(sink->self, "memory_revocations_bytes", stats.slots * 24);
    sink->number(sink->self, "staleness_ms",
                 pawl_revocations_staleness_ms(&app->revocations->view, now_ms));
}

static uint64_t sum_of(struct pawl_app *app, size_t offset)
{
    uint64_t sum = 0;

    for (unsigned w = 0; w < PAWL_WORKERS_MAX; w++) {
        const char *base = (const char *)&app->metrics[w];

        sum += atomic_load_explicit((const _Atomic uint64_t *)(const void *)(base + offset),
                                    memory_order_relaxed);
    }
    return sum;
}

#define OF_A_CLUSTER 7

static void dispatch_stats(struct pawl_app *app, const struct pawl_stats_sink *sink)
{
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {
#define FIELD(field) { #field, offsetof(struct pawl_dispatch_metrics, field) }
        FIELD(checks),          FIELD(checks_denied), FIELD(token_checks),  FIELD(token_revoked),
        FIELD(token_undecided), FIELD(token_expired), FIELD(token_invalid), FIELD(cold),
        FIELD(invalid),         FIELD(forbidden),     FIELD(late),          FIELD(unavailable),
        FIELD(pending),         FIELD(reuse_events),  FIELD(forwarded),     FIELD(moved),
        FIELD(parked),          FIELD(degraded),      FIELD(multi_owner),   FIELD(contended),
        FIELD(holds_kept),
#undef FIELD
    };
    /* The last ones are of a cluster. */
    unsigned count = sizeof(fields) / sizeof(fields[0]) - (app->cluster == NULL ? OF_A_CLUSTER : 0);
    char name[64] = "requests_";

    for (unsigned i = 0; i < count; i++) {
        memcpy(name + 9, fields[i].name, strlen(fields[i].name) + 1);
        sink->number(sink->self, name, sum_of(app, fields[i].offset));
    }
}

static void latency_stats(struct pawl_app *app, const struct pawl_stats_sink *sink)
{
    static const unsigned bounds[] = PAWL_LATENCY_BOUNDS_US;
    size_t offset = offsetof(struct pawl_dispatch_metrics, batch_us);
    char name[32];

    _Static_assert(sizeof(bounds) / sizeof(bounds[0]) == PAWL_LATENCY_BUCKETS - 1, "one has none");
    for (unsigned i = 0; i < PAWL_LATENCY_BUCKETS; i++) {
        if (i < PAWL_LATENCY_BUCKETS - 1) {
            (void)snprintf(name, sizeof(name), "batch_us_%u", bounds[i]);
        } else {
            (void)snprintf(name, sizeof(name), "batch_us_more");
        }
        sink->number(sink->self, name, sum_of(app, offset + i * sizeof(uint64_t)));
    }
    sink->number(sink->self, "batch_us_sum",
                 sum_of(app, offsetof(struct pawl_dispatch_metrics, batch_us_sum)));
}

static void rotation_stats(struct pawl_app *app, const struct pawl_stats_sink *sink)
{
    char name[] = "rotations_row_00";

    for (unsigned row = 1; row < 16; row++) {
        uint64_t sum = 0;

        for (unsigned w = 0; w < PAWL_WORKERS_MAX; w++) {
            sum += atomic_load_explicit(&app->metrics[w].rotate_rows[row], memory_order_relaxed);
        }
        name[14] = (char)('0' + row / 10);
        name[15] = (char)('0' + row % 10);
        sink->number(sink->self, name, sum);
    }
}

/* In the view, those that leave among them; 0: there is none yet. */
static uint64_t members_of(struct pawl_cluster_world *world)
{
    unsigned version;
    struct pawl_territory *territory = pawl_territory_current(&world->territory, &version);
    uint64_t members = territory->member_count;

    pawl_territory_release(territory);
    return members;
}

void pawl_app_stats(struct pawl_app *app, const struct pawl_stats_sink *sink)
{
    struct pawl_limiter_metrics m;
    struct pawl_revocations_stats stats;

    pawl_limiter_metrics_get(app->limiter, &m);
    pawl_revocations_get_stats(app->revocations, &stats);
    sink->text(sink->self, "version", pawl_bytes_of(PAWL_VERSION, sizeof(PAWL_VERSION) - 1));
    sink->flag(sink->self, "test_clock", app->test_clock);
    if (app->cluster == NULL) { /* else its own figures say so */
        sink->number(sink->self, "members", app->cluster == NULL ? 1 : members_of(app->cluster));
    }
    sink->number(sink->self, "watches_waiting", atomic_load(&app->watch.waiting));
    sink->number(sink->self, "uptime_s",
                 (pawl_clock_read(app->clock).instant.ns - app->started.ns) / 1000000000);
    sink->number(sink->self, "memory_bytes",
                 m.memory_records + m.memory_index + m.memory_own + stats.slots * 24);
    limiter_stats(app, sink);
    lease_stats(app, sink);
    token_stats(app, sink);
    dispatch_stats(app, sink);
    rotation_stats(app, sink);
    latency_stats(app, sink);
    app->store.ops->stats(app->store.self, sink);
    if (app->more_stats != NULL) {
        app->more_stats(app->more_stats_ctx, sink);
    }
}
