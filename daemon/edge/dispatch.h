/*
 * The dispatcher, inside: one context for each worker. Shared by dispatch*.c only.
 *
 * Life of a request: on_frame decodes it (hot codec) -> a token check is decided at once from
 * memory, a check is hashed and put off to the end of the batch (dispatch_check.c) -> anything else
 * is unpacked by protobuf-c into the worker's arena and found in a table of handlers with the role
 * each wants (dispatch_cold.c) -> what has to be durable becomes a pending job at the store
 * (pending.c), answered when the store is done.
 *
 * Checks of one batch are hashed first and decided then, in their order: the misses of their
 * records overlap (over 10 M keys that is most of the time). Whatever else acts comes after the
 * checks put off before it, so the effects of one connection keep their order.
 */
#ifndef PAWL_EDGE_DISPATCH_H
#define PAWL_EDGE_DISPATCH_H

#include "core/verdict.h"
#include "edge/app.h"
#include "edge/handler.h"
#include "pawl/v1/cold.h"
#include "pawl/v1/frame.h"
#include "pawl/v1/hot.h"

#define PAWL_ARENA_BYTES (256 * 1024) /* for one cold request and its reply */
#define PAWL_PENDING_MAX 4096         /* jobs of one worker at the store */
#define PAWL_HELLO_BYTES 512          /* a packed HelloReply */
#define PAWL_ERROR_BYTES 240
#define PAWL_BATCH_SLOTS 32 /* checks are put off until so many records wait to be looked up */
#define PAWL_LAST_RULES  8  /* limits found without hashing their names; a power of two */
#define PAWL_ROLES_MAX   5
#define PAWL_NS_DEFAULT  "default"

/* Claims of verified tokens, packed, of the checks that are put off: of one token at most so many
 * bytes, for all of it came out of the token; and room for some. */
#define PAWL_CLAIMS_BYTES_MAX (PAWL_TOKEN_MAX + 256)
#define PAWL_CLAIMS_BYTES     (4 * PAWL_CLAIMS_BYTES_MAX)

/** What a session remembers: fits pawl_session_user(). */
struct pawl_session_state {
    uint8_t ns_size; /* 0: no hello named one */
    uint8_t ns[PAWL_NAMESPACE_MAX];
    bool hello_owed; /* a hello came with the cold request hello_id: its reply carries the answer */
    bool wants_route;   /* hello asked for the routing of clients ... */
    bool routes;        /* ... and this peer gets it */
    uint32_t view_told; /* a mark of the view that it was told last; 0: none */
    uint64_t hello_id;
};

/** Where a reply goes. */
struct pawl_reply_to {
    struct pawl_ticket ticket;
    uint64_t id;
};

/** A check that is read and hashed, its memory on the way into the cache, and not decided yet. */
struct pawl_check {
    struct pawl_session *session; /* it lives until the batch ends, but may be past replying */
    uint64_t id;
    struct pawl_limiter_plan plan;
    struct pawl_bytes hello; /* goes with the reply; such a check is not put off */
    struct pawl_wire_token_verdict token;
    enum pawl_token_status token_status; /* PAWL_TOKEN_VALID where there is no token */
    bool has_token;
    bool exact;  /* a limit in it is saved before the answer: not put off either */
    bool held;   /* what it charges may be given back: others are told (holds.h) */
    bool reread; /* dispatch->again holds its request */
    /* Which items are of keys that are never limited: a bit for each; nor is such a check put off.
     */
    uint64_t bypassed;
    struct pawl_bytes ns;
    struct pawl_bytes message; /* the request's bytes: there until the batch ends */
};

_Static_assert(PAWL_ITEMS_MAX <= 64, "a bit for each item of a check");

/** What pawl_dispatch_item() found beside the item itself. */
struct pawl_item_kind {
    bool exact;  /* the limit is saved before the answer */
    bool bypass; /* the key is never limited */
};

struct pawl_pending;
struct pawl_forward;
struct pawl_parcel;

