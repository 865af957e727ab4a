/*
 * on_error: what becomes of a check when no daemon answers it (P5: by a policy that somebody
 * wrote, never by accident).
 *
 * The request is read back from its own frame. What the daemon said about a named limit, once seen,
 * wins over the call; the last CLIENT_LEARNED_MAX limits are remembered.
 */
#include "private.h"

#include <stdio.h>

#define LEARN_AGAIN_NS (1000 * NS_PER_MS)

static uint64_t limit_hash(struct pawl_client *client, const struct pawl_wire_request *request,
                           const struct pawl_wire_item *item)
{
    uint8_t buffer[PAWL_NAMESPACE_MAX + 2 * PAWL_LIMIT_NAME_MAX + 64];
    struct pawl_pack pack;
    struct pawl_bytes ns = request->namespace_;

    if (ns.size == 0) {
        ns = pawl_bytes_of(client->ns, strlen(client->ns));
    }
    pawl_pack_init(&pack, buffer, sizeof(buffer));
    pawl_pack_bytes(&pack, ns.data, ns.size);
    pawl_pack_bytes(&pack, item->limit.data, item->limit.size);
    pawl_pack_bytes(&pack, item->tier.data, item->tier.size);
    return pawl_keyhash64(&client->local.key, buffer, pack.size) | 1;
}

static struct learned *find_learned(struct pawl_client *client, uint64_t hash)
{
    for (unsigned i = 0; i < CLIENT_LEARNED_MAX; i++) {
        if (client->learned[i].hash == hash) {
            return &client->learned[i];
        }
    }
    return NULL;
}

static struct learned *oldest_learned(struct pawl_client *client)
{
    struct learned *oldest = &client->learned[0];

    for (unsigned i = 1; i < CLIENT_LEARNED_MAX; i++) {
        if (client->learned[i].seen_ns < oldest->seen_ns) {
            oldest = &client->learned[i];
        }
    }
    return oldest;
}

bool pawl_client_learned_all(struct pawl_client *client, const struct pawl_wire_request *request)
{
    uint64_t now_ns = client->clock_ns();

    if ((client->flags & PAWL_CLIENT_NO_FALLBACK) != 0) {
        return true;
    }
    for (uint32_t i = 0; i < request->item_count; i++) {
        const struct pawl_wire_item *item = &request->items[i];

        if (item->limit.size > 0) {
            const struct learned *known = find_learned(client, limit_hash(client, request, item));

            if (known == NULL || now_ns - known->seen_ns > LEARN_AGAIN_NS) {
                return false;
            }
        }
    }
    return true;
}

bool pawl_client_reread(struct pawl_client *client, const struct slot *slot)
{
    struct pawl_bytes message;

    if (slot->frame_size <= PAWL_FRAME_HEADER_BYTES) { /* never encoded */
        return false;
    }
    message = pawl_bytes_of(slot->frame + PAWL_FRAME_HEADER_BYTES,
                            slot->frame_size - PAWL_FRAME_HEADER_BYTES);
    return pawl_wire_read_request(&client->request, message) == PAWL_OK;
}

void pawl_client_learn(struct pawl_client *client, const struct slot *slot)
{
    uint64_t now_ns = client->clock_ns();

    if (!pawl_client_reread(client, slot)) {
        return;
    }
    for (uint32_t i = 0; i < client->reply.result_count; i++) {
        const struct pawl_wire_result *result = &client->reply.results[i];
        struct learned *known;
        uint64_t hash;

        if (result->item >= client->request.item_count || result->rate_index >= PAWL_RATES_MAX ||
            client->request.items[result->item].limit.size == 0) {
            continue;
        }
        hash = limit_hash(client, &client->request, &client->request.items[result->item]);
        known = find_learned(client, hash);
        if (known == NULL) {
            known = oldest_learned(client);
            memset(known, 0, sizeof(*known));
            known->hash = hash;
        }
        if (result->rate_index == 0) {
            known->rate_count = 0;
        }
        known->seen_ns = now_ns;
        known->on_error = result->on_error;
        if (result->rate_index == known->rate_count && result->window_ms > 0) {
            known->rates[known->rate_count].count = result->limit_count;
            known->rates[known->rate_count++].window_ms = result->window_ms;
        }
    }
}

/* ---- the decision ------------------------------------------------------------------------ */

/* What all items come to; the pairs asked in this process wait for it before they are charged. */
struct decision {
    struct local_pair pairs[PAWL_CHECK_RATES];
    uint32_t pair_count;
    bool deny;
    bool undecided;
    uint64_t now_ns;
};

static size_t item_rates(struct pawl_client *client, const struct slot *slot, uint32_t index,
                         const struct learned *known, struct pawl_rate *rates)
{
    const struct pawl_wire_item *item = &client->request.items[index];
    size_t count = 0;

    if (known != NULL && known->rate_count > 0) {
        memcpy(rates, known->rates, known->rate_count * sizeof(*rates));
        return known->rate_count;
    }
    for (; count < item->rate_count; count++) {
        rates[count].count = item->rates[count].count;
        rates[count].window_ms = item->rates[count].window_ms;
    }
    for (size_t i = 0; i < slot->hint_count && count < PAWL_RATES_MAX; i++) {
        struct hint hint;

        memcpy(&hint, slot->frame + slot->frame_size + i * sizeof(hint), sizeof(hint));
        if (hint.item == index) {
            rates[count].count = hint.count;
            rates[count++].window_ms = hint.window_ms;
        }
    }
    return count;
}

