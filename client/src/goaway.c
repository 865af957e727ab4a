/*
 * What a goaway means: requests that were not begun go to the next connection, and this one reads
 * on until the last answer.
 *
 * A connection may be answered by a goaway alone, before its hello is: by a daemon that is being
 * replaced, where the next one may be there already; or by one that will not have this client (its
 * certificate, too many connections). So the first time the same address is asked again at once,
 * and from the second time on it is an address that failed.
 */
#include "private.h"

#include <stdio.h>

#define AVOID_NS    (1000 * NS_PER_MS)
#define REASON_SIZE 64

/* In its order, before what waits already. */
void pawl_client_take_back(struct pawl_client *client, struct conn *conn, uint64_t last_id)
{
    struct slot_list again = { NULL, NULL };
    struct slot *slot = conn->sent.first;

    while (slot != NULL) {
        struct slot *next = slot->next;

        if (slot->id > last_id) {
            slot->state = SLOT_QUEUED;
            pawl_client_slot_move(slot, &again);
            conn->in_flight--;
            client->figures.moved++;
        }
        slot = next;
    }
    while (client->queue.first != NULL) {
        pawl_client_slot_move(client->queue.first, &again);
    }
    while (again.first != NULL) {
        pawl_client_slot_move(again.first, &client->queue);
    }
    conn->tail_size = 0; /* nothing is written to it any more */
    conn->tail_sent = 0;
}

static bool turns_away(struct pawl_client *client, const struct conn *conn, uint64_t last_id)
{
    struct endpoint *endpoint = &client->endpoints[conn->endpoint % CLIENT_ENDPOINTS_MAX];

    if (conn->heard || last_id >= conn->hello_id || conn != client_active(client) ||
        conn->endpoint >= client->endpoint_count) {
        return false;
    }
    if (endpoint->turned_away < 2) {
        endpoint->turned_away++;
    }
    return endpoint->turned_away == 2;
}

void pawl_client_on_goaway(struct pawl_client *client, struct conn *conn,
                           const Pawl__V1__GoAway *goaway)
{
    unsigned other = (unsigned)(conn == &client->conns[0]);
    char reason[REASON_SIZE];

    client->figures.goaways++;
    pawl_client_take_back(client, conn, goaway->last_id);
    if (pawl_client_is_direct(client, conn)) {
        pawl_client_route_goaway(client, conn);
        return;
    }
    if (turns_away(client, conn, goaway->last_id)) {
        (void)snprintf(reason, sizeof(reason), "%.*s",
                       (int)(goaway->reason.len < sizeof(reason) ? goaway->reason.len : 0),
                       goaway->reason.len > 0 ? (const char *)goaway->reason.data : "");
        pawl_client_conn_error(client, conn->endpoint, reason);
        pawl_client_conn_fail(client, conn, PAWL_RC_CONNECT);
        return;
    }
    if (conn->endpoint < client->endpoint_count) {
        client->endpoints[conn->endpoint].avoid_ns = client->clock_ns() + AVOID_NS;
    }
    pawl_client_new_round(client);
    if (conn == client_active(client)) {
        if (client->conns[other].state != CONN_NONE) { /* one drains already: enough of it */
            pawl_client_conn_fail(client, &client->conns[other], PAWL_RC_LOST);
        }
        conn->state = CONN_DRAINING;
        client->active = other;
    }
}
