/*
 * What the operator sees of the cluster: figures, log events, audit events.
 */
#include "edge/cluster_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SHOW_MS 100

/* ---- events -------------------------------------------------------------------------------- */

static void id_text(char *out, size_t size, const struct pawl_member_id *id)
{
    size_t at = 0;

    for (size_t i = 0; i < sizeof(id->bytes) && at + 3 <= size; i++) {
        at += (size_t)snprintf(out + at, size - at, "%02x", id->bytes[i]);
    }
}

void pawl_cluster_say_up(struct pawl_cluster *cluster, const struct pawl_engine_state *state)
{
    uint64_t now_ms = pawl_cluster_now_ms(cluster);

    (void)pthread_mutex_lock(&cluster->stats_lock);
    cluster->engine_state = *state;
    cluster->engine_up = true;
    cluster->engine_since_ms = now_ms;
    (void)pthread_mutex_unlock(&cluster->stats_lock);
    if (!pawl_audit_in_log(cluster->options.audit)) { /* else it says so there */
        pawl_log_event(cluster->options.log, PAWL_LOG_INFO, "engine_up",
                       PAWL_F_TEXT("address", state->address),
                       PAWL_F_TEXT("version", state->version),
                       PAWL_F_U64("replicas", state->replicas));
    }
    if (state->unsafe) {
        pawl_log_event(cluster->options.log, PAWL_LOG_WARN, "engine_unsafe",
                       PAWL_F_TEXT("address", state->address), PAWL_F_TEXT("why", state->warning));
    }
    pawl_audit_event(cluster->options.audit, PAWL_AUDIT_ENGINE_UP, NULL,
                     PAWL_F_TEXT("address", state->address), PAWL_F_TEXT("version", state->version),
                     PAWL_F_U64("replicas", state->replicas), PAWL_F_BOOL("unsafe", state->unsafe));
}

void pawl_cluster_say_down(struct pawl_cluster *cluster, const char *why)
{
    uint64_t now_ms = pawl_cluster_now_ms(cluster);

    (void)pthread_mutex_lock(&cluster->stats_lock);
    cluster->engine_up = false;
    cluster->engine_since_ms = now_ms;
    (void)snprintf(cluster->shown_why, sizeof(cluster->shown_why), "%s", why);
    (void)pthread_mutex_unlock(&cluster->stats_lock);
    pawl_log_event(cluster->options.log, PAWL_LOG_WARN, "engine_down", PAWL_F_TEXT("why", why),
                   PAWL_F_TEXT("meanwhile", "checks go on from memory; revocations are kept here "
                                            "and delivered when it is back"));
    pawl_audit_event(cluster->options.audit, PAWL_AUDIT_ENGINE_DOWN, NULL, PAWL_F_TEXT("why", why));
}

void pawl_cluster_say_not_found(struct pawl_cluster *cluster, const char *name, const char *why)
{
    (void)pthread_mutex_lock(&cluster->stats_lock);
    (void)snprintf(cluster->shown_why, sizeof(cluster->shown_why),
                   "cluster.advertise: %.80s: %.50s", name, why);
    (void)pthread_mutex_unlock(&cluster->stats_lock);
    pawl_log_event(cluster->options.log, PAWL_LOG_WARN, "advertised_name_not_found",
                   PAWL_F_TEXT("name", name), PAWL_F_TEXT("why", why),
                   PAWL_F_TEXT("do", "this node joins when the name in cluster.advertise leads to "
                                     "it, for others cannot ask it before; look at the name "
                                     "server"));
}

void pawl_cluster_say_out_of_reach(struct pawl_cluster *cluster, unsigned members)
{
    pawl_log_event(cluster->options.log, PAWL_LOG_WARN, "joined_out_of_reach",
                   PAWL_F_U64("members", members),
                   PAWL_F_TEXT("do", "this node joins though it has no connection to so many "
                                     "members, and cannot fetch what they count: look at the "
                                     "network between them, and at certificates"));
}

