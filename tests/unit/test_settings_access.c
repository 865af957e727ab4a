/* ops/settings: who may connect, HTTP, TLS, credentials, keys of issuers, the files of all. */
#include "unit/settings_loaded.h"

#define OPEN  (PAWL_GRANT_CHECK | PAWL_GRANT_READ)
#define KNOWN (OPEN | PAWL_GRANT_REVOKE | PAWL_GRANT_ADMIN)
#define ALL   (KNOWN | PAWL_GRANT_PEER)

#define TLS_AND "tls: {certificate: c.pem, key: k.pem, ca: ca.pem}\n"

/* ---- roles of listeners -------------------------------------------------------------------- */

static void assert_roles(const char *text, unsigned index, unsigned role, unsigned anonymous)
{
    struct loaded *loaded = load(text);

    assert_good(loaded);
    assert_int_equal(loaded->settings->listen[index].role, role);
    assert_int_equal(loaded->settings->listen[index].anonymous, anonymous);
    assert_prints_to_the_same(loaded->settings);
    done(loaded);
}

static void roles_follow_what_can_be_known_of_a_peer(void **state)
{
    static const char credentials[] = "credentials: [{id: a, secret_file: s, role: admin}]\n"
                                      "listen: [\"unix:/x\", \"tcp:127.0.0.1:1\"]\n";
    static const char tls[] = TLS_AND "listen: [\"tls:0.0.0.0:1\", \"tcp:127.0.0.1:2\"]\n";

    (void)state;
    assert_roles("{}\n", 0, KNOWN, 0);
    assert_roles("{}\n", 1, OPEN, OPEN);
    assert_roles(credentials, 0, KNOWN, 0);
    assert_roles(credentials, 1, ALL, 0);
    assert_roles(tls, 0, ALL, 0);
    assert_roles(tls, 1, ALL, 0);
    assert_roles("tls: {certificate: c, key: k}\nlisten: [\"tls:0.0.0.0:1\"]\n", 0, OPEN, OPEN);
    assert_roles("listen: [{uri: \"tcp:127.0.0.1:1\", role: check}]\n", 0, PAWL_GRANT_CHECK,
                 PAWL_GRANT_CHECK);
    assert_roles("listen: [{uri: \"tcp:127.0.0.1:1\", anonymous: none}]\n", 0, OPEN, 0);
    assert_roles("listen: [{uri: \"tcp:127.0.0.1:1\", anonymous: []}]\n", 0, OPEN, 0);
    assert_roles(TLS_AND
                 "listen: [{uri: \"tls:[::1]:1\", role: [peer, check], anonymous: check}]\n",
                 0, PAWL_GRANT_CHECK | PAWL_GRANT_PEER, PAWL_GRANT_CHECK);
}

static void wrong_roles_are_refused(void **state)
{
    struct loaded *loaded;

    (void)state;
    assert_refused("listen: [{uri: \"unix:/x\", anonymous: check}]\n",
                   ":1:38: listen[0].anonymous: is for tcp: and tls: addresses");
    assert_refused("listen: [{uri: \"tcp:127.0.0.1:1\", role: check, anonymous: read}]\n",
                   ":1:59: listen[0].anonymous: is more than the listener's role");
    assert_refused("listen: [{uri: \"tcp:127.0.0.1:1\", role: peer}]\n",
                   ":1:41: listen[0].role: tcp: grants check and read only");
    assert_refused("tls: {certificate: c, key: k}\n"
                   "listen: [{uri: \"tls:127.0.0.1:1\", role: admin}]\n",
                   ":2:41: listen[0].role: tls: grants check and read only");
    assert_refused("listen: [{uri: \"tcp:127.0.0.1:1\", role: none}]\n", "\"none\" is not known");
    assert_refused("listen: [\"tls:127.0.0.1:1\"]\n", ":1:10: listen[0]: \"tls:127.0.0.1:1\" needs "
                                                      "tls.certificate and tls.key");
    assert_refused(TLS_AND "listen: [{uri: \"tls:127.0.0.1:1\", mode: 0600}]\n",
                   "listen[0].mode: is");
    loaded = load(TLS_AND "listen: [{uri: \"tls:127.0.0.1:1\", anonymous: admin}]\n");
    assert_good(loaded);
    assert_told(loaded, ":2:46: warning: listen[0].anonymous: whoever reaches the port");
    done(loaded);
}

