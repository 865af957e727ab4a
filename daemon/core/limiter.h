/*
 * The limiter: who has done how much, and may this call go on.
 *
 * A table of windows (window.h), one for each (namespace, limit, key parts, rate slot), in shards
 * with a mutex each, inside one region of memory given by the caller. The region is a ceiling:
 * nothing here allocates anything else. A record that still holds an event is never evicted. When
 * there is no room for a record more, a key without one counts in one of 4096 overflow cells per
 * limit and rate, and gets its own record only when its cell holds nothing of its window.
 *
 * Identity. A record's id is pawl_keyhash128 under the `limits` subkey over
 *
 *   1 byte  domain: 1 rate of a named limit, 2 inline rate, 3 base of overflow cells
 *   1 byte  number of key parts
 *   1 byte  algorithm of an inline rate, else zero
 *   1 byte  zero
 *   4 bytes rate index (domain 1 and 3) or window_ms (domain 2), little endian
 *   then pawl_pack: namespace, name of the limit ("" if inline), each key part
 *
 * The same everywhere: in memory, on disk, between nodes. A cell's id is the base id of (namespace,
 * limit, slot) with its low 12 bits replaced by those of the key's id, and the shard is picked by
 * these bits too, so a key and its cell always lie in the same shard. Placement inside a shard
 * uses a boot-random mix.
 *
 * Threads: every function may be called from any thread, but for init and deinit. Locks are held
 * for the look-ups and the decision only; a check over several shards locks them in index order.
 *
 * Life: pawl_limiter_init -> pawl_limiter_load* -> check ... -> pawl_limiter_deinit. Limits
 * (struct pawl_limit) are the caller's and may be replaced at any time: records know only ids.
 */
#ifndef PAWL_CORE_LIMITER_H
#define PAWL_CORE_LIMITER_H

#include "core/arena.h"
#include "core/keyhash.h"
#include "core/rate_text.h"
#include "core/siphash.h"
#include "core/window.h"

#define PAWL_LIMIT_NAME_MAX        64   /* bytes of a limit's name, and of a namespace */
#define PAWL_LIMIT_PARTS_MAX       16   /* parts of a key */
#define PAWL_LIMIT_KEY_BYTES_MAX   1024 /* all parts of a key together */
#define PAWL_LIMITER_SLOTS_MAX     64   /* records in one request: the rates of all its items */
#define PAWL_LIMITER_CELLS         4096 /* overflow cells of a limit and rate */
#define PAWL_LIMITER_SHARDS_MAX    4096
#define PAWL_LIMITER_SHARDS        64   /* the default */
#define PAWL_LIMITER_FULL_RETRY_MS 1000 /* retry_after_ms of a refusal for want of memory */
#define PAWL_LIMITER_BUNDLES       64   /* shards in a cluster: slots with the same low 6 bits */

/** How events are counted; values as enum pawl_record_kind - 1, and as on the wire. */
enum pawl_algorithm {
    PAWL_ALGORITHM_SLIDING = 0,
    PAWL_ALGORITHM_GCRA = 1,        /* rates[].count flow in rates[].window_ms, bursts[] at once */
    PAWL_ALGORITHM_CALENDAR = 2,    /* rates[].period of civil time in @zone */
    PAWL_ALGORITHM_CONCURRENCY = 3, /* rates[].count slots; each expires after rates[].window_ms;
                                       a charge handle names its own slot, refund releases it */
};

/** What happens to a key for which there is neither a record nor room for one. */
enum pawl_when_full {
    PAWL_WHEN_FULL_OVERFLOW = 0, /* count in a cell shared with others: never over */
    PAWL_WHEN_FULL_OPEN = 1,     /* let it pass uncounted */
    PAWL_WHEN_FULL_CLOSED = 2,   /* refuse it */
};

/** Several limits in one request. */
enum pawl_limiter_mode {
    PAWL_MODE_ATOMIC = 0, /* all or none: a refusal charges none */
    PAWL_MODE_EACH = 1,   /* each limit for itself; the rates of one limit stay all or none */
};

enum pawl_limiter_op {
    PAWL_OP_CHECK = 0, /* ask and charge */
    PAWL_OP_PEEK = 1,  /* ask; charges nothing, makes no record */
};

/**
 * A limit: fill in what the operator wrote, then pawl_limit_init. For an inline rate (one or
 * more, with the request) use pawl_limit_init_inline.
 */
