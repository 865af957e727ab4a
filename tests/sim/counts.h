/*
 * What is known about every key that is counted: each admission with what became of it. Knows all
 * nodes at once, so it is exact where no node could be.
 *
 * CERTAIN: whoever decides about this key next has to have it. MAYBE: it was counted somewhere,
 * and may or may not reach the owner (no answer came, decided without an owner, lost in a crash
 * within the stated bound). C1, C3: certain admissions never exceed the limit. No doubling: a
 * denial needs as many admissions, certain or not, as the limit says.
 */
#ifndef PAWL_SIM_COUNTS_H
#define PAWL_SIM_COUNTS_H

#include "sim/kernel.h"
#include "sim/model_state.h"

#define COUNT_KEYS 24

enum count_kind {
    COUNT_STRICT = 0, /* without an owner: unavailable */
    COUNT_LOCAL,      /* without an owner: a share of the limit */
    COUNT_EXACT,      /* saved at a majority before the answer */
    COUNT_KINDS,
};

enum count_state {
    COUNT_CERTAIN = 0,
    COUNT_MAYBE,
};

struct count_event {
    uint64_t at_us;
    uint64_t late_us; /* it may have become this much younger on its way between nodes */
    uint8_t node;
    uint8_t state;
    bool acknowledged; /* exact: saved when it was answered */
};

struct count_key {
    enum count_kind kind;
    uint64_t limit;
    uint64_t window_us;
    uint32_t slot;
    struct pawl_id id;
    struct count_event *events;
    uint32_t first, count, capacity; /* those before `first` are older than a window */
    uint64_t admitted, denied, maybe;
};

struct counts {
    struct kernel *kernel;
    bool clocks_jump; /* what is loaded from the engine may be as young as when it was saved */
    struct count_key keys[COUNT_KEYS];
    uint64_t certain_lost; /* admissions that a crash lost, within the bound */
    uint64_t checked_denials;
};

/** Why admissions may be lost when a slot is loaded; the world knows. */
struct counts_excuse {
    /** An admission of @node at @at_us is not in what is loaded now: is that within the bounds? */
    bool (*may_be_lost)(void *world, unsigned node, uint64_t at_us, bool acknowledged);
    void *world;
};

void counts_init(struct counts *counts, struct kernel *kernel);
void counts_deinit(struct counts *counts);

void counts_admitted(struct counts *counts, unsigned key, unsigned node, enum count_state state,
                     bool acknowledged);
/** An admission of @node at @at_us was saved and answered. */
void counts_acknowledged(struct counts *counts, unsigned key, unsigned node, uint64_t at_us);
/** @exact_place: its own record, not a cell that it shares with others. */
void counts_denied(struct counts *counts, unsigned key, unsigned node, bool exact_place);
/** An owner loads @slot: what it does not find may be gone. @found NULL: nothing is there. */
void counts_loaded(struct counts *counts, uint32_t slot, const struct model_slot *found,
                   const struct counts_excuse *excuse);
/** Records of @bundle went from node to node: their entries are younger by the way's length. */
void counts_moved(struct counts *counts, uint32_t bundle, uint64_t late_us);

#endif
