#include "private.h"

#include "pawl/epoll.h"
#include "pawl/uv.h"

#include "unit/fake_pawld.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

/* ---- help -------------------------------------------------------------------------------- */

/* Deadlines are long, so that a slow machine changes no outcome, where an answer comes. */
static struct pawl_client *client_for(const char *addresses, uint32_t flags)
{
    struct pawl_client_options options = { .struct_size = sizeof(options),
                                           .addresses = addresses,
                                           .flags = flags,
                                           .check_deadline_ms = 20000,
                                           .durable_deadline_ms = 20000 };
    struct pawl_client *client = NULL;
    char error[PAWL_TEXT_BYTES] = "";

    assert_int_equal(pawl_client_create(&options, &client, error, sizeof(error)), PAWL_RC_OK);
    return client;
}

static uint64_t ticking_ns; /* a clock that moves 1 ms whenever it is looked at */

static uint64_t ticking(void)
{
    return ticking_ns += NS_PER_MS;
}

static int check_at(struct pawl_client *client, const char *key_text, const char *rates,
                    enum pawl_fail on_error, struct pawl_check_result *result)
{
    struct pawl_str key = pawl_str(key_text);
    struct pawl_check_item item = {
        .rates = rates, .key = &key, .key_count = 1, .on_error = on_error
    };
    struct pawl_check_call check = { .struct_size = sizeof(check),
                                     .items = &item,
                                     .item_count = 1 };

    memset(result, 0, sizeof(*result));
    result->struct_size = sizeof(*result);
    return pawl_client_check(client, &check, result);
}

static enum pawl_outcome ask(struct pawl_client *client, enum pawl_fail on_error)
{
    struct pawl_check_result result;

    assert_int_equal(check_at(client, "k", "5/minute", on_error, &result), PAWL_RC_OK);
    return result.outcome;
}

struct seen {
    int calls;
    int rc;
    enum pawl_outcome outcome;
    enum pawl_source source;
    enum pawl_effect effect;
    enum pawl_rc cause;
    struct pawl_client *destroy;
    struct pawl_uv *stop;
};

static void on_uv_stopped(struct pawl_uv *pawl)
{
    pawl_client_destroy(pawl->client);
}

static void on_seen(void *data, const struct pawl_answer *answer)
{
    struct seen *seen = data;

    seen->calls++;
    seen->rc = answer->rc;
    if (answer->kind == PAWL_CALL_CHECK) {
        seen->outcome = answer->of.check->outcome;
        seen->source = answer->of.check->info.source;
        seen->effect = answer->of.check->info.effect;
        seen->cause = answer->of.check->info.cause;
    }
    if (seen->destroy != NULL) {
        pawl_client_destroy(seen->destroy);
    }
    if (seen->stop != NULL) {
        pawl_uv_stop(seen->stop, on_uv_stopped);
    }
}

static uint64_t submit(struct pawl_client *client, struct seen *seen)
{
    struct pawl_str key = pawl_str("k");
    struct pawl_check_item item = {
        .rates = "5/minute", .key = &key, .key_count = 1, .on_error = PAWL_FAIL_OPEN
    };
    struct pawl_check_call check = { .struct_size = sizeof(check),
                                     .items = &item,
                                     .item_count = 1 };
    uint64_t id = 0;

    assert_int_equal(pawl_client_submit_check(client, &check, on_seen, seen, &id), PAWL_RC_OK);
    assert_int_equal(seen->calls, 0); /* never from inside */
    return id;
}

static void pump_until(struct pawl_client *client, const int *calls, int wanted)
{
    while (*calls < wanted) {
        struct pollfd fd = { pawl_client_fd(client), POLLIN, 0 };

        (void)poll(&fd, 1, pawl_client_timeout_ms(client));
        assert_true(pawl_client_process(client, fd.revents) >= 0);
    }
}

static void wait_for_count(atomic_int *counter, int wanted)
{
    while (atomic_load(counter) < wanted) {
        (void)sched_yield();
    }
}

/* ---- answers ----------------------------------------------------------------------------- */

