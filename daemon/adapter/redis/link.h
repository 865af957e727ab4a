/*
 * One connection to a server: bytes out, replies in, each to the pending it belongs to.
 *
 * A link is made by dial and frees itself once its stream has ended. Its owner may let go of it at
 * any time with drop(): it hears nothing more from then on.
 */
#ifndef PAWL_ADAPTER_REDIS_LINK_H
#define PAWL_ADAPTER_REDIS_LINK_H

#include "codec.h"
#include "port/net.h"

/** What a pending is for: an engine's command, or a step of our own. */
enum pawl_redis_step {
    PAWL_STEP_COMMAND = 0,
    PAWL_STEP_AUTH,
    PAWL_STEP_NAME,
    PAWL_STEP_ID,
    PAWL_STEP_NO_EVICT,
    PAWL_STEP_SERVER,      /* INFO server */
    PAWL_STEP_REPLICATION, /* INFO replication */
    PAWL_STEP_MEMORY,      /* INFO memory, INFO persistence */
    PAWL_STEP_ROLE,        /* where INFO may not be asked */
    PAWL_STEP_MIN_REPLICAS,
    PAWL_STEP_TOUCH, /* any command on a key: LOADING, MASTERDOWN, MOVED, NOPERM show */
    PAWL_STEP_KILL,
    PAWL_STEP_PROBE,
    PAWL_STEP_WAIT, /* one WAIT for several commands */
    PAWL_STEP_SENTINEL,
};

/** Something sent, or about to be answered. In one list at a time. */
struct pawl_redis_pending {
    struct pawl_redis_pending *next;
    enum pawl_redis_step step;
    enum pawl_engine_verb verb;
    enum pawl_engine_part part;
    enum pawl_engine_result result; /* of one that is answered without the engine */
    const char *error;              /* FAILED: a constant */
    uint64_t tag;
    uint64_t deadline_ms;
    uint64_t sent_ms;
    uint32_t patience_ms; /* how long the server may take by the command's own nature */
    uint32_t replicas;    /* WAIT: asked for */
    uint32_t timeout_ms;  /* WAIT */
    bool answered;        /* the emitter has been told UNKNOWN; the reply is for nobody */
};

struct pawl_redis_list {
    struct pawl_redis_pending *head, *tail;
    uint32_t count;
};

void pawl_redis_push(struct pawl_redis_list *list, struct pawl_redis_pending *pending);
struct pawl_redis_pending *pawl_redis_pop(struct pawl_redis_list *list); /* NULL: empty */

struct pawl_redis_link;

struct pawl_redis_link_events {
    void (*opened)(void *owner, struct pawl_redis_link *link);
    /** @pending has left the link's list and is the owner's. @value lives until this returns. */
    void (*reply)(void *owner, struct pawl_redis_link *link, struct pawl_redis_pending *pending,
                  const struct pawl_resp *value);
    /** No more of it; what is in its list has not been answered. drop() it. */
    void (*lost)(void *owner, struct pawl_redis_link *link, enum pawl_status status,
                 const char *why);
    /** Its memory goes; also after a drop. */
    void (*gone)(void *owner);
};

struct pawl_redis_link {
    const struct pawl_net *net;
    const struct pawl_redis_link_events *events;
    void *owner;
    struct pawl_stream *stream; /* NULL: ended */
    struct pawl_resp_reader *reader;
    struct pawl_redis_list sent;
    uint64_t heard_ms; /* something came, or was first waited for */
    bool open;
    bool dropped;
    enum pawl_engine_verb broken_by; /* whose reply was past a cap; NONE */

    /* the handshake's */
    unsigned steps; /* outstanding */
    bool greeted;
    bool info_denied;
    bool role_unknown;
    int64_t client_id; /* 0: not known */
    struct pawl_redis_info info;
    unsigned min_replicas; /* min-replicas-to-write; UINT_MAX: not known */
    enum pawl_redis_step failed_step;
    char refusal[240]; /* why it is not what was looked for; "" */
};

/** NULL: no memory. `opened` or `lost` follows, not from inside. */
struct pawl_redis_link *pawl_redis_dial(const struct pawl_net *net, const struct pawl_dial *dial,
                                        const struct pawl_redis_link_events *events, void *owner);

/**
 * Send @size bytes that bring one reply, and queue @pending for it.
 *
 * PAWL_OK; otherwise nothing was sent and @pending is still the caller's.
 */
PAWL_MUST_USE enum pawl_status pawl_redis_send(struct pawl_redis_link *link, const void *bytes,
                                               size_t size, struct pawl_redis_pending *pending);

/** Let go: its stream is closed, no event but `gone` comes any more. NULL is nothing. */
void pawl_redis_drop(struct pawl_redis_link *link);

#endif