struct pawl_limit {
    size_t rates_count;
    uint16_t precision; /* 0: the default */
    bool count_denied;  /* a refusal by this limit is recorded as if it had been allowed */
    bool shadow;        /* decide, count and report, never deny */
    bool inline_rates;  /* set by init */
    uint8_t name_size;  /* set by init */
    enum pawl_on_error on_error;
    enum pawl_when_full when_full;
    enum pawl_algorithm algorithm;
    struct pawl_rate rates[PAWL_RATES_MAX]; /* with what is above: a check reads two lines of it */
    uint64_t bursts[PAWL_RATES_MAX];        /* GCRA: 0 is the rate's count; else not looked at */
    const struct pawl_zone *zone;           /* CALENDAR: lent as long as the limit; NULL is UTC */
    uint8_t anchor_day;                     /* CALENDAR: 0 is 1 */
    struct pawl_id cells[PAWL_RATES_MAX];   /* set by init: base ids of the overflow cells */
    char name[PAWL_LIMIT_NAME_MAX + 1];     /* "" for inline rates */
    char ns[PAWL_LIMIT_NAME_MAX + 1];       /* whose overflow cells it uses */
};

/** One limit asked for one key. All pointers are lent for the call. */
struct pawl_limit_item {
    const struct pawl_limit *limit;
    struct pawl_bytes ns;
    const struct pawl_bytes *parts;
    size_t parts_count;            /* 1 to PAWL_LIMIT_PARTS_MAX */
    uint64_t cost;                 /* 1 to PAWL_COUNT_MAX (the wire's 0 is turned into 1 before) */
    const struct pawl_rate *rates; /* an override: as many as the limit has, of the same windows;
                                      lent until decided. NULL: the limit's own */
};

struct pawl_limit_request {
    const struct pawl_limit_item *items;
    size_t items_count; /* at least 1 */
    enum pawl_limiter_mode mode;
    enum pawl_limiter_op op;
    struct pawl_instant now;
    struct pawl_wall wall; /* for calendar quotas alone */
};

/** The answer of one rate of one item; all counts are as after the call. */
struct pawl_limit_result {
    uint64_t limit_count;
    uint64_t count;
    uint64_t remaining;
    uint64_t oldest_age_ms;
    uint64_t reset_after_ms; /* until the window is empty */
    uint64_t retry_after_ms; /* refused: until this cost fits; else 0 */
    uint64_t charge;         /* handle for refund; 0: nothing was charged */
    uint32_t window_ms;
    uint16_t item;      /* index in the request */
    uint8_t rate_index; /* index in the limit */
    bool allowed;       /* this rate has room for the cost (says nothing about other rates) */
    bool never;         /* cost above the limit: retrying is no use */
    bool shadow;        /* of a shadow limit: a refusal here denies nothing */
    bool overflow;      /* counted in an overflow cell, together with other keys */
    bool full;          /* no room at all: allowed or refused uncounted (when_full) */
};

struct pawl_limit_outcome {
    enum pawl_verdict verdict; /* PAWL_ALLOW or PAWL_DENY; PAWL_DENY if any item was refused */
    size_t results_count;
};

/* ---- limits ---- */

struct pawl_limiter;

/**
 * Check @limit (name 1 to 64 bytes, ns, rates, precision, algorithm filled in) and compute its
 * base ids; @limiter NULL only checks. Returns PAWL_OK, or PAWL_EINVAL with @error (may be NULL)
 * naming the field.
 */
PAWL_MUST_USE enum pawl_status pawl_limit_init(struct pawl_limit *limit,
                                               const struct pawl_limiter *limiter,
                                               struct pawl_error *error);

/**
 * Make @limit of rates that came with a request; cheap, no hashing. @precision 0: the default.
 * The other fields are zero (enforced, overflow when full); set shadow, count_denied, when_full
 * after. Returns as pawl_limit_init; the same window twice is PAWL_EINVAL.
 */
PAWL_MUST_USE enum pawl_status pawl_limit_init_inline(struct pawl_limit *limit,
                                                      const struct pawl_limiter *limiter,
                                                      const struct pawl_rate *rates, size_t count,
                                                      unsigned precision, struct pawl_error *error);

/**
 * pawl_limit_init_inline() for any algorithm but calendar (its zone comes from the settings).
 * @bursts: for GCRA one for each rate (0: the rate's count), may be NULL; else not looked at.
 */
