/*
 * What can go wrong, once, as a list: code, name, text.
 *
 * A verdict is not a status: "denied" is no error, and "store not reachable" is no denial.
 */
#ifndef PAWL_CORE_STATUS_H
#define PAWL_CORE_STATUS_H

#include "core/types.h"

#define PAWL_STATUS_MAP(X)                                       \
    X(OK, 0, "done")                                             \
    X(EINVAL, -1, "not valid")                                   \
    X(ENOMEM, -2, "out of memory")                               \
    X(EFULL, -3, "full: the ceiling in the settings is reached") \
    X(EUNAVAIL, -4, "not available now")                         \
    X(ECANCELED, -5, "canceled")                                 \
    X(ETIMEDOUT, -6, "out of time")                              \
    X(ENOENT, -7, "not found")                                   \
    X(EPERM, -8, "not permitted")                                \
    X(ECORRUPT, -9, "damaged")                                   \
    X(EVERSION, -10, "of a version that is not known here")      \
    X(ETOOBIG, -11, "too big")                                   \
    X(EAGAIN, -12, "more is needed")                             \
    X(EIO, -13, "the system refused")                            \
    X(EFROZEN, -14, "the store is frozen")                       \
    X(ESECRET, -15, "of another secret")                         \
    X(EBUSY, -16, "in use")                                      \
    X(ECONN, -17, "no connection")

enum pawl_status {
#define X(name, value, text) PAWL_##name = (value),
    PAWL_STATUS_MAP(X)
#undef X
};

/**
 * Detail for a person, filled at module borders: what happened, where, what to do. Says what the
 * caller cannot know; holds no secret.
 */
struct pawl_error {
    enum pawl_status status;
    int os_code; /* errno, or 0 */
    char text[240];
};

/** The name ("EFULL") and the text of @status; never NULL. */
const char *pawl_status_name(enum pawl_status status);
const char *pawl_status_text(enum pawl_status status);

/**
 * Fill @error (may be NULL) and return @status. @format is printf's, cut at the buffer's end.
 */
enum pawl_status pawl_error_set(struct pawl_error *error, enum pawl_status status, int os_code,
                                const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
