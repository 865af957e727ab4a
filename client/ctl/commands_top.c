/*
 * top: what each limit does, who is denied most, and what was revoked, again and again.
 */
#include "commands.h"
#include "memory.h"
#include "output.h"
#include "time_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LIMITS_MAX  1024
#define LIST_MAX    64
#define LIST_SHOWN  10
#define MS_PER_S    1000
#define NS_PER_MS   1000000
#define CLEAR       "\033[H\033[2J"
#define INTERVAL_MS 1000

/** One look, and the one before: rates are their difference. */
struct view {
    struct pawl_limit_figures *limits;
    struct pawl_limit_figures *before;
    size_t before_count;
    struct pawl_denied_key *keys;
    struct pawl_revocation_event *events;
    struct pawl_top_result result;
    uint64_t at_ms;
    uint64_t before_ms;
};

static int view_read(struct ctl *ctl, struct view *view)
{
    struct pawl_top_call call = { .struct_size = sizeof(call),
                                  .keys_max = LIST_MAX,
                                  .events_max = LIST_MAX,
                                  .now_ms = ctl->now_ms };
    struct pawl_limit_figures *swap = view->before;
    int rc;

    view->before = view->limits;
    view->limits = swap;
    view->before_count = view->result.limit_count;
    view->before_ms = view->at_ms;
    memset(&view->result, 0, sizeof(view->result));
    view->result.struct_size = sizeof(view->result);
    view->result.limits = view->limits;
    view->result.limits_max = LIMITS_MAX;
    view->result.keys = view->keys;
    view->result.keys_max = LIST_MAX;
    view->result.events = view->events;
    view->result.events_max = LIST_MAX;
    rc = pawl_client_top(ctl->client, &call, &view->result);
    view->at_ms = ctl_monotonic_ms();
    return rc == PAWL_RC_OK ? EXIT_YES : ctl_failed(ctl, rc, &view->result.info);
}

static const struct pawl_limit_figures *limit_before(const struct view *view,
                                                     const struct pawl_limit_figures *limit)
{
    for (size_t i = 0; i < view->before_count; i++) {
        if (strcmp(view->before[i].limit, limit->limit) == 0 &&
            strcmp(view->before[i].ns, limit->ns) == 0) {
            return &view->before[i];
        }
    }
    return NULL;
}

static uint64_t per_second(const struct view *view, uint64_t now, uint64_t before)
{
    uint64_t took_ms = view->at_ms - view->before_ms;

    return view->before_ms == 0 || took_ms == 0 || now < before
               ? 0
               : (now - before) * MS_PER_S / took_ms;
}

/* ---- as JSON ------------------------------------------------------------------------------- */

static json_t *limits_json(const struct view *view)
{
    json_t *array = json_array();

    for (size_t i = 0; i < view->result.limit_count; i++) {
        const struct pawl_limit_figures *limit = &view->limits[i];

        json_array_append_new(
            array, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "limit",
                             output_text(limit->limit, strlen(limit->limit)), "namespace",
                             output_text(limit->ns, strlen(limit->ns)), "allowed",
                             output_number(limit->allowed), "denied", output_number(limit->denied),
                             "shadow_denied", output_number(limit->shadow_denied), "bypassed",
                             output_number(limit->bypassed), "overflowed",
                             output_number(limit->overflowed)));
    }
    return array;
}

static json_t *keys_json(const struct view *view)
{
    json_t *array = json_array();

    for (size_t i = 0; i < view->result.key_count; i++) {
        const struct pawl_denied_key *key = &view->keys[i];

        json_array_append_new(array, json_pack("{s:o, s:o, s:o, s:o, s:o}", "limit",
                                               output_text(key->limit, strlen(key->limit)),
                                               "namespace", output_text(key->ns, strlen(key->ns)),
                                               "key", output_text(key->key, strlen(key->key)),
                                               "denied", output_number(key->denied), "last_ms",
                                               output_number(key->last_ms)));
    }
    return array;
}

