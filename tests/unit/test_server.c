/* The edge's network half: frames, batches, sessions, posts. */
#include "unit/edge_rig.h"

#include <grp.h>
#include <sys/wait.h>

static int make(void **state)
{
    *state = rig_make();
    return 0;
}

static int tear_down(void **state)
{
    rig_free(*state);
    return 0;
}

static void a_frame_is_answered_over_unix_and_tcp(void **state)
{
    struct rig *rig = *state;
    int unix_fd;
    int tcp_fd;

    rig_start(rig);
    unix_fd = rig_connect(rig);
    tcp_fd = rig_connect_tcp(rig);
    rig_send_frame(unix_fd, "e over unix");
    rig_send_frame(tcp_fd, "e over tcp");
    rig_expect_frame(unix_fd, "e over unix");
    rig_expect_frame(tcp_fd, "e over tcp");
    (void)close(unix_fd);
    (void)close(tcp_fd);
    rig_await(rig, "edge_closed", 2);
    assert_int_equal(rig_stat(rig, "edge_sessions"), 0);
}

static void unasked_there_are_no_more_workers_than_cores_are_granted(void **state)
{
    struct rig *rig = *state;
    int fd;

    rig->options.workers = 0;
    rig->options.cores_max = 1;
    rig_start(rig);
    assert_int_equal(pawl_server_workers(rig->server), 1);
    fd = rig_connect(rig);
    rig_send_frame(fd, "hello");
    rig_expect_frame(fd, "hello");
    (void)close(fd);
}

static void a_frame_may_be_cut_at_every_byte(void **state)
{
    struct rig *rig = *state;
    uint8_t frames[64];
    size_t size = rig_frame(frames, "e one", 5);
    int fd;

    size += rig_frame(frames + size, "e two", 5);
    rig_start(rig);
    fd = rig_connect(rig);
    for (size_t cut = 1; cut < size; cut++) {
        uint64_t before = rig_stat(rig, "edge_bytes_in");

        rig_send(fd, frames, cut);
        rig_await(rig, "edge_bytes_in", before + cut);
        rig_send(fd, frames + cut, size - cut);
        rig_expect_frame(fd, "e one");
        rig_expect_frame(fd, "e two");
    }
    assert_int_equal(rig_stat(rig, "edge_frames"), 2 * (size - 1));
    (void)close(fd);
}

static void a_batch_of_32_is_one_read_and_one_write(void **state)
{
    struct rig *rig = *state;
    uint8_t frames[32 * 16];
    size_t size = 0;
    int fd;

    for (int i = 0; i < 32; i++) {
        size += rig_frame(frames + size, "e batch", 7);
    }
    rig_start(rig);
    fd = rig_connect(rig);
    rig_send(fd, frames, size); /* one send of a Unix socket is one read of the server */
    for (int i = 0; i < 32; i++) {
        rig_expect_frame(fd, "e batch");
    }
    rig_await(rig, "edge_bytes_out", 32 * 11); /* counted after the write */
    rig_await(rig, "edge_frames", 32);
    assert_int_equal(rig_stat(rig, "edge_batches"), 1);
    assert_int_equal(atomic_load(&rig->batches), 1);
    assert_int_equal(atomic_load(&rig->batch_ends), 1);
    assert_int_equal(rig_stat(rig, "edge_writes"), 1);
    assert_int_equal(rig_stat(rig, "edge_writes_waited"), 0);
    (void)close(fd);
}

/* A post that keeps its worker from reading until the test lets it go on. */
struct standstill {
    struct pawl_post post; /* first */
    _Atomic int phase;     /* 1: the worker stands, 2: it may go on */
};

static void standstill_run(struct pawl_post *post, struct pawl_worker *worker)
{
    struct standstill *still = (struct standstill *)(void *)post;

    (void)worker;
    atomic_store(&still->phase, 1);
    while (atomic_load(&still->phase) != 2) {
        rig_breathe();
    }
}

