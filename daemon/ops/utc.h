/*
 * Civil time as text, RFC 3339 in UTC, without the C library's time zones and locks.
 */
#ifndef PAWL_OPS_UTC_H
#define PAWL_OPS_UTC_H

#include "core/types.h"

#define PAWL_UTC_BYTES 40 /* room that every text below fits in, its end included */

/** Seconds since 1970 of "2025-12-31T23:59:59Z"; -1 when @text is anything else. */
int64_t pawl_utc_parse(const char *text);

/** Write @seconds since 1970 in that form; years to 9999. @out has PAWL_UTC_BYTES. */
void pawl_utc_format(uint64_t seconds, char *out);

/** The same from milliseconds: "2025-12-31T23:59:59.123Z". */
void pawl_utc_format_ms(uint64_t ms, char *out);

#endif
