/* Checks of keys: routed, forwarded, parked, decided without an owner, saved before the answer. */
#include "sim/world.h"

#include <stdio.h>
#include <string.h>

#define DEADLINE_US 1000000
#define RETRY_US    20000
#define MOVED_TRIES 8
#define NS          "default"

/* Marks of an answer on its way. */
enum check_answer {
    CHECK_DECIDED = 1,
    CHECK_UNAVAILABLE,
    CHECK_MOVED,
};

static const struct {
    const char *name;
    enum count_kind kind;
    uint64_t limit;
    uint32_t window_ms;
} limits[] = {
    { "strict", COUNT_STRICT, 12, 10000 },
    { "local", COUNT_LOCAL, 12, 15000 },
    { "exact", COUNT_EXACT, 6, 20000 },
};

static void attempt(struct sim_node *node, struct world_check *check);

/* ---- keys and limits ---- */

static struct pawl_bytes key_part(unsigned key, char text[16])
{
    int size = snprintf(text, 16, "key-%u", key);

    return pawl_bytes_of(text, (size_t)size);
}

static void limit_make(struct sim_node *node, struct pawl_limit *limit, enum count_kind kind,
                       uint64_t count, const char *suffix)
{
    memset(limit, 0, sizeof(*limit));
    (void)snprintf(limit->name, sizeof(limit->name), "%s%s", limits[kind].name, suffix);
    (void)snprintf(limit->ns, sizeof(limit->ns), NS);
    limit->rates_count = 1;
    limit->rates[0].count = count;
    limit->rates[0].window_ms = limits[kind].window_ms;
    if (pawl_limit_init(limit, &node->limiter, NULL) != PAWL_OK) {
        kernel_fail(&node->world->kernel, "a limit is refused");
    }
}

void checks_open(struct sim_node *node)
{
    for (unsigned kind = 0; kind < COUNT_KINDS; kind++) {
        limit_make(node, &node->limits[kind], (enum count_kind)kind, limits[kind].limit, "");
    }
}

void checks_reload(struct world *world, struct sim_node *node)
{
    kernel_note(&world->kernel, "reload", node->index, 0, 0, 0);
    for (unsigned kind = 0; kind < COUNT_KINDS; kind++) {
        limit_make(node, &node->limits[kind], (enum count_kind)kind, limits[kind].limit,
                   world->control == CONTROL_RELOAD_RENAMES ? "-anew" : "");
    }
}

/* Which record a key has: as the limiter of any node says. */
void checks_identify(struct world *world, struct sim_node *node)
{
    for (unsigned i = 0; i < COUNT_KEYS; i++) {
        struct count_key *key = &world->counts.keys[i];
        char text[16];
        struct pawl_bytes part = key_part(i, text);
        struct pawl_limit_item item = { .limit = &node->limits[i % COUNT_KINDS],
                                        .ns = pawl_bytes_of(NS, sizeof(NS) - 1),
                                        .parts = &part,
                                        .parts_count = 1,
                                        .cost = 1 };
        struct pawl_limit_request request = { .items = &item, .items_count = 1 };
        struct pawl_limiter_slot slots[4];
        struct pawl_limiter_plan plan = { .slots = slots, .slots_max = 4 };

        request.now = node_instant(node);
        if (pawl_limiter_prepare(&node->limiter, &request, &plan) != PAWL_OK) {
            kernel_fail(&world->kernel, "a key is refused");
            return;
        }
        key->kind = limits[i % COUNT_KINDS].kind;
        key->limit = limits[i % COUNT_KINDS].limit;
        key->window_us = limits[i % COUNT_KINDS].window_ms * UINT64_C(1000);
        key->id = slots[0].id;
        key->slot = pawl_limiter_slot_of(&slots[0]);
    }
}

/* ---- deciding ---- */