static void a_check_gets_the_verdict_of_the_daemon(void **state)
{
    struct fake *fake = fake_start(FAKE_ANSWER);
    struct pawl_client *client = client_for(fake->address, 0);
    struct pawl_check_result result;
    (void)state;

    assert_int_equal(check_at(client, "k", "5/minute", PAWL_FAIL_CLOSED, &result), PAWL_RC_OK);
    assert_int_equal(result.outcome, PAWL_OUTCOME_ALLOW);
    assert_int_equal(result.info.source, PAWL_SOURCE_DAEMON);
    assert_int_equal(result.info.effect, PAWL_EFFECT_DONE);
    assert_int_equal(result.info.cause, PAWL_RC_OK);
    atomic_store(&fake->mode, FAKE_DENY);
    assert_int_equal(check_at(client, "k", "5/minute", PAWL_FAIL_OPEN, &result), PAWL_RC_OK);
    assert_int_equal(result.outcome, PAWL_OUTCOME_DENY);
    assert_int_equal(result.info.source, PAWL_SOURCE_DAEMON);
    assert_int_equal(result.info.effect, PAWL_EFFECT_NONE);
    assert_int_equal(atomic_load(&fake->hellos), 1);
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void an_answer_that_comes_byte_by_byte_is_put_together(void **state)
{
    struct fake *fake = fake_start(FAKE_BYTE_BY_BYTE);
    struct pawl_client *client = client_for(fake->address, 0);
    (void)state;

    assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_ALLOW);
    assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_ALLOW);
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void rates_go_to_the_callers_array_and_never_past_its_end(void **state)
{
    struct fake *fake = fake_start(FAKE_ANSWER);
    struct pawl_client *client = client_for(fake->address, 0);
    struct pawl_str key = pawl_str("k");
    struct pawl_check_item items[3];
    struct pawl_rate_result rates[3] = { { .item = 9 }, { .item = 9 }, { .item = 9 } };
    struct pawl_check_call check = { .struct_size = sizeof(check),
                                     .items = items,
                                     .item_count = 3 };
    struct pawl_check_result result = { .struct_size = sizeof(result),
                                        .rates = rates,
                                        .rates_max = 2 };
    (void)state;

    memset(items, 0, sizeof(items));
    for (unsigned i = 0; i < 3; i++) {
        items[i].rates = "1/s";
        items[i].key = &key;
        items[i].key_count = 1;
        items[i].on_error = PAWL_FAIL_OPEN;
    }
    assert_int_equal(pawl_client_check(client, &check, &result), PAWL_RC_OK);
    assert_int_equal(result.rate_count, 2);
    assert_int_equal(rates[1].item, 1);
    assert_int_equal(rates[1].charge, 77);
    assert_int_equal(rates[2].item, 9);
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void a_policy_is_required_and_the_item_is_named(void **state)
{
    struct pawl_client *client = client_for("unix:@pawl-nobody", 0);
    struct pawl_client *without = client_for("unix:@pawl-nobody", PAWL_CLIENT_NO_FALLBACK);
    struct pawl_check_result result;
    (void)state;

    assert_int_equal(check_at(client, "k", "5/minute", PAWL_FAIL_UNSET, &result), PAWL_RC_INVALID);
    assert_int_equal(result.outcome, PAWL_OUTCOME_UNDECIDED);
    assert_non_null(strstr(result.info.text, "item 0"));
    assert_int_equal(check_at(client, "k", "5/fortnight", PAWL_FAIL_OPEN, &result),
                     PAWL_RC_INVALID);
    assert_int_equal(check_at(without, "k", "5/minute", PAWL_FAIL_UNSET, &result), PAWL_RC_OK);
    assert_int_equal(result.outcome, PAWL_OUTCOME_UNDECIDED);
    assert_int_equal(result.info.source, PAWL_SOURCE_NONE);
    assert_int_equal(result.info.cause, PAWL_RC_CONNECT);
    pawl_client_destroy(client);
    pawl_client_destroy(without);
}

static void an_unknown_limit_is_an_error_and_no_policy_hides_it(void **state)
{
    struct fake *fake = fake_start(FAKE_NOT_FOUND);
    struct pawl_client *client = client_for(fake->address, 0);
    struct pawl_check_result result;
    (void)state;

    assert_int_equal(check_at(client, "k", "5/minute", PAWL_FAIL_OPEN, &result), PAWL_RC_NOT_FOUND);
    assert_int_equal(result.outcome, PAWL_OUTCOME_UNDECIDED);
    assert_string_equal(result.info.text, "as told");
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void a_status_of_a_later_daemon_may_pass(void **state)
{
    (void)state;
    assert_int_equal(pawl_client_rc_of_status(PAWL__V1__STATUS__STATUS_UNSUPPORTED),
                     PAWL_RC_UNSUPPORTED);
    assert_int_equal(pawl_client_rc_of_status(PAWL__V1__STATUS__STATUS_MOVED), PAWL_RC_UNAVAILABLE);
    assert_int_equal(pawl_client_rc_of_status(77), PAWL_RC_UNAVAILABLE);
}

static void writes_say_what_the_daemon_did(void **state)
{
    struct fake *fake = fake_start(FAKE_ANSWER);
    struct pawl_client *client = client_for(fake->address, 0);
    struct pawl_revoke_call revoke = { .struct_size = sizeof(revoke),
                                       .scope = PAWL_REVOKE_OPAQUE,
                                       .value = pawl_str("a raw token that must not travel") };
    struct pawl_revoke_result revoked = { .struct_size = sizeof(revoked) };
    struct pawl_token presented = { .struct_size = sizeof(presented), .jti = pawl_str("j0") };
    struct pawl_rotate_call rotate = { .struct_size = sizeof(rotate), .presented = &presented };
    struct pawl_rotate_result first = { .struct_size = sizeof(first) };
    struct pawl_rotate_result second = { .struct_size = sizeof(second) };
    (void)state;

    assert_int_equal(pawl_client_revoke(client, &revoke, &revoked), PAWL_RC_OK);
    assert_int_equal(revoked.acknowledged, PAWL_LEVEL_DURABLE);
    assert_int_equal(revoked.until_s, 32); /* the fake tells the size of the value: a SHA-256 */
    assert_int_equal(pawl_client_rotate(client, &rotate, &first), PAWL_RC_OK);
    assert_int_equal(pawl_client_rotate(client, &rotate, &second), PAWL_RC_OK);
    assert_int_equal(first.result, PAWL_REFRESH_ROTATED);
    assert_int_equal(first.proposed.size, 22);
    assert_string_equal(first.proposed.data, first.successor.data);
    assert_string_not_equal(first.proposed.data, second.proposed.data);
    assert_int_equal(pawl_client_ping(client, NULL, NULL), PAWL_RC_OK);
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void claims_of_a_token_that_pawld_verified_come_back(void **state)
{
    struct fake *fake = fake_start(FAKE_ANSWER);
    struct pawl_client *client = client_for(fake->address, 0);
    struct pawl_claims claims;
    struct pawl_token token = { .struct_size = sizeof(token), .raw = pawl_str("a.b.c") };
    struct pawl_token_check_call call = { .struct_size = sizeof(call), .token = &token };
    struct pawl_token_check_result result = { .struct_size = sizeof(result) };
    (void)state;

    memset(&claims, 0xee, sizeof(claims));
    result.token.claims = &claims;
    assert_int_equal(pawl_client_token_check(client, &call, &result), PAWL_RC_OK);
    assert_int_equal(result.token.status, PAWL_TOKEN_STATE_VALID);
    assert_true(result.token.has_claims);
    assert_ptr_equal(result.token.claims, &claims);
    assert_string_equal(claims.jti.data, "jti1");
    assert_string_equal(claims.subject.data, "a.b.c"); /* the fake tells the token it got */
    assert_int_equal(claims.issuer.size, 0);
    assert_int_equal(claims.exp_s, 1900000000);

    /* Nowhere to put them: still an answer. */
    result = (struct pawl_token_check_result){ .struct_size = sizeof(result) };
    assert_int_equal(pawl_client_token_check(client, &call, &result), PAWL_RC_OK);
    assert_int_equal(result.token.status, PAWL_TOKEN_STATE_VALID);
    assert_null(result.token.claims);

    /* Claims of our own: pawld verified nothing, and says nothing. */
    token = (struct pawl_token){ .struct_size = sizeof(token), .jti = pawl_str("j") };
    result = (struct pawl_token_check_result){ .struct_size = sizeof(result) };
    result.token.claims = &claims;
    assert_int_equal(pawl_client_token_check(client, &call, &result), PAWL_RC_OK);
    assert_false(result.token.has_claims);
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void one_check_carries_a_whole_token_and_limits(void **state)
{
    struct fake *fake = fake_start(FAKE_ANSWER);
    struct pawl_client *client = client_for(fake->address, 0);
    struct pawl_str key = pawl_str("k");
    struct pawl_claims claims;
    struct pawl_token token = { .struct_size = sizeof(token), .raw = pawl_str("d.e.f") };
    struct pawl_check_item item = {
        .rates = "5/minute", .key = &key, .key_count = 1, .on_error = PAWL_FAIL_CLOSED
    };
    struct pawl_check_call call = {
        .struct_size = sizeof(call), .items = &item, .item_count = 1, .token = &token
    };
    struct pawl_check_result result = { .struct_size = sizeof(result) };
    (void)state;

    result.token.claims = &claims;
    assert_int_equal(pawl_client_check(client, &call, &result), PAWL_RC_OK);
    assert_int_equal(result.outcome, PAWL_OUTCOME_ALLOW);
    assert_true(result.has_token && result.token.has_claims);
    assert_string_equal(claims.subject.data, "d.e.f");
    assert_int_equal(atomic_load(&fake->requests), 1);
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void a_whole_token_is_revoked_by_itself_or_with_its_family(void **state)
{
    struct fake *fake = fake_start(FAKE_ANSWER);
    struct pawl_client *client = client_for(fake->address, 0);
    struct pawl_revoke_call revoke = { .struct_size = sizeof(revoke),
                                       .scope = PAWL_REVOKE_JWT,
                                       .value = pawl_str("aaa.bbb.ccc") };
    struct pawl_revoke_result revoked = { .struct_size = sizeof(revoked) };
    (void)state;

    assert_int_equal(pawl_client_revoke(client, &revoke, &revoked), PAWL_RC_OK);
    assert_int_equal(revoked.until_s, 1000 * PAWL_REVOKE_TOKEN + 11);
    revoke.scope = PAWL_REVOKE_JWT_FAMILY;
    assert_int_equal(pawl_client_revoke(client, &revoke, &revoked), PAWL_RC_OK);
    assert_int_equal(revoked.until_s, 1000 * PAWL_REVOKE_FAMILY + 11);
    revoke.value = pawl_str("");
    assert_int_equal(pawl_client_revoke(client, &revoke, &revoked), PAWL_RC_INVALID);
    assert_string_equal(pawl_revoke_scope_text(PAWL_REVOKE_JWT_FAMILY), "jwt_family");
    assert_int_equal(pawl_revoke_scope_from_text("jwt_family"), PAWL_REVOKE_JWT_FAMILY);
    pawl_client_destroy(client);
    fake_stop(fake);
}

/* ---- no answers -------------------------------------------------------------------------- */

static void nobody_there_is_decided_by_the_policy_of_the_call(void **state)
{
    struct pawl_client *client = client_for("unix:@pawl-nobody", PAWL_CLIENT_NO_BREAKER);
    struct pawl_check_result result;
    (void)state;

    assert_int_equal(check_at(client, "k", "5/minute", PAWL_FAIL_OPEN, &result), PAWL_RC_OK);
    assert_int_equal(result.outcome, PAWL_OUTCOME_ALLOW);
    assert_int_equal(result.info.source, PAWL_SOURCE_FALLBACK);
    assert_int_equal(result.info.cause, PAWL_RC_CONNECT);
    assert_int_equal(result.info.effect, PAWL_EFFECT_NONE);
    assert_non_null(strstr(result.info.text, "pawl-nobody"));
    assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_DENY);
    pawl_client_destroy(client);
}

static void a_silent_daemon_costs_the_deadline_and_the_effect_is_unknown(void **state)
{
    struct fake *fake = fake_start(FAKE_SILENT);
    struct pawl_client *client = client_for(fake->address, 0);
    struct pawl_check_result result;
    struct pawl_token token = { .struct_size = sizeof(token), .jti = pawl_str("j") };
    struct pawl_rotate_call rotate = { .struct_size = sizeof(rotate), .presented = &token };
    struct pawl_rotate_result rotated = { .struct_size = sizeof(rotated) };
    (void)state;

    client->clock_ns = ticking;
    client->check_deadline_ms = 20;
    client->durable_deadline_ms = 40;
    assert_int_equal(check_at(client, "k", "5/minute", PAWL_FAIL_OPEN, &result), PAWL_RC_OK);
    assert_int_equal(result.info.cause, PAWL_RC_TIMEOUT);
    assert_int_equal(result.info.effect, PAWL_EFFECT_UNKNOWN);
    assert_int_equal(result.outcome, PAWL_OUTCOME_ALLOW);
    assert_int_equal(pawl_client_rotate(client, &rotate, &rotated), PAWL_RC_OK);
    assert_int_equal(rotated.result, PAWL_REFRESH_UNAVAILABLE);
    assert_int_equal(rotated.info.effect, PAWL_EFFECT_UNKNOWN);
    wait_for_count(&fake->requests, 2);
    assert_int_equal(atomic_load(&fake->requests), 2);
    pawl_client_destroy(client);
    fake_stop(fake);
}

/* The daemon had asked the member of its fleet that counts the key. */
static void an_owner_behind_the_daemon_that_fell_silent_may_have_counted(void **state)
{
    static const enum fake_mode modes[] = { FAKE_REFUSE, FAKE_PERHAPS };
    struct fake *fake = fake_start(FAKE_REFUSE);
    struct pawl_client *client = client_for(fake->address, 0);
    struct pawl_str key = pawl_str("k");
    struct pawl_check_item item = {
        .key = &key, .key_count = 1, .rates = "5/minute", .on_error = PAWL_FAIL_OPEN
    };
    (void)state;

    for (unsigned i = 0; i < 4; i++) {
        bool peek = i % 2 != 0;
        struct pawl_check_call call = { .struct_size = sizeof(call),
                                        .items = &item,
                                        .item_count = 1,
                                        .flags = peek ? PAWL_CHECK_PEEK : 0 };
        struct pawl_check_result result = { .struct_size = sizeof(result) };

        atomic_store(&fake->mode, modes[i / 2]);
        assert_int_equal(pawl_client_check(client, &call, &result), PAWL_RC_OK);
        assert_int_equal(result.info.source, PAWL_SOURCE_FALLBACK);
        assert_int_equal(result.info.cause, PAWL_RC_UNAVAILABLE);
        assert_int_equal(result.outcome, PAWL_OUTCOME_ALLOW);
        assert_string_equal(result.info.text, "as told");
        assert_int_equal(result.info.effect, modes[i / 2] == FAKE_PERHAPS && !peek
                                                 ? PAWL_EFFECT_UNKNOWN
                                                 : PAWL_EFFECT_NONE);
    }
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void a_charge_is_never_sent_twice(void **state)
{
    static const enum fake_mode modes[] = { FAKE_CLOSE, FAKE_HALF, FAKE_GARBAGE, FAKE_WRONG_BODY };
    (void)state;

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        struct fake *fake = fake_start(modes[i]);
        struct fake *second = fake_start(FAKE_ANSWER);
        char list[160];
        struct pawl_client *client;
        struct pawl_check_result result;

        (void)snprintf(list, sizeof(list), "%s,%s", fake->address, second->address);
        client = client_for(list, 0);
        assert_int_equal(check_at(client, "k", "5/minute", PAWL_FAIL_CLOSED, &result), PAWL_RC_OK);
        assert_int_equal(result.outcome, PAWL_OUTCOME_DENY);
        assert_int_equal(result.info.source, PAWL_SOURCE_FALLBACK);
        assert_int_equal(result.info.effect, PAWL_EFFECT_UNKNOWN);
        assert_int_equal(atomic_load(&fake->requests), 1);
        assert_int_equal(atomic_load(&second->requests), 0);
        pawl_client_destroy(client);
        fake_stop(fake);
        fake_stop(second);
    }
}

static void the_next_address_is_asked_when_the_first_is_dead(void **state)
{
    struct fake *fake = fake_start(FAKE_ANSWER);
    char list[160];
    struct pawl_client *client;
    struct pawl_client_figures figures = { .struct_size = sizeof(figures) };
    (void)state;

    (void)snprintf(list, sizeof(list), "unix:@pawl-nobody,tcp:127.0.0.1:1,%s", fake->address);
    client = client_for(list, 0);
    assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_ALLOW);
    pawl_client_figures(client, &figures);
    assert_int_equal(figures.connect_fails, 2);
    assert_int_equal(figures.connects, 1);
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void an_idle_connection_that_was_closed_loses_nothing(void **state)
{
    struct fake *fake = fake_start(FAKE_HANG_UP);
    struct pawl_client *client = client_for(fake->address, 0);
    (void)state;

    assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_ALLOW);
    wait_for_count(&fake->hung_up, 1); /* as a daemon that was restarted in between */
    assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_ALLOW);
    assert_int_equal(atomic_load(&fake->requests), 2);
    assert_int_equal(atomic_load(&fake->hellos), 2);
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void who_is_turned_away_twice_is_told_why_and_leaves_the_daemon_alone(void **state)
{
    struct fake *fake = fake_start(FAKE_TURN_AWAY);
    struct pawl_client *eager = client_for(fake->address, PAWL_CLIENT_NO_BREAKER);
    struct pawl_client *client = client_for(fake->address, 0);
    struct pawl_check_result result;
    int hellos;
    (void)state;

    assert_int_equal(check_at(eager, "k", "5/minute", PAWL_FAIL_OPEN, &result), PAWL_RC_OK);
    assert_int_equal(result.info.cause, PAWL_RC_CONNECT);
    assert_int_equal(result.info.effect, PAWL_EFFECT_NONE);
    assert_non_null(strstr(result.info.text, "as told"));
    assert_int_equal(atomic_load(&fake->hellos), 2);
    assert_int_equal(ask(eager, PAWL_FAIL_CLOSED), PAWL_OUTCOME_DENY);
    assert_int_equal(atomic_load(&fake->hellos), 3); /* no news: once is enough */
    client->clock_ns = ticking;
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_DENY);
    }
    hellos = atomic_load(&fake->hellos);
    assert_true(hellos < 15); /* it waits between them, longer each time */
    atomic_store(&fake->mode, FAKE_ANSWER);
    assert_int_equal(ask(eager, PAWL_FAIL_CLOSED), PAWL_OUTCOME_ALLOW);
    pawl_client_destroy(eager);
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void a_daemon_that_is_replaced_turns_nobody_away_for_good(void **state)
{
    struct fake *fake = fake_start(FAKE_TURN_ONCE);
    struct pawl_client *client = client_for(fake->address, 0);
    (void)state;

    assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_ALLOW);
    assert_int_equal(atomic_load(&fake->hellos), 2);
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void a_goaway_moves_what_was_not_begun_and_lets_the_rest_finish(void **state)
{
    struct fake *fake = fake_start(FAKE_GOAWAY);
    struct pawl_client *client = client_for(fake->address, 0);
    struct pawl_client_figures figures = { .struct_size = sizeof(figures) };
    (void)state;

    assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_ALLOW);
    assert_int_equal(atomic_load(&fake->requests), 2); /* the daemon said that it began it not */
    pawl_client_figures(client, &figures);
    assert_int_equal(figures.moved, 1);
    atomic_store(&fake->mode, FAKE_GOAWAY_DRAIN);
    assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_ALLOW);
    assert_int_equal(atomic_load(&fake->requests), 3);
    assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_ALLOW);
    assert_int_equal(atomic_load(&fake->hellos), 3);
    pawl_client_figures(client, &figures);
    assert_int_equal(figures.goaways, 2);
    assert_int_equal(figures.moved, 1);
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void the_breaker_opens_answers_at_once_and_closes_after_a_probe(void **state)
{
    struct fake *fake = fake_start(FAKE_SILENT);
    struct pawl_client *client = client_for(fake->address, 0);
    struct pawl_check_result result;
    (void)state;

    client->clock_ns = ticking;
    client->check_deadline_ms = 10;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(check_at(client, "k", "5/m", PAWL_FAIL_OPEN, &result), PAWL_RC_OK);
        assert_int_equal(result.info.cause, PAWL_RC_TIMEOUT);
    }
    wait_for_count(&fake->requests, 5);
    assert_int_equal(check_at(client, "k", "5/m", PAWL_FAIL_CLOSED, &result), PAWL_RC_OK);
    assert_int_equal(result.info.cause, PAWL_RC_BREAKER);
    assert_int_equal(result.info.effect, PAWL_EFFECT_NONE);
    assert_int_equal(result.outcome, PAWL_OUTCOME_DENY);
    ticking_ns += 200 * NS_PER_MS; /* over 5/4 of 100 ms: one probe, which fails, for longer */
    assert_int_equal(check_at(client, "k", "5/m", PAWL_FAIL_OPEN, &result), PAWL_RC_OK);
    assert_int_equal(result.info.cause, PAWL_RC_TIMEOUT);
    assert_int_equal(check_at(client, "k", "5/m", PAWL_FAIL_OPEN, &result), PAWL_RC_OK);
    assert_int_equal(result.info.cause, PAWL_RC_BREAKER);
    ticking_ns += 400 * NS_PER_MS;
    atomic_store(&fake->mode, FAKE_ANSWER);
    client->check_deadline_ms = 60000;
    assert_int_equal(check_at(client, "k", "5/m", PAWL_FAIL_OPEN, &result), PAWL_RC_OK);
    assert_int_equal(result.info.source, PAWL_SOURCE_DAEMON);
    assert_int_equal(client->breaker.state, BREAKER_CLOSED);
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void a_silent_daemon_is_left_for_another_without_a_breaker_too(void **state)
{
    struct fake *silent = fake_start(FAKE_SILENT);
    struct fake *other = fake_start(FAKE_ANSWER);
    char list[160];
    struct pawl_client *client;
    struct pawl_check_result result;
    (void)state;

    (void)snprintf(list, sizeof(list), "%s,%s", silent->address, other->address);
    client = client_for(list, PAWL_CLIENT_NO_BREAKER);
    client->clock_ns = ticking;
    client->check_deadline_ms = 10;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(check_at(client, "k", "5/m", PAWL_FAIL_OPEN, &result), PAWL_RC_OK);
        assert_int_equal(result.info.cause, PAWL_RC_TIMEOUT);
    }
    assert_int_equal(client_active(client)->state, CONN_NONE); /* else the next would wait */
    client->check_deadline_ms = 60000;
    assert_int_equal(check_at(client, "k", "5/m", PAWL_FAIL_OPEN, &result), PAWL_RC_OK);
    assert_int_equal(result.info.source, PAWL_SOURCE_DAEMON);
    assert_int_equal(atomic_load(&other->requests), 1);
    pawl_client_destroy(client);
    fake_stop(silent);
    fake_stop(other);
}

