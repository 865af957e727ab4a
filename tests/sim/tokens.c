/* Revocations, cutoffs and cancels; reads of tokens; who still holds what was acknowledged. */
#include "sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS            "default"
#define DEADLINE_MS   3000
#define MINORITY_US   UINT64_C(3000000)  /* how long a primary without replicas goes on, at most */
#define AGAIN_US      UINT64_C(30000000) /* until all that was lost is said again */
#define EVERYWHERE_MS 15000

static uint64_t unix_s(const struct world *world)
{
    return (world->engine.clock_origin_ms + world->kernel.now_us / 1000) / 1000;
}

/* ---- saying it ---- */

static void done(struct pawl_ack_wait *wait, enum pawl_status status, const char *why)
{
    struct world_revocation *revocation = (struct world_revocation *)wait;
    struct sim_node *node = revocation->node;
    struct facts *facts = &node->world->facts;

    (void)why;
    kernel_note(&node->world->kernel, "revocation answered", node->index, revocation->token,
                wait->reached, (uint64_t)(int64_t)status);
    /* Nobody hears the answer of a node that was killed. */
    if (revocation->token != UINT32_MAX && status == PAWL_OK && node->is_open) {
        struct fact_token *token = &facts->tokens[revocation->token];

        token->level = (uint8_t)wait->reached;
        token->acked_us = node->world->kernel.now_us;
        token->losses = node->world->losses;
        facts->acknowledged[wait->reached]++;
        tokens_acknowledged(node->world, revocation->token);
    }
    if (revocation->previous != NULL) {
        revocation->previous->next = revocation->next;
    } else {
        node->revocations = revocation->next;
    }
    if (revocation->next != NULL) {
        revocation->next->previous = revocation->previous;
    }
    free(revocation);
}

static bool say(struct sim_node *node, struct pawl_fact *fact, enum pawl_ack_level level,
                uint32_t token)
{
    struct world *world = node->world;
    struct world_revocation *revocation;
    uint8_t bytes[PAWL_FACT_BYTES_MAX];
    uint64_t position = 0;
    uint32_t canceled;
    size_t size;
    uint64_t now_ms = node_now_ms(node);

    fact->ns = pawl_bytes_of(NS, sizeof(NS) - 1);
    fact->reason = fact->reason == PAWL_REASON_NONE ? PAWL_REASON_LOGOUT : fact->reason;
    fact->at_ms = world->engine.clock_origin_ms + world->kernel.now_us / 1000;
    fact->id = pawl_log_next_id(&node->node.log);
    if (pawl_fact_encode(fact, bytes, sizeof(bytes), &size) != PAWL_OK) {
        kernel_fail(&world->kernel, "a fact is refused");
        return false;
    }
    if (pawl_log_add(&node->node.log, pawl_bytes_of(bytes, size),
                     pawl_acks_confirm(&node->node.acks, level, world->profile.journal), now_ms,
                     &position, &canceled) != PAWL_OK) {
        return false;
    }
    if (token != UINT32_MAX) {
        world->facts.tokens[token].id = fact->id;
    }
    revocation = sim_take(sizeof(*revocation));
    revocation->node = node;
    revocation->life = node->life;
    revocation->token = token;
    revocation->next = node->revocations;
    if (revocation->next != NULL) {
        revocation->next->previous = revocation;
    }
    node->revocations = revocation;
    revocation->wait.asked = level;
    revocation->wait.position = position;
    revocation->wait.deadline_ms =
        now_ms + (level == PAWL_ACK_LEVEL_EVERYWHERE ? EVERYWHERE_MS : DEADLINE_MS);
    revocation->wait.journaled = world->profile.journal; /* it was kept when it was added */
    revocation->wait.done = done;
    if (world->control == CONTROL_ACK_AT_ONCE) {
        revocation->wait.reached = level;
        done(&revocation->wait, PAWL_OK, NULL);
        node_settle(node);
        return true;
    }
    pawl_acks_begin(&node->node.acks, &revocation->wait, now_ms);
    node_settle(node);
    return true;
}

