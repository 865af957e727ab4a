/*
 * Who may connect: what concerns several of the settings of listeners, TLS, credentials and HTTP.
 */
#include "ops/settings_load.h"

#include <string.h>

#define OPEN_ROLES ((unsigned)(PAWL_GRANT_CHECK | PAWL_GRANT_READ))
#define UNIX_ROLES (OPEN_ROLES | PAWL_GRANT_REVOKE | PAWL_GRANT_ADMIN)
#define ALL_ROLES  (UNIX_ROLES | PAWL_GRANT_PEER)

static const struct pawl_place *place_of(const struct pawl_config_node *node)
{
    return node != NULL ? &node->place : NULL;
}

static const struct pawl_place *seen_at(const struct pawl_settings_loader *loader, const char *path)
{
    return place_of(pawl_settings_seen(loader, path));
}

/* ---- listeners ----------------------------------------------------------------------------- */

/** Somebody who connects by TCP or TLS can be known. */
static bool knows_clients(const struct pawl_settings *settings)
{
    return settings->tls.ca[0] != '\0' || settings->credential_count > 0;
}

static void settle_unix(struct pawl_settings_loader *loader, struct pawl_listen_settings *listen,
                        const struct pawl_listen_nodes *nodes, unsigned index)
{
    if (listen->role == 0) { /* other members come here where it is what they are told */
        listen->role =
            strncmp(loader->settings->cluster.advertise, "unix:", 5) == 0 ? ALL_ROLES : UNIX_ROLES;
    }
    if (nodes->anonymous != NULL) {
        pawl_settings_complain(loader, false, place_of(nodes->anonymous), 0,
                               "listen[%u].anonymous: is for tcp: and tls: addresses, the system "
                               "names the peers of a unix: one; remove it",
                               index);
    }
    listen->anonymous = 0;
}

static void settle_anonymous(struct pawl_settings_loader *loader,
                             struct pawl_listen_settings *listen,
                             const struct pawl_listen_nodes *nodes, unsigned index)
{
    if (nodes->anonymous == NULL) {
        listen->anonymous = knows_clients(loader->settings) ? 0 : listen->role & OPEN_ROLES;
    } else if ((listen->anonymous & ~listen->role) != 0) {
        pawl_settings_complain(loader, false, place_of(nodes->anonymous), 0,
                               "listen[%u].anonymous: is more than the listener's role; take words "
                               "away here or add them there",
                               index);
    } else if ((listen->anonymous & ~OPEN_ROLES) != 0) {
        pawl_settings_complain(loader, true, place_of(nodes->anonymous), 0,
                               "listen[%u].anonymous: whoever reaches the port may do that", index);
    }
}

static void settle_tcp(struct pawl_settings_loader *loader, struct pawl_listen_settings *listen,
                       const struct pawl_listen_nodes *nodes, unsigned index)
{
    const struct pawl_settings *settings = loader->settings;
    bool is_tls = listen->address.kind == PAWL_ADDRESS_TLS;

    if (is_tls && settings->tls.certificate[0] == '\0') {
        pawl_settings_complain(loader, false, place_of(nodes->uri), 0,
                               "listen[%u]: \"%.120s\" needs tls.certificate and tls.key; set them",
                               index, listen->uri != NULL ? listen->uri : "tls:");
    }
    if (listen->role == 0) {
        listen->role = knows_clients(settings) ? ALL_ROLES : OPEN_ROLES;
    } else if (!knows_clients(settings) && (listen->role & ~OPEN_ROLES) != 0 &&
               (is_tls || !settings->cluster.on || !listen->insecure)) {
        pawl_settings_complain(loader, false, place_of(nodes->role), 0,
                               "listen[%u].role: %s: grants check and read only, for nobody is "
                               "authenticated there; use a unix: address for more, or set "
                               "credentials or tls.ca",
                               index, is_tls ? "tls" : "tcp");
        return;
    }
    settle_anonymous(loader, listen, nodes, index);
}

