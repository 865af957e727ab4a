/*
 * The network half of the daemon while memory runs out: making a server, and sessions of every
 * kind, with the n-th allocation failing, for each n, once and for ever.
 */
#include "support/alloc_fault.h"

#include "unit/edge_rig.h"

#define CALLS_MAX 2000 /* far above what any of these takes */

/* ---- making ---- */

static unsigned fail_each_create(uint64_t length)
{
    for (unsigned nth = 1; nth < CALLS_MAX; nth++) {
        struct pawl_error error = { PAWL_OK, 0, "" };
        struct rig *rig = rig_make();

        alloc_arm(nth, length);
        enum pawl_status status = rig_create(rig, &error);
        uint64_t failed = alloc_disarm();

        if (status != PAWL_OK) {
            assert_true(failed > 0);
            assert_null(rig->server);
            assert_int_equal(error.status, status);
            assert_true(error.text[0] != '\0');
        } else {
            assert_non_null(rig->server);
        }
        rig_free(rig);
        if (failed == 0) {
            assert_int_equal(status, PAWL_OK);
            return nth - 1;
        }
    }
    fail_msg("a server takes more than %d allocations", CALLS_MAX);
    return 0;
}

static void without_memory_a_server_is_not_made_and_nothing_stays_behind(void **state)
{
    (void)state;
    unsigned once = fail_each_create(1);

    assert_true(once >= 5);
    assert_true(fail_each_create(ALLOC_FOR_EVER) >= 5);
    print_message("%u allocations\n", once);
}

/* ---- serving ---- */

/* What comes is what was sent, or the end; true when it came. */
static bool echoes(int fd, const char *message)
{
    uint8_t frame[256];
    uint8_t data[256];
    size_t size;

    if (send(fd, frame, rig_frame(frame, message, strlen(message)), MSG_NOSIGNAL) < 0) {
        return false;
    }
    size = rig_read_frame(fd, data, sizeof(data));
    if (size == 0) {
        return false;
    }
    if (size == strlen(message) && memcmp(data, message, size) == 0) {
        return true;
    }
    Pawl__V1__Reply *reply = pawl__v1__reply__unpack(NULL, size, data);

    assert_non_null(reply); /* else a goaway, before the end */
    assert_non_null(reply->goaway);
    pawl__v1__reply__free_unpacked(reply, NULL);
    return false;
}

/* A big answer in pieces, so that it waits in buffers. */
static void ask_for_much(int fd)
{
    uint8_t frame[64];
    uint8_t data[65536];
    uint8_t message[9] = { 'm' };
    uint32_t count = 40;
    uint32_t size = 60000;
    size_t left = (size_t)count * (PAWL_FRAME_HEADER_BYTES + size);

    memcpy(message + 1, &count, 4);
    memcpy(message + 5, &size, 4);
    if (send(fd, frame, rig_frame(frame, message, sizeof(message)), MSG_NOSIGNAL) < 0) {
        return;
    }
    while (left > 0) {
        size_t got = rig_read_some(fd, data, left < sizeof(data) ? left : sizeof(data));

        if (got == 0) {
            return;
        }
        left -= got;
    }
}

/* All that a session does: small, cut in two, big, owed. Ends early when it is closed. */
static void live_through(struct rig *rig, bool tcp)
{
    int fd = tcp ? rig_connect_tcp(rig) : rig_connect(rig);
    uint8_t frame[4096] = { 0 };

    if (echoes(fd, "e1")) {
        size_t size = rig_frame(frame, "e and much more", 15);

        if (send(fd, frame, 7, MSG_NOSIGNAL) == 7) {
            rig_breathe();
            (void)send(fd, frame + 7, size - 7, MSG_NOSIGNAL);
            (void)rig_read_frame(fd, frame, sizeof(frame));
        }
        ask_for_much(fd);
        (void)echoes(fd, "f");
    }
    (void)close(fd);
}

/* Until every worker has turned: a thread that only begins has the C library take memory for it. */
static void await_workers(const struct rig *rig)
{
    for (unsigned i = 0; i < pawl_server_workers(rig->server); i++) {
        uint64_t before = pawl_server_heartbeat_ms(rig->server, i);

        for (int j = 0; pawl_server_heartbeat_ms(rig->server, i) == before; j++) {
            assert_true(j < RIG_PATIENCE_MS / 2);
            rig_breathe();
        }
    }
}

static unsigned fail_each_session(uint64_t length, bool tcp)
{
    struct rig *rig = rig_make();
    unsigned nth = 0;
    uint64_t failed;

    rig_start(rig);
    await_workers(rig);
    alloc_not_here(); /* the clients have memory */
    do {
        nth++;
        assert_true(nth < CALLS_MAX);
        alloc_arm(nth, length);
        live_through(rig, tcp);
        failed = alloc_disarm();
        rig_await_exact(rig, "edge_sessions", 0);
        int fd = rig_connect(rig); /* and it goes on */

        assert_true(echoes(fd, "e again"));
        (void)close(fd);
        rig_await_exact(rig, "edge_sessions", 0);
    } while (failed > 0);
    rig_free(rig);
    return nth - 1;
}

static void without_memory_a_session_ends_and_the_server_goes_on(void **state)
{
    (void)state;
    assert_true(fail_each_session(1, false) >= 1);
    assert_true(fail_each_session(1, true) >= 1);
}

static void without_any_memory_sessions_end_and_the_server_goes_on(void **state)
{
    (void)state;
    assert_true(fail_each_session(ALLOC_FOR_EVER, false) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_a_server_is_not_made_and_nothing_stays_behind),
        cmocka_unit_test(without_memory_a_session_ends_and_the_server_goes_on),
        cmocka_unit_test(without_any_memory_sessions_end_and_the_server_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
