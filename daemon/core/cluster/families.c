#include "core/cluster/families_inside.h"

#include "core/cluster/seal.h"
#include "core/octets.h"

#include <string.h>

#define SLOTS (PAWL_FAMILIES_CALLS_MAX + PAWL_FAMILIES_MERGES + 1) /* the last: WAIT's tag */

#define TICK_MS 20 /* while calls are under way */

static const char engine_away[] = "the engine of the cluster cannot be reached; nothing was "
                                  "written, try again";
static const char gate_closed[] = "after a failover the nodes are still saying again what they "
                                  "know of families; try again in a moment";
static const char no_majority[] = "a majority of the engine's replicas did not confirm in time; "
                                  "the same request again gives the same answer";
static const char too_late[] = "the engine did not answer in time; the same request again gives "
                               "the same answer";

struct pawl_family_place pawl_family_place_of(struct pawl_id key, uint64_t version)
{
    struct pawl_family_place place = { { 0 } };

    pawl_put_le(place.bytes, key.lo, 8);
    pawl_put_le(place.bytes + 8, key.hi, 8);
    pawl_put_le(place.bytes + 16, version, 8);
    return place;
}

void *pawl_families_take(struct pawl_families *families, void *old, size_t size)
{
    const struct pawl_heap *heap = families->options.heap;

    return heap->take(heap->self, old, size);
}

/* ---- life ---------------------------------------------------------------------------------- */

enum pawl_status pawl_families_init(struct pawl_families *families,
                                    const struct pawl_families_options *options)
{
    memset(families, 0, sizeof(*families));
    families->options = *options;
    families->next_ms = UINT64_MAX;
    families->slots = pawl_families_take(families, NULL, SLOTS * sizeof(*families->slots));
    if (families->slots == NULL) {
        return PAWL_ENOMEM;
    }
    memset(families->slots, 0, SLOTS * sizeof(*families->slots));
    enum pawl_status status = pawl_families_kept_init(families);

    if (status != PAWL_OK) {
        (void)pawl_families_take(families, families->slots, 0);
        families->slots = NULL;
    }
    return status;
}

void pawl_family_slot_free(struct pawl_families *families, struct pawl_family_slot *slot)
{
    if (slot->value != NULL) {
        (void)pawl_families_take(families, slot->value, 0);
    }
    memset(slot, 0, sizeof(*slot));
}

static void finish(struct pawl_families *families, struct pawl_family_slot *slot,
                   enum pawl_status status, const char *why)
{
    struct pawl_family_call *call = slot->call;

    pawl_family_slot_free(families, slot);
    families->calls--;
    families->calls_end = families->calls == 0 ? 0 : families->calls_end;
    if (status != PAWL_OK) {
        families->stats.unavailable++;
    }
    call->done(call, status, why);
}

void pawl_families_deinit(struct pawl_families *families)
{
    if (families->slots == NULL) {
        return;
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        struct pawl_family_slot *slot = &families->slots[i];

        if (slot->step != PAWL_FAMILY_STEP_FREE && slot->call != NULL) {
            finish(families, slot, PAWL_ECANCELED, "this node is stopping");
        } else if (slot->step != PAWL_FAMILY_STEP_FREE) {
            pawl_family_slot_free(families, slot);
        }
    }
    while (families->first != NULL) {
        struct pawl_family_call *call = families->first;

        families->first = call->next;
        call->done(call, PAWL_ECANCELED, "this node is stopping");
    }
    pawl_families_kept_deinit(families);
    (void)pawl_families_take(families, families->slots, 0);
    families->slots = NULL;
}

/* ---- commands ------------------------------------------------------------------------------ */

/* A reply finds its slot by the low bits, and is its own by all of them. */
static void emit(struct pawl_families *families, struct pawl_family_slot *slot,
                 struct pawl_engine_command *command)
{
    families->serial++;
    slot->tag = families->serial * SLOTS + (uint64_t)(slot - families->slots);
    command->part = PAWL_PART_FAMILY;
    command->tag = slot->tag;
    command->deadline_ms = families->options.command_ms;
    pawl_engine_emit(families->options.out, command);
}

static struct pawl_id key_of(const struct pawl_families *families,
                             const struct pawl_family_slot *slot)
{
    return slot->call != NULL ? slot->call->key : families->kept[slot->kept].key;
}

