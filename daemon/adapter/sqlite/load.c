#include "adapter/sqlite/load.h"

#include "adapter/sqlite/schema.h"

#include <stdio.h>
#include <string.h>

/* ---- walks ---- */

struct fact_walk {
    struct pawl_db *db;
    pawl_visit_fact visit;
    void *data;
    struct pawl_walk *walk;
    bool stopped;
};

static void take_fact(struct fact_walk *w, const struct pawl_fact_row *row, bool holds)
{
    if (!holds) {
        w->walk->bad_rows++;
        return;
    }
    w->walk->rows++;
    w->walk->top = row->n > w->walk->top ? row->n : w->walk->top;
    pawl_digest_add(w->walk->digests, row->n, row->mac);
    w->stopped = w->visit != NULL && !w->visit(w->data, row);
}

/* Going up; *@last is the last row seen that held. */
static int facts_up(struct fact_walk *w, uint64_t *last)
{
    struct pawl_fact_row row;
    bool holds;
    int rc = SQLITE_ROW;

    pawl_db_facts_begin(w->db, PAWL_STMT_FACT_UP, 0);
    while (!w->stopped &&
           (rc = pawl_db_facts_next(w->db, PAWL_STMT_FACT_UP, &row, &holds)) == SQLITE_ROW) {
        if (holds && w->walk->rows > 0 && row.n <= *last) {
            holds = false; /* out of order: look-ups by key would miss rows */
        }
        take_fact(w, &row, holds);
        *last = holds ? row.n : *last;
    }
    pawl_db_walk_end(w->db, PAWL_STMT_FACT_UP);
    return rc;
}

static void facts_down(struct fact_walk *w, uint64_t last)
{
    struct pawl_fact_row row;
    bool holds;
    uint64_t lowest = UINT64_MAX;

    pawl_db_facts_begin(w->db, PAWL_STMT_FACT_DOWN, last);
    while (!w->stopped &&
           pawl_db_facts_next(w->db, PAWL_STMT_FACT_DOWN, &row, &holds) == SQLITE_ROW) {
        holds = holds && row.n > last && row.n < lowest;
        take_fact(w, &row, holds);
        lowest = holds ? row.n : lowest;
    }
    pawl_db_walk_end(w->db, PAWL_STMT_FACT_DOWN);
}

int pawl_walk_facts(struct pawl_db *db, pawl_visit_fact visit, void *data, struct pawl_walk *walk)
{
    struct fact_walk w = { .db = db, .visit = visit, .data = data, .walk = walk };
    uint64_t last = 0;

    memset(walk, 0, sizeof(*walk));
    int rc = facts_up(&w, &last);

    if ((rc & 0xff) == SQLITE_NOMEM) {
        return SQLITE_NOMEM;
    }
    if (rc != SQLITE_DONE && rc != SQLITE_ROW) {
        walk->broken = true;
        facts_down(&w, last);
    }
    return SQLITE_OK;
}

struct family_walk {
    struct pawl_db *db;
    pawl_visit_family visit;
    void *data;
    struct pawl_walk *walk;
    bool stopped;
};

static void take_family(struct family_walk *w, const struct pawl_family_row *row, bool holds)
{
    if (!holds) {
        w->walk->bad_rows++;
        return;
    }
    w->walk->rows++;
    pawl_digest_add(w->walk->digests, row->key.lo, row->mac);
    w->stopped = w->visit != NULL && !w->visit(w->data, row);
}

static int families_up(struct family_walk *w, struct pawl_id *last)
{
    struct pawl_family_row row;
    bool holds;
    int rc = SQLITE_ROW;

    pawl_db_families_begin(w->db, PAWL_STMT_FAMILY_UP, NULL);
    while (!w->stopped &&
           (rc = pawl_db_families_next(w->db, PAWL_STMT_FAMILY_UP, &row, &holds)) == SQLITE_ROW) {
        if (holds && w->walk->rows > 0 && pawl_db_key_compare(row.key, *last) <= 0) {
            holds = false;
        }
        take_family(w, &row, holds);
        *last = holds ? row.key : *last;
    }
    pawl_db_walk_end(w->db, PAWL_STMT_FAMILY_UP);
    return rc;
}

static void families_down(struct family_walk *w, const struct pawl_id *last)
{
    struct pawl_family_row row;
    struct pawl_id lowest = { 0, 0 };
    bool any = false;
    bool holds;

    pawl_db_families_begin(w->db, PAWL_STMT_FAMILY_DOWN, last);
    while (!w->stopped &&
           pawl_db_families_next(w->db, PAWL_STMT_FAMILY_DOWN, &row, &holds) == SQLITE_ROW) {
        holds = holds && (last == NULL || pawl_db_key_compare(row.key, *last) > 0) &&
                (!any || pawl_db_key_compare(row.key, lowest) < 0);
        take_family(w, &row, holds);
        any = any || holds;
        lowest = holds ? row.key : lowest;
    }
    pawl_db_walk_end(w->db, PAWL_STMT_FAMILY_DOWN);
}

int pawl_walk_families(struct pawl_db *db, pawl_visit_family visit, void *data,
                       struct pawl_walk *walk)
{
    struct family_walk w = { .db = db, .visit = visit, .data = data, .walk = walk };
    struct pawl_id last = { 0, 0 };

    memset(walk, 0, sizeof(*walk));
    int rc = families_up(&w, &last);

