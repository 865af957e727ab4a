#include "adapter/jwt/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define REAL_BYTES_MAX 63

/* ---- texts ----------------------------------------------------------------------------------- */

static void skip_space(struct pawl_json *json)
{
    while (json->at < json->limit &&
           (*json->at == ' ' || *json->at == '\n' || *json->at == '\r' || *json->at == '\t')) {
        json->at++;
    }
}

static bool next_is(struct pawl_json *json, uint8_t byte)
{
    skip_space(json);
    if (json->at == json->limit || *json->at != byte) {
        return false;
    }
    json->at++;
    return true;
}

/* Bytes of the UTF-8 sequence at @at, 0 if it is none: too long for its code, half of a pair, past
 * U+10FFFF (RFC 3629). */
static unsigned sequence(const uint8_t *at, const uint8_t *limit)
{
    unsigned size = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    uint32_t least = size == 4 ? 0x10000 : size == 3 ? 0x800 : 0x80;
    uint32_t code = at[0] & (0x7fU >> size);

    if (at[0] < 0xc2 || at[0] > 0xf4 || (size_t)(limit - at) < size) {
        return 0;
    }
    for (unsigned i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (at[i] & 0x3f);
    }
    return code >= least && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? size : 0;
}

static bool hex4(struct pawl_json *json, uint32_t *code)
{
    if (json->limit - json->at < 4) {
        return false;
    }
    *code = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint8_t digit = *json->at++;

        if (digit >= '0' && digit <= '9') {
            *code = *code << 4 | (uint32_t)(digit - '0');
        } else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f') {
            *code = *code << 4 | (uint32_t)((digit | 0x20) - 'a' + 10);
        } else {
            return false;
        }
    }
    return true;
}

static uint8_t *put_code(uint8_t *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (uint8_t)code;
    } else if (code < 0x800) {
        *out++ = (uint8_t)(0xc0 | code >> 6);
        *out++ = (uint8_t)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = (uint8_t)(0xe0 | code >> 12);
        *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        *out++ = (uint8_t)(0x80 | (code & 0x3f));
    } else {
        *out++ = (uint8_t)(0xf0 | code >> 18);
        *out++ = (uint8_t)(0x80 | (code >> 12 & 0x3f));
        *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        *out++ = (uint8_t)(0x80 | (code & 0x3f));
    }
    return out;
}

/* Behind "\u"; a pair of surrogates is one character. Six bytes become three, twelve four. */
static uint8_t *unicode(struct pawl_json *json, uint8_t *out)
{
    uint32_t code;
    uint32_t low;

    if (!hex4(json, &code) || code == 0 || (code >= 0xdc00 && code <= 0xdfff)) {
        return NULL;
    }
    if (code >= 0xd800 && code <= 0xdbff) {
        if (json->limit - json->at < 6 || json->at[0] != '\\' || json->at[1] != 'u') {
            return NULL;
        }
        json->at += 2;
        if (!hex4(json, &low) || low < 0xdc00 || low > 0xdfff) {
            return NULL;
        }
        code = 0x10000 + ((code - 0xd800) << 10 | (low - 0xdc00));
    }
    return put_code(out, code);
}

/* Behind a backslash. */
static uint8_t *escape(struct pawl_json *json, uint8_t *out)
{
    static const char names[] = "\"\\/bfnrt";
    static const char bytes[] = "\"\\/\b\f\n\r\t";
    const char *found;

    if (json->at == json->limit || *json->at == 0) {
        return NULL;
    }
    uint8_t name = *json->at++;

    if (name == 'u') {
        return unicode(json, out);
    }
    found = strchr(names, name);
    if (found == NULL) {
        return NULL;
    }
    *out++ = (uint8_t)bytes[found - names];
    return out;
}

