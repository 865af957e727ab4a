#include "security.h"

#include <stdlib.h>
#include <string.h>

#include "adapter/sys/credential.h"
#include "adapter/tls/tls.h"

_Static_assert((int)PAWL_CLIENT_CERTIFICATES_NONE == (int)PAWL_TLS_CLIENT_AUTH_NONE &&
                   (int)PAWL_CLIENT_CERTIFICATES_OPTIONAL == (int)PAWL_TLS_CLIENT_AUTH_OPTIONAL &&
                   (int)PAWL_CLIENT_CERTIFICATES_REQUIRED == (int)PAWL_TLS_CLIENT_AUTH_REQUIRED,
               "the words of the settings and of the adapter");

enum pawl_status pawl_security_init(struct pawl_security *security,
                                    const struct pawl_entropy *entropy,
                                    const struct pawl_clock *clock, const struct pawl_log *log)
{
    memset(security, 0, sizeof(*security));
    security->log = log;
    security->clock = clock;
    return entropy->fill(entropy->self, security->key, sizeof(security->key));
}

/* ---- certificate, key, CA ------------------------------------------------------------------ */

static void warn(const struct pawl_security *security, const struct pawl_tls_settings *tls,
                 const struct pawl_tls_report *report)
{
    int64_t now_s = pawl_clock_read(security->clock).wall.unix_s;

    if (report->not_after_s <= now_s || report->not_before_s > now_s) {
        pawl_log_event(security->log, PAWL_LOG_WARN,
                       report->not_after_s <= now_s ? "tls_certificate_expired"
                                                    : "tls_certificate_not_valid_yet",
                       PAWL_F_TEXT("file", tls->certificate),
                       PAWL_F_I64("not_before_unix_s", report->not_before_s),
                       PAWL_F_I64("not_after_unix_s", report->not_after_s),
                       PAWL_F_TEXT("do", "clients will refuse it; put a new one into place"));
    }
    if (report->key_is_open) {
        pawl_log_event(
            security->log, PAWL_LOG_WARN, "tls_key_readable_by_all", PAWL_F_TEXT("file", tls->key),
            PAWL_F_TEXT("do", "chmod 0640 it; if the machine has other users, make a new "
                              "key"));
    }
}

/** @context out: NULL where the settings have no certificate. */
static enum pawl_status make_context(struct pawl_security *security,
                                     const struct pawl_tls_settings *tls,
                                     struct pawl_tls_context **context, struct pawl_error *error)
{
    const struct pawl_tls_server_options options = {
        .certificate = tls->certificate,
        .key = tls->key,
        .ca = tls->ca,
        .client_auth = (enum pawl_tls_client_auth)tls->client_certificates,
    };
    struct pawl_tls_report report;
    enum pawl_status status;

    *context = NULL;
    if (tls->certificate[0] == '\0') {
        return PAWL_OK;
    }
    status = pawl_tls_server_context(&options, context, &report, error);
    if (status == PAWL_OK) {
        warn(security, tls, &report);
    }
    return status;
}

/* ---- credentials --------------------------------------------------------------------------- */

struct secrets {
    struct pawl_bytes *views;
    uint8_t *bytes;
    size_t size;
};

static void secrets_free(struct secrets *secrets)
{
    if (secrets->bytes != NULL) {
        pawl_wipe(secrets->bytes, secrets->size);
    }
    free(secrets->bytes);
    free(secrets->views);
}

static enum pawl_status secrets_read(const struct pawl_settings *settings, struct secrets *secrets,
                                     struct pawl_error *error)
{
    size_t count = settings->credential_count > 0 ? settings->credential_count : 1;
    enum pawl_status status = PAWL_OK;

    secrets->size = count * PAWL_CREDENTIAL_FILE_BYTES_MAX;
    secrets->bytes = calloc(count, PAWL_CREDENTIAL_FILE_BYTES_MAX);
    secrets->views = calloc(count, sizeof(*secrets->views));
    if (secrets->bytes == NULL || secrets->views == NULL) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "out of memory for credentials");
    }
    for (unsigned i = 0; i < settings->credential_count && status == PAWL_OK; i++) {
        uint8_t *at = secrets->bytes + (size_t)i * PAWL_CREDENTIAL_FILE_BYTES_MAX;

        secrets->views[i].data = at;
        status = pawl_credential_read(settings->credentials[i].secret_file, at,
                                      &secrets->views[i].size, error);
    }
    return status;
}

/* ---- the set ------------------------------------------------------------------------------- */

enum pawl_status pawl_security_build(struct pawl_security *security,
                                     const struct pawl_settings *settings, struct pawl_error *error)
{
    struct pawl_tls_context *context = NULL;
    struct secrets secrets = { NULL, NULL, 0 };
    struct pawl_error why = { PAWL_OK, 0, "" };
    enum pawl_status status = make_context(security, &settings->tls, &context, &why);

    status = status != PAWL_OK ? status : secrets_read(settings, &secrets, &why);
    if (status == PAWL_OK) {
        const struct pawl_guard_options options = {
            .settings = settings,
            .tls = &pawl_tls_ops,
            .context = context,
            .key = security->key,
            .secrets = secrets.views,
        };

        pawl_guard_unref(security->next);
        security->next = pawl_guard_create(&options, &why);
        security->next_expires_s = context != NULL ? pawl_tls_ops.expires_s(context) : 0;
        status = security->next != NULL ? PAWL_OK : why.status;
    }
    secrets_free(&secrets);
    pawl_tls_context_unref(context);
    if (status != PAWL_OK) {
        (void)pawl_error_set(error, status, why.os_code, "%s", why.text);
    }
    return status;
}

void pawl_security_start(struct pawl_security *security, struct pawl_server *server)
{
    security->server = server;
    pawl_server_set_guard(server, security->next);
    pawl_guard_unref(security->next);
    security->next = NULL;
    atomic_store(&security->expires_s, security->next_expires_s);
}

static enum pawl_status prepare(void *self, const struct pawl_settings *fresh,
                                const struct pawl_settings *current, struct pawl_error *error)
{
    struct pawl_security *security = self;
    enum pawl_status status = pawl_security_build(security, fresh, error);

    (void)current;
    if (status != PAWL_OK) {
        (void)atomic_fetch_add(&security->reload_failures, 1);
    }
    return status;
}

static void commit(void *self)
{
    struct pawl_security *security = self;

    pawl_security_start(security, security->server);
    (void)atomic_fetch_add(&security->reloads, 1);
}

static void drop(void *self)
{
    struct pawl_security *security = self;

    pawl_guard_unref(security->next);
    security->next = NULL;
}

struct pawl_reload_part pawl_security_part(struct pawl_security *security)
{
    return (struct pawl_reload_part){ "security", prepare, commit, drop, security };
}

void pawl_security_stats(struct pawl_security *security, const struct pawl_stats_sink *sink)
{
    int64_t expires_s = atomic_load(&security->expires_s);

    sink->number(sink->self, "tls_reloads", atomic_load(&security->reloads));
    sink->number(sink->self, "tls_reload_failures", atomic_load(&security->reload_failures));
    sink->number(sink->self, "tls_certificate_expires_s", expires_s > 0 ? (uint64_t)expires_s : 0);
}

void pawl_security_deinit(struct pawl_security *security)
{
    drop(security);
    pawl_wipe(security->key, sizeof(security->key));
}
