/*
 * The log's parts, as they see each other; nobody else includes this.
 *
 *   log.c          life, facts of our own, queries
 *   log_facts.c    the table of facts: by id, in order of arrival; cancels
 *   log_scopes.c   facts by what they are about: what a cancel leaves
 *   log_origins.c  streams: which position holds what
 *   log_tops.c     what an announcement says: lost ends, freshness
 *   log_append.c   what the engine lacks goes out; acknowledgements
 *   log_read.c     what others wrote comes in; confirmations
 *   log_tend.c     expiry, trimming, adoption, tick
 *   log_digest.c   digests
 */
#ifndef PAWL_CORE_CLUSTER_LOG_INSIDE_H
#define PAWL_CORE_CLUSTER_LOG_INSIDE_H

#include "core/cluster/log.h"

/* ---- facts ---- */

#define PAWL_LOG_CHUNK 4096u /* facts in one block of the table */

enum {
    PAWL_LOG_CANCELED = 1, /* a cancel names it */
    PAWL_LOG_JOURNAL = 2,  /* came from the journal: no stream need hold it */
    PAWL_LOG_NOTE = 4,     /* no fact: the body of an `applied` entry that was not sent yet */
    PAWL_LOG_SCOPED = 8,   /* in a list by its scope, while there are such */
};

/*
 * A fact, or a note; `bytes` NULL: free, or (refs > 0) expired while slots still name it. 24 bytes
 * beside the serialized fact.
 */
struct pawl_log_fact {
    uint8_t *bytes;
    uint32_t prev, next; /* order of arrival; `next` of the free ones: the next free one */
    uint16_t size;
    uint16_t refs;    /* positions that hold it; stays at its maximum once there */
    uint16_t arrived; /* BOOTTIME in units of 8 s, wraps */
    uint8_t flags;
    uint8_t passes; /* of the sweep that found no position for it */
};

/* Positions hold a handle, with the top bit when a confirmation is asked for. */
#define PAWL_LOG_EMPTY   0u /* not known: a hole */
#define PAWL_LOG_VOID    1u
#define PAWL_LOG_FIRST   2u /* the first handle of a fact */
#define PAWL_LOG_CONFIRM 0x80000000u
#define PAWL_LOG_HANDLE  0x7fffffffu

struct pawl_log_bucket {
    uint64_t count;
    uint64_t sum; /* XOR of keyed hashes of ids */
};

#define PAWL_LOG_BUCKETS 64

/* Facts of one scope, and of others with the same low bits: a list without an order. */
struct pawl_log_link {
    uint32_t prev, next;
    uint32_t hash;
};

struct pawl_log_facts {
    struct pawl_log_fact **chunks;
    uint32_t chunk_count, chunk_capacity;
    uint32_t used;           /* handles below it were given out once */
    uint32_t free;           /* list of free handles, 0: none */
    uint32_t oldest, newest; /* order of arrival */
    uint32_t *ids;           /* open addressing by id */
    uint32_t ids_mask;
    uint64_t count, bytes;
    uint64_t *cancels; /* open addressing by canceled id: handle << 8 | index, 0: free */
    uint32_t cancels_mask, cancels_count;
    struct pawl_log_bucket buckets[PAWL_LOG_BUCKETS];
    struct pawl_log_link **links; /* as chunks; since the first cancel that took something back */
    uint32_t link_count, link_capacity;
    uint32_t *heads; /* NULL: there is no index by scope */
    uint32_t heads_mask, scoped;
};

/* ---- origins ---- */

struct pawl_log_origin {
    struct pawl_origin id;
    uint16_t index; /* in inside.origins */

    /* What is held: positions lo..hi lie in slots[start..]; below lo all is dead. */
    uint32_t *slots;
    size_t start, capacity;
    uint64_t lo, hi;
    uint64_t live;  /* slots that name a fact, expired ones too until the sweep has been there */
    uint64_t empty; /* slots that are holes */

    /* What the engine has. */
    uint64_t cursor;     /* to be read from here */
    uint64_t asked;      /* the running READ: up to here */
    uint64_t first, top; /* of the last tops */
    bool listed;         /* in them */
    uint64_t seen_hi;    /* our end at the tops before: what the engine had before that was sent */
    uint64_t known;      /* highest position that the engine ever had */