static void a_dead_address_comes_last_for_a_while_without_a_breaker_too(void **state)
{
    struct fake *fake = fake_start(FAKE_HANG_UP);
    char list[160];
    struct pawl_client *client;
    struct pawl_client_figures figures = { .struct_size = sizeof(figures) };
    (void)state;

    (void)snprintf(list, sizeof(list), "unix:@pawl-nobody,%s", fake->address);
    client = client_for(list, PAWL_CLIENT_NO_BREAKER);
    assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_ALLOW);
    client->endpoints[0].retry_ns = UINT64_MAX;
    for (int i = 1; i < 4; i++) {
        wait_for_count(&fake->hung_up, i);
        assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_ALLOW);
    }
    pawl_client_figures(client, &figures);
    assert_int_equal(figures.connect_fails, 1);
    pawl_client_destroy(client);
    fake_stop(fake);
}

/* ---- counting here ----------------------------------------------------------------------- */

static void local_counts_the_share_of_this_worker(void **state)
{
    struct pawl_client *client = client_for("unix:@pawl-nobody", PAWL_CLIENT_NO_BREAKER);
    struct pawl_check_result result;
    (void)state;

    client->clock_ns = ticking;
    client->expected_workers = 3; /* 10 / 3: 3 each */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(check_at(client, "k", "10/m", PAWL_FAIL_LOCAL, &result), PAWL_RC_OK);
        assert_int_equal(result.outcome, PAWL_OUTCOME_ALLOW);
        assert_int_equal(result.info.source, PAWL_SOURCE_FALLBACK);
    }
    assert_int_equal(check_at(client, "k", "10/m", PAWL_FAIL_LOCAL, &result), PAWL_RC_OK);
    assert_int_equal(result.outcome, PAWL_OUTCOME_DENY);
    assert_true(result.retry_after_ms > 0 && result.retry_after_ms <= 60000);
    assert_int_equal(check_at(client, "other", "10/m", PAWL_FAIL_LOCAL, &result), PAWL_RC_OK);
    assert_int_equal(result.outcome, PAWL_OUTCOME_ALLOW);
    ticking_ns += 60000 * NS_PER_MS;
    assert_int_equal(check_at(client, "k", "10/m", PAWL_FAIL_LOCAL, &result), PAWL_RC_OK);
    assert_int_equal(result.outcome, PAWL_OUTCOME_ALLOW);
    pawl_client_destroy(client);
}

