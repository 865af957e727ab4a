/* One node, wired: what one of its parts has to hear of another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cluster/node.h"

#define MEMORY_MAX (4u << 20)
#define QUEUE_MAX  512
#define ENGINE_MS  UINT64_C(1790000000000)

/* An engine as far as a node alone sees it: a view, a gate, who is ready, one family. */
struct engine {
    uint8_t view[PAWL_VIEW_BYTES_MAX];
    size_t view_size;
    uint64_t number;
    struct pawl_epoch epoch, gate;
    bool ready;
    uint64_t family_version;
    unsigned saves;
    uint32_t replicas;
    uint64_t fence; /* of all slots */
    struct pawl_engine_command queue[QUEUE_MAX];
    unsigned count;
};

static struct engine engine;
static struct pawl_node node;
static struct pawl_limiter limiter;
static struct pawl_ownership ownership;
static void *region;
static uint64_t now_ms;
static struct pawl_member_id self;
static const struct pawl_subkey facts = { { 1 } };
static const struct pawl_subkey limits = { { 2 } };
static const struct pawl_subkey slots = { { 3 } };

static void *take(void *ctx, void *old, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}

/* What the tests look at is carried out at once, in order, as it is on one connection. */
static void emit(void *ctx, const struct pawl_engine_command *command)
{
    (void)ctx;
    switch (command->verb) {
    case PAWL_ENGINE_VIEW_SET:
        if (command->view_set.number > engine.number) {
            engine.number = command->view_set.number;
            engine.view_size = command->view_set.view.size;
            memcpy(engine.view, command->view_set.view.data, engine.view_size);
        }
        break;
    case PAWL_ENGINE_GATE_READY:
        engine.ready = true;
        break;
    case PAWL_ENGINE_GATE_OPEN:
        engine.gate = command->gate.epoch;
        break;
    case PAWL_ENGINE_FAMILY_SET:
        if (engine.family_version == command->family.version) {
            engine.family_version = command->family.next;
        }
        break;
    case PAWL_ENGINE_SLOT_SAVE:
        engine.saves += command->slot.count > 0 ? 1 : 0;
        break;
    default:
        break;
    }
    assert_true(engine.count < QUEUE_MAX);
    engine.queue[engine.count++] = *command;
}

static void answer(const struct pawl_engine_command *command)
{
    struct pawl_engine_reply reply = {
        .verb = command->verb, .part = command->part, .tag = command->tag, .result = PAWL_ENGINE_WON
    };

    if (command->verb == PAWL_ENGINE_SLOT_SAVE && command->slot.view < engine.fence) {
        reply.result = PAWL_ENGINE_REFUSED;
        reply.slot.view = engine.fence;
    }
    if (command->verb == PAWL_ENGINE_ANNOUNCE) {
        reply.announce.engine_ms = ENGINE_MS + now_ms;
        reply.announce.view = pawl_bytes_of(engine.view, engine.view_size);
        reply.announce.gate = engine.gate;
        reply.announce.replicas = engine.replicas;
        reply.announce.ready = &self;
        reply.announce.ready_count = engine.ready ? 1 : 0;
    }
    pawl_node_on_reply(&node, &reply, now_ms);
}

static void run(uint64_t ms)
{
    for (uint64_t end_ms = now_ms + ms; now_ms < end_ms; now_ms += 10) {
        pawl_node_tick(&node, now_ms, 0);
        for (unsigned turns = 0; engine.count > 0 && turns < 10000; turns++) {
            struct pawl_engine_command command = engine.queue[0];

            engine.count--;
            memmove(&engine.queue[0], &engine.queue[1], engine.count * sizeof(engine.queue[0]));
            if (command.verb != PAWL_ENGINE_READ) { /* which blocks */
                answer(&command);
            }
        }
    }
}

/* ---- what the node tells: nobody listens ---- */

static void on_fact(void *ctx, const struct pawl_log_news *news)
{
    (void)ctx;
    (void)news;
}

static void on_cancel(void *ctx, const struct pawl_fact *canceled,
                      const struct pawl_fact *remaining)
{
    (void)ctx;
    (void)canceled;
    (void)remaining;
}

static void on_fork(void *ctx, const struct pawl_family *family)
{
    (void)ctx;
    (void)family;
}

static void on_view(void *ctx, const struct pawl_view *view)
{
    (void)ctx;
    (void)view;
}

static void on_ask(void *ctx, const struct pawl_slots_request *request)
{
    (void)ctx;
    (void)request;
}

