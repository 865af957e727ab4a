/*
 * A listening socket: bound from an address, or taken over from a service manager. Shared by all
 * workers; each polls a duplicate of its descriptor (acceptor.h).
 *
 * Life: open -> (workers duplicate) -> close, which also unlinks a Unix socket that is still ours.
 */
#ifndef PAWL_EDGE_LISTENER_H
#define PAWL_EDGE_LISTENER_H

#include <sys/types.h>

#include "core/address.h"
#include "edge/server.h"

struct pawl_listener {
    int fd;          /* -1 = closed */
    unsigned option; /* index in pawl_server_options.listen */
    bool is_tcp;     /* or TLS over it */
    bool is_tls;
    bool owns_path; /* made the file, so removes it */
    bool has_group; /* @gid counts for roles: a socket file, not an abstract name */
    gid_t gid;      /* of the socket file */
    dev_t device;   /* with inode: is the file still the one we made? */
    ino_t inode;
    unsigned roles;     /* the most a peer gets here; bits of pawl_role */
    unsigned anonymous; /* of TCP and TLS: what a peer that proves nothing gets */
    unsigned port;
    struct pawl_address address;
};

/**
 * Open what @listen asks for. One address may give several sockets: a host name with several
 * numbers.
 *
 * @listeners, @capacity  filled from the front; @count out.
 *
 * A stale Unix socket (nobody answers on it) is replaced, a live one is PAWL_EBUSY, a file that is
 * no socket is left alone (PAWL_EPERM). The socket's mode is the listener's own from its first
 * moment on. Blocks: name resolution, and up to 1 s for another start in the same folder. Results
 * and @error as pawl_server_create(). After an error nothing stays open.
 */
PAWL_MUST_USE enum pawl_status pawl_listener_open(struct pawl_listener *listeners,
                                                  unsigned capacity, unsigned *count,
                                                  const struct pawl_server_options *options,
                                                  const struct pawl_listen_options *listen,
                                                  struct pawl_error *error);

/** Close, and unlink the socket file if it is still the one made here. Twice is nothing. */
void pawl_listener_close(struct pawl_listener *listener);

#endif
