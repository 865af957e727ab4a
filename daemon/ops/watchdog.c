#include "ops/watchdog.h"

#include <string.h>

void pawl_watchdog_init(struct pawl_watchdog *watchdog, uint64_t period_ms)
{
    memset(watchdog, 0, sizeof(*watchdog));
    watchdog->period_ms = period_ms;
}

uint64_t pawl_watchdog_stale_ms(const struct pawl_watchdog *watchdog)
{
    return watchdog->period_ms / 2;
}

static uint64_t since(uint64_t now_ms, uint64_t then_ms)
{
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

enum pawl_watchdog_word pawl_watchdog_step(struct pawl_watchdog *watchdog, uint64_t now_ms,
                                           uint64_t oldest_ms)
{
    uint64_t stale_ms = pawl_watchdog_stale_ms(watchdog);
    bool paused = watchdog->asked_ms == 0 || since(now_ms, watchdog->asked_ms) > stale_ms;

    if (watchdog->period_ms == 0) {
        return PAWL_WATCHDOG_WAIT;
    }
    watchdog->asked_ms = now_ms;
    if (since(now_ms, oldest_ms) > stale_ms) {
        if (paused || watchdog->said) {
            return PAWL_WATCHDOG_WAIT;
        }
        watchdog->said = true;
        return PAWL_WATCHDOG_STUCK;
    }
    watchdog->said = false;
    if (watchdog->fed_ms != 0 && since(now_ms, watchdog->fed_ms) < watchdog->period_ms / 3) {
        return PAWL_WATCHDOG_WAIT;
    }
    watchdog->fed_ms = now_ms;
    return PAWL_WATCHDOG_FEED;
}
