#include "commands.h"
#include "memory.h"
#include "output.h"
#include "targets.h"
#include "time_text.h"

#include <inttypes.h>
#include <stdio.h>

#define LIMITS_PAGE ((size_t)32)

static void check_json(const struct pawl_check_result *result, const struct target *targets)
{
    json_t *limits = json_array();
    json_t *object = json_object();

    for (size_t i = 0; i < result->rate_count; i++) {
        json_array_append_new(limits,
                              target_rate_json(&result->rates[i], &targets[result->rates[i].item]));
    }
    json_object_set_new(object, "verdict", json_string(pawl_outcome_text(result->outcome)));
    json_object_set_new(object, "limits", limits);
    if (result->info.cause != PAWL_RC_OK) {
        json_object_set_new(object, "error",
                            output_text(result->info.text, strlen(result->info.text)));
        json_object_set_new(object, "effect", json_string(pawl_effect_text(result->info.effect)));
    }
    output_json(object);
}

static int flags_read(const struct ctl *ctl, uint32_t *flags)
{
    const char *mode = option_text(&ctl->options, OPTION_MODE_ID);

    if (option_given(&ctl->options, OPTION_PEEK_ID)) {
        *flags |= PAWL_CHECK_PEEK;
    }
    if (mode != NULL && strcmp(mode, "each") == 0) {
        *flags |= PAWL_CHECK_EACH;
    } else if (mode != NULL && strcmp(mode, "atomic") != 0) {
        return ctl_usage(ctl, "--mode: no such mode", "write atomic or each");
    }
    if (option_given(&ctl->options, OPTION_COST_ID) &&
        option_number(&ctl->options, OPTION_COST_ID, 1) == 0) {
        return ctl_usage(ctl, "--cost 0", "a cost is at least 1; --peek charges nothing");
    }
    if (option_number(&ctl->options, OPTION_PRECISION_ID, 0) > UINT32_MAX) {
        return ctl_usage(ctl, "--precision: too big", "write 2 to 4096");
    }
    return EXIT_YES;
}

static int check_code(const struct ctl *ctl, const struct pawl_check_result *result)
{
    if (result->info.cause != PAWL_RC_OK) {
        return ctl_warn(ctl, result->info.cause, &result->info);
    }
    return result->outcome == PAWL_OUTCOME_ALLOW  ? EXIT_YES
           : result->outcome == PAWL_OUTCOME_DENY ? EXIT_NO
                                                  : EXIT_UNKNOWN;
}

static int check_run(struct ctl *ctl, uint32_t flags)
{
    struct target targets[ARGUMENTS_MAX];
    struct pawl_check_item items[ARGUMENTS_MAX] = { 0 };
    struct pawl_rate_result rates[PAWL_CHECK_RATES] = { 0 };
    struct pawl_check_call call = { .struct_size = sizeof(call),
                                    .items = items,
                                    .item_count = ctl->options.word_count,
                                    .now_ms = ctl->now_ms };
    struct pawl_check_result result = { .struct_size = sizeof(result),
                                        .rates = rates,
                                        .rates_max = PAWL_CHECK_RATES };
    int code = targets_read(ctl, targets);
    int rc;

    if (code == EXIT_YES) {
        code = flags_read(ctl, &flags);
    }
    if (code != EXIT_YES) {
        return code;
    }
    call.flags = flags;
    targets_items(ctl, targets, items);
    rc = pawl_client_check(ctl->client, &call, &result);
    if (rc != PAWL_RC_OK) {
        return ctl_failed(ctl, rc, &result.info);
    }
    if (ctl->json) {
        check_json(&result, targets);
    } else {
        puts(pawl_outcome_text(result.outcome));
        for (size_t i = 0; i < result.rate_count; i++) {
            target_rate_line(&rates[i], &targets[rates[i].item]);
        }
    }
    return check_code(ctl, &result);
}

int command_check(struct ctl *ctl)
{
    return check_run(ctl, 0);
}

int command_peek(struct ctl *ctl)
{
    return check_run(ctl, PAWL_CHECK_PEEK);
}

