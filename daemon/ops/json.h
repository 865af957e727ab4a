/*
 * Writing JSON into a buffer of fixed size, for log lines. A text that does not fit is cut between
 * characters; a member that does not fit at all is left out; either sets `cut`.
 */
#ifndef PAWL_OPS_JSON_H
#define PAWL_OPS_JSON_H

#include "port/log.h"

/** The caller's storage: set data and capacity, the rest zero. */
struct pawl_json {
    char *data;
    size_t capacity, used;
    bool cut;
};

/** Bytes of the well-formed UTF-8 character at @at, of @size bytes at least 1; 0 = it is none. */
size_t pawl_utf8_length(const uint8_t *at, size_t size);

/** Append @text as it is, all of it or nothing (then cut). */
void pawl_json_raw(struct pawl_json *json, const char *text);

/** Append `,"name":"value"`; @value is escaped, what is no UTF-8 becomes U+FFFD. */
void pawl_json_text(struct pawl_json *json, const char *name, struct pawl_bytes value);

/** Append `,"name":value`, where @value is a number, true or false. */
void pawl_json_plain(struct pawl_json *json, const char *name, const char *value);

/** Append a field of the log by its type; a masked one is left out. */
void pawl_json_field(struct pawl_json *json, const struct pawl_field *field);

#endif
