/*
 * What others wrote comes in: one READ at a time over all streams, from each one's cursor.
 *
 * Our own stream is read too, once a second, to see that what lies there is what we wrote.
 */
#include "core/cluster/log_inside.h"
#include "core/octets.h"

#include <string.h>

#define VERIFY_MS      1000
#define RETRY_MS       200
#define RETRY_FAIL_MS  1000
#define READ_MARGIN_MS 1000
#define GAP_MAX        (UINT64_C(1) << 20) /* positions that are kept as missing */

/* An entry that was opened. */
struct opened {
    unsigned kind;
    bool confirm;
    uint64_t from;            /* VOID; of others their own position */
    struct pawl_bytes body;   /* FACT: serialized */
    struct pawl_fact fact;    /* FACT */
    struct pawl_fact_id note; /* APPLIED: origin and position */
};

/* ---- asking --------------------------------------------------------------------------------- */

static bool is_to_be_read(const struct pawl_log_inside *in, const struct pawl_log_origin *origin,
                          uint64_t now_ms)
{
    if (origin == in->own) {
        return now_ms >= in->verify_ms && origin->cursor < origin->won;
    }
    return origin->member || origin->cursor < origin->top;
}

void pawl_log_read(struct pawl_log_inside *in, uint64_t now_ms)
{
    uint32_t count = 0;

    if (!in->topped || in->read_out || in->overflow || now_ms < in->read_after_ms) {
        return;
    }
    for (uint32_t i = 0; i < in->origins_end; i++) {
        struct pawl_log_origin *origin = in->origins[i];

        if (origin != NULL && is_to_be_read(in, origin, now_ms)) {
            origin->asked = origin->cursor;
            in->cursors[count++] = (struct pawl_log_cursor){ origin->id, origin->cursor };
            in->verify_ms = origin == in->own ? now_ms + VERIFY_MS : in->verify_ms;
        }
    }
    if (count == 0) {
        return;
    }
    struct pawl_engine_command command = {
        .verb = PAWL_ENGINE_READ,
        .part = PAWL_PART_LOG,
        .tag = pawl_log_tag(in, PAWL_LOG_TAG_READ, 0),
        .deadline_ms = PAWL_LOG_READ_BLOCK_MS + READ_MARGIN_MS,
        .read = { in->cursors, count, PAWL_LOG_READ_MAX, PAWL_LOG_READ_BLOCK_MS },
    };

    in->read_out = true;
    pawl_engine_emit(&in->options.out, &command);
}

/* ---- opening -------------------------------------------------------------------------------- */

static bool unseal(const struct pawl_log_inside *in, const struct pawl_log_entry *entry,
                   struct pawl_bytes *value)
{
    uint8_t place[PAWL_LOG_PLACE_BYTES];

    pawl_log_place(place, &entry->origin, entry->position);
    return pawl_unseal_any(in->keys, in->options.keys_count, PAWL_SEAL_LOG,
                           pawl_bytes_of(place, sizeof(place)), entry->bytes, value);
}

static bool open_body(struct opened *out, uint64_t position)
{
    switch (out->kind) {
    case PAWL_LOG_KIND_FACT:
        return pawl_fact_decode(&out->fact, out->body) == PAWL_OK;
    case PAWL_LOG_KIND_APPLIED:
        if (out->body.size != PAWL_LOG_NOTE_BYTES) {
            return false;
        }
        out->note = pawl_fact_id_read(out->body.data);
        return true;
    case PAWL_LOG_KIND_VOID:
        if (out->body.size != 8) {
            return false;
        }
        out->from = pawl_get_le(out->body.data, 8);
        return out->from >= 1 && out->from <= position;
    default:
        return false;
    }
}

/* What is not to be opened counts as void: it takes its position, and nothing else. */
static void open_entry(struct pawl_log_inside *in, const struct pawl_log_entry *entry,
                       struct opened *out)
{
    struct pawl_bytes value;

    *out = (struct opened){ .from = entry->position };
    if (unseal(in, entry, &value) && value.size > 0) {
        out->kind = value.data[0] & ~(unsigned)PAWL_LOG_KIND_CONFIRM;
        out->confirm = (value.data[0] & PAWL_LOG_KIND_CONFIRM) != 0;
        out->body = pawl_bytes_of(value.data + 1, value.size - 1);
        if (open_body(out, entry->position)) {
            return;
        }
    }
    in->log->stats.forged++;
    *out = (struct opened){ .kind = PAWL_LOG_KIND_VOID, .from = entry->position };
}

/* ---- taking --------------------------------------------------------------------------------- */

/* The engine has nothing at positions of which we hold facts: they have to go elsewhere. */
static void let_go(struct pawl_log_inside *in, struct pawl_log_origin *origin, uint64_t from,
                   uint64_t to)
{
    uint64_t lowest = origin->first > origin->lo ? origin->first : origin->lo;
    uint64_t end = to < origin->hi ? to : origin->hi;

    for (uint64_t q = from > lowest ? from : lowest; q <= end; q++) {
        if (pawl_log_slot(in, origin, q) >= PAWL_LOG_FIRST) {
            uint32_t handle = *pawl_log_slot_at(origin, q) & PAWL_LOG_HANDLE;

            if (origin == in->own) { /* nobody else will say it again: at once */
                pawl_log_fact_at(&in->facts, handle)->flags |= PAWL_LOG_JOURNAL;
            }
            pawl_log_slot_set(in, origin, q, PAWL_LOG_VOID);
            in->log->stats.vanished++;
        }
    }
}

