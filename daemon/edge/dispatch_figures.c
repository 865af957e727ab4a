/*
 * What the dispatcher tells those who look on: figures of limits, denied keys (observe.h), and
 * denials for the audit log.
 */
#include "edge/dispatch.h"

uint32_t pawl_dispatch_bypassed(struct pawl_dispatch *dispatch, uint32_t item, bool count,
                                struct pawl_wire_result *results)
{
    const struct pawl_limit_item *from = &dispatch->items[item];
    const struct pawl_limit *limit = from->limit;
    const struct pawl_rate *rates = from->rates != NULL ? from->rates : limit->rates;

    for (uint32_t i = 0; i < limit->rates_count; i++) {
        results[i] = (struct pawl_wire_result){
            .item = item,
            .rate_index = i,
            .window_ms = rates[i].window_ms,
            .limit_count = rates[i].count,
            .remaining = rates[i].count,
            .allowed = true,
            .bypass = true,
            .shadow = limit->shadow,
            .on_error = (uint8_t)limit->on_error,
        };
    }
    if (count) {
        pawl_figure_count(&dispatch->figures[pawl_rule_place(limit)], PAWL_FIGURE_BYPASSED);
    }
    return (uint32_t)limit->rates_count;
}

bool pawl_dispatch_denied_again(struct pawl_dispatch *dispatch, struct pawl_denial *denial)
{
    struct pawl_app *app = dispatch->app;

    denial->now_ms = dispatch->now.stamp.us / 1000;
    denial->known =
        pawl_observe_denied_again(app->observe, dispatch->index, denial->id, denial->now_ms);
    denial->audit = pawl_audit_may_deny(app->audit, dispatch->now.instant);
    return !denial->known || denial->audit;
}

void pawl_dispatch_denied(struct pawl_dispatch *dispatch, struct pawl_session *session,
                          const struct pawl_denial *denial, const struct pawl_limit *limit)
{
    if (!denial->known) {
        pawl_observe_denied(dispatch->app->observe, dispatch->index, denial);
    }
    if (denial->audit) {
        struct pawl_bytes ns = dispatch->ns; /* of the request at hand, maybe another one */

        dispatch->ns = denial->ns;
        pawl_audit_say_limit(dispatch, session, limit, denial->parts, denial->parts_count);
        dispatch->ns = ns;
    }
}
