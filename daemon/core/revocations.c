#include "core/revocations.h"

#include "core/revocations_layout.h"

#include <string.h>

/*
 * The value of a slot.
 *   tokens, families:  0 | scope 4 | reason 6 | until, seconds, 40
 *   with a cutoff:     1 | scope 4 | until, units of 4 days, 11 | reason 6 | cutoff, ms, 42
 * Zero until: cancelled. The reader's scope is in the id's hash; the bits here are for counting
 * and for leaving out what expired. 11 bits of 4 days after 2024 last until 2046 and saturate as
 * "never".
 */
#define WORD_CUTOFF     (UINT64_C(1) << 63)
#define UNTIL_BITS      40
#define UNTIL_MAX       ((UINT64_C(1) << UNTIL_BITS) - 1)
#define CUTOFF_BITS     42
#define UNIT_S          UINT64_C(345600)     /* 4 days */
#define UNIT_EPOCH_S    UINT64_C(1704067200) /* 2024-01-01 */
#define UNIT_MAX        ((UINT64_C(1) << 11) - 1)
#define WORD_SCOPE(w)   ((unsigned)((w) >> 59 & 15))
#define TOKEN_REASON(w) ((unsigned)((w) >> UNTIL_BITS & 63))
#define CUT_REASON(w)   ((unsigned)((w) >> CUTOFF_BITS & 63))
#define CUT_UNITS(w)    ((w) >> (CUTOFF_BITS + 6) & UNIT_MAX)
#define TOKEN_UNTIL(w)  ((w)&UNTIL_MAX)
#define CUT_MS(w)       ((w)&PAWL_CUTOFF_ALL_MS)

static uint64_t word_pack(enum pawl_scope scope, const struct pawl_revocation *entry)
{
    uint64_t word = (uint64_t)scope << 59;
    uint64_t units = UNIT_MAX;

    if (!pawl_scope_has_cutoff(scope)) {
        word |= (uint64_t)entry->reason << UNTIL_BITS;
        return word | (entry->until_s < UNTIL_MAX ? entry->until_s : UNTIL_MAX);
    }
    if (entry->until_s <= UNIT_EPOCH_S) {
        units = 1; /* long over; 0 would say cancelled */
    } else if ((entry->until_s - UNIT_EPOCH_S) / UNIT_S + 1 < UNIT_MAX) {
        units = (entry->until_s - UNIT_EPOCH_S) / UNIT_S + 1; /* rounded up: kept too long */
    }
    return WORD_CUTOFF | word | units << (CUTOFF_BITS + 6) |
           (uint64_t)entry->reason << CUTOFF_BITS | entry->cutoff_ms;
}

struct pawl_revocation pawl_revocation_unpack(uint64_t word)
{
    struct pawl_revocation entry = { PAWL_REASON_NONE, 0, 0 };

    if ((word & WORD_CUTOFF) == 0) {
        entry.until_s = TOKEN_UNTIL(word) == UNTIL_MAX ? UINT64_MAX : TOKEN_UNTIL(word);
        entry.reason = (enum pawl_reason)TOKEN_REASON(word);
        return entry;
    }
    entry.cutoff_ms = CUT_MS(word);
    entry.reason = (enum pawl_reason)CUT_REASON(word);
    entry.until_s =
        CUT_UNITS(word) == UNIT_MAX ? UINT64_MAX : UNIT_EPOCH_S + CUT_UNITS(word) * UNIT_S;
    return entry;
}

/* Whether @word says something: neither empty nor cancelled. */
static bool word_counts(uint64_t word)
{
    return (word & WORD_CUTOFF) != 0 || TOKEN_UNTIL(word) != 0;
}

