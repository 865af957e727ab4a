/*
 * Serialized counter records: the input is u8 flags, u8 and u16 that make times, u40 a limit's
 * count, then the record.
 *
 * What must hold: a record that is taken counts, for the key it names, the sum of what has not
 * left its window, at whatever uptime it is loaded, and at least that while nothing can be left
 * out; a check is allowed only below the limit; what is collected again passes the check and loads
 * to the same count; the record empties in one window at most. The other kinds, each asked by a
 * limit of its own algorithm, hold what can be read from their bytes by hand. A kind of the future
 * is used up for a window.
 */
#include "core/gcra.h"
#include "core/limiter.h"
#include "core/quota.h"
#include "core/slots.h"
#include "fuzz/require.h"

#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY     (1u << 20)
#define HEAD_BYTES 9
#define MS         UINT64_C(1000000)

static void *region;
static uint8_t scratch[PAWL_RECORD_BYTES_MAX];
static uint8_t kept[PAWL_RECORD_BYTES_MAX];
static size_t kept_size;
static int64_t wall_s; /* within the period of a quota */

static void begin(struct pawl_limiter *limiter)
{
    struct pawl_limiter_config config = {
        .memory_max = MEMORY, .shards = 1, .salt = { 1, 2 }, .life = 3, .persist = true
    };

    if (region == NULL) {
        region = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        require(region != MAP_FAILED);
    }
    memset(region, 0, MEMORY); /* cheaper than pages that are new each time */
    config.region = region;
    memset(config.subkey.bytes, 5, sizeof(config.subkey.bytes));
    require(pawl_limiter_init(limiter, &config, NULL) == PAWL_OK);
}

static bool keep(void *unused, const uint8_t *record, size_t size)
{
    (void)unused;
    memcpy(kept, record, size);
    kept_size = size;
    return true;
}

/* A key with one inline rate. */
struct asked {
    struct pawl_limit limit;
    struct pawl_bytes part;
    struct pawl_limit_item item;
    struct pawl_limit_result result;
};

static void ask_init(struct asked *asked, const struct pawl_limiter *limiter,
                     const struct pawl_record_head *head, uint64_t count)
{
    struct pawl_rate rate = { count, head->window_ms };

    memset(asked, 0, sizeof(*asked));
    asked->part = pawl_bytes_of("key", 3);
    if (head->kind == PAWL_RECORD_CALENDAR) {
        asked->limit.algorithm = PAWL_ALGORITHM_CALENDAR;
        asked->limit.rates_count = 1;
        asked->limit.rates[0] = (struct pawl_rate){ count, 0, PAWL_PERIOD_MONTH };
        asked->limit.name[0] = 'q';
        require(pawl_limit_init(&asked->limit, limiter, NULL) == PAWL_OK);
    } else {
        enum pawl_algorithm algorithm = head->kind == PAWL_RECORD_GCRA ? PAWL_ALGORITHM_GCRA
                                        : head->kind == PAWL_RECORD_CONCURRENCY
                                            ? PAWL_ALGORITHM_CONCURRENCY
                                            : PAWL_ALGORITHM_SLIDING;

        rate.count = algorithm == PAWL_ALGORITHM_CONCURRENCY ? count % (PAWL_SLOTS_MAX + 1) : count;
        require(pawl_limit_init_inline_as(&asked->limit, limiter, algorithm, &rate, NULL, 1, 0,
                                          NULL) == PAWL_OK);
    }
    asked->item =
        (struct pawl_limit_item){ &asked->limit, pawl_bytes_of("ns", 2), &asked->part, 1, 1 };
}

static bool ask(struct pawl_limiter *limiter, struct asked *asked, enum pawl_limiter_op op,
                uint64_t now_ns)
{
    struct pawl_limit_request request = { &asked->item, 1,          PAWL_MODE_ATOMIC,
                                          op,           { now_ns }, { wall_s } };
    struct pawl_limit_outcome outcome;

    require(pawl_limiter_check(limiter, &request, &asked->result, 1, &outcome) == PAWL_OK);
    return outcome.verdict == PAWL_ALLOW;
}

/* The id under which a key is saved, into the record. */
static void name_record(struct asked *asked, struct pawl_limiter *limiter, uint8_t *record)
{
    (void)ask(limiter, asked, PAWL_OP_CHECK, MS);
    kept_size = 0;
    require(pawl_limiter_collect_item(limiter, &asked->item, (struct pawl_instant){ MS }, scratch,
                                      keep, NULL) == PAWL_OK);
    require(kept_size >= PAWL_RECORD_HEAD_BYTES);
    memcpy(record + 8, kept + 8, 16);
    require(pawl_limiter_reset(limiter, &asked->item, (struct pawl_instant){ MS }, NULL) ==
            PAWL_OK);
}

