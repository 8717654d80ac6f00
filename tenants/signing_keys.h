/* signing_keys.h: making signing keys: HS256 secrets and public keys given as JWK (RFC 7517; EC P-256 and RSA of 2048–8192 bits with an odd exponent >= 65537). */
#ifndef TENANTS_SIGNING_KEYS_H
#define TENANTS_SIGNING_KEYS_H

#include "core/arena.h"
#include "core/err.h"
#include "core/json.h"
#include "core/tenant.h"
#include "storage/signing.h"

/* A random HS256 secret, sealed for (app, kid): fills kid, alg, secret_sealed, issuer (the deployment's). secret_r: base64url of the 32 bytes, shown once. */
void signing_keys_new_hs256(struct arena *a, const struct app_id *app, struct signing_key *k_r, const char **secret_r);

const char *signing_keys_new_kid(struct arena *a); /* 16 random bytes in base64url */

/* The HS256 secret of a key's row; the caller wipes it. */
int signing_keys_open(struct arena *a, const struct app_id *app, const struct signing_key *k, uint8_t **secret_r, size_t *len_r,
                      struct err *e) __attribute__((warn_unused_result));

/* Reads a public JWK into PEM. kid: that of the JWK when it has one of 8–64 [A-Za-z0-9_-], else random. issuer NULL = the deployment's. -1 ERR_VALIDATION_FAILED
 * with a pointer below /jwk: private members present, wrong kty, curve, size, alg. */
int signing_keys_from_jwk(struct arena *a, const char *alg, const json_t *jwk, const char *issuer, struct signing_key *k_r, struct err *e)
    __attribute__((warn_unused_result));

json_t *signing_key_json(struct arena *a,
                         const struct signing_key *k); /* {kid, alg, issuer, jwk?, status, created_at, revoked_at?}; never the secret */

/* Everything a new app needs: sealed id key, first API key with all scopes, first signing key. Makes it and returns its row and its secret key (shown once). */
struct app;
struct app_new;
struct platform;
int signing_keys_provision(const struct platform *p, struct arena *a, const char *name, const json_t *features, const json_t *limits,
                           const json_t *metadata, const json_t *origins, struct app *app_r, json_t **initial_key_r, struct err *e)
    __attribute__((warn_unused_result));

#endif
