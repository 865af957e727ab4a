#include "support/store_rig.h"

#include "adapter/sqlite/schema.h"

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    rig_init(rig);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    rig_deinit(*state);
    free(*state);
    return 0;
}

/* ---- facts ---- */

static void a_revocation_that_was_acknowledged_is_there_after_a_clean_stop(void **state)
{
    struct rig *rig = *state;

    rig_must_open(rig);
    assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
    assert_int_equal(rig_revoke(rig, "b"), PAWL_OK);
    assert_int_equal(rig_told(rig, "a"), 1);
    rig_close(rig);
    rig_must_open(rig);
    assert_false(rig->frozen);
    assert_int_equal(rig->facts, 2);
    assert_int_equal(rig_told(rig, "a"), 1);
    assert_int_equal(rig_told(rig, "b"), 1);
    rig_close(rig);
}

static void a_clean_stop_leaves_one_database_file_and_no_log(void **state)
{
    struct rig *rig = *state;

    rig_must_open(rig);
    assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
    assert_true(rig_exists(rig, "pawl.db-wal"));
    rig_close(rig);
    assert_true(rig_exists(rig, "pawl.db"));
    assert_false(rig_exists(rig, "pawl.db-wal"));
    assert_false(rig_exists(rig, "pawl.db-shm"));
}

static void a_crash_of_the_process_loses_nothing_that_was_acknowledged(void **state)
{
    struct rig *rig = *state;
    struct rig crashed;

    rig_init(&crashed);
    rig_must_open(rig);
    for (unsigned i = 0; i < 20; i++) {
        char jti[8];

        (void)snprintf(jti, sizeof(jti), "t%u", i);
        assert_int_equal(rig_revoke(rig, jti), PAWL_OK);
        rig_copy(rig, &crashed);
        rig_must_open(&crashed);
        assert_false(crashed.frozen);
        assert_int_equal(crashed.facts, i + 1);
        assert_int_equal(rig_told(&crashed, jti), 1);
        rig_close(&crashed);
    }
    rig_close(rig);
    rig_deinit(&crashed);
}

static void sequences_of_one_life_start_at_1_and_each_life_has_its_own_origin(void **state)
{
    struct rig *rig = *state;
    struct rig_job job;
    struct pawl_origin first;

    rig_must_open(rig);
    rig_revocation(&job, "a", RIG_NOW_S + 100);
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    assert_int_equal(job.job.id.sequence, 1);
    assert_int_equal(job.job.reached, PAWL_ACK_DURABLE);
    first = job.job.id.origin;
    rig_close(rig);
    rig_must_open(rig);
    rig_revocation(&job, "b", RIG_NOW_S + 100);
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    assert_int_equal(job.job.id.sequence, 1);
    assert_memory_equal(first.bytes, job.job.id.origin.bytes, 8);
    assert_memory_not_equal(first.bytes + 8, job.job.id.origin.bytes + 8, 8);
    rig_close(rig);
}

static void a_bad_job_is_refused_and_its_neighbours_are_not(void **state)
{
    struct rig *rig = *state;
    struct rig_job jobs[3];

    rig_must_open(rig);
    rig_revocation(&jobs[0], "a", RIG_NOW_S + 100);
    rig_revocation(&jobs[1], "b", 0); /* no time until when it is kept */
    rig_revocation(&jobs[2], "c", RIG_NOW_S + 100);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(rig_submit(rig, &jobs[i]), PAWL_OK);
    }
    for (unsigned i = 0; i < 3; i++) {
        rig_wait(rig, &jobs[i]);
    }
    assert_int_equal(jobs[0].job.status, PAWL_OK);
    assert_int_equal(jobs[1].job.status, PAWL_EINVAL);
    assert_true(jobs[1].job.error.text[0] != '\0');
    assert_int_equal(jobs[2].job.status, PAWL_OK);
    rig_close(rig);
}

static bool count_fact(struct pawl_job *job, const struct pawl_fact *fact)
{
    assert_true(fact->id.sequence > 0);
    return job->fact.at_ms++ < job->fact.until_s; /* takes as many as until_s says */
}

static enum pawl_status follow(struct rig *rig, const struct pawl_fact_id *after, unsigned count,
                               unsigned *seen, bool *more)
{
    struct rig_job job;
    enum pawl_status status;

    rig_revocation(&job, "", 0);
    job.job.kind = PAWL_JOB_FOLLOW;
    job.job.fact.at_ms = 0;
    job.job.fact.until_s = count;
    job.job.follow.on_fact = count_fact;
    if (after != NULL) {
        job.job.follow.after = *after;
    }
    status = rig_run(rig, &job);
    *more = job.job.more;
    *seen = (unsigned)job.job.fact.at_ms - (job.job.more ? 1 : 0);
    return status;
}

