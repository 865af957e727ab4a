/*
 * Which keys are taken: what a key has to be before a token is held against it, what the refusal
 * says, and that a set is loaded whole or not at all.
 */
#include "unit/jwt_cases.h"

#include "adapter/jwt/keys.h"
#include "adapter/jwt/mint.h"

#include <openssl/x509.h>

static struct jwt_rig set;

static void use_one_key(const char *kid, enum pawl_jwt_alg alg, const char *file,
                        const char *secret_file)
{
    set.keys[0] = jwt_rig_key(kid, alg, file, secret_file);
    set.issuers[0] = jwt_rig_issuer(JWT_RIG_ISS, set.keys, 1);
    set.settings.issuers = set.issuers;
    set.settings.issuer_count = 1;
}

static enum pawl_status load_set(struct pawl_jwt_keys **keys)
{
    memset(&set.error, 0, sizeof(set.error));
    return pawl_jwt_keys_load(keys, &set.settings, &set.report, &set.error);
}

/* The load is refused, and says @words. */
static void fails(enum pawl_status status, const char *words)
{
    struct pawl_jwt_keys *keys = NULL;
    enum pawl_status found = load_set(&keys);

    if (found != status || strstr(set.error.text, words) == NULL) {
        fail_msg("%d instead of %d, \"%s\" instead of \"%s\"", found, status, set.error.text,
                 words);
    }
    assert_null(keys);
}

static void loads(unsigned count, unsigned skipped)
{
    struct pawl_jwt_keys *keys = NULL;

    if (load_set(&keys) != PAWL_OK) {
        fail_msg("%s", set.error.text);
    }
    assert_int_equal(keys->key_count, count);
    assert_int_equal(set.report.keys, count);
    assert_int_equal(set.report.skipped, skipped);
    pawl_jwt_keys_unref(keys);
}

static void pem_fails(enum pawl_jwt_alg alg, const char *pem, const char *words)
{
    use_one_key("k", alg, jwt_rig_file(&set, "key.pem", pem), "");
    fails(PAWL_EINVAL, words);
    assert_non_null(strstr(set.error.text, "key.pem"));
}

static void secret_fails(enum pawl_jwt_alg alg, const void *secret, size_t size, const char *words)
{
    use_one_key("k", alg, "", jwt_rig_write(&set, "secret", secret, size));
    fails(PAWL_EINVAL, words);
    assert_non_null(strstr(set.error.text, "/secret"));
}

static void use_jwks(const char *text)
{
    set.issuers[0] = jwt_rig_issuer(JWT_RIG_ISS, NULL, 0);
    set.issuers[0].jwks_file = jwt_rig_file(&set, "keys.json", text);
    set.settings.issuers = set.issuers;
    set.settings.issuer_count = 1;
}

static void jwks_fails(const char *text, const char *words)
{
    use_jwks(text);
    fails(PAWL_EINVAL, words);
    assert_non_null(strstr(set.error.text, "keys.json"));
}

static void jwks_loads(const char *text, unsigned count, unsigned skipped)
{
    use_jwks(text);
    loads(count, skipped);
    assert_int_equal(set.report.warnings, skipped);
}

/* ---- PEM ------------------------------------------------------------------------------------- */

static void a_short_rsa_key_is_refused(void **state)
{
    (void)state;
    pem_fails(PAWL_JWT_RS256, jwt_public_short, "1024 bits");
    pem_fails(PAWL_JWT_PS256, jwt_public_short, "1024 bits");
}

static void an_rsa_key_of_a_small_exponent_is_refused(void **state)
{
    (void)state;
    pem_fails(PAWL_JWT_RS256, jwt_public_e3, "exponent");
}

static void a_key_of_another_kind_or_curve_is_refused(void **state)
{
    (void)state;
    pem_fails(PAWL_JWT_ES256, jwt_public_ec384, "secp384r1");
    pem_fails(PAWL_JWT_ES384, jwt_public_ec256, "prime256v1");
    pem_fails(PAWL_JWT_ES512, jwt_public_ec384, "P-521");
    pem_fails(PAWL_JWT_ES256, jwt_public_k1, "secp256k1");
    pem_fails(PAWL_JWT_ES256, jwt_public_explicit, "named curve");
    pem_fails(PAWL_JWT_ES256, jwt_public_rsa, "wants an EC key");
    pem_fails(PAWL_JWT_RS256, jwt_public_ec256, "wants an RSA key");
    pem_fails(PAWL_JWT_EDDSA, jwt_public_ec256, "Ed25519");
    pem_fails(PAWL_JWT_EDDSA, jwt_public_x25519, "Ed25519");
    pem_fails(PAWL_JWT_RS256, jwt_public_ed, "wants an RSA key");
}