    if ((rc & 0xff) == SQLITE_NOMEM) {
        return SQLITE_NOMEM;
    }
    if (rc != SQLITE_DONE && rc != SQLITE_ROW) {
        walk->broken = true;
        families_down(&w, walk->rows > 0 ? &last : NULL);
    }
    return SQLITE_OK;
}

/* ---- loading ---- */

struct loading {
    const struct pawl_store_events *events;
    struct pawl_places *places;
    uint64_t undecoded;
    bool no_memory;
};

static bool note_place(struct loading *l, const struct pawl_fact *fact, uint64_t n)
{
    if (l->places == NULL) {
        return true;
    }
    l->no_memory = pawl_places_note(l->places, &fact->id, n) != PAWL_OK ||
                   (pawl_fact_is_known(fact) && fact->kind == PAWL_FACT_CANCEL &&
                    pawl_places_note_cancel(l->places, fact, n) != PAWL_OK);
    return !l->no_memory;
}

static bool load_fact(void *data, const struct pawl_fact_row *row)
{
    struct loading *l = data;
    struct pawl_fact fact;

    if (pawl_fact_decode(&fact, row->body) != PAWL_OK) {
        l->undecoded++;
        return true;
    }
    if (!note_place(l, &fact, row->n)) {
        return false;
    }
    if (l->events != NULL && l->events->on_row != NULL) {
        l->events->on_row(l->events->self, &fact);
    }
    if (l->events != NULL && l->events->on_fact != NULL && !row->canceled &&
        pawl_fact_is_known(&fact) &&
        (fact.kind == PAWL_FACT_REVOCATION || fact.kind == PAWL_FACT_CUTOFF)) {
        l->events->on_fact(l->events->self, &fact);
    }
    return true;
}

static void damaged(struct pawl_load *load, const char *reason)
{
    if (!load->damaged) {
        load->damaged = true;
        (void)snprintf(load->reason, sizeof(load->reason), "%s", reason);
    }
}

static void compare(struct pawl_load *load, const char *what, const struct pawl_walk *walk,
                    const struct pawl_digest *digests)
{
    uint64_t held = pawl_digest_count(digests);
    char reason[160];

    if (walk->bad_rows == 0 && !walk->broken &&
        memcmp(walk->digests, digests, sizeof(walk->digests)) == 0) {
        return;
    }
    (void)snprintf(reason, sizeof(reason),
                   "of %llu %s %llu check out, %llu are damaged%s, the rest is missing or old",
                   (unsigned long long)held, what, (unsigned long long)walk->rows,
                   (unsigned long long)walk->bad_rows, walk->broken ? " (unreadable pages)" : "");
    damaged(load, reason);
}

/*
 * SQLite's own look at its pages: what no row shows, such as a list of free pages that names a
 * page in use, which the next write would destroy.
 */
static int check_pages(struct pawl_db *db, struct pawl_load *load)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db->handle, "PRAGMA quick_check(1)", -1, &stmt, NULL);

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
        const char *text = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;

        if (text == NULL || strcmp(text, "ok") != 0) {
            char reason[160];

            (void)snprintf(reason, sizeof(reason), "its pages: %.120s",
                           text != NULL ? text : sqlite3_errmsg(db->handle));
            damaged(load, reason);
        }
    } else {
        damaged(load, "its pages cannot be checked");
    }
    (void)sqlite3_finalize(stmt);
    return (rc & 0xff) == SQLITE_NOMEM ? SQLITE_NOMEM : SQLITE_OK;
}

static enum pawl_status load_state(struct pawl_db *db, struct pawl_load *load)
{
    switch (pawl_db_state_get(db)) {
    case PAWL_OK:
        return PAWL_OK;
    case PAWL_ESECRET:
        return PAWL_ESECRET;
    case PAWL_EVERSION:
        damaged(load, "its state row has a version that is not known here");
        return PAWL_OK;
    case PAWL_ENOENT:
        damaged(load, "its state row is missing");
        return PAWL_OK;
    default:
        damaged(load, "its state row is damaged");
        return PAWL_OK;
    }
}

enum pawl_status pawl_load(struct pawl_db *db, const struct pawl_store_events *events,
                           struct pawl_places *places, struct pawl_load *load)
{
    struct loading loading = { .events = events, .places = places };
    struct pawl_walk facts;
    struct pawl_walk families;

    *load = (struct pawl_load){ .facts = 0 };
    if (!pawl_schema_holds(db->handle)) {
        damaged(load, "its tables are not as they were made");
    }
    enum pawl_status status = load_state(db, load);

    if (status != PAWL_OK) {
        return status;
    }
    int rc = pawl_db_prepare(db);

    if (rc != SQLITE_OK) {
        damaged(load, "its tables cannot be read");
        return (rc & 0xff) == SQLITE_NOMEM ? PAWL_ENOMEM : PAWL_OK;
    }
    if (pawl_walk_facts(db, load_fact, &loading, &facts) != SQLITE_OK || loading.no_memory ||
        pawl_walk_families(db, NULL, NULL, &families) != SQLITE_OK) {
        return PAWL_ENOMEM;
    }
    load->facts = facts.rows;
    load->families = families.rows;
    compare(load, "facts", &facts, db->state.facts);
    compare(load, "families", &families, db->state.families);
    if (loading.undecoded > 0) {
        damaged(load, "facts with a good MAC cannot be read");
    }
    if (!load->damaged && facts.top >= db->state.next_n) {
        damaged(load, "its counter of facts is behind its facts");
    }
    return load->damaged || check_pages(db, load) == SQLITE_OK ? PAWL_OK : PAWL_ENOMEM;
}
