/* The edge's network half: peers that misbehave, ceilings, sockets in the file system, drain. */
#include "unit/edge_rig.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* Under a sanitizer resident memory says nothing of ours. */
#define MEMORY_IS_PLAIN true
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#undef MEMORY_IS_PLAIN
#define MEMORY_IS_PLAIN false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#undef MEMORY_IS_PLAIN
#define MEMORY_IS_PLAIN false
#endif
#endif

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

/** Ask for @count replies of @size bytes. */
static void ask_many(int fd, uint32_t count, uint32_t size)
{
    uint8_t message[9] = { 'm' };
    uint8_t frame[16];

    memcpy(message + 1, &count, sizeof(count));
    memcpy(message + 5, &size, sizeof(size));
    rig_send(fd, frame, rig_frame(frame, message, sizeof(message)));
}

/* ---- slow, greedy, silent ---- */

static void a_frame_that_dribbles_closes_the_connection(void **state)
{
    struct rig *rig = *state;
    uint8_t frame[64];
    size_t size = rig_frame(frame, "e never whole", 13);
    int slow;
    int good;

    rig->options.frame_timeout_ms = 60;
    rig_start(rig);
    slow = rig_connect(rig);
    good = rig_connect(rig);
    rig_send(slow, frame, size - 1);
    rig_expect_end(slow);
    assert_int_equal(rig_stat(rig, "edge_closed_slow_frame"), 1);
    rig_send_frame(good, "e still served"); /* idle is not slow */
    rig_expect_frame(good, "e still served");
    (void)close(slow);
    (void)close(good);
}

static void a_client_that_never_reads_is_closed_and_others_go_on(void **state)
{
    struct rig *rig = *state;
    int deaf;
    int good;

    rig->options.workers = 1;
    rig->options.write_timeout_ms = 80;
    rig_start(rig);
    deaf = rig_connect(rig);
    good = rig_connect(rig);
    ask_many(deaf, 30, 100000); /* 3 MB: under the cap, over what the kernel takes */
    rig_await(rig, "edge_writes_waited", 1);
    for (int i = 0; i < 50; i++) {
        rig_send_frame(good, "e still served");
        rig_expect_frame(good, "e still served");
    }
    rig_await(rig, "edge_closed_not_reading", 1);
    rig_send_frame(good, "e after");
    rig_expect_frame(good, "e after");
    (void)close(deaf);
    (void)close(good);
    rig_await_exact(rig, "edge_buffers_bytes", 0);
}

static void output_over_the_cap_closes_the_connection(void **state)
{
    struct rig *rig = *state;
    int fd;

    rig->options.session_output_max_bytes = 100000;
    rig_start(rig);
    fd = rig_connect(rig);
    ask_many(fd, 2, 60000);
    rig_expect_end(fd);
    assert_int_equal(rig_stat(rig, "edge_closed_not_reading"), 1);
    (void)close(fd);
}

static void a_client_that_reads_late_gets_everything_and_reading_pauses_meanwhile(void **state)
{
    struct rig *rig = *state;
    uint8_t *data = malloc(100000);
    int fd;

    assert_non_null(data);
    rig_start(rig);
    fd = rig_connect_tcp(rig);
    ask_many(fd, 40, 100000);
    rig_await(rig, "edge_writes_waited", 1);
    rig_send_frame(fd, "e behind");
    rig_await(rig, "edge_reading_paused", 1);
    assert_int_equal(rig_stat(rig, "edge_frames"), 1); /* the second waits in the kernel */
    for (int i = 0; i < 40; i++) {
        assert_int_equal(rig_read_frame(fd, data, 100000), 100000);
    }
    rig_expect_frame(fd, "e behind");
    (void)close(fd);
    free(data);
}

static void a_batch_with_much_output_is_handled_piece_by_piece(void **state)
{
    struct rig *rig = *state;
    uint8_t *data = malloc(60000);
    uint8_t message[9] = { 'm' };
    uint8_t frames[300 * 13];
    const uint32_t count = 1;
    const uint32_t size = 60000;
    size_t total = 0;
    int fd;

    assert_non_null(data);
    memcpy(message + 1, &count, sizeof(count));
    memcpy(message + 5, &size, sizeof(size));
    for (int i = 0; i < 300; i++) {
        total += rig_frame(frames + total, message, sizeof(message));
    }
    rig_start(rig);
    fd = rig_connect(rig);
    rig_send(fd, frames, total); /* 18 MB of replies, the cap is 4 MB */
    for (int i = 0; i < 300; i++) {
        assert_int_equal(rig_read_frame(fd, data, 60000), 60000);
    }
    rig_await(rig, "edge_frames", 300);
    assert_in_range(rig_stat(rig, "edge_buffers_peak_bytes"), 1, 2000000);
    (void)close(fd);
    free(data);
}

