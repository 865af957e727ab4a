#include "support/store_rig.h"

#include <errno.h>
#include <sqlite3.h>

/* Which operation fails, and how; counted over all of its kind. */
struct plan {
    _Atomic int countdown; /* <= 0: no more faults */
    enum pawl_vfs_op op;
    int code;
    bool short_write;
    bool for_ever; /* from then on all fail */
    _Atomic unsigned hits;
};

static struct plan plan;

static int fault(void *data, enum pawl_vfs_op op, bool *short_write)
{
    (void)data;
    if (op != plan.op || atomic_load(&plan.countdown) <= 0) {
        return 0;
    }
    if (atomic_load(&plan.countdown) > 1) {
        atomic_fetch_sub(&plan.countdown, 1);
        return 0;
    }
    if (!plan.for_ever) {
        atomic_store(&plan.countdown, 0);
    }
    atomic_fetch_add(&plan.hits, 1);
    *short_write = plan.short_write;
    return plan.code;
}

static void arm(enum pawl_vfs_op op, int code, int nth, bool short_write)
{
    plan.op = op;
    plan.code = code;
    plan.short_write = short_write;
    plan.for_ever = false;
    atomic_store(&plan.hits, 0);
    atomic_store(&plan.countdown, nth);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    atomic_store(&plan.countdown, 0);
    rig_init(rig);
    rig->options.fault = fault;
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    atomic_store(&plan.countdown, 0);
    rig_deinit(*state);
    free(*state);
    return 0;
}

/* Everything acknowledged so far, and nothing but it or what was being tried, is there. */
static void assert_all_there(struct rig *rig, const bool *acknowledged, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char jti[16];

        (void)snprintf(jti, sizeof(jti), "t%u", i);
        if (acknowledged[i] && rig_told(rig, jti) == 0) {
            fail_msg("%s was acknowledged and is lost", jti);
        }
    }
}

/* One operation fails once, at each place in turn: nothing acknowledged is lost by it. */
static void run_plan(struct rig *rig, enum pawl_vfs_op op, int code, int nth, bool short_write)
{
    struct rig crashed;
    bool acknowledged[12] = { false };
    struct rig_job job;

    rig_empty(rig);
    rig_must_open(rig);
    arm(op, code, nth, short_write);
    for (unsigned i = 0; i < 12; i++) {
        char jti[16];

        (void)snprintf(jti, sizeof(jti), "t%u", i);
        rig_revocation(&job, jti, RIG_NOW_S + 3600);
        unsigned told = rig->facts;
        enum pawl_status status = rig_run(rig, &job);

        acknowledged[i] = status == PAWL_OK;
        if (status != PAWL_OK) {
            assert_int_equal(status, PAWL_EUNAVAIL);
            assert_true(job.job.error.text[0] != '\0');
            assert_int_equal(job.job.reached, PAWL_ACK_DEFAULT);
            assert_int_equal(rig->facts, told);
        }
        if (atomic_load(&plan.hits) > 0 && op == PAWL_VFS_SYNC) {
            assert_false(acknowledged[i]); /* never again in this life */
        }
    }
    bool hit = atomic_load(&plan.hits) > 0;

    atomic_store(&plan.countdown, 0);
    rig_init(&crashed);
    rig_copy(rig, &crashed);
    rig_must_open(&crashed);
    assert_false(crashed.frozen);
    assert_all_there(&crashed, acknowledged, 12);
    rig_close(&crashed);
    rig_deinit(&crashed);
    rig_close(rig);
    rig_must_open(rig);
    assert_false(rig->frozen);
    assert_all_there(rig, acknowledged, 12);
    assert_int_equal(rig_revoke(rig, "again"), PAWL_OK);
    rig_close(rig);
    if (nth == 1) {
        assert_true(hit);
    }
}

static void after_a_failed_sync_nothing_is_acknowledged_until_a_restart(void **state)
{
    for (int nth = 1; nth < 14; nth++) {
        run_plan(*state, PAWL_VFS_SYNC, EIO, nth, false);
    }
}

static void a_write_that_fails_is_not_acknowledged_and_costs_nothing_else(void **state)
{
    for (int nth = 1; nth < 40; nth++) {
        run_plan(*state, PAWL_VFS_WRITE, EIO, nth, false);
        run_plan(*state, PAWL_VFS_WRITE, EIO, nth, true);
        run_plan(*state, PAWL_VFS_WRITE, ENOSPC, nth, false);
    }
}

static void a_full_disk_says_so_and_goes_on_when_there_is_room(void **state)
{
    struct rig *rig = *state;
    struct rig_job job;

    rig_must_open(rig);
    arm(PAWL_VFS_WRITE, ENOSPC, 1, false);
    plan.for_ever = true;
    rig_revocation(&job, "a", RIG_NOW_S + 100);
    assert_int_equal(rig_run(rig, &job), PAWL_EUNAVAIL);
    assert_non_null(strstr(job.job.error.text, "full"));
    rig_family_job(rig, &job, "sid", rig_decide);
    assert_int_equal(rig_run(rig, &job), PAWL_EUNAVAIL);
    atomic_store(&plan.countdown, 0);
    assert_int_equal(rig_revoke(rig, "b"), PAWL_OK);
    assert_true(rig_stat(rig, "store_commit_failures") >= 2);
    rig_close(rig);
    rig_must_open(rig);
    assert_int_equal(rig_told(rig, "a"), 0);
    assert_int_equal(rig_told(rig, "b"), 1);
    rig_close(rig);
}

