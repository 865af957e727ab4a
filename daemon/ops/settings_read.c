/*
 * Reading one value; settings_text.c is its inverse.
 */
#include "ops/settings_read.h"
#include "ops/utc.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum pawl_status pawl_setting_refuse(struct pawl_setting_reader *reader, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(reader->what, sizeof(reader->what), format, args);
    va_end(args);
    reader->status = PAWL_EINVAL;
    return PAWL_EINVAL;
}

enum pawl_status pawl_setting_no_memory(struct pawl_setting_reader *reader)
{
    reader->status = PAWL_ENOMEM;
    return PAWL_ENOMEM;
}

/* ---- scalars ------------------------------------------------------------------------------- */

/**
 * Digits at the front of @text into @value. Returns the bytes read; 0 when there are none or the
 * number does not fit.
 */
static size_t read_digits(const char *text, uint64_t *value)
{
    size_t used = 0;

    *value = 0;
    while (text[used] >= '0' && text[used] <= '9') {
        uint64_t digit = (uint64_t)(text[used] - '0');

        if (*value > (UINT64_MAX - digit) / 10) {
            return 0;
        }
        *value = *value * 10 + digit;
        used++;
    }
    return used;
}

static enum pawl_status check_bounds(const struct pawl_setting *row, uint64_t value,
                                     const char *text, struct pawl_setting_reader *reader)
{
    char bounds[PAWL_SETTING_WHAT_BYTES];
    bool over = value > row->max;

    if (value >= row->min && !over) {
        return PAWL_OK;
    }
    pawl_setting_describe(row, bounds);
    return pawl_setting_refuse(reader, "%.40s is too %s; give %.80s", text,
                               over ? "much" : "little", bounds);
}

static enum pawl_status read_plain_number(const struct pawl_setting *row, const char *text,
                                          uint64_t *value, struct pawl_setting_reader *reader)
{
    char bounds[PAWL_SETTING_WHAT_BYTES];
    size_t used = read_digits(text, value);

    if (used == 0 || text[used] != '\0') {
        pawl_setting_describe(row, bounds);
        return pawl_setting_refuse(reader, "\"%.40s\" is not a whole number; give %.80s", text,
                                   bounds);
    }
    return check_bounds(row, *value, text, reader);
}

static const struct pawl_setting_unit *find_unit(const struct pawl_setting_unit *units,
                                                 const char *name)
{
    for (; units->name != NULL; units++) {
        if (strcmp(units->name, name) == 0) {
            return units;
        }
    }
    return NULL;
}

/** A number and its unit: "256MiB", "10s", also with a space between. */
static enum pawl_status read_with_unit(const struct pawl_setting *row, const char *text,
                                       uint64_t *value, struct pawl_setting_reader *reader)
{
    bool is_size = row->type == PAWL_SETTING_SIZE;
    const char *allowed = is_size ? "B, KiB, MiB, GiB or TiB" : "ms, s, m, h or d";
    const struct pawl_setting_unit *unit;
    uint64_t number;
    size_t used = read_digits(text, &number);

    if (used == 0) {
        return pawl_setting_refuse(reader,
                                   "\"%.40s\" is not a number with a unit; write it like %s", text,
                                   is_size ? "256MiB" : "10s");
    }
    while (text[used] == ' ') {
        used++;
    }
    if (text[used] == '\0' && (is_size || number == 0)) {
        unit =
            find_unit(is_size ? pawl_setting_sizes : pawl_setting_durations, is_size ? "B" : "ms");
    } else {
        unit = find_unit(is_size ? pawl_setting_sizes : pawl_setting_durations, text + used);
    }
    if (unit == NULL) {
        return pawl_setting_refuse(reader, "%.40s %s; give one of %s", text,
                                   text[used] == '\0' ? "has no unit" : "has an unknown unit",
                                   allowed);
    }
    if (number > UINT64_MAX / unit->factor) {
        number = UINT64_MAX;
        return check_bounds(row, number, text, reader);
    }
    *value = number * unit->factor;
    if (row->step > 1 && *value % row->step != 0) {
        return pawl_setting_refuse(reader, "%.40s is not a whole number of seconds; round it",
                                   text);
    }
    return check_bounds(row, *value, text, reader);
}

