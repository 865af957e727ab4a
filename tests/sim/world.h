/*
 * A run: nodes, their engine, the network, a workload, faults, and what is known about all of it.
 */
#ifndef PAWL_SIM_WORLD_H
#define PAWL_SIM_WORLD_H

#include "core/cluster/node.h"
#include "core/limiter.h"
#include "core/revocations.h"
#include "core/rotation.h"
#include "sim/counts.h"
#include "sim/facts.h"
#include "sim/kernel.h"
#include "sim/logins.h"
#include "sim/model_engine.h"
#include "sim/peers.h"

#define WORLD_LIMITER_BYTES (size_t)(4u << 20)
#define WORLD_INTERVAL_MS   1000               /* between saves of counters */
#define WORLD_ASKS          1024               /* requests of one node to others under way */
#define WORLD_PARKED        64                 /* checks that wait for a slot */
#define WORLD_HEAP_MAX      (size_t)(3u << 20) /* of one node: it takes 2.7 MB at once */

/** Protections that can be taken away; the checkers have to object to each (README.md). */
#define WORLD_CONTROLS(X)                                                                       \
    X(NONE, "none", "")                                                                         \
    X(NO_REASSERT, "no-reassert", "R1")         /* what an engine lost is not appended again */ \
    X(ACK_AT_ONCE, "ack-at-once", "R1")         /* a revocation is called safe before it is */  \
    X(SILENCE_IS_KNOWLEDGE, "silence", "R2")    /* everywhere does not wait for the silent */   \
    X(VIEW_IS_ALL, "view-is-all", "R2")         /* everywhere asks the view's members alone */  \
    X(READ_RENEWS, "read-renews", "R3")         /* a READ's answer renews freshness */          \
    X(SET_SHRINKS, "set-shrinks", "R4")         /* with the engine goes what came from it */    \
    X(EXPIRE_BY_WALL, "wall-expiry", "R5")      /* facts expire by a clock that jumps */        \
    X(FRESH_AT_START, "fresh-at-start", "R6")   /* fresh as soon as the engine answers */       \
    X(LAST_CUTOFF, "last-cutoff", "R7")         /* the last cutoff that came counts */          \
    X(GATE_AT_ONCE, "gate-at-once", "T1")       /* no node waits for what others know */        \
    X(RETRY_IS_NEW, "retry-is-new", "T2")       /* a retry's proposal is not recognised */      \
    X(REUSE_UNWRITTEN, "reuse-unwritten", "T3") /* a theft is answered but not written */       \
    X(CREATE_UNKNOWN, "create-unknown", "T4")   /* a rotation makes the family it misses */     \
    X(UNGATED, "ungated", "T5")                 /* writes of families pass a closed gate */     \
    X(EXACT_UNSAVED, "exact-unsaved", "C1")     /* exact is answered before it is saved */      \
    X(NO_TENURE, "no-tenure", "C3")             /* who lost the engine goes on deciding */      \
    X(OLD_VIEW_SAVES, "old-view-saves", "C3")   /* an old owner's saves pass the fence */       \
    X(FORGET_JOINED, "forget-joined", "C3")     /* records that were pulled are dropped */      \
    X(COUNT_TWICE, "count-twice", "C3")         /* records that were pulled are joined twice */ \
    X(FORGET_DENIED, "forget-denied", "C4")     /* pressure forgets a live record */            \
    X(LEAK, "leak", "C5")                       /* nothing is given back to the heap */         \
    X(RELOAD_RENAMES, "reload-renames", "C6")   /* a reload changes identities */               \
    X(NEVER_CONFIRM, "never-confirm", "L1")     /* hand-overs are never confirmed */

enum world_control {
#define X(name, text, invariant) CONTROL_##name,
    WORLD_CONTROLS(X)
#undef X
    CONTROL_COUNT,
};

struct world;
struct world_rotation;

#define WORLD_STREAMS   256
#define WORLD_ANNOUNCED 32
#define WORLD_ROTATIONS 64

