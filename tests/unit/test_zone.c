/* Time zones and calendar periods, with the C library's own reading of the same files as oracle. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/calendar.h"
#include "core/civil.h"

#define FOLDER "/usr/share/zoneinfo/"
#define HOUR   3600
#define DAY    86400

static const char *const names[] = {
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Dublin",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Santiago",
    "America/Havana",
    "America/Nuuk",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Shanghai",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Pacific/Chatham",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Antarctica/Troll",
};

static uint8_t bytes[PAWL_ZONE_BYTES_MAX + 1];
static struct pawl_zone zone;

static size_t file_read(const char *name)
{
    char path[256];
    FILE *file;

    (void)snprintf(path, sizeof(path), FOLDER "%s", name);
    file = fopen(path, "rb");
    if (file == NULL) {
        return 0;
    }
    size_t size = fread(bytes, 1, sizeof(bytes), file);

    (void)fclose(file);
    return size;
}

static void zone_load(const char *name)
{
    struct pawl_error error;
    size_t size = file_read(name);

    if (size == 0) {
        fail_msg(FOLDER "%s is missing: install tzdata", name);
    }
    if (pawl_zone_parse(&zone, pawl_bytes_of(bytes, size), &error) != PAWL_OK) {
        fail_msg("%s: %s", name, error.text);
    }
    assert_int_equal(setenv("TZ", name, 1), 0);
    tzset();
}

static struct tm local_of(int64_t unix_s)
{
    time_t at = (time_t)unix_s;
    struct tm tm;

    assert_non_null(localtime_r(&at, &tm));
    return tm;
}

static uint64_t random_state = 1;

static int64_t random_below(int64_t bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (int64_t)(random_state >> 20) % bound;
}

/* Between 1800 and 2200, often near a change of that zone. */
static int64_t some_time(void)
{
    int64_t at = INT64_C(-5364662400) + random_below(INT64_C(12622780800));

    if (random_below(2) == 0) {
        struct pawl_zone_span span = pawl_zone_span_at(&zone, at);

        if (span.until != INT64_MAX && span.until < INT64_C(7258118400)) {
            at = span.until + random_below(7) - 3 + (random_below(2) == 0 ? 0 : random_below(DAY));
        }
    }
    return at;
}

static void offsets_are_those_of_the_c_library(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        zone_load(names[i]);
        for (unsigned j = 0; j < 4000; j++) {
            int64_t at = some_time();
            struct pawl_zone_span span = pawl_zone_span_at(&zone, at);

            if (local_of(at).tm_gmtoff != span.offset_s) {
                fail_msg("%s at %lld: %ld, not %d", names[i], (long long)at,
                         (long)local_of(at).tm_gmtoff, span.offset_s);
            }
            assert_true(span.from <= at && at < span.until);
            assert_int_equal(pawl_zone_offset_at(&zone, at), span.offset_s);
        }
    }
}

static void every_zone_of_the_system_is_read_and_agrees_in_2030_and_2100(void **state)
{
    DIR *dir = opendir(FOLDER "America");
    unsigned read = 0;

    (void)state;
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char name[300];

        (void)snprintf(name, sizeof(name), "America/%s", entry->d_name);
        if (strchr(entry->d_name, '.') != NULL || strlen(name) > 60 || file_read(name) < 44) {
            continue; /* folders read as nothing */
        }
        zone_load(name);
        for (int64_t at = INT64_C(1893456000); at < INT64_C(4133894400) + 366 * DAY;
             at += at == INT64_C(1893456000) + 366 * DAY ? INT64_C(2208000000) : 6 * DAY) {
            assert_int_equal(pawl_zone_offset_at(&zone, at), local_of(at).tm_gmtoff);
        }
        read++;
    }
    (void)closedir(dir);
    assert_true(read > 100);
}

/* ---- from civil time ---- */

