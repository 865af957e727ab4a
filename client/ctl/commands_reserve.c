#include "output.h"
#include "targets.h"

#include <inttypes.h>
#include <stdio.h>

#define LEASE_TEXT_BYTES (2 * PAWL_LEASE_BYTES + 1)

static bool lease_parse(const char *text, uint8_t lease[PAWL_LEASE_BYTES])
{
    return strlen(text) == LEASE_TEXT_BYTES - 1 &&
           strspn(text, "0123456789abcdef") == LEASE_TEXT_BYTES - 1 &&
           hex_parse(text, lease, PAWL_LEASE_BYTES);
}

static void reserve_print(const struct ctl *ctl, const struct pawl_reserve_result *result,
                          const struct target *targets)
{
    char lease[LEASE_TEXT_BYTES] = "";
    json_t *limits = json_array();

    if (result->granted > 0) {
        hex_format(result->lease, sizeof(result->lease), lease);
    }
    for (size_t i = 0; i < result->rate_count && ctl->json; i++) {
        json_array_append_new(limits,
                              target_rate_json(&result->rates[i], &targets[result->rates[i].item]));
    }
    if (ctl->json) {
        output_json(json_pack(
            "{s:s, s:o, s:o, s:o, s:O}", "verdict", pawl_outcome_text(result->outcome), "granted",
            output_number(result->granted), "lease", output_text_or_null(lease, strlen(lease)),
            "lease_ms", output_number(result->lease_ms), "limits", limits));
    } else {
        puts(pawl_outcome_text(result->outcome));
        if (result->granted > 0) {
            output_line("  granted", "%" PRIu64, result->granted);
            output_line("  lease", "%s", lease);
        }
        for (size_t i = 0; i < result->rate_count; i++) {
            target_rate_line(&result->rates[i], &targets[result->rates[i].item]);
        }
    }
    json_decref(limits);
}

int command_reserve(struct ctl *ctl)
{
    struct target targets[ARGUMENTS_MAX];
    struct pawl_check_item items[ARGUMENTS_MAX] = { 0 };
    struct pawl_rate_result rates[PAWL_CHECK_RATES] = { 0 };
    struct pawl_reserve_call call = { .struct_size = sizeof(call),
                                      .items = items,
                                      .item_count = ctl->options.word_count,
                                      .now_ms = ctl->now_ms };
    struct pawl_reserve_result result = { .struct_size = sizeof(result),
                                          .rates = rates,
                                          .rates_max = PAWL_CHECK_RATES };
    uint64_t lease_ms = option_number(&ctl->options, OPTION_LEASE_ID, 0);
    int code = targets_read(ctl, targets);
    int rc;

    if (code != EXIT_YES) {
        return code;
    }
    if (option_given(&ctl->options, OPTION_LEASE_ID) && (lease_ms == 0 || lease_ms > 3600000)) {
        return ctl_usage(ctl, "--lease: not between 1ms and 1h", "60s is the default");
    }
    targets_items(ctl, targets, items);
    call.min = option_number(&ctl->options, OPTION_MIN_ID, 0);
    call.max = option_number(&ctl->options, OPTION_MAX_ID, 0);
    call.lease_ms = (uint32_t)lease_ms;
    rc = pawl_client_reserve(ctl->client, &call, &result);
    if (rc != PAWL_RC_OK) {
        return ctl_failed(ctl, rc, &result.info);
    }
    reserve_print(ctl, &result, targets);
    return result.outcome == PAWL_OUTCOME_ALLOW  ? EXIT_YES
           : result.outcome == PAWL_OUTCOME_DENY ? EXIT_NO
                                                 : EXIT_UNKNOWN;
}

static int refunded_print(const struct ctl *ctl, int rc, const struct pawl_commit_result *result)
{
    if (rc == PAWL_RC_NOT_FOUND) {
        (void)ctl_failed(ctl, rc, &result->info);
        return EXIT_NO;
    }
    if (rc != PAWL_RC_OK) {
        return ctl_failed(ctl, rc, &result->info);
    }
    if (ctl->json) {
        output_json(json_pack("{s:o}", "refunded", output_number(result->refunded)));
    } else {
        printf("refunded %" PRIu64 "\n", result->refunded);
    }
    return EXIT_YES;
}

int command_commit(struct ctl *ctl)
{
    struct pawl_commit_call call = { .struct_size = sizeof(call),
                                     .used = option_number(&ctl->options, OPTION_USED_ID, 0),
                                     .now_ms = ctl->now_ms };
    struct pawl_commit_result result = { .struct_size = sizeof(result) };

    if (!lease_parse(ctl->options.words[0], call.lease)) {
        return ctl_usage(ctl, "LEASE: not 32 hexadecimal digits", "write what reserve printed");
    }
    return refunded_print(ctl, pawl_client_commit(ctl->client, &call, &result), &result);
}

int command_cancel(struct ctl *ctl)
{
    struct pawl_cancel_lease_call call = { .struct_size = sizeof(call), .now_ms = ctl->now_ms };
    struct pawl_commit_result result = { .struct_size = sizeof(result) };

    if (!lease_parse(ctl->options.words[0], call.lease)) {
        return ctl_usage(ctl, "LEASE: not 32 hexadecimal digits", "write what reserve printed");
    }
    return refunded_print(ctl, pawl_client_cancel_lease(ctl->client, &call, &result), &result);
}
