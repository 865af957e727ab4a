#include "adapter/jwt/keys.h"

#include "adapter/jwt/hmac.h"
#include "adapter/jwt/mint.h"
#include "core/keyhash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a copy of the settings ------------------------------------------------------------------ */

static const char *copy_text(struct pawl_pool *pool, const char *text, bool *full)
{
    const char *copy =
        pawl_pool_text(pool, text == NULL ? "" : text, text == NULL ? 0 : strlen(text));

    *full = *full || copy == NULL;
    return copy;
}

static void copy_list(struct pawl_pool *pool, const struct pawl_text_list *from,
                      struct pawl_text_list *to, bool *full)
{
    const char **items = pawl_pool_take(pool, (from->count + 1) * sizeof(*items));

    *full = *full || items == NULL;
    for (unsigned i = 0; !*full && i < from->count; i++) {
        items[i] = copy_text(pool, from->items[i], full);
    }
    to->items = items;
    to->count = from->count;
}

static void copy_issuer(struct pawl_pool *pool, const struct pawl_jwt_issuer_settings *from,
                        struct pawl_jwt_issuer_settings *to, bool *full)
{
    to->issuer = copy_text(pool, from->issuer, full);
    copy_list(pool, &from->audience, &to->audience, full);
    to->type = copy_text(pool, from->type, full);
    to->token_type = copy_text(pool, from->token_type, full);
    to->subject_claim = copy_text(pool, from->subject_claim, full);
    to->client_claim = copy_text(pool, from->client_claim, full);
    to->sid_claim = copy_text(pool, from->sid_claim, full);
    to->ecdsa_s = from->ecdsa_s;
    to->jwks_file = copy_text(pool, from->jwks_file, full);
    to->key_count = from->key_count;
    to->keys = pawl_pool_take(pool, (from->key_count + 1) * sizeof(*to->keys));
    *full = *full || to->keys == NULL;
    for (unsigned i = 0; !*full && i < from->key_count; i++) {
        to->keys[i] = from->keys[i];
        to->keys[i].kid = copy_text(pool, from->keys[i].kid, full);
        to->keys[i].file = copy_text(pool, from->keys[i].file, full);
        to->keys[i].secret_file = copy_text(pool, from->keys[i].secret_file, full);
    }
}

static bool copy_settings(struct pawl_pool *pool, const struct pawl_jwt_settings *from,
                          struct pawl_jwt_settings *to)
{
    bool full = false;

    *to = *from;
    to->issuers = pawl_pool_take(pool, (from->issuer_count + 1) * sizeof(*to->issuers));
    full = to->issuers == NULL;
    for (unsigned i = 0; !full && i < from->issuer_count; i++) {
        copy_issuer(pool, &from->issuers[i], &to->issuers[i], &full);
    }
    return !full;
}

/* ---- finding --------------------------------------------------------------------------------- */

static int compare(struct pawl_bytes a, struct pawl_bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int by_issuer(const void *a, const void *b)
{
    return compare(((const struct pawl_jwt_issuer *)a)->name,
                   ((const struct pawl_jwt_issuer *)b)->name);
}

static int by_kid(const void *a, const void *b)
{
    return compare(((const struct pawl_jwt_key *)a)->kid, ((const struct pawl_jwt_key *)b)->kid);
}

const struct pawl_jwt_issuer *pawl_jwt_keys_issuer(const struct pawl_jwt_keys *keys,
                                                   struct pawl_bytes name)
{
    struct pawl_jwt_issuer wanted = { .name = name };

    return keys->issuer_count == 0
               ? NULL
               : bsearch(&wanted, keys->issuers, keys->issuer_count, sizeof(wanted), by_issuer);
}

const struct pawl_jwt_key *pawl_jwt_keys_find(const struct pawl_jwt_keys *keys,
                                              const struct pawl_jwt_issuer *issuer,
                                              struct pawl_bytes kid)
{
    struct pawl_jwt_key wanted = { .kid = kid };

    return issuer->count == 0 ? NULL
                              : bsearch(&wanted, keys->keys + issuer->first, issuer->count,
                                        sizeof(wanted), by_kid);
}

/* ---- building -------------------------------------------------------------------------------- */

struct build {
    struct pawl_jwt_keys *keys;
    struct pawl_jwt_issuer *issuer; /* the one being filled */
    struct pawl_jwt_report *report;
    enum pawl_jwt_key_state state;
};

static bool is_taken(const struct build *build, struct pawl_bytes kid)
{
    const struct pawl_jwt_issuer *issuer = build->issuer;

    for (uint32_t i = issuer->first; i < issuer->first + issuer->count; i++) {
        if (compare(build->keys->keys[i].kid, kid) == 0) {
            return true;
        }
    }
    return false;
}

static enum pawl_status take_secret(struct build *build, const struct pawl_jwt_material *material,
                                    struct pawl_jwt_key *key, const char *name,
                                    struct pawl_error *error)
{
    if (!pawl_hmac_is_safe()) {
        return pawl_error_set(
            error, PAWL_EINVAL, 0,
            "%s: HS keys are refused: this libjwt tells MACs apart in a time that "
            "depends on them (CVE-2024-25189); install a patched libjwt0",
            name);
    }
    key->secret = pawl_pool_take(build->keys->pool, material->secret_size);
    if (key->secret == NULL) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "%s: out of memory", name);
    }
    memcpy(key->secret, material->secret, material->secret_size);
    key->secret_size = material->secret_size;
    return PAWL_OK;
}

