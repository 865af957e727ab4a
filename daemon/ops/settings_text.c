/*
 * Values as text: for the printed file, for messages, for the reference page.
 */
#include "ops/json.h"
#include "ops/settings_table.h"
#include "ops/utc.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define QUOTED_PATH_BYTES (3 * PAWL_SETTINGS_PATH_MAX + 16) /* \\uXXXX for two bytes at worst */
#define WORD_BYTES        64                                /* longer texts resemble nothing */

/* Largest first: printing takes the first that divides. */
const struct pawl_setting_unit pawl_setting_sizes[] = {
    { "TiB", UINT64_C(1) << 40 },
    { "GiB", UINT64_C(1) << 30 },
    { "MiB", UINT64_C(1) << 20 },
    { "KiB", UINT64_C(1) << 10 },
    { "B", 1 },
    { NULL, 0 },
};

const struct pawl_setting_unit pawl_setting_durations[] = {
    { "d", UINT64_C(86400000) },
    { "h", UINT64_C(3600000) },
    { "m", UINT64_C(60000) },
    { "s", UINT64_C(1000) },
    { "ms", 1 },
    { NULL, 0 },
};

/* ---- words for people ---------------------------------------------------------------------- */

static size_t append(char *out, size_t used, size_t capacity, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static size_t append(char *out, size_t used, size_t capacity, const char *format, ...)
{
    va_list args;
    int wrote;

    if (used >= capacity) {
        return used;
    }
    va_start(args, format);
    wrote = vsnprintf(out + used, capacity - used, format, args);
    va_end(args);
    return wrote > 0 ? used + (size_t)wrote : used;
}

static void format_in_units(const struct pawl_setting_unit *units, uint64_t value, char *out,
                            size_t capacity)
{
    const struct pawl_setting_unit *unit = units;

    while (unit->factor > 1 && value % unit->factor != 0) {
        unit++;
    }
    if (value == 0) { /* every unit divides it; these are how people write it */
        (void)snprintf(out, capacity, "%s", units == pawl_setting_durations ? "0s" : "0B");
        return;
    }
    (void)snprintf(out, capacity, "%" PRIu64 "%s", value / unit->factor, unit->name);
}

static void format_number(const struct pawl_setting *row, uint64_t value, char *out,
                          size_t capacity)
{
    if (row->type == PAWL_SETTING_SIZE) {
        format_in_units(pawl_setting_sizes, value, out, capacity);
    } else if (row->type == PAWL_SETTING_DURATION) {
        format_in_units(pawl_setting_durations, value, out, capacity);
    } else {
        (void)snprintf(out, capacity, "%" PRIu64, value);
    }
}

void pawl_setting_join(const struct pawl_setting_word *words, char *out, size_t capacity)
{
    size_t used = 0;

    out[0] = '\0';
    for (; words->text != NULL; words++) {
        used = append(out, used, capacity, "%s%s", used > 0 ? ", " : "", words->text);
    }
}

/* What may be written of types that have no bounds of their own; NULL for the others. */
static const char *unbounded(enum pawl_setting_type type)
{
    switch (type) {
    case PAWL_SETTING_BOOL:
        return "true or false";
    case PAWL_SETTING_TIME:
        return "off, or a time like \"2025-12-31T23:59:59Z\"";
    case PAWL_SETTING_MODE:
        return "0001 to 0777";
    case PAWL_SETTING_URI:
        return "an address";
    case PAWL_SETTING_PATH:
        return "a path";
    default:
        return NULL;
    }
}

void pawl_setting_describe(const struct pawl_setting *row, char *out)
{
    const size_t capacity = PAWL_SETTING_WHAT_BYTES;
    char low[32];
    char high[32];
    char words[PAWL_SETTING_WHAT_BYTES - 32];

    const char *text = row->value_help != NULL ? row->value_help : unbounded(row->type);

    if (text != NULL) {
        (void)snprintf(out, capacity, "%s", text);
        return;
    }
    switch (row->type) {
    case PAWL_SETTING_UINT:
    case PAWL_SETTING_UINT32:
    case PAWL_SETTING_SIZE:
    case PAWL_SETTING_DURATION:
        format_number(row, row->min, low, sizeof(low));
        format_number(row, row->max, high, sizeof(high));
        (void)snprintf(out, capacity, "%s to %s", low, high);
        break;
    case PAWL_SETTING_WORD:
        pawl_setting_join(row->words, words, sizeof(words));
        (void)snprintf(out, capacity, "one of %s", words);
        break;
    case PAWL_SETTING_WORDS:
        pawl_setting_join(row->words, words, sizeof(words));
        (void)snprintf(out, capacity, "%sone or a list of %s",
                       (row->flags & PAWL_SETTING_EMPTY_OK) != 0 ? "none, or " : "", words);
        break;
    case PAWL_SETTING_NAME:
        (void)snprintf(out, capacity, "%" PRIu64 " to %" PRIu64 " bytes", row->min, row->max);
        break;
    case PAWL_SETTING_PATHS:
        (void)snprintf(out, capacity, "a list of up to %" PRIu64 " paths", row->max);
        break;
    case PAWL_SETTING_RATES:
        (void)snprintf(out, capacity, "a rate, or a list of up to %d", PAWL_RATES_MAX);
        break;
    case PAWL_SETTING_LISTENERS:
        (void)snprintf(out, capacity, "a list of up to %" PRIu64 " addresses", row->max);
        break;
    case PAWL_SETTING_LIMITS:
        (void)snprintf(out, capacity, "up to %" PRIu64 " limits", row->max);
        break;
    case PAWL_SETTING_TEXTS:
        (void)snprintf(out, capacity,
                       "a text or a list of up to %" PRIu64 ", each of %" PRIu64 " to %" PRIu64
                       " bytes",
                       row->max, row->min, row->item_max);
        break;
    case PAWL_SETTING_OVERRIDES:
        (void)snprintf(out, capacity, "a mapping from up to %" PRIu64 " keys to rates", row->max);
        break;
    case PAWL_SETTING_ACKS:
        pawl_setting_join(row->words, words, sizeof(words));
        (void)snprintf(out, capacity, "a mapping from up to %" PRIu64 " namespaces to %.200s",
                       row->max, words);
        break;
    case PAWL_SETTING_LIST:
        (void)snprintf(out, capacity, "a list of up to %" PRIu64 " mappings", row->max);
        break;
    case PAWL_SETTING_NONE:
    default:
        out[0] = '\0';
        break;
    }
}

static size_t min_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/** Edits (insert, remove, replace, swap of neighbours) from @a to @b; both below WORD_BYTES. */
static size_t distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t rows[3][WORD_BYTES + 1];
    size_t i;
    size_t j;

    for (j = 0; j <= b_size; j++) {
        rows[0][j] = j;
    }
    for (i = 1; i <= a_size; i++) {
        size_t *now = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *higher = rows[(i + 1) % 3];

        now[0] = i;
        for (j = 1; j <= b_size; j++) {
            now[j] = min_of(min_of(above[j] + 1, now[j - 1] + 1),
                            above[j - 1] + (a[i - 1] != b[j - 1] ? 1 : 0));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                now[j] = min_of(now[j], higher[j - 2] + 1);
            }
        }
    }
    return rows[a_size % 3][b_size];
}

