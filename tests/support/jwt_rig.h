/*
 * What the tests of signed tokens share: files of keys in a folder of their own, settings over
 * them, and tokens signed over exactly the header and payload that a test writes, sound or not.
 * Nothing here uses the code under test.
 */
#ifndef PAWL_TESTS_JWT_RIG_H
#define PAWL_TESTS_JWT_RIG_H

#include "adapter/jwt/jwt.h"
#include "support/jwt_keys.h"

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define JWT_RIG_NOW   INT64_C(1800000000)
#define JWT_RIG_TOKEN 65536
#define JWT_RIG_ISS   "https://auth.example"

/* Exactly the bytes that HS512 wants at least. */
static const char jwt_secret[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#define JWT_RIG_DIE(what)                                                      \
    do {                                                                       \
        (void)fprintf(stderr, "%s:%d: rig: %s\n", __FILE__, __LINE__, (what)); \
        abort();                                                               \
    } while (0)

/* ---- signing --------------------------------------------------------------------------------- */

static inline size_t jwt_rig_encode(const void *data, size_t size, char *out)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *bytes = data;
    size_t done = 0;
    unsigned bits = 0;
    unsigned word = 0;

    for (size_t i = 0; i < size; i++) {
        word = (word << 8 | bytes[i]) & 0xffffff;
        for (bits += 8; bits >= 6; bits -= 6) {
            out[done++] = alphabet[word >> (bits - 6) & 63];
        }
    }
    if (bits > 0) {
        out[done++] = alphabet[word << (6 - bits) & 63];
    }
    out[done] = '\0';
    return done;
}

static inline EVP_PKEY *jwt_rig_private(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);

    BIO_free(bio);
    if (key == NULL) {
        JWT_RIG_DIE("no private key");
    }
    return key;
}

static inline const EVP_MD *jwt_rig_digest(const char *alg)
{
    return strcmp(alg + 2, "384") == 0   ? EVP_sha384()
           : strcmp(alg + 2, "512") == 0 ? EVP_sha512()
                                         : EVP_sha256();
}

/* r and s of @half bytes each, from DER. */
static inline size_t jwt_rig_raw(const uint8_t *der, size_t size, int half, uint8_t *out)
{
    const uint8_t *at = der;
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long)size);

    if (signature == NULL || BN_bn2binpad(ECDSA_SIG_get0_r(signature), out, half) != half ||
        BN_bn2binpad(ECDSA_SIG_get0_s(signature), out + half, half) != half) {
        JWT_RIG_DIE("no ES signature");
    }
    ECDSA_SIG_free(signature);
    return 2 * (size_t)half;
}

/* Make an ES signature, r and s, its twin: r and n - s. Returns whether s was the higher of the
 * two. */
static inline bool jwt_rig_twin(uint8_t *raw, size_t size)
{
    int half = (int)size / 2;
    EC_GROUP *group = EC_GROUP_new_by_curve_name(half == 32   ? NID_X9_62_prime256v1
                                                 : half == 48 ? NID_secp384r1
                                                              : NID_secp521r1);
    BIGNUM *s = BN_bin2bn(raw + half, half, NULL);
    BIGNUM *twin = BN_new();

    if (BN_sub(twin, EC_GROUP_get0_order(group), s) != 1 ||
        BN_bn2binpad(twin, raw + half, half) != half) {
        JWT_RIG_DIE("no twin");
    }
    bool high = BN_cmp(s, twin) > 0;

    BN_free(s);
    BN_free(twin);
    EC_GROUP_free(group);
    return high;
}

/* The signature of @text under @alg, by @key: a PEM private key, or a secret. */
static inline size_t jwt_rig_sign(const char *alg, const char *key, size_t key_size,
                                  const char *text, size_t size, uint8_t out[2048])
{
    uint8_t der[2048];
    size_t done = sizeof(der);
    EVP_PKEY_CTX *options = NULL;

    if (alg[0] == 'H') {
        unsigned mac_size = 0;

        (void)HMAC(jwt_rig_digest(alg), key, (int)key_size, (const uint8_t *)text, size, out,
                   &mac_size);
        return mac_size;
    }
    EVP_PKEY *private = jwt_rig_private(key);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ed = alg[1] == 'd';

    if (EVP_DigestSignInit(context, &options, ed ? NULL : jwt_rig_digest(alg), NULL, private) !=
        1) {
        JWT_RIG_DIE("no signing");
    }
    if (alg[0] == 'P') {
        (void)EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING);
        (void)EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST);
    }
    if (EVP_DigestSign(context, der, &done, (const uint8_t *)text, size) != 1) {
        JWT_RIG_DIE("no signature");
    }
    if (alg[0] == 'E' && !ed) {
        done = jwt_rig_raw(der, done, (EVP_PKEY_get_bits(private) + 7) / 8, out);
    } else {
        memcpy(out, der, done);
    }
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(private);
    return done;
}