static void a_full_local_table_is_undecided_and_forgets_nobody(void **state)
{
    struct pawl_client *client = client_for("unix:@pawl-nobody", PAWL_CLIENT_NO_BREAKER);
    struct pawl_check_result result;
    char key[16];
    (void)state;

    client->clock_ns = ticking;
    client->local.slot_max = 2;
    for (int i = 0; i < 2; i++) {
        (void)snprintf(key, sizeof(key), "k%d", i);
        (void)check_at(client, key, "1/h", PAWL_FAIL_LOCAL, &result);
        assert_int_equal(result.outcome, PAWL_OUTCOME_ALLOW);
    }
    (void)check_at(client, "k2", "1/h", PAWL_FAIL_LOCAL, &result);
    assert_int_equal(result.outcome, PAWL_OUTCOME_UNDECIDED);
    (void)check_at(client, "k0", "1/h", PAWL_FAIL_LOCAL, &result);
    assert_int_equal(result.outcome, PAWL_OUTCOME_DENY);
    pawl_client_destroy(client);
}

static int check_named(struct pawl_client *client, enum pawl_fail on_error,
                       struct pawl_check_result *result)
{
    struct pawl_str key = pawl_str("k");
    struct pawl_check_item item = {
        .limit = pawl_str("login"), .key = &key, .key_count = 1, .on_error = on_error
    };
    struct pawl_check_call check = { .struct_size = sizeof(check),
                                     .items = &item,
                                     .item_count = 1 };

