/*
 * Several members in this process: each a server with the real dispatcher on a Unix socket, a
 * limiter of its own, and a world (edge/cluster_world.h) that the test writes instead of a
 * cluster's thread. Clients are plain sockets that speak frames. Waits are on conditions, with a
 * deadline that only a hang meets.
 */
#ifndef PAWL_TEST_FORWARD_RIG_H
#define PAWL_TEST_FORWARD_RIG_H

#include <sys/random.h>

#include "adapter/sys/clock.h"
#include "adapter/sys/memory.h"
#include "adapter/sys/zoneinfo.h"
#include "edge/cluster_world.h"
#include "edge/forward.h"
#include "unit/edge_rig.h"
#include "unit/settings_loaded.h"

#define NODES_MAX     3
#define LIMITER_BYTES ((size_t)8 << 20)
#define FACTS_MAX     1024
#define LEASES        64

/* Rates of an hour: nothing leaves its window while a test runs. */
static const char fleet_settings[] = "limits:\n"
                                     "  api: {rate: 10/1h, on_error: closed}\n"
                                     "  two: {rate: 2/1h, on_error: closed}\n"
                                     "  near: {rate: 10/1h, on_error: local}\n"
                                     "  flow: {rate: 9/1h, algorithm: gcra, burst: 9, "
                                     "on_error: local}\n";

struct node {
    unsigned index;
    struct pawl_app app;
    struct pawl_sys_clock sys_clock;
    struct pawl_clock clock;
    struct pawl_entropy entropy;
    struct pawl_log log;
    struct pawl_zones zones;
    struct pawl_region limiter_region, facts_region;
    struct pawl_limiter limiter;
    struct pawl_revocations revocations;
    struct pawl_token_keys keys;
    struct pawl_leases leases;
    void *leases_memory;
    struct pawl_cluster_world world;
    struct pawl_server *server;
    pthread_t thread;
    enum pawl_status outcome;
    char folder[64];
    char client_uri[96], peer_uri[96], both_uri[96];
    const char *client_path, *peer_path;
    /* What the workers told. */
    _Atomic unsigned wanted, refreshed, unreachable, counted, requests;
    _Atomic uint64_t refreshed_to;
    struct pawl_peer_request *_Atomic request; /* the last one, not answered */
};

struct fleet {
    unsigned count;
    struct node nodes[NODES_MAX];
    struct pawl_subkey slots_key, limits_key;
    struct loaded *settings;
    uint64_t view;
    uint64_t next_id;
    bool for_clients; /* members are told where clients may come, too */
};

/* ---- what a daemon has around it ---- */

static inline uint64_t fleet_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline enum pawl_status fleet_random(void *self, void *out, size_t size)
{
    (void)self;
    return getrandom(out, size, 0) == (ssize_t)size ? PAWL_OK : PAWL_EIO;
}

static inline void fleet_log(void *self, enum pawl_log_level level, const char *event,
                             const struct pawl_field *fields, unsigned count)
{
    (void)self;
    if (getenv("PAWL_TEST_LOG") != NULL) {
        (void)fprintf(stderr, "[%d] %s", (int)level, event);
        for (unsigned i = 0; i < count; i++) {
            if (fields[i].type == PAWL_FIELD_TEXT) {
                (void)fprintf(stderr, " %s=%s", fields[i].name, fields[i].value.text);
            }
        }
        (void)fprintf(stderr, "\n");
    }
}

static inline enum pawl_status fleet_no_store(void *self, struct pawl_job *job)
{
    (void)self;
    (void)job;
    return PAWL_EUNAVAIL;
}

static inline bool fleet_not_frozen(void *self)
{
    (void)self;
    return false;
}

static inline void fleet_wanted(void *self, uint32_t slot)
{
    (void)slot;
    (void)atomic_fetch_add(&((struct node *)self)->wanted, 1);
}

static inline void fleet_refresh(void *self, uint64_t number)
{
    struct node *node = self;

    (void)atomic_fetch_add(&node->refreshed, 1);
    atomic_store(&node->refreshed_to, number);
}

static inline void fleet_unreachable(void *self, struct pawl_member_id member)
{
    (void)member;
    (void)atomic_fetch_add(&((struct node *)self)->unreachable, 1);
}

static inline void fleet_counted(void *self, uint32_t slot)
{
    (void)slot;
    (void)atomic_fetch_add(&((struct node *)self)->counted, 1);
}

static inline void fleet_request(void *self, struct pawl_peer_request *request)
{
    struct node *node = self;
    struct pawl_peer_request *before = atomic_exchange(&node->request, request);

    (void)atomic_fetch_add(&node->requests, 1);
    if (before != NULL) {
        pawl_peer_answer(before);
    }
}

