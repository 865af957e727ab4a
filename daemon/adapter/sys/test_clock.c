#include "adapter/sys/test_clock.h"

static struct pawl_now test_read(void *data)
{
    struct pawl_test_clock *self = data;
    uint64_t now_ms = atomic_load(&self->now_ms);

    if (now_ms == 0) {
        struct pawl_now now = pawl_clock_read(&self->machine);

        now.instant.ns = now.stamp.us * 1000; /* one scale for all three */
        return now;
    }
    return (
        struct pawl_now){ { now_ms * 1000000 }, { (int64_t)(now_ms / 1000) }, { now_ms * 1000 } };
}

static void test_raise(void *data, struct pawl_stamp floor)
{
    pawl_test_clock_set(data, floor.us / 1000);
}

void pawl_test_clock_init(struct pawl_test_clock *self, struct pawl_clock *clock,
                          const struct pawl_clock *machine)
{
    atomic_init(&self->now_ms, 0);
    self->machine = *machine;
    clock->read = test_read;
    clock->raise = test_raise;
    clock->self = self;
}

void pawl_test_clock_set(void *clock_self, uint64_t now_ms)
{
    struct pawl_test_clock *self = clock_self;
    uint64_t seen = atomic_load(&self->now_ms);

    while (now_ms > seen && !atomic_compare_exchange_weak(&self->now_ms, &seen, now_ms)) {
        /* seen was reloaded */
    }
}
