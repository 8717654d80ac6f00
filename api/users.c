/* users.c: the people of an app, and a user's view of himself. */
#include "api/after.h"
#include "api/page.h"
#include "api/problem.h"
#include "api/routes.h"
#include "core/clock.h"
#include "storage/presence.h"

static int no_user(struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "There is no such user in this app.");
}

static int find_user(struct req *r, struct user *user_r, struct err *e)
{
    struct user_id id;
    if (req_param_user(r, "user_id", &id, e) < 0) {
        return -1;
    }
    int found = users_get(r->tenant, r->arena, &id, user_r, e);
    return found == 1 ? 0 : found == 0 ? no_user(e) : -1;
}

/* ---- list and read ---- */

static void list_query(struct req *r, const struct page *page, struct users_query *q_r)
{
    *q_r = (struct users_query){
        .role = json_str(r->query, "role", NULL),
        .status = json_str(r->query, "status", NULL),
        .q = json_str(r->query, "q", NULL),
        .created_after_ms = req_time(r->query, "created_after"),
        .last_active_after_ms = req_time(r->query, "last_active_after"),
        .descending = strcmp(json_str(r->query, "sort", "created_at"), "-created_at") == 0,
        .after_ms = page->at.ms,
        .after_id = page->continued ? page->at.id : "",
        .limit = page->limit + 1,
    };
}

int api_users_list(struct req *r, struct err *e)
{
    struct page page;
    struct users_query q;
    struct user *users;
    int count;
    if (page_start(r, &page, e) < 0) {
        return -1;
    }
    list_query(r, &page, &q);
    if (users_list(r->tenant, r->arena, &q, &users, &count, e) < 0) {
        return -1;
    }
    json_t *data = json_own(r->arena, json_array());
    struct cursor last = {.ms = 0};
    int shown = count < page.limit ? count : page.limit;
    for (int i = 0; i < shown; i++) {
        json_array_append(data, user_json(r->arena, &users[i]));
        last.ms = users[i].created_ms;
        snprintf(last.id, sizeof(last.id), "%s", users[i].id.s);
    }
    return page_reply(r, &page, data, count > shown, &last);
}

static int add_presence(struct req *r, const struct user *u, json_t *body, struct err *e)
{
    struct presence p;
    if (!tenant_has(r->tenant, FEATURE_PRESENCE)) {
        r->extra_name = "feature";
        r->extra_value = feature_name(FEATURE_PRESENCE);
        return err_set(e, ERR_FEATURE_DISABLED, "The app has switched off the feature presence.");
    }
    if (presence_get(r->tenant, r->arena, &u->id, 1, &p, e) < 0) {
        return -1;
    }
    json_object_set(body, "presence", presence_json(r->arena, &p));
    return 0;
}

int api_users_read(struct req *r, struct err *e)
{
    struct user u;
    if (find_user(r, &u, e) < 0) {
        return -1;
    }
    json_t *body = user_json(r->arena, &u);
    if (json_array_size(json_object_get(r->query, "include")) > 0) {
        return add_presence(r, &u, body, e) < 0 ? -1 : reply_json(r, 200, body); /* presence is not part of the version */
    }
    return reply_resource(r, 200, body, u.version);
}

/* ---- create and change ---- */

/* null clears avatar_url and language: storage takes "" for that. */
static const char *text_or_clear(const json_t *fields, const char *name)
{
    return json_is_null(json_object_get(fields, name)) ? "" : json_str(fields, name, NULL);
}

static struct user_change change_of(const json_t *fields, const struct user_id *id)
{
    return (struct user_change){
        .id = *id,
        .name = json_str(fields, "name", NULL),
        .role = json_str(fields, "role", NULL),
        .avatar_url = text_or_clear(fields, "avatar_url"),
        .language = text_or_clear(fields, "language"),
        .metadata = json_object_get(fields, "metadata"),
    };
}

int api_users_upsert(struct req *r, struct err *e)
{
    struct user_id id;
    struct user u;
    bool made;
    if (req_param_user(r, "user_id", &id, e) < 0 ||
        req_check_size(r, json_object_get(r->body, "metadata"), METADATA_MAX, "/metadata", e) < 0) {
        return -1;
    }
    struct user_change c = change_of(r->body, &id);
    if (users_upsert(r->tenant, r->arena, &c, 1, &u, &made, e) < 0) {
        return -1;
    }
    if (!made) {
        after_user(tenant_app(r->tenant), &id);
    }
    return reply_resource(r, made ? 201 : 200, user_json(r->arena, &u), u.version);
}

/* One item of a batch: 0, or -1 and why it is left out. */
static int batch_item(struct req *r, const json_t *items, size_t i, struct user_change *c_r, struct err *e)
{
    const json_t *item = json_array_get(items, i);
    struct user_id id;
    if (user_id_parse(json_str(item, "id", ""), &id) < 0) {
        return err_at(e, ERR_VALIDATION_FAILED, "/id", "It must be 1 to 128 of A-Z a-z 0-9 @ . _ : -.");
    }
    for (size_t j = 0; j < i; j++) {
        if (strcmp(json_str(json_array_get(items, j), "id", ""), id.s) == 0) {
            return err_at(e, ERR_VALIDATION_FAILED, "/id", "The same id stands earlier in this batch.");
        }
    }
    if (req_check_size(r, json_object_get(item, "metadata"), METADATA_MAX, "/metadata", e) < 0) {
        return -1;
    }
    *c_r = change_of(item, &id);
    return 0;
}

