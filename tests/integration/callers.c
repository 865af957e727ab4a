/*
 * Callers of a fleet for the tests: threads with a handle of libpawl each, which check one key
 * until told to stop and count what they were answered. Their first addresses are spread over the
 * list.
 *
 *     callers THREADS DEADLINE_MS ROUTE KEY RATES ADDRESS...
 *
 * ROUTE 1: checks go straight to the owner. Each line on standard input is answered by one line of
 * JSON with the figures so far; a number on it is each thread's pause between two checks from then
 * on, in microseconds, and the first one starts them. At its end they stop, and the last figures
 * are said.
 */
#include <pawl/pawl.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX   64
#define ADDRESSES_MAX 8 /* of libpawl */
#define ADDRESS_BYTES 128
#define FIXED_ARGS    6
#define LATE_US       20000 /* what libpawl waits for by default */

struct orders {
    unsigned threads;
    uint32_t deadline_ms;
    bool route;
    const char *key;
    const char *rates;
    char **addresses;
    unsigned address_count;
};

/** One thread and its handle; the figures are read by the main thread while they grow. */
struct caller {
    pthread_t thread;
    struct pawl_client *client;
    const struct orders *orders;
    _Atomic uint64_t allowed;
    _Atomic uint64_t denied;
    _Atomic uint64_t failed;   /* no answer of a daemon */
    _Atomic uint64_t in_doubt; /* of those: a byte had left */
    _Atomic uint64_t late;     /* answered, but after LATE_US */
    _Atomic uint64_t slowest_us;
    _Atomic uint64_t goaways, direct, moved;
    char why[PAWL_TEXT_BYTES]; /* of the first failure: read after the thread has ended */
};

static atomic_bool stopping;
static atomic_uint pace_us;

static uint64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void note(struct caller *caller, const struct pawl_check_result *result, uint64_t took_us)
{
    if (took_us > caller->slowest_us) {
        caller->slowest_us = took_us;
    }
    caller->late += took_us > LATE_US ? 1 : 0;
    if (result->info.source != PAWL_SOURCE_DAEMON || result->info.cause != PAWL_RC_OK) {
        if (caller->failed++ == 0) {
            (void)snprintf(caller->why, sizeof(caller->why), "%s", result->info.text);
        }
        caller->in_doubt += result->info.effect == PAWL_EFFECT_UNKNOWN ? 1 : 0;
    } else if (result->outcome == PAWL_OUTCOME_ALLOW) {
        caller->allowed++;
    } else {
        caller->denied++;
    }
}

static void note_figures(struct caller *caller)
{
    struct pawl_client_figures figures = { .struct_size = sizeof(figures) };

    pawl_client_figures(caller->client, &figures);
    caller->goaways = figures.goaways;
    caller->direct = figures.direct;
    caller->moved = figures.moved;
}

static void *run(void *argument)
{
    struct caller *caller = argument;
    const struct orders *orders = caller->orders;
    struct pawl_str key = pawl_str(orders->key);
    struct pawl_check_item item = {
        .rates = orders->rates, .key = &key, .key_count = 1, .on_error = PAWL_FAIL_CLOSED
    };
    struct pawl_check_call check = { .struct_size = sizeof(check),
                                     .items = &item,
                                     .item_count = 1 };

    while (!atomic_load(&stopping)) {
        struct pawl_check_result result = { .struct_size = sizeof(result) };
        uint64_t begun = now_us();

        (void)pawl_client_check(caller->client, &check, &result);
        note(caller, &result, now_us() - begun);
        note_figures(caller);
        (void)usleep(atomic_load(&pace_us));
    }
    return NULL;
}

/* The list of addresses, another one first for each thread. */
static void spread(const struct orders *orders, unsigned first, char *list, size_t size)
{
    size_t used = 0;

    list[0] = '\0';
    for (unsigned i = 0; i < orders->address_count; i++) {
        const char *one = orders->addresses[(first + i) % orders->address_count];
        int wrote = snprintf(list + used, size - used, "%s%s", i > 0 ? "," : "", one);

        if (wrote < 0 || (size_t)wrote >= size - used) {
            (void)fprintf(stderr, "callers: addresses are too long\n");
            exit(2);
        }
        used += (size_t)wrote;
    }
}