static void a_session_that_is_owed_too_much_is_not_read_from(void **state)
{
    struct rig *rig = *state;
    int fd;

    rig->options.in_flight_max = 4;
    rig_start(rig);
    fd = rig_connect(rig);
    for (int i = 0; i < 10; i++) {
        rig_send_frame(fd, "o");
    }
    rig_await(rig, "edge_reading_paused", 1);
    rig_await_owed(rig, 4);
    assert_int_equal(rig_owed_count(rig), 4);
    rig_release(rig, 1);
    rig_await_owed(rig, 4); /* one room, one request more */
    assert_int_equal(rig_owed_count(rig), 4);
    for (int left = 9; left > 0; left--) {
        rig_await_owed(rig, 1);
        rig_release(rig, 1);
    }
    for (int i = 0; i < 10; i++) {
        rig_expect_frame(fd, "o");
    }
    (void)close(fd);
}

static void an_idle_session_is_closed_only_where_it_is_asked_for(void **state)
{
    struct rig *rig = *state;
    char reason[65];
    int fd;

    rig->options.idle_timeout_ms = 60;
    rig_start(rig);
    fd = rig_connect(rig);
    (void)rig_expect_goaway(fd, NULL, reason);
    assert_string_equal(reason, "idle");
    rig_expect_end(fd);
    assert_int_equal(rig_stat(rig, "edge_closed_idle"), 1);
    (void)close(fd);
}

/* ---- ceilings ---- */

static void a_connection_over_the_cap_is_told_so_and_room_comes_back(void **state)
{
    struct rig *rig = *state;
    char reason[65];
    int first;
    int second;
    int third;

    rig->options.connections_max = 2;
    rig_start(rig);
    first = rig_connect(rig);
    second = rig_connect_tcp(rig);
    rig_send_frame(first, "e 1");
    rig_expect_frame(first, "e 1");
    rig_send_frame(second, "e 2");
    rig_expect_frame(second, "e 2");
    third = rig_connect_tcp(rig);
    assert_int_equal(rig_expect_goaway(third, NULL, reason), PAWL__V1__STATUS__STATUS_UNAVAILABLE);
    assert_string_equal(reason, "connections_max reached");
    rig_expect_end(third);
    (void)close(third);
    assert_int_equal(rig_stat(rig, "edge_refused_connections_max"), 1);
    (void)close(first);
    rig_await(rig, "edge_closed", 1);
    for (int i = 0;; i++) { /* uncounted at the end of the turn that closed it */
        uint8_t data[256];
        size_t size;

        third = rig_connect(rig);
        rig_send_if_open(third);
        size = rig_read_frame(third, data, sizeof(data));
        (void)close(third);
        if (size == 1) {
            break;
        }
        assert_true(i < 1000);
        rig_breathe();
    }
    (void)close(second);
}

static void buffers_have_a_ceiling_and_only_who_needs_one_there_is_closed(void **state)
{
    struct rig *rig = *state;
    uint8_t part[40000];
    int fds[64];
    int good;

    rig->options.workers = 8;
    rig->options.buffers_max_bytes = (size_t)8 << 20; /* 1 MiB a worker: 15 of the frame class */
    rig->options.frame_timeout_ms = 60000;
    memset(part, 0, sizeof(part));
    pawl_frame_header(part, 65000);
    rig_start(rig);
    good = rig_connect(rig);
    rig_send_frame(good, "e before");
    rig_expect_frame(good, "e before");
    for (int i = 0; i < 64; i++) {
        fds[i] = rig_connect(rig);
        rig_send(fds[i], part, sizeof(part));
    }
    rig_await(rig, "edge_bytes_in", 64 * sizeof(part));
    assert_in_range(rig_stat(rig, "edge_buffers_peak_bytes"), 64 * 40000 / 2, (size_t)8 << 20);
    rig_send_frame(good, "e after");
    rig_expect_frame(good, "e after");
    for (int i = 0; i < 64; i++) {
        (void)close(fds[i]);
    }
    (void)close(good);
    rig_await_exact(rig, "edge_buffers_bytes", 0);
}

