#include "adapter/jwt/cache.h"

#include <string.h>
#include <sys/mman.h>

#define WAYS PAWL_JWT_CACHE_WAYS

/* Two cache lines that a look-up reads before it touches a place. */
struct pawl_jwt_cache_set {
    uint64_t tag[WAYS]; /* of the hash; 0: free */
    uint32_t used[WAYS];
    uint32_t until_s[WAYS]; /* exp, UINT32_MAX where it is later */
};

struct pawl_jwt_cache_place {
    uint8_t sha256[32];
    uint8_t record[PAWL_JWT_CACHE_PLACE_BYTES - 32];
};

static uint64_t word_of(const uint8_t *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof(word));
    return word;
}

static uint64_t tag_of(const uint8_t sha256[32])
{
    return word_of(sha256 + 8) | 1;
}

bool pawl_jwt_cache_init(struct pawl_jwt_cache *cache, uint64_t entries_max)
{
    const uint64_t set_bytes = sizeof(*cache->sets) + WAYS * sizeof(*cache->places);
    uint64_t sets = 1;
    void *memory;

    memset(cache, 0, sizeof(*cache));
    if (entries_max == 0) {
        return true;
    }
    while (sets * WAYS < entries_max && sets * 2 * set_bytes <= PAWL_JWT_CACHE_BYTES_MAX) {
        sets *= 2;
    }
    memory = mmap(NULL, sets * set_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return false;
    }
    cache->sets = memory;
    cache->places = (struct pawl_jwt_cache_place *)(void *)(cache->sets + sets);
    cache->set_count = sets;
    cache->bytes = sets * set_bytes;
    return true;
}

void pawl_jwt_cache_deinit(struct pawl_jwt_cache *cache)
{
    if (cache->sets != NULL) {
        (void)munmap(cache->sets, cache->bytes);
    }
    memset(cache, 0, sizeof(*cache));
}

void pawl_jwt_cache_clear(struct pawl_jwt_cache *cache)
{
    if (cache->sets != NULL && cache->entries > 0) {
        memset(cache->sets, 0, cache->set_count * sizeof(*cache->sets));
    }
    cache->entries = 0;
}

static struct pawl_jwt_cache_place *place_of(const struct pawl_jwt_cache *cache, uint64_t set,
                                             unsigned way)
{
    return &cache->places[set * WAYS + way];
}

bool pawl_jwt_cache_find(struct pawl_jwt_cache *cache, const uint8_t sha256[32],
                         struct pawl_wall now, struct pawl_jwt_record *record)
{
    if (cache->sets == NULL) {
        return false;
    }
    uint64_t index = word_of(sha256) & (cache->set_count - 1);
    struct pawl_jwt_cache_set *set = &cache->sets[index];
    uint64_t tag = tag_of(sha256);

    for (unsigned way = 0; way < WAYS; way++) {
        const struct pawl_jwt_cache_place *place = place_of(cache, index, way);
        const size_t texts = offsetof(struct pawl_jwt_record, texts);

        if (set->tag[way] != tag || memcmp(place->sha256, sha256, 32) != 0) {
            continue;
        }
        memcpy(record, place->record, texts);
        memcpy(record->texts, place->record + texts, record->size);
        set->used[way] = ++cache->tick;
        if (record->exp_s <= now.unix_s) {
            set->tag[way] = 0;
            cache->entries--;
        }
        cache->hits++;
        return true;
    }
    return false;
}

/* A free place, or one that is over, else the one that was not used for longest. */
static unsigned victim(const struct pawl_jwt_cache *cache, const struct pawl_jwt_cache_set *set,
                       uint64_t tag, struct pawl_wall now)
{
    unsigned best = 0;
    uint32_t best_age = 0;

    for (unsigned way = 0; way < WAYS; way++) {
        uint32_t age = cache->tick - set->used[way];

        if (set->tag[way] == 0 || set->tag[way] == tag || set->until_s[way] <= now.unix_s) {
            return way;
        }
        if (age >= best_age) {
            best_age = age;
            best = way;
        }
    }
    return best;
}

void pawl_jwt_cache_put(struct pawl_jwt_cache *cache, const uint8_t sha256[32],
                        struct pawl_wall now, const struct pawl_jwt_record *record)
{
    size_t size = pawl_jwt_record_bytes(record);

    if (cache->sets == NULL || record->exp_s <= now.unix_s) {
        return;
    }
    if (size > sizeof(((struct pawl_jwt_cache_place *)0)->record)) {
        cache->too_big++;
        return;
    }
    uint64_t index = word_of(sha256) & (cache->set_count - 1);
    struct pawl_jwt_cache_set *set = &cache->sets[index];
    unsigned way = victim(cache, set, tag_of(sha256), now);
    struct pawl_jwt_cache_place *place = place_of(cache, index, way);

    cache->evicted += set->tag[way] != 0 && set->until_s[way] > now.unix_s;
    cache->entries += set->tag[way] == 0;
    memcpy(place->sha256, sha256, 32);
    memcpy(place->record, record, size);
    set->tag[way] = tag_of(sha256);
    set->used[way] = ++cache->tick;
    set->until_s[way] = record->exp_s >= UINT32_MAX ? UINT32_MAX : (uint32_t)record->exp_s;
}