/* A token of @header and @payload as they stand, signed under @alg by @key, into @out, of
 * JWT_RIG_TOKEN bytes. Returns its size. */
static inline size_t jwt_rig_token_of(const char *alg, const char *key, size_t key_size,
                                      const char *header, size_t header_size, const char *payload,
                                      size_t payload_size, char *out)
{
    uint8_t signature[2048];
    size_t done = jwt_rig_encode(header, header_size, out);

    out[done++] = '.';
    done += jwt_rig_encode(payload, payload_size, out + done);
    size_t size = jwt_rig_sign(alg, key, key_size, out, done, signature);

    out[done++] = '.';
    return done + jwt_rig_encode(signature, size, out + done);
}

static inline const char *jwt_rig_token(const char *alg, const char *key, const char *header,
                                        const char *payload)
{
    static char token[JWT_RIG_TOKEN];

    (void)jwt_rig_token_of(alg, key, strlen(key), header, strlen(header), payload, strlen(payload),
                           token);
    return token;
}

/* ---- key files and settings --------------------------------------------------------------------
 */

struct jwt_rig {
    char dir[64];
    char path[16][160];
    unsigned path_count;
    struct pawl_jwt_key_settings keys[16];
    struct pawl_jwt_issuer_settings issuers[4];
    struct pawl_jwt_settings settings;
    struct pawl_jwt_keyring *keyring;
    struct pawl_jwt port;
    void *verifier;
    struct pawl_jwt_claims claims;
    struct pawl_jwt_report report;
    struct pawl_error error;
};

static inline const char *jwt_rig_write(struct jwt_rig *rig, const char *name, const void *data,
                                        size_t size)
{
    char path[sizeof(rig->path[0])];
    char fresh[sizeof(path) + 8];
    char *kept = rig->path[rig->path_count++ % 16];

    (void)snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
    (void)snprintf(fresh, sizeof(fresh), "%s.new", path);
    memcpy(kept, path, sizeof(path));
    FILE *file = fopen(fresh, "w");

    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0 ||
        chmod(fresh, 0600) != 0 || rename(fresh, path) != 0) {
        JWT_RIG_DIE("cannot write a file");
    }
    return kept;
}

static inline const char *jwt_rig_file(struct jwt_rig *rig, const char *name, const char *text)
{
    return jwt_rig_write(rig, name, text, strlen(text));
}

static inline void jwt_rig_folder(struct jwt_rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    (void)snprintf(rig->dir, sizeof(rig->dir), "/tmp/pawl_jwt_XXXXXX");
    if (mkdtemp(rig->dir) == NULL) {
        JWT_RIG_DIE("no folder");
    }
}

static inline struct pawl_jwt_issuer_settings jwt_rig_issuer(const char *name,
                                                             struct pawl_jwt_key_settings *keys,
                                                             unsigned count)
{
    struct pawl_jwt_issuer_settings issuer = { .issuer = name,
                                               .type = "",
                                               .token_type = "",
                                               .subject_claim = "sub",
                                               .client_claim = "client_id",
                                               .sid_claim = "sid",
                                               .jwks_file = "",
                                               .keys = keys,
                                               .key_count = count };

    return issuer;
}

static inline struct pawl_jwt_key_settings jwt_rig_key(const char *kid, enum pawl_jwt_alg alg,
                                                       const char *file, const char *secret_file)
{
    struct pawl_jwt_key_settings key = { kid, alg, file, secret_file, PAWL_JWT_STATE_ACTIVE };

    return key;
}

/*
 * One issuer with a key of each kind, by its name in lower case as kid ("rs256", "es384", ...), and
 * another, "other", with the second RSA key as "rs256" and a key "theirs".
 */
