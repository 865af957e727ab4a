/*
 * Members in lock step over a small engine: each millisecond every member gets the replies that
 * are due and its tick. The engine keeps the view and the announcements; it fails over to a copy
 * of a while ago, forgets all, and answers nobody while it is down. A stopped member reads nothing
 * and does nothing, and what it had sent is executed.
 */
#ifndef PAWL_TESTS_UNIT_MEMBERS_RIG_H
#define PAWL_TESTS_UNIT_MEMBERS_RIG_H

#include "core/cluster/members.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RIG_MAX      6
#define RIG_QUEUE    64
#define RIG_LISTED   64 /* announced ones, dead ones too */
#define RIG_COPIES   32 /* of the engine, RIG_COPY_MS apart: what a replica may have */
#define RIG_COPY_MS  100
#define RIG_ANSWERED 1 /* ms to the engine, and back */

static const struct pawl_subkey rig_key = { { 7, 1, 7 } };

struct rig_engine {
    uint64_t number;
    size_t view_size;
    uint8_t view[PAWL_VIEW_SEALED_MAX];
    struct {
        struct pawl_member_id id;
        uint64_t mark;
        size_t size;
        uint8_t info[PAWL_MEMBER_INFO_MAX];
    } announced[RIG_LISTED];
    unsigned count;
};

struct rig_command {
    struct pawl_engine_command command;
    uint8_t bytes[PAWL_VIEW_SEALED_MAX];
    uint8_t over[PAWL_VIEW_SEALED_MAX];
    uint64_t execute_ms, answer_ms, deadline_ms;
    uint64_t life; /* of the engine it was sent to */
    bool executed, answered;
    /* the reply */
    enum pawl_engine_result result;
    uint64_t replaced;
    struct rig_engine then; /* what it saw */
};

struct rig_member {
    struct pawl_members members;
    struct rig_command *queue[RIG_QUEUE];
    unsigned queued;
    bool exists, stopped, cut; /* cut: no way to the engine */
    bool connected;
    uint64_t tenure_ms;
    unsigned expelled, adopted, pushes, done;
    unsigned lives; /* each has an id of its own */
    struct rig *rig;
    unsigned index;
};

struct rig {
    uint64_t now_ms;
    uint64_t mark;
    uint64_t life; /* the engine's: its epoch */
    bool down;
    bool no_push;  /* pushes get lost */
    unsigned late; /* of so many VIEW_SETs one is answered UNKNOWN and executed later; 0: none */
    uint64_t random;
    unsigned overlaps; /* looks that found two who may decide */
    struct rig_engine engine;
    struct rig_engine copies[RIG_COPIES];
    struct rig_member nodes[RIG_MAX];
};

static uint64_t rig_random(struct rig *rig)
{
    rig->random ^= rig->random << 13;
    rig->random ^= rig->random >> 7;
    rig->random ^= rig->random << 17;
    return rig->random;
}

static struct pawl_member_id rig_id(unsigned index)
{
    struct pawl_member_id id = { { 0 } };

    id.bytes[0] = (uint8_t)(index * 37 + 5);
    id.bytes[15] = (uint8_t)index;
    return id;
}

static struct pawl_epoch rig_epoch(const struct rig *rig)
{
    struct pawl_epoch epoch = { { 1 } };

    memcpy(epoch.bytes + 8, &rig->life, sizeof(rig->life));
    return epoch;
}

/* ---- the engine ---- */

static void rig_announce(struct rig *rig, const struct pawl_engine_command *command)
{
    struct rig_engine *engine = &rig->engine;
    unsigned at = 0;

    while (at < engine->count &&
           !pawl_member_id_equal(engine->announced[at].id, command->announce.self)) {
        at++;
    }
    assert_true(at < RIG_LISTED);
    engine->count = at == engine->count ? at + 1 : engine->count;
    engine->announced[at].id = command->announce.self;
    engine->announced[at].mark = ++rig->mark;
    engine->announced[at].size = command->announce.info.size;
    memcpy(engine->announced[at].info, command->announce.info.data, command->announce.info.size);
}

static void rig_retire(struct rig_engine *engine, struct pawl_member_id id)
{
    for (unsigned i = 0; i < engine->count; i++) {
        if (pawl_member_id_equal(engine->announced[i].id, id)) {
            engine->announced[i] = engine->announced[--engine->count];
            return;
        }
    }
}

