/*
 * Parcels: requests that wait for another member, or for a slot, with what they need to be run
 * again.
 */
#include "edge/forward.h"

#include <stdlib.h>
#include <string.h>

#include "edge/worker.h"

/* ---- time ---------------------------------------------------------------------------------- */

uint32_t pawl_parcel_left_ms(const struct pawl_parcel *parcel, uint64_t now_ms)
{
    return parcel->deadline_ms > now_ms ? (uint32_t)(parcel->deadline_ms - now_ms) : 1;
}

void pawl_forward_tick(struct pawl_forward *forward, uint64_t due_ms)
{
    uint64_t now_ms = pawl_forward_clock_ms(forward);
    uint64_t in_ms = due_ms > now_ms ? due_ms - now_ms : 1;

    in_ms = in_ms < PAWL_FORWARD_TICK_MS ? in_ms : PAWL_FORWARD_TICK_MS;
    if (forward->closing || (forward->ticking && forward->tick_ms <= now_ms + in_ms)) {
        return;
    }
    forward->ticking = true;
    forward->tick_ms = now_ms + in_ms;
    forward->net.ops->start(forward->timer, (uint32_t)in_ms);
}

/* ---- parcels ------------------------------------------------------------------------------- */

static void enlist(struct pawl_forward *forward, struct pawl_parcel *parcel)
{
    parcel->next = forward->parcels;
    if (parcel->next != NULL) {
        parcel->next->previous = parcel;
    }
    forward->parcels = parcel;
    forward->parcel_count++;
    forward->parcel_bytes += parcel->hello_size + parcel->message_size;
}

/* When its answer has to leave: its client waits as long as it said, within bounds, and an answer
 * that is not back by then is as slow as none. Clients that hear nothing five times leave. */
static uint64_t deadline_of(const struct pawl_forward *forward)
{
    const struct pawl_dispatch *dispatch = forward->dispatch;
    uint32_t budget = dispatch->request.deadline_ms;

    budget = budget == 0 ? PAWL_FORWARD_MS : budget;
    budget = budget < PAWL_FORWARD_MS_MAX ? budget : PAWL_FORWARD_MS_MAX;
    return pawl_worker_batch_ms(dispatch->worker) + pawl_forward_share_ms(budget);
}

struct pawl_bytes pawl_parcel_hello_at_hand(struct pawl_forward *forward,
                                            struct pawl_session *session)
{
    struct pawl_session_state *state = pawl_session_user(session);

    if (state->hello_owed && state->hello_id == forward->dispatch->request.id) {
        state->hello_owed = false;
    }
    return forward->hello;
}

/* Room for a parcel of @size bytes; NULL: no memory. All of it but its bytes is zero. */
static struct pawl_parcel *make_parcel(struct pawl_forward *forward, size_t size)
{
    bool is_spare = size <= PAWL_PARCEL_SPARE_BYTES;
    struct pawl_parcel *parcel = is_spare ? forward->spares : NULL;

    if (parcel != NULL) {
        forward->spares = parcel->next;
        forward->spare_count--;
    } else {
        parcel = malloc(sizeof(*parcel) + (is_spare ? PAWL_PARCEL_SPARE_BYTES : size));
    }
    if (parcel != NULL) {
        memset(parcel, 0, sizeof(*parcel));
        parcel->is_spare = is_spare;
    }
    return parcel;
}

static void give_parcel(struct pawl_forward *forward, struct pawl_parcel *parcel)
{
    if (!parcel->is_spare || forward->closing || forward->spare_count >= PAWL_PARCELS_SPARE) {
        free(parcel);
        return;
    }
    parcel->next = forward->spares;
    forward->spares = parcel;
    forward->spare_count++;
}

struct pawl_parcel *pawl_parcel_take(struct pawl_dispatch *dispatch, struct pawl_session *session)
{
    struct pawl_forward *forward = dispatch->forward;
    struct pawl_bytes hello = pawl_parcel_hello_at_hand(forward, session);
    size_t size = hello.size + forward->message.size;
    struct pawl_parcel *parcel = forward->at_hand;

    if (parcel != NULL) {
        forward->at_hand = NULL;
        return parcel;
    }
    if (forward->parcel_count < PAWL_PARCELS_MAX &&
        size <= PAWL_PARCELS_BYTES_MAX - forward->parcel_bytes) {
        parcel = make_parcel(forward, size);
    }
    if (parcel == NULL) {
        pawl_count(&dispatch->metrics->unavailable);
        pawl_reply_error(session, dispatch->request.id, PAWL__V1__STATUS__STATUS_UNAVAILABLE,
                         "too many requests wait here for other members");
        return NULL;
    }
    parcel->forward = forward;
    parcel->to.ticket = pawl_session_ticket(session);
    parcel->to.id = dispatch->request.id;
    parcel->deadline_ms = deadline_of(forward);
    parcel->ns_size = (uint8_t)dispatch->ns.size;
    memcpy(parcel->ns, dispatch->ns.data, dispatch->ns.size);
    parcel->hello_size = hello.size;
    parcel->message_size = forward->message.size;
    if (hello.size > 0) {
        memcpy(parcel->bytes, hello.data, hello.size);
    }
    memcpy(parcel->bytes + hello.size, forward->message.data, forward->message.size);
    enlist(forward, parcel);
    pawl_session_owe(session, 1);
    return parcel;
}

