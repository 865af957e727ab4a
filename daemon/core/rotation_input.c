/*
 * What a rotation needs before the table is run: which record, what the revocation table says.
 */
#include "core/rotation.h"

#include <string.h>

bool pawl_token_ref_is_well_formed(const struct pawl_token_ref *ref)
{
    return pawl_scope_is_token(ref->scope) && ref->value.size != 0 &&
           ref->value.size <= PAWL_NAME_MAX &&
           (ref->scope == PAWL_SCOPE_TOKEN || ref->value.size == PAWL_SHA256_BYTES);
}

bool pawl_rotation_claims_fit(const struct pawl_rotation_request *request)
{
    return request->issuer.size <= PAWL_NAME_MAX && request->subject.size <= PAWL_NAME_MAX &&
           request->client.size <= PAWL_NAME_MAX && request->kid.size <= PAWL_NAME_MAX &&
           request->sid.size <= PAWL_NAME_MAX && request->binding.size <= PAWL_FAMILY_KEY_BYTES;
}

void pawl_rotation_adopted_sid(const struct pawl_rotation_request *request,
                               const struct pawl_subkey *key, struct pawl_sid *sid)
{
    struct pawl_id token = pawl_scope_id(key, request->presented.scope, request->ns,
                                         request->issuer, request->presented.value);

    pawl_sid_adopt(sid, key, request->ns, token, request->iat_s);
}

bool pawl_rotation_sid(const struct pawl_rotation_request *request,
                       const struct pawl_token_keys *keys, unsigned candidate,
                       struct pawl_name *sid)
{
    struct pawl_sid adopted;

    memset(sid, 0, sizeof(*sid));
    if (request->ns.size > PAWL_NS_MAX || !pawl_rotation_claims_fit(request)) {
        return false;
    }
    if (request->sid.size != 0) {
        if (candidate == 0) {
            return pawl_name_set(sid, request->sid);
        }
        candidate--;
    }
    if (candidate >= keys->adopt_count || candidate >= PAWL_NAME_KEYS || !request->has_iat ||
        request->iat_s <= 0 || !pawl_token_ref_is_well_formed(&request->presented)) {
        return false;
    }
    pawl_rotation_adopted_sid(request, &keys->adopt[candidate], &adopted);
    return pawl_name_set(sid, pawl_bytes_of(adopted.text, PAWL_SID_TEXT));
}

static struct pawl_bytes said_or(struct pawl_bytes asked, const struct pawl_name *known)
{
    return asked.size != 0 || known == NULL ? asked : pawl_name_bytes(known);
}

static void look_up(const struct pawl_revocations_view *table, const struct pawl_scope_keyer *keyer,
                    enum pawl_scope scope, struct pawl_bytes value, uint64_t slow_s,
                    struct pawl_revocation *entry)
{
    bool wanted = value.size != 0 || scope == PAWL_SCOPE_NAMESPACE;

    if (!wanted || value.size > PAWL_NAME_MAX ||
        !pawl_revocations_lookup(table, pawl_scope_keyer_id(keyer, scope, value), entry) ||
        entry->until_s < slow_s) {
        memset(entry, 0, sizeof(*entry)); /* past its time: as if a cleaning had dropped it */
    }
}

/* Of a family that is not known, every id that it could have: its fact may outlive its record. */
static void look_up_family(const struct pawl_revocations_view *table,
                           const struct pawl_token_keys *keys, const struct pawl_scope_keyer *keyer,
                           const struct pawl_name *known,
                           const struct pawl_rotation_request *request, uint64_t slow_s,
                           struct pawl_revocation *entry)
{
    struct pawl_name sid;

    if (known != NULL) {
        look_up(table, keyer, PAWL_SCOPE_FAMILY, pawl_name_bytes(known), slow_s, entry);
        return;
    }
    for (unsigned i = 0; entry->until_s == 0 && pawl_rotation_sid(request, keys, i, &sid); i++) {
        look_up(table, keyer, PAWL_SCOPE_FAMILY, pawl_name_bytes(&sid), slow_s, entry);
    }
}

