/*
 * Before this node joins: whether it reaches the others.
 *
 * A member that cannot connect to the others gets its share of the keys all the same, and nobody
 * is told about them before it has fetched what is counted there. Networks let a machine that has
 * just begun in a little late (the NetworkPolicies of pods are applied at the target's node, after
 * the pod runs). So a node joins when it has a connection to each member that serves; and
 * after REACH_MS without, so that one that is broken keeps nobody out. Who finds nobody joins at
 * once.
 *
 * Whether the others reach this node is not asked: they would have to be told of it first.
 */
#include "edge/cluster_inside.h"

#include <string.h>

#define REACH_MS 4000 /* a second attempt to connect is through by then */

/* Members of the view that serve and to which there is no connection yet; it is begun here. */
static unsigned out_of_reach(struct pawl_cluster *cluster)
{
    const struct pawl_view *view = pawl_members_view(&cluster->node.members);
    unsigned missing = 0;

    for (unsigned i = 0; i < cluster->peer_count; i++) {
        struct pawl_cluster_peer *peer = &cluster->peers[i];
        uint16_t at = pawl_view_find(view, &peer->id);

        if (at == PAWL_RING_NOBODY || view->members[at].state != PAWL_VIEW_SERVING ||
            strcmp(peer->address, cluster->advertise) == 0) {
            continue; /* on its way out; what this node was before it was killed */
        }
        missing += pawl_cluster_dial(cluster, peer) ? 0 : 1;
    }
    return missing;
}

void pawl_cluster_reach_turn(struct pawl_cluster *cluster, uint64_t now_ms)
{
    const struct pawl_members *members = &cluster->node.members;

    if (!cluster->reaching || pawl_log_synced_ms(&cluster->node.log) == 0) {
        return; /* it would not join yet */
    }
    if (cluster->reach_until_ms == 0) {
        cluster->reach_until_ms = now_ms + REACH_MS;
    }
    bool is_late = now_ms >= cluster->reach_until_ms;
    bool heard = members->engine_view == members->known.view.number;
    unsigned missing = heard ? out_of_reach(cluster) : 0;

    if (is_late || (heard && missing == 0)) {
        cluster->reaching = false;
        if (missing > 0) {
            pawl_cluster_say_out_of_reach(cluster, missing);
        }
        pawl_node_hold(&cluster->node, false);
    }
}
