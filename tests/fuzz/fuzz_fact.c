/*
 * Serialized facts, and the text of their ids.
 *
 * The first byte says how the rest is read: 0 a serialized fact, 1 the text of an id, else a fact
 * made of pieces of the input, right or wrong, that is written and read.
 *
 * What must hold: a fact that was read passes the check and writes the same bytes; what the check
 * takes is written and read back the same, what it refuses is not written and says why; a text
 * that was read as an id is written the same.
 */
#include "core/fact.h"
#include "fuzz/require.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pawl_subkey key;

static bool same(struct pawl_bytes a, struct pawl_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* What is said about any fact adds up. */
static void check_meaning(const struct pawl_fact *fact)
{
    const uint64_t life_s = 30 * UINT64_C(86400);
    uint64_t until_s =
        pawl_fact_until(fact->scope, (int64_t)fact->until_s, fact->at_ms / 1000, life_s);
    struct pawl_stamp now = { fact->at_ms < UINT64_MAX / 1000 ? fact->at_ms * 1000 : 0 };

    require(until_s > PAWL_FACT_SLACK_S);
    require(until_s <= fact->at_ms / 1000 + life_s + PAWL_FACT_SLACK_S);
    require(pawl_cutoff_ms(now, 0, 0) == now.us / 1000 + PAWL_CUTOFF_BOUND_MS);
    require(fact->cutoff_ms == 0 || pawl_cutoff_ms(now, fact->cutoff_ms, 0) <= fact->cutoff_ms);
    require(pawl_fact_cancellable(fact) ==
            (fact->kind == PAWL_FACT_REVOCATION && pawl_scope_is_token(fact->scope)));
    require(pawl_scope_name(fact->scope)[0] != '\0');
    require(pawl_reason_name(fact->reason)[0] != '\0');
    if (fact->kind == PAWL_FACT_CANCEL) {
        struct pawl_fact_id first = pawl_fact_id_read(fact->cancels.data);

        require(pawl_fact_cancels(fact, &first) && pawl_fact_id_compare(&first, &first) == 0);
    } else {
        struct pawl_id id = pawl_fact_scope_id(&key, fact);

        require(!pawl_fact_cancels(fact, &fact->id));
        require(pawl_id_equal(id, pawl_scope_id(&key, fact->scope, fact->ns, fact->issuer,
                                                fact->value)));
    }
}

static void check_bytes(struct pawl_bytes bytes)
{
    uint8_t out[PAWL_FACT_BYTES_MAX];
    struct pawl_fact fact;
    size_t size = 0;
    enum pawl_status status = pawl_fact_decode(&fact, bytes);

    if (status != PAWL_OK) {
        require(status == PAWL_ECORRUPT && fact.kind == PAWL_FACT_NONE && fact.ns.size == 0);
        return;
    }
    require(fact.ns.size > 0 && fact.until_s > 0);
    require(pawl_fact_encode(&fact, out, sizeof(out), &size) == PAWL_OK);
    require(same(bytes, pawl_bytes_of(out, size)));
    require(pawl_fact_encode(&fact, out, size - 1, &size) == PAWL_ETOOBIG);
    if (pawl_fact_is_known(&fact)) {
        require(pawl_fact_check(&fact, NULL) == PAWL_OK);
        check_meaning(&fact);
    }
}

static void check_id_text(struct pawl_bytes text)
{
    char again[PAWL_FACT_ID_TEXT_BYTES];
    struct pawl_fact_id id;

    if (pawl_fact_id_parse(&id, text) == PAWL_OK) {
        pawl_fact_id_format(again, &id);
        require(same(text, pawl_bytes_of(again, strlen(again))));
    }
    enum pawl_reason reason = pawl_reason_parse(text);

    require(reason == PAWL_REASON_NONE ||
            same(text, pawl_bytes_of(pawl_reason_name(reason), strlen(pawl_reason_name(reason)))));
}

/* Takes a number below 64 K from the front of @in. */
static size_t take(struct pawl_bytes *in)
{
    size_t value = 0;

    for (unsigned i = 0; i < 2 && in->size > 0; i++, in->data++, in->size--) {
        value = value << 8 | in->data[0];
    }
    return value;
}

static void check_made(struct pawl_bytes in)
{
    static const uint8_t filler[4096] = { 'x' };
    uint8_t out[PAWL_FACT_BYTES_MAX];
    struct pawl_error error = { PAWL_OK, 0, "" };
    struct pawl_fact fact = { .kind = (unsigned)take(&in) % 5 };
    struct pawl_fact again;
    size_t size = 0;

    fact.scope = (enum pawl_scope)(take(&in) % (PAWL_SCOPES + 1));
    fact.reason = (enum pawl_reason)(take(&in) % 66);
    fact.ns = pawl_bytes_of(filler, take(&in) % (PAWL_NS_MAX + 2));
    fact.issuer = pawl_bytes_of(filler, take(&in) % (PAWL_NAME_MAX + 2));
    fact.value = pawl_bytes_of(filler, take(&in) % (PAWL_NAME_MAX + 2));
    fact.actor = pawl_bytes_of(filler, take(&in) % (PAWL_ACTOR_MAX + 2));
    fact.cancels =
        pawl_bytes_of(filler, take(&in) % (PAWL_FACT_CANCELS_MAX * PAWL_FACT_ID_BYTES + 2));
    fact.extra = pawl_bytes_of(filler, take(&in) % (PAWL_FACT_EXTRA_MAX + 2));
    fact.cutoff_ms = take(&in) << (take(&in) % 48);
    fact.at_ms = take(&in) << (take(&in) % 48);
    fact.until_s = take(&in);
    fact.id.sequence = take(&in);
    enum pawl_status status = pawl_fact_check(&fact, &error);

    require(pawl_fact_check(&fact, NULL) == status);
    require(pawl_fact_encode(&fact, out, sizeof(out), &size) == status);
    if (status != PAWL_OK) {
        require(status == PAWL_EINVAL || status == PAWL_ETOOBIG);
        require(error.text[0] != '\0');
        return;
    }
    check_meaning(&fact);
    require(pawl_fact_decode(&again, pawl_bytes_of(out, size)) == PAWL_OK);
    require(again.kind == fact.kind && again.scope == fact.scope && again.reason == fact.reason);
    require(again.cutoff_ms == fact.cutoff_ms && again.at_ms == fact.at_ms &&
            again.until_s == fact.until_s && pawl_fact_id_compare(&again.id, &fact.id) == 0);
    require(same(again.ns, fact.ns) && same(again.issuer, fact.issuer) &&
            same(again.value, fact.value) && same(again.actor, fact.actor) &&
            same(again.cancels, fact.cancels) && same(again.extra, fact.extra));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy;

    if (size == 0) {
        return 0;
    }
    copy = malloc(size); /* of exactly the size, so that a byte too many is noticed */
    require(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    struct pawl_bytes rest = pawl_bytes_of(copy, size - 1);

    if (data[0] == 0) {
        check_bytes(rest);
    } else if (data[0] == 1) {
        check_id_text(rest);
    } else {
        check_made(rest);
    }
    free(copy);
    return 0;
}
