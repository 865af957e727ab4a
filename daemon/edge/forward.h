/*
 * The workers' side of the cluster: requests about keys that another member counts. One for each
 * worker; NULL in the dispatcher where there is no cluster. The dispatcher's own, beside
 * dispatch.h.
 *
 * Where a request about limits goes (core/cluster/ownership.h):
 *
 *   LOCAL    as without a cluster
 *   FORWARD  the body goes unread in a new envelope to the member that counts it; its reply comes
 *            back under the asker's id. One hop only
 *   WAIT     the frame is kept, and run again when something changed, until its deadline
 *   LAPSED   degraded: decided here with this member's share where the limit says so, else
 *            STATUS_UNAVAILABLE, and the client's on_error decides
 *   several owners, or a token in it: in parts (forward_split.c)
 *
 * A request that does not take the straight way is a parcel: a copy of its frame and of who asked.
 *
 *   at hand -> SENT -> reply: passed on
 *           |       -> moved: at hand again until its deadline, for its owner is there, and what
 *           |          members know of the view is about to agree
 *           |       -> not sent: at hand again, at most PAWL_FORWARD_TRIES times
 *           |       -> unknown: STATUS_UNAVAILABLE, for it may have been counted
 *           -> PARKED -> (a change, time to try again) at hand again
 *                     -> (deadline) STATUS_UNAVAILABLE
 *
 * A forwarded request that may not be decided here is answered STATUS_MOVED: nothing was done. Its
 * view_number is the view known here, or 0: this member is the owner and may not decide now.
 *
 * Effects of one connection keep their order only among keys that are counted here.
 */
#ifndef PAWL_EDGE_FORWARD_H
#define PAWL_EDGE_FORWARD_H

#include "edge/cluster_world.h"
#include "edge/dispatch.h"
#include "edge/peer_link.h"

#define PAWL_FORWARD_TRIES      3    /* of what is not sent, after the first */
#define PAWL_FORWARD_PAUSES     5    /* times 10 ms between two tries, at most */
#define PAWL_FORWARD_DRAINS     20   /* times 10 ms that a draining owner is waited for */
#define PAWL_FORWARD_MS         5000 /* of a request that brings no deadline; of any, at most */
#define PAWL_FORWARD_MS_MAX     30000
#define PAWL_PARCELS_MAX        4096               /* of one worker */
#define PAWL_PARCELS_BYTES_MAX  ((size_t)16 << 20) /* their frames */
#define PAWL_PARCELS_SPARE      64                 /* done, and kept for the next ones */
#define PAWL_PARCEL_SPARE_BYTES ((size_t)256)      /* frames that fit into those */
#define PAWL_FORWARD_TICK_MS    10                 /* while something is parked */
#define PAWL_FORWARD_OLD_LINKS  16   /* to members that left, with requests under way */
#define PAWL_RETURNS_MAX        1024 /* messages that give back, under way or waiting */

struct pawl_split;
struct pawl_return;

enum pawl_parcel_state {
    PAWL_PARCEL_AT_HAND = 0,
    PAWL_PARCEL_PARKED,
    PAWL_PARCEL_SENT,
};

struct pawl_parcel {
    struct pawl_parcel *next, *previous; /* of all there are */
    struct pawl_forward *forward;
    struct pawl_reply_to to;
    enum pawl_parcel_state state;
    bool degrade; /* at hand again: nobody else can be asked */
    bool waits;   /* PARKED for a change of `slot`, else until retry_ms */
    unsigned tries;
    unsigned unsent; /* of them, those that ended unsent */
    unsigned drains; /* times that its owner was just draining */
    uint32_t slot;
    uint64_t view;               /* PARKED for a change: the territory's then */
    uint64_t retry_ms;           /* BOOTTIME */
    uint64_t deadline_ms;        /* BOOTTIME */
    struct pawl_member_id owner; /* SENT: to whom */
    struct pawl_split *split;    /* NULL: it goes as a whole */
    uint8_t ns_size;
    uint8_t ns[PAWL_NAMESPACE_MAX];
    bool is_spare; /* it has room for PAWL_PARCEL_SPARE_BYTES, and is kept when it is done */
    size_t hello_size;
    size_t message_size;
    uint8_t bytes[]; /* the packed answer to a hello that came with it, then the message */
};

