#include "default_addresses.h"
#include "private.h"

#include "adapter/tls/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define LOCAL_KEYS_MAX 65536u

static uint64_t clock_boottime_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void pawl_client_fill_random(void *out, size_t size)
{
    uint8_t *bytes = out;
    size_t done = 0;

    while (done < size) { /* at most 32 bytes are asked: only a signal can cut it short */
        ssize_t got = getrandom(bytes + done, size - done, 0);

        if (got > 0) {
            done += (size_t)got;
        }
    }
}

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value != 0 ? value : fallback;
}

static int refuse(char *error, size_t size, const char *text)
{
    if (error != NULL && size > 0) {
        (void)snprintf(error, size, "%s", text);
    }
    return PAWL_RC_INVALID;
}

static int read_options(struct pawl_client *client, const struct pawl_client_options *options,
                        char *error, size_t error_size)
{
    const char *ns = options->ns != NULL ? options->ns : "";
    const char *name = options->name != NULL ? options->name : "libpawl " PAWL_VERSION;
    const unsigned known = PAWL_CLIENT_LOCKED | PAWL_CLIENT_NO_FALLBACK | PAWL_CLIENT_NO_BREAKER |
                           PAWL_CLIENT_INSECURE | PAWL_CLIENT_ROUTE;

    if (strlen(ns) > PAWL_NAMESPACE_MAX) {
        return refuse(error, error_size, "ns: a namespace has at most 64 bytes");
    }
    if ((options->flags & ~known) != 0) {
        return refuse(error, error_size, "flags: a bit that this library does not know");
    }
    if (options->in_flight_max > CLIENT_IN_FLIGHT_MAX) {
        return refuse(error, error_size, "in_flight_max: at most 4096");
    }
    if (options->local_keys_max > LOCAL_KEYS_MAX) {
        return refuse(error, error_size, "local_keys_max: at most 65536");
    }
    (void)snprintf(client->ns, sizeof(client->ns), "%s", ns);
    (void)snprintf(client->name, sizeof(client->name), "%s", name);
    client->flags = options->flags;
    client->check_deadline_ms = or_default(options->check_deadline_ms, 20);
    client->durable_deadline_ms = or_default(options->durable_deadline_ms, 1000);
    client->breaker_failures = or_default(options->breaker_failures, 5);
    client->breaker_open_ms = or_default(options->breaker_open_ms, 100);
    client->breaker_open_max_ms = or_default(options->breaker_open_max_ms, 1000);
    if (client->breaker_open_max_ms < client->breaker_open_ms) {
        client->breaker_open_max_ms = client->breaker_open_ms;
    }
    client->expected_workers = or_default(options->expected_workers, 1);
    client->slot_max = or_default(options->in_flight_max, 256);
    client->local.slot_max = or_default(options->local_keys_max, 1024);
    return PAWL_RC_OK;
}

static int init_mutex(struct pawl_client *client)
{
    pthread_mutexattr_t attributes;
    int failed;

    if (pthread_mutexattr_init(&attributes) != 0) {
        return PAWL_RC_NOMEM;
    }
    /* recursive: a callback may submit */
    (void)pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    failed = pthread_mutex_init(&client->mutex, &attributes);
    (void)pthread_mutexattr_destroy(&attributes);
    return failed != 0 ? PAWL_RC_NOMEM : PAWL_RC_OK;
}

static void init_state(struct pawl_client *client)
{
    client->pid = getpid();
    client->epoll_fd = -1;
    client->busy_ns = 0;
    client->active = 0;
    client->depth = 0;
    client->in_callback = false;
    client->doomed = false;
    for (unsigned i = 0; i < CLIENT_CONNS; i++) {
        pawl_client_conn_reset(&client->conns[i]);
    }
    pawl_client_route_forked(client);
    pawl_client_slots_reset(client);
    memset(&client->breaker, 0, sizeof(client->breaker));
    pawl_client_fill_random(&client->random, sizeof(client->random));
    client->random |= 1;
}

static void release(struct pawl_client *client)
{
    if (client->slots != NULL) {
        for (uint32_t i = 0; i < client->slot_max; i++) {
            free(client->slots[i].frame);
        }
    }
    for (unsigned i = 0; i < CLIENT_CONNS; i++) {
        free(client->conns[i].in);
        free(client->conns[i].tail);
    }
    free(client->slots);
    free(client->local.slots);
    free(client->arena_memory);
    pawl_client_secure_close(client);
    pawl_client_route_close(client);
    free(client);
}