    memset(result, 0, sizeof(*result));
    result->struct_size = sizeof(*result);
    return pawl_client_check(client, &check, result);
}

static void the_daemons_policy_once_seen_wins_and_brings_its_rates(void **state)
{
    struct fake *fake = fake_start(FAKE_ANSWER);
    struct pawl_client *client = client_for(fake->address, PAWL_CLIENT_NO_BREAKER);
    struct pawl_check_result result;
    (void)state;

    atomic_store(&fake->mode, FAKE_CLOSE);
    (void)check_named(client, PAWL_FAIL_LOCAL, &result); /* nobody has told its rates yet */
    assert_int_equal(result.outcome, PAWL_OUTCOME_UNDECIDED);
    assert_int_equal(result.info.cause, PAWL_RC_NO_RATES);
    atomic_store(&fake->mode, FAKE_ANSWER);
    atomic_store(&fake->on_error, PAWL_FAIL_LOCAL);
    (void)check_named(client, PAWL_FAIL_OPEN, &result);
    assert_int_equal(result.info.source, PAWL_SOURCE_DAEMON);
    atomic_store(&fake->mode, FAKE_CLOSE);
    for (int i = 0; i < 3; i++) { /* the fake's limit is 2 a minute */
        (void)check_named(client, PAWL_FAIL_OPEN, &result);
        assert_int_equal(result.info.source, PAWL_SOURCE_FALLBACK);
        assert_int_equal(result.outcome, i < 2 ? PAWL_OUTCOME_ALLOW : PAWL_OUTCOME_DENY);
    }
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void without_a_daemon_a_token_is_undecided_whatever_the_policy(void **state)
{
    struct pawl_client *client = client_for("unix:@pawl-nobody", 0);
    struct pawl_token token = { .struct_size = sizeof(token), .jti = pawl_str("j") };
    struct pawl_str key = pawl_str("k");
    struct pawl_check_item item = {
        .rates = "1/m", .key = &key, .key_count = 1, .on_error = PAWL_FAIL_OPEN
    };
    struct pawl_check_call check = {
        .struct_size = sizeof(check), .items = &item, .item_count = 1, .token = &token
    };
    struct pawl_check_result result = { .struct_size = sizeof(result) };
    struct pawl_token_check_call call = { .struct_size = sizeof(call), .token = &token };
    struct pawl_token_check_result verdict = { .struct_size = sizeof(verdict) };
    (void)state;

    assert_int_equal(pawl_client_check(client, &check, &result), PAWL_RC_OK);
    assert_int_equal(result.outcome, PAWL_OUTCOME_UNDECIDED);
    assert_int_equal(result.token.status, PAWL_TOKEN_STATE_UNDECIDED);
    item.on_error = PAWL_FAIL_CLOSED;
    assert_int_equal(pawl_client_check(client, &check, &result), PAWL_RC_OK);
    assert_int_equal(result.outcome, PAWL_OUTCOME_DENY);
    assert_int_equal(pawl_client_token_check(client, &call, &verdict), PAWL_RC_OK);
    assert_int_equal(verdict.token.status, PAWL_TOKEN_STATE_UNDECIDED);
    pawl_client_destroy(client);
}

/* ---- without blocking -------------------------------------------------------------------- */

static void a_batch_leaves_in_one_write_and_each_callback_fires_once(void **state)
{
    struct fake *fake = fake_start(FAKE_ANSWER);
    struct pawl_client *client = client_for(fake->address, 0);
    static struct seen seen[200];
    int total = 0;
    (void)state;

    memset(seen, 0, sizeof(seen));
    for (unsigned i = 0; i < 200; i++) {
        (void)submit(client, &seen[i]);
    }
    while (total < 200) {
        struct pollfd fd = { pawl_client_fd(client), POLLIN, 0 };

        (void)poll(&fd, 1, pawl_client_timeout_ms(client));
        total += pawl_client_process(client, fd.revents);
    }
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(seen[i].calls, 1);
        assert_int_equal(seen[i].outcome, PAWL_OUTCOME_ALLOW);
        assert_int_equal(seen[i].source, PAWL_SOURCE_DAEMON);
    }
    assert_int_equal(pawl_client_timeout_ms(client), -1);
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void an_epoll_loop_drives_it(void **state)
{
    struct fake *fake = fake_start(FAKE_ANSWER);
    struct pawl_client *client = client_for(fake->address, 0);
    struct pawl_epoll pawl;
    struct seen seen = { 0 };
    struct epoll_event event;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    (void)state;

    assert_int_equal(pawl_epoll_start(&pawl, epoll_fd, client, &pawl), 0);
    (void)submit(client, &seen);
    while (seen.calls == 0) {
        assert_true(pawl_epoll_turn(&pawl) >= 0);
        if (seen.calls == 0) {
            (void)epoll_wait(epoll_fd, &event, 1, pawl_epoll_timeout(&pawl, -1));
        }
    }
    assert_int_equal(seen.source, PAWL_SOURCE_DAEMON);
    pawl_epoll_stop(&pawl);
    pawl_client_destroy(client);
    (void)close(epoll_fd);
    fake_stop(fake);
}

static void a_libuv_loop_drives_it_and_ends_clean(void **state)
{
    struct fake *fake = fake_start(FAKE_ANSWER);
    struct pawl_client *client = client_for(fake->address, 0);
    struct pawl_uv pawl;
    struct seen seen = { 0 };
    uv_loop_t loop;
    (void)state;

    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(pawl_uv_start(&pawl, &loop, client), 0);
    seen.stop = &pawl;
    (void)submit(client, &seen);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.source, PAWL_SOURCE_DAEMON);
    assert_int_equal(uv_loop_close(&loop), 0);
    fake_stop(fake);
}