static enum pawl_engine_result rig_view_set(struct rig_engine *engine,
                                            const struct pawl_engine_command *command,
                                            uint64_t *replaced)
{
    if (command->view_set.number == engine->number) {
        return PAWL_ENGINE_WON;
    }
    if (command->view_set.over.size > 0) {
        if (engine->view_size != command->view_set.over.size ||
            memcmp(engine->view, command->view_set.over.data, engine->view_size) != 0) {
            return PAWL_ENGINE_REFUSED;
        }
    } else if (command->view_set.exact ? command->view_set.base != engine->number
                                       : command->view_set.number < engine->number) {
        return PAWL_ENGINE_REFUSED;
    }
    *replaced = engine->number;
    engine->number = command->view_set.number;
    engine->view_size = command->view_set.view.size;
    memcpy(engine->view, command->view_set.view.data, engine->view_size);
    return PAWL_ENGINE_WON;
}

static void rig_execute(struct rig *rig, struct rig_command *queued)
{
    const struct pawl_engine_command *command = &queued->command;

    queued->executed = true;
    queued->result = PAWL_ENGINE_WON;
    switch (command->verb) {
    case PAWL_ENGINE_ANNOUNCE:
        rig_announce(rig, command);
        break;
    case PAWL_ENGINE_RETIRE:
        rig_retire(&rig->engine, command->retire.member);
        break;
    default:
        queued->result = rig_view_set(&rig->engine, command, &queued->replaced);
        break;
    }
    queued->then = rig->engine;
}

static void rig_emit(void *self, const struct pawl_engine_command *command)
{
    struct rig_member *node = self;
    struct rig *rig = node->rig;
    struct rig_command *queued = calloc(1, sizeof(*queued));

    assert_non_null(queued);
    assert_true(node->queued < RIG_QUEUE);
    queued->command = *command;
    if (command->verb == PAWL_ENGINE_ANNOUNCE) {
        memcpy(queued->bytes, command->announce.info.data, command->announce.info.size);
        queued->command.announce.info.data = queued->bytes;
    } else if (command->verb == PAWL_ENGINE_VIEW_SET) {
        memcpy(queued->bytes, command->view_set.view.data, command->view_set.view.size);
        queued->command.view_set.view.data = queued->bytes;
        if (command->view_set.over.size > 0) {
            memcpy(queued->over, command->view_set.over.data, command->view_set.over.size);
            queued->command.view_set.over.data = queued->over;
        }
    }
    queued->life = rig->life;
    queued->execute_ms = rig->now_ms + RIG_ANSWERED;
    queued->answer_ms = queued->execute_ms + RIG_ANSWERED;
    queued->deadline_ms = rig->now_ms + command->deadline_ms;
    if (rig->late != 0 && command->verb == PAWL_ENGINE_VIEW_SET &&
        rig_random(rig) % rig->late == 0) {
        queued->execute_ms += rig_random(rig) % 7000;
        queued->answer_ms = UINT64_MAX; /* lost: it will be UNKNOWN */
    }
    node->queue[node->queued++] = queued;
}

/* ---- replies ---- */

static void rig_answer(struct rig_member *node, const struct rig_command *queued,
                       enum pawl_engine_result result)
{
    struct pawl_engine_reply reply = { .verb = queued->command.verb,
                                       .part = PAWL_PART_MEMBERS,
                                       .tag = queued->command.tag,
                                       .result = result };
    struct pawl_announced announced[RIG_LISTED];
    struct pawl_bytes view = pawl_bytes_of(queued->then.view, queued->then.view_size);

    if (queued->command.verb == PAWL_ENGINE_ANNOUNCE) {
        for (unsigned i = 0; i < queued->then.count; i++) {
            announced[i].id = queued->then.announced[i].id;
            announced[i].mark = queued->then.announced[i].mark;
            announced[i].info =
                pawl_bytes_of(queued->then.announced[i].info, queued->then.announced[i].size);
        }
        reply.announce.engine_ms = 1000000 + node->rig->now_ms;
        reply.announce.view = view;
        reply.announce.members = announced;
        reply.announce.member_count = queued->then.count;
    } else if (queued->command.verb == PAWL_ENGINE_VIEW_SET) {
        reply.view_set.view = view;
        reply.view_set.replaced = queued->replaced;
    }
    pawl_members_on_reply(&node->members, &reply, node->rig->now_ms);
}

/* What is due at the engine, in order; late ones wait beside the others. */
static void rig_run_engine(struct rig *rig, struct rig_member *node)
{
    for (unsigned i = 0; i < node->queued; i++) {
        struct rig_command *queued = node->queue[i];

        if (!queued->executed && queued->life == rig->life && !rig->down &&
            rig->now_ms >= queued->execute_ms && (!node->cut || queued->answered)) {
            rig_execute(rig, queued);
        }
    }
}

