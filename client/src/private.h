/*
 * Inside of libpawl: the handle, its connections and its calls.
 *
 * A call is a slot of a fixed table. Its life:
 *
 *   FREE -> QUEUED  submitted, its frame encoded; no byte has left
 *        -> SENT    a byte has left on a connection: never sent again, but when a goaway says that
 *                   it was not begun; then it is QUEUED once more
 *        -> READY   decided without an answer (deadline, lost, breaker, cancel); the callback is
 * due
 *        -> FREE    called back; an answer goes from SENT straight here
 *
 * A call's frame stays in its slot until then, so the policy of a check is read back from the
 * frame when nobody answers, and nothing has to be kept twice.
 *
 * Up to two connections: the one in use and one that drains after a goaway; with PAWL_CLIENT_ROUTE
 * others to single members of a fleet (route.c), each with a queue of its own. All descriptors are
 * non-blocking; the blocking calls poll(2) them, the others look at an epoll instance that is made
 * when pawl_client_fd() is first called.
 *
 * Functions here belong to the thread that holds the handle.
 */
#ifndef PAWL_CLIENT_PRIVATE_H
#define PAWL_CLIENT_PRIVATE_H

#include "pawl/pawl.h"

#include "core/address.h"
#include "core/keyhash.h"
#include "core/rate_text.h"
#include "pawl/v1/cold.h"
#include "pawl/v1/frame.h"
#include "pawl/v1/hot.h"
#include "port/tls.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#define CLIENT_ADDRESSES_MAX   8
#define CLIENT_ENDPOINTS_MAX   16
#define CLIENT_PER_NAME_MAX    4  /* addresses taken from one name */
#define CLIENT_DIRECT_FIRST    2  /* conns before it: the one in use and one that drains */
#define CLIENT_CONNS           18 /* those and one for each of 16 members of a fleet */
#define CLIENT_NOBODY          UINT16_MAX
#define CLIENT_SLOT_BITS       12
#define CLIENT_IN_FLIGHT_MAX   (1u << CLIENT_SLOT_BITS)
#define CLIENT_QUEUE_BYTES_MAX (4u << 20) /* frames waiting or in flight */
#define CLIENT_FRAME_KEEP      4096       /* a slot's buffer above this is freed with the call */
#define CLIENT_IN_KEEP         65536      /* the input buffer shrinks to this when empty */
#define CLIENT_ARENA_BYTES     (2u << 20) /* for cold replies */
#define CLIENT_LEARNED_MAX     64         /* named limits whose policy is remembered */
#define CLIENT_IOV_MAX         64
#define CLIENT_STATS_MAX       1024
#define CLIENT_MEMBERS_MAX     256 /* of one answer */
#define CLIENT_LIMITS_MAX      256
#define CLIENT_TOP_MAX         1024 /* of each list of a top */
#define CLIENT_FACTS_MAX       128  /* of one watch */

#define NS_PER_MS UINT64_C(1000000)

enum slot_state {
    SLOT_FREE = 0,
    SLOT_QUEUED,
    SLOT_SENT,
    SLOT_READY,
};

struct slot_list {
    struct slot *first;
    struct slot *last;
};

struct slot {
    struct slot *next;
    struct slot *previous;
    struct slot_list *list; /* the one it is in */
    uint64_t id;            /* counter << CLIENT_SLOT_BITS | place in the table */
    uint64_t deadline_ns;
    pawl_on_answer on_answer;
    void *data;
    uint8_t *frame; /* header and message, then the hints of the policy (fallback.c) */
    size_t frame_size;
    size_t hint_count;
    size_t frame_capacity;
    const struct call_type *type;
    enum slot_state state;
    enum pawl_rc cause; /* of READY */
    enum pawl_effect effect;
    char proposed[PAWL_TEXT_ID_MAX + 1]; /* jti of rotate and family open */
    uint16_t proposed_size;
    bool peek;      /* of check: charges nothing */
    bool each;      /* of check: PAWL_CHECK_EACH */
    bool secret;    /* the frame holds a raw token: wiped */
    bool learn;     /* the answer tells policies that are not remembered yet */
    bool probe;     /* it tries a half-open breaker */
    bool admitted;  /* the breaker has let it pass */
    uint16_t owner; /* of a check's keys: index in the ring; NOBODY: not known, or several */
};

