/*
 * What the engine lacks goes out: new facts of ours, and whatever it has lost, ours or others'.
 *
 * For each stream: won <= sent <= hi. Entries above `sent` are sent in order, each naming the
 * position it follows, so that the engine refuses what comes behind a lost one. After any failure
 * the stream is stuck until the next announcement says what there is.
 */
#include "core/cluster/log_inside.h"
#include "core/octets.h"

#include <string.h>

#define HELP_FLIGHT     (PAWL_LOG_FLIGHT_MAX / 2) /* the rest is for our own */
#define WAIT_AGAIN_MS   50                        /* timeout of the next after a short one */
#define WAIT_GIVE_UP_MS 10000                     /* without anything new wanted */
#define WAIT_REST_MS    100                       /* after a short one: others' commands go first */
#define WAIT_MARGIN_MS  1000

enum pawl_status pawl_log_own_append(struct pawl_log_inside *in, uint32_t handle, bool confirm,
                                     uint64_t *position)
{
    struct pawl_log_origin *own = in->own;
    enum pawl_status status = pawl_log_slots_extend(in, own, own->hi + 1, PAWL_LOG_VOID);

    if (status == PAWL_OK) {
        pawl_log_slot_set(in, own, own->hi, handle | (confirm ? PAWL_LOG_CONFIRM : 0));
        *position = own->hi;
    }
    return status;
}

/* ---- one entry ------------------------------------------------------------------------------ */

static void emit(struct pawl_log_inside *in, struct pawl_log_origin *origin, uint64_t position,
                 unsigned kind, struct pawl_bytes body)
{
    uint8_t bytes[PAWL_LOG_ENTRY_MAX];
    uint8_t place[PAWL_LOG_PLACE_BYTES];
    uint32_t index = 0;

    _Static_assert(1 + PAWL_FACT_BYTES_MAX + PAWL_SEAL_BYTES <= PAWL_LOG_ENTRY_MAX, "any fact");
    while (in->flight[index].used) {
        index++;
    }
    bytes[0] = (uint8_t)kind;
    memcpy(bytes + 1, body.data, body.size);
    pawl_log_place(place, &origin->id, position);
    size_t size = pawl_seal(&in->keys[0], PAWL_SEAL_LOG, pawl_bytes_of(place, sizeof(place)), bytes,
                            1 + body.size);
    struct pawl_engine_command command = {
        .verb = PAWL_ENGINE_APPEND,
        .part = PAWL_PART_LOG,
        .tag = pawl_log_tag(in, PAWL_LOG_TAG_APPEND, index),
        .deadline_ms = in->options.deadline_ms,
        .append = { origin->id, position, origin->sent, pawl_bytes_of(bytes, size) },
    };

    in->flight[index] = (struct pawl_log_flight){ position, origin->index, true };
    in->flight_count++;
    origin->flight++;
    origin->sent = position;
    if (origin == in->own && position > in->own_sent_max) {
        in->own_sent_max = position;
    }
    in->log->stats.reasserted += position <= origin->known;
    pawl_engine_emit(&in->options.out, &command);
}

/* Everything dead from @from on, as one void entry; false: there is nothing to send. */
static bool emit_void(struct pawl_log_inside *in, struct pawl_log_origin *origin, uint64_t from)
{
    uint8_t body[8];
    uint64_t to = from < origin->lo ? origin->lo - 1 : from;

    while (to < origin->hi && pawl_log_slot(in, origin, to + 1) == PAWL_LOG_VOID) {
        to++;
    }
    if (to == origin->hi && origin != in->own) {
        return false; /* nobody needs it: if its origin lives, it writes it itself */
    }
    pawl_put_le(body, from, sizeof(body));
    in->log->stats.voids_sent++;
    emit(in, origin, to, PAWL_LOG_KIND_VOID, pawl_bytes_of(body, sizeof(body)));
    return true;
}

