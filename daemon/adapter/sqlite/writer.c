/*
 * The writer: takes what waits, does it in one transaction, commits, and only then answers.
 */
#include "adapter/sqlite/internal.h"

#include <string.h>

#define IDLE_MS       1000
#define TRIM_ROWS     4096 /* looked at in one step */
#define TRIM_DELETES  1024
#define TRIM_REST     60 /* seconds between two passes */
#define TRIM_EVERY_NS UINT64_C(1000000000)

/* One transaction in the making. */
struct txn {
    struct pawl_sqlite *store;
    struct pawl_now now;
    int rc;     /* SQLITE_OK, or what ended it */
    bool wrote; /* something to commit */
};

static enum pawl_status refuse_frozen(struct pawl_sqlite *store, struct pawl_job *job)
{
    (void)pthread_mutex_lock(&store->text_lock);
    enum pawl_status status =
        pawl_error_set(&job->error, PAWL_EFROZEN, 0, "frozen (%.160s): pawlctl thaw ends it",
                       store->reason);

    (void)pthread_mutex_unlock(&store->text_lock);
    return status;
}

/* ---- facts ---- */

static enum pawl_status check_room(const struct txn *txn, unsigned more, struct pawl_error *error)
{
    uint64_t max = txn->store->options.facts_max;

    if (pawl_digest_count(txn->store->db.state.facts) + more > max) {
        return pawl_error_set(error, PAWL_EFULL, 0, "the store holds %llu facts, its ceiling",
                              (unsigned long long)max);
    }
    return PAWL_OK;
}

/* Give @fact the next id and write it. */
static enum pawl_status put_fact(struct txn *txn, struct pawl_fact *fact, struct pawl_error *error)
{
    struct pawl_sqlite *store = txn->store;
    struct pawl_db *db = &store->db;
    uint8_t body[PAWL_FACT_BYTES_MAX];
    size_t size = 0;
    struct pawl_fact_row row = { .n = db->state.next_n, .until_s = fact->until_s };

    enum pawl_status status = check_room(txn, 1, error);

    fact->id.origin = store->origin;
    fact->id.sequence = row.n - store->origin_base;
    if (status == PAWL_OK) {
        status = pawl_fact_check(fact, error);
    }

    if (status == PAWL_OK) {
        status = pawl_fact_encode(fact, body, sizeof(body), &size);
    }
    if (status != PAWL_OK) {
        return status;
    }
    row.body = pawl_bytes_of(body, size);
    txn->rc = pawl_db_fact_put(db, &row, NULL);
    if (txn->rc != SQLITE_OK) {
        return PAWL_EUNAVAIL;
    }
    db->state.next_n++;
    txn->wrote = true;
    return PAWL_OK;
}

static enum pawl_status do_append(struct txn *txn, struct pawl_job *job)
{
    enum pawl_status status = put_fact(txn, &job->fact, &job->error);

    job->id = job->fact.id;
    return status;
}

static enum pawl_status do_cancel(struct txn *txn, struct pawl_job *job)
{
    struct pawl_bytes ids = job->fact.cancels;
    enum pawl_status status = pawl_fact_check(&job->fact, &job->error);

    job->canceled = 0;
    if (status == PAWL_OK && job->fact.kind != PAWL_FACT_CANCEL) {
        status = PAWL_EINVAL;
    }
    if (status == PAWL_OK) {
        status = check_room(txn, 1, &job->error);
    }
    if (status != PAWL_OK) {
        return status;
    }
    for (size_t at = 0; at + PAWL_FACT_ID_BYTES <= ids.size; at += PAWL_FACT_ID_BYTES) {
        struct pawl_fact_id id = pawl_fact_id_read(ids.data + at);

        status = pawl_sqlite_cancel_one(txn->store, job->fact.ns, &id, &txn->rc);
        if (status == PAWL_EUNAVAIL) {
            return status;
        }
        job->canceled += status == PAWL_OK ? 1 : 0;
    }
    if (job->canceled == 0) {
        return pawl_error_set(&job->error, PAWL_ENOENT, 0,
                              "none of the ids names a token's fact that is held and counts in "
                              "this namespace");
    }
    return do_append(txn, job);
}

