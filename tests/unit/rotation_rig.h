/*
 * A rotation to be decided, with all that it depends on, so that a test says only what differs.
 */
#ifndef PAWL_TESTS_ROTATION_RIG_H
#define PAWL_TESTS_ROTATION_RIG_H

#include "token_rig.h"

#include "core/rotation.h"

#define NOW_MS (RIG_NOW_S * 1000)
#define NOW_S  ((int64_t)RIG_NOW_S)

/* All that a decision depends on, so that a test can say what differs from the usual. */
struct scene {
    struct pawl_family record;
    bool known;
    struct pawl_rotation_request request;
    struct pawl_rotation_hits hits;
    struct pawl_rotation_policy policy;
    struct pawl_token_keys keys;
    struct pawl_rotation_time now;
    enum pawl_rotation_gate gate;
    struct pawl_rotation_outcome out;
};

static inline enum pawl_rotation_result decide(struct scene *scene)
{
    pawl_rotation_decide(scene->known ? &scene->record : NULL, &scene->request, &scene->hits,
                         &scene->policy, &scene->keys, &scene->now, scene->gate, &scene->out);
    return scene->out.result;
}

static inline void present(struct scene *scene, const char *jti)
{
    scene->request.presented = (struct pawl_token_ref){ PAWL_SCOPE_TOKEN, text(jti) };
}

static inline void propose(struct scene *scene, const char *jti)
{
    scene->request.proposed = (struct pawl_token_ref){ PAWL_SCOPE_TOKEN, text(jti) };
    scene->request.proposed_iat_s = 0;
    scene->request.proposed_exp_s = scene->now.wall.unix_s + 86400;
}

static inline void at_ms(struct scene *scene, uint64_t ms)
{
    scene->now.wall.unix_s = (int64_t)(ms / 1000);
    scene->now.stamp.us = ms * 1000;
}

/* Present @jti, propose @next, and take over the new record as the store would. */
static inline enum pawl_rotation_result rotate(struct scene *scene, const char *jti,
                                               const char *next)
{
    present(scene, jti);
    propose(scene, next);
    (void)decide(scene);
    if (scene->out.effects.write_family) {
        scene->record = scene->out.effects.family;
        scene->known = true;
    }
    return scene->out.result;
}

/* A family of alice's, generation 3: J0, J1, J2 (prev), J3 (current), rotated a minute ago. */
static inline void scene_open(struct scene *scene)
{
    struct pawl_family_open open = {
        .ns = text("default"),
        .issuer = text("https://auth.example"),
        .sid = text("018c8f3e-7b1a-7000-8000-0123456789ab"),
        .subject = text("alice"),
        .client = text("web"),
        .scope = PAWL_SCOPE_TOKEN,
        .value = text("J0"),
        .iat_s = NOW_S - 600,
        .exp_s = NOW_S + 80000,
        .born_ms = NOW_MS - 600000,
    };

    memset(scene, 0, sizeof(*scene));
    scene->keys = rig_keys();
    scene->policy = pawl_rotation_policy_default();
    scene->gate = PAWL_ROTATION_OPEN;
    scene->known = true;
    scene->request.ns = text("default");
    scene->request.authorised = true;
    assert_int_equal(pawl_family_init(&scene->record, &open, stamp_of_ms(NOW_MS - 600000), NULL),
                     PAWL_OK);
    at_ms(scene, NOW_MS - 180000);
    assert_int_equal(rotate(scene, "J0", "J1"), PAWL_ROTATION_ROTATED);
    at_ms(scene, NOW_MS - 120000);
    assert_int_equal(rotate(scene, "J1", "J2"), PAWL_ROTATION_ROTATED);
    at_ms(scene, NOW_MS - 60000);
    assert_int_equal(rotate(scene, "J2", "J3"), PAWL_ROTATION_ROTATED);
    at_ms(scene, NOW_MS);
    present(scene, "J3");
    propose(scene, "J4");
}

/* Make the condition of @row hold. Rows 1 to 8 are put on top of where the token stands; rows 9
 * to 15 say where it stands. */
static inline void make_hold(struct scene *scene, unsigned row)
{
    switch (row) {
    case 1:
        scene->gate = PAWL_ROTATION_CLOSED;
        break;
    case 2:
        scene->request.authorised = false;
        break;
    case 3:
        scene->request.has_exp = true;
        scene->request.exp_s = scene->now.wall.unix_s - 5;
        break;
    case 4:
        scene->request.has_iat = true;
        scene->request.iat_s = scene->now.wall.unix_s + 6;
        break;
    case 5:
        scene->request.subject = text("mallory");
        break;
    case 6:
        scene->hits.family = (struct pawl_revocation){ PAWL_REASON_LOGOUT, UINT64_MAX, 0 };
        (void)pawl_family_revoke(&scene->record, PAWL_REASON_LOGOUT, text(""), NOW_MS);
        break;
    case 7:
        scene->hits.token = (struct pawl_revocation){ PAWL_REASON_ADMIN, UINT64_MAX, 0 };
        break;
    case 8:
        scene->record.abs_exp_s = RIG_NOW_S;
        scene->policy.family_max_s = 1;
        break;
    case 9:
        present(scene, "J3");
        break;
    case 10:
        present(scene, "J2");
        propose(scene, "J3");
        break;
    case 11:
        present(scene, "J2");
        scene->record.superseded_ms = NOW_MS - 1000;
        scene->record.grace_until_ms = NOW_MS + 9000;
        break;
    case 12:
        present(scene, "J2");
        break;
    case 13:
        present(scene, "J-unheard-of");
        scene->request.has_generation = true;
        scene->request.generation = 1;
        break;
    case 14:
        scene->known = false;
        present(scene, "a stranger");
        break;
    default:
        scene->known = false;
        present(scene, "from before pawl");
        scene->policy.adopt_until_s = NOW_S + 100;
        scene->request.adopt = true;
        scene->request.has_exp = true;
        scene->request.exp_s = NOW_S + 1000;
        scene->request.has_iat = true;
        scene->request.iat_s = NOW_S - 1000;
        break;
    }
}

#endif
