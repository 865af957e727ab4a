#include "core/zone.h"

#include "core/civil.h"

#include <string.h>

#define HEADER_BYTES 44
#define HOUR_S       3600
#define UNIX_MIN     INT64_C(-62200000000) /* before 0001-01-01 and after 9999-12-31 by months: */
#define UNIX_MAX     INT64_C(253500000000) /* nothing beyond is told apart */

/* ---- the file (RFC 8536 section 3) ---- */

struct reader {
    const uint8_t *at;
    size_t left;
};

struct header {
    uint8_t version;
    uint64_t isut, isstd, leap, time, type, chars;
};

static uint64_t get_be(const uint8_t *in, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | in[i];
    }
    return value;
}

static int64_t get_signed(const uint8_t *in, unsigned bytes)
{
    uint64_t value = get_be(in, bytes);

    return bytes == 4 ? (int64_t)(int32_t)(uint32_t)value : (int64_t)value;
}

static const uint8_t *skip(struct reader *reader, uint64_t size)
{
    const uint8_t *at = reader->at;

    if (size > reader->left) {
        return NULL;
    }
    reader->at += size;
    reader->left -= (size_t)size;
    return at;
}

static bool read_header(struct reader *reader, struct header *header)
{
    const uint8_t *in = skip(reader, HEADER_BYTES);

    if (in == NULL || memcmp(in, "TZif", 4) != 0) {
        return false;
    }
    header->version = in[4];
    header->isut = get_be(in + 20, 4);
    header->isstd = get_be(in + 24, 4);
    header->leap = get_be(in + 28, 4);
    header->time = get_be(in + 32, 4);
    header->type = get_be(in + 36, 4);
    header->chars = get_be(in + 40, 4);
    return true;
}

/* All counts are below 2^32 and all factors below 16: this cannot wrap. */
static uint64_t block_bytes(const struct header *header, unsigned time_bytes)
{
    return header->time * (time_bytes + 1) + header->type * 6 + header->chars +
           header->leap * (time_bytes + 4) + header->isstd + header->isut;
}

static bool type_offset(const uint8_t *types, const struct header *header, unsigned type,
                        int32_t *offset_s)
{
    const uint8_t *in = types + (size_t)type * 6;
    int64_t value;

    if (type >= header->type) {
        return false;
    }
    value = get_signed(in, 4);
    if (value < PAWL_ZONE_OFFSET_MIN || value > PAWL_ZONE_OFFSET_MAX || in[4] > 1 ||
        in[5] >= header->chars) {
        return false;
    }
    *offset_s = (int32_t)value;
    return true;
}

static enum pawl_status read_transitions(struct pawl_zone *zone, const struct header *header,
                                         const uint8_t *in, unsigned time_bytes)
{
    const uint8_t *indexes = in + (size_t)header->time * time_bytes;
    const uint8_t *types = indexes + (size_t)header->time;
    int32_t before;
    int64_t at_before = INT64_MIN;

    if (!type_offset(types, header, 0, &before)) {
        return PAWL_ECORRUPT;
    }
    zone->first_s = before;
    for (uint64_t i = 0; i < header->time; i++) {
        int64_t at = get_signed(in + i * time_bytes, time_bytes);
        int32_t offset_s;

        if ((i > 0 && at <= at_before) || !type_offset(types, header, indexes[i], &offset_s)) {
            return PAWL_ECORRUPT;
        }
        at_before = at;
        if (offset_s == before) {
            continue; /* another name, or summer time and a new standard at once */
        }
        if (zone->count == PAWL_ZONE_TRANSITIONS_MAX) {
            return PAWL_ETOOBIG;
        }
        zone->at[zone->count] = at;
        zone->offset_s[zone->count] = offset_s;
        zone->count++;
        before = offset_s;
    }
    return PAWL_OK;
}

/* ---- the footer (POSIX TZ with the extensions of RFC 8536 section 3.3.1) ---- */

static int peek(const struct reader *reader)
{
    return reader->left > 0 ? reader->at[0] : -1;
}

static bool accept(struct reader *reader, char c)
{
    if (peek(reader) != c) {
        return false;
    }
    (void)skip(reader, 1);
    return true;
}