static bool decide(struct sim_node *node, unsigned key, bool without_owner)
{
    struct world *world = node->world;
    struct pawl_limit *limit = &node->limits[key % COUNT_KINDS];
    char text[16];
    struct pawl_bytes part = key_part(key, text);
    struct pawl_rate share = limit->rates[0];
    struct pawl_limit_item item = { .limit = limit,
                                    .ns = pawl_bytes_of(NS, sizeof(NS) - 1),
                                    .parts = &part,
                                    .parts_count = 1,
                                    .cost = 1 };
    struct pawl_limit_request request = { .items = &item, .items_count = 1 };
    struct pawl_limit_result result;
    struct pawl_limit_outcome outcome;

    if (without_owner) {
        unsigned members = node->ring.member_count > 0 ? node->ring.member_count : 1;

        share.count = limit->rates[0].count / members > 0 ? limit->rates[0].count / members : 1;
        item.rates = &share;
    }
    request.now = node_instant(node);
    if (pawl_limiter_check(&node->limiter, &request, &result, 1, &outcome) != PAWL_OK) {
        kernel_fail(&world->kernel, "a check is refused");
        return false;
    }
    kernel_note(&world->kernel, outcome.verdict == PAWL_ALLOW ? "allow" : "deny", node->index, key,
                result.count, without_owner);
    if (outcome.verdict == PAWL_ALLOW) {
        bool is_certain =
            !without_owner && !world_has_two_sides(world) && !world_has_two_fleets(world, node);

        if (!result.full) {
            counts_admitted(&world->counts, key, node->index,
                            is_certain ? COUNT_CERTAIN : COUNT_MAYBE, false);
        }
    } else if (!without_owner) { /* two sides count for themselves, but nothing twice */
        counts_denied(&world->counts, key, node->index, !result.overflow && !result.full);
    }
    return outcome.verdict == PAWL_ALLOW;
}

/* ---- answers ---- */

static void finish(struct sim_node *node, struct world_check *check, enum check_answer answer,
                   bool allowed)
{
    struct peer_message *message;

    check->used = false;
    if (!check->is_forwarded) {
        kernel_note(&node->world->kernel, "check ends", node->index, check->key, answer, allowed);
        return;
    }
    message = peer_message_make();
    message->from = node->index;
    message->from_life = node->life;
    message->to = check->from;
    message->to_life = check->from_life;
    message->is_answer = true;
    message->kind = PEER_CHECK;
    message->id = check->from_id;
    message->numbers[0] = answer;
    message->numbers[1] = allowed;
    message->numbers[2] = node->ring.view;
    peers_send(&node->world->peers, message);
}

static void decide_here(struct sim_node *node, struct world_check *check)
{
    bool is_exact = node->world->counts.keys[check->key].kind == COUNT_EXACT;
    bool allowed = decide(node, check->key, false);

    if (!allowed || !is_exact || node->world->control == CONTROL_EXACT_UNSAVED) {
        if (allowed && is_exact) {
            counts_acknowledged(&node->world->counts, check->key, node->index,
                                node->world->kernel.now_us);
        }
        finish(node, check, CHECK_DECIDED, allowed);
        return;
    }
    check->decided_us = node->world->kernel.now_us;
    check->ticket = ++node->next_id;
    if (!node_save(node, node->world->counts.keys[check->key].id, check->ticket)) {
        finish(node, check, CHECK_UNAVAILABLE, false);
    }
}

void checks_on_saved(struct sim_node *node, uint64_t ticket, bool good)
{
    for (unsigned i = 0; i < WORLD_PARKED; i++) {
        struct world_check *check = &node->checks[i];

        if (check->used && check->ticket == ticket) {
            if (good) {
                counts_acknowledged(&node->world->counts, check->key, node->index,
                                    check->decided_us);
            }
            finish(node, check, good ? CHECK_DECIDED : CHECK_UNAVAILABLE, good);
            return;
        }
    }
}

