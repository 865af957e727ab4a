/*
 * The memory of the edge: zeroed allocations, and pooled buffers for input that is not whole yet
 * and output that is not taken yet.
 *
 * A pool belongs to one worker. Idle sessions hold no buffer, a busy one takes the buffer that was
 * given back last, which is warm in the cache. Buffers in use have a ceiling; those kept for reuse
 * are at most a constant (about 2.5 MiB a worker).
 */
#ifndef PAWL_EDGE_BUFFER_H
#define PAWL_EDGE_BUFFER_H

#include "core/types.h"

#define PAWL_BUFFER_CLASSES 4

/** Capacities of the classes; a bigger buffer is made to measure and not kept. */
#define PAWL_BUFFER_TINY  ((size_t)1024)
#define PAWL_BUFFER_SMALL ((size_t)4096)
#define PAWL_BUFFER_PAGE  ((size_t)16384)
#define PAWL_BUFFER_FRAME ((size_t)69632) /* the largest request and a tiny one before it */

struct pawl_buffer {
    struct pawl_buffer *next; /* the holder's */
    size_t capacity;
    size_t start; /* bytes before it are done with */
    size_t used;  /* bytes from 0 that are filled */
    uint8_t data[];
};

struct pawl_buffer_pool {
    struct pawl_buffer *kept[PAWL_BUFFER_CLASSES];
    unsigned kept_count[PAWL_BUFFER_CLASSES];
    size_t bytes; /* in use */
    size_t bytes_peak;
    size_t bytes_max;
};

/** @bytes_max is the ceiling on capacity in use. Cannot fail. */
void pawl_buffer_pool_init(struct pawl_buffer_pool *pool, size_t bytes_max);

/** Free what is kept; buffers still in use are the holders' to give back before. */
void pawl_buffer_pool_deinit(struct pawl_buffer_pool *pool);

/** An empty buffer of at least @size bytes; NULL at the ceiling or out of memory. */
PAWL_MUST_USE struct pawl_buffer *pawl_buffer_take(struct pawl_buffer_pool *pool, size_t size);

/** Give @buffer (may be NULL) back. */
void pawl_buffer_give(struct pawl_buffer_pool *pool, struct pawl_buffer *buffer);

/** Zeroed memory for @count things of @size bytes; NULL when there is none. */
PAWL_MUST_USE void *pawl_edge_alloc(size_t count, size_t size);

/** Grow @memory to @count things of @size, the new part not zeroed; NULL leaves the old as it is.
 */
PAWL_MUST_USE void *pawl_edge_grow(void *memory, size_t count, size_t size);

/** NULL is nothing. */
void pawl_edge_free(void *memory);

#endif
