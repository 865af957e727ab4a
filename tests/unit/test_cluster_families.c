/*
 * Families in the engine: two nodes and a model of one engine that can forget its tail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cluster/families.h"

#define WAITING_MAX 256

struct row {
    struct pawl_id key;
    uint64_t version;
    uint8_t value[PAWL_FAMILY_SEALED_MAX];
    size_t size;
};

struct engine {
    struct row row; /* the one family of these tests */
    bool gate, write_lost, reply_lost, no_memory;
    struct pawl_epoch epoch;
    uint32_t replicas, held;
    unsigned sets, waits;
};

struct node {
    struct engine *engine;
    struct pawl_families families;
    struct pawl_engine_out out;
    struct pawl_engine_command queue[WAITING_MAX];
    uint8_t values[WAITING_MAX][PAWL_FAMILY_SEALED_MAX];
    unsigned count;
    unsigned forks;
};

struct call {
    struct pawl_family_call call;
    uint8_t next; /* the successor that it proposes */
    unsigned decided, ended;
    enum pawl_status status;
    char why[200];
    uint64_t saw_generation;
    bool retries; /* it is answered with what is there */
};

static const struct pawl_subkey key = { { 1, 2, 3 } };

static void *take(void *self, void *old, size_t size)
{
    (void)self;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}
static uint64_t key_lo = 7;
static const struct pawl_heap heap = { take, NULL };

static void emit(void *self, const struct pawl_engine_command *command)
{
    struct node *node = self;

    assert_true(node->count < WAITING_MAX);
    node->queue[node->count] = *command;
    if (command->verb == PAWL_ENGINE_FAMILY_SET) {
        memcpy(node->values[node->count], command->family.value.data, command->family.value.size);
        node->queue[node->count].family.value.data = node->values[node->count];
    }
    node->count++;
}

static void answer(struct engine *engine, const struct pawl_engine_command *command,
                   struct pawl_engine_reply *reply)
{
    struct row *row = &engine->row;

    reply->result = PAWL_ENGINE_WON;
    if (command->verb == PAWL_ENGINE_WAIT) {
        engine->waits++;
        reply->wait.replicas = engine->held;
        return;
    }
    if (command->verb == PAWL_ENGINE_FAMILY_SET) {
        bool closed = command->family.gated &&
                      (!engine->gate || !pawl_epoch_equal(command->family.epoch, engine->epoch));

        engine->sets++;
        if (engine->no_memory) {
            reply->result = PAWL_ENGINE_FAILED;
            return;
        }
        if (!closed && row->version == command->family.version) {
            assert_true(command->family.next > row->version);
            if (engine->write_lost) {
                engine->write_lost = false;
                reply->result = PAWL_ENGINE_UNKNOWN;
                return;
            }
            row->version = command->family.next;
            row->size = command->family.value.size;
            memcpy(row->value, command->family.value.data, row->size);
            if (engine->reply_lost) {
                engine->reply_lost = false;
                reply->result = PAWL_ENGINE_UNKNOWN;
            }
            return;
        }
        reply->result = PAWL_ENGINE_REFUSED;
        reply->family.closed = closed;
    }
    reply->family.version = row->version;
    reply->family.value = pawl_bytes_of(row->value, row->version == 0 ? 0 : row->size);
}

/* Answer the oldest @count commands. */
static void turn(struct node *node, unsigned count)
{
    for (; count > 0 && node->count > 0; count--) {
        struct pawl_engine_command command = node->queue[0];
        uint8_t value[PAWL_FAMILY_SEALED_MAX];
        struct pawl_engine_reply reply = { .verb = command.verb,
                                           .part = command.part,
                                           .tag = command.tag };

        memcpy(value, node->values[0], sizeof(value));
        command.family.value.data = command.verb == PAWL_ENGINE_FAMILY_SET ? value : NULL;
        node->count--;
        memmove(&node->queue[0], &node->queue[1], node->count * sizeof(node->queue[0]));
        memmove(&node->values[0], &node->values[1], node->count * sizeof(node->values[0]));
        for (unsigned i = 0; i < node->count; i++) {
            node->queue[i].family.value.data = node->values[i];
        }
        answer(node->engine, &command, &reply);
        pawl_families_on_reply(&node->families, &reply, 1000);
    }
}

static void turn_all(struct node *node)
{
    while (node->count > 0) {
        turn(node, 1);
    }
}

