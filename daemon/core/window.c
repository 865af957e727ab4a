#include "core/window.h"

#include "core/octets.h"

#include <string.h>

#define NS_PER_MS    UINT64_C(1000000)
#define NARROW_BYTES 5
#define WIDE_BYTES   9
#define NARROW_MAX   254

/*
 * Times on the record's scale start here, not at 0: after a reboot the clock begins anew while
 * ages of 45 days may be loaded, and an event before boot has to have a time too.
 */
#define SCALE_MS (UINT64_C(1) << 32)

static inline uint64_t floor_ms(uint64_t ns)
{
    return ns / NS_PER_MS + SCALE_MS;
}

static inline uint64_t ceil_ms(uint64_t ns)
{
    return ns / NS_PER_MS + (ns % NS_PER_MS != 0 ? 1 : 0) + SCALE_MS;
}

static inline bool is_wide(const struct pawl_window *w)
{
    return (w->flags & PAWL_RECORD_WIDE) != 0;
}

static inline unsigned entry_bytes(bool wide)
{
    return wide ? WIDE_BYTES : NARROW_BYTES;
}

static inline unsigned room_for(unsigned units, bool wide)
{
    unsigned bytes = units * 8 - PAWL_WINDOW_HEAD_BYTES;
    unsigned entries = wide ? bytes / WIDE_BYTES : bytes / NARROW_BYTES;

    return entries < PAWL_PRECISION_MAX ? entries : PAWL_PRECISION_MAX;
}

static inline unsigned capacity_of(const struct pawl_window *w)
{
    return room_for(w->units, is_wide(w));
}

/* One more than "now" as last seen: no entry is later, so 32 bits below it give the time back. */
static inline uint64_t horizon_of(const struct pawl_window *w)
{
    return floor_ms(w->seen_ns) + 1;
}

static inline const uint8_t *entry_at(const struct pawl_window *w, unsigned i)
{
    unsigned capacity = capacity_of(w);
    unsigned place = w->head + i;

    return w->entries +
           (size_t)(place < capacity ? place : place - capacity) * entry_bytes(is_wide(w));
}

/* entry_at() the head, which always lies in the ring. */
static inline const uint8_t *oldest_of(const struct pawl_window *w)
{
    return w->entries + (size_t)w->head * entry_bytes(is_wide(w));
}

static inline uint8_t *entry_for(struct pawl_window *w, unsigned i)
{
    unsigned capacity = capacity_of(w);
    unsigned place = w->head + i;

    return w->entries +
           (size_t)(place < capacity ? place : place - capacity) * entry_bytes(is_wide(w));
}

static inline uint64_t entry_time(const uint8_t *entry, uint64_t horizon)
{
    uint32_t low;

    memcpy(&low, entry, sizeof(low));
    return horizon - (uint32_t)((uint32_t)horizon - low);
}

static inline uint64_t entry_count(const uint8_t *entry, bool wide)
{
    uint64_t count = entry[4];

    if (wide) {
        uint32_t high;

        memcpy(&high, entry + 5, sizeof(high));
        count |= (uint64_t)high << 8;
    }
    return count;
}

static inline void entry_set_time(uint8_t *entry, uint64_t time_ms)
{
    uint32_t low = (uint32_t)time_ms;

    memcpy(entry, &low, sizeof(low));
}

static inline void entry_set_count(uint8_t *entry, bool wide, uint64_t count)
{
    entry[4] = (uint8_t)count;
    if (wide) {
        uint32_t high = (uint32_t)(count >> 8);

        memcpy(entry + 5, &high, sizeof(high));
    }
}

static inline uint64_t add_counts(uint64_t a, uint64_t b)
{
    return a + b < PAWL_COUNT_MAX ? a + b : PAWL_COUNT_MAX; /* both are below 2^53 */
}

/* ---- the grid ---- */

/* Cells are intervals of scaled time t * (precision - 1): [cell * window, (cell + 1) * window). */
static inline uint64_t scaled(uint64_t time_ms, unsigned precision)
{
    return time_ms * (precision - 1); /* below 2^45 * 2^12 */
}

static bool same_cell(uint64_t earlier_ms, uint64_t later_ms, unsigned precision,
                      uint32_t window_ms)
{
    uint64_t start = scaled(later_ms, precision) / window_ms * window_ms;

    return scaled(earlier_ms, precision) >= start;
}

