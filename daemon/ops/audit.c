#include "ops/audit.h"

#include "ops/json.h"
#include "ops/utc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RETRY_MS     1000 /* between two tries on a disk that refused */
#define END_MS       2000 /* how long the end waits for the disk */
#define END_RETRY_MS 50
#define TAIL_BYTES   16 /* of a line: ,"cut":true}\n */
#define FD_NONE      (-1)
#define FD_LOG       (-2) /* the log's own output */

struct pawl_audit {
    const struct pawl_clock *clock;
    struct pawl_log_writer *writer;
    struct pawl_log log;
    struct pawl_subkey mask;
    pthread_t thread;

    pthread_mutex_t lock; /* of what follows, up to the line */
    pthread_cond_t wake;
    char *filling;
    size_t filled;
    uint64_t dropped_unsaid;
    int fd_next; /* commit puts it here; FD_NONE = nothing new */
    bool stop;
    /* -------- */

    char *writing; /* the thread's alone, and what follows */
    size_t written;
    size_t to_write;
    int fd;
    bool failing;

    int fd_prepared; /* the main loop's thread */
    uint64_t denied_max_prepared;

    _Atomic uint64_t lines, dropped, write_errors, not_written, waiting;
    _Atomic bool in_log;
    _Atomic uint64_t denied_max;
    _Atomic uint64_t denied_slot; /* second << 24 | denials written in it */
    _Atomic uint64_t denied_more; /* not written, and not said yet */
};

const char *pawl_audit_event_text(enum pawl_audit_event event)
{
    static const char *const texts[] = {
#define X(name, text) text,
        PAWL_AUDIT_EVENT_MAP(X)
#undef X
    };

    return (unsigned)event < PAWL_AUDIT_EVENTS ? texts[event] : "unknown";
}

/* ---- one line ------------------------------------------------------------------------------ */

static bool is_empty(const struct pawl_field *field)
{
    switch (field->type) {
    case PAWL_FIELD_TEXT:
        return field->value.text == NULL || field->value.text[0] == '\0';
    case PAWL_FIELD_BYTES:
    case PAWL_FIELD_MASKED:
        return field->value.bytes.size == 0;
    default:
        return false;
    }
}

static void put_field(const struct pawl_audit *audit, struct pawl_json *json,
                      const struct pawl_field *field)
{
    if (is_empty(field)) {
        return;
    }
    if (field->type == PAWL_FIELD_MASKED) {
        char masked[PAWL_MASK_BYTES];
        size_t size = pawl_mask(&audit->mask, field->value.bytes, masked);

        pawl_json_text(json, field->name, pawl_bytes_of(masked, size));
        return;
    }
    pawl_json_field(json, field);
}

static void put_peer(const struct pawl_audit *audit, struct pawl_json *json,
                     const struct pawl_audit_peer *peer)
{
    put_field(audit, json, &PAWL_F_TEXT("peer", peer->address));
    if (peer->uid >= 0) {
        put_field(audit, json, &PAWL_F_I64("uid", peer->uid));
    }
    put_field(audit, json, &PAWL_F_TEXT("peer_name", peer->client));
}

/* @line has PAWL_AUDIT_LINE_BYTES. Returns its size, end of line included. */
/* NOLINTNEXTLINE(readability-non-const-parameter): written through json */
static size_t build_line(const struct pawl_audit *audit, char *line, enum pawl_audit_event event,
                         const struct pawl_audit_peer *peer, const struct pawl_field *fields,
                         unsigned count)
{
    struct pawl_json json = { .data = line, .capacity = PAWL_AUDIT_LINE_BYTES - TAIL_BYTES };
    char time[PAWL_UTC_BYTES];

    pawl_utc_format_ms(pawl_clock_read(audit->clock).stamp.us / 1000, time);
    pawl_json_raw(&json, "{\"time\":\"");
    pawl_json_raw(&json, time);
    pawl_json_raw(&json, "\",\"level\":\"audit\"");
    put_field(audit, &json, &PAWL_F_TEXT("event", pawl_audit_event_text(event)));
    if (peer != NULL) {
        put_peer(audit, &json, peer);
    }
    for (unsigned i = 0; i < count; i++) {
        put_field(audit, &json, &fields[i]);
    }
    json.capacity += TAIL_BYTES;
    if (json.cut) {
        pawl_json_raw(&json, ",\"cut\":true");
    }
    pawl_json_raw(&json, "}\n");
    return json.used;
}

/* Under the lock. */
static bool append(struct pawl_audit *audit, const char *line, size_t size)
{
    if (size > PAWL_AUDIT_BUFFER_BYTES - audit->filled) {
        return false;
    }
    memcpy(audit->filling + audit->filled, line, size);
    audit->filled += size;
    (void)atomic_fetch_add_explicit(&audit->waiting, size, memory_order_relaxed);
    return true;
}