/* Behind the opening quote. */
static bool read_text(struct pawl_json *json, struct pawl_bytes *text)
{
    uint8_t *begin = json->at;
    uint8_t *out = begin;

    while (json->at < json->limit && *json->at != '"') {
        uint8_t byte = *json->at;

        if (byte == '\\') {
            json->at++;
            out = escape(json, out);
            if (out == NULL) {
                return false;
            }
            continue;
        }
        unsigned size = byte < 0x80 ? 1 : sequence(json->at, json->limit);

        if (byte < 0x20 || size == 0) {
            return false;
        }
        for (unsigned i = 0; i < size; i++) {
            *out++ = *json->at++;
        }
    }
    if (json->at == json->limit) {
        return false;
    }
    json->at++;
    *text = pawl_bytes_of(begin, (size_t)(out - begin));
    return true;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static unsigned digits(struct pawl_json *json)
{
    const uint8_t *begin = json->at;

    while (json->at < json->limit && *json->at >= '0' && *json->at <= '9') {
        json->at++;
    }
    return (unsigned)(json->at - begin);
}

static bool here(const struct pawl_json *json, char byte)
{
    return json->at < json->limit && *json->at == (uint8_t)byte;
}

static bool fraction_and_exponent(struct pawl_json *json, bool *real)
{
    *real = false;
    if (here(json, '.')) {
        *real = true;
        json->at++;
        if (digits(json) == 0) {
            return false;
        }
    }
    if (here(json, 'e') || here(json, 'E')) {
        *real = true;
        json->at++;
        json->at += here(json, '+') || here(json, '-');
        return digits(json) > 0;
    }
    return true;
}

static bool to_integer(const uint8_t *begin, const uint8_t *end, int64_t *out)
{
    bool negative = *begin == '-';

    *out = 0;
    for (const uint8_t *at = begin + negative; at < end; at++) {
        int64_t digit = *at - '0';

        if (__builtin_mul_overflow(*out, 10, out) ||
            __builtin_add_overflow(*out, negative ? -digit : digit, out)) {
            return false;
        }
    }
    return true;
}

static bool is_finite(const uint8_t *begin, size_t size)
{
    char text[REAL_BYTES_MAX + 1];

    if (size > REAL_BYTES_MAX) {
        return false;
    }
    memcpy(text, begin, size);
    text[size] = '\0';
    return isfinite(strtod(text, NULL)) != 0;
}

static bool read_number(struct pawl_json *json, struct pawl_json_value *value)
{
    const uint8_t *begin = json->at;
    bool real;

    json->at += here(json, '-');
    const uint8_t *first = json->at;
    unsigned count = digits(json);

    if (count == 0 || (count > 1 && *first == '0') || !fraction_and_exponent(json, &real)) {
        return false;
    }
    if (real) {
        value->type = PAWL_JSON_REAL;
        return is_finite(begin, (size_t)(json->at - begin));
    }
    value->type = PAWL_JSON_INTEGER;
    return to_integer(begin, json->at, &value->integer);
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool read_value(struct pawl_json *json, struct pawl_bytes name);

static bool read_word(struct pawl_json *json, struct pawl_json_value *value, const char *word,
                      enum pawl_json_type type)
{
    size_t size = strlen(word);

    value->type = type;
    if ((size_t)(json->limit - json->at) < size || memcmp(json->at, word, size) != 0) {
        return false;
    }
    json->at += size;
    return true;
}

/* Members of one object, by walking from value to value. */
static bool is_there(const struct pawl_json *json, unsigned object, struct pawl_bytes name)
{
    for (unsigned i = object + 1; i < json->count; i = json->value[i].end) {
        if (json->value[i].name.size == name.size &&
            (name.size == 0 || memcmp(json->value[i].name.data, name.data, name.size) == 0)) {
            return true;
        }
    }
    return false;
}

static bool read_member(struct pawl_json *json, unsigned object)
{
    struct pawl_bytes name;

    if (!next_is(json, '"') || json->members == PAWL_JWT_MEMBERS_MAX || !read_text(json, &name) ||
        !next_is(json, ':')) {
        return false;
    }
    json->members++;
    if (is_there(json, object, name)) {
        json->twice = true;
        return false;
    }
    return read_value(json, name);
}

/* Behind the opening bracket, up to and with the closing one. Recursion is capped by depth. */
static bool read_inside(struct pawl_json *json, unsigned place, bool object)
{
    uint8_t close = object ? '}' : ']';
    struct pawl_bytes nameless = { NULL, 0 };
    bool good = json->depth < PAWL_JWT_DEPTH_MAX;

    json->depth++;
    if (good && !next_is(json, close)) {
        do {
            good = object ? read_member(json, place) : read_value(json, nameless);
        } while (good && next_is(json, ','));
        good = good && next_is(json, close);
    }
    json->depth--;
    return good;
}

static bool read_by_first(struct pawl_json *json, unsigned place)
{
    struct pawl_json_value *value = &json->value[place];

    switch (*json->at) {
    case '"':
        json->at++;
        value->type = PAWL_JSON_STRING;
        return read_text(json, &value->text);
    case '{':
    case '[':
        value->type = *json->at == '{' ? PAWL_JSON_OBJECT : PAWL_JSON_ARRAY;
        json->at++;
        return read_inside(json, place, value->type == PAWL_JSON_OBJECT);
    case 't':
        return read_word(json, value, "true", PAWL_JSON_TRUE);
    case 'f':
        return read_word(json, value, "false", PAWL_JSON_FALSE);
    case 'n':
        return read_word(json, value, "null", PAWL_JSON_NULL);
    default:
        return read_number(json, value);
    }
}

static bool read_value(struct pawl_json *json, struct pawl_bytes name)
{
    unsigned place = json->count;

    skip_space(json);
    if (place == PAWL_JWT_VALUES_MAX || json->at == json->limit) {
        return false;
    }
    json->count++;
    json->value[place] = (struct pawl_json_value){ .name = name };
    bool good = read_by_first(json, place);

    json->value[place].end = json->count;
    return good;
}

enum pawl_jwt_reason pawl_json_read(struct pawl_json *json, uint8_t *text, size_t size)
{
    struct pawl_bytes nameless = { NULL, 0 };

    json->at = text;
    json->limit = text + size;
    json->count = 0;
    json->depth = 0;
    json->members = 0;
    json->twice = false;
    bool good = read_value(json, nameless) && json->value[0].type == PAWL_JSON_OBJECT;

    skip_space(json);
    if (json->twice) {
        return PAWL_JWT_DUPLICATE;
    }
    return good && json->at == json->limit ? PAWL_JWT_OK : PAWL_JWT_JSON;
}

const struct pawl_json_value *pawl_json_member(const struct pawl_json *json, const char *name)
{
    size_t size = strlen(name);

    for (unsigned i = 1; i < json->count; i = json->value[i].end) {
        if (json->value[i].name.size == size && memcmp(json->value[i].name.data, name, size) == 0) {
            return &json->value[i];
        }
    }
    return NULL;
}
