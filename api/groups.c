/* groups.c: groups and the roles of an app. */
#include "api/after.h"
#include "api/conv.h"
#include "api/page.h"
#include "api/routes.h"
#include "storage/groupmap.h"

#define ANNOUNCED_AT_ONCE 500

/* ---- list and read ---- */

int api_groups_list(struct req *r, struct err *e)
{
    struct page page;
    struct user_id member;
    const char *who = json_str(r->query, "member", NULL);
    if (page_start(r, &page, e) < 0) {
        return -1;
    }
    struct groups_query q = {.external_id = json_str(r->query, "external_id", NULL),
                             .updated_after_ms = req_time(r->query, "updated_after")};
    q.limit = page.limit + 1;
    q.after_ms = page.at.ms;
    if (who != NULL && user_id_parse(who, &member) == 0) {
        q.member = &member;
    }
    if (page.continued && conv_id_parse(page.at.id, &q.after_id) < 0) {
        return err_set(e, ERR_INVALID_CURSOR, "The cursor names no group.");
    }
    struct conversation *groups;
    int count;
    if (groups_list(r->tenant, r->arena, &q, &groups, &count, e) < 0) {
        return -1;
    }
    json_t *data = json_own(r->arena, json_array());
    struct cursor last = {.ms = 0};
    int shown = count < page.limit ? count : page.limit;
    for (int i = 0; i < shown; i++) {
        json_array_append(data, conversation_json(r->arena, &groups[i]));
        last.ms = groups[i].created_ms;
        conv_id_print(&groups[i].id, last.id);
    }
    return page_reply(r, &page, data, count > shown, &last);
}

int api_groups_read(struct req *r, struct err *e)
{
    struct conversation c;
    if (conv_find(r, "group_id", &c, NULL, e) < 0) {
        return -1;
    }
    return conv_reply(r, 200, &c, conversation_json(r->arena, &c));
}

/* ---- create ---- */

static json_t *one_member(const char *user, const char *role)
{
    return json_pack("{s:s, s:s}", "user_id", user, "role", role);
}

/* Whoever is named twice keeps the role named first. */
static void add_member(json_t *members, json_t *seen, const char *user, const char *role)
{
    if (json_object_get(seen, user) == NULL) {
        json_object_set_new(seen, user, json_true());
        json_array_append_new(members, one_member(user, role));
    }
}

/* The first members: a user who makes a group owns it. */
static json_t *first_members(struct req *r)
{
    json_t *members = json_own(r->arena, json_array()), *seen = json_own(r->arena, json_object()), *one;
    size_t i;
    if (req_is_user(r)) {
        add_member(members, seen, r->user.id.s, "owner");
    }
    json_array_foreach (json_object_get(r->body, "members"), i, one) {
        add_member(members, seen, json_str(one, "user_id", ""), json_str(one, "role", "member"));
    }
    json_array_foreach (json_object_get(r->body, "member_ids"), i, one) {
        add_member(members, seen, json_string_value(one), "member");
    }
    return members;
}

static struct user_id *ids_of(struct req *r, const json_t *members)
{
    size_t n = json_array_size(members);
    struct user_id *users = arena_array(r->arena, n + 1, sizeof(*users));
    for (size_t i = 0; i < n; i++) {
        snprintf(users[i].s, sizeof(users[i].s), "%s", json_str(json_array_get(members, i), "user_id", ""));
    }
    return users;
}

static int read_again(struct req *r, const struct conv_id *id, struct conversation *c_r, struct err *e)
{
    int found = groups_get(r->tenant, r->arena, id, c_r, e);
    return found == 1 ? 0 : found == 0 ? err_set(e, ERR_NOT_FOUND, "The group has been deleted meanwhile.") : -1;
}

int api_groups_create(struct req *r, struct err *e)
{
    struct conv_id id = conv_id_new_group();
    struct append row;
    struct conversation c;
    char text[ID_TEXT_MAX];
    json_t *members = first_members(r), *metadata = json_object_get(r->body, "metadata");
    if (req_check_size(r, metadata, METADATA_MAX, "/metadata", e) < 0) {
        return -1;
    }
    if (req_is_user(r) && json_object_get(r->body, "external_id") != NULL) {
        return err_at(e, ERR_VALIDATION_FAILED, "/external_id", "The backend's ids are given with an API key.");
    }
    json_t *body =
        json_pack("{s:s, s:s, s:s*, s:O*, s:O}", "kind", json_str(r->body, "kind", "group"), "name", json_str(r->body, "name", ""),
                  "external_id", json_str(r->body, "external_id", NULL), "metadata", metadata, "members", members);
    if (conv_control(r, &id, ENTRY_GROUP_CREATED, json_own(r->arena, body), 0, &row, e) < 0 || read_again(r, &id, &c, e) < 0) {
        return -1;
    }
    conv_announce(r, &c, ids_of(r, members), (int)json_array_size(members));
    reply_location(r, "/v1/groups/%s", conv_id_print(&id, text));
    return conv_reply(r, 201, &c, conversation_json(r->arena, &c));
}

