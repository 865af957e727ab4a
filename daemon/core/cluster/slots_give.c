/* Slots that are given to their heirs: the side that is asked. */
#include "core/cluster/slots_inside.h"
#include "core/octets.h"

#include <string.h>

static struct pawl_slots_give *give_find(const struct pawl_cluster_slots *slots,
                                         const struct pawl_member_id *heir, uint32_t bundle)
{
    for (uint32_t i = 0; i < PAWL_SLOTS_GIVES_MAX; i++) {
        struct pawl_slots_give *give = &slots->tables->gives[i];

        if (give->used && give->bundle == bundle && pawl_member_id_equal(give->heir, *heir)) {
            return give;
        }
    }
    return NULL;
}

uint64_t pawl_slots_giving(const struct pawl_cluster_slots *slots, uint32_t bundle)
{
    uint64_t set = 0;

    for (uint32_t i = 0; i < PAWL_SLOTS_GIVES_MAX; i++) {
        const struct pawl_slots_give *give = &slots->tables->gives[i];

        set |= give->used && give->bundle == bundle ? give->set : 0;
    }
    return set;
}

/* The heir has not got it and nobody has decided on it since: as it was before. */
static void take_back(struct pawl_cluster_slots *slots, struct pawl_slots_give *give)
{
    struct pawl_slots_tables *tables = slots->tables;

    pawl_slots_set_all(slots, give->bundle, give->held, PAWL_SLOT_HELD);
    tables->whole[give->bundle] |= give->whole & ~give->held;
    tables->recheck |= UINT64_C(1) << give->bundle;
    tables->counted |= UINT64_C(1) << give->bundle;
    give->used = false;
}

/* The heir has it all. */
static void let_go(struct pawl_cluster_slots *slots, struct pawl_slots_give *give)
{
    struct pawl_slots_tables *tables = slots->tables;

    if (give->set != 0) {
        (void)pawl_limiter_forget_slots(slots->options.limiter, give->bundle, give->set);
    }
    tables->whole[give->bundle] &= ~give->set;
    pawl_slots_set_away(slots, give->bundle, give->set & tables->given[give->bundle]);
    tables->recheck |= UINT64_C(1) << give->bundle;
    give->used = false;
}

void pawl_slots_gives_on_view(struct pawl_cluster_slots *slots)
{
    for (uint32_t i = 0; i < PAWL_SLOTS_GIVES_MAX; i++) {
        struct pawl_slots_give *give = &slots->tables->gives[i];

        if (give->used && !pawl_slots_in_view(slots, &give->heir)) {
            take_back(slots, give);
        }
    }
}

void pawl_slots_gives_drop(struct pawl_cluster_slots *slots)
{
    for (uint32_t i = 0; i < PAWL_SLOTS_GIVES_MAX; i++) {
        slots->tables->gives[i].used = false;
    }
}

/* The slots of @bundle that @member owns by the view. */
static uint64_t slots_of(const struct pawl_cluster_slots *slots,
                         const struct pawl_member_id *member, uint32_t bundle)
{
    const struct pawl_ring *ring = &slots->tables->ring;
    uint16_t index = pawl_ring_find(ring, member);
    uint64_t set = 0;

    for (unsigned bit = 0; bit < PAWL_SLOTS_WORDS && index != PAWL_RING_NOBODY; bit++) {
        if (ring->owner[pawl_slot_number(bundle, bit)] == index) {
            set |= UINT64_C(1) << bit;
        }
    }
    return set;
}

