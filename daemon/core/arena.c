#include "core/arena.h"

/* One for each page; only the first page of a free block is looked at. All zero: not free. */
struct pawl_arena_page {
    uint32_t next;
    uint32_t prev;
    uint8_t order;
    bool is_free;
};

#define CHUNK_ORDER 8 /* at most 1 MiB is given back to the system at once */

static uint32_t pages_of(unsigned order)
{
    return UINT32_C(1) << order;
}

static void list_push(struct pawl_arena *arena, uint32_t page, unsigned order)
{
    struct pawl_arena_page *entry = &arena->pages[page];

    entry->order = (uint8_t)order;
    entry->is_free = true;
    entry->prev = PAWL_ARENA_NONE;
    entry->next = arena->free_heads[order];
    if (entry->next != PAWL_ARENA_NONE) {
        arena->pages[entry->next].prev = page;
    }
    arena->free_heads[order] = page;
}

static void list_remove(struct pawl_arena *arena, uint32_t page)
{
    struct pawl_arena_page *entry = &arena->pages[page];

    if (entry->prev != PAWL_ARENA_NONE) {
        arena->pages[entry->prev].next = entry->next;
    } else {
        arena->free_heads[entry->order] = entry->next;
    }
    if (entry->next != PAWL_ARENA_NONE) {
        arena->pages[entry->next].prev = entry->prev;
    }
    entry->is_free = false;
}

static void count_free(struct pawl_arena *arena, uint32_t pages)
{
    __atomic_store_n(&arena->pages_free, pages, __ATOMIC_RELAXED);
}

enum pawl_status pawl_arena_init(struct pawl_arena *arena, void *region, size_t size,
                                 pawl_arena_release release)
{
    if (region == NULL || ((uintptr_t)region & (PAWL_ARENA_PAGE - 1)) != 0 ||
        size < PAWL_ARENA_BYTES_MIN || size > PAWL_ARENA_BYTES_MAX) {
        return PAWL_EINVAL;
    }
    arena->base = region;
    arena->pages = region;
    arena->pages_count = (uint32_t)(size / PAWL_ARENA_PAGE);
    arena->release = release;
    size_t own = (size_t)arena->pages_count * sizeof(struct pawl_arena_page);

    arena->pages_own = (uint32_t)((own + PAWL_ARENA_PAGE - 1) / PAWL_ARENA_PAGE);
    for (unsigned order = 0; order < PAWL_ARENA_ORDERS; order++) {
        arena->free_heads[order] = PAWL_ARENA_NONE;
    }
    for (uint32_t page = arena->pages_own; page < arena->pages_count;) {
        unsigned order = (unsigned)__builtin_ctz(page);

        order = order < PAWL_ARENA_ORDERS ? order : PAWL_ARENA_ORDERS - 1;
        while (pages_of(order) > arena->pages_count - page) {
            order--;
        }
        list_push(arena, page, order);
        page += pages_of(order);
    }
    count_free(arena, arena->pages_count - arena->pages_own);
    return pthread_mutex_init(&arena->lock, NULL) == 0 ? PAWL_OK : PAWL_ENOMEM;
}

void pawl_arena_deinit(struct pawl_arena *arena)
{
    (void)pthread_mutex_destroy(&arena->lock);
}

static uint32_t take_locked(struct pawl_arena *arena, unsigned order, uint32_t reserve)
{
    unsigned from = order;

    if ((uint64_t)arena->pages_free < (uint64_t)pages_of(order) + reserve) {
        return PAWL_ARENA_NONE;
    }
    while (from < PAWL_ARENA_ORDERS && arena->free_heads[from] == PAWL_ARENA_NONE) {
        from++;
    }
    if (from >= PAWL_ARENA_ORDERS) {
        return PAWL_ARENA_NONE;
    }
    uint32_t page = arena->free_heads[from];

    list_remove(arena, page);
    while (from > order) {
        from--;
        list_push(arena, page + pages_of(from), from);
    }
    count_free(arena, arena->pages_free - pages_of(order));
    return page;
}

uint32_t pawl_arena_take(struct pawl_arena *arena, unsigned order, uint32_t reserve)
{
    uint32_t free_now = __atomic_load_n(&arena->pages_free, __ATOMIC_RELAXED);

    if (order >= PAWL_ARENA_ORDERS || (uint64_t)free_now < (uint64_t)pages_of(order) + reserve) {
        return PAWL_ARENA_NONE; /* in a flood every check comes here: no lock for that */
    }
    (void)pthread_mutex_lock(&arena->lock);
    uint32_t page = take_locked(arena, order, reserve);

    (void)pthread_mutex_unlock(&arena->lock);
    return page;
}

/* Give the free run around a freed block back to the system, a bounded piece of it. */
static void release_run(struct pawl_arena *arena, uint32_t freed, unsigned freed_order,
                        unsigned run_order)
{
    unsigned order = run_order < CHUNK_ORDER ? run_order : CHUNK_ORDER;

    order = order > freed_order ? order : freed_order;
    size_t size = (size_t)PAWL_ARENA_PAGE << order;

    if (arena->release != NULL && size >= PAWL_ARENA_RELEASE) {
        arena->release(pawl_arena_at(arena, freed & ~(pages_of(order) - 1)), size);
    }
}

void pawl_arena_give(struct pawl_arena *arena, uint32_t page, unsigned order)
{
    uint32_t freed = page;
    unsigned freed_order = order;

    (void)pthread_mutex_lock(&arena->lock);
    count_free(arena, arena->pages_free + pages_of(order));
    while (order + 1 < PAWL_ARENA_ORDERS) {
        uint32_t buddy = page ^ pages_of(order);

        if (buddy >= arena->pages_count || !arena->pages[buddy].is_free ||
            arena->pages[buddy].order != order) {
            break;
        }
        list_remove(arena, buddy);
        page &= ~pages_of(order);
        order++;
    }
    list_push(arena, page, order);
    release_run(arena, freed, freed_order, order);
    (void)pthread_mutex_unlock(&arena->lock);
}

uint64_t pawl_arena_free_bytes(const struct pawl_arena *arena)
{
    return (uint64_t)__atomic_load_n(&arena->pages_free, __ATOMIC_RELAXED) * PAWL_ARENA_PAGE;
}
