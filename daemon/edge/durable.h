/*
 * What the requests that have to be durable share: each becomes a job at the store (pending.h) and
 * is answered when the store is done. Used by dispatch_{revoke,family,rotate}.c; worker's thread,
 * but for what a decision calls (time, is_late), which runs on the store's.
 */
#ifndef PAWL_EDGE_DURABLE_H
#define PAWL_EDGE_DURABLE_H

#include "edge/dispatch.h"
#include "edge/peer.h"
#include "edge/pending.h"

static inline struct pawl_bytes pawl_wire_bytes(ProtobufCBinaryData data)
{
    return pawl_bytes_of(data.data, data.len);
}

static inline ProtobufCBinaryData pawl_wire_data(struct pawl_bytes bytes)
{
    ProtobufCBinaryData data = { bytes.size, (uint8_t *)(uintptr_t)bytes.data };

    return data;
}

/** The later one of fleet clock and civil time, in seconds: what retention counts from. */
uint64_t pawl_durable_now_s(const struct pawl_now *now);

/** The times a rotation is judged by. */
struct pawl_rotation_time pawl_durable_time(const struct pawl_app *app, const struct pawl_now *now);

/** A pending job with its deadline; NULL when there is no room, which has been answered then. */
struct pawl_pending *pawl_durable_take(struct pawl_dispatch *dispatch, struct pawl_session *session,
                                       uint64_t id);

/** Answer that the request is not valid, and count it. */
void pawl_durable_invalid(struct pawl_dispatch *dispatch, struct pawl_session *session, uint64_t id,
                          const char *text);

/** Whether the caller has stopped waiting: then nothing is begun. */
bool pawl_durable_is_late(const struct pawl_pending *pending, const struct pawl_now *now);

/** Answer with what the store said of a job that was not done. */
void pawl_durable_not_done(struct pawl_pending *pending, struct pawl_session *session);

/** @out lends from @id. */
void pawl_durable_fact_id(Pawl__V1__FactId *out, const struct pawl_fact_id *id);

/** The answer of a revocation and of a family's end; pending->body says which. */
void pawl_durable_reply(struct pawl_pending *pending, struct pawl_session *session);

/** What was said, else @otherwise; what was asked, else durable (in a cluster: what the settings
 * say for the namespace, see edge/cluster.h). */
enum pawl_reason pawl_durable_reason(Pawl__V1__Reason reason, enum pawl_reason otherwise);
enum pawl_ack pawl_durable_ack(const struct pawl_dispatch *dispatch, Pawl__V1__Ack ack);

/**
 * Let pending->job.fact act in memory, before it is on disk. When the table is full nothing is
 * revoked: answers, gives @pending back and returns false.
 */
bool pawl_durable_act(struct pawl_dispatch *dispatch, struct pawl_session *session,
                      struct pawl_pending *pending);

/**
 * To the audit log: what became of a revocation, of a family's end (@event), of a cancel, of a
 * thaw; and what a rotation noticed. When the job is done, whether or not anybody hears of it.
 */
void pawl_audit_say_fact(const struct pawl_pending *pending, enum pawl_audit_event event);
void pawl_audit_say_unrevoked(const struct pawl_pending *pending);
void pawl_audit_say_thaw(const struct pawl_pending *pending);
void pawl_audit_say_rotation(const struct pawl_pending *pending);

/** End a family; @body is the answer's: revoke or family_end. */
void pawl_durable_family_end(struct pawl_dispatch *dispatch, struct pawl_session *session,
                             uint64_t id, const Pawl__V1__FamilyEnd *end, unsigned body);

#endif
