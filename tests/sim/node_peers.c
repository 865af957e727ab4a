/* What nodes ask of each other: views, slots that change hands, what was counted without an owner.
 */
#include "sim/world.h"

#include <stdlib.h>
#include <string.h>

#define ASK_US     2000000
#define REFUSED_US 30000 /* nobody listens there */
#define PAGE_BYTES ((size_t)PAWL_SLOTS_PAGE_MIN * 2)
#define MOVED_US   50000

/* ---- asking others ---- */

static void add_view(struct sim_node *node, struct peer_message *message)
{
    struct pawl_bytes view = pawl_members_sealed(&node->node.members);

    message->view = blob_make(view.data, view.size);
    message->numbers[3] = pawl_members_view(&node->node.members)->number;
}

static struct peer_message *message_to(struct sim_node *node, unsigned to, uint8_t kind)
{
    struct peer_message *message = peer_message_make();

    message->from = node->index;
    message->from_life = node->life;
    message->to = (uint8_t)to;
    message->to_life = node->world->nodes[to].life;
    message->kind = kind;
    memcpy(message->member.bytes, node->origin.bytes, sizeof(message->member.bytes));
    return message;
}

void node_tell_view(struct sim_node *node, unsigned to)
{
    struct peer_message *message = message_to(node, to, PEER_VIEW);

    add_view(node, message);
    peers_send(&node->world->peers, message);
}

struct world_ask *node_free_ask(struct sim_node *node)
{
    for (unsigned i = 0; i < WORLD_ASKS; i++) {
        if (!node->asks[i].used) {
            memset(&node->asks[i], 0, sizeof(node->asks[i]));
            node->asks[i].used = true;
            node->asks_high = i >= node->asks_high ? i + 1 : node->asks_high;
            return &node->asks[i];
        }
    }
    return NULL;
}

void node_ask_until(struct sim_node *node, struct world_ask *ask, uint64_t deadline_us)
{
    ask->deadline_us = deadline_us;
    if (deadline_us < node->asks_next_us) {
        node->asks_next_us = deadline_us;
    }
}

void node_ask(void *self, const struct pawl_slots_request *request)
{
    struct sim_node *node = self;
    struct world *world = node->world;
    unsigned to = node_place(&request->member);
    struct world_ask *ask;
    struct peer_message *message;
    bool listens = world->nodes[to].is_open && node_is(&world->nodes[to], &request->member) &&
                   !peers_is_cut(&world->peers, node->index, to);

    ask = node_free_ask(node);
    if (ask == NULL) {
        kernel_fail(&world->kernel, "node %u asks more than %d things at once", node->index,
                    WORLD_ASKS);
        return;
    }
    if (request->have && world->control == CONTROL_NEVER_CONFIRM) {
        listens = false;
    }
    ask->kind = request->push ? PEER_PUSH : PEER_PULL;
    ask->to = (uint8_t)to;
    ask->id = ++node->next_id;
    ask->tag = request->tag;
    ask->bundle = request->bundle;
    ask->sent_us = world->kernel.now_us;
    node_ask_until(node, ask, world->kernel.now_us + (listens ? ASK_US : REFUSED_US));
    kernel_note(&world->kernel,
                request->push   ? "push"
                : request->have ? "have"
                                : "pull",
                node->index, to, request->bundle, request->tag);
    if (!listens) {
        return;
    }
    message = message_to(node, to, ask->kind);
    message->id = ask->id;
    message->numbers[0] = request->bundle;
    message->numbers[1] = request->cursor;
    message->numbers[2] = request->have;
    message->numbers[4] = request->sequence;
    message->records = blob_make(request->records.data, request->records.size);
    add_view(node, message);
    peers_send(&world->peers, message);
}

static void answer_slots(struct sim_node *node, struct world_ask *ask,
                         const struct peer_message *message)
{
    struct pawl_slots_answer answer = { .tag = ask->tag, .status = PAWL_EUNAVAIL };
    struct blob *twice = NULL;

    ask->used = false;
    if (message != NULL && message->numbers[0] == 1) {
        answer.status = PAWL_OK;
        answer.cursor = message->numbers[1];
        answer.whole = message->numbers[2];
        if (message->records != NULL) {
            answer.records = pawl_bytes_of(message->records->bytes, message->records->size);
        }
        if (node->world->control == CONTROL_FORGET_JOINED) {
            answer.records.size = 0;
        }
        if (node->world->control == CONTROL_COUNT_TWICE && answer.records.size > 0) {
            twice = sim_grow(NULL, sizeof(*twice) + 2 * answer.records.size);
            memcpy(twice->bytes, answer.records.data, answer.records.size);
            memcpy(twice->bytes + answer.records.size, answer.records.data, answer.records.size);
            answer.records = pawl_bytes_of(twice->bytes, 2 * answer.records.size);
        }
        counts_moved(&node->world->counts, ask->bundle,
                     node->world->kernel.now_us - ask->sent_us + MOVED_US);
    }
    pawl_cluster_slots_on_answer(&node->node.slots, &answer, node_now_ms(node));
    free(twice);
}

