/*
 * The commands of pawlctl: each asks a daemon through libpawl, prints, and returns the program's
 * exit code. No local fallback, no cache, no breaker: what is printed came from a daemon.
 */
#ifndef PAWL_CTL_COMMANDS_H
#define PAWL_CTL_COMMANDS_H

#include "options.h"

#include <pawl/pawl.h>

enum exit_code {
    EXIT_YES = 0,
    EXIT_NO = 1,      /* denied, revoked */
    EXIT_USAGE = 2,   /* the command line, or a request that the daemon refuses to read */
    EXIT_UNKNOWN = 3, /* undecided, unreachable, or less than the level asked for */
};

/** What every command works with; lives as long as the program. */
struct ctl {
    struct options options;
    struct pawl_client *client; /* NULL for bench and help */
    const char *addresses;      /* --addr; NULL: what libpawl takes without it */
    uint32_t deadline_ms;
    uint64_t now_ms; /* --now, else 0 */
    bool json;
};

int command_check(struct ctl *ctl);
int command_peek(struct ctl *ctl);
int command_refund(struct ctl *ctl);
int command_reset(struct ctl *ctl);
int command_limits(struct ctl *ctl);
int command_revoke(struct ctl *ctl);
int command_unrevoke(struct ctl *ctl);
int command_token_check(struct ctl *ctl);
int command_token_verify(struct ctl *ctl);
int command_token_mint(struct ctl *ctl);
int command_family_open(struct ctl *ctl);
int command_family_end(struct ctl *ctl);
int command_rotate(struct ctl *ctl);
int command_status(struct ctl *ctl);
int command_members(struct ctl *ctl);
int command_thaw(struct ctl *ctl);
int command_ping(struct ctl *ctl);
int command_reserve(struct ctl *ctl);
int command_commit(struct ctl *ctl);
int command_cancel(struct ctl *ctl);
int command_top(struct ctl *ctl);
int command_watch(struct ctl *ctl);
int command_export(struct ctl *ctl);
int command_import(struct ctl *ctl);
int command_completion(struct ctl *ctl);
int command_bench(struct ctl *ctl);
int command_help(struct ctl *ctl);

/* ---- shared by them ---- */

/** Milliseconds on a clock that only goes on, for what took how long. */
uint64_t ctl_monotonic_ms(void);

/** The option's text as lent bytes; empty where it was not given. */
static inline struct pawl_str ctl_str(const struct ctl *ctl, enum option_id id)
{
    return pawl_str(option_text(&ctl->options, id));
}

/**
 * Say on standard error that @what is wrong and what to do, and with --json print an object with
 * "error" on standard output. Returns EXIT_USAGE.
 */
int ctl_usage(const struct ctl *ctl, const char *what, const char *hint);

/**
 * The same for a call that was not done: @rc and @info say why. Returns EXIT_USAGE where the
 * daemon refused to read the request, else EXIT_UNKNOWN.
 */
int ctl_failed(const struct ctl *ctl, int rc, const struct pawl_info *info);

/** Only the line on standard error of ctl_failed(); for commands that print their own object. */
int ctl_warn(const struct ctl *ctl, int rc, const struct pawl_info *info);

/**
 * Read --ack and --reason into @level and @why. Returns EXIT_YES, or EXIT_USAGE with it said.
 */
int ctl_level_read(const struct ctl *ctl, enum pawl_level *level);
int ctl_why_read(const struct ctl *ctl, enum pawl_why *why);

/** EXIT_UNKNOWN when less was reached than asked for, with it said; else EXIT_YES. */
int ctl_level_check(const struct ctl *ctl, enum pawl_level reached, enum pawl_level asked);

#endif