static void a_canceled_call_is_called_back_once_and_later(void **state)
{
    struct fake *fake = fake_start(FAKE_SILENT);
    struct pawl_client *client = client_for(fake->address, 0);
    struct seen queued = { 0 };
    struct seen sent = { 0 };
    uint64_t id;
    (void)state;

    id = submit(client, &queued);
    assert_int_equal(pawl_client_cancel(client, id), PAWL_RC_OK);
    assert_int_equal(queued.calls, 0);
    assert_int_equal(pawl_client_cancel(client, id), PAWL_RC_NOT_FOUND);
    assert_int_equal(pawl_client_process(client, 0), 1);
    assert_int_equal(queued.rc, PAWL_RC_CANCELED);
    assert_int_equal(queued.effect, PAWL_EFFECT_NONE);
    id = submit(client, &sent);
    pawl_client_flush(client);
    wait_for_count(&fake->requests, 1);
    assert_int_equal(pawl_client_cancel(client, id), PAWL_RC_OK);
    assert_int_equal(pawl_client_process(client, 0), 1);
    assert_int_equal(sent.calls, 1);
    assert_int_equal(sent.effect, PAWL_EFFECT_UNKNOWN);
    pawl_client_destroy(client);
    assert_int_equal(queued.calls + sent.calls, 2);
    fake_stop(fake);
}

static void destroy_calls_back_what_is_pending(void **state)
{
    struct fake *fake = fake_start(FAKE_SILENT);
    struct pawl_client *client = client_for(fake->address, 0);
    struct seen sent = { 0 };
    struct seen queued = { 0 };
    (void)state;

    (void)submit(client, &sent);
    pawl_client_flush(client);
    (void)submit(client, &queued);
    pawl_client_destroy(client);
    assert_int_equal(sent.calls, 1);
    assert_int_equal(sent.rc, PAWL_RC_CANCELED);
    assert_int_equal(queued.calls, 1);
    assert_int_equal(queued.rc, PAWL_RC_CANCELED);
    fake_stop(fake);
}