/* Below all others, whenever they were made: a goaway names the highest id that was begun, and what
 * waited for the connection goes elsewhere where the hello is all that was. */
#define CLIENT_HELLO_ID 1

#define CLIENT_CREDENTIAL_MAX 512 /* as any field of the wire without a cap of its own */

enum conn_state {
    CONN_NONE = 0,
    CONN_CONNECTING,
    CONN_SECURING, /* the TLS handshake */
    CONN_UP,
    CONN_DRAINING,
};

struct conn {
    enum conn_state state;
    int fd;
    unsigned endpoint;
    unsigned in_flight;
    unsigned in_flight_max;          /* as the daemon said */
    bool heard;                      /* the daemon has answered the hello */
    bool blocked;                    /* the last send did not take all */
    struct pawl_tls_connection *tls; /* NULL: plain */
    uint32_t epoll_events;           /* as registered; 0: not */
    uint64_t hello_id;
    uint64_t give_up_ns;    /* of CONNECTING */
    uint16_t member;        /* of a straight one: whose it is */
    bool may_check;         /* the daemon said so (with PAWL_CLIENT_ROUTE) */
    uint8_t node[16];       /* its name, as it said */
    struct slot_list queue; /* of a straight one: not sent yet */
    struct slot_list sent;
    uint8_t *in;
    size_t in_size;
    size_t in_capacity;
    uint8_t *tail; /* what has to go out before the queue: hello, rest of a frame */
    size_t tail_size;
    size_t tail_sent;
};

struct endpoint {
    struct sockaddr_storage address;
    socklen_t size;
    unsigned text; /* which of the texts */
    uint32_t backoff_ms;
    bool tried;          /* in this round */
    uint8_t turned_away; /* times in a row that a goaway was all that came; at most 2 */
    uint64_t retry_ns;   /* not before, unless nothing else is left to do */
    uint64_t busy_ns;    /* its backlog was full: not before */
    uint64_t avoid_ns;   /* said goaway: others first until then */
};

/** Policy and rates of a named limit, as the daemon told them. */
struct learned {
    uint64_t hash; /* of namespace, limit and tier; 0: free */
    uint64_t seen_ns;
    uint32_t on_error;
    uint32_t rate_count;
    struct pawl_rate rates[PAWL_RATES_MAX];
};

struct local_slot;

struct local_table {
    struct pawl_subkey key;
    uint8_t *slots; /* NULL until first needed */
    size_t slot_max;
};

enum breaker_state {
    BREAKER_CLOSED = 0,
    BREAKER_OPEN,    /* until open_until_ns, then one request probes */
    BREAKER_PROBING, /* that one is under way */
};

struct breaker {
    enum breaker_state state;
    uint32_t failures;
    uint32_t wait_ms;
    uint64_t open_until_ns;
};

/** Results are built here and lent to callbacks. */
struct results {
    union {
        struct pawl_check_result check;
        struct pawl_token_check_result token_check;
        struct pawl_refund_result refund;
        struct pawl_reset_result reset;
        struct pawl_revoke_result revoke;
        struct pawl_unrevoke_result unrevoke;
        struct pawl_rotate_result rotate;
        struct pawl_family_open_result family_open;
        struct pawl_limits_result limits;
        struct pawl_stats_result stats;
        struct pawl_thaw_result thaw;
        struct pawl_ping_result ping;
        struct pawl_reserve_result reserve;
        struct pawl_commit_result commit;
        struct pawl_top_result top;
        struct pawl_watch_result watch;
        struct pawl_members_result members;
    } of;
    struct pawl_rate_result rates[PAWL_CHECK_RATES];
    struct pawl_claims claims;
};

