/*
 * Rates as text: "100/minute", "100/5m", "5 per 30 s", "100/60", "10/s, 1000/day".
 *
 *   list   = rate *( "," rate )                     at most PAWL_RATES_MAX
 *   rate   = count "/" period | count "per" period
 *   period = [ number ] unit | number               a bare number is seconds: 100/60
 *   unit   = ms millisecond | s sec second | m min minute | h hr hour | d day | w week,
 *            each with a plural s where it has more than two letters; lower or upper case
 *
 * White space may stand between the words. A count of 0 ("0/minute") is valid and denies all: it
 * blocks. A window is 1 ms to 45 days; a count at most 2^40 - 1. The same window twice in a list
 * is refused, for one of the two could never matter.
 *
 * Pure; reads exactly the bytes given (no terminating zero needed).
 */
#ifndef PAWL_CORE_RATE_TEXT_H
#define PAWL_CORE_RATE_TEXT_H

#include "core/window.h"

#define PAWL_RATES_MAX     8
#define PAWL_RATE_TEXT_MAX 256 /* bytes of a list, in and out, without the zero */

/** Where and why a text is not a rate. */
struct pawl_rate_error {
    size_t position; /* byte, from 0 */
    char text[160];  /* what is wrong there, and what to write instead */
};

/**
 * Parse a list of rates into @rates (room for PAWL_RATES_MAX) and @count.
 *
 * Returns PAWL_OK (at least one rate), or PAWL_EINVAL with @error (may be NULL) filled; @rates
 * may then be partly written and @count is 0.
 */
PAWL_MUST_USE enum pawl_status pawl_rate_text_parse(struct pawl_bytes text, struct pawl_rate *rates,
                                                    size_t *count, struct pawl_rate_error *error);

/**
 * Parse calendar quotas: "1000/month", "50/day, 1000/month", "5 per week". The period is one word,
 * without a number: hour, day, week, month or year, or its plural. Fills count and period of each
 * rate; window_ms is 0. Else as pawl_rate_text_parse().
 */
PAWL_MUST_USE enum pawl_status pawl_rate_text_parse_calendar(struct pawl_bytes text,
                                                             struct pawl_rate *rates, size_t *count,
                                                             struct pawl_rate_error *error);

/**
 * Write @count rates in the canonical form that parses back to the same: "100/5m, 3/day";
 * calendar quotas (those with a period) as "1000/month", for pawl_rate_text_parse_calendar(). The
 * text is cut at @capacity and always ends in a zero if @capacity > 0. Returns the length of the
 * whole text, as snprintf does.
 */
size_t pawl_rate_text_format(const struct pawl_rate *rates, size_t count, char *out,
                             size_t capacity);

/** The word for @kind in a quota: "month"; "" for PAWL_PERIOD_NONE. Never NULL. */
const char *pawl_period_name(enum pawl_period kind);

#endif