/* Walks times in order and says for each whether it lies in the cell of the one before. */
struct cells {
    unsigned precision;
    uint32_t window_ms;
    uint64_t end; /* scaled; 0 before the first */
};

static bool cells_step(struct cells *cells, uint64_t time_ms)
{
    uint64_t at = scaled(time_ms, cells->precision);

    if (at < cells->end) {
        return true;
    }
    cells->end = at / cells->window_ms * cells->window_ms + cells->window_ms;
    return false;
}

/* ---- making, moving ---- */

size_t pawl_window_size(unsigned entries, bool wide)
{
    size_t size = PAWL_WINDOW_HEAD_BYTES + (size_t)entries * entry_bytes(wide);

    size = (size + 7) & ~(size_t)7;
    return size > PAWL_WINDOW_BYTES_MIN ? size : PAWL_WINDOW_BYTES_MIN;
}

void pawl_window_init(struct pawl_window *window, size_t bytes, struct pawl_id id,
                      uint32_t window_ms, struct pawl_instant now)
{
    memset(window, 0, PAWL_WINDOW_HEAD_BYTES);
    window->kind = PAWL_RECORD_BYTE_SLIDING;
    window->units = (uint16_t)(bytes / 8 < UINT16_MAX ? bytes / 8 : UINT16_MAX);
    window->id = id;
    window->seen_ns = now.ns;
    window->window_ms = window_ms;
}

void pawl_window_clear(struct pawl_window *window)
{
    window->head = 0;
    window->length = 0;
    window->total = 0;
    window->flags &= (uint8_t)~PAWL_RECORD_WIDE;
}

static inline void append(struct pawl_window *w, uint64_t time_ms, uint64_t count)
{
    uint8_t *entry = entry_for(w, w->length);

    entry_set_time(entry, time_ms);
    entry_set_count(entry, is_wide(w), count);
    w->length++;
    w->total += count;
}

/*
 * Refill @to (same head, other form or size) from the raw ring of @from. When it has no room for
 * all of them, entries merge on the grid that its room allows; @precision bounds it too.
 */
static void refill(struct pawl_window *to, const struct pawl_window *from, const uint8_t *ring,
                   unsigned precision)
{
    unsigned room = capacity_of(to);
    unsigned capacity = capacity_of(from);
    unsigned bytes = entry_bytes(is_wide(from));
    uint64_t horizon = horizon_of(from);
    bool merge = from->length > room;
    struct cells cells = { room < precision ? room : precision, from->window_ms, 0 };

    for (unsigned i = 0; i < from->length; i++) {
        unsigned place = from->head + i;
        const uint8_t *entry = ring + (size_t)(place < capacity ? place : place - capacity) * bytes;
        uint64_t time_ms = entry_time(entry, horizon);
        uint64_t count = entry_count(entry, is_wide(from));

        if (merge && cells_step(&cells, time_ms)) {
            uint8_t *last = entry_for(to, to->length - 1U);
            uint64_t before = entry_count(last, is_wide(to));
            uint64_t after = add_counts(before, count);

            entry_set_time(last, time_ms);
            entry_set_count(last, is_wide(to), after);
            to->total += after - before;
        } else {
            append(to, time_ms, count);
        }
    }
}

void pawl_window_move(struct pawl_window *to, size_t bytes, const struct pawl_window *from,
                      bool wide)
{
    memcpy(to, from, PAWL_WINDOW_HEAD_BYTES);
    to->units = (uint16_t)(bytes / 8 < UINT16_MAX ? bytes / 8 : UINT16_MAX);
    pawl_window_clear(to);
    if (wide || is_wide(from)) {
        to->flags |= PAWL_RECORD_WIDE;
    }
    refill(to, from, from->entries, PAWL_PRECISION_MAX);
}

/* ---- time ---- */

/* pawl_window_advance(); returns what time it is then. */
static inline __attribute__((always_inline)) uint64_t advance(struct pawl_window *window,
                                                              uint32_t window_ms,
                                                              struct pawl_instant now)
{
    uint64_t horizon = horizon_of(window); /* of the entries, before time moves on */

    if (now.ns > window->seen_ns) {
        window->seen_ns = now.ns;
    }
    window->window_ms = window_ms;
    uint64_t now_ms = floor_ms(window->seen_ns);

    while (window->length > 0) {
        const uint8_t *oldest = oldest_of(window);

        if (PAWL_LIKELY(entry_time(oldest, horizon) + window_ms > now_ms)) {
            return now_ms;
        }
        window->total -= entry_count(oldest, is_wide(window));
        window->head = window->head + 1U < capacity_of(window) ? (uint16_t)(window->head + 1U) : 0;
        window->length--;
    }
    pawl_window_clear(window);
    return now_ms;
}