struct pawl_client {
    /* ---- settings ---- */
    uint32_t flags;
    uint32_t check_deadline_ms;
    uint32_t durable_deadline_ms;
    uint32_t breaker_failures;
    uint32_t breaker_open_ms;
    uint32_t breaker_open_max_ms;
    uint32_t expected_workers;
    uint32_t slot_max;
    char ns[PAWL_NAMESPACE_MAX + 1];
    char name[PAWL_ACTOR_MAX + 1];
    struct pawl_address texts[CLIENT_ADDRESSES_MAX];
    unsigned text_count;
    struct endpoint endpoints[CLIENT_ENDPOINTS_MAX];
    unsigned endpoint_count;
    int (*connect)(void *ctx); /* NULL: the endpoints' addresses; else one endpoint without one */
    void *connect_ctx;
    struct pawl_tls_context *tls_context;     /* NULL: no address wants TLS */
    char tls_name[PAWL_ADDRESS_HOST_MAX + 1]; /* "": the address's host */
    char credential_id[PAWL_ACTOR_MAX + 1];
    uint8_t credential[CLIENT_CREDENTIAL_MAX];
    size_t credential_size; /* 0: none */
    /* ---- state ---- */
    pthread_mutex_t mutex; /* with PAWL_CLIENT_LOCKED */
    pid_t pid;
    uint64_t (*clock_ns)(void); /* replaced by tests */
    uint64_t random;
    unsigned depth; /* public calls on the stack */
    bool in_callback;
    bool doomed; /* destroyed from inside a callback */
    int epoll_fd;
    struct conn conns[CLIENT_CONNS];
    unsigned conn_count; /* 2, or all */
    struct route *route; /* NULL without PAWL_CLIENT_ROUTE */
    unsigned active;     /* index of the one in use; the other may drain */
    struct slot *slots;
    struct slot_list queue;
    struct slot_list ready;
    struct slot_list free;
    uint64_t counter;     /* of ids */
    uint64_t deadline_ns; /* not later than the earliest one pending */
    size_t queue_bytes;
    unsigned pending;
    uint64_t busy_ns; /* all that is left to try is busy: not before; 0: no */
    struct breaker breaker;
    struct learned learned[CLIENT_LEARNED_MAX];
    struct local_table local;
    struct pawl_client_figures figures;
    /* ---- scratch ---- */
    char error[PAWL_TEXT_BYTES];   /* of the connection that failed last */
    char refusal[PAWL_TEXT_BYTES]; /* why the last call was not valid */
    struct pawl_wire_request request;
    struct pawl_wire_reply reply;
    struct pawl_wire_result wire_results[PAWL_RESULTS_MAX];
    struct results results;
    struct pawl_cold_arena arena;
    uint8_t *arena_memory;
};

/** One kind of call: its structs, and how its frame is made and its answer read. */
struct call_type {
    enum pawl_call_kind kind;
    bool quick;    /* has the deadline of checks */
    bool writes;   /* changes something in the daemon */
    bool fills;    /* "nobody answered" is a value of its result: rc stays PAWL_RC_OK */
    uint8_t reply; /* body_case of the reply */
    size_t call_size;
    size_t result_size;
    size_t deadline_at; /* offsets in the call */
    size_t now_at;
    size_t ns_at;
    size_t info_at; /* in the result */
    /** Encode @call into @slot's frame. */
    int (*encode)(struct pawl_client *client, struct slot *slot, const void *call);
    /** Read the body of a cold reply into the handle's results. */
    void (*decode)(struct pawl_client *client, const struct slot *slot,
                   const Pawl__V1__Reply *reply);
};

/* ---- types.c ---- */
const struct call_type *pawl_client_call_type(enum pawl_call_kind kind);
uint32_t pawl_client_call_deadline(const struct call_type *type, const void *call);
uint64_t pawl_client_call_now(const struct call_type *type, const void *call);
struct pawl_str pawl_client_call_ns(const struct call_type *type, const void *call);

