#include "ops/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define UNIT_BYTES 8 /* the longest form of one character: \u001f */

void pawl_json_raw(struct pawl_json *json, const char *text)
{
    size_t size = strlen(text);

    if (size > json->capacity - json->used) {
        json->cut = true;
        return;
    }
    memcpy(json->data + json->used, text, size);
    json->used += size;
}

void pawl_json_plain(struct pawl_json *json, const char *name, const char *value)
{
    size_t before = json->used;

    if (strlen(name) + strlen(value) + 4 > json->capacity - json->used) {
        json->cut = true;
        return;
    }
    json->used += (size_t)snprintf(json->data + before, json->capacity - before, ",\"%s\":", name);
    pawl_json_raw(json, value);
}

/* RFC 3629. */
size_t pawl_utf8_length(const uint8_t *at, size_t size)
{
    uint8_t low = 0x80; /* bounds of the second byte */
    uint8_t high = 0xbf;
    size_t length;
    size_t i;

    if (at[0] < 0x80) {
        return 1;
    }
    if (at[0] < 0xc2 || at[0] > 0xf4) {
        return 0;
    }
    length = at[0] < 0xe0 ? 2 : (at[0] < 0xf0 ? 3 : 4);
    if (length > size) {
        return 0;
    }
    if (at[0] == 0xe0) {
        low = 0xa0; /* no overlong forms */
    } else if (at[0] == 0xed) {
        high = 0x9f; /* no surrogates */
    } else if (at[0] == 0xf0) {
        low = 0x90;
    } else if (at[0] == 0xf4) {
        high = 0x8f; /* nothing above U+10FFFF */
    }
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (i = 2; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

/** The JSON form of the character at @at into @out; returns the bytes read. */
static size_t escape_one(const uint8_t *at, size_t size, char *out, size_t *wrote)
{
    static const char replacement[] = "\xef\xbf\xbd";
    size_t length = pawl_utf8_length(at, size);

    if (length == 0) {
        memcpy(out, replacement, sizeof(replacement) - 1);
        *wrote = sizeof(replacement) - 1;
        return 1;
    }
    if (at[0] == '"' || at[0] == '\\') {
        out[0] = '\\';
        out[1] = (char)at[0];
        *wrote = 2;
    } else if (at[0] < 0x20 || at[0] == 0x7f) {
        *wrote = (size_t)snprintf(out, UNIT_BYTES, "\\u%04x", at[0]);
    } else {
        memcpy(out, at, length);
        *wrote = length;
    }
    return length;
}

void pawl_json_text(struct pawl_json *json, const char *name, struct pawl_bytes value)
{
    char unit[UNIT_BYTES];
    size_t at = 0;

    if (strlen(name) + 7 > json->capacity - json->used) { /* ,"":"" and snprintf's end */
        json->cut = true;
        return;
    }
    json->used +=
        (size_t)snprintf(json->data + json->used, json->capacity - json->used, ",\"%s\":\"", name);
    while (at < value.size) {
        size_t wrote;
        size_t read = escape_one(value.data + at, value.size - at, unit, &wrote);

        if (wrote + 1 > json->capacity - json->used) { /* the closing quote has its place */
            json->cut = true;
            break;
        }
        memcpy(json->data + json->used, unit, wrote);
        json->used += wrote;
        at += read;
    }
    json->data[json->used++] = '"';
}

static struct pawl_bytes bytes_of_text(const char *text)
{
    return pawl_bytes_of(text, text != NULL ? strlen(text) : 0);
}

void pawl_json_field(struct pawl_json *json, const struct pawl_field *field)
{
    char number[40];

    switch (field->type) {
    case PAWL_FIELD_U64:
        (void)snprintf(number, sizeof(number), "%" PRIu64, field->value.u64);
        pawl_json_plain(json, field->name, number);
        break;
    case PAWL_FIELD_I64:
        (void)snprintf(number, sizeof(number), "%" PRId64, field->value.i64);
        pawl_json_plain(json, field->name, number);
        break;
    case PAWL_FIELD_TEXT:
        pawl_json_text(json, field->name, bytes_of_text(field->value.text));
        break;
    case PAWL_FIELD_BYTES:
        pawl_json_text(json, field->name, field->value.bytes);
        break;
    case PAWL_FIELD_ID:
        (void)snprintf(number, sizeof(number), "%016" PRIx64 "%016" PRIx64, field->value.id.hi,
                       field->value.id.lo);
        pawl_json_text(json, field->name, bytes_of_text(number));
        break;
    case PAWL_FIELD_BOOL:
        pawl_json_plain(json, field->name, field->value.flag ? "true" : "false");
        break;
    case PAWL_FIELD_END:
    case PAWL_FIELD_MASKED:
    default:
        break;
    }
}
