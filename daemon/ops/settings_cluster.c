/*
 * The fleet: addresses of engines, levels of namespaces, and what has to hold with the listeners.
 */
#include "ops/settings_load.h"

#include <string.h>

#include "core/limiter.h"

#define REDIS_PORT    6379
#define SENTINEL_PORT 26379

static const struct pawl_place *seen_at(const struct pawl_settings_loader *loader, const char *path)
{
    const struct pawl_config_node *node = pawl_settings_seen(loader, path);

    return node != NULL ? &node->place : NULL;
}

static const char *keep(struct pawl_settings_loader *loader, const char *text)
{
    const char *copy = pawl_pool_text(loader->settings->pool, text, strlen(text));

    loader->no_memory = loader->no_memory || copy == NULL;
    return copy != NULL ? copy : "";
}

/* ---- levels of namespaces ------------------------------------------------------------------ */

static void read_ack(struct pawl_settings_loader *loader, const struct pawl_setting *row,
                     const struct pawl_config_node *item, struct pawl_ack_settings *ack)
{
    static const struct pawl_setting level = { .path = "",
                                               .type = PAWL_SETTING_WORD,
                                               .offset = offsetof(struct pawl_ack_settings, ack) };
    struct pawl_setting one = level;
    char shown[PAWL_SETTINGS_SHOWN_BYTES];
    size_t size = strlen(item->key);

    one.words = row->words;
    (void)snprintf(shown, sizeof(shown), "%s.%.80s", row->path, item->key);
    ack->ns = keep(loader, item->key);
    if (size == 0 || size > PAWL_LIMIT_NAME_MAX || !pawl_setting_is_clean(item->key)) {
        pawl_settings_complain(loader, false, &item->key_place, 0,
                               "%s: is not a namespace; its name has 1 to %d bytes", shown,
                               PAWL_LIMIT_NAME_MAX);
    }
    pawl_settings_read_row(loader, &one, item, ack, shown);
}

void pawl_settings_read_acks(struct pawl_settings_loader *loader, const struct pawl_setting *row,
                             const struct pawl_config_node *node)
{
    struct pawl_cluster_settings *cluster = &loader->settings->cluster;

    if (pawl_settings_is_null(node)) {
        return;
    }
    if (node->kind != PAWL_NODE_MAPPING || node->count > row->max) {
        pawl_settings_complain(loader, false, &node->place, 0,
                               "%s: is not a mapping of up to %u namespaces; write "
                               "{NAMESPACE: quorum}",
                               row->path, (unsigned)row->max);
        return;
    }
    cluster->acks =
        pawl_pool_take(loader->settings->pool, (node->count + 1) * sizeof(*cluster->acks));
    if (cluster->acks == NULL) {
        loader->no_memory = true;
        return;
    }
    for (const struct pawl_config_node *item = node->first; item != NULL; item = item->next) {
        read_ack(loader, row, item, &cluster->acks[cluster->ack_count]);
        cluster->ack_count++;
    }
}

/* ---- addresses of engines ------------------------------------------------------------------ */

static bool refuse_uri(struct pawl_settings_loader *loader, const char *path, unsigned index,
                       const char *why)
{
    pawl_settings_complain(loader, false, seen_at(loader, path), 0, "%s[%u]: %s", path, index, why);
    return false;
}

/** "host:port", "[v6]:port", either without its port, as of @to. False: told. */
static bool read_host(struct pawl_settings_loader *loader, const char *path, unsigned index,
                      const char *rest, struct pawl_redis_settings *to)
{
    char text[PAWL_ADDRESS_TEXT_MAX + 16];
    char uri[PAWL_ADDRESS_TEXT_MAX + 32];
    const char *after = rest[0] == '[' ? strchr(rest, ']') : rest;
    bool has_port = after != NULL && strchr(after, ':') != NULL;
    struct pawl_address address;
    struct pawl_error error = { 0 };

    if (strlen(rest) > PAWL_ADDRESS_HOST_MAX + 8) {
        return refuse_uri(loader, path, index, "the host has too many bytes; use a shorter name");
    }
    (void)snprintf(text, sizeof(text), has_port ? "tcp:%s" : "tcp:%s:%u", rest, (unsigned)to->port);
    if (pawl_address_parse(pawl_bytes_of(text, strlen(text)), &address, &error) != PAWL_OK) {
        return refuse_uri(loader, path, index, error.text);
    }
    if (address.port == 0) {
        return refuse_uri(loader, path, index, "has no port; write redis://HOST:PORT");
    }
    to->host = keep(loader, address.host);
    to->port = address.port;
    (void)pawl_address_format(&address, text, sizeof(text));
    (void)snprintf(uri, sizeof(uri), "%s%s", to->secure ? "rediss://" : "redis://",
                   text + strlen("tcp:"));
    to->uri = keep(loader, uri);
    return true;
}

