/*
 * The log of a fleet: all facts that have not expired, of all origins, in this node's memory, and
 * the way between that memory and the engine's streams.
 *
 * There is one stream for each origin (= member id), with entries at positions 1, 2, 3, ... that
 * only that origin gives out. An entry is a kind, a body, and a seal over (origin, position):
 *   fact     a serialized fact (core/fact.h); it may ask to be confirmed
 *   applied  {origin, position}: who writes this has applied that stream up to there
 *   void     {from}: positions from `from` to its own hold nothing that counts (any more)
 * A fact's id (origin, sequence) is given once by its first taker; the sequence is the position of
 * its first entry. A fact that has to be appended again, by trimming or because no stream holds it
 * any more, gets another position and keeps its id: ids are what tables, cancels and digests name.
 *
 * Nothing here is taken back, everything is joined, so entries may arrive in any order and often.
 * The engine may lose the ends of streams or all of them: whatever it lacks of what is held here
 * is appended again, others' streams included. That follows each announcement's tops and is the
 * same loop that appends new facts: "append what lies between the engine's top and ours". No entry
 * of a new position goes out before the tops of this epoch are known. Dead positions (expired,
 * moved) in a part that is appended again become one void entry at the last of them; the same
 * for all that lies before the first live position of a stream that the engine lost.
 *
 * A follower accepts an entry behind its own end when it is the next one, when it is a void that
 * reaches back to there, or when the engine's `first` says that what lies between was trimmed. Else
 * it is a hole: read again each second, and as long as there is one, this node is not synced. A
 * hole that stays PAWL_LOG_HOLE_MS, and entries whose seal does not hold, count as void: figures.
 *
 * Pure step functions, one thread, no clock: `now_ms` is BOOTTIME. Memory comes from the heap of
 * the options. Commands carry PAWL_PART_LOG; their replies come back by pawl_log_on_reply(). Events
 * are called from inside the functions below that can bring them; they must not call back into
 * the log, but for its queries and pawl_log_want(). An empty log takes some 60 KiB of it.
 */
#ifndef PAWL_CORE_CLUSTER_LOG_H
#define PAWL_CORE_CLUSTER_LOG_H

#include "core/cluster/engine.h"
#include "core/cluster/seal.h"
#include "core/fact.h"

#define PAWL_LOG_FLIGHT_MAX    256   /* entries on their way to the engine */
#define PAWL_LOG_READ_MAX      256   /* entries of one origin in one READ */
#define PAWL_LOG_READ_BLOCK_MS 250   /* how long a READ waits for something new */
#define PAWL_LOG_HOLE_MS       30000 /* then a hole is taken for void, with an alarm */
#define PAWL_LOG_DEAD_MS       600000 /* out of the view for so long: an origin is trimmed by others */
#define PAWL_LOG_DIGEST_BYTES  224    /* at most; see pawl_log_digest() */
#define PAWL_LOG_REPLICAS_MAX  16

/** Where a fact came from. */
enum pawl_log_source {
    PAWL_LOG_SOURCE_NONE = 0,
    PAWL_LOG_SOURCE_OWN,     /* pawl_log_add() */
    PAWL_LOG_SOURCE_JOURNAL, /* pawl_log_load() */
    PAWL_LOG_SOURCE_STREAM,  /* read from the engine */
};

/** A fact that is new here; lent for the call. */
struct pawl_log_news {
    const struct pawl_fact *fact;
    struct pawl_bytes bytes; /* the same, serialized: for the journal */
    enum pawl_log_source source;
    bool counts; /* apply it: a revocation or cutoff that no cancel names. Journal it either way */
};

enum pawl_log_progress_kind {
    PAWL_LOG_PROGRESS_NONE = 0,
    PAWL_LOG_APPENDED,   /* the engine holds our stream up to `position`, in this epoch */
    PAWL_LOG_REPLICATED, /* and so do `replicas` of its replicas */
    PAWL_LOG_CONFIRMED,  /* `member` has applied our stream up to `position` */
};

struct pawl_log_progress {
    enum pawl_log_progress_kind kind;
    uint64_t position;
    uint32_t replicas;
    struct pawl_member_id member;
};

struct pawl_log_events {
    /** Exactly once for each fact id that is new here, from inside add, load and on_reply. */
    void (*on_fact)(void *self, const struct pawl_log_news *news);
    /**
     * @canceled counted until now and does no more. @remaining: the strongest fact about the same
     * scope value that still counts, or NULL: none. Both lent for the call.
     */
    void (*on_cancel)(void *self, const struct pawl_fact *canceled,
                      const struct pawl_fact *remaining);
    /** For acknowledgements. May be NULL. */
    void (*on_progress)(void *self, const struct pawl_log_progress *progress);
    void *self;
};

