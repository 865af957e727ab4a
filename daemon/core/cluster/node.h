/*
 * One node: membership, log, gate, slots, families and acknowledgements, wired to each other. The
 * daemon's cluster thread and the simulation run this very composition.
 *
 *   engine --- up, down, reply ---> members, log, gate, slots, families (reply.part says whose)
 *   members -- announced ---------> log (tops), gate, slots (clock), families, acks
 *   members -- adopted -----------> log, acks, slots, then events.on_view
 *   members -- tenure ------------> ownership
 *   log ------ synced once -------> members: ready to join
 *   log ------ progress ----------> acks
 *   families - all merged --------> gate
 *   gate ----- open, closed ------> families
 *
 * Whoever has a node calls the parts (node.log, node.slots ...) directly for what concerns one part
 * alone: adding facts, serving a Pull, starting a family. Afterwards pawl_node_tick() is due.
 *
 * Pure; one thread. Big (half a MiB): not for a stack.
 */
#ifndef PAWL_CORE_CLUSTER_NODE_H
#define PAWL_CORE_CLUSTER_NODE_H

#include "core/cluster/acks.h"
#include "core/cluster/families.h"
#include "core/cluster/gate.h"
#include "core/cluster/log.h"
#include "core/cluster/members.h"
#include "core/cluster/slots.h"

#define PAWL_NODE_WAITS_MAX 1024 /* tickets that wait for replicas */

/**
 * A primary that is cut off sees its replicas vanish, and takes writes for min-replicas-max-lag (10
 * s unless set) and a second more. So for this long, within one epoch, replicas that vanish are
 * still counted: no majority is made of nobody.
 */
#define PAWL_NODE_REPLICAS_MS 15000

struct pawl_node_events {
    /** As the log's. May not call the log, but for its queries and pawl_log_want(). */
    void (*on_fact)(void *self, const struct pawl_log_news *news);
    void (*on_cancel)(void *self, const struct pawl_fact *canceled,
                      const struct pawl_fact *remaining);
    /** Two winners of one generation were found; lent. Add a fact that says so in the next turn. */
    void (*on_fork)(void *self, const struct pawl_family *family);
    /** Another view is acted on: states of slots follow it already. Publish it, then poke. */
    void (*on_view)(void *self, const struct pawl_view *view);
    /** It is this node's own proposal: tell it to the others. @sealed is lent. May be NULL. */
    void (*push)(void *self, struct pawl_bytes sealed);
    /** This node was judged dead, and finds itself out of the view. May be NULL. */
    void (*expelled)(void *self);
    /** A Pull or a Push: struct pawl_slots_calls. */
    void (*ask)(void *self, const struct pawl_slots_request *request);
    /** States of slots changed, or decisions are possible again. */
    void (*changed)(void *self);
    /** A pawl_cluster_slots_save_now() is through. */
    void (*saved)(void *self, uint64_t ticket, enum pawl_engine_result result);
    /** A pawl_node_wait() is through; @enough: a majority of the replicas has it. */
    void (*waited)(void *self, uint64_t ticket, bool enough);
    void *self;
};

struct pawl_node_options {
    struct pawl_origin self;
    struct pawl_bytes address; /* to advertise; copied */
    struct pawl_bytes version; /* of the program; copied */
    int64_t started_unix_s;    /* for people */
    /* Of as many secrets: the first seals what lies in the engine, all of them open it. */
    const struct pawl_subkey *facts;  /* kept */
    const struct pawl_subkey *limits; /* copied */
    unsigned secrets_count;           /* 1 to PAWL_SEAL_KEYS_MAX */
    const struct pawl_subkey *slots;  /* copied: of the secret that names keys, at all members */
    struct pawl_limiter *limiter;     /* kept */
    struct pawl_ownership *ownership; /* kept */
    uint64_t birth_ms; /* of the store that this node brings along, fleet clock; 0: none */
    uint64_t staleness_max_ms;
    uint64_t facts_max;   /* 0: the log's default */
    uint32_t command_ms;  /* deadline of commands; 0: 1000 */
    uint32_t interval_ms; /* between saves of counters */
    bool strict_gate;
    uint64_t seed; /* random */
    struct pawl_engine_out out;
    struct pawl_heap heap;
    struct pawl_node_events events; /* all set but where it says so */
};

/**
 * What views and announcements are sealed with: not `slots`, which clients that route have; bound
 * to it, for members that name keys differently may share no view: they would count a key twice.
 */
struct pawl_subkey pawl_node_view_key(const struct pawl_subkey *facts,
                                      const struct pawl_subkey *slots);

