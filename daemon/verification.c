#include "verification.h"

#include <stdio.h>
#include <string.h>

static void say_loaded(struct pawl_verification *verification, const struct pawl_jwt_report *report,
                       const char *by)
{
    for (unsigned i = 0; i < report->warnings && i < PAWL_JWT_WARNINGS_MAX; i++) {
        pawl_log_event(verification->log, PAWL_LOG_WARN, "jwt_key_doubtful",
                       PAWL_F_TEXT("why", report->warning[i]));
    }
    if (report->issuers == 0) {
        return;
    }
    pawl_log_event(verification->log, PAWL_LOG_INFO, "jwt_keys_loaded", PAWL_F_TEXT("by", by),
                   PAWL_F_U64("issuers", report->issuers), PAWL_F_U64("keys", report->keys),
                   PAWL_F_U64("skipped", report->skipped));
    pawl_audit_event(verification->audit, PAWL_AUDIT_KEYS_CHANGED, NULL, PAWL_F_TEXT("by", by),
                     PAWL_F_U64("issuers", report->issuers), PAWL_F_U64("keys", report->keys));
}

enum pawl_status pawl_verification_init(struct pawl_verification *verification,
                                        const struct pawl_settings *settings,
                                        const struct pawl_log *log, struct pawl_audit *audit,
                                        struct pawl_error *error)
{
    struct pawl_jwt_report report;

    memset(verification, 0, sizeof(*verification));
    verification->log = log;
    verification->audit = audit;
    verification->refresh_ms = settings->jwt.refresh_ms;
    enum pawl_status status =
        pawl_jwt_create(&verification->keyring, &settings->jwt, &report, error);

    if (status == PAWL_OK) {
        say_loaded(verification, &report, "start");
    }
    return status;
}

struct pawl_jwt pawl_verification_port(const struct pawl_verification *verification)
{
    return pawl_jwt_port(verification->keyring);
}

/* ---- reload -------------------------------------------------------------------------------- */

static enum pawl_status prepare(void *self, const struct pawl_settings *fresh,
                                const struct pawl_settings *current, struct pawl_error *error)
{
    struct pawl_verification *verification = self;
    enum pawl_status status =
        pawl_jwt_prepare(verification->keyring, &fresh->jwt, &verification->next, error);

    (void)current;
    verification->next_refresh_ms = fresh->jwt.refresh_ms;
    if (status != PAWL_OK) {
        (void)atomic_fetch_add_explicit(&verification->reload_failures, 1, memory_order_relaxed);
    }
    return status;
}

static void commit(void *self)
{
    struct pawl_verification *verification = self;

    pawl_jwt_commit(verification->keyring);
    verification->refresh_ms = verification->next_refresh_ms;
    verification->refused[0] = '\0';
    say_loaded(verification, &verification->next, "reload");
}

static void drop(void *self)
{
    struct pawl_verification *verification = self;

    pawl_jwt_abort(verification->keyring);
}

struct pawl_reload_part pawl_verification_part(struct pawl_verification *verification)
{
    return (struct pawl_reload_part){ "jwt", prepare, commit, drop, verification };
}

/* ---- files that change by themselves ------------------------------------------------------- */

static void say_refused(struct pawl_verification *verification, const struct pawl_error *error)
{
    (void)atomic_fetch_add_explicit(&verification->reload_failures, 1, memory_order_relaxed);
    if (strcmp(verification->refused, error->text) == 0) {
        return; /* it is tried again at each look, and said once */
    }
    (void)snprintf(verification->refused, sizeof(verification->refused), "%s", error->text);
    pawl_log_event(verification->log, PAWL_LOG_ERROR, "jwt_reload_failed",
                   PAWL_F_TEXT("why", error->text),
                   PAWL_F_TEXT("do", "the keys before go on; mend the file"));
    pawl_audit_event(verification->audit, PAWL_AUDIT_RELOAD_REFUSED, NULL,
                     PAWL_F_TEXT("by", "refresh"), PAWL_F_TEXT("part", "jwt"),
                     PAWL_F_TEXT("why", error->text));
}

void pawl_verification_tick(struct pawl_verification *verification, struct pawl_instant now)
{
    struct pawl_error error = { PAWL_OK, 0, "" };
    struct pawl_jwt_report report;
    uint64_t now_ms = now.ns / 1000000;
    bool changed = false;

    if (verification->looked_ms == 0) {
        verification->looked_ms = now_ms;
    }
    if (now_ms - verification->looked_ms < verification->refresh_ms) {
        return;
    }
    verification->looked_ms = now_ms;
    if (pawl_jwt_refresh(verification->keyring, &changed, &report, &error) != PAWL_OK) {
        say_refused(verification, &error);
    } else if (changed) {
        verification->refused[0] = '\0';
        say_loaded(verification, &report, "refresh");
    }
}

void pawl_verification_stats(struct pawl_verification *verification,
                             const struct pawl_stats_sink *sink)
{
    struct pawl_jwt port = pawl_jwt_port(verification->keyring);

    port.ops->stats(port.self, sink);
    sink->number(sink->self, "jwt_reload_failed",
                 atomic_load_explicit(&verification->reload_failures, memory_order_relaxed));
}

void pawl_verification_deinit(struct pawl_verification *verification)
{
    pawl_jwt_destroy(verification->keyring);
    verification->keyring = NULL;
}
