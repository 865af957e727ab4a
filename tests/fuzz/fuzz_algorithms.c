/*
 * gcra, calendar quotas and concurrency as a machine: bytes are a sequence of checks, peeks,
 * reservations, refunds, what is given back, resets, sweeps, restarts, joins and changed rates,
 * with steps of both clocks between them, held against plain lists of what was admitted.
 *
 * The first byte: bit 0 begins in a table without room. Then one byte an operation, and operands.
 *
 * What must hold, for every key whatever came before: gcra admits no more than its burst and what
 * flowed in any stretch of time; no more slots are held than there are; no period of a quota admits
 * more than its count; a charge gives back no more than was charged, and a slot is released once; a
 * reservation is between its least and its most, on all rates or none; memory adds up.
 */
#include "core/limiter.h"
#include "fuzz/require.h"

#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY     (1u << 20)
#define MS         UINT64_C(1000000)
#define KEYS       3
#define LIMITS     5
#define EVENTS     256
#define OPS_MAX    80
#define FILE_BYTES (128u << 10)
#define WALL       INT64_C(1777593600)

__extension__ typedef unsigned __int128 wide;

static const struct {
    enum pawl_algorithm algorithm;
    uint32_t window_ms;
    bool inline_rates;
} shapes[LIMITS] = {
    { PAWL_ALGORITHM_GCRA, 1000, false },       { PAWL_ALGORITHM_GCRA, 60000, true },
    { PAWL_ALGORITHM_CALENDAR, 0, false },      { PAWL_ALGORITHM_CONCURRENCY, 500, false },
    { PAWL_ALGORITHM_CONCURRENCY, 3000, true },
};

static const uint64_t counts[8] = { 0, 1, 2, 3, 5, 8, 40, 4096 };

struct event {
    uint64_t ns, cost, charge;
    unsigned life;
    bool overflow, returned;
};

/* What is known of one record from outside. */
struct known {
    struct event events[EVENTS];
    size_t count;
    int64_t period_s; /* the latest that was charged in */
    uint64_t in_period;
};

static struct machine {
    struct pawl_limiter *limiter;
    unsigned region, life;
    struct pawl_limit limits[LIMITS];
    struct known known[KEYS][LIMITS];
    uint64_t now_ns;   /* only ever grows */
    uint64_t back_ns;  /* the asker's clock is behind by this much now */
    uint64_t slack_ns; /* and was at most by this much, ever */
    int64_t wall_less_s;
    bool crowded;
} m;

static struct pawl_limiter limiters[2];
static void *regions[2];
static uint8_t scratch[PAWL_RECORD_BYTES_MAX];

static struct file {
    uint8_t bytes[FILE_BYTES];
    size_t size;
    bool full;
} file;

struct input {
    const uint8_t *at, *end;
};

