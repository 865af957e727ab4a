/*
 * Families: the dispatcher's decision in the compare-and-set loop of the engine.
 *
 * Facts of a decision go into the log before the record is written. That is safe: what makes a
 * decision emit one (a token came again, a log-out) stays true whatever version is there when the
 * write is compared. So a crash between the two forgets no revocation. A log-out brings its fact
 * along, and is acknowledged by it alone where the record cannot be written now.
 */
#include "edge/cluster_inside.h"

#include "core/rotation.h"

#include <stdio.h>

/* ---- the end of the two halves ------------------------------------------------------------- */

static void look_at(struct pawl_cluster_task *task)
{
    struct pawl_job *job = task->job;
    enum pawl_ack family = PAWL_ACK_DURABLE; /* in the engine, and kept here for the next epoch */
    bool logout = job->fact.kind != PAWL_FACT_NONE;

    if (task->fact_waits || task->family_waits) {
        return;
    }
    if (task->family.written && task->family.replicas > 0) {
        family = PAWL_ACK_QUORUM;
    }
    if (!task->facts_said) {
        job->reached = family;
        pawl_cluster_task_end(task, task->family_status, task->family_why);
        return;
    }
    job->reached = (enum pawl_ack)task->wait.reached;
    if (logout) {
        pawl_cluster_task_end(task, task->wait_status, task->wait_why);
        return;
    }
    job->reached = family < job->reached ? family : job->reached;
    pawl_cluster_task_end(task, task->family_status, task->family_why);
}

static void on_ack(struct pawl_ack_wait *wait, enum pawl_status status, const char *why)
{
    struct pawl_cluster_task *task = wait->owner;

    task->fact_waits = false;
    task->wait_status = status;
    task->wait_why = why;
    look_at(task);
}

static void on_family(struct pawl_family_call *call, enum pawl_status status, const char *why)
{
    struct pawl_cluster_task *task = call->owner;

    task->family_waits = false;
    task->family_status = status;
    task->family_why = why;
    look_at(task);
}

/* ---- facts of a decision ------------------------------------------------------------------- */

/* Into the log; what is waited for is the last one, for the log keeps their order. */
static enum pawl_status say_facts(struct pawl_cluster_task *task, struct pawl_fact *facts,
                                  unsigned count)
{
    struct pawl_cluster *cluster = task->cluster;
    struct pawl_job *job = task->job;
    uint64_t now_ms = pawl_cluster_now_ms(cluster);

    if (count == 0 || task->facts_said) {
        return PAWL_OK;
    }
    job->ack = pawl_cluster_ack_of(cluster, job->ack, facts[0].ns);
    for (unsigned i = 0; i < count; i++) {
        enum pawl_status status =
            pawl_cluster_add(cluster, &facts[i], job->ack, i + 1 == count ? task : NULL, NULL);

        if (status != PAWL_OK) {
            return status;
        }
    }
    task->facts_said = true;
    task->fact_waits = true;
    task->wait.asked = (enum pawl_ack_level)job->ack;
    task->wait.deadline_ms = pawl_cluster_deadline_ms(cluster, job);
    task->wait.owner = task;
    task->wait.done = on_ack;
    pawl_acks_begin(&cluster->node.acks, &task->wait, now_ms);
    return PAWL_OK;
}

/* ---- the decision -------------------------------------------------------------------------- */

static uint64_t until_of(const struct pawl_cluster *cluster, const struct pawl_family *family)
{
    int64_t until_s =
        family->cur.exp_s > family->prev.exp_s ? family->cur.exp_s : family->prev.exp_s;
    uint64_t keep_s = cluster->options.max_lifetime_s;

    until_s = until_s > 0 ? until_s : 0;
    return (uint64_t)until_s > INT64_MAX - keep_s ? INT64_MAX : (uint64_t)until_s + keep_s;
}

static enum pawl_status decide(struct pawl_family_call *call, const struct pawl_family *old,
                               struct pawl_family *fresh, uint64_t *until_s,
                               enum pawl_family_verdict *verdict)
{
    struct pawl_cluster_task *task = call->owner;
    struct pawl_family_outcome *outcome = &task->outcome;
    struct pawl_job *job = task->job;

    outcome->write = outcome->confirm = false;
    outcome->fact_count = 0;
    if (!job->has_now) {
        job->now = pawl_clock_read(task->cluster->options.clock);
    }
    job->decide(job, old, job->now, outcome);
    if (outcome->write) {
        *verdict = PAWL_FAMILY_WRITE;
        *fresh = outcome->record;
        *until_s = until_of(task->cluster, fresh);
    } else if (outcome->confirm && old != NULL) {
        *verdict = PAWL_FAMILY_CONFIRM;
        *until_s = until_of(task->cluster, old);
    }
    if (outcome->fact_count > PAWL_JOB_FACTS_MAX) {
        return PAWL_EINVAL;
    }
    return say_facts(task, outcome->facts, outcome->fact_count);
}

void pawl_cluster_family(struct pawl_cluster *cluster, struct pawl_cluster_task *task)
{
    struct pawl_job *job = task->job;
    struct pawl_fact fact = job->fact;
    enum pawl_status status = PAWL_OK;

    task->family_waits = true;
    task->family = (struct pawl_family_call){
        .key = job->family,
        .deadline_ms = pawl_cluster_deadline_ms(cluster, job),
        .decide = decide,
        .done = on_family,
        .owner = task,
    };
    if (fact.kind != PAWL_FACT_NONE) {
        status = say_facts(task, &fact, 1);
    }
    if (status != PAWL_OK) {
        pawl_cluster_task_end(task, status, pawl_status_text(status));
        return;
    }
    pawl_families_start(&cluster->node.families, &task->family, pawl_cluster_now_ms(cluster));
}

/* Two winners of one generation met: the family is revoked, and its access tokens too. */
void pawl_cluster_fork(struct pawl_cluster *cluster, const struct pawl_family *family)
{
    struct pawl_now now = pawl_clock_read(cluster->options.clock);
    struct pawl_rotation_time time = { .wall = now.wall, .stamp = now.stamp };
    struct pawl_family *record = &cluster->forked;
    struct pawl_fact fact;

    *record = *family;
    (void)pawl_rotation_revoke(record, PAWL_REASON_FORK, pawl_bytes_of(NULL, 0), &time,
                               cluster->options.max_lifetime_s, &fact);
    pawl_log_event(cluster->options.log, PAWL_LOG_ERROR, "family_forked",
                   PAWL_F_U64("generation", family->generation),
                   PAWL_F_TEXT("why", "two nodes rotated one token at two sides of a failover; the "
                                      "family is revoked"));
    (void)pawl_cluster_add(cluster, &fact, PAWL_ACK_MEMORY, NULL, NULL);
}