/* ---- families ---- */

static uint64_t family_until(const struct pawl_sqlite *store, const struct pawl_family *family)
{
    int64_t until = family->cur.exp_s > family->prev.exp_s ? family->cur.exp_s : family->prev.exp_s;
    uint64_t keep = store->options.max_lifetime_s;

    until = until > 0 ? until : 0;
    return (uint64_t)until > INT64_MAX - keep ? INT64_MAX : (uint64_t)until + keep;
}

static enum pawl_status put_family(struct txn *txn, struct pawl_job *job,
                                   const struct pawl_family_outcome *outcome,
                                   const uint64_t *old_mac)
{
    struct pawl_db *db = &txn->store->db;
    uint8_t body[PAWL_FAMILY_BYTES_MAX];
    size_t size = 0;
    struct pawl_family_row row = {
        .key = job->family,
        .until_s = family_until(txn->store, &outcome->record),
    };
    enum pawl_status status = pawl_family_encode(&outcome->record, body, sizeof(body), &size);

    if (status == PAWL_OK) {
        struct pawl_family again; /* what could not be read back would be lost for good */

        status = pawl_family_decode(&again, pawl_bytes_of(body, size)) == PAWL_OK ? PAWL_OK
                                                                                  : PAWL_EINVAL;
    }
    if (status != PAWL_OK) {
        return pawl_error_set(&job->error, status, 0, "the record of the family is %s",
                              pawl_status_text(status));
    }
    row.body = pawl_bytes_of(body, size);
    txn->rc = pawl_db_family_put(db, &row, old_mac);
    txn->wrote = true;
    return txn->rc == SQLITE_OK ? PAWL_OK : PAWL_EUNAVAIL;
}

/* Everything that could refuse the outcome comes before the first write of it. */
static enum pawl_status check_outcome(const struct txn *txn, struct pawl_job *job,
                                      const struct pawl_family_outcome *outcome, bool is_new)
{
    const struct pawl_state *state = &txn->store->db.state;
    const struct pawl_sqlite_options *options = &txn->store->options;

    if (outcome->fact_count > PAWL_JOB_FACTS_MAX) {
        return PAWL_EINVAL;
    }
    for (unsigned i = 0; i < outcome->fact_count; i++) {
        struct pawl_fact fact = outcome->facts[i];

        fact.id = (struct pawl_fact_id){ .origin = txn->store->origin, .sequence = 1 };
        enum pawl_status status = pawl_fact_check(&fact, &job->error);

        if (status != PAWL_OK) {
            return status;
        }
    }
    if (outcome->write && is_new && pawl_digest_count(state->families) >= options->families_max) {
        return pawl_error_set(&job->error, PAWL_EFULL, 0,
                              "the store holds %llu families, its ceiling",
                              (unsigned long long)options->families_max);
    }
    return check_room(txn, outcome->fact_count, &job->error);
}

static enum pawl_status apply_outcome(struct txn *txn, struct pawl_job *job,
                                      struct pawl_family_outcome *outcome, const uint64_t *old_mac)
{
    enum pawl_status status = check_outcome(txn, job, outcome, old_mac == NULL);

    if (status == PAWL_OK && outcome->write) {
        status = put_family(txn, job, outcome, old_mac);
    }
    for (unsigned i = 0; i < outcome->fact_count && status == PAWL_OK; i++) {
        status = put_fact(txn, &outcome->facts[i], &job->error);
        job->id = outcome->facts[i].id;
    }
    return status;
}

static enum pawl_status do_family(struct txn *txn, struct pawl_job *job,
                                  struct pawl_family_outcome *outcome)
{
    struct pawl_family_row row;
    struct pawl_family old;
    int rc = pawl_db_family_get(&txn->store->db, job->family, &row);
    bool there = rc == SQLITE_ROW;
    uint64_t old_mac = there ? row.mac : 0;

    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        txn->rc = rc;
        return PAWL_EUNAVAIL;
    }
    if (there) {
        enum pawl_status status = pawl_family_decode(&old, row.body);

        pawl_db_walk_end(&txn->store->db, PAWL_STMT_FAMILY_GET);
        if (status != PAWL_OK) {
            return pawl_error_set(&job->error, PAWL_EUNAVAIL, 0, "the record of this family is %s",
                                  pawl_status_text(status));
        }
    }
    job->decide(job, there ? &old : NULL, job->now, outcome);
    return apply_outcome(txn, job, outcome, there ? &old_mac : NULL);
}

