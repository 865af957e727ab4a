#include "edge/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/slots.h"

#define RECORD_HEAD_BYTES (4U + PAWL_RECORD_HEAD_BYTES) /* its size, and its head */

#define KEY_BYTES_MAX (2 * (4 + PAWL_LIMIT_NAME_MAX) + 8)

static uint64_t name_hash(const struct pawl_rules *rules, struct pawl_bytes ns,
                          struct pawl_bytes name)
{
    uint8_t buffer[KEY_BYTES_MAX];
    struct pawl_pack pack;

    pawl_pack_init(&pack, buffer, sizeof(buffer));
    pawl_pack_bytes(&pack, ns.data, ns.size);
    pawl_pack_bytes(&pack, name.data, name.size);
    return pawl_keyhash64(&rules->placement, pack.data, pack.size);
}

static const struct pawl_rule *find_exactly(const struct pawl_rules *rules, struct pawl_bytes ns,
                                            struct pawl_bytes name)
{
    if (rules->rule_count == 0 || name.size > PAWL_LIMIT_NAME_MAX ||
        ns.size > PAWL_LIMIT_NAME_MAX) {
        return NULL;
    }
    uint32_t at = (uint32_t)name_hash(rules, ns, name) & rules->bucket_mask;

    while (rules->buckets[at] != 0) {
        const struct pawl_rule *rule = &rules->rules[rules->buckets[at] - 1];

        if (pawl_rule_is(rule, ns, name)) {
            return rule;
        }
        at = (at + 1) & rules->bucket_mask;
    }
    return NULL;
}

const struct pawl_rule *pawl_rules_find(const struct pawl_rules *rules, struct pawl_bytes ns,
                                        struct pawl_bytes name, struct pawl_bytes tier)
{
    char joined[PAWL_LIMIT_NAME_MAX + 1];

    if (tier.size > 0 && name.size + 1 + tier.size <= PAWL_LIMIT_NAME_MAX) {
        memcpy(joined, name.data, name.size);
        joined[name.size] = '.';
        memcpy(joined + name.size + 1, tier.data, tier.size);
        const struct pawl_rule *rule =
            find_exactly(rules, ns, pawl_bytes_of(joined, name.size + 1 + tier.size));

        if (rule != NULL) {
            return rule;
        }
    }
    return find_exactly(rules, ns, name);
}

const struct pawl_rule *pawl_rules_at(const struct pawl_rules *rules, unsigned index)
{
    return index < rules->rule_count ? &rules->rules[index] : NULL;
}

static void insert(struct pawl_rules *rules, uint32_t index)
{
    const struct pawl_limit *limit = &rules->rules[index].limit;
    uint32_t at = (uint32_t)name_hash(rules, pawl_bytes_of(limit->ns, strlen(limit->ns)),
                                      pawl_bytes_of(limit->name, strlen(limit->name))) &
                  rules->bucket_mask;

    while (rules->buckets[at] != 0) {
        at = (at + 1) & rules->bucket_mask;
    }
    rules->buckets[at] = index + 1;
}

static enum pawl_status copy_text(char *out, const char *text, const char *what,
                                  struct pawl_error *error)
{
    size_t size = strlen(text);

    if (size > PAWL_LIMIT_NAME_MAX) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "%s '%.64s...' is longer than %d bytes", what,
                              text, PAWL_LIMIT_NAME_MAX);
    }
    memcpy(out, text, size + 1);
    return PAWL_OK;
}

/* ---- time zones ---------------------------------------------------------------------------- */

static const struct pawl_rules_zone *zone_known(const struct pawl_rules *rules, const char *name)
{
    for (unsigned i = 0; i < rules->zone_count; i++) {
        const struct pawl_rules_zone *zone = rules->zones[i];

        if (zone != NULL && strcmp(zone->name, name) == 0) {
            return zone;
        }
    }
    return NULL;
}

static enum pawl_status zone_read(struct pawl_rules_zone *zone, const struct pawl_zones *files,
                                  const char *name, struct pawl_error *error)
{
    uint8_t *bytes = malloc(PAWL_ZONE_BYTES_MAX);
    size_t size = 0;

    if (bytes == NULL) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "no memory for a time zone");
    }
    enum pawl_status status =
        files->read(files->self, name, bytes, PAWL_ZONE_BYTES_MAX, &size, error);

    if (status == PAWL_OK) {
        status = pawl_zone_parse(&zone->zone, pawl_bytes_of(bytes, size), error);
    }
    free(bytes);
    return status;
}

/* The zone called @name, read once for all limits; NULL with @error set. */
static const struct pawl_rules_zone *zone_of(struct pawl_rules *rules,
                                             const struct pawl_rules_world *world, const char *name,
                                             struct pawl_error *error)
{
    const struct pawl_rules_zone *known = zone_known(rules, name);

    if (known != NULL) {
        return known;
    }
    struct pawl_rules_zone *zone = calloc(1, sizeof(*zone));