/* The join of two words of one key. @old may be cancelled. */
static uint64_t word_join(uint64_t old, uint64_t new)
{
    uint64_t units;

    if (!word_counts(old)) {
        return new;
    }
    if ((new &WORD_CUTOFF) == 0) {
        return TOKEN_UNTIL(new) > TOKEN_UNTIL(old) ? (old & ~UNTIL_MAX) | TOKEN_UNTIL(new) : old;
    }
    units = CUT_UNITS(new) > CUT_UNITS(old) ? CUT_UNITS(new) : CUT_UNITS(old);
    if (CUT_MS(new) > CUT_MS(old)) {
        old = new;
    }
    return (old & ~(UNIT_MAX << (CUTOFF_BITS + 6))) | units << (CUTOFF_BITS + 6);
}

/*
 * Finding a shard, an area, a slot. A shard by the top bits of k1 (two of them the class), a
 * slot by the low bits of k0: independent bits of a keyed hash, so nobody can choose where an id
 * falls.
 */
static unsigned shard_of(struct pawl_id id)
{
    return (unsigned)(id.hi >> (64 - SHARD_BITS));
}

/* k0 == 0 marks an empty slot; one id in 2^64 is nudged. */
static uint64_t key0_of(struct pawl_id id)
{
    return id.lo == 0 ? 1 : id.lo;
}

static uint64_t area_offset(const struct pawl_revocations_view *view, unsigned shard, uint64_t word)
{
    unsigned level = (unsigned)(word & 0xff);
    uint64_t bank = word >> 8 & 0xff;

    return AREAS_AT + shard * view->shard_bytes +
           2 * SLOT_BYTES * ((UINT64_C(1) << level) - (UINT64_C(1) << LEVEL_MIN)) +
           (bank * SLOT_BYTES << level);
}

static const struct slot *area_of(const struct pawl_revocations_view *view, unsigned shard,
                                  uint64_t word)
{
    return (const struct slot *)(const void *)(view->base + area_offset(view, shard, word));
}

/* ---- reading ---- */

/* Most look-ups miss, and a miss walks to the next empty slot: 2.3 slots on average where half are
 * taken, 8.5 at three quarters. One line ahead leaves the walk waiting for the next ones. */
#define LINE_BYTES  64
#define LINES_AHEAD 3

void pawl_revocations_prefetch(const struct pawl_revocations_view *view, struct pawl_id id)
{
    unsigned shard = shard_of(id);
    uint64_t word = atomic_load_explicit(&descriptor_of(view, shard)->word, memory_order_acquire);
    uint64_t mask = (UINT64_C(1) << (word & 0xff)) - 1;
    const struct slot *slot = area_of(view, shard, word) + (key0_of(id) & mask);

    for (unsigned line = 0; line < LINES_AHEAD; line++) {
        __builtin_prefetch((const uint8_t *)slot + (size_t)line * LINE_BYTES);
    }
}

/* Walk one area. @mask + 1 slots at most: the area may be cleared and reused under our feet. */
static uint64_t area_find(const struct slot *slots, uint64_t mask, uint64_t k0, uint64_t k1)
{
    for (uint64_t i = 0; i <= mask; i++) {
        const struct slot *slot = slots + ((k0 + i) & mask);
        uint64_t key = atomic_load_explicit(&slot->k0, memory_order_acquire);

        if (key == k0 && atomic_load_explicit(&slot->k1, memory_order_relaxed) == k1) {
            return atomic_load_explicit(&slot->value, memory_order_relaxed);
        }
        if (key == 0) {
            break;
        }
    }
    return 0;
}

uint64_t pawl_revocations_probe(const struct pawl_revocations_view *view, struct pawl_id id)
{
    unsigned shard = shard_of(id);
    const struct descriptor *descriptor = descriptor_of(view, shard);
    uint64_t word = atomic_load_explicit(&descriptor->word, memory_order_acquire);

    for (;;) {
        uint64_t mask = (UINT64_C(1) << (word & 0xff)) - 1;
        uint64_t value = area_find(area_of(view, shard, word), mask, key0_of(id), id.hi);
        uint64_t again;

        /* All loads of the probe before this one: what was read belongs to `word`'s area. */
        atomic_thread_fence(memory_order_acquire);
        again = atomic_load_explicit(&descriptor->word, memory_order_acquire);
        if (PAWL_LIKELY(again == word)) {
            return word_counts(value) ? value : 0;
        }
        word = again;
    }
}

