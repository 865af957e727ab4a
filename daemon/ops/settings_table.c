/*
 * The parts of the table as one.
 */
#include "ops/settings_rows.h"

#include <string.h>

static const struct pawl_setting_part *const parts[] = {
    &pawl_setting_rows_listen, &pawl_setting_rows_limits,  &pawl_setting_rows_tokens,
    &pawl_setting_rows_access, &pawl_setting_rows_cluster, &pawl_setting_rows_server,
};

const struct pawl_setting *pawl_setting_at(size_t index)
{
    size_t i;

    for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (index < parts[i]->count) {
            return &parts[i]->rows[index];
        }
        index -= parts[i]->count;
    }
    return NULL;
}

const char *pawl_setting_key(const struct pawl_setting *row)
{
    const char *dot = strrchr(row->path, '.');

    return dot != NULL ? dot + 1 : row->path;
}

const struct pawl_setting *pawl_setting_find(const char *path)
{
    const struct pawl_setting *row;
    size_t i;

    for (i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        if (strcmp(row->path, path) == 0) {
            return row;
        }
    }
    return NULL;
}

const struct pawl_setting *pawl_setting_find_in(enum pawl_setting_scope scope, const char *key)
{
    const struct pawl_setting *row;
    size_t i;

    for (i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        if (row->scope == scope && strcmp(pawl_setting_key(row), key) == 0) {
            return row;
        }
    }
    return NULL;
}
