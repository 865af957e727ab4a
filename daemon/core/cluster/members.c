/* Heartbeats, tenure, and what a reply comes to. */
#include "core/cluster/members.h"

#include "core/cluster/members_inside.h"

#include <string.h>

#define NEVER     UINT64_MAX
#define RAISE_MAX (UINT64_C(1) << 48) /* 4 billion views */

uint64_t pawl_members_random(struct pawl_members *members)
{
    /* splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014) */
    uint64_t mixed = members->random += UINT64_C(0x9e3779b97f4a7c15);

    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

enum pawl_status pawl_members_init(struct pawl_members *members,
                                   const struct pawl_members_options *options)
{
    struct pawl_bytes version = options->version;

    memset(members, 0, sizeof(*members));
    members->next_ms = NEVER;
    if (options->address.size == 0 || options->address.size > PAWL_VIEW_ADDRESS_MAX ||
        memchr(options->address.data, '\0', options->address.size) != NULL) {
        return PAWL_EINVAL;
    }
    members->options = *options;
    memcpy(members->address, options->address.data, options->address.size);
    version.size =
        version.size < sizeof(members->version) ? version.size : sizeof(members->version);
    if (version.size > 0) {
        memcpy(members->version, version.data, version.size);
    }
    members->options.address = pawl_bytes_of(members->address, options->address.size);
    members->options.version = pawl_bytes_of(members->version, version.size);
    if (options->deadline_ms == 0 || options->deadline_ms > PAWL_MEMBERS_DEADLINE_MS) {
        members->options.deadline_ms = PAWL_MEMBERS_DEADLINE_MS;
    }
    members->random = options->seed;
    return PAWL_OK;
}

/* ---- commands ---- */

uint64_t pawl_members_emit(struct pawl_members *members, struct pawl_engine_command *command)
{
    command->part = PAWL_PART_MEMBERS;
    command->tag = ++members->tag;
    command->deadline_ms = members->options.deadline_ms;
    pawl_engine_emit(&members->options.out, command);
    return command->tag;
}

void pawl_members_retire(struct pawl_members *members, const struct pawl_member_id *id)
{
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_RETIRE };

    command.retire.member = *id;
    (void)pawl_members_emit(members, &command);
}

/* The view by which this member may decide once the announcement was answered. */
static uint64_t acting(const struct pawl_members *members)
{
    if (members->joining != 0) {
        return members->joining;
    }
    if (pawl_members_in(members, &members->known)) {
        return members->known.view.number;
    }
    return pawl_members_in(members, &members->acted) ? members->acted.view.number : 0;
}

static enum pawl_member_state state_of(const struct pawl_members *members)
{
    if (members->leaving) {
        return PAWL_MEMBER_LEAVING;
    }
    return pawl_members_in(members, &members->acted) ? PAWL_MEMBER_SERVING : PAWL_MEMBER_JOINING;
}

static void announce(struct pawl_members *members, uint64_t now_ms)
{
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_ANNOUNCE };
    uint8_t bytes[PAWL_MEMBER_INFO_MAX];
    struct pawl_member_info info = {
        .state = state_of(members),
        .acting = acting(members),
        .epoch = members->epoch,
        .started_unix_s = members->options.started_unix_s,
        .address = members->options.address,
        .version = members->options.version,
        .blob = pawl_bytes_of(members->blob, members->blob_size),
        .frozen = members->frozen,
    };
    size_t size =
        pawl_member_info_encode(&info, members->options.keys.keys, &members->options.self, bytes);

    command.announce.self = members->options.self;
    command.announce.info = pawl_bytes_of(bytes, size);
    members->again = false;
    members->sent_ms = now_ms;
    members->announces++;
    members->announce_tag = pawl_members_emit(members, &command);
}

/* Others wait, or this member waits for others: a second is long. */
static bool in_a_hurry(const struct pawl_members *members)
{
    if (members->known.view.number != members->acted.view.number ||
        members->known.view.number != members->engine_view) {
        return true;
    }
    if (pawl_members_in(members, &members->acted)) {
        return members->tenure_until_ms == 0;
    }
    return members->ready && !members->leaving && !members->metrics.full;
}

