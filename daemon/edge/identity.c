#include "edge/identity.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <string.h>

#include "edge/buffer.h"

/* ---- guards -------------------------------------------------------------------------------- */

static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = pawl_edge_alloc(size, 1);

    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

/** A name of the settings as certificates' names are written here: "dns:" folded, "ip:" short. */
static enum pawl_status set_san(struct pawl_guard_entry *grant, const char *san,
                                struct pawl_error *error)
{
    char text[PAWL_TLS_SAN_MAX] = "ip:";
    uint8_t number[16];
    int family = strncmp(san, "ip:", 3) != 0    ? 0
                 : strchr(san + 3, ':') != NULL ? AF_INET6
                                                : AF_INET;

    if (strlen(san) >= sizeof(text)) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "tls.clients: san \"%.60s\" (cut): at most %u bytes", san,
                              PAWL_TLS_SAN_MAX - 1);
    }
    if (family == 0) {
        memcpy(text, san, strlen(san) + 1);
    } else if (inet_pton(family, san + 3, number) != 1 ||
               inet_ntop(family, number, text + 3, sizeof(text) - 3) == NULL) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "tls.clients: san \"%s\": no IP number; write ip:10.0.0.1", san);
    }
    for (char *byte = text; strncmp(text, "dns:", 4) == 0 && *byte != '\0'; byte++) {
        *byte = (char)(*byte >= 'A' && *byte <= 'Z' ? *byte + ('a' - 'A') : *byte);
    }
    grant->name = copy_text(text);
    return grant->name != NULL ? PAWL_OK : pawl_error_set(error, PAWL_ENOMEM, 0, "out of memory");
}

static enum pawl_status set_namespaces(struct pawl_guard_entry *grant,
                                       const struct pawl_text_list *list, struct pawl_error *error)
{
    grant->namespaces = pawl_edge_alloc(list->count > 0 ? list->count : 1, sizeof(char *));
    for (unsigned i = 0; grant->namespaces != NULL && i < list->count; i++) {
        grant->everywhere = grant->everywhere || strcmp(list->items[i], "*") == 0;
        grant->namespaces[i] = copy_text(list->items[i]);
        if (grant->namespaces[i] == NULL) {
            break;
        }
        grant->namespace_count++;
    }
    if (grant->namespaces == NULL || grant->namespace_count < list->count) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "out of memory");
    }
    return PAWL_OK;
}

static enum pawl_status add_clients(struct pawl_guard *guard, const struct pawl_tls_settings *tls,
                                    struct pawl_error *error)
{
    enum pawl_status status = PAWL_OK;

    for (unsigned i = 0; i < tls->client_count && status == PAWL_OK; i++) {
        struct pawl_guard_entry *grant = &guard->grants[guard->grant_count++];

        grant->roles = tls->clients[i].role;
        status = set_san(grant, tls->clients[i].san, error);
        status =
            status != PAWL_OK ? status : set_namespaces(grant, &tls->clients[i].namespaces, error);
    }
    guard->client_count = guard->grant_count;
    return status;
}

static enum pawl_status add_credentials(struct pawl_guard *guard,
                                        const struct pawl_guard_options *options,
                                        struct pawl_error *error)
{
    const struct pawl_settings *settings = options->settings;
    enum pawl_status status = PAWL_OK;

    for (unsigned i = 0; i < settings->credential_count && status == PAWL_OK; i++) {
        const struct pawl_credential_settings *from = &settings->credentials[i];
        struct pawl_guard_entry *grant = &guard->grants[guard->grant_count++];

        if (options->secrets[i].size < PAWL_CREDENTIAL_MIN ||
            options->secrets[i].size > PAWL_CREDENTIAL_MAX) {
            return pawl_error_set(error, PAWL_EINVAL, 0,
                                  "credentials: %.60s: %.100s holds %zu bytes; a secret has %u to "
                                  "%u (openssl rand -hex 32 makes one)",
                                  from->id, from->secret_file, options->secrets[i].size,
                                  PAWL_CREDENTIAL_MIN, PAWL_CREDENTIAL_MAX);
        }
        grant->is_credential = true;
        grant->roles = from->role;
        pawl_keyed_digest(grant->digest, guard->key, options->secrets[i].data,
                          options->secrets[i].size);
        grant->name = copy_text(from->id);
        status = grant->name == NULL ? pawl_error_set(error, PAWL_ENOMEM, 0, "out of memory")
                                     : set_namespaces(grant, &from->namespaces, error);
    }
    return status;
}

struct pawl_guard *pawl_guard_create(const struct pawl_guard_options *options,
                                     struct pawl_error *error)
{
    const struct pawl_settings *settings = options->settings;
    size_t count = (size_t)settings->tls.client_count + settings->credential_count;
    struct pawl_guard *guard = pawl_edge_alloc(1, sizeof(*guard));

