/*
 * TLS of the load generator: one connection's bytes, through the adapter that libpawl uses too.
 */
#ifndef PAWL_CTL_LOAD_SECURE_H
#define PAWL_CTL_LOAD_SECURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct load_secure;      /* of all connections */
struct load_secure_conn; /* of one */

/** What to show and whom to trust; NULL or "" = none. */
struct load_secure_options {
    const char *ca;
    const char *certificate;
    const char *key;
    const char *name; /* expected of the server */
};

/** NULL on failure, with a text in @error. */
struct load_secure *load_secure_create(const struct load_secure_options *options, char *error,
                                       size_t error_size);
/** NULL is allowed. */
void load_secure_destroy(struct load_secure *secure);

/**
 * The handshake on @fd, which is connected; waits up to @timeout_ms. NULL on failure, with a text
 * in @error.
 */
struct load_secure_conn *load_secure_connect(struct load_secure *secure, int fd, int timeout_ms,
                                             char *error, size_t error_size);
void load_secure_close(struct load_secure_conn *conn);

/** As send(2): all is taken, or -1 with errno; EAGAIN: earlier bytes still wait, nothing is taken.
 */
ssize_t load_secure_send(struct load_secure_conn *conn, const void *bytes, size_t size);
/** Bytes that wait for the socket. */
bool load_secure_waits(const struct load_secure_conn *conn);
/** As recv(2). */
ssize_t load_secure_recv(struct load_secure_conn *conn, void *out, size_t room);

#endif
