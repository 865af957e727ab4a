/*
 * The seam between the two halves of the edge: the network (loops, listeners, sessions, frames)
 * and the dispatcher (what a request means). The network knows nothing of checks; the dispatcher
 * knows nothing of sockets.
 *
 * Life of a read on one worker: bytes arrive -> on_batch -> on_frame for each whole frame in them
 * -> on_batch_end -> one write of all that was replied, together with those of other reads of the
 * same turn (up to 16): a client with several connections is woken once. Small reads of several
 * sessions (up to 16) are one batch: all are read before on_batch. Replies that wait for the
 * store come later through pawl_worker_post and pawl_session_find; they are written once at the end
 * of that turn.
 *
 * All calls here but pawl_worker_post belong to the worker's own thread.
 *
 * Input that cannot be handled yet (the peer does not read its replies, or in_flight_max requests
 * wait for theirs) is kept, and comes later as a batch of its own, with the arrival time it had.
 *
 * At the end: the workers' loops stop when every session has gone; then whoever still owes replies
 * (the store) is stopped, its last posts are run by pawl_server_destroy() on that thread, with all
 * sessions gone, and worker_close follows.
 */
#ifndef PAWL_EDGE_HANDLER_H
#define PAWL_EDGE_HANDLER_H

#include "core/status.h"
#include "pawl/v1/caps.h"

struct pawl_worker;
struct pawl_session;

/** What a peer may do; bits. */
enum pawl_role {
    PAWL_ROLE_CHECK = 1u << 0,
    PAWL_ROLE_READ = 1u << 1,
    PAWL_ROLE_REVOKE = 1u << 2,
    PAWL_ROLE_ADMIN = 1u << 3,
    PAWL_ROLE_PEER = 1u << 4,
};

/** Names a session across time: safe to keep after the session has gone. */
struct pawl_ticket {
    uint32_t index;
    uint32_t generation;
};

/** A message to a worker from another thread; the sender's memory until @run. */
struct pawl_post {
    void (*run)(struct pawl_post *post, struct pawl_worker *worker);
    struct pawl_post *next; /* private */
};

/** Implemented by the dispatcher. */
struct pawl_handler {
    /**
     * One context for each worker; NULL = could not, the daemon does not start. On the thread of
     * pawl_server_create(), before any worker runs.
     */
    void *(*worker_open)(void *app, struct pawl_worker *worker, unsigned index);
    /** On the thread of pawl_server_destroy(), after the last post. */
    void (*worker_close)(void *ctx);
    /**
     * The bytes of a batch have been read; read the clocks now. Before the first on_frame of a
     * read, or of several sessions' reads, that holds a whole frame.
     */
    void (*on_batch)(void *ctx);
    /**
     * One whole message. Reply through pawl_session_reserve and _commit now, or keep the ticket
     * and reply later. Returns PAWL_OK, or PAWL_EINVAL to have the connection closed after what
     * was replied is written.
     */
    enum pawl_status (*on_frame)(void *ctx, struct pawl_session *session,
                                 struct pawl_bytes message);
    /**
     * There is no whole frame more, or none that is handed over; the messages of the batch are
     * still there, and so are their sessions, though one may be past replying. What on_frame put
     * off is done and replied to now. After each batch, also one that ends by closing a connection.
     * NULL: nothing is ever put off.
     */
    void (*on_batch_end)(void *ctx);
    void *app;
};

/**
 * Room for @size bytes at the end of the session's output, until the next call for this session;
 * none is held if nothing is committed. NULL when the session's cap (session_output_max_bytes) or
 * the ceiling of all buffers is reached, or the session is past replying: it is then closed by the
 * network, there is nothing to undo but what the dispatcher itself keeps.
 */
uint8_t *pawl_session_reserve(struct pawl_session *session, size_t size);

/**
 * @size bytes (at most what was asked for) of the room reserved last were written: whole frames,
 * header included. They are sent at the end of the turn at the latest.
 */
void pawl_session_commit(struct pawl_session *session, size_t size);

/**
 * Roles of the peer, bits of pawl_role, in the namespace entered last: by uid on Unix sockets, by
 * what it has proved elsewhere (identity.h).
 */
unsigned pawl_session_roles(const struct pawl_session *session);

/** Whether the peer has proved who it is: by uid, certificate or credential. */
bool pawl_session_is_known(const struct pawl_session *session);

/** Those of them that the peer has in every namespace, also in those that nobody has named yet. */
unsigned pawl_session_roles_everywhere(const struct pawl_session *session);

/**
 * The request at hand is in @ns. False: this peer may do nothing in it, and the request is to be
 * refused. Cheap for the namespace that was entered before, and for peers that may enter all.
 */
bool pawl_session_enter(struct pawl_session *session, struct pawl_bytes ns);

/**
 * A credential came. PAWL_OK: it adds to the session's roles. PAWL_EPERM: it is wrong, which is in
 * the log and the audit log; the third one closes the connection.
 */
PAWL_MUST_USE enum pawl_status pawl_session_authenticate(struct pawl_session *session,
                                                         struct pawl_bytes id,
                                                         struct pawl_bytes secret);

/**
 * Ask for goaway and an orderly close once pending replies are out. Nothing more is read; frames
 * of this batch that were not handed over yet are not begun.
 */
void pawl_session_finish(struct pawl_session *session);

/**
 * One more reply is owed (+1) or was given or given up (-1): draining waits for them, and a
 * session over its cap of pending requests is not read from. Giving more than is owed aborts.
 */
void pawl_session_owe(struct pawl_session *session, int change);

/**
 * Request ids accepted, for goaway: the dispatcher tells each one it begins. The highest counts, so
 * a client that wants to use last_id numbers its requests upwards, from 1.
 */
void pawl_session_accepted(struct pawl_session *session, uint64_t id);

/** The peer sends nothing more, or the session is being closed: nobody should wait on its behalf.
 */
bool pawl_session_is_ending(const struct pawl_session *session);

struct pawl_ticket pawl_session_ticket(const struct pawl_session *session);

/** The session of @ticket, or NULL when it has gone. */
struct pawl_session *pawl_session_find(struct pawl_worker *worker, struct pawl_ticket ticket);

/** What the dispatcher keeps for a session (namespace of its hello and kin), 80 bytes, zeroed. */
void *pawl_session_user(struct pawl_session *session);

/**
 * Any thread, without a lock: run @post on the worker's thread soon, in the order of posting; never
 * from inside this call. Every post is run exactly once, by pawl_server_destroy() at the latest.
 */
void pawl_worker_post(struct pawl_worker *worker, struct pawl_post *post);

/** Arrival: ms on CLOCK_BOOTTIME when this batch's bytes became readable, for deadlines. */
uint64_t pawl_worker_batch_ms(const struct pawl_worker *worker);

#endif
