/*
 * The saver: dirty counters go, coalesced, into the counter file; exact ones at once.
 */
#include "adapter/sqlite/internal.h"

#include <string.h>

#define INTERVAL_MIN_MS 50
#define NS_PER_MS       1000000u
#define BACKOFF         4

static uint64_t now_ns(const struct pawl_sqlite *store)
{
    return pawl_clock_read(store->options.clock).instant.ns;
}

static uint64_t random_u64(const struct pawl_sqlite *store)
{
    uint64_t value = 0;

    /* Only tells blocks of one file from those of another. */
    if (store->options.entropy->fill(store->options.entropy->self, &value, sizeof(value)) !=
        PAWL_OK) {
        return now_ns(store);
    }
    return value;
}

static void count_failure(struct pawl_sqlite *store, const struct pawl_error *error)
{
    store->save_all = true; /* what was handed out and not written must be handed out again */
    atomic_fetch_add(&store->stats.counter_failures, 1);
    pawl_sqlite_note(store, "counters_not_saved", error);
}

/* ---- consistency: exact ---- */

static void answer(struct pawl_job *const *jobs, unsigned count, enum pawl_status status,
                   const struct pawl_error *error)
{
    for (unsigned i = 0; i < count; i++) {
        jobs[i]->status = status;
        jobs[i]->reached = status == PAWL_OK ? PAWL_ACK_DURABLE : PAWL_ACK_DEFAULT;
        if (status != PAWL_OK) {
            jobs[i]->error = *error;
            jobs[i]->error.status = status;
        }
        jobs[i]->done(jobs[i]);
    }
}

/* One block with the records of @jobs, synced, then all answers. */
static void save_exact(struct pawl_sqlite *store, struct pawl_job *const *jobs, unsigned count)
{
    struct pawl_now now = pawl_clock_read(store->options.clock);
    struct pawl_counter_anchor anchor = pawl_sqlite_anchor(store, now);
    struct pawl_error error = { .status = PAWL_OK };
    uint32_t records = 0;
    size_t size = 0;

    for (unsigned i = 0; i < count; i++) {
        /* Each record of a job has its size in front already, as in a block (port/store.h). */
        memcpy(store->save_buffer + size, jobs[i]->record.data, jobs[i]->record.size);
        size += jobs[i]->record.size;
        jobs[i]->now = jobs[i]->has_now ? jobs[i]->now : now;
    }
    struct pawl_bytes payload = pawl_bytes_of(store->save_buffer, size);
    enum pawl_status status =
        pawl_counter_payload_check(payload, &records)
            ? pawl_counter_file_append(&store->counters, &anchor,
                                       atomic_load(&store->durable_commits), payload, records,
                                       &error)
            : pawl_error_set(&error, PAWL_EINVAL, 0, "records of counters do not add up");

    if (status == PAWL_OK) {
        status = pawl_counter_file_sync(&store->counters, &error);
        atomic_fetch_add(&store->stats.counter_syncs, 1);
    }
    if (status != PAWL_OK) {
        count_failure(store, &error);
        status = PAWL_EUNAVAIL;
    }
    answer(jobs, count, status, &error);
}

/* Cut what waits into blocks that fit the buffer. */
static void save_jobs(struct pawl_sqlite *store, struct pawl_job **jobs, unsigned count)
{
    unsigned from = 0;
    size_t size = 0;

    for (unsigned i = 0; i < count; i++) {
        size_t more = jobs[i]->record.size;

        if (size + more > PAWL_SAVE_BYTES) {
            save_exact(store, jobs + from, i - from);
            from = i;
            size = 0;
        }
        size += more;
    }
    if (from < count) {
        save_exact(store, jobs + from, count - from);
    }
}

/* ---- waiting, with exact jobs served meanwhile ---- */

