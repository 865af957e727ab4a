/* Views: known, acted on, proposed. */
#include "core/cluster/members_inside.h"

#include <string.h>

bool pawl_members_in(const struct pawl_members *members, const struct pawl_members_view *view)
{
    return pawl_view_find(&view->view, &members->options.self) != PAWL_RING_NOBODY;
}

static bool read_view(struct pawl_members *members, struct pawl_bytes sealed,
                      enum pawl_status *status)
{
    const struct pawl_seal_keys *keys = &members->options.keys;

    *status = PAWL_ECORRUPT;
    for (unsigned i = 0; i < keys->count && *status == PAWL_ECORRUPT; i++) {
        *status = pawl_view_decode(&members->next.view, &keys->keys[i], sealed);
    }
    members->newer = *status == PAWL_EVERSION;
    if (*status != PAWL_OK) {
        members->metrics.bad++;
        return false;
    }
    memcpy(members->next.sealed, sealed.data, sealed.size);
    members->next.size = sealed.size;
    return true;
}

static void remember(struct pawl_members *members, uint64_t number)
{
    members->past[members->past_next++ % PAWL_MEMBERS_PAST] = number;
}

static bool was_known(const struct pawl_members *members, uint64_t number)
{
    bool found = number == members->known.view.number;

    for (unsigned i = 0; i < PAWL_MEMBERS_PAST && !found; i++) {
        found = members->past[i] == number;
    }
    return found;
}

bool pawl_members_is_forked(const struct pawl_members *members)
{
    return members->forked != 0 && members->forked == members->known.view.number;
}

/* The view in `next` has a higher number than `known`. */
static void know(struct pawl_members *members, uint64_t now_ms)
{
    remember(members, members->known.view.number);
    members->known = members->next;
    members->known_tag = members->tag;
    members->shown_ms = 0;
    members->clear = false;
    if (members->joining != 0 && members->joining <= members->known.view.number) {
        members->joining = 0;
    }
    if (!pawl_members_in(members, &members->known)) {
        pawl_members_act(members, &members->known, now_ms); /* nothing to wait for: it is out */
    }
}

bool pawl_members_shown(struct pawl_members *members, struct pawl_bytes sealed, uint64_t *number,
                        uint64_t now_ms)
{
    const struct pawl_members_view *known = &members->known;
    enum pawl_status status;

    *number = 0;
    if (sealed.size == 0) {
        return true;
    }
    if (sealed.size == known->size && memcmp(sealed.data, known->sealed, known->size) == 0) {
        *number = known->view.number;
        return true;
    }
    if (!read_view(members, sealed, &status)) {
        return false;
    }
    *number = members->next.view.number;
    if (*number > known->view.number) {
        know(members, now_ms);
    }
    return true;
}

/* ---- acting on one ---- */

/* Their announcements stay for a while: they decide no more, but may still be fresh (acks.h). */
static void count_dead(struct pawl_members *members, const struct pawl_view *view)
{
    const struct pawl_view *before = &members->acted.view;

    for (uint16_t i = 0; i < before->count; i++) {
        const struct pawl_member_id *id = &before->members[i].id;

        if (pawl_view_find(view, id) == PAWL_RING_NOBODY && pawl_members_is_dead(members, id)) {
            members->metrics.removed++;
        }
    }
}

static void expel(struct pawl_members *members)
{
    members->metrics.expelled++;
    members->granted_ms = 0;
    members->granted_here = false;
    members->options.events.expelled(members->options.events.self);
}

void pawl_members_act(struct pawl_members *members, const struct pawl_members_view *view,
                      uint64_t now_ms)
{
    const struct pawl_members_events *events = &members->options.events;
    bool was_in = pawl_members_in(members, &members->acted);
    bool is_in = pawl_members_in(members, view);
    bool mine = view->view.number == members->proposal;

    if (members->gone || view->view.number <= members->acted.view.number) {
        return;
    }
    if (!is_in) {
        pawl_members_set_tenure(members, 0);
    }
    if (mine) {
        count_dead(members, &view->view);
    }
    members->acted = *view;
    members->metrics.adopted++;
    if (was_in && !is_in) {
        expel(members);
    }
    events->adopted(events->self, &members->acted.view, now_ms);
    if (mine) {
        events->push(events->self, pawl_bytes_of(members->acted.sealed, members->acted.size));
    }
}

enum pawl_status pawl_members_learn(struct pawl_members *members, struct pawl_bytes sealed,
                                    uint64_t now_ms)
{
    enum pawl_status status;
    uint64_t number = pawl_view_peek(sealed);

    if (number != 0 && number <= members->acted.view.number) {
        return PAWL_OK; /* older, or the same */
    }
    if (!read_view(members, sealed, &status)) {
        return status;
    }
    if (number > members->known.view.number) {
        know(members, now_ms);
        pawl_members_act(members, &members->known, now_ms);
    } else {
        pawl_members_act(members,
                         number == members->known.view.number ? &members->known : &members->next,
                         now_ms);
    }
    return PAWL_OK;
}

