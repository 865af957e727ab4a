/*
 * Jobs of the dispatcher on the cluster's thread: each becomes a task, and ends once.
 */
#include "edge/cluster_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- tasks --------------------------------------------------------------------------------- */

static struct pawl_cluster_task *task_take(struct pawl_cluster *cluster, struct pawl_job *job)
{
    struct pawl_cluster_task *task = cluster->tasks_free;

    if (task != NULL) {
        cluster->tasks_free = task->next;
    } else {
        task = malloc(sizeof(*task));
        if (task == NULL) {
            return NULL;
        }
    }
    /* The outcome is large, and filled in by who uses it. */
    memset(task, 0, offsetof(struct pawl_cluster_task, outcome));
    task->cluster = cluster;
    task->job = job;
    task->previous = NULL;
    task->next = cluster->tasks;
    if (cluster->tasks != NULL) {
        cluster->tasks->previous = task;
    }
    cluster->tasks = task;
    return task;
}

static void task_give(struct pawl_cluster_task *task)
{
    struct pawl_cluster *cluster = task->cluster;

    if (task->keep != NULL) {
        task->keep->task = NULL;
        task->keep = NULL;
    }
    *(task->previous == NULL ? &cluster->tasks : &task->previous->next) = task->next;
    if (task->next != NULL) {
        task->next->previous = task->previous;
    }
    task->next = cluster->tasks_free;
    cluster->tasks_free = task;
}

void pawl_cluster_jobs_free(struct pawl_cluster *cluster)
{
    while (cluster->tasks_free != NULL) {
        struct pawl_cluster_task *task = cluster->tasks_free;

        cluster->tasks_free = task->next;
        free(task);
    }
}

void pawl_cluster_done(struct pawl_cluster *cluster, struct pawl_job *job, enum pawl_status status,
                       const char *why)
{
    job->status = status;
    if (status != PAWL_OK && why != NULL) {
        (void)pawl_error_set(&job->error, status, 0, "%s", why);
    }
    (void)atomic_fetch_sub(&cluster->jobs_out, 1);
    job->done(job);
}

void pawl_cluster_task_end(struct pawl_cluster_task *task, enum pawl_status status, const char *why)
{
    struct pawl_cluster *cluster = task->cluster;
    struct pawl_job *job = task->job;

    task_give(task);
    pawl_cluster_done(cluster, job, status, why);
}

enum pawl_ack pawl_cluster_ack_of(const struct pawl_cluster *cluster, enum pawl_ack asked,
                                  struct pawl_bytes ns)
{
    if (asked != PAWL_ACK_DEFAULT) {
        return asked;
    }
    for (unsigned i = 0; i < cluster->options.ack_count; i++) {
        if (strlen(cluster->acks[i].ns) == ns.size &&
            memcmp(cluster->acks[i].ns, ns.data, ns.size) == 0) {
            return cluster->acks[i].ack;
        }
    }
    if (cluster->options.ack != PAWL_ACK_DEFAULT) {
        return cluster->options.ack;
    }
    return cluster->node.replicas > 0 ? PAWL_ACK_QUORUM : PAWL_ACK_DURABLE;
}

uint64_t pawl_cluster_deadline_ms(struct pawl_cluster *cluster, const struct pawl_job *job)
{
    uint64_t now_ms = pawl_cluster_now_ms(cluster);
    uint64_t left_ms = PAWL_CLUSTER_FACT_MS;

    if (job->deadline_ms > now_ms) { /* and the answer needs time to get there */
        left_ms = job->deadline_ms - now_ms;
        left_ms = left_ms < PAWL_CLUSTER_DEADLINE_MS ? left_ms : PAWL_CLUSTER_DEADLINE_MS;
        left_ms -= left_ms / 10;
    }
    return now_ms + left_ms;
}

/* ---- facts --------------------------------------------------------------------------------- */

enum pawl_status pawl_cluster_add(struct pawl_cluster *cluster, struct pawl_fact *fact,
                                  enum pawl_ack ack, struct pawl_cluster_task *task,
                                  uint32_t *canceled)
{
    uint8_t bytes[PAWL_FACT_BYTES_MAX];
    size_t size = 0;
    uint64_t position = 0;
    bool confirm = pawl_acks_confirm(&cluster->node.acks, (enum pawl_ack_level)ack,
                                     cluster->options.journal.ops != NULL);

    fact->id = pawl_log_next_id(&cluster->node.log);
    enum pawl_status status = pawl_fact_encode(fact, bytes, sizeof(bytes), &size);

    if (status != PAWL_OK) {
        return status;
    }
    cluster->adding = task;
    status = pawl_log_add(&cluster->node.log, pawl_bytes_of(bytes, size), confirm,
                          pawl_cluster_now_ms(cluster), &position, canceled);
    cluster->adding = NULL;
    if (status == PAWL_OK && task != NULL) {
        task->wait.position = position;
        task->job->id = fact->id;
    }
    return status;
}

