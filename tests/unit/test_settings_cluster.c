/* ops/settings: the cluster section. */
#include "unit/settings_loaded.h"

#include "port/store.h"

#define SECRET "secret_file: /etc/pawl/secret\n"
#define LOCAL  "listen: [\"unix:/run/pawl/pawld.sock\"]\n"
#define ENGINE "redis: [\"redis://10.0.0.1:6379\"]"
#define UNIX   "advertise: \"unix:/run/pawl/pawld.sock\""
#define TLS                                                    \
    "listen: [\"tls:10.0.0.7:7401\"]\n"                        \
    "tls:\n  certificate: c.pem\n  key: c.key\n  ca: ca.pem\n" \
    "  clients: [{san: \"dns:node.pawl\", role: [check, peer]}]\n"

/** A cluster that holds, with @more among its settings. */
static struct loaded *load_cluster(const char *more)
{
    static char text[2048];

    (void)snprintf(text, sizeof(text), SECRET LOCAL "cluster: {" ENGINE ", " UNIX "%s%s}\n",
                   more[0] != '\0' ? ", " : "", more);
    return load(text);
}

static void assert_cluster_refused(const char *more, const char *expected)
{
    struct loaded *loaded = load_cluster(more);

    assert_int_equal(loaded->status, PAWL_EINVAL);
    assert_told(loaded, expected);
    done(loaded);
}

static void without_a_section_there_is_no_cluster_and_none_is_printed(void **state)
{
    struct loaded *loaded = load("cluster:\nlimits: {}\n");
    char *text;

    (void)state;
    assert_good(loaded);
    assert_false(loaded->settings->cluster.on);
    assert_string_equal(loaded->settings->data_dir, "/var/lib/pawl");
    text = print(loaded->settings);
    assert_null(strstr(text, "\ncluster:"));
    free(text);
    assert_prints_to_the_same(loaded->settings);
    done(loaded);
}

/* The form that the documents promise. */
static void the_short_form_loads_as_written(void **state)
{
    struct loaded *loaded = load(SECRET TLS "cluster:\n"
                                            "  redis: [\"redis://10.0.0.1:6379\"]\n"
                                            "  advertise: \"tls:10.0.0.7:7401\"\n");
    const struct pawl_cluster_settings *cluster;

    (void)state;
    assert_good(loaded);
    cluster = &loaded->settings->cluster;
    assert_true(cluster->on);
    assert_int_equal(cluster->redis_count, 1);
    assert_string_equal(cluster->redis[0].uri, "redis://10.0.0.1:6379");
    assert_string_equal(cluster->redis[0].host, "10.0.0.1");
    assert_int_equal(cluster->redis[0].port, 6379);
    assert_false(cluster->redis[0].secure);
    assert_string_equal(cluster->advertise, "tls:10.0.0.7:7401");
    assert_int_equal(cluster->advertise_address.kind, PAWL_ADDRESS_TLS);
    assert_int_equal(cluster->advertise_address.port, 7401);
    assert_string_equal(cluster->prefix, "pawl");
    assert_int_equal(cluster->ack, PAWL_ACK_DEFAULT);
    assert_int_equal(cluster->command_timeout_ms, 1000);
    assert_false(cluster->strict);
    assert_prints_to_the_same(loaded->settings);
    done(loaded);
}

static void sentinel_stands_beside_redis_or_in_its_place(void **state)
{
    static const char *const forms[] = {
        SECRET TLS "cluster:\n"
                   "  sentinel: {name: m, nodes: [\"rediss://a:1\", \"rediss://b\"], user: s,\n"
                   "             password_file: s.pw}\n"
                   "  tls: {ca: engine.pem, certificate: e.pem, key: e.key, name: redis.internal}\n"
                   "  advertise: \"tls:10.0.0.7:7401\"\n",
        SECRET TLS "cluster:\n"
                   "  redis: {sentinel: {name: m, nodes: [\"rediss://a:1\", \"rediss://b\"],\n"
                   "          user: s, password_file: s.pw}}\n"
                   "  tls: {ca: engine.pem, certificate: e.pem, key: e.key, name: redis.internal}\n"
                   "  advertise: \"tls:10.0.0.7:7401\"\n",
    };

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct loaded *loaded = load(forms[i]);
        const struct pawl_cluster_settings *cluster;

        assert_good(loaded);
        cluster = &loaded->settings->cluster;
        assert_int_equal(cluster->redis_count, 0);
        assert_string_equal(cluster->sentinel_name, "m");
        assert_int_equal(cluster->sentinel_count, 2);
        assert_int_equal(cluster->sentinels[0].port, 1);
        assert_string_equal(cluster->sentinels[1].uri, "rediss://b:26379");
        assert_true(cluster->sentinels[1].secure);
        assert_string_equal(cluster->sentinel_user, "s");
        assert_string_equal(cluster->sentinel_password_file, "/etc/pawl/s.pw");
        assert_string_equal(cluster->tls_ca, "/etc/pawl/engine.pem");
        assert_string_equal(cluster->tls_certificate, "/etc/pawl/e.pem");
        assert_string_equal(cluster->tls_key, "/etc/pawl/e.key");
        assert_string_equal(cluster->tls_name, "redis.internal");
        assert_prints_to_the_same(loaded->settings);
        done(loaded);
    }
}

