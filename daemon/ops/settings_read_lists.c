/*
 * Reading values of several parts: rates, overrides, lists of texts.
 */
#include "ops/settings_read.h"

#include <inttypes.h>
#include <string.h>

#include "core/limiter.h"

const struct pawl_config_node *pawl_setting_first_item(const struct pawl_config_node *node)
{
    return node->kind == PAWL_NODE_SEQUENCE ? node->first : node;
}

const struct pawl_config_node *pawl_setting_next_item(const struct pawl_config_node *list,
                                                      const struct pawl_config_node *item)
{
    return list->kind == PAWL_NODE_SEQUENCE ? item->next : NULL;
}

enum pawl_status pawl_setting_check_item(const struct pawl_config_node *item, const char *wanted,
                                         struct pawl_setting_reader *reader)
{
    reader->at = item;
    if (item->kind != PAWL_NODE_SCALAR) {
        return pawl_setting_refuse(reader, "is a %s where %s belongs; write it as a text",
                                   item->kind == PAWL_NODE_SEQUENCE ? "list" : "mapping", wanted);
    }
    return PAWL_OK;
}

/* ---- texts --------------------------------------------------------------------------------- */

/**
 * A key of a limit: parts joined by '|'; a '\' makes a letter of a '|' or '\' behind it, and of a
 * '*' where @star.
 */
static enum pawl_status check_key_text(const char *text, bool star,
                                       struct pawl_setting_reader *reader)
{
    size_t parts = 1;
    size_t bytes = 0;

    for (; *text != '\0'; text++) {
        if (*text == '|') {
            parts++;
            continue;
        }
        if (*text == '\\') {
            text++;
            if (*text != '|' && *text != '\\' && !(star && *text == '*')) {
                return pawl_setting_refuse(reader, "a \\ stands before %s only; write \\\\",
                                           star ? "|, \\ or *" : "| or \\");
            }
        }
        bytes++;
    }
    if (parts > PAWL_LIMIT_PARTS_MAX || bytes > PAWL_LIMIT_KEY_BYTES_MAX) {
        return pawl_setting_refuse(reader,
                                   "a key has at most %d parts and %d bytes; this has %zu and %zu",
                                   PAWL_LIMIT_PARTS_MAX, PAWL_LIMIT_KEY_BYTES_MAX, parts, bytes);
    }
    return PAWL_OK;
}

static enum pawl_status read_text(const struct pawl_setting *row,
                                  const struct pawl_config_node *item, const char **text,
                                  struct pawl_setting_reader *reader)
{
    size_t size;

    if (pawl_setting_check_item(item, "a text", reader) != PAWL_OK) {
        return reader->status;
    }
    size = strlen(item->text);
    if (size < row->min || size > row->item_max) {
        return pawl_setting_refuse(reader, "has %zu bytes; give %" PRIu64 " to %" PRIu64, size,
                                   row->min, row->item_max);
    }
    if (!pawl_setting_is_clean(item->text)) {
        return pawl_setting_refuse(reader, NOT_CLEAN);
    }
    if ((row->flags & PAWL_SETTING_KEYS) != 0 &&
        check_key_text(item->text, true, reader) != PAWL_OK) {
        return reader->status;
    }
    *text = pawl_pool_text(reader->pool, item->text, size);
    return *text != NULL ? PAWL_OK : pawl_setting_no_memory(reader);
}

enum pawl_status pawl_setting_read_texts(const struct pawl_setting *row,
                                         const struct pawl_config_node *node, void *field,
                                         struct pawl_setting_reader *reader)
{
    unsigned room = node->kind == PAWL_NODE_SEQUENCE ? node->count : 1;
    struct pawl_text_list list = { NULL, 0 };
    const struct pawl_config_node *item;
    const char **texts;

    if (room > row->max) {
        return pawl_setting_refuse(reader, "has %u texts; give at most %" PRIu64, room, row->max);
    }
    texts = pawl_pool_take(reader->pool, (room + 1) * sizeof(*texts));
    if (texts == NULL) {
        return pawl_setting_no_memory(reader);
    }
    for (item = pawl_setting_first_item(node); item != NULL;
         item = pawl_setting_next_item(node, item)) {
        if (read_text(row, item, &texts[list.count], reader) != PAWL_OK) {
            return reader->status;
        }
        list.count++;
    }
    list.items = list.count > 0 ? texts : NULL;
    memcpy(field, &list, sizeof(list));
    return PAWL_OK;
}

/* ---- rates --------------------------------------------------------------------------------- */

static enum pawl_status parse_rates(unsigned algorithm, const char *text, struct pawl_rate *rates,
                                    size_t *count, struct pawl_rate_error *error)
{
    struct pawl_bytes bytes = pawl_bytes_of(text, strlen(text));

    return algorithm == PAWL_ALGORITHM_CALENDAR
               ? pawl_rate_text_parse_calendar(bytes, rates, count, error)
               : pawl_rate_text_parse(bytes, rates, count, error);
}

static bool same_window(const struct pawl_rate *a, const struct pawl_rate *b)
{
    return a->window_ms == b->window_ms && a->period == b->period;
}

