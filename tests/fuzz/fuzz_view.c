/*
 * Views and member infos: bytes from peers and from the engine.
 *
 * The input: a byte that says which (bit 0: an info; bit 1: put a good seal behind it, so that what
 * is behind the seal is reached), then the bytes.
 *
 * What must hold: what is refused leaves nothing; what is read writes the same bytes, everybody in
 * it is found, and taken out and put back it is the same view. (No ring: that takes 4096 hashes for
 * each member.)
 */
#include "core/cluster/member_info.h"
#include "fuzz/require.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct pawl_subkey key = { { 1, 2, 3 } };
static const struct pawl_member_id member = { { 9 } };

static void check_view(struct pawl_bytes sealed)
{
    static uint8_t out[PAWL_VIEW_SEALED_MAX];
    static struct pawl_view view, changed;
    enum pawl_status status = pawl_view_decode(&view, &key, sealed);

    if (status != PAWL_OK) {
        require(status == PAWL_ECORRUPT || status == PAWL_EVERSION);
        require(view.number == 0 && view.count == 0);
        return;
    }
    require(view.number == pawl_view_peek(sealed));
    require(pawl_view_encode(&view, &key, out) == sealed.size);
    require(memcmp(out, sealed.data, sealed.size) == 0);
    require(pawl_view_number_after(view.number, 1) > view.number ||
            pawl_view_number_after(view.number, 1) == 0);
    changed = view;
    for (uint16_t i = 0; i < view.count; i++) {
        require(pawl_view_find(&view, &view.members[i].id) == i);
        changed.members[0].address[0] ^= 1;
        require(!pawl_view_equal(&changed, &view));
        require(pawl_view_drop(&changed, &view.members[i].id));
        require(!pawl_view_drop(&changed, &view.members[i].id));
        require(!pawl_view_equal(&changed, &view));
    }
    require(changed.count == 0);
    for (uint16_t i = view.count; i > 0; i--) {
        const struct pawl_view_member *from = &view.members[i - 1];

        require(pawl_view_put(&changed, &from->id, from->state,
                              pawl_bytes_of(from->address, strlen(from->address))) == PAWL_OK);
    }
    require(pawl_view_equal(&changed, &view));
    require(pawl_view_put(&changed, &member, PAWL_VIEW_NONE, sealed) == PAWL_EINVAL);
    require(pawl_view_put(&changed, &member, PAWL_VIEW_SERVING, pawl_bytes_of("a", 1)) ==
            (view.count < PAWL_MEMBERS_MAX || pawl_view_find(&view, &member) != PAWL_RING_NOBODY
                 ? PAWL_OK
                 : PAWL_EFULL));
}

static void check_info(struct pawl_bytes sealed)
{
    uint8_t out[PAWL_MEMBER_INFO_MAX];
    struct pawl_member_info info;
    enum pawl_status status = pawl_member_info_decode(&info, &key, &member, sealed);

    if (status != PAWL_OK) {
        require(status == PAWL_ECORRUPT || status == PAWL_EVERSION);
        require(info.state == PAWL_MEMBER_NONE && info.address.size == 0 && info.blob.size == 0);
        require(pawl_member_state_text(info.state)[0] == 'u');
        return;
    }
    require(pawl_member_info_encode(&info, &key, &member, out) == sealed.size);
    require(memcmp(out, sealed.data, sealed.size) == 0);
    require(pawl_member_state_text(info.state)[0] != 'u');
    info.blob.size = PAWL_MEMBER_BLOB_MAX + 1;
    require(pawl_member_info_encode(&info, &key, &member, out) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    uint8_t kind = data[0];
    size_t body = size - 1;
    uint8_t place[8] = { 0 };
    uint8_t *bytes = malloc(body + PAWL_SEAL_BYTES); /* its end is watched */

    require(bytes != NULL);
    memcpy(bytes, data + 1, body);
    if ((kind & 2) != 0 && (kind & 1) != 0) {
        body = pawl_seal(&key, PAWL_SEAL_MEMBER, pawl_bytes_of(member.bytes, sizeof(member.bytes)),
                         bytes, body);
    } else if ((kind & 2) != 0) {
        if (body >= 9) {
            memcpy(place, bytes + 1, sizeof(place));
        }
        body = pawl_seal(&key, PAWL_SEAL_VIEW, pawl_bytes_of(place, sizeof(place)), bytes, body);
    } else if (body > 0) {
        bytes = realloc(bytes, body);
        require(bytes != NULL);
    }
    if ((kind & 1) != 0) {
        check_info(pawl_bytes_of(bytes, body));
    } else {
        check_view(pawl_bytes_of(bytes, body));
    }
    free(bytes);
    return 0;
}
