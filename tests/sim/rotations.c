/* Users of refresh tokens: honest ones, impatient ones, thieves. */
#include "sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS          "default"
#define DEADLINE_MS 1500
#define KEEP_S      (UINT64_C(30) * 86400)

/** One call at one node; lives until its end, or with its node. */
struct world_rotation {
    struct pawl_family_call call; /* first */
    struct sim_node *node;
    struct login_attempt attempt;
    bool opens;
    char sid[32], presented[32], proposed[32];
    struct pawl_rotation_outcome outcome;
    struct pawl_family made; /* for CONTROL_CREATE_UNKNOWN */
};

static struct pawl_bytes text_bytes(const char *text)
{
    return pawl_bytes_of(text, strlen(text));
}

static void token_text(char text[32], uint32_t login, uint32_t serial, uint32_t token)
{
    (void)snprintf(text, 32, "rt-%02u-%04u-%04u", login, serial, token);
}

static uint32_t token_number(const struct pawl_name *name)
{
    uint32_t number = 0;

    for (unsigned i = name->size >= 4 ? name->size - 4u : 0; i < name->size; i++) {
        number = number * 10 + (uint32_t)(name->data[i] - '0');
    }
    return number;
}

static struct pawl_rotation_time time_of(const struct world *world)
{
    uint64_t ms = world->engine.clock_origin_ms + world->kernel.now_us / 1000;
    struct pawl_rotation_time now = { .wall.unix_s = (int64_t)(ms / 1000), .stamp.us = ms * 1000 };

    return now;
}

/* ---- deciding ---- */

static enum pawl_status decide_opening(struct pawl_family_call *call, const struct pawl_family *old,
                                       struct pawl_family *fresh, uint64_t *until_s,
                                       enum pawl_family_verdict *verdict)
{
    struct world_rotation *rotation = (struct world_rotation *)call;
    struct pawl_rotation_time now = time_of(rotation->node->world);
    struct pawl_family_open open = { .ns = text_bytes(NS),
                                     .sid = text_bytes(rotation->sid),
                                     .subject = text_bytes("somebody"),
                                     .scope = PAWL_SCOPE_TOKEN,
                                     .value = text_bytes(rotation->proposed),
                                     .iat_s = now.wall.unix_s,
                                     .exp_s = now.wall.unix_s + 864000 };

    *verdict = old == NULL ? PAWL_FAMILY_WRITE : PAWL_FAMILY_LEAVE;
    *until_s = (uint64_t)now.wall.unix_s + KEEP_S;
    return old == NULL ? pawl_family_init(fresh, &open, now.stamp, NULL) : PAWL_OK;
}

/* The family that a rotation misses, as a rotation must never make it. */
static const struct pawl_family *make_up(struct world_rotation *rotation)
{
    struct pawl_rotation_time now = time_of(rotation->node->world);
    struct pawl_family_open open = { .ns = text_bytes(NS),
                                     .sid = text_bytes(rotation->sid),
                                     .subject = text_bytes("somebody"),
                                     .scope = PAWL_SCOPE_TOKEN,
                                     .value = text_bytes(rotation->presented),
                                     .iat_s = now.wall.unix_s,
                                     .exp_s = now.wall.unix_s + 864000 };

    return pawl_family_init(&rotation->made, &open, now.stamp, NULL) == PAWL_OK ? &rotation->made
                                                                                : NULL;
}

static enum pawl_status decide(struct pawl_family_call *call, const struct pawl_family *old,
                               struct pawl_family *fresh, uint64_t *until_s,
                               enum pawl_family_verdict *verdict)
{
    struct world_rotation *rotation = (struct world_rotation *)call;
    struct world *world = rotation->node->world;
    struct pawl_rotation_policy policy = pawl_rotation_policy_default();
    struct pawl_rotation_time now = time_of(world);
    struct pawl_rotation_request request = { .ns = text_bytes(NS),
                                             .sid = text_bytes(rotation->sid),
                                             .authorised = true,
                                             .proposed_exp_s = now.wall.unix_s + 864000 };
    struct pawl_rotation_hits hits;
    const struct pawl_family *there = old;