static enum pawl_status read_rate_item(const struct pawl_config_node *item,
                                       struct pawl_limit_settings *limit,
                                       struct pawl_setting_reader *reader)
{
    struct pawl_rate rates[PAWL_RATES_MAX] = { { 0 } };
    struct pawl_rate_error error;
    size_t count = 0;
    size_t i;

    if (parse_rates(limit->algorithm, item->text, rates, &count, &error) != PAWL_OK) {
        reader->shift = (unsigned)error.position + (item->quoted ? 1 : 0);
        return pawl_setting_refuse(reader, "%s", error.text);
    }
    for (i = 0; i < count; i++) {
        unsigned j;

        for (j = 0; j < limit->rate_count; j++) {
            if (same_window(&limit->rates[j], &rates[i])) {
                return pawl_setting_refuse(
                    reader,
                    "the window of \"%.40s\" is there twice and only the lower "
                    "count could matter; remove one",
                    item->text);
            }
        }
        if (limit->rate_count == PAWL_RATES_MAX) {
            return pawl_setting_refuse(reader, "more than %d rates in one limit; remove some",
                                       PAWL_RATES_MAX);
        }
        limit->rates[limit->rate_count++] = rates[i];
    }
    return PAWL_OK;
}

enum pawl_status pawl_setting_read_rates(const struct pawl_config_node *node,
                                         struct pawl_limit_settings *limit,
                                         struct pawl_setting_reader *reader)
{
    struct pawl_limit_settings fresh = { .algorithm = limit->algorithm };
    const struct pawl_config_node *item;

    for (item = pawl_setting_first_item(node); item != NULL;
         item = pawl_setting_next_item(node, item)) {
        if (pawl_setting_check_item(item, "a rate", reader) != PAWL_OK ||
            read_rate_item(item, &fresh, reader) != PAWL_OK) {
            return reader->status;
        }
    }
    if (fresh.rate_count == 0) {
        return pawl_setting_refuse(reader,
                                   "is an empty list; give at least one rate like 100/minute");
    }
    memcpy(limit->rates, fresh.rates, sizeof(limit->rates));
    limit->rate_count = fresh.rate_count;
    return PAWL_OK;
}

/* ---- overrides ----------------------------------------------------------------------------- */

/** Put the rates of @fresh into @override in the order of those of @limit. */
static enum pawl_status match_rates(const struct pawl_limit_settings *limit,
                                    const struct pawl_limit_settings *fresh,
                                    struct pawl_override_settings *override,
                                    struct pawl_setting_reader *reader)
{
    unsigned found = 0;

    for (unsigned i = 0; i < limit->rate_count; i++) {
        for (unsigned j = 0; j < fresh->rate_count; j++) {
            if (same_window(&limit->rates[i], &fresh->rates[j])) {
                override->rates[i] = fresh->rates[j];
                found++;
            }
        }
    }
    override->rate_count = found;
    if (found != limit->rate_count || found != fresh->rate_count) {
        return pawl_setting_refuse(reader,
                                   "\"%.80s\" has to give a count for each window of the limit's "
                                   "rate and for no other",
                                   override->key);
    }
    return PAWL_OK;
}

/** The rate of an override may stand alone or in a mapping of its own. */
static enum pawl_status find_rate(const struct pawl_config_node *item,
                                  const struct pawl_config_node **rate,
                                  struct pawl_setting_reader *reader)
{
    reader->at = item;
    *rate = item;
    if (item->kind != PAWL_NODE_MAPPING) {
        return PAWL_OK;
    }
    if (item->count != 1 || strcmp(item->first->key, "rate") != 0) {
        return pawl_setting_refuse(reader, "\"%.80s\" is not {rate: RATE}; write that, or the rate",
                                   item->key);
    }
    *rate = item->first;
    reader->at = *rate;
    return PAWL_OK;
}

enum pawl_status pawl_setting_read_override(const struct pawl_config_node *item,
                                            const struct pawl_limit_settings *limit,
                                            struct pawl_override_settings *override,
                                            struct pawl_setting_reader *reader)
{
    struct pawl_limit_settings fresh = { .algorithm = limit->algorithm };
    const struct pawl_config_node *rate;
    size_t size = strlen(item->key);

    reader->status = PAWL_OK;
    reader->at = item;
    reader->shift = 0;
    if (size == 0 || !pawl_setting_is_clean(item->key)) {
        return pawl_setting_refuse(reader, size == 0 ? "has an empty key; remove it" : NOT_CLEAN);
    }
    if (check_key_text(item->key, false, reader) != PAWL_OK ||
        find_rate(item, &rate, reader) != PAWL_OK ||
        pawl_setting_read_rates(rate, &fresh, reader) != PAWL_OK) {
        return reader->status;
    }
    override->key = pawl_pool_text(reader->pool, item->key, size);
    if (override->key == NULL) {
        return pawl_setting_no_memory(reader);
    }
    reader->at = rate;
    return match_rates(limit, &fresh, override, reader);
}
