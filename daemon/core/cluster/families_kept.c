/*
 * What this node wrote lately, and how it is said again in a new epoch.
 */
#include "core/cluster/families_inside.h"

#include "core/cluster/seal.h"

#include <string.h>

#define NOWHERE PAWL_FAMILY_NOWHERE

enum pawl_status pawl_families_kept_init(struct pawl_families *families)
{
    uint32_t max = families->options.kept_max;
    uint32_t buckets = 16;

    max = max == 0 ? PAWL_FAMILIES_KEPT_MAX : max;
    while (buckets < max && buckets < UINT32_C(1) << 30) {
        buckets *= 2;
    }
    families->kept = pawl_families_take(families, NULL, max * sizeof(*families->kept));
    families->buckets = pawl_families_take(families, NULL, buckets * sizeof(*families->buckets));
    if (families->kept == NULL || families->buckets == NULL) {
        pawl_families_kept_deinit(families);
        return PAWL_ENOMEM;
    }
    memset(families->buckets, 0xff, buckets * sizeof(*families->buckets));
    memset(families->kept, 0, max * sizeof(*families->kept));
    for (uint32_t i = 0; i < max; i++) {
        families->kept[i].newer = i + 1 < max ? i + 1 : NOWHERE;
    }
    families->kept_max = max;
    families->bucket_mask = buckets - 1;
    families->oldest = NOWHERE;
    families->newest = NOWHERE;
    return PAWL_OK;
}

void pawl_families_kept_deinit(struct pawl_families *families)
{
    for (uint32_t i = 0; families->kept != NULL && i < families->kept_max; i++) {
        if (families->kept[i].bytes != NULL) {
            (void)pawl_families_take(families, families->kept[i].bytes, 0);
        }
    }
    if (families->kept != NULL) {
        (void)pawl_families_take(families, families->kept, 0);
    }
    if (families->buckets != NULL) {
        (void)pawl_families_take(families, families->buckets, 0);
    }
    families->kept = NULL;
    families->buckets = NULL;
    families->kept_max = 0;
}

/* ---- places -------------------------------------------------------------------------------- */

static uint32_t *bucket_of(struct pawl_families *families, struct pawl_id key)
{
    return &families->buckets[(key.lo ^ key.hi >> 32) & families->bucket_mask]; /* keyed hashes */
}

static uint32_t find(struct pawl_families *families, struct pawl_id key)
{
    uint32_t at = *bucket_of(families, key);

    while (at != NOWHERE && !pawl_id_equal(families->kept[at].key, key)) {
        at = families->kept[at].chain;
    }
    return at;
}

static void list_out(struct pawl_families *families, uint32_t at)
{
    struct pawl_family_kept *kept = &families->kept[at];

    *(kept->older == NOWHERE ? &families->oldest : &families->kept[kept->older].newer) =
        kept->newer;
    *(kept->newer == NOWHERE ? &families->newest : &families->kept[kept->newer].older) =
        kept->older;
}

static void list_in(struct pawl_families *families, uint32_t at)
{
    struct pawl_family_kept *kept = &families->kept[at];

    kept->older = families->newest;
    kept->newer = NOWHERE;
    *(families->newest == NOWHERE ? &families->oldest : &families->kept[families->newest].newer) =
        at;
    families->newest = at;
}

static void forget(struct pawl_families *families, uint32_t at)
{
    struct pawl_family_kept *kept = &families->kept[at];
    uint32_t *link = bucket_of(families, kept->key);

    while (*link != at) {
        link = &families->kept[*link].chain;
    }
    *link = kept->chain;
    list_out(families, at);
    (void)pawl_families_take(families, kept->bytes, 0);
    memset(kept, 0, sizeof(*kept));
    kept->newer = families->kept_free;
    families->kept_free = at;
    families->stats.kept--;
}

/* A place for @key at the end of the list; the oldest makes room. NOWHERE: all are being joined. */
static uint32_t place_for(struct pawl_families *families, struct pawl_id key)
{
    uint32_t at = find(families, key);

    if (at != NOWHERE) {
        list_out(families, at);
        list_in(families, at);
        return at;
    }
    if (families->kept_free == NOWHERE) {
        uint32_t old = families->oldest;

        while (old != NOWHERE && families->kept[old].merging) {
            old = families->kept[old].newer;
        }
        if (old == NOWHERE) {
            return NOWHERE;
        }
        forget(families, old);
        families->stats.kept_cut++;
    }
    at = families->kept_free;
    families->kept_free = families->kept[at].newer;
    families->kept[at].key = key;
    families->kept[at].chain = *bucket_of(families, key);
    *bucket_of(families, key) = at;
    list_in(families, at);
    families->stats.kept++;
    return at;
}

void pawl_families_keep(struct pawl_families *families, const struct pawl_family_slot *slot,
                        uint64_t now_ms)
{
    size_t size = slot->size - PAWL_SEAL_BYTES;
    uint8_t *bytes = pawl_families_take(families, NULL, size);
    uint32_t at = bytes == NULL ? NOWHERE : place_for(families, slot->call->key);

    if (at == NOWHERE) {
        families->stats.kept_cut++;
        if (bytes != NULL) {
            (void)pawl_families_take(families, bytes, 0);
        }
        return;
    }
    struct pawl_family_kept *kept = &families->kept[at];

    if (kept->bytes != NULL) {
        (void)pawl_families_take(families, kept->bytes, 0);
    }
    memcpy(bytes, slot->value, size);
    kept->bytes = bytes;
    kept->size = (uint32_t)size;
    kept->version = slot->next;
    kept->until_s = slot->until_s;
    kept->at_ms = now_ms;
    /* Read in an epoch that has ended meanwhile: it has to be joined in this one. */
    kept->round =
        pawl_epoch_equal(slot->epoch, families->epoch) ? families->round : families->round - 1;
    if (kept->round != families->round) {
        families->is_merged = false;
        families->merge_next = 0;
    }
}

