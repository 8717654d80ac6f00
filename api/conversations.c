/* conversations.c: direct conversations, and both kinds in one list. */
#include "api/conv.h"
#include "api/page.h"
#include "api/routes.h"

int api_conversations_direct(struct req *r, struct err *e)
{
    struct user_id a, b;
    struct conversation c;
    bool made;
    char id[ID_TEXT_MAX];
    if (req_param_user(r, "user_a", &a, e) < 0 || req_param_user(r, "user_b", &b, e) < 0) {
        return -1;
    }
    if (req_is_user(r) && !user_id_equal(&a, &r->user.id) && !user_id_equal(&b, &r->user.id)) {
        return err_set(e, ERR_NOT_A_MEMBER, "A user token opens its own user's conversations only.");
    }
    if (groups_direct(r->tenant, r->arena, &a, &b, &c, &made, e) < 0) {
        return -1;
    }
    if (made) {
        struct user_id users[2] = {a, b};
        conv_announce(r, &c, users, user_id_equal(&a, &b) ? 1 : 2);
    }
    reply_location(r, "/v1/conversations/%s", conv_id_print(&c.id, id));
    return conv_reply(r, made ? 201 : 200, &c, conv_json(r, &c, a.s, b.s));
}

int api_conversations_read(struct req *r, struct err *e)
{
    struct conversation c;
    struct member *members;
    int count;
    if (conv_find(r, "conversation_id", &c, NULL, e) < 0) {
        return -1;
    }
    if (!conv_id_is_direct(&c.id)) {
        return conv_reply(r, 200, &c, conversation_json(r->arena, &c));
    }
    if (groups_members(r->tenant, r->arena, &c.id, NULL, "", 2, &members, &count, e) < 0) {
        return -1;
    }
    return conv_reply(r, 200, &c, conv_json(r, &c, count > 0 ? members[0].user.s : NULL, count > 0 ? members[count - 1].user.s : NULL));
}

/* ---- the list ---- */

static int whose_list(struct req *r, struct user_id *user_r, struct err *e)
{
    const char *member = json_str(r->query, "member", NULL);
    if (!req_is_user(r)) {
        return member != NULL && user_id_parse(member, user_r) == 0
                   ? 0
                   : err_at(e, ERR_VALIDATION_FAILED, "/member", "Name the user whose conversations to list.");
    }
    *user_r = r->user.id;
    bool own = member == NULL || strcmp(member, r->user.id.s) == 0;
    return own ? 0 : err_set(e, ERR_NOT_A_MEMBER, "A user token lists its own user's conversations only.");
}

static json_t *last_message(struct req *r, const struct membership *m)
{
    struct buf text = {0};
    struct err e = {0};
    bool may_read = req_is_user(r) || (r->scopes >> SCOPE_MESSAGES_READ & 1) != 0;
    if (m->last == NULL || !may_read) {
        return json_null();
    }
    conv_encode_message(&text, m->last, req_is_user(r) && user_id_equal(&m->last->sender, &r->user.id));
    json_t *v = json_read(r->arena, text.data, text.len, &e);
    buf_free(&text);
    return v != NULL ? v : json_null();
}

static json_t *list_item(struct req *r, const struct user_id *user, const struct membership *m)
{
    json_t *v = conv_json(r, &m->conversation, m->other_user != NULL ? user->s : NULL, m->other_user);
    json_object_set(v, "last_message", last_message(r, m));
    json_object_set_new(v, "unread_count", json_integer(m->unread));
    json_object_set_new(v, "read_seq", json_integer(m->me.read_seq));
    json_object_set_new(v, "role", json_string(m->me.role));
    return v;
}

int api_conversations_list(struct req *r, struct err *e)
{
    struct page page;
    struct memberships_query q = {
        .kind = json_str(r->query, "kind", NULL), .updated_after_ms = req_time(r->query, "updated_after"), .with_last = true};
    struct membership *m;
    int count;
    if (whose_list(r, &q.user, e) < 0 || page_start(r, &page, e) < 0) {
        return -1;
    }
    q.limit = page.limit + 1;
    q.after_ms = page.at.ms;
    if (page.continued && conv_id_parse(page.at.id, &q.after_id) < 0) {
        return err_set(e, ERR_INVALID_CURSOR, "The cursor names no conversation.");
    }
    if (groups_memberships(r->tenant, r->arena, &q, &m, &count, e) < 0) {
        return -1;
    }
    json_t *data = json_own(r->arena, json_array());
    struct cursor last = {.ms = 0};
    int shown = count < page.limit ? count : page.limit;
    for (int i = 0; i < shown; i++) {
        json_array_append(data, list_item(r, &q.user, &m[i]));
        last.ms = m[i].conversation.last_ms;
        conv_id_print(&m[i].conversation.id, last.id);
    }
    return page_reply(r, &page, data, count > shown, &last);
}
