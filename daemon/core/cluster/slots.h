/*
 * Slots that come and go: which slots of the ring are decided here, how their records get here from
 * who had them before, and how they are saved behind the answers.
 *
 * This is the only writer of struct pawl_ownership's states (the tenure is others'). It works on
 * the limiter's table itself; commands go to the engine through options.out (part PAWL_PART_SLOTS),
 * requests to other members through options.calls.ask. No clock, no I/O: time is an argument,
 * BOOTTIME ms, and the limiter's instants are taken from it.
 *
 * Gaining. A slot that a view gives to this member becomes WANTED. For each bundle (slot % 64) with
 * wanted slots every other member of the view is asked (Pull): it stops deciding on what is not its
 * own any more and hands its records over; they are kept apart until all pages of one member have
 * come, then added to the table at once, then confirmed (Pull with have), then the member forgets
 * them. A pull that fails before that is begun from the start; a confirmation is repeated until it
 * is answered, whatever views come in between, and before anything else is asked of that member for
 * that bundle: so no record is added twice. When all have answered and all confirmations are
 * through, the slot is HELD; if nobody said that it was whole with him, its records are loaded from
 * the engine first, behind a save of nothing that fences late saves of its last owner.
 *
 * Losing. A slot that a view takes away goes on being decided here until its heir asks. Then it is
 * GIVEN: not decided by anybody until the heir has confirmed. If the heir begins anew, or is not in
 * the view any more, what was given is taken back: nobody has decided on it since. What this member
 * has whole but does not decide (it was on its way through here when the view changed) stays whole
 * until its heir has it.
 *
 * An heir that decides the slot already does not ask: for a while each of the two acted on a view
 * of its own (two primaries), and his has won. Whoever goes on with a slot that is not his any more
 * and is asked nothing by its owner for PAWL_SLOTS_LINGER_MS tells him so, by a Push of nothing;
 * and the owner asks him once for all bundles, as if he had just gained them. What comes of a slot
 * that both decided is not added: both began with the same records.
 *
 * A view without this member: others have decided about its slots since, on what the engine had.
 * All is dropped then, but for what was counted without an owner.
 *
 * Saving. Dirty records of HELD slots leave each interval_ms within a budget of bytes, one
 * SLOT_SAVE for each slot, under the number of the last view that gave the slot to this member:
 * an older owner's save is REFUSED by the engine once a newer one has saved. An outcome that is
 * UNKNOWN makes the slot dirty again, now and once more later: a save that was late may have undone
 * a newer one. On a new epoch all is dirty.
 *
 * Counted without an owner (degraded). Records in slots of others go to their owner by Push, each
 * once, by a sequence number of this member's; what is on its way is gone from the table.
 *
 * In the engine a record is: 8 bytes fleet clock in ms, 8 bytes wall clock in ms (both of who saved
 * it, 0: not known), the record (window.h), the seal. Its age when loaded is what both clocks have
 * gone on since at least, never less than nothing: too young is allowed, too old never.
 *
 * Life: init -> on_view, on_up, on_down, tick, on_reply, on_answer, asked ... -> deinit. One
 * thread, but for the ownership it writes.
 */
#ifndef PAWL_CORE_CLUSTER_SLOTS_H
#define PAWL_CORE_CLUSTER_SLOTS_H

#include "core/cluster/engine.h"
#include "core/cluster/ownership.h"
#include "core/cluster/seal.h"
#include "core/limiter.h"

#define PAWL_SLOT_ANCHOR_BYTES  16
#define PAWL_SLOT_VALUE_MAX     (PAWL_SLOT_ANCHOR_BYTES + PAWL_RECORD_BYTES_MAX + 8)
#define PAWL_SLOT_KEEP_MS       (UINT64_C(400) * 86400 * 1000) /* longer than any period */
#define PAWL_SLOTS_SAVES_MAX    256                            /* SLOT_SAVEs outstanding */
#define PAWL_SLOTS_LOADS_MAX    64                             /* SLOT_LOADs outstanding */
#define PAWL_SLOTS_PULLS_MAX    32  /* pulls under way, each with what has come so far */
#define PAWL_SLOTS_GIVES_MAX    256 /* bundles that are being given at once */
#define PAWL_SLOTS_PULL_MAX     (UINT64_C(256) << 20) /* bytes of one pull */
#define PAWL_SLOTS_PULLED_MAX   (UINT64_C(128) << 20) /* held by all pulls: no new one above it */
#define PAWL_SLOTS_RETRY_MS     100         /* between attempts at one member, or at one slot */
#define PAWL_SLOTS_FIRST_MS     2           /* of a pull that was refused: then twice as long */
#define PAWL_SLOTS_SAVE_BYTES_S (32u << 20) /* a second, saved in the background */
#define PAWL_SLOTS_PUSH_MAX \
    ((size_t)60 * 1024)             /* bytes of one Push: a request's, or one record's */
