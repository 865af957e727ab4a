/*
 * pawld: parse, build, run, tear down. This file and those beside it (daemon.h and build.c,
 * service.c) are the only ones that name an adapter.
 */
#include "daemon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum exit_code {
    EXIT_RUN = 1,   /* could not start, or ended badly */
    EXIT_USAGE = 2, /* command line or settings */
};

/* ---- settings ------------------------------------------------------------------------------ */

static enum pawl_status load_settings(struct daemon *daemon, bool reload,
                                      struct pawl_settings **settings)
{
    struct pawl_settings_sources sources =
        pawl_options_sources(&daemon->options, &daemon->env, &daemon->parser);

    sources.reload = reload;
    memset(&daemon->problems, 0, sizeof(daemon->problems));
    return pawl_settings_load(&sources, &daemon->problems, settings);
}

/* Everything that ends before anything is opened. Returns -1 to go on, else the exit status. */
static int settings_actions(struct daemon *daemon)
{
    if (daemon->options.action == PAWL_ACTION_EXIT) {
        return daemon->options.exit_code;
    }
    if (daemon->options.action == PAWL_ACTION_PRINT_REFERENCE) {
        pawl_settings_print_reference(stdout);
        return 0;
    }
    pawl_service_know(&daemon->service, daemon->env.cwd, daemon->options.config_file);
    enum pawl_status status = load_settings(daemon, false, &daemon->settings);

    pawl_problems_print(&daemon->problems, stderr);
    if (status == PAWL_ENOMEM) {
        (void)fprintf(stderr, "pawld: out of memory while reading the settings\n");
        return EXIT_RUN;
    }
    if (status != PAWL_OK) {
        return EXIT_USAGE;
    }
    if (daemon->options.action == PAWL_ACTION_CHECK_CONFIG) {
        struct pawl_error error = { PAWL_OK, 0, "" };

        if (pawl_build_rules_check(daemon->settings, &error) != PAWL_OK) {
            (void)fprintf(stderr, "pawld: %s\n", error.text);
            return EXIT_USAGE;
        }
        (void)fprintf(stdout, "config: good\n");
        return 0;
    }
    if (daemon->options.action == PAWL_ACTION_PRINT_CONFIG) {
        pawl_settings_print(daemon->settings, stdout);
        return 0;
    }
    return -1;
}

/* ---- running ------------------------------------------------------------------------------- */

/* Folders that are made and files that are read at start are behind us, threads before us. */
static enum pawl_status confine(struct daemon *daemon, struct pawl_error *error)
{
    enum pawl_status status = PAWL_OK;

    pawl_schedule_short_turns();
    if (daemon->settings->runtime_dir != NULL) {
        status = pawl_dir_make(daemon->settings->runtime_dir, 0755, error);
    }
    pawl_service_confine_files(&daemon->service, daemon->settings);
    return status;
}

/* Held back from before the settings are read until the loop listens to it: a reload that is asked
 * for while the store loads comes after the start, in place of ending the process. */
static void hold_reload(bool hold)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGHUP);
    (void)pthread_sigmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static uint64_t now_ms(const struct daemon *daemon)
{
    return pawl_clock_read(&daemon->machine_clock).instant.ns / 1000000;
}

static uint64_t oldest_heartbeat_ms(const struct daemon *daemon)
{
    uint64_t oldest_ms = UINT64_MAX;

    for (unsigned i = 0; i < pawl_server_workers(daemon->server); i++) {
        uint64_t at_ms = pawl_server_heartbeat_ms(daemon->server, i);

        oldest_ms = at_ms < oldest_ms ? at_ms : oldest_ms;
    }
    return oldest_ms;
}

/* Whoever asks: a signal, or a file that changed. */
static void run_reload(struct daemon *daemon, const char *by)
{
    pawl_service_reload_begin(&daemon->service);
    (void)pawl_reload_run(&daemon->reload, by);
    pawl_service_reload_end(&daemon->service);
}

static void on_pulse(void *data)
{
    struct daemon *daemon = data;

    if (daemon->reload_held) {
        daemon->reload_held = false;
        hold_reload(false);
    }
    pawl_app_tick(&daemon->app);
    if (pawl_service_pulse(&daemon->service, now_ms(daemon), oldest_heartbeat_ms(daemon))) {
        run_reload(daemon, "watch");
    }
}

