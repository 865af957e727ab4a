/*
 * The limiter as a machine: bytes are a sequence of checks, peeks, refunds, resets, sweeps, saves
 * and restarts, with steps of time between them, held against a plain list of what was admitted
 * (tests/support/oracle.h).
 *
 * The first byte: bits 0-2 precision, bit 3 begins in a table without room, bits 4-5 when_full,
 * bits 6-7 how long the machine is up. Then one byte an operation, and its operands.
 *
 * What must hold: never over, for every key and rate, whatever came before; all or none where the
 * request says so; a refund takes back no more than was asked, and nothing after a restart; while
 * nothing was shared, lost, refunded or turned back, a refusal is late by window/(precision-1) at
 * most; and the metrics add up.
 */
#include "core/limiter.h"
#include "fuzz/require.h"
#include "support/oracle.h"

#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY     (1u << 20)
#define FILE_BYTES (256u << 10)
#define MS         UINT64_C(1000000)
#define KEYS       4
#define LIMITS     6
#define SLOTS_MAX  2
#define OPS_MAX    64
#define CHARGES    8

/* A limit under test: named "a", "b" (two rates), "c" (count_denied), then inline ones. */
static const struct {
    const char *name;
    uint32_t windows_ms[SLOTS_MAX];
    bool count_denied;
} shapes[LIMITS] = {
    { "a", { 1000, 0 }, false },    { "b", { 10, 60000 }, false },
    { "c", { 100, 0 }, true },      { NULL, { 7, 0 }, false },
    { NULL, { 500, 3000 }, false }, { NULL, { PAWL_WINDOW_MS_MAX, 0 }, false },
};

static const uint64_t counts[16] = { 0,
                                     1,
                                     2,
                                     3,
                                     5,
                                     8,
                                     100,
                                     254,
                                     255,
                                     300,
                                     4,
                                     10,
                                     1000,
                                     UINT64_C(1) << 31,
                                     PAWL_COUNT_MAX - 1,
                                     PAWL_COUNT_MAX };
static const uint16_t precisions[8] = { 2, 3, 4, 8, 64, 5, 1000, 4096 };

/* What is known of one record from outside. */
struct known {
    struct oracle oracle;
    uint64_t charges[CHARGES]; /* of the newest events, by their index modulo CHARGES */
    unsigned life[CHARGES];
    bool disturbed; /* the bound on lateness does not hold any more */
};

static struct machine {
    struct pawl_limiter *limiter;
    unsigned region; /* which of the two it is */
    unsigned life;
    struct pawl_limit limits[LIMITS];
    struct known known[KEYS][LIMITS][SLOTS_MAX];
    uint64_t now_ns;   /* of the machine that never restarts; only ever grows */
    uint64_t less_ns;  /* the limiter's clock is behind it by this: since boot */
    uint64_t back_ns;  /* the asker's clock is behind by this much now */
    uint64_t slack_ns; /* and was at most by this much, ever */
    uint64_t checks;
    bool crowded; /* began without room */
} m;

static struct pawl_limiter limiters[2]; /* they know where they lie: not to be moved */
static void *regions[2];
static uint8_t scratch[PAWL_RECORD_BYTES_MAX];

static struct file {
    uint8_t bytes[FILE_BYTES];
    size_t size;
    uint64_t saved_ns; /* of the records that are being added */
    bool begun;
} file;

struct input {
    const uint8_t *at;
    const uint8_t *end;
};

