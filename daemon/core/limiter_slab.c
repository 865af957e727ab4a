#include "core/limiter_slab.h"

#include <string.h>

#define CLASS_BIG   64
#define STEPPED_MAX 512
#define PAGE_ROOM   (PAWL_ARENA_PAGE - PAWL_SLAB_HEAD_BYTES)

/* From 512 up: what 7, 6 ... 1 records of a page may measure. */
static const uint16_t class_sizes[] = { 576, 672, 808, 1008, 1344, 2024, 4048 };

static unsigned class_for(size_t bytes)
{
    if (bytes <= PAWL_WINDOW_BYTES_MIN) {
        return 0;
    }
    if (bytes <= STEPPED_MAX) {
        return (unsigned)((bytes + 7) / 8 - PAWL_WINDOW_BYTES_MIN / 8);
    }
    for (unsigned i = 0; i < sizeof(class_sizes) / sizeof(class_sizes[0]); i++) {
        if (bytes <= class_sizes[i]) {
            return 57 + i;
        }
    }
    return CLASS_BIG;
}

static unsigned size_of_class(unsigned class)
{
    return class < 57 ? PAWL_WINDOW_BYTES_MIN + class * 8 : class_sizes[class - 57];
}

static unsigned places_of_class(unsigned class)
{
    return class == CLASS_BIG ? 1 : PAGE_ROOM / size_of_class(class);
}

/* Records lie at the end of the page: those of 64 bytes are then whole cache lines. */
static size_t offset_of(unsigned class, unsigned place)
{
    if (class == CLASS_BIG) {
        return PAWL_SLAB_HEAD_BYTES;
    }
    return PAWL_ARENA_PAGE - (size_t)(places_of_class(class) - place) * size_of_class(class);
}

static uint32_t number_of(const struct pawl_slab *slab, const struct pawl_slab_page *page)
{
    return pawl_arena_page_of(slab->arena, page);
}

static struct pawl_slab_page *page_of(const struct pawl_slab *slab,
                                      const struct pawl_window *record)
{
    return pawl_slab_page_at(slab, pawl_arena_page_of(slab->arena, record));
}

void pawl_slab_init(struct pawl_slab *slab, struct pawl_arena *arena)
{
    slab->arena = arena;
    for (unsigned i = 0; i < PAWL_SLAB_CLASSES; i++) {
        slab->with_room[i] = PAWL_ARENA_NONE;
    }
    slab->all = PAWL_ARENA_NONE;
    slab->dirty = PAWL_ARENA_NONE;
    slab->walk = PAWL_ARENA_NONE;
    slab->bytes = 0;
}

/* ---- the three lists ---- */

static void room_push(struct pawl_slab *slab, struct pawl_slab_page *page)
{
    uint32_t number = number_of(slab, page);

    page->has_room = true;
    page->prev = PAWL_ARENA_NONE;
    page->next = slab->with_room[page->class];
    if (page->next != PAWL_ARENA_NONE) {
        pawl_slab_page_at(slab, page->next)->prev = number;
    }
    slab->with_room[page->class] = number;
}

static void room_remove(struct pawl_slab *slab, struct pawl_slab_page *page)
{
    page->has_room = false;
    if (page->next != PAWL_ARENA_NONE) {
        pawl_slab_page_at(slab, page->next)->prev = page->prev;
    }
    if (page->prev != PAWL_ARENA_NONE) {
        pawl_slab_page_at(slab, page->prev)->next = page->next;
    } else {
        slab->with_room[page->class] = page->next;
    }
}

static void all_push(struct pawl_slab *slab, struct pawl_slab_page *page)
{
    uint32_t number = number_of(slab, page);

    page->all_prev = PAWL_ARENA_NONE;
    page->all_next = slab->all;
    if (slab->all != PAWL_ARENA_NONE) {
        pawl_slab_page_at(slab, slab->all)->all_prev = number;
    }
    slab->all = number;
}

static void all_remove(struct pawl_slab *slab, struct pawl_slab_page *page)
{
    if (slab->walk == number_of(slab, page)) {
        slab->walk = page->all_next;
    }
    if (page->all_next != PAWL_ARENA_NONE) {
        pawl_slab_page_at(slab, page->all_next)->all_prev = page->all_prev;
    }
    if (page->all_prev != PAWL_ARENA_NONE) {
        pawl_slab_page_at(slab, page->all_prev)->all_next = page->all_next;
    } else {
        slab->all = page->all_next;
    }
}

