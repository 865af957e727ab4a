/*
 * How safe a fact of this node is by now, and when its caller is told.
 *
 * - memory: it acts here.
 * - durable: besides, in this node's journal, or at a replica of the engine, or at another member.
 * - quorum: a majority of the engine's replicas have it: survives any failover to one of them.
 * - everywhere: durable (quorum, where there are replicas), and whoever may answer "fresh" has
 *   applied it: every other member of the view, and every other node that is announced in the
 *   engine, has confirmed it or has been silent for too long to be fresh.
 *
 * Fresh makes an announcement (R3), so who could be fresh without the fact was announced before it
 * was appended: whom an announcement of this node's shows that was sent after that. The view alone
 * does not tell: one who joins is fresh before he is in it, one whom it has dropped may be for a
 * while, and of a view that others have set one hears late.
 *
 * A wait ends when its level is reached; or when nothing can come any more that would raise it (no
 * replicas: no quorum; alone, without journal and replicas: not even durable); or at its deadline.
 * It is told what was reached. Less than asked is no error as long as a journal, another member or
 * at least the engine has the fact; nothing but this memory is PAWL_EUNAVAIL.
 *
 * Pure. The caller feeds it progress of the log, of the journal, and of the view. One thread.
 */
#ifndef PAWL_CORE_CLUSTER_ACKS_H
#define PAWL_CORE_CLUSTER_ACKS_H

#include "core/cluster/log.h"
#include "core/cluster/members.h"

/** Levels; the numbers are those of the wire and of enum pawl_ack (port/store.h). */
enum pawl_ack_level {
    PAWL_ACK_LEVEL_NONE = 0,
    PAWL_ACK_LEVEL_MEMORY = 1,
    PAWL_ACK_LEVEL_DURABLE = 2,
    PAWL_ACK_LEVEL_QUORUM = 3,
    PAWL_ACK_LEVEL_EVERYWHERE = 4,
};

/** One fact that somebody waits for. The caller's memory until `done`. */
struct pawl_ack_wait {
    enum pawl_ack_level asked;
    uint64_t position; /* in our stream */
    uint64_t deadline_ms;
    bool journaling; /* a journal was asked to keep it and has not answered yet */
    bool journaled;  /* and it did */
    /** The end, once, from inside the functions below. @why with anything but PAWL_OK. */
    void (*done)(struct pawl_ack_wait *wait, enum pawl_status status, const char *why);
    void *owner;

    enum pawl_ack_level reached; /* out */

    /* ---- private ---- */
    uint64_t shown_by; /* everywhere: number of the first announcement sent after it was appended */
    struct pawl_ack_wait *next, *previous;
};

struct pawl_acks_options {
    struct pawl_facts_log *log; /* kept */
    struct pawl_member_id self;
    /** Whether nothing was heard of @member for so long that it answers nothing as fresh. */
    bool (*silent)(void *self, const struct pawl_member_id *member);
    /** How many announcements were sent so far. */
    uint64_t (*announces)(void *self);
    /** Send one as soon as may be: a wait needs its reply. Not from inside. */
    void (*announce)(void *self);
    void *ctx;
};

struct pawl_acks_stats {
    uint64_t waiting;    /* now */
    uint64_t reached[5]; /* by level: how they ended */
    uint64_t shortfall;  /* ended below what was asked */
    uint64_t refused;    /* nothing but this memory had it */
};

struct pawl_acks {
    struct pawl_acks_stats stats;
    uint64_t next_ms; /* when tick wants to be called; UINT64_MAX: not */

    /* ---- private ---- */
    struct pawl_acks_options options;
    struct pawl_ack_wait *first, *last;
    struct pawl_member_id members[PAWL_MEMBERS_MAX]; /* others of the view */
    uint32_t member_count;
    struct pawl_member_id listed[PAWL_MEMBERS_SEEN_MAX]; /* other nodes that are announced ... */
    uint32_t listed_count;
    bool listed_cut;    /* ... and more */
    uint64_t listed_by; /* number of the announcement that showed it; 0: none since it was up */
    struct pawl_member_id lost[PAWL_MEMBERS_SEEN_MAX]; /* were announced in data that are gone */
    uint32_t lost_count;
    bool lost_cut; /* and more */
    uint64_t lost_until_ms;
    uint32_t replicas;
    bool up;
    bool member; /* of the view */
};

void pawl_acks_init(struct pawl_acks *acks, const struct pawl_acks_options *options);

/**
 * Whether a fact that asks for @level has to be flagged for confirmation when it is added: only
 * the other members can raise it so far.
 */
bool pawl_acks_confirm(const struct pawl_acks *acks, enum pawl_ack_level level, bool journal);

/** Begin to wait for a fact that was added. May end it at once. */
void pawl_acks_begin(struct pawl_acks *acks, struct pawl_ack_wait *wait, uint64_t now_ms);

/** The journal has answered for @wait, which may end by that. */
void pawl_acks_journaled(struct pawl_acks *acks, struct pawl_ack_wait *wait, bool kept,
                         uint64_t now_ms);

/** Something came that may end waits: progress of the log. */
void pawl_acks_on_progress(struct pawl_acks *acks, uint64_t now_ms);

/** The members of the view, this one included. */
void pawl_acks_on_members(struct pawl_acks *acks, const struct pawl_member_id *members,
                          uint32_t count, uint64_t now_ms);

/**
 * The reply to announcement @number (the latest of announces()) showed @announced, which may be
 * more than are kept.
 */
void pawl_acks_on_announced(struct pawl_acks *acks, const struct pawl_announced *announced,
                            uint32_t count, uint64_t number, uint64_t now_ms);

/**
 * The engine's data are gone, or another server's: who was announced there may be without contact
 * and is not announced any more. It is asked, too, until @until_ms, when it answers nothing as
 * fresh. Before pawl_acks_on_announced() with what came after.
 */
void pawl_acks_lost(struct pawl_acks *acks, uint64_t until_ms);

/** Replicas in step, and whether the engine is there. */
void pawl_acks_on_engine(struct pawl_acks *acks, bool up, uint32_t replicas, uint64_t now_ms);

void pawl_acks_tick(struct pawl_acks *acks, uint64_t now_ms);

/** End all waits with what they have reached. */
void pawl_acks_end(struct pawl_acks *acks, uint64_t now_ms);

#endif
