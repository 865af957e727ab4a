#include "adapter/sqlite/store.h"

#include "adapter/sqlite/internal.h"
#include "adapter/sqlite/open.h"
#include "adapter/sqlite/schema.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH_MAX_DEFAULT   256
#define QUEUE_MAX_DEFAULT   65536
#define INTERVAL_MS_DEFAULT 500
#define ROWS_MAX_DEFAULT    (UINT64_C(16) << 20)
#define LIFETIME_S_DEFAULT  (UINT64_C(30) * 86400)

/* ---- small things that all parts use ---- */

void pawl_sqlite_path(const struct pawl_sqlite *store, const char *name, char *out)
{
    (void)snprintf(out, PAWL_STORE_PATH_MAX, "%s/%s", store->options.path, name);
}

void pawl_sqlite_note(struct pawl_sqlite *store, const char *event, const struct pawl_error *error)
{
    const char *text = error != NULL ? error->text : "";

    if (error != NULL) {
        (void)pthread_mutex_lock(&store->text_lock);
        store->last_error = *error;
        (void)pthread_mutex_unlock(&store->text_lock);
    }
    pawl_log_event(store->options.log, PAWL_LOG_ERROR, event, PAWL_F_TEXT("detail", text),
                   PAWL_F_I64("os_code", error != NULL ? error->os_code : 0));
}

struct pawl_counter_anchor pawl_sqlite_anchor(const struct pawl_sqlite *store, struct pawl_now now)
{
    struct pawl_counter_anchor anchor = {
        .boottime_ns = now.instant.ns,
        .wall_us = now.wall.unix_s > 0 ? (uint64_t)now.wall.unix_s * 1000000 : 0,
        .stamp_us = now.stamp.us,
    };

    memcpy(anchor.boot_id, store->options.boot_id, PAWL_BOOT_ID_BYTES);
    return anchor;
}

void pawl_sqlite_set_frozen(struct pawl_sqlite *store, const char *reason)
{
    const struct pawl_store_events *events = &store->options.events;

    (void)pthread_mutex_lock(&store->text_lock);
    (void)snprintf(store->reason, sizeof(store->reason), "%s", reason != NULL ? reason : "");
    (void)pthread_mutex_unlock(&store->text_lock);
    atomic_store(&store->frozen, reason != NULL);
    if (reason != NULL) {
        pawl_log_event(store->options.log, PAWL_LOG_ERROR, "store_frozen",
                       PAWL_F_TEXT("reason", reason),
                       PAWL_F_TEXT("do", "pawlctl thaw --lost-since T"));
    }
    if (events->on_frozen != NULL) {
        events->on_frozen(events->self, reason != NULL, reason != NULL ? reason : "");
    }
}

void pawl_sqlite_mark(struct pawl_sqlite *store)
{
    struct pawl_mark mark = { .commits = store->db.state.commits };

    memcpy(mark.birth, store->db.state.birth, PAWL_BIRTH_BYTES);
    if (store->mark_fd < 0) {
        store->mark_fd = pawl_mark_open(store->options.dir_fd);
    }
    if (store->mark_fd < 0 || pawl_mark_write(store->mark_fd, store->keys, &mark) != PAWL_OK) {
        struct pawl_error error;

        (void)pawl_error_set(&error, PAWL_EIO, errno,
                             PAWL_MARK_FILE " cannot be written: %s; an older copy of " PAWL_DB_FILE
                                            " would not be noticed",
                             strerror(errno));
        pawl_sqlite_note(store, "store_mark_refused", &error);
    }
}

enum pawl_status pawl_sqlite_new_state(struct pawl_sqlite *store, struct pawl_state *state)
{
    const struct pawl_entropy *entropy = store->options.entropy;
    struct pawl_now now = pawl_clock_read(store->options.clock);

    memset(state, 0, sizeof(*state));
    memcpy(state->node, store->new_node, PAWL_NODE_BYTES);
    state->birth_us = now.stamp.us;
    state->stamp_us = now.stamp.us;
    state->trim_us = now.stamp.us;
    state->trim_boottime_ns = now.instant.ns;
    memcpy(state->trim_boot_id, store->options.boot_id, PAWL_BOOT_ID_BYTES);
    state->next_n = 1;
    state->test_clock = store->options.test_clock;
    return entropy->fill(entropy->self, state->birth, PAWL_BIRTH_BYTES);
}

static int log_hook(void *data, sqlite3 *db, const char *name, int frames)
{
    struct pawl_sqlite *store = data;

    (void)db;
    (void)name;
    atomic_store(&store->stats.log_frames, (uint64_t)frames);
    return SQLITE_OK;
}

void pawl_sqlite_watch_log(struct pawl_sqlite *store)
{
    (void)sqlite3_wal_hook(store->db.handle, log_hook, store);
}

