/*
 * The cluster's thread as a store, over an engine that lives in this process: one node, jobs of all
 * kinds, an engine that goes away and comes back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "adapter/sys/clock.h"
#include "adapter/sys/entropy.h"
#include "adapter/sys/memory.h"
#include "edge/cluster.h"

#define PATIENCE_MS   20000
#define COMMANDS_MAX  4096
#define LIMITER_BYTES ((size_t)8 << 20)
#define FACTS_MAX     4096

/* ---- an engine ----------------------------------------------------------------------------- */

struct held {
    struct pawl_engine_command command;
    uint8_t bytes[PAWL_LOG_ENTRY_MAX];
};

/* All of it on the cluster's thread, but for the switches. */
struct engine {
    struct pawl_engine_events events;
    const struct pawl_net *net;
    struct pawl_timer *timer;
    struct held *held;
    unsigned held_count;
    struct pawl_epoch epoch;
    _Atomic bool away;    /* commands are UNSENT */
    _Atomic bool no_gate; /* it never opens */
    _Atomic unsigned replicas;
    _Atomic unsigned confirmed; /* of them, that answer WAIT */
    bool up, gate;
    uint64_t top, mark;
    struct pawl_member_id self;
    uint8_t info[PAWL_MEMBER_INFO_MAX], view[PAWL_VIEW_BYTES_MAX];
    size_t info_size, view_size;
    uint64_t family_version;
    uint8_t family[PAWL_FAMILY_SEALED_MAX];
    size_t family_size;
    _Atomic unsigned appends;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

static void take_command(void *self, const struct pawl_engine_command *command)
{
    struct engine *engine = self;
    struct held *held = &engine->held[engine->held_count++];
    struct pawl_bytes bytes = { NULL, 0 };

    assert_true(engine->held_count < COMMANDS_MAX);
    held->command = *command;
    bytes = command->verb == PAWL_ENGINE_ANNOUNCE     ? command->announce.info
            : command->verb == PAWL_ENGINE_VIEW_SET   ? command->view_set.view
            : command->verb == PAWL_ENGINE_FAMILY_SET ? command->family.value
                                                      : bytes;
    assert_true(bytes.size <= sizeof(held->bytes));
    if (bytes.size > 0) {
        memcpy(held->bytes, bytes.data, bytes.size);
    }
    engine->net->ops->start(engine->timer, 1);
}

static void family_answer(struct engine *engine, struct held *held, struct pawl_engine_reply *reply)
{
    const struct pawl_engine_command *command = &held->command;

    if (command->verb == PAWL_ENGINE_FAMILY_SET) {
        if ((command->family.gated && !engine->gate) ||
            command->family.version != engine->family_version) {
            reply->result = PAWL_ENGINE_REFUSED;
            reply->family.closed = command->family.gated && !engine->gate;
        } else {
            engine->family_version = command->family.next;
            engine->family_size = command->family.value.size;
            memcpy(engine->family, held->bytes, engine->family_size);
            return;
        }
    }
    reply->family.version = engine->family_version;
    reply->family.value = pawl_bytes_of(engine->family, engine->family_size);
}

static void announce_answer(struct engine *engine, struct held *held,
                            struct pawl_engine_reply *reply, struct pawl_announced *member,
                            struct pawl_origin_top *top)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    engine->self = held->command.announce.self;
    engine->info_size = held->command.announce.info.size;
    memcpy(engine->info, held->bytes, engine->info_size);
    *member = (struct pawl_announced){ engine->self,
                                       ++engine->mark,
                                       { engine->info, engine->info_size } };
    memcpy(top->origin.bytes, engine->self.bytes, sizeof(top->origin.bytes));
    top->first = engine->top > 0 ? 1 : 0;
    top->top = engine->top;
    reply->announce.engine_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    reply->announce.replicas = atomic_load(&engine->replicas);
    reply->announce.view = pawl_bytes_of(engine->view, engine->view_size);
    reply->announce.members = member;
    reply->announce.member_count = 1;
    reply->announce.tops = top;
    reply->announce.top_count = 1;
    reply->announce.ready = &engine->self;
    reply->announce.ready_count = 1;
    if (engine->gate) {
        reply->announce.gate = engine->epoch;
    }
}

