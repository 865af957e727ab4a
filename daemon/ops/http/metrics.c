/*
 * GET /metrics: every figure in the text format of Prometheus 0.0.4, by the table.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ops/http/exchange.h"
#include "ops/http/metrics_table.h"
#include "ops/http/process.h"
#include "ops/status.h"

#define BASE_BYTES  ((size_t)65536) /* all that does not grow with the limits */
#define LIMIT_BYTES ((size_t)256)   /* of one sample of one limit, its name and namespace escaped */

struct page {
    char *data;
    size_t size, used;
    bool full;
};

__attribute__((format(printf, 2, 3))) static void put(struct page *page, const char *format, ...)
{
    va_list arguments;
    int wrote;

    if (page->full) {
        return;
    }
    va_start(arguments, format);
    wrote = vsnprintf(page->data + page->used, page->size - page->used, format, arguments);
    va_end(arguments);
    if (wrote < 0 || (size_t)wrote >= page->size - page->used) {
        page->full = true; /* half a line is worse than none: the page ends before it */
        return;
    }
    page->used += (size_t)wrote;
}

static void put_head(struct page *page, const struct pawl_metric *metric)
{
    put(page, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name,
        pawl_metric_type_text(metric->type));
}

/* A label's value, escaped as the format wants it; what is no printable ASCII is replaced. */
static void put_label(struct page *page, const char *name, const char *value)
{
    put(page, "%s=\"", name);
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '\\' || *c == '"') {
            put(page, "\\%c", *c);
        } else {
            put(page, "%c", *c >= ' ' && *c < 0x7f ? *c : '_');
        }
    }
    put(page, "\"");
}

static const struct pawl_stat *find_stat(const struct pawl_stat_list *list, const char *name)
{
    for (unsigned i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].name, name) == 0) {
            return &list->items[i];
        }
    }
    return NULL;
}

static void put_value(struct page *page, uint64_t value, unsigned divisor)
{
    if (divisor <= 1) {
        put(page, " %" PRIu64 "\n", value);
    } else if (divisor == 1000) {
        put(page, " %" PRIu64 ".%03u\n", value / 1000, (unsigned)(value % 1000));
    } else {
        put(page, " %" PRIu64 ".%06u\n", value / 1000000, (unsigned)(value % 1000000));
    }
}

/* A histogram: @row is its first; the rows' figures are counts of each bucket alone. */
static unsigned put_histogram(struct page *page, const struct pawl_stat_list *list, unsigned row)
{
    const struct pawl_metric *first = &pawl_metrics[row];
    const struct pawl_stat *sum = NULL;
    uint64_t count = 0;

    put_head(page, first);
    for (; row < pawl_metrics_count && pawl_metrics[row].name != NULL &&
           strcmp(pawl_metrics[row].name, first->name) == 0;
         row++) {
        const struct pawl_metric *metric = &pawl_metrics[row];
        const struct pawl_stat *stat = find_stat(list, metric->figure);

        if (metric->labels == NULL) {
            sum = stat;
            continue;
        }
        count += stat != NULL ? stat->value : 0;
        put(page, "%s_bucket{%s} %" PRIu64 "\n", metric->name, metric->labels, count);
    }
    put(page, "%s_sum", first->name);
    put_value(page, sum != NULL ? sum->value : 0, first->divisor);
    put(page, "%s_count %" PRIu64 "\n", first->name, count);
    return row;
}

/* The first row of a name: it has the help. */
static const struct pawl_metric *head_of(const struct pawl_metric *metric)
{
    while (metric->help == NULL && metric > pawl_metrics) {
        metric--;
    }
    return metric;
}

static void put_figure(struct page *page, const struct pawl_stat_list *list,
                       const struct pawl_metric *metric, const char **headed)
{
    const struct pawl_stat *stat = find_stat(list, metric->figure);

    if (stat == NULL) { /* of a part that this daemon has not */
        return;
    }
    if (*headed == NULL || strcmp(*headed, metric->name) != 0) {
        put_head(page, head_of(metric));
        *headed = metric->name;
    }
    put(page, "%s", metric->name);
    if (stat->kind == PAWL_STAT_TEXT) { /* a word: the label of a 1 */
        struct pawl_bytes text = pawl_stat_text(list, stat);
        char value[PAWL_STAT_TEXT_BYTES_MAX + 1];

        memcpy(value, text.data, text.size);
        value[text.size] = '\0';
        put(page, "{");
        put_label(page, stat->name, value);
        put(page, "} 1\n");
        return;
    }
    if (metric->labels != NULL) {
        put(page, "{%s}", metric->labels);
    }
    put_value(page, stat->value, metric->divisor);
}

static void put_figures(struct page *page, const struct pawl_stat_list *list)
{
    const char *headed = NULL;

    for (unsigned row = 0; row < pawl_metrics_count;) {
        if (pawl_metrics[row].name == NULL) {
            row++; /* not told here: see the table */
        } else if (pawl_metrics[row].type == PAWL_METRIC_HISTOGRAM) {
            row = put_histogram(page, list, row);
        } else {
            put_figure(page, list, &pawl_metrics[row++], &headed);
        }
    }
}

/* ---- beside the figures ---- */

