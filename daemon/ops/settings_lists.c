/*
 * Lists of mappings: issuers, their keys, holders of certificates, credentials.
 */
#include "ops/settings_load.h"

#include <arpa/inet.h>
#include <string.h>

const struct pawl_config_node *pawl_settings_child(const struct pawl_config_node *node,
                                                   const char *key)
{
    const struct pawl_config_node *child = node->kind == PAWL_NODE_MAPPING ? node->first : NULL;

    while (child != NULL && strcmp(child->key, key) != 0) {
        child = child->next;
    }
    return child;
}

/** Where the key @key of @item was written, or the item itself. */
static const struct pawl_place *place_in(const struct pawl_config_node *item, const char *key)
{
    const struct pawl_config_node *child = pawl_settings_child(item, key);

    return child != NULL ? &child->place : &item->place;
}

/* ---- what has to hold in one item ---------------------------------------------------------- */

static void check_key(struct pawl_settings_loader *loader, const struct pawl_config_node *item,
                      const struct pawl_jwt_key_settings *key, const char *shown)
{
    bool is_hmac = key->alg >= PAWL_JWT_HS256 && key->alg <= PAWL_JWT_HS512;
    bool file = key->file[0] != '\0';
    bool secret = key->secret_file[0] != '\0';

    if (key->alg == PAWL_JWT_ALG_UNSET) {
        return; /* told */
    }
    if (file && secret) {
        pawl_settings_complain(loader, false, place_in(item, "secret_file"), 0,
                               "%s.secret_file: file is set too; keep one of the two", shown);
    } else if (is_hmac && file) {
        pawl_settings_complain(loader, false, place_in(item, "file"), 0,
                               "%s.file: an HS key is a shared secret; use secret_file", shown);
    } else if (!is_hmac && secret) {
        pawl_settings_complain(loader, false, place_in(item, "secret_file"), 0,
                               "%s.secret_file: only HS keys are secrets; use file with the public "
                               "key",
                               shown);
    } else if (!file && !secret) {
        pawl_settings_complain(loader, false, &item->place, 0, "%s: has no key; add %s", shown,
                               is_hmac ? "secret_file" : "file");
    }
}

/** One key of ES is enough; a JWKS file may bring some. */
static bool may_have_es(const struct pawl_jwt_issuer_settings *issuer)
{
    bool found = issuer->jwks_file[0] != '\0';

    for (unsigned i = 0; i < issuer->key_count; i++) {
        found = found ||
                (issuer->keys[i].alg >= PAWL_JWT_ES256 && issuer->keys[i].alg <= PAWL_JWT_ES512);
    }
    return found;
}

static void check_issuer(struct pawl_settings_loader *loader, const struct pawl_config_node *item,
                         const struct pawl_jwt_issuer_settings *issuer, const char *shown)
{
    if (issuer->jwks_file[0] == '\0' && issuer->key_count == 0) {
        pawl_settings_complain(loader, false, &item->place, 0,
                               "%s: has neither keys nor a jwks_file; add one of them", shown);
    } else if (issuer->ecdsa_s == PAWL_JWT_ECDSA_S_LOW && !may_have_es(issuer)) {
        pawl_settings_complain(loader, false, place_in(item, "ecdsa_s"), 0,
                               "%s.ecdsa_s: low is about ES keys, and here is none; leave it out",
                               shown);
    }
}

static bool is_number(const char *text)
{
    struct in_addr v4;
    struct in6_addr v6;

    return inet_pton(AF_INET, text, &v4) == 1 || inet_pton(AF_INET6, text, &v6) == 1;
}

static void check_client(struct pawl_settings_loader *loader, const struct pawl_config_node *item,
                         const struct pawl_client_settings *client, const char *shown)
{
    static const char *const kinds[] = { "dns:", "uri:", "email:", "ip:" };
    const char *rest = NULL;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strncmp(client->san, kinds[i], strlen(kinds[i])) == 0) {
            rest = client->san + strlen(kinds[i]);
        }
    }
    if (client->san[0] == '\0') {
        return; /* told */
    }
    if (rest == NULL || rest[0] == '\0') {
        pawl_settings_complain(loader, false, place_in(item, "san"), 0,
                               "%s.san: \"%.80s\" is not dns:NAME, uri:URI, email:ADDRESS or "
                               "ip:NUMBER; write one of them",
                               shown, client->san);
    } else if (client->san[0] == 'i' && !is_number(rest)) {
        pawl_settings_complain(loader, false, place_in(item, "san"), 0,
                               "%s.san: \"%.80s\" is not the number of an address; write it like "
                               "ip:10.0.0.1",
                               shown, rest);
    }
}

/* ---- what has to hold among the items of one list ------------------------------------------ */

/** The text that no two items of a list may have in common. */
static const char *name_of(enum pawl_setting_scope scope, const void *item, const char **key)
{
    switch (scope) {
    case PAWL_SCOPE_ISSUER:
        *key = "issuer";
        return ((const struct pawl_jwt_issuer_settings *)item)->issuer;
    case PAWL_SCOPE_JWT_KEY:
        *key = "kid";
        return ((const struct pawl_jwt_key_settings *)item)->kid;
    case PAWL_SCOPE_TLS_CLIENT:
        *key = "san";
        return ((const struct pawl_client_settings *)item)->san;
    case PAWL_SCOPE_CREDENTIAL:
        *key = "id";
        return ((const struct pawl_credential_settings *)item)->id;
    case PAWL_SCOPE_ROOT:
    case PAWL_SCOPE_LISTENER:
    case PAWL_SCOPE_LIMIT:
    default:
        *key = "";
        return "";
    }
}

