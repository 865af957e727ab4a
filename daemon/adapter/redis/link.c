/* See link.h. */
#include "link.h"

#include <limits.h>
#include <stdlib.h>

void pawl_redis_push(struct pawl_redis_list *list, struct pawl_redis_pending *pending)
{
    pending->next = NULL;
    if (list->tail != NULL) {
        list->tail->next = pending;
    } else {
        list->head = pending;
    }
    list->tail = pending;
    list->count++;
}

struct pawl_redis_pending *pawl_redis_pop(struct pawl_redis_list *list)
{
    struct pawl_redis_pending *pending = list->head;

    if (pending != NULL) {
        list->head = pending->next;
        if (list->head == NULL) {
            list->tail = NULL;
        }
        list->count--;
        pending->next = NULL;
    }
    return pending;
}

static void on_opened(void *ctx)
{
    struct pawl_redis_link *link = ctx;

    if (!link->dropped) {
        link->open = true;
        link->heard_ms = link->net->ops->now_ms(link->net->self);
        link->events->opened(link->owner, link);
    }
}

static void lose(struct pawl_redis_link *link, enum pawl_status status, const char *why)
{
    if (!link->dropped) {
        link->open = false;
        link->events->lost(link->owner, link, status, why);
    }
}

static const char *text_of(enum pawl_status status)
{
    switch (status) {
    case PAWL_ETOOBIG:
        return "a reply larger than any that is taken";
    case PAWL_ENOMEM:
        return "no memory for a reply";
    default:
        return "what came is no RESP2";
    }
}

static void on_bytes(void *ctx, const uint8_t *data, size_t size)
{
    struct pawl_redis_link *link = ctx;
    struct pawl_bytes rest = pawl_bytes_of(data, size);
    const struct pawl_resp *value = NULL;
    enum pawl_status status;

    link->heard_ms = link->net->ops->now_ms(link->net->self);
    while (!link->dropped &&
           (status = pawl_resp_next(link->reader, &rest, &value)) != PAWL_EAGAIN) {
        struct pawl_redis_pending *pending;

        if (status != PAWL_OK) {
            link->broken_by = status != PAWL_EINVAL && link->sent.head != NULL
                                  ? link->sent.head->verb
                                  : PAWL_ENGINE_NONE;
            lose(link, status, text_of(status));
            return;
        }
        pending = pawl_redis_pop(&link->sent);
        if (pending == NULL) {
            lose(link, PAWL_EINVAL, "a reply that nobody asked for");
            return;
        }
        link->events->reply(link->owner, link, pending, value);
    }
}

static void on_closed(void *ctx, enum pawl_status status, const char *why)
{
    struct pawl_redis_link *link = ctx;
    void (*gone)(void *owner) = link->events->gone;
    void *owner = link->owner;

    link->stream = NULL;
    lose(link, status, why);
    pawl_resp_reader_destroy(link->reader);
    free(link);
    gone(owner);
}

static const struct pawl_stream_events stream_events = { on_opened, on_bytes, on_closed };

struct pawl_redis_link *pawl_redis_dial(const struct pawl_net *net, const struct pawl_dial *dial,
                                        const struct pawl_redis_link_events *events, void *owner)
{
    struct pawl_redis_link *link = calloc(1, sizeof(*link));

    if (link == NULL) {
        return NULL;
    }
    link->net = net;
    link->events = events;
    link->owner = owner;
    link->min_replicas = UINT_MAX;
    link->reader = pawl_resp_reader_create();
    if (link->reader != NULL) {
        link->stream = net->ops->connect(net->self, dial, &stream_events, link);
    }
    if (link->stream == NULL) {
        pawl_resp_reader_destroy(link->reader);
        free(link);
        return NULL;
    }
    return link;
}

enum pawl_status pawl_redis_send(struct pawl_redis_link *link, const void *bytes, size_t size,
                                 struct pawl_redis_pending *pending)
{
    uint64_t now_ms = link->net->ops->now_ms(link->net->self);
    enum pawl_status status = PAWL_ECONN;

    if (link->open && link->stream != NULL) {
        status = link->net->ops->write(link->stream, bytes, size);
    }
    if (status != PAWL_OK) {
        return status;
    }
    if (link->sent.head == NULL) {
        link->heard_ms = now_ms;
    }
    pending->sent_ms = now_ms;
    pawl_redis_push(&link->sent, pending);
    return PAWL_OK;
}

void pawl_redis_drop(struct pawl_redis_link *link)
{
    if (link == NULL || link->dropped) {
        return;
    }
    link->dropped = true;
    link->open = false;
    if (link->stream != NULL) {
        link->net->ops->close(link->stream);
    }
}