static void addresses_of_engines_are_read_and_bad_ones_told(void **state)
{
    struct loaded *loaded =
        load(SECRET LOCAL "cluster:\n"
                          "  redis: [\"redis://h\", \"rediss://[::1]:7\", \"redis://[::2]\",\n"
                          "          \"redis://10.0.0.1:1/\", \"unix:/run/redis.sock\"]\n"
                          "  " UNIX "\n");
    const struct pawl_redis_settings *redis;

    (void)state;
    assert_good(loaded);
    assert_int_equal(loaded->settings->cluster.redis_count, 5);
    redis = loaded->settings->cluster.redis;
    assert_string_equal(redis[0].uri, "redis://h:6379");
    assert_string_equal(redis[1].uri, "rediss://[::1]:7");
    assert_string_equal(redis[1].host, "::1");
    assert_true(redis[1].secure);
    assert_int_equal(redis[2].port, 6379);
    assert_string_equal(redis[3].uri, "redis://10.0.0.1:1");
    assert_string_equal(redis[4].host, "/run/redis.sock");
    assert_int_equal(redis[4].port, 0);
    done(loaded);

    assert_refused("cluster: {redis: \"10.0.0.1:6379\"}\n",
                   "cluster.redis[0]: is not an address of an engine; write redis://HOST:PORT");
    assert_refused("cluster: {redis: \"redis://u:p@h:1\"}\n", "user and password do not belong");
    assert_refused("cluster: {redis: \"redis://h:1/3\"}\n", "names a database");
    assert_refused("cluster: {redis: \"redis://h:99999\"}\n", "cluster.redis[0]: ");
    assert_refused("cluster: {redis: \"redis://h:0\"}\n", "has no port");
    assert_refused("cluster: {redis: [\"redis://h\", \"redis://h:6379/\"]}\n", "is there twice");
    assert_refused("cluster: {redis: {name: m}}\n", "cluster.redis: is a mapping; give one or");
}

static void an_engine_has_to_be_named_once(void **state)
{
    (void)state;
    assert_refused("cluster: {advertise: \"unix:/x\"}\n", "cluster: has no engine; add redis:");
    assert_refused("cluster: {sentinel: {name: m}}\n", "cluster.sentinel: has no nodes; add it");
    assert_refused("cluster: {sentinel: {nodes: \"redis://a\"}}\n",
                   "cluster.sentinel: has no name; add it");
    assert_cluster_refused("sentinel: {name: m, nodes: \"redis://a\"}",
                           "cluster.redis: cluster.sentinel says where the engine is; keep one");
    assert_cluster_refused("sentinel: {nmae: m}",
                           "cluster.sentinel.nmae: is not a setting; did you mean name?");
    assert_cluster_refused("tsl: {ca: x}", "cluster.tsl: is not a setting; did you mean tls?");
}

static void a_cluster_needs_one_secret_for_all(void **state)
{
    (void)state;
    assert_refused(LOCAL "cluster: {" ENGINE ", " UNIX "}\n",
                   "cluster: needs secret_file, the same on every node");
}

static void data_dir_is_used_where_it_is_written_and_nowhere_else(void **state)
{
    struct loaded *loaded = load_cluster("");

    (void)state;
    assert_good(loaded);
    assert_string_equal(loaded->settings->data_dir, "");
    assert_prints_to_the_same(loaded->settings);
    done(loaded);
    loaded = load("data_dir: d\n" SECRET LOCAL "cluster: {" ENGINE ", " UNIX "}\n");
    assert_good(loaded);
    assert_string_equal(loaded->settings->data_dir, "/etc/pawl/d");
    assert_prints_to_the_same(loaded->settings);
    done(loaded);
    assert_refused("data_dir: \"\"\n", "data_dir: is empty; give a path");
}

