/* The store as a journal: facts of any origin under the ids that they have. */
#include "support/store_rig.h"

#include "adapter/sqlite/schema.h"

#define ROWS_MAX 512

static struct {
    unsigned count;
    struct pawl_fact_id ids[ROWS_MAX];
} rows;

static void on_row(void *self, const struct pawl_fact *fact)
{
    (void)self;
    assert_true(rows.count < ROWS_MAX);
    rows.ids[rows.count++] = fact->id;
}

static struct pawl_fact_id told_cutoffs[8];
static unsigned told_cutoff_count;

static void on_fact(void *self, const struct pawl_fact *fact)
{
    if (fact->kind == PAWL_FACT_CUTOFF) {
        assert_true(told_cutoff_count < 8);
        told_cutoffs[told_cutoff_count++] = fact->id;
    }
    rig_on_fact(self, fact);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    rig_init(rig);
    rig->options.events.on_row = on_row;
    rig->options.events.on_fact = on_fact;
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    rig_deinit(*state);
    free(*state);
    return 0;
}

static void open_again(struct rig *rig)
{
    rows.count = 0;
    rig_must_open(rig);
}

static struct pawl_fact_id id_of(unsigned origin, uint64_t sequence)
{
    struct pawl_fact_id id = { .sequence = sequence };

    id.origin.bytes[0] = (uint8_t)origin;
    id.origin.bytes[9] = 77;
    return id;
}

static enum pawl_status keep_until(struct rig *rig, struct rig_job *job, struct pawl_fact_id id,
                                   const char *jti, uint64_t until_s)
{
    rig_revocation(job, jti, until_s);
    job->job.kind = PAWL_JOB_KEEP;
    job->job.fact.id = id;
    return rig_run(rig, job);
}

static void keep(struct rig *rig, struct pawl_fact_id id, const char *jti)
{
    struct rig_job job;

    assert_int_equal(keep_until(rig, &job, id, jti, RIG_NOW_S + 3600), PAWL_OK);
    assert_int_equal(job.job.reached, PAWL_ACK_DURABLE);
    assert_int_equal(pawl_fact_id_compare(&job.job.id, &id), 0);
}

static unsigned keep_cancel(struct rig *rig, struct pawl_fact_id id, struct pawl_fact_id named,
                            const char *ns)
{
    struct rig_job job;
    uint8_t ids[PAWL_FACT_ID_BYTES];

    rig_revocation(&job, "", RIG_NOW_S + 3600);
    pawl_fact_id_write(ids, &named);
    job.job.kind = PAWL_JOB_KEEP;
    job.job.fact.id = id;
    job.job.fact.kind = PAWL_FACT_CANCEL;
    job.job.fact.scope = PAWL_SCOPE_NONE;
    job.job.fact.issuer = rig_text("");
    job.job.fact.ns = rig_text(ns);
    job.job.fact.cancels = pawl_bytes_of(ids, sizeof(ids));
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    return job.job.canceled;
}

/* ---- keeping -------------------------------------------------------------------------------- */

static void facts_of_many_origins_are_kept_once_under_their_ids(void **state)
{
    struct rig *rig = *state;
    char jti[16];

    open_again(rig);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 60; i++) {
            (void)snprintf(jti, sizeof(jti), "j%u", i);
            keep(rig, id_of(i % 3, 100 - i), jti);
        }
        assert_int_equal(rig_stat(rig, "store_facts"), 60);
        assert_int_equal(rig_told(rig, "j5"), round); /* who keeps knows: only loading tells */
        rig_close(rig);
        open_again(rig);
        assert_false(rig->frozen);
        assert_int_equal(rows.count, 60);
        assert_int_equal(rig->facts, 60);
        for (unsigned i = 0; i < 60; i++) {
            struct pawl_fact_id id = id_of(i % 3, 100 - i);

            assert_int_equal(pawl_fact_id_compare(&rows.ids[i], &id), 0);
        }
    }
    rig_close(rig);
}

