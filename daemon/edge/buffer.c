#include "edge/buffer.h"

#include <stdlib.h>
#include <string.h>

static const size_t class_bytes[PAWL_BUFFER_CLASSES] = { PAWL_BUFFER_TINY, PAWL_BUFFER_SMALL,
                                                         PAWL_BUFFER_PAGE, PAWL_BUFFER_FRAME };
static const unsigned class_kept_max[PAWL_BUFFER_CLASSES] = { 64, 64, 64, 16 };

void *pawl_edge_alloc(size_t count, size_t size)
{
    return calloc(count, size);
}

void *pawl_edge_grow(void *memory, size_t count, size_t size)
{
    return reallocarray(memory, count, size);
}

void pawl_edge_free(void *memory)
{
    free(memory);
}

/** The smallest class that holds @size; PAWL_BUFFER_CLASSES when none does. */
static unsigned class_of(size_t size)
{
    unsigned class = 0;

    while (class < PAWL_BUFFER_CLASSES && class_bytes[class] < size) {
        class ++;
    }
    return class;
}

void pawl_buffer_pool_init(struct pawl_buffer_pool *pool, size_t bytes_max)
{
    memset(pool, 0, sizeof(*pool));
    pool->bytes_max = bytes_max;
}

void pawl_buffer_pool_deinit(struct pawl_buffer_pool *pool)
{
    for (unsigned i = 0; i < PAWL_BUFFER_CLASSES; i++) {
        while (pool->kept[i] != NULL) {
            struct pawl_buffer *buffer = pool->kept[i];

            pool->kept[i] = buffer->next;
            free(buffer);
        }
        pool->kept_count[i] = 0;
    }
}

struct pawl_buffer *pawl_buffer_take(struct pawl_buffer_pool *pool, size_t size)
{
    unsigned class = class_of(size);
    size_t capacity = class < PAWL_BUFFER_CLASSES ? class_bytes[class] : size;
    struct pawl_buffer *buffer = NULL;

    if (capacity > pool->bytes_max - pool->bytes) { /* bytes never passes bytes_max */
        return NULL;
    }
    if (class < PAWL_BUFFER_CLASSES && pool->kept[class] != NULL) {
        buffer = pool->kept[class];
        pool->kept[class] = buffer->next;
        pool->kept_count[class]--;
    } else {
        buffer = malloc(sizeof(*buffer) + capacity);
        if (buffer == NULL) {
            return NULL;
        }
    }
    pool->bytes += capacity;
    if (pool->bytes > pool->bytes_peak) {
        pool->bytes_peak = pool->bytes;
    }
    buffer->next = NULL;
    buffer->capacity = capacity;
    buffer->start = 0;
    buffer->used = 0;
    return buffer;
}

void pawl_buffer_give(struct pawl_buffer_pool *pool, struct pawl_buffer *buffer)
{
    unsigned class;

    if (buffer == NULL) {
        return;
    }
    pool->bytes -= buffer->capacity;
    class = class_of(buffer->capacity);
    if (class < PAWL_BUFFER_CLASSES && class_bytes[class] == buffer->capacity &&
        pool->kept_count[class] < class_kept_max[class]) {
        buffer->next = pool->kept[class];
        pool->kept[class] = buffer;
        pool->kept_count[class]++;
        return;
    }
    free(buffer);
}