struct pawl_forward {
    struct pawl_dispatch *dispatch;
    struct pawl_cluster_world *world;
    struct pawl_net net;
    struct pawl_outbound *outbound;
    struct pawl_timer *timer;
    bool ticking, closing;
    uint64_t tick_ms; /* BOOTTIME of the next look at what is parked */
    struct pawl_territory *territory;
    unsigned territory_version;
    struct pawl_peer_link *links[PAWL_MEMBERS_MAX]; /* as the territory's members */
    struct pawl_peer_link *old_links[PAWL_FORWARD_OLD_LINKS];
    /* More of them than that: ended with the next tick, for what they have under way is taken at
     * hand again then. Until then no further territory is picked up. */
    struct pawl_peer_link *doomed_links[PAWL_MEMBERS_MAX];
    unsigned doomed_count;
    uint64_t seed;
    struct pawl_parcel *parcels;
    unsigned parcel_count, parked_count;
    size_t parcel_bytes;
    struct pawl_parcel *spares; /* by `next` */
    unsigned spare_count;
    struct pawl_return *returns;                           /* that wait */
    unsigned return_count;                                 /* those, and those under way */
    struct pawl_parcel *at_hand;                           /* the one that is being run again */
    struct pawl_bytes message;                             /* of the request at hand ... */
    struct pawl_bytes hello;                               /* ... and the answer to its hello */
    struct pawl_rate scaled_rates[PAWL_LIMITER_SLOTS_MAX]; /* of a degraded check */
    struct pawl_rule scaled_rules[PAWL_ITEMS_MAX];
    struct pawl_wire_request part; /* being written */
    struct pawl_wire_reply part_reply;
    struct pawl_wire_result part_results[PAWL_RESULTS_MAX];
    uint8_t frame[PAWL_FRAME_HEADER_BYTES + PAWL_REQUEST_BYTES_MAX];
};

/** What may become of a request about a slot. */
enum pawl_way {
    PAWL_WAY_LOCAL = 0,
    PAWL_WAY_FORWARD,
    PAWL_WAY_WAIT,
    PAWL_WAY_LAPSED,
    PAWL_WAY_MOVED, /* forwarded to us, and not ours */
};

struct pawl_ways {
    enum pawl_way way; /* of all: FORWARD only where all go to one */
    bool several;      /* not all the same */
    uint16_t to;       /* FORWARD: index in territory->members */
    uint32_t slot;     /* the one that WAIT and LAPSED are about; else the first */
};

/* ---- forward.c ---- */

/** NULL: no memory. Before the worker runs. */
struct pawl_forward *pawl_forward_open(struct pawl_dispatch *dispatch);
/** Everything outstanding ends; nothing is sent to sessions. NULL is nothing. */
void pawl_forward_close(struct pawl_forward *forward);

/** A batch begins: pick up a new territory. */
static inline void pawl_forward_on_batch(struct pawl_forward *forward);
void pawl_forward_take_territory(struct pawl_forward *forward);

/** Where a request at hand about @slot goes. */
struct pawl_ways pawl_forward_way(struct pawl_dispatch *dispatch, uint32_t slot);

/** Where one about all of @slots goes. */
struct pawl_ways pawl_forward_ways(struct pawl_dispatch *dispatch, const uint32_t *slots,
                                   size_t count);

/** BOOTTIME ms of the batch at hand. */
static inline uint64_t pawl_forward_now_ms(const struct pawl_dispatch *dispatch)
{
    return dispatch->batch_ns / 1000000;
}

/** BOOTTIME ms, now. */
static inline uint64_t pawl_forward_clock_ms(const struct pawl_forward *forward)
{
    return forward->net.ops->now_ms(forward->net.self);
}

/** Why a parcel that was sent is at hand again; nothing was done for it. */
enum pawl_again {
    PAWL_AGAIN_UNSENT = 0,
    PAWL_AGAIN_MOVED, /* another counts it by now */
    PAWL_AGAIN_ALONE, /* its owner may not decide: nobody else can be asked */
};

/** The link to member @index of the territory, ready to take a request with the id in @id; NULL:
 * not now. */
struct pawl_peer_link *pawl_forward_link(struct pawl_forward *forward, uint16_t index,
                                         uint64_t *id);

/**
 * Send the request at hand as it lies to member @to, park it, answer STATUS_MOVED or that nobody
 * can decide: whatever @ways says, LOCAL and several owners left out.
 */
void pawl_forward_whole(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const struct pawl_ways *ways);

