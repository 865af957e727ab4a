/* The arena and its slabs: nothing overlaps, nothing is lost, the ceiling holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/arena.h"
#include "core/limiter_slab.h"

#define REGION (3 * 1024 * 1024 + 5 * 4096) /* no power of two */

static size_t released_bytes;

static void on_release(void *ptr, size_t size)
{
    memset(ptr, 0xee, size); /* nobody may have anything there */
    released_bytes += size;
}

static void *region_create(size_t size)
{
    void *region = aligned_alloc(PAWL_ARENA_PAGE, size);

    assert_non_null(region);
    memset(region, 0, size);
    return region;
}

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

static void blocks_never_overlap_and_all_come_back(void **state)
{
    void *region = region_create(REGION);
    struct pawl_arena arena;
    struct {
        uint32_t page;
        unsigned order;
    } held[200];
    size_t count = 0;
    uint64_t random = 7;

    (void)state;
    released_bytes = 0;
    assert_int_equal(pawl_arena_init(&arena, region, REGION, on_release), PAWL_OK);
    uint64_t all = pawl_arena_free_bytes(&arena);

    for (unsigned i = 0; i < 20000; i++) {
        uint64_t dice = next_random(&random);

        if (dice % 2 == 0 && count < 200) {
            unsigned order = (unsigned)(dice >> 8) % 6;
            uint32_t page = pawl_arena_take(&arena, order, 0);

            if (page != PAWL_ARENA_NONE) {
                memset(pawl_arena_at(&arena, page), (int)(page & 0xff),
                       (size_t)PAWL_ARENA_PAGE << order);
                held[count].page = page;
                held[count].order = order;
                count++;
            }
        } else if (count > 0) {
            size_t at = (size_t)(dice >> 8) % count;
            const uint8_t *bytes = pawl_arena_at(&arena, held[at].page);
            size_t size = (size_t)PAWL_ARENA_PAGE << held[at].order;

            for (size_t j = 0; j < size; j += 511) {
                if (bytes[j] != (uint8_t)held[at].page) {
                    fail_msg("seed 7 step %u: page %u was overwritten", i, held[at].page);
                }
            }
            pawl_arena_give(&arena, held[at].page, held[at].order);
            held[at] = held[count - 1];
            count--;
        }
    }
    while (count > 0) {
        count--;
        pawl_arena_give(&arena, held[count].page, held[count].order);
    }
    assert_int_equal(pawl_arena_free_bytes(&arena), all);
    assert_true(released_bytes > 0);
    assert_int_not_equal(pawl_arena_take(&arena, 8, 0), PAWL_ARENA_NONE); /* merged again */
    pawl_arena_deinit(&arena);
    free(region);
}

static void the_ceiling_and_the_reserve_hold(void **state)
{
    void *region = region_create(PAWL_ARENA_BYTES_MIN);
    struct pawl_arena arena;
    unsigned taken = 0;

    (void)state;
    assert_int_equal(pawl_arena_init(&arena, region, PAWL_ARENA_BYTES_MIN, NULL), PAWL_OK);
    while (pawl_arena_take(&arena, 0, 5) != PAWL_ARENA_NONE) {
        taken++;
    }
    assert_int_equal(taken, 16 - 1 - 5);
    while (pawl_arena_take(&arena, 0, 0) != PAWL_ARENA_NONE) {
        taken++;
    }
    assert_int_equal(taken, 15);
    assert_int_equal(pawl_arena_free_bytes(&arena), 0);
    assert_int_equal(pawl_arena_take(&arena, 30, 0), PAWL_ARENA_NONE);
    pawl_arena_deinit(&arena);
    free(region);
}

static void a_region_out_of_bounds_is_refused(void **state)
{
    uint8_t *region = region_create(PAWL_ARENA_BYTES_MIN * 2UL);
    struct pawl_arena arena;

    (void)state;
    assert_int_equal(pawl_arena_init(&arena, NULL, PAWL_ARENA_BYTES_MIN, NULL), PAWL_EINVAL);
    assert_int_equal(pawl_arena_init(&arena, region + 8, PAWL_ARENA_BYTES_MIN, NULL), PAWL_EINVAL);
    assert_int_equal(pawl_arena_init(&arena, region, PAWL_ARENA_BYTES_MIN - 1, NULL), PAWL_EINVAL);
    assert_int_equal(pawl_arena_init(&arena, region, (size_t)PAWL_ARENA_BYTES_MAX + 1, NULL),
                     PAWL_EINVAL);
    free(region);
}