    if (guard != NULL) {
        atomic_init(&guard->refs, 1);
        guard->grants = pawl_edge_alloc(count > 0 ? count : 1, sizeof(*guard->grants));
    }
    if (guard == NULL || guard->grants == NULL || count > UINT16_MAX) {
        pawl_guard_unref(guard);
        (void)pawl_error_set(error, PAWL_ENOMEM, 0, "out of memory for the clients' entries");
        return NULL;
    }
    if (options->context != NULL) {
        guard->tls = options->tls;
        guard->context = options->tls->ref(options->context);
    }
    guard->handshake_timeout_ms = settings->tls.handshake_timeout_ms;
    guard->handshakes_max = (unsigned)settings->tls.handshakes_max;
    memcpy(guard->key, options->key, sizeof(guard->key));
    if (add_clients(guard, &settings->tls, error) != PAWL_OK ||
        add_credentials(guard, options, error) != PAWL_OK) {
        pawl_guard_unref(guard);
        return NULL;
    }
    return guard;
}

struct pawl_guard *pawl_guard_ref(struct pawl_guard *guard)
{
    (void)atomic_fetch_add_explicit(&guard->refs, 1, memory_order_relaxed);
    return guard;
}

static void grant_free(struct pawl_guard_entry *grant)
{
    for (unsigned i = 0; i < grant->namespace_count; i++) {
        pawl_edge_free(grant->namespaces[i]);
    }
    pawl_edge_free(grant->namespaces);
    pawl_edge_free(grant->name);
    pawl_wipe(grant, sizeof(*grant));
}

