#include "ops/log.h"

#include "ops/json.h"
#include "ops/utc.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TAIL_BYTES 96 /* kept free for cut, repeated, dropped and the end of the line */

/** A line under way. The first byte of data is for the end of a line that got out in part. */
struct line {
    char data[PAWL_LOG_LINE_BYTES_MAX];
    struct pawl_json json;
    size_t said_at; /* where what it says begins, behind the time */
};

const char *pawl_log_level_text(enum pawl_log_level level)
{
    switch (level) {
    case PAWL_LOG_DEBUG:
        return "debug";
    case PAWL_LOG_INFO:
        return "info";
    case PAWL_LOG_WARN:
        return "warn";
    case PAWL_LOG_ERROR:
    default:
        return "error";
    }
}

/* ---- one line ------------------------------------------------------------------------------ */

static struct pawl_bytes bytes_of_text(const char *text)
{
    return pawl_bytes_of(text, text != NULL ? strlen(text) : 0);
}

static void build_line(struct line *line, struct pawl_now now, enum pawl_log_level level,
                       const char *event, const struct pawl_field *fields, unsigned count)
{
    struct pawl_json *json = &line->json;
    char time[PAWL_UTC_BYTES];
    unsigned i;

    json->data = line->data + 1;
    json->capacity = sizeof(line->data) - 1 - TAIL_BYTES;
    json->used = 0;
    json->cut = false;
    pawl_utc_format_ms(now.stamp.us / 1000, time);
    pawl_json_raw(json, "{\"time\":\"");
    pawl_json_raw(json, time);
    pawl_json_raw(json, "\"");
    line->said_at = json->used;
    pawl_json_text(json, "level", bytes_of_text(pawl_log_level_text(level)));
    pawl_json_text(json, "event", bytes_of_text(event));
    for (i = 0; i < count; i++) {
        pawl_json_field(json, &fields[i]);
    }
}

