/*
 * What the files with rows of the table share: units, and the macros that tie a row to its field.
 * Included by settings_table*.c only.
 */
#ifndef PAWL_OPS_SETTINGS_ROWS_H
#define PAWL_OPS_SETTINGS_ROWS_H

#include <stddef.h>

#include "core/limiter.h"
#include "ops/settings_table.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

#define MS     UINT64_C(1)
#define SECOND (MS * 1000)
#define MINUTE (SECOND * 60)
#define HOUR   (MINUTE * 60)
#define DAY    (HOUR * 24)

#define RELOAD PAWL_SETTING_RELOADABLE

/** Rows of one topic; the printed file has the parts in the order of settings_table.c. */
struct pawl_setting_part {
    const struct pawl_setting *rows;
    size_t count;
};

extern const struct pawl_setting_part pawl_setting_rows_listen; /* where to listen, state, memory */
extern const struct pawl_setting_part pawl_setting_rows_limits;
extern const struct pawl_setting_part pawl_setting_rows_tokens; /* tokens, rotation, signatures */
extern const struct pawl_setting_part pawl_setting_rows_access; /* TLS, credentials */
extern const struct pawl_setting_part pawl_setting_rows_cluster;
extern const struct pawl_setting_part pawl_setting_rows_server; /* server, store, log, audit */

/** The words of roles: of a listener, a certificate, a credential. */
extern const struct pawl_setting_word pawl_setting_roles[];

#define PART(rows_)                                 \
    {                                               \
        (rows_), sizeof(rows_) / sizeof((rows_)[0]) \
    }

/* NOLINTBEGIN(bugprone-macro-parentheses): a type cannot stand in parentheses in _Generic. */
/* A field's place; the array's size is negative, and the build ends, where its type is not the one
 * that the row's type writes. */
#define FIELD(scope_, struct_, member, ctype)                                                  \
    .scope = (scope_),                                                                         \
    .offset = offsetof(struct struct_, member) +                                               \
              0 * sizeof(char[_Generic(&((struct struct_ *)NULL)->member, ctype * : 1, default \
                                       : -1)])
/* NOLINTEND(bugprone-macro-parentheses) */

#define ROOT(member, ctype)     FIELD(PAWL_SCOPE_ROOT, pawl_settings, member, ctype)
#define LISTENER(member, ctype) FIELD(PAWL_SCOPE_LISTENER, pawl_listen_settings, member, ctype)
#define LIMIT(member, ctype)    FIELD(PAWL_SCOPE_LIMIT, pawl_limit_settings, member, ctype)
#define ISSUER(member, ctype)   FIELD(PAWL_SCOPE_ISSUER, pawl_jwt_issuer_settings, member, ctype)
#define JWT_KEY(member, ctype)  FIELD(PAWL_SCOPE_JWT_KEY, pawl_jwt_key_settings, member, ctype)
#define CLIENT(member, ctype)   FIELD(PAWL_SCOPE_TLS_CLIENT, pawl_client_settings, member, ctype)
#define CREDENTIAL(member, ctype) \
    FIELD(PAWL_SCOPE_CREDENTIAL, pawl_credential_settings, member, ctype)

/* A list's items: their scope, their size, and the unsigned that counts them. */
#define ITEMS(scope_, item_, struct_, member)             \
    .items = (scope_), .item_size = sizeof(struct item_), \
    .count_offset = offsetof(struct struct_, member)

#define LATER(path_, scope_, help_)                                                      \
    {                                                                                    \
        .path = (path_), .scope = (scope_), .flags = PAWL_SETTING_LATER, .help = (help_) \
    }

#endif
