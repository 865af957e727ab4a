/* Limits, named and inline: what is valid, and the ids that can be known before any request. */
#include "core/calendar.h"
#include "core/cluster/ownership.h"
#include "core/limiter_table.h"
#include "core/ring_slot.h"
#include "core/siphash.h"

#include <string.h>

#define DOMAIN_NAMED  1
#define DOMAIN_INLINE 2
#define DOMAIN_CELLS  3

/* The first 8 bytes of what is hashed, as a little-endian word. */
static uint64_t head_of(unsigned domain, size_t parts, uint32_t slot)
{
    return (uint64_t)domain | (uint64_t)parts << 8 | (uint64_t)slot << 32;
}

/* An inline rate has the algorithm in its head: two that differ there count apart. */
static uint64_t inline_head_of(const struct pawl_limit *limit, size_t parts, uint32_t window_ms)
{
    return head_of(DOMAIN_INLINE, parts, window_ms) | (uint64_t)limit->algorithm << 16;
}

PAWL_SIPHASH_INLINE struct pawl_siphash hash_begin(const struct pawl_limiter *limiter,
                                                   uint64_t head)
{
    struct pawl_siphash state = pawl_siphash_init(&limiter->subkey);

    pawl_siphash_word(&state, head);
    state.size += sizeof(head);
    return state;
}

static enum pawl_status window_check(const struct pawl_limit *limit, size_t i,
                                     struct pawl_error *error)
{
    const struct pawl_rate *rate = &limit->rates[i];

    if (rate->window_ms == 0 || rate->window_ms > PAWL_WINDOW_MS_MAX) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "rate %zu: the window has to be 1 ms to 45 days", i + 1);
    }
    for (size_t j = 0; j < i; j++) {
        if (limit->rates[j].window_ms == rate->window_ms) {
            return pawl_error_set(error, PAWL_EINVAL, 0, "rates %zu and %zu have the same window",
                                  j + 1, i + 1);
        }
    }
    return PAWL_OK;
}

static enum pawl_status period_check(const struct pawl_limit *limit, size_t i,
                                     struct pawl_error *error)
{
    const struct pawl_rate *rate = &limit->rates[i];

    if (rate->period == PAWL_PERIOD_NONE || rate->period > PAWL_PERIOD_YEAR ||
        rate->window_ms != 0) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "rate %zu: a calendar quota is for one hour, day, week, month or "
                              "year: 1000/month",
                              i + 1);
    }
    if (limit->anchor_day > PAWL_ANCHOR_DAY_MAX ||
        (rate->period == PAWL_PERIOD_WEEK && limit->anchor_day > PAWL_ANCHOR_DAY_WEEK_MAX)) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "anchor_day has to be 1 to %d (of a week: 1, Monday, to %d), not %u",
                              PAWL_ANCHOR_DAY_MAX, PAWL_ANCHOR_DAY_WEEK_MAX, limit->anchor_day);
    }
    for (size_t j = 0; j < i; j++) {
        if (limit->rates[j].period == rate->period) {
            return pawl_error_set(error, PAWL_EINVAL, 0, "rates %zu and %zu have the same period",
                                  j + 1, i + 1);
        }
    }
    return PAWL_OK;
}

static enum pawl_status rates_check(const struct pawl_limit *limit, struct pawl_error *error)
{
    enum pawl_status status = PAWL_OK;

    if (limit->rates_count == 0 || limit->rates_count > PAWL_RATES_MAX) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "a limit has 1 to %d rates, not %zu",
                              PAWL_RATES_MAX, limit->rates_count);
    }
    for (size_t i = 0; status == PAWL_OK && i < limit->rates_count; i++) {
        if (limit->rates[i].count > PAWL_COUNT_MAX) {
            return pawl_error_set(error, PAWL_EINVAL, 0, "rate %zu: the count is above 2^40 - 1",
                                  i + 1);
        }
        status = limit->algorithm == PAWL_ALGORITHM_CALENDAR ? period_check(limit, i, error)
                                                             : window_check(limit, i, error);
    }
    return status;
}

