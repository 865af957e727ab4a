/*
 * Who is at the other end of a session, as the audit log says it.
 */
#ifndef PAWL_EDGE_PEER_H
#define PAWL_EDGE_PEER_H

#include "edge/handler.h"
#include "ops/audit.h"

/**
 * Fill @peer: "unix" and its uid, or "tcp:10.0.0.7:51234"; and the name it has proved. Asks the
 * system, so not for each request. Worker's thread. @session NULL: nothing is known.
 */
void pawl_session_peer(struct pawl_session *session, struct pawl_audit_peer *peer);

#endif
