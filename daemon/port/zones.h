/*
 * Where time zones come from, for calendar quotas. Read when rules are built, never for a check.
 */
#ifndef PAWL_PORT_ZONES_H
#define PAWL_PORT_ZONES_H

#include "core/status.h"
#include "core/types.h"

#define PAWL_ZONE_NAME_MAX 64 /* bytes: "America/Argentina/ComodRivadavia" has 32 */

struct pawl_zones {
    /**
     * The TZif file of the zone called @name ("Europe/Vienna") into @out.
     *
     * @size   out: its bytes.
     * Returns PAWL_OK; PAWL_EINVAL for what is no zone's name; PAWL_ENOENT, PAWL_ETOOBIG or
     * PAWL_EIO. @error says which file, what, what to do.
     */
    enum pawl_status (*read)(void *self, const char *name, uint8_t *out, size_t capacity,
                             size_t *size, struct pawl_error *error);
    void *self;
};

#endif
