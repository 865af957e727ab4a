/*
 * Results without an answer: what becomes of a call that nobody answered, or that was refused.
 */
#include "private.h"

#include <stdio.h>

_Static_assert(PAWL_CHECK_RATES == PAWL_RESULTS_MAX, "the header repeats the wire's caps");
_Static_assert(PAWL_CHECK_ITEMS == PAWL_ITEMS_MAX, "the header repeats the wire's caps");
_Static_assert(PAWL_TEXT_RATES == PAWL_RATES_MAX, "the header repeats the wire's caps");
_Static_assert((int)PAWL_FAIL_LOCAL == (int)PAWL_ON_ERROR_LOCAL &&
                   (int)PAWL_REVOKE_NAMESPACE == (int)PAWL__V1__SCOPE__SCOPE_NAMESPACE &&
                   (int)PAWL_WHY_FORK == (int)PAWL__V1__REASON__REASON_FORK &&
                   (int)PAWL_WHY_OTHER == (int)PAWL__V1__REASON__REASON_OTHER &&
                   (int)PAWL_LEVEL_EVERYWHERE == (int)PAWL__V1__ACK__ACK_EVERYWHERE &&
                   (int)PAWL_REFRESH_UNAVAILABLE ==
                       (int)PAWL__V1__ROTATE_RESULT__ROTATE_UNAVAILABLE,
               "the header repeats the wire's numbers");

void pawl_client_put_text(struct pawl_text *text, const void *data, size_t size)
{
    size = size <= PAWL_TEXT_ID_MAX ? size : PAWL_TEXT_ID_MAX;
    text->size = (uint32_t)size;
    if (size > 0) {
        memcpy(text->data, data, size);
    }
    text->data[size] = '\0';
}

struct pawl_info *pawl_client_info(struct pawl_client *client, const struct slot *slot)
{
    return (struct pawl_info *)(void *)((uint8_t *)&client->results.of + slot->type->info_at);
}

void pawl_client_begin_result(struct pawl_client *client, const struct slot *slot)
{
    size_t size = slot->type->result_size;

    memset(&client->results.of, 0, size);
    memcpy(&client->results.of, &size, sizeof(size)); /* struct_size comes first in all */
    if (slot->type->kind == PAWL_CALL_CHECK) {
        client->results.of.check.rates = client->results.rates;
        client->results.of.check.rates_max = PAWL_CHECK_RATES;
    } else if (slot->type->kind == PAWL_CALL_ROTATE) {
        pawl_client_put_text(&client->results.of.rotate.proposed, slot->proposed,
                             slot->proposed_size);
    } else if (slot->type->kind == PAWL_CALL_FAMILY_OPEN) {
        pawl_client_put_text(&client->results.of.family_open.jti, slot->proposed,
                             slot->proposed_size);
    }
}

enum pawl_rc pawl_client_rc_of_status(uint32_t status)
{
    switch (status) {
    case PAWL__V1__STATUS__STATUS_OK:
        return PAWL_RC_OK;
    case PAWL__V1__STATUS__STATUS_INVALID:
        return PAWL_RC_INVALID;
    case PAWL__V1__STATUS__STATUS_DENIED:
        return PAWL_RC_NOT_PERMITTED;
    case PAWL__V1__STATUS__STATUS_UNAVAILABLE:
        return PAWL_RC_UNAVAILABLE;
    case PAWL__V1__STATUS__STATUS_LATE:
        return PAWL_RC_TIMEOUT;
    case PAWL__V1__STATUS__STATUS_NONE:
    case PAWL__V1__STATUS__STATUS_UNSUPPORTED:
        return PAWL_RC_UNSUPPORTED;
    case PAWL__V1__STATUS__STATUS_FULL:
        return PAWL_RC_FULL;
    case PAWL__V1__STATUS__STATUS_NOT_FOUND:
        return PAWL_RC_NOT_FOUND;
    case PAWL__V1__STATUS__STATUS_FROZEN:
        return PAWL_RC_FROZEN;
    default: /* of a later daemon, or for members alone: it may pass */
        return PAWL_RC_UNAVAILABLE;
    }
}

/* Mistakes of the caller or of the set-up: no policy may turn these into an answer. */
static bool is_mistake(enum pawl_rc cause)
{
    return cause == PAWL_RC_INVALID || cause == PAWL_RC_NOT_PERMITTED ||
           cause == PAWL_RC_UNSUPPORTED || cause == PAWL_RC_NOT_FOUND || cause == PAWL_RC_TOO_BIG ||
           cause == PAWL_RC_CANCELED;
}

static void explain(struct pawl_client *client, struct pawl_info *info, enum pawl_rc cause,
                    struct pawl_str text)
{
    bool about_peer = cause == PAWL_RC_CONNECT || cause == PAWL_RC_LOST ||
                      cause == PAWL_RC_PROTOCOL || cause == PAWL_RC_NOT_PERMITTED;

    if (text.size > 0) {
        (void)snprintf(info->text, sizeof(info->text), "%.*s", (int)(text.size & 0xffff),
                       (const char *)text.data);
    } else if (about_peer && client->error[0] != '\0') {
        (void)snprintf(info->text, sizeof(info->text), "%.*s", (int)sizeof(info->text) - 1,
                       client->error);
    } else {
        (void)snprintf(info->text, sizeof(info->text), "%s", pawl_rc_text(cause));
    }
}

static enum pawl_refresh refresh_of(enum pawl_rc cause)
{
    return cause == PAWL_RC_INVALID         ? PAWL_REFRESH_INVALID
           : cause == PAWL_RC_NOT_PERMITTED ? PAWL_REFRESH_DENIED
                                            : PAWL_REFRESH_UNAVAILABLE;
}

int pawl_client_resolve_outcome(struct pawl_client *client, const struct slot *slot,
                                enum pawl_rc cause, enum pawl_effect effect, bool refused,
                                struct pawl_str text)
{
    enum pawl_call_kind kind = slot->type->kind;
    struct pawl_info *info;

    pawl_client_begin_result(client, slot);
    info = pawl_client_info(client, slot);
    info->cause = cause;
    info->effect = effect;
    info->source = refused ? PAWL_SOURCE_DAEMON : PAWL_SOURCE_NONE;
    explain(client, info, cause, text);
    if (refused && slot->type->writes && kind != PAWL_CALL_CHECK && cause == PAWL_RC_UNAVAILABLE) {
        info->effect = PAWL_EFFECT_UNKNOWN; /* acting in memory perhaps, but not acknowledged */
    }
    if (kind == PAWL_CALL_ROTATE) {
        client->results.of.rotate.result = refresh_of(cause);
        return cause == PAWL_RC_CANCELED ? (int)cause : PAWL_RC_OK;
    }
    if (kind == PAWL_CALL_TOKEN_CHECK) {
        client->results.of.token_check.token.status = PAWL_TOKEN_STATE_UNDECIDED;
        (void)snprintf(client->results.of.token_check.token.detail,
                       sizeof(client->results.of.token_check.token.detail), "no_answer");
        return is_mistake(cause) ? (int)cause : PAWL_RC_OK;
    }
    if (kind == PAWL_CALL_CHECK) {
        client->results.of.check.outcome = PAWL_OUTCOME_UNDECIDED;
        if (!is_mistake(cause)) {
            pawl_client_fallback(client, slot);
            return PAWL_RC_OK;
        }
    }
    return (int)cause;
}
