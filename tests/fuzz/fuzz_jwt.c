/*
 * Signed tokens: the input is a token's text. The mutator takes it apart, changes the decoded
 * header, payload or signature, and mostly signs the outcome again, with the right key or a wrong
 * one, so that what is behind the signature is reached. More tokens are made of each input: other
 * texts of the same bytes, no signature, a MAC by the public key, and the twin of an ES signature.
 *
 * Asserted, for each of them and for its second coming from the cache:
 *   - what is accepted was signed exactly so: the oracle reads the header with jansson, takes the
 *     key of its kid from a table of its own, and signs the text again (HS, RS, EdDSA: the same
 *     bytes; ES, PS: OpenSSL's one-call verification of what the oracle itself decoded, which has
 * to encode to the same text); alg and kid are the key's, iss is the issuer, nothing stands twice,
 *     no crit, exp is an integer; the claims handed out are those that jansson reads; its s is low
 *     where the issuer's settings want that, and only there is it refused for a high one;
 *   - what the oracle finds genuine is not refused for its signature, its key or its algorithm;
 *   - libjwt takes what is accepted (HS alone: RS and ES read a PEM each time; the unit tests have
 *     them), and of what libjwt takes, given the right secret, nothing is refused for its
 * signature. The differences that are allowed are the other reasons: what libjwt does not look at.
 */
#include "adapter/jwt/base64url.h"
#include "adapter/jwt/json.h"
#include "fuzz/require.h"
#include "support/jwt_rig.h"

#include <jansson.h>
#include <jwt.h>
#include <strings.h>

#define DECODED_MAX 16384

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);

static const struct signer {
    const char *kid, *alg, *key, *issuer;
} signers[] = {
    { "hs256", "HS256", jwt_secret, JWT_RIG_ISS },
    { "hs384", "HS384", jwt_secret, JWT_RIG_ISS },
    { "hs512", "HS512", jwt_secret, JWT_RIG_ISS },
    { "eddsa", "EdDSA", jwt_private_ed, JWT_RIG_ISS },
    { "rs256", "RS256", jwt_private_rsa, JWT_RIG_ISS },
    { "ps256", "PS256", jwt_private_rsa, JWT_RIG_ISS },
    { "es256", "ES256", jwt_private_ec256, JWT_RIG_ISS },
    { "es512", "ES512", jwt_private_ec521, JWT_RIG_ISS },
    { "rs256", "RS256", jwt_private_rsa2, "other" },
    { "theirs", "ES256", jwt_private_ec256, "other" }, /* where low s alone is taken */
};
#define SIGNERS (sizeof(signers) / sizeof(signers[0]))

static struct jwt_rig rig;
static EVP_PKEY *private_keys[SIGNERS];

static void open_once(void)
{
    if (rig.keyring != NULL) {
        return;
    }
    jwt_rig_folder(&rig);
    jwt_rig_settings(&rig);
    rig.settings.cache_max = 512;
    rig.issuers[1].ecdsa_s = PAWL_JWT_ECDSA_S_LOW;
    jwt_rig_open(&rig);
    for (unsigned i = 0; i < 16; i++) { /* read by now */
        if (rig.path[i][0] != '\0') {
            (void)unlink(rig.path[i]);
        }
    }
    (void)rmdir(rig.dir);
    for (size_t i = 0; i < SIGNERS; i++) {
        if (signers[i].alg[0] != 'H') {
            private_keys[i] = jwt_rig_private(signers[i].key);
        }
    }
}

/* ---- signing, with keys parsed once ------------------------------------------------------------
 */

static size_t sign(size_t signer, const char *text, size_t size, uint8_t out[2048])
{
    const char *alg = signers[signer].alg;
    EVP_PKEY_CTX *options = NULL;
    uint8_t der[2048];
    size_t done = sizeof(der);

    if (alg[0] == 'H') {
        return jwt_rig_sign(alg, signers[signer].key, strlen(signers[signer].key), text, size, out);
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    require(EVP_DigestSignInit(context, &options, alg[1] == 'd' ? NULL : jwt_rig_digest(alg), NULL,
                               private_keys[signer]) == 1);
    if (alg[0] == 'P') {
        require(EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1);
        require(EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) == 1);
    }
    require(EVP_DigestSign(context, der, &done, (const uint8_t *)text, size) == 1);
    EVP_MD_CTX_free(context);
    if (alg[0] == 'E' && alg[1] == 'S') {
        return jwt_rig_raw(der, done, (EVP_PKEY_get_bits(private_keys[signer]) + 7) / 8, out);
    }
    memcpy(out, der, done);
    return done;
}