static void answer(struct engine *engine, struct held *held)
{
    struct pawl_engine_command *command = &held->command;
    struct pawl_engine_reply reply = {
        .verb = command->verb, .part = command->part, .tag = command->tag, .result = PAWL_ENGINE_WON
    };
    struct pawl_announced member;
    struct pawl_origin_top top;

    if (!engine->up) {
        reply.result = PAWL_ENGINE_UNSENT;
        engine->events.reply(engine->events.self, &reply);
        return;
    }
    switch (command->verb) {
    case PAWL_ENGINE_ANNOUNCE:
        announce_answer(engine, held, &reply, &member, &top);
        break;
    case PAWL_ENGINE_VIEW_SET:
        engine->view_size = command->view_set.view.size;
        memcpy(engine->view, held->bytes, engine->view_size);
        break;
    case PAWL_ENGINE_APPEND:
        engine->top = command->append.position;
        (void)atomic_fetch_add(&engine->appends, 1);
        break;
    case PAWL_ENGINE_GATE_OPEN:
        engine->gate = !atomic_load(&engine->no_gate);
        break;
    case PAWL_ENGINE_WAIT:
        reply.wait.replicas = atomic_load(&engine->confirmed);
        break;
    case PAWL_ENGINE_FAMILY_GET:
    case PAWL_ENGINE_FAMILY_SET:
        family_answer(engine, held, &reply);
        break;
    default: /* nothing is ever there */
        break;
    }
    engine->events.reply(engine->events.self, &reply);
}

static void run_engine(void *ctx)
{
    struct engine *engine = ctx;
    unsigned count = engine->held_count;
    struct pawl_engine_state state = { .epoch = engine->epoch,
                                       .replicas = atomic_load(&engine->replicas),
                                       .address = "here",
                                       .version = "model" };
    struct held *held = malloc((count + 1) * sizeof(*held));
    bool away = atomic_load(&engine->away);

    memcpy(held, engine->held, count * sizeof(*held));
    engine->held_count = 0;
    for (unsigned i = 0; i < count; i++) {
        answer(engine, &held[i]);
    }
    free(held);
    if (engine->closed != NULL) {
        void (*closed)(void *ctx) = engine->closed;

        if (engine->held_count == 0) {
            engine->closed = NULL;
            engine->net->ops->release(engine->timer);
            closed(engine->closed_ctx);
            return;
        }
    } else if (engine->up && away) {
        engine->up = false;
        engine->events.down(engine->events.self, "told so");
    } else if (!engine->up && !away) {
        engine->up = true;
        engine->events.up(engine->events.self, &state);
    }
    engine->net->ops->start(engine->timer, 5);
}

static void close_engine(void *self, void (*done)(void *ctx), void *ctx)
{
    struct engine *engine = self;

    engine->up = false;
    engine->closed = done;
    engine->closed_ctx = ctx;
    engine->net->ops->start(engine->timer, 1);
}

static void no_stats(void *self, const struct pawl_stats_sink *sink)
{
    (void)self;
    (void)sink;
}

static const struct pawl_engine_ops engine_ops = { take_command, no_stats, close_engine };

static enum pawl_status create_engine(void *ctx, const struct pawl_net *net,
                                      const struct pawl_engine_events *events,
                                      struct pawl_engine *out, struct pawl_error *error)
{
    struct engine *engine = ctx;

    (void)error;
    engine->net = net;
    engine->events = *events;
    engine->timer = net->ops->timer(net->self, run_engine, engine);
    assert_non_null(engine->timer);
    net->ops->start(engine->timer, 1);
    *out = (struct pawl_engine){ &engine_ops, engine };
    return PAWL_OK;
}

/* ---- a rig --------------------------------------------------------------------------------- */

struct rig {
    struct engine engine;
    struct pawl_sys_clock sys_clock;
    struct pawl_clock clock;
    struct pawl_entropy entropy;
    struct pawl_region limiter_region, facts_region;
    struct pawl_limiter limiter;
    struct pawl_revocations revocations;
    struct pawl_cluster *cluster;
    struct pawl_store store;
    _Atomic unsigned facts, cancels;
    _Atomic bool left;
};

static void no_log(void *self, enum pawl_log_level level, const char *event,
                   const struct pawl_field *fields, unsigned count)
{
    (void)self;
    (void)level;
    (void)event;
    (void)fields;
    (void)count;
}
static const struct pawl_log quiet = { no_log, NULL };
static const struct pawl_subkey key = { { 9, 9, 9 } };

