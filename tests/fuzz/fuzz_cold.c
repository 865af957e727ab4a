/*
 * The cold reader: bit 0 of the first byte says request or reply, bit 1 a small arena; the rest is
 * the message.
 *
 * What must hold: nothing outside the arena is touched (ASan), a message that was taken packs, and
 * what was packed is taken again and packs to the same bytes.
 */
#include "fuzz/require.h"
#include "fuzz/wire_oddities.h"
#include "pawl/v1/cold.h"
#include "pawl/v1/frame.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES       (8U << 20)
#define SMALL_ARENA_BYTES 2048
#define OUT_BYTES         (2U << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t repack(struct pawl_cold_arena *arena, bool is_request, struct pawl_bytes message,
                     uint8_t *out)
{
    Pawl__V1__Request *request;
    Pawl__V1__Reply *reply;

    pawl_cold_arena_reset(arena);
    if (is_request) {
        if (pawl_cold_read_request(arena, message, &request) != PAWL_OK) {
            require(request == NULL);
            return 0;
        }
        return pawl_cold_write_request(out, OUT_BYTES, request);
    }
    if (pawl_cold_read_reply(arena, message, &reply) != PAWL_OK) {
        require(reply == NULL);
        return 0;
    }
    return pawl_cold_write_reply(out, OUT_BYTES, reply);
}

static void check_again(struct pawl_cold_arena *arena, bool is_request, const uint8_t *first,
                        size_t size)
{
    static uint8_t second[OUT_BYTES];
    struct pawl_bytes message = { NULL, 0 };

    if (size == PAWL_FRAME_HEADER_BYTES) {
        return; /* everything was zero: not a frame that anybody sends */
    }
    require(pawl_frame_next(first, size, PAWL_REPLY_BYTES_MAX, &message, NULL) == PAWL_OK);
    if ((odd_message(is_request ? &pawl__v1__request__descriptor : &pawl__v1__reply__descriptor,
                     message) &
         ODD_NUMBER) != 0) {
        return; /* protobuf-c 1.4.1 reads the number 0 in two bytes, packs it in one, refuses that
                 */
    }
    require(repack(arena, is_request, message, second) == size);
    require(memcmp(first, second, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *memory;
    static uint8_t *out;
    struct pawl_cold_arena arena;
    uint8_t *small;

    if (size == 0) {
        return 0;
    }
    if (memory == NULL) {
        memory = malloc(ARENA_BYTES);
        out = malloc(OUT_BYTES);
        require(memory != NULL && out != NULL);
    }
    if ((data[0] & 2) != 0) {
        small = malloc(SMALL_ARENA_BYTES);
        require(small != NULL);
        pawl_cold_arena_init(&arena, small, SMALL_ARENA_BYTES);
        (void)repack(&arena, (data[0] & 1) == 0, pawl_bytes_of(data + 1, size - 1), out);
        free(small);
        return 0;
    }
    pawl_cold_arena_init(&arena, memory, ARENA_BYTES);
    size_t written = repack(&arena, (data[0] & 1) == 0, pawl_bytes_of(data + 1, size - 1), out);

    if (written > 0) {
        check_again(&arena, (data[0] & 1) == 0, out, written);
    }
    return 0;
}