/** An announcement as it was carried out: what had been said before it. */
struct world_announced {
    uint64_t emitted_us; /* 0: none */
    unsigned server;
    struct pawl_epoch epoch;
    unsigned stream_count;
    struct pawl_origin_top tops[WORLD_STREAMS];
};

/** Up to where a node was seen to know a stream. */
struct world_verified {
    struct pawl_origin origin;
    uint64_t position;
};

enum world_peer_kind {
    PEER_PULL = 1,
    PEER_PUSH,
    PEER_VIEW,
    PEER_CHECK,
};

/** A request to another node that has not been answered. */
struct world_ask {
    bool used;
    uint8_t kind;
    uint8_t to;
    uint64_t id;
    uint64_t tag; /* Pull, Push: the module's */
    uint32_t bundle;
    uint64_t sent_us;
    uint64_t deadline_us;
    uint32_t check; /* PEER_CHECK: place in checks */
};

/** A check under way at the node that took it. */
struct world_check {
    bool used, undecided; /* some owner may have counted it */
    uint8_t key;
    uint8_t tries;
    uint64_t id;
    uint64_t deadline_us;
    /* a forwarded one: whom to answer */
    bool is_forwarded;
    uint8_t from;
    uint32_t from_life;
    uint64_t from_id, view;
    /* exact: saved, then answered */
    uint64_t ticket, decided_us;
    bool parked;
    uint64_t again_us; /* parked: when to look again at the latest; 0: at the next change */
};

/** A revocation whose caller waits. */
struct world_revocation {
    struct pawl_ack_wait wait; /* first */
    struct sim_node *node;
    uint32_t token; /* UINT32_MAX: a cutoff or a cancel */
    uint32_t life;
    struct world_revocation *next, *previous;
};

struct sim_node {
    struct world *world;
    uint8_t index;
    bool alive, stopped, leaving, is_open; /* is_open: its modules live */
    uint32_t life;
    uint64_t born_us, stopped_us;
    uint64_t member_us; /* since when it has acted on views that it is in; 0: it does not */
    uint64_t boot_us;   /* BOOTTIME when the run began, of this machine */
    int64_t wall_offset_ms;
    struct pawl_origin origin;
    struct model_client *client;
    struct pawl_node node;
    struct pawl_ownership ownership;
    struct pawl_ring ring;
    uint16_t ring_self;
    uint64_t dropped_view; /* the last one that others made without it while it was alive */
    struct pawl_limiter limiter;
    void *limiter_region;
    struct pawl_limit limits[COUNT_KINDS];
    struct pawl_revocations table;
    void *table_region;
    uint64_t last_cutoff_ms[FACT_SUBJECTS]; /* for CONTROL_LAST_CUTOFF */
    struct world_ask asks[WORLD_ASKS];
    unsigned asks_high; /* places that were ever used */
    uint64_t asks_next_us;
    struct world_check checks[WORLD_PARKED];
    unsigned checks_high;
    uint64_t next_id;
    uint64_t tick_us;                        /* of the event in the queue; 0: none */
    struct peer_message *inbox, **inbox_end; /* while stopped */
    size_t heap_used;
    uint64_t machine; /* what its identity is made of, beside its place */
    uint64_t slow_base_s, slow_base_ms;
    uint64_t appended; /* own positions, for CONTROL_NO_REASSERT */
    bool is_changed, is_settling, said_bye, is_gone;
    uint64_t leave_until_us;
    uint64_t cutoff_seen_ms[FACT_SUBJECTS];
    uint64_t shown[FACT_TOKENS / 64]; /* tokens that it showed as revoked, in this life */
    struct world_rotation *rotations[WORLD_ROTATIONS];
    struct blob **journal; /* on its machine's disk: outlives the node */
    uint32_t journal_count, journal_capacity;
    uint64_t journaled[FACT_TOKENS / 64];
    uint64_t synced_seen_ms, fake_synced_ms;
    struct world_announced
        announced[WORLD_ANNOUNCED]; /* the last announcements that were carried out */
    unsigned announced_next;
    struct world_verified verified[WORLD_STREAMS];
    unsigned verified_count, verified_server;
    struct pawl_epoch verified_epoch;
    struct world_revocation *revocations; /* of this life, not answered */
    uint64_t emptied_us;                  /* when the engine last lost something of its own */
    uint32_t rings_lost;                  /* nodes that left, with their memory of families */
    uint64_t engine_hurt_us; /* when it last had no engine, or one that did not answer well */
    uint64_t gone_us;        /* when this life ended, or stopped */
};

