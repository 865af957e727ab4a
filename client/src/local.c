/*
 * Counting in this process while no daemon answers: a table of a fixed number of windows, taken
 * when first needed. A key is looked for in PROBES places from its hash on; a record that still
 * holds an event is never given away, so a full neighbourhood answers "no room" (UNDECIDED).
 */
#include "private.h"

#include <stdlib.h>

#define LOCAL_PRECISION 16
#define PROBES          16

struct local_slot {
    uint64_t pinned; /* asked in the check that is being decided */
    struct pawl_window window;
};

static size_t stride(void)
{
    size_t size = offsetof(struct local_slot, window) + pawl_window_size(LOCAL_PRECISION, true);

    return (size + 7) / 8 * 8;
}

static struct local_slot *place_at(const struct local_table *table, size_t index)
{
    return (struct local_slot *)(void *)(table->slots + index * stride());
}

struct pawl_id pawl_client_local_id(struct pawl_client *client,
                                    const struct pawl_wire_request *request,
                                    const struct pawl_wire_item *item, uint32_t rate_index,
                                    uint32_t window_ms)
{
    uint8_t buffer[PAWL_NAMESPACE_MAX + 2 * PAWL_LIMIT_NAME_MAX +
                   PAWL_KEY_PARTS_MAX * (PAWL_KEY_BYTES_MAX + 4) + 128];
    struct pawl_pack pack;
    struct pawl_bytes ns = request->namespace_;

    if (ns.size == 0) {
        ns = pawl_bytes_of(client->ns, strlen(client->ns));
    }
    pawl_pack_init(&pack, buffer, sizeof(buffer));
    pawl_pack_bytes(&pack, ns.data, ns.size);
    pawl_pack_bytes(&pack, item->limit.data, item->limit.size);
    pawl_pack_bytes(&pack, item->tier.data, item->tier.size);
    pawl_pack_u64(&pack, item->limit.size > 0 ? rate_index : window_ms);
    for (uint32_t i = 0; i < item->key_count; i++) {
        pawl_pack_bytes(&pack, item->key[i].data, item->key[i].size);
    }
    return pawl_keyhash128(&client->local.key, buffer, pack.size);
}

static bool is_free(const struct local_slot *slot, struct pawl_instant now)
{
    return slot->pinned == 0 &&
           (slot->window.kind == 0 || pawl_window_is_spent(&slot->window, now));
}

static struct local_slot *find(struct local_table *table, const struct local_pair *pair,
                               struct pawl_instant now)
{
    struct local_slot *empty = NULL;

    for (size_t i = 0; i < PROBES && i < table->slot_max; i++) {
        struct local_slot *slot = place_at(table, (size_t)((pair->id.lo + i) % table->slot_max));

        if (slot->window.kind != 0 && pawl_id_equal(slot->window.id, pair->id)) {
            return slot;
        }
        if (empty == NULL && is_free(slot, now)) {
            empty = slot;
        }
    }
    if (empty != NULL) {
        pawl_window_init(&empty->window, stride() - offsetof(struct local_slot, window), pair->id,
                         pair->rate.window_ms, now);
    }
    return empty;
}

bool pawl_client_local_ask(struct pawl_client *client, struct local_pair *pair, uint64_t now_ns)
{
    struct local_table *table = &client->local;
    struct pawl_instant now = { now_ns };
    struct pawl_window_answer answer;
    struct local_slot *slot;

    if (table->slots == NULL) {
        table->slots = calloc(table->slot_max, stride());
        if (table->slots == NULL) {
            return false;
        }
    }
    slot = find(table, pair, now);
    if (slot == NULL || slot->pinned != 0) { /* no room; or the same record twice in one check */
        return false;
    }
    slot->pinned = 1;
    pair->place = slot;
    pawl_window_advance(&slot->window, pair->rate.window_ms, now);
    (void)pawl_window_ask(&slot->window, &pair->rate, pair->cost, &answer);
    pair->result->limit_count = pair->rate.count;
    pair->result->count = answer.count;
    pair->result->remaining = answer.remaining;
    pair->result->oldest_age_ms = answer.oldest_age_ms;
    pair->result->reset_after_ms = answer.reset_after_ms;
    pair->result->retry_after_ms = answer.retry_after_ms;
    pair->result->never = answer.never;
    pair->result->allowed = answer.allowed;
    return true;
}

void pawl_client_local_end(struct pawl_client *client, struct local_pair *pair, bool charge)
{
    struct pawl_window_answer answer;

    (void)client;
    if (pair->place == NULL) {
        return;
    }
    pair->place->pinned = 0;
    if (charge) {
        (void)pawl_window_charge(&pair->place->window, LOCAL_PRECISION, pair->cost);
        (void)pawl_window_ask(&pair->place->window, &pair->rate, 0, &answer);
        pair->result->count = answer.count;
        pair->result->remaining = answer.remaining;
        pair->result->reset_after_ms = answer.reset_after_ms;
    }
    pair->place = NULL;
}

uint32_t pawl_client_local_used(const struct pawl_client *client, uint64_t now_ns)
{
    const struct local_table *table = &client->local;
    struct pawl_instant now = { now_ns };
    uint32_t used = 0;

    for (size_t i = 0; table->slots != NULL && i < table->slot_max; i++) {
        const struct local_slot *slot = place_at(table, i);

        if (slot->window.kind != 0 && !pawl_window_is_spent(&slot->window, now)) {
            used++;
        }
    }
    return used;
}
