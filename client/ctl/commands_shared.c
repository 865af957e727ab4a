#include "commands.h"
#include "output.h"

#include <stdio.h>
#include <time.h>

uint64_t ctl_monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
#include <string.h>

int ctl_usage(const struct ctl *ctl, const char *what, const char *hint)
{
    fprintf(stderr, "pawlctl: %s%s%s\n", what, *hint != '\0' ? "; " : "", hint);
    if (ctl->json) {
        output_json(json_pack("{s:s}", "error", what));
    }
    return EXIT_USAGE;
}

/* @text is what the handle said of it. */
static const char *hint_for(int rc, const char *text)
{
    switch (rc) {
    case PAWL_RC_CONNECT:
        if (strstr(text, "certificate required") != NULL) {
            return "show one (--tls-cert, --tls-key); with --credential alone the daemon wants "
                   "tls.client_certificates: optional";
        }
        if (strstr(text, "tls.clients") != NULL) {
            return "show another (--tls-cert, --tls-key), or let the daemon's settings name this "
                   "one";
        }
        if (strstr(text, "certificate expired") != NULL || strstr(text, "unknown ca") != NULL ||
            strstr(text, "bad certificate") != NULL) {
            return "the daemon refuses the certificate shown (--tls-cert): it has to be valid "
                   "now, and signed by the daemon's tls.ca";
        }
        if (strstr(text, "certificate") != NULL || strstr(text, "alert") != NULL) {
            return "somebody answers, and TLS failed: see --tls-ca, --tls-name, --tls-cert";
        }
        return "is pawld running? --addr or PAWL_ADDR says where";
    case PAWL_RC_NOT_PERMITTED:
        return "ask over the daemon's Unix socket, as root or as its user or group, or show a "
               "certificate (--tls-cert) or credential (--credential) that may";
    case PAWL_RC_FROZEN:
        return "see pawlctl help thaw";
    case PAWL_RC_TIMEOUT:
        return "--deadline gives it longer";
    default:
        return "";
    }
}

int ctl_warn(const struct ctl *ctl, int rc, const struct pawl_info *info)
{
    const char *text = info->text[0] != '\0' ? info->text : pawl_rc_text(rc);
    const char *hint = hint_for(rc, text);

    fprintf(stderr, "pawlctl: %s: %s%s%s\n", ctl->options.command->name, text,
            *hint != '\0' ? "; " : "", hint);
    if (info->effect == PAWL_EFFECT_UNKNOWN) {
        fputs("pawlctl: it may have happened all the same: the request had left\n", stderr);
    }
    return rc == PAWL_RC_INVALID || rc == PAWL_RC_TOO_BIG || rc == PAWL_RC_NOT_FOUND ||
                   rc == PAWL_RC_UNSUPPORTED
               ? EXIT_USAGE
               : EXIT_UNKNOWN;
}

int ctl_failed(const struct ctl *ctl, int rc, const struct pawl_info *info)
{
    int code = ctl_warn(ctl, rc, info);

    if (ctl->json) {
        const char *text = info->text[0] != '\0' ? info->text : pawl_rc_text(rc);

        output_json(json_pack("{s:s, s:s, s:s}", "error", text, "cause", pawl_rc_text(rc), "effect",
                              pawl_effect_text(info->effect)));
    }
    return code;
}

int ctl_level_read(const struct ctl *ctl, enum pawl_level *level)
{
    const char *text = option_text(&ctl->options, OPTION_ACK_ID);

    *level = PAWL_LEVEL_DEFAULT;
    if (text != NULL) {
        *level = pawl_level_from_text(text);
        if (*level == PAWL_LEVEL_DEFAULT) {
            return ctl_usage(ctl, "--ack: no such level",
                             "write memory, durable, quorum or everywhere");
        }
    }
    return EXIT_YES;
}

int ctl_why_read(const struct ctl *ctl, enum pawl_why *why)
{
    const char *text = option_text(&ctl->options, OPTION_REASON_ID);

    *why = PAWL_WHY_NONE;
    if (text != NULL) {
        *why = pawl_why_from_text(text);
        if (*why == PAWL_WHY_NONE) {
            return ctl_usage(ctl, "--reason: no such word",
                             "write logout, logout_all, password_change, compromised, reuse, "
                             "admin, key_compromised, account_disabled or superseded");
        }
    }
    return EXIT_YES;
}

int ctl_level_check(const struct ctl *ctl, enum pawl_level reached, enum pawl_level asked)
{
    if (reached >= asked && reached != PAWL_LEVEL_DEFAULT) {
        return EXIT_YES;
    }
    fprintf(stderr, "pawlctl: %s: acknowledged at \"%s\" only, \"%s\" was asked for\n",
            ctl->options.command->name, pawl_level_text(reached), pawl_level_text(asked));
    return EXIT_UNKNOWN;
}
