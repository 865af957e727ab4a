/*
 * Families of refresh tokens as their users see them: who won which generation, which retry got
 * what, which theft was seen.
 *
 * T1: one presented token has one acknowledged successor. T2: the same token presented with the
 * same proposal is never taken for theft, and never gets another successor. T3: after a REUSE that
 * was acknowledged nothing of the family is rotated. T4: a family that nobody holds is unknown.
 */
#ifndef PAWL_SIM_LOGINS_H
#define PAWL_SIM_LOGINS_H

#include "core/rotation.h"
#include "sim/kernel.h"

#define LOGINS        24
#define LOGIN_TOKENS  96 /* generations of one family that a run may see */
#define LOGIN_NOT_YET UINT32_MAX

struct login {
    bool opened; /* the opening was acknowledged */
    struct pawl_id key;
    uint64_t generation; /* the highest that was ever written */
    uint32_t serial;     /* of the family: a place is used again when its family has ended */
    uint32_t current;    /* the number of the token that the honest client holds */
    uint32_t previous;   /* the one before; LOGIN_NOT_YET: none */
    uint32_t proposed;   /* of the attempt that is under way or is to be retried */
    uint32_t tokens;     /* numbers given out */
    uint32_t winner[LOGIN_TOKENS]; /* by presented token: its acknowledged successor */
    uint32_t winner_losses[LOGIN_TOKENS];
    uint32_t proposal[LOGIN_TOKENS]; /* by presented token: what was proposed first ... */
    bool rivals[LOGIN_TOKENS];       /* ... and whether something else was, too */
    uint64_t reuse_us;               /* when a REUSE was acknowledged; 0: never */
    uint32_t reuse_losses;
    bool retrying, busy, over, forked;
    uint8_t last_tries; /* after a theft was seen its user goes on for a while, in vain */
};

struct logins {
    struct kernel *kernel;
    struct login all[LOGINS];
    uint64_t rotated, reuses, unavailable, unknown, raced, excused;
};

void logins_init(struct logins *logins, struct kernel *kernel);

/** One attempt, as it was begun. */
struct login_attempt {
    uint32_t login, serial;
    uint32_t presented, proposed;
    uint64_t begun_us;
    bool is_retry;  /* the same pair was tried before */
    bool is_attack; /* an old token with a proposal of its own */
};

/** An attempt begins: what it proposes is remembered. */
void logins_begun(struct logins *logins, uint32_t login, uint32_t presented, uint32_t proposed);

/**
 * An answer came. @losses: faults so far that may lose something; two of them between a win and
 * what contradicts it excuse it. @split: a replica went with the old primary, so a majority is
 * no longer one: a second winner has to be found as a fork instead.
 */
void logins_answered(struct logins *logins, const struct login_attempt *attempt,
                     enum pawl_rotation_result result, uint32_t successor, uint32_t losses,
                     bool split);

#endif