/** FNV-1a of what the line says, time apart. */
static uint64_t hash_line(const struct line *line)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    size_t i;

    for (i = line->said_at; i < line->json.used; i++) {
        hash = (hash ^ (uint8_t)line->json.data[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

/** Whether @fd takes a line now. A reader that stands still must not stop the daemon. */
static bool is_writable(int fd, unsigned wait_ms)
{
    struct pollfd waiting = { .fd = fd, .events = POLLOUT };

    return poll(&waiting, 1, (int)wait_ms) == 1;
}

/** All of it at once or not at all, as far as that is ours to say. */
static bool send_bytes(struct pawl_log_writer *writer, const char *start, size_t size)
{
    ssize_t wrote = -1;

    if (is_writable(writer->fd, 0)) {
        do {
            wrote = write(writer->fd, start, size);
        } while (wrote < 0 && errno == EINTR);
    }
    if (wrote == (ssize_t)size) {
        writer->torn = false;
        (void)atomic_fetch_add_explicit(&writer->lines_total, 1, memory_order_relaxed);
        return true;
    }
    writer->torn = writer->torn || wrote > 0;
    return false;
}

static void send_line(struct pawl_log_writer *writer, struct line *line, uint64_t repeated)
{
    struct pawl_json *json = &line->json;
    char number[24];
    const char *start;
    size_t size;

    json->capacity += TAIL_BYTES;
    if (json->cut) {
        pawl_json_raw(json, ",\"cut\":true");
    }
    if (repeated > 0) {
        (void)snprintf(number, sizeof(number), "%" PRIu64, repeated);
        pawl_json_plain(json, "repeated", number);
    }
    if (writer->dropped > 0) {
        (void)snprintf(number, sizeof(number), "%" PRIu64, writer->dropped);
        pawl_json_plain(json, "dropped", number);
    }
    pawl_json_raw(json, "}\n");
    line->data[0] = '\n';
    start = writer->torn ? line->data : line->data + 1;
    size = json->used + (writer->torn ? 1 : 0);
    if (send_bytes(writer, start, size)) {
        writer->dropped = 0;
        return;
    }
    writer->dropped++;
    (void)atomic_fetch_add_explicit(&writer->dropped_total, 1, memory_order_relaxed);
}

/* ---- repeats ------------------------------------------------------------------------------- */

static void say_suppressed(struct pawl_log_writer *writer, struct pawl_log_repeat *repeat,
                           struct pawl_now now)
{
    struct line line;

    if (repeat->suppressed > 0) {
        build_line(&line, now, repeat->level, repeat->event, NULL, 0);
        send_line(writer, &line, repeat->suppressed);
        repeat->suppressed = 0;
    }
}

/** The entry of this event and level; the oldest makes room where there is none. */
static struct pawl_log_repeat *find_repeat(struct pawl_log_writer *writer,
                                           enum pawl_log_level level, const char *event,
                                           struct pawl_now now)
{
    struct pawl_log_repeat *oldest = &writer->repeats[0];
    size_t i;

    for (i = 0; i < PAWL_LOG_REPEATS_MAX; i++) {
        struct pawl_log_repeat *repeat = &writer->repeats[i];

        if (repeat->level == level && repeat->event[0] != '\0' &&
            strncmp(repeat->event, event, sizeof(repeat->event) - 1) == 0) {
            return repeat;
        }
        if (repeat->since_ms < oldest->since_ms) {
            oldest = repeat;
        }
    }
    say_suppressed(writer, oldest, now);
    memset(oldest, 0, sizeof(*oldest));
    (void)snprintf(oldest->event, sizeof(oldest->event), "%s", event);
    oldest->level = level;
    return oldest;
}

static void suppress(struct pawl_log_writer *writer, struct pawl_log_repeat *repeat)
{
    repeat->suppressed++;
    (void)atomic_fetch_add_explicit(&writer->repeated_total, 1, memory_order_relaxed);
}

static void collapse_or_send(struct pawl_log_writer *writer, struct pawl_now now,
                             enum pawl_log_level level, const char *event,
                             const struct pawl_field *fields, unsigned count)
{
    struct pawl_log_repeat *repeat = find_repeat(writer, level, event, now);
    uint64_t now_ms = now.instant.ns / 1000000;
    struct line line;
    uint64_t hash;

    if (repeat->lines > 0 && now_ms - repeat->since_ms >= PAWL_LOG_WINDOW_MS) {
        repeat->lines = 0; /* a time that went back is far ahead here: a new second, too */
    }
    if (repeat->lines >= PAWL_LOG_BURST) {
        suppress(writer, repeat);
        return;
    }
    build_line(&line, now, level, event, fields, count);
    hash = hash_line(&line);
    if (repeat->lines > 0 && hash == repeat->last_hash) {
        suppress(writer, repeat);
        return;
    }
    if (repeat->lines == 0) {
        repeat->since_ms = now_ms;
    }
    repeat->lines++;
    repeat->last_hash = hash;
    send_line(writer, &line, repeat->suppressed);
    repeat->suppressed = 0;
}

/* ---- the sink ------------------------------------------------------------------------------ */

static void on_event(void *self, enum pawl_log_level level, const char *event,
                     const struct pawl_field *fields, unsigned count)
{
    struct pawl_log_writer *writer = self;
    int saved_errno = errno; /* callers log before they look at it */
    struct pawl_now now;
    struct line line;

    if ((unsigned)level < atomic_load_explicit(&writer->level, memory_order_relaxed)) {
        return;
    }
    now = pawl_clock_read(writer->clock);
    (void)pthread_mutex_lock(&writer->lock);
    if (writer->keep_all) {
        build_line(&line, now, level, event, fields, count);
        send_line(writer, &line, 0);
    } else {
        collapse_or_send(writer, now, level, event, fields, count);
    }
    (void)pthread_mutex_unlock(&writer->lock);
    errno = saved_errno;
}

enum pawl_status pawl_log_writer_init(struct pawl_log_writer *writer,
                                      const struct pawl_log_options *options)
{
    memset(writer, 0, sizeof(*writer));
    writer->fd = options->fd;
    writer->keep_all = options->keep_all;
    writer->clock = options->clock;
    atomic_init(&writer->level, (unsigned)options->level);
    return pthread_mutex_init(&writer->lock, NULL) == 0 ? PAWL_OK : PAWL_ENOMEM;
}

static void say_all(struct pawl_log_writer *writer, bool also_young)
{
    struct pawl_now now = pawl_clock_read(writer->clock);
    uint64_t now_ms = now.instant.ns / 1000000;
    size_t i;

    (void)pthread_mutex_lock(&writer->lock);
    for (i = 0; i < PAWL_LOG_REPEATS_MAX; i++) {
        struct pawl_log_repeat *repeat = &writer->repeats[i];

        if (also_young || now_ms - repeat->since_ms >= PAWL_LOG_WINDOW_MS) {
            say_suppressed(writer, repeat, now);
        }
    }
    (void)pthread_mutex_unlock(&writer->lock);
}

void pawl_log_writer_deinit(struct pawl_log_writer *writer)
{
    say_all(writer, true);
    (void)pthread_mutex_destroy(&writer->lock);
}

bool pawl_log_writer_line(struct pawl_log_writer *writer, const char *line, size_t size,
                          unsigned wait_ms)
{
    bool taken = is_writable(writer->fd, wait_ms);

    if (taken) {
        (void)pthread_mutex_lock(&writer->lock);
        taken = (!writer->torn || send_bytes(writer, "\n", 1)) && send_bytes(writer, line, size);
        (void)pthread_mutex_unlock(&writer->lock);
    }
    return taken;
}

struct pawl_log pawl_log_writer_sink(struct pawl_log_writer *writer)
{
    struct pawl_log log = { on_event, writer };

    return log;
}

void pawl_log_writer_set_level(struct pawl_log_writer *writer, enum pawl_log_level level)
{
    atomic_store_explicit(&writer->level, (unsigned)level, memory_order_relaxed);
}

void pawl_log_writer_flush(struct pawl_log_writer *writer)
{
    say_all(writer, false);
}

void pawl_log_writer_stats(struct pawl_log_writer *writer, const struct pawl_stats_sink *sink)
{
    sink->number(sink->self, "log_lines", atomic_load(&writer->lines_total));
    sink->number(sink->self, "log_repeated", atomic_load(&writer->repeated_total));
    sink->number(sink->self, "log_dropped", atomic_load(&writer->dropped_total));
}