    /* Appending: positions up to won are there, up to sent are on their way. */
    uint64_t won, sent;
    uint32_t flight;
    bool stuck;        /* one failed: wait for tops */
    bool help;         /* another's, and we append what the engine lacks */
    uint32_t stalled;  /* announcements without progress while the engine lacks something */
    uint64_t last_top; /* for that */

    /* Being synced. */
    uint64_t goal_top, next_top;
    uint64_t hole_since_ms, hole_read_ms; /* 0: no hole, none yet */

    /* Confirmations. */
    uint64_t confirm_to;   /* we were asked to confirm up to here ... */
    uint64_t confirm_sent; /* ... and did so up to here ... */
    uint64_t note_at;      /* ... in our stream there */
    uint64_t confirmed;    /* of our stream, by this member */

    bool member;
    uint64_t quiet_ms;               /* since when it is no member and nothing came */
    uint64_t emptied_ms;             /* since when the engine's stream has nothing; 0: it has */
    uint64_t trim_ms;                /* not before */
    uint32_t strikes, strike_minute; /* digests that differed */
};

struct pawl_log_flight {
    uint64_t position;
    uint16_t origin;
    bool used;
};

/* A fact that was appended again, so that its old position can go. */
struct pawl_log_move {
    uint64_t from, to;
    uint16_t origin; /* of `from`; `to` is in our stream */
};

#define PAWL_LOG_MOVES        256
#define PAWL_LOG_ORIGIN_SLOTS 2048 /* of the table by id */

struct pawl_log_snapshot {
    uint32_t minute; /* 0: none */
    size_t size;
    uint8_t blob[PAWL_LOG_DIGEST_BYTES];
};

struct pawl_log_inside {
    struct pawl_facts_log *log;
    struct pawl_facts_log_options options;
    struct pawl_subkey keys[PAWL_SEAL_KEYS_MAX];
    struct pawl_subkey same; /* of digests, which members compare */
    struct pawl_log_facts facts;

    struct pawl_log_origin *origins[PAWL_ORIGINS_MAX]; /* NULL: free */
    uint32_t origins_end;                              /* those from here on are */
    uint16_t origin_slots[PAWL_LOG_ORIGIN_SLOTS];      /* index + 1 */
    uint32_t origin_count;
    struct pawl_log_origin *own;
    uint64_t own_sent_max; /* of any epoch: may be there, or come to be */

    /* the engine */
    bool up, topped; /* a primary; its tops are known */
    uint64_t up_ms;
    uint32_t generation; /* of tags */
    struct pawl_log_flight flight[PAWL_LOG_FLIGHT_MAX];
    uint32_t flight_count;
    bool helping; /* with some stream */
    bool read_out;
    uint64_t read_after_ms;           /* not before */
    uint64_t verify_ms;               /* when our own stream is read again */
    bool confirming;                  /* something may have to be confirmed */
    bool overflow;                    /* no room for others' entries: reading stands still */
    uint64_t engine_ms, engine_at_ms; /* the engine's clock, and when */

    /* synced */
    uint64_t synced_ms;
    uint64_t goal_sent_ms, next_sent_ms; /* 0: none */
    bool origins_full;                   /* more streams than can be followed: never synced */

    /* acknowledgements */
    uint64_t replicated[PAWL_LOG_REPLICAS_MAX + 1];
    uint64_t want_position;
    uint32_t want_replicas;
    bool want_new; /* since the last WAIT was considered */
    uint64_t want_until_ms;
    bool wait_out, wait_short; /* the last one was */
    uint64_t wait_mark, wait_after_ms;

    /* tending */
    uint64_t slow_s;
    uint32_t sweep, sweep_count; /* facts looked at in this pass, of so many; 0: none runs */
    uint64_t sweep_ms;           /* when it began */
    uint32_t scan_origin;        /* slots: where that sweep is */
    uint64_t scan_position;
    uint64_t scan_ms;                   /* when the next pass begins */
    uint64_t tend_ms, trim_ms, hole_ms; /* not before */
    uint64_t overflow_ms;
    bool adopting; /* there is more to adopt than goes out at once */
    struct pawl_log_move moves[PAWL_LOG_MOVES];
    uint32_t move_count;
    bool lowest; /* we have the lowest id of the members */
    uint32_t rank, member_count;
    uint64_t reread_ms;
    struct pawl_log_snapshot snapshots[2]; /* the newer one first */
    struct pawl_log_cursor cursors[PAWL_ORIGINS_MAX];
};

/* ---- log.c ---- */