/* Make slots up to @position; what lies between our end and @reach is a hole, unless trimmed. */
static enum pawl_status reach_out(struct pawl_log_inside *in, struct pawl_log_origin *origin,
                                  uint64_t reach, uint64_t position)
{
    enum pawl_status status = PAWL_OK;

    if (position <= origin->hi) {
        return PAWL_OK;
    }
    if (reach > origin->hi + 1) {
        uint64_t gap = reach - origin->hi - 1;
        bool trimmed = origin->first >= reach;

        if (trimmed || gap > GAP_MAX) {
            in->log->stats.holes_given_up += trimmed ? 0 : gap;
            pawl_log_slots_drop(in, origin, reach);
        } else {
            status = pawl_log_slots_extend(in, origin, reach - 1, PAWL_LOG_EMPTY);
        }
    }
    if (status == PAWL_OK && position - origin->hi > GAP_MAX) {
        pawl_log_slots_drop(in, origin, position);
    }
    return status != PAWL_OK ? status : pawl_log_slots_extend(in, origin, position, PAWL_LOG_VOID);
}

/* The handle of an entry's fact, taken in where it is new; 0 with PAWL_OK: it has expired. */
static enum pawl_status take_fact(struct pawl_log_inside *in, const struct opened *entry,
                                  uint64_t now_ms, uint32_t *handle)
{
    *handle = pawl_log_facts_find(in, &entry->fact.id);
    if (*handle != 0) {
        const struct pawl_log_fact *held = pawl_log_fact_at(&in->facts, *handle);

        if (held->size != entry->body.size ||
            memcmp(held->bytes, entry->body.data, entry->body.size) != 0) {
            in->log->stats.conflicts++;
        }
        return PAWL_OK;
    }
    if (entry->fact.until_s < in->slow_s) {
        return PAWL_OK;
    }
    if (!pawl_log_facts_room(in, entry->body.size, 2)) {
        return PAWL_EFULL;
    }
    return pawl_log_facts_insert(in, &entry->fact, entry->body, PAWL_LOG_SOURCE_STREAM, now_ms,
                                 handle, NULL);
}

static void place_fact(struct pawl_log_inside *in, struct pawl_log_origin *origin,
                       uint64_t position, uint32_t handle, bool confirm)
{
    uint32_t there = pawl_log_slot(in, origin, position);

    if (there == handle || position < origin->lo) {
        return;
    }
    if (there >= PAWL_LOG_FIRST) {
        in->log->stats.conflicts++;
    } else if (there == PAWL_LOG_VOID && pawl_log_fact_at(&in->facts, handle)->refs > 0 &&
               position <= origin->seen_hi) {
        return; /* it was moved from here */
    }
    pawl_log_slot_set(in, origin, position, handle | (confirm ? PAWL_LOG_CONFIRM : 0));
}

static void take_note(struct pawl_log_inside *in, struct pawl_log_origin *from,
                      const struct pawl_fact_id *note)
{
    struct pawl_log_progress progress = { .kind = PAWL_LOG_CONFIRMED,
                                          .position = note->sequence,
                                          .member = pawl_member_of(from->id) };

    if (memcmp(&note->origin, &in->own->id, sizeof(note->origin)) != 0 ||
        note->sequence <= from->confirmed || note->sequence > in->own->hi) {
        return;
    }
    from->confirmed = note->sequence;
    if (in->options.events.on_progress != NULL) {
        in->options.events.on_progress(in->options.events.self, &progress);
    }
}

/* Void entries clear what they reach back to; facts and notes take their position. */
static void place_entry(struct pawl_log_inside *in, struct pawl_log_origin *origin,
                        uint64_t position, const struct opened *entry, uint32_t handle)
{
    if (handle != 0) {
        place_fact(in, origin, position, handle, entry->confirm);
    } else {
        let_go(in, origin, entry->from, position);
        for (uint64_t q = entry->from > origin->lo ? entry->from : origin->lo;
             q <= position && origin->empty > 0; q++) {
            if (*pawl_log_slot_at(origin, q) == PAWL_LOG_EMPTY) {
                pawl_log_slot_set(in, origin, q, PAWL_LOG_VOID);
            }
        }
    }
    if (entry->kind == PAWL_LOG_KIND_APPLIED) {
        take_note(in, origin, &entry->note);
    }
    if (entry->confirm && origin != in->own && position > origin->confirm_to) {
        origin->confirm_to = position;
        in->confirming = true;
    }
}

