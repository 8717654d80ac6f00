/* tokens.h: user tokens (JWT, RFC 7519, read by the rules of RFC 8725): HS256 by a secret of the app, ES256 or RS256 by a public key the app registered.
 *
 * Claims: iss, aud = app id (a single string), sub = user id, exp, iat, jti; optional nbf, device, scope. 60 s of leeway. The key is found by (aud, kid);
 * its algorithm is compared before anything is verified. Everything on the attack list of RFC 8725 is refused before any side effect.
 *
 * Minted tokens also say when they were issued to the millisecond (iat_ms), so that one minted right after a revocation is not caught by it; a token without
 * that claim counts as issued at the start of its second. */
#ifndef TENANTS_TOKENS_H
#define TENANTS_TOKENS_H

#include "core/arena.h"
#include "core/config.h"
#include "core/err.h"
#include "core/json.h"
#include "core/tenant.h"
#include "storage/users.h"

#define TOKEN_MAX 8192
#define TOKEN_LEEWAY_SECONDS 60
#define TOKEN_TTL_MAX_SECONDS 86400

struct token {
    const struct tenant *tenant; /* lives as long as the arena */
    struct user_id user;
    struct device_id device; /* "" = no device claim */
    char jti[129];
    char kid[65];
    int64_t exp_ms, iat_ms;
};

void tokens_start(const struct config *c);
const char *tokens_issuer(void); /* the iss of tokens that this deployment mints */

/* Verifies a token and that its user exists, is not deactivated and has not been logged out. Blocking. Cached: signatures until exp, keys 5 s, users and
 * revocations 1 s. While storage is away, what was known last holds for tokens that were verified before, until they expire. -1: MISSING_CREDENTIALS (NULL or ""), INVALID_TOKEN, UNKNOWN_KID, TOKEN_EXPIRED, TOKEN_REVOKED, USER_BANNED (deactivated), APP_SUSPENDED,
 * STORAGE_UNAVAILABLE. user_r may be NULL. */
int tokens_verify(struct arena *a, const char *text, struct token *token_r, struct user *user_r, struct err *e)
    __attribute__((warn_unused_result));

/* The claims of a token as JSON, verified or not, or NULL when it cannot be read at all; for introspection. */
json_t *tokens_claims(struct arena *a, const char *text);

/* Mints one with the app's newest active HS256 key. ttl_seconds 0 = the app's default; device NULL or "" = none. -1: VALIDATION_FAILED,
 * NOT_FOUND (no active HS256 key), INTERNAL, STORAGE_UNAVAILABLE. */
int tokens_mint(const struct tenant *t, struct arena *a, const struct user_id *user, uint32_t ttl_seconds, const char *device,
                char **text_r, int64_t *exp_ms_r, struct err *e) __attribute__((warn_unused_result));

/* Forgets cached verdicts and signing keys of an app (user NULL; all zero bits: of every app), or the verdicts of one user. */
void tokens_invalidate(const struct app_id *app, const struct user_id *user);

#endif
