/*
 * edge/outbound: streams to sockets of this test, on a loop that the test turns by hand. The other
 * side is plain sockets, and TLS between two heaps of bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "edge/outbound.h"
#include "edge/outbound_stream.h"
#include "tls_rig.h"

#define OUTPUT_MAX ((size_t)1 << 20)

static struct {
    char folder[64];
    struct tls_pair ca, other_ca, server;
    struct pawl_tls_context *serving, *trusting, *other;
    uv_loop_t loop;
    struct pawl_outbound outbound;
    struct pawl_net net;
    bool gone;
} world;

/* ---- the side under test ------------------------------------------------------------------- */

struct watcher {
    struct pawl_stream *stream;
    unsigned opened, closed, bytes_calls;
    enum pawl_status status;
    char why[256];
    uint8_t *got;
    size_t got_bytes;
    bool close_when_opened, close_when_bytes, write_when_closed;
    char peer[128];
};

/* Static, for a test that failed leaves its streams to the teardown. */
#define WATCHER(name, ...)      \
    static struct watcher name; \
    name = (struct watcher)     \
    {                           \
        __VA_ARGS__             \
    }

static void on_opened(void *ctx)
{
    struct watcher *w = ctx;

    w->opened++;
    (void)snprintf(w->peer, sizeof(w->peer), "%s", world.net.ops->peer(w->stream));
    if (w->close_when_opened) {
        assert_int_equal(world.net.ops->write(w->stream, "bye", 3), PAWL_OK);
        world.net.ops->close(w->stream);
        assert_int_equal(w->closed, 0);
    }
}

static void on_bytes(void *ctx, const uint8_t *data, size_t size)
{
    struct watcher *w = ctx;

    w->got = realloc(w->got, w->got_bytes + size);
    assert_non_null(w->got);
    memcpy(w->got + w->got_bytes, data, size);
    w->got_bytes += size;
    w->bytes_calls++;
    if (w->close_when_bytes) {
        world.net.ops->close(w->stream);
        world.net.ops->close(w->stream); /* twice is once */
    }
}

static void on_closed(void *ctx, enum pawl_status status, const char *why)
{
    struct watcher *w = ctx;

    w->closed++;
    w->status = status;
    assert_non_null(why);
    (void)snprintf(w->why, sizeof(w->why), "%s", why);
    if (w->write_when_closed) {
        assert_int_equal(world.net.ops->write(w->stream, "x", 1), PAWL_ECONN);
        world.net.ops->close(w->stream);
    }
}

static const struct pawl_stream_events events = { on_opened, on_bytes, on_closed };

static struct pawl_dial dial_to(const char *host, uint16_t port)
{
    return (struct pawl_dial){
        .host = host, .port = port, .timeout_ms = 2000, .output_max = OUTPUT_MAX
    };
}

static void begin(struct watcher *w, const struct pawl_dial *dial)
{
    w->stream = world.net.ops->connect(world.net.self, dial, &events, w);
    assert_non_null(w->stream);
    assert_int_equal(w->opened + w->closed, 0); /* never from inside */
}

static uint64_t now_ms(void)
{
    return world.net.ops->now_ms(world.net.self);
}

/** Turn the loop until *@what is not 0, or @ms have passed. */
static void turn_until(const unsigned *what, unsigned ms)
{
    uint64_t end = now_ms() + ms;

    while (*what == 0 && now_ms() < end) {
        (void)uv_run(&world.loop, UV_RUN_NOWAIT);
        (void)poll(NULL, 0, 1);
    }
}

static void turn(unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        (void)uv_run(&world.loop, UV_RUN_NOWAIT);
    }
}

static void finish(struct watcher *w)
{
    if (w->closed == 0) {
        world.net.ops->close(w->stream);
        turn_until(&w->closed, 1000);
    }
    assert_int_equal(w->closed, 1);
    turn(3);
    assert_int_equal(w->closed, 1);
    free(w->got);
}

