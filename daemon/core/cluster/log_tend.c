/*
 * What has to be done now and then: forget what has expired, trim streams, adopt facts that no
 * stream holds. All of it in steps of bounded length.
 */
#include "core/cluster/log_inside.h"

#define STEP_MS       100
#define STEP_FACTS    16384u
#define STEP_SLOTS    16384u
#define PASS_MS       5000 /* a pass over all facts begins at most this often */
#define ADOPT_BACKLOG 1024u
#define HOUSE_MS      1000
#define TRIM_EVERY_MS 10000 /* of one stream */
#define TRIM_MIN      64u   /* dead positions at its beginning */
#define MOVE_MIN      128u  /* positions of a stream that is worth it */
#define MOVE_STEP     64u
#define MOVE_FEW      64u /* facts of a dead origin */
#define ORIGINS_CROWD (PAWL_ORIGINS_MAX / 4)
#define EMPTIED_MS    30000 /* long enough for everybody to have seen it */
#define OVERFLOW_MS   1000

/* ---- facts ---------------------------------------------------------------------------------- */

/* Returns false when it has to wait until what was adopted has gone out. */
static bool adopt(struct pawl_log_inside *in, struct pawl_log_fact *fact, uint32_t handle)
{
    uint64_t position;

    if ((fact->flags & PAWL_LOG_JOURNAL) == 0 && fact->passes <= 1 + in->rank) {
        fact->passes++; /* its stream may yet be read, or somebody else be first */
        return true;
    }
    in->adopting = in->own->hi - in->own->won >= ADOPT_BACKLOG;
    if (in->adopting || pawl_log_own_append(in, handle, false, &position) != PAWL_OK) {
        return false;
    }
    fact->flags &= (uint8_t)~PAWL_LOG_JOURNAL;
    in->log->stats.adopted++;
    return true;
}

static bool visit(struct pawl_log_inside *in, uint32_t handle)
{
    struct pawl_log_fact *fact = pawl_log_fact_at(&in->facts, handle);

    if (fact->bytes == NULL || (fact->flags & PAWL_LOG_NOTE) != 0) {
        return true;
    }
    if (pawl_log_fact_until(fact) < in->slow_s) {
        pawl_log_facts_forget(in, handle);
        in->log->stats.expired++;
        return true;
    }
    return fact->refs > 0 || !pawl_log_synced_here(in) || adopt(in, fact, handle);
}

/*
 * Each node begins at another place, so that nodes with the same journal do not all append the
 * same facts: what one has appended, the others have read when they come to it.
 */
static uint32_t handle_of(const struct pawl_log_inside *in, uint32_t step)
{
    uint32_t count = in->sweep_count;
    uint64_t begin = in->member_count == 0 ? 0 : (uint64_t)count * in->rank / in->member_count;

    return PAWL_LOG_FIRST + (uint32_t)((begin + step) % count);
}

static void sweep_facts(struct pawl_log_inside *in, uint64_t now_ms)
{
    in->adopting = false;
    if (in->sweep_count == 0) {
        if (now_ms < in->sweep_ms || in->facts.used <= PAWL_LOG_FIRST) {
            return;
        }
        in->sweep_ms = now_ms + PASS_MS;
        in->sweep_count = in->facts.used - PAWL_LOG_FIRST;
        in->sweep = 0;
    }
    for (uint32_t i = 0; i < STEP_FACTS && in->sweep < in->sweep_count; i++) {
        if (!visit(in, handle_of(in, in->sweep))) {
            return;
        }
        in->sweep++;
    }
    if (in->sweep >= in->sweep_count) {
        in->sweep_count = 0;
    }
}

/* ---- slots ---------------------------------------------------------------------------------- */

/* Slots of facts that have expired let them go; leading dead ones are dropped. */
static uint32_t scan_origin(struct pawl_log_inside *in, struct pawl_log_origin *origin,
                            uint32_t budget)
{
    uint64_t q = in->scan_position > origin->lo ? in->scan_position : origin->lo;
    uint32_t used = 0;

    for (; q <= origin->hi && used < budget; q++, used++) {
        uint32_t handle = *pawl_log_slot_at(origin, q) & PAWL_LOG_HANDLE;

        if (handle >= PAWL_LOG_FIRST && pawl_log_slot(in, origin, q) == PAWL_LOG_VOID) {
            pawl_log_slot_set(in, origin, q, PAWL_LOG_VOID);
        }
    }
    in->scan_position = q;
    uint64_t lo = origin->lo;

    while (lo < q && *pawl_log_slot_at(origin, lo) == PAWL_LOG_VOID) {
        lo++;
    }
    pawl_log_slots_drop(in, origin, lo);
    return used;
}

static void scan_slots(struct pawl_log_inside *in, uint64_t now_ms)
{
    uint32_t budget = STEP_SLOTS;

    while (budget > 0 && now_ms >= in->scan_ms) {
        struct pawl_log_origin *origin = in->origins[in->scan_origin];

        if (origin != NULL) {
            budget -= scan_origin(in, origin, budget);
        }
        if (origin == NULL || in->scan_position > origin->hi) {
            in->scan_origin++;
            in->scan_position = 0;
        }
        if (in->scan_origin >= in->origins_end) {
            in->scan_origin = 0;
            in->scan_ms = now_ms + PASS_MS;
        }
    }
}

/* ---- trimming ------------------------------------------------------------------------------- */

