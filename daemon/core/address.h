/*
 * Addresses as people write them: `unix:/run/pawl/pawld.sock`, `unix:@name` (Linux abstract name),
 * `tcp:host:port`, `tcp:[v6]:port`, and the same with `tls:`. One parser for the daemon's listeners
 * and the client's address list, so that both take the same words and give the same errors.
 *
 * Pure text: nothing is resolved and no file is looked at. Any thread.
 */
#ifndef PAWL_CORE_ADDRESS_H
#define PAWL_CORE_ADDRESS_H

#include "core/status.h"

#define PAWL_ADDRESS_PATH_MAX 107 /* bytes: sun_path of Linux less its NUL */
#define PAWL_ADDRESS_HOST_MAX 253 /* bytes: a host name's longest text form */
#define PAWL_ADDRESS_TEXT_MAX 264 /* bytes pawl_address_format() writes at most, NUL included */

enum pawl_address_kind {
    PAWL_ADDRESS_NONE = 0, /* not parsed */
    PAWL_ADDRESS_UNIX = 1,
    PAWL_ADDRESS_TCP = 2,
    PAWL_ADDRESS_TLS = 3, /* host and port as of TCP */
};

struct pawl_address {
    enum pawl_address_kind kind;
    bool is_abstract;                     /* of UNIX: @path is a name without the '@', no file */
    uint16_t port;                        /* of TCP and TLS; 0 = any free one (listeners only) */
    char path[PAWL_ADDRESS_PATH_MAX + 1]; /* of UNIX */
    char host[PAWL_ADDRESS_HOST_MAX +
              1]; /* of TCP and TLS: name or number, v6 without its brackets */
};

/**
 * Parse @text into @address.
 *
 * @text   any bytes, also hostile ones; need not end with NUL.
 * @error  may be NULL: what is wrong, where, what to write instead.
 *
 * Returns PAWL_OK, PAWL_EINVAL (not an address) or PAWL_ETOOBIG (path or host too long). After an
 * error @address is all zero.
 */
PAWL_MUST_USE enum pawl_status pawl_address_parse(struct pawl_bytes text,
                                                  struct pawl_address *address,
                                                  struct pawl_error *error);

/**
 * Write @address as text that parses to the same address.
 *
 * @out  room for @capacity bytes; PAWL_ADDRESS_TEXT_MAX is always enough. Ends with NUL if
 *       @capacity > 0.
 *
 * Returns the bytes written less the NUL.
 */
size_t pawl_address_format(const struct pawl_address *address, char *out, size_t capacity);

#endif
