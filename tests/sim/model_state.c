#include "sim/model_state.h"

#include <stdlib.h>
#include <string.h>

/* ---- commands that outlive their emit ---- */

static void *put(uint8_t **at, const void *data, size_t size)
{
    void *here = *at;

    if (size > 0) {
        memcpy(here, data, size);
    }
    *at += (size + 15) & ~(size_t)15;
    return here;
}

static size_t rounded(size_t size)
{
    return (size + 15) & ~(size_t)15;
}

static struct pawl_bytes *bytes_of(struct pawl_engine_command *command)
{
    switch (command->verb) {
    case PAWL_ENGINE_ANNOUNCE:
        return &command->announce.info;
    case PAWL_ENGINE_VIEW_SET:
        return &command->view_set.view;
    case PAWL_ENGINE_APPEND:
        return &command->append.bytes;
    case PAWL_ENGINE_FAMILY_SET:
        return &command->family.value;
    default:
        return NULL;
    }
}

static struct model_command *copy_save(const struct pawl_engine_command *command)
{
    size_t size = rounded(command->slot.count * sizeof(struct pawl_slot_entry));
    struct model_command *copy;
    struct pawl_slot_entry *entries;
    uint8_t *at;

    for (uint32_t i = 0; i < command->slot.count; i++) {
        size += rounded(command->slot.entries[i].value.size);
    }
    copy = sim_grow(NULL, rounded(sizeof(*copy)) + size);
    copy->command = *command;
    at = (uint8_t *)copy + rounded(sizeof(*copy));
    entries = put(&at, command->slot.entries, command->slot.count * sizeof(*entries));
    for (uint32_t i = 0; i < command->slot.count; i++) {
        entries[i].value.data = put(&at, entries[i].value.data, entries[i].value.size);
    }
    copy->command.slot.entries = entries;
    return copy;
}

struct model_command *model_command_copy(const struct pawl_engine_command *command)
{
    struct pawl_engine_command plain = *command;
    const struct pawl_bytes *bytes = bytes_of(&plain);
    const void *data = bytes != NULL ? bytes->data : NULL;
    size_t size = bytes != NULL ? bytes->size : 0;
    struct model_command *copy;
    uint8_t *at;

    if (command->verb == PAWL_ENGINE_SLOT_SAVE) {
        copy = copy_save(command);
        copy->references = 1;
        return copy;
    }
    if (command->verb == PAWL_ENGINE_READ) {
        data = command->read.cursors;
        size = command->read.count * sizeof(*command->read.cursors);
    }
    copy = sim_grow(NULL, rounded(sizeof(*copy)) + rounded(size));
    copy->command = plain;
    copy->references = 1;
    at = (uint8_t *)copy + rounded(sizeof(*copy));
    if (command->verb == PAWL_ENGINE_READ) {
        copy->command.read.cursors = put(&at, data, size);
    } else if (bytes != NULL) {
        bytes_of(&copy->command)->data = put(&at, data, size);
    }
    return copy;
}

void model_command_drop(struct model_command *command)
{
    if (command != NULL && --command->references == 0) {
        free(command);
    }
}

bool model_verb_writes(enum pawl_engine_verb verb)
{
    switch (verb) {
    case PAWL_ENGINE_READ:
    case PAWL_ENGINE_FAMILY_GET:
    case PAWL_ENGINE_SLOT_LOAD:
    case PAWL_ENGINE_WAIT:
    case PAWL_ENGINE_NONE:
        return false;
    default:
        return true;
    }
}

bool model_verb_grows(enum pawl_engine_verb verb)
{
    return verb == PAWL_ENGINE_ANNOUNCE || verb == PAWL_ENGINE_VIEW_SET ||
           verb == PAWL_ENGINE_APPEND || verb == PAWL_ENGINE_GATE_READY ||
           verb == PAWL_ENGINE_GATE_OPEN || verb == PAWL_ENGINE_FAMILY_SET ||
           verb == PAWL_ENGINE_SLOT_SAVE;
}

/* ---- life ---- */

static void slot_free(struct model_slot *slot)
{
    if (slot == NULL) {
        return;
    }
    for (uint32_t i = 0; i < slot->count; i++) {
        blob_drop(slot->records[i].value);
    }
    free(slot->records);
    free(slot);
}

static void stream_free(struct model_stream *stream)
{
    for (uint32_t i = 0; i < stream->count; i++) {
        blob_drop(stream->entries[i].bytes);
    }
    free(stream->entries);
}

void model_state_clear(struct model_state *state)
{
    blob_drop(state->view);
    for (uint32_t i = 0; i < state->member_count; i++) {
        blob_drop(state->members[i].info);
    }
    free(state->members);
    for (uint32_t i = 0; i < state->stream_count; i++) {
        stream_free(&state->streams[i]);
    }
    free(state->streams);
    for (uint32_t i = 0; i < state->family_count; i++) {
        blob_drop(state->families[i].value);
    }
    free(state->families);
    for (uint32_t i = 0; i < PAWL_RING_SLOTS; i++) {
        slot_free(state->slots[i]);
    }
    memset(state, 0, sizeof(*state));
}