static void facts_can_be_followed_from_any_of_them(void **state)
{
    struct rig *rig = *state;
    struct rig_job job;
    struct pawl_fact_id second;
    struct pawl_fact_id unknown = { .sequence = 5 };
    unsigned count = 0;
    bool more = false;

    rig_must_open(rig);
    assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
    rig_revocation(&job, "b", RIG_NOW_S + 100);
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    second = job.job.id;
    rig_close(rig);
    rig_must_open(rig);
    assert_int_equal(rig_revoke(rig, "c"), PAWL_OK);
    assert_int_equal(follow(rig, NULL, 100, &count, &more), PAWL_OK);
    assert_int_equal(count, 3);
    assert_false(more);
    assert_int_equal(follow(rig, NULL, 2, &count, &more), PAWL_OK);
    assert_int_equal(count, 2);
    assert_true(more);
    assert_int_equal(follow(rig, &second, 100, &count, &more), PAWL_OK);
    assert_int_equal(count, 1);
    assert_int_equal(follow(rig, &unknown, 100, &count, &more), PAWL_ENOENT);
    rig_close(rig);
}

static enum pawl_status cancel(struct rig *rig, struct rig_job *job, const struct pawl_fact_id *id,
                               uint8_t ids[PAWL_FACT_ID_BYTES])
{
    rig_revocation(job, "", RIG_NOW_S + 100);
    pawl_fact_id_write(ids, id);
    job->job.kind = PAWL_JOB_CANCEL;
    job->job.fact.kind = PAWL_FACT_CANCEL;
    job->job.fact.scope = PAWL_SCOPE_NONE;
    job->job.fact.issuer = rig_text("");
    job->job.fact.cancels = pawl_bytes_of(ids, PAWL_FACT_ID_BYTES);
    return rig_run(rig, job);
}

static void a_cancel_takes_back_one_fact_and_leaves_the_others_of_the_same_token(void **state)
{
    struct rig *rig = *state;
    struct rig_job first;
    struct rig_job second;
    struct rig_job job;
    uint8_t ids[PAWL_FACT_ID_BYTES];

    rig_must_open(rig);
    rig_revocation(&first, "a", RIG_NOW_S + 100);
    rig_revocation(&second, "a", RIG_NOW_S + 50);
    second.job.fact.actor = rig_text("other");
    assert_int_equal(rig_run(rig, &first), PAWL_OK);
    assert_int_equal(rig_run(rig, &second), PAWL_OK);
    assert_int_equal(cancel(rig, &job, &first.job.id, ids), PAWL_OK);
    assert_int_equal(job.job.canceled, 1);
    assert_int_equal(rig->canceled, 1);
    assert_string_equal(rig->remaining, "other");
    assert_int_equal(cancel(rig, &job, &first.job.id, ids), PAWL_ENOENT);
    rig_close(rig);
    rig_must_open(rig);
    assert_false(rig->frozen);
    assert_int_equal(rig_told(rig, "a"), 1);
    assert_int_equal(cancel(rig, &job, &second.job.id, ids), PAWL_OK);
    assert_string_equal(rig->remaining, "none");
    rig_close(rig);
    rig_must_open(rig);
    assert_int_equal(rig_told(rig, "a"), 0);
    rig_close(rig);
}

/* ---- families ---- */

static void a_family_is_read_decided_and_written_in_one_go(void **state)
{
    struct rig *rig = *state;
    struct rig_job jobs[8];

    rig_must_open(rig);
    for (unsigned i = 0; i < 8; i++) {
        rig_family_job(rig, &jobs[i], "sid", rig_decide);
        assert_int_equal(rig_submit(rig, &jobs[i]), PAWL_OK);
    }
    for (unsigned i = 0; i < 8; i++) {
        rig_wait(rig, &jobs[i]);
        assert_int_equal(jobs[i].job.status, PAWL_OK);
        assert_int_equal(jobs[i].found, i > 0);
        assert_int_equal(jobs[i].generation, i);
    }
    rig_close(rig);
    rig_must_open(rig);
    rig_family_job(rig, &jobs[0], "sid", rig_look);
    assert_int_equal(rig_run(rig, &jobs[0]), PAWL_OK);
    assert_true(jobs[0].found);
    assert_int_equal(jobs[0].generation, 7);
    rig_family_job(rig, &jobs[0], "nobody", rig_look);
    assert_int_equal(rig_run(rig, &jobs[0]), PAWL_OK);
    assert_false(jobs[0].found);
    rig_close(rig);
}

