/*
 * An immutable set of keys: issuers by name, keys by (issuer, kid), each key for exactly one
 * algorithm. Built whole from settings and files, or not at all. Counted references: the last one
 * wipes the secrets and frees it. Any thread may read; nobody writes.
 */
#ifndef PAWL_ADAPTER_JWT_KEYS_H
#define PAWL_ADAPTER_JWT_KEYS_H

#include "adapter/jwt/alg.h"
#include "adapter/jwt/jwt.h"
#include "ops/pool.h"

#include <openssl/evp.h>
#include <stdatomic.h>

#define PAWL_JWT_ISSUERS_MAX    256
#define PAWL_JWT_KEYS_MAX       1024 /* of all issuers together */
#define PAWL_JWT_JWKS_FILES_MAX 64   /* in one directory */
#define PAWL_JWT_JWKS_BYTES_MAX (512U << 10)
#define PAWL_JWT_PEM_BYTES_MAX  (32U << 10)
#define PAWL_JWT_SECRET_MAX     4096
#define PAWL_JWT_SET_BYTES_MAX  (32U << 20)
#define PAWL_JWT_FINGERPRINT    32

struct pawl_jwt_key {
    const struct pawl_jwt_alg_info *alg;
    struct pawl_bytes kid;
    uint32_t index;  /* in its set */
    uint32_t issuer; /* likewise */
    enum pawl_jwt_key_state state;
    EVP_PKEY *public_key; /* NULL: HMAC */
    uint8_t *secret;      /* NULL: not HMAC */
    size_t secret_size;
};

struct pawl_jwt_issuer {
    struct pawl_bytes name;
    const struct pawl_jwt_issuer_settings *settings; /* of the set's own copy */
    uint32_t first, count;                           /* its keys, sorted by kid */
};

struct pawl_jwt_keys {
    struct pawl_jwt_settings settings; /* a copy of its own */
    struct pawl_jwt_issuer *issuers;   /* sorted by name */
    struct pawl_jwt_key *keys;
    unsigned issuer_count;
    unsigned key_count;
    uint64_t version; /* given by the keyring */
    uint8_t fingerprint[PAWL_JWT_FINGERPRINT];

    /* ---- private ---- */
    _Atomic unsigned references;
    unsigned capacity;
    struct pawl_pool *pool;
};

/** Build a set, with one reference. As pawl_jwt_create(). */
PAWL_MUST_USE enum pawl_status pawl_jwt_keys_load(struct pawl_jwt_keys **out,
                                                  const struct pawl_jwt_settings *settings,
                                                  struct pawl_jwt_report *report,
                                                  struct pawl_error *error);

struct pawl_jwt_keys *pawl_jwt_keys_ref(struct pawl_jwt_keys *keys);

/** NULL is allowed. */
void pawl_jwt_keys_unref(struct pawl_jwt_keys *keys);

/** NULL: not configured. */
const struct pawl_jwt_issuer *pawl_jwt_keys_issuer(const struct pawl_jwt_keys *keys,
                                                   struct pawl_bytes name);

/** NULL: @issuer has no key of that kid. No other key is tried. */
const struct pawl_jwt_key *pawl_jwt_keys_find(const struct pawl_jwt_keys *keys,
                                              const struct pawl_jwt_issuer *issuer,
                                              struct pawl_bytes kid);

/** Of time, size and inode of every file that @settings name: another one, another set. */
void pawl_jwt_fingerprint(const struct pawl_jwt_settings *settings,
                          uint8_t out[PAWL_JWT_FINGERPRINT]);

/* ---- what a set is built from; the tests and fuzzers call these --------------------------- */

/** A key as it was read, before it is put into a set. Owned by whoever holds it. */
struct pawl_jwt_material {
    const struct pawl_jwt_alg_info *alg;
    char kid[256];
    EVP_PKEY *public_key;
    uint8_t secret[PAWL_JWT_SECRET_MAX];
    size_t secret_size;
};

/** Wipe and free what @material holds. */
void pawl_jwt_material_clear(struct pawl_jwt_material *material);

/**
 * Is @key fit for @alg: its kind, its curve, its size, and no weak point of it?
 * @name  for the error: which file, which entry. PAWL_OK or PAWL_EINVAL.
 */
PAWL_MUST_USE enum pawl_status pawl_jwt_check_public(EVP_PKEY *key,
                                                     const struct pawl_jwt_alg_info *alg,
                                                     const char *name, struct pawl_error *error);

/** Likewise for the bytes of an HMAC secret: long enough, and not a key of another kind. */
PAWL_MUST_USE enum pawl_status pawl_jwt_check_secret(struct pawl_bytes secret,
                                                     const struct pawl_jwt_alg_info *alg,
                                                     const char *name, struct pawl_error *error);

/** Read one PEM public key for @alg from @pem. PAWL_OK, PAWL_EINVAL, PAWL_ENOMEM. */
PAWL_MUST_USE enum pawl_status pawl_jwt_read_pem(struct pawl_bytes pem,
                                                 const struct pawl_jwt_alg_info *alg,
                                                 const char *name, EVP_PKEY **out,
                                                 struct pawl_error *error);

/** Take a key into what is being built. Its contents are the callee's from then on. */
typedef enum pawl_status (*pawl_jwt_key_taker)(void *self, struct pawl_jwt_material *material,
                                               const char *name, struct pawl_error *error);

/**
 * Read a JWK set (RFC 7517) and give each key of use here to @take. Entries of an unknown kty, crv
 * or alg, and those for encryption, are skipped and counted in @report, as section 5 there says; a
 * known one that is malformed, weak, private or contradicts itself refuses the whole set.
 * @report is not NULL.
 */
PAWL_MUST_USE enum pawl_status pawl_jwt_read_jwks(struct pawl_bytes text, const char *file,
                                                  struct pawl_jwt_report *report,
                                                  pawl_jwt_key_taker take, void *self,
                                                  struct pawl_error *error);

/**
 * Read a whole file of at most @max bytes, not 0. @out is freed, wiped, by pawl_jwt_file_free().
 * @mode  out, may be NULL. PAWL_OK, PAWL_ENOENT, PAWL_EPERM, PAWL_EIO, PAWL_EINVAL (no regular
 * file, empty), PAWL_ETOOBIG, PAWL_ENOMEM.
 */
PAWL_MUST_USE enum pawl_status pawl_jwt_file_read(const char *path, size_t max,
                                                  struct pawl_bytes *out, unsigned *mode,
                                                  struct pawl_error *error);
void pawl_jwt_file_free(struct pawl_bytes *file);

/** A directory's *.json files, sorted: at most PAWL_JWT_JWKS_FILES_MAX names. */
struct pawl_jwt_listing {
    unsigned count;
    char name[PAWL_JWT_JWKS_FILES_MAX][256];
};

/** PAWL_OK (empty @listing where @path is no directory: *@is_directory), PAWL_EIO, PAWL_ETOOBIG. */
PAWL_MUST_USE enum pawl_status pawl_jwt_list(const char *path, struct pawl_jwt_listing *listing,
                                             bool *is_directory, struct pawl_error *error);

/** Put a warning into @report, printf's format. */
void pawl_jwt_warn(struct pawl_jwt_report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
