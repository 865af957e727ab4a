#include "core/slots.h"

#include "core/octets.h"

#include <string.h>

#define NS_PER_MS   UINT64_C(1000000)
#define ENTRY_BYTES 14 /* handle, low 32 bits of the time in ms, slots */

/* As in window.c: an event before boot has to have a time too. */
#define SCALE_MS (UINT64_C(1) << 32)

struct entry {
    uint64_t handle;
    uint64_t time_ms;
    unsigned slots;
};

static uint64_t floor_ms(uint64_t ns)
{
    return ns / NS_PER_MS + SCALE_MS;
}

static uint64_t ceil_ms(uint64_t ns)
{
    return ns / NS_PER_MS + (ns % NS_PER_MS != 0 ? 1 : 0) + SCALE_MS;
}

/* No entry is later than this: 32 bits of its time below it give the time back. */
static uint64_t horizon_of(const struct pawl_window *w)
{
    return floor_ms(w->seen_ns) + 1;
}

static unsigned room_of(const struct pawl_window *w)
{
    unsigned entries = (w->units * 8U - PAWL_WINDOW_HEAD_BYTES) / ENTRY_BYTES;

    return entries < PAWL_SLOTS_MAX ? entries : PAWL_SLOTS_MAX;
}

static struct entry entry_get(const struct pawl_window *w, unsigned i, uint64_t horizon)
{
    const uint8_t *at = w->entries + (size_t)i * ENTRY_BYTES;
    struct entry entry;
    uint32_t low;
    uint16_t slots;

    memcpy(&entry.handle, at, 8);
    memcpy(&low, at + 8, 4);
    memcpy(&slots, at + 12, 2);
    entry.time_ms = horizon - (uint32_t)((uint32_t)horizon - low);
    entry.slots = slots;
    return entry;
}

static void entry_put(struct pawl_window *w, unsigned i, const struct entry *entry)
{
    uint8_t *at = w->entries + (size_t)i * ENTRY_BYTES;
    uint32_t low = (uint32_t)entry->time_ms;
    uint16_t slots = (uint16_t)entry->slots;

    memcpy(at, &entry->handle, 8);
    memcpy(at + 8, &low, 4);
    memcpy(at + 12, &slots, 2);
}

static void entries_drop(struct pawl_window *w, unsigned from, unsigned count)
{
    memmove(w->entries + (size_t)from * ENTRY_BYTES,
            w->entries + (size_t)(from + count) * ENTRY_BYTES,
            (size_t)(w->length - from - count) * ENTRY_BYTES);
    w->length = (uint16_t)(w->length - count);
}

void pawl_slots_clear(struct pawl_window *record)
{
    record->kind = PAWL_RECORD_BYTE_SLOTS;
    record->flags &= (uint8_t)~PAWL_RECORD_WIDE;
    record->head = 0;
    record->length = 0;
    record->total = 0;
    record->spare = 0;
}

size_t pawl_slots_size(unsigned entries)
{
    size_t size = (PAWL_WINDOW_HEAD_BYTES + (size_t)entries * ENTRY_BYTES + 7) & ~(size_t)7;

    return size > PAWL_WINDOW_BYTES_MIN ? size : PAWL_WINDOW_BYTES_MIN;
}

void pawl_slots_advance(struct pawl_window *record, uint32_t window_ms, struct pawl_instant now)
{
    uint64_t horizon = horizon_of(record);
    unsigned gone = 0;

    if (now.ns > record->seen_ns) {
        record->seen_ns = now.ns;
    }
    record->window_ms = window_ms;
    for (; gone < record->length; gone++) {
        struct entry entry = entry_get(record, gone, horizon);

        if (entry.time_ms + window_ms > floor_ms(record->seen_ns)) {
            break;
        }
        record->total -= entry.slots;
    }
    if (gone > 0) {
        entries_drop(record, 0, gone);
    }
}

bool pawl_slots_is_spent(const struct pawl_window *record, struct pawl_instant now)
{
    uint64_t now_ns = now.ns > record->seen_ns ? now.ns : record->seen_ns;

    if (record->length == 0) {
        return true;
    }
    struct entry newest = entry_get(record, record->length - 1U, horizon_of(record));

    return newest.time_ms + record->window_ms <= floor_ms(now_ns);
}

static uint64_t slots_of(const struct pawl_rate *rate)
{
    return rate->count < PAWL_SLOTS_MAX ? rate->count : PAWL_SLOTS_MAX;
}

uint64_t pawl_slots_room(const struct pawl_window *record, const struct pawl_rate *rate)
{
    uint64_t taken = record != NULL ? record->total : 0;

    return taken < slots_of(rate) ? slots_of(rate) - taken : 0;
}

/* Until so many of the oldest have expired that @cost fits. */
static uint64_t retry_after(const struct pawl_window *w, const struct pawl_rate *rate,
                            uint64_t cost)
{
    uint64_t horizon = horizon_of(w);
    uint64_t taken = w->total;

    for (unsigned i = 0; i < w->length; i++) {
        struct entry entry = entry_get(w, i, horizon);

        taken -= entry.slots;
        if (taken + cost <= slots_of(rate)) {
            return entry.time_ms + rate->window_ms - (horizon - 1);
        }
    }
    return 0;
}

