#include "ops/settings_load.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SETTINGS_BYTES_MAX (UINT64_C(64) << 20)  /* of texts and limits */
#define SCRATCH_BYTES_MAX  (UINT64_C(256) << 20) /* of trees: nodes, texts, sorting */
#define LABEL_BYTES        96                    /* of an option repeated in a message */

/* ---- problems ------------------------------------------------------------------------------ */

/** What comes from a file may hold anything; a terminal must not act on it. */
static void make_printable(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            *text = '?';
        }
    }
}

static bool comes_before(const struct pawl_problem *a, const struct pawl_problem *b)
{
    if (a->source != b->source) {
        return a->source < b->source;
    }
    return a->line != b->line ? a->line < b->line : a->column < b->column;
}

/** Keep @problem in order of place, behind those of the same place. */
static void keep_problem(struct pawl_problems *problems, const struct pawl_problem *problem)
{
    unsigned at = problems->count;

    if (!problem->warning) {
        problems->errors++;
    }
    if (problems->count == PAWL_PROBLEMS_MAX) {
        problems->dropped++;
        return;
    }
    while (at > 0 && comes_before(problem, &problems->items[at - 1])) {
        at--;
    }
    memmove(&problems->items[at + 1], &problems->items[at],
            (problems->count - at) * sizeof(*problem));
    problems->items[at] = *problem;
    problems->count++;
}

static void add_problem(struct pawl_problems *problems, bool warning,
                        const struct pawl_place *place, unsigned shift, const char *what)
{
    struct pawl_problem problem = { .warning = warning, .source = 2 };
    int used = 0;

    if (place != NULL && place->line > 0) {
        problem.source = 0;
        problem.line = place->line;
        problem.column = place->column + shift;
        used = snprintf(problem.text, sizeof(problem.text), "%.256s:%u:%u: ", place->file,
                        problem.line, problem.column);
    } else if (place != NULL) {
        problem.source = 1;
        used = snprintf(problem.text, sizeof(problem.text), "%.256s: ", place->file);
    }
    if (used >= 0) {
        (void)snprintf(problem.text + used, sizeof(problem.text) - (size_t)used, "%s%s",
                       warning ? "warning: " : "", what);
    }
    make_printable(problem.text);
    keep_problem(problems, &problem);
}

void pawl_settings_complain(struct pawl_settings_loader *loader, bool warning,
                            const struct pawl_place *place, unsigned shift, const char *format, ...)
{
    char what[PAWL_PROBLEM_TEXT_BYTES];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    add_problem(loader->problems, warning, place, shift, what);
}

static void on_parser_problem(void *self, const struct pawl_place *place, const char *what)
{
    struct pawl_settings_loader *loader = self;

    add_problem(loader->problems, false, place, 0, what);
}

void pawl_problems_print(const struct pawl_problems *problems, FILE *out)
{
    unsigned i;

    for (i = 0; i < problems->count; i++) {
        (void)fprintf(out, "%s\n", problems->items[i].text);
    }
    if (problems->dropped > 0) {
        (void)fprintf(out, "and %u more\n", problems->dropped);
    }
}

/* ---- environment --------------------------------------------------------------------------- */

static const char *env_text(const char *name)
{
    const char *text = getenv(name);

    return text != NULL && text[0] != '\0' ? text : NULL;
}

void pawl_settings_env_read(struct pawl_settings_env *env)
{
    memset(env, 0, sizeof(*env));
    env->root = geteuid() == 0;
    env->runtime_directory = env_text("RUNTIME_DIRECTORY");
    env->state_directory = env_text("STATE_DIRECTORY");
    env->xdg_runtime_dir = env_text("XDG_RUNTIME_DIR");
    env->xdg_state_home = env_text("XDG_STATE_HOME");
    env->home = env_text("HOME");
    if (getcwd(env->cwd, sizeof(env->cwd)) == NULL) {
        env->cwd[0] = '\0';
    }
}

const char *pawl_settings_folder(const struct pawl_settings_loader *loader,
                                 const struct pawl_config_node *node)
{
    return node->place.line > 0 ? loader->config_folder : loader->sources->env->cwd;
}