static void settle_listeners(struct pawl_settings_loader *loader)
{
    struct pawl_settings *settings = loader->settings;

    for (unsigned i = 0; i < settings->listen_count; i++) {
        struct pawl_listen_settings *listen = &settings->listen[i];

        if (listen->address.kind == PAWL_ADDRESS_UNIX) {
            settle_unix(loader, listen, &loader->listen_nodes[i], i);
        } else if (listen->address.kind != PAWL_ADDRESS_NONE) {
            settle_tcp(loader, listen, &loader->listen_nodes[i], i);
        }
    }
}

/* ---- TLS ----------------------------------------------------------------------------------- */

static bool has_tls_listener(const struct pawl_settings *settings)
{
    for (unsigned i = 0; i < settings->listen_count; i++) {
        if (settings->listen[i].address.kind == PAWL_ADDRESS_TLS) {
            return true;
        }
    }
    return false;
}

static void check_certificate(struct pawl_settings_loader *loader)
{
    const struct pawl_tls_settings *tls = &loader->settings->tls;
    bool certificate = tls->certificate[0] != '\0';
    bool key = tls->key[0] != '\0';

    if (certificate && !key) {
        pawl_settings_complain(loader, false, seen_at(loader, "tls.certificate"), 0,
                               "tls.certificate: has no key; set tls.key");
    } else if (key && !certificate) {
        pawl_settings_complain(loader, false, seen_at(loader, "tls.key"), 0,
                               "tls.key: has no certificate; set tls.certificate");
    } else if (certificate && !has_tls_listener(loader->settings)) {
        pawl_settings_complain(loader, true, seen_at(loader, "tls.certificate"), 0,
                               "tls.certificate: no listener uses it; add a tls: address");
    }
    if (tls->ca[0] != '\0' && !certificate) {
        pawl_settings_complain(loader, false, seen_at(loader, "tls.ca"), 0,
                               "tls.ca: does nothing without tls.certificate; set that");
    }
}

static void check_clients(struct pawl_settings_loader *loader)
{
    struct pawl_tls_settings *tls = &loader->settings->tls;
    const struct pawl_config_node *written = pawl_settings_seen(loader, "tls.client_certificates");
    bool ca = tls->ca[0] != '\0';

    if (written == NULL) {
        tls->client_certificates =
            ca ? PAWL_CLIENT_CERTIFICATES_REQUIRED : PAWL_CLIENT_CERTIFICATES_NONE;
    } else if (!ca && tls->client_certificates != PAWL_CLIENT_CERTIFICATES_NONE) {
        pawl_settings_complain(loader, false, place_of(written), 0,
                               "tls.client_certificates: nobody's certificate could be checked; "
                               "set tls.ca");
    }
    if (tls->client_count > 0 && !ca) {
        pawl_settings_complain(loader, false, seen_at(loader, "tls.clients"), 0,
                               "tls.clients: nobody's certificate could be checked; set tls.ca");
    } else if (tls->client_count > 0 && tls->client_certificates == PAWL_CLIENT_CERTIFICATES_NONE) {
        pawl_settings_complain(loader, false, seen_at(loader, "tls.clients"), 0,
                               "tls.clients: does nothing with tls.client_certificates: none; "
                               "remove one of the two");
    }
}

/* ---- HTTP ---------------------------------------------------------------------------------- */

/** Fill http from its text. False: told. */
static bool read_http_address(struct pawl_settings_loader *loader)
{
    struct pawl_http_settings *http = &loader->settings->http;
    const struct pawl_place *place = seen_at(loader, "http");
    char text[PAWL_ADDRESS_TEXT_MAX + 8];
    struct pawl_error error = { 0 };
    bool loopback = false;

    (void)snprintf(text, sizeof(text), "tcp:%s", http->text);
    if (pawl_address_parse(pawl_bytes_of(text, strlen(text)), &http->address, &error) != PAWL_OK ||
        !pawl_settings_check_host(&http->address, &loopback)) {
        pawl_settings_complain(loader, false, place, 0,
                               "http: \"%.80s\" is not the number of an address and a port; write "
                               "it like 127.0.0.1:7402, or off",
                               http->text);
        return false;
    }
    if (!loopback && !http->insecure) {
        pawl_settings_complain(loader, false, place, 0,
                               "http: \"%.80s\" is open beyond this machine without TLS; use "
                               "127.0.0.1, or permit it with http_insecure: true",
                               http->text);
    } else if (loopback && http->insecure) {
        pawl_settings_complain(loader, true, seen_at(loader, "http_insecure"), 0,
                               "http_insecure: does nothing on a loopback address");
    }
    return true;
}