/* ---- a node ---- */

static inline void node_tables(struct node *node, struct fleet *fleet)
{
    struct pawl_limiter_config config = { .memory_max = LIMITER_BYTES,
                                          .subkey = fleet->limits_key,
                                          .slots = &fleet->slots_key,
                                          .salt = { 1, 2 },
                                          .life = (uint16_t)(node->index + 7) };
    struct pawl_revocations_options facts = { .max = FACTS_MAX };
    struct pawl_rules_world world = { &node->limiter, NULL, &node->zones, 0 };
    struct pawl_error error = { PAWL_OK, 0, "" };

    assert_int_equal(pawl_region_map(&node->limiter_region, LIMITER_BYTES, &error), PAWL_OK);
    config.region = node->limiter_region.data;
    if (pawl_limiter_init(&node->limiter, &config, &error) != PAWL_OK) {
        fail_msg("limiter: %s", error.text);
    }
    assert_int_equal(pawl_region_map(&node->facts_region, pawl_revocations_size(FACTS_MAX), &error),
                     PAWL_OK);
    assert_int_equal(pawl_revocations_init(&node->revocations, node->facts_region.data,
                                           pawl_revocations_size(FACTS_MAX), &facts),
                     PAWL_OK);
    pawl_revocations_set_mode(&node->revocations, PAWL_REVOCATIONS_SERVING);
    pawl_revocations_pulse(&node->revocations, fleet_now_ms());
    pawl_revocations_synced(&node->revocations, fleet_now_ms());
    node->leases_memory = calloc(1, pawl_leases_size(LEASES));
    assert_int_equal(pawl_leases_init(&node->leases, node->leases_memory, LEASES,
                                      (struct pawl_id){ 3, 4 }),
                     PAWL_OK);
    pawl_zoneinfo_init(&node->zones, NULL);
    node->app.observe = pawl_observe_create(&fleet->limits_key, &node->clock);
    world.observe = node->app.observe;
    struct pawl_rules *rules = pawl_rules_create(fleet->settings->settings, &world, &error);

    if (rules == NULL) {
        fail_msg("rules: %s", error.text);
    }
    pawl_rules_slot_init(&node->app.rules, rules);
}

static inline void node_app(struct node *node)
{
    static const struct pawl_store_ops store = { .submit = fleet_no_store,
                                                 .frozen = fleet_not_frozen };
    struct pawl_app *app = &node->app;

    pawl_sys_clock_init(&node->sys_clock, &node->clock, NULL);
    node->entropy = (struct pawl_entropy){ fleet_random, NULL };
    node->log = (struct pawl_log){ fleet_log, node };
    app->limiter = &node->limiter;
    app->revocations = &node->revocations;
    app->keys = &node->keys;
    app->clock = &node->clock;
    app->entropy = &node->entropy;
    app->log = &node->log;
    app->leases = &node->leases;
    app->store = (struct pawl_store){ &store, node };
    app->in_flight_max = 1024;
    app->cluster = &node->world;
    memset(app->node, (int)('a' + node->index), sizeof(app->node));
}

static inline void *node_thread(void *data)
{
    struct node *node = data;

    node->outcome = pawl_server_run(node->server, NULL);
    return NULL;
}

static inline void node_serve(struct node *node)
{
    struct pawl_server_options options;
    struct pawl_listen_options listen[4] = {
        { .uri = node->client_uri,
          .roles = PAWL_ROLE_CHECK | PAWL_ROLE_READ | PAWL_ROLE_ADMIN | PAWL_ROLE_REVOKE,
          .fd = -1 },
        { .uri = node->peer_uri, .roles = PAWL_ROLE_PEER, .fd = -1 },
        { .uri = node->both_uri, .roles = PAWL_ROLE_PEER | PAWL_ROLE_CHECK, .fd = -1 },
        { .uri = "tcp:127.0.0.1:0",
          .roles = PAWL_ROLE_CHECK,
          .anonymous = PAWL_ROLE_CHECK,
          .fd = -1 },
    };
    struct pawl_handler handler = pawl_dispatch_handler(&node->app);
    struct pawl_error error = { PAWL_OK, 0, "" };

    pawl_server_options_init(&options);
    options.listen = listen;
    options.listen_count = 4;
    options.workers = 2;
    if (pawl_server_create(&options, &handler, NULL, &node->log, &node->server, &error) !=
        PAWL_OK) {
        fail_msg("server: %s", error.text);
    }
    assert_int_equal(pthread_create(&node->thread, NULL, node_thread, node), 0);
}