/* ---- one batch ---- */

static enum pawl_status do_job(struct txn *txn, struct pawl_job *job,
                               struct pawl_family_outcome *outcome)
{
    struct pawl_sqlite *store = txn->store;
    bool frozen = atomic_load(&store->frozen);

    outcome->write = false;
    outcome->fact_count = 0;
    switch (job->kind) {
    case PAWL_JOB_APPEND:
        return do_append(txn, job);
    case PAWL_JOB_CANCEL:
        return frozen ? refuse_frozen(store, job) : do_cancel(txn, job);
    case PAWL_JOB_FAMILY:
        return frozen ? refuse_frozen(store, job) : do_family(txn, job, outcome);
    case PAWL_JOB_FOLLOW:
        return frozen ? refuse_frozen(store, job) : pawl_sqlite_follow(store, job);
    case PAWL_JOB_KEEP:
        return pawl_sqlite_keep(store, job, &txn->rc, &txn->wrote);
    case PAWL_JOB_FLUSH:
        return PAWL_OK;
    default:
        return PAWL_EINVAL;
    }
}

static bool needs_database(const struct pawl_sqlite *store, struct pawl_job *const *jobs,
                           unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (jobs[i]->kind == PAWL_JOB_APPEND || jobs[i]->kind == PAWL_JOB_KEEP ||
            !atomic_load(&store->frozen)) {
            return true;
        }
    }
    return false;
}

/* Do all jobs, stopping at what ends the transaction. */
static void do_jobs(struct txn *txn, struct pawl_job *const *jobs, unsigned count)
{
    struct pawl_sqlite *store = txn->store;
    struct pawl_state *state = &store->db.state;

    for (unsigned i = 0; i < count && txn->rc == SQLITE_OK; i++) {
        struct pawl_job *job = jobs[i];

        job->now = job->has_now ? job->now : txn->now;
        state->stamp_us = job->now.stamp.us > state->stamp_us ? job->now.stamp.us : state->stamp_us;
        job->status = do_job(txn, job, &store->outcomes[i]);
    }
}

static void fail_jobs(struct pawl_job *const *jobs, unsigned count, const struct pawl_error *error)
{
    for (unsigned i = 0; i < count; i++) {
        /* What was refused for its own sake keeps its own reason. */
        if (jobs[i]->status == PAWL_OK || jobs[i]->status == PAWL_EUNAVAIL) {
            jobs[i]->status = PAWL_EUNAVAIL;
            jobs[i]->error = *error;
        }
    }
}

/* A transaction that did not go through: nothing of it counts, and no id of it comes again. */
static void give_up(struct txn *txn, const struct pawl_state *saved, struct pawl_job *const *jobs,
                    unsigned count)
{
    struct pawl_sqlite *store = txn->store;
    uint64_t next_n = store->db.state.next_n;
    struct pawl_error error = { .status = PAWL_OK };
    int primary = txn->rc & 0xff;

    (void)pawl_db_error(&store->db, &store->vfs, txn->rc,
                        atomic_load(&store->frozen) ? PAWL_DB_FROZEN : PAWL_DB_FILE, &error);
    pawl_db_rollback(&store->db);
    store->db.state = *saved;
    store->db.state.next_n = next_n;
    if (atomic_load(&store->vfs.sync_failed) || primary == SQLITE_CORRUPT ||
        primary == SQLITE_NOTADB) {
        atomic_store(&store->distrusted, true);
    }
    atomic_fetch_add(&store->stats.commit_failures, 1);
    pawl_sqlite_note(store, "store_commit_refused", &error);
    fail_jobs(jobs, count, &error);
}

static void tell_canceled(struct pawl_sqlite *store, const struct pawl_job *job);

