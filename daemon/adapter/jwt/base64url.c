#include "adapter/jwt/base64url.h"

#define BAD 64

static const char alphabet[64] = { 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M',
                                   'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z',
                                   'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm',
                                   'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z',
                                   '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '-', '_' };

static const uint8_t values[256] = {
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62, 64, 64,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64, 64, 0,  1,  2,  3,  4,  5,  6,
    7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64, 63,
    64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48,
    49, 50, 51, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
};

/* The last 2 or 3 characters. */
static bool decode_tail(const uint8_t *in, size_t left, uint8_t *out, size_t *size)
{
    unsigned a = values[in[0]];
    unsigned b = values[in[1]];
    unsigned c = left == 3 ? values[in[2]] : 0;
    unsigned unused = left == 3 ? c & 3 : b & 15;

    if (((a | b | c) & BAD) != 0 || unused != 0) {
        return false;
    }
    out[(*size)++] = (uint8_t)(a << 2 | b >> 4);
    if (left == 3) {
        out[(*size)++] = (uint8_t)(b << 4 | c >> 2);
    }
    return true;
}

bool pawl_base64url_decode(struct pawl_bytes text, uint8_t *out, size_t *size)
{
    size_t done = 0;
    size_t at = 0;
    unsigned seen = 0;

    for (; at + 4 <= text.size; at += 4) {
        unsigned a = values[text.data[at]];
        unsigned b = values[text.data[at + 1]];
        unsigned c = values[text.data[at + 2]];
        unsigned d = values[text.data[at + 3]];

        seen |= a | b | c | d;
        out[done++] = (uint8_t)(a << 2 | b >> 4);
        out[done++] = (uint8_t)(b << 4 | c >> 2);
        out[done++] = (uint8_t)(c << 6 | d);
    }
    if ((seen & BAD) != 0 || text.size - at == 1 ||
        (at < text.size && !decode_tail(text.data + at, text.size - at, out, &done))) {
        return false;
    }
    *size = done;
    return true;
}

size_t pawl_base64url_encode(struct pawl_bytes data, char *out)
{
    size_t done = 0;
    size_t at = 0;

    for (; at < data.size; at += 3) {
        size_t left = data.size - at;
        unsigned word = (unsigned)data.data[at] << 16 |
                        (left > 1 ? (unsigned)data.data[at + 1] << 8 : 0) |
                        (left > 2 ? (unsigned)data.data[at + 2] : 0);

        out[done++] = alphabet[word >> 18];
        out[done++] = alphabet[word >> 12 & 63];
        if (left > 1) {
            out[done++] = alphabet[word >> 6 & 63];
        }
        if (left > 2) {
            out[done++] = alphabet[word & 63];
        }
    }
    return done;
}