int command_refund(struct ctl *ctl)
{
    struct target targets[ARGUMENTS_MAX];
    uint64_t charges[PAWL_TEXT_RATES];
    struct pawl_refund_item item = { 0 };
    struct pawl_refund_call call = {
        .struct_size = sizeof(call), .items = &item, .item_count = 1, .now_ms = ctl->now_ms
    };
    struct pawl_refund_result result = { .struct_size = sizeof(result) };
    int code = targets_read(ctl, targets);
    int rc;

    if (code != EXIT_YES) {
        return code;
    }
    item.limit = targets[0].limit;
    item.rates = targets[0].rates;
    item.algorithm = targets_algorithm(ctl);
    item.burst = option_number(&ctl->options, OPTION_BURST_ID, 0);
    item.key = &targets[0].key;
    item.key_count = 1;
    item.cost = option_number(&ctl->options, OPTION_COST_ID, 1);
    if (option_given(&ctl->options, OPTION_CHARGE_ID)) {
        item.charges = charges;
        item.charge_count = options_hex_list(option_text(&ctl->options, OPTION_CHARGE_ID), charges,
                                             PAWL_TEXT_RATES);
        if (item.charge_count == 0) {
            return ctl_usage(ctl, "--charge: more of them than a limit has rates", "8 at most");
        }
    }
    rc = pawl_client_refund(ctl->client, &call, &result);
    if (rc != PAWL_RC_OK) {
        return ctl_failed(ctl, rc, &result.info);
    }
    if (ctl->json) {
        output_json(json_pack("{s:o, s:o}", "key",
                              output_text(targets[0].key.data, targets[0].key.size), "refunded",
                              output_number(result.refunded[0])));
    } else {
        printf("refunded %" PRIu64 "\n", result.refunded[0]);
    }
    return result.refunded[0] > 0 ? EXIT_YES : EXIT_NO;
}

int command_reset(struct ctl *ctl)
{
    struct target targets[ARGUMENTS_MAX];
    uint64_t records = 0;
    int code = targets_read(ctl, targets);

    if (code != EXIT_YES) {
        return code;
    }
    for (uint32_t i = 0; i < ctl->options.word_count; i++) {
        struct pawl_reset_call call = { .struct_size = sizeof(call),
                                        .limit = targets[i].limit,
                                        .rates = targets[i].rates,
                                        .algorithm = targets_algorithm(ctl),
                                        .burst = option_number(&ctl->options, OPTION_BURST_ID, 0),
                                        .key = &targets[i].key,
                                        .key_count = 1,
                                        .now_ms = ctl->now_ms };
        struct pawl_reset_result result = { .struct_size = sizeof(result) };
        int rc = pawl_client_reset(ctl->client, &call, &result);

        if (rc != PAWL_RC_OK) {
            return ctl_failed(ctl, rc, &result.info);
        }
        records += result.records;
    }
    if (ctl->json) {
        output_json(json_pack("{s:o}", "records", output_number(records)));
    } else {
        printf("forgotten: %" PRIu64 " record%s\n", records, records == 1 ? "" : "s");
    }
    return EXIT_YES;
}

static const char *const algorithm_words[] = { "sliding", "gcra", "calendar", "concurrency" };
static const char *const period_words[] = { "", "hour", "day", "week", "month", "year" };

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const char *algorithm_word(uint32_t algorithm)
{
    return algorithm < COUNT_OF(algorithm_words) ? algorithm_words[algorithm] : "other";
}

static void rate_text(const struct pawl_rate_spec *rate, char *text, size_t size)
{
    char window[DURATION_TEXT_BYTES];

    if (rate->period != 0) {
        snprintf(text, size, "%" PRIu64 "/%s", rate->count,
                 rate->period < COUNT_OF(period_words) ? period_words[rate->period] : "period");
        return;
    }
    duration_text_format(rate->window_ms, window);
    snprintf(text, size, "%" PRIu64 "/%s", rate->count, window);
}