static struct model_slot *slot_copy(const struct model_slot *from)
{
    struct model_slot *slot;

    if (from == NULL) {
        return NULL;
    }
    slot = sim_copy(from, sizeof(*from));
    slot->capacity = from->count;
    slot->records = sim_copy(from->records, from->count * sizeof(*from->records));
    for (uint32_t i = 0; i < slot->count; i++) {
        (void)blob_keep(slot->records[i].value);
    }
    return slot;
}

void model_state_copy(struct model_state *to, const struct model_state *from)
{
    model_state_clear(to);
    *to = *from;
    (void)blob_keep(to->view);
    to->members = sim_copy(from->members, from->member_count * sizeof(*from->members));
    for (uint32_t i = 0; i < to->member_count; i++) {
        (void)blob_keep(to->members[i].info);
    }
    to->streams = sim_copy(from->streams, from->stream_count * sizeof(*from->streams));
    for (uint32_t i = 0; i < to->stream_count; i++) {
        struct model_stream *stream = &to->streams[i];

        stream->capacity = stream->count;
        stream->entries = sim_copy(stream->entries, stream->count * sizeof(*stream->entries));
        for (uint32_t k = 0; k < stream->count; k++) {
            (void)blob_keep(stream->entries[k].bytes);
        }
    }
    to->families = sim_copy(from->families, from->family_count * sizeof(*from->families));
    to->family_capacity = from->family_count;
    for (uint32_t i = 0; i < to->family_count; i++) {
        (void)blob_keep(to->families[i].value);
    }
    for (uint32_t i = 0; i < PAWL_RING_SLOTS; i++) {
        to->slots[i] = slot_copy(from->slots[i]);
    }
}

/* ---- members and views ---- */

static struct model_outcome outcome(enum pawl_engine_result result)
{
    struct model_outcome value = { .result = result };

    return value;
}

static struct model_outcome announce(struct model_state *state,
                                     const struct pawl_engine_command *command, uint64_t clock_ms)
{
    struct model_member *member = NULL;

    for (uint32_t i = 0; i < state->member_count; i++) {
        if (pawl_member_id_equal(state->members[i].id, command->announce.self)) {
            member = &state->members[i];
        }
    }
    if (member == NULL) {
        state->members =
            sim_grow(state->members, (state->member_count + 1) * sizeof(*state->members));
        member = &state->members[state->member_count++];
        memset(member, 0, sizeof(*member));
        member->id = command->announce.self;
    }
    member->mark = clock_ms != member->mark ? clock_ms : clock_ms + 1;
    if (member->info == NULL || member->info->size != command->announce.info.size ||
        memcmp(member->info->bytes, command->announce.info.data, member->info->size) != 0) {
        blob_drop(member->info);
        member->info = blob_make(command->announce.info.data, command->announce.info.size);
    }
    return outcome(PAWL_ENGINE_WON);
}

static struct model_outcome retire(struct model_state *state,
                                   const struct pawl_engine_command *command)
{
    for (uint32_t i = 0; i < state->member_count; i++) {
        if (pawl_member_id_equal(state->members[i].id, command->retire.member)) {
            blob_drop(state->members[i].info);
            memmove(&state->members[i], &state->members[i + 1],
                    (--state->member_count - i) * sizeof(*state->members));
            break;
        }
    }
    return outcome(PAWL_ENGINE_WON);
}

static struct model_outcome view_set(struct model_state *state,
                                     const struct pawl_engine_command *command)
{
    if (command->view_set.number == state->view_number) {
        return outcome(PAWL_ENGINE_WON); /* this one, said before: no two share a number */
    }
    if (command->view_set.number < state->view_number ||
        (command->view_set.exact && command->view_set.base != state->view_number)) {
        return outcome(PAWL_ENGINE_REFUSED);
    }
    struct model_outcome won = outcome(PAWL_ENGINE_WON);

    won.replaced = state->view_number;
    blob_drop(state->view);
    state->view = blob_make(command->view_set.view.data, command->view_set.view.size);
    state->view_number = command->view_set.number;
    return won;
}

/* ---- streams ---- */

struct model_stream *model_state_stream(const struct model_state *state,
                                        const struct pawl_origin *origin)
{
    for (uint32_t i = 0; i < state->stream_count; i++) {
        if (memcmp(&state->streams[i].origin, origin, sizeof(*origin)) == 0) {
            return &state->streams[i];
        }
    }
    return NULL;
}

