/* Limits, named and inline: what is valid, and the ids that can be known before any request. */
#include "core/limiter_table.h"

#include <string.h>

#define DOMAIN_NAMED  1
#define DOMAIN_INLINE 2
#define DOMAIN_CELLS  3

#define HEAD_BYTES 8
#define IDENTITY_BYTES                                                       \
    (HEAD_BYTES + 2 * (4 + PAWL_LIMIT_NAME_MAX) + 4 * PAWL_LIMIT_PARTS_MAX + \
     PAWL_LIMIT_KEY_BYTES_MAX)

static void head_set(uint8_t *head, unsigned domain, size_t parts, uint32_t slot)
{
    head[0] = (uint8_t)domain;
    head[1] = (uint8_t)parts;
    head[2] = 0;
    head[3] = 0;
    head[4] = (uint8_t)slot;
    head[5] = (uint8_t)(slot >> 8);
    head[6] = (uint8_t)(slot >> 16);
    head[7] = (uint8_t)(slot >> 24);
}

static enum pawl_status rates_check(const struct pawl_limit *limit, struct pawl_error *error)
{
    if (limit->rates_count == 0 || limit->rates_count > PAWL_RATES_MAX) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "a limit has 1 to %d rates, not %zu",
                              PAWL_RATES_MAX, limit->rates_count);
    }
    for (size_t i = 0; i < limit->rates_count; i++) {
        const struct pawl_rate *rate = &limit->rates[i];

        if (rate->count > PAWL_COUNT_MAX) {
            return pawl_error_set(error, PAWL_EINVAL, 0, "rate %zu: the count is above 2^40 - 1",
                                  i + 1);
        }
        if (rate->window_ms == 0 || rate->window_ms > PAWL_WINDOW_MS_MAX) {
            return pawl_error_set(error, PAWL_EINVAL, 0,
                                  "rate %zu: the window has to be 1 ms to 45 days", i + 1);
        }
        for (size_t j = 0; j < i; j++) {
            if (limit->rates[j].window_ms == rate->window_ms) {
                return pawl_error_set(error, PAWL_EINVAL, 0,
                                      "rates %zu and %zu have the same window", j + 1, i + 1);
            }
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
    if (limit->algorithm != PAWL_ALGORITHM_SLIDING) {
        return pawl_error_set(error, PAWL_EINVAL, 0, "algorithm %d is not known here",
                              (int)limit->algorithm);
    }
    return rates_check(limit, error);
}

static struct pawl_id cells_base(const struct pawl_limiter *limiter, const struct pawl_limit *limit,
                                 uint32_t slot)
{
    uint8_t buffer[HEAD_BYTES + 2 * (4 + PAWL_LIMIT_NAME_MAX)];
    struct pawl_pack pack;

    head_set(buffer, DOMAIN_CELLS, 0, slot);
    pawl_pack_init(&pack, buffer, sizeof(buffer));
    pack.size = HEAD_BYTES;
    pawl_pack_bytes(&pack, limit->ns, strnlen(limit->ns, PAWL_LIMIT_NAME_MAX));
    pawl_pack_bytes(&pack, limit->name, limit->name_size);
    return pawl_keyhash128(&limiter->subkey, buffer, pack.size);
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
    limit->name[0] = '\0';
    limit->ns[0] = '\0';
    limit->rates_count = count;
    limit->precision = precision > UINT16_MAX ? UINT16_MAX : (uint16_t)precision;
    limit->count_denied = false;
    limit->shadow = false;
    limit->on_error = PAWL_ON_ERROR_NONE;
    limit->when_full = PAWL_WHEN_FULL_OVERFLOW;
    limit->algorithm = PAWL_ALGORITHM_SLIDING;
    limit->inline_rates = true;
    limit->name_size = 0;
    for (size_t i = 0; i < count && i < PAWL_RATES_MAX; i++) {
        limit->rates[i] = rates[i];
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

static enum pawl_status item_pack(const struct pawl_limit_item *item, struct pawl_pack *pack)
{
    size_t bytes = 0;

    if (item->limit == NULL || item->parts_count == 0 || item->cost == 0 ||
        item->cost > PAWL_COUNT_MAX) {
        return PAWL_EINVAL;
    }
    if (item->ns.size > PAWL_LIMIT_NAME_MAX || item->parts_count > PAWL_LIMIT_PARTS_MAX) {
        return PAWL_ETOOBIG;
    }
    pawl_pack_bytes(pack, item->ns.data, item->ns.size);
    pawl_pack_bytes(pack, item->limit->name, item->limit->name_size);
    for (size_t i = 0; i < item->parts_count; i++) {
        if (item->parts[i].size > PAWL_LIMIT_KEY_BYTES_MAX - bytes) {
            return PAWL_ETOOBIG;
        }
        bytes += item->parts[i].size;
        pawl_pack_bytes(pack, item->parts[i].data, item->parts[i].size);
    }
    return pack->overflown ? PAWL_ETOOBIG : PAWL_OK;
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

enum pawl_status pawl_limiter_resolve(const struct pawl_limiter *limiter,
                                      const struct pawl_limit_item *item, uint16_t item_index,
                                      struct pawl_limiter_plan *plan)
{
    uint8_t buffer[IDENTITY_BYTES];
    struct pawl_pack pack;

    pawl_pack_init(&pack, buffer, sizeof(buffer));
    pack.size = HEAD_BYTES;
    enum pawl_status status = item_pack(item, &pack);

    if (status != PAWL_OK) {
        return status;
    }
    const struct pawl_limit *limit = item->limit;

    if (limit->rates_count > PAWL_LIMITER_SLOTS_MAX - plan->slots_count) {
        return PAWL_ETOOBIG;
    }
    for (size_t i = 0; i < limit->rates_count; i++) {
        struct pawl_limiter_slot *slot = &plan->slots[plan->slots_count];

        if (limit->inline_rates) {
            head_set(buffer, DOMAIN_INLINE, item->parts_count, limit->rates[i].window_ms);
        } else {
            head_set(buffer, DOMAIN_NAMED, item->parts_count, (uint32_t)i);
        }
        struct pawl_id id = pawl_keyhash128(&limiter->subkey, buffer, pack.size);

        if (PAWL_UNLIKELY(is_double(plan, id))) {
            return PAWL_EINVAL;
        }
        slot->id = id;
        slot->cost = item->cost;
        slot->limit = limit;
        slot->record = NULL;
        slot->tag = pawl_table_tag(limiter, id);
        slot->shard = pawl_table_shard(limiter, id);
        slot->item = item_index;
        slot->rate_index = (uint8_t)i;
        slot->allowed = false;
        slot->fresh = false;
        slot->in_cell = false;
        slot->full = false;
        pawl_table_prefetch(&limiter->shards[slot->shard], slot->tag);
        plan->slots_count++;
    }
    return PAWL_OK;
}
