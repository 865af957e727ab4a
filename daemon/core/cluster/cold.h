/*
 * When a member that has just started should get requests: not while it knows no fact at all and
 * somebody else may know them.
 *
 * Facts come from the engine, or from the member's own journal. One without either calls every
 * token undecided; and whoever rolls a fleet takes a member that is ready for a reason to end the
 * next old one, whose memory may be the last to know what the engine has lost. So such a member is
 * not ready: a rollout halts by itself while the engine is away.
 *
 * But if all have just started there is nothing to wait for: a member that hears of nobody is ready
 * soon, and counts for itself. Nobody waits for ever either, for whom it has heard of may be gone.
 */
#ifndef PAWL_CORE_CLUSTER_COLD_H
#define PAWL_CORE_CLUSTER_COLD_H

#include <stdbool.h>
#include <stdint.h>

/* The engine's silence shows after 2 s, then the other members are asked, one each second. */
#define PAWL_COLD_ALONE_MS 15000
/* As long as a Deployment of Kubernetes waits before it calls a rollout failed. */
#define PAWL_COLD_MAX_MS 600000

struct pawl_cold {
    bool synced; /* has once held all that the engine has */
    bool loaded; /* has begun with facts of its journal */
    bool others; /* knows a view with another member in it */
};

/**
 * Whether a member still waits for its first facts @age_ms after its start. Once false, the caller
 * asks no more: a member that was ready stays so.
 */
bool pawl_cold_waits(const struct pawl_cold *cold, uint64_t age_ms);

#endif