int api_users_batch(struct req *r, struct err *e)
{
    const json_t *items = json_object_get(r->body, "items");
    struct user_change changes[BATCH_MAX];
    struct user users[BATCH_MAX];
    bool made[BATCH_MAX];
    int at[BATCH_MAX], n = 0;
    json_t *results = json_own(r->arena, json_array());
    for (size_t i = 0; i < json_array_size(items); i++) {
        struct err why = {0};
        json_t *one = json_pack("{s:I}", "index", (json_int_t)i);
        json_array_append_new(results, one);
        if (batch_item(r, items, i, &changes[n], &why) == 0) {
            at[n++] = (int)i;
        } else {
            json_object_set_new(one, "status", json_integer(err_http_status(why.code)));
            json_object_set(one, "problem", problem_json(r->arena, &why));
        }
    }
    if (n > 0 && users_upsert(r->tenant, r->arena, changes, n, users, made, e) < 0) {
        return -1;
    }
    for (int i = 0; i < n; i++) {
        json_t *one = json_array_get(results, (size_t)at[i]);
        json_object_set_new(one, "status", json_integer(made[i] ? 201 : 200));
        json_object_set_new(one, "id", json_string(changes[i].id.s));
        if (!made[i]) {
            after_user(tenant_app(r->tenant), &changes[i].id);
        }
    }
    return reply_json(r, 207, json_own(r->arena, json_pack("{s:O}", "results", results)));
}

/* What a merge patch works on. */
static json_t *writable(struct req *r, const struct user *u)
{
    json_t *v = json_pack("{s:s, s:s, s:s*, s:s*, s:o}", "name", u->name, "role", u->role, "avatar_url", u->avatar_url, "language",
                          u->language, "metadata", json_deep_copy(u->metadata));
    return json_own(r->arena, v);
}

static int patch_user(struct req *r, struct user *u, struct err *e)
{
    json_t *v = writable(r, u);
    if (req_check_version(r, u->version, e) < 0) {
        return -1;
    }
    json_merge_patch(v, r->body);
    if (req_check(r, "UserFields", v, e) < 0 || req_check_size(r, json_object_get(v, "metadata"), METADATA_MAX, "/metadata", e) < 0) {
        return -1;
    }
    struct user_change c = change_of(v, &u->id);
    c.name = json_str(v, "name", "");
    c.role = json_str(v, "role", "user");
    c.avatar_url = json_str(v, "avatar_url", "");
    c.language = json_str(v, "language", "");
    c.metadata = c.metadata != NULL ? c.metadata : json_own(r->arena, json_object());
    c.expected_version = u->version;
    int done = users_update(r->tenant, r->arena, &c, u, e);
    return done == 1 ? 0 : done == 0 ? no_user(e) : -1;
}

/* A patch that somebody overtook is made again on the newer row. */
static int patch_until_done(struct req *r, const struct user_id *id, struct err *e)
{
    struct user u;
    for (int attempt = 0;; attempt++) {
        int found = users_get(r->tenant, r->arena, id, &u, e);
        if (found != 1) {
            return found == 0 ? no_user(e) : -1;
        }
        if (patch_user(r, &u, e) == 0) {
            break;
        }
        if (!req_overtaken(r, attempt, e)) {
            return -1;
        }
    }
    after_user(tenant_app(r->tenant), id);
    return reply_resource(r, 200, user_json(r->arena, &u), u.version);
}

int api_users_update(struct req *r, struct err *e)
{
    struct user_id id;
    return req_param_user(r, "user_id", &id, e) < 0 ? -1 : patch_until_done(r, &id, e);
}

/* ---- deactivate and reactivate ---- */

static int set_active(struct req *r, bool active, int status, struct err *e)
{
    struct user_id id;
    struct user u;
    if (req_param_user(r, "user_id", &id, e) < 0) {
        return -1;
    }
    int done = users_set_active(r->tenant, r->arena, &id, active, &u, e);
    if (done != 1) {
        return done == 0 ? no_user(e) : -1;
    }
    after_user(tenant_app(r->tenant), &id);
    return reply_resource(r, status, user_json(r->arena, &u), u.version);
}

int api_users_deactivate(struct req *r, struct err *e)
{
    return set_active(r, false, 202, e);
}

int api_users_reactivate(struct req *r, struct err *e)
{
    return set_active(r, true, 200, e);
}

/* ---- me ---- */

/* Read anew: the row behind the token may be some seconds old. */
int api_me_read(struct req *r, struct err *e)
{
    struct user u;
    int found = users_get(r->tenant, r->arena, &r->user.id, &u, e);
    if (found != 1) {
        return found == 0 ? no_user(e) : -1;
    }
    return reply_resource(r, 200, user_json(r->arena, &u), u.version);
}

int api_me_update(struct req *r, struct err *e)
{
    return patch_until_done(r, &r->user.id, e);
}
