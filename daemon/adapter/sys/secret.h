/*
 * The root secret: 32 bytes in a file that only its owner may read. Made at the first
 * start; in a cluster the operator gives every node the same one.
 *
 * The file holds 64 hexadecimal digits (and a line end), or the 32 bytes as they are.
 */
#ifndef PAWL_ADAPTER_SYS_SECRET_H
#define PAWL_ADAPTER_SYS_SECRET_H

#include "core/keyhash.h"
#include "core/status.h"
#include "port/entropy.h"

#define PAWL_SECRETS_MAX 4

/** What the store needs of one root secret. Wiped by its holder with pawl_wipe(). */
struct pawl_store_keys {
    struct pawl_subkey facts;  /* MACs of facts and families */
    struct pawl_subkey limits; /* checksums of the counter file */
    uint64_t check;            /* written into each file: the same secret or not */
};

/** The keys of @secret (PAWL_SECRET_BYTES). Cannot fail. */
void pawl_store_keys_derive(struct pawl_store_keys *keys, const uint8_t *secret);

/**
 * Read the secret in @name, relative to @dir_fd (AT_FDCWD for a path), into @secret.
 *
 * PAWL_ENOENT; PAWL_EPERM: group or others may read it, or it belongs to neither us nor root;
 * PAWL_EINVAL: not a secret (wrong size or digits); PAWL_EIO. @error says which file and what to
 * do, never a byte of it. @secret is wiped unless PAWL_OK.
 */
PAWL_MUST_USE enum pawl_status pawl_secret_read(int dir_fd, const char *name,
                                                uint8_t secret[PAWL_SECRET_BYTES],
                                                struct pawl_error *error);

/**
 * Read the secret of a data directory, or make it (mode 0600, synced with its directory) when
 * there is none. PAWL_ENOENT when it is missing beside a store that was made with one: a new one
 * would read nothing of it. Other results as pawl_secret_read().
 */
PAWL_MUST_USE enum pawl_status pawl_secret_open(int dir_fd, const char *name,
                                                const struct pawl_entropy *entropy,
                                                uint8_t secret[PAWL_SECRET_BYTES],
                                                struct pawl_error *error);

#endif
