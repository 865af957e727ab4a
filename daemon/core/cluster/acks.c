#include "core/cluster/acks.h"

#include "core/cluster/families.h"

#include <string.h>

#define TICK_MS 100

static const char only_here[] =
    "the engine is away and there is no data_dir: it acts at this node and is delivered when the "
    "engine returns, but a restart before that would forget it";
static const char only_here_broken[] =
    "the engine is away and the journal in data_dir does not take it: it acts at this node and is "
    "delivered when the engine returns, but a restart before that would forget it";

void pawl_acks_init(struct pawl_acks *acks, const struct pawl_acks_options *options)
{
    memset(acks, 0, sizeof(*acks));
    acks->options = *options;
    acks->next_ms = UINT64_MAX;
}

bool pawl_acks_confirm(const struct pawl_acks *acks, enum pawl_ack_level level, bool journal)
{
    if (acks->member_count == 0) {
        return false;
    }
    return level == PAWL_ACK_LEVEL_EVERYWHERE ||
           (level >= PAWL_ACK_LEVEL_DURABLE && !journal && acks->replicas == 0);
}

/* ---- what is reached ----------------------------------------------------------------------- */

static bool at_another(const struct pawl_acks *acks, const struct pawl_ack_wait *wait)
{
    for (uint32_t i = 0; i < acks->member_count; i++) {
        if (pawl_log_confirmed(acks->options.log, &acks->members[i]) >= wait->position) {
            return true;
        }
    }
    return false;
}

static bool at_these(const struct pawl_acks *acks, const struct pawl_ack_wait *wait,
                     const struct pawl_member_id *nodes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (pawl_log_confirmed(acks->options.log, &nodes[i]) < wait->position &&
            !acks->options.silent(acks->options.ctx, &nodes[i])) {
            return false;
        }
    }
    return true;
}

/* A member that the engine has lost is not announced, and still one; so both are asked. */
static bool at_all(const struct pawl_acks *acks, const struct pawl_ack_wait *wait)
{
    return acks->member && pawl_log_appended(acks->options.log) >= wait->position &&
           wait->shown_by != 0 && acks->listed_by >= wait->shown_by && !acks->listed_cut &&
           at_these(acks, wait, acks->members, acks->member_count) &&
           at_these(acks, wait, acks->listed, acks->listed_count) && !acks->lost_cut &&
           at_these(acks, wait, acks->lost, acks->lost_count);
}

static bool at_replicas(const struct pawl_acks *acks, const struct pawl_ack_wait *wait,
                        uint32_t replicas)
{
    return replicas > 0 && pawl_log_replicated(acks->options.log, replicas) >= wait->position;
}

static enum pawl_ack_level reached_of(const struct pawl_acks *acks,
                                      const struct pawl_ack_wait *wait)
{
    uint32_t majority = pawl_families_quorum(acks->replicas);
    bool quorum = at_replicas(acks, wait, majority);
    bool durable =
        wait->journaled || quorum || at_replicas(acks, wait, 1) || at_another(acks, wait);

    if (durable && (quorum || majority == 0) && wait->asked == PAWL_ACK_LEVEL_EVERYWHERE &&
        at_all(acks, wait)) {
        return PAWL_ACK_LEVEL_EVERYWHERE;
    }
    return quorum    ? PAWL_ACK_LEVEL_QUORUM
           : durable ? PAWL_ACK_LEVEL_DURABLE
                     : PAWL_ACK_LEVEL_MEMORY;
}

/* The most that can come while things are as they are. */
static enum pawl_ack_level target_of(const struct pawl_acks *acks, const struct pawl_ack_wait *wait)
{
    enum pawl_ack_level most = wait->asked;
    bool durable =
        wait->journaling || wait->journaled || acks->replicas > 0 || acks->member_count > 0;

    if (acks->up && !durable) {
        return PAWL_ACK_LEVEL_MEMORY;
    }
    if (most == PAWL_ACK_LEVEL_QUORUM && acks->up && acks->replicas == 0) {
        most = PAWL_ACK_LEVEL_DURABLE;
    }
    return most;
}

/* ---- waits --------------------------------------------------------------------------------- */

static void unlink_wait(struct pawl_acks *acks, struct pawl_ack_wait *wait)
{
    *(wait->previous == NULL ? &acks->first : &wait->previous->next) = wait->next;
    *(wait->next == NULL ? &acks->last : &wait->next->previous) = wait->previous;
    acks->stats.waiting--;
}

static void finish(struct pawl_acks *acks, struct pawl_ack_wait *wait)
{
    bool engine = pawl_log_appended(acks->options.log) >= wait->position;
    bool held =
        wait->reached > PAWL_ACK_LEVEL_MEMORY || engine || wait->asked <= PAWL_ACK_LEVEL_MEMORY;

    unlink_wait(acks, wait);
    acks->stats.reached[wait->reached]++;
    acks->stats.shortfall += wait->reached < wait->asked ? 1 : 0;
    acks->stats.refused += held ? 0 : 1;
    wait->done(wait, held ? PAWL_OK : PAWL_EUNAVAIL,
               held               ? NULL
               : wait->journaling ? only_here_broken
                                  : only_here);
}

