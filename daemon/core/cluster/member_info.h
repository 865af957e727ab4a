/*
 * What a member says about itself with each announcement.
 *
 * Sealed (subkey `facts`, the member's id as the place), up to PAWL_MEMBER_INFO_MAX bytes. Texts
 * are lent: from the maker, or from the bytes that were read. Pure; any thread.
 */
#ifndef PAWL_CORE_CLUSTER_MEMBER_INFO_H
#define PAWL_CORE_CLUSTER_MEMBER_INFO_H

#include "core/cluster/view.h"

#define PAWL_MEMBER_VERSION_MAX 32
#define PAWL_MEMBER_BLOB_MAX    240

enum pawl_member_state {
    PAWL_MEMBER_NONE = 0,
    PAWL_MEMBER_JOINING = 1, /* not in the view as it knows it */
    PAWL_MEMBER_SERVING = 2,
    PAWL_MEMBER_LEAVING = 3,
};

struct pawl_member_info {
    enum pawl_member_state state;
    uint64_t acting;           /* number of the view it may decide by; 0: it decides nothing */
    struct pawl_epoch epoch;   /* of the engine, by its own handshake */
    int64_t started_unix_s;    /* for people */
    struct pawl_bytes address; /* up to PAWL_VIEW_ADDRESS_MAX */
    struct pawl_bytes version; /* of the program, up to PAWL_MEMBER_VERSION_MAX */
    struct pawl_bytes blob;    /* the log's, up to PAWL_MEMBER_BLOB_MAX */
    bool frozen;               /* its journal is, until thaw; for people */
};

/**
 * Serialized and sealed into @out, PAWL_MEMBER_INFO_MAX bytes. Returns the size; 0: something is
 * longer than its maximum.
 */
size_t pawl_member_info_encode(const struct pawl_member_info *info, const struct pawl_subkey *key,
                               const struct pawl_member_id *id, uint8_t *out);

/**
 * Read the info of member @id, from any bytes. Returns PAWL_OK, PAWL_ECORRUPT or PAWL_EVERSION;
 * @info is empty then.
 */
PAWL_MUST_USE enum pawl_status pawl_member_info_decode(struct pawl_member_info *info,
                                                       const struct pawl_subkey *key,
                                                       const struct pawl_member_id *id,
                                                       struct pawl_bytes sealed);

/** "joining", "serving", "leaving". */
const char *pawl_member_state_text(enum pawl_member_state state);

#endif