static void on_second(void *data)
{
    struct daemon *daemon = data;

    pawl_log_writer_flush(&daemon->log_writer);
    pawl_audit_tick(daemon->app.audit);
    pawl_verification_tick(&daemon->verification, pawl_clock_read(&daemon->machine_clock).instant);
    pawl_fleet_tick(daemon);
}

/* Readiness goes first; what is counted here goes to the others while it is still served. */
static bool on_stop(void *data)
{
    struct daemon *daemon = data;

    pawl_http_bridge_drain(&daemon->http_bridge);
    if (!pawl_fleet_leave(daemon)) {
        return false;
    }
    pawl_service_stopping(&daemon->service);
    pawl_log_event(&daemon->log, PAWL_LOG_INFO, "leaving",
                   PAWL_F_U64("timeout_ms", daemon->settings->server.drain_timeout_ms / 2));
    return true;
}

static void on_drain_start(void *data)
{
    struct daemon *daemon = data;

    pawl_service_stopping(&daemon->service);
    pawl_http_bridge_drain(&daemon->http_bridge);
    pawl_log_event(&daemon->log, PAWL_LOG_INFO, "draining",
                   PAWL_F_U64("timeout_ms", daemon->settings->server.drain_timeout_ms));
    pawl_watch_drain(&daemon->app);
}

/* The second signal: what was acknowledged is on disk already. */
static void on_force(void *data)
{
    (void)data;
    _exit(EXIT_RUN);
}

/* ---- reload: what follows the settings ------------------------------------------------------ */

static enum pawl_status prepare_rules(void *self, const struct pawl_settings *fresh,
                                      const struct pawl_settings *current, struct pawl_error *error)
{
    struct daemon *daemon = self;

    (void)current;
    daemon->next_rules = pawl_build_rules(daemon, fresh, error);
    return daemon->next_rules != NULL ? PAWL_OK : error->status;
}

static void commit_rules(void *self)
{
    struct daemon *daemon = self;

    pawl_rules_publish(&daemon->app.rules, daemon->next_rules);
    daemon->next_rules = NULL;
}

static void abort_rules(void *self)
{
    struct daemon *daemon = self;

    pawl_rules_release(daemon->next_rules);
    daemon->next_rules = NULL;
}

static enum pawl_status prepare_log_level(void *self, const struct pawl_settings *fresh,
                                          const struct pawl_settings *current,
                                          struct pawl_error *error)
{
    struct daemon *daemon = self;

    (void)current;
    (void)error;
    daemon->next_log_level = fresh->log_level;
    return PAWL_OK;
}

static void commit_log_level(void *self)
{
    struct daemon *daemon = self;

    pawl_log_writer_set_level(&daemon->log_writer, daemon->next_log_level);
}

static void abort_log_level(void *self)
{
    (void)self;
}

static enum pawl_status prepare_audit(void *self, const struct pawl_settings *fresh,
                                      const struct pawl_settings *current, struct pawl_error *error)
{
    struct daemon *daemon = self;

    (void)current;
    return pawl_audit_prepare(daemon->app.audit, &fresh->audit, error);
}

static void commit_audit(void *self)
{
    struct daemon *daemon = self;

    pawl_audit_commit(daemon->app.audit);
}

static void abort_audit(void *self)
{
    struct daemon *daemon = self;

    pawl_audit_abort(daemon->app.audit);
}

static enum pawl_status build_audit(struct daemon *daemon, struct pawl_error *error)
{
    const struct pawl_audit_options options = {
        .writer = &daemon->log_writer,
        .clock = &daemon->clock,
        .mask = &daemon->mask_subkey,
    };
    enum pawl_status status = pawl_audit_create(&daemon->app.audit, &options);

    if (status != PAWL_OK) {
        return pawl_error_set(error, status, 0, "no memory or no thread for the audit log");
    }
    status = pawl_audit_prepare(daemon->app.audit, &daemon->settings->audit, error);
    if (status == PAWL_OK) {
        pawl_audit_commit(daemon->app.audit);
        pawl_audit_event(daemon->app.audit, PAWL_AUDIT_STARTED, NULL,
                         PAWL_F_TEXT("version", PAWL_VERSION));
    }
    return status;
}

static enum pawl_status load_fresh(void *ctx, struct pawl_problems *problems,
                                   struct pawl_settings **fresh)
{
    (void)problems; /* those of the daemon, which load_settings() fills */
    return load_settings(ctx, true, fresh);
}

/* In this order they prepare and commit; the log's level last, so that the word on the reload is
 * said as the new settings want it. */
