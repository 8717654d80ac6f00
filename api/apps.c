/* apps.c: apps as the operator sees them, and an app as it sees itself. */
#include "api/after.h"
#include "api/page.h"
#include "api/routes.h"
#include "storage/apps.h"
#include "tenants/registry.h"
#include "tenants/signing_keys.h"

static int app_param(struct req *r, struct app_id *id_r, struct err *e)
{
    return app_id_parse(req_param(r, "app_id"), id_r) == 0 ? 0 : err_set(e, ERR_NOT_FOUND, "There is no such app.");
}

static int find_app(struct req *r, struct app *app_r, struct err *e)
{
    struct app_id id;
    if (app_param(r, &id, e) < 0) {
        return -1;
    }
    int found = apps_find(platform_get(), r->arena, &id, app_r, e);
    return found == 0 ? err_set(e, ERR_NOT_FOUND, "There is no such app.") : found < 0 ? -1 : 0;
}

int api_apps_list(struct req *r, struct err *e)
{
    struct page page;
    if (page_start(r, &page, e) < 0) {
        return -1;
    }
    struct apps_query q = {.status = json_str(r->query, "status", NULL), .q = json_str(r->query, "q", NULL)};
    q.descending = strcmp(json_str(r->query, "sort", "-created_at"), "-created_at") == 0;
    q.limit = page.limit + 1;
    if (page.continued) {
        q.after_ms = page.at.ms;
        if (app_id_parse(page.at.id, &q.after_id) < 0) {
            return err_set(e, ERR_INVALID_CURSOR, "The cursor names no app.");
        }
    }
    struct app *apps;
    int count;
    if (apps_list(platform_get(), r->arena, &q, &apps, &count, e) < 0) {
        return -1;
    }
    json_t *data = json_own(r->arena, json_array());
    struct cursor last = {.ms = 0};
    int shown = count < page.limit ? count : page.limit;
    for (int i = 0; i < shown; i++) {
        json_array_append(data, app_json(r->arena, &apps[i]));
        last.ms = apps[i].created_ms;
        app_id_print(&apps[i].id, last.id);
    }
    return page_reply(r, &page, data, count > shown, &last);
}

int api_apps_create(struct req *r, struct err *e)
{
    const json_t *features = json_object_get(r->body, "features"), *limits = json_object_get(r->body, "limits");
    const json_t *origins = json_object_get(r->body, "origins"), *metadata = json_object_get(r->body, "metadata");
    struct app app;
    json_t *key;
    char id[ID_TEXT_MAX];
    if (req_check_size(r, metadata, METADATA_MAX, "/metadata", e) < 0 || registry_check_settings(features, limits, origins, e) < 0) {
        return -1;
    }
    if (signing_keys_provision(platform_get(), r->arena, json_str(r->body, "name", ""), features, limits, metadata, origins, &app, &key,
                               e) < 0) {
        return -1;
    }
    json_t *body = app_json(r->arena, &app);
    json_object_set(body, "initial_key", key);
    reply_location(r, "/v1/apps/%s", app_id_print(&app.id, id));
    return reply_resource(r, 201, body, app.version);
}

int api_apps_read(struct req *r, struct err *e)
{
    struct app app;
    if (find_app(r, &app, e) < 0) {
        return -1;
    }
    return reply_resource(r, 200, app_json(r->arena, &app), app.version);
}

/* ---- changes ---- */

/* The members a merge patch works on. */
static json_t *writable(struct req *r, const struct app *app, bool by_operator)
{
    json_t *v =
        json_own(r->arena, json_pack("{s:s, s:O, s:O, s:I, s:O}", "name", app->name, "features", app->features, "origins", app->origins,
                                     "token_ttl_seconds", (json_int_t)app->token_ttl_seconds, "metadata", app->metadata));
    if (by_operator) {
        json_object_set_new(v, "status", json_string(app->status));
        json_object_set(v, "limits", app->limits);
    }
    return json_own(r->arena, json_deep_copy(v));
}