void pawl_audit_write(struct pawl_audit *audit, enum pawl_audit_event event,
                      const struct pawl_audit_peer *peer, const struct pawl_field *fields,
                      unsigned count)
{
    char line[PAWL_AUDIT_LINE_BYTES];

    if (audit == NULL) {
        return;
    }
    size_t size = build_line(audit, line, event, peer, fields, count);

    (void)pthread_mutex_lock(&audit->lock);
    if (append(audit, line, size)) {
        (void)pthread_cond_signal(&audit->wake);
    } else {
        audit->dropped_unsaid++;
        (void)atomic_fetch_add_explicit(&audit->dropped, 1, memory_order_relaxed);
    }
    (void)pthread_mutex_unlock(&audit->lock);
}

size_t pawl_audit_mask_key(const struct pawl_audit *audit, const struct pawl_bytes *parts,
                           size_t count, char *out, size_t capacity)
{
    return audit == NULL ? 0 : pawl_mask_parts(&audit->mask, parts, count, out, capacity);
}

/* ---- the thread ---------------------------------------------------------------------------- */

static const char *line_at(const struct pawl_audit *audit, size_t *size)
{
    const char *start = audit->writing + audit->written;
    const char *end = memchr(start, '\n', audit->to_write - audit->written);

    *size = end != NULL ? (size_t)(end - start) + 1 : audit->to_write - audit->written;
    return start;
}

static void note_failure(struct pawl_audit *audit, int error)
{
    (void)atomic_fetch_add_explicit(&audit->write_errors, 1, memory_order_relaxed);
    if (!audit->failing) {
        audit->failing = true;
        pawl_log_event(&audit->log, PAWL_LOG_ERROR, "audit_write_failed",
                       PAWL_F_I64("errno", error), PAWL_F_TEXT("why", strerrordesc_np(error)),
                       PAWL_F_TEXT("do", "make room or mend audit.file; it is tried again each "
                                         "second, and what does not fit is counted"));
    }
}

static void note_success(struct pawl_audit *audit)
{
    if (audit->failing) {
        audit->failing = false;
        pawl_log_event(&audit->log, PAWL_LOG_INFO, "audit_write_resumed",
                       PAWL_F_U64("dropped",
                                  atomic_load_explicit(&audit->dropped, memory_order_relaxed)));
    }
}

/* Without the lock. Returns the bytes that were taken, 0 = not now. */
static size_t write_some(struct pawl_audit *audit)
{
    size_t size = audit->to_write - audit->written;
    ssize_t wrote;

    if (audit->fd == FD_LOG) {
        const char *line = line_at(audit, &size);

        return pawl_log_writer_line(audit->writer, line, size, END_RETRY_MS) ? size : 0;
    }
    do {
        wrote = write(audit->fd, audit->writing + audit->written, size);
    } while (wrote < 0 && errno == EINTR);
    if (wrote <= 0) {
        note_failure(audit, wrote < 0 ? errno : EIO);
        return 0;
    }
    note_success(audit);
    return (size_t)wrote;
}

/* A line that got out in part begins anew in the new file. */
static void adopt_file(struct pawl_audit *audit)
{
    if (audit->fd_next == FD_NONE) {
        return;
    }
    if (audit->fd >= 0) {
        (void)close(audit->fd);
    }
    audit->fd = audit->fd_next;
    audit->fd_next = FD_NONE;
    while (audit->written > 0 && audit->written < audit->to_write &&
           audit->writing[audit->written - 1] != '\n') {
        audit->written--;
    }
}

/* Under the lock: what was filled is written next, and what was dropped is said behind it. */
static void take_filled(struct pawl_audit *audit)
{
    char *empty = audit->writing;

    if (audit->written < audit->to_write) {
        return;
    }
    audit->writing = audit->filling;
    audit->to_write = audit->filled;
    audit->written = 0;
    audit->filling = empty;
    audit->filled = 0;
    if (audit->dropped_unsaid > 0) {
        const struct pawl_field count = PAWL_F_U64("count", audit->dropped_unsaid);
        char line[PAWL_AUDIT_LINE_BYTES];
        size_t size = build_line(audit, line, PAWL_AUDIT_DROPPED, NULL, &count, 1);

        audit->dropped_unsaid = 0;
        (void)append(audit, line, size);
    }
}

/* Under the lock, which is let go meanwhile; @ms 0 = until somebody wakes us. */
static void sleep_ms(struct pawl_audit *audit, unsigned ms)
{
    struct timespec until;

    if (ms == 0) {
        (void)pthread_cond_wait(&audit->wake, &audit->lock);
        return;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)ms % 1000 * 1000000;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    /* New events wake us too early: the disk is not asked again for each of them. */
    while (pthread_cond_timedwait(&audit->wake, &audit->lock, &until) == 0 && !audit->stop &&
           audit->fd_next == FD_NONE) {
    }
}