static void say_member(struct pawl_cluster *cluster, const char *what,
                       const struct pawl_member_id *id, const char *address)
{
    char text[2 * sizeof(id->bytes) + 1] = "";

    id_text(text, sizeof(text), id);
    if (!pawl_audit_in_log(cluster->options.audit)) {
        pawl_log_event(cluster->options.log, PAWL_LOG_INFO, what, PAWL_F_TEXT("member", text),
                       PAWL_F_TEXT("address", address));
    }
    pawl_audit_event(cluster->options.audit, PAWL_AUDIT_MEMBERS, NULL, PAWL_F_TEXT("what", what),
                     PAWL_F_TEXT("member", text), PAWL_F_TEXT("address", address));
}

/* Called before the peers follow the view, so they are those of the one before. */
void pawl_cluster_say_view(struct pawl_cluster *cluster, const struct pawl_view *view)
{
    unsigned serving = 0;

    for (unsigned i = 0; i < view->count; i++) {
        const struct pawl_view_member *member = &view->members[i];
        bool known = pawl_member_id_equal(member->id, cluster->self);

        serving += member->state == PAWL_VIEW_SERVING ? 1 : 0;
        for (unsigned j = 0; j < cluster->peer_count; j++) {
            if (pawl_member_id_equal(cluster->peers[j].id, member->id)) {
                known = true;
                if (member->state == PAWL_VIEW_LEAVING && !cluster->peers[j].leaving) {
                    cluster->peers[j].leaving = true;
                    say_member(cluster, "member_leaving", &member->id, member->address);
                }
            }
        }
        if (!known) {
            say_member(cluster, "member_joined", &member->id, member->address);
        }
    }
    for (unsigned j = 0; j < cluster->peer_count; j++) {
        const struct pawl_cluster_peer *peer = &cluster->peers[j];

        if (pawl_view_find(view, &peer->id) == PAWL_RING_NOBODY) {
            say_member(cluster, peer->leaving ? "member_left" : "member_dead", &peer->id,
                       peer->address);
        }
    }
    pawl_log_event(cluster->options.log, PAWL_LOG_INFO, "view", PAWL_F_U64("number", view->number),
                   PAWL_F_U64("members", view->count), PAWL_F_U64("serving", serving));
}

void pawl_cluster_say_expelled(struct pawl_cluster *cluster)
{
    pawl_log_event(cluster->options.log, PAWL_LOG_ERROR, "expelled",
                   PAWL_F_TEXT("why", "the other members took this node for dead: it stood still, "
                                      "or the engine could not be reached from here"),
                   PAWL_F_TEXT("do", "it joins again by itself; look at its machine and network"));
    pawl_audit_event(cluster->options.audit, PAWL_AUDIT_MEMBERS, NULL,
                     PAWL_F_TEXT("what", "expelled"));
}

/* What an operator has to look after. */
static void say_troubles(struct pawl_cluster *cluster, const struct pawl_node_figures *figures)
{
    const struct pawl_log *log = cluster->options.log;
    bool unreadable = figures->view_unreadable_ms != 0;

    if (figures->engine_emptied > cluster->emptied) {
        cluster->emptied = figures->engine_emptied;
        pawl_log_event(log, PAWL_LOG_WARN, "engine_emptied",
                       PAWL_F_TEXT("why", "its data are gone though it did not restart: FLUSHALL, "
                                          "or keys were deleted by hand"),
                       PAWL_F_TEXT("meanwhile", "log-outs, counts and what was refreshed in the "
                                                "last ten minutes are said again; other refresh "
                                                "families are refused: people log in again"));
        pawl_audit_event(cluster->options.audit, PAWL_AUDIT_ENGINE_EMPTIED, NULL,
                         PAWL_F_U64("times", figures->engine_emptied));
    }
    if (unreadable != cluster->unreadable) {
        cluster->unreadable = unreadable;
        pawl_log_event(log, unreadable ? PAWL_LOG_ERROR : PAWL_LOG_INFO,
                       unreadable ? "view_unreadable" : "view_readable",
                       PAWL_F_TEXT("why", unreadable ? "the view in the engine has no seal of this "
                                                       "secret_file: nobody decides by it"
                                                     : ""),
                       PAWL_F_TEXT("do", unreadable ? "compare secret_file and cluster.prefix with "
                                                      "the other nodes; where all are the same, a "
                                                      "node writes a new view after 10 s"
                                                    : ""));
    }
    if (figures->slots.load_given_up > cluster->begun_empty) {
        pawl_log_event(log, PAWL_LOG_ERROR, "slots_begun_empty",
                       PAWL_F_U64("slots", figures->slots.load_given_up - cluster->begun_empty),
                       PAWL_F_TEXT("why", "the engine refused again and again to say what was "
                                          "counted; their keys count from nothing"));
        cluster->begun_empty = figures->slots.load_given_up;
    }
}

