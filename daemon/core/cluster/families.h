/*
 * Families of refresh tokens in the engine: read, decide, compare and set, wait for replicas; and
 * what this node wrote lately, to be said again after a failover.
 *
 * One call, one decision that counts:
 *
 *   PARKED --engine up, gate open--> GETTING --> decide --> done (nothing to write)
 *                                       ^           |
 *                                       |           v
 *                  other version there, +---- SETTING --won--> WAITING --enough replicas--> done
 *                  outcome unknown                                 |
 *                                       too few: asked again,      +--deadline--> PAWL_EUNAVAIL
 *
 * A write is compared on the version that was read and gated by the epoch in which it was read, so
 * of two nodes that decide at once one decides again on what the other wrote. After an outcome that
 * is not known the record is read again: its own write is told by its version and its bytes. What
 * is answered from the record as it is, as to a retry, is written and waited for again: CONFIRM.
 *
 * On a new epoch each record written in the last PAWL_FAMILIES_KEEP_MS is joined with what the
 * engine holds now (pawl_family_merge), ungated; is_merged is true when all are in. A join may
 * find a fork, two winners of one generation: the record is revoked then, and on_fork hears of it.
 *
 * Pure: time is an argument, memory comes from the heap, commands go out. One thread.
 */
#ifndef PAWL_CORE_CLUSTER_FAMILIES_H
#define PAWL_CORE_CLUSTER_FAMILIES_H

#include "core/cluster/engine.h"
#include "core/family.h"

#define PAWL_FAMILIES_CALLS_MAX 1024   /* under way at once; more wait in order */
#define PAWL_FAMILIES_MERGES    64     /* joins under way at once */
#define PAWL_FAMILIES_KEEP_MS   600000 /* 10 minutes: longer than any replication lag in use */
#define PAWL_FAMILIES_KEPT_MAX  16384  /* records, where the options say nothing */

struct pawl_family_call;

/** What comes of a decision. */
enum pawl_family_verdict {
    PAWL_FAMILY_LEAVE, /* nothing: the answer needs nothing that could be lost */
    PAWL_FAMILY_WRITE, /* @fresh replaces @old */
    /**
     * The answer hands out what @old holds (a successor, to a retry). Perhaps no replica ever had
     * that: who wrote it may have waited in vain. So it is written again as it is, and waited for
     * like any other; @old may not be NULL.
     */
    PAWL_FAMILY_CONFIRM,
};

/**
 * Decide on @old, NULL where the engine holds none. May run several times for one call, so it has
 * to be a pure function of its arguments.
 *
 * @fresh    out, with WRITE.
 * @until_s  out, but with LEAVE: how long the engine keeps the record.
 * @verdict  out.
 *
 * Returns PAWL_OK, or why the call ends without a write.
 */
typedef enum pawl_status pawl_family_call_decide(struct pawl_family_call *call,
                                                 const struct pawl_family *old,
                                                 struct pawl_family *fresh, uint64_t *until_s,
                                                 enum pawl_family_verdict *verdict);

/** One read-decide-write. The caller's memory, lent from start until `done`. */
struct pawl_family_call {
    struct pawl_id key;
    uint64_t deadline_ms; /* BOOTTIME: then PAWL_EUNAVAIL */
    pawl_family_call_decide *decide;
    /**
     * The end, once; never from inside pawl_families_start(). @why is for people, with anything
     * but PAWL_OK. Not PAWL_OK after a write was sent: it may stand all the same.
     */
    void (*done)(struct pawl_family_call *call, enum pawl_status status, const char *why);
    void *owner;

    /* out */
    bool written;      /* the record in the engine is this call's, confirmed ones too */
    uint32_t replicas; /* that are known to hold it */

    /* ---- private ---- */
    struct pawl_family_call *next;
};

struct pawl_family_slot; /* private: families.c */
struct pawl_family_kept; /* private: families_kept.c */

