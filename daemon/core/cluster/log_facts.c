/*
 * The table of facts: serialized bytes in blocks of their own, 24 bytes beside each, found by id,
 * linked in order of arrival.
 */
#include "core/cluster/log_inside.h"
#include "core/octets.h"

#include <string.h>

/* Where core/fact.h puts what all versions have: version, kind, id, at_ms, until_s. */
#define AT_ID    2
#define AT_TAKEN (AT_ID + PAWL_FACT_ID_BYTES)
#define AT_UNTIL (AT_TAKEN + 8)

#define IDS_MIN      1024u
#define CANCELS_MIN  64u
#define CHUNKS_MIN   16u
#define CANCEL_INDEX 0xffu

_Static_assert(PAWL_FACT_CANCELS_MAX <= CANCEL_INDEX, "an index fits");

struct pawl_fact_id pawl_log_fact_id(const struct pawl_log_fact *fact)
{
    return pawl_fact_id_read(fact->bytes + AT_ID);
}

uint64_t pawl_log_fact_until(const struct pawl_log_fact *fact)
{
    return pawl_get_le(fact->bytes + AT_UNTIL, 8);
}

uint64_t pawl_log_fact_taken_ms(const struct pawl_log_fact *fact)
{
    return pawl_get_le(fact->bytes + AT_TAKEN, 8);
}

uint64_t pawl_log_hash(const struct pawl_log_inside *in, const struct pawl_fact_id *id)
{
    uint8_t bytes[PAWL_FACT_ID_BYTES];

    pawl_fact_id_write(bytes, id);
    return pawl_keyhash64(&in->same, bytes, sizeof(bytes));
}

bool pawl_log_facts_room(const struct pawl_log_inside *in, size_t size, unsigned factor)
{
    const struct pawl_log_facts *facts = &in->facts;

    return facts->count < in->options.facts_max * factor &&
           facts->used < PAWL_LOG_HANDLE - PAWL_LOG_CHUNK &&
           facts->bytes + size <= in->options.bytes_max * factor;
}

/* ---- handles -------------------------------------------------------------------------------- */

static bool chunk_more(struct pawl_log_inside *in)
{
    struct pawl_log_facts *facts = &in->facts;

    if (facts->chunk_count == facts->chunk_capacity) {
        uint32_t capacity = facts->chunk_capacity == 0 ? CHUNKS_MIN : 2 * facts->chunk_capacity;
        void *chunks =
            pawl_log_take(in, facts->chunks, facts->chunk_capacity * sizeof(*facts->chunks),
                          capacity * sizeof(*facts->chunks));

        if (chunks == NULL) {
            return false;
        }
        facts->chunks = chunks;
        facts->chunk_capacity = capacity;
    }
    struct pawl_log_fact *chunk =
        pawl_log_take(in, NULL, 0, PAWL_LOG_CHUNK * sizeof(struct pawl_log_fact));

    if (chunk == NULL) {
        return false;
    }
    memset(chunk, 0, PAWL_LOG_CHUNK * sizeof(*chunk));
    facts->chunks[facts->chunk_count++] = chunk;
    return true;
}

/* A free handle with a copy of @bytes; 0: out of memory. */
static uint32_t handle_take(struct pawl_log_inside *in, struct pawl_bytes bytes)
{
    struct pawl_log_facts *facts = &in->facts;
    uint8_t *copy = pawl_log_take(in, NULL, 0, bytes.size);
    uint32_t handle = facts->free;

    if (copy == NULL) {
        return 0;
    }
    if (handle == 0) {
        if (facts->used >= facts->chunk_count * PAWL_LOG_CHUNK && !chunk_more(in)) {
            pawl_log_give(in, copy, bytes.size);
            return 0;
        }
        handle = facts->used++;
    } else {
        facts->free = pawl_log_fact_at(facts, handle)->next;
    }
    memcpy(copy, bytes.data, bytes.size);
    *pawl_log_fact_at(facts, handle) =
        (struct pawl_log_fact){ .bytes = copy, .size = (uint16_t)bytes.size };
    return handle;
}