static void its_own_facts_and_kept_ones_lie_side_by_side(void **state)
{
    struct rig *rig = *state;
    struct rig_job job;
    uint8_t ids[PAWL_FACT_ID_BYTES];
    struct pawl_fact_id own[4];

    open_again(rig);
    for (unsigned i = 0; i < 4; i++) {
        keep(rig, id_of(1, 50 + i * 7), "kept");
        rig_revocation(&job, "own", RIG_NOW_S + 3600);
        assert_int_equal(rig_run(rig, &job), PAWL_OK);
        own[i] = job.job.id;
    }
    rig_close(rig);
    open_again(rig);
    for (unsigned i = 0; i < 4; i++) { /* found by id, each of them */
        rig_revocation(&job, "", RIG_NOW_S + 3600);
        pawl_fact_id_write(ids, &own[i]);
        job.job.kind = PAWL_JOB_CANCEL;
        job.job.fact.kind = PAWL_FACT_CANCEL;
        job.job.fact.scope = PAWL_SCOPE_NONE;
        job.job.fact.issuer = rig_text("");
        job.job.fact.cancels = pawl_bytes_of(ids, sizeof(ids));
        assert_int_equal(rig_run(rig, &job), PAWL_OK);
        assert_int_equal(job.job.canceled, 1);
    }
    rig_close(rig);
    open_again(rig);
    assert_int_equal(rig_told(rig, "own"), 0);
    assert_int_equal(rig_told(rig, "kept"), 4);
    rig_close(rig);
}

static void what_is_no_fact_with_an_id_is_refused(void **state)
{
    struct rig *rig = *state;
    struct rig_job job;

    rig->options.facts_max = 2;
    open_again(rig);
    assert_int_equal(keep_until(rig, &job, id_of(1, 0), "x", RIG_NOW_S), PAWL_EINVAL);
    assert_int_equal(keep_until(rig, &job, id_of(1, 1), "", RIG_NOW_S), PAWL_EINVAL);
    keep(rig, id_of(1, 1), "a");
    keep(rig, id_of(1, 2), "b");
    assert_int_equal(keep_until(rig, &job, id_of(1, 3), "c", RIG_NOW_S), PAWL_EFULL);
    keep(rig, id_of(1, 2), "b"); /* held already: nothing to refuse */
    rig_close(rig);
}

static void a_fact_of_an_unknown_kind_is_kept_as_it_is(void **state)
{
    struct rig *rig = *state;
    struct rig_job job;
    uint8_t bytes[PAWL_FACT_BYTES_MAX];
    size_t size = 0;

    open_again(rig);
    rig_revocation(&job, "x", RIG_NOW_S + 3600);
    job.job.fact.id = id_of(4, 1);
    assert_int_equal(pawl_fact_encode(&job.job.fact, bytes, sizeof(bytes), &size), PAWL_OK);
    bytes[1] = 99; /* of a newer version */
    assert_int_equal(pawl_fact_decode(&job.job.fact, pawl_bytes_of(bytes, size)), PAWL_OK);
    job.job.kind = PAWL_JOB_KEEP;
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    rig_close(rig);
    open_again(rig);
    assert_int_equal(rows.count, 1);
    assert_int_equal(rig->facts, 0);
    rig_close(rig);
}

/* ---- cancels -------------------------------------------------------------------------------- */

static void a_cancel_marks_what_it_names_whatever_comes_first(void **state)
{
    struct rig *rig = *state;

    open_again(rig);
    keep(rig, id_of(1, 1), "first");
    assert_int_equal(keep_cancel(rig, id_of(2, 1), id_of(1, 1), "default"), 1);
    assert_int_equal(keep_cancel(rig, id_of(2, 2), id_of(1, 2), "default"), 0);
    keep(rig, id_of(1, 2), "second");
    assert_int_equal(keep_cancel(rig, id_of(2, 3), id_of(1, 3), "default"), 0);
    rig_close(rig);
    open_again(rig); /* in another life, too */
    keep(rig, id_of(1, 3), "third");
    assert_int_equal(keep_cancel(rig, id_of(2, 4), id_of(1, 4), "tenant"), 0);
    keep(rig, id_of(1, 4), "fourth"); /* of another namespace */
    rig_close(rig);
    open_again(rig);
    assert_false(rig->frozen);
    assert_int_equal(rig_told(rig, "first"), 0);
    assert_int_equal(rig_told(rig, "second"), 0);
    assert_int_equal(rig_told(rig, "third"), 0);
    assert_int_equal(rig_told(rig, "fourth"), 1);
    assert_int_equal(rows.count, 8); /* all of them, for the log */
    rig_close(rig);
}

