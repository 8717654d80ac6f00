/* jws.h: one user token as text (RFC 7515, RFC 7519): its form, its signature, its times. No I/O; tokens.c knows apps, users and revocations.
 *
 * Nothing is left to libjwt but the signature: it checks no claim and would take an HS256 token that was "signed" with somebody's public key. So the token is
 * read strictly here, the algorithm is pinned by the key's record, and only then is the signature verified. */
#ifndef TENANTS_JWS_H
#define TENANTS_JWS_H

#include "core/arena.h"
#include "core/err.h"
#include "core/ids.h"
#include "core/json.h"

#include <stdbool.h>
#include <stdint.h>

#define JWS_KID_MIN 8
#define JWS_KID_MAX 64
#define JWS_JTI_MAX 128
#define JWS_SCOPE_MAX 1024
#define JWS_REFUSED "The token's signature is not valid." /* also said for an app that does not exist */

/* What a token says; the strings belong to the arena it was read with. */
struct jws {
    const char *text, *alg, *kid, *issuer, *jti;
    struct app_id app;
    struct user_id user;
    struct device_id device; /* "" = none */
    int64_t exp, iat, nbf;   /* seconds; nbf 0 = none */
    int64_t issued_ms;       /* iat, or iat_ms when the token has that claim */
    const uint8_t *signature;
    size_t signature_len;
};

/* A key that may verify tokens: an HS256 secret, or a public key in PEM. */
struct jws_key {
    char alg[8];
    char *issuer;
    uint8_t *bytes;
    size_t len;
    size_t signature_len;
    uint8_t digest[32]; /* of alg and bytes */
};
/* Copies what it is given. -1 ERR_INTERNAL: bytes are no key for alg (HS256 of >= 32 bytes, EC on P-256, RSA of 2048-8192 bits). */
int jws_key_init(struct jws_key *k_r, const char *alg, const char *issuer, const void *bytes, size_t len, struct err *e)
    __attribute__((warn_unused_result));
void jws_key_clear(struct jws_key *k); /* wipes */

bool jws_is_kid(const char *s);

/* Form alone: 0, or -1 ERR_INVALID_TOKEN. */
int jws_parse(struct arena *a, const char *text, struct jws *j_r, struct err *e) __attribute__((warn_unused_result));

/* Finds the key of (j->app, j->kid): 1, 0 (no such key, or revoked), -1. *verified_r: this very text has been verified with this very key before. */
typedef int jws_find_key(void *ctx, const struct jws *j, const struct jws_key **k_r, bool *verified_r, struct err *e);

/* Everything that the text and its key decide, in this order: form, key (ERR_UNKNOWN_KID), algorithm, signature, times (ERR_TOKEN_EXPIRED), issuer.
 * 0, or -1: those, ERR_INVALID_TOKEN, or what find_key says. */
int jws_check(struct arena *a, const char *text, int64_t now_ms, jws_find_key *find_key, void *ctx, struct jws *j_r, struct err *e)
    __attribute__((warn_unused_result));

/* The claims of whatever has the form of a token, or NULL. */
json_t *jws_claims(struct arena *a, const char *text);

/* Signs claims with HS256. NULL and ERR_INTERNAL when libjwt fails. */
char *jws_sign(struct arena *a, const char *kid, const uint8_t *secret, size_t len, const json_t *claims, struct err *e)
    __attribute__((warn_unused_result));

#endif