    if (zone == NULL) {
        (void)pawl_error_set(error, PAWL_ENOMEM, 0, "no memory for a time zone");
        return NULL;
    }
    /* UTC needs no file: calendar quotas work on a machine without tzdata. */
    if (strcmp(name, "UTC") != 0 && zone_read(zone, world->zones, name, error) != PAWL_OK) {
        free(zone);
        return NULL;
    }
    (void)snprintf(zone->name, sizeof(zone->name), "%s", name);
    rules->zones[rules->zone_count++] = zone;
    return zone;
}

static enum pawl_status calendar_init(struct pawl_rules *rules, struct pawl_rule *rule,
                                      const struct pawl_limit_settings *from,
                                      const struct pawl_rules_world *world,
                                      struct pawl_error *error)
{
    struct pawl_error why = { PAWL_OK, 0, "" };
    const struct pawl_rules_zone *zone = zone_of(rules, world, from->zone, &why);

    if (zone == NULL) {
        return pawl_error_set(error, why.status, why.os_code, "limit '%.64s': zone: %.150s",
                              from->name, why.text);
    }
    rule->zone = zone->name;
    rule->limit.zone = &zone->zone;
    rule->limit.anchor_day = (uint8_t)from->anchor_day;
    return PAWL_OK;
}

/* ---- a rule -------------------------------------------------------------------------------- */

/* The largest count that a key may have at rate @index. */
static uint64_t largest_count(const struct pawl_limit_settings *from, unsigned index)
{
    uint64_t largest = from->rates[index].count;

    for (unsigned i = 0; i < from->override_count; i++) {
        uint64_t count = from->overrides[i].rates[index].count;

        largest = count > largest ? count : largest;
    }
    return largest;
}

/* What the records of one key come to when they are saved (core/window.h, core/slots.h). */
static size_t saved_bytes(const struct pawl_limit_settings *from)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < from->rate_count; i++) {
        bytes += RECORD_HEAD_BYTES;
        if (from->algorithm == PAWL_ALGORITHM_SLIDING) {
            bytes += (size_t)9 * from->precision;
        } else if (from->algorithm == PAWL_ALGORITHM_CONCURRENCY) {
            uint64_t slots = largest_count(from, i);

            bytes += 14 * (size_t)(slots < PAWL_SLOTS_MAX ? slots : PAWL_SLOTS_MAX);
        } else {
            bytes += 64;
        }
    }
    return bytes;
}

static enum pawl_status exact_check(const struct pawl_limit_settings *from,
                                    struct pawl_error *error)
{
    size_t bytes = saved_bytes(from);

    if (bytes <= PAWL_EXACT_BYTES_MAX) {
        return PAWL_OK;
    }
    return pawl_error_set(error, PAWL_EINVAL, 0,
                          "limit '%.64s' is saved at each check (consistency: exact): its records "
                          "may come to %u bytes, and these to %zu; lower the %s",
                          from->name, PAWL_EXACT_BYTES_MAX, bytes,
                          from->algorithm == PAWL_ALGORITHM_SLIDING ? "precision" : "slots");
}

static enum pawl_status rule_init(struct pawl_rules *rules, struct pawl_rule *rule,
                                  const struct pawl_limit_settings *from,
                                  const struct pawl_rules_world *world, struct pawl_error *error)
{
    struct pawl_limit *limit = &rule->limit;
    enum pawl_status status = PAWL_OK;

    if (copy_text(limit->name, from->name, "the name of limit", error) != PAWL_OK ||
        copy_text(limit->ns, from->ns, "the namespace", error) != PAWL_OK) {
        return PAWL_EINVAL;
    }
    limit->rates_count = from->rate_count;
    memcpy(limit->rates, from->rates, from->rate_count * sizeof(limit->rates[0]));
    limit->precision = (uint16_t)from->precision;
    limit->count_denied = from->count_denied;
    limit->shadow = from->shadow;
    limit->on_error = from->on_error;
    limit->when_full = from->when_full;
    limit->algorithm = from->algorithm;
    limit->bursts[0] = from->burst; /* the settings give one only to a limit of one rate */
    rule->zone = "";
    rule->ns_size = (uint8_t)strlen(limit->ns);
    rule->exact = from->consistency == PAWL_CONSISTENCY_EXACT;
    if (rule->exact) {
        status = exact_check(from, error);
    }
    if (status == PAWL_OK && limit->algorithm == PAWL_ALGORITHM_CALENDAR) {
        status = calendar_init(rules, rule, from, world, error);
    }
    if (status == PAWL_OK) {
        status = pawl_rule_keys_create(from, &rules->placement, &rule->keys, error);
    }
    if (status == PAWL_OK) {
        status = pawl_limit_init(limit, world->limiter, error);
    }
    if (status == PAWL_OK) {
        rule->place = pawl_observe_place(world->observe, limit->ns, limit->name);
    }
    return status;
}

