/*
 * Making signed tokens, for `pawlctl token mint`, tests and demos. pawld itself signs nothing.
 *
 * HS and RS are signed by libjwt; what it cannot, PS, EdDSA, ES with its low s alone and any typ
 * but JWT, by OpenSSL. No state; any thread. Needs nothing of the daemon's settings.
 */
#ifndef PAWL_ADAPTER_JWT_MINT_H
#define PAWL_ADAPTER_JWT_MINT_H

#include "core/status.h"
#include "core/types.h"

#define PAWL_JWT_MINT_BYTES_MAX 8192 /* of a token, and of the claims it is made from */

struct pawl_jwt_mint {
    const char *alg;          /* "HS256", ... "RS256", ... "PS256", ... "ES256", ... "EdDSA" */
    const char *kid;          /* NULL or "" = none */
    const char *typ;          /* NULL = "JWT" */
    struct pawl_bytes key;    /* HS: the secret's bytes; else a PEM private key */
    struct pawl_bytes claims; /* the payload: a JSON object */
};

/**
 * Sign @mint. Whatever a verifier would refuse for its form is refused here as well: claims that
 * are no JSON object, a member twice, a secret shorter than the hash, a key of another kind or
 * curve than the algorithm's, RSA below 2048 bits, a token over 8 KiB.
 *
 * @out   the token, 0-terminated; PAWL_JWT_MINT_BYTES_MAX + 1 bytes always suffice.
 * @size  out, may be NULL: without the 0.
 * Returns PAWL_OK; PAWL_EINVAL or PAWL_ETOOBIG (@error, may be NULL, says what and what to do),
 * PAWL_ENOMEM, PAWL_EIO (the library refused).
 */
PAWL_MUST_USE enum pawl_status pawl_jwt_mint(const struct pawl_jwt_mint *mint, char *out,
                                             size_t capacity, size_t *size,
                                             struct pawl_error *error);

/**
 * The bytes of an HMAC secret as they lie in a file: one end of line behind printable text is not
 * part of it, and binary secrets are taken as they are. Verifier and minting agree by this.
 */
struct pawl_bytes pawl_jwt_secret_trim(struct pawl_bytes file);

#endif
