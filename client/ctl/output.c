#include "output.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX 1024

void output_json(json_t *object)
{
    (void)json_dumpf(object, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(object);
}

/* The bytes of the UTF-8 sequence at @text (RFC 3629), 0 when it is none. */
static size_t sequence_size(const unsigned char *text, size_t size)
{
    static const struct {
        unsigned char first_min, first_max, second_min, second_max;
        unsigned char size;
    } forms[] = {
        { 0x00, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
        { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
        { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (text[0] < forms[i].first_min || text[0] > forms[i].first_max || size < forms[i].size) {
            continue;
        }
        if (forms[i].size > 1 && (text[1] < forms[i].second_min || text[1] > forms[i].second_max)) {
            continue;
        }
        for (size_t at = 2; at < forms[i].size; at++) {
            if ((text[at] & 0xc0) != 0x80) {
                return 0;
            }
        }
        return forms[i].size;
    }
    return 0;
}

json_t *output_text(const char *text, size_t size)
{
    static const unsigned char replacement[] = { 0xef, 0xbf, 0xbd }; /* U+FFFD */
    char clean[TEXT_MAX * 3];
    size_t used = 0;

    size = size < TEXT_MAX ? size : TEXT_MAX;
    while (size > 0) {
        size_t took = sequence_size((const unsigned char *)text, size);

        if (took > 0) {
            memcpy(clean + used, text, took);
            used += took;
        } else {
            took = 1;
            memcpy(clean + used, replacement, sizeof(replacement));
            used += sizeof(replacement);
        }
        text += took;
        size -= took;
    }
    return json_stringn(clean, used);
}

json_t *output_text_or_null(const char *text, size_t size)
{
    return size == 0 ? json_null() : output_text(text, size);
}

json_t *output_number(uint64_t number)
{
    return json_integer(number > INT64_MAX ? INT64_MAX : (json_int_t)number);
}

json_t *output_charge(uint64_t charge)
{
    char text[20];

    if (charge == 0) {
        return json_null();
    }
    snprintf(text, sizeof(text), "%016" PRIx64, charge);
    return json_string(text);
}

void hex_format(const uint8_t *bytes, size_t size, char *text)
{
    *text = '\0';
    for (size_t i = 0; i < size; i++) {
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *found = c == '\0' ? NULL : strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c);

    return found == NULL ? -1 : (int)(found - digits);
}

bool hex_parse(const char *text, uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(text[2 * i]);
        int low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);

        if (low < 0) {
            return false;
        }
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void fact_text_format(const struct pawl_fact_name *name, char text[FACT_TEXT_BYTES])
{
    size_t size = name->origin_size <= sizeof(name->origin) ? name->origin_size : 0;

    hex_format(name->origin, size, text);
    snprintf(text + 2 * size, FACT_TEXT_BYTES - 2 * size, ":%" PRIu64, name->sequence);
}

bool fact_text_parse(const char *text, struct pawl_fact_name *name)
{
    memset(name, 0, sizeof(*name));
    name->origin_size = sizeof(name->origin);
    if (!hex_parse(text, name->origin, sizeof(name->origin))) {
        return false;
    }
    text += 2 * sizeof(name->origin);
    if ((*text != ':' && *text != '-') || text[1] == '\0') {
        return false;
    }
    for (text++; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || name->sequence > (UINT64_MAX - 9) / 10) {
            return false;
        }
        name->sequence = name->sequence * 10 + (uint64_t)(*text - '0');
    }
    return true;
}

void output_line(const char *name, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list arguments;

    va_start(arguments, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it was begun in the line above */
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    printf("%-16s %s\n", name, text);
}
