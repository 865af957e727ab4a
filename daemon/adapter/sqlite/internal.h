/*
 * The store's parts, as they see each other; nobody else includes this.
 *
 * Threads: the opener's until open returns; then the writer has everything under "writer", the
 * saver everything under "saver", and the rest is atomic or does not change.
 */
#ifndef PAWL_ADAPTER_SQLITE_INTERNAL_H
#define PAWL_ADAPTER_SQLITE_INTERNAL_H

#include "adapter/sqlite/load.h"
#include "adapter/sqlite/mark.h"
#include "adapter/sqlite/queue.h"
#include "adapter/sqlite/store.h"
#include "adapter/sys/counter_file.h"

#include <limits.h>

#define PAWL_DB_FILE        "pawl.db"
#define PAWL_DB_LOG         "pawl.db-wal"
#define PAWL_DB_SHM         "pawl.db-shm"
#define PAWL_DB_FROZEN      "pawl-frozen.db"
#define PAWL_DB_THAW        "pawl-thaw.db"
#define PAWL_REASON_BYTES   200
#define PAWL_SAVE_BYTES     (1u << 20)  /* one block of counters */
#define PAWL_SAVE_RATE_BPS  (32u << 20) /* bytes a second, where the options say nothing */
#define PAWL_LOG_FRAMES_MAX 1000        /* then the log goes into the database */
#define PAWL_STORE_PATH_MAX (PATH_MAX + 32)

/** 64-bit figures, one writer each. */
struct pawl_store_stats {
    _Atomic uint64_t commits, commit_failures, batch_jobs, batch_largest;
    _Atomic uint64_t commit_us_last, commit_us_max, commit_us_total;
    _Atomic uint64_t facts, families, trimmed, refused_full, log_frames;
    _Atomic uint64_t counter_bytes, counter_records, counter_failures, counter_syncs;
    _Atomic uint64_t counter_file_bytes, counter_clean_ns; /* instant up to which all is saved */
    _Atomic bool counter_handed_out; /* records were handed out that are not on disk yet */
};

struct pawl_sqlite {
    struct pawl_sqlite_options options;
    struct pawl_store_keys keys[PAWL_SECRETS_MAX];
    struct pawl_vfs vfs;
    struct pawl_store_stats stats;
    struct pawl_origin origin;
    uint8_t new_node[PAWL_NODE_BYTES]; /* for a database that is made now */
    _Atomic bool frozen;
    _Atomic bool distrusted; /* a sync failed, or a page was damaged: nothing more is written */
    _Atomic uint64_t durable_commits; /* of pawl.db */
    _Atomic uint64_t floor_ms;
    _Atomic uint64_t birth_us;
    uint64_t slow_us, slow_boottime_ns; /* the trim clock at opening; not changed later */
    pthread_mutex_t text_lock;          /* guards the two texts and places */
    char reason[PAWL_REASON_BYTES];
    struct pawl_error last_error;
    struct pawl_places places; /* of pawl.db */

    /* writer */
    struct pawl_queue queue;
    pthread_t writer;
    bool writer_started;
    struct pawl_db db;      /* pawl.db; while frozen pawl-frozen.db, or not open */
    bool in_memory;         /* frozen, and pawl-frozen.db cannot be written */
    bool main_there;        /* frozen: there is a pawl.db to save from */
    struct pawl_state main; /* frozen: the state of pawl.db, where it could be read */
    uint64_t commits_known; /* the most that any file knows of */
    uint64_t origin_base;   /* n of a fact of ours = this + its sequence */
    int mark_fd;
    struct pawl_job **batch;
    struct pawl_family_outcome *outcomes; /* one for each job of a batch */
    uint64_t trim_fact;
    struct pawl_id trim_family;
    bool trim_families_turn;
    unsigned trim_rest; /* seconds since the last pass */

    /* saver */
    struct pawl_queue save_queue;
    pthread_t saver;
    bool saver_started;
    struct pawl_counter_file counters;
    bool counters_open;
    struct pawl_job **save_batch;
    uint8_t *save_buffer; /* PAWL_SAVE_BYTES */
    uint64_t live_bytes;  /* of the last whole snapshot */
    bool save_all;        /* records were handed out and not written: the next is a snapshot */
    uint64_t paced_until_ns;
};

/* ---- store.c ---- */

/** "<data_dir>/<name>" into @out (PAWL_STORE_PATH_MAX). */
void pawl_sqlite_path(const struct pawl_sqlite *store, const char *name, char *out);
/** Note and log what went wrong. */
void pawl_sqlite_note(struct pawl_sqlite *store, const char *event, const struct pawl_error *error);
/** The clocks now, for blocks of counters. */
struct pawl_counter_anchor pawl_sqlite_anchor(const struct pawl_sqlite *store, struct pawl_now now);
/** Freeze (or, with NULL, thaw) in memory, and tell. */
void pawl_sqlite_set_frozen(struct pawl_sqlite *store, const char *reason);
/** Create a database with tables and a first commit at @name; @state is its beginning. */
PAWL_MUST_USE enum pawl_status pawl_sqlite_create(struct pawl_sqlite *store, struct pawl_db *db,
                                                  const char *path, const struct pawl_state *state,
                                                  struct pawl_error *error);
/** Keep stats.log_frames up to date for the database that is open for writing. */
void pawl_sqlite_watch_log(struct pawl_sqlite *store);
/** Write the mark after a commit of pawl.db. */
void pawl_sqlite_mark(struct pawl_sqlite *store);
/** Random birth, node id and times for a new database. */
PAWL_MUST_USE enum pawl_status pawl_sqlite_new_state(struct pawl_sqlite *store,
                                                     struct pawl_state *state);

/* ---- writer.c ---- */

PAWL_MUST_USE enum pawl_status pawl_writer_start(struct pawl_sqlite *store);
/** Finish what waits, then end the thread. */
void pawl_writer_stop(struct pawl_sqlite *store);

/* ---- thaw.c ---- */

/** Open pawl-frozen.db, loading what is in it; made if @create. Without it: in memory. */
void pawl_frozen_open(struct pawl_sqlite *store, bool create);
/** Do job @job (PAWL_JOB_THAW): fills its results. */
void pawl_thaw(struct pawl_sqlite *store, struct pawl_job *job);

/* ---- saver.c ---- */

PAWL_MUST_USE enum pawl_status pawl_saver_open(struct pawl_sqlite *store,
                                               struct pawl_counter_report *report,
                                               struct pawl_error *error);
PAWL_MUST_USE enum pawl_status pawl_saver_start(struct pawl_sqlite *store);
/** Save everything, then end the thread and close the file. */
void pawl_saver_stop(struct pawl_sqlite *store);

/* ---- keep.c ---- */

/**
 * Mark the fact @id of namespace @ns as canceled: an id is easily guessed, and who may cancel in
 * one namespace may not in another. PAWL_OK, PAWL_ENOENT (nothing to cancel), PAWL_EUNAVAIL with
 * @rc. Within a transaction.
 */
enum pawl_status pawl_sqlite_cancel_one(struct pawl_sqlite *store, struct pawl_bytes ns,
                                        const struct pawl_fact_id *id, int *rc);
/** Do a KEEP job within a transaction; @wrote: there is something to commit. */
enum pawl_status pawl_sqlite_keep(struct pawl_sqlite *store, struct pawl_job *job, int *rc,
                                  bool *wrote);

/* ---- follow.c ---- */

/** Do a FOLLOW job on the writer's connection; the writer's thread, not while frozen. */
enum pawl_status pawl_sqlite_follow(struct pawl_sqlite *store, struct pawl_job *job);

#endif
