/*
 * /v1/ext_authz/PARAMETERS/...: the check of check.c for Envoy's ext_authz over HTTP, which asks
 * with the method, Host, path and query of the request that it holds, a path_prefix before them.
 *
 * Parameters are what stands before the first slash or question mark behind the route's path; all
 * that follows was written by somebody else's client and is not looked at, nor is a body taken.
 */
#include <stdio.h>

#include "ops/http/exchange.h"

/* Of an answer that lets the request go on; Envoy is told to hand them to the service behind. */
static const char *const names[] = {
    "X-Pawl-Subject", "X-Pawl-Client",  "X-Pawl-Issuer", "X-Pawl-Token-Id", "X-Pawl-Session",
    "X-Pawl-Expires", "X-Pawl-Verdict", "X-Pawl-Reason", "X-Pawl-Limit",    NULL,
};

/* What was not found out must not be what the client wrote itself: Envoy takes these names off the
 * request that it passes on. */
void pawl_http_ext_authz_finish(struct pawl_http_exchange *exchange, unsigned status)
{
    char list[256] = "";
    size_t used = 0;

    if (status != 200) {
        return;
    }
    for (unsigned i = 0; names[i] != NULL; i++) {
        if (!pawl_http_is_set(exchange, names[i])) {
            used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", used > 0 ? "," : "",
                                     names[i]);
        }
    }
    if (used > 0) {
        pawl_http_set(exchange, "X-Envoy-Auth-Headers-To-Remove", list);
    }
}
