#include "edge/rule_keys.h"

#include <stdlib.h>
#include <string.h>

#include "pawl/v1/caps.h"

struct entry {
    const char *data;
    uint32_t size;
};

struct pawl_rule_keys {
    struct pawl_subkey placement;
    char *pool; /* the texts */
    size_t pool_used;
    unsigned rates_count;
    unsigned override_count;
    uint32_t bucket_mask;
    uint32_t *buckets; /* index + 1 into overrides; 0 = free */
    struct entry *overrides;
    struct pawl_rate *rates; /* rates_count for each override */
    unsigned bypass_count;   /* as written */
    unsigned exact_count;
    unsigned prefix_count;
    struct entry *exact; /* sorted */
    /* Sorted, and none begins with another: of all entries only the last one not behind a text can
     * be what it begins with. */
    struct entry *prefixes;
};

/* ---- texts --------------------------------------------------------------------------------- */

static bool put(struct pawl_key_text *text, char byte, bool escape)
{
    if (sizeof(text->data) - text->size < 2) {
        return false;
    }
    if (escape && (byte == '|' || byte == '\\')) {
        text->data[text->size++] = '\\';
    }
    text->data[text->size++] = byte;
    return true;
}

bool pawl_key_text_make(struct pawl_key_text *text, const struct pawl_bytes *parts, size_t count)
{
    text->size = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && !put(text, '|', false)) {
            return false;
        }
        for (size_t j = 0; j < parts[i].size; j++) {
            if (!put(text, (char)parts[i].data[j], true)) {
                return false;
            }
        }
        text->first = i == 0 ? text->size : text->first;
    }
    return true;
}

/* @written as in the settings into the text of a key; @is_prefix (NULL: a star is a star). */
static const char *read_entry(const char *written, struct pawl_key_text *text, bool *is_prefix)
{
    size_t size = strlen(written), parts = 1;

    text->size = 0;
    for (size_t i = 0; i < size; i++) {
        char byte = written[i];
        char next = written[i + 1]; /* at the end the NUL */
        bool escaped = byte == '\\' && (next == '|' || next == '\\' || next == '*');

        if (is_prefix != NULL && byte == '*' && i + 1 == size) {
            *is_prefix = true;
            break;
        }
        bool is_letter = escaped || byte != '|';

        i += escaped ? 1 : 0;
        parts += is_letter ? 0 : 1;
        if (escaped) {
            byte = next;
        }
        if (!put(text, byte, is_letter)) {
            return "is longer than a key may be (1024 bytes)";
        }
    }
    return parts > PAWL_KEY_PARTS_MAX ? "has more than 8 parts" : NULL;
}

static struct entry keep(struct pawl_rule_keys *keys, const struct pawl_key_text *text)
{
    struct entry entry = { keys->pool + keys->pool_used, (uint32_t)text->size };

    memcpy(keys->pool + keys->pool_used, text->data, text->size);
    keys->pool_used += text->size;
    return entry;
}

static int compare(struct entry a, struct entry b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);

    return order != 0 ? order : a.size < b.size ? -1 : a.size > b.size;
}

static int by_text(const void *a, const void *b)
{
    return compare(*(const struct entry *)a, *(const struct entry *)b);
}

static bool begins_with(struct entry text, struct entry prefix)
{
    return text.size >= prefix.size && memcmp(text.data, prefix.data, prefix.size) == 0;
}

/* ---- building ------------------------------------------------------------------------------ */

static enum pawl_status refuse(const struct pawl_limit_settings *from, const char *what,
                               const char *entry, const char *why, struct pawl_error *error)
{
    return pawl_error_set(error, PAWL_EINVAL, 0, "limit '%.64s': %s '%.64s' %s", from->name, what,
                          entry, why);
}

static uint32_t place_of(const struct pawl_rule_keys *keys, struct entry entry)
{
    return (uint32_t)pawl_keyhash64(&keys->placement, entry.data, entry.size) & keys->bucket_mask;
}