/* ---- following, trimming, damage ------------------------------------------------------------ */

static bool count_fact(struct pawl_job *job, const struct pawl_fact *fact)
{
    (void)fact;
    job->canceled++;
    return true;
}

static enum pawl_status follow(struct rig *rig, struct pawl_fact_id after, unsigned *seen)
{
    struct rig_job job = { .job = { .kind = PAWL_JOB_FOLLOW } };
    enum pawl_status status;

    job.job.follow.after = after;
    job.job.follow.on_fact = count_fact;
    status = rig_run(rig, &job);
    *seen = job.job.canceled;
    return status;
}

static void kept_facts_are_followed_in_the_order_in_which_they_came(void **state)
{
    struct rig *rig = *state;
    unsigned seen = 0;

    open_again(rig);
    keep(rig, id_of(1, 90), "a");
    keep(rig, id_of(2, 5), "b");
    keep(rig, id_of(1, 7), "c");
    keep(rig, id_of(2, 6), "d");
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(follow(rig, (struct pawl_fact_id){ .sequence = 0 }, &seen), PAWL_OK);
        assert_int_equal(seen, 4);
        assert_int_equal(follow(rig, id_of(1, 90), &seen), PAWL_OK);
        assert_int_equal(seen, 3);
        assert_int_equal(follow(rig, id_of(1, 7), &seen), PAWL_OK);
        assert_int_equal(seen, 1);
        assert_int_equal(follow(rig, id_of(1, 91), &seen), PAWL_ENOENT); /* another's row there */
        assert_int_equal(follow(rig, id_of(3, 1), &seen), PAWL_ENOENT);
        rig_close(rig);
        open_again(rig);
    }
    rig_close(rig);
}

static void expired_ones_go_and_may_be_kept_again(void **state)
{
    struct rig *rig = *state;
    struct rig_job job;

    open_again(rig);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(keep_until(rig, &job, id_of(i % 3, 40 - i), "short", RIG_NOW_S + 100),
                         PAWL_OK);
    }
    keep(rig, id_of(1, 77), "long");
    rig_close(rig);
    atomic_fetch_add(&rig->boottime_ns, UINT64_C(200) * 1000000000);
    open_again(rig);
    for (unsigned i = 0; i < 20; i++) {
        atomic_fetch_add(&rig->boottime_ns, UINT64_C(1000000000));
        keep(rig, id_of(1, 77), "long");
    }
    assert_int_equal(rig_stat(rig, "store_trimmed"), 10);
    assert_int_equal(rig_stat(rig, "store_facts"), 1);
    keep(rig, id_of(1, 39), "again");
    assert_int_equal(rig_stat(rig, "store_facts"), 2);
    rig_close(rig);
    open_again(rig);
    assert_false(rig->frozen);
    assert_int_equal(rows.count, 2);
    rig_close(rig);
}

