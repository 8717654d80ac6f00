/* token_forge.h: makes tokens, good and bad, for the tests of tokens. */
#ifndef TESTS_TOKEN_FORGE_H
#define TESTS_TOKEN_FORGE_H

#include "core/arena.h"

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#define FORGE_APP "app_01h455vb4pex5vsknk084sn02q"
#define FORGE_OTHER_APP "app_01h455vb4pex5vsknk084sn02r"
#define FORGE_NO_APP "app_01h455vb4pex5vsknk084sn02s"
#define FORGE_NOW INT64_C(1800000000) /* seconds; the default token is issued then and lives an hour */

EVP_PKEY *forge_ec(void);
EVP_PKEY *forge_rsa(void);                                      /* 2048 bits */
char *forge_pem(struct arena *a, EVP_PKEY *key);
uint8_t *forge_der(struct arena *a, EVP_PKEY *key, size_t *len_r);

/* base64url(header).base64url(claims) */
char *forge_body(struct arena *a, const char *header, const char *claims);
/* Raw signatures over a text; belong to the arena. */
uint8_t *forge_hmac(struct arena *a, const void *key, size_t key_len, const char *text, size_t *len_r);
uint8_t *forge_sign_der(struct arena *a, EVP_PKEY *key, const char *text, size_t *len_r); /* RSA: PKCS #1 v1.5; EC: DER */
uint8_t *forge_sign_ec(struct arena *a, EVP_PKEY *key, const char *text);                 /* 64 bytes */
/* body.base64url(signature) */
char *forge_token(struct arena *a, const char *body, const void *signature, size_t len);

#endif