static void reads_of_several_connections_are_one_batch_and_each_is_answered(void **state)
{
    struct rig *rig = *state;
    struct standstill still = { .post = { .run = standstill_run } };
    uint64_t batches, ends;
    int fds[20];

    rig->options.workers = 1;
    rig_start(rig);
    for (int i = 0; i < 20; i++) {
        fds[i] = rig_connect(rig);
        rig_send_frame(fds[i], "hello");
        rig_expect_frame(fds[i], "hello");
    }
    rig_await(rig, "edge_batches", 20);
    batches = (uint64_t)atomic_load(&rig->batches);
    ends = (uint64_t)atomic_load(&rig->batch_ends);
    pawl_worker_post(rig->workers[0], &still.post);
    while (atomic_load(&still.phase) != 1) {
        rig_breathe();
    }
    for (int i = 0; i < 20; i++) {
        uint8_t frames[64];
        size_t size = rig_frame(frames, i % 3 == 0 ? "p later" : "now", i % 3 == 0 ? 7 : 3);

        if (i % 5 == 4) {
            size += rig_frame(frames + size, "b", 1); /* ends the connection */
        }
        rig_send(fds[i], frames, i == 1 ? size - 1 : size); /* and one is not whole */
    }
    atomic_store(&still.phase, 2);
    for (int i = 0; i < 20; i++) {
        if (i == 1) {
            rig_send(fds[i], "w", 1);
        }
        rig_expect_frame(fds[i], i % 3 == 0 ? "p later" : "now");
        if (i % 5 == 4) {
            (void)rig_expect_goaway(fds[i], NULL, NULL);
        }
        (void)close(fds[i]);
    }
    /* Sixteen, then those that were left, then the one that was not whole. */
    assert_int_equal(atomic_load(&rig->batches) - batches, 3);
    assert_int_equal(atomic_load(&rig->batch_ends) - ends, 3);
    assert_int_equal(rig_stat(rig, "edge_batches"), 40);
}

static void what_is_put_off_is_answered_even_if_the_batch_ends_the_connection(void **state)
{
    struct rig *rig = *state;
    uint8_t frames[64];
    size_t size = rig_frame(frames, "p first", 7);
    int fd;

    size += rig_frame(frames + size, "p second", 8);
    size += rig_frame(frames + size, "e at once", 9);
    size += rig_frame(frames + size, "b", 1);
    rig_start(rig);
    fd = rig_connect(rig);
    rig_send(fd, frames, size);
    rig_expect_frame(fd, "e at once");
    rig_expect_frame(fd, "p first");
    rig_expect_frame(fd, "p second");
    (void)rig_expect_goaway(fd, NULL, NULL);
    (void)close(fd);
}

static void frames_of_every_size_come_back_whole(void **state)
{
    static const size_t sizes[] = { 1,     1019,  1020,  1021,  4092,  4096,
                                    16380, 16385, 65531, 65532, 65535, PAWL_REQUEST_BYTES_MAX };
    struct rig *rig = *state;
    uint8_t *out = malloc(PAWL_REQUEST_BYTES_MAX + 4);
    uint8_t *in = malloc(PAWL_REQUEST_BYTES_MAX);
    int fd;

    assert_non_null(out);
    assert_non_null(in);
    rig_start(rig);
    fd = rig_connect_tcp(rig);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        pawl_frame_header(out, sizes[i]);
        for (size_t j = 0; j < sizes[i]; j++) {
            out[4 + j] = (uint8_t)(j * 31 + i);
        }
        out[4] = 'e';
        rig_send(fd, out, (sizes[i] + 4) / 2); /* in two pieces, so that it has to be kept */
        rig_send(fd, out + (sizes[i] + 4) / 2, sizes[i] + 4 - (sizes[i] + 4) / 2);
        assert_int_equal(rig_read_frame(fd, in, PAWL_REQUEST_BYTES_MAX), sizes[i]);
        assert_memory_equal(in, out + 4, sizes[i]);
    }
    (void)close(fd);
    rig_await_exact(rig, "edge_buffers_bytes", 0);
    free(out);
    free(in);
}

/** A client that writes as fast as it can while another thread reads. */
struct pump {
    int fd;
    unsigned frames;
};

static void *pump_frames(void *data)
{
    struct pump *pump = data;
    uint8_t frame[160];

    for (unsigned i = 0; i < pump->frames; i++) {
        char text[128];
        size_t size;

        (void)snprintf(text, sizeof(text), "e%0*u", (int)(8 + i % 97), i);
        size = rig_frame(frame, text, strlen(text));
        rig_send(pump->fd, frame, size);
    }
    return NULL;
}