static void on_fact(void *self, const struct pawl_fact *fact)
{
    struct rig *rig = self;

    (void)fact;
    (void)atomic_fetch_add(&rig->facts, 1);
}

static void on_cancel(void *self, const struct pawl_fact *canceled,
                      const struct pawl_fact *remaining)
{
    struct rig *rig = self;

    (void)canceled;
    (void)remaining;
    (void)atomic_fetch_add(&rig->cancels, 1);
}

static void make_tables(struct rig *rig)
{
    struct pawl_revocations_options revocations = { .max = FACTS_MAX, .generation = 1 };
    struct pawl_limiter_config limiter = { .memory_max = LIMITER_BYTES,
                                           .slots = &key,
                                           .persist = true };
    uint64_t size = pawl_revocations_size(FACTS_MAX);

    assert_int_equal(pawl_region_map(&rig->limiter_region, LIMITER_BYTES, NULL), PAWL_OK);
    limiter.region = rig->limiter_region.data;
    assert_int_equal(pawl_limiter_init(&rig->limiter, &limiter, NULL), PAWL_OK);
    assert_int_equal(pawl_region_map(&rig->facts_region, size, NULL), PAWL_OK);
    assert_int_equal(pawl_revocations_init(&rig->revocations, rig->facts_region.data, size,
                                           &revocations),
                     PAWL_OK);
    pawl_revocations_set_mode(&rig->revocations, PAWL_REVOCATIONS_LOADING);
}

static int make(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    rig->engine.held = calloc(COMMANDS_MAX, sizeof(*rig->engine.held));
    rig->engine.epoch.bytes[0] = 1;
    pawl_sys_clock_init(&rig->sys_clock, &rig->clock, NULL);
    pawl_sys_entropy_init(&rig->entropy);
    make_tables(rig);
    struct pawl_cluster_options options = {
        .maker = { create_engine, NULL, NULL, &rig->engine },
        .self = { { 1, 2, 3 } },
        .advertise = "tcp:127.0.0.1:1",
        .version = "test",
        .facts = &key,
        .limits = &key,
        .secrets_count = 1,
        .slots = &key,
        .limiter = &rig->limiter,
        .revocations = &rig->revocations,
        .birth = pawl_clock_read(&rig->clock).stamp,
        .events = { .on_fact = on_fact, .on_cancel = on_cancel, .self = rig },
        .staleness_max_ms = 5000,
        .max_lifetime_s = 3600,
        .command_ms = 500,
        .interval_ms = 100,
        .queue_max = 8,
        .clock = &rig->clock,
        .entropy = &rig->entropy,
        .log = &quiet,
    };

    assert_int_equal(pawl_cluster_create(&options, &rig->cluster, NULL), PAWL_OK);
    rig->store = pawl_cluster_store(rig->cluster);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;

    pawl_cluster_close(rig->cluster);
    pawl_cluster_destroy(rig->cluster);
    pawl_limiter_deinit(&rig->limiter);
    pawl_revocations_deinit(&rig->revocations);
    pawl_region_unmap(&rig->limiter_region);
    pawl_region_unmap(&rig->facts_region);
    free(rig->engine.held);
    free(rig);
    return 0;
}

static void nap(void)
{
    const struct timespec step = { .tv_nsec = 2000000 };

    (void)nanosleep(&step, NULL);
}

#define wait_until(condition)                  \
    do {                                       \
        for (int i_ = 0; !(condition); i_++) { \
            assert_true(i_ < PATIENCE_MS / 2); \
            nap();                             \
        }                                      \
    } while (0)

struct flagged {
    struct pawl_job job; /* first */
    _Atomic unsigned done;
    unsigned decided, followed;
    bool retries;
    struct pawl_family record;
};

static void on_done(struct pawl_job *job)
{
    struct flagged *flagged = job->owner;

    (void)atomic_fetch_add(&flagged->done, 1);
}

static enum pawl_status submit(struct rig *rig, struct flagged *flagged)
{
    flagged->job.owner = flagged;
    flagged->job.done = on_done;
    return rig->store.ops->submit(rig->store.self, &flagged->job);
}

/* Submit and wait for its end, which comes once. */
static void run_job(struct rig *rig, struct flagged *flagged)
{
    assert_int_equal(submit(rig, flagged), PAWL_OK);
    wait_until(atomic_load(&flagged->done) > 0);
    assert_int_equal(atomic_load(&flagged->done), 1);
}

