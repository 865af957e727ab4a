/* The revocation table: joins, growth, fullness, and readers that never miss a known key. */
#include "token_rig.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/revocations.h"

#define LATER (RIG_NOW_S + 100000)

struct rig {
    struct pawl_revocations table;
    uint8_t *region;
    uint64_t size;
    int file;
    bool refuse_release;
};

static bool rig_release(void *user, uint64_t offset, uint64_t size)
{
    struct rig *rig = user;

    return !rig->refuse_release && fallocate(rig->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                             (off_t)offset, (off_t)size) == 0;
}

static void rig_open(struct rig *rig, uint64_t max, bool release)
{
    struct pawl_revocations_options options = {
        .max = max, .generation = 77, .release = release ? rig_release : NULL, .user = rig
    };

    memset(rig, 0, sizeof(*rig));
    rig->size = pawl_revocations_size(max);
    rig->file = memfd_create("revocations", MFD_CLOEXEC);
    assert_true(rig->file >= 0);
    assert_int_equal(ftruncate(rig->file, (off_t)rig->size), 0);
    rig->region = mmap(NULL, rig->size, PROT_READ | PROT_WRITE, MAP_SHARED, rig->file, 0);
    assert_true(rig->region != MAP_FAILED);
    assert_int_equal(pawl_revocations_init(&rig->table, rig->region, rig->size, &options), PAWL_OK);
}

static void rig_close(struct rig *rig)
{
    pawl_revocations_deinit(&rig->table);
    (void)munmap(rig->region, rig->size);
    (void)close(rig->file);
}

static struct pawl_id id_of(uint64_t number)
{
    uint64_t state = number * 2 + 1;
    struct pawl_id id;

    id.lo = rig_random(&state);
    id.hi = rig_random(&state);
    return id;
}

static enum pawl_status set_token(struct rig *rig, uint64_t number, uint64_t until_s,
                                  uint64_t now_s)
{
    struct pawl_revocation entry = { PAWL_REASON_LOGOUT, until_s, 0 };

    return pawl_revocations_set(&rig->table, PAWL_SCOPE_TOKEN, id_of(number), &entry, now_s);
}

static enum pawl_status set_cutoff(struct rig *rig, enum pawl_reason reason, uint64_t cutoff_ms,
                                   uint64_t until_s)
{
    struct pawl_revocation entry = { reason, until_s, cutoff_ms };

    return pawl_revocations_set(&rig->table, PAWL_SCOPE_SUBJECT, id_of(1), &entry, 0);
}

static struct pawl_revocation look(struct rig *rig, uint64_t number)
{
    struct pawl_revocation entry;

    (void)pawl_revocations_lookup(&rig->table.view, id_of(number), &entry);
    return entry;
}

static void a_key_is_known_with_what_was_said_and_others_are_not(void **state)
{
    struct pawl_revocation entry;
    struct rig rig;

    (void)state;
    rig_open(&rig, 1000, true);
    assert_int_equal(set_token(&rig, 1, LATER, 0), PAWL_OK);
    assert_true(pawl_revocations_lookup(&rig.table.view, id_of(1), &entry));
    assert_int_equal(entry.until_s, LATER);
    assert_int_equal(entry.reason, PAWL_REASON_LOGOUT);
    assert_int_equal(entry.cutoff_ms, 0);
    assert_false(pawl_revocations_lookup(&rig.table.view, id_of(2), &entry));
    assert_int_equal(entry.until_s, 0);
    assert_true(pawl_revocations_has_scope(&rig.table.view, PAWL_SCOPE_TOKEN));
    assert_false(pawl_revocations_has_scope(&rig.table.view, PAWL_SCOPE_SUBJECT));
    rig_close(&rig);
}

static void an_id_with_zero_words_is_a_key_like_any_other(void **state)
{
    struct pawl_id zero = { 0, 0 };
    struct pawl_revocation entry = { PAWL_REASON_ADMIN, LATER, 0 };
    struct rig rig;

    (void)state;
    rig_open(&rig, 60000, true);
    assert_int_equal(pawl_revocations_probe(&rig.table.view, zero), 0);
    assert_int_equal(pawl_revocations_set(&rig.table, PAWL_SCOPE_TOKEN, zero, &entry, 0), PAWL_OK);
    for (uint64_t i = 0; i < 59999; i++) { /* its area is built anew more than once */
        assert_int_equal(set_token(&rig, i, LATER, 0), PAWL_OK);
    }
    assert_int_not_equal(pawl_revocations_probe(&rig.table.view, zero), 0);
    rig_close(&rig);
}

