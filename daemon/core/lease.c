#include "core/lease.h"

#include <string.h>

#define EXPIRE_WHEN_FULL 64 /* places looked at by an open that finds no room */

enum place_state {
    PLACE_FREE = 0,
    PLACE_LEASE = 1,
    PLACE_MORE = 2, /* further charges of the lease whose place names it */
};

struct pawl_lease_place {
    struct pawl_id id;
    struct pawl_id owner;
    uint64_t granted;
    uint64_t deadline_ns;
    struct pawl_id ids[PAWL_LEASE_INLINE];
    uint64_t charges[PAWL_LEASE_INLINE];
    uint8_t kinds[PAWL_LEASE_INLINE];
    uint32_t next; /* place + 1: of more charges, or of the next free one */
    uint8_t state;
    uint8_t count; /* charges in this place */
    uint16_t spare;
};

_Static_assert(sizeof(struct pawl_lease_place) == PAWL_LEASE_PLACE_BYTES, "a lease is 256 bytes");

/* Twice as many as places, a power of two: an empty one always stays. */
static size_t index_places(size_t leases_max)
{
    size_t places = 2;

    while (places < leases_max * 2) {
        places *= 2;
    }
    return places;
}

size_t pawl_leases_size(size_t leases_max)
{
    return leases_max * PAWL_LEASE_PLACE_BYTES + index_places(leases_max) * sizeof(uint32_t);
}

enum pawl_status pawl_leases_init(struct pawl_leases *leases, void *memory, size_t leases_max,
                                  struct pawl_id salt)
{
    memset(leases, 0, sizeof(*leases));
    if (leases_max == 0 || leases_max > PAWL_LEASES_MAX) {
        return PAWL_EINVAL;
    }
    leases->places = memory;
    leases->index = (uint32_t *)(void *)((uint8_t *)memory + leases_max * PAWL_LEASE_PLACE_BYTES);
    leases->index_mask = (uint32_t)(index_places(leases_max) - 1);
    leases->places_max = (uint32_t)leases_max;
    leases->salt = salt;
    return pthread_mutex_init(&leases->lock, NULL) == 0 ? PAWL_OK : PAWL_ENOMEM;
}

void pawl_leases_deinit(struct pawl_leases *leases)
{
    (void)pthread_mutex_destroy(&leases->lock);
}

/* ---- index ---- */

