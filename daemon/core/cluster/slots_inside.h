/* What the parts of the slots' logic share. Private to slots*.c. */
#ifndef PAWL_CORE_CLUSTER_SLOTS_INSIDE_H
#define PAWL_CORE_CLUSTER_SLOTS_INSIDE_H

#include "core/cluster/slots.h"

#define PAWL_BUNDLES            PAWL_LIMITER_BUNDLES
#define PAWL_SLOTS_WORDS        (PAWL_RING_SLOTS / PAWL_BUNDLES) /* slots of a bundle: bits of a set */
#define PAWL_SLOTS_COMMANDS     2048                             /* outstanding, of all kinds */
#define PAWL_SLOTS_EXACTS       1024                             /* answers that wait for a save */
#define PAWL_SLOTS_DEADLINE_MS  5000
#define PAWL_SLOTS_BUFFER       ((size_t)512 * 1024) /* values of one pass of saving */
#define PAWL_SLOTS_MEMBER_PULLS 4                    /* of one member at once */
#define PAWL_SLOTS_NOTHING      UINT32_MAX

_Static_assert(PAWL_SLOTS_WORDS == 64, "a set of a bundle's slots is one word");

/** One pull from one member of one bundle. */
struct pawl_slots_pull {
    bool used;
    bool waiting; /* for an answer with `tag` */
    bool joined;  /* all came and was added: now it has to be confirmed */
    struct pawl_member_id member;
    uint8_t tries;  /* that failed, up to TRIES_MAX */
    uint16_t index; /* of the member in the view */
    uint32_t bundle;
    uint64_t tag;
    uint64_t view; /* it began with */
    uint64_t cursor;
    uint64_t retry_ms;
    uint64_t whole;
    uint8_t *bytes; /* of the heap */
    size_t size, capacity;
};

/** What is being given to one heir of one bundle. */
struct pawl_slots_give {
    bool used;
    struct pawl_member_id heir;
    uint32_t bundle;
    uint64_t view;  /* the heir's, when it began */
    uint64_t set;   /* his slots */
    uint64_t held;  /* of them, decided here up to then */
    uint64_t whole; /* of them, with all their records here */
};

enum pawl_slots_kind {
    PAWL_SLOTS_SAVE = 1,
    PAWL_SLOTS_FENCE, /* before a load */
    PAWL_SLOTS_LOAD,
    PAWL_SLOTS_LOOK,  /* a load of the sweep */
    PAWL_SLOTS_CLEAN, /* what the sweep deletes */
};

/** A command that is outstanding. */
struct pawl_slots_save {
    enum pawl_slots_kind kind; /* 0: free */
    uint32_t slot;
    uint64_t tag;
    uint64_t view; /* of the module at the time */
    uint64_t since_ms;
    uint32_t records;
    uint64_t bytes;
    uint32_t exact;          /* index + 1 of the answer that waits */
    struct pawl_id *deleted; /* of the heap: what a save that failed has to delete again */
    uint32_t deleted_count;
};

/** An answer that waits for its saves. */
struct pawl_slots_exact {
    bool used;
    uint64_t ticket;
    uint32_t left;
    enum pawl_engine_result worst;
};

/** Records on their way to the owner. */
struct pawl_slots_push {
    bool used;
    bool nudge; /* nothing is in it: he has not asked for what lingers here */
    bool waiting;
    struct pawl_member_id owner;
    uint32_t bundle;
    uint64_t set; /* slots that may be in it */
    uint64_t tag;
    uint64_t sequence;
    uint64_t retry_ms;
    size_t size;
    uint32_t records;
    uint8_t *bytes; /* of the heap, PAWL_SLOTS_PUSH_MAX */
};

struct pawl_slots_sender {
    struct pawl_member_id member;
    uint64_t sequence;
};

/** One record of a pass of saving, in the buffer. */
struct pawl_slots_item {
    struct pawl_id id;
    uint32_t offset;
    uint32_t size; /* 0: delete it */
};