static void setting_again_joins_the_later_until_and_the_first_reason(void **state)
{
    struct pawl_revocation again = { PAWL_REASON_ADMIN, LATER + 50, 0 };
    struct rig rig;

    (void)state;
    rig_open(&rig, 1000, true);
    assert_int_equal(set_token(&rig, 1, LATER, 0), PAWL_OK);
    assert_int_equal(set_token(&rig, 1, LATER - 50, 0), PAWL_OK);
    assert_int_equal(look(&rig, 1).until_s, LATER);
    assert_int_equal(pawl_revocations_set(&rig.table, PAWL_SCOPE_TOKEN, id_of(1), &again, 0),
                     PAWL_OK);
    assert_int_equal(look(&rig, 1).until_s, LATER + 50);
    assert_int_equal(look(&rig, 1).reason, PAWL_REASON_LOGOUT);
    assert_int_equal(atomic_load(&rig.table.header->entries), 1);
    rig_close(&rig);
}

static void a_later_cutoff_wins_and_a_smaller_one_never_lowers_it(void **state)
{
    const uint64_t ms = RIG_NOW_S * 1000;
    struct rig rig;

    (void)state;
    rig_open(&rig, 1000, true);
    assert_int_equal(set_cutoff(&rig, PAWL_REASON_LOGOUT_ALL, ms + 1, LATER), PAWL_OK);
    assert_int_equal(look(&rig, 1).cutoff_ms, ms + 1);
    assert_int_equal(set_cutoff(&rig, PAWL_REASON_ADMIN, ms, LATER + 864000), PAWL_OK);
    assert_int_equal(look(&rig, 1).cutoff_ms, ms + 1);
    assert_int_equal(look(&rig, 1).reason, PAWL_REASON_LOGOUT_ALL);
    assert_true(look(&rig, 1).until_s >= LATER + 864000);
    assert_int_equal(set_cutoff(&rig, PAWL_REASON_PASSWORD_CHANGE, ms + 2, LATER), PAWL_OK);
    assert_int_equal(look(&rig, 1).cutoff_ms, ms + 2);
    assert_int_equal(look(&rig, 1).reason, PAWL_REASON_PASSWORD_CHANGE);
    assert_true(look(&rig, 1).until_s >= LATER + 864000);
    assert_int_equal(pawl_revocations_newborn_ms(&rig.table.view), ms + 3);
    assert_int_equal(pawl_revocations_birth_max_ms(&rig.table.view), 0);
    pawl_revocations_born(&rig.table, ms + 3);
    pawl_revocations_born(&rig.table, ms + 1);
    assert_int_equal(pawl_revocations_birth_max_ms(&rig.table.view), ms + 3);
    rig_close(&rig);
}

static void until_of_a_cutoff_is_never_rounded_down(void **state)
{
    uint64_t seed = rig_seed();
    uint64_t random = seed;
    struct rig rig;

    (void)state;
    rig_open(&rig, 2000, true);
    for (uint64_t i = 0; i < 2000; i++) {
        uint64_t wild_s =
            i % 100 == 0 ? UINT64_MAX - 1 - i : rig_random(&random) % (UINT64_C(4) << 30);
        struct pawl_revocation entry = { PAWL_REASON_ADMIN, wild_s + 1, 5 };
        uint64_t until_s;

        rig_check(seed, pawl_revocations_set(&rig.table, PAWL_SCOPE_CLIENT, id_of(i), &entry, 0) ==
                            PAWL_OK);
        until_s = look(&rig, i).until_s;
        rig_check(seed, until_s >= entry.until_s);
        rig_check(seed, entry.until_s < UINT64_C(1704067200) || until_s == UINT64_MAX ||
                            until_s - entry.until_s <= 345600);
    }
    rig_close(&rig);
}

