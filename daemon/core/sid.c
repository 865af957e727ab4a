#include "core/sid.h"

#include "core/fact.h"

#include <string.h>

#define UUID_BYTES 16
#define MAC_AT     12 /* the last 32 bits */
#define BIRTH_MAX  ((UINT64_C(1) << 48) - 1)

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Where in the text the two digits of each byte begin. */
static const uint8_t digit_at[UUID_BYTES] = { 0,  2,  4,  6,  9,  11, 14, 16,
                                              19, 21, 24, 26, 28, 30, 32, 34 };

bool pawl_uuid_parse(uint8_t out[16], struct pawl_bytes text)
{
    if (text.size != PAWL_SID_TEXT || text.data[8] != '-' || text.data[13] != '-' ||
        text.data[18] != '-' || text.data[23] != '-') {
        return false;
    }
    for (unsigned i = 0; i < UUID_BYTES; i++) {
        int high = hex_digit(text.data[digit_at[i]]);
        int low = hex_digit(text.data[digit_at[i] + 1]);

        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void pawl_uuid_format(char text[PAWL_SID_TEXT + 1], const uint8_t uuid[16])
{
    static const char digits[] = "0123456789abcdef";

    memset(text, '-', PAWL_SID_TEXT);
    for (unsigned i = 0; i < UUID_BYTES; i++) {
        text[digit_at[i]] = digits[uuid[i] >> 4];
        text[digit_at[i] + 1] = digits[uuid[i] & 15];
    }
    text[PAWL_SID_TEXT] = '\0';
}

static void sid_mac(uint8_t mac[4], const struct pawl_subkey *key, struct pawl_bytes ns,
                    const uint8_t *uuid)
{
    uint8_t buffer[4 + PAWL_NS_MAX + 4 + MAC_AT];
    struct pawl_pack pack;

    pawl_pack_init(&pack, buffer, sizeof(buffer));
    pawl_pack_bytes(&pack, ns.data, ns.size);
    pawl_pack_bytes(&pack, uuid, MAC_AT);
    if (PAWL_UNLIKELY(pack.overflown)) {
        __builtin_trap(); /* callers check the cap of a namespace */
    }
    uint64_t hash = pawl_keyhash64(key, buffer, pack.size);

    for (unsigned i = 0; i < 4; i++) {
        mac[i] = (uint8_t)(hash >> (8 * i));
    }
}

/* RFC 9562 section 5.7, with the MAC in the last bits of rand_b. */
static void sid_make(struct pawl_sid *sid, const struct pawl_subkey *key, struct pawl_bytes ns,
                     uint64_t birth_ms, const uint8_t *entropy)
{
    uint8_t uuid[UUID_BYTES];

    for (unsigned i = 0; i < 6; i++) {
        uuid[i] = (uint8_t)(birth_ms >> (8 * (5 - i)));
    }
    memcpy(uuid + 6, entropy, PAWL_SID_ENTROPY);
    uuid[6] = (uint8_t)(0x70 | (uuid[6] & 0x0f));
    uuid[8] = (uint8_t)(0x80 | (uuid[8] & 0x3f));
    sid_mac(uuid + MAC_AT, key, ns, uuid);
    pawl_uuid_format(sid->text, uuid);
}

uint64_t pawl_sid_mint(struct pawl_sid *sid, const struct pawl_token_keys *keys,
                       struct pawl_bytes ns, struct pawl_stamp now, uint64_t not_before_ms,
                       const uint8_t *entropy)
{
    uint64_t birth_ms = now.us / 1000;

    if (birth_ms < not_before_ms) {
        birth_ms = not_before_ms;
    }
    if (birth_ms > BIRTH_MAX) {
        birth_ms = BIRTH_MAX;
    }
    sid_make(sid, &keys->sid[0], ns, birth_ms, entropy);
    return birth_ms;
}

void pawl_sid_adopt(struct pawl_sid *sid, const struct pawl_subkey *key, struct pawl_bytes ns,
                    struct pawl_id token, int64_t iat_s)
{
    uint8_t buffer[3 * 12];
    uint8_t entropy[PAWL_SID_ENTROPY];
    uint64_t birth_ms = iat_s <= 0 ? 0 : (uint64_t)iat_s;
    struct pawl_pack pack;

    birth_ms = birth_ms > BIRTH_MAX / 1000 ? BIRTH_MAX : birth_ms * 1000;
    pawl_pack_init(&pack, buffer, sizeof(buffer));
    pawl_pack_u64(&pack, token.lo);
    pawl_pack_u64(&pack, token.hi);
    pawl_pack_u64(&pack, birth_ms);
    uint64_t hash = pawl_keyhash64(key, buffer, pack.size);

    for (unsigned i = 0; i < PAWL_SID_ENTROPY; i++) {
        entropy[i] = (uint8_t)(hash >> (8 * i));
    }
    sid_make(sid, key, ns, birth_ms, entropy);
}

uint64_t pawl_sid_birth_ms(const struct pawl_token_keys *keys, struct pawl_bytes ns,
                           struct pawl_bytes sid, struct pawl_stamp now, uint64_t skew_ms)
{
    uint8_t uuid[UUID_BYTES];
    uint8_t mac[4];
    uint64_t birth_ms = 0;
    bool held = false;

    if (ns.size > PAWL_NS_MAX || !pawl_uuid_parse(uuid, sid) || (uuid[6] & 0xf0) != 0x70 ||
        (uuid[8] & 0xc0) != 0x80) {
        return 0;
    }
    for (unsigned i = 0; i < 6; i++) {
        birth_ms = birth_ms << 8 | uuid[i];
    }
    if (birth_ms > now.us / 1000 && birth_ms - now.us / 1000 > skew_ms) {
        return 0;
    }
    for (unsigned i = 0; i < keys->sid_count && i < PAWL_SID_KEYS; i++) {
        sid_mac(mac, &keys->sid[i], ns, uuid);
        held |= pawl_equal_secret(mac, uuid + MAC_AT, sizeof(mac));
    }
    return held ? birth_ms : 0;
}
