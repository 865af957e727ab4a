#include "core/cluster/gate.h"

#include <string.h>

#define NEVER UINT64_MAX

static const struct pawl_epoch no_epoch;

void pawl_gate_init(struct pawl_gate *gate, const struct pawl_gate_options *options)
{
    memset(gate, 0, sizeof(*gate));
    gate->options = *options;
    gate->next_ms = NEVER;
}

static void changed(struct pawl_gate *gate)
{
    if (gate->options.changed != NULL) {
        gate->options.changed(gate->options.ctx, &gate->epoch, gate->open);
    }
}

static void emit(struct pawl_gate *gate, enum pawl_engine_verb verb, uint64_t now_ms)
{
    struct pawl_engine_command command = { .verb = verb, .part = PAWL_PART_GATE };

    gate->asked = ++gate->tag;
    gate->retry_ms = now_ms + PAWL_GATE_RETRY_MS;
    command.tag = gate->asked;
    command.deadline_ms = PAWL_GATE_DEADLINE_MS;
    command.gate.epoch = gate->epoch;
    command.gate.self = gate->options.self;
    pawl_engine_emit(&gate->options.out, &command);
}

static bool time_opens(const struct pawl_gate *gate, uint64_t now_ms)
{
    return !gate->options.strict && now_ms >= gate->up_ms + PAWL_GATE_WAIT_MS;
}

/* Waiting for the others: with each announcement, and sooner in the beginning. */
static void look(struct pawl_gate *gate, uint64_t now_ms)
{
    uint64_t end = gate->up_ms + PAWL_GATE_WAIT_MS;

    if (now_ms >= end) {
        return; /* strict: the ordinary announcements do */
    }
    if (now_ms >= gate->look_ms) {
        gate->look_ms = now_ms + PAWL_GATE_LOOK_MS;
        if (gate->options.look != NULL) {
            gate->options.look(gate->options.ctx);
        }
    }
    gate->next_ms = gate->look_ms < end ? gate->look_ms : end;
}

/* The one place that decides what is due. */
static void step(struct pawl_gate *gate, uint64_t now_ms)
{
    gate->next_ms = NEVER;
    if (!gate->up || gate->open || gate->asked != 0) {
        return;
    }
    bool opens = gate->merged && gate->listed && (gate->all_ready || time_opens(gate, now_ms));

    if (gate->merged && (!gate->listed || opens)) {
        if (now_ms < gate->retry_ms) {
            gate->next_ms = gate->retry_ms;
        } else {
            gate->by_time = opens && !gate->all_ready;
            emit(gate, opens ? PAWL_ENGINE_GATE_OPEN : PAWL_ENGINE_GATE_READY, now_ms);
        }
        return;
    }
    look(gate, now_ms);
}

static void opened(struct pawl_gate *gate, uint64_t now_ms)
{
    if (gate->open) {
        return;
    }
    gate->open = true;
    gate->openings++;
    gate->closed_last_ms = now_ms - gate->up_ms;
    gate->closed_total_ms += gate->closed_last_ms;
    changed(gate);
}

void pawl_gate_on_up(struct pawl_gate *gate, const struct pawl_epoch *epoch, uint64_t now_ms)
{
    gate->up = true;
    if (!pawl_epoch_equal(gate->epoch, *epoch)) {
        if (!gate->open && !pawl_epoch_equal(gate->epoch, no_epoch)) {
            gate->closed_total_ms += now_ms - gate->up_ms; /* an epoch in which it never opened */
        }
        gate->epoch = *epoch;
        gate->up_ms = now_ms;
        gate->merged = false;
        gate->open = false;
        gate->listed = false;
        gate->all_ready = false;
        gate->asked = 0; /* what it comes to is of another epoch */
        gate->retry_ms = 0;
        gate->look_ms = now_ms;
        changed(gate);
    }
    step(gate, now_ms);
}