/* ---- HTTP ---------------------------------------------------------------------------------- */

static void assert_http(const char *text, const char *expected)
{
    struct loaded *loaded = load(text);

    assert_good(loaded);
    assert_string_equal(loaded->settings->http.text, expected);
    assert_int_equal(loaded->settings->http.on, strcmp(expected, "off") != 0);
    assert_prints_to_the_same(loaded->settings);
    done(loaded);
}

static void http_is_on_loopback_unless_listen_is_given(void **state)
{
    const char *const listen[] = { "unix:/x" };
    const char *const sets[] = { "http=127.0.0.1:8" };
    struct pawl_settings_sources sources = { .listen = listen, .listen_count = 1 };
    struct loaded *loaded = load(NULL);

    (void)state;
    assert_good(loaded);
    assert_true(loaded->settings->http.on);
    assert_int_equal(loaded->settings->http.address.port, 7402);
    assert_string_equal(loaded->settings->http.address.host, "127.0.0.1");
    assert_int_equal(loaded->settings->http.connections_max, 256);
    assert_int_equal(loaded->settings->http.timeout_ms, 10000);
    assert_true(loaded->settings->http.console);
    assert_int_equal(loaded->settings->http.hosts.count, 0);
    done(loaded);
    loaded = load_sources(sources, NULL);
    assert_false(loaded->settings->http.on);
    assert_string_equal(loaded->settings->http.text, "off");
    done(loaded);
    loaded = load_sources(sources, "http: \"127.0.0.1:9\"\n");
    assert_string_equal(loaded->settings->http.text, "127.0.0.1:9");
    done(loaded);
    sources.http = "[::1]:7";
    loaded = load_sources(sources, "http: \"127.0.0.1:9\"\n");
    assert_string_equal(loaded->settings->http.text, "[::1]:7");
    done(loaded);
    sources.http = NULL;
    sources.sets = sets;
    sources.set_count = 1;
    loaded = load_sources(sources, NULL);
    assert_string_equal(loaded->settings->http.text, "127.0.0.1:8");
    done(loaded);
    assert_http("http: off\n", "off");
    assert_http("http: \"localhost:0\"\n", "127.0.0.1:0");
    assert_http("http: \"[::1]:7402\"\n", "[::1]:7402");
    assert_http("listen: [\"unix:/x\"]\n", "127.0.0.1:7402");
}

static void http_beyond_loopback_has_to_be_written_out(void **state)
{
    struct loaded *loaded = load("http: \"0.0.0.0:80\"\nhttp_insecure: true\n");

    (void)state;
    assert_good(loaded);
    assert_int_equal(loaded->problems.count, 0);
    assert_true(loaded->settings->http.insecure);
    done(loaded);
    loaded = load("http_insecure: true\n");
    assert_good(loaded);
    assert_told(loaded, ":1:16: warning: http_insecure: does nothing on a loopback");
    done(loaded);
    assert_refused("http: \"0.0.0.0:80\"\n", ":1:7: http: \"0.0.0.0:80\" is open beyond this");
    assert_refused("http: \"example.org:80\"\n",
                   ":1:7: http: \"example.org:80\" is not the number");
    assert_refused("http: 7402\n", ":1:7: http: \"7402\" is not the number");
    assert_refused("http: \"unix:/x\"\n", "is not the number of an address and a port");
    assert_refused("http: \"127.0.0.1:7401\"\n", ":1:7: http: \"127.0.0.1:7401\" is listen[1]");
    assert_refused("http: {port: 1}\n", ":1:7: http: is a mapping; give ADDRESS:PORT with");
}

static void http_hosts_are_a_text_or_a_list(void **state)
{
    struct loaded *loaded = load("http_hosts: [pawl.internal, \"10.0.0.1\"]\n");

    (void)state;
    assert_good(loaded);
    assert_int_equal(loaded->settings->http.hosts.count, 2);
    assert_string_equal(loaded->settings->http.hosts.items[1], "10.0.0.1");
    assert_prints_to_the_same(loaded->settings);
    done(loaded);
    loaded = load("http_hosts: pawl.internal\n");
    assert_int_equal(loaded->settings->http.hosts.count, 1);
    done(loaded);
    assert_refused("http_hosts: [a, \"\"]\n", ":1:17: http_hosts: has 0 bytes; give 1 to 253");
    assert_refused("http_hosts: [a, {b: c}]\n", ":1:17: http_hosts: is a mapping where a text");
}

