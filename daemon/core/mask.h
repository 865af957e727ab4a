/*
 * Identities as operators may see them: enough to tell one from another and to recognise one's own,
 * not enough to read them. The first two characters, "***", and 8 hex digits of a keyed hash under
 * the `mask` subkey; of an IP address its first half in place of the characters. The same value
 * gives the same text everywhere, so that logs, figures and pages can be held against each other.
 *
 * Pure; any thread.
 */
#ifndef PAWL_CORE_MASK_H
#define PAWL_CORE_MASK_H

#include "core/keyhash.h"

#define PAWL_MASK_BYTES 40 /* that pawl_mask() writes at most, the NUL included */

/**
 * Mask @value (any bytes) into @out: printable ASCII, ended by NUL. Of a value of fewer than four
 * characters less is shown: never more than half. An empty one gives "".
 *
 * @key  the `mask` subkey.
 * Returns the bytes written, less the NUL.
 */
size_t pawl_mask(const struct pawl_subkey *key, struct pawl_bytes value, char out[PAWL_MASK_BYTES]);

/**
 * Mask each of @parts, with '|' between them. When @capacity (at least 2 * PAWL_MASK_BYTES) is not
 * enough, the parts that do not fit come as one, "***" and digits over all of them.
 *
 * Returns the bytes written, less the NUL.
 */
size_t pawl_mask_parts(const struct pawl_subkey *key, const struct pawl_bytes *parts, size_t count,
                       char *out, size_t capacity);

#endif