/* Returns whether it ended. */
static bool look_at(struct pawl_acks *acks, struct pawl_ack_wait *wait, uint64_t now_ms)
{
    enum pawl_ack_level target = target_of(acks, wait);
    bool appended = pawl_log_appended(acks->options.log) >= wait->position;
    bool safe = wait->journaled || appended;

    if (now_ms >= acks->lost_until_ms) {
        acks->lost_count = 0;
        acks->lost_cut = false;
    }
    if (appended && wait->shown_by == 0 && wait->asked == PAWL_ACK_LEVEL_EVERYWHERE) {
        wait->shown_by = acks->options.announces(acks->options.ctx) + 1;
        acks->options.announce(acks->options.ctx);
    }
    wait->reached = reached_of(acks, wait);
    if ((wait->reached >= target && (safe || wait->asked <= PAWL_ACK_LEVEL_MEMORY)) ||
        wait->reached >= wait->asked || now_ms >= wait->deadline_ms) {
        finish(acks, wait);
        return true;
    }
    return false;
}

void pawl_acks_begin(struct pawl_acks *acks, struct pawl_ack_wait *wait, uint64_t now_ms)
{
    wait->next = NULL;
    wait->previous = acks->last;
    *(acks->last == NULL ? &acks->first : &acks->last->next) = wait;
    acks->last = wait;
    acks->stats.waiting++;
    wait->shown_by = 0;
    wait->reached = PAWL_ACK_LEVEL_MEMORY;
    if (look_at(acks, wait, now_ms)) {
        return;
    }
    if (acks->replicas > 0 && wait->asked >= PAWL_ACK_LEVEL_DURABLE &&
        (wait->asked > PAWL_ACK_LEVEL_DURABLE || !wait->journaling)) {
        uint32_t majority = pawl_families_quorum(acks->replicas);

        pawl_log_want(acks->options.log, wait->position,
                      wait->asked == PAWL_ACK_LEVEL_DURABLE ? 1 : majority);
    }
    acks->next_ms = now_ms + TICK_MS < acks->next_ms ? now_ms + TICK_MS : acks->next_ms;
}

void pawl_acks_journaled(struct pawl_acks *acks, struct pawl_ack_wait *wait, bool kept,
                         uint64_t now_ms)
{
    wait->journaled = kept;
    if (kept) {
        wait->journaling = false;
    }
    (void)look_at(acks, wait, now_ms);
}

void pawl_acks_on_progress(struct pawl_acks *acks, uint64_t now_ms)
{
    struct pawl_ack_wait *wait = acks->first;

    while (wait != NULL) {
        struct pawl_ack_wait *next = wait->next;

        (void)look_at(acks, wait, now_ms);
        wait = next;
    }
}

void pawl_acks_on_members(struct pawl_acks *acks, const struct pawl_member_id *members,
                          uint32_t count, uint64_t now_ms)
{
    acks->member_count = 0;
    acks->member = false;
    for (uint32_t i = 0; i < count && acks->member_count < PAWL_MEMBERS_MAX; i++) {
        if (pawl_member_id_equal(members[i], acks->options.self)) {
            acks->member = true;
        } else {
            acks->members[acks->member_count++] = members[i];
        }
    }
    pawl_acks_on_progress(acks, now_ms);
}

void pawl_acks_on_announced(struct pawl_acks *acks, const struct pawl_announced *announced,
                            uint32_t count, uint64_t number, uint64_t now_ms)
{
    acks->listed_count = 0;
    acks->listed_cut = false;
    acks->listed_by = number;
    for (uint32_t i = 0; i < count; i++) {
        if (pawl_member_id_equal(announced[i].id, acks->options.self)) {
            continue;
        }
        if (acks->listed_count == PAWL_MEMBERS_SEEN_MAX) {
            acks->listed_cut = true;
            break;
        }
        acks->listed[acks->listed_count++] = announced[i].id;
    }
    pawl_acks_on_progress(acks, now_ms);
}

static bool is_lost(const struct pawl_acks *acks, const struct pawl_member_id *id)
{
    for (uint32_t i = 0; i < acks->lost_count; i++) {
        if (pawl_member_id_equal(acks->lost[i], *id)) {
            return true;
        }
    }
    return false;
}

void pawl_acks_lost(struct pawl_acks *acks, uint64_t until_ms)
{
    for (uint32_t i = 0; i < acks->listed_count; i++) {
        if (is_lost(acks, &acks->listed[i])) {
            continue;
        }
        acks->lost_cut = acks->lost_cut || acks->lost_count == PAWL_MEMBERS_SEEN_MAX;
        if (!acks->lost_cut) {
            acks->lost[acks->lost_count++] = acks->listed[i];
        }
    }
    acks->lost_cut = acks->lost_cut || acks->listed_cut;
    acks->lost_until_ms = until_ms;
}

void pawl_acks_on_engine(struct pawl_acks *acks, bool up, uint32_t replicas, uint64_t now_ms)
{
    bool changed = acks->up != up || acks->replicas != replicas;

    acks->up = up;
    acks->listed_by = up ? acks->listed_by : 0; /* perhaps it is another engine that comes back */
    acks->replicas = replicas;
    if (changed) {
        pawl_acks_on_progress(acks, now_ms);
    }
}

void pawl_acks_tick(struct pawl_acks *acks, uint64_t now_ms)
{
    if (now_ms < acks->next_ms) {
        return;
    }
    pawl_acks_on_progress(acks, now_ms);
    acks->next_ms = acks->first == NULL ? UINT64_MAX : now_ms + TICK_MS;
}

void pawl_acks_end(struct pawl_acks *acks, uint64_t now_ms)
{
    (void)now_ms;
    while (acks->first != NULL) {
        struct pawl_ack_wait *wait = acks->first;

        wait->reached = reached_of(acks, wait);
        finish(acks, wait);
    }
}