static inline void node_open(struct fleet *fleet, unsigned index)
{
    struct node *node = &fleet->nodes[index];
    struct pawl_world_calls calls = { fleet_wanted,  fleet_refresh, fleet_unreachable,
                                      fleet_counted, fleet_request, node };
    struct pawl_member_id id;
    struct pawl_tls no_tls = { NULL };

    node->index = index;
    char folder[] = "/tmp/pawl_fleet_XXXXXX";

    assert_non_null(mkdtemp(folder));
    memcpy(node->folder, folder, sizeof(folder));
    (void)snprintf(node->client_uri, sizeof(node->client_uri), "unix:%s/c", folder);
    (void)snprintf(node->peer_uri, sizeof(node->peer_uri), "unix:%s/p", folder);
    (void)snprintf(node->both_uri, sizeof(node->both_uri), "unix:%s/b", folder);
    node->client_path = node->client_uri + 5;
    node->peer_path = node->peer_uri + 5;
    memset(&id, (int)('a' + index), sizeof(id));
    assert_int_equal(pawl_world_init(&node->world, id, &fleet->slots_key, &no_tls, &calls),
                     PAWL_OK);
    node_app(node);
    node_tables(node, fleet);
    node_serve(node);
}

static inline void node_stop(struct node *node)
{
    if (node->server == NULL) {
        return;
    }
    pawl_server_stop(node->server);
    pawl_server_stop(node->server);
    assert_int_equal(pthread_join(node->thread, NULL), 0);
    struct pawl_peer_request *left = atomic_exchange(&node->request, NULL);

    if (left != NULL) {
        pawl_peer_answer(left);
    }
    pawl_server_destroy(node->server);
    node->server = NULL;
}

static inline void node_close(struct node *node)
{
    node_stop(node);
    pawl_world_deinit(&node->world);
    pawl_rules_slot_deinit(&node->app.rules);
    pawl_observe_destroy(node->app.observe);
    pawl_leases_deinit(&node->leases);
    free(node->leases_memory);
    pawl_revocations_deinit(&node->revocations);
    pawl_limiter_deinit(&node->limiter);
    pawl_region_unmap(&node->limiter_region);
    pawl_region_unmap(&node->facts_region);
    (void)unlink(node->client_path);
    (void)unlink(node->peer_path);
    (void)unlink(node->both_uri + 5);
    (void)rmdir(node->folder);
}

/* ---- the fleet ---- */

static inline void node_tenure(struct node *node, bool held)
{
    atomic_store(&node->world.ownership.tenure_until_ms, held ? fleet_now_ms() + 3600000 : 0);
    pawl_world_poke(&node->world);
}

/* The members of @set (bits) are the view number @view, as @node knows it. */
static inline void node_learn(struct fleet *fleet, struct node *node, uint64_t view, unsigned set)
{
    struct pawl_territory_member members[NODES_MAX];
    size_t count = 0;

    memset(members, 0, sizeof(members));
    for (unsigned i = 0; i < fleet->count; i++) {
        if ((set >> i & 1) != 0) {
            members[count].id = fleet->nodes[i].world.self;
            (void)snprintf(members[count++].address, PAWL_ADDRESS_TEXT_MAX, "%s",
                           fleet->for_clients ? fleet->nodes[i].both_uri
                                              : fleet->nodes[i].peer_uri);
        }
    }
    struct pawl_territory *territory =
        pawl_territory_create(&fleet->slots_key, view, node->world.self, members, count);

    assert_non_null(territory);
    pawl_territory_publish(&node->world.territory, territory);
    pawl_world_poke(&node->world);
}

static inline void node_state(struct node *node, uint32_t slot, enum pawl_slot_state state)
{
    atomic_store(&node->world.ownership.states[slot], (uint8_t)state);
    pawl_world_poke(&node->world);
}

/* Who owns @slot where all @set are members. */
static inline unsigned fleet_owner(struct fleet *fleet, uint32_t slot, unsigned set)
{
    struct pawl_member_id ids[NODES_MAX];
    unsigned index[NODES_MAX];
    static struct pawl_ring ring;
    static struct pawl_subkey built_with;
    size_t count = 0;

    for (unsigned i = 0; i < fleet->count; i++) {
        if ((set >> i & 1) != 0) {
            index[count] = i;
            ids[count++] = fleet->nodes[i].world.self;
        }
    }
    /* Keys are sought by the thousand: the ring is built for each of them only when it changes. */
    if (ring.member_count != count || memcmp(ring.members, ids, count * sizeof(ids[0])) != 0 ||
        memcmp(&built_with, &fleet->slots_key, sizeof(built_with)) != 0) {
        assert_int_equal(pawl_ring_build(&ring, &fleet->slots_key, 1, ids, count), PAWL_OK);
        built_with = fleet->slots_key;
    }
    return index[ring.owner[slot]];
}

