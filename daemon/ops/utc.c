#include "ops/utc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SECONDS_MAX UINT64_C(253402300799) /* the end of the year 9999 */

/** Days from 1970-01-01 to a date of the civil calendar (years count from March). */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
    int64_t shifted = month > 2 ? year : year - 1;
    int64_t era = shifted / 400;
    int64_t year_of_era = shifted - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

/** @digits digits of @text as a number, -1 where there are others. */
static int64_t fixed_digits(const char *text, size_t digits)
{
    int64_t value = 0;
    size_t i;

    for (i = 0; i < digits; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -1;
        }
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

static int64_t days_of_month(int64_t year, int64_t month)
{
    static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && leap ? 29 : days[month - 1];
}

int64_t pawl_utc_parse(const char *text)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
    int64_t year;
    int64_t month;
    int64_t day;
    int64_t second;
    size_t i;

    if (strlen(text) != sizeof(form) - 1) {
        return -1;
    }
    for (i = 0; i < sizeof(form) - 1; i++) {
        if (form[i] == 'd' ? fixed_digits(text + i, 1) < 0 : text[i] != form[i]) {
            return -1;
        }
    }
    year = fixed_digits(text, 4);
    month = fixed_digits(text + 5, 2);
    day = fixed_digits(text + 8, 2);
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month) ||
        fixed_digits(text + 11, 2) > 23 || fixed_digits(text + 14, 2) > 59 ||
        fixed_digits(text + 17, 2) > 59) {
        return -1;
    }
    second = fixed_digits(text + 11, 2) * 3600 + fixed_digits(text + 14, 2) * 60 +
             fixed_digits(text + 17, 2);
    return days_from_date(year, month, day) * 86400 + second;
}

/** The year, month and day of a day since 1970 (Howard Hinnant's civil_from_days). */
static void date_from_days(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
    int64_t shifted = days + 719468;
    int64_t era = shifted / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t from_march = (5 * day_of_year + 2) / 153;

    *day = day_of_year - (153 * from_march + 2) / 5 + 1;
    *month = from_march < 10 ? from_march + 3 : from_march - 9;
    *year = year_of_era + era * 400 + (*month <= 2 ? 1 : 0);
}

static void format_parts(uint64_t seconds, const char *fraction, char *out)
{
    uint64_t clamped = seconds < SECONDS_MAX ? seconds : SECONDS_MAX;
    uint64_t rest = clamped % 86400;
    int64_t year;
    int64_t month;
    int64_t day;

    date_from_days((int64_t)(clamped / 86400), &year, &month, &day);
    (void)snprintf(out, PAWL_UTC_BYTES,
                   "%04" PRId64 "-%02" PRId64 "-%02" PRId64 "T%02" PRIu64 ":%02" PRIu64
                   ":%02" PRIu64 "%sZ",
                   year, month, day, rest / 3600, rest / 60 % 60, rest % 60, fraction);
}

void pawl_utc_format(uint64_t seconds, char *out)
{
    format_parts(seconds, "", out);
}

void pawl_utc_format_ms(uint64_t ms, char *out)
{
    char fraction[8];

    (void)snprintf(fraction, sizeof(fraction), ".%03u", (unsigned)(ms % 1000));
    format_parts(ms / 1000, fraction, out);
}