static bool verifies(size_t signer, const char *text, size_t size, const uint8_t *signature,
                     size_t signature_size)
{
    const char *alg = signers[signer].alg;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *options = NULL;
    uint8_t *der = NULL;
    int der_size = 0;

    require(EVP_DigestVerifyInit(context, &options, jwt_rig_digest(alg), NULL,
                                 private_keys[signer]) == 1);
    if (alg[0] == 'P') {
        (void)EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING);
        (void)EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST);
    } else {
        ECDSA_SIG *parts = ECDSA_SIG_new();
        int half = (int)signature_size / 2;

        require(ECDSA_SIG_set0(parts, BN_bin2bn(signature, half, NULL),
                               BN_bin2bn(signature + half, half, NULL)) == 1);
        der_size = i2d_ECDSA_SIG(parts, &der);
        ECDSA_SIG_free(parts);
    }
    bool good = EVP_DigestVerify(context, der != NULL ? der : signature,
                                 der != NULL ? (size_t)der_size : signature_size,
                                 (const uint8_t *)text, size) == 1;

    OPENSSL_free(der);
    EVP_MD_CTX_free(context);
    return good;
}

/* ---- the oracle --------------------------------------------------------------------------------
 */

/* Of any alphabet, up to what is none: what a lenient reader makes of it. */
static size_t decode_any(const char *text, size_t size, uint8_t *out)
{
    size_t done = 0;
    unsigned word = 0;
    unsigned bits = 0;

    for (size_t i = 0; i < size; i++) {
        char byte = text[i];
        unsigned value = byte >= 'A' && byte <= 'Z'   ? (unsigned)(byte - 'A')
                         : byte >= 'a' && byte <= 'z' ? (unsigned)(byte - 'a') + 26
                         : byte >= '0' && byte <= '9' ? (unsigned)(byte - '0') + 52
                         : byte == '-' || byte == '+' ? 62
                         : byte == '_' || byte == '/' ? 63
                                                      : 64;

        if (value == 64) {
            continue;
        }
        word = (word << 6 | value) & 0xffffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[done++] = (uint8_t)(word >> bits);
        }
    }
    return done;
}

struct genuine {
    bool text; /* three parts, each its own canonical encoding */
    json_t *header, *payload;
    size_t signer; /* SIGNERS: none of that kid, issuer and alg */
    bool signature;
    bool high; /* ES: the other one of its two signatures has the lower s */
};

static bool text_is(const json_t *object, const char *name, const char *wanted)
{
    const char *value = json_string_value(json_object_get(object, name));

    return value != NULL && strcmp(value, wanted) == 0;
}

static size_t signer_of(const json_t *header, const json_t *payload)
{
    for (size_t i = 0; i < SIGNERS; i++) {
        if (text_is(header, "kid", signers[i].kid) && text_is(header, "alg", signers[i].alg) &&
            text_is(payload, "iss", signers[i].issuer)) {
            return i;
        }
    }
    return SIGNERS;
}

static json_t *parse_part(const char *text, size_t size, bool *canonical)
{
    static uint8_t decoded[DECODED_MAX];
    static char again[2 * DECODED_MAX];
    size_t bytes = decode_any(text, size, decoded);

    *canonical = *canonical && size > 0 && jwt_rig_encode(decoded, bytes, again) == size &&
                 memcmp(again, text, size) == 0;
    return json_loadb((const char *)decoded, bytes, JSON_REJECT_DUPLICATES, NULL);
}

static bool signature_is(size_t signer, const char *text, size_t size, const char *signature,
                         size_t signature_size, bool *high)
{
    static uint8_t decoded[DECODED_MAX];
    uint8_t again[2048];
    char encoded[4096];
    size_t bytes = decode_any(signature, signature_size, decoded);

    if (bytes > 1024 || jwt_rig_encode(decoded, bytes, encoded) != signature_size ||
        memcmp(encoded, signature, signature_size) != 0) {
        return false;
    }
    bool pss = signers[signer].alg[0] == 'P';

    if (pss || strncmp(signers[signer].alg, "ES", 2) == 0) { /* another one each time */
        size_t wanted = pss ? 256 : strcmp(signers[signer].alg, "ES512") == 0 ? 132 : 64;

        if (bytes != wanted || !verifies(signer, text, size, decoded, bytes)) {
            return false;
        }
        *high = !pss && jwt_rig_twin(decoded, bytes);
        return true;
    }
    return sign(signer, text, size, again) == bytes && memcmp(again, decoded, bytes) == 0;
}

