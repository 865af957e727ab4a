/*
 * The store, as the edge sees it: four verbs of the domain, not of a database.
 *
 *   log      append facts (revocations, cutoffs, cancels) and hand out all that are held
 *   family   read, decide, compare-and-set one family of refresh tokens
 *   counter  save and load records of the limiter; soft state
 *   members  announce, list (a single node is its own only member)
 *
 * Work is a job: the caller's memory, lent until `done` has fired. The promises are libuv's: when
 * submit fails, done never fires; when it succeeds, done fires exactly once, on a thread of the
 * store's, never from inside submit. What a job says was acknowledged is on disk.
 *
 * The store knows nothing of rotation: a family job brings the function that decides, and the
 * store runs it on the record inside the transaction (embedded) or the compare-and-set loop
 * (cluster), so it may be called more than once and has to be a pure function of its arguments.
 */
#ifndef PAWL_PORT_STORE_H
#define PAWL_PORT_STORE_H

#include "core/fact.h"
#include "core/family.h"
#include "core/status.h"
#include "port/clock.h"
#include "port/log.h"
#include "port/stats.h"

/** Levels of acknowledgement, weakest first; numbers are those of the wire. */
enum pawl_ack {
    PAWL_ACK_DEFAULT = 0,
    PAWL_ACK_MEMORY = 1,
    PAWL_ACK_DURABLE = 2,
    PAWL_ACK_QUORUM = 3,
    PAWL_ACK_EVERYWHERE = 4,
};

enum pawl_job_kind {
    PAWL_JOB_NONE = 0,
    PAWL_JOB_APPEND,  /* log: one fact; the store gives it its id */
    PAWL_JOB_CANCEL,  /* log: a cancel fact; the store finds what its ids name */
    PAWL_JOB_FAMILY,  /* family: read, decide, write, with the facts that come of it */
    PAWL_JOB_COUNTER, /* counter: records, durable before done (consistency: exact) */
    PAWL_JOB_THAW,    /* end the frozen state */
    PAWL_JOB_FLUSH,   /* nothing but a commit: done when all before it is on disk */
    PAWL_JOB_FOLLOW,  /* log: hand out the facts behind one of them; not while frozen */
    PAWL_JOB_KEEP,    /* log: one fact of whatever kind and origin, which has its id already. One
                         that is kept is not written twice. Canceled are the facts that a cancel
                         names, and a fact that a cancel named before. No event is called */
};

#define PAWL_JOB_FACTS_MAX 2 /* facts that one decision may emit */

struct pawl_job;

/** What a family decision hands back to the store. */
struct pawl_family_outcome {
    bool write;                /* @record replaces or creates the row */
    struct pawl_family record; /* only where write */
    /**
     * No write, but the answer hands out what the record holds, as to a retry: it has to be as safe
     * as if it had just been written. Nothing to do where all that can be read is on disk.
     */
    bool confirm;
    unsigned fact_count; /* facts to append in the same transaction */
    struct pawl_fact facts[PAWL_JOB_FACTS_MAX];
};

/**
 * Decide on one family. @old is NULL when the store holds none. Runs on the store's thread, maybe
 * several times for one job; keeps its own result in the job's owner.
 */
typedef void (*pawl_family_decide)(struct pawl_job *job, const struct pawl_family *old,
                                   struct pawl_now now, struct pawl_family_outcome *outcome);

struct pawl_job {
    enum pawl_job_kind kind;
    enum pawl_ack ack;   /* asked */
    bool has_now;        /* the test clock: use @now in place of the store's own reading */
    struct pawl_now now; /* in where has_now; out: the time the store used */
    void (*done)(struct pawl_job *job);
    void *owner;          /* the submitter's */
    uint64_t deadline_ms; /* BOOTTIME until which a stronger acknowledgement is worth waiting for;
                             0: the store's own measure. Nothing is undone when it passes */