static enum pawl_status read_number(const struct pawl_setting *row, const char *text, void *field,
                                    struct pawl_setting_reader *reader)
{
    enum pawl_status status;
    uint64_t value;
    uint32_t narrow;

    if (row->type == PAWL_SETTING_SIZE || row->type == PAWL_SETTING_DURATION) {
        status = read_with_unit(row, text, &value, reader);
    } else {
        status = read_plain_number(row, text, &value, reader);
    }
    if (status != PAWL_OK) {
        return status;
    }
    if (row->type == PAWL_SETTING_UINT32) {
        narrow = (uint32_t)value; /* the row's max is below 2^32 */
        memcpy(field, &narrow, sizeof(narrow));
    } else {
        memcpy(field, &value, sizeof(value));
    }
    return PAWL_OK;
}

static enum pawl_status read_bool(const char *text, void *field, struct pawl_setting_reader *reader)
{
    bool value = strcmp(text, "true") == 0;

    if (!value && strcmp(text, "false") != 0) {
        return pawl_setting_refuse(reader, "\"%.40s\" is neither true nor false; write one of them",
                                   text);
    }
    memcpy(field, &value, sizeof(value));
    return PAWL_OK;
}

static enum pawl_status read_mode(const char *text, void *field, struct pawl_setting_reader *reader)
{
    uint32_t mode = 0;
    size_t i;

    for (i = 0; text[i] >= '0' && text[i] <= '7' && i < 5; i++) {
        mode = mode * 8 + (uint32_t)(text[i] - '0');
    }
    if (i < 3 || text[i] != '\0' || mode > 0777 || mode == 0) { /* 0: nobody could connect */
        return pawl_setting_refuse(
            reader, "\"%.40s\" is not a mode; write three or four octal digits like 0660", text);
    }
    memcpy(field, &mode, sizeof(mode));
    return PAWL_OK;
}

/** The bits or number of one word; 0 words of the list match = PAWL_EINVAL with a suggestion. */
static enum pawl_status find_word(const struct pawl_setting *row, const char *text, unsigned *value,
                                  struct pawl_setting_reader *reader)
{
    const char *known[16];
    char all[128];
    size_t count = 0;
    const char *nearest;

    for (count = 0; count < 16 && row->words[count].text != NULL; count++) {
        known[count] = row->words[count].text;
        if (strcmp(text, known[count]) == 0) {
            *value = row->words[count].value;
            return PAWL_OK;
        }
    }
    nearest = pawl_setting_nearest(text, known, count);
    pawl_setting_join(row->words, all, sizeof(all));
    if (nearest != NULL) {
        return pawl_setting_refuse(reader, "\"%.40s\" is not known; did you mean %s? (%s)", text,
                                   nearest, all);
    }
    return pawl_setting_refuse(reader, "\"%.40s\" is not known; give one of %s", text, all);
}

static enum pawl_status read_word(const struct pawl_setting *row, const char *text, void *field,
                                  struct pawl_setting_reader *reader)
{
    unsigned value;
    enum pawl_status status = find_word(row, text, &value, reader);

    if (status == PAWL_OK) {
        memcpy(field, &value, sizeof(value));
    }
    return status;
}

/* ---- texts --------------------------------------------------------------------------------- */

static enum pawl_status keep_text(const char *text, void *field, struct pawl_setting_reader *reader)
{
    const char *copy = pawl_pool_text(reader->pool, text, strlen(text));

    if (copy == NULL) {
        return pawl_setting_no_memory(reader);
    }
    memcpy(field, &copy, sizeof(copy));
    return PAWL_OK;
}

static enum pawl_status read_name(const struct pawl_setting *row, const char *text, void *field,
                                  struct pawl_setting_reader *reader)
{
    size_t size = strlen(text);

