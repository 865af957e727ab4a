/*
 * What the tests of facts, families and rotation share: keys, names, a seeded generator.
 */
#ifndef PAWL_TESTS_TOKEN_RIG_H
#define PAWL_TESTS_TOKEN_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/fact.h"
#include "core/sid.h"

#define RIG_NOW_S UINT64_C(1800000000)

static inline struct pawl_bytes text(const char *string)
{
    return pawl_bytes_of(string, strlen(string));
}

static inline struct pawl_stamp stamp_of_ms(uint64_t ms)
{
    struct pawl_stamp stamp = { ms * 1000 };

    return stamp;
}

static inline struct pawl_token_keys rig_keys(void)
{
    static const uint8_t secret[PAWL_SECRET_BYTES] = "a root secret for tests only....";
    struct pawl_token_keys keys = { .sid_count = 1, .adopt_count = 1 };

    pawl_subkey_derive(&keys.facts, secret, PAWL_SUBKEY_FACTS);
    pawl_subkey_derive(&keys.sid[0], secret, PAWL_SUBKEY_SID);
    keys.adopt[0] = keys.sid[0];
    return keys;
}

/** splitmix64: the seed of a failed run is printed and may be given again. */
static inline uint64_t rig_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline uint64_t rig_seed(void)
{
    const char *given = getenv("PAWL_TEST_SEED");

    return given != NULL ? strtoull(given, NULL, 0) : UINT64_C(20260101);
}

/** Fail with the seed that shows it again. */
#define rig_check(seed, condition)                                            \
    do {                                                                      \
        if (!(condition)) {                                                   \
            print_error("PAWL_TEST_SEED=%llu\n", (unsigned long long)(seed)); \
            fail_msg("%s", #condition);                                       \
        }                                                                     \
    } while (0)

#endif