static void on_fork(void *self, const struct pawl_family *family)
{
    struct node *node = self;

    assert_int_equal(family->state, PAWL_FAMILY_REVOKED);
    node->forks++;
}

static void node_init(struct node *node, struct engine *engine)
{
    struct pawl_families_options options = { .keys = &key,
                                             .keys_count = 1,
                                             .heap = &heap,
                                             .out = &node->out,
                                             .command_ms = 500,
                                             .kept_max = 4,
                                             .on_fork = on_fork,
                                             .self = node };

    memset(node, 0, sizeof(*node));
    node->engine = engine;
    node->out = (struct pawl_engine_out){ emit, node };
    assert_int_equal(pawl_families_init(&node->families, &options), PAWL_OK);
    pawl_families_on_up(&node->families, engine->epoch, engine->replicas, 1000);
    assert_true(node->families.is_merged);
    pawl_families_set_gate(&node->families, engine->gate, 1000);
}

static void fail_over(struct engine *engine, struct node *node, uint8_t epoch)
{
    engine->epoch.bytes[0] = epoch;
    engine->gate = false;
    if (node != NULL) {
        pawl_families_on_down(&node->families, 1000);
        pawl_families_on_up(&node->families, engine->epoch, engine->replicas, 1000);
    }
}

static void make_first(struct pawl_family *family)
{
    struct pawl_family_open open = { .ns = pawl_bytes_of("ns", 2),
                                     .sid = pawl_bytes_of("sid", 3),
                                     .scope = PAWL_SCOPE_TOKEN,
                                     .value = pawl_bytes_of("0", 1),
                                     .iat_s = 1000,
                                     .exp_s = 2000 };

    assert_int_equal(pawl_family_init(family, &open, (struct pawl_stamp){ 1000000000 }, NULL),
                     PAWL_OK);
}

/* Each call is a rotation to its own successor, or the opening. */
static enum pawl_status decide(struct pawl_family_call *shared, const struct pawl_family *old,
                               struct pawl_family *fresh, uint64_t *until_s,
                               enum pawl_family_verdict *verdict)
{
    struct call *call = shared->owner;

    call->decided++;
    *until_s = 9999;
    *verdict = PAWL_FAMILY_WRITE;
    if (old == NULL) {
        make_first(fresh);
        return PAWL_OK;
    }
    call->saw_generation = old->generation;
    if (call->retries) {
        *verdict = PAWL_FAMILY_CONFIRM;
        return PAWL_OK;
    }
    *fresh = *old;
    fresh->generation++;
    fresh->prev = fresh->cur;
    fresh->cur.value.data[0] = call->next;
    memmove(&fresh->jtis[1], &fresh->jtis[0], (PAWL_FAMILY_JTIS - 1) * sizeof(fresh->jtis[0]));
    fresh->jtis[0] = pawl_family_jti(PAWL_SCOPE_TOKEN, pawl_name_bytes(&fresh->cur.value));
    fresh->jtis_count =
        (uint8_t)(fresh->jtis_count < PAWL_FAMILY_JTIS ? fresh->jtis_count + 1 : PAWL_FAMILY_JTIS);
    return PAWL_OK;
}

static void done(struct pawl_family_call *shared, enum pawl_status status, const char *why)
{
    struct call *call = shared->owner;

    call->ended++;
    call->status = status;
    (void)snprintf(call->why, sizeof(call->why), "%s", why == NULL ? "" : why);
}

static void start_as(struct node *node, struct call *call, uint8_t next, bool retries)
{
    memset(call, 0, sizeof(*call));
    call->next = next;
    call->retries = retries;
    call->call = (struct pawl_family_call){
        .key = { key_lo, 8 }, .deadline_ms = 2000, .decide = decide, .done = done, .owner = call
    };
    pawl_families_start(&node->families, &call->call, 1000);
}

static void start(struct node *node, struct call *call, uint8_t next)
{
    start_as(node, call, next, false);
}

struct rig {
    struct engine engine;
    struct node a, b;
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    rig->engine.epoch.bytes[0] = 1;
    rig->engine.gate = true;
    node_init(&rig->a, &rig->engine);
    node_init(&rig->b, &rig->engine);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    pawl_families_deinit(&rig->a.families);
    pawl_families_deinit(&rig->b.families);
    free(rig);
    return 0;
}

