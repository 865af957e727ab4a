#include "core/cluster/member_info.h"

#include "core/octets.h"

#include <string.h>

#define INFO_VERSION 1
#define INFO_FROZEN  1 /* of the flags at the end, which are left out when there are none */

_Static_assert(1 + 1 + 8 + 16 + 8 + 2 + PAWL_VIEW_ADDRESS_MAX + 2 + PAWL_MEMBER_VERSION_MAX + 2 +
                       PAWL_MEMBER_BLOB_MAX + 1 + PAWL_SEAL_BYTES <=
                   PAWL_MEMBER_INFO_MAX,
               "an info fits into an announcement");

static struct pawl_bytes place_of(const struct pawl_member_id *id)
{
    return pawl_bytes_of(id->bytes, sizeof(id->bytes));
}

size_t pawl_member_info_encode(const struct pawl_member_info *info, const struct pawl_subkey *key,
                               const struct pawl_member_id *id, uint8_t *out)
{
    struct pawl_octet_writer writer =
        pawl_octet_writer_init(out, PAWL_MEMBER_INFO_MAX - PAWL_SEAL_BYTES);

    if (info->address.size > PAWL_VIEW_ADDRESS_MAX ||
        info->version.size > PAWL_MEMBER_VERSION_MAX || info->blob.size > PAWL_MEMBER_BLOB_MAX) {
        return 0;
    }
    pawl_octet_put_uint(&writer, INFO_VERSION, 1);
    pawl_octet_put_uint(&writer, (uint64_t)info->state, 1);
    pawl_octet_put_uint(&writer, info->acting, 8);
    pawl_octet_put(&writer, info->epoch.bytes, sizeof(info->epoch.bytes));
    pawl_octet_put_uint(&writer, (uint64_t)info->started_unix_s, 8);
    pawl_octet_put_part(&writer, info->address);
    pawl_octet_put_part(&writer, info->version);
    pawl_octet_put_part(&writer, info->blob);
    if (info->frozen) {
        pawl_octet_put_uint(&writer, INFO_FROZEN, 1);
    }
    return pawl_seal(key, PAWL_SEAL_MEMBER, place_of(id), out, writer.size);
}

enum pawl_status pawl_member_info_decode(struct pawl_member_info *info,
                                         const struct pawl_subkey *key,
                                         const struct pawl_member_id *id, struct pawl_bytes sealed)
{
    static const struct pawl_member_info nothing;
    struct pawl_bytes inside;

    *info = nothing;
    if (sealed.size > PAWL_MEMBER_INFO_MAX ||
        !pawl_unseal(key, PAWL_SEAL_MEMBER, place_of(id), sealed, &inside)) {
        return PAWL_ECORRUPT;
    }
    struct pawl_octet_reader reader = { inside.data, inside.size, 0, false };

    if (pawl_octet_get_uint(&reader, 1) != INFO_VERSION) {
        return reader.bad ? PAWL_ECORRUPT : PAWL_EVERSION;
    }
    uint64_t state = pawl_octet_get_uint(&reader, 1);

    info->acting = pawl_octet_get_uint(&reader, 8);
    const uint8_t *epoch = pawl_octet_get(&reader, sizeof(info->epoch.bytes));

    info->started_unix_s = (int64_t)pawl_octet_get_uint(&reader, 8);
    info->address = pawl_octet_get_part(&reader, PAWL_VIEW_ADDRESS_MAX);
    info->version = pawl_octet_get_part(&reader, PAWL_MEMBER_VERSION_MAX);
    info->blob = pawl_octet_get_part(&reader, PAWL_MEMBER_BLOB_MAX);
    info->frozen = !pawl_octet_all_read(&reader);
    if ((info->frozen && pawl_octet_get_uint(&reader, 1) != INFO_FROZEN) ||
        !pawl_octet_all_read(&reader) || state < PAWL_MEMBER_JOINING ||
        state > PAWL_MEMBER_LEAVING) {
        *info = nothing;
        return PAWL_ECORRUPT;
    }
    info->state = (enum pawl_member_state)state;
    memcpy(info->epoch.bytes, epoch, sizeof(info->epoch.bytes));
    return PAWL_OK;
}

const char *pawl_member_state_text(enum pawl_member_state state)
{
    switch (state) {
    case PAWL_MEMBER_JOINING:
        return "joining";
    case PAWL_MEMBER_SERVING:
        return "serving";
    case PAWL_MEMBER_LEAVING:
        return "leaving";
    case PAWL_MEMBER_NONE:
    default:
        return "unknown";
    }
}
