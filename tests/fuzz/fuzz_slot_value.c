/*
 * Counter records as they come from the engine and from other members. The input is u8 mode, u8 and
 * u16 that make times, then bytes.
 *
 *   0  a value as it lies in the engine, as it is: nothing without a seal gets in
 *   1  a value whose seal is made to hold: what is inside may be anything
 *   2  a run of records, as in a PullReply or a Push
 *   3  two records of one key, each behind its size: their join
 *
 * What must hold: nothing is read beyond the bytes; what is joined is never less than either of the
 * two alone, and what is collected again passes the check.
 */
#include "core/cluster/seal.h"
#include "core/cluster/slots.h"
#include "core/octets.h"
#include "core/record.h"
#include "core/record_join.h"
#include "fuzz/require.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY     (2u << 20)
#define HEAD_BYTES 4
#define MS         UINT64_C(1000000)

static struct pawl_subkey key = { { 5 } };
static struct pawl_limiter limiter;
static void *region;
static uint8_t scratch[2 * PAWL_RECORD_BYTES_MAX];
static uint8_t kept[PAWL_RECORD_BYTES_MAX];
static size_t kept_size;

static void begin(void)
{
    struct pawl_limiter_config config = {
        .memory_max = MEMORY, .slots = &key, .salt = { 1, 2 }, .persist = true
    };

    if (region == NULL) {
        region = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        require(region != MAP_FAILED);
    }
    memset(region, 0, MEMORY);
    config.region = region;
    require(pawl_limiter_init(&limiter, &config, NULL) == PAWL_OK);
}

static bool keep(void *unused, const uint8_t *record, size_t size)
{
    (void)unused;
    require(size <= sizeof(kept));
    memcpy(kept, record, size);
    kept_size = size;
    return true;
}

static enum pawl_status join(struct pawl_bytes record, uint64_t elapsed_ms, uint64_t now_ns)
{
    return pawl_limiter_join(&limiter, record, elapsed_ms,
                             elapsed_ms % 2 == 0 ? PAWL_JOIN_GIVEN : PAWL_JOIN_SAVED,
                             (struct pawl_instant){ now_ns }, scratch);
}

/* What is in the table for @id is sound, and walks end. */
static void look(struct pawl_id id, uint64_t now_ns)
{
    struct pawl_record_head head;
    uint64_t cursor = 0;

    kept_size = 0;
    if (pawl_limiter_collect_id(&limiter, id, (struct pawl_instant){ now_ns }, scratch, keep,
                                NULL)) {
        require(pawl_record_check(pawl_bytes_of(kept, kept_size), &head) == PAWL_OK);
        require(pawl_id_equal(head.id, id));
    }
    require(pawl_limiter_collect_slots(&limiter, (unsigned)id.lo & 63, UINT64_MAX, false, &cursor,
                                       SIZE_MAX, (struct pawl_instant){ now_ns }, scratch, keep,
                                       NULL, NULL) == PAWL_OK);
}

/* Everything that counts in a sliding record or one of concurrency, @elapsed_ms later. */
static uint64_t total_of(struct pawl_bytes record, const struct pawl_record_head *head,
                         uint64_t elapsed_ms)
{
    unsigned bytes = head->kind == PAWL_RECORD_CONCURRENCY ? 14 : head->wide ? 9 : 5;
    unsigned count_bytes = head->kind == PAWL_RECORD_CONCURRENCY ? 2 : bytes - 4;
    uint64_t total = 0;

    for (unsigned i = 0; i < head->entries; i++) {
        const uint8_t *entry = record.data + PAWL_RECORD_HEAD_BYTES + (size_t)i * bytes;

        if (pawl_get_le(entry, 4) + elapsed_ms < head->window_ms) {
            total += pawl_get_le(entry + 4, count_bytes);
        }
    }
    return total;
}