/* ---- TLS ----------------------------------------------------------------------------------- */

static void tls_is_read_with_all_its_fields(void **state)
{
    struct loaded *loaded = load("tls:\n"
                                 "  certificate: c.pem\n"
                                 "  key: /k.pem\n"
                                 "  ca: ca.pem\n"
                                 "  handshake_timeout: 2s\n"
                                 "  handshakes_max: 9\n"
                                 "  clients:\n"
                                 "    - {san: \"dns:api.internal\", role: [check, read]}\n"
                                 "    - san: \"ip:10.0.0.1\"\n"
                                 "      role: peer\n"
                                 "      namespaces: [a, b]\n"
                                 "listen: [\"tls:0.0.0.0:7403\"]\n");
    const struct pawl_tls_settings *tls;

    (void)state;
    assert_good(loaded);
    assert_int_equal(loaded->problems.count, 0);
    tls = &loaded->settings->tls;
    assert_string_equal(tls->certificate, "/etc/pawl/c.pem");
    assert_string_equal(tls->key, "/k.pem");
    assert_string_equal(tls->ca, "/etc/pawl/ca.pem");
    assert_int_equal(tls->client_certificates, PAWL_CLIENT_CERTIFICATES_REQUIRED);
    assert_int_equal(tls->handshake_timeout_ms, 2000);
    assert_int_equal(tls->handshakes_max, 9);
    assert_int_equal(tls->client_count, 2);
    assert_string_equal(tls->clients[0].san, "dns:api.internal");
    assert_int_equal(tls->clients[0].role, OPEN);
    assert_int_equal(tls->clients[0].namespaces.count, 1);
    assert_string_equal(tls->clients[0].namespaces.items[0], "*");
    assert_int_equal(tls->clients[1].role, PAWL_GRANT_PEER);
    assert_int_equal(tls->clients[1].namespaces.count, 2);
    assert_string_equal(loaded->settings->listen[0].uri, "tls:0.0.0.0:7403");
    assert_prints_to_the_same(loaded->settings);
    done(loaded);
    loaded = load("{}\n");
    assert_int_equal(loaded->settings->tls.client_certificates, PAWL_CLIENT_CERTIFICATES_NONE);
    assert_int_equal(loaded->settings->tls.handshake_timeout_ms, 5000);
    assert_int_equal(loaded->settings->tls.handshakes_max, 256);
    done(loaded);
}

static void tls_that_does_not_go_together_is_refused(void **state)
{
    struct loaded *loaded;

    (void)state;
    assert_refused("tls: {certificate: c}\n", ":1:20: tls.certificate: has no key; set tls.key");
    assert_refused("tls: {key: k}\n", ":1:12: tls.key: has no certificate");
    assert_refused("tls: {ca: k}\n", ":1:11: tls.ca: does nothing without tls.certificate");
    assert_refused("tls: {clients: [{san: \"dns:a\", role: read}]}\n",
                   ":1:16: tls.clients: nobody's certificate could be checked; set tls.ca");
    assert_refused("tls: {client_certificates: optional}\n",
                   ":1:28: tls.client_certificates: nobody's certificate could be checked");
    assert_refused("tls: {certificate: c, key: k, ca: a, client_certificates: none,\n"
                   "  clients: [{san: \"dns:a\", role: read}]}\n",
                   ":2:12: tls.clients: does nothing with tls.client_certificates: none");
    assert_refused("tls: {certificate: c, key: k, ca: a,\n"
                   "  clients: [{san: api, role: read}]}\n",
                   ":2:19: tls.clients[0].san: \"api\" is not dns:NAME, uri:URI, email:ADDRESS or");
    assert_refused("tls: {certificate: c, key: k, ca: a,\n"
                   "  clients: [{san: \"uri:\", role: read}]}\n",
                   ":2:19: tls.clients[0].san: ");
    assert_refused("tls: {certificate: c, key: k, ca: a,\n"
                   "  clients: [{san: \"ip:host\", role: read}]}\n",
                   ":2:19: tls.clients[0].san: \"host\" is not the number of an address");
    assert_refused("tls: {certificate: c, key: k, ca: a, clients:\n"
                   "  [{san: \"dns:a\", role: read},\n"
                   "   {san: \"dns:a\", role: check}]}\n",
                   ":3:10: tls.clients[1].san: \"dns:a\" is there already as tls.clients[0]");
    assert_refused("tls: {clients: [{role: read}]}\n", ":1:17: tls.clients[0]: has no san; add it");
    assert_refused("tls: {clients: [{san: \"dns:a\"}]}\n", ":1:17: tls.clients[0]: has no role");
    assert_refused("tls: {clients: [{san: \"dns:a\", rle: read}]}\n",
                   ":1:32: tls.clients[0].rle: is not a setting; did you mean role?");
    assert_refused("tls: {clients: {a: b}}\n", ":1:16: tls.clients: is a mapping; write a list");
    assert_refused("tls: {clients: [a]}\n", ":1:17: tls.clients[0]: is a text; write a mapping");
    loaded = load("tls: {certificate: c, key: k}\n");
    assert_good(loaded);
    assert_told(loaded, ":1:20: warning: tls.certificate: no listener uses it");
    done(loaded);
}

