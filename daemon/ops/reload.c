#include "ops/reload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Names of settings that differ and cannot follow a reload, as many as fit. */
struct fixed_settings {
    char text[PAWL_PROBLEM_TEXT_BYTES];
    size_t used;
};

static void note_success(struct pawl_reload *reload)
{
    int64_t now_s = pawl_clock_read(reload->options.clock).wall.unix_s;

    atomic_store(&reload->last_refused, false);
    atomic_store(&reload->last_taken_unix_s, now_s > 0 ? (uint64_t)now_s : 0);
}

void pawl_reload_init(struct pawl_reload *reload, const struct pawl_reload_options *options)
{
    memset(reload, 0, sizeof(*reload));
    reload->options = *options;
    note_success(reload);
}

void pawl_reload_add(struct pawl_reload *reload, const struct pawl_reload_part *part)
{
    if (reload->part_count == PAWL_RELOAD_PARTS_MAX) {
        abort(); /* a constant of this program, not something anybody sent */
    }
    reload->parts[reload->part_count++] = *part;
}

static enum pawl_status refuse(struct pawl_reload *reload, const char *by, const char *part,
                               const char *why, enum pawl_status status)
{
    (void)atomic_fetch_add(&reload->refused, 1);
    atomic_store(&reload->last_refused, true);
    pawl_log_event(reload->options.log, PAWL_LOG_ERROR, "reload_refused", PAWL_F_TEXT("by", by),
                   PAWL_F_TEXT("part", part), PAWL_F_TEXT("why", why),
                   PAWL_F_TEXT("do", "the settings before go on; mend the file and try again"));
    pawl_audit_event(reload->options.audit, PAWL_AUDIT_RELOAD_REFUSED, NULL, PAWL_F_TEXT("by", by),
                     PAWL_F_TEXT("part", part), PAWL_F_TEXT("why", why));
    return status;
}

/* One line for each, with its place. Returns the first that is no warning, or NULL. */
static const char *say_problems(const struct pawl_reload *reload)
{
    const struct pawl_problems *problems = reload->options.problems;
    const char *first = NULL;

    for (unsigned i = 0; i < problems->count; i++) {
        const struct pawl_problem *problem = &problems->items[i];

        pawl_log_event(reload->options.log, problem->warning ? PAWL_LOG_WARN : PAWL_LOG_ERROR,
                       problem->warning ? "setting_doubtful" : "setting_wrong",
                       PAWL_F_TEXT("why", problem->text));
        first = first == NULL && !problem->warning ? problem->text : first;
    }
    return first;
}

static void on_change(void *ctx, const char *path, bool reloadable)
{
    struct fixed_settings *fixed = ctx;

    if (!reloadable && fixed->used < sizeof(fixed->text)) {
        int wrote = snprintf(fixed->text + fixed->used, sizeof(fixed->text) - fixed->used, "%s%s",
                             fixed->used == 0 ? "these need a restart: " : ", ", path);

        fixed->used += wrote > 0 ? (size_t)wrote : 0;
    }
}

/* All parts, or none: the first that refuses undoes those before it, last first. Returns the one
 * that refused, or NULL. */
static const struct pawl_reload_part *prepare_all(struct pawl_reload *reload,
                                                  const struct pawl_settings *fresh,
                                                  struct pawl_error *error)
{
    for (unsigned i = 0; i < reload->part_count; i++) {
        const struct pawl_reload_part *part = &reload->parts[i];
        enum pawl_status status = part->prepare(part->self, fresh, *reload->options.current, error);

        if (status == PAWL_OK) {
            continue;
        }
        error->status = status;
        while (i > 0) {
            i--;
            reload->parts[i].abort(reload->parts[i].self);
        }
        return part;
    }
    return NULL;
}

static void commit_all(struct pawl_reload *reload)
{
    for (unsigned i = 0; i < reload->part_count; i++) {
        reload->parts[i].commit(reload->parts[i].self);
    }
}

enum pawl_status pawl_reload_run(struct pawl_reload *reload, const char *by)
{
    const struct pawl_reload_options *options = &reload->options;
    struct pawl_settings *fresh = NULL;
    struct fixed_settings fixed = { .used = 0 };
    struct pawl_error error = { PAWL_OK, 0, "" };
    enum pawl_status status = options->load(options->ctx, options->problems, &fresh);
    const char *wrong = say_problems(reload);

    if (status != PAWL_OK) {
        return refuse(reload, by, "settings", wrong != NULL ? wrong : "no memory for the settings",
                      status);
    }
    if (pawl_settings_diff(*options->current, fresh, on_change, &fixed) > 0) {
        status = refuse(reload, by, "settings", fixed.text, PAWL_EINVAL);
        pawl_settings_destroy(fresh);
        return status;
    }
    const struct pawl_reload_part *refused = prepare_all(reload, fresh, &error);

    if (refused != NULL) {
        status = refuse(reload, by, refused->name, error.text, error.status);
        pawl_settings_destroy(fresh);
        return status;
    }
    commit_all(reload);
    pawl_settings_destroy(*options->current);
    *options->current = fresh;
    (void)atomic_fetch_add(&reload->taken, 1);
    note_success(reload);
    pawl_log_event(options->log, PAWL_LOG_INFO, "reloaded", PAWL_F_TEXT("by", by),
                   PAWL_F_U64("limits", fresh->limit_count),
                   PAWL_F_U64("generation", 1 + atomic_load(&reload->taken)));
    pawl_audit_event(options->audit, PAWL_AUDIT_RELOADED, NULL, PAWL_F_TEXT("by", by),
                     PAWL_F_U64("limits", fresh->limit_count));
    return PAWL_OK;
}

void pawl_reload_stats(struct pawl_reload *reload, const struct pawl_stats_sink *sink)
{
    uint64_t taken = atomic_load(&reload->taken);

    sink->number(sink->self, "reloads", taken);
    sink->number(sink->self, "reload_failures", atomic_load(&reload->refused));
    sink->flag(sink->self, "reload_ok", !atomic_load(&reload->last_refused));
    sink->number(sink->self, "reload_last_success_unix_s", atomic_load(&reload->last_taken_unix_s));
    sink->number(sink->self, "config_generation", 1 + taken);
}
