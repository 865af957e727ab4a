#include "ops/http/exchange.h"

const struct pawl_http_route pawl_http_routes[] = {
    { .path = "/metrics", .methods = PAWL_HTTP_GET, .handle = pawl_http_metrics },
    { .path = "/healthz", .methods = PAWL_HTTP_GET, .handle = pawl_http_healthz },
    { .path = "/readyz", .methods = PAWL_HTTP_GET, .handle = pawl_http_readyz },
    { .path = "/v1/check", .methods = PAWL_HTTP_GET | PAWL_HTTP_POST, .handle = pawl_http_check },
    { .path = "/v1/ext_authz/",
      .methods = PAWL_HTTP_GET | PAWL_HTTP_POST | PAWL_HTTP_OTHER,
      .handle = pawl_http_check,
      .inside = true,
      .finish = pawl_http_ext_authz_finish },
    { .path = "/oauth/revoke", .methods = PAWL_HTTP_POST, .handle = pawl_http_revoke },
    { .path = "/oauth/introspect", .methods = PAWL_HTTP_POST, .handle = pawl_http_introspect },
    { .path = "/console", .methods = PAWL_HTTP_GET, .handle = pawl_http_console, .console = true },
    { .path = "/console/data",
      .methods = PAWL_HTTP_GET,
      .handle = pawl_http_console_data,
      .console = true },
    { .path = NULL },
};
