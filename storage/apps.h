/* apps.h: rows of apps. JSON shape `App`: id, name, status, features, limits, origins, token_ttl_seconds, metadata, created_at, updated_at, deleted_at?. */
#ifndef STORAGE_APPS_H
#define STORAGE_APPS_H

#include "core/arena.h"
#include "core/err.h"
#include "core/json.h"
#include "core/tenant.h"
#include "storage/platform.h"

struct app {
    struct app_id id;
    const char *name;
    const char *status; /* active, suspended, deleted */
    const uint8_t *id_key_sealed;
    size_t id_key_sealed_len;
    json_t *features, *limits, *metadata, *origins; /* origins: array or JSON null */
    uint32_t token_ttl_seconds;
    int64_t tokens_valid_after_ms; /* 0 = none */
    int64_t version;
    int64_t created_ms, updated_ms, deleted_ms; /* deleted_ms 0 = not */
};

json_t *app_json(struct arena *a, const struct app *app);

/* A new app with its first API key (all scopes) and its first HS256 signing key, in one transaction. */
struct app_new {
    struct app_id id;
    const char *name;
    const uint8_t *id_key_sealed;
    size_t id_key_sealed_len;
    const json_t *features, *limits, *metadata, *origins; /* NULL = default */
    struct key_id key_id;
    const char *public_id; /* 12 base62 */
    const uint8_t *secret_sha256;
    const char *last4;
    const json_t *scopes; /* array of strings */
    const char *kid;
    const uint8_t *signing_sealed;
    size_t signing_sealed_len;
    const char *issuer;
};
int apps_create(const struct platform *p, struct arena *a, const struct app_new *n, struct app *app_r, struct err *e)
    __attribute__((warn_unused_result));

/* Filters of GET /v1/apps: status, q (substring of name); NULL = any. Keyset on (created_at, id): after_ms/after_id of the last row seen, newest first
 * when descending. Up to `limit` rows. */
struct apps_query {
    const char *status, *q;
    bool descending;
    int64_t after_ms; /* 0 = from the start */
    struct app_id after_id;
    int limit;
};
int apps_list(const struct platform *p, struct arena *a, const struct apps_query *q, struct app **apps_r, int *count_r, struct err *e)
    __attribute__((warn_unused_result));

/* 1 found, 0 no such app, -1. apps_get is for the registry and for the app itself; apps_find for the operator. */
int apps_find(const struct platform *p, struct arena *a, const struct app_id *id, struct app *app_r, struct err *e)
    __attribute__((warn_unused_result));
int apps_load(struct arena *a, const struct app_id *id, struct app *app_r, struct err *e)
    __attribute__((warn_unused_result)); /* registry only */

/* Replaces what is not NULL/0. expected_version 0 = any. 1 done, 0 no such app, -1 (ERR_VERSION_MISMATCH when stale). */
struct app_change {
    const char *name, *status;                            /* status "deleted" also sets deleted_at */
    const json_t *features, *limits, *metadata, *origins; /* origins may be JSON null */
    uint32_t token_ttl_seconds;
    int64_t tokens_valid_after_ms;
    int64_t expected_version;
};
int apps_update(const struct platform *p, struct arena *a, const struct app_id *id, const struct app_change *c, struct app *app_r,
                struct err *e) __attribute__((warn_unused_result));
int apps_update_own(const struct tenant *t, struct arena *a, const struct app_change *c, struct app *app_r, struct err *e)
    __attribute__((warn_unused_result)); /* as the app itself: never status */

#endif