int pawl_client_create(const struct pawl_client_options *options, struct pawl_client **client,
                       char *error, size_t error_size)
{
    struct pawl_client_options given;
    struct pawl_client *made;
    char defaults[PAWL_DEFAULT_ADDRESSES_BYTES];
    const char *addresses;
    int rc;

    *client = NULL;
    memset(&given, 0, sizeof(given));
    if (options != NULL) {
        memcpy(&given, options,
               options->struct_size < sizeof(given) ? options->struct_size : sizeof(given));
    }
    made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return PAWL_RC_NOMEM;
    }
    made->clock_ns = clock_boottime_ns;
    made->connect = given.connect;
    made->connect_ctx = given.connect_ctx;
    addresses = given.addresses != NULL ? given.addresses : secure_getenv("PAWL_ADDR");
    rc = read_options(made, &given, error, error_size);
    if (rc == PAWL_RC_OK && made->connect == NULL) {
        if (addresses == NULL) {
            addresses = pawl_client_default_addresses(defaults);
        }
        rc = pawl_client_parse_addresses(made, addresses, error, error_size);
    }
    if (rc == PAWL_RC_OK) {
        rc = pawl_client_secure_open(made, &given, error, error_size);
    }
    if (rc == PAWL_RC_OK) {
        rc = pawl_client_route_open(made);
    }
    if (rc != PAWL_RC_OK) {
        pawl_client_secure_close(made);
        free(made);
        return rc;
    }
    made->slots = calloc(made->slot_max, sizeof(*made->slots));
    if (made->slots == NULL || init_mutex(made) != PAWL_RC_OK) {
        release(made);
        return PAWL_RC_NOMEM;
    }
    made->reply.results = made->wire_results;
    pawl_client_fill_random(made->local.key.bytes, sizeof(made->local.key.bytes));
    init_state(made);
    (void)pawl_client_lookup(made); /* a name that is not there yet may come: pawl_client_resolve */
    *client = made;
    return PAWL_RC_OK;
}

bool pawl_client_fork_check(struct pawl_client *client)
{
    if (PAWL_LIKELY(client->pid == getpid())) {
        return false;
    }
    /*
     * Only the copies of the descriptors go. No EPOLL_CTL_DEL: the epoll set is shared with the
     * parent, and would lose the parent's sockets.
     */
    for (unsigned i = 0; i < client->conn_count; i++) {
        if (client->conns[i].fd >= 0) {
            (void)close(client->conns[i].fd);
        }
        if (client->conns[i].tls != NULL) { /* this copy of it: nothing is sent */
            pawl_tls_ops.close(client->conns[i].tls);
        }
    }
    if (client->epoll_fd >= 0) {
        (void)close(client->epoll_fd);
    }
    (void)init_mutex(client); /* another thread of the parent may have held it */
    init_state(client);
    pawl_client_new_round(client);
    return true;
}

void pawl_client_enter(struct pawl_client *client)
{
    (void)pawl_client_fork_check(client);
    if ((client->flags & PAWL_CLIENT_LOCKED) != 0) {
        (void)pthread_mutex_lock(&client->mutex);
    }
    client->depth++;
}

static void finish(struct pawl_client *client)
{
    for (unsigned i = 0; i < client->conn_count; i++) {
        pawl_client_conn_close(client, &client->conns[i]);
    }
    if (client->epoll_fd >= 0) {
        (void)close(client->epoll_fd);
    }
    if ((client->flags & PAWL_CLIENT_LOCKED) != 0) {
        (void)pthread_mutex_unlock(&client->mutex);
    }
    (void)pthread_mutex_destroy(&client->mutex);
    release(client);
}

static void cancel_list(struct pawl_client *client, struct slot_list *list)
{
    while (list->first != NULL) {
        pawl_client_slot_fail(client, list->first, PAWL_RC_CANCELED);
    }
}

/* Callbacks may submit again: what comes of that is canceled too, until nothing is left. */
static void cancel_all(struct pawl_client *client)
{
    client->doomed = true;
    do {
        cancel_list(client, &client->queue);
        for (unsigned i = 0; i < client->conn_count; i++) {
            cancel_list(client, &client->conns[i].queue);
            cancel_list(client, &client->conns[i].sent);
        }
    } while (pawl_client_deliver(client) > 0);
}

bool pawl_client_leave(struct pawl_client *client)
{
    if (client->depth > 0) { /* 0: a child that was forked inside a callback unwinds */
        client->depth--;
    }
    if (client->doomed && client->depth == 0) {
        cancel_all(client);
        finish(client);
        return true;
    }
    if ((client->flags & PAWL_CLIENT_LOCKED) != 0) {
        (void)pthread_mutex_unlock(&client->mutex);
    }
    return false;
}

void pawl_client_destroy(struct pawl_client *client)
{
    if (client == NULL) {
        return;
    }
    pawl_client_enter(client);
    client->doomed = true;
    (void)pawl_client_leave(client); /* inside a callback: the outermost call does it */
}

int pawl_client_resolve(struct pawl_client *client)
{
    int rc;

    pawl_client_enter(client);
    rc = pawl_client_lookup(client);
    pawl_client_route_lookup(client);
    (void)pawl_client_leave(client);
    return rc;
}

void pawl_client_figures(struct pawl_client *client, struct pawl_client_figures *figures)
{
    size_t size = figures->struct_size;
    struct pawl_client_figures now;

    pawl_client_enter(client);
    now = client->figures;
    now.struct_size = size;
    now.in_flight = client->pending;
    now.in_flight_max = client->slot_max;
    now.local_keys = pawl_client_local_used(client, client->clock_ns());
    now.breaker_open = client->breaker.state != BREAKER_CLOSED;
    memcpy(figures, &now, size < sizeof(now) ? size : sizeof(now));
    (void)pawl_client_leave(client);
}

const char *pawl_client_version(void)
{
    return PAWL_VERSION;
}
