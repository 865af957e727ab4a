/*
 * Handing out facts in the order in which they came, to watchers and exports.
 */
#include "adapter/sqlite/internal.h"

static enum pawl_status follow_rows(struct pawl_db *db, uint64_t from, struct pawl_job *job)
{
    struct pawl_fact_row row;
    struct pawl_fact fact;
    bool holds;
    int rc;

    pawl_db_facts_begin(db, PAWL_STMT_FACT_UP, from);
    while ((rc = pawl_db_facts_next(db, PAWL_STMT_FACT_UP, &row, &holds)) == SQLITE_ROW) {
        if (!holds || pawl_fact_decode(&fact, row.body) != PAWL_OK) {
            pawl_db_walk_end(db, PAWL_STMT_FACT_UP);
            return PAWL_ECORRUPT;
        }
        if (!job->follow.on_fact(job, &fact)) {
            job->more = true;
            break;
        }
    }
    pawl_db_walk_end(db, PAWL_STMT_FACT_UP);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? PAWL_OK : PAWL_EIO;
}

/* Rows are numbered upwards: the last one is the first of a walk down. */
static enum pawl_status latest(struct pawl_db *db, struct pawl_job *job)
{
    struct pawl_fact_row row;
    struct pawl_fact fact;
    bool holds;
    int rc;

    job->id = (struct pawl_fact_id){ .sequence = 0 };
    pawl_db_facts_begin(db, PAWL_STMT_FACT_DOWN, 0);
    rc = pawl_db_facts_next(db, PAWL_STMT_FACT_DOWN, &row, &holds);
    if (rc == SQLITE_ROW && (!holds || pawl_fact_decode(&fact, row.body) != PAWL_OK)) {
        rc = SQLITE_CORRUPT;
    } else if (rc == SQLITE_ROW) {
        job->id = fact.id;
    }
    pawl_db_walk_end(db, PAWL_STMT_FACT_DOWN);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? PAWL_OK
           : rc == SQLITE_CORRUPT                ? PAWL_ECORRUPT
                                                 : PAWL_EIO;
}

/*
 * Where to go on: behind @id. Its row may have been trimmed, if its origin's place is known; a row
 * of another id there means that it was never held.
 */
static enum pawl_status place_of(struct pawl_sqlite *store, const struct pawl_fact_id *id,
                                 uint64_t *n)
{
    struct pawl_fact_row row;
    struct pawl_fact fact;
    enum pawl_status status = PAWL_OK;

    (void)pthread_mutex_lock(&store->text_lock);
    *n = pawl_places_find(&store->places, id);
    (void)pthread_mutex_unlock(&store->text_lock);
    if (*n == 0) {
        return PAWL_ENOENT;
    }
    if (pawl_db_fact_get(&store->db, *n, &row) == SQLITE_ROW &&
        pawl_fact_decode(&fact, row.body) == PAWL_OK && pawl_fact_id_compare(&fact.id, id) != 0) {
        status = PAWL_ENOENT;
    }
    pawl_db_walk_end(&store->db, PAWL_STMT_FACT_GET);
    return status;
}

enum pawl_status pawl_sqlite_follow(struct pawl_sqlite *store, struct pawl_job *job)
{
    uint64_t after = 0;

    job->more = false;
    if (job->follow.latest) {
        return latest(&store->db, job);
    }
    if (job->follow.after.sequence > 0) {
        enum pawl_status status = place_of(store, &job->follow.after, &after);

        if (status != PAWL_OK) {
            return status;
        }
    }
    return follow_rows(&store->db, after + 1, job);
}