static unsigned next(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static struct pawl_instant now(void)
{
    return (struct pawl_instant){ m.now_ns - m.less_ns -
                                  (m.back_ns < m.now_ns - m.less_ns ? m.back_ns : 0) };
}

/* ---- life ---- */

static struct pawl_limiter *limiter_begin(unsigned region, unsigned life)
{
    struct pawl_limiter_config config = {
        .memory_max = MEMORY, .shards = 2, .salt = { 1, 2 }, .life = (uint16_t)life, .persist = true
    };

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

static void limit_begin(unsigned index, unsigned count, uint16_t precision,
                        enum pawl_when_full when_full)
{
    struct pawl_limit *limit = &m.limits[index];
    struct pawl_rate rates[SLOTS_MAX];
    size_t rates_count = 0;

    for (unsigned i = 0; i < SLOTS_MAX && shapes[index].windows_ms[i] > 0; i++) {
        rates[i].window_ms = shapes[index].windows_ms[i];
        rates[i].count = counts[(count + 3 * i) % 16];
        rates_count++;
    }
    if (shapes[index].name == NULL) {
        require(pawl_limit_init_inline(limit, m.limiter, rates, rates_count, precision, NULL) ==
                PAWL_OK);
    } else {
        memset(limit, 0, sizeof(*limit));
        memcpy(limit->name, shapes[index].name, 2);
        memcpy(limit->ns, "n", 2);
        memcpy(limit->rates, rates, sizeof(rates));
        limit->rates_count = rates_count;
        limit->precision = precision;
        require(pawl_limit_init(limit, m.limiter, NULL) == PAWL_OK);
    }
    limit->count_denied = shapes[index].count_denied;
    limit->when_full = when_full;
}

static void item_of(struct pawl_limit_item *item, struct pawl_bytes *part, unsigned key,
                    unsigned limit, uint64_t cost)
{
    static const char names[KEYS][2] = { "k", "l", "m", "n" };

    *part = pawl_bytes_of(names[key % KEYS], 1);
    *item = (struct pawl_limit_item){ &m.limits[limit], pawl_bytes_of("n", 1), part, 1, cost };
}

/* A table into which other keys have been put until there was no room. Made once, then copied. */
static void crowd(void)
{
    static struct pawl_limiter full;
    static uint8_t *image;
    struct pawl_rate rate = { 1, PAWL_WINDOW_MS_MAX };
    struct pawl_limit limit;

    if (image == NULL) {
        require(pawl_limit_init_inline(&limit, m.limiter, &rate, 1, 0, NULL) == PAWL_OK);
        for (uint32_t i = 0;; i++) {
            struct pawl_bytes part = pawl_bytes_of(&i, sizeof(i));
            struct pawl_limit_item item = { &limit, pawl_bytes_of("n", 1), &part, 1, 1 };
            struct pawl_limit_request request = {
                &item, 1, PAWL_MODE_ATOMIC, PAWL_OP_CHECK, { MS }
            };
            struct pawl_limit_result result;
            struct pawl_limit_outcome outcome;

            require(pawl_limiter_check(m.limiter, &request, &result, 1, &outcome) == PAWL_OK);
            if (result.overflow) {
                break;
            }
        }
        image = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        require(image != MAP_FAILED);
        memcpy(image, regions[0], MEMORY);
        full = *m.limiter;
    }
    memcpy(regions[0], image, MEMORY);
    *m.limiter = full;
}

static void machine_begin(unsigned setup)
{
    static const uint64_t uptimes_ns[4] = { MS, 3000 * MS, UINT64_C(86400000) * MS,
                                            (UINT64_C(1) << 32) * MS - 5 * MS };

    memset(&m, 0, sizeof(m));
    file.size = 0;
    file.begun = false;
    m.life = 1;
    m.now_ns = uptimes_ns[setup >> 6] + 1;
    m.limiter = limiter_begin(0, m.life);
    if ((setup & 8) != 0) {
        m.crowded = true;
        m.now_ns = 2 * MS;
        crowd();
    }
    for (unsigned i = 0; i < LIMITS; i++) {
        limit_begin(i, 1 + i, precisions[setup & 7],
                    (setup >> 4 & 3) == 1 ? PAWL_WHEN_FULL_CLOSED : PAWL_WHEN_FULL_OVERFLOW);
    }
}

static void machine_end(void)
{
    struct pawl_limiter_metrics metrics;

    pawl_limiter_metrics_get(m.limiter, &metrics);
    require(metrics.memory_records + metrics.memory_index + metrics.memory_own +
                metrics.memory_free <=
            metrics.memory_max);
    pawl_limiter_deinit(m.limiter);
    for (unsigned key = 0; key < KEYS; key++) {
        for (unsigned limit = 0; limit < LIMITS; limit++) {
            for (unsigned slot = 0; slot < SLOTS_MAX; slot++) {
                oracle_free(&m.known[key][limit][slot].oracle);
            }
        }
    }
}

/* ---- asking ---- */

/* The window less what the clocks were ever apart: an event in it is in the limiter's too. */
static uint64_t sure_ms(uint32_t window_ms)
{
    uint64_t slack_ms = (m.slack_ns + MS - 1) / MS;

    return slack_ms < window_ms ? window_ms - slack_ms : 0;
}

static void on_admitted(struct known *known, const struct pawl_limit_result *result, uint64_t cost)
{
    require(oracle_real_total(&known->oracle, sure_ms(result->window_ms)) + cost <=
            result->limit_count);
    known->charges[known->oracle.count % CHARGES] = result->charge;
    known->life[known->oracle.count % CHARGES] = m.life;
    oracle_admit(&known->oracle, cost);
}

static void on_refused(const struct known *known, const struct pawl_limit_result *result,
                       uint64_t cost, unsigned precision)
{
    uint64_t late_ms = (result->window_ms + precision - 2) / (precision - 1) + 1;

    if (known->disturbed || m.crowded || m.slack_ns > 0 || result->never || result->full) {
        return;
    }
    require(oracle_late_total(&known->oracle, result->window_ms, late_ms) + cost >
            result->limit_count);
}

/* One item's results; @charged: the request and the item allow it. Returns how many. */
static size_t look(const struct pawl_limit_item *item, unsigned key, unsigned limit,
                   const struct pawl_limit_result *results, bool charged, bool check)
{
    bool all_allowed = true;

    for (size_t i = 0; i < item->limit->rates_count; i++) {
        all_allowed = all_allowed && results[i].allowed;
    }
    for (size_t i = 0; i < item->limit->rates_count; i++) {
        const struct pawl_limit_result *result = &results[i];
        struct known *known = &m.known[key][limit][i];

        (void)oracle_see(&known->oracle, m.now_ns);
        require(result->limit_count == item->limit->rates[i].count);
        require(result->full || result->remaining == (result->count < result->limit_count
                                                          ? result->limit_count - result->count
                                                          : 0));
        require(!result->never || !result->allowed);
        require(!(result->allowed && result->retry_after_ms > 0));
        known->disturbed = known->disturbed || result->overflow;
        if (check && charged && all_allowed) {
            require(result->charge != 0 && result->count <= result->limit_count);
            on_admitted(known, result, item->cost);
        } else if (!item->limit->count_denied) {
            require(result->charge == 0);
        } else if (check) {
            known->disturbed = true;
        }
        if (!result->allowed) {
            on_refused(known, result, item->cost, item->limit->precision);
        }
    }
    return item->limit->rates_count;
}

static void op_ask(struct input *in, bool check)
{
    unsigned how = next(in); /* bits 0-1 items less 1 (3: two), bit 2 each, others the first key */
    unsigned wanted = 1 + (how & 1);
    struct pawl_limit_item items[2];
    struct pawl_bytes parts[2];
    struct pawl_limit_result results[2 * SLOTS_MAX];
    struct pawl_limit_outcome outcome;
    unsigned keys[2];
    unsigned limits[2];
    struct pawl_limit_request request = { items, wanted,
                                          (how & 4) != 0 ? PAWL_MODE_EACH : PAWL_MODE_ATOMIC,
                                          check ? PAWL_OP_CHECK : PAWL_OP_PEEK, now() };

    for (unsigned i = 0; i < wanted; i++) {
        unsigned which = next(in);
        uint64_t cost = counts[which >> 5 << 1 | 1];

        keys[i] = which & (KEYS - 1);
        limits[i] = (which >> 2 & 7) % LIMITS;
        item_of(&items[i], &parts[i], keys[i], limits[i], cost == 0 ? 1 : cost);
    }
    enum pawl_status status =
        pawl_limiter_check(m.limiter, &request, results, 2 * SLOTS_MAX, &outcome);

    if (wanted == 2 && keys[0] == keys[1] && limits[0] == limits[1]) {
        require(status == PAWL_EINVAL && outcome.verdict == PAWL_VERDICT_NONE);
        return;
    }
    require(status == PAWL_OK && (outcome.verdict == PAWL_ALLOW || outcome.verdict == PAWL_DENY));
    m.checks += check ? 1 : 0;
    bool charged = outcome.verdict == PAWL_ALLOW || request.mode == PAWL_MODE_EACH;
    size_t at = 0;

    for (unsigned i = 0; i < wanted; i++) {
        at += look(&items[i], keys[i], limits[i], results + at, charged, check);
    }
    require(at == outcome.results_count);
    bool all = true;

    for (size_t i = 0; i < at; i++) {
        all = all && results[i].allowed;
    }
    require(all == (outcome.verdict == PAWL_ALLOW));
}

/* ---- taking back ---- */

/* One of the newest charges of each rate, or the oldest entries. */
static void op_refund(struct input *in)
{
    unsigned which = next(in);
    unsigned how = next(in); /* bits 0-2 how old the charge, bit 3 the oldest entries */
    unsigned key = which & (KEYS - 1);
    unsigned limit = (which >> 2 & 7) % LIMITS;
    struct pawl_limit_item item;
    struct pawl_bytes part;
    uint64_t charges[SLOTS_MAX] = { 0 };
    uint64_t refunded[SLOTS_MAX] = { 0 };
    struct oracle_event *events[SLOTS_MAX] = { NULL };
    uint64_t cost = counts[which >> 5 << 1 | 1];
    bool named = (how & 8) == 0;
    bool other_life = false;

    for (unsigned i = 0; named && i < m.limits[limit].rates_count; i++) {
        struct known *known = &m.known[key][limit][i];
        size_t index = known->oracle.count - 1 - (how & 7);

        if (known->oracle.count <= (how & 7) || index < known->oracle.first) {
            return;
        }
        events[i] = &known->oracle.events[index];
        charges[i] = known->charges[index % CHARGES];
        other_life = other_life || known->life[index % CHARGES] != m.life;
        cost = cost < events[i]->cost ? cost : events[i]->cost;
    }
    if (cost == 0) {
        return;
    }
    item_of(&item, &part, key, limit, cost);
    require(pawl_limiter_refund(m.limiter, &item, named ? charges : NULL, now(), refunded) ==
            PAWL_OK);
    for (unsigned i = 0; i < m.limits[limit].rates_count; i++) {
        struct known *known = &m.known[key][limit][i];

        require(refunded[i] <= cost && !(other_life && refunded[i] > 0));
        known->disturbed = true;
        if (named) {
            events[i]->cost -= refunded[i];
        }
        for (size_t e = known->oracle.first; !named && e < known->oracle.count && refunded[i] > 0;
             e++) {
            struct oracle_event *event = &known->oracle.events[e];
            uint64_t taken = refunded[i] < event->cost ? refunded[i] : event->cost;

            if (event->ns + sure_ms(m.limits[limit].rates[i].window_ms) * MS > m.now_ns) {
                event->cost -= taken;
                refunded[i] -= taken;
            }
        }
    }
}

static void op_reset(struct input *in)
{
    unsigned which = next(in);
    unsigned key = which & (KEYS - 1);
    unsigned limit = (which >> 2 & 7) % LIMITS;
    struct pawl_limit_item item;
    struct pawl_bytes part;
    size_t forgotten = 99;

    item_of(&item, &part, key, limit, 1);
    require(pawl_limiter_reset(m.limiter, &item, now(), &forgotten) == PAWL_OK);
    require(forgotten <= item.limit->rates_count);
    for (unsigned i = 0; i < item.limit->rates_count; i++) {
        struct known *known = &m.known[key][limit][i];

        known->oracle.first = known->oracle.count;
        known->disturbed = false;
    }
}

/* ---- saving ---- */

static bool save_record(void *unused, const uint8_t *record, size_t size)
{
    struct pawl_record_head head;
    uint32_t saved_size = (uint32_t)size;

    (void)unused;
    require(pawl_record_check(pawl_bytes_of(record, size), &head) == PAWL_OK);
    if (FILE_BYTES - file.size < size + 12) {
        return false;
    }
    memcpy(file.bytes + file.size, &file.saved_ns, 8);
    memcpy(file.bytes + file.size + 8, &saved_size, 4);
    memcpy(file.bytes + file.size + 12, record, size);
    file.size += 12 + size;
    return true;
}

/* Bring the file up to now; false when it is full. */
static bool op_save(struct input *in)
{
    size_t budget = next(in) + 1u;
    bool fits = true;

    file.saved_ns = now().ns;
    for (unsigned shard = 0; shard < 2 && fits; shard++) {
        bool restart = true;
        size_t before;

        do { /* the first time all, later what has changed; the budget only cuts it into parts */
            before = file.size;
            fits = (file.begun
                        ? pawl_limiter_collect_dirty(m.limiter, shard, budget, now(), scratch,
                                                     save_record, NULL, NULL)
                        : pawl_limiter_collect_all(m.limiter, shard, restart, budget, now(),
                                                   scratch, save_record, NULL, NULL)) == PAWL_OK;
            restart = false;
        } while (!fits && file.size > before);
    }
    file.begun = fits;
    file.size = fits ? file.size : 0;
    return fits;
}

/* Save, end, begin again from the file: the same boot of the machine, or a new one. */
static void op_restart(struct input *in)
{
    unsigned how = next(in); /* bit 0 a new boot; others how long the pause was */
    uint64_t pause_ns = (uint64_t)(how >> 1 & 63) * (how >> 1 & 63) * MS + (how & 1);
    uint64_t less_ns;
    struct pawl_limiter *fresh;

    m.back_ns = 0; /* the saver has one clock */
    if (m.crowded || !op_save(in)) {
        return;
    }
    less_ns = m.less_ns;
    m.now_ns += pause_ns;
    m.life++;
    m.region ^= 1;
    fresh = limiter_begin(m.region, m.life);
    m.less_ns = (how & 1) != 0 ? m.now_ns - (how & 0x80 ? 1 : 20 * MS + 1) : m.less_ns;
    if (m.less_ns > m.now_ns) {
        m.less_ns = less_ns;
    }
    for (size_t at = 0; at < file.size;) {
        uint64_t saved_ns;
        uint32_t size;

        memcpy(&saved_ns, file.bytes + at, 8);
        memcpy(&size, file.bytes + at + 8, 4);
        /* what is known to have passed since, in whole ms */
        uint64_t elapsed_ms = (m.now_ns - (saved_ns + less_ns)) / MS;

        require(pawl_limiter_load(fresh, pawl_bytes_of(file.bytes + at + 12, size), elapsed_ms,
                                  now()) == PAWL_OK);
        at += 12 + size;
    }
    pawl_limiter_deinit(m.limiter);
    m.limiter = fresh;
    file.size = 0;
    file.begun = false;
    for (unsigned i = 0; i < LIMITS; i++) {
        limit_begin(i, next(in), m.limits[i].precision, m.limits[i].when_full);
    }
    for (unsigned key = 0; key < KEYS; key++) { /* ages are in whole ms: a ms late each time */
        for (unsigned limit = 0; limit < LIMITS; limit++) {
            m.known[key][limit][0].disturbed = true;
            m.known[key][limit][1].disturbed = true;
        }
    }
}

/* ---- time ---- */

static void op_time(struct input *in)
{
    static const uint64_t steps_ns[16] = {
        1,          1000,      MS - 1,       MS,
        MS + 1,     3 * MS,    10 * MS,      99 * MS,
        100 * MS,   333 * MS,  1000 * MS,    1001 * MS - 1,
        60000 * MS, 7500 * MS, 3600000 * MS, (uint64_t)PAWL_WINDOW_MS_MAX * MS,
    };
    unsigned step = next(in);

    if ((step & 0xc0) == 0xc0) { /* a thread that read the clock before others did */
        m.back_ns = steps_ns[step & 7];
        m.slack_ns = m.back_ns > m.slack_ns ? m.back_ns : m.slack_ns;
        return;
    }
    m.back_ns = 0;
    m.now_ns += steps_ns[step & 15] * (1 + (step >> 4 & 3));
}

static void op_limit(struct input *in)
{
    unsigned which = next(in);
    unsigned limit = (which & 15) % LIMITS;

    limit_begin(limit, which >> 4, m.limits[limit].precision, m.limits[limit].when_full);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, data + size };

    if (size < 2) {
        return 0;
    }
    machine_begin(next(&in));
    for (unsigned i = 0; i < OPS_MAX && in.at < in.end; i++) {
        unsigned op = next(&in);

        switch (op & 15) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4:
            for (unsigned times = 0; times <= (op >> 4); times++) { /* the same again */
                struct input again = in;

                op_ask(times == op >> 4 ? &in : &again, true);
                m.now_ns += (op & 15) * MS / 3; /* a dense stream */
            }
            break;
        case 5:
            op_ask(&in, false);
            break;
        case 6:
            op_refund(&in);
            break;
        case 7:
            op_reset(&in);
            break;
        case 8:
            (void)pawl_limiter_sweep(m.limiter, op >> 4 & 1, next(&in), now());
            break;
        case 9:
            (void)(m.crowded || op_save(&in));
            break;
        case 10:
            op_restart(&in);
            break;
        case 11:
            op_limit(&in);
            break;
        default:
            op_time(&in);
            break;
        }
    }
    machine_end();
    return 0;
}
