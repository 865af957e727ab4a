#include "core/calendar.h"

#include "core/civil.h"

#define HOUR_S      3600
#define MONDAY_DAYS (-3) /* 1969-12-29 */

/* The days from 1970 to the first day of period @index of its kind, counted from the year 0. */
static int64_t first_day(enum pawl_period kind, unsigned anchor_day, int64_t index)
{
    int64_t year = index;
    unsigned month = 1;

    if (kind == PAWL_PERIOD_DAY) {
        return index;
    }
    if (kind == PAWL_PERIOD_WEEK) {
        return index * 7 + MONDAY_DAYS + (int64_t)anchor_day - 1;
    }
    if (kind == PAWL_PERIOD_MONTH) {
        year = pawl_floor_div(index, 12);
        month = (unsigned)(index - year * 12) + 1;
    }
    unsigned days = pawl_days_in_month(year, month);

    return pawl_days_of_civil(year, month, anchor_day < days ? anchor_day : days);
}

/* The index of a period near @days: it, the one before or the one after holds that day. */
static int64_t near_index(enum pawl_period kind, unsigned anchor_day, int64_t days)
{
    struct pawl_civil civil = pawl_civil_of_days(days);

    switch (kind) {
    case PAWL_PERIOD_WEEK:
        return pawl_floor_div(days - MONDAY_DAYS - (int64_t)anchor_day + 1, 7);
    case PAWL_PERIOD_MONTH:
        return civil.year * 12 + civil.month - 1;
    case PAWL_PERIOD_YEAR:
        return civil.year;
    default:
        return days;
    }
}

static int64_t start_of(const struct pawl_zone *zone, enum pawl_period kind, unsigned anchor_day,
                        int64_t index)
{
    return pawl_zone_unix_of(zone, first_day(kind, anchor_day, index) * PAWL_DAY_S);
}

static struct pawl_calendar_period hour_of(struct pawl_zone_span span, int64_t unix_s)
{
    int64_t local_s = unix_s + span.offset_s;
    int64_t start_s = unix_s - (local_s - pawl_floor_div(local_s, HOUR_S) * HOUR_S);
    struct pawl_calendar_period period = { start_s, start_s + HOUR_S };

    period.start_s = period.start_s < span.from ? span.from : period.start_s;
    period.end_s = period.end_s > span.until ? span.until : period.end_s;
    return period;
}

struct pawl_calendar_period pawl_calendar_period_of(const struct pawl_zone *zone,
                                                    enum pawl_period kind, unsigned anchor_day,
                                                    struct pawl_wall wall)
{
    int64_t unix_s = wall.unix_s < PAWL_CALENDAR_MIN_S   ? PAWL_CALENDAR_MIN_S
                     : wall.unix_s > PAWL_CALENDAR_MAX_S ? PAWL_CALENDAR_MAX_S
                                                         : wall.unix_s;
    struct pawl_zone_span span = pawl_zone_span_at(zone, unix_s);
    unsigned anchor = anchor_day == 0 ? 1 : anchor_day;

    if (kind == PAWL_PERIOD_HOUR) {
        return hour_of(span, unix_s);
    }
    int64_t days = pawl_floor_div(unix_s + span.offset_s, PAWL_DAY_S);
    int64_t index = near_index(kind, anchor, days);
    struct pawl_calendar_period period;

    /* The clock on the wall may have gone back over midnight, or left out a day. */
    while ((period.start_s = start_of(zone, kind, anchor, index)) > unix_s) {
        index--;
    }
    while ((period.end_s = start_of(zone, kind, anchor, index + 1)) <= unix_s) {
        period.start_s = period.end_s;
        index++;
    }
    return period;
}