struct pawl_dispatch {
    struct pawl_app *app;
    struct pawl_worker *worker;
    struct pawl_dispatch_metrics *metrics;
    struct pawl_figures *figures; /* of limits, by place: this worker's own */
    unsigned index;               /* of the worker */
    struct pawl_rules *rules;
    unsigned rules_version;
    const struct pawl_rule *last_rules[PAWL_LAST_RULES]; /* of `rules`, found last; or NULL */
    struct pawl_now now; /* of this batch, or of the request under the test clock */
    uint64_t staleness_ms;
    struct pawl_wire_request request;
    uint8_t hello_reply[PAWL_HELLO_BYTES]; /* packed, where the request has a hello */
    struct pawl_bytes ns;                  /* of the request at hand */
    struct pawl_limit_item items[PAWL_ITEMS_MAX];
    struct pawl_limit_item asked[PAWL_ITEMS_MAX]; /* without bypassed ones, where there are some */
    uint8_t asked_index[PAWL_ITEMS_MAX];          /* which items these are */
    size_t asked_count;                           /* what the limiter was asked last */
    struct pawl_wire_request again;               /* a check that was denied, read once more */
    struct pawl_limit_result results[PAWL_LIMITER_SLOTS_MAX];
    struct pawl_wire_result wire_results[PAWL_LIMITER_SLOTS_MAX];
    char error[PAWL_ERROR_BYTES];
    /* Checks put off: each takes a slot at least, and room for the largest is always left. */
    unsigned batch_count;
    unsigned batch_slots;  /* used */
    unsigned batch_limits; /* used */
    struct pawl_check batch[PAWL_BATCH_SLOTS];
    struct pawl_limiter_slot slots[PAWL_BATCH_SLOTS + PAWL_LIMITER_SLOTS_MAX];
    struct pawl_limit_beginnings beginnings;
    struct pawl_limit inline_limits[PAWL_BATCH_SLOTS + PAWL_ITEMS_MAX];
    const struct pawl_limit *last_inline; /* the last one made in this batch, or NULL */
    void *verifier; /* of app->jwt, this worker's own; NULL: tokens are not verified here */
    struct pawl_jwt_claims raw_claims; /* of the token verified last */
    size_t claims_used;                /* by checks that are put off */
    uint8_t claims[PAWL_CLAIMS_BYTES];
    struct pawl_cold_arena arena;
    uint8_t arena_memory[PAWL_ARENA_BYTES];
    struct pawl_pending *pending_free;
    unsigned pending_count;
    uint64_t batches;             /* reads, for the sample of their times */
    uint64_t batch_ns;            /* when the one at hand began */
    struct pawl_forward *forward; /* forward.h; NULL: one node */
    bool in_batch;
    struct pawl_watch_wake *wake;
    struct pawl_pending *watchers; /* parked (watch.h) */
    unsigned watcher_count;
    uint64_t clock_ms; /* BOOTTIME, read when watches are looked at */
};

