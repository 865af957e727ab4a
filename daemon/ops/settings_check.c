#include "ops/settings_load.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <string.h>

const struct pawl_config_node *pawl_settings_seen(const struct pawl_settings_loader *loader,
                                                  const char *path)
{
    const struct pawl_setting *row;
    size_t i;

    for (i = 0; (row = pawl_setting_at(i)) != NULL && i < PAWL_SETTINGS_SEEN_MAX; i++) {
        if (strcmp(row->path, path) == 0) {
            return loader->seen[i];
        }
    }
    return NULL;
}

void pawl_settings_note_seen(struct pawl_settings_loader *loader, const struct pawl_setting *row,
                             const struct pawl_config_node *node)
{
    size_t i;

    for (i = 0; i < PAWL_SETTINGS_SEEN_MAX && pawl_setting_at(i) != NULL; i++) {
        if (pawl_setting_at(i) == row) {
            loader->seen[i] = node;
        }
    }
}

static const struct pawl_place *place_of(const struct pawl_config_node *node)
{
    return node != NULL ? &node->place : NULL;
}

/* ---- listeners ----------------------------------------------------------------------------- */

bool pawl_settings_check_host(struct pawl_address *address, bool *loopback)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (strcmp(address->host, "localhost") == 0) {
        (void)snprintf(address->host, sizeof(address->host), "127.0.0.1");
    }
    if (inet_pton(AF_INET, address->host, &v4) == 1) {
        *loopback = (ntohl(v4.s_addr) >> 24) == 127;
        return true;
    }
    if (inet_pton(AF_INET6, address->host, &v6) == 1) {
        *loopback =
            IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
        return true;
    }
    return false;
}

static void check_tcp(struct pawl_settings_loader *loader, struct pawl_listen_settings *listen,
                      const struct pawl_listen_nodes *nodes, unsigned index)
{
    bool loopback = false;

    listen->mode = 0; /* the default is a socket file's */
    if (!pawl_settings_check_host(&listen->address, &loopback)) {
        pawl_settings_complain(loader, false, place_of(nodes->uri), 0,
                               "listen[%u]: \"%.80s\" is a name; write the number of an address of "
                               "this machine, like 127.0.0.1 or [::1]",
                               index, listen->address.host);
        return;
    }
    if (listen->address.kind == PAWL_ADDRESS_TLS) {
        loopback = true; /* needs no permission anywhere */
    }
    if (!loopback && !listen->insecure) {
        pawl_settings_complain(loader, false, place_of(nodes->uri), 0,
                               "listen[%u]: \"%.120s\" is open beyond this machine without TLS; "
                               "listen on 127.0.0.1, or permit it with %s[{uri: \"%.120s\", "
                               "insecure: true}]%s",
                               index, listen->uri,
                               nodes->item->place.line > 0 ? "listen: " : "--set 'listen=",
                               listen->uri, nodes->item->place.line > 0 ? "" : "'");
    }
    if (loopback && nodes->insecure != NULL && listen->insecure &&
        (listen->address.kind == PAWL_ADDRESS_TLS || !loader->settings->cluster.on)) {
        pawl_settings_complain(loader, true, place_of(nodes->insecure), 0,
                               "listen[%u].insecure: does nothing on %s address", index,
                               listen->address.kind == PAWL_ADDRESS_TLS ? "a tls:" : "a loopback");
    }
    if (nodes->mode != NULL) {
        pawl_settings_complain(loader, false, place_of(nodes->mode), 0,
                               "listen[%u].mode: is for unix: addresses; remove it", index);
    }
}

static void check_unix(struct pawl_settings_loader *loader, struct pawl_listen_settings *listen,
                       const struct pawl_listen_nodes *nodes, unsigned index)
{
    struct pawl_address *address = &listen->address;
    const char *folder = pawl_settings_folder(loader, nodes->uri);
    char path[PAWL_SETTINGS_PATH_MAX + PAWL_ADDRESS_PATH_MAX + 2];

    if (!address->is_abstract && address->path[0] != '/') {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, address->path);
        if (folder[0] == '\0' || strlen(path) > PAWL_ADDRESS_PATH_MAX) {
            pawl_settings_complain(loader, false, place_of(nodes->uri), 0,
                                   "listen[%u]: \"%.120s\" cannot be made a path from / of at most "
                                   "%d bytes; write one",
                                   index, address->path, PAWL_ADDRESS_PATH_MAX);
            return;
        }
        memcpy(address->path, path, strlen(path) + 1);
    }
    if (address->is_abstract) {
        listen->mode = 0;
    }
    if (address->is_abstract && nodes->mode != NULL) {
        pawl_settings_complain(loader, false, place_of(nodes->mode), 0,
                               "listen[%u].mode: an abstract name has no file; remove it", index);
    }
    if (nodes->insecure != NULL && listen->insecure) {
        pawl_settings_complain(loader, true, place_of(nodes->insecure), 0,
                               "listen[%u].insecure: does nothing on a unix: address", index);
    }
}