/* ---- setting one ---- */

static void emit_set(struct pawl_members *members, const struct pawl_members_view *view, bool exact,
                     uint64_t base, struct pawl_bytes over)
{
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_VIEW_SET };

    command.view_set.number = view->view.number;
    command.view_set.view = pawl_bytes_of(view->sealed, view->size);
    command.view_set.exact = exact;
    command.view_set.base = base;
    command.view_set.over = over;
    members->proposing = exact;
    members->set_tag = pawl_members_emit(members, &command);
}

void pawl_members_set_again(struct pawl_members *members)
{
    if (members->known.view.number != 0 && members->set_tag == 0) {
        members->metrics.set_again++;
        emit_set(members, &members->known, false, 0, pawl_bytes_of(NULL, 0));
    }
}

/* The view in `next` goes out, with a number after @after; false: there are none left. */
static bool send_after(struct pawl_members *members, uint64_t after, struct pawl_bytes over)
{
    struct pawl_members_view *next = &members->next;

    next->view.number = pawl_view_number_after(after, (uint16_t)pawl_members_random(members));
    if (next->view.number == 0) {
        return false;
    }
    next->size = pawl_view_encode(&next->view, members->options.keys.keys, next->sealed);
    members->proposal = next->view.number;
    members->joining = pawl_members_in(members, next) ? next->view.number : 0;
    members->metrics.proposed++;
    emit_set(members, next, true, members->engine_view, over);
    members->again = true; /* right behind it: what it came to, and who is out */
    return true;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The view in `next` follows the one that the engine has. */
static bool send_next(struct pawl_members *members)
{
    uint64_t after = larger(members->engine_view, members->known.view.number);

    return send_after(members, larger(after, members->floor), pawl_bytes_of(NULL, 0));
}

/* ---- what to propose ---- */

static bool is_panic(struct pawl_members *members, unsigned gone, unsigned total, uint64_t now_ms)
{
    bool panic = gone * 2 > total;

    if (panic && !members->metrics.panic) {
        members->metrics.panics++;
        members->panic_ms = now_ms;
    }
    members->metrics.panic = panic;
    return panic && now_ms < members->panic_ms + PAWL_MEMBERS_PANIC_MS;
}

/* Whether there are dead ones, and they go now. */
static bool wants_to_drop(struct pawl_members *members, uint64_t now_ms)
{
    const struct pawl_view *view = &members->known.view;
    unsigned total = view->count + (pawl_members_in(members, &members->known) ? 0U : 1U);
    unsigned dead = 0;
    unsigned fading = 0; /* the dead too */

    for (uint16_t i = 0; i < view->count; i++) {
        dead += pawl_members_is_dead(members, &view->members[i].id) ? 1 : 0;
        fading += pawl_members_is_fading(members, &view->members[i].id) ? 1 : 0;
    }
    return !is_panic(members, dead > 0 ? fading : 0, total, now_ms) && dead > 0;
}

static void drop_dead(const struct pawl_members *members, struct pawl_view *view)
{
    const struct pawl_view *from = &members->known.view;

    for (uint16_t i = 0; i < from->count; i++) {
        if (pawl_members_is_dead(members, &from->members[i].id)) {
            (void)pawl_view_drop(view, &from->members[i].id);
        }
    }
}

/* The state that this member wants to have in the view, where it is another than it has. */
static enum pawl_view_state wants_to_be(const struct pawl_members *members, uint64_t now_ms)
{
    const struct pawl_view *view = &members->known.view;
    uint16_t at = pawl_view_find(view, &members->options.self);

    if (members->leaving) {
        return at != PAWL_RING_NOBODY && view->members[at].state == PAWL_VIEW_SERVING
                   ? PAWL_VIEW_LEAVING
                   : PAWL_VIEW_NONE;
    }
    /* Nothing is asked for that would have to wait afterwards, while the slots are nobody's. */
    return at == PAWL_RING_NOBODY && members->ready && pawl_members_is_settled(members, now_ms) &&
                   pawl_members_outside_is_quiet(members, now_ms)
               ? PAWL_VIEW_SERVING
               : PAWL_VIEW_NONE;
}

static bool put_self(struct pawl_members *members, struct pawl_view *view,
                     enum pawl_view_state state)
{
    struct pawl_bytes address = pawl_bytes_of(members->address, strlen(members->address));
    enum pawl_status status = pawl_view_put(view, &members->options.self, state, address);

    members->metrics.full = status == PAWL_EFULL;
    return status == PAWL_OK;
}

/* What stands there has stood long enough, and everybody who is announced has this secret. */
static bool may_heal(const struct pawl_members *members, uint64_t now_ms)
{
    if (!members->up || members->set_tag != 0 || members->newer || !members->ready ||
        members->leaving || now_ms < members->unread_ms + PAWL_MEMBERS_HEAL_MS) {
        return false;
    }
    for (uint32_t i = 0; i < members->seen_count; i++) {
        const struct pawl_member_seen *seen = &members->seen[i];

        if (seen->listed && !seen->known && now_ms < seen->changed_ms + PAWL_MEMBERS_FENCE_MS) {
            return false;
        }
    }
    return true;
}

bool pawl_members_heal(struct pawl_members *members, struct pawl_bytes sealed, uint64_t now_ms)
{
    uint64_t hash = pawl_keyhash64(members->options.keys.keys, sealed.data, sealed.size) | 1;
    uint64_t after = larger(members->known.view.number, members->floor);

    if (hash != members->unread) {
        members->unread = hash;
        members->unread_ms = now_ms;
    }
    if (members->metrics.unreadable_since_ms == 0) {
        members->metrics.unreadable_since_ms = now_ms;
    }
    if (!may_heal(members, now_ms)) {
        return false;
    }
    for (uint32_t i = 0; i < members->seen_count; i++) {
        after = larger(after, members->seen[i].known ? members->seen[i].info.acting : 0);
    }
    memset(&members->next.view, 0, sizeof(members->next.view));
    members->unread_ms = now_ms; /* once in that time */
    members->joining = 0;
    if (!put_self(members, &members->next.view, PAWL_VIEW_SERVING) ||
        !send_after(members, after, sealed)) {
        return false;
    }
    members->metrics.healed++;
    return true;
}

void pawl_members_propose(struct pawl_members *members, uint64_t now_ms)
{
    bool in = pawl_members_in(members, &members->known);

    if (members->set_tag != 0 || !members->up || (!in && (!members->ready || members->leaving)) ||
        members->engine_view != members->known.view.number) {
        return;
    }
    if (pawl_members_is_forked(members)) {
        memset(&members->next.view, 0, sizeof(members->next.view));
        (void)send_next(members);
        return;
    }
    if (members->known.view.number != members->acted.view.number) {
        return;
    }
    bool drops = wants_to_drop(members, now_ms);
    bool rises = in && members->floor > members->known.view.number;
    enum pawl_view_state state = wants_to_be(members, now_ms);

    if (!drops && !rises && state == PAWL_VIEW_NONE) {
        return; /* as nearly always: nothing is copied for it */
    }
    members->next = members->known;
    if (drops) {
        drop_dead(members, &members->next.view);
    }
    if ((state != PAWL_VIEW_NONE && put_self(members, &members->next.view, state)) || drops ||
        rises) {
        (void)send_next(members);
    }
}

/* ---- leaving for good ---- */

static void finish(struct pawl_members *members)
{
    if (!members->done) {
        members->done = true;
        members->options.events.done(members->options.events.self);
    }
}

void pawl_members_withdraw(struct pawl_members *members, uint64_t now_ms)
{
    members->retry_ms = now_ms + PAWL_MEMBERS_INTERVAL_MS;
    if (members->up) {
        pawl_members_retire(members, &members->options.self);
    }
    if (!pawl_members_in(members, &members->known) && members->joining == 0) {
        finish(members);
        return;
    }
    if (!members->up || members->set_tag != 0) {
        return;
    }
    members->next = members->known;
    (void)pawl_view_drop(&members->next.view, &members->options.self);
    if (!send_next(members)) {
        finish(members);
    }
}

/* ---- replies to VIEW_SET ---- */

static void on_won(struct pawl_members *members, uint64_t now_ms)
{
    const struct pawl_members_events *events = &members->options.events;

    members->metrics.won++;
    members->engine_view = members->proposal;
    if (members->next.view.number != members->proposal ||
        members->proposal <= members->known.view.number) {
        return; /* another view came in between: the next announcement tells */
    }
    know(members, now_ms);
    if (members->gone) {
        events->push(events->self, pawl_bytes_of(members->known.sealed, members->known.size));
        finish(members);
    }
}

/* `known` stands again, in place of the view @replaced: one that it followed once, or of others. */
static void on_set_again(struct pawl_members *members, uint64_t replaced)
{
    if (replaced != 0 && !was_known(members, replaced)) {
        members->forked = members->known.view.number;
        members->metrics.forks++;
        pawl_members_set_tenure(members, 0);
    }
}

void pawl_members_on_set(struct pawl_members *members, const struct pawl_engine_reply *reply,
                         uint64_t now_ms)
{
    bool proposed = members->proposing;
    uint64_t number = 0;

    if (reply->tag != members->set_tag || members->set_tag == 0) {
        return;
    }
    members->set_tag = 0;
    if (reply->result == PAWL_ENGINE_WON) {
        if (proposed) {
            on_won(members, now_ms);
        } else {
            members->engine_view = members->known.view.number;
            on_set_again(members, reply->view_set.replaced);
        }
        return;
    }
    /* UNKNOWN: should it come to be, the next announcement says so. Not to be taken for one who may
     * decide until then, for others wait for such before they join. */
    members->joining = 0;
    if (reply->result == PAWL_ENGINE_REFUSED &&
        pawl_members_shown(members, reply->view_set.view, &number, now_ms)) {
        members->engine_view = number;
        members->again = true;
        members->retry_ms = now_ms; /* gone: at once, on what is there now */
    }
}