static void decide_with_fact(struct pawl_job *job, const struct pawl_family *old,
                             struct pawl_now now, struct pawl_family_outcome *outcome)
{
    struct rig_job fact;

    rig_decide(job, old, now, outcome);
    rig_revocation(&fact, "of-family", RIG_NOW_S + 100);
    outcome->facts[0] = fact.job.fact;
    outcome->fact_count = 1;
}

static void a_decision_brings_its_facts_in_the_same_transaction(void **state)
{
    struct rig *rig = *state;
    struct rig_job job;

    rig_must_open(rig);
    rig_family_job(rig, &job, "sid", decide_with_fact);
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    assert_int_equal(rig_told(rig, "of-family"), 1);
    rig_close(rig);
    rig_must_open(rig);
    assert_int_equal(rig_told(rig, "of-family"), 1);
    rig_close(rig);
}

/* ---- bounds ---- */

static void what_does_not_fit_is_refused_with_its_own_status(void **state)
{
    struct rig *rig = *state;
    struct rig_job job;

    rig->options.facts_max = 2;
    rig->options.families_max = 1;
    rig_must_open(rig);
    assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
    assert_int_equal(rig_revoke(rig, "b"), PAWL_OK);
    assert_int_equal(rig_revoke(rig, "c"), PAWL_EFULL);
    rig_family_job(rig, &job, "one", rig_decide);
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    rig_family_job(rig, &job, "two", rig_decide);
    assert_int_equal(rig_run(rig, &job), PAWL_EFULL);
    rig_family_job(rig, &job, "one", rig_decide);
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    rig_close(rig);
}

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool entered;
    bool open;
};

static struct gate gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER };

/* Holds the writer until the gate opens. */
static void decide_at_gate(struct pawl_job *job, const struct pawl_family *old, struct pawl_now now,
                           struct pawl_family_outcome *outcome)
{
    (void)job;
    (void)old;
    (void)now;
    (void)outcome;
    (void)pthread_mutex_lock(&gate.lock);
    gate.entered = true;
    (void)pthread_cond_broadcast(&gate.wake);
    while (!gate.open) {
        (void)pthread_cond_wait(&gate.wake, &gate.lock);
    }
    (void)pthread_mutex_unlock(&gate.lock);
}

static void a_full_queue_refuses_at_once_and_what_waited_goes_in_one_commit(void **state)
{
    struct rig *rig = *state;
    struct rig_job held;
    struct rig_job jobs[4];
    uint64_t commits;

    gate.entered = false;
    gate.open = false;
    rig->options.queue_max = 3;
    rig_must_open(rig);
    rig_family_job(rig, &held, "sid", decide_at_gate);
    assert_int_equal(rig_submit(rig, &held), PAWL_OK);
    (void)pthread_mutex_lock(&gate.lock);
    while (!gate.entered) {
        (void)pthread_cond_wait(&gate.wake, &gate.lock);
    }
    (void)pthread_mutex_unlock(&gate.lock);
    for (unsigned i = 0; i < 4; i++) {
        rig_revocation(&jobs[i], "x", RIG_NOW_S + 100);
        assert_int_equal(rig_submit(rig, &jobs[i]), i < 3 ? PAWL_OK : PAWL_EFULL);
    }
    commits = rig_stat(rig, "store_commits");
    (void)pthread_mutex_lock(&gate.lock);
    gate.open = true;
    (void)pthread_cond_broadcast(&gate.wake);
    (void)pthread_mutex_unlock(&gate.lock);
    for (unsigned i = 0; i < 3; i++) {
        rig_wait(rig, &jobs[i]);
        assert_int_equal(jobs[i].job.status, PAWL_OK);
    }
    assert_int_equal(rig_stat(rig, "store_commits"), commits + 1);
    assert_int_equal(rig_stat(rig, "store_batch_largest"), 3);
    rig_close(rig);
}

/* ---- secrets and versions ---- */

static void another_secret_is_refused_and_an_older_listed_one_still_reads(void **state)
{
    struct rig *rig = *state;
    struct pawl_store_keys swap;

    rig_must_open(rig);
    assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
    rig_close(rig);
    swap = rig->keys[0];
    rig->keys[0] = rig->keys[1];
    rig->keys[1] = swap;
    assert_int_equal(rig_open(rig), PAWL_ESECRET);
    assert_non_null(strstr(rig->error.text, "secret"));
    rig->keys_count = 2;
    rig_must_open(rig);
    assert_false(rig->frozen);
    assert_int_equal(rig_told(rig, "a"), 1);
    assert_int_equal(rig_revoke(rig, "b"), PAWL_OK);
    rig_close(rig);
    rig_must_open(rig);
    assert_false(rig->frozen);
    assert_int_equal(rig->facts, 2);
    rig_close(rig);
}