bool pawl_revocations_lookup(const struct pawl_revocations_view *view, struct pawl_id id,
                             struct pawl_revocation *entry)
{
    uint64_t word = pawl_revocations_probe(view, id);

    *entry = pawl_revocation_unpack(word);
    return word != 0;
}

/* ---- writing; everything with `shard` in its arguments runs under that shard's mutex ---- */

static struct slot *area_to_write(const struct pawl_revocations *table, unsigned shard,
                                  uint64_t word)
{
    uint8_t *base = (uint8_t *)table->header;

    return (struct slot *)(void *)(base + area_offset(&table->view, shard, word));
}

static uint64_t shard_word(const struct pawl_revocations *table, unsigned shard)
{
    return atomic_load_explicit(&descriptor_of(&table->view, shard)->word, memory_order_relaxed);
}

static uint64_t dirty_bit(uint64_t word)
{
    return UINT64_C(1) << (2 * ((word & 0xff) - LEVEL_MIN) + (word >> 8 & 0xff));
}

static uint64_t until_of(uint64_t value)
{
    return pawl_revocation_unpack(value).until_s;
}

static void count_entry(struct pawl_revocations *table, uint64_t value, uint64_t change)
{
    struct pawl_revocations_header *header = table->header;

    /* Counted before it can be found and until it cannot be any more: see has_scope. */
    (void)atomic_fetch_add_explicit(&header->scope_entries[WORD_SCOPE(value)], change,
                                    memory_order_release);
}

static struct slot *area_seek(struct slot *slots, uint64_t mask, uint64_t k0, uint64_t k1)
{
    for (uint64_t i = 0; i <= mask; i++) {
        struct slot *slot = slots + ((k0 + i) & mask);
        uint64_t key = atomic_load_explicit(&slot->k0, memory_order_relaxed);

        if (key == 0 ||
            (key == k0 && atomic_load_explicit(&slot->k1, memory_order_relaxed) == k1)) {
            return slot;
        }
    }
    return NULL; /* cannot be: a quarter of the slots is always empty */
}

static void slot_fill(struct slot *slot, uint64_t k0, uint64_t k1, uint64_t value)
{
    atomic_store_explicit(&slot->k1, k1, memory_order_relaxed);
    atomic_store_explicit(&slot->value, value, memory_order_relaxed);
    atomic_store_explicit(&slot->k0, k0, memory_order_release);
}

/* Make @word's area read as zero, where it was used before and could not be given back. */
static void area_clear(struct pawl_revocations *table, unsigned shard, uint64_t word)
{
    struct slot *slots = area_to_write(table, shard, word);
    uint64_t count = UINT64_C(1) << (word & 0xff);

    if ((table->shards[shard].dirty & dirty_bit(word)) == 0) {
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        atomic_store_explicit(&slots[i].k0, 0, memory_order_relaxed);
        atomic_store_explicit(&slots[i].k1, 0, memory_order_relaxed);
        atomic_store_explicit(&slots[i].value, 0, memory_order_relaxed);
    }
}

static void area_give_back(struct pawl_revocations *table, unsigned shard, uint64_t word)
{
    if (table->release != NULL &&
        table->release(table->user, area_offset(&table->view, shard, word),
                       (uint64_t)SLOT_BYTES << (word & 0xff))) {
        table->shards[shard].dirty &= ~dirty_bit(word);
    }
}

/* What a build found: filled while it copies. */
struct build {
    uint64_t used;
    uint64_t until_min_s;
    uint64_t dropped[PAWL_SCOPES];
    uint64_t dropped_all;
};

