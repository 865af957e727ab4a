#include "adapter/sqlite/schema.h"

#include <stdio.h>
#include <string.h>

#define TEXT(x)  TEXT_(x)
#define TEXT_(x) #x

/*
 * WITHOUT ROWID throughout: every cell of such a tree, inner ones too, is a row, so a walk in key
 * order that ends with the right digest proves that each look-up by key finds its row. In an
 * ordinary table inner cells hold bare keys that a walk does not see. No other index: what an
 * index loses is not in the digest.
 *
 *   facts     n: order of arrival. canceled: 0 or 1. until: unix seconds. body: core/fact.h
 *   families  key: pawl_family_key. until: unix seconds. body: core/family.h
 *   state     one row: state.h
 */
static const struct {
    const char *name;
    const char *sql;
} tables[] = {
    { "facts", "CREATE TABLE facts(n INTEGER PRIMARY KEY NOT NULL, canceled INTEGER NOT NULL, "
               "until INTEGER NOT NULL, body BLOB NOT NULL, mac INTEGER NOT NULL) WITHOUT ROWID" },
    { "families", "CREATE TABLE families(key BLOB PRIMARY KEY NOT NULL, until INTEGER NOT NULL, "
                  "body BLOB NOT NULL, mac INTEGER NOT NULL) WITHOUT ROWID" },
    { "state", "CREATE TABLE state(id INTEGER PRIMARY KEY NOT NULL, body BLOB NOT NULL)" },
};

#define TABLES (sizeof(tables) / sizeof(tables[0]))

static int number_of(sqlite3 *db, const char *sql, int fallback)
{
    sqlite3_stmt *stmt = NULL;
    int value = fallback;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        value = sqlite3_column_int(stmt, 0);
    }
    (void)sqlite3_finalize(stmt);
    return value;
}

int pawl_schema_version(sqlite3 *db)
{
    return number_of(db, "PRAGMA user_version", -1);
}

bool pawl_schema_is_empty(sqlite3 *db)
{
    return pawl_schema_version(db) == 0 &&
           number_of(db, "SELECT count(*) FROM sqlite_schema", -1) == 0;
}

enum pawl_status pawl_schema_create(sqlite3 *db)
{
    for (unsigned i = 0; i < TABLES; i++) {
        if (sqlite3_exec(db, tables[i].sql, NULL, NULL, NULL) != SQLITE_OK) {
            return PAWL_EIO;
        }
    }
    return sqlite3_exec(db,
                        "PRAGMA user_version = " TEXT(
                            PAWL_SCHEMA_VERSION) "; "
                                                 "PRAGMA application_id = " TEXT(
                                                     PAWL_SCHEMA_APPLICATION),
                        NULL, NULL, NULL) == SQLITE_OK
               ? PAWL_OK
               : PAWL_EIO;
}

static enum pawl_status run_step(sqlite3 *db, const struct pawl_schema_step *step, void *data)
{
    char set_version[48];

    (void)snprintf(set_version, sizeof(set_version), "PRAGMA user_version = %d", step->from + 1);
    if (step->sql != NULL && sqlite3_exec(db, step->sql, NULL, NULL, NULL) != SQLITE_OK) {
        return PAWL_EIO;
    }
    if (step->run != NULL && step->run(db, data) != PAWL_OK) {
        return PAWL_EIO;
    }
    return sqlite3_exec(db, set_version, NULL, NULL, NULL) == SQLITE_OK ? PAWL_OK : PAWL_EIO;
}

static enum pawl_status run_steps(sqlite3 *db, const struct pawl_schema_step *steps,
                                  unsigned steps_count, void *data, int from, int target,
                                  struct pawl_error *error)
{
    for (int version = from; version < target; version++) {
        const struct pawl_schema_step *step = NULL;

        for (unsigned i = 0; i < steps_count; i++) {
            step = steps[i].from == version ? &steps[i] : step;
        }
        if (step == NULL) {
            return pawl_error_set(error, PAWL_EVERSION, 0,
                                  "pawl.db has version %d, and no way leads to version %d from "
                                  "there: start the pawld that wrote it, or restore a backup",
                                  from, target);
        }
        if (run_step(db, step, data) != PAWL_OK) {
            return pawl_error_set(error, PAWL_EIO, sqlite3_system_errno(db),
                                  "pawl.db: the change from version %d to %d was refused, nothing "
                                  "is changed: %.80s",
                                  version, version + 1, sqlite3_errmsg(db));
        }
    }
    return PAWL_OK;
}

enum pawl_status pawl_schema_migrate(sqlite3 *db, const struct pawl_schema_step *steps,
                                     unsigned steps_count, void *data, int target,
                                     struct pawl_error *error)
{
    int from = pawl_schema_version(db);

    if (from == target) {
        return PAWL_OK;
    }
    if (from > target || from < 0) {
        return pawl_error_set(error, PAWL_EVERSION, 0,
                              "pawl.db has version %d, this pawld knows up to %d: start a newer "
                              "pawld, nothing was changed",
                              from, target);
    }
    if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK) {
        return pawl_error_set(error, PAWL_EIO, sqlite3_system_errno(db), "pawl.db: %.120s",
                              sqlite3_errmsg(db));
    }
    enum pawl_status status = run_steps(db, steps, steps_count, data, from, target, error);

    if (status == PAWL_OK && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
        status = pawl_error_set(error, PAWL_EIO, sqlite3_system_errno(db),
                                "pawl.db: the change to version %d was not written: %.80s", target,
                                sqlite3_errmsg(db));
    }
    if (status != PAWL_OK) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return status;
}

static bool table_holds(sqlite3 *db, unsigned i)
{
    sqlite3_stmt *stmt = NULL;
    bool holds = false;

    if (sqlite3_prepare_v2(db, "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1",
                           -1, &stmt, NULL) == SQLITE_OK) {
        (void)sqlite3_bind_text(stmt, 1, tables[i].name, -1, SQLITE_STATIC);
        if (sqlite3_step(stmt) == SQLITE_ROW) {
            const unsigned char *sql = sqlite3_column_text(stmt, 0);

            holds = sql != NULL && strcmp((const char *)sql, tables[i].sql) == 0;
        }
    }
    (void)sqlite3_finalize(stmt);
    return holds;
}

bool pawl_schema_holds(sqlite3 *db)
{
    bool holds = number_of(db, "SELECT count(*) FROM sqlite_schema", -1) == (int)TABLES;

    for (unsigned i = 0; i < TABLES && holds; i++) {
        holds = table_holds(db, i);
    }
    return holds;
}
