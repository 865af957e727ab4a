/*
 * What the cluster asks of its engine (Redis, Valkey), in words of the domain: commands out,
 * replies in. The logic in core/cluster/ is pure step functions over these; adapter/redis turns
 * them into RESP, tests/sim answers them from a model that loses tails, stops and fails over.
 *
 * A command is lent for the call that emits it: who takes it copies or encodes what it needs.
 * Every command that was emitted is answered exactly once, never from inside the emit. Replies are
 * lent for the call that brings them.
 *
 * Commands other than READ run in the order in which they were emitted (one connection); READ runs
 * beside them (another one). WAIT counts the replicas that hold every write emitted before it.
 *
 * No command relies on "read, then overwrite": writes are joins (a larger number wins, the same
 * again changes nothing), so a command whose outcome is UNKNOWN is simply emitted again.
 */
#ifndef PAWL_CORE_CLUSTER_ENGINE_H
#define PAWL_CORE_CLUSTER_ENGINE_H

#include "core/fact.h"
#include "core/ring.h"
#include "core/types.h"

#define PAWL_ORIGINS_MAX       1024  /* streams that are followed; dead ones included */
#define PAWL_MEMBER_INFO_MAX   576   /* bytes that a member says about itself */
#define PAWL_VIEW_BYTES_MAX    65536 /* a serialized view */
#define PAWL_LOG_ENTRY_MAX     8448  /* bytes of one entry of a stream: a fact, sealed */
#define PAWL_SLOT_SAVE_MAX     4096  /* records in one SLOT_SAVE */
#define PAWL_FAMILY_SEALED_MAX 8448  /* a sealed record of a family */

/** One primary's life as its clients see it: a hash of (run_id, master_replid). Zero: none. */
struct pawl_epoch {
    uint8_t bytes[16];
};