static void civil_time_that_is_left_out_or_comes_twice_is_the_first_moment_of_it(void **state)
{
    static const struct {
        const char *name;
        int64_t day;
        int64_t clock_s;
        int64_t utc_s; /* on that day */
    } cases[] = {
        { "Europe/Berlin", 20541, 2 * HOUR, HOUR },        /* 2026-03-29 02:00 is left out */
        { "Europe/Berlin", 20541, 2 * HOUR + 1800, HOUR }, /* 02:30: the moment of the gap */
        { "Europe/Berlin", 20541, 3 * HOUR, HOUR },        /* 03:00 */
        { "Europe/Berlin", 20751, 2 * HOUR + 1800, 1800 }, /* 2026-10-25 02:30, the first */
        { "Europe/Berlin", 20751, 3 * HOUR, 2 * HOUR },    /* 03:00, once */
        { "America/Sao_Paulo", 17839, 0, 3 * HOUR },       /* 2018-11-04 begins at 01:00 */
        { "America/Havana", 20758, 0, 4 * HOUR },          /* 2026-11-01 00:00, the first */
        { "Pacific/Apia", 15338, 0, -14 * HOUR + 0 },      /* 2011-12-30 was left out: as 31 */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        zone_load(cases[i].name);
        int64_t wanted = cases[i].day * DAY + cases[i].utc_s;

        if (strcmp(cases[i].name, "Pacific/Apia") == 0) {
            wanted = INT64_C(1325239200); /* 2011-12-30T10:00Z */
            assert_int_equal(pawl_zone_unix_of(&zone, 15339 * DAY), wanted);
        }
        assert_int_equal(pawl_zone_unix_of(&zone, cases[i].day * DAY + cases[i].clock_s), wanted);
    }
}

static void civil_time_to_the_instant_never_goes_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        zone_load(names[i]);
        for (unsigned j = 0; j < 1000; j++) {
            int64_t at = some_time();
            int64_t local_s = at + pawl_zone_offset_at(&zone, at);
            int64_t first = pawl_zone_unix_of(&zone, local_s);

            assert_true(first <= at);
            assert_true(first + pawl_zone_offset_at(&zone, first) >= local_s);
            assert_true(first - 1 + pawl_zone_offset_at(&zone, first - 1) < local_s);
            assert_true(pawl_zone_unix_of(&zone, local_s - 1 - random_below(DAY)) <= first);
        }
    }
}

static void civil_dates_are_those_of_the_c_library_and_back(void **state)
{
    (void)state;
    assert_int_equal(pawl_days_of_civil(1970, 1, 1), 0);
    assert_int_equal(pawl_days_of_civil(2000, 3, 1), 11017);
    for (int64_t days = -719162; days < 2932896; days += 97) { /* 0001 to 9999 */
        struct pawl_civil civil = pawl_civil_of_days(days);
        time_t at = (time_t)(days * DAY);
        struct tm tm;

        assert_non_null(gmtime_r(&at, &tm));
        assert_int_equal(civil.year, tm.tm_year + 1900);
        assert_int_equal(civil.month, tm.tm_mon + 1);
        assert_int_equal(civil.day, tm.tm_mday);
        assert_int_equal(pawl_days_of_civil(civil.year, civil.month, civil.day), days);
    }
}

/* ---- periods ---- */

/* The day a period begins on, by what the C library says of the clock on the wall then. */
static bool begins_period(const struct tm *tm, enum pawl_period kind, int anchor)
{
    bool leap = (tm->tm_year % 4 == 0 && tm->tm_year % 100 != 0) || (tm->tm_year + 300) % 400 == 0;
    static const int days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int last = days[tm->tm_mon] + (tm->tm_mon == 1 && leap ? 1 : 0);

    switch (kind) {
    case PAWL_PERIOD_WEEK:
        return tm->tm_wday == anchor % 7;
    case PAWL_PERIOD_MONTH:
        return tm->tm_mday == (anchor < last ? anchor : last);
    case PAWL_PERIOD_YEAR:
        return tm->tm_mon == 0 && tm->tm_mday == anchor;
    default:
        return true;
    }
}