PAWL_MUST_USE enum pawl_status pawl_limit_init_inline_as(
    struct pawl_limit *limit, const struct pawl_limiter *limiter, enum pawl_algorithm algorithm,
    const struct pawl_rate *rates, const uint64_t *bursts, size_t count, unsigned precision,
    struct pawl_error *error);

/* ---- the table ---- */

struct pawl_limiter_config {
    void *region;      /* aligned to 4 KiB, all zero (fresh from mmap), lives until deinit */
    size_t memory_max; /* its size: the ceiling of everything in it; up to 32 GiB */
    unsigned shards;   /* power of two, 1 to 4096; 0: the default */
    struct pawl_subkey subkey;       /* PAWL_SUBKEY_LIMITS */
    const struct pawl_subkey *slots; /* PAWL_SUBKEY_SLOTS, copied: ids carry slots, and there are
                                        PAWL_LIMITER_BUNDLES shards; NULL: one node */
    uint64_t salt[2];                /* random at each boot: placement inside shards */
    uint16_t life; /* random at each boot: marks the charge handles of this life; 0 is 1 */
    bool persist;  /* somebody collects dirty records; else they are not tracked */
    pawl_arena_release release; /* may be NULL */
};

/** 64-bit counters; `checks in overflow` and kin count rates, the others requests. */
struct pawl_limiter_metrics {
    uint64_t allowed;        /* requests */
    uint64_t denied;         /* requests */
    uint64_t shadow_denied;  /* rates of shadow limits that refused */
    uint64_t peeks;          /* requests */
    uint64_t keys;           /* records of keys, now */
    uint64_t cells;          /* records that are overflow cells, now */
    uint64_t overflowed;     /* rates counted in a cell */
    uint64_t full;           /* rates answered without room at all */
    uint64_t sweeps;         /* records looked at by the sweeping hand */
    uint64_t expired;        /* records freed because their window had passed */
    uint64_t squeezed;       /* charges that found no memory to grow and merged harder */
    uint64_t refunded;       /* cost taken back */
    uint64_t resets;         /* records forgotten by request */
    uint64_t loaded;         /* records taken from the saver */
    uint64_t collected;      /* records handed to the saver */
    uint64_t memory_max;     /* bytes */
    uint64_t memory_records; /* bytes of slab pages and big records */
    uint64_t memory_index;   /* bytes of the shards' indexes */
    uint64_t memory_own;     /* bytes of bookkeeping */
    uint64_t memory_free;    /* bytes of whole free pages */
};

struct pawl_limiter_shard; /* private */

struct pawl_limiter {
    /* private */
    struct pawl_arena arena;
    struct pawl_limiter_shard *shards;
    uint32_t shards_count;
    uint32_t reserve_pages; /* kept for growth and cells: new keys stop here */
    uint64_t salt[2];
    uint16_t life;
    bool persist;
    bool slotted; /* ids carry slots, by `slots` */
    struct pawl_subkey subkey;
    struct pawl_subkey slots;
    struct pawl_id inline_cells;
    uint64_t memory_max;
    int64_t wall_s; /* read and set atomically */
};

/**
 * Begin an empty table in config->region.
 *
 * Returns PAWL_OK, or PAWL_EINVAL with @error (may be NULL): what is out of bounds; memory_max has
 * to be at least 1 MiB and 32 KiB a shard.
 */
PAWL_MUST_USE enum pawl_status pawl_limiter_init(struct pawl_limiter *limiter,
                                                 const struct pawl_limiter_config *config,
                                                 struct pawl_error *error);

/** End it: no thread may be inside. The region is the caller's again. */
void pawl_limiter_deinit(struct pawl_limiter *limiter);

/* ---- asking ---- */

/**
 * Decide a request, and charge it if op is PAWL_OP_CHECK.
 *
 * PAWL_MODE_ATOMIC: all limits allow and all are charged, or none is charged. PAWL_MODE_EACH: each
 * limit is decided and charged for itself. In both, a limit with several rates is charged on all
 * of them or on none. On a refusal a limit with count_denied that itself refused records the
 * attempt on all its rates. A shadow limit never refuses the request; it is charged when it
 * itself has room and the request is allowed.
 *
 * @results  out, one for each rate in the order of items and rates; @capacity of them.
 * @outcome  out.
 *
 * Returns PAWL_OK; PAWL_EINVAL for no items, no or too many parts, a cost of 0 or above
 * PAWL_COUNT_MAX, the same record twice; PAWL_ETOOBIG for keys or names above the maxima, more
 * than PAWL_LIMITER_SLOTS_MAX rates, or @capacity too small. Then nothing is charged and the
 * verdict is PAWL_VERDICT_NONE.
 */