static void what_makes_no_sense_is_refused(void **state)
{
    struct pawl_revocation token = { PAWL_REASON_LOGOUT, LATER, 5 };
    struct pawl_revocation cutoff = { PAWL_REASON_LOGOUT, LATER, 0 };
    struct pawl_revocation never = { PAWL_REASON_LOGOUT, 0, 0 };
    struct rig rig;

    (void)state;
    rig_open(&rig, 1000, true);
    assert_int_equal(pawl_revocations_set(&rig.table, PAWL_SCOPE_TOKEN, id_of(1), &token, 0),
                     PAWL_EINVAL);
    assert_int_equal(pawl_revocations_set(&rig.table, PAWL_SCOPE_KEY, id_of(1), &cutoff, 0),
                     PAWL_EINVAL);
    assert_int_equal(pawl_revocations_set(&rig.table, PAWL_SCOPE_TOKEN, id_of(1), &never, 0),
                     PAWL_EINVAL);
    assert_int_equal(pawl_revocations_set(&rig.table, PAWL_SCOPE_NONE, id_of(1), &cutoff, 0),
                     PAWL_EINVAL);
    assert_int_equal(atomic_load(&rig.table.header->entries), 0);
    rig_close(&rig);
}

static void a_cancelled_key_is_unknown_and_may_be_revoked_again(void **state)
{
    struct pawl_revocation rest = { PAWL_REASON_ADMIN, LATER - 1000, 0 };
    struct rig rig;

    (void)state;
    rig_open(&rig, 1000, true);
    assert_int_equal(set_token(&rig, 1, LATER, 0), PAWL_OK);
    assert_int_equal(set_token(&rig, 2, LATER, 0), PAWL_OK);
    assert_true(pawl_revocations_clear(&rig.table, id_of(1), NULL));
    assert_false(pawl_revocations_clear(&rig.table, id_of(1), NULL));
    assert_false(pawl_revocations_clear(&rig.table, id_of(3), NULL));
    assert_int_equal(pawl_revocations_probe(&rig.table.view, id_of(1)), 0);
    assert_int_equal(look(&rig, 2).until_s, LATER);
    assert_int_equal(atomic_load(&rig.table.header->entries), 1);
    assert_true(pawl_revocations_clear(&rig.table, id_of(2), &rest)); /* another fact remains */
    assert_int_equal(look(&rig, 2).until_s, LATER - 1000);
    assert_int_equal(look(&rig, 2).reason, PAWL_REASON_ADMIN);
    assert_int_equal(set_token(&rig, 1, LATER + 9, 0), PAWL_OK);
    assert_int_equal(look(&rig, 1).until_s, LATER + 9);
    assert_int_equal(atomic_load(&rig.table.header->entries), 2);
    rig_close(&rig);
}

static void facts_are_applied_by_what_they_are(void **state)
{
    struct pawl_token_keys keys = rig_keys();
    struct pawl_fact fact = {
        .kind = PAWL_FACT_REVOCATION,
        .scope = PAWL_SCOPE_KEY,
        .reason = PAWL_REASON_KEY_COMPROMISED,
        .ns = text("default"),
        .value = text("kid-1"),
        .until_s = LATER,
    };
    struct pawl_revocation entry;
    struct rig rig;

    (void)state;
    rig_open(&rig, 1000, true);
    assert_int_equal(pawl_revocations_apply(&rig.table, &keys.facts, &fact, 0), PAWL_OK);
    assert_true(
        pawl_revocations_lookup(&rig.table.view, pawl_fact_scope_id(&keys.facts, &fact), &entry));
    assert_int_equal(entry.cutoff_ms, PAWL_CUTOFF_ALL_MS); /* whatever the token's age */
    assert_int_equal(pawl_revocations_newborn_ms(&rig.table.view), 0);
    fact.kind = PAWL_FACT_CUTOFF;
    fact.value = text("kid-2");
    fact.cutoff_ms = 12345;
    assert_int_equal(pawl_revocations_apply(&rig.table, &keys.facts, &fact, 0), PAWL_OK);
    assert_true(
        pawl_revocations_lookup(&rig.table.view, pawl_fact_scope_id(&keys.facts, &fact), &entry));
    assert_int_equal(entry.cutoff_ms, 12345);
    fact.kind = PAWL_FACT_CANCEL;
    assert_int_equal(pawl_revocations_apply(&rig.table, &keys.facts, &fact, 0), PAWL_EINVAL);
    rig_close(&rig);
}