/** realloc() of the options' heap with @old_size counted. NULL: out of memory, @old untouched. */
void *pawl_log_take(struct pawl_log_inside *in, void *old, size_t old_size, size_t size);
void pawl_log_give(struct pawl_log_inside *in, void *old, size_t size);

/* ---- log_facts.c ---- */

static inline struct pawl_log_fact *pawl_log_fact_at(const struct pawl_log_facts *facts,
                                                     uint32_t handle)
{
    return &facts->chunks[handle / PAWL_LOG_CHUNK][handle % PAWL_LOG_CHUNK];
}

static inline struct pawl_bytes pawl_log_fact_bytes(const struct pawl_log_fact *fact)
{
    return pawl_bytes_of(fact->bytes, fact->size);
}

/** Fields at fixed places of a serialized fact (core/fact.h). */
struct pawl_fact_id pawl_log_fact_id(const struct pawl_log_fact *fact);
uint64_t pawl_log_fact_until(const struct pawl_log_fact *fact);
uint64_t pawl_log_fact_taken_ms(const struct pawl_log_fact *fact);

/** Keyed hash of an id: places it in tables and goes into digests. */
uint64_t pawl_log_hash(const struct pawl_log_inside *in, const struct pawl_fact_id *id);

/** Whether there is room for @size bytes more, times @factor of the caps. */
bool pawl_log_facts_room(const struct pawl_log_inside *in, size_t size, unsigned factor);

/** The handle of @id, or 0. */
uint32_t pawl_log_facts_find(const struct pawl_log_inside *in, const struct pawl_fact_id *id);

/** A block of bytes outside the tables: a note. 0: out of memory. */
uint32_t pawl_log_facts_note(struct pawl_log_inside *in, struct pawl_bytes bytes);

/**
 * Take in @fact, serialized as @bytes, which is not there yet, and tell of it. @handle out. What
 * a cancel takes back is told too; @canceled may be NULL. PAWL_OK or PAWL_ENOMEM (nothing done).
 */
enum pawl_status pawl_log_facts_insert(struct pawl_log_inside *in, const struct pawl_fact *fact,
                                       struct pawl_bytes bytes, enum pawl_log_source source,
                                       uint64_t now_ms, uint32_t *handle, uint32_t *canceled);

/** Forget an expired fact or a note; the handle lives on while slots name it. */
void pawl_log_facts_forget(struct pawl_log_inside *in, uint32_t handle);

/** One more, one less position that holds @handle. */
void pawl_log_facts_ref(struct pawl_log_inside *in, uint32_t handle);
void pawl_log_facts_unref(struct pawl_log_inside *in, uint32_t handle);

void pawl_log_facts_deinit(struct pawl_log_inside *in);

/* ---- log_scopes.c ---- */

/** What cancels took back just now, and what is left of the same scopes. */
struct pawl_log_remains {
    unsigned count;
    struct {
        uint32_t handle; /* canceled just now */
        uint32_t best;   /* the strongest that is left, 0: none */
        uint64_t best_until_s;
        struct pawl_fact fact;
        struct pawl_id id;
    } items[PAWL_FACT_CANCELS_MAX];
};

/** Look for what is left, and tell on_cancel. */
void pawl_log_remains_tell(struct pawl_log_inside *in, struct pawl_log_remains *r);

/** A fact has come; one goes, whose bytes are still there. */
void pawl_log_scopes_add(struct pawl_log_inside *in, uint32_t handle, const struct pawl_fact *fact);
void pawl_log_scopes_remove(struct pawl_log_inside *in, uint32_t handle);
void pawl_log_scopes_drop(struct pawl_log_inside *in);

/* ---- log_origins.c ---- */

struct pawl_log_origin *pawl_log_origin_find(const struct pawl_log_inside *in,
                                             const struct pawl_origin *id);
/** Find or make. NULL: too many, or out of memory. */
struct pawl_log_origin *pawl_log_origin_get(struct pawl_log_inside *in,
                                            const struct pawl_origin *id, uint64_t now_ms);
void pawl_log_origin_remove(struct pawl_log_inside *in, struct pawl_log_origin *origin);

/** What @position holds: EMPTY, VOID (expired ones too), or a handle; no flag. */
uint32_t pawl_log_slot(const struct pawl_log_inside *in, const struct pawl_log_origin *origin,
                       uint64_t position);