static enum pawl_status algorithm_check(const struct pawl_limit *limit, struct pawl_error *error)
{
    if (limit->algorithm != PAWL_ALGORITHM_SLIDING && limit->count_denied) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "count_denied is for sliding windows alone: leave it out, or take "
                              "algorithm: sliding");
    }
    for (size_t i = 0; i < limit->rates_count; i++) {
        if (limit->algorithm == PAWL_ALGORITHM_GCRA && limit->bursts[i] > PAWL_COUNT_MAX) {
            return pawl_error_set(error, PAWL_EINVAL, 0, "rate %zu: the burst is above 2^40 - 1",
                                  i + 1);
        }
        if (limit->algorithm == PAWL_ALGORITHM_CONCURRENCY &&
            limit->rates[i].count > PAWL_SLOTS_MAX) {
            return pawl_error_set(error, PAWL_EINVAL, 0,
                                  "rate %zu: a concurrency limit has at most %d slots", i + 1,
                                  PAWL_SLOTS_MAX);
        }
    }
    return PAWL_OK;
}

static enum pawl_status limit_check(struct pawl_limit *limit, struct pawl_error *error)
{
    if (limit->precision == 0) {
        limit->precision = PAWL_PRECISION_DEFAULT;
    }
    if (limit->precision < PAWL_PRECISION_MIN || limit->precision > PAWL_PRECISION_MAX) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "precision has to be %d to %d, not %u",
                              PAWL_PRECISION_MIN, PAWL_PRECISION_MAX, limit->precision);
    }
    if ((unsigned)limit->algorithm > PAWL_ALGORITHM_CONCURRENCY) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "algorithm %d is not known here",
                              (int)limit->algorithm);
    }
    enum pawl_status status = rates_check(limit, error);

    if (PAWL_LIKELY(status != PAWL_OK || limit->algorithm == PAWL_ALGORITHM_SLIDING)) {
        return status;
    }
    return algorithm_check(limit, error);
}

static struct pawl_id cells_base(const struct pawl_limiter *limiter, const struct pawl_limit *limit,
                                 uint32_t slot)
{
    struct pawl_siphash state = hash_begin(limiter, head_of(DOMAIN_CELLS, 0, slot));

    pawl_siphash_part(&state, pawl_bytes_of(limit->ns, strnlen(limit->ns, PAWL_LIMIT_NAME_MAX)));
    pawl_siphash_part(&state, pawl_bytes_of(limit->name, limit->name_size));
    return pawl_siphash_end(state);
}

enum pawl_status pawl_limit_init(struct pawl_limit *limit, const struct pawl_limiter *limiter,
                                 struct pawl_error *error)
{
    size_t size = strnlen(limit->name, sizeof(limit->name));

    if (size == 0 || size > PAWL_LIMIT_NAME_MAX) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "the name of a limit has 1 to %d bytes",
                              PAWL_LIMIT_NAME_MAX);
    }
    if (strnlen(limit->ns, sizeof(limit->ns)) > PAWL_LIMIT_NAME_MAX) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "a namespace has at most %d bytes",
                              PAWL_LIMIT_NAME_MAX);
    }
    limit->name_size = (uint8_t)size;
    limit->inline_rates = false;
    enum pawl_status status = limit_check(limit, error);

    for (size_t i = 0; status == PAWL_OK && limiter != NULL && i < limit->rates_count; i++) {
        limit->cells[i] = cells_base(limiter, limit, (uint32_t)i);
    }
    return status;
}

enum pawl_status pawl_limit_init_inline(struct pawl_limit *limit,
                                        const struct pawl_limiter *limiter,
                                        const struct pawl_rate *rates, size_t count,
                                        unsigned precision, struct pawl_error *error)
{
    return pawl_limit_init_inline_as(limit, limiter, PAWL_ALGORITHM_SLIDING, rates, NULL, count,
                                     precision, error);
}

enum pawl_status pawl_limit_init_inline_as(struct pawl_limit *limit,
                                           const struct pawl_limiter *limiter,
                                           enum pawl_algorithm algorithm,
                                           const struct pawl_rate *rates, const uint64_t *bursts,
                                           size_t count, unsigned precision,
                                           struct pawl_error *error)
{
    if (algorithm == PAWL_ALGORITHM_CALENDAR) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "calendar quotas are for limits in the settings: their zone and "
                              "anchor day come from there");
    }
    limit->name[0] = '\0';
    limit->ns[0] = '\0';
    limit->rates_count = count;
    limit->precision = precision > UINT16_MAX ? UINT16_MAX : (uint16_t)precision;
    limit->count_denied = false;
    limit->shadow = false;
    limit->on_error = PAWL_ON_ERROR_NONE;
    limit->when_full = PAWL_WHEN_FULL_OVERFLOW;
    limit->algorithm = algorithm;
    limit->inline_rates = true;
    limit->name_size = 0;
    for (size_t i = 0; i < count && i < PAWL_RATES_MAX; i++) {
        limit->rates[i] = rates[i];
        limit->rates[i].period = PAWL_PERIOD_NONE;
        limit->bursts[i] = bursts != NULL ? bursts[i] : 0;
        limit->cells[i] = limiter->inline_cells;
    }
    return limit_check(limit, error);
}