static void hungry_sessions_are_closed_at_the_ceiling(void **state)
{
    struct rig *rig = *state;
    uint8_t part[40000];
    int fds[200];
    int ended = 0;

    rig->options.workers = 1;
    rig->options.buffers_max_bytes = (size_t)8 << 20;
    rig->options.frame_timeout_ms = 60000;
    memset(part, 0, sizeof(part));
    pawl_frame_header(part, 65000);
    rig_start(rig);
    for (int i = 0; i < 200; i++) { /* 200 x 68 KiB do not fit in 8 MiB */
        fds[i] = rig_connect(rig);
        rig_send(fds[i], part, 20000);
    }
    rig_await(rig, "edge_refused_memory", 200 - 120 - 1);
    rig_await(rig, "edge_closed", 200 - 120 - 1);
    assert_in_range(rig_stat(rig, "edge_buffers_peak_bytes"), 1, (size_t)8 << 20);
    for (int i = 0; i < 200; i++) {
        struct pollfd wait = { fds[i], POLLIN, 0 };

        ended += poll(&wait, 1, 0);
        (void)close(fds[i]);
    }
    assert_in_range(ended, 70, 90);
    rig_await_exact(rig, "edge_buffers_bytes", 0);
}

/** Resident pages of this process, in bytes. */
static size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long total = 0;
    unsigned long resident = 0;

    assert_non_null(file);
    /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
    assert_int_equal(fscanf(file, "%lu %lu", &total, &resident), 2);
    (void)fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void two_thousand_idle_connections_hold_no_buffer_and_little_memory(void **state)
{
    enum {
        COUNT = 2000
    };
    struct rig *rig = *state;
    static int fds[COUNT];
    size_t before;
    size_t after;

    rig_start(rig);
    for (int i = 0; i < 10; i++) { /* what is made once is made now */
        fds[i] = rig_connect(rig);
        rig_send_frame(fds[i], "e");
        rig_expect_frame(fds[i], "e");
    }
    before = resident_bytes();
    for (int i = 10; i < COUNT; i++) {
        fds[i] = rig_connect(rig);
        rig_send_frame(fds[i], "e");
    }
    for (int i = 10; i < COUNT; i++) {
        rig_expect_frame(fds[i], "e");
    }
    rig_await_exact(rig, "edge_sessions", COUNT);
    rig_await_exact(rig, "edge_buffers_bytes", 0);
    after = resident_bytes();
    if (MEMORY_IS_PLAIN) {
        assert_true(after < before + (size_t)COUNT * 2048);
    }
    for (int i = 0; i < COUNT; i++) {
        (void)close(fds[i]);
    }
    rig_await_exact(rig, "edge_sessions", 0);
}

/* ---- out of descriptors ---- */

static uint8_t connect_until_refused(struct rig *rig, int *fds, int *count)
{
    char reason[65] = "";

    /* Clients live in this process too: each connection takes a descriptor here and one there. */
    for (;;) {
        int fd = rig_try_connect(rig->path);
        uint8_t data[256];
        size_t size;

        fds[(*count)++] = fd;
        rig_send_if_open(fd);
        size = rig_read_frame(fd, data, sizeof(data));
        if (size != 1) {
            Pawl__V1__Reply *reply = pawl__v1__reply__unpack(NULL, size, data);

            memcpy(reason, reply->goaway->reason.data, reply->goaway->reason.len);
            pawl__v1__reply__free_unpacked(reply, NULL);
            return strcmp(reason, "out of file descriptors") == 0 ? 0 : 1;
        }
    }
}

/** In a child, whose limit of open files is its own. */
static int run_out_of_descriptors(void)
{
    struct rig *rig = rig_make();
    struct rlimit limit = { 64, 64 };
    int fds[64];
    int spare[64];
    int spare_count = 0;
    int count = 0;
    unsigned logged;

    rig->options.workers = 1;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 2;
    }
    rig_start(rig);
    fds[0] = rig_connect(rig);
    rig_send_frame(fds[0], "e"); /* answered: all descriptors the server needs are open */
    rig_expect_frame(fds[0], "e");
    (void)close(fds[0]);
    rig_await(rig, "edge_closed", 1);
    for (;;) {
        int fd = fcntl(0, F_DUPFD_CLOEXEC, 0);

        if (fd < 0) {
            break;
        }
        spare[spare_count++] = fd;
    }
    for (int i = 0; i < 9 && spare_count > 0;
         i++) { /* four connections, and the client's half of the fifth */
        (void)close(spare[--spare_count]);
    }
    logged = atomic_load(&rig->logged);
    if (connect_until_refused(rig, fds, &count) != 0 || count != 5) {
        return 3;
    }
    rig_await(rig, "edge_refused_descriptors", 1);
    if (atomic_load(&rig->logged) != logged + 1) {
        return 4;
    }
    (void)close(fds[--count]);
    (void)close(fds[--count]);
    rig_await(rig, "edge_closed", 2);
    if (connect_until_refused(rig, fds, &count) != 0) { /* it has recovered, and is out again */
        return 5;
    }
    rig_await(rig, "edge_refused_descriptors", 2);
    rig_free(rig);
    return 0;
}

