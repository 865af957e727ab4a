/*
 * The frozen store's own database, and the way out of being frozen.
 *
 * A thaw writes a new database from every row that checks out, then moves the old one aside and
 * the new one into its place. Until that rename the old state is whole, and the store stays frozen
 * through a crash at any point: either pawl.db is as it was, or it is missing and the mark
 * says that there was one, or pawl-frozen.db is still there.
 */
#include "adapter/sqlite/internal.h"
#include "adapter/sqlite/schema.h"
#include "adapter/sys/data_dir.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAMESPACES_MAX   1024 /* with a cutoff of their own; the floor covers all */
#define NAMESPACES_SLOTS 2048

struct namespaces {
    unsigned count;
    struct pawl_name_slot {
        uint8_t size; /* 0: empty */
        uint8_t data[PAWL_NS_MAX];
    } slots[NAMESPACES_SLOTS];
};

struct thaw {
    struct pawl_sqlite *store;
    struct pawl_job *job;
    struct pawl_now now;
    struct pawl_db to;
    struct namespaces *namespaces;
    uint64_t offset; /* added to n of facts from pawl-frozen.db */
    /*
     * Of the cutoffs: an origin of their own. In a fleet another part gives out the ids of this
     * life's origin, and an id has to name one fact.
     */
    struct pawl_origin origin;
    int rc;
};

static void unlink_db(const struct pawl_sqlite *store, const char *name)
{
    char other[64];

    (void)unlinkat(store->options.dir_fd, name, 0);
    (void)snprintf(other, sizeof(other), "%s-wal", name);
    (void)unlinkat(store->options.dir_fd, other, 0);
    (void)snprintf(other, sizeof(other), "%s-shm", name);
    (void)unlinkat(store->options.dir_fd, other, 0);
}

/* Move a database and its log out of the way. PAWL_OK where there is none. */
static enum pawl_status set_aside(const struct pawl_sqlite *store, const char *name,
                                  char aside[256])
{
    int dir = store->options.dir_fd;
    struct pawl_now now = pawl_clock_read(store->options.clock);
    char log_from[64];
    char log_to[272];
    enum pawl_status status = pawl_dir_set_aside(dir, name, now.wall.unix_s, aside);

    if (status != PAWL_OK) {
        aside[0] = '\0';
        return status == PAWL_ENOENT ? PAWL_OK : status;
    }
    (void)snprintf(log_from, sizeof(log_from), "%s-wal", name);
    (void)snprintf(log_to, sizeof(log_to), "%s-wal", aside);
    if (renameat2(dir, log_from, dir, log_to, RENAME_NOREPLACE) != 0 && errno != ENOENT) {
        return PAWL_EIO;
    }
    (void)snprintf(log_from, sizeof(log_from), "%s-shm", name);
    (void)unlinkat(dir, log_from, 0); /* an index of the log, made anew from it */
    return PAWL_OK;
}

/* ---- pawl-frozen.db ---- */

static enum pawl_status open_existing(struct pawl_sqlite *store, const char *path)
{
    struct pawl_load load;
    int rc = pawl_db_open(&store->db, path, SQLITE_OPEN_READWRITE, &store->vfs, store->keys,
                          store->options.keys_count);
    enum pawl_status status =
        rc == SQLITE_OK && pawl_schema_version(store->db.handle) == PAWL_SCHEMA_VERSION
            ? pawl_load(&store->db, &store->options.events, NULL, &load)
            : PAWL_EIO;

    if (status == PAWL_OK && (load.damaged || pawl_db_settle(&store->db) != SQLITE_OK)) {
        status = PAWL_ECORRUPT;
    }
    if (status != PAWL_OK) {
        pawl_db_close(&store->db);
    }
    return status;
}

static void open_in_memory(struct pawl_sqlite *store, const struct pawl_state *state)
{
    struct pawl_error error;

    if (pawl_sqlite_create(store, &store->db, ":memory:", state, &error) == PAWL_OK) {
        store->in_memory = true;
    } else {
        pawl_sqlite_note(store, "store_frozen_not_kept", &error);
    }
}

