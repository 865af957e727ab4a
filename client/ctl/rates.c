#include "rates.h"

#include "core/rate_text.h"

#include <stdio.h>
#include <string.h>

_Static_assert(CTL_RATES_MAX == PAWL_RATES_MAX, "as many rates as a limit can have");

bool rates_read(const char *text, struct ctl_rates *rates, char *error, size_t error_size)
{
    struct pawl_rate parsed[PAWL_RATES_MAX];
    struct pawl_rate_error wrong;
    size_t count = 0;

    if (pawl_rate_text_parse(pawl_bytes_of(text, strlen(text)), parsed, &count, &wrong) !=
        PAWL_OK) {
        snprintf(error, error_size, "--rate %.40s: at byte %zu: %s", text, wrong.position + 1,
                 wrong.text);
        return false;
    }
    for (size_t i = 0; rates != NULL && i < count; i++) {
        rates->counts[i] = parsed[i].count;
        rates->windows_ms[i] = parsed[i].window_ms;
        rates->count = (uint32_t)i + 1;
    }
    return true;
}