enum pawl_status pawl_sqlite_create(struct pawl_sqlite *store, struct pawl_db *db, const char *path,
                                    const struct pawl_state *state, struct pawl_error *error)
{
    int rc = pawl_db_open(db, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &store->vfs,
                          store->keys, store->options.keys_count);

    db->state = *state;
    if (rc == SQLITE_OK) {
        rc = pawl_db_settle(db);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(db->handle, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK && pawl_schema_create(db->handle) != PAWL_OK) {
        rc = sqlite3_extended_errcode(db->handle);
    }
    if (rc == SQLITE_OK) {
        rc = pawl_db_prepare(db);
    }
    if (rc == SQLITE_OK) {
        rc = pawl_db_commit(db);
    }
    if (rc != SQLITE_OK) {
        enum pawl_status status = pawl_db_error(db, &store->vfs, rc, path, error);

        pawl_db_close(db);
        return status;
    }
    return PAWL_OK;
}

/* ---- the port's verbs ---- */

static enum pawl_status store_submit(void *self, struct pawl_job *job)
{
    struct pawl_sqlite *store = self;
    enum pawl_status status;

    job->status = PAWL_OK;
    job->reached = PAWL_ACK_DEFAULT;
    job->error = (struct pawl_error){ .status = PAWL_OK };
    if (job->kind == PAWL_JOB_NONE || job->kind > PAWL_JOB_KEEP || job->done == NULL ||
        (job->kind == PAWL_JOB_KEEP && job->fact.id.sequence == 0) ||
        (job->kind == PAWL_JOB_FAMILY && job->decide == NULL) ||
        (job->kind == PAWL_JOB_FOLLOW && job->follow.on_fact == NULL)) {
        return PAWL_EINVAL;
    }
    if (job->kind == PAWL_JOB_COUNTER) {
        uint32_t records;

        /* Checked here, so that one bad job does not fail its neighbours in a block. */
        if (job->record.size == 0 || job->record.size > PAWL_SAVE_BYTES ||
            !pawl_counter_payload_check(job->record, &records)) {
            return PAWL_EINVAL;
        }
        status = store->counters_open ? pawl_queue_push(&store->save_queue, job) : PAWL_EUNAVAIL;
    } else {
        status = pawl_queue_push(&store->queue, job);
    }
    if (status == PAWL_EFULL) {
        atomic_fetch_add(&store->stats.refused_full, 1);
    }
    return status;
}

static void store_identity(void *self, struct pawl_stamp *birth, struct pawl_origin *origin)
{
    struct pawl_sqlite *store = self;

    birth->us = atomic_load(&store->birth_us);
    *origin = store->origin;
}

static bool store_frozen(void *self)
{
    struct pawl_sqlite *store = self;

    return atomic_load(&store->frozen);
}

static uint64_t store_slow_s(void *self)
{
    struct pawl_sqlite *store = self;
    uint64_t now_ns = pawl_clock_read(store->options.clock).instant.ns;
    uint64_t passed_ns = now_ns > store->slow_boottime_ns ? now_ns - store->slow_boottime_ns : 0;

    return store->slow_us == 0 ? 0 : (store->slow_us + passed_ns / 1000) / 1000000;
}

static uint64_t store_floor_ms(void *self)
{
    struct pawl_sqlite *store = self;

    return atomic_load(&store->floor_ms);
}

static uint64_t file_bytes(const struct pawl_sqlite *store, const char *name)
{
    struct stat info;

    return fstatat(store->options.dir_fd, name, &info, 0) == 0 ? (uint64_t)info.st_size : 0;
}

static void stats_texts(struct pawl_sqlite *store, const struct pawl_stats_sink *sink)
{
    char reason[PAWL_REASON_BYTES];
    struct pawl_error error;

    (void)pthread_mutex_lock(&store->text_lock);
    memcpy(reason, store->reason, sizeof(reason));
    error = store->last_error;
    (void)pthread_mutex_unlock(&store->text_lock);
    sink->text(sink->self, "frozen_reason", pawl_bytes_of(reason, strlen(reason)));
    sink->text(sink->self, "store_last_error", pawl_bytes_of(error.text, strlen(error.text)));
}

/*
 * How far back a crash at @now_ns would reach, rounded up: 0 when all is saved. What was handed out
 * is asked for last: a round that took the changes meanwhile shows there.
 */
static uint64_t unsaved_age_ms(const struct pawl_sqlite *store, uint64_t now_ns)
{
    const struct pawl_counter_source *source = &store->options.counters;
    struct pawl_instant since = { now_ns };
    bool unsaved = source->unsaved_since == NULL || source->unsaved_since(source->self, &since);

    if (atomic_load(&store->stats.counter_handed_out) || source->unsaved_since == NULL) {
        since.ns = atomic_load(&store->stats.counter_clean_ns);
        unsaved = true;
    }
    return unsaved && now_ns > since.ns ? (now_ns - since.ns + 999999) / 1000000 : 0;
}

static void store_stats(void *self, const struct pawl_stats_sink *sink)
{
    struct pawl_sqlite *store = self;
    struct pawl_store_stats *s = &store->stats;
    uint64_t now_ns = pawl_clock_read(store->options.clock).instant.ns;
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        { "fsyncs", atomic_load(&store->vfs.syncs) + atomic_load(&s->counter_syncs) },
        { "store_commits", atomic_load(&s->commits) },
        { "store_commit_failures", atomic_load(&s->commit_failures) },
        { "store_batch_jobs", atomic_load(&s->batch_jobs) },
        { "store_batch_largest", atomic_load(&s->batch_largest) },
        { "store_commit_us_last", atomic_load(&s->commit_us_last) },
        { "store_commit_us_max", atomic_load(&s->commit_us_max) },
        { "store_commit_us_total", atomic_load(&s->commit_us_total) },
        { "store_queue_depth", pawl_queue_depth(&store->queue) },
        { "store_queue_max", store->options.queue_max },
        { "store_refused_full", atomic_load(&s->refused_full) },
        { "store_facts", atomic_load(&s->facts) },
        { "store_facts_max", store->options.facts_max },
        { "store_families", atomic_load(&s->families) },
        { "store_families_max", store->options.families_max },
        { "store_trimmed", atomic_load(&s->trimmed) },
        { "store_db_bytes", file_bytes(store, PAWL_DB_FILE) },
        { "store_log_bytes", file_bytes(store, PAWL_DB_LOG) },
        { "counter_unsaved_age_ms", unsaved_age_ms(store, now_ns) },
        { "counter_queue_depth", pawl_queue_depth(&store->save_queue) },
        { "counter_file_bytes", atomic_load(&s->counter_file_bytes) },
        { "counter_saved_records", atomic_load(&s->counter_records) },
        { "counter_saved_bytes", atomic_load(&s->counter_bytes) },
        { "counter_save_failures", atomic_load(&s->counter_failures) },
    };

    for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        sink->number(sink->self, numbers[i].name, numbers[i].value);
    }
    sink->flag(sink->self, "frozen", atomic_load(&store->frozen));
    sink->flag(sink->self, "store_distrusted", atomic_load(&store->distrusted));
    stats_texts(store, sink);
}