void tokens_revoke(struct world *world, struct sim_node *node)
{
    struct pawl_fact fact = { .kind = PAWL_FACT_REVOCATION, .scope = PAWL_SCOPE_TOKEN };
    uint32_t index = world->facts.count;
    struct fact_token *token = &world->facts.tokens[index];
    enum pawl_ack_level level =
        (enum pawl_ack_level)kernel_between(&world->kernel, 1, PAWL_ACK_LEVEL_EVERYWHERE);
    char text[16];

    if (index == FACT_TOKENS || !node_is_ready(node)) {
        return;
    }
    world->facts.count++;
    fact.value = fact_token_name(index, text);
    fact.until_s =
        unix_s(world) + (kernel_chance(&world->kernel, 50)
                             ? kernel_between(&world->kernel, 20, 200)
                             : PAWL_FACT_SLACK_S + kernel_between(&world->kernel, 600, 7200));
    token->said_us = world->kernel.now_us;
    token->until_s = fact.until_s;
    token->node = node->index;
    kernel_note(&world->kernel, "revoke", node->index, index, level, fact.until_s);
    (void)say(node, &fact, level, index);
}

void tokens_cutoff(struct world *world, struct sim_node *node)
{
    struct pawl_fact fact = { .kind = PAWL_FACT_CUTOFF, .scope = PAWL_SCOPE_SUBJECT };
    unsigned subject = (unsigned)kernel_below(&world->kernel, FACT_SUBJECTS);
    char text[16];

    if (!node_is_ready(node)) {
        return;
    }
    fact.value = pawl_bytes_of(text, (size_t)snprintf(text, sizeof(text), "subject-%u", subject));
    fact.until_s = unix_s(world) + UINT64_C(30) * 86400;
    fact.cutoff_ms = world->engine.clock_origin_ms + world->kernel.now_us / 1000 -
                     kernel_below(&world->kernel, 600000);
    kernel_note(&world->kernel, "cutoff", node->index, subject, fact.cutoff_ms, 0);
    if (say(node, &fact, PAWL_ACK_LEVEL_QUORUM, UINT32_MAX) &&
        fact.cutoff_ms > world->facts.cutoffs_ms[subject]) {
        world->facts.cutoffs_ms[subject] = fact.cutoff_ms;
    }
}

void tokens_cancel(struct world *world, struct sim_node *node)
{
    struct pawl_fact fact = { .kind = PAWL_FACT_CANCEL };
    uint8_t id[PAWL_FACT_ID_BYTES];
    struct fact_token *token;

    if (world->facts.count == 0 || !node_is_ready(node)) {
        return;
    }
    token = &world->facts.tokens[kernel_below(&world->kernel, world->facts.count)];
    if (token->id.sequence == 0 || token->canceled_us != 0) {
        return;
    }
    pawl_fact_id_write(id, &token->id);
    fact.cancels = pawl_bytes_of(id, sizeof(id));
    fact.until_s = token->until_s;
    token->canceled_us = world->kernel.now_us;
    kernel_note(&world->kernel, "cancel", node->index, (uint64_t)(token - world->facts.tokens), 0,
                0);
    (void)say(node, &fact, PAWL_ACK_LEVEL_QUORUM, UINT32_MAX);
}

void tokens_forget(struct sim_node *node)
{
    while (node->revocations != NULL) {
        struct world_revocation *next = node->revocations->next;

        free(node->revocations);
        node->revocations = next;
    }
}

/* ---- the journal ---- */

void node_journal(struct sim_node *node, struct pawl_bytes bytes)
{
    struct pawl_fact fact;

    if (!node->world->profile.journal) {
        return;
    }
    if (pawl_fact_decode(&fact, bytes) == PAWL_OK && fact.scope == PAWL_SCOPE_TOKEN) {
        uint32_t token = fact_token_parse(fact.value);

        if (token < FACT_TOKENS) {
            node->journaled[token / 64] |= UINT64_C(1) << token % 64;
        }
    }
    if (node->journal_count == node->journal_capacity) {
        node->journal_capacity = node->journal_capacity > 0 ? 2 * node->journal_capacity : 64;
        node->journal = sim_grow(node->journal, node->journal_capacity * sizeof(*node->journal));
    }
    node->journal[node->journal_count++] = blob_make(bytes.data, bytes.size);
}

bool journal_holds(const struct sim_node *node, uint32_t token)
{
    return (node->journaled[token / 64] >> token % 64 & 1) != 0;
}

void journal_load(struct sim_node *node)
{
    uint32_t count = node->journal_count;
    struct blob **old = node->journal;

    node->journal = NULL; /* what counts is said again, and so kept again */
    node->journal_count = 0;
    node->journal_capacity = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (pawl_log_load(&node->node.log, pawl_bytes_of(old[i]->bytes, old[i]->size),
                          node_now_ms(node)) != PAWL_OK) {
            kernel_fail(&node->world->kernel, "a fact of the journal is refused");
        }
        blob_drop(old[i]);
    }
    free(old);
}

/* ---- taking it in ---- */

