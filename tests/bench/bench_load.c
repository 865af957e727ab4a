/*
 * The bench's load generator as a program: puts one kind of load on one address for a while and
 * prints what came back as one JSON object.
 *
 * usage: bench_load MODE ADDRESS [--option value]...
 *   MODE is check, token, admit, revoke, rotate or redis; ADDRESS is unix:PATH, tcp:HOST:PORT or
 *   tls:HOST:PORT, with the CA of the server's certificate in PAWL_TLS_CA.
 *   bench_load --help lists the options.
 *
 * Exits 0 when every request was answered and none refused, 1 otherwise, 2 for wrong usage.
 */
#include "fleet_keys.h"
#include "load_secure.h"
#include "memory.h"
#include "protocols.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

struct settings {
    uint64_t connections, in_flight, requests, duration_ms, warmup_ms, stall_ms;
    uint64_t keys, sequential, seed, count, window_ms, verify, cpu, echo_bytes, first, whose;
};

static const struct option {
    const char *name;
    size_t offset;
    uint64_t initial;
    uint64_t max;
    const char *help;
} options[] = {
#define OPTION(name, field, initial, max, help)                    \
    {                                                              \
        name, offsetof(struct settings, field), initial, max, help \
    }
    OPTION("--connections", connections, 50, LOAD_CONNECTIONS_MAX, "connections"),
    OPTION("--in-flight", in_flight, 1, LOAD_IN_FLIGHT_MAX, "requests in flight on each"),
    OPTION("--requests", requests, 0, UINT64_MAX, "stop after so many; 0 = by time"),
    OPTION("--ms", duration_ms, 2000, 3600000, "time to measure"),
    OPTION("--warmup-ms", warmup_ms, 300, 3600000, "before it, not counted"),
    OPTION("--stall-ms", stall_ms, 10000, 3600000, "give up after so long without an answer"),
    OPTION("--keys", keys, 100000, UINT64_C(1) << 32, "different keys or tokens"),
    OPTION("--sequential", sequential, 0, 1, "1: one key after the other"),
    OPTION("--seed", seed, 1, UINT64_MAX, "of the random keys"),
    OPTION("--count", count, 100, UINT64_C(1) << 40, "the rate: so many"),
    OPTION("--window-ms", window_ms, 60000, UINT32_MAX, "the rate: in so long"),
    OPTION("--verify", verify, 0, 1, "1: decode every answer and count the verdicts"),
    OPTION("--cpu", cpu, 1024, 1024, "run on this processor only; 1024 = any"),
    OPTION("--echo", echo_bytes, 0, 65536, "the server is an echo: bytes of each answer"),
    OPTION("--first", first, 0, UINT32_MAX, "revoke: number of the first token"),
    OPTION("--whose", whose, 0, 2, "checks of keys that this member (1), another (2) counts"),
#undef OPTION
};

struct protocols {
    struct load_pawl pawl;
    uint32_t *numbers; /* of its keys, with --whose */
    char whose_error[240];
    struct bench_revoke revoke;
    struct bench_rotate rotate;
    struct bench_redis redis;
    struct bench_echo echo;
};

static uint64_t *field_of(struct settings *settings, const struct option *option)
{
    return (uint64_t *)(void *)((char *)settings + option->offset);
}

static int usage(const char *what, const char *which)
{
    fprintf(stderr, "bench_load: %s%s\n", what, which);
    fputs("usage: bench_load (check|token|admit|revoke|rotate|redis) ADDRESS [--option value]...\n",
          stderr);
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        fprintf(stderr, "  %-14s %s (%" PRIu64 ")\n", options[i].name, options[i].help,
                options[i].initial);
    }
    return 2;
}