static void without_owner(struct sim_node *node, struct world_check *check)
{
    struct world *world = node->world;

    if (check->is_forwarded || world->counts.keys[check->key].kind != COUNT_LOCAL ||
        node->ring.member_count == 0) {
        finish(node, check, CHECK_UNAVAILABLE, false);
        return;
    }
    if (decide(node, check->key, true)) {
        node_counted(node, world->counts.keys[check->key].slot);
    }
    finish(node, check, CHECK_DECIDED, true);
}

/* ---- forwarding ---- */

static void forward(struct sim_node *node, struct world_check *check, uint16_t to)
{
    struct world *world = node->world;
    unsigned place = node_place(&node->ring.members[to]);
    struct sim_node *owner = &world->nodes[place];
    struct world_ask *ask = NULL;
    struct peer_message *message;

    if (!peers_is_cut(&world->peers, node->index, place) && owner->alive &&
        node_is(owner, &node->ring.members[to])) {
        ask = node_free_ask(node);
    }
    if (ask == NULL) {
        without_owner(node, check); /* there is no link to it */
        return;
    }
    ask->kind = PEER_CHECK;
    ask->to = (uint8_t)place;
    ask->id = ++node->next_id;
    node_ask_until(node, ask, check->deadline_us);
    ask->check = (uint32_t)(check - node->checks);
    ask->tag = check->id;
    message = peer_message_make();
    message->from = node->index;
    message->from_life = node->life;
    message->to = (uint8_t)place;
    message->to_life = owner->life;
    message->kind = PEER_CHECK;
    message->id = ask->id;
    message->numbers[0] = check->key;
    message->numbers[1] = node->ring.view;
    message->numbers[2] = check->deadline_us;
    peers_send(&world->peers, message);
}

static void park(struct sim_node *node, struct world_check *check)
{
    check->parked = true;
    node_wanted(node, node->world->counts.keys[check->key].slot);
}

static void attempt(struct sim_node *node, struct world_check *check)
{
    uint32_t slot = node->world->counts.keys[check->key].slot;
    struct pawl_route route;

    check->parked = false;
    if (check->is_forwarded && node->ring.view < check->view) {
        park(node, check); /* whoever sent it knows more: refresh first */
        node_refresh(node, check->view);
        return;
    }
    route = node_route(node, slot);
    switch (route.kind) {
    case PAWL_ROUTE_LOCAL:
        decide_here(node, check);
        break;
    case PAWL_ROUTE_WAIT:
        park(node, check);
        break;
    case PAWL_ROUTE_FORWARD:
        if (check->is_forwarded) {
            finish(node, check, CHECK_MOVED, false);
        } else {
            forward(node, check, route.to);
        }
        break;
    default:
        without_owner(node, check);
        break;
    }
}

static struct world_check *free_check(struct sim_node *node)
{
    for (unsigned i = 0; i < WORLD_PARKED; i++) {
        if (!node->checks[i].used) {
            memset(&node->checks[i], 0, sizeof(node->checks[i]));
            node->checks[i].used = true;
            node->checks_high = i >= node->checks_high ? i + 1 : node->checks_high;
            node->checks[i].id = ++node->next_id;
            return &node->checks[i];
        }
    }
    return NULL;
}

void checks_begin(struct world *world, struct sim_node *node, unsigned key)
{
    struct world_check *check = free_check(node);

    if (check == NULL) {
        return;
    }
    check->key = (uint8_t)key;
    check->deadline_us = world->kernel.now_us + DEADLINE_US;
    attempt(node, check);
}

static void on_answer(struct sim_node *node, const struct peer_message *message)
{
    for (unsigned i = 0; i < node->asks_high; i++) {
        struct world_ask *ask = &node->asks[i];
        struct world_check *check = &node->checks[ask->check];

        if (!ask->used || ask->kind != PEER_CHECK || ask->id != message->id) {
            continue;
        }
        ask->used = false;
        if (!check->used || check->id != ask->tag) {
            return;
        }
        if (message->numbers[0] != CHECK_MOVED || ++check->tries >= MOVED_TRIES) {
            finish(node, check, (enum check_answer)message->numbers[0], message->numbers[1] != 0);
            return;
        }
        node_refresh(node, message->numbers[2]);
        check->parked = true; /* until something changes, or a little later */
        check->again_us = node->world->kernel.now_us + RETRY_US;
        node_settle(node);
        return;
    }
}