static json_t *events_json(const struct view *view)
{
    json_t *array = json_array();

    for (size_t i = 0; i < view->result.event_count; i++) {
        const struct pawl_revocation_event *event = &view->events[i];

        json_array_append_new(array, json_pack("{s:s, s:s, s:o, s:o, s:o}", "scope",
                                               pawl_revoke_scope_text(event->scope), "reason",
                                               pawl_why_text(event->reason), "namespace",
                                               output_text(event->ns, strlen(event->ns)), "value",
                                               output_text(event->value, strlen(event->value)),
                                               "at_ms", output_number(event->at_ms)));
    }
    return array;
}

/* ---- for people ---------------------------------------------------------------------------- */

static void limits_print(const struct view *view)
{
    printf("%-28s %10s %10s %12s %12s %10s\n", "limit", "allowed/s", "denied/s", "allowed",
           "denied", "shadow");
    for (size_t i = 0; i < view->result.limit_count; i++) {
        const struct pawl_limit_figures *limit = &view->limits[i];
        const struct pawl_limit_figures *before = limit_before(view, limit);

        printf("%-28s %10" PRIu64 " %10" PRIu64 " %12" PRIu64 " %12" PRIu64 " %10" PRIu64 "\n",
               limit->limit[0] != '\0' ? limit->limit : "(inline rates)",
               before != NULL ? per_second(view, limit->allowed, before->allowed) : 0,
               before != NULL ? per_second(view, limit->denied, before->denied) : 0, limit->allowed,
               limit->denied, limit->shadow_denied);
    }
}

static void lists_print(const struct view *view)
{
    char at[TIME_TEXT_BYTES];

    if (view->result.key_count > 0) {
        printf("\n%-28s %-24s %12s\n", "denied most", "limit", "denied");
    }
    for (size_t i = 0; i < view->result.key_count && i < LIST_SHOWN; i++) {
        printf("%-28s %-24s %12" PRIu64 "\n", view->keys[i].key,
               view->keys[i].limit[0] != '\0' ? view->keys[i].limit : "(inline rates)",
               view->keys[i].denied);
    }
    if (view->result.event_count > 0) {
        printf("\n%-28s %-10s %-24s %s\n", "revoked", "scope", "what", "why");
    }
    for (size_t i = 0; i < view->result.event_count && i < LIST_SHOWN; i++) {
        time_text_format(view->events[i].at_ms / MS_PER_S, at);
        printf("%-28s %-10s %-24s %s\n", at, pawl_revoke_scope_text(view->events[i].scope),
               view->events[i].value, pawl_why_text(view->events[i].reason));
    }
}

static void view_print(const struct ctl *ctl, const struct view *view)
{
    if (ctl->json) {
        output_json(json_pack("{s:o, s:o, s:o}", "limits", limits_json(view), "keys",
                              keys_json(view), "revocations", events_json(view)));
        return;
    }
    if (isatty(STDOUT_FILENO) == 1) {
        fputs(CLEAR, stdout);
    }
    limits_print(view);
    lists_print(view);
    puts("");
}

static void pause_for(uint64_t ms)
{
    struct timespec wait = { (time_t)(ms / MS_PER_S), (long)(ms % MS_PER_S) * NS_PER_MS };

    (void)nanosleep(&wait, NULL);
}

int command_top(struct ctl *ctl)
{
    struct view view = { .at_ms = 0 };
    bool live = isatty(STDOUT_FILENO) == 1;
    uint64_t left = option_number(&ctl->options, OPTION_COUNT_ID, live ? UINT64_MAX : 1);
    uint64_t interval_ms = option_number(&ctl->options, OPTION_INTERVAL_ID, INTERVAL_MS);
    int code;

    if (left == 0 || interval_ms == 0) {
        return ctl_usage(ctl, "--count or --interval is 0", "--interval 1s --count 10");
    }
    view.limits = memory_zeroed(LIMITS_MAX, sizeof(*view.limits));
    view.before = memory_zeroed(LIMITS_MAX, sizeof(*view.before));
    view.keys = memory_zeroed(LIST_MAX, sizeof(*view.keys));
    view.events = memory_zeroed(LIST_MAX, sizeof(*view.events));
    for (;;) {
        code = view_read(ctl, &view);
        if (code != EXIT_YES) {
            break;
        }
        view_print(ctl, &view);
        if (fflush(stdout) != 0 || --left == 0) {
            break;
        }
        pause_for(interval_ms);
    }
    memory_release(view.events);
    memory_release(view.keys);
    memory_release(view.before);
    memory_release(view.limits);
    return code;
}
