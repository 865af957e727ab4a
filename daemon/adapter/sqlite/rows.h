/*
 * One open database: its connection, its prepared statements, and rows with their MACs.
 *
 * Writes change the state's digests along with the rows; the caller keeps a copy of the state to
 * go back to when a transaction fails. A row whose MAC does not hold is never handed out.
 *
 * Life: open, then used by one thread at a time, close. SQLite results are passed up as they are
 * (SQLITE_OK, ...); pawl_db_error() makes an error for people of them.
 */
#ifndef PAWL_ADAPTER_SQLITE_ROWS_H
#define PAWL_ADAPTER_SQLITE_ROWS_H

#include "adapter/sqlite/state.h"
#include "adapter/sqlite/vfs.h"
#include "core/fact.h"
#include "core/family.h"

enum pawl_stmt {
    PAWL_STMT_BEGIN,
    PAWL_STMT_COMMIT,
    PAWL_STMT_ROLLBACK,
    PAWL_STMT_STATE_PUT,
    PAWL_STMT_FACT_PUT,
    PAWL_STMT_FACT_GET,
    PAWL_STMT_FACT_DELETE,
    PAWL_STMT_FACT_UP,   /* a walk in ascending order of n, from ?1 */
    PAWL_STMT_FACT_DOWN, /* descending, above ?1 */
    PAWL_STMT_FAMILY_PUT,
    PAWL_STMT_FAMILY_GET,
    PAWL_STMT_FAMILY_DELETE,
    PAWL_STMT_FAMILY_UP,
    PAWL_STMT_FAMILY_DOWN,
    PAWL_STMTS,
};

struct pawl_db {
    sqlite3 *handle; /* NULL: not open */
    struct pawl_state state;
    const struct pawl_store_keys *keys; /* the first writes, all are tried for reading */
    unsigned keys_count;
    /* private */
    sqlite3_stmt *stmts[PAWL_STMTS];
};

/** A fact's row; `body` lends from the statement until its next use. */
struct pawl_fact_row {
    uint64_t n;
    bool canceled;
    uint64_t until_s;
    struct pawl_bytes body;
    uint64_t mac;
};

struct pawl_family_row {
    struct pawl_id key;
    uint64_t until_s;
    struct pawl_bytes body;
    uint64_t mac;
};

/**
 * Open the file @path (":memory:": nowhere) through @vfs. @flags are sqlite3_open_v2()'s. Nothing
 * is written yet, and a log is left behind at close unless pawl_db_checkpoint() emptied it.
 */
PAWL_MUST_USE int pawl_db_open(struct pawl_db *db, const char *path, int flags,
                               const struct pawl_vfs *vfs, const struct pawl_store_keys *keys,
                               unsigned keys_count);

/** Write-ahead log, full syncs, checkpoints by hand. */
PAWL_MUST_USE int pawl_db_settle(struct pawl_db *db);

/** Prepare the statements; the tables have to be there. */
PAWL_MUST_USE int pawl_db_prepare(struct pawl_db *db);

void pawl_db_close(struct pawl_db *db);

/** Read the state row. PAWL_OK, PAWL_ENOENT, or as pawl_state_decode(). */
PAWL_MUST_USE enum pawl_status pawl_db_state_get(struct pawl_db *db);

PAWL_MUST_USE int pawl_db_begin(struct pawl_db *db);
/** Count the transaction, write the state, commit. On failure everything is rolled back. */
PAWL_MUST_USE int pawl_db_commit(struct pawl_db *db);
void pawl_db_rollback(struct pawl_db *db);

/**
 * Empty the log into the database. @truncate: wait for readers and leave an empty log, so that
 * close removes it. Else as much as goes without waiting.
 */
PAWL_MUST_USE int pawl_db_checkpoint(struct pawl_db *db, bool truncate);

/* ---- rows; all within a transaction for writing ---- */

/** Insert or, with @old, replace the fact @row->n. Its MAC is made here. */
PAWL_MUST_USE int pawl_db_fact_put(struct pawl_db *db, struct pawl_fact_row *row,
                                   const struct pawl_fact_row *old);

/** SQLITE_ROW, SQLITE_DONE (none), SQLITE_CORRUPT (the MAC does not hold), or an error. */
PAWL_MUST_USE int pawl_db_fact_get(struct pawl_db *db, uint64_t n, struct pawl_fact_row *row);
PAWL_MUST_USE int pawl_db_fact_delete(struct pawl_db *db, uint64_t n, uint64_t mac);

PAWL_MUST_USE int pawl_db_family_put(struct pawl_db *db, struct pawl_family_row *row,
                                     const uint64_t *old_mac);
PAWL_MUST_USE int pawl_db_family_get(struct pawl_db *db, struct pawl_id key,
                                     struct pawl_family_row *row);
PAWL_MUST_USE int pawl_db_family_delete(struct pawl_db *db, struct pawl_id key, uint64_t mac);

/* ---- walks: begin, next until not SQLITE_ROW, end ---- */

/** @which: PAWL_STMT_FACT_UP or _DOWN. Rows with n >= @from, or n > @from going down. */
void pawl_db_facts_begin(struct pawl_db *db, enum pawl_stmt which, uint64_t from);
/** SQLITE_ROW with *@holds (MAC and types), SQLITE_DONE, or an error. */
PAWL_MUST_USE int pawl_db_facts_next(struct pawl_db *db, enum pawl_stmt which,
                                     struct pawl_fact_row *row, bool *holds);
/** @from: NULL for the smallest. Going down, rows above it. */
void pawl_db_families_begin(struct pawl_db *db, enum pawl_stmt which, const struct pawl_id *from);
PAWL_MUST_USE int pawl_db_families_next(struct pawl_db *db, enum pawl_stmt which,
                                        struct pawl_family_row *row, bool *holds);
/** Let go of what a walk or a _get holds open; do so before a commit. */
void pawl_db_walk_end(struct pawl_db *db, enum pawl_stmt which);

/** Order of family keys as the table has it. */
int pawl_db_key_compare(struct pawl_id a, struct pawl_id b);

/** Fill @error from what SQLite said last about @file; returns PAWL_EUNAVAIL or PAWL_ENOMEM. */
enum pawl_status pawl_db_error(const struct pawl_db *db, const struct pawl_vfs *vfs, int rc,
                               const char *file, struct pawl_error *error);

#endif