static void a_full_table_refuses_and_forgets_nothing(void **state)
{
    struct pawl_revocations_stats stats;
    struct rig rig;

    (void)state;
    rig_open(&rig, 500, true);
    for (uint64_t i = 0; i < 500; i++) {
        assert_int_equal(set_token(&rig, i, LATER, RIG_NOW_S), PAWL_OK);
    }
    for (uint64_t i = 500; i < 600; i++) {
        assert_int_equal(set_token(&rig, i, LATER, RIG_NOW_S), PAWL_EFULL);
    }
    assert_int_equal(set_token(&rig, 7, LATER + 1, RIG_NOW_S), PAWL_OK); /* known: no new entry */
    for (uint64_t i = 0; i < 500; i++) {
        assert_int_not_equal(pawl_revocations_probe(&rig.table.view, id_of(i)), 0);
    }
    assert_true(pawl_revocations_clear(&rig.table, id_of(3), NULL));
    assert_int_equal(set_token(&rig, 501, LATER, RIG_NOW_S), PAWL_OK);
    pawl_revocations_get_stats(&rig.table, &stats);
    assert_int_equal(stats.entries, 500);
    assert_int_equal(stats.refused, 100);
    assert_int_equal(atomic_load(&rig.table.header->entries), 500);
    rig_close(&rig);
}

static void the_biggest_declared_size_has_room_in_every_shard(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig, 100000, true);
    for (uint64_t i = 0; i < 100000; i++) {
        assert_int_equal(set_token(&rig, i, LATER, 0), PAWL_OK);
    }
    assert_int_equal(set_token(&rig, 100000, LATER, 0), PAWL_EFULL);
    rig_close(&rig);
}

static void expired_entries_make_room_when_the_table_is_full(void **state)
{
    struct rig rig;
    unsigned taken = 0;

    (void)state;
    rig_open(&rig, 500, true);
    for (uint64_t i = 0; i < 500; i++) {
        assert_int_equal(set_token(&rig, i, RIG_NOW_S - 1, 0), PAWL_OK);
    }
    assert_int_equal(set_token(&rig, 500, LATER, 0), PAWL_EFULL); /* no clock, no dropping */
    for (uint64_t i = 500; i < 600; i++) {
        taken += set_token(&rig, i, LATER, RIG_NOW_S) == PAWL_OK;
    }
    assert_int_equal(taken, 100);
    rig_close(&rig);
}

static void cleaning_drops_what_expired_and_only_that(void **state)
{
    struct pawl_revocations_stats stats;
    uint64_t dropped = 0;
    struct rig rig;

    (void)state;
    rig_open(&rig, 100000, true);
    for (uint64_t i = 0; i < 60000; i++) {
        assert_int_equal(set_token(&rig, i, i % 10 == 0 ? LATER : RIG_NOW_S - 1, 0), PAWL_OK);
    }
    for (uint64_t i = 60000; i < 61000; i++) {
        assert_int_equal(set_token(&rig, i, RIG_NOW_S - 2, 0), PAWL_OK);
    }
    for (unsigned shard = 0; shard < PAWL_REVOCATIONS_SHARDS; shard++) {
        dropped += pawl_revocations_clean(&rig.table, shard, RIG_NOW_S - 1);
    }
    assert_int_equal(dropped, 1000); /* the others are in their last second */
    dropped = 0;
    for (unsigned shard = 0; shard < PAWL_REVOCATIONS_SHARDS; shard++) {
        dropped += pawl_revocations_clean(&rig.table, shard, RIG_NOW_S);
    }
    assert_int_equal(dropped, 54000);
    for (uint64_t i = 0; i < 60000; i++) {
        assert_int_equal(pawl_revocations_probe(&rig.table.view, id_of(i)) != 0, i % 10 == 0);
    }
    pawl_revocations_get_stats(&rig.table, &stats);
    assert_int_equal(stats.entries, 6000);
    assert_int_equal(stats.dropped, 55000);
    assert_int_equal(atomic_load(&rig.table.header->scope_entries[PAWL_SCOPE_TOKEN]), 6000);
    assert_true(stats.slots <= 131072); /* and gave its memory back */
    rig_close(&rig);
}

