/*
 * What pawlctl prints: one JSON object, or short aligned lines for people.
 */
#ifndef PAWL_CTL_OUTPUT_H
#define PAWL_CTL_OUTPUT_H

#include <jansson.h>
#include <pawl/pawl.h>
#include <stdbool.h>

/** Longest text of a fact's id: 32 hex digits, a colon, 20 digits, the zero. */
#define FACT_TEXT_BYTES 56

/** Print @object as one line and let it go. */
void output_json(json_t *object);

/** @text (any bytes) as a JSON string; what is not UTF-8 turns into U+FFFD. Never NULL. */
json_t *output_text(const char *text, size_t size);

/** The same, but null for an empty text. */
json_t *output_text_or_null(const char *text, size_t size);

/** A number of milliseconds or seconds; above 2^63 it is cut. */
json_t *output_number(uint64_t number);

/** A charge as 16 hex digits, or null: JSON numbers lose bits. */
json_t *output_charge(uint64_t charge);

/** "origin in hex:sequence". */
void fact_text_format(const struct pawl_fact_name *name, char text[FACT_TEXT_BYTES]);

/** Read it back; the daemon's logs write "-" for the colon, which is taken too. */
bool fact_text_parse(const char *text, struct pawl_fact_name *name);

/** @bytes as 2 * @size hexadecimal digits and the closing zero. */
void hex_format(const uint8_t *bytes, size_t size, char *text);

/** The first 2 * @size digits of @text, which ends in a zero; false where they are none. */
bool hex_parse(const char *text, uint8_t *bytes, size_t size);

/** "name  value" with the values one below the other. */
void output_line(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
