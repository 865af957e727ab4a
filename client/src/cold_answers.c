#include "private.h"

#include <stdio.h>
#include <stdlib.h>

struct pawl_cold_arena *pawl_client_arena(struct pawl_client *client)
{
    if (client->arena_memory == NULL) {
        client->arena_memory = malloc(CLIENT_ARENA_BYTES);
        if (client->arena_memory == NULL) {
            return NULL;
        }
        pawl_cold_arena_init(&client->arena, client->arena_memory, CLIENT_ARENA_BYTES);
    }
    pawl_cold_arena_reset(&client->arena);
    return &client->arena;
}

int pawl_client_read_cold(struct pawl_client *client, const struct slot *slot,
                          struct pawl_bytes message)
{
    struct pawl_cold_arena *arena;
    Pawl__V1__Reply *reply = NULL;

    if (client->reply.status != PAWL__V1__STATUS__STATUS_OK) {
        struct pawl_str text = { client->reply.error.data, client->reply.error.size };

        return pawl_client_resolve_outcome(client, slot,
                                           pawl_client_rc_of_status(client->reply.status),
                                           pawl_client_effect(slot, client->reply.effect_unknown),
                                           true, text);
    }
    arena = pawl_client_arena(client);
    if (arena == NULL) {
        struct pawl_str text = pawl_str("no memory to read the answer");

        return pawl_client_resolve_outcome(client, slot, PAWL_RC_NOMEM,
                                           pawl_client_effect(slot, true), false, text);
    }
    if (pawl_cold_read_reply(arena, message, &reply) != PAWL_OK ||
        (uint8_t)reply->body_case != slot->type->reply) {
        return PAWL_RC_PROTOCOL;
    }
    pawl_client_begin_result(client, slot);
    pawl_client_info(client, slot)->source = PAWL_SOURCE_DAEMON;
    if (slot->type->writes) {
        pawl_client_info(client, slot)->effect =
            reply->effect_unknown ? PAWL_EFFECT_UNKNOWN : PAWL_EFFECT_DONE;
    }
    slot->type->decode(client, slot, reply);
    return PAWL_RC_OK;
}

void pawl_client_put_chars(char *out, size_t capacity, ProtobufCBinaryData from)
{
    size_t size = from.len < capacity ? from.len : capacity - 1;

    if (size > 0) {
        memcpy(out, from.data, size);
    }
    out[size] = '\0';
}

void pawl_client_put_name(struct pawl_fact_name *name, const Pawl__V1__FactId *id)
{
    if (id == NULL) {
        return;
    }
    name->origin_size =
        (uint32_t)(id->origin.len < sizeof(name->origin) ? id->origin.len : sizeof(name->origin));
    if (name->origin_size > 0) {
        memcpy(name->origin, id->origin.data, name->origin_size);
    }
    name->sequence = id->sequence;
}

void pawl_client_decode_refund(struct pawl_client *client, const struct slot *slot,
                               const Pawl__V1__Reply *reply)
{
    struct pawl_refund_result *result = &client->results.of.refund;
    size_t count = reply->refund->n_refunded;

    (void)slot;
    result->item_count = (uint32_t)(count < PAWL_CHECK_ITEMS ? count : PAWL_CHECK_ITEMS);
    for (uint32_t i = 0; i < result->item_count; i++) {
        result->refunded[i] = reply->refund->refunded[i];
    }
}

void pawl_client_decode_reset(struct pawl_client *client, const struct slot *slot,
                              const Pawl__V1__Reply *reply)
{
    (void)slot;
    client->results.of.reset.records = reply->reset->records;
}

void pawl_client_decode_revoke(struct pawl_client *client, const struct slot *slot,
                               const Pawl__V1__Reply *reply)
{
    struct pawl_revoke_result *result = &client->results.of.revoke;
    const Pawl__V1__RevokeReply *from =
        slot->type->kind == PAWL_CALL_FAMILY_END ? reply->family_end : reply->revoke;

    result->acknowledged = (enum pawl_level)from->acknowledged;
    result->asked = (enum pawl_level)from->asked;
    result->until_s = from->until;
    pawl_client_put_name(&result->id, from->id);
}