/* ---- being asked ---- */

static void reply_to(struct sim_node *node, const struct peer_message *request, bool good,
                     uint64_t cursor, uint64_t whole, struct blob *records)
{
    struct peer_message *message = message_to(node, request->from, request->kind);

    message->to_life = request->from_life;
    message->is_answer = true;
    message->id = request->id;
    message->numbers[0] = good;
    message->numbers[1] = cursor;
    message->numbers[2] = whole;
    message->records = records;
    peers_send(&node->world->peers, message);
}

static void serve_page(struct sim_node *node, const struct peer_message *request)
{
    static uint8_t page[PAGE_BYTES];
    size_t size = 0;
    uint64_t next = 0;
    uint64_t whole = 0;

    if (request->numbers[2] != 0) {
        reply_to(node, request, true, 0, 0, NULL);
    } else if (pawl_cluster_slots_page(&node->node.slots, &request->member,
                                       (uint32_t)request->numbers[0], request->numbers[1], page,
                                       sizeof(page), &size, &next, &whole,
                                       node_now_ms(node)) == PAWL_OK) {
        reply_to(node, request, true, next, whole, blob_make(page, size));
    } else {
        reply_to(node, request, false, 0, 0, NULL);
    }
}

static void serve_pull(struct sim_node *node, const struct peer_message *request)
{
    switch (pawl_cluster_slots_asked(&node->node.slots, &request->member, request->numbers[3],
                                     (uint32_t)request->numbers[0], request->numbers[1],
                                     request->numbers[2] != 0, node_now_ms(node))) {
    case PAWL_SLOTS_ANSWER:
    case PAWL_SLOTS_QUIESCE: /* one thread: every decision is over */
        serve_page(node, request);
        break;
    case PAWL_SLOTS_MOVED:
        node_tell_view(node, request->from);
        reply_to(node, request, false, 0, 0, NULL);
        break;
    default:
        reply_to(node, request, false, 0, 0, NULL);
        break;
    }
}

static void serve_push(struct sim_node *node, const struct peer_message *request)
{
    bool known = false;
    enum pawl_status status =
        pawl_cluster_slots_pushed(&node->node.slots, &request->member, request->numbers[4],
                                  pawl_bytes_of(request->records->bytes, request->records->size),
                                  &known, node_now_ms(node));

    if (status == PAWL_EAGAIN) {
        node_tell_view(node, request->from);
    }
    reply_to(node, request, status == PAWL_OK, 0, 0, NULL);
}

void node_handle(struct sim_node *node, struct peer_message *message)
{
    uint64_t number = 0;

    if (message->kind == PEER_CHECK) {
        checks_on_message(node, message);
    } else if (message->is_answer) {
        for (unsigned i = 0; i < node->asks_high; i++) {
            if (node->asks[i].used && node->asks[i].id == message->id) {
                answer_slots(node, &node->asks[i], message);
                break;
            }
        }
    } else if (pawl_node_learn(&node->node,
                               pawl_bytes_of(message->view->bytes, message->view->size),
                               node_now_ms(node), &number) != PAWL_OK) {
        kernel_fail(&node->world->kernel, "a view is refused");
    } else if (message->kind == PEER_PULL) {
        serve_pull(node, message);
    } else if (message->kind == PEER_PUSH) {
        serve_push(node, message);
    }
    peer_message_free(message);
    node_settle(node);
}

void node_deliver(void *context, struct peer_message *message)
{
    struct world *world = context;
    struct sim_node *node = &world->nodes[message->to];

    if (!node->is_open || node->life != message->to_life) {
        peer_message_free(message);
        return;
    }
    if (node->stopped) {
        message->next = NULL;
        *node->inbox_end = message;
        node->inbox_end = &message->next;
        return;
    }
    node_handle(node, message);
}

/* ---- time ---- */

/* Nothing is due before asks_next_us: it is found anew when it comes. */
uint64_t node_expire_asks(struct sim_node *node)
{
    uint64_t now = node->world->kernel.now_us;
    uint64_t next = UINT64_MAX;

    if (now < node->asks_next_us) {
        return node->asks_next_us;
    }
    node->asks_next_us = UINT64_MAX; /* what is asked meanwhile sets it lower */
    for (unsigned i = 0; i < node->asks_high; i++) {
        struct world_ask *ask = &node->asks[i];

        if (!ask->used) {
            continue;
        }
        if (ask->deadline_us <= now) {
            if (ask->kind == PEER_CHECK) {
                ask->used = false;
            } else {
                answer_slots(node, ask, NULL);
            }
        } else if (ask->deadline_us < next) {
            next = ask->deadline_us;
        }
    }
    if (next < node->asks_next_us) {
        node->asks_next_us = next;
    }
    return node->asks_next_us;
}
