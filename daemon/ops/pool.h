/*
 * Memory that goes as a whole: what is taken lives until the pool is destroyed. For settings and
 * the tree they are read from; the only place of ops/ that calls the allocator.
 */
#ifndef PAWL_OPS_POOL_H
#define PAWL_OPS_POOL_H

#include "core/types.h"

struct pawl_pool;

/**
 * A new pool that hands out at most @size_max bytes in total, its own overhead not counted.
 * NULL when out of memory.
 */
struct pawl_pool *pawl_pool_create(size_t size_max);

/** Free everything taken from @pool and the pool; NULL is allowed. */
void pawl_pool_destroy(struct pawl_pool *pool);

/** @size zeroed bytes, aligned for anything; NULL when out of memory or at the pool's maximum. */
void *pawl_pool_take(struct pawl_pool *pool, size_t size);

/** A 0-terminated copy of @size bytes of @text; NULL as above. */
char *pawl_pool_text(struct pawl_pool *pool, const char *text, size_t size);

#endif
