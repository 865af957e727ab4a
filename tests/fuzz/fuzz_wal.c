/*
 * The check of a write-ahead log: any bytes; and a log with good checksums, then cut and damaged
 * as the input says.
 *
 * What must hold: it reads inside the input, frames add up, a log that is good stays good when it
 * is cut, and one with a bad frame is never counted as longer than up to it.
 */
#include "adapter/sqlite/walcheck.h"
#include "fuzz/require.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAGE      512
#define FRAME     (24 + PAGE)
#define FRAMES    6
#define HEADER    32
#define LOG_BYTES (HEADER + FRAMES * FRAME)

static void put(uint8_t *out, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        out[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

static uint32_t get(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

static void sum(uint32_t s[2], const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        s[0] += get(data + i) + s[1];
        s[1] += get(data + i + 4) + s[0];
    }
}

/* A good log of FRAMES frames; bit i of @commits: frame i ends a transaction. */
static void make_log(uint8_t log[LOG_BYTES], uint8_t commits)
{
    uint32_t s[2] = { 0, 0 };

    memset(log, 0x5a, LOG_BYTES);
    put(log, 0x377f0683);
    put(log + 4, 3007000);
    put(log + 8, PAGE);
    sum(s, log, 24);
    put(log + 24, s[0]);
    put(log + 28, s[1]);
    for (unsigned i = 0; i < FRAMES; i++) {
        uint8_t *frame = log + HEADER + i * FRAME;

        put(frame, i + 1);
        put(frame + 4, (commits >> i & 1) != 0 ? 9 : 0);
        memcpy(frame + 8, log + 16, 8);
        sum(s, frame, 8);
        sum(s, frame + 24, PAGE);
        put(frame + 16, s[0]);
        put(frame + 20, s[1]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pawl_walcheck out;
    uint8_t log[LOG_BYTES];

    if (pawl_walcheck(pawl_bytes_of(data, size), &out) == PAWL_OK) {
        require(out.frames * FRAME <= size && out.commits <= out.frames);
    }
    if (size < 6) {
        return 0;
    }
    size_t length = (size_t)(data[1] << 8 | data[2]) % (LOG_BYTES + 1);
    size_t at = (size_t)(data[3] << 8 | data[4]) % LOG_BYTES;

    make_log(log, data[0]);
    require(pawl_walcheck(pawl_bytes_of(log, length), &out) == PAWL_OK);
    require(out.frames == (length < HEADER ? 0 : (length - HEADER) / FRAME));
    log[at] ^= data[5];
    enum pawl_status status = pawl_walcheck(pawl_bytes_of(log, LOG_BYTES), &out);

    if (data[5] == 0) {
        require(status == PAWL_OK && out.frames == FRAMES);
    } else if (at < HEADER) {
        require(status == PAWL_ECORRUPT);
    } else {
        require(out.frames == (at - HEADER) / FRAME && out.bad_frame == out.frames);
    }
    return 0;
}