static void a_callback_may_destroy_its_own_handle(void **state)
{
    struct fake *fake = fake_start(FAKE_ANSWER);
    struct pawl_client *client = client_for(fake->address, 0);
    struct seen first = { .destroy = client };
    struct seen second = { 0 };
    int rc = 0;
    (void)state;

    (void)submit(client, &first);
    (void)submit(client, &second);
    while (rc != PAWL_RC_CANCELED) {
        struct pollfd fd = { pawl_client_fd(client), POLLIN, 0 };

        (void)poll(&fd, 1, pawl_client_timeout_ms(client));
        rc = pawl_client_process(client, fd.revents);
    }
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 1);
    fake_stop(fake);
}

static void too_many_in_flight_is_refused_at_once(void **state)
{
    struct pawl_client_options options = { .struct_size = sizeof(options),
                                           .addresses = "unix:@pawl-nobody",
                                           .in_flight_max = 2 };
    struct pawl_client *client = NULL;
    struct seen seen[2] = { { 0 }, { 0 } };
    struct pawl_ping_call ping = { .struct_size = sizeof(ping) };
    (void)state;

    assert_int_equal(pawl_client_create(&options, &client, NULL, 0), PAWL_RC_OK);
    (void)submit(client, &seen[0]);
    (void)submit(client, &seen[1]);
    assert_int_equal(pawl_client_submit_ping(client, &ping, on_seen, &seen[0], NULL), PAWL_RC_FULL);
    assert_int_equal(pawl_client_process(client, 0), 2);
    assert_int_equal(seen[0].calls, 1);
    pawl_client_destroy(client);
}

static void a_refused_submit_says_why(void **state)
{
    struct pawl_client *client = client_for("unix:@pawl-nobody", PAWL_CLIENT_NO_FALLBACK);
    struct pawl_str key = pawl_str("k");
    struct pawl_check_item item = { .rates = "5/minute", .key = &key, .key_count = 0 };
    struct pawl_check_call check = { .struct_size = sizeof(check),
                                     .items = &item,
                                     .item_count = 1 };
    struct seen seen = { 0 };
    (void)state;

    assert_int_equal(pawl_client_submit_check(client, &check, on_seen, &seen, NULL),
                     PAWL_RC_INVALID);
    assert_string_equal(pawl_client_refusal(client), "item 0: a key has 1 to 8 parts");
    (void)submit(client, &seen);
    assert_string_equal(pawl_client_refusal(client), "");
    pawl_client_destroy(client);
}

/* ---- fork, options, addresses ------------------------------------------------------------ */

static void a_child_leaves_the_parents_connection_alone(void **state)
{
    struct fake *fake = fake_start(FAKE_SILENT);
    struct pawl_client *client = client_for(fake->address, 0);
    struct seen seen = { 0 };
    int status = -1;
    pid_t child;
    int parent_fd = pawl_client_fd(client);
    (void)state;

    (void)submit(client, &seen);
    pawl_client_flush(client);
    wait_for_count(&fake->requests, 1); /* in the middle of a request */
    child = fork();
    if (child == 0) {
        struct pawl_check_result result;
        int rc;

        (void)pawl_client_process(client, 0); /* nothing of the parent's is pending here */
        rc = seen.calls == 0 && client->pending == 0 ? 0 : 1;
        client->check_deadline_ms = 1;
        rc += check_at(client, "k", "5/m", PAWL_FAIL_OPEN, &result) == PAWL_RC_OK ? 0 : 2;
        rc += result.info.effect == PAWL_EFFECT_UNKNOWN || result.info.effect == PAWL_EFFECT_NONE
                  ? 0
                  : 4;
        pawl_client_destroy(client);
        _exit(rc);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    wait_for_count(&fake->closed, 1); /* the child's own connection, and only that */
    assert_int_equal(atomic_load(&fake->closed), 1);
    assert_int_equal(pawl_client_fd(client), parent_fd);
    atomic_store(&fake->mode, FAKE_ANSWER);
    {
        struct seen after = { 0 };

        (void)submit(client, &after);
        pump_until(client, &after.calls, 1); /* the epoll set still has the parent's socket */
        assert_int_equal(after.source, PAWL_SOURCE_DAEMON);
    }
    assert_int_equal(seen.calls, 0);
    pawl_client_destroy(client);
    assert_int_equal(seen.calls, 1);
    fake_stop(fake);
}

static void bad_options_are_told_with_their_name(void **state)
{
    struct pawl_client_options options = { .struct_size = sizeof(options) };
    struct pawl_client *client = NULL;
    char error[PAWL_TEXT_BYTES] = "";
    (void)state;

    options.addresses = "unix:/a,http://b";
    assert_int_equal(pawl_client_create(&options, &client, error, sizeof(error)), PAWL_RC_INVALID);
    assert_non_null(strstr(error, "address 2"));
    assert_null(client);
    options.addresses = NULL;
    options.in_flight_max = 4097;
    assert_int_equal(pawl_client_create(&options, &client, error, sizeof(error)), PAWL_RC_INVALID);
    assert_non_null(strstr(error, "in_flight_max"));
}

static void an_older_and_shorter_options_struct_means_zero_for_the_rest(void **state)
{
    struct pawl_client_options options = { .struct_size = offsetof(struct pawl_client_options, ns),
                                           .addresses = "unix:@pawl-nobody",
                                           .in_flight_max = 999999 };
    struct pawl_client *client = NULL;
    (void)state;

    assert_int_equal(pawl_client_create(&options, &client, NULL, 0), PAWL_RC_OK);
    assert_int_equal(client->slot_max, 256);
    pawl_client_destroy(client);
}

static void *lock_worker(void *arg)
{
    for (int i = 0; i < 50; i++) {
        if (ask(arg, PAWL_FAIL_CLOSED) != PAWL_OUTCOME_ALLOW) {
            return arg;
        }
    }
    return NULL;
}

struct sockets_of {
    struct fake *fake;
    int given;
    int refused; /* so many are refused first */
};

static int connect_to_fake(void *ctx)
{
    struct sockets_of *of = ctx;
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    const char *name = of->fake->address + strlen("unix:@");
    int fd;

    if (of->refused > 0) {
        of->refused--;
        errno = ECONNREFUSED;
        return -1;
    }
    memcpy(un.sun_path + 1, name, strlen(name));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(
        connect(fd, (const struct sockaddr *)&un,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))),
        0);
    of->given++;
    return fd;
}