static enum pawl_status take(void *self, struct pawl_jwt_material *material, const char *name,
                             struct pawl_error *error)
{
    struct build *build = self;
    struct pawl_jwt_keys *keys = build->keys;
    struct pawl_bytes kid = pawl_bytes_of(material->kid, strlen(material->kid));
    struct pawl_jwt_key *key = &keys->keys[keys->key_count];

    if (is_taken(build, kid)) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "%s: issuer \"%s\" has a key of kid \"%s\" already: a kid names one "
                              "key; give one of them another",
                              name, build->issuer->settings->issuer, material->kid);
    }
    if (keys->key_count == keys->capacity) {
        return pawl_error_set(error, PAWL_ETOOBIG, 0, "%s: more than %d keys", name,
                              PAWL_JWT_KEYS_MAX);
    }
    memset(key, 0, sizeof(*key));
    key->kid.data = (const uint8_t *)pawl_pool_text(keys->pool, material->kid, kid.size);
    key->kid.size = kid.size;
    if (key->kid.data == NULL) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "%s: out of memory", name);
    }
    key->alg = material->alg;
    key->state = build->state;
    key->issuer = (uint32_t)(build->issuer - keys->issuers);
    if (material->public_key == NULL) {
        enum pawl_status status = take_secret(build, material, key, name, error);

        if (status != PAWL_OK) {
            return status;
        }
    }
    key->public_key = material->public_key;
    material->public_key = NULL;
    keys->key_count++;
    build->issuer->count++;
    return PAWL_OK;
}

static enum pawl_status read_secret(struct pawl_jwt_material *material, const char *path,
                                    struct pawl_jwt_report *report, struct pawl_error *error)
{
    struct pawl_bytes file;
    unsigned mode = 0;
    enum pawl_status status =
        pawl_jwt_file_read(path, PAWL_JWT_SECRET_MAX + 2, &file, &mode, error);

    if (status != PAWL_OK) {
        return status;
    }
    struct pawl_bytes secret = pawl_jwt_secret_trim(file);

    status = pawl_jwt_check_secret(secret, material->alg, path, error);
    if (status == PAWL_OK) {
        memcpy(material->secret, secret.data, secret.size);
        material->secret_size = secret.size;
        if ((mode & 007) != 0) {
            pawl_jwt_warn(report, "%s has mode %04o: whoever reads it can sign tokens; chmod o= it",
                          path, mode);
        }
    }
    pawl_jwt_file_free(&file);
    return status;
}

static enum pawl_status read_public(struct pawl_jwt_material *material, const char *path,
                                    struct pawl_error *error)
{
    struct pawl_bytes file;
    enum pawl_status status = pawl_jwt_file_read(path, PAWL_JWT_PEM_BYTES_MAX, &file, NULL, error);

    if (status == PAWL_OK) {
        status = pawl_jwt_read_pem(file, material->alg, path, &material->public_key, error);
    }
    pawl_jwt_file_free(&file);
    return status;
}

