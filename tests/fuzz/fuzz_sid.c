/*
 * Family ids: the input is a text that claims to be one, then what an id is minted from.
 *
 * What must hold: a UUID that was read writes the same text; a text that nobody minted has no birth
 * time; what was minted has the one that was told, under either key, in its namespace only, and no
 * longer when a digit of it is changed.
 */
#include "core/sid.h"
#include "fuzz/require.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FAR ((UINT64_C(1) << 48) * 1000)

struct seed {
    uint64_t now_us;
    uint64_t not_before_ms;
    uint8_t entropy[PAWL_SID_ENTROPY];
    uint8_t change; /* which digit, and how */
    uint8_t by;
};

static void check_text(const struct pawl_token_keys *keys, struct pawl_bytes text)
{
    uint8_t *copy = malloc(text.size > 0 ? text.size : 1);
    char again[PAWL_SID_TEXT + 1];
    uint8_t uuid[16];

    require(copy != NULL);
    memcpy(copy, text.data, text.size);
    if (pawl_uuid_parse(uuid, pawl_bytes_of(copy, text.size))) {
        require(text.size == PAWL_SID_TEXT);
        pawl_uuid_format(again, uuid);
        require(memcmp(again, copy, PAWL_SID_TEXT) == 0 && again[PAWL_SID_TEXT] == '\0');
    }
    require(pawl_sid_birth_ms(keys, pawl_bytes_of("ns", 2), pawl_bytes_of(copy, text.size),
                              (struct pawl_stamp){ FAR }, 0) == 0);
    free(copy);
}

static void check_minted(const struct pawl_token_keys *keys, const struct seed *seed)
{
    const struct pawl_stamp far = { FAR };
    struct pawl_bytes ns = pawl_bytes_of("tenant", 6);
    struct pawl_sid sid;
    uint64_t birth_ms = pawl_sid_mint(&sid, keys, ns, (struct pawl_stamp){ seed->now_us },
                                      seed->not_before_ms, seed->entropy);
    struct pawl_bytes text = pawl_bytes_of(sid.text, PAWL_SID_TEXT);
    unsigned at = seed->change % PAWL_SID_TEXT;

    require(strlen(sid.text) == PAWL_SID_TEXT);
    require(birth_ms < UINT64_C(1) << 48 && pawl_sid_birth_ms(keys, ns, text, far, 0) == birth_ms);
    require(pawl_sid_birth_ms(keys, pawl_bytes_of("tenanu", 6), text, far, 0) == 0);
    if (birth_ms > 0) { /* born later than now and skew: no birth time */
        require(pawl_sid_birth_ms(keys, ns, text, (struct pawl_stamp){ (birth_ms - 1) * 1000 },
                                  0) == 0);
        require(pawl_sid_birth_ms(keys, ns, text, (struct pawl_stamp){ (birth_ms - 1) * 1000 },
                                  1) == birth_ms);
    }
    if (sid.text[at] != '-') {
        sid.text[at] = "0123456789abcdef"[(unsigned)(sid.text[at] + 1 + seed->by % 15) & 15];
    }
    uint64_t changed = pawl_sid_birth_ms(keys, ns, text, far, 0);

    require(changed == 0 || changed == birth_ms); /* the same digit again, or no birth time */
}

static void check_adopted(const struct pawl_token_keys *keys, const struct seed *seed)
{
    struct pawl_id token = { seed->now_us, seed->not_before_ms };
    struct pawl_bytes ns = pawl_bytes_of("", 0);
    struct pawl_sid sid;
    struct pawl_sid again;
    int64_t iat_s = (int64_t)seed->not_before_ms;

    pawl_sid_adopt(&sid, &keys->sid[1], ns, token, iat_s);
    pawl_sid_adopt(&again, &keys->sid[1], ns, token, iat_s);
    require(strcmp(sid.text, again.text) == 0);
    uint64_t birth_ms = pawl_sid_birth_ms(keys, ns, pawl_bytes_of(sid.text, PAWL_SID_TEXT),
                                          (struct pawl_stamp){ FAR }, 0);

    require(iat_s <= 0 ? birth_ms == 0
                       : birth_ms == (uint64_t)iat_s * 1000 || birth_ms == (UINT64_C(1) << 48) - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pawl_token_keys keys = { .sid_count = PAWL_SID_KEYS };
    struct seed seed = { .now_us = 0 };
    size_t text = size < PAWL_SID_TEXT + 1 ? size : PAWL_SID_TEXT + (size_t)(data[0] & 1);

    memset(&keys.sid[0], 1, sizeof(keys.sid[0]));
    memset(&keys.sid[1], 2, sizeof(keys.sid[1]));
    if (size == 0) {
        return 0;
    }
    check_text(&keys, pawl_bytes_of(data, text));
    memcpy(&seed, data + text, size - text < sizeof(seed) ? size - text : sizeof(seed));
    check_minted(&keys, &seed);
    check_adopted(&keys, &seed);
    return 0;
}