void pawl_window_advance(struct pawl_window *window, uint32_t window_ms, struct pawl_instant now)
{
    (void)advance(window, window_ms, now);
}

bool pawl_window_is_spent(const struct pawl_window *window, struct pawl_instant now)
{
    if (window->length == 0) {
        return true;
    }
    uint64_t now_ns = now.ns > window->seen_ns ? now.ns : window->seen_ns;
    uint64_t newest = entry_time(entry_at(window, window->length - 1U), horizon_of(window));

    return newest + window->window_ms <= floor_ms(now_ns);
}

/* ---- asking ---- */

/* The entries inside a rate's own window: all of them, but for cells that several rates share. */
struct span {
    unsigned first;
    uint64_t total;
};

static inline struct span span_of(const struct pawl_window *w, uint32_t window_ms)
{
    struct span span = { 0, w->total };

    if (PAWL_LIKELY(window_ms >= w->window_ms)) {
        return span;
    }
    uint64_t horizon = horizon_of(w);

    while (span.first < w->length) {
        const uint8_t *entry = entry_at(w, span.first);

        if (entry_time(entry, horizon) + window_ms > horizon - 1) {
            break;
        }
        span.total -= entry_count(entry, is_wide(w));
        span.first++;
    }
    return span;
}

static inline bool fits(uint64_t total, const struct pawl_rate *rate, uint64_t cost)
{
    return cost <= rate->count && total <= rate->count - cost;
}

bool pawl_window_fits(const struct pawl_window *window, const struct pawl_rate *rate, uint64_t cost)
{
    return fits(span_of(window, rate->window_ms).total, rate, cost);
}

/* Until enough of the oldest entries have left for @cost to fit. */
static uint64_t retry_after(const struct pawl_window *w, const struct pawl_rate *rate,
                            uint64_t cost, struct span span)
{
    uint64_t horizon = horizon_of(w);

    for (unsigned i = span.first; i < w->length; i++) {
        const uint8_t *entry = entry_at(w, i);

        span.total -= entry_count(entry, is_wide(w));
        if (fits(span.total, rate, cost)) {
            return entry_time(entry, horizon) + rate->window_ms - (horizon - 1);
        }
    }
    return 0;
}

static void answer_empty(const struct pawl_rate *rate, uint64_t cost, uint64_t total,
                         struct pawl_window_answer *answer)
{
    answer->count = total;
    answer->remaining = total < rate->count ? rate->count - total : 0;
    answer->oldest_age_ms = 0;
    answer->reset_after_ms = 0;
    answer->retry_after_ms = 0;
    answer->never = cost > rate->count;
    answer->allowed = fits(total, rate, cost);
}

bool pawl_window_ask_empty(const struct pawl_rate *rate, uint64_t cost,
                           struct pawl_window_answer *answer)
{
    answer_empty(rate, cost, 0, answer);
    return answer->allowed;
}

bool pawl_window_ask(const struct pawl_window *window, const struct pawl_rate *rate, uint64_t cost,
                     struct pawl_window_answer *answer)
{
    struct span span = span_of(window, rate->window_ms);

    answer_empty(rate, cost, span.total, answer);
    if (span.first == window->length) {
        return answer->allowed;
    }
    uint64_t horizon = horizon_of(window);
    uint64_t now_ms = horizon - 1;
    uint64_t oldest = entry_time(entry_at(window, span.first), horizon);
    uint64_t newest = entry_time(entry_at(window, window->length - 1U), horizon);

    answer->oldest_age_ms = oldest < now_ms ? now_ms - oldest : 0;
    answer->reset_after_ms = newest + rate->window_ms - now_ms;
    if (!answer->allowed && !answer->never) {
        answer->retry_after_ms = retry_after(window, rate, cost, span);
    }
    return answer->allowed;
}

/* ---- charging ---- */

