#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUIET_MS    250  /* without a sign, before changed files are read */
#define WAIT_MAX_MS 2000 /* with signs that do not end */
#define POLL_MS     60000
#define POLL_MIN_MS 1000
#define BLIND_MS    1000 /* without inotify, from one look to the next */

/* ---- files --------------------------------------------------------------------------------- */

static void open_files(struct pawl_service *service)
{
    const struct pawl_file_watch_options options = { QUIET_MS, WAIT_MAX_MS, POLL_MS, false,
                                                     BLIND_MS };

    if (service->files == NULL && pawl_file_watch_open(&options, &service->files) != PAWL_OK) {
        service->files = NULL;
    }
}

void pawl_service_know(struct pawl_service *service, const char *cwd, const char *config_file)
{
    char path[2 * PAWL_SETTINGS_PATH_MAX];
    int size = config_file == NULL     ? 0
               : config_file[0] == '/' ? snprintf(path, sizeof(path), "%s", config_file)
                                       : snprintf(path, sizeof(path), "%s/%s", cwd, config_file);

    open_files(service);
    if (service->files == NULL || size <= 0 || (size_t)size >= sizeof(path)) {
        return;
    }
    pawl_file_watch_begin(service->files);
    if (pawl_file_watch_add(service->files, path) == PAWL_OK) {
        pawl_file_watch_use(service->files);
    }
}

static void add_file(void *ctx, const char *path)
{
    struct pawl_service *service = ctx;
    enum pawl_status status = pawl_file_watch_add(service->files, path);

    service->adding = service->adding != PAWL_OK ? service->adding : status;
}

/* The next set of watched files. */
static enum pawl_status collect_files(struct pawl_service *service,
                                      const struct pawl_settings *settings,
                                      struct pawl_error *error)
{
    service->adding = PAWL_OK;
    pawl_file_watch_begin(service->files);
    pawl_settings_files(settings, add_file, service);
    return service->adding == PAWL_OK ? PAWL_OK
                                      : pawl_error_set(error, service->adding, 0,
                                                       "the settings name more files than can "
                                                       "be watched; set watch: false");
}

static uint64_t poll_of(const struct pawl_settings *settings)
{
    uint64_t poll_ms = settings->jwt.refresh_ms;

    return poll_ms == 0 || poll_ms > POLL_MS ? POLL_MS
           : poll_ms < POLL_MIN_MS           ? POLL_MIN_MS
                                             : poll_ms;
}

/* What is watched has changed: figures, and a word where inotify does not reach all. */
static void note_files(struct pawl_service *service)
{
    bool whole = pawl_file_watch_is_whole(service->files);

    atomic_store(&service->watch_folders, pawl_file_watch_folders(service->files));
    atomic_store(&service->watch_whole, whole);
    if (service->files_whole && !whole) {
        pawl_log_event(service->log, PAWL_LOG_WARN, "watch_incomplete",
                       PAWL_F_TEXT("do", "changes are seen by looking each second; raise "
                                         "fs.inotify.max_user_watches and max_user_instances"));
    }
    service->files_whole = whole;
}

/* ---- life ---------------------------------------------------------------------------------- */

enum pawl_status pawl_service_open(struct pawl_service *service,
                                   const struct pawl_settings *settings, const struct pawl_log *log,
                                   struct pawl_error *error)
{
    struct pawl_error silent = { PAWL_OK, 0, "" };
    enum pawl_status status;

    service->log = log;
    service->is_open = true;
    service->files_whole = true;
    if (pawl_notify_open(&service->notify, &silent) != PAWL_OK) {
        pawl_log_event(log, PAWL_LOG_WARN, "notify_silent", PAWL_F_TEXT("why", silent.text));
    }
    pawl_watchdog_init(&service->watchdog, service->notify.watchdog_ms);
    pawl_sandbox_init(&service->sandbox);
    status = pawl_activation_take(&service->activation, error);
    if (status != PAWL_OK) {
        return status;
    }
    if (!settings->watch) {
        pawl_file_watch_close(service->files);
        service->files = NULL;
        return PAWL_OK;
    }
    open_files(service);
    if (service->files == NULL) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "no memory to watch the files");
    }
    status = collect_files(service, settings, error);
    if (status == PAWL_OK) {
        pawl_file_watch_set_poll(service->files, (unsigned)poll_of(settings));
        pawl_file_watch_use(service->files);
        note_files(service);
    }
    return status;
}

