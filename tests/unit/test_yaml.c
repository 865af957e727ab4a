/* adapter/yaml: the tree, the places of what is wrong, the caps. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapter/yaml/yaml.h"
#include "ops/pool.h"

struct reading {
    struct pawl_pool *pool;
    struct pawl_config_node *root;
    enum pawl_status status;
    unsigned problems;
    char text[4096];
    unsigned takes_left; /* memory ends after so many */
};

static void *take(void *self, size_t size)
{
    struct reading *reading = self;

    if (reading->takes_left == 0) {
        return NULL;
    }
    reading->takes_left--;
    return pawl_pool_take(reading->pool, size);
}

static void on_problem(void *self, const struct pawl_place *place, const char *what)
{
    struct reading *reading = self;
    size_t used = strlen(reading->text);

    reading->problems++;
    (void)snprintf(reading->text + used, sizeof(reading->text) - used, "%u:%u %s\n", place->line,
                   place->column, what);
}

static void read_bytes(struct reading *reading, const char *text, size_t size, unsigned takes)
{
    struct pawl_config_parser parser = pawl_yaml_parser();
    struct pawl_config_memory memory = { take, reading };
    struct pawl_config_sink sink = { on_problem, reading };

    memset(reading, 0, sizeof(*reading));
    reading->takes_left = takes;
    reading->pool = pawl_pool_create(UINT64_C(256) << 20);
    assert_non_null(reading->pool);
    reading->status = parser.parse_text(parser.self, "f.yaml", pawl_bytes_of(text, size), true,
                                        &memory, &sink, &reading->root);
}

static void read_text(struct reading *reading, const char *text)
{
    read_bytes(reading, text, strlen(text), UINT32_MAX);
}

static void done(struct reading *reading)
{
    pawl_pool_destroy(reading->pool);
}

static void assert_refused(const char *text, const char *expected)
{
    struct reading reading;

    read_text(&reading, text);
    assert_int_equal(reading.status, PAWL_EINVAL);
    if (strstr(reading.text, expected) == NULL) {
        fail_msg("\"%s\" is not in: %s", expected, reading.text);
    }
    done(&reading);
}

static void a_mapping_becomes_a_tree_with_places(void **state)
{
    struct reading reading;
    const struct pawl_config_node *node;

    (void)state;
    read_text(&reading, "a: 1\nb:\n  - x\n  - {c: 'y'}\n");
    assert_int_equal(reading.status, PAWL_OK);
    assert_int_equal(reading.root->kind, PAWL_NODE_MAPPING);
    assert_int_equal(reading.root->count, 2);
    node = reading.root->first;
    assert_string_equal(node->key, "a");
    assert_string_equal(node->text, "1");
    assert_false(node->quoted);
    assert_int_equal(node->place.line, 1);
    assert_int_equal(node->place.column, 4);
    node = node->next;
    assert_int_equal(node->kind, PAWL_NODE_SEQUENCE);
    assert_int_equal(node->key_place.line, 2);
    assert_int_equal(node->count, 2);
    node = node->first->next;
    assert_int_equal(node->kind, PAWL_NODE_MAPPING);
    assert_null(node->key);
    assert_string_equal(node->first->key, "c");
    assert_string_equal(node->first->text, "y");
    assert_true(node->first->quoted);
    assert_int_equal(node->first->place.line, 4);
    assert_int_equal(node->first->place.column, 9);
    done(&reading);
}

static void an_empty_file_is_no_tree_and_no_error(void **state)
{
    static const char *const texts[] = { "", "# only words\n", "\xef\xbb\xbf", "\n\n" };
    struct reading reading;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        read_text(&reading, texts[i]);
        assert_int_equal(reading.status, PAWL_OK);
        assert_null(reading.root);
        done(&reading);
    }
}

static void a_byte_order_mark_is_skipped(void **state)
{
    struct reading reading;

    (void)state;
    read_text(&reading, "\xef\xbb\xbf"
                        "a: 1\n");
    assert_int_equal(reading.status, PAWL_OK);
    assert_string_equal(reading.root->first->key, "a");
    done(&reading);
}

static void a_double_key_is_told_with_both_places(void **state)
{
    (void)state;
    assert_refused("x:\n  a: 1\n  b: 2\n  a: 3\n",
                   "4:3 x.a: is set twice, first at line 2, column 3; remove one");
}