static bool read_uri(struct pawl_settings_loader *loader, const char *path, unsigned index,
                     const char *uri, struct pawl_redis_settings *to)
{
    static const char *const schemes[] = { "redis://", "rediss://" };
    char rest[PAWL_SETTINGS_PATH_MAX];
    size_t size;

    if (strncmp(uri, "unix:/", 6) == 0) {
        to->port = 0;
        to->host = keep(loader, uri + 5);
        to->uri = keep(loader, uri);
        return strlen(uri + 5) <= PAWL_ADDRESS_PATH_MAX ||
               refuse_uri(loader, path, index, "a socket's path has at most 107 bytes");
    }
    to->secure = strncmp(uri, schemes[1], 9) == 0;
    if (!to->secure && strncmp(uri, schemes[0], 8) != 0) {
        return refuse_uri(loader, path, index,
                          "is not an address of an engine; write redis://HOST:PORT, rediss:// with "
                          "TLS, or unix:/PATH");
    }
    (void)snprintf(rest, sizeof(rest), "%s", uri + (to->secure ? 9 : 8));
    size = strlen(rest);
    if (size > 0 && rest[size - 1] == '/') { /* as other clients write it */
        rest[size - 1] = '\0';
    }
    if (strchr(rest, '@') != NULL) {
        return refuse_uri(loader, path, index,
                          "user and password do not belong here, where everybody sees them; use "
                          "cluster.user and cluster.password_file");
    }
    if (strpbrk(rest, "/?#") != NULL) {
        return refuse_uri(loader, path, index,
                          "names a database or an option; only database 0 is used, write "
                          "redis://HOST:PORT");
    }
    return read_host(loader, path, index, rest, to);
}

static struct pawl_redis_settings *read_uris(struct pawl_settings_loader *loader, const char *path,
                                             const struct pawl_text_list *list, uint16_t port,
                                             unsigned *count)
{
    struct pawl_redis_settings *items =
        pawl_pool_take(loader->settings->pool, (list->count + 1) * sizeof(*items));

    *count = 0;
    if (items == NULL) {
        loader->no_memory = true;
        return NULL;
    }
    for (unsigned i = 0; i < list->count && !loader->no_memory; i++) {
        items[i].uri = "";
        items[i].host = "";
        items[i].port = port;
        (void)read_uri(loader, path, i, list->items[i], &items[i]);
        for (unsigned k = 0; k < i; k++) {
            if (items[i].uri[0] != '\0' && strcmp(items[k].uri, items[i].uri) == 0) {
                (void)refuse_uri(loader, path, i, "is there twice; remove one");
            }
        }
    }
    *count = list->count;
    return items;
}

static void settle_engine(struct pawl_settings_loader *loader)
{
    struct pawl_cluster_settings *cluster = &loader->settings->cluster;
    bool has_name = cluster->sentinel_name[0] != '\0';
    bool has_nodes = cluster->sentinel_list.count > 0;

    cluster->redis =
        read_uris(loader, "cluster.redis", &cluster->redis_list, REDIS_PORT, &cluster->redis_count);
    cluster->sentinels = read_uris(loader, "cluster.sentinel.nodes", &cluster->sentinel_list,
                                   SENTINEL_PORT, &cluster->sentinel_count);
    if (cluster->redis_list.count == 0 && !has_name && !has_nodes) {
        pawl_settings_complain(loader, false, &loader->cluster_node->place, 0,
                               "cluster: has no engine; add redis: [\"redis://HOST:PORT\"], or "
                               "sentinel: {name: NAME, nodes: [...]}");
    } else if (cluster->redis_list.count > 0 && (has_name || has_nodes)) {
        pawl_settings_complain(loader, false, seen_at(loader, "cluster.redis"), 0,
                               "cluster.redis: cluster.sentinel says where the engine is; keep one "
                               "of the two");
    } else if (has_name != has_nodes) {
        pawl_settings_complain(
            loader, false,
            seen_at(loader, has_name ? "cluster.sentinel.name" : "cluster.sentinel.nodes"), 0,
            "cluster.sentinel: has no %s; add it", has_name ? "nodes" : "name");
    }
}