/* Sets are by bundle; bit i is slot i * 64 + bundle. */
struct pawl_slots_tables {
    struct pawl_ring ring;
    struct pawl_member_id members[PAWL_MEMBERS_MAX];
    uint16_t member_count;
    uint16_t self; /* in ring */
    uint16_t me;   /* in members */
    uint64_t owned_view[PAWL_RING_SLOTS];
    uint64_t mine[PAWL_BUNDLES];   /* by the view */
    uint64_t wanted[PAWL_BUNDLES]; /* as the states say */
    uint64_t held[PAWL_BUNDLES];
    uint64_t given[PAWL_BUNDLES];
    uint64_t whole[PAWL_BUNDLES]; /* not held, but all is here */
    uint64_t load_due[PAWL_BUNDLES];
    uint64_t loading[PAWL_BUNDLES];
    uint64_t load_later[PAWL_BUNDLES];   /* due at load_retry_ms */
    uint64_t fenced[PAWL_BUNDLES];       /* a fence did not hold: its load is void */
    uint8_t load_tries[PAWL_RING_SLOTS]; /* that FAILED */
    uint64_t load_retry_ms;
    uint64_t answered[PAWL_MEMBERS_MAX]; /* bundles, by this member in this view */
    uint64_t nudged[PAWL_MEMBERS_MAX];   /* bundles: this member has something of ours */
    uint64_t asked_ms[PAWL_MEMBERS_MAX]; /* when he last asked for something, or the view came */
    uint64_t linger_ms;                  /* look again for slots that nobody asks for */
    uint64_t first;                      /* bundles: requests wait */
    uint64_t recheck;                    /* bundles: they may be ready */
    uint64_t counted;                    /* bundles: something may have to be pushed */
    uint64_t mark_due;                   /* bundles of which `mark` is to be saved again */
    uint64_t mark[PAWL_BUNDLES];
    uint64_t mark_since_ms[PAWL_BUNDLES]; /* what it is dirty since */
    uint64_t round;             /* bundles: still to be looked at in this round of saving */
    uint64_t round_ms;          /* the next one begins */
    uint64_t budget, budget_ms; /* bytes that may be saved, as of when */
    uint64_t again[PAWL_BUNDLES];
    uint64_t again_ms; /* 0: never */
    uint64_t sweep_ms;
    uint32_t sweep_slot;
    uint64_t push_sequence;
    uint64_t push_ms;
    struct pawl_slots_push push;
    struct pawl_slots_sender senders[PAWL_MEMBERS_MAX];
    struct pawl_slots_pull pulls[PAWL_SLOTS_PULLS_MAX];
    struct pawl_slots_give gives[PAWL_SLOTS_GIVES_MAX];
    struct pawl_slots_save commands[PAWL_SLOTS_COMMANDS];
    uint32_t command_hand;
    struct pawl_slots_exact exacts[PAWL_SLOTS_EXACTS];
    uint32_t exacts_ready; /* none left to wait for: to be told */
    struct pawl_slots_item items[PAWL_SLOT_SAVE_MAX];
    struct pawl_slot_entry entries[PAWL_SLOT_SAVE_MAX];
    uint32_t item_count;
    size_t buffer_used;
    uint8_t buffer[PAWL_SLOTS_BUFFER];
    uint8_t scratch[2 * PAWL_RECORD_BYTES_MAX];
};

static inline uint32_t pawl_slot_bundle(uint32_t slot)
{
    return slot % PAWL_BUNDLES;
}

static inline uint64_t pawl_slot_bit(uint32_t slot)
{
    return UINT64_C(1) << (slot / PAWL_BUNDLES);
}

static inline uint32_t pawl_slot_number(uint32_t bundle, unsigned bit)
{
    return bit * PAWL_BUNDLES + bundle;
}

static inline uint32_t pawl_slot_of_id(struct pawl_id id)
{
    return (uint32_t)(id.lo & (PAWL_RING_SLOTS - 1));
}

/** The lowest bit of @set, which is not 0. */
static inline unsigned pawl_set_first(uint64_t set)
{
    return (unsigned)__builtin_ctzll(set);
}

/** The table's "now": ages that leave are too young by less than a ms, those that come too. */
static inline struct pawl_instant pawl_slots_leaving(uint64_t now_ms)
{
    struct pawl_instant now = { now_ms * 1000000 };

    return now;
}

static inline struct pawl_instant pawl_slots_coming(uint64_t now_ms)
{
    struct pawl_instant now = { (now_ms + 1) * 1000000 };

    return now;
}

/** tick has something to do at @ms. */
static inline void pawl_slots_due(struct pawl_cluster_slots *slots, uint64_t ms)
{
    slots->next_ms = ms < slots->next_ms ? ms : slots->next_ms;
}

/* ---- slots.c ---- */

/** Set the state of @slot for the workers, and in the sets. */
void pawl_slots_set(struct pawl_cluster_slots *slots, uint32_t slot, enum pawl_slot_state state);