static void advertise_has_to_be_an_address_that_others_may_use(void **state)
{
    (void)state;
    assert_refused("cluster: {" ENGINE "}\n", "cluster: has no advertise; add the address");
    assert_refused("cluster: {" ENGINE ", advertise: \"http://x\"}\n", "cluster.advertise: ");
    assert_refused("cluster: {" ENGINE ", advertise: \"unix:x\"}\n", "write a path from /");
    assert_refused("cluster: {" ENGINE ", advertise: \"tls:x:0\"}\n", "port 0 is no port to reach");
    assert_refused("cluster: {" ENGINE ", advertise: \"tls:0.0.0.0:7\"}\n", "others cannot reach");
    assert_refused("cluster: {" ENGINE ", advertise: \"tcp:10.0.0.7:7\"}\n",
                   "tcp: beyond this machine is open to everybody on the way");
    assert_refused("cluster: {" ENGINE ", advertise: \"tcp:node-1:7\"}\n",
                   "tcp: beyond this machine is open to everybody on the way");
    assert_refused("cluster: {" ENGINE ", advertise: \"tls:node-1:7\"}\n",
                   "members know each other by certificates; set tls.certificate");
    assert_refused(SECRET "listen: [\"tls:10.0.0.7:7401\"]\n"
                          "tls: {certificate: c, key: k, ca: a}\n"
                          "cluster: {" ENGINE ", advertise: \"tls:10.0.0.7:7401\"}\n",
                   "nobody among tls.clients has the role peer");
}

/* In clear, members are known by nothing: both have to be written out. */
static void peers_in_clear_are_permitted_where_it_is_written_out(void **state)
{
    static const char listen[] =
        "listen: [{uri: \"tcp:10.0.0.7:7401\", insecure: true, role: [check, peer],\n"
        "          anonymous: [check, peer]}]\n";
    char text[1024];
    struct loaded *loaded;

    (void)state;
    (void)snprintf(text, sizeof(text),
                   "%s" SECRET "cluster: {" ENGINE ", advertise: \"tcp:10.0.0.7:7401\"}\n", listen);
    loaded = load(text);
    assert_good(loaded);
    assert_int_equal(loaded->settings->listen[0].role, PAWL_GRANT_CHECK | PAWL_GRANT_PEER);
    assert_told(loaded, "warning: listen[0].anonymous: whoever reaches the port may do that");
    done(loaded);
    assert_refused(listen, "listen[0].role: tcp: grants check and read only");
    loaded = load_cluster("");
    assert_int_equal(loaded->settings->listen[0].role & PAWL_GRANT_PEER, PAWL_GRANT_PEER);
    done(loaded);
    loaded = load(LOCAL);
    assert_int_equal(loaded->settings->listen[0].role & PAWL_GRANT_PEER, 0);
    done(loaded);
}

static void what_the_engine_is_told_goes_together(void **state)
{
    struct loaded *loaded = load_cluster("tls: {ca: x.pem}");

    (void)state;
    assert_good(loaded);
    assert_told(loaded, "warning: cluster.tls: no address is rediss://");
    done(loaded);
    assert_cluster_refused("tls: {key: k}", "cluster.tls: certificate and key go together");
    assert_cluster_refused("user: u", "cluster.user: has no password; set cluster.password_file");
    assert_cluster_refused("sentinel: {user: u}", "cluster.sentinel.user: has no password");
    assert_cluster_refused("prefix: \"a{b\"", "cluster.prefix: \"a{b\" has other letters than");
    assert_cluster_refused("prefix: \"\"", "cluster.prefix: has 0 bytes; give 1 to 32");
    assert_cluster_refused("seeds: pawl", "cluster.seeds: \"pawl\" is not HOST:PORT");
    loaded = load_cluster("peer_name: members.pawl");
    assert_told(loaded, "warning: cluster.peer_name: cluster.advertise is not tls:");
    done(loaded);
    assert_cluster_refused("command_timeout: 10ms", "cluster.command_timeout: 10ms is too little");
}

static void what_is_written_is_what_the_node_gets(void **state)
{
    struct loaded *loaded =
        load_cluster("user: u, password_file: pw, prefix: a-b.c, seeds: \"nodes.pawl:7401\", "
                     "command_timeout: 250ms, strict: true");
    const struct pawl_cluster_settings *cluster;

    (void)state;
    assert_good(loaded);
    cluster = &loaded->settings->cluster;
    assert_string_equal(cluster->user, "u");
    assert_string_equal(cluster->password_file, "/etc/pawl/pw");
    assert_string_equal(cluster->prefix, "a-b.c");
    assert_string_equal(cluster->seeds, "nodes.pawl:7401");
    assert_int_equal(cluster->command_timeout_ms, 250);
    assert_true(cluster->strict);
    assert_prints_to_the_same(loaded->settings);
    done(loaded);
}

