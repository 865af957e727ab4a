#include "ops/pool.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 16384

struct block {
    struct block *next;
    size_t size, used;
    alignas(max_align_t) uint8_t data[];
};

struct pawl_pool {
    struct block *blocks;
    size_t taken, size_max;
};

struct pawl_pool *pawl_pool_create(size_t size_max)
{
    struct pawl_pool *pool = calloc(1, sizeof(*pool));

    if (pool != NULL) {
        pool->size_max = size_max;
    }
    return pool;
}

void pawl_pool_destroy(struct pawl_pool *pool)
{
    struct block *block;

    if (pool == NULL) {
        return;
    }
    while (pool->blocks != NULL) {
        block = pool->blocks;
        pool->blocks = block->next;
        free(block);
    }
    free(pool);
}

static struct block *add_block(struct pawl_pool *pool, size_t size)
{
    struct block *block;

    if (size < BLOCK_BYTES) {
        size = BLOCK_BYTES;
    }
    block = calloc(1, sizeof(*block) + size);
    if (block != NULL) {
        block->size = size;
        block->next = pool->blocks;
        pool->blocks = block;
    }
    return block;
}

void *pawl_pool_take(struct pawl_pool *pool, size_t size)
{
    const size_t step = alignof(max_align_t);
    struct block *block = pool->blocks;
    void *taken;

    if (size > pool->size_max) { /* also keeps the rounding below from wrapping */
        return NULL;
    }
    size = (size + step - 1) / step * step;
    if (size > pool->size_max - pool->taken) {
        return NULL;
    }
    if (block == NULL || block->size - block->used < size) {
        block = add_block(pool, size);
        if (block == NULL) {
            return NULL;
        }
    }
    taken = block->data + block->used;
    block->used += size;
    pool->taken += size;
    return taken;
}

char *pawl_pool_text(struct pawl_pool *pool, const char *text, size_t size)
{
    char *copy = size < SIZE_MAX ? pawl_pool_take(pool, size + 1) : NULL;

    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}
