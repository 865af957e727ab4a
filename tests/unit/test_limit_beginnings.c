/* Identities, with the beginnings of those before them kept or not: always what limiter.h says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/limiter.h"

#define MEMORY (4u << 20)
#define TURNS  20000

static const char *const namespaces[] = { "default",  "defaulT", "d",        "tenant-a",
                                          "tenant-b", "",        "8 bytes!", "16 bytes, whole." };
static const char *const names[] = { "api",      "apj",      "aoi", "login", "api.premium.long",
                                     "api.prem", "api.prf m" };
static const char *const keys[] = { "", "u", "user:17", "user:1777", "203.0.113.7|curl|en" };

struct rig {
    struct pawl_limiter limiter;
    void *region;
    struct pawl_limit named[7];
    struct pawl_limit_beginnings beginnings;
    uint64_t random;
};

static unsigned draw(struct rig *rig, unsigned below)
{
    rig->random = rig->random * UINT64_C(6364136223846793005) + 1442695040888963407ULL;
    return (unsigned)(rig->random >> 33) % below;
}

static void rig_begin(struct rig *rig)
{
    struct pawl_limiter_config config = { .memory_max = MEMORY, .shards = 16, .salt = { 1, 2 } };

    memset(rig, 0, sizeof(*rig));
    rig->region = aligned_alloc(PAWL_ARENA_PAGE, MEMORY);
    assert_non_null(rig->region);
    memset(rig->region, 0, MEMORY);
    config.region = rig->region;
    memset(config.subkey.bytes, 5, sizeof(config.subkey.bytes));
    assert_int_equal(pawl_limiter_init(&rig->limiter, &config, NULL), PAWL_OK);
    for (unsigned i = 0; i < 7; i++) {
        struct pawl_limit *limit = &rig->named[i];

        (void)snprintf(limit->name, sizeof(limit->name), "%s", names[i]);
        limit->rates_count = 2;
        limit->rates[0] = (struct pawl_rate){ 9, 1000, 0 };
        limit->rates[1] = (struct pawl_rate){ 90, 60000, 0 };
        assert_int_equal(pawl_limit_init(limit, &rig->limiter, NULL), PAWL_OK);
    }
}

static void rig_end(struct rig *rig)
{
    pawl_limiter_deinit(&rig->limiter);
    free(rig->region);
}

/* An inline limit of one or two rates, of one of two algorithms. */
static void draw_inline(struct rig *rig, struct pawl_limit *limit)
{
    static const uint32_t windows[] = { 1000, 60000, 60001, 86400000 };
    unsigned first = draw(rig, 3);
    struct pawl_rate rates[2] = { { 5, windows[first], 0 }, { 50, windows[first + 1], 0 } };

    memset(limit, 0, sizeof(*limit));
    assert_int_equal(pawl_limit_init_inline_as(limit, &rig->limiter,
                                               draw(rig, 2) == 0 ? PAWL_ALGORITHM_SLIDING
                                                                 : PAWL_ALGORITHM_GCRA,
                                               rates, NULL, 1 + draw(rig, 2), 0, NULL),
                     PAWL_OK);
}

/* limiter.h, "Identity", with libsodium's SipHash over the whole of it. */
static struct pawl_id by_the_book(const struct rig *rig, const struct pawl_limit_item *item,
                                  size_t rate)
{
    const struct pawl_limit *limit = item->limit;
    uint32_t slot = limit->inline_rates ? limit->rates[rate].window_ms : (uint32_t)rate;
    uint8_t bytes[1024] = { limit->inline_rates ? 2 : 1, (uint8_t)item->parts_count,
                            limit->inline_rates ? (uint8_t)limit->algorithm : 0, 0 };
    struct pawl_pack pack;

    for (unsigned i = 0; i < 4; i++) {
        bytes[4 + i] = (uint8_t)(slot >> (8 * i));
    }
    pawl_pack_init(&pack, bytes + 8, sizeof(bytes) - 8);
    pawl_pack_bytes(&pack, item->ns.data, item->ns.size);
    pawl_pack_bytes(&pack, limit->name, strlen(limit->name));
    for (size_t i = 0; i < item->parts_count; i++) {
        pawl_pack_bytes(&pack, item->parts[i].data, item->parts[i].size);
    }
    return pawl_keyhash128(&rig->limiter.subkey, bytes, 8 + pack.size);
}

static struct pawl_bytes draw_text(struct rig *rig, const char *const *texts, unsigned count)
{
    const char *text = texts[draw(rig, count)];

    return pawl_bytes_of(text, strlen(text));
}

static void ask_once(struct rig *rig, bool kept)
{
    struct pawl_limiter_slot slots[PAWL_RATES_MAX];
    struct pawl_limiter_plan plan = { .slots = slots,
                                      .slots_max = PAWL_RATES_MAX,
                                      .beginnings = kept ? &rig->beginnings : NULL };
    struct pawl_bytes parts[3];
    struct pawl_limit limit;
    struct pawl_limit_item item = { .limit = &limit, .parts = parts, .cost = 1 };
    struct pawl_limit_request request = { .items = &item, .items_count = 1 };

    if (draw(rig, 2) == 0) {
        draw_inline(rig, &limit);
    } else {
        item.limit = &rig->named[draw(rig, 7)];
    }
    item.ns = draw_text(rig, namespaces, 8);
    item.parts_count = 1 + draw(rig, 3);
    for (size_t i = 0; i < item.parts_count; i++) {
        parts[i] = draw_text(rig, keys, 5);
    }
    assert_int_equal(pawl_limiter_prepare(&rig->limiter, &request, &plan), PAWL_OK);
    assert_int_equal(plan.slots_count, item.limit->rates_count);
    for (size_t i = 0; i < plan.slots_count; i++) {
        assert_true(pawl_id_equal(slots[i].id, by_the_book(rig, &item, i)));
    }
}

static void identities_are_those_of_the_book_when_all_is_hashed_from_the_start(void **state)
{
    struct rig rig;

    (void)state;
    rig_begin(&rig);
    for (unsigned i = 0; i < TURNS; i++) {
        ask_once(&rig, false);
    }
    rig_end(&rig);
}

static void identities_are_those_of_the_book_when_beginnings_are_kept(void **state)
{
    struct rig rig;

    (void)state;
    rig_begin(&rig);
    for (unsigned i = 0; i < TURNS; i++) {
        ask_once(&rig, true);
    }
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identities_are_those_of_the_book_when_all_is_hashed_from_the_start),
        cmocka_unit_test(identities_are_those_of_the_book_when_beginnings_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