static struct genuine examine(const char *token, size_t size)
{
    struct genuine genuine = { .signer = SIGNERS };
    const char *first = memchr(token, '.', size);
    const char *last = memrchr(token, '.', size);

    if (first == NULL || first == last ||
        memchr(first + 1, '.', (size_t)(last - first) - 1) != NULL) {
        return genuine;
    }
    genuine.text = true;
    genuine.header = parse_part(token, (size_t)(first - token), &genuine.text);
    genuine.payload = parse_part(first + 1, (size_t)(last - first) - 1, &genuine.text);
    genuine.signer = signer_of(genuine.header, genuine.payload);
    if (genuine.text && genuine.signer < SIGNERS) {
        genuine.signature = signature_is(genuine.signer, token, (size_t)(last - token), last + 1,
                                         (size_t)(token + size - last) - 1, &genuine.high);
    }
    return genuine;
}

static void same_text(struct pawl_bytes bytes, const json_t *value)
{
    char digits[32];

    if (json_is_integer(value)) {
        int size = snprintf(digits, sizeof(digits), "%lld", (long long)json_integer_value(value));

        require(bytes.size == (size_t)size && memcmp(bytes.data, digits, bytes.size) == 0);
        return;
    }
    require(bytes.size == json_string_length(value));
    require(bytes.size == 0 || memcmp(bytes.data, json_string_value(value), bytes.size) == 0);
}

static void same_claims(const struct pawl_jwt_claims *claims, const struct genuine *genuine)
{
    const json_t *type = json_object_get(genuine->payload, "token_type");

    same_text(claims->issuer, json_object_get(genuine->payload, "iss"));
    same_text(claims->jti, json_object_get(genuine->payload, "jti"));
    same_text(claims->subject, json_object_get(genuine->payload, "sub"));
    same_text(claims->client, json_object_get(genuine->payload, "client_id"));
    same_text(claims->sid, json_object_get(genuine->payload, "sid"));
    same_text(claims->kid, json_object_get(genuine->header, "kid"));
    same_text(claims->type, type != NULL ? type : json_object_get(genuine->header, "typ"));
    if (json_is_string(json_object_get(genuine->payload, "scope"))) {
        same_text(claims->scope, json_object_get(genuine->payload, "scope"));
    }
    require(json_is_integer(json_object_get(genuine->payload, "exp")));
    require(claims->exp_s == json_integer_value(json_object_get(genuine->payload, "exp")));
    require(claims->exp_s >= 0);
    require(claims->has_iat == (json_object_get(genuine->payload, "iat") != NULL));
}

/* ---- libjwt ------------------------------------------------------------------------------------
 */

/* NULL-terminated for it; short, for it puts the length on its stack. */
static bool libjwt_takes(size_t signer, const char *token, size_t size)
{
    static char copy[PAWL_JWT_BYTES_MAX + 1];
    jwt_t *jwt = NULL;

    memcpy(copy, token, size);
    copy[size] = '\0';
    int failed = jwt_decode(&jwt, copy, (const unsigned char *)signers[signer].key,
                            (int)strlen(signers[signer].key));
    bool right = failed == 0 && jwt_get_alg(jwt) != JWT_ALG_NONE;

    jwt_free(jwt);
    return right;
}

static void differ(const struct genuine *genuine, enum pawl_jwt_reason reason, const char *token,
                   size_t size)
{
    const char *typ = json_string_value(json_object_get(genuine->header, "typ"));

    if (genuine->signer > 2 || size > PAWL_JWT_BYTES_MAX || memchr(token, 0, size) != NULL) {
        return; /* no HS key is meant */
    }
    bool takes = libjwt_takes(genuine->signer, token, size);

    if (reason == PAWL_JWT_OK) {
        require(takes || (typ != NULL && strcasecmp(typ, "JWT") != 0));
    } else if (takes) {
        require(reason != PAWL_JWT_SIGNATURE && reason != PAWL_JWT_INTERNAL);
    }
}

/* ---- one token ---------------------------------------------------------------------------------
 */