static enum pawl_status add_key(struct build *build, const struct pawl_jwt_key_settings *settings,
                                struct pawl_error *error)
{
    struct pawl_jwt_material material = { .alg = pawl_jwt_alg_of(settings->alg) };
    bool by_secret = settings->secret_file[0] != '\0';
    const char *path = by_secret ? settings->secret_file : settings->file;
    enum pawl_status status;

    if (material.alg == NULL || strlen(settings->kid) >= sizeof(material.kid) ||
        by_secret == (settings->file[0] != '\0')) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "issuer \"%s\": a key wants one alg, a kid of at most 255 bytes, and "
                              "either file or secret_file",
                              build->issuer->settings->issuer);
    }
    memcpy(material.kid, settings->kid, strlen(settings->kid) + 1);
    if (!by_secret && material.alg->kind == PAWL_JWT_KIND_HMAC) {
        status = pawl_error_set(error, PAWL_EINVAL, 0,
                                "%s: %s is checked with a secret: name it by secret_file", path,
                                material.alg->name);
    } else {
        status = by_secret ? read_secret(&material, path, build->report, error)
                           : read_public(&material, path, error);
    }
    if (status == PAWL_OK) {
        build->state = (enum pawl_jwt_key_state)settings->state;
        status = take(build, &material, path, error);
    }
    pawl_jwt_material_clear(&material);
    return status;
}

static enum pawl_status add_jwks_file(struct build *build, const char *path,
                                      struct pawl_error *error)
{
    struct pawl_bytes file;
    enum pawl_status status = pawl_jwt_file_read(path, PAWL_JWT_JWKS_BYTES_MAX, &file, NULL, error);

    if (status == PAWL_OK) {
        build->state = PAWL_JWT_STATE_ACTIVE;
        status = pawl_jwt_read_jwks(file, path, build->report, take, build, error);
    }
    pawl_jwt_file_free(&file);
    return status;
}

static enum pawl_status add_jwks(struct build *build, const char *path, struct pawl_error *error)
{
    struct pawl_jwt_listing *listing = malloc(sizeof(*listing));
    char joined[4096 + 256];
    bool is_directory = false;

    if (listing == NULL) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "%s: out of memory", path);
    }
    enum pawl_status status = pawl_jwt_list(path, listing, &is_directory, error);

    if (status == PAWL_OK && !is_directory) {
        status = add_jwks_file(build, path, error);
    }
    for (unsigned i = 0; status == PAWL_OK && i < listing->count; i++) {
        int size = snprintf(joined, sizeof(joined), "%s/%s", path, listing->name[i]);

        status = size < (int)sizeof(joined)
                     ? add_jwks_file(build, joined, error)
                     : pawl_error_set(error, PAWL_EINVAL, 0, "%.100s...: path too long", path);
    }
    free(listing);
    return status;
}

static enum pawl_status add_issuer(struct build *build, struct pawl_error *error)
{
    struct pawl_jwt_keys *keys = build->keys;
    const struct pawl_jwt_issuer_settings *settings = build->issuer->settings;
    enum pawl_status status = PAWL_OK;

    build->issuer->first = keys->key_count;
    for (unsigned i = 0; status == PAWL_OK && i < settings->key_count; i++) {
        status = add_key(build, &settings->keys[i], error);
    }
    if (status == PAWL_OK && settings->jwks_file[0] != '\0') {
        status = add_jwks(build, settings->jwks_file, error);
    }
    if (status == PAWL_OK && build->issuer->count == 0) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "issuer \"%s\" has no key: name one under keys, or a jwks_file that "
                              "holds one to verify with%s%s",
                              settings->issuer, settings->jwks_file[0] != '\0' ? ", unlike " : "",
                              settings->jwks_file);
    }
    if (status == PAWL_OK) {
        qsort(keys->keys + build->issuer->first, build->issuer->count, sizeof(*keys->keys), by_kid);
    }
    return status;
}

