/*
 * The engine, as the cluster's thread sees it: commands of core/cluster/engine.h go in, replies and
 * the coming and going of the engine come out. Implemented by adapter/redis over a port/net.h loop.
 * All calls and all events on one thread, the loop's; no event from inside a call.
 */
#ifndef PAWL_PORT_ENGINE_H
#define PAWL_PORT_ENGINE_H

#include "core/cluster/engine.h"
#include "port/stats.h"

/** What a handshake found out. */
struct pawl_engine_state {
    struct pawl_epoch epoch;
    uint32_t replicas; /* connected and in step */
    bool unsafe;       /* `warning` says why: it may forget what it acknowledged */
    char address[128]; /* of the primary, for people */
    char version[32];  /* "redis 7.0.15", "valkey 8.1.0" */
    char warning[256];
};

struct pawl_engine_events {
    /** A primary answers, and it is one. Again, without a down between, when its epoch changed. */
    void (*up)(void *self, const struct pawl_engine_state *state);
    /** It is gone, or no primary any more. Outstanding commands have been answered before. */
    void (*down)(void *self, const char *why);
    void (*reply)(void *self, const struct pawl_engine_reply *reply);
    void *self;
};

struct pawl_engine_ops {
    /** Take a command: see core/cluster/engine.h. Never blocks. */
    void (*emit)(void *self, const struct pawl_engine_command *command);
    /** Figures. Any thread. */
    void (*stats)(void *self, const struct pawl_stats_sink *sink);
    /**
     * Answer what is outstanding (UNKNOWN, UNSENT), close the connections. @done, once all of them
     * have gone; then the engine may be freed by the adapter's own destroy.
     */
    void (*close)(void *self, void (*done)(void *ctx), void *ctx);
};

struct pawl_engine {
    const struct pawl_engine_ops *ops;
    void *self;
};

#endif
