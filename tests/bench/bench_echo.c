/*
 * The baseline of the bench: a raw libuv echo server, as fast as libuv allows.
 *
 * With --request Q --reply R every Q bytes that arrive are answered with R bytes, so that both
 * directions carry what pawld carries; the price over a pure echo is an addition and a division
 * for each read. Bytes are not looked at. One write for each read, first tried at once.
 *
 * usage: bench_echo (unix:PATH | tcp:HOST:PORT) [--request Q --reply R] [--loops N]
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define READ_BYTES  ((size_t)65536)
#define REPLY_RATIO 8 /* a reply is at most so many times its request */
#define LOOPS_MAX   64

struct echo_loop {
    uv_loop_t loop;
    union {
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } listener;
    char *buffer; /* READ_BYTES x REPLY_RATIO: read into its start, written from there */
};

struct session {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } peer;
    struct echo_loop *owner;
    size_t rest; /* bytes of an unfinished request */
};

struct late_write {
    uv_write_t request;
    char bytes[];
};

static size_t request_bytes;
static size_t reply_bytes;
static int is_unix;

static void *take(size_t size)
{
    void *memory = calloc(1, size);

    if (memory == NULL) {
        fputs("bench_echo: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void need(int code, const char *what)
{
    if (code < 0) {
        fprintf(stderr, "bench_echo: %s: %s\n", what, uv_strerror(code));
        exit(1);
    }
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    const struct session *session = handle->data;

    (void)suggested;
    *buffer = uv_buf_init(session->owner->buffer, (unsigned)READ_BYTES);
}

static void on_written(uv_write_t *request, int status)
{
    (void)status;
    free(request);
}

/* What the socket did not take at once goes through libuv's queue. */
static void write_late(struct session *session, const char *bytes, size_t size)
{
    struct late_write *late = take(sizeof(*late) + size);
    uv_buf_t buffer = uv_buf_init(late->bytes, (unsigned)size);

    memcpy(late->bytes, bytes, size);
    if (uv_write(&late->request, &session->peer.stream, &buffer, 1, on_written) != 0) {
        free(late);
    }
}

static size_t answer_bytes(struct session *session, size_t got)
{
    size_t frames;

    if (request_bytes == 0) {
        return got;
    }
    frames = (session->rest + got) / request_bytes;
    session->rest = (session->rest + got) % request_bytes;
    return frames * reply_bytes;
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    struct session *session = stream->data;
    size_t size;
    uv_buf_t answer;
    int sent;

    if (got < 0) {
        uv_close(&session->peer.handle, on_closed);
        return;
    }
    size = answer_bytes(session, (size_t)got);
    if (size == 0) {
        return;
    }
    answer = uv_buf_init(buffer->base, (unsigned)size);
    sent = uv_try_write(stream, &answer, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        uv_close(&session->peer.handle, on_closed);
        return;
    }
    if (sent < 0 || (size_t)sent < size) {
        size_t done = sent < 0 ? 0 : (size_t)sent;

        write_late(session, buffer->base + done, size - done);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct echo_loop *owner = listener->data;
    struct session *session;

    if (status < 0) {
        return;
    }
    session = take(sizeof(*session));
    session->owner = owner;
    if (is_unix) {
        need(uv_pipe_init(&owner->loop, &session->peer.pipe, 0), "pipe");
    } else {
        need(uv_tcp_init(&owner->loop, &session->peer.tcp), "tcp");
    }
    session->peer.handle.data = session;
    if (uv_accept(listener, &session->peer.stream) != 0) {
        uv_close(&session->peer.handle, on_closed); /* another loop took it */
        return;
    }
    if (!is_unix) {
        (void)uv_tcp_nodelay(&session->peer.tcp, 1);
    }
    need(uv_read_start(&session->peer.stream, on_alloc, on_read), "read");
}

/* The first loop binds; the others listen on a duplicate of its socket. */
static void listen_first(struct echo_loop *own, char *address)
{
    char *colon;
    struct sockaddr_storage to;

    if (is_unix) {
        (void)unlink(address + 5);
        need(uv_pipe_init(&own->loop, &own->listener.pipe, 0), "pipe");
        need(uv_pipe_bind(&own->listener.pipe, address + 5), address);
        return;
    }
    colon = strrchr(address + 4, ':');
    if (colon == NULL) {
        need(UV_EINVAL, address);
        return;
    }
    *colon = '\0';
    need(uv_ip4_addr(address + 4, (int)strtoul(colon + 1, NULL, 10), (struct sockaddr_in *)&to),
         address);
    need(uv_tcp_init(&own->loop, &own->listener.tcp), "tcp");
    need(uv_tcp_bind(&own->listener.tcp, (const struct sockaddr *)&to, 0), address);
}

static void listen_other(struct echo_loop *own, const struct echo_loop *first)
{
    uv_os_fd_t fd = -1;

    need(uv_fileno((const uv_handle_t *)&first->listener.stream, &fd), "listener");
    fd = dup(fd);
    if (is_unix) {
        need(uv_pipe_init(&own->loop, &own->listener.pipe, 0), "pipe");
        need(uv_pipe_open(&own->listener.pipe, fd), "listener");
    } else {
        need(uv_tcp_init(&own->loop, &own->listener.tcp), "tcp");
        need(uv_tcp_open(&own->listener.tcp, fd), "listener");
    }
}

static void run_loop(void *data)
{
    struct echo_loop *own = data;

    own->listener.stream.data = own;
    need(uv_listen(&own->listener.stream, 1024, on_connection), "listen");
    (void)uv_run(&own->loop, UV_RUN_DEFAULT);
}

static size_t number(const char *text, size_t max)
{
    char *end = NULL;
    unsigned long long value = strtoull(text, &end, 10);

    if (*text == '\0' || *end != '\0' || value == 0 || value > max) {
        fprintf(stderr, "bench_echo: %s: not a number from 1 to %zu\n", text, max);
        exit(2);
    }
    return (size_t)value;
}

static size_t options_read(int argc, char **argv)
{
    size_t loops = 1;

    for (int i = 2; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--request") == 0) {
            request_bytes = number(argv[i + 1], READ_BYTES);
        } else if (strcmp(argv[i], "--reply") == 0) {
            reply_bytes = number(argv[i + 1], READ_BYTES);
        } else if (strcmp(argv[i], "--loops") == 0) {
            loops = number(argv[i + 1], LOOPS_MAX);
        } else {
            fprintf(stderr, "bench_echo: %s: no such option\n", argv[i]);
            exit(2);
        }
    }
    if ((request_bytes == 0) != (reply_bytes == 0) ||
        reply_bytes > request_bytes * (REPLY_RATIO - 1)) {
        fputs("bench_echo: give both --request and --reply, the reply at most 7 times as long\n",
              stderr);
        exit(2);
    }
    return loops;
}

int main(int argc, char **argv)
{
    struct echo_loop *loops;
    uv_thread_t threads[LOOPS_MAX];
    size_t count;

    if (argc < 2 || (strncmp(argv[1], "unix:", 5) != 0 && strncmp(argv[1], "tcp:", 4) != 0)) {
        fputs("usage: bench_echo (unix:PATH | tcp:HOST:PORT) [--request Q --reply R] [--loops N]\n",
              stderr);
        return 2;
    }
    is_unix = argv[1][0] == 'u';
    count = options_read(argc, argv);
    (void)signal(SIGPIPE, SIG_IGN);
    loops = take(count * sizeof(*loops));
    for (size_t i = 0; i < count; i++) {
        need(uv_loop_init(&loops[i].loop), "loop");
        loops[i].buffer = take(READ_BYTES * REPLY_RATIO);
        if (i == 0) {
            listen_first(&loops[i], argv[1]);
        } else {
            listen_other(&loops[i], &loops[0]);
        }
    }
    for (size_t i = 1; i < count; i++) {
        need(uv_thread_create(&threads[i], run_loop, &loops[i]), "thread");
    }
    run_loop(&loops[0]);
    return 0;
}
