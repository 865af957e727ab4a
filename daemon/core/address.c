#include "core/address.h"

#include <stdio.h>
#include <string.h>

#define SHOWN_MAX 80 /* bytes of a wrong address repeated in an error */

/** Take @prefix off the front of @text, if it is there. */
static bool skip_prefix(struct pawl_bytes *text, const char *prefix)
{
    size_t size = strlen(prefix);

    if (text->size < size || memcmp(text->data, prefix, size) != 0) {
        return false;
    }
    text->data += size;
    text->size -= size;
    return true;
}

/** Bytes that would break a log line or end a C string early have no place in an address. */
static bool is_printable(struct pawl_bytes text, size_t *position)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < 0x20 || text.data[i] == 0x7f) {
            *position = i;
            return false;
        }
    }
    return true;
}

static enum pawl_status refuse(struct pawl_error *error, enum pawl_status status,
                               struct pawl_bytes text, const char *why)
{
    int shown = text.size < SHOWN_MAX ? (int)text.size : SHOWN_MAX;

    return pawl_error_set(error, status, 0, "address \"%.*s\"%s: %s", shown,
                          shown > 0 ? (const char *)text.data : "",
                          text.size > SHOWN_MAX ? " (cut)" : "", why);
}

static enum pawl_status parse_unix(struct pawl_bytes text, struct pawl_bytes rest,
                                   struct pawl_address *address, struct pawl_error *error)
{
    bool is_abstract = skip_prefix(&rest, "@");

    if (rest.size == 0) {
        return refuse(error, PAWL_EINVAL, text,
                      is_abstract ? "no name after \"@\"; write unix:@name"
                                  : "no path; write unix:/run/pawl/pawld.sock");
    }
    if (rest.size > PAWL_ADDRESS_PATH_MAX) {
        return refuse(error, PAWL_ETOOBIG, text,
                      "the path of a Unix socket has at most 107 bytes; choose a shorter one");
    }
    address->kind = PAWL_ADDRESS_UNIX;
    address->is_abstract = is_abstract;
    memcpy(address->path, rest.data, rest.size);
    return PAWL_OK;
}

/** Decimal digits only, at most 65535; -1 otherwise. */
static int parse_port(struct pawl_bytes text)
{
    int port = 0;

    if (text.size == 0 || text.size > 5) {
        return -1;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return -1;
        }
        port = port * 10 + (text.data[i] - '0');
    }
    return port <= UINT16_MAX ? port : -1;
}

static bool is_host_byte(uint8_t byte, bool in_brackets)
{
    bool is_alnum = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                    (byte >= 'A' && byte <= 'Z');

    if (in_brackets) { /* ':' and '.' of v6 numbers, '%' and the rest for zone names */
        return is_alnum || byte == ':' || byte == '.' || byte == '%' || byte == '-' || byte == '_';
    }
    return is_alnum || byte == '.' || byte == '-' || byte == '_';
}

/** Split "host:port" or "[v6]:port"; NULL and the parts, or what is wrong. */
static const char *split_host(struct pawl_bytes rest, struct pawl_bytes *host,
                              struct pawl_bytes *port)
{
    bool in_brackets = skip_prefix(&rest, "[");
    size_t end = 0;

    while (end < rest.size && rest.data[end] != (in_brackets ? ']' : ':')) {
        if (!is_host_byte(rest.data[end], in_brackets)) {
            return "the host holds a byte that no host name or number has";
        }
        end++;
    }
    *host = pawl_bytes_of(rest.data, end);
    if (in_brackets && end == rest.size) {
        return "\"[\" without \"]\"; write [::1]:7401";
    }
    if (in_brackets && host->size > 0 && memchr(host->data, ':', host->size) == NULL) {
        return "brackets hold an IPv6 number; write [::1]:7401, or leave them out";
    }
    end += in_brackets ? 1 : 0;
    if (end >= rest.size || rest.data[end] != ':') {
        return "no port; write 127.0.0.1:7401 for host and port";
    }
    *port = pawl_bytes_of(rest.data + end + 1, rest.size - end - 1);
    if (host->size == 0) {
        return "no host; write 127.0.0.1:7401, or 0.0.0.0:7401 for all interfaces";
    }
    for (size_t i = 0; !in_brackets && i < port->size; i++) {
        if (port->data[i] == ':') {
            return "an IPv6 number stands in brackets; write [::1]:7401";
        }
    }
    return NULL;
}