static inline void pawl_count(_Atomic uint64_t *counter)
{
    /* One writer: a plain increment, made visible to readers. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* ---- dispatch.c: shared by all requests ---- */

/** Reply to @id with @status and @text only (text is cut at PAWL_ERROR_BYTES). */
void pawl_reply_error(struct pawl_session *session, uint64_t id, unsigned status, const char *text);

/** Reply to @id STATUS_UNAVAILABLE with @text: all the same it may have been done. */
void pawl_reply_perhaps(struct pawl_session *session, uint64_t id, const char *text);

/** Write @reply, that of a hot request, to the session's output. */
static inline void pawl_reply_hot(struct pawl_session *session, const struct pawl_wire_reply *reply)
{
    uint8_t *out = pawl_session_reserve(session, pawl_wire_reply_bound(reply));

    if (PAWL_LIKELY(out != NULL)) {
        pawl_session_commit(session, pawl_wire_write_reply(out, reply));
    }
}

/** Answer to the request at hand, count and audit that the peer lacks @role in its namespace. */
void pawl_dispatch_forbid(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const char *role);

/**
 * Whether the peer has the role check; answers and counts where it has not. Of a forwarded request
 * the member that it came to has asked, and that this one came from a member on_frame has.
 */
static inline bool pawl_dispatch_may_check(struct pawl_dispatch *dispatch,
                                           struct pawl_session *session)
{
    bool may = (pawl_session_roles(session) & PAWL_ROLE_CHECK) != 0 || dispatch->request.forwarded;

    if (PAWL_UNLIKELY(!may)) {
        pawl_dispatch_forbid(dispatch, session, "check");
    }
    return may;
}

/**
 * Pack @reply (its id and status filled in) into the session's output, with the answer to a hello
 * that came with its request.
 */
void pawl_reply_cold(struct pawl_dispatch *dispatch, struct pawl_session *session,
                     const Pawl__V1__Reply *reply);

/** The same into @out (@capacity bytes), frame and all. Returns the bytes, 0 when it has no room.
 */
size_t pawl_reply_cold_write(struct pawl_dispatch *dispatch, struct pawl_session *session,
                             const Pawl__V1__Reply *reply, uint8_t *out, size_t capacity);

/** Room for parts of a reply, until the next cold request; NULL when there is no more. */
static inline void *pawl_dispatch_room(struct pawl_dispatch *dispatch, size_t size)
{
    ProtobufCAllocator *allocator = &dispatch->arena.allocator;

    return allocator->alloc(allocator->allocator_data, size);
}

/** @text, lent. */
static inline ProtobufCBinaryData pawl_wire_text(const char *text)
{
    ProtobufCBinaryData data = { __builtin_strlen(text), (uint8_t *)(uintptr_t)text };

    return data;
}

/** The status of the wire for one of ours. */
unsigned pawl_wire_status(enum pawl_status status);

/**
 * Begin a batch outside of the network's: false where one is under way already, and then there is
 * none to end.
 */
bool pawl_dispatch_begin(struct pawl_dispatch *dispatch);
void pawl_dispatch_end(struct pawl_dispatch *dispatch);

/** Run the request of @parcel (forward.h) again; it is answered then, or on its way again. */
void pawl_dispatch_run_again(struct pawl_dispatch *dispatch, struct pawl_session *session,
                             struct pawl_parcel *parcel);

/* ---- dispatch_check.c ---- */

/** Put the check at hand, read from @message, off, or decide it with those put off before. */
void pawl_dispatch_check(struct pawl_dispatch *dispatch, struct pawl_session *session,
                         struct pawl_bytes message, struct pawl_bytes hello_reply);

/** Decide and answer the checks put off, in their order. */
void pawl_dispatch_flush(struct pawl_dispatch *dispatch);

/** Hash the limits of the check at hand, whose items are built, behind those that were put off. */
PAWL_MUST_USE enum pawl_status pawl_dispatch_prepare_check(struct pawl_dispatch *dispatch,
                                                           struct pawl_check *check);

/** Decide the check at hand, which is prepared, behind those put off before, and answer it. */
void pawl_dispatch_decide_now(struct pawl_dispatch *dispatch, const struct pawl_check *check);

/** What limits and a token say together. */
uint32_t pawl_dispatch_joint_verdict(enum pawl_verdict limits, enum pawl_token_status token);

/** A result of the limiter as one of the wire. */
struct pawl_wire_result pawl_dispatch_wire_result(const struct pawl_limit_result *from,
                                                  const struct pawl_limit *limit);

/* ---- dispatch_token.c ---- */

/** Decide the token check at hand. */
void pawl_dispatch_token(struct pawl_dispatch *dispatch, struct pawl_session *session,
                         struct pawl_bytes hello_reply);

/** The issuer that a request means: what it says, else the only configured one, else "". */
static inline struct pawl_bytes pawl_dispatch_issuer(const struct pawl_dispatch *dispatch,
                                                     struct pawl_bytes given)
{
    struct pawl_bytes only = pawl_name_bytes(&dispatch->rules->issuer); /* "": none, or several */

    return pawl_issuer_default(given, &only, 1);
}

/**
 * Verify the raw token of @request, whose now and skew are filled in here. Without keys
 * PAWL_JWT_NO_KEYS. @out lives until the next call on this worker.
 */
enum pawl_jwt_reason pawl_dispatch_verify(struct pawl_dispatch *dispatch,
                                          const struct pawl_jwt_request *request,
                                          struct pawl_jwt_claims *out);

/**
 * Whether a token that a write is about could be read (OK, KEY_REVOKED); else answers @id with the
 * reason: without keys as not supported, by a key that is not in use (yet) as unavailable, with
 * none of ours as not valid.
 */
bool pawl_dispatch_raw_is_read(struct pawl_dispatch *dispatch, struct pawl_session *session,
                               uint64_t id, enum pawl_jwt_reason reason);

/** What the core judges of a verified token; lends from @from. */
struct pawl_token_claims pawl_dispatch_claims(const struct pawl_dispatch *dispatch,
                                              const struct pawl_jwt_claims *from);

/**
 * Judge the token of the request at hand, which has one. What @out lends lives until the next
 * batch, or until pawl_token_make_room() decides the checks that were put off.
 */
enum pawl_token_status pawl_token_judge(struct pawl_dispatch *dispatch,
                                        struct pawl_session *session,
                                        struct pawl_wire_token_verdict *out);

/** Before the token of a check is judged: room for what its verdict lends. May flush. */
void pawl_token_make_room(struct pawl_dispatch *dispatch);

/* ---- dispatch_limits.c ---- */

/**
 * Make a limiter item out of one of a request's limits: named ones from the rules, inline ones
 * built in @inline_limit. On a bad one returns the status of the wire with dispatch->error filled,
 * else 0 with @kind.
 */
unsigned pawl_dispatch_item(struct pawl_dispatch *dispatch, const struct pawl_wire_item *wire,
                            struct pawl_limit *inline_limit, struct pawl_limit_item *item,
                            struct pawl_item_kind *kind);

/** The item for @limit and the key and cost of @wire. */
static inline void pawl_dispatch_item_fill(const struct pawl_dispatch *dispatch,
                                           const struct pawl_wire_item *wire,
                                           const struct pawl_limit *limit,
                                           struct pawl_limit_item *item)
{
    item->limit = limit;
    item->ns = dispatch->ns;
    item->parts = wire->key;
    item->parts_count = wire->key_count;
    item->cost = wire->cost == 0 ? 1 : wire->cost;
    item->rates = NULL;
}

/**
 * protobuf-c's view of limit, key and rates as the hot codec's, to share one way to items. @item
 * lends from them. PAWL_OK, or PAWL_ETOOBIG for too many parts or rates.
 */
PAWL_MUST_USE enum pawl_status pawl_dispatch_wire_item(struct pawl_wire_item *item,
                                                       ProtobufCBinaryData limit, size_t key_count,
                                                       const ProtobufCBinaryData *key,
                                                       size_t rate_count,
                                                       Pawl__V1__Rate *const *rates);

/**
 * Give back what @from says: in @refunded how much on its first rate. Returns 0, or the status of
 * the wire with dispatch->error filled.
 */
unsigned pawl_dispatch_refund_one(struct pawl_dispatch *dispatch, const Pawl__V1__RefundItem *from,
                                  uint64_t *refunded);
void pawl_dispatch_refund(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const Pawl__V1__Request *request);
void pawl_dispatch_reset(struct pawl_dispatch *dispatch, struct pawl_session *session,
                         const Pawl__V1__Request *request);
void pawl_dispatch_limits(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const Pawl__V1__Request *request);

/* ---- dispatch_exact.c ---- */

#define PAWL_EXACT_REPLY_MAX 8192U /* bytes of an answer that waits for its records to be saved */

/**
 * Save the records of @items durably, and then send @reply (a whole frame, copied). Where that
 * cannot be, @id is answered with the reason: what was charged stays charged.
 */
void pawl_dispatch_exact(struct pawl_dispatch *dispatch, struct pawl_session *session, uint64_t id,
                         const struct pawl_limit_item *items, size_t count,
                         struct pawl_bytes reply);

/* ---- dispatch_figures.c: what operators look at ---- */

/** The place of @limit's figures. */
static inline unsigned pawl_rule_place(const struct pawl_limit *limit)
{
    return limit->inline_rates ? PAWL_OBSERVE_INLINE : pawl_rule_of(limit)->place;
}

/** Count an item of a check or a reservation that @limit decided. */
static inline void pawl_dispatch_count(struct pawl_dispatch *dispatch,
                                       const struct pawl_limit *limit, bool refused, bool overflow)
{
    struct pawl_figures *figures = &dispatch->figures[pawl_rule_place(limit)];

    pawl_figure_count(figures, !refused        ? PAWL_FIGURE_ALLOWED
                               : limit->shadow ? PAWL_FIGURE_SHADOW_DENIED
                                               : PAWL_FIGURE_DENIED);
    if (PAWL_UNLIKELY(overflow)) {
        pawl_figure_count(figures, PAWL_FIGURE_OVERFLOWED);
    }
}

/**
 * The results of item @item of the request at hand, whose key is never limited, into @results: one
 * for each rate of its limit. Returns how many. @count: it counts for the figures.
 */
uint32_t pawl_dispatch_bypassed(struct pawl_dispatch *dispatch, uint32_t item, bool count,
                                struct pawl_wire_result *results);

/**
 * A denial; of @denial id, place and ns are filled in. True where its key is wanted:
 * pawl_dispatch_denied(), with the rest filled in, has to follow.
 */
bool pawl_dispatch_denied_again(struct pawl_dispatch *dispatch, struct pawl_denial *denial);
void pawl_dispatch_denied(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const struct pawl_denial *denial, const struct pawl_limit *limit);

/* ---- dispatch_reserve.c, dispatch_top.c ---- */

/** Count the @count results at hand of dispatch->asked for their limits' figures. */
void pawl_dispatch_count_asked(struct pawl_dispatch *dispatch, struct pawl_session *session,
                               size_t count);

void pawl_dispatch_reserve(struct pawl_dispatch *dispatch, struct pawl_session *session,
                           const Pawl__V1__Request *request);
void pawl_dispatch_commit(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const Pawl__V1__Request *request);
void pawl_dispatch_cancel(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const Pawl__V1__Request *request);
void pawl_dispatch_top(struct pawl_dispatch *dispatch, struct pawl_session *session,
                       const Pawl__V1__Request *request);

/* ---- dispatch_audit.c: to the audit log ---- */

/** A request (@request names it) that wants the role admin, before it is done. */
void pawl_audit_say_admin(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const char *request);

/** A reset of @item's key forgot @forgotten records. */
void pawl_audit_say_reset(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const struct pawl_wire_item *item, size_t forgotten);

/** A request was refused for want of @role; sampled as denials are. */
void pawl_audit_say_forbidden(struct pawl_dispatch *dispatch, struct pawl_session *session,
                              const char *role);

/** A token was refused; sampled. */
void pawl_audit_say_token(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const struct pawl_token_claims *claims,
                          const struct pawl_wire_token_verdict *verdict);

/** A limit denied; only where pawl_audit_may_deny() said so. */
void pawl_audit_say_limit(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const struct pawl_limit *limit, const struct pawl_bytes *parts,
                          size_t count);

/* ---- dispatch_view.c ---- */

void pawl_dispatch_view(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const Pawl__V1__Request *request);

/** What a member of a fleet adds to the answer to hello, of a peer with @roles. */
void pawl_dispatch_route_hello(struct pawl_dispatch *dispatch, struct pawl_session *session,
                               unsigned roles, Pawl__V1__HelloReply *reply);

/** Tell the view of the moment to a client that routes, unless it was told. */
void pawl_dispatch_route_tell(struct pawl_dispatch *dispatch, struct pawl_session *session,
                              struct pawl_session_state *state);

/* ---- dispatch_cold.c ---- */

void pawl_dispatch_cold(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        struct pawl_bytes message);

/** The answer to a hello; @roles (PAWL_ROLES_MAX) is lent to it. */
void pawl_hello_fill(struct pawl_dispatch *dispatch, struct pawl_session *session,
                     Pawl__V1__HelloReply *reply, Pawl__V1__Role *roles);

#define PAWL_HELLO_DENIED SIZE_MAX /* its credential is wrong */

/**
 * Answer a hello: fills @packed (@capacity bytes) with a HelloReply; 0 bytes when refused, or
 * PAWL_HELLO_DENIED; dispatch->error says why.
 */
size_t pawl_dispatch_hello(struct pawl_dispatch *dispatch, struct pawl_session *session,
                           struct pawl_bytes hello, uint8_t *packed, size_t capacity);

/* ---- dispatch_{revoke,family,rotate}.c: what goes to the store ---- */

void pawl_dispatch_revoke(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const Pawl__V1__Request *request);
void pawl_dispatch_unrevoke(struct pawl_dispatch *dispatch, struct pawl_session *session,
                            const Pawl__V1__Request *request);
void pawl_dispatch_rotate(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const Pawl__V1__Request *request);
void pawl_dispatch_family_open(struct pawl_dispatch *dispatch, struct pawl_session *session,
                               const Pawl__V1__Request *request);
void pawl_dispatch_family_end(struct pawl_dispatch *dispatch, struct pawl_session *session,
                              const Pawl__V1__Request *request);
void pawl_dispatch_thaw(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const Pawl__V1__Request *request);

#endif