/* Whether @value goes into the next area; counts it if it is left out because it expired. */
static bool build_keeps(struct build *build, uint64_t value, uint64_t now_s)
{
    uint64_t until_s = until_of(value);

    if (!word_counts(value)) {
        return false;
    }
    if (until_s < now_s) {
        build->dropped[WORD_SCOPE(value)]++;
        build->dropped_all++;
        return false;
    }
    if (until_s < build->until_min_s) {
        build->until_min_s = until_s;
    }
    return true;
}

static void build_copy(const struct pawl_revocations *table, unsigned shard, uint64_t from,
                       uint64_t to, uint64_t now_s, struct build *build)
{
    const struct slot *old = area_of(&table->view, shard, from);
    struct slot *slots = area_to_write(table, shard, to);
    uint64_t count = UINT64_C(1) << (from & 0xff);
    uint64_t mask = (UINT64_C(1) << (to & 0xff)) - 1;

    for (uint64_t i = 0; i < count; i++) {
        uint64_t k0 = atomic_load_explicit(&old[i].k0, memory_order_relaxed);
        uint64_t k1 = atomic_load_explicit(&old[i].k1, memory_order_relaxed);
        uint64_t value = atomic_load_explicit(&old[i].value, memory_order_relaxed);

        if (k0 != 0 && build_keeps(build, value, now_s)) {
            slot_fill(area_seek(slots, mask, k0, k1), k0, k1, value);
            build->used++;
        }
    }
}

/* Build the shard anew at @level, leaving out what is cancelled or expired; publish; give back. */
static void shard_build(struct pawl_revocations *table, unsigned index, uint64_t level,
                        uint64_t now_s)
{
    struct pawl_revocations_shard *shard = &table->shards[index];
    struct descriptor *descriptor = descriptor_to_write(table, index);
    uint64_t from = shard_word(table, index);
    uint64_t to = ((from >> 16) + 1) << 16 | ((from >> 8 & 1) ^ 1) << 8 | level;
    struct build build = { .until_min_s = UINT64_MAX };

    area_clear(table, index, to);
    shard->dirty |= dirty_bit(to);
    build_copy(table, index, from, to, now_s, &build);
    atomic_store_explicit(&descriptor->word, to, memory_order_release);
    /* Whoever reads anything that is written to the old area from here on, sees the new word. */
    atomic_thread_fence(memory_order_release);
    area_give_back(table, index, from);
    for (unsigned scope = 0; scope < PAWL_SCOPES; scope++) {
        if (build.dropped[scope] != 0) {
            count_entry(table, (uint64_t)scope << 59, 0 - build.dropped[scope]);
        }
    }
    (void)atomic_fetch_sub_explicit(&table->header->entries, build.dropped_all,
                                    memory_order_relaxed);
    shard->live -= build.dropped_all;
    shard->used = build.used;
    shard->until_min_s = build.until_min_s;
    shard->rebuilds++;
    shard->dropped += build.dropped_all;
}

/* Make room for one more slot; false when the largest area is full of entries that count. */
static bool shard_make_room(struct pawl_revocations *table, unsigned index, uint64_t now_s)
{
    struct pawl_revocations_shard *shard = &table->shards[index];
    uint64_t level = shard_word(table, index) & 0xff;

    if (shard->used < slots_allowed(level)) {
        return true;
    }
    /* More than half of what may be in counts: the next size, else the same without the rest. */
    if (2 * shard->live > slots_allowed(level) && level < table->view.level_max) {
        shard_build(table, index, level + 1, now_s);
    } else if (shard->live < shard->used || shard->until_min_s < now_s) {
        shard_build(table, index, level, now_s);
    }
    return shard->used < slots_allowed(shard_word(table, index) & 0xff);
}