static inline bool pawl_epoch_equal(struct pawl_epoch a, struct pawl_epoch b)
{
    return __builtin_memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

static inline bool pawl_member_id_equal(struct pawl_member_id a, struct pawl_member_id b)
{
    return __builtin_memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

/** A member and the origin of its facts have one name: node id, then boot nonce. */
static inline struct pawl_member_id pawl_member_of(struct pawl_origin origin)
{
    struct pawl_member_id id;

    __builtin_memcpy(id.bytes, origin.bytes, sizeof(id.bytes));
    return id;
}

/** Which part of a node emitted a command, and gets its reply. */
enum pawl_engine_part {
    PAWL_PART_NONE = 0,
    PAWL_PART_MEMBERS,
    PAWL_PART_LOG,
    PAWL_PART_GATE,
    PAWL_PART_SLOTS,
    PAWL_PART_FAMILY,
};

enum pawl_engine_verb {
    PAWL_ENGINE_NONE = 0,
    PAWL_ENGINE_ANNOUNCE,    /* heartbeat: I live; tell me everything */
    PAWL_ENGINE_VIEW_SET,    /* this view, unless there is a higher one, or another than known */
    PAWL_ENGINE_RETIRE,      /* take a member out of the announced ones */
    PAWL_ENGINE_APPEND,      /* one entry at the end of an origin's stream */
    PAWL_ENGINE_READ,        /* entries behind the cursors; may block */
    PAWL_ENGINE_TRIM,        /* drop the entries of an origin before a position */
    PAWL_ENGINE_DROP_ORIGIN, /* a stream with nothing in it, of a dead origin */
    PAWL_ENGINE_GATE_READY,  /* this member has said all it knows of families in this epoch */
    PAWL_ENGINE_GATE_OPEN,   /* families may be written in this epoch */
    PAWL_ENGINE_FAMILY_GET,
    PAWL_ENGINE_FAMILY_SET, /* compare and set on the version */
    PAWL_ENGINE_SLOT_SAVE,  /* counter records of one slot, fenced by the view's number */
    PAWL_ENGINE_SLOT_LOAD,  /* all records of one slot */
    PAWL_ENGINE_WAIT,       /* until so many replicas hold what was written before */
};

enum pawl_engine_result {
    PAWL_ENGINE_RESULT_NONE = 0,
    PAWL_ENGINE_WON,     /* done, or done before: the state is as the command wants it */
    PAWL_ENGINE_REFUSED, /* not done, and it will not be: see the reply */
    PAWL_ENGINE_UNKNOWN, /* it may have happened, or may happen yet (timeout, connection lost) */
    PAWL_ENGINE_UNSENT,  /* it did not happen: there was no connection to send it on */
    PAWL_ENGINE_FAILED,  /* the engine said an error (out of memory, no permission): reply.error */
};

/** Where a follower is in one origin's stream. */
struct pawl_log_cursor {
    struct pawl_origin origin;
    uint64_t position; /* read up to here; 0: from the start */
};

struct pawl_log_entry {
    struct pawl_origin origin;
    uint64_t position;
    struct pawl_bytes bytes;
};

/** A counter record as it lies in the engine: sealed bytes under the record's id. */
struct pawl_slot_entry {
    struct pawl_id id;
    struct pawl_bytes value; /* size 0 in a SLOT_SAVE: delete it */
};

struct pawl_engine_command {
    enum pawl_engine_verb verb;
    enum pawl_engine_part part;
    uint64_t tag;         /* the emitter's, returned in the reply */
    uint32_t deadline_ms; /* from the emit; afterwards UNKNOWN (sent) or UNSENT */
    union {
        struct {
            struct pawl_member_id self;
            struct pawl_bytes info; /* up to PAWL_MEMBER_INFO_MAX */
        } announce;
        struct {
            uint64_t number;
            struct pawl_bytes view; /* serialized, view.h */
            /* Only where `base` is the number of the view that is there (0: where there is none):
             * of two proposals that know the same view one is taken, so that none undoes what
             * another one said. Not set: unless there is one with a higher number. */
            bool exact;
            uint64_t base;
            /* Not empty: in place of these very bytes, which are no view, whatever number stands
             * beside them. */
            struct pawl_bytes over;
        } view_set;
        struct {
            struct pawl_member_id member;
        } retire;
        struct {
            struct pawl_origin origin;
            /* WON: it is the last entry now, or the stream's top was at or above it already.
             * REFUSED: the top is below it and is not `after`. So a lost entry is never followed
             * by the next one. `after` is 0 for a stream that does not exist, and lies more than
             * one below where the emitter knows that there is nothing between. */
            uint64_t position;
            uint64_t after;
            struct pawl_bytes bytes;
        } append;
        struct {
            const struct pawl_log_cursor *cursors;
            uint32_t count;
            uint32_t entries_max; /* of each origin */
            uint32_t block_ms;    /* 0: answer at once */
        } read;
        struct {
            struct pawl_origin origin;
            uint64_t position; /* the first one that stays */
        } trim;
        struct {
            struct pawl_origin origin;
        } drop;
        struct {
            struct pawl_epoch epoch;
            struct pawl_member_id self; /* GATE_READY */
        } gate;
        struct {
            struct pawl_id key;
            uint64_t version;        /* SET: what it has to be; 0: there must be none */
            uint64_t next;           /* SET: the version to write, larger than that */
            struct pawl_bytes value; /* SET: sealed record, up to PAWL_FAMILY_SEALED_MAX */
            uint64_t until_s;        /* SET: kept until, seconds since 1970 */
            bool gated;              /* SET: only while the gate stands open for `epoch` */
            struct pawl_epoch epoch; /* SET: in which it was read */
        } family;
        struct {
            uint32_t slot;
            uint64_t view;                         /* SAVE: of the owner; an older one is REFUSED */
            struct pawl_member_id owner;           /* SAVE */
            const struct pawl_slot_entry *entries; /* SAVE, up to PAWL_SLOT_SAVE_MAX */
            uint32_t count;
            uint64_t keep_ms; /* SAVE: the slot may be forgotten when so long untouched */
        } slot;
        struct {
            uint32_t replicas;
            uint32_t timeout_ms; /* less than deadline_ms */
        } wait;
    };
};

/** A member as the engine has it. */
struct pawl_announced {
    struct pawl_member_id id;
    uint64_t mark; /* changes with each announcement; not a time to be compared with others */
    struct pawl_bytes info;
};

/** What there is of one origin's stream. */
struct pawl_origin_top {
    struct pawl_origin origin;
    uint64_t first; /* position of the first entry held; 0: none */
    uint64_t top;   /* last position ever given; 0: none */
};

struct pawl_engine_reply {
    enum pawl_engine_verb verb;
    enum pawl_engine_part part;
    uint64_t tag;
    enum pawl_engine_result result;
    struct pawl_bytes error; /* FAILED: what the engine said */
    union {                  /* WON, but where said otherwise */
        struct {
            uint64_t engine_ms;     /* the engine's clock */
            uint32_t replicas;      /* connected and in step */
            struct pawl_bytes view; /* size 0: there is none */
            const struct pawl_announced *members;
            uint32_t member_count;
            const struct pawl_origin_top *tops;
            uint32_t top_count;
            struct pawl_epoch gate;             /* open for this epoch */
            const struct pawl_member_id *ready; /* members that said GATE_READY in this epoch */
            uint32_t ready_count;
        } announce;
        struct {
            struct pawl_bytes view; /* REFUSED: the one that is there */
            uint64_t replaced; /* WON: number of the one that was there; 0: none, or this one */
        } view_set;
        struct {
            const struct pawl_log_entry *entries; /* in order for each origin */
            uint32_t count;
        } read;
        struct {
            bool closed;      /* SET REFUSED: the gate, not the version */
            uint64_t version; /* GET WON, SET REFUSED: what is there; 0: nothing */
            struct pawl_bytes value;
        } family;
        struct {
            uint64_t view;                         /* SAVE REFUSED: the owner's that has it now */
            const struct pawl_slot_entry *entries; /* LOAD */
            uint32_t count;
        } slot;
        struct {
            uint32_t replicas; /* that hold it; may be less than asked */
        } wait;
    };
};

/** Where commands go. */
struct pawl_engine_out {
    void (*emit)(void *self, const struct pawl_engine_command *command);
    void *self;
};

static inline void pawl_engine_emit(const struct pawl_engine_out *out,
                                    const struct pawl_engine_command *command)
{
    out->emit(out->self, command);
}

/** Memory for what grows: as realloc(); size 0 frees. The core has no heap of its own. */
struct pawl_heap {
    void *(*take)(void *self, void *old, size_t size);
    void *self;
};

#endif
