/* Who was heard of, who is dead, who may still decide. */
#include "core/cluster/members_inside.h"

#include <string.h>

static struct pawl_member_seen *find(struct pawl_members *members, const struct pawl_member_id *id)
{
    for (uint32_t i = 0; i < members->seen_count; i++) {
        if (pawl_member_id_equal(members->seen[i].id, *id)) {
            return &members->seen[i];
        }
    }
    return NULL;
}

const struct pawl_member_seen *pawl_members_find(const struct pawl_members *members,
                                                 const struct pawl_member_id *id)
{
    for (uint32_t i = 0; i < members->seen_count; i++) {
        if (pawl_member_id_equal(members->seen[i].id, *id)) {
            return &members->seen[i];
        }
    }
    return NULL;
}

static bool is_self(const struct pawl_members *members, const struct pawl_member_id *id)
{
    return pawl_member_id_equal(members->options.self, *id);
}

void pawl_members_watch_reset(struct pawl_members *members)
{
    for (uint32_t i = 0; i < members->seen_count; i++) {
        members->seen[i].mark = 0;
        members->seen[i].looks = 0;
    }
    members->began = false;
}

/* ---- a reply ---- */

static struct pawl_member_seen *add(struct pawl_members *members, const struct pawl_member_id *id,
                                    uint64_t now_ms)
{
    struct pawl_member_seen *seen = find(members, id);

    if (seen == NULL && members->seen_count < PAWL_MEMBERS_SEEN_MAX) {
        seen = &members->seen[members->seen_count++];
        memset(seen, 0, sizeof(*seen));
        seen->id = *id;
        seen->changed_ms = now_ms;
    }
    return seen;
}

/* Members are watched also before they are announced in this epoch, and when they no longer are. */
static void add_members(struct pawl_members *members, const struct pawl_view *view, uint64_t now_ms)
{
    for (uint16_t i = 0; i < view->count; i++) {
        if (!is_self(members, &view->members[i].id)) {
            (void)add(members, &view->members[i].id, now_ms);
        }
    }
}

static void read_info(struct pawl_members *members, struct pawl_member_seen *seen,
                      struct pawl_bytes info)
{
    const struct pawl_seal_keys *keys = &members->options.keys;

    seen->known = false;
    if (info.size <= sizeof(seen->bytes)) {
        memcpy(seen->bytes, info.data, info.size);
        for (unsigned i = 0; i < keys->count && !seen->known; i++) {
            seen->known = pawl_member_info_decode(&seen->info, &keys->keys[i], &seen->id,
                                                  pawl_bytes_of(seen->bytes, info.size)) == PAWL_OK;
        }
    }
    if (!seen->known) {
        memset(&seen->info, 0, sizeof(seen->info));
        members->metrics.bad++;
        return;
    }
    members->options.events.seen(members->options.events.self, seen);
}

static void look_at(struct pawl_members *members, const struct pawl_announced *announced,
                    uint64_t now_ms)
{
    struct pawl_member_seen *seen = add(members, &announced->id, now_ms);

    if (seen == NULL) {
        return; /* more than can be watched, and no member */
    }
    seen->listed = true;
    if (announced->mark != seen->mark || seen->looks == 0) {
        seen->mark = announced->mark;
        seen->changed_ms = now_ms;
        seen->looks = 0;
        read_info(members, seen, announced->info);
    }
}

static bool is_watched(const struct pawl_members *members, const struct pawl_member_seen *seen)
{
    return seen->listed || pawl_view_find(&members->acted.view, &seen->id) != PAWL_RING_NOBODY ||
           pawl_view_find(&members->known.view, &seen->id) != PAWL_RING_NOBODY;
}

/* The last one comes to place @at; its texts lie in its own bytes. */
static void forget(struct pawl_members *members, uint32_t at)
{
    struct pawl_member_seen *to = &members->seen[at];
    const struct pawl_member_seen *from = &members->seen[--members->seen_count];

    if (to == from) {
        return;
    }
    *to = *from;
    if (to->known) {
        to->info.address.data = to->bytes + (from->info.address.data - from->bytes);
        to->info.version.data = to->bytes + (from->info.version.data - from->bytes);
        to->info.blob.data = to->bytes + (from->info.blob.data - from->bytes);
    }
}

