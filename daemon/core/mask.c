#include "core/mask.h"

#include <string.h>

#define SHOWN_MAX   2
#define DIGITS      8
#define V6_TEXT_MAX 45 /* the longest form of an IPv6 address */

static size_t put_hex(char *out, uint32_t value, unsigned digits)
{
    for (unsigned i = 0; i < digits; i++) {
        out[i] = "0123456789abcdef"[(value >> (4 * (digits - 1 - i))) & 15];
    }
    return digits;
}

static size_t put_hash(char *out, uint64_t hash)
{
    memset(out, '*', 3);
    return 3 + put_hex(out + 3, (uint32_t)hash, DIGITS);
}

/* ---- addresses ----------------------------------------------------------------------------- */

/* Length of the first two numbers of a dotted quad with their dots; 0 if @text is none. */
static size_t v4_half(struct pawl_bytes text)
{
    unsigned value = 0, digits = 0, dots = 0;
    size_t half = 0;

    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '.' && digits > 0) {
            dots++;
            half = dots == 2 ? i + 1 : half;
            value = digits = 0;
        } else if (text.data[i] >= '0' && text.data[i] <= '9' && digits < 3) {
            value = value * 10 + (unsigned)(text.data[i] - '0');
            digits++;
        } else {
            return 0;
        }
        if (dots > 3 || value > 255) {
            return 0;
        }
    }
    return dots == 3 && digits > 0 ? half : 0;
}

static int hex_value(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte = byte | 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* One run of groups, "2001:db8:1", from @text on. Returns how many, -1 if it is none. */
static int v6_groups(struct pawl_bytes text, uint16_t groups[8])
{
    unsigned count = 0, digits = 0;
    uint32_t value = 0;

    if (text.size == 0) {
        return 0;
    }
    for (size_t i = 0; i <= text.size; i++) {
        int digit = i < text.size ? hex_value(text.data[i]) : -1;

        if (digit >= 0 && digits < 4) {
            value = value * 16 + (uint32_t)digit;
            digits++;
        } else if ((i == text.size || text.data[i] == ':') && digits > 0 && count < 8) {
            groups[count++] = (uint16_t)value;
            value = digits = 0;
        } else {
            return -1;
        }
    }
    return (int)count;
}

/* The first four groups of an IPv6 address, "::" filled in. A dotted quad at its end, a zone and a
 * prefix length ("/64") are left to the general way or cut: what is shown is a half at most. */
static bool v6_half(struct pawl_bytes text, uint16_t half[4])
{
    uint16_t front[8] = { 0 }, back[8] = { 0 };
    const uint8_t *slash = text.size > 0 ? memchr(text.data, '/', text.size) : NULL;
    size_t gap = 0;

    text.size = slash != NULL ? (size_t)(slash - text.data) : text.size;
    if (text.size < 2 || text.size > V6_TEXT_MAX) {
        return false;
    }
    while (gap + 1 < text.size && !(text.data[gap] == ':' && text.data[gap + 1] == ':')) {
        gap++;
    }
    bool has_gap = gap + 1 < text.size;
    int first = v6_groups(pawl_bytes_of(text.data, has_gap ? gap : text.size), front);
    int last =
        has_gap ? v6_groups(pawl_bytes_of(text.data + gap + 2, text.size - gap - 2), back) : 0;

    if (first < 0 || last < 0 || (has_gap ? first + last > 7 : first != 8)) {
        return false;
    }
    for (int i = 0; i < last; i++) {
        front[8 - last + i] = back[i];
    }
    memcpy(half, front, 4 * sizeof(half[0]));
    return true;
}

static size_t put_v6_half(char *out, const uint16_t half[4])
{
    size_t size = 0;

    for (unsigned i = 0; i < 4; i++) {
        unsigned digits = 1;

        while (digits < 4 && half[i] >> (4 * digits) != 0) {
            digits++;
        }
        size += put_hex(out + size, half[i], digits);
        out[size++] = ':';
    }
    return size;
}

/* ---- any value ----------------------------------------------------------------------------- */

static size_t put_shown(char *out, struct pawl_bytes value)
{
    uint16_t half[4];
    size_t size = v4_half(value);

    if (size > 0) {
        memcpy(out, value.data, size);
        return size;
    }
    if (v6_half(value, half)) {
        return put_v6_half(out, half);
    }
    size = value.size / 2 < SHOWN_MAX ? value.size / 2 : SHOWN_MAX;
    for (size_t i = 0; i < size; i++) {
        bool is_plain = value.data[i] > 0x20 && value.data[i] < 0x7f && value.data[i] != '|';

        out[i] = (char)(is_plain ? value.data[i] : (uint8_t)'?');
    }
    return size;
}

/* v4: 8 + 11; v6: 20 + 11; others: 2 + 11 */
_Static_assert(PAWL_MASK_BYTES > 4 * 5 + 3 + DIGITS, "room for half an IPv6 address and digits");

size_t pawl_mask(const struct pawl_subkey *key, struct pawl_bytes value, char out[PAWL_MASK_BYTES])
{
    size_t size = 0;

    if (value.size > 0) {
        size = put_shown(out, value);
        size += put_hash(out + size, pawl_keyhash64(key, value.data, value.size));
    }
    out[size] = '\0';
    return size;
}

/* The parts that found no room: a hash over their hashes. */
static uint64_t hash_rest(const struct pawl_subkey *key, const struct pawl_bytes *parts,
                          size_t count)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t both[2] = { sum, pawl_keyhash64(key, parts[i].data, parts[i].size) };

        sum = pawl_keyhash64(key, both, sizeof(both));
    }
    return sum;
}

size_t pawl_mask_parts(const struct pawl_subkey *key, const struct pawl_bytes *parts, size_t count,
                       char *out, size_t capacity)
{
    size_t size = 0;

    for (size_t i = 0; i < count; i++) {
        /* Room for this one, and for the rest as one behind it. */
        if (capacity - size < (i + 1 < count ? 2 : 1) * (size_t)PAWL_MASK_BYTES) {
            size += put_hash(out + size, hash_rest(key, parts + i, count - i));
            out[size] = '\0';
            return size;
        }
        size += pawl_mask(key, parts[i], out + size);
        if (i + 1 < count) {
            out[size++] = '|';
        }
    }
    out[size] = '\0';
    return size;
}