/* Sum of the entries whose age with @more_ms is below the window: by hand, from the bytes. */
static uint64_t sum_of(const uint8_t *record, const struct pawl_record_head *head, uint64_t more_ms)
{
    unsigned bytes = head->wide ? 9 : 5;
    uint64_t sum = 0;

    for (unsigned i = 0; i < head->entries; i++) {
        const uint8_t *entry = record + PAWL_RECORD_HEAD_BYTES + (size_t)i * bytes;
        uint64_t age_ms = 0;
        uint64_t count = 0;

        for (unsigned j = 0; j < 4; j++) {
            age_ms |= (uint64_t)entry[j] << (8 * j);
        }
        for (unsigned j = 4; j < bytes; j++) {
            count |= (uint64_t)entry[j] << (8 * (j - 4));
        }
        sum += age_ms + more_ms < head->window_ms ? count : 0;
    }
    return sum;
}

static void check_loaded(struct pawl_limiter *limiter, struct asked *asked, const uint8_t *record,
                         const struct pawl_record_head *head, uint64_t elapsed_ms, uint64_t now_ns)
{
    struct pawl_limiter again;
    struct pawl_record_head saved;
    uint64_t limit = asked->limit.rates[0].count;
    bool sliding = head->kind == PAWL_RECORD_SLIDING;
    uint64_t least = sliding ? sum_of(record, head, elapsed_ms) : 0;
    /* the part of a ms that is rounded late may keep an entry a ms longer */
    uint64_t most = elapsed_ms > 0 ? sum_of(record, head, elapsed_ms - 1) : least;

    (void)ask(limiter, asked, PAWL_OP_PEEK, now_ns);
    uint64_t count = asked->result.count;

    if (sliding) {
        require(count >= least && count <= most);
    } else {
        require(elapsed_ms >= head->window_ms ? count == 0 : count == limit);
    }
    kept_size = 0;
    require(pawl_limiter_collect_item(limiter, &asked->item, (struct pawl_instant){ now_ns },
                                      scratch, keep, NULL) == PAWL_OK);
    bool allowed = ask(limiter, asked, PAWL_OP_CHECK, now_ns);

    require(allowed == (count + 1 <= limit));
    require(asked->result.count == count + (allowed ? 1 : 0) || asked->result.overflow);
    require(!ask(limiter, asked, PAWL_OP_PEEK, now_ns + head->window_ms * MS + MS) ||
            asked->result.count == 0);
    if (kept_size > 0) {
        require(pawl_record_check(pawl_bytes_of(kept, kept_size), &saved) == PAWL_OK);
        require(saved.window_ms == head->window_ms);
        begin(&again);
        require(pawl_limiter_load(&again, pawl_bytes_of(kept, kept_size), 0,
                                  (struct pawl_instant){ now_ns }) == PAWL_OK);
        (void)ask(&again, asked, PAWL_OP_PEEK, now_ns);
        require(asked->result.count == count);
        pawl_limiter_deinit(&again);
    }
}

static uint64_t get(const uint8_t *in, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)in[i] << (8 * i);
    }
    return value;
}

/* What a record of another kind holds, by hand, from the bytes. */
static uint64_t held_by(const uint8_t *record, const struct pawl_record_head *head,
                        uint64_t more_ms)
{
    const uint8_t *body = record + PAWL_RECORD_HEAD_BYTES;
    long double level;
    uint64_t sum = 0;

    switch (head->kind) {
    case PAWL_RECORD_GCRA: /* about: its own tests hold it exactly */
        level =
            ((long double)get(body + 8, 8) * 18446744073709551616.0L + (long double)get(body, 8)) /
            ((long double)head->window_ms * 1000000.0L);
        level -=
            (long double)get(body + 16, 8) * (long double)more_ms / (long double)head->window_ms;
        return level > 0 ? (uint64_t)level : 0;
    case PAWL_RECORD_CALENDAR:
        return get(body + 16, 8);
    default:
        for (unsigned i = 0; i < head->entries; i++, body += PAWL_SLOTS_SAVED_BYTES) {
            sum += get(body, 4) + more_ms < head->window_ms ? get(body + 4, 2) : 0;
        }
        return sum;
    }
}