static void emit(struct pawl_log_inside *in, struct pawl_engine_command *command)
{
    command->part = PAWL_PART_LOG;
    command->tag = pawl_log_tag(in, PAWL_LOG_TAG_OTHER, 0);
    command->deadline_ms = in->options.deadline_ms;
    pawl_engine_emit(&in->options.out, command);
}

static void trim(struct pawl_log_inside *in, struct pawl_log_origin *origin, uint64_t position,
                 uint64_t now_ms)
{
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_TRIM,
                                           .trim = { origin->id, position } };

    origin->trim_ms = now_ms + TRIM_EVERY_MS;
    in->log->stats.trims++;
    emit(in, &command);
}

static bool has_moves(const struct pawl_log_inside *in, const struct pawl_log_origin *origin)
{
    for (uint32_t i = 0; i < in->move_count; i++) {
        if (in->moves[i].origin == origin->index) {
            return true;
        }
    }
    return false;
}

/*
 * Append the first live facts of @origin to our stream. The old positions are given up when the
 * engine has the new ones, so a trim that follows never takes the last copy.
 */
static void move_some(struct pawl_log_inside *in, struct pawl_log_origin *origin)
{
    uint32_t moved = 0;
    uint64_t end = origin->won < origin->hi ? origin->won : origin->hi;

    if (has_moves(in, origin)) {
        return;
    }
    for (uint64_t q = origin->lo; q <= end && moved < MOVE_STEP; q++) {
        uint32_t handle = pawl_log_slot(in, origin, q);
        struct pawl_log_move *move = &in->moves[in->move_count];

        if (handle < PAWL_LOG_FIRST ||
            (pawl_log_fact_at(&in->facts, handle)->flags & PAWL_LOG_NOTE) != 0) {
            continue;
        }
        if (in->move_count == PAWL_LOG_MOVES ||
            pawl_log_own_append(in, handle, false, &move->to) != PAWL_OK) {
            return;
        }
        move->from = q;
        move->origin = origin->index;
        in->move_count++;
        in->log->stats.survivors++;
        moved++;
    }
}

static uint64_t first_live(const struct pawl_log_inside *in, const struct pawl_log_origin *origin)
{
    uint64_t end = origin->won < origin->hi ? origin->won : origin->hi;
    uint64_t q = origin->lo;

    while (q <= end && pawl_log_slot(in, origin, q) == PAWL_LOG_VOID) {
        q++;
    }
    return q < origin->won + 1 ? q : origin->won + 1;
}

static void tend_own(struct pawl_log_inside *in, uint64_t now_ms)
{
    struct pawl_log_origin *own = in->own;
    uint64_t first = own->first > 0 ? own->first : own->won + 1;
    uint64_t live = first_live(in, own);
    uint64_t total = own->won + 1 > first ? own->won + 1 - first : 0;

    if (live >= first + TRIM_MIN && now_ms >= own->trim_ms) {
        trim(in, own, live, now_ms);
    } else if (total >= MOVE_MIN && own->live < total / 2 && live < first + TRIM_MIN) {
        move_some(in, own);
    }
}

static void tend_dead(struct pawl_log_inside *in, struct pawl_log_origin *origin, uint64_t now_ms)
{
    uint64_t total = origin->first > 0 ? origin->top + 1 - origin->first : 0;

    if (origin->empty > 0 || origin->hi < origin->top) {
        return;
    }
    if (origin->live == 0 && origin->first > 0) {
        if (now_ms >= origin->trim_ms) {
            trim(in, origin, origin->top + 1, now_ms);
        }
    } else if (origin->live == 0 && origin->emptied_ms != 0 &&
               now_ms - origin->emptied_ms >= EMPTIED_MS && now_ms >= origin->trim_ms) {
        struct pawl_engine_command command = { .verb = PAWL_ENGINE_DROP_ORIGIN,
                                               .drop = { origin->id } };

        origin->trim_ms = now_ms + TRIM_EVERY_MS;
        in->log->stats.drops++;
        emit(in, &command);
    } else if (origin->live > 0 && (origin->live <= total / 2 || origin->live <= MOVE_FEW ||
                                    in->origin_count > ORIGINS_CROWD)) {
        move_some(in, origin);
    }
}

static void tend_streams(struct pawl_log_inside *in, uint64_t now_ms)
{
    if (!pawl_log_synced_here(in)) {
        return;
    }
    tend_own(in, now_ms);
    for (uint32_t i = 0; in->lowest && i < in->origins_end; i++) {
        struct pawl_log_origin *origin = in->origins[i];

        if (origin != NULL && origin != in->own && !origin->member && origin->listed &&
            now_ms - origin->quiet_ms >= PAWL_LOG_DEAD_MS) {
            tend_dead(in, origin, now_ms);
        }
    }
}

void pawl_log_tend(struct pawl_log_inside *in, uint64_t now_ms)
{
    if (now_ms >= in->tend_ms || in->adopting) {
        in->tend_ms = now_ms + STEP_MS;
        sweep_facts(in, now_ms);
        scan_slots(in, now_ms);
    }
    if (now_ms >= in->trim_ms) {
        in->trim_ms = now_ms + HOUSE_MS;
        tend_streams(in, now_ms);
        pawl_log_tend_holes(in, now_ms);
    }
    if (in->overflow && now_ms >= in->overflow_ms) {
        in->overflow_ms = now_ms + OVERFLOW_MS;
        in->overflow = false;
    }
}