static void create_new(struct pawl_sqlite *store, const char *path)
{
    struct pawl_state state;
    struct pawl_error error = { .status = PAWL_OK };

    if (pawl_sqlite_new_state(store, &state) != PAWL_OK) {
        return;
    }
    if (pawl_sqlite_create(store, &store->db, path, &state, &error) != PAWL_OK) {
        pawl_sqlite_note(store, "store_frozen_in_memory", &error);
        unlink_db(store, PAWL_DB_FROZEN);
        open_in_memory(store, &state);
    }
}

void pawl_frozen_open(struct pawl_sqlite *store, bool create)
{
    char path[PAWL_STORE_PATH_MAX];
    char aside[256];
    bool there = faccessat(store->options.dir_fd, PAWL_DB_FROZEN, F_OK, 0) == 0;

    pawl_sqlite_path(store, PAWL_DB_FROZEN, path);
    if (!there && !create) {
        return;
    }
    if (there && open_existing(store, path) != PAWL_OK) {
        struct pawl_error error;

        (void)pawl_error_set(&error, PAWL_ECORRUPT, 0,
                             PAWL_DB_FROZEN " is damaged and set aside; what checks out is loaded");
        pawl_sqlite_note(store, "store_frozen_damaged", &error);
        if (set_aside(store, PAWL_DB_FROZEN, aside) != PAWL_OK) {
            return;
        }
    }
    if (store->db.handle == NULL) {
        create_new(store, path);
    }
    store->origin_base = store->db.state.next_n - 1;
}

/* ---- namespaces ---- */

static void namespaces_add(struct thaw *thaw, struct pawl_bytes ns)
{
    struct namespaces *set = thaw->namespaces;

    if (ns.size == 0 || ns.size > PAWL_NS_MAX) {
        return;
    }
    uint64_t at = pawl_keyhash64(&thaw->store->keys[0].facts, ns.data, ns.size);

    for (;; at++) {
        struct pawl_name_slot *slot = &set->slots[at % NAMESPACES_SLOTS];

        if (slot->size == ns.size && memcmp(slot->data, ns.data, ns.size) == 0) {
            return;
        }
        if (slot->size == 0) {
            if (set->count < NAMESPACES_MAX) {
                slot->size = (uint8_t)ns.size;
                memcpy(slot->data, ns.data, ns.size);
                set->count++;
            }
            return;
        }
    }
}

/* ---- copying what checks out ---- */

static bool copy_fact(void *data, const struct pawl_fact_row *row)
{
    struct thaw *thaw = data;
    struct pawl_fact_row copy = *row;
    struct pawl_fact fact;

    copy.n += thaw->offset;
    if (pawl_fact_decode(&fact, row->body) != PAWL_OK) {
        return true;
    }
    namespaces_add(thaw, fact.ns);
    thaw->rc = pawl_db_fact_put(&thaw->to, &copy, NULL);
    if (copy.n >= thaw->to.state.next_n) {
        thaw->to.state.next_n = copy.n + 1;
    }
    thaw->job->thaw.facts_kept++;
    return thaw->rc == SQLITE_OK;
}

static bool copy_family(void *data, const struct pawl_family_row *row)
{
    struct thaw *thaw = data;
    struct pawl_family_row copy = *row;
    struct pawl_family family;

    if (pawl_family_decode(&family, row->body) == PAWL_OK) {
        namespaces_add(thaw, pawl_name_bytes(&family.ns));
    }
    thaw->rc = pawl_db_family_put(&thaw->to, &copy, NULL);
    thaw->job->thaw.families_kept++;
    return thaw->rc == SQLITE_OK;
}

/* A database that cannot be opened has nothing to copy; that is no error here. */
static void copy_main(struct thaw *thaw)
{
    struct pawl_sqlite *store = thaw->store;
    struct pawl_db from;
    struct pawl_walk walk;
    char path[PAWL_STORE_PATH_MAX];

    pawl_sqlite_path(store, PAWL_DB_FILE, path);
    if (pawl_db_open(&from, path, SQLITE_OPEN_READONLY, &store->vfs, store->keys,
                     store->options.keys_count) == SQLITE_OK &&
        pawl_db_prepare(&from) == SQLITE_OK) {
        thaw->rc = pawl_walk_facts(&from, copy_fact, thaw, &walk);
        if (thaw->rc == SQLITE_OK) {
            thaw->rc = pawl_walk_families(&from, copy_family, thaw, &walk);
        }
    }
    pawl_db_close(&from);
}

