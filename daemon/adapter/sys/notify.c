#include "adapter/sys/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define STATE_WAIT_S 1 /* for a manager whose queue is full */

/* A whole number, or 0 where @text is none or none of ours. */
static uint64_t number_of(const char *text)
{
    uint64_t value = 0;

    if (text == NULL || *text == '\0') {
        return 0;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || value > (UINT64_MAX - 9) / 10) {
            return 0;
        }
        value = value * 10 + (uint64_t)(*text - '0');
    }
    return value;
}

static uint64_t watchdog_of_environment(void)
{
    const char *pid = getenv("WATCHDOG_PID");
    uint64_t us = number_of(getenv("WATCHDOG_USEC"));

    return pid != NULL && number_of(pid) != (uint64_t)getpid() ? 0 : us / 1000;
}

static enum pawl_status set_address(struct pawl_notify *notify, const char *name,
                                    struct pawl_error *error)
{
    size_t size = strlen(name);

    if ((name[0] != '/' && name[0] != '@') || size < 2 ||
        size >= sizeof(notify->address.sun_path)) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "NOTIFY_SOCKET is neither a path nor an abstract name of at most "
                              "%zu bytes; nobody is told",
                              sizeof(notify->address.sun_path) - 1);
    }
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, name, size);
    if (name[0] == '@') {
        notify->address.sun_path[0] = '\0';
    }
    /* An abstract name ends where the length says, a path with its NUL. */
    notify->address_size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + (name[0] == '@' ? 0 : 1));
    return PAWL_OK;
}

enum pawl_status pawl_notify_open(struct pawl_notify *notify, struct pawl_error *error)
{
    const char *name = getenv("NOTIFY_SOCKET");
    const struct timeval wait = { STATE_WAIT_S, 0 };
    enum pawl_status status = PAWL_OK;

    memset(notify, 0, sizeof(*notify));
    notify->fd = -1;
    if (name != NULL && *name != '\0') {
        status = set_address(notify, name, error);
    }
    if (notify->address_size > 0) {
        notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (notify->fd < 0) {
            status = pawl_error_set(error, PAWL_EIO, errno, "NOTIFY_SOCKET: no socket: %s",
                                    strerror(errno));
        } else {
            (void)setsockopt(notify->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
            notify->watchdog_ms = watchdog_of_environment();
        }
    }
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
    return status;
}

/* By address each time: the manager may make its socket anew while we run. */
static void send_text(const struct pawl_notify *notify, const char *text, int flags)
{
    ssize_t sent;

    if (notify->fd < 0) {
        return;
    }
    do {
        sent = sendto(notify->fd, text, strlen(text), flags | MSG_NOSIGNAL,
                      (const struct sockaddr *)&notify->address, notify->address_size);
    } while (sent < 0 && errno == EINTR);
}

void pawl_notify_ready(struct pawl_notify *notify, const char *status)
{
    char text[PAWL_NOTIFY_BYTES_MAX];

    (void)snprintf(text, sizeof(text), "READY=1\nSTATUS=%s", status);
    send_text(notify, text, 0);
}

void pawl_notify_reloading(struct pawl_notify *notify)
{
    char text[PAWL_NOTIFY_BYTES_MAX];
    struct timespec now = { 0, 0 };

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    (void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reloading",
                   (unsigned long long)now.tv_sec * 1000000ULL +
                       (unsigned long long)now.tv_nsec / 1000ULL);
    send_text(notify, text, 0);
}

void pawl_notify_stopping(struct pawl_notify *notify, const char *status)
{
    char text[PAWL_NOTIFY_BYTES_MAX];

    (void)snprintf(text, sizeof(text), "STOPPING=1\nSTATUS=%s", status);
    send_text(notify, text, 0);
}

void pawl_notify_watchdog(struct pawl_notify *notify)
{
    send_text(notify, "WATCHDOG=1", MSG_DONTWAIT);
}

void pawl_notify_close(struct pawl_notify *notify)
{
    if (notify->fd >= 0) {
        (void)close(notify->fd);
    }
    notify->fd = -1;
}