/** Set @state for all slots of @set. */
void pawl_slots_set_all(struct pawl_cluster_slots *slots, uint32_t bundle, uint64_t set,
                        enum pawl_slot_state state);

/** The state of a slot that is not decided here: WANTED if the view gives it to us, else FOREIGN.
 */
void pawl_slots_set_away(struct pawl_cluster_slots *slots, uint32_t bundle, uint64_t set);

/** Index of @id among all members of the view, or PAWL_RING_NOBODY. */
uint16_t pawl_slots_member(const struct pawl_cluster_slots *slots, const struct pawl_member_id *id);

bool pawl_slots_in_view(const struct pawl_cluster_slots *slots, const struct pawl_member_id *id);

/** Tell the workers of changes, if there were any. */
void pawl_slots_tell(struct pawl_cluster_slots *slots);

struct pawl_slot_anchor pawl_slots_anchor(const struct pawl_cluster_slots *slots, uint64_t now_ms);

/** All records of the slots @set are to be saved again, dirty since @since_ms. */
void pawl_slots_mark(struct pawl_cluster_slots *slots, uint32_t bundle, uint64_t set,
                     uint64_t since_ms, uint64_t now_ms);

void *pawl_slots_heap(struct pawl_cluster_slots *slots, void *old, size_t size);

/**
 * Join all records of @run that lie in @bundle, but for those of the slots @skip; malformed ones
 * are counted. Returns how many.
 */
uint64_t pawl_slots_join_run(struct pawl_cluster_slots *slots, uint32_t bundle, uint64_t skip,
                             struct pawl_bytes run, uint64_t now_ms);

/* ---- slots_pull.c ---- */

void pawl_slots_pulls_on_view(struct pawl_cluster_slots *slots, uint64_t now_ms);
void pawl_slots_pulls_tick(struct pawl_cluster_slots *slots, uint64_t now_ms);
bool pawl_slots_pulls_on_answer(struct pawl_cluster_slots *slots,
                                const struct pawl_slots_answer *answer, uint64_t now_ms);
void pawl_slots_pulls_drop(struct pawl_cluster_slots *slots, bool all);
/** A pull of @bundle waits for its confirmation. */
bool pawl_slots_is_confirming(const struct pawl_cluster_slots *slots, uint32_t bundle);

/* ---- slots_give.c ---- */

void pawl_slots_gives_on_view(struct pawl_cluster_slots *slots);
void pawl_slots_gives_drop(struct pawl_cluster_slots *slots);
/** The slots of @bundle that somebody is being given. */
uint64_t pawl_slots_giving(const struct pawl_cluster_slots *slots, uint32_t bundle);

/* ---- slots_save.c: what is outstanding, saving ---- */

/** A free entry, or NULL: too much is outstanding. */
struct pawl_slots_save *pawl_slots_command(struct pawl_cluster_slots *slots,
                                           enum pawl_slots_kind kind, uint32_t slot);
/** Fill in what all commands have, and emit. */
void pawl_slots_emit(struct pawl_cluster_slots *slots, const struct pawl_slots_save *save,
                     const struct pawl_slot_entry *entries, uint32_t count);
void pawl_slots_command_end(struct pawl_cluster_slots *slots, struct pawl_slots_save *save);
void pawl_slots_saves_tick(struct pawl_cluster_slots *slots, uint64_t now_ms);
void pawl_slots_saves_on_reply(struct pawl_cluster_slots *slots, struct pawl_slots_save *save,
                               const struct pawl_engine_reply *reply, uint64_t now_ms);
/** Since when something that is decided here is not saved; UINT64_MAX: nothing. */
uint64_t pawl_slots_unsaved_ms(struct pawl_cluster_slots *slots);

/* ---- slots_load.c: loads, the sweep ---- */

void pawl_slots_loads_tick(struct pawl_cluster_slots *slots, uint64_t now_ms);
void pawl_slots_loads_on_reply(struct pawl_cluster_slots *slots, struct pawl_slots_save *save,
                               const struct pawl_engine_reply *reply, uint64_t now_ms);

/* ---- slots_push.c ---- */

void pawl_slots_push_on_view(struct pawl_cluster_slots *slots, uint64_t now_ms);
void pawl_slots_push_tick(struct pawl_cluster_slots *slots, uint64_t now_ms);
bool pawl_slots_push_on_answer(struct pawl_cluster_slots *slots,
                               const struct pawl_slots_answer *answer, uint64_t now_ms);

#endif
