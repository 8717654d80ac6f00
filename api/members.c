/* members.c: who is in a group. */
#include "api/conv.h"
#include "api/page.h"
#include "api/problem.h"
#include "api/routes.h"

int api_members_list(struct req *r, struct err *e)
{
    struct conversation c;
    struct page page;
    struct member *members;
    int count;
    if (conv_find(r, "group_id", &c, NULL, e) < 0 || page_start(r, &page, e) < 0 ||
        groups_members(r->tenant, r->arena, &c.id, json_str(r->query, "role", NULL), page.at.id, page.limit + 1, &members, &count, e) < 0) {
        return -1;
    }
    json_t *data = json_own(r->arena, json_array());
    struct cursor last = {.ms = 0};
    int shown = count < page.limit ? count : page.limit;
    for (int i = 0; i < shown; i++) {
        json_array_append(data, member_json(r->arena, &members[i]));
        snprintf(last.id, sizeof(last.id), "%s", members[i].user.s);
    }
    return page_reply(r, &page, data, count > shown, &last);
}

/* ---- add and change ---- */

static json_t *joining(struct req *r, const struct user_id *user, const char *role)
{
    return json_own(r->arena, json_pack("{s:[{s:s, s:s}]}", "members", "user_id", user->s, "role", role));
}

static json_t *changing(struct req *r, const struct user_id *user, const char *role)
{
    return json_own(r->arena, json_pack("{s:s, s:s}", "user_id", user->s, "role", role));
}

/* 1 a member, 0 not (or no more), -1. */
static int current(struct req *r, const struct conv_id *id, const struct user_id *user, struct member *m_r, struct err *e)
{
    int found = groups_member(r->tenant, r->arena, id, user, m_r, e);
    return found == 1 && m_r->left_seq != 0 ? 0 : found;
}

/* What the caller wants of one user. role NULL: a member of any role is as wanted, a new one becomes "member". */
struct wish {
    struct user_id user;
    const char *role;
    int status; /* 201 new, 200 otherwise */
    struct member now;
};

static void announce_new(struct req *r, const struct conv_id *id, const struct wish *w)
{
    struct err e = {0};
    struct conversation c;
    if (groups_get(r->tenant, r->arena, id, &c, &e) == 1) {
        conv_announce(r, &c, &w->user, 1);
    }
}

/* Others change the group at the same time: look, act on what is seen, and look again. */
static int put_member(struct req *r, const struct conv_id *id, struct wish *w, struct err *e)
{
    struct append row;
    w->status = 200;
    for (int attempt = 0; attempt < 4; attempt++) {
        int found = current(r, id, &w->user, &w->now, e);
        if (found < 0) {
            return -1;
        }
        if (found == 1 && (w->role == NULL || strcmp(w->now.role, w->role) == 0)) {
            if (w->status == 201) {
                announce_new(r, id, w);
            }
            return 0;
        }
        const char *role = w->role != NULL ? w->role : "member";
        int done = found == 0 ? conv_control(r, id, ENTRY_MEMBER_JOINED, joining(r, &w->user, role), 0, &row, e)
                              : conv_control(r, id, ENTRY_MEMBER_ROLE_CHANGED, changing(r, &w->user, role), 0, &row, e);
        if (done < 0 && !(found == 1 && e->code == ERR_NOT_FOUND)) {
            return -1;
        }
        w->status = found == 0 && done == 0 && row.status != APPEND_UNCHANGED ? 201 : w->status;
    }
    return err_set(e, ERR_BUSY, "The member keeps changing; try again.");
}

int api_members_put(struct req *r, struct err *e)
{
    struct conversation c;
    struct wish w = {.role = json_str(r->body, "role", NULL)};
    if (conv_find(r, "group_id", &c, NULL, e) < 0 || req_param_user(r, "user_id", &w.user, e) < 0 || put_member(r, &c.id, &w, e) < 0) {
        return -1;
    }
    return reply_json(r, w.status, member_json(r->arena, &w.now));
}