static void policies_init(struct pawl_rules *rules, const struct pawl_settings *settings,
                          uint64_t store_birth_ms)
{
    const struct pawl_tokens_settings *tokens = &settings->tokens;
    const struct pawl_rotation_settings *rotation = &settings->rotation;

    rules->rotation = (struct pawl_rotation_policy){
        .leeway_ms = rotation->leeway_ms,
        .mode = rotation->mode,
        .on_reuse = rotation->on_reuse,
        .on_mismatch = rotation->on_mismatch,
        .family_max_s = rotation->family_max_ms / 1000,
        .idle_max_s = rotation->idle_max_ms / 1000,
        .adopt_until_s = (int64_t)rotation->adopt_before_s,
        .skew_s = tokens->skew_ms / 1000,
        .max_lifetime_s = tokens->max_lifetime_ms / 1000,
    };

    if (settings->jwt.issuer_count == 1) {
        const char *issuer = settings->jwt.issuers[0].issuer;

        (void)pawl_name_set(&rules->issuer, pawl_bytes_of(issuer, strlen(issuer)));
    }
    rules->tokens = (struct pawl_token_policy){
        .max_lifetime_s = tokens->max_lifetime_ms / 1000,
        .skew_s = tokens->skew_ms / 1000,
        .staleness_max_ms = tokens->staleness_max_ms,
        .store_birth_ms = store_birth_ms,
        .stale_open_ms = tokens->stale_accept_max_ms,
        .when_stale = tokens->when_stale,
        .older_than_store = tokens->older_than_store,
    };
}

/* A page of a listing goes on behind the last name of the one before. */
static int by_name(const void *a, const void *b)
{
    const struct pawl_rule *left = a;
    const struct pawl_rule *right = b;
    int order = strcmp(left->limit.ns, right->limit.ns);

    return order != 0 ? order : strcmp(left->limit.name, right->limit.name);
}

struct pawl_rules *pawl_rules_create(const struct pawl_settings *settings,
                                     const struct pawl_rules_world *world, struct pawl_error *error)
{
    struct pawl_rules *rules = calloc(1, sizeof(*rules));
    uint32_t buckets = 4;

    if (rules == NULL) {
        (void)pawl_error_set(error, PAWL_ENOMEM, 0, "no memory for the limits");
        return NULL;
    }
    while (buckets < settings->limit_count * 2) {
        buckets *= 2;
    }
    atomic_init(&rules->references, 1);
    rules->placement = world->limiter->subkey;
    rules->bucket_mask = buckets - 1;
    rules->buckets = calloc(buckets, sizeof(*rules->buckets));
    rules->rules = calloc(settings->limit_count + 1, sizeof(*rules->rules));
    rules->zones = calloc(settings->limit_count + 1, sizeof(struct pawl_rules_zone *));
    if (rules->buckets == NULL || rules->rules == NULL || rules->zones == NULL) {
        (void)pawl_error_set(error, PAWL_ENOMEM, 0, "no memory for %u limits",
                             settings->limit_count);
        goto out;
    }
    policies_init(rules, settings, world->store_birth_ms);
    for (unsigned i = 0; i < settings->limit_count; i++) {
        rules->rule_count = i + 1;
        if (rule_init(rules, &rules->rules[i], &settings->limits[i], world, error) != PAWL_OK) {
            goto out;
        }
    }
    qsort(rules->rules, rules->rule_count, sizeof(*rules->rules), by_name);
    for (unsigned i = 0; i < rules->rule_count; i++) {
        insert(rules, i);
    }
    return rules;
out:
    pawl_rules_release(rules);
    return NULL;
}

struct pawl_rules *pawl_rules_acquire(struct pawl_rules *rules)
{
    (void)atomic_fetch_add_explicit(&rules->references, 1, memory_order_relaxed);
    return rules;
}

void pawl_rules_release(struct pawl_rules *rules)
{
    if (rules == NULL ||
        atomic_fetch_sub_explicit(&rules->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (unsigned i = 0; i < rules->rule_count; i++) {
        pawl_rule_keys_destroy(rules->rules[i].keys);
    }
    for (unsigned i = 0; i < rules->zone_count; i++) {
        free(rules->zones[i]);
    }
    free(rules->zones);
    free(rules->buckets);
    free(rules->rules);
    free(rules);
}

void pawl_rules_slot_init(struct pawl_rules_slot *slot, struct pawl_rules *rules)
{
    (void)pthread_mutex_init(&slot->mutex, NULL);
    atomic_init(&slot->version, 1);
    slot->current = rules;
}

void pawl_rules_slot_deinit(struct pawl_rules_slot *slot)
{
    pawl_rules_release(slot->current);
    slot->current = NULL;
    (void)pthread_mutex_destroy(&slot->mutex);
}

void pawl_rules_publish(struct pawl_rules_slot *slot, struct pawl_rules *rules)
{
    (void)pthread_mutex_lock(&slot->mutex);
    struct pawl_rules *old = slot->current;

    slot->current = rules;
    (void)atomic_fetch_add_explicit(&slot->version, 1, memory_order_release);
    (void)pthread_mutex_unlock(&slot->mutex);
    pawl_rules_release(old);
}

struct pawl_rules *pawl_rules_current(struct pawl_rules_slot *slot, unsigned *version)
{
    (void)pthread_mutex_lock(&slot->mutex);
    struct pawl_rules *rules = pawl_rules_acquire(slot->current);

    *version = atomic_load_explicit(&slot->version, memory_order_acquire);
    (void)pthread_mutex_unlock(&slot->mutex);
    return rules;
}
