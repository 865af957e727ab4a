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

/* ---- origins ---- */

enum pawl_status pawl_origins_note(struct pawl_origins *origins, const struct pawl_fact_id *id,
                                   uint64_t n)
{
    struct pawl_origin_base base = { .origin = id->origin, .base = n - id->sequence };

    if (origins->count > 0 &&
        memcmp(&origins->items[origins->count - 1], &base, sizeof(base)) == 0) {
        return PAWL_OK; /* facts of one life lie side by side */
    }
    if (origins->count == origins->capacity) {
        size_t capacity = origins->capacity == 0 ? 16 : 2 * origins->capacity;
        void *items = sqlite3_realloc64(origins->items, capacity * sizeof(base));

        if (items == NULL) {
            return PAWL_ENOMEM;
        }
        origins->items = items;
        origins->capacity = capacity;
    }
    origins->items[origins->count++] = base;
    return PAWL_OK;
}

uint64_t pawl_origins_find(const struct pawl_origins *origins, const struct pawl_fact_id *id)
{
    for (size_t i = origins->count; i-- > 0;) {
        if (memcmp(&origins->items[i].origin, &id->origin, sizeof(id->origin)) == 0) {
            return origins->items[i].base + id->sequence;
        }
    }
    return 0;
}

void pawl_origins_deinit(struct pawl_origins *origins)
{
    sqlite3_free(origins->items);
    *origins = (struct pawl_origins){ .items = NULL };
}

/* ---- loading ---- */

struct loading {
    void (*on_fact)(void *self, const struct pawl_fact *fact);
    void *self;
    struct pawl_origins *origins;
    uint64_t undecoded;
    bool no_memory;
};

static bool load_fact(void *data, const struct pawl_fact_row *row)
{
    struct loading *l = data;
    struct pawl_fact fact;

    if (pawl_fact_decode(&fact, row->body) != PAWL_OK) {
        l->undecoded++;
        return true;
    }
    if (l->origins != NULL && pawl_origins_note(l->origins, &fact.id, row->n) != PAWL_OK) {
        l->no_memory = true;
        return false;
    }
    if (l->on_fact != NULL && !row->canceled && pawl_fact_is_known(&fact) &&
        (fact.kind == PAWL_FACT_REVOCATION || fact.kind == PAWL_FACT_CUTOFF)) {
        l->on_fact(l->self, &fact);
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

enum pawl_status pawl_load(struct pawl_db *db,
                           void (*on_fact)(void *self, const struct pawl_fact *fact), void *self,
                           struct pawl_origins *origins, struct pawl_load *load)
{
    struct loading loading = { .on_fact = on_fact, .self = self, .origins = origins };
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