static void a_key_three_times_is_told_twice(void **state)
{
    struct reading reading;

    (void)state;
    read_text(&reading, "a: 1\na: 2\na: 3\n");
    assert_int_equal(reading.problems, 2);
    done(&reading);
}

static void equal_keys_of_different_mappings_are_no_doubles(void **state)
{
    struct reading reading;

    (void)state;
    read_text(&reading, "a: {x: 1}\nb: {x: 1}\nc: [{x: 1}, {x: 2}]\n");
    assert_int_equal(reading.status, PAWL_OK);
    done(&reading);
}

static void anchors_aliases_and_tags_are_refused_with_their_places(void **state)
{
    struct reading reading;

    (void)state;
    read_text(&reading, "a: &x 1\nb: *x\nc: !!int 3\n*x : 4\n");
    assert_int_equal(reading.status, PAWL_EINVAL);
    assert_non_null(strstr(reading.text, "1:4 anchor &x"));
    assert_non_null(strstr(reading.text, "2:4 alias *x"));
    assert_non_null(strstr(reading.text, "3:4 tag tag:yaml.org,2002:int"));
    assert_non_null(strstr(reading.text, "4:1 alias *x"));
    done(&reading);
}

static void a_bomb_of_aliases_costs_nothing(void **state)
{
    (void)state;
    assert_refused("a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: [*b,*b,*b,*b]\n", "3:5 alias *b");
}

static void a_key_that_is_no_word_is_refused_and_the_rest_still_read(void **state)
{
    struct reading reading;

    (void)state;
    read_text(&reading, "? [a, {b: [c]}]\n: 1\nz: &q 2\n");
    assert_int_equal(reading.status, PAWL_EINVAL);
    assert_non_null(strstr(reading.text, "1:3 a key must be a word"));
    assert_non_null(strstr(reading.text, "3:4 anchor &q"));
    done(&reading);
}

static void a_second_document_is_refused(void **state)
{
    (void)state;
    assert_refused("a: 1\n---\nb: 2\n", "2:1 a second document");
}

static void a_syntax_error_has_its_place(void **state)
{
    (void)state;
    assert_refused("a: 1\nb: [1, 2\nc: 3\n", "3:");
    assert_refused("a: 1\n\tb: 2\n", "2:1 is not YAML");
}

static void bad_utf8_has_its_place(void **state)
{
    (void)state;
    assert_refused("a: 1\nbc: x\xffz\n", "2:6 is not YAML");
}

static void a_nul_in_a_text_is_refused(void **state)
{
    (void)state;
    assert_refused("a: \"x\\0y\"\n", "1:4 a NUL character");
}

static void nesting_is_capped_while_reading(void **state)
{
    char *deep = malloc(PAWL_CONFIG_BYTES_MAX);

    (void)state;
    assert_non_null(deep);
    memset(deep, '[', PAWL_CONFIG_BYTES_MAX);
    deep[PAWL_CONFIG_BYTES_MAX - 1] = '\0';
    assert_refused(deep, "1:17 nested deeper than 16 levels");
    free(deep);
}

static void sixteen_levels_are_read(void **state)
{
    struct reading reading;

    (void)state;
    read_text(&reading, "[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]");
    assert_int_equal(reading.status, PAWL_OK);
    done(&reading);
}

static void nodes_and_bytes_are_capped(void **state)
{
    size_t size = PAWL_CONFIG_BYTES_MAX + 1;
    char *text = malloc(size + 1);
    struct reading reading;

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < size; i++) {
        text[i] = i % 2 == 0 ? ',' : 'x';
    }
    text[0] = '[';
    text[size] = '\0';
    read_bytes(&reading, text, PAWL_CONFIG_BYTES_MAX - 1, UINT32_MAX);
    assert_non_null(strstr(reading.text, "more than 131072 values"));
    done(&reading);
    assert_refused(text, "is larger than 8388608 bytes");
    free(text);
}

static void the_end_of_memory_is_told_at_every_place(void **state)
{
    static const char text[] = "a: 1\nb: [x, {c: y}]\nd: {e: 1, f: 2}\n";
    struct reading reading;
    unsigned takes = 0;

    (void)state;
    do {
        read_bytes(&reading, text, strlen(text), takes++);
        assert_true(reading.status == PAWL_ENOMEM || reading.status == PAWL_OK);
        done(&reading);
    } while (reading.status != PAWL_OK);
    assert_true(takes > 10);
}