struct pawl_facts_log_options {
    struct pawl_origin self;
    const struct pawl_subkey *keys; /* `facts` subkeys, copied: the first seals, all are tried */
    unsigned keys_count;            /* 1 to PAWL_SEAL_KEYS_MAX */
    const struct pawl_subkey
        *same; /* copied: the same at all members, whatever seals; NULL: keys */
    struct pawl_engine_out out;
    struct pawl_heap heap;
    struct pawl_log_events events;
    uint64_t facts_max;   /* 0: 32 M. At most PAWL_LOG_FACTS_CAP */
    uint64_t bytes_max;   /* of facts; 0: 4 GiB. Others' facts are taken up to twice both */
    uint32_t deadline_ms; /* of a command; 0: 1000 */
    uint32_t wait_ms;     /* timeout of a WAIT, which holds up what is sent after it; 0: 250 */
};

#define PAWL_LOG_FACTS_CAP (UINT64_C(1) << 29)

/** Figures since init, of the log's thread; those that are not sums say so. */
struct pawl_log_stats {
    uint64_t facts, bytes, origins; /* now */
    uint64_t memory_bytes;          /* now: all that was taken from the heap */
    uint64_t said;                  /* now: positions of ours */
    uint64_t backlog;               /* now: of those, the last that the engine has not got */
    uint64_t holes;                 /* now: positions that are missing */
    uint64_t appended, applied_sent, voids_sent;
    uint64_t reasserted;   /* entries appended again, ours and others' */
    uint64_t lost_tail;    /* entries that the engine had lost, seen by its tops */
    uint64_t refused_full; /* facts of our own */
    uint64_t overflow;     /* others' entries that there was no room for: reading stands still */
    uint64_t failed;       /* commands that the engine refused or failed */
    uint64_t unknown;      /* commands without an outcome */
    uint64_t read_entries;
    uint64_t forged;         /* seal does not hold, or not to be decoded */
    uint64_t hole_reads;     /* read again because of one */
    uint64_t holes_given_up; /* positions taken for void */
    uint64_t vanished;       /* facts held here that were gone from the middle of a stream */
    uint64_t conflicts;      /* other content at a position, or under an id, well sealed: alarm */
    uint64_t survivors;      /* facts appended again so that a stream could be trimmed */
    uint64_t adopted;        /* facts that no stream held, appended to ours */
    uint64_t expired;        /* facts forgotten */
    uint64_t canceled;       /* facts taken back */
    uint64_t cancel_looks;   /* facts looked at for what cancels leave */
    uint64_t trims, drops;
    uint64_t digest_mismatches; /* comparisons that failed */
    uint64_t rereads;           /* everything read again because mismatches lasted */
    uint64_t wait_short;        /* WAITs that found fewer replicas than asked */
    uint64_t synced;            /* announcements that made us synced */
};

struct pawl_log_inside; /* private: log_inside.h */

/* (struct pawl_log is where log lines go, port/log.h.) */
struct pawl_facts_log {
    uint64_t next_ms; /* when tick wants to be called, at the latest */
    struct pawl_log_stats stats;
    struct pawl_log_inside *inside;
};

/**
 * Make an empty log for the life that @options->self names.
 *
 * Returns PAWL_OK, PAWL_EINVAL (options out of bounds) or PAWL_ENOMEM. After anything but PAWL_OK
 * there is nothing to deinit.
 */
PAWL_MUST_USE enum pawl_status pawl_log_init(struct pawl_facts_log *log,
                                             const struct pawl_facts_log_options *options,
                                             uint64_t now_ms);

/** Give everything back to the heap; keys are wiped. Replies that still come must not be given. */
void pawl_log_deinit(struct pawl_facts_log *log);

/* ---- facts of this node -------------------------------------------------------------------- */

/** The id of the next fact of ours. The same until something is added. */
struct pawl_fact_id pawl_log_next_id(const struct pawl_facts_log *log);

/**
 * Take a fact of our own. It acts at once (on_fact, for a cancel also on_cancel); appending
 * follows when the engine is there.
 *
 * @bytes     serialized, with the id of pawl_log_next_id(); copied.
 * @confirm   each follower shall say when it has applied it: PAWL_LOG_CONFIRMED.
 * @position  out: its position in our stream, for progress.
 * @canceled  out, may be NULL: facts that a cancel took back.
 *
 * Returns PAWL_OK; PAWL_EFULL (a cap of the options), PAWL_ENOMEM, PAWL_EINVAL (not such a fact):
 * nothing happened then.
 */
PAWL_MUST_USE enum pawl_status pawl_log_add(struct pawl_facts_log *log, struct pawl_bytes bytes,
                                            bool confirm, uint64_t now_ms, uint64_t *position,
                                            uint32_t *canceled);

/**
 * Take a fact of the journal, of whatever origin, before the first pawl_log_on_up() or later. It
 * keeps its id. If no stream holds it once this node is synced, it is appended to ours. Cancels may
 * come before what they name. Known ids change nothing.
 *
 * Returns PAWL_OK, PAWL_EFULL, PAWL_ENOMEM, PAWL_ECORRUPT (no fact).
 */
PAWL_MUST_USE enum pawl_status pawl_log_load(struct pawl_facts_log *log, struct pawl_bytes bytes,
                                             uint64_t now_ms);

