/*
 * The audit log: what a security team reads. One JSON object a line, in the order in which things
 * happened, and no line stands for others but the sampled denials, which say so.
 *
 *   {"time":"2026-01-31T23:59:59.123Z","level":"audit","event":"revoked","ns":"default",
 *    "scope":"subject","value":"al***5f0c1a9e","reason":"logout_all","peer":"unix","uid":1000,...}
 *
 * It goes to audit.file (appended to, made with mode 0600, opened anew by each reload, for
 * logrotate) or, where none is set, to the log's own output. Identities (fields of type
 * PAWL_FIELD_MASKED) are masked by core/mask.h before they enter the buffer. Addresses and names of
 * our own servers are no such identities: they stand in clear.
 *
 * Nobody waits for the disk: events go into a buffer of fixed size, and a thread of the audit's own
 * writes it out. While the disk is full or gone that thread tries again each second. What does not
 * fit meanwhile is counted (audit_dropped), said in the log, and said in the audit log itself by a
 * line "audit_dropped" as soon as one can be written.
 *
 * Life: pawl_audit_create -> events from any thread -> prepare and commit (or abort) at start and
 * at each reload -> pawl_audit_destroy, which writes out what is there. Events from before the
 * first commit wait in the buffer.
 */
#ifndef PAWL_OPS_AUDIT_H
#define PAWL_OPS_AUDIT_H

#include "core/mask.h"
#include "core/status.h"
#include "ops/log.h"
#include "ops/settings.h"
#include "port/clock.h"
#include "port/log.h"
#include "port/stats.h"

#define PAWL_AUDIT_BUFFER_BYTES \
    ((size_t)256 * 1024)            /* that wait; as many again are being written */
#define PAWL_AUDIT_LINE_BYTES  2048 /* of one line; a text that does not fit is cut */
#define PAWL_AUDIT_ADDRESS_MAX 64
#define PAWL_AUDIT_CLIENT_MAX  128

/** What is written: a closed list. */
#define PAWL_AUDIT_EVENT_MAP(X)                                                                \
    X(REVOKED, "revoked") /* a token, family, subject, client, key, namespace */               \
    X(UNREVOKED, "unrevoked")                                                                  \
    X(FAMILY_ENDED, "family_ended")       /* log-out */                                        \
    X(REUSE, "refresh_token_reuse")       /* a superseded refresh token came again: theft */   \
    X(MISMATCH, "refresh_token_mismatch") /* a refresh token came from another client */       \
    X(STATE_LOST, "refresh_state_lost")                                                        \
    X(CLOCK_AHEAD, "refresh_clock_ahead")                                                      \
    X(ADMIN, "admin_call") /* any request that wants the role admin, before it is done */      \
    X(RESET, "reset")      /* a limit forgot a key */                                          \
    X(THAW, "thaw")                                                                            \
    X(FORBIDDEN, "forbidden")               /* a request without the role it needs */          \
    X(AUTH_FAILED, "authentication_failed") /* a wrong credential or certificate */            \
    X(DENIED, "denied")                     /* sampled: audit.denied_per_second */             \
    X(DENIED_MORE, "denied_more")           /* how many denials were not written */            \
    X(RELOADED, "reloaded")                                                                    \
    X(RELOAD_REFUSED, "reload_refused")                                                        \
    X(KEYS_CHANGED, "keys_changed") /* of token verification */                                \
    X(MEMBERS, "members")     /* of the fleet: joined, leaving, left, dead; panic, expelled */ \
    X(ENGINE_UP, "engine_up") /* the engine of the fleet answers, or another one does */       \
    X(ENGINE_DOWN, "engine_down")                                                              \
    X(ENGINE_EMPTIED, "engine_emptied")                                                        \
    X(LOST_TAIL, "lost_tail") /* the engine had forgotten what it acknowledged */              \
    X(STARTED, "started")                                                                      \
    X(STOPPED, "stopped")                                                                      \
    X(DROPPED, "audit_dropped")

