#include "commands.h"
#include "output.h"
#include "time_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define TOKEN_MAX 8192

/* What can be revoked, and the option that says which. */
static const struct target {
    const char *word;
    enum pawl_revoke_scope scope;
    enum option_id value;
    option_set options; /* besides the value, --iss, --ack, --reason, --actor */
} targets[] = {
#define BIT(id) ((option_set)1 << OPTION_##id##_ID)
    { "token", PAWL_REVOKE_TOKEN, OPTION_JTI_ID, BIT(JTI) | BIT(EXP) },
    { "family", PAWL_REVOKE_FAMILY, OPTION_SID_ID, BIT(SID) | BIT(EXP) },
    { "subject", PAWL_REVOKE_SUBJECT, OPTION_SUB_ID, BIT(SUB) | BIT(BEFORE) },
    { "client", PAWL_REVOKE_CLIENT, OPTION_CLIENT_ID, BIT(CLIENT) | BIT(BEFORE) },
    { "key", PAWL_REVOKE_KEY, OPTION_KID_ID, BIT(KID) | BIT(BEFORE) },
    { "namespace", PAWL_REVOKE_NAMESPACE, OPTION_COUNT, BIT(BEFORE) },
    { "opaque", PAWL_REVOKE_OPAQUE, OPTION_COUNT, BIT(EXP) },
    { "jwt", PAWL_REVOKE_JWT, OPTION_COUNT, BIT(FAMILY) },
};
#define OPTIONAL \
    (BIT(JTI) | BIT(EXP) | BIT(SID) | BIT(SUB) | BIT(CLIENT) | BIT(KID) | BIT(BEFORE) | BIT(FAMILY))

static const struct target *target_find(const char *word)
{
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        if (strcmp(targets[i].word, word) == 0) {
            return &targets[i];
        }
    }
    return NULL;
}

/* Options that this scope would not look at are a mistake, and so is a missing value. */
static int target_check(const struct ctl *ctl, const struct target *target)
{
    char what[64];

    for (uint32_t i = 0; i < OPTION_COUNT; i++) {
        option_set bit = (option_set)1 << i;

        if ((OPTIONAL & bit) != 0 && (target->options & bit) == 0 && ctl->options.values[i].given) {
            snprintf(what, sizeof(what), "revoke %s: --%s", target->word,
                     option_spec((enum option_id)i)->name);
            return ctl_usage(ctl, what, "that does not go together");
        }
    }
    if (target->value != OPTION_COUNT && ctl_str(ctl, target->value).size == 0) {
        snprintf(what, sizeof(what), "revoke %s: --%s", target->word,
                 option_spec(target->value)->name);
        return ctl_usage(ctl, what, "this is needed");
    }
    return EXIT_YES;
}

/* A token from standard input, up to its line's end; empty is refused. */
static int token_read(const struct ctl *ctl, char *buffer, size_t capacity, struct pawl_str *token)
{
    size_t size = 0;

    while (size < capacity) {
        ssize_t got = read(STDIN_FILENO, buffer + size, capacity - size);

        if (got <= 0) {
            break;
        }
        size += (size_t)got;
    }
    if (size == capacity) {
        return ctl_usage(ctl, "the token on standard input is longer than 8 KiB", "");
    }
    while (size > 0 && (buffer[size - 1] == '\n' || buffer[size - 1] == '\r')) {
        size--;
    }
    if (size == 0) {
        return ctl_usage(ctl, "no token on standard input",
                         "pipe it in: printf %s \"$TOKEN\" | ...");
    }
    token->data = buffer;
    token->size = size;
    return EXIT_YES;
}