/** What TCP and TLS have in common: all but the kind. */
static enum pawl_status parse_tcp(struct pawl_bytes text, struct pawl_bytes rest,
                                  enum pawl_address_kind kind, struct pawl_address *address,
                                  struct pawl_error *error)
{
    struct pawl_bytes host = { NULL, 0 };
    struct pawl_bytes port = { NULL, 0 };
    const char *wrong = split_host(rest, &host, &port);
    int number;

    if (wrong != NULL) {
        return refuse(error, PAWL_EINVAL, text, wrong);
    }
    if (host.size > PAWL_ADDRESS_HOST_MAX) {
        return refuse(error, PAWL_ETOOBIG, text, "a host name has at most 253 bytes");
    }
    number = parse_port(port);
    if (number < 0) {
        return refuse(error, PAWL_EINVAL, text, "the port is a number from 0 to 65535");
    }
    address->kind = kind;
    address->port = (uint16_t)number;
    memcpy(address->host, host.data, host.size);
    return PAWL_OK;
}

enum pawl_status pawl_address_parse(struct pawl_bytes text, struct pawl_address *address,
                                    struct pawl_error *error)
{
    struct pawl_bytes rest = text;
    size_t position = 0;

    memset(address, 0, sizeof(*address));
    if (text.size == 0) {
        return refuse(error, PAWL_EINVAL, text,
                      "empty; write unix:/path, unix:@name, tcp:host:port or tls:host:port");
    }
    if (!is_printable(text, &position)) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "address: byte %zu is a control character; write "
                              "unix:/path, unix:@name, tcp:host:port or tls:host:port",
                              position + 1);
    }
    if (skip_prefix(&rest, "unix:")) {
        return parse_unix(text, rest, address, error);
    }
    if (skip_prefix(&rest, "tcp:")) {
        return parse_tcp(text, rest, PAWL_ADDRESS_TCP, address, error);
    }
    if (skip_prefix(&rest, "tls:")) {
        return parse_tcp(text, rest, PAWL_ADDRESS_TLS, address, error);
    }
    return refuse(error, PAWL_EINVAL, text,
                  "unknown kind; write unix:/path, unix:@name, tcp:host:port or tls:host:port");
}

size_t pawl_address_format(const struct pawl_address *address, char *out, size_t capacity)
{
    int size = 0;

    switch (address->kind) {
    case PAWL_ADDRESS_UNIX:
        size = snprintf(out, capacity, "unix:%s%s", address->is_abstract ? "@" : "", address->path);
        break;
    case PAWL_ADDRESS_TCP:
    case PAWL_ADDRESS_TLS: {
        bool is_v6 = false;

        for (const char *byte = address->host; *byte != '\0'; byte++) {
            is_v6 = is_v6 || *byte == ':';
        }
        size = snprintf(out, capacity, "%s:%s%s%s:%u",
                        address->kind == PAWL_ADDRESS_TCP ? "tcp" : "tls", is_v6 ? "[" : "",
                        address->host, is_v6 ? "]" : "", (unsigned)address->port);
        break;
    }
    case PAWL_ADDRESS_NONE:
        size = snprintf(out, capacity, "(no address)");
        break;
    }
    if (size < 0 || capacity == 0) {
        return 0;
    }
    return (size_t)size < capacity ? (size_t)size : capacity - 1;
}