static void handle_free(struct pawl_log_facts *facts, uint32_t handle)
{
    struct pawl_log_fact *fact = pawl_log_fact_at(facts, handle);

    *fact = (struct pawl_log_fact){ .next = facts->free };
    facts->free = handle;
}

void pawl_log_facts_ref(struct pawl_log_inside *in, uint32_t handle)
{
    struct pawl_log_fact *fact = pawl_log_fact_at(&in->facts, handle);

    fact->refs = fact->refs == UINT16_MAX ? UINT16_MAX : (uint16_t)(fact->refs + 1);
    fact->passes = 0;
}

void pawl_log_facts_unref(struct pawl_log_inside *in, uint32_t handle)
{
    struct pawl_log_fact *fact = pawl_log_fact_at(&in->facts, handle);

    if (fact->refs == UINT16_MAX) {
        return; /* nobody counts any more */
    }
    fact->refs--;
    if (fact->refs == 0 && (fact->flags & PAWL_LOG_NOTE) != 0) {
        pawl_log_facts_forget(in, handle);
    } else if (fact->refs == 0 && fact->bytes == NULL) {
        handle_free(&in->facts, handle);
    }
}

uint32_t pawl_log_facts_note(struct pawl_log_inside *in, struct pawl_bytes bytes)
{
    uint32_t handle = handle_take(in, bytes);

    if (handle != 0) {
        pawl_log_fact_at(&in->facts, handle)->flags = PAWL_LOG_NOTE;
    }
    return handle;
}

/* ---- by id ---------------------------------------------------------------------------------- */

static bool is_id(const struct pawl_log_facts *facts, uint32_t handle,
                  const uint8_t id[PAWL_FACT_ID_BYTES])
{
    return memcmp(pawl_log_fact_at(facts, handle)->bytes + AT_ID, id, PAWL_FACT_ID_BYTES) == 0;
}

uint32_t pawl_log_facts_find(const struct pawl_log_inside *in, const struct pawl_fact_id *id)
{
    const struct pawl_log_facts *facts = &in->facts;
    uint8_t bytes[PAWL_FACT_ID_BYTES];

    if (facts->ids == NULL) {
        return 0;
    }
    pawl_fact_id_write(bytes, id);
    for (uint64_t at = pawl_log_hash(in, id);; at++) {
        uint32_t handle = facts->ids[at & facts->ids_mask];

        if (handle == 0 || is_id(facts, handle, bytes)) {
            return handle;
        }
    }
}

static void ids_put(const struct pawl_log_inside *in, uint32_t *ids, uint32_t mask, uint32_t handle)
{
    struct pawl_fact_id id = pawl_log_fact_id(pawl_log_fact_at(&in->facts, handle));
    uint64_t at = pawl_log_hash(in, &id);

    while (ids[at & mask] != 0) {
        at++;
    }
    ids[at & mask] = handle;
}

/* Room for one more at three quarters. */
static bool ids_grow(struct pawl_log_inside *in)
{
    struct pawl_log_facts *facts = &in->facts;
    uint32_t size = facts->ids == NULL ? 0 : facts->ids_mask + 1;

    if (facts->count + 1 <= (uint64_t)size / 4 * 3) {
        return true;
    }
    uint32_t more = size == 0 ? IDS_MIN : 2 * size;
    uint32_t *ids = pawl_log_take(in, NULL, 0, more * sizeof(*ids));

    if (ids == NULL) {
        return false;
    }
    memset(ids, 0, more * sizeof(*ids));
    for (uint32_t i = 0; i < size; i++) {
        if (facts->ids[i] != 0) {
            ids_put(in, ids, more - 1, facts->ids[i]);
        }
    }
    pawl_log_give(in, facts->ids, size * sizeof(*ids));
    facts->ids = ids;
    facts->ids_mask = more - 1;
    return true;
}