void pawl_rotation_gather(const struct pawl_revocations_view *table,
                          const struct pawl_token_keys *keys, const struct pawl_family *record,
                          const struct pawl_rotation_request *request,
                          const struct pawl_rotation_time *now, uint64_t skew_s,
                          struct pawl_rotation_hits *hits)
{
    bool known = record != NULL && record->state != PAWL_FAMILY_NONE;
    struct pawl_bytes issuer = said_or(request->issuer, known ? &record->issuer : NULL);
    struct pawl_scope_keyer keyer;

    memset(hits, 0, sizeof(*hits));
    if (request->ns.size > PAWL_NS_MAX || issuer.size > PAWL_NAME_MAX) {
        return; /* row 2 */
    }
    pawl_scope_keyer_init(&keyer, &keys->facts, request->ns, issuer);
    if (pawl_token_ref_is_well_formed(&request->presented)) {
        look_up(table, &keyer, request->presented.scope, request->presented.value, now->slow_s,
                &hits->token);
    }
    look_up_family(table, keys, &keyer, known ? &record->sid : NULL, request, now->slow_s,
                   &hits->family);
    look_up(table, &keyer, PAWL_SCOPE_SUBJECT,
            said_or(request->subject, known ? &record->subject : NULL), now->slow_s,
            &hits->cutoffs[PAWL_SCOPE_SUBJECT]);
    look_up(table, &keyer, PAWL_SCOPE_CLIENT,
            said_or(request->client, known ? &record->client : NULL), now->slow_s,
            &hits->cutoffs[PAWL_SCOPE_CLIENT]);
    look_up(table, &keyer, PAWL_SCOPE_KEY, request->kid, now->slow_s,
            &hits->cutoffs[PAWL_SCOPE_KEY]);
    look_up(table, &keyer, PAWL_SCOPE_NAMESPACE, pawl_bytes_of(NULL, 0), now->slow_s,
            &hits->cutoffs[PAWL_SCOPE_NAMESPACE]);
    if (hits->cutoffs[PAWL_SCOPE_NAMESPACE].cutoff_ms < pawl_revocations_floor_ms(table)) {
        hits->cutoffs[PAWL_SCOPE_NAMESPACE].cutoff_ms = pawl_revocations_floor_ms(table);
        hits->cutoffs[PAWL_SCOPE_NAMESPACE].reason = PAWL_REASON_THAW;
    }
    hits->sid_birth_ms =
        pawl_sid_birth_ms(keys, request->ns, request->sid, now->stamp, skew_s * 1000);
}

void pawl_rotation_opaque(const struct pawl_token_keys *keys, const struct pawl_family *family,
                          uint64_t generation, const uint8_t *seed, uint8_t token[32])
{
    uint8_t buffer[6 * 4 + 4 + PAWL_NS_MAX + 2 * PAWL_NAME_MAX + 8 + PAWL_FAMILY_SEED_BYTES];
    struct pawl_pack pack;

    for (uint8_t half = 0; half < 2; half++) {
        uint8_t label[4] = { 'o', 'r', 't', half }; /* no scope key begins so: those have 1 byte */
        struct pawl_id id;

        pawl_pack_init(&pack, buffer, sizeof(buffer));
        pawl_pack_bytes(&pack, label, sizeof(label));
        pawl_pack_bytes(&pack, family->ns.data, family->ns.size);
        pawl_pack_bytes(&pack, family->issuer.data, family->issuer.size);
        pawl_pack_bytes(&pack, family->sid.data, family->sid.size);
        pawl_pack_u64(&pack, generation);
        pawl_pack_bytes(&pack, seed, PAWL_FAMILY_SEED_BYTES);
        id = pawl_keyhash128(&keys->facts, buffer, pack.size);
        for (unsigned i = 0; i < 8; i++) {
            token[16u * half + i] = (uint8_t)(id.lo >> (8 * i));
            token[16u * half + 8 + i] = (uint8_t)(id.hi >> (8 * i));
        }
    }
    pawl_wipe(buffer, sizeof(buffer));
}