static json_t *limit_json(const struct pawl_limit_info *limit)
{
    json_t *rates = json_array();
    char text[64];

    for (uint32_t i = 0; i < limit->rate_count && i < PAWL_TEXT_RATES; i++) {
        rate_text(&limit->rates[i], text, sizeof(text));
        json_array_append_new(
            rates, json_pack("{s:o, s:o, s:s}", "count", output_number(limit->rates[i].count),
                             "window_ms", output_number(limit->rates[i].window_ms), "text", text));
    }
    return json_pack("{s:o, s:o, s:o, s:i, s:s, s:b, s:b, s:s, s:s, s:o, s:i, s:i, s:i}", "name",
                     output_text(limit->name, strlen(limit->name)), "namespace",
                     output_text(limit->ns, strlen(limit->ns)), "rates", rates, "precision",
                     (int)limit->precision, "on_error", pawl_fail_text(limit->on_error),
                     "count_denied", (int)limit->count_denied, "shadow", (int)limit->shadow,
                     "when_full", limit->when_full, "algorithm", algorithm_word(limit->algorithm),
                     "zone", output_text_or_null(limit->zone, strlen(limit->zone)), "anchor_day",
                     (int)limit->anchor_day, "overrides", (int)limit->overrides, "bypass",
                     (int)limit->bypass);
}

static void limit_line(const struct pawl_limit_info *limit)
{
    char text[64];

    printf("%-24s", limit->name);
    for (uint32_t i = 0; i < limit->rate_count && i < PAWL_TEXT_RATES; i++) {
        rate_text(&limit->rates[i], text, sizeof(text));
        printf("%s%s", i == 0 ? " " : ", ", text);
    }
    printf("  %s%s%s, on_error %s, precision %u%s%s", algorithm_word(limit->algorithm),
           limit->zone[0] != '\0' ? " in " : "", limit->zone, pawl_fail_text(limit->on_error),
           limit->precision, limit->count_denied ? ", counts denied" : "",
           limit->shadow ? ", shadow" : "");
    if (limit->overrides > 0 || limit->bypass > 0) {
        printf(", %u overrides, %u bypassed", limit->overrides, limit->bypass);
    }
    puts("");
}

/* One page behind @after; its limits are printed, or added to @array. */
static int limits_page(struct ctl *ctl, struct pawl_limit_info *page, struct pawl_str *after,
                       json_t *array, bool *more)
{
    struct pawl_limits_call call = { .struct_size = sizeof(call),
                                     .after = *after,
                                     .now_ms = ctl->now_ms };
    struct pawl_limits_result result = { .struct_size = sizeof(result),
                                         .limits = page,
                                         .limits_max = LIMITS_PAGE };
    int rc;

    if (ctl->options.word_count > 0) {
        call.limit = pawl_str(ctl->options.words[0]);
    }
    rc = pawl_client_limits(ctl->client, &call, &result);
    if (rc != PAWL_RC_OK) {
        return ctl_failed(ctl, rc, &result.info);
    }
    for (size_t i = 0; i < result.limit_count; i++) {
        if (array != NULL) {
            json_array_append_new(array, limit_json(&page[i]));
        } else {
            limit_line(&page[i]);
        }
    }
    *more = result.more && result.limit_count > 0;
    if (*more) {
        *after = pawl_str(page[result.limit_count - 1].name);
    }
    return EXIT_YES;
}

int command_limits(struct ctl *ctl)
{
    struct pawl_limit_info *pages = memory_zeroed(2 * LIMITS_PAGE, sizeof(*pages));
    json_t *array = ctl->json ? json_array() : NULL;
    struct pawl_str after = pawl_str("");
    bool more = true;
    int code = EXIT_YES;

    /* two pages in turn: `after` lends from the one before */
    for (size_t turn = 0; more && code == EXIT_YES; turn ^= 1) {
        code = limits_page(ctl, pages + turn * LIMITS_PAGE, &after, array, &more);
    }
    if (code == EXIT_YES && ctl->json) {
        output_json(json_pack("{s:O}", "limits", array));
    }
    json_decref(array);
    memory_release(pages);
    return code;
}
