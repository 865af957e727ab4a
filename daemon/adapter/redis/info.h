/*
 * What INFO says, as far as it matters here. Sections may be parsed one after the other into one
 * struct; what is not there stays as it was.
 */
#ifndef PAWL_ADAPTER_REDIS_INFO_H
#define PAWL_ADAPTER_REDIS_INFO_H

#include "core/cluster/engine.h"

#define PAWL_REDIS_RUN_ID 40 /* hex digits of run_id and master_replid */

struct pawl_redis_info {
    bool has_role;
    bool is_master;
    char run_id[PAWL_REDIS_RUN_ID + 1];
    char replid[PAWL_REDIS_RUN_ID + 1];
    uint32_t replicas; /* online, heard of within 3 s */
    unsigned version; /* of the Redis that it is or speaks like: major * 100 + minor; 0: not said */
    char flavour[32]; /* "redis 7.0.15", "valkey 8.1.0"; "" */
    char policy[32];  /* maxmemory_policy; "" */
    uint64_t maxmemory; /* 0: none, or not said */
    char mode[16];      /* "standalone", "cluster", "sentinel"; "" */
    bool has_aof;       /* it says whether it keeps an append-only file ... */
    bool aof;           /* ... and does */
};

/** Read one section, or several. Lines that are not understood are passed over. */
void pawl_redis_info_parse(struct pawl_redis_info *info, struct pawl_bytes text);

/** Whether it tells one primary's life from another. */
static inline bool pawl_redis_info_has_epoch(const struct pawl_redis_info *info)
{
    return info->run_id[0] != '\0' && info->replid[0] != '\0';
}

/** Of (run_id, master_replid). */
struct pawl_epoch pawl_redis_info_epoch(const struct pawl_redis_info *info);

#endif
