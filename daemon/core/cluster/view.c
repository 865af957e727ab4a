#include "core/cluster/view.h"

#include "core/octets.h"

#include <string.h>

#define VIEW_VERSION     1
#define VIEW_HEAD_BYTES  11 /* version, number, count */
#define VIEW_RANDOM_BITS 16

_Static_assert(PAWL_VIEW_SEALED_MAX <= PAWL_VIEW_BYTES_MAX, "a view fits into a command");

uint64_t pawl_view_number_after(uint64_t number, uint16_t random)
{
    uint64_t counter = (number >> VIEW_RANDOM_BITS) + 1;

    if (counter > UINT64_MAX >> VIEW_RANDOM_BITS) {
        return 0;
    }
    return counter << VIEW_RANDOM_BITS | random;
}

/* The first place whose id is not before @id. */
static uint16_t place_of(const struct pawl_view *view, const struct pawl_member_id *id)
{
    uint16_t low = 0;
    uint16_t high = view->count;

    while (low < high) {
        uint16_t middle = (uint16_t)((low + high) / 2);

        if (memcmp(view->members[middle].id.bytes, id->bytes, sizeof(id->bytes)) < 0) {
            low = (uint16_t)(middle + 1);
        } else {
            high = middle;
        }
    }
    return low;
}

uint16_t pawl_view_find(const struct pawl_view *view, const struct pawl_member_id *id)
{
    uint16_t at = place_of(view, id);

    return at < view->count && pawl_member_id_equal(view->members[at].id, *id) ? at
                                                                               : PAWL_RING_NOBODY;
}

bool pawl_view_equal(const struct pawl_view *a, const struct pawl_view *b)
{
    if (a->number != b->number || a->count != b->count) {
        return false;
    }
    for (uint16_t i = 0; i < a->count; i++) {
        if (!pawl_member_id_equal(a->members[i].id, b->members[i].id) ||
            a->members[i].state != b->members[i].state ||
            strcmp(a->members[i].address, b->members[i].address) != 0) {
            return false;
        }
    }
    return true;
}

static bool is_state(uint64_t state)
{
    return state == PAWL_VIEW_SERVING || state == PAWL_VIEW_LEAVING;
}

static bool is_address(struct pawl_bytes address)
{
    return address.size > 0 && address.size <= PAWL_VIEW_ADDRESS_MAX &&
           memchr(address.data, '\0', address.size) == NULL;
}

static void member_fill(struct pawl_view_member *member, const struct pawl_member_id *id,
                        enum pawl_view_state state, struct pawl_bytes address)
{
    memset(member, 0, sizeof(*member));
    member->id = *id;
    member->state = state;
    memcpy(member->address, address.data, address.size);
}

enum pawl_status pawl_view_put(struct pawl_view *view, const struct pawl_member_id *id,
                               enum pawl_view_state state, struct pawl_bytes address)
{
    uint16_t at = place_of(view, id);

    if (!is_state((uint64_t)state) || !is_address(address)) {
        return PAWL_EINVAL;
    }
    if (pawl_view_find(view, id) == PAWL_RING_NOBODY) {
        if (view->count == PAWL_MEMBERS_MAX) {
            return PAWL_EFULL;
        }
        memmove(&view->members[at + 1], &view->members[at],
                (size_t)(view->count - at) * sizeof(view->members[0]));
        view->count++;
    }
    member_fill(&view->members[at], id, state, address);
    return PAWL_OK;
}

bool pawl_view_drop(struct pawl_view *view, const struct pawl_member_id *id)
{
    uint16_t at = pawl_view_find(view, id);

    if (at == PAWL_RING_NOBODY) {
        return false;
    }
    view->count--;
    memmove(&view->members[at], &view->members[at + 1],
            (size_t)(view->count - at) * sizeof(view->members[0]));
    memset(&view->members[view->count], 0, sizeof(view->members[0]));
    return true;
}

/* ---- serialized ---- */

static struct pawl_bytes place_bytes(uint8_t place[8], uint64_t number)
{
    pawl_put_le(place, number, 8);
    return pawl_bytes_of(place, 8);
}