static bool is_alpha(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool read_name(struct reader *reader)
{
    unsigned length = 0;

    if (accept(reader, '<')) {
        while (is_alpha(peek(reader)) || (peek(reader) >= '0' && peek(reader) <= '9') ||
               peek(reader) == '+' || peek(reader) == '-') {
            (void)skip(reader, 1);
            length++;
        }
        return accept(reader, '>') && length >= 3;
    }
    while (is_alpha(peek(reader))) {
        (void)skip(reader, 1);
        length++;
    }
    return length >= 3;
}

static bool read_number(struct reader *reader, unsigned max, unsigned *number)
{
    unsigned value = 0;
    unsigned digits = 0;

    while (peek(reader) >= '0' && peek(reader) <= '9' && digits < 4) {
        value = value * 10 + (unsigned)(peek(reader) - '0');
        (void)skip(reader, 1);
        digits++;
    }
    *number = value;
    return digits > 0 && value <= max;
}

/* [+-]hh[:mm[:ss]] */
static bool read_clock(struct reader *reader, unsigned hours_max, int32_t *seconds)
{
    bool minus = accept(reader, '-');
    unsigned hours;
    unsigned minutes = 0;
    unsigned rest = 0;

    if (!minus) {
        (void)accept(reader, '+');
    }
    if (!read_number(reader, hours_max, &hours) ||
        (accept(reader, ':') && (!read_number(reader, 59, &minutes) ||
                                 (accept(reader, ':') && !read_number(reader, 59, &rest))))) {
        return false;
    }
    int32_t value = (int32_t)(hours * HOUR_S + minutes * 60 + rest);

    *seconds = minus ? -value : value;
    return true;
}

static bool read_change(struct reader *reader, struct pawl_zone_change *change)
{
    unsigned month = 0;
    unsigned week = 0;
    unsigned day = 0;
    bool sound;

    if (accept(reader, 'M')) {
        change->form = PAWL_ZONE_DAY_MONTH;
        sound = read_number(reader, 12, &month) && month >= 1 && accept(reader, '.') &&
                read_number(reader, 5, &week) && week >= 1 && accept(reader, '.') &&
                read_number(reader, 6, &day);
        change->month = (uint8_t)month;
        change->week = (uint8_t)week;
        change->weekday = (uint8_t)day;
    } else if (accept(reader, 'J')) {
        change->form = PAWL_ZONE_DAY_JULIAN;
        sound = read_number(reader, 365, &day) && day >= 1;
    } else {
        change->form = PAWL_ZONE_DAY_PLAIN;
        sound = read_number(reader, 365, &day);
    }
    change->day = (uint16_t)day;
    change->time_s = 2 * HOUR_S;
    return sound && (!accept(reader, '/') || read_clock(reader, 167, &change->time_s));
}

static bool read_footer(struct pawl_zone *zone, struct reader *reader)
{
    int32_t west_s;

    if (!read_name(reader) || !read_clock(reader, 24, &west_s)) {
        return false;
    }
    zone->has_footer = true;
    zone->winter_s = -west_s;
    if (reader->left == 0) {
        return true;
    }
    zone->summer_s = zone->winter_s + HOUR_S;
    if (!read_name(reader)) {
        return false;
    }
    if (peek(reader) != ',') {
        if (!read_clock(reader, 24, &west_s)) {
            return false;
        }
        zone->summer_s = -west_s;
    }
    zone->has_summer = true;
    return accept(reader, ',') && read_change(reader, &zone->to_summer) && accept(reader, ',') &&
           read_change(reader, &zone->to_winter) && reader->left == 0;
}

/* The footer stands between two line ends; an empty one says nothing about the time after. */
static bool take_footer(struct pawl_zone *zone, struct reader *reader)
{
    struct reader line;

    if (!accept(reader, '\n')) {
        return false;
    }
    const uint8_t *end = reader->left > 0 ? memchr(reader->at, '\n', reader->left) : NULL;

    if (end == NULL) {
        return false;
    }
    line.at = reader->at;
    line.left = (size_t)(end - reader->at);
    return line.left == 0 || read_footer(zone, &line);
}

static enum pawl_status parse(struct pawl_zone *zone, struct reader *reader,
                              struct pawl_error *error)
{
    struct header header;
    unsigned time_bytes = 4;

    if (!read_header(reader, &header)) {
        return pawl_error_set(error, PAWL_ECORRUPT, 0, "not a time zone file (TZif)");
    }
    if (header.version >= '2') {
        time_bytes = 8;
        if (skip(reader, block_bytes(&header, 4)) == NULL || !read_header(reader, &header)) {
            return pawl_error_set(error, PAWL_ECORRUPT, 0, "the time zone file is cut short");
        }
    }
    const uint8_t *block = skip(reader, block_bytes(&header, time_bytes));

    if (block == NULL) {
        return pawl_error_set(error, PAWL_ECORRUPT, 0, "the time zone file is cut short");
    }
    if (header.leap > 0) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "the time zone file counts leap seconds: take the one that does not "
                              "lie under right/");
    }
    enum pawl_status status = read_transitions(zone, &header, block, time_bytes);

    if (status != PAWL_OK) {
        return pawl_error_set(error, status, 0,
                              status == PAWL_ETOOBIG ? "the time zone file has more than %d changes"
                                                     : "the time zone file is damaged (%d)",
                              PAWL_ZONE_TRANSITIONS_MAX);
    }
    if (time_bytes == 8 && !take_footer(zone, reader)) {
        return pawl_error_set(error, PAWL_ECORRUPT, 0,
                              "the last line of the time zone file is not a rule (POSIX TZ)");
    }
    return PAWL_OK;
}

enum pawl_status pawl_zone_parse(struct pawl_zone *zone, struct pawl_bytes bytes,
                                 struct pawl_error *error)
{
    struct reader reader = { bytes.data, bytes.size };
    enum pawl_status status;

