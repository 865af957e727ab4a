/* What others have in the main loop: watched descriptors, and sessions that nobody accepted. */
#include "unit/edge_rig.h"

struct watched {
    struct rig *rig;
    int pipe[2];
    int adopt_fd; /* handed to the server by the next byte 'a' */
    enum pawl_status adopted;
    unsigned roles;
    _Atomic unsigned ready;
    _Atomic unsigned asked;
    _Atomic int timeout_ms;
    _Atomic unsigned done; /* bytes read */
};

static void on_ready(void *ctx)
{
    struct watched *watched = ctx;
    char byte;

    (void)atomic_fetch_add(&watched->ready, 1);
    while (read(watched->pipe[0], &byte, 1) == 1) {
        if (byte == 'a') {
            watched->adopted =
                pawl_server_adopt(watched->rig->server, watched->adopt_fd, watched->roles);
        }
        (void)atomic_fetch_add(&watched->done, 1);
    }
}

static int timeout_ms(void *ctx)
{
    struct watched *watched = ctx;

    (void)atomic_fetch_add(&watched->asked, 1);
    return atomic_load(&watched->timeout_ms);
}

static void start(struct rig *rig, struct watched *watched)
{
    struct pawl_watch watch = { .ready = on_ready, .timeout_ms = timeout_ms, .ctx = watched };

    watched->rig = rig;
    atomic_store(&watched->timeout_ms, -1);
    assert_int_equal(pipe2(watched->pipe, O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(rig_create(rig, NULL), PAWL_OK);
    watch.fd = watched->pipe[0];
    assert_int_equal(pawl_server_watch(rig->server, &watch), PAWL_OK);
    assert_int_equal(pthread_create(&rig->thread, NULL, rig_thread, rig), 0);
    rig->running = true;
}

static void tell(struct watched *watched, char byte)
{
    unsigned before = atomic_load(&watched->done);

    assert_int_equal(write(watched->pipe[1], &byte, 1), 1);
    for (int i = 0; atomic_load(&watched->done) == before; i++) {
        assert_true(i < RIG_PATIENCE_MS / 2);
        rig_breathe();
    }
}

static void finish(struct rig *rig, struct watched *watched)
{
    rig_free(rig);
    (void)close(watched->pipe[0]);
    (void)close(watched->pipe[1]);
}

static void a_watched_descriptor_is_told_and_asked_before_the_loop_sleeps(void **state)
{
    struct rig *rig = rig_make();
    struct watched watched = { .adopt_fd = -1 };
    unsigned ready;

    (void)state;
    start(rig, &watched);
    tell(&watched, 'x');
    assert_true(atomic_load(&watched.asked) > 0);
    /* silent, but a time was named: ready comes all the same */
    ready = atomic_load(&watched.ready);
    atomic_store(&watched.timeout_ms, 1);
    for (int i = 0; atomic_load(&watched.ready) < ready + 3; i++) {
        assert_true(i < RIG_PATIENCE_MS / 2);
        rig_breathe();
    }
    finish(rig, &watched);
}

static void an_adopted_socket_is_a_session_with_the_roles_named(void **state)
{
    struct rig *rig = rig_make();
    struct watched watched = { .roles = PAWL_ROLE_CHECK | PAWL_ROLE_REVOKE };
    char roles[2] = { PAWL_ROLE_CHECK | PAWL_ROLE_REVOKE, 0 };
    int ends[2];

    (void)state;
    start(rig, &watched);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, 0), 0);
    watched.adopt_fd = ends[1];
    tell(&watched, 'a');
    assert_int_equal(watched.adopted, PAWL_OK);
    rig_send_frame(ends[0], "r");
    rig_expect_frame(ends[0], roles);
    rig_send_frame(ends[0], "e back");
    rig_expect_frame(ends[0], "e back");
    (void)close(ends[0]);
    rig_await(rig, "edge_closed", 1);
    assert_int_equal(rig_stat(rig, "edge_accepted"), 0);
    finish(rig, &watched);
}

static void adopted_sessions_are_never_refused_for_the_cap_and_end_with_the_drain(void **state)
{
    struct rig *rig = rig_make();
    struct watched watched = { .roles = PAWL_ROLE_CHECK };
    int ends[2];

    (void)state;
    rig->options.connections_max = 1;
    start(rig, &watched);
    for (int i = 0; i < 2; i++) { /* two of them, where one peer may connect */
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
                         0);
        watched.adopt_fd = ends[1];
        tell(&watched, 'a');
        assert_int_equal(watched.adopted, PAWL_OK);
        if (i == 0) {
            (void)close(ends[0]);
            rig_await(rig, "edge_closed", 1);
        }
    }
    pawl_server_stop(rig->server);
    (void)close(ends[0]);
    assert_int_equal(rig_join(rig), PAWL_OK);
    /* nobody is left to serve it */
    assert_int_equal(pawl_server_adopt(rig->server, 0, PAWL_ROLE_CHECK), PAWL_EUNAVAIL);
    finish(rig, &watched);
}

static void more_watches_than_there_are_places_are_refused(void **state)
{
    struct rig *rig = rig_make();
    struct watched watched = { .adopt_fd = -1 };
    struct pawl_watch watch = { .ready = on_ready, .timeout_ms = timeout_ms, .ctx = &watched };
    int pipes[PAWL_WATCHES_MAX][2];

    (void)state;
    assert_int_equal(rig_create(rig, NULL), PAWL_OK);
    for (unsigned i = 0; i < PAWL_WATCHES_MAX; i++) {
        assert_int_equal(pipe2(pipes[i], O_NONBLOCK | O_CLOEXEC), 0);
        watch.fd = pipes[i][0];
        assert_int_equal(pawl_server_watch(rig->server, &watch), PAWL_OK);
    }
    assert_int_equal(pawl_server_watch(rig->server, &watch), PAWL_EFULL);
    rig_free(rig);
    for (unsigned i = 0; i < PAWL_WATCHES_MAX; i++) {
        (void)close(pipes[i][0]);
        (void)close(pipes[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watched_descriptor_is_told_and_asked_before_the_loop_sleeps),
        cmocka_unit_test(an_adopted_socket_is_a_session_with_the_roles_named),
        cmocka_unit_test(adopted_sessions_are_never_refused_for_the_cap_and_end_with_the_drain),
        cmocka_unit_test(more_watches_than_there_are_places_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
