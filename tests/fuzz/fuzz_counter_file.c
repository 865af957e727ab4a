/*
 * The counter file: any bytes, and bytes whose hashes are made right.
 *
 * What must hold: records lie inside the input, the good part is a good file of its own, and what
 * is said of it adds up.
 */
#include "adapter/sys/counter_file.h"
#include "fuzz/require.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SIZE_MAX_HERE 4096

static const uint8_t *from;
static const uint8_t *to;
static uint64_t seen;

static void on_record(void *unused, struct pawl_bytes record, uint64_t elapsed_ms)
{
    (void)unused;
    (void)elapsed_ms;
    require(record.size > 0 && record.data >= from && record.data + record.size <= to);
    seen++;
}

static void put64(uint8_t *out, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
}

/* Make the hash of the header, and of the first block if it is whole, right. */
static void make_right(uint8_t *file, size_t size, const struct pawl_store_keys *keys)
{
    uint8_t all[8 + PAWL_COUNTER_BLOCK_BYTES];

    if (size < PAWL_COUNTER_HEADER_BYTES) {
        return;
    }
    memcpy(file, "pawlcnt\n", 8);
    put64(file + 16, keys->check);
    put64(file + 56, pawl_keyhash64(&keys->limits, file, 56));
    if (size < PAWL_COUNTER_HEADER_BYTES + PAWL_COUNTER_BLOCK_BYTES) {
        return;
    }
    uint8_t *block = file + PAWL_COUNTER_HEADER_BYTES;
    size_t left = size - PAWL_COUNTER_HEADER_BYTES - PAWL_COUNTER_BLOCK_BYTES;
    uint32_t payload;

    memcpy(block, "PBLK", 4);
    memcpy(&payload, block + 4, 4);
    put64(block + 56, 0);
    if (payload > left) {
        return;
    }
    memcpy(all, file + 40, 8);
    memcpy(all + 8, block, PAWL_COUNTER_BLOCK_BYTES - 8);
    put64(all + PAWL_COUNTER_BLOCK_BYTES,
          pawl_keyhash64(&keys->limits, block + PAWL_COUNTER_BLOCK_BYTES, payload));
    put64(block + 72, pawl_keyhash64(&keys->limits, all, sizeof(all)));
}

static void parse(const uint8_t *data, size_t size, const struct pawl_store_keys *keys)
{
    struct pawl_counter_anchor now = { .boottime_ns = UINT64_C(1) << 60 };
    struct pawl_counter_report report = { .existed = false };
    struct pawl_counter_report again = { .existed = false };
    size_t good;
    size_t good_again;
    uint64_t nonce;
    uint64_t number;

    from = data;
    to = data + size;
    seen = 0;
    enum pawl_status status = pawl_counter_parse(pawl_bytes_of(data, size), keys, 2, &now,
                                                 on_record, NULL, &report, &good, &nonce, &number);

    require(good <= size && seen == report.records && report.blocks == number);
    require(status != PAWL_OK || good + report.torn_bytes == size);
    if (good > 0) {
        require(pawl_counter_parse(pawl_bytes_of(data, good), keys, 2, &now, NULL, NULL, &again,
                                   &good_again, &nonce, &number) == PAWL_OK);
        require(good_again == good && again.records == report.records);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pawl_store_keys keys[2];
    uint8_t file[SIZE_MAX_HERE];

    if (keys[0].check == 0) {
        uint8_t secret[PAWL_SECRET_BYTES] = { 1 };

        pawl_store_keys_derive(&keys[0], secret);
        secret[0] = 2;
        pawl_store_keys_derive(&keys[1], secret);
    }
    parse(data, size, keys);
    if (size <= sizeof(file)) {
        memcpy(file, data, size);
        make_right(file, size, &keys[size % 2]);
        parse(file, size, keys);
    }
    return 0;
}