static void a_long_stream_keeps_its_order(void **state)
{
    struct rig *rig = *state;
    struct pump pump = { -1, 20000 };
    pthread_t thread;

    rig_start(rig);
    pump.fd = rig_connect_tcp(rig);
    assert_int_equal(pthread_create(&thread, NULL, pump_frames, &pump), 0);
    for (unsigned i = 0; i < pump.frames; i++) {
        uint8_t data[128];
        char text[128];
        size_t size = rig_read_frame(pump.fd, data, sizeof(data));

        (void)snprintf(text, sizeof(text), "e%0*u", (int)(8 + i % 97), i);
        assert_int_equal(size, strlen(text));
        assert_memory_equal(data, text, size);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)close(pump.fd);
}

static void what_the_dispatcher_keeps_is_zeroed_and_per_session(void **state)
{
    struct rig *rig = *state;
    int first;
    int second;

    rig_start(rig);
    first = rig_connect(rig);
    second = rig_connect(rig);
    rig_send_frame(first, "u");
    rig_expect_frame(first, "\1");
    rig_send_frame(first, "u");
    rig_expect_frame(first, "\2");
    rig_send_frame(second, "u");
    rig_expect_frame(second, "\1");
    (void)close(first);
    (void)close(second);
}

static void own_user_has_all_roles_on_unix_and_tcp_may_check_and_read(void **state)
{
    struct rig *rig = *state;
    int unix_fd;
    int tcp_fd;
    char roles[2] = { 0, 0 };

    rig_start(rig);
    unix_fd = rig_connect(rig);
    tcp_fd = rig_connect_tcp(rig);
    rig_send_frame(unix_fd, "r");
    rig_send_frame(tcp_fd, "r");
    roles[0] = PAWL_ROLE_CHECK | PAWL_ROLE_READ | PAWL_ROLE_REVOKE | PAWL_ROLE_ADMIN;
    rig_expect_frame(unix_fd, roles);
    roles[0] = PAWL_ROLE_CHECK | PAWL_ROLE_READ;
    rig_expect_frame(tcp_fd, roles);
    (void)close(unix_fd);
    (void)close(tcp_fd);
}

static void own_user_is_a_peer_on_a_unix_socket_that_grants_it(void **state)
{
    struct rig *rig = *state;
    const char roles[2] = { PAWL_ROLE_CHECK | PAWL_ROLE_PEER, 0 };
    int fd;

    rig->listen[0].roles = PAWL_ROLE_CHECK | PAWL_ROLE_PEER;
    rig_start(rig);
    fd = rig_connect(rig);
    rig_send_frame(fd, "r");
    rig_expect_frame(fd, roles);
    (void)close(fd);
}

static void a_listener_may_be_narrowed_to_check(void **state)
{
    struct rig *rig = *state;
    const char roles[2] = { PAWL_ROLE_CHECK, 0 };
    int fd;

    rig->listen[1].roles = PAWL_ROLE_CHECK | PAWL_ROLE_ADMIN; /* nobody has proved an admin */
    rig_start(rig);
    fd = rig_connect_tcp(rig);
    rig_send_frame(fd, "r");
    rig_expect_frame(fd, roles);
    (void)close(fd);
}

static void another_user_gets_no_role_unless_in_the_group_of_the_socket(void **state)
{
    struct rig *rig = *state;

    if (geteuid() != 0) {
        skip();
    }
    rig->options.socket_mode = 0666;
    rig->listen[0].roles = PAWL_ROLE_CHECK | PAWL_ROLE_READ | PAWL_ROLE_REVOKE | PAWL_ROLE_ADMIN |
                           PAWL_ROLE_PEER; /* which a group never is */
    rig_start(rig);
    assert_int_equal(chmod(rig->folder, 0755), 0);
    for (int in_group = 0; in_group < 2; in_group++) {
        int status = 0;
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0) {
            const gid_t group = 0; /* of the socket, which root has made */
            uint8_t reply[5];
            int fd;

            (void)setenv("CMOCKA_TEST_ABORT", "1", 1);
            if (setresgid(65534, 65534, 65534) != 0 || setgroups(in_group ? 1 : 0, &group) != 0 ||
                setresuid(65534, 65534, 65534) != 0) {
                _exit(99);
            }
            fd = rig_try_connect(rig->path);
            rig_send_frame(fd, "r");
            _exit(rig_read_all(fd, reply, sizeof(reply)) ? reply[4] : 98);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), in_group ? PAWL_ROLE_CHECK | PAWL_ROLE_READ |
                                                             PAWL_ROLE_REVOKE | PAWL_ROLE_ADMIN
                                                       : 0);
    }
}

