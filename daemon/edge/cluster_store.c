/*
 * The cluster as a store (port/store.h), for any thread.
 */
#include "edge/cluster_inside.h"

#include <string.h>

static enum pawl_status submit(void *self, struct pawl_job *job)
{
    struct pawl_cluster *cluster = self;
    enum pawl_status status = PAWL_OK;

    (void)pthread_mutex_lock(&cluster->lock);
    if (cluster->refusing) {
        status = PAWL_ECANCELED;
    } else if (atomic_load(&cluster->jobs_out) >= cluster->options.queue_max) {
        status = PAWL_EFULL;
    } else {
        job->next = NULL;
        *(cluster->jobs_last == NULL ? &cluster->jobs : &cluster->jobs_last->next) = job;
        cluster->jobs_last = job;
        (void)atomic_fetch_add(&cluster->jobs_out, 1);
    }
    (void)pthread_mutex_unlock(&cluster->lock);
    pawl_cluster_count(
        status == PAWL_OK ? &cluster->figures.submitted : &cluster->figures.refused_full, 1);
    if (status == PAWL_OK) {
        pawl_cluster_wake(cluster);
    }
    return status;
}

uint64_t pawl_cluster_slow_s(struct pawl_cluster *cluster)
{
    const struct pawl_store *journal = &cluster->options.journal;
    uint64_t stored_s = journal->ops != NULL ? journal->ops->slow_s(journal->self) : 0;
    uint64_t base_s = atomic_load(&cluster->slow_base_s);
    uint64_t base_ms = atomic_load(&cluster->slow_base_ms);
    uint64_t now_ms = pawl_cluster_now_ms(cluster);
    uint64_t own_s = base_s == 0 ? 0 : base_s + (now_ms > base_ms ? now_ms - base_ms : 0) / 1000;

    return stored_s > own_s ? stored_s : own_s;
}

static bool store_frozen(void *self)
{
    return pawl_cluster_frozen(self);
}

static uint64_t store_slow_s(void *self)
{
    return pawl_cluster_slow_s(self);
}

static uint64_t store_floor_ms(void *self)
{
    const struct pawl_cluster *cluster = self;
    const struct pawl_store *journal = &cluster->options.journal;

    return journal->ops != NULL ? journal->ops->floor_ms(journal->self) : 0;
}

static void store_identity(void *self, struct pawl_stamp *birth, struct pawl_origin *origin)
{
    struct pawl_cluster *cluster = self;

    birth->us = atomic_load(&cluster->birth_us);
    *origin = cluster->options.self;
}

/* Counts are not the journal's: its figures about them would stand beside the cluster's. */
static void journal_number(void *self, const char *name, uint64_t value)
{
    const struct pawl_stats_sink *sink = self;

    if (strncmp(name, "counter_", strlen("counter_")) != 0) {
        sink->number(sink->self, name, value);
    }
}

static void journal_flag(void *self, const char *name, bool value)
{
    const struct pawl_stats_sink *sink = self;

    sink->flag(sink->self, name, value);
}

static void journal_text(void *self, const char *name, struct pawl_bytes value)
{
    const struct pawl_stats_sink *sink = self;

    sink->text(sink->self, name, value);
}

static void store_stats(void *self, const struct pawl_stats_sink *sink)
{
    const struct pawl_cluster *cluster = self;
    const struct pawl_store *journal = &cluster->options.journal;
    struct pawl_stats_sink through = { journal_number, journal_flag, journal_text,
                                       (void *)(uintptr_t)sink };

    if (journal->ops != NULL) {
        journal->ops->stats(journal->self, &through);
    } else {
        sink->flag(sink->self, "frozen", false);
    }
    pawl_cluster_stats(self, sink);
}

static void store_close(void *self)
{
    pawl_cluster_close(self);
}

struct pawl_store pawl_cluster_store(struct pawl_cluster *cluster)
{
    static const struct pawl_store_ops ops = {
        .submit = submit,
        .frozen = store_frozen,
        .slow_s = store_slow_s,
        .floor_ms = store_floor_ms,
        .identity = store_identity,
        .stats = store_stats,
        .close = store_close,
    };
    struct pawl_store store = { &ops, cluster };

    return store;
}

struct pawl_cluster_world *pawl_cluster_world(struct pawl_cluster *cluster)
{
    return &cluster->world;
}
