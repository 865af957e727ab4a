/*
 * Every figure of the daemon as Prometheus wants it: one table, from which /metrics and its
 * reference page (deploy/METRICS.md) come. A figure that is not in it shows as
 * pawl_unlisted_figures, which a test wants to be 0.
 *
 * Names begin with pawl_, are in base units (seconds, bytes), and end in _total where they only
 * grow. Labels come from closed lists: the words of the table, and names of limits and namespaces,
 * which the operator chose. Never a key, a token or an address.
 */
#ifndef PAWL_OPS_HTTP_METRICS_TABLE_H
#define PAWL_OPS_HTTP_METRICS_TABLE_H

#include "core/types.h"

#include <stdio.h>

enum pawl_metric_type {
    PAWL_METRIC_COUNTER = 0,
    PAWL_METRIC_GAUGE,
    PAWL_METRIC_HISTOGRAM, /* each row is a bucket, in order; a row without a label the sum */
};

/** A figure, or a source beside the figures where @figure is NULL. */
struct pawl_metric {
    const char *figure; /* its name in status */
    const char *name;   /* NULL: not exported, for it is a text that may say anything */
    const char *labels; /* of this row: part="index"; NULL = none */
    enum pawl_metric_type type;
    unsigned divisor; /* from the figure's unit to the base unit: 1000 for ms; 0 = 1 */
    const char *help; /* of the name: with its first row */
};

/** Rows of one name stand together. */
extern const struct pawl_metric pawl_metrics[];
extern const unsigned pawl_metrics_count;

/** What is exported beside the figures: of each limit, of the process. For the reference page. */
extern const struct pawl_metric pawl_metrics_beside[];
extern const unsigned pawl_metrics_beside_count;

/** The word of a type: "counter". */
const char *pawl_metric_type_text(enum pawl_metric_type type);

/** Write deploy/METRICS.md. */
void pawl_metrics_print_reference(FILE *out);

#endif