#define PAWL_SLOTS_SWEEP_MS   1000  /* one own slot's spent fields */
#define PAWL_SLOTS_LINGER_MS  10000 /* an owner that asks for nothing so long is told */
#define PAWL_SLOTS_LOAD_TRIES 50    /* loads of one slot that the engine answers with an error */
#define PAWL_SLOTS_RESAVE_MS  10000 /* after an UNKNOWN: once more */
#define PAWL_SLOTS_PAGE_MIN   ((size_t)64 * 1024) /* a page has room for the largest record */

/* ---- other members ---- */

/** A Pull or a Push to another member. Lent for the call. */
struct pawl_slots_request {
    uint64_t tag; /* of the answer */
    struct pawl_member_id member;
    bool push;
    /* Pull */
    uint32_t bundle;
    uint64_t cursor; /* with have: which one is confirmed (the view it began with) */
    bool have;
    /* Push */
    uint64_t sequence;
    struct pawl_bytes records; /* each behind its size, as below */
};

/** What came back. Lent for the call. */
struct pawl_slots_answer {
    uint64_t tag;
    enum pawl_status status;   /* PAWL_OK; else it is asked again: refused, not reached, too late */
    struct pawl_bytes records; /* Pull: each behind its size (u32, little endian) */
    uint64_t cursor;           /* Pull: where to go on; 0: that was all */
    uint64_t whole;            /* Pull */
};

struct pawl_slots_calls {
    /**
     * Send @request with the view of the moment to a member. Answered exactly once by
     * pawl_cluster_slots_on_answer(), never from inside; after some seconds with a failure.
     */
    void (*ask)(void *self, const struct pawl_slots_request *request);
    /** States of slots have changed: who waits for that looks again. May be NULL. */
    void (*changed)(void *self);
    /** A pawl_cluster_slots_save_now() is through: all its saves were WON, or the worst of them. */
    void (*saved)(void *self, uint64_t ticket, enum pawl_engine_result result);
    void *self;
};

struct pawl_cluster_slots_options {
    struct pawl_limiter *limiter;     /* made with config.slots and persist; outlives this */
    struct pawl_ownership *ownership; /* outlives this; all its states are FOREIGN */
    struct pawl_member_id self;
    struct pawl_seal_keys limits; /* PAWL_SUBKEY_LIMITS: of what lies in the engine */
    uint32_t interval_ms;         /* between saves; at least 1 */
    struct pawl_engine_out out;
    struct pawl_heap heap;
    struct pawl_slots_calls calls;
};

/** A view as this module needs it. Lent for the call. */
struct pawl_slots_view {
    const struct pawl_ring *ring;         /* of the SERVING members; ring->view is its number */
    const struct pawl_member_id *members; /* all of them, LEAVING ones too */
    uint16_t member_count;
};

/** How things stand; counts since init where it does not say "now". */
struct pawl_slots_figures {
    uint64_t held;               /* slots, now */
    uint64_t wanted;             /* slots, now */
    uint64_t given;              /* slots, now */
    uint64_t pulls;              /* under way, now */
    uint64_t saves;              /* outstanding, now */
    uint64_t unsaved_age_ms;     /* of the oldest change that no WON save has, now; 0: none */
    uint64_t unsaved_age_max_ms; /* the largest that was seen while the engine was up */
    uint64_t saved_records;      /* in WON saves */
    uint64_t saved_bytes;
    uint64_t save_refused;   /* slots that a newer owner had */
    uint64_t save_unknown;   /* saves that had to be said again */
    uint64_t pulled_records; /* joined from other members */
    uint64_t given_records;  /* handed to other members */
    uint64_t pull_retries;
    uint64_t join_lost;    /* records that could not be taken in: no memory, or malformed */
    uint64_t loaded_slots; /* from the engine: their owner had died, or the fleet was cold */
    uint64_t loaded_records;
    uint64_t load_given_up;  /* slots: the engine did not want to say what it has; begun empty */
    uint64_t load_bad;       /* values with a bad seal or form; they are left where they are */
    uint64_t swept_fields;   /* spent ones that were deleted */
    uint64_t pushed_records; /* sent to owners, confirmed */
    uint64_t push_joined;    /* taken from others */
    uint64_t seized_slots;   /* dropped, for others decided about them meanwhile */
};

