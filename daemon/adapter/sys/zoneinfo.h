/*
 * Time zones of the system (Debian's package tzdata), one file for each name.
 */
#ifndef PAWL_ADAPTER_SYS_ZONEINFO_H
#define PAWL_ADAPTER_SYS_ZONEINFO_H

#include "port/zones.h"

#define PAWL_ZONEINFO_FOLDER "/usr/share/zoneinfo"

/**
 * Read zones from @folder, lent as long as @zones; NULL is PAWL_ZONEINFO_FOLDER. A name is one of a
 * file inside it: letters, digits, "+-_" and single '/' between; no "..", nothing absolute.
 */
void pawl_zoneinfo_init(struct pawl_zones *zones, const char *folder);

#endif
