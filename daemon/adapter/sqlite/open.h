/* See open.c. Part of the store. */
#ifndef PAWL_ADAPTER_SQLITE_OPEN_H
#define PAWL_ADAPTER_SQLITE_OPEN_H

#include "adapter/sqlite/internal.h"

/** Open, create or freeze; loads everything. Results as pawl_sqlite_store_open(). */
PAWL_MUST_USE enum pawl_status pawl_sqlite_open_files(struct pawl_sqlite *store,
                                                      struct pawl_error *error);

#endif
