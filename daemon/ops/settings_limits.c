/*
 * The mapping of named limits.
 */
#include "ops/settings_load.h"
#include "ops/settings_read.h"

#include <stdlib.h>
#include <string.h>

#include "core/limiter.h"

static void check_limit_name(struct pawl_settings_loader *loader,
                             const struct pawl_config_node *node)
{
    uint64_t longest = pawl_setting_find("limits.*.namespace")->max; /* the core has one maximum */

    if (node->key[0] == '\0' || strlen(node->key) > longest) {
        pawl_settings_complain(loader, false, &node->key_place, 0,
                               "limits.%.80s: a limit's name has 1 to %u bytes; this has %zu",
                               node->key, (unsigned)longest, strlen(node->key));
    }
    if (strpbrk(node->key, " =") != NULL || !pawl_setting_is_clean(node->key)) {
        pawl_settings_complain(
            loader, false, &node->key_place, 0,
            "limits.%.80s: a name with spaces, \"=\", control characters or what "
            "is not UTF-8 cannot be asked for; choose another",
            node->key);
    }
}

/**
 * Tell of a limit before @limits[index] that requests could not tell from it. A key that stands
 * twice under limits was told by the parser.
 */
static void check_limit_alone(struct pawl_settings_loader *loader,
                              const struct pawl_config_node *item, unsigned index)
{
    const struct pawl_limit_settings *limits = loader->settings->limits;
    const struct pawl_limit_settings *own = &limits[index];

    for (unsigned i = 0; i < index; i++) {
        if (strcmp(limits[i].name, own->name) == 0 && strcmp(limits[i].ns, own->ns) == 0 &&
            strcmp(limits[i].id, own->id) != 0) {
            pawl_settings_complain(loader, false, &item->key_place, 0,
                                   "limits.%.80s: limits.%.80s has the same name and namespace; "
                                   "give one of them another name",
                                   own->id, limits[i].id);
            return;
        }
    }
}

/**
 * Read the row @key before the others, which are understood by it. Returns whether it is there.
 */
static bool read_ahead(struct pawl_settings_loader *loader, const struct pawl_config_node *item,
                       struct pawl_limit_settings *limit, const char *key)
{
    const struct pawl_config_node *node = pawl_settings_child(item, key);
    char shown[PAWL_SETTINGS_SHOWN_BYTES];

    if (node != NULL) {
        (void)snprintf(shown, sizeof(shown), "limits.%.80s.%.80s", item->key, key);
        pawl_settings_read_row(loader, pawl_setting_find_in(PAWL_SCOPE_LIMIT, key), node, limit,
                               shown);
    }
    return node != NULL;
}

static int by_key(const void *a, const void *b)
{
    const struct pawl_override_settings *left = a;
    const struct pawl_override_settings *right = b;

    return strcmp(left->key, right->key);
}

/** All overrides of a limit whose rates are read; each that does not fit is told. */
static void read_each_override(struct pawl_settings_loader *loader,
                               const struct pawl_config_node *node,
                               struct pawl_limit_settings *limit, const char *shown)
{
    struct pawl_setting_reader reader = { .pool = loader->settings->pool };
    const struct pawl_config_node *item;
    unsigned count = 0;

    limit->overrides = pawl_pool_take(reader.pool, (node->count + 1) * sizeof(*limit->overrides));
    if (limit->overrides == NULL) {
        loader->no_memory = true;
        return;
    }
    for (item = node->first; item != NULL; item = item->next) {
        switch (pawl_setting_read_override(item, limit, &limit->overrides[count], &reader)) {
        case PAWL_OK:
            count++;
            break;
        case PAWL_ENOMEM:
            loader->no_memory = true;
            return;
        default:
            pawl_settings_complain(loader, false, &reader.at->place, reader.shift, "%s: %s", shown,
                                   reader.what);
            break;
        }
    }
    qsort(limit->overrides, count, sizeof(*limit->overrides), by_key);
    limit->override_count = count;
}

static void read_overrides(struct pawl_settings_loader *loader, const struct pawl_setting *row,
                           const struct pawl_config_node *node, struct pawl_limit_settings *limit,
                           const char *shown)
{
    if (pawl_settings_is_null(node)) {
        return; /* a heading with nothing under it */
    }
    if (node->kind != PAWL_NODE_MAPPING) {
        pawl_settings_complain(loader, false, &node->place, 0,
                               "%s: is %s; write a mapping like {KEY: 600/minute}", shown,
                               pawl_settings_kind_text(node));
    } else if (node->count > row->max) {
        pawl_settings_complain(loader, false, &node->place, 0, "%s: has %u keys; give at most %u",
                               shown, node->count, (unsigned)row->max);
    } else if (limit->rate_count > 0) { /* else that is told */
        read_each_override(loader, node, limit, shown);
    }
}

static void read_limit_row(struct pawl_settings_loader *loader, const struct pawl_config_node *item,
                           const struct pawl_config_node *node, struct pawl_limit_settings *limit)
{
    const struct pawl_setting *row = pawl_setting_find_in(PAWL_SCOPE_LIMIT, node->key);
    char shown[PAWL_SETTINGS_SHOWN_BYTES];

    (void)snprintf(shown, sizeof(shown), "limits.%.80s.%.80s", item->key, node->key);
    if (row == NULL) {
        pawl_settings_complain_unknown(loader, "limits.*.", shown, node);
    } else if (strcmp(node->key, "algorithm") == 0 || strcmp(node->key, "rate") == 0) {
        return; /* read ahead */
    } else if (!pawl_setting_applies(row, limit)) {
        pawl_settings_complain(loader, false, &node->key_place, 0,
                               "%s: does nothing with this limit's algorithm; remove it", shown);
    } else if (row->type == PAWL_SETTING_OVERRIDES) {
        read_overrides(loader, row, node, limit, shown);
    } else {
        pawl_settings_read_row(loader, row, node, limit, shown);
    }
}