static void copy_frozen(struct thaw *thaw)
{
    struct pawl_sqlite *store = thaw->store;
    struct pawl_walk walk;

    thaw->offset = thaw->to.state.next_n - 1;
    if (store->db.handle == NULL) {
        return;
    }
    int rc = pawl_walk_facts(&store->db, copy_fact, thaw, &walk);

    thaw->rc = thaw->rc == SQLITE_OK ? rc : thaw->rc;
    /* Ids that were given out and then rolled back do not come again. */
    uint64_t next_n = thaw->offset + store->db.state.next_n;

    thaw->to.state.next_n = next_n > thaw->to.state.next_n ? next_n : thaw->to.state.next_n;
}

static uint64_t later_s(struct pawl_now now)
{
    uint64_t stamp_s = now.stamp.us / 1000000;
    uint64_t wall_s = now.wall.unix_s > 0 ? (uint64_t)now.wall.unix_s : 0;

    return stamp_s > wall_s ? stamp_s : wall_s;
}

static struct pawl_fact cutoff_fact(const struct thaw *thaw, struct pawl_bytes ns,
                                    uint64_t sequence)
{
    static const char actor[] = "thaw";

    return (struct pawl_fact){
        .id = { thaw->origin, sequence },
        .kind = PAWL_FACT_CUTOFF,
        .scope = PAWL_SCOPE_NAMESPACE,
        .reason = PAWL_REASON_THAW,
        .ns = ns,
        .actor = pawl_bytes_of(actor, sizeof(actor) - 1),
        .cutoff_ms = thaw->job->thaw.cutoff_ms,
        .at_ms = thaw->now.stamp.us / 1000,
        .until_s = pawl_fact_until(PAWL_SCOPE_NAMESPACE, 0, later_s(thaw->now),
                                   thaw->store->options.max_lifetime_s),
    };
}

static void put_cutoff(struct thaw *thaw, struct pawl_bytes ns, uint64_t sequence)
{
    struct pawl_fact fact = cutoff_fact(thaw, ns, sequence);
    uint8_t body[PAWL_FACT_BYTES_MAX];
    size_t size = 0;
    struct pawl_fact_row row = { .n = thaw->to.state.next_n, .until_s = fact.until_s };

    if (pawl_fact_encode(&fact, body, sizeof(body), &size) != PAWL_OK) {
        thaw->rc = SQLITE_INTERNAL;
        return;
    }
    row.body = pawl_bytes_of(body, size);
    thaw->rc = pawl_db_fact_put(&thaw->to, &row, NULL);
    thaw->to.state.next_n++;
}

static void put_cutoffs(struct thaw *thaw)
{
    uint64_t sequence = 0;

    for (unsigned i = 0; i < NAMESPACES_SLOTS && thaw->rc == SQLITE_OK; i++) {
        const struct pawl_name_slot *slot = &thaw->namespaces->slots[i];

        if (slot->size > 0) {
            put_cutoff(thaw, pawl_bytes_of(slot->data, slot->size), ++sequence);
        }
    }
}

static void tell_cutoffs(struct thaw *thaw)
{
    const struct pawl_store_events *events = &thaw->store->options.events;
    uint64_t sequence = 0;

    for (unsigned i = 0; i < NAMESPACES_SLOTS && events->on_fact != NULL; i++) {
        const struct pawl_name_slot *slot = &thaw->namespaces->slots[i];

        if (slot->size > 0) {
            struct pawl_fact fact =
                cutoff_fact(thaw, pawl_bytes_of(slot->data, slot->size), ++sequence);

            events->on_fact(events->self, &fact);
        }
    }
}

/* ---- the steps ---- */

/* What the new database begins with: what is known of the old one, and no rows. */
static enum pawl_status begin_state(struct thaw *thaw, struct pawl_state *state)
{
    struct pawl_sqlite *store = thaw->store;
    enum pawl_status status = pawl_sqlite_new_state(store, state);