static int revoke_print(const struct ctl *ctl, const struct pawl_revoke_result *result)
{
    char id[FACT_TEXT_BYTES];
    char until[TIME_TEXT_BYTES];

    fact_text_format(&result->id, id);
    time_text_format(result->until_s, until);
    if (ctl->json) {
        output_json(json_pack(
            "{s:s, s:s, s:s, s:o}", "acknowledged", pawl_level_text(result->acknowledged), "asked",
            pawl_level_text(result->asked), "id", id, "until", output_number(result->until_s)));
    } else {
        printf("revoked, %s\n", pawl_level_text(result->acknowledged));
        output_line("  id", "%s", id);
        output_line("  kept until", "%s", until);
    }
    return ctl_level_check(ctl, result->acknowledged, result->asked);
}

/* On standard input, never an argument: those are there for everybody to see (P9). */
static bool is_piped(const struct target *target)
{
    return target->scope == PAWL_REVOKE_OPAQUE || target->scope == PAWL_REVOKE_JWT;
}

static bool looks_like_jwt(struct pawl_str token)
{
    const char *text = token.data;
    unsigned dots = 0;

    for (size_t i = 0; i < token.size; i++) {
        dots += text[i] == '.' ? 1 : 0;
    }
    return dots == 2 && token.size > 3 && memcmp(text, "eyJ", 3) == 0; /* {" in base64 */
}

/* A JWT is known by its jti, and its text can be changed without its key where that is of ECDSA:
 * whoever revokes the text has not ended the token. It is done all the same: it was asked for. */
static void warn_of_jwt(const struct target *target, struct pawl_str token)
{
    if (target->scope == PAWL_REVOKE_OPAQUE && looks_like_jwt(token)) {
        fputs(
            "pawlctl: revoke opaque: this looks like a JWT, which goes on for whoever verifies it; "
            "end it by revoke jwt, or by revoke token --jti\n",
            stderr);
    }
}

static int revoke_ask(struct ctl *ctl, const struct target *target, struct pawl_revoke_call *call)
{
    char token[TOKEN_MAX + 1];
    struct pawl_revoke_result result = { .struct_size = sizeof(result) };
    int code = is_piped(target) ? token_read(ctl, token, sizeof(token), &call->value) : EXIT_YES;

    if (code == EXIT_YES) {
        warn_of_jwt(target, call->value);

        int rc = pawl_client_revoke(ctl->client, call, &result);

        code = rc == PAWL_RC_OK ? revoke_print(ctl, &result) : ctl_failed(ctl, rc, &result.info);
    }
    explicit_bzero(token, sizeof(token));
    return code;
}

int command_revoke(struct ctl *ctl)
{
    const struct target *target = target_find(ctl->options.words[0]);
    struct pawl_revoke_call call = { .struct_size = sizeof(call),
                                     .issuer = ctl_str(ctl, OPTION_ISS_ID),
                                     .actor = ctl_str(ctl, OPTION_ACTOR_ID),
                                     .before_ms = ctl->options.values[OPTION_BEFORE_ID].number,
                                     .exp_s = option_seconds(&ctl->options, OPTION_EXP_ID),
                                     .now_ms = ctl->now_ms };
    int code;

    if (target == NULL) {
        return ctl_usage(ctl, "revoke: of what?",
                         "write token, family, subject, client, key, namespace, opaque or jwt");
    }
    code = target_check(ctl, target);
    code = code == EXIT_YES ? ctl_level_read(ctl, &call.level) : code;
    code = code == EXIT_YES ? ctl_why_read(ctl, &call.reason) : code;
    if (code != EXIT_YES) {
        return code;
    }
    call.scope = target->scope;
    if (target->value != OPTION_COUNT) {
        call.value = ctl_str(ctl, target->value);
    } else if (option_given(&ctl->options, OPTION_FAMILY_ID)) {
        call.scope = PAWL_REVOKE_JWT_FAMILY;
    }
    return revoke_ask(ctl, target, &call);
}