static void levels_of_namespaces_are_a_mapping(void **state)
{
    struct loaded *loaded = load_cluster("ack: durable, acks: {shop: everywhere, web: memory}");
    const struct pawl_cluster_settings *cluster;

    (void)state;
    assert_good(loaded);
    cluster = &loaded->settings->cluster;
    assert_int_equal(cluster->ack, PAWL_ACK_DURABLE);
    assert_int_equal(cluster->ack_count, 2);
    assert_string_equal(cluster->acks[0].ns, "shop");
    assert_int_equal(cluster->acks[0].ack, PAWL_ACK_EVERYWHERE);
    assert_int_equal(cluster->acks[1].ack, PAWL_ACK_MEMORY);
    assert_prints_to_the_same(loaded->settings);
    done(loaded);
    assert_cluster_refused("acks: {shop: quorun}",
                           "cluster.acks.shop: \"quorun\" is not known; did you mean quorum?");
    assert_cluster_refused("acks: {shop: default}", "cluster.acks.shop: \"default\" is not known");
    assert_cluster_refused("acks: [shop]", "cluster.acks: is not a mapping of up to 256");
    assert_cluster_refused("acks: {\"\": quorum}", "is not a namespace");
}

static void note_change(void *ctx, const char *path, bool reloadable)
{
    char *text = ctx;

    (void)snprintf(text + strlen(text), 400 - strlen(text), "%s%s ", path,
                   reloadable ? "" : "(fixed)");
}

static void a_reload_may_change_password_and_certificates_and_nothing_else(void **state)
{
    struct loaded *old = load_cluster("password_file: a, tls: {ca: a}");
    struct loaded *now = load_cluster("password_file: b, tls: {ca: b}, acks: {x: memory}, "
                                      "strict: true");
    struct loaded *none = load(SECRET LOCAL);
    char text[400] = "";

    (void)state;
    assert_good(old);
    assert_good(now);
    assert_int_equal(pawl_settings_diff(old->settings, now->settings, note_change, text), 2);
    assert_string_equal(text, "cluster.password_file cluster.acks(fixed) cluster.strict(fixed) "
                              "cluster.tls.ca ");
    assert_true(pawl_settings_diff(none->settings, old->settings, NULL, NULL) > 0);
    done(none);
    done(now);
    done(old);
}

static void note_file(void *ctx, const char *path)
{
    char *text = ctx;

    (void)snprintf(text + strlen(text), 400 - strlen(text), "%s ", path);
}

static void its_files_are_watched(void **state)
{
    struct loaded *loaded = load(
        SECRET LOCAL "cluster:\n"
                     "  sentinel: {name: m, nodes: \"rediss://a\", password_file: s}\n"
                     "  password_file: p\n  tls: {ca: a, certificate: c, key: k}\n  " UNIX "\n");
    char text[400] = "";

    (void)state;
    assert_good(loaded);
    pawl_settings_files(loaded->settings, note_file, text);
    assert_string_equal(text, "/etc/pawl/p.yaml /etc/pawl/secret /etc/pawl/p /etc/pawl/s "
                              "/etc/pawl/a /etc/pawl/c /etc/pawl/k ");
    done(loaded);
}

static void the_command_line_reaches_as_deep_as_the_file(void **state)
{
    const char *const sets[] = { "cluster.redis=redis://h",
                                 "cluster.advertise=unix:/run/pawl/pawld.sock",
                                 "cluster.tls.name=engine", "secret_file=/s",
                                 "listen=unix:/run/pawl/pawld.sock" };
    struct pawl_settings_sources sources = { .sets = sets, .set_count = 5 };
    struct loaded *loaded = load_sources(sources, NULL);

    (void)state;
    assert_good(loaded);
    assert_string_equal(loaded->settings->cluster.tls_name, "engine");
    done(loaded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_section_there_is_no_cluster_and_none_is_printed),
        cmocka_unit_test(the_short_form_loads_as_written),
        cmocka_unit_test(sentinel_stands_beside_redis_or_in_its_place),
        cmocka_unit_test(addresses_of_engines_are_read_and_bad_ones_told),
        cmocka_unit_test(an_engine_has_to_be_named_once),
        cmocka_unit_test(a_cluster_needs_one_secret_for_all),
        cmocka_unit_test(data_dir_is_used_where_it_is_written_and_nowhere_else),
        cmocka_unit_test(advertise_has_to_be_an_address_that_others_may_use),
        cmocka_unit_test(peers_in_clear_are_permitted_where_it_is_written_out),
        cmocka_unit_test(what_the_engine_is_told_goes_together),
        cmocka_unit_test(what_is_written_is_what_the_node_gets),
        cmocka_unit_test(levels_of_namespaces_are_a_mapping),
        cmocka_unit_test(a_reload_may_change_password_and_certificates_and_nothing_else),
        cmocka_unit_test(its_files_are_watched),
        cmocka_unit_test(the_command_line_reaches_as_deep_as_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