static unsigned subject_of(const struct pawl_fact *fact)
{
    return fact->value.size == 9 ? (unsigned)(fact->value.data[8] - '0') % FACT_SUBJECTS : 0;
}

void tokens_on_fact(void *context, const struct pawl_log_news *news)
{
    struct sim_node *node = context;
    const struct pawl_fact *fact = news->fact;

    kernel_note(&node->world->kernel, "fact", node->index, fact->id.sequence, news->source,
                news->counts);
    node_journal(node, news->bytes);
    if (!news->counts || !pawl_fact_is_known(fact)) {
        return;
    }
    if (fact->kind == PAWL_FACT_CUTOFF && fact->scope == PAWL_SCOPE_SUBJECT) {
        node->last_cutoff_ms[subject_of(fact)] = fact->cutoff_ms;
    }
    if (pawl_revocations_apply(&node->table, &node->world->facts_key, fact, 0) != PAWL_OK) {
        kernel_fail(&node->world->kernel, "node %u has no room for a fact", node->index);
    }
}

void tokens_on_cancel(void *context, const struct pawl_fact *canceled,
                      const struct pawl_fact *remaining)
{
    struct sim_node *node = context;
    struct pawl_revocation rest = { PAWL_REASON_NONE, 0, 0 };

    if (remaining != NULL) {
        rest.reason = remaining->reason;
        rest.until_s = remaining->until_s;
    }
    (void)pawl_revocations_clear(&node->table,
                                 pawl_fact_scope_id(&node->world->facts_key, canceled),
                                 remaining != NULL ? &rest : NULL);
}

/* ---- asking ---- */

static bool is_live(const struct world *world, const struct fact_token *token);

static struct pawl_id token_id(const struct world *world, uint32_t token)
{
    char text[16];

    return pawl_scope_id(&world->facts_key, PAWL_SCOPE_TOKEN, pawl_bytes_of(NS, sizeof(NS) - 1),
                         pawl_bytes_of("", 0), fact_token_name(token, text));
}

static bool is_revoked(const struct sim_node *node, uint32_t token)
{
    struct pawl_revocation entry;

    return pawl_revocations_lookup(&node->table.view, token_id(node->world, token), &entry);
}

/* Whether what an entry of a stream says about a token is known at @node, as far as it counts. */
bool tokens_node_knows(const struct sim_node *node, struct pawl_bytes entry)
{
    const struct facts *facts = &node->world->facts;
    const uint8_t *at = memmem(entry.data, entry.size, "jti-", 4);
    uint32_t token;

    if (at == NULL || at + 12 > entry.data + entry.size) {
        return true;
    }
    token = fact_token_parse(pawl_bytes_of(at, 12));
    return token >= facts->count || facts->tokens[token].canceled_us != 0 ||
           !is_live(node->world, &facts->tokens[token]) || is_revoked(node, token);
}

void tokens_say_of_family(struct sim_node *node, const struct pawl_fact *from)
{
    struct pawl_fact fact = *from;

    (void)say(node, &fact, PAWL_ACK_LEVEL_QUORUM, UINT32_MAX);
}

/* Its token could still be used, and facts about it may not be forgotten, by whatever clock. */
static bool is_live(const struct world *world, const struct fact_token *token)
{
    uint64_t slack = world->profile.clock_jumps ? PAWL_FACT_SLACK_S + 60 : 5;

    return token->until_s > unix_s(world) + slack;
}

static void check_cutoff(struct world *world, struct sim_node *node)
{
    unsigned subject = (unsigned)kernel_below(&world->kernel, FACT_SUBJECTS);
    uint64_t cutoff = node_cutoff_ms(node, subject);

    if (cutoff < node->cutoff_seen_ms[subject]) {
        kernel_fail(&world->kernel, "R7: node %u lowers the cutoff of subject %u", node->index,
                    subject);
    }
    node->cutoff_seen_ms[subject] = cutoff;
}

uint64_t node_cutoff_ms(const struct sim_node *node, unsigned subject)
{
    struct pawl_revocation entry = { PAWL_REASON_NONE, 0, 0 };
    char text[16];
    int size = snprintf(text, sizeof(text), "subject-%u", subject);

    if (node->world->control == CONTROL_LAST_CUTOFF) {
        return node->last_cutoff_ms[subject];
    }
    (void)pawl_revocations_lookup(&node->table.view,
                                  pawl_scope_id(&node->world->facts_key, PAWL_SCOPE_SUBJECT,
                                                pawl_bytes_of(NS, sizeof(NS) - 1),
                                                pawl_bytes_of("", 0),
                                                pawl_bytes_of(text, (size_t)size)),
                                  &entry);
    return entry.cutoff_ms;
}

