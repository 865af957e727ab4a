#include "adapter/sqlite/rows.h"

#include "adapter/sqlite/schema.h"

#include <errno.h>
#include <string.h>

#define BUSY_MS       2000
#define KEY_BYTES     16
#define MAC_BYTES_MAX (64 + PAWL_FACT_BYTES_MAX)

_Static_assert(PAWL_FAMILY_BYTES_MAX <= PAWL_FACT_BYTES_MAX, "one buffer for both");

static const char *const texts[PAWL_STMTS] = {
    [PAWL_STMT_BEGIN] = "BEGIN IMMEDIATE",
    [PAWL_STMT_COMMIT] = "COMMIT",
    [PAWL_STMT_ROLLBACK] = "ROLLBACK",
    [PAWL_STMT_STATE_PUT] = "REPLACE INTO state(id, body) VALUES(1, ?1)",
    [PAWL_STMT_FACT_PUT] =
        "REPLACE INTO facts(n, canceled, until, body, mac) VALUES(?1, ?2, ?3, ?4, ?5)",
    [PAWL_STMT_FACT_GET] = "SELECT n, canceled, until, body, mac FROM facts WHERE n = ?1",
    [PAWL_STMT_FACT_DELETE] = "DELETE FROM facts WHERE n = ?1",
    [PAWL_STMT_FACT_UP] =
        "SELECT n, canceled, until, body, mac FROM facts WHERE n >= ?1 ORDER BY n",
    [PAWL_STMT_FACT_DOWN] =
        "SELECT n, canceled, until, body, mac FROM facts WHERE n > ?1 ORDER BY n DESC",
    [PAWL_STMT_FAMILY_PUT] = "REPLACE INTO families(key, until, body, mac) VALUES(?1, ?2, ?3, ?4)",
    [PAWL_STMT_FAMILY_GET] = "SELECT key, until, body, mac FROM families WHERE key = ?1",
    [PAWL_STMT_FAMILY_DELETE] = "DELETE FROM families WHERE key = ?1",
    [PAWL_STMT_FAMILY_UP] =
        "SELECT key, until, body, mac FROM families WHERE key >= ?1 ORDER BY key",
    [PAWL_STMT_FAMILY_DOWN] =
        "SELECT key, until, body, mac FROM families WHERE key > ?1 ORDER BY key DESC",
};

/* ---- connection ---- */

