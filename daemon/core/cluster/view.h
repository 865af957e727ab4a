/*
 * A view: who the members are, under a number.
 *
 * Views are ordered by their numbers, and the higher one counts: a max-register. A number is a
 * counter and 16 random bits, so that two members that propose a successor of the same view never
 * give one number to two views.
 *
 * A serialized view is sealed (subkey `facts`, its number as the place) and canonical: members
 * ascend by their ids, so that equal views are equal bytes. Pure; any thread.
 */
#ifndef PAWL_CORE_CLUSTER_VIEW_H
#define PAWL_CORE_CLUSTER_VIEW_H

#include "core/cluster/engine.h"
#include "core/cluster/seal.h"
#include "core/ring.h"

#define PAWL_VIEW_ADDRESS_MAX 255
/* Version, number, count; members with id, state, address; seal. Below PAWL_VIEW_BYTES_MAX. */
#define PAWL_VIEW_SEALED_MAX \
    (1 + 8 + 2 + PAWL_MEMBERS_MAX * (16 + 1 + 2 + PAWL_VIEW_ADDRESS_MAX) + PAWL_SEAL_BYTES)

enum pawl_view_state {
    PAWL_VIEW_NONE = 0,
    PAWL_VIEW_SERVING = 1, /* owns slots */
    PAWL_VIEW_LEAVING = 2, /* owns none any more, and hands over what it had */
};

struct pawl_view_member {
    struct pawl_member_id id;
    enum pawl_view_state state;
    char address[PAWL_VIEW_ADDRESS_MAX + 1]; /* where the others reach it; ends with NUL */
};

/** Number 0: none. 35 KiB: not for the stack of a worker. */
struct pawl_view {
    uint64_t number;
    uint16_t count;
    struct pawl_view_member members[PAWL_MEMBERS_MAX]; /* ascending by id */
};

/** The number of a proposal after views up to @number; 0: there are no numbers left. */
uint64_t pawl_view_number_after(uint64_t number, uint16_t random);

/** Index of @id, or PAWL_RING_NOBODY. */
uint16_t pawl_view_find(const struct pawl_view *view, const struct pawl_member_id *id);

/** Number, members, states and addresses. */
bool pawl_view_equal(const struct pawl_view *a, const struct pawl_view *b);

/**
 * Add a member, or change the one with this id. @address: 1 to PAWL_VIEW_ADDRESS_MAX bytes,
 * without NUL.
 *
 * Returns PAWL_OK; PAWL_EINVAL for the address or the state; PAWL_EFULL with PAWL_MEMBERS_MAX.
 */
PAWL_MUST_USE enum pawl_status pawl_view_put(struct pawl_view *view,
                                             const struct pawl_member_id *id,
                                             enum pawl_view_state state, struct pawl_bytes address);

/** Take a member out; false: it was not in it. */
bool pawl_view_drop(struct pawl_view *view, const struct pawl_member_id *id);

/** Serialized and sealed into @out, PAWL_VIEW_SEALED_MAX bytes. Returns the size. */
size_t pawl_view_encode(const struct pawl_view *view, const struct pawl_subkey *key, uint8_t *out);

/**
 * Read a sealed view, from any bytes.
 *
 * Returns PAWL_OK; PAWL_ECORRUPT (the seal does not hold, or it is malformed: out of order, an
 * unknown state, number 0) or PAWL_EVERSION. @view is empty then.
 */
PAWL_MUST_USE enum pawl_status pawl_view_decode(struct pawl_view *view,
                                                const struct pawl_subkey *key,
                                                struct pawl_bytes sealed);

/** The number that @sealed says it has, seal unchecked; 0: none. For a first look only. */
uint64_t pawl_view_peek(struct pawl_bytes sealed);

/** The ring of the SERVING members. Returns as pawl_ring_build(); an empty view: an empty ring. */
PAWL_MUST_USE enum pawl_status pawl_view_ring(const struct pawl_view *view,
                                              const struct pawl_subkey *key,
                                              struct pawl_ring *ring);

#endif
