/*
 * Seals: what lies in the engine carries a MAC, so that who can write there can forge no log-out,
 * no family and no count, nor move one to another place.
 *
 * A sealed value is the value, then 8 bytes: SipHash under a subkey over (domain, place, value).
 */
#ifndef PAWL_CORE_CLUSTER_SEAL_H
#define PAWL_CORE_CLUSTER_SEAL_H

#include "core/keyhash.h"
#include "core/status.h"

#define PAWL_SEAL_BYTES    8
#define PAWL_SEAL_KEYS_MAX 4 /* secrets under which one fleet may seal */

/** Subkeys of one purpose: the first seals, all of them open. */
struct pawl_seal_keys {
    struct pawl_subkey keys[PAWL_SEAL_KEYS_MAX];
    unsigned count; /* 1 to PAWL_SEAL_KEYS_MAX */
};

enum pawl_seal_domain {
    PAWL_SEAL_LOG = 1,    /* place: origin, position; the `facts` subkey */
    PAWL_SEAL_FAMILY = 2, /* place: key, version; the `facts` subkey */
    PAWL_SEAL_SLOT = 3,   /* place: record id; the `limits` subkey */
    PAWL_SEAL_VIEW = 4,   /* place: number; the `facts` subkey */
    PAWL_SEAL_MEMBER = 5, /* place: member id; the `facts` subkey */
};

/**
 * Seal the @size bytes at @bytes, which has room for PAWL_SEAL_BYTES more. @place: what the value
 * must not be moved from, up to 32 bytes. Returns the sealed size.
 */
size_t pawl_seal(const struct pawl_subkey *key, enum pawl_seal_domain domain,
                 struct pawl_bytes place, uint8_t *bytes, size_t size);

/** The value without its seal in @value; false (and empty) when the seal does not hold. */
bool pawl_unseal(const struct pawl_subkey *key, enum pawl_seal_domain domain,
                 struct pawl_bytes place, struct pawl_bytes sealed, struct pawl_bytes *value);

/** The same under any of the @count keys: while the secret is changed, members seal with two. */
bool pawl_unseal_any(const struct pawl_subkey *keys, unsigned count, enum pawl_seal_domain domain,
                     struct pawl_bytes place, struct pawl_bytes sealed, struct pawl_bytes *value);

#endif
