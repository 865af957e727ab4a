/*
 * The log of a fleet against an engine that says anything: the input is a program of announcements,
 * entries (sealed well, with any inside and at any position), failures, ends and facts of our own.
 *
 * What must hold after each step: positions, facts and their references add up; what was taken is
 * followed once; and at the end all memory has been given back.
 */
#include "core/cluster/log_inside.h"
#include "core/octets.h"
#include "fuzz/require.h"

#include <stdlib.h>
#include <string.h>

#define ORIGINS  4
#define COMMANDS 512
#define STEPS    200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct pawl_octet_reader in;
    struct pawl_facts_log log;
    struct pawl_subkey key;
    uint64_t now_ms, slow_s, told;

    struct command {
        enum pawl_engine_verb verb;
        uint64_t tag;
    } commands[COMMANDS];
    unsigned count;
};

static void *take(void *self, void *old, size_t size)
{
    (void)self;
    if (size == 0) {
        free(old);
        return NULL;
    }
    void *memory = realloc(old, size);

    require(memory != NULL);
    return memory;
}

static void emit(void *self, const struct pawl_engine_command *command)
{
    struct world *w = self;

    require(command->part == PAWL_PART_LOG && w->count < COMMANDS);
    if (command->verb == PAWL_ENGINE_APPEND) {
        require(command->append.position > command->append.after);
        require(command->append.bytes.size <= PAWL_LOG_ENTRY_MAX);
    }
    w->commands[w->count++] = (struct command){ command->verb, command->tag };
}

static void on_fact(void *self, const struct pawl_log_news *news)
{
    struct world *w = self;

    require(news->bytes.size > 0 && news->bytes.size <= PAWL_FACT_BYTES_MAX);
    require(!news->counts || pawl_fact_is_known(news->fact));
    w->told++;
}

static void on_progress(void *self, const struct pawl_log_progress *progress)
{
    const struct world *w = self;

    require(progress->kind >= PAWL_LOG_APPENDED && progress->kind <= PAWL_LOG_CONFIRMED);
    require(progress->position <= pawl_log_position(&w->log));
}

static void on_cancel(void *self, const struct pawl_fact *canceled,
                      const struct pawl_fact *remaining)
{
    (void)self;
    require(pawl_fact_cancellable(canceled));
    require(remaining == NULL || pawl_fact_cancellable(remaining));
}

/* ---- the program ---------------------------------------------------------------------------- */

static uint64_t number(struct world *w, unsigned bytes)
{
    uint64_t value = pawl_octet_get_uint(&w->in, bytes);

    return w->in.bad ? 0 : value;
}

/* Mostly small, sometimes anything. */
static uint64_t position(struct world *w)
{
    uint64_t value = number(w, 1);

    return value < 250 ? value : value < 253 ? number(w, 2) : number(w, 8);
}

static struct pawl_origin origin(struct world *w)
{
    struct pawl_origin id = { { 0 } };

    id.bytes[0] = (uint8_t)(number(w, 1) % ORIGINS);
    return id;
}

static struct pawl_bytes make_fact(struct world *w, struct pawl_fact_id id, uint8_t *out)
{
    uint8_t ids[PAWL_FACT_ID_BYTES];
    bool cancel = number(w, 1) % 4 == 0;
    uint8_t jti = (uint8_t)('a' + number(w, 1) % 4);
    struct pawl_fact_id named = { origin(w), number(w, 1) };
    size_t size = 0;
    struct pawl_fact fact = { .id = id,
                              .kind = cancel ? PAWL_FACT_CANCEL : PAWL_FACT_REVOCATION,
                              .scope = cancel ? PAWL_SCOPE_NONE : PAWL_SCOPE_TOKEN,
                              .ns = pawl_bytes_of("n", 1),
                              .value = pawl_bytes_of(&jti, cancel ? 0 : 1),
                              .until_s = 1000 + number(w, 1) };

    pawl_fact_id_write(ids, &named);
    fact.cancels = pawl_bytes_of(ids, cancel ? sizeof(ids) : 0);
    require(pawl_fact_encode(&fact, out, PAWL_FACT_BYTES_MAX, &size) == PAWL_OK);
    return pawl_bytes_of(out, size);
}