/* Above the top it is taken, if it follows it; at or below the top it was there before. */
static struct model_outcome append(struct model_state *state,
                                   const struct pawl_engine_command *command)
{
    struct model_stream *stream = model_state_stream(state, &command->append.origin);
    uint64_t top = stream != NULL ? stream->top : 0;

    if (command->append.position <= top) {
        return outcome(PAWL_ENGINE_WON);
    }
    if (command->append.position != top + 1 && command->append.after != top) {
        return outcome(PAWL_ENGINE_REFUSED);
    }
    if (stream == NULL) {
        state->streams =
            sim_grow(state->streams, (state->stream_count + 1) * sizeof(*state->streams));
        stream = &state->streams[state->stream_count++];
        memset(stream, 0, sizeof(*stream));
        stream->origin = command->append.origin;
    }
    if (stream->count == stream->capacity) {
        stream->capacity = stream->capacity > 0 ? 2 * stream->capacity : 8;
        stream->entries = sim_grow(stream->entries, stream->capacity * sizeof(*stream->entries));
    }
    stream->top = command->append.position;
    stream->entries[stream->count].position = command->append.position;
    stream->entries[stream->count++].bytes =
        blob_make(command->append.bytes.data, command->append.bytes.size);
    stream->first = stream->entries[0].position;
    return outcome(PAWL_ENGINE_WON);
}

static struct model_outcome trim(struct model_state *state,
                                 const struct pawl_engine_command *command)
{
    struct model_stream *stream = model_state_stream(state, &command->trim.origin);
    uint32_t gone = 0;

    if (stream == NULL) {
        return outcome(PAWL_ENGINE_WON);
    }
    while (gone < stream->count && stream->entries[gone].position < command->trim.position) {
        blob_drop(stream->entries[gone++].bytes);
    }
    stream->count -= gone;
    memmove(stream->entries, stream->entries + gone, stream->count * sizeof(*stream->entries));
    stream->first = stream->count > 0 ? stream->entries[0].position : 0;
    return outcome(PAWL_ENGINE_WON);
}

static struct model_outcome drop_origin(struct model_state *state,
                                        const struct pawl_engine_command *command)
{
    struct model_stream *stream = model_state_stream(state, &command->drop.origin);
    size_t place;

    if (stream == NULL) {
        return outcome(PAWL_ENGINE_WON);
    }
    if (stream->count > 0) {
        return outcome(PAWL_ENGINE_REFUSED);
    }
    place = (size_t)(stream - state->streams);
    stream_free(stream);
    memmove(stream, stream + 1, (--state->stream_count - place) * sizeof(*stream));
    return outcome(PAWL_ENGINE_WON);
}

/* ---- the gate and families ---- */

static struct model_outcome gate_ready(struct model_state *state,
                                       const struct pawl_engine_command *command)
{
    if (!pawl_epoch_equal(state->ready_epoch, command->gate.epoch)) {
        state->ready_epoch = command->gate.epoch;
        state->ready_count = 0;
    }
    for (uint32_t i = 0; i < state->ready_count; i++) {
        if (pawl_member_id_equal(state->ready[i], command->gate.self)) {
            return outcome(PAWL_ENGINE_WON);
        }
    }
    if (state->ready_count < PAWL_MEMBERS_MAX) {
        state->ready[state->ready_count++] = command->gate.self;
    }
    return outcome(PAWL_ENGINE_WON);
}

static struct model_family *find_family(const struct model_state *state, struct pawl_id key)
{
    for (uint32_t i = 0; i < state->family_count; i++) {
        if (pawl_id_equal(state->families[i].key, key)) {
            return &state->families[i];
        }
    }
    return NULL;
}

static void forget_family(struct model_state *state, struct model_family *family)
{
    blob_drop(family->value);
    *family = state->families[--state->family_count];
}

struct model_family *model_state_family(struct model_state *state, struct pawl_id key,
                                        uint64_t clock_ms)
{
    struct model_family *family = find_family(state, key);

    if (family != NULL && family->until_s <= clock_ms / 1000) {
        forget_family(state, family);
        return NULL;
    }
    return family;
}

static struct model_outcome family_set(struct model_state *state,
                                       const struct pawl_engine_command *command, uint64_t clock_ms)
{
    static const struct pawl_epoch never;
    struct model_outcome refused = { .result = PAWL_ENGINE_REFUSED };
    struct model_family *family;

    if (command->family.gated && (pawl_epoch_equal(state->gate, never) ||
                                  !pawl_epoch_equal(state->gate, command->family.epoch))) {
        refused.closed = true;
        return refused;
    }
    family = model_state_family(state, command->family.key, clock_ms);
    if ((family != NULL ? family->version : 0) != command->family.version) {
        refused.family = family;
        return refused;
    }
    if (family == NULL) {
        if (state->family_count == state->family_capacity) {
            state->family_capacity = state->family_capacity > 0 ? 2 * state->family_capacity : 64;
            state->families =
                sim_grow(state->families, state->family_capacity * sizeof(*state->families));
        }
        family = &state->families[state->family_count++];
        memset(family, 0, sizeof(*family));
        family->key = command->family.key;
    }
    blob_drop(family->value);
    family->value = blob_make(command->family.value.data, command->family.value.size);
    family->version = command->family.next;
    family->until_s = command->family.until_s;
    return outcome(PAWL_ENGINE_WON);
}