static void check_other(struct pawl_limiter *limiter, struct asked *asked, const uint8_t *record,
                        const struct pawl_record_head *head, uint64_t elapsed_ms, uint64_t now_ns)
{
    static struct pawl_limiter again;
    struct pawl_record_head saved;
    uint64_t least = held_by(record, head, elapsed_ms);
    uint64_t most = elapsed_ms > 0 ? held_by(record, head, elapsed_ms - 1) : least;
    uint64_t limit = asked->limit.rates[0].count;

    (void)ask(limiter, asked, PAWL_OP_PEEK, now_ns);
    uint64_t count = asked->result.count;

    if (head->kind == PAWL_RECORD_GCRA) { /* as another count flows from now on, by no time */
        require(limit == 0 || (count + 2 >= least && count <= least + 2 + least / 1000000000));
    } else {
        require(count >= least && count <= most);
    }
    kept_size = 0;
    require(pawl_limiter_collect_item(limiter, &asked->item, (struct pawl_instant){ now_ns },
                                      scratch, keep, NULL) == PAWL_OK);
    bool allowed = ask(limiter, asked, PAWL_OP_CHECK, now_ns);

    require(!allowed || count < limit);
    require(allowed || count >= limit || head->kind == PAWL_RECORD_GCRA);
    if (kept_size > PAWL_RECORD_HEAD_BYTES) {
        require(pawl_record_check(pawl_bytes_of(kept, kept_size), &saved) == PAWL_OK);
        begin(&again);
        require(pawl_limiter_load(&again, pawl_bytes_of(kept, kept_size), 0,
                                  (struct pawl_instant){ now_ns }) == PAWL_OK);
        (void)ask(&again, asked, PAWL_OP_PEEK, now_ns);
        require(asked->result.count == count);
        pawl_limiter_deinit(&again);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t record[PAWL_RECORD_BYTES_MAX + 1];
    struct pawl_record_head head = { .kind = 0 };
    struct pawl_limiter limiter;
    struct asked asked;
    uint64_t count = 0;

    if (size < HEAD_BYTES || size - HEAD_BYTES > sizeof(record)) {
        return 0;
    }
    size_t record_size = size - HEAD_BYTES;

    memcpy(record, data + HEAD_BYTES, record_size);
    memcpy(&count, data + 4, 5);
    enum pawl_status status = pawl_record_check(pawl_bytes_of(record, record_size), &head);

    if (status != PAWL_OK) {
        require(status == PAWL_ECORRUPT || status == PAWL_EVERSION);
        begin(&limiter);
        require(pawl_limiter_load(&limiter, pawl_bytes_of(record, record_size), 0,
                                  (struct pawl_instant){ MS }) == status);
        pawl_limiter_deinit(&limiter);
        return 0;
    }
    uint64_t elapsed_ms = (uint64_t)(data[2] | data[3] << 8) << (data[0] & 15);
    uint64_t now_ns = ((uint64_t)data[1] << (data[0] >> 4) * 4) * 1000 + 1;

    begin(&limiter);
    if (head.kind == PAWL_RECORD_CALENDAR && head.entries > 0) {
        wall_s = (int64_t)get(record + PAWL_RECORD_HEAD_BYTES, 8);
    }
    ask_init(&asked, &limiter, &head, count);
    if (!head.cell && asked.limit.rates[0].count > 0) {
        name_record(&asked, &limiter, record);
        pawl_limiter_deinit(&limiter);
        begin(&limiter);
        require(pawl_record_check(pawl_bytes_of(record, record_size), &head) == PAWL_OK);
        status = pawl_limiter_load(&limiter, pawl_bytes_of(record, record_size), elapsed_ms,
                                   (struct pawl_instant){ now_ns });
        require(status == PAWL_OK);
        if (head.known && head.kind != PAWL_RECORD_SLIDING) {
            if (head.entries > 0) {
                check_other(&limiter, &asked, record, &head, elapsed_ms, now_ns);
            }
        } else {
            check_loaded(&limiter, &asked, record, &head, elapsed_ms, now_ns);
        }
    } else {
        require(pawl_limiter_load(&limiter, pawl_bytes_of(record, record_size), elapsed_ms,
                                  (struct pawl_instant){ now_ns }) == PAWL_OK);
        (void)pawl_limiter_sweep(&limiter, 0, 1024, (struct pawl_instant){ UINT64_C(1) << 62 });
    }
    pawl_limiter_deinit(&limiter);
    return 0;
}