/** Why nobody can decide about @slot, for people; lent until the next such text. */
const char *pawl_forward_why_lapsed(struct pawl_dispatch *dispatch, uint32_t slot);

/** Answer STATUS_MOVED to the request at hand. */
void pawl_forward_say_moved(struct pawl_dispatch *dispatch, struct pawl_session *session,
                            uint32_t slot);

/** A member answered STATUS_MOVED with @number: note it. ALONE: it may not decide now itself. */
enum pawl_again pawl_forward_on_moved(struct pawl_forward *forward,
                                      const struct pawl_member_id *member, uint64_t number);

/* ---- forward_parcel.c ---- */

/** Look at what waits at @due_ms (BOOTTIME), and in 10 ms at the latest. */
void pawl_forward_tick(struct pawl_forward *forward, uint64_t due_ms);

/**
 * The parcel of the request at hand: the one that is run again, or a new one, of which @session
 * owes the reply from now on. NULL: there is no room, and the request was answered so.
 */
struct pawl_parcel *pawl_parcel_take(struct pawl_dispatch *dispatch, struct pawl_session *session);

/** Its request is answered, or nobody is there any more. */
void pawl_parcel_drop(struct pawl_parcel *parcel);

/** Keep it until something changes for @slot, its deadline passes, or @in_ms (0: not) are over. */
void pawl_parcel_park(struct pawl_parcel *parcel, uint32_t slot, uint32_t in_ms);

/**
 * Its owner, member @to, cannot be sent anything now. True, and the parcel is parked for a moment,
 * where it is there all the same: its link is full, or it drains, and the view of that comes. An
 * owner that is there is never done without: both would admit.
 */
bool pawl_parcel_await_link(struct pawl_parcel *parcel, uint16_t to);

/** Once more after a pause, or without its owner. */
void pawl_parcel_again(struct pawl_parcel *parcel, enum pawl_again why);

/** Of what is left, what the next one gets who has to answer: a refusal has to be back in time. */
static inline uint32_t pawl_forward_share_ms(uint32_t left_ms)
{
    return left_ms - left_ms / 8;
}

/** What is left of its time, at least 1. */
uint32_t pawl_parcel_left_ms(const struct pawl_parcel *parcel, uint64_t now_ms);

/** Take it at hand again. From events alone. */
void pawl_parcel_run(struct pawl_parcel *parcel);

static inline struct pawl_bytes pawl_parcel_hello(const struct pawl_parcel *parcel)
{
    return pawl_bytes_of(parcel->bytes, parcel->hello_size);
}

static inline struct pawl_bytes pawl_parcel_message(const struct pawl_parcel *parcel)
{
    return pawl_bytes_of(parcel->bytes + parcel->hello_size, parcel->message_size);
}

static inline struct pawl_bytes pawl_parcel_ns(const struct pawl_parcel *parcel)
{
    return pawl_bytes_of(parcel->ns, parcel->ns_size);
}

/** Answer a parcel with an error and drop it. @effect_unknown: it may have been done. */
void pawl_parcel_refuse(struct pawl_parcel *parcel, unsigned wire_status, bool effect_unknown,
                        const char *text);

/**
 * Take again or refuse what is due among those that are parked now. All of it is one batch, so that
 * no territory is picked up meanwhile, and a parcel that is run ends at most itself.
 */
void pawl_parcels_look(struct pawl_forward *forward);

/** All end without an answer, when nothing is under way any more. */
void pawl_parcels_close(struct pawl_forward *forward);

/** The answer to a hello that came with a cold request goes with the parcel. */
struct pawl_bytes pawl_parcel_hello_at_hand(struct pawl_forward *forward,
                                            struct pawl_session *session);

/* ---- forward_check.c ---- */

/** Whether every record of @check may be decided here and now. */
static inline bool pawl_forward_is_ours(const struct pawl_dispatch *dispatch,
                                        const struct pawl_check *check);

/** Where preparing @check may stop: at a key that is another's, where all of it goes as it lies. */
static inline const struct pawl_ownership *pawl_forward_stop_at(
    const struct pawl_dispatch *dispatch, const struct pawl_check *check)
{
    bool may = dispatch->request.item_count == 1 && check->bypassed == 0 && !check->has_token &&
               dispatch->forward->at_hand == NULL;

    return may ? &dispatch->forward->world->ownership : NULL;
}

/**
 * A check that was prepared, or whose preparing stopped, and is not ours, or is at hand again: goes
 * its way; answers where it has to.
 */
