/*
 * Identities as people may see them in logs, the audit log and the console: enough to recognise one
 * that is known, too little to learn one that is not.
 *
 *   alice@example.org   al***5f0c1a9e       first two characters, then digits of a keyed hash
 *   192.0.2.77          192.0***08b3c4d1    of an IP address the first half
 *   2001:db8:1:2::77    2001:db8:1:2***...
 *   abc                 ***91e0aa27         too short to show a part of it
 *
 * The digits are the first 32 bits of the keyed hash of the whole value under the `mask` subkey:
 * the same value has the same digits in every line of every node with the same secret, and who has
 * not the secret cannot try values against them. Pure, any thread.
 */
#ifndef PAWL_CORE_MASK_H
#define PAWL_CORE_MASK_H

#include "core/keyhash.h"

#define PAWL_MASKED_BYTES 40 /* what pawl_mask() writes at most, NUL included */

/**
 * Write @value masked into @out (PAWL_MASKED_BYTES), with a NUL; "" stays "".
 *
 * @mask   the `mask` subkey.
 * @value  any bytes; what is no printable UTF-8 shows as '?'.
 * Returns the bytes written less the NUL.
 */
size_t pawl_mask(const struct pawl_subkey *mask, struct pawl_bytes value, char *out);

#endif
