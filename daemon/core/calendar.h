/*
 * Calendar quotas: so much in each hour, day, week, month or year of a time zone.
 *
 * A period begins where the clock on the wall of its zone first reads midnight of its first day or
 * later, and ends where the next one begins: a day has 23 or 25 hours where the zone changes. An
 * hour is an hour of that clock; a change of the zone within it ends it. Weeks begin on Monday, or
 * on the anchor day (1 Monday to 7 Sunday). Months begin on the anchor day, or on their last day
 * where they are shorter. Years begin on the anchor day of January.
 *
 * The record holds the period it counts in and how much was charged there. A wall clock that goes
 * back does not take it back to an earlier period: the later one, with its count, stays. One that
 * jumps ahead begins the period it shows. Never over by the wall clock: no period is begun twice
 * while its record is there, and a record goes only when both clocks say that its period is over.
 */
#ifndef PAWL_CORE_CALENDAR_H
#define PAWL_CORE_CALENDAR_H

#include "core/window.h"
#include "core/zone.h"

#define PAWL_CALENDAR_MIN_S      INT64_C(-62135596800) /* 0001-01-01; earlier counts as then */
#define PAWL_CALENDAR_MAX_S      INT64_C(253402300799) /* 9999-12-31; later counts as then */
#define PAWL_ANCHOR_DAY_MAX      31
#define PAWL_ANCHOR_DAY_WEEK_MAX 7

/** A period of civil time: start <= t < end, in seconds since 1970 UTC. */
struct pawl_calendar_period {
    int64_t start_s;
    int64_t end_s;
};

/**
 * The period of @kind (not PAWL_PERIOD_NONE) that holds @wall, in @zone (NULL: UTC), with
 * @anchor_day (0 is 1). Cannot fail; end_s > start_s.
 */
struct pawl_calendar_period pawl_calendar_period_of(const struct pawl_zone *zone,
                                                    enum pawl_period kind, unsigned anchor_day,
                                                    struct pawl_wall wall);

#endif
