#include "ops/http/parse.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

/* ---- forms ---- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20; /* lower case */
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode @size bytes where they are; the size left, or -1. */
static ptrdiff_t decode(uint8_t *text, size_t size)
{
    size_t out = 0;

    for (size_t at = 0; at < size; at++) {
        uint8_t c = text[at];

        if (c == '%') {
            int high = size - at > 2 ? hex_digit(text[at + 1]) : -1;
            int low = size - at > 2 ? hex_digit(text[at + 2]) : -1;

            if (high < 0 || low < 0) {
                return -1;
            }
            c = (uint8_t)(high * 16 + low);
            at += 2;
        } else if (c == '+') {
            c = ' ';
        }
        text[out++] = c;
    }
    return (ptrdiff_t)out;
}

static enum pawl_status add_pair(uint8_t *piece, size_t size, struct pawl_http_form *form,
                                 const char **why)
{
    uint8_t *equals = memchr(piece, '=', size);
    size_t name_size = equals != NULL ? (size_t)(equals - piece) : size;
    uint8_t *value = equals != NULL ? equals + 1 : piece + size;
    size_t value_size = equals != NULL ? size - name_size - 1 : 0;

    if (form->count == PAWL_HTTP_PAIRS_MAX) {
        *why = "more than 64 parameters";
        return PAWL_EFULL;
    }
    ptrdiff_t name_left = decode(piece, name_size);
    ptrdiff_t value_left = decode(value, value_size);

    if (name_left < 0 || value_left < 0) {
        *why = "a % that two hexadecimal digits do not follow";
        return PAWL_EINVAL;
    }
    if (name_left == 0) {
        *why = "a parameter without a name";
        return PAWL_EINVAL;
    }
    form->pairs[form->count++] = (struct pawl_http_pair){
        .name = pawl_bytes_of(piece, (size_t)name_left),
        .value = pawl_bytes_of(value, (size_t)value_left),
    };
    return PAWL_OK;
}

enum pawl_status pawl_http_form_parse(uint8_t *text, size_t size, struct pawl_http_form *form,
                                      const char **why)
{
    size_t at = 0;

    while (at < size) {
        const uint8_t *end = memchr(text + at, '&', size - at);
        size_t piece = end != NULL ? (size_t)(end - (text + at)) : size - at;
        enum pawl_status status = piece == 0 ? PAWL_OK : add_pair(text + at, piece, form, why);

        if (status != PAWL_OK) {
            return status;
        }
        at += piece + 1;
    }
    return PAWL_OK;
}

bool pawl_http_is(struct pawl_bytes bytes, const char *text)
{
    return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

const struct pawl_bytes *pawl_http_form_get(const struct pawl_http_form *form, const char *name)
{
    for (unsigned i = 0; i < form->count; i++) {
        if (pawl_http_is(form->pairs[i].name, name)) {
            return &form->pairs[i].value;
        }
    }
    return NULL;
}

unsigned pawl_http_form_count(const struct pawl_http_form *form, const char *name)
{
    unsigned count = 0;

    for (unsigned i = 0; i < form->count; i++) {
        count += pawl_http_is(form->pairs[i].name, name) ? 1 : 0;
    }
    return count;
}

bool pawl_http_number(struct pawl_bytes text, uint64_t max, uint64_t *value)
{
    uint64_t sum = 0;

    if (text.size == 0 || text.size > 20) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';

        if (digit > 9 || sum > (UINT64_MAX - digit) / 10) {
            return false;
        }
        sum = sum * 10 + digit;
    }
    *value = sum;
    return sum <= max;
}

/* ---- Authorization ---- */

/* token68 of RFC 7235, 2.1: what a credential may be made of. */
static bool is_token68(const char *text)
{
    size_t size = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                               "0123456789-._~+/");

    return size > 0 && text[size + strspn(text + size, "=")] == '\0';
}

enum pawl_http_scheme pawl_http_authorization(const char *header, struct pawl_bytes *rest)
{
    enum pawl_http_scheme scheme = PAWL_HTTP_SCHEME_OTHER;
    size_t size = 0;

    *rest = pawl_bytes_of("", 0);
    if (header == NULL) {
        return PAWL_HTTP_SCHEME_NONE;
    }
    if (strncasecmp(header, "bearer ", 7) == 0) {
        scheme = PAWL_HTTP_SCHEME_BEARER;
        size = 7;
    } else if (strncasecmp(header, "basic ", 6) == 0) {
        scheme = PAWL_HTTP_SCHEME_BASIC;
        size = 6;
    }
    header += size;
    header += strspn(header, " ");
    if (scheme == PAWL_HTTP_SCHEME_OTHER || !is_token68(header)) {
        return PAWL_HTTP_SCHEME_OTHER;
    }
    *rest = pawl_bytes_of(header, strlen(header));
    return scheme;
}

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Canonical base64 with its padding: the bytes written, or -1. */
static ptrdiff_t base64_decode(struct pawl_bytes text, uint8_t *out, size_t room)
{
    size_t used = 0;
    size_t padding = 0;

    if (text.size % 4 != 0 || text.size / 4 * 3 > room) {
        return -1;
    }
    while (padding < 2 && padding < text.size && text.data[text.size - 1 - padding] == '=') {
        padding++;
    }
    for (size_t at = 0; at < text.size; at += 4) {
        bool last = at + 4 == text.size;
        unsigned count = 4 - (last ? (unsigned)padding : 0);
        uint32_t bits = 0;

        for (unsigned i = 0; i < 4; i++) {
            int digit = i < count ? base64_digit(text.data[at + i]) : 0;

            if (digit < 0) {
                return -1;
            }
            bits = bits << 6 | (uint32_t)digit;
        }
        if ((count == 2 && (bits & 0xffff) != 0) || (count == 3 && (bits & 0xff) != 0)) {
            return -1; /* stray bits: two texts for one credential */
        }
        for (unsigned i = 0; i + 1 < count; i++) {
            out[used++] = (uint8_t)(bits >> (16 - 8 * i));
        }
    }
    return (ptrdiff_t)used;
}

