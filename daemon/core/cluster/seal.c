#include "core/cluster/seal.h"

#include "core/octets.h"
#include "core/siphash.h"

static uint64_t seal_of(const struct pawl_subkey *key, enum pawl_seal_domain domain,
                        struct pawl_bytes place, struct pawl_bytes value)
{
    struct pawl_siphash state = pawl_siphash_init(key);

    pawl_siphash_put(&state, (uint64_t)domain, 4);
    pawl_siphash_part(&state, place);
    pawl_siphash_part(&state, value);
    return pawl_siphash_end(state).lo;
}

size_t pawl_seal(const struct pawl_subkey *key, enum pawl_seal_domain domain,
                 struct pawl_bytes place, uint8_t *bytes, size_t size)
{
    pawl_put_le(bytes + size, seal_of(key, domain, place, pawl_bytes_of(bytes, size)),
                PAWL_SEAL_BYTES);
    return size + PAWL_SEAL_BYTES;
}

bool pawl_unseal(const struct pawl_subkey *key, enum pawl_seal_domain domain,
                 struct pawl_bytes place, struct pawl_bytes sealed, struct pawl_bytes *value)
{
    uint8_t seal[PAWL_SEAL_BYTES];

    *value = pawl_bytes_of(NULL, 0);
    if (sealed.size < PAWL_SEAL_BYTES) {
        return false;
    }
    struct pawl_bytes inside = pawl_bytes_of(sealed.data, sealed.size - PAWL_SEAL_BYTES);

    pawl_put_le(seal, seal_of(key, domain, place, inside), PAWL_SEAL_BYTES);
    if (!pawl_equal_secret(seal, sealed.data + inside.size, PAWL_SEAL_BYTES)) {
        return false;
    }
    *value = inside;
    return true;
}

bool pawl_unseal_any(const struct pawl_subkey *keys, unsigned count, enum pawl_seal_domain domain,
                     struct pawl_bytes place, struct pawl_bytes sealed, struct pawl_bytes *value)
{
    *value = pawl_bytes_of(NULL, 0);
    for (unsigned i = 0; i < count; i++) {
        if (pawl_unseal(&keys[i], domain, place, sealed, value)) {
            return true;
        }
    }
    return false;
}