/* Between the periods' ends there are as many days on the wall as there have to be, about. */
static void check_period(const char *name, enum pawl_period kind, int anchor, int64_t at)
{
    static const int64_t least_days[6] = { 0, 0, 0, 6, 27, 364 };
    static const int64_t most_days[6] = { 0, 0, 2, 8, 32, 367 };
    struct pawl_calendar_period period =
        pawl_calendar_period_of(&zone, kind, (unsigned)anchor, (struct pawl_wall){ at });
    struct pawl_calendar_period next =
        pawl_calendar_period_of(&zone, kind, (unsigned)anchor, (struct pawl_wall){ period.end_s });
    struct pawl_calendar_period last =
        pawl_calendar_period_of(&zone, kind, (unsigned)anchor,
                                (struct pawl_wall){ period.end_s - 1 });
    struct tm tm = local_of(period.start_s);
    int64_t days = (period.end_s - period.start_s) / DAY;

    if (period.start_s > at || period.end_s <= at || next.start_s != period.end_s ||
        last.start_s != period.start_s || last.end_s != period.end_s ||
        !begins_period(&tm, kind, anchor) || days < least_days[kind] || days > most_days[kind]) {
        fail_msg("%s kind %d anchor %d at %lld: %lld to %lld", name, (int)kind, anchor,
                 (long long)at, (long long)period.start_s, (long long)period.end_s);
    }
    tm = local_of(period.start_s - 1);
    if (tm.tm_hour == 23 && tm.tm_min == 59 && kind != PAWL_PERIOD_DAY) {
        time_t before = (time_t)period.start_s - 1;

        assert_non_null(localtime_r(&before, &tm)); /* the day before is of the period before */
        assert_false(begins_period(&tm, kind, anchor));
    }
}

static void periods_hold_their_time_and_follow_each_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        zone_load(names[i]);
        if (strcmp(names[i], "Pacific/Apia") == 0 || strcmp(names[i], "Pacific/Kiritimati") == 0) {
            continue; /* days that were left out: below */
        }
        for (unsigned j = 0; j < 400; j++) {
            int64_t at = INT64_C(946684800) + random_below(INT64_C(6311433600)); /* 2000 to 2199 */
            int anchor = 1 + (int)random_below(31);

            check_period(names[i], PAWL_PERIOD_DAY, anchor, at);
            check_period(names[i], PAWL_PERIOD_WEEK, 1 + anchor % 7, at);
            check_period(names[i], PAWL_PERIOD_MONTH, anchor, at);
            check_period(names[i], PAWL_PERIOD_YEAR, anchor, at);
        }
    }
}

static void expect(const char *name, enum pawl_period kind, unsigned anchor, int64_t at,
                   int64_t start_s, int64_t end_s)
{
    if (name != NULL) {
        zone_load(name);
    }
    struct pawl_calendar_period period = pawl_calendar_period_of(name != NULL ? &zone : NULL, kind,
                                                                 anchor, (struct pawl_wall){ at });

    assert_int_equal(period.start_s, start_s);
    assert_int_equal(period.end_s, end_s);
}