/* ---- the other side ------------------------------------------------------------------------ */

static int listen_at(int backlog, uint16_t *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int room = 65536; /* of who is accepted: else the kernel may take megabytes for nobody */

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static int accept_one(int listener)
{
    struct pollfd ready = { listener, POLLIN, 0 };
    int fd = -1;

    for (int i = 0; i < 2000 && fd < 0; i++) {
        (void)uv_run(&world.loop, UV_RUN_NOWAIT);
        if (poll(&ready, 1, 1) == 1) {
            fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        }
    }
    assert_true(fd >= 0);
    return fd;
}

/** What there is, up to @size bytes, within a second; how many. */
static size_t receive(int fd, uint8_t *out, size_t size)
{
    size_t total = 0;

    for (int i = 0; i < 1000 && total < size; i++) {
        ssize_t got = recv(fd, out + total, size - total, 0);

        if (got == 0) {
            break;
        }
        if (got > 0) {
            total += (size_t)got;
            i = 0;
            continue;
        }
        (void)uv_run(&world.loop, UV_RUN_NOWAIT);
        (void)poll(NULL, 0, 1);
    }
    return total;
}

/** TLS on the other side: a connection and its socket. */
struct other {
    int fd;
    struct pawl_tls_connection *tls;
    uint8_t *got;
    size_t got_bytes;
    bool eof;
};

/** One step: what came in, what goes out. */
static void other_step(struct other *other)
{
    uint8_t bytes[16645];
    ssize_t size = recv(other->fd, bytes, sizeof(bytes), 0);

    other->eof = other->eof || size == 0;
    if (size > 0) {
        size_t got;

        assert_int_equal(pawl_tls_ops.give(other->tls, bytes, (size_t)size), PAWL_OK);
        while ((got = pawl_tls_ops.read(other->tls, bytes, sizeof(bytes))) > 0) {
            other->got = realloc(other->got, other->got_bytes + got);
            assert_non_null(other->got);
            memcpy(other->got + other->got_bytes, bytes, got);
            other->got_bytes += got;
        }
    }
    while (pawl_tls_ops.pending(other->tls) > 0) {
        struct pawl_bytes next = pawl_tls_ops.peek(other->tls);
        ssize_t sent = send(other->fd, next.data, next.size, MSG_NOSIGNAL);

        if (sent <= 0) {
            break;
        }
        pawl_tls_ops.sent(other->tls, (size_t)sent);
    }
}

static void other_until(struct other *other, const unsigned *what)
{
    for (int i = 0; i < 2000 && *what == 0; i++) {
        (void)uv_run(&world.loop, UV_RUN_NOWAIT);
        other_step(other);
        (void)poll(NULL, 0, 1);
    }
}

static struct other other_of(int fd)
{
    struct other other = { .fd = fd, .tls = pawl_tls_ops.accept(world.serving) };

    assert_non_null(other.tls);
    return other;
}

static void other_close(struct other *other)
{
    pawl_tls_ops.close(other->tls);
    (void)close(other->fd);
    free(other->got);
}

/* ---- worlds -------------------------------------------------------------------------------- */

static int make_world(void **state)
{
    (void)state;
    (void)snprintf(world.folder, sizeof(world.folder), "/tmp/pawl_out_XXXXXX");
    assert_non_null(mkdtemp(world.folder));
    tls_pair_make(&world.ca, world.folder, "ca", NULL, NULL);
    tls_pair_make(&world.other_ca, world.folder, "other", NULL, NULL);
    tls_pair_make(&world.server, world.folder, "server", &world.ca,
                  "DNS:engine.internal,IP:127.0.0.1");
    world.serving = tls_server_of(&world.server, NULL);
    world.trusting = tls_client_of(world.ca.certificate_file, NULL);
    world.other = tls_client_of(world.other_ca.certificate_file, NULL);
    return 0;
}

static int free_world(void **state)
{
    (void)state;
    pawl_tls_context_unref(world.serving);
    pawl_tls_context_unref(world.trusting);
    pawl_tls_context_unref(world.other);
    tls_pair_free(&world.ca);
    tls_pair_free(&world.other_ca);
    tls_pair_free(&world.server);
    (void)rmdir(world.folder);
    return 0;
}

static int open_loop(void **state)
{
    (void)state;
    assert_int_equal(uv_loop_init(&world.loop), 0);
    assert_int_equal(pawl_outbound_init(&world.outbound, &world.loop, &pawl_tls_ops), PAWL_OK);
    world.net = pawl_outbound_net(&world.outbound);
    world.gone = false;
    return 0;
}

static void on_gone(void *ctx)
{
    (void)ctx;
    world.gone = true;
}

/* Also the proof that nothing was left behind: the loop closes only when it is empty. */
static int close_loop(void **state)
{
    (void)state;
    if (!world.outbound.closing) {
        pawl_outbound_close(&world.outbound, on_gone, NULL);
    }
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_true(world.gone);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    return 0;
}

/* ---- connecting ---------------------------------------------------------------------------- */

static void bytes_go_both_ways_over_a_number(void **state)
{
    WATCHER(w);
    uint16_t port;
    int listener = listen_at(8, &port);
    struct pawl_dial dial = dial_to("127.0.0.1", port);
    uint8_t in[8];
    char peer[64];
    int fd;

    (void)state;
    begin(&w, &dial);
    assert_int_equal(world.net.ops->write(w.stream, "early", 5), PAWL_ECONN);
    fd = accept_one(listener);
    turn_until(&w.opened, 1000);
    assert_int_equal(w.opened, 1);
    (void)snprintf(peer, sizeof(peer), "127.0.0.1:%u", (unsigned)port);
    assert_string_equal(w.peer, peer);
    assert_int_equal(world.net.ops->write(w.stream, "ping", 4), PAWL_OK);
    assert_int_equal(receive(fd, in, 4), 4);
    assert_memory_equal(in, "ping", 4);
    assert_int_equal(send(fd, "pong", 4, 0), 4);
    turn_until(&w.bytes_calls, 1000);
    assert_int_equal(w.got_bytes, 4);
    assert_memory_equal(w.got, "pong", 4);
    (void)close(fd);
    turn_until(&w.closed, 1000);
    assert_int_equal(w.status, PAWL_ECONN);
    assert_non_null(strstr(w.why, "closed by the other side"));
    (void)close(listener);
    finish(&w);
}

static void a_refused_connection_ends_and_says_where(void **state)
{
    WATCHER(w, .write_when_closed = true);
    uint16_t port;
    int listener = listen_at(8, &port);
    struct pawl_dial dial = dial_to("127.0.0.1", port);

    (void)state;
    (void)close(listener);
    begin(&w, &dial);
    turn_until(&w.closed, 1000);
    assert_int_equal(w.opened, 0);
    assert_int_equal(w.status, PAWL_ECONN);
    assert_non_null(strstr(w.why, "127.0.0.1:"));
    assert_non_null(strstr(w.why, "refused"));
    finish(&w);
}

static void a_name_that_nobody_has_is_not_found(void **state)
{
    static const char *const names[] = {
        "a-label-of-more-than-sixty-three-bytes-which-no-name-server-will-ever-know.example",
        "300.1.2.3.4.5.",
        "",
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
        WATCHER(w);
        struct pawl_dial dial = dial_to(names[i], 1);

        begin(&w, &dial);
        turn_until(&w.closed, 3000);
        assert_int_equal(w.opened, 0);
        assert_true(w.status == PAWL_ENOENT || w.status == PAWL_ETIMEDOUT ||
                    (i == 2 && w.status == PAWL_ECONN));
        finish(&w);
    }
}

/* localhost is often ::1 before 127.0.0.1, where nobody listens here. */
static void all_addresses_of_a_name_are_tried(void **state)
{
    WATCHER(w);
    uint16_t port;
    int listener = listen_at(8, &port);
    struct pawl_dial dial = dial_to("localhost", port);
    int fd;

    (void)state;
    begin(&w, &dial);
    fd = accept_one(listener);
    turn_until(&w.opened, 1000);
    assert_int_equal(w.opened, 1);
    (void)close(fd);
    (void)close(listener);
    finish(&w);
}

static void the_next_address_is_tried_after_a_refusal_and_after_silence(void **state)
{
    WATCHER(w);
    uint16_t full, port;
    int silent = listen_at(0, &full);
    int listener = listen_at(8, &port);
    struct pawl_dial dial = dial_to("127.0.0.1", port);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fillers[4];
    int fd;

    (void)state;
    at.sin_port = htons(full);
    for (unsigned i = 0; i < 4; i++) { /* its queue is full: nobody answers any more */
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fillers[i], (struct sockaddr *)&at, sizeof(at));
    }
    dial.timeout_ms = 600;
    begin(&w, &dial);
    /* As if a name had stood for three addresses. */
    at.sin_port = htons(1);
    memcpy(&w.stream->addresses[0], &at, sizeof(at));
    at.sin_port = htons(full);
    memcpy(&w.stream->addresses[1], &at, sizeof(at));
    w.stream->address_count = 2;
    fd = accept_one(listener);
    turn_until(&w.opened, 1000);
    assert_int_equal(w.opened, 1);
    assert_int_equal(w.stream->address_next, 3);
    (void)close(fd);
    for (unsigned i = 0; i < 4; i++) {
        (void)close(fillers[i]);
    }
    (void)close(silent);
    (void)close(listener);
    finish(&w);
}