static void say_changes(struct pawl_cluster *cluster, const struct pawl_node_figures *figures)
{
    const struct pawl_log *log = cluster->options.log;

    if (figures->gate.open != cluster->gate_open) {
        cluster->gate_open = figures->gate.open;
        pawl_log_event(log, PAWL_LOG_INFO, figures->gate.open ? "gate_open" : "gate_closed",
                       PAWL_F_U64("closed_ms", figures->gate.closed_last_ms),
                       PAWL_F_U64("epochs", figures->epoch_changes));
    }
    if (figures->log.lost_tail > cluster->lost_tail) {
        pawl_log_event(log, PAWL_LOG_WARN, "lost_tail",
                       PAWL_F_U64("entries", figures->log.lost_tail - cluster->lost_tail),
                       PAWL_F_TEXT("why", "the engine had forgotten entries that it acknowledged; "
                                          "they are appended again"));
        pawl_audit_event(cluster->options.audit, PAWL_AUDIT_LOST_TAIL, NULL,
                         PAWL_F_U64("entries", figures->log.lost_tail - cluster->lost_tail));
        cluster->lost_tail = figures->log.lost_tail;
    }
    if (figures->members.panic != cluster->panic) {
        cluster->panic = figures->members.panic;
        pawl_log_event(log, PAWL_LOG_ERROR, cluster->panic ? "view_panic" : "view_panic_over",
                       PAWL_F_TEXT("why", "more than half of the members are silent; the view is "
                                          "kept for a while"));
        pawl_audit_event(cluster->options.audit, PAWL_AUDIT_MEMBERS, NULL,
                         PAWL_F_TEXT("what", cluster->panic ? "panic" : "panic_over"));
    }
}

/* ---- figures ------------------------------------------------------------------------------- */

/* Since when something waits that is still waiting: under load something always does. */
static void note_pending(struct pawl_cluster *cluster, const struct pawl_log_stats *log,
                         uint64_t now_ms)
{
    if (log->backlog == 0) {
        cluster->pending_since_ms = 0;
    } else if (cluster->pending_since_ms == 0 ||
               log->said - log->backlog >= cluster->pending_upto) {
        cluster->pending_since_ms = now_ms;
        cluster->pending_upto = log->said;
    }
}

void pawl_cluster_show(struct pawl_cluster *cluster, uint64_t now_ms)
{
    if (now_ms < cluster->shown_ms + SHOW_MS) {
        return;
    }
    cluster->shown_ms = now_ms;
    struct pawl_node_figures *figures = &cluster->figures_next;

    pawl_node_figures_get(&cluster->node, now_ms, figures);
    note_pending(cluster, &figures->log, now_ms);
    if (cluster->node.birth_ms != 0) {
        atomic_store(&cluster->birth_us, cluster->node.birth_ms * 1000);
    }
    say_changes(cluster, figures);
    say_troubles(cluster, figures);
    pawl_members_set_frozen(&cluster->node.members, pawl_cluster_frozen(cluster));
    pawl_cluster_publish_rest(cluster);
    (void)pthread_mutex_lock(&cluster->stats_lock);
    cluster->shown = *figures;
    cluster->shown_pending_ms =
        cluster->pending_since_ms == 0 ? 0 : now_ms - cluster->pending_since_ms;
    (void)pthread_mutex_unlock(&cluster->stats_lock);
}

struct row {
    const char *name;
    uint64_t value;
};

static void put_rows(const struct pawl_stats_sink *sink, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sink->number(sink->self, rows[i].name, rows[i].value);
    }
}
#define PUT(sink, rows) put_rows((sink), (rows), sizeof(rows) / sizeof((rows)[0]))