static unsigned next(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static struct pawl_instant now(void)
{
    return (struct pawl_instant){ m.now_ns - m.back_ns };
}

static struct pawl_wall wall(void)
{
    return (struct pawl_wall){ WALL + (int64_t)(m.now_ns / 1000 / MS) - m.wall_less_s };
}

static struct pawl_limiter *limiter_begin(unsigned region, unsigned life)
{
    struct pawl_limiter_config config = { .memory_max = MEMORY,
                                          .shards = 2,
                                          .salt = { life, 2 },
                                          .life = (uint16_t)life,
                                          .persist = true };

    if (regions[region] == NULL) {
        regions[region] =
            mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        require(regions[region] != MAP_FAILED);
    }
    memset(regions[region], 0, MEMORY); /* cheaper than pages that are new each time */
    config.region = regions[region];
    memset(config.subkey.bytes, 5, sizeof(config.subkey.bytes));
    require(pawl_limiter_init(&limiters[region], &config, NULL) == PAWL_OK);
    return &limiters[region];
}

static void limit_begin(unsigned index, unsigned how)
{
    struct pawl_limit *limit = &m.limits[index];
    struct pawl_rate rate = { counts[how & 7], shapes[index].window_ms, PAWL_PERIOD_NONE };
    uint64_t burst = (how & 8) != 0 ? counts[how >> 4 & 7] : 0;

    if (shapes[index].inline_rates) {
        require(pawl_limit_init_inline_as(limit, m.limiter, shapes[index].algorithm, &rate, &burst,
                                          1, 0, NULL) == PAWL_OK);
        return;
    }
    memset(limit, 0, sizeof(*limit));
    limit->name[0] = (char)('a' + index);
    limit->algorithm = shapes[index].algorithm;
    limit->rates_count = 1;
    rate.period = limit->algorithm == PAWL_ALGORITHM_CALENDAR ? PAWL_PERIOD_HOUR : PAWL_PERIOD_NONE;
    limit->rates[0] = rate;
    limit->bursts[0] = burst;
    require(pawl_limit_init(limit, m.limiter, NULL) == PAWL_OK);
}

/* A table into which other keys have been put until there was no room. Made once, then copied. */
static void crowd(void)
{
    static struct pawl_limiter full;
    static uint8_t *image;
    struct pawl_rate rate = { 1, PAWL_WINDOW_MS_MAX, 0 };
    struct pawl_limit limit;

    if (image == NULL) {
        require(pawl_limit_init_inline(&limit, m.limiter, &rate, 1, 0, NULL) == PAWL_OK);
        for (uint32_t i = 0, cells = 0; cells < 8; i++) {
            struct pawl_bytes part = pawl_bytes_of(&i, sizeof(i));
            struct pawl_limit_item item = { &limit, pawl_bytes_of("n", 1), &part, 1, 1, NULL };
            struct pawl_limit_request request = { &item,         1,      PAWL_MODE_ATOMIC,
                                                  PAWL_OP_CHECK, { MS }, { WALL } };
            struct pawl_limit_result result;
            struct pawl_limit_outcome outcome;

            require(pawl_limiter_check(m.limiter, &request, &result, 1, &outcome) == PAWL_OK);
            cells += result.overflow ? 1 : 0;
        }
        image = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        require(image != MAP_FAILED);
        memcpy(image, regions[0], MEMORY);
        full = *m.limiter;
    }
    memcpy(regions[0], image, MEMORY);
    *m.limiter = full;
}

static void item_of(struct pawl_limit_item *item, struct pawl_bytes *part, unsigned key,
                    unsigned limit, uint64_t cost)
{
    static const char names[KEYS] = { 'k', 'l', 'm' };

    *part = pawl_bytes_of(&names[key], 1);
    *item =
        (struct pawl_limit_item){ &m.limits[limit], pawl_bytes_of("n", 1), part, 1, cost, NULL };
}

/* ---- what must hold ---- */

static void hold_gcra(const struct known *known, const struct pawl_limit *limit)
{
    const struct pawl_rate *rate = &limit->rates[0];
    uint64_t capacity = limit->bursts[0] != 0 && rate->count > 0 ? limit->bursts[0] : rate->count;
    wide parts = (wide)rate->window_ms * MS;
    wide sum = 0;

    for (size_t i = known->count; i-- > 0;) {
        sum += known->events[i].cost;
        require(sum * parts <=
                capacity * parts +
                    (wide)rate->count * (m.now_ns - known->events[i].ns + m.slack_ns));
    }
}

static void hold_slots(const struct known *known, const struct pawl_limit *limit)
{
    uint64_t window_ns = (uint64_t)limit->rates[0].window_ms * MS;
    uint64_t held = 0;

    for (size_t i = 0; i < known->count; i++) {
        held += known->events[i].ns + window_ns > m.now_ns + m.slack_ns ? known->events[i].cost : 0;
    }
    require(held <= limit->rates[0].count);
}

static int64_t hour(void)
{
    return wall().unix_s / 3600 * 3600;
}

/* Whoever looks at a quota, also in vain, may begin its next period; a wall clock that goes back
 * does not end it. */
static void on_asked(unsigned key, unsigned limit)
{
    struct known *known = &m.known[key][limit];

    if (shapes[limit].algorithm == PAWL_ALGORITHM_CALENDAR && known->period_s != 0 &&
        hour() > known->period_s) {
        known->period_s = hour();
        known->in_period = 0;
    }
}

static void on_admitted(unsigned key, unsigned limit, uint64_t cost,
                        const struct pawl_limit_result *result)
{
    struct known *known = &m.known[key][limit];

    if (known->count == EVENTS) { /* the oldest is forgotten: what holds for less holds */
        memmove(known->events, known->events + 1, sizeof(known->events[0]) * (EVENTS - 1));
        known->count--;
    }
    known->events[known->count++] =
        (struct event){ m.now_ns, cost, result->charge, m.life, result->overflow, false };
    require(result->charge != 0 && result->count <= result->limit_count);
    if (shapes[limit].algorithm == PAWL_ALGORITHM_GCRA) {
        hold_gcra(known, &m.limits[limit]);
    } else if (shapes[limit].algorithm == PAWL_ALGORITHM_CONCURRENCY) {
        hold_slots(known, &m.limits[limit]);
    } else {
        if (hour() > known->period_s) {
            known->period_s = hour();
            known->in_period = 0;
        }
        known->in_period += cost;
        require(known->in_period <= m.limits[limit].rates[0].count);
    }
}

/* ---- operations ---- */

static void op_ask(struct input *in, bool check)
{
    unsigned which = next(in);
    unsigned key = which % KEYS;
    unsigned limit = (which >> 2 & 15) % LIMITS;
    uint64_t cost = 1 + (which >> 6) * 2;
    struct pawl_limit_item item;
    struct pawl_bytes part;
    struct pawl_limit_result result;
    struct pawl_limit_outcome outcome;
    struct pawl_limit_request request = {
        &item, 1, PAWL_MODE_ATOMIC, check ? PAWL_OP_CHECK : PAWL_OP_PEEK, now(), wall()
    };

    item_of(&item, &part, key, limit, cost);
    on_asked(key, limit);
    require(pawl_limiter_check(m.limiter, &request, &result, 1, &outcome) == PAWL_OK);
    require(result.allowed == (outcome.verdict == PAWL_ALLOW));
    require(result.full ||
            result.remaining ==
                (result.count < result.limit_count ? result.limit_count - result.count : 0));
    require(!result.allowed || (!result.never && result.retry_after_ms == 0));
    require(check || result.charge == 0);
    if (check && result.allowed) {
        on_admitted(key, limit, cost, &result);
    } else if (!result.allowed && !result.never && !result.overflow && m.back_ns == 0) {
        require(result.retry_after_ms > 0);
    }
}

/* A reservation on two limits of one key; bits of what was not used go back at once. */
static void op_reserve(struct input *in)
{
    unsigned which = next(in);
    unsigned how = next(in);
    unsigned key = which % KEYS;
    unsigned limits[2] = { (which >> 2 & 7) % LIMITS, (which >> 5) % LIMITS };
    size_t wanted = limits[0] == limits[1] ? 1 : 2;
    uint64_t min = 1 + (how & 3);
    uint64_t max = min + (how >> 2 & 7);
    struct pawl_limit_item items[2];
    struct pawl_bytes parts[2];
    struct pawl_limit_result results[2];
    struct pawl_limit_grant grant;
    struct pawl_limit_request request = { items,         wanted, PAWL_MODE_ATOMIC,
                                          PAWL_OP_CHECK, now(),  wall() };

    for (size_t i = 0; i < wanted; i++) {
        item_of(&items[i], &parts[i], key, limits[i], 1);
        on_asked(key, limits[i]);
    }
    require(pawl_limiter_reserve(m.limiter, &request, min, max, results, 2, &grant) == PAWL_OK);
    if (grant.verdict == PAWL_DENY) {
        require(grant.granted == 0 && grant.charges_count == 0);
        return;
    }
    require(grant.granted >= min && grant.granted <= max && grant.charges_count == wanted);
    for (size_t i = 0; i < wanted; i++) {
        struct known *known = &m.known[key][limits[i]];

        on_admitted(key, limits[i], grant.granted, &results[i]);
        if ((how & 32) != 0) {
            uint64_t unused = grant.granted / 2;
            uint64_t given = pawl_limiter_give_back(m.limiter, &grant.charges[i], unused, now());

            require(given <= unused);
            require(given == unused || results[i].overflow || m.back_ns > 0 ||
                    shapes[limits[i]].algorithm == PAWL_ALGORITHM_GCRA);
            known->events[known->count - 1].cost -= given;
            known->events[known->count - 1].returned = unused > 0;
            known->in_period -= shapes[limits[i]].algorithm == PAWL_ALGORITHM_CALENDAR ? given : 0;
        }
    }
}

static void op_refund(struct input *in)
{
    unsigned which = next(in);
    unsigned key = which % KEYS;
    unsigned limit = (which >> 2 & 7) % LIMITS;
    struct known *known = &m.known[key][limit];
    bool is_slots = shapes[limit].algorithm == PAWL_ALGORITHM_CONCURRENCY;
    struct pawl_limit_item item;
    struct pawl_bytes part;
    uint64_t refunded = 0;

    if (known->count <= (which >> 5)) {
        return;
    }
    struct event *event = &known->events[known->count - 1 - (which >> 5)];

    if (event->cost == 0 || (event->returned && !is_slots)) {
        return; /* but for slots, once for each charge */
    }
    item_of(&item, &part, key, limit, event->cost);
    on_asked(key, limit);
    require(pawl_limiter_refund(m.limiter, &item, &event->charge, now(), &refunded) == PAWL_OK);
    require(refunded <= event->cost);
    require(is_slots || event->life == m.life || refunded == 0);
    event->cost -= refunded;
    event->returned = true;
    if (shapes[limit].algorithm == PAWL_ALGORITHM_CALENDAR) {
        known->in_period -= refunded < known->in_period ? refunded : known->in_period;
    }
    if (is_slots && refunded > 0 && event->cost == 0) {
        item.cost = 1;
        require(pawl_limiter_refund(m.limiter, &item, &event->charge, now(), &refunded) == PAWL_OK);
        require(refunded == 0);
    }
}

static void forget(unsigned key, unsigned limit)
{
    m.known[key][limit].count = 0;
    m.known[key][limit].in_period = 0;
    m.known[key][limit].period_s = 0;
}

static void op_reset(struct input *in)
{
    unsigned which = next(in);
    struct pawl_limit_item item;
    struct pawl_bytes part;

    item_of(&item, &part, which % KEYS, (which >> 2) % LIMITS, 1);
    require(pawl_limiter_reset(m.limiter, &item, now(), NULL) == PAWL_OK);
    forget(which % KEYS, (which >> 2) % LIMITS);
}

static void op_limit(struct input *in)
{
    unsigned which = next(in);

    limit_begin(which % LIMITS, next(in));
    for (unsigned key = 0; key < KEYS; key++) {
        forget(key, which % LIMITS); /* what was admitted at another rate is not held to this one */
    }
}

static bool save_record(void *unused, const uint8_t *record, size_t size)
{
    struct pawl_record_head head;
    uint32_t saved_size = (uint32_t)size;

    (void)unused;
    require(pawl_record_check(pawl_bytes_of(record, size), &head) == PAWL_OK);
    if (FILE_BYTES - file.size < size + 4) {
        file.full = true;
        return false;
    }
    memcpy(file.bytes + file.size, &saved_size, 4);
    memcpy(file.bytes + file.size + 4, record, size);
    file.size += 4 + size;
    return true;
}

/* All records into the file; false: it has no room for them. */
static bool save_all(void)
{
    m.back_ns = 0;
    file.size = 0;
    file.full = false;
    for (unsigned shard = 0; shard < 2; shard++) {
        (void)!pawl_limiter_collect_all(m.limiter, shard, true, SIZE_MAX, now(), scratch,
                                        save_record, NULL, NULL);
    }
    return !file.full;
}

/* What another node counted for the same keys, up to @age_ms ago, is added: here a copy of our own
 * counts. Never over, so whatever held goes on to hold. */
static void op_join(struct input *in)
{
    static uint8_t both[2 * PAWL_RECORD_BYTES_MAX];
    uint64_t age_ms = next(in) * UINT64_C(7);

    if (m.crowded || !save_all()) {
        return;
    }
    pawl_limiter_set_wall(m.limiter, wall());
    for (size_t at = 0; at < file.size;) {
        uint32_t size;

        memcpy(&size, file.bytes + at, 4);
        require(pawl_limiter_join(m.limiter, pawl_bytes_of(file.bytes + at + 4, size), age_ms,
                                  PAWL_JOIN_GIVEN, now(), both) == PAWL_OK);
        at += 4 + size;
    }
}

/* Save, end, begin again from the file, some time later. */
static void op_restart(struct input *in)
{
    uint64_t pause_ms = next(in) * UINT64_C(7);

    if (m.crowded || !save_all()) {
        return;
    }
    m.now_ns += pause_ms * MS;
    m.life++;
    m.region ^= 1;
    pawl_limiter_deinit(m.limiter);
    m.limiter = limiter_begin(m.region, m.life);
    for (size_t at = 0; at < file.size;) {
        uint32_t size;

        memcpy(&size, file.bytes + at, 4);
        require(pawl_limiter_load(m.limiter, pawl_bytes_of(file.bytes + at + 4, size), pause_ms,
                                  now()) == PAWL_OK);
        at += 4 + size;
    }
    for (unsigned key = 0; key < KEYS; key++) {
        /* An empty quota is not saved, nor one whose period both clocks have left at some time: if
         * the wall clock goes back into it, it begins again. */
        if (m.known[key][2].in_period == 0 ||
            WALL + (int64_t)(m.now_ns / 1000 / MS) >= m.known[key][2].period_s + 3600) {
            forget(key, 2);
        }
    }
}

static void op_sweep(struct input *in)
{
    pawl_limiter_set_wall(m.limiter, wall());
    for (unsigned shard = 0; shard < 2; shard++) {
        (void)pawl_limiter_sweep(m.limiter, shard, next(in) * UINT64_C(8), now());
    }
    for (unsigned key = 0; key < KEYS; key++) {
        forget(key, 2); /* what both clocks have left may be gone, and come again with the wall's */
    }
}

static void op_time(struct input *in)
{
    static const uint64_t steps_ns[8] = { 1,        333333,    MS,        99 * MS,
                                          500 * MS, 1000 * MS, 3000 * MS, 1800000 * MS };
    unsigned step = next(in);

    m.back_ns = (step & 0xc0) == 0xc0 ? steps_ns[step & 3] : 0;
    m.slack_ns = m.back_ns > m.slack_ns ? m.back_ns : m.slack_ns;
    if (m.back_ns == 0) {
        m.now_ns += steps_ns[step & 7] * (1 + (step >> 3 & 3));
    }
    m.wall_less_s = (step & 0x60) == 0x60 ? 1200 * (1 + (step & 3)) : 0;
}

static void step(struct input *in)
{
    unsigned op = next(in);

    switch (op & 15) {
    case 0:
    case 1:
    case 2:
    case 3:
        op_ask(in, true);
        break;
    case 4:
        op_ask(in, false);
        break;
    case 5:
    case 6:
        op_reserve(in);
        break;
    case 7:
    case 8:
        op_refund(in);
        break;
    case 9:
        op_reset(in);
        break;
    case 10:
        op_limit(in);
        break;
    case 11:
        op_restart(in);
        break;
    case 12:
        op_sweep(in);
        break;
    case 13:
        op_join(in);
        break;
    default:
        op_time(in);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, data + size };
    struct pawl_limiter_metrics metrics;

    if (size < 2) {
        return 0;
    }
    memset(&m, 0, sizeof(m));
    m.life = 1;
    m.now_ns = 5000 * MS;
    m.limiter = limiter_begin(0, m.life);
    if ((next(&in) & 1) != 0) {
        m.crowded = true;
        crowd();
    }
    for (unsigned i = 0; i < LIMITS; i++) {
        limit_begin(i, 3 + 9 * i);
    }
    for (unsigned i = 0; i < OPS_MAX && in.at < in.end; i++) {
        step(&in);
    }
    pawl_limiter_metrics_get(m.limiter, &metrics);
    require(metrics.memory_records + metrics.memory_index + metrics.memory_own +
                metrics.memory_free <=
            metrics.memory_max);
    pawl_limiter_deinit(m.limiter);
    return 0;
}