/** The same as it lies there, with the flag. lo <= @position <= hi. */
static inline uint32_t *pawl_log_slot_at(const struct pawl_log_origin *origin, uint64_t position)
{
    return &origin->slots[origin->start + (size_t)(position - origin->lo)];
}
/** Put @value (with its flag) where lo <= @position <= hi; counts refs. */
void pawl_log_slot_set(struct pawl_log_inside *in, struct pawl_log_origin *origin,
                       uint64_t position, uint32_t value);
/** Make hi = @position, new slots being @fill (EMPTY or VOID). PAWL_OK or PAWL_ENOMEM. */
enum pawl_status pawl_log_slots_extend(struct pawl_log_inside *in, struct pawl_log_origin *origin,
                                       uint64_t position, uint32_t fill);
/** Drop all slots below @position; where that is above hi, hi becomes @position - 1. */
void pawl_log_slots_drop(struct pawl_log_inside *in, struct pawl_log_origin *origin,
                         uint64_t position);
/** The last position up to which there is no hole. */
uint64_t pawl_log_applied(const struct pawl_log_origin *origin);

/* ---- log_append.c ---- */

/** Put the fact or note @handle at the end of our stream. PAWL_OK or PAWL_ENOMEM. */
enum pawl_status pawl_log_own_append(struct pawl_log_inside *in, uint32_t handle, bool confirm,
                                     uint64_t *position);
/** Send what the engine lacks, as far as the window goes; WAIT where one is wanted. */
void pawl_log_pump(struct pawl_log_inside *in, uint64_t now_ms);
void pawl_log_on_append(struct pawl_log_inside *in, const struct pawl_engine_reply *reply,
                        uint64_t now_ms);
void pawl_log_on_wait(struct pawl_log_inside *in, const struct pawl_engine_reply *reply,
                      uint64_t now_ms);
/** The engine has @origin's stream up to @won. */
void pawl_log_set_won(struct pawl_log_inside *in, struct pawl_log_origin *origin, uint64_t won);
/** Nothing is on its way any more: another epoch, or none. */
void pawl_log_append_reset(struct pawl_log_inside *in);

/* ---- log_read.c ---- */

void pawl_log_read(struct pawl_log_inside *in, uint64_t now_ms);
void pawl_log_on_read(struct pawl_log_inside *in, const struct pawl_engine_reply *reply, bool late,
                      uint64_t now_ms);
/** Write `applied` entries for what was asked for and is applied. */
void pawl_log_confirm(struct pawl_log_inside *in);

/* ---- log_tops.c ---- */

/** Whether the announcement that is waited for is reached now. */
void pawl_log_check_goal(struct pawl_log_inside *in);
/** Look after holes: when to read again, when to give up. */
void pawl_log_tend_holes(struct pawl_log_inside *in, uint64_t now_ms);
/** Whether an announcement of this epoch made us synced. */
bool pawl_log_synced_here(const struct pawl_log_inside *in);

/* ---- log_tend.c ---- */

void pawl_log_tend(struct pawl_log_inside *in, uint64_t now_ms);

/* ---- log_digest.c ---- */

void pawl_log_bucket_add(struct pawl_log_inside *in, const struct pawl_log_fact *fact, int sign);

/* ---- tags ---- */

enum pawl_log_tag {
    PAWL_LOG_TAG_APPEND = 1,
    PAWL_LOG_TAG_READ,
    PAWL_LOG_TAG_WAIT,
    PAWL_LOG_TAG_OTHER,
};

static inline uint64_t pawl_log_tag(const struct pawl_log_inside *in, enum pawl_log_tag kind,
                                    uint32_t index)
{
    return (uint64_t)in->generation << 32 | (uint64_t)kind << 24 | index;
}

/* ---- entries ---- */

enum {
    PAWL_LOG_KIND_FACT = 1,
    PAWL_LOG_KIND_APPLIED = 2,
    PAWL_LOG_KIND_VOID = 3,
    PAWL_LOG_KIND_CONFIRM = 0x80, /* beside FACT */
};

#define PAWL_LOG_PLACE_BYTES 24 /* origin, position */
#define PAWL_LOG_NOTE_BYTES  24 /* the same form, in an `applied` entry */

static inline void pawl_log_place(uint8_t out[PAWL_LOG_PLACE_BYTES],
                                  const struct pawl_origin *origin, uint64_t position)
{
    struct pawl_fact_id place = { .origin = *origin, .sequence = position };

    pawl_fact_id_write(out, &place);
}

#endif
