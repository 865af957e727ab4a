/*
 * The embedded store: port/store.h on SQLite and one flat file.
 *
 * In the data directory: pawl.db (facts, families), counters, mark (which store, how far), and
 * pawl-frozen.db while the node is frozen and took revocations. A writer thread commits facts and
 * families in groups; a saving thread writes counters. A clean close leaves no log: pawl.db alone
 * holds all facts.
 *
 * Frozen: something is missing or damaged. What checks out is loaded and acts; revocations go to
 * pawl-frozen.db, so that nothing is written over the evidence; families and cancels are refused;
 * counters go on. A job PAWL_JOB_THAW ends it.
 */
#ifndef PAWL_ADAPTER_SQLITE_STORE_H
#define PAWL_ADAPTER_SQLITE_STORE_H

#include "adapter/sqlite/fault.h"
#include "adapter/sys/clock.h"
#include "adapter/sys/secret.h"
#include "port/entropy.h"
#include "port/store.h"

struct pawl_sqlite_options {
    const char *path; /* of the data directory; locked by the caller (data_dir.h) */
    int dir_fd;       /* of the same; kept, the caller closes it after the store */
    const struct pawl_store_keys *keys; /* copied; the first writes, the others read */
    unsigned keys_count;                /* 1 to PAWL_SECRETS_MAX */
    const struct pawl_clock *clock;     /* kept, as are entropy and log */
    const struct pawl_entropy *entropy;
    const struct pawl_log *log;
    struct pawl_store_events events;     /* each may be NULL */
    struct pawl_counter_source counters; /* collect NULL: nothing to save on its own */
    uint8_t boot_id[PAWL_BOOT_ID_BYTES]; /* pawl_sys_boot_id() */
    unsigned batch_max;                  /* jobs in one transaction; 0: 256 */
    unsigned queue_max;                  /* jobs waiting; 0: 65536 */
    unsigned interval_ms;                /* between rounds of saving; 0: 500; at least 50 */
    uint64_t counters_write_max;         /* bytes of counters written in a second; 0: 32 MiB */
    uint64_t families_max;   /* rows; 0: 16 M. Facts are bounded by the revocation table */
    uint64_t facts_max;      /* rows; 0: 32 M (cutoffs and cancels share rows with revocations) */
    uint64_t max_lifetime_s; /* tokens.max_lifetime; 0: 30 days. Families are kept so much longer */
    bool no_counters;        /* no file of counters: they are saved elsewhere */
    bool frozen;             /* start frozen by hand */
    bool test_clock;         /* refused with a store that ever ran without it */
    pawl_vfs_fault fault;    /* tests only: fault.h; else NULL */
    void *fault_data;
};

/**
 * Open or create the store and load all there is: facts and counters come through the events, on
 * this thread, before this returns. Damage does not make it fail: the store is frozen then
 * (on_frozen says why). The clock is raised to the highest stamp stored.
 *
 * PAWL_OK, with @store filled until its close; PAWL_ESECRET, PAWL_EVERSION, PAWL_EPERM (read-only),
 * PAWL_EBUSY, PAWL_EIO, PAWL_ENOMEM, PAWL_EINVAL: @error says which file, what, and what to do;
 * nothing was changed.
 */
PAWL_MUST_USE enum pawl_status pawl_sqlite_store_open(const struct pawl_sqlite_options *options,
                                                      struct pawl_store *store,
                                                      struct pawl_error *error);

#endif
