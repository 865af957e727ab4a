/*
 * main's part for a node in a fleet (settings.cluster): which engine, the journal beside it, the
 * cluster's thread, and what it means for start, reload and stop. Beside main.c, because it names
 * adapters. Nothing here does anything where there is no cluster section.
 *
 * Life: open (in place of the embedded store) -> start (the server is made) -> leave (a signal
 * came, everything is still served) -> close -> (the server is destroyed) -> destroy. The main
 * loop's thread, but for what says otherwise.
 */
#ifndef PAWL_DAEMON_FLEET_H
#define PAWL_DAEMON_FLEET_H

#include "adapter/redis/redis.h"
#include "edge/cluster.h"
#include "outward.h"

#define PAWL_FLEET_JOIN_MS 6000 /* the first member waits for 4 s whether there are others */

struct daemon;

/** What of the settings says where the engine is: copies, for a reload may come before it is asked.
 */
struct pawl_fleet_engine {
    struct pawl_redis_settings redis[PAWL_SETTINGS_REDIS_MAX];
    struct pawl_redis_settings sentinels[PAWL_SETTINGS_REDIS_MAX];
    unsigned redis_count, sentinel_count;
    const char *sentinel_name, *user, *sentinel_user, *tls_name, *prefix;
    uint32_t command_timeout_ms;
    bool strict;
    char *texts[2 * PAWL_SETTINGS_REDIS_MAX + 5];
    unsigned text_count;
};

/** Fields are private. */
struct pawl_fleet {
    struct daemon *daemon;
    struct pawl_outward outward;
    bool outward_open;
    struct pawl_fleet_engine engine;
    struct pawl_outward_set shown; /* the cluster's thread: what the engine is shown */
    struct pawl_tls tls;
    _Atomic(struct pawl_redis *) redis; /* the cluster's thread; figures are for any */
    struct pawl_cluster *cluster;
    struct pawl_store journal; /* ops NULL: none */
    uint8_t *loaded;           /* facts that the journal held when it was opened */
    size_t loaded_size, loaded_capacity;
    bool load_short; /* of them, some that there was no memory for */
    bool started, leaving;
};

/** Whether the settings ask for one. */
bool pawl_fleet_is_on(const struct daemon *daemon);

/**
 * Before there is any thread: the system's resolver asks each name server for a second, in place of
 * five. A connection has two seconds for all of it, and one of two name servers may be down.
 * RES_OPTIONS of the environment stays what it is (resolver(5) has it go before resolv.conf).
 */
void pawl_fleet_hurry_names(void);

/**
 * Read certificates and passwords, open the journal, make the cluster's parts; fills app.store and
 * app.cluster. What is wrong is in @error.
 */
PAWL_MUST_USE enum pawl_status pawl_fleet_open(struct daemon *daemon, struct pawl_error *error);

/**
 * Join the fleet, before the workers run: who connects meanwhile waits in the backlog, and is
 * answered by a member. What is asked about slots still on their way waits for them. Takes
 * PAWL_FLEET_JOIN_MS at most; then this node serves what it can.
 */
PAWL_MUST_USE enum pawl_status pawl_fleet_start(struct daemon *daemon, struct pawl_error *error);

/** Certificates and passwords follow a reload. Only where pawl_fleet_is_on(). */
struct pawl_reload_part pawl_fleet_part(struct daemon *daemon);

/** Once a second: what the fleet has told of the store's birth reaches the rules; what a reload has
 * changed reaches the fleet. */
void pawl_fleet_tick(struct daemon *daemon);

/**
 * The first signal: hand over what is counted here while everything is served. True: it goes on,
 * and pawl_server_go_on() is called when it is over, after half of drain_timeout at the latest.
 */
bool pawl_fleet_leave(struct daemon *daemon);

/** End the thread and the journal. Twice is nothing. */
void pawl_fleet_close(struct daemon *daemon);

/** After pawl_server_destroy(). */
void pawl_fleet_destroy(struct daemon *daemon);

#endif