/* The facts that a committed job brought. */
static void tell_facts(struct pawl_sqlite *store, const struct pawl_job *job,
                       const struct pawl_family_outcome *outcome)
{
    const struct pawl_store_events *events = &store->options.events;

    if (job->status != PAWL_OK) {
        return;
    }
    if (job->kind == PAWL_JOB_CANCEL) {
        tell_canceled(store, job);
    } else if (job->kind == PAWL_JOB_APPEND && events->on_fact != NULL &&
               job->fact.kind != PAWL_FACT_CANCEL && pawl_fact_is_known(&job->fact)) {
        events->on_fact(events->self, &job->fact);
    }
    for (unsigned i = 0; i < outcome->fact_count && events->on_fact != NULL; i++) {
        events->on_fact(events->self, &outcome->facts[i]);
    }
}

static void account(struct pawl_sqlite *store, unsigned count, uint64_t started_ns)
{
    struct pawl_store_stats *stats = &store->stats;
    uint64_t us = (pawl_clock_read(store->options.clock).instant.ns - started_ns) / 1000;

    atomic_fetch_add(&stats->commits, 1);
    atomic_fetch_add(&stats->batch_jobs, count);
    if (count > atomic_load(&stats->batch_largest)) {
        atomic_store(&stats->batch_largest, count);
    }
    atomic_store(&stats->commit_us_last, us);
    atomic_fetch_add(&stats->commit_us_total, us);
    if (us > atomic_load(&stats->commit_us_max)) {
        atomic_store(&stats->commit_us_max, us);
    }
    atomic_store(&stats->facts, pawl_digest_count(store->db.state.facts));
    atomic_store(&stats->families, pawl_digest_count(store->db.state.families));
}

static void commit(struct txn *txn)
{
    struct pawl_sqlite *store = txn->store;

    if (txn->rc != SQLITE_OK || !txn->wrote) {
        return;
    }
    pawl_state_trim_advance(&store->db.state, store->options.boot_id, txn->now.instant.ns);
    txn->rc = pawl_db_commit(&store->db);
    if (txn->rc == SQLITE_OK && !atomic_load(&store->frozen)) {
        atomic_store(&store->durable_commits, store->db.state.commits);
        pawl_sqlite_mark(store);
    }
}

/* The answers of a batch that is on disk. */
static void settle(struct txn *txn, struct pawl_job *const *jobs, unsigned count)
{
    struct pawl_sqlite *store = txn->store;

    for (unsigned i = 0; i < count; i++) {
        jobs[i]->reached = store->in_memory ? PAWL_ACK_MEMORY : PAWL_ACK_DURABLE;
        tell_facts(store, jobs[i], &store->outcomes[i]);
    }
}

static void run_txn(struct pawl_sqlite *store, struct pawl_job *const *jobs, unsigned count)
{
    struct txn txn = { .store = store, .now = pawl_clock_read(store->options.clock) };
    struct pawl_state saved = store->db.state;
    bool database = needs_database(store, jobs, count);

    if (database && atomic_load(&store->frozen) && store->db.handle == NULL) {
        pawl_frozen_open(store, true);
        if (store->db.handle != NULL) {
            pawl_sqlite_watch_log(store);
        }
        saved = store->db.state;
    }
    if (database) {
        txn.rc = store->db.handle != NULL ? pawl_db_begin(&store->db) : SQLITE_CANTOPEN;
    }
    do_jobs(&txn, jobs, count);
    commit(&txn);
    if (txn.rc != SQLITE_OK) {
        give_up(&txn, &saved, jobs, count);
        return;
    }
    if (database && !txn.wrote) {
        pawl_db_rollback(&store->db);
        uint64_t stamp_us = store->db.state.stamp_us;

        store->db.state = saved;
        store->db.state.stamp_us = stamp_us;
    } else if (txn.wrote) {
        account(store, count, txn.now.instant.ns);
    }
    settle(&txn, jobs, count);
}

