/*
 * The parts of an HTTP request that libmicrohttpd leaves to us: query and form bodies, the
 * Authorization header, Host, and the addresses that gateways add. Pure functions over bytes that
 * anybody may have sent; each has its caps, and each is fuzzed (tests/fuzz/fuzz_http.c).
 */
#ifndef PAWL_OPS_HTTP_PARSE_H
#define PAWL_OPS_HTTP_PARSE_H

#include "core/status.h"
#include "core/types.h"
#include "ops/settings.h"

#define PAWL_HTTP_PAIRS_MAX     64
#define PAWL_HTTP_BASIC_MAX     1024 /* bytes of a Basic credential, decoded */
#define PAWL_HTTP_ADDRESS_BYTES 64   /* room for an IP address as text */
#define PAWL_HTTP_HOPS_MAX      16

/** name=value, both decoded. */
struct pawl_http_pair {
    struct pawl_bytes name;
    struct pawl_bytes value;
};

/** A query or a form; the caller's storage. Bytes lie in the text that was parsed. */
struct pawl_http_form {
    unsigned count;
    struct pawl_http_pair pairs[PAWL_HTTP_PAIRS_MAX];
};

/**
 * Parse application/x-www-form-urlencoded, decoding in place, and append to @form.
 *
 * @text  @size bytes, changed; kept by @form.
 * @why   out: what is wrong, a text that stays.
 *
 * Pairs without a name are refused, empty pieces (a&&b) passed over. Returns PAWL_OK, PAWL_EINVAL
 * (a bad % escape, no name), PAWL_EFULL (PAWL_HTTP_PAIRS_MAX); @form then holds the ones before.
 */
PAWL_MUST_USE enum pawl_status pawl_http_form_parse(uint8_t *text, size_t size,
                                                    struct pawl_http_form *form, const char **why);

/** The first value of @name, or NULL. */
const struct pawl_bytes *pawl_http_form_get(const struct pawl_http_form *form, const char *name);

/** How many pairs are named so. */
unsigned pawl_http_form_count(const struct pawl_http_form *form, const char *name);

/** Is it exactly this text? */
bool pawl_http_is(struct pawl_bytes bytes, const char *text);

/** A decimal number up to @max; false: it is anything else. */
bool pawl_http_number(struct pawl_bytes text, uint64_t max, uint64_t *value);

/** What an Authorization header says. */
enum pawl_http_scheme {
    PAWL_HTTP_SCHEME_NONE = 0, /* no header */
    PAWL_HTTP_SCHEME_BEARER,
    PAWL_HTTP_SCHEME_BASIC,
    PAWL_HTTP_SCHEME_OTHER, /* another scheme, or of one of these in a wrong form */
};

/** Which scheme @header (NULL: none) is of; @rest out: what stands behind it. */
enum pawl_http_scheme pawl_http_authorization(const char *header, struct pawl_bytes *rest);

/**
 * Take Basic credentials (RFC 7617) apart.
 *
 * @text  what stands behind the scheme.
 * @room  PAWL_HTTP_BASIC_MAX bytes that the results point into; the caller wipes it.
 *
 * Returns false when it is no canonical base64 of "id:secret" with an id.
 */
bool pawl_http_basic(struct pawl_bytes text, uint8_t *room, struct pawl_bytes *id,
                     struct pawl_bytes *secret);

/**
 * Is a request for @host (the Host header; NULL: none) meant for us? Literal addresses and
 * "localhost" are, with any port, and the names of @hosts; anything else may be a web page that
 * points its own name here (DNS rebinding), for a page cannot make a browser send another's.
 */
bool pawl_http_host_known(const char *host, const struct pawl_text_list *hosts);

/**
 * The address that @hops trusted proxies in front of the gateway vouch for: with 0 the last one of
 * X-Forwarded-For, which the gateway itself appended; with 1 the one before it.
 *
 * @list  the header; several of them joined by commas, in their order.
 * @out   PAWL_HTTP_ADDRESS_BYTES; without port and brackets; "" after a false.
 *
 * Returns false when there is none there, or it is no IP address.
 */
bool pawl_http_forwarded_for(const char *list, unsigned hops, char *out);

/** One IP address, perhaps with a port: as pawl_http_forwarded_for(). */
bool pawl_http_address(struct pawl_bytes text, char *out);

#endif