/**
 * Have the engine's replicas asked (WAIT) until @replicas of them hold our stream up to @position;
 * PAWL_LOG_REPLICATED says how far it is. One WAIT at a time covers all that was appended before.
 * Goes on through epochs until reached, until 10 s after the last call, or until a call with
 * @position 0: a WAIT holds up all commands behind it.
 *
 * @replicas  1 to PAWL_LOG_REPLICAS_MAX; the largest wanted of all open positions is asked for.
 */
void pawl_log_want(struct pawl_facts_log *log, uint64_t position, uint32_t replicas);

/* ---- the engine ---------------------------------------------------------------------------- */

/** A primary answers. The same epoch as before is treated as a new one: cheap, and never wrong. */
void pawl_log_on_up(struct pawl_facts_log *log, const struct pawl_epoch *epoch, uint64_t now_ms);
void pawl_log_on_down(struct pawl_facts_log *log, uint64_t now_ms);

/** What an announcement told; all lent for the call. */
struct pawl_log_tops {
    const struct pawl_origin_top *tops;
    uint32_t count;
    uint64_t engine_ms; /* the engine's clock */
    uint64_t sent_ms;   /* BOOTTIME when the announcement was sent */
};

/** After each WON announcement of this epoch (never of another one, never of a read). */
void pawl_log_on_tops(struct pawl_facts_log *log, const struct pawl_log_tops *tops,
                      uint64_t now_ms);

/**
 * The members of the view (SERVING and LEAVING). Their streams are followed before they exist;
 * others are dead, and after PAWL_LOG_DEAD_MS trimmed by the member with the lowest id.
 */
void pawl_log_on_members(struct pawl_facts_log *log, const struct pawl_member_id *members,
                         uint32_t count, uint64_t now_ms);

/** A reply of PAWL_PART_LOG. Late ones of an earlier epoch are ignored, but facts are taken. */
void pawl_log_on_reply(struct pawl_facts_log *log, const struct pawl_engine_reply *reply,
                       uint64_t now_ms);

/**
 * Send what is to be sent, expire, trim. Call at next_ms or earlier, and after any call above.
 *
 * @slow_s  facts whose `until` lies before it are forgotten: unix seconds on a clock that cannot
 *          run faster than BOOTTIME. 0: forget nothing.
 */
void pawl_log_tick(struct pawl_facts_log *log, uint64_t now_ms, uint64_t slow_s);

/* ---- queries ------------------------------------------------------------------------------- */

/**
 * When the last announcement was sent all of whose tops are applied here; 0: none yet (a cold
 * start must not answer "fresh"). Kept through epochs: it grows old by itself.
 */
uint64_t pawl_log_synced_ms(const struct pawl_facts_log *log);

/** Our stream: last position given, held by the engine in this epoch, held by @replicas too. */
uint64_t pawl_log_position(const struct pawl_facts_log *log);
uint64_t pawl_log_appended(const struct pawl_facts_log *log);
uint64_t pawl_log_replicated(const struct pawl_facts_log *log, uint32_t replicas);

/** Up to where @member has confirmed our stream. */
uint64_t pawl_log_confirmed(const struct pawl_facts_log *log, const struct pawl_member_id *member);

/** Whether a fact is held, and whether a cancel names it. */
bool pawl_log_has(const struct pawl_facts_log *log, const struct pawl_fact_id *id, bool *canceled);

/** Called with each fact; lent for the call. False: not this one, stop. */
typedef bool (*pawl_log_visit)(void *self, const struct pawl_fact *fact);

/**
 * Hand out facts in the order in which they arrived here, canceled ones and cancels included.
 *
 * @after  NULL or sequence 0: from the first one held.
 * @more   out: @visit stopped it.
 *
 * Returns PAWL_OK, or PAWL_ENOENT: @after is not known (any more).
 */
PAWL_MUST_USE enum pawl_status pawl_log_follow(const struct pawl_facts_log *log,
                                               const struct pawl_fact_id *after,
                                               pawl_log_visit visit, void *self, bool *more);

/** The id of the last one that arrived; sequence 0: there is none. */
struct pawl_fact_id pawl_log_latest(const struct pawl_facts_log *log);

/* ---- digests ------------------------------------------------------------------------------- */

/**
 * A digest of the facts that were taken before the last whole minute but one of the engine's clock,
 * for the member info of an announcement: 64 buckets of expiry, each a hash of the count and the
 * XOR of keyed hashes of ids. Two nodes with the same facts write the same in the same minute.
 *
 * Returns the bytes written to @out (PAWL_LOG_DIGEST_BYTES), 0 before the first tops.
 */
size_t pawl_log_digest(struct pawl_facts_log *log, uint8_t *out, uint64_t now_ms);

/**
 * Compare with what @member announced. A mismatch in three different minutes makes everything be
 * read again from the engine. Buckets that expire about now are left out, as are digests of
 * another minute. Returns false on a mismatch.
 */
bool pawl_log_compare(struct pawl_facts_log *log, const struct pawl_member_id *member,
                      struct pawl_bytes digest, uint64_t now_ms);

#endif