static int patched(struct req *r, const struct app *app, bool by_operator, struct app_change *c_r, struct err *e)
{
    json_t *v = writable(r, app, by_operator);
    struct app_change c = {.expected_version = app->version};
    json_merge_patch(v, r->body);
    const json_t *features = json_object_get(v, "features"), *limits = json_object_get(v, "limits"),
                 *origins = json_object_get(v, "origins");
    if (req_check_version(r, app->version, e) < 0) {
        return -1;
    }
    /* null removes: the field goes back to its default */
    c.features = features != NULL ? features : json_own(r->arena, json_object());
    c.limits = !by_operator ? NULL : limits != NULL ? limits : json_own(r->arena, json_object());
    c.origins = origins != NULL ? origins : json_null();
    c.metadata = json_object_get(v, "metadata") != NULL ? json_object_get(v, "metadata") : json_own(r->arena, json_object());
    c.name = json_str(v, "name", NULL);
    c.status = by_operator ? json_str(v, "status", NULL) : NULL;
    c.token_ttl_seconds = (uint32_t)json_int(v, "token_ttl_seconds", 3600);
    if (req_check(r, "AppFields", v, e) < 0 || req_check_size(r, c.metadata, METADATA_MAX, "/metadata", e) < 0 ||
        registry_check_settings(c.features, c.limits, json_is_null(c.origins) ? NULL : c.origins, e) < 0) {
        return -1;
    }
    *c_r = c;
    return 0;
}

static int missing_app(struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "There is no such app.");
}

int api_apps_update(struct req *r, struct err *e)
{
    struct app app;
    struct app_change c;
    for (int attempt = 0;; attempt++) {
        if (find_app(r, &app, e) < 0) {
            return -1;
        }
        if (strcmp(app.status, "deleted") == 0) {
            return err_set(e, ERR_APP_SUSPENDED, "The app is deleted and cannot be changed.");
        }
        if (patched(r, &app, true, &c, e) < 0) {
            return -1;
        }
        int done = apps_update(platform_get(), r->arena, &app.id, &c, &app, e);
        if (done == 1) {
            break;
        }
        if (done == 0) {
            return missing_app(e);
        }
        if (!req_overtaken(r, attempt, e)) {
            return -1;
        }
    }
    after_app(&app.id);
    return reply_resource(r, 200, app_json(r->arena, &app), app.version);
}

int api_apps_delete(struct req *r, struct err *e)
{
    struct app app;
    if (find_app(r, &app, e) < 0) {
        return -1;
    }
    if (strcmp(json_str(r->query, "confirm", ""), app.name) != 0) {
        return err_at(e, ERR_VALIDATION_FAILED, "/confirm", "It must be the app's name.");
    }
    struct app_change c = {.status = "deleted"};
    if (strcmp(app.status, "deleted") != 0) {
        int done = apps_update(platform_get(), r->arena, &app.id, &c, &app, e);
        if (done != 1) {
            return done == 0 ? missing_app(e) : -1;
        }
    }
    after_app(&app.id);
    return reply_resource(r, 202, app_json(r->arena, &app), app.version);
}

/* ---- the app itself ---- */

static int own_app(struct req *r, struct app *app_r, struct err *e)
{
    int found = apps_load(r->arena, tenant_app(r->tenant), app_r, e);
    return found == 1 ? 0 : found == 0 ? missing_app(e) : -1;
}

int api_app_read(struct req *r, struct err *e)
{
    struct app app;
    if (own_app(r, &app, e) < 0) {
        return -1;
    }
    return reply_resource(r, 200, app_json(r->arena, &app), app.version);
}

int api_app_update(struct req *r, struct err *e)
{
    struct app app;
    struct app_change c;
    for (int attempt = 0;; attempt++) {
        if (own_app(r, &app, e) < 0 || patched(r, &app, false, &c, e) < 0) {
            return -1;
        }
        int done = apps_update_own(r->tenant, r->arena, &c, &app, e);
        if (done == 1) {
            break;
        }
        if (done == 0) {
            return missing_app(e);
        }
        if (!req_overtaken(r, attempt, e)) {
            return -1;
        }
    }
    after_app(&app.id);
    return reply_resource(r, 200, app_json(r->arena, &app), app.version);
}
