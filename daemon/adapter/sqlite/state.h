/*
 * What the store knows of itself: one row, written in every transaction, with a MAC of its own.
 *
 * The digests tell whether rows are missing, changed, swapped or older than they should be: for
 * each of 64 buckets the count of rows and the XOR of their MACs. `commits` counts transactions,
 * so that a database that is older than it should be as a whole is noticed (mark.h). Pure.
 */
#ifndef PAWL_ADAPTER_SQLITE_STATE_H
#define PAWL_ADAPTER_SQLITE_STATE_H

#include "adapter/sys/clock.h"
#include "adapter/sys/counter_file.h"
#include "adapter/sys/secret.h"

#define PAWL_BUCKETS         64
#define PAWL_NODE_BYTES      8
#define PAWL_STATE_BYTES_MAX 4000 /* one page of the database, with its row */

struct pawl_digest {
    uint64_t count;
    uint64_t xor_of_macs;
};

struct pawl_state {
    uint8_t birth[PAWL_BIRTH_BYTES]; /* random: which store this is */
    uint8_t node[PAWL_NODE_BYTES];   /* random: first half of the origin of its facts */
    uint64_t birth_us;               /* stamp: when it was made */
    uint64_t commits;
    uint64_t next_n;   /* for the next fact */
    uint64_t stamp_us; /* highest stamp that the store has seen */
    uint64_t floor_ms; /* a thaw: tokens of any namespace up to here are not to be trusted */
    bool test_clock;   /* never ran without --test-clock */
    /* The clock of trimming: it runs only as BOOTTIME does. */
    uint64_t trim_us;
    uint8_t trim_boot_id[PAWL_BOOT_ID_BYTES];
    uint64_t trim_boottime_ns;
    struct pawl_digest facts[PAWL_BUCKETS];
    struct pawl_digest families[PAWL_BUCKETS];
};

/** Serialize with check value and MAC; returns the size, at most PAWL_STATE_BYTES_MAX. */
size_t pawl_state_encode(const struct pawl_state *state, const struct pawl_store_keys *keys,
                         uint8_t out[PAWL_STATE_BYTES_MAX]);

/**
 * Read it back. PAWL_OK; PAWL_ESECRET: written under none of @keys; PAWL_EVERSION;
 * PAWL_ECORRUPT. @state is untouched unless PAWL_OK.
 */
PAWL_MUST_USE enum pawl_status pawl_state_decode(struct pawl_state *state, struct pawl_bytes bytes,
                                                 const struct pawl_store_keys *keys,
                                                 unsigned keys_count);

/** Take a row into a digest, or out of it. */
void pawl_digest_add(struct pawl_digest *digests, uint64_t bucket, uint64_t mac);
void pawl_digest_remove(struct pawl_digest *digests, uint64_t bucket, uint64_t mac);

/** Rows in all buckets. */
uint64_t pawl_digest_count(const struct pawl_digest *digests);

/** Move the clock of trimming on to @now; under another boot id only its anchor moves. */
void pawl_state_trim_advance(struct pawl_state *state, const uint8_t boot_id[PAWL_BOOT_ID_BYTES],
                             uint64_t boottime_ns);

#endif
