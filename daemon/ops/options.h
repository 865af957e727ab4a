/*
 * The command line of pawld. Parsing only: what is asked for is returned, nothing is
 * opened or read.
 */
#ifndef PAWL_OPS_OPTIONS_H
#define PAWL_OPS_OPTIONS_H

#include <stdio.h>

#include "ops/settings.h"

#define PAWL_OPTIONS_SETS_MAX 64

enum pawl_action {
    PAWL_ACTION_NONE = 0,
    PAWL_ACTION_RUN,             /* serve */
    PAWL_ACTION_CHECK_CONFIG,    /* load the settings, print what is wrong */
    PAWL_ACTION_PRINT_CONFIG,    /* load the settings, pawl_settings_print() */
    PAWL_ACTION_PRINT_REFERENCE, /* pawl_settings_print_reference(); needs no settings */
    PAWL_ACTION_EXIT,            /* all said and done: leave with exit_code */
};

/** Texts are those of argv. */
struct pawl_options {
    enum pawl_action action;
    int exit_code; /* EXIT: 0, or 2 for a wrong command line */
    const char *config_file;
    const char *http;
    const char *data_dir;
    const char *listen[PAWL_SETTINGS_LISTEN_MAX];
    unsigned listen_count;
    const char *sets[PAWL_OPTIONS_SETS_MAX];
    unsigned set_count;
    bool frozen;     /* --frozen: no token verdict until thaw */
    bool test_clock; /* --test-clock: requests may bring their time */
};

/**
 * Parse @argv (reordered by the call, as getopt does) into @options.
 *
 * @out  where help and version go.
 * @err  where complaints and the usage line go.
 * One thread, for getopt keeps its state in globals.
 */
void pawl_options_parse(int argc, char **argv, FILE *out, FILE *err, struct pawl_options *options);

/** The sources of settings that @options name; @options, @env and @parser stay lent. */
struct pawl_settings_sources pawl_options_sources(const struct pawl_options *options,
                                                  const struct pawl_settings_env *env,
                                                  const struct pawl_config_parser *parser);

#endif