void pawl_family_slot_get(struct pawl_families *families, struct pawl_family_slot *slot)
{
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_FAMILY_GET };

    command.family.key = key_of(families, slot);
    slot->step = PAWL_FAMILY_STEP_GETTING;
    slot->epoch = families->epoch;
    emit(families, slot, &command);
}

void pawl_family_slot_set(struct pawl_families *families, struct pawl_family_slot *slot, bool gated)
{
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_FAMILY_SET };

    command.family.key = key_of(families, slot);
    command.family.version = slot->version;
    command.family.next = slot->next;
    command.family.value = pawl_bytes_of(slot->value, slot->size);
    command.family.until_s = slot->until_s;
    command.family.gated = gated;
    command.family.epoch = slot->epoch;
    slot->step = PAWL_FAMILY_STEP_SETTING;
    emit(families, slot, &command);
}

bool pawl_family_slot_fill(struct pawl_families *families, struct pawl_family_slot *slot,
                           uint64_t next)
{
    struct pawl_family_place place = pawl_family_place_of(key_of(families, slot), next);
    uint8_t *value =
        pawl_families_take(families, slot->value, PAWL_FAMILY_BYTES_MAX + PAWL_SEAL_BYTES);
    size_t size;

    if (value == NULL) {
        return false;
    }
    slot->value = value;
    if (pawl_family_encode(&families->fresh, value, PAWL_FAMILY_BYTES_MAX, &size) != PAWL_OK) {
        return false;
    }
    slot->size = pawl_seal(families->options.keys, PAWL_SEAL_FAMILY,
                           pawl_bytes_of(place.bytes, sizeof(place.bytes)), value, size);
    value = pawl_families_take(families, slot->value, slot->size); /* many wait with a small one */
    slot->value = value != NULL ? value : slot->value;
    slot->next = next;
    return true;
}

enum pawl_status pawl_family_reply_read(struct pawl_families *families, struct pawl_id key,
                                        const struct pawl_engine_reply *reply)
{
    struct pawl_family_place place = pawl_family_place_of(key, reply->family.version);
    struct pawl_bytes value;

    if (reply->family.version == 0) {
        return PAWL_ENOENT;
    }
    if (!pawl_unseal_any(families->options.keys, families->options.keys_count, PAWL_SEAL_FAMILY,
                         pawl_bytes_of(place.bytes, sizeof(place.bytes)), reply->family.value,
                         &value)) {
        families->stats.bad_seals++;
        return PAWL_ECORRUPT;
    }
    return pawl_family_decode(&families->old, value);
}

/* ---- one call ------------------------------------------------------------------------------ */

static void begin(struct pawl_families *families, struct pawl_family_slot *slot)
{
    if (!families->up || !families->gate_open) {
        slot->step = PAWL_FAMILY_STEP_PARKED;
        slot->tag = 0;
        return;
    }
    pawl_family_slot_get(families, slot);
}

static void wait_more(struct pawl_families *families)
{
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_WAIT, .part = PAWL_PART_FAMILY };
    bool any = false;

    if (families->wait_tag != 0 || !families->up) {
        return;
    }
    for (unsigned i = 0; i < families->calls_end; i++) {
        if (families->slots[i].step == PAWL_FAMILY_STEP_WON) {
            families->slots[i].step = PAWL_FAMILY_STEP_WAITING;
            any = true;
        }
    }
    if (!any) {
        return;
    }
    families->serial++;
    families->wait_tag = families->serial * SLOTS + SLOTS - 1;
    command.tag = families->wait_tag;
    command.deadline_ms = families->options.command_ms;
    command.wait.replicas = pawl_families_quorum(families->replicas);
    command.wait.timeout_ms = families->options.command_ms / 4 + 1; /* it holds up all behind it */
    pawl_engine_emit(families->options.out, &command);
}

/* Its write stands. */
static void on_won(struct pawl_families *families, struct pawl_family_slot *slot, uint64_t now_ms)
{
    slot->call->written = true;
    pawl_families_keep(families, slot, now_ms);
    if (pawl_families_quorum(families->replicas) == 0) {
        slot->call->replicas = 0;
        finish(families, slot, PAWL_OK, NULL);
        return;
    }
    slot->step = PAWL_FAMILY_STEP_WON;
    slot->tag = 0;
    wait_more(families);
}

static bool is_own(const struct pawl_family_slot *slot, const struct pawl_engine_reply *reply)
{
    return slot->value != NULL && reply->family.version == slot->next &&
           reply->family.value.size == slot->size &&
           memcmp(reply->family.value.data, slot->value, slot->size) == 0;
}