PAWL_MUST_USE PAWL_HOT enum pawl_status pawl_limiter_check(struct pawl_limiter *limiter,
                                                           const struct pawl_limit_request *request,
                                                           struct pawl_limit_result *results,
                                                           size_t capacity,
                                                           struct pawl_limit_outcome *outcome);

/** Where a reservation was charged: what pawl_limiter_give_back() wants. Plain data. */
struct pawl_charged {
    struct pawl_id id; /* of the record, or of the overflow cell */
    uint64_t charge;   /* handle */
    uint8_t kind;      /* enum pawl_record_kind */
};

/** What pawl_limiter_reserve() did. */
struct pawl_limit_grant {
    enum pawl_verdict verdict; /* PAWL_ALLOW or PAWL_DENY */
    uint64_t granted;          /* @min to @max; 0 with PAWL_DENY */
    size_t results_count;
    size_t charges_count; /* rates that were charged: shadow limits without room are not */
    struct pawl_charged charges[PAWL_LIMITER_SLOTS_MAX];
};

/**
 * Charge the largest amount from @min to @max (1 to PAWL_COUNT_MAX, @min <= @max) that every rate
 * of every item has room for, the same on all of them; or nothing. Works as pawl_limiter_check
 * with PAWL_MODE_ATOMIC and PAWL_OP_CHECK (request->mode and op are not looked at), with what is
 * granted, or @min where that is refused, in place of the items' cost, which is not looked at.
 * Shadow limits do not lower the grant. When memory is so short that a key comes to an overflow
 * cell by this very call, the grant may be @min where more would fit.
 *
 * To take it back: pawl_limiter_give_back() for each of grant->charges (see lease.h).
 *
 * Returns as pawl_limiter_check; PAWL_EINVAL for @min and @max out of bounds too. Then nothing is
 * charged and grant->verdict is PAWL_VERDICT_NONE.
 */
PAWL_MUST_USE enum pawl_status pawl_limiter_reserve(struct pawl_limiter *limiter,
                                                    const struct pawl_limit_request *request,
                                                    uint64_t min, uint64_t max,
                                                    struct pawl_limit_result *results,
                                                    size_t capacity,
                                                    struct pawl_limit_grant *grant);

/**
 * Take back up to @cost of one charge, found by its record alone: the limit may be gone from the
 * settings. Once for each charge. Nothing comes back of a record that is gone, that another
 * algorithm counts in now, of what has left its window, and of concurrency in an overflow cell.
 *
 * Returns how much was taken back.
 */
uint64_t pawl_limiter_give_back(struct pawl_limiter *limiter, const struct pawl_charged *charged,
                                uint64_t cost, struct pawl_instant now);

/** One rate of one item, resolved: private to the limiter, public for its size. */
struct pawl_limiter_slot {
    struct pawl_id id;
    uint64_t cost;
    const struct pawl_limit *limit;
    const struct pawl_rate *rate; /* the limit's, or an override */
    struct pawl_window *record;   /* under the lock: where it counts, or NULL */
    uint32_t tag;
    uint16_t shard;
    uint16_t item;
    uint8_t rate_index;
    uint8_t algorithm; /* enum pawl_algorithm */
    bool allowed;
    bool fresh;
    bool in_cell;
    bool full;
};

#define PAWL_LIMIT_BEGINNINGS 8 /* a power of two */

/** What the identities of one rate in one namespace begin with, and their hash up to there. */
struct pawl_limit_beginning {
    struct pawl_siphash state;
    struct pawl_siphash slot; /* in a cluster: that of the key's slot, behind the namespace */
    uint64_t head;            /* the first 8 bytes; 0: nothing is kept here */
    uint8_t ns_size, name_size;
    uint8_t ns[PAWL_LIMIT_NAME_MAX], name[PAWL_LIMIT_NAME_MAX];
    uint8_t reserved[22]; /* a power of two in all: a place is found by a shift */
};

/**
 * The beginnings met last: servers ask for the same few limits again and again, and only the key
 * differs. All zero in the beginning; of one limiter and one thread.
 */