/* ---- slots ---- */

struct model_slot *model_state_slot(struct model_state *state, uint32_t slot, uint64_t clock_ms)
{
    struct model_slot *found = state->slots[slot];

    if (found != NULL && found->until_ms <= clock_ms) {
        slot_free(found);
        state->slots[slot] = NULL;
        return NULL;
    }
    return found;
}

static void save_record(struct model_slot *slot, const struct pawl_slot_entry *entry,
                        uint64_t as_of_us)
{
    struct model_record *record = NULL;

    for (uint32_t i = 0; i < slot->count; i++) {
        if (pawl_id_equal(slot->records[i].id, entry->id)) {
            record = &slot->records[i];
            break;
        }
    }
    if (entry->value.size == 0) {
        if (record != NULL) {
            blob_drop(record->value);
            *record = slot->records[--slot->count];
        }
        return;
    }
    if (record == NULL) {
        if (slot->count == slot->capacity) {
            slot->capacity = slot->capacity > 0 ? 2 * slot->capacity : 2;
            slot->records = sim_grow(slot->records, slot->capacity * sizeof(*slot->records));
        }
        record = &slot->records[slot->count++];
        record->id = entry->id;
        record->value = NULL;
    }
    record->as_of_us = as_of_us;
    if (record->value != NULL && record->value->references == 1 &&
        record->value->size == entry->value.size) {
        memcpy(record->value->bytes, entry->value.data, entry->value.size);
        return;
    }
    blob_drop(record->value);
    record->value = blob_make(entry->value.data, entry->value.size);
}

static struct model_outcome slot_save(struct model_state *state,
                                      const struct pawl_engine_command *command, uint64_t clock_ms,
                                      uint64_t emitted_us)
{
    struct model_outcome refused = { .result = PAWL_ENGINE_REFUSED };
    struct model_slot *slot = model_state_slot(state, command->slot.slot, clock_ms);

    if (slot != NULL && command->slot.view < slot->view) {
        refused.slot_view = slot->view;
        return refused;
    }
    if (slot == NULL) {
        slot = sim_take(sizeof(*slot));
        state->slots[command->slot.slot] = slot;
    }
    slot->view = command->slot.view;
    slot->until_ms = clock_ms + command->slot.keep_ms;
    for (uint32_t i = 0; i < command->slot.count; i++) {
        save_record(slot, &command->slot.entries[i], emitted_us);
    }
    return outcome(PAWL_ENGINE_WON);
}

struct model_outcome model_state_write(struct model_state *state,
                                       const struct pawl_engine_command *command, uint64_t clock_ms,
                                       uint64_t emitted_us)
{
    switch (command->verb) {
    case PAWL_ENGINE_ANNOUNCE:
        return announce(state, command, clock_ms);
    case PAWL_ENGINE_RETIRE:
        return retire(state, command);
    case PAWL_ENGINE_VIEW_SET:
        return view_set(state, command);
    case PAWL_ENGINE_APPEND:
        return append(state, command);
    case PAWL_ENGINE_TRIM:
        return trim(state, command);
    case PAWL_ENGINE_DROP_ORIGIN:
        return drop_origin(state, command);
    case PAWL_ENGINE_GATE_READY:
        return gate_ready(state, command);
    case PAWL_ENGINE_GATE_OPEN:
        state->gate = command->gate.epoch;
        return outcome(PAWL_ENGINE_WON);
    case PAWL_ENGINE_FAMILY_SET:
        return family_set(state, command, clock_ms);
    case PAWL_ENGINE_SLOT_SAVE:
        return slot_save(state, command, clock_ms, emitted_us);
    default:
        return outcome(PAWL_ENGINE_WON);
    }
}

bool model_state_evict(struct model_state *state, uint64_t chance)
{
    uint32_t first = (uint32_t)(chance >> 8) % PAWL_RING_SLOTS;

    if (state->family_count > 0 && (chance & 1) != 0) {
        forget_family(state, &state->families[(chance >> 8) % state->family_count]);
        return true;
    }
    for (uint32_t i = 0; i < PAWL_RING_SLOTS; i++) {
        uint32_t slot = (first + i) % PAWL_RING_SLOTS;

        if (state->slots[slot] != NULL) {
            slot_free(state->slots[slot]);
            state->slots[slot] = NULL;
            return true;
        }
    }
    return false;
}