/* All members of @set: everybody knows it, and each holds what it owns. */
static inline void fleet_settle(struct fleet *fleet, unsigned set)
{
    struct pawl_member_id ids[NODES_MAX];
    unsigned index[NODES_MAX];
    static struct pawl_ring ring;
    size_t count = 0;

    for (unsigned i = 0; i < fleet->count; i++) {
        if ((set >> i & 1) != 0) {
            index[count] = i;
            ids[count++] = fleet->nodes[i].world.self;
        }
    }
    assert_int_equal(pawl_ring_build(&ring, &fleet->slots_key, 1, ids, count), PAWL_OK);
    fleet->view += 65536;
    for (unsigned i = 0; i < fleet->count; i++) {
        for (uint32_t slot = 0; slot < PAWL_RING_SLOTS; slot++) {
            atomic_store(&fleet->nodes[i].world.ownership.states[slot],
                         (uint8_t)(index[ring.owner[slot]] == i ? PAWL_SLOT_HELD
                                                                : PAWL_SLOT_FOREIGN));
        }
        node_tenure(&fleet->nodes[i], true);
        node_learn(fleet, &fleet->nodes[i], fleet->view, set);
    }
}

static inline struct fleet *fleet_make(unsigned count)
{
    struct fleet *fleet = calloc(1, sizeof(*fleet));

    assert_non_null(fleet);
    fleet->count = count;
    fleet->next_id = 1;
    memset(&fleet->slots_key, 's', sizeof(fleet->slots_key));
    memset(&fleet->limits_key, 'l', sizeof(fleet->limits_key));
    fleet->settings = load(fleet_settings);
    assert_good(fleet->settings);
    for (unsigned i = 0; i < count; i++) {
        node_open(fleet, i);
    }
    fleet_settle(fleet, (1U << count) - 1);
    return fleet;
}

static inline void fleet_free(struct fleet *fleet)
{
    for (unsigned i = 0; i < fleet->count; i++) {
        node_close(&fleet->nodes[i]);
    }
    done(fleet->settings);
    free(fleet);
}

/* The slot of the key @text in the namespace "default". */
static inline uint32_t fleet_slot(const struct fleet *fleet, const char *text)
{
    struct pawl_bytes part = pawl_bytes_of(text, strlen(text));

    return pawl_ring_slot(&fleet->slots_key, pawl_bytes_of("default", 7), &part, 1);
}

/* A key that @owner owns while all are members, the @nth of its kind. */
static inline const char *fleet_key(struct fleet *fleet, unsigned owner, unsigned nth, char out[32])
{
    for (unsigned i = 0;; i++) {
        (void)snprintf(out, 32, "key%u", i);
        if (fleet_owner(fleet, fleet_slot(fleet, out), (1U << fleet->count) - 1) == owner &&
            nth-- == 0) {
            return out;
        }
    }
}

#define FIGURE(node, name) fleet_figure(node, offsetof(struct pawl_dispatch_metrics, name))

/* The sum over the workers of one figure of their dispatchers. */
static inline uint64_t fleet_figure(struct node *node, size_t offset)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < PAWL_WORKERS_MAX; i++) {
        sum += atomic_load((_Atomic uint64_t *)(void *)((char *)&node->app.metrics[i] + offset));
    }
    return sum;
}

/* ---- clients ---- */

struct answer {
    Pawl__V1__Reply *reply;
    uint8_t bytes[65536];
};

static inline void client_send(int fd, const Pawl__V1__Request *request)
{
    static _Thread_local uint8_t frame[PAWL_FRAME_HEADER_BYTES + PAWL_REQUEST_BYTES_MAX];
    size_t size = pawl_cold_write_request(frame, sizeof(frame), request);

    assert_int_not_equal(size, 0);
    rig_send(fd, frame, size);
}

static inline Pawl__V1__Reply *client_receive(int fd)
{
    static _Thread_local uint8_t bytes[PAWL_REPLY_BYTES_MAX];
    size_t size = rig_read_frame(fd, bytes, sizeof(bytes));
    Pawl__V1__Reply *reply = pawl__v1__reply__unpack(NULL, size, bytes);

    assert_non_null(reply);
    return reply;
}

