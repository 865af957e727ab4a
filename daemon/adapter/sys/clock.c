#include "adapter/sys/clock.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READS_MAX 4
#define SPREAD_NS 20000

static uint64_t read_ns(struct pawl_sys_clock *self, clockid_t which)
{
    struct timespec at = { 0, 0 };

    if (self->gettime(which, &at) != 0) {
        abort(); /* both clocks exist on every Linux since 2.6.39 */
    }
    if (at.tv_sec < 0) {
        return 0; /* civil time before 1970: a machine whose clock was never set */
    }
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

/* Raise the offset to at least @offset_us; the one that holds afterwards. */
static int64_t offset_raise(struct pawl_sys_clock *self, int64_t offset_us)
{
    int64_t held = atomic_load_explicit(&self->offset_us, memory_order_relaxed);

    while (held < offset_us) {
        if (atomic_compare_exchange_weak_explicit(&self->offset_us, &held, offset_us,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return offset_us;
        }
    }
    return held;
}

/*
 * Civil time is read between two readings of BOOTTIME. A thread that is put aside between them
 * would see a distance that is too large, and the stamp would keep it for ever; so the later
 * BOOTTIME counts (the distance comes out too small), and a wide pair is read again.
 */
static struct pawl_now clock_read(void *data)
{
    struct pawl_sys_clock *self = data;
    uint64_t before = read_ns(self, CLOCK_BOOTTIME);
    uint64_t wall = 0;
    uint64_t after = before;

    for (unsigned i = 0; i < READS_MAX; i++) {
        wall = read_ns(self, CLOCK_REALTIME);
        after = read_ns(self, CLOCK_BOOTTIME);
        if (after - before <= SPREAD_NS) {
            break;
        }
        before = after;
    }
    int64_t boot_us = (int64_t)(after / 1000);
    int64_t offset_us = offset_raise(self, (int64_t)(wall / 1000) - boot_us);
    int64_t stamp_us = boot_us + offset_us;

    return (struct pawl_now){
        .instant = { .ns = after },
        .wall = { .unix_s = (int64_t)(wall / 1000000000u) },
        .stamp = { .us = stamp_us > 0 ? (uint64_t)stamp_us : 0 },
    };
}

static void clock_raise(void *data, struct pawl_stamp floor)
{
    struct pawl_sys_clock *self = data;
    int64_t boot_us = (int64_t)(read_ns(self, CLOCK_BOOTTIME) / 1000);

    if (floor.us <= INT64_MAX) {
        (void)offset_raise(self, (int64_t)floor.us - boot_us);
    }
}

void pawl_sys_clock_init(struct pawl_sys_clock *self, struct pawl_clock *clock,
                         int (*gettime)(clockid_t which, struct timespec *out))
{
    self->gettime = gettime != NULL ? gettime : clock_gettime;
    atomic_init(&self->offset_us, INT64_MIN);
    *clock = (struct pawl_clock){ .read = clock_read, .raise = clock_raise, .self = self };
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum pawl_status pawl_sys_boot_id(uint8_t boot_id[PAWL_BOOT_ID_BYTES])
{
    char text[64];
    unsigned digits = 0;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text));

    if (fd >= 0) {
        (void)close(fd);
    }
    memset(boot_id, 0, PAWL_BOOT_ID_BYTES);
    for (ssize_t i = 0; i < size && digits < 2 * PAWL_BOOT_ID_BYTES; i++) {
        int digit = hex_digit(text[i]);

        if (digit >= 0) {
            boot_id[digits / 2] = (uint8_t)(boot_id[digits / 2] << 4 | digit);
            digits++;
        }
    }
    if (digits != 2 * PAWL_BOOT_ID_BYTES) {
        memset(boot_id, 0, PAWL_BOOT_ID_BYTES);
        return PAWL_EIO;
    }
    return PAWL_OK;
}