static bool take_entry(struct pawl_revocations *table)
{
    if (atomic_fetch_add_explicit(&table->header->entries, 1, memory_order_relaxed) <
        table->header->max) {
        return true;
    }
    (void)atomic_fetch_sub_explicit(&table->header->entries, 1, memory_order_relaxed);
    return false;
}

static void note_until(struct pawl_revocations_shard *shard, uint64_t value)
{
    uint64_t until_s = until_of(value);

    if (until_s < shard->until_min_s) {
        shard->until_min_s = until_s;
    }
}

static struct slot *shard_seek(struct pawl_revocations *table, unsigned index, struct pawl_id id)
{
    uint64_t word = shard_word(table, index);

    return area_seek(area_to_write(table, index, word), (UINT64_C(1) << (word & 0xff)) - 1,
                     key0_of(id), id.hi);
}

/* A key that is not there, or was cancelled. */
static enum pawl_status shard_add(struct pawl_revocations *table, unsigned index, struct pawl_id id,
                                  uint64_t value, uint64_t now_s)
{
    struct pawl_revocations_shard *shard = &table->shards[index];
    struct slot *slot;

    if (!take_entry(table)) {
        return PAWL_EFULL;
    }
    if (!shard_make_room(table, index, now_s)) {
        (void)atomic_fetch_sub_explicit(&table->header->entries, 1, memory_order_relaxed);
        return PAWL_EFULL;
    }
    slot = shard_seek(table, index, id); /* after the build, which may have moved it */
    count_entry(table, value, 1);
    shard->live++;
    note_until(shard, value);
    if (atomic_load_explicit(&slot->k0, memory_order_relaxed) != 0) {
        atomic_store_explicit(&slot->value, value, memory_order_release);
        return PAWL_OK;
    }
    shard->used++;
    shard->dirty |= dirty_bit(shard_word(table, index));
    slot_fill(slot, key0_of(id), id.hi, value);
    return PAWL_OK;
}

static void raise_cutoff_max(struct pawl_revocations *table, uint64_t cutoff_ms)
{
    if (cutoff_ms < PAWL_CUTOFF_ALL_MS) {
        raise_to(&table->header->cutoff_max_ms, cutoff_ms);
    }
}

static enum pawl_status shard_set(struct pawl_revocations *table, struct pawl_id id, uint64_t value,
                                  uint64_t now_s, bool last_try)
{
    unsigned index = shard_of(id);
    struct pawl_revocations_shard *shard = &table->shards[index];
    enum pawl_status status = PAWL_OK;
    struct slot *slot;
    uint64_t old;

    (void)pthread_mutex_lock(&shard->mutex);
    slot = shard_seek(table, index, id);
    old = atomic_load_explicit(&slot->value, memory_order_relaxed);
    if (atomic_load_explicit(&slot->k0, memory_order_relaxed) == 0 || !word_counts(old)) {
        status = shard_add(table, index, id, value, now_s);
    } else {
        atomic_store_explicit(&slot->value, word_join(old, value), memory_order_release);
        note_until(shard, word_join(old, value));
    }
    if (status == PAWL_EFULL && last_try) {
        shard->refused++;
    }
    (void)pthread_mutex_unlock(&shard->mutex);
    return status;
}

/* Drop expired entries of the first shard that has some; false when there are none anywhere. */
static bool make_some_room(struct pawl_revocations *table, uint64_t now_s)
{
    for (unsigned i = 0; i < PAWL_REVOCATIONS_SHARDS; i++) {
        if (pawl_revocations_clean(table, i, now_s) != 0) {
            return true;
        }
    }
    return false;
}

