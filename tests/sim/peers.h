/*
 * The network between nodes: requests and answers that are late, lost, held up by a cut and let
 * through after it, or meet another life of the node they were for.
 */
#ifndef PAWL_SIM_PEERS_H
#define PAWL_SIM_PEERS_H

#include "sim/kernel.h"
#include "sim/model_engine.h"

struct peer_message {
    uint8_t from, to;
    bool is_answer;
    uint8_t kind; /* the world's */
    uint32_t from_life, to_life;
    uint64_t id; /* of the request */
    uint64_t numbers[6];
    struct pawl_member_id member;
    struct blob *view, *records; /* may be NULL */
    struct peer_message *next;
};

struct peers {
    struct kernel *kernel;
    struct model_link links[SIM_NODES][SIM_NODES]; /* cut_out alone is used: from row to column */
    uint64_t last_arrival_us[SIM_NODES][SIM_NODES];
    struct peer_message *held[SIM_NODES][SIM_NODES];
    /** Takes the message: it ends with peer_message_free(). */
    void (*deliver)(void *world, struct peer_message *message);
    void *world;
};

void peers_init(struct peers *peers, struct kernel *kernel);
void peers_deinit(struct peers *peers);
struct peer_message *peer_message_make(void);
void peer_message_free(struct peer_message *message);
/** Takes the message. */
void peers_send(struct peers *peers, struct peer_message *message);
void peers_cut(struct peers *peers, unsigned from, unsigned to, bool cut);
static inline bool peers_is_cut(const struct peers *peers, unsigned a, unsigned b)
{
    return peers->links[a][b].cut_out || peers->links[b][a].cut_out;
}

#endif