/* What is there is known: decide on it. */
static void decide(struct pawl_families *families, struct pawl_family_slot *slot,
                   const struct pawl_engine_reply *reply, uint64_t now_ms)
{
    enum pawl_status status = pawl_family_reply_read(families, slot->call->key, reply);
    enum pawl_family_verdict verdict = PAWL_FAMILY_LEAVE;

    if (is_own(slot, reply)) {
        on_won(families, slot, now_ms);
        return;
    }
    if (status != PAWL_OK && status != PAWL_ENOENT) {
        finish(families, slot, PAWL_EUNAVAIL,
               "the record of this family in the engine is damaged or forged");
        return;
    }
    slot->version = reply->family.version;
    status = slot->call->decide(slot->call, status == PAWL_OK ? &families->old : NULL,
                                &families->fresh, &slot->until_s, &verdict);
    if (status != PAWL_OK || verdict == PAWL_FAMILY_LEAVE) {
        finish(families, slot, status, status == PAWL_OK ? NULL : pawl_status_text(status));
        return;
    }
    if (verdict == PAWL_FAMILY_CONFIRM) {
        families->fresh = families->old;
    }
    if (!pawl_family_slot_fill(families, slot, slot->version + 1)) {
        finish(families, slot, PAWL_ENOMEM, "no memory for the record of a family");
        return;
    }
    pawl_family_slot_set(families, slot, true);
}

static void on_get(struct pawl_families *families, struct pawl_family_slot *slot,
                   const struct pawl_engine_reply *reply, uint64_t now_ms)
{
    if (reply->result != PAWL_ENGINE_WON) {
        begin(families, slot);
        return;
    }
    decide(families, slot, reply, now_ms);
}

static void on_set(struct pawl_families *families, struct pawl_family_slot *slot,
                   const struct pawl_engine_reply *reply, uint64_t now_ms)
{
    switch (reply->result) {
    case PAWL_ENGINE_WON:
        on_won(families, slot, now_ms);
        return;
    case PAWL_ENGINE_REFUSED:
        if (reply->family.closed) {
            families->stats.gate_refused++;
            families->gate_open = false; /* the next announcement says when it opens */
            begin(families, slot);
            return;
        }
        families->stats.raced++;
        slot->epoch = families->epoch;
        decide(families, slot, reply, now_ms);
        return;
    case PAWL_ENGINE_FAILED:
        finish(families, slot, PAWL_EUNAVAIL, "the engine refuses to write (see redis_err)");
        return;
    default:
        families->stats.unknown++;
        begin(families, slot); /* is_own() tells whether it was written */
        return;
    }
}

static void on_wait(struct pawl_families *families, const struct pawl_engine_reply *reply)
{
    uint32_t held = reply->result == PAWL_ENGINE_WON ? reply->wait.replicas : 0;
    bool enough = held >= pawl_families_quorum(families->replicas);

    families->wait_tag = 0;
    for (unsigned i = 0; i < families->calls_end; i++) {
        struct pawl_family_slot *slot = &families->slots[i];

        if (slot->step != PAWL_FAMILY_STEP_WAITING) {
            continue;
        }
        if (reply->result != PAWL_ENGINE_WON) {
            begin(families, slot); /* which primary has it now? */
            continue;
        }
        slot->call->replicas = held;
        if (enough) {
            finish(families, slot, PAWL_OK, NULL);
        } else {
            slot->step = PAWL_FAMILY_STEP_WON; /* once more at the next tick, until its deadline */
            families->stats.wait_short++;
        }
    }
    if (enough) {
        wait_more(families);
    }
}

/* ---- from outside -------------------------------------------------------------------------- */

/* Give calls that wait a slot. */
static void admit(struct pawl_families *families, uint64_t now_ms)
{
    unsigned at = 0;

    while (families->first != NULL && families->calls < PAWL_FAMILIES_CALLS_MAX) {
        struct pawl_family_call *call = families->first;

        while (families->slots[at].step != PAWL_FAMILY_STEP_FREE) {
            at++;
        }
        families->first = call->next;
        families->last = families->first == NULL ? NULL : families->last;
        families->slots[at].call = call;
        families->calls++;
        families->calls_end = at >= families->calls_end ? at + 1 : families->calls_end;
        begin(families, &families->slots[at]);
    }
    if (families->calls > 0 && families->next_ms > now_ms + TICK_MS) {
        families->next_ms = now_ms + TICK_MS;
    }
}

