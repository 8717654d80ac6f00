/* token_forge.h: makes tokens, good and bad. Header-only: a unit test is one file. Everything belongs to the arena but the keys. */
#ifndef TESTS_TOKEN_FORGE_H
#define TESTS_TOKEN_FORGE_H

#include "core/arena.h"
#include "core/crypto.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#define FORGE __attribute__((unused)) static

FORGE char *forge_pem(struct arena *a, EVP_PKEY *key)
{
    char *text;
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, key);
    long len = BIO_get_mem_data(bio, &text);
    char *pem = arena_dup(a, text, (size_t)len);
    BIO_free(bio);
    return pem;
}

FORGE uint8_t *forge_der(struct arena *a, EVP_PKEY *key, size_t *len_r)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    uint8_t *copy = (uint8_t *)arena_dup(a, der, (size_t)len);
    OPENSSL_free(der);
    *len_r = (size_t)len;
    return copy;
}

/* base64url(header).base64url(claims) */
FORGE char *forge_body(struct arena *a, const char *header, const char *claims)
{
    return arena_printf(a, "%s.%s", crypto_base64url(a, header, strlen(header)), crypto_base64url(a, claims, strlen(claims)));
}

/* RSA: PKCS #1 v1.5; EC: DER. */
FORGE uint8_t *forge_sign(struct arena *a, EVP_PKEY *key, const char *text, size_t *len_r)
{
    size_t len = 1024;
    uint8_t *out = arena_alloc(a, len);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1 ||
        EVP_DigestSign(ctx, out, &len, (const uint8_t *)text, strlen(text)) != 1) {
        abort();
    }
    EVP_MD_CTX_free(ctx);
    *len_r = len;
    return out;
}

/* r and s, 32 bytes each. */
FORGE uint8_t *forge_sign_ec(struct arena *a, EVP_PKEY *key, const char *text)
{
    size_t len;
    const uint8_t *der = forge_sign(a, key, text, &len);
    uint8_t *raw = arena_alloc(a, 64);
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32);
    ECDSA_SIG_free(sig);
    return raw;
}

FORGE char *forge_token(struct arena *a, const char *body, const void *signature, size_t len)
{
    return arena_printf(a, "%s.%s", body, crypto_base64url(a, signature, len));
}

FORGE char *forge_hs256(struct arena *a, const char *header, const char *claims, const void *secret, size_t len)
{
    uint8_t mac[SHA256_LEN];
    char *body = forge_body(a, header, claims);
    crypto_hmac_sha256(secret, len, body, strlen(body), mac);
    return forge_token(a, body, mac, sizeof(mac));
}

#endif