/** What a run is made of; drawn from the seed. */
struct world_profile {
    unsigned nodes; /* that are wanted alive */
    unsigned servers;
    uint64_t length_us;    /* of the part with faults */
    uint64_t fault_gap_us; /* between faults, on the average */
    uint64_t staleness_ms; /* tokens.staleness_max */
    bool leaves;
    uint64_t step_gap_us; /* between steps of the workload */
    bool journal;         /* nodes keep facts on disk */
    bool min_replicas;
    bool clock_jumps, floods, partitions, kills, stops, failovers, losses, memory, reloads;
};

struct world {
    struct kernel kernel;
    struct model_engine engine;
    struct peers peers;
    struct sim_node nodes[SIM_NODES];
    struct world_profile profile;
    enum world_control control;
    struct counts counts;
    struct facts facts;
    struct logins logins;
    struct pawl_subkey facts_key, limits_key, slots_key;
    struct pawl_token_keys token_keys;
    struct pawl_heap heap; /* of the nodes: counts what is taken */
    bool faults_over;      /* everything heals */
    bool ended, is_quiet;
    bool has_failed; /* as the run ended, before anything is taken down */
    uint64_t run_hash, simulated_us;
    bool was_split;           /* a replica once went with an old primary */
    uint64_t two_sides_us;    /* when there last were two primaries */
    unsigned engine_troubles; /* under way */
    uint32_t losses;          /* faults so far that may lose something somebody holds alone */
    uint64_t emptied_us;      /* when the engine last lost something of its own */
    uint32_t rings_lost;      /* nodes that left or were dropped, with their memory of families */
    uint32_t evictions;       /* that may have hit records of families */
    uint64_t engine_hurt_us;  /* when an engine last lost or refused something */
    uint64_t steps, faults_done;
    size_t heap_max; /* the most that a node ever took */
    struct {
        uint64_t view;           /* the highest under which it was saved ... */
        struct pawl_epoch epoch; /* ... in this life of the engine */
    } saved[PAWL_RING_SLOTS];
};

/** One whole run. Returns whether it kept all promises; if not, world->kernel.why says which. */
bool world_run(struct world *world, uint64_t seed, enum world_control control, bool print_notes);
void world_free(struct world *world);

const char *world_control_name(enum world_control control);

/**
 * Two primaries take writes and nothing bounds it (no min-replicas-to-write), or did a moment ago:
 * each side has owners of its own, as members.h says.
 */
bool world_has_two_sides(struct world *world);
/**
 * The engine was emptied, and the view with it, while somebody was cut off who acts on a later view
 * without @node: those who came since are a fleet of their own until that one is back.
 */
bool world_has_two_fleets(const struct world *world, const struct sim_node *node);
/** @node calls itself fresh as of @synced_ms of its BOOTTIME. */
void world_check_synced(struct world *world, struct sim_node *node, uint64_t synced_ms,
                        bool is_first);

/* ---- nodes (nodes.c) ---- */