int pawl_service_socket(struct pawl_service *service, const struct pawl_address *address)
{
    return pawl_activation_match(&service->activation, address);
}

enum pawl_status pawl_service_sockets_end(struct pawl_service *service, struct pawl_error *error)
{
    return pawl_activation_end(&service->activation, error);
}

void pawl_service_ready(struct pawl_service *service, unsigned workers)
{
    (void)snprintf(service->ready_text, sizeof(service->ready_text), "serving with %u workers",
                   workers);
    pawl_notify_ready(&service->notify, service->ready_text);
}

bool pawl_service_pulse(struct pawl_service *service, uint64_t now_ms, uint64_t heartbeat_ms)
{
    /* Workers that are done drain no more: the main loop alone is judged then, by turning. */
    uint64_t oldest_ms = service->stops ? now_ms : heartbeat_ms;
    bool changed = false;

    switch (pawl_watchdog_step(&service->watchdog, now_ms, oldest_ms)) {
    case PAWL_WATCHDOG_FEED:
        pawl_notify_watchdog(&service->notify);
        break;
    case PAWL_WATCHDOG_STUCK:
        pawl_log_event(service->log, PAWL_LOG_ERROR, "worker_stuck",
                       PAWL_F_U64("age_ms", now_ms - oldest_ms),
                       PAWL_F_TEXT("do", "the service manager is to start pawld anew; keep the "
                                         "log and report it"));
        break;
    case PAWL_WATCHDOG_WAIT:
    default:
        break;
    }
    if (service->files != NULL && !service->stops) {
        changed = pawl_file_watch_step(service->files, now_ms);
        note_files(service);
    }
    return changed;
}

void pawl_service_stopping(struct pawl_service *service)
{
    service->stops = true;
    pawl_notify_stopping(&service->notify, "draining");
}

void pawl_service_close(struct pawl_service *service)
{
    pawl_file_watch_close(service->files);
    service->files = NULL;
    if (service->is_open) {
        pawl_activation_close(&service->activation);
        pawl_sandbox_deinit(&service->sandbox);
        pawl_notify_close(&service->notify);
        service->is_open = false;
    }
}

/* ---- reload -------------------------------------------------------------------------------- */

void pawl_service_reload_begin(struct pawl_service *service)
{
    pawl_notify_reloading(&service->notify);
    if (service->files != NULL) {
        pawl_file_watch_look(service->files);
    }
}

void pawl_service_reload_end(struct pawl_service *service)
{
    pawl_notify_ready(&service->notify, service->ready_text);
}

struct file_check {
    const struct pawl_service *service;
    struct pawl_error *error;
    enum pawl_status status;
};

static void check_file(void *ctx, const char *path)
{
    struct file_check *check = ctx;

    if (check->status == PAWL_OK) {
        check->status = pawl_sandbox_check_file(&check->service->sandbox, path, check->error);
    }
}

static enum pawl_status prepare(void *self, const struct pawl_settings *fresh,
                                const struct pawl_settings *current, struct pawl_error *error)
{
    struct pawl_service *service = self;
    struct file_check check = { service, error, PAWL_OK };

    (void)current;
    service->next_poll_ms = poll_of(fresh);
    if (service->files != NULL && collect_files(service, fresh, error) != PAWL_OK) {
        return error->status;
    }
    pawl_settings_files(fresh, check_file, &check);
    if (check.status != PAWL_OK && service->files != NULL) {
        pawl_file_watch_also(service->files);
    }
    return check.status;
}

static void commit(void *self)
{
    struct pawl_service *service = self;

    if (service->files != NULL) {
        pawl_file_watch_set_poll(service->files, (unsigned)service->next_poll_ms);
        pawl_file_watch_use(service->files);
    }
}

/* What mends the settings that were refused may lie in a file that only they name. */
static void give_up(void *self)
{
    struct pawl_service *service = self;

    if (service->files != NULL) {
        pawl_file_watch_also(service->files);
    }
}

struct pawl_reload_part pawl_service_reload_part(struct pawl_service *service)
{
    return (struct pawl_reload_part){ "files", prepare, commit, give_up, service };
}

/* ---- sandbox ------------------------------------------------------------------------------- */