static void who_does_not_answer_is_given_up_in_time(void **state)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    WATCHER(w);
    uint16_t port;
    int listener = listen_at(0, &port);
    struct pawl_dial dial = dial_to("127.0.0.1", port);
    uint64_t start = now_ms();
    int fillers[4];

    (void)state;
    at.sin_port = htons(port);
    for (unsigned i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fillers[i], (struct sockaddr *)&at, sizeof(at));
    }
    dial.timeout_ms = 100;
    begin(&w, &dial);
    turn_until(&w.closed, 1500);
    assert_int_equal(w.status, PAWL_ETIMEDOUT);
    assert_true(now_ms() - start >= 95 && now_ms() - start < 1000);
    for (unsigned i = 0; i < 4; i++) {
        (void)close(fillers[i]);
    }
    (void)close(listener);
    finish(&w);
}

static void unix_sockets_by_path_and_by_abstract_name(void **state)
{
    char path[PAWL_ADDRESS_PATH_MAX + 1];
    char name[64];
    const char *hosts[] = { path, name };

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/s", world.folder);
    (void)snprintf(name, sizeof(name), "@pawl-outbound-%d", (int)getpid());
    for (unsigned i = 0; i < 2; i++) {
        struct sockaddr_un at = { .sun_family = AF_UNIX };
        size_t size = strlen(hosts[i]) + offsetof(struct sockaddr_un, sun_path);
        int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct pawl_dial dial = dial_to(hosts[i], 0);
        WATCHER(nobody);
        WATCHER(w);
        int fd;

        begin(&nobody, &dial);
        turn_until(&nobody.closed, 1000);
        assert_int_equal(nobody.status, PAWL_ECONN);
        finish(&nobody);
        (void)memcpy(at.sun_path, hosts[i], strlen(hosts[i]));
        at.sun_path[0] = hosts[i][0] == '@' ? '\0' : hosts[i][0];
        assert_int_equal(bind(listener, (struct sockaddr *)&at, (socklen_t)size), 0);
        assert_int_equal(listen(listener, 1), 0);
        begin(&w, &dial);
        fd = accept_one(listener);
        turn_until(&w.opened, 1000);
        assert_string_equal(w.peer, hosts[i]);
        (void)close(fd);
        (void)close(listener);
        finish(&w);
    }
    (void)unlink(path);
}

