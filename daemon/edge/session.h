/*
 * One connection: frames out of bytes, replies into as few writes as can be, and the limits that
 * keep one peer from hurting the others.
 *
 *            bytes, eof          owed nothing, all written        peer's eof, 500 ms
 *   OPEN ------------------> FINISHING ------------------> LINGERING ------------> CLOSED
 *     |   finish(), bad frame    |      final goaway, FIN (TCP)                      ^
 *     +--------------------------+------- peer gone, not reading, too slow ----------+
 *
 * OPEN is read from unless it is blocked: output waits for the peer, or in_flight_max requests wait
 * for replies. Input that cannot be handled then stays in the session's buffer. CLOSED is invisible
 * to pawl_session_find(); memory goes with the worker's reap list after the handle has died.
 *
 * What a session holds when nothing is under way: itself, about 0.8 KiB, and no buffer.
 *
 * All of it belongs to the worker's thread. The calls the dispatcher makes are in handler.h.
 */
#ifndef PAWL_EDGE_SESSION_H
#define PAWL_EDGE_SESSION_H

#include "edge/buffer.h"
#include "edge/deadline.h"
#include "edge/handler.h"
#include "edge/identity.h"
#include "edge/transport.h"

#define PAWL_SESSION_USER_BYTES  80
#define PAWL_SESSION_GUESSES_MAX 3 /* wrong credentials before the connection is closed */

enum pawl_session_state {
    PAWL_SESSION_OPEN = 1,
    PAWL_SESSION_FINISHING,
    PAWL_SESSION_LINGERING,
    PAWL_SESSION_CLOSED,
};

struct pawl_session {
    struct pawl_transport transport; /* first: events find the session by its address */
    struct pawl_worker *worker;
    enum pawl_session_state state;
    struct pawl_ticket ticket;
    struct pawl_identity identity;
    uint64_t guard_serial; /* of the worker's guard that @identity was judged by */
    int64_t uid;           /* of a Unix peer; -1 = not known */
    unsigned guesses;      /* wrong credentials so far */
    bool is_tcp;           /* or TLS over it */
    bool is_tls;
    bool is_secured;      /* the handshake is done */
    bool handshaking;     /* nothing may be written or read yet; @pace is the handshake's */
    bool dirty;           /* on the worker's list of sessions to step at the end of the turn */
    bool busy;            /* in consume: a step is due when it returns */
    bool paused;          /* OPEN but not read from */
    bool doomed;          /* refused room for output: close without ado */
    bool peer_end;        /* the peer sends nothing more */
    bool starved;         /* no buffer to be had for input */
    bool parted;          /* the final goaway is written */
    const char *farewell; /* reason in the final goaway */

    struct pawl_buffer *input; /* bytes of a frame that is not whole, or not handled yet */
    uint64_t turn;             /* of turn_bytes */
    size_t turn_bytes;         /* read in that turn */
    uint64_t arrival_ms;       /* batch clock of the bytes in @input */
    uint64_t read_ms;          /* loop time of the last byte */

    struct pawl_buffer *output; /* oldest first */
    struct pawl_buffer *output_last;
    size_t output_bytes;  /* in the chain */
    size_t writing_bytes; /* of them under way; 0 = no write started */

    unsigned owed;    /* replies that come later */
    uint64_t last_id; /* highest request id begun */

    struct pawl_deadline pace; /* frame, finish or linger: one at a time */
    struct pawl_deadline write;
    struct pawl_deadline idle;

    const uint8_t *gathered_data; /* in the worker's read buffer (session_gather.c) ... */
    size_t gathered_bytes;        /* ... so much; 0: nothing is gathered */
    struct pawl_session *gathered_next;
    struct pawl_session *dirty_next;
    struct pawl_session *reap_next;
    _Alignas(16) uint8_t user[PAWL_SESSION_USER_BYTES];
};

/** A connection, and what is known of its peer before it has said anything. */
struct pawl_arrival {
    int fd;
    bool is_tcp; /* or TLS over it */
    bool is_tls;
    bool by_uid;   /* @base is what its uid gives it */
    unsigned cap;  /* the most it may ever do; bits of pawl_role */
    unsigned base; /* what it may do without a proof */
    int64_t uid;   /* -1 = not known */
};

/**
 * Begin a session on @arrival's descriptor, which is taken over in any case. The caller has counted
 * it in pawl_worker.assigned and pawl_edge.connections; it is uncounted here if it cannot be begun.
 */
void pawl_session_open(struct pawl_worker *worker, const struct pawl_arrival *arrival);

/** From OPEN to FINISHING: the final goaway says @why, a literal. Step it afterwards. */
void pawl_session_part(struct pawl_session *session, const char *why);

/** Say in the log, at most once a second, why a peer is closed, and count it in @stat. */
void pawl_session_blame(struct pawl_session *session, _Atomic uint64_t *stat, const char *why);

/** Do what is due: write, read on or pause, finish. Never from inside a handler's call. */
void pawl_session_step(struct pawl_session *session);

/** Close now; pending output is lost. Nothing if it is closed. */
void pawl_session_close(struct pawl_session *session);

/** Send the first goaway of a drain: last_id UINT64_MAX. */
void pawl_session_drain(struct pawl_session *session);

/** Finish if it has been quiet for @quiet_ms, or at once where @quiet_ms is 0. */
void pawl_session_drain_check(struct pawl_session *session, uint64_t quiet_ms);

/** Handle @size bytes that were read, and after their batch have the replies written. */
void pawl_session_take(struct pawl_session *session, const uint8_t *data, size_t size);
void pawl_session_taken(struct pawl_session *session);

/* ---- session_gather.c ---- */

/**
 * Put @size bytes at @data, in the worker's read buffer, off until pawl_worker_settle(). False: not
 * such ones, they are to be handled at once.
 */
PAWL_MUST_USE bool pawl_session_gather(struct pawl_session *session, const uint8_t *data,
                                       size_t size);

/* ---- session_guard.c: who the peer is ---- */

/** Make room for one more handshake, and begin it. False: the session cannot go on. */
PAWL_MUST_USE bool pawl_session_secure(struct pawl_session *session);

/** The handshake is done: judge the certificate. */
void pawl_session_opened(struct pawl_session *session);

/** A handshake that was under way is not any more, whatever became of it. */
void pawl_session_shaken(struct pawl_session *session);

/**
 * The connection of a handshake has failed: count it, and say why. True: the peer is being told,
 * and gets a moment to read it; else close.
 */
PAWL_MUST_USE bool pawl_session_failed(struct pawl_session *session);

/** Judge @session by the worker's guard of now, where it was judged by another. */
void pawl_session_review(struct pawl_session *session);

/* ---- session_deadlines.c ---- */

/** Close those whose deadlines have passed; the worker's tick. */
void pawl_session_expire(struct pawl_worker *worker);

#endif