size_t pawl_view_encode(const struct pawl_view *view, const struct pawl_subkey *key, uint8_t *out)
{
    struct pawl_octet_writer writer =
        pawl_octet_writer_init(out, PAWL_VIEW_SEALED_MAX - PAWL_SEAL_BYTES);
    uint8_t place[8];

    pawl_octet_put_uint(&writer, VIEW_VERSION, 1);
    pawl_octet_put_uint(&writer, view->number, 8);
    pawl_octet_put_uint(&writer, view->count, 2);
    for (uint16_t i = 0; i < view->count; i++) {
        const struct pawl_view_member *member = &view->members[i];

        pawl_octet_put(&writer, member->id.bytes, sizeof(member->id.bytes));
        pawl_octet_put_uint(&writer, (uint64_t)member->state, 1);
        pawl_octet_put_part(&writer, pawl_bytes_of(member->address, strlen(member->address)));
    }
    return pawl_seal(key, PAWL_SEAL_VIEW, place_bytes(place, view->number), out, writer.size);
}

uint64_t pawl_view_peek(struct pawl_bytes sealed)
{
    return sealed.size < VIEW_HEAD_BYTES ? 0 : pawl_get_le(sealed.data + 1, 8);
}

/* One member, behind those that are in the view already. */
static bool read_member(struct pawl_view *view, struct pawl_octet_reader *reader)
{
    const uint8_t *bytes = pawl_octet_get(reader, sizeof(struct pawl_member_id));
    uint64_t state = pawl_octet_get_uint(reader, 1);
    struct pawl_bytes address = pawl_octet_get_part(reader, PAWL_VIEW_ADDRESS_MAX);
    struct pawl_member_id id;

    if (reader->bad || !is_state(state) || !is_address(address)) {
        return false;
    }
    memcpy(id.bytes, bytes, sizeof(id.bytes));
    if (view->count > 0 &&
        memcmp(view->members[view->count - 1].id.bytes, id.bytes, sizeof(id.bytes)) >= 0) {
        return false;
    }
    member_fill(&view->members[view->count++], &id, (enum pawl_view_state)state, address);
    return true;
}

static bool read_members(struct pawl_view *view, struct pawl_octet_reader *reader)
{
    uint64_t count = pawl_octet_get_uint(reader, 2);

    if (reader->bad || view->number == 0 || count > PAWL_MEMBERS_MAX) {
        return false;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (!read_member(view, reader)) {
            return false;
        }
    }
    return pawl_octet_all_read(reader);
}

enum pawl_status pawl_view_decode(struct pawl_view *view, const struct pawl_subkey *key,
                                  struct pawl_bytes sealed)
{
    struct pawl_bytes inside;
    uint8_t place[8];

    memset(view, 0, sizeof(*view));
    if (sealed.size > PAWL_VIEW_SEALED_MAX ||
        !pawl_unseal(key, PAWL_SEAL_VIEW, place_bytes(place, pawl_view_peek(sealed)), sealed,
                     &inside)) {
        return PAWL_ECORRUPT;
    }
    struct pawl_octet_reader reader = { inside.data, inside.size, 0, false };

    if (pawl_octet_get_uint(&reader, 1) != VIEW_VERSION) {
        return reader.bad ? PAWL_ECORRUPT : PAWL_EVERSION;
    }
    view->number = pawl_octet_get_uint(&reader, 8);
    if (!read_members(view, &reader)) {
        memset(view, 0, sizeof(*view));
        return PAWL_ECORRUPT;
    }
    return PAWL_OK;
}

enum pawl_status pawl_view_ring(const struct pawl_view *view, const struct pawl_subkey *key,
                                struct pawl_ring *ring)
{
    struct pawl_member_id serving[PAWL_MEMBERS_MAX];
    size_t count = 0;

    if (view->number == 0) {
        memset(ring, 0, sizeof(*ring));
        memset(ring->owner, 0xFF, sizeof(ring->owner)); /* PAWL_RING_NOBODY */
        memset(ring->heir, 0xFF, sizeof(ring->heir));
        return PAWL_OK;
    }
    for (uint16_t i = 0; i < view->count; i++) {
        if (view->members[i].state == PAWL_VIEW_SERVING) {
            serving[count++] = view->members[i].id;
        }
    }
    return pawl_ring_build(ring, key, view->number, serving, count);
}