static void sql(const struct rig *rig, const char *text)
{
    sqlite3 *db = NULL;
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/pawl.db", rig->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_database_of_a_newer_version_is_refused_and_left_as_it_is(void **state)
{
    struct rig *rig = *state;
    static uint8_t before[1 << 20];
    static uint8_t after[1 << 20];

    rig_must_open(rig);
    assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
    rig_close(rig);
    sql(rig, "PRAGMA user_version = 9");
    size_t size = rig_read_file(rig, "pawl.db", before, sizeof(before));

    assert_int_equal(rig_open(rig), PAWL_EVERSION);
    assert_non_null(strstr(rig->error.text, "newer"));
    assert_int_equal(rig_read_file(rig, "pawl.db", after, sizeof(after)), size);
    assert_memory_equal(before, after, size);
}

static enum pawl_status fill_color(sqlite3 *db, void *data)
{
    (void)data;
    return sqlite3_exec(db, "UPDATE things SET color = 'red'", NULL, NULL, NULL) == SQLITE_OK
               ? PAWL_OK
               : PAWL_EIO;
}

static void a_database_of_version_0_goes_up_by_steps_all_or_nothing(void **state)
{
    static const struct pawl_schema_step good[] = {
        { 0, "ALTER TABLE things ADD COLUMN color TEXT", NULL },
        { 1, NULL, fill_color },
    };
    static const struct pawl_schema_step bad[] = {
        { 0, "ALTER TABLE things ADD COLUMN color TEXT", NULL },
        { 1, "UPDATE nothing SET x = 1", NULL },
    };
    sqlite3 *db = NULL;
    struct pawl_error error;

    (void)state;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE things(n); INSERT INTO things VALUES(1)", NULL,
                                  NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(pawl_schema_migrate(db, bad, 2, NULL, 2, &error), PAWL_EIO);
    assert_int_equal(pawl_schema_version(db), 0);
    assert_int_equal(pawl_schema_migrate(db, good, 1, NULL, 2, &error), PAWL_EVERSION);
    assert_int_equal(pawl_schema_version(db), 0);
    assert_int_equal(pawl_schema_migrate(db, good, 2, NULL, 2, &error), PAWL_OK);
    assert_int_equal(pawl_schema_version(db), 2);
    assert_int_equal(pawl_schema_migrate(db, good, 2, NULL, 2, &error), PAWL_OK);
    assert_int_equal(pawl_schema_migrate(db, good, 2, NULL, 1, &error), PAWL_EVERSION);
    (void)sqlite3_close(db);
}

static void a_test_clock_is_refused_where_it_was_ever_off(void **state)
{
    struct rig *rig = *state;

    rig->options.test_clock = true;
    rig_must_open(rig);
    rig_close(rig);
    rig_must_open(rig);
    rig_close(rig);
    rig->options.test_clock = false;
    rig_must_open(rig);
    rig_close(rig);
    rig->options.test_clock = true;
    assert_int_equal(rig_open(rig), PAWL_EINVAL);
}

/* ---- frozen ---- */

static void assert_frozen_rules(struct rig *rig)
{
    struct rig_job job;

    assert_true(rig->frozen);
    assert_true(rig->reason[0] != '\0');
    assert_true(rig->store.ops->frozen(rig->store.self));
    rig_family_job(rig, &job, "sid", rig_decide);
    assert_int_equal(rig_run(rig, &job), PAWL_EFROZEN);
    rig_revocation(&job, "while-frozen", RIG_NOW_S + 100);
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    assert_int_equal(job.job.reached, PAWL_ACK_DURABLE);
    assert_int_equal(rig_told(rig, "while-frozen"), 1);
}

static void assert_thawed(struct rig *rig, unsigned facts_kept)
{
    struct rig_job job;

    assert_int_equal(rig_thaw(rig, &job), PAWL_OK);
    assert_false(rig->frozen);
    assert_int_equal(job.job.thaw.facts_kept, facts_kept);
    assert_int_equal(job.job.thaw.cutoff_ms, UINT64_C(1000) * RIG_NOW_S + PAWL_CUTOFF_BOUND_MS);
    assert_int_equal(rig->store.ops->floor_ms(rig->store.self), job.job.thaw.cutoff_ms);
    assert_false(rig_exists(rig, "pawl-frozen.db"));
    assert_int_equal(rig_revoke(rig, "after-thaw"), PAWL_OK);
    rig_close(rig);
    rig_must_open(rig);
    assert_false(rig->frozen);
    assert_int_equal(rig_told(rig, "after-thaw"), 1);
    assert_int_equal(rig->scopes[rig->facts - 2], PAWL_SCOPE_NAMESPACE);
    assert_int_not_equal(rig->store.ops->floor_ms(rig->store.self), 0);
}

static void a_deleted_database_is_noticed_while_anything_else_says_that_there_was_one(void **state)
{
    struct rig *rig = *state;
    static const char *const kept[] = { "mark", "counters" };

    for (unsigned i = 0; i < 2; i++) {
        rig_empty(rig);
        rig_must_open(rig);
        assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
        rig_close(rig);
        (void)unlinkat(rig->dir_fd, "pawl.db", 0);
        (void)unlinkat(rig->dir_fd, kept[1 - i], 0);
        rig_must_open(rig);
        assert_frozen_rules(rig);
        rig_close(rig);
        rig_must_open(rig);
        assert_true(rig->frozen); /* a restart is no thaw */
        assert_int_equal(rig_told(rig, "while-frozen"), 1);
        assert_thawed(rig, 1);
        assert_int_equal(rig_told(rig, "while-frozen"), 1);
        rig_close(rig);
    }
}

static void an_emptied_database_is_noticed(void **state)
{
    struct rig *rig = *state;

    rig_must_open(rig);
    assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
    rig_close(rig);
    rig_write_file(rig, "pawl.db", NULL, 0);
    rig_must_open(rig);
    assert_frozen_rules(rig);
    rig_close(rig);
}

static void an_older_copy_of_the_database_is_noticed(void **state)
{
    struct rig *rig = *state;
    static uint8_t old[1 << 20];

    rig_must_open(rig);
    assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
    rig_close(rig);
    size_t size = rig_read_file(rig, "pawl.db", old, sizeof(old));

    rig_must_open(rig);
    assert_int_equal(rig_revoke(rig, "b"), PAWL_OK);
    rig_close(rig);
    rig_write_file(rig, "pawl.db", old, size);
    rig_must_open(rig);
    assert_frozen_rules(rig);
    assert_int_equal(rig_told(rig, "a"), 1);
    assert_thawed(rig, 2);
    assert_true(rig_has_prefix(rig, "pawl.db.bad-"));
    rig_close(rig);
}

static void a_missing_changed_or_older_row_is_noticed_and_the_others_still_act(void **state)
{
    struct rig *rig = *state;
    static const char *const damages[] = {
        "DELETE FROM facts WHERE n = 2",
        "UPDATE facts SET until = until + 1 WHERE n = 2",
        "UPDATE facts SET canceled = 1 WHERE n = 2",
        "UPDATE facts SET mac = mac + 1 WHERE n = 2",
        "UPDATE facts SET body = (SELECT body FROM facts WHERE n = 1) WHERE n = 2",
        "DELETE FROM families",
        "UPDATE families SET until = 1",
        "DELETE FROM state",
        "INSERT INTO facts SELECT n + 100, canceled, until, body, mac FROM facts WHERE n = 2",
        "CREATE INDEX more ON facts(until)",
    };

    for (unsigned i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        struct rig_job job;

        rig_empty(rig);
        rig_must_open(rig);
        assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
        assert_int_equal(rig_revoke(rig, "b"), PAWL_OK);
        assert_int_equal(rig_revoke(rig, "c"), PAWL_OK);
        rig_family_job(rig, &job, "sid", rig_decide);
        assert_int_equal(rig_run(rig, &job), PAWL_OK);
        rig_close(rig);
        sql(rig, damages[i]);
        rig_must_open(rig);
        assert_frozen_rules(rig);
        assert_int_equal(rig_told(rig, "a"), 1);
        assert_int_equal(rig_told(rig, "c"), 1);
        assert_thawed(rig, rig_told(rig, "b") + 3);
        rig_close(rig);
    }
}

/* A row as it was before, with its good MAC, in the database as it is now. */
static void a_row_of_an_older_version_of_a_family_is_noticed(void **state)
{
    struct rig *rig = *state;
    struct rig_job job;
    static uint8_t old[1 << 20];
    char text[256];

    rig_must_open(rig);
    rig_family_job(rig, &job, "sid", rig_decide);
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    rig_close(rig);
    size_t size = rig_read_file(rig, "pawl.db", old, sizeof(old));

    rig_write_file(rig, "older.db", old, size);
    rig_must_open(rig);
    rig_family_job(rig, &job, "sid", rig_decide);
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    rig_close(rig);
    (void)snprintf(text, sizeof(text),
                   "ATTACH '%s/older.db' AS older; "
                   "REPLACE INTO families SELECT * FROM older.families",
                   rig->dir);
    sql(rig, text);
    rig_must_open(rig);
    assert_frozen_rules(rig);
    rig_close(rig);
}

static void started_frozen_by_hand_it_thaws_with_everything_kept(void **state)
{
    struct rig *rig = *state;
    struct rig_job job;

    rig_must_open(rig);
    assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
    rig_family_job(rig, &job, "sid", rig_decide);
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    rig_close(rig);
    rig->options.frozen = true;
    rig_must_open(rig);
    rig->options.frozen = false;
    assert_frozen_rules(rig);
    assert_int_equal(rig_told(rig, "a"), 1);
    assert_thawed(rig, 2);
    assert_int_equal(rig_told(rig, "a"), 1);
    rig_family_job(rig, &job, "sid", rig_look);
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    assert_true(job.found);
    rig_close(rig);
}

static void a_thaw_of_a_store_that_is_not_frozen_is_refused(void **state)
{
    struct rig *rig = *state;
    struct rig_job job;

    rig_must_open(rig);
    assert_int_equal(rig_thaw(rig, &job), PAWL_EINVAL);
    assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
    rig_close(rig);
}

/* ---- the log ---- */

static void damage_in_the_log_is_noticed_even_in_its_last_transaction(void **state)
{
    struct rig *rig = *state;
    struct rig crashed;
    static uint8_t log[1 << 20];
    unsigned noticed = 0;

    rig_init(&crashed);
    rig_must_open(rig);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
    }
    rig_copy(rig, &crashed);
    size_t size = rig_read_file(&crashed, "pawl.db-wal", log, sizeof(log));

    for (size_t at = 0; at < size; at += 997) {
        rig_copy(rig, &crashed);
        log[at] ^= 0x41;
        rig_write_file(&crashed, "pawl.db-wal", log, size);
        log[at] ^= 0x41;
        rig_must_open(&crashed);
        assert_true(crashed.frozen || crashed.facts == 4);
        noticed += crashed.frozen ? 1 : 0;
        rig_close(&crashed);
    }
    assert_true(noticed > 10);
    for (size_t length = 0; length < size; length += 1711) {
        rig_copy(rig, &crashed);
        rig_write_file(&crashed, "pawl.db-wal", log, length);
        rig_must_open(&crashed);
        assert_true(crashed.frozen || crashed.facts == 4);
        rig_close(&crashed);
    }
    rig_close(rig);
    rig_deinit(&crashed);
}

