/*
 * What an announcement says of the streams: where their ends are, and so what the engine has lost,
 * what was trimmed, and whether we hold all there is.
 */
#include "core/cluster/log_inside.h"

#define POSITION_MAX (UINT64_C(1) << 53) /* an engine may count in doubles */
#define JUNK_MAX     65536u              /* foreign entries in our own stream */
#define HELP_SMALL   256u                /* so much of another's is appended without waiting */
#define HOLE_READ_MS 1000
#define FORGET_MS    60000 /* a stream of which nothing is left anywhere */

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* ---- one stream ----------------------------------------------------------------------------- */

/* Entries in our stream that we did not write: step over them. */
static void skip_junk(struct pawl_log_inside *in, struct pawl_log_origin *own)
{
    if (own->top <= own->hi) {
        return;
    }
    in->log->stats.conflicts += own->top - own->hi;
    if (own->top - own->hi > JUNK_MAX ||
        pawl_log_slots_extend(in, own, own->top, PAWL_LOG_VOID) != PAWL_OK) {
        pawl_log_slots_drop(in, own, own->top + 1); /* what is let go of is adopted again */
    }
    own->sent = own->top;
    pawl_log_set_won(in, own, own->top);
}

/* What was trimmed is gone from the stream; facts that still live have another position. */
static void take_first(struct pawl_log_inside *in, struct pawl_log_origin *origin)
{
    uint64_t lowest = origin->first > 0 ? origin->first : origin->top > 0 ? origin->top + 1 : 0;

    if (lowest > origin->lo) {
        pawl_log_slots_drop(in, origin, lowest);
    }
    if (lowest > origin->cursor) {
        origin->cursor = lowest - 1;
    }
    if (origin != in->own && lowest > origin->won + 1) {
        origin->won = lowest - 1;
        origin->sent = larger(origin->sent, origin->won);
    }
}

/* Begin anew behind what the engine has. */
static void restart_at(struct pawl_log_inside *in, struct pawl_log_origin *origin)
{
    uint64_t there = smaller(origin->top, origin->hi);

    in->log->stats.lost_tail += origin->won > there ? origin->won - there : 0;
    origin->won = smaller(origin->won, there);
    origin->sent = there;
    origin->stuck = false;
    pawl_log_set_won(in, origin, there);
}

static void follow_top(struct pawl_log_inside *in, struct pawl_log_origin *origin, bool first)
{
    /*
     * Our own appends are answered in order with announcements, so what was won is in the top.
     * Others' entries come by another connection: what came since the last tops may be ahead.
     */
    uint64_t sure = origin == in->own ? origin->won : smaller(origin->won, origin->seen_hi);

    if (first || (origin->flight == 0 && (origin->stuck || origin->top < sure))) {
        restart_at(in, origin);
    } else if (origin->top < sure) {
        origin->stuck = true;
    } else if (origin->flight == 0 && origin->top > origin->won) {
        pawl_log_set_won(in, origin, smaller(origin->top, origin->hi));
        origin->sent = larger(origin->sent, origin->won);
    }
}

/*
 * Whether to append what the engine lacks of another's stream. A short end at once. A long one is
 * left to its origin as long as that gets on, then to the members in the order of their ids.
 */
static void consider_help(struct pawl_log_inside *in, struct pawl_log_origin *origin, bool first)
{
    uint64_t end = first ? origin->hi : smaller(origin->hi, origin->seen_hi);

    if (origin->top >= end) {
        origin->stalled = 0;
        return;
    }
    if (first || origin->top > origin->last_top) {
        origin->stalled = 0;
    } else {
        origin->stalled++;
    }
    uint32_t patience = end - origin->top <= HELP_SMALL ? 0 : in->rank + (origin->member ? 1u : 0u);

    if (origin->stalled >= patience) {
        origin->help = true;
        in->helping = true;
    }
}

static void take_top(struct pawl_log_inside *in, struct pawl_log_origin *origin, bool first,
                     uint64_t now_ms)
{
    take_first(in, origin);
    follow_top(in, origin, first);
    if (origin == in->own) {
        skip_junk(in, origin);
    } else {
        consider_help(in, origin, first);
        if (origin->note_at > in->own->top && origin->note_at <= in->own->known) {
            origin->note_at = 0; /* our word may be lost: say it again */
            origin->confirm_sent = 0;
            in->confirming = true;
        }
    }
    if (origin->listed && origin->first == 0 && origin->top > 0) {
        origin->emptied_ms = origin->emptied_ms != 0 ? origin->emptied_ms : now_ms;
    } else {
        origin->emptied_ms = 0;
    }
    origin->known = larger(origin->known, smaller(origin->top, origin->hi));
    origin->last_top = origin->top;
    origin->seen_hi = origin->hi;
}

/* ---- all of them ---------------------------------------------------------------------------- */

static void note_tops(struct pawl_log_inside *in, const struct pawl_log_tops *tops, uint64_t now_ms)
{
    for (uint32_t i = 0; i < in->origins_end; i++) {
        if (in->origins[i] != NULL) {
            in->origins[i]->listed = false;
            in->origins[i]->first = 0;
            in->origins[i]->top = 0;
        }
    }
    in->origins_full = false;
    for (uint32_t i = 0; i < tops->count; i++) {
        const struct pawl_origin_top *top = &tops->tops[i];
        struct pawl_log_origin *origin = pawl_log_origin_get(in, &top->origin, now_ms);

        if (origin == NULL || top->top >= POSITION_MAX || top->first > top->top) {
            in->origins_full = in->origins_full || origin == NULL;
            in->log->stats.conflicts += origin != NULL;
            continue;
        }
        origin->listed = true;
        origin->first = top->first;
        origin->top = top->top;
    }
}