static void member_stats(const struct pawl_node_figures *f, const struct pawl_stats_sink *sink)
{
    int64_t offset_ms = f->clock_offset_ms;
    const struct row rows[] = {
        { "members", f->members.members },
        { "members_serving", f->members.serving },
        { "view", f->members.view },
        { "view_changes", f->members.adopted },
        { "view_set_again", f->members.set_again },
        { "view_forks", f->members.forks },
        { "view_proposed", f->members.proposed },
        { "members_removed", f->members.removed },
        { "members_silent_ms", f->silent_max_ms },
        { "members_bad_seals", f->members.bad },
        { "view_unreadable_ms", f->view_unreadable_ms },
        { "views_healed", f->members.healed },
        { "panics", f->members.panics },
        { "expelled", f->members.expelled },
        { "tenure_ms", f->tenure_ms },
        { "tenure_lapses", f->members.lapses },
        { "heartbeats", f->members.announced },
        { "heartbeats_unanswered", f->members.unanswered },
        { "heartbeat_ms", f->members.round_trip_ms },
        { "epoch_changes", f->epoch_changes },
        { "engine_emptied", f->engine_emptied },
        { "clock_offset_ms", (uint64_t)(offset_ms < 0 ? -offset_ms : offset_ms) },
    };

    PUT(sink, rows);
    sink->flag(sink->self, "clock_behind", offset_ms > 0);
    sink->flag(sink->self, "view_panic", f->members.panic);
    sink->flag(sink->self, "view_full", f->members.full);
}

static void log_stats(const struct pawl_node_figures *f, uint64_t pending_ms, uint64_t lease_ms,
                      const struct pawl_stats_sink *sink)
{
    const struct row rows[] = {
        { "facts_log", f->log.facts },
        { "facts_log_bytes", f->log.bytes },
        { "facts_log_memory_bytes", f->log.memory_bytes },
        { "facts_log_origins", f->log.origins },
        { "pending_revocations", f->log.backlog },
        { "oldest_pending_age_ms", pending_ms },
        { "fresh_lease_remaining_ms", lease_ms },
        { "reasserted_entries", f->log.reasserted + f->families.reasserted },
        { "lost_tail_entries", f->log.lost_tail },
        { "gap_detected", f->log.hole_reads },
        { "facts_log_holes", f->log.holes },
        { "facts_log_holes_given_up", f->log.holes_given_up },
        { "facts_log_forged", f->log.forged },
        { "facts_log_conflicts", f->log.conflicts },
        { "facts_log_survivors", f->log.survivors },
        { "facts_log_trims", f->log.trims },
        { "facts_log_overflow", f->log.overflow },
        { "digest_mismatches", f->log.digest_mismatches },
        { "facts_log_rereads", f->log.rereads },
        { "wait_shortfall", f->log.wait_short + f->families.wait_short + f->exact_short },
        { "engine_unknown_outcomes", f->log.unknown + f->families.unknown + f->slots.save_unknown },
        { "engine_refused_commands", f->log.failed },
        { "ack_memory", f->acks.reached[1] },
        { "ack_durable", f->acks.reached[2] },
        { "ack_quorum", f->acks.reached[3] },
        { "ack_everywhere", f->acks.reached[4] },
        { "ack_shortfall", f->acks.shortfall },
        { "ack_refused", f->acks.refused },
        { "ack_waiting", f->acks.waiting },
    };

    PUT(sink, rows);
}

static void family_stats(const struct pawl_node_figures *f, const struct pawl_stats_sink *sink)
{
    const struct row rows[] = {
        { "gate_openings", f->gate.openings },
        { "gate_opened_by_time", f->gate.by_time },
        { "gate_closed_ms", f->gate.open ? 0 : f->gate.closed_last_ms },
        { "gate_closed_total_ms", f->gate.closed_total_ms },
        { "families_calls", f->families.calls },
        { "families_raced", f->families.raced },
        { "families_unavailable", f->families.unavailable },
        { "families_kept", f->families.kept },
        { "families_kept_cut", f->families.kept_cut },
        { "families_merged", f->families.merged },
        { "families_forked", f->families.forks },
        { "families_bad_seals", f->families.bad_seals },
    };

    PUT(sink, rows);
    sink->flag(sink->self, "gate_open", f->gate.open);
}

