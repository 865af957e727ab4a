#include "core/gcra.h"

#include "core/octets.h"

#include <string.h>

#define NS_PER_MS 1000000U
#define NS_PER_US 1000U
#define EVENT_MAX ((UINT64_C(1) << 48) - 1)
#define AHEAD_MAX ((UINT64_C(1) << 47) - 1)

__extension__ typedef unsigned __int128 wide;

static wide level_of(const struct pawl_window *w)
{
    wide level;

    memcpy(&level, w->entries, sizeof(level));
    return level;
}

static void level_set(struct pawl_window *w, wide level)
{
    memcpy(w->entries, &level, sizeof(level));
    w->length = level > 0 ? 1 : 0;
}

static uint64_t ahead_of(const struct pawl_window *w)
{
    return (uint64_t)w->head << 32 | w->spare;
}

static void ahead_set(struct pawl_window *w, uint64_t ahead_us)
{
    ahead_us = ahead_us < AHEAD_MAX ? ahead_us : AHEAD_MAX;
    w->head = (uint16_t)(ahead_us >> 32);
    w->spare = (uint32_t)ahead_us;
}

static uint64_t parts_of(uint32_t window_ms)
{
    return (uint64_t)window_ms * NS_PER_MS;
}

static wide div_up(wide value, wide by)
{
    return value / by + (value % by != 0 ? 1 : 0);
}

void pawl_gcra_clear(struct pawl_window *record)
{
    record->kind = PAWL_RECORD_BYTE_GCRA;
    record->flags &= (uint8_t)~PAWL_RECORD_WIDE;
    record->total = 0;
    ahead_set(record, 0);
    level_set(record, 0);
}

/* What @elapsed_ns at the record's own rate leave of @level; @idle_ns: how long it was empty. */
static wide flow(const struct pawl_window *w, wide level, uint64_t elapsed_ns, uint64_t *idle_ns)
{
    wide flowed = (wide)w->total * elapsed_ns;

    if (flowed < level) {
        *idle_ns = 0;
        return level - flowed;
    }
    *idle_ns = w->total > 0 ? elapsed_ns - (uint64_t)div_up(level, w->total) : 0;
    return 0;
}

/* A level in parts of one window, in those of another. */
static wide rescaled(wide level, uint32_t from_ms, uint32_t to_ms)
{
    uint64_t from = parts_of(from_ms);
    uint64_t to = parts_of(to_ms);

    return level / from * to + div_up(level % from * to, from);
}

static void rescale(struct pawl_window *w, uint32_t window_ms)
{
    wide level = level_of(w);

    if (w->window_ms > 0 && level > 0) {
        level_set(w, rescaled(level, w->window_ms, window_ms));
    }
    w->window_ms = window_ms;
}

void pawl_gcra_advance(struct pawl_window *record, const struct pawl_rate *rate,
                       struct pawl_instant now)
{
    uint64_t elapsed_ns = now.ns > record->seen_ns ? now.ns - record->seen_ns : 0;
    uint64_t idle_ns;

    if (rate->count == 0) {
        return; /* nothing flows and nothing is admitted: it stays as it is */
    }
    if (record->window_ms != rate->window_ms) {
        rescale(record, rate->window_ms);
    }
    record->total = rate->count;
    record->seen_ns += elapsed_ns;
    level_set(record, flow(record, level_of(record), elapsed_ns, &idle_ns));
    uint64_t ahead_us = ahead_of(record);
    uint64_t idle_us = idle_ns / NS_PER_US;

    ahead_set(record, ahead_us > idle_us ? ahead_us - idle_us : 0);
}

bool pawl_gcra_is_spent(const struct pawl_window *record, struct pawl_instant now)
{
    uint64_t elapsed_ns = now.ns > record->seen_ns ? now.ns - record->seen_ns : 0;
    uint64_t idle_ns;

    return flow(record, level_of(record), elapsed_ns, &idle_ns) == 0 &&
           (record->total == 0 || idle_ns / NS_PER_US >= ahead_of(record));
}

uint64_t pawl_gcra_room(const struct pawl_window *record, const struct pawl_rate *rate,
                        uint64_t burst)
{
    uint64_t capacity = pawl_gcra_capacity(rate, burst);
    wide level = record != NULL && rate->count > 0 ? level_of(record) : 0;
    wide full = (wide)capacity * parts_of(rate->window_ms);

    return level < full ? (uint64_t)((full - level) / parts_of(rate->window_ms)) : 0;
}

static uint64_t wait_ms(wide parts, uint64_t count)
{
    wide ms = div_up(div_up(parts, count), NS_PER_MS);

    return ms < PAWL_WAIT_MS_MAX ? (uint64_t)ms : PAWL_WAIT_MS_MAX;
}

void pawl_gcra_ask(const struct pawl_window *record, const struct pawl_rate *rate, uint64_t burst,
                   uint64_t cost, struct pawl_window_answer *answer)
{
    uint64_t capacity = pawl_gcra_capacity(rate, burst);
    uint64_t parts = parts_of(rate->window_ms);
    wide level = record != NULL && rate->count > 0 ? level_of(record) : 0;
    wide wanted = level + (wide)cost * parts;

    memset(answer, 0, sizeof(*answer));
    answer->count = (uint64_t)div_up(level, parts);
    answer->remaining = answer->count < capacity ? capacity - answer->count : 0;
    answer->never = cost > capacity;
    answer->allowed = wanted <= (wide)capacity * parts;
    if (level > 0) {
        answer->reset_after_ms = wait_ms(level, rate->count);
    }
    if (!answer->allowed && !answer->never) {
        answer->retry_after_ms = wait_ms(wanted - (wide)capacity * parts, rate->count);
    }
}