static void out_of_descriptors_peers_are_told_and_accepting_recovers(void **state)
{
    int status = 0;
    pid_t child = fork();

    (void)state;
    assert_true(child >= 0);
    if (child == 0) {
        (void)setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failure must not run the other tests here */
        _exit(run_out_of_descriptors());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- sockets in the file system ---- */

static void expect_refused(struct rig *rig, enum pawl_status status, const char *word)
{
    struct pawl_error error = { PAWL_OK, 0, "" };

    assert_int_equal(rig_create(rig, &error), status);
    assert_null(rig->server);
    if (strstr(error.text, word) == NULL) {
        fail_msg("no \"%s\" in: %s", word, error.text);
    }
}

static void the_socket_has_its_mode_whatever_the_umask(void **state)
{
    struct rig *rig = *state;
    struct stat info;
    mode_t before = umask(0);

    rig->options.socket_mode = 0640;
    rig_start(rig);
    assert_int_equal(stat(rig->path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0640);
    rig_free(rig);
    *state = rig = rig_make();
    (void)umask(0077);
    rig_start(rig);
    (void)umask(before);
    assert_int_equal(stat(rig->path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0660);
}

static void a_stale_socket_is_replaced(void **state)
{
    struct rig *rig = *state;
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    int fd;

    memcpy(name.sun_path, rig->path, strlen(rig->path));
    assert_int_equal(bind(dead, (const struct sockaddr *)&name, sizeof(name)), 0);
    (void)close(dead); /* the file stays */
    rig_start(rig);
    fd = rig_connect(rig);
    rig_send_frame(fd, "e");
    rig_expect_frame(fd, "e");
    (void)close(fd);
}

static void a_live_socket_is_refused_and_goes_on(void **state)
{
    struct rig *rig = *state;
    struct rig *second = rig_make();
    int fd;

    rig_start(rig);
    second->listen[0].uri = rig->uri;
    expect_refused(second, PAWL_EBUSY, "a server answers there");
    rig_free(second);
    fd = rig_connect(rig);
    rig_send_frame(fd, "e");
    rig_expect_frame(fd, "e");
    (void)close(fd);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
    struct rig *rig = *state;
    struct stat info;
    int fd = open(rig->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    (void)close(fd);
    expect_refused(rig, PAWL_EPERM, "no socket");
    assert_int_equal(stat(rig->path, &info), 0);
    assert_true(S_ISREG(info.st_mode));
}

static void a_missing_folder_is_named(void **state)
{
    struct rig *rig = *state;

    rig->listen[0].uri = "unix:/nowhere/at/all/pawl.sock";
    expect_refused(rig, PAWL_ENOENT, "unix:/nowhere/at/all/pawl.sock");
}

static void the_socket_goes_at_the_end_unless_it_is_anothers(void **state)
{
    struct rig *rig = *state;
    struct stat info;
    int fd;

    rig_start(rig);
    pawl_server_stop(rig->server);
    assert_int_equal(rig_join(rig), PAWL_OK);
    assert_int_equal(stat(rig->path, &info), -1);
    rig_free(rig);
    *state = rig = rig_make();
    rig_start(rig);
    assert_int_equal(unlink(rig->path), 0);
    fd = open(rig->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    pawl_server_stop(rig->server);
    assert_int_equal(rig_join(rig), PAWL_OK);
    assert_int_equal(stat(rig->path, &info), 0);
}

static void tcp_beyond_loopback_needs_the_word(void **state)
{
    struct rig *rig = *state;

    rig->listen[1].uri = "tcp:0.0.0.0:0";
    expect_refused(rig, PAWL_EPERM, "insecure: true");
    rig->listen[1].insecure = true;
    rig_start(rig);
}

static void a_taken_port_and_a_wrong_address_are_refused(void **state)
{
    struct rig *rig = *state;
    struct rig *second = rig_make();
    char uri[64];

    rig_start(rig);
    (void)snprintf(uri, sizeof(uri), "tcp:127.0.0.1:%u", pawl_server_port(rig->server, 1));
    second->listen[1].uri = uri;
    expect_refused(second, PAWL_EBUSY, uri);
    second->listen[1].uri = "tcp:127.0.0.1";
    expect_refused(second, PAWL_EINVAL, "no port");
    second->listen[1].uri = "tcp:127.0.0.1:0";
    second->options.in_flight_max = 0;
    expect_refused(second, PAWL_EINVAL, "in_flight_max");
    rig_free(second);
}

static void a_socket_of_a_service_manager_is_served_and_its_file_stays(void **state)
{
    struct rig *rig = *state;
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    struct stat info;
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd;

    memcpy(name.sun_path, rig->path, strlen(rig->path));
    assert_int_equal(bind(listening, (const struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(listen(listening, 16), 0);
    rig->listen[0].fd = listening;
    rig_start(rig);
    fd = rig_connect(rig);
    rig_send_frame(fd, "e");
    rig_expect_frame(fd, "e");
    (void)close(fd);
    pawl_server_stop(rig->server);
    assert_int_equal(rig_join(rig), PAWL_OK);
    assert_int_equal(stat(rig->path, &info), 0);
}

static void an_abstract_name_serves_and_is_refused_to_a_second(void **state)
{
    struct rig *rig = *state;
    struct rig *second = rig_make();

    (void)snprintf(rig->uri, sizeof(rig->uri), "unix:@%s", rig->folder + 5);
    rig_start(rig);
    second->listen[0].uri = rig->uri;
    expect_refused(second, PAWL_EBUSY, "another server has this name");
    rig_free(second);
}

/* ---- drain ---- */

static void a_drain_answers_what_is_owed_and_says_where_it_ended(void **state)
{
    struct rig *rig = *state;
    uint64_t last_id = 0;
    char reason[65];
    int busy;
    int idle;

    rig_start(rig);
    busy = rig_connect_tcp(rig);
    idle = rig_connect(rig);
    rig_send_frame(busy, "o owed");
    rig_await_owed(rig, 1);
    rig_send_frame(idle, "e");
    rig_expect_frame(idle, "e");
    pawl_server_stop(rig->server);
    (void)rig_expect_goaway(busy, &last_id, reason);
    assert_true(last_id == UINT64_MAX);
    assert_string_equal(reason, "drain");
    assert_int_equal(atomic_load(&rig->drains), 1);
    rig_send_frame(busy, "e still"); /* on its way before the goaway was seen */
    rig_expect_frame(busy, "e still");
    assert_int_equal(rig_try_connect(rig->path), -1);
    rig_release(rig, 1);
    rig_expect_frame(busy, "o owed");
    (void)rig_expect_goaway(busy, &last_id, reason);
    assert_int_equal(last_id, 2);
    rig_expect_end(busy);
    (void)rig_expect_goaway(idle, &last_id, NULL);
    assert_true(last_id == UINT64_MAX);
    (void)rig_expect_goaway(idle, &last_id, NULL);
    assert_int_equal(last_id, 1);
    rig_expect_end(idle);
    (void)close(busy);
    (void)close(idle);
    assert_int_equal(rig_join(rig), PAWL_OK);
}

static void who_connected_before_the_drain_is_served(void **state)
{
    struct rig *rig = *state;
    int fd;

    rig_start(rig);
    fd = rig_connect(rig);
    rig_send_frame(fd, "e in time");
    pawl_server_stop(rig->server);
    for (;;) { /* the goaway may come before or after the reply */
        uint8_t data[256];
        size_t size = rig_read_frame(fd, data, sizeof(data));

        assert_true(size > 0);
        if (size == 9 && memcmp(data, "e in time", 9) == 0) {
            break;
        }
    }
    (void)close(fd);
    assert_int_equal(rig_join(rig), PAWL_OK);
}

static void the_deadline_of_a_drain_ends_it(void **state)
{
    struct rig *rig = *state;
    int fd;

    rig->options.drain_timeout_ms = 200;
    rig_start(rig);
    fd = rig_connect(rig);
    rig_send_frame(fd, "o never");
    rig_await_owed(rig, 1);
    pawl_server_stop(rig->server);
    assert_int_equal(rig_join(rig), PAWL_ETIMEDOUT);
    (void)rig_expect_goaway(fd, NULL, NULL);
    rig_expect_end(fd);
    (void)close(fd);
    rig_release(rig, 1); /* comes too late, and destroy runs it */
}

static void a_second_stop_ends_at_once(void **state)
{
    struct rig *rig = *state;
    int fd;

    rig_start(rig);
    fd = rig_connect(rig);
    rig_send_frame(fd, "o never");
    rig_await_owed(rig, 1);
    pawl_server_stop(rig->server);
    (void)rig_expect_goaway(fd, NULL, NULL);
    pawl_server_stop(rig->server);
    assert_int_equal(rig_join(rig), PAWL_ECANCELED);
    rig_expect_end(fd);
    (void)close(fd);
}

static void signals_reload_and_drain(void **state)
{
    struct rig *rig = *state;
    int fd;

    rig_start(rig);
    fd = rig_connect(rig); /* when it is answered, the signals are taken */
    rig_send_frame(fd, "e");
    rig_expect_frame(fd, "e");
    (void)close(fd);
    assert_int_equal(kill(getpid(), SIGHUP), 0);
    for (int i = 0; atomic_load(&rig->reloads) < 1; i++) {
        assert_true(i < RIG_PATIENCE_MS / 2);
        rig_breathe();
    }
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    assert_int_equal(rig_join(rig), PAWL_OK);
}

static void a_stop_before_the_run_ends_it(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig_create(rig, NULL), PAWL_OK);
    pawl_server_stop(rig->server);
    assert_int_equal(pawl_server_run(rig->server, NULL), PAWL_OK);
}

static void a_server_that_never_ran_is_destroyed_cleanly(void **state)
{
    struct rig *rig = *state;
    int fd;

    assert_int_equal(rig_create(rig, NULL), PAWL_OK);
    fd = rig_connect(rig); /* waits in the backlog */
    (void)close(fd);
}

static void no_descriptor_is_inherited_by_a_program_started(void **state)
{
    struct rig *rig = *state;
    int fd;

    rig_start(rig);
    fd = rig_connect(rig);
    rig_send_frame(fd, "e");
    rig_expect_frame(fd, "e");
    for (int i = 3; i < 256; i++) {
        struct stat info;
        int flags = fcntl(i, F_GETFD);

        if (flags >= 0 && fstat(i, &info) == 0 && S_ISSOCK(info.st_mode)) {
            assert_true((flags & FD_CLOEXEC) != 0);
        }
    }
    (void)close(fd);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_frame_that_dribbles_closes_the_connection),
        T(a_client_that_never_reads_is_closed_and_others_go_on),
        T(output_over_the_cap_closes_the_connection),
        T(a_client_that_reads_late_gets_everything_and_reading_pauses_meanwhile),
        T(a_batch_with_much_output_is_handled_piece_by_piece),
        T(a_session_that_is_owed_too_much_is_not_read_from),
        T(an_idle_session_is_closed_only_where_it_is_asked_for),
        T(a_connection_over_the_cap_is_told_so_and_room_comes_back),
        T(buffers_have_a_ceiling_and_only_who_needs_one_there_is_closed),
        T(hungry_sessions_are_closed_at_the_ceiling),
        T(two_thousand_idle_connections_hold_no_buffer_and_little_memory),
        T(out_of_descriptors_peers_are_told_and_accepting_recovers),
        T(the_socket_has_its_mode_whatever_the_umask),
        T(a_stale_socket_is_replaced),
        T(a_live_socket_is_refused_and_goes_on),
        T(a_file_that_is_no_socket_is_left_alone),
        T(a_missing_folder_is_named),
        T(the_socket_goes_at_the_end_unless_it_is_anothers),
        T(tcp_beyond_loopback_needs_the_word),
        T(a_taken_port_and_a_wrong_address_are_refused),
        T(a_socket_of_a_service_manager_is_served_and_its_file_stays),
        T(an_abstract_name_serves_and_is_refused_to_a_second),
        T(a_drain_answers_what_is_owed_and_says_where_it_ended),
        T(who_connected_before_the_drain_is_served),
        T(the_deadline_of_a_drain_ends_it),
        T(a_second_stop_ends_at_once),
        T(signals_reload_and_drain),
        T(a_stop_before_the_run_ends_it),
        T(a_server_that_never_ran_is_destroyed_cleanly),
        T(no_descriptor_is_inherited_by_a_program_started),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