/* ---- credentials --------------------------------------------------------------------------- */

static void credentials_are_read_with_all_their_fields(void **state)
{
    struct loaded *loaded = load("credentials:\n"
                                 "  - {id: web, secret_file: web.secret, role: [check, revoke]}\n"
                                 "  - {id: ops, secret_file: /o, role: admin, namespaces: shop}\n");
    const struct pawl_credential_settings *credentials;

    (void)state;
    assert_good(loaded);
    assert_int_equal(loaded->settings->credential_count, 2);
    credentials = loaded->settings->credentials;
    assert_string_equal(credentials[0].id, "web");
    assert_string_equal(credentials[0].secret_file, "/etc/pawl/web.secret");
    assert_int_equal(credentials[0].role, PAWL_GRANT_CHECK | PAWL_GRANT_REVOKE);
    assert_string_equal(credentials[0].namespaces.items[0], "*");
    assert_string_equal(credentials[1].namespaces.items[0], "shop");
    assert_prints_to_the_same(loaded->settings);
    done(loaded);
    assert_refused("credentials: [{id: a, secret_file: s, role: read},\n"
                   "  {id: a, secret_file: t, role: read}]\n",
                   ":2:8: credentials[1].id: \"a\" is there already as credentials[0]");
    assert_refused("credentials: [{id: a, role: read}]\n",
                   ":1:15: credentials[0]: has no secret_file");
    assert_refused("credentials: [{id: a, secret_file: s}]\n",
                   ":1:15: credentials[0]: has no role");
    assert_refused("credentials: [{id: a, secret_file: s, role: []}]\n",
                   ":1:45: credentials[0].role: is an empty list");
    assert_refused("credentials: [{id: a, secret_file: \"\", role: read}]\n",
                   ":1:36: credentials[0].secret_file: is empty");
}

/* ---- signatures ---------------------------------------------------------------------------- */