static void a_private_key_where_a_public_one_belongs_is_refused_with_a_hint(void **state)
{
    (void)state;
    pem_fails(PAWL_JWT_RS256, jwt_private_rsa, "openssl pkey -in KEY -pubout");
    pem_fails(PAWL_JWT_ES256, jwt_private_ec256, "private key");
    pem_fails(PAWL_JWT_EDDSA, jwt_private_ed, "private key");
}

static void what_is_no_pem_public_key_is_refused(void **state)
{
    char two[4096];
    char cut[4096];

    (void)state;
    pem_fails(PAWL_JWT_RS256, "hello", "no PEM public key");
    pem_fails(PAWL_JWT_RS256, "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n",
              "openssl x509");
    pem_fails(PAWL_JWT_RS256, "-----BEGIN RSA PUBLIC KEY-----\nAA\n-----END RSA PUBLIC KEY-----\n",
              "RSAPublicKey_in");
    (void)snprintf(two, sizeof(two), "%s%s", jwt_public_rsa, jwt_public_rsa2);
    pem_fails(PAWL_JWT_RS256, two, "more than one key");
    (void)snprintf(cut, sizeof(cut), "%.*s", (int)strlen(jwt_public_rsa) / 2, jwt_public_rsa);
    pem_fails(PAWL_JWT_RS256, cut, "cannot read");
}

static void a_file_that_is_not_there_empty_too_big_or_no_file_says_so(void **state)
{
    static char big[PAWL_JWT_PEM_BYTES_MAX + 1];

    (void)state;
    memset(big, 'x', sizeof(big));
    use_one_key("k", PAWL_JWT_RS256, "/nowhere/at/all.pem", "");
    fails(PAWL_ENOENT, "/nowhere/at/all.pem");
    use_one_key("k", PAWL_JWT_RS256, set.dir, "");
    fails(PAWL_EINVAL, "not a regular file");
    use_one_key("k", PAWL_JWT_RS256, jwt_rig_file(&set, "empty", ""), "");
    fails(PAWL_EINVAL, "empty");
    use_one_key("k", PAWL_JWT_RS256, jwt_rig_write(&set, "big", big, sizeof(big)), "");
    fails(PAWL_ETOOBIG, "at most");
}

/* ---- secrets --------------------------------------------------------------------------------- */

static void a_secret_shorter_than_its_hash_is_refused(void **state)
{
    (void)state;
    secret_fails(PAWL_JWT_HS256, jwt_secret, 31, "openssl rand -hex 32");
    secret_fails(PAWL_JWT_HS384, jwt_secret, 47, "48 or more");
    secret_fails(PAWL_JWT_HS512, jwt_secret, 63, "64 or more");
    secret_fails(PAWL_JWT_HS256, "x", 1, "1 bytes");
    secret_fails(PAWL_JWT_HS256, "\n", 1, "0 bytes");
    use_one_key("k", PAWL_JWT_HS512, "", jwt_rig_write(&set, "secret", jwt_secret, 64));
    loads(1, 0);
}

static void a_public_or_private_key_as_a_secret_is_refused(void **state)
{
    uint8_t *der = NULL;
    EVP_PKEY *key = jwt_rig_private(jwt_private_rsa);
    int size = i2d_PUBKEY(key, &der);
    static const char jwk[] =
        "{\"kty\":\"RSA\",\"n\":\"AAAAAAAAAAAAAAAAAAAAAAAAAA\",\"e\":\"AQAB\"}";
    static const char ssh[] = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJJJJJJJJJJJJJJJJJJJ me@host";

    (void)state;
    secret_fails(PAWL_JWT_HS256, jwt_public_rsa, strlen(jwt_public_rsa), "PEM");
    secret_fails(PAWL_JWT_HS256, jwt_public_ec256, strlen(jwt_public_ec256), "PEM");
    secret_fails(PAWL_JWT_HS256, jwt_private_ed, strlen(jwt_private_ed), "PEM");
    secret_fails(PAWL_JWT_HS256, der, (size_t)size, "DER");
    secret_fails(PAWL_JWT_HS256, jwk, strlen(jwk), "JWK");
    secret_fails(PAWL_JWT_HS256, ssh, strlen(ssh), "SSH");
    OPENSSL_free(der);
    EVP_PKEY_free(key);
}