static void damage_in_the_middle_of_the_log_is_noticed_without_the_mark_too(void **state)
{
    struct rig *rig = *state;
    struct rig crashed;
    static uint8_t log[1 << 20];

    rig_init(&crashed);
    rig_must_open(rig);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
    }
    rig_copy(rig, &crashed);
    size_t size = rig_read_file(&crashed, "pawl.db-wal", log, sizeof(log));

    log[size - 10 * 1024] ^= 1; /* three pages from the end: not in the last transaction */
    rig_write_file(&crashed, "pawl.db-wal", log, size);
    (void)unlinkat(crashed.dir_fd, "mark", 0);
    (void)unlinkat(crashed.dir_fd, "counters", 0);
    rig_must_open(&crashed);
    assert_true(crashed.frozen);
    assert_non_null(strstr(crashed.reason, "pawl.db-wal"));
    rig_close(&crashed);
    rig_close(rig);
    rig_deinit(&crashed);
}

static void a_lost_log_is_noticed(void **state)
{
    struct rig *rig = *state;
    struct rig crashed;

    rig_init(&crashed);
    rig_must_open(rig);
    assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
    rig_copy(rig, &crashed);
    (void)unlinkat(crashed.dir_fd, "pawl.db-wal", 0);
    rig_must_open(&crashed);
    assert_true(crashed.frozen);
    rig_close(&crashed);
    rig_close(rig);
    rig_deinit(&crashed);
}