static void days_of_23_and_25_hours_short_months_and_borders_of_years(void **state)
{
    int64_t march = 20541 * DAY;   /* 2026-03-29 */
    int64_t october = 20751 * DAY; /* 2026-10-25 */

    (void)state;
    expect("Europe/Berlin", PAWL_PERIOD_DAY, 0, march, march - HOUR, march + 22 * HOUR);
    expect("Europe/Berlin", PAWL_PERIOD_DAY, 0, october, october - 2 * HOUR, october + 23 * HOUR);
    expect("Europe/Berlin", PAWL_PERIOD_HOUR, 0, october + 1800, october, october + HOUR);
    expect("Europe/Berlin", PAWL_PERIOD_HOUR, 0, october + HOUR, october + HOUR,
           october + 2 * HOUR);
    expect("Asia/Kolkata", PAWL_PERIOD_HOUR, 0, march, march - 1800, march + 1800);
    expect("Asia/Kathmandu", PAWL_PERIOD_DAY, 0, march, march - 20700, march - 20700 + DAY);
    /* Anchor 31: January 31, then February 28, then March 31. */
    expect(NULL, PAWL_PERIOD_MONTH, 31, 20485 * DAY, 20484 * DAY, 20512 * DAY);
    expect(NULL, PAWL_PERIOD_MONTH, 31, 20512 * DAY, 20512 * DAY, 20543 * DAY);
    /* Anchor 29 in a leap year: 2028-02-29 is its own. */
    expect(NULL, PAWL_PERIOD_MONTH, 29, 21243 * DAY, 21243 * DAY, 21272 * DAY);
    /* The years 2026 and, with anchor 31, 2026-01-31 on. */
    expect(NULL, PAWL_PERIOD_YEAR, 0, 20454 * DAY, 20454 * DAY, 20819 * DAY);
    expect(NULL, PAWL_PERIOD_YEAR, 31, 20454 * DAY, 20119 * DAY, 20484 * DAY);
    expect(NULL, PAWL_PERIOD_WEEK, 1, 0, -3 * DAY, 4 * DAY);
    expect(NULL, PAWL_PERIOD_WEEK, 4, 0, 0, 7 * DAY);
    expect(NULL, PAWL_PERIOD_WEEK, 5, 0, -6 * DAY, DAY);
    /* 2011-12-30 never was in Apia: the day before ends where the 31st begins. */
    expect("Pacific/Apia", PAWL_PERIOD_DAY, 0, INT64_C(1325239199), INT64_C(1325152800),
           INT64_C(1325239200));
    expect("Pacific/Apia", PAWL_PERIOD_DAY, 0, INT64_C(1325239200), INT64_C(1325239200),
           INT64_C(1325325600));
    /* A change by half an hour within an hour ends it. */
    zone_load("Australia/Lord_Howe");
    struct pawl_zone_span span = pawl_zone_span_at(&zone, march);
    struct pawl_calendar_period hour =
        pawl_calendar_period_of(&zone, PAWL_PERIOD_HOUR, 0, (struct pawl_wall){ span.until });

    assert_int_equal(hour.start_s, span.until);
    assert_int_equal(hour.end_s, span.until + 1800);
}

static void times_out_of_the_calendar_count_as_its_first_and_last_day(void **state)
{
    static const int64_t ends[] = { INT64_MIN, INT64_MAX, PAWL_CALENDAR_MIN_S,
                                    PAWL_CALENDAR_MAX_S };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        zone_load(names[i]);
        for (int kind = PAWL_PERIOD_HOUR; kind <= PAWL_PERIOD_YEAR; kind++) {
            for (unsigned j = 0; j < 4; j++) {
                struct pawl_calendar_period period =
                    pawl_calendar_period_of(&zone, (enum pawl_period)kind, 7,
                                            (struct pawl_wall){ ends[j] });
                int64_t at = j % 2 == 0 ? PAWL_CALENDAR_MIN_S : PAWL_CALENDAR_MAX_S;

                assert_true(period.start_s <= at && at < period.end_s);
            }
        }
    }
}

/* ---- files that are not right ---- */

static void a_file_that_is_cut_or_changed_is_refused_or_read_and_never_more(void **state)
{
    struct pawl_error error;
    size_t size;

    (void)state;
    zone_load("Europe/Berlin");
    size = file_read("Europe/Berlin");
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *exact = malloc(cut > 0 ? cut : 1); /* the sanitizer sees a byte more */

        assert_non_null(exact);
        memcpy(exact, bytes, cut);
        assert_int_equal(pawl_zone_parse(&zone, pawl_bytes_of(exact, cut), &error), PAWL_ECORRUPT);
        assert_int_equal(pawl_zone_offset_at(&zone, 0), 0);
        free(exact);
    }
    assert_int_equal(pawl_zone_parse(&zone, pawl_bytes_of(bytes, sizeof(bytes)), &error),
                     PAWL_ETOOBIG);
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        (void)!pawl_zone_parse(&zone, pawl_bytes_of(bytes, size), &error);
        (void)pawl_zone_unix_of(&zone, INT64_C(1774742400));
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

/* A version 2 file without transitions, and with this footer. */
static enum pawl_status parse_footer(const char *footer, struct pawl_error *error)
{
    static const uint8_t head[] = { 'T', 'Z', 'i', 'f', '3', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                    0,   0,   0,   0,   0,   0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                    0,   0,   0,   0,   0,   0, 0, 0, 0, 1, 0, 0, 0, 4 };
    static const uint8_t block[] = { 0, 0, 0, 0, 0, 0, 'X', 'Y', 'Z', 0 };
    size_t size = 0;

