#include "edge/territory.h"

#include <stdlib.h>
#include <string.h>

/* The members of @members in @state, behind those that are there. */
static void add_members(struct pawl_territory *territory,
                        const struct pawl_territory_member *members, size_t count,
                        enum pawl_territory_state state)
{
    for (size_t i = 0; i < count; i++) {
        if (members[i].state == state) {
            territory->members[territory->member_count++] = members[i];
        }
    }
}

/* False: the ring cannot be, or a member is there twice. */
static bool build_ring(struct pawl_territory *territory, const struct pawl_subkey *key)
{
    struct pawl_member_id ids[PAWL_MEMBERS_MAX];
    size_t serving = 0;

    for (uint16_t i = 0; i < territory->member_count; i++) {
        if (pawl_territory_find(territory, &territory->members[i].id) != i) {
            return false;
        }
        if (territory->members[i].state == PAWL_TERRITORY_SERVING) {
            ids[serving++] = territory->members[i].id;
        }
    }
    if (territory->view == 0) {
        memset(territory->ring.owner, 0xff, sizeof(territory->ring.owner));
        memset(territory->ring.heir, 0xff, sizeof(territory->ring.heir));
        return territory->member_count == 0;
    }
    return pawl_ring_build(&territory->ring, key, territory->view, ids, serving) == PAWL_OK;
}

/* The ring may have the members in another order than they came: routes are indices into both. */
static void align_members(struct pawl_territory *territory)
{
    for (uint16_t i = 0; i < territory->ring.member_count; i++) {
        uint16_t at = pawl_territory_find(territory, &territory->ring.members[i]);
        struct pawl_territory_member member = territory->members[at];

        territory->members[at] = territory->members[i];
        territory->members[i] = member;
    }
}

struct pawl_territory *pawl_territory_create(const struct pawl_subkey *key, uint64_t view,
                                             struct pawl_member_id self,
                                             const struct pawl_territory_member *members,
                                             size_t count)
{
    struct pawl_territory *territory =
        count <= PAWL_MEMBERS_MAX ? calloc(1, sizeof(*territory)) : NULL;

    if (territory == NULL) {
        return NULL;
    }
    territory->view = view;
    atomic_init(&territory->references, 1);
    add_members(territory, members, count, PAWL_TERRITORY_SERVING);
    add_members(territory, members, count, PAWL_TERRITORY_LEAVING);
    if (territory->member_count != count || !build_ring(territory, key)) {
        free(territory);
        return NULL;
    }
    align_members(territory);
    territory->self = pawl_ring_find(&territory->ring, &self);
    return territory;
}

struct pawl_territory *pawl_territory_acquire(struct pawl_territory *territory)
{
    atomic_fetch_add_explicit(&territory->references, 1, memory_order_relaxed);
    return territory;
}

void pawl_territory_release(struct pawl_territory *territory)
{
    if (territory != NULL &&
        atomic_fetch_sub_explicit(&territory->references, 1, memory_order_acq_rel) == 1) {
        free(territory);
    }
}

uint16_t pawl_territory_find(const struct pawl_territory *territory,
                             const struct pawl_member_id *id)
{
    for (uint16_t i = 0; i < territory->member_count; i++) {
        if (memcmp(territory->members[i].id.bytes, id->bytes, sizeof(id->bytes)) == 0) {
            return i;
        }
    }
    return PAWL_RING_NOBODY;
}

/* ---- publishing ---------------------------------------------------------------------------- */

void pawl_territory_slot_init(struct pawl_territory_slot *slot, struct pawl_territory *territory)
{
    (void)pthread_mutex_init(&slot->mutex, NULL);
    atomic_init(&slot->version, 1);
    slot->current = territory;
}

void pawl_territory_slot_deinit(struct pawl_territory_slot *slot)
{
    pawl_territory_release(slot->current);
    slot->current = NULL;
    (void)pthread_mutex_destroy(&slot->mutex);
}

void pawl_territory_publish(struct pawl_territory_slot *slot, struct pawl_territory *territory)
{
    (void)pthread_mutex_lock(&slot->mutex);
    struct pawl_territory *old = slot->current;

    slot->current = territory;
    atomic_fetch_add_explicit(&slot->version, 1, memory_order_release);
    (void)pthread_mutex_unlock(&slot->mutex);
    pawl_territory_release(old);
}

struct pawl_territory *pawl_territory_current(struct pawl_territory_slot *slot, unsigned *version)
{
    (void)pthread_mutex_lock(&slot->mutex);
    struct pawl_territory *current = pawl_territory_acquire(slot->current);

    *version = atomic_load_explicit(&slot->version, memory_order_relaxed);
    (void)pthread_mutex_unlock(&slot->mutex);
    return current;
}
