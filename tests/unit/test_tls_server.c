/* The network half with a TLS listener: the sessions of test_server.c through records. */
#include "edge/identity.h"
#include "edge_rig.h"
#include "tls_rig.h"

#define OPS      (&pawl_tls_ops)
#define RELOADS  1000
#define LOADERS  4
#define BIG_SIZE ((size_t)24 << 20) /* more than the sockets take */

static struct {
    char folder[64];
    struct tls_pair ca, server, server_two, client;
    struct pawl_tls_context *context[2], *client_context;
    struct pawl_guard *guard[2];
} world;

/** A guard around @context, with one client: dns:api may check. */
static struct pawl_guard *guard_of(struct pawl_tls_context *context)
{
    static const char *const everywhere[] = { "*" };
    static const uint8_t key[PAWL_DIGEST_BYTES];
    struct pawl_client_settings client = { "dns:api", PAWL_GRANT_CHECK, { everywhere, 1 } };
    struct pawl_settings settings;
    struct pawl_guard_options options = {
        .settings = &settings, .tls = OPS, .context = context, .key = key
    };
    struct pawl_guard *guard;

    memset(&settings, 0, sizeof(settings));
    settings.tls.handshake_timeout_ms = 60000;
    settings.tls.handshakes_max = 256;
    settings.tls.clients = &client;
    settings.tls.client_count = 1;
    guard = pawl_guard_create(&options, NULL);
    assert_non_null(guard);
    return guard;
}

static int make_world(void **state)
{
    (void)state;
    (void)snprintf(world.folder, sizeof(world.folder), "/tmp/pawl_tls_XXXXXX");
    assert_non_null(mkdtemp(world.folder));
    tls_pair_make(&world.ca, world.folder, "ca", NULL, NULL);
    tls_pair_make(&world.server, world.folder, "server", &world.ca, "DNS:localhost");
    tls_pair_make(&world.server_two, world.folder, "two", &world.ca, "DNS:localhost");
    tls_pair_make(&world.client, world.folder, "client", &world.ca, "DNS:api");
    world.context[0] = tls_server_of(&world.server, world.ca.certificate_file);
    world.context[1] = tls_server_of(&world.server_two, world.ca.certificate_file);
    world.client_context = tls_client_of(world.ca.certificate_file, &world.client);
    world.guard[0] = guard_of(world.context[0]);
    world.guard[1] = guard_of(world.context[1]);
    return 0;
}

static int free_world(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        pawl_guard_unref(world.guard[i]);
        pawl_tls_context_unref(world.context[i]);
    }
    pawl_tls_context_unref(world.client_context);
    tls_pair_free(&world.ca);
    tls_pair_free(&world.server);
    tls_pair_free(&world.server_two);
    tls_pair_free(&world.client);
    (void)rmdir(world.folder);
    return 0;
}