static void rig_run_replies(struct rig *rig, struct rig_member *node)
{
    for (unsigned i = 0; i < node->queued;) {
        struct rig_command *queued = node->queue[i];
        bool reachable = !node->cut && !rig->down && queued->life == rig->life;

        if (!queued->answered && queued->executed && rig->now_ms >= queued->answer_ms) {
            queued->answered = true; /* it lies in the socket, whatever came since */
            rig_answer(node, queued, queued->result);
        } else if (!queued->answered && (!reachable || rig->now_ms >= queued->deadline_ms)) {
            queued->answered = true;
            rig_answer(node, queued, PAWL_ENGINE_UNKNOWN);
        }
        /* One that is executed later stays until then. */
        if (queued->answered &&
            (queued->executed || queued->life != rig->life || queued->answer_ms != UINT64_MAX)) {
            memmove(&node->queue[i], &node->queue[i + 1],
                    (--node->queued - i) * sizeof(node->queue[0]));
            free(queued);
        } else {
            i++;
        }
    }
}

/* ---- events ---- */

static void rig_announced(void *self, const struct pawl_engine_reply *reply, uint64_t sent_ms,
                          uint64_t now_ms)
{
    (void)self;
    (void)reply;
    assert_true(sent_ms <= now_ms);
}

static void rig_seen(void *self, const struct pawl_member_seen *seen)
{
    (void)self;
    assert_memory_equal(seen->info.version.data, "test", 4);
}

static void rig_expelled(void *self)
{
    ((struct rig_member *)self)->expelled++;
}

static void rig_adopted(void *self, const struct pawl_view *view, uint64_t now_ms)
{
    (void)view;
    (void)now_ms;
    ((struct rig_member *)self)->adopted++;
}

static void rig_tenure(void *self, uint64_t until_ms)
{
    ((struct rig_member *)self)->tenure_ms = until_ms;
}

static void rig_push(void *self, struct pawl_bytes sealed)
{
    struct rig_member *from = self;

    from->pushes++;
    for (unsigned i = 0; i < RIG_MAX; i++) {
        struct rig_member *to = &from->rig->nodes[i];

        if (to != from && to->exists && !to->stopped && !from->rig->no_push) {
            assert_int_equal(pawl_members_learn(&to->members, sealed, from->rig->now_ms), PAWL_OK);
        }
    }
}

static void rig_done(void *self)
{
    ((struct rig_member *)self)->done++;
}

/* ---- the rig ---- */

static struct rig *rig_create(void)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    rig->now_ms = 100000;
    rig->life = 1;
    rig->random = 88172645463325252u;
    return rig;
}

/* It is gone without a word; the next rig_start() there is somebody else. */
static void rig_kill(struct rig *rig, unsigned index)
{
    struct rig_member *node = &rig->nodes[index];
    unsigned lives = node->lives;

    for (unsigned i = 0; i < node->queued; i++) {
        free(node->queue[i]);
    }
    memset(node, 0, sizeof(*node));
    node->lives = lives;
}

static void rig_destroy(struct rig *rig)
{
    for (unsigned i = 0; i < RIG_MAX; i++) {
        rig_kill(rig, i);
    }
    free(rig);
}

static void rig_start(struct rig *rig, unsigned index)
{
    struct rig_member *node = &rig->nodes[index];
    char address[32];
    struct pawl_members_options options = {
        .out = { rig_emit, node },
        .events = { rig_announced, rig_seen, rig_expelled, rig_adopted, rig_tenure, rig_push,
                    rig_done, node },
        .self = rig_id(index),
        .keys = { { rig_key }, 1 },
        .version = pawl_bytes_of("test", 4),
        .seed = index * 7919 + 1,
    };

    options.self.bytes[8] = (uint8_t)node->lives++;
    (void)snprintf(address, sizeof(address), "tcp:host%u:1", index);
    options.address = pawl_bytes_of(address, strlen(address));
    node->rig = rig;
    node->index = index;
    node->exists = true;
    assert_int_equal(pawl_members_init(&node->members, &options), PAWL_OK);
    pawl_members_ready(&node->members, rig->now_ms);
}

/* Somebody's hand, or a disk, at the view in the engine. */
static void rig_garble(struct rig *rig)
{
    for (size_t i = 0; i < rig->engine.view_size; i += 7) {
        rig->engine.view[i] ^= (uint8_t)rig_random(rig) | 1;
    }
}

