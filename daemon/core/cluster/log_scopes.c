/*
 * What a cancel leaves: the strongest fact about the same token that still counts.
 *
 * Cancels are rare, and most fleets never see one: facts are found by their scope only from the
 * first one on. Then an index is made, once, in one walk over all facts, and kept; else each cancel
 * would be such a walk, and a node that starts reads them all. Without memory for it, it is one.
 */
#include "core/cluster/log_inside.h"

#include <string.h>

#define HEADS_MIN 1024u

/* ---- the index ------------------------------------------------------------------------------ */

static struct pawl_log_link *link_at(const struct pawl_log_facts *facts, uint32_t handle)
{
    return &facts->links[handle / PAWL_LOG_CHUNK][handle % PAWL_LOG_CHUNK];
}

void pawl_log_scopes_drop(struct pawl_log_inside *in)
{
    struct pawl_log_facts *facts = &in->facts;

    for (uint32_t i = 0; i < facts->link_count; i++) {
        pawl_log_give(in, facts->links[i], PAWL_LOG_CHUNK * sizeof(struct pawl_log_link));
    }
    pawl_log_give(in, facts->links, facts->link_capacity * sizeof(*facts->links));
    pawl_log_give(in, facts->heads,
                  facts->heads == NULL ? 0
                                       : (facts->heads_mask + (size_t)1) * sizeof(*facts->heads));
    facts->links = NULL;
    facts->heads = NULL;
    facts->link_count = 0;
    facts->link_capacity = 0;
    facts->scoped = 0;
}

/* Links for every handle that was given out so far. */
static bool links_grow(struct pawl_log_inside *in)
{
    struct pawl_log_facts *facts = &in->facts;

    if (facts->link_capacity < facts->chunk_capacity) {
        void *links = pawl_log_take(in, facts->links, facts->link_capacity * sizeof(*facts->links),
                                    facts->chunk_capacity * sizeof(*facts->links));

        if (links == NULL) {
            return false;
        }
        facts->links = links;
        facts->link_capacity = facts->chunk_capacity;
    }
    while (facts->link_count < facts->chunk_count) {
        void *chunk = pawl_log_take(in, NULL, 0, PAWL_LOG_CHUNK * sizeof(struct pawl_log_link));

        if (chunk == NULL) {
            return false;
        }
        memset(chunk, 0, PAWL_LOG_CHUNK * sizeof(struct pawl_log_link));
        facts->links[facts->link_count++] = chunk;
    }
    return true;
}

static void link_in(const struct pawl_log_facts *facts, uint32_t *heads, uint32_t mask,
                    uint32_t handle)
{
    struct pawl_log_link *link = link_at(facts, handle);
    uint32_t *head = &heads[link->hash & mask];

    link->prev = 0;
    link->next = *head;
    if (*head != 0) {
        link_at(facts, *head)->prev = handle;
    }
    *head = handle;
}

/* Room for one more at one in each list. */
static bool heads_grow(struct pawl_log_inside *in)
{
    struct pawl_log_facts *facts = &in->facts;
    uint32_t size = facts->heads == NULL ? 0 : facts->heads_mask + 1;
    uint32_t more = size == 0 ? HEADS_MIN : size;

    if (facts->scoped < size) {
        return true;
    }
    while (more <= facts->scoped || (size == 0 && more < facts->count)) {
        more *= 2;
    }
    uint32_t *heads = pawl_log_take(in, NULL, 0, more * sizeof(*heads));

    if (heads == NULL) {
        return false;
    }
    memset(heads, 0, more * sizeof(*heads));
    for (uint32_t i = 0; i < size; i++) {
        for (uint32_t handle = facts->heads[i]; handle != 0;) {
            uint32_t next = link_at(facts, handle)->next;

            link_in(facts, heads, more - 1, handle);
            handle = next;
        }
    }
    pawl_log_give(in, facts->heads, size * sizeof(*heads));
    facts->heads = heads;
    facts->heads_mask = more - 1;
    return true;
}

static bool add(struct pawl_log_inside *in, uint32_t handle, const struct pawl_fact *fact)
{
    struct pawl_log_facts *facts = &in->facts;

    if (!pawl_fact_is_known(fact) || !pawl_fact_cancellable(fact)) {
        return true; /* no cancel ever asks for it */
    }
    if (!links_grow(in) || !heads_grow(in)) {
        return false;
    }
    link_at(facts, handle)->hash = (uint32_t)pawl_fact_scope_id(&in->keys[0], fact).lo;
    link_in(facts, facts->heads, facts->heads_mask, handle);
    pawl_log_fact_at(facts, handle)->flags |= PAWL_LOG_SCOPED;
    facts->scoped++;
    return true;
}

void pawl_log_scopes_add(struct pawl_log_inside *in, uint32_t handle, const struct pawl_fact *fact)
{
    if (in->facts.heads != NULL && !add(in, handle, fact)) {
        pawl_log_scopes_drop(in); /* made anew by the next cancel */
    }
}