static int setup(void **state)
{
    struct rig *rig = rig_make();

    rig->listen[1].uri = "tls:127.0.0.1:0";
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

static void start(struct rig *rig)
{
    struct pawl_error error = { PAWL_OK, 0, "" };

    if (rig_create(rig, &error) != PAWL_OK) {
        fail_msg("server: %s", error.text);
    }
    pawl_server_set_guard(rig->server, world.guard[0]);
    assert_int_equal(pthread_create(&rig->thread, NULL, rig_thread, rig), 0);
    rig->running = true;
}

/* ---- a client ---- */

struct client {
    int fd;
    struct pawl_tls_connection *tls;
};

/** Send what waits, @step bytes at a time. */
static void client_flush(struct client *client, size_t step)
{
    while (OPS->pending(client->tls) > 0) {
        struct pawl_bytes first = OPS->peek(client->tls);
        size_t size = first.size < step ? first.size : step;

        rig_send(client->fd, first.data, size);
        OPS->sent(client->tls, size);
    }
}

/** Take what the socket has; false at its end. */
static bool client_fill(struct client *client)
{
    uint8_t data[16384];
    struct pollfd wait = { client->fd, POLLIN, 0 };
    ssize_t size;

    assert_int_equal(poll(&wait, 1, RIG_PATIENCE_MS), 1);
    size = recv(client->fd, data, sizeof(data), 0);
    if (size <= 0) {
        return false;
    }
    assert_int_equal(OPS->give(client->tls, data, (size_t)size), PAWL_OK);
    return true;
}

static struct client client_open(struct rig *rig, size_t step)
{
    struct client client = { rig_connect_tcp(rig),
                             OPS->connect(world.client_context, "localhost") };

    assert_non_null(client.tls);
    client_flush(&client, step);
    while (OPS->state(client.tls) == PAWL_TLS_HANDSHAKING) {
        assert_true(client_fill(&client));
        client_flush(&client, step);
    }
    assert_int_equal(OPS->state(client.tls), PAWL_TLS_OPEN);
    return client;
}

static void client_close(struct client *client)
{
    OPS->close(client->tls);
    (void)close(client->fd);
}

static void client_send(struct client *client, const void *message, size_t size, size_t step)
{
    uint8_t frame[PAWL_FRAME_HEADER_BYTES + 65536];

    pawl_frame_header(frame, size);
    memcpy(frame + PAWL_FRAME_HEADER_BYTES, message, size);
    assert_int_equal(OPS->write(client->tls, frame, PAWL_FRAME_HEADER_BYTES + size), PAWL_OK);
    client_flush(client, step);
}

/** Exactly @size bytes; false at the end of the stream. */
static bool client_read(struct client *client, uint8_t *out, size_t size)
{
    size_t got = 0;

    while (got < size) {
        size_t more = OPS->read(client->tls, out + got, size - got);

        got += more;
        if (more == 0 && (OPS->state(client->tls) != PAWL_TLS_OPEN || !client_fill(client))) {
            return false;
        }
    }
    return true;
}

/** The next frame's message at @out; its size. */
static size_t client_frame(struct client *client, uint8_t *out, size_t capacity)
{
    uint8_t head[PAWL_FRAME_HEADER_BYTES];
    size_t size;

    assert_true(client_read(client, head, sizeof(head)));
    size = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    assert_true(size <= capacity);
    assert_true(client_read(client, out, size));
    return size;
}

/* ---- tests ---- */

static void frames_are_answered_however_their_records_are_cut(void **state)
{
    struct rig *rig = *state;
    const size_t steps[] = { 1, 7, 1000, 65536 };

    start(rig);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct client client = client_open(rig, steps[i]);
        uint8_t out[64];

        for (int j = 0; j < 20; j++) {
            client_send(&client, "echo me", 7, steps[i]);
            assert_int_equal(client_frame(&client, out, sizeof(out)), 7);
            assert_memory_equal(out, "echo me", 7);
        }
        client_close(&client);
    }
    assert_int_equal(rig_stat(rig, "tls_handshakes"), 4);
    rig_await_exact(rig, "tls_connections", 0);
}

static void the_certificate_gives_its_roles(void **state)
{
    struct rig *rig = *state;
    struct client client;
    uint8_t out[4];

    start(rig);
    client = client_open(rig, 65536);
    client_send(&client, "r", 1, 65536);
    assert_int_equal(client_frame(&client, out, sizeof(out)), 1);
    assert_int_equal(out[0], PAWL_ROLE_CHECK);
    client_close(&client);
}

static void a_full_frame_in_many_records_is_one_request(void **state)
{
    struct rig *rig = *state;
    uint8_t *large = malloc(65536);
    uint8_t *out = malloc(65536);
    struct client client;

    assert_non_null(large);
    assert_non_null(out);
    start(rig);
    client = client_open(rig, 65536);
    memset(large, 'x', 65536);
    large[0] = 'e';
    for (int i = 0; i < 8; i++) {
        client_send(&client, large, 65536, 3001);
        assert_int_equal(client_frame(&client, out, 65536), 65536);
        assert_memory_equal(out, large, 65536);
    }
    client_close(&client);
    free(large);
    free(out);
}

/** Replies wait for a client that does not read, and come whole and in order when it does. */
static void a_client_that_reads_late_gets_everything(void **state)
{
    struct rig *rig = *state;
    uint8_t ask[9] = { 'm', 0, 0, 0, 0, 0, 0, 0, 0 };
    uint32_t count = (uint32_t)(BIG_SIZE / 60000);
    uint32_t size = 60000;
    uint8_t *out = malloc(size);
    struct client client;

    assert_non_null(out);
    rig->options.session_output_max_bytes = 2 * BIG_SIZE;
    start(rig);
    client = client_open(rig, 65536);
    memcpy(ask + 1, &count, 4);
    memcpy(ask + 5, &size, 4);
    client_send(&client, ask, sizeof(ask), 65536);
    rig_await(rig, "edge_writes_waited", 1);
    for (uint32_t i = 0; i < 50; i++) { /* they lie in the socket while nothing is read */
        client_send(&client, "elate", 5, 65536);
    }
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(client_frame(&client, out, size), size);
    }
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(client_frame(&client, out, size), 5);
        assert_memory_equal(out, "elate", 5);
    }
    client_close(&client);
    free(out);
}