/** The folder of the config file, absolute; "" when that cannot be told. */
static void find_config_folder(struct pawl_settings_loader *loader)
{
    const char *file = loader->sources->config_file;
    const char *cwd = loader->sources->env->cwd;
    const char *slash = strrchr(file, '/');
    size_t size = slash != NULL ? (size_t)(slash - file) : 0;
    char *folder = loader->config_folder;
    size_t capacity = sizeof(loader->config_folder);
    int wrote;

    if (file[0] == '/') {
        wrote = snprintf(folder, capacity, "%.*s", size > 0 ? (int)size : 1, file);
    } else if (cwd[0] == '\0') {
        wrote = 0;
    } else {
        wrote = snprintf(folder, capacity, "%s%s%.*s", cwd, size > 0 ? "/" : "", (int)size, file);
    }
    if (wrote < 0 || (size_t)wrote >= capacity) {
        folder[0] = '\0';
    }
}

/** Keep the config file's own path, for those who watch it; "" where it cannot be told. */
static void note_config_file(struct pawl_settings_loader *loader)
{
    const char *file = loader->sources->config_file;
    const char *slash = strrchr(file, '/');
    const char *folder = loader->config_folder;
    char path[2 * PAWL_SETTINGS_PATH_MAX];
    const char *copy;

    if (folder[0] == '\0') {
        return;
    }
    (void)snprintf(path, sizeof(path), "%s%s%.1000s", folder,
                   folder[strlen(folder) - 1] == '/' ? "" : "/", slash != NULL ? slash + 1 : file);
    copy = pawl_pool_text(loader->settings->pool, path, strlen(path));
    loader->no_memory = loader->no_memory || copy == NULL;
    loader->settings->config_file = copy != NULL ? copy : "";
}

/* ---- one tree of all sources --------------------------------------------------------------- */

static void *take_scratch(void *self, size_t size)
{
    struct pawl_settings_loader *loader = self;
    void *taken = pawl_pool_take(loader->scratch, size);

    loader->no_memory = loader->no_memory || taken == NULL;
    return taken;
}

static struct pawl_config_node *new_node(struct pawl_settings_loader *loader,
                                         enum pawl_node_kind kind, const char *label)
{
    struct pawl_config_node *node = take_scratch(loader, sizeof(*node));

    if (node != NULL) {
        node->kind = kind;
        node->place.file = label;
        node->key_place.file = label;
        node->text = "";
    }
    return node;
}

static struct pawl_config_node *child_of(const struct pawl_config_node *parent, const char *key)
{
    struct pawl_config_node *child;

    for (child = parent->first; child != NULL; child = child->next) {
        if (strcmp(child->key, key) == 0) {
            return child;
        }
    }
    return NULL;
}

static void append_child(struct pawl_config_node *parent, struct pawl_config_node *child)
{
    struct pawl_config_node **end = &parent->first;

    while (*end != NULL) {
        end = &(*end)->next;
    }
    child->next = NULL;
    *end = child;
    parent->count++;
}

/**
 * Lay @node over what @parent has under its key: mappings merge, all else is replaced. As deep as
 * the parser's cap on depth at most.
 */
static void lay_over(struct pawl_config_node *parent, struct pawl_config_node *node)
{
    struct pawl_config_node *old = child_of(parent, node->key);
    struct pawl_config_node *child;
    struct pawl_config_node *next;

    if (old == NULL) {
        append_child(parent, node);
        return;
    }
    if (old->kind == PAWL_NODE_MAPPING && node->kind == PAWL_NODE_MAPPING) {
        for (child = node->first; child != NULL; child = next) {
            next = child->next;
            lay_over(old, child);
        }
        return;
    }
    next = old->next;
    *old = *node;
    old->next = next;
}

/** Cut @path at its dots into keys; a limit's name keeps its own. Returns how many, 0 = none. */
static unsigned split_path(char *path, const char **keys, unsigned capacity)
{
    char *rest = path;
    unsigned count = 0;

    if (strncmp(path, "limits.", 7) == 0) {
        char *last = strrchr(path + 7, '.');
        bool is_field = last != NULL && pawl_setting_find_in(PAWL_SCOPE_LIMIT, last + 1) != NULL;

        path[6] = '\0';
        keys[0] = path;
        keys[1] = path + 7;
        if (is_field) {
            *last = '\0';
            keys[2] = last + 1;
        }
        return is_field ? 3 : 2;
    }
    while (count < capacity) {
        char *dot = strchr(rest, '.');

        keys[count++] = rest;
        if (dot == NULL) {
            return count;
        }
        *dot = '\0';
        rest = dot + 1;
    }
    return 0;
}

