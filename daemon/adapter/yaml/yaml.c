#include "adapter/yaml/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#define MESSAGE_BYTES 512
#define PATH_BYTES    256
#define READ_BYTES    16384 /* for a file at first; it grows to the cap */

/** An open collection while its children are read. */
struct level {
    struct pawl_config_node *node;
    struct pawl_config_node *last; /* its newest child */
    const char *key;               /* mapping: read, its value is awaited */
    struct pawl_place key_place;
    bool awaits_value; /* mapping: the next node is a value, also where the key was refused */
};

struct reader {
    const char *name;
    bool has_lines;
    struct pawl_bytes text;
    const struct pawl_config_memory *memory;
    const struct pawl_config_sink *sink;
    struct pawl_config_node *root;
    struct level levels[PAWL_CONFIG_DEPTH_MAX];
    unsigned depth;
    unsigned nodes;
    unsigned documents;
    unsigned skip; /* open collections inside a refused key */
    enum pawl_status status;
    bool stop; /* nothing sensible can follow */
};

/* ---- messages ------------------------------------------------------------------------------ */

static struct pawl_place place_of(const struct reader *reader, const yaml_mark_t *mark)
{
    struct pawl_place place = { reader->name, 0, 0 };

    if (reader->has_lines) {
        place.line = (unsigned)mark->line + 1;
        place.column = (unsigned)mark->column + 1;
    }
    return place;
}

/** "limits.api" or "listen[1]": where the reader stands, "" at the top. */
static void path_text(const struct reader *reader, const char *key, char *out)
{
    size_t used = 0;
    unsigned i;

    out[0] = '\0';
    for (i = 0; i <= reader->depth && used < PATH_BYTES; i++) {
        const char *word = NULL;
        int wrote = 0;

        if (i < reader->depth) {
            const struct level *level = &reader->levels[i];

            if (level->node->kind == PAWL_NODE_SEQUENCE && i + 1 < reader->depth) {
                wrote = snprintf(out + used, PATH_BYTES - used, "[%u]", level->node->count - 1);
            } else if (i + 1 < reader->depth) {
                word = level->node->count > 0 ? level->last->key : NULL;
            }
        } else {
            word = key;
        }
        if (word != NULL) {
            wrote = snprintf(out + used, PATH_BYTES - used, "%s%.80s", used > 0 ? "." : "", word);
        }
        used += wrote > 0 ? (size_t)wrote : 0;
    }
}