void pawl_families_forget_old(struct pawl_families *families, uint64_t now_ms)
{
    while (families->oldest != NOWHERE) {
        const struct pawl_family_kept *kept = &families->kept[families->oldest];

        if (kept->merging || now_ms - kept->at_ms < PAWL_FAMILIES_KEEP_MS) {
            return;
        }
        forget(families, families->oldest);
    }
}

/* ---- joining ------------------------------------------------------------------------------- */

void pawl_families_merge_again(struct pawl_families *families)
{
    families->round++;
    families->merge_next = 0;
    families->is_merged = false;
}

void pawl_families_merge_more(struct pawl_families *families)
{
    unsigned place = PAWL_FAMILIES_CALLS_MAX;

    while (families->up && families->merges < PAWL_FAMILIES_MERGES &&
           families->merge_next < families->kept_max) {
        struct pawl_family_kept *kept = &families->kept[families->merge_next];

        if (kept->bytes != NULL && !kept->merging && kept->round != families->round) {
            while (families->slots[place].step != PAWL_FAMILY_STEP_FREE) {
                place++;
            }
            kept->merging = true;
            families->slots[place].kept = families->merge_next;
            families->merges++;
            pawl_family_slot_get(families, &families->slots[place]);
        }
        families->merge_next++;
    }
    families->is_merged =
        families->up && families->merges == 0 && families->merge_next >= families->kept_max;
}

/* @done: it is in. Else it comes again, from the beginning of the walk. */
static void merge_end(struct pawl_families *families, struct pawl_family_slot *slot, bool done)
{
    struct pawl_family_kept *kept = &families->kept[slot->kept];
    bool same = pawl_epoch_equal(slot->epoch, families->epoch);

    kept->merging = false;
    if (done && same) {
        kept->round = families->round;
        families->stats.merged++;
    } else {
        families->merge_next = 0;
    }
    pawl_family_slot_free(families, slot);
    families->merges--;
    if (done) { /* what could not be done is tried again at the next tick, not at once */
        pawl_families_merge_more(families);
    }
}

static bool merge_forks(const struct pawl_families *families, bool was_active)
{
    return was_active && families->fresh.state == PAWL_FAMILY_REVOKED &&
           families->fresh.reason == PAWL_REASON_FORK;
}

/* Join ours with what is there; true: there is nothing to write. */
static bool merge_step(struct pawl_families *families, struct pawl_family_slot *slot,
                       const struct pawl_engine_reply *reply, bool *failed)
{
    const struct pawl_family_kept *kept = &families->kept[slot->kept];
    struct pawl_family *fresh = &families->fresh;
    enum pawl_status there = pawl_family_reply_read(families, kept->key, reply);
    uint64_t next = kept->version;

    if (pawl_family_decode(fresh, pawl_bytes_of(kept->bytes, kept->size)) != PAWL_OK) {
        return true; /* cannot be: we encoded it */
    }
    bool active = fresh->state == PAWL_FAMILY_ACTIVE;

    if (there == PAWL_OK) {
        bool both = active && families->old.state == PAWL_FAMILY_ACTIVE;

        if (pawl_family_merge(fresh, &families->old, fresh) == PAWL_OK &&
            merge_forks(families, both)) {
            families->stats.forks++;
            if (families->options.on_fork != NULL) {
                families->options.on_fork(families->options.self, fresh);
            }
        }
    }
    slot->version = reply->family.version;
    slot->until_s = kept->until_s;
    next = next > slot->version ? next : slot->version;
    if (there != PAWL_OK) {
        next = kept->version > slot->version ? kept->version : slot->version + 1;
    }
    if (there == PAWL_OK) {
        uint8_t before[PAWL_FAMILY_BYTES_MAX], after[PAWL_FAMILY_BYTES_MAX];
        size_t before_size, after_size;

        if (pawl_family_encode(&families->old, before, sizeof(before), &before_size) == PAWL_OK &&
            pawl_family_encode(fresh, after, sizeof(after), &after_size) == PAWL_OK &&
            before_size == after_size && memcmp(before, after, after_size) == 0) {
            return true;
        }
        next++;
    }
    *failed = !pawl_family_slot_fill(families, slot, next);
    return false;
}

void pawl_families_merge_reply(struct pawl_families *families, struct pawl_family_slot *slot,
                               const struct pawl_engine_reply *reply)
{
    bool is_set = slot->step == PAWL_FAMILY_STEP_SETTING;
    bool known = reply->result == PAWL_ENGINE_WON || reply->result == PAWL_ENGINE_REFUSED;
    bool failed = false;

    if (is_set && reply->result == PAWL_ENGINE_WON) {
        families->stats.reasserted++;
        merge_end(families, slot, true);
    } else if (!known || (!is_set && reply->result != PAWL_ENGINE_WON)) {
        merge_end(families, slot, false);
    } else if (merge_step(families, slot, reply, &failed) || failed) {
        merge_end(families, slot, !failed);
    } else {
        slot->epoch = families->epoch;
        pawl_family_slot_set(families, slot, false);
    }
}
