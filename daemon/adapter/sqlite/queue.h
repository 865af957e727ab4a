/*
 * A bounded queue of jobs into one thread. Any thread pushes; one takes.
 */
#ifndef PAWL_ADAPTER_SQLITE_QUEUE_H
#define PAWL_ADAPTER_SQLITE_QUEUE_H

#include "port/store.h"

#include <pthread.h>

struct pawl_queue {
    /* private */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct pawl_job *head;
    struct pawl_job **tail;
    unsigned count;
    unsigned max;
    bool closing;
};

/** At most @max jobs wait. Must not move. */
void pawl_queue_init(struct pawl_queue *queue, unsigned max);
void pawl_queue_deinit(struct pawl_queue *queue);

/** PAWL_OK, PAWL_EFULL, PAWL_ECANCELED (closed). Never blocks for long. */
PAWL_MUST_USE enum pawl_status pawl_queue_push(struct pawl_queue *queue, struct pawl_job *job);

/** No more pushes; what waits is still taken. */
void pawl_queue_close(struct pawl_queue *queue);

/**
 * Take up to @max jobs in their order into @jobs, waiting at most @wait_ms for the first.
 * @closing  out: closed, and nothing is left behind what was taken.
 */
unsigned pawl_queue_take(struct pawl_queue *queue, struct pawl_job **jobs, unsigned max,
                         unsigned wait_ms, bool *closing);

/** Jobs that wait now. */
unsigned pawl_queue_depth(struct pawl_queue *queue);

#endif