static void pump(struct pawl_members *members, uint64_t now_ms)
{
    if (members->gone) {
        if (!members->done && now_ms >= members->retry_ms) {
            pawl_members_withdraw(members, now_ms);
        }
        members->next_ms = members->done ? NEVER : members->retry_ms;
        return;
    }
    if (members->up && members->announce_tag == 0 &&
        (members->again || now_ms >= members->due_ms)) {
        announce(members, now_ms);
    }
    members->next_ms = members->up && members->announce_tag == 0 ? members->due_ms : NEVER;
}

/* The next announcement, counted from when the last one was sent. */
static void schedule(struct pawl_members *members, uint64_t now_ms)
{
    uint64_t interval = in_a_hurry(members) ? PAWL_MEMBERS_HURRY_MS : PAWL_MEMBERS_INTERVAL_MS;

    interval = interval * (900 + pawl_members_random(members) % 201) / 1000;
    members->due_ms = members->sent_ms + interval;
    if (members->due_ms < now_ms) {
        members->due_ms = now_ms;
    }
}

/* ---- tenure ---- */

void pawl_members_set_tenure(struct pawl_members *members, uint64_t until_ms)
{
    if (members->tenure_until_ms != until_ms) {
        members->tenure_until_ms = until_ms;
        members->options.events.tenure(members->options.events.self, until_ms);
    }
}

static void lapse(struct pawl_members *members, uint64_t now_ms)
{
    if (members->tenure_until_ms != 0 && now_ms >= members->tenure_until_ms) {
        members->metrics.lapses++;
        pawl_members_set_tenure(members, 0);
    }
}

/* The engine was just seen to have `known`, by the announcement sent at sent_ms. */
static void grant(struct pawl_members *members, uint64_t now_ms)
{
    uint64_t until = members->sent_ms + PAWL_TENURE_MS;

    if (!pawl_members_in(members, &members->acted) || !pawl_members_in(members, &members->known) ||
        now_ms >= until || pawl_members_is_forked(members)) {
        return;
    }
    if (members->tenure_until_ms == 0 &&
        !(members->clear && pawl_members_is_settled(members, now_ms))) {
        return; /* it had lapsed: somebody else may have begun to decide */
    }
    members->granted_ms = members->sent_ms;
    members->granted_here = true;
    pawl_members_set_tenure(members, until);
}

/* ---- replies ---- */

/* Observations begin anew, and who has no tenure waits: see (2). */
static void begin_anew(struct pawl_members *members, bool went_back, uint64_t now_ms)
{
    members->epoch_ms = now_ms;
    members->went_back = went_back;
    members->granted_here = false;
    members->shown_ms = 0;
    members->clear = false;
    members->metrics.panic = false;
    pawl_members_watch_reset(members);
}

static void on_view(struct pawl_members *members, uint64_t number, bool younger, uint64_t now_ms)
{
    members->engine_view = number;
    if (number < members->known.view.number) {
        /* At once, but not again and again when the engine takes no view. */
        members->again = !younger || !members->went_back;
        if (younger) { /* sent when `known` had been set: it is lost */
            members->metrics.went_back += members->went_back ? 0 : 1;
            begin_anew(members, true, now_ms);
            pawl_members_set_again(members);
        }
        return;
    }
    if (members->shown_ms == 0) {
        members->shown_ms = now_ms;
    }
    members->clear = members->clear || pawl_members_is_clear(members, now_ms);
    if (members->clear) {
        pawl_members_act(members, &members->known, now_ms);
    }
    grant(members, now_ms);
}

/* Announcements that are nobody's any more; one with each reply. */
static void retire_ghost(struct pawl_members *members)
{
    uint64_t ghost_ms =
        members->ghost_ms > PAWL_MEMBERS_GHOST_MS ? members->ghost_ms : PAWL_MEMBERS_GHOST_MS;

    for (uint32_t i = 0; i < members->seen_count; i++) {
        const struct pawl_member_seen *seen = &members->seen[i];

        if (seen->listed && members->sent_ms >= seen->changed_ms + ghost_ms &&
            pawl_view_find(&members->known.view, &seen->id) == PAWL_RING_NOBODY &&
            pawl_view_find(&members->acted.view, &seen->id) == PAWL_RING_NOBODY) {
            pawl_members_retire(members, &seen->id);
            return;
        }
    }
}

