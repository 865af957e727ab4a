#include "edge/observe.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mask.h"
#include "edge/server.h"

#define BUCKETS     64 /* of a sketch; a power of two */
#define WAYS        8  /* keys in a bucket */
#define KEYS        (BUCKETS * WAYS)
#define REMEMBER_MS UINT64_C(3600000) /* a key not denied for so long is no news */
#define OTHERS      (PAWL_OBSERVE_PLACES_MAX - 1)

_Static_assert(PAWL_OBSERVED_KEYS_MAX <= KEYS, "one worker's sketch fills a reader's list");

/** What is looked through for each denial: a bucket is three lines of the cache. */
struct tally {
    struct pawl_id id; /* zero: free */
    uint64_t denied;
    uint64_t last_ms;
};

struct denied_key {
    unsigned place;
    char ns[PAWL_LIMIT_NAME_MAX + 1];
    char key[PAWL_OBSERVED_TEXT_BYTES];
};

struct sketch {
    pthread_mutex_t mutex; /* the worker's, but for the moments in which somebody reads */
    struct tally tallies[KEYS];
    struct denied_key keys[KEYS];
};

struct worker {
    struct sketch sketch;
    struct pawl_figures figures[PAWL_OBSERVE_PLACES_MAX];
};

struct place {
    char name[PAWL_LIMIT_NAME_MAX + 1];
    char ns[PAWL_LIMIT_NAME_MAX + 1];
};

struct pawl_observe {
    struct pawl_subkey mask;
    const struct pawl_clock *clock;
    pthread_mutex_t places_mutex; /* for writers; what is below places_count never changes */
    _Atomic unsigned places_count;
    _Atomic(struct worker *) workers[PAWL_WORKERS_MAX];
    pthread_mutex_t events_mutex;
    uint64_t events_count; /* since the start: the newest lies before events_count % MAX */
    struct pawl_observed_event events[PAWL_OBSERVED_EVENTS_MAX];
    struct place places[PAWL_OBSERVE_PLACES_MAX];
};

/* ---- life ---------------------------------------------------------------------------------- */

struct pawl_observe *pawl_observe_create(const struct pawl_subkey *mask,
                                         const struct pawl_clock *clock)
{
    struct pawl_observe *observe = calloc(1, sizeof(*observe));

    if (observe == NULL) {
        return NULL;
    }
    observe->mask = *mask;
    observe->clock = clock;
    (void)pthread_mutex_init(&observe->places_mutex, NULL);
    (void)pthread_mutex_init(&observe->events_mutex, NULL);
    atomic_init(&observe->places_count, 1); /* PAWL_OBSERVE_INLINE: no name, no namespace */
    memcpy(observe->places[OTHERS].name, "(others)", sizeof("(others)"));
    return observe;
}

void pawl_observe_destroy(struct pawl_observe *observe)
{
    if (observe == NULL) {
        return;
    }
    for (unsigned i = 0; i < PAWL_WORKERS_MAX; i++) {
        struct worker *worker = atomic_load(&observe->workers[i]);

        if (worker != NULL) {
            (void)pthread_mutex_destroy(&worker->sketch.mutex);
            free(worker);
        }
    }
    (void)pthread_mutex_destroy(&observe->places_mutex);
    (void)pthread_mutex_destroy(&observe->events_mutex);
    pawl_wipe(&observe->mask, sizeof(observe->mask));
    free(observe);
}

/* ---- places and figures -------------------------------------------------------------------- */

static unsigned find_place(const struct pawl_observe *observe, unsigned count, const char *ns,
                           const char *name)
{
    for (unsigned i = 1; i < count; i++) {
        if (strcmp(observe->places[i].name, name) == 0 && strcmp(observe->places[i].ns, ns) == 0) {
            return i;
        }
    }
    return count;
}

unsigned pawl_observe_place(struct pawl_observe *observe, const char *ns, const char *name)
{
    (void)pthread_mutex_lock(&observe->places_mutex);
    unsigned count = atomic_load_explicit(&observe->places_count, memory_order_relaxed);
    unsigned place = find_place(observe, count, ns, name);

    if (place == count && count < OTHERS) {
        (void)snprintf(observe->places[place].name, sizeof(observe->places[place].name), "%s",
                       name);
        (void)snprintf(observe->places[place].ns, sizeof(observe->places[place].ns), "%s", ns);
        atomic_store_explicit(&observe->places_count, count + 1, memory_order_release);
    }
    (void)pthread_mutex_unlock(&observe->places_mutex);
    return place;
}

static struct worker *worker_at(const struct pawl_observe *observe, unsigned index)
{
    return atomic_load_explicit(&observe->workers[index], memory_order_acquire);
}