static inline void jwt_rig_settings(struct jwt_rig *rig)
{
    const char *rsa = jwt_rig_file(rig, "rsa.pem", jwt_public_rsa);
    const char *rsa2 = jwt_rig_file(rig, "rsa2.pem", jwt_public_rsa2);
    const char *ec256 = jwt_rig_file(rig, "ec256.pem", jwt_public_ec256);
    const char *ec384 = jwt_rig_file(rig, "ec384.pem", jwt_public_ec384);
    const char *ec521 = jwt_rig_file(rig, "ec521.pem", jwt_public_ec521);
    const char *ed = jwt_rig_file(rig, "ed.pem", jwt_public_ed);
    const char *secret = jwt_rig_file(rig, "secret", jwt_secret);
    struct pawl_jwt_key_settings keys[] = {
        jwt_rig_key("hs256", PAWL_JWT_HS256, "", secret),
        jwt_rig_key("hs384", PAWL_JWT_HS384, "", secret),
        jwt_rig_key("hs512", PAWL_JWT_HS512, "", secret),
        jwt_rig_key("rs256", PAWL_JWT_RS256, rsa, ""),
        jwt_rig_key("rs384", PAWL_JWT_RS384, rsa, ""),
        jwt_rig_key("rs512", PAWL_JWT_RS512, rsa, ""),
        jwt_rig_key("ps256", PAWL_JWT_PS256, rsa, ""),
        jwt_rig_key("ps384", PAWL_JWT_PS384, rsa, ""),
        jwt_rig_key("ps512", PAWL_JWT_PS512, rsa, ""),
        jwt_rig_key("es256", PAWL_JWT_ES256, ec256, ""),
        jwt_rig_key("es384", PAWL_JWT_ES384, ec384, ""),
        jwt_rig_key("es512", PAWL_JWT_ES512, ec521, ""),
        jwt_rig_key("eddsa", PAWL_JWT_EDDSA, ed, ""),
        jwt_rig_key("rs256", PAWL_JWT_RS256, rsa2, ""),
        jwt_rig_key("theirs", PAWL_JWT_ES256, ec256, ""),
    };

    memcpy(rig->keys, keys, sizeof(keys));
    rig->issuers[0] = jwt_rig_issuer(JWT_RIG_ISS, rig->keys, 13);
    rig->issuers[1] = jwt_rig_issuer("other", rig->keys + 13, 2);
    rig->settings.issuers = rig->issuers;
    rig->settings.issuer_count = 2;
}

static inline void jwt_rig_open(struct jwt_rig *rig)
{
    if (pawl_jwt_create(&rig->keyring, &rig->settings, &rig->report, &rig->error) != PAWL_OK) {
        JWT_RIG_DIE(rig->error.text);
    }
    rig->port = pawl_jwt_port(rig->keyring);
    rig->verifier = rig->port.ops->open(rig->port.self);
    if (rig->verifier == NULL) {
        JWT_RIG_DIE("no verifier");
    }
}

static inline void jwt_rig_close(struct jwt_rig *rig)
{
    if (rig->verifier != NULL) {
        rig->port.ops->close(rig->verifier);
    }
    pawl_jwt_destroy(rig->keyring);
    for (unsigned i = 0; i < 16; i++) {
        if (rig->path[i][0] != '\0') {
            (void)unlink(rig->path[i]);
        }
    }
    (void)rmdir(rig->dir);
}

static inline struct pawl_jwt_request jwt_rig_request(const void *token, size_t size)
{
    struct pawl_jwt_request request = { .raw = pawl_bytes_of(token, size),
                                        .now = { JWT_RIG_NOW },
                                        .skew_s = 60 };

    return request;
}

static inline enum pawl_jwt_reason jwt_rig_verify_bytes(struct jwt_rig *rig, const void *token,
                                                        size_t size)
{
    struct pawl_jwt_request request = jwt_rig_request(token, size);

    return rig->port.ops->verify(rig->verifier, &request, &rig->claims);
}

static inline enum pawl_jwt_reason jwt_rig_verify(struct jwt_rig *rig, const char *token)
{
    return jwt_rig_verify_bytes(rig, token, strlen(token));
}

#endif