static bool is_moving(const struct pawl_log_inside *in, const struct pawl_log_origin *origin)
{
    for (uint32_t i = 0; i < in->move_count; i++) {
        if (in->moves[i].origin == origin->index) {
            return true;
        }
    }
    return false;
}

static void forget_origins(struct pawl_log_inside *in, uint64_t now_ms)
{
    for (uint32_t i = 0; i < in->origins_end; i++) {
        struct pawl_log_origin *origin = in->origins[i];

        if (origin != NULL && origin != in->own && !origin->listed && !origin->member &&
            origin->live == 0 && origin->empty == 0 && origin->flight == 0 &&
            now_ms - origin->quiet_ms >= FORGET_MS && !is_moving(in, origin)) {
            pawl_log_origin_remove(in, origin);
        }
    }
}

static void set_goal(struct pawl_log_inside *in, uint64_t sent_ms)
{
    bool next = in->goal_sent_ms != 0; /* a goal is kept until it is reached, or none ever was */

    for (uint32_t i = 0; i < in->origins_end; i++) {
        struct pawl_log_origin *origin = in->origins[i];

        if (origin != NULL && next) {
            origin->next_top = origin->top;
        } else if (origin != NULL) {
            origin->goal_top = origin->top;
        }
    }
    *(next ? &in->next_sent_ms : &in->goal_sent_ms) = sent_ms;
}

void pawl_log_on_tops(struct pawl_facts_log *log, const struct pawl_log_tops *tops, uint64_t now_ms)
{
    struct pawl_log_inside *in = log->inside;
    bool first = !in->topped;

    if (!in->up) {
        return;
    }
    note_tops(in, tops, now_ms);
    in->engine_ms = tops->engine_ms;
    in->engine_at_ms = now_ms;
    in->topped = true;
    for (uint32_t i = 0; i < in->origins_end; i++) {
        if (in->origins[i] != NULL) {
            take_top(in, in->origins[i], first, now_ms);
        }
    }
    if (!in->origins_full && tops->sent_ms > in->synced_ms) {
        set_goal(in, tops->sent_ms);
    }
    forget_origins(in, now_ms);
    pawl_log_check_goal(in);
    pawl_log_confirm(in);
    pawl_log_pump(in, now_ms);
    pawl_log_read(in, now_ms);
}

/* ---- synced --------------------------------------------------------------------------------- */

static bool goal_reached(const struct pawl_log_inside *in)
{
    for (uint32_t i = 0; i < in->origins_end; i++) {
        const struct pawl_log_origin *origin = in->origins[i];

        if (origin != NULL && origin != in->own && pawl_log_applied(origin) < origin->goal_top) {
            return false;
        }
    }
    return true;
}

void pawl_log_check_goal(struct pawl_log_inside *in)
{
    while (in->goal_sent_ms != 0 && !in->overflow && goal_reached(in)) {
        in->confirming = in->confirming || in->synced_ms == 0;
        in->synced_ms = in->goal_sent_ms;
        in->log->stats.synced++;
        in->goal_sent_ms = in->next_sent_ms;
        in->next_sent_ms = 0;
        for (uint32_t i = 0; i < in->origins_end; i++) {
            if (in->origins[i] != NULL) {
                in->origins[i]->goal_top = in->origins[i]->next_top;
            }
        }
    }
}

bool pawl_log_synced_here(const struct pawl_log_inside *in)
{
    return in->up && in->topped && in->synced_ms != 0 && in->synced_ms >= in->up_ms;
}

/* ---- holes ---------------------------------------------------------------------------------- */

static void give_up(struct pawl_log_inside *in, struct pawl_log_origin *origin)
{
    for (uint64_t q = origin->lo; q <= origin->hi && origin->empty > 0; q++) {
        if (*pawl_log_slot_at(origin, q) == PAWL_LOG_EMPTY) {
            pawl_log_slot_set(in, origin, q, PAWL_LOG_VOID);
            in->log->stats.holes_given_up++;
        }
    }
}

void pawl_log_tend_holes(struct pawl_log_inside *in, uint64_t now_ms)
{
    uint64_t holes = 0;

    for (uint32_t i = 0; i < in->origins_end; i++) {
        struct pawl_log_origin *origin = in->origins[i];

        if (origin == NULL || origin->empty == 0 || !in->topped) {
            if (origin != NULL) {
                origin->hole_since_ms = 0;
            }
            continue;
        }
        holes += origin->empty;
        if (origin->hole_since_ms == 0) {
            origin->hole_since_ms = now_ms;
        } else if (now_ms - origin->hole_since_ms >= PAWL_LOG_HOLE_MS) {
            give_up(in, origin);
            continue;
        }
        if (now_ms >= origin->hole_read_ms) {
            origin->hole_read_ms = now_ms + HOLE_READ_MS;
            origin->cursor = pawl_log_applied(origin);
            in->log->stats.hole_reads++;
        }
    }
    in->log->stats.holes = holes;
    pawl_log_check_goal(in);
}