static void write_out(struct pawl_audit *audit, unsigned *end_left_ms)
{
    size_t wrote;

    (void)pthread_mutex_unlock(&audit->lock);
    wrote = write_some(audit);
    for (size_t i = 0; i < wrote; i++) {
        if (audit->writing[audit->written + i] == '\n') {
            (void)atomic_fetch_add_explicit(&audit->lines, 1, memory_order_relaxed);
        }
    }
    audit->written += wrote;
    (void)atomic_fetch_sub_explicit(&audit->waiting, wrote, memory_order_relaxed);
    (void)pthread_mutex_lock(&audit->lock);
    if (wrote > 0) {
        return;
    }
    if (audit->stop) {
        *end_left_ms -= *end_left_ms < END_RETRY_MS ? *end_left_ms : END_RETRY_MS;
        (void)pthread_mutex_unlock(&audit->lock);
        (void)poll(NULL, 0, END_RETRY_MS);
        (void)pthread_mutex_lock(&audit->lock);
    } else {
        sleep_ms(audit, RETRY_MS);
    }
}

static void *thread_main(void *data)
{
    struct pawl_audit *audit = data;
    unsigned end_left_ms = END_MS;

    (void)pthread_mutex_lock(&audit->lock);
    for (;;) {
        adopt_file(audit);
        take_filled(audit);
        if (audit->fd != FD_NONE && audit->written < audit->to_write && end_left_ms > 0) {
            write_out(audit, &end_left_ms);
        } else if (audit->stop) {
            break;
        } else if (audit->filled == 0 || audit->fd == FD_NONE) {
            sleep_ms(audit, 0);
        }
    }
    (void)pthread_mutex_unlock(&audit->lock);
    return NULL;
}

/* ---- life ---------------------------------------------------------------------------------- */

static int start_thread(struct pawl_audit *audit)
{
    sigset_t all;
    sigset_t before;
    int result;

    (void)sigfillset(&all); /* signals are the main loop's */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    result = pthread_create(&audit->thread, NULL, thread_main, audit);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

static bool init_locks(struct pawl_audit *audit)
{
    pthread_condattr_t attributes;

    if (pthread_condattr_init(&attributes) != 0) {
        return false;
    }
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    bool good = pthread_cond_init(&audit->wake, &attributes) == 0 &&
                pthread_mutex_init(&audit->lock, NULL) == 0;

    (void)pthread_condattr_destroy(&attributes);
    return good;
}

static void free_all(struct pawl_audit *audit)
{
    free(audit->filling);
    free(audit->writing);
    pawl_wipe(&audit->mask, sizeof(audit->mask));
    free(audit);
}

enum pawl_status pawl_audit_create(struct pawl_audit **out,
                                   const struct pawl_audit_options *options)
{
    struct pawl_audit *audit = calloc(1, sizeof(*audit));

    *out = NULL;
    if (audit == NULL) {
        return PAWL_ENOMEM;
    }
    audit->clock = options->clock;
    audit->writer = options->writer;
    audit->log = pawl_log_writer_sink(options->writer);
    audit->mask = *options->mask;
    audit->fd = audit->fd_next = audit->fd_prepared = FD_NONE;
    audit->filling = malloc(PAWL_AUDIT_BUFFER_BYTES);
    audit->writing = malloc(PAWL_AUDIT_BUFFER_BYTES);
    if (audit->filling == NULL || audit->writing == NULL || !init_locks(audit)) {
        free_all(audit);
        return PAWL_ENOMEM;
    }
    if (start_thread(audit) != 0) {
        (void)pthread_cond_destroy(&audit->wake);
        (void)pthread_mutex_destroy(&audit->lock);
        free_all(audit);
        return PAWL_EIO;
    }
    *out = audit;
    return PAWL_OK;
}

void pawl_audit_destroy(struct pawl_audit *audit)
{
    if (audit == NULL) {
        return;
    }
    pawl_audit_tick(audit);
    (void)pthread_mutex_lock(&audit->lock);
    audit->stop = true;
    (void)pthread_cond_signal(&audit->wake);
    (void)pthread_mutex_unlock(&audit->lock);
    (void)pthread_join(audit->thread, NULL);
    if (audit->fd >= 0) {
        (void)fdatasync(audit->fd);
        (void)close(audit->fd);
    }
    pawl_audit_abort(audit);
    (void)pthread_cond_destroy(&audit->wake);
    (void)pthread_mutex_destroy(&audit->lock);
    free_all(audit);
}

/* ---- the file ------------------------------------------------------------------------------ */

/* A line that a crash cut off in the middle is ended, so that the next one stands alone. */
static void end_torn_line(int fd, const char *file, off_t size)
{
    int reading = size > 0 ? open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
    char last = '\n';

    if (reading >= 0) {
        if (pread(reading, &last, 1, size - 1) == 1 && last != '\n') {
            (void)!write(fd, "\n", 1); /* what fails here fails at the first event, and is said */
        }
        (void)close(reading);
    }
}

static enum pawl_status open_file(const char *file, int *out, struct pawl_error *error)
{
    struct stat info;
    /* Not waiting: a FIFO without a reader must not hold the start up. */
    int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);

    if (fd < 0) {
        return pawl_error_set(error, errno == EACCES ? PAWL_EPERM : PAWL_EIO, errno,
                              "audit.file %s: %s; its folder has to be there and writable for "
                              "pawld's user; in the sandbox a folder of its own needs a restart",
                              file, strerrordesc_np(errno));
    }
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
        end_torn_line(fd, file, info.st_size);
    }
    *out = fd;
    return PAWL_OK;
}