int pawl_db_open(struct pawl_db *db, const char *path, int flags, const struct pawl_vfs *vfs,
                 const struct pawl_store_keys *keys, unsigned keys_count)
{
    memset(db, 0, sizeof(*db));
    db->keys = keys;
    db->keys_count = keys_count;
    int rc = sqlite3_open_v2(path, &db->handle, flags | SQLITE_OPEN_NOMUTEX, vfs->name);

    if (rc == SQLITE_OK) {
        (void)sqlite3_extended_result_codes(db->handle, 1);
        (void)sqlite3_busy_timeout(db->handle, BUSY_MS);
        (void)sqlite3_wal_autocheckpoint(db->handle, 0);
        (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        /* SQLite believes the lengths in a cell unless told to check them. */
        rc = sqlite3_exec(db->handle, "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0", NULL,
                          NULL, NULL);
    }
    return rc;
}

int pawl_db_settle(struct pawl_db *db)
{
    return sqlite3_exec(db->handle,
                        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
                        "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384",
                        NULL, NULL, NULL);
}

int pawl_db_prepare(struct pawl_db *db)
{
    int rc = SQLITE_OK;

    for (unsigned i = 0; i < PAWL_STMTS && rc == SQLITE_OK; i++) {
        if (db->stmts[i] == NULL) {
            rc = sqlite3_prepare_v3(db->handle, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                    &db->stmts[i], NULL);
        }
    }
    return rc;
}

void pawl_db_close(struct pawl_db *db)
{
    for (unsigned i = 0; i < PAWL_STMTS; i++) {
        (void)sqlite3_finalize(db->stmts[i]);
        db->stmts[i] = NULL;
    }
    (void)sqlite3_close(db->handle);
    db->handle = NULL;
}

enum pawl_status pawl_db_state_get(struct pawl_db *db)
{
    sqlite3_stmt *stmt = NULL;
    enum pawl_status status = PAWL_ECORRUPT;

    if (sqlite3_prepare_v2(db->handle, "SELECT body FROM state WHERE id = 1", -1, &stmt, NULL) ==
        SQLITE_OK) {
        int rc = sqlite3_step(stmt);

        if (rc == SQLITE_ROW && sqlite3_column_type(stmt, 0) == SQLITE_BLOB) {
            const void *data = sqlite3_column_blob(stmt, 0);
            size_t size = (size_t)sqlite3_column_bytes(stmt, 0);

            status =
                pawl_state_decode(&db->state, pawl_bytes_of(data, size), db->keys, db->keys_count);
        } else if (rc == SQLITE_DONE) {
            status = PAWL_ENOENT;
        }
    }
    (void)sqlite3_finalize(stmt);
    return status;
}

/* ---- transactions ---- */

/* Run a statement that gives no rows, and make it ready for the next time. */
static int run(struct pawl_db *db, enum pawl_stmt which)
{
    int rc = sqlite3_step(db->stmts[which]);

    (void)sqlite3_reset(db->stmts[which]);
    (void)sqlite3_clear_bindings(db->stmts[which]);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int pawl_db_begin(struct pawl_db *db)
{
    return run(db, PAWL_STMT_BEGIN);
}

void pawl_db_rollback(struct pawl_db *db)
{
    if (sqlite3_get_autocommit(db->handle) == 0) {
        (void)run(db, PAWL_STMT_ROLLBACK);
    }
}

int pawl_db_commit(struct pawl_db *db)
{
    uint8_t body[PAWL_STATE_BYTES_MAX];

    db->state.commits++;
    size_t size = pawl_state_encode(&db->state, db->keys, body);

    (void)sqlite3_bind_blob(db->stmts[PAWL_STMT_STATE_PUT], 1, body, (int)size, SQLITE_STATIC);
    int rc = run(db, PAWL_STMT_STATE_PUT);

    if (rc == SQLITE_OK) {
        rc = run(db, PAWL_STMT_COMMIT);
    }
    if (rc != SQLITE_OK) {
        pawl_db_rollback(db);
    }
    return rc;
}

int pawl_db_checkpoint(struct pawl_db *db, bool truncate)
{
    int rc =
        sqlite3_wal_checkpoint_v2(db->handle, NULL,
                                  truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE,
                                  NULL, NULL);

    if (rc == SQLITE_OK && truncate) {
        (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    }
    return rc;
}

/* ---- MACs ---- */

static void put(uint8_t *out, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
}

static void key_write(uint8_t out[KEY_BYTES], struct pawl_id key)
{
    put(out, key.lo);
    put(out + 8, key.hi);
}

static uint64_t fact_mac(const struct pawl_store_keys *keys, const struct pawl_fact_row *row)
{
    uint8_t all[MAC_BYTES_MAX];

    put(all, 'F' | (row->canceled ? 256u : 0));
    put(all + 8, row->n);
    put(all + 16, row->until_s);
    memcpy(all + 24, row->body.data, row->body.size);
    return pawl_keyhash64(&keys->facts, all, 24 + row->body.size);
}

static uint64_t family_mac(const struct pawl_store_keys *keys, const struct pawl_family_row *row)
{
    uint8_t all[MAC_BYTES_MAX];

    put(all, 'R');
    key_write(all + 8, row->key);
    put(all + 24, row->until_s);
    memcpy(all + 32, row->body.data, row->body.size);
    return pawl_keyhash64(&keys->facts, all, 32 + row->body.size);
}

static bool fact_holds(const struct pawl_db *db, const struct pawl_fact_row *row)
{
    for (unsigned i = 0; i < db->keys_count; i++) {
        if (fact_mac(&db->keys[i], row) == row->mac) {
            return true;
        }
    }
    return false;
}

static bool family_holds(const struct pawl_db *db, const struct pawl_family_row *row)
{
    for (unsigned i = 0; i < db->keys_count; i++) {
        if (family_mac(&db->keys[i], row) == row->mac) {
            return true;
        }
    }
    return false;
}

/* ---- reading a row from a statement ---- */

static bool is_number(sqlite3_stmt *stmt, int column)
{
    return sqlite3_column_type(stmt, column) == SQLITE_INTEGER;
}

static bool read_blob(sqlite3_stmt *stmt, int column, size_t size_max, struct pawl_bytes *out)
{
    if (sqlite3_column_type(stmt, column) != SQLITE_BLOB) {
        return false;
    }
    const void *data = sqlite3_column_blob(stmt, column);

    *out = pawl_bytes_of(data, (size_t)sqlite3_column_bytes(stmt, column));
    return data != NULL && out->size <= size_max;
}

/* Whether the row has the types that it was written with; then @row is filled. */
static bool read_fact(sqlite3_stmt *stmt, struct pawl_fact_row *row)
{
    int64_t canceled = sqlite3_column_int64(stmt, 1);

    row->n = (uint64_t)sqlite3_column_int64(stmt, 0);
    row->canceled = canceled == 1;
    row->until_s = (uint64_t)sqlite3_column_int64(stmt, 2);
    row->mac = (uint64_t)sqlite3_column_int64(stmt, 4);
    return is_number(stmt, 0) && is_number(stmt, 1) && is_number(stmt, 2) && is_number(stmt, 4) &&
           (canceled == 0 || canceled == 1) && read_blob(stmt, 3, PAWL_FACT_BYTES_MAX, &row->body);
}

static bool read_family(sqlite3_stmt *stmt, struct pawl_family_row *row)
{
    struct pawl_bytes key;

    row->until_s = (uint64_t)sqlite3_column_int64(stmt, 1);
    row->mac = (uint64_t)sqlite3_column_int64(stmt, 3);
    if (!read_blob(stmt, 0, KEY_BYTES, &key) || key.size != KEY_BYTES || !is_number(stmt, 1) ||
        !is_number(stmt, 3) || !read_blob(stmt, 2, PAWL_FAMILY_BYTES_MAX, &row->body)) {
        return false;
    }
    row->key = (struct pawl_id){ 0, 0 };
    for (unsigned i = 0; i < 8; i++) {
        row->key.lo |= (uint64_t)key.data[i] << (8 * i);
        row->key.hi |= (uint64_t)key.data[8 + i] << (8 * i);
    }
    return true;
}

/* ---- facts ---- */

int pawl_db_fact_put(struct pawl_db *db, struct pawl_fact_row *row, const struct pawl_fact_row *old)
{
    sqlite3_stmt *stmt = db->stmts[PAWL_STMT_FACT_PUT];

    row->mac = fact_mac(db->keys, row);
    (void)sqlite3_bind_int64(stmt, 1, (sqlite3_int64)row->n);
    (void)sqlite3_bind_int64(stmt, 2, row->canceled ? 1 : 0);
    (void)sqlite3_bind_int64(stmt, 3, (sqlite3_int64)row->until_s);
    (void)sqlite3_bind_blob(stmt, 4, row->body.data, (int)row->body.size, SQLITE_STATIC);
    (void)sqlite3_bind_int64(stmt, 5, (sqlite3_int64)row->mac);
    int rc = run(db, PAWL_STMT_FACT_PUT);

    if (rc == SQLITE_OK) {
        if (old != NULL) {
            pawl_digest_remove(db->state.facts, old->n, old->mac);
        }
        pawl_digest_add(db->state.facts, row->n, row->mac);
    }
    return rc;
}

int pawl_db_fact_get(struct pawl_db *db, uint64_t n, struct pawl_fact_row *row)
{
    sqlite3_stmt *stmt = db->stmts[PAWL_STMT_FACT_GET];

    (void)sqlite3_reset(stmt);
    (void)sqlite3_bind_int64(stmt, 1, (sqlite3_int64)n);
    int rc = sqlite3_step(stmt);

    if (rc != SQLITE_ROW) {
        (void)sqlite3_reset(stmt);
        return rc;
    }
    return read_fact(stmt, row) && fact_holds(db, row) ? SQLITE_ROW : SQLITE_CORRUPT;
}

int pawl_db_fact_delete(struct pawl_db *db, uint64_t n, uint64_t mac)
{
    (void)sqlite3_bind_int64(db->stmts[PAWL_STMT_FACT_DELETE], 1, (sqlite3_int64)n);
    int rc = run(db, PAWL_STMT_FACT_DELETE);

    if (rc == SQLITE_OK) {
        pawl_digest_remove(db->state.facts, n, mac);
    }
    return rc;
}

/* ---- families ---- */

int pawl_db_family_put(struct pawl_db *db, struct pawl_family_row *row, const uint64_t *old_mac)
{
    sqlite3_stmt *stmt = db->stmts[PAWL_STMT_FAMILY_PUT];
    uint8_t key[KEY_BYTES];

    key_write(key, row->key);
    row->mac = family_mac(db->keys, row);
    (void)sqlite3_bind_blob(stmt, 1, key, sizeof(key), SQLITE_STATIC);
    (void)sqlite3_bind_int64(stmt, 2, (sqlite3_int64)row->until_s);
    (void)sqlite3_bind_blob(stmt, 3, row->body.data, (int)row->body.size, SQLITE_STATIC);
    (void)sqlite3_bind_int64(stmt, 4, (sqlite3_int64)row->mac);
    int rc = run(db, PAWL_STMT_FAMILY_PUT);

    if (rc == SQLITE_OK) {
        if (old_mac != NULL) {
            pawl_digest_remove(db->state.families, row->key.lo, *old_mac);
        }
        pawl_digest_add(db->state.families, row->key.lo, row->mac);
    }
    return rc;
}

int pawl_db_family_get(struct pawl_db *db, struct pawl_id key, struct pawl_family_row *row)
{
    sqlite3_stmt *stmt = db->stmts[PAWL_STMT_FAMILY_GET];
    uint8_t bytes[KEY_BYTES];

    key_write(bytes, key);
    (void)sqlite3_reset(stmt);
    (void)sqlite3_bind_blob(stmt, 1, bytes, sizeof(bytes), SQLITE_TRANSIENT);
    int rc = sqlite3_step(stmt);

    if (rc != SQLITE_ROW) {
        (void)sqlite3_reset(stmt);
        return rc;
    }
    return read_family(stmt, row) && pawl_id_equal(row->key, key) && family_holds(db, row)
               ? SQLITE_ROW
               : SQLITE_CORRUPT;
}

int pawl_db_family_delete(struct pawl_db *db, struct pawl_id key, uint64_t mac)
{
    uint8_t bytes[KEY_BYTES];

    key_write(bytes, key);
    (void)sqlite3_bind_blob(db->stmts[PAWL_STMT_FAMILY_DELETE], 1, bytes, sizeof(bytes),
                            SQLITE_STATIC);
    int rc = run(db, PAWL_STMT_FAMILY_DELETE);

    if (rc == SQLITE_OK) {
        pawl_digest_remove(db->state.families, key.lo, mac);
    }
    return rc;
}

/* ---- walks ---- */

void pawl_db_facts_begin(struct pawl_db *db, enum pawl_stmt which, uint64_t from)
{
    (void)sqlite3_reset(db->stmts[which]);
    (void)sqlite3_bind_int64(db->stmts[which], 1, (sqlite3_int64)from);
}

int pawl_db_facts_next(struct pawl_db *db, enum pawl_stmt which, struct pawl_fact_row *row,
                       bool *holds)
{
    int rc = sqlite3_step(db->stmts[which]);

    *holds = rc == SQLITE_ROW && read_fact(db->stmts[which], row) && fact_holds(db, row);
    return rc;
}

void pawl_db_families_begin(struct pawl_db *db, enum pawl_stmt which, const struct pawl_id *from)
{
    uint8_t bytes[KEY_BYTES] = { 0 };

    if (from != NULL) {
        key_write(bytes, *from);
    }
    (void)sqlite3_reset(db->stmts[which]);
    (void)sqlite3_bind_blob(db->stmts[which], 1, bytes, from != NULL ? (int)sizeof(bytes) : 0,
                            SQLITE_TRANSIENT);
}

int pawl_db_families_next(struct pawl_db *db, enum pawl_stmt which, struct pawl_family_row *row,
                          bool *holds)
{
    int rc = sqlite3_step(db->stmts[which]);

    *holds = rc == SQLITE_ROW && read_family(db->stmts[which], row) && family_holds(db, row);
    return rc;
}

void pawl_db_walk_end(struct pawl_db *db, enum pawl_stmt which)
{
    (void)sqlite3_reset(db->stmts[which]);
}

int pawl_db_key_compare(struct pawl_id a, struct pawl_id b)
{
    uint8_t left[KEY_BYTES];
    uint8_t right[KEY_BYTES];

    key_write(left, a);
    key_write(right, b);
    return memcmp(left, right, KEY_BYTES);
}

/* ---- errors ---- */

enum pawl_status pawl_db_error(const struct pawl_db *db, const struct pawl_vfs *vfs, int rc,
                               const char *file, struct pawl_error *error)
{
    int primary = rc & 0xff;
    int os_code = vfs != NULL ? atomic_load(&vfs->os_code) : 0;

    if (primary == SQLITE_NOMEM) {
        return pawl_error_set(error, PAWL_ENOMEM, 0, "%s: out of memory", file);
    }
    if (primary == SQLITE_FULL) {
        return pawl_error_set(error, PAWL_EUNAVAIL, ENOSPC,
                              "%s: the disk is full, nothing was written: make room", file);
    }
    if (primary == SQLITE_READONLY || primary == SQLITE_PERM) {
        return pawl_error_set(error, PAWL_EUNAVAIL, EROFS,
                              "%s cannot be written, nothing was: check its owner and mode, and "
                              "whether the disk is mounted read-only",
                              file);
    }
    if (rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC) {
        return pawl_error_set(error, PAWL_EUNAVAIL, os_code,
                              "%s: a sync failed (%s), the file is not trusted any more: check the "
                              "disk, then restart",
                              file, strerror(os_code));
    }
    if (primary == SQLITE_IOERR) {
        return pawl_error_set(error, PAWL_EUNAVAIL, os_code, "%s: the disk refused (%s)", file,
                              strerror(os_code));
    }
    if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB) {
        return pawl_error_set(error, PAWL_EUNAVAIL, 0,
                              "%s is damaged: restart to see what is left, then pawlctl thaw",
                              file);
    }
    return pawl_error_set(error, PAWL_EUNAVAIL, os_code, "%s: %.120s", file,
                          db->handle != NULL ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc));
}
