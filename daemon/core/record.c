#include "core/record.h"

#include "core/octets.h"

#include <string.h>

static enum pawl_record_kind kind_of(const struct pawl_window *record)
{
    return (enum pawl_record_kind)(record->kind >> 4);
}

bool pawl_record_is_spent_other(const struct pawl_window *record, struct pawl_instant now,
                                struct pawl_wall wall)
{
    switch (kind_of(record)) {
    case PAWL_RECORD_GCRA:
        return pawl_gcra_is_spent(record, now);
    case PAWL_RECORD_CALENDAR:
        return pawl_quota_is_spent(record, now, wall);
    case PAWL_RECORD_CONCURRENCY:
        return pawl_slots_is_spent(record, now);
    default:
        return pawl_window_is_spent(record, now);
    }
}

void pawl_record_clear(struct pawl_window *record)
{
    pawl_window_clear(record);
    record->kind = PAWL_RECORD_BYTE_SLIDING;
    record->spare = 0;
}

/* Empty, and of the kind of @terms. */
static void become(struct pawl_window *record, const struct pawl_terms *terms)
{
    record->window_ms = terms->rate.window_ms;
    switch (terms->kind) {
    case PAWL_RECORD_GCRA:
        pawl_gcra_clear(record);
        return;
    case PAWL_RECORD_CALENDAR:
        pawl_quota_clear(record);
        return;
    case PAWL_RECORD_CONCURRENCY:
        pawl_slots_clear(record);
        return;
    default:
        pawl_record_clear(record);
    }
}

static void advance(struct pawl_window *record, const struct pawl_terms *terms,
                    struct pawl_instant now)
{
    switch (terms->kind) {
    case PAWL_RECORD_GCRA:
        pawl_gcra_advance(record, &terms->rate, now);
        return;
    case PAWL_RECORD_CALENDAR:
        pawl_quota_advance(record, &terms->time, now);
        return;
    case PAWL_RECORD_CONCURRENCY:
        pawl_slots_advance(record, terms->rate.window_ms, now);
        return;
    default:
        pawl_window_advance(record, terms->rate.window_ms, now);
    }
}

/* All that the rate allows is charged: nobody can say how much of it the other kind stood for. */
static void use_up(struct pawl_window *record, const struct pawl_terms *terms)
{
    uint64_t room = pawl_record_room(record, terms);

    if (room == 0) {
        return;
    }
    switch (terms->kind) {
    case PAWL_RECORD_GCRA:
        (void)pawl_gcra_charge(record, room);
        return;
    case PAWL_RECORD_CALENDAR:
        (void)pawl_quota_charge(record, room);
        return;
    case PAWL_RECORD_CONCURRENCY:
        (void)pawl_slots_charge(record, 0, room);
        return;
    default:
        (void)pawl_window_charge(record, PAWL_PRECISION_MIN, room);
    }
}

bool pawl_record_touch(struct pawl_window *record, const struct pawl_terms *terms,
                       struct pawl_instant now, struct pawl_wall wall)
{
    bool changed = false;
    bool spent = true;

    if (PAWL_UNLIKELY(record->kind != pawl_record_byte(terms->kind))) {
        spent = record->length == 0 || pawl_record_is_spent(record, now, wall);
        become(record, terms);
        changed = true;
    } else if (record->window_ms != terms->rate.window_ms && record->length > 0) {
        changed = true;
    }
    advance(record, terms, now);
    if (!spent) {
        use_up(record, terms);
    }
    return changed;
}

uint64_t pawl_record_limit(const struct pawl_terms *terms)
{
    return terms->kind == PAWL_RECORD_GCRA ? pawl_gcra_capacity(&terms->rate, terms->burst)
                                           : terms->rate.count;
}

uint64_t pawl_record_room(const struct pawl_window *record, const struct pawl_terms *terms)
{
    struct pawl_window_answer answer;

    switch (terms->kind) {
    case PAWL_RECORD_GCRA:
        return pawl_gcra_room(record, &terms->rate, terms->burst);
    case PAWL_RECORD_CALENDAR:
        return pawl_quota_room(record, &terms->rate);
    case PAWL_RECORD_CONCURRENCY:
        return pawl_slots_room(record, &terms->rate);
    default:
        pawl_record_ask(record, terms, 0, &answer);
        return answer.remaining;
    }
}

void pawl_record_ask(const struct pawl_window *record, const struct pawl_terms *terms,
                     uint64_t cost, struct pawl_window_answer *answer)
{
    switch (terms->kind) {
    case PAWL_RECORD_GCRA:
        pawl_gcra_ask(record, &terms->rate, terms->burst, cost, answer);
        return;
    case PAWL_RECORD_CALENDAR:
        pawl_quota_ask(record, &terms->rate, &terms->time, cost, answer);
        return;
    case PAWL_RECORD_CONCURRENCY:
        pawl_slots_ask(record, &terms->rate, cost, answer);
        return;
    default:
        if (record == NULL) {
            (void)pawl_window_ask_empty(&terms->rate, cost, answer);
        } else {
            (void)pawl_window_ask(record, &terms->rate, cost, answer);
        }
    }
}

void pawl_record_move(struct pawl_window *to, size_t bytes, const struct pawl_window *from,
                      bool wide)
{
    switch (kind_of(from)) {
    case PAWL_RECORD_GCRA:
    case PAWL_RECORD_CALENDAR:
        memcpy(to, from, PAWL_WINDOW_BYTES_MIN);
        to->units = (uint16_t)(bytes / 8 < UINT16_MAX ? bytes / 8 : UINT16_MAX);
        return;
    case PAWL_RECORD_CONCURRENCY:
        pawl_slots_move(to, bytes, from);
        return;
    default:
        pawl_window_move(to, bytes, from, wide);
    }
}