static void set_canonical(struct pawl_settings_loader *loader, struct pawl_listen_settings *listen,
                          const struct pawl_listen_nodes *nodes, unsigned index)
{
    char text[PAWL_ADDRESS_TEXT_MAX];
    unsigned i;

    (void)pawl_address_format(&listen->address, text, sizeof(text));
    if (!pawl_setting_is_clean(text)) {
        pawl_settings_complain(loader, false, place_of(nodes->uri), 0,
                               "listen[%u]: is not UTF-8; choose another path", index);
    }
    listen->uri = pawl_pool_text(loader->settings->pool, text, strlen(text));
    if (listen->uri == NULL) {
        loader->no_memory = true;
        return;
    }
    for (i = 0; i < index; i++) {
        bool any_port = listen->address.kind != PAWL_ADDRESS_UNIX && listen->address.port == 0;
        const char *other = loader->settings->listen[i].uri; /* NULL: told already */

        if (!any_port && other != NULL && strcmp(other, listen->uri) == 0) {
            pawl_settings_complain(loader, false, place_of(nodes->uri), 0,
                                   "listen[%u]: \"%.120s\" is there already as listen[%u]; remove "
                                   "one",
                                   index, listen->uri, i);
        }
    }
}

void pawl_settings_check_listen(struct pawl_settings_loader *loader,
                                struct pawl_listen_settings *listen,
                                const struct pawl_listen_nodes *nodes, unsigned index)
{
    struct pawl_error error = { 0 };

    if (nodes->uri == NULL) {
        pawl_settings_complain(loader, false, place_of(nodes->item), 0,
                               "listen[%u]: has no uri; add uri: \"tcp:127.0.0.1:7401\"", index);
        return;
    }
    if (listen->uri == NULL) {
        return; /* not a text; said already */
    }
    if (pawl_address_parse(pawl_bytes_of(listen->uri, strlen(listen->uri)), &listen->address,
                           &error) != PAWL_OK) {
        pawl_settings_complain(loader, false, place_of(nodes->uri), 0, "listen[%u]: %s", index,
                               error.text);
        return;
    }
    if (listen->address.kind != PAWL_ADDRESS_UNIX) {
        check_tcp(loader, listen, nodes, index);
    } else {
        check_unix(loader, listen, nodes, index);
    }
    set_canonical(loader, listen, nodes, index);
}

/* ---- defaults of the host ------------------------------------------------------------------ */

