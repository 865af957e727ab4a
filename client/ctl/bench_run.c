/*
 * Runs an order of `pawlctl bench`: the load generator speaks to the daemon by itself, without
 * libpawl.
 */
#include "bench_run.h"

#include "load_pawl.h"
#include "memory.h"
#include "rates.h"

#include <stdio.h>
#include <string.h>

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
    struct ctl_rates rates = { 0 };
    struct load_protocol protocol;
    enum bench_end end = BENCH_USAGE;

    if (strncmp(order->address, "tls:", 4) == 0) {
        load.secure = load_secure_create(order->secure, error, error_size);
        if (load.secure == NULL) {
            goto out;
        }
    }

    if (order->limit == NULL) {
        if (!rates_read(order->rate, &rates, error, error_size)) {
            goto out;
        }
        memcpy(asked.rate_counts, rates.counts, sizeof(rates.counts));
        memcpy(asked.rate_windows_ms, rates.windows_ms, sizeof(rates.windows_ms));
        asked.rate_count = rates.count;
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
    load_secure_destroy(load.secure);
    memory_release(pawl);
    return end;
}
