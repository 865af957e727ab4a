/*
 * The daemon as a service of its machine, a part of main.c: the service manager (states, pings of
 * the watchdog, passed sockets), changes of the files that the settings name, and the sandbox.
 *
 * Life, all on the main thread: know (before the settings are read), open, confine_files (while
 * there is one thread), socket for each address and sockets_end, confine_calls (when all is bound),
 * ready, then pulse ten times a second and reload_begin and reload_end around each reload,
 * stopping, close.
 */
#ifndef PAWL_SERVICE_H
#define PAWL_SERVICE_H

#include "adapter/sys/activation.h"
#include "adapter/sys/file_watch.h"
#include "adapter/sys/notify.h"
#include "adapter/sys/sandbox.h"
#include "ops/reload.h"
#include "ops/settings.h"
#include "ops/watchdog.h"

struct pawl_service {
    /* private */
    const struct pawl_log *log;
    struct pawl_notify notify;
    struct pawl_watchdog watchdog;
    struct pawl_activation activation;
    struct pawl_file_watch *files; /* NULL: nothing is watched */
    struct pawl_sandbox sandbox;
    bool is_open;
    bool stops;
    bool files_whole;        /* as last said */
    enum pawl_status adding; /* of the set of files that is being made */
    uint64_t next_poll_ms;   /* prepared */
    char ready_text[128];    /* what the manager is told */
    char sandbox_text[200];
    _Atomic uint64_t watch_folders, watch_whole; /* figures */
};

/**
 * See how the config file looks before it is read: a change from then on is a change.
 *
 * @cwd  the working directory, from which a relative @config_file is taken; NULL @config_file:
 * none.
 */
void pawl_service_know(struct pawl_service *service, const char *cwd, const char *config_file);

/**
 * Meet the manager, take its sockets, begin to watch the files of @settings.
 *
 * @log  kept. PAWL_OK, PAWL_ENOMEM, PAWL_EINVAL (passed sockets that cannot be).
 */
PAWL_MUST_USE enum pawl_status pawl_service_open(struct pawl_service *service,
                                                 const struct pawl_settings *settings,
                                                 const struct pawl_log *log,
                                                 struct pawl_error *error);

/** The first half of the sandbox: files, privileges, cores. Nothing where it is not set. */
void pawl_service_confine_files(struct pawl_service *service, const struct pawl_settings *settings);

/** The socket that the manager passed for @address, now the caller's; -1: none. */
int pawl_service_socket(struct pawl_service *service, const struct pawl_address *address);

/** PAWL_OK, or PAWL_EINVAL when a passed socket has no address of the settings. */
PAWL_MUST_USE enum pawl_status pawl_service_sockets_end(struct pawl_service *service,
                                                        struct pawl_error *error);

/** The other half: calls. Says what is in force. */
void pawl_service_confine_calls(struct pawl_service *service, const struct pawl_settings *settings);

/** Serving. @workers for the manager's line. */
void pawl_service_ready(struct pawl_service *service, unsigned workers);

/**
 * Feed the watchdog, look after the files.
 *
 * @now_ms        BOOTTIME, as heartbeats have it.
 * @heartbeat_ms  the oldest of all workers.
 * Returns whether files have changed: it is time to reload.
 */
bool pawl_service_pulse(struct pawl_service *service, uint64_t now_ms, uint64_t heartbeat_ms);

/** Around pawl_reload_run(): what the manager is told, and how the files look from now on. */
void pawl_service_reload_begin(struct pawl_service *service);
void pawl_service_reload_end(struct pawl_service *service);

/** The part that goes first: the sandbox lets the new files be read, and they are watched. */
struct pawl_reload_part pawl_service_reload_part(struct pawl_service *service);

/** The drain begins. */
void pawl_service_stopping(struct pawl_service *service);

/** sandbox, watch_folders, watch_whole, watchdog_ms. Any thread. */
void pawl_service_stats(struct pawl_service *service, const struct pawl_stats_sink *sink);

/** Twice is nothing, and so is one that was never opened. */
void pawl_service_close(struct pawl_service *service);

#endif
