/*
 * Membership: heartbeats, who is dead, who is in the view, and for how long this member may decide.
 *
 * Each member announces itself about once a second. The reply is one atomic look at the engine: the
 * view, all announcements, the tops of the log, the gate. A node that is ready proposes a view with
 * itself in it; anybody proposes one without the dead; who leaves proposes itself LEAVING and, when
 * everything was fetched from it, one without itself. A proposal is taken only if the view it was
 * made from is still the one that is there, so no proposal undoes another one. Across failovers, of
 * views that nobody compared, the higher number counts, and who knows it sets it again.
 *
 * ---- Why a successor does not decide while the old owner may ----
 *
 * Ownership is a lease. TENURE = PAWL_TENURE_MS, TTL = PAWL_MEMBER_TTL_MS, FENCE =
 * PAWL_MEMBERS_FENCE_MS, a little more than TENURE for clocks that tick differently. All times are
 * this machine's BOOTTIME; no member's clock is compared with another's, nor with the engine's.
 *
 * Old owner O decides only within TENURE of having *sent* an announcement that was WON and whose
 * reply showed the view O acts on, or one that O waits to act on (3), with O in it. A reply with an
 * older view, or none, gives nothing, and a view without O, heard of in whatever way, ends the
 * tenure at once.
 *
 * (1) One epoch. A view V without O is set in the engine at y, because O's mark stood still for
 * TTL. What O announces after y shows it V or a later view: no tenure from that. What it announced
 * before y was executed before y; O may have been asleep when it was judged and have come back just
 * before y, so being judged dead is not enough. Therefore a member S *acts* on V only after an
 * announcement of its own, executed after y because its reply shows V, in which O's mark had
 * not changed for FENCE since S first saw it (O's last announcement before y was sent before S saw
 * its mark, so its tenure is over), or in which O itself says that it acts on nothing; or FENCE
 * after such a reply. Until then S goes on under the view before, and its own slots are its own.
 * Mostly that is the first reply after V was set, for the mark has stood still for TTL.
 * What S found out is a truth about O, not about S: so who hears V from a member that acts
 * on it (push, Pull) acts on it too, at once. Views that are not acted on are not told.
 *
 * A member that left in good order (LEAVING, then out of the announced ones by its own word)
 * had given everything away before, and is not waited for. Slots that change between two members
 * that are both in V are handed over by Pull (slots.h).
 *
 * (2) A new epoch may have lost V, so that O, coming back, finds a view with itself in it. Whoever
 * acts on V has tenure from the old epoch only until TENURE after the promotion, or an announcement
 * in the new one; and before its first announcement in an epoch each member sets the view it
 * knows again, on the same connection. So O, having been without tenure for long enough to have
 * been removed, takes tenure in a new epoch only if (a) every member of the view has announced
 * itself in this epoch (it says so in its info), or (b) FENCE has passed since the epoch began for
 * O. The same goes for who finds the engine's view gone back or gone (FLUSHALL), with (b) alone,
 * and for the very first view, which is proposed only after FENCE of seeing nothing. A member whose
 * tenure did not lapse goes on across the failover: it cannot have been removed.
 *
 * (3) S, on V, without tenure, comes into an epoch where O decides under (2b): S sets V again and
 * takes tenure only when no announced member that is not in V may act any more, as in (1).
 *
 * A removal that is executed late (UNKNOWN) is a removal: (1) holds from when it is executed. A
 * member that was stopped finds its tenure over before it decides anything, for the time is
 * read after the request; it may have been removed meanwhile: then it learns so with its first
 * reply, gives up all slots (expelled) and joins again under its id.
 *
 * Two lines of views. While a primary is cut off, members on its side and on the other set views
 * that do not follow each other. Once they meet, the higher number stands, and who set it learns
 * from the reply that it replaced a view which it never knew. What was decided under that one is in
 * the engine, if anywhere; what is held here is older. So nobody takes tenure under either: a view
 * without members follows, all drop what they hold, join, and load what was saved.
 *
 * What this does not cover: two primaries that both take writes. Then each side may decide, for as
 * long as the old one takes heartbeats, plus TENURE; min-replicas-to-write bounds that to a
 * few seconds, less than the TTL that the other side waits. And a failover that loses more than TTL
 * of writes (a join and a removal) while the removed one comes back just then and (2a) holds by a
 * list that does not have the joined one: up to TENURE of two owners.
 *
 * ---- Death ----
 *
 * A member of the view is dead when its mark did not change from when a reply first showed it until
 * an announcement was *sent* TTL later whose reply shows it still, over at least
 * PAWL_MEMBERS_LOOKS replies of one epoch. Observations begin anew with each epoch, and when the
 * view goes back: no removal for a TTL. If more than half of the members would go at once the view
 * is kept for PAWL_MEMBERS_PANIC_MS: more likely it is the engine that is ill. Members announce
 * themselves at different moments of a second, so those that fall silent together are dead one
 * after the other: who is silent for nearly a TTL counts there too.
 *
 * ---- A view that cannot be read ----
 *
 * Bytes whose seal does not hold (another secret, a hand at the engine) give nobody tenure and are
 * news of nothing. When the same have stood for PAWL_MEMBERS_HEAL_MS, longer than any tenure and
 * any fence, a member writes over just these bytes a view of itself alone, with a number above all
 * that anybody who is announced acts by. Nobody decides then; what was counted has been saved. All
 * others find themselves out of it, drop what they had, and join again. Who finds others announced
 * whose seals do not hold either leaves it alone: it may be the one with the wrong secret. So does
 * who finds a view of a newer release.
 *
 * ---- Use ----
 *
 * Life: init -> on_up, on_down, on_reply, learn, hear, ready, leave, gone, tick -> nothing to undo.
 * One thread. Big (300 KiB). Events come from inside these calls; an event may not call back, but
 * for the const ones and poke.
 */
