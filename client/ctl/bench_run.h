/*
 * `pawlctl bench` between the command line (which has libpawl's words) and the load generator
 * (which has the wire's): plain values only.
 */
#ifndef PAWL_CTL_BENCH_RUN_H
#define PAWL_CTL_BENCH_RUN_H

#include "load.h"
#include "load_secure.h"

struct bench_order {
    const char *address;                      /* one, not a list */
    const struct load_secure_options *secure; /* of a tls: address */
    const char *credential_id;                /* NULL: none */
    const char *credential_file;              /* whose first line is the secret */
    const char *ns;                           /* NULL: the daemon's default */
    const char *limit;                        /* NULL: rate */
    const char *rate;                         /* as text */
    uint64_t keys;
    uint64_t seed;
    uint32_t connections;
    uint32_t in_flight;
    uint64_t requests; /* 0: by time */
    uint32_t duration_ms;
    uint32_t stall_ms;
};

enum bench_end {
    BENCH_DONE = 0,
    BENCH_USAGE = 1,  /* the order cannot be carried out */
    BENCH_FAILED = 2, /* not every request was answered */
};

/** Carry out @order; blocks. @error: text for a person unless BENCH_DONE. @result as load_run(). */
enum bench_end bench_run(const struct bench_order *order, struct load_result *result, char *error,
                         size_t error_size);

#endif
