#include "adapter/sqlite/places.h"

#include "core/octets.h"

#include <sqlite3.h>
#include <string.h>

#define SLOTS_MIN 64u

/* Ids are given out by nodes: nobody outside chooses them. */
static uint64_t key_of(const struct pawl_fact_id *id)
{
    uint64_t key = pawl_get_le(id->origin.bytes, 8) * UINT64_C(0x9e3779b97f4a7c15);

    key ^= pawl_get_le(id->origin.bytes + 8, 8) + (key >> 29);
    key = (key ^ id->sequence) * UINT64_C(0xff51afd7ed558ccd);
    key = (key ^ key >> 32) * UINT64_C(0xc4ceb9fe1a85ec53);
    key ^= key >> 29;
    return key != 0 ? key : 1;
}

/* ---- the map -------------------------------------------------------------------------------- */

static size_t slot_of(const struct pawl_id_map *map, uint64_t key)
{
    size_t at = (size_t)key & map->mask;

    while (map->slots[at].key != 0 && map->slots[at].key != key) {
        at = (at + 1) & map->mask;
    }
    return at;
}

static enum pawl_status grow(struct pawl_id_map *map)
{
    size_t size = map->slots == NULL ? 0 : map->mask + 1;
    struct pawl_id_map more = { .mask = (size == 0 ? SLOTS_MIN : 2 * size) - 1 };

    if (map->count + 1 <= size / 4 * 3) {
        return PAWL_OK;
    }
    more.slots = sqlite3_malloc64((more.mask + 1) * sizeof(*more.slots));
    if (more.slots == NULL) {
        return PAWL_ENOMEM;
    }
    memset(more.slots, 0, (more.mask + 1) * sizeof(*more.slots));
    for (size_t i = 0; i < size; i++) {
        if (map->slots[i].key != 0) {
            more.slots[slot_of(&more, map->slots[i].key)] = map->slots[i];
        }
    }
    more.count = map->count;
    sqlite3_free(map->slots);
    *map = more;
    return PAWL_OK;
}

static enum pawl_status map_put(struct pawl_id_map *map, uint64_t key, uint64_t n)
{
    enum pawl_status status = grow(map);

    if (status == PAWL_OK) {
        size_t at = slot_of(map, key);

        map->count += map->slots[at].key == 0;
        map->slots[at] = (struct pawl_id_slot){ key, n };
    }
    return status;
}

static uint64_t map_find(const struct pawl_id_map *map, uint64_t key)
{
    return map->slots == NULL ? 0 : map->slots[slot_of(map, key)].n;
}

static void map_remove(struct pawl_id_map *map, uint64_t key)
{
    size_t at = slot_of(map, key);

    map->count--;
    for (size_t next = (at + 1) & map->mask; map->slots[next].key != 0;
         next = (next + 1) & map->mask) {
        size_t home = (size_t)map->slots[next].key & map->mask;

        if (((next - home) & map->mask) >= ((next - at) & map->mask)) {
            map->slots[at] = map->slots[next];
            at = next;
        }
    }
    map->slots[at] = (struct pawl_id_slot){ 0, 0 };
}

/* ---- places --------------------------------------------------------------------------------- */

static const struct pawl_origin_base *base_of(const struct pawl_places *places,
                                              const struct pawl_origin *origin)
{
    for (size_t i = places->count; i-- > 0;) {
        if (memcmp(&places->bases[i].origin, origin, sizeof(*origin)) == 0) {
            return &places->bases[i];
        }
    }
    return NULL;
}

static enum pawl_status add_base(struct pawl_places *places, const struct pawl_origin_base *base)
{
    if (places->count == places->capacity) {
        size_t capacity = places->capacity == 0 ? 16 : 2 * places->capacity;
        void *bases = sqlite3_realloc64(places->bases, capacity * sizeof(*base));

        if (bases == NULL) {
            return PAWL_ENOMEM;
        }
        places->bases = bases;
        places->capacity = capacity;
    }
    places->bases[places->count++] = *base;
    return PAWL_OK;
}

enum pawl_status pawl_places_note(struct pawl_places *places, const struct pawl_fact_id *id,
                                  uint64_t n)
{
    struct pawl_origin_base base = { .origin = id->origin, .base = n - id->sequence };

    if (places->count > 0 && memcmp(&places->bases[places->count - 1], &base, sizeof(base)) == 0) {
        return PAWL_OK; /* facts of one life lie side by side */
    }
    const struct pawl_origin_base *known = base_of(places, &id->origin);

    if (known != NULL && known->base == base.base) {
        return PAWL_OK;
    }
    return known == NULL && places->count < PAWL_BASES_MAX
               ? add_base(places, &base)
               : map_put(&places->strays, key_of(id), n);
}

uint64_t pawl_places_find(const struct pawl_places *places, const struct pawl_fact_id *id)
{
    uint64_t n = map_find(&places->strays, key_of(id));
    const struct pawl_origin_base *base = n == 0 ? base_of(places, &id->origin) : NULL;

    return base != NULL ? base->base + id->sequence : n;
}

void pawl_places_forget(struct pawl_places *places, const struct pawl_fact_id *id, uint64_t n)
{
    uint64_t key = key_of(id);

    if (map_find(&places->strays, key) == n) {
        map_remove(&places->strays, key);
    }
}

enum pawl_status pawl_places_note_cancel(struct pawl_places *places, const struct pawl_fact *fact,
                                         uint64_t n)
{
    enum pawl_status status = PAWL_OK;

    for (size_t at = 0; at + PAWL_FACT_ID_BYTES <= fact->cancels.size && status == PAWL_OK &&
                        places->named.count < PAWL_NAMED_MAX;
         at += PAWL_FACT_ID_BYTES) {
        struct pawl_fact_id id = pawl_fact_id_read(fact->cancels.data + at);

        status = map_put(&places->named, key_of(&id), n);
    }
    return status;
}

uint64_t pawl_places_find_cancel(const struct pawl_places *places, const struct pawl_fact_id *id)
{
    return map_find(&places->named, key_of(id));
}

void pawl_places_deinit(struct pawl_places *places)
{
    sqlite3_free(places->bases);
    sqlite3_free(places->strays.slots);
    sqlite3_free(places->named.slots);
    *places = (struct pawl_places){ .bases = NULL };
}