    memset(zone, 0, sizeof(*zone));
    if (bytes.size > PAWL_ZONE_BYTES_MAX) {
        return pawl_error_set(error, PAWL_ETOOBIG, 0, "a time zone file has at most %d bytes",
                              PAWL_ZONE_BYTES_MAX);
    }
    status = parse(zone, &reader, error);
    if (status != PAWL_OK) {
        memset(zone, 0, sizeof(*zone));
    }
    return status;
}

/* ---- spans ---- */

/* Days from 1970 to the day of @change in @year. */
static int64_t change_day(const struct pawl_zone_change *change, int64_t year)
{
    int64_t january = pawl_days_of_civil(year, 1, 1);

    if (change->form == PAWL_ZONE_DAY_PLAIN) {
        return january + change->day;
    }
    if (change->form == PAWL_ZONE_DAY_JULIAN) {
        return january + change->day - (pawl_is_leap(year) && change->day >= 60 ? 0 : 1);
    }
    int64_t first = pawl_days_of_civil(year, change->month, 1);
    int64_t weekday = first + 4 - pawl_floor_div(first + 4, 7) * 7; /* 1970-01-01: a Thursday */
    int64_t day = first + (change->weekday - weekday + 7) % 7 + (int64_t)(change->week - 1) * 7;
    int64_t last = first + pawl_days_in_month(year, change->month) - 1;

    return day > last ? day - 7 : day;
}

struct moment {
    int64_t at;
    int32_t offset_s;
};

/* Insert in order; of two at once the later one inserted comes last. */
static void insert(struct moment *moments, unsigned count, struct moment moment)
{
    unsigned i = count;

    for (; i > 0 && moments[i - 1].at > moment.at; i--) {
        moments[i] = moments[i - 1];
    }
    moments[i] = moment;
}

/* The span of the footer's rule that holds @unix_s. */
static struct pawl_zone_span footer_span(const struct pawl_zone *zone, int64_t unix_s)
{
    struct pawl_zone_span span = { INT64_MIN, INT64_MAX, zone->winter_s };
    struct moment moments[8];
    unsigned count = 0;

    if (!zone->has_summer) {
        return span;
    }
    int64_t year = pawl_civil_of_days(pawl_floor_div(unix_s + zone->winter_s, PAWL_DAY_S)).year;

    for (int64_t y = year - 2; y <= year + 1;
         y++) { /* winter first: see RFC 8536 on all-year DST */
        struct moment winter = { change_day(&zone->to_winter, y) * PAWL_DAY_S +
                                     zone->to_winter.time_s - zone->summer_s,
                                 zone->winter_s };
        struct moment summer = { change_day(&zone->to_summer, y) * PAWL_DAY_S +
                                     zone->to_summer.time_s - zone->winter_s,
                                 zone->summer_s };

        insert(moments, count++, winter);
        insert(moments, count++, summer);
    }
    for (unsigned i = 0; i < count; i++) {
        if (i > 0 && moments[i].offset_s == moments[i - 1].offset_s) {
            continue;
        }
        if (moments[i].at > unix_s) {
            span.until = moments[i].at;
            break;
        }
        if (i + 1 < count && moments[i + 1].at == moments[i].at) {
            continue; /* taken back at once */
        }
        span.from = moments[i].at;
        span.offset_s = moments[i].offset_s;
    }
    return span;
}

static int64_t clamp(int64_t unix_s)
{
    return unix_s < UNIX_MIN ? UNIX_MIN : unix_s > UNIX_MAX ? UNIX_MAX : unix_s;
}

struct pawl_zone_span pawl_zone_span_at(const struct pawl_zone *zone, int64_t unix_s)
{
    struct pawl_zone_span span = { INT64_MIN, INT64_MAX, 0 };
    uint32_t low = 0;

    if (zone == NULL) {
        return span;
    }
    unix_s = clamp(unix_s);
    for (uint32_t high = zone->count; low < high;) { /* low: how many are not after unix_s */
        uint32_t middle = low + (high - low) / 2;

        if (zone->at[middle] <= unix_s) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == zone->count && zone->has_footer) {
        span = footer_span(zone, unix_s);
        if (low > 0 && span.from < zone->at[low - 1]) {
            span.from = zone->at[low - 1];
        }
        return span;
    }
    span.from = low > 0 ? zone->at[low - 1] : INT64_MIN;
    span.until = low < zone->count ? zone->at[low] : INT64_MAX;
    span.offset_s = low > 0 ? zone->offset_s[low - 1] : zone->first_s;
    return span;
}

int32_t pawl_zone_offset_at(const struct pawl_zone *zone, int64_t unix_s)
{
    return pawl_zone_span_at(zone, unix_s).offset_s;
}

int64_t pawl_zone_unix_of(const struct pawl_zone *zone, int64_t local_s)
{
    int64_t wanted = clamp(local_s);
    int64_t at = wanted - PAWL_ZONE_OFFSET_MAX - 1; /* the clock reads less, whatever the offset */

    for (;;) {
        struct pawl_zone_span span = pawl_zone_span_at(zone, at);
        int64_t reads = wanted - span.offset_s;

        if (span.until > reads || span.until == INT64_MAX) {
            return reads > at ? reads : at;
        }
        at = span.until;
    }
}