static void on_ack(struct pawl_ack_wait *wait, enum pawl_status status, const char *why)
{
    struct pawl_cluster_task *task = wait->owner;

    task->job->reached = (enum pawl_ack)wait->reached;
    pawl_cluster_task_end(task, status, why);
}

static const char nothing_to_cancel[] = "none of the ids names a token's fact that is held and "
                                        "counts in this namespace";

static void append(struct pawl_cluster *cluster, struct pawl_cluster_task *task)
{
    struct pawl_job *job = task->job;

    job->ack = pawl_cluster_ack_of(cluster, job->ack, job->fact.ns);
    task->wait.asked = (enum pawl_ack_level)job->ack;
    task->wait.deadline_ms = pawl_cluster_deadline_ms(cluster, job);
    task->wait.owner = task;
    task->wait.done = on_ack;
    enum pawl_status status = pawl_cluster_add(cluster, &job->fact, job->ack, task, &job->canceled);

    if (status != PAWL_OK) {
        pawl_cluster_task_end(task, status,
                              status == PAWL_EFULL
                                  ? "the log holds as many facts as revocations_max allows"
                                  : pawl_status_text(status));
        return;
    }
    if (job->kind == PAWL_JOB_CANCEL && job->canceled == 0) {
        /* Of another namespace, or no token's: the log does not count such a cancel, nor do the
         * others' logs. */
        pawl_cluster_task_end(task, PAWL_ENOENT, nothing_to_cancel);
        return;
    }
    pawl_acks_begin(&cluster->node.acks, &task->wait, pawl_cluster_now_ms(cluster));
}

/* Whether a cancel names anything that counts: else nothing is written. */
static bool names_something(struct pawl_cluster *cluster, const struct pawl_fact *cancel)
{
    for (size_t at = 0; at + PAWL_FACT_ID_BYTES <= cancel->cancels.size; at += PAWL_FACT_ID_BYTES) {
        struct pawl_fact_id id = pawl_fact_id_read(cancel->cancels.data + at);
        bool canceled = false;

        if (pawl_log_has(&cluster->node.log, &id, &canceled) && !canceled) {
            return true;
        }
    }
    return false;
}

static void cancel(struct pawl_cluster *cluster, struct pawl_cluster_task *task)
{
    struct pawl_job *job = task->job;

    job->canceled = 0;
    if (job->fact.kind != PAWL_FACT_CANCEL || !names_something(cluster, &job->fact)) {
        pawl_cluster_task_end(task, PAWL_ENOENT, nothing_to_cancel);
        return;
    }
    append(cluster, task);
}

static bool visit(void *self, const struct pawl_fact *fact)
{
    struct pawl_job *job = self;

    return job->follow.on_fact(job, fact);
}

static void follow(struct pawl_cluster *cluster, struct pawl_job *job)
{
    enum pawl_status status = PAWL_OK;

    if (job->follow.latest) {
        job->id = pawl_log_latest(&cluster->node.log);
    } else {
        status = pawl_log_follow(&cluster->node.log, &job->follow.after, visit, job, &job->more);
    }
    pawl_cluster_done(cluster, job, status, NULL);
}

/* ---- counters, saved before the answer ----------------------------------------------------- */

static const char not_saved[] = "the count could not be saved in the engine";

void pawl_cluster_saved(struct pawl_cluster *cluster, uint64_t ticket,
                        enum pawl_engine_result result)
{
    struct pawl_cluster_task *task = (struct pawl_cluster_task *)(uintptr_t)ticket;

    if (result != PAWL_ENGINE_WON) {
        pawl_cluster_task_end(task, PAWL_EUNAVAIL, not_saved);
    } else if (cluster->node.replicas == 0) {
        task->job->reached = PAWL_ACK_MEMORY;
        pawl_cluster_task_end(task, PAWL_OK, NULL);
    } else {
        pawl_node_wait(&cluster->node, ticket, pawl_cluster_now_ms(cluster));
    }
}

void pawl_cluster_waited(struct pawl_cluster *cluster, uint64_t ticket, bool enough)
{
    struct pawl_cluster_task *task = (struct pawl_cluster_task *)(uintptr_t)ticket;

    (void)cluster;
    task->job->reached = enough ? PAWL_ACK_QUORUM : PAWL_ACK_MEMORY;
    pawl_cluster_task_end(task, enough ? PAWL_OK : PAWL_EUNAVAIL,
                          enough ? NULL
                                 : "a majority of the engine's replicas did not confirm "
                                   "the count in time");
}