struct pawl_figures *pawl_observe_worker(struct pawl_observe *observe, unsigned index)
{
    struct worker *worker = worker_at(observe, index);

    if (worker == NULL) {
        worker = calloc(1, sizeof(*worker));
        if (worker == NULL) {
            return NULL;
        }
        (void)pthread_mutex_init(&worker->sketch.mutex, NULL);
        atomic_store_explicit(&observe->workers[index], worker, memory_order_release);
    }
    return worker->figures;
}

static uint64_t sum_of(const struct pawl_observe *observe, unsigned place, enum pawl_figure figure)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < PAWL_WORKERS_MAX; i++) {
        const struct worker *worker = worker_at(observe, i);

        if (worker != NULL) {
            sum +=
                atomic_load_explicit(&worker->figures[place].values[figure], memory_order_relaxed);
        }
    }
    return sum;
}

static void hand_limit(const struct pawl_observe *observe, unsigned place,
                       pawl_on_observed_limit on_limit, void *ctx)
{
    struct pawl_observed_limit limit = {
        .limit = observe->places[place].name,
        .ns = observe->places[place].ns,
        .allowed = sum_of(observe, place, PAWL_FIGURE_ALLOWED),
        .denied = sum_of(observe, place, PAWL_FIGURE_DENIED),
        .shadow_denied = sum_of(observe, place, PAWL_FIGURE_SHADOW_DENIED),
        .bypassed = sum_of(observe, place, PAWL_FIGURE_BYPASSED),
        .overflowed = sum_of(observe, place, PAWL_FIGURE_OVERFLOWED),
    };

    on_limit(ctx, &limit);
}

static void read_limits(void *self, pawl_on_observed_limit on_limit, void *ctx)
{
    const struct pawl_observe *observe = self;
    unsigned count = atomic_load_explicit(&observe->places_count, memory_order_acquire);

    for (unsigned i = 0; i < count; i++) {
        hand_limit(observe, i, on_limit, ctx);
    }
    if (count == OTHERS) {
        hand_limit(observe, OTHERS, on_limit, ctx);
    }
}

/* ---- denied keys: the worker's side -------------------------------------------------------- */

static unsigned bucket_of(struct pawl_id id)
{
    return (unsigned)(id.hi & (BUCKETS - 1)) * WAYS;
}

static bool is_over(const struct tally *tally, uint64_t now_ms)
{
    return now_ms > tally->last_ms && now_ms - tally->last_ms > REMEMBER_MS;
}

bool pawl_observe_denied_again(struct pawl_observe *observe, unsigned index, struct pawl_id id,
                               uint64_t now_ms)
{
    struct sketch *sketch = &worker_at(observe, index)->sketch;
    struct tally *bucket = &sketch->tallies[bucket_of(id)];
    bool found = false;

    (void)pthread_mutex_lock(&sketch->mutex);
    for (unsigned i = 0; i < WAYS && !found; i++) {
        if (pawl_id_equal(bucket[i].id, id)) {
            bucket[i].denied = is_over(&bucket[i], now_ms) ? 1 : bucket[i].denied + 1;
            bucket[i].last_ms = now_ms;
            found = true;
        }
    }
    (void)pthread_mutex_unlock(&sketch->mutex);
    return found;
}

/* Who gives way: a free place, then one that is no news, then the one denied least. */
static unsigned victim_of(const struct tally *bucket, uint64_t now_ms)
{
    unsigned victim = 0;
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < WAYS; i++) {
        uint64_t denied = is_over(&bucket[i], now_ms) ? 0 : bucket[i].denied;

        if (denied < least) {
            least = denied;
            victim = i;
        }
    }
    return victim;
}

static void copy_name(char out[PAWL_LIMIT_NAME_MAX + 1], struct pawl_bytes name)
{
    size_t size = name.size < PAWL_LIMIT_NAME_MAX ? name.size : PAWL_LIMIT_NAME_MAX;

    if (size > 0) {
        memcpy(out, name.data, size);
    }
    out[size] = '\0';
}

void pawl_observe_denied(struct pawl_observe *observe, unsigned index,
                         const struct pawl_denial *denial)
{
    struct sketch *sketch = &worker_at(observe, index)->sketch;
    unsigned begin = bucket_of(denial->id);
    struct denied_key key = { .place = denial->place };

    copy_name(key.ns, denial->ns);
    (void)pawl_mask_parts(&observe->mask, denial->parts, denial->parts_count, key.key,
                          sizeof(key.key));
    (void)pthread_mutex_lock(&sketch->mutex);
    unsigned at = begin + victim_of(&sketch->tallies[begin], denial->now_ms);
    struct tally *tally = &sketch->tallies[at];

    /* It may have been denied as often as the one that gave way, and been forgotten meanwhile. */
    tally->denied = is_over(tally, denial->now_ms) ? 1 : tally->denied + 1;
    tally->id = denial->id;
    tally->last_ms = denial->now_ms;
    sketch->keys[at] = key;
    (void)pthread_mutex_unlock(&sketch->mutex);
}