/* What a node has shown as revoked it also still has to say again, after whatever clock's steps. */
static void check_kept(struct world *world, struct sim_node *node, uint32_t index)
{
    const struct fact_token *token = &world->facts.tokens[index];
    bool canceled;

    if (is_live(world, token) && token->id.sequence != 0 && token->canceled_us == 0 &&
        !pawl_log_has(&node->node.log, &token->id, &canceled)) {
        kernel_fail(&world->kernel, "R5: node %u has forgotten revocation %u before its time",
                    node->index, index);
    }
}

/* Whether @node, which shows it as revoked or does not, showed it so before. */
static void check_shown(struct world *world, struct sim_node *node, uint32_t index, bool revoked)
{
    const struct fact_token *token = &world->facts.tokens[index];
    uint64_t bit = UINT64_C(1) << index % 64;

    if (!revoked && (node->shown[index / 64] & bit) != 0 && token->canceled_us == 0 &&
        is_live(world, token)) {
        kernel_fail(&world->kernel, "R4: node %u has shown revocation %u and does not any more",
                    node->index, index);
    }
    node->shown[index / 64] |= revoked ? bit : 0;
}

void tokens_lose(struct sim_node *node)
{
    const struct pawl_revocation nothing = { PAWL_REASON_NONE, 0, 0 };
    uint32_t count = node->world->facts.count;

    for (uint32_t i = count > 8 ? count - 8 : 0; i < count; i++) {
        (void)pawl_revocations_clear(&node->table, token_id(node->world, i), &nothing);
    }
}

void tokens_read(struct world *world, struct sim_node *node)
{
    uint32_t count = world->facts.count;
    uint64_t synced = node_synced_ms(node);
    uint64_t bound = world->profile.staleness_ms * UINT64_C(1000) + MINORITY_US;
    uint32_t token;
    bool is_fresh;

    check_cutoff(world, node);
    if (count == 0) {
        return;
    }
    /* Mostly what was revoked lately: old ones are known by all. */
    token = kernel_chance(&world->kernel, 80) && count > 8
                ? count - 1 - (uint32_t)kernel_below(&world->kernel, 8)
                : (uint32_t)kernel_below(&world->kernel, count);
    world->facts.reads++;
    check_shown(world, node, token, is_revoked(node, token));
    is_fresh = synced != 0 && node_now_ms(node) - synced <= world->profile.staleness_ms;
    if (is_revoked(node, token)) {
        world->facts.hits++;
        check_kept(world, node, token);
        return;
    }
    if (!is_fresh || !is_live(world, &world->facts.tokens[token])) {
        return;
    }
    if (world_has_two_sides(world)) {
        return; /* README: nothing bounds how long each side believes its primary */
    }
    if (world->emptied_us > world->facts.tokens[token].acked_us &&
        world->kernel.now_us < world->emptied_us + AGAIN_US) {
        return; /* README: whoever comes now cannot know what nobody has said again yet */
    }
    facts_read_valid(&world->facts, token, node->index, bound);
}

/* ---- who holds it ---- */

static bool stream_holds(const struct model_state *state, uint32_t token)
{
    char text[16];
    struct pawl_bytes name = fact_token_name(token, text);

    for (uint32_t i = 0; i < state->stream_count; i++) {
        for (uint32_t k = 0; k < state->streams[i].count; k++) {
            const struct blob *bytes = state->streams[i].entries[k].bytes;

            if (memmem(bytes->bytes, bytes->size, name.data, name.size) != NULL) {
                return true;
            }
        }
    }
    return false;
}

static bool is_held(struct world *world, uint32_t token)
{
    for (unsigned i = 0; i < SIM_NODES; i++) {
        if (world->nodes[i].is_open && is_revoked(&world->nodes[i], token)) {
            return true;
        }
        if (journal_holds(&world->nodes[i], token)) {
            return true;
        }
    }
    for (unsigned i = 0; i < world->engine.server_count; i++) {
        struct model_server *server = &world->engine.servers[i];

        if (server->alive && (i == world->engine.primary || server->attached) &&
            stream_holds(&server->state, token)) {
            return true;
        }
    }
    return false;
}

