#include "time_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MS_PER_DAY      INT64_C(86400000)
#define DURATION_MAX_MS (UINT64_C(1000000) * 86400000)
#define SECONDS_MAX     INT64_C(253402300799) /* the last one of the year 9999 */
#define LIKELY_MS       INT64_C(100000000000) /* as seconds the year 5138: surely milliseconds */

static const struct unit {
    const char *name;
    uint64_t ms;
} units[] = {
    { "ms", 1 },      { "s", 1000 },     { "m", 60000 },
    { "h", 3600000 }, { "d", 86400000 }, { "w", 604800000 },
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/*
 * Digits, then perhaps a point and more digits: thousandths of it in @thousandths. Returns what
 * follows, NULL when no digit stands there or the number is too big.
 */
static const char *number_parse(const char *text, uint64_t *thousandths)
{
    uint64_t value = 0;
    uint64_t scale = 1000;

    if (!is_digit(*text)) {
        return NULL;
    }
    for (; is_digit(*text); text++) {
        if (value > UINT64_C(1000000000000000)) {
            return NULL;
        }
        value = value * 10 + (uint64_t)(*text - '0');
    }
    value *= 1000;
    if (*text == '.' && is_digit(text[1])) {
        for (text++; is_digit(*text); text++) {
            scale /= 10;
            value += (uint64_t)(*text - '0') * scale;
        }
    }
    *thousandths = value;
    return text;
}

static const struct unit *unit_find(const char *text, size_t size)
{
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strlen(units[i].name) == size && strncmp(units[i].name, text, size) == 0) {
            return &units[i];
        }
    }
    return NULL;
}

bool duration_text_parse(const char *text, uint64_t *ms)
{
    uint64_t total = 0;
    bool bare = true;

    if (*text == '\0') {
        return false;
    }
    while (*text != '\0') {
        const struct unit *unit = &units[1];
        uint64_t thousandths = 0;
        size_t letters = 0;

        text = number_parse(text, &thousandths);
        if (text == NULL) {
            return false;
        }
        while (text[letters] != '\0' && !is_digit(text[letters])) {
            letters++;
        }
        if (letters > 0) {
            unit = unit_find(text, letters);
        }
        if (unit == NULL || (letters == 0 && !bare) ||
            thousandths > DURATION_MAX_MS * 1000 / unit->ms) {
            return false;
        }
        total += thousandths * unit->ms / 1000; /* below 2^63: bounded above */
        if (total > DURATION_MAX_MS) {
            return false;
        }
        text += letters;
        bare = false;
    }
    *ms = total;
    return true;
}

void duration_text_format(uint64_t ms, char text[DURATION_TEXT_BYTES])
{
    static const struct unit shown[] = { { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 } };

    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        uint64_t next_ms = i + 1 < sizeof(shown) / sizeof(shown[0]) ? shown[i + 1].ms : 1000;
        const char *next_name = i + 1 < sizeof(shown) / sizeof(shown[0]) ? shown[i + 1].name : "s";

        if (ms >= shown[i].ms) {
            uint64_t whole = ms / shown[i].ms;
            uint64_t rest = ms % shown[i].ms / next_ms;

            if (rest == 0) {
                snprintf(text, DURATION_TEXT_BYTES, "%" PRIu64 "%s", whole, shown[i].name);
            } else {
                snprintf(text, DURATION_TEXT_BYTES, "%" PRIu64 "%s%" PRIu64 "%s", whole,
                         shown[i].name, rest, next_name);
            }
            return;
        }
    }
    if (ms >= 1000 && ms % 1000 >= 100) {
        snprintf(text, DURATION_TEXT_BYTES, "%" PRIu64 ".%" PRIu64 "s", ms / 1000, ms % 1000 / 100);
    } else if (ms >= 1000 || ms == 0) {
        snprintf(text, DURATION_TEXT_BYTES, "%" PRIu64 "s", ms / 1000);
    } else {
        snprintf(text, DURATION_TEXT_BYTES, "%" PRIu64 "ms", ms);
    }
}

