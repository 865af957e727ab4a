/* See info.h. */
#include "info.h"

#include "core/keyhash.h"

#include <stdio.h>
#include <string.h>

#define LAG_MAX_S 3 /* a replica acknowledges once a second */

static bool is(struct pawl_bytes name, const char *word)
{
    return name.size == strlen(word) && memcmp(name.data, word, name.size) == 0;
}

/* All of it, or nothing where it has no room or is not printable. */
static void take_text(char *out, size_t room, struct pawl_bytes value)
{
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] <= ' ' || value.data[i] > '~') {
            return;
        }
    }
    if (value.size < room) {
        memcpy(out, value.data, value.size);
        out[value.size] = '\0';
    }
}

static uint64_t number_of(struct pawl_bytes value)
{
    uint64_t number = 0;

    for (size_t i = 0; i < value.size && i < 19 && value.data[i] >= '0' && value.data[i] <= '9';
         i++) {
        number = number * 10 + (uint64_t)(value.data[i] - '0');
    }
    return number;
}

/* "ip=10.0.0.2,port=6379,state=online,offset=99,lag=1" */
static bool is_in_step(struct pawl_bytes value)
{
    const uint8_t *online = memmem(value.data, value.size, "state=online", 12);
    const uint8_t *lag = memmem(value.data, value.size, ",lag=", 5);
    struct pawl_bytes rest;

    if (online == NULL || lag == NULL) {
        return false;
    }
    rest = pawl_bytes_of(lag + 5, (size_t)(value.data + value.size - lag - 5));
    return rest.size > 0 && rest.data[0] >= '0' && rest.data[0] <= '9' &&
           number_of(rest) <= LAG_MAX_S;
}

static bool is_replica_line(struct pawl_bytes name)
{
    return name.size > 5 && name.size < 10 && memcmp(name.data, "slave", 5) == 0 &&
           name.data[5] >= '0' && name.data[5] <= '9';
}

static void take_version(struct pawl_redis_info *info, struct pawl_bytes value)
{
    const uint8_t *dot = memchr(value.data, '.', value.size);
    char number[16] = "";

    if (dot != NULL) {
        struct pawl_bytes minor =
            pawl_bytes_of(dot + 1, (size_t)(value.data + value.size - dot - 1));
        uint64_t wide = number_of(value) * 100 + (number_of(minor) % 100);

        info->version = wide > 99999 ? 0 : (unsigned)wide;
    }
    take_text(number, sizeof(number), value);
    if (info->flavour[0] == '\0' && number[0] != '\0') {
        (void)snprintf(info->flavour, sizeof(info->flavour), "redis %s", number);
    }
}

static void take_line(struct pawl_redis_info *info, struct pawl_bytes name, struct pawl_bytes value)
{
    if (is(name, "role")) {
        info->has_role = true;
        info->is_master = is(value, "master");
    } else if (is(name, "run_id")) {
        take_text(info->run_id, sizeof(info->run_id), value);
    } else if (is(name, "master_replid")) {
        take_text(info->replid, sizeof(info->replid), value);
    } else if (is(name, "redis_version")) {
        take_version(info, value);
    } else if (is(name, "valkey_version")) {
        char number[16] = "";

        take_text(number, sizeof(number), value);
        (void)snprintf(info->flavour, sizeof(info->flavour), "valkey %s", number);
    } else if (is(name, "maxmemory_policy")) {
        take_text(info->policy, sizeof(info->policy), value);
    } else if (is(name, "maxmemory")) {
        info->maxmemory = number_of(value);
    } else if (is(name, "redis_mode") || is(name, "server_mode")) {
        take_text(info->mode, sizeof(info->mode), value);
    } else if (is(name, "aof_enabled")) {
        info->has_aof = true;
        info->aof = is(value, "1");
    }
}

void pawl_redis_info_parse(struct pawl_redis_info *info, struct pawl_bytes text)
{
    uint32_t replicas = 0;
    bool is_replication = false;

    while (text.size > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t size = end == NULL ? text.size : (size_t)(end - text.data);
        size_t bare = size > 0 && text.data[size - 1] == '\r' ? size - 1 : size;
        const uint8_t *colon = memchr(text.data, ':', bare);

        if (colon != NULL) {
            struct pawl_bytes name = pawl_bytes_of(text.data, (size_t)(colon - text.data));
            struct pawl_bytes value = pawl_bytes_of(colon + 1, bare - name.size - 1);

            take_line(info, name, value);
            is_replication = is_replication || is(name, "role");
            replicas += is_replica_line(name) && is_in_step(value) ? 1 : 0;
        }
        size = end == NULL ? size : size + 1;
        text.data += size;
        text.size -= size;
    }
    if (is_replication) {
        info->replicas = replicas;
    }
}

struct pawl_epoch pawl_redis_info_epoch(const struct pawl_redis_info *info)
{
    char text[2 * PAWL_REDIS_RUN_ID + 2];
    uint8_t hash[PAWL_SHA256_BYTES];
    struct pawl_epoch epoch;
    int size = snprintf(text, sizeof(text), "%s/%s", info->run_id, info->replid);

    pawl_sha256(hash, text, (size_t)size);
    memcpy(epoch.bytes, hash, sizeof(epoch.bytes));
    return epoch;
}
