/*
 * completion: what a shell completes, from the tables of commands and options.
 */
#include "commands.h"

#include <stdio.h>

static bool takes(const struct command_spec *command, uint32_t option)
{
    return option <= OPTION_VERSION_ID || (command->options & ((option_set)1 << option)) != 0;
}

/* "token check" in the shells' case words. */
static void words_print(const struct command_spec *command, char between)
{
    for (const char *at = command->name; *at != '\0'; at++) {
        putchar(*at == ' ' ? between : *at);
    }
}

static void bash(void)
{
    puts("# bash completion for pawlctl: eval \"$(pawlctl completion bash)\"\n"
         "_pawlctl() {\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} first= second= i\n"
         "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "        case ${COMP_WORDS[i]} in\n"
         "        -*) ;;\n"
         "        *)\n"
         "            if [ -z \"$first\" ]; then first=${COMP_WORDS[i]};\n"
         "            elif [ -z \"$second\" ]; then second=${COMP_WORDS[i]}; fi ;;\n"
         "        esac\n"
         "    done\n"
         "    case \"$first $second\" in");
    for (int id = COMMAND_NONE + 1; id < COMMAND_COUNT; id++) {
        const struct command_spec *command = command_spec((enum command_id)id);

        if (strchr(command->name, ' ') != NULL) {
            printf("    \"%s\"*) ", command->name);
        } else {
            printf("    \"%s \"*) ", command->name);
        }
        fputs("COMPREPLY=($(compgen -W \"", stdout);
        for (uint32_t i = 0; i < OPTION_COUNT; i++) {
            if (takes(command, i)) {
                printf("--%s ", option_spec((enum option_id)i)->name);
            }
        }
        puts("\" -- \"$word\")) ;;");
    }
    fputs("    *) COMPREPLY=($(compgen -W \"", stdout);
    for (int id = COMMAND_NONE + 1; id < COMMAND_COUNT; id++) {
        words_print(command_spec((enum command_id)id), ' ');
        putchar(' ');
    }
    puts("\" -- \"$word\")) ;;\n"
         "    esac\n"
         "}\n"
         "complete -o default -F _pawlctl pawlctl");
}

/* @text within single quotes. */
static void quoted(const char *text)
{
    putchar('\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            fputs("'\\''", stdout);
        } else {
            putchar(*text);
        }
    }
    putchar('\'');
}

/* @text as the description of a zsh argument: its brackets and colons are its syntax. */
static void zsh_text(const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("[]:\\", *text) != NULL) {
            putchar('\\');
        }
        if (*text == '\'') {
            fputs("'\\''", stdout);
        } else {
            putchar(*text);
        }
    }
}

static void zsh(void)
{
    puts("#compdef pawlctl\n"
         "# zsh completion for pawlctl: pawlctl completion zsh >/usr/share/zsh/vendor-completions/"
         "_pawlctl\n"
         "_pawlctl() {\n"
         "    local -a plain=(${words[2,CURRENT-1]:#-*})\n"
         "    case \"${plain[1]} ${plain[2]}\" in");
    for (int id = COMMAND_NONE + 1; id < COMMAND_COUNT; id++) {
        const struct command_spec *command = command_spec((enum command_id)id);

        printf("    \"%s\"*) _arguments", command->name);
        for (uint32_t i = 0; i < OPTION_COUNT; i++) {
            const struct option_spec *option = option_spec((enum option_id)i);

            if (takes(command, i)) {
                printf(" '--%s[", option->name);
                zsh_text(option->help);
                printf("]%s%s%s'", *option->argument != '\0' ? ":" : "", option->argument,
                       *option->argument != '\0' ? ":_files" : "");
            }
        }
        puts(" ;;");
    }
    puts("    *)\n"
         "        local -a commands=(");
    for (int id = COMMAND_NONE + 1; id < COMMAND_COUNT; id++) {
        const struct command_spec *command = command_spec((enum command_id)id);

        if (strchr(command->name, ' ') == NULL) {
            printf("            '%s:", command->name);
            zsh_text(command->summary);
            puts("'");
        }
    }
    puts(
        "            'token:check, verify or mint a token' 'family:open or end a family'\n"
        "        )\n"
        "        _describe command commands ;;\n"
        "    esac\n"
        "}\n"
        "if [ \"$funcstack[1]\" = _pawlctl ]; then _pawlctl \"$@\"; else compdef _pawlctl pawlctl; "
        "fi");
}

static void fish(void)
{
    puts("# fish completion for pawlctl: pawlctl completion fish | source\n"
         "complete -c pawlctl -f");
    for (int id = COMMAND_NONE + 1; id < COMMAND_COUNT; id++) {
        const struct command_spec *command = command_spec((enum command_id)id);
        const char *blank = strchr(command->name, ' ');
        int first = blank != NULL ? (int)(blank - command->name) : (int)strlen(command->name);

        printf("complete -c pawlctl -n __fish_use_subcommand -a %.*s", first, command->name);
        fputs(" -d ", stdout);
        quoted(blank != NULL ? "" : command->summary);
        puts("");
        if (blank != NULL) {
            printf("complete -c pawlctl -n '__fish_seen_subcommand_from %.*s' -a %s -d ", first,
                   command->name, blank + 1);
            quoted(command->summary);
            puts("");
        }
        for (uint32_t i = 0; i < OPTION_COUNT; i++) {
            const struct option_spec *option = option_spec((enum option_id)i);

            if (takes(command, i)) {
                printf("complete -c pawlctl -n '__fish_seen_subcommand_from %.*s' -l %s%s -d ",
                       first, command->name, option->name, *option->argument != '\0' ? " -r" : "");
                quoted(option->help);
                puts("");
            }
        }
    }
}

int command_completion(struct ctl *ctl)
{
    const char *shell = ctl->options.words[0];

    if (strcmp(shell, "bash") == 0) {
        bash();
    } else if (strcmp(shell, "zsh") == 0) {
        zsh();
    } else if (strcmp(shell, "fish") == 0) {
        fish();
    } else {
        return ctl_usage(ctl, "completion: no such shell", "write bash, zsh or fish");
    }
    return EXIT_YES;
}