static void the_end_of_line_behind_a_text_is_not_part_of_the_secret(void **state)
{
    static const uint8_t binary[] = { 0x80, 'x', '\n' };
    struct pawl_bytes text = pawl_bytes_of("abc\n", 4);

    (void)state;
    assert_int_equal(pawl_jwt_secret_trim(text).size, 3);
    assert_int_equal(pawl_jwt_secret_trim(pawl_bytes_of("abc\r\n", 5)).size, 3);
    assert_int_equal(pawl_jwt_secret_trim(pawl_bytes_of("abc\n\n", 5)).size, 5);
    assert_int_equal(pawl_jwt_secret_trim(pawl_bytes_of("abc", 3)).size, 3);
    assert_int_equal(pawl_jwt_secret_trim(pawl_bytes_of("", 0)).size, 0);
    assert_int_equal(pawl_jwt_secret_trim(pawl_bytes_of(binary, 3)).size, 3);
}

static void a_secret_and_a_public_key_do_not_change_places(void **state)
{
    const char *secret = jwt_rig_file(&set, "secret", jwt_secret);
    const char *pem = jwt_rig_file(&set, "key.pem", jwt_public_rsa);

    (void)state;
    use_one_key("k", PAWL_JWT_RS256, "", secret);
    fails(PAWL_EINVAL, "public key (file)");
    use_one_key("k", PAWL_JWT_HS256, pem, "");
    fails(PAWL_EINVAL, "secret_file");
    use_one_key("k", PAWL_JWT_HS256, "", pem);
    fails(PAWL_EINVAL, "must not be the secret");
    use_one_key("k", PAWL_JWT_RS256, pem, secret);
    fails(PAWL_EINVAL, "either file or secret_file");
    use_one_key("k", PAWL_JWT_ALG_UNSET, pem, "");
    fails(PAWL_EINVAL, "one alg");
}

static void a_secret_that_others_can_read_is_taken_with_a_warning(void **state)
{
    const char *path = jwt_rig_file(&set, "secret", jwt_secret);

    (void)state;
    assert_int_equal(chmod(path, 0644), 0);
    use_one_key("k", PAWL_JWT_HS256, "", path);
    loads(1, 0);
    assert_int_equal(set.report.warnings, 1);
    assert_non_null(strstr(set.report.warning[0], "0644"));
}

/* ---- sets ------------------------------------------------------------------------------------ */

static void a_kid_names_one_key_of_an_issuer(void **state)
{
    const char *pem = jwt_rig_file(&set, "key.pem", jwt_public_rsa);
    const char *other = jwt_rig_file(&set, "other.pem", jwt_public_ec256);

    (void)state;
    use_one_key("k", PAWL_JWT_RS256, pem, "");
    set.keys[1] = jwt_rig_key("k", PAWL_JWT_ES256, other, "");
    set.issuers[0].key_count = 2;
    fails(PAWL_EINVAL, "already");
    set.issuers[0].key_count = 1;
    set.issuers[0].jwks_file =
        jwt_rig_file(&set, "keys.json",
                     "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":"
                     "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}");
    fails(PAWL_EINVAL, "already");
    set.keys[0].kid = "";
    loads(2, 0);
}

static void an_issuer_stands_once_and_has_a_key(void **state)
{
    const char *pem = jwt_rig_file(&set, "key.pem", jwt_public_rsa);

    (void)state;
    use_one_key("k", PAWL_JWT_RS256, pem, "");
    set.issuers[1] = jwt_rig_issuer(JWT_RIG_ISS, set.keys, 1);
    set.settings.issuer_count = 2;
    fails(PAWL_EINVAL, "stands twice");
    set.issuers[1] = jwt_rig_issuer("second", NULL, 0);
    fails(PAWL_EINVAL, "\"second\" has no key");
    set.settings.issuer_count = 0;
    loads(0, 0);
}

/* ---- JWKS ------------------------------------------------------------------------------------ */