void pawl_log_scopes_remove(struct pawl_log_inside *in, uint32_t handle)
{
    struct pawl_log_facts *facts = &in->facts;
    const struct pawl_log_link *link;

    if (facts->heads == NULL || (pawl_log_fact_at(facts, handle)->flags & PAWL_LOG_SCOPED) == 0) {
        return;
    }
    link = link_at(facts, handle);
    *(link->prev == 0 ? &facts->heads[link->hash & facts->heads_mask]
                      : &link_at(facts, link->prev)->next) = link->next;
    if (link->next != 0) {
        link_at(facts, link->next)->prev = link->prev;
    }
    facts->scoped--;
}

/* Returns whether it is there. */
static bool make(struct pawl_log_inside *in)
{
    struct pawl_log_facts *facts = &in->facts;

    if (facts->heads != NULL) {
        return true;
    }
    if (!links_grow(in) || !heads_grow(in)) {
        pawl_log_scopes_drop(in);
        return false;
    }
    for (uint32_t at = facts->oldest; at != 0; at = pawl_log_fact_at(facts, at)->next) {
        struct pawl_log_fact *held = pawl_log_fact_at(facts, at);
        struct pawl_fact fact;

        held->flags &= (uint8_t)~PAWL_LOG_SCOPED;
        if (pawl_fact_decode(&fact, pawl_log_fact_bytes(held)) == PAWL_OK && !add(in, at, &fact)) {
            pawl_log_scopes_drop(in);
            return false;
        }
    }
    return true;
}

/* ---- what is left --------------------------------------------------------------------------- */

static bool contains(const struct pawl_log_fact *held, struct pawl_bytes value)
{
    const uint8_t *at = held->bytes;
    const uint8_t *end = held->bytes + held->size;

    while (value.size > 0 && (size_t)(end - at) >= value.size) {
        at = memchr(at, value.data[0], (size_t)(end - at) - value.size + 1);
        if (at == NULL) {
            return false;
        }
        if (memcmp(at, value.data, value.size) == 0) {
            return true;
        }
        at++;
    }
    return value.size == 0;
}

static void remains_look(const struct pawl_log_inside *in, struct pawl_log_remains *r,
                         uint32_t handle, const struct pawl_log_fact *held)
{
    struct pawl_fact fact;
    bool decoded = false;
    struct pawl_id id = { 0, 0 };

    for (unsigned i = 0; i < r->count; i++) {
        /* Most facts are about somebody else: decode only what has the value in it. */
        if (!decoded && !contains(held, r->items[i].fact.value)) {
            continue;
        }
        if (!decoded) {
            decoded = true;
            if (pawl_fact_decode(&fact, pawl_log_fact_bytes(held)) != PAWL_OK ||
                !pawl_fact_is_known(&fact) || !pawl_fact_cancellable(&fact)) {
                return;
            }
            id = pawl_fact_scope_id(&in->keys[0], &fact);
        }
        if (pawl_id_equal(id, r->items[i].id) && fact.until_s >= r->items[i].best_until_s) {
            r->items[i].best = handle;
            r->items[i].best_until_s = fact.until_s;
        }
    }
}

static void look_at_all(struct pawl_log_inside *in, struct pawl_log_remains *r)
{
    for (uint32_t at = in->facts.oldest; at != 0;) {
        const struct pawl_log_fact *held = pawl_log_fact_at(&in->facts, at);

        in->log->stats.cancel_looks++;
        if ((held->flags & PAWL_LOG_CANCELED) == 0) {
            remains_look(in, r, at, held);
        }
        at = held->next;
    }
}

static void look_at_same(struct pawl_log_inside *in, struct pawl_log_remains *r, unsigned i)
{
    const struct pawl_log_facts *facts = &in->facts;
    uint32_t hash = (uint32_t)r->items[i].id.lo;

    for (uint32_t at = facts->heads[hash & facts->heads_mask]; at != 0;) {
        const struct pawl_log_link *link = link_at(facts, at);
        const struct pawl_log_fact *held = pawl_log_fact_at(facts, at);

        in->log->stats.cancel_looks++;
        if (link->hash == hash && (held->flags & PAWL_LOG_CANCELED) == 0) {
            remains_look(in, r, at, held);
        }
        at = link->next;
    }
}

void pawl_log_remains_tell(struct pawl_log_inside *in, struct pawl_log_remains *r)
{
    const struct pawl_log_events *events = &in->options.events;

    if (make(in)) {
        for (unsigned i = 0; i < r->count; i++) {
            look_at_same(in, r, i);
        }
    } else {
        look_at_all(in, r);
    }
    for (unsigned i = 0; i < r->count && events->on_cancel != NULL; i++) {
        struct pawl_fact best;
        const struct pawl_log_fact *held =
            r->items[i].best != 0 ? pawl_log_fact_at(&in->facts, r->items[i].best) : NULL;
        bool left = held != NULL && pawl_fact_decode(&best, pawl_log_fact_bytes(held)) == PAWL_OK;

        events->on_cancel(events->self, &r->items[i].fact, left ? &best : NULL);
    }
}