static bool insert(struct pawl_rule_keys *keys, unsigned index)
{
    struct entry entry = keys->overrides[index];
    uint32_t at = place_of(keys, entry);

    while (keys->buckets[at] != 0) {
        if (compare(keys->overrides[keys->buckets[at] - 1], entry) == 0) {
            return false;
        }
        at = (at + 1) & keys->bucket_mask;
    }
    keys->buckets[at] = index + 1;
    return true;
}

static enum pawl_status add_override(struct pawl_rule_keys *keys,
                                     const struct pawl_limit_settings *from, unsigned index,
                                     struct pawl_error *error)
{
    const struct pawl_override_settings *override = &from->overrides[index];
    struct pawl_key_text text;
    const char *wrong = read_entry(override->key, &text, NULL);

    if (wrong != NULL) {
        return refuse(from, "the override of", override->key, wrong, error);
    }
    if (override->rate_count != from->rate_count) {
        return refuse(from, "the override of", override->key,
                      "needs as many rates as the limit has", error);
    }
    for (unsigned i = 0; i < from->rate_count; i++) {
        if (override->rates[i].window_ms != from->rates[i].window_ms ||
            override->rates[i].period != from->rates[i].period) {
            return refuse(from, "the override of", override->key,
                          "needs the windows of the limit, in their order", error);
        }
    }
    memcpy(&keys->rates[(size_t)index * keys->rates_count], override->rates,
           keys->rates_count * sizeof(keys->rates[0]));
    keys->overrides[index] = keep(keys, &text);
    if (!insert(keys, index)) {
        return refuse(from, "the override of", override->key, "stands there twice", error);
    }
    return PAWL_OK;
}

static enum pawl_status add_bypass(struct pawl_rule_keys *keys,
                                   const struct pawl_limit_settings *from, unsigned index,
                                   struct pawl_error *error)
{
    const char *written = from->bypass.items[index];
    struct pawl_key_text text;
    bool is_prefix = false;
    const char *wrong = read_entry(written, &text, &is_prefix);

    if (wrong != NULL) {
        return refuse(from, "the bypass entry", written, wrong, error);
    }
    if (is_prefix) {
        keys->prefixes[keys->prefix_count++] = keep(keys, &text);
    } else {
        keys->exact[keys->exact_count++] = keep(keys, &text);
    }
    return PAWL_OK;
}

static void order_bypass(struct pawl_rule_keys *keys)
{
    unsigned kept = 0;

    qsort(keys->exact, keys->exact_count, sizeof(struct entry), by_text);
    qsort(keys->prefixes, keys->prefix_count, sizeof(struct entry), by_text);
    for (unsigned i = 0; i < keys->prefix_count; i++) {
        if (kept == 0 || !begins_with(keys->prefixes[i], keys->prefixes[kept - 1])) {
            keys->prefixes[kept++] = keys->prefixes[i];
        }
    }
    keys->prefix_count = kept;
}

static size_t pool_size(const struct pawl_limit_settings *from)
{
    size_t size = 1;

    for (unsigned i = 0; i < from->override_count; i++) {
        size += 2 * strlen(from->overrides[i].key);
    }
    for (unsigned i = 0; i < from->bypass.count; i++) {
        size += 2 * strlen(from->bypass.items[i]);
    }
    return size;
}

/* Room for everything; what is missing is NULL. */
static bool take_memory(struct pawl_rule_keys *keys, const struct pawl_limit_settings *from)
{
    uint32_t buckets = 4;

    while (buckets < from->override_count * 2) {
        buckets *= 2;
    }
    keys->bucket_mask = buckets - 1;
    keys->pool = calloc(pool_size(from), 1);
    keys->buckets = calloc(buckets, sizeof(*keys->buckets));
    keys->overrides = calloc((size_t)from->override_count + 1, sizeof(*keys->overrides));
    keys->rates = calloc((size_t)from->override_count * from->rate_count + 1, sizeof(*keys->rates));
    keys->exact = calloc((size_t)from->bypass.count + 1, sizeof(*keys->exact));
    keys->prefixes = calloc((size_t)from->bypass.count + 1, sizeof(*keys->prefixes));
    return keys->pool != NULL && keys->buckets != NULL && keys->overrides != NULL &&
           keys->rates != NULL && keys->exact != NULL && keys->prefixes != NULL;
}

