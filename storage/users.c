#include "storage/users.h"

#include "core/clock.h"
#include "storage/pg-private.h"

#define USER_COLUMNS 12

static void read_user(const struct pg_rows *r, int i, struct user *user_r)
{
    struct user u = {
        .name = pg_get_text(r, i, 1), .role = pg_get_text(r, i, 2), .avatar_url = pg_get_text(r, i, 3), .language = pg_get_text(r, i, 4)};
    pg_get_id(r, i, 0, u.id.s, sizeof(u.id.s));
    u.metadata = pg_get_json(r, i, 5);
    u.version = pg_get_int(r, i, 6);
    u.created_ms = pg_get_ms(r, i, 7);
    u.updated_ms = pg_get_ms(r, i, 8);
    u.deactivated_ms = pg_get_ms(r, i, 9);
    u.last_active_ms = pg_get_ms(r, i, 10);
    u.tokens_valid_after_ms = pg_get_ms(r, i, 11);
    *user_r = u;
}

static int one(const struct pg_rows *rows, struct user *user_r)
{
    if (rows->n == 0) {
        return 0;
    }
    read_user(rows, 0, user_r);
    return 1;
}

json_t *user_json(struct arena *a, const struct user *u)
{
    char created[CLOCK_TEXT_MAX], updated[CLOCK_TEXT_MAX], deactivated[CLOCK_TEXT_MAX];
    json_t *v =
        json_pack("{s:s, s:s, s:s*, s:s, s:s, s:s*, s:O, s:s, s:s}", "id", u->id.s, "name", u->name, "avatar_url", u->avatar_url, "role",
                  u->role, "status", u->deactivated_ms != 0 ? "deactivated" : "active", "language", u->language, "metadata", u->metadata,
                  "created_at", clock_format(u->created_ms, created), "updated_at", clock_format(u->updated_ms, updated));
    json_own(a, v);
    if (u->deactivated_ms != 0) {
        json_object_set_new(v, "deactivated_at", json_string(clock_format(u->deactivated_ms, deactivated)));
    }
    return v;
}

int users_upsert(const struct tenant *t, struct arena *a, const struct user_change *c, int n, struct user *users_r, bool *made_r,
                 struct err *e)
{
    struct pg_array ids = pg_array(a, PG_TYPE_TEXT, n), names = pg_array(a, PG_TYPE_TEXT, n), roles = pg_array(a, PG_TYPE_TEXT, n),
                    avatars = pg_array(a, PG_TYPE_TEXT, n), languages = pg_array(a, PG_TYPE_TEXT, n),
                    metadata = pg_array(a, PG_TYPE_TEXT, n);
    for (int i = 0; i < n; i++) {
        pg_add_text(&ids, c[i].id.s);
        pg_add_text(&names, c[i].name);
        pg_add_text(&roles, c[i].role);
        pg_add_text(&avatars, c[i].avatar_url);
        pg_add_text(&languages, c[i].language);
        pg_add_text(&metadata, c[i].metadata != NULL ? json_write(a, c[i].metadata, NULL) : NULL);
    }
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_array_arg(&q, &ids);
    pg_array_arg(&q, &names);
    pg_array_arg(&q, &roles);
    pg_array_arg(&q, &avatars);
    pg_array_arg(&q, &languages);
    pg_array_arg(&q, &metadata);
    if (pg_query(t, PG_USERS_UPSERT, &q, &rows, e) < 0) {
        return -1;
    }
    for (int i = 0; i < rows.n && i < n; i++) {
        read_user(&rows, i, &users_r[i]);
        made_r[i] = pg_get_int(&rows, i, USER_COLUMNS) != 0;
    }
    return 0;
}

int users_update(const struct tenant *t, struct arena *a, const struct user_change *c, struct user *user_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, c->id.s);
    pg_text(&q, c->name);
    pg_text(&q, c->role);
    pg_text(&q, c->avatar_url);
    pg_text(&q, c->language);
    pg_json(&q, c->metadata);
    pg_bigint(&q, c->expected_version);
    if (pg_query(t, PG_USERS_UPDATE, &q, &rows, e) < 0) {
        return -1;
    }
    if (rows.n > 0 || c->expected_version == 0) {
        return one(&rows, user_r);
    }
    struct user now;
    int found = users_get(t, a, &c->id, &now, e);
    return found == 1 ? err_set(e, ERR_VERSION_MISMATCH, "The user has changed meanwhile; read it again and repeat the change.") : found;
}

int users_get(const struct tenant *t, struct arena *a, const struct user_id *id, struct user *user_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, id->s);
    return pg_query(t, PG_USERS_GET, &q, &rows, e) < 0 ? -1 : one(&rows, user_r);
}

int users_list(const struct tenant *t, struct arena *a, const struct users_query *w, struct user **users_r, int *count_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, w->role);
    pg_text(&q, w->status);
    pg_text(&q, w->q);
    pg_time(&q, w->created_after_ms);
    pg_time(&q, w->last_active_after_ms);
    pg_time(&q, w->after_ms);
    pg_text(&q, w->after_id);
    pg_int(&q, w->limit);
    if (pg_query(t, w->descending ? PG_USERS_LIST_DESC : PG_USERS_LIST, &q, &rows, e) < 0) {
        return -1;
    }
    struct user *users = arena_array(a, (size_t)rows.n, sizeof(*users));
    for (int i = 0; i < rows.n; i++) {
        read_user(&rows, i, &users[i]);
    }
    *users_r = users;
    *count_r = rows.n;
    return 0;
}

int users_set_active(const struct tenant *t, struct arena *a, const struct user_id *id, bool active, struct user *user_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, id->s);
    return pg_query(t, active ? PG_USERS_ACTIVATE : PG_USERS_DEACTIVATE, &q, &rows, e) < 0 ? -1 : one(&rows, user_r);
}

int users_revoke_tokens(const struct tenant *t, struct arena *a, const struct user_id *id, int64_t issued_before_ms, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, id->s);
    pg_time(&q, issued_before_ms);
    return pg_query(t, PG_USERS_REVOKE_TOKENS, &q, &rows, e) < 0 ? -1 : rows.n > 0;
}
