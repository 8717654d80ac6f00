/* The role functions of groups.h. */
#include "storage/groups.h"
#include "storage/pg-private.h"

/* Names and bits of permission_bits(), and the roles of builtin_perms(), migrations/0002. */
static const struct {
    int bit;
    const char *name;
} permissions[] = {
    {PERM_SEND, "send_messages"}, {PERM_EDIT, "edit_group"},   {PERM_MEMBERS, "manage_members"},
    {PERM_ROLES, "change_roles"}, {PERM_MODERATE, "moderate"},
};
static const struct {
    const char *name;
    int bits;
} built_in[] = {
    {"owner", 31}, {"admin", 31}, {"moderator", PERM_SEND | PERM_MODERATE}, {"member", PERM_SEND}, {"readonly", 0},
};
#define COUNT(x) (sizeof(x) / sizeof((x)[0]))

static json_t *role_json(const char *name, json_t *names, bool is_built_in)
{
    return json_pack("{s:s, s:o, s:b}", "name", name, "permissions", names, "built_in", is_built_in);
}

static json_t *permission_names(int bits)
{
    json_t *names = json_array();
    for (size_t i = 0; i < COUNT(permissions); i++) {
        if ((bits & permissions[i].bit) != 0) {
            json_array_append_new(names, json_string(permissions[i].name));
        }
    }
    return names;
}

static int find_row(const struct pg_rows *rows, const char *name)
{
    for (int i = 0; i < rows->n; i++) {
        if (strcmp(pg_get_text(rows, i, 0), name) == 0) {
            return i;
        }
    }
    return -1;
}

static bool is_built_in(const char *name)
{
    for (size_t i = 0; i < COUNT(built_in); i++) {
        if (strcmp(built_in[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

int groups_roles(const struct tenant *t, struct arena *a, json_t **roles_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    if (pg_query(t, PG_ROLES_LIST, &q, &rows, e) < 0) {
        return -1;
    }
    json_t *roles = json_own(a, json_array());
    for (size_t b = 0; b < COUNT(built_in); b++) {
        int i = find_row(&rows, built_in[b].name);
        json_t *names = i >= 0 ? json_incref(pg_get_json(&rows, i, 1)) : permission_names(built_in[b].bits);
        json_array_append_new(roles, role_json(built_in[b].name, names, true));
    }
    for (int i = 0; i < rows.n; i++) {
        if (!is_built_in(pg_get_text(&rows, i, 0))) {
            json_array_append_new(roles, role_json(pg_get_text(&rows, i, 0), json_incref(pg_get_json(&rows, i, 1)), false));
        }
    }
    *roles_r = roles;
    return 0;
}

int groups_role_put(const struct tenant *t, struct arena *a, const char *name, const json_t *names, bool *made_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, name);
    pg_json(&q, names);
    if (pg_query(t, PG_ROLES_PUT, &q, &rows, e) < 0) {
        return -1;
    }
    *made_r = pg_get_int(&rows, 0, 0) != 0;
    return 0;
}

int groups_role_delete(const struct tenant *t, struct arena *a, const char *name, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, name);
    if (pg_query(t, PG_ROLES_DELETE, &q, &rows, e) < 0) {
        return -1;
    }
    if (pg_get_int(&rows, 0, 0) > 0) {
        return 1;
    }
    return pg_get_int(&rows, 0, 1) != 0 ? err_set(e, ERR_ALREADY_EXISTS, "The role is in use; give its members another role first.") : 0;
}