void pawl_members_watch(struct pawl_members *members, const struct pawl_engine_reply *reply,
                        uint64_t now_ms)
{
    for (uint32_t i = 0; i < members->seen_count; i++) {
        members->seen[i].listed = false;
        if (!members->began) {
            members->seen[i].changed_ms = now_ms;
        }
    }
    members->began = true;
    add_members(members, &members->acted.view, now_ms);
    add_members(members, &members->known.view, now_ms);
    for (uint32_t i = 0; i < reply->announce.member_count; i++) {
        if (!is_self(members, &reply->announce.members[i].id)) {
            look_at(members, &reply->announce.members[i], now_ms);
        }
    }
    for (uint32_t i = 0; i < members->seen_count;) {
        if (is_watched(members, &members->seen[i])) {
            members->seen[i++].looks++;
        } else {
            forget(members, i);
        }
    }
}

/* ---- judgement ---- */

/* From when its mark was seen until the announcement was *sent* that found it the same: what lay in
 * a socket while this member was stopped proves nothing. */
static bool is_silent(const struct pawl_members *members, const struct pawl_member_id *id,
                      uint64_t ms)
{
    const struct pawl_member_seen *seen = pawl_members_find(members, id);

    return seen != NULL && !is_self(members, id) && members->sent_ms >= seen->changed_ms + ms;
}

bool pawl_members_is_dead(const struct pawl_members *members, const struct pawl_member_id *id)
{
    const struct pawl_member_seen *seen = pawl_members_find(members, id);

    return is_silent(members, id, PAWL_MEMBER_TTL_MS) && seen->looks >= PAWL_MEMBERS_LOOKS;
}

bool pawl_members_is_fading(const struct pawl_members *members, const struct pawl_member_id *id)
{
    return is_silent(members, id, PAWL_MEMBER_TTL_MS - PAWL_MEMBERS_FADING_MS);
}

static bool is_still(const struct pawl_member_seen *seen, uint64_t now_ms)
{
    return now_ms >= seen->changed_ms + PAWL_MEMBERS_FENCE_MS;
}

/* An announced one that is not in `known`. */
static bool outsider_may_decide(const struct pawl_member_seen *seen, uint64_t now_ms)
{
    return !is_still(seen, now_ms) && !(seen->known && seen->info.acting == 0);
}

bool pawl_members_outside_is_quiet(const struct pawl_members *members, uint64_t now_ms)
{
    for (uint32_t i = 0; i < members->seen_count; i++) {
        const struct pawl_member_seen *seen = &members->seen[i];

        if (seen->listed && outsider_may_decide(seen, now_ms) &&
            pawl_view_find(&members->known.view, &seen->id) == PAWL_RING_NOBODY) {
            return false;
        }
    }
    return true;
}

/* One that was in the view that is acted on, and is not in `known`. */
static bool dropped_may_decide(const struct pawl_members *members,
                               const struct pawl_view_member *member, uint64_t now_ms)
{
    const struct pawl_member_seen *seen = pawl_members_find(members, &member->id);

    if (seen == NULL) {
        return now_ms < members->epoch_ms + PAWL_MEMBERS_FENCE_MS;
    }
    if (!seen->listed) { /* one that was LEAVING has taken itself out, with nothing left */
        return member->state != PAWL_VIEW_LEAVING && !is_still(seen, now_ms);
    }
    return outsider_may_decide(seen, now_ms);
}

bool pawl_members_is_clear(const struct pawl_members *members, uint64_t now_ms)
{
    if (members->shown_ms != 0 && now_ms >= members->shown_ms + PAWL_MEMBERS_FENCE_MS) {
        return true;
    }
    for (uint16_t i = 0; i < members->acted.view.count; i++) {
        const struct pawl_view_member *member = &members->acted.view.members[i];

        if (!is_self(members, &member->id) &&
            pawl_view_find(&members->known.view, &member->id) == PAWL_RING_NOBODY &&
            dropped_may_decide(members, member, now_ms)) {
            return false;
        }
    }
    return pawl_members_outside_is_quiet(members, now_ms);
}

static bool all_are_here(const struct pawl_members *members)
{
    for (uint16_t i = 0; i < members->known.view.count; i++) {
        const struct pawl_member_id *id = &members->known.view.members[i].id;
        const struct pawl_member_seen *seen = pawl_members_find(members, id);

        if (!is_self(members, id) && (seen == NULL || !seen->listed || !seen->known ||
                                      !pawl_epoch_equal(seen->info.epoch, members->epoch))) {
            return false;
        }
    }
    return true;
}

bool pawl_members_is_settled(const struct pawl_members *members, uint64_t now_ms)
{
    if (now_ms >= members->epoch_ms + PAWL_MEMBERS_FENCE_MS || members->granted_here) {
        return true;
    }
    if (members->went_back || members->known.view.number == 0) {
        return false;
    }
    /* Before anybody can have removed this member, or with everybody's word. */
    return (members->granted_ms != 0 &&
            members->epoch_ms < members->granted_ms + PAWL_MEMBER_TTL_MS) ||
           all_are_here(members);
}