/* ---- life ---- */

static void destroy(struct pawl_sqlite *store)
{
    pawl_db_close(&store->db);
    pawl_vfs_deinit(&store->vfs);
    pawl_places_deinit(&store->places);
    if (store->mark_fd >= 0) {
        (void)close(store->mark_fd);
    }
    pawl_queue_deinit(&store->queue);
    pawl_queue_deinit(&store->save_queue);
    (void)pthread_mutex_destroy(&store->text_lock);
    sqlite3_free(store->batch);
    sqlite3_free(store->save_batch);
    sqlite3_free(store->outcomes);
    sqlite3_free(store->save_buffer);
    pawl_wipe(store->keys, sizeof(store->keys));
    sqlite3_free(store);
}

/* The clocks of the last moment go in, then the log into the database and away. */
static void checkpoint_last(struct pawl_sqlite *store)
{
    struct pawl_now now = pawl_clock_read(store->options.clock);
    struct pawl_error error;

    if (store->db.handle == NULL || atomic_load(&store->distrusted)) {
        return;
    }
    int rc = pawl_db_begin(&store->db);

    if (rc == SQLITE_OK) {
        pawl_state_trim_advance(&store->db.state, store->options.boot_id, now.instant.ns);
        if (now.stamp.us > store->db.state.stamp_us) {
            store->db.state.stamp_us = now.stamp.us;
        }
        rc = pawl_db_commit(&store->db);
    }
    if (rc == SQLITE_OK && !atomic_load(&store->frozen)) {
        pawl_sqlite_mark(store);
    }
    if (rc == SQLITE_OK) {
        rc = pawl_db_checkpoint(&store->db, true);
    }
    if (rc != SQLITE_OK) {
        (void)pawl_db_error(&store->db, &store->vfs, rc, PAWL_DB_FILE, &error);
        pawl_sqlite_note(store, "store_last_checkpoint_refused", &error);
    } else if (store->mark_fd >= 0 && fsync(store->mark_fd) != 0) {
        pawl_sqlite_note(store, "store_mark_not_synced", NULL);
    }
}

static void store_close(void *self)
{
    struct pawl_sqlite *store = self;

    pawl_queue_close(&store->queue);
    pawl_queue_close(&store->save_queue);
    pawl_writer_stop(store);
    pawl_saver_stop(store);
    checkpoint_last(store);
    destroy(store);
}

