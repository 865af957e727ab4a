/*
 * Certificates made in memory and put into files, and the two ends of a TLS connection side by
 * side, for tests and fuzzers. Names are "DNS:a,URI:b", as openssl's command takes them.
 */
#ifndef PAWL_TEST_TLS_RIG_H
#define PAWL_TEST_TLS_RIG_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapter/tls/tls.h"

struct tls_pair {
    X509 *certificate;
    EVP_PKEY *key;
    char certificate_file[128];
    char key_file[128];
};

#define TLS_MUST(condition)                                                       \
    do {                                                                          \
        if (!(condition)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                              \
        }                                                                         \
    } while (0)

static inline void tls_add_extension(X509 *to, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, to, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    TLS_MUST(extension != NULL && X509_add_ext(to, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

/** Make a pair in @folder as @name, signed by @issuer; NULL = a CA that signs itself. */
static inline void tls_pair_make(struct tls_pair *pair, const char *folder, const char *name,
                                 const struct tls_pair *issuer, const char *san)
{
    static long serial = 1;
    X509 *certificate = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509_NAME *subject;
    FILE *file;

    TLS_MUST(certificate != NULL && key != NULL);
    subject = X509_get_subject_name(certificate);
    TLS_MUST(X509_set_version(certificate, 2) == 1);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    (void)X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    (void)X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
    (void)X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                                     -1, 0);
    TLS_MUST(X509_set_issuer_name(
                 certificate,
                 issuer == NULL ? subject : X509_get_subject_name(issuer->certificate)) == 1);
    TLS_MUST(X509_set_pubkey(certificate, key) == 1);
    tls_add_extension(certificate, issuer == NULL ? certificate : issuer->certificate,
                      NID_basic_constraints, issuer == NULL ? "critical,CA:TRUE" : "CA:FALSE");
    if (san != NULL) {
        tls_add_extension(certificate, certificate, NID_subject_alt_name, san);
    }
    TLS_MUST(X509_sign(certificate, issuer == NULL ? key : issuer->key, EVP_sha256()) > 0);
    pair->certificate = certificate;
    pair->key = key;
    (void)snprintf(pair->certificate_file, sizeof(pair->certificate_file), "%s/%s.pem", folder,
                   name);
    (void)snprintf(pair->key_file, sizeof(pair->key_file), "%s/%s.key", folder, name);
    file = fopen(pair->certificate_file, "w");
    TLS_MUST(file != NULL && PEM_write_X509(file, certificate) == 1 && fclose(file) == 0);
    file = fopen(pair->key_file, "w");
    TLS_MUST(file != NULL && fchmod(fileno(file), 0600) == 0 &&
             PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 && fclose(file) == 0);
}

static inline void tls_pair_free(struct tls_pair *pair)
{
    X509_free(pair->certificate);
    EVP_PKEY_free(pair->key);
    (void)unlink(pair->certificate_file);
    (void)unlink(pair->key_file);
    memset(pair, 0, sizeof(*pair));
}

/** A server's context that asks for certificates of @ca (NULL: asks nobody). */
static inline struct pawl_tls_context *tls_server_of(const struct tls_pair *pair, const char *ca)
{
    const struct pawl_tls_server_options options = {
        .certificate = pair->certificate_file,
        .key = pair->key_file,
        .ca = ca,
        .client_auth = ca != NULL ? PAWL_TLS_CLIENT_AUTH_OPTIONAL : PAWL_TLS_CLIENT_AUTH_NONE,
    };
    struct pawl_tls_context *context = NULL;
    struct pawl_error error = { PAWL_OK, 0, "" };

    if (pawl_tls_server_context(&options, &context, NULL, &error) != PAWL_OK) {
        (void)fprintf(stderr, "%s\n", error.text);
        abort();
    }
    return context;
}

/** A client's context that trusts @ca and shows @pair (NULL: nothing). */
static inline struct pawl_tls_context *tls_client_of(const char *ca, const struct tls_pair *pair)
{
    const struct pawl_tls_client_options options = {
        .ca = ca,
        .certificate = pair != NULL ? pair->certificate_file : NULL,
        .key = pair != NULL ? pair->key_file : NULL,
    };
    struct pawl_tls_context *context = NULL;
    struct pawl_error error = { PAWL_OK, 0, "" };

    if (pawl_tls_client_context(&options, &context, NULL, &error) != PAWL_OK) {
        (void)fprintf(stderr, "%s\n", error.text);
        abort();
    }
    return context;
}

/** Carry what @from has to send to @to, @step bytes at a time. How many. */
static inline size_t tls_carry(struct pawl_tls_connection *from, struct pawl_tls_connection *to,
                               size_t step)
{
    size_t total = 0;

    while (pawl_tls_ops.pending(from) > 0) {
        struct pawl_bytes first = pawl_tls_ops.peek(from);
        size_t size = first.size < step ? first.size : step;

        TLS_MUST(size > 0 && pawl_tls_ops.give(to, first.data, size) == PAWL_OK);
        pawl_tls_ops.sent(from, size);
        total += size;
    }
    return total;
}

/** Both ways until nobody has anything to say. */
static inline void tls_settle(struct pawl_tls_connection *a, struct pawl_tls_connection *b,
                              size_t step)
{
    while (tls_carry(a, b, step) + tls_carry(b, a, step) > 0) {
    }
}

#endif
