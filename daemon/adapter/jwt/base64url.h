/*
 * base64url without padding (RFC 7515 section 2), in its one canonical form: no padding, no
 * whitespace, no other alphabet, and the unused bits of the last character are zero. So no two
 * texts mean the same bytes. Pure.
 */
#ifndef PAWL_ADAPTER_JWT_BASE64URL_H
#define PAWL_ADAPTER_JWT_BASE64URL_H

#include "core/types.h"

/** Bytes that @size characters hold at most. */
#define PAWL_BASE64URL_DECODED(size) ((size) / 4 * 3 + 2)
/** Characters that @size bytes take, without a 0. */
#define PAWL_BASE64URL_ENCODED(size) (((size)*4 + 2) / 3)

/**
 * Decode @text to @out, which has room for PAWL_BASE64URL_DECODED(text.size) bytes.
 * Returns false for anything but canonical text; @size is then not set.
 */
PAWL_MUST_USE bool pawl_base64url_decode(struct pawl_bytes text, uint8_t *out, size_t *size);

/** Encode @data to @out, PAWL_BASE64URL_ENCODED(data.size) characters and no 0. Returns them. */
size_t pawl_base64url_encode(struct pawl_bytes data, char *out);

#endif