/* ---- endpoints.c ---- */
/** Parse the list into client->texts. Returns PAWL_RC_OK or PAWL_RC_INVALID with @error. */
int pawl_client_parse_addresses(struct pawl_client *client, const char *list, char *error,
                                size_t error_size);
/** Fill client->endpoints. Blocks on names. Returns PAWL_RC_OK or PAWL_RC_CONNECT. */
int pawl_client_lookup(struct pawl_client *client);
/** The socket address of a path or abstract name. */
void pawl_client_add_unix(struct endpoint *endpoint, const struct pawl_address *address);
/** The next to try in this round, or -1; @wait_ns: when a busy one may be tried, or 0. */
int pawl_client_next_endpoint(struct pawl_client *client, uint64_t now_ns, uint64_t *wait_ns);
void pawl_client_endpoint_failed(struct pawl_client *client, unsigned endpoint, uint64_t now_ns);
void pawl_client_new_round(struct pawl_client *client);

/* ---- slots.c ---- */
void pawl_client_slots_reset(struct pawl_client *client);
struct slot *pawl_client_slot_take(struct pawl_client *client, const struct call_type *type);
void pawl_client_slot_free(struct pawl_client *client, struct slot *slot);
void pawl_client_slot_move(struct slot *slot, struct slot_list *list);
struct slot *pawl_client_slot_find(struct pawl_client *client, uint64_t id);
/** Room for a frame of @size bytes. Returns false without memory or over a ceiling. */
bool pawl_client_slot_room(struct pawl_client *client, struct slot *slot, size_t size);
/** The effect of @slot's call that was not done, or where @perhaps it was all the same. */
static inline enum pawl_effect pawl_client_effect(const struct slot *slot, bool perhaps)
{
    return perhaps && slot->type->writes && !slot->peek ? PAWL_EFFECT_UNKNOWN : PAWL_EFFECT_NONE;
}

/** Decide a call without an answer; its callback comes with the next delivery. */
void pawl_client_slot_fail(struct pawl_client *client, struct slot *slot, enum pawl_rc cause);
/** Call back all that is READY. Returns how many; stops when the handle was forked away. */
int pawl_client_deliver(struct pawl_client *client);
/** The answer to @slot is in client->results: call back and free. */
void pawl_client_answer(struct pawl_client *client, struct slot *slot, int rc);

/* ---- conn.c ---- */
void pawl_client_conn_reset(struct conn *conn);
/** Begin to connect to @endpoint. False: it failed at once (or is busy). */
bool pawl_client_conn_open(struct pawl_client *client, unsigned endpoint, uint64_t now_ns);
/** The socket is connected: handshake or hello. */
void pawl_client_conn_up(struct pawl_client *client, struct conn *conn);
/** A connecting socket may be ready: look. */
void pawl_client_conn_check(struct pawl_client *client, struct conn *conn);
/** Break @conn: what was sent on it is decided by @cause, the queue stays. */
void pawl_client_conn_fail(struct pawl_client *client, struct conn *conn, enum pawl_rc cause);
/** Close without a word about it. */
void pawl_client_conn_close(struct pawl_client *client, struct conn *conn);
/** Send tail and queue as far as it goes. */
void pawl_client_conn_send(struct pawl_client *client, struct conn *conn);
/** Read and handle what has come. Returns how many callbacks were called. */
int pawl_client_conn_receive(struct pawl_client *client, struct conn *conn);
/** The connection stands, and is secured where it has to be: say hello. */
void pawl_client_conn_ready(struct pawl_client *client, struct conn *conn);

/** The host of the address that @conn leads to, under TLS; NULL without it. Lent like the texts. */
const char *pawl_client_conn_host(const struct pawl_client *client, const struct conn *conn);
/** Remember @text as what went wrong with @endpoint. */
void pawl_client_conn_error(struct pawl_client *client, unsigned endpoint, const char *text);
/** Make the epoll registration fit. */
void pawl_client_conn_watch(struct pawl_client *client, struct conn *conn);

