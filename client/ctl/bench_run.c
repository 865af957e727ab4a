/*
 * Runs an order of `pawlctl bench`: the load generator speaks to the daemon by itself, without
 * libpawl.
 */
#include "bench_run.h"

#include "load_pawl.h"
#include "memory.h"
#include "pawl/v1/cold.h"
#include "rates.h"

#include <stdio.h>
#include <string.h>

/* The first line of a file. */
static bool line_read(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    bool got = file != NULL && fgets(line, (int)size, file) != NULL;

    if (file != NULL) {
        (void)fclose(file);
    }
    if (got) {
        line[strcspn(line, "\r\n")] = '\0';
    }
    return got;
}

/* Who asks, as a frame of id 0: its answer is a notice to the load. */
static bool hello_write(const struct bench_order *order, uint8_t out[LOAD_FRAME_MAX], size_t *size,
                        char *error, size_t error_size)
{
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    Pawl__V1__Hello hello = PAWL__V1__HELLO__INIT;
    Pawl__V1__Ping ping = PAWL__V1__PING__INIT;
    char secret[520] = "";
    char id[130];

    *size = 0;
    if (order->credential_id == NULL) {
        return true;
    }
    if (order->credential_file == NULL ||
        !line_read(order->credential_file, secret, sizeof(secret))) {
        snprintf(error, error_size, "--credential-file: cannot be read");
        return false;
    }
    snprintf(id, sizeof(id), "%s", order->credential_id);
    hello.version_min = 1;
    hello.version_max = 1;
    hello.credential_id = (ProtobufCBinaryData){ strlen(id), (uint8_t *)id };
    hello.credential = (ProtobufCBinaryData){ strlen(secret), (uint8_t *)secret };
    request.hello = &hello;
    request.body_case = PAWL__V1__REQUEST__BODY_PING;
    request.ping = &ping;
    *size = pawl_cold_write_request(out, LOAD_FRAME_MAX, &request);
    explicit_bzero(secret, sizeof(secret));
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
    uint8_t hello[LOAD_FRAME_MAX];
    struct ctl_rates rates = { 0 };
    struct load_protocol protocol;
    enum bench_end end = BENCH_USAGE;

    load.hello = hello;
    if (!hello_write(order, hello, &load.hello_size, error, error_size)) {
        goto out;
    }
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
