#include "core/cluster/cold.h"

bool pawl_cold_waits(const struct pawl_cold *cold, uint64_t age_ms)
{
    if (cold->synced || cold->loaded) {
        return false;
    }
    return age_ms < (cold->others ? PAWL_COLD_MAX_MS : PAWL_COLD_ALONE_MS);
}
