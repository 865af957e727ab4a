/*
 * Figures of the core by itself, in this process: memory for each entry, time for each look-up.
 *
 * usage: bench_core (key_bytes_1|key_bytes_64|revocation_bytes|lookup_ns|verdict_ns) [ENTRIES]
 *
 * Prints one JSON object. ENTRIES is one million unless said. Times are the median of several
 * passes over the same random look-ups, each independent of the one before.
 */
#include "core/limiter.h"
#include "core/revocations.h"
#include "core/verdict.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES_DEFAULT UINT64_C(1000000)
#define ENTRIES_MAX     UINT64_C(100000000)
#define LOOKUPS         (UINT64_C(1) << 20)
#define TOKENS          (UINT64_C(1) << 16)
#define PASSES          9
#define BATCH           16 /* tokens that a daemon finds in one read */
#define NOW_S           INT64_C(1790000000)
#define KEY_REGION      (UINT64_C(8) << 30)
#define PRECISION       64

static void die(const char *what)
{
    fprintf(stderr, "bench_core: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static uint64_t mix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    char line[128];
    char *second;

    if (file == NULL || fgets(line, sizeof(line), file) == NULL ||
        (second = strchr(line, ' ')) == NULL) {
        die("/proc/self/statm cannot be read");
        return 0;
    }
    fclose(file);
    return strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Zero memory that becomes resident as it is touched; @shared as the daemon's revocation table. */
static void *region(uint64_t size, bool shared)
{
    int fd = -1;
    void *memory;

    if (shared) {
        fd = memfd_create("bench", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, (off_t)size) != 0) {
            die("memfd: the system refused");
        }
    }
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                  shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, fd, 0);
    if (memory == MAP_FAILED) {
        die("mmap: the system refused");
    }
    if (!shared) {
        (void)madvise(memory, size, MADV_HUGEPAGE); /* as the daemon's limits */
    }
    return memory;
}

static struct pawl_subkey subkey(uint8_t fill)
{
    struct pawl_subkey key;

    memset(&key, fill, sizeof(key));
    return key;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return (left > right) - (left < right);
}

static void print(const char *name, const char *unit, double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare);
    printf("{\"name\": \"%s\", \"unit\": \"%s\", \"value\": %.3f, \"min\": %.3f, \"max\": %.3f}\n",
           name, unit, values[count / 2], values[0], values[count - 1]);
}

/* ---- limits ---- */

static void charge(struct pawl_limiter *limiter, const struct pawl_limit *limit, uint64_t key,
                   uint64_t now_ms)
{
    char text[24];
    int size = snprintf(text, sizeof(text), "user:%08" PRIx64, key);
    struct pawl_bytes part = pawl_bytes_of(text, (size_t)size);
    struct pawl_limit_item item = { .limit = limit,
                                    .ns = pawl_bytes_of("default", 7),
                                    .parts = &part,
                                    .parts_count = 1,
                                    .cost = 1 };
    struct pawl_limit_request request = { .items = &item,
                                          .items_count = 1,
                                          .now = { now_ms * 1000000 } };
    struct pawl_limit_result result;
    struct pawl_limit_outcome outcome;

    if (pawl_limiter_check(limiter, &request, &result, 1, &outcome) != PAWL_OK ||
        outcome.verdict != PAWL_ALLOW || result.overflow) {
        die("a key was not allowed a record of its own");
    }
}

/* Resident growth for each key that has @events events at different times in its window. */
static void key_bytes(const char *name, uint64_t entries, uint64_t events)
{
    static struct pawl_limiter limiter;
    struct pawl_limiter_config config = { .region = region(KEY_REGION, false),
                                          .memory_max = KEY_REGION,
                                          .subkey = subkey(1),
                                          .salt = { 3, 5 },
                                          .life = 1,
                                          .persist = true };
    struct pawl_rate rate = { .count = 1000, .window_ms = 3600000 };
    struct pawl_limit limit;
    uint64_t before;
    double value;

    if (pawl_limiter_init(&limiter, &config, NULL) != PAWL_OK ||
        pawl_limit_init_inline(&limit, &limiter, &rate, 1, PRECISION, NULL) != PAWL_OK) {
        die("no limiter");
    }
    before = resident_bytes();
    for (uint64_t event = 0; event < events; event++) {
        for (uint64_t key = 0; key < entries; key++) {
            charge(&limiter, &limit, key, 1000000 + event * 40000);
        }
    }
    value = (double)(resident_bytes() - before) / (double)entries;
    print(name, "bytes", &value, 1);
}