static void allow_file(void *ctx, const char *path)
{
    pawl_sandbox_allow_file(ctx, path);
}

/* The folder of @path. */
static void allow_folder_of(struct pawl_sandbox *sandbox, const char *path,
                            enum pawl_sandbox_use use)
{
    char folder[PAWL_SETTINGS_PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t size = slash == NULL ? 0 : (size_t)(slash - path);

    if (size > 0 && size < sizeof(folder)) {
        memcpy(folder, path, size);
        folder[size] = '\0';
        pawl_sandbox_allow(sandbox, folder, use);
    }
}

/* What libraries look at while they run: the time zones, the machine's cores and memory, their own
 * configuration, code that is loaded late. Nothing of it is secret. */
static void allow_system(struct pawl_sandbox *sandbox)
{
    static const char *const files[] = {
        "/usr/share/zoneinfo",
        "/usr/lib",
        "/usr/lib64",
        "/lib",
        "/lib64",
        "/etc/localtime",
        "/etc/ld.so.cache",
        "/etc/ssl/openssl.cnf",
        "/proc/self",
        "/proc/sys/kernel/random",
        "/proc/sys/vm/overcommit_memory",
        "/proc/meminfo",
        "/proc/stat",
        "/sys/devices/system/cpu",
        "/dev/urandom",
        "/dev/random",
    };
    const char *zones = getenv("TZDIR");

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        pawl_sandbox_allow(sandbox, files[i], PAWL_SANDBOX_READ);
    }
    if (zones != NULL && zones[0] == '/') {
        pawl_sandbox_allow(sandbox, zones, PAWL_SANDBOX_READ);
    }
    pawl_sandbox_allow(sandbox, "/dev/null", PAWL_SANDBOX_WRITE);
}

void pawl_service_confine_files(struct pawl_service *service, const struct pawl_settings *settings)
{
    struct pawl_sandbox *sandbox = &service->sandbox;

    if (!settings->sandbox) {
        return;
    }
    if (settings->cluster.on) {
        pawl_sandbox_allow_network(sandbox);
    }
    if (settings->data_dir[0] != '\0') {
        pawl_sandbox_allow(sandbox, settings->data_dir, PAWL_SANDBOX_WRITE);
    }
    pawl_settings_files(settings, allow_file, sandbox);
    for (unsigned i = 0; i < settings->listen_count; i++) {
        const struct pawl_address *address = &settings->listen[i].address;

        if (address->kind == PAWL_ADDRESS_UNIX && !address->is_abstract) {
            allow_folder_of(sandbox, address->path, PAWL_SANDBOX_SOCKETS);
        }
    }
    allow_folder_of(sandbox, settings->audit.file, PAWL_SANDBOX_WRITE);
    allow_system(sandbox);
    (void)pawl_sandbox_files(sandbox);
}

void pawl_service_confine_calls(struct pawl_service *service, const struct pawl_settings *settings)
{
    struct pawl_sandbox *sandbox = &service->sandbox;
    bool whole;

    if (!settings->sandbox) {
        (void)snprintf(service->sandbox_text, sizeof(service->sandbox_text),
                       "off (sandbox: false)");
        pawl_log_event(service->log, PAWL_LOG_INFO, "sandbox",
                       PAWL_F_TEXT("in_force", service->sandbox_text));
        return;
    }
    whole = pawl_sandbox_calls(sandbox, settings->cluster.on) && sandbox->files;
    pawl_sandbox_text(sandbox, service->sandbox_text, sizeof(service->sandbox_text));
    pawl_log_event(service->log, whole ? PAWL_LOG_INFO : PAWL_LOG_WARN, "sandbox",
                   PAWL_F_TEXT("in_force", service->sandbox_text),
                   PAWL_F_BOOL("root", geteuid() == 0));
}

void pawl_service_stats(struct pawl_service *service, const struct pawl_stats_sink *sink)
{
    sink->text(sink->self, "sandbox",
               pawl_bytes_of(service->sandbox_text, strlen(service->sandbox_text)));
    sink->number(sink->self, "watch_folders", atomic_load(&service->watch_folders));
    sink->flag(sink->self, "watch_whole", atomic_load(&service->watch_whole) != 0);
    sink->number(sink->self, "watchdog_ms", service->notify.watchdog_ms);
}
