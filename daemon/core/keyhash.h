/*
 * Keyed hashes: identities, row MACs, subkeys, digests of opaque tokens.
 *
 * The only place that knows libsodium. One root secret gives one subkey for each purpose
 * (keyed BLAKE2b); knowing one subkey gives no other. Identities are SipHash-2-4 with
 * 128 bits of output (Aumasson, Bernstein: "SipHash", 2012; XXH3 is no keyed hash).
 *
 * Everything here is pure and may be called from any thread.
 */
#ifndef PAWL_CORE_KEYHASH_H
#define PAWL_CORE_KEYHASH_H

#include "core/types.h"

#define PAWL_SECRET_BYTES 32 /* the root secret */
#define PAWL_SHA256_BYTES 32

/** A key for identities and MACs. Wiped by pawl_wipe() when its holder goes. */
struct pawl_subkey {
    uint8_t bytes[16];
};

/** One subkey for each purpose; the names go into their derivation. */
enum pawl_subkey_purpose {
    PAWL_SUBKEY_LIMITS = 1, /* identities and records of counters */
    PAWL_SUBKEY_FACTS = 2,  /* identities and MACs of facts and families */
    PAWL_SUBKEY_SLOTS = 3,  /* ownership of keys by members */
    PAWL_SUBKEY_SID = 4,    /* birth times in family ids */
    PAWL_SUBKEY_MASK = 5,   /* identities as shown in logs */
    PAWL_SUBKEY_CHECK = 6,  /* the check value in each store: same secret or not */
};

/** Derive the subkey of @purpose from @secret (PAWL_SECRET_BYTES). Cannot fail. */
void pawl_subkey_derive(struct pawl_subkey *subkey, const uint8_t *secret,
                        enum pawl_subkey_purpose purpose);

/** 128-bit keyed hash of @size bytes. Build @data with pawl_pack (length-prefixed parts). */
struct pawl_id pawl_keyhash128(const struct pawl_subkey *key, const void *data, size_t size);

/** 64-bit keyed hash: row MACs, record checksums that must not be forged. */
uint64_t pawl_keyhash64(const struct pawl_subkey *key, const void *data, size_t size);

/** SHA-256 of @data into @out (PAWL_SHA256_BYTES). */
void pawl_sha256(uint8_t *out, const void *data, size_t size);

#define PAWL_DIGEST_BYTES 32

/**
 * Keyed BLAKE2b of @data into @out (PAWL_DIGEST_BYTES): how secrets of clients are kept.
 *
 * @key  PAWL_DIGEST_BYTES, random.
 */
void pawl_keyed_digest(uint8_t *out, const uint8_t *key, const void *data, size_t size);

/** Constant-time equality of @size bytes. */
bool pawl_equal_secret(const void *a, const void *b, size_t size);

/** Overwrite @size bytes in a way the compiler keeps. */
void pawl_wipe(void *data, size_t size);

/*
 * Length-prefixed packing, so that ("a_b","c") and ("a","b_c") never meet. Each part is its size
 * as 4 bytes little endian, then its bytes. A pack that does not fit is marked overflown and has
 * to be refused; the caps of the wire (proto/pawl/v1/caps.h) keep valid input below any buffer
 * used for this.
 */
struct pawl_pack {
    uint8_t *data;
    size_t size;
    size_t capacity;
    bool overflown;
};

static inline void pawl_pack_init(struct pawl_pack *pack, void *buffer, size_t capacity)
{
    pack->data = (uint8_t *)buffer;
    pack->size = 0;
    pack->capacity = capacity;
    pack->overflown = false;
}

static inline void pawl_pack_bytes(struct pawl_pack *pack, const void *data, size_t size)
{
    size_t room = pack->capacity - pack->size;

    if (PAWL_UNLIKELY(size > UINT32_MAX || room < 4 || room - 4 < size)) {
        pack->overflown = true;
        return;
    }
    uint32_t prefix = (uint32_t)size;
    uint8_t *out = pack->data + pack->size;

    out[0] = (uint8_t)prefix;
    out[1] = (uint8_t)(prefix >> 8);
    out[2] = (uint8_t)(prefix >> 16);
    out[3] = (uint8_t)(prefix >> 24);
    if (size > 0) {
        __builtin_memcpy(out + 4, data, size);
    }
    pack->size += 4 + size;
}

static inline void pawl_pack_u64(struct pawl_pack *pack, uint64_t value)
{
    uint8_t out[8];

    for (unsigned i = 0; i < 8; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
    pawl_pack_bytes(pack, out, sizeof(out));
}

#endif