static bool has_period(const struct pawl_limit_settings *limit, uint32_t from)
{
    for (unsigned i = 0; i < limit->rate_count; i++) {
        if (limit->rates[i].period >= from) {
            return true;
        }
    }
    return false;
}

static bool has_week(const struct pawl_limit_settings *limit)
{
    for (unsigned i = 0; i < limit->rate_count; i++) {
        if (limit->rates[i].period == PAWL_PERIOD_WEEK) {
            return true;
        }
    }
    return false;
}

/** What depends on both the algorithm and the rates. */
static void check_limit_whole(struct pawl_settings_loader *loader,
                              const struct pawl_config_node *item,
                              const struct pawl_limit_settings *limit)
{
    const struct pawl_config_node *anchor = pawl_settings_child(item, "anchor_day");
    const struct pawl_config_node *burst = pawl_settings_child(item, "burst");

    if (burst != NULL && limit->burst != 0 && limit->rate_count > 1) {
        pawl_settings_complain(loader, false, &burst->place, 0,
                               "limits.%.80s.burst: is for a limit of one rate; give one, or make "
                               "a limit of each",
                               item->key);
    }
    if (anchor == NULL || limit->rate_count == 0 || limit->algorithm != PAWL_ALGORITHM_CALENDAR ||
        limit->anchor_day == 1) {
        return;
    }
    if (!has_period(limit, PAWL_PERIOD_WEEK)) {
        pawl_settings_complain(loader, false, &anchor->place, 0,
                               "limits.%.80s.anchor_day: does nothing to hours and days; remove it",
                               item->key);
    } else if (has_week(limit) && limit->anchor_day > 7) {
        pawl_settings_complain(loader, false, &anchor->place, 0,
                               "limits.%.80s.anchor_day: a week has 7 days; give 1 (Monday) to 7",
                               item->key);
    }
}

static void read_limit(struct pawl_settings_loader *loader, const struct pawl_config_node *item,
                       struct pawl_limit_settings *limit)
{
    const struct pawl_config_node *node;
    bool has_rate;

    check_limit_name(loader, item);
    pawl_settings_defaults(loader, PAWL_SCOPE_LIMIT, limit);
    limit->id = pawl_pool_text(loader->settings->pool, item->key, strlen(item->key));
    limit->name = limit->id;
    loader->no_memory = loader->no_memory || limit->id == NULL;
    if (item->kind != PAWL_NODE_MAPPING) {
        pawl_settings_complain(loader, false, &item->place, 0,
                               "limits.%.80s: is %s; write {rate: 100/minute}", item->key,
                               pawl_settings_kind_text(item));
        return;
    }
    read_ahead(loader, item, limit, "algorithm");
    has_rate = read_ahead(loader, item, limit, "rate");
    for (node = item->first; node != NULL && !loader->no_memory; node = node->next) {
        read_limit_row(loader, item, node, limit);
    }
    if (limit->name != limit->id && limit->name != NULL && strpbrk(limit->name, " =") != NULL) {
        pawl_settings_complain(loader, false, &item->place, 0,
                               "limits.%.80s.name: a name with spaces or \"=\" cannot be asked "
                               "for; choose another",
                               item->key);
    }
    check_limit_whole(loader, item, limit);
    if (!has_rate) {
        pawl_settings_complain(loader, false, &item->place, 0,
                               "limits.%.80s: has no rate; add rate: 100/minute", item->key);
    }
}

static int by_id(const void *a, const void *b)
{
    const struct pawl_limit_settings *left = a;
    const struct pawl_limit_settings *right = b;

    return strcmp(left->id, right->id);
}

void pawl_settings_read_limits(struct pawl_settings_loader *loader,
                               const struct pawl_config_node *node)
{
    struct pawl_settings *settings = loader->settings;
    const struct pawl_config_node *item;

    if (pawl_settings_is_null(node)) {
        return; /* a heading with nothing under it */
    }
    if (node->kind != PAWL_NODE_MAPPING) {
        pawl_settings_complain(loader, false, &node->place, 0,
                               "limits: is %s; write a mapping like {api: {rate: 100/minute}}",
                               pawl_settings_kind_text(node));
        return;
    }
    if (node->count > PAWL_SETTINGS_LIMITS_MAX) {
        pawl_settings_complain(loader, false, &node->place, 0, "limits: has %u; give at most %d",
                               node->count, PAWL_SETTINGS_LIMITS_MAX);
        return;
    }
    settings->limits =
        pawl_pool_take(settings->pool, (node->count + 1) * sizeof(*settings->limits));
    if (settings->limits == NULL) {
        loader->no_memory = true;
        return;
    }
    settings->limit_count = 0; /* a key that stands twice is told, and read twice */
    for (item = node->first; item != NULL && !loader->no_memory; item = item->next) {
        read_limit(loader, item, &settings->limits[settings->limit_count]);
        if (!loader->no_memory) {
            check_limit_alone(loader, item, settings->limit_count);
        }
        settings->limit_count++;
    }
    if (!loader->no_memory) {
        qsort(settings->limits, settings->limit_count, sizeof(*settings->limits), by_id);
    }
}