static bool settings_read(struct settings *settings, int argc, char **argv)
{
    size_t count = sizeof(options) / sizeof(options[0]);

    for (size_t i = 0; i < count; i++) {
        *field_of(settings, &options[i]) = options[i].initial;
    }
    for (int at = 3; at < argc; at += 2) {
        size_t found = 0;
        char *end = NULL;
        uint64_t value;

        while (found < count && strcmp(options[found].name, argv[at]) != 0) {
            found++;
        }
        if (found == count || at + 1 == argc) {
            return usage("no such option, or without a value: ", argv[at]) == 0;
        }
        errno = 0;
        value = strtoull(argv[at + 1], &end, 10);
        if (errno != 0 || end == argv[at + 1] || *end != '\0' || value > options[found].max) {
            return usage("not a number in range: ", argv[at + 1]) == 0;
        }
        *field_of(settings, &options[found]) = value;
    }
    return true;
}

static uint64_t wall_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec;
}

/* With --whose the keys are those of a member; false with all->whose_error. */
static bool numbers_find(struct protocols *all, const char *address,
                         const struct settings *settings)
{
    if (settings->whose == BENCH_ANYBODYS) {
        return true;
    }
    if (settings->keys > BENCH_KEYS_MAX) {
        snprintf(all->whose_error, sizeof(all->whose_error), "too many keys for --whose");
        return false;
    }
    all->numbers = memory_zeroed(settings->keys, sizeof(*all->numbers));
    return bench_keys_find(address, (enum bench_whose)settings->whose, (uint32_t)settings->keys,
                           all->numbers, all->whose_error, sizeof(all->whose_error));
}

static bool pawl_protocol(struct protocols *all, const char *address,
                          const struct settings *settings, enum load_pawl_mode mode,
                          struct load_protocol *protocol)
{
    bool found = numbers_find(all, address, settings);
    struct load_pawl_options asked = {
        .mode = mode,
        .rate_counts = { settings->count },
        .rate_windows_ms = { (uint32_t)settings->window_ms },
        .rate_count = 1,
        .keys = settings->keys,
        .numbers = all->numbers,
        .sequential = settings->sequential != 0,
        .seed = settings->seed,
        .now_s = wall_s(),
        .verify = settings->verify != 0,
    };

    if (!found || !load_pawl_init(&all->pawl, &asked)) {
        return false;
    }
    *protocol = load_pawl_protocol(&all->pawl);
    return true;
}

/* Fill @protocol for @mode; false when there is no such mode or it could not be prepared. */
static bool protocol_make(struct protocols *all, const char *mode, const char *address,
                          const struct settings *settings, struct load_protocol *protocol)
{
    static const char *const pawl_modes[] = { "check", "token", "admit" };
    bool made = false;

    for (uint32_t i = 0; i < 3; i++) {
        if (strcmp(mode, pawl_modes[i]) == 0) {
            made = pawl_protocol(all, address, settings, (enum load_pawl_mode)i, protocol);
        }
    }
    if (strcmp(mode, "revoke") == 0) {
        made = bench_revoke_init(&all->revoke, settings->first, settings->keys, wall_s());
        *protocol = bench_revoke_protocol(&all->revoke);
    } else if (strcmp(mode, "rotate") == 0) {
        bench_rotate_init(&all->rotate, (uint32_t)(settings->connections * settings->in_flight),
                          settings->seed, wall_s());
        *protocol = bench_rotate_protocol(&all->rotate);
        made = true;
    } else if (strcmp(mode, "redis") == 0) {
        made = bench_redis_init(&all->redis, address, settings->count,
                                (uint32_t)settings->window_ms, settings->keys, settings->seed);
        *protocol = bench_redis_protocol(&all->redis);
    }
    if (made && settings->echo_bytes > 0) {
        all->echo.frames = *protocol;
        all->echo.reply_bytes = settings->echo_bytes;
        *protocol = bench_echo_protocol(&all->echo);
    }
    return made;
}

static const char *refusal_of(const struct protocols *all)
{
    const char *const texts[] = { all->whose_error, load_pawl_refusal(&all->pawl),
                                  all->revoke.refusal, all->rotate.refusal, all->redis.refusal };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i][0] != '\0') {
            return texts[i];
        }
    }
    return "";
}

static void print_text(const char *name, const char *text)
{
    printf(", \"%s\": \"", name);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            putchar('\\');
        }
        putchar((unsigned char)*text < 0x20 ? ' ' : *text);
    }
    putchar('"');
}