/** Lay @value over the tree at the dotted @path (changed by the call). */
static void graft(struct pawl_settings_loader *loader, char *path, struct pawl_config_node *value,
                  const char *label)
{
    const char *keys[4];
    unsigned count = split_path(path, keys, 4);
    struct pawl_config_node *node = value;

    if (count == 0) {
        pawl_settings_complain(loader, false, &value->place, 0,
                               "no setting has that many dots; see --print-config for all of them");
        return;
    }
    while (count > 1) {
        struct pawl_config_node *parent = new_node(loader, PAWL_NODE_MAPPING, label);

        if (parent == NULL) {
            return;
        }
        node->key = keys[--count];
        node->key_place = value->place;
        append_child(parent, node);
        node = parent;
    }
    node->key = keys[0];
    node->key_place = value->place;
    lay_over(loader->root, node);
}

static char *make_label(struct pawl_settings_loader *loader, const char *option, const char *value)
{
    char *label = take_scratch(loader, LABEL_BYTES);

    if (label != NULL) {
        (void)snprintf(label, LABEL_BYTES, "%s %s", option, value);
    }
    return label;
}

/** "--data-dir X" as the tree {data_dir: X}. */
static void add_option(struct pawl_settings_loader *loader, const char *option, const char *key,
                       const char *text)
{
    char *label = make_label(loader, option, text);
    struct pawl_config_node *node =
        label != NULL ? new_node(loader, PAWL_NODE_SCALAR, label) : NULL;

    if (node != NULL) {
        node->key = key;
        node->text = text;
        node->quoted = true;
        lay_over(loader->root, node);
    }
}

static void add_listen_options(struct pawl_settings_loader *loader)
{
    struct pawl_config_node *list;
    unsigned i;

    if (loader->sources->listen_count == 0) {
        return;
    }
    list = new_node(loader, PAWL_NODE_SEQUENCE, "--listen");
    if (list == NULL) {
        return;
    }
    for (i = 0; i < loader->sources->listen_count; i++) {
        const char *uri = loader->sources->listen[i];
        char *label = make_label(loader, "--listen", uri);
        struct pawl_config_node *node =
            label != NULL ? new_node(loader, PAWL_NODE_SCALAR, label) : NULL;

        if (node == NULL) {
            return;
        }
        node->text = uri;
        node->quoted = true;
        append_child(list, node);
    }
    list->key = "listen";
    lay_over(loader->root, list);
}

/** "--set a.b=value": the value is read in the language of the file. */
static void add_set(struct pawl_settings_loader *loader, const char *text)
{
    const struct pawl_config_parser *parser = loader->sources->parser;
    struct pawl_config_memory memory = { take_scratch, loader };
    struct pawl_config_sink sink = { on_parser_problem, loader };
    const char *equals = strchr(text, '=');
    char *label = make_label(loader, "--set", text);
    struct pawl_place place = { label, 0, 0 };
    struct pawl_config_node *value = NULL;
    char *path;

    if (label == NULL) {
        return;
    }
    if (equals == NULL || equals == text) {
        pawl_settings_complain(loader, false, &place, 0,
                               "is not of the form name=value; write --set tokens.skew=10s");
        return;
    }
    path = pawl_pool_text(loader->scratch, text, (size_t)(equals - text));
    if (path == NULL) {
        loader->no_memory = true;
        return;
    }
    enum pawl_status status =
        parser->parse_text(parser->self, label, pawl_bytes_of(equals + 1, strlen(equals + 1)),
                           false, &memory, &sink, &value);

    loader->no_memory = loader->no_memory || status == PAWL_ENOMEM;
    if (status != PAWL_OK) {
        return;
    }
    if (value == NULL) {
        value = new_node(loader, PAWL_NODE_SCALAR, label);
    }
    if (value != NULL) {
        graft(loader, path, value, label);
    }
}

