/*
 * Streams: found by origin, and for each which position holds which fact.
 */
#include "core/cluster/log_inside.h"

#include <string.h>

#define SLOTS_MIN  16u
#define SLOTS_MASK (PAWL_LOG_ORIGIN_SLOTS - 1)

_Static_assert(PAWL_LOG_ORIGIN_SLOTS >= 2 * PAWL_ORIGINS_MAX, "runs stay short");

/* ---- by id ---------------------------------------------------------------------------------- */

static uint32_t home_of(const struct pawl_log_inside *in, const struct pawl_origin *id)
{
    return (uint32_t)pawl_keyhash64(&in->keys[0], id->bytes, sizeof(id->bytes)) & SLOTS_MASK;
}

struct pawl_log_origin *pawl_log_origin_find(const struct pawl_log_inside *in,
                                             const struct pawl_origin *id)
{
    for (uint32_t at = home_of(in, id);; at = (at + 1) & SLOTS_MASK) {
        uint16_t index = in->origin_slots[at];

        if (index == 0) {
            return NULL;
        }
        struct pawl_log_origin *origin = in->origins[index - 1];

        if (memcmp(&origin->id, id, sizeof(*id)) == 0) {
            return origin;
        }
    }
}

static void put(struct pawl_log_inside *in, const struct pawl_log_origin *origin)
{
    uint32_t at = home_of(in, &origin->id);

    while (in->origin_slots[at] != 0) {
        at = (at + 1) & SLOTS_MASK;
    }
    in->origin_slots[at] = (uint16_t)(origin->index + 1);
}

struct pawl_log_origin *pawl_log_origin_get(struct pawl_log_inside *in,
                                            const struct pawl_origin *id, uint64_t now_ms)
{
    struct pawl_log_origin *origin = pawl_log_origin_find(in, id);
    uint16_t index = 0;

    if (origin != NULL) {
        return origin;
    }
    while (index < PAWL_ORIGINS_MAX && in->origins[index] != NULL) {
        index++;
    }
    if (index == PAWL_ORIGINS_MAX) {
        return NULL;
    }
    origin = pawl_log_take(in, NULL, 0, sizeof(*origin));
    if (origin == NULL) {
        return NULL;
    }
    *origin = (struct pawl_log_origin){
        .id = *id,
        .index = index,
        .lo = 1,
        .quiet_ms = now_ms,
    };
    in->origins[index] = origin;
    in->origins_end = index >= in->origins_end ? index + 1U : in->origins_end;
    in->log->stats.origins = ++in->origin_count;
    put(in, origin);
    return origin;
}

void pawl_log_origin_remove(struct pawl_log_inside *in, struct pawl_log_origin *origin)
{
    pawl_log_slots_drop(in, origin, origin->hi + 1);
    pawl_log_give(in, origin->slots, origin->capacity * sizeof(*origin->slots));
    in->origins[origin->index] = NULL;
    while (in->origins_end > 0 && in->origins[in->origins_end - 1] == NULL) {
        in->origins_end--;
    }
    in->log->stats.origins = --in->origin_count;
    pawl_log_give(in, origin, sizeof(*origin));
    memset(in->origin_slots, 0, sizeof(in->origin_slots)); /* rare */
    for (uint32_t i = 0; i < in->origins_end; i++) {
        if (in->origins[i] != NULL) {
            put(in, in->origins[i]);
        }
    }
}

/* ---- positions ------------------------------------------------------------------------------ */

static bool is_fact(uint32_t value)
{
    return (value & PAWL_LOG_HANDLE) >= PAWL_LOG_FIRST;
}

static size_t count_of(const struct pawl_log_origin *origin)
{
    return (size_t)(origin->hi + 1 - origin->lo);
}

