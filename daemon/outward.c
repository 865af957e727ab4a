#include "outward.h"

#include <string.h>

#include "adapter/tls/tls.h"
#include "core/keyhash.h"

void pawl_outward_init(struct pawl_outward *outward, const struct pawl_clock *clock,
                       const struct pawl_log *log)
{
    memset(outward, 0, sizeof(*outward));
    outward->clock = clock;
    outward->log = log;
    (void)pthread_mutex_init(&outward->lock, NULL);
}

void pawl_outward_put(struct pawl_outward_set *set)
{
    pawl_tls_context_unref(set->engine);
    pawl_tls_context_unref(set->peers);
    set->engine = NULL;
    set->peers = NULL;
    pawl_wipe(set->password, sizeof(set->password));
    pawl_wipe(set->sentinel_password, sizeof(set->sentinel_password));
}

/* ---- files --------------------------------------------------------------------------------- */

static enum pawl_status read_password(const char *setting, const char *file, char *out,
                                      struct pawl_error *error)
{
    struct pawl_error why = { PAWL_OK, 0, "" };
    size_t size = 0;
    enum pawl_status status;

    if (file[0] == '\0') {
        return PAWL_OK;
    }
    status = pawl_credential_read(file, (uint8_t *)out, &size, &why);
    if (status != PAWL_OK) {
        return pawl_error_set(error, status, why.os_code, "%s: %s", setting, why.text);
    }
    out[size] = '\0';
    if (size == 0 || strlen(out) != size) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "%s: %s %s; write the password into it",
                              setting, file, size == 0 ? "is empty" : "holds a zero byte");
    }
    return PAWL_OK;
}

static void warn(const struct pawl_outward *outward, const char *file,
                 const struct pawl_tls_report *report)
{
    int64_t now_s = pawl_clock_read(outward->clock).wall.unix_s;

    if (report->not_after_s != 0 &&
        (report->not_after_s <= now_s || report->not_before_s > now_s)) {
        pawl_log_event(outward->log, PAWL_LOG_WARN,
                       report->not_after_s <= now_s ? "tls_certificate_expired"
                                                    : "tls_certificate_not_valid_yet",
                       PAWL_F_TEXT("file", file),
                       PAWL_F_I64("not_before_unix_s", report->not_before_s),
                       PAWL_F_I64("not_after_unix_s", report->not_after_s),
                       PAWL_F_TEXT("do", "the engine will refuse it; put a new one into place"));
    }
}

static enum pawl_status make_context(const struct pawl_outward *outward, const char *section,
                                     const struct pawl_tls_client_options *options,
                                     struct pawl_tls_context **context, struct pawl_error *error)
{
    struct pawl_error why = { PAWL_OK, 0, "" };
    struct pawl_tls_report report;
    enum pawl_status status = pawl_tls_client_context(options, context, &report, &why);

    if (status != PAWL_OK) {
        return pawl_error_set(error, status, why.os_code, "%s: %s", section, why.text);
    }
    warn(outward, options->certificate, &report);
    return PAWL_OK;
}

static bool any_is_secure(const struct pawl_redis_settings *items, unsigned count)
{
    bool found = false;

    for (unsigned i = 0; i < count; i++) {
        found = found || items[i].secure;
    }
    return found;
}

enum pawl_status pawl_outward_build(struct pawl_outward *outward,
                                    const struct pawl_settings *settings, struct pawl_error *error)
{
    const struct pawl_cluster_settings *cluster = &settings->cluster;
    const struct pawl_tls_client_options engine = { .ca = cluster->tls_ca,
                                                    .certificate = cluster->tls_certificate,
                                                    .key = cluster->tls_key };
    const struct pawl_tls_client_options peers = { .ca = settings->tls.ca,
                                                   .certificate = settings->tls.certificate,
                                                   .key = settings->tls.key };
    struct pawl_outward_set *next = &outward->next;
    enum pawl_status status = PAWL_OK;

    pawl_outward_put(next);
    if (!cluster->on) {
        return PAWL_OK;
    }
    if (any_is_secure(cluster->redis, cluster->redis_count) ||
        any_is_secure(cluster->sentinels, cluster->sentinel_count)) {
        status = make_context(outward, "cluster.tls", &engine, &next->engine, error);
    }
    if (status == PAWL_OK && cluster->advertise_address.kind == PAWL_ADDRESS_TLS) {
        status = make_context(outward, "tls", &peers, &next->peers, error);
    }
    if (status == PAWL_OK) {
        status =
            read_password("cluster.password_file", cluster->password_file, next->password, error);
    }
    if (status == PAWL_OK) {
        status = read_password("cluster.sentinel.password_file", cluster->sentinel_password_file,
                               next->sentinel_password, error);
    }
    if (status != PAWL_OK) {
        pawl_outward_put(next);
    }
    return status;
}

/* ---- the set ------------------------------------------------------------------------------- */

/** What was prepared takes the place of the old; @changed hears of it while both are there. */
static void take_next(struct pawl_outward *outward, bool tell)
{
    struct pawl_outward_set old = outward->set;

    (void)pthread_mutex_lock(&outward->lock);
    outward->set = outward->next;
    (void)pthread_mutex_unlock(&outward->lock);
    outward->next.engine = NULL;
    outward->next.peers = NULL;
    pawl_outward_put(&outward->next);
    if (tell && outward->changed != NULL) {
        outward->changed(outward->ctx, &outward->set);
    }
    pawl_outward_put(&old);
}

const struct pawl_outward_set *pawl_outward_start(
    struct pawl_outward *outward, void (*changed)(void *ctx, const struct pawl_outward_set *set),
    void *ctx)
{
    outward->changed = changed;
    outward->ctx = ctx;
    take_next(outward, false);
    return &outward->set;
}

void pawl_outward_get(struct pawl_outward *outward, struct pawl_outward_set *copy)
{
    (void)pthread_mutex_lock(&outward->lock);
    *copy = outward->set;
    if (copy->engine != NULL) {
        (void)pawl_tls_context_ref(copy->engine);
    }
    if (copy->peers != NULL) {
        (void)pawl_tls_context_ref(copy->peers);
    }
    (void)pthread_mutex_unlock(&outward->lock);
}

static enum pawl_status prepare(void *self, const struct pawl_settings *fresh,
                                const struct pawl_settings *current, struct pawl_error *error)
{
    (void)current;
    return pawl_outward_build(self, fresh, error);
}

static void commit(void *self)
{
    take_next(self, true);
}

static void drop(void *self)
{
    struct pawl_outward *outward = self;

    pawl_outward_put(&outward->next);
}

struct pawl_reload_part pawl_outward_part(struct pawl_outward *outward)
{
    return (struct pawl_reload_part){ "outward", prepare, commit, drop, outward };
}

void pawl_outward_deinit(struct pawl_outward *outward)
{
    pawl_outward_put(&outward->set);
    pawl_outward_put(&outward->next);
}
