#include "core/keyhash.h"

#include <sodium.h>
#include <string.h>

_Static_assert(sizeof(((struct pawl_subkey *)0)->bytes) == crypto_shorthash_siphashx24_KEYBYTES,
               "a subkey is a SipHash key");
_Static_assert(sizeof(struct pawl_id) == crypto_shorthash_siphashx24_BYTES,
               "an id is a 128-bit SipHash");
_Static_assert(PAWL_SHA256_BYTES == crypto_hash_sha256_BYTES, "SHA-256");

void pawl_subkey_derive(struct pawl_subkey *subkey, const uint8_t *secret,
                        enum pawl_subkey_purpose purpose)
{
    char label[16] = "pawl subkey v1 ";

    label[15] = (char)('0' + (int)purpose);
    (void)crypto_generichash(subkey->bytes, sizeof(subkey->bytes), (const unsigned char *)label,
                             sizeof(label), secret, PAWL_SECRET_BYTES);
}

struct pawl_id pawl_keyhash128(const struct pawl_subkey *key, const void *data, size_t size)
{
    uint8_t out[crypto_shorthash_siphashx24_BYTES];
    struct pawl_id id = { 0, 0 };

    (void)crypto_shorthash_siphashx24(out, data, size, key->bytes);
    for (unsigned i = 0; i < 8; i++) { /* little endian on every machine: ids are stored */
        id.lo |= (uint64_t)out[i] << (8 * i);
        id.hi |= (uint64_t)out[8 + i] << (8 * i);
    }
    return id;
}

uint64_t pawl_keyhash64(const struct pawl_subkey *key, const void *data, size_t size)
{
    uint8_t out[crypto_shorthash_siphash24_BYTES];
    uint64_t mac = 0;

    (void)crypto_shorthash_siphash24(out, data, size, key->bytes);
    for (unsigned i = 0; i < 8; i++) {
        mac |= (uint64_t)out[i] << (8 * i);
    }
    return mac;
}

void pawl_sha256(uint8_t *out, const void *data, size_t size)
{
    (void)crypto_hash_sha256(out, data, size);
}

void pawl_keyed_digest(uint8_t *out, const uint8_t *key, const void *data, size_t size)
{
    (void)crypto_generichash(out, PAWL_DIGEST_BYTES, data, size, key, PAWL_DIGEST_BYTES);
}

bool pawl_equal_secret(const void *a, const void *b, size_t size)
{
    return sodium_memcmp(a, b, size) == 0;
}

void pawl_wipe(void *data, size_t size)
{
    sodium_memzero(data, size);
}
