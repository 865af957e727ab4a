/*
 * Framing: the first byte chooses the cap, the rest is a stream cut into frames.
 *
 * What must hold: a message lies inside the input, the bytes asked for are the bytes needed, a
 * header written for the message is the one that was read, and a verdict once given for a prefix
 * does not change when more bytes arrive.
 */
#include "fuzz/require.h"
#include "pawl/v1/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_found(const uint8_t *data, size_t size, size_t size_max,
                        struct pawl_bytes message)
{
    uint8_t header[PAWL_FRAME_HEADER_BYTES];
    struct pawl_bytes again;

    require(message.data == data + PAWL_FRAME_HEADER_BYTES);
    require(message.size > 0 && message.size <= size_max);
    require(message.size <= size - PAWL_FRAME_HEADER_BYTES);
    pawl_frame_header(header, message.size);
    require(memcmp(header, data, sizeof(header)) == 0);
    require(pawl_frame_next(data, PAWL_FRAME_HEADER_BYTES + message.size, size_max, &again, NULL) ==
            PAWL_OK);
    require(again.data == message.data && again.size == message.size);
    require(pawl_frame_next(data, PAWL_FRAME_HEADER_BYTES + message.size - 1, size_max, &again,
                            NULL) == PAWL_EAGAIN);
}

static void check_needed(const uint8_t *data, size_t size, size_t size_max, size_t needed)
{
    require(needed > size && needed <= PAWL_FRAME_HEADER_BYTES + size_max);
    require(size < PAWL_FRAME_HEADER_BYTES ? needed == PAWL_FRAME_HEADER_BYTES
                                           : needed > PAWL_FRAME_HEADER_BYTES);
    (void)data;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t size_max = size > 0 && data[0] % 2 == 1 ? PAWL_REPLY_BYTES_MAX : PAWL_REQUEST_BYTES_MAX;

    data += size > 0;
    size -= size > 0;
    for (;;) {
        struct pawl_bytes message = { NULL, 0 };
        size_t needed = 0;
        enum pawl_status status = pawl_frame_next(data, size, size_max, &message, &needed);

        if (status == PAWL_EAGAIN) {
            check_needed(data, size, size_max, needed);
            return 0;
        }
        if (status != PAWL_OK) {
            require(size >= PAWL_FRAME_HEADER_BYTES);
            require(pawl_frame_next(data, PAWL_FRAME_HEADER_BYTES, size_max, &message, NULL) ==
                    status);
            return 0;
        }
        check_found(data, size, size_max, message);
        data += PAWL_FRAME_HEADER_BYTES + message.size;
        size -= PAWL_FRAME_HEADER_BYTES + message.size;
    }
}