static void read_file(struct pawl_settings_loader *loader)
{
    const struct pawl_config_parser *parser = loader->sources->parser;
    struct pawl_config_memory memory = { take_scratch, loader };
    struct pawl_config_sink sink = { on_parser_problem, loader };
    struct pawl_config_node *root = NULL;

    find_config_folder(loader);
    note_config_file(loader);
    /* A file with problems still gives a tree: what is in it is checked all the same, so that
     * everything wrong is said at once. Without memory there is no tree, and no file is not what
     * it means. */
    if (parser->parse_file(parser->self, loader->sources->config_file, &memory, &sink, &root) ==
        PAWL_ENOMEM) {
        loader->no_memory = true;
    }
    bool has_nothing = root == NULL || (root->kind == PAWL_NODE_SCALAR && root->text[0] == '\0');

    if (has_nothing && loader->sources->reload && loader->problems->errors == 0 &&
        !loader->no_memory) {
        struct pawl_place top = { .file = loader->sources->config_file, .line = 1, .column = 1 };

        pawl_settings_complain(loader, false, &top, 0,
                               "the file has nothing in it, as while it is being written; a reload "
                               "to nothing but defaults wants {} in it");
    }
    if (root == NULL) {
        return;
    }
    if (root->kind == PAWL_NODE_MAPPING) {
        loader->root = root;
    } else if (root->kind != PAWL_NODE_SCALAR || root->text[0] != '\0' || root->quoted) {
        pawl_settings_complain(loader, false, &root->place, 0,
                               "the file is not a mapping; write lines of \"name: value\"");
    }
}

static void build_tree(struct pawl_settings_loader *loader)
{
    const struct pawl_settings_sources *sources = loader->sources;
    unsigned i;

    if (sources->config_file != NULL) {
        read_file(loader);
    }
    if (loader->root == NULL) {
        loader->root = new_node(loader, PAWL_NODE_MAPPING, "");
    }
    if (loader->root == NULL) {
        return;
    }
    add_listen_options(loader);
    if (sources->http != NULL) {
        add_option(loader, "--http", "http", sources->http);
    }
    if (sources->data_dir != NULL) {
        add_option(loader, "--data-dir", "data_dir", sources->data_dir);
    }
    for (i = 0; i < sources->set_count; i++) {
        add_set(loader, sources->sets[i]);
    }
}

/* ---- loading ------------------------------------------------------------------------------- */

static struct pawl_settings *new_settings(void)
{
    struct pawl_pool *pool = pawl_pool_create(SETTINGS_BYTES_MAX);
    struct pawl_settings *settings = NULL;

    if (pool != NULL) {
        settings = pawl_pool_take(pool, sizeof(*settings));
        if (settings == NULL) {
            pawl_pool_destroy(pool);
            return NULL;
        }
        settings->pool = pool;
        settings->data_dir = "";
        settings->config_file = "";
        settings->secret_file = "";
        settings->names_secret_file = "";
        settings->secret_files[0] = "";
        settings->secret_files[1] = "";
        settings->secret_list[0] = "";
        settings->secret_list[1] = "";
        settings->cluster.advertise = "";
    }
    return settings;
}

enum pawl_status pawl_settings_load(const struct pawl_settings_sources *sources,
                                    struct pawl_problems *problems, struct pawl_settings **out)
{
    struct pawl_settings_loader loader = { .sources = sources, .problems = problems };
    enum pawl_status status = PAWL_ENOMEM;

    *out = NULL;
    loader.settings = new_settings();
    loader.scratch = pawl_pool_create(SCRATCH_BYTES_MAX);
    if (loader.settings == NULL || loader.scratch == NULL) {
        goto out;
    }
    build_tree(&loader);
    if (loader.root != NULL) {
        pawl_settings_walk(&loader);
        pawl_settings_finish(&loader);
    }
    if (!loader.no_memory) {
        status = problems->errors > 0 ? PAWL_EINVAL : PAWL_OK;
    }
    if (status == PAWL_OK) {
        *out = loader.settings;
        loader.settings = NULL;
    }
out:
    pawl_settings_destroy(loader.settings);
    pawl_pool_destroy(loader.scratch);
    return status;
}

void pawl_settings_destroy(struct pawl_settings *settings)
{
    if (settings != NULL) {
        pawl_pool_destroy(settings->pool); /* holds @settings too */
    }
}