/* Set once by pawl_limiter_init. */
struct pawl_id pawl_limit_inline_cells(const struct pawl_limiter *limiter)
{
    struct pawl_limit pool;

    memset(&pool, 0, sizeof(pool));
    return cells_base(limiter, &pool, UINT32_MAX);
}

/* ---- items ---- */

static inline enum pawl_status item_check(const struct pawl_limit_item *item)
{
    size_t bytes = 0;

    if (item->limit == NULL || item->parts_count == 0 || item->cost == 0 ||
        item->cost > PAWL_COUNT_MAX) {
        return PAWL_EINVAL;
    }
    if (item->ns.size > PAWL_LIMIT_NAME_MAX || item->parts_count > PAWL_LIMIT_PARTS_MAX) {
        return PAWL_ETOOBIG;
    }
    for (size_t i = 0; i < item->parts_count; i++) {
        if (item->parts[i].size > PAWL_LIMIT_KEY_BYTES_MAX - bytes) {
            return PAWL_ETOOBIG;
        }
        bytes += item->parts[i].size;
    }
    return PAWL_OK;
}

/* Are the @size bytes at @a those at @b? Names: 8 to 16 bytes without a call, or fewer. */
static inline bool is_same(const uint8_t *a, const uint8_t *b, size_t size)
{
    if (PAWL_LIKELY(size < 8)) {
        return pawl_siphash_load_tail(a, size) == pawl_siphash_load_tail(b, size);
    }
    if (size <= 16) {
        return pawl_siphash_load(a) == pawl_siphash_load(b) &&
               pawl_siphash_load(a + size - 8) == pawl_siphash_load(b + size - 8);
    }
    return memcmp(a, b, size) == 0;
}

static inline bool is_beginning(const struct pawl_limit_beginning *kept, uint64_t head,
                                struct pawl_bytes ns, struct pawl_bytes name)
{
    return kept->head == head && kept->ns_size == ns.size && kept->name_size == name.size &&
           is_same(kept->ns, ns.data, ns.size) && is_same(kept->name, name.data, name.size);
}

/* Apart from its caller, which nearly always is done without. @ns and @name are within the caps. */
static __attribute__((noinline)) void keep_beginning(const struct pawl_limiter *limiter,
                                                     struct pawl_limit_beginning *kept,
                                                     uint64_t head, struct pawl_bytes ns,
                                                     struct pawl_bytes name)
{
    struct pawl_siphash state = hash_begin(limiter, head);

    pawl_siphash_part(&state, ns);
    pawl_siphash_part(&state, name);
    kept->state = state;
    kept->slot = pawl_ring_slot_begin(&limiter->slots, ns);
    kept->head = head;
    kept->ns_size = (uint8_t)ns.size;
    kept->name_size = (uint8_t)name.size;
    if (ns.size > 0) {
        memcpy(kept->ns, ns.data, ns.size);
    }
    if (name.size > 0) {
        memcpy(kept->name, name.data, name.size);
    }
}

/* Where a beginning is kept: windows, names and parts of a server's few limits differ. */
static inline struct pawl_limit_beginning *place_of(struct pawl_limit_beginnings *beginnings,
                                                    uint64_t head, struct pawl_bytes name)
{
    uint32_t mixed = (uint32_t)(head >> 32) ^ (uint32_t)head ^ (uint32_t)name.size << 4;

    mixed ^= name.size > 0 ? (uint32_t)name.data[0] << 8 ^ name.data[name.size - 1] : 0;
    return &beginnings->entries[mixed * UINT32_C(0x9e3779b1) >> 29];
}

_Static_assert(PAWL_LIMIT_BEGINNINGS == 1 << (32 - 29), "place_of() gives 3 bits");
_Static_assert(sizeof(struct pawl_limit_beginning) == 256, "place_of() shifts");