    /* in */
    struct pawl_fact fact; /* APPEND, CANCEL, KEEP: bytes inside are the owner's until done */
    struct pawl_id family; /* FAMILY: identity of the record (core/family.h) */
    pawl_family_decide decide;
    struct pawl_bytes record;  /* COUNTER: records in the form of struct pawl_counter_source */
    int64_t lost_since_unix_s; /* THAW */
    struct {
        struct pawl_fact_id after; /* sequence 0: from the first one held */
        bool latest; /* only tell the name of the last one, in `id`; sequence 0: there is none */
        /** The next fact, in the store's order; lent for the call. False: not this one, stop. */
        bool (*on_fact)(struct pawl_job *job, const struct pawl_fact *fact);
    } follow; /* FOLLOW */

    /* out */
    enum pawl_status status; /* PAWL_OK, or why nothing of this job was written */
    struct pawl_error error;
    enum pawl_ack reached;
    struct pawl_fact_id id; /* APPEND, CANCEL: of the fact written */
    uint32_t canceled;      /* CANCEL: facts it took back */
    struct {
        uint64_t facts_kept, families_kept;
        uint64_t cutoff_ms;
        char set_aside[256]; /* file name, or "" */
    } thaw;
    bool more; /* FOLLOW: on_fact stopped it; PAWL_ENOENT: `after` is not known (any more) */

    /* ---- private to the store ---- */
    struct pawl_job *next;
};

/**
 * What the store tells the daemon. Called on the opener's thread while opening, on the store's
 * thread afterwards.
 */
struct pawl_store_events {
    /** A fact that counts: at load, and again after each commit that brought one. */
    void (*on_fact)(void *self, const struct pawl_fact *fact);
    /**
     * What a cancel leaves of the facts about one scope value: the strongest that remains, or
     * NULL when none does.
     */
    void (*on_cancel)(void *self, const struct pawl_fact *canceled,
                      const struct pawl_fact *remaining);
    /** A saved counter record; @elapsed_ms is its age on the best clock. */
    void (*on_counter)(void *self, struct pawl_bytes record, uint64_t elapsed_ms);
    /** The node froze or thawed; @reason is for logs and status. */
    void (*on_frozen)(void *self, bool frozen, const char *reason);
    void *self;
    /**
     * While opening: every fact that is held, in the order in which they came, canceled ones,
     * cancels and unknown kinds included; before on_fact. May be NULL.
     */
    void (*on_row)(void *self, const struct pawl_fact *fact);
};

/** Pulls dirty counter records out of the limiter; runs on the store's saving thread. */
struct pawl_counter_source {
    /**
     * Copy serialized records, each preceded by its size (u32, little endian), into @out.
     *
     * @cursor  in and out, 0 to begin: the place to go on.
     * @all     every record, not only those changed since they were last handed out; what is
     *          dirty stays dirty. Rounds of changed ones run between two calls of such a walk.
     * Returns bytes written; *@cursor is 0 again when the round is over.
     */
    size_t (*collect)(void *self, uint64_t *cursor, bool all, uint8_t *out, size_t capacity,
                      struct pawl_now now);
    /** When the oldest change that was not handed out was made; false: there is none. May be NULL.
     * Any thread. */
    bool (*unsaved_since)(void *self, struct pawl_instant *since);
    void *self;
};

/** Implemented by adapter/sqlite (and later adapter/redis). Functions are for any thread. */
struct pawl_store_ops {
    /** PAWL_OK, PAWL_EFULL (queue at its cap), PAWL_ECANCELED (closing). Never blocks. */
    enum pawl_status (*submit)(void *self, struct pawl_job *job);
    bool (*frozen)(void *self);
    /**
     * Unix time in seconds on a clock that cannot run faster than BOOTTIME:
     * facts whose `until` lies before it may be forgotten. 0: not known, forget nothing.
     */
    uint64_t (*slow_s)(void *self);
    /**
     * 0, or the moment of the last thaw, fleet clock: a cutoff for every namespace, also for those
     * that no fact or family names and that therefore got no cutoff fact of their own.
     */
    uint64_t (*floor_ms)(void *self);
    /** When the store was made, and this life's origin: node id and boot nonce. */
    void (*identity)(void *self, struct pawl_stamp *birth, struct pawl_origin *origin);
    void (*stats)(void *self, const struct pawl_stats_sink *sink);
    /**
     * Finish what was submitted, save all counters, checkpoint, close. Blocks. Jobs submitted
     * from now on are refused.
     */
    void (*close)(void *self);
};

struct pawl_store {
    const struct pawl_store_ops *ops;
    void *self;
};

#endif
