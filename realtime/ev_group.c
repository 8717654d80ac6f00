/* ev_group.c: groups and their members: each change is a control entry; after its commit the hub applies it, the group map is told, and those concerned. */
#include "realtime/dispatch.h"

#include "core/crypto.h"
#include "realtime/peers.h"
#include "realtime/writer.h"
#include "storage/groupmap.h"
#include "storage/groups.h"

#include <stddef.h>

#define METADATA_MAX 16384

struct change {
    struct op *op;
    struct conv_id conv;
    enum entry_kind kind;
    json_t *body;
    struct user_id *concerned; /* who enters or leaves */
    int count;
    bool enters;
    struct write write;
};

/* ---- steps ---- */

static void committed(struct write *w)
{
    struct op *op = ((struct change *)((char *)w - offsetof(struct change, write)))->op;
    op_resume(op, append_result(w->row.status, &op->err) == 0 ? STEP_NEXT : STEP_FAIL);
}

static enum step_result commit(struct op *op)
{
    struct change *c = op->data;
    size_t len;
    const char *body = json_write(op->arena, c->body, &len);
    outbox_row(op->tenant, &c->write.row, &c->conv, c->kind, &op->user, json_str(op->payload, "client_id", ""), body, len);
    c->write.done = committed;
    return writer_put(&c->write, op->app, &op->err) == 0 ? STEP_WAIT : STEP_FAIL;
}

/* Worker: caches and other nodes. Nothing here can undo the commit, so nothing here fails the answer. */
static enum step_result announce(struct op *op)
{
    struct change *c = op->data;
    if (c->write.row.status != APPEND_UNCHANGED && c->kind != ENTRY_GROUP_UPDATED) {
        groupmap_changed(op->tenant, &c->conv, c->write.row.entry.seq);
        peers_rejoin(op->tenant, op->arena, c->concerned, c->count, &c->conv, c->enters);
    }
    return STEP_NEXT;
}

static enum step_result answer_seq(struct op *op)
{
    const struct change *c = op->data;
    if (c->write.row.status != APPEND_UNCHANGED) {
        op->reply = json_own(op->arena, json_pack("{s:I}", "seq", (json_int_t)c->write.row.entry.seq));
    }
    return STEP_DONE;
}

static enum step_result refuse(struct op *op)
{
    (void)op;
    return STEP_FAIL;
}

static void start(struct op *op, struct change *c)
{
    static const struct op_step steps[] = {{commit, false}, {announce, true}, {answer_seq, false}, {0}};
    static const struct op_step no[] = {{refuse, false}, {0}};
    op_run(op, c != NULL ? steps : no, 0);
}

/* NULL: op->err says why. */
static struct change *change_new(struct op *op, enum entry_kind kind)
{
    struct change *c = arena_alloc(op->arena, sizeof(*c));
    c->op = op;
    c->kind = kind;
    c->body = json_own(op->arena, json_object());
    op->data = c;
    return json_object_get(op->payload, "conversation_id") == NULL || payload_conv(op, "conversation_id", &c->conv) ? c : NULL;
}

/* ---- several users ---- */

static void add_member(struct change *c, const struct user_id *user, const char *role)
{
    json_array_append_new(json_object_get(c->body, "members"), json_pack("{s:s, s:s}", "user_id", user->s, "role", role));
    c->concerned[c->count++] = *user;
}

/* The users under `key`, each once, as members; -1: one is no user id. */
static int add_members(struct change *c, const char *key, const struct user_id *owner)
{
    const json_t *ids = json_object_get(c->op->payload, key);
    size_t n = json_array_size(ids);
    json_t *seen = json_own(c->op->arena, json_object());
    c->concerned = arena_array(c->op->arena, n + 1, sizeof(*c->concerned));
    json_object_set_new(c->body, "members", json_array());
    if (owner != NULL) {
        json_object_set_new(seen, owner->s, json_true());
        add_member(c, owner, "owner");
    }
    for (size_t i = 0; i < n; i++) {
        struct user_id user;
        if (user_id_parse(json_string_value(json_array_get(ids, i)), &user) != 0) {
            return err_set(&c->op->err, ERR_NOT_FOUND, "A user does not exist or is deactivated; create or reactivate it first.");
        }
        if (json_object_get(seen, user.s) == NULL) {
            json_object_set_new(seen, user.s, json_true());
            add_member(c, &user, "member");
        }
    }
    return 0;
}