static void on_changed(void *ctx)
{
    (void)ctx;
}

static void on_saved(void *ctx, uint64_t ticket, enum pawl_engine_result result)
{
    (void)ctx;
    (void)ticket;
    (void)result;
}

static void on_waited(void *ctx, uint64_t ticket, bool enough)
{
    (void)ctx;
    (void)ticket;
    (void)enough;
}

/* ---- a family, and a count ---- */

static enum pawl_status decide(struct pawl_family_call *call, const struct pawl_family *old,
                               struct pawl_family *fresh, uint64_t *until_s,
                               enum pawl_family_verdict *verdict)
{
    struct pawl_family_open open = { .ns = pawl_bytes_of("ns", 2),
                                     .sid = pawl_bytes_of("sid", 3),
                                     .scope = PAWL_SCOPE_TOKEN,
                                     .value = pawl_bytes_of("0", 1),
                                     .iat_s = 1000,
                                     .exp_s = 2000 };

    (void)call;
    assert_null(old);
    *until_s = 9999;
    *verdict = PAWL_FAMILY_WRITE;
    return pawl_family_init(fresh, &open, (struct pawl_stamp){ 1000000000 }, NULL);
}

static void done(struct pawl_family_call *call, enum pawl_status status, const char *why)
{
    (void)call;
    (void)why;
    assert_int_equal(status, PAWL_OK);
}

static void open_family(struct pawl_family_call *call)
{
    *call = (struct pawl_family_call){
        .key = { 7, 8 }, .deadline_ms = now_ms + 5000, .decide = decide, .done = done
    };
    pawl_families_start(&node.families, call, now_ms);
}

static void count_something(void)
{
    struct pawl_bytes part = pawl_bytes_of("key", 3);
    struct pawl_rate rate = { 10, 3600000, 0 };
    struct pawl_limit limit;
    struct pawl_limit_item item = { &limit, pawl_bytes_of("ns", 2), &part, 1, 1, NULL };
    struct pawl_limit_request request = {
        &item, 1, PAWL_MODE_ATOMIC, PAWL_OP_CHECK, { now_ms * 1000000 }, { 0 }
    };
    struct pawl_limit_outcome outcome;
    struct pawl_limit_result result;

    memset(&limit, 0, sizeof(limit));
    assert_int_equal(pawl_limit_init_inline(&limit, &limiter, &rate, 1, 0, NULL), PAWL_OK);
    assert_int_equal(pawl_limiter_check(&limiter, &request, &result, 1, &outcome), PAWL_OK);
}

/* ---- life ---- */

static int setup(void **state)
{
    struct pawl_limiter_config config = {
        .memory_max = MEMORY_MAX, .slots = &slots, .subkey = limits, .persist = true
    };
    struct pawl_node_options options = {
        .self = { { 5 } },
        .address = pawl_bytes_of("tcp:127.0.0.1:1", 15),
        .version = pawl_bytes_of("1", 1),
        .facts = &facts,
        .limits = &limits,
        .secrets_count = 1,
        .slots = &slots,
        .limiter = &limiter,
        .ownership = &ownership,
        .staleness_max_ms = 5000,
        .interval_ms = 100,
        .out = { emit, NULL },
        .heap = { take, NULL },
        .events = { .on_fact = on_fact,
                    .on_cancel = on_cancel,
                    .on_fork = on_fork,
                    .on_view = on_view,
                    .ask = on_ask,
                    .changed = on_changed,
                    .saved = on_saved,
                    .waited = on_waited },
    };

    (void)state;
    memset(&engine, 0, sizeof(engine));
    memset(&ownership, 0, sizeof(ownership));
    engine.epoch.bytes[0] = 1;
    now_ms = 100000;
    self = pawl_member_of(options.self);
    region = aligned_alloc(4096, MEMORY_MAX);
    assert_non_null(region);
    memset(region, 0, MEMORY_MAX);
    config.region = region;
    assert_int_equal(pawl_limiter_init(&limiter, &config, NULL), PAWL_OK);
    assert_int_equal(pawl_node_init(&node, &options, now_ms), PAWL_OK);
    pawl_node_on_up(&node, engine.epoch, 0, now_ms);
    run(6000);
    assert_true(pawl_epoch_equal(engine.gate, engine.epoch));
    return 0;
}

static int teardown(void **state)
{
    static const struct pawl_subkey nothing;

    (void)state;
    pawl_node_deinit(&node);
    assert_memory_equal(&node.slots_key, &nothing, sizeof(nothing)); /* secrets do not stay */
    assert_memory_equal(&node.members.options.keys.keys[0], &nothing, sizeof(nothing));
    free(region);
    return 0;
}

