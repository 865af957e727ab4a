#include "core/record_join.h"

#include "core/octets.h"
#include "core/slots.h"

#include <string.h>

#define SAVED_WIDE   1
#define SAVED_CELL   2
#define NARROW_BYTES 5
#define WIDE_BYTES   9
#define NARROW_MAX   254

static uint32_t longer(const struct pawl_join_side *a, const struct pawl_join_side *b)
{
    return a->head->window_ms > b->head->window_ms ? a->head->window_ms : b->head->window_ms;
}

static void put_head(uint8_t *out, const struct pawl_join_side *a, const struct pawl_join_side *b,
                     bool wide, unsigned entries)
{
    out[0] = (uint8_t)((unsigned)a->head->kind << 4 | PAWL_RECORD_VERSION);
    out[1] = (uint8_t)((wide ? SAVED_WIDE : 0) | (a->head->cell || b->head->cell ? SAVED_CELL : 0));
    pawl_put_le(out + 2, entries, 2);
    pawl_put_le(out + 4, longer(a, b), 4);
    pawl_put_le(out + 8, a->head->id.lo, 8);
    pawl_put_le(out + 16, a->head->id.hi, 8);
}

/* ---- sliding windows ---- */

/* The entries of one side that are still in its window, oldest first. */
struct feed {
    const uint8_t *at;
    unsigned left;
    unsigned bytes;
    uint32_t window_ms;
    uint64_t elapsed_ms;
    uint64_t age_ms; /* of the entry in front; while there is one */
    uint64_t count;  /* 0: there is none */
};

static void feed_step(struct feed *feed)
{
    feed->count = 0;
    while (feed->left > 0 && feed->count == 0) {
        uint64_t age_ms = pawl_get_le(feed->at, 4);

        if (feed->elapsed_ms < feed->window_ms - age_ms) {
            feed->age_ms = age_ms + feed->elapsed_ms;
            feed->count = pawl_get_le(feed->at + 4, feed->bytes - 4);
        }
        feed->at += feed->bytes;
        feed->left--;
    }
}

static struct feed feed_of(const struct pawl_join_side *side)
{
    struct feed feed = { .at = side->bytes.data + PAWL_RECORD_HEAD_BYTES,
                         .left = side->head->entries,
                         .bytes = side->head->wide ? WIDE_BYTES : NARROW_BYTES,
                         .window_ms = side->head->window_ms,
                         .elapsed_ms = side->elapsed_ms };

    feed_step(&feed);
    return feed;
}

uint64_t pawl_window_join_total(const struct pawl_join_side *side)
{
    uint64_t total = 0;

    for (struct feed feed = feed_of(side); feed.count > 0; feed_step(&feed)) {
        total += feed.count;
    }
    return total;
}

/* What came of a pass over both sides. */
struct merged {
    unsigned entries;
    uint64_t largest;
};

static uint64_t cell_of(uint64_t age_ms, uint32_t window_ms, bool grid)
{
    return grid ? age_ms * (PAWL_PRECISION_MAX - 1) / window_ms : age_ms;
}

static void put_entry(uint8_t *out, unsigned i, bool wide, uint64_t age_ms, uint64_t count)
{
    unsigned bytes = wide ? WIDE_BYTES : NARROW_BYTES;

    if (out != NULL) {
        out += PAWL_RECORD_HEAD_BYTES + (size_t)i * bytes;
        pawl_put_le(out, age_ms, 4);
        pawl_put_le(out + 4, count, bytes - 4);
    }
}

/* Both sides by age; what falls in one cell (of a ms, or of the grid) is one entry. */
static struct merged merge(const struct pawl_join_side *a, const struct pawl_join_side *b,
                           bool grid, bool wide, uint8_t *out)
{
    struct feed feeds[2] = { feed_of(a), feed_of(b) };
    struct merged merged = { 0, 0 };
    uint32_t window_ms = longer(a, b);
    uint64_t count = 0;
    uint64_t cell = 0;

    while (feeds[0].count > 0 || feeds[1].count > 0) {
        bool second =
            feeds[0].count == 0 || (feeds[1].count > 0 && feeds[1].age_ms > feeds[0].age_ms);
        struct feed *feed = &feeds[second ? 1 : 0];
        uint64_t its_cell = cell_of(feed->age_ms, window_ms, grid);

        if (merged.entries == 0 || its_cell != cell) {
            merged.entries++;
            count = 0;
        }
        cell = its_cell;
        count = count + feed->count < PAWL_COUNT_MAX ? count + feed->count : PAWL_COUNT_MAX;
        merged.largest = count > merged.largest ? count : merged.largest;
        put_entry(out, merged.entries - 1, wide, feed->age_ms, count);
        feed_step(feed);
    }
    return merged;
}