void pawl_client_decode_unrevoke(struct pawl_client *client, const struct slot *slot,
                                 const Pawl__V1__Reply *reply)
{
    struct pawl_unrevoke_result *result = &client->results.of.unrevoke;

    (void)slot;
    result->acknowledged = (enum pawl_level)reply->unrevoke->acknowledged;
    result->canceled = reply->unrevoke->canceled;
    pawl_client_put_name(&result->id, reply->unrevoke->id);
}

void pawl_client_decode_rotate(struct pawl_client *client, const struct slot *slot,
                               const Pawl__V1__Reply *reply)
{
    struct pawl_rotate_result *result = &client->results.of.rotate;
    const Pawl__V1__RotateReply *from = reply->rotate;

    (void)slot;
    result->result = (enum pawl_refresh)from->result;
    if (from->result <= PAWL__V1__ROTATE_RESULT__ROTATE_NONE ||
        from->result > PAWL__V1__ROTATE_RESULT__ROTATE_UNAVAILABLE) {
        result->result = PAWL_REFRESH_UNAVAILABLE; /* a word of a later version is no 401 */
    }
    if (result->result == PAWL_REFRESH_UNAVAILABLE) {
        result->info.cause = PAWL_RC_UNAVAILABLE;
        result->info.effect = PAWL_EFFECT_UNKNOWN;
    }
    result->reason = (enum pawl_why)from->reason;
    result->generation = from->generation;
    pawl_client_put_text(&result->successor, from->successor.data, from->successor.len);
    result->successor_iat_s = from->successor_iat;
    result->successor_exp_s = from->successor_exp;
    pawl_client_put_text(&result->sid, from->sid.data, from->sid.len);
    pawl_client_put_text(&result->subject, from->subject.data, from->subject.len);
    result->superseded = from->superseded;
    result->row = from->row;
    result->retry_after_ms = from->retry_after_ms;
    result->family_exp_s = from->family_exp;
    pawl_client_put_text(&result->successor_seed, from->successor_seed.data,
                         from->successor_seed.len);
    if (from->successor_opaque_sha256.len == sizeof(result->successor_sha256)) {
        memcpy(result->successor_sha256, from->successor_opaque_sha256.data,
               sizeof(result->successor_sha256));
        result->successor_is_opaque = true;
    }
}

void pawl_client_decode_family_open(struct pawl_client *client, const struct slot *slot,
                                    const Pawl__V1__Reply *reply)
{
    struct pawl_family_open_result *result = &client->results.of.family_open;

    (void)slot;
    result->acknowledged = (enum pawl_level)reply->family_open->acknowledged;
    pawl_client_put_text(&result->sid, reply->family_open->sid.data, reply->family_open->sid.len);
    result->exp_s = reply->family_open->exp;
    result->family_exp_s = reply->family_open->family_exp;
}

void *pawl_client_array(struct pawl_client *client, size_t count, size_t size)
{
    ProtobufCAllocator *allocator = &client->arena.allocator;
    void *array;

    if (count == 0) {
        return NULL;
    }
    array = allocator->alloc(allocator->allocator_data, count * size);
    if (array != NULL) {
        memset(array, 0, count * size);
    }
    return array;
}

static void put_limit(struct pawl_limit_info *info, const Pawl__V1__LimitInfo *from)
{
    size_t count = from->n_rates < PAWL_TEXT_RATES ? from->n_rates : PAWL_TEXT_RATES;

    pawl_client_put_chars(info->name, sizeof(info->name), from->name);
    pawl_client_put_chars(info->ns, sizeof(info->ns), from->namespace_);
    pawl_client_put_chars(info->when_full, sizeof(info->when_full), from->when_full);
    for (size_t i = 0; i < count; i++) {
        info->rates[i].count = from->rates[i]->count;
        info->rates[i].window_ms = from->rates[i]->window_ms;
        info->rates[i].algorithm = (uint32_t)from->rates[i]->algorithm;
        info->rates[i].burst = from->rates[i]->burst;
        info->rates[i].period = (uint32_t)from->rates[i]->period;
    }
    info->rate_count = (uint32_t)count;
    info->precision = from->precision;
    info->on_error = (enum pawl_fail)from->on_error;
    info->count_denied = from->count_denied;
    info->shadow = from->shadow;
    info->algorithm = (uint32_t)from->algorithm;
    info->anchor_day = from->anchor_day;
    info->overrides = from->overrides;
    info->bypass = from->bypass;
    pawl_client_put_chars(info->zone, sizeof(info->zone), from->zone);
}

