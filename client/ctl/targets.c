#include "targets.h"

#include "output.h"
#include "rates.h"
#include "time_text.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const algorithms[] = { "sliding", "gcra", NULL, "concurrency" };

#define ALGORITHMS (sizeof(algorithms) / sizeof(algorithms[0]))

/* Its number on the wire; ALGORITHMS when there is none of that name. */
static uint32_t algorithm_number(const char *text)
{
    uint32_t number = 0;

    while (text != NULL && number < ALGORITHMS &&
           (algorithms[number] == NULL || strcmp(text, algorithms[number]) != 0)) {
        number++;
    }
    return number;
}

static int target_read(const struct ctl *ctl, const char *word, struct target *target)
{
    const char *equals = strchr(word, '=');

    target->limit = ctl_str(ctl, OPTION_LIMIT_ID);
    target->rates = option_text(&ctl->options, OPTION_RATE_ID);
    target->key = pawl_str(word);
    if (target->limit.size > 0 || target->rates != NULL) {
        return EXIT_YES;
    }
    if (equals == NULL || equals == word) {
        char what[OPTION_TEXT_MAX];

        snprintf(what, sizeof(what), "%.100s: no limit is named for this key", word);
        return ctl_usage(ctl, what, "write LIMIT=KEY, or give --limit NAME or --rate 5/minute");
    }
    target->limit.data = word;
    target->limit.size = (size_t)(equals - word);
    target->key = pawl_str(equals + 1);
    return EXIT_YES;
}

int targets_read(const struct ctl *ctl, struct target targets[ARGUMENTS_MAX])
{
    char error[OPTION_TEXT_MAX];

    if (option_given(&ctl->options, OPTION_LIMIT_ID) &&
        option_given(&ctl->options, OPTION_RATE_ID)) {
        return ctl_usage(ctl, "--limit and --rate together",
                         "a limit has its own rates: give one of the two");
    }
    if (option_given(&ctl->options, OPTION_RATE_ID) &&
        !rates_read(option_text(&ctl->options, OPTION_RATE_ID), NULL, error, sizeof(error))) {
        return ctl_usage(ctl, error, "");
    }
    if (algorithm_number(option_text(&ctl->options, OPTION_ALGORITHM_ID)) == ALGORITHMS) {
        return ctl_usage(ctl, "--algorithm: no such word for inline rates",
                         "write sliding, gcra or concurrency; calendar quotas are named limits");
    }
    for (uint32_t i = 0; i < ctl->options.word_count; i++) {
        int code = target_read(ctl, ctl->options.words[i], &targets[i]);

        if (code != EXIT_YES) {
            return code;
        }
    }
    return EXIT_YES;
}

json_t *target_rate_json(const struct pawl_rate_result *rate, const struct target *target)
{
    json_t *object = json_object();

    json_object_set_new(object, "key", output_text(target->key.data, target->key.size));
    json_object_set_new(object, "limit", output_text(target->limit.data, target->limit.size));
    json_object_set_new(object, "rate_index", output_number(rate->rate_index));
    json_object_set_new(object, "window_ms", output_number(rate->window_ms));
    json_object_set_new(object, "limit_count", output_number(rate->limit_count));
    json_object_set_new(object, "count", output_number(rate->count));
    json_object_set_new(object, "remaining", output_number(rate->remaining));
    json_object_set_new(object, "oldest_age_ms", output_number(rate->oldest_age_ms));
    json_object_set_new(object, "reset_after_ms", output_number(rate->reset_after_ms));
    json_object_set_new(object, "retry_after_ms", output_number(rate->retry_after_ms));
    json_object_set_new(object, "never", json_boolean(rate->never));
    json_object_set_new(object, "allowed", json_boolean(rate->allowed));
    json_object_set_new(object, "shadow", json_boolean(rate->shadow));
    json_object_set_new(object, "charge", output_charge(rate->charge));
    json_object_set_new(object, "overflow", json_boolean(rate->overflow));
    json_object_set_new(object, "contended", json_boolean(rate->contended));
    json_object_set_new(object, "bypass", json_boolean(rate->bypass));
    json_object_set_new(object, "full", json_boolean(rate->full));
    return object;
}

void target_rate_line(const struct pawl_rate_result *rate, const struct target *target)
{
    char window[DURATION_TEXT_BYTES];
    char wait[DURATION_TEXT_BYTES];

    if (rate->window_ms > 0) {
        duration_text_format(rate->window_ms, window);
    } else {
        (void)snprintf(window, sizeof(window), "quota"); /* its months differ: pawlctl limits */
    }
    if (rate->bypass) {
        printf("  %-24.*s never limited\n", (int)target->key.size, (const char *)target->key.data);
        return;
    }
    duration_text_format(rate->allowed ? rate->reset_after_ms : rate->retry_after_ms, wait);
    printf("  %-24.*s %8" PRIu64 "/%-6s %8" PRIu64 " used %8" PRIu64 " left  %s %s%s%s\n",
           (int)target->key.size, (const char *)target->key.data, rate->limit_count, window,
           rate->count, rate->remaining,
           rate->never     ? "never fits"
           : rate->allowed ? "empty in"
                           : "retry in",
           rate->never ? "" : wait, rate->shadow ? "  (shadow)" : "",
           rate->overflow ? "  (shared cell)"
           : rate->full   ? "  (no room to count)"
                          : "");
}

uint32_t targets_algorithm(const struct ctl *ctl)
{
    return algorithm_number(option_text(&ctl->options, OPTION_ALGORITHM_ID));
}

void targets_items(const struct ctl *ctl, const struct target *targets,
                   struct pawl_check_item *items)
{
    uint32_t algorithm = targets_algorithm(ctl);

    for (uint32_t i = 0; i < ctl->options.word_count; i++) {
        items[i].limit = targets[i].limit;
        items[i].rates = targets[i].rates;
        items[i].key = &targets[i].key;
        items[i].key_count = 1;
        items[i].cost = option_number(&ctl->options, OPTION_COST_ID, 1);
        items[i].precision = (uint32_t)option_number(&ctl->options, OPTION_PRECISION_ID, 0);
        items[i].algorithm = algorithm;
        items[i].burst = option_number(&ctl->options, OPTION_BURST_ID, 0);
    }
}