/* Would merging a full narrow record and an event at @time_ms make a count of 255 or more? */
static bool merging_needs_wide(const struct pawl_window *w, unsigned precision, uint64_t time_ms,
                               uint64_t cost)
{
    if (w->total + cost <= NARROW_MAX) {
        return false;
    }
    uint64_t horizon = horizon_of(w);
    const uint8_t *newest = entry_at(w, w->length - 1U);

    if (w->length == precision &&
        same_cell(entry_time(newest, horizon), time_ms, precision, w->window_ms)) {
        return entry_count(newest, false) + cost > NARROW_MAX;
    }
    struct cells cells = { precision, w->window_ms, 0 };
    uint64_t sum = 0;

    for (unsigned i = 0; i < w->length; i++) {
        const uint8_t *entry = entry_at(w, i);

        sum =
            (cells_step(&cells, entry_time(entry, horizon)) ? sum : 0) + entry_count(entry, false);
        if (sum > NARROW_MAX) {
            return true;
        }
    }
    return false;
}

/* What the record has to be for a charge: how many entries, of which form. */
static unsigned needs(const struct pawl_window *w, unsigned precision, uint64_t time_ms,
                      uint64_t cost, bool *wide)
{
    *wide = is_wide(w) || cost > NARROW_MAX;
    if (w->length == 0) {
        return 1;
    }
    const uint8_t *newest = entry_at(w, w->length - 1U);

    if (entry_time(newest, horizon_of(w)) == time_ms) {
        *wide = *wide || entry_count(newest, false) + cost > NARROW_MAX;
        return w->length;
    }
    if (w->length < precision) {
        return w->length + 1U;
    }
    *wide = *wide || merging_needs_wide(w, precision, time_ms, cost);
    return precision;
}

size_t pawl_window_wants(const struct pawl_window *window, unsigned precision, uint64_t cost,
                         bool *wide)
{
    uint64_t time_ms = ceil_ms(window->seen_ns);
    unsigned entries = needs(window, precision, time_ms, cost, wide);

    if (PAWL_LIKELY(room_for(window->units, *wide) >= entries)) {
        return 0;
    }
    unsigned grown = window->length + window->length / 2U;

    if (grown > precision) {
        grown = precision;
    }
    return pawl_window_size(grown > entries ? grown : entries, *wide);
}

/* Give a narrow record the wide form in its own bytes, merging if that leaves too little room. */
static void widen(struct pawl_window *w, unsigned precision)
{
    uint8_t ring[PAWL_PRECISION_MAX * NARROW_BYTES];
    struct pawl_window before;

    memcpy(&before, w, PAWL_WINDOW_HEAD_BYTES);
    memcpy(ring, w->entries, (size_t)capacity_of(w) * NARROW_BYTES);
    pawl_window_clear(w);
    w->flags |= PAWL_RECORD_WIDE;
    refill(w, &before, ring, precision);
}

/* Merge all entries that share a cell of the grid of @precision. */
static void merge_cells(struct pawl_window *w, unsigned precision)
{
    uint64_t horizon = horizon_of(w);
    struct cells cells = { precision, w->window_ms, 0 };
    bool wide = is_wide(w);
    unsigned length = w->length;
    unsigned kept = 0;

    for (unsigned i = 0; i < length; i++) {
        const uint8_t *entry = entry_at(w, i);
        uint64_t time_ms = entry_time(entry, horizon);
        uint64_t count = entry_count(entry, wide);

        if (cells_step(&cells, time_ms)) {
            uint64_t before = entry_count(entry_at(w, kept - 1), wide);
            uint64_t after = add_counts(before, count);

            w->total -= before + count - after; /* what saturation swallowed */
            count = after;
        } else {
            kept++;
        }
        uint8_t *to = entry_for(w, kept - 1);

        entry_set_time(to, time_ms);
        entry_set_count(to, wide, count);
    }
    w->length = (uint16_t)kept;
}

static void add_to_newest(struct pawl_window *w, uint64_t time_ms, uint64_t cost)
{
    uint8_t *newest = entry_for(w, w->length - 1U);
    uint64_t before = entry_count(newest, is_wide(w));
    uint64_t after = add_counts(before, cost);

    entry_set_time(newest, time_ms);
    entry_set_count(newest, is_wide(w), after);
    w->total += after - before;
}

/* The charge of a record that is in the right form. */
static void charge_in_form(struct pawl_window *w, unsigned precision, uint64_t time_ms,
                           uint64_t cost)
{
    unsigned capacity = capacity_of(w);

    if (capacity < precision) {
        precision = capacity;
    }
    if (w->length > 0) {
        uint64_t newest = entry_time(entry_at(w, w->length - 1U), horizon_of(w));

        if (newest == time_ms ||
            (w->length == precision && same_cell(newest, time_ms, precision, w->window_ms))) {
            add_to_newest(w, time_ms, cost);
            return;
        }
    }
    if (w->length >= precision) {
        merge_cells(w, precision);
    }
    append(w, time_ms, cost);
}