static void start(struct caller *caller, const struct orders *orders, unsigned number)
{
    char list[ADDRESSES_MAX * ADDRESS_BYTES];
    char error[PAWL_TEXT_BYTES] = "";
    struct pawl_client_options options = { .struct_size = sizeof(options),
                                           .addresses = list,
                                           .name = "callers",
                                           .flags = orders->route ? PAWL_CLIENT_ROUTE : 0,
                                           .check_deadline_ms = orders->deadline_ms };

    spread(orders, number, list, sizeof(list));
    caller->orders = orders;
    if (pawl_client_create(&options, &caller->client, error, sizeof(error)) != PAWL_RC_OK ||
        pthread_create(&caller->thread, NULL, run, caller) != 0) {
        (void)fprintf(stderr, "callers: %s\n", error);
        exit(2);
    }
}

static void say(const struct caller *callers, unsigned count, const char *why)
{
    uint64_t sums[8] = { 0 };
    uint64_t slowest_us = 0;

    for (unsigned i = 0; i < count; i++) {
        const struct caller *one = &callers[i];
        const uint64_t figures[8] = { one->allowed, one->denied, one->failed, one->in_doubt,
                                      one->goaways, one->direct, one->moved,  one->late };

        for (unsigned j = 0; j < 8; j++) {
            sums[j] += figures[j];
        }
        slowest_us = one->slowest_us > slowest_us ? one->slowest_us : slowest_us;
    }
    (void)printf("{\"allowed\":%" PRIu64 ",\"denied\":%" PRIu64 ",\"failed\":%" PRIu64
                 ",\"in_doubt\":%" PRIu64 ",\"goaways\":%" PRIu64 ",\"direct\":%" PRIu64
                 ",\"moved\":%" PRIu64 ",\"late\":%" PRIu64
                 ",\"slowest_ms\":%.1f,\"why\":\"%s\"}\n",
                 sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6], sums[7],
                 (double)slowest_us / 1000, why);
    (void)fflush(stdout);
}

/* What the first that failed was told; without what would end the text in JSON. */
static const char *first_failure(struct caller *callers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (callers[i].failed > 0) {
            for (char *at = callers[i].why; *at != '\0'; at++) {
                *at = *at == '"' || *at == '\\' ? '\'' : *at;
            }
            return callers[i].why;
        }
    }
    return "";
}

static bool read_orders(int argc, char **argv, struct orders *orders)
{
    if (argc <= FIXED_ARGS || argc > FIXED_ARGS + ADDRESSES_MAX) {
        return false;
    }
    orders->threads = (unsigned)strtoul(argv[1], NULL, 10);
    orders->deadline_ms = (uint32_t)strtoul(argv[2], NULL, 10);
    orders->route = strcmp(argv[3], "1") == 0;
    orders->key = argv[4];
    orders->rates = argv[5];
    orders->addresses = argv + FIXED_ARGS;
    orders->address_count = (unsigned)(argc - FIXED_ARGS);
    return orders->threads >= 1 && orders->threads <= THREADS_MAX;
}

/* Answer lines until the end of standard input. */
static void serve(struct caller *callers, const struct orders *orders)
{
    char line[32];
    bool started = false;

    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (line[0] != '\n') {
            atomic_store(&pace_us, (unsigned)strtoul(line, NULL, 10));
        }
        for (unsigned i = 0; !started && i < orders->threads; i++) {
            start(&callers[i], orders, i);
        }
        started = true;
        say(callers, orders->threads, "");
    }
    atomic_store(&stopping, true);
    for (unsigned i = 0; started && i < orders->threads; i++) {
        (void)pthread_join(callers[i].thread, NULL);
    }
}

int main(int argc, char **argv)
{
    static struct caller callers[THREADS_MAX];
    struct orders orders;

    if (!read_orders(argc, argv, &orders)) {
        (void)fprintf(stderr, "usage: callers THREADS DEADLINE_MS ROUTE KEY RATES ADDRESS...\n");
        return 2;
    }
    serve(callers, &orders);
    say(callers, orders.threads, first_failure(callers, orders.threads));
    for (unsigned i = 0; i < orders.threads; i++) {
        pawl_client_destroy(callers[i].client);
    }
    return 0;
}