#ifndef PAWL_CORE_CLUSTER_MEMBERS_H
#define PAWL_CORE_CLUSTER_MEMBERS_H

#include "core/cluster/member_info.h"
#include "core/cluster/ownership.h"
#include "core/cluster/seal.h"

#define PAWL_MEMBERS_INTERVAL_MS 1000  /* between announcements, +- 10 % */
#define PAWL_MEMBERS_HURRY_MS    250   /* while tenure or a view waits for others */
#define PAWL_MEMBERS_FENCE_MS    4000  /* see above */
#define PAWL_MEMBERS_PANIC_MS    30000 /* how long a view is kept of which most are gone */
#define PAWL_MEMBERS_FADING_MS   1500  /* so long before the TTL one counts as vanishing too */
#define PAWL_MEMBERS_HEAL_MS     10000 /* what is no view stands for so long: see below */
#define PAWL_MEMBERS_LOOKS       3     /* replies, at least, before anybody is dead */
#define PAWL_MEMBERS_PAST        32    /* views that are remembered, to know the ones of others */
#define PAWL_MEMBERS_DEADLINE_MS 2000  /* of a command; less than the tenure */
#define PAWL_MEMBERS_GHOST_MS                                        \
    60000 /* an announcement of nobody's is taken out after so long, \
             or later: pawl_members_set_ghost() */
#define PAWL_MEMBERS_SEEN_MAX (2 * PAWL_MEMBERS_MAX) /* announced ones that are watched */

/** What is known of an announced member. Texts are this object's. */
struct pawl_member_seen {
    struct pawl_member_id id;
    uint64_t mark;       /* 0: not announced in this epoch */
    uint64_t changed_ms; /* a reply showed its mark first; or the epoch's first reply came */
    uint32_t looks;      /* replies since then, that one too */
    bool listed;         /* in the last reply */
    bool known;          /* `info` was read, with a good seal; otherwise it is empty */
    struct pawl_member_info info; /* its bytes lie below */
    uint8_t bytes[PAWL_MEMBER_INFO_MAX];
};