struct pawl_limit_beginnings {
    struct pawl_limit_beginning entries[PAWL_LIMIT_BEGINNINGS];
};

struct pawl_ownership; /* core/cluster/ownership.h */

/** A request with everything computed that needs no lock. */
struct pawl_limiter_plan {
    struct pawl_limiter_slot *slots;          /* the caller's room ... */
    size_t slots_max;                         /* ... for so many, PAWL_LIMITER_SLOTS_MAX at most */
    struct pawl_limit_beginnings *beginnings; /* the caller's; NULL: all is hashed from the start */
    const struct pawl_ownership *ownership; /* see pawl_limiter_has_stopped(); NULL: it does not */
    uint32_t elsewhere;                     /* where it has: the slot */
    size_t slots_count;                     /* from here on set by pawl_limiter_prepare */
    enum pawl_limiter_mode mode;
    enum pawl_limiter_op op;
    struct pawl_instant now;
    struct pawl_wall wall;
    unsigned others; /* not 0: some slot is not a sliding window */
};

/**
 * The two halves of pawl_limiter_check, for a batch: prepare all requests of a read (hash, find
 * the memory and ask the processor to fetch it), then decide them in order. Of the request only
 * the limits are lent until decided. @plan has its room for slots and its beginnings filled in.
 * prepare returns what
 * check returns; decide cannot fail after a prepare that did not, given room for
 * plan->slots_count results.
 */
PAWL_MUST_USE PAWL_HOT enum pawl_status pawl_limiter_prepare(
    const struct pawl_limiter *limiter, const struct pawl_limit_request *request,
    struct pawl_limiter_plan *plan);

/**
 * Where plan->ownership is set, in a cluster and for requests of one item alone: a key whose slot
 * is not held goes to another member, and prepare returns PAWL_EAGAIN before it hashes what only
 * deciding needs. The plan has no slots then, and plan->elsewhere is the key's.
 */
static inline bool pawl_limiter_has_stopped(const struct pawl_limiter_plan *plan)
{
    return plan->ownership != NULL && plan->slots_count == 0;
}

PAWL_HOT void pawl_limiter_decide(struct pawl_limiter *limiter, struct pawl_limiter_plan *plan,
                                  struct pawl_limit_result *results,
                                  struct pawl_limit_outcome *outcome);

/**
 * The ring's slot of a resolved rate: of its item's key, in a cluster. All rates of an item have
 * the same. Valid from prepare on.
 */
static inline uint32_t pawl_limiter_slot_of(const struct pawl_limiter_slot *slot)
{
    return (uint32_t)(slot->id.lo & (PAWL_LIMITER_CELLS - 1));
}

/**
 * The ring's slot of a key, without anything else of prepare: one hash. In a cluster alone. No
 * lock. Bounds as those of an item; beyond them, PAWL_LIMITER_CELLS.
 */
uint32_t pawl_limiter_key_slot(const struct pawl_limiter *limiter, struct pawl_bytes ns,
                               const struct pawl_bytes *parts, size_t parts_count);

/**
 * Between prepare and decide of a batch: ask the processor to fetch the records themselves, so
 * that the misses of a batch overlap. Does nothing while the table is small enough for the cache.
 * Changes nothing; may be left out.
 */
PAWL_HOT void pawl_limiter_warm(struct pawl_limiter *limiter, const struct pawl_limiter_plan *plan);

/** Whether pawl_limiter_warm() would do nothing: told by one shard, for they grow alike. */
bool pawl_limiter_is_small(const struct pawl_limiter *limiter);

/**
 * Take back up to item->cost on each rate of item->limit. @charges has a handle for each rate in
 * order (0 among them: that rate was not charged, nothing is taken back there), or is NULL:
 * nothing is named, and the oldest entries are lowered (not in overflow cells, where they may be
 * another key's). A charge that has left its window, or of another life of the node, takes back
 * nothing. @refunded (may be NULL) has room for each rate: how much was taken back.
 *
 * Returns PAWL_OK, also if nothing was taken back; else as pawl_limiter_check.
 */
PAWL_MUST_USE enum pawl_status pawl_limiter_refund(struct pawl_limiter *limiter,
                                                   const struct pawl_limit_item *item,
                                                   const uint64_t *charges, struct pawl_instant now,
                                                   uint64_t *refunded);

/**
 * Forget the records of a key: all rates of item->limit (an inline limit: those of its windows).
 * item->cost is not looked at. Overflow cells stay: they hold other keys too. @forgotten (may be
 * NULL): how many records there were. Returns as pawl_limiter_check.
 */