static void two(const uint8_t *data, size_t size, uint64_t elapsed_ms, uint64_t now_ns)
{
    struct pawl_bytes run = { data, size };
    struct pawl_record_head heads[3];
    struct pawl_bytes records[2];
    uint8_t second[PAWL_RECORD_BYTES_MAX];

    if (!pawl_slot_run_next(&run, &records[0]) || !pawl_slot_run_next(&run, &records[1])) {
        return;
    }
    memcpy(second, records[1].data, records[1].size); /* of the same key */
    memcpy(second + 8, records[0].data + 8, 16);
    records[1].data = second;
    if (pawl_record_check(records[0], &heads[0]) != PAWL_OK ||
        pawl_record_check(records[1], &heads[1]) != PAWL_OK) {
        return;
    }
    begin();
    require(join(records[0], 0, now_ns) == PAWL_OK);
    require(join(records[1], elapsed_ms, now_ns) == PAWL_OK);
    look(heads[0].id, now_ns);
    kept_size = 0;
    (void)pawl_limiter_collect_id(&limiter, heads[0].id, (struct pawl_instant){ now_ns }, scratch,
                                  keep, NULL);
    if (kept_size > 0 && heads[0].known && heads[0].kind == heads[1].kind &&
        (heads[0].kind == PAWL_RECORD_SLIDING || heads[0].kind == PAWL_RECORD_CONCURRENCY)) {
        uint64_t a = total_of(records[0], &heads[0], 0);
        uint64_t b = total_of(records[1], &heads[1], elapsed_ms);
        uint64_t most = heads[0].kind == PAWL_RECORD_CONCURRENCY ? PAWL_SLOTS_MAX : PAWL_COUNT_MAX;

        require(pawl_record_check(pawl_bytes_of(kept, kept_size), &heads[2]) == PAWL_OK);
        uint64_t sum = total_of(pawl_bytes_of(kept, kept_size), &heads[2], 0);

        require(sum >= (a < most ? a : most) && sum >= (b < most ? b : most));
        if (heads[0].kind == PAWL_RECORD_SLIDING) {
            require(sum >= (a + b < most ? a + b : most));
        }
    }
    pawl_limiter_deinit(&limiter);
}

static void run_of(const uint8_t *data, size_t size, uint64_t now_ns)
{
    struct pawl_bytes run = { data, size };
    struct pawl_bytes record;

    begin();
    while (pawl_slot_run_next(&run, &record)) {
        require(record.data >= data && record.data + record.size <= data + size);
        enum pawl_status status = join(record, 0, now_ns);

        require(status == PAWL_OK || status == PAWL_ECORRUPT || status == PAWL_EVERSION ||
                status == PAWL_EFULL);
        look(pawl_limiter_record_id(record.data), now_ns);
    }
    pawl_limiter_deinit(&limiter);
}

static void value_of(const uint8_t *data, size_t size, bool seal, uint64_t times, uint64_t now_ns)
{
    uint8_t *value = malloc(size + PAWL_SEAL_BYTES); /* of its own: a byte too far is seen */
    struct pawl_id id = { 0, 0 };
    struct pawl_slot_anchor now = { times * 1000, times * 900 };
    struct pawl_bytes record;
    uint64_t elapsed_ms;

    require(value != NULL);
    if (size >= PAWL_SLOT_ANCHOR_BYTES + PAWL_RECORD_HEAD_BYTES) {
        id = pawl_limiter_record_id(data + PAWL_SLOT_ANCHOR_BYTES);
    }
    memcpy(value, data, size);
    if (seal) {
        uint8_t place[20];

        pawl_put_le(place, id.lo, 8);
        pawl_put_le(place + 8, id.hi, 8);
        pawl_put_le(place + 16, id.lo % PAWL_RING_SLOTS, 4);
        size = pawl_seal(&key, PAWL_SEAL_SLOT, pawl_bytes_of(place, sizeof(place)), value, size);
    }
    enum pawl_status status =
        pawl_slot_value_open(&key, id, (uint32_t)(id.lo % PAWL_RING_SLOTS), now,
                             pawl_bytes_of(value, size), &record, &elapsed_ms);

    if (status == PAWL_OK) {
        begin();
        status = join(record, elapsed_ms, now_ns);
        require(status == PAWL_OK || status == PAWL_ECORRUPT || status == PAWL_EVERSION);
        look(id, now_ns);
        pawl_limiter_deinit(&limiter);
    } else {
        require(!seal || size > PAWL_SLOT_VALUE_MAX ||
                size < PAWL_SLOT_ANCHOR_BYTES + PAWL_RECORD_HEAD_BYTES + PAWL_SEAL_BYTES);
    }
    free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD_BYTES || size > 2 * PAWL_SLOT_VALUE_MAX) {
        return 0;
    }
    uint64_t times = (uint64_t)(data[2] | data[3] << 8) << (data[1] & 15);
    uint64_t now_ns = ((uint64_t)data[1] << (data[0] >> 4) * 4) * MS + 1;

    switch (data[0] & 3) {
    case 0:
    case 1:
        value_of(data + HEAD_BYTES, size - HEAD_BYTES, (data[0] & 3) == 1, times, now_ns);
        break;
    case 2:
        run_of(data + HEAD_BYTES, size - HEAD_BYTES, now_ns);
        break;
    default:
        two(data + HEAD_BYTES, size - HEAD_BYTES, times, now_ns);
        break;
    }
    return 0;
}
