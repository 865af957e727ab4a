#include "bench_run.h"
#include "commands.h"
#include "default_addresses.h"
#include "memory.h"
#include "output.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_RATE "100/minute"
#define ADDRESS_MAX  300
#define SECONDS_MAX  86400

static double us(uint64_t ns)
{
    return (double)ns / 1000.0;
}

static double per_second(const struct load_result *result)
{
    return result->elapsed_ns == 0 ? 0.0
                                   : (double)result->answered * 1e9 / (double)result->elapsed_ns;
}

static void bench_json(const struct load_result *result, const char *error)
{
    json_t *object = json_object();

    json_object_set_new(object, "requests", output_number(result->answered));
    json_object_set_new(object, "seconds", json_real((double)result->elapsed_ns / 1e9));
    json_object_set_new(object, "per_s", json_real(per_second(result)));
    json_object_set_new(object, "p50_us",
                        json_real(us(histogram_percentile(&result->latency, 0.5))));
    json_object_set_new(object, "p90_us",
                        json_real(us(histogram_percentile(&result->latency, 0.9))));
    json_object_set_new(object, "p99_us",
                        json_real(us(histogram_percentile(&result->latency, 0.99))));
    json_object_set_new(object, "max_us", json_real(us(result->latency.max)));
    json_object_set_new(object, "allowed", output_number(result->outcomes[LOAD_ALLOWED]));
    json_object_set_new(object, "denied", output_number(result->outcomes[LOAD_DENIED]));
    json_object_set_new(object, "undecided", output_number(result->outcomes[LOAD_UNDECIDED]));
    json_object_set_new(object, "errors", output_number(result->outcomes[LOAD_ERROR]));
    json_object_set_new(object, "unanswered", output_number(result->unanswered));
    if (error[0] != '\0') {
        json_object_set_new(object, "error", output_text(error, strlen(error)));
    }
    output_json(object);
}

static void bench_lines(const struct load_result *result)
{
    output_line("requests", "%" PRIu64 " in %.2f s", result->answered,
                (double)result->elapsed_ns / 1e9);
    output_line("throughput", "%.0f/s", per_second(result));
    output_line("latency", "p50 %.1f us, p90 %.1f us, p99 %.1f us, max %.1f us",
                us(histogram_percentile(&result->latency, 0.5)),
                us(histogram_percentile(&result->latency, 0.9)),
                us(histogram_percentile(&result->latency, 0.99)), us(result->latency.max));
    output_line("verdicts", "%" PRIu64 " allowed, %" PRIu64 " denied, %" PRIu64 " undecided",
                result->outcomes[LOAD_ALLOWED], result->outcomes[LOAD_DENIED],
                result->outcomes[LOAD_UNDECIDED]);
    if (result->outcomes[LOAD_ERROR] + result->unanswered > 0) {
        output_line("not answered", "%" PRIu64 " refused, %" PRIu64 " lost",
                    result->outcomes[LOAD_ERROR], result->unanswered);
    }
}

/* A number from 1 to @max, or a usage error said. */
static int number_read(const struct ctl *ctl, enum option_id id, uint64_t otherwise, uint64_t max,
                       uint64_t *number)
{
    char what[80];

    *number = option_number(&ctl->options, id, otherwise);
    if (*number >= 1 && *number <= max) {
        return EXIT_YES;
    }
    snprintf(what, sizeof(what), "--%s: not from 1 to %" PRIu64, option_spec(id)->name, max);
    return ctl_usage(ctl, what, "");
}

/* A Unix socket whose file is there, or an address that only trying can tell. */
static bool may_answer(const char *address)
{
    return strncmp(address, "unix:/", 6) != 0 || access(address + 5, F_OK) == 0;
}

/* The first address of the list that may answer, as libpawl would take it; else the last. */
static void address_read(const struct ctl *ctl, char address[ADDRESS_MAX])
{
    char defaults[PAWL_DEFAULT_ADDRESSES_BYTES];
    const char *list = ctl->addresses != NULL ? ctl->addresses : getenv("PAWL_ADDR");

    if (list == NULL || *list == '\0') {
        list = pawl_client_default_addresses(defaults);
    }
    for (;;) {
        size_t size = strcspn(list, ",");

        snprintf(address, ADDRESS_MAX, "%.*s", (int)size, list);
        if (list[size] == '\0' || may_answer(address)) {
            return;
        }
        list += size + 1;
    }
}