/* ---- private ---- */

struct pawl_slots_pull;
struct pawl_slots_give;
struct pawl_slots_save;
struct pawl_slots_tables;

struct pawl_cluster_slots {
    /* ---- to be read ---- */
    uint64_t next_ms; /* when tick wants to be called; UINT64_MAX: something has to happen first */
    uint64_t fence;   /* the highest view of an owner that the engine refused us for */
    /* ---- private ---- */
    struct pawl_cluster_slots_options options;
    struct pawl_slots_tables *tables; /* all that is large */
    uint64_t view;                    /* number; 0: none yet */
    bool member;                      /* this one is in the view */
    bool up;
    bool told; /* a change of states that calls.changed has not heard of */
    struct pawl_epoch epoch;
    uint64_t tags;
    uint64_t fleet_ms, wall_ms, clock_ms; /* clocks, and when they read so; 0: not known */
    uint64_t save_now_ms;                 /* of the pass that is being saved */
    uint32_t saves, loads;
    struct pawl_slots_figures figures;
};

/* ---- life ---- */

/** Returns PAWL_OK, PAWL_EINVAL (options), PAWL_ENOMEM. */
PAWL_MUST_USE enum pawl_status pawl_cluster_slots_init(
    struct pawl_cluster_slots *slots, const struct pawl_cluster_slots_options *options,
    uint64_t now_ms);
void pawl_cluster_slots_deinit(struct pawl_cluster_slots *slots);

/* ---- what happens ---- */

/**
 * A view with a higher number than the last one; a lower or the same one is nothing. Publish the
 * territory after this: first states, then ring.
 */
void pawl_cluster_slots_on_view(struct pawl_cluster_slots *slots,
                                const struct pawl_slots_view *view, uint64_t now_ms);

/** The engine is there, in @epoch; again without a down when that changed. */
void pawl_cluster_slots_on_up(struct pawl_cluster_slots *slots, struct pawl_epoch epoch,
                              uint64_t now_ms);
void pawl_cluster_slots_on_down(struct pawl_cluster_slots *slots, uint64_t now_ms);

/** The engine has lost its data (FLUSHALL): all is saved again. */
void pawl_cluster_slots_emptied(struct pawl_cluster_slots *slots, uint64_t now_ms);

/** What the clocks read at @now_ms: the engine's of the last ANNOUNCE, and this machine's. */
void pawl_cluster_slots_set_clock(struct pawl_cluster_slots *slots, uint64_t fleet_ms,
                                  uint64_t wall_ms, uint64_t now_ms);

/** Do what is due. Call it at next_ms or earlier, and after any of the others set it lower. */
void pawl_cluster_slots_tick(struct pawl_cluster_slots *slots, uint64_t now_ms);

/** A reply to a command of PAWL_PART_SLOTS. */
void pawl_cluster_slots_on_reply(struct pawl_cluster_slots *slots,
                                 const struct pawl_engine_reply *reply, uint64_t now_ms);

/** The answer to an ask. */
void pawl_cluster_slots_on_answer(struct pawl_cluster_slots *slots,
                                  const struct pawl_slots_answer *answer, uint64_t now_ms);

/** Requests wait for @slot: its bundle comes first. */
void pawl_cluster_slots_wanted_first(struct pawl_cluster_slots *slots, uint32_t slot);

/** Something was counted here for @slot without its owner. */
void pawl_cluster_slots_counted(struct pawl_cluster_slots *slots, uint32_t slot, uint64_t now_ms);

/**
 * Save the records of @ids as they are now, for an answer that waits (consistency: exact).
 * calls.saved is called once with @ticket, never from inside. A WAIT that is emitted after this
 * call counts these saves. Records of slots that are not HELD are passed over.
 *
 * Returns PAWL_OK; PAWL_EAGAIN when too much is outstanding or the engine is away: nothing was
 * done, calls.saved is not called.
 */
PAWL_MUST_USE enum pawl_status pawl_cluster_slots_save_now(struct pawl_cluster_slots *slots,
                                                           const struct pawl_id *ids, size_t count,
                                                           uint64_t ticket, uint64_t now_ms);