static enum pawl_status fill(struct pawl_rule_keys *keys, const struct pawl_limit_settings *from,
                             struct pawl_error *error)
{
    enum pawl_status status = PAWL_OK;

    for (unsigned i = 0; i < from->override_count && status == PAWL_OK; i++) {
        status = add_override(keys, from, i, error);
    }
    for (unsigned i = 0; i < from->bypass.count && status == PAWL_OK; i++) {
        status = add_bypass(keys, from, i, error);
    }
    return status;
}

enum pawl_status pawl_rule_keys_create(const struct pawl_limit_settings *from,
                                       const struct pawl_subkey *key, struct pawl_rule_keys **out,
                                       struct pawl_error *error)
{
    *out = NULL;
    if (from->override_count == 0 && from->bypass.count == 0) {
        return PAWL_OK;
    }
    struct pawl_rule_keys *keys = calloc(1, sizeof(*keys));

    if (keys == NULL || !take_memory(keys, from)) {
        pawl_rule_keys_destroy(keys);
        return pawl_error_set(error, PAWL_ENOMEM, 0, "no memory for the keys of limit '%.64s'",
                              from->name);
    }
    keys->placement = *key;
    keys->rates_count = from->rate_count;
    keys->override_count = from->override_count;
    keys->bypass_count = from->bypass.count;
    enum pawl_status status = fill(keys, from, error);

    if (status != PAWL_OK) {
        pawl_rule_keys_destroy(keys);
        return status;
    }
    order_bypass(keys);
    *out = keys;
    return PAWL_OK;
}

void pawl_rule_keys_destroy(struct pawl_rule_keys *keys)
{
    if (keys != NULL) {
        free(keys->pool);
        free(keys->buckets);
        free(keys->overrides);
        free(keys->rates);
        free(keys->exact);
        free(keys->prefixes);
        free(keys);
    }
}

/* ---- asking -------------------------------------------------------------------------------- */

/* How many of the sorted @entries do not lie behind @text. */
static unsigned count_up_to(const struct entry *entries, unsigned count, struct entry text)
{
    unsigned from = 0;

    while (count > 0) {
        unsigned half = count / 2;

        if (compare(entries[from + half], text) <= 0) {
            from += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return from;
}

static bool is_exactly(const struct pawl_rule_keys *keys, struct entry text)
{
    unsigned count = count_up_to(keys->exact, keys->exact_count, text);

    return count > 0 && compare(keys->exact[count - 1], text) == 0;
}

bool pawl_rule_keys_bypass(const struct pawl_rule_keys *keys, const struct pawl_key_text *text)
{
    struct entry whole = { text->data, (uint32_t)text->size };
    struct entry first = { text->data, (uint32_t)text->first };

    if (keys->exact_count > 0 && (is_exactly(keys, whole) || is_exactly(keys, first))) {
        return true;
    }
    unsigned count = count_up_to(keys->prefixes, keys->prefix_count, whole);

    return count > 0 && begins_with(whole, keys->prefixes[count - 1]);
}

const struct pawl_rate *pawl_rule_keys_rates(const struct pawl_rule_keys *keys,
                                             const struct pawl_key_text *text)
{
    struct entry entry = { text->data, (uint32_t)text->size };

    if (keys->override_count == 0) {
        return NULL;
    }
    for (uint32_t at = place_of(keys, entry); keys->buckets[at] != 0;
         at = (at + 1) & keys->bucket_mask) {
        uint32_t index = keys->buckets[at] - 1;

        if (compare(keys->overrides[index], entry) == 0) {
            return &keys->rates[(size_t)index * keys->rates_count];
        }
    }
    return NULL;
}

unsigned pawl_rule_keys_overrides(const struct pawl_rule_keys *keys)
{
    return keys != NULL ? keys->override_count : 0;
}

unsigned pawl_rule_keys_bypasses(const struct pawl_rule_keys *keys)
{
    return keys != NULL ? keys->bypass_count : 0;
}
