/*
 * The gate: no rotation commits in a new epoch before the members have said what they know.
 *
 * A new primary may have lost the last wins. So the gate is closed when an epoch begins; each
 * member merges the families it wrote lately (families.h), then says so (GATE_READY). When all
 * members of the view have, or PAWL_GATE_WAIT_MS have passed since the epoch began here, a member
 * that has merged opens it (GATE_OPEN) for everybody. With `strict` time opens nothing: it stays
 * closed until all members of the view are ready; the dead ones leave the view.
 *
 * What is lost in which double failure: a win that only a member knows which died, or did not come
 * back within PAWL_GATE_WAIT_MS, and that the new primary did not have. The family's join finds
 * the fork when that member returns, and revokes.
 *
 * Life: init -> on_up, on_down, merged, on_announce, on_reply, tick ... -> nothing to undo. One
 * thread. The engine itself refuses gated writes, so what is believed here is a hint for parking.
 */
#ifndef PAWL_CORE_CLUSTER_GATE_H
#define PAWL_CORE_CLUSTER_GATE_H

#include "core/cluster/ownership.h"
#include "core/cluster/view.h"

#define PAWL_GATE_WAIT_MS     10000 /* 2 TTLs: the dead are out of the view by then */
#define PAWL_GATE_RETRY_MS    1000  /* READY is said again when it is not seen; so is OPEN */
#define PAWL_GATE_LOOK_MS     250   /* between looks at who is ready, until time opens it */
#define PAWL_GATE_DEADLINE_MS 2000  /* of a command */

_Static_assert(PAWL_GATE_WAIT_MS == 2 * PAWL_MEMBER_TTL_MS, "the gate waits for two TTLs");

struct pawl_gate_metrics {
    bool open;
    uint64_t openings;        /* times it was seen to open */
    uint64_t by_time;         /* of them: this member opened it though not all were ready */
    uint64_t closed_last_ms;  /* how long it was closed the last time, or is up to now */
    uint64_t closed_total_ms; /* as far as it has opened again */
};

struct pawl_gate_options {
    struct pawl_engine_out out;
    struct pawl_member_id self;
    bool strict;
    /**
     * The gate stands open for @epoch, or (false) a new epoch has begun, or this one's data are
     * gone: all has to be merged anew. May be NULL.
     */
    void (*changed)(void *ctx, const struct pawl_epoch *epoch, bool open);
    /** Announce soon (pawl_members_poke): others may be ready, or have opened it. May be NULL. */
    void (*look)(void *ctx);
    void *ctx;
};

struct pawl_gate {
    uint64_t next_ms; /* when tick wants to be called; UINT64_MAX: something has to happen first */
    /* ---- private ---- */
    struct pawl_gate_options options;
    struct pawl_epoch epoch; /* zero: none yet */
    bool up, merged, open;
    bool listed;       /* this member is among the ready ones, by the engine */
    bool all_ready;    /* all members of the view are */
    bool by_time;      /* the last GATE_OPEN was said because of the time */
    uint64_t tag;      /* last one given */
    uint64_t asked;    /* tag of the command that is outstanding; 0: none */
    uint64_t up_ms;    /* the epoch began here */
    uint64_t retry_ms; /* no command before */
    uint64_t look_ms;  /* the next look */
    uint64_t openings, openings_by_time, closed_last_ms, closed_total_ms;
};

void pawl_gate_init(struct pawl_gate *gate, const struct pawl_gate_options *options);

/** The engine answers. A new epoch closes the gate; the same one again changes nothing. */
void pawl_gate_on_up(struct pawl_gate *gate, const struct pawl_epoch *epoch, uint64_t now_ms);
void pawl_gate_on_down(struct pawl_gate *gate, uint64_t now_ms);

/** Everything this member knows of families is in the engine in @epoch (an older one: nothing). */
void pawl_gate_merged(struct pawl_gate *gate, const struct pawl_epoch *epoch, uint64_t now_ms);

/**
 * A WON reply to an ANNOUNCE: who is ready, whether it is open. @view: the one that this member
 * acts on; NULL or without members: only time opens.
 */
void pawl_gate_on_announce(struct pawl_gate *gate, const struct pawl_engine_reply *reply,
                           const struct pawl_view *view, uint64_t now_ms);

/**
 * The engine has lost its data in this epoch (FLUSHALL): as at the beginning of one. Found by
 * on_announce, too, when the gate that stood open, or this member's word, is gone.
 */
void pawl_gate_emptied(struct pawl_gate *gate, uint64_t now_ms);

/** A reply to a command of PAWL_PART_GATE. */
void pawl_gate_on_reply(struct pawl_gate *gate, const struct pawl_engine_reply *reply,
                        uint64_t now_ms);

void pawl_gate_tick(struct pawl_gate *gate, uint64_t now_ms);

/** Whether it is known to stand open for @epoch, now. */
bool pawl_gate_is_open(const struct pawl_gate *gate, const struct pawl_epoch *epoch);

void pawl_gate_metrics_get(const struct pawl_gate *gate, uint64_t now_ms,
                           struct pawl_gate_metrics *metrics);

#endif