/* ---- goaway.c ---- */

/** What was sent on @conn under an id above @last_id, and was not begun, waits to be sent again. */
void pawl_client_take_back(struct pawl_client *client, struct conn *conn, uint64_t last_id);
/** The daemon takes nothing new on @conn; it may be closed. */
void pawl_client_on_goaway(struct pawl_client *client, struct conn *conn,
                           const Pawl__V1__GoAway *goaway);

static inline struct conn *client_active(struct pawl_client *client)
{
    return &client->conns[client->active];
}

/** Whether @conn goes straight to a member. */
static inline bool pawl_client_is_direct(const struct pawl_client *client, const struct conn *conn)
{
    return conn >= client->conns + CLIENT_DIRECT_FIRST;
}

/* ---- route.c: the rest does nothing without PAWL_CLIENT_ROUTE ---- */
/** Get ready; PAWL_RC_OK or PAWL_RC_NOMEM. */
int pawl_client_route_open(struct pawl_client *client);
void pawl_client_route_close(struct pawl_client *client);
/** The connections are another process's. */
void pawl_client_route_forked(struct pawl_client *client);
/** Look up the members that are known by names. Blocks. */
void pawl_client_route_lookup(struct pawl_client *client);
/** Where a straight connection leads. */
const struct pawl_address *pawl_client_route_address(const struct pawl_client *client,
                                                     const struct conn *conn);
/** What the daemon at the end of @conn told of itself, and of its fleet. */
/** What the certificate at the other end of the straight connection @conn has to be for. */
const char *pawl_client_route_name(const struct pawl_client *client, const struct conn *conn);

void pawl_client_route_hello(struct pawl_client *client, struct conn *conn,
                             const Pawl__V1__HelloReply *hello);
void pawl_client_route_view(struct pawl_client *client, const struct conn *conn,
                            const Pawl__V1__ViewReply *view);
/** The one owner of all keys of @request, or CLIENT_NOBODY. */
uint16_t pawl_client_route_owner(const struct pawl_client *client,
                                 const struct pawl_wire_request *request);
/** Where a new slot waits to be sent: the owner's connection if that stands, else the queue. */
struct slot_list *pawl_client_route_queue(struct pawl_client *client, struct slot *slot);
/** Connect to those who were wanted, and send what waits for them. */
void pawl_client_route_pump(struct pawl_client *client, uint64_t now_ns);
uint64_t pawl_client_route_next_ns(const struct pawl_client *client);
/** A straight connection breaks, is being closed, says goaway, has let a deadline pass. */
void pawl_client_route_failed(struct pawl_client *client, struct conn *conn, enum pawl_rc cause);
void pawl_client_route_closed(struct pawl_client *client, struct conn *conn);
void pawl_client_route_goaway(struct pawl_client *client, struct conn *conn);
void pawl_client_route_silent(struct pawl_client *client, struct conn *conn, uint64_t now_ns);

/* ---- secure.c ---- */
/** Read certificates and credentials. PAWL_RC_OK, PAWL_RC_INVALID with @error, PAWL_RC_NOMEM. */
int pawl_client_secure_open(struct pawl_client *client, const struct pawl_client_options *options,
                            char *error, size_t error_size);
void pawl_client_secure_close(struct pawl_client *client);
/** Begin the handshake on a connected socket. False: it could not, the connection has failed. */
bool pawl_client_secure_begin(struct pawl_client *client, struct conn *conn, const char *host);
/** Go on with it: what has come, what is to be sent. */
void pawl_client_secure_step(struct pawl_client *client, struct conn *conn);

/**
 * Whether the daemon refused the certificate that was shown, or that none was. With TLS 1.3 it says
 * so after our side of the handshake is done and requests may have left; it has read none of them.
 */