/** What the operator sees beside the parts' own figures. */
struct pawl_node_figures {
    struct pawl_members_metrics members;
    struct pawl_gate_metrics gate;
    struct pawl_slots_figures slots;
    struct pawl_log_stats log;
    struct pawl_families_stats families;
    struct pawl_acks_stats acks;
    uint64_t epoch_changes;
    uint64_t engine_emptied;     /* times that the engine lost its data without a new epoch */
    uint64_t view_unreadable_ms; /* for how long the engine's view cannot be read; 0: it can */
    uint64_t
        staleness_ms;   /* since the last announcement all of whose tops are applied; MAX: none */
    uint64_t tenure_ms; /* that is left */
    uint64_t silent_max_ms; /* of the other members of the view */
    uint64_t exact_short;   /* WAITs of exact counters that found too few replicas */
    int64_t clock_offset_ms;
};

struct pawl_node {
    uint64_t next_ms; /* when tick wants to be called */
    struct pawl_members members;
    struct pawl_facts_log log;
    struct pawl_gate gate;
    struct pawl_cluster_slots slots;
    struct pawl_families families;
    struct pawl_acks acks;

    /* ---- to be read ---- */
    bool up;
    uint32_t replicas;       /* of the engine, in step: the most that were seen lately */
    uint64_t engine_ms;      /* the engine's clock at the last announcement; 0: none yet */
    uint64_t engine_read_ms; /* when that was */
    uint64_t birth_ms;       /* the smallest that a member of this fleet brought along; 0: none */
    bool done;               /* after gone(): this node is out */

    /* ---- private ---- */
    struct pawl_node_options options;
    struct pawl_subkey slots_key;
    uint64_t now_ms; /* of the step at hand */
    struct pawl_epoch epoch;
    uint64_t epoch_changes, engine_emptied;
    uint64_t went_back;   /* of the members' figures: told to the other parts */
    uint64_t replicas_ms; /* when so many were seen last */
    bool emptied;         /* the gate says that the engine's data are gone */
    uint64_t wall_ms, wall_read_ms;
    uint64_t digest_ms;
    bool leaving, ended, ready, held, merged_told;
    struct pawl_ring ring;
    uint64_t tags, wait_tag;
    struct {
        uint64_t ticket;
        uint64_t tag; /* of the WAIT that covers it; 0: the next one */
    } waits[PAWL_NODE_WAITS_MAX];
    uint32_t wait_count;
    uint64_t exact_short;
};

/** PAWL_OK, or what the parts' init say; nothing is to be deinited then. */
PAWL_MUST_USE enum pawl_status pawl_node_init(struct pawl_node *node,
                                              const struct pawl_node_options *options,
                                              uint64_t now_ms);

/** Ends what waits (acks with what they reached, families with PAWL_ECANCELED); replies that come
 * later are ignored. Twice is nothing. */
void pawl_node_end(struct pawl_node *node, uint64_t now_ms);

/** After end. */
void pawl_node_deinit(struct pawl_node *node);

void pawl_node_on_up(struct pawl_node *node, struct pawl_epoch epoch, uint32_t replicas,
                     uint64_t now_ms);
void pawl_node_on_down(struct pawl_node *node, uint64_t now_ms);
void pawl_node_on_reply(struct pawl_node *node, const struct pawl_engine_reply *reply,
                        uint64_t now_ms);

/** What this machine's civil clock reads, in ms since 1970; before on_reply and tick. */
void pawl_node_set_wall(struct pawl_node *node, uint64_t wall_ms, uint64_t now_ms);

/** What is due in any part. @slow_s: as pawl_log_tick(). */
void pawl_node_tick(struct pawl_node *node, uint64_t now_ms, uint64_t slow_s);

/** The view of a member that acts on it came (ViewPush, Pull, Push). @number out: its number. */
PAWL_MUST_USE enum pawl_status pawl_node_learn(struct pawl_node *node, struct pawl_bytes sealed,
                                               uint64_t now_ms, uint64_t *number);

/** Call events.waited once a majority of the replicas has all that was emitted before. Without
 * replicas it is enough at once, at the next tick. @ticket out of room: not enough. */
void pawl_node_wait(struct pawl_node *node, uint64_t ticket, uint64_t now_ms);

/** While @held, a node that is no member yet does not join, it listens. Not held at first. Heard
 * by the next tick. */
void pawl_node_hold(struct pawl_node *node, bool held);

/** Begin to leave; then left: whether nothing is left here; then bye; then `done`. */
void pawl_node_leave(struct pawl_node *node, uint64_t now_ms);
bool pawl_node_left(struct pawl_node *node, uint64_t now_ms);
void pawl_node_bye(struct pawl_node *node, uint64_t now_ms);

void pawl_node_figures_get(struct pawl_node *node, uint64_t now_ms,
                           struct pawl_node_figures *figures);

#endif
