#include "core/mask.h"

#include <string.h>

#define SHOWN_CHARACTERS 2
#define HIDDEN_MIN       2 /* characters that have to stay hidden for any to be shown */
#define HASH_DIGITS      8
#define V6_GROUPS        8
#define V6_SHOWN         4

/** Text under way; PAWL_MASKED_BYTES is enough for all that is put. */
struct out {
    char *data;
    size_t used;
};

static void put(struct out *out, char c)
{
    out->data[out->used++] = c;
}

static void put_hex(struct out *out, uint64_t value, unsigned digits)
{
    for (unsigned i = digits; i-- > 0;) {
        put(out, "0123456789abcdef"[(value >> (4 * i)) & 15]);
    }
}

/* ---- IP addresses -------------------------------------------------------------------------- */

/* How many bytes "a.b" of "a.b.c.d" has; 0 = not an IPv4 address. */
static size_t v4_half(struct pawl_bytes value)
{
    unsigned dots = 0;
    unsigned number = 0;
    unsigned digits = 0;
    size_t half = 0;

    for (size_t i = 0; i < value.size; i++) {
        uint8_t c = value.data[i];

        if (c >= '0' && c <= '9' && digits < 3) {
            number = number * 10 + (unsigned)(c - '0');
            digits++;
        } else if (c == '.' && digits > 0 && number <= 255) {
            dots++;
            half = dots == 2 ? i : half;
            number = 0;
            digits = 0;
        } else {
            return 0;
        }
    }
    return dots == 3 && digits > 0 && number <= 255 ? half : 0;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One group of hex digits at @at; returns the digits, 0 = none, 5 = too many. */
static unsigned v6_group(struct pawl_bytes value, size_t at, uint16_t *group)
{
    unsigned digits = 0;
    unsigned number = 0;

    while (at + digits < value.size && digits < 5 && hex_value(value.data[at + digits]) >= 0) {
        number = number * 16 + (unsigned)hex_value(value.data[at + digits]);
        digits++;
    }
    *group = (uint16_t)number;
    return digits;
}

/*
 * The first half of an IPv6 address, "::" filled in; false = it is none. A tail in the form of IPv4
 * counts as two groups, whatever it says: it lies in the half that is hidden.
 */
static bool v6_half(struct pawl_bytes value, uint16_t half[V6_GROUPS])
{
    unsigned count = 0;
    unsigned gap = V6_GROUPS + 1; /* in front of which group "::" stands */
    size_t at = 0;

    if (value.size >= 2 && value.data[0] == ':' && value.data[1] == ':') {
        gap = 0;
        at = 2;
    }
    while (at < value.size && count < V6_GROUPS) {
        struct pawl_bytes rest = { value.data + at, value.size - at };
        unsigned digits = v6_group(value, at, &half[count]);

        if (digits > 0 && v4_half(rest) > 0 && count + 2 <= V6_GROUPS) {
            half[count] = half[count + 1] = 0;
            count += 2;
            at = value.size;
            break;
        }
        if (digits == 0 || digits > 4) {
            return false;
        }
        count++;
        at += digits;
        if (at == value.size) {
            break;
        }
        if (value.data[at++] != ':' || at == value.size) {
            return false;
        }
        if (value.data[at] == ':') {
            if (gap <= V6_GROUPS) {
                return false;
            }
            gap = count;
            at++;
        }
    }
    if (at < value.size || (gap > V6_GROUPS ? count != V6_GROUPS : count >= V6_GROUPS)) {
        return false;
    }
    if (gap <= V6_GROUPS) {
        unsigned fill = V6_GROUPS - count;

        memmove(half + gap + fill, half + gap, (count - gap) * sizeof(half[0]));
        memset(half + gap, 0, fill * sizeof(half[0]));
    }
    return true;
}

static bool put_address(struct out *out, struct pawl_bytes value)
{
    uint16_t groups[V6_GROUPS] = { 0 };
    size_t half = v4_half(value);

    if (half > 0) {
        memcpy(out->data, value.data, half);
        out->used = half;
        return true;
    }
    if (!v6_half(value, groups)) {
        return false;
    }
    for (unsigned i = 0; i < V6_SHOWN; i++) {
        unsigned digits = 1;

        while (digits < 4 && groups[i] >> (4 * digits) != 0) {
            digits++;
        }
        if (i > 0) {
            put(out, ':');
        }
        put_hex(out, groups[i], digits);
    }
    return true;
}

/* ---- anything else ------------------------------------------------------------------------- */

/* Bytes of the character at @at: a whole one of UTF-8, else one byte with *printable false. */
static size_t character(struct pawl_bytes value, size_t at, bool *printable)
{
    uint8_t first = value.data[at];
    size_t size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

    *printable = first >= 0x20 && first != 0x7f;
    if (size == 0 || first > 0xf4 || size > value.size - at) {
        *printable = false;
        return 1;
    }
    for (size_t i = 1; i < size; i++) {
        if ((value.data[at + i] & 0xc0) != 0x80) {
            *printable = false;
            return 1;
        }
    }
    if (size == 1) {
        return 1;
    }
    /* Control characters, and what is no character: too long, a surrogate, beyond Unicode. */
    uint8_t second = value.data[at + 1];

    *printable = !((first == 0xc2 && second < 0xa0) || (first == 0xe0 && second < 0xa0) ||
                   (first == 0xed && second >= 0xa0) || (first == 0xf0 && second < 0x90) ||
                   (first == 0xf4 && second >= 0x90));
    return size;
}

static void put_start(struct out *out, struct pawl_bytes value)
{
    bool printable[SHOWN_CHARACTERS];
    size_t ends[SHOWN_CHARACTERS] = { 0 };
    unsigned characters = 0;
    size_t at = 0;

    while (at < value.size && characters < SHOWN_CHARACTERS + HIDDEN_MIN) {
        bool is_printable;

        at += character(value, at, &is_printable);
        if (characters < SHOWN_CHARACTERS) {
            printable[characters] = is_printable;
            ends[characters] = at;
        }
        characters++;
    }
    if (characters < SHOWN_CHARACTERS + HIDDEN_MIN) {
        return;
    }
    for (unsigned i = 0; i < SHOWN_CHARACTERS; i++) {
        size_t start = i == 0 ? 0 : ends[i - 1];

        if (!printable[i]) {
            put(out, '?');
            continue;
        }
        memcpy(out->data + out->used, value.data + start, ends[i] - start);
        out->used += ends[i] - start;
    }
}

size_t pawl_mask(const struct pawl_subkey *mask, struct pawl_bytes value, char *out)
{
    struct out text = { out, 0 };

    if (value.size > 0) {
        if (!put_address(&text, value)) {
            put_start(&text, value);
        }
        put(&text, '*');
        put(&text, '*');
        put(&text, '*');
        put_hex(&text, pawl_keyhash64(mask, value.data, value.size) >> 32, HASH_DIGITS);
    }
    text.data[text.used] = '\0';
    return text.used;
}