static void issuers_are_read_with_all_their_fields(void **state)
{
    struct loaded *loaded = load("jwt:\n"
                                 "  cache_max: 5\n"
                                 "  refresh: 5s\n"
                                 "  issuers:\n"
                                 "    - issuer: https://auth.example\n"
                                 "      audience: api\n"
                                 "      keys:\n"
                                 "        - {kid: r1, alg: RS256, file: r1.pub.pem}\n"
                                 "        - {kid: h1, alg: HS256, secret_file: h1.secret,\n"
                                 "           state: verify_only}\n"
                                 "      jwks_file: keys.json\n"
                                 "    - issuer: \"\"\n"
                                 "      audience: [a, b]\n"
                                 "      type: at+jwt\n"
                                 "      token_type: access\n"
                                 "      subject_claim: user_id\n"
                                 "      client_claim: azp\n"
                                 "      sid_claim: session\n"
                                 "      ecdsa_s: low\n"
                                 "      jwks_file: /keys\n"
                                 "      keys: [{alg: EdDSA, file: /e.pem, state: pending}]\n");
    const struct pawl_jwt_issuer_settings *issuers;

    (void)state;
    assert_good(loaded);
    assert_int_equal(loaded->settings->jwt.cache_max, 5);
    assert_int_equal(loaded->settings->jwt.refresh_ms, 5000);
    assert_int_equal(loaded->settings->jwt.issuer_count, 2);
    issuers = loaded->settings->jwt.issuers;
    assert_string_equal(issuers[0].issuer, "https://auth.example");
    assert_int_equal(issuers[0].audience.count, 1);
    assert_string_equal(issuers[0].audience.items[0], "api");
    assert_string_equal(issuers[0].type, "");
    assert_string_equal(issuers[0].token_type, "");
    assert_string_equal(issuers[0].subject_claim, "sub");
    assert_string_equal(issuers[0].client_claim, "client_id");
    assert_string_equal(issuers[0].sid_claim, "sid");
    assert_int_equal(issuers[0].ecdsa_s, PAWL_JWT_ECDSA_S_ANY);
    assert_string_equal(issuers[0].jwks_file, "/etc/pawl/keys.json");
    assert_int_equal(issuers[0].key_count, 2);
    assert_string_equal(issuers[0].keys[0].kid, "r1");
    assert_int_equal(issuers[0].keys[0].alg, PAWL_JWT_RS256);
    assert_string_equal(issuers[0].keys[0].file, "/etc/pawl/r1.pub.pem");
    assert_string_equal(issuers[0].keys[0].secret_file, "");
    assert_int_equal(issuers[0].keys[0].state, PAWL_JWT_STATE_ACTIVE);
    assert_int_equal(issuers[0].keys[1].alg, PAWL_JWT_HS256);
    assert_string_equal(issuers[0].keys[1].secret_file, "/etc/pawl/h1.secret");
    assert_int_equal(issuers[0].keys[1].state, PAWL_JWT_STATE_VERIFY_ONLY);
    assert_string_equal(issuers[1].issuer, "");
    assert_int_equal(issuers[1].audience.count, 2);
    assert_string_equal(issuers[1].type, "at+jwt");
    assert_string_equal(issuers[1].token_type, "access");
    assert_string_equal(issuers[1].subject_claim, "user_id");
    assert_string_equal(issuers[1].client_claim, "azp");
    assert_string_equal(issuers[1].sid_claim, "session");
    assert_int_equal(issuers[1].ecdsa_s, PAWL_JWT_ECDSA_S_LOW);
    assert_string_equal(issuers[1].keys[0].kid, "");
    assert_int_equal(issuers[1].keys[0].alg, PAWL_JWT_EDDSA);
    assert_int_equal(issuers[1].keys[0].state, PAWL_JWT_STATE_PENDING);
    assert_prints_to_the_same(loaded->settings);
    done(loaded);
    loaded = load("jwt: {issuers: []}\n");
    assert_good(loaded);
    assert_int_equal(loaded->settings->jwt.issuer_count, 0);
    assert_int_equal(loaded->settings->jwt.cache_max, 65536);
    assert_int_equal(loaded->settings->jwt.refresh_ms, 60000);
    done(loaded);
}

static void all_algorithms_and_states_are_words(void **state)
{
    static const char *const algs[] = { "HS256", "HS384", "HS512", "RS256", "RS384",
                                        "RS512", "PS256", "PS384", "PS512", "ES256",
                                        "ES384", "ES512", "EdDSA" };
    char text[160];

    (void)state;
    for (unsigned i = 0; i < sizeof(algs) / sizeof(algs[0]); i++) {
        struct loaded *loaded;

        (void)snprintf(text, sizeof(text),
                       "jwt: {issuers: [{issuer: i, keys: [{alg: %s, %s: f, "
                       "state: revoked}]}]}\n",
                       algs[i], i < 3 ? "secret_file" : "file");
        loaded = load(text);
        assert_good(loaded);
        assert_int_equal(loaded->settings->jwt.issuers[0].keys[0].alg, PAWL_JWT_HS256 + i);
        assert_int_equal(loaded->settings->jwt.issuers[0].keys[0].state, PAWL_JWT_STATE_REVOKED);
        assert_prints_to_the_same(loaded->settings);
        done(loaded);
    }
}