static void a_socket_has_the_options_that_were_asked_for(void **state)
{
    WATCHER(w);
    uint16_t port;
    int listener = listen_at(8, &port);
    struct pawl_dial dial = dial_to("127.0.0.1", port);
    unsigned user_timeout = 0;
    int nodelay = 0;
    int keepalive = 0;
    socklen_t size = sizeof(int);
    uv_os_fd_t own;
    int fd;

    (void)state;
    dial.user_timeout_ms = 1234;
    begin(&w, &dial);
    fd = accept_one(listener);
    turn_until(&w.opened, 1000);
    assert_int_equal(uv_fileno(&w.stream->socket->uv.handle, &own), 0);
    assert_int_equal(getsockopt(own, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, &size), 0);
    assert_int_equal(getsockopt(own, IPPROTO_TCP, TCP_NODELAY, &nodelay, &size), 0);
    assert_int_equal(getsockopt(own, SOL_SOCKET, SO_KEEPALIVE, &keepalive, &size), 0);
    assert_int_equal(user_timeout, 1234);
    assert_int_equal(nodelay, 1);
    assert_int_equal(keepalive, 1);
    (void)close(fd);
    (void)close(listener);
    finish(&w);
}

/* ---- bytes --------------------------------------------------------------------------------- */

static void what_is_written_in_one_turn_goes_out_together(void **state)
{
    WATCHER(w);
    uint16_t port;
    int listener = listen_at(8, &port);
    struct pawl_dial dial = dial_to("127.0.0.1", port);
    uint32_t info[64]; /* the kernel's tcp_info, which knows more than the library's header */
    socklen_t size = sizeof(info);
    uint8_t in[100];
    int fd;

    (void)state;
    begin(&w, &dial);
    fd = accept_one(listener);
    turn_until(&w.opened, 1000);
    for (unsigned i = 0; i < 100; i++) {
        uint8_t byte = (uint8_t)i;

        assert_int_equal(world.net.ops->write(w.stream, &byte, 1), PAWL_OK);
    }
    assert_int_equal(receive(fd, in, 100), 100);
    assert_int_equal(in[99], 99);
    memset(info, 0, sizeof(info));
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &size), 0);
    assert_true(size >= 156);
    assert_int_equal(info[38], 1); /* tcpi_data_segs_in */
    (void)close(fd);
    (void)close(listener);
    finish(&w);
}

