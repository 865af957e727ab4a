/*
 * Time zone files. The input is u40 a time in minutes since year 1 or so, u8 an anchor day, then
 * the file.
 *
 * What must hold: a zone or an error, and no byte behind the file read (the copy has exactly its
 * size); whatever the zone is, every time lies in its span, an instant is the first at which the
 * clock on the wall reads what it reads there, periods hold their time, are not empty and follow
 * each other.
 */
#include "core/calendar.h"
#include "fuzz/require.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEAD_BYTES 6

static void check_instant(const struct pawl_zone *zone, int64_t at)
{
    struct pawl_zone_span span = pawl_zone_span_at(zone, at);
    int64_t local_s = at + span.offset_s;
    int64_t first = pawl_zone_unix_of(zone, local_s);

    require(span.from <= at && at < span.until);
    require(span.offset_s >= PAWL_ZONE_OFFSET_MIN && span.offset_s <= PAWL_ZONE_OFFSET_MAX);
    require(first <= at);
    require(first + pawl_zone_offset_at(zone, first) >= local_s);
    require(first - 1 + pawl_zone_offset_at(zone, first - 1) < local_s);
    require(pawl_zone_unix_of(zone, local_s - 1) <= first);
}

static void check_periods(const struct pawl_zone *zone, int64_t at, unsigned anchor)
{
    for (int kind = PAWL_PERIOD_HOUR; kind <= PAWL_PERIOD_YEAR; kind++) {
        enum pawl_period period = (enum pawl_period)kind;
        unsigned day = kind == PAWL_PERIOD_WEEK ? anchor % 8 : anchor;
        struct pawl_calendar_period now =
            pawl_calendar_period_of(zone, period, day, (struct pawl_wall){ at });
        struct pawl_calendar_period next =
            pawl_calendar_period_of(zone, period, day, (struct pawl_wall){ now.end_s });
        struct pawl_calendar_period last =
            pawl_calendar_period_of(zone, period, day, (struct pawl_wall){ now.end_s - 1 });

        require(now.start_s <= at && at < now.end_s);
        require(next.start_s == now.end_s && next.end_s > next.start_s);
        require(last.start_s == now.start_s && last.end_s == now.end_s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pawl_zone zone;
    struct pawl_error error;
    uint64_t minutes = 0;

    if (size < HEAD_BYTES) {
        return 0;
    }
    size_t file_size = size - HEAD_BYTES;
    uint8_t *copy = malloc(file_size > 0 ? file_size : 1);

    require(copy != NULL);
    memcpy(copy, data + HEAD_BYTES, file_size);
    memcpy(&minutes, data, 5);
    enum pawl_status status = pawl_zone_parse(&zone, pawl_bytes_of(copy, file_size), &error);

    require(status == PAWL_OK || status == PAWL_ECORRUPT || status == PAWL_ETOOBIG ||
            status == PAWL_EINVAL);
    require(status == PAWL_OK || (error.status == status && error.text[0] != '\0'));
    free(copy);
    /* years 2 to 9998 */
    int64_t at =
        PAWL_CALENDAR_MIN_S + INT64_C(31622400) + (int64_t)(minutes % UINT64_C(5257000000)) * 60;

    check_instant(&zone, at);
    check_periods(&zone, at, data[5] % 32U);
    if (zone.count > 0) { /* around one of its own changes */
        at = zone.at[minutes % zone.count];
        if (at > PAWL_CALENDAR_MIN_S + 31622400 && at < PAWL_CALENDAR_MAX_S - 31622400) {
            check_instant(&zone, at - 1 + (int64_t)(minutes & 3));
            check_periods(&zone, at - 1 + (int64_t)(minutes & 3), data[5] % 32U);
        }
    }
    return 0;
}