enum pawl_status pawl_revocations_set(struct pawl_revocations *table, enum pawl_scope scope,
                                      struct pawl_id id, const struct pawl_revocation *entry,
                                      uint64_t now_s)
{
    enum pawl_status status;
    uint64_t value;

    if (scope <= PAWL_SCOPE_NONE || scope >= PAWL_SCOPES || entry->until_s == 0 ||
        (unsigned)entry->reason > PAWL_REASON_OTHER ||
        (entry->cutoff_ms != 0) != pawl_scope_has_cutoff(scope) ||
        entry->cutoff_ms > PAWL_CUTOFF_ALL_MS) {
        return PAWL_EINVAL;
    }
    value = word_pack(scope, entry);
    status = shard_set(table, id, value, now_s, false);
    if (status == PAWL_EFULL) {
        (void)make_some_room(table, now_s);
        status = shard_set(table, id, value, now_s, true);
    }
    if (status == PAWL_OK) {
        raise_cutoff_max(table, entry->cutoff_ms);
    }
    return status;
}

enum pawl_status pawl_revocations_apply(struct pawl_revocations *table,
                                        const struct pawl_subkey *facts,
                                        const struct pawl_fact *fact, uint64_t now_s)
{
    struct pawl_revocation entry = { fact->reason, fact->until_s, fact->cutoff_ms };

    if (!pawl_fact_is_known(fact) ||
        (fact->kind != PAWL_FACT_REVOCATION && fact->kind != PAWL_FACT_CUTOFF)) {
        return PAWL_EINVAL;
    }
    if (fact->kind == PAWL_FACT_REVOCATION && pawl_scope_has_cutoff(fact->scope)) {
        entry.cutoff_ms = PAWL_CUTOFF_ALL_MS;
    }
    return pawl_revocations_set(table, fact->scope, pawl_fact_scope_id(facts, fact), &entry, now_s);
}

bool pawl_revocations_clear(struct pawl_revocations *table, struct pawl_id id,
                            const struct pawl_revocation *rest)
{
    unsigned index = shard_of(id);
    struct pawl_revocations_shard *shard = &table->shards[index];
    bool found = false;
    struct slot *slot;
    uint64_t old;

    (void)pthread_mutex_lock(&shard->mutex);
    slot = shard_seek(table, index, id);
    old = atomic_load_explicit(&slot->value, memory_order_relaxed);
    if (atomic_load_explicit(&slot->k0, memory_order_relaxed) != 0 && word_counts(old)) {
        enum pawl_scope scope = (enum pawl_scope)WORD_SCOPE(old);

        found = true;
        if (rest != NULL) {
            note_until(shard, word_pack(scope, rest));
            atomic_store_explicit(&slot->value, word_pack(scope, rest), memory_order_release);
        } else {
            atomic_store_explicit(&slot->value, (uint64_t)scope << 59, memory_order_release);
            shard->live--;
            count_entry(table, old, UINT64_MAX);
            (void)atomic_fetch_sub_explicit(&table->header->entries, 1, memory_order_relaxed);
        }
    }
    (void)pthread_mutex_unlock(&shard->mutex);
    return found;
}

/* The smallest level at which @entries take at most half of what may be in. */
static uint64_t level_for(const struct pawl_revocations *table, uint64_t entries)
{
    uint64_t level = LEVEL_MIN;

    while (level < table->view.level_max && 2 * entries > slots_allowed(level)) {
        level++;
    }
    return level;
}

uint64_t pawl_revocations_clean(struct pawl_revocations *table, unsigned index, uint64_t now_s)
{
    struct pawl_revocations_shard *shard = &table->shards[index];
    uint64_t dropped;

    (void)pthread_mutex_lock(&shard->mutex);
    dropped = shard->dropped;
    if (shard->until_min_s < now_s) {
        uint64_t level = shard_word(table, index) & 0xff;

        shard_build(table, index, level, now_s);
        if (level_for(table, shard->live) + 1 < level) { /* give memory back, never at the edge */
            shard_build(table, index, level_for(table, shard->live) + 1, now_s);
        }
    }
    dropped = shard->dropped - dropped;
    (void)pthread_mutex_unlock(&shard->mutex);
    return dropped;
}