int command_unrevoke(struct ctl *ctl)
{
    struct pawl_fact_name ids[ARGUMENTS_MAX];
    struct pawl_unrevoke_call call = { .struct_size = sizeof(call),
                                       .ids = ids,
                                       .id_count = ctl->options.word_count,
                                       .actor = ctl_str(ctl, OPTION_ACTOR_ID),
                                       .now_ms = ctl->now_ms };
    struct pawl_unrevoke_result result = { .struct_size = sizeof(result) };
    char id[FACT_TEXT_BYTES];
    int code = ctl_level_read(ctl, &call.level);
    int rc;

    for (uint32_t i = 0; i < ctl->options.word_count && code == EXIT_YES; i++) {
        if (!fact_text_parse(ctl->options.words[i], &ids[i])) {
            code = ctl_usage(ctl, "unrevoke: not the id of a revocation",
                             "write it as revoke printed it: 32 hex digits, a colon, a number");
        }
    }
    if (code != EXIT_YES) {
        return code;
    }
    rc = pawl_client_unrevoke(ctl->client, &call, &result);
    if (rc != PAWL_RC_OK) {
        code = ctl_failed(ctl, rc, &result.info);
        return rc == PAWL_RC_NOT_FOUND ? EXIT_NO : code;
    }
    fact_text_format(&result.id, id);
    if (ctl->json) {
        output_json(json_pack("{s:i, s:s, s:s}", "canceled", (int)result.canceled, "acknowledged",
                              pawl_level_text(result.acknowledged), "id", id));
    } else {
        printf("cancelled %u of %u, %s\n", result.canceled, ctl->options.word_count,
               pawl_level_text(result.acknowledged));
    }
    code = ctl_level_check(ctl, result.acknowledged, call.level);
    return code == EXIT_YES && result.canceled < ctl->options.word_count ? EXIT_NO : code;
}

static void put_claim(json_t *object, const char *name, const struct pawl_text *text)
{
    if (text->size > 0) {
        json_object_set_new(object, name, output_text(text->data, text->size));
    }
}

/* What pawld found in a token that it verified, by the names that tokens have for it. */
static json_t *claims_json(const struct pawl_claims *claims)
{
    json_t *object = json_object();

    put_claim(object, "iss", &claims->issuer);
    put_claim(object, "sub", &claims->subject);
    put_claim(object, "jti", &claims->jti);
    put_claim(object, "client_id", &claims->client);
    put_claim(object, "sid", &claims->sid);
    put_claim(object, "kid", &claims->key);
    if (claims->iat_s != 0) {
        json_object_set_new(object, "iat", output_number(claims->iat_s));
    }
    if (claims->exp_s != 0) {
        json_object_set_new(object, "exp", output_number(claims->exp_s));
    }
    return object;
}

static void verdict_json(const struct pawl_token_check_result *result)
{
    const struct pawl_token_answer *token = &result->token;
    json_t *object = json_object();

    json_object_set_new(object, "status", json_string(pawl_token_state_text(token->status)));
    json_object_set_new(object, "reason",
                        token->reason != PAWL_WHY_NONE
                            ? json_string(pawl_why_text(token->reason))
                            : output_text_or_null(token->detail, strlen(token->detail)));
    json_object_set_new(object, "scope",
                        token->scope != PAWL_REVOKE_NONE
                            ? json_string(pawl_revoke_scope_text(token->scope))
                            : json_null());
    json_object_set_new(object, "fresh", json_boolean(token->fresh));
    json_object_set_new(object, "staleness_ms", output_number(token->staleness_ms));
    if (token->has_claims) {
        json_object_set_new(object, "claims", claims_json(token->claims));
    }
    if (result->info.cause != PAWL_RC_OK) {
        json_object_set_new(object, "error",
                            output_text(result->info.text, strlen(result->info.text)));
    }
    output_json(object);
}

static void claim_line(const char *name, const struct pawl_text *text)
{
    if (text->size > 0) {
        output_line(name, "%.*s", (int)text->size, text->data);
    }
}

