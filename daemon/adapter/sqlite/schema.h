/*
 * The tables, their version, and the way from one version to the next. A database of a newer
 * version is never touched. One thread.
 */
#ifndef PAWL_ADAPTER_SQLITE_SCHEMA_H
#define PAWL_ADAPTER_SQLITE_SCHEMA_H

#include "core/status.h"

#include <sqlite3.h>

#define PAWL_SCHEMA_VERSION     1
#define PAWL_SCHEMA_APPLICATION 0x7061776c /* "pawl": PRAGMA application_id */

/** One step up: from version `from` to `from` + 1. */
struct pawl_schema_step {
    int from;
    const char *sql;                                  /* run first; may be NULL */
    enum pawl_status (*run)(sqlite3 *db, void *data); /* then this; may be NULL */
};

/** Version of the open database: 0 for an empty one. Negative: cannot be read. */
int pawl_schema_version(sqlite3 *db);

/** Whether the database holds nothing at all, not even a version. */
bool pawl_schema_is_empty(sqlite3 *db);

/** Create all tables of PAWL_SCHEMA_VERSION in an empty database, inside the open transaction. */
PAWL_MUST_USE enum pawl_status pawl_schema_create(sqlite3 *db);

/**
 * Bring the database from its version to @target by @steps, in one transaction: all or nothing.
 *
 * Returns PAWL_OK (nothing to do, too); PAWL_EVERSION: newer than @target, or no step leads on;
 * PAWL_EIO: a step was refused, and nothing changed.
 */
PAWL_MUST_USE enum pawl_status pawl_schema_migrate(sqlite3 *db,
                                                   const struct pawl_schema_step *steps,
                                                   unsigned steps_count, void *data, int target,
                                                   struct pawl_error *error);

/** Whether the tables are, word for word, those of PAWL_SCHEMA_VERSION. */
bool pawl_schema_holds(sqlite3 *db);

#endif