bool pawl_client_secure_is_refused(const struct conn *conn);
/** As sendmsg(2) on a plain socket, of @size bytes in all: bytes taken, or -1 with errno. */
ssize_t pawl_client_secure_send(struct conn *conn, const struct iovec *iov, unsigned count);
/** Send what is encrypted. 1: all; 0: the socket is full; -1 with errno: it is broken. */
int pawl_client_secure_flush(struct conn *conn);
/** As recv(2). */
ssize_t pawl_client_secure_receive(struct conn *conn, uint8_t *out, size_t room);
/** Whether a credential may go to @endpoint: not in clear to another machine. */
bool pawl_client_may_tell(const struct pawl_client *client, const struct conn *conn);
bool pawl_client_may_tell_to(const struct pawl_client *client, const struct pawl_address *address,
                             const struct sockaddr_storage *to);

/* ---- breaker.c ---- */
bool pawl_client_breaker_admit(struct pawl_client *client, struct slot *slot, uint64_t now_ns);
void pawl_client_breaker_success(struct pawl_client *client);
/** Returns true when this opened it, or would have: whoever is asked has been silent too often. */
bool pawl_client_breaker_failure(struct pawl_client *client, uint64_t now_ns);
void pawl_client_breaker_forget(struct pawl_client *client, const struct slot *slot);
/** @ms more or less: 3/4 to 5/4 of it. */
uint64_t pawl_client_jitter(struct pawl_client *client, uint32_t ms);

/* ---- pump.c ---- */
/** Deadlines, connecting, sending: whatever needs no waiting. */
void pawl_client_pump(struct pawl_client *client);
/** Absolute time of the next thing to do, 0: now, UINT64_MAX: nothing pending. */
uint64_t pawl_client_next_ns(struct pawl_client *client);
/** Wait with poll(2) until something can be read or written, or the next thing is due. */
void pawl_client_wait(struct pawl_client *client);
/** One turn of receive, pump and deliver. Returns callbacks called. */
int pawl_client_turn(struct pawl_client *client);

/* ---- client.c ---- */
/** Begin a public call: fork check, lock. */
void pawl_client_enter(struct pawl_client *client);
/** End it. True: the handle was destroyed in it and is gone now. */
bool pawl_client_leave(struct pawl_client *client);
/** In a child: forget the parent's sockets and calls. Returns true when this is one. */
bool pawl_client_fork_check(struct pawl_client *client);
void pawl_client_fill_random(void *out, size_t size);

/* ---- hot_calls.c, cold_calls.c, cold_answers.c ---- */
int pawl_client_encode_check(struct pawl_client *client, struct slot *slot, const void *call);
int pawl_client_encode_token_check(struct pawl_client *client, struct slot *slot, const void *call);
/*
 * One list of a rate's fields for both of its readers: the zero-copy codec's struct and that of the
 * generated code name them alike.
 */
#define CLIENT_RATE_COPY(to, from)                         \
    do {                                                   \
        memset((to), 0, sizeof(*(to)));                    \
        (to)->item = (from)->item;                         \
        (to)->rate_index = (from)->rate_index;             \
        (to)->window_ms = (from)->window_ms;               \
        (to)->on_error = (enum pawl_fail)(from)->on_error; \
        (to)->limit_count = (from)->limit_count;           \
        (to)->count = (from)->count;                       \
        (to)->remaining = (from)->remaining;               \
        (to)->oldest_age_ms = (from)->oldest_age_ms;       \
        (to)->reset_after_ms = (from)->reset_after_ms;     \
        (to)->retry_after_ms = (from)->retry_after_ms;     \
        (to)->charge = (from)->charge;                     \
        (to)->never = (from)->never;                       \
        (to)->allowed = (from)->allowed;                   \
        (to)->shadow = (from)->shadow;                     \
        (to)->overflow = (from)->overflow;                 \
        (to)->contended = (from)->contended;               \
        (to)->bypass = (from)->bypass;                     \
        (to)->full = (from)->full;                         \
    } while (0)

/** What a denial by one rate adds to a result's longest wait, and to whether waiting is no use. */
void pawl_client_note_denied(const struct pawl_rate_result *rate, uint64_t *retry_after_ms,
                             uint64_t *retry_never);