enum pawl_audit_event {
#define X(name, text) PAWL_AUDIT_##name,
    PAWL_AUDIT_EVENT_MAP(X)
#undef X
    PAWL_AUDIT_EVENTS
};

/** Who asked. */
struct pawl_audit_peer {
    char address[PAWL_AUDIT_ADDRESS_MAX]; /* "unix", "tcp:10.0.0.7:51234"; "" = not known */
    char client[PAWL_AUDIT_CLIENT_MAX];   /* of its credential or certificate; "" = none */
    int64_t uid;                          /* of a Unix peer; -1 = not known */
};

struct pawl_audit_options {
    struct pawl_log_writer *writer; /* kept: where audit.file is "", and for drops and faults */
    const struct pawl_clock *clock; /* kept */
    const struct pawl_subkey *mask; /* copied */
};

struct pawl_audit; /* private */

/** Make the buffer and start its thread. PAWL_OK, PAWL_ENOMEM, PAWL_EIO (no thread). */
PAWL_MUST_USE enum pawl_status pawl_audit_create(struct pawl_audit **out,
                                                 const struct pawl_audit_options *options);

/** Write out what waits, for two seconds at most, and end. NULL is allowed. */
void pawl_audit_destroy(struct pawl_audit *audit);

/**
 * Open what @settings name, beside what is in use. On failure @error says which file and what to
 * do, and nothing is kept. One thread at a time for these three: the main loop's.
 */
PAWL_MUST_USE enum pawl_status pawl_audit_prepare(struct pawl_audit *audit,
                                                  const struct pawl_audit_settings *settings,
                                                  struct pawl_error *error);
void pawl_audit_commit(struct pawl_audit *audit);
void pawl_audit_abort(struct pawl_audit *audit);

/**
 * Write one line. Any thread; takes a lock for a copy of the line, never waits for the disk.
 *
 * @audit   NULL is allowed: then nothing happens.
 * @peer    NULL where nobody asked.
 * @fields  empty texts, bytes and masked values are left out.
 */
void pawl_audit_write(struct pawl_audit *audit, enum pawl_audit_event event,
                      const struct pawl_audit_peer *peer, const struct pawl_field *fields,
                      unsigned count);

/** pawl_audit_event(audit, PAWL_AUDIT_RESET, &peer, PAWL_F_TEXT("limit", name), ...); */
#define pawl_audit_event(audit, event, peer, ...)                                             \
    do {                                                                                      \
        const struct pawl_field pawl_audit_fields_[] = { __VA_ARGS__ };                       \
        pawl_audit_write((audit), (event), (peer), pawl_audit_fields_,                        \
                         (unsigned)(sizeof(pawl_audit_fields_) / sizeof(struct pawl_field))); \
    } while (0)

/**
 * Mask the parts of a limit's key into @out (@capacity, 2 * PAWL_MASK_BYTES at least). Returns the
 * bytes written; 0 without @audit.
 */
size_t pawl_audit_mask_key(const struct pawl_audit *audit, const struct pawl_bytes *parts,
                           size_t count, char *out, size_t capacity);

/**
 * Whether this denial is one of the audit.denied_per_second that are written in this second;
 * counts it where it is not. Cheap. Any thread. NULL @audit: false.
 */
bool pawl_audit_may_deny(struct pawl_audit *audit, struct pawl_instant now);

/** Once a second: says how many denials were not written. Any thread. NULL is allowed. */
void pawl_audit_tick(struct pawl_audit *audit);

/** audit_lines, audit_dropped, audit_denied_not_written, audit_write_errors, audit_waiting_bytes.
 * Any thread. */
void pawl_audit_stats(struct pawl_audit *audit, const struct pawl_stats_sink *sink);

/** Whether its lines come out among those of the log: no need to say there what is said here. */
bool pawl_audit_in_log(const struct pawl_audit *audit);

/** The word of @event. */
const char *pawl_audit_event_text(enum pawl_audit_event event);

#endif
