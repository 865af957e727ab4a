/*
 * libpawl while memory runs out: the n-th allocation fails, for each n, in making a handle and in
 * each call, from the first byte to the answer.
 */
#include "support/alloc_fault.h"

#include "private.h"
#include "support/client_calls.h"
#include "unit/fake_pawld.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#define CALLS_MAX 200 /* far above what any of these takes */

struct answered {
    enum client_call call;
    int count;
    int rc;
    enum pawl_outcome outcome;
    enum pawl_source source;
    enum pawl_token_state token;
    enum pawl_refresh refresh;
};

static void on_answer(void *data, const struct pawl_answer *answer)
{
    struct answered *answered = data;

    answered->count++;
    answered->rc = answer->rc;
    if (answer->kind == PAWL_CALL_CHECK) {
        answered->outcome = answer->of.check->outcome;
        answered->source = answer->of.check->info.source;
    } else if (answer->kind == PAWL_CALL_TOKEN_CHECK) {
        answered->token = answer->of.token_check->token.status;
        answered->source = answer->of.token_check->info.source;
    } else if (answer->kind == PAWL_CALL_ROTATE) {
        answered->refresh = answer->of.rotate->result;
        answered->source = answer->of.rotate->info.source;
    } else {
        answered->source = answer->of.ping->info.source;
    }
}

static struct pawl_client_options options_for(const char *addresses, uint32_t flags)
{
    struct pawl_client_options options = { .struct_size = sizeof(options),
                                           .addresses = addresses,
                                           .flags = flags,
                                           .check_deadline_ms = 20000,
                                           .durable_deadline_ms = 20000 };

    return options;
}

/* Nobody's word is never a yes. */
static void assert_no_wrong_yes(const struct answered *answered)
{
    if (answered->source == PAWL_SOURCE_DAEMON) {
        return;
    }
    switch (answered->call) {
    case CLIENT_CHECK: /* on_error is closed */
        assert_int_not_equal(answered->outcome, PAWL_OUTCOME_ALLOW);
        assert_int_not_equal(answered->outcome, PAWL_OUTCOME_NONE);
        break;
    case CLIENT_CHECK_LOCAL: /* counted here, or not known */
        assert_int_not_equal(answered->outcome, PAWL_OUTCOME_NONE);
        break;
    case CLIENT_ADMIT:
        assert_int_not_equal(answered->outcome, PAWL_OUTCOME_ALLOW);
        break;
    case CLIENT_TOKEN_CHECK:
        assert_int_equal(answered->token, PAWL_TOKEN_STATE_UNDECIDED);
        break;
    case CLIENT_ROTATE:
        assert_int_equal(answered->refresh, PAWL_REFRESH_UNAVAILABLE);
        break;
    default:
        assert_int_not_equal(answered->rc, PAWL_RC_OK);
        break;
    }
}

/* Submit and wait, as a caller would; under the plan. */
static int run_call(struct pawl_client *client, struct answered *answered)
{
    int rc = client_submit_call(client, answered->call, on_answer, answered);

    while (rc == PAWL_RC_OK && answered->count == 0) {
        pawl_client_wait(client);
        if (pawl_client_process(client, 0) < 0) {
            return PAWL_RC_BUSY;
        }
    }
    return rc;
}

/* A clock that the test moves on, so that nobody sits out a back-off. */
static uint64_t skipped_ns;

static uint64_t clock_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 * NS_PER_MS + (uint64_t)now.tv_nsec + skipped_ns;
}

static void assert_works(struct pawl_client *client)
{
    struct answered answered = { .call = CLIENT_CHECK };

    skipped_ns += 60000 * NS_PER_MS;
    assert_int_equal(run_call(client, &answered), PAWL_RC_OK);
    assert_int_equal(answered.rc, PAWL_RC_OK);
    assert_int_equal(answered.outcome, PAWL_OUTCOME_ALLOW);
    assert_int_equal(answered.source, PAWL_SOURCE_DAEMON);
}

/* Each allocation of a call with a fresh handle fails in turn; the handle lives on. */
static unsigned fail_each(const char *address, enum client_call call, uint64_t length, bool lives)
{
    for (unsigned nth = 1; nth < CALLS_MAX; nth++) {
        struct pawl_client_options options = options_for(address, PAWL_CLIENT_NO_BREAKER);
        struct answered answered = { .call = call };
        struct pawl_client *client = NULL;

        assert_int_equal(pawl_client_create(&options, &client, NULL, 0), PAWL_RC_OK);
        client->clock_ns = clock_ns;
        alloc_arm(nth, length);
        int rc = run_call(client, &answered);
        uint64_t failed = alloc_disarm();

        if (rc == PAWL_RC_OK) {
            assert_int_equal(answered.count, 1);
            assert_no_wrong_yes(&answered);
        } else {
            assert_true(failed > 0);
            assert_int_equal(answered.count, 0);
            assert_true(rc == PAWL_RC_NOMEM || rc == PAWL_RC_FULL);
        }
        if (lives) {
            assert_works(client);
        }
        pawl_client_destroy(client);
        if (failed == 0) {
            return nth - 1;
        }
    }
    fail_msg("call %d takes more than %d allocations", (int)call, CALLS_MAX);
    return 0;
}

