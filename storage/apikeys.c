#include "storage/apikeys.h"

#include "core/clock.h"
#include "storage/pg-private.h"

#define KEY_COLUMNS 11

static void read_key(const struct pg_rows *r, int i, struct apikey *k_r)
{
    struct apikey k = {.name = pg_get_text(r, i, 1), .mode = pg_get_text(r, i, 2), .last4 = pg_get_text(r, i, 3)};
    pg_get_uuid(r, i, 0, k.id.b);
    k.scopes = pg_get_json(r, i, 4);
    k.cidrs = pg_get_json(r, i, 5);
    k.expires_ms = pg_get_ms(r, i, 6);
    k.revoked_ms = pg_get_ms(r, i, 7);
    k.last_used_ms = pg_get_ms(r, i, 8);
    k.created_ms = pg_get_ms(r, i, 9);
    k.version = pg_get_int(r, i, 10);
    *k_r = k;
}

static int one(const struct pg_rows *rows, struct apikey *k_r)
{
    if (rows->n == 0) {
        return 0;
    }
    read_key(rows, 0, k_r);
    return 1;
}

static void set_time(json_t *object, const char *name, int64_t ms)
{
    char text[CLOCK_TEXT_MAX];
    if (ms != 0) {
        json_object_set_new(object, name, json_string(clock_format(ms, text)));
    }
}

json_t *apikey_json(struct arena *a, const struct apikey *k)
{
    char id[ID_TEXT_MAX];
    json_t *v = json_own(a, json_pack("{s:s, s:s, s:s, s:O, s:O, s:s*}", "id", key_id_print(&k->id, id), "name", k->name, "mode", k->mode,
                                      "scopes", k->scopes, "cidrs", k->cidrs, "last4", k->last4));
    set_time(v, "expires_at", k->expires_ms);
    set_time(v, "revoked_at", k->revoked_ms);
    set_time(v, "last_used_at", k->last_used_ms);
    set_time(v, "created_at", k->created_ms);
    return v;
}

int apikeys_match(const struct platform *p, struct arena *a, const char *public_id, struct apikey_match **m_r, int *count_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, public_id);
    if (pg_query_platform(p, PG_APIKEYS_MATCH, &q, &rows, e) < 0) {
        return -1;
    }
    struct apikey_match *m = arena_array(a, (size_t)rows.n, sizeof(*m));
    for (int i = 0; i < rows.n; i++) {
        size_t len;
        read_key(&rows, i, &m[i].key);
        pg_get_uuid(&rows, i, KEY_COLUMNS, m[i].app.b);
        memcpy(m[i].sha256, pg_get_bytea(&rows, i, KEY_COLUMNS + 1, &len), sizeof(m[i].sha256)); /* the table holds 32 bytes by its check */
        m[i].secret_expires_ms = pg_get_ms(&rows, i, KEY_COLUMNS + 2);
    }
    *m_r = m;
    *count_r = rows.n;
    return 0;
}

int apikeys_create(const struct tenant *t, struct arena *a, const struct apikey *k, const struct apikey_secret *s, struct apikey *k_r,
                   struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_uuid(&q, k->id.b);
    pg_text(&q, k->name);
    pg_text(&q, k->mode);
    pg_json(&q, k->scopes);
    pg_json(&q, k->cidrs);
    pg_time(&q, k->expires_ms);
    pg_text(&q, s->public_id);
    pg_bytea(&q, s->sha256, 32);
    pg_text(&q, s->last4);
    if (pg_query(t, PG_APIKEYS_CREATE, &q, &rows, e) < 0) {
        return -1;
    }
    read_key(&rows, 0, k_r);
    return 0;
}

int apikeys_list(const struct tenant *t, struct arena *a, int64_t after_ms, const struct key_id *after_id, int limit, struct apikey **k_r,
                 int *count_r, struct err *e)
{
    static const struct key_id none;
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_time(&q, after_ms);
    pg_uuid(&q, after_id != NULL ? after_id->b : none.b);
    pg_int(&q, limit);
    if (pg_query(t, PG_APIKEYS_LIST, &q, &rows, e) < 0) {
        return -1;
    }
    struct apikey *k = arena_array(a, (size_t)rows.n, sizeof(*k));
    for (int i = 0; i < rows.n; i++) {
        read_key(&rows, i, &k[i]);
    }
    *k_r = k;
    *count_r = rows.n;
    return 0;
}

int apikeys_get(const struct tenant *t, struct arena *a, const struct key_id *id, struct apikey *k_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_uuid(&q, id->b);
    return pg_query(t, PG_APIKEYS_GET, &q, &rows, e) < 0 ? -1 : one(&rows, k_r);
}

int apikeys_update(const struct tenant *t, struct arena *a, const struct key_id *id, const struct apikey_change *c, struct apikey *k_r,
                   struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_uuid(&q, id->b);
    pg_text(&q, c->name);
    pg_json(&q, c->cidrs);
    pg_bool(&q, c->set_expiry);
    pg_time(&q, c->expires_ms);
    pg_bigint(&q, c->expected_version);
    if (pg_query(t, PG_APIKEYS_UPDATE, &q, &rows, e) < 0) {
        return -1;
    }
    if (rows.n > 0 || c->expected_version == 0) {
        return one(&rows, k_r);
    }
    struct apikey now;
    int found = apikeys_get(t, a, id, &now, e);
    return found == 1 ? err_set(e, ERR_VERSION_MISMATCH, "The key has changed meanwhile; read it again and repeat the change.") : found;
}

int apikeys_rotate(const struct tenant *t, struct arena *a, const struct key_id *id, const struct apikey_secret *s, int overlap_seconds,
                   struct apikey *k_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_uuid(&q, id->b);
    pg_text(&q, s->public_id);
    pg_bytea(&q, s->sha256, 32);
    pg_text(&q, s->last4);
    pg_int(&q, overlap_seconds);
    return pg_query(t, PG_APIKEYS_ROTATE, &q, &rows, e) < 0 ? -1 : one(&rows, k_r);
}

int apikeys_revoke(const struct tenant *t, struct arena *a, const struct key_id *id, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_uuid(&q, id->b);
    return pg_query(t, PG_APIKEYS_REVOKE, &q, &rows, e) < 0 ? -1 : rows.n > 0;
}

int apikeys_touch(const struct tenant *t, struct arena *a, const struct key_id *id, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_uuid(&q, id->b);
    return pg_query(t, PG_APIKEYS_TOUCH, &q, &rows, e);
}