static const struct pawl_metric *beside(const char *name)
{
    for (unsigned i = 0; i < pawl_metrics_beside_count; i++) {
        if (strcmp(pawl_metrics_beside[i].name, name) == 0) {
            return &pawl_metrics_beside[i];
        }
    }
    return NULL;
}

static void put_beside(struct page *page, const char *name, uint64_t value, unsigned divisor)
{
    const struct pawl_metric *metric = beside(name);

    if (metric != NULL) {
        put_head(page, metric);
        put(page, "%s", name);
        put_value(page, value, divisor);
    }
}

static void put_unlisted(struct page *page, const struct pawl_stat_list *list)
{
    uint64_t unlisted = list->dropped;

    for (unsigned i = 0; i < list->count; i++) {
        bool found = false;

        for (unsigned row = 0; row < pawl_metrics_count && !found; row++) {
            found = strcmp(pawl_metrics[row].figure, list->items[i].name) == 0;
        }
        unlisted += found ? 0 : 1;
    }
    put_beside(page, "pawl_unlisted_figures", unlisted, 1);
}

static void put_process(struct page *page, struct pawl_process_reader *reader)
{
    struct pawl_process process;

    pawl_process_read(reader, &process);
    put_beside(page, "process_cpu_seconds_total", process.cpu_ms, 1000);
    put_beside(page, "process_resident_memory_bytes", process.resident_bytes, 1);
    put_beside(page, "process_virtual_memory_bytes", process.virtual_bytes, 1);
    put_beside(page, "process_start_time_seconds", process.start_ms, 1000);
    put_beside(page, "process_open_fds", process.fds, 1);
    put_beside(page, "process_max_fds", process.fds_max, 1);
    put_beside(page, "process_threads", process.threads, 1);
}

/* One sample of each limit: samples of a name stand together, so the limits are walked for each. */
struct limit_walk {
    struct page *page;
    const char *name;
    size_t offset; /* of the value in struct pawl_observed_limit */
    unsigned count;
};

static void count_limit(void *ctx, const struct pawl_observed_limit *limit)
{
    struct limit_walk *walk = ctx;

    (void)limit;
    walk->count++;
}

static void put_limit(void *ctx, const struct pawl_observed_limit *limit)
{
    struct limit_walk *walk = ctx;
    uint64_t value;

    memcpy(&value, (const char *)limit + walk->offset, sizeof(value));
    put(walk->page, "%s{", walk->name);
    put_label(walk->page, "limit", limit->limit);
    put(walk->page, ",");
    put_label(walk->page, "namespace", limit->ns);
    put(walk->page, "} %" PRIu64 "\n", value);
}

static const struct {
    const char *name;
    size_t offset;
} limit_metrics[] = {
    { "pawl_limit_allowed_total", offsetof(struct pawl_observed_limit, allowed) },
    { "pawl_limit_denied_total", offsetof(struct pawl_observed_limit, denied) },
    { "pawl_limit_shadow_denied_total", offsetof(struct pawl_observed_limit, shadow_denied) },
    { "pawl_limit_bypassed_total", offsetof(struct pawl_observed_limit, bypassed) },
    { "pawl_limit_overflowed_total", offsetof(struct pawl_observed_limit, overflowed) },
};

#define LIMIT_METRICS (sizeof(limit_metrics) / sizeof(limit_metrics[0]))

static void put_limits(struct page *page, const struct pawl_observed *observed)
{
    for (size_t i = 0; i < LIMIT_METRICS && observed != NULL; i++) {
        struct limit_walk walk = { page, limit_metrics[i].name, limit_metrics[i].offset, 0 };
        const struct pawl_metric *metric = beside(walk.name);

        if (metric != NULL) {
            put_head(page, metric);
            observed->limits(observed->self, put_limit, &walk);
        }
    }
}

void pawl_http_metrics(struct pawl_http_exchange *exchange)
{
    const struct pawl_http_world *world = pawl_http_world_of(exchange);
    struct pawl_stat_list *list = pawl_http_take(exchange, sizeof(*list));
    struct limit_walk walk = { .count = 0 };
    struct page page = { .size = BASE_BYTES };

    if (world->observed != NULL) {
        world->observed->limits(world->observed->self, count_limit, &walk);
    }
    page.size += walk.count * LIMIT_METRICS * LIMIT_BYTES;
    page.data = pawl_http_take(exchange, page.size);
    if (list == NULL || page.data == NULL) {
        pawl_http_reply_error(exchange, 503, "temporarily_unavailable", "no memory");
        return;
    }
    pawl_stat_list_init(list, "");
    struct pawl_stats_sink sink = pawl_stat_list_sink(list);

    world->stats(world->self, &sink);
    put_figures(&page, list);
    put_unlisted(&page, list);
    put_limits(&page, world->observed);
    put_process(&page, pawl_http_process_of(exchange));
    if (page.full) { /* a scrape that misses samples would be taken for whole */
        pawl_http_reply_error(exchange, 500, "server_error", "the page is larger than its room");
        return;
    }
    pawl_http_reply(exchange, 200, "text/plain; version=0.0.4; charset=utf-8",
                    pawl_bytes_of(page.data, page.used));
}