static void a_malformed_request_is_answered_up_to_there_then_closed(void **state)
{
    struct rig *rig = *state;
    uint8_t frames[64];
    size_t size = rig_frame(frames, "e before", 8);
    uint64_t last_id = 0;
    char reason[65];
    int fd;

    size += rig_frame(frames + size, "b", 1);
    size += rig_frame(frames + size, "e after", 7);
    rig_start(rig);
    fd = rig_connect_tcp(rig);
    rig_send(fd, frames, size);
    rig_expect_frame(fd, "e before");
    assert_int_equal(rig_expect_goaway(fd, &last_id, reason), PAWL__V1__STATUS__STATUS_OK);
    assert_int_equal(last_id, 2);
    assert_string_equal(reason, "malformed request");
    rig_expect_end(fd);
    assert_int_equal(rig_stat(rig, "edge_closed_malformed"), 1);
    (void)close(fd);
}

static void a_frame_over_the_cap_closes_the_connection(void **state)
{
    struct rig *rig = *state;
    uint8_t header[4];
    char reason[65];
    int fd;

    rig_start(rig);
    fd = rig_connect(rig);
    pawl_frame_header(header, PAWL_REQUEST_BYTES_MAX + 1);
    rig_send(fd, header, sizeof(header));
    (void)rig_expect_goaway(fd, NULL, reason);
    assert_string_equal(reason, "frame too big");
    rig_expect_end(fd);
    assert_int_equal(rig_stat(rig, "edge_closed_frame_too_big"), 1);
    (void)close(fd);
}

static void a_client_that_half_closes_still_gets_what_it_asked(void **state)
{
    struct rig *rig = *state;
    int fd;

    rig_start(rig);
    fd = rig_connect_tcp(rig);
    rig_send_frame(fd, "o later");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    rig_await_owed(rig, 1);
    rig_release(rig, 1);
    rig_expect_frame(fd, "o later");
    rig_expect_end(fd);
    (void)close(fd);
}

static void a_finished_session_gets_its_replies_a_goaway_and_an_end(void **state)
{
    struct rig *rig = *state;
    uint64_t last_id = 0;
    int fd;

    rig_start(rig);
    fd = rig_connect(rig);
    rig_send_frame(fd, "o first");
    rig_await_owed(rig, 1);
    rig_send_frame(fd, "f");
    rig_expect_frame(fd, "f");
    rig_release(rig, 1);
    rig_expect_frame(fd, "o first");
    (void)rig_expect_goaway(fd, &last_id, NULL);
    assert_int_equal(last_id, 2);
    rig_expect_end(fd);
    (void)close(fd);
}

static void the_ticket_of_a_gone_session_finds_nobody(void **state)
{
    struct rig *rig = *state;
    int fd;

    rig->options.workers = 1;
    rig_start(rig);
    fd = rig_connect(rig);
    rig_send_frame(fd, "o never");
    rig_await_owed(rig, 1);
    assert_int_equal(shutdown(fd, SHUT_RDWR), 0);
    (void)close(fd);
    /* It is owed a reply, so it stays until the reply finds the peer gone. */
    rig_release(rig, 1);
    rig_await(rig, "edge_closed", 1);
    fd = rig_connect(rig); /* takes the slot over */
    rig_send_frame(fd, "t");
    rig_expect_frame(fd, "t");
    assert_int_equal(rig->last_ticket.index, 0);
    assert_int_equal(rig->last_ticket.generation, 2);
    (void)close(fd);
}

/* ---- posts ---- */

struct counted {
    struct pawl_post post; /* first */
    _Atomic unsigned *count;
};

static void count_one(struct pawl_post *post, struct pawl_worker *worker)
{
    struct counted *counted = (struct counted *)(void *)post;

    (void)worker;
    (void)atomic_fetch_add(counted->count, 1);
    free(counted);
}

struct poster {
    struct rig *rig;
    _Atomic unsigned *count;
    unsigned posts;
};

static void *post_many(void *data)
{
    struct poster *poster = data;

    for (unsigned i = 0; i < poster->posts; i++) {
        struct counted *counted = calloc(1, sizeof(*counted));

        counted->post.run = count_one;
        counted->count = poster->count;
        pawl_worker_post(poster->rig->workers[i % 2], &counted->post);
    }
    return NULL;
}

static void posts_from_many_threads_all_run_once(void **state)
{
    struct rig *rig = *state;
    _Atomic unsigned count = 0;
    struct poster poster = { rig, &count, 5000 };
    pthread_t threads[8];

    rig_start(rig);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &poster), 0);
    }
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    rig_await(rig, "edge_posts", 8 * 5000);
    assert_int_equal(atomic_load(&count), 8 * 5000);
}