    for (unsigned i = 0; i < 2; i++) {
        memcpy(bytes + size, head, sizeof(head));
        memcpy(bytes + size + sizeof(head), block, sizeof(block));
        size += sizeof(head) + sizeof(block);
    }
    bytes[size++] = '\n';
    memcpy(bytes + size, footer, strlen(footer));
    size += strlen(footer);
    bytes[size++] = '\n';
    return pawl_zone_parse(&zone, pawl_bytes_of(bytes, size), error);
}

static void footers_are_read_as_the_standard_has_them(void **state)
{
    static const char *const good[] = {
        "XYZ0",
        "<-03>3",
        "<+0330>-3:30",
        "EST5EDT,M3.2.0,M11.1.0",
        "IST-1GMT0,M10.5.0,M3.5.0/1",
        "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
        "EET-2EEST,M3.4.4/50,M10.4.4/50",
        "XXX3EDT4,0/0,J365/23",
        "AAA-12:45BBB-13:45:30,J60/2:45:10,59/-167",
    };
    static const char *const bad[] = {
        "X0",
        "XYZ",
        "XYZ25",
        "XYZ0ABC",
        "XYZ0ABC,M3.2.0",
        "XYZ0ABC,",
        "<X0",
        "XYZ0ABC,M13.1.0,M1.1.0",
        "XYZ0ABC,M1.6.0,M1.1.0",
        "XYZ0ABC,M1.1.7,M1.1.0",
        "XYZ0ABC,J0,J1",
        "XYZ0ABC,J366,J1",
        "XYZ0ABC,366,1",
        "XYZ0ABC,J1/168,J2",
        "XYZ0ABC,J1,J2,",
        "XYZ0:60",
        "XYZ0ABC,J1,J2 ",
    };
    struct pawl_error error;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(parse_footer(good[i], &error), PAWL_OK);
        assert_int_equal(setenv("TZ", good[i], 1), 0);
        tzset();
        /* glibc takes neither small hours nor this one: below */
        for (unsigned j = 0; j < 3000 && strchr("AX", good[i][0]) == NULL; j++) {
            int64_t at = INT64_C(1600000000) + random_below(INT64_C(4000000000));

            if (pawl_zone_offset_at(&zone, at) != local_of(at).tm_gmtoff) {
                fail_msg("%s at %lld", good[i], (long long)at);
            }
        }
    }
    /* Summer time all year, which glibc loses for three hours of some new years. */
    assert_int_equal(parse_footer("XXX3EDT4,0/0,J365/23", &error), PAWL_OK);
    for (int64_t at = INT64_C(1600000000); at < INT64_C(5600000000); at += 1800) {
        assert_int_equal(pawl_zone_offset_at(&zone, at), -4 * HOUR);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (parse_footer(bad[i], &error) != PAWL_ECORRUPT) {
            fail_msg("\"%s\" was read", bad[i]);
        }
        assert_non_null(strstr(error.text, "last line"));
    }
    assert_int_equal(parse_footer("", &error), PAWL_OK);
    bytes[54 + 31] = 1; /* leap seconds */
    assert_int_equal(pawl_zone_parse(&zone, pawl_bytes_of(bytes, 400), &error), PAWL_EINVAL);
    assert_non_null(strstr(error.text, "right/"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_are_those_of_the_c_library),
        cmocka_unit_test(every_zone_of_the_system_is_read_and_agrees_in_2030_and_2100),
        cmocka_unit_test(civil_time_that_is_left_out_or_comes_twice_is_the_first_moment_of_it),
        cmocka_unit_test(civil_time_to_the_instant_never_goes_back),
        cmocka_unit_test(civil_dates_are_those_of_the_c_library_and_back),
        cmocka_unit_test(periods_hold_their_time_and_follow_each_other),
        cmocka_unit_test(days_of_23_and_25_hours_short_months_and_borders_of_years),
        cmocka_unit_test(times_out_of_the_calendar_count_as_its_first_and_last_day),
        cmocka_unit_test(a_file_that_is_cut_or_changed_is_refused_or_read_and_never_more),
        cmocka_unit_test(footers_are_read_as_the_standard_has_them),
    };

    return cmocka_run_group_tests_name("zone", tests, NULL, NULL);
}
