/*
 * What one server of the modelled engine holds, and what a write makes of it. Replicas run the same
 * writes later, so a server that is promoted holds what had reached it, and no more.
 */
#ifndef PAWL_SIM_MODEL_STATE_H
#define PAWL_SIM_MODEL_STATE_H

#include "core/cluster/engine.h"
#include "sim/kernel.h"

/** A command that outlives its emit: everything it points to lies behind it. */
struct model_command {
    struct pawl_engine_command command;
    uint32_t references;
};

struct model_command *model_command_copy(const struct pawl_engine_command *command);
void model_command_drop(struct model_command *command);

struct model_member {
    struct pawl_member_id id;
    uint64_t mark;
    struct blob *info;
};

struct model_stream {
    struct pawl_origin origin;
    uint64_t first; /* position of entries[0]; meaningless when empty */
    uint64_t top;
    struct model_entry {
        uint64_t position;
        struct blob *bytes;
    } * entries;
    uint32_t count, capacity;
};

struct model_family {
    struct pawl_id key;
    uint64_t version;
    uint64_t until_s;
    struct blob *value;
};

struct model_record {
    struct pawl_id id;
    uint64_t as_of_us; /* true time when its owner sent it: for checkers */
    struct blob *value;
};

struct model_slot {
    uint64_t view;
    uint64_t until_ms; /* by the server's clock */
    struct model_record *records;
    uint32_t count, capacity;
};

struct model_state {
    uint64_t view_number;
    struct blob *view;
    struct model_member *members;
    uint32_t member_count;
    struct model_stream *streams;
    uint32_t stream_count;
    struct pawl_epoch gate;
    struct pawl_epoch ready_epoch;
    struct pawl_member_id ready[PAWL_MEMBERS_MAX];
    uint32_t ready_count;
    struct model_family *families;
    uint32_t family_count, family_capacity;
    struct model_slot *slots[PAWL_RING_SLOTS];
};

/** What became of a write. */
struct model_outcome {
    enum pawl_engine_result result;
    const struct model_family *family; /* FAMILY_SET REFUSED; NULL: none */
    bool closed;
    uint64_t slot_view; /* SLOT_SAVE REFUSED */
    uint64_t replaced;  /* VIEW_SET WON */
};

void model_state_clear(struct model_state *state);
/** Make @to the same as @from. */
void model_state_copy(struct model_state *to, const struct model_state *from);

/**
 * Run a write at @clock_ms of the server's own clock; it was sent at @emitted_us of true time. Same
 * state, same arguments: same end.
 */
struct model_outcome model_state_write(struct model_state *state,
                                       const struct pawl_engine_command *command, uint64_t clock_ms,
                                       uint64_t emitted_us);

struct model_stream *model_state_stream(const struct model_state *state,
                                        const struct pawl_origin *origin);
struct model_family *model_state_family(struct model_state *state, struct pawl_id key,
                                        uint64_t clock_ms);
/** NULL when there is none, or its time is over. */
struct model_slot *model_state_slot(struct model_state *state, uint32_t slot, uint64_t clock_ms);

/** Memory is short: forget one thing that has an expiry, picked by @chance. */
bool model_state_evict(struct model_state *state, uint64_t chance);

bool model_verb_writes(enum pawl_engine_verb verb);
/** Whether a server without memory refuses it. */
bool model_verb_grows(enum pawl_engine_verb verb);

#endif