static void assert_key_refused(const char *key, const char *expected)
{
    char text[256];

    (void)snprintf(text, sizeof(text), "jwt: {issuers: [{issuer: i, keys:\n  [%s]}]}\n", key);
    assert_refused(text, expected);
}

static void wrong_keys_are_refused_at_their_place(void **state)
{
    (void)state;
    assert_key_refused("{kid: k, alg: RS256}",
                       ":2:4: jwt.issuers[0].keys[0]: has no key; add file");
    assert_key_refused("{kid: k, alg: HS256}",
                       ":2:4: jwt.issuers[0].keys[0]: has no key; add secret_file");
    assert_key_refused("{alg: RS256, file: f, secret_file: s}",
                       ":2:39: jwt.issuers[0].keys[0].secret_file: file is set too");
    assert_key_refused("{alg: HS512, file: f}",
                       ":2:23: jwt.issuers[0].keys[0].file: an HS key is a shared secret");
    assert_key_refused("{alg: PS256, secret_file: f}",
                       ":2:30: jwt.issuers[0].keys[0].secret_file: only HS keys are secrets");
    assert_key_refused("{file: f}", ":2:4: jwt.issuers[0].keys[0]: has no alg; add it");
    assert_key_refused("{alg: rs256, file: f}", ":2:10: jwt.issuers[0].keys[0].alg: \"rs256\" is "
                                                "not known; did you mean ");
    assert_key_refused("{alg: none, file: f}",
                       ":2:10: jwt.issuers[0].keys[0].alg: \"none\" is not");
    assert_key_refused("{alg: RS256, file: f, state: Active}",
                       ":2:33: jwt.issuers[0].keys[0].state: \"Active\" is not known");
    assert_key_refused("{kid: k, alg: RS256, file: f}, {kid: k, alg: RS512, file: g}",
                       ":2:41: jwt.issuers[0].keys[1].kid: \"k\" is there already as "
                       "jwt.issuers[0].keys[0]");
    assert_key_refused("{alg: RS256, file: f}, {alg: RS512, file: g}",
                       ":2:27: jwt.issuers[0].keys[1].kid: \"\" is there already");
    assert_refused("jwt: {issuers: [{issuer: a}]}\n",
                   ":1:17: jwt.issuers[0]: has neither keys nor a jwks_file");
    assert_refused("jwt: {issuers: [{issuer: a, keys: []}]}\n",
                   ":1:17: jwt.issuers[0]: has neither");
    assert_refused("jwt: {issuers: [{issuer: a, ecdsa_s: low, keys: [{alg: RS256, file: f}]}]}\n",
                   ":1:38: jwt.issuers[0].ecdsa_s: low is about ES keys, and here is none");
    assert_refused("jwt: {issuers: [{jwks_file: a}]}\n", ":1:17: jwt.issuers[0]: has no issuer");
    assert_refused("jwt: {issuers: [{issuer: a, jwks_file: j},\n  {issuer: a, jwks_file: k}]}\n",
                   ":2:12: jwt.issuers[1].issuer: \"a\" is there already as jwt.issuers[0]");
    assert_refused("jwt: {issuers: {a: b}}\n", ":1:16: jwt.issuers: is a mapping; write a list of");
    assert_refused("jwt: {issuers: [{issuer: a, jwks_file: j, keys: 5}]}\n",
                   ":1:49: jwt.issuers[0].keys: is a text; write a list");
    assert_refused("jwt: {issuers: [{issuer: a, jwks_file: j, subject_claim: \"\"}]}\n",
                   ":1:58: jwt.issuers[0].subject_claim: has 0 bytes; give 1 to 64");
    assert_refused("jwt: {cache_max: 1048577}\n", ":1:18: jwt.cache_max: 1048577 is too much");
}

/* ---- all together -------------------------------------------------------------------------- */

static void note_line(void *ctx, const char *path)
{
    char *text = ctx;

    (void)snprintf(text + strlen(text), 1000 - strlen(text), "%s\n", path);
}

