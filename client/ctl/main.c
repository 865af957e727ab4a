/*
 * pawlctl: ask and rule a pawld from the command line. See options_table.c for its commands.
 */
#include "commands.h"

#include "output.h"

#include <stdio.h>
#include <time.h>

#define DEADLINE_MS     5000
#define DEADLINE_MAX_MS 3600000

typedef int (*runner)(struct ctl *ctl);

static const runner runners[COMMAND_COUNT] = {
    [COMMAND_CHECK] = command_check,
    [COMMAND_PEEK] = command_peek,
    [COMMAND_REFUND] = command_refund,
    [COMMAND_RESET] = command_reset,
    [COMMAND_LIMITS] = command_limits,
    [COMMAND_REVOKE] = command_revoke,
    [COMMAND_UNREVOKE] = command_unrevoke,
    [COMMAND_TOKEN_CHECK] = command_token_check,
    [COMMAND_TOKEN_VERIFY] = command_token_verify,
    [COMMAND_TOKEN_MINT] = command_token_mint,
    [COMMAND_FAMILY_OPEN] = command_family_open,
    [COMMAND_FAMILY_END] = command_family_end,
    [COMMAND_ROTATE] = command_rotate,
    [COMMAND_STATUS] = command_status,
    [COMMAND_MEMBERS] = command_members,
    [COMMAND_THAW] = command_thaw,
    [COMMAND_PING] = command_ping,
    [COMMAND_RESERVE] = command_reserve,
    [COMMAND_COMMIT] = command_commit,
    [COMMAND_CANCEL] = command_cancel,
    [COMMAND_TOP] = command_top,
    [COMMAND_WATCH] = command_watch,
    [COMMAND_EXPORT] = command_export,
    [COMMAND_IMPORT] = command_import,
    [COMMAND_COMPLETION] = command_completion,
    [COMMAND_BENCH] = command_bench,
    [COMMAND_HELP] = command_help,
};

static int64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What the options say about every request. */
static int settings_read(struct ctl *ctl)
{
    char error[OPTION_TEXT_MAX];
    uint64_t deadline_ms = option_number(&ctl->options, OPTION_DEADLINE_ID, DEADLINE_MS);

    ctl->addresses = option_text(&ctl->options, OPTION_ADDR_ID);
    ctl->now_ms = option_number(&ctl->options, OPTION_NOW_ID, 0);
    if (deadline_ms == 0 || deadline_ms > DEADLINE_MAX_MS) {
        return ctl_usage(ctl, "--deadline: not between 1ms and 1h", "5s is the default");
    }
    ctl->deadline_ms = (uint32_t)deadline_ms;
    if (!options_resolve(&ctl->options, ctl->now_ms != 0 ? (int64_t)ctl->now_ms : wall_ms(),
                         error)) {
        return ctl_usage(ctl, error, "");
    }
    return EXIT_YES;
}

static int client_make(struct ctl *ctl)
{
    struct pawl_client_options asked = {
        .struct_size = sizeof(asked),
        .addresses = ctl->addresses,
        .ns = option_text(&ctl->options, OPTION_NS_ID),
        .name = "pawlctl " PAWL_VERSION,
        .flags = PAWL_CLIENT_NO_FALLBACK | PAWL_CLIENT_NO_BREAKER,
        .check_deadline_ms = ctl->deadline_ms,
        .durable_deadline_ms = ctl->deadline_ms,
        .tls_ca = option_text(&ctl->options, OPTION_TLS_CA_ID),
        .tls_certificate = option_text(&ctl->options, OPTION_TLS_CERT_ID),
        .tls_key = option_text(&ctl->options, OPTION_TLS_KEY_ID),
        .tls_name = option_text(&ctl->options, OPTION_TLS_NAME_ID),
        .credential_id = option_text(&ctl->options, OPTION_CREDENTIAL_ID),
        .credential_file = option_text(&ctl->options, OPTION_CREDENTIAL_FILE_ID),
    };
    char error[PAWL_TEXT_BYTES] = "";

    if (option_given(&ctl->options, OPTION_INSECURE_ID)) {
        asked.flags |= PAWL_CLIENT_INSECURE;
    }
    if (pawl_client_create(&asked, &ctl->client, error, sizeof(error)) != PAWL_RC_OK) {
        return ctl_usage(ctl, error, "");
    }
    return EXIT_YES;
}

static int run(struct ctl *ctl)
{
    enum command_id id = ctl->options.command->id;
    int code = settings_read(ctl);

    if (code == EXIT_YES && id != COMMAND_HELP && id != COMMAND_BENCH && id != COMMAND_COMPLETION &&
        id != COMMAND_TOKEN_MINT) {
        code = client_make(ctl);
    }
    if (code == EXIT_YES) {
        code = runners[id](ctl);
    }
    pawl_client_destroy(ctl->client);
    return code;
}

int main(int argc, char **argv)
{
    static struct ctl ctl; /* zero, and big */
    char error[OPTION_TEXT_MAX];
    int code;

    if (!options_parse(&ctl.options, argc - 1, argv + 1, error)) {
        ctl.json = option_given(&ctl.options, OPTION_JSON_ID);
        return ctl_usage(&ctl, error, "");
    }
    ctl.json = option_given(&ctl.options, OPTION_JSON_ID);
    if (option_given(&ctl.options, OPTION_VERSION_ID)) {
        puts("pawlctl " PAWL_VERSION);
        return EXIT_YES;
    }
    if (option_given(&ctl.options, OPTION_HELP_ID)) {
        options_help(stdout, ctl.options.command);
        return EXIT_YES;
    }
    if (ctl.options.command == NULL) {
        options_help(stderr, NULL);
        return EXIT_USAGE;
    }
    code = run(&ctl);
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        fputs("pawlctl: standard output does not take the answer\n", stderr);
        return EXIT_UNKNOWN;
    }
    return code;
}
