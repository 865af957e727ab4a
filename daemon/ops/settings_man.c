/*
 * The settings as a manual page, pawld.yaml(5), in mdoc.
 */
#include "ops/settings_table.h"

#include <string.h>

#define PAGE_DATE "November 21, 2026"

static const char page_head[] =
    ".\\\" Printed by pawld --print-config=man from the table of settings.\n"
    ".Dd " PAGE_DATE "\n"
    ".Dt PAWLD.YAML 5\n"
    ".Os\n"
    ".Sh NAME\n"
    ".Nm pawld.yaml\n"
    ".Nd settings of pawld\n"
    ".Sh DESCRIPTION\n"
    "The file that\n"
    ".Xr pawld 8\n"
    "reads with\n"
    ".Fl Fl config .\n"
    "It is YAML: mappings, lists and texts, without anchors and tags.\n"
    "Every setting is optional but for those marked as required inside their mapping.\n"
    "What is unknown, given twice or out of bounds is an error with its file, line and column, and "
    "all errors\n"
    "are told at once by\n"
    ".Fl Fl check-config .\n"
    ".Pp\n"
    "A dot in a name below is a mapping inside a mapping; an asterisk stands for a name or for "
    "each "
    "item of a list.\n"
    "On the command line\n"
    ".Fl Fl set Ar name Ns = Ns Ar value\n"
    "sets one of them, the value written as in the file.\n"
    ".Pp\n"
    "Sizes take B, KiB, MiB, GiB or TiB; durations ms, s, m, h or d.\n"
    "A relative path counts from the folder of the file; one of the command line from the working "
    "directory.\n"
    ".Pp\n"
    "SIGHUP reads the file again, and with\n"
    ".Ic watch\n"
    "so does a change of it or of a file that it names.\n"
    "Settings marked\n"
    ".Dq reload\n"
    "then take effect; a change of another one is refused and needs a restart.\n"
    "A file with an error changes nothing.\n"
    ".Sh SETTINGS\n";

static const char page_tail[] =
    ".Sh FILES\n"
    ".Bl -tag -width Ds\n"
    ".It Pa /etc/pawl/pawld.yaml\n"
    "The file that the service of the packages reads.\n"
    ".El\n"
    ".Sh EXAMPLES\n"
    "Five tries a minute for each user, and nobody gets in while no pawld answers:\n"
    ".Bd -literal -offset indent\n"
    "limits:\n"
    "  login: {rate: 5/minute, on_error: closed}\n"
    ".Ed\n"
    ".Pp\n"
    "Tokens of one issuer, signed with a key from a file or one from a JWKS file:\n"
    ".Bd -literal -offset indent\n"
    "jwt:\n"
    "  issuers:\n"
    "    - issuer: https://auth.example\n"
    "      audience: api\n"
    "      keys: [{kid: r1, alg: RS256, file: r1.pub.pem}]\n"
    "      jwks_file: keys.json\n"
    ".Ed\n"
    ".Sh SEE ALSO\n"
    ".Xr pawlctl 1 ,\n"
    ".Xr pawld 8\n";

/** @text as roff text: no letter of it is a request or an escape. */
static void print_text(FILE *out, const char *text)
{
    if (text[0] == '.' || text[0] == '\'') {
        (void)fputs("\\&", out);
    }
    for (; *text != '\0'; text++) {
        if (*text == '\\') {
            (void)fputs("\\e", out);
        } else if (*text == '-') {
            (void)fputs("\\-", out);
        } else {
            (void)fputc(*text, out);
        }
    }
}

static void print_value(FILE *out, const struct pawl_setting *row)
{
    char kind[PAWL_SETTING_WHAT_BYTES];

    pawl_setting_describe(row, kind);
    (void)fputs("Value: ", out);
    print_text(out, kind);
    (void)fputs(".\n", out);
    if ((row->flags & PAWL_SETTING_REQUIRED) != 0) {
        (void)fputs("Required.\n", out);
        return;
    }
    (void)fputs("Default: ", out);
    print_text(out, row->initial_help != NULL ? row->initial_help : row->initial);
    (void)fputs(".\n", out);
}

static void print_row(FILE *out, const struct pawl_setting *row)
{
    bool reload = (row->flags & PAWL_SETTING_RELOADABLE) != 0;

    (void)fputs(".It Ic ", out);
    print_text(out, row->path);
    (void)fprintf(out, " Pq %s\n", reload ? "reload" : "restart");
    print_text(out, row->help);
    (void)fputs("\n.br\n", out);
    print_value(out, row);
}

/** The part of a path that names its section: all up to its first dot, and "" without one. */
static size_t section_size(const char *path)
{
    const char *dot = strchr(path, '.');

    return dot != NULL ? (size_t)(dot - path) : 0;
}

void pawl_settings_print_man(FILE *out)
{
    const struct pawl_setting *row;
    const char *section = NULL;
    size_t size = 0;
    size_t i;

    (void)fputs(page_head, out);
    for (i = 0; (row = pawl_setting_at(i)) != NULL; i++) {
        size_t own = section_size(row->path);

        if ((row->flags & PAWL_SETTING_LATER) != 0) {
            continue;
        }
        /* A heading of its own where a section begins; "listen.*.uri" follows its "listen". */
        if (section == NULL || own != size || strncmp(row->path, section, own) != 0) {
            (void)fputs(section != NULL ? ".El\n" : "", out);
            (void)fprintf(out, ".Ss %.*s\n.Bl -tag -width Ds\n", own > 0 ? (int)own : 7,
                          own > 0 ? row->path : "General");
            section = row->path;
            size = own;
        }
        print_row(out, row);
    }
    (void)fputs(".El\n", out);
    (void)fputs(page_tail, out);
}