void pawl_slots_ask(const struct pawl_window *record, const struct pawl_rate *rate, uint64_t cost,
                    struct pawl_window_answer *answer)
{
    memset(answer, 0, sizeof(*answer));
    answer->remaining = pawl_slots_room(record, rate);
    answer->never = cost > slots_of(rate);
    answer->allowed = cost <= answer->remaining;
    if (record == NULL || record->length == 0) {
        return;
    }
    uint64_t horizon = horizon_of(record);
    uint64_t now_ms = horizon - 1;
    uint64_t oldest_ms = entry_get(record, 0, horizon).time_ms;

    answer->count = record->total;
    answer->oldest_age_ms = oldest_ms < now_ms ? now_ms - oldest_ms : 0;
    answer->reset_after_ms =
        entry_get(record, record->length - 1U, horizon).time_ms + rate->window_ms - now_ms;
    if (!answer->allowed && !answer->never) {
        answer->retry_after_ms = retry_after(record, rate, cost);
    }
}

size_t pawl_slots_wants(const struct pawl_window *record)
{
    unsigned entries = record->length + 1U;

    if (entries <= room_of(record) || entries > PAWL_SLOTS_MAX) {
        return 0;
    }
    entries += record->length / 2U;
    return pawl_slots_size(entries < PAWL_SLOTS_MAX ? entries : PAWL_SLOTS_MAX);
}

bool pawl_slots_charge(struct pawl_window *record, uint64_t handle, uint64_t cost)
{
    struct entry entry = { handle, ceil_ms(record->seen_ns), (unsigned)cost };
    bool named = record->length < room_of(record);

    if (!named) { /* there is room for one entry at least */
        entry.handle = 0;
        entry.slots += entry_get(record, record->length - 1U, horizon_of(record)).slots;
        record->length--;
    }
    entry_put(record, record->length, &entry);
    record->length++;
    record->total += cost;
    return named;
}

/* Release up to @cost of entry @i; one that is empty goes. */
static uint64_t lower(struct pawl_window *w, unsigned i, struct entry *entry, uint64_t cost)
{
    unsigned taken = cost < entry->slots ? (unsigned)cost : entry->slots;

    entry->slots -= taken;
    w->total -= taken;
    if (entry->slots == 0) {
        entries_drop(w, i, 1);
    } else {
        entry_put(w, i, entry);
    }
    return taken;
}

uint64_t pawl_slots_release(struct pawl_window *record, uint64_t handle, uint64_t cost)
{
    uint64_t horizon = horizon_of(record);
    uint64_t taken = 0;
    struct entry entry;

    while (handle == 0 && taken < cost && record->length > 0) {
        entry = entry_get(record, 0, horizon);
        taken += lower(record, 0, &entry, cost - taken);
    }
    for (unsigned i = 0; handle != 0 && i < record->length; i++) {
        entry = entry_get(record, i, horizon);
        if (entry.handle == handle) {
            return lower(record, i, &entry, cost);
        }
    }
    return taken;
}

void pawl_slots_move(struct pawl_window *to, size_t bytes, const struct pawl_window *from)
{
    memcpy(to, from, PAWL_WINDOW_HEAD_BYTES + (size_t)from->length * ENTRY_BYTES);
    to->units = (uint16_t)(bytes / 8 < UINT16_MAX ? bytes / 8 : UINT16_MAX);
}

/* ---- serialized ---- */

size_t pawl_slots_save(const struct pawl_window *record, struct pawl_instant now, uint8_t *out)
{
    uint64_t now_ms = floor_ms(now.ns > record->seen_ns ? now.ns : record->seen_ns);
    uint64_t horizon = horizon_of(record);
    size_t size = 0;

    for (unsigned i = 0; i < record->length; i++) {
        struct entry entry = entry_get(record, i, horizon);

        if (entry.time_ms + record->window_ms > now_ms) {
            pawl_put_le(out + size, entry.time_ms < now_ms ? now_ms - entry.time_ms : 0, 4);
            pawl_put_le(out + size + 4, entry.slots, 2);
            pawl_put_le(out + size + 6, entry.handle, 8);
            size += PAWL_SLOTS_SAVED_BYTES;
        }
    }
    return size;
}

bool pawl_slots_check(const uint8_t *saved, size_t size, unsigned entries, uint32_t window_ms)
{
    uint64_t age_before = window_ms - 1U;

    if (entries > PAWL_SLOTS_MAX || size != (size_t)entries * PAWL_SLOTS_SAVED_BYTES) {
        return false;
    }
    for (unsigned i = 0; i < entries; i++, saved += PAWL_SLOTS_SAVED_BYTES) {
        uint64_t age_ms = pawl_get_le(saved, 4);
        uint64_t slots = pawl_get_le(saved + 4, 2);

        if (age_ms > age_before || slots == 0 || slots > PAWL_SLOTS_MAX) {
            return false;
        }
        age_before = age_ms;
    }
    return true;
}

void pawl_slots_load(struct pawl_window *record, const uint8_t *saved, unsigned entries,
                     uint64_t elapsed_ms, struct pawl_instant now)
{
    uint64_t now_ms = floor_ms(now.ns);
    uint64_t saved_ms = ceil_ms(now.ns) - elapsed_ms;

    pawl_slots_clear(record);
    for (unsigned i = 0; i < entries && elapsed_ms < record->window_ms; i++) {
        struct entry entry = { pawl_get_le(saved + 6, 8), saved_ms - pawl_get_le(saved, 4),
                               (unsigned)pawl_get_le(saved + 4, 2) };

        if (entry.time_ms + record->window_ms > now_ms) {
            entry_put(record, record->length, &entry);
            record->length++;
            record->total += entry.slots;
        }
        saved += PAWL_SLOTS_SAVED_BYTES;
    }
}
