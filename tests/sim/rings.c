/*
 * Rings, each built once: all nodes of a fleet build the same one from the same view, and that was
 * half of what a run cost. Takes the place of pawl_ring_build() by the linker's --wrap.
 */
#include "core/ring.h"

#include <string.h>

#define RINGS 8

static struct {
    struct pawl_subkey key;
    struct pawl_ring ring; /* its view and members are what it was made of; view 0: none */
} rings[RINGS];
static unsigned next;

enum pawl_status __real_pawl_ring_build(struct pawl_ring *ring, const struct pawl_subkey *key,
                                        uint64_t view, const struct pawl_member_id *members,
                                        size_t count);
enum pawl_status __wrap_pawl_ring_build(struct pawl_ring *ring, const struct pawl_subkey *key,
                                        uint64_t view, const struct pawl_member_id *members,
                                        size_t count);

enum pawl_status __wrap_pawl_ring_build(struct pawl_ring *ring, const struct pawl_subkey *key,
                                        uint64_t view, const struct pawl_member_id *members,
                                        size_t count)
{
    enum pawl_status status;

    for (unsigned i = 0; i < RINGS; i++) {
        const struct pawl_ring *made = &rings[i].ring;

        if (made->view != 0 && made->view == view && made->member_count == count &&
            memcmp(made->members, members, count * sizeof(*members)) == 0 &&
            memcmp(&rings[i].key, key, sizeof(*key)) == 0) {
            *ring = *made;
            return PAWL_OK;
        }
    }
    status = __real_pawl_ring_build(ring, key, view, members, count);
    if (status == PAWL_OK) {
        rings[next].key = *key;
        rings[next].ring = *ring;
        next = (next + 1) % RINGS;
    }
    return status;
}