/* Take @handle out; what stands behind it in its run moves up where it may. */
static void ids_remove(struct pawl_log_inside *in, uint32_t handle)
{
    struct pawl_log_facts *facts = &in->facts;
    uint32_t mask = facts->ids_mask;
    struct pawl_fact_id id = pawl_log_fact_id(pawl_log_fact_at(facts, handle));
    uint32_t at = (uint32_t)pawl_log_hash(in, &id) & mask;

    while (facts->ids[at] != handle) {
        at = (at + 1) & mask;
    }
    for (uint32_t next = (at + 1) & mask; facts->ids[next] != 0; next = (next + 1) & mask) {
        struct pawl_fact_id other = pawl_log_fact_id(pawl_log_fact_at(facts, facts->ids[next]));
        uint32_t home = (uint32_t)pawl_log_hash(in, &other) & mask;

        if (((next - home) & mask) >= ((next - at) & mask)) {
            facts->ids[at] = facts->ids[next];
            at = next;
        }
    }
    facts->ids[at] = 0;
}

/* ---- cancels -------------------------------------------------------------------------------- */

static struct pawl_fact cancel_fact(const struct pawl_log_inside *in, uint64_t item)
{
    const struct pawl_log_fact *held = pawl_log_fact_at(&in->facts, (uint32_t)(item >> 8));
    struct pawl_fact fact;

    if (pawl_fact_decode(&fact, pawl_log_fact_bytes(held)) != PAWL_OK) {
        __builtin_trap(); /* it was decoded when it came */
    }
    return fact;
}

static const uint8_t *cancel_id(const struct pawl_fact *cancel, uint64_t item)
{
    return cancel->cancels.data + (item & CANCEL_INDEX) * PAWL_FACT_ID_BYTES;
}

static void cancels_put(const struct pawl_log_inside *in, uint64_t *items, uint32_t mask,
                        uint64_t item)
{
    struct pawl_fact cancel = cancel_fact(in, item);
    struct pawl_fact_id id = pawl_fact_id_read(cancel_id(&cancel, item));
    uint64_t at = pawl_log_hash(in, &id);

    while (items[at & mask] != 0) {
        at++;
    }
    items[at & mask] = item;
}

/* A new table with room for @more items; what names a forgotten cancel is left behind. */
static bool cancels_grow(struct pawl_log_inside *in, uint32_t more)
{
    struct pawl_log_facts *facts = &in->facts;
    uint32_t size = facts->cancels == NULL ? 0 : facts->cancels_mask + 1;
    uint32_t wanted = size == 0 ? CANCELS_MIN : size;

    if (facts->cancels_count + more <= size / 2) {
        return true;
    }
    while (wanted / 2 < facts->cancels_count + more) {
        wanted *= 2;
    }
    uint64_t *items = pawl_log_take(in, NULL, 0, wanted * sizeof(*items));

    if (items == NULL) {
        return false;
    }
    memset(items, 0, wanted * sizeof(*items));
    for (uint32_t i = 0; i < size; i++) {
        if (facts->cancels[i] != 0) {
            cancels_put(in, items, wanted - 1, facts->cancels[i]);
        }
    }
    pawl_log_give(in, facts->cancels, size * sizeof(*items));
    facts->cancels = items;
    facts->cancels_mask = wanted - 1;
    return true;
}

/* Take the item at @at out; what stands behind it in its run moves up where it may. */
static void cancels_remove_at(struct pawl_log_inside *in, uint32_t at)
{
    struct pawl_log_facts *facts = &in->facts;
    uint32_t mask = facts->cancels_mask;

    for (uint32_t next = (at + 1) & mask; facts->cancels[next] != 0; next = (next + 1) & mask) {
        struct pawl_fact cancel = cancel_fact(in, facts->cancels[next]);
        struct pawl_fact_id id = pawl_fact_id_read(cancel_id(&cancel, facts->cancels[next]));
        uint32_t home = (uint32_t)pawl_log_hash(in, &id) & mask;

        if (((next - home) & mask) >= ((next - at) & mask)) {
            facts->cancels[at] = facts->cancels[next];
            at = next;
        }
    }
    facts->cancels[at] = 0;
    facts->cancels_count--;
}

