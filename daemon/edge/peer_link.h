/*
 * A link to one other member, over port/net.h: hello, frames, ids, deadlines, reconnecting. Used by
 * workers to forward and by the cluster's thread to pull, push and tell views; each loop has its
 * own. One thread: the loop's.
 *
 *            ask                hello answered
 *   IDLE ----------> OPENING ------------------> OPEN --- goaway ---> PARTING
 *    ^                  |                          |                     |
 *    |     closed, refused, another member         | closed              | closed, or nothing
 *    +--- (ask) --- RESTING <----------------------+                     | outstanding any more
 *                      ^-------------------------------------------------+
 *
 * A connection is made when somebody asks and kept. After one that failed nobody dials again before
 * a while (50 ms, doubled up to 2 s, jittered); after one that had served, once at once. What is
 * asked while OPENING waits for it.
 *
 * Each request that was taken ends once, never from inside the call that began it: with the reply's
 * frame, UNSENT (it was not done and will not be), or UNKNOWN (it may have been done: deadline
 * passed after it was sent, connection lost).
 */
#ifndef PAWL_EDGE_PEER_LINK_H
#define PAWL_EDGE_PEER_LINK_H

#include "core/address.h"
#include "core/ring.h"
#include "core/status.h"
#include "port/net.h"

#define PAWL_PEER_IN_FLIGHT_MAX   1024      /* requests of one link; a power of two */
#define PAWL_PEER_OUTPUT_MAX      (4 << 20) /* bytes of one link that wait to be sent */
#define PAWL_PEER_CONNECT_MS      2000      /* look-up, connection, handshake, hello */
#define PAWL_PEER_USER_TIMEOUT_MS 5000      /* sent, and not acknowledged */

enum pawl_peer_outcome {
    PAWL_PEER_NONE = 0,
    PAWL_PEER_REPLY,
    PAWL_PEER_UNSENT,
    PAWL_PEER_UNKNOWN,
};

/**
 * How a request ended. @reply: the reply's message, its frame header left out, with PAWL_PEER_REPLY
 * alone; lent for the call. @why: for people, with the others.
 */
typedef void (*pawl_peer_done)(void *ctx, enum pawl_peer_outcome outcome, struct pawl_bytes reply,
                               const char *why);

/** Private; public for nobody's use but the table inside the link. */
struct pawl_peer_call {
    uint64_t id; /* 0: free */
    uint64_t deadline_ms;
    pawl_peer_done done;
    void *ctx;
    uint8_t *held; /* its frame while OPENING */
    size_t held_size;
};

enum pawl_peer_link_state {
    PAWL_PEER_LINK_IDLE = 0,
    PAWL_PEER_LINK_OPENING,
    PAWL_PEER_LINK_OPEN,
    PAWL_PEER_LINK_PARTING,
    PAWL_PEER_LINK_RESTING,
};

struct pawl_peer_link_options {
    struct pawl_net net;
    struct pawl_member_id member; /* who has to answer there (HelloReply.node) */
    bool anybody;                 /* whichever member does, in place of @member */
    const char *address;          /* core/address.h; copied */
    const char *name; /* TLS: what its certificate is for; NULL: the address's host. Kept */
    /** The context to dial with and a reference to it; NULL: in clear. May be NULL. */
    struct pawl_tls_context *(*context)(void *ctx);
    const struct pawl_tls_ops *tls; /* gives the reference back; NULL without @context */
    void *ctx;
    uint64_t seed; /* of the jitter; any number that others have not */
    /** The link came or went, once for each time; may be NULL. @why is NULL when it opened. */
    void (*changed)(void *ctx, const struct pawl_member_id *member, bool open, const char *why);
};

struct pawl_peer_link; /* heap */

/** NULL: no memory, or not an address. Nothing is dialled yet. */
struct pawl_peer_link *pawl_peer_link_create(const struct pawl_peer_link_options *options);

/**
 * End it: requests that are outstanding end from inside this call (UNSENT, UNKNOWN), and no event
 * comes afterwards. The object goes when the stream's own end has come. NULL is nothing.
 */
void pawl_peer_link_destroy(struct pawl_peer_link *link);

/** The id that the next request has to carry; 0: none can be taken now (resting, full, parting). */
uint64_t pawl_peer_link_next(struct pawl_peer_link *link);

/**
 * Send a request.
 *
 * @id          of pawl_peer_link_next(), nothing else asked between.
 * @frame       frame header and message, which has that id; copied.
 * @timeout_ms  from now; at least 1.
 *
 * PAWL_OK: @done comes. PAWL_EUNAVAIL (there was no id), PAWL_EFULL (output), PAWL_ENOMEM: nothing
 * was sent, and it does not.
 */
PAWL_MUST_USE enum pawl_status pawl_peer_link_ask(struct pawl_peer_link *link, uint64_t id,
                                                  struct pawl_bytes frame, uint32_t timeout_ms,
                                                  pawl_peer_done done, void *ctx);

enum pawl_peer_link_state pawl_peer_link_state(const struct pawl_peer_link *link);

/** Why it rests, for people; "" when it does not. */
const char *pawl_peer_link_why(const struct pawl_peer_link *link);

unsigned pawl_peer_link_outstanding(const struct pawl_peer_link *link);

#endif