static void a_year_of_coming_and_going_leaves_what_lives(void **state)
{
    uint64_t seed = rig_seed();
    uint64_t random = seed;
    struct rig rig;

    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) { /* no release, working, refusing */
        rig_open(&rig, 20000, kind != 0);
        rig.refuse_release = kind == 2;
        for (uint64_t hour = 0; hour < 400; hour++) {
            uint64_t now_s = RIG_NOW_S + hour * 3600;

            for (uint64_t i = 0; i < 100; i++) {
                uint64_t number = hour * 100 + i;

                rig_check(seed, set_token(&rig, number, now_s + 86400, now_s) == PAWL_OK);
                if (i % 10 == 0) {
                    rig_check(seed, pawl_revocations_clear(&rig.table, id_of(number), NULL));
                }
            }
            for (unsigned i = 0; i < 20; i++) {
                uint64_t back = rig_random(&random) % 24;
                uint64_t number = (hour < back ? 0 : hour - back) * 100 + 11 + i;

                if (number % 10 != 0) {
                    rig_check(seed, pawl_revocations_probe(&rig.table.view, id_of(number)) != 0);
                } else {
                    rig_check(seed, pawl_revocations_probe(&rig.table.view, id_of(number)) == 0);
                }
            }
            (void)pawl_revocations_clean(&rig.table, (unsigned)hour % PAWL_REVOCATIONS_SHARDS,
                                         now_s);
        }
        rig_close(&rig);
    }
}

static void a_reader_attaches_only_to_a_living_table_of_its_layout(void **state)
{
    struct pawl_revocations_view view;
    struct rig rig;
    const uint8_t *map;

    (void)state;
    rig_open(&rig, 1000, true);
    map = mmap(NULL, rig.size, PROT_READ, MAP_SHARED, rig.file, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(pawl_revocations_attach(&view, map, rig.size, 50000), PAWL_EUNAVAIL);
    pawl_revocations_pulse(&rig.table, 50000);
    assert_int_equal(pawl_revocations_attach(&view, map, rig.size, 50000), PAWL_OK);
    assert_int_equal(set_token(&rig, 1, LATER, 0), PAWL_OK);
    assert_int_not_equal(pawl_revocations_probe(&view, id_of(1)), 0);
    assert_true(pawl_revocations_alive(&view, 51000));
    assert_false(pawl_revocations_alive(&view, 51001)); /* the daemon is gone, or stopped */
    assert_false(pawl_revocations_alive(&view, 100));   /* a beat of an earlier boot */
    assert_int_equal(pawl_revocations_attach(&view, map, rig.size - 4096, 50000), PAWL_ECORRUPT);
    assert_int_equal(pawl_revocations_attach(&view, map, 64, 50000), PAWL_ECORRUPT);
    rig.table.header->layout = 2;
    assert_int_equal(pawl_revocations_attach(&view, map, rig.size, 50000), PAWL_EVERSION);
    rig.table.header->layout = 1;
    rig.table.header->magic++;
    assert_int_equal(pawl_revocations_attach(&view, map, rig.size, 50000), PAWL_ECORRUPT);
    (void)munmap((void *)(uintptr_t)map, rig.size);
    rig_close(&rig);
}

static void the_header_says_mode_and_age_and_starts_with_neither(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig, 1000, true);
    assert_int_equal(pawl_revocations_get_mode(&rig.table.view), PAWL_REVOCATIONS_LOADING);
    assert_int_equal(pawl_revocations_staleness_ms(&rig.table.view, 5), UINT64_MAX);
    pawl_revocations_set_mode(&rig.table, PAWL_REVOCATIONS_FROZEN);
    pawl_revocations_synced(&rig.table, 1000);
    assert_int_equal(pawl_revocations_get_mode(&rig.table.view), PAWL_REVOCATIONS_FROZEN);
    assert_int_equal(pawl_revocations_staleness_ms(&rig.table.view, 1250), 250);
    assert_int_equal(pawl_revocations_staleness_ms(&rig.table.view, 999), 0);
    rig_close(&rig);
}

