#include "sim/peers.h"

#include <stdlib.h>
#include <string.h>

void peers_init(struct peers *peers, struct kernel *kernel)
{
    memset(peers, 0, sizeof(*peers));
    peers->kernel = kernel;
    for (unsigned a = 0; a < SIM_NODES; a++) {
        for (unsigned b = 0; b < SIM_NODES; b++) {
            peers->links[a][b].delay_us = 150;
            peers->links[a][b].jitter_us = 100;
        }
    }
}

void peers_deinit(struct peers *peers)
{
    for (unsigned a = 0; a < SIM_NODES; a++) {
        for (unsigned b = 0; b < SIM_NODES; b++) {
            while (peers->held[a][b] != NULL) {
                struct peer_message *message = peers->held[a][b];

                peers->held[a][b] = message->next;
                peer_message_free(message);
            }
        }
    }
}

struct peer_message *peer_message_make(void)
{
    return sim_take(sizeof(struct peer_message));
}

void peer_message_free(struct peer_message *message)
{
    blob_drop(message->view);
    blob_drop(message->records);
    free(message);
}

static void arrive(void *context, uint64_t world)
{
    struct peer_message *message = context;
    struct peers *peers = (struct peers *)(uintptr_t)world;
    struct peer_message **end = &peers->held[message->from][message->to];

    if (!peers->links[message->from][message->to].cut_out && *end == NULL) {
        peers->deliver(peers->world, message);
        return;
    }
    if (kernel_chance(peers->kernel, 50)) {
        peer_message_free(message); /* its connection was given up */
        return;
    }
    while (*end != NULL) {
        end = &(*end)->next;
    }
    message->next = NULL;
    *end = message;
}

void peers_send(struct peers *peers, struct peer_message *message)
{
    const struct model_link *link = &peers->links[message->from][message->to];
    uint64_t *last = &peers->last_arrival_us[message->from][message->to];
    uint64_t at =
        peers->kernel->now_us + link->delay_us + kernel_below(peers->kernel, link->jitter_us + 1);

    if (at < *last) {
        at = *last;
    }
    *last = at;
    kernel_at(peers->kernel, at, arrive, message, (uint64_t)(uintptr_t)peers);
}

void peers_cut(struct peers *peers, unsigned from, unsigned to, bool cut)
{
    struct peer_message *message;

    peers->links[from][to].cut_out = cut;
    if (cut) {
        return;
    }
    message = peers->held[from][to];
    peers->held[from][to] = NULL;
    while (message != NULL) {
        struct peer_message *next = message->next;

        message->next = NULL;
        peers->deliver(peers->world, message);
        message = next;
    }
}
