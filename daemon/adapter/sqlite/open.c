/*
 * Opening: look at what is there before anything is written, then decide between a fresh store, a
 * whole one, and a frozen one.
 */
#include "adapter/sqlite/open.h"

#include "adapter/sqlite/schema.h"
#include "adapter/sqlite/walcheck.h"
#include "adapter/sys/data_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The steps from older versions of pawl.db; version 1 is the first. */
static const struct pawl_schema_step *const steps = NULL;
#define STEPS 0

struct opening {
    struct pawl_sqlite *store;
    struct pawl_error *error;
    struct pawl_mark mark;
    enum pawl_status mark_status;
    bool traces; /* something but pawl.db says that there was a store */
    bool fresh;
    char reason[PAWL_REASON_BYTES]; /* not "": frozen */
};

static void freeze(struct opening *o, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void freeze(struct opening *o, const char *format, ...)
{
    va_list args;

    if (o->reason[0] == '\0') { /* the first reason is the cause */
        va_start(args, format);
        (void)vsnprintf(o->reason, sizeof(o->reason), format, args);
        va_end(args);
    }
}

static uint64_t size_of(const struct pawl_sqlite *store, const char *name, bool *there)
{
    struct stat info;

    *there = fstatat(store->options.dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0;
    return *there ? (uint64_t)info.st_size : 0;
}

/* ---- what is there ---- */

static enum pawl_status look_around(struct opening *o)
{
    struct pawl_sqlite *store = o->store;
    bool frozen_there;
    bool counters_there;

    (void)size_of(store, PAWL_DB_FROZEN, &frozen_there);
    (void)size_of(store, PAWL_COUNTER_FILE, &counters_there);
    o->mark_status =
        pawl_mark_read(store->options.dir_fd, store->keys, store->options.keys_count, &o->mark);
    store->commits_known = o->mark.commits;
    o->traces = frozen_there || counters_there || o->mark_status != PAWL_ENOENT;
    if (frozen_there) {
        freeze(o, "it was frozen before: " PAWL_DB_FROZEN " holds revocations taken meanwhile");
    }
    if (o->mark_status == PAWL_EVERSION) {
        return pawl_error_set(o->error, PAWL_EVERSION, 0,
                              PAWL_MARK_FILE " was written by a newer pawld: start that one, "
                                             "nothing was changed");
    }
    return PAWL_OK;
}

static enum pawl_status other_secret(struct opening *o, const char *file)
{
    return pawl_error_set(o->error, PAWL_ESECRET, 0,
                          "%s was made with another secret (or its check value is damaged): use "
                          "the secret it was made with, nothing was changed",
                          file);
}

/* ---- a new one ---- */

static enum pawl_status make_fresh(struct opening *o)
{
    struct pawl_sqlite *store = o->store;
    struct pawl_state state;
    char path[PAWL_STORE_PATH_MAX];
    enum pawl_status status = pawl_sqlite_new_state(store, &state);

    if (status != PAWL_OK) {
        return pawl_error_set(o->error, status, 0, "the system gives no randomness");
    }
    o->fresh = true;
    pawl_sqlite_path(store, PAWL_DB_FILE, path);
    status = pawl_sqlite_create(store, &store->db, path, &state, o->error);
    if (status == PAWL_OK && pawl_dir_sync(store->options.dir_fd) != PAWL_OK) {
        status = pawl_error_set(o->error, PAWL_EIO, errno, "%s cannot be synced: %s",
                                store->options.path, strerror(errno));
    }
    return status;
}

static enum pawl_status missing(struct opening *o, const char *how)
{
    if (!o->traces) {
        return make_fresh(o);
    }
    if (o->mark_status == PAWL_ESECRET) {
        return other_secret(o, PAWL_MARK_FILE);
    }
    freeze(o, PAWL_DB_FILE " %s, but other files say that there was one", how);
    return PAWL_OK;
}

/* ---- one that is there ---- */

static enum pawl_status check_version(struct opening *o, bool *go_on)
{
    struct pawl_sqlite *store = o->store;
    int version = pawl_schema_version(store->db.handle);

    *go_on = false;
    if (version < 0) {
        freeze(o, PAWL_DB_FILE " cannot be read: %.120s", sqlite3_errmsg(store->db.handle));
        return PAWL_OK;
    }
    if (version == PAWL_SCHEMA_VERSION) {
        *go_on = true;
        return PAWL_OK;
    }
    if (version == 0 && pawl_schema_is_empty(store->db.handle)) {
        pawl_db_close(&store->db);
        store->main_there = o->traces;
        return missing(o, "is empty");
    }
    enum pawl_status status =
        pawl_schema_migrate(store->db.handle, steps, STEPS, NULL, PAWL_SCHEMA_VERSION, o->error);

    *go_on = status == PAWL_OK;
    return status;
}

static void compare_with_mark(struct opening *o)
{
    const struct pawl_state *state = &o->store->db.state;

    if (o->mark_status == PAWL_OK && memcmp(o->mark.birth, state->birth, PAWL_BIRTH_BYTES) != 0) {
        freeze(o, PAWL_DB_FILE " is not the store that was here: it was replaced");
    } else if (o->mark_status == PAWL_OK && o->mark.commits > state->commits) {
        freeze(o,
               PAWL_DB_FILE " holds %llu of %llu transactions: it is older than it was, or its "
                            "log was lost",
               (unsigned long long)state->commits, (unsigned long long)o->mark.commits);
    } else if (o->mark_status != PAWL_OK) {
        struct pawl_error error;

        (void)pawl_error_set(&error, o->mark_status, 0,
                             PAWL_MARK_FILE " is %s and made anew: whether " PAWL_DB_FILE
                                            " is an older copy cannot be told",
                             o->mark_status == PAWL_ENOENT ? "missing" : "damaged");
        pawl_sqlite_note(o->store, "store_mark_made_anew", &error);
    }
}

static enum pawl_status check_rows(struct opening *o)
{
    struct pawl_sqlite *store = o->store;
    struct pawl_load load;
    enum pawl_status status = pawl_load(&store->db, &store->options.events, &store->places, &load);

    if (status == PAWL_ESECRET) {
        return other_secret(o, PAWL_DB_FILE);
    }
    if (status != PAWL_OK) {
        return pawl_error_set(o->error, status, 0, PAWL_DB_FILE ": %s", pawl_status_text(status));
    }
    store->main = store->db.state;
    atomic_store(&store->stats.facts, load.facts);
    atomic_store(&store->stats.families, load.families);
    if (load.damaged) {
        freeze(o, PAWL_DB_FILE " is damaged: %s", load.reason);
        return PAWL_OK;
    }
    compare_with_mark(o);
    if (store->options.test_clock && !store->db.state.test_clock) {
        return pawl_error_set(o->error, PAWL_EINVAL, 0,
                              "--test-clock: this data_dir has run without it, use another one");
    }
    return PAWL_OK;
}

/* What opening it says: refuse, freeze (PAWL_OK), or go on. */
static enum pawl_status judge_open(struct opening *o, int rc)
{
    int primary = rc & 0xff;

    if (primary == SQLITE_NOMEM) {
        return pawl_error_set(o->error, PAWL_ENOMEM, 0, PAWL_DB_FILE ": out of memory");
    }
    if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED) {
        return pawl_error_set(o->error, PAWL_EBUSY, 0,
                              PAWL_DB_FILE " is locked by another program: close it");
    }
    freeze(o, PAWL_DB_FILE " cannot be opened: %.120s", sqlite3_errstr(rc));
    return PAWL_OK;
}

static enum pawl_status look_inside(struct opening *o)
{
    struct pawl_sqlite *store = o->store;
    struct pawl_walcheck wal;
    struct pawl_error detail = { .status = PAWL_OK };
    char path[PAWL_STORE_PATH_MAX];
    bool go_on = true;

    store->main_there = true;
    /* Before SQLite sees it: it would silently drop what stands behind a bad frame. */
    if (pawl_walcheck_file(store->options.dir_fd, PAWL_DB_LOG, &wal, &detail) != PAWL_OK) {
        freeze(o, "%.180s", detail.text);
    }
    pawl_sqlite_path(store, PAWL_DB_FILE, path);
    int rc = pawl_db_open(&store->db, path, SQLITE_OPEN_READWRITE, &store->vfs, store->keys,
                          store->options.keys_count);

    if (rc != SQLITE_OK) {
        return judge_open(o, rc);
    }
    if (sqlite3_db_readonly(store->db.handle, "main") == 1 ||
        faccessat(store->options.dir_fd, PAWL_DB_FILE, W_OK, 0) != 0) {
        return pawl_error_set(o->error, PAWL_EPERM, 0,
                              PAWL_DB_FILE " in %s cannot be written: check its owner and mode, "
                                           "and whether the disk is mounted read-only",
                              store->options.path);
    }
    enum pawl_status status = check_version(o, &go_on);

    return status == PAWL_OK && go_on ? check_rows(o) : status;
}

static enum pawl_status examine(struct opening *o)
{
    struct pawl_sqlite *store = o->store;
    bool there;
    bool log_there;
    uint64_t size = size_of(store, PAWL_DB_FILE, &there);
    uint64_t log_size = size_of(store, PAWL_DB_LOG, &log_there);

    if (!there || size == 0) {
        o->traces = o->traces || log_size > 0;
        store->main_there = there;
        return missing(o, there ? "is empty" : "is missing");
    }
    return look_inside(o);
}

/* ---- counters ---- */

static void report_counters(struct opening *o, const struct pawl_counter_report *report)
{
    struct pawl_sqlite *store = o->store;

    if (report->damage != PAWL_OK) {
        struct pawl_error error;

        (void)pawl_error_set(&error, report->damage, 0,
                             PAWL_COUNTER_FILE " is %s: kept as %s, %llu records before the damage "
                                               "are used",
                             pawl_status_text(report->damage), report->set_aside,
                             (unsigned long long)report->records);
        pawl_sqlite_note(store, "counters_set_aside", &error);
    } else if (report->torn_bytes > 0) {
        pawl_log_event(store->options.log, PAWL_LOG_INFO, "counters_torn_end",
                       PAWL_F_U64("bytes", report->torn_bytes));
    }
    if (report->commits > store->commits_known) {
        store->commits_known = report->commits;
    }
    if (store->main.commits > 0 && report->commits > store->main.commits) {
        freeze(o,
               PAWL_DB_FILE " holds %llu transactions, the counters saw %llu: it is older than "
                            "it was",
               (unsigned long long)store->main.commits, (unsigned long long)report->commits);
    }
}

static void open_counters(struct opening *o)
{
    struct pawl_counter_report report;
    struct pawl_error error;

    if (pawl_saver_open(o->store, &report, &error) != PAWL_OK) {
        pawl_sqlite_note(o->store, "counters_not_opened", &error); /* limits go on */
        return;
    }
    report_counters(o, &report);
}

/* ---- the end of it ---- */

/* The first transaction of this life: shows that the disk takes one, and moves the clocks on. */
static enum pawl_status first_commit(struct opening *o)
{
    struct pawl_sqlite *store = o->store;
    struct pawl_now now = pawl_clock_read(store->options.clock);
    struct pawl_state *state = &store->db.state;
    struct pawl_error error;
    int rc = pawl_db_settle(&store->db);

    if (rc == SQLITE_OK) {
        rc = pawl_db_prepare(&store->db);
    }
    if (rc == SQLITE_OK) {
        rc = pawl_db_begin(&store->db);
    }
    if (rc == SQLITE_OK) {
        pawl_state_trim_advance(state, store->options.boot_id, now.instant.ns);
        state->stamp_us = now.stamp.us > state->stamp_us ? now.stamp.us : state->stamp_us;
        state->test_clock = state->test_clock && store->options.test_clock;
        rc = pawl_db_commit(&store->db);
    }
    if (rc != SQLITE_OK) {
        enum pawl_status status = pawl_db_error(&store->db, &store->vfs, rc, PAWL_DB_FILE, &error);

        if (atomic_load(&store->vfs.sync_failed)) {
            atomic_store(&store->distrusted, true);
        }
        pawl_sqlite_note(store, "store_first_commit_refused", &error);
        if (status == PAWL_ENOMEM || (rc & 0xff) == SQLITE_READONLY) {
            *o->error = error;
            return PAWL_EPERM;
        }
    }
    atomic_store(&store->durable_commits, state->commits);
    return PAWL_OK;
}

static void go_frozen(struct opening *o)
{
    struct pawl_sqlite *store = o->store;

    pawl_db_close(&store->db); /* leaves file and log as they are */
    memset(&store->db.state, 0, sizeof(store->db.state));
    pawl_sqlite_set_frozen(store, o->reason);
    pawl_frozen_open(store, false);
}

/* From here on it moves with BOOTTIME alone. */
static void note_slow_clock(struct pawl_sqlite *store)
{
    struct pawl_state at = store->db.state;
    struct pawl_now now = pawl_clock_read(store->options.clock);

    if (at.trim_us != 0) {
        pawl_state_trim_advance(&at, store->options.boot_id, now.instant.ns);
    }
    store->slow_us = at.trim_us;
    store->slow_boottime_ns = now.instant.ns;
}

enum pawl_status pawl_sqlite_open_files(struct pawl_sqlite *store, struct pawl_error *error)
{
    struct opening o = { .store = store, .error = error };
    enum pawl_status status = look_around(&o);

    if (status == PAWL_OK) {
        status = examine(&o);
    }
    if (status != PAWL_OK) {
        return status;
    }
    if (store->options.frozen) {
        freeze(&o, "started frozen by hand");
    }
    if (store->options.clock->raise != NULL) {
        store->options.clock->raise(store->options.clock->self,
                                    (struct pawl_stamp){ store->db.state.stamp_us });
    }
    memcpy(store->origin.bytes,
           store->db.state.commits > 0 ? store->db.state.node : store->new_node, PAWL_NODE_BYTES);
    note_slow_clock(store);
    atomic_store(&store->floor_ms, store->db.state.floor_ms);
    atomic_store(&store->birth_us, store->db.state.birth_us);
    if (!store->options.no_counters) {
        open_counters(&o);
    }
    if (o.reason[0] != '\0') {
        go_frozen(&o);
        return PAWL_OK;
    }
    store->origin_base = store->db.state.next_n - 1;
    status = first_commit(&o);
    if (status == PAWL_OK) {
        store->mark_fd = pawl_mark_open(store->options.dir_fd);
        pawl_sqlite_mark(store);
    }
    return status;
}