PAWL_MUST_USE enum pawl_status pawl_limiter_reset(struct pawl_limiter *limiter,
                                                  const struct pawl_limit_item *item,
                                                  struct pawl_instant now, size_t *forgotten);

/**
 * Free expired records of shard @shard, looking at up to @budget places of its index from where
 * the last call stopped. Call it for all shards in turn, by a timer. Returns how many were freed.
 */
size_t pawl_limiter_sweep(struct pawl_limiter *limiter, unsigned shard, size_t budget,
                          struct pawl_instant now);

/**
 * Tell what the wall clock reads; call it with the timer that sweeps. Records of calendar quotas
 * are freed only when this clock too is past their period. No lock.
 */
void pawl_limiter_set_wall(struct pawl_limiter *limiter, struct pawl_wall wall);

/** Sum the metrics of all shards (takes each shard's lock in turn). */
void pawl_limiter_metrics_get(struct pawl_limiter *limiter, struct pawl_limiter_metrics *metrics);

/* ---- saving and loading ---- */

/**
 * Takes one serialized record (window.h has the form; lent for the call), under a shard's lock:
 * copy it and return at once. Returns false when there is no room for it now: it stays to be
 * collected.
 */
typedef bool (*pawl_limiter_sink)(void *data, const uint8_t *record, size_t size);

/**
 * Hand the changed records of shard @shard to @sink, until about @budget bytes are handed over,
 * @sink returns false, or none is left; each counts as saved from then on. Records that were
 * reset come as tombstones (no entries). Costs in proportion to what changed.
 *
 * @scratch  room for PAWL_RECORD_BYTES_MAX bytes; the caller's.
 * @handed   out, may be NULL: number of records.
 *
 * Returns PAWL_OK when nothing is left in this shard, PAWL_EAGAIN when there is more.
 */
PAWL_MUST_USE enum pawl_status pawl_limiter_collect_dirty(struct pawl_limiter *limiter,
                                                          unsigned shard, size_t budget,
                                                          struct pawl_instant now, uint8_t *scratch,
                                                          pawl_limiter_sink sink, void *data,
                                                          size_t *handed);

/**
 * Hand all live records of a shard to @sink: the first call with @restart true begins, further
 * ones with false go on while PAWL_EAGAIN is returned. One walk a shard at a time. A record that
 * is missed because it moved between two calls is dirty and comes with the next
 * pawl_limiter_collect_dirty; what is dirty stays dirty. So a file begun with collect_all and
 * continued with collect_dirty is whole.
 */
PAWL_MUST_USE enum pawl_status pawl_limiter_collect_all(struct pawl_limiter *limiter,
                                                        unsigned shard, bool restart, size_t budget,
                                                        struct pawl_instant now, uint8_t *scratch,
                                                        pawl_limiter_sink sink, void *data,
                                                        size_t *handed);

/**
 * Hand the records of one item (all rates; an overflow cell where the key counts in one) to
 * @sink now, for limits that are saved before the answer. Dirty marks stay.
 */
PAWL_MUST_USE enum pawl_status pawl_limiter_collect_item(struct pawl_limiter *limiter,
                                                         const struct pawl_limit_item *item,
                                                         struct pawl_instant now, uint8_t *scratch,
                                                         pawl_limiter_sink sink, void *data);

/**
 * Since when something changed that was not collected. Returns false if there is nothing; else
 * @since is the "now" of the oldest such change.
 */
bool pawl_limiter_unsaved_since(struct pawl_limiter *limiter, struct pawl_instant *since);

/**
 * Take in one serialized record that was saved @elapsed_ms ago (0 if that cannot be known: too
 * young is allowed, too old never). Meant for the start, into an empty table: a record of the
 * same id is replaced, the last one wins; a tombstone removes it. What was loaded is not dirty.
 *
 * Returns PAWL_OK, also for a record of which nothing is left; PAWL_ECORRUPT or PAWL_EVERSION as
 * pawl_record_check; PAWL_EFULL if there is no memory (memory_max was lowered). Then nothing
 * changed.
 */
PAWL_MUST_USE enum pawl_status pawl_limiter_load(struct pawl_limiter *limiter,
                                                 struct pawl_bytes record, uint64_t elapsed_ms,
                                                 struct pawl_instant now);