#define ED_X "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\""
#define ED   "\"kty\":\"OKP\",\"crv\":\"Ed25519\"," ED_X
#define EC_XY                                                \
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"," \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""
#define EC "\"kty\":\"EC\",\"crv\":\"P-256\"," EC_XY
#define RSA_N                                                                                      \
    "\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPM"   \
    "EzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaS"  \
    "HSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5I" \
    "hlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\""
#define RSA_E     "\"e\":\"AQAB\""
#define RSA_KEY   "\"kty\":\"RSA\"," RSA_N "," RSA_E
#define ONE(more) "{\"keys\":[{" more "}]}"
#define K32       "\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\""

static void keys_without_an_alg_get_the_one_of_their_kind(void **state)
{
    struct pawl_jwt_keys *keys = NULL;

    (void)state;
    use_jwks("{\"keys\":[{\"kid\":\"a\"," RSA_KEY "},{\"kid\":\"b\"," EC "},{\"kid\":\"c\"," ED
             "},{\"kid\":\"d\",\"alg\":\"PS512\"," RSA_KEY "}]}");
    assert_int_equal(load_set(&keys), PAWL_OK);
    assert_int_equal(keys->keys[0].alg->alg, PAWL_JWT_RS256);
    assert_int_equal(keys->keys[1].alg->alg, PAWL_JWT_ES256);
    assert_int_equal(keys->keys[2].alg->alg, PAWL_JWT_EDDSA);
    assert_int_equal(keys->keys[3].alg->alg, PAWL_JWT_PS512);
    pawl_jwt_keys_unref(keys);
    jwks_fails(ONE("\"kty\":\"oct\"," K32), "without alg: add");
    jwks_loads(ONE("\"kty\":\"oct\",\"alg\":\"HS256\"," K32), 1, 0);
}

static void entries_of_no_use_here_are_skipped_with_a_warning(void **state)
{
    (void)state;
    jwks_loads("{\"keys\":[{" ED "},"
               "{\"kty\":\"AKP\",\"kid\":\"1\"},"
               "{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"kid\":\"2\"," EC_XY "},"
               "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"kid\":\"3\"," ED_X "},"
               "{\"use\":\"enc\",\"kid\":\"4\"," RSA_KEY "},"
               "{\"alg\":\"RSA-OAEP\",\"kid\":\"5\"," RSA_KEY "},"
               "{\"key_ops\":[\"encrypt\"],\"kid\":\"6\"," RSA_KEY "},"
               "{\"use\":\"sig\",\"key_ops\":[\"verify\"],\"kid\":\"7\"," RSA_KEY "}]}",
               2, 6);
    assert_non_null(strstr(set.report.warning[0], "keys[1]"));
    use_jwks("{\"keys\":[]}");
    fails(PAWL_EINVAL, "has no key");
    use_jwks("{\"keys\":[{\"kty\":\"AKP\"}]}");
    fails(PAWL_EINVAL, "has no key");
}

static void entries_that_contradict_themselves_refuse_the_set(void **state)
{
    (void)state;
    jwks_fails(ONE("\"alg\":\"HS256\"," RSA_KEY), "alg does not fit kty");
    jwks_fails(ONE("\"alg\":\"RS256\"," EC), "alg does not fit kty");
    jwks_fails(ONE("\"alg\":\"ES384\"," EC), "alg does not fit kty");
    jwks_fails(ONE("\"alg\":\"RS256\",\"kty\":\"oct\"," K32), "alg does not fit kty");
    jwks_fails(ONE("\"alg\":7," RSA_KEY), "alg has to be a text");
    jwks_fails(ONE("\"use\":\"sig\",\"key_ops\":[\"encrypt\"]," RSA_KEY), "contradict");
    jwks_fails(ONE("\"use\":7," RSA_KEY), "use has to be");
    jwks_fails(ONE("\"kid\":7," RSA_KEY), "kid has to be");
    jwks_fails(ONE(RSA_N "," RSA_E), "kty is missing");
    jwks_fails("{\"keys\":[7]}", "no JSON object");
    jwks_fails("{\"keys\":{}}", "has to be a list");
    jwks_fails("{" RSA_KEY "}", "write {\"keys\": [it]}");
    jwks_fails("[]", "no JSON object");
    jwks_fails("{\"keys\":[],\"keys\":[]}", "twice");
    jwks_fails(ONE("\"kty\":\"RSA\",\"kty\":\"RSA\""), "twice");
}