static void complain(struct reader *reader, const struct pawl_place *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void complain(struct reader *reader, const struct pawl_place *place, const char *format, ...)
{
    char what[MESSAGE_BYTES];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    if (reader->status == PAWL_OK) {
        reader->status = PAWL_EINVAL;
    }
    reader->sink->problem(reader->sink->self, place, what);
}

static void no_memory(struct reader *reader)
{
    reader->status = PAWL_ENOMEM;
    reader->stop = true;
}

/* ---- building ------------------------------------------------------------------------------ */

static char *copy_text(struct reader *reader, const yaml_char_t *text, size_t size)
{
    char *copy = reader->memory->take(reader->memory->self, size + 1);

    if (copy == NULL) {
        no_memory(reader);
        return NULL;
    }
    memcpy(copy, text, size);
    return copy;
}

static void attach(struct reader *reader, struct pawl_config_node *node)
{
    struct level *level;

    if (reader->depth == 0) {
        reader->root = node;
        return;
    }
    level = &reader->levels[reader->depth - 1];
    if (level->node->kind == PAWL_NODE_MAPPING) {
        node->key = level->key;
        node->key_place = level->key_place;
        level->key = NULL;
    }
    if (level->last == NULL) {
        level->node->first = node;
    } else {
        level->last->next = node;
    }
    level->last = node;
    level->node->count++;
}

/** A new node at its place in the tree; NULL when a cap or the memory ends. */
static struct pawl_config_node *add_node(struct reader *reader, enum pawl_node_kind kind,
                                         const yaml_mark_t *mark)
{
    struct pawl_place place = place_of(reader, mark);
    struct pawl_config_node *node;

    if (++reader->nodes > PAWL_CONFIG_NODES_MAX) {
        complain(reader, &place, "more than %d values; split what is not needed off",
                 PAWL_CONFIG_NODES_MAX);
        reader->stop = true;
        return NULL;
    }
    node = reader->memory->take(reader->memory->self, sizeof(*node));
    if (node == NULL) {
        no_memory(reader);
        return NULL;
    }
    node->kind = kind;
    node->place = place;
    attach(reader, node);
    return node;
}

struct sorted {
    const struct pawl_config_node *node;
};

static int by_key(const void *a, const void *b)
{
    const struct pawl_config_node *left = ((const struct sorted *)a)->node;
    const struct pawl_config_node *right = ((const struct sorted *)b)->node;
    int order = strcmp(left->key, right->key);

    if (order == 0) { /* then in the file's order, so that the later one is the double */
        order = left->key_place.line < right->key_place.line ? -1 : 1;
        if (left->key_place.line == right->key_place.line) {
            order = left->key_place.column < right->key_place.column ? -1 : 1;
        }
    }
    return order;
}

static void complain_double(struct reader *reader, const struct pawl_config_node *first,
                            const struct pawl_config_node *second)
{
    char path[PATH_BYTES];

    path_text(reader, second->key, path);
    if (reader->has_lines) {
        complain(reader, &second->key_place,
                 "%s: is set twice, first at line %u, column %u; remove one", path,
                 first->key_place.line, first->key_place.column);
    } else {
        complain(reader, &second->key_place, "%s: is set twice; remove one", path);
    }
}

/** Find keys that stand twice, by sorting: a file of many keys must not cost their square. */
static void check_doubles(struct reader *reader, const struct pawl_config_node *mapping)
{
    struct sorted *sorted;
    const struct pawl_config_node *child;
    unsigned i = 0;

    if (mapping->count < 2) {
        return;
    }
    sorted = reader->memory->take(reader->memory->self, mapping->count * sizeof(*sorted));
    if (sorted == NULL) {
        no_memory(reader);
        return;
    }
    for (child = mapping->first; child != NULL; child = child->next) {
        sorted[i++].node = child;
    }
    qsort(sorted, mapping->count, sizeof(*sorted), by_key);
    for (i = 1; i < mapping->count; i++) {
        if (strcmp(sorted[i].node->key, sorted[i - 1].node->key) == 0) {
            complain_double(reader, sorted[i - 1].node, sorted[i].node);
        }
    }
}

/** The next node stands where a mapping's key belongs. */
static bool at_key(const struct reader *reader)
{
    const struct level *level;

    if (reader->depth == 0) {
        return false;
    }
    level = &reader->levels[reader->depth - 1];
    return level->node->kind == PAWL_NODE_MAPPING && !level->awaits_value;
}

/** After a value: the mapping around it expects a key again. */
static void value_done(struct reader *reader)
{
    if (reader->depth > 0) {
        reader->levels[reader->depth - 1].awaits_value = false;
    }
}

/** Stand-in for a key that was refused, so that its value is still read and checked. */
static void refuse_key(struct reader *reader, const struct pawl_place *place)
{
    struct level *level = &reader->levels[reader->depth - 1];

    complain(reader, place, "a key must be a word; write \"name: value\"");
    level->key = "?";
    level->key_place = *place;
    level->awaits_value = true;
}

static void refuse_extras(struct reader *reader, const yaml_char_t *anchor, const yaml_char_t *tag,
                          const yaml_mark_t *mark)
{
    struct pawl_place place = place_of(reader, mark);

    if (anchor != NULL) {
        complain(reader, &place,
                 "anchor &%.40s: anchors and aliases are not read here; write the "
                 "value out wherever it is meant",
                 (const char *)anchor);
    }
    if (tag != NULL) {
        complain(reader, &place, "tag %.60s: tags are not read here; remove it", (const char *)tag);
    }
}

/* ---- events -------------------------------------------------------------------------------- */

static void on_scalar(struct reader *reader, const yaml_event_t *event)
{
    const yaml_char_t *value = event->data.scalar.value;
    size_t length = event->data.scalar.length;
    struct pawl_place place = place_of(reader, &event->start_mark);
    struct pawl_config_node *node;
    char *text;

    refuse_extras(reader, event->data.scalar.anchor, event->data.scalar.tag, &event->start_mark);
    if (memchr(value, '\0', length) != NULL) {
        complain(reader, &place, "a NUL character in a text; remove it");
    }
    text = copy_text(reader, value, length);
    if (text == NULL) {
        return;
    }
    if (at_key(reader)) {
        struct level *level = &reader->levels[reader->depth - 1];

        level->key = text;
        level->key_place = place;
        level->awaits_value = true;
        return;
    }
    node = add_node(reader, PAWL_NODE_SCALAR, &event->start_mark);
    if (node != NULL) {
        node->text = text;
        node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        value_done(reader);
    }
}

static void on_open(struct reader *reader, const yaml_event_t *event, enum pawl_node_kind kind)
{
    struct pawl_place place = place_of(reader, &event->start_mark);
    struct pawl_config_node *node;

    if (kind == PAWL_NODE_MAPPING) {
        refuse_extras(reader, event->data.mapping_start.anchor, event->data.mapping_start.tag,
                      &event->start_mark);
    } else {
        refuse_extras(reader, event->data.sequence_start.anchor, event->data.sequence_start.tag,
                      &event->start_mark);
    }
    if (reader->depth == PAWL_CONFIG_DEPTH_MAX) {
        complain(reader, &place, "nested deeper than %d levels; no setting is",
                 PAWL_CONFIG_DEPTH_MAX);
        reader->stop = true;
        return;
    }
    if (at_key(reader)) {
        refuse_key(reader, &place);
        reader->skip = 1;
        return;
    }
    node = add_node(reader, kind, &event->start_mark);
    if (node != NULL) {
        reader->levels[reader->depth] = (struct level){ .node = node };
        reader->depth++;
    }
}

static void on_close(struct reader *reader)
{
    const struct pawl_config_node *node = reader->levels[reader->depth - 1].node;

    if (node != NULL && node->kind == PAWL_NODE_MAPPING) {
        check_doubles(reader, node);
    }
    reader->depth--;
    value_done(reader);
}

static void on_alias(struct reader *reader, const yaml_event_t *event)
{
    struct pawl_place place = place_of(reader, &event->start_mark);

    complain(reader, &place,
             "alias *%.40s: anchors and aliases are not read here; write the value "
             "out",
             (const char *)event->data.alias.anchor);
    if (at_key(reader)) {
        refuse_key(reader, &place);
    } else {
        struct pawl_config_node *node = add_node(reader, PAWL_NODE_SCALAR, &event->start_mark);

        if (node != NULL) {
            node->text = "";
            value_done(reader);
        }
    }
}

static void on_document(struct reader *reader, const yaml_event_t *event)
{
    struct pawl_place place = place_of(reader, &event->start_mark);

    if (++reader->documents > 1) {
        complain(reader, &place, "a second document; a config file has one, remove the \"---\"");
        reader->stop = true;
    }
}

/** Inside a refused key nothing is built: only its end is looked for. */
static void on_skipped(struct reader *reader, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (++reader->skip > PAWL_CONFIG_DEPTH_MAX) {
            reader->stop = true;
        }
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        reader->skip--;
        break;
    default:
        break;
    }
}