static void build_reload(struct daemon *daemon)
{
    const struct pawl_reload_options options = {
        .load = load_fresh,
        .ctx = daemon,
        .current = &daemon->settings,
        .problems = &daemon->problems,
        .clock = &daemon->clock,
        .log = &daemon->log,
        .audit = daemon->app.audit,
    };
    const struct pawl_reload_part rules = { "rules", prepare_rules, commit_rules, abort_rules,
                                            daemon };
    const struct pawl_reload_part log_level = { "log", prepare_log_level, commit_log_level,
                                                abort_log_level, daemon };

    const struct pawl_reload_part verification = pawl_verification_part(&daemon->verification);
    const struct pawl_reload_part audit = { "audit", prepare_audit, commit_audit, abort_audit,
                                            daemon };

    const struct pawl_reload_part security = pawl_security_part(&daemon->security);
    const struct pawl_reload_part files = pawl_service_reload_part(&daemon->service);

    pawl_reload_init(&daemon->reload, &options);
    pawl_reload_add(&daemon->reload, &files);
    pawl_reload_add(&daemon->reload, &rules);
    pawl_reload_add(&daemon->reload, &security);
    if (pawl_fleet_is_on(daemon)) {
        const struct pawl_reload_part fleet = pawl_fleet_part(daemon);

        pawl_reload_add(&daemon->reload, &fleet);
    }
    pawl_reload_add(&daemon->reload, &verification);
    pawl_reload_add(&daemon->reload, &audit);
    pawl_reload_add(&daemon->reload, &log_level);
}

static void on_reload(void *data)
{
    struct daemon *daemon = data;

    run_reload(daemon, "signal");
}

static void more_stats(void *ctx, const struct pawl_stats_sink *sink)
{
    struct daemon *daemon = ctx;

    pawl_server_stats(daemon->server, sink);
    pawl_security_stats(&daemon->security, sink);
    pawl_log_writer_stats(&daemon->log_writer, sink);
    pawl_audit_stats(daemon->app.audit, sink);
    pawl_verification_stats(&daemon->verification, sink);
    pawl_reload_stats(&daemon->reload, sink);
    pawl_service_stats(&daemon->service, sink);
    if (daemon->http != NULL) {
        pawl_http_stats(daemon->http, sink);
    }
}

static void server_options(struct daemon *daemon, struct pawl_server_options *options,
                           struct pawl_listen_options *listen)
{
    const struct pawl_settings *settings = daemon->settings;
    const struct pawl_server_settings *from = &settings->server;

    pawl_server_options_init(options);
    for (unsigned i = 0; i < settings->listen_count; i++) {
        listen[i] = (struct pawl_listen_options){
            .uri = settings->listen[i].uri,
            .roles = settings->listen[i].role,
            .anonymous = settings->listen[i].anonymous,
            .insecure = settings->listen[i].insecure,
            .mode = settings->listen[i].mode,
            .fd = pawl_service_socket(&daemon->service, &settings->listen[i].address),
        };
    }
    options->listen = listen;
    options->listen_count = settings->listen_count;
    options->workers = (unsigned)from->workers;
    options->cores_max = pawl_room_cores(&daemon->room);
    options->connections_max = (unsigned)from->connections_max;
    options->listen_backlog = (unsigned)from->backlog;
    options->frame_timeout_ms = (unsigned)from->frame_timeout_ms;
    options->write_timeout_ms = (unsigned)from->write_timeout_ms;
    options->idle_timeout_ms = (unsigned)from->idle_timeout_ms;
    options->drain_timeout_ms = (unsigned)from->drain_timeout_ms;
    options->in_flight_max = (unsigned)from->in_flight_max;
    options->keepalive_s = (unsigned)(from->tcp_keepalive_ms / 1000);
    options->tcp_user_timeout_ms = (unsigned)from->tcp_user_timeout_ms;
    options->session_output_max_bytes = from->output_max_bytes;
    options->buffers_max_bytes = from->buffers_max_bytes;
    options->audit = daemon->app.audit;
}

static void on_started(void *data)
{
    struct daemon *daemon = data;

    pawl_service_ready(&daemon->service, pawl_server_workers(daemon->server));
    pawl_log_event(&daemon->log, PAWL_LOG_INFO, "ready", PAWL_F_TEXT("version", PAWL_VERSION),
                   PAWL_F_U64("workers", pawl_server_workers(daemon->server)),
                   PAWL_F_TEXT("data_dir", daemon->data_dir.path),
                   PAWL_F_BOOL("frozen", daemon->app.store.ops->frozen(daemon->app.store.self)));
}