static void fill(uint8_t *bytes, size_t size, size_t from)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)((from + i) * 31 + (from + i) / 251);
    }
}

static void more_than_the_socket_takes_waits_up_to_its_ceiling_and_arrives_in_order(void **state)
{
    enum {
        PIECE = 50000,
        PIECES = 200
    };
    static uint8_t piece[PIECE], in[PIECE];
    WATCHER(w);
    uint16_t port;
    int listener = listen_at(8, &port);
    struct pawl_dial dial = dial_to("127.0.0.1", port);
    unsigned written = 0;
    unsigned full = 0;
    size_t arrived = 0;
    int fd;

    (void)state;
    begin(&w, &dial);
    fd = accept_one(listener);
    turn_until(&w.opened, 1000);
    while (arrived < (size_t)PIECE * PIECES) {
        while (written < PIECES) {
            enum pawl_status status;

            fill(piece, PIECE, (size_t)written * PIECE);
            status = world.net.ops->write(w.stream, piece, PIECE);
            if (status == PAWL_EFULL) {
                full++;
                break;
            }
            assert_int_equal(status, PAWL_OK);
            written++;
            turn(written % 3);
        }
        assert_int_equal(receive(fd, in, PIECE), PIECE);
        fill(piece, PIECE, arrived);
        assert_memory_equal(in, piece, PIECE);
        arrived += PIECE;
    }
    assert_true(full > 0); /* the ceiling was met on the way */
    assert_int_equal(world.net.ops->write(w.stream, in, OUTPUT_MAX + 1), PAWL_EFULL);
    (void)close(fd);
    (void)close(listener);
    finish(&w);
}