void node_start(struct world *world, unsigned place);
void node_kill(struct world *world, unsigned place);
void node_stop(struct world *world, unsigned place, bool stopped);
void node_leave(struct world *world, unsigned place);
uint64_t node_now_ms(const struct sim_node *node);
uint64_t node_wall_ms(const struct sim_node *node);
struct pawl_instant node_instant(const struct sim_node *node);
/** Something was done to its modules: look when the next tick is due. */
void node_settle(struct sim_node *node);
void node_end(struct sim_node *node);
bool node_is_ready(const struct sim_node *node);
uint64_t node_synced_ms(const struct sim_node *node);
uint64_t node_cutoff_ms(const struct sim_node *node, unsigned subject);
unsigned node_place(const struct pawl_member_id *member);
bool node_is(const struct sim_node *node, const struct pawl_member_id *member);
struct pawl_route node_route(struct sim_node *node, uint32_t slot);
/** Have one record saved at a majority; checks_on_saved() says how it went. */
bool node_save(struct sim_node *node, struct pawl_id id, uint64_t ticket);
void node_counted(struct sim_node *node, uint32_t slot);
void node_wanted(struct sim_node *node, uint32_t slot);
void node_refresh(struct sim_node *node, uint64_t view);

/* ---- what nodes ask of each other (node_peers.c) ---- */

void node_tell_view(struct sim_node *node, unsigned to);
/** As pawl_slots_calls.ask. */
void node_ask(void *node, const struct pawl_slots_request *request);
/** @message is given away. */
void node_handle(struct sim_node *node, struct peer_message *message);
void node_deliver(void *world, struct peer_message *message);
/** Requests whose time is over fail. Returns when to come again, in true time. */
uint64_t node_expire_asks(struct sim_node *node);
/** A place for a request to another node, used from now on; NULL: there is none. */
struct world_ask *node_free_ask(struct sim_node *node);
void node_ask_until(struct sim_node *node, struct world_ask *ask, uint64_t deadline_us);

/* ---- checks of keys (checks.c) ---- */

void checks_open(struct sim_node *node);
/** Find out where the keys lie; with any open node. */
void checks_identify(struct world *world, struct sim_node *node);
void checks_begin(struct world *world, struct sim_node *node, unsigned key);
void checks_on_message(struct sim_node *node, struct peer_message *message);
void checks_on_change(struct sim_node *node);
void checks_on_saved(struct sim_node *node, uint64_t ticket, bool good);
/** Deadlines. Returns when to come again, in true time. */
uint64_t checks_expire(struct sim_node *node);
void checks_flood(struct world *world, struct sim_node *node, unsigned count);
void checks_reload(struct world *world, struct sim_node *node);

/* ---- tokens (tokens.c) ---- */

void tokens_revoke(struct world *world, struct sim_node *node);
void tokens_cutoff(struct world *world, struct sim_node *node);
void tokens_read(struct world *world, struct sim_node *node);
void tokens_cancel(struct world *world, struct sim_node *node);
void tokens_on_fact(void *node, const struct pawl_log_news *news);
void tokens_on_cancel(void *node, const struct pawl_fact *canceled,
                      const struct pawl_fact *remaining);
/** The life of @node is over: nobody hears of its open revocations. */
void tokens_forget(struct sim_node *node);
void tokens_check_holders(struct world *world);
void tokens_acknowledged(struct world *world, uint32_t token);
void tokens_say_of_family(struct sim_node *node, const struct pawl_fact *fact);
bool tokens_node_knows(const struct sim_node *node, struct pawl_bytes entry);
void tokens_check_end(struct world *world);
/** @node leaves in good order. */
void tokens_leave(struct sim_node *node);
/** For CONTROL_SET_SHRINKS: @node does not show the latest revocations any more. */
void tokens_lose(struct sim_node *node);

/** The journal of a node's machine: facts on its disk. */
void node_journal(struct sim_node *node, struct pawl_bytes bytes);
bool journal_holds(const struct sim_node *node, uint32_t token);
void journal_load(struct sim_node *node);

/* ---- logins (rotations.c) ---- */

void rotations_step(struct world *world, struct sim_node *node);
/** The life of @node is over, and so are its calls. */
void rotations_forget(struct sim_node *node);

/* ---- faults (faults.c) ---- */

void faults_begin(struct world *world);
void faults_heal(struct world *world);

#endif
