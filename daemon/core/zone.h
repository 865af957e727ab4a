/*
 * A time zone: a TZif file (RFC 8536 and its successor RFC 9636, versions 1 to 4) as a table of
 * spans in which the offset from UTC does not change, and the rule of its footer for the time
 * after.
 *
 * Pure: pawl_zone_parse() reads bytes that somebody else has read from disk, into a struct of the
 * caller; nothing is allocated, and no byte behind the given ones is read. Daylight saving and
 * abbreviations are not kept: only offsets matter here. A zero struct pawl_zone is UTC.
 *
 * From civil time to the instant there are two odd cases. Civil time that comes twice means its
 * first instant. Civil time that is left out means the instant of the gap. Both are one rule: the
 * first instant at which the clock on the wall reads this time or later.
 */
#ifndef PAWL_CORE_ZONE_H
#define PAWL_CORE_ZONE_H

#include "core/status.h"
#include "core/types.h"

#define PAWL_ZONE_BYTES_MAX       65536 /* of a file; the biggest that exist have 4 KiB */
#define PAWL_ZONE_TRANSITIONS_MAX 1024
#define PAWL_ZONE_OFFSET_MAX      93599 /* seconds east of UTC: RFC 8536 section 3.2 */
#define PAWL_ZONE_OFFSET_MIN      (-89999)

/** The day of a year on which the footer's rule changes the offset (POSIX TZ). */
enum pawl_zone_day {
    PAWL_ZONE_DAY_MONTH = 0,  /* Mm.w.d: weekday d (0 Sunday) of week w (5: the last) of month m */
    PAWL_ZONE_DAY_JULIAN = 1, /* Jn: 1 to 365, February 29 is not counted */
    PAWL_ZONE_DAY_PLAIN = 2,  /* n: 0 to 365, February 29 is counted */
};

struct pawl_zone_change {
    enum pawl_zone_day form;
    uint8_t month, week, weekday;
    uint16_t day;
    int32_t time_s; /* of local time before the change: -167 h to 167 h */
};

struct pawl_zone {
    /* private */
    int32_t first_s; /* offset before the first transition */
    uint32_t count;
    int64_t at[PAWL_ZONE_TRANSITIONS_MAX];       /* ascending */
    int32_t offset_s[PAWL_ZONE_TRANSITIONS_MAX]; /* from at[i] on; never that of before */
    bool has_footer;
    bool has_summer; /* the footer has two offsets */
    int32_t winter_s;
    int32_t summer_s;
    struct pawl_zone_change to_summer, to_winter;
};

/** A stretch of time with one offset: from <= t < until. */
struct pawl_zone_span {
    int64_t from;  /* INT64_MIN: since ever */
    int64_t until; /* INT64_MAX: for ever */
    int32_t offset_s;
};

/**
 * Fill @zone from the @bytes of a TZif file. Returns PAWL_OK, or with @error (may be NULL) saying
 * what is wrong: PAWL_ECORRUPT, PAWL_ETOOBIG (more transitions than fit), or PAWL_EINVAL for a file
 * that counts leap seconds ("right/..."), which no clock here does. Then @zone is UTC.
 */
PAWL_MUST_USE enum pawl_status pawl_zone_parse(struct pawl_zone *zone, struct pawl_bytes bytes,
                                               struct pawl_error *error);

/** The span that holds @unix_s. @zone NULL is UTC. */
struct pawl_zone_span pawl_zone_span_at(const struct pawl_zone *zone, int64_t unix_s);

/** Seconds to add to @unix_s for the clock on the wall. @zone NULL is UTC. */
int32_t pawl_zone_offset_at(const struct pawl_zone *zone, int64_t unix_s);

/**
 * The first instant at which the clock on the wall reads @local_s (seconds since 1970-01-01 00:00
 * on that clock) or later: see above. Never less for a later @local_s. @zone NULL is UTC. @local_s
 * is within PAWL_CALENDAR_MIN_S and PAWL_CALENDAR_MAX_S (calendar.h), give or take a year.
 */
int64_t pawl_zone_unix_of(const struct pawl_zone *zone, int64_t local_s);

#endif