/* ---- revocations ---- */

static bool release(void *user, uint64_t offset, uint64_t size)
{
    return madvise((uint8_t *)user + offset, size, MADV_REMOVE) == 0;
}

static struct pawl_revocations table;

static void table_make(void)
{
    uint64_t size = pawl_revocations_size(PAWL_REVOCATIONS_MAX_DEFAULT);
    void *memory = region(size, true);
    struct pawl_revocations_options options = {
        .max = PAWL_REVOCATIONS_MAX_DEFAULT, .generation = 1, .release = release, .user = memory
    };

    if (pawl_revocations_init(&table, memory, size, &options) != PAWL_OK) {
        die("no table");
    }
}

static void table_set(enum pawl_scope scope, struct pawl_id id)
{
    struct pawl_revocation entry = { .reason = PAWL_REASON_LOGOUT,
                                     .until_s = (uint64_t)NOW_S + 86400,
                                     .cutoff_ms = pawl_scope_has_cutoff(scope)
                                                      ? (uint64_t)NOW_S * 1000
                                                      : 0 };

    if (pawl_revocations_set(&table, scope, id, &entry, 0) != PAWL_OK) {
        die("the table does not take an entry");
    }
}

static struct pawl_id id_of(uint64_t number)
{
    uint64_t state = number * UINT64_C(0xd1342543de82ef95) + 1;
    struct pawl_id id;

    id.lo = mix(&state);
    id.hi = mix(&state);
    return id;
}

static void revocation_bytes(uint64_t entries)
{
    uint64_t before;
    double value;

    table_make();
    before = resident_bytes();
    for (uint64_t i = 0; i < entries; i++) {
        table_set(PAWL_SCOPE_TOKEN, id_of(i));
    }
    value = (double)(resident_bytes() - before) / (double)entries;
    print("revocation_bytes", "bytes", &value, 1);
}

/* All of @ids, in batches as the daemon looks up what one read brought. Returns how many hit. */
static uint64_t probe_all(const struct pawl_id *ids)
{
    uint64_t found = 0;

    for (uint64_t i = 0; i < LOOKUPS; i += BATCH) {
        for (uint64_t j = i; j < i + BATCH; j++) {
            pawl_revocations_prefetch(&table.view, ids[j]);
        }
        for (uint64_t j = i; j < i + BATCH; j++) {
            found += pawl_revocations_probe(&table.view, ids[j]) != 0;
        }
    }
    return found;
}

/* Half of the look-ups hit. */
static void lookup_ns(uint64_t entries)
{
    struct pawl_id *ids = region(LOOKUPS * sizeof(*ids), false);
    double values[PASSES];
    uint64_t state = 7;
    uint64_t found = 0;

    table_make();
    for (uint64_t i = 0; i < entries; i++) {
        table_set(PAWL_SCOPE_TOKEN, id_of(i));
    }
    for (uint64_t i = 0; i < LOOKUPS; i++) {
        ids[i] = id_of(mix(&state) % (2 * entries));
    }
    for (size_t pass = 0; pass < PASSES; pass++) {
        uint64_t start = now_ns();

        found += probe_all(ids);
        values[pass] = (double)(now_ns() - start) / (double)LOOKUPS;
    }
    if (found < PASSES * LOOKUPS / 3 || found > PASSES * LOOKUPS * 2 / 3) {
        die("half of the look-ups should hit");
    }
    print("lookup_ns", "ns", values, PASSES);
}

/* ---- verdicts ---- */

struct token {
    char jti[40];
    char subject[24];
    struct pawl_sid sid;
};

static struct pawl_bytes text(const char *chars)
{
    return pawl_bytes_of(chars, strlen(chars));
}

static struct pawl_token_claims claims_of(const struct token *token)
{
    struct pawl_token_claims claims = { .ns = text("default"),
                                        .issuer = text("https://auth.example"),
                                        .jti = text(token->jti),
                                        .subject = text(token->subject),
                                        .kid = text("r1"),
                                        .sid = text(token->sid.text),
                                        .iat_s = NOW_S - 600,
                                        .exp_s = NOW_S + 600,
                                        .has_iat = true,
                                        .has_exp = true };

    return claims;
}