    if (status != PAWL_OK) {
        return status;
    }
    if (store->main.commits > 0) {
        *state = store->main;
        memset(state->facts, 0, sizeof(state->facts));
        memset(state->families, 0, sizeof(state->families));
    }
    if (store->commits_known > state->commits) {
        state->commits = store->commits_known;
    }
    state->floor_ms = thaw->job->thaw.cutoff_ms;
    if (thaw->now.stamp.us > state->stamp_us) {
        state->stamp_us = thaw->now.stamp.us;
    }
    return PAWL_OK;
}

/* Write pawl-thaw.db, whole and synced. */
static enum pawl_status build(struct thaw *thaw, uint64_t *origin_base)
{
    struct pawl_sqlite *store = thaw->store;
    struct pawl_error *error = &thaw->job->error;
    struct pawl_state state;
    char path[PAWL_STORE_PATH_MAX];
    enum pawl_status status = begin_state(thaw, &state);

    unlink_db(store, PAWL_DB_THAW);
    pawl_sqlite_path(store, PAWL_DB_THAW, path);
    if (status == PAWL_OK) {
        status = pawl_sqlite_create(store, &thaw->to, path, &state, error);
    }
    if (status != PAWL_OK) {
        return status;
    }
    thaw->rc = pawl_db_begin(&thaw->to);
    if (thaw->rc == SQLITE_OK && store->main_there) {
        copy_main(thaw);
    }
    if (thaw->rc == SQLITE_OK) {
        copy_frozen(thaw);
        *origin_base = thaw->offset + (store->db.handle != NULL ? store->origin_base : 0);
        namespaces_add(thaw, pawl_bytes_of("default", 7));
    }
    if (thaw->rc == SQLITE_OK) {
        put_cutoffs(thaw);
    }
    if (thaw->rc == SQLITE_OK) {
        thaw->rc = pawl_db_commit(&thaw->to);
    }
    if (thaw->rc == SQLITE_OK) {
        thaw->rc = pawl_db_checkpoint(&thaw->to, true);
    }
    status = thaw->rc == SQLITE_OK
                 ? PAWL_OK
                 : pawl_db_error(&thaw->to, &store->vfs, thaw->rc, PAWL_DB_THAW, error);
    pawl_db_close(&thaw->to);
    return status;
}

/* Open the new pawl.db, check it like at a start, and take it for ours. */
static enum pawl_status adopt(struct thaw *thaw)
{
    struct pawl_sqlite *store = thaw->store;
    struct pawl_error *error = &thaw->job->error;
    struct pawl_db db;
    struct pawl_load load = { .damaged = true };
    struct pawl_places places = { .bases = NULL };
    char path[PAWL_STORE_PATH_MAX];

    pawl_sqlite_path(store, PAWL_DB_FILE, path);
    int rc = pawl_db_open(&db, path, SQLITE_OPEN_READWRITE, &store->vfs, store->keys,
                          store->options.keys_count);

    if (rc != SQLITE_OK || pawl_load(&db, NULL, &places, &load) != PAWL_OK || load.damaged ||
        pawl_db_settle(&db) != SQLITE_OK) {
        pawl_db_close(&db);
        pawl_places_deinit(&places);
        return pawl_error_set(error, PAWL_EUNAVAIL, 0,
                              "the new pawl.db does not check out, the node stays frozen: check "
                              "the disk");
    }
    pawl_db_close(&store->db);
    store->db = db;
    store->in_memory = false;
    pawl_sqlite_watch_log(store);
    (void)pthread_mutex_lock(&store->text_lock);
    pawl_places_deinit(&store->places);
    store->places = places;
    (void)pthread_mutex_unlock(&store->text_lock);
    return PAWL_OK;
}

static enum pawl_status swap(struct thaw *thaw)
{
    struct pawl_sqlite *store = thaw->store;
    int dir = store->options.dir_fd;
    struct pawl_error *error = &thaw->job->error;

