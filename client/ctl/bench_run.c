/*
 * Runs an order of `pawlctl bench`. This file sees the core's words (rates as text) and not
 * libpawl's: it speaks to the daemon by itself.
 */
#include "bench_run.h"

#include "core/rate_text.h"
#include "load_pawl.h"
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool rates_read(const char *text, struct load_pawl_options *load, char *error, size_t size)
{
    struct pawl_rate rates[PAWL_RATES_MAX];
    struct pawl_rate_error wrong;
    size_t count = 0;

    if (pawl_rate_text_parse(pawl_bytes_of(text, strlen(text)), rates, &count, &wrong) != PAWL_OK) {
        snprintf(error, size, "--rate: at byte %zu: %s", wrong.position + 1, wrong.text);
        return false;
    }
    for (size_t i = 0; i < count && i < LOAD_PAWL_RATES_MAX; i++) {
        load->rate_counts[i] = rates[i].count;
        load->rate_windows_ms[i] = rates[i].window_ms;
        load->rate_count = (uint32_t)i + 1;
    }
    return true;
}

enum bench_end bench_run(const struct bench_order *order, struct load_result *result, char *error,
                         size_t error_size)
{
    struct load_pawl *pawl = memory_zeroed(1, sizeof(*pawl));
    struct load_pawl_options asked = { .mode = LOAD_PAWL_CHECK,
                                       .ns = order->ns,
                                       .limit = order->limit,
                                       .keys = order->keys,
                                       .seed = order->seed,
                                       .verify = true };
    struct load_options load = { .address = order->address,
                                 .connections = order->connections,
                                 .in_flight = order->in_flight,
                                 .requests = order->requests,
                                 .duration_ms = order->duration_ms,
                                 .stall_ms = order->stall_ms };
    struct load_protocol protocol;
    enum bench_end end = BENCH_USAGE;

    if (order->limit == NULL && !rates_read(order->rate, &asked, error, error_size)) {
        goto out;
    }
    if (!load_pawl_init(pawl, &asked)) {
        snprintf(error, error_size, "the limit's name or the namespace is too long");
        goto out;
    }
    protocol = load_pawl_protocol(pawl);
    end = load_run(&load, &protocol, result, error, error_size) ? BENCH_DONE : BENCH_FAILED;
    if (end == BENCH_DONE && result->outcomes[LOAD_ERROR] > 0) {
        snprintf(error, error_size, "%s", load_pawl_refusal(pawl));
        end = BENCH_FAILED;
    }
out:
    memory_release(pawl);
    return end;
}
