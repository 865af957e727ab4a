/*
 * The revocation table: every scope key that a fact is about, in memory that other processes can
 * map read-only.
 *
 * Open addressing over 128-bit keyed ids in a region that the caller made (a sealed, sparse memfd,
 * all zero) and mapped. 256 shards, 64 for each class of identities (tokens, families, subjects,
 * the rest: see pawl_scope_id()); each lies in one area and grows by building the next one at
 * another place, publishing it with one store, and giving the old one back. A reader loads a
 * shard's descriptor, probes, loads the descriptor again and starts over if it changed: it never
 * locks, never blocks, writes nothing, and never misses a key that was there before it looked. A
 * writer that dies in the middle leaves no reader hanging.
 *
 * Region, layout version 1, 8-byte fields in the machine's order:
 *   page 0            struct pawl_revocations_header
 *   pages 1 to 4      256 descriptors, one cache line each: generation << 16 | bank << 8 | log2
 *   from page 5       for each shard, for each log2 size, for each of two banks: the slots
 * A slot is {k0, k1, value}, 24 bytes; k0 == 0 is empty. Keys of an area never change or move;
 * only values do. Where an area lies follows from (shard, log2, bank), see revocations.c.
 *
 * Readers: any thread, any process, read-only mapping. Writers: any thread; they take turns by a
 * mutex for each shard that lies outside the region, in struct pawl_revocations.
 */
#ifndef PAWL_CORE_REVOCATIONS_H
#define PAWL_CORE_REVOCATIONS_H

#include "core/fact.h"
#include "core/status.h"
#include "core/types.h"

#include <pthread.h>
#include <stdatomic.h>

#define PAWL_REVOCATIONS_MAGIC          UINT64_C(0x31766b6c77617000) /* "\0pawlkv1" */
#define PAWL_REVOCATIONS_LAYOUT         1
#define PAWL_REVOCATIONS_SHARDS         256 /* 64 for each class of identities */
#define PAWL_REVOCATIONS_MAX_DEFAULT    (UINT64_C(16) << 20)
#define PAWL_REVOCATIONS_MAX_CAP        (UINT64_C(1) << 30)
#define PAWL_REVOCATIONS_PULSE_MS       100  /* the daemon beats this often */
#define PAWL_REVOCATIONS_PULSE_STALE_MS 1000 /* a reader must not trust an older beat */

/** What the daemon says about the table as a whole; zero is the safe one. */
enum pawl_revocations_mode {
    PAWL_REVOCATIONS_LOADING = 0, /* not all facts are in: a miss says nothing */
    PAWL_REVOCATIONS_SERVING = 1,
    PAWL_REVOCATIONS_FROZEN = 2, /* facts may be missing: a miss says nothing */
};

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): what beats lies on its own lines */
struct pawl_revocations_header {
    uint64_t magic; /* written last */
    uint32_t layout;
    uint32_t shards;
    uint64_t size_bytes; /* of the whole region */
    uint64_t max;        /* entries */
    uint32_t level_min;  /* log2 of the smallest and largest area's slots */
    uint32_t level_max;
    uint64_t generation; /* the life of the daemon that writes: its boot nonce */
    /* From here on changed while others read. */
    _Alignas(64) _Atomic uint64_t pulse_ms; /* BOOTTIME */
    _Atomic uint64_t synced_ms;             /* BOOTTIME up to which all facts are in */
    _Alignas(64) _Atomic uint32_t mode;     /* enum pawl_revocations_mode */
    _Atomic uint64_t entries;               /* that count: neither cancelled nor dropped */
    _Atomic uint64_t scope_entries[PAWL_SCOPES];
    _Atomic uint64_t cutoff_max_ms; /* largest cutoff ever set, PAWL_CUTOFF_ALL_MS aside */
    _Atomic uint64_t floor_ms;      /* 0, or a cutoff for every namespace: after a thaw */
    _Atomic uint64_t birth_max_ms;  /* latest birth of a family that was minted */
};

/** What is known about one key. All zero: nothing. */
struct pawl_revocation {
    enum pawl_reason reason;
    uint64_t until_s;   /* never earlier than what was set, may be up to 4 days later for cutoffs */
    uint64_t cutoff_ms; /* 0 for tokens and families */
};

/** A reader's handle: 40 bytes, copied freely; the mapping is the caller's. */
struct pawl_revocations_view {
    const uint8_t *base;
    const struct pawl_revocations_header *header;
    uint64_t shard_bytes;
    uint32_t level_min;
    uint32_t level_max;
};