/** A check of up to four keys, on the wire. */
struct asked {
    const char *limit;
    const char *keys[4];
    unsigned cost; /* of each */
    Pawl__V1__Op op;
    Pawl__V1__Mode mode;
    unsigned deadline_ms;
    const char *jti; /* a token goes with it */
    bool forwarded;
    uint64_t view;
    Pawl__V1__OnError on_error;
};

static inline ProtobufCBinaryData wire_text(const char *text)
{
    return (ProtobufCBinaryData){ strlen(text), (uint8_t *)(uintptr_t)text };
}

static inline void client_ask(struct fleet *fleet, int fd, struct asked asked)
{
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    Pawl__V1__Check check = PAWL__V1__CHECK__INIT;
    Pawl__V1__Token token = PAWL__V1__TOKEN__INIT;
    Pawl__V1__CheckItem items[4];
    Pawl__V1__CheckItem *list[4];
    ProtobufCBinaryData keys[4];

    for (unsigned i = 0; i < 4 && asked.keys[i] != NULL; i++) {
        pawl__v1__check_item__init(&items[i]);
        keys[i] = wire_text(asked.keys[i]);
        items[i].limit = wire_text(asked.limit);
        items[i].n_key = 1;
        items[i].key = &keys[i];
        items[i].cost = asked.cost;
        items[i].on_error = asked.on_error;
        list[check.n_items++] = &items[i];
    }
    check.items = list;
    check.op = asked.op;
    check.mode = asked.mode;
    if (asked.jti != NULL) {
        token.issuer = wire_text("https://a");
        token.jti = wire_text(asked.jti);
        token.exp = (uint64_t)time(NULL) + 300;
        token.iat = (uint64_t)time(NULL) - 1;
        check.token = &token;
    }
    request.id = fleet->next_id++;
    request.deadline_ms = asked.deadline_ms;
    request.forwarded = asked.forwarded;
    request.view = asked.view;
    request.body_case = PAWL__V1__REQUEST__BODY_CHECK;
    request.check = &check;
    client_send(fd, &request);
}

/** Ask and take the answer, whose id has to be right. Free it with answer_free(). */
static inline Pawl__V1__Reply *client_check(struct fleet *fleet, int fd, struct asked asked)
{
    uint64_t id = fleet->next_id;

    client_ask(fleet, fd, asked);
    Pawl__V1__Reply *reply = client_receive(fd);

    assert_int_equal(reply->id, id);
    return reply;
}

static inline void answer_free(Pawl__V1__Reply *reply)
{
    pawl__v1__reply__free_unpacked(reply, NULL);
}

static inline int node_connect(const struct node *node)
{
    int fd = rig_try_connect(node->client_path);

    assert_true(fd >= 0);
    return fd;
}

static inline int node_connect_peer(const struct node *node)
{
    int fd = rig_try_connect(node->peer_path);

    assert_true(fd >= 0);
    return fd;
}

/** How much of @limit the key @key has used at @node itself, its records alone. */
static inline uint64_t node_count(struct node *node, const char *limit, const char *key)
{
    struct pawl_bytes part = pawl_bytes_of(key, strlen(key));
    unsigned version;
    struct pawl_rules *rules = pawl_rules_current(&node->app.rules, &version);
    const struct pawl_rule *rule =
        pawl_rules_find(rules, pawl_bytes_of("default", 7), pawl_bytes_of(limit, strlen(limit)),
                        pawl_bytes_of(NULL, 0));
    struct pawl_limit_item item = { &rule->limit, pawl_bytes_of("default", 7), &part, 1, 1, NULL };
    struct pawl_limit_request ask = { .items = &item, .items_count = 1, .op = PAWL_OP_PEEK };
    struct pawl_limit_result result = { 0 };
    struct pawl_limit_outcome outcome;

    ask.now = pawl_clock_read(&node->clock).instant;
    ask.wall = pawl_clock_read(&node->clock).wall;
    assert_int_equal(pawl_limiter_check(&node->limiter, &ask, &result, 1, &outcome), PAWL_OK);
    pawl_rules_release(rules);
    return result.count;
}

/** Wait until @truth holds. */
#define AWAIT(truth)                                                                  \
    do {                                                                              \
        for (unsigned waited_ms = 0; !(truth); waited_ms++) {                         \
            if (waited_ms > RIG_PATIENCE_MS) {                                        \
                fail_msg("%s:%d: did not come true: %s", __FILE__, __LINE__, #truth); \
            }                                                                         \
            (void)usleep(1000);                                                       \
        }                                                                             \
    } while (0)

#endif