void pawl_families_start(struct pawl_families *families, struct pawl_family_call *call,
                         uint64_t now_ms)
{
    families->stats.calls++;
    call->written = false;
    call->replicas = 0;
    call->next = NULL;
    if (families->last != NULL) {
        families->last->next = call;
    } else {
        families->first = call;
    }
    families->last = call;
    admit(families, now_ms);
}

static void resume(struct pawl_families *families)
{
    for (unsigned i = 0; i < families->calls_end; i++) {
        if (families->slots[i].step == PAWL_FAMILY_STEP_PARKED) {
            begin(families, &families->slots[i]);
        }
    }
}

void pawl_families_on_up(struct pawl_families *families, struct pawl_epoch epoch, uint32_t replicas,
                         uint64_t now_ms)
{
    families->up = true;
    families->replicas = replicas;
    if (!pawl_epoch_equal(families->epoch, epoch)) {
        families->epoch = epoch;
        families->gate_open = false;
        pawl_families_merge_again(families);
    }
    pawl_families_merge_more(families);
    resume(families);
    wait_more(families);
    families->next_ms = now_ms + 100;
}

void pawl_families_emptied(struct pawl_families *families, uint64_t now_ms)
{
    static const struct pawl_epoch none;

    for (unsigned i = 0; i < SLOTS; i++) { /* what is under way was read, or written, before */
        families->slots[i].epoch = none;
    }
    pawl_families_merge_again(families);
    pawl_families_merge_more(families);
    families->next_ms = now_ms < families->next_ms ? now_ms : families->next_ms;
}

void pawl_families_on_down(struct pawl_families *families, uint64_t now_ms)
{
    (void)now_ms;
    families->up = false;
}

void pawl_families_set_gate(struct pawl_families *families, bool open, uint64_t now_ms)
{
    bool opened = open && !families->gate_open;

    (void)now_ms;
    families->gate_open = open;
    if (opened) {
        resume(families);
    }
}

void pawl_families_on_reply(struct pawl_families *families, const struct pawl_engine_reply *reply,
                            uint64_t now_ms)
{
    struct pawl_family_slot *slot = &families->slots[reply->tag % SLOTS];

    if (reply->verb == PAWL_ENGINE_WAIT) {
        if (reply->tag == families->wait_tag) {
            on_wait(families, reply);
        }
    } else if (slot->tag == reply->tag && slot->call == NULL) {
        pawl_families_merge_reply(families, slot, reply);
    } else if (slot->tag == reply->tag && slot->step == PAWL_FAMILY_STEP_GETTING) {
        on_get(families, slot, reply, now_ms);
    } else if (slot->tag == reply->tag && slot->step == PAWL_FAMILY_STEP_SETTING) {
        on_set(families, slot, reply, now_ms);
    }
    admit(families, now_ms);
}

static const char *why_late(const struct pawl_families *families,
                            const struct pawl_family_slot *slot)
{
    return !families->up          ? engine_away
           : !families->gate_open ? gate_closed
           : slot->step == PAWL_FAMILY_STEP_WON || slot->step == PAWL_FAMILY_STEP_WAITING
               ? no_majority
               : too_late;
}

static void end_late(struct pawl_families *families, uint64_t now_ms)
{
    for (unsigned i = 0; i < families->calls_end; i++) {
        struct pawl_family_slot *slot = &families->slots[i];

        if (slot->step != PAWL_FAMILY_STEP_FREE && now_ms >= slot->call->deadline_ms) {
            finish(families, slot, PAWL_EUNAVAIL, why_late(families, slot));
        }
    }
    while (families->first != NULL && now_ms >= families->first->deadline_ms) {
        struct pawl_family_call *call = families->first;

        families->first = call->next;
        families->last = families->first == NULL ? NULL : families->last;
        families->stats.unavailable++;
        call->done(call, PAWL_EUNAVAIL, "too many families wait for the engine; try again");
    }
}

void pawl_families_tick(struct pawl_families *families, uint64_t now_ms)
{
    if (now_ms < families->next_ms) {
        return;
    }
    end_late(families, now_ms);
    pawl_families_forget_old(families, now_ms);
    if (families->up) {
        pawl_families_merge_more(families);
        wait_more(families);
    }
    families->next_ms = now_ms + (families->calls > 0 ? TICK_MS : families->is_merged ? 1000 : 100);
    admit(families, now_ms);
}