const char *pawl_setting_nearest(const char *text, const char *const *known, size_t count)
{
    size_t size = strlen(text);
    size_t best = size / 3 + 1;
    const char *nearest = NULL;
    size_t i;

    for (i = 0; i < count && size < WORD_BYTES; i++) {
        size_t far = strlen(known[i]) < WORD_BYTES
                         ? distance(text, size, known[i], strlen(known[i]))
                         : SIZE_MAX;

        if (far < best || (far == best && nearest == NULL)) {
            best = far;
            nearest = known[i];
        }
    }
    return nearest;
}

bool pawl_setting_is_clean(const char *text)
{
    size_t left = strlen(text);

    while (left > 0) {
        size_t length = pawl_utf8_length((const uint8_t *)text, left);

        if (length == 0 || (unsigned char)*text < 0x20 || *text == 0x7f) {
            return false;
        }
        text += length;
        left -= length;
    }
    return true;
}

/**
 * The number of a character of two or three bytes that YAML does not read as it stands: controls
 * above ASCII, line separators, byte order marks and what is no character. 0 = it may stand.
 */
static unsigned needs_number(const uint8_t *at, size_t length)
{
    unsigned number = 0;

    if (length == 2) {
        number = ((unsigned)(at[0] & 0x1f) << 6) | (at[1] & 0x3fu);
        return number < 0xa0 ? number : 0;
    }
    if (length == 3) {
        number =
            ((unsigned)(at[0] & 0x0f) << 12) | ((unsigned)(at[1] & 0x3f) << 6) | (at[2] & 0x3fu);
        return number == 0x2028 || number == 0x2029 || number == 0xfeff || number >= 0xfffe ? number
                                                                                            : 0;
    }
    return 0;
}

void pawl_setting_quote(const char *text, char *out, size_t capacity)
{
    size_t used = 0;
    size_t left = strlen(text);

    out[used++] = '"';
    while (left > 0 && used + 8 < capacity) {
        size_t length = pawl_utf8_length((const uint8_t *)text, left);
        unsigned number = needs_number((const uint8_t *)text, length);

        length = length > 0 ? length : 1; /* not clean: the caller's fault, kept as it is */
        if (number > 0) {
            used += (size_t)snprintf(out + used, 7, "\\u%04x", number);
        } else {
            if (*text == '"' || *text == '\\') {
                out[used++] = '\\';
            }
            memcpy(out + used, text, length);
            used += length;
        }
        text += length;
        left -= length;
    }
    out[used++] = '"';
    out[used] = '\0';
}

static const void *field_in(const struct pawl_setting *row, const void *base)
{
    return (const char *)base + row->offset;
}

