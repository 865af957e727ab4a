/*
 * Small reads of one turn, gathered: first they are read, then handled one after the other, then
 * what they are answered is written. Each step so runs over and over in a warm cache, where going
 * from the kernel through all of the code and back for each request would find it cold each time;
 * and all of them are one batch of the handler.
 *
 * What is gathered lies in the worker's read buffer, one read behind the other. It is handled when
 * 16 have come, before anything else that could look at a session's state (posts, the tick, the end
 * of its input), and at the end of the turn at the latest. Until then a session is not read again.
 */
#include "edge/session.h"
#include "edge/worker.h"

#define READ_MAX ((size_t)4096) /* larger ones are a batch of their own, and handled at once */

_Static_assert(PAWL_GATHER_BYTES >= PAWL_GATHER_MAX * READ_MAX, "all of them have room");

bool pawl_session_gather(struct pawl_session *session, const uint8_t *data, size_t size)
{
    struct pawl_worker *worker = session->worker;

    if (size > READ_MAX || session->input != NULL) {
        return false;
    }
    session->gathered_data = data;
    session->gathered_bytes = size;
    session->gathered_next = NULL;
    if (worker->gathered == NULL) {
        worker->gathered = session;
    } else {
        worker->gathered_last->gathered_next = session;
    }
    worker->gathered_last = session;
    worker->gathered_count++;
    worker->gathered_bytes += size;
    if (worker->gathered_count == PAWL_GATHER_MAX) {
        pawl_worker_settle(worker);
    }
    return true;
}

void pawl_worker_settle(struct pawl_worker *worker)
{
    struct pawl_session *first = worker->gathered;

    if (first == NULL) {
        return;
    }
    worker->gathered = NULL;
    worker->gathered_count = 0;
    worker->sharing = true;
    for (struct pawl_session *session = first; session != NULL; session = session->gathered_next) {
        size_t size = session->gathered_bytes;

        session->gathered_bytes = 0;
        if (session->state == PAWL_SESSION_OPEN) { /* else it has been ended meanwhile */
            pawl_session_take(session, session->gathered_data, size);
        }
    }
    worker->sharing = false;
    pawl_worker_end_batch(worker);
    worker->gathered_bytes = 0;
    for (struct pawl_session *session = first; session != NULL; session = session->gathered_next) {
        pawl_session_taken(session);
    }
}