static void verdict_lines(const struct pawl_token_check_result *result)
{
    const struct pawl_token_answer *token = &result->token;
    char age[DURATION_TEXT_BYTES];

    puts(pawl_token_state_text(token->status));
    if (token->reason != PAWL_WHY_NONE || token->detail[0] != '\0') {
        output_line("  reason", "%s",
                    token->reason != PAWL_WHY_NONE ? pawl_why_text(token->reason) : token->detail);
    }
    if (token->scope != PAWL_REVOKE_NONE) {
        output_line("  hit by", "%s", pawl_revoke_scope_text(token->scope));
    }
    if (token->has_claims) {
        claim_line("  issuer", &token->claims->issuer);
        claim_line("  subject", &token->claims->subject);
        claim_line("  jti", &token->claims->jti);
        claim_line("  family", &token->claims->sid);
    }
    if (result->info.source == PAWL_SOURCE_DAEMON) {
        duration_text_format(token->staleness_ms, age);
        output_line("  data", "%s, at most %s old", token->fresh ? "fresh" : "stale", age);
    }
}

static int verdict_ask(struct ctl *ctl, const struct pawl_token *token)
{
    struct pawl_claims claims;
    struct pawl_token_check_call call = { .struct_size = sizeof(call),
                                          .token = token,
                                          .now_ms = ctl->now_ms };
    struct pawl_token_check_result result = { .struct_size = sizeof(result) };
    int rc;

    result.token.claims = &claims;
    rc = pawl_client_token_check(ctl->client, &call, &result);
    if (rc != PAWL_RC_OK) {
        return ctl_failed(ctl, rc, &result.info);
    }
    if (ctl->json) {
        verdict_json(&result);
    } else {
        verdict_lines(&result);
    }
    if (result.info.cause != PAWL_RC_OK) {
        return ctl_warn(ctl, result.info.cause, &result.info);
    }
    return result.token.status == PAWL_TOKEN_STATE_VALID ? EXIT_YES
           : result.token.status == PAWL_TOKEN_STATE_UNDECIDED ||
                   result.token.status == PAWL_TOKEN_STATE_NONE
               ? EXIT_UNKNOWN
               : EXIT_NO;
}

/* The token of standard input as @piped of @token, asked about and wiped. */
static int verdict_piped(struct ctl *ctl, struct pawl_token *token, struct pawl_str *piped)
{
    char text[TOKEN_MAX + 1];
    int code = token_read(ctl, text, sizeof(text), piped);

    code = code == EXIT_YES ? verdict_ask(ctl, token) : code;
    explicit_bzero(text, sizeof(text));
    *piped = pawl_str(NULL);
    return code;
}

int command_token_check(struct ctl *ctl)
{
    struct pawl_token token = { .struct_size = sizeof(token),
                                .issuer = ctl_str(ctl, OPTION_ISS_ID),
                                .jti = ctl_str(ctl, OPTION_JTI_ID),
                                .subject = ctl_str(ctl, OPTION_SUB_ID),
                                .client = ctl_str(ctl, OPTION_CLIENT_ID),
                                .key = ctl_str(ctl, OPTION_KID_ID),
                                .sid = ctl_str(ctl, OPTION_SID_ID),
                                .iat_s = option_seconds(&ctl->options, OPTION_IAT_ID),
                                .exp_s = option_seconds(&ctl->options, OPTION_EXP_ID) };

    if (option_given(&ctl->options, OPTION_OPAQUE_ID)) {
        return verdict_piped(ctl, &token, &token.opaque);
    }
    if (token.jti.size + token.sid.size + token.subject.size == 0) {
        return ctl_usage(ctl, "token check: which token?",
                         "give --jti, or --sid or --sub, or --opaque");
    }
    return verdict_ask(ctl, &token);
}

int command_token_verify(struct ctl *ctl)
{
    struct pawl_token token = { .struct_size = sizeof(token),
                                .issuer = ctl_str(ctl, OPTION_ISS_ID),
                                .audience = ctl_str(ctl, OPTION_AUD_ID),
                                .type = ctl_str(ctl, OPTION_TYPE_ID) };

    return verdict_piped(ctl, &token, &token.raw);
}