/* When, in time for handles, the last part of all there is now will have flowed; plus 1. */
static uint64_t end_of_queue(const struct pawl_window *w)
{
    wide end_us = (w->seen_ns + level_of(w) / w->total) / NS_PER_US + ahead_of(w) + 1;

    return end_us < EVENT_MAX ? (uint64_t)end_us : EVENT_MAX;
}

uint64_t pawl_gcra_charge(struct pawl_window *record, uint64_t cost)
{
    level_set(record, level_of(record) + (wide)cost * parts_of(record->window_ms));
    return end_of_queue(record);
}

/* What of the charge that ends at @event has not flowed. */
static wide pending(const struct pawl_window *w, uint64_t event)
{
    wide now_ns = (wide)w->seen_ns + (wide)ahead_of(w) * NS_PER_US;
    wide end_ns = (wide)(event - 1) * NS_PER_US;

    return end_ns > now_ns ? (end_ns - now_ns) * w->total : 0;
}

uint64_t pawl_gcra_refund(struct pawl_window *record, uint64_t event, uint64_t cost)
{
    uint64_t parts = parts_of(record->window_ms);
    wide level = level_of(record);
    wide lowered = (wide)cost * parts;
    bool newest = event == 0;

    if (level == 0 || record->total == 0 || event >= EVENT_MAX) {
        return 0;
    }
    if (event == end_of_queue(record)) {
        newest = parts / record->total >= NS_PER_US; /* no two charges end in one us */
    }
    if (!newest && lowered > pending(record, event)) {
        lowered = pending(record, event);
    }
    if (lowered > level) {
        lowered = level;
    }
    level_set(record, level - lowered);
    if (!newest) {
        wide moved_us = div_up(lowered, (wide)record->total * NS_PER_US);

        ahead_set(record,
                  ahead_of(record) + (moved_us < AHEAD_MAX ? (uint64_t)moved_us : AHEAD_MAX));
    }
    return (uint64_t)div_up(lowered, parts);
}

/* ---- serialized ---- */

size_t pawl_gcra_save(const struct pawl_window *record, struct pawl_instant now, uint8_t *out)
{
    uint64_t elapsed_ns = now.ns > record->seen_ns ? now.ns - record->seen_ns : 0;
    uint64_t idle_ns;
    wide level = flow(record, level_of(record), elapsed_ns, &idle_ns);

    if (level == 0) {
        return 0;
    }
    pawl_put_le(out, (uint64_t)level, 8);
    pawl_put_le(out + 8, (uint64_t)(level >> 64), 8);
    pawl_put_le(out + 16, record->total, 8);
    return PAWL_GCRA_SAVED_BYTES;
}

static wide saved_level(const uint8_t *saved)
{
    return pawl_get_le(saved, 8) | (wide)pawl_get_le(saved + 8, 8) << 64;
}

bool pawl_gcra_check(const uint8_t *saved, size_t size, uint32_t window_ms)
{
    if (size != PAWL_GCRA_SAVED_BYTES) {
        return false;
    }
    wide level = saved_level(saved);
    uint64_t count = pawl_get_le(saved + 16, 8);

    return level > 0 && level <= (wide)PAWL_COUNT_MAX * parts_of(window_ms) && count > 0 &&
           count <= PAWL_COUNT_MAX;
}

void pawl_gcra_load(struct pawl_window *record, const uint8_t *saved, uint64_t elapsed_ms)
{
    uint64_t elapsed_ns = elapsed_ms < UINT64_MAX / NS_PER_MS ? elapsed_ms * NS_PER_MS : UINT64_MAX;
    uint64_t idle_ns;

    pawl_gcra_clear(record);
    record->total = pawl_get_le(saved + 16, 8);
    level_set(record, flow(record, saved_level(saved), elapsed_ns, &idle_ns));
}

void pawl_gcra_join(struct pawl_window *record, const uint8_t *saved, uint32_t window_ms,
                    uint64_t elapsed_ms, struct pawl_instant now)
{
    struct pawl_rate own = { record->total, record->window_ms, 0 };
    struct pawl_window other = { .total = pawl_get_le(saved + 16, 8) };
    uint64_t elapsed_ns = elapsed_ms < UINT64_MAX / NS_PER_MS ? elapsed_ms * NS_PER_MS : UINT64_MAX;
    uint64_t idle_ns;
    wide more = flow(&other, saved_level(saved), elapsed_ns, &idle_ns);

    if (more == 0) {
        return;
    }
    pawl_gcra_advance(record, &own, now);
    wide level = level_of(record) + rescaled(more, window_ms, record->window_ms);
    wide most = (wide)PAWL_COUNT_MAX * parts_of(record->window_ms); /* no bucket holds more */

    record->total = other.total < record->total ? other.total : record->total;
    level_set(record, level < most ? level : most);
}
