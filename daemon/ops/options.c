#include "ops/options.h"

#include <getopt.h>
#include <string.h>

#define EXIT_USAGE 2

enum option_code {
    OPTION_LISTEN = 256,
    OPTION_HTTP,
    OPTION_DATA_DIR,
    OPTION_CONFIG,
    OPTION_SET,
    OPTION_CHECK_CONFIG,
    OPTION_PRINT_CONFIG,
    OPTION_VERSION,
    OPTION_FROZEN,
    OPTION_TEST_CLOCK,
    OPTION_HELP,
};

static const struct option long_options[] = {
    { "listen", required_argument, NULL, OPTION_LISTEN },
    { "http", required_argument, NULL, OPTION_HTTP },
    { "data-dir", required_argument, NULL, OPTION_DATA_DIR },
    { "config", required_argument, NULL, OPTION_CONFIG },
    { "set", required_argument, NULL, OPTION_SET },
    { "check-config", no_argument, NULL, OPTION_CHECK_CONFIG },
    { "print-config", optional_argument, NULL, OPTION_PRINT_CONFIG },
    { "version", no_argument, NULL, OPTION_VERSION },
    { "frozen", no_argument, NULL, OPTION_FROZEN },
    { "test-clock", no_argument, NULL, OPTION_TEST_CLOCK },
    { "help", no_argument, NULL, OPTION_HELP },
    { NULL, 0, NULL, 0 },
};

static const char usage_line[] =
    "usage: pawld [--config FILE] [--listen URI]... [--http HOST:PORT|off]"
    " [--data-dir DIR]\n"
    "             [--set NAME=VALUE]... [--check-config | "
    "--print-config[=reference|man]]\n"
    "             [--frozen] [--test-clock] [--version] [--help]\n";

static const char help_text[] =
    "\n"
    "Counts calls against limits and knows which tokens are revoked.\n"
    "\n"
    "  --config FILE            read settings from FILE (YAML); none is needed\n"
    "  --listen URI             unix:/path, unix:@name, tcp:address:port or tls:address:port;\n"
    "                           may be given again; replaces the addresses of the file and the\n"
    "                           defaults, and turns HTTP off unless the file or --http asks\n"
    "  --http HOST:PORT|off     where metrics, health, gateways and console are answered\n"
    "  --data-dir DIR           where facts, families, counters and the secret are kept\n"
    "  --set NAME=VALUE         one setting, the value as in the file; may be given again\n"
    "  --check-config           say all that is wrong with the settings, and leave\n"
    "  --print-config           print the settings in force as a config file, and leave\n"
    "  --print-config=reference print all settings with bounds and defaults, and leave;\n"
    "                           --print-config=man: the same as the page pawld.yaml(5)\n"
    "  --frozen                 start with every token verdict undecided until pawlctl thaw\n"
    "  --test-clock             let requests bring their own time; only with a data_dir that\n"
    "                           has never run without it\n"
    "  --version                print the version, and leave\n"
    "  --help                   print this, and leave\n"
    "\n"
    "Exit status: 0 good, 1 could not start, 2 the command line or the settings are wrong.\n";

struct parse {
    struct pawl_options *options;
    FILE *out;
    FILE *err;
};

static void refuse(struct parse *parse, const char *what, const char *name)
{
    parse->options->action = PAWL_ACTION_EXIT;
    parse->options->exit_code = EXIT_USAGE;
    (void)fprintf(parse->err, "pawld: %s%s\n%s", what, name, usage_line);
}

static void set_action(struct parse *parse, enum pawl_action action)
{
    enum pawl_action now = parse->options->action;

    if (now != PAWL_ACTION_RUN && now != action) {
        refuse(parse, "--check-config and --print-config exclude each other", "");
        return;
    }
    parse->options->action = action;
}

static void set_once(struct parse *parse, const char **text, const char *name)
{
    if (*text != NULL) {
        refuse(parse, "given twice: ", name);
        return;
    }
    *text = optarg;
}

