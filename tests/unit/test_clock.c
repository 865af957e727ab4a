#include "adapter/sys/clock.h"

#include <pthread.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static uint64_t boot_ns;
static uint64_t wall_ns;
static uint64_t stall_ns; /* the next reading of civil time takes so long */

static int fake_gettime(clockid_t which, struct timespec *out)
{
    uint64_t ns = which == CLOCK_BOOTTIME ? boot_ns : wall_ns;

    out->tv_sec = (time_t)(ns / 1000000000);
    out->tv_nsec = (long)(ns % 1000000000);
    if (which == CLOCK_REALTIME) {
        boot_ns += stall_ns;
        wall_ns += stall_ns;
        stall_ns = 0;
    }
    return 0;
}

static struct pawl_sys_clock self;
static struct pawl_clock sys;

static int setup(void **state)
{
    (void)state;
    boot_ns = UINT64_C(100) * 1000000000;
    wall_ns = UINT64_C(1700000000) * 1000000000;
    stall_ns = 0;
    pawl_sys_clock_init(&self, &sys, fake_gettime);
    return 0;
}

static void the_stamp_begins_at_civil_time(void **state)
{
    struct pawl_now now = pawl_clock_read(&sys);

    (void)state;
    assert_int_equal(now.instant.ns, boot_ns);
    assert_int_equal(now.wall.unix_s, 1700000000);
    assert_int_equal(now.stamp.us, wall_ns / 1000);
}

static void a_civil_clock_set_back_does_not_take_the_stamp_along_nor_stop_it(void **state)
{
    struct pawl_now before = pawl_clock_read(&sys);

    (void)state;
    wall_ns -= UINT64_C(3600) * 1000000000;
    struct pawl_now after = pawl_clock_read(&sys);

    assert_int_equal(after.stamp.us, before.stamp.us);
    assert_int_equal(after.wall.unix_s, before.wall.unix_s - 3600);
    boot_ns += UINT64_C(5) * 1000000000;
    wall_ns += UINT64_C(5) * 1000000000;
    after = pawl_clock_read(&sys);
    assert_int_equal(after.stamp.us, before.stamp.us + 5000000);
}

static void a_civil_clock_set_on_takes_the_stamp_along(void **state)
{
    (void)state;
    (void)pawl_clock_read(&sys);
    wall_ns += UINT64_C(60) * 1000000000;
    assert_int_equal(pawl_clock_read(&sys).stamp.us, wall_ns / 1000);
}

static void the_stamp_can_be_raised_and_never_lowered(void **state)
{
    uint64_t high = wall_ns / 1000 + 7000000;

    (void)state;
    (void)pawl_clock_read(&sys);
    sys.raise(sys.self, (struct pawl_stamp){ high });
    assert_int_equal(pawl_clock_read(&sys).stamp.us, high);
    sys.raise(sys.self, (struct pawl_stamp){ 5 });
    assert_int_equal(pawl_clock_read(&sys).stamp.us, high);
    sys.raise(sys.self, (struct pawl_stamp){ UINT64_MAX });
    assert_int_equal(pawl_clock_read(&sys).stamp.us, high);
}

static void a_thread_put_aside_while_reading_does_not_push_the_stamp_on(void **state)
{
    (void)state;
    (void)pawl_clock_read(&sys);
    stall_ns = UINT64_C(300) * 1000000;
    (void)pawl_clock_read(&sys);
    assert_int_equal(pawl_clock_read(&sys).stamp.us, wall_ns / 1000);
}

static void *read_many(void *data)
{
    struct pawl_clock *clock = data;
    uint64_t last = 0;

    for (unsigned i = 0; i < 20000; i++) {
        uint64_t us = pawl_clock_read(clock).stamp.us;

        if (us < last) {
            return clock;
        }
        last = us;
    }
    return NULL;
}

static void the_real_stamp_never_goes_back_on_any_thread(void **state)
{
    pthread_t threads[4];

    (void)state;
    pawl_sys_clock_init(&self, &sys, NULL);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_many, &sys), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        void *went_back = NULL;

        (void)pthread_join(threads[i], &went_back);
        assert_null(went_back);
    }
}

static void the_boot_id_is_the_same_twice(void **state)
{
    uint8_t a[PAWL_BOOT_ID_BYTES];
    uint8_t b[PAWL_BOOT_ID_BYTES];
    static const uint8_t zero[PAWL_BOOT_ID_BYTES];

    (void)state;
    assert_int_equal(pawl_sys_boot_id(a), PAWL_OK);
    assert_int_equal(pawl_sys_boot_id(b), PAWL_OK);
    assert_memory_equal(a, b, sizeof(a));
    assert_memory_not_equal(a, zero, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_stamp_begins_at_civil_time, setup),
        cmocka_unit_test_setup(a_civil_clock_set_back_does_not_take_the_stamp_along_nor_stop_it,
                               setup),
        cmocka_unit_test_setup(a_civil_clock_set_on_takes_the_stamp_along, setup),
        cmocka_unit_test_setup(the_stamp_can_be_raised_and_never_lowered, setup),
        cmocka_unit_test_setup(a_thread_put_aside_while_reading_does_not_push_the_stamp_on, setup),
        cmocka_unit_test_setup(the_real_stamp_never_goes_back_on_any_thread, setup),
        cmocka_unit_test_setup(the_boot_id_is_the_same_twice, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
