/*
 * What the daemon needs of time: three clocks, read once for each batch, after the batch was read
 * from its socket, so that a process that stood still does not judge with an old "now".
 */
#ifndef PAWL_PORT_CLOCK_H
#define PAWL_PORT_CLOCK_H

#include "core/types.h"

/** One reading of all three. Passed down by value; the core never reads a clock. */
struct pawl_now {
    struct pawl_instant instant;
    struct pawl_wall wall;
    struct pawl_stamp stamp;
};

/** Implemented by adapter/sys; tests implement it with a variable. Any thread. */
struct pawl_clock {
    /** All three now. The stamp never goes back, not even when the wall clock does. */
    struct pawl_now (*read)(void *self);
    /** Raise the stamp to at least @floor: the highest one that the store has seen. */
    void (*raise)(void *self, struct pawl_stamp floor);
    void *self;
};

static inline struct pawl_now pawl_clock_read(const struct pawl_clock *clock)
{
    return clock->read(clock->self);
}

#endif
