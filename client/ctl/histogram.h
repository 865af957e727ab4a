/*
 * Latencies counted in cells that grow with the value: 256 cells for each doubling, so that a
 * percentile is off by 0.4 % at most. Fixed memory, no allocation; one thread.
 */
#ifndef PAWL_CTL_HISTOGRAM_H
#define PAWL_CTL_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 8
#define HISTOGRAM_CELLS    ((40 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t total; /* values counted */
    uint64_t max;   /* the largest of them, exact */
    /* ---- private ---- */
    uint64_t cells[HISTOGRAM_CELLS];
};

/** Count @value (nanoseconds); what is beyond 2^40 counts in the last cell. */
void histogram_add(struct histogram *histogram, uint64_t value);

/** The value below which @fraction (0 to 1) of all values lie; 0 without values. */
uint64_t histogram_percentile(const struct histogram *histogram, double fraction);

#endif
