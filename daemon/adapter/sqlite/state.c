#include "adapter/sqlite/state.h"

#include <string.h>

#define STATE_VERSION 1u

struct cursor {
    uint8_t *at;
};

static void put(struct cursor *out, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        *out->at++ = (uint8_t)(value >> (8 * i));
    }
}

static void put_bytes(struct cursor *out, const void *data, size_t size)
{
    memcpy(out->at, data, size);
    out->at += size;
}

struct reader {
    const uint8_t *at;
};

static uint64_t get(struct reader *in)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)*in->at++ << (8 * i);
    }
    return value;
}

static void get_bytes(struct reader *in, void *out, size_t size)
{
    memcpy(out, in->at, size);
    in->at += size;
}

#define STATE_BYTES                                                            \
    (8 + 8 + PAWL_BIRTH_BYTES + PAWL_NODE_BYTES + 8 * 8 + PAWL_BOOT_ID_BYTES + \
     2 * PAWL_BUCKETS * 16 + 8)

_Static_assert(STATE_BYTES <= PAWL_STATE_BYTES_MAX, "the state fits its page");

size_t pawl_state_encode(const struct pawl_state *state, const struct pawl_store_keys *keys,
                         uint8_t out[PAWL_STATE_BYTES_MAX])
{
    struct cursor c = { out };

    put(&c, STATE_VERSION);
    put(&c, keys->check);
    put_bytes(&c, state->birth, PAWL_BIRTH_BYTES);
    put_bytes(&c, state->node, PAWL_NODE_BYTES);
    put(&c, state->birth_us);
    put(&c, state->commits);
    put(&c, state->next_n);
    put(&c, state->stamp_us);
    put(&c, state->floor_ms);
    put(&c, state->test_clock ? 1 : 0);
    put(&c, state->trim_us);
    put(&c, state->trim_boottime_ns);
    put_bytes(&c, state->trim_boot_id, PAWL_BOOT_ID_BYTES);
    for (unsigned i = 0; i < PAWL_BUCKETS; i++) {
        put(&c, state->facts[i].count);
        put(&c, state->facts[i].xor_of_macs);
        put(&c, state->families[i].count);
        put(&c, state->families[i].xor_of_macs);
    }
    put(&c, pawl_keyhash64(&keys->facts, out, (size_t)(c.at - out)));
    return (size_t)(c.at - out);
}

static enum pawl_status check(struct pawl_bytes bytes, const struct pawl_store_keys *keys,
                              unsigned keys_count)
{
    struct reader r = { bytes.data };

    if (bytes.size < 24) {
        return PAWL_ECORRUPT;
    }
    uint64_t version = get(&r);
    uint64_t secret = get(&r);

    for (unsigned i = 0; i < keys_count; i++) {
        if (secret != keys[i].check) {
            continue;
        }
        r.at = bytes.data + bytes.size - 8;
        if (get(&r) != pawl_keyhash64(&keys[i].facts, bytes.data, bytes.size - 8)) {
            return PAWL_ECORRUPT;
        }
        if (version != STATE_VERSION) {
            return PAWL_EVERSION;
        }
        return bytes.size == STATE_BYTES ? PAWL_OK : PAWL_ECORRUPT;
    }
    return PAWL_ESECRET;
}

enum pawl_status pawl_state_decode(struct pawl_state *state, struct pawl_bytes bytes,
                                   const struct pawl_store_keys *keys, unsigned keys_count)
{
    enum pawl_status status = check(bytes, keys, keys_count);

    if (status != PAWL_OK) {
        return status;
    }
    struct reader r = { bytes.data + 16 };

    get_bytes(&r, state->birth, PAWL_BIRTH_BYTES);
    get_bytes(&r, state->node, PAWL_NODE_BYTES);
    state->birth_us = get(&r);
    state->commits = get(&r);
    state->next_n = get(&r);
    state->stamp_us = get(&r);
    state->floor_ms = get(&r);
    state->test_clock = get(&r) != 0;
    state->trim_us = get(&r);
    state->trim_boottime_ns = get(&r);
    get_bytes(&r, state->trim_boot_id, PAWL_BOOT_ID_BYTES);
    for (unsigned i = 0; i < PAWL_BUCKETS; i++) {
        state->facts[i].count = get(&r);
        state->facts[i].xor_of_macs = get(&r);
        state->families[i].count = get(&r);
        state->families[i].xor_of_macs = get(&r);
    }
    return PAWL_OK;
}

void pawl_digest_add(struct pawl_digest *digests, uint64_t bucket, uint64_t mac)
{
    digests[bucket % PAWL_BUCKETS].count++;
    digests[bucket % PAWL_BUCKETS].xor_of_macs ^= mac;
}

void pawl_digest_remove(struct pawl_digest *digests, uint64_t bucket, uint64_t mac)
{
    digests[bucket % PAWL_BUCKETS].count--;
    digests[bucket % PAWL_BUCKETS].xor_of_macs ^= mac;
}

uint64_t pawl_digest_count(const struct pawl_digest *digests)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < PAWL_BUCKETS; i++) {
        count += digests[i].count;
    }
    return count;
}

void pawl_state_trim_advance(struct pawl_state *state, const uint8_t boot_id[PAWL_BOOT_ID_BYTES],
                             uint64_t boottime_ns)
{
    if (memcmp(state->trim_boot_id, boot_id, PAWL_BOOT_ID_BYTES) == 0 &&
        boottime_ns > state->trim_boottime_ns) {
        state->trim_us += (boottime_ns - state->trim_boottime_ns) / 1000;
    }
    memcpy(state->trim_boot_id, boot_id, PAWL_BOOT_ID_BYTES);
    state->trim_boottime_ns = boottime_ns;
}
