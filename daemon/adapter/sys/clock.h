/*
 * The machine's clocks, as port/clock.h wants them: BOOTTIME for limits, civil time, and the
 * fleet's stamp.
 *
 * The stamp is BOOTTIME plus the largest distance between civil time and BOOTTIME that was ever
 * seen. So it never goes back when the civil clock is set back, and it goes on at BOOTTIME's pace
 * instead of standing still (a grace window of 10 s must not last an hour). One atomic word is all
 * the state there is; any thread.
 */
#ifndef PAWL_ADAPTER_SYS_CLOCK_H
#define PAWL_ADAPTER_SYS_CLOCK_H

#include "core/status.h"
#include "port/clock.h"

#include <stdatomic.h>
#include <time.h>

#define PAWL_BOOT_ID_BYTES 16

struct pawl_sys_clock {
    /* private */
    int (*gettime)(clockid_t which, struct timespec *out);
    _Atomic int64_t offset_us; /* stamp - BOOTTIME; only ever grows */
};

/**
 * Prepare @self, which has to outlive every user of @clock (out, filled).
 * @gettime  clock_gettime() when NULL; tests bring their own.
 */
void pawl_sys_clock_init(struct pawl_sys_clock *self, struct pawl_clock *clock,
                         int (*gettime)(clockid_t which, struct timespec *out));

/**
 * This boot of this machine (/proc/sys/kernel/random/boot_id). BOOTTIMEs compare only under the
 * same one. All zero, which equals no boot, when it cannot be read; then PAWL_EIO.
 */
PAWL_MUST_USE enum pawl_status pawl_sys_boot_id(uint8_t boot_id[PAWL_BOOT_ID_BYTES]);

#endif