static void a_stream_may_be_closed_in_each_of_its_events(void **state)
{
    WATCHER(a, .close_when_opened = true, .write_when_closed = true);
    WATCHER(b, .close_when_bytes = true);
    uint16_t port;
    int listener = listen_at(8, &port);
    struct pawl_dial dial = dial_to("127.0.0.1", port);
    uint8_t in[8];
    int fd;

    (void)state;
    begin(&a, &dial);
    fd = accept_one(listener);
    assert_int_equal(receive(fd, in, sizeof(in)), 3); /* said before the end */
    assert_memory_equal(in, "bye", 3);
    turn_until(&a.closed, 1000);
    assert_int_equal(a.status, PAWL_ECANCELED);
    (void)close(fd);
    finish(&a);

    begin(&b, &dial);
    fd = accept_one(listener);
    turn_until(&b.opened, 1000);
    assert_int_equal(send(fd, "x", 1, 0), 1);
    turn_until(&b.closed, 1000);
    assert_int_equal(b.bytes_calls, 1);
    assert_int_equal(b.status, PAWL_ECANCELED);
    (void)close(fd);
    (void)close(listener);
    finish(&b);
}

static void a_stream_that_is_closed_at_once_opens_nothing(void **state)
{
    static const char *const hosts[] = { "127.0.0.1", "localhost", "/nowhere/at/all" };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        WATCHER(w);
        struct pawl_dial dial = dial_to(hosts[i], 9);

        begin(&w, &dial);
        if (i == 1) {
            turn(1); /* the look-up is under way */
        }
        world.net.ops->close(w.stream);
        turn_until(&w.closed, 1000);
        assert_int_equal(w.opened, 0);
        assert_int_equal(w.status, PAWL_ECANCELED);
        finish(&w);
    }
}

/* ---- TLS ----------------------------------------------------------------------------------- */

static void tls_opens_for_the_right_name_and_carries_bytes(void **state)
{
    WATCHER(w);
    uint16_t port;
    int listener = listen_at(8, &port);
    struct pawl_dial dial = dial_to("127.0.0.1", port);
    struct other other;

    (void)state;
    dial.context = world.trusting;
    dial.name = "engine.internal";
    begin(&w, &dial);
    other = other_of(accept_one(listener));
    other_until(&other, &w.opened);
    assert_int_equal(w.opened, 1);
    assert_int_equal(world.net.ops->write(w.stream, "hello", 5), PAWL_OK);
    for (int i = 0; i < 1000 && other.got_bytes < 5; i++) {
        turn(1);
        other_step(&other);
    }
    assert_int_equal(other.got_bytes, 5);
    assert_memory_equal(other.got, "hello", 5);
    assert_int_equal(pawl_tls_ops.write(other.tls, (const uint8_t *)"world", 5), PAWL_OK);
    other_until(&other, &w.bytes_calls);
    assert_int_equal(w.got_bytes, 5);
    world.net.ops->close(w.stream);
    for (int i = 0; i < 1000 && !other.eof; i++) {
        turn(1);
        other_step(&other);
    }
    assert_int_equal(pawl_tls_ops.state(other.tls), PAWL_TLS_PEER_DONE); /* close_notify came */
    other_close(&other);
    (void)close(listener);
    finish(&w);
}

