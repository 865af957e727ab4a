/*
 * Several members with real tables, an engine that is a table of fields, and the links between
 * them, all in one thread: what tests of core/cluster/slots.h stand on. Messages wait in queues, in
 * order for each pair of members, until the test lets them through.
 */
#ifndef PAWL_TESTS_SLOTS_WORLD_H
#define PAWL_TESTS_SLOTS_WORLD_H

#include "core/cluster/slots.h"

#define WORLD_NODES   5
#define WORLD_QUEUE   4096
#define WORLD_FIELDS  4096
#define WORLD_MEMORY  (4u << 20)
#define WORLD_WALL_MS UINT64_C(1790000000000)

struct world_node {
    bool alive;
    struct pawl_member_id id;
    void *region;
    struct pawl_limiter limiter;
    struct pawl_ownership ownership;
    struct pawl_cluster_slots slots;
    uint64_t view;
    uint64_t changes;
    uint64_t saved_ticket;
    enum pawl_engine_result saved_result;
};

/** A view that was proposed: all that are members, and those of them that serve. */
struct world_view {
    struct pawl_ring ring;
    struct pawl_member_id members[WORLD_NODES];
    uint16_t member_count;
};

struct world_message {
    bool answer; /* else a request */
    bool quiesced;
    unsigned from, to;
    uint64_t view; /* of the sender, with a request */
    struct pawl_slots_request request;
    struct pawl_slots_answer reply;
    uint8_t *bytes;
    size_t size;
};

struct world_field {
    bool used;
    struct pawl_id id;
    uint32_t slot;
    size_t size;
    uint8_t *bytes;
};

struct world_command {
    unsigned node;
    struct pawl_engine_command command;
    struct pawl_slot_entry *entries;
    uint8_t *bytes;
};

struct world {
    uint64_t now_ms;
    uint64_t random;
    struct pawl_subkey limits, slots_key;
    struct world_node nodes[WORLD_NODES];
    struct world_view views[512];
    unsigned view_count;
    struct world_message *messages[WORLD_QUEUE]; /* oldest first */
    unsigned message_count;
    struct world_command *commands[WORLD_QUEUE];
    unsigned command_count;
    struct world_field fields[WORLD_FIELDS];
    uint64_t fences[PAWL_RING_SLOTS];
    uint64_t saves, loads, refused;
    int cut;           /* this node can neither be asked nor ask; -1: none */
    bool engine_full;  /* writes and large reads are answered by an error */
    bool engine_fails; /* outcomes are UNKNOWN: done every other time */
};

void world_init(struct world *world, uint64_t seed);
void world_deinit(struct world *world);

/** A pseudo-random number below @below. */
uint64_t world_random(struct world *world, uint64_t below);

/** Start node @i with an empty table and a name of its own, up at the engine. */
void world_start(struct world *world, unsigned i);
/** Node @i is gone, with all it had in memory. */
void world_kill(struct world *world, unsigned i);

/** A view with the next number: bit i of @members, @serving is node i. Returns its index. */
unsigned world_propose(struct world *world, unsigned members, unsigned serving);
/** Node @i learns the view @index. */
void world_tell(struct world *world, unsigned i, unsigned index);
/** Propose and tell all that are alive. */
void world_view_all(struct world *world, unsigned members, unsigned serving);

/** Let one waiting request or answer through: @pick-th of those that may come next. False: none. */
bool world_deliver(struct world *world, unsigned pick);
/** The asker of one waiting request hears that it failed; it is lost, or goes on its way. */
bool world_time_out(struct world *world, unsigned pick);
/** Let the engine carry out and answer its oldest command. False: none. */
bool world_engine(struct world *world);
/** Tick all, deliver all, for @ms, in steps of @step_ms. */
void world_run(struct world *world, uint64_t ms, uint64_t step_ms);

/** The node that decides @slot, or -1. More than one is an error. */
int world_holder(struct world *world, uint32_t slot);

/** Field of @id in the engine, or NULL. */
struct world_field *world_field(struct world *world, struct pawl_id id);

#endif