/* ---- asked by other members ---- */

enum pawl_slots_asked {
    PAWL_SLOTS_ANSWER = 1, /* call pawl_cluster_slots_page() now; with have: answer nothing */
    PAWL_SLOTS_QUIESCE,    /* wait until every worker has begun a new batch, then call it */
    PAWL_SLOTS_BUSY,       /* not now: answer that it is unavailable, the asker comes again */
    PAWL_SLOTS_MOVED,      /* the asker's view is older than ours: STATUS_MOVED */
};

/**
 * A Pull has come. A view in it that is higher than ours has been adopted before.
 *
 * @view  the number of the asker's. @bundle below 64; @cursor, @have  as in the Pull.
 */
enum pawl_slots_asked pawl_cluster_slots_asked(struct pawl_cluster_slots *slots,
                                               const struct pawl_member_id *asker, uint64_t view,
                                               uint32_t bundle, uint64_t cursor, bool have,
                                               uint64_t now_ms);

/**
 * The page of a Pull without have, after pawl_cluster_slots_asked().
 *
 * @out   room for @capacity bytes, PAWL_SLOTS_PAGE_MIN at least; @size says how many were written.
 * @next  out: cursor of the next page; 0: that was all. @whole  out: of the PullReply.
 *
 * Returns PAWL_OK, or PAWL_EAGAIN when this hand-over is over: answer as PAWL_SLOTS_BUSY.
 */
PAWL_MUST_USE enum pawl_status pawl_cluster_slots_page(struct pawl_cluster_slots *slots,
                                                       const struct pawl_member_id *asker,
                                                       uint32_t bundle, uint64_t cursor,
                                                       uint8_t *out, size_t capacity, size_t *size,
                                                       uint64_t *next, uint64_t *whole,
                                                       uint64_t now_ms);

/**
 * A Push has come: @records each behind its size.
 *
 * @known  out: it had been added before.
 *
 * Returns PAWL_OK; PAWL_EAGAIN: some of it is not this member's by its view, or it may not decide
 * now (answer MOVED); PAWL_ECORRUPT: malformed. Then nothing was added.
 */
PAWL_MUST_USE enum pawl_status pawl_cluster_slots_pushed(struct pawl_cluster_slots *slots,
                                                         const struct pawl_member_id *sender,
                                                         uint64_t sequence,
                                                         struct pawl_bytes records, bool *known,
                                                         uint64_t now_ms);

/* ---- how it stands ---- */

/** A view with this member is there, and none of its slots is WANTED any more. */
bool pawl_cluster_slots_settled(const struct pawl_cluster_slots *slots);

/**
 * Nothing is left here that somebody needs: every slot's heir has confirmed it; where nobody is
 * left to inherit (the last one goes), all is saved. True from then on is what a leaver waits for.
 */
bool pawl_cluster_slots_empty(struct pawl_cluster_slots *slots, uint64_t now_ms);

void pawl_cluster_slots_figures(struct pawl_cluster_slots *slots, uint64_t now_ms,
                                struct pawl_slots_figures *figures);

/* ---- values in the engine (slots_value.c) ---- */

/** What the clocks of the fleet and of this machine read; 0: not known. */
struct pawl_slot_anchor {
    uint64_t fleet_ms;
    uint64_t wall_ms;
};

/** Seal @record into @out (room for PAWL_SLOT_VALUE_MAX). Returns the size. */
size_t pawl_slot_value_make(const struct pawl_subkey *limits, struct pawl_slot_anchor anchor,
                            struct pawl_bytes record, uint8_t *out);

/**
 * Open what lies under @id in slot @slot: bytes that anybody may have written.
 *
 * @record      out: lies in @value; not checked beyond its head (pawl_limiter_join() does that).
 * @elapsed_ms  out: how long ago it was saved, at least, by what @now reads.
 *
 * Returns PAWL_OK or PAWL_ECORRUPT: no seal that holds, or of another id or slot.
 */
PAWL_MUST_USE enum pawl_status pawl_slot_value_open(
    const struct pawl_subkey *limits, struct pawl_id id, uint32_t slot, struct pawl_slot_anchor now,
    struct pawl_bytes value, struct pawl_bytes *record, uint64_t *elapsed_ms);

/** The next record of a run of them, each behind its size; moves @run behind it. */
PAWL_MUST_USE bool pawl_slot_run_next(struct pawl_bytes *run, struct pawl_bytes *record);

#endif