struct pawl_families_options {
    const struct pawl_subkey *keys;    /* `facts`; kept: the first seals, all of them open */
    unsigned keys_count;               /* at least 1 */
    const struct pawl_heap *heap;      /* kept */
    const struct pawl_engine_out *out; /* kept */
    uint32_t command_ms;               /* deadline of one command */
    uint32_t kept_max;                 /* 0: PAWL_FAMILIES_KEPT_MAX */
    /** A join found two winners: @family is the revoked record, lent. May be NULL. */
    void (*on_fork)(void *self, const struct pawl_family *family);
    void *self;
};

struct pawl_families_stats {
    uint64_t calls;        /* begun */
    uint64_t unavailable;  /* ended so */
    uint64_t raced;        /* another version was there: decided again */
    uint64_t unknown;      /* outcomes that had to be looked up */
    uint64_t wait_short;   /* too few replicas confirmed */
    uint64_t gate_refused; /* writes that met a closed gate */
    uint64_t merged;       /* records joined after a new epoch */
    uint64_t reasserted;   /* of them, those that the engine had lost or had older */
    uint64_t forks;
    uint64_t bad_seals; /* records whose seal does not hold */
    uint64_t kept;      /* records, now */
    uint64_t kept_cut;  /* given up before their time, for want of room */
};

struct pawl_families {
    struct pawl_families_stats stats;
    uint64_t next_ms; /* when tick wants to be called; UINT64_MAX: not */
    bool is_merged;   /* in this epoch all that is kept here was joined */

    /* ---- private ---- */
    struct pawl_families_options options;
    struct pawl_epoch epoch;
    bool up, gate_open;
    uint32_t replicas;
    uint64_t serial;                       /* of tags */
    struct pawl_family_slot *slots;        /* CALLS_MAX for calls, then MERGES */
    struct pawl_family_call *first, *last; /* that have no slot yet */
    uint32_t calls, merges;                /* slots in use */
    uint32_t calls_end;                    /* those of calls from here on are free */
    uint64_t wait_tag;                     /* 0: no WAIT is out */
    struct pawl_family_kept *kept;
    uint32_t *buckets;
    uint32_t kept_max, bucket_mask, kept_free, oldest, newest;
    uint32_t round;                /* of joining: grows with each epoch */
    uint32_t merge_next;           /* place in kept to look at next */
    struct pawl_family old, fresh; /* scratch */
};

/** PAWL_OK, PAWL_ENOMEM. */
PAWL_MUST_USE enum pawl_status pawl_families_init(struct pawl_families *families,
                                                  const struct pawl_families_options *options);

/** Ends what is under way with PAWL_ECANCELED, then frees all. */
void pawl_families_deinit(struct pawl_families *families);

/** Begin @call. */
void pawl_families_start(struct pawl_families *families, struct pawl_family_call *call,
                         uint64_t now_ms);

void pawl_families_on_up(struct pawl_families *families, struct pawl_epoch epoch, uint32_t replicas,
                         uint64_t now_ms);
void pawl_families_on_down(struct pawl_families *families, uint64_t now_ms);

/** The engine has lost its data in this epoch (FLUSHALL): what is kept here is joined anew. */
void pawl_families_emptied(struct pawl_families *families, uint64_t now_ms);

/** Replicas in step, as the last announcement said. */
static inline void pawl_families_set_replicas(struct pawl_families *families, uint32_t replicas)
{
    families->replicas = replicas;
}

/** Whether the gate stands open in this epoch: parked calls go on. */
void pawl_families_set_gate(struct pawl_families *families, bool open, uint64_t now_ms);

/** A reply to part PAWL_PART_FAMILY. */
void pawl_families_on_reply(struct pawl_families *families, const struct pawl_engine_reply *reply,
                            uint64_t now_ms);

/** Deadlines; records that are old enough to be forgotten. */
void pawl_families_tick(struct pawl_families *families, uint64_t now_ms);

/** Replicas that make a majority with their primary: of @replicas, 0 for none. */
static inline uint32_t pawl_families_quorum(uint32_t replicas)
{
    return (replicas + 1) / 2;
}

#endif