/* Returns whether it has a right ES signature. */
static bool check(const char *token, size_t size)
{
    struct genuine genuine = examine(token, size);
    struct pawl_jwt_request request = jwt_rig_request(token, size);
    struct pawl_jwt_claims claims;

    request.signature_only = size % 4 == 0; /* nbf, aud and type come in the way of few only */
    enum pawl_jwt_reason reason = rig.port.ops->verify(rig.verifier, &request, &claims);

    require(reason != PAWL_JWT_INTERNAL);
    if (reason == PAWL_JWT_OK) {
        require(size <= PAWL_JWT_BYTES_MAX);
        require(genuine.text && genuine.header != NULL && genuine.payload != NULL);
        require(genuine.signer < SIGNERS && genuine.signature);
        require(json_object_get(genuine.header, "crit") == NULL);
        require(!genuine.high || strcmp(signers[genuine.signer].issuer, "other") != 0 ||
                request.signature_only);
        same_claims(&claims, &genuine);
    } else if (genuine.signature) {
        require(reason != PAWL_JWT_SIGNATURE && reason != PAWL_JWT_KEY_UNKNOWN &&
                reason != PAWL_JWT_ALG_MISMATCH && reason != PAWL_JWT_ISSUER &&
                reason != PAWL_JWT_BASE64 && reason != PAWL_JWT_PARTS);
    }
    require(reason != PAWL_JWT_HIGH_S || (genuine.signature && genuine.high &&
                                          strcmp(signers[genuine.signer].issuer, "other") == 0));
    differ(&genuine, reason, token, size);
    require(rig.port.ops->verify(rig.verifier, &request, &claims) == reason);
    if (reason == PAWL_JWT_OK) {
        same_claims(&claims, &genuine);
    }
    json_decref(genuine.header);
    json_decref(genuine.payload);
    return genuine.signature && strncmp(signers[genuine.signer].alg, "ES", 2) == 0;
}

/* The other right signature of the same text: r and n - s. */
static void check_twin(const char *token, size_t size)
{
    static char other[DECODED_MAX + 8];
    static uint8_t raw[DECODED_MAX];
    size_t kept = (size_t)((const char *)memrchr(token, '.', size) - token) + 1;
    size_t bytes = decode_any(token + kept, size - kept, raw);

    memcpy(other, token, kept);
    (void)jwt_rig_twin(raw, bytes);
    require(check(other, kept + jwt_rig_encode(raw, bytes, other + kept)));
}

/* The reader by itself: what it takes, jansson takes. */
static void check_json(const uint8_t *data, size_t size)
{
    static struct pawl_json json;
    static uint8_t copy[PAWL_JWT_BYTES_MAX];
    json_t *root = NULL;

    memcpy(copy, data, size);
    if (pawl_json_read(&json, copy, size) == PAWL_JWT_OK) {
        root = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
        require(json_is_object(root));
        unsigned members = 0;

        for (unsigned i = 1; i < json.count; i = json.value[i].end) {
            members++;
        }
        require(members == json_object_size(root));
    }
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char other[DECODED_MAX + 8];
    char *copy;
    const char *last = size == 0 ? NULL : memrchr(data, '.', size);

    open_once();
    if (size > DECODED_MAX - 1024) {
        return 0;
    }
    copy = malloc(size > 0 ? size : 1); /* of exactly its size */
    require(copy != NULL);
    memcpy(copy, data, size);
    if (check(copy, size)) {
        check_twin(copy, size);
    }
    if (size <= PAWL_JWT_BYTES_MAX) {
        check_json(data, size);
    }
    if (last != NULL) {
        static const char tails[][3] = { "=", "==", "\n", ".", "A", " ", "~" };
        size_t kept = (size_t)(last - (const char *)data);
        uint8_t mac[2048];

        memcpy(other, data, size); /* another text of the same bytes */
        if (size % 8 == 7) {
            other[size - 1] ^= 1;
            (void)check(other, size);
        } else {
            memcpy(other + size, tails[size % 7], 3);
            (void)check(other, size + strlen(tails[size % 7]));
        }
        (void)check(other, kept + 1); /* stripped */
        memcpy(other, data, kept + 1);
        size_t mac_size =
            jwt_rig_sign("HS256", jwt_public_rsa, strlen(jwt_public_rsa), other, kept, mac);

        (void)check(other, kept + 1 + jwt_rig_encode(mac, mac_size, other + kept + 1));
    }
    free(copy);
    return 0;
}

/* ---- the mutator -------------------------------------------------------------------------------
 */

struct parts {
    uint8_t data[3][DECODED_MAX];
    size_t size[3];
};