static void check_alone(struct pawl_settings_loader *loader, const struct pawl_setting *row,
                        const struct pawl_config_node *item, const char *items, unsigned index,
                        const char *shown)
{
    const char *key;
    const char *own = name_of(row->items, items + index * row->item_size, &key);

    if (pawl_settings_child(item, key) == NULL && row->items != PAWL_SCOPE_JWT_KEY) {
        return; /* left out, which was told */
    }
    for (unsigned i = 0; i < index; i++) {
        if (strcmp(name_of(row->items, items + i * row->item_size, &key), own) == 0) {
            pawl_settings_complain(loader, false, place_in(item, key), 0,
                                   "%s[%u].%s: \"%.80s\" is there already as %s[%u]; remove one",
                                   shown, index, key, own, shown, i);
            return;
        }
    }
}

/* ---- reading ------------------------------------------------------------------------------- */

/** Texts that have no default are never NULL all the same. */
static void fill_texts(enum pawl_setting_scope scope, void *base)
{
    const struct pawl_setting *row;
    const char *empty = "";

    for (size_t i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        if (row->scope == scope && row->initial == NULL &&
            (row->type == PAWL_SETTING_NAME || row->type == PAWL_SETTING_PATH)) {
            memcpy((char *)base + row->offset, &empty, sizeof(empty));
        }
    }
}

static void check_required(struct pawl_settings_loader *loader, enum pawl_setting_scope scope,
                           const struct pawl_config_node *item, const char *shown)
{
    const struct pawl_setting *row;

    for (size_t i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        if (row->scope == scope && (row->flags & PAWL_SETTING_REQUIRED) != 0 &&
            pawl_settings_child(item, pawl_setting_key(row)) == NULL) {
            pawl_settings_complain(loader, false, &item->place, 0, "%s: has no %s; add it", shown,
                                   pawl_setting_key(row));
        }
    }
}

static void check_item(struct pawl_settings_loader *loader, enum pawl_setting_scope scope,
                       const struct pawl_config_node *item, const void *base, const char *shown)
{
    check_required(loader, scope, item, shown);
    if (scope == PAWL_SCOPE_ISSUER) {
        check_issuer(loader, item, base, shown);
    } else if (scope == PAWL_SCOPE_JWT_KEY) {
        check_key(loader, item, base, shown);
    } else if (scope == PAWL_SCOPE_TLS_CLIENT) {
        check_client(loader, item, base, shown);
    }
}

/** One item; a list in it is read by pawl_settings_read_list(), as deep as the table goes. */
static void read_item(struct pawl_settings_loader *loader, const struct pawl_setting *list,
                      const struct pawl_config_node *item, void *base, const char *shown)
{
    const struct pawl_config_node *node;
    char path[PAWL_SETTINGS_SHOWN_BYTES];
    char prefix[PAWL_SETTINGS_SHOWN_BYTES];

    pawl_settings_defaults(loader, list->items, base);
    fill_texts(list->items, base);
    if (item->kind != PAWL_NODE_MAPPING) {
        pawl_settings_complain(loader, false, &item->place, 0, "%s: is %s; write a mapping", shown,
                               pawl_settings_kind_text(item));
        return;
    }
    (void)snprintf(prefix, sizeof(prefix), "%s.*.", list->path);
    for (node = item->first; node != NULL && !loader->no_memory; node = node->next) {
        const struct pawl_setting *row = pawl_setting_find_in(list->items, node->key);

        (void)snprintf(path, sizeof(path), "%.90s.%.80s", shown, node->key);
        if (row == NULL) {
            pawl_settings_complain_unknown(loader, prefix, path, node);
        } else if (row->type == PAWL_SETTING_LIST) {
            pawl_settings_read_list(loader, row, node, base, path);
        } else {
            pawl_settings_read_row(loader, row, node, base, path);
        }
    }
    if (!loader->no_memory) {
        check_item(loader, list->items, item, base, shown);
    }
}

void pawl_settings_read_list(struct pawl_settings_loader *loader, const struct pawl_setting *row,
                             const struct pawl_config_node *node, void *base, const char *shown)
{
    const struct pawl_config_node *item;
    char path[PAWL_SETTINGS_SHOWN_BYTES];
    unsigned count = 0;
    char *items;

    if (pawl_settings_is_null(node)) {
        return; /* a heading with nothing under it */
    }
    if (node->kind != PAWL_NODE_SEQUENCE) {
        pawl_settings_complain(loader, false, &node->place, 0,
                               "%s: is %s; write a list of mappings", shown,
                               pawl_settings_kind_text(node));
        return;
    }
    if (node->count > row->max) {
        pawl_settings_complain(loader, false, &node->place, 0, "%s: has %u; give at most %u", shown,
                               node->count, (unsigned)row->max);
        return;
    }
    items = pawl_pool_take(loader->settings->pool, (node->count + 1) * row->item_size);
    if (items == NULL) {
        loader->no_memory = true;
        return;
    }
    memcpy((char *)base + row->offset, &items, sizeof(items));
    for (item = node->first; item != NULL && !loader->no_memory; item = item->next) {
        (void)snprintf(path, sizeof(path), "%.100s[%u]", shown, count);
        read_item(loader, row, item, items + count * row->item_size, path);
        if (!loader->no_memory) {
            check_alone(loader, row, item, items, count, shown);
        }
        count++;
        memcpy((char *)base + row->count_offset, &count, sizeof(count));
    }
}