void pawl_guard_unref(struct pawl_guard *guard)
{
    if (guard == NULL || atomic_fetch_sub_explicit(&guard->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (unsigned i = 0; guard->grants != NULL && i < guard->grant_count; i++) {
        grant_free(&guard->grants[i]);
    }
    pawl_edge_free(guard->grants);
    if (guard->tls != NULL) {
        guard->tls->unref(guard->context);
    }
    pawl_wipe(guard->key, sizeof(guard->key));
    pawl_edge_free(guard);
}

/* ---- identities ---------------------------------------------------------------------------- */

static bool grant_covers(const struct pawl_guard_entry *grant, struct pawl_bytes ns)
{
    for (unsigned i = 0; i < grant->namespace_count && !grant->everywhere; i++) {
        if (strlen(grant->namespaces[i]) == ns.size &&
            memcmp(grant->namespaces[i], ns.data, ns.size) == 0) {
            return true;
        }
    }
    return grant->everywhere;
}

/** After @grants or @base have changed: where the same roles count everywhere, know it. */
static void settle(struct pawl_identity *identity)
{
    if (identity->grant_count > 0 && !identity->by_uid) {
        identity->base = 0;
    }
    identity->everywhere = true;
    identity->ns_size = 0;
    for (unsigned i = 0; i < identity->grant_count; i++) {
        identity->everywhere =
            identity->everywhere && identity->guard->grants[identity->grants[i]].everywhere;
    }
    identity->roles = pawl_identity_everywhere(identity);
}

void pawl_identity_init(struct pawl_identity *identity, unsigned cap, unsigned base, bool by_uid)
{
    memset(identity, 0, sizeof(*identity));
    identity->by_uid = by_uid;
    identity->cap = cap;
    identity->base = base & cap;
    settle(identity);
}

void pawl_identity_deinit(struct pawl_identity *identity)
{
    pawl_guard_unref(identity->guard);
    identity->guard = NULL;
    identity->grant_count = 0;
}

/** Indices are of one guard: whoever proves a second thing after a reload is judged anew first. */
static void hold(struct pawl_identity *identity, struct pawl_guard *guard)
{
    if (identity->guard != guard) {
        pawl_guard_unref(identity->guard);
        identity->guard = pawl_guard_ref(guard);
        identity->grant_count = 0;
    }
}

static void add_grant(struct pawl_identity *identity, unsigned index)
{
    for (unsigned i = 0; i < identity->grant_count; i++) {
        if (identity->grants[i] == index) {
            return;
        }
    }
    if (identity->grant_count < PAWL_IDENTITY_GRANTS_MAX) {
        identity->grants[identity->grant_count++] = (uint16_t)index;
    }
}

enum pawl_status pawl_identity_certify(struct pawl_identity *identity, struct pawl_guard *guard,
                                       const struct pawl_tls_peer *peer)
{
    unsigned before;

    if (!peer->has_certificate || guard->client_count == 0) {
        return PAWL_OK; /* nobody has said what certificates mean: as without one */
    }
    hold(identity, guard);
    before = identity->grant_count;
    for (unsigned i = 0; i < guard->client_count; i++) {
        for (unsigned j = 0; j < peer->san_count; j++) {
            if (strcmp(guard->grants[i].name, peer->sans[j]) == 0) {
                add_grant(identity, i);
            }
        }
    }
    if (identity->grant_count == before) {
        return PAWL_EPERM;
    }
    settle(identity);
    return PAWL_OK;
}

/** The entry of credential @id whose secret has @digest, or grant_count. */
static unsigned find_credential(const struct pawl_guard *guard, const char *id, size_t size,
                                const uint8_t *digest)
{
    static const uint8_t nobody[PAWL_DIGEST_BYTES];
    unsigned found = guard->grant_count;
    const uint8_t *held = nobody;

    for (unsigned i = guard->client_count; i < guard->grant_count; i++) {
        if (strlen(guard->grants[i].name) == size && memcmp(guard->grants[i].name, id, size) == 0) {
            found = i;
            held = guard->grants[i].digest;
        }
    }
    return pawl_equal_secret(held, digest, PAWL_DIGEST_BYTES) ? found : guard->grant_count;
}

enum pawl_status pawl_identity_credit(struct pawl_identity *identity, struct pawl_guard *guard,
                                      struct pawl_bytes id, struct pawl_bytes secret)
{
    uint8_t digest[PAWL_DIGEST_BYTES];
    unsigned found;

    pawl_keyed_digest(digest, guard->key, secret.data, secret.size);
    found = id.size == 0 ? guard->grant_count
                         : find_credential(guard, (const char *)id.data, id.size, digest);
    pawl_wipe(digest, sizeof(digest));
    if (found == guard->grant_count) {
        return PAWL_EPERM;
    }
    hold(identity, guard);
    add_grant(identity, found);
    settle(identity);
    return PAWL_OK;
}

enum pawl_status pawl_identity_renew(struct pawl_identity *identity, struct pawl_guard *guard,
                                     const struct pawl_tls_peer *peer)
{
    struct pawl_identity fresh = *identity;
    enum pawl_status status = PAWL_OK;

    fresh.guard = NULL;
    fresh.grant_count = 0;
    if (peer != NULL) {
        status = pawl_identity_certify(&fresh, guard, peer);
    }
    for (unsigned i = 0; i < identity->grant_count && status == PAWL_OK; i++) {
        const struct pawl_guard_entry *old = &identity->guard->grants[identity->grants[i]];

        if (old->is_credential) {
            unsigned found = find_credential(guard, old->name, strlen(old->name), old->digest);

            if (found == guard->grant_count) {
                status = PAWL_EPERM;
            } else {
                hold(&fresh, guard);
                add_grant(&fresh, found);
            }
        }
    }
    if (status == PAWL_OK && identity->grant_count > 0 && fresh.grant_count == 0) {
        status = PAWL_EPERM; /* it had proved something that means nothing any more */
    }
    if (status != PAWL_OK) {
        pawl_guard_unref(fresh.guard);
        return status;
    }
    pawl_guard_unref(identity->guard);
    *identity = fresh;
    settle(identity);
    return PAWL_OK;
}

bool pawl_identity_look(struct pawl_identity *identity, struct pawl_bytes ns)
{
    if (identity->ns_size == ns.size && ns.size > 0 &&
        memcmp(identity->ns, ns.data, ns.size) == 0) {
        return identity->roles != 0;
    }
    identity->roles = identity->base;
    for (unsigned i = 0; i < identity->grant_count; i++) {
        const struct pawl_guard_entry *grant = &identity->guard->grants[identity->grants[i]];

        identity->roles |= grant_covers(grant, ns) ? grant->roles : 0;
    }
    identity->roles &= identity->cap;
    identity->ns_size = 0;
    if (ns.size > 0 && ns.size <= sizeof(identity->ns)) {
        identity->ns_size = (uint8_t)ns.size;
        memcpy(identity->ns, ns.data, ns.size);
    }
    return identity->roles != 0;
}

unsigned pawl_identity_everywhere(const struct pawl_identity *identity)
{
    unsigned roles = identity->base;

    for (unsigned i = 0; i < identity->grant_count; i++) {
        const struct pawl_guard_entry *grant = &identity->guard->grants[identity->grants[i]];

        roles |= grant->everywhere ? grant->roles : 0;
    }
    return roles & identity->cap;
}

const char *pawl_identity_name(const struct pawl_identity *identity)
{
    return identity->grant_count == 0
               ? ""
               : identity->guard->grants[identity->grants[identity->grant_count - 1]].name;
}