/** A text of the settings' own; "" when out of memory (noted) or too long (told). */
static const char *make_path(struct pawl_settings_loader *loader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static const char *make_path(struct pawl_settings_loader *loader, const char *format, ...)
{
    char path[PAWL_SETTINGS_PATH_MAX];
    const char *copy;
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(path, sizeof(path), format, args);
    va_end(args);
    if (size < 0 || (size_t)size >= sizeof(path) || !pawl_setting_is_clean(path)) {
        pawl_settings_complain(loader, false, NULL, 0,
                               "a folder in the environment has more than %d bytes or is not clean "
                               "UTF-8; set data_dir and listen in the config file",
                               PAWL_SETTINGS_PATH_MAX - 1);
        return "";
    }
    copy = pawl_pool_text(loader->settings->pool, path, (size_t)size);
    loader->no_memory = loader->no_memory || copy == NULL;
    return copy != NULL ? copy : "";
}

/** systemd gives a list with colons; the first is meant. */
static const char *make_first_path(struct pawl_settings_loader *loader, const char *list,
                                   const char *suffix)
{
    return make_path(loader, "%.*s%s", (int)strcspn(list, ":"), list, suffix);
}

/** Where state belongs on this host; NULL where nothing tells. */
static const char *state_path(struct pawl_settings_loader *loader)
{
    const struct pawl_settings_env *env = loader->sources->env;

    if (env->state_directory != NULL && env->state_directory[0] == '/') {
        return make_first_path(loader, env->state_directory, "");
    }
    if (env->root) {
        return "/var/lib/pawl";
    }
    if (env->xdg_state_home != NULL && env->xdg_state_home[0] == '/') {
        return make_path(loader, "%s/pawl", env->xdg_state_home);
    }
    if (env->home != NULL && env->home[0] == '/') {
        return make_path(loader, "%s/.local/state/pawl", env->home);
    }
    return NULL;
}

/** The folder of sockets on this host; NULL where nothing tells. */
static const char *runtime_path(struct pawl_settings_loader *loader)
{
    const struct pawl_settings_env *env = loader->sources->env;

    if (env->runtime_directory != NULL && env->runtime_directory[0] == '/') {
        return make_first_path(loader, env->runtime_directory, "");
    }
    if (env->root) {
        return "/run/pawl";
    }
    if (env->xdg_runtime_dir != NULL && env->xdg_runtime_dir[0] == '/') {
        return make_path(loader, "%s/pawl", env->xdg_runtime_dir);
    }
    return NULL;
}

static void settle_data_dir(struct pawl_settings_loader *loader)
{
    struct pawl_settings *settings = loader->settings;
    const struct pawl_config_node *written = pawl_settings_seen(loader, "data_dir");
    const char *path = state_path(loader);

    if (settings->cluster.on && (written == NULL || settings->data_dir[0] == '\0')) {
        settings->data_dir = ""; /* the engine has all; a folder is asked for, never assumed */
        return;
    }
    if (written != NULL && settings->data_dir[0] == '\0') {
        pawl_settings_complain(loader, false, place_of(written), 0,
                               "data_dir: is empty; give a path");
    }
    if (written == NULL && path == NULL) {
        pawl_settings_complain(loader, false, NULL, 0,
                               "data_dir: is not set, and neither STATE_DIRECTORY nor HOME tells "
                               "where state belongs; give --data-dir");
    } else if (written == NULL) {
        settings->data_dir = path;
    }
    settings->data_dir_is_default = path != NULL && strcmp(path, settings->data_dir) == 0;
}

static const char *default_socket(struct pawl_settings_loader *loader)
{
    const char *folder = runtime_path(loader);

    if (folder != NULL) {
        return make_path(loader, "%s/pawld.sock", folder);
    }
    if (loader->settings->data_dir[0] == '\0') {
        pawl_settings_complain(loader, false, NULL, 0,
                               "listen: XDG_RUNTIME_DIR is not set, so there is no folder for the "
                               "socket; give --listen");
        return "/run/pawl/pawld.sock";
    }
    pawl_settings_complain(loader, true, NULL, 0,
                           "listen: XDG_RUNTIME_DIR is not set, so the socket is made in data_dir; "
                           "set PAWL_ADDR for clients, or give --listen");
    return make_path(loader, "%s/pawld.sock", loader->settings->data_dir);
}

/** Note the runtime folder where one of the sockets is the default one in it. */
static void settle_runtime_dir(struct pawl_settings_loader *loader)
{
    struct pawl_settings *settings = loader->settings;
    const char *folder = runtime_path(loader);
    size_t size = folder != NULL ? strlen(folder) : 0;

    for (unsigned i = 0; size > 0 && i < settings->listen_count; i++) {
        const struct pawl_address *address = &settings->listen[i].address;

        if (address->kind == PAWL_ADDRESS_UNIX && !address->is_abstract &&
            strncmp(address->path, folder, size) == 0 &&
            strcmp(address->path + size, "/pawld.sock") == 0) {
            settings->runtime_dir = folder;
        }
    }
}

/** Two listeners as if they had been written: unix:SOCKET and tcp:127.0.0.1:7401. */
static void default_listen(struct pawl_settings_loader *loader)
{
    struct pawl_settings *settings = loader->settings;
    struct pawl_config_node node = { .kind = PAWL_NODE_SCALAR, .place = { "listen", 0, 0 } };
    struct pawl_listen_nodes nodes = { .item = &node, .uri = &node };
    const char *socket = default_socket(loader);
    unsigned i;

    settings->listen = pawl_pool_take(settings->pool, 2 * sizeof(*settings->listen));
    if (settings->listen == NULL) {
        loader->no_memory = true;
        return;
    }
    for (i = 0; i < 2; i++) {
        pawl_settings_defaults(loader, PAWL_SCOPE_LISTENER, &settings->listen[i]);
        settings->listen[i].uri =
            i == 0 ? make_path(loader, "unix:%s", socket) : "tcp:127.0.0.1:7401";
        pawl_settings_check_listen(loader, &settings->listen[i], &nodes, i);
        settings->listen_count = i + 1;
    }
}

/* ---- several settings together ------------------------------------------------------------- */

static void check_secrets(struct pawl_settings_loader *loader)
{
    struct pawl_settings *settings = loader->settings;
    const char *const *list = settings->secret_list;
    const struct pawl_place *place = place_of(pawl_settings_seen(loader, "secret_files"));

    if (settings->secret_file[0] != '\0' && list[0][0] != '\0') {
        pawl_settings_complain(loader, false, place, 0,
                               "secret_files: secret_file is set too; keep one of the two");
    } else if (list[0][0] != '\0' && strcmp(list[0], list[1]) == 0) {
        pawl_settings_complain(loader, false, place, 0,
                               "secret_files: names the same file twice; remove one");
    }
    settings->secret_files[0] = settings->secret_file[0] != '\0' ? settings->secret_file : list[0];
    settings->secret_files[1] = list[1];
    while (settings->secret_count < PAWL_SETTINGS_SECRETS_MAX &&
           settings->secret_files[settings->secret_count][0] != '\0') {
        settings->secret_count++;
    }
}

static void check_tokens(struct pawl_settings_loader *loader)
{
    const struct pawl_tokens_settings *tokens = &loader->settings->tokens;
    const struct pawl_config_node *until = pawl_settings_seen(loader, "tokens.stale_accept_max");
    const struct pawl_config_node *when = pawl_settings_seen(loader, "tokens.when_stale");

    if (tokens->when_stale == PAWL_STALE_OPEN_UNTIL &&
        tokens->stale_accept_max_ms <= tokens->staleness_max_ms) {
        pawl_settings_complain(loader, false, place_of(when), 0,
                               "tokens.when_stale: accept_until needs tokens.stale_accept_max "
                               "above tokens.staleness_max; set it");
    }
    if (tokens->when_stale != PAWL_STALE_OPEN_UNTIL && tokens->stale_accept_max_ms != 0) {
        pawl_settings_complain(loader, false, place_of(until), 0,
                               "tokens.stale_accept_max: does nothing without tokens.when_stale: "
                               "accept_until; remove it or set that");
    }
}

static void check_rotation(struct pawl_settings_loader *loader)
{
    if (loader->settings->rotation.leeway_ms > PAWL_ROTATION_LEEWAY_SOFT_MS) {
        pawl_settings_complain(loader, true,
                               place_of(pawl_settings_seen(loader, "rotation.leeway")), 0,
                               "rotation.leeway: above 60s a stolen token stays useful for long; "
                               "10s covers a lost answer");
    }
}

static void check_sizes(struct pawl_settings_loader *loader)
{
    const struct pawl_settings *settings = loader->settings;

    if (settings->server.output_max_bytes > settings->server.buffers_max_bytes) {
        pawl_settings_complain(loader, false,
                               place_of(pawl_settings_seen(loader, "server.output_max")), 0,
                               "server.output_max: is more than server.buffers_max, which holds "
                               "all connections; lower it or raise that");
    }
    if (settings->store.batch_max > settings->store.queue_max) {
        pawl_settings_complain(loader, false,
                               place_of(pawl_settings_seen(loader, "store.batch_max")), 0,
                               "store.batch_max: is more than store.queue_max, from which a batch "
                               "is taken; lower it or raise that");
    }
}

void pawl_settings_finish(struct pawl_settings_loader *loader)
{
    settle_data_dir(loader);
    if (pawl_settings_seen(loader, "listen") == NULL) {
        default_listen(loader);
    }
    settle_runtime_dir(loader);
    pawl_settings_finish_access(loader);
    check_secrets(loader);
    pawl_settings_finish_cluster(loader);
    check_tokens(loader);
    check_rotation(loader);
    check_sizes(loader);
}