static void format_time(uint64_t seconds, char *out)
{
    char text[PAWL_UTC_BYTES];

    if (seconds == 0) {
        (void)snprintf(out, PAWL_SETTING_TEXT_BYTES, "off");
        return;
    }
    pawl_utc_format(seconds, text);
    (void)snprintf(out, PAWL_SETTING_TEXT_BYTES, "\"%s\"", text);
}

static void format_words(const struct pawl_setting *row, unsigned bits, char *out)
{
    const struct pawl_setting_word *word;
    size_t used = append(out, 0, PAWL_SETTING_TEXT_BYTES, "[");

    for (word = row->words; word->text != NULL; word++) {
        if ((bits & word->value) != 0) {
            used = append(out, used, PAWL_SETTING_TEXT_BYTES, "%s%s", used > 1 ? ", " : "",
                          word->text);
        }
    }
    (void)append(out, used, PAWL_SETTING_TEXT_BYTES, "]");
}

static void format_word(const struct pawl_setting *row, unsigned value, char *out)
{
    const struct pawl_setting_word *word = row->words;

    while (word->text != NULL && word->value != value) {
        word++;
    }
    (void)snprintf(out, PAWL_SETTING_TEXT_BYTES, "%s", word->text != NULL ? word->text : "");
}

static void format_paths(const char *const *paths, char *out)
{
    char quoted[QUOTED_PATH_BYTES];
    size_t used = append(out, 0, PAWL_SETTING_TEXT_BYTES, "[");
    size_t i;

    for (i = 0; i < PAWL_SETTINGS_SECRETS_MAX && paths[i][0] != '\0'; i++) {
        pawl_setting_quote(paths[i], quoted, sizeof(quoted));
        used = append(out, used, PAWL_SETTING_TEXT_BYTES, "%s%s", i > 0 ? ", " : "", quoted);
    }
    (void)append(out, used, PAWL_SETTING_TEXT_BYTES, "]");
}

void pawl_setting_format_rates(const struct pawl_rate *rates, unsigned count, char *out)
{
    char text[PAWL_RATE_TEXT_MAX + 1];

    (void)pawl_rate_text_format(rates, count, text, sizeof(text));
    pawl_setting_quote(text, out, PAWL_SETTING_TEXT_BYTES);
}

void pawl_setting_format(const struct pawl_setting *row, const void *base, char *out)
{
    const void *field = field_in(row, base);

    out[0] = '\0';
    switch (row->type) {
    case PAWL_SETTING_BOOL:
        (void)snprintf(out, PAWL_SETTING_TEXT_BYTES, "%s", *(const bool *)field ? "true" : "false");
        break;
    case PAWL_SETTING_UINT:
    case PAWL_SETTING_SIZE:
    case PAWL_SETTING_DURATION:
        format_number(row, *(const uint64_t *)field, out, PAWL_SETTING_TEXT_BYTES);
        break;
    case PAWL_SETTING_UINT32:
        format_number(row, *(const uint32_t *)field, out, PAWL_SETTING_TEXT_BYTES);
        break;
    case PAWL_SETTING_TIME:
        format_time(*(const uint64_t *)field, out);
        break;
    case PAWL_SETTING_WORD:
        format_word(row, *(const unsigned *)field, out);
        break;
    case PAWL_SETTING_WORDS:
        format_words(row, *(const unsigned *)field, out);
        break;
    case PAWL_SETTING_MODE:
        (void)snprintf(out, PAWL_SETTING_TEXT_BYTES, "%04o", *(const uint32_t *)field);
        break;
    case PAWL_SETTING_NAME:
    case PAWL_SETTING_URI:
    case PAWL_SETTING_PATH:
        pawl_setting_quote(*(const char *const *)field, out, PAWL_SETTING_TEXT_BYTES);
        break;
    case PAWL_SETTING_PATHS:
        format_paths(field, out);
        break;
    case PAWL_SETTING_RATES:
        pawl_setting_format_rates(((const struct pawl_limit_settings *)base)->rates,
                                  ((const struct pawl_limit_settings *)base)->rate_count, out);
        break;
    case PAWL_SETTING_TEXTS:
    case PAWL_SETTING_OVERRIDES:
    case PAWL_SETTING_ACKS:
    case PAWL_SETTING_LISTENERS:
    case PAWL_SETTING_LIMITS:
    case PAWL_SETTING_LIST:
    case PAWL_SETTING_NONE:
    default:
        break;
    }
}

bool pawl_setting_applies(const struct pawl_setting *row, const void *base)
{
    const struct pawl_limit_settings *limit = base;

    return row->scope != PAWL_SCOPE_LIMIT || row->algorithms == 0 ||
           (row->algorithms & (1u << limit->algorithm)) != 0;
}

const void *pawl_setting_items(const struct pawl_setting *row, const void *base, unsigned *count)
{
    const void *items;

    memcpy(&items, (const char *)base + row->offset, sizeof(items));
    memcpy(count, (const char *)base + row->count_offset, sizeof(*count));
    return items;
}