static void open_family(struct rig *rig)
{
    struct call call;

    start(&rig->a, &call, '0');
    turn_all(&rig->a);
    assert_int_equal(call.ended, 1);
    assert_int_equal(call.status, PAWL_OK);
}

static void of_two_nodes_that_decide_at_once_one_decides_again(void **state)
{
    struct rig *rig = *state;
    struct call a, b;

    open_family(rig);
    start(&rig->a, &a, 'a');
    start(&rig->b, &b, 'b');
    turn(&rig->a, 1); /* both have read generation 0 */
    turn(&rig->b, 1);
    turn_all(&rig->a);
    turn_all(&rig->b);
    assert_int_equal(a.status, PAWL_OK);
    assert_int_equal(b.status, PAWL_OK);
    assert_int_equal(a.decided, 1);
    assert_int_equal(b.decided, 2);
    assert_int_equal(b.saw_generation, 1);
    assert_int_equal(rig->b.families.stats.raced, 1);
}

static void a_write_whose_reply_is_lost_is_recognised(void **state)
{
    struct rig *rig = *state;
    struct call call;

    open_family(rig);
    rig->engine.reply_lost = true;
    start(&rig->a, &call, 'a');
    turn_all(&rig->a);
    assert_int_equal(call.status, PAWL_OK);
    assert_int_equal(call.decided, 1);
    assert_int_equal(rig->engine.row.version, 2);
}

static void a_write_that_was_lost_is_made_again(void **state)
{
    struct rig *rig = *state;
    struct call call;

    open_family(rig);
    rig->engine.write_lost = true;
    start(&rig->a, &call, 'a');
    turn_all(&rig->a);
    assert_int_equal(call.status, PAWL_OK);
    assert_int_equal(call.decided, 2);
    assert_int_equal(rig->engine.row.version, 2);
}

static void nothing_commits_while_the_gate_is_closed(void **state)
{
    struct rig *rig = *state;
    struct call call;

    open_family(rig);
    fail_over(&rig->engine, &rig->a, 2);
    turn_all(&rig->a);
    start(&rig->a, &call, 'a');
    turn_all(&rig->a);
    assert_int_equal(call.ended, 0);
    pawl_families_set_gate(&rig->a.families, true, 1000); /* this node believes it is open */
    turn_all(&rig->a);
    assert_int_equal(call.ended, 0);
    assert_int_equal(rig->engine.row.version, 1);
    rig->engine.gate = true;
    pawl_families_set_gate(&rig->a.families, true, 1000);
    turn_all(&rig->a);
    assert_int_equal(call.status, PAWL_OK);
}

static void what_waits_for_the_gate_ends_at_its_deadline_and_says_why(void **state)
{
    struct rig *rig = *state;
    struct call call;

    fail_over(&rig->engine, &rig->a, 2);
    start(&rig->a, &call, 'a');
    pawl_families_tick(&rig->a.families, 1999);
    assert_int_equal(call.ended, 0);
    pawl_families_tick(&rig->a.families, 2020);
    assert_int_equal(call.ended, 1);
    assert_int_equal(call.status, PAWL_EUNAVAIL);
    assert_non_null(strstr(call.why, "failover"));
}

static void too_few_replicas_are_no_acknowledgement(void **state)
{
    struct rig *rig = *state;
    struct call call;

    open_family(rig);
    pawl_families_set_replicas(&rig->a.families, 2);
    rig->engine.held = 0;
    start(&rig->a, &call, 'a');
    turn_all(&rig->a);
    assert_int_equal(call.ended, 0); /* it is asked again, until the deadline */
    pawl_families_tick(&rig->a.families, 1100);
    turn_all(&rig->a);
    assert_int_equal(rig->engine.waits, 2);
    pawl_families_tick(&rig->a.families, 2000);
    turn_all(&rig->a);
    assert_int_equal(call.ended, 1);
    assert_int_equal(call.status, PAWL_EUNAVAIL);
    assert_true(call.call.written);
    rig->engine.held = 1; /* and the primary: two of three */
    start(&rig->a, &call, 'b');
    turn_all(&rig->a);
    assert_int_equal(call.status, PAWL_OK);
    assert_int_equal(call.call.replicas, 1);
}

