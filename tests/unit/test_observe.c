/* Figures of limits, the sketch of denied keys, and the ring of revocations. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "edge/observe.h"

#define T0 UINT64_C(1800000000000)

static const struct pawl_subkey mask = { { 1, 2, 3 } };

static _Atomic uint64_t now_ms = T0;

static struct pawl_now read_clock(void *self)
{
    (void)self;
    return (struct pawl_now){ .stamp = { atomic_load(&now_ms) * 1000 } };
}

static const struct pawl_clock test_clock = { read_clock, NULL, NULL };

static struct pawl_observe *observe;

static int begin(void **state)
{
    (void)state;
    atomic_store(&now_ms, T0);
    observe = pawl_observe_create(&mask, &test_clock);
    return observe == NULL || pawl_observe_worker(observe, 0) == NULL ||
           pawl_observe_worker(observe, 3) == NULL;
}

static int end(void **state)
{
    (void)state;
    pawl_observe_destroy(observe);
    return 0;
}

/* ---- figures ---- */

struct seen {
    struct pawl_observed_limit limits[PAWL_OBSERVE_PLACES_MAX];
    unsigned count;
};

static void on_limit(void *ctx, const struct pawl_observed_limit *limit)
{
    struct seen *seen = ctx;

    seen->limits[seen->count++] = *limit;
}

static struct seen *see(void)
{
    static struct seen seen;
    struct pawl_observed reader = pawl_observe_reader(observe);

    seen.count = 0;
    reader.limits(reader.self, on_limit, &seen);
    return &seen;
}

static void a_limit_keeps_its_place_by_namespace_and_name(void **state)
{
    unsigned api = pawl_observe_place(observe, "default", "api");
    unsigned other = pawl_observe_place(observe, "shop", "api");

    (void)state;
    assert_int_not_equal(api, PAWL_OBSERVE_INLINE);
    assert_int_not_equal(api, other);
    assert_int_equal(pawl_observe_place(observe, "default", "api"), api);
    assert_int_equal(see()->count, 3);
    assert_string_equal(see()->limits[api].limit, "api");
    assert_string_equal(see()->limits[other].ns, "shop");
    assert_string_equal(see()->limits[0].limit, "");
}

static void figures_of_all_workers_are_summed(void **state)
{
    unsigned api = pawl_observe_place(observe, "default", "api");

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        pawl_figure_count(&pawl_observe_worker(observe, 0)[api], PAWL_FIGURE_ALLOWED);
    }
    pawl_figure_count(&pawl_observe_worker(observe, 3)[api], PAWL_FIGURE_ALLOWED);
    pawl_figure_count(&pawl_observe_worker(observe, 3)[api], PAWL_FIGURE_DENIED);
    pawl_figure_count(&pawl_observe_worker(observe, 3)[0], PAWL_FIGURE_BYPASSED);
    assert_int_equal(see()->limits[api].allowed, 4);
    assert_int_equal(see()->limits[api].denied, 1);
    assert_int_equal(see()->limits[0].bypassed, 1);
    assert_int_equal(see()->limits[0].allowed, 0);
}

static void names_beyond_the_maximum_share_the_last_place(void **state)
{
    char name[16];

    (void)state;
    for (unsigned i = 1; i < PAWL_OBSERVE_PLACES_MAX + 10; i++) {
        (void)snprintf(name, sizeof(name), "l%u", i);
        unsigned place = pawl_observe_place(observe, "default", name);

        assert_int_equal(place, i < PAWL_OBSERVE_PLACES_MAX - 1 ? i : PAWL_OBSERVE_PLACES_MAX - 1);
    }
    assert_int_equal(see()->count, PAWL_OBSERVE_PLACES_MAX);
    assert_string_equal(see()->limits[PAWL_OBSERVE_PLACES_MAX - 1].limit, "(others)");
}

/* ---- denied keys ---- */