/** A verdict of the wire; one of a later version is UNDECIDED. */
enum pawl_outcome pawl_client_outcome_of(uint32_t verdict);
/** An answer to a hot call lies in client->reply: make the result. Returns the call's rc. */
int pawl_client_read_hot(struct pawl_client *client, const struct slot *slot);
/** Rates of an item from text or list. Returns PAWL_RC_OK, PAWL_RC_INVALID or PAWL_RC_TOO_BIG. */
int pawl_client_read_rates(const char *text, const struct pawl_rate_spec *list, size_t count,
                           struct pawl_wire_rate *rates, uint32_t *rate_count);
int pawl_client_encode_refund(struct pawl_client *client, struct slot *slot, const void *call);
int pawl_client_encode_reset(struct pawl_client *client, struct slot *slot, const void *call);
int pawl_client_encode_revoke(struct pawl_client *client, struct slot *slot, const void *call);
int pawl_client_encode_unrevoke(struct pawl_client *client, struct slot *slot, const void *call);
int pawl_client_encode_rotate(struct pawl_client *client, struct slot *slot, const void *call);
int pawl_client_encode_family_open(struct pawl_client *client, struct slot *slot, const void *call);
int pawl_client_encode_family_end(struct pawl_client *client, struct slot *slot, const void *call);
int pawl_client_encode_limits(struct pawl_client *client, struct slot *slot, const void *call);
int pawl_client_encode_members(struct pawl_client *client, struct slot *slot, const void *call);
int pawl_client_encode_stats(struct pawl_client *client, struct slot *slot, const void *call);
int pawl_client_encode_thaw(struct pawl_client *client, struct slot *slot, const void *call);
int pawl_client_encode_ping(struct pawl_client *client, struct slot *slot, const void *call);
/* ---- limit_calls.c, operator_calls.c ---- */
int pawl_client_encode_reserve(struct pawl_client *client, struct slot *slot, const void *call);
int pawl_client_encode_commit(struct pawl_client *client, struct slot *slot, const void *call);
int pawl_client_encode_cancel_lease(struct pawl_client *client, struct slot *slot,
                                    const void *call);
int pawl_client_encode_top(struct pawl_client *client, struct slot *slot, const void *call);
int pawl_client_encode_watch(struct pawl_client *client, struct slot *slot, const void *call);
void pawl_client_decode_reserve(struct pawl_client *client, const struct slot *slot,
                                const Pawl__V1__Reply *reply);
void pawl_client_decode_commit(struct pawl_client *client, const struct slot *slot,
                               const Pawl__V1__Reply *reply);
void pawl_client_decode_top(struct pawl_client *client, const struct slot *slot,
                            const Pawl__V1__Reply *reply);
void pawl_client_decode_watch(struct pawl_client *client, const struct slot *slot,
                              const Pawl__V1__Reply *reply);

/* ---- cold_calls.c, cold_answers.c ---- */
/**
 * The hello that begins a connection, framed, at @out; asks for the view where @route, with the
 * credential where @tell. Returns its size, 0: no room.
 */
size_t pawl_client_write_hello(struct pawl_client *client, uint64_t id, bool route, bool tell,
                               uint8_t *out, size_t capacity);
/** The arena for cold replies, empty; NULL without memory. */
struct pawl_cold_arena *pawl_client_arena(struct pawl_client *client);
/** Read a cold answer into the results. Returns the call's rc, PAWL_RC_PROTOCOL included. */
int pawl_client_read_cold(struct pawl_client *client, const struct slot *slot,
                          struct pawl_bytes message);
void pawl_client_decode_refund(struct pawl_client *client, const struct slot *slot,
                               const Pawl__V1__Reply *reply);
void pawl_client_decode_reset(struct pawl_client *client, const struct slot *slot,
                              const Pawl__V1__Reply *reply);
void pawl_client_decode_revoke(struct pawl_client *client, const struct slot *slot,
                               const Pawl__V1__Reply *reply);
