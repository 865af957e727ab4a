/*
 * Digests: whether two nodes hold the same facts, without sending them.
 *
 * Sums over all facts are kept up to date. What is announced leaves out the youngest facts, which
 * are still on their way to others: each minute of the engine's clock, the facts that were taken
 * before the minute before it.
 */
#include "core/cluster/log_inside.h"
#include "core/octets.h"

#include <string.h>

#define BUCKET_S     UINT64_C(65536) /* of expiry; 64 of them are 48 days */
#define MINUTE_MS    UINT64_C(60000)
#define HASH_BYTES   3
#define HEAD_BYTES   5 /* version, minute */
#define BLOB_BYTES   (HEAD_BYTES + PAWL_LOG_BUCKETS * HASH_BYTES)
#define VERSION      1
#define RECENT_UNITS 30u /* of 8 s: facts that may be left out again arrived since */
#define SKIP_BEHIND  16u /* buckets: how far slow clocks may lie apart */
#define SKIP_AHEAD   1u
#define STRIKES      3u
#define REREAD_MS    600000

_Static_assert(BLOB_BYTES <= PAWL_LOG_DIGEST_BYTES, "it fits");

static unsigned bucket_of(uint64_t until_s)
{
    return (unsigned)(until_s / BUCKET_S % PAWL_LOG_BUCKETS);
}

static void add(struct pawl_log_bucket *buckets, const struct pawl_log_inside *in,
                const struct pawl_log_fact *fact, int sign)
{
    struct pawl_fact_id id = pawl_log_fact_id(fact);
    struct pawl_log_bucket *bucket = &buckets[bucket_of(pawl_log_fact_until(fact))];

    bucket->count += sign > 0 ? 1u : UINT64_MAX;
    bucket->sum ^= pawl_log_hash(in, &id);
}

void pawl_log_bucket_add(struct pawl_log_inside *in, const struct pawl_log_fact *fact, int sign)
{
    add(in->facts.buckets, in, fact, sign);
}

/* ---- writing -------------------------------------------------------------------------------- */

static void snapshot(struct pawl_log_inside *in, uint32_t minute, uint64_t now_ms)
{
    struct pawl_log_bucket buckets[PAWL_LOG_BUCKETS];
    struct pawl_log_snapshot *out = &in->snapshots[0];
    uint64_t cut_ms = (minute - 1) * MINUTE_MS;
    uint16_t now = (uint16_t)(now_ms >> 13);

    in->snapshots[1] = *out;
    memcpy(buckets, in->facts.buckets, sizeof(buckets));
    for (uint32_t at = in->facts.newest; at != 0;) {
        const struct pawl_log_fact *fact = pawl_log_fact_at(&in->facts, at);

        if ((uint16_t)(now - fact->arrived) > RECENT_UNITS) {
            break;
        }
        if (pawl_log_fact_taken_ms(fact) >= cut_ms) {
            add(buckets, in, fact, -1);
        }
        at = fact->prev;
    }
    out->minute = minute;
    out->size = BLOB_BYTES;
    out->blob[0] = VERSION;
    pawl_put_le(out->blob + 1, minute, 4);
    for (unsigned i = 0; i < PAWL_LOG_BUCKETS; i++) {
        uint8_t both[16];

        pawl_put_le(both, buckets[i].count, 8);
        pawl_put_le(both + 8, buckets[i].sum, 8);
        pawl_put_le(out->blob + HEAD_BYTES + (size_t)i * HASH_BYTES,
                    pawl_keyhash64(&in->same, both, sizeof(both)), HASH_BYTES);
    }
}

size_t pawl_log_digest(struct pawl_facts_log *log, uint8_t *out, uint64_t now_ms)
{
    struct pawl_log_inside *in = log->inside;

    if (in->engine_ms < 2 * MINUTE_MS || !pawl_log_synced_here(in)) {
        return 0;
    }
    uint32_t minute = (uint32_t)((in->engine_ms + (now_ms - in->engine_at_ms)) / MINUTE_MS);

    if (minute != in->snapshots[0].minute) {
        snapshot(in, minute, now_ms);
    }
    memcpy(out, in->snapshots[0].blob, in->snapshots[0].size);
    return in->snapshots[0].size;
}

/* ---- comparing ------------------------------------------------------------------------------ */

static bool is_skipped(const struct pawl_log_inside *in, unsigned bucket)
{
    unsigned now = bucket_of(in->slow_s);
    unsigned ahead = (bucket + PAWL_LOG_BUCKETS - now) % PAWL_LOG_BUCKETS;

    return ahead <= SKIP_AHEAD || ahead >= PAWL_LOG_BUCKETS - SKIP_BEHIND;
}

static bool same(const struct pawl_log_inside *in, const uint8_t *a, const uint8_t *b)
{
    for (unsigned i = 0; i < PAWL_LOG_BUCKETS; i++) {
        size_t at = HEAD_BYTES + (size_t)i * HASH_BYTES;

        if (!is_skipped(in, i) && memcmp(a + at, b + at, HASH_BYTES) != 0) {
            return false;
        }
    }
    return true;
}

/* Read everything again, from the first position of each stream. */
static void read_all(struct pawl_log_inside *in, uint64_t now_ms)
{
    if (in->reread_ms != 0 && now_ms - in->reread_ms < REREAD_MS) {
        return;
    }
    in->reread_ms = now_ms;
    in->log->stats.rereads++;
    for (uint32_t i = 0; i < in->origins_end; i++) {
        struct pawl_log_origin *origin = in->origins[i];

        if (origin != NULL) {
            origin->cursor = origin->first > 0 ? origin->first - 1 : origin->top;
        }
    }
}

bool pawl_log_compare(struct pawl_facts_log *log, const struct pawl_member_id *member,
                      struct pawl_bytes digest, uint64_t now_ms)
{
    struct pawl_log_inside *in = log->inside;
    struct pawl_origin id;

    memcpy(id.bytes, member->bytes, sizeof(id.bytes));
    struct pawl_log_origin *origin = pawl_log_origin_find(in, &id);

    if (origin == NULL || digest.size != BLOB_BYTES || digest.data[0] != VERSION) {
        return true;
    }
    uint32_t minute = (uint32_t)pawl_get_le(digest.data + 1, 4);

    for (unsigned i = 0; i < 2; i++) {
        const struct pawl_log_snapshot *own = &in->snapshots[i];

        if (own->minute != minute || own->size == 0 || minute == origin->strike_minute) {
            continue;
        }
        if (same(in, own->blob, digest.data)) {
            origin->strikes = 0;
            return true;
        }
        origin->strike_minute = minute;
        log->stats.digest_mismatches++;
        if (++origin->strikes >= STRIKES) {
            origin->strikes = 0;
            read_all(in, now_ms);
        }
        return false;
    }
    return true;
}