static void sizes_out_of_range_are_refused(void **state)
{
    struct pawl_revocations_options options = { .max = 0 };
    static struct pawl_revocations table;
    uint8_t *region = NULL;

    (void)state;
    assert_int_equal(pawl_revocations_size(0), 0);
    assert_int_equal(pawl_revocations_size(PAWL_REVOCATIONS_MAX_CAP + 1), 0);
    assert_true(pawl_revocations_size(PAWL_REVOCATIONS_MAX_CAP) > 0);
    assert_true(pawl_revocations_size(PAWL_REVOCATIONS_MAX_DEFAULT) < UINT64_C(14) << 30);
    assert_int_equal(pawl_revocations_init(&table, region, 0, &options), PAWL_EINVAL);
    options.max = 10;
    assert_int_equal(pawl_revocations_init(&table, region, pawl_revocations_size(10), &options),
                     PAWL_EINVAL);
}

/* ---- readers beside a writer ---- */

#define FIRST 64     /* 2^6 */
#define LAST  262144 /* 2^18 */

struct race {
    struct rig rig;
    _Atomic uint64_t known; /* keys 0 to known - 1 are in */
    _Atomic bool stop;
    _Atomic uint64_t looked;
    _Atomic uint64_t missed;
};

static void *race_read(void *argument)
{
    struct race *race = argument;
    uint64_t random = (uint64_t)(uintptr_t)&random;
    uint64_t looked = 0;
    uint64_t missed = 0;

    while (!atomic_load_explicit(&race->stop, memory_order_relaxed)) {
        for (unsigned i = 0; i < 64; i++) {
            uint64_t known = atomic_load_explicit(&race->known, memory_order_acquire);

            missed += pawl_revocations_probe(&race->rig.table.view,
                                             id_of(rig_random(&random) % known)) == 0;
            looked++;
        }
    }
    (void)atomic_fetch_add(&race->looked, looked);
    (void)atomic_fetch_add(&race->missed, missed);
    return NULL;
}

static void race_write(struct race *race, uint64_t count)
{
    for (uint64_t i = FIRST; i < count; i++) {
        assert_int_equal(set_token(&race->rig, i, LATER, RIG_NOW_S), PAWL_OK);
        /* Keys that come and go force builds of the same size, into areas used before. */
        assert_int_equal(set_token(&race->rig, (UINT64_C(1) << 40) + i, LATER, RIG_NOW_S), PAWL_OK);
        assert_true(pawl_revocations_clear(&race->rig.table, id_of((UINT64_C(1) << 40) + i), NULL));
        atomic_store_explicit(&race->known, i + 1, memory_order_release);
    }
}

static void race_in_threads(bool release, uint64_t count)
{
    static struct race race;
    struct pawl_revocations_stats stats;
    pthread_t readers[2];

    memset(&race, 0, sizeof(race));
    rig_open(&race.rig, LAST + 8, release);
    for (uint64_t i = 0; i < FIRST; i++) {
        assert_int_equal(set_token(&race.rig, i, LATER, RIG_NOW_S), PAWL_OK);
    }
    atomic_store(&race.known, FIRST);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, race_read, &race), 0);
    }
    race_write(&race, count);
    atomic_store(&race.stop, true);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    }
    pawl_revocations_get_stats(&race.rig.table, &stats);
    assert_true(stats.rebuilds > 64);
    assert_true(atomic_load(&race.looked) > 0);
    assert_int_equal(atomic_load(&race.missed), 0);
    rig_close(&race.rig);
}

static void readers_in_threads_never_miss_a_known_key_while_the_table_grows(void **state)
{
    (void)state;
    race_in_threads(true, LAST);
}

static void neither_when_areas_are_cleared_by_hand_and_used_again(void **state)
{
    (void)state;
    race_in_threads(false, LAST / 4);
}

struct shared {
    _Atomic uint64_t known;
    _Atomic bool ready;
    _Atomic bool stop;
    uint64_t looked;
    uint64_t missed;
};

/* The other process: its own read-only mapping, nothing but the file in common. */
static int process_read(int file, uint64_t size, struct shared *shared)
{
    const void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
    struct pawl_revocations_view view;
    uint64_t random = 99;

    if (map == MAP_FAILED || pawl_revocations_attach(&view, map, size, 1000) != PAWL_OK) {
        return 2;
    }
    atomic_store(&shared->ready, true);
    while (!atomic_load_explicit(&shared->stop, memory_order_relaxed)) {
        for (unsigned i = 0; i < 64; i++) {
            uint64_t known = atomic_load_explicit(&shared->known, memory_order_acquire);

            shared->missed +=
                pawl_revocations_probe(&view, id_of(rig_random(&random) % known)) == 0;
            shared->looked++;
        }
    }
    return 0;
}

