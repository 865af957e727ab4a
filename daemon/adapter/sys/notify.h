/*
 * Telling the service manager how we are: the datagram protocol that sd_notify(3) documents,
 * without its library. Lines "READY=1", "RELOADING=1", "STOPPING=1", "WATCHDOG=1", "STATUS=..."
 * go to the Unix socket that NOTIFY_SOCKET names; without one, every call here is nothing.
 *
 * Life: open once, before threads start (it takes its variables out of the environment), then any
 * call on one thread, close. A manager that does not listen any more holds nobody up: a state is
 * waited for at most a second, a ping never.
 */
#ifndef PAWL_ADAPTER_SYS_NOTIFY_H
#define PAWL_ADAPTER_SYS_NOTIFY_H

#include "core/status.h"

#include <sys/socket.h>
#include <sys/un.h>

#define PAWL_NOTIFY_BYTES_MAX 512 /* of one message */

struct pawl_notify {
    uint64_t watchdog_ms; /* the manager ends us after so long without a ping; 0 = it does not */
    /* private */
    int fd; /* -1 = nobody to tell */
    struct sockaddr_un address;
    socklen_t address_size;
};

/**
 * Read NOTIFY_SOCKET ("/path" or "@abstract"), WATCHDOG_USEC and WATCHDOG_PID (another process'
 * watchdog is not ours), remove them from the environment, open the socket.
 *
 * PAWL_OK, also where there is nobody to tell; PAWL_EINVAL: NOTIFY_SOCKET is of a kind that is not
 * known, PAWL_EIO: no socket. @notify can be used after any of these and is then silent.
 */
PAWL_MUST_USE enum pawl_status pawl_notify_open(struct pawl_notify *notify,
                                                struct pawl_error *error);

/** Serving; @status is a line for people ("systemctl status" shows it). */
void pawl_notify_ready(struct pawl_notify *notify, const char *status);

/** A reload begins, now by CLOCK_MONOTONIC; pawl_notify_ready() ends it. */
void pawl_notify_reloading(struct pawl_notify *notify);

/** The end begins. */
void pawl_notify_stopping(struct pawl_notify *notify, const char *status);

/** A ping of the watchdog. */
void pawl_notify_watchdog(struct pawl_notify *notify);

/** Twice is nothing. */
void pawl_notify_close(struct pawl_notify *notify);

#endif
