/* Rates as text, read where libpawl's words are not in sight: for the place and the hint. */
#ifndef PAWL_CTL_RATES_H
#define PAWL_CTL_RATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CTL_RATES_MAX 8

struct ctl_rates {
    uint64_t counts[CTL_RATES_MAX];
    uint32_t windows_ms[CTL_RATES_MAX];
    uint32_t count;
};

/** Read @text; false with "--rate: where and why" in @error. @rates may be NULL. */
bool rates_read(const char *text, struct ctl_rates *rates, char *error, size_t error_size);

#endif
