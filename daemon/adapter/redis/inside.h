/*
 * The engine's parts, to each other. engine.c holds the state machine, queue.c the commands,
 * handshake.c what a new connection has to show, sentinel.c who is primary.
 */
#ifndef PAWL_ADAPTER_REDIS_INSIDE_H
#define PAWL_ADAPTER_REDIS_INSIDE_H

#include "codec.h"
#include "link.h"
#include "redis.h"

#include <stdatomic.h>

#define PAWL_REDIS_BACKOFF_MIN_MS  200
#define PAWL_REDIS_BACKOFF_MAX_MS  5000
#define PAWL_REDIS_BACKOFF_ROLE_MS 1000 /* at most, where somebody answers: a failover is near */
#define PAWL_REDIS_TICK_MS         20
#define PAWL_REDIS_IDLE_MS         250
#define PAWL_REDIS_PROBE_MS        1200  /* without an ANNOUNCE for so long we look ourselves */
#define PAWL_REDIS_POLICY_MS       60000 /* between looks at how it evicts */
#define PAWL_REDIS_OUTPUT_MAX      ((size_t)32 << 20)
#define PAWL_REDIS_BLOCK           1024 /* pendings taken at once */
#define PAWL_REDIS_BLOCKS_MAX      256
#define PAWL_REDIS_WHY_MAX         256

enum pawl_redis_phase {
    PAWL_REDIS_RESTING = 0, /* the retry timer runs */
    PAWL_REDIS_SEEKING,     /* a sentinel is asked */
    PAWL_REDIS_GREETING,    /* both connections are made, and show what they are */
    PAWL_REDIS_UP,
    PAWL_REDIS_CLOSING, /* connections end */
    PAWL_REDIS_CLOSED,
};

struct pawl_redis_place {
    char host[PAWL_REDIS_HOST_MAX];
    uint16_t port;
    struct pawl_tls_context *context; /* lent */
};

/** Tried from the first on; the last good one is the first. */
struct pawl_redis_places {
    struct pawl_redis_place places[PAWL_REDIS_ADDRESSES_MAX];
    unsigned count;
    unsigned at;
};

struct pawl_redis_login {
    char user[PAWL_REDIS_NAME_MAX];
    char password[PAWL_REDIS_PASSWORD_MAX];
};

#define PAWL_REDIS_FIGURES(X) \
    X(engine_connects)        \
    X(engine_connect_failed)  \
    X(engine_epoch_changes)   \
    X(engine_commands)        \
    X(engine_unknown)         \
    X(engine_unsent)          \
    X(engine_failed)          \
    X(engine_late)            \
    X(engine_foreign)         \
    X(engine_replies_too_big) \
    X(engine_role_errors)     \
    X(sentinel_asked)         \
    X(sentinel_failed)

/** One writer, read by stats() anywhere. */
struct pawl_redis_figures {
#define X(name) _Atomic uint64_t name;
    PAWL_REDIS_FIGURES(X)
#undef X
    _Atomic uint64_t in_flight;
};

struct pawl_redis {
    struct pawl_net net;
    struct pawl_log log;
    struct pawl_entropy entropy;
    struct pawl_engine_events events;
    struct pawl_engine engine;

    struct pawl_redis_places servers; /* empty with Sentinel */
    struct pawl_redis_places sentinels;
    struct pawl_redis_place named; /* what Sentinel said; its context is set once */
    char master[PAWL_REDIS_NAME_MAX];
    struct pawl_redis_login login, sentinel_login;
    char tls_name[PAWL_REDIS_HOST_MAX];
    char client_name[PAWL_REDIS_NAME_MAX];
    uint32_t timeout_ms;
    bool strict;

    enum pawl_redis_phase phase;
    struct pawl_timer *tick, *retry;
    struct pawl_redis_link *main, *tail, *seeker;
    unsigned links;    /* whose memory has not gone */
    uint64_t since_ms; /* of this phase */
    uint32_t backoff_ms;
    bool somebody_answered; /* in this round: the back-off stays short */
    void (*closed)(void *ctx);
    void *closed_ctx;

    struct pawl_engine_state state;
    struct pawl_epoch last_epoch;
    struct pawl_redis_info info;
    struct pawl_redis_place current; /* where main leads */
    uint64_t announced_ms;           /* the last look at role and epoch */
    bool probing;
    uint64_t policy_ms;   /* the policy of memory was looked at */
    uint64_t watched_ms;  /* Sentinel was asked again */
    unsigned watch_at;    /* which one */
    unsigned watch_other; /* looks in a row that named another primary */
    uint32_t replicas;
    unsigned read_shrink;   /* READs ask for so many halvings less: a reply was too large */
    unsigned read_good;     /* since then */
    bool waiting;           /* a joint WAIT is under way */
    uint64_t tick_ms;       /* when the tick is to run */
    int64_t old_clients[2]; /* of the last connections, to be killed; 0: none */
    char old_run_id[PAWL_REDIS_RUN_ID + 1];

