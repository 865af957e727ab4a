#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>

const char *pawl_status_name(enum pawl_status status)
{
    switch (status) {
#define X(name, value, text) \
    case PAWL_##name:        \
        return #name;
        PAWL_STATUS_MAP(X)
#undef X
    }
    return "EUNKNOWN";
}

const char *pawl_status_text(enum pawl_status status)
{
    switch (status) {
#define X(name, value, text) \
    case PAWL_##name:        \
        return text;
        PAWL_STATUS_MAP(X)
#undef X
    }
    return "unknown status";
}

enum pawl_status pawl_error_set(struct pawl_error *error, enum pawl_status status, int os_code,
                                const char *format, ...)
{
    va_list args;

    if (error == NULL) {
        return status;
    }
    error->status = status;
    error->os_code = os_code;
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return status;
}
