/*
 * Who counts a key: rendezvous hashing of slots over the members of a view.
 *
 * A key belongs to one of PAWL_RING_SLOTS slots, by a keyed hash of namespace and key parts without
 * the limit's name, so that all rates of one caller live on one member. A slot belongs to the
 * member with the highest hash of (slot, member) under the same subkey (Thaler, Ravishankar: "Using
 * name-based mappings to increase hit rates", 1998): a member that comes or goes moves only the
 * slots that it gains or had, and no member can choose its slots without the subkey.
 *
 * A ring is a value: built once for each view, read by any thread, never changed.
 */
#ifndef PAWL_CORE_RING_H
#define PAWL_CORE_RING_H

#include "core/keyhash.h"
#include "core/status.h"

#define PAWL_RING_SLOTS  4096 /* of the protocol: all members have to agree */
#define PAWL_MEMBERS_MAX 128
#define PAWL_RING_NOBODY UINT16_MAX

/** A member for as long as it lives: node id and boot nonce. */
struct pawl_member_id {
    uint8_t bytes[16];
};

struct pawl_ring {
    uint64_t view; /* the number of the view it was built from; 0: empty */
    uint16_t member_count;
    struct pawl_member_id members[PAWL_MEMBERS_MAX];
    uint16_t owner[PAWL_RING_SLOTS]; /* index in members */
    uint16_t heir[PAWL_RING_SLOTS];  /* who owns the slot when the owner goes; NOBODY: alone */
};

/**
 * Build the ring of a view. The order of @members does not matter to who owns what.
 *
 * @key      PAWL_SUBKEY_SLOTS.
 * @view     at least 1.
 * @members  up to PAWL_MEMBERS_MAX, all different; none makes a ring that nobody owns.
 *
 * Returns PAWL_OK, or PAWL_EINVAL for too many or for one twice; @ring is empty then.
 */
PAWL_MUST_USE enum pawl_status pawl_ring_build(struct pawl_ring *ring,
                                               const struct pawl_subkey *key, uint64_t view,
                                               const struct pawl_member_id *members, size_t count);

/**
 * The slot of a key: pawl_keyhash64() of the namespace and the parts, packed, modulo the slots.
 * ring_slot.h has it in two steps. @parts: 1 to 8, within the caps of the wire. Cannot fail.
 */
uint32_t pawl_ring_slot(const struct pawl_subkey *key, struct pawl_bytes ns,
                        const struct pawl_bytes *parts, size_t part_count);

/** Index of @member, or PAWL_RING_NOBODY. */
uint16_t pawl_ring_find(const struct pawl_ring *ring, const struct pawl_member_id *member);

/**
 * Which slots a member gains and loses from one ring to the next: what it has to load and to save.
 *
 * @gained, @lost  out: a bit for each slot (bit s % 64 of word s / 64); may be NULL.
 *
 * Returns the number of slots gained.
 */
uint32_t pawl_ring_change(const struct pawl_ring *from, const struct pawl_ring *to,
                          const struct pawl_member_id *member,
                          uint64_t gained[PAWL_RING_SLOTS / 64],
                          uint64_t lost[PAWL_RING_SLOTS / 64]);

#endif