enum pawl_status pawl_audit_prepare(struct pawl_audit *audit,
                                    const struct pawl_audit_settings *settings,
                                    struct pawl_error *error)
{
    pawl_audit_abort(audit);
    if (settings->file[0] == '\0') {
        audit->fd_prepared = FD_LOG;
    } else {
        enum pawl_status status = open_file(settings->file, &audit->fd_prepared, error);

        if (status != PAWL_OK) {
            return status;
        }
    }
    audit->denied_max_prepared = settings->denied_per_s;
    return PAWL_OK;
}

void pawl_audit_commit(struct pawl_audit *audit)
{
    int unused = FD_NONE;

    atomic_store_explicit(&audit->denied_max, audit->denied_max_prepared, memory_order_relaxed);
    (void)pthread_mutex_lock(&audit->lock);
    unused = audit->fd_next; /* of a commit that the thread has not taken up yet */
    audit->fd_next = audit->fd_prepared;
    atomic_store_explicit(&audit->in_log, audit->fd_next == FD_LOG, memory_order_relaxed);
    audit->fd_prepared = FD_NONE;
    (void)pthread_cond_signal(&audit->wake);
    (void)pthread_mutex_unlock(&audit->lock);
    if (unused >= 0) {
        (void)close(unused);
    }
}

bool pawl_audit_in_log(const struct pawl_audit *audit)
{
    return audit != NULL && atomic_load_explicit(&audit->in_log, memory_order_relaxed);
}

void pawl_audit_abort(struct pawl_audit *audit)
{
    if (audit->fd_prepared >= 0) {
        (void)close(audit->fd_prepared);
    }
    audit->fd_prepared = FD_NONE;
}

/* ---- denials ------------------------------------------------------------------------------- */

#define SLOT_BITS 24

bool pawl_audit_may_deny(struct pawl_audit *audit, struct pawl_instant now)
{
    uint64_t second = now.ns / 1000000000;
    uint64_t max;
    uint64_t slot;

    if (audit == NULL) {
        return false;
    }
    max = atomic_load_explicit(&audit->denied_max, memory_order_relaxed);
    slot = atomic_load_explicit(&audit->denied_slot, memory_order_relaxed);
    for (;;) {
        uint64_t used = slot >> SLOT_BITS == second ? slot & ((1U << SLOT_BITS) - 1) : 0;

        if (used >= max) {
            (void)atomic_fetch_add_explicit(&audit->denied_more, 1, memory_order_relaxed);
            return false;
        }
        if (atomic_compare_exchange_weak_explicit(&audit->denied_slot, &slot,
                                                  second << SLOT_BITS | (used + 1),
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return true;
        }
    }
}

void pawl_audit_tick(struct pawl_audit *audit)
{
    uint64_t more =
        audit != NULL ? atomic_exchange_explicit(&audit->denied_more, 0, memory_order_relaxed) : 0;

    if (more > 0) {
        (void)atomic_fetch_add_explicit(&audit->not_written, more, memory_order_relaxed);
        pawl_audit_event(audit, PAWL_AUDIT_DENIED_MORE, NULL, PAWL_F_U64("count", more));
    }
}

void pawl_audit_stats(struct pawl_audit *audit, const struct pawl_stats_sink *sink)
{
    sink->number(sink->self, "audit_lines", atomic_load(&audit->lines));
    sink->number(sink->self, "audit_dropped", atomic_load(&audit->dropped));
    sink->number(sink->self, "audit_denied_not_written", atomic_load(&audit->not_written));
    sink->number(sink->self, "audit_write_errors", atomic_load(&audit->write_errors));
    sink->number(sink->self, "audit_waiting_bytes", atomic_load(&audit->waiting));
}
