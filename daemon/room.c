#include "room.h"

#include "core/lease.h"

/* As ./dev bench --only sizing finds them, rounded up: the table (64, promised) and, with a
 * data_dir, where each row lies; and in a fleet the log of facts. The table's region is no measure:
 * it is room for areas to grow into, of which at most two of each shard have pages. */
#define REVOCATION_BYTES UINT64_C(80)
#define FACT_BYTES       UINT64_C(240)

static uint64_t revocation_bytes(const struct pawl_settings *settings)
{
    return REVOCATION_BYTES + (settings->cluster.on ? FACT_BYTES : 0);
}

/* What the tables may come to, and not what they take: pages are taken when they fill. */
static uint64_t tables_max_bytes(const struct pawl_settings *settings)
{
    return settings->memory_max_bytes + settings->revocations_max * revocation_bytes(settings) +
           pawl_leases_size((size_t)settings->leases_max) + settings->server.buffers_max_bytes;
}

void pawl_room_open(struct pawl_room *room, const struct pawl_settings *settings,
                    const struct pawl_log *log)
{
    uint64_t tables = tables_max_bytes(settings);
    uint64_t limit;

    pawl_control_group_read(&room->group, NULL);
    limit = room->group.memory_max_bytes;
    if (limit != 0 && tables > limit) {
        pawl_log_event(log, PAWL_LOG_WARN, "memory_limit_low", PAWL_F_U64("limit_bytes", limit),
                       PAWL_F_U64("tables_max_bytes", tables),
                       PAWL_F_TEXT("do", "full tables would not fit in what the container or "
                                         "unit may take, and the kernel would end pawld: raise "
                                         "that limit, or lower memory_max, revocations_max, "
                                         "leases_max or server.buffers_max"));
    }
}

unsigned pawl_room_cores(const struct pawl_room *room)
{
    return (room->group.processors_milli + 999) / 1000;
}
