/*
 * Whether the service manager's watchdog is to be fed: only while every worker turns. A stuck
 * worker stops the feeding, and the manager ends and starts the daemon anew. It decides and does
 * nothing else; its caller reads clocks and heartbeats, and feeds.
 */
#ifndef PAWL_OPS_WATCHDOG_H
#define PAWL_OPS_WATCHDOG_H

#include "core/types.h"

/** One thread. */
struct pawl_watchdog {
    uint64_t period_ms; /* of the manager; 0 = there is no watchdog: nothing is ever due */
    /* private */
    uint64_t asked_ms; /* the last call */
    uint64_t fed_ms;
    bool said; /* of the worker that is stuck now */
};

enum pawl_watchdog_word {
    PAWL_WATCHDOG_WAIT = 0, /* nothing to do yet */
    PAWL_WATCHDOG_FEED,
    PAWL_WATCHDOG_STUCK, /* a worker is stuck since this call: say so. Once, until it turns again */
};

void pawl_watchdog_init(struct pawl_watchdog *watchdog, uint64_t period_ms);

/** How old a heartbeat may be: half the period. A worker turns ten times a second. */
uint64_t pawl_watchdog_stale_ms(const struct pawl_watchdog *watchdog);

/**
 * To be asked a few times within each third of the period.
 *
 * @now_ms     the clock of the heartbeats.
 * @oldest_ms  the oldest heartbeat of all workers.
 * After a pause of the whole process (the machine slept) nobody is called stuck at the first call.
 */
enum pawl_watchdog_word pawl_watchdog_step(struct pawl_watchdog *watchdog, uint64_t now_ms,
                                           uint64_t oldest_ms);

#endif