/* Rotated, and no replica had it; its retry at another node hands out what is there. */
static void a_retry_is_answered_when_a_majority_has_what_it_hands_out(void **state)
{
    struct rig *rig = *state;
    uint64_t version;
    struct call call;

    open_family(rig);
    pawl_families_set_replicas(&rig->a.families, 2);
    pawl_families_set_replicas(&rig->b.families, 2);
    rig->engine.held = 0;
    start(&rig->a, &call, 'a');
    turn_all(&rig->a);
    pawl_families_tick(&rig->a.families, 2000);
    turn_all(&rig->a);
    assert_int_equal(call.status, PAWL_EUNAVAIL);
    version = rig->engine.row.version;
    start_as(&rig->b, &call, 'a', true);
    turn_all(&rig->b);
    assert_int_equal(call.ended, 0);
    assert_int_equal(rig->engine.row.version, version + 1);
    rig->engine.held = 1;
    pawl_families_tick(&rig->b.families, 1100);
    turn_all(&rig->b);
    assert_int_equal(call.status, PAWL_OK);
    assert_int_equal(call.decided, 1);
    assert_int_equal(call.saw_generation, 1);
    assert_true(call.call.written);
    assert_int_equal(call.call.replicas, 1);
    /* And the second node keeps it for the next failover, too. */
    assert_int_equal(rig->b.families.stats.kept, 1);
}

static void writes_that_wait_together_cost_one_wait(void **state)
{
    struct rig *rig = *state;
    struct call calls[3];

    open_family(rig);
    pawl_families_set_replicas(&rig->a.families, 1);
    rig->engine.held = 1;
    for (int i = 0; i < 3; i++) {
        start(&rig->a, &calls[i], (uint8_t)('a' + i));
    }
    turn_all(&rig->a);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(calls[i].status, PAWL_OK);
    }
    assert_in_range(rig->engine.waits, 1, 3);
}

static void a_lost_tail_is_said_again_before_the_node_is_ready(void **state)
{
    struct rig *rig = *state;
    struct row before;
    struct call call;

    open_family(rig);
    before = rig->engine.row;
    start(&rig->a, &call, 'a');
    turn_all(&rig->a);
    rig->engine.row = before; /* the promoted replica has not got the rotation */
    fail_over(&rig->engine, &rig->a, 2);
    assert_false(rig->a.families.is_merged);
    turn_all(&rig->a);
    assert_true(rig->a.families.is_merged);
    assert_int_equal(rig->a.families.stats.reasserted, 1);
    rig->engine.gate = true;
    fail_over(&rig->engine, NULL, 2);
    rig->engine.gate = true;
    fail_over(&rig->engine, &rig->b, 2);
    turn_all(&rig->b);
    rig->engine.gate = true;
    pawl_families_set_gate(&rig->b.families, true, 1000);
    start(&rig->b, &call, 'b');
    turn_all(&rig->b);
    assert_int_equal(call.status, PAWL_OK);
    assert_int_equal(call.saw_generation, 1);
}

static void an_engine_that_forgot_all_gets_back_what_was_written_lately(void **state)
{
    struct rig *rig = *state;

    open_family(rig);
    memset(&rig->engine.row, 0, sizeof(rig->engine.row));
    fail_over(&rig->engine, &rig->a, 2);
    turn_all(&rig->a);
    assert_true(rig->engine.row.version > 0);
}

static void an_engine_that_was_emptied_in_its_epoch_gets_back_the_same(void **state)
{
    struct rig *rig = *state;

    open_family(rig);
    memset(&rig->engine.row, 0, sizeof(rig->engine.row));
    pawl_families_emptied(&rig->a.families, 1000);
    turn_all(&rig->a);
    assert_true(rig->a.families.is_merged);
    assert_true(rig->engine.row.version > 0);
}

/* What was read before says nothing about what is there now. */
static void a_join_under_way_when_the_engine_is_emptied_is_begun_anew(void **state)
{
    struct rig *rig = *state;
    struct row before;

    open_family(rig);
    before = rig->engine.row;
    pawl_families_emptied(&rig->a.families, 1000);
    assert_int_equal(rig->a.count, 1); /* it is being read ... */
    struct pawl_engine_reply reply = { .verb = PAWL_ENGINE_FAMILY_GET,
                                       .part = PAWL_PART_FAMILY,
                                       .tag = rig->a.queue[0].tag,
                                       .result = PAWL_ENGINE_WON,
                                       .family = { .version = before.version,
                                                   .value = { before.value, before.size } } };

    rig->a.count = 0;
    memset(&rig->engine.row, 0, sizeof(rig->engine.row));
    pawl_families_emptied(&rig->a.families, 1000); /* ... was read, and is gone */
    pawl_families_on_reply(&rig->a.families, &reply, 1000);
    assert_false(rig->a.families.is_merged);
    pawl_families_tick(&rig->a.families, 2000);
    turn_all(&rig->a);
    assert_true(rig->a.families.is_merged);
    assert_true(rig->engine.row.version > 0);
}