static bool rig_decides(const struct rig *rig, const struct rig_member *node)
{
    return node->exists && rig->now_ms < node->tenure_ms;
}

/*
 * Who acts on a view decides about the slots of all who are not in it: none of those may still act
 * on an older one. (One who joined and is not known yet to the others has only what was pulled.)
 */
static void rig_check(struct rig *rig)
{
    for (unsigned i = 0; i < RIG_MAX; i++) {
        for (unsigned k = 0; k < RIG_MAX; k++) {
            struct rig_member *successor = &rig->nodes[i];
            struct rig_member *owner = &rig->nodes[k];

            if (i != k && rig_decides(rig, successor) && rig_decides(rig, owner)) {
                const struct pawl_view *view = pawl_members_view(&successor->members);

                if (view->number > pawl_members_view(&owner->members)->number &&
                    pawl_view_find(view, &owner->members.options.self) == PAWL_RING_NOBODY) {
                    rig->overlaps++;
                }
            }
        }
    }
}

static void rig_connect(struct rig *rig, struct rig_member *node)
{
    bool reachable = !rig->down && !node->cut;
    struct pawl_epoch epoch = rig_epoch(rig);

    if (reachable && (!node->connected || !pawl_epoch_equal(node->members.epoch, epoch))) {
        node->connected = true;
        pawl_members_on_up(&node->members, &epoch, rig->now_ms);
    } else if (!reachable && node->connected) {
        node->connected = false;
        pawl_members_on_down(&node->members, rig->now_ms);
    }
}

static void rig_step(struct rig *rig)
{
    rig->now_ms++;
    if (!rig->down && rig->now_ms % RIG_COPY_MS == 0) {
        memmove(&rig->copies[1], &rig->copies[0], (RIG_COPIES - 1) * sizeof(rig->copies[0]));
        rig->copies[0] = rig->engine;
    }
    for (unsigned i = 0; i < RIG_MAX; i++) {
        struct rig_member *node = &rig->nodes[i];

        if (!node->exists) {
            continue;
        }
        rig_run_engine(rig, node);
        if (node->stopped) {
            continue;
        }
        rig_run_replies(rig, node);
        rig_connect(rig, node);
        if (rig->now_ms >= node->members.next_ms) {
            pawl_members_tick(&node->members, rig->now_ms);
        }
    }
    rig_check(rig);
}

static void rig_run(struct rig *rig, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        rig_step(rig);
    }
}

/* A new primary, with what the old one had @lost_ms ago. */
static void rig_fail_over(struct rig *rig, uint64_t lost_ms)
{
    rig->life++;
    rig->engine = rig->copies[lost_ms / RIG_COPY_MS];
    for (unsigned i = 0; i < RIG_COPIES; i++) {
        rig->copies[i] = rig->engine;
    }
}

/* ---- looks ---- */

static const struct pawl_view *rig_view(const struct rig *rig, unsigned index)
{
    return pawl_members_view(&rig->nodes[index].members);
}

static bool rig_has(const struct rig *rig, unsigned index, unsigned member)
{
    struct pawl_member_id id = rig_id(member);

    return pawl_view_find(rig_view(rig, index), &id) != PAWL_RING_NOBODY;
}

/* Those that run and are not cut off act on one view with exactly these members, and decide. */
static bool rig_agree(const struct rig *rig, unsigned count)
{
    const struct pawl_view *first = NULL;

    for (unsigned i = 0; i < RIG_MAX; i++) {
        const struct rig_member *node = &rig->nodes[i];

        if (!node->exists || node->stopped || node->cut || node->done > 0) {
            continue;
        }
        first = first == NULL ? rig_view(rig, i) : first;
        if (!pawl_view_equal(first, rig_view(rig, i)) || !rig_decides(rig, node)) {
            return false;
        }
    }
    return first != NULL && first->count == count;
}

/* Milliseconds until they agree; fails after @ms. */
static uint64_t rig_await(struct rig *rig, unsigned count, uint64_t ms)
{
    uint64_t begin_ms = rig->now_ms;

    while (!rig_agree(rig, count)) {
        if (rig->now_ms - begin_ms >= ms) {
            fail_msg("no view of %u after %llu ms", count, (unsigned long long)ms);
        }
        rig_step(rig);
    }
    return rig->now_ms - begin_ms;
}

static void rig_fleet(struct rig *rig, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        rig_start(rig, i);
    }
    (void)rig_await(rig, count, 10000);
}

#endif