/* All that the cancel @handle names, before its bytes go. */
static void cancels_remove(struct pawl_log_inside *in, uint32_t handle)
{
    struct pawl_log_facts *facts = &in->facts;
    struct pawl_fact cancel = cancel_fact(in, (uint64_t)handle << 8);
    size_t ids = cancel.cancels.size / PAWL_FACT_ID_BYTES;

    if (facts->cancels == NULL || !pawl_fact_is_known(&cancel)) {
        return;
    }
    for (size_t i = 0; i < ids; i++) {
        uint64_t item = (uint64_t)handle << 8 | i;
        struct pawl_fact_id id = pawl_fact_id_read(cancel_id(&cancel, item));
        uint32_t at = (uint32_t)pawl_log_hash(in, &id) & facts->cancels_mask;

        while (facts->cancels[at] != 0 && facts->cancels[at] != item) {
            at = (at + 1) & facts->cancels_mask;
        }
        if (facts->cancels[at] == item) {
            cancels_remove_at(in, at);
        }
    }
}

static bool same_bytes(struct pawl_bytes a, struct pawl_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Whether a cancel that is here names @fact. Who may cancel in one namespace may not in another. */
static bool is_canceled(const struct pawl_log_inside *in, const struct pawl_fact *fact)
{
    const struct pawl_log_facts *facts = &in->facts;
    uint8_t bytes[PAWL_FACT_ID_BYTES];

    if (facts->cancels_count == 0 || !pawl_fact_cancellable(fact)) {
        return false;
    }
    pawl_fact_id_write(bytes, &fact->id);
    for (uint64_t at = pawl_log_hash(in, &fact->id);; at++) {
        uint64_t item = facts->cancels[at & facts->cancels_mask];

        if (item == 0) {
            return false;
        }
        struct pawl_fact cancel = cancel_fact(in, item);

        if (memcmp(cancel_id(&cancel, item), bytes, sizeof(bytes)) == 0 &&
            same_bytes(cancel.ns, fact->ns)) {
            return true;
        }
    }
}

/* Note what the cancel @handle names; take back what is here. Room was made. */
static uint32_t cancel_all(struct pawl_log_inside *in, uint32_t handle,
                           const struct pawl_fact *cancel)
{
    struct pawl_log_facts *facts = &in->facts;
    struct pawl_log_remains r = { .count = 0 };
    size_t ids = cancel->cancels.size / PAWL_FACT_ID_BYTES;

    for (size_t i = 0; i < ids; i++) {
        struct pawl_fact_id id = pawl_fact_id_read(cancel->cancels.data + i * PAWL_FACT_ID_BYTES);
        uint32_t named = pawl_log_facts_find(in, &id);
        struct pawl_log_fact *held = named != 0 ? pawl_log_fact_at(facts, named) : NULL;
        struct pawl_fact *fact = &r.items[r.count].fact;

        cancels_put(in, facts->cancels, facts->cancels_mask, (uint64_t)handle << 8 | i);
        facts->cancels_count++;
        if (held == NULL || (held->flags & PAWL_LOG_CANCELED) != 0 ||
            pawl_fact_decode(fact, pawl_log_fact_bytes(held)) != PAWL_OK ||
            !pawl_fact_is_known(fact) || !pawl_fact_cancellable(fact) ||
            !same_bytes(fact->ns, cancel->ns)) {
            continue;
        }
        held->flags |= PAWL_LOG_CANCELED;
        r.items[r.count].handle = named;
        r.items[r.count++].id = pawl_fact_scope_id(&in->keys[0], fact);
    }
    in->log->stats.canceled += r.count;
    if (r.count > 0) {
        pawl_log_remains_tell(in, &r);
    }
    return r.count;
}

/* ---- coming and going ----------------------------------------------------------------------- */

static void link_newest(struct pawl_log_facts *facts, uint32_t handle)
{
    struct pawl_log_fact *fact = pawl_log_fact_at(facts, handle);

    fact->prev = facts->newest;
    fact->next = 0;
    if (facts->newest != 0) {
        pawl_log_fact_at(facts, facts->newest)->next = handle;
    } else {
        facts->oldest = handle;
    }
    facts->newest = handle;
}

static void unlink_fact(struct pawl_log_facts *facts, const struct pawl_log_fact *fact)
{
    if (fact->prev != 0) {
        pawl_log_fact_at(facts, fact->prev)->next = fact->next;
    } else {
        facts->oldest = fact->next;
    }
    if (fact->next != 0) {
        pawl_log_fact_at(facts, fact->next)->prev = fact->prev;
    } else {
        facts->newest = fact->prev;
    }
}

enum pawl_status pawl_log_facts_insert(struct pawl_log_inside *in, const struct pawl_fact *fact,
                                       struct pawl_bytes bytes, enum pawl_log_source source,
                                       uint64_t now_ms, uint32_t *handle, uint32_t *canceled)
{
    struct pawl_log_facts *facts = &in->facts;
    bool known = pawl_fact_is_known(fact);
    bool cancel = known && fact->kind == PAWL_FACT_CANCEL;
    size_t ids = cancel ? fact->cancels.size / PAWL_FACT_ID_BYTES : 0;

    *handle = 0;
    if (!ids_grow(in) || (cancel && !cancels_grow(in, (uint32_t)ids))) {
        return PAWL_ENOMEM;
    }
    *handle = handle_take(in, bytes);
    if (*handle == 0) {
        return PAWL_ENOMEM;
    }
    struct pawl_log_fact *held = pawl_log_fact_at(facts, *handle);

    held->arrived = (uint16_t)(now_ms >> 13);
    held->flags = source == PAWL_LOG_SOURCE_JOURNAL ? PAWL_LOG_JOURNAL : 0;
    held->flags |= known && is_canceled(in, fact) ? PAWL_LOG_CANCELED : 0;
    link_newest(facts, *handle);
    ids_put(in, facts->ids, facts->ids_mask, *handle);
    facts->count++;
    facts->bytes += bytes.size;
    pawl_log_bucket_add(in, held, 1);
    pawl_log_scopes_add(in, *handle, fact);
    in->log->stats.facts = facts->count;
    in->log->stats.bytes = facts->bytes;
    struct pawl_log_news news = {
        .fact = fact,
        .bytes = bytes,
        .source = source,
        .counts = known && !cancel && (held->flags & PAWL_LOG_CANCELED) == 0,
    };

    in->options.events.on_fact(in->options.events.self, &news);
    uint32_t taken_back = cancel ? cancel_all(in, *handle, fact) : 0;

    if (canceled != NULL) {
        *canceled = taken_back;
    }
    return PAWL_OK;
}

void pawl_log_facts_forget(struct pawl_log_inside *in, uint32_t handle)
{
    struct pawl_log_facts *facts = &in->facts;
    struct pawl_log_fact *fact = pawl_log_fact_at(facts, handle);

    if ((fact->flags & PAWL_LOG_NOTE) == 0) {
        pawl_log_bucket_add(in, fact, -1);
        pawl_log_scopes_remove(in, handle);
        ids_remove(in, handle);
        unlink_fact(facts, fact);
        if (fact->bytes[1] == PAWL_FACT_CANCEL) {
            cancels_remove(in, handle);
        }
        facts->count--;
        facts->bytes -= fact->size;
        in->log->stats.facts = facts->count;
        in->log->stats.bytes = facts->bytes;
    }
    pawl_log_give(in, fact->bytes, fact->size);
    fact->bytes = NULL;
    fact->flags = 0;
    if (fact->refs == 0) {
        handle_free(facts, handle);
    }
}

void pawl_log_facts_deinit(struct pawl_log_inside *in)
{
    struct pawl_log_facts *facts = &in->facts;

    pawl_log_scopes_drop(in);
    for (uint32_t handle = PAWL_LOG_FIRST; handle < facts->used; handle++) {
        struct pawl_log_fact *fact = pawl_log_fact_at(facts, handle);

        if (fact->bytes != NULL) {
            pawl_log_give(in, fact->bytes, fact->size);
        }
    }
    for (uint32_t i = 0; i < facts->chunk_count; i++) {
        pawl_log_give(in, facts->chunks[i], PAWL_LOG_CHUNK * sizeof(struct pawl_log_fact));
    }
    pawl_log_give(in, facts->chunks, facts->chunk_capacity * sizeof(*facts->chunks));
    pawl_log_give(in, facts->ids,
                  facts->ids == NULL ? 0 : (facts->ids_mask + (size_t)1) * sizeof(*facts->ids));
    pawl_log_give(
        in, facts->cancels,
        facts->cancels == NULL ? 0 : (facts->cancels_mask + (size_t)1) * sizeof(*facts->cancels));
}