/* The next entry that the engine lacks. */
static bool send_next(struct pawl_log_inside *in, struct pawl_log_origin *origin)
{
    uint64_t position = origin->sent + 1;
    uint32_t handle = pawl_log_slot(in, origin, position);

    if (handle == PAWL_LOG_EMPTY) {
        return false; /* a hole: who has it has to say it, or it is given up */
    }
    if (handle == PAWL_LOG_VOID) {
        return emit_void(in, origin, position);
    }
    const struct pawl_log_fact *fact = pawl_log_fact_at(&in->facts, handle);
    bool confirm = (*pawl_log_slot_at(origin, position) & PAWL_LOG_CONFIRM) != 0;
    unsigned kind = (fact->flags & PAWL_LOG_NOTE) != 0
                        ? PAWL_LOG_KIND_APPLIED
                        : PAWL_LOG_KIND_FACT | (confirm ? PAWL_LOG_KIND_CONFIRM : 0u);

    emit(in, origin, position, kind, pawl_log_fact_bytes(fact));
    return true;
}

/* Returns whether there is more to send when the window opens. */
static bool send_origin(struct pawl_log_inside *in, struct pawl_log_origin *origin,
                        uint32_t flight_max)
{
    while (!origin->stuck && origin->sent < origin->hi) {
        if (in->flight_count >= flight_max) {
            return true;
        }
        if (!send_next(in, origin)) {
            return false;
        }
    }
    return false;
}

/* ---- what comes back ------------------------------------------------------------------------ */

/* Positions of ours that the engine has now: notes have done their work, moves too. */
static void settle_own(struct pawl_log_inside *in, uint64_t from)
{
    struct pawl_log_origin *own = in->own;
    uint32_t kept = 0;

    for (uint64_t q = from < own->lo ? own->lo : from; q <= own->won; q++) {
        uint32_t handle = pawl_log_slot(in, own, q);

        if (handle >= PAWL_LOG_FIRST &&
            (pawl_log_fact_at(&in->facts, handle)->flags & PAWL_LOG_NOTE) != 0) {
            pawl_log_slot_set(in, own, q, PAWL_LOG_VOID);
        }
    }
    for (uint32_t i = 0; i < in->move_count; i++) {
        struct pawl_log_move *move = &in->moves[i];
        struct pawl_log_origin *origin = in->origins[move->origin];

        if (move->to > own->won) {
            in->moves[kept++] = *move;
        } else if (move->from >= origin->lo && move->from <= origin->hi) {
            pawl_log_slot_set(in, origin, move->from, PAWL_LOG_VOID);
        }
    }
    in->move_count = kept;
}

void pawl_log_set_won(struct pawl_log_inside *in, struct pawl_log_origin *origin, uint64_t won)
{
    uint64_t before = origin->won;

    origin->won = won;
    origin->known = won > origin->known ? won : origin->known;
    if (origin != in->own || won <= before) {
        return;
    }
    struct pawl_log_progress progress = { .kind = PAWL_LOG_APPENDED, .position = won };

    settle_own(in, before + 1);
    if (in->options.events.on_progress != NULL) {
        in->options.events.on_progress(in->options.events.self, &progress);
    }
}

void pawl_log_on_append(struct pawl_log_inside *in, const struct pawl_engine_reply *reply,
                        uint64_t now_ms)
{
    struct pawl_log_flight *flight = &in->flight[(uint32_t)reply->tag % PAWL_LOG_FLIGHT_MAX];

    if (!flight->used) {
        return;
    }
    struct pawl_log_origin *origin = in->origins[flight->origin];

    flight->used = false;
    in->flight_count--;
    origin->flight--;
    if (reply->result != PAWL_ENGINE_WON) {
        origin->stuck = true;
        in->log->stats.unknown += reply->result == PAWL_ENGINE_UNKNOWN;
        in->log->stats.failed +=
            reply->result == PAWL_ENGINE_FAILED || reply->result == PAWL_ENGINE_REFUSED;
    } else {
        in->log->stats.appended++;
        if (!origin->stuck && flight->position > origin->won) {
            pawl_log_set_won(in, origin, flight->position);
        }
    }
    pawl_log_pump(in, now_ms);
}