static void sockets_may_come_from_a_function_in_place_of_addresses(void **state)
{
    struct fake *fake = fake_start(FAKE_ANSWER);
    struct sockets_of of = { .fake = fake, .refused = 1 };
    struct pawl_client_options options = { .struct_size = sizeof(options),
                                           .check_deadline_ms = 20000,
                                           .flags = PAWL_CLIENT_NO_BREAKER,
                                           .connect = connect_to_fake,
                                           .connect_ctx = &of };
    struct pawl_client *client = NULL;
    struct pawl_check_result result;

    (void)state;
    assert_int_equal(pawl_client_create(&options, &client, NULL, 0), PAWL_RC_OK);
    assert_int_equal(pawl_client_resolve(client), PAWL_RC_OK);
    /* refused: the policy decides, and the text names where it was tried */
    assert_int_equal(check_at(client, "k", "5/minute", PAWL_FAIL_CLOSED, &result), PAWL_RC_OK);
    assert_int_equal(result.info.cause, PAWL_RC_CONNECT);
    assert_non_null(strstr(result.info.text, "the connect option"));
    assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_ALLOW);
    assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_ALLOW);
    assert_int_equal(of.given, 1);
    /* another one when this one has ended */
    atomic_store(&fake->mode, FAKE_HANG_UP);
    assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_ALLOW);
    while (atomic_load(&fake->hung_up) == 0) {
        (void)sched_yield();
    }
    assert_int_equal(ask(client, PAWL_FAIL_CLOSED), PAWL_OUTCOME_ALLOW);
    assert_int_equal(of.given, 2);
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void a_locked_handle_is_shared_by_threads(void **state)
{
    struct fake *fake = fake_start(FAKE_ANSWER);
    struct pawl_client *client = client_for(fake->address, PAWL_CLIENT_LOCKED);
    pthread_t threads[4];
    void *failed;
    (void)state;

    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, lock_worker, client), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(atomic_load(&fake->requests), 200);
    pawl_client_destroy(client);
    fake_stop(fake);
}

static void addresses_become_keys(void **state)
{
    static const char *const pairs[][2] = {
        { "192.0.2.7", "192.0.2.7" },
        { "::ffff:192.0.2.7", "192.0.2.7" },
        { "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64" },
        { "[2001:DB8:1:2::9]", "2001:db8:1:2::/64" },
        { "fe80::1%eth0", "fe80::/64" },
        { "::1", "::/64" },
    };
    static const char *const bad[] = { "", "x", "1.2.3", "1.2.3.4.5", "::g", "[", "%eth0" };
    char out[PAWL_TEXT_IP_BYTES];
    (void)state;

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        assert_int_equal(pawl_key_from_ip(pairs[i][0], out), PAWL_RC_OK);
        assert_string_equal(out, pairs[i][1]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(pawl_key_from_ip(bad[i], out), PAWL_RC_INVALID);
        assert_string_equal(out, "");
    }
    assert_int_equal(pawl_key_from_ip(NULL, out), PAWL_RC_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_check_gets_the_verdict_of_the_daemon),
        cmocka_unit_test(an_answer_that_comes_byte_by_byte_is_put_together),
        cmocka_unit_test(rates_go_to_the_callers_array_and_never_past_its_end),
        cmocka_unit_test(a_policy_is_required_and_the_item_is_named),
        cmocka_unit_test(an_unknown_limit_is_an_error_and_no_policy_hides_it),
        cmocka_unit_test(a_status_of_a_later_daemon_may_pass),
        cmocka_unit_test(writes_say_what_the_daemon_did),
        cmocka_unit_test(claims_of_a_token_that_pawld_verified_come_back),
        cmocka_unit_test(one_check_carries_a_whole_token_and_limits),
        cmocka_unit_test(a_whole_token_is_revoked_by_itself_or_with_its_family),
        cmocka_unit_test(nobody_there_is_decided_by_the_policy_of_the_call),
        cmocka_unit_test(a_silent_daemon_costs_the_deadline_and_the_effect_is_unknown),
        cmocka_unit_test(an_owner_behind_the_daemon_that_fell_silent_may_have_counted),
        cmocka_unit_test(a_charge_is_never_sent_twice),
        cmocka_unit_test(the_next_address_is_asked_when_the_first_is_dead),
        cmocka_unit_test(an_idle_connection_that_was_closed_loses_nothing),
        cmocka_unit_test(who_is_turned_away_twice_is_told_why_and_leaves_the_daemon_alone),
        cmocka_unit_test(a_daemon_that_is_replaced_turns_nobody_away_for_good),
        cmocka_unit_test(a_goaway_moves_what_was_not_begun_and_lets_the_rest_finish),
        cmocka_unit_test(the_breaker_opens_answers_at_once_and_closes_after_a_probe),
        cmocka_unit_test(a_silent_daemon_is_left_for_another_without_a_breaker_too),
        cmocka_unit_test(a_dead_address_comes_last_for_a_while_without_a_breaker_too),
        cmocka_unit_test(local_counts_the_share_of_this_worker),
        cmocka_unit_test(a_full_local_table_is_undecided_and_forgets_nobody),
        cmocka_unit_test(the_daemons_policy_once_seen_wins_and_brings_its_rates),
        cmocka_unit_test(without_a_daemon_a_token_is_undecided_whatever_the_policy),
        cmocka_unit_test(a_batch_leaves_in_one_write_and_each_callback_fires_once),
        cmocka_unit_test(an_epoll_loop_drives_it),
        cmocka_unit_test(a_libuv_loop_drives_it_and_ends_clean),
        cmocka_unit_test(a_canceled_call_is_called_back_once_and_later),
        cmocka_unit_test(destroy_calls_back_what_is_pending),
        cmocka_unit_test(a_callback_may_destroy_its_own_handle),
        cmocka_unit_test(too_many_in_flight_is_refused_at_once),
        cmocka_unit_test(a_refused_submit_says_why),
        cmocka_unit_test(a_child_leaves_the_parents_connection_alone),
        cmocka_unit_test(bad_options_are_told_with_their_name),
        cmocka_unit_test(an_older_and_shorter_options_struct_means_zero_for_the_rest),
        cmocka_unit_test(sockets_may_come_from_a_function_in_place_of_addresses),
        cmocka_unit_test(a_locked_handle_is_shared_by_threads),
        cmocka_unit_test(addresses_become_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
