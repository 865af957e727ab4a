/*
 * Times and durations as people write and read them. Pure: what "now" is comes as an argument.
 */
#ifndef PAWL_CTL_TIME_TEXT_H
#define PAWL_CTL_TIME_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIME_TEXT_BYTES     80 /* what time_text_format() needs at most, with the zero */
#define DURATION_TEXT_BYTES 40 /* the same for duration_text_format() */

/**
 * A duration: "500ms", "5s", "1.5h", "1h30m", or a bare number of seconds.
 *
 * @ms  out: milliseconds, at most 1,000,000 days. Units: ms s m h d w.
 *
 * Returns false when @text is nothing of the kind; *ms is then left alone.
 */
bool duration_text_parse(const char *text, uint64_t *ms);

/** "1d2h", "5s", "1.5s", "90ms", "0s": two units at most, rounded down beneath them. */
void duration_text_format(uint64_t ms, char text[DURATION_TEXT_BYTES]);

/**
 * A moment: seconds since 1970 ("1790000000", "1790000000.25"), RFC 3339 ("2026-09-21T12:00:00Z",
 * also with a blank for the T, a fraction, an offset; without an offset it is UTC; a date alone is
 * its first moment), "now", or relative to now: "+1h", "-5m".
 *
 * @now_ms  milliseconds since 1970, for relative ones.
 * @ms      out: milliseconds since 1970, never negative.
 * @hint    out on false: what is wrong, a constant text.
 */
bool time_text_parse(const char *text, int64_t now_ms, int64_t *ms, const char **hint);

/** RFC 3339 in UTC, whole seconds: "2026-09-21T12:00:00Z". Beyond the year 9999: "far away". */
void time_text_format(uint64_t unix_s, char text[TIME_TEXT_BYTES]);

#endif