static void a_failed_commit_fails_every_job_of_its_batch(void **state)
{
    struct rig *rig = *state;
    struct rig_job jobs[40];
    unsigned failed = 0;

    rig_must_open(rig);
    arm(PAWL_VFS_SYNC, EIO, 1, false);
    for (unsigned i = 0; i < 40; i++) {
        rig_revocation(&jobs[i], "x", RIG_NOW_S + 100);
        assert_int_equal(rig_submit(rig, &jobs[i]), PAWL_OK);
    }
    for (unsigned i = 0; i < 40; i++) {
        rig_wait(rig, &jobs[i]);
        failed += jobs[i].job.status == PAWL_EUNAVAIL ? 1 : 0;
    }
    assert_int_equal(failed, 40);
    assert_int_equal(rig->facts, 0);
    assert_int_equal(rig_stat(rig, "store_distrusted"), 1);
    rig_close(rig);
}

/* Opening and thawing with the n-th operation failing: an error or a frozen node, no loss. */
static void a_thaw_that_fails_leaves_the_node_frozen_and_everything_there(void **state)
{
    struct rig *rig = *state;

    for (int nth = 1; nth < 30; nth++) {
        struct rig_job job;

        rig_empty(rig);
        rig_must_open(rig);
        assert_int_equal(rig_revoke(rig, "t0"), PAWL_OK);
        rig_close(rig);
        rig->options.frozen = true;
        rig_must_open(rig);
        rig->options.frozen = false;
        assert_int_equal(rig_revoke(rig, "t1"), PAWL_OK);
        arm(nth % 2 == 0 ? PAWL_VFS_WRITE : PAWL_VFS_SYNC, EIO, (nth + 1) / 2, false);
        enum pawl_status status = rig_thaw(rig, &job);

        atomic_store(&plan.countdown, 0);
        if (status != PAWL_OK) {
            assert_true(rig->store.ops->frozen(rig->store.self));
            assert_true(job.job.error.text[0] != '\0');
        }
        rig_close(rig);
        rig_must_open(rig);
        assert_int_equal(rig->frozen, status != PAWL_OK);
        assert_int_equal(rig_told(rig, "t0"), 1);
        assert_int_equal(rig_told(rig, "t1"), 1);
        rig_close(rig);
    }
}

static void a_start_that_cannot_write_is_an_error_or_says_so_and_loses_nothing(void **state)
{
    struct rig *rig = *state;

    for (int nth = 1; nth < 30; nth++) {
        rig_empty(rig);
        arm(nth % 2 == 0 ? PAWL_VFS_WRITE : PAWL_VFS_SYNC, EIO, (nth + 1) / 2, false);
        enum pawl_status status = rig_open(rig);

        atomic_store(&plan.countdown, 0);
        if (status == PAWL_OK) {
            rig_close(rig);
        } else {
            assert_true(rig->error.text[0] != '\0');
        }
        rig_must_open(rig); /* the next start finds its way */
        assert_int_equal(rig_revoke(rig, "a"), PAWL_OK);
        rig_close(rig);
    }
}

/* ---- memory ---- */

static sqlite3_mem_methods real_mem;
static _Atomic int mem_countdown;

static void *failing_malloc(int size)
{
    if (atomic_load(&mem_countdown) > 0 && atomic_fetch_sub(&mem_countdown, 1) == 1) {
        return NULL;
    }
    return real_mem.xMalloc(size);
}

static void *failing_realloc(void *old, int size)
{
    if (atomic_load(&mem_countdown) > 0 && atomic_fetch_sub(&mem_countdown, 1) == 1) {
        return NULL;
    }
    return real_mem.xRealloc(old, size);
}

static int hook_memory(void **state)
{
    sqlite3_mem_methods failing;

    (void)state;
    (void)sqlite3_shutdown();
    (void)sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_mem);
    failing = real_mem;
    failing.xMalloc = failing_malloc;
    failing.xRealloc = failing_realloc;
    return sqlite3_config(SQLITE_CONFIG_MALLOC, &failing) == SQLITE_OK ? 0 : -1;
}

static void an_allocation_that_fails_is_an_error_and_loses_nothing(void **state)
{
    struct rig *rig = *state;
    bool acknowledged[4];

    for (int nth = 1; nth < 400; nth += nth < 40 ? 1 : 17) {
        rig_empty(rig);
        atomic_store(&mem_countdown, nth);
        if (rig_open(rig) == PAWL_OK) {
            for (unsigned i = 0; i < 4; i++) {
                char jti[16];

                (void)snprintf(jti, sizeof(jti), "t%u", i);
                acknowledged[i] = rig_revoke(rig, jti) == PAWL_OK;
            }
            rig_close(rig);
            atomic_store(&mem_countdown, 0);
            rig_must_open(rig);
            assert_all_there(rig, acknowledged, 4);
            rig_close(rig);
        }
        atomic_store(&mem_countdown, 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(after_a_failed_sync_nothing_is_acknowledged_until_a_restart),
        TEST(a_write_that_fails_is_not_acknowledged_and_costs_nothing_else),
        TEST(a_full_disk_says_so_and_goes_on_when_there_is_room),
        TEST(a_failed_commit_fails_every_job_of_its_batch),
        TEST(a_thaw_that_fails_leaves_the_node_frozen_and_everything_there),
        TEST(a_start_that_cannot_write_is_an_error_or_says_so_and_loses_nothing),
        TEST(an_allocation_that_fails_is_an_error_and_loses_nothing),
    };

    return cmocka_run_group_tests(tests, hook_memory, NULL);
}
