/*
 * What a command about limits counts: each argument names a key and its limit. Shared by check,
 * peek, refund, reset and reserve.
 */
#ifndef PAWL_CTL_TARGETS_H
#define PAWL_CTL_TARGETS_H

#include "commands.h"

#include <jansson.h>

/** One argument: a limit by --limit, by --rate, or as LIMIT=KEY. Lent from the arguments. */
struct target {
    struct pawl_str limit;
    struct pawl_str key;
    const char *rates; /* NULL for a named limit */
};

/** All arguments of the command. Returns EXIT_YES, or EXIT_USAGE with it said. */
int targets_read(const struct ctl *ctl, struct target targets[ARGUMENTS_MAX]);

/** --algorithm, of inline rates; 0 where it was not given. */
uint32_t targets_algorithm(const struct ctl *ctl);

/** What to ask for each, with the options of the command line; @items is zeroed. */
void targets_items(const struct ctl *ctl, const struct target *targets,
                   struct pawl_check_item *items);

/** One rate's result for --json, and as a line. */
json_t *target_rate_json(const struct pawl_rate_result *rate, const struct target *target);
void target_rate_line(const struct pawl_rate_result *rate, const struct target *target);

#endif