/* @state and then the parts of a key. */
PAWL_SIPHASH_INLINE struct pawl_id hash_parts(struct pawl_siphash state,
                                              const struct pawl_limit_item *item)
{
    for (size_t i = 0; i < item->parts_count; i++) {
        pawl_siphash_part(&state, item->parts[i]);
    }
    return pawl_siphash_end(state);
}

/* For callers that keep no beginnings. */
static __attribute__((noinline)) struct pawl_id hash_all(const struct pawl_limiter *limiter,
                                                         const struct pawl_limit_item *item,
                                                         uint64_t head, struct pawl_bytes name)
{
    struct pawl_siphash state = hash_begin(limiter, head);

    pawl_siphash_part(&state, item->ns);
    pawl_siphash_part(&state, name);
    return hash_parts(state, item);
}

/* What the id of the record of rate @i begins with; see limiter.h, "Identity". */
static inline uint64_t item_head(const struct pawl_limit_item *item, size_t i)
{
    const struct pawl_limit *limit = item->limit;

    return limit->inline_rates ? inline_head_of(limit, item->parts_count, limit->rates[i].window_ms)
                               : head_of(DOMAIN_NAMED, item->parts_count, (uint32_t)i);
}

static inline struct pawl_bytes item_name(const struct pawl_limit_item *item)
{
    return pawl_bytes_of(item->limit->name, item->limit->name_size);
}

/* The beginning of an id of @item, kept from now on if it was not. */
static inline const struct pawl_limit_beginning *beginning_of(
    const struct pawl_limiter *limiter, const struct pawl_limit_item *item, uint64_t head,
    struct pawl_limit_beginnings *beginnings)
{
    struct pawl_bytes name = item_name(item);
    struct pawl_limit_beginning *kept = place_of(beginnings, head, name);

    if (PAWL_UNLIKELY(!is_beginning(kept, head, item->ns, name))) {
        keep_beginning(limiter, kept, head, item->ns, name);
    }
    return kept;
}

#define SLOT_MASK ((uint64_t)PAWL_LIMITER_CELLS - 1)

_Static_assert(PAWL_RING_SLOTS == PAWL_LIMITER_CELLS, "a slot takes the place of a cell's number");
_Static_assert(PAWL_RING_SLOTS % PAWL_LIMITER_BUNDLES == 0, "the shard is the slot's low bits");

/* The slot of the item's key. Apart from its caller, which has no registers left. */
static __attribute__((noinline)) uint32_t key_slot(const struct pawl_limit_beginning *kept,
                                                   const struct pawl_limit_item *item)
{
    return pawl_ring_slot_end(kept->slot, item->parts, item->parts_count);
}

/* The item's key has this slot; false where it is for another member, and nothing else is asked. */
static inline bool take_slot(struct pawl_limiter_plan *plan, uint32_t slot)
{
    if (plan->ownership != NULL && atomic_load_explicit(&plan->ownership->states[slot],
                                                        memory_order_acquire) != PAWL_SLOT_HELD) {
        plan->elsewhere = slot;
        return false;
    }
    return true;
}

/* The id of the record of rate @i, and with @slotted the
 * slot in its low bits: the first rate's @slot is that of all. False as take_slot(). */
PAWL_SIPHASH_INLINE bool take_id(const struct pawl_limiter *limiter,
                                 const struct pawl_limit_item *item, size_t i,
                                 struct pawl_limiter_plan *plan, bool slotted, uint32_t *slot,
                                 struct pawl_id *id)
{
    uint64_t head = item_head(item, i);

    if (PAWL_UNLIKELY(plan->beginnings == NULL)) {
        if (slotted && i == 0) {
            *slot = pawl_ring_slot(&limiter->slots, item->ns, item->parts, item->parts_count);
            if (!take_slot(plan, *slot)) {
                return false;
            }
        }
        *id = hash_all(limiter, item, head, item_name(item));
    } else {
        const struct pawl_limit_beginning *kept =
            beginning_of(limiter, item, head, plan->beginnings);

        if (slotted && i == 0) {
            *slot = key_slot(kept, item);
            if (!take_slot(plan, *slot)) {
                return false;
            }
        }
        *id = hash_parts(kept->state, item);
    }
    if (slotted) {
        id->lo = (id->lo & ~SLOT_MASK) | *slot;
    }
    return true;
}

