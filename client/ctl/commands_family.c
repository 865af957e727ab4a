#include "commands.h"
#include "output.h"
#include "time_text.h"

#include <inttypes.h>
#include <stdio.h>

int command_family_open(struct ctl *ctl)
{
    struct pawl_family_open_call call = { .struct_size = sizeof(call),
                                          .issuer = ctl_str(ctl, OPTION_ISS_ID),
                                          .subject = ctl_str(ctl, OPTION_SUB_ID),
                                          .client = ctl_str(ctl, OPTION_CLIENT_ID),
                                          .binding = ctl_str(ctl, OPTION_BINDING_ID),
                                          .jti = ctl_str(ctl, OPTION_JTI_ID),
                                          .iat_s = option_seconds(&ctl->options, OPTION_IAT_ID),
                                          .exp_s = option_seconds(&ctl->options, OPTION_EXP_ID),
                                          .now_ms = ctl->now_ms };
    struct pawl_family_open_result result = { .struct_size = sizeof(result) };
    char exp[TIME_TEXT_BYTES];
    int code = ctl_level_read(ctl, &call.level);
    int rc;

    if (code != EXIT_YES) {
        return code;
    }
    rc = pawl_client_family_open(ctl->client, &call, &result);
    if (rc != PAWL_RC_OK) {
        return ctl_failed(ctl, rc, &result.info);
    }
    if (ctl->json) {
        output_json(json_pack(
            "{s:o, s:o, s:o, s:o, s:s}", "sid", output_text(result.sid.data, result.sid.size),
            "jti", output_text(result.jti.data, result.jti.size), "exp",
            output_number(result.exp_s), "family_exp", output_number(result.family_exp_s),
            "acknowledged", pawl_level_text(result.acknowledged)));
    } else {
        time_text_format(result.exp_s, exp);
        printf("%.*s\n", (int)result.sid.size, result.sid.data);
        output_line("  expires", "%s", exp);
    }
    return ctl_level_check(ctl, result.acknowledged, call.level);
}

int command_family_end(struct ctl *ctl)
{
    struct pawl_family_end_call call = { .struct_size = sizeof(call),
                                         .issuer = ctl_str(ctl, OPTION_ISS_ID),
                                         .sid = ctl_str(ctl, OPTION_SID_ID),
                                         .actor = ctl_str(ctl, OPTION_ACTOR_ID),
                                         .exp_s = option_seconds(&ctl->options, OPTION_EXP_ID),
                                         .now_ms = ctl->now_ms };
    struct pawl_revoke_result result = { .struct_size = sizeof(result) };
    char id[FACT_TEXT_BYTES];
    int code = ctl_level_read(ctl, &call.level);
    int rc;

    code = code == EXIT_YES ? ctl_why_read(ctl, &call.reason) : code;
    if (code != EXIT_YES) {
        return code;
    }
    rc = pawl_client_family_end(ctl->client, &call, &result);
    if (rc != PAWL_RC_OK) {
        return ctl_failed(ctl, rc, &result.info);
    }
    fact_text_format(&result.id, id);
    if (ctl->json) {
        output_json(json_pack(
            "{s:s, s:s, s:s, s:o}", "acknowledged", pawl_level_text(result.acknowledged), "asked",
            pawl_level_text(result.asked), "id", id, "until", output_number(result.until_s)));
    } else {
        printf("ended, %s\n", pawl_level_text(result.acknowledged));
    }
    return ctl_level_check(ctl, result.acknowledged, result.asked);
}

static json_t *rotate_json(const struct pawl_rotate_result *result)
{
    json_t *object = json_object();

    json_object_set_new(object, "result", json_string(pawl_refresh_text(result->result)));
    json_object_set_new(
        object, "reason",
        result->reason == PAWL_WHY_NONE ? json_null() : json_string(pawl_why_text(result->reason)));
    json_object_set_new(object, "generation", output_number(result->generation));
    json_object_set_new(object, "successor",
                        output_text_or_null(result->successor.data, result->successor.size));
    json_object_set_new(object, "successor_iat", output_number(result->successor_iat_s));
    json_object_set_new(object, "successor_exp", output_number(result->successor_exp_s));
    json_object_set_new(object, "proposed",
                        output_text_or_null(result->proposed.data, result->proposed.size));
    json_object_set_new(object, "sid", output_text_or_null(result->sid.data, result->sid.size));
    json_object_set_new(object, "subject",
                        output_text_or_null(result->subject.data, result->subject.size));
    json_object_set_new(object, "family_exp", output_number(result->family_exp_s));
    json_object_set_new(object, "superseded", json_boolean(result->superseded));
    json_object_set_new(object, "row", output_number(result->row));
    json_object_set_new(object, "retry_after_ms", output_number(result->retry_after_ms));
    if (result->info.cause != PAWL_RC_OK) {
        json_object_set_new(object, "error",
                            output_text(result->info.text, strlen(result->info.text)));
        json_object_set_new(object, "effect", json_string(pawl_effect_text(result->info.effect)));
    }
    return object;
}