void pawl_slab_mark(struct pawl_slab *slab, const struct pawl_window *record)
{
    struct pawl_slab_page *page = page_of(slab, record);

    if (page->is_dirty) {
        return;
    }
    page->is_dirty = true;
    page->dirty_prev = PAWL_ARENA_NONE;
    page->dirty_next = slab->dirty;
    if (slab->dirty != PAWL_ARENA_NONE) {
        pawl_slab_page_at(slab, slab->dirty)->dirty_prev = number_of(slab, page);
    }
    slab->dirty = number_of(slab, page);
}

void pawl_slab_unmark(struct pawl_slab *slab, struct pawl_slab_page *page)
{
    page->is_dirty = false;
    if (page->dirty_next != PAWL_ARENA_NONE) {
        pawl_slab_page_at(slab, page->dirty_next)->dirty_prev = page->dirty_prev;
    }
    if (page->dirty_prev != PAWL_ARENA_NONE) {
        pawl_slab_page_at(slab, page->dirty_prev)->dirty_next = page->dirty_next;
    } else {
        slab->dirty = page->dirty_next;
    }
}

/* ---- pages ---- */

static struct pawl_slab_page *page_create(struct pawl_slab *slab, unsigned class, unsigned order,
                                          uint32_t reserve)
{
    uint32_t number = pawl_arena_take(slab->arena, order, reserve);

    if (number == PAWL_ARENA_NONE) {
        return NULL;
    }
    struct pawl_slab_page *page = pawl_slab_page_at(slab, number);

    memset(page, 0, sizeof(*page));
    page->class = (uint8_t) class;
    page->order = (uint8_t)order;
    all_push(slab, page);
    room_push(slab, page);
    slab->bytes += (uint64_t)PAWL_ARENA_PAGE << order;
    return page;
}

static void page_destroy(struct pawl_slab *slab, struct pawl_slab_page *page)
{
    if (page->has_room) {
        room_remove(slab, page);
    }
    if (page->is_dirty) {
        pawl_slab_unmark(slab, page);
    }
    all_remove(slab, page);
    slab->bytes -= (uint64_t)PAWL_ARENA_PAGE << page->order;
    pawl_arena_give(slab->arena, number_of(slab, page), page->order);
}

struct pawl_window *pawl_slab_take(struct pawl_slab *slab, size_t bytes, uint32_t reserve,
                                   size_t *size)
{
    unsigned class = class_for(bytes);
    unsigned order = class == CLASS_BIG ? pawl_arena_order(bytes + PAWL_SLAB_HEAD_BYTES) : 0;
    struct pawl_slab_page *page;

    if (class != CLASS_BIG && slab->with_room[class] != PAWL_ARENA_NONE) {
        page = pawl_slab_page_at(slab, slab->with_room[class]);
    } else {
        page = page_create(slab, class, order, reserve);
    }
    if (page == NULL) {
        return NULL;
    }
    unsigned place = page->free_place != 0 ? page->free_place - 1U : page->fresh;
    struct pawl_window *record = (struct pawl_window *)((uint8_t *)page + offset_of(class, place));

    if (page->free_place != 0) {
        page->free_place = record->units;
    } else {
        page->fresh++;
    }
    page->used++;
    record->kind = 0;
    if (page->free_place == 0 && page->fresh == places_of_class(class)) {
        room_remove(slab, page);
    }
    *size = class == CLASS_BIG ? ((size_t)PAWL_ARENA_PAGE << order) - PAWL_SLAB_HEAD_BYTES
                               : size_of_class(class);
    return record;
}

void pawl_slab_give(struct pawl_slab *slab, struct pawl_window *record)
{
    struct pawl_slab_page *page = page_of(slab, record);
    size_t offset = (size_t)((uint8_t *)record - (uint8_t *)page);
    unsigned place = 0;

    if (page->class != CLASS_BIG) {
        place = (unsigned)((offset - offset_of(page->class, 0)) / size_of_class(page->class));
    }
    record->kind = 0;
    record->units = page->free_place;
    page->free_place = (uint16_t)(place + 1);
    if (!page->has_room) {
        room_push(slab, page);
    }
    pawl_slab_unhold(slab, page);
}

void pawl_slab_hold(struct pawl_slab_page *page)
{
    page->used++;
}

void pawl_slab_unhold(struct pawl_slab *slab, struct pawl_slab_page *page)
{
    page->used--;
    if (page->used == 0) {
        page_destroy(slab, page);
    }
}

unsigned pawl_slab_places(const struct pawl_slab_page *page)
{
    return page->fresh;
}

struct pawl_window *pawl_slab_record(struct pawl_slab_page *page, unsigned place)
{
    struct pawl_window *record =
        (struct pawl_window *)((uint8_t *)page + offset_of(page->class, place));

    return record->kind != 0 ? record : NULL;
}
