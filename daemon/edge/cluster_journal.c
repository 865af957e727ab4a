/*
 * The journal of a node: every fact goes there, in the order of arrival, a bounded number at once.
 */
#include "edge/cluster_inside.h"

#include <stdlib.h>
#include <string.h>

bool pawl_cluster_frozen(const struct pawl_cluster *cluster)
{
    const struct pawl_store *journal = &cluster->options.journal;

    return journal->ops != NULL && journal->ops->frozen(journal->self);
}

/* The journal has answered; on this thread again. */
static void on_kept(struct pawl_cluster *cluster, struct pawl_cluster_post *post)
{
    struct pawl_cluster_keep *keep = (struct pawl_cluster_keep *)(void *)post;
    struct pawl_job *job = keep->job;
    bool kept = job != NULL && job->status == PAWL_OK && job->reached >= PAWL_ACK_DURABLE;

    cluster->keeps_out--;
    pawl_cluster_count(kept ? &cluster->figures.journal_kept : &cluster->figures.journal_failed, 1);
    (void)atomic_fetch_sub(&cluster->figures.journal_waiting, 1);
    if (!kept) {
        pawl_log_event(cluster->options.log, PAWL_LOG_ERROR, "journal_refused",
                       PAWL_F_TEXT("why", job == NULL ? "out of memory"
                                          : job->error.text[0] != '\0'
                                              ? job->error.text
                                              : pawl_status_text(job->status)));
    }
    if (keep->task != NULL) {
        keep->task->keep = NULL;
        pawl_acks_journaled(&cluster->node.acks, &keep->task->wait, kept,
                            pawl_cluster_now_ms(cluster));
    }
    free(job);
    free(keep);
    pawl_cluster_journal_more(cluster);
}

static void come_back(struct pawl_cluster_keep *keep)
{
    keep->post.run = on_kept;
    (void)pawl_cluster_post(keep->cluster, &keep->post); /* which waits for all of them */
}

/* The journal's thread. */
static void on_done(struct pawl_job *job)
{
    come_back(job->owner);
}

static void submit(struct pawl_cluster *cluster, struct pawl_cluster_keep *keep)
{
    const struct pawl_store *journal = &cluster->options.journal;
    struct pawl_job *job = calloc(1, sizeof(*job));

    cluster->keeps_out++;
    keep->job = job;
    if (job == NULL) {
        come_back(keep);
        return;
    }
    job->kind = PAWL_JOB_KEEP;
    job->owner = keep;
    job->done = on_done;
    job->status = pawl_fact_decode(&job->fact, pawl_bytes_of(keep->bytes, keep->size));
    if (job->status == PAWL_OK) {
        enum pawl_status status = journal->ops->submit(journal->self, job);

        if (status == PAWL_OK) {
            return; /* the job is the journal's until it is done */
        }
        job->status = status;
    }
    come_back(keep);
}

void pawl_cluster_journal_more(struct pawl_cluster *cluster)
{
    while (cluster->keeps != NULL && cluster->keeps_out < PAWL_CLUSTER_JOURNAL_MAX) {
        struct pawl_cluster_keep *keep = cluster->keeps;

        cluster->keeps = keep->next;
        cluster->keeps_last = cluster->keeps == NULL ? NULL : cluster->keeps_last;
        submit(cluster, keep);
    }
}

void pawl_cluster_keep(struct pawl_cluster *cluster, struct pawl_bytes bytes,
                       struct pawl_cluster_task *task)
{
    struct pawl_cluster_keep *keep;

    if (cluster->options.journal.ops == NULL) {
        return;
    }
    keep = calloc(1, sizeof(*keep) + bytes.size);
    if (keep == NULL) {
        pawl_cluster_count(&cluster->figures.journal_failed, 1);
        return;
    }
    keep->cluster = cluster;
    keep->task = task;
    keep->size = bytes.size;
    memcpy(keep->bytes, bytes.data, bytes.size);
    *(cluster->keeps_last == NULL ? &cluster->keeps : &cluster->keeps_last->next) = keep;
    cluster->keeps_last = keep;
    (void)atomic_fetch_add(&cluster->figures.journal_waiting, 1);
    if (task != NULL) {
        task->keep = keep;
        task->wait.journaling = true;
    }
    pawl_cluster_journal_more(cluster);
}