/** Two of one address and port cannot both be had. */
static void check_http_is_free(struct pawl_settings_loader *loader)
{
    const struct pawl_settings *settings = loader->settings;
    const struct pawl_address *own = &settings->http.address;

    for (unsigned i = 0; i < settings->listen_count && own->port != 0; i++) {
        const struct pawl_address *other = &settings->listen[i].address;

        if ((other->kind == PAWL_ADDRESS_TCP || other->kind == PAWL_ADDRESS_TLS) &&
            other->port == own->port && strcmp(other->host, own->host) == 0) {
            pawl_settings_complain(loader, false, seen_at(loader, "http"), 0,
                                   "http: \"%.80s\" is listen[%u] already; choose another port",
                                   settings->http.text, i);
        }
    }
}

static void settle_http(struct pawl_settings_loader *loader)
{
    struct pawl_http_settings *http = &loader->settings->http;
    char text[PAWL_ADDRESS_TEXT_MAX];

    if (loader->sources->listen_count > 0 && pawl_settings_seen(loader, "http") == NULL) {
        http->text = "off"; /* whoever says where to listen wants nothing else to be open */
    }
    http->on = strcmp(http->text, "off") != 0;
    if (!http->on || !read_http_address(loader)) {
        return;
    }
    (void)pawl_address_format(&http->address, text, sizeof(text));
    http->text = pawl_pool_text(loader->settings->pool, text + 4, strlen(text + 4));
    if (http->text == NULL) {
        loader->no_memory = true;
        http->text = "";
        return;
    }
    check_http_is_free(loader);
}

void pawl_settings_finish_access(struct pawl_settings_loader *loader)
{
    settle_listeners(loader);
    check_certificate(loader);
    check_clients(loader);
    settle_http(loader);
}

/* ---- files --------------------------------------------------------------------------------- */

static void name_file(pawl_settings_on_file on_file, void *ctx, const char *path)
{
    if (path[0] != '\0') {
        on_file(ctx, path);
    }
}

static void name_key_files(const struct pawl_jwt_issuer_settings *issuer,
                           pawl_settings_on_file on_file, void *ctx)
{
    name_file(on_file, ctx, issuer->jwks_file);
    for (unsigned i = 0; i < issuer->key_count; i++) {
        name_file(on_file, ctx, issuer->keys[i].file);
        name_file(on_file, ctx, issuer->keys[i].secret_file);
    }
}

void pawl_settings_files(const struct pawl_settings *settings, pawl_settings_on_file on_file,
                         void *ctx)
{
    unsigned i;

    name_file(on_file, ctx, settings->config_file);
    for (i = 0; i < settings->secret_count; i++) {
        name_file(on_file, ctx, settings->secret_files[i]);
    }
    name_file(on_file, ctx, settings->names_secret_file);
    name_file(on_file, ctx, settings->tls.certificate);
    name_file(on_file, ctx, settings->tls.key);
    name_file(on_file, ctx, settings->tls.ca);
    name_file(on_file, ctx, settings->cluster.password_file);
    name_file(on_file, ctx, settings->cluster.sentinel_password_file);
    name_file(on_file, ctx, settings->cluster.tls_ca);
    name_file(on_file, ctx, settings->cluster.tls_certificate);
    name_file(on_file, ctx, settings->cluster.tls_key);
    for (i = 0; i < settings->credential_count; i++) {
        name_file(on_file, ctx, settings->credentials[i].secret_file);
    }
    for (i = 0; i < settings->jwt.issuer_count; i++) {
        name_key_files(&settings->jwt.issuers[i], on_file, ctx);
    }
}
