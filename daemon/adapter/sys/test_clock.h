/*
 * The clock of --test-clock: time stands still until a request brings its own.
 *
 * It starts at the highest stamp that the store has seen, so that a restart in a test loses no
 * time; before the first request of a new store it is the machine's time.
 */
#ifndef PAWL_ADAPTER_SYS_TEST_CLOCK_H
#define PAWL_ADAPTER_SYS_TEST_CLOCK_H

#include "port/clock.h"

#include <stdatomic.h>

struct pawl_test_clock {
    _Atomic uint64_t now_ms; /* 0: nobody has said */
    struct pawl_clock machine;
};

/** Make @clock read @self. @machine is the clock used until a time is known. */
void pawl_test_clock_init(struct pawl_test_clock *self, struct pawl_clock *clock,
                          const struct pawl_clock *machine);

/** @clock_self is the clock's self: from now on it is @now_ms; never goes back. Any thread. */
void pawl_test_clock_set(void *clock_self, uint64_t now_ms);

#endif