/* FLUSHALL: no run_id changes, so nothing but what is missing tells. */
static void an_engine_that_is_emptied_in_its_epoch_is_told_everything_again(void **state)
{
    struct pawl_family_call call;
    struct pawl_node_figures figures;

    (void)state;
    open_family(&call);
    count_something();
    run(1000);
    assert_true(engine.family_version > 0);
    assert_true(engine.saves > 0);
    engine.family_version = 0;
    engine.saves = 0;
    engine.ready = false;
    engine.number = 0;
    engine.view_size = 0;
    memset(&engine.gate, 0, sizeof(engine.gate));
    run(3000);
    assert_true(engine.number > 0);
    assert_true(engine.family_version > 0);
    assert_true(engine.saves > 0);
    assert_true(pawl_epoch_equal(engine.gate, engine.epoch));
    assert_true(node.families.gate_open);
    pawl_node_figures_get(&node, now_ms, &figures);
    assert_int_equal(figures.engine_emptied, 1);
    assert_int_equal(figures.epoch_changes, 1);
}

static unsigned ended;

static void count_end(struct pawl_family_call *call, enum pawl_status status, const char *why)
{
    (void)call;
    (void)status;
    (void)why;
    ended++;
}

/* A primary that is cut off goes on for a while, and its majority is not itself alone. */
static void replicas_that_vanish_are_counted_for_a_while(void **state)
{
    struct pawl_epoch epoch = { { 9 } };
    struct pawl_family_call call;

    (void)state;
    engine.replicas = 2;
    run(2000);
    engine.replicas = 0; /* and its WAIT finds none */
    run(2000);
    ended = 0;
    open_family(&call);
    call.done = count_end;
    run(4000);
    assert_true(engine.family_version > 0);
    assert_int_equal(ended, 0);
    run(2000);
    assert_int_equal(ended, 1); /* not acknowledged */
    assert_int_equal(node.replicas, 2);
    run(PAWL_NODE_REPLICAS_MS);
    assert_int_equal(node.replicas, 0);
    engine.replicas = 1;
    run(2000);
    assert_int_equal(node.replicas, 1);
    engine.epoch = epoch;
    pawl_node_on_up(&node, epoch, 0, now_ms); /* a replica that was promoted has none yet */
    assert_int_equal(node.replicas, 0);
}

/* The view's key was deleted while all nodes were down: numbers begin anew, fences do not. */
static void slots_that_were_saved_under_higher_numbers_are_had_again(void **state)
{
    struct pawl_node_figures figures;

    (void)state;
    engine.fence = engine.number + (UINT64_C(1000) << 16);
    count_something();
    run(3000);
    assert_true(engine.number > engine.fence);
    pawl_node_figures_get(&node, now_ms, &figures);
    assert_int_equal(figures.slots.held, PAWL_RING_SLOTS);
    uint64_t number = engine.number;

    engine.fence = UINT64_MAX - 1; /* no history comes to that: somebody's hand */
    count_something();
    run(3000);
    assert_int_equal(engine.number, number);
}

/* Clients that route know the subkey of slots: who can write to the engine, too, makes no view. */
static void a_view_is_sealed_with_what_no_client_has(void **state)
{
    static struct pawl_view view;
    struct pawl_bytes sealed;

    (void)state;
    run(100);
    sealed = pawl_bytes_of(engine.view, engine.view_size);
    struct pawl_subkey key = pawl_node_view_key(&facts, &slots);

    assert_int_equal(pawl_view_decode(&view, &key, sealed), PAWL_OK);
    assert_int_equal(pawl_view_decode(&view, &facts, sealed), PAWL_ECORRUPT);
    assert_int_equal(pawl_view_decode(&view, &slots, sealed), PAWL_ECORRUPT);
}

/* A write that met a closed gate is held until the gate is said to be open: it may have opened
 * before that was heard. */
static void families_go_on_after_a_gate_that_opened_unseen(void **state)
{
    (void)state;
    node.families.gate_open = false;
    run(1500);
    assert_true(node.families.gate_open);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_engine_that_is_emptied_in_its_epoch_is_told_everything_again),
        T(replicas_that_vanish_are_counted_for_a_while),
        T(slots_that_were_saved_under_higher_numbers_are_had_again),
        T(families_go_on_after_a_gate_that_opened_unseen),
        T(a_view_is_sealed_with_what_no_client_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
