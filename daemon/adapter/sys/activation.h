/*
 * Socket activation: listening sockets that the service manager opened and passes on, so that they
 * outlive any one daemon. While it is restarted, clients wait in their queues, and none is turned
 * away. The protocol is that of sd_listen_fds(3), without its library.
 *
 * Life: take (before anything else opens descriptors), match for each address of the settings,
 * then require that none is left over. A matched descriptor belongs to the caller.
 */
#ifndef PAWL_ADAPTER_SYS_ACTIVATION_H
#define PAWL_ADAPTER_SYS_ACTIVATION_H

#include "core/address.h"
#include "core/status.h"

#define PAWL_ACTIVATION_MAX      16
#define PAWL_ACTIVATION_NAME_MAX 64

struct pawl_activation {
    unsigned count;
    /* private */
    struct pawl_activation_socket {
        int fd; /* -1 = matched, or closed */
        struct pawl_address address;
        char name[PAWL_ACTIVATION_NAME_MAX]; /* of LISTEN_FDNAMES, cut; "" = none */
    } sockets[PAWL_ACTIVATION_MAX];
};

/**
 * Read LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, remove them from the environment, look at each
 * descriptor and make it close on exec. Those of another process are not ours: none.
 *
 * PAWL_OK, also for none; PAWL_EINVAL: a number that cannot be, or a descriptor that is no
 * listening stream socket (which, and what to change in the unit). After an error none is open.
 */
PAWL_MUST_USE enum pawl_status pawl_activation_take(struct pawl_activation *activation,
                                                    struct pawl_error *error);

/**
 * The descriptor that listens on @address (a number for TCP and TLS; any kind of stream serves
 * both), which is then the caller's; -1: there is none.
 */
int pawl_activation_match(struct pawl_activation *activation, const struct pawl_address *address);

/**
 * PAWL_OK when every descriptor was matched; PAWL_EINVAL: which was not and what to do. Closes
 * those that are left in either case.
 */
PAWL_MUST_USE enum pawl_status pawl_activation_end(struct pawl_activation *activation,
                                                   struct pawl_error *error);

/** Close what was not matched, as after an error elsewhere. Twice is nothing. */
void pawl_activation_close(struct pawl_activation *activation);

#endif