static bool is_double(const struct pawl_limiter_plan *plan, struct pawl_id id)
{
    for (size_t i = 0; i < plan->slots_count; i++) {
        if (pawl_id_equal(plan->slots[i].id, id)) {
            return true;
        }
    }
    return false;
}

/* @slotted: the limiter's; where it is a constant it costs nothing without a cluster. */
static inline __attribute__((always_inline)) enum pawl_status resolve(
    const struct pawl_limiter *limiter, const struct pawl_limit_item *item, uint16_t item_index,
    struct pawl_limiter_plan *plan, bool slotted)
{
    enum pawl_status status = item_check(item);

    if (status != PAWL_OK) {
        return status;
    }
    const struct pawl_limit *limit = item->limit;

    if (limit->rates_count > plan->slots_max - plan->slots_count) {
        return PAWL_ETOOBIG;
    }
    const struct pawl_rate *rates = PAWL_LIKELY(item->rates == NULL) ? limit->rates : item->rates;
    uint32_t ring_slot = 0;

    for (size_t i = 0; i < limit->rates_count; i++) {
        struct pawl_limiter_slot *slot = &plan->slots[plan->slots_count];
        struct pawl_id id;

        if (!take_id(limiter, item, i, plan, slotted, &ring_slot, &id)) {
            return PAWL_EAGAIN;
        }
        if (PAWL_UNLIKELY(is_double(plan, id))) {
            return PAWL_EINVAL;
        }
        slot->id = id;
        slot->cost = item->cost;
        slot->limit = limit;
        slot->rate = &rates[i];
        slot->record = NULL;
        slot->tag = pawl_table_tag(limiter, id);
        slot->shard = pawl_table_shard(limiter, id);
        slot->item = item_index;
        slot->rate_index = (uint8_t)i;
        slot->algorithm = (uint8_t)limit->algorithm;
        slot->allowed = false;
        slot->fresh = false;
        slot->in_cell = false;
        slot->full = false;
        pawl_table_prefetch(&limiter->shards[slot->shard], slot->tag);
        plan->slots_count++;
    }
    plan->others |= (unsigned)limit->algorithm;
    return PAWL_OK;
}

enum pawl_status pawl_limiter_resolve(const struct pawl_limiter *limiter,
                                      const struct pawl_limit_item *item, uint16_t item_index,
                                      struct pawl_limiter_plan *plan)
{
    return resolve(limiter, item, item_index, plan, limiter->slotted);
}

uint32_t pawl_limiter_key_slot(const struct pawl_limiter *limiter, struct pawl_bytes ns,
                               const struct pawl_bytes *parts, size_t parts_count)
{
    static const struct pawl_limit none;
    struct pawl_limit_item item = { &none, ns, parts, parts_count, 1, NULL };

    return item_check(&item) == PAWL_OK ? pawl_ring_slot(&limiter->slots, ns, parts, parts_count)
                                        : PAWL_LIMITER_CELLS;
}

static inline __attribute__((always_inline)) enum pawl_status prepare(
    const struct pawl_limiter *limiter, const struct pawl_limit_request *request,
    struct pawl_limiter_plan *plan, bool slotted)
{
    plan->slots_count = 0;
    plan->mode = request->mode;
    plan->op = request->op;
    plan->now = request->now;
    plan->wall = request->wall;
    plan->others = 0;
    if (request->items_count == 0) {
        return PAWL_EINVAL;
    }
    if (request->items_count > PAWL_LIMITER_SLOTS_MAX) {
        return PAWL_ETOOBIG;
    }
    for (size_t i = 0; i < request->items_count; i++) {
        enum pawl_status status = resolve(limiter, &request->items[i], (uint16_t)i, plan, slotted);

        if (status != PAWL_OK) {
            return status;
        }
    }
    return PAWL_OK;
}

static __attribute__((noinline)) enum pawl_status prepare_slotted(
    const struct pawl_limiter *limiter, const struct pawl_limit_request *request,
    struct pawl_limiter_plan *plan)
{
    return prepare(limiter, request, plan, true);
}

enum pawl_status pawl_limiter_prepare(const struct pawl_limiter *limiter,
                                      const struct pawl_limit_request *request,
                                      struct pawl_limiter_plan *plan)
{
    if (PAWL_UNLIKELY(limiter->slotted)) {
        return prepare_slotted(limiter, request, plan);
    }
    return prepare(limiter, request, plan, false);
}