static size_t make_entry(struct world *w, struct pawl_log_entry *entry, uint8_t *out)
{
    uint8_t place[PAWL_LOG_PLACE_BYTES];
    size_t size = 1;
    unsigned form = (unsigned)number(w, 1);

    entry->origin = origin(w);
    entry->position = position(w);
    out[0] = (uint8_t)number(w, 1);
    if (form % 4 == 0) { /* anything inside */
        size_t more = (size_t)number(w, 1) % 64;
        const uint8_t *from = pawl_octet_get(&w->in, more);

        memcpy(out + 1, from != NULL ? from : place, from != NULL ? more : 0);
        size += from != NULL ? more : 0;
    } else if (form % 4 == 1) {
        out[0] = PAWL_LOG_KIND_VOID;
        pawl_put_le(out + 1, position(w), 8);
        size += 8;
    } else if (form % 4 == 2 && form % 8 == 2) {
        struct pawl_fact_id note = { origin(w), position(w) };

        out[0] = PAWL_LOG_KIND_APPLIED;
        pawl_fact_id_write(out + 1, &note);
        size += PAWL_LOG_NOTE_BYTES;
    } else {
        struct pawl_fact_id id = { origin(w), number(w, 1) };

        out[0] = (uint8_t)(PAWL_LOG_KIND_FACT | (out[0] & PAWL_LOG_KIND_CONFIRM));
        size += make_fact(w, id, out + 1).size;
    }
    pawl_log_place(place, &entry->origin, entry->position);
    if (form >= 16) { /* else forged */
        size = pawl_seal(&w->key, PAWL_SEAL_LOG, pawl_bytes_of(place, sizeof(place)), out, size);
    }
    entry->bytes = pawl_bytes_of(out, size);
    return size;
}

static void answer(struct world *w)
{
    static uint8_t bytes[8][PAWL_LOG_ENTRY_MAX];
    struct pawl_log_entry entries[8];
    struct pawl_engine_reply reply = { .part = PAWL_PART_LOG };

    if (w->count == 0) {
        return;
    }
    unsigned which = (unsigned)number(w, 1) % w->count;
    unsigned result = (unsigned)number(w, 1);

    reply.verb = w->commands[which].verb;
    reply.tag = w->commands[which].tag;
    reply.result =
        result < 200 ? PAWL_ENGINE_WON : (enum pawl_engine_result)(PAWL_ENGINE_WON + result % 5);
    w->commands[which] = w->commands[--w->count];
    if (reply.verb == PAWL_ENGINE_READ) {
        reply.read.entries = entries;
        reply.read.count = (uint32_t)number(w, 1) % 8;
        for (unsigned i = 0; i < reply.read.count; i++) {
            (void)make_entry(w, &entries[i], bytes[i]);
        }
    } else if (reply.verb == PAWL_ENGINE_WAIT) {
        reply.wait.replicas = (uint32_t)number(w, 1);
    }
    pawl_log_on_reply(&w->log, &reply, w->now_ms);
}

static void announce(struct world *w)
{
    struct pawl_origin_top tops[ORIGINS];
    struct pawl_log_tops all = { tops, (uint32_t)number(w, 1) % ORIGINS, 200000 + w->now_ms,
                                 w->now_ms };

    for (unsigned i = 0; i < all.count; i++) {
        tops[i] = (struct pawl_origin_top){ origin(w), position(w), position(w) };
    }
    pawl_log_on_tops(&w->log, &all, w->now_ms);
}

static void join(struct world *w)
{
    struct pawl_member_id members[ORIGINS];
    uint32_t count = (uint32_t)number(w, 1) % ORIGINS;

    for (uint32_t i = 0; i < count; i++) {
        members[i] = pawl_member_of(origin(w));
    }
    pawl_log_on_members(&w->log, members, count, w->now_ms);
}

static void add(struct world *w, bool own)
{
    uint8_t bytes[PAWL_FACT_BYTES_MAX];
    struct pawl_fact_id id = { origin(w), number(w, 1) };
    uint64_t at = 0;
    uint32_t canceled;

    if (own) {
        struct pawl_bytes fact = make_fact(w, pawl_log_next_id(&w->log), bytes);
        enum pawl_status status =
            pawl_log_add(&w->log, fact, number(w, 1) % 2 == 0, w->now_ms, &at, &canceled);

        require(status == PAWL_EFULL || (status == PAWL_OK && at == pawl_log_position(&w->log)));
        pawl_log_want(&w->log, at, (uint32_t)number(w, 1) % 4);
    } else {
        enum pawl_status status = pawl_log_load(&w->log, make_fact(w, id, bytes), w->now_ms);

        require(status == PAWL_OK || status == PAWL_EFULL);
    }
}