/* Sorted before keys refer to issuers by their place. */
static enum pawl_status name_issuers(struct pawl_jwt_keys *keys, struct pawl_error *error)
{
    for (unsigned i = 0; i < keys->issuer_count; i++) {
        struct pawl_jwt_issuer *issuer = &keys->issuers[i];

        issuer->settings = &keys->settings.issuers[i];
        issuer->name = pawl_bytes_of(issuer->settings->issuer, strlen(issuer->settings->issuer));
        if (issuer->name.size > 255) {
            return pawl_error_set(error, PAWL_EINVAL, 0, "issuer \"%.60s...\": at most 255 bytes",
                                  issuer->settings->issuer);
        }
    }
    qsort(keys->issuers, keys->issuer_count, sizeof(*keys->issuers), by_issuer);
    for (unsigned i = 1; i < keys->issuer_count; i++) {
        if (compare(keys->issuers[i - 1].name, keys->issuers[i].name) == 0) {
            return pawl_error_set(error, PAWL_EINVAL, 0,
                                  "issuer \"%s\" stands twice: put its keys under one entry",
                                  keys->issuers[i].settings->issuer);
        }
    }
    return PAWL_OK;
}

static enum pawl_status fill(struct pawl_jwt_keys *keys, struct pawl_jwt_report *report,
                             struct pawl_error *error)
{
    struct build build = { .keys = keys, .report = report };
    enum pawl_status status = name_issuers(keys, error);

    for (unsigned i = 0; status == PAWL_OK && i < keys->issuer_count; i++) {
        build.issuer = &keys->issuers[i];
        status = add_issuer(&build, error);
    }
    for (unsigned i = 0; i < keys->key_count; i++) {
        keys->keys[i].index = i;
    }
    report->issuers = keys->issuer_count;
    report->keys = keys->key_count;
    return status;
}

static struct pawl_jwt_keys *make(const struct pawl_jwt_settings *settings)
{
    struct pawl_pool *pool = pawl_pool_create(PAWL_JWT_SET_BYTES_MAX);
    struct pawl_jwt_keys *keys = pool == NULL ? NULL : pawl_pool_take(pool, sizeof(*keys));

    if (keys != NULL) {
        keys->pool = pool;
        keys->capacity = PAWL_JWT_KEYS_MAX;
        keys->issuer_count = settings->issuer_count;
        keys->issuers = pawl_pool_take(pool, (keys->issuer_count + 1) * sizeof(*keys->issuers));
        keys->keys = pawl_pool_take(pool, keys->capacity * sizeof(*keys->keys));
        atomic_init(&keys->references, 1);
    }
    if (keys == NULL || keys->issuers == NULL || keys->keys == NULL ||
        !copy_settings(pool, settings, &keys->settings)) {
        pawl_pool_destroy(pool);
        return NULL;
    }
    return keys;
}

enum pawl_status pawl_jwt_keys_load(struct pawl_jwt_keys **out,
                                    const struct pawl_jwt_settings *settings,
                                    struct pawl_jwt_report *report, struct pawl_error *error)
{
    struct pawl_jwt_report unread;

    if (report == NULL) {
        report = &unread;
    }
    memset(report, 0, sizeof(*report));
    *out = NULL;
    if (settings->issuer_count > PAWL_JWT_ISSUERS_MAX) {
        return pawl_error_set(error, PAWL_ETOOBIG, 0, "jwt.issuers: %u, at most %d",
                              settings->issuer_count, PAWL_JWT_ISSUERS_MAX);
    }
    struct pawl_jwt_keys *keys = make(settings);

    if (keys == NULL) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "keys of tokens: out of memory");
    }
    /* Before reading: what changes meanwhile is read again. */
    pawl_jwt_fingerprint(&keys->settings, keys->fingerprint);
    enum pawl_status status = fill(keys, report, error);

    if (status != PAWL_OK) {
        pawl_jwt_keys_unref(keys);
        return status;
    }
    *out = keys;
    return PAWL_OK;
}

struct pawl_jwt_keys *pawl_jwt_keys_ref(struct pawl_jwt_keys *keys)
{
    (void)atomic_fetch_add_explicit(&keys->references, 1, memory_order_relaxed);
    return keys;
}

void pawl_jwt_keys_unref(struct pawl_jwt_keys *keys)
{
    if (keys == NULL ||
        atomic_fetch_sub_explicit(&keys->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (unsigned i = 0; i < keys->key_count; i++) {
        EVP_PKEY_free(keys->keys[i].public_key);
        if (keys->keys[i].secret != NULL) {
            pawl_wipe(keys->keys[i].secret, keys->keys[i].secret_size);
        }
    }
    pawl_pool_destroy(keys->pool);
}