static void a_damaged_journal_freezes_keeps_on_and_thaws(void **state)
{
    struct rig *rig = *state;
    struct rig_job job;
    sqlite3 *db = NULL;
    char path[128];

    open_again(rig);
    keep(rig, id_of(1, 1), "a");
    keep(rig, id_of(2, 9), "b");
    keep(rig, id_of(1, 5), "c");
    rig_close(rig);
    (void)snprintf(path, sizeof(path), "%s/pawl.db", rig->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE facts SET until = 1 WHERE n = 2", NULL, NULL, NULL),
                     SQLITE_OK);
    (void)sqlite3_close(db);
    open_again(rig);
    assert_true(rig->frozen);
    assert_int_equal(rows.count, 2); /* what checks out */
    keep(rig, id_of(3, 4), "meanwhile");
    assert_int_equal(rig_thaw(rig, &job), PAWL_OK);
    assert_int_equal(job.job.thaw.facts_kept, 3);
    keep(rig, id_of(3, 4), "meanwhile"); /* known by its id after the thaw */
    keep(rig, id_of(2, 9), "b");         /* as the fleet brings it again */
    uint64_t facts = rig_stat(rig, "store_facts");

    rig_close(rig);
    open_again(rig);
    assert_false(rig->frozen);
    assert_int_equal(rows.count, facts);
    for (unsigned i = 0; i < 4; i++) {
        static const char *const values[] = { "a", "b", "c", "meanwhile" };

        assert_int_equal(rig_told(rig, values[i]), 1);
    }
    rig_close(rig);
}

static void without_counters_there_is_no_file_of_them(void **state)
{
    struct rig *rig = *state;

    rig->options.no_counters = true;
    open_again(rig);
    keep(rig, id_of(1, 1), "a");
    rig_close(rig);
    assert_false(rig_exists(rig, "counters"));
    open_again(rig);
    assert_false(rig->frozen);
    assert_int_equal(rig_told(rig, "a"), 1);
    rig_close(rig);
}

/* The life's own ids are given out by the log of the fleet: a thaw must not use them too. */
static void a_thaws_cutoffs_have_ids_of_their_own(void **state)
{
    struct rig *rig = *state;
    struct rig_job job;
    struct pawl_stamp birth;
    struct pawl_origin own;

    rig->options.frozen = true;
    open_again(rig);
    rig->options.frozen = false;
    rig->store.ops->identity(rig->store.self, &birth, &own);
    for (unsigned i = 1; i <= 3; i++) {
        rig_revocation(&job, "kept", RIG_NOW_S + 3600);
        job.job.kind = PAWL_JOB_KEEP;
        job.job.fact.ns = rig_text(i == 1 ? "one" : i == 2 ? "two" : "default");
        job.job.fact.id = (struct pawl_fact_id){ own, i };
        assert_int_equal(rig_run(rig, &job), PAWL_OK);
    }
    told_cutoff_count = 0;
    assert_int_equal(rig_thaw(rig, &job), PAWL_OK);
    assert_int_equal(told_cutoff_count, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(told_cutoffs[i].sequence, i + 1);
        assert_memory_not_equal(&told_cutoffs[i].origin, &own, sizeof(own));
    }
    rig_revocation(&job, "next", RIG_NOW_S + 3600);
    job.job.kind = PAWL_JOB_KEEP;
    job.job.fact.id = (struct pawl_fact_id){ own, 4 };
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    rig_close(rig);
    open_again(rig);
    assert_int_equal(rows.count, 7);
    for (unsigned i = 0; i < rows.count; i++) {
        for (unsigned j = 0; j < i; j++) {
            assert_int_not_equal(pawl_fact_id_compare(&rows.ids[i], &rows.ids[j]), 0);
        }
    }
    rig_close(rig);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(facts_of_many_origins_are_kept_once_under_their_ids),
        TEST(its_own_facts_and_kept_ones_lie_side_by_side),
        TEST(what_is_no_fact_with_an_id_is_refused),
        TEST(a_fact_of_an_unknown_kind_is_kept_as_it_is),
        TEST(a_cancel_marks_what_it_names_whatever_comes_first),
        TEST(kept_facts_are_followed_in_the_order_in_which_they_came),
        TEST(expired_ones_go_and_may_be_kept_again),
        TEST(a_damaged_journal_freezes_keeps_on_and_thaws),
        TEST(a_thaws_cutoffs_have_ids_of_their_own),
        TEST(without_counters_there_is_no_file_of_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