void checks_on_message(struct sim_node *node, struct peer_message *message)
{
    struct world_check *check;

    if (message->is_answer) {
        on_answer(node, message);
        return;
    }
    check = free_check(node);
    if (check == NULL || message->numbers[2] <= node->world->kernel.now_us) {
        if (check != NULL) {
            check->used = false;
        }
        return; /* its time is over: nobody waits for the answer */
    }
    check->is_forwarded = true;
    check->key = (uint8_t)message->numbers[0];
    check->from = message->from;
    check->from_life = message->from_life;
    check->from_id = message->id;
    check->view = message->numbers[1];
    check->deadline_us = message->numbers[2];
    attempt(node, check);
}

void checks_on_change(struct sim_node *node)
{
    for (unsigned i = 0; i < node->checks_high; i++) {
        if (node->checks[i].used && node->checks[i].parked) {
            attempt(node, &node->checks[i]);
        }
    }
}

uint64_t checks_expire(struct sim_node *node)
{
    uint64_t now = node->world->kernel.now_us;
    uint64_t next = UINT64_MAX;

    for (unsigned i = 0; i < node->checks_high; i++) {
        struct world_check *check = &node->checks[i];

        if (check->used && check->deadline_us <= now) {
            finish(node, check, CHECK_UNAVAILABLE, false);
        } else if (check->used && check->parked && check->again_us != 0 && check->again_us <= now) {
            check->again_us = 0;
            attempt(node, check);
        }
        if (check->used && check->deadline_us < next) {
            next = check->deadline_us;
        }
        if (check->used && check->parked && check->again_us != 0 && check->again_us < next) {
            next = check->again_us;
        }
    }
    return next;
}

/* ---- pressure ---- */

/* Many keys that nobody has seen before: they take what memory there is. */
void checks_flood(struct world *world, struct sim_node *node, unsigned count)
{
    const struct pawl_rate rate = { .count = 5, .window_ms = 30000 };
    struct pawl_limit limit;
    unsigned done = 0;

    kernel_note(&world->kernel, "flood", node->index, count, 0, 0);
    if (pawl_limit_init_inline(&limit, &node->limiter, &rate, 1, 0, NULL) != PAWL_OK) {
        kernel_fail(&world->kernel, "a rate is refused");
        return;
    }
    while (done < count && !world->kernel.failed) {
        uint64_t name = kernel_random(&world->kernel);
        struct pawl_bytes part = pawl_bytes_of(&name, sizeof(name));
        struct pawl_limit_item item = { .limit = &limit,
                                        .ns = pawl_bytes_of(NS, sizeof(NS) - 1),
                                        .parts = &part,
                                        .parts_count = 1,
                                        .cost = 1 };
        struct pawl_limit_request request = { .items = &item, .items_count = 1 };
        struct pawl_limit_result result;
        struct pawl_limit_outcome outcome;
        uint32_t slot = pawl_limiter_key_slot(&node->limiter, item.ns, &part, 1);

        done++;
        if (node_route(node, slot).kind != PAWL_ROUTE_LOCAL) {
            continue;
        }
        request.now = node_instant(node);
        if (pawl_limiter_check(&node->limiter, &request, &result, 1, &outcome) != PAWL_OK) {
            kernel_fail(&world->kernel, "a check is refused");
        }
    }
    if (world->control == CONTROL_FORGET_DENIED) {
        for (unsigned bundle = 0; bundle < PAWL_LIMITER_BUNDLES; bundle++) {
            (void)pawl_limiter_forget_slots(&node->limiter, bundle, UINT64_MAX);
        }
    }
}
