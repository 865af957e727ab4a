#include "adapter/sqlite/queue.h"

#include <time.h>

void pawl_queue_init(struct pawl_queue *queue, unsigned max)
{
    pthread_condattr_t attr;

    *queue = (struct pawl_queue){ .max = max };
    queue->tail = &queue->head;
    (void)pthread_mutex_init(&queue->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&queue->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
}

void pawl_queue_deinit(struct pawl_queue *queue)
{
    (void)pthread_cond_destroy(&queue->wake);
    (void)pthread_mutex_destroy(&queue->lock);
}

enum pawl_status pawl_queue_push(struct pawl_queue *queue, struct pawl_job *job)
{
    enum pawl_status status = PAWL_OK;

    (void)pthread_mutex_lock(&queue->lock);
    if (queue->closing) {
        status = PAWL_ECANCELED;
    } else if (queue->count >= queue->max) {
        status = PAWL_EFULL;
    } else {
        job->next = NULL;
        *queue->tail = job;
        queue->tail = &job->next;
        if (queue->count++ == 0) {
            (void)pthread_cond_signal(&queue->wake);
        }
    }
    (void)pthread_mutex_unlock(&queue->lock);
    return status;
}

void pawl_queue_close(struct pawl_queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    queue->closing = true;
    (void)pthread_cond_signal(&queue->wake);
    (void)pthread_mutex_unlock(&queue->lock);
}

static struct timespec deadline(unsigned wait_ms)
{
    struct timespec at;

    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += wait_ms / 1000;
    at.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

unsigned pawl_queue_take(struct pawl_queue *queue, struct pawl_job **jobs, unsigned max,
                         unsigned wait_ms, bool *closing)
{
    struct timespec until = deadline(wait_ms);
    unsigned count = 0;

    (void)pthread_mutex_lock(&queue->lock);
    while (queue->count == 0 && !queue->closing) {
        if (wait_ms == 0 || pthread_cond_timedwait(&queue->wake, &queue->lock, &until) != 0) {
            break;
        }
    }
    while (count < max && queue->head != NULL) {
        jobs[count++] = queue->head;
        queue->head = queue->head->next;
        queue->count--;
    }
    if (queue->head == NULL) {
        queue->tail = &queue->head;
    }
    *closing = queue->closing && queue->head == NULL;
    (void)pthread_mutex_unlock(&queue->lock);
    return count;
}

unsigned pawl_queue_depth(struct pawl_queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    unsigned count = queue->count;

    (void)pthread_mutex_unlock(&queue->lock);
    return count;
}