static void rotate_lines(const struct pawl_rotate_result *result)
{
    char exp[TIME_TEXT_BYTES];

    puts(pawl_refresh_text(result->result));
    if (result->reason != PAWL_WHY_NONE) {
        output_line("  reason", "%s%s", pawl_why_text(result->reason),
                    result->superseded ? ", superseded" : "");
    }
    if (result->successor.size > 0) {
        time_text_format(result->successor_exp_s, exp);
        output_line("  successor", "%.*s", (int)result->successor.size, result->successor.data);
        output_line("  generation", "%" PRIu64, result->generation);
        output_line("  expires", "%s", exp);
    }
}

static int rotate_code(const struct ctl *ctl, const struct pawl_rotate_result *result)
{
    switch (result->result) {
    case PAWL_REFRESH_ROTATED:
    case PAWL_REFRESH_GRACE:
    case PAWL_REFRESH_ADOPTED:
        return EXIT_YES;
    case PAWL_REFRESH_NONE:
    case PAWL_REFRESH_UNAVAILABLE:
        if (result->info.cause != PAWL_RC_OK) {
            (void)ctl_warn(ctl, result->info.cause, &result->info);
        }
        return EXIT_UNKNOWN;
    default:
        return EXIT_NO;
    }
}

static void presented_fill(const struct ctl *ctl, struct pawl_token *token)
{
    token->struct_size = sizeof(*token);
    token->issuer = ctl_str(ctl, OPTION_ISS_ID);
    token->jti = ctl_str(ctl, OPTION_FROM_ID);
    token->sid = ctl_str(ctl, OPTION_SID_ID);
    token->subject = ctl_str(ctl, OPTION_SUB_ID);
    token->client = ctl_str(ctl, OPTION_CLIENT_ID);
    token->iat_s = option_seconds(&ctl->options, OPTION_FROM_IAT_ID);
    token->exp_s = option_seconds(&ctl->options, OPTION_FROM_EXP_ID);
}

static uint32_t rotate_flags(const struct ctl *ctl)
{
    uint32_t flags = 0;

    if (option_given(&ctl->options, OPTION_GEN_ID)) {
        flags |= PAWL_ROTATE_HAS_GENERATION;
    }
    if (option_given(&ctl->options, OPTION_LEEWAY_ID)) {
        flags |= PAWL_ROTATE_HAS_LEEWAY;
    }
    if (option_given(&ctl->options, OPTION_ADOPT_ID)) {
        flags |= PAWL_ROTATE_ADOPT | PAWL_ROTATE_VERIFIED;
    }
    if (option_given(&ctl->options, OPTION_VERIFIED_ID)) {
        flags |= PAWL_ROTATE_VERIFIED;
    }
    return flags;
}

int command_rotate(struct ctl *ctl)
{
    struct pawl_token presented = { 0 };
    struct pawl_rotate_call call = {
        .struct_size = sizeof(call),
        .presented = &presented,
        .generation = option_number(&ctl->options, OPTION_GEN_ID, 0),
        .next_jti = ctl_str(ctl, OPTION_TO_ID),
        .next_exp_s = option_seconds(&ctl->options, OPTION_EXP_ID),
        .binding = ctl_str(ctl, OPTION_BINDING_ID),
        .flags = rotate_flags(ctl),
        .now_ms = ctl->now_ms,
    };
    struct pawl_rotate_result result = { .struct_size = sizeof(result) };
    uint64_t leeway_ms = option_number(&ctl->options, OPTION_LEEWAY_ID, 0);
    int code = ctl_level_read(ctl, &call.level);
    int rc;

    if (code != EXIT_YES) {
        return code;
    }
    call.leeway_ms = leeway_ms < UINT32_MAX ? (uint32_t)leeway_ms : UINT32_MAX;
    presented_fill(ctl, &presented);
    rc = pawl_client_rotate(ctl->client, &call, &result);
    if (rc != PAWL_RC_OK) {
        return ctl_failed(ctl, rc, &result.info);
    }
    if (ctl->json) {
        output_json(rotate_json(&result));
    } else {
        rotate_lines(&result);
    }
    return rotate_code(ctl, &result);
}