/* Days from 1970-01-01 to a date of the Gregorian calendar (years from March, as in RFC 3339 A). */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t shifted = month <= 2 ? year - 1 : year;
    int64_t era = shifted / 400;
    int64_t of_era = shifted - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int64_t month_days(int64_t year, int64_t month)
{
    static const int64_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/* @count digits as a number; -1 when one of them is something else. */
static int64_t digits(const char *text, size_t count)
{
    int64_t value = 0;

    for (size_t i = 0; i < count; i++) {
        if (!is_digit(text[i])) {
            return -1;
        }
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

/* "Z", "+02:00" or nothing, up to the end: minutes east of UTC. */
static bool offset_parse(const char *text, int64_t *minutes)
{
    int64_t hour;
    int64_t minute;

    *minutes = 0;
    if (*text == '\0' || ((*text == 'Z' || *text == 'z') && text[1] == '\0')) {
        return true;
    }
    if ((*text != '+' && *text != '-') || strlen(text) != 6 || text[3] != ':') {
        return false;
    }
    hour = digits(text + 1, 2);
    minute = digits(text + 4, 2);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59) {
        return false;
    }
    *minutes = (hour * 60 + minute) * (*text == '-' ? -1 : 1);
    return true;
}

/* "T12:34", "T12:34:56", "T12:34:56.789", and what is behind it; NULL when it is none of these. */
static const char *clock_parse(const char *text, int64_t *ms)
{
    int64_t hour = digits(text + 1, 2);
    int64_t minute = strlen(text) >= 6 && text[3] == ':' ? digits(text + 4, 2) : -1;
    uint64_t thousandths = 0;

    if (strlen(text) < 6 || hour < 0 || hour > 23 || minute < 0 || minute > 59) {
        return NULL;
    }
    text += 6;
    if (*text == ':') {
        if (digits(text + 1, 2) < 0) {
            return NULL;
        }
        text = number_parse(text + 1, &thousandths);
        if (text == NULL || thousandths >= 61000) { /* RFC 3339 has leap seconds */
            return NULL;
        }
    }
    *ms = (hour * 60 + minute) * 60000 + (int64_t)thousandths;
    return text;
}

static bool date_parse(const char *text, int64_t *ms)
{
    int64_t year = digits(text, 4);
    int64_t month = digits(text + 5, 2);
    int64_t day = digits(text + 8, 2);
    int64_t of_day = 0;
    int64_t east = 0;

    if (year < 1970 || text[4] != '-' || month < 1 || month > 12 || text[7] != '-' || day < 1 ||
        day > month_days(year, month)) {
        return false;
    }
    text += 10;
    if (*text != '\0') {
        if (*text != 'T' && *text != 't' && *text != ' ') {
            return false;
        }
        text = clock_parse(text, &of_day);
        if (text == NULL || !offset_parse(text, &east)) {
            return false;
        }
    }
    *ms = days_of(year, month, day) * MS_PER_DAY + of_day - east * 60000;
    return *ms >= 0;
}

static bool relative_parse(const char *text, int64_t now_ms, int64_t *ms)
{
    uint64_t distance = 0;

    if (!duration_text_parse(text + 1, &distance) ||
        (*text == '-' && distance > (uint64_t)now_ms)) {
        return false;
    }
    *ms = *text == '-' ? now_ms - (int64_t)distance : now_ms + (int64_t)distance;
    return true;
}

bool time_text_parse(const char *text, int64_t now_ms, int64_t *ms, const char **hint)
{
    uint64_t thousandths = 0;
    const char *end;

    *hint = "write seconds since 1970, 2026-09-21T12:00:00Z, now, +1h or -5m";
    if (strcmp(text, "now") == 0) {
        *ms = now_ms;
        return true;
    }
    if (*text == '+' || *text == '-') {
        return relative_parse(text, now_ms, ms);
    }
    if (strlen(text) >= 10 && text[4] == '-') {
        return date_parse(text, ms);
    }
    end = number_parse(text, &thousandths);
    if (end == NULL || *end != '\0') {
        return false;
    }
    if (thousandths / 1000 >= (uint64_t)LIKELY_MS) {
        *hint = "that is too late to be seconds since 1970; are these milliseconds?";
        return false;
    }
    *ms = (int64_t)thousandths;
    return true;
}

void time_text_format(uint64_t unix_s, char text[TIME_TEXT_BYTES])
{
    int64_t days = (int64_t)(unix_s / 86400);
    int64_t of_day = (int64_t)(unix_s % 86400);
    int64_t year;
    int64_t month = 1;

    if (unix_s > (uint64_t)SECONDS_MAX) {
        snprintf(text, TIME_TEXT_BYTES, "far away");
        return;
    }
    year = 1970 + days / 366; /* at most the year; the loop finds it */
    while (days_of(year + 1, 1, 1) <= days) {
        year++;
    }
    days -= days_of(year, 1, 1);
    while (days >= month_days(year, month)) {
        days -= month_days(year, month);
        month++;
    }
    snprintf(text, TIME_TEXT_BYTES, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)year,
             (unsigned)month, (unsigned)days + 1, (unsigned)(of_day / 3600),
             (unsigned)(of_day / 60 % 60), (unsigned)(of_day % 60));
}
