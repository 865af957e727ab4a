#include "ops/status.h"

#include <stdio.h>
#include <string.h>

void pawl_stat_list_init(struct pawl_stat_list *list, const char *prefix)
{
    list->prefix = prefix != NULL ? prefix : "";
    list->count = 0;
    list->dropped = 0;
    list->texts_size = 0;
}

/** The entry of @name: the one there, or a new one of kind NONE; NULL when it is not wanted. */
static struct pawl_stat *find(struct pawl_stat_list *list, const char *name)
{
    struct pawl_stat *stat;
    unsigned i;

    if (strncmp(name, list->prefix, strlen(list->prefix)) != 0) {
        return NULL;
    }
    for (i = 0; i < list->count; i++) {
        if (strncmp(list->items[i].name, name, PAWL_STAT_NAME_BYTES_MAX - 1) == 0) {
            return &list->items[i];
        }
    }
    if (list->count == PAWL_STATS_MAX) {
        list->dropped++;
        return NULL;
    }
    stat = &list->items[list->count++];
    memset(stat, 0, sizeof(*stat));
    (void)snprintf(stat->name, sizeof(stat->name), "%s", name);
    return stat;
}

static void on_number(void *self, const char *name, uint64_t value)
{
    struct pawl_stat *stat = find(self, name);

    if (stat != NULL && (stat->kind == PAWL_STAT_NONE || stat->kind == PAWL_STAT_NUMBER)) {
        stat->kind = PAWL_STAT_NUMBER;
        stat->value = stat->value > UINT64_MAX - value ? UINT64_MAX : stat->value + value;
    }
}

static void on_flag(void *self, const char *name, bool value)
{
    struct pawl_stat *stat = find(self, name);

    if (stat != NULL && (stat->kind == PAWL_STAT_NONE || stat->kind == PAWL_STAT_FLAG)) {
        stat->kind = PAWL_STAT_FLAG;
        stat->value |= value ? 1 : 0;
    }
}

static void on_text(void *self, const char *name, struct pawl_bytes value)
{
    struct pawl_stat_list *list = self;
    struct pawl_stat *stat = find(list, name);
    size_t size = value.size < PAWL_STAT_TEXT_BYTES_MAX ? value.size : PAWL_STAT_TEXT_BYTES_MAX;

    if (stat == NULL || stat->kind != PAWL_STAT_NONE) {
        return;
    }
    stat->kind = PAWL_STAT_TEXT;
    if (size > sizeof(list->texts) - list->texts_size) {
        list->dropped++;
        return;
    }
    if (size > 0) {
        memcpy(list->texts + list->texts_size, value.data, size);
    }
    stat->text_offset = list->texts_size;
    stat->text_size = (uint32_t)size;
    list->texts_size += (uint32_t)size;
}

struct pawl_stats_sink pawl_stat_list_sink(struct pawl_stat_list *list)
{
    struct pawl_stats_sink sink = { on_number, on_flag, on_text, list };

    return sink;
}

struct pawl_bytes pawl_stat_text(const struct pawl_stat_list *list, const struct pawl_stat *stat)
{
    return pawl_bytes_of(list->texts + stat->text_offset, stat->text_size);
}