static void add(struct parse *parse, const char **list, unsigned *count, unsigned max,
                const char *name)
{
    if (*count == max) {
        refuse(parse, "given too often: ", name);
        return;
    }
    list[(*count)++] = optarg;
}

static void leave(struct parse *parse)
{
    parse->options->action = PAWL_ACTION_EXIT;
    parse->options->exit_code = 0;
}

static void on_print_config(struct parse *parse)
{
    if (optarg == NULL) {
        set_action(parse, PAWL_ACTION_PRINT_CONFIG);
    } else if (strcmp(optarg, "reference") == 0) {
        set_action(parse, PAWL_ACTION_PRINT_REFERENCE);
    } else if (strcmp(optarg, "man") == 0) {
        pawl_settings_print_man(parse->out);
        leave(parse);
    } else {
        refuse(parse, "--print-config takes nothing, reference or man, not ", optarg);
    }
}

static void on_option(struct parse *parse, int code, const char *name)
{
    struct pawl_options *options = parse->options;

    switch (code) {
    case OPTION_LISTEN:
        add(parse, options->listen, &options->listen_count, PAWL_SETTINGS_LISTEN_MAX, "--listen");
        break;
    case OPTION_HTTP:
        set_once(parse, &options->http, "--http");
        break;
    case OPTION_DATA_DIR:
        set_once(parse, &options->data_dir, "--data-dir");
        break;
    case OPTION_CONFIG:
        set_once(parse, &options->config_file, "--config");
        break;
    case OPTION_SET:
        add(parse, options->sets, &options->set_count, PAWL_OPTIONS_SETS_MAX, "--set");
        break;
    case OPTION_CHECK_CONFIG:
        set_action(parse, PAWL_ACTION_CHECK_CONFIG);
        break;
    case OPTION_PRINT_CONFIG:
        on_print_config(parse);
        break;
    case OPTION_VERSION:
        (void)fprintf(parse->out, "pawld %s\n", PAWL_VERSION);
        leave(parse);
        break;
    case OPTION_FROZEN:
        options->frozen = true;
        break;
    case OPTION_TEST_CLOCK:
        options->test_clock = true;
        break;
    case OPTION_HELP:
        (void)fputs(usage_line, parse->out);
        (void)fputs(help_text, parse->out);
        leave(parse);
        break;
    case ':':
        refuse(parse, "a value is missing after ", name);
        break;
    default:
        refuse(parse, "not an option: ", name);
        break;
    }
}

void pawl_options_parse(int argc, char **argv, FILE *out, FILE *err, struct pawl_options *options)
{
    struct parse parse = { options, out, err };
    char letter[] = "-?";
    int code;

    memset(options, 0, sizeof(*options));
    options->action = PAWL_ACTION_RUN;
    optind = 0; /* glibc: forget an earlier command line */
    opterr = 0;
    while (options->action != PAWL_ACTION_EXIT) {
        code = getopt_long(argc, argv, ":", long_options, NULL);
        if (code == -1) {
            break;
        }
        letter[1] = (char)optopt;
        /* pawld has no short options: getopt stops at the letter, maybe inside a word. */
        on_option(&parse, code,
                  code == '?' && optopt > 0 && optopt < OPTION_LISTEN ? letter : argv[optind - 1]);
    }
    if (options->action != PAWL_ACTION_EXIT && optind < argc) {
        refuse(&parse, "not an option: ", argv[optind]);
    }
}

struct pawl_settings_sources pawl_options_sources(const struct pawl_options *options,
                                                  const struct pawl_settings_env *env,
                                                  const struct pawl_config_parser *parser)
{
    struct pawl_settings_sources sources = {
        .parser = parser,
        .env = env,
        .config_file = options->config_file,
        .listen = options->listen,
        .listen_count = options->listen_count,
        .http = options->http,
        .data_dir = options->data_dir,
        .sets = options->sets,
        .set_count = options->set_count,
    };

    return sources;
}
