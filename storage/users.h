/* users.h: rows of users. JSON shape `User`: id, name, avatar_url?, role, status, language?, metadata?, created_at, updated_at, deactivated_at?. */
#ifndef STORAGE_USERS_H
#define STORAGE_USERS_H

#include "core/arena.h"
#include "core/err.h"
#include "core/json.h"
#include "core/tenant.h"

struct user {
    struct user_id id;
    const char *name, *role;
    const char *avatar_url, *language; /* NULL = none */
    json_t *metadata;
    int64_t version, created_ms, updated_ms, deactivated_ms, last_active_ms, tokens_valid_after_ms; /* 0 = none */
};
json_t *user_json(struct arena *a, const struct user *u); /* status: "active" or "deactivated" */

/* A field that is NULL is kept (update) or gets its default (insert); avatar_url and language "" = clear. */
struct user_change {
    struct user_id id;
    const char *name, *role, *avatar_url, *language;
    const json_t *metadata;
    int64_t expected_version; /* 0 = any; only users_update */
};
/* Inserts or updates each of n users in one statement. made_r[i] tells whether it is new. Ids must differ from each other. */
int users_upsert(const struct tenant *t, struct arena *a, const struct user_change *c, int n, struct user *users_r, bool *made_r,
                 struct err *e) __attribute__((warn_unused_result));
int users_update(const struct tenant *t, struct arena *a, const struct user_change *c, struct user *user_r, struct err *e)
    __attribute__((warn_unused_result)); /* 1 0 -1 */
int users_get(const struct tenant *t, struct arena *a, const struct user_id *id, struct user *user_r, struct err *e)
    __attribute__((warn_unused_result)); /* 1 0 -1 */

struct users_query {
    const char *role, *status, *q;                  /* NULL = any; q: prefix of the id or substring of the name */
    int64_t created_after_ms, last_active_after_ms; /* 0 = any */
    bool descending;
    int64_t after_ms;
    const char *after_id; /* keyset (created_at, user_id) */
    int limit;
};
int users_list(const struct tenant *t, struct arena *a, const struct users_query *q, struct user **users_r, int *count_r, struct err *e)
    __attribute__((warn_unused_result));

/* active=false: sets deactivated_at and takes the user's permissions away; true: the reverse. 1 0 -1. Idempotent. */
int users_set_active(const struct tenant *t, struct arena *a, const struct user_id *id, bool active, struct user *user_r, struct err *e)
    __attribute__((warn_unused_result));
/* Tokens issued before are refused from now on. 1 0 -1. */
int users_revoke_tokens(const struct tenant *t, struct arena *a, const struct user_id *id, int64_t issued_before_ms, struct err *e)
    __attribute__((warn_unused_result));

#endif