/* pawl_window_charge_simply() at @time_ms; @now_ms is the ms before it, or the same. */
static inline __attribute__((always_inline)) bool charge_simply(struct pawl_window *w,
                                                                unsigned precision, uint64_t cost,
                                                                uint64_t now_ms, uint64_t time_ms)
{
    bool wide = is_wide(w);
    unsigned capacity = room_for(w->units, wide);

    if (PAWL_LIKELY(w->length > 0)) {
        unsigned place = w->head + w->length - 1U;
        uint8_t *newest =
            w->entries + (size_t)(place < capacity ? place : place - capacity) * entry_bytes(wide);
        uint64_t newest_ms = entry_time(newest, now_ms + 1);

        if (newest_ms == time_ms || (w->length == precision && capacity >= precision &&
                                     same_cell(newest_ms, time_ms, precision, w->window_ms))) {
            uint64_t count = entry_count(newest, wide) + cost;

            if (PAWL_UNLIKELY(count > (wide ? PAWL_COUNT_MAX : NARROW_MAX))) {
                return false;
            }
            entry_set_time(newest, time_ms);
            entry_set_count(newest, wide, count);
            w->total += cost;
            return true;
        }
    }
    if (w->length >= precision || w->length >= capacity || (!wide && cost > NARROW_MAX)) {
        return false;
    }
    append(w, time_ms, cost);
    return true;
}

bool pawl_window_charge_simply(struct pawl_window *w, unsigned precision, uint64_t cost,
                               uint64_t *event_ms)
{
    *event_ms = ceil_ms(w->seen_ns);
    return charge_simply(w, precision, cost, floor_ms(w->seen_ns), *event_ms);
}

bool pawl_window_hit(struct pawl_window *w, const struct pawl_rate *rate, unsigned precision,
                     uint64_t cost, struct pawl_instant now, uint64_t *event_ms,
                     struct pawl_window_answer *answer)
{
    if (PAWL_UNLIKELY(w->window_ms != rate->window_ms)) {
        return false;
    }
    uint64_t now_ms = advance(w, rate->window_ms, now);
    uint64_t time_ms = now_ms + (w->seen_ns != (now_ms - SCALE_MS) * NS_PER_MS ? 1 : 0);

    if (PAWL_UNLIKELY(!fits(w->total, rate, cost) ||
                      !charge_simply(w, precision, cost, now_ms, time_ms))) {
        return false;
    }
    uint64_t oldest = entry_time(oldest_of(w), now_ms + 1);
    uint64_t total = w->total;

    *event_ms = time_ms;
    answer->count = total;
    answer->remaining = rate->count - total;
    answer->oldest_age_ms = oldest < now_ms ? now_ms - oldest : 0;
    answer->reset_after_ms = time_ms + rate->window_ms - now_ms; /* the newest is the one charged */
    answer->retry_after_ms = 0;
    answer->allowed = true;
    answer->never = false;
    return true;
}

uint64_t pawl_window_charge(struct pawl_window *window, unsigned precision, uint64_t cost)
{
    uint64_t time_ms;
    unsigned capacity = capacity_of(window);
    bool wide = false;

    if (pawl_window_charge_simply(window, precision, cost, &time_ms)) {
        return time_ms;
    }
    (void)needs(window, capacity < precision ? capacity : precision, time_ms, cost, &wide);
    if (wide && !is_wide(window)) {
        widen(window, precision);
    }
    charge_in_form(window, precision, time_ms, cost);
    return time_ms;
}

/* ---- taking back ---- */

static void remove_entry(struct pawl_window *w, unsigned i)
{
    unsigned bytes = entry_bytes(is_wide(w));

    for (; i + 1 < w->length; i++) {
        memcpy(entry_for(w, i), entry_at(w, i + 1), bytes);
    }
    w->length--;
    if (w->length == 0) {
        pawl_window_clear(w);
    }
}

static uint64_t lower_entry(struct pawl_window *w, unsigned i, uint64_t cost)
{
    uint8_t *entry = entry_for(w, i);
    uint64_t count = entry_count(entry, is_wide(w));
    uint64_t taken = cost < count ? cost : count;

    w->total -= taken;
    if (taken == count) {
        remove_entry(w, i); /* an empty entry would take a place of the exact log */
    } else {
        entry_set_count(entry, is_wide(w), count - taken);
    }
    return taken;
}