    if (size < row->min || size > row->max) {
        return pawl_setting_refuse(reader, "has %zu bytes; give %" PRIu64 " to %" PRIu64, size,
                                   row->min, row->max);
    }
    if (!pawl_setting_is_clean(text)) {
        return pawl_setting_refuse(reader, NOT_CLEAN);
    }
    return keep_text(text, field, reader);
}

static enum pawl_status read_path(const struct pawl_setting *row, const char *text, void *field,
                                  struct pawl_setting_reader *reader)
{
    char path[PAWL_SETTINGS_PATH_MAX];
    int size;

    if (text[0] == '\0') {
        return row->initial != NULL || (row->flags & PAWL_SETTING_EMPTY_OK) != 0
                   ? keep_text(text, field, reader)
                   : pawl_setting_refuse(reader, "is empty; give a path");
    }
    if (text[0] != '/' && reader->folder[0] == '\0') {
        return pawl_setting_refuse(reader,
                                   "\"%.100s\" is relative and the working directory is not known; "
                                   "give a path from /",
                                   text);
    }
    size = snprintf(path, sizeof(path), "%s%s%s", text[0] == '/' ? "" : reader->folder,
                    text[0] == '/' ? "" : "/", text);
    if (size < 0 || (size_t)size >= sizeof(path)) {
        return pawl_setting_refuse(reader, "is longer than %d bytes; choose a shorter path",
                                   PAWL_SETTINGS_PATH_MAX - 1);
    }
    if (!pawl_setting_is_clean(path)) { /* with the folder, which may be anything */
        return pawl_setting_refuse(reader, NOT_CLEAN);
    }
    return keep_text(path, field, reader);
}

static enum pawl_status read_time(const char *text, void *field, struct pawl_setting_reader *reader)
{
    int64_t seconds = strcmp(text, "off") == 0 ? 0 : pawl_utc_parse(text);
    uint64_t value;

    if (seconds < 0) {
        return pawl_setting_refuse(reader,
                                   "\"%.40s\" is not a time; write off, or UTC like "
                                   "\"2025-12-31T23:59:59Z\"",
                                   text);
    }
    value = (uint64_t)seconds;
    memcpy(field, &value, sizeof(value));
    return PAWL_OK;
}

/* ---- lists ---------------------------------------------------------------------------------- */

static enum pawl_status read_words(const struct pawl_setting *row,
                                   const struct pawl_config_node *node, void *field,
                                   struct pawl_setting_reader *reader)
{
    const struct pawl_config_node *item;
    unsigned all = 0;
    unsigned bits = 0;

    if ((row->flags & PAWL_SETTING_EMPTY_OK) != 0 && node->kind == PAWL_NODE_SCALAR &&
        strcmp(node->text, "none") == 0) {
        memcpy(field, &all, sizeof(all));
        return PAWL_OK;
    }
    for (item = pawl_setting_first_item(node); item != NULL;
         item = pawl_setting_next_item(node, item)) {
        if (pawl_setting_check_item(item, "a word", reader) != PAWL_OK ||
            find_word(row, item->text, &bits, reader) != PAWL_OK) {
            return reader->status;
        }
        all |= bits;
    }
    if (all == 0 && (row->flags & PAWL_SETTING_EMPTY_OK) == 0) {
        return pawl_setting_refuse(reader, "is an empty list; name at least one");
    }
    memcpy(field, &all, sizeof(all));
    return PAWL_OK;
}

static enum pawl_status read_paths(const struct pawl_setting *row,
                                   const struct pawl_config_node *node, void *field,
                                   struct pawl_setting_reader *reader)
{
    static const struct pawl_setting entry = { .path = "", .type = PAWL_SETTING_PATH };
    const struct pawl_config_node *item;
    const char *paths[PAWL_SETTINGS_SECRETS_MAX] = { "", "" };
    size_t count = 0;