static const struct pawl_store_ops ops = {
    .submit = store_submit,
    .frozen = store_frozen,
    .identity = store_identity,
    .slow_s = store_slow_s,
    .floor_ms = store_floor_ms,
    .stats = store_stats,
    .close = store_close,
};

static void take_options(struct pawl_sqlite *store, const struct pawl_sqlite_options *options)
{
    struct pawl_sqlite_options *own = &store->options;

    *own = *options;
    memcpy(store->keys, options->keys, options->keys_count * sizeof(options->keys[0]));
    own->keys = store->keys;
    own->batch_max = own->batch_max != 0 ? own->batch_max : BATCH_MAX_DEFAULT;
    own->queue_max = own->queue_max != 0 ? own->queue_max : QUEUE_MAX_DEFAULT;
    own->interval_ms = own->interval_ms != 0 ? own->interval_ms : INTERVAL_MS_DEFAULT;
    own->families_max = own->families_max != 0 ? own->families_max : ROWS_MAX_DEFAULT;
    own->facts_max = own->facts_max != 0 ? own->facts_max : 2 * ROWS_MAX_DEFAULT;
    own->counters_write_max =
        own->counters_write_max != 0 ? own->counters_write_max : PAWL_SAVE_RATE_BPS;
    own->max_lifetime_s = own->max_lifetime_s != 0 ? own->max_lifetime_s : LIFETIME_S_DEFAULT;
}

static enum pawl_status prepare(struct pawl_sqlite *store)
{
    size_t batch = store->options.batch_max;
    const struct pawl_entropy *entropy = store->options.entropy;
    enum pawl_status status = pawl_vfs_init(&store->vfs);

    store->batch = sqlite3_malloc64(batch * sizeof(struct pawl_job *));
    store->save_batch = sqlite3_malloc64(batch * sizeof(struct pawl_job *));
    store->outcomes = sqlite3_malloc64(batch * sizeof(struct pawl_family_outcome));
    store->save_buffer = sqlite3_malloc64(PAWL_SAVE_BYTES);
    if (status != PAWL_OK || store->batch == NULL || store->save_batch == NULL ||
        store->outcomes == NULL || store->save_buffer == NULL) {
        return PAWL_ENOMEM;
    }
    store->vfs.fault = store->options.fault;
    store->vfs.fault_data = store->options.fault_data;
    /* An origin is a node and one life of it; the node's half is replaced by the stored one. */
    status = entropy->fill(entropy->self, store->origin.bytes, sizeof(store->origin.bytes));
    memcpy(store->new_node, store->origin.bytes, PAWL_NODE_BYTES);
    return status;
}

static enum pawl_status open_all(struct pawl_sqlite *store, struct pawl_error *error)
{
    enum pawl_status status = prepare(store);

    if (status != PAWL_OK) {
        return pawl_error_set(error, status, 0, "store: %s", pawl_status_text(status));
    }
    status = pawl_sqlite_open_files(store, error);
    if (status == PAWL_OK) {
        struct pawl_fact_id own = { .origin = store->origin, .sequence = 1 };

        status = pawl_places_note(&store->places, &own, store->origin_base + 1);
    }
    if (status == PAWL_OK) {
        status = pawl_writer_start(store);
    }
    if (status == PAWL_OK && store->counters_open) {
        status = pawl_saver_start(store);
    }
    if (status != PAWL_OK && (error == NULL || error->status == PAWL_OK)) {
        (void)pawl_error_set(error, status, 0, "store: %s", pawl_status_text(status));
    }
    return status;
}

enum pawl_status pawl_sqlite_store_open(const struct pawl_sqlite_options *options,
                                        struct pawl_store *store, struct pawl_error *error)
{
    struct pawl_error unused = { .status = PAWL_OK };

    error = error != NULL ? error : &unused;
    error->status = PAWL_OK;
    *store = (struct pawl_store){ .ops = NULL };
    if (options->keys_count == 0 || options->keys_count > PAWL_SECRETS_MAX) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "one to %d secrets are needed",
                              PAWL_SECRETS_MAX);
    }
    struct pawl_sqlite *self = sqlite3_malloc64(sizeof(*self));

    if (self == NULL) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "store: out of memory");
    }
    memset(self, 0, sizeof(*self));
    self->mark_fd = -1;
    (void)pthread_mutex_init(&self->text_lock, NULL);
    take_options(self, options);
    pawl_queue_init(&self->queue, self->options.queue_max);
    pawl_queue_init(&self->save_queue, self->options.queue_max);
    enum pawl_status status = open_all(self, error);

    if (status != PAWL_OK) {
        pawl_writer_stop(self);
        pawl_queue_close(&self->save_queue);
        if (self->counters_open) {
            pawl_counter_file_close(&self->counters);
        }
        destroy(self);
        return status;
    }
    *store = (struct pawl_store){ .ops = &ops, .self = self };
    return PAWL_OK;
}