/* Called after each fault: what was acknowledged durably is still held by something that counts. */
void tokens_check_holders(struct world *world)
{
    for (uint32_t i = 0; i < world->facts.count && !world->kernel.failed; i++) {
        struct fact_token *token = &world->facts.tokens[i];

        if (token->level < PAWL_ACK_LEVEL_DURABLE || token->excused || token->canceled_us != 0 ||
            !is_live(world, token) || is_held(world, i)) {
            continue;
        }
        if (world->losses - token->losses >= 2) {
            token->excused = true;
            world->facts.excused++;
        } else {
            kernel_fail(&world->kernel,
                        "R1: revocation %u, acknowledged at level %u, is held by nobody after one "
                        "failure",
                        i, token->level);
        }
    }
}

/* At the acknowledgement: what the level promises is so. */
void tokens_acknowledged(struct world *world, uint32_t index)
{
    const struct fact_token *token = &world->facts.tokens[index];
    unsigned nodes = 0;
    unsigned servers = 0;
    unsigned journals = 0;

    for (unsigned i = 0; i < SIM_NODES; i++) {
        nodes += world->nodes[i].is_open && is_revoked(&world->nodes[i], index);
        journals += journal_holds(&world->nodes[i], index);
    }
    for (unsigned i = 0; i < world->engine.server_count; i++) {
        servers += stream_holds(&world->engine.servers[i].state, index);
    }
    if (token->canceled_us != 0 || !is_live(world, token)) {
        return;
    }
    if (world->emptied_us >= token->said_us) { /* while the answer was on its way, perhaps */
        world->facts.tokens[index].losses--;
        return;
    }
    if (token->level >= PAWL_ACK_LEVEL_DURABLE && journals == 0 && nodes + servers < 2) {
        kernel_fail(&world->kernel, "R1: revocation %u is called durable and has one holder",
                    index);
    }
    if (token->level == PAWL_ACK_LEVEL_QUORUM && servers < 2) {
        kernel_fail(&world->kernel, "R1: revocation %u is called a quorum's; %u servers have it",
                    index, servers);
    }
}

/* It goes in good order. Where all others are cut off and have not read it, the engine alone has it
 * then: that is as if one of its holders had failed. */
void tokens_leave(struct sim_node *node)
{
    struct world *world = node->world;

    for (uint32_t i = 0; i < world->facts.count; i++) {
        struct fact_token *token = &world->facts.tokens[i];
        bool is_known = false;

        if (token->level < PAWL_ACK_LEVEL_DURABLE || !is_live(world, token) ||
            !is_revoked(node, i)) {
            continue;
        }
        for (unsigned n = 0; n < SIM_NODES; n++) {
            const struct sim_node *other = &world->nodes[n];

            is_known = is_known || (other != node && other->is_open && is_revoked(other, i));
        }
        token->losses -= is_known ? 0 : 1; /* of those up to the acknowledgement */
    }
}

/* Said again when that machine's node starts again. */
static bool in_a_journal(const struct world *world, uint32_t token)
{
    for (unsigned i = 0; i < SIM_NODES; i++) {
        if (!world->nodes[i].is_open && journal_holds(&world->nodes[i], token)) {
            return true;
        }
    }
    return false;
}

/* In the end all know the same, and all that was acknowledged. */
void tokens_check_end(struct world *world)
{
    tokens_check_holders(world);
    for (uint32_t i = 0; i < world->facts.count && !world->kernel.failed; i++) {
        const struct fact_token *token = &world->facts.tokens[i];
        unsigned know = 0;
        unsigned open = 0;

        if (!is_live(world, token)) {
            continue;
        }
        for (unsigned n = 0; n < SIM_NODES; n++) {
            open += world->nodes[n].is_open;
            know += world->nodes[n].is_open && is_revoked(&world->nodes[n], i);
        }
        if (know != 0 && know != open) {
            kernel_fail(&world->kernel, "R4: revocation %u is known by %u of %u nodes in the end",
                        i, know, open);
        } else if (know == 0 && token->level >= PAWL_ACK_LEVEL_DURABLE && token->canceled_us == 0 &&
                   !token->excused && !in_a_journal(world, i)) {
            kernel_fail(&world->kernel, "R1: revocation %u, acknowledged at level %u, is forgotten",
                        i, token->level);
        }
    }
    for (unsigned s = 0; s < FACT_SUBJECTS; s++) {
        uint64_t first = UINT64_MAX;

        for (unsigned n = 0; n < SIM_NODES && !world->kernel.failed; n++) {
            uint64_t cutoff;

            if (!world->nodes[n].is_open) {
                continue;
            }
            cutoff = node_cutoff_ms(&world->nodes[n], s);
            if (first != UINT64_MAX && cutoff != first) {
                kernel_fail(&world->kernel, "R7: nodes disagree about the cutoff of subject %u", s);
            }
            first = cutoff;
        }
    }
}