void pawl_forward_check(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        struct pawl_check *check);

/** Decide @check, whose items are at hand, with this member's share, or answer that nobody can. */
void pawl_forward_degrade(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          struct pawl_check *check, uint32_t slot);

/** The records of @check hold what it charged: it is part of one that asks other members too. */
void pawl_forward_hold(struct pawl_dispatch *dispatch, const struct pawl_check *check);

/** What @item's records held was given back. */
void pawl_forward_end_hold(struct pawl_dispatch *dispatch, const struct pawl_limit_item *item);

/** Whether the denial by the record @id may be another's hold; counts it. */
bool pawl_forward_is_contended(struct pawl_dispatch *dispatch, struct pawl_id id);

/* ---- forward_split.c ---- */

/** Go on with @check, of several owners or with a token, part by part. */
void pawl_forward_split(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        struct pawl_check *check);

/** @parcel, which may be one, ends: what was charged for it and not answered goes back. */
void pawl_split_end(struct pawl_parcel *parcel);

/* ---- forward_return.c ---- */

/**
 * Give back what the items @items (bits) of the check in @parcel were charged, by the handles in
 * @results: each where its key is counted by now. Nobody waits for it; what cannot be given back
 * within three seconds is counted (holds_kept).
 */
void pawl_forward_give_back(struct pawl_parcel *parcel, uint64_t items,
                            const struct pawl_wire_result *results, uint32_t result_count);

/** Try again what waits and is due. */
void pawl_returns_look(struct pawl_forward *forward);

/** What waits stays charged. When nothing is under way any more. */
void pawl_returns_close(struct pawl_forward *forward);

/* ---- forward_cold.c ---- */

/** Whether @request may go on here; else it was answered, or goes its way. */
bool pawl_forward_cold(struct pawl_dispatch *dispatch, struct pawl_session *session,
                       const Pawl__V1__Request *request);

/** Whether requests with @body are passed on between members. */
bool pawl_forward_is_passed_on(Pawl__V1__Request__BodyCase body);

/** The first bytes of the leases that this member grants: they lead commit and cancel back. */
#define PAWL_LEASE_TAG_BYTES 4
void pawl_forward_lease_tag(const struct pawl_cluster_world *world,
                            const struct pawl_member_id *member, uint8_t tag[PAWL_LEASE_TAG_BYTES]);

/* ---- forward_refund.c ---- */

/** Do a refund whose items have @slots, of several owners, each where it is counted. */
void pawl_forward_refund(struct pawl_dispatch *dispatch, struct pawl_session *session,
                         const Pawl__V1__Request *request, const uint32_t *slots);

/* ---- dispatch_peer.c: what members ask of each other ---- */

void pawl_dispatch_pull(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const Pawl__V1__Request *request);
void pawl_dispatch_push(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const Pawl__V1__Request *request);
void pawl_dispatch_view_push(struct pawl_dispatch *dispatch, struct pawl_session *session,
                             const Pawl__V1__Request *request);

static inline bool pawl_forward_is_ours(const struct pawl_dispatch *dispatch,
                                        const struct pawl_check *check)
{
    const struct pawl_forward *forward = dispatch->forward;
    const struct pawl_ownership *ownership = &forward->world->ownership;

    if (PAWL_UNLIKELY(forward->at_hand != NULL &&
                      (forward->at_hand->split != NULL || forward->at_hand->degrade))) {
        return false;
    }
    if (PAWL_UNLIKELY(pawl_forward_now_ms(dispatch) >=
                          atomic_load_explicit(&ownership->tenure_until_ms, memory_order_acquire) &&
                      check->plan.slots_count > 0)) {
        return false;
    }
    if (PAWL_LIKELY(check->plan.ownership != NULL)) {
        return true; /* preparing it looked at its only slot */
    }
    for (size_t i = 0; i < check->plan.slots_count; i++) {
        uint32_t slot = pawl_limiter_slot_of(&check->plan.slots[i]);

        if (atomic_load_explicit(&ownership->states[slot], memory_order_acquire) !=
            PAWL_SLOT_HELD) {
            return false;
        }
    }
    return true;
}

static inline void pawl_forward_on_batch(struct pawl_forward *forward)
{
    if (PAWL_UNLIKELY(
            forward->territory_version !=
            atomic_load_explicit(&forward->world->territory.version, memory_order_acquire))) {
        pawl_forward_take_territory(forward);
    }
}

#endif