static void on_event(struct reader *reader, const yaml_event_t *event)
{
    if (reader->skip > 0) {
        on_skipped(reader, event);
        return;
    }
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        on_document(reader, event);
        break;
    case YAML_SCALAR_EVENT:
        on_scalar(reader, event);
        break;
    case YAML_SEQUENCE_START_EVENT:
        on_open(reader, event, PAWL_NODE_SEQUENCE);
        break;
    case YAML_MAPPING_START_EVENT:
        on_open(reader, event, PAWL_NODE_MAPPING);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        on_close(reader);
        break;
    case YAML_ALIAS_EVENT:
        on_alias(reader, event);
        break;
    case YAML_STREAM_END_EVENT:
        reader->stop = true;
        break;
    default:
        break;
    }
}

/* ---- reading ------------------------------------------------------------------------------- */

/** The reader's own errors (bad UTF-8) carry a byte's offset and no line: count lines up to it. */
static yaml_mark_t mark_of_offset(const struct reader *reader, size_t offset)
{
    yaml_mark_t mark = { 0, 0, 0 };
    size_t i;

    for (i = 0; i < offset && i < reader->text.size; i++) {
        mark.column++;
        if (reader->text.data[i] == '\n') {
            mark.line++;
            mark.column = 0;
        }
    }
    return mark;
}

static void on_syntax_error(struct reader *reader, const yaml_parser_t *parser)
{
    yaml_mark_t mark = parser->problem_mark;
    struct pawl_place place;

    if (parser->error == YAML_MEMORY_ERROR) {
        no_memory(reader);
        return;
    }
    if (parser->error == YAML_READER_ERROR) {
        mark = mark_of_offset(reader, parser->problem_offset);
    }
    place = place_of(reader, &mark);
    complain(reader, &place, "is not YAML: %s%s%s; check indentation, colons and quotes here",
             parser->problem != NULL ? parser->problem : "unreadable",
             parser->context != NULL ? " " : "", parser->context != NULL ? parser->context : "");
}