struct pawl_members_events {
    /**
     * An ANNOUNCE was WON: tops for the log, gate and ready for the gate. Freshness (R3) counts
     * from @sent_ms. Comes after what the reply changed in views and tenure.
     */
    void (*announced)(void *self, const struct pawl_engine_reply *reply, uint64_t sent_ms,
                      uint64_t now_ms);
    /** Another member's info changed. */
    void (*seen)(void *self, const struct pawl_member_seen *seen);
    /**
     * This member is not in the view any more, and has no tenure: all slots become FOREIGN at once,
     * before `adopted`; what was counted since the last save belongs to nobody.
     */
    void (*expelled)(void *self);
    /** A view to act on, with a higher number than all before. Lent. */
    void (*adopted)(void *self, const struct pawl_view *view, uint64_t now_ms);
    /** Decisions may be made until @until_ms (0: none): into ownership->tenure_until_ms. */
    void (*tenure)(void *self, uint64_t until_ms);
    /**
     * The view is this member's proposal and was just adopted: tell it (ViewPush) to all members of
     * it, and of the one before. @sealed is lent.
     */
    void (*push)(void *self, struct pawl_bytes sealed);
    /** After leave() and gone(): this member is out. Nothing is announced any more. */
    void (*done)(void *self);
    void *self;
};

struct pawl_members_options {
    struct pawl_engine_out out;
    struct pawl_members_events events; /* all set */
    struct pawl_member_id self;
    struct pawl_seal_keys keys; /* of views and of what members say: pawl_node_view_key() */
    struct pawl_bytes address;  /* copied; up to PAWL_VIEW_ADDRESS_MAX, the one to advertise */
    struct pawl_bytes version;  /* copied; cut at PAWL_MEMBER_VERSION_MAX */
    int64_t started_unix_s;
    uint64_t seed;        /* random: jitter and numbers of views */
    uint32_t deadline_ms; /* of a command; 0 or more than the maximum: PAWL_MEMBERS_DEADLINE_MS */
};

struct pawl_members_metrics {
    uint64_t announced, unanswered; /* WON, and all others */
    uint64_t epochs;                /* that were seen */
    uint64_t adopted;               /* views */
    uint64_t proposed, won;         /* proposals */
    uint64_t set_again;             /* views that the engine had lost */
    uint64_t went_back;             /* times that it lost one without a new epoch: FLUSHALL */
    uint64_t forks;                 /* views of others that this one put its own in the place of */
    uint64_t removed;               /* dead members, by proposals of this member that were won */
    uint64_t panics;
    uint64_t lapses;   /* times the tenure ran out */
    uint64_t expelled; /* times this member found itself out of the view */
    uint64_t bad;      /* views and infos whose seal does not hold: somebody else writes there */
    uint64_t healed;   /* views that could not be read, written over by this member */
    uint64_t unreadable_since_ms; /* since when the engine's view cannot be read; 0: it can */
    uint64_t view;                /* number of the one that is acted on */
    uint32_t members, serving;    /* in it */
    uint32_t replicas;            /* of the engine, by the last announcement */
    uint64_t round_trip_ms;       /* of the last announcement */
    bool panic;                   /* more than half are gone, the view is kept */
    bool full;                    /* this member finds no place in the view */
};

/* A view that is known, as it was read. */
struct pawl_members_view {
    struct pawl_view view;
    size_t size;
    uint8_t sealed[PAWL_VIEW_SEALED_MAX];
};

struct pawl_members {
    uint64_t next_ms; /* when tick wants to be called; UINT64_MAX: something has to happen first */
    /* ---- private ---- */
    struct pawl_members_options options;
    char address[PAWL_VIEW_ADDRESS_MAX + 1];
    uint8_t version[PAWL_MEMBER_VERSION_MAX];
    uint8_t blob[PAWL_MEMBER_BLOB_MAX];
    size_t blob_size;
    bool frozen;
    uint64_t random;
    bool ready, leaving, gone, done;