/**
 * Give back the pages of [offset, offset + size) of the region. Returns whether they read as zero
 * now; if not, they are cleared by hand before their next use. Called under a shard's mutex.
 */
typedef bool pawl_revocations_release(void *user, uint64_t offset, uint64_t size);

struct pawl_revocations_options {
    uint64_t max;                      /* entries; 1 to PAWL_REVOCATIONS_MAX_CAP */
    uint64_t generation;               /* boot nonce */
    pawl_revocations_release *release; /* NULL: old areas stay resident and are reused */
    void *user;
};

/** Monotone counters for metrics, and gauges. */
struct pawl_revocations_stats {
    uint64_t entries;
    uint64_t slots;    /* of the areas in use */
    uint64_t rebuilds; /* areas built: growth and cleaning */
    uint64_t dropped;  /* expired entries left out when building */
    uint64_t refused;  /* PAWL_EFULL answers */
};

/* ---- fields below are private ---- */
struct pawl_revocations_shard {
    _Alignas(64) pthread_mutex_t mutex;
    uint64_t used;        /* slots taken, cancelled ones too */
    uint64_t live;        /* entries that count */
    uint64_t dirty;       /* areas that do not read as zero: bit 2 * (level - min) + bank */
    uint64_t until_min_s; /* no entry expires earlier: when to try cleaning */
    uint64_t rebuilds;
    uint64_t dropped;
    uint64_t refused;
};
/* ---- end of private fields ---- */

/** A writer's handle, about 32 KiB; the caller's storage, kept at one address. */
struct pawl_revocations {
    struct pawl_revocations_view view; /* for this process's own look-ups */
    struct pawl_revocations_header *header;
    pawl_revocations_release *release;
    void *user;
    struct pawl_revocations_shard shards[PAWL_REVOCATIONS_SHARDS];
};

/** Bytes of region for @max entries: mostly never touched (12.9 GB for 16 Mi). 0 if out of range.
 */
uint64_t pawl_revocations_size(uint64_t max);

/**
 * Lay out a table in @region: @size bytes from pawl_revocations_size(), 64-byte aligned, all zero,
 * mapped read-write; the caller keeps it mapped until deinit. Starts in mode LOADING.
 * Returns PAWL_OK, PAWL_EINVAL.
 */
PAWL_MUST_USE enum pawl_status pawl_revocations_init(
    struct pawl_revocations *table, void *region, uint64_t size,
    const struct pawl_revocations_options *options);

/** Forget the handle; the region stays the caller's. No other thread may use @table any more. */
void pawl_revocations_deinit(struct pawl_revocations *table);

/**
 * Read a region mapped read-only, of this or another process. Refuses what is not of this layout
 * and size, and a daemon whose pulse is older than PAWL_REVOCATIONS_PULSE_STALE_MS.
 *
 * @boottime_ms  CLOCK_BOOTTIME now.
 * Returns PAWL_OK, PAWL_EVERSION, PAWL_ECORRUPT, or PAWL_EUNAVAIL (no pulse: do not trust it).
 */
PAWL_MUST_USE enum pawl_status pawl_revocations_attach(struct pawl_revocations_view *view,
                                                       const void *region, uint64_t size,
                                                       uint64_t boottime_ms);

/** Whether the daemon behind @view still beats; to be asked before each use of a foreign map. */
bool pawl_revocations_alive(const struct pawl_revocations_view *view, uint64_t boottime_ms);

/** The daemon is alive at @boottime_ms. Call every PAWL_REVOCATIONS_PULSE_MS. Any thread. */
void pawl_revocations_pulse(struct pawl_revocations *table, uint64_t boottime_ms);

/** All facts known to the fleet at @boottime_ms are in. With an embedded store: at each pulse. */
void pawl_revocations_synced(struct pawl_revocations *table, uint64_t boottime_ms);

/** Age of the data at @boottime_ms; UINT64_MAX before the first pawl_revocations_synced(). */
uint64_t pawl_revocations_staleness_ms(const struct pawl_revocations_view *view,
                                       uint64_t boottime_ms);

/**
 * A cutoff for every namespace, known by a fact or not: facts were lost, and nobody can say whose
 * (thaw). 0 ends it. Any thread.
 */
void pawl_revocations_set_floor(struct pawl_revocations *table, uint64_t floor_ms);