static void deny(unsigned worker, unsigned number)
{
    char text[24];
    struct pawl_id id = { number, number * UINT64_C(0x9e3779b97f4a7c15) >> 7 };

    (void)snprintf(text, sizeof(text), "key-%08u", number);
    struct pawl_bytes part = pawl_bytes_of(text, strlen(text));
    struct pawl_denial denial = {
        .id = id,
        .place = 0,
        .ns = pawl_bytes_of("default", 7),
        .parts = &part,
        .parts_count = 1,
        .now_ms = atomic_load(&now_ms),
    };

    if (!pawl_observe_denied_again(observe, worker, id, denial.now_ms)) {
        pawl_observe_denied(observe, worker, &denial);
    }
}

static size_t keys(struct pawl_observed_key *out, size_t max)
{
    struct pawl_observed reader = pawl_observe_reader(observe);

    return reader.keys(reader.self, out, max);
}

static void the_most_denied_come_first_and_masked(void **state)
{
    struct pawl_observed_key out[4];

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        deny(0, 1);
        deny(3, 1);
        deny(3, 2);
    }
    deny(0, 3);
    assert_int_equal(keys(out, 4), 3);
    assert_int_equal(out[0].denied, 10);
    assert_int_equal(out[1].denied, 5);
    assert_int_equal(out[2].denied, 1);
    assert_memory_equal(out[0].key, "ke***", 5);
    assert_null(strstr(out[0].key, "key"));
    assert_string_equal(out[0].ns, "default");
    assert_int_equal(out[0].last_ms, T0);
    assert_int_equal(keys(out, 1), 1);
}

/* 100,000 keys denied once each beside ten that are denied a thousand times. */
static void an_estimate_is_never_too_low_and_heavy_keys_stay(void **state)
{
    static struct pawl_observed_key out[PAWL_OBSERVED_KEYS_MAX];
    unsigned heavy = 0;

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        deny(i % 2 == 0 ? 0 : 3, 1000 + i);
        if (i % 10 == 0) {
            deny(i % 20 == 0 ? 0 : 3, i / 10 % 10);
        }
    }
    size_t count = keys(out, PAWL_OBSERVED_KEYS_MAX);
    char texts[10][PAWL_OBSERVED_TEXT_BYTES];

    assert_int_equal(count, PAWL_OBSERVED_KEYS_MAX);
    for (unsigned i = 0; i < 10; i++) {
        /* Each alone in an empty sketch: how its text looks. */
        struct pawl_observe *full = observe;
        struct pawl_observed_key one;

        assert_int_equal(begin(NULL), 0);
        deny(0, i);
        assert_int_equal(keys(&one, 1), 1);
        memcpy(texts[i], one.key, sizeof(texts[i]));
        pawl_observe_destroy(observe);
        observe = full;
    }
    for (size_t at = 0; at < count; at++) {
        for (unsigned i = 0; i < 10; i++) {
            if (strcmp(out[at].key, texts[i]) == 0) {
                heavy++;
                assert_true(out[at].denied >= 1000);
            }
        }
    }
    assert_int_equal(heavy, 10);
}

static void a_key_not_denied_for_an_hour_is_forgotten_and_starts_anew(void **state)
{
    struct pawl_observed_key out[4];

    (void)state;
    for (unsigned i = 0; i < 7; i++) {
        deny(0, 1);
    }
    atomic_store(&now_ms, T0 + 3600000);
    assert_int_equal(keys(out, 4), 1);
    atomic_store(&now_ms, T0 + 3600001);
    assert_int_equal(keys(out, 4), 0);
    deny(0, 1);
    assert_int_equal(keys(out, 4), 1);
    assert_int_equal(out[0].denied, 1);
}

/* ---- revocations ---- */