static void take_apart(struct parts *parts, const char *token, size_t size)
{
    const char *end = token + size;

    for (unsigned i = 0; i < 3; i++) {
        const char *dot = i < 2 ? memchr(token, '.', (size_t)(end - token)) : NULL;
        const char *stop = dot == NULL ? end : dot;

        parts->size[i] = decode_any(token, (size_t)(stop - token), parts->data[i]);
        token = dot == NULL ? end : dot + 1;
    }
}

/* Snippets that headers and payloads are about, in place of what libFuzzer would have to find. */
static void splice(struct parts *parts, unsigned part, unsigned seed)
{
    static const char *const snippets[] = {
        "\"alg\":\"none\"",
        "\"alg\":\"HS256\"",
        "\"alg\":\"RS256\"",
        "\"alg\":\"EdDSA\"",
        "\"alg\":\"ES256\"",
        "\"kid\":\"hs256\"",
        "\"kid\":\"rs256\"",
        "\"kid\":\"eddsa\"",
        "\"kid\":\"theirs\"",
        "\"crit\":[\"exp\"]",
        "\"b64\":false",
        "\"typ\":\"at+jwt\"",
        "\"iss\":\"" JWT_RIG_ISS "\"",
        "\"iss\":\"other\"",
        "\"exp\":1800000600",
        "\"exp\":\"1800000600\"",
        "\"exp\":1.8e9",
        "\"sub\":7",
        "\"sub\":\"\\u0000\"",
        "\"s\\u0075b\":\"x\"",
        "\"aud\":[\"a\",\"b\"]",
        "\"nbf\":1900000000",
        "\"x\":[[[[[[[1]]]]]]]",
        "\"jti\":\"\\ud83d\\ude00\"",
        "\"gen\":-1",
        "\"iat\":9007199254740993",
    };
    const char *snippet = snippets[seed % (sizeof(snippets) / sizeof(snippets[0]))];
    size_t bytes = strlen(snippet);
    uint8_t *data = parts->data[part];
    size_t size = parts->size[part];

    if (size < 2 || size + bytes + 1 > 5000) {
        return;
    }
    memmove(data + 1 + bytes + 1, data + 1, size - 1); /* behind the opening brace */
    memcpy(data + 1, snippet, bytes);
    data[1 + bytes] = ',';
    parts->size[part] = size + bytes + 1;
}

static size_t put_together(const struct parts *parts, char *out)
{
    size_t done = 0;

    for (unsigned i = 0; i < 3; i++) {
        done += jwt_rig_encode(parts->data[i], parts->size[i], out + done);
        if (i < 2) {
            out[done++] = '.';
        }
    }
    return done;
}

/* Mostly the cheap ones; the key that the header names, or any. */
static void sign_again(struct parts *parts, unsigned seed)
{
    static char text[3 * DECODED_MAX];
    json_t *header = json_loadb((const char *)parts->data[0], parts->size[0], 0, NULL);
    json_t *payload = json_loadb((const char *)parts->data[1], parts->size[1], 0, NULL);
    size_t signer = signer_of(header, payload);
    size_t done;

    json_decref(header);
    json_decref(payload);
    if (signer == SIGNERS || seed % 16 == 0) {
        signer = seed / 16 % 3;
    }
    if (signer > 3 && seed % 32 != 1) {
        return;
    }
    done = jwt_rig_encode(parts->data[0], parts->size[0], text);
    text[done++] = '.';
    done += jwt_rig_encode(parts->data[1], parts->size[1], text + done);
    parts->size[2] = sign(signer, text, done, parts->data[2]);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    static struct parts parts;
    static char out[6 * DECODED_MAX];
    unsigned part = seed % 8 == 0 ? 2 : seed % 8 < 3 ? 0 : 1;
    unsigned how = seed / 8 % 16;

    open_once();
    if (how == 0 || size > 8000) { /* the text itself */
        return LLVMFuzzerMutate(data, size, size_max);
    }
    take_apart(&parts, (const char *)data, size);
    if (how < 5 && part < 2) {
        splice(&parts, part, seed / 128);
    } else {
        parts.size[part] =
            LLVMFuzzerMutate(parts.data[part], parts.size[part], part == 2 ? 300 : 5000);
    }
    if (part < 2 && how % 4 != 3) {
        sign_again(&parts, seed / 128);
    }
    size_t done = put_together(&parts, out);

    if (done > size_max) {
        return LLVMFuzzerMutate(data, size, size_max);
    }
    memcpy(data, out, done);
    return done;
}
