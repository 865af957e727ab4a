/*
 * Memory that goes as a whole: what is taken lives until the arena is destroyed. For settings and
 * the tree they are read from; the only place of ops/ that calls the allocator.
 */
#ifndef PAWL_OPS_ARENA_H
#define PAWL_OPS_ARENA_H

#include "core/types.h"

struct pawl_arena;

/**
 * A new arena that hands out at most @size_max bytes in total, its own overhead not counted.
 * NULL when out of memory.
 */
struct pawl_arena *pawl_arena_create(size_t size_max);

/** Free everything taken from @arena and the arena; NULL is allowed. */
void pawl_arena_destroy(struct pawl_arena *arena);

/** @size zeroed bytes, aligned for anything; NULL when out of memory or at the arena's maximum. */
void *pawl_arena_take(struct pawl_arena *arena, size_t size);

/** A 0-terminated copy of @size bytes of @text; NULL as above. */
char *pawl_arena_text(struct pawl_arena *arena, const char *text, size_t size);

#endif