/* ---- tests ------------------------------------------------------------------------------- */

static void without_memory_a_handle_is_not_made(void **state)
{
    struct pawl_client_options options = options_for("unix:@nobody,tcp:127.0.0.1:9", 0);
    uint64_t failed = 1;

    (void)state;
    for (unsigned nth = 1; failed > 0; nth++) {
        struct pawl_client *client = NULL;
        char error[PAWL_TEXT_BYTES] = "";

        alloc_arm(nth, ALLOC_FOR_EVER);
        int rc = pawl_client_create(&options, &client, error, sizeof(error));

        failed = alloc_disarm();
        assert_true(nth < CALLS_MAX);
        if (rc != PAWL_RC_OK) {
            assert_int_equal(rc, PAWL_RC_NOMEM);
            assert_null(client);
            assert_true(failed > 0);
        }
        pawl_client_destroy(client);
    }
}

static void without_memory_a_call_ends_and_the_handle_lives_on(void **state)
{
    struct fake *fake = fake_start(FAKE_ANSWER);

    (void)state;
    for (unsigned call = 0; call < CLIENT_CALLS; call++) {
        unsigned once = fail_each(fake->address, (enum client_call)call, 1, true);

        assert_true(once >= 2); /* at least its frame and what it is received in */
        assert_true(fail_each(fake->address, (enum client_call)call, ALLOC_FOR_EVER, true) >= 2);
    }
    fake_stop(fake);
}

static void without_memory_or_daemon_no_policy_turns_into_a_yes(void **state)
{
    (void)state;
    for (unsigned call = 0; call < CLIENT_CALLS; call++) {
        (void)fail_each("unix:@pawl-nobody-listens-here", (enum client_call)call, 1, false);
        (void)fail_each("unix:@pawl-nobody-listens-here", (enum client_call)call, ALLOC_FOR_EVER,
                        false);
    }
}

static void without_memory_a_goaway_loses_no_call(void **state)
{
    uint64_t failed = 1;

    (void)state;
    for (unsigned nth = 1; failed > 0; nth++) {
        struct fake *fake = fake_start(FAKE_GOAWAY);
        struct pawl_client_options options = options_for(fake->address, 0);
        struct answered answered = { .call = CLIENT_CHECK };
        struct pawl_client *client = NULL;

        assert_int_equal(pawl_client_create(&options, &client, NULL, 0), PAWL_RC_OK);
        alloc_arm(nth, 1);
        int rc = run_call(client, &answered);

        failed = alloc_disarm();
        assert_true(nth < CALLS_MAX);
        assert_true(rc == PAWL_RC_OK ? answered.count == 1 : failed > 0);
        if (rc == PAWL_RC_OK) {
            assert_no_wrong_yes(&answered);
        }
        pawl_client_destroy(client);
        fake_stop(fake);
    }
}

static void without_memory_the_descriptor_to_wait_on_still_comes(void **state)
{
    struct fake *fake = fake_start(FAKE_ANSWER);
    struct pawl_client_options options = options_for(fake->address, PAWL_CLIENT_LOCKED);
    struct pawl_client *client = NULL;

    (void)state;
    assert_int_equal(pawl_client_create(&options, &client, NULL, 0), PAWL_RC_OK);
    alloc_arm(1, ALLOC_FOR_EVER);
    int fd = pawl_client_fd(client);

    (void)pawl_client_resolve(client);
    (void)alloc_disarm();
    assert_true(fd >= 0);
    assert_works(client);
    pawl_client_destroy(client);
    fake_stop(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_a_handle_is_not_made),
        cmocka_unit_test(without_memory_a_call_ends_and_the_handle_lives_on),
        cmocka_unit_test(without_memory_or_daemon_no_policy_turns_into_a_yes),
        cmocka_unit_test(without_memory_a_goaway_loses_no_call),
        cmocka_unit_test(without_memory_the_descriptor_to_wait_on_still_comes),
    };

    alloc_here_only(); /* the daemon of the tests has memory */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
