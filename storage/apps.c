#include "storage/apps.h"

#include "core/clock.h"
#include "storage/pg-private.h"

static void read_app(const struct pg_rows *r, int i, struct app *app_r)
{
    struct app app = {.name = pg_get_text(r, i, 1), .status = pg_get_text(r, i, 2)};
    pg_get_uuid(r, i, 0, app.id.b);
    app.id_key_sealed = pg_get_bytea(r, i, 3, &app.id_key_sealed_len);
    app.features = pg_get_json(r, i, 4);
    app.limits = pg_get_json(r, i, 5);
    app.metadata = pg_get_json(r, i, 6);
    app.origins = pg_get_json(r, i, 7);
    app.token_ttl_seconds = (uint32_t)pg_get_int(r, i, 8);
    app.tokens_valid_after_ms = pg_get_ms(r, i, 9);
    app.version = pg_get_int(r, i, 10);
    app.created_ms = pg_get_ms(r, i, 11);
    app.updated_ms = pg_get_ms(r, i, 12);
    app.deleted_ms = pg_get_ms(r, i, 13);
    *app_r = app;
}

json_t *app_json(struct arena *a, const struct app *app)
{
    char id[ID_TEXT_MAX], created[CLOCK_TEXT_MAX], updated[CLOCK_TEXT_MAX], deleted[CLOCK_TEXT_MAX];
    json_t *v = json_pack("{s:s, s:s, s:s, s:O, s:O, s:O, s:I, s:O, s:s, s:s}", "id", app_id_print(&app->id, id), "name", app->name,
                          "status", app->status, "features", app->features, "limits", app->limits, "origins", app->origins,
                          "token_ttl_seconds", (json_int_t)app->token_ttl_seconds, "metadata", app->metadata, "created_at",
                          clock_format(app->created_ms, created), "updated_at", clock_format(app->updated_ms, updated));
    json_own(a, v);
    if (app->deleted_ms != 0) {
        json_object_set_new(v, "deleted_at", json_string(clock_format(app->deleted_ms, deleted)));
    }
    return v;
}

int apps_create(const struct platform *p, struct arena *a, const struct app_new *n, struct app *app_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_uuid(&q, n->id.b);
    pg_text(&q, n->name);
    pg_bytea(&q, n->id_key_sealed, n->id_key_sealed_len);
    pg_json(&q, n->features);
    pg_json(&q, n->limits);
    pg_json(&q, n->metadata);
    pg_json(&q, n->origins);
    pg_uuid(&q, n->key_id.b);
    pg_json(&q, n->scopes);
    pg_text(&q, n->public_id);
    pg_bytea(&q, n->secret_sha256, 32);
    pg_text(&q, n->last4);
    pg_text(&q, n->kid);
    pg_bytea(&q, n->signing_sealed, n->signing_sealed_len);
    pg_text(&q, n->issuer);
    if (pg_query_platform(p, PG_APPS_CREATE, &q, &rows, e) < 0) {
        return -1;
    }
    read_app(&rows, 0, app_r);
    return 0;
}

int apps_list(const struct platform *p, struct arena *a, const struct apps_query *w, struct app **apps_r, int *count_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, w->status);
    pg_text(&q, w->q);
    pg_time(&q, w->after_ms);
    pg_uuid(&q, w->after_id.b);
    pg_int(&q, w->limit);
    if (pg_query_platform(p, w->descending ? PG_APPS_LIST_DESC : PG_APPS_LIST, &q, &rows, e) < 0) {
        return -1;
    }
    struct app *apps = arena_array(a, (size_t)rows.n, sizeof(*apps));
    for (int i = 0; i < rows.n; i++) {
        read_app(&rows, i, &apps[i]);
    }
    *apps_r = apps;
    *count_r = rows.n;
    return 0;
}

static int one(const struct pg_rows *rows, struct app *app_r)
{
    if (rows->n == 0) {
        return 0;
    }
    read_app(rows, 0, app_r);
    return 1;
}

int apps_find(const struct platform *p, struct arena *a, const struct app_id *id, struct app *app_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_uuid(&q, id->b);
    return pg_query_platform(p, PG_APPS_FIND, &q, &rows, e) < 0 ? -1 : one(&rows, app_r);
}

int apps_load(struct arena *a, const struct app_id *id, struct app *app_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    return pg_query_app(id, PG_APPS_LOAD, &q, &rows, e) < 0 ? -1 : one(&rows, app_r);
}

static void add_change(struct pg_args *q, const struct app_change *c, const char *status)
{
    pg_text(q, c->name);
    pg_text(q, status);
    pg_json(q, c->features);
    pg_json(q, c->limits);
    pg_json(q, c->metadata);
    pg_json(q, c->origins);
    if (c->token_ttl_seconds != 0) {
        pg_int(q, (int32_t)c->token_ttl_seconds);
    } else {
        pg_text(q, NULL);
    }
    pg_time(q, c->tokens_valid_after_ms);
    pg_bigint(q, c->expected_version);
}

static int stale(struct err *e)
{
    return err_set(e, ERR_VERSION_MISMATCH, "The app has changed meanwhile; read it again and repeat the change.");
}

int apps_update(const struct platform *p, struct arena *a, const struct app_id *id, const struct app_change *c, struct app *app_r,
                struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_uuid(&q, id->b);
    add_change(&q, c, c->status);
    if (pg_query_platform(p, PG_APPS_UPDATE, &q, &rows, e) < 0) {
        return -1;
    }
    if (rows.n > 0 || c->expected_version == 0) {
        return one(&rows, app_r);
    }
    struct app now;
    int found = apps_find(p, a, id, &now, e);
    return found == 1 ? stale(e) : found;
}

int apps_update_own(const struct tenant *t, struct arena *a, const struct app_change *c, struct app *app_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    add_change(&q, c, NULL);
    if (pg_query(t, PG_APPS_UPDATE_OWN, &q, &rows, e) < 0) {
        return -1;
    }
    if (rows.n > 0 || c->expected_version == 0) {
        return one(&rows, app_r);
    }
    struct app now;
    int found = apps_load(a, tenant_app(t), &now, e);
    return found == 1 ? stale(e) : found;
}
