/* signing.h: rows of signing_keys and revoked_tokens. */
#ifndef STORAGE_SIGNING_H
#define STORAGE_SIGNING_H

#include "core/arena.h"
#include "core/err.h"
#include "core/json.h"
#include "core/tenant.h"

struct signing_key {
    const char *kid, *alg, *issuer;
    const uint8_t *secret_sealed; /* HS256 */
    size_t secret_sealed_len;
    const char *public_pem; /* ES256, RS256 */
    json_t *public_jwk;     /* likewise, or NULL */
    int64_t created_ms, revoked_ms;
};
int signing_list(const struct tenant *t, struct arena *a, struct signing_key **k_r, int *count_r, struct err *e)
    __attribute__((warn_unused_result)); /* newest first, revoked ones too */
int signing_get(const struct tenant *t, struct arena *a, const char *kid, struct signing_key *k_r, struct err *e)
    __attribute__((warn_unused_result)); /* 1 0 -1; also revoked ones */
int signing_create(const struct tenant *t, struct arena *a, const struct signing_key *k, struct signing_key *k_r, struct err *e)
    __attribute__((warn_unused_result));
/* 1 revoked, 0 no such active key, -1 (ERR_LAST_SIGNING_KEY when it is the app's last active one). */
int signing_revoke(const struct tenant *t, struct arena *a, const char *kid, struct err *e) __attribute__((warn_unused_result));

/* Deny list of single tokens. */
int signing_revoke_token(const struct tenant *t, struct arena *a, const char *jti, int64_t expires_ms, struct err *e)
    __attribute__((warn_unused_result));
int signing_token_revoked(const struct tenant *t, struct arena *a, const char *jti, struct err *e)
    __attribute__((warn_unused_result)); /* 1 0 -1 */

#endif