static void malformed_or_weak_entries_refuse_the_set(void **state)
{
    (void)state;
    jwks_fails(ONE("\"kty\":\"RSA\"," RSA_N), "n and e");
    jwks_fails(ONE("\"kty\":\"RSA\"," RSA_E ",\"n\":\"AA==\""), "n and e");
    jwks_fails(ONE("\"kty\":\"RSA\"," RSA_E ",\"n\":\"AQAB\""), "bits");
    jwks_fails(ONE("\"kty\":\"RSA\"," RSA_N ",\"e\":\"Aw\""), "exponent");
    jwks_fails(ONE("\"kty\":\"RSA\"," RSA_N ",\"e\":\"AQAA\""), "exponent");
    jwks_fails(ONE("\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\""), "full length");
    jwks_fails(ONE("\"kty\":\"EC\",\"crv\":\"P-256\","
                   "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                   "\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\""),
               "off its curve");
    jwks_fails(ONE("\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\""), "32 bytes");
    jwks_fails(ONE("\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
                   "\"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""),
               "small order");
    jwks_fails(ONE("\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
                   "\"7P_______________________________________38\""),
               "small order");
    jwks_fails(ONE("\"kty\":\"oct\",\"alg\":\"HS512\"," K32), "64 or more");
    jwks_fails(ONE("\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"%%\""), "base64url");
    /* "-----BEGIN PUBLIC KEY-----" and on */
    jwks_fails(ONE("\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":"
                   "\"LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0KTUlJQklqQU5CZ2txaGtpRzl3MEI\""),
               "PEM");
}

static void private_parts_in_a_set_refuse_it(void **state)
{
    (void)state;
    jwks_fails(ONE(RSA_KEY ",\"d\":\"AQAB\""), "private key");
    jwks_fails(ONE(EC ",\"d\":\"AQAB\""), "private key");
    jwks_fails(ONE(ED ",\"d\":\"AQAB\""), "private key");
}

static void a_directory_gives_the_keys_of_all_its_json_files(void **state)
{
    (void)state;
    (void)jwt_rig_file(&set, "a.json", ONE("\"kid\":\"a\"," ED));
    (void)jwt_rig_file(&set, "b.json", ONE("\"kid\":\"b\"," EC));
    (void)jwt_rig_file(&set, "c.txt", "not looked at");
    (void)jwt_rig_file(&set, ".d.json", "neither");
    set.issuers[0] = jwt_rig_issuer(JWT_RIG_ISS, NULL, 0);
    set.issuers[0].jwks_file = set.dir;
    set.settings.issuers = set.issuers;
    set.settings.issuer_count = 1;
    loads(2, 0);
    (void)jwt_rig_file(&set, "e.json", "{}");
    fails(PAWL_EINVAL, "e.json");
}

static int make_folder(void **state)
{
    (void)state;
    jwt_rig_folder(&set);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    jwt_rig_close(&set);
    return 0;
}

#define in_a_folder(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_a_folder(a_short_rsa_key_is_refused),
        in_a_folder(an_rsa_key_of_a_small_exponent_is_refused),
        in_a_folder(a_key_of_another_kind_or_curve_is_refused),
        in_a_folder(a_private_key_where_a_public_one_belongs_is_refused_with_a_hint),
        in_a_folder(what_is_no_pem_public_key_is_refused),
        in_a_folder(a_file_that_is_not_there_empty_too_big_or_no_file_says_so),
        in_a_folder(a_secret_shorter_than_its_hash_is_refused),
        in_a_folder(a_public_or_private_key_as_a_secret_is_refused),
        in_a_folder(the_end_of_line_behind_a_text_is_not_part_of_the_secret),
        in_a_folder(a_secret_and_a_public_key_do_not_change_places),
        in_a_folder(a_secret_that_others_can_read_is_taken_with_a_warning),
        in_a_folder(a_kid_names_one_key_of_an_issuer),
        in_a_folder(an_issuer_stands_once_and_has_a_key),
        in_a_folder(keys_without_an_alg_get_the_one_of_their_kind),
        in_a_folder(entries_of_no_use_here_are_skipped_with_a_warning),
        in_a_folder(entries_that_contradict_themselves_refuse_the_set),
        in_a_folder(malformed_or_weak_entries_refuse_the_set),
        in_a_folder(private_parts_in_a_set_refuse_it),
        in_a_folder(a_directory_gives_the_keys_of_all_its_json_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
