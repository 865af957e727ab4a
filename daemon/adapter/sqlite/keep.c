/*
 * Facts of any origin, kept under the ids that they have: the journal of a node in a fleet. And
 * cancels, which name facts by those ids.
 */
#include "adapter/sqlite/internal.h"

#include <string.h>

static bool same_bytes(struct pawl_bytes a, struct pawl_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

enum pawl_status pawl_sqlite_cancel_one(struct pawl_sqlite *store, struct pawl_bytes ns,
                                        const struct pawl_fact_id *id, int *rc)
{
    struct pawl_fact_row old;
    struct pawl_fact fact;
    uint64_t n = pawl_places_find(&store->places, id);
    int got = n != 0 ? pawl_db_fact_get(&store->db, n, &old) : SQLITE_DONE;

    if (got == SQLITE_DONE) {
        return PAWL_ENOENT;
    }
    if (got != SQLITE_ROW) {
        *rc = got;
        return PAWL_EUNAVAIL;
    }
    if (old.canceled || pawl_fact_decode(&fact, old.body) != PAWL_OK ||
        pawl_fact_id_compare(&fact.id, id) != 0 || !pawl_fact_cancellable(&fact) ||
        !same_bytes(fact.ns, ns)) {
        pawl_db_walk_end(&store->db, PAWL_STMT_FACT_GET);
        return PAWL_ENOENT;
    }
    uint8_t body[PAWL_FACT_BYTES_MAX];
    struct pawl_fact_row row = old;

    memcpy(body, old.body.data, old.body.size); /* the statement may move its own */
    row.body = pawl_bytes_of(body, old.body.size);
    row.canceled = true;
    pawl_db_walk_end(&store->db, PAWL_STMT_FACT_GET);
    *rc = pawl_db_fact_put(&store->db, &row, &old);
    return *rc == SQLITE_OK ? PAWL_OK : PAWL_EUNAVAIL;
}

/* The row at @n, which holds as long as the statement; false: there is none, or *@rc. */
static bool get(struct pawl_sqlite *store, uint64_t n, struct pawl_fact *fact, int *rc)
{
    struct pawl_fact_row row;
    int got = n != 0 ? pawl_db_fact_get(&store->db, n, &row) : SQLITE_DONE;

    if (got != SQLITE_ROW && got != SQLITE_DONE) {
        *rc = got;
    }
    return got == SQLITE_ROW && pawl_fact_decode(fact, row.body) == PAWL_OK;
}

static bool is_kept(struct pawl_sqlite *store, const struct pawl_fact_id *id, int *rc)
{
    struct pawl_fact fact;
    bool kept = get(store, pawl_places_find(&store->places, id), &fact, rc) &&
                pawl_fact_id_compare(&fact.id, id) == 0;

    pawl_db_walk_end(&store->db, PAWL_STMT_FACT_GET);
    return kept;
}

/* Whether a cancel that came earlier names @fact. */
static bool is_canceled(struct pawl_sqlite *store, const struct pawl_fact *fact, int *rc)
{
    struct pawl_fact cancel;
    bool canceled = pawl_fact_is_known(fact) && pawl_fact_cancellable(fact) &&
                    get(store, pawl_places_find_cancel(&store->places, &fact->id), &cancel, rc) &&
                    pawl_fact_is_known(&cancel) && cancel.kind == PAWL_FACT_CANCEL &&
                    pawl_fact_cancels(&cancel, &fact->id) && same_bytes(cancel.ns, fact->ns);

    pawl_db_walk_end(&store->db, PAWL_STMT_FACT_GET);
    return canceled;
}

static enum pawl_status note(struct pawl_sqlite *store, const struct pawl_fact *fact, uint64_t n)
{
    (void)pthread_mutex_lock(&store->text_lock);
    enum pawl_status status = pawl_places_note(&store->places, &fact->id, n);

    if (status == PAWL_OK && pawl_fact_is_known(fact) && fact->kind == PAWL_FACT_CANCEL) {
        status = pawl_places_note_cancel(&store->places, fact, n);
    }
    (void)pthread_mutex_unlock(&store->text_lock);
    return status;
}

static enum pawl_status put(struct pawl_sqlite *store, struct pawl_job *job, bool canceled, int *rc)
{
    uint8_t body[PAWL_FACT_BYTES_MAX];
    size_t size = 0;
    struct pawl_db *db = &store->db;
    struct pawl_fact_row row = { .n = db->state.next_n,
                                 .canceled = canceled,
                                 .until_s = job->fact.until_s };
    enum pawl_status status = pawl_fact_encode(&job->fact, body, sizeof(body), &size);

    if (status != PAWL_OK) {
        return status;
    }
    row.body = pawl_bytes_of(body, size);
    *rc = pawl_db_fact_put(db, &row, NULL);
    if (*rc != SQLITE_OK) {
        return PAWL_EUNAVAIL;
    }
    db->state.next_n++;
    return PAWL_OK;
}

static enum pawl_status check_room(const struct pawl_sqlite *store, struct pawl_job *job)
{
    uint64_t max = store->options.facts_max;

    return pawl_digest_count(store->db.state.facts) < max
               ? PAWL_OK
               : pawl_error_set(&job->error, PAWL_EFULL, 0,
                                "the store holds %llu facts, its ceiling", (unsigned long long)max);
}

/* What the cancel in @job names and is here; what comes later is asked for then. */
static enum pawl_status cancel_all(struct pawl_sqlite *store, struct pawl_job *job, int *rc)
{
    struct pawl_bytes ids = job->fact.cancels;

    for (size_t at = 0; at + PAWL_FACT_ID_BYTES <= ids.size; at += PAWL_FACT_ID_BYTES) {
        struct pawl_fact_id id = pawl_fact_id_read(ids.data + at);
        enum pawl_status status = pawl_sqlite_cancel_one(store, job->fact.ns, &id, rc);

        if (status == PAWL_EUNAVAIL) {
            return status;
        }
        job->canceled += status == PAWL_OK ? 1 : 0;
    }
    return PAWL_OK;
}

/*
 * While frozen, rows go to a database of their own, of which no places are known: a fact may be
 * there twice then, and what a cancel names is not marked. Who reads them joins them.
 */
enum pawl_status pawl_sqlite_keep(struct pawl_sqlite *store, struct pawl_job *job, int *rc,
                                  bool *wrote)
{
    bool frozen = atomic_load(&store->frozen);
    const struct pawl_fact *fact = &job->fact;
    enum pawl_status status =
        pawl_fact_is_known(fact) ? pawl_fact_check(fact, &job->error) : PAWL_OK;
    uint64_t n = store->db.state.next_n;

    job->id = fact->id;
    job->canceled = 0;
    if (status != PAWL_OK || (!frozen && is_kept(store, &fact->id, rc)) ||
        (status = check_room(store, job)) != PAWL_OK) {
        return status;
    }
    bool canceled = !frozen && *rc == SQLITE_OK && is_canceled(store, fact, rc);

    if (*rc != SQLITE_OK) {
        return PAWL_EUNAVAIL;
    }
    if (!frozen && (status = note(store, fact, n)) != PAWL_OK) {
        return status;
    }
    status = put(store, job, canceled, rc);
    if (status == PAWL_OK) {
        *wrote = true;
    }
    if (status == PAWL_OK && !frozen && pawl_fact_is_known(fact) &&
        fact->kind == PAWL_FACT_CANCEL) {
        status = cancel_all(store, job, rc);
    }
    return status;
}