static enum pawl_slots_asked begin(struct pawl_cluster_slots *slots,
                                   const struct pawl_member_id *heir, uint64_t view,
                                   uint32_t bundle)
{
    struct pawl_slots_tables *tables = slots->tables;
    uint64_t set = slots_of(slots, heir, bundle);
    uint32_t i = 0;

    while (i < PAWL_SLOTS_GIVES_MAX && tables->gives[i].used) {
        i++;
    }
    /* Who owned it for a moment has to have it, or to begin anew, before the next one gets it; and
     * what is joined here but not confirmed would be given by two. */
    if (i == PAWL_SLOTS_GIVES_MAX || (pawl_slots_giving(slots, bundle) & set) != 0 ||
        pawl_slots_is_confirming(slots, bundle)) {
        return PAWL_SLOTS_BUSY;
    }
    tables->gives[i] = (struct pawl_slots_give){ .used = true,
                                                 .heir = *heir,
                                                 .bundle = bundle,
                                                 .view = view,
                                                 .set = set,
                                                 .held = set & tables->held[bundle] };
    tables->gives[i].whole = set & (tables->held[bundle] | tables->whole[bundle]);
    pawl_slots_set_all(slots, bundle, tables->gives[i].held, PAWL_SLOT_GIVEN);
    return tables->gives[i].held != 0 ? PAWL_SLOTS_QUIESCE : PAWL_SLOTS_ANSWER;
}

enum pawl_slots_asked pawl_cluster_slots_asked(struct pawl_cluster_slots *slots,
                                               const struct pawl_member_id *asker, uint64_t view,
                                               uint32_t bundle, uint64_t cursor, bool have,
                                               uint64_t now_ms)
{
    struct pawl_slots_give *give = give_find(slots, asker, bundle);
    enum pawl_slots_asked verdict = PAWL_SLOTS_ANSWER;

    uint16_t index = pawl_slots_member(slots, asker);

    if (bundle >= PAWL_BUNDLES) {
        return PAWL_SLOTS_BUSY;
    }
    if (index != PAWL_RING_NOBODY) {
        slots->tables->asked_ms[index] = now_ms;
    }
    if (have) {
        if (give != NULL && give->view == cursor) { /* else it was confirmed before */
            let_go(slots, give);
        }
    } else if (cursor != 0) {
        verdict = give != NULL ? PAWL_SLOTS_ANSWER : PAWL_SLOTS_BUSY;
    } else if (view < slots->view) {
        verdict = PAWL_SLOTS_MOVED;
    } else if (view > slots->view || !slots->member || !pawl_slots_in_view(slots, asker)) {
        verdict = PAWL_SLOTS_BUSY;
    } else {
        if (give != NULL) { /* it begins anew: it has nothing of what was sent before */
            take_back(slots, give);
        }
        verdict = begin(slots, asker, view, bundle);
    }
    pawl_slots_due(slots, now_ms);
    pawl_slots_tell(slots);
    return verdict;
}

/* ---- pages ---- */

struct page {
    uint8_t *out;
    size_t capacity;
    size_t size;
};

static bool page_put(void *data, const uint8_t *record, size_t size)
{
    struct page *page = data;

    if (page->capacity - page->size < size + 4) {
        return false;
    }
    pawl_put_le(page->out + page->size, size, 4);
    memcpy(page->out + page->size + 4, record, size);
    page->size += size + 4;
    return true;
}

enum pawl_status pawl_cluster_slots_page(struct pawl_cluster_slots *slots,
                                         const struct pawl_member_id *asker, uint32_t bundle,
                                         uint64_t cursor, uint8_t *out, size_t capacity,
                                         size_t *size, uint64_t *next, uint64_t *whole,
                                         uint64_t now_ms)
{
    const struct pawl_slots_give *give = give_find(slots, asker, bundle);
    struct page page = { NULL, capacity, 0 };
    size_t handed = 0;

    *size = 0;
    *next = 0;
    *whole = 0;
    if (give == NULL) {
        return PAWL_EAGAIN;
    }
    page.out = out;
    if (give->set != 0 &&
        pawl_limiter_collect_slots(slots->options.limiter, bundle, give->set, false, &cursor,
                                   capacity, pawl_slots_leaving(now_ms), slots->tables->scratch,
                                   page_put, &page, &handed) == PAWL_EAGAIN) {
        *next = cursor;
    }
    slots->figures.given_records += handed;
    *size = page.size;
    *whole = give->whole;
    return PAWL_OK;
}