static struct flagged revoke(struct rig *rig, const char *jti, enum pawl_ack ack)
{
    struct flagged flagged = { .job = { .kind = PAWL_JOB_APPEND, .ack = ack } };
    uint64_t now_s = (uint64_t)pawl_clock_read(&rig->clock).wall.unix_s;

    flagged.job.fact = (struct pawl_fact){ .kind = PAWL_FACT_REVOCATION,
                                           .scope = PAWL_SCOPE_TOKEN,
                                           .reason = PAWL_REASON_LOGOUT,
                                           .ns = pawl_bytes_of("ns", 2),
                                           .value = pawl_bytes_of(jti, strlen(jti)),
                                           .at_ms = now_s * 1000,
                                           .until_s = now_s + 600 };
    return flagged;
}

static void start(struct rig *rig)
{
    assert_int_equal(pawl_cluster_start(rig->cluster, NULL), PAWL_OK);
}

static void start_synced(struct rig *rig)
{
    start(rig);
    wait_until(pawl_revocations_get_mode(&rig->revocations.view) == PAWL_REVOCATIONS_SERVING);
}

static uint64_t now_ms(struct rig *rig)
{
    return pawl_clock_read(&rig->clock).instant.ns / 1000000;
}

/* ---- tests --------------------------------------------------------------------------------- */

static void tokens_are_not_judged_before_the_log_was_synced(void **state)
{
    struct rig *rig = *state;

    atomic_store(&rig->engine.away, true);
    start(rig);
    for (int i = 0; i < 50; i++) {
        nap();
    }
    assert_int_equal(pawl_revocations_get_mode(&rig->revocations.view), PAWL_REVOCATIONS_LOADING);
    atomic_store(&rig->engine.away, false);
    wait_until(pawl_revocations_get_mode(&rig->revocations.view) == PAWL_REVOCATIONS_SERVING);
    assert_true(pawl_revocations_staleness_ms(&rig->revocations.view, now_ms(rig)) < 5000);
}

static void a_fact_is_told_as_safe_as_it_is(void **state)
{
    struct rig *rig = *state;
    struct flagged alone = revoke(rig, "a", PAWL_ACK_QUORUM);
    struct flagged held = revoke(rig, "b", PAWL_ACK_QUORUM);
    struct flagged none = revoke(rig, "c", PAWL_ACK_DEFAULT);

    start_synced(rig);
    run_job(rig, &alone); /* no replicas, nobody else, no journal: the engine has it */
    assert_int_equal(alone.job.status, PAWL_OK);
    assert_int_equal(alone.job.reached, PAWL_ACK_MEMORY);
    assert_int_equal(alone.job.id.sequence, 1);
    atomic_store(&rig->engine.replicas, 2);
    atomic_store(&rig->engine.confirmed, 1);
    for (int i = 0; i < 800; i++) { /* the next announcement tells of the replicas */
        nap();
    }
    run_job(rig, &held);
    assert_int_equal(held.job.reached, PAWL_ACK_QUORUM);
    run_job(rig, &none);
    assert_int_equal(none.job.ack, PAWL_ACK_QUORUM); /* the default where there are replicas */
    assert_int_equal(atomic_load(&rig->facts), 3);
}

static void without_engine_and_journal_nothing_is_acknowledged_but_it_acts_and_is_sent(void **state)
{
    struct rig *rig = *state;
    struct flagged flagged = revoke(rig, "a", PAWL_ACK_DURABLE);

    atomic_store(&rig->engine.away, true);
    start(rig);
    flagged.job.deadline_ms = now_ms(rig) + 200;
    run_job(rig, &flagged);
    assert_int_equal(flagged.job.status, PAWL_EUNAVAIL);
    assert_non_null(strstr(flagged.job.error.text, "data_dir"));
    assert_int_equal(atomic_load(&rig->facts), 1);
    atomic_store(&rig->engine.away, false);
    wait_until(atomic_load(&rig->engine.appends) > 0);
}

