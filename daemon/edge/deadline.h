/*
 * Deadlines without a timer each: a list for every kind of timeout, in order of arming. All nodes
 * of one list wait equally long, so the head is always due first; arming and disarming are O(1),
 * and the worker's one coarse timer looks at the heads.
 *
 * The node lives in what it guards. One thread.
 */
#ifndef PAWL_EDGE_DEADLINE_H
#define PAWL_EDGE_DEADLINE_H

#include "core/types.h"

struct pawl_deadline {
    struct pawl_deadline *next; /* NULL = not armed */
    struct pawl_deadline *prev;
    uint64_t since_ms;
};

/** A ring around a head that is no deadline itself. */
struct pawl_deadlines {
    struct pawl_deadline head;
};

static inline void pawl_deadlines_init(struct pawl_deadlines *list)
{
    list->head.next = &list->head;
    list->head.prev = &list->head;
    list->head.since_ms = 0;
}

static inline bool pawl_deadline_armed(const struct pawl_deadline *node)
{
    return node->next != NULL;
}

/** Nothing if not armed. */
static inline void pawl_deadline_disarm(struct pawl_deadline *node)
{
    if (node->next != NULL) {
        node->prev->next = node->next;
        node->next->prev = node->prev;
        node->next = NULL;
        node->prev = NULL;
    }
}

/** Start waiting at @now_ms, in whatever list it was before; @now_ms must not go back. */
static inline void pawl_deadline_arm(struct pawl_deadlines *list, struct pawl_deadline *node,
                                     uint64_t now_ms)
{
    pawl_deadline_disarm(node);
    node->since_ms = now_ms;
    node->prev = list->head.prev;
    node->next = &list->head;
    node->prev->next = node;
    list->head.prev = node;
}

/** The first node that has waited @timeout_ms at @now_ms, or NULL; it stays armed. */
static inline struct pawl_deadline *pawl_deadlines_due(const struct pawl_deadlines *list,
                                                       uint64_t now_ms, uint64_t timeout_ms)
{
    struct pawl_deadline *first = list->head.next;

    if (first == &list->head || now_ms - first->since_ms < timeout_ms) {
        return NULL;
    }
    return first;
}

#endif
