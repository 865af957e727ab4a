/* Sockets of the load generator: from an address text to connected, non-blocking descriptors. */
#ifndef PAWL_CTL_LOAD_SOCKET_H
#define PAWL_CTL_LOAD_SOCKET_H

#include <stddef.h>

/**
 * Connect to @address (unix:/path, tcp:host:port, tcp:[v6]:port) and make the socket non-blocking,
 * without delay on TCP.
 *
 * Returns the descriptor, the caller's to close, or -1 with a text in @error.
 */
int load_connect(const char *address, char *error, size_t error_size);

#endif