static void on_announced(struct pawl_members *members, const struct pawl_engine_reply *reply,
                         uint64_t now_ms)
{
    const struct pawl_members_events *events = &members->options.events;
    bool younger = reply->tag > members->known_tag;
    uint64_t number = 0;

    members->metrics.announced++;
    members->metrics.replicas = reply->announce.replicas;
    members->metrics.round_trip_ms = now_ms - members->sent_ms;
    members->engine_ms = reply->announce.engine_ms;
    members->engine_at_ms = members->sent_ms + (now_ms - members->sent_ms) / 2;
    members->won_sent_ms = members->sent_ms;
    bool readable = pawl_members_shown(members, reply->announce.view, &number, now_ms);

    pawl_members_watch(members, reply, now_ms);
    if (readable) {
        members->unread = 0;
        members->metrics.unreadable_since_ms = 0;
        on_view(members, number, younger, now_ms);
    }
    events->announced(events->self, reply, members->sent_ms, now_ms);
    if (readable) {
        pawl_members_propose(members, now_ms);
    } else if (!pawl_members_heal(members, reply->announce.view, now_ms)) {
        pawl_members_set_again(members);
    }
    retire_ghost(members);
}

static void on_announce(struct pawl_members *members, const struct pawl_engine_reply *reply,
                        uint64_t now_ms)
{
    if (reply->tag != members->announce_tag || members->announce_tag == 0) {
        return; /* of an epoch before */
    }
    members->announce_tag = 0;
    if (reply->result != PAWL_ENGINE_WON) {
        members->metrics.unanswered++;
        members->again = false;
    } else if (!members->gone) {
        on_announced(members, reply, now_ms);
    }
    schedule(members, now_ms);
    if (reply->result != PAWL_ENGINE_WON && members->due_ms < now_ms + PAWL_MEMBERS_HURRY_MS) {
        members->due_ms = now_ms + PAWL_MEMBERS_HURRY_MS;
    }
}

void pawl_members_on_reply(struct pawl_members *members, const struct pawl_engine_reply *reply,
                           uint64_t now_ms)
{
    lapse(members, now_ms);
    switch (reply->verb) {
    case PAWL_ENGINE_ANNOUNCE:
        on_announce(members, reply, now_ms);
        break;
    case PAWL_ENGINE_VIEW_SET:
        pawl_members_on_set(members, reply, now_ms);
        break;
    default: /* RETIRE: what it comes to is seen */
        break;
    }
    pump(members, now_ms);
}

/* ---- what happens outside ---- */

void pawl_members_on_up(struct pawl_members *members, const struct pawl_epoch *epoch,
                        uint64_t now_ms)
{
    lapse(members, now_ms);
    members->up = true;
    if (!pawl_epoch_equal(members->epoch, *epoch)) {
        members->epoch = *epoch;
        members->metrics.epochs++;
        members->announce_tag = 0;
        members->set_tag = 0;
        members->joining = 0;
        members->engine_view = 0;
        begin_anew(members, false, now_ms);
        if (!members->gone) {
            pawl_members_set_again(members); /* before the first announcement: see (2) */
        }
    }
    members->again = true;
    members->retry_ms = now_ms;
    pump(members, now_ms);
}

void pawl_members_on_down(struct pawl_members *members, uint64_t now_ms)
{
    lapse(members, now_ms);
    members->up = false;
    members->announce_tag = 0;
    members->set_tag = 0;
    members->joining = 0;
    pump(members, now_ms);
}

void pawl_members_tick(struct pawl_members *members, uint64_t now_ms)
{
    lapse(members, now_ms);
    pump(members, now_ms);
}