size_t pawl_window_join(const struct pawl_join_side *a, const struct pawl_join_side *b,
                        uint8_t *out)
{
    struct merged merged = merge(a, b, false, false, NULL);
    bool grid = merged.entries > PAWL_PRECISION_MAX;

    if (grid) {
        merged = merge(a, b, true, false, NULL);
    }
    bool wide = merged.largest > NARROW_MAX;

    (void)merge(a, b, grid, wide, out);
    put_head(out, a, b, wide, merged.entries);
    return PAWL_RECORD_HEAD_BYTES + (size_t)merged.entries * (wide ? WIDE_BYTES : NARROW_BYTES);
}

/* ---- concurrency ---- */

struct held {
    uint64_t age_ms;
    uint64_t slots;
    uint64_t handle;
};

static bool held_at(const struct pawl_join_side *side, unsigned i, struct held *held)
{
    const uint8_t *at =
        side->bytes.data + PAWL_RECORD_HEAD_BYTES + (size_t)i * PAWL_SLOTS_SAVED_BYTES;
    uint64_t age_ms = pawl_get_le(at, 4);

    held->age_ms = age_ms + side->elapsed_ms;
    held->slots = pawl_get_le(at + 4, 2);
    held->handle = pawl_get_le(at + 6, 8);
    return side->elapsed_ms < side->head->window_ms - age_ms;
}

/* The charge of @held on the other side, while it lives there. */
static bool find(const struct pawl_join_side *side, const struct held *held, struct held *other)
{
    for (unsigned i = 0; held->handle != 0 && i < side->head->entries; i++) {
        if (held_at(side, i, other) && other->handle == held->handle) {
            return true;
        }
    }
    return false;
}

/* The next entry from @i on that stands for itself; false at the end. */
static bool next_held(const struct pawl_join_side *side, const struct pawl_join_side *beside,
                      bool first, unsigned *i, struct held *held)
{
    struct held other;

    for (; *i < side->head->entries; (*i)++) {
        if (!held_at(side, *i, held)) {
            continue;
        }
        if (!find(beside, held, &other)) {
            return true;
        }
        held->slots = other.slots > held->slots ? other.slots : held->slots;
        if (held->age_ms < other.age_ms || (first && held->age_ms == other.age_ms)) {
            return true; /* the later of the two stands for both */
        }
    }
    return false;
}

/* Both sides by age, but for the first @skip; how many there were. */
static unsigned merge_held(const struct pawl_join_side *a, const struct pawl_join_side *b,
                           unsigned skip, uint8_t *out)
{
    struct held held[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
    unsigned at[2] = { 0, 0 };
    bool more[2] = { next_held(a, b, true, &at[0], &held[0]),
                     next_held(b, a, false, &at[1], &held[1]) };
    unsigned count = 0;

    while (more[0] || more[1]) {
        unsigned i = !more[0] || (more[1] && held[1].age_ms > held[0].age_ms) ? 1 : 0;

        if (out != NULL && count >= skip) {
            pawl_put_le(out, held[i].age_ms, 4);
            pawl_put_le(out + 4, held[i].slots, 2);
            pawl_put_le(out + 6, held[i].handle, 8);
            out += PAWL_SLOTS_SAVED_BYTES;
        }
        count++;
        at[i]++;
        more[i] = i == 0 ? next_held(a, b, true, &at[0], &held[0])
                         : next_held(b, a, false, &at[1], &held[1]);
    }
    return count;
}

size_t pawl_slots_join(const struct pawl_join_side *a, const struct pawl_join_side *b, uint8_t *out)
{
    unsigned count = merge_held(a, b, 0, NULL);
    unsigned skip = count > PAWL_SLOTS_MAX ? count - PAWL_SLOTS_MAX : 0;

    (void)merge_held(a, b, skip, out + PAWL_RECORD_HEAD_BYTES);
    put_head(out, a, b, false, count - skip);
    return PAWL_RECORD_HEAD_BYTES + (size_t)(count - skip) * PAWL_SLOTS_SAVED_BYTES;
}