static void a_cancel_of_nothing_is_not_found_and_of_something_counts(void **state)
{
    struct rig *rig = *state;
    struct flagged fact = revoke(rig, "a", PAWL_ACK_MEMORY);
    struct flagged cancel = { .job = { .kind = PAWL_JOB_CANCEL, .ack = PAWL_ACK_MEMORY } };
    struct flagged again, foreign;
    uint8_t id[PAWL_FACT_ID_BYTES] = { 7 };

    start_synced(rig);
    cancel.job.fact = (struct pawl_fact){ .kind = PAWL_FACT_CANCEL,
                                          .ns = pawl_bytes_of("ns", 2),
                                          .at_ms = 1,
                                          .until_s = fact.job.fact.until_s,
                                          .cancels = pawl_bytes_of(id, sizeof(id)) };
    again = cancel;
    run_job(rig, &cancel);
    assert_int_equal(cancel.job.status, PAWL_ENOENT);
    run_job(rig, &fact);
    pawl_fact_id_write(id, &fact.job.id);
    foreign = again;
    foreign.job.fact.ns = pawl_bytes_of("another", 7);
    run_job(rig, &foreign); /* an id is easily guessed */
    assert_int_equal(foreign.job.status, PAWL_ENOENT);
    assert_int_equal(atomic_load(&rig->cancels), 0);
    run_job(rig, &again);
    assert_int_equal(again.job.status, PAWL_OK);
    assert_int_equal(again.job.canceled, 1);
    assert_int_equal(atomic_load(&rig->cancels), 1);
}

static bool count_fact(struct pawl_job *job, const struct pawl_fact *fact)
{
    struct flagged *flagged = job->owner;

    assert_int_equal(fact->id.sequence, flagged->followed + 1);
    return ++flagged->followed < 3;
}

static void followers_get_facts_in_order_and_hear_of_more(void **state)
{
    struct rig *rig = *state;
    struct flagged follow = { .job = { .kind = PAWL_JOB_FOLLOW } };
    struct flagged unknown = { .job = { .kind = PAWL_JOB_FOLLOW } };

    start_synced(rig);
    for (int i = 0; i < 5; i++) {
        char jti[2] = { (char)('a' + i), '\0' };
        struct flagged fact = revoke(rig, jti, PAWL_ACK_MEMORY);

        run_job(rig, &fact);
    }
    follow.job.follow.on_fact = count_fact;
    run_job(rig, &follow);
    assert_int_equal(follow.job.status, PAWL_OK);
    assert_true(follow.job.more);
    unknown.job.follow.on_fact = count_fact;
    unknown.job.follow.after.sequence = 77;
    run_job(rig, &unknown);
    assert_int_equal(unknown.job.status, PAWL_ENOENT);
}

static void decide_open(struct pawl_job *job, const struct pawl_family *old, struct pawl_now now,
                        struct pawl_family_outcome *outcome)
{
    struct flagged *flagged = job->owner;

    (void)now;
    flagged->decided++;
    outcome->fact_count = 0;
    outcome->write = old == NULL;
    outcome->confirm = flagged->retries;
    outcome->record = flagged->record;
}

static void decide_logout(struct pawl_job *job, const struct pawl_family *old, struct pawl_now now,
                          struct pawl_family_outcome *outcome)
{
    struct flagged *flagged = job->owner;

    (void)now;
    (void)old;
    flagged->decided++;
    outcome->write = false;
    outcome->fact_count = 1;
    outcome->facts[0] = job->fact;
}

static void a_family_is_written_once_and_found_again(void **state)
{
    struct rig *rig = *state;
    struct pawl_family_open open = { .ns = pawl_bytes_of("ns", 2),
                                     .sid = pawl_bytes_of("sid", 3),
                                     .scope = PAWL_SCOPE_TOKEN,
                                     .value = pawl_bytes_of("j0", 2),
                                     .iat_s = 1000,
                                     .exp_s = INT64_C(4000000000) };
    struct flagged *first = calloc(1, sizeof(*first));
    struct flagged *second = calloc(1, sizeof(*second));

    first->job = (struct pawl_job){ .kind = PAWL_JOB_FAMILY,
                                    .family = { 5, 6 },
                                    .decide = decide_open,
                                    .deadline_ms = now_ms(rig) + PATIENCE_MS };
    assert_int_equal(
        pawl_family_init(&first->record, &open, pawl_clock_read(&rig->clock).stamp, NULL), PAWL_OK);
    *second = *first;
    start_synced(rig);
    run_job(rig, first); /* waits for the gate, which opens with the first view */
    assert_int_equal(first->job.status, PAWL_OK);
    assert_int_equal(first->job.reached, PAWL_ACK_DURABLE);
    run_job(rig, second);
    assert_int_equal(second->job.status, PAWL_OK);
    assert_int_equal(rig->engine.family_version, 1);
    atomic_store(&second->done, 0);
    second->retries = true; /* what it hands out has to be safe again: it is written again */
    run_job(rig, second);
    assert_int_equal(second->job.status, PAWL_OK);
    assert_int_equal(rig->engine.family_version, 2);
    free(first);
    free(second);
}

