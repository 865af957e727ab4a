#include "sim/logins.h"

#include <string.h>

void logins_init(struct logins *logins, struct kernel *kernel)
{
    memset(logins, 0, sizeof(*logins));
    logins->kernel = kernel;
}

void logins_begun(struct logins *logins, uint32_t index, uint32_t presented, uint32_t proposed)
{
    struct login *login = &logins->all[index];

    if (login->proposal[presented] == 0) {
        login->proposal[presented] = proposed;
    } else if (login->proposal[presented] != proposed) {
        login->rivals[presented] = true;
    }
}

static void won(struct logins *logins, const struct login_attempt *attempt, uint32_t successor,
                uint32_t losses, bool split)
{
    struct login *login = &logins->all[attempt->login];
    uint32_t *winner = &login->winner[attempt->presented];

    if (login->reuse_us != 0 && attempt->begun_us > login->reuse_us) {
        if (losses - login->reuse_losses >= 2 || split) {
            logins->excused++;
        } else {
            kernel_fail(logins->kernel, "T3: login %u rotates after a reuse was acknowledged",
                        attempt->login);
        }
    }
    if (*winner != LOGIN_NOT_YET && *winner != successor) {
        if (losses - login->winner_losses[attempt->presented] >= 2 || split) {
            logins->excused++;
            login->forked = true;
        } else {
            kernel_fail(logins->kernel, "T1: token %u of login %u has two winners: %u and now %u",
                        attempt->presented, attempt->login, *winner, successor);
        }
    }
    *winner = successor;
    login->winner_losses[attempt->presented] = losses;
}

static void take_successor(struct login *login, const struct login_attempt *attempt,
                           uint32_t successor)
{
    if (attempt->presented == login->current) {
        login->previous = login->current;
        login->current = successor;
        login->retrying = false;
    }
}

void logins_answered(struct logins *logins, const struct login_attempt *attempt,
                     enum pawl_rotation_result result, uint32_t successor, uint32_t losses,
                     bool split)
{
    struct login *login = &logins->all[attempt->login];

    if (login->serial != attempt->serial) {
        return; /* of a family that had this place before */
    }
    switch (result) {
    case PAWL_ROTATION_ROTATED:
        logins->rotated++;
        if (successor != attempt->proposed) {
            kernel_fail(logins->kernel, "T2: login %u proposed %u and got %u", attempt->login,
                        attempt->proposed, successor);
        }
        won(logins, attempt, successor, losses, split);
        take_successor(login, attempt, successor);
        break;
    case PAWL_ROTATION_GRACE:
        won(logins, attempt, successor, losses, split);
        take_successor(login, attempt, successor);
        break;
    case PAWL_ROTATION_REUSE:
        logins->reuses++;
        if (attempt->is_retry && !attempt->is_attack && !login->rivals[attempt->presented]) {
            kernel_fail(logins->kernel, "T2: a retry of login %u was taken for theft",
                        attempt->login);
        }
        if (login->reuse_us == 0) {
            login->reuse_us = logins->kernel->now_us;
            login->reuse_losses = losses;
            login->last_tries = 3;
        }
        break;
    case PAWL_ROTATION_REVOKED:
    case PAWL_ROTATION_FAMILY_EXPIRED:
        login->over = login->last_tries == 0;
        break;
    case PAWL_ROTATION_UNKNOWN:
        logins->unknown++;
        login->over = !attempt->is_attack || login->over;
        break;
    case PAWL_ROTATION_RACED:
        logins->raced++;
        break;
    default:
        logins->unavailable++;
        break;
    }
}