/* The next write would take the page for a free one and destroy it: no row shows that yet. */
static void a_list_of_free_pages_that_names_a_page_in_use_is_noticed(void **state)
{
    struct rig *rig = *state;
    static uint8_t data[1 << 20];

    rig_must_open(rig);
    assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
    rig_close(rig);
    size_t size = rig_read_file(rig, "pawl.db", data, sizeof(data));

    data[35] = 2; /* first page of the list */
    data[39] = 1; /* pages in it */
    rig_write_file(rig, "pawl.db", data, size);
    rig_must_open(rig);
    assert_frozen_rules(rig);
    assert_int_equal(rig_told(rig, "a"), 1);
    rig_close(rig);
}

/* ---- every byte, every length ---- */

/* A store of about ten pages, closed cleanly. */
static void make_small_store(struct rig *rig)
{
    struct rig_job job;

    rig_must_open(rig);
    for (unsigned i = 0; i < 120; i++) {
        char jti[24];

        (void)snprintf(jti, sizeof(jti), "token-%u", i);
        assert_int_equal(rig_revoke(rig, jti), PAWL_OK);
    }
    for (unsigned i = 0; i < 12; i++) {
        char sid[24];

        (void)snprintf(sid, sizeof(sid), "family-%u", i);
        rig_family_job(rig, &job, sid, rig_decide);
        assert_int_equal(rig_run(rig, &job), PAWL_OK);
    }
    rig_close(rig);
}