/* ---- change ---- */

/* The members of `now` that differ from `before`. */
static json_t *differences(struct req *r, const json_t *before, const json_t *now)
{
    json_t *changed = json_own(r->arena, json_object());
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)now, key, value) {
        if (!json_equal(json_object_get(before, key), value)) {
            json_object_set(changed, key, value);
        }
    }
    return changed;
}

/* 1: the entry is written, 0: nothing to change, -1. */
static int patch_group(struct req *r, const struct conversation *c, struct err *e)
{
    struct append row;
    if (req_check_version(r, c->version, e) < 0) {
        return -1;
    }
    json_t *before = json_own(r->arena, json_pack("{s:s, s:b, s:O}", "name", c->name, "frozen", c->frozen, "metadata", c->metadata));
    json_t *now = json_own(r->arena, json_deep_copy(before));
    json_merge_patch(now, r->body);
    if (json_object_get(now, "metadata") == NULL) {
        json_object_set_new(now, "metadata", json_object());
    }
    if (req_check(r, "GroupFields", now, e) < 0 || req_check_size(r, json_object_get(now, "metadata"), METADATA_MAX, "/metadata", e) < 0) {
        return -1;
    }
    json_t *changed = differences(r, before, now);
    if (json_object_size(changed) == 0) {
        return 0;
    }
    return conv_control(r, &c->id, ENTRY_GROUP_UPDATED, changed, c->version, &row, e) < 0 ? -1 : 1;
}

int api_groups_update(struct req *r, struct err *e)
{
    struct conversation c;
    for (int attempt = 0;; attempt++) {
        if (conv_find(r, "group_id", &c, NULL, e) < 0) {
            return -1;
        }
        if (patch_group(r, &c, e) >= 0) {
            break;
        }
        if (!req_overtaken(r, attempt, e)) {
            return -1;
        }
    }
    if (read_again(r, &c.id, &c, e) < 0) {
        return -1;
    }
    return conv_reply(r, 200, &c, conversation_json(r->arena, &c));
}

int api_groups_delete(struct req *r, struct err *e)
{
    struct conversation c;
    struct append row;
    struct user_id *users;
    int64_t version;
    int n;
    if (conv_find(r, "group_id", &c, NULL, e) < 0 || req_if_match(r, &version, e) < 0 ||
        groupmap_members(r->tenant, r->arena, &c.id, &users, &n, e) < 0 ||
        conv_control(r, &c.id, ENTRY_GROUP_DELETED, json_own(r->arena, json_object()), version, &row, e) < 0) {
        return -1;
    }
    for (int i = 0; i < n; i += ANNOUNCED_AT_ONCE) {
        conv_announce_gone(r, &c.id, users + i, n - i < ANNOUNCED_AT_ONCE ? n - i : ANNOUNCED_AT_ONCE);
    }
    return reply_json(r, 202, conversation_json(r->arena, &c));
}

/* ---- roles ---- */

int api_roles_list(struct req *r, struct err *e)
{
    json_t *roles;
    return groups_roles(r->tenant, r->arena, &roles, e) < 0 ? -1 : page_reply_all(r, roles);
}

static int find_role(struct req *r, const char *name, json_t **role_r, struct err *e)
{
    json_t *roles, *one;
    size_t i;
    if (groups_roles(r->tenant, r->arena, &roles, e) < 0) {
        return -1;
    }
    json_array_foreach (roles, i, one) {
        if (strcmp(json_str(one, "name", ""), name) == 0) {
            *role_r = one;
            return 0;
        }
    }
    return err_set(e, ERR_NOT_FOUND, "There is no such role in this app.");
}

int api_roles_read(struct req *r, struct err *e)
{
    json_t *role;
    return find_role(r, req_param(r, "name"), &role, e) < 0 ? -1 : reply_json(r, 200, role);
}

int api_roles_put(struct req *r, struct err *e)
{
    bool made;
    json_t *role;
    const char *name = req_param(r, "name");
    if (groups_role_put(r->tenant, r->arena, name, json_object_get(r->body, "permissions"), &made, e) < 0 ||
        find_role(r, name, &role, e) < 0) {
        return -1;
    }
    return reply_json(r, made ? 201 : 200, role);
}

int api_roles_delete(struct req *r, struct err *e)
{
    int done = groups_role_delete(r->tenant, r->arena, req_param(r, "name"), e);
    if (done != 1) {
        return done == 0 ? err_set(e, ERR_NOT_FOUND, "The app has no role of its own by this name.") : -1;
    }
    return reply_empty(r, 204);
}
