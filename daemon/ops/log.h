/*
 * The log: port/log.h as lines of JSON on a descriptor, one write(2) a line.
 *
 *   {"time":"2025-12-31T23:59:59.123Z","level":"warn","event":"store_frozen","file":"pawl.db"}
 *
 * Time comes first, then level and event, then the event's fields in the order given. Bytes that
 * are no UTF-8 appear as U+FFFD. A line has at most PAWL_LOG_LINE_BYTES_MAX bytes: a text that
 * does not fit is cut, and the line says "cut":true.
 *
 * Repeats are counted, not repeated. Of one event and level, within a second from its first line:
 * a line equal to the last one is not printed, nor is any line after the tenth. The next line of
 * that event says how many there were: "repeated":n. pawl_log_writer_flush() says it where no
 * such line comes.
 *
 * The log never waits for its reader: a line that the descriptor does not take at once is dropped,
 * and the next one that gets through says "dropped":n.
 *
 * Lines of the audit log (ops/audit.h) come whole and are never collapsed.
 */
#ifndef PAWL_OPS_LOG_H
#define PAWL_OPS_LOG_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/status.h"
#include "port/clock.h"
#include "port/log.h"
#include "port/stats.h"

#define PAWL_LOG_LINE_BYTES_MAX 4096 /* a pipe takes so much whole or not at all */
#define PAWL_LOG_EVENT_BYTES    48   /* of an event's name that count for repeats */
#define PAWL_LOG_REPEATS_MAX    64   /* events watched for repeats at a time */
#define PAWL_LOG_BURST          10   /* lines of one event and level in a second */
#define PAWL_LOG_WINDOW_MS      1000

struct pawl_log_options {
    int fd;                         /* not closed by the writer */
    enum pawl_log_level level;      /* less important lines are not written */
    bool keep_all;                  /* do not collapse repeats */
    const struct pawl_clock *clock; /* kept: must outlive the writer */
};

/** Private. */
struct pawl_log_repeat {
    char event[PAWL_LOG_EVENT_BYTES]; /* "" = free */
    enum pawl_log_level level;
    uint64_t since_ms;   /* monotonic, of the first line of this second */
    unsigned lines;      /* printed since then */
    uint64_t suppressed; /* not printed since the last that was */
    uint64_t last_hash;  /* of what the last one said */
};

/** Fields are private. */
struct pawl_log_writer {
    pthread_mutex_t lock;
    int fd;
    _Atomic unsigned level;
    bool keep_all;
    bool torn; /* the last line got out in part */
    const struct pawl_clock *clock;
    struct pawl_log_repeat repeats[PAWL_LOG_REPEATS_MAX];
    uint64_t dropped; /* since the last line that got through */
    _Atomic uint64_t lines_total, repeated_total, dropped_total;
};

/** Prepare @writer. PAWL_OK or PAWL_ENOMEM. */
PAWL_MUST_USE enum pawl_status pawl_log_writer_init(struct pawl_log_writer *writer,
                                                    const struct pawl_log_options *options);

/** Say what was counted and end; nobody may log any more. */
void pawl_log_writer_deinit(struct pawl_log_writer *writer);

/** The sink for everybody else; any thread, as long as @writer lives. */
struct pawl_log pawl_log_writer_sink(struct pawl_log_writer *writer);

/**
 * Write @line, whole and with its end of line, PAWL_LOG_LINE_BYTES_MAX at most, as it is. Any
 * thread. False when it was not taken now: @wait_ms is how long that may be waited for at most,
 * with no lock held.
 */
bool pawl_log_writer_line(struct pawl_log_writer *writer, const char *line, size_t size,
                          unsigned wait_ms);

/** After a reload. Any thread. */
void pawl_log_writer_set_level(struct pawl_log_writer *writer, enum pawl_log_level level);

/** Say the counts of repeats whose second is over; to be called about once a second. Any thread. */
void pawl_log_writer_flush(struct pawl_log_writer *writer);

/** log_lines, log_repeated, log_dropped. Any thread. */
void pawl_log_writer_stats(struct pawl_log_writer *writer, const struct pawl_stats_sink *sink);

/** "debug", "info", "warn", "error". */
const char *pawl_log_level_text(enum pawl_log_level level);

#endif