static void run_batch(struct pawl_sqlite *store, struct pawl_job *const *jobs, unsigned count)
{
    if (count == 1 && jobs[0]->kind == PAWL_JOB_THAW) {
        pawl_thaw(store, jobs[0]);
    } else if (atomic_load(&store->distrusted)) {
        struct pawl_error error = { .status = PAWL_OK };

        (void)pthread_mutex_lock(&store->text_lock);
        error = store->last_error;
        (void)pthread_mutex_unlock(&store->text_lock);
        error.status = PAWL_EUNAVAIL;
        for (unsigned i = 0; i < count; i++) {
            jobs[i]->status = PAWL_OK;
        }
        fail_jobs(jobs, count, &error);
    } else {
        run_txn(store, jobs, count);
    }
    for (unsigned i = 0; i < count; i++) {
        jobs[i]->done(jobs[i]);
    }
}

/* Cut a batch behind a cancel and around a thaw: they look at what others wrote. */
static void run_all(struct pawl_sqlite *store, struct pawl_job **jobs, unsigned count)
{
    unsigned from = 0;

    for (unsigned i = 0; i < count; i++) {
        if (jobs[i]->kind == PAWL_JOB_THAW && i > from) {
            run_batch(store, jobs + from, i - from);
            from = i;
        }
        if (jobs[i]->kind == PAWL_JOB_THAW || jobs[i]->kind == PAWL_JOB_CANCEL) {
            run_batch(store, jobs + from, i + 1 - from);
            from = i + 1;
        }
    }
    if (from < count) {
        run_batch(store, jobs + from, count - from);
    }
}

/* ---- what a cancel leaves ---- */

struct remains {
    struct pawl_sqlite *store;
    unsigned count;
    struct {
        uint64_t n; /* of the canceled fact */
        struct pawl_id id;
        uint64_t best_n; /* of the strongest that is left, 0: none */
        uint64_t best_until_s;
    } items[PAWL_FACT_CANCELS_MAX];
};

static bool look_for_remains(void *data, const struct pawl_fact_row *row)
{
    struct remains *r = data;
    struct pawl_fact fact;

    if (row->canceled || pawl_fact_decode(&fact, row->body) != PAWL_OK ||
        !pawl_fact_is_known(&fact) || !pawl_fact_cancellable(&fact)) {
        return true;
    }
    struct pawl_id id = pawl_fact_scope_id(&r->store->keys[0].facts, &fact);

    for (unsigned i = 0; i < r->count; i++) {
        if (pawl_id_equal(id, r->items[i].id) && row->until_s >= r->items[i].best_until_s) {
            r->items[i].best_n = row->n;
            r->items[i].best_until_s = row->until_s;
        }
    }
    return true;
}

static void tell_one(struct pawl_sqlite *store, uint64_t n, uint64_t best_n)
{
    const struct pawl_store_events *events = &store->options.events;
    struct pawl_fact_row row;
    struct pawl_fact canceled;
    struct pawl_fact remaining;
    uint8_t body[PAWL_FACT_BYTES_MAX];

    if (pawl_db_fact_get(&store->db, n, &row) != SQLITE_ROW) {
        return;
    }
    memcpy(body, row.body.data, row.body.size);
    if (pawl_fact_decode(&canceled, pawl_bytes_of(body, row.body.size)) != PAWL_OK) {
        return;
    }
    bool left = best_n != 0 && pawl_db_fact_get(&store->db, best_n, &row) == SQLITE_ROW &&
                pawl_fact_decode(&remaining, row.body) == PAWL_OK;

    if (best_n == 0 || left) { /* else it could not be read again: the token stays revoked */
        events->on_cancel(events->self, &canceled, left ? &remaining : NULL);
    }
    pawl_db_walk_end(&store->db, PAWL_STMT_FACT_GET);
}

/*
 * One walk over all facts for all ids of the cancel. There is no index over scopes: an index is
 * not in the digest, and a damaged one would lose a revocation that still stands. A walk is about
 * 0.3 s for a million facts, and a cancel is rare.
 */