static void posts_left_after_the_run_are_run_by_destroy(void **state)
{
    struct rig *rig = *state;
    _Atomic unsigned count = 0;
    struct poster poster = { rig, &count, 10 };

    rig_start(rig);
    pawl_server_stop(rig->server);
    assert_int_equal(rig_join(rig), PAWL_OK);
    (void)post_many(&poster);
    assert_int_equal(atomic_load(&count), 0);
    pawl_server_destroy(rig->server);
    rig->server = NULL;
    assert_int_equal(atomic_load(&count), 10);
}

static void late_replies_of_one_turn_are_one_write(void **state)
{
    struct rig *rig = *state;
    int fd;

    rig->options.workers = 1;
    rig_start(rig);
    fd = rig_connect(rig);
    for (int i = 0; i < 20; i++) {
        rig_send_frame(fd, "o");
    }
    rig_await_owed(rig, 20);
    assert_int_equal(rig_stat(rig, "edge_writes"), 0);
    rig_release(rig, 20);
    for (int i = 0; i < 20; i++) {
        rig_expect_frame(fd, "o");
    }
    rig_await(rig, "edge_bytes_out", 20 * 5);
    /* The worker may wake in the middle of the posting, so not always one; never one each. */
    assert_in_range(rig_stat(rig, "edge_writes"), 1, 10);
    (void)close(fd);
}

static void connections_spread_evenly_over_the_workers(void **state)
{
    struct rig *rig = *state;
    unsigned found[4] = { 0, 0, 0, 0 };
    int fds[40];

    rig->options.workers = 4;
    rig_start(rig);
    for (int i = 0; i < 40; i++) {
        fds[i] = i % 2 == 0 ? rig_connect(rig) : rig_connect_tcp(rig);
        rig_send_frame(fds[i], "t");
        rig_expect_frame(fds[i], "t");
        for (unsigned j = 0; j < 4; j++) {
            found[j] += rig->last_worker == rig->workers[j] ? 1 : 0;
        }
    }
    for (int j = 0; j < 4; j++) {
        assert_in_range(found[j], 9, 11); /* two may be counted at the same moment */
    }
    for (int i = 0; i < 40; i++) {
        (void)close(fds[i]);
    }
}

static void the_hooks_and_the_heartbeat_go_on_while_idle(void **state)
{
    struct rig *rig = *state;
    uint64_t before;

    rig_start(rig);
    before = pawl_server_heartbeat_ms(rig->server, 1);
    for (int i = 0; atomic_load(&rig->seconds) < 1 || atomic_load(&rig->pulses) < 3 ||
                    pawl_server_heartbeat_ms(rig->server, 1) <= before;
         i++) {
        assert_true(i < RIG_PATIENCE_MS / 2);
        rig_breathe();
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_frame_is_answered_over_unix_and_tcp),
        T(unasked_there_are_no_more_workers_than_cores_are_granted),
        T(a_frame_may_be_cut_at_every_byte),
        T(a_batch_of_32_is_one_read_and_one_write),
        T(reads_of_several_connections_are_one_batch_and_each_is_answered),
        T(what_is_put_off_is_answered_even_if_the_batch_ends_the_connection),
        T(frames_of_every_size_come_back_whole),
        T(a_long_stream_keeps_its_order),
        T(what_the_dispatcher_keeps_is_zeroed_and_per_session),
        T(own_user_has_all_roles_on_unix_and_tcp_may_check_and_read),
        T(own_user_is_a_peer_on_a_unix_socket_that_grants_it),
        T(a_listener_may_be_narrowed_to_check),
        T(another_user_gets_no_role_unless_in_the_group_of_the_socket),
        T(a_malformed_request_is_answered_up_to_there_then_closed),
        T(a_frame_over_the_cap_closes_the_connection),
        T(a_client_that_half_closes_still_gets_what_it_asked),
        T(a_finished_session_gets_its_replies_a_goaway_and_an_end),
        T(the_ticket_of_a_gone_session_finds_nobody),
        T(posts_from_many_threads_all_run_once),
        T(posts_left_after_the_run_are_run_by_destroy),
        T(late_replies_of_one_turn_are_one_write),
        T(connections_spread_evenly_over_the_workers),
        T(the_hooks_and_the_heartbeat_go_on_while_idle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