void ev_member_add(struct op *op)
{
    struct change *c = change_new(op, ENTRY_MEMBER_JOINED);
    if (c != NULL && add_members(c, "user_ids", NULL) != 0) {
        c = NULL;
    }
    if (c != NULL) {
        c->enters = true;
    }
    start(op, c);
}

/* ---- one user ---- */

static struct change *about(struct op *op, enum entry_kind kind, const struct user_id *user)
{
    struct change *c = change_new(op, kind);
    if (c != NULL) {
        json_object_set_new(c->body, "user_id", json_string(user->s));
        c->concerned = arena_array(op->arena, 1, sizeof(*c->concerned));
        c->concerned[0] = *user;
        c->count = kind == ENTRY_MEMBER_LEFT;
    }
    return c;
}

void ev_member_remove(struct op *op)
{
    struct user_id user;
    start(op, payload_user(op, "user_id", &user) ? about(op, ENTRY_MEMBER_LEFT, &user) : NULL);
}

void ev_group_leave(struct op *op)
{
    start(op, about(op, ENTRY_MEMBER_LEFT, &op->user));
}

void ev_member_role(struct op *op)
{
    struct user_id user;
    struct change *c = payload_user(op, "user_id", &user) ? about(op, ENTRY_MEMBER_ROLE_CHANGED, &user) : NULL;
    if (c != NULL) {
        json_object_set(c->body, "role", json_object_get(op->payload, "role"));
    }
    start(op, c);
}

/* ---- the group itself ---- */

static bool copy_fields(struct change *c, const char *const *keys)
{
    for (; *keys != NULL; keys++) {
        json_t *v = json_object_get(c->op->payload, *keys);
        if (v != NULL) {
            json_object_set(c->body, *keys, v);
        }
    }
    const json_t *metadata = json_object_get(c->body, "metadata");
    size_t len = 0;
    if (metadata != NULL) {
        json_write(c->op->arena, metadata, &len);
    }
    if (len > METADATA_MAX) {
        err_at(&c->op->err, ERR_VALIDATION_FAILED, "/metadata", "The metadata is larger than 16 KiB.");
    }
    return len <= METADATA_MAX;
}

void ev_group_update(struct op *op)
{
    static const char *const keys[] = {"name", "metadata", "frozen", NULL};
    struct change *c = change_new(op, ENTRY_GROUP_UPDATED);
    start(op, c != NULL && copy_fields(c, keys) ? c : NULL);
}

/* The same client_id of the same user always names the same group. The bytes have the form of a UUIDv7, as the ids of groups have. */
static struct conv_id group_of(const struct op *op, const char *client_id)
{
    struct conv_id id;
    uint8_t hash[SHA256_LEN];
    const char *text = arena_printf(op->arena, "group1|%s|%s", op->user.s, client_id);
    crypto_hmac_sha256(tenant_id_key(op->tenant), 32, text, strlen(text), hash);
    memcpy(id.b, hash, sizeof(id.b));
    id.b[6] = (uint8_t)((id.b[6] & 0x0f) | 0x70);
    id.b[8] = (uint8_t)((id.b[8] & 0x3f) | 0x80);
    return id;
}

static enum step_result answer_group(struct op *op)
{
    const struct change *c = op->data;
    struct conversation g;
    int found = groups_get(op->tenant, op->arena, &c->conv, &g, &op->err);
    if (found != 1) {
        return found < 0 ? STEP_FAIL : op_fail(op, ERR_NOT_FOUND, "The group has been deleted.");
    }
    op->reply = json_own(op->arena, json_pack("{s:O}", "group", conversation_json(op->arena, &g)));
    return STEP_DONE;
}

void ev_group_create(struct op *op)
{
    static const struct op_step steps[] = {{commit, false}, {announce, true}, {answer_group, true}, {0}};
    static const char *const keys[] = {"name", "metadata", NULL};
    const char *client_id = json_str(op->payload, "client_id", "");
    struct change *c = change_new(op, ENTRY_GROUP_CREATED);
    if (strlen(client_id) > CLIENT_MSG_ID_MAX) {
        err_at(&op->err, ERR_VALIDATION_FAILED, "/client_id", "client_id is longer than 64 bytes.");
        c = NULL;
    }
    if (c == NULL || !copy_fields(c, keys) || add_members(c, "member_ids", &op->user) != 0) {
        start(op, NULL);
        return;
    }
    json_object_set_new(c->body, "kind", json_string("group"));
    c->conv = client_id[0] != '\0' ? group_of(op, client_id) : conv_id_new_group();
    c->enters = true;
    op_run(op, steps, 0);
}