void pawl_log_append_reset(struct pawl_log_inside *in)
{
    memset(in->flight, 0, sizeof(in->flight));
    memset(in->replicated, 0, sizeof(in->replicated));
    in->flight_count = 0;
    in->wait_out = false;
    in->wait_after_ms = 0;
    for (uint32_t i = 0; i < in->origins_end; i++) {
        if (in->origins[i] != NULL) {
            in->origins[i]->flight = 0;
        }
    }
}

/* ---- replicas ------------------------------------------------------------------------------- */

static void send_wait(struct pawl_log_inside *in, uint64_t now_ms)
{
    const struct pawl_log_origin *own = in->own;

    if (in->want_position != 0 && in->replicated[in->want_replicas] >= in->want_position) {
        in->want_position = 0;
    }
    uint64_t mark = own->stuck ? own->won : own->sent;

    if (in->want_new) {
        in->want_new = false;
        in->want_until_ms = now_ms + WAIT_GIVE_UP_MS;
    } else if (now_ms >= in->want_until_ms) {
        in->want_position = 0; /* a WAIT holds up everybody's commands: not for nothing */
    }
    if (in->want_position == 0 || in->wait_out || now_ms < in->wait_after_ms ||
        mark <= in->replicated[in->want_replicas]) {
        return;
    }
    struct pawl_engine_command command = {
        .verb = PAWL_ENGINE_WAIT,
        .part = PAWL_PART_LOG,
        .tag = pawl_log_tag(in, PAWL_LOG_TAG_WAIT, 0),
        .deadline_ms = in->options.wait_ms + WAIT_MARGIN_MS,
        .wait = { in->want_replicas, in->wait_short && in->options.wait_ms > WAIT_AGAIN_MS
                                         ? WAIT_AGAIN_MS
                                         : in->options.wait_ms },
    };

    in->wait_out = true;
    in->wait_mark = mark;
    pawl_engine_emit(&in->options.out, &command);
}

void pawl_log_on_wait(struct pawl_log_inside *in, const struct pawl_engine_reply *reply,
                      uint64_t now_ms)
{
    uint64_t mark = in->wait_mark < in->own->won ? in->wait_mark : in->own->won;
    uint32_t replicas = 0;

    in->wait_out = false;
    if (reply->result == PAWL_ENGINE_WON) {
        replicas = reply->wait.replicas < PAWL_LOG_REPLICAS_MAX ? reply->wait.replicas
                                                                : PAWL_LOG_REPLICAS_MAX;
    }
    for (uint32_t i = 1; i <= replicas; i++) {
        in->replicated[i] = mark > in->replicated[i] ? mark : in->replicated[i];
    }
    in->wait_short = replicas < in->want_replicas;
    if (in->wait_short) {
        in->log->stats.wait_short++;
        in->wait_after_ms = now_ms + WAIT_REST_MS;
    }
    struct pawl_log_progress progress = { .kind = PAWL_LOG_REPLICATED,
                                          .position = mark,
                                          .replicas = replicas };

    if (in->options.events.on_progress != NULL && mark > 0) {
        in->options.events.on_progress(in->options.events.self, &progress);
    }
    pawl_log_pump(in, now_ms);
}

/* ---- the pump ------------------------------------------------------------------------------- */

void pawl_log_pump(struct pawl_log_inside *in, uint64_t now_ms)
{
    bool helping = false;

    if (!in->up || !in->topped) {
        return;
    }
    (void)send_origin(in, in->own, PAWL_LOG_FLIGHT_MAX);
    for (uint32_t i = 0; in->helping && i < in->origins_end; i++) {
        struct pawl_log_origin *origin = in->origins[i];

        if (origin != NULL && origin != in->own && origin->help) {
            origin->help = send_origin(in, origin, HELP_FLIGHT);
            helping = helping || origin->help;
        }
    }
    in->helping = helping;
    send_wait(in, now_ms);
}