static inline uint64_t pawl_revocations_floor_ms(const struct pawl_revocations_view *view)
{
    return atomic_load_explicit(&view->header->floor_ms, memory_order_acquire);
}

void pawl_revocations_set_mode(struct pawl_revocations *table, enum pawl_revocations_mode mode);
enum pawl_revocations_mode pawl_revocations_get_mode(const struct pawl_revocations_view *view);

/**
 * Join @entry into what is known about @id: the later until and the later cutoff win, the first
 * reason stays (with a later cutoff goes its own reason).
 *
 * @scope   what @id was made from. @entry  until_s > 0; cutoff_ms > 0 exactly for cutoff scopes.
 * @now_s   for leaving out expired entries when an area is built anew: a clock that cannot run
 *          fast. 0: nothing is ever left out.
 *
 * Returns PAWL_OK; PAWL_EFULL, with everything as it was, when `max` entries that have not expired
 * are in; PAWL_EINVAL. Blocks for a build of one or two shards at most (each 1/64 of its class).
 */
PAWL_MUST_USE enum pawl_status pawl_revocations_set(struct pawl_revocations *table,
                                                    enum pawl_scope scope, struct pawl_id id,
                                                    const struct pawl_revocation *entry,
                                                    uint64_t now_s);

/**
 * Join what @fact (revocation or cutoff, checked) says. Cancels and unknown kinds: PAWL_EINVAL,
 * they are for the holder of all facts, see pawl_revocations_clear(). Results as set's.
 */
PAWL_MUST_USE enum pawl_status pawl_revocations_apply(struct pawl_revocations *table,
                                                      const struct pawl_subkey *facts,
                                                      const struct pawl_fact *fact, uint64_t now_s);

/**
 * Cancel: forget what is known about the token @id, or replace it in one step by what is left.
 *
 * @rest  the join of the facts about @id that are not cancelled; NULL: none is left.
 * Only for token scopes (asserted by the caller); a key that is not there is left so.
 * Returns whether the key was there.
 */
bool pawl_revocations_clear(struct pawl_revocations *table, struct pawl_id id,
                            const struct pawl_revocation *rest);

/**
 * Build the shards anew that hold entries expired at @now_s. Call now and then from one thread;
 * @shard 0 to PAWL_REVOCATIONS_SHARDS - 1, one at a time. Returns how many were dropped.
 */
uint64_t pawl_revocations_clean(struct pawl_revocations *table, unsigned shard, uint64_t now_s);

/**
 * The value under @id as one word, 0 when nothing is known. Never blocks, any thread or process.
 * pawl_revocation_unpack() reads it. Expired entries that are still in are returned too: judge
 * until_s by the same clock as the token's exp, so that an answer never depends on a cleaning.
 */
PAWL_HOT uint64_t pawl_revocations_probe(const struct pawl_revocations_view *view,
                                         struct pawl_id id);

/** Start loading the memory that a probe of @id will touch; probe many after prefetching all. */
PAWL_HOT void pawl_revocations_prefetch(const struct pawl_revocations_view *view,
                                        struct pawl_id id);

/** Read a word of pawl_revocations_probe(). */
struct pawl_revocation pawl_revocation_unpack(uint64_t word);

/** Probe and unpack; false and all zero when nothing is known. */
bool pawl_revocations_lookup(const struct pawl_revocations_view *view, struct pawl_id id,
                             struct pawl_revocation *entry);

/** Whether any entry of @scope is in: a look-up can be saved otherwise. */
static inline bool pawl_revocations_has_scope(const struct pawl_revocations_view *view,
                                              enum pawl_scope scope)
{
    return atomic_load_explicit(&view->header->scope_entries[scope], memory_order_acquire) != 0;
}

/** The earliest birth time that every known cutoff spares: for pawl_sid_mint(). 0: no cutoff. */
uint64_t pawl_revocations_newborn_ms(const struct pawl_revocations_view *view);

/** A family was minted with this birth: cutoffs made from now on reach it. */
void pawl_revocations_born(struct pawl_revocations *table, uint64_t birth_ms);

/** For pawl_cutoff_ms(): no login that was acknowledged, before a restart either, is born later. */
uint64_t pawl_revocations_birth_max_ms(const struct pawl_revocations_view *view);

/** Fill @stats. Takes each shard's mutex in turn. */
void pawl_revocations_get_stats(struct pawl_revocations *table,
                                struct pawl_revocations_stats *stats);

#endif