/* Those of a batch who are new join with one entry; it stands for all or, when somebody cannot join, for none. 0 or -1. */
static int join_together(struct req *r, const struct conv_id *id, struct wish *w, const bool *is_new, int n, struct err *e)
{
    json_t *members = json_own(r->arena, json_array());
    struct user_id *users = arena_array(r->arena, (size_t)n + 1, sizeof(*users));
    struct append row;
    struct conversation c;
    int joined = 0;
    for (int i = 0; i < n; i++) {
        if (is_new[i]) {
            json_array_append_new(members,
                                  json_pack("{s:s, s:s}", "user_id", w[i].user.s, "role", w[i].role != NULL ? w[i].role : "member"));
            users[joined++] = w[i].user;
        }
    }
    if (joined < 2) {
        return -1;
    }
    json_t *body = json_own(r->arena, json_pack("{s:O}", "members", members));
    if (conv_control(r, id, ENTRY_MEMBER_JOINED, body, 0, &row, e) < 0 || row.status == APPEND_UNCHANGED) {
        return -1;
    }
    if (groups_get(r->tenant, r->arena, id, &c, e) == 1) {
        conv_announce(r, &c, users, joined);
    }
    return 0;
}

static void add_result(struct req *r, json_t *results, int i, const struct wish *w, int status, const struct err *why)
{
    json_t *one = json_pack("{s:i, s:i}", "index", i, "status", status);
    if (why == NULL) {
        json_object_set_new(one, "id", json_string(w->user.s));
    } else {
        json_object_set(one, "problem", problem_json(r->arena, why));
    }
    json_array_append_new(results, one);
}

static bool away(enum err_code code)
{
    return err_http_status(code) >= 500;
}

int api_members_batch(struct req *r, struct err *e)
{
    struct conversation c;
    struct wish wishes[BATCH_MAX];
    bool is_new[BATCH_MAX];
    struct err ignored = {0};
    json_t *items = json_object_get(r->body, "items"), *results = json_own(r->arena, json_array());
    int n = (int)json_array_size(items);
    if (conv_find(r, "group_id", &c, NULL, e) < 0) {
        return -1;
    }
    for (int i = 0; i < n; i++) {
        const json_t *item = json_array_get(items, (size_t)i);
        wishes[i] = (struct wish){.role = json_str(item, "role", NULL)};
        snprintf(wishes[i].user.s, sizeof(wishes[i].user.s), "%s", json_str(item, "user_id", ""));
        int found = current(r, &c.id, &wishes[i].user, &wishes[i].now, e);
        if (found < 0) {
            return -1;
        }
        is_new[i] = found == 0;
    }
    bool together = join_together(r, &c.id, wishes, is_new, n, &ignored) == 0;
    for (int i = 0; i < n; i++) {
        struct err why = {0};
        if (put_member(r, &c.id, &wishes[i], &why) == 0) {
            add_result(r, results, i, &wishes[i], together && is_new[i] ? 201 : wishes[i].status, NULL);
        } else if (away(why.code) && i == 0) {
            *e = why;
            return -1;
        } else {
            add_result(r, results, i, &wishes[i], err_http_status(why.code), &why);
        }
    }
    return reply_json(r, 207, json_own(r->arena, json_pack("{s:O}", "results", results)));
}

/* ---- remove ---- */

int api_members_remove(struct req *r, struct err *e)
{
    struct conversation c;
    struct user_id user;
    struct append row;
    if (conv_find(r, "group_id", &c, NULL, e) < 0 || req_param_user(r, "user_id", &user, e) < 0) {
        return -1;
    }
    json_t *body = json_own(r->arena, json_pack("{s:s}", "user_id", user.s));
    if (conv_control(r, &c.id, ENTRY_MEMBER_LEFT, body, 0, &row, e) < 0) {
        return e->code == ERR_NOT_FOUND ? err_set(e, ERR_NOT_FOUND, "The user is not a member of this group.") : -1;
    }
    conv_announce_gone(r, &c.id, &user, 1);
    return reply_empty(r, 204);
}