    struct pawl_redis_encoder encoder;
    struct pawl_redis_list ready; /* answers to be told on the next turn */
    struct pawl_redis_list wait_held, wait_sent;
    struct pawl_redis_list pool;
    struct pawl_redis_pending *blocks[PAWL_REDIS_BLOCKS_MAX];
    unsigned block_count;

    char last_why[PAWL_REDIS_WHY_MAX]; /* logged; not again within LOG_AGAIN_MS */
    uint64_t last_why_ms;
    struct pawl_redis_figures figures;
};

static inline uint64_t pawl_redis_now_ms(const struct pawl_redis *redis)
{
    return redis->net.ops->now_ms(redis->net.self);
}

#define pawl_redis_count(redis, name) \
    (void)atomic_fetch_add_explicit(&(redis)->figures.name, 1, memory_order_relaxed)

/* ---- engine.c ---- */

/** The only way to another phase; aborts where moves[] has it not. */
void pawl_redis_enter(struct pawl_redis *redis, enum pawl_redis_phase phase);

/** The retry timer: look for the primary, once. */
void pawl_redis_begin(void *ctx);
/** The other timer: answers, deadlines, silence. */
void pawl_redis_on_tick(void *ctx);
/** The tick runs soon. */
void pawl_redis_hurry(struct pawl_redis *redis);
/** Begin connecting to @place. */
void pawl_redis_connect(struct pawl_redis *redis, const struct pawl_redis_place *place);
/**
 * It is over with these connections: tell what is outstanding, say down where it was up, and try
 * again. @why is copied. Not from inside a call of the owner's.
 */
void pawl_redis_fail(struct pawl_redis *redis, const char *why);
/** A reply to a step of the handshake, or to a probe, came and was recorded. */
void pawl_redis_greeted(struct pawl_redis *redis, struct pawl_redis_link *link);
/** Whether INFO speaks of the primary, and the epoch, that we are up with. */
bool pawl_redis_is_same(const struct pawl_redis *redis, const struct pawl_redis_info *info);
void pawl_redis_close(void *self, void (*done)(void *ctx), void *ctx);
extern const struct pawl_redis_link_events pawl_redis_primary_events;

/** "10.0.0.1:6379", "[::1]:6379", "/run/redis.sock". */
void pawl_redis_place_text(const struct pawl_redis_place *place, char *out, size_t size);
/** The one that is tried now is the first from now on. */
void pawl_redis_prefer(struct pawl_redis_places *places);
/** A line in the log, unless it is the last one again. */
void pawl_redis_complain(struct pawl_redis *redis, const struct pawl_redis_place *place,
                         const char *why);
/** The next of @places, or a rest after the last one. */
void pawl_redis_next(struct pawl_redis *redis, struct pawl_redis_places *places);

/* ---- handshake.c ---- */

/** Send the first steps. */
enum pawl_status pawl_redis_greet(struct pawl_redis *redis, struct pawl_redis_link *link);
/** Send one step of our own. */
enum pawl_status pawl_redis_ask(struct pawl_redis *redis, struct pawl_redis_link *link,
                                enum pawl_redis_step step, const char *const *words);
/** AUTH, where there is a password. */
enum pawl_status pawl_redis_ask_login(struct pawl_redis *redis, struct pawl_redis_link *link,
                                      const struct pawl_redis_login *login);
/** Record the answer to a step. */
void pawl_redis_note(struct pawl_redis_link *link, enum pawl_redis_step step,
                     const struct pawl_resp *value);
/** What both connections showed, put together; false: @redis->state.warning says why not. */
bool pawl_redis_judge(struct pawl_redis *redis);

/* ---- sentinel.c ---- */

void pawl_redis_seek(struct pawl_redis *redis);
/** While up: ask now and then whether the primary is still the one. */
void pawl_redis_watch(struct pawl_redis *redis, uint64_t now_ms);
/** Let go of the sentinel that is asked. */
void pawl_redis_drop_seeker(struct pawl_redis *redis);
/** A sentinel that is silent for too long is left. */
void pawl_redis_seek_expire(struct pawl_redis *redis, uint64_t now_ms);

/* ---- queue.c ---- */

void pawl_redis_emit(void *self, const struct pawl_engine_command *command);
struct pawl_redis_pending *pawl_redis_take(struct pawl_redis *redis);
void pawl_redis_give_back(struct pawl_redis *redis, struct pawl_redis_pending *pending);
/** A reply to an engine's command, or to a joint WAIT. */
void pawl_redis_on_answer(struct pawl_redis *redis, struct pawl_redis_pending *pending,
                          const struct pawl_resp *value, struct pawl_resp_reader *reader);
/** Tell what waits to be told. */
void pawl_redis_tell_ready(struct pawl_redis *redis);
/** UNKNOWN for what was sent and is past its deadline, UNSENT for what was not. */
void pawl_redis_expire(struct pawl_redis *redis, uint64_t now_ms);
/** Everything outstanding: sent on @main and @tail, held, ready. Lists are empty afterwards. */
void pawl_redis_abandon(struct pawl_redis *redis, struct pawl_redis_link *main,
                        struct pawl_redis_link *tail);

#endif