    if (set_aside(store, PAWL_DB_FILE, thaw->job->thaw.set_aside) != PAWL_OK) {
        return pawl_error_set(error, PAWL_EIO, errno, "pawl.db cannot be set aside: %s",
                              strerror(errno));
    }
    store->main_there = false;
    if (renameat2(dir, PAWL_DB_THAW, dir, PAWL_DB_FILE, RENAME_NOREPLACE) != 0 ||
        pawl_dir_sync(dir) != PAWL_OK) {
        return pawl_error_set(error, PAWL_EIO, errno, "the new pawl.db cannot be put in place: %s",
                              strerror(errno));
    }
    return adopt(thaw);
}

static enum pawl_status run(struct thaw *thaw)
{
    struct pawl_sqlite *store = thaw->store;
    uint64_t origin_base = 0;
    enum pawl_status status = build(thaw, &origin_base);

    if (status == PAWL_OK) {
        status = swap(thaw);
    }
    if (status != PAWL_OK) {
        return status;
    }
    store->origin_base = origin_base;
    atomic_store(&store->durable_commits, store->db.state.commits);
    atomic_store(&store->floor_ms, store->db.state.floor_ms);
    atomic_store(&store->birth_us, store->db.state.birth_us);
    pawl_sqlite_mark(store);
    unlink_db(store, PAWL_DB_FROZEN);
    if (pawl_dir_sync(store->options.dir_fd) != PAWL_OK) {
        pawl_sqlite_note(store, "store_dir_sync_refused", NULL); /* at worst one more thaw */
    }
    tell_cutoffs(thaw);
    pawl_sqlite_set_frozen(store, NULL);
    return PAWL_OK;
}

void pawl_thaw(struct pawl_sqlite *store, struct pawl_job *job)
{
    struct thaw thaw = { .store = store, .job = job };

    job->now = job->has_now ? job->now : pawl_clock_read(store->options.clock);
    thaw.now = job->now;
    memset(&job->thaw, 0, sizeof(job->thaw));
    if (!atomic_load(&store->frozen)) {
        job->status = pawl_error_set(&job->error, PAWL_EINVAL, 0, "the store is not frozen");
        return;
    }
    if (atomic_load(&store->distrusted)) {
        job->status = pawl_error_set(&job->error, PAWL_EUNAVAIL, 0,
                                     "a sync failed: check the disk, restart, then thaw");
        return;
    }
    thaw.namespaces = sqlite3_malloc64(sizeof(*thaw.namespaces));
    if (thaw.namespaces == NULL) {
        job->status = pawl_error_set(&job->error, PAWL_ENOMEM, 0, "out of memory");
        return;
    }
    memset(thaw.namespaces, 0, sizeof(*thaw.namespaces));
    thaw.origin = store->origin;
    job->status = store->options.entropy->fill(store->options.entropy->self,
                                               thaw.origin.bytes + PAWL_NODE_BYTES,
                                               sizeof(thaw.origin.bytes) - PAWL_NODE_BYTES);
    if (job->status != PAWL_OK) {
        (void)pawl_error_set(&job->error, job->status, 0, "the system gives no randomness");
        sqlite3_free(thaw.namespaces);
        return;
    }
    /* No login was made since it froze, which is longer ago than one is ever born ahead. */
    job->thaw.cutoff_ms = pawl_cutoff_ms(thaw.now.stamp, 0, 0);
    job->status = run(&thaw);
    job->reached = job->status == PAWL_OK ? PAWL_ACK_DURABLE : PAWL_ACK_DEFAULT;
    if (job->status == PAWL_OK) {
        pawl_log_event(store->options.log, PAWL_LOG_WARN, "store_thawed",
                       PAWL_F_U64("facts_kept", job->thaw.facts_kept),
                       PAWL_F_U64("families_kept", job->thaw.families_kept),
                       PAWL_F_U64("cutoff_ms", job->thaw.cutoff_ms),
                       PAWL_F_I64("lost_since_unix_s", job->lost_since_unix_s),
                       PAWL_F_TEXT("set_aside", job->thaw.set_aside));
    } else {
        pawl_sqlite_note(store, "store_thaw_refused", &job->error);
    }
    sqlite3_free(thaw.namespaces);
}