/* ---- serialized ---- */

#define SAVED_WIDE 1
#define SAVED_CELL 2

static void put_head(uint8_t *out, const struct pawl_window *record, unsigned entries,
                     uint32_t window_ms)
{
    pawl_put_le(out, record->kind, 1);
    pawl_put_le(out + 1, (record->flags & PAWL_RECORD_CELL) != 0 ? SAVED_CELL : 0, 1);
    pawl_put_le(out + 2, entries, 2);
    pawl_put_le(out + 4, window_ms, 4);
    pawl_put_le(out + 8, record->id.lo, 8);
    pawl_put_le(out + 16, record->id.hi, 8);
}

size_t pawl_record_save(const struct pawl_window *record, struct pawl_instant now, uint8_t *out)
{
    uint8_t *body = out + PAWL_RECORD_HEAD_BYTES;
    uint32_t window_ms = record->window_ms;
    size_t size;
    size_t entries;

    switch (kind_of(record)) {
    case PAWL_RECORD_GCRA:
        size = pawl_gcra_save(record, now, body);
        entries = size > 0 ? 1 : 0;
        break;
    case PAWL_RECORD_CALENDAR:
        size = pawl_quota_save(record, now, body);
        entries = size > 0 ? 1 : 0;
        window_ms = size > 0 ? pawl_quota_saved_window_ms(body) : 1;
        break;
    case PAWL_RECORD_CONCURRENCY:
        size = pawl_slots_save(record, now, body);
        entries = size / PAWL_SLOTS_SAVED_BYTES;
        break;
    default:
        return pawl_window_save(record, now, out);
    }
    put_head(out, record, (unsigned)entries, window_ms != 0 ? window_ms : 1);
    return PAWL_RECORD_HEAD_BYTES + size;
}

static bool body_is_sound(struct pawl_bytes bytes, const struct pawl_record_head *head)
{
    const uint8_t *body = bytes.data + PAWL_RECORD_HEAD_BYTES;
    size_t size = bytes.size - PAWL_RECORD_HEAD_BYTES;

    if (head->kind == PAWL_RECORD_SLIDING) {
        return pawl_window_check(body, size, head);
    }
    if (head->wide) {
        return false;
    }
    if (head->entries == 0) {
        return size == 0;
    }
    switch (head->kind) {
    case PAWL_RECORD_GCRA:
        return head->entries == 1 && pawl_gcra_check(body, size, head->window_ms);
    case PAWL_RECORD_CALENDAR:
        return head->entries == 1 && pawl_quota_check(body, size);
    default:
        return pawl_slots_check(body, size, head->entries, head->window_ms);
    }
}

enum pawl_status pawl_record_check(struct pawl_bytes bytes, struct pawl_record_head *head)
{
    const uint8_t *in = bytes.data;

    if (bytes.size < PAWL_RECORD_HEAD_BYTES || bytes.size > PAWL_RECORD_BYTES_MAX) {
        return PAWL_ECORRUPT;
    }
    head->kind = in[0] >> 4;
    head->known = head->kind <= PAWL_RECORD_CONCURRENCY;
    head->wide = (in[1] & SAVED_WIDE) != 0;
    head->cell = (in[1] & SAVED_CELL) != 0;
    head->entries = (uint16_t)pawl_get_le(in + 2, 2);
    head->window_ms = (uint32_t)pawl_get_le(in + 4, 4);
    head->id.lo = pawl_get_le(in + 8, 8);
    head->id.hi = pawl_get_le(in + 16, 8);
    if (head->kind == PAWL_RECORD_NONE || head->window_ms == 0 ||
        head->window_ms > PAWL_WINDOW_MS_MAX || head->entries > PAWL_PRECISION_MAX) {
        return PAWL_ECORRUPT;
    }
    if (!head->known) {
        return PAWL_OK;
    }
    if ((in[0] & 15) != PAWL_RECORD_VERSION) {
        return PAWL_EVERSION;
    }
    if ((in[1] & ~(SAVED_WIDE | SAVED_CELL)) != 0) {
        return PAWL_ECORRUPT;
    }
    return body_is_sound(bytes, head) ? PAWL_OK : PAWL_ECORRUPT;
}

size_t pawl_record_size(const struct pawl_record_head *head)
{
    switch (head->kind) {
    case PAWL_RECORD_SLIDING:
        return pawl_window_size(head->entries, head->wide);
    case PAWL_RECORD_CONCURRENCY:
        return pawl_slots_size(head->entries);
    default:
        return PAWL_WINDOW_BYTES_MIN; /* one entry, wide where the kind is not known */
    }
}

void pawl_record_load(struct pawl_window *record, size_t bytes, struct pawl_bytes saved,
                      const struct pawl_record_head *head, uint64_t elapsed_ms,
                      struct pawl_instant now)
{
    const uint8_t *body = saved.data + PAWL_RECORD_HEAD_BYTES;

    if (!head->known || head->kind == PAWL_RECORD_SLIDING) {
        pawl_window_load(record, bytes, saved, head, elapsed_ms, now);
        return;
    }
    pawl_window_init(record, bytes, head->id, head->window_ms, now);
    if (head->cell) {
        record->flags |= PAWL_RECORD_CELL;
    }
    if (head->entries == 0) {
        return;
    }
    if (head->kind == PAWL_RECORD_GCRA) {
        pawl_gcra_load(record, body, elapsed_ms);
    } else if (head->kind == PAWL_RECORD_CALENDAR) {
        pawl_quota_load(record, body, elapsed_ms);
    } else {
        pawl_slots_load(record, body, head->entries, elapsed_ms, now);
    }
}