    bool up;
    struct pawl_epoch epoch;
    uint64_t epoch_ms; /* the epoch began here, or the view went back */
    bool went_back;    /* the latter: infos do not tell who has announced itself since */
    bool began;        /* a reply has come since */

    uint64_t tag;          /* last one given */
    uint64_t announce_tag; /* outstanding; 0: none */
    uint64_t sent_ms;      /* when the last announcement was */
    uint64_t announces;    /* sent so far */
    uint64_t ghost_ms;     /* 0: PAWL_MEMBERS_GHOST_MS */
    uint64_t due_ms;       /* the next one */
    bool again;            /* at once, or when the outstanding one is answered */
    uint64_t set_tag;      /* VIEW_SET outstanding; 0: none */
    bool proposing;        /* it is a proposal, no setting again */
    uint64_t retry_ms;     /* gone: when the removal is said again */

    uint64_t won_sent_ms;     /* of the last WON announcement; 0: none yet */
    uint64_t granted_ms;      /* sent time of the announcement of the last tenure; 0: none */
    bool granted_here;        /* and that was in this epoch */
    uint64_t tenure_until_ms; /* 0: none */

    struct pawl_members_view acted, known; /* `known` has the higher number, or the same */
    uint64_t past[PAWL_MEMBERS_PAST];      /* numbers of views known before it, in a ring */
    unsigned past_next;
    uint64_t forked;      /* number of `known` when it replaced a view of others; 0: it did not */
    uint64_t known_tag;   /* announcements after it are younger than what is known */
    uint64_t engine_view; /* number that the engine has, by its last reply */
    uint64_t shown_ms;    /* a reply of this epoch first showed `known`; 0: none */
    bool clear;           /* nobody outside `known` may decide: see above */
    uint64_t proposal;    /* number of the last proposal */
    uint64_t joining;     /* number of a proposal with this member that is under way; 0: none */
    uint64_t panic_ms;    /* since when; only with metrics.panic */

    struct pawl_member_seen seen[PAWL_MEMBERS_SEEN_MAX];
    uint32_t seen_count;
    struct pawl_members_view next; /* being proposed, or read */
    uint64_t unread;               /* hash of what could not be read; 0: nothing */
    uint64_t unread_ms;            /* since when it stands there */
    bool newer;                    /* it is of a newer release */
    uint64_t floor;                /* numbers are to be above it */
    uint64_t engine_ms, engine_at_ms;
    struct pawl_members_metrics metrics;
};

/**
 * Begin. Nothing is emitted before the first on_up. @options is copied.
 *
 * Returns PAWL_OK or PAWL_EINVAL (address empty, too long, or with a NUL).
 */
PAWL_MUST_USE enum pawl_status pawl_members_init(struct pawl_members *members,
                                                 const struct pawl_members_options *options);

/** The engine answers, in @epoch; also again without a down between, when the epoch changed. */
void pawl_members_on_up(struct pawl_members *members, const struct pawl_epoch *epoch,
                        uint64_t now_ms);
void pawl_members_on_down(struct pawl_members *members, uint64_t now_ms);

/** A reply to a command of PAWL_PART_MEMBERS. */
void pawl_members_on_reply(struct pawl_members *members, const struct pawl_engine_reply *reply,
                           uint64_t now_ms);

/** What is due. Call it at next_ms or earlier; every other call may set next_ms lower. */
void pawl_members_tick(struct pawl_members *members, uint64_t now_ms);

/** Everything is synced that a member has to know: it may propose itself. Twice is nothing. */
void pawl_members_ready(struct pawl_members *members, uint64_t now_ms);

/** Bytes for the next announcements (the log's digests), copied, up to PAWL_MEMBER_BLOB_MAX. */
void pawl_members_set_blob(struct pawl_members *members, struct pawl_bytes blob);

