/*
 * The listening socket of the HTTP endpoints.
 */
#ifndef PAWL_OPS_HTTP_SOCKET_H
#define PAWL_OPS_HTTP_SOCKET_H

#include "ops/settings.h"

/** Bind and listen at @settings' address, a literal one. A descriptor of the caller's, or -1 with
 * errno (EINVAL: no address). */
int pawl_http_socket_open(const struct pawl_http_settings *settings);

/** The port @fd is bound to; 0 where that cannot be told. */
unsigned pawl_http_socket_port(int fd);

#endif
