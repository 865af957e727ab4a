/*
 * Reload: build new, check all, swap; a bad one leaves the old running and says so.
 *
 * Whatever follows the settings while the daemon runs is a part: the rules, the keys, the
 * certificates, the audit file, the level of the log. A reload loads the settings anew, asks every
 * part to prepare (build its new half beside the one in use, and check it), and only when all have
 * prepared are they committed, which cannot fail. When one refuses, those that had prepared drop
 * what they built, and nothing has changed: there is no half of a reload.
 *
 *   load -> diff -> prepare 1..N -> commit 1..N          taken
 *                -> prepare 1..k fails -> abort k-1..1   refused, the old ones go on
 *
 * Life: init, add each part at start, run any number of times on one thread. Figures may be read
 * by any thread.
 */
#ifndef PAWL_OPS_RELOAD_H
#define PAWL_OPS_RELOAD_H

#include <stdatomic.h>

#include "core/status.h"
#include "ops/audit.h"
#include "ops/settings.h"
#include "port/clock.h"
#include "port/log.h"
#include "port/stats.h"

#define PAWL_RELOAD_PARTS_MAX 16

/** Something that follows the settings. All calls on the thread of pawl_reload_run(). */
struct pawl_reload_part {
    const char *name; /* for the log: "rules"; lent for ever */
    /**
     * Build from @fresh and check, beside what is in use; it is kept until commit or abort.
     *
     * @fresh, @current  both live until commit or abort has returned; @current ends then (after a
     *                   commit), so nothing of it may be kept. NULL @current: none yet.
     * @error            what is wrong, where, what to do.
     * On a failure nothing is kept: abort is not called for this one.
     */
    enum pawl_status (*prepare)(void *self, const struct pawl_settings *fresh,
                                const struct pawl_settings *current, struct pawl_error *error);
    /** Put what was built in place of what is in use. Cannot fail. */
    void (*commit)(void *self);
    /** Drop what was built. */
    void (*abort)(void *self);
    void *self;
};

/** Load the settings from where they came at start; fills @problems (zeroed by the callee). */
typedef enum pawl_status (*pawl_reload_load)(void *ctx, struct pawl_problems *problems,
                                             struct pawl_settings **fresh);

struct pawl_reload_options {
    pawl_reload_load load;
    void *ctx;
    struct pawl_settings **current; /* replaced, and the old one destroyed, by a reload taken */
    struct pawl_problems *problems; /* room to use; kept */
    const struct pawl_clock *clock; /* kept */
    const struct pawl_log *log;     /* kept */
    struct pawl_audit *audit;       /* kept; NULL = none */
};

/** Fields are private. */
struct pawl_reload {
    struct pawl_reload_options options;
    struct pawl_reload_part parts[PAWL_RELOAD_PARTS_MAX];
    unsigned part_count;
    _Atomic uint64_t taken, refused, last_taken_unix_s;
    _Atomic bool last_refused;
};

/** Prepare @reload for the settings that are in use now. */
void pawl_reload_init(struct pawl_reload *reload, const struct pawl_reload_options *options);

/** One more part, behind those that are there. Aborts the process past PAWL_RELOAD_PARTS_MAX. */
void pawl_reload_add(struct pawl_reload *reload, const struct pawl_reload_part *part);

/**
 * Reload. Says in the log and in the audit log what became of it: "reloaded", or "reload_refused"
 * with the reason.
 *
 * @by  who asked, for the log: "signal", "watch".
 * Returns PAWL_OK (taken); PAWL_EINVAL, PAWL_ENOMEM or the refusing part's status: all is as it
 * was.
 */
enum pawl_status pawl_reload_run(struct pawl_reload *reload, const char *by);

/**
 * reloads, reload_failures, reload_ok (false: the last one was refused), config_generation (1 at
 * start, one more for each reload taken), reload_last_success_unix_s (the start counts). Any
 * thread.
 */
void pawl_reload_stats(struct pawl_reload *reload, const struct pawl_stats_sink *sink);

#endif