/** What the next announcements say of this node's journal, for people. */
void pawl_members_set_frozen(struct pawl_members *members, bool frozen);

/**
 * Announcements of nobody's are kept for @ms at least: for so long whoever is silent may still
 * answer what he once knew, and others have to be able to see that (acks.h).
 */
static inline void pawl_members_set_ghost(struct pawl_members *members, uint64_t ms)
{
    members->ghost_ms = ms;
}

/** How many announcements were sent; the one that was answered last is the last one. */
static inline uint64_t pawl_members_announces(const struct pawl_members *members)
{
    return members->announces;
}

/**
 * A member that acts on the view @sealed told it (ViewPush, Pull, Push): act on it, if it is higher
 * than the own one. Returns PAWL_OK; PAWL_ECORRUPT or PAWL_EVERSION, and nothing is changed.
 */
PAWL_MUST_USE enum pawl_status pawl_members_learn(struct pawl_members *members,
                                                  struct pawl_bytes sealed, uint64_t now_ms);

/** A member acts on view @number (a forwarded request, MOVED): ask the engine, if it is news. */
void pawl_members_hear(struct pawl_members *members, uint64_t number, uint64_t now_ms);

/**
 * The engine refuses what this member saves, for a view @number that nobody knows any more (its key
 * was deleted, all who knew it are gone): when the engine's view is the one that is acted on, and
 * lower, the same is proposed with a higher number. Numbers that no history can have come to are
 * passed over.
 */
void pawl_members_raise(struct pawl_members *members, uint64_t number);

/**
 * Announce as soon as may be, without waiting for the interval. May be called by an event; what it
 * comes to is done by the next tick, for which next_ms is set.
 */
void pawl_members_poke(struct pawl_members *members);

/**
 * Begin to leave: LEAVING is proposed; `adopted` brings a view in which this member serves no more,
 * and its slots are fetched by the others while it goes on deciding what is not fetched yet. Then
 * call gone(). A member that is in no view may call gone() at once.
 */
void pawl_members_leave(struct pawl_members *members, uint64_t now_ms);

/**
 * Nothing is left here (or the time for it is over): no tenure any more, this member takes itself
 * out of the announced ones and of the view; `done` when that is so. It is said again each second
 * while the engine is away. Calls leave().
 */
void pawl_members_gone(struct pawl_members *members, uint64_t now_ms);

/** The view that is acted on; number 0: none yet. Lent until the next call. */
const struct pawl_view *pawl_members_view(const struct pawl_members *members);
/** The last one that was heard of, which may wait to be acted on: who may have acted. Not told. */
const struct pawl_view *pawl_members_known(const struct pawl_members *members);

/** The same, sealed, to be told to others; empty: none yet. */
struct pawl_bytes pawl_members_sealed(const struct pawl_members *members);

/** Whether this member is in the view that is acted on. */
bool pawl_members_is_in(const struct pawl_members *members);

/** When the last WON announcement was sent; 0: none yet. Freshness counts from it. */
uint64_t pawl_members_won_sent_ms(const struct pawl_members *members);

uint64_t pawl_members_tenure_until_ms(const struct pawl_members *members);

/** The ones that are watched, also such that are in no view; @count out. Lent. */
const struct pawl_member_seen *pawl_members_seen(const struct pawl_members *members,
                                                 uint32_t *count);

/**
 * For how long nothing new was heard of @id, by announcements that were WON: from when its mark was
 * first seen until the last announcement was sent. 0: itself; UINT64_MAX: it is not watched.
 */
uint64_t pawl_members_silent_ms(const struct pawl_members *members,
                                const struct pawl_member_id *id);

/** The engine's clock less this machine's, given now as @wall_ms since 1970; 0: not known yet. */
int64_t pawl_members_clock_offset_ms(const struct pawl_members *members, int64_t wall_ms,
                                     uint64_t now_ms);

void pawl_members_metrics_get(const struct pawl_members *members,
                              struct pawl_members_metrics *metrics);

#endif