void pawl_gate_on_down(struct pawl_gate *gate, uint64_t now_ms)
{
    gate->up = false;
    gate->asked = 0;
    step(gate, now_ms);
}

void pawl_gate_merged(struct pawl_gate *gate, const struct pawl_epoch *epoch, uint64_t now_ms)
{
    if (pawl_epoch_equal(gate->epoch, *epoch) && !pawl_epoch_equal(*epoch, no_epoch)) {
        gate->merged = true;
        step(gate, now_ms);
    }
}

void pawl_gate_emptied(struct pawl_gate *gate, uint64_t now_ms)
{
    if (pawl_epoch_equal(gate->epoch, no_epoch)) {
        return;
    }
    gate->open = false;
    gate->merged = false;
    gate->listed = false;
    gate->all_ready = false;
    gate->asked = 0; /* it may have been said before that */
    gate->up_ms = now_ms;
    gate->retry_ms = 0;
    gate->look_ms = now_ms;
    changed(gate);
    step(gate, now_ms);
}

static bool is_ready(const struct pawl_engine_reply *reply, const struct pawl_member_id *id)
{
    for (uint32_t i = 0; i < reply->announce.ready_count; i++) {
        if (pawl_member_id_equal(reply->announce.ready[i], *id)) {
            return true;
        }
    }
    return false;
}

static bool are_all_ready(const struct pawl_engine_reply *reply, const struct pawl_view *view)
{
    if (view == NULL || view->count == 0) {
        return false;
    }
    for (uint16_t i = 0; i < view->count; i++) {
        if (!is_ready(reply, &view->members[i].id)) {
            return false;
        }
    }
    return true;
}

void pawl_gate_on_announce(struct pawl_gate *gate, const struct pawl_engine_reply *reply,
                           const struct pawl_view *view, uint64_t now_ms)
{
    if (pawl_epoch_equal(gate->epoch, no_epoch)) {
        return;
    }
    bool opens = pawl_epoch_equal(reply->announce.gate, gate->epoch);
    bool listed = is_ready(reply, &gate->options.self);

    /* FLUSHALL: the engine refuses gated writes again, and has lost the families too. */
    if (!opens && (gate->open || (gate->listed && !listed))) {
        pawl_gate_emptied(gate, now_ms);
        return;
    }
    gate->listed = listed;
    gate->all_ready = are_all_ready(reply, view);
    if (opens) {
        opened(gate, now_ms);
    }
    step(gate, now_ms);
}

void pawl_gate_on_reply(struct pawl_gate *gate, const struct pawl_engine_reply *reply,
                        uint64_t now_ms)
{
    if (reply->tag != gate->asked || gate->asked == 0) {
        return;
    }
    gate->asked = 0;
    if (reply->result == PAWL_ENGINE_WON) {
        gate->retry_ms = 0;
        if (reply->verb == PAWL_ENGINE_GATE_READY) {
            gate->listed = true;
            gate->look_ms = now_ms; /* the last one to be ready opens it */
        } else {
            gate->openings_by_time += gate->by_time ? 1 : 0;
            opened(gate, now_ms);
        }
    }
    step(gate, now_ms);
}

void pawl_gate_tick(struct pawl_gate *gate, uint64_t now_ms)
{
    step(gate, now_ms);
}

bool pawl_gate_is_open(const struct pawl_gate *gate, const struct pawl_epoch *epoch)
{
    return gate->open && pawl_epoch_equal(gate->epoch, *epoch);
}

void pawl_gate_metrics_get(const struct pawl_gate *gate, uint64_t now_ms,
                           struct pawl_gate_metrics *metrics)
{
    bool closed = !gate->open && !pawl_epoch_equal(gate->epoch, no_epoch);

    metrics->open = gate->open;
    metrics->openings = gate->openings;
    metrics->by_time = gate->openings_by_time;
    metrics->closed_last_ms = closed ? now_ms - gate->up_ms : gate->closed_last_ms;
    metrics->closed_total_ms = gate->closed_total_ms;
}