bool pawl_http_basic(struct pawl_bytes text, uint8_t *room, struct pawl_bytes *id,
                     struct pawl_bytes *secret)
{
    ptrdiff_t size = base64_decode(text, room, PAWL_HTTP_BASIC_MAX);
    const uint8_t *colon = size > 0 ? memchr(room, ':', (size_t)size) : NULL;

    *id = pawl_bytes_of("", 0);
    *secret = pawl_bytes_of("", 0);
    if (colon == NULL || colon == room) {
        return false;
    }
    *id = pawl_bytes_of(room, (size_t)(colon - room));
    *secret = pawl_bytes_of(colon + 1, (size_t)size - id->size - 1);
    return true;
}

/* ---- hosts and addresses ---- */

static bool is_ip(const char *text, int family)
{
    uint8_t address[16];

    return inet_pton(family, text, address) == 1;
}

/* Copy at most a short piece, so that C functions can look at it. */
static bool copy_piece(const uint8_t *data, size_t size, char *out)
{
    out[0] = '\0';
    if (size == 0 || size >= PAWL_HTTP_ADDRESS_BYTES || memchr(data, '\0', size) != NULL) {
        return false;
    }
    memcpy(out, data, size);
    out[size] = '\0';
    return true;
}

static bool is_port(const uint8_t *text, size_t size)
{
    uint64_t port;

    return size <= 5 && pawl_http_number(pawl_bytes_of(text, size), UINT16_MAX, &port);
}

bool pawl_http_address(struct pawl_bytes text, char *out)
{
    const uint8_t *colon;
    const uint8_t *end;

    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = pawl_bytes_of(text.data + 1, text.size - 1);
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    out[0] = '\0';
    if (text.size > 1 && text.data[0] == '[') { /* [v6], [v6]:port */
        end = memchr(text.data, ']', text.size);
        if (end == NULL || !copy_piece(text.data + 1, (size_t)(end - text.data) - 1, out)) {
            return false;
        }
        size_t rest = text.size - (size_t)(end - text.data) - 1;

        if (is_ip(out, AF_INET6) && (rest == 0 || (end[1] == ':' && is_port(end + 2, rest - 1)))) {
            return true;
        }
        out[0] = '\0';
        return false;
    }
    if (!copy_piece(text.data, text.size, out)) {
        return false;
    }
    if (is_ip(out, AF_INET6) || is_ip(out, AF_INET)) {
        return true;
    }
    colon = memchr(text.data, ':', text.size); /* v4:port */
    if (colon != NULL && is_port(colon + 1, text.size - (size_t)(colon - text.data) - 1) &&
        copy_piece(text.data, (size_t)(colon - text.data), out) && is_ip(out, AF_INET)) {
        return true;
    }
    out[0] = '\0';
    return false;
}

bool pawl_http_forwarded_for(const char *list, unsigned hops, char *out)
{
    const char *end = list + strlen(list);
    const char *begin;

    out[0] = '\0';
    if (hops > PAWL_HTTP_HOPS_MAX) {
        return false;
    }
    for (;;) { /* from the right: what stands further left is only as good as who wrote it */
        begin = end;
        while (begin > list && begin[-1] != ',') {
            begin--;
        }
        if (hops == 0) {
            return pawl_http_address(pawl_bytes_of(begin, (size_t)(end - begin)), out);
        }
        if (begin == list) {
            return false;
        }
        hops--;
        end = begin - 1;
    }
}

bool pawl_http_host_known(const char *host, const struct pawl_text_list *hosts)
{
    char address[PAWL_HTTP_ADDRESS_BYTES];
    size_t size = host != NULL ? strlen(host) : 0;
    const char *colon;

    if (size == 0) {
        return false;
    }
    if (pawl_http_address(pawl_bytes_of(host, size), address)) {
        return true;
    }
    colon = strchr(host, ':');
    if (colon != NULL) {
        if (!is_port((const uint8_t *)colon + 1, strlen(colon + 1))) {
            return false;
        }
        size = (size_t)(colon - host);
    }
    if (size == 9 && strncasecmp(host, "localhost", size) == 0) {
        return true;
    }
    for (unsigned i = 0; i < hosts->count; i++) {
        if (strlen(hosts->items[i]) == size && strncasecmp(host, hosts->items[i], size) == 0) {
            return true;
        }
    }
    return false;
}