static double seconds_used(void)
{
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    return (double)used.ru_utime.tv_sec + (double)used.ru_stime.tv_sec +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void result_print(const struct load_result *result, const char *error, const char *refusal)
{
    double seconds = (double)result->elapsed_ns / 1e9;
    double answered = result->answered > 0 ? (double)result->answered : 1.0;

    printf("{\"answered\": %" PRIu64 ", \"seconds\": %.6f, \"per_s\": %.1f", result->answered,
           seconds, seconds > 0 ? (double)result->answered / seconds : 0.0);
    printf(", \"p50_us\": %.3f, \"p90_us\": %.3f, \"p99_us\": %.3f, \"max_us\": %.3f",
           (double)histogram_percentile(&result->latency, 0.5) / 1e3,
           (double)histogram_percentile(&result->latency, 0.9) / 1e3,
           (double)histogram_percentile(&result->latency, 0.99) / 1e3,
           (double)result->latency.max / 1e3);
    printf(", \"allowed\": %" PRIu64 ", \"denied\": %" PRIu64 ", \"undecided\": %" PRIu64
           ", \"errors\": %" PRIu64 ", \"unanswered\": %" PRIu64,
           result->outcomes[LOAD_ALLOWED], result->outcomes[LOAD_DENIED],
           result->outcomes[LOAD_UNDECIDED], result->outcomes[LOAD_ERROR], result->unanswered);
    printf(", \"request_bytes\": %.2f, \"reply_bytes\": %.2f, \"client_cpu_s\": %.3f",
           (double)result->request_bytes / answered, (double)result->reply_bytes / answered,
           seconds_used());
    print_text("error", error);
    print_text("refusal", refusal);
    puts("}");
}

static void pin(uint64_t cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (cpu < CPU_SETSIZE && sched_setaffinity(0, sizeof(set), &set) != 0) {
        fprintf(stderr, "bench_load: processor %" PRIu64 ": %s\n", cpu, strerror(errno));
    }
}

/* Prepare, load, print. Returns the exit code. */
static int run(const char *mode, const char *address, const struct settings *settings,
               struct protocols *all, struct load_result *result)
{
    struct load_protocol protocol = { 0 };
    struct load_options load = { .address = address,
                                 .connections = (uint32_t)settings->connections,
                                 .in_flight = (uint32_t)settings->in_flight,
                                 .requests = settings->requests,
                                 .duration_ms = (uint32_t)settings->duration_ms,
                                 .warmup_ms = (uint32_t)settings->warmup_ms,
                                 .stall_ms = (uint32_t)settings->stall_ms };
    struct load_secure_options secure = { .ca = getenv("PAWL_TLS_CA"), .name = "127.0.0.1" };
    char error[240] = "";
    bool done;

    if (settings->keys == 0 || !protocol_make(all, mode, address, settings, &protocol)) {
        return usage("cannot prepare this load: ",
                     refusal_of(all)[0] != '\0' ? refusal_of(all) : mode);
    }
    if (strncmp(address, "tls:", 4) == 0) {
        load.secure = load_secure_create(&secure, error, sizeof(error));
        if (load.secure == NULL) {
            return usage("PAWL_TLS_CA: ", error);
        }
    }
    pin(settings->cpu);
    done = load_run(&load, &protocol, result, error, sizeof(error));
    load_secure_destroy(load.secure);
    result_print(result, error, refusal_of(all));
    return done && result->outcomes[LOAD_ERROR] == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct protocols *all = memory_zeroed(1, sizeof(*all));
    struct load_result *result = memory_zeroed(1, sizeof(*result));
    struct settings settings;
    int code = 2;

    if (argc < 3) {
        (void)usage("a mode and an address are needed", "");
    } else if (settings_read(&settings, argc, argv)) {
        code = run(argv[1], argv[2], &settings, all, result);
    }
    bench_rotate_deinit(&all->rotate);
    memory_release(all->numbers);
    memory_release(result);
    memory_release(all);
    return code;
}