/* It is not parked any more. */
static void unpark(struct pawl_parcel *parcel)
{
    struct pawl_forward *forward = parcel->forward;

    if (parcel->state == PAWL_PARCEL_PARKED) {
        forward->parked_count--;
        if (parcel->waits) {
            pawl_world_waiting(forward->world, forward->dispatch->index, -1);
        }
    }
    parcel->state = PAWL_PARCEL_AT_HAND;
    parcel->waits = false;
}

void pawl_parcel_drop(struct pawl_parcel *parcel)
{
    struct pawl_forward *forward = parcel->forward;
    struct pawl_session *session =
        forward->closing ? NULL : pawl_session_find(forward->dispatch->worker, parcel->to.ticket);

    unpark(parcel);
    if (parcel->previous != NULL) {
        parcel->previous->next = parcel->next;
    } else {
        forward->parcels = parcel->next;
    }
    if (parcel->next != NULL) {
        parcel->next->previous = parcel->previous;
    }
    forward->parcel_count--;
    forward->parcel_bytes -= parcel->hello_size + parcel->message_size;
    if (session != NULL) {
        pawl_session_owe(session, -1);
    }
    pawl_split_end(parcel);
    give_parcel(forward, parcel);
}

void pawl_parcel_refuse(struct pawl_parcel *parcel, unsigned wire_status, bool effect_unknown,
                        const char *text)
{
    struct pawl_forward *forward = parcel->forward;
    struct pawl_session *session =
        forward->closing ? NULL : pawl_session_find(forward->dispatch->worker, parcel->to.ticket);

    if (session != NULL) {
        struct pawl_wire_reply reply = { .id = parcel->to.id,
                                         .status = wire_status,
                                         .error =
                                             pawl_bytes_of(text, strnlen(text, PAWL_ERROR_BYTES)),
                                         .hello = pawl_parcel_hello(parcel),
                                         .effect_unknown = effect_unknown };

        if (wire_status == PAWL__V1__STATUS__STATUS_UNAVAILABLE) {
            pawl_count(&forward->dispatch->metrics->unavailable);
        }
        pawl_reply_hot(session, &reply);
    }
    pawl_parcel_drop(parcel);
}

void pawl_parcel_park(struct pawl_parcel *parcel, uint32_t slot, uint32_t in_ms)
{
    struct pawl_forward *forward = parcel->forward;

    parcel->state = PAWL_PARCEL_PARKED;
    parcel->slot = slot;
    parcel->view = forward->territory->view;
    parcel->waits = in_ms == 0;
    parcel->retry_ms = in_ms == 0 ? UINT64_MAX : pawl_forward_clock_ms(forward) + in_ms;
    forward->parked_count++;
    if (parcel->waits) {
        pawl_count(&forward->dispatch->metrics->parked);
        pawl_world_waiting(forward->world, forward->dispatch->index, 1);
        forward->world->calls.wanted_first(forward->world->calls.self, slot);
    }
    /* It also sees what changed before we were counted as waiting. */
    pawl_forward_tick(forward, parcel->deadline_ms);
}

void pawl_parcel_run(struct pawl_parcel *parcel)
{
    struct pawl_forward *forward = parcel->forward;
    struct pawl_dispatch *dispatch = forward->dispatch;
    struct pawl_session *session =
        forward->closing ? NULL : pawl_session_find(dispatch->worker, parcel->to.ticket);

    unpark(parcel);
    if (session == NULL) {
        pawl_parcel_drop(parcel);
        return;
    }
    pawl_dispatch_run_again(dispatch, session, parcel);
}

/* ---- what waits ---------------------------------------------------------------------------- */

/* Whether there is any sense in taking a parcel that waits for a change at hand again. */
static bool has_changed(const struct pawl_forward *forward, const struct pawl_parcel *parcel)
{
    const struct pawl_ownership *ownership = &forward->world->ownership;

    return parcel->view != forward->territory->view ||
           atomic_load_explicit(&ownership->states[parcel->slot], memory_order_acquire) !=
               PAWL_SLOT_WANTED;
}

void pawl_parcels_look(struct pawl_forward *forward)
{
    uint64_t now_ms = pawl_forward_clock_ms(forward);
    uint64_t due_ms = UINT64_MAX;
    unsigned left = forward->parcel_count;
    struct pawl_parcel *next;
    bool began = forward->parked_count > 0 && pawl_dispatch_begin(forward->dispatch);

    for (struct pawl_parcel *parcel = forward->parcels; parcel != NULL && left-- > 0;
         parcel = next) {
        next = parcel->next;
        if (parcel->state != PAWL_PARCEL_PARKED) {
            continue;
        }
        if (now_ms >= parcel->deadline_ms) {
            pawl_parcel_refuse(parcel, PAWL__V1__STATUS__STATUS_UNAVAILABLE, false,
                               "no member could decide in time: ownership of the key is changing, "
                               "or its owner cannot be reached; nothing was done");
        } else if (parcel->waits ? has_changed(forward, parcel) : now_ms >= parcel->retry_ms) {
            pawl_parcel_run(parcel);
        } else if (parcel->deadline_ms < due_ms) {
            due_ms = parcel->deadline_ms;
        }
    }
    if (began) {
        pawl_dispatch_end(forward->dispatch);
    }
    if (forward->parked_count > 0) {
        pawl_forward_tick(forward, due_ms);
    }
}

void pawl_parcels_close(struct pawl_forward *forward)
{
    for (struct pawl_parcel *parcel = forward->parcels, *next; parcel != NULL; parcel = next) {
        next = parcel->next;
        pawl_parcel_drop(parcel);
    }
    for (struct pawl_parcel *next; forward->spares != NULL; forward->spares = next) {
        next = forward->spares->next;
        free(forward->spares);
    }
}