    policy.leeway_ms = 3000;
    request.presented.scope = PAWL_SCOPE_TOKEN;
    request.presented.value = text_bytes(rotation->presented);
    request.proposed.scope = PAWL_SCOPE_TOKEN;
    request.proposed.value = text_bytes(rotation->proposed);
    if (old == NULL && world->control == CONTROL_CREATE_UNKNOWN) {
        old = make_up(rotation);
    }
    memset(&hits, 0, sizeof(hits));
    pawl_rotation_gather(&rotation->node->table.view, &world->token_keys, old, &request, &now,
                         policy.skew_s, &hits);
    pawl_rotation_decide(old, &request, &hits, &policy, &world->token_keys, &now,
                         PAWL_ROTATION_OPEN, &rotation->outcome);
    *verdict = PAWL_FAMILY_LEAVE;
    if (rotation->outcome.effects.write_family) {
        *verdict = PAWL_FAMILY_WRITE;
        *fresh = rotation->outcome.effects.family;
    } else if (rotation->outcome.has_successor && old == there) {
        *verdict = PAWL_FAMILY_CONFIRM;
    }
    if (world->control == CONTROL_REUSE_UNWRITTEN &&
        rotation->outcome.result == PAWL_ROTATION_REUSE) {
        *verdict = PAWL_FAMILY_LEAVE;
        rotation->outcome.effects.facts_count = 0;
    }
    *until_s = (uint64_t)now.wall.unix_s + KEEP_S;
    return PAWL_OK;
}

/* ---- ends ---- */

static void opened(struct world_rotation *rotation, enum pawl_status status)
{
    struct login *login = &rotation->node->world->logins.all[rotation->attempt.login];

    if (login->serial != rotation->attempt.serial) {
        return;
    }
    if (status == PAWL_OK) {
        login->opened = true;
    } else {
        login->over = true; /* another login is made, under another name */
    }
}

static void done(struct pawl_family_call *call, enum pawl_status status, const char *why)
{
    struct world_rotation *rotation = (struct world_rotation *)call;
    struct sim_node *node = rotation->node;
    struct world *world = node->world;
    struct login *login = &world->logins.all[rotation->attempt.login];
    enum pawl_rotation_result result =
        status == PAWL_OK ? rotation->outcome.result : PAWL_ROTATION_UNAVAILABLE;
    uint32_t successor = rotation->outcome.has_successor
                             ? token_number(&rotation->outcome.successor.value)
                             : LOGIN_NOT_YET;

    (void)why;
    kernel_note(&world->kernel, rotation->opens ? "login opened" : "rotation answered", node->index,
                rotation->attempt.login << 16 | rotation->attempt.presented,
                rotation->opens ? (uint64_t)(int64_t)status : result, successor);
    if (rotation->opens) {
        opened(rotation, status);
    } else {
        if (status == PAWL_OK && rotation->outcome.effects.facts_count > 0) {
            tokens_say_of_family(node, &rotation->outcome.effects.facts[0]);
        }
        if (!rotation->attempt.is_attack && login->serial == rotation->attempt.serial) {
            login->busy = false;
            login->retrying = result == PAWL_ROTATION_UNAVAILABLE || result == PAWL_ROTATION_RACED;
        }
        logins_answered(&world->logins, &rotation->attempt, result, successor,
                        world->losses + world->rings_lost + world->evictions, world->was_split);
    }
    for (unsigned i = 0; i < WORLD_ROTATIONS; i++) {
        if (node->rotations[i] == rotation) {
            node->rotations[i] = NULL;
        }
    }
    free(rotation);
}

/* ---- beginnings ---- */

static struct world_rotation *rotation_make(struct world *world, struct sim_node *node,
                                            uint32_t index)
{
    struct world_rotation *rotation = sim_take(sizeof(*rotation));
    struct login *login = &world->logins.all[index];

    rotation->node = node;
    rotation->attempt.login = index;
    rotation->attempt.serial = login->serial;
    rotation->attempt.begun_us = world->kernel.now_us;
    (void)snprintf(rotation->sid, sizeof(rotation->sid), "sid-%02u-%04u", index, login->serial);
    rotation->call.key = pawl_family_key(&world->facts_key, text_bytes(NS), text_bytes(""),
                                         text_bytes(rotation->sid));
    rotation->call.deadline_ms = node_now_ms(node) + DEADLINE_MS;
    rotation->call.done = done;
    return rotation;
}

static void begin(struct sim_node *node, struct world_rotation *rotation)
{
    unsigned place = 0;

    while (place < WORLD_ROTATIONS && node->rotations[place] != NULL) {
        place++;
    }
    if (place == WORLD_ROTATIONS) {
        kernel_fail(&node->world->kernel, "L1: node %u has %d calls under way", node->index,
                    WORLD_ROTATIONS);
        free(rotation);
        return;
    }
    node->rotations[place] = rotation;
    pawl_families_start(&node->node.families, &rotation->call, node_now_ms(node));
    node_settle(node);
}