uint64_t pawl_window_refund(struct pawl_window *window, uint32_t window_ms, uint64_t event_ms,
                            uint64_t cost)
{
    uint64_t horizon = horizon_of(window);
    uint64_t taken = 0;

    if (event_ms == 0) {
        unsigned first = span_of(window, window_ms).first;

        while (taken < cost && first < window->length) {
            taken += lower_entry(window, first, cost - taken);
        }
        return taken;
    }
    if (event_ms > horizon || event_ms + window_ms <= horizon - 1) {
        return 0;
    }
    for (unsigned i = 0; i < window->length; i++) {
        if (entry_time(entry_at(window, i), horizon) >= event_ms) {
            return lower_entry(window, i, cost);
        }
    }
    return 0;
}

/* ---- serialized ---- */

#define SAVED_WIDE 1
#define SAVED_CELL 2

size_t pawl_window_save(const struct pawl_window *window, struct pawl_instant now, uint8_t *out)
{
    bool wide = is_wide(window);
    uint64_t horizon = horizon_of(window);
    uint64_t now_ms = floor_ms(now.ns > window->seen_ns ? now.ns : window->seen_ns);
    uint8_t *end = out + PAWL_RECORD_HEAD_BYTES;
    unsigned entries = 0;

    for (unsigned i = 0; i < window->length; i++) {
        const uint8_t *entry = entry_at(window, i);
        uint64_t time_ms = entry_time(entry, horizon);

        if (time_ms + window->window_ms > now_ms) {
            pawl_put_le(end, time_ms < now_ms ? now_ms - time_ms : 0, 4);
            pawl_put_le(end + 4, entry_count(entry, wide), entry_bytes(wide) - 4);
            end += entry_bytes(wide);
            entries++;
        }
    }
    out[0] = window->kind;
    out[1] = (uint8_t)((wide ? SAVED_WIDE : 0) |
                       ((window->flags & PAWL_RECORD_CELL) != 0 ? SAVED_CELL : 0));
    pawl_put_le(out + 2, entries, 2);
    pawl_put_le(out + 4, window->window_ms, 4);
    pawl_put_le(out + 8, window->id.lo, 8);
    pawl_put_le(out + 16, window->id.hi, 8);
    return (size_t)(end - out);
}

static bool entries_are_sound(const uint8_t *entry, const struct pawl_record_head *head)
{
    unsigned bytes = entry_bytes(head->wide);
    uint64_t age_before = head->window_ms - 1;

    for (unsigned i = 0; i < head->entries; i++, entry += bytes) {
        uint64_t age_ms = pawl_get_le(entry, 4);
        uint64_t count = pawl_get_le(entry + 4, bytes - 4);

        if (age_ms > age_before || count == 0 || (!head->wide && count > NARROW_MAX)) {
            return false;
        }
        age_before = age_ms;
    }
    return true;
}

bool pawl_window_check(const uint8_t *entries, size_t size, const struct pawl_record_head *head)
{
    return size == (size_t)head->entries * entry_bytes(head->wide) &&
           entries_are_sound(entries, head);
}

void pawl_window_load(struct pawl_window *window, size_t bytes, struct pawl_bytes record,
                      const struct pawl_record_head *head, uint64_t elapsed_ms,
                      struct pawl_instant now)
{
    pawl_window_init(window, bytes, head->id, head->window_ms, now);
    if (head->cell) {
        window->flags |= PAWL_RECORD_CELL;
    }
    if (elapsed_ms >= head->window_ms) {
        return;
    }
    bool known = head->known;
    bool wide = head->wide || !known;
    uint64_t now_ms = floor_ms(now.ns);
    uint64_t saved_ms = ceil_ms(now.ns) - elapsed_ms;
    const uint8_t *entry = record.data + PAWL_RECORD_HEAD_BYTES;

    if (wide) {
        window->flags |= PAWL_RECORD_WIDE;
    }
    if (!known) {
        window->kind = record.data[0];
        append(window, saved_ms, PAWL_COUNT_MAX);
        return;
    }
    for (unsigned i = 0; i < head->entries; i++, entry += entry_bytes(wide)) {
        uint64_t time_ms = saved_ms - pawl_get_le(entry, 4);

        if (time_ms + head->window_ms > now_ms) {
            append(window, time_ms, pawl_get_le(entry + 4, entry_bytes(wide) - 4));
        }
    }
}