static void tell_canceled(struct pawl_sqlite *store, const struct pawl_job *job)
{
    struct remains r = { .store = store };
    struct pawl_bytes ids = job->fact.cancels;
    struct pawl_walk walk;

    if (store->options.events.on_cancel == NULL) {
        return;
    }
    for (size_t at = 0; at + PAWL_FACT_ID_BYTES <= ids.size && r.count < PAWL_FACT_CANCELS_MAX;
         at += PAWL_FACT_ID_BYTES) {
        struct pawl_fact_id id = pawl_fact_id_read(ids.data + at);
        uint64_t n = pawl_places_find(&store->places, &id);
        struct pawl_fact_row row;
        struct pawl_fact fact;

        if (n != 0 && pawl_db_fact_get(&store->db, n, &row) == SQLITE_ROW && row.canceled &&
            pawl_fact_decode(&fact, row.body) == PAWL_OK) {
            r.items[r.count].n = n;
            r.items[r.count].id = pawl_fact_scope_id(&store->keys[0].facts, &fact);
            r.count++;
        }
        pawl_db_walk_end(&store->db, PAWL_STMT_FACT_GET);
    }
    if (pawl_walk_facts(&store->db, look_for_remains, &r, &walk) != SQLITE_OK || walk.broken ||
        walk.bad_rows > 0) {
        return; /* cannot tell what is left: all stays revoked until the next start */
    }
    for (unsigned i = 0; i < r.count; i++) {
        tell_one(store, r.items[i].n, r.items[i].best_n);
    }
}

/* ---- trimming ---- */

struct expired {
    unsigned count;
    struct {
        uint64_t n;
        struct pawl_id key;     /* of a family */
        struct pawl_fact_id id; /* of a fact */
        uint64_t mac;
    } items[TRIM_DELETES];
};

/* Collect expired facts from the cursor on; the cursor is 0 again at the end. */
static void find_expired_facts(struct pawl_sqlite *store, uint64_t now_s, struct expired *out)
{
    struct pawl_fact_row row;
    bool holds;
    unsigned seen = 0;
    int rc = SQLITE_ROW;

    pawl_db_facts_begin(&store->db, PAWL_STMT_FACT_UP, store->trim_fact);
    while (seen++ < TRIM_ROWS && out->count < TRIM_DELETES &&
           (rc = pawl_db_facts_next(&store->db, PAWL_STMT_FACT_UP, &row, &holds)) == SQLITE_ROW) {
        store->trim_fact = row.n + 1;
        struct pawl_fact fact;

        if (holds && row.until_s < now_s) {
            out->items[out->count].id = pawl_fact_decode(&fact, row.body) == PAWL_OK
                                            ? fact.id
                                            : (struct pawl_fact_id){ .sequence = 0 };
            out->items[out->count].n = row.n;
            out->items[out->count++].mac = row.mac;
        }
    }
    pawl_db_walk_end(&store->db, PAWL_STMT_FACT_UP);
    if (rc != SQLITE_ROW) {
        store->trim_fact = 0;
        store->trim_families_turn = true;
    }
}

static void find_expired_families(struct pawl_sqlite *store, uint64_t now_s, struct expired *out)
{
    struct pawl_family_row row;
    bool holds;
    unsigned seen = 0;
    int rc = SQLITE_ROW;

    pawl_db_families_begin(&store->db, PAWL_STMT_FAMILY_UP,
                           pawl_id_is_zero(store->trim_family) ? NULL : &store->trim_family);
    while (seen++ < TRIM_ROWS && out->count < TRIM_DELETES &&
           (rc = pawl_db_families_next(&store->db, PAWL_STMT_FAMILY_UP, &row, &holds)) ==
               SQLITE_ROW) {
        if (holds) {
            store->trim_family = row.key;
        }
        if (holds && row.until_s < now_s) {
            out->items[out->count].key = row.key;
            out->items[out->count++].mac = row.mac;
        }
    }
    pawl_db_walk_end(&store->db, PAWL_STMT_FAMILY_UP);
    if (rc != SQLITE_ROW) {
        store->trim_family = (struct pawl_id){ 0, 0 };
        store->trim_families_turn = false;
        store->trim_rest = 0;
    }
}

static int delete_expired(struct pawl_sqlite *store, const struct expired *expired, bool families)
{
    int rc = pawl_db_begin(&store->db);

    for (unsigned i = 0; i < expired->count && rc == SQLITE_OK; i++) {
        rc = families
                 ? pawl_db_family_delete(&store->db, expired->items[i].key, expired->items[i].mac)
                 : pawl_db_fact_delete(&store->db, expired->items[i].n, expired->items[i].mac);
    }
    return rc;
}