static void read_events(struct reader *reader)
{
    yaml_parser_t parser;
    yaml_event_t event;

    if (yaml_parser_initialize(&parser) == 0) {
        no_memory(reader);
        return;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, reader->text.data, reader->text.size);
    while (!reader->stop) {
        if (yaml_parser_parse(&parser, &event) == 0) {
            on_syntax_error(reader, &parser);
            break;
        }
        on_event(reader, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
}

static enum pawl_status parse_text(void *self, const char *name, struct pawl_bytes text,
                                   bool has_lines, const struct pawl_config_memory *memory,
                                   const struct pawl_config_sink *sink,
                                   struct pawl_config_node **root)
{
    static const uint8_t byte_order_mark[] = { 0xef, 0xbb, 0xbf };
    struct reader reader = {
        .name = name, .has_lines = has_lines, .text = text, .memory = memory, .sink = sink
    };
    struct pawl_place whole = { name, 0, 0 };

    (void)self;
    *root = NULL;
    if (text.size > PAWL_CONFIG_BYTES_MAX) {
        complain(&reader, &whole, "is larger than %d bytes; a config file is not",
                 PAWL_CONFIG_BYTES_MAX);
        return PAWL_EINVAL;
    }
    if (text.size >= sizeof(byte_order_mark) &&
        memcmp(text.data, byte_order_mark, sizeof(byte_order_mark)) == 0) {
        reader.text.data += sizeof(byte_order_mark);
        reader.text.size -= sizeof(byte_order_mark);
    }
    if (reader.text.size > 0) {
        read_events(&reader);
    }
    *root = reader.root;
    return reader.status;
}

/** Read @fd to its end, or to one byte more than allowed, which tells "larger". */
static enum pawl_status read_all(int fd, const struct pawl_config_memory *memory,
                                 struct pawl_bytes *text)
{
    const size_t most = PAWL_CONFIG_BYTES_MAX + 1;
    size_t capacity = READ_BYTES;
    size_t size = 0;
    uint8_t *data = memory->take(memory->self, capacity);

    while (data != NULL) {
        ssize_t got = read(fd, data + size, capacity - size);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return PAWL_EIO;
        }
        size += (size_t)got;
        if (got == 0 || size == most) {
            *text = pawl_bytes_of(data, size);
            return PAWL_OK;
        }
        if (size == capacity) {
            uint8_t *small = data;

            capacity = capacity * 4 < most ? capacity * 4 : most;
            data = memory->take(memory->self, capacity);
            if (data != NULL) {
                memcpy(data, small, size);
            }
        }
    }
    return PAWL_ENOMEM;
}

/** Read the whole file into memory of the caller's; @text is empty where that did not work. */
static enum pawl_status read_file(const char *path, const struct pawl_config_memory *memory,
                                  struct pawl_bytes *text)
{
    enum pawl_status status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a fifo must not stop the start */
    int error;

    *text = pawl_bytes_of(NULL, 0);
    if (fd < 0) {
        return errno == ENOENT ? PAWL_ENOENT : PAWL_EIO;
    }
    status = read_all(fd, memory, text);
    error = errno;
    (void)close(fd);
    errno = error; /* for the message */
    return status;
}

static enum pawl_status parse_file(void *self, const char *path,
                                   const struct pawl_config_memory *memory,
                                   const struct pawl_config_sink *sink,
                                   struct pawl_config_node **root)
{
    struct pawl_place whole = { path, 0, 0 };
    char what[MESSAGE_BYTES];
    struct pawl_bytes text;
    enum pawl_status status;

    *root = NULL;
    errno = 0;
    status = read_file(path, memory, &text);
    if (status == PAWL_ENOENT || status == PAWL_EIO) {
        (void)snprintf(what, sizeof(what),
                       "cannot be read: %s; give the path of a file that pawld "
                       "may read",
                       strerror(errno));
        sink->problem(sink->self, &whole, what);
    }
    if (status != PAWL_OK) {
        return status;
    }
    return parse_text(self, path, text, true, memory, sink, root);
}

struct pawl_config_parser pawl_yaml_parser(void)
{
    struct pawl_config_parser parser = { parse_file, parse_text, NULL };

    return parser;
}