static void half_a_close_is_answered_in_kind(void **state)
{
    struct rig *rig = *state;
    struct client client;
    uint8_t out[256];

    start(rig);
    client = client_open(rig, 65536);
    client_send(&client, "elast", 5, 65536);
    OPS->finish(client.tls);
    client_flush(&client, 65536);
    assert_int_equal(client_frame(&client, out, sizeof(out)), 5);
    while (client_read(&client, out, 1)) {
    }
    rig_await_exact(rig, "tls_connections", 0);
    client_close(&client);
}

static void garbage_and_silence_do_not_stop_the_others(void **state)
{
    struct rig *rig = *state;
    int fds[40];
    struct client client;
    uint8_t out[16];

    start(rig);
    for (int i = 0; i < 40; i++) {
        fds[i] = rig_connect_tcp(rig);
        if (i % 2 == 0) {
            rig_send(fds[i], "GET / HTTP/1.1\r\n\r\n", 18);
        }
    }
    client = client_open(rig, 65536);
    client_send(&client, "e", 1, 65536);
    assert_int_equal(client_frame(&client, out, sizeof(out)), 1);
    rig_await(rig, "tls_handshake_failures", 20);
    for (int i = 0; i < 40; i++) {
        (void)close(fds[i]);
    }
    rig_await_exact(rig, "tls_handshakes_under_way", 0);
    client_close(&client);
}

struct loader {
    struct rig *rig;
    _Atomic bool *over;
    unsigned answered;
};

static void *load(void *data)
{
    struct loader *loader = data;
    struct client client = client_open(loader->rig, 65536);
    uint8_t out[16];

    while (!atomic_load(loader->over)) {
        client_send(&client, "e1234567", 8, 65536);
        assert_int_equal(client_frame(&client, out, sizeof(out)), 8);
        loader->answered++;
    }
    client_close(&client);
    return NULL;
}

static void a_thousand_sets_under_load_lose_no_request_and_close_nobody(void **state)
{
    struct rig *rig = *state;
    _Atomic bool over = false;
    struct loader loaders[LOADERS];
    pthread_t threads[LOADERS];

    start(rig);
    for (int i = 0; i < LOADERS; i++) {
        loaders[i] = (struct loader){ rig, &over, 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, load, &loaders[i]), 0);
    }
    rig_await(rig, "tls_connections", LOADERS);
    for (int i = 0; atomic_load(&rig->pulses) == 0 && i < RIG_PATIENCE_MS; i++) {
        rig_breathe();
    }
    for (int i = 0; i < RELOADS; i++) {
        uint64_t frames = rig_stat(rig, "edge_frames");

        pawl_server_set_guard(rig->server, world.guard[(i + 1) % 2]);
        if (i % 10 == 0) { /* the load goes on between them */
            rig_await(rig, "edge_frames", frames + 1);
        }
    }
    atomic_store(&over, true);
    for (int i = 0; i < LOADERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(loaders[i].answered > 0);
    }
    assert_int_equal(rig_stat(rig, "tls_handshakes"), LOADERS);
    assert_int_equal(rig_stat(rig, "tls_clients_dismissed"), 0);
}

static void a_set_that_trusts_another_ca_closes_who_came_by_the_old_one(void **state)
{
    struct rig *rig = *state;
    struct tls_pair other;
    struct client client;
    uint8_t out[256];

    start(rig);
    tls_pair_make(&other, world.folder, "other", NULL, NULL);
    struct pawl_tls_context *context = tls_server_of(&world.server, other.certificate_file);
    struct pawl_guard *guard = guard_of(context);

    client = client_open(rig, 65536);
    client_send(&client, "e", 1, 65536);
    assert_int_equal(client_frame(&client, out, sizeof(out)), 1);
    for (int i = 0; atomic_load(&rig->pulses) == 0 && i < RIG_PATIENCE_MS; i++) {
        rig_breathe();
    }
    pawl_server_set_guard(rig->server, guard);
    assert_true(client_frame(&client, out, sizeof(out)) > 0); /* the goaway */
    assert_false(client_read(&client, out, 1));
    rig_await(rig, "tls_clients_dismissed", 1);
    client_close(&client);
    pawl_guard_unref(guard);
    pawl_tls_context_unref(context);
    tls_pair_free(&other);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(frames_are_answered_however_their_records_are_cut),
        CASE(the_certificate_gives_its_roles),
        CASE(a_full_frame_in_many_records_is_one_request),
        CASE(a_client_that_reads_late_gets_everything),
        CASE(half_a_close_is_answered_in_kind),
        CASE(garbage_and_silence_do_not_stop_the_others),
        CASE(a_thousand_sets_under_load_lose_no_request_and_close_nobody),
        CASE(a_set_that_trusts_another_ca_closes_who_came_by_the_old_one),
    };
#undef CASE

    return cmocka_run_group_tests(tests, make_world, free_world);
}