/*
 * One step of trimming. "Now" is the store's own clock of trimming: it
 * moves with BOOTTIME only, so a civil clock set a year on deletes nothing.
 */
static void trim(struct pawl_sqlite *store)
{
    struct txn txn = { .store = store, .now = pawl_clock_read(store->options.clock) };
    struct pawl_state saved = store->db.state;
    struct pawl_state at = saved;
    struct expired expired = { .count = 0 };
    bool families = store->trim_families_turn;

    pawl_state_trim_advance(&at, store->options.boot_id, txn.now.instant.ns);
    if (families) {
        find_expired_families(store, at.trim_us / 1000000, &expired);
    } else {
        find_expired_facts(store, at.trim_us / 1000000, &expired);
    }
    if (expired.count == 0) {
        return;
    }
    txn.wrote = true;
    txn.rc = delete_expired(store, &expired, families);
    commit(&txn);
    if (txn.rc != SQLITE_OK) {
        give_up(&txn, &saved, NULL, 0);
        return;
    }
    (void)pthread_mutex_lock(&store->text_lock);
    for (unsigned i = 0; i < expired.count && !families; i++) {
        pawl_places_forget(&store->places, &expired.items[i].id, expired.items[i].n);
    }
    (void)pthread_mutex_unlock(&store->text_lock);
    atomic_fetch_add(&store->stats.trimmed, expired.count);
    atomic_store(&store->stats.facts, pawl_digest_count(store->db.state.facts));
    atomic_store(&store->stats.families, pawl_digest_count(store->db.state.families));
}

static void checkpoint(struct pawl_sqlite *store)
{
    struct pawl_error error;

    if (store->db.handle == NULL || atomic_load(&store->stats.log_frames) < PAWL_LOG_FRAMES_MAX) {
        return;
    }
    int rc = pawl_db_checkpoint(&store->db, false);

    atomic_store(&store->stats.log_frames, 0);
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY) {
        (void)pawl_db_error(&store->db, &store->vfs, rc, PAWL_DB_FILE, &error);
        pawl_sqlite_note(store, "store_checkpoint_refused", &error);
    }
    if (atomic_load(&store->vfs.sync_failed)) {
        atomic_store(&store->distrusted, true);
    }
}

static void tend(struct pawl_sqlite *store)
{
    if (atomic_load(&store->frozen) || atomic_load(&store->distrusted) ||
        store->db.handle == NULL) {
        return;
    }
    store->trim_rest++;
    if (store->trim_fact != 0 || store->trim_families_turn || store->trim_rest >= TRIM_REST) {
        trim(store);
    }
}

/* ---- the thread ---- */

static void *writer_main(void *data)
{
    struct pawl_sqlite *store = data;
    uint64_t tended_ns = pawl_clock_read(store->options.clock).instant.ns;
    bool closing = false;

    while (!closing) {
        unsigned count = pawl_queue_take(&store->queue, store->batch, store->options.batch_max,
                                         IDLE_MS, &closing);

        if (count > 0) {
            run_all(store, store->batch, count);
            checkpoint(store);
        }
        uint64_t now_ns = pawl_clock_read(store->options.clock).instant.ns;

        if (!closing && (count == 0 || now_ns - tended_ns >= TRIM_EVERY_NS)) {
            tend(store); /* a store that is never idle has to be trimmed too */
            tended_ns = now_ns;
        }
    }
    return NULL;
}

enum pawl_status pawl_writer_start(struct pawl_sqlite *store)
{
    if (store->db.handle != NULL) {
        pawl_sqlite_watch_log(store);
    }
    store->trim_rest = TRIM_REST; /* the first second begins a pass */
    if (pthread_create(&store->writer, NULL, writer_main, store) != 0) {
        return PAWL_ENOMEM;
    }
    store->writer_started = true;
    return PAWL_OK;
}

void pawl_writer_stop(struct pawl_sqlite *store)
{
    pawl_queue_close(&store->queue);
    if (store->writer_started) {
        (void)pthread_join(store->writer, NULL);
        store->writer_started = false;
    }
}
