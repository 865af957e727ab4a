/*
 * Days and civil dates of the proleptic Gregorian calendar, years 0 to 9999 and some around.
 *
 * Days are counted from 1970-01-01. Inline: small, pure, and needed by zones and calendars alike.
 */
#ifndef PAWL_CORE_CIVIL_H
#define PAWL_CORE_CIVIL_H

#include "core/types.h"

#define PAWL_DAY_S INT64_C(86400)

struct pawl_civil {
    int64_t year;
    unsigned month; /* 1 to 12 */
    unsigned day;   /* 1 to 31 */
};

/** Division that rounds down, also below zero; @by > 0. */
static inline int64_t pawl_floor_div(int64_t value, int64_t by)
{
    return value / by - (value % by < 0 ? 1 : 0);
}

static inline bool pawl_is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static inline unsigned pawl_days_in_month(int64_t year, unsigned month)
{
    static const uint8_t days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

    return days[month - 1] + (month == 2 && pawl_is_leap(year) ? 1U : 0U);
}

/*
 * Both count years from March, so that the leap day is the last of its year, in eras of 400 years
 * (146,097 days); 719,468 days lie between 0000-03-01 and 1970-01-01.
 */
static inline int64_t pawl_days_of_civil(int64_t year, unsigned month, unsigned day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = pawl_floor_div(y, 400);
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + (int64_t)day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static inline struct pawl_civil pawl_civil_of_days(int64_t days)
{
    int64_t shifted = days + 719468;
    int64_t era = pawl_floor_div(shifted, 146097);
    int64_t of_era = shifted - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    struct pawl_civil civil;

    civil.day = (unsigned)(of_year - (153 * month + 2) / 5 + 1);
    civil.month = (unsigned)(month < 10 ? month + 3 : month - 9);
    civil.year = year + era * 400 + (civil.month <= 2 ? 1 : 0);
    return civil;
}

#endif