static uint32_t home_of(const struct pawl_leases *leases, struct pawl_id id)
{
    uint64_t mixed = (id.hi ^ leases->salt.hi) + id.lo * (leases->salt.lo | 1);

    return (uint32_t)((mixed * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & leases->index_mask;
}

/* Where @id is in the index, or the empty place where it would be. */
static uint32_t index_find(const struct pawl_leases *leases, struct pawl_id id)
{
    uint32_t at = home_of(leases, id);

    while (leases->index[at] != 0 && !pawl_id_equal(leases->places[leases->index[at] - 1].id, id)) {
        at = (at + 1) & leases->index_mask;
    }
    return at;
}

/* Close the gap at @hole: entries behind it that would be found earlier move up. */
static void index_erase(struct pawl_leases *leases, uint32_t hole)
{
    uint32_t mask = leases->index_mask;

    for (uint32_t at = (hole + 1) & mask; leases->index[at] != 0; at = (at + 1) & mask) {
        uint32_t home = home_of(leases, leases->places[leases->index[at] - 1].id);

        if (((at - home) & mask) >= ((at - hole) & mask)) {
            leases->index[hole] = leases->index[at];
            hole = at;
        }
    }
    leases->index[hole] = 0;
}

/* ---- places ---- */

static struct pawl_lease_place *place_take(struct pawl_leases *leases, enum place_state state)
{
    uint32_t number = leases->free;

    if (number != 0) {
        leases->free = leases->places[number - 1].next;
    } else {
        number = ++leases->fresh;
    }
    struct pawl_lease_place *place = &leases->places[number - 1];

    memset(place, 0, sizeof(*place));
    place->state = (uint8_t)state;
    leases->used++;
    return place;
}

static uint32_t number_of(const struct pawl_leases *leases, const struct pawl_lease_place *place)
{
    return (uint32_t)(place - leases->places) + 1;
}

/* Give back the place of a lease and of all that it has more. */
static void places_give(struct pawl_leases *leases, struct pawl_lease_place *place)
{
    for (;;) {
        uint32_t next = place->next;

        place->state = PLACE_FREE;
        place->next = leases->free;
        leases->free = number_of(leases, place);
        leases->used--;
        if (next == 0) {
            return;
        }
        place = &leases->places[next - 1];
    }
}

static void lease_remove(struct pawl_leases *leases, struct pawl_lease_place *place)
{
    index_erase(leases, index_find(leases, place->id));
    places_give(leases, place);
    leases->open--;
}

static void charges_put(struct pawl_leases *leases, struct pawl_lease_place *place,
                        const struct pawl_lease *lease)
{
    for (size_t i = 0; i < lease->charges_count; i++) {
        if (place->count == PAWL_LEASE_INLINE) {
            struct pawl_lease_place *more = place_take(leases, PLACE_MORE);

            place->next = number_of(leases, more);
            place = more;
        }
        place->ids[place->count] = lease->charges[i].id;
        place->charges[place->count] = lease->charges[i].charge;
        place->kinds[place->count] = lease->charges[i].kind;
        place->count++;
    }
}

static void charges_get(const struct pawl_leases *leases, const struct pawl_lease_place *place,
                        struct pawl_lease *lease)
{
    lease->charges_count = 0;
    for (;;) {
        for (size_t i = 0; i < place->count; i++) {
            struct pawl_charged *charged = &lease->charges[lease->charges_count++];

            charged->id = place->ids[i];
            charged->charge = place->charges[i];
            charged->kind = place->kinds[i];
        }
        if (place->next == 0) {
            return;
        }
        place = &leases->places[place->next - 1];
    }
}

/* ---- the table ---- */

static size_t expire_locked(struct pawl_leases *leases, size_t budget, struct pawl_instant now)
{
    size_t dropped = 0;

    for (size_t i = 0; i < budget && i < leases->fresh; i++) {
        struct pawl_lease_place *place;

        leases->hand = leases->hand < leases->fresh ? leases->hand : 0;
        place = &leases->places[leases->hand++];
        if (place->state == PLACE_LEASE && place->deadline_ns <= now.ns) {
            lease_remove(leases, place);
            dropped++;
        }
    }
    leases->expired += dropped;
    return dropped;
}

static enum pawl_status open_locked(struct pawl_leases *leases, struct pawl_id id,
                                    const struct pawl_lease *lease, struct pawl_instant now)
{
    size_t wanted = (lease->charges_count + PAWL_LEASE_INLINE - 1) / PAWL_LEASE_INLINE;

    wanted = wanted > 0 ? wanted : 1;
    if (leases->index[index_find(leases, id)] != 0) {
        return PAWL_EBUSY;
    }
    if (leases->places_max - leases->used < wanted) {
        (void)expire_locked(leases, EXPIRE_WHEN_FULL, now);
    }
    if (leases->places_max - leases->used < wanted) {
        leases->refused++;
        return PAWL_EFULL;
    }
    struct pawl_lease_place *place = place_take(leases, PLACE_LEASE);

    place->id = id;
    place->owner = lease->owner;
    place->granted = lease->granted;
    place->deadline_ns = lease->deadline.ns;
    charges_put(leases, place, lease);
    leases->index[index_find(leases, id)] = number_of(leases, place);
    leases->open++;
    return PAWL_OK;
}

enum pawl_status pawl_leases_open(struct pawl_leases *leases, struct pawl_id id,
                                  const struct pawl_lease *lease, struct pawl_instant now)
{
    if (lease->charges_count > PAWL_LIMITER_SLOTS_MAX || pawl_id_is_zero(id)) {
        return PAWL_EINVAL;
    }
    (void)pthread_mutex_lock(&leases->lock);
    enum pawl_status status = open_locked(leases, id, lease, now);

    (void)pthread_mutex_unlock(&leases->lock);
    return status;
}

static enum pawl_status take_locked(struct pawl_leases *leases, struct pawl_id id,
                                    struct pawl_id owner, struct pawl_instant now,
                                    struct pawl_lease *lease)
{
    uint32_t number = leases->index[index_find(leases, id)];

    if (number == 0) {
        return PAWL_ENOENT;
    }
    struct pawl_lease_place *place = &leases->places[number - 1];

    if (!pawl_id_equal(place->owner, owner)) {
        return PAWL_ENOENT;
    }
    if (place->deadline_ns <= now.ns) {
        leases->expired++;
        lease_remove(leases, place);
        return PAWL_ENOENT;
    }
    lease->owner = owner;
    lease->granted = place->granted;
    lease->deadline.ns = place->deadline_ns;
    charges_get(leases, place, lease);
    lease_remove(leases, place);
    return PAWL_OK;
}

enum pawl_status pawl_leases_take(struct pawl_leases *leases, struct pawl_id id,
                                  struct pawl_id owner, struct pawl_instant now,
                                  struct pawl_lease *lease)
{
    (void)pthread_mutex_lock(&leases->lock);
    enum pawl_status status = take_locked(leases, id, owner, now, lease);

    (void)pthread_mutex_unlock(&leases->lock);
    return status;
}

size_t pawl_leases_expire(struct pawl_leases *leases, size_t budget, struct pawl_instant now)
{
    (void)pthread_mutex_lock(&leases->lock);
    size_t dropped = expire_locked(leases, budget, now);

    (void)pthread_mutex_unlock(&leases->lock);
    return dropped;
}

void pawl_leases_metrics_get(struct pawl_leases *leases, struct pawl_leases_metrics *metrics)
{
    (void)pthread_mutex_lock(&leases->lock);
    metrics->open = leases->open;
    metrics->places = leases->used;
    metrics->places_max = leases->places_max;
    metrics->expired = leases->expired;
    metrics->refused = leases->refused;
    (void)pthread_mutex_unlock(&leases->lock);
}