/* One of 8 tokens is revoked; tables of tokens, families and subjects are all in use. */
static void tokens_make(struct token *tokens, uint64_t entries, const struct pawl_token_keys *keys)
{
    uint64_t state = 11;

    for (uint64_t i = 0; i < entries; i++) {
        enum pawl_scope scope = i % 20 == 0   ? PAWL_SCOPE_FAMILY
                                : i % 20 == 1 ? PAWL_SCOPE_SUBJECT
                                              : PAWL_SCOPE_TOKEN;

        table_set(scope, id_of(i));
    }
    for (uint64_t i = 0; i < TOKENS; i++) {
        struct token *token = &tokens[i];
        struct pawl_stamp birth = { (uint64_t)(NOW_S - 900) * 1000000 };
        uint64_t entropy = mix(&state);
        uint64_t random = mix(&state);

        snprintf(token->jti, sizeof(token->jti), "%016" PRIx64 "%016" PRIx64, random, entropy);
        snprintf(token->subject, sizeof(token->subject), "user:%" PRIu64, random % 1000000);
        (void)pawl_sid_mint(&token->sid, keys, text("default"), birth, 0,
                            (const uint8_t *)&entropy);
        if (i % 8 == 0) {
            table_set(PAWL_SCOPE_TOKEN,
                      pawl_scope_id(&keys->facts, PAWL_SCOPE_TOKEN, text("default"),
                                    text("https://auth.example"), text(token->jti)));
        }
    }
}

/* One pass over all tokens, in batches as the daemon judges what one read brought. */
static uint64_t judge_all(const struct pawl_token_view *view, const struct token *tokens)
{
    struct pawl_token_claims claims[BATCH];
    struct pawl_token_probes probes[BATCH];
    uint64_t revoked = 0;

    for (uint64_t i = 0; i < TOKENS; i += BATCH) {
        for (unsigned j = 0; j < BATCH; j++) {
            claims[j] = claims_of(&tokens[i + j]);
            pawl_token_prepare(view, &claims[j], &probes[j]);
        }
        for (unsigned j = 0; j < BATCH; j++) {
            revoked += pawl_token_finish(view, &claims[j], &probes[j]).status == PAWL_TOKEN_REVOKED;
        }
    }
    return revoked;
}

static void verdict_ns(uint64_t entries)
{
    struct token *tokens = region(TOKENS * sizeof(*tokens), false);
    struct pawl_token_keys keys = { .facts = subkey(1), .sid = { subkey(2) }, .sid_count = 1 };
    struct pawl_token_policy policy = pawl_token_policy_default();
    struct pawl_token_view view = { .table = &table.view,
                                    .keys = &keys,
                                    .policy = &policy,
                                    .now = { NOW_S },
                                    .stamp = { (uint64_t)NOW_S * 1000000 } };
    double values[PASSES];

    table_make();
    tokens_make(tokens, entries, &keys);
    pawl_revocations_set_mode(&table, PAWL_REVOCATIONS_SERVING);
    for (size_t pass = 0; pass < PASSES; pass++) {
        uint64_t start = now_ns();
        uint64_t revoked = judge_all(&view, tokens);

        values[pass] = (double)(now_ns() - start) / (double)TOKENS;
        if (revoked != TOKENS / 8) {
            die("one of eight tokens should be revoked");
        }
    }
    print("verdict_ns", "ns", values, PASSES);
}

int main(int argc, char **argv)
{
    uint64_t entries = argc > 2 ? strtoull(argv[2], NULL, 10) : ENTRIES_DEFAULT;
    const char *what = argc > 1 ? argv[1] : "";

    if (entries == 0 || entries > ENTRIES_MAX) {
        die("entries: 1 to 100 million");
    }
    if (strcmp(what, "key_bytes_1") == 0) {
        key_bytes(what, entries, 1);
    } else if (strcmp(what, "key_bytes_64") == 0) {
        key_bytes(what, entries, PRECISION);
    } else if (strcmp(what, "revocation_bytes") == 0) {
        revocation_bytes(entries);
    } else if (strcmp(what, "lookup_ns") == 0) {
        lookup_ns(entries);
    } else if (strcmp(what, "verdict_ns") == 0) {
        verdict_ns(entries);
    } else {
        fputs("usage: bench_core (key_bytes_1|key_bytes_64|revocation_bytes|lookup_ns|verdict_ns) "
              "[ENTRIES]\n",
              stderr);
        return 2;
    }
    return 0;
}
