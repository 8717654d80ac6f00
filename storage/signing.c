#include "storage/signing.h"

#include "storage/pg-private.h"

static void read_key(const struct pg_rows *r, int i, struct signing_key *k_r)
{
    struct signing_key k = {.kid = pg_get_text(r, i, 0), .alg = pg_get_text(r, i, 1), .issuer = pg_get_text(r, i, 2)};
    k.secret_sealed = pg_get_bytea(r, i, 3, &k.secret_sealed_len);
    k.public_pem = pg_get_text(r, i, 4);
    k.public_jwk = pg_is_null(r, i, 5) ? NULL : pg_get_json(r, i, 5);
    k.created_ms = pg_get_ms(r, i, 6);
    k.revoked_ms = pg_get_ms(r, i, 7);
    *k_r = k;
}

int signing_list(const struct tenant *t, struct arena *a, struct signing_key **k_r, int *count_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    if (pg_query(t, PG_SIGNING_LIST, &q, &rows, e) < 0) {
        return -1;
    }
    struct signing_key *k = arena_array(a, (size_t)rows.n, sizeof(*k));
    for (int i = 0; i < rows.n; i++) {
        read_key(&rows, i, &k[i]);
    }
    *k_r = k;
    *count_r = rows.n;
    return 0;
}

int signing_get(const struct tenant *t, struct arena *a, const char *kid, struct signing_key *k_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, kid);
    if (pg_query(t, PG_SIGNING_GET, &q, &rows, e) < 0) {
        return -1;
    }
    if (rows.n == 0) {
        return 0;
    }
    read_key(&rows, 0, k_r);
    return 1;
}

int signing_create(const struct tenant *t, struct arena *a, const struct signing_key *k, struct signing_key *k_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, k->kid);
    pg_text(&q, k->alg);
    pg_text(&q, k->issuer);
    pg_bytea(&q, k->secret_sealed, k->secret_sealed_len);
    pg_text(&q, k->public_pem);
    pg_json(&q, k->public_jwk);
    if (pg_query(t, PG_SIGNING_CREATE, &q, &rows, e) < 0) {
        return -1;
    }
    read_key(&rows, 0, k_r);
    return 0;
}

int signing_revoke(const struct tenant *t, struct arena *a, const char *kid, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, kid);
    if (pg_query(t, PG_SIGNING_REVOKE, &q, &rows, e) < 0) {
        return -1;
    }
    if (pg_get_int(&rows, 0, 0) == 0) {
        return 0;
    }
    return pg_get_int(&rows, 0, 1) > 0 ? 1 : err_set(e, ERR_LAST_SIGNING_KEY, "Add another signing key before revoking this one.");
}

int signing_revoke_token(const struct tenant *t, struct arena *a, const char *jti, int64_t expires_ms, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, jti);
    pg_time(&q, expires_ms);
    return pg_query(t, PG_SIGNING_REVOKE_TOKEN, &q, &rows, e);
}

int signing_token_revoked(const struct tenant *t, struct arena *a, const char *jti, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, jti);
    return pg_query(t, PG_SIGNING_TOKEN_REVOKED, &q, &rows, e) < 0 ? -1 : rows.n > 0;
}