static void slot_stats(const struct pawl_node_figures *f, const struct pawl_stats_sink *sink)
{
    const struct row rows[] = {
        { "slots_held", f->slots.held },
        { "slots_wanted", f->slots.wanted },
        { "slots_given", f->slots.given },
        { "slots_seized", f->slots.seized_slots },
        { "slots_loaded", f->slots.loaded_slots },
        { "slots_begun_empty", f->slots.load_given_up },
        { "handover_pulls", f->slots.pulls },
        { "handover_retries", f->slots.pull_retries },
        { "handover_pulled_records", f->slots.pulled_records },
        { "handover_given_records", f->slots.given_records },
        { "handover_loaded_records", f->slots.loaded_records },
        { "handover_bad_records", f->slots.load_bad },
        { "handover_lost_records", f->slots.join_lost },
        { "handover_pushed_records", f->slots.pushed_records },
        { "handover_joined_records", f->slots.push_joined },
        { "counter_unsaved_age_ms", f->slots.unsaved_age_ms },
        { "counter_unsaved_age_max_ms", f->slots.unsaved_age_max_ms },
        { "counter_saved_records", f->slots.saved_records },
        { "counter_saved_bytes", f->slots.saved_bytes },
        { "counter_saves_outstanding", f->slots.saves },
        { "counter_save_refused", f->slots.save_refused },
        { "counter_save_unknown", f->slots.save_unknown },
    };

    PUT(sink, rows);
}

static void thread_stats(struct pawl_cluster *cluster, const struct pawl_stats_sink *sink)
{
    const struct pawl_cluster_figures *f = &cluster->figures;
    const struct row rows[] = {
        { "cluster_jobs", atomic_load(&cluster->jobs_out) },
        { "cluster_jobs_max", cluster->options.queue_max },
        { "cluster_jobs_refused", atomic_load(&f->refused_full) },
        { "cluster_stalls", atomic_load(&f->stalls) },
        { "cluster_stall_max_ms", atomic_load(&f->stall_max_ms) },
        { "cluster_view_pushes", atomic_load(&f->view_pushes) },
        { "cluster_peer_requests", atomic_load(&f->peer_requests) },
        { "cluster_pages", atomic_load(&f->pull_pages) },
        { "cluster_unreachable", atomic_load(&f->unreachable) },
        { "cluster_seeds_asked", atomic_load(&f->seeds_asked) },
        { "journal_kept", atomic_load(&f->journal_kept) },
        { "journal_failures", atomic_load(&f->journal_failed) },
        { "journal_waiting", atomic_load(&f->journal_waiting) },
    };

    PUT(sink, rows);
}

static struct pawl_bytes text_of(const char *text)
{
    return pawl_bytes_of(text, strlen(text));
}

void pawl_cluster_stats(struct pawl_cluster *cluster, const struct pawl_stats_sink *sink)
{
    struct pawl_node_figures figures;
    struct pawl_engine_state state;
    char why[sizeof(cluster->shown_why)];
    uint64_t bound_ms = atomic_load(&cluster->staleness_max_ms);
    uint64_t since_ms, pending_ms;
    bool up;

    (void)pthread_mutex_lock(&cluster->stats_lock);
    figures = cluster->shown;
    state = cluster->engine_state;
    memcpy(why, cluster->shown_why, sizeof(why));
    since_ms = cluster->engine_since_ms;
    pending_ms = cluster->shown_pending_ms;
    up = cluster->engine_up;
    (void)pthread_mutex_unlock(&cluster->stats_lock);
    member_stats(&figures, sink);
    log_stats(&figures, pending_ms,
              figures.staleness_ms < bound_ms ? bound_ms - figures.staleness_ms : 0, sink);
    family_stats(&figures, sink);
    slot_stats(&figures, sink);
    thread_stats(cluster, sink);
    sink->flag(sink->self, "engine_up", up);
    sink->flag(sink->self, "engine_unsafe", up && state.unsafe);
    sink->number(sink->self, "engine_replicas", up ? figures.members.replicas : 0);
    sink->number(sink->self, up ? "engine_up_ms" : "engine_down_ms",
                 pawl_cluster_now_ms(cluster) - since_ms);
    sink->text(sink->self, "engine_address", text_of(state.address));
    sink->text(sink->self, "engine_version", text_of(state.version));
    sink->text(sink->self, "engine_note", text_of(up ? state.warning : why));
    if (cluster->options.maker.stats != NULL) {
        cluster->options.maker.stats(cluster->options.maker.ctx, sink);
    }
}