static bool uses_tls(const struct pawl_redis_settings *items, unsigned count)
{
    bool found = false;

    for (unsigned i = 0; i < count; i++) {
        found = found || items[i].secure;
    }
    return found;
}

static void check_engine_tls(struct pawl_settings_loader *loader)
{
    const struct pawl_cluster_settings *cluster = &loader->settings->cluster;
    bool certificate = cluster->tls_certificate[0] != '\0';
    bool key = cluster->tls_key[0] != '\0';

    if (certificate != key) {
        pawl_settings_complain(
            loader, false,
            seen_at(loader, certificate ? "cluster.tls.certificate" : "cluster.tls.key"), 0,
            "cluster.tls: certificate and key go together; set both or neither");
    }
    if ((certificate || key || cluster->tls_ca[0] != '\0' || cluster->tls_name[0] != '\0') &&
        !uses_tls(cluster->redis, cluster->redis_count) &&
        !uses_tls(cluster->sentinels, cluster->sentinel_count)) {
        pawl_settings_complain(loader, true, &loader->cluster_node->place, 0,
                               "cluster.tls: no address is rediss://, so the engine is reached in "
                               "clear");
    }
    if (cluster->user[0] != '\0' && cluster->password_file[0] == '\0') {
        pawl_settings_complain(loader, false, seen_at(loader, "cluster.user"), 0,
                               "cluster.user: has no password; set cluster.password_file");
    }
    if (cluster->sentinel_user[0] != '\0' && cluster->sentinel_password_file[0] == '\0') {
        pawl_settings_complain(loader, false, seen_at(loader, "cluster.sentinel.user"), 0,
                               "cluster.sentinel.user: has no password; set "
                               "cluster.sentinel.password_file");
    }
}

/* ---- the other members --------------------------------------------------------------------- */

static const struct pawl_listen_settings *listener_of(const struct pawl_settings *settings,
                                                      enum pawl_address_kind kind)
{
    for (unsigned i = 0; i < settings->listen_count; i++) {
        if (settings->listen[i].address.kind == kind) {
            return &settings->listen[i];
        }
    }
    return NULL;
}

static void refuse_advertise(struct pawl_settings_loader *loader, const char *why)
{
    pawl_settings_complain(loader, false, seen_at(loader, "cluster.advertise"), 0,
                           "cluster.advertise: %s", why);
}

static bool may_be_insecure(const struct pawl_settings *settings)
{
    for (unsigned i = 0; i < settings->listen_count; i++) {
        if (settings->listen[i].address.kind == PAWL_ADDRESS_TCP && settings->listen[i].insecure) {
            return true;
        }
    }
    return false;
}

static bool has_peer(const struct pawl_settings *settings)
{
    for (unsigned i = 0; i < settings->tls.client_count; i++) {
        if ((settings->tls.clients[i].role & PAWL_GRANT_PEER) != 0) {
            return true;
        }
    }
    return false;
}

static void check_peers(struct pawl_settings_loader *loader, const struct pawl_address *address)
{
    const struct pawl_settings *settings = loader->settings;
    struct pawl_address copy = *address;
    bool loopback = false;

    if (address->kind == PAWL_ADDRESS_TLS) {
        if (settings->tls.ca[0] == '\0' || settings->tls.certificate[0] == '\0') {
            refuse_advertise(loader,
                             "members know each other by certificates; set tls.certificate, "
                             "tls.key and tls.ca");
        } else if (!has_peer(settings)) {
            refuse_advertise(loader, "nobody among tls.clients has the role peer, so no member "
                                     "could ask this one; add {san: ..., role: [check, peer]} with "
                                     "a name that all members' certificates have");
        }
    } else if (address->kind == PAWL_ADDRESS_TCP) {
        loopback = pawl_settings_check_host(&copy, &loopback) && loopback;
        if (!loopback && !may_be_insecure(settings)) {
            refuse_advertise(loader, "tcp: beyond this machine is open to everybody on the way; "
                                     "use tls:, or permit it with insecure: true at the tcp: "
                                     "listener");
        }
    }
}