static void a_logout_is_acknowledged_by_its_fact_while_the_gate_is_closed(void **state)
{
    struct rig *rig = *state;
    struct flagged *flagged = calloc(1, sizeof(*flagged));

    *flagged = revoke(rig, "sid", PAWL_ACK_DURABLE);
    flagged->job.kind = PAWL_JOB_FAMILY;
    flagged->job.fact.scope = PAWL_SCOPE_FAMILY;
    flagged->job.family = (struct pawl_id){ 5, 6 };
    flagged->job.decide = decide_logout;
    flagged->job.deadline_ms = now_ms(rig) + 300;
    atomic_store(&rig->engine.no_gate, true);
    start_synced(rig);
    run_job(rig, flagged);
    assert_int_equal(flagged->job.status, PAWL_OK);
    assert_int_equal(flagged->decided, 0); /* nobody could read the record */
    assert_int_equal(atomic_load(&rig->facts), 1);
    free(flagged);
}

static void a_full_queue_refuses_and_a_closed_one_too(void **state)
{
    struct rig *rig = *state;
    struct flagged jobs[9];
    struct flagged late = revoke(rig, "late", PAWL_ACK_DURABLE);

    atomic_store(&rig->engine.away, true);
    start(rig);
    for (unsigned i = 0; i < 9; i++) {
        jobs[i] = revoke(rig, "x", PAWL_ACK_DURABLE);
        jobs[i].job.deadline_ms = now_ms(rig) + 10000;
        assert_int_equal(submit(rig, &jobs[i]), i < 8 ? PAWL_OK : PAWL_EFULL);
    }
    pawl_cluster_close(rig->cluster);
    for (unsigned i = 0; i < 8; i++) { /* each ends, and once */
        assert_int_equal(atomic_load(&jobs[i].done), 1);
        assert_int_equal(jobs[i].job.status, PAWL_EUNAVAIL);
    }
    assert_int_equal(submit(rig, &late), PAWL_ECANCELED);
}

static void without_a_journal_there_is_nothing_to_thaw_or_to_flush(void **state)
{
    struct rig *rig = *state;
    struct flagged thaw = { .job = { .kind = PAWL_JOB_THAW } };
    struct flagged flush = { .job = { .kind = PAWL_JOB_FLUSH } };

    start_synced(rig);
    run_job(rig, &thaw);
    assert_int_equal(thaw.job.status, PAWL_EINVAL);
    run_job(rig, &flush);
    assert_int_equal(flush.job.status, PAWL_OK);
}

static void raise_flag(void *ctx)
{
    struct rig *rig = ctx;

    atomic_store(&rig->left, true);
}

static void who_is_alone_joins_leaves_and_says_so(void **state)
{
    struct rig *rig = *state;

    start_synced(rig);
    assert_true(pawl_cluster_wait_joined(rig->cluster, PATIENCE_MS));
    assert_true(atomic_load(&pawl_cluster_world(rig->cluster)->ownership.tenure_until_ms) >
                now_ms(rig));
    pawl_cluster_leave(rig->cluster, PATIENCE_MS, raise_flag, rig);
    wait_until(atomic_load(&rig->left));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, tear_down)
    const struct CMUnitTest tests[] = {
        T(tokens_are_not_judged_before_the_log_was_synced),
        T(a_fact_is_told_as_safe_as_it_is),
        T(without_engine_and_journal_nothing_is_acknowledged_but_it_acts_and_is_sent),
        T(a_cancel_of_nothing_is_not_found_and_of_something_counts),
        T(followers_get_facts_in_order_and_hear_of_more),
        T(a_family_is_written_once_and_found_again),
        T(a_logout_is_acknowledged_by_its_fact_while_the_gate_is_closed),
        T(a_full_queue_refuses_and_a_closed_one_too),
        T(without_a_journal_there_is_nothing_to_thaw_or_to_flush),
        T(who_is_alone_joins_leaves_and_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
