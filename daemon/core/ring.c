#include "core/ring_slot.h"

#include <string.h>

static uint64_t weight(const struct pawl_subkey *key, uint32_t slot,
                       const struct pawl_member_id *member)
{
    uint8_t buffer[4 + 8 + 4 + sizeof(member->bytes)];
    struct pawl_pack pack;

    pawl_pack_init(&pack, buffer, sizeof(buffer));
    pawl_pack_u64(&pack, slot);
    pawl_pack_bytes(&pack, member->bytes, sizeof(member->bytes));
    return pawl_keyhash64(key, buffer, pack.size);
}

/* Whether (@weight, @id) comes before the best so far. Equal weights: the smaller id, not the place
 * in the list, so that all members agree. */
static bool wins(uint64_t mine, const struct pawl_member_id *id, uint64_t best,
                 const struct pawl_member_id *best_id)
{
    return mine > best ||
           (mine == best && memcmp(id->bytes, best_id->bytes, sizeof(id->bytes)) < 0);
}

static void place(struct pawl_ring *ring, const struct pawl_subkey *key, uint32_t slot)
{
    uint16_t owner = PAWL_RING_NOBODY;
    uint16_t heir = PAWL_RING_NOBODY;
    uint64_t owner_weight = 0;
    uint64_t heir_weight = 0;

    for (uint16_t i = 0; i < ring->member_count; i++) {
        const struct pawl_member_id *member = &ring->members[i];
        uint64_t mine = weight(key, slot, member);

        if (owner == PAWL_RING_NOBODY || wins(mine, member, owner_weight, &ring->members[owner])) {
            heir = owner;
            heir_weight = owner_weight;
            owner = i;
            owner_weight = mine;
        } else if (heir == PAWL_RING_NOBODY ||
                   wins(mine, member, heir_weight, &ring->members[heir])) {
            heir = i;
            heir_weight = mine;
        }
    }
    ring->owner[slot] = owner;
    ring->heir[slot] = heir;
}

enum pawl_status pawl_ring_build(struct pawl_ring *ring, const struct pawl_subkey *key,
                                 uint64_t view, const struct pawl_member_id *members, size_t count)
{
    memset(ring, 0, sizeof(*ring));
    for (uint32_t slot = 0; slot < PAWL_RING_SLOTS; slot++) {
        ring->owner[slot] = PAWL_RING_NOBODY;
        ring->heir[slot] = PAWL_RING_NOBODY;
    }
    if (count > PAWL_MEMBERS_MAX || view == 0) {
        return PAWL_EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (memcmp(&members[i], &members[j], sizeof(members[i])) == 0) {
                return PAWL_EINVAL;
            }
        }
    }
    ring->view = view;
    ring->member_count = (uint16_t)count;
    if (count > 0) {
        memcpy(ring->members, members, count * sizeof(*members));
    }
    for (uint32_t slot = 0; slot < PAWL_RING_SLOTS; slot++) {
        place(ring, key, slot);
    }
    return PAWL_OK;
}

uint32_t pawl_ring_slot(const struct pawl_subkey *key, struct pawl_bytes ns,
                        const struct pawl_bytes *parts, size_t part_count)
{
    return pawl_ring_slot_end(pawl_ring_slot_begin(key, ns), parts, part_count);
}

uint16_t pawl_ring_find(const struct pawl_ring *ring, const struct pawl_member_id *member)
{
    for (uint16_t i = 0; i < ring->member_count; i++) {
        if (memcmp(&ring->members[i], member, sizeof(*member)) == 0) {
            return i;
        }
    }
    return PAWL_RING_NOBODY;
}

static bool owns(const struct pawl_ring *ring, uint16_t index, uint32_t slot)
{
    return index != PAWL_RING_NOBODY && ring->owner[slot] == index;
}

uint32_t pawl_ring_change(const struct pawl_ring *from, const struct pawl_ring *to,
                          const struct pawl_member_id *member,
                          uint64_t gained[PAWL_RING_SLOTS / 64],
                          uint64_t lost[PAWL_RING_SLOTS / 64])
{
    uint16_t was = pawl_ring_find(from, member);
    uint16_t is = pawl_ring_find(to, member);
    uint32_t count = 0;

    if (gained != NULL) {
        memset(gained, 0, PAWL_RING_SLOTS / 8);
    }
    if (lost != NULL) {
        memset(lost, 0, PAWL_RING_SLOTS / 8);
    }
    for (uint32_t slot = 0; slot < PAWL_RING_SLOTS; slot++) {
        bool before = owns(from, was, slot);
        bool after = owns(to, is, slot);

        if (after && !before) {
            count++;
            if (gained != NULL) {
                gained[slot / 64] |= UINT64_C(1) << (slot % 64);
            }
        } else if (before && !after && lost != NULL) {
            lost[slot / 64] |= UINT64_C(1) << (slot % 64);
        }
    }
    return count;
}
