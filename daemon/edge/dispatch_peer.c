/*
 * What members ask of each other: Pull, Push and ViewPush. They are the cluster's thread's: copied,
 * handed to it, and answered when it has, through a message to this worker.
 */
#include "edge/forward.h"

#include <stdlib.h>
#include <string.h>

/* ---- the way back -------------------------------------------------------------------------- */

static void fill_reply(const struct pawl_peer_request *request, Pawl__V1__Reply *reply,
                       Pawl__V1__PullReply *pull, Pawl__V1__PushReply *push,
                       Pawl__V1__ViewPushReply *view)
{
    pawl__v1__pull_reply__init(pull);
    pawl__v1__push_reply__init(push);
    pawl__v1__view_push_reply__init(view);
    switch (request->kind) {
    case PAWL_PEER_PULL:
        pull->records.data = request->answer;
        pull->records.len = request->answer_size;
        pull->cursor = request->next_cursor;
        pull->whole = request->whole;
        reply->body_case = PAWL__V1__REPLY__BODY_PULL;
        reply->pull = pull;
        return;
    case PAWL_PEER_PUSH:
        push->known = request->known;
        reply->body_case = PAWL__V1__REPLY__BODY_PUSH;
        reply->push = push;
        return;
    default:
        view->view.data = request->answer;
        view->view.len = request->answer_size;
        reply->body_case = PAWL__V1__REPLY__BODY_VIEW_PUSH;
        reply->view_push = view;
        return;
    }
}

static void send_answer(const struct pawl_peer_request *request, struct pawl_session *session)
{
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    Pawl__V1__PullReply pull;
    Pawl__V1__PushReply push;
    Pawl__V1__ViewPushReply view;

    if (request->status != PAWL_OK) {
        pawl_reply_error(session, request->id, pawl_wire_status(request->status), request->error);
        return;
    }
    reply.id = request->id;
    reply.status = PAWL__V1__STATUS__STATUS_OK;
    fill_reply(request, &reply, &pull, &push, &view);
    size_t size = PAWL_FRAME_HEADER_BYTES + pawl__v1__reply__get_packed_size(&reply);
    uint8_t *out = pawl_session_reserve(session, size);

    if (out != NULL) {
        pawl_session_commit(session, pawl_cold_write_reply(out, size, &reply));
    }
}

static void on_answered(struct pawl_post *post, struct pawl_worker *worker)
{
    struct pawl_peer_request *request = (struct pawl_peer_request *)(void *)post;
    struct pawl_session *session = pawl_session_find(worker, request->ticket);

    if (session != NULL) {
        send_answer(request, session);
        pawl_session_owe(session, -1);
    }
    free(request->answer);
    free(request);
}

void pawl_peer_answer(struct pawl_peer_request *request)
{
    request->post.run = on_answered;
    pawl_worker_post(request->worker, &request->post);
}

/* ---- the way there ------------------------------------------------------------------------- */

static struct pawl_bytes put(struct pawl_peer_request *request, size_t *used,
                             ProtobufCBinaryData from)
{
    uint8_t *to = request->bytes + *used;

    if (from.len > 0) {
        memcpy(to, from.data, from.len);
    }
    *used += from.len;
    return pawl_bytes_of(to, from.len);
}

/* A request of @kind with room for @view and @records; NULL: answered why not. */
static struct pawl_peer_request *take_request(struct pawl_dispatch *dispatch,
                                              struct pawl_session *session,
                                              enum pawl_peer_kind kind, ProtobufCBinaryData view,
                                              ProtobufCBinaryData records)
{
    struct pawl_peer_request *request;
    size_t used = 0;

    if (dispatch->forward == NULL) {
        pawl_reply_error(session, dispatch->request.id, PAWL__V1__STATUS__STATUS_UNSUPPORTED,
                         "this pawld is no member of a cluster: see cluster in its settings");
        return NULL;
    }
    request = calloc(1, sizeof(*request) + view.len + records.len);
    if (request == NULL) {
        pawl_count(&dispatch->metrics->unavailable);
        pawl_reply_error(session, dispatch->request.id, PAWL__V1__STATUS__STATUS_UNAVAILABLE,
                         "out of memory");
        return NULL;
    }
    request->kind = kind;
    request->status = PAWL_EUNAVAIL;
    request->worker = dispatch->worker;
    request->ticket = pawl_session_ticket(session);
    request->id = dispatch->request.id;
    request->deadline_ms =
        dispatch->request.deadline_ms == 0
            ? 0
            : pawl_worker_batch_ms(dispatch->worker) + dispatch->request.deadline_ms;
    request->view = put(request, &used, view);
    request->records = put(request, &used, records);
    return request;
}

/* The id of who asks; false, and answered, when it is none. */
static bool take_member(struct pawl_session *session, struct pawl_peer_request *request,
                        ProtobufCBinaryData member)
{
    if (member.len != sizeof(request->member.bytes)) {
        pawl_reply_error(session, request->id, PAWL__V1__STATUS__STATUS_INVALID,
                         "a member's id has 16 bytes");
        free(request);
        return false;
    }
    memcpy(request->member.bytes, member.data, member.len);
    return true;
}

static void hand_over(struct pawl_dispatch *dispatch, struct pawl_session *session,
                      struct pawl_peer_request *request)
{
    struct pawl_world_calls *calls = &dispatch->forward->world->calls;

    pawl_session_owe(session, 1);
    calls->request(calls->self, request);
}

static const ProtobufCBinaryData nothing = { 0, NULL };

void pawl_dispatch_pull(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const Pawl__V1__Request *request)
{
    const Pawl__V1__Pull *pull = request->pull;
    struct pawl_peer_request *asked;

    if (pull->bundle >= PAWL_LIMITER_BUNDLES) {
        pawl_reply_error(session, request->id, PAWL__V1__STATUS__STATUS_INVALID,
                         "a bundle is below 64");
        return;
    }
    asked = take_request(dispatch, session, PAWL_PEER_PULL, pull->view, nothing);
    if (asked == NULL || !take_member(session, asked, pull->member)) {
        return;
    }
    asked->bundle = pull->bundle;
    asked->cursor = pull->cursor;
    asked->have = pull->have;
    hand_over(dispatch, session, asked);
}

void pawl_dispatch_push(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        const Pawl__V1__Request *request)
{
    const Pawl__V1__Push *push = request->push;
    struct pawl_peer_request *asked =
        take_request(dispatch, session, PAWL_PEER_PUSH, push->view, push->records);

    if (asked == NULL || !take_member(session, asked, push->member)) {
        return;
    }
    asked->sequence = push->sequence;
    hand_over(dispatch, session, asked);
}

void pawl_dispatch_view_push(struct pawl_dispatch *dispatch, struct pawl_session *session,
                             const Pawl__V1__Request *request)
{
    struct pawl_peer_request *asked =
        take_request(dispatch, session, PAWL_PEER_VIEW_PUSH, request->view_push->view, nothing);

    if (asked != NULL) {
        hand_over(dispatch, session, asked);
    }
}