/* Harmless: all there. Noticed: frozen or refused, with a message. Anything else fails. */
static bool is_noticed(struct rig *rig)
{
    if (rig_open(rig) != PAWL_OK) {
        assert_true(rig->error.text[0] != '\0');
        return true;
    }
    bool noticed = rig->frozen;

    if (!noticed) {
        struct rig_job job;

        assert_int_equal(rig->facts, 120);
        for (unsigned i = 0; i < 12; i++) {
            char sid[24];

            (void)snprintf(sid, sizeof(sid), "family-%u", i);
            rig_family_job(rig, &job, sid, rig_look);
            assert_int_equal(rig_run(rig, &job), PAWL_OK);
            assert_true(job.found);
        }
        assert_int_equal(rig_revoke(rig, "one-more"), PAWL_OK);
    }
    rig_close(rig);
    if (!noticed) {
        rig_must_open(rig);
        assert_false(rig->frozen);
        assert_int_equal(rig->facts, 121);
        rig_close(rig);
    }
    return noticed;
}

static void every_flipped_byte_of_a_small_store_is_harmless_or_noticed(void **state)
{
    struct rig *rig = *state;
    struct rig damaged;
    static uint8_t data[1 << 20];
    static const uint8_t patterns[] = { 0x01, 0x80, 0xff };
    bool all = getenv("PAWL_LONG") != NULL;
    size_t stride = all ? 1 : 113;
    unsigned noticed = 0;
    unsigned tried = 0;

    make_small_store(rig);
    rig_init(&damaged);
    size_t size = rig_read_file(rig, "pawl.db", data, sizeof(data));

    assert_true(size >= 8 * 4096);
    for (size_t at = 0; at < size; at += at < 100 ? 1 : stride) {
        for (unsigned i = 0; i < sizeof(patterns); i++) {
            rig_copy(rig, &damaged);
            data[at] ^= patterns[i];
            rig_write_file(&damaged, "pawl.db", data, size);
            data[at] ^= patterns[i];
            noticed += is_noticed(&damaged) ? 1 : 0;
            tried++;
        }
    }
    print_message("%u flips of %zu bytes, %u noticed, the others harmless\n", tried, size, noticed);
    assert_true(noticed > tried / 3);
    rig_deinit(&damaged);
}

static void every_truncation_of_a_small_store_is_noticed(void **state)
{
    struct rig *rig = *state;
    struct rig damaged;
    static uint8_t data[1 << 20];
    size_t stride = getenv("PAWL_LONG") != NULL ? 1 : 331;

    make_small_store(rig);
    rig_init(&damaged);
    size_t size = rig_read_file(rig, "pawl.db", data, sizeof(data));

    for (size_t length = 0; length < size; length += stride) {
        rig_copy(rig, &damaged);
        rig_write_file(&damaged, "pawl.db", data, length);
        assert_true(is_noticed(&damaged));
    }
    rig_deinit(&damaged);
}

static void what_checks_out_on_a_damaged_page_of_many_is_kept(void **state)
{
    struct rig *rig = *state;
    struct rig_job job;
    static uint8_t data[1 << 20];

    make_small_store(rig);
    size_t size = rig_read_file(rig, "pawl.db", data, sizeof(data));

    memset(data + size / 2 / 4096 * 4096, 0xee, 4096); /* a whole page in the middle */
    rig_write_file(rig, "pawl.db", data, size);
    rig_must_open(rig);
    assert_true(rig->frozen);
    assert_true(rig->facts > 60);
    unsigned kept = rig->facts;

    assert_int_equal(rig_thaw(rig, &job), PAWL_OK);
    assert_int_equal(job.job.thaw.facts_kept, kept);
    assert_true(rig_exists(rig, job.job.thaw.set_aside));
    rig_close(rig);
    rig_must_open(rig);
    assert_false(rig->frozen);
    assert_int_equal(rig->facts, kept + 1);
    rig_close(rig);
}

/* ---- time ---- */

/* Let the writer get to its trimming @times: each step is a second on, and a job. */
static void tick(struct rig *rig, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        atomic_fetch_add(&rig->boottime_ns, UINT64_C(1000000000));
        atomic_fetch_add(&rig->wall_us, 1000000);
        assert_int_equal(rig_revoke(rig, "tick"), PAWL_OK);
    }
}