void pawl_client_decode_limits(struct pawl_client *client, const struct slot *slot,
                               const Pawl__V1__Reply *reply)
{
    struct pawl_limits_result *result = &client->results.of.limits;
    size_t count = reply->limits->n_limits;

    (void)slot;
    count = count < CLIENT_LIMITS_MAX ? count : CLIENT_LIMITS_MAX;
    result->limits = pawl_client_array(client, count, sizeof(*result->limits));
    if (result->limits == NULL) {
        count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        put_limit(&result->limits[i], reply->limits->limits[i]);
    }
    result->limits_max = count;
    result->limit_count = count;
    result->more = reply->limits->more || count < reply->limits->n_limits;
}

static void put_member(struct pawl_member_info *info, const Pawl__V1__Member *from)
{
    if (from->node.len == sizeof(info->node)) {
        memcpy(info->node, from->node.data, sizeof(info->node));
    }
    pawl_client_put_chars(info->address, sizeof(info->address), from->address);
    pawl_client_put_chars(info->state, sizeof(info->state), from->state);
    if (from->frozen && strcmp(info->state, "serving") == 0) { /* to who routes it is that */
        (void)snprintf(info->state, sizeof(info->state), "frozen");
    }
    pawl_client_put_chars(info->version, sizeof(info->version), from->version);
    info->uptime_s = from->uptime_s;
    info->view = from->view;
}

void pawl_client_decode_members(struct pawl_client *client, const struct slot *slot,
                                const Pawl__V1__Reply *reply)
{
    struct pawl_members_result *result = &client->results.of.members;
    size_t count = reply->view->n_members;

    (void)slot;
    result->view = reply->view->view;
    result->member_total = count;
    count = count < CLIENT_MEMBERS_MAX ? count : CLIENT_MEMBERS_MAX;
    result->members = pawl_client_array(client, count, sizeof(*result->members));
    if (result->members == NULL) {
        count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        put_member(&result->members[i], reply->view->members[i]);
    }
    result->members_max = count;
    result->member_count = count;
}

void pawl_client_decode_stats(struct pawl_client *client, const struct slot *slot,
                              const Pawl__V1__Reply *reply)
{
    struct pawl_stats_result *result = &client->results.of.stats;
    size_t count = reply->stats->n_stats;

    (void)slot;
    result->stat_total = count;
    count = count < CLIENT_STATS_MAX ? count : CLIENT_STATS_MAX;
    result->stats = pawl_client_array(client, count, sizeof(*result->stats));
    if (result->stats == NULL) {
        count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        const Pawl__V1__Stat *from = reply->stats->stats[i];
        struct pawl_stat_entry *entry = &result->stats[i];

        pawl_client_put_chars(entry->name, sizeof(entry->name), from->name);
        pawl_client_put_chars(entry->text, sizeof(entry->text), from->text);
        entry->value = from->value;
        entry->is_flag = from->flag;
        entry->is_text = from->text.len > 0;
    }
    result->stats_max = count;
    result->stat_count = count;
}

void pawl_client_decode_thaw(struct pawl_client *client, const struct slot *slot,
                             const Pawl__V1__Reply *reply)
{
    struct pawl_thaw_result *result = &client->results.of.thaw;

    (void)slot;
    result->facts_kept = reply->thaw->facts_kept;
    result->families_kept = reply->thaw->families_kept;
    result->cutoff_ms = reply->thaw->cutoff_ms;
    pawl_client_put_text(&result->set_aside, reply->thaw->set_aside.data,
                         reply->thaw->set_aside.len);
}