/* Serve jobs until @until_ns; false when the store is closing. */
static bool serve_until(struct pawl_sqlite *store, uint64_t until_ns)
{
    bool closing = false;

    for (uint64_t now = now_ns(store);; now = now_ns(store)) {
        uint64_t wait_ms = until_ns > now ? (until_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0;
        unsigned count = pawl_queue_take(&store->save_queue, store->save_batch,
                                         store->options.batch_max, (unsigned)wait_ms, &closing);

        if (count > 0) {
            save_jobs(store, store->save_batch, count);
        }
        if (closing) {
            return false;
        }
        if (wait_ms == 0 || count == 0) {
            return true; /* nothing came for as long as there was to wait */
        }
    }
}

/* Keep to the rate: @bytes were written just now. */
static bool pace(struct pawl_sqlite *store, size_t bytes, bool hurry)
{
    uint64_t now = now_ns(store);
    uint64_t cost = (uint64_t)bytes * 1000000000u / store->options.counters_write_max;

    atomic_fetch_add(&store->stats.counter_bytes, bytes);
    store->paced_until_ns = (store->paced_until_ns > now ? store->paced_until_ns : now) + cost;
    return hurry || serve_until(store, store->paced_until_ns);
}

/* ---- rounds ---- */

enum target {
    TO_JOURNAL,
    TO_SNAPSHOT,
};

/* Collect one block and write it. Bytes written, or 0 with *@status. */
static size_t save_block(struct pawl_sqlite *store, uint64_t *cursor, enum target target,
                         enum pawl_status *status, struct pawl_error *error)
{
    struct pawl_now now = pawl_clock_read(store->options.clock);
    struct pawl_counter_anchor anchor = pawl_sqlite_anchor(store, now);
    uint64_t commits = atomic_load(&store->durable_commits);
    uint32_t records = 0;
    size_t size =
        store->options.counters.collect(store->options.counters.self, cursor, target == TO_SNAPSHOT,
                                        store->save_buffer, PAWL_SAVE_BYTES, now);
    struct pawl_bytes payload = pawl_bytes_of(store->save_buffer, size);

    *status = PAWL_OK;
    if (size == 0) {
        return 0;
    }
    if (size > PAWL_SAVE_BYTES || !pawl_counter_payload_check(payload, &records)) {
        *status = pawl_error_set(error, PAWL_EINVAL, 0, "records of counters do not add up");
        return 0;
    }
    *status = target == TO_SNAPSHOT ? pawl_counter_snapshot_append(&store->counters, &anchor,
                                                                   commits, payload, records, error)
                                    : pawl_counter_file_append(&store->counters, &anchor, commits,
                                                               payload, records, error);
    atomic_fetch_add(&store->stats.counter_records, records);
    return size;
}

/*
 * One round of all that changed, synced. Everything that changed before it began is on disk when
 * it ends. false: the store is closing, or the disk refused.
 */
static bool round_dirty(struct pawl_sqlite *store, bool hurry)
{
    struct pawl_error error = { .status = PAWL_OK };
    enum pawl_status status;
    uint64_t started_ns = now_ns(store);
    uint64_t cursor = 0;
    bool wrote = false;
    bool go_on = true;

    atomic_store(&store->stats.counter_handed_out, true);
    do {
        size_t size = save_block(store, &cursor, TO_JOURNAL, &status, &error);

        wrote = wrote || size > 0;
        if (status == PAWL_OK && size > 0) {
            go_on = pace(store, size, hurry);
        }
    } while (status == PAWL_OK && cursor != 0 && go_on);
    if (status == PAWL_OK && wrote) {
        status = pawl_counter_file_sync(&store->counters, &error);
        atomic_fetch_add(&store->stats.counter_syncs, 1);
    }
    if (status != PAWL_OK) {
        count_failure(store, &error);
        return false;
    }
    if (go_on && !store->save_all) {
        atomic_store(&store->stats.counter_clean_ns, started_ns);
        atomic_store(&store->stats.counter_handed_out, false);
    }
    atomic_store(&store->stats.counter_file_bytes, store->counters.size);
    return go_on;
}

/*
 * Write the whole table into a new file and put it in the journal's place. Rounds of changes go
 * on meanwhile, into both, so that the bound on what a crash loses holds.
 */
static bool snapshot(struct pawl_sqlite *store, bool hurry)
{
    struct pawl_error error = { .status = PAWL_OK };
    uint64_t started_ns = now_ns(store);
    uint64_t next_ns = started_ns + (uint64_t)store->options.interval_ms * NS_PER_MS;
    uint64_t cursor = 0;
    bool go_on = true;
    enum pawl_status status =
        pawl_counter_snapshot_begin(&store->counters, random_u64(store), &error);

    while (status == PAWL_OK && go_on) {
        size_t size = save_block(store, &cursor, TO_SNAPSHOT, &status, &error);

        go_on = status == PAWL_OK && pace(store, size, hurry);
        if (go_on && !hurry && now_ns(store) >= next_ns) {
            go_on = round_dirty(store, false);
            next_ns = now_ns(store) + (uint64_t)store->options.interval_ms * NS_PER_MS;
        }
        if (cursor == 0) {
            break;
        }
    }
    /* A record that moved during the walk was missed by it, and is dirty. */
    if (status == PAWL_OK && go_on) {
        go_on = round_dirty(store, hurry) || hurry;
    }
    if (status == PAWL_OK && go_on) {
        status = pawl_counter_snapshot_commit(&store->counters, &error);
        atomic_fetch_add(&store->stats.counter_syncs, 1);
    }
    if (status != PAWL_OK || !go_on) {
        pawl_counter_snapshot_abort(&store->counters);
    }
    if (status != PAWL_OK) {
        count_failure(store, &error);
        return false;
    }
    if (go_on) {
        store->live_bytes = store->counters.size;
        store->save_all = false;
        atomic_store(&store->stats.counter_clean_ns, started_ns);
        atomic_store(&store->stats.counter_handed_out, false);
        atomic_store(&store->stats.counter_file_bytes, store->counters.size);
    }
    return go_on;
}

static bool is_long(const struct pawl_sqlite *store)
{
    uint64_t live =
        store->live_bytes > PAWL_COUNTER_PAYLOAD_MAX ? store->live_bytes : PAWL_COUNTER_PAYLOAD_MAX;

    return store->counters.size > 2 * live;
}

static void *saver_main(void *data)
{
    struct pawl_sqlite *store = data;
    uint64_t interval_ns = (uint64_t)store->options.interval_ms * NS_PER_MS;
    bool collects = store->options.counters.collect != NULL;

    /* A disk that refuses is asked again, with the whole table, but not at every round. */
    while (serve_until(store, now_ns(store) + (store->save_all ? BACKOFF : 1) * interval_ns)) {
        if (!collects) {
            continue;
        }
        if (store->save_all || is_long(store)) {
            (void)snapshot(store, false);
        } else {
            (void)round_dirty(store, false);
        }
    }
    /* Closing: whole, and as fast as the disk goes. */
    if (collects && !snapshot(store, true)) {
        (void)round_dirty(store, true);
    }
    return NULL;
}

/* ---- life ---- */

static void on_record(void *data, struct pawl_bytes record, uint64_t elapsed_ms)
{
    struct pawl_sqlite *store = data;
    const struct pawl_store_events *events = &store->options.events;

    if (events->on_counter != NULL) {
        events->on_counter(events->self, record, elapsed_ms);
    }
}

enum pawl_status pawl_saver_open(struct pawl_sqlite *store, struct pawl_counter_report *report,
                                 struct pawl_error *error)
{
    struct pawl_now now = pawl_clock_read(store->options.clock);
    struct pawl_counter_anchor anchor = pawl_sqlite_anchor(store, now);
    enum pawl_status status =
        pawl_counter_file_open(&store->counters, store->options.dir_fd, store->keys,
                               store->options.keys_count, store->db.state.birth, random_u64(store),
                               &anchor, on_record, store, report, error);

    if (status != PAWL_OK) {
        return status;
    }
    store->counters_open = true;
    atomic_store(&store->stats.counter_clean_ns, now.instant.ns);
    atomic_store(&store->stats.counter_file_bytes, store->counters.size);
    return PAWL_OK;
}

enum pawl_status pawl_saver_start(struct pawl_sqlite *store)
{
    if (store->options.interval_ms < INTERVAL_MIN_MS) {
        store->options.interval_ms = INTERVAL_MIN_MS;
    }
    if (pthread_create(&store->saver, NULL, saver_main, store) != 0) {
        return PAWL_ENOMEM;
    }
    store->saver_started = true;
    return PAWL_OK;
}

void pawl_saver_stop(struct pawl_sqlite *store)
{
    pawl_queue_close(&store->save_queue);
    if (store->saver_started) {
        (void)pthread_join(store->saver, NULL);
        store->saver_started = false;
    }
    if (store->counters_open) {
        pawl_counter_file_close(&store->counters);
        store->counters_open = false;
    }
}
