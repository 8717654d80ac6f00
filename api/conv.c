#include "api/conv.h"

#include "api/after.h"
#include "core/clock.h"
#include "storage/groupmap.h"

int conv_find(struct req *r, const char *param, struct conversation *c_r, struct member *me_r, struct err *e)
{
    struct conv_id id;
    struct member me = {.perms = 0};
    if (req_param_conv(r, param, &id, e) < 0) {
        return -1;
    }
    int found = groups_get(r->tenant, r->arena, &id, c_r, e);
    if (found != 1) {
        return found == 0 ? err_set(e, ERR_NOT_FOUND, "There is no such conversation in this app.") : -1;
    }
    if (req_is_user(r)) {
        found = groups_member(r->tenant, r->arena, &id, &r->user.id, &me, e);
        if (found < 0) {
            return -1;
        }
        if (found == 0 || me.left_seq != 0) {
            return err_set(e, ERR_NOT_A_MEMBER, "The user is not a member of this conversation.");
        }
    }
    if (me_r != NULL) {
        *me_r = me;
    }
    return 0;
}

struct user_id conv_actor(const struct req *r)
{
    struct user_id nobody = {.s = ""};
    return req_is_user(r) ? r->user.id : nobody;
}

int conv_append(struct req *r, struct append *row, struct err *e)
{
    row->trusted = !req_is_user(r);
    if (outbox_append(&row, 1, true, e) < 0) {
        if (e->code != ERR_UNCERTAIN || outbox_append(&row, 1, true, e) < 0) {
            return -1;
        }
    }
    if (append_result(row->status, e) < 0) {
        return -1;
    }
    /* A repeated client_msg_id stands for what was stored the first time, whatever the body says now. */
    if (row->status == APPEND_DUPLICATE && entries_get(r->tenant, r->arena, &row->entry.conv, &row->entry.mid, &row->entry, e) < 0) {
        return -1;
    }
    if (row->status != APPEND_UNCHANGED) {
        after_entry(row);
    }
    return 0;
}

int conv_control(struct req *r, const struct conv_id *conv, enum entry_kind kind, const json_t *body, int64_t expected_version,
                 struct append *row_r, struct err *e)
{
    size_t len;
    struct user_id actor = conv_actor(r);
    const char *text = json_write(r->arena, body, &len);
    outbox_row(r->tenant, row_r, conv, kind, &actor, "", text, len);
    row_r->expected_version = expected_version;
    if (conv_append(r, row_r, e) < 0) {
        return -1;
    }
    if (kind != ENTRY_GROUP_UPDATED && row_r->status != APPEND_UNCHANGED) {
        groupmap_changed(r->tenant, conv, row_r->entry.seq);
    }
    return 0;
}

void conv_announce(struct req *r, const struct conversation *c, const struct user_id *users, int n)
{
    const char *a = NULL, *b = NULL;
    if (conv_id_is_direct(&c->id)) {
        a = users[0].s;
        b = users[n - 1].s;
    }
    json_t *payload = json_own(r->arena, json_pack("{s:O}", "conversation", conv_json(r, c, a, b)));
    after_membership(r->tenant, r->arena, users, n, "conversation.added", payload);
}

void conv_announce_gone(struct req *r, const struct conv_id *id, const struct user_id *users, int n)
{
    char text[ID_TEXT_MAX];
    json_t *payload = json_own(r->arena, json_pack("{s:s}", "conversation_id", conv_id_print(id, text)));
    after_membership(r->tenant, r->arena, users, n, "conversation.removed", payload);
}

json_t *conv_json(struct req *r, const struct conversation *c, const char *user_a, const char *user_b)
{
    json_t *v = conversation_json(r->arena, c);
    if (user_a != NULL) {
        json_t *ids = json_array();
        json_array_append_new(ids, json_string(user_a));
        if (strcmp(user_a, user_b) != 0) {
            json_array_append_new(ids, json_string(user_b));
        }
        json_object_set_new(v, "user_ids", ids);
    }
    return v;
}

int conv_reply(struct req *r, int status, const struct conversation *c, json_t *body)
{
    return reply_tagged(r, status, body, arena_printf(r->arena, "\"%lld.%lld\"", (long long)c->version, (long long)c->last_seq));
}

void conv_encode_message(struct buf *out, const struct entry *en, bool for_sender)
{
    char id[ID_TEXT_MAX], conv[ID_TEXT_MAX], created[CLOCK_TEXT_MAX];
    if (en->kind == ENTRY_MESSAGE) {
        entry_encode(out, en, for_sender);
        return;
    }
    buf_addf(out,
             "{\"id\":\"%s\",\"conversation_id\":\"%s\",\"seq\":%lld,\"sender_id\":\"%s\",\"created_at\":\"%s\",\"type\":\"system\","
             "\"event\":\"%s\",\"data\":",
             msg_id_print(&en->mid, id), conv_id_print(&en->conv, conv), (long long)en->seq, en->sender.s,
             clock_format(en->created_ms, created), entry_event(en->kind) != NULL ? entry_event(en->kind) : "unknown");
    buf_add(out, en->body, en->body_len);
    buf_addc(out, '}');
}
