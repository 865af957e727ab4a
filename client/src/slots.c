#include "private.h"

#include <stdlib.h>

static void list_remove(struct slot *slot)
{
    struct slot_list *list = slot->list;

    if (list == NULL) {
        return;
    }
    if (slot->previous != NULL) {
        slot->previous->next = slot->next;
    } else {
        list->first = slot->next;
    }
    if (slot->next != NULL) {
        slot->next->previous = slot->previous;
    } else {
        list->last = slot->previous;
    }
    slot->next = NULL;
    slot->previous = NULL;
    slot->list = NULL;
}

void pawl_client_slot_move(struct slot *slot, struct slot_list *list)
{
    list_remove(slot);
    slot->previous = list->last;
    slot->list = list;
    if (list->last != NULL) {
        list->last->next = slot;
    } else {
        list->first = slot;
    }
    list->last = slot;
}

static void push_first(struct slot *slot, struct slot_list *list)
{
    list_remove(slot);
    slot->next = list->first;
    slot->list = list;
    if (list->first != NULL) {
        list->first->previous = slot;
    } else {
        list->last = slot;
    }
    list->first = slot;
}

void pawl_client_slots_reset(struct pawl_client *client)
{
    memset(&client->queue, 0, sizeof(client->queue));
    memset(&client->ready, 0, sizeof(client->ready));
    memset(&client->free, 0, sizeof(client->free));
    for (uint32_t i = 0; i < client->slot_max; i++) {
        struct slot *slot = &client->slots[i];

        slot->state = SLOT_FREE;
        slot->list = NULL;
        slot->id = 0;
        slot->frame_size = 0;
        pawl_client_slot_move(slot, &client->free);
    }
    client->pending = 0;
    client->queue_bytes = 0;
    client->deadline_ns = UINT64_MAX;
}

struct slot *pawl_client_slot_take(struct pawl_client *client, const struct call_type *type)
{
    struct slot *slot = client->free.first;

    if (slot == NULL) {
        return NULL;
    }
    list_remove(slot);
    client->counter++;
    slot->id = client->counter << CLIENT_SLOT_BITS | (uint64_t)(slot - client->slots);
    slot->type = type;
    slot->frame_size = 0;
    slot->hint_count = 0;
    slot->proposed_size = 0;
    slot->cause = PAWL_RC_OK;
    slot->effect = PAWL_EFFECT_NONE;
    slot->peek = false;
    slot->each = false;
    slot->secret = false;
    slot->learn = false;
    slot->probe = false;
    slot->admitted = false;
    slot->owner = CLIENT_NOBODY;
    client->pending++;
    return slot;
}

static void drop_frame(struct pawl_client *client, struct slot *slot)
{
    client->queue_bytes -= slot->frame_size;
    if (slot->secret && slot->frame != NULL) {
        pawl_wipe(slot->frame, slot->frame_capacity);
    }
    if (slot->frame_capacity > CLIENT_FRAME_KEEP) {
        free(slot->frame);
        slot->frame = NULL;
        slot->frame_capacity = 0;
    }
    slot->frame_size = 0;
}

void pawl_client_slot_free(struct pawl_client *client, struct slot *slot)
{
    drop_frame(client, slot);
    pawl_client_breaker_forget(client, slot);
    slot->state = SLOT_FREE;
    slot->id = 0;
    slot->on_answer = NULL;
    client->pending--;
    push_first(slot, &client->free); /* the frame's memory is warm */
}

struct slot *pawl_client_slot_find(struct pawl_client *client, uint64_t id)
{
    uint64_t place = id & (CLIENT_IN_FLIGHT_MAX - 1);

    if (place >= client->slot_max || client->slots[place].id != id ||
        client->slots[place].state == SLOT_FREE) {
        return NULL;
    }
    return &client->slots[place];
}

bool pawl_client_slot_room(struct pawl_client *client, struct slot *slot, size_t size)
{
    size_t capacity = size <= 512 ? 512 : size;

    if (client->queue_bytes > CLIENT_QUEUE_BYTES_MAX - PAWL_REQUEST_BYTES_MAX * 2) {
        return false;
    }
    if (slot->frame_capacity >= size) {
        return true;
    }
    uint8_t *frame = malloc(capacity);

    if (frame == NULL) {
        return false;
    }
    if (slot->frame_size > 0) {
        memcpy(frame, slot->frame, slot->frame_size);
    }
    free(slot->frame);
    slot->frame = frame;
    slot->frame_capacity = capacity;
    return true;
}

void pawl_client_slot_fail(struct pawl_client *client, struct slot *slot, enum pawl_rc cause)
{
    bool left = slot->state == SLOT_SENT;

    slot->cause = cause;
    slot->effect = pawl_client_effect(slot, left);
    if (left) {
        for (unsigned i = 0; i < client->conn_count; i++) {
            if (slot->list == &client->conns[i].sent) {
                client->conns[i].in_flight--;
            }
        }
    }
    slot->state = SLOT_READY;
    pawl_client_slot_move(slot, &client->ready);
}

void pawl_client_answer(struct pawl_client *client, struct slot *slot, int rc)
{
    struct pawl_answer answer;
    pawl_on_answer on_answer = slot->on_answer;
    void *data = slot->data;
    bool nested = client->in_callback;

    memset(&answer, 0, sizeof(answer));
    answer.id = slot->id;
    answer.kind = slot->type->kind;
    answer.rc = rc;
    answer.of.check = &client->results.of.check; /* all members of the union lie at one address */
    pawl_client_slot_free(client, slot);
    client->in_callback = true;
    on_answer(data, &answer);
    client->in_callback = nested;
}

int pawl_client_deliver(struct pawl_client *client)
{
    pid_t pid = client->pid;
    int count = 0;

    while (client->ready.first != NULL) {
        struct slot *slot = client->ready.first;
        struct pawl_str none = { NULL, 0 };
        int rc = pawl_client_resolve_outcome(client, slot, slot->cause, slot->effect, false, none);

        pawl_client_answer(client, slot, rc);
        count++;
        if (pawl_client_fork_check(client) || client->pid != pid) {
            break;
        }
    }
    return count;
}