static void counter(struct pawl_cluster *cluster, struct pawl_cluster_task *task)
{
    struct pawl_id ids[PAWL_LIMITER_SLOTS_MAX];
    struct pawl_bytes run = task->job->record;
    struct pawl_bytes record;
    size_t count = 0;

    while (count < PAWL_LIMITER_SLOTS_MAX && pawl_slot_run_next(&run, &record)) {
        ids[count++] = pawl_limiter_record_id(record.data);
    }
    if (pawl_cluster_slots_save_now(&cluster->node.slots, ids, count, (uint64_t)(uintptr_t)task,
                                    pawl_cluster_now_ms(cluster)) != PAWL_OK) {
        pawl_cluster_task_end(task, PAWL_EUNAVAIL, not_saved);
    }
}

/* ---- what only a journal does -------------------------------------------------------------- */

static void on_below(struct pawl_cluster *cluster, struct pawl_cluster_post *post)
{
    struct pawl_cluster_task *task =
        (struct pawl_cluster_task *)(void *)((char *)post -
                                             offsetof(struct pawl_cluster_task, back));
    struct pawl_job *job = task->job;

    cluster->below_out--;
    job->error = task->below.error;
    job->reached = task->below.reached;
    job->thaw = task->below.thaw;
    pawl_cluster_task_end(task, task->below.status, NULL);
}

/* The journal's thread. */
static void on_below_done(struct pawl_job *below)
{
    struct pawl_cluster_task *task = below->owner;

    task->back.run = on_below;
    (void)pawl_cluster_post(task->cluster, &task->back);
}

static void pass_on(struct pawl_cluster *cluster, struct pawl_cluster_task *task)
{
    const struct pawl_store *journal = &cluster->options.journal;

    task->below = *task->job;
    task->below.owner = task;
    task->below.done = on_below_done;
    enum pawl_status status = journal->ops->submit(journal->self, &task->below);

    cluster->below_out += status == PAWL_OK ? 1 : 0;
    if (status != PAWL_OK) {
        pawl_cluster_task_end(task, status, pawl_status_text(status));
    }
}

/* The node has ended: what still waits for it is told so. */
void pawl_cluster_jobs_end(struct pawl_cluster *cluster)
{
    while (cluster->tasks != NULL) {
        pawl_cluster_task_end(cluster->tasks, PAWL_ECANCELED, "this node is stopping");
    }
}

/* ---- intake -------------------------------------------------------------------------------- */

static bool is_refused(struct pawl_cluster *cluster, struct pawl_job *job)
{
    bool durable = job->kind == PAWL_JOB_CANCEL || job->kind == PAWL_JOB_FAMILY ||
                   job->kind == PAWL_JOB_FOLLOW;

    if (durable && pawl_cluster_frozen(cluster)) {
        pawl_cluster_done(cluster, job, PAWL_EFROZEN,
                          "the journal of this node is frozen: pawlctl thaw ends it; ask another "
                          "node meanwhile");
        return true;
    }
    if (job->kind == PAWL_JOB_THAW && cluster->options.journal.ops == NULL) {
        pawl_cluster_done(cluster, job, PAWL_EINVAL,
                          "this node has no data_dir, so there is nothing to thaw");
        return true;
    }
    return false;
}

static void begin(struct pawl_cluster *cluster, struct pawl_cluster_task *task)
{
    switch (task->job->kind) {
    case PAWL_JOB_APPEND:
        append(cluster, task);
        break;
    case PAWL_JOB_CANCEL:
        cancel(cluster, task);
        break;
    case PAWL_JOB_FAMILY:
        pawl_cluster_family(cluster, task);
        break;
    case PAWL_JOB_COUNTER:
        counter(cluster, task);
        break;
    case PAWL_JOB_THAW:
    case PAWL_JOB_FLUSH:
        pass_on(cluster, task);
        break;
    default:
        pawl_cluster_task_end(task, PAWL_EINVAL, "no such job");
        break;
    }
}

void pawl_cluster_job(struct pawl_cluster *cluster, struct pawl_job *job)
{
    if (!job->has_now) {
        job->now = pawl_clock_read(cluster->options.clock);
    }
    if (is_refused(cluster, job)) {
        return;
    }
    if (job->kind == PAWL_JOB_FOLLOW) {
        follow(cluster, job);
        return;
    }
    if (job->kind == PAWL_JOB_FLUSH && cluster->options.journal.ops == NULL) {
        pawl_cluster_done(cluster, job, PAWL_OK, NULL);
        return;
    }
    struct pawl_cluster_task *task = task_take(cluster, job);

    if (task == NULL) {
        pawl_cluster_done(cluster, job, PAWL_ENOMEM, "no memory for a write");
        return;
    }
    begin(cluster, task);
}