static void expired_facts_go_and_a_civil_clock_that_jumps_on_deletes_nothing(void **state)
{
    struct rig *rig = *state;
    struct rig_job job;

    rig_must_open(rig);
    rig_revocation(&job, "short", RIG_NOW_S + 100);
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    assert_int_equal(rig_revoke(rig, "long"), PAWL_OK);
    rig_close(rig);
    atomic_fetch_add(&rig->wall_us, INT64_C(365) * 86400 * 1000000); /* by mistake */
    rig_must_open(rig);
    tick(rig, 20);
    rig_close(rig);
    atomic_fetch_sub(&rig->wall_us, INT64_C(365) * 86400 * 1000000);
    rig_must_open(rig);
    assert_int_equal(rig_told(rig, "short"), 1);
    assert_int_equal(rig_told(rig, "long"), 1);
    rig_close(rig);
    atomic_fetch_add(&rig->boottime_ns, UINT64_C(200) * 1000000000); /* of the same boot */
    rig_must_open(rig);
    tick(rig, 20);
    assert_int_equal(rig_stat(rig, "store_trimmed"), 1);
    rig_close(rig);
    rig_must_open(rig);
    assert_false(rig->frozen);
    assert_int_equal(rig_told(rig, "short"), 0);
    assert_int_equal(rig_told(rig, "long"), 1);
    rig_close(rig);
}

static void the_stamp_never_falls_below_what_the_store_has_seen(void **state)
{
    struct rig *rig = *state;

    rig_must_open(rig);
    assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
    rig_close(rig);
    uint64_t seen = (uint64_t)atomic_load(&rig->wall_us);

    atomic_fetch_sub(&rig->wall_us, INT64_C(3600) * 1000000);
    atomic_store(&rig->stamp_floor_us, 0);
    rig_must_open(rig);
    assert_true(rig_read(rig).stamp.us >= seen);
    struct pawl_stamp birth;
    struct pawl_origin origin;

    rig->store.ops->identity(rig->store.self, &birth, &origin);
    assert_int_equal(birth.us, seen);
    rig_close(rig);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_revocation_that_was_acknowledged_is_there_after_a_clean_stop),
        TEST(a_clean_stop_leaves_one_database_file_and_no_log),
        TEST(a_crash_of_the_process_loses_nothing_that_was_acknowledged),
        TEST(sequences_of_one_life_start_at_1_and_each_life_has_its_own_origin),
        TEST(a_bad_job_is_refused_and_its_neighbours_are_not),
        TEST(facts_can_be_followed_from_any_of_them),
        TEST(a_cancel_takes_back_one_fact_and_leaves_the_others_of_the_same_token),
        TEST(a_family_is_read_decided_and_written_in_one_go),
        TEST(a_decision_brings_its_facts_in_the_same_transaction),
        TEST(what_does_not_fit_is_refused_with_its_own_status),
        TEST(a_full_queue_refuses_at_once_and_what_waited_goes_in_one_commit),
        TEST(another_secret_is_refused_and_an_older_listed_one_still_reads),
        TEST(a_database_of_a_newer_version_is_refused_and_left_as_it_is),
        TEST(a_database_of_version_0_goes_up_by_steps_all_or_nothing),
        TEST(a_test_clock_is_refused_where_it_was_ever_off),
        TEST(a_deleted_database_is_noticed_while_anything_else_says_that_there_was_one),
        TEST(an_emptied_database_is_noticed),
        TEST(an_older_copy_of_the_database_is_noticed),
        TEST(a_missing_changed_or_older_row_is_noticed_and_the_others_still_act),
        TEST(a_row_of_an_older_version_of_a_family_is_noticed),
        TEST(started_frozen_by_hand_it_thaws_with_everything_kept),
        TEST(a_thaw_of_a_store_that_is_not_frozen_is_refused),
        TEST(damage_in_the_log_is_noticed_even_in_its_last_transaction),
        TEST(damage_in_the_middle_of_the_log_is_noticed_without_the_mark_too),
        TEST(a_lost_log_is_noticed),
        TEST(a_list_of_free_pages_that_names_a_page_in_use_is_noticed),
        TEST(every_flipped_byte_of_a_small_store_is_harmless_or_noticed),
        TEST(every_truncation_of_a_small_store_is_noticed),
        TEST(what_checks_out_on_a_damaged_page_of_many_is_kept),
        TEST(expired_facts_go_and_a_civil_clock_that_jumps_on_deletes_nothing),
        TEST(the_stamp_never_falls_below_what_the_store_has_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