void pawl_members_ready(struct pawl_members *members, uint64_t now_ms)
{
    if (!members->ready) {
        members->ready = true;
        members->again = true;
        pump(members, now_ms);
    }
}

void pawl_members_set_blob(struct pawl_members *members, struct pawl_bytes blob)
{
    members->blob_size = blob.size < sizeof(members->blob) ? blob.size : sizeof(members->blob);
    if (members->blob_size > 0) {
        memcpy(members->blob, blob.data, members->blob_size);
    }
}

void pawl_members_set_frozen(struct pawl_members *members, bool frozen)
{
    members->frozen = frozen;
}

void pawl_members_hear(struct pawl_members *members, uint64_t number, uint64_t now_ms)
{
    if (number > members->known.view.number) {
        members->again = true; /* one at a time: no more often than the engine answers */
        pump(members, now_ms);
    }
}

void pawl_members_raise(struct pawl_members *members, uint64_t number)
{
    uint64_t known = members->known.view.number;

    if (number > members->floor && number > known && number - known <= RAISE_MAX) {
        members->floor = number;
    }
}

void pawl_members_poke(struct pawl_members *members)
{
    members->again = true;
    if (members->up && members->announce_tag == 0 && !members->gone) {
        members->due_ms = 0;
        members->next_ms = 0;
    }
}

void pawl_members_leave(struct pawl_members *members, uint64_t now_ms)
{
    if (!members->leaving) {
        members->leaving = true;
        members->again = true;
        pump(members, now_ms);
    }
}

void pawl_members_gone(struct pawl_members *members, uint64_t now_ms)
{
    if (members->gone) {
        return;
    }
    members->leaving = true;
    members->gone = true;
    members->retry_ms = now_ms;
    pawl_members_set_tenure(members, 0);
    pump(members, now_ms);
}

/* ---- looking ---- */

const struct pawl_view *pawl_members_view(const struct pawl_members *members)
{
    return &members->acted.view;
}

const struct pawl_view *pawl_members_known(const struct pawl_members *members)
{
    return &members->known.view;
}

struct pawl_bytes pawl_members_sealed(const struct pawl_members *members)
{
    return pawl_bytes_of(members->acted.sealed, members->acted.size);
}

bool pawl_members_is_in(const struct pawl_members *members)
{
    return pawl_members_in(members, &members->acted);
}

uint64_t pawl_members_won_sent_ms(const struct pawl_members *members)
{
    return members->won_sent_ms;
}

uint64_t pawl_members_tenure_until_ms(const struct pawl_members *members)
{
    return members->tenure_until_ms;
}

const struct pawl_member_seen *pawl_members_seen(const struct pawl_members *members,
                                                 uint32_t *count)
{
    *count = members->seen_count;
    return members->seen;
}

uint64_t pawl_members_silent_ms(const struct pawl_members *members, const struct pawl_member_id *id)
{
    const struct pawl_member_seen *seen = pawl_members_find(members, id);

    if (pawl_member_id_equal(members->options.self, *id) || !members->began) {
        return 0;
    }
    if (seen == NULL) { /* in a view that was heard of just now, or of no interest */
        return pawl_view_find(&members->acted.view, id) != PAWL_RING_NOBODY ? 0 : UINT64_MAX;
    }
    return members->won_sent_ms > seen->changed_ms ? members->won_sent_ms - seen->changed_ms : 0;
}

int64_t pawl_members_clock_offset_ms(const struct pawl_members *members, int64_t wall_ms,
                                     uint64_t now_ms)
{
    if (members->engine_ms == 0) {
        return 0;
    }
    return (int64_t)(members->engine_ms + (now_ms - members->engine_at_ms)) - wall_ms;
}

void pawl_members_metrics_get(const struct pawl_members *members,
                              struct pawl_members_metrics *metrics)
{
    const struct pawl_view *view = &members->acted.view;

    *metrics = members->metrics;
    metrics->view = view->number;
    metrics->members = view->count;
    metrics->serving = 0;
    for (uint16_t i = 0; i < view->count; i++) {
        metrics->serving += view->members[i].state == PAWL_VIEW_SERVING ? 1 : 0;
    }
}