static void records_of_all_sizes_keep_apart_and_empty_pages_return(void **state)
{
    void *region = region_create(REGION);
    struct pawl_arena arena;
    struct pawl_slab slab;
    struct pawl_window *held[400];
    size_t sizes[400];
    size_t count = 0;
    uint64_t random = 11;

    (void)state;
    assert_int_equal(pawl_arena_init(&arena, region, REGION, on_release), PAWL_OK);
    uint64_t all = pawl_arena_free_bytes(&arena);

    pawl_slab_init(&slab, &arena);
    for (unsigned i = 0; i < 30000; i++) {
        uint64_t dice = next_random(&random);

        if (dice % 2 == 0 && count < 400) {
            size_t want =
                (dice >> 8) % 50 == 0 ? (size_t)(dice >> 16) % 37000 : (size_t)(dice >> 16) % 700;
            size_t size = 0;
            struct pawl_window *record = pawl_slab_take(&slab, want, 0, &size);

            if (record == NULL) {
                continue;
            }
            assert_true(size >= want && (uintptr_t)record % 8 == 0);
            memset(record, (int)(count | 1) & 0xff, size);
            record->id.lo = (uintptr_t)record;
            held[count] = record;
            sizes[count] = size;
            count++;
            if (dice % 8 == 0) {
                pawl_slab_mark(&slab, record);
            }
        } else if (count > 0) {
            size_t at = (size_t)(dice >> 8) % count;
            const uint8_t *bytes = (const uint8_t *)held[at];

            if (held[at]->id.lo != (uintptr_t)held[at] || bytes[sizes[at] - 1] != bytes[0]) {
                fail_msg("seed 11 step %u: a record was overwritten", i);
            }
            pawl_slab_give(&slab, held[at]);
            held[at] = held[count - 1];
            sizes[at] = sizes[count - 1];
            count--;
        }
    }
    while (count > 0) {
        count--;
        pawl_slab_give(&slab, held[count]);
    }
    assert_int_equal(slab.bytes, 0);
    assert_int_equal(slab.all, PAWL_ARENA_NONE);
    assert_int_equal(slab.dirty, PAWL_ARENA_NONE);
    assert_int_equal(pawl_arena_free_bytes(&arena), all);
    pawl_arena_deinit(&arena);
    free(region);
}

static void a_page_holds_eleven_full_records_of_cost_one_and_lines_are_whole(void **state)
{
    void *region = region_create(REGION);
    struct pawl_arena arena;
    struct pawl_slab slab;
    size_t size = 0;

    (void)state;
    assert_int_equal(pawl_arena_init(&arena, region, REGION, NULL), PAWL_OK);
    pawl_slab_init(&slab, &arena);
    for (unsigned i = 0; i < 11; i++) {
        assert_non_null(pawl_slab_take(&slab, pawl_window_size(64, false), 0, &size));
        assert_int_equal(size, 368);
    }
    assert_int_equal(slab.bytes, PAWL_ARENA_PAGE);
    for (unsigned i = 0; i < 63; i++) {
        struct pawl_window *record = pawl_slab_take(&slab, PAWL_WINDOW_BYTES_MIN, 0, &size);

        assert_int_equal((uintptr_t)record % 64, 0);
        assert_int_equal(size, 64);
    }
    assert_int_equal(slab.bytes, 2UL * PAWL_ARENA_PAGE);
    pawl_arena_deinit(&arena);
    free(region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_never_overlap_and_all_come_back),
        cmocka_unit_test(the_ceiling_and_the_reserve_hold),
        cmocka_unit_test(a_region_out_of_bounds_is_refused),
        cmocka_unit_test(records_of_all_sizes_keep_apart_and_empty_pages_return),
        cmocka_unit_test(a_page_holds_eleven_full_records_of_cost_one_and_lines_are_whole),
    };

    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
