#include "support/oracle.h"

#include <stdlib.h>
#include <string.h>

static uint64_t up(uint64_t ns)
{
    return (ns + 999999) / 1000000;
}

static uint64_t down(uint64_t ns)
{
    return ns / 1000000;
}

static bool lives(const struct oracle *oracle, const struct oracle_event *event, uint64_t window_ms)
{
    return up(event->ns) + window_ms > down(oracle->seen_ns);
}

void oracle_init(struct oracle *oracle)
{
    memset(oracle, 0, sizeof(*oracle));
}

void oracle_free(struct oracle *oracle)
{
    free(oracle->events);
    oracle->events = NULL;
}

uint64_t oracle_see(struct oracle *oracle, uint64_t now_ns)
{
    if (now_ns > oracle->seen_ns) {
        oracle->seen_ns = now_ns;
    }
    return oracle->seen_ns;
}

void oracle_admit(struct oracle *oracle, uint64_t cost)
{
    if (oracle->count == oracle->capacity) {
        oracle->capacity = oracle->capacity * 2 + 1024;
        oracle->events = realloc(oracle->events, oracle->capacity * sizeof(struct oracle_event));
        if (oracle->events == NULL) {
            abort();
        }
    }
    oracle->events[oracle->count].ns = oracle->seen_ns;
    oracle->events[oracle->count].cost = cost;
    oracle->count++;
}

void oracle_forget(struct oracle *oracle, uint64_t window_ms)
{
    while (oracle->first < oracle->count &&
           !lives(oracle, &oracle->events[oracle->first], window_ms)) {
        oracle->first++;
    }
}

uint64_t oracle_real_total(const struct oracle *oracle, uint64_t window_ms)
{
    uint64_t total = 0;

    for (size_t i = oracle->first; i < oracle->count; i++) {
        if (oracle->events[i].ns + window_ms * 1000000 > oracle->seen_ns) {
            total += oracle->events[i].cost;
        }
    }
    return total;
}

uint64_t oracle_late_total(const struct oracle *oracle, uint64_t window_ms, uint64_t late_ms)
{
    uint64_t total = 0;

    for (size_t i = oracle->first; i < oracle->count; i++) {
        if (lives(oracle, &oracle->events[i], window_ms + late_ms)) {
            total += oracle->events[i].cost;
        }
    }
    return total;
}

struct oracle_view oracle_look(const struct oracle *oracle, uint64_t window_ms)
{
    struct oracle_view view = { 0, 0, 0, 0 };
    uint64_t now_ms = down(oracle->seen_ns);
    uint64_t last_ms = UINT64_MAX;

    for (size_t i = oracle->first; i < oracle->count; i++) {
        const struct oracle_event *event = &oracle->events[i];
        uint64_t ms = up(event->ns);

        if (!lives(oracle, event, window_ms) || event->cost == 0) {
            continue;
        }
        if (view.total == 0) {
            view.oldest_age_ms = ms < now_ms ? now_ms - ms : 0;
        }
        view.total += event->cost;
        view.distinct_ms += ms != last_ms ? 1 : 0;
        view.reset_after_ms = ms + window_ms - now_ms;
        last_ms = ms;
    }
    return view;
}

uint64_t oracle_retry(const struct oracle *oracle, uint64_t window_ms, uint64_t limit,
                      uint64_t cost)
{
    uint64_t total = oracle_look(oracle, window_ms).total;

    if (cost > limit) {
        return UINT64_MAX;
    }
    if (total + cost <= limit) {
        return 0;
    }
    for (size_t i = oracle->first; i < oracle->count; i++) {
        if (!lives(oracle, &oracle->events[i], window_ms)) {
            continue;
        }
        uint64_t wait_ms = up(oracle->events[i].ns) + window_ms - down(oracle->seen_ns);

        total -= oracle->events[i].cost;
        if (total + cost <= limit) {
            return wait_ms;
        }
    }
    return UINT64_MAX;
}

uint64_t oracle_refund(struct oracle *oracle, uint64_t ns, uint64_t cost)
{
    for (size_t i = oracle->first; i < oracle->count; i++) {
        struct oracle_event *event = &oracle->events[i];

        if (up(event->ns) >= up(ns) && event->cost > 0) {
            uint64_t taken = cost < event->cost ? cost : event->cost;

            event->cost -= taken;
            return taken;
        }
    }
    return 0;
}
