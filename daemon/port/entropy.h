/*
 * Randomness from outside: the core takes random numbers as arguments.
 */
#ifndef PAWL_PORT_ENTROPY_H
#define PAWL_PORT_ENTROPY_H

#include "core/status.h"

/** Implemented by adapter/sys with getrandom(2). Any thread. */
struct pawl_entropy {
    /** Fill @out with @size random bytes; PAWL_OK or PAWL_EIO. */
    enum pawl_status (*fill)(void *self, void *out, size_t size);
    void *self;
};

#endif