/* ---- slots that come and go (a cluster; limiter_move.c) ---- */

/*
 * A bundle is a shard; a set of its slots has bit i for slot i * 64 + bundle. Walks let go of the
 * shard's lock again and again; what is made or charged meanwhile may be missed, so slots are
 * walked when nobody decides on them (or when that does no harm).
 */

/** Whose a serialized record is (at least PAWL_RECORD_HEAD_BYTES). */
struct pawl_id pawl_limiter_record_id(const uint8_t *record);

/** How a record is taken in beside what may be there already. */
enum pawl_join {
    PAWL_JOIN_SAVED, /* of the saver: what it says alone is not dirty; what it is joined to is */
    PAWL_JOIN_GIVEN, /* of a peer: the saver has to hear of it, also of a tombstone */
};

/**
 * Add one serialized record, saved @elapsed_ms ago (as pawl_limiter_load), to what its id has
 * counted here: two histories of the same key, of which no event is in both. Never over: the
 * events of a sliding window are united, and where memory has no place for all of them they leave
 * later; levels of gcra add, under the slower of the two rates; counts of calendar quotas add,
 * where the earlier period may still run; slots of concurrency are united by their handles, so that
 * the same one twice is held once. Records of two different algorithms become one that is used up.
 * A record with nothing in it changes no count.
 *
 * @scratch  room for 2 * PAWL_RECORD_BYTES_MAX; the caller's.
 *
 * Returns as pawl_limiter_load. PAWL_EFULL only where there is no record of this id yet.
 */
PAWL_MUST_USE enum pawl_status pawl_limiter_join(struct pawl_limiter *limiter,
                                                 struct pawl_bytes record, uint64_t elapsed_ms,
                                                 enum pawl_join join, struct pawl_instant now,
                                                 uint8_t *scratch);

/**
 * Hand the records of the slots @set of bundle @bundle to @sink: those with something in them, and
 * tombstones that the saver has not heard of. Dirty marks stay.
 *
 * @cursor  in: where to go on, 0 to begin; out: where to go on next time. Means the same however
 *          the table grows or shrinks meanwhile, so several may walk at once.
 * @take    true: what was handed over is forgotten here.
 * Others   as pawl_limiter_collect_dirty; the budget is exceeded by less than one record.
 *
 * Returns PAWL_OK at the end of the walk, PAWL_EAGAIN where there may be more.
 */
PAWL_MUST_USE enum pawl_status pawl_limiter_collect_slots(struct pawl_limiter *limiter,
                                                          unsigned bundle, uint64_t set, bool take,
                                                          uint64_t *cursor, size_t budget,
                                                          struct pawl_instant now, uint8_t *scratch,
                                                          pawl_limiter_sink sink, void *data,
                                                          size_t *handed);

/**
 * As pawl_limiter_collect_dirty, for the slots @set alone: what is dirty in others stays so.
 * pawl_limiter_record_id() says of each record whose it is.
 */
PAWL_MUST_USE enum pawl_status pawl_limiter_collect_dirty_slots(
    struct pawl_limiter *limiter, unsigned bundle, uint64_t set, size_t budget,
    struct pawl_instant now, uint8_t *scratch, pawl_limiter_sink sink, void *data, size_t *handed);

/** Hand the record of @id to @sink as it is now. False if there is none, or @sink was full. */
bool pawl_limiter_collect_id(struct pawl_limiter *limiter, struct pawl_id id,
                             struct pawl_instant now, uint8_t *scratch, pawl_limiter_sink sink,
                             void *data);

/** True while @id has a record with something in it, or one the saver has to hear of. */
bool pawl_limiter_holds(struct pawl_limiter *limiter, struct pawl_id id, struct pawl_instant now);

/** All records of the slots @set are to be saved again. Returns how many there are. */
size_t pawl_limiter_mark_slots(struct pawl_limiter *limiter, unsigned bundle, uint64_t set,
                               struct pawl_instant now);

/** Forget all records of the slots @set, dirty or not. Returns how many there were. */
size_t pawl_limiter_forget_slots(struct pawl_limiter *limiter, unsigned bundle, uint64_t set);

/**
 * Since when something in @bundle changed that was not collected: @since is the "now" of about the
 * oldest such change. False if there is nothing.
 */
bool pawl_limiter_bundle_unsaved(struct pawl_limiter *limiter, unsigned bundle,
                                 struct pawl_instant *since);

#endif