uint32_t pawl_log_slot(const struct pawl_log_inside *in, const struct pawl_log_origin *origin,
                       uint64_t position)
{
    if (position < origin->lo) {
        return PAWL_LOG_VOID;
    }
    if (position > origin->hi) {
        return PAWL_LOG_EMPTY;
    }
    uint32_t handle = *pawl_log_slot_at(origin, position) & PAWL_LOG_HANDLE;

    return handle >= PAWL_LOG_FIRST && pawl_log_fact_at(&in->facts, handle)->bytes == NULL
               ? PAWL_LOG_VOID
               : handle;
}

void pawl_log_slot_set(struct pawl_log_inside *in, struct pawl_log_origin *origin,
                       uint64_t position, uint32_t value)
{
    uint32_t *slot = pawl_log_slot_at(origin, position);
    uint32_t old = *slot;

    if (is_fact(value)) {
        pawl_log_facts_ref(in, value & PAWL_LOG_HANDLE);
        origin->live++;
    }
    *slot = value;
    if (value == PAWL_LOG_EMPTY) {
        origin->empty++;
    }
    if (old == PAWL_LOG_EMPTY) {
        origin->empty--;
    } else if (is_fact(old)) {
        origin->live--;
        pawl_log_facts_unref(in, old & PAWL_LOG_HANDLE);
    }
}

/* Room for @count slots: what was dropped at the front is used before more is taken. */
static enum pawl_status make_room(struct pawl_log_inside *in, struct pawl_log_origin *origin,
                                  size_t count)
{
    size_t used = count_of(origin);

    if (origin->start + count <= origin->capacity) {
        return PAWL_OK;
    }
    if (count <= origin->capacity - origin->capacity / 4) {
        memmove(origin->slots, origin->slots + origin->start, used * sizeof(*origin->slots));
        origin->start = 0;
        return PAWL_OK;
    }
    size_t capacity = count + count / 2 + SLOTS_MIN;
    uint32_t *slots = pawl_log_take(in, NULL, 0, capacity * sizeof(*slots));

    if (slots == NULL) {
        return PAWL_ENOMEM;
    }
    if (used > 0) {
        memcpy(slots, origin->slots + origin->start, used * sizeof(*slots));
    }
    pawl_log_give(in, origin->slots, origin->capacity * sizeof(*slots));
    origin->slots = slots;
    origin->capacity = capacity;
    origin->start = 0;
    return PAWL_OK;
}

enum pawl_status pawl_log_slots_extend(struct pawl_log_inside *in, struct pawl_log_origin *origin,
                                       uint64_t position, uint32_t fill)
{
    size_t used = count_of(origin);
    size_t more = (size_t)(position - origin->hi);
    enum pawl_status status = make_room(in, origin, used + more);

    if (status != PAWL_OK) {
        return status;
    }
    for (size_t i = 0; i < more; i++) {
        origin->slots[origin->start + used + i] = fill;
    }
    origin->empty += fill == PAWL_LOG_EMPTY ? more : 0;
    origin->hi = position;
    return PAWL_OK;
}

void pawl_log_slots_drop(struct pawl_log_inside *in, struct pawl_log_origin *origin,
                         uint64_t position)
{
    uint64_t end = position > origin->hi + 1 ? origin->hi + 1 : position;

    for (; origin->lo < end; origin->lo++, origin->start++) {
        uint32_t old = origin->slots[origin->start];

        if (old == PAWL_LOG_EMPTY) {
            origin->empty--;
        } else if (is_fact(old)) {
            origin->live--;
            pawl_log_facts_unref(in, old & PAWL_LOG_HANDLE);
        }
    }
    if (position > origin->hi) {
        origin->lo = position;
        origin->hi = position - 1;
    }
    if (origin->lo > origin->hi) {
        origin->start = 0;
    }
}

uint64_t pawl_log_applied(const struct pawl_log_origin *origin)
{
    if (origin->empty == 0) {
        return origin->hi;
    }
    for (uint64_t position = origin->lo;; position++) {
        if (*pawl_log_slot_at(origin, position) == PAWL_LOG_EMPTY) {
            return position - 1;
        }
    }
}