/* Our own digest, maybe of another minute, maybe changed, as a member announces it. */
static void compare(struct world *w)
{
    uint8_t digest[PAWL_LOG_DIGEST_BYTES];
    struct pawl_member_id member = pawl_member_of(origin(w));
    size_t size = pawl_log_digest(&w->log, digest, w->now_ms);
    uint64_t at = number(w, 1);
    uint8_t change = (uint8_t)number(w, 1);

    require(size <= sizeof(digest));
    w->now_ms += number(w, 2);
    if (size > 0) {
        (void)pawl_log_digest(&w->log, digest, w->now_ms);
        digest[at % size] ^= change;
    }
    bool same = pawl_log_compare(&w->log, &member, pawl_bytes_of(digest, size), w->now_ms);

    require(same || change != 0);
}

static void step(struct world *w)
{
    struct pawl_epoch epoch = { { 1 } };

    switch (number(w, 1) % 16) {
    case 0:
        w->count = 0;
        pawl_log_on_up(&w->log, &epoch, w->now_ms);
        break;
    case 1:
        w->count = 0;
        pawl_log_on_down(&w->log, w->now_ms);
        break;
    case 2:
    case 3:
        announce(w);
        break;
    case 4:
        join(w);
        break;
    case 5:
        w->now_ms += number(w, 2) * 8;
        w->slow_s += number(w, 1) % 8;
        break;
    case 6:
    case 7:
        add(w, true);
        break;
    case 8:
        add(w, false);
        break;
    case 9:
        compare(w);
        break;
    default:
        answer(w);
    }
    w->now_ms += 10;
    pawl_log_tick(&w->log, w->now_ms, w->slow_s);
}

/* ---- what must hold ------------------------------------------------------------------------- */

static void check_origin(const struct pawl_log_inside *in, const struct pawl_log_origin *o,
                         uint16_t *refs, uint32_t refs_max)
{
    uint64_t live = 0;
    uint64_t empty = 0;

    require(o->lo <= o->hi + 1 && o->won <= o->hi && o->won <= o->sent && o->sent <= o->hi);
    require(pawl_log_applied(o) <= o->hi);
    for (uint64_t q = o->lo; q <= o->hi; q++) {
        uint32_t handle = *pawl_log_slot_at(o, q) & PAWL_LOG_HANDLE;

        empty += handle == PAWL_LOG_EMPTY;
        if (handle >= PAWL_LOG_FIRST) {
            live++;
            require(handle < in->facts.used && handle < refs_max);
            refs[handle]++;
        }
    }
    require(live == o->live && empty == o->empty);
}

static bool count_fact(void *self, const struct pawl_fact *fact)
{
    uint64_t *count = self;

    (void)fact;
    (*count)++;
    return true;
}

static void check(const struct world *w)
{
    static uint16_t refs[65536];
    const struct pawl_log_inside *in = w->log.inside;
    uint64_t followed = 0;
    bool more;

    memset(refs, 0, sizeof(refs));
    for (unsigned i = 0; i < PAWL_ORIGINS_MAX; i++) {
        if (in->origins[i] != NULL) {
            check_origin(in, in->origins[i], refs, 65536);
        }
    }
    for (uint32_t handle = PAWL_LOG_FIRST; handle < in->facts.used; handle++) {
        require(pawl_log_fact_at(&in->facts, handle)->refs == refs[handle]);
    }
    require(pawl_log_follow(&w->log, NULL, count_fact, &followed, &more) == PAWL_OK);
    require(followed == in->facts.count && in->facts.count <= w->told);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    struct world *w = &world;
    struct pawl_facts_log_options options = {
        .keys = &w->key,
        .keys_count = 1,
        .out = { emit, w },
        .heap = { take, w },
        .events = { on_fact, on_cancel, on_progress, w },
        .facts_max = 12,
    };

    memset(w, 0, sizeof(*w));
    w->in = (struct pawl_octet_reader){ data, size, 0, false };
    w->now_ms = 1000000;
    w->slow_s = 1000;
    require(pawl_log_init(&w->log, &options, w->now_ms) == PAWL_OK);
    for (unsigned i = 0; i < STEPS && !w->in.bad; i++) {
        step(w);
        check(w);
    }
    pawl_log_deinit(&w->log);
    require(w->log.stats.memory_bytes == 0);
    return 0;
}