static enum pawl_status open_http(struct daemon *daemon, struct pawl_error *error)
{
    struct pawl_watch watches[PAWL_HTTP_WATCHES];
    struct pawl_http_world world;

    if (!daemon->settings->http.on) {
        return PAWL_OK;
    }
    pawl_http_bridge_init(&daemon->http_bridge, &daemon->app, daemon->server, &world);
    enum pawl_status status =
        pawl_http_create(&daemon->settings->http, &world, &daemon->http, error);
    unsigned count = status == PAWL_OK ? pawl_http_watches(daemon->http, watches) : 0;

    for (unsigned i = 0; i < count && status == PAWL_OK; i++) {
        status = pawl_server_watch(daemon->server, &watches[i]);
        if (status != PAWL_OK) {
            (void)pawl_error_set(error, status, 0, "http: no place in the loop");
        }
    }
    if (status == PAWL_OK) {
        pawl_log_event(&daemon->log, PAWL_LOG_INFO, "http_listening",
                       PAWL_F_TEXT("host", daemon->settings->http.address.host),
                       PAWL_F_U64("port", pawl_http_port(daemon->http)));
    }
    return status;
}

static enum pawl_status serve(struct daemon *daemon, struct pawl_error *error)
{
    struct pawl_listen_options listen[PAWL_SETTINGS_LISTEN_MAX];
    struct pawl_server_options options;
    struct pawl_handler handler = pawl_dispatch_handler(&daemon->app);
    struct pawl_server_hooks hooks = {
        .on_pulse = on_pulse,
        .on_second = on_second,
        .on_reload = on_reload,
        .on_started = on_started,
        .on_stop = on_stop,
        .on_drain_start = on_drain_start,
        .on_force = on_force,
        .app = daemon,
    };

    server_options(daemon, &options, listen);
    enum pawl_status status = pawl_service_sockets_end(&daemon->service, error);

    if (status == PAWL_OK) {
        status =
            pawl_server_create(&options, &handler, &hooks, &daemon->log, &daemon->server, error);
    }
    if (status != PAWL_OK) {
        return status;
    }
    pawl_security_start(&daemon->security, daemon->server);
    daemon->app.more_stats = more_stats;
    daemon->app.more_stats_ctx = daemon;
    status = open_http(daemon, error);
    if (status != PAWL_OK) {
        return status;
    }
    pawl_service_confine_calls(&daemon->service, daemon->settings);
    status = pawl_fleet_is_on(daemon) ? pawl_fleet_start(daemon, error) : PAWL_OK;
    if (status != PAWL_OK) {
        return status;
    }
    status = pawl_server_run(daemon->server, error);
    pawl_first_process_signals(); /* the server no longer listens to them */
    if (status == PAWL_ETIMEDOUT) {
        pawl_log_event(&daemon->log, PAWL_LOG_WARN, "drain_cut",
                       PAWL_F_TEXT("why", "drain_timeout passed; open connections were closed"));
        return PAWL_OK;
    }
    return status;
}

static void tear_down(struct daemon *daemon)
{
    if (daemon->app.store.ops != NULL && daemon->app.cluster == NULL) {
        daemon->app.store.ops->close(daemon->app.store.self);
    }
    pawl_fleet_close(daemon);
    pawl_server_destroy(daemon->server);
    pawl_fleet_destroy(daemon);
    pawl_http_destroy(daemon->http);
    pawl_security_deinit(&daemon->security);
    if (daemon->rules_open) {
        pawl_rules_slot_deinit(&daemon->app.rules);
    }
    if (daemon->revocations_open) {
        pawl_revocations_deinit(&daemon->revocations);
    }
    if (daemon->limiter_open) {
        pawl_limiter_deinit(&daemon->limiter);
    }
    if (daemon->app.leases != NULL) {
        pawl_leases_deinit(&daemon->leases);
    }
    pawl_observe_destroy(daemon->app.observe);
    pawl_region_unmap(&daemon->leases_region);
    pawl_region_unmap(&daemon->facts_region);
    pawl_region_unmap(&daemon->limiter_region);
    pawl_data_dir_close(&daemon->data_dir);
    pawl_wipe(&daemon->token_keys, sizeof(daemon->token_keys));
    pawl_wipe(daemon->app.family_keys, sizeof(daemon->app.family_keys));
    pawl_wipe(daemon->store_keys, sizeof(daemon->store_keys));
    pawl_wipe(&daemon->limits_subkey, sizeof(daemon->limits_subkey));
    pawl_wipe(&daemon->mask_subkey, sizeof(daemon->mask_subkey));
    pawl_wipe(&daemon->slots_subkey, sizeof(daemon->slots_subkey));
    pawl_verification_deinit(&daemon->verification);
    pawl_audit_destroy(daemon->app.audit);
    if (daemon->log_open) {
        pawl_log_writer_deinit(&daemon->log_writer);
    }
}

