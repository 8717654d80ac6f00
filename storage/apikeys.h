/* apikeys.h: rows of api_keys and api_secrets. JSON shape `ApiKey`: id, name, mode, scopes, cidrs, last4, expires_at?, revoked_at?, last_used_at?, created_at
 * (and `secret` once, added by the caller). */
#ifndef STORAGE_APIKEYS_H
#define STORAGE_APIKEYS_H

#include "core/arena.h"
#include "core/err.h"
#include "core/json.h"
#include "core/tenant.h"
#include "storage/platform.h"

struct apikey {
    struct key_id id;
    const char *name, *mode, *last4;                          /* last4 of the newest secret */
    json_t *scopes, *cidrs;                                   /* arrays of strings */
    int64_t expires_ms, revoked_ms, last_used_ms, created_ms; /* 0 = none */
    int64_t version;
};
json_t *apikey_json(struct arena *a, const struct apikey *k);

/* What a presented secret belongs to. */
struct apikey_match {
    struct app_id app;
    struct apikey key;
    uint8_t sha256[32];
    int64_t secret_expires_ms; /* of this secret (rotation overlap); 0 = none */
};
/* All secrets with this public id (normally one). 0 or -1. */
int apikeys_match(const struct platform *p, struct arena *a, const char *public_id, struct apikey_match **m_r, int *count_r, struct err *e)
    __attribute__((warn_unused_result));

struct apikey_secret {
    const char *public_id, *last4;
    const uint8_t *sha256;
};
int apikeys_create(const struct tenant *t, struct arena *a, const struct apikey *k, const struct apikey_secret *s, struct apikey *k_r,
                   struct err *e) __attribute__((warn_unused_result));
/* Newest first; keyset on (created_at, id) as in apps_list. */
int apikeys_list(const struct tenant *t, struct arena *a, int64_t after_ms, const struct key_id *after_id, int limit, struct apikey **k_r,
                 int *count_r, struct err *e) __attribute__((warn_unused_result));
int apikeys_get(const struct tenant *t, struct arena *a, const struct key_id *id, struct apikey *k_r, struct err *e)
    __attribute__((warn_unused_result)); /* 1 0 -1 */
struct apikey_change {
    const char *name;    /* NULL = keep */
    const json_t *cidrs; /* NULL = keep */
    bool set_expiry;
    int64_t expires_ms;       /* 0 = none */
    int64_t expected_version; /* 0 = any */
};
/* 1 done, 0 no such key, -1 (ERR_VERSION_MISMATCH when stale). */
int apikeys_update(const struct tenant *t, struct arena *a, const struct key_id *id, const struct apikey_change *c, struct apikey *k_r,
                   struct err *e) __attribute__((warn_unused_result));
/* Adds a secret and lets the one before expire after overlap_seconds (or sooner, when it was to); still older ones end now. 1 0 -1. */
int apikeys_rotate(const struct tenant *t, struct arena *a, const struct key_id *id, const struct apikey_secret *s, int overlap_seconds,
                   struct apikey *k_r, struct err *e) __attribute__((warn_unused_result));
int apikeys_revoke(const struct tenant *t, struct arena *a, const struct key_id *id, struct err *e)
    __attribute__((warn_unused_result)); /* 1 0 -1 */
/* Coarse last use: writes at most once an hour a key. */
int apikeys_touch(const struct tenant *t, struct arena *a, const struct key_id *id, struct err *e) __attribute__((warn_unused_result));

#endif
