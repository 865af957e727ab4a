/*
 * What the two files that read values share. Inside ops/ only.
 */
#ifndef PAWL_OPS_SETTINGS_READ_H
#define PAWL_OPS_SETTINGS_READ_H

#include "ops/settings_table.h"

#define NOT_CLEAN "holds control characters or is not UTF-8; choose another"

/** Note what is wrong. Returns PAWL_EINVAL. */
enum pawl_status pawl_setting_refuse(struct pawl_setting_reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Note that there is no memory. Returns PAWL_ENOMEM. */
enum pawl_status pawl_setting_no_memory(struct pawl_setting_reader *reader);

/** The only or first item of a value that may be a scalar or a list of scalars. */
const struct pawl_config_node *pawl_setting_first_item(const struct pawl_config_node *node);

/** The item of @list behind @item, or NULL. */
const struct pawl_config_node *pawl_setting_next_item(const struct pawl_config_node *list,
                                                      const struct pawl_config_node *item);

/** Whether @item is a text, as @wanted ("a word") is. */
enum pawl_status pawl_setting_check_item(const struct pawl_config_node *item, const char *wanted,
                                         struct pawl_setting_reader *reader);

/** The rates of @limit, by its algorithm. */
enum pawl_status pawl_setting_read_rates(const struct pawl_config_node *node,
                                         struct pawl_limit_settings *limit,
                                         struct pawl_setting_reader *reader);

/** One override of @limit, whose rates are read. */
enum pawl_status pawl_setting_read_override(const struct pawl_config_node *item,
                                            const struct pawl_limit_settings *limit,
                                            struct pawl_override_settings *override,
                                            struct pawl_setting_reader *reader);

/** A list of texts. */
enum pawl_status pawl_setting_read_texts(const struct pawl_setting *row,
                                         const struct pawl_config_node *node, void *field,
                                         struct pawl_setting_reader *reader);

#endif
