/* What the parts of members.h share; nobody else includes it. */
#ifndef PAWL_CORE_CLUSTER_MEMBERS_INSIDE_H
#define PAWL_CORE_CLUSTER_MEMBERS_INSIDE_H

#include "core/cluster/members.h"

/* ---- members_watch.c: who was heard of, who is dead, who may still decide ---- */

/** A new epoch, or data that went back: what was seen before says nothing. */
void pawl_members_watch_reset(struct pawl_members *members);

/** Take in the announced ones of a reply. */
void pawl_members_watch(struct pawl_members *members, const struct pawl_engine_reply *reply,
                        uint64_t now_ms);

const struct pawl_member_seen *pawl_members_find(const struct pawl_members *members,
                                                 const struct pawl_member_id *id);

/** Whether a member of the view is dead, by the reply to the last announcement. */
bool pawl_members_is_dead(const struct pawl_members *members, const struct pawl_member_id *id);

/** Whether it is about to be dead: it vanished together with the dead ones. */
bool pawl_members_is_fading(const struct pawl_members *members, const struct pawl_member_id *id);

/** (1): whether nobody outside of `known`, which the engine was just seen to have, may decide. */
bool pawl_members_is_clear(const struct pawl_members *members, uint64_t now_ms);

/** Whether no announced one outside of `known` may decide, without a look at time. */
bool pawl_members_outside_is_quiet(const struct pawl_members *members, uint64_t now_ms);

/** (2): whether who knows a higher view has set it in this epoch, if anybody does. */
bool pawl_members_is_settled(const struct pawl_members *members, uint64_t now_ms);

/* ---- members_view.c: views that are known, acted on, proposed ---- */

bool pawl_members_in(const struct pawl_members *members, const struct pawl_members_view *view);

/**
 * A view by the engine's word: empty, or sealed. *number: its number, 0 for none. False: it cannot
 * be read.
 */
bool pawl_members_shown(struct pawl_members *members, struct pawl_bytes sealed, uint64_t *number,
                        uint64_t now_ms);

/** Act on `known`, if it is not acted on yet. */
void pawl_members_act(struct pawl_members *members, const struct pawl_members_view *view,
                      uint64_t now_ms);

/** Whether `known` replaced a view of others: nobody may decide by it. */
bool pawl_members_is_forked(const struct pawl_members *members);

/** Set `known` again: the engine has lost it. */
void pawl_members_set_again(struct pawl_members *members);

/** What the engine has is no view; see members.h. True: this member writes over it. */
bool pawl_members_heal(struct pawl_members *members, struct pawl_bytes sealed, uint64_t now_ms);

/** Propose what is to be changed in the view, if anything. */
void pawl_members_propose(struct pawl_members *members, uint64_t now_ms);

/** Gone: say so. */
void pawl_members_withdraw(struct pawl_members *members, uint64_t now_ms);

void pawl_members_on_set(struct pawl_members *members, const struct pawl_engine_reply *reply,
                         uint64_t now_ms);

/* ---- members.c ---- */

/** Emit a command; its tag. */
uint64_t pawl_members_emit(struct pawl_members *members, struct pawl_engine_command *command);

void pawl_members_retire(struct pawl_members *members, const struct pawl_member_id *id);

/** Tenure until @until_ms, and say so. */
void pawl_members_set_tenure(struct pawl_members *members, uint64_t until_ms);

uint64_t pawl_members_random(struct pawl_members *members);

#endif
