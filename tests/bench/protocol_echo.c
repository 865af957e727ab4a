#include "protocols.h"

static size_t echo_write(void *state, uint32_t slot, uint32_t place, uint8_t *out)
{
    struct bench_echo *echo = state;

    return echo->frames.write(echo->frames.state, slot, place, out);
}

static size_t echo_read(void *state, uint32_t base, const uint8_t *data, size_t size,
                        struct load_answer *answer)
{
    const struct bench_echo *echo = state;

    (void)base;
    (void)data;
    if (size < echo->reply_bytes) {
        return LOAD_MORE;
    }
    answer->outcome = LOAD_ANSWERED;
    return echo->reply_bytes;
}

struct load_protocol bench_echo_protocol(struct bench_echo *echo)
{
    struct load_protocol protocol = { .state = echo, .write = echo_write, .read = echo_read };

    return protocol;
}
