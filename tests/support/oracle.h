/*
 * The brute-force trailing window: a list of every admitted event, summed anew for each question.
 *
 * Written apart from daemon/core/window.c on purpose: it shares no code and no idea with it beyond
 * the rules (an event's time rounds up to a ms, now rounds down, an event one window old has left).
 * Slow, simple, uses malloc; for tests only.
 */
#ifndef PAWL_TESTS_ORACLE_H
#define PAWL_TESTS_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct oracle_event {
    uint64_t ns;
    uint64_t cost;
};

struct oracle {
    struct oracle_event *events; /* in order of time */
    size_t count;
    size_t capacity;
    size_t first;     /* events before it were forgotten */
    uint64_t seen_ns; /* time does not go back */
};

/** What the oracle says of a window in ms, all by looking at each event. */
struct oracle_view {
    uint64_t total;
    uint64_t distinct_ms;
    uint64_t oldest_age_ms;
    uint64_t reset_after_ms;
};

void oracle_init(struct oracle *oracle);
void oracle_free(struct oracle *oracle);

/** The time that counts: @now_ns, or the latest seen if that is later. Remembers it. */
uint64_t oracle_see(struct oracle *oracle, uint64_t now_ns);

/** Record an admitted event at the latest time seen. */
void oracle_admit(struct oracle *oracle, uint64_t cost);

/** Forget what lies outside the last @window_ms (a record dropped it too). */
void oracle_forget(struct oracle *oracle, uint64_t window_ms);

/** Sum of the events in (now - window, now] in real nanoseconds, nothing rounded. */
uint64_t oracle_real_total(const struct oracle *oracle, uint64_t window_ms);

/** Sum of the events in the window in rounded ms, each leaving @late_ms later than it should. */
uint64_t oracle_late_total(const struct oracle *oracle, uint64_t window_ms, uint64_t late_ms);

/** All of it, rounded as the window rounds. */
struct oracle_view oracle_look(const struct oracle *oracle, uint64_t window_ms);

/** The smallest number of ms after which @cost fits under @limit; UINT64_MAX if it never does. */
uint64_t oracle_retry(const struct oracle *oracle, uint64_t window_ms, uint64_t limit,
                      uint64_t cost);

/** Lower the oldest event not older than @ns (its admission time) by @cost; how much was taken. */
uint64_t oracle_refund(struct oracle *oracle, uint64_t ns, uint64_t cost);

#endif