/* ---- denied keys: the reader's side -------------------------------------------------------- */

/** A key as one worker has it, or several together. */
struct candidate {
    struct tally tally;
    uint64_t workers; /* bit set: which have it */
    unsigned worker;  /* one that has its text ... */
    unsigned at;      /* ... here */
};

struct gathering {
    struct candidate *candidates;
    size_t count;
    uint64_t now_ms;
    /* Of each full bucket the fewest denials: a key that is not in it may have had so many. */
    uint64_t (*missed)[BUCKETS];
};

_Static_assert(PAWL_WORKERS_MAX <= 64, "a bit for each worker");

static void gather(struct gathering *all, unsigned index, struct worker *worker)
{
    struct sketch *sketch = &worker->sketch;

    (void)pthread_mutex_lock(&sketch->mutex);
    for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
        uint64_t least = UINT64_MAX;

        for (unsigned at = bucket * WAYS; at < (bucket + 1) * WAYS; at++) {
            const struct tally *tally = &sketch->tallies[at];

            uint64_t denied = is_over(tally, all->now_ms) ? 0 : tally->denied;

            least = denied < least ? denied : least;
            if (denied > 0) {
                all->candidates[all->count++] =
                    (struct candidate){ *tally, UINT64_C(1) << index, index, at };
            }
        }
        all->missed[index][bucket] = least;
    }
    (void)pthread_mutex_unlock(&sketch->mutex);
}

static int by_id(const void *a, const void *b)
{
    const struct pawl_id *left = &((const struct candidate *)a)->tally.id;
    const struct pawl_id *right = &((const struct candidate *)b)->tally.id;

    if (left->hi != right->hi) {
        return left->hi < right->hi ? -1 : 1;
    }
    return left->lo == right->lo ? 0 : left->lo < right->lo ? -1 : 1;
}

static int by_denied(const void *a, const void *b)
{
    const struct candidate *left = a;
    const struct candidate *right = b;

    if (left->tally.denied != right->tally.denied) {
        return left->tally.denied > right->tally.denied ? -1 : 1;
    }
    return by_id(a, b);
}

/* One candidate for each key, with what workers that do not have it may have forgotten. */
static void join(struct gathering *all)
{
    size_t kept = 0;

    qsort(all->candidates, all->count, sizeof(*all->candidates), by_id);
    for (size_t i = 0; i < all->count; i++) {
        const struct candidate *from = &all->candidates[i];
        struct candidate *last = kept > 0 ? &all->candidates[kept - 1] : NULL;

        if (last == NULL || !pawl_id_equal(last->tally.id, from->tally.id)) {
            all->candidates[kept++] = *from;
            continue;
        }
        last->tally.denied += from->tally.denied;
        last->workers |= from->workers;
        if (from->tally.last_ms > last->tally.last_ms) {
            last->tally.last_ms = from->tally.last_ms;
        }
    }
    all->count = kept;
    for (size_t i = 0; i < kept; i++) {
        struct candidate *key = &all->candidates[i];

        for (unsigned w = 0; w < PAWL_WORKERS_MAX; w++) {
            if ((key->workers & UINT64_C(1) << w) == 0) {
                key->tally.denied += all->missed[w][bucket_of(key->tally.id) / WAYS];
            }
        }
    }
}

/* The text of a candidate, unless it has given way to another key since. */
static bool is_of(const char *own, struct pawl_bytes ns)
{
    return ns.data == NULL || (strlen(own) == ns.size && memcmp(own, ns.data, ns.size) == 0);
}

static bool take_text(const struct pawl_observe *observe, const struct candidate *from,
                      struct pawl_bytes ns, struct pawl_observed_key *out)
{
    struct sketch *sketch = &worker_at(observe, from->worker)->sketch;
    struct denied_key key;

    (void)pthread_mutex_lock(&sketch->mutex);
    bool same = pawl_id_equal(sketch->tallies[from->at].id, from->tally.id);

    key = sketch->keys[from->at];
    (void)pthread_mutex_unlock(&sketch->mutex);
    same = same && is_of(key.ns, ns);
    if (same) {
        memcpy(out->limit, observe->places[key.place].name, sizeof(out->limit));
        memcpy(out->ns, key.ns, sizeof(out->ns));
        memcpy(out->key, key.key, sizeof(out->key));
        out->denied = from->tally.denied;
        out->last_ms = from->tally.last_ms;
    }
    return same;
}