static void two_winners_of_one_generation_are_a_fork_and_end_the_family(void **state)
{
    struct rig *rig = *state;
    struct row before;
    struct call call;

    open_family(rig);
    before = rig->engine.row;
    start(&rig->a, &call, 'a');
    turn_all(&rig->a);
    rig->engine.row = before;
    start(&rig->b, &call, 'b'); /* at the other side of a partition */
    turn_all(&rig->b);
    fail_over(&rig->engine, &rig->a, 2);
    turn_all(&rig->a);
    assert_int_equal(rig->a.forks, 1);
    assert_int_equal(rig->a.families.stats.forks, 1);
    fail_over(&rig->engine, &rig->b, 2);
    turn_all(&rig->b);
    assert_int_equal(rig->b.forks, 0); /* it is revoked there already */
}

static void a_record_with_a_wrong_seal_is_not_believed(void **state)
{
    struct rig *rig = *state;
    struct call call;

    open_family(rig);
    rig->engine.row.value[3] ^= 1;
    start(&rig->b, &call, 'b');
    turn_all(&rig->b);
    assert_int_equal(call.status, PAWL_EUNAVAIL);
    assert_int_equal(call.decided, 0);
    rig->engine.row.value[3] ^= 1;
    rig->engine.row.version++; /* moved to another version */
    start(&rig->b, &call, 'b');
    turn_all(&rig->b);
    assert_int_equal(call.status, PAWL_EUNAVAIL);
    assert_int_equal(rig->b.families.stats.bad_seals, 2);
}

static void an_engine_without_memory_is_an_answer_at_once(void **state)
{
    struct rig *rig = *state;
    struct call call;

    rig->engine.no_memory = true;
    start(&rig->a, &call, 'a');
    turn_all(&rig->a);
    assert_int_equal(call.status, PAWL_EUNAVAIL);
    assert_non_null(strstr(call.why, "refuses"));
}

static void records_are_kept_for_ten_minutes_and_so_many(void **state)
{
    struct rig *rig = *state;
    struct call call;

    for (unsigned i = 0; i < 6; i++) {
        memset(&rig->engine.row, 0, sizeof(rig->engine.row)); /* another family's place */
        key_lo = i;
        start(&rig->a, &call, 'a');
        turn_all(&rig->a);
    }
    key_lo = 7;
    assert_int_equal(rig->a.families.stats.kept_cut, 2);
    assert_int_equal(rig->a.families.stats.kept, 4);
    pawl_families_tick(&rig->a.families, 1000 + PAWL_FAMILIES_KEEP_MS);
    assert_int_equal(rig->a.families.stats.kept, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(of_two_nodes_that_decide_at_once_one_decides_again),
        T(a_write_whose_reply_is_lost_is_recognised),
        T(a_write_that_was_lost_is_made_again),
        T(nothing_commits_while_the_gate_is_closed),
        T(what_waits_for_the_gate_ends_at_its_deadline_and_says_why),
        T(too_few_replicas_are_no_acknowledgement),
        T(a_retry_is_answered_when_a_majority_has_what_it_hands_out),
        T(writes_that_wait_together_cost_one_wait),
        T(a_lost_tail_is_said_again_before_the_node_is_ready),
        T(an_engine_that_forgot_all_gets_back_what_was_written_lately),
        T(an_engine_that_was_emptied_in_its_epoch_gets_back_the_same),
        T(a_join_under_way_when_the_engine_is_emptied_is_begun_anew),
        T(two_winners_of_one_generation_are_a_fork_and_end_the_family),
        T(a_record_with_a_wrong_seal_is_not_believed),
        T(an_engine_without_memory_is_an_answer_at_once),
        T(records_are_kept_for_ten_minutes_and_so_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