static int order_read(const struct ctl *ctl, struct bench_order *order)
{
    uint64_t seconds;
    uint64_t connections;
    uint64_t in_flight;
    int code;

    if (option_given(&ctl->options, OPTION_RATE_ID) &&
        option_given(&ctl->options, OPTION_LIMIT_ID)) {
        return ctl_usage(ctl, "--limit and --rate together", "give one of the two");
    }
    if (option_given(&ctl->options, OPTION_REQUESTS_ID) &&
        option_given(&ctl->options, OPTION_SECONDS_ID)) {
        return ctl_usage(ctl, "--requests and --seconds together", "give one of the two");
    }
    code = number_read(ctl, OPTION_KEYS_ID, 100000, UINT64_C(1) << 32, &order->keys);
    code = code != EXIT_YES
               ? code
               : number_read(ctl, OPTION_CONNECTIONS_ID, 50, LOAD_CONNECTIONS_MAX, &connections);
    code = code != EXIT_YES
               ? code
               : number_read(ctl, OPTION_IN_FLIGHT_ID, 1, LOAD_IN_FLIGHT_MAX, &in_flight);
    code = code != EXIT_YES ? code : number_read(ctl, OPTION_SECONDS_ID, 5, SECONDS_MAX, &seconds);
    if (code != EXIT_YES) {
        return code;
    }
    order->connections = (uint32_t)connections;
    order->in_flight = (uint32_t)in_flight;
    order->duration_ms = (uint32_t)seconds * 1000;
    order->requests = option_number(&ctl->options, OPTION_REQUESTS_ID, 0);
    if (option_given(&ctl->options, OPTION_REQUESTS_ID) && order->requests == 0) {
        return ctl_usage(ctl, "--requests 0", "ask for one at least");
    }
    return EXIT_YES;
}

/* The host of a tls: address. */
static void host_read(const char *address, char host[ADDRESS_MAX])
{
    const char *from = strchr(address, ':') != NULL ? strchr(address, ':') + 1 : address;
    const char *to = strrchr(from, ':');
    size_t size = to != NULL ? (size_t)(to - from) : strlen(from);

    if (size >= 2 && from[0] == '[' && from[size - 1] == ']') {
        from++;
        size -= 2;
    }
    snprintf(host, ADDRESS_MAX, "%.*s", (int)size, from);
}

int command_bench(struct ctl *ctl)
{
    char address[ADDRESS_MAX];
    char host[ADDRESS_MAX];
    struct load_secure_options secure = {
        .ca = option_text(&ctl->options, OPTION_TLS_CA_ID),
        .certificate = option_text(&ctl->options, OPTION_TLS_CERT_ID),
        .key = option_text(&ctl->options, OPTION_TLS_KEY_ID),
        .name = option_text(&ctl->options, OPTION_TLS_NAME_ID),
    };
    char error[OPTION_TEXT_MAX] = "";
    struct load_result *result = memory_zeroed(1, sizeof(*result));
    struct bench_order order = { .address = address,
                                 .secure = &secure,
                                 .credential_id = option_text(&ctl->options, OPTION_CREDENTIAL_ID),
                                 .credential_file =
                                     option_text(&ctl->options, OPTION_CREDENTIAL_FILE_ID),
                                 .ns = option_text(&ctl->options, OPTION_NS_ID),
                                 .limit = option_text(&ctl->options, OPTION_LIMIT_ID),
                                 .rate = option_text(&ctl->options, OPTION_RATE_ID),
                                 .stall_ms = ctl->deadline_ms };
    struct timespec now;
    enum bench_end end;
    int code = order_read(ctl, &order);

    if (code != EXIT_YES) {
        memory_release(result);
        return code;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    order.seed = (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 32;
    order.rate = order.rate != NULL ? order.rate : DEFAULT_RATE;
    address_read(ctl, address);
    host_read(address, host);
    secure.name = secure.name != NULL ? secure.name : host;
    end = bench_run(&order, result, error, sizeof(error));
    if (end == BENCH_USAGE) {
        memory_release(result);
        return ctl_usage(ctl, error, "");
    }
    if (ctl->json) {
        bench_json(result, error);
    } else if (result->answered > 0) {
        bench_lines(result);
    }
    if (end != BENCH_DONE) {
        fprintf(stderr, "pawlctl: bench: %s\n", error);
    }
    memory_release(result);
    return end == BENCH_DONE ? EXIT_YES : EXIT_UNKNOWN;
}