/* Who may connect, from the start on and at each reload. */
static enum pawl_status build_security(struct daemon *daemon, struct pawl_error *error)
{
    if (pawl_security_init(&daemon->security, &daemon->entropy, &daemon->machine_clock,
                           &daemon->log) != PAWL_OK) {
        return pawl_error_set(error, PAWL_EIO, 0, "the system gave no randomness");
    }
    return pawl_security_build(&daemon->security, daemon->settings, error);
}

static enum pawl_status build_verification(struct daemon *daemon, struct pawl_error *error)
{
    enum pawl_status status = pawl_verification_init(&daemon->verification, daemon->settings,
                                                     &daemon->log, daemon->app.audit, error);

    if (status == PAWL_OK) {
        daemon->app.jwt = pawl_verification_port(&daemon->verification);
    }
    return status;
}

static int run(struct daemon *daemon)
{
    struct pawl_error error = { PAWL_OK, 0, "" };

    if (pawl_fleet_is_on(daemon)) {
        pawl_fleet_hurry_names();
    }
    enum pawl_status status = pawl_build_world(daemon, &error);

    status = status != PAWL_OK
                 ? status
                 : pawl_service_open(&daemon->service, daemon->settings, &daemon->log, &error);
    status = status != PAWL_OK ? status : pawl_build_secrets(daemon, &error);
    if (status == PAWL_OK) {
        pawl_room_open(&daemon->room, daemon->settings, &daemon->log);
    }
    status = status != PAWL_OK ? status : confine(daemon, &error);
    status = status != PAWL_OK ? status : build_audit(daemon, &error);
    status = status != PAWL_OK ? status : build_verification(daemon, &error);
    status = status != PAWL_OK ? status : pawl_build_limiter(daemon, &error);
    status = status != PAWL_OK ? status : pawl_build_revocations(daemon, &error);
    status = status != PAWL_OK ? status : pawl_build_limits_side(daemon, &error);
    status = status != PAWL_OK ? status : pawl_build_app(daemon, &error);
    if (status == PAWL_OK) {
        build_reload(daemon);
    }
    status = status != PAWL_OK ? status : build_security(daemon, &error);
    status = status != PAWL_OK ? status : serve(daemon, &error);
    if (status != PAWL_OK && daemon->log_open) {
        pawl_log_event(&daemon->log, PAWL_LOG_ERROR, "stopped", PAWL_F_TEXT("why", error.text),
                       PAWL_F_I64("errno", error.os_code));
    } else if (daemon->log_open) {
        pawl_log_event(&daemon->log, PAWL_LOG_INFO, "stopped", PAWL_F_TEXT("why", "drained"));
    }
    pawl_audit_event(daemon->app.audit, PAWL_AUDIT_STOPPED, NULL,
                     PAWL_F_TEXT("why", status == PAWL_OK ? "drained" : error.text));
    tear_down(daemon);
    return status == PAWL_OK ? 0 : EXIT_RUN;
}

int main(int argc, char **argv)
{
    struct daemon *daemon = calloc(1, sizeof(*daemon));
    int code;

    if (daemon == NULL) {
        (void)fprintf(stderr, "pawld: out of memory\n");
        return EXIT_RUN;
    }
    daemon->limiter_region.fd = -1;
    daemon->facts_region.fd = -1;
    daemon->leases_region.fd = -1;
    daemon->parser = pawl_yaml_parser();
    daemon->reload_held = true;
    (void)umask(0027); /* files without a mode of their own: nothing for others */
    hold_reload(true);
    pawl_first_process_signals();
    pawl_settings_env_read(&daemon->env);
    pawl_options_parse(argc, argv, stdout, stderr, &daemon->options);
    code = settings_actions(daemon);
    if (code < 0) {
        code = run(daemon);
    }
    pawl_service_close(&daemon->service);
    pawl_settings_destroy(daemon->settings);
    free(daemon);
    return code;
}
