#include "core/quota.h"

#include "core/octets.h"

#include <string.h>

#define NS_PER_S     UINT64_C(1000000000)
#define EVENT_ORIGIN (INT64_C(1) << 40) /* handles are not negative: starts from -34,865 years */

static struct pawl_calendar_period period_get(const struct pawl_window *w)
{
    struct pawl_calendar_period period;

    memcpy(&period, w->entries, sizeof(period));
    return period;
}

static void period_set(struct pawl_window *w, struct pawl_calendar_period period)
{
    memcpy(w->entries, &period, sizeof(period));
}

static void total_set(struct pawl_window *w, uint64_t total)
{
    w->total = total;
    w->length = total > 0 ? 1 : 0;
}

void pawl_quota_clear(struct pawl_window *record)
{
    struct pawl_calendar_period before = { INT64_MIN, INT64_MIN };

    record->kind = PAWL_RECORD_BYTE_QUOTA;
    record->flags &= (uint8_t)~PAWL_RECORD_WIDE;
    record->window_ms = 0;
    record->head = 0;
    record->spare = 0;
    total_set(record, 0);
    period_set(record, before);
}

void pawl_quota_advance(struct pawl_window *record, const struct pawl_quota_time *time,
                        struct pawl_instant now)
{
    struct pawl_calendar_period period = period_get(record);

    if (now.ns > record->seen_ns) {
        record->seen_ns = now.ns;
    }
    if (time->wall.unix_s >= period.end_s) {
        total_set(record, 0);
        period = time->period;
    } else if (time->wall.unix_s >= period.start_s) {
        period = time->period; /* the same, or cut anew by a reload */
    }
    period_set(record, period);
    int64_t left_s = period.end_s - time->wall.unix_s;

    record->spare = left_s < 0 ? 0 : left_s > UINT32_MAX ? UINT32_MAX : (uint32_t)left_s;
}

bool pawl_quota_is_spent(const struct pawl_window *record, struct pawl_instant now,
                         struct pawl_wall wall)
{
    uint64_t elapsed_ns = now.ns > record->seen_ns ? now.ns - record->seen_ns : 0;

    return record->length == 0 ||
           (wall.unix_s >= period_get(record).end_s && elapsed_ns >= record->spare * NS_PER_S);
}

uint64_t pawl_quota_room(const struct pawl_window *record, const struct pawl_rate *rate)
{
    uint64_t total = record != NULL ? record->total : 0;

    return total < rate->count ? rate->count - total : 0;
}

void pawl_quota_ask(const struct pawl_window *record, const struct pawl_rate *rate,
                    const struct pawl_quota_time *time, uint64_t cost,
                    struct pawl_window_answer *answer)
{
    int64_t end_s = record != NULL ? period_get(record).end_s : time->period.end_s;

    memset(answer, 0, sizeof(*answer));
    answer->count = record != NULL ? record->total : 0;
    answer->remaining = pawl_quota_room(record, rate);
    answer->never = cost > rate->count;
    answer->allowed = cost <= answer->remaining;
    if (end_s > time->wall.unix_s) {
        answer->reset_after_ms = (uint64_t)(end_s - time->wall.unix_s) * 1000;
    }
    if (!answer->allowed && !answer->never) {
        answer->retry_after_ms = answer->reset_after_ms;
    }
}

static uint64_t event_of(const struct pawl_window *w)
{
    return (uint64_t)(period_get(w).start_s + EVENT_ORIGIN);
}

uint64_t pawl_quota_charge(struct pawl_window *record, uint64_t cost)
{
    total_set(record, record->total + cost);
    return event_of(record);
}

uint64_t pawl_quota_refund(struct pawl_window *record, uint64_t event, uint64_t cost)
{
    uint64_t taken = cost < record->total ? cost : record->total;

    if (taken == 0 || (event != 0 && event != event_of(record))) {
        return 0;
    }
    total_set(record, record->total - taken);
    return taken;
}

