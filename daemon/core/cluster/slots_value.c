/* A counter's record as it lies in the engine, and runs of records between members. */
#include "core/cluster/seal.h"
#include "core/cluster/slots.h"
#include "core/octets.h"

#include <string.h>

#define PLACE_BYTES 20

/* What a value must not be moved from. */
static struct pawl_bytes place_of(uint8_t out[PLACE_BYTES], struct pawl_id id, uint32_t slot)
{
    pawl_put_le(out, id.lo, 8);
    pawl_put_le(out + 8, id.hi, 8);
    pawl_put_le(out + 16, slot, 4);
    return pawl_bytes_of(out, PLACE_BYTES);
}

size_t pawl_slot_value_make(const struct pawl_subkey *limits, struct pawl_slot_anchor anchor,
                            struct pawl_bytes record, uint8_t *out)
{
    struct pawl_id id = pawl_limiter_record_id(record.data);
    uint8_t place[PLACE_BYTES];

    pawl_put_le(out, anchor.fleet_ms, 8);
    pawl_put_le(out + 8, anchor.wall_ms, 8);
    memcpy(out + PAWL_SLOT_ANCHOR_BYTES, record.data, record.size);
    return pawl_seal(limits, PAWL_SEAL_SLOT,
                     place_of(place, id, (uint32_t)(id.lo & (PAWL_RING_SLOTS - 1))), out,
                     PAWL_SLOT_ANCHOR_BYTES + record.size);
}

/* How far a clock has gone on; one that is not known, or went back, has not. */
static uint64_t gone_on(uint64_t from_ms, uint64_t to_ms)
{
    return from_ms != 0 && to_ms > from_ms ? to_ms - from_ms : 0;
}

enum pawl_status pawl_slot_value_open(const struct pawl_subkey *limits, struct pawl_id id,
                                      uint32_t slot, struct pawl_slot_anchor now,
                                      struct pawl_bytes value, struct pawl_bytes *record,
                                      uint64_t *elapsed_ms)
{
    uint8_t place[PLACE_BYTES];
    struct pawl_bytes inside;

    if (value.size > PAWL_SLOT_VALUE_MAX || (id.lo & (PAWL_RING_SLOTS - 1)) != slot ||
        !pawl_unseal(limits, PAWL_SEAL_SLOT, place_of(place, id, slot), value, &inside) ||
        inside.size < PAWL_SLOT_ANCHOR_BYTES + PAWL_RECORD_HEAD_BYTES) {
        return PAWL_ECORRUPT;
    }
    *record =
        pawl_bytes_of(inside.data + PAWL_SLOT_ANCHOR_BYTES, inside.size - PAWL_SLOT_ANCHOR_BYTES);
    if (!pawl_id_equal(pawl_limiter_record_id(record->data), id)) {
        return PAWL_ECORRUPT;
    }
    uint64_t fleet_ms = gone_on(pawl_get_le(inside.data, 8), now.fleet_ms);
    uint64_t wall_ms = gone_on(pawl_get_le(inside.data + 8, 8), now.wall_ms);

    /* one of the two may have been set on: both would have to be for a record to get too old */
    *elapsed_ms = fleet_ms < wall_ms ? fleet_ms : wall_ms;
    return PAWL_OK;
}

bool pawl_slot_run_next(struct pawl_bytes *run, struct pawl_bytes *record)
{
    if (run->size < 4) {
        return false;
    }
    uint64_t size = pawl_get_le(run->data, 4);

    if (size < PAWL_RECORD_HEAD_BYTES || size > PAWL_RECORD_BYTES_MAX || size > run->size - 4) {
        return false;
    }
    *record = pawl_bytes_of(run->data + 4, (size_t)size);
    run->data += 4 + size;
    run->size -= 4 + (size_t)size;
    return true;
}