static void a_certificate_for_another_name_or_of_another_ca_is_refused(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        WATCHER(w);
        uint16_t port;
        int listener = listen_at(8, &port);
        struct pawl_dial dial = dial_to("127.0.0.1", port);
        struct other other;

        dial.context = i == 0 ? world.trusting : world.other;
        dial.name = i == 0 ? "engine.elsewhere" : NULL;
        begin(&w, &dial);
        other = other_of(accept_one(listener));
        other_until(&other, &w.closed);
        assert_int_equal(w.opened, 0);
        assert_int_equal(w.status, PAWL_EPERM);
        assert_non_null(strstr(w.why, "TLS: "));
        for (int k = 0; k < 100; k++) {
            other_step(&other);
        }
        assert_int_equal(pawl_tls_ops.state(other.tls), PAWL_TLS_FAILED); /* told by an alert */
        other_close(&other);
        (void)close(listener);
        finish(&w);
    }
}

static void a_handshake_that_nobody_answers_ends_in_time(void **state)
{
    WATCHER(w);
    uint16_t port;
    int listener = listen_at(8, &port);
    struct pawl_dial dial = dial_to("127.0.0.1", port);
    int fd;

    (void)state;
    dial.context = world.trusting;
    dial.timeout_ms = 100;
    begin(&w, &dial);
    fd = accept_one(listener);
    turn_until(&w.closed, 1000);
    assert_int_equal(w.opened, 0);
    assert_int_equal(w.status, PAWL_ETIMEDOUT);
    assert_non_null(strstr(w.why, "handshake"));
    (void)close(fd);
    (void)close(listener);
    finish(&w);
}

static void tls_to_somebody_who_speaks_something_else_is_refused(void **state)
{
    WATCHER(w);
    uint16_t port;
    int listener = listen_at(8, &port);
    struct pawl_dial dial = dial_to("127.0.0.1", port);
    int fd;

    (void)state;
    dial.context = world.trusting;
    begin(&w, &dial);
    fd = accept_one(listener);
    assert_int_equal(send(fd, "-ERR unknown command\r\n", 22, 0), 22);
    turn_until(&w.closed, 1000);
    assert_int_equal(w.status, PAWL_EPERM);
    (void)close(fd);
    (void)close(listener);
    finish(&w);
}

static void much_through_tls_waits_up_to_its_ceiling_and_arrives_in_order(void **state)
{
    enum {
        PIECE = 50000,
        PIECES = 300 /* more than a socket takes for itself */
    };
    static uint8_t piece[PIECE];
    WATCHER(w);
    uint16_t port;
    int listener = listen_at(8, &port);
    struct pawl_dial dial = dial_to("127.0.0.1", port);
    struct other other;
    unsigned written = 0;
    unsigned full = 0;

    (void)state;
    dial.context = world.trusting;
    begin(&w, &dial);
    other = other_of(accept_one(listener));
    other_until(&other, &w.opened);
    while (other.got_bytes < (size_t)PIECE * PIECES) {
        size_t before = other.got_bytes;

        while (written < PIECES) {
            fill(piece, PIECE, (size_t)written * PIECE);
            if (world.net.ops->write(w.stream, piece, PIECE) != PAWL_OK) {
                full++;
                break;
            }
            written++;
            turn(written % 3);
        }
        for (int i = 0; i < 2000 && other.got_bytes == before; i++) {
            turn(1);
            other_step(&other);
        }
        assert_true(other.got_bytes > before);
    }
    for (unsigned i = 0; i < PIECES; i++) {
        fill(piece, PIECE, (size_t)i * PIECE);
        assert_memory_equal(other.got + (size_t)i * PIECE, piece, PIECE);
    }
    assert_true(full > 0);
    other_close(&other);
    (void)close(listener);
    finish(&w);
}

/* ---- timers, and the end ------------------------------------------------------------------- */

struct ticking {
    struct pawl_timer *timer;
    unsigned runs;
    bool again, release;
};

#define TICKING(name, ...)      \
    static struct ticking name; \
    name = (struct ticking)     \
    {                           \
        __VA_ARGS__             \
    }

static void on_tick(void *ctx)
{
    struct ticking *ticking = ctx;

    ticking->runs++;
    if (ticking->again) {
        ticking->again = false;
        world.net.ops->start(ticking->timer, 1);
    } else if (ticking->release) {
        world.net.ops->release(ticking->timer);
    }
}