static void advance(struct pawl_log_inside *in, struct pawl_log_origin *origin, uint64_t position,
                    bool late)
{
    if (late) {
        return;
    }
    if (origin->cursor == origin->asked && position > origin->cursor) {
        origin->cursor = position; /* else it was set back meanwhile */
    }
    origin->asked = position > origin->asked ? position : origin->asked;
    if (origin != in->own && position > origin->won) {
        pawl_log_set_won(in, origin, position);
        origin->sent = position > origin->sent ? position : origin->sent;
    }
}

/* PAWL_OK, or why it could not be taken: no room. */
static enum pawl_status take(struct pawl_log_inside *in, struct pawl_log_origin *origin,
                             const struct pawl_log_entry *item, bool late, uint64_t now_ms)
{
    struct opened entry;
    uint32_t handle = 0;
    enum pawl_status status = PAWL_OK;

    open_entry(in, item, &entry);
    if (entry.kind == PAWL_LOG_KIND_FACT) {
        status = take_fact(in, &entry, now_ms, &handle);
    }
    if (status == PAWL_OK) {
        status = reach_out(in, origin, entry.from, item->position);
    }
    if (status != PAWL_OK) {
        return status;
    }
    if (!late && entry.from > origin->asked + 1) {
        let_go(in, origin, origin->asked + 1, entry.from - 1);
    }
    if (item->position > origin->seen_hi) {
        origin->quiet_ms = now_ms;
    }
    place_entry(in, origin, item->position, &entry, handle);
    advance(in, origin, item->position, late);
    return PAWL_OK;
}

static void take_all(struct pawl_log_inside *in, const struct pawl_engine_reply *reply, bool late,
                     uint64_t now_ms)
{
    struct pawl_log_origin *origin = NULL;
    struct pawl_log_origin *refused = NULL;

    for (uint32_t i = 0; i < reply->read.count; i++) {
        const struct pawl_log_entry *entry = &reply->read.entries[i];

        if (origin == NULL || memcmp(&origin->id, &entry->origin, sizeof(entry->origin)) != 0) {
            origin = pawl_log_origin_find(in, &entry->origin);
        }
        if (origin == NULL || origin == refused || entry->position == 0 ||
            entry->position >> 53 != 0) {
            continue;
        }
        in->log->stats.read_entries++;
        if (take(in, origin, entry, late, now_ms) != PAWL_OK) {
            refused = origin;
            in->overflow = true;
            in->log->stats.overflow++;
        }
    }
    if (reply->read.count >= PAWL_LOG_READ_MAX) {
        in->verify_ms = 0; /* there may be more of our own */
    }
}

void pawl_log_on_read(struct pawl_log_inside *in, const struct pawl_engine_reply *reply, bool late,
                      uint64_t now_ms)
{
    in->read_out = late && in->read_out;
    if (reply->result == PAWL_ENGINE_WON) {
        take_all(in, reply, late, now_ms);
    } else {
        in->read_after_ms =
            now_ms + (reply->result == PAWL_ENGINE_FAILED ? RETRY_FAIL_MS : RETRY_MS);
        in->log->stats.failed += reply->result == PAWL_ENGINE_FAILED;
        in->log->stats.unknown += reply->result == PAWL_ENGINE_UNKNOWN;
    }
    pawl_log_check_goal(in);
    pawl_log_confirm(in);
    pawl_log_pump(in, now_ms);
    pawl_log_read(in, now_ms);
}

/* ---- confirming ----------------------------------------------------------------------------- */

/* One note for a stream at a time: one that was never sent yet is written over. */
static bool write_note(struct pawl_log_inside *in, struct pawl_log_origin *origin)
{
    uint8_t body[PAWL_LOG_NOTE_BYTES];
    uint64_t at = origin->note_at;
    uint32_t handle = at > in->own_sent_max ? pawl_log_slot(in, in->own, at) : PAWL_LOG_VOID;

    pawl_log_place(body, &origin->id, origin->confirm_to);
    if (handle >= PAWL_LOG_FIRST &&
        (pawl_log_fact_at(&in->facts, handle)->flags & PAWL_LOG_NOTE) != 0) {
        memcpy(pawl_log_fact_at(&in->facts, handle)->bytes, body, sizeof(body));
        return true;
    }
    handle = pawl_log_facts_note(in, pawl_bytes_of(body, sizeof(body)));
    if (handle == 0) {
        return false;
    }
    if (pawl_log_own_append(in, handle, false, &origin->note_at) != PAWL_OK) {
        pawl_log_facts_forget(in, handle);
        return false;
    }
    in->log->stats.applied_sent++;
    return true;
}

void pawl_log_confirm(struct pawl_log_inside *in)
{
    if (!in->confirming || in->synced_ms == 0) {
        return; /* a node that has just come says so once, when it has all */
    }
    in->confirming = false;
    for (uint32_t i = 0; i < in->origins_end; i++) {
        struct pawl_log_origin *origin = in->origins[i];

        if (origin == NULL || !origin->member || origin->confirm_to <= origin->confirm_sent) {
            continue;
        }
        if (pawl_log_applied(origin) >= origin->confirm_to && write_note(in, origin)) {
            origin->confirm_sent = origin->confirm_to;
        } else {
            in->confirming = true;
        }
    }
}
