#include "pawl/v1/frame.h"

enum pawl_status pawl_frame_next(const uint8_t *data, size_t size, size_t size_max,
                                 struct pawl_bytes *message, size_t *needed)
{
    size_t wanted = PAWL_FRAME_HEADER_BYTES;

    if (PAWL_LIKELY(size >= PAWL_FRAME_HEADER_BYTES)) {
        size_t length =
            (size_t)data[0] << 24 | (size_t)data[1] << 16 | (size_t)data[2] << 8 | (size_t)data[3];

        if (length == 0) {
            return PAWL_EINVAL;
        }
        if (length > size_max) {
            return PAWL_ETOOBIG;
        }
        if (length <= size - PAWL_FRAME_HEADER_BYTES) {
            *message = pawl_bytes_of(data + PAWL_FRAME_HEADER_BYTES, length);
            return PAWL_OK;
        }
        wanted += length; /* cannot wrap: length is at most size_max, a size of memory */
    }
    if (needed != NULL) {
        *needed = wanted;
    }
    return PAWL_EAGAIN;
}

void pawl_frame_header(uint8_t *out, size_t size)
{
    out[0] = (uint8_t)(size >> 24);
    out[1] = (uint8_t)(size >> 16);
    out[2] = (uint8_t)(size >> 8);
    out[3] = (uint8_t)size;
}