static void a_reader_in_another_process_never_misses_a_known_key(void **state)
{
    static struct rig rig;
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int result = -1;
    pid_t child;

    (void)state;
    assert_true(shared != MAP_FAILED);
    rig_open(&rig, LAST, true);
    pawl_revocations_pulse(&rig.table, 1000);
    assert_int_equal(set_token(&rig, 0, LATER, RIG_NOW_S), PAWL_OK);
    atomic_store(&shared->known, 1);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(process_read(rig.file, rig.size, shared));
    }
    while (!atomic_load(&shared->ready) && waitpid(child, &result, WNOHANG) == 0) {
        (void)sched_yield(); /* the child has to be looking before the table grows */
    }
    assert_true(atomic_load(&shared->ready));
    for (uint64_t i = 1; i < LAST; i++) {
        assert_int_equal(set_token(&rig, i, LATER, RIG_NOW_S), PAWL_OK);
        atomic_store_explicit(&shared->known, i + 1, memory_order_release);
    }
    atomic_store(&shared->stop, true);
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);
    assert_true(shared->looked > 0);
    assert_int_equal(shared->missed, 0);
    (void)munmap(shared, sizeof(*shared));
    rig_close(&rig);
}

struct writers {
    struct rig rig;
    _Atomic uint64_t refused;
};

static void *write_some(void *argument)
{
    static _Atomic uint64_t next;
    struct writers *writers = argument;
    uint64_t base = atomic_fetch_add(&next, 1) * 100000;

    for (uint64_t i = 0; i < 20000; i++) {
        if (set_token(&writers->rig, base + i, LATER, RIG_NOW_S) == PAWL_EFULL) {
            (void)atomic_fetch_add(&writers->refused, 1);
        }
    }
    return NULL;
}

static void writers_side_by_side_fill_it_to_the_last_entry_and_no_further(void **state)
{
    static struct writers writers;
    struct pawl_revocations_stats stats;
    pthread_t threads[4];

    (void)state;
    rig_open(&writers.rig, 70000, true);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_some, &writers), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    pawl_revocations_get_stats(&writers.rig.table, &stats);
    assert_int_equal(stats.entries + atomic_load(&writers.refused), 80000);
    assert_int_equal(stats.refused, atomic_load(&writers.refused));
    assert_true(stats.entries <= 70000 && stats.entries >= 70000 - 4);
    rig_close(&writers.rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_known_with_what_was_said_and_others_are_not),
        cmocka_unit_test(an_id_with_zero_words_is_a_key_like_any_other),
        cmocka_unit_test(setting_again_joins_the_later_until_and_the_first_reason),
        cmocka_unit_test(a_later_cutoff_wins_and_a_smaller_one_never_lowers_it),
        cmocka_unit_test(until_of_a_cutoff_is_never_rounded_down),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(a_cancelled_key_is_unknown_and_may_be_revoked_again),
        cmocka_unit_test(facts_are_applied_by_what_they_are),
        cmocka_unit_test(a_full_table_refuses_and_forgets_nothing),
        cmocka_unit_test(the_biggest_declared_size_has_room_in_every_shard),
        cmocka_unit_test(expired_entries_make_room_when_the_table_is_full),
        cmocka_unit_test(cleaning_drops_what_expired_and_only_that),
        cmocka_unit_test(a_year_of_coming_and_going_leaves_what_lives),
        cmocka_unit_test(a_reader_attaches_only_to_a_living_table_of_its_layout),
        cmocka_unit_test(the_header_says_mode_and_age_and_starts_with_neither),
        cmocka_unit_test(sizes_out_of_range_are_refused),
        cmocka_unit_test(readers_in_threads_never_miss_a_known_key_while_the_table_grows),
        cmocka_unit_test(neither_when_areas_are_cleared_by_hand_and_used_again),
        cmocka_unit_test(a_reader_in_another_process_never_misses_a_known_key),
        cmocka_unit_test(writers_side_by_side_fill_it_to_the_last_entry_and_no_further),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
