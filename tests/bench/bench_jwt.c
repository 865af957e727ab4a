/*
 * Figures of signed tokens by themselves, in this process.
 *
 * usage: bench_jwt (rs256_ns|jwt_cached_ns)
 *
 * rs256_ns       a whole verification (reading, key, signature, claims) of tokens never seen
 * before; baseline: OpenSSL's own verification of the same signatures over the same texts, with the
 * key parsed once and everything that can be prepared once prepared jwt_cached_ns  the same tokens,
 * seen before
 *
 * Prints one JSON object. Ours and the baseline take turns; each is the median of its passes.
 */
#include "support/jwt_rig.h"

#include <time.h>

#define TOKENS 256
#define PASSES 15
#define ROUNDS 200 /* over all tokens in a pass, of what takes no cryptography */

struct token {
    char text[2048];
    size_t size, signed_size;
    uint8_t signature[256];
};

static struct token tokens[TOKENS];
static struct jwt_rig rig;

static void die(const char *what)
{
    fprintf(stderr, "bench_jwt: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return (left > right) - (left < right);
}

static double median(double *values)
{
    qsort(values, PASSES, sizeof(*values), compare);
    return values[PASSES / 2];
}

/* What an access token of a usual issuer says. */
static void make(struct token *token, unsigned number)
{
    static const char header[] = "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"rs256\"}";
    uint8_t signature[2048];
    char payload[512];

    snprintf(
        payload, sizeof(payload),
        "{\"iss\":\"" JWT_RIG_ISS "\",\"sub\":\"user:%u\",\"aud\":[\"api\",\"web\"],"
        "\"client_id\":\"mobile\",\"jti\":\"6f1c9f0e2b7d4a55a3e0%012u\",\"exp\":1800000600,"
        "\"iat\":1799999900,\"sid\":\"0190f3c4-5b6a-7c8d-9e0f-%012u\",\"scope\":\"read write\"}",
        number, number, number);
    token->size = jwt_rig_token_of("RS256", jwt_private_rsa, 0, header, strlen(header), payload,
                                   strlen(payload), token->text);
    token->signed_size = (size_t)(strrchr(token->text, '.') - token->text);
    if (jwt_rig_sign("RS256", jwt_private_rsa, 0, token->text, token->signed_size, signature) !=
        sizeof(token->signature)) {
        die("no signature");
    }
    memcpy(token->signature, signature, sizeof(token->signature)); /* PKCS #1 v1.5: the same one */
}

static double ours(unsigned rounds, bool cached)
{
    uint64_t start = now_ns();

    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < TOKENS; i++) {
            if (jwt_rig_verify_bytes(&rig, tokens[i].text, tokens[i].size) != PAWL_JWT_OK ||
                rig.claims.cached != cached) {
                die("a token is not verified, or not as meant");
            }
        }
    }
    return (double)(now_ns() - start) / (TOKENS * (double)rounds);
}

static double openssl(EVP_PKEY_CTX *key, EVP_MD_CTX *hash, EVP_MD *sha256)
{
    uint64_t start = now_ns();

    for (unsigned i = 0; i < TOKENS; i++) {
        uint8_t digest[32];

        if (EVP_DigestInit_ex2(hash, sha256, NULL) != 1 ||
            EVP_DigestUpdate(hash, tokens[i].text, tokens[i].signed_size) != 1 ||
            EVP_DigestFinal_ex(hash, digest, NULL) != 1 ||
            EVP_PKEY_verify(key, tokens[i].signature, sizeof(tokens[i].signature), digest,
                            sizeof(digest)) != 1) {
            die("OpenSSL does not verify");
        }
    }
    return (double)(now_ns() - start) / TOKENS;
}

static void rs256_ns(void)
{
    double values[PASSES];
    double baselines[PASSES];
    EVP_PKEY *private = jwt_rig_private(jwt_private_rsa);
    EVP_PKEY_CTX *key = EVP_PKEY_CTX_new_from_pkey(NULL, private, NULL);
    EVP_MD *sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    EVP_MD_CTX *hash = EVP_MD_CTX_new();

    if (key == NULL || sha256 == NULL || hash == NULL || EVP_PKEY_verify_init(key) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(key, RSA_PKCS1_PADDING) != 1 ||
        EVP_PKEY_CTX_set_signature_md(key, sha256) != 1) {
        die("no OpenSSL");
    }
    for (unsigned i = 0; i < PASSES; i++) {
        baselines[i] = openssl(key, hash, sha256);
        values[i] = ours(1, false);
    }
    printf("{\"name\": \"rs256_ns\", \"unit\": \"ns\", \"value\": %.1f, \"baseline\": %.1f}\n",
           median(values), median(baselines));
    EVP_MD_CTX_free(hash);
    EVP_MD_free(sha256);
    EVP_PKEY_CTX_free(key);
    EVP_PKEY_free(private);
}

static void jwt_cached_ns(void)
{
    double values[PASSES];

    (void)ours(1, false);
    for (unsigned i = 0; i < PASSES; i++) {
        values[i] = ours(ROUNDS, true);
    }
    printf("{\"name\": \"jwt_cached_ns\", \"unit\": \"ns\", \"value\": %.1f}\n", median(values));
}

int main(int argc, char **argv)
{
    bool cached = argc == 2 && strcmp(argv[1], "jwt_cached_ns") == 0;

    if (!cached && (argc != 2 || strcmp(argv[1], "rs256_ns") != 0)) {
        fputs("usage: bench_jwt (rs256_ns|jwt_cached_ns)\n", stderr);
        return 2;
    }
    for (unsigned i = 0; i < TOKENS; i++) {
        make(&tokens[i], i);
    }
    jwt_rig_folder(&rig);
    jwt_rig_settings(&rig);
    rig.settings.cache_max = cached ? 10000 : 0;
    jwt_rig_open(&rig);
    if (cached) {
        jwt_cached_ns();
    } else {
        rs256_ns();
    }
    jwt_rig_close(&rig);
    return 0;
}