static uint64_t share(const struct pawl_client *client, uint64_t count)
{
    uint64_t part = count / client->expected_workers;

    return part > 0 || count == 0 ? part : 1;
}

static bool ask_pair(struct pawl_client *client, struct decision *decision, uint32_t index,
                     uint32_t rate_index, const struct pawl_rate *rate)
{
    const struct pawl_wire_item *item = &client->request.items[index];
    struct local_pair *pair = &decision->pairs[decision->pair_count];
    struct pawl_rate_result *result = &client->results.rates[decision->pair_count];

    if (decision->pair_count == PAWL_CHECK_RATES) {
        return false;
    }
    memset(result, 0, sizeof(*result));
    result->item = index;
    result->rate_index = rate_index;
    result->window_ms = rate->window_ms;
    result->on_error = PAWL_FAIL_LOCAL;
    pair->rate.count = share(client, rate->count);
    pair->rate.window_ms = rate->window_ms;
    pair->cost = item->cost > 0 ? item->cost : 1;
    pair->id = pawl_client_local_id(client, &client->request, item, rate_index, rate->window_ms);
    pair->result = result;
    pair->place = NULL;
    if (!pawl_client_local_ask(client, pair, decision->now_ns)) {
        return false;
    }
    decision->pair_count++;
    return true;
}

static void charge_from(struct pawl_client *client, struct decision *decision, uint32_t first,
                        bool charge)
{
    for (uint32_t i = first; i < decision->pair_count; i++) {
        pawl_client_local_end(client, &decision->pairs[i], charge);
    }
}

/* Count the item here. Each mode charges at once; atomic waits for the others. */
static void decide_local(struct pawl_client *client, const struct slot *slot,
                         struct decision *decision, uint32_t index, const struct learned *known)
{
    struct pawl_rate rates[PAWL_RATES_MAX];
    size_t count = item_rates(client, slot, index, known, rates);
    uint32_t first = decision->pair_count;
    bool allowed = true;
    bool asked = count > 0;

    for (size_t i = 0; i < count && asked; i++) {
        asked = ask_pair(client, decision, index, (uint32_t)i, &rates[i]);
        allowed = allowed && asked && decision->pairs[decision->pair_count - 1].result->allowed;
    }
    if (!asked) {
        struct pawl_info *info = &client->results.of.check.info;

        decision->undecided = true;
        if (count == 0) {
            info->cause = PAWL_RC_NO_RATES;
            (void)snprintf(info->text, sizeof(info->text), "%s", pawl_rc_text(PAWL_RC_NO_RATES));
        }
    } else if (!allowed) {
        decision->deny = true;
    }
    if (slot->each) {
        charge_from(client, decision, first, asked && allowed && !slot->peek);
    }
}

static void decide_item(struct pawl_client *client, const struct slot *slot,
                        struct decision *decision, uint32_t index)
{
    const struct pawl_wire_item *item = &client->request.items[index];
    const struct learned *known = NULL;
    uint32_t on_error = item->on_error;

    if (item->limit.size > 0) {
        known = find_learned(client, limit_hash(client, &client->request, item));
        if (known != NULL && known->on_error != PAWL_FAIL_UNSET) {
            on_error = known->on_error;
        }
    }
    if (on_error == PAWL_FAIL_CLOSED) {
        decision->deny = true;
    } else if (on_error == PAWL_FAIL_LOCAL) {
        decide_local(client, slot, decision, index, known);
    } else if (on_error != PAWL_FAIL_OPEN) {
        decision->undecided = true; /* a policy of a later version */
    }
}

void pawl_client_fallback(struct pawl_client *client, const struct slot *slot)
{
    struct pawl_check_result *result = &client->results.of.check;
    struct decision decision;

    if ((client->flags & PAWL_CLIENT_NO_FALLBACK) != 0 || !pawl_client_reread(client, slot)) {
        return;
    }
    memset(&decision, 0, sizeof(decision));
    decision.now_ns = client->clock_ns();
    for (uint32_t i = 0; i < client->request.item_count; i++) {
        decide_item(client, slot, &decision, i);
    }
    if (client->request.has_token) {
        result->has_token = true;
        result->token.status = PAWL_TOKEN_STATE_UNDECIDED;
        (void)snprintf(result->token.detail, sizeof(result->token.detail), "no_answer");
        decision.undecided = true;
    }
    if (!slot->each) {
        charge_from(client, &decision, 0, !decision.deny && !decision.undecided && !slot->peek);
    }
    result->outcome = decision.deny        ? PAWL_OUTCOME_DENY
                      : decision.undecided ? PAWL_OUTCOME_UNDECIDED
                                           : PAWL_OUTCOME_ALLOW;
    result->info.source =
        result->outcome == PAWL_OUTCOME_UNDECIDED ? PAWL_SOURCE_NONE : PAWL_SOURCE_FALLBACK;
    result->rate_count = decision.pair_count;
    for (uint32_t i = 0; i < decision.pair_count; i++) {
        const struct pawl_rate_result *rate = decision.pairs[i].result;

        if (!rate->allowed) {
            result->retry_never |= rate->never ? 1u : 0u;
            if (rate->retry_after_ms > result->retry_after_ms) {
                result->retry_after_ms = rate->retry_after_ms;
            }
        }
    }
    client->figures.fallbacks++;
}
