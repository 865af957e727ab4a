/*
 * The counter file: records of the limiter, soft state, one flat file.
 *
 * A journal of blocks, each with its own checksum and the clocks at which its records were taken;
 * later records replace earlier ones of the same identity, which is inside the record and none of
 * this module's business. Form, all numbers little endian:
 *
 *   header, 64 bytes:  magic 8 "pawlcnt\n", version u32, reserved u32, secret check u64,
 *                      birth of the store 16, nonce u64, reserved u64, keyed hash u64
 *   block, 80 bytes:   magic u32, payload bytes u32, records u32, reserved u32, boot id 16,
 *                      BOOTTIME ns u64, wall us u64, stamp us u64, number u64, commits u64,
 *                      keyed hash u64
 *          payload:    for each record its size u32, then its bytes
 *
 * The keyed hash of a block covers the nonce of the file, its header and its payload, so that a
 * block of another file, or at another place, does not check out. `commits` is how far the
 * database next to it was known to be durable when the block was written.
 *
 * Life: pawl_counter_file_open, any number of appends and snapshots, pawl_counter_file_close. One
 * thread at a time.
 */
#ifndef PAWL_ADAPTER_SYS_COUNTER_FILE_H
#define PAWL_ADAPTER_SYS_COUNTER_FILE_H

#include "adapter/sys/clock.h"
#include "adapter/sys/secret.h"
#include "core/status.h"

#define PAWL_COUNTER_FILE         "counters"
#define PAWL_COUNTER_FILE_TEMP    "counters.new"
#define PAWL_COUNTER_FILE_VERSION 1
#define PAWL_COUNTER_HEADER_BYTES 64
#define PAWL_COUNTER_BLOCK_BYTES  80
#define PAWL_COUNTER_PAYLOAD_MAX  (4u << 20)
#define PAWL_BIRTH_BYTES          16

/** The clocks at one moment, to tell the age of a record after a restart. */
struct pawl_counter_anchor {
    uint8_t boot_id[PAWL_BOOT_ID_BYTES];
    uint64_t boottime_ns;
    uint64_t wall_us;
    uint64_t stamp_us;
};

/** What the file says of itself, and what became of it at open. */
struct pawl_counter_report {
    bool existed;
    bool from_store; /* made beside a store: `birth` is meant */
    uint8_t birth[PAWL_BIRTH_BYTES];
    uint64_t commits; /* the most that a good block knows of */
    uint64_t blocks;  /* good ones */
    uint64_t records;
    uint64_t bytes;
    uint64_t torn_bytes;     /* of a last block cut short: normal after a crash */
    enum pawl_status damage; /* PAWL_OK; ECORRUPT, ESECRET, EVERSION: the file was set aside */
    char set_aside[256];     /* its new name, or "" */
};

struct pawl_counter_file {
    /* private */
    int dir_fd;
    int fd;
    int snapshot_fd;
    const struct pawl_store_keys *keys;
    uint8_t birth[PAWL_BIRTH_BYTES];
    uint64_t nonce;
    uint64_t number; /* of the next block */
    uint64_t size;
    uint64_t snapshot_nonce;
    uint64_t snapshot_number;
    uint64_t snapshot_size;
};

/** A saved record; @elapsed_ms is how long ago at least it was taken. */
typedef void (*pawl_counter_record)(void *data, struct pawl_bytes record, uint64_t elapsed_ms);

/**
 * How old something anchored at @then is for certain at @now. Under the same boot id BOOTTIME
 * tells. Under another one nothing can be told for certain, and the answer is 0: a civil clock that
 * was set an hour on would make records look too old and admit too much, while too young only
 * means that a caller waits for at most one window (P1).
 */
uint64_t pawl_counter_elapsed_ms(const struct pawl_counter_anchor *then,
                                 const struct pawl_counter_anchor *now);

/**
 * Walk the @size bytes of a counter file at @data and hand each record of each good block to
 * @on_record (may be NULL). Safe on any bytes.
 *
 * @good  out: bytes of header and good blocks, where the next block belongs.
 * Returns PAWL_OK (a last block that is cut short included, see report->torn_bytes), PAWL_ECORRUPT
 * (something at @good does not check out), PAWL_ESECRET, PAWL_EVERSION. Also fills @nonce and
 * @number for going on.
 */
PAWL_MUST_USE enum pawl_status pawl_counter_parse(
    struct pawl_bytes data, const struct pawl_store_keys *keys, unsigned keys_count,
    const struct pawl_counter_anchor *now, pawl_counter_record on_record, void *record_data,
    struct pawl_counter_report *report, size_t *good, uint64_t *nonce, uint64_t *number);

/**
 * Open "counters" in @dir_fd, load its records, get ready to append. A file that does not check
 * out keeps its bytes under a new name ("counters.bad-<time>"); what was good before the damage is
 * loaded and goes into a new file. Limits go on in any case; the caller reports.
 *
 * @keys    kept, until close; the first writes, all are tried for reading.
 * @birth   of the store, kept in a new file's header; all zero: no store.
 * @nonce   random, for a new file.
 *
 * Returns PAWL_OK; PAWL_EIO, PAWL_ENOMEM (nothing is open then).
 */
PAWL_MUST_USE enum pawl_status pawl_counter_file_open(
    struct pawl_counter_file *file, int dir_fd, const struct pawl_store_keys *keys,
    unsigned keys_count, const uint8_t birth[PAWL_BIRTH_BYTES], uint64_t nonce,
    const struct pawl_counter_anchor *now, pawl_counter_record on_record, void *record_data,
    struct pawl_counter_report *report, struct pawl_error *error);

/**
 * Append one block to the journal (and to the snapshot, where one is being written).
 *
 * @payload  size-prefixed records, at most PAWL_COUNTER_PAYLOAD_MAX.
 * Not durable before pawl_counter_file_sync(). A write that fails or is short is taken back (the
 * file is cut to where it was). PAWL_OK or PAWL_EIO.
 */
PAWL_MUST_USE enum pawl_status pawl_counter_file_append(struct pawl_counter_file *file,
                                                        const struct pawl_counter_anchor *anchor,
                                                        uint64_t commits, struct pawl_bytes payload,
                                                        uint32_t records, struct pawl_error *error);

/** fdatasync the journal. PAWL_OK or PAWL_EIO. */
PAWL_MUST_USE enum pawl_status pawl_counter_file_sync(struct pawl_counter_file *file,
                                                      struct pawl_error *error);

/** Begin a new file next to the journal; @nonce random. From now on appends go to both. */
PAWL_MUST_USE enum pawl_status pawl_counter_snapshot_begin(struct pawl_counter_file *file,
                                                           uint64_t nonce,
                                                           struct pawl_error *error);

/** Append a block to the snapshot alone. On failure the snapshot is dropped. */
PAWL_MUST_USE enum pawl_status pawl_counter_snapshot_append(
    struct pawl_counter_file *file, const struct pawl_counter_anchor *anchor, uint64_t commits,
    struct pawl_bytes payload, uint32_t records, struct pawl_error *error);

/** Sync the snapshot and put it in the journal's place. On failure the journal goes on. */
PAWL_MUST_USE enum pawl_status pawl_counter_snapshot_commit(struct pawl_counter_file *file,
                                                            struct pawl_error *error);

/** Drop a snapshot that was begun; the journal goes on. */
void pawl_counter_snapshot_abort(struct pawl_counter_file *file);

/** Count of records in size-prefixed @payload, and whether its sizes add up. */
bool pawl_counter_payload_check(struct pawl_bytes payload, uint32_t *records);

void pawl_counter_file_close(struct pawl_counter_file *file);

#endif