static void settle_advertise(struct pawl_settings_loader *loader)
{
    struct pawl_cluster_settings *cluster = &loader->settings->cluster;
    struct pawl_address *address = &cluster->advertise_address;
    struct pawl_error error = { 0 };
    char text[PAWL_ADDRESS_TEXT_MAX];

    if (cluster->advertise[0] == '\0') {
        if (pawl_settings_seen(loader, "cluster.advertise") == NULL) {
            pawl_settings_complain(loader, false, &loader->cluster_node->place, 0,
                                   "cluster: has no advertise; add the address under which the "
                                   "other members reach this one, like \"tls:10.0.0.7:7401\"");
        }
        return; /* else told */
    }
    if (pawl_address_parse(pawl_bytes_of(cluster->advertise, strlen(cluster->advertise)), address,
                           &error) != PAWL_OK) {
        refuse_advertise(loader, error.text);
        return;
    }
    if (address->kind == PAWL_ADDRESS_UNIX ? !address->is_abstract && address->path[0] != '/'
                                           : address->port == 0) {
        refuse_advertise(loader, address->kind == PAWL_ADDRESS_UNIX ? "write a path from /"
                                                                    : "port 0 is no port to reach");
    } else if (strcmp(address->host, "0.0.0.0") == 0 || strcmp(address->host, "::") == 0) {
        refuse_advertise(loader, "others cannot reach \"any address\"; write this node's own");
    } else {
        check_peers(loader, address);
    }
    if (listener_of(loader->settings, address->kind) == NULL) {
        pawl_settings_complain(loader, true, seen_at(loader, "cluster.advertise"), 0,
                               "cluster.advertise: no listener is of that kind; add one, unless "
                               "something before this node passes it on");
    }
    if (cluster->peer_name[0] != '\0' && address->kind != PAWL_ADDRESS_TLS) {
        pawl_settings_complain(loader, true, seen_at(loader, "cluster.peer_name"), 0,
                               "cluster.peer_name: cluster.advertise is not tls:, so members show "
                               "no certificate");
    }
    (void)pawl_address_format(address, text, sizeof(text));
    cluster->advertise = keep(loader, text);
}

static void check_names(struct pawl_settings_loader *loader)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789.-_";
    const struct pawl_cluster_settings *cluster = &loader->settings->cluster;
    char text[PAWL_ADDRESS_TEXT_MAX + 8];
    struct pawl_address address;

    if (cluster->prefix[strspn(cluster->prefix, letters)] != '\0') {
        pawl_settings_complain(
            loader, false, seen_at(loader, "cluster.prefix"), 0,
            "cluster.prefix: \"%.40s\" has other letters than A-Z a-z 0-9 . - _; "
            "choose another",
            cluster->prefix);
    }
    (void)snprintf(text, sizeof(text), "tcp:%s", cluster->seeds);
    if (cluster->seeds[0] != '\0' &&
        (pawl_address_parse(pawl_bytes_of(text, strlen(text)), &address, NULL) != PAWL_OK ||
         address.port == 0)) {
        pawl_settings_complain(loader, false, seen_at(loader, "cluster.seeds"), 0,
                               "cluster.seeds: \"%.80s\" is not HOST:PORT; write it like "
                               "pawl-headless:7401",
                               cluster->seeds);
    }
}

void pawl_settings_finish_cluster(struct pawl_settings_loader *loader)
{
    struct pawl_settings *settings = loader->settings;

    if (!settings->cluster.on) {
        return;
    }
    settle_engine(loader);
    check_engine_tls(loader);
    settle_advertise(loader);
    check_names(loader);
    if (settings->secret_count == 0) {
        pawl_settings_complain(loader, false, &loader->cluster_node->place, 0,
                               "cluster: needs secret_file, the same on every node; from it come "
                               "who owns a key and the seals on what lies in the engine, and a "
                               "secret that each node made for itself would differ");
    }
}