static void files_are_all_that_is_read(void **state)
{
    struct loaded *loaded =
        load(TLS_AND "credentials: [{id: a, secret_file: web.secret, role: read}]\n"
                     "secret_file: /root.secret\n"
                     "audit: {file: audit.log}\n"
                     "jwt: {issuers: [{issuer: i, jwks_file: keys.d, keys: [{alg: RS256, file: r}, "
                     "{kid: h, alg: HS256, secret_file: h}]}]}\n");
    char text[1000] = "";

    (void)state;
    assert_good(loaded);
    pawl_settings_files(loaded->settings, note_line, text);
    assert_string_equal(text, "/etc/pawl/p.yaml\n/root.secret\n/etc/pawl/c.pem\n/etc/pawl/k.pem\n"
                              "/etc/pawl/ca.pem\n/etc/pawl/web.secret\n/etc/pawl/keys.d\n"
                              "/etc/pawl/r\n/etc/pawl/h\n");
    done(loaded);
    loaded = load(NULL);
    text[0] = '\0';
    pawl_settings_files(loaded->settings, note_line, text);
    assert_string_equal(text, "");
    done(loaded);
}

static void note_path(void *ctx, const char *path, bool reloadable)
{
    char *text = ctx;

    (void)snprintf(text + strlen(text), 400 - strlen(text), "%s%s ", path,
                   reloadable ? "" : " (fixed)");
}

static void assert_changes(const char *before_text, const char *after_text, const char *expected)
{
    struct loaded *before = load(before_text);
    struct loaded *after = load(after_text);
    char changes[400] = "";

    assert_good(before);
    assert_good(after);
    (void)pawl_settings_diff(before->settings, after->settings, note_path, changes);
    assert_string_equal(changes, expected);
    done(before);
    done(after);
}

static void a_change_inside_a_list_is_a_reloadable_change_of_the_list(void **state)
{
    (void)state;
    assert_changes("jwt: {issuers: [{issuer: i, keys: [{alg: RS256, file: a}]}]}\n",
                   "jwt: {issuers: [{issuer: i, keys: [{alg: RS256, file: b}]}]}\n",
                   "jwt.issuers ");
    assert_changes("jwt: {issuers: [{issuer: i, jwks_file: a, audience: [a, b]}]}\n",
                   "jwt: {issuers: [{issuer: i, jwks_file: a, audience: [a, c]}]}\n",
                   "jwt.issuers ");
    assert_changes("credentials: [{id: a, secret_file: s, role: read}]\n",
                   "credentials: [{id: a, secret_file: s, role: check}]\n", "credentials ");
    assert_changes(TLS_AND,
                   "tls: {certificate: c2.pem, key: k2.pem, ca: ca.pem, "
                   "clients: [{san: \"dns:a\", role: read}]}\n",
                   "tls.certificate tls.key tls.clients ");
    /* Who may do what without being known depends on whether anybody can be: written out, that
     * stays as it is, else the listener changes too, and that takes a restart. */
    assert_changes("{}\n", "credentials: [{id: a, secret_file: s, role: read}]\n",
                   "listen (fixed) credentials ");
    assert_changes("listen: [{uri: \"tcp:127.0.0.1:1\", role: read, anonymous: none}]\n",
                   "listen: [{uri: \"tcp:127.0.0.1:1\", role: read, anonymous: none}]\n"
                   "credentials: [{id: a, secret_file: s, role: read}]\n",
                   "credentials ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_follow_what_can_be_known_of_a_peer),
        cmocka_unit_test(wrong_roles_are_refused),
        cmocka_unit_test(http_is_on_loopback_unless_listen_is_given),
        cmocka_unit_test(http_beyond_loopback_has_to_be_written_out),
        cmocka_unit_test(http_hosts_are_a_text_or_a_list),
        cmocka_unit_test(tls_is_read_with_all_its_fields),
        cmocka_unit_test(tls_that_does_not_go_together_is_refused),
        cmocka_unit_test(credentials_are_read_with_all_their_fields),
        cmocka_unit_test(issuers_are_read_with_all_their_fields),
        cmocka_unit_test(all_algorithms_and_states_are_words),
        cmocka_unit_test(wrong_keys_are_refused_at_their_place),
        cmocka_unit_test(files_are_all_that_is_read),
        cmocka_unit_test(a_change_inside_a_list_is_a_reloadable_change_of_the_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