static void the_last_256_revocations_are_kept_newest_first(void **state)
{
    static struct pawl_observed_event out[300];
    struct pawl_observed reader = pawl_observe_reader(observe);
    struct pawl_fact fact = { .scope = PAWL_SCOPE_SUBJECT,
                              .reason = PAWL_REASON_LOGOUT_ALL,
                              .ns = pawl_bytes_of("shop", 4),
                              .value = pawl_bytes_of("alice", 5) };

    (void)state;
    assert_int_equal(reader.events(reader.self, out, 300), 0);
    for (unsigned i = 0; i < 300; i++) {
        pawl_observe_revoked(observe, &fact, T0 + i);
    }
    assert_int_equal(reader.events(reader.self, out, 300), PAWL_OBSERVED_EVENTS_MAX);
    assert_int_equal(out[0].at_ms, T0 + 299);
    assert_int_equal(out[255].at_ms, T0 + 44);
    assert_int_equal(out[0].scope, PAWL_SCOPE_SUBJECT);
    assert_string_equal(out[0].ns, "shop");
    assert_memory_equal(out[0].value, "al***", 5);
    assert_int_equal(reader.events(reader.self, out, 3), 3);
}

static void a_hash_is_shown_by_its_first_digits(void **state)
{
    struct pawl_observed_event out;
    struct pawl_observed reader = pawl_observe_reader(observe);
    uint8_t hash[32] = { 0xa7, 0x01 };
    struct pawl_fact fact = { .scope = PAWL_SCOPE_OPAQUE, .value = pawl_bytes_of(hash, 32) };

    (void)state;
    pawl_observe_revoked(observe, &fact, T0);
    assert_int_equal(reader.events(reader.self, &out, 1), 1);
    assert_memory_equal(out.value, "a7***", 5);
    assert_string_equal(out.ns, "");
}

/* ---- threads ---- */

static _Atomic bool done;

static void *write_on(void *data)
{
    unsigned worker = *(const unsigned *)data;
    struct pawl_figures *figures = pawl_observe_worker(observe, worker);
    struct pawl_fact fact = { .scope = PAWL_SCOPE_TOKEN, .value = pawl_bytes_of("jti", 3) };

    for (unsigned i = 0; i < 3000; i++) {
        pawl_figure_count(&figures[i % 8], PAWL_FIGURE_DENIED);
        deny(worker, i % 1500);
        if (i % 50 == 0) {
            char name[16];

            (void)snprintf(name, sizeof(name), "n%u", i);
            pawl_observe_revoked(observe, &fact, T0);
            (void)pawl_observe_place(observe, "default", name);
        }
    }
    return NULL;
}

static void *read_on(void *data)
{
    static struct pawl_observed_key out[PAWL_OBSERVED_KEYS_MAX];
    static struct pawl_observed_event events[PAWL_OBSERVED_EVENTS_MAX];
    struct pawl_observed reader = pawl_observe_reader(observe);

    (void)data;
    while (!atomic_load(&done)) {
        (void)see();
        (void)reader.keys(reader.self, out, PAWL_OBSERVED_KEYS_MAX);
        (void)reader.events(reader.self, events, PAWL_OBSERVED_EVENTS_MAX);
    }
    return NULL;
}

static void reading_beside_the_workers_is_safe(void **state)
{
    unsigned indexes[] = { 0, 1, 2 };
    pthread_t writers[3], reader;
    uint64_t denied = 0;

    (void)state;
    atomic_store(&done, false);
    assert_int_equal(pthread_create(&reader, NULL, read_on, NULL), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&writers[i], NULL, write_on, &indexes[i]), 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(writers[i], NULL), 0);
    }
    atomic_store(&done, true);
    assert_int_equal(pthread_join(reader, NULL), 0);
    for (unsigned i = 0; i < see()->count; i++) {
        denied += see()->limits[i].denied;
    }
    assert_int_equal(denied, 9000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_limit_keeps_its_place_by_namespace_and_name),
        TEST(figures_of_all_workers_are_summed),
        TEST(names_beyond_the_maximum_share_the_last_place),
        TEST(the_most_denied_come_first_and_masked),
        TEST(an_estimate_is_never_too_low_and_heavy_keys_stay),
        TEST(a_key_not_denied_for_an_hour_is_forgotten_and_starts_anew),
        TEST(the_last_256_revocations_are_kept_newest_first),
        TEST(a_hash_is_shown_by_its_first_digits),
        TEST(reading_beside_the_workers_is_safe),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