static void a_file_is_read_and_a_missing_one_told(void **state)
{
    struct pawl_config_parser parser = pawl_yaml_parser();
    char path[] = "/tmp/pawl-yaml-XXXXXX";
    int fd = mkstemp(path);
    struct reading reading = { .takes_left = UINT32_MAX };
    struct pawl_config_memory memory = { take, &reading };
    struct pawl_config_sink sink = { on_problem, &reading };

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "a: 1\n", 5), 5);
    (void)close(fd);
    reading.pool = pawl_pool_create(UINT64_C(64) << 20);
    assert_int_equal(parser.parse_file(NULL, path, &memory, &sink, &reading.root), PAWL_OK);
    assert_string_equal(reading.root->first->text, "1");
    done(&reading);
    reading.pool = pawl_pool_create(UINT64_C(64) << 20);
    fd = open(path, O_WRONLY | O_TRUNC);
    for (unsigned i = 0; i < PAWL_CONFIG_BYTES_MAX / 16; i++) { /* a file of the largest size */
        assert_int_equal(write(fd, i == 0 ? "a: 2\n###########" : "\n##############\n", 16), 16);
    }
    assert_int_equal(parser.parse_file(NULL, path, &memory, &sink, &reading.root), PAWL_OK);
    assert_string_equal(reading.root->first->text, "2");
    assert_int_equal(write(fd, "\n", 1), 1);
    assert_int_equal(parser.parse_file(NULL, path, &memory, &sink, &reading.root), PAWL_EINVAL);
    assert_non_null(strstr(reading.text, "is larger than 8388608 bytes"));
    (void)close(fd);
    (void)unlink(path);
    assert_int_equal(parser.parse_file(NULL, path, &memory, &sink, &reading.root), PAWL_ENOENT);
    assert_non_null(strstr(reading.text, "cannot be read: No such file"));
    assert_int_equal(parser.parse_file(NULL, "/", &memory, &sink, &reading.root), PAWL_EIO);
    assert_non_null(strstr(reading.text, "Is a directory"));
    assert_null(reading.root);
    done(&reading);
}

static void places_of_an_option_carry_no_line(void **state)
{
    struct pawl_config_parser parser = pawl_yaml_parser();
    struct reading reading = { .takes_left = UINT32_MAX };
    struct pawl_config_memory memory = { take, &reading };
    struct pawl_config_sink sink = { on_problem, &reading };

    (void)state;
    reading.pool = pawl_pool_create(UINT64_C(64) << 20);
    assert_int_equal(parser.parse_text(NULL, "--set", pawl_bytes_of("{a: 1, a: 2}", 12), false,
                                       &memory, &sink, &reading.root),
                     PAWL_EINVAL);
    assert_non_null(strstr(reading.text, "0:0 a: is set twice; remove one"));
    done(&reading);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mapping_becomes_a_tree_with_places),
        cmocka_unit_test(an_empty_file_is_no_tree_and_no_error),
        cmocka_unit_test(a_byte_order_mark_is_skipped),
        cmocka_unit_test(a_double_key_is_told_with_both_places),
        cmocka_unit_test(a_key_three_times_is_told_twice),
        cmocka_unit_test(equal_keys_of_different_mappings_are_no_doubles),
        cmocka_unit_test(anchors_aliases_and_tags_are_refused_with_their_places),
        cmocka_unit_test(a_bomb_of_aliases_costs_nothing),
        cmocka_unit_test(a_key_that_is_no_word_is_refused_and_the_rest_still_read),
        cmocka_unit_test(a_second_document_is_refused),
        cmocka_unit_test(a_syntax_error_has_its_place),
        cmocka_unit_test(bad_utf8_has_its_place),
        cmocka_unit_test(a_nul_in_a_text_is_refused),
        cmocka_unit_test(nesting_is_capped_while_reading),
        cmocka_unit_test(sixteen_levels_are_read),
        cmocka_unit_test(nodes_and_bytes_are_capped),
        cmocka_unit_test(the_end_of_memory_is_told_at_every_place),
        cmocka_unit_test(a_file_is_read_and_a_missing_one_told),
        cmocka_unit_test(places_of_an_option_carry_no_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