size_t pawl_observe_keys_of(struct pawl_observe *observe, struct pawl_bytes ns,
                            struct pawl_observed_key *out, size_t max)
{
    struct gathering all = { .now_ms = pawl_clock_read(observe->clock).stamp.us / 1000 };
    size_t workers = 0, count = 0;

    for (unsigned i = 0; i < PAWL_WORKERS_MAX; i++) {
        workers += worker_at(observe, i) != NULL ? 1 : 0;
    }
    max = max < PAWL_OBSERVED_KEYS_MAX ? max : PAWL_OBSERVED_KEYS_MAX;
    all.candidates = calloc(workers * (size_t)KEYS + 1, sizeof(*all.candidates));
    all.missed = calloc(PAWL_WORKERS_MAX, sizeof(*all.missed));
    if (all.candidates == NULL || all.missed == NULL) {
        goto out;
    }
    for (unsigned i = 0; i < PAWL_WORKERS_MAX && workers > 0; i++) {
        struct worker *worker = worker_at(observe, i);

        if (worker != NULL) {
            gather(&all, i, worker);
            workers--; /* one that came meanwhile finds no room */
        }
    }
    join(&all);
    qsort(all.candidates, all.count, sizeof(*all.candidates), by_denied);
    for (size_t i = 0; i < all.count && count < max; i++) {
        count += take_text(observe, &all.candidates[i], ns, &out[count]) ? 1 : 0;
    }
out:
    free(all.candidates);
    free(all.missed);
    return count;
}

static size_t read_keys(void *self, struct pawl_observed_key *out, size_t max)
{
    return pawl_observe_keys_of(self, pawl_bytes_of(NULL, 0), out, max);
}

/* ---- revocations --------------------------------------------------------------------------- */

static void mask_value(const struct pawl_observe *observe, const struct pawl_fact *fact,
                       char out[PAWL_OBSERVED_TEXT_BYTES])
{
    char hex[2 * PAWL_SHA256_BYTES + 1];
    struct pawl_bytes value = fact->value;

    if ((fact->scope == PAWL_SCOPE_SIGNED || fact->scope == PAWL_SCOPE_OPAQUE) &&
        value.size == PAWL_SHA256_BYTES) {
        for (unsigned i = 0; i < PAWL_SHA256_BYTES; i++) {
            (void)snprintf(hex + (size_t)2 * i, 3, "%02x", value.data[i]);
        }
        value = pawl_bytes_of(hex, sizeof(hex) - 1);
    }
    (void)pawl_mask(&observe->mask, value, out);
}

_Static_assert(PAWL_OBSERVED_TEXT_BYTES >= 2 * PAWL_MASK_BYTES, "see pawl_mask_parts");

void pawl_observe_revoked(struct pawl_observe *observe, const struct pawl_fact *fact,
                          uint64_t now_ms)
{
    struct pawl_observed_event event = {
        .scope = fact->scope,
        .reason = fact->reason,
        .at_ms = now_ms,
    };

    copy_name(event.ns, fact->ns);
    mask_value(observe, fact, event.value);
    (void)pthread_mutex_lock(&observe->events_mutex);
    observe->events[observe->events_count % PAWL_OBSERVED_EVENTS_MAX] = event;
    observe->events_count++;
    (void)pthread_mutex_unlock(&observe->events_mutex);
}

size_t pawl_observe_events_of(struct pawl_observe *observe, struct pawl_bytes ns,
                              struct pawl_observed_event *out, size_t max)
{
    size_t count = 0;

    (void)pthread_mutex_lock(&observe->events_mutex);
    uint64_t kept = observe->events_count < PAWL_OBSERVED_EVENTS_MAX ? observe->events_count
                                                                     : PAWL_OBSERVED_EVENTS_MAX;

    for (uint64_t i = 1; i <= kept && count < max; i++) {
        const struct pawl_observed_event *event =
            &observe->events[(observe->events_count - i) % PAWL_OBSERVED_EVENTS_MAX];

        if (is_of(event->ns, ns)) {
            out[count++] = *event;
        }
    }
    (void)pthread_mutex_unlock(&observe->events_mutex);
    return count;
}

static size_t read_events(void *self, struct pawl_observed_event *out, size_t max)
{
    return pawl_observe_events_of(self, pawl_bytes_of(NULL, 0), out, max);
}

struct pawl_observed pawl_observe_reader(struct pawl_observe *observe)
{
    return (struct pawl_observed){ read_limits, read_keys, read_events, observe };
}