void pawl_client_decode_unrevoke(struct pawl_client *client, const struct slot *slot,
                                 const Pawl__V1__Reply *reply);
void pawl_client_decode_rotate(struct pawl_client *client, const struct slot *slot,
                               const Pawl__V1__Reply *reply);
void pawl_client_decode_family_open(struct pawl_client *client, const struct slot *slot,
                                    const Pawl__V1__Reply *reply);
void pawl_client_decode_limits(struct pawl_client *client, const struct slot *slot,
                               const Pawl__V1__Reply *reply);
void pawl_client_decode_members(struct pawl_client *client, const struct slot *slot,
                                const Pawl__V1__Reply *reply);
void pawl_client_decode_stats(struct pawl_client *client, const struct slot *slot,
                              const Pawl__V1__Reply *reply);
void pawl_client_decode_thaw(struct pawl_client *client, const struct slot *slot,
                             const Pawl__V1__Reply *reply);

/* ---- outcome.c ---- */
/** The info of the result that is being built. */
struct pawl_info *pawl_client_info(struct pawl_client *client, const struct slot *slot);
/** Begin a result: all zero, arrays in place. */
void pawl_client_begin_result(struct pawl_client *client, const struct slot *slot);
/** The rc for a status of the wire other than OK. */
enum pawl_rc pawl_client_rc_of_status(uint32_t status);
/**
 * No answer, or a refusal by the daemon (@refused): make the result that the policy gives.
 * @text may be NULL. Returns the call's rc.
 */
int pawl_client_resolve_outcome(struct pawl_client *client, const struct slot *slot,
                                enum pawl_rc cause, enum pawl_effect effect, bool refused,
                                struct pawl_str text);
void pawl_client_put_text(struct pawl_text *text, const void *data, size_t size);
/** Bytes as text with a closing zero, cut at @capacity. */
void pawl_client_put_chars(char *out, size_t capacity, ProtobufCBinaryData from);
/** @id may be NULL: nothing is written. */
void pawl_client_put_name(struct pawl_fact_name *name, const Pawl__V1__FactId *id);
/** @count entries of @size bytes in the arena of answers; NULL: no room, or none asked for. */
void *pawl_client_array(struct pawl_client *client, size_t count, size_t size);

/* ---- fallback.c ---- */
/** Hints (local rates beside a named limit) to append to the slot's frame. */
struct hint {
    uint32_t item;
    uint32_t window_ms;
    uint64_t count;
};
/** Is the policy of every named limit of client->request remembered and recent? */
bool pawl_client_learned_all(struct pawl_client *client, const struct pawl_wire_request *request);
/** Remember what the answer in client->reply says about named limits of the slot's request. */
void pawl_client_learn(struct pawl_client *client, const struct slot *slot);
/** Fill the check's result from the on_error of its items. */
void pawl_client_fallback(struct pawl_client *client, const struct slot *slot);
/** The wire request in @slot's frame, into client->request; false: it cannot be read. */
bool pawl_client_reread(struct pawl_client *client, const struct slot *slot);

/* ---- local.c ---- */
struct local_pair {
    struct pawl_rate rate;
    uint64_t cost;
    struct pawl_id id;
    struct local_slot *place;
    struct pawl_rate_result *result;
};
/** Identity of a key at a rate in this process. */
struct pawl_id pawl_client_local_id(struct pawl_client *client,
                                    const struct pawl_wire_request *request,
                                    const struct pawl_wire_item *item, uint32_t rate_index,
                                    uint32_t window_ms);
/** Find or make the record of @pair and ask it. False: no room (or the same record twice). */
bool pawl_client_local_ask(struct pawl_client *client, struct local_pair *pair, uint64_t now_ns);
/** Charge a pair that was asked, or only let go of it. */
void pawl_client_local_end(struct pawl_client *client, struct local_pair *pair, bool charge);
/** Records that hold an event at @now_ns. */
uint32_t pawl_client_local_used(const struct pawl_client *client, uint64_t now_ns);

#endif