static void open_login(struct world *world, struct sim_node *node, uint32_t index)
{
    struct login *login = &world->logins.all[index];
    struct world_rotation *rotation;
    uint32_t serial = login->serial + 1;

    memset(login, 0, sizeof(*login));
    login->serial = serial;
    login->tokens = 1;
    login->previous = LOGIN_NOT_YET;
    for (unsigned i = 0; i < LOGIN_TOKENS; i++) {
        login->winner[i] = LOGIN_NOT_YET;
    }
    rotation = rotation_make(world, node, index);
    login->key = rotation->call.key;
    rotation->opens = true;
    rotation->call.decide = decide_opening;
    token_text(rotation->proposed, index, serial, 0);
    begin(node, rotation);
}

static void rotate(struct world *world, struct sim_node *node, uint32_t index, uint32_t presented,
                   uint32_t proposed, bool is_retry, bool is_attack)
{
    struct login *login = &world->logins.all[index];
    struct world_rotation *rotation = rotation_make(world, node, index);

    rotation->attempt.presented = presented;
    rotation->attempt.proposed = proposed;
    rotation->attempt.is_retry = is_retry;
    rotation->attempt.is_attack = is_attack;
    logins_begun(&world->logins, index, presented, proposed);
    rotation->call.decide = decide;
    if (is_retry && !is_attack && world->control == CONTROL_RETRY_IS_NEW &&
        login->tokens < LOGIN_TOKENS) {
        proposed = login->tokens++;
    }
    token_text(rotation->presented, index, login->serial, presented);
    token_text(rotation->proposed, index, login->serial, proposed);
    kernel_note(&world->kernel, is_attack ? "theft" : "rotate", node->index,
                index << 16 | presented, proposed, is_retry);
    begin(node, rotation);
}

static struct sim_node *some_node(struct world *world)
{
    for (unsigned i = 0; i < 8; i++) {
        struct sim_node *node = &world->nodes[kernel_below(&world->kernel, SIM_NODES)];

        if (node->is_open && !node->stopped) {
            return node;
        }
    }
    return NULL;
}

void rotations_step(struct world *world, struct sim_node *node)
{
    uint32_t index = (uint32_t)kernel_below(&world->kernel, LOGINS);
    struct login *login = &world->logins.all[index];
    struct sim_node *other = some_node(world);
    bool is_retry = login->retrying;

    if (login->serial == 0 || login->over || login->tokens + 3 >= LOGIN_TOKENS) {
        open_login(world, node, index);
        return;
    }
    if (!login->opened) {
        return;
    }
    if (login->reuse_us != 0) {
        login->over = --login->last_tries == 0;
        login->proposed = login->tokens++;
        rotate(world, node, index, login->current, login->proposed, false, false);
        return;
    }
    if (login->previous != LOGIN_NOT_YET && kernel_chance(&world->kernel, 8)) {
        rotate(world, node, index, (uint32_t)kernel_below(&world->kernel, login->current),
               login->tokens++, false, true);
        return;
    }
    if (login->busy && !kernel_chance(&world->kernel, 20)) {
        return;
    }
    if (!login->retrying && !login->busy) {
        login->proposed = login->tokens++;
    }
    is_retry = login->retrying || login->busy;
    login->busy = true;
    rotate(world, node, index, login->current, login->proposed, is_retry, false);
    if (other != NULL && kernel_chance(&world->kernel, 20)) { /* two tabs, each with its own */
        rotate(world, other, index, login->current, login->tokens++, false, true);
    }
}

void rotations_forget(struct sim_node *node)
{
    for (unsigned i = 0; i < WORLD_ROTATIONS; i++) {
        struct world_rotation *rotation = node->rotations[i];

        if (rotation == NULL) {
            continue;
        }
        node->rotations[i] = NULL;
        if (!rotation->opens && !rotation->attempt.is_attack) {
            struct login *login = &node->world->logins.all[rotation->attempt.login];

            if (login->serial == rotation->attempt.serial) {
                login->busy = false; /* its caller heard nothing, and tries again */
                login->retrying = true;
            }
        } else if (rotation->opens) {
            opened(rotation, PAWL_EUNAVAIL);
        }
        free(rotation);
    }
}