static void a_timer_runs_once_each_time_it_is_started(void **state)
{
    TICKING(a, .again = true);
    TICKING(b);
    TICKING(c, .release = true);
    unsigned never = 0;

    (void)state;
    a.timer = world.net.ops->timer(world.net.self, on_tick, &a);
    b.timer = world.net.ops->timer(world.net.self, on_tick, &b);
    c.timer = world.net.ops->timer(world.net.self, on_tick, &c);
    world.net.ops->start(a.timer, 1);
    world.net.ops->start(b.timer, 1);
    world.net.ops->start(c.timer, 1);
    world.net.ops->stop(b.timer);
    turn_until(&never, 30);
    assert_int_equal(a.runs, 2);
    assert_int_equal(b.runs, 0);
    assert_int_equal(c.runs, 1);
    world.net.ops->release(a.timer);
    world.net.ops->release(b.timer);
    world.net.ops->release(NULL);
}

static void closing_ends_all_streams_and_waits_for_the_timers(void **state)
{
    TICKING(ticking);
    WATCHER(w);
    WATCHER(looking);
    uint16_t port;
    int listener = listen_at(8, &port);
    struct pawl_dial dial = dial_to("127.0.0.1", port);
    struct pawl_dial name = dial_to("localhost", port);
    unsigned never = 0;
    int fd;

    (void)state;
    ticking.timer = world.net.ops->timer(world.net.self, on_tick, &ticking);
    world.net.ops->start(ticking.timer, 1);
    begin(&w, &dial);
    fd = accept_one(listener);
    turn_until(&w.opened, 1000);
    begin(&looking, &name);
    ticking.runs = 0;
    pawl_outbound_close(&world.outbound, on_gone, NULL);
    assert_null(world.net.ops->connect(world.net.self, &dial, &events, &w));
    world.net.ops->start(ticking.timer, 1);
    turn_until(&never, 30);
    assert_int_equal(ticking.runs, 0);
    assert_int_equal(w.closed, 1);
    assert_int_equal(looking.closed, 1);
    assert_int_equal(w.status, PAWL_ECANCELED);
    assert_false(world.gone); /* somebody still has the timer */
    world.net.ops->release(ticking.timer);
    (void)close(fd);
    (void)close(listener);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_loop, close_loop)
    const struct CMUnitTest tests[] = {
        TEST(bytes_go_both_ways_over_a_number),
        TEST(a_refused_connection_ends_and_says_where),
        TEST(a_name_that_nobody_has_is_not_found),
        TEST(all_addresses_of_a_name_are_tried),
        TEST(the_next_address_is_tried_after_a_refusal_and_after_silence),
        TEST(who_does_not_answer_is_given_up_in_time),
        TEST(unix_sockets_by_path_and_by_abstract_name),
        TEST(a_socket_has_the_options_that_were_asked_for),
        TEST(what_is_written_in_one_turn_goes_out_together),
        TEST(more_than_the_socket_takes_waits_up_to_its_ceiling_and_arrives_in_order),
        TEST(a_stream_may_be_closed_in_each_of_its_events),
        TEST(a_stream_that_is_closed_at_once_opens_nothing),
        TEST(tls_opens_for_the_right_name_and_carries_bytes),
        TEST(a_certificate_for_another_name_or_of_another_ca_is_refused),
        TEST(a_handshake_that_nobody_answers_ends_in_time),
        TEST(tls_to_somebody_who_speaks_something_else_is_refused),
        TEST(much_through_tls_waits_up_to_its_ceiling_and_arrives_in_order),
        TEST(a_timer_runs_once_each_time_it_is_started),
        TEST(closing_ends_all_streams_and_waits_for_the_timers),
    };

    return cmocka_run_group_tests(tests, make_world, free_world);
}
