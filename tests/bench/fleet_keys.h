/*
 * Which keys of a load a member of a fleet counts itself: as a client that routes learns it, by
 * asking the member for its view and the subkey under which keys are spread.
 */
#ifndef PAWL_BENCH_FLEET_KEYS_H
#define PAWL_BENCH_FLEET_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_KEYS_MAX (UINT32_C(1) << 20)

enum bench_whose {
    BENCH_ANYBODYS = 0,
    BENCH_OWN = 1,      /* counted by the member that is asked */
    BENCH_ANOTHERS = 2, /* forwarded by it */
};

/**
 * The first @count numbers whose keys ("user:" and eight hexadecimal digits, in the namespace
 * "default") are @whose, into @numbers. Blocks.
 *
 * @address  of a member, unix:PATH: the subkey is told only to those who are known.
 * @count    1 to BENCH_KEYS_MAX.
 *
 * Returns false with a text in @error.
 */
bool bench_keys_find(const char *address, enum bench_whose whose, uint32_t count, uint32_t *numbers,
                     char *error, size_t error_size);

#endif