    for (item = pawl_setting_first_item(node); item != NULL;
         item = pawl_setting_next_item(node, item)) {
        if (pawl_setting_check_item(item, "a path", reader) != PAWL_OK) {
            return reader->status;
        }
        if (count == row->max) {
            return pawl_setting_refuse(
                reader, "is one path more than the %" PRIu64 " allowed; remove it", row->max);
        }
        if (read_path(&entry, item->text, &paths[count], reader) != PAWL_OK) {
            return reader->status;
        }
        count++;
    }
    memcpy(field, paths, sizeof(paths));
    return PAWL_OK;
}

/* ---- one row ------------------------------------------------------------------------------- */

static bool takes_list(enum pawl_setting_type type)
{
    return type == PAWL_SETTING_WORDS || type == PAWL_SETTING_PATHS || type == PAWL_SETTING_RATES ||
           type == PAWL_SETTING_TEXTS;
}

static enum pawl_status check_kind(const struct pawl_setting *row,
                                   const struct pawl_config_node *node,
                                   struct pawl_setting_reader *reader)
{
    char wanted[PAWL_SETTING_WHAT_BYTES];

    if (node->kind == PAWL_NODE_SCALAR) {
        bool null = !node->quoted && (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
                                      strcmp(node->text, "null") == 0);

        return null ? pawl_setting_refuse(reader, "has no value; give one or remove the line")
                    : PAWL_OK;
    }
    if (node->kind == PAWL_NODE_SEQUENCE && takes_list(row->type)) {
        return PAWL_OK;
    }
    pawl_setting_describe(row, wanted);
    return pawl_setting_refuse(reader, "is a %s; give %.200s",
                               node->kind == PAWL_NODE_SEQUENCE ? "list" : "mapping", wanted);
}

static enum pawl_status read_value(const struct pawl_setting *row,
                                   const struct pawl_config_node *node, void *base,
                                   struct pawl_setting_reader *reader)
{
    void *field = (char *)base + row->offset;

    switch (row->type) {
    case PAWL_SETTING_BOOL:
        return read_bool(node->text, field, reader);
    case PAWL_SETTING_UINT:
    case PAWL_SETTING_UINT32:
    case PAWL_SETTING_SIZE:
    case PAWL_SETTING_DURATION:
        return read_number(row, node->text, field, reader);
    case PAWL_SETTING_TIME:
        return read_time(node->text, field, reader);
    case PAWL_SETTING_WORD:
        return read_word(row, node->text, field, reader);
    case PAWL_SETTING_WORDS:
        return read_words(row, node, field, reader);
    case PAWL_SETTING_MODE:
        return read_mode(node->text, field, reader);
    case PAWL_SETTING_NAME:
        return read_name(row, node->text, field, reader);
    case PAWL_SETTING_URI:
        return keep_text(node->text, field, reader);
    case PAWL_SETTING_PATH:
        return read_path(row, node->text, field, reader);
    case PAWL_SETTING_PATHS:
        return read_paths(row, node, field, reader);
    case PAWL_SETTING_RATES:
        return pawl_setting_read_rates(node, base, reader);
    case PAWL_SETTING_TEXTS:
        return pawl_setting_read_texts(row, node, field, reader);
    case PAWL_SETTING_LISTENERS:
    case PAWL_SETTING_LIMITS:
    case PAWL_SETTING_LIST:
    case PAWL_SETTING_OVERRIDES:
    case PAWL_SETTING_ACKS:
    case PAWL_SETTING_NONE:
    default:
        return pawl_setting_refuse(reader, "cannot be read as a value");
    }
}

enum pawl_status pawl_setting_read(const struct pawl_setting *row,
                                   const struct pawl_config_node *node, void *base,
                                   struct pawl_setting_reader *reader)
{
    reader->status = PAWL_OK;
    reader->at = node;
    reader->shift = 0;
    reader->what[0] = '\0';
    if (check_kind(row, node, reader) != PAWL_OK) {
        return reader->status;
    }
    return read_value(row, node, base, reader);
}
