/*
 * Figures for operators. Each module keeps a struct of 64-bit fields with one writer and hands
 * them out through this sink; only ops/ knows a text format.
 */
#ifndef PAWL_PORT_STATS_H
#define PAWL_PORT_STATS_H

#include "core/types.h"

struct pawl_stats_sink {
    /** @name is snake case with its unit: "counter_unsaved_age_ms". Lent for the call. */
    void (*number)(void *self, const char *name, uint64_t value);
    void (*flag)(void *self, const char *name, bool value);
    void (*text)(void *self, const char *name, struct pawl_bytes value);
    void *self;
};

#endif