/* ---- serialized ---- */

size_t pawl_quota_save(const struct pawl_window *record, struct pawl_instant now, uint8_t *out)
{
    struct pawl_calendar_period period = period_get(record);
    uint64_t elapsed_s = now.ns > record->seen_ns ? (now.ns - record->seen_ns) / NS_PER_S : 0;

    if (record->length == 0) {
        return 0;
    }
    pawl_put_le(out, (uint64_t)period.start_s, 8);
    pawl_put_le(out + 8, (uint64_t)period.end_s, 8);
    pawl_put_le(out + 16, record->total, 8);
    pawl_put_le(out + 24, elapsed_s < record->spare ? record->spare - elapsed_s : 0, 4);
    return PAWL_QUOTA_SAVED_BYTES;
}

static struct pawl_calendar_period saved_period(const uint8_t *saved)
{
    struct pawl_calendar_period period = { (int64_t)pawl_get_le(saved, 8),
                                           (int64_t)pawl_get_le(saved + 8, 8) };

    return period;
}

/* Wider than any period of the calendar, whose first and last reach out of it. */
#define YEAR_S INT64_C(31708800)

bool pawl_quota_check(const uint8_t *saved, size_t size)
{
    if (size != PAWL_QUOTA_SAVED_BYTES) {
        return false;
    }
    struct pawl_calendar_period period = saved_period(saved);
    uint64_t count = pawl_get_le(saved + 16, 8);

    return period.start_s < period.end_s && period.start_s >= PAWL_CALENDAR_MIN_S - 2 * YEAR_S &&
           period.end_s <= PAWL_CALENDAR_MAX_S + 2 * YEAR_S && count > 0 && count <= PAWL_COUNT_MAX;
}

void pawl_quota_load(struct pawl_window *record, const uint8_t *saved, uint64_t elapsed_ms)
{
    uint64_t left_s = pawl_get_le(saved + 24, 4);
    uint64_t elapsed_s = elapsed_ms / 1000;

    pawl_quota_clear(record);
    period_set(record, saved_period(saved));
    total_set(record, pawl_get_le(saved + 16, 8));
    record->spare = (uint32_t)(elapsed_s < left_s ? left_s - elapsed_s : 0);
}

void pawl_quota_join(struct pawl_window *record, const uint8_t *saved, uint64_t elapsed_ms,
                     struct pawl_instant now, struct pawl_wall wall)
{
    struct pawl_calendar_period mine = period_get(record);
    struct pawl_calendar_period other = saved_period(saved);
    uint64_t passed_s = now.ns > record->seen_ns ? (now.ns - record->seen_ns) / NS_PER_S : 0;
    uint64_t left_s = pawl_get_le(saved + 24, 4);
    uint64_t total = pawl_get_le(saved + 16, 8);

    if (other.end_s <= mine.start_s && wall.unix_s >= other.end_s) {
        return;
    }
    if (mine.end_s > other.start_s || wall.unix_s < mine.end_s) {
        total += record->total;
    }
    left_s = elapsed_ms / 1000 < left_s ? left_s - elapsed_ms / 1000 : 0;
    record->seen_ns += passed_s * NS_PER_S;
    record->spare = passed_s < record->spare ? record->spare - (uint32_t)passed_s : 0;
    record->spare = left_s > record->spare ? (uint32_t)left_s : record->spare;
    period_set(record, other.end_s > mine.end_s ? other : mine);
    total_set(record, total < PAWL_COUNT_MAX ? total : PAWL_COUNT_MAX);
}

uint32_t pawl_quota_saved_window_ms(const uint8_t *saved)
{
    uint64_t left_ms = pawl_get_le(saved + 24, 4) * 1000;

    return left_ms < 1 ? 1 : left_ms > PAWL_WINDOW_MS_MAX ? PAWL_WINDOW_MS_MAX : (uint32_t)left_ms;
}
