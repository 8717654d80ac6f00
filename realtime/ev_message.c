/* ev_message.c: message.send: to whom, the limits, the body, the commit, the ack. */
#include "realtime/dispatch.h"

#include "core/clock.h"
#include "core/metrics.h"
#include "realtime/members.h"
#include "realtime/peers.h"
#include "realtime/writer.h"
#include "storage/groups.h"

#include <stddef.h>

#define DATA_MAX 32768
#define METADATA_MAX 16384

struct send {
    struct op *op;
    struct conv_id conv;
    struct user_id to; /* "" = a conversation was named */
    bool made;
    const char *body;
    size_t body_len;
    struct write write;
};

/* ---- limits ---- */

static bool take(struct op *op, struct rate_bucket *bucket, uint32_t per_second, uint32_t burst, const char *policy, const char *what)
{
    struct rate_limit limit = {.per_second = per_second, .burst = burst};
    if (rate_take(bucket, &limit, 1, loop_now_ms(), &op->retry_after_ms)) {
        return true;
    }
    metric_add(METRIC_RATELIMITED, policy, NULL, 1);
    op_fail(op, ERR_RATE_LIMITED, "Too many messages %s; slow down.", what);
    return false;
}

static bool within_rates(struct op *op, const struct conv_id *conv)
{
    const struct tenant_limits *l = tenant_limits(op->tenant);
    struct hub_user *u = hub_user_find(&op->app->id, &op->user);
    struct hub_conv *c = hub_conv_find(&op->app->id, conv);
    return (u == NULL || take(op, &u->sends, l->sends_per_user, l->sends_per_user * 3, "user", "from this user")) &&
           (c == NULL ||
            take(op, &c->sends, l->sends_per_conversation, l->sends_per_conversation * 2, "conversation", "into this conversation")) &&
           take(op, &op->app->sends, l->sends_per_app, l->sends_per_app * 2, "app", "from this app");
}

/* ---- body ---- */

static size_t code_points(const char *s)
{
    size_t n = 0;
    for (; *s != '\0'; s++) {
        n += ((unsigned char)*s & 0xc0) != 0x80;
    }
    return n;
}

static bool invalid(struct op *op, const char *pointer, const char *why)
{
    err_at(&op->err, ERR_VALIDATION_FAILED, pointer, "%s", why);
    return false;
}

static bool good_id(struct op *op, const char *key, const char *pointer)
{
    struct msg_id id;
    const char *text = json_str(op->payload, key, NULL);
    return text == NULL || msg_id_parse(text, &id) == 0 || invalid(op, pointer, "It must be the id of a message.");
}

/* What the schema cannot say: the app's own limits, sizes in bytes. */
static bool fits(struct op *op)
{
    const char *text = json_str(op->payload, "text", ""), *client = json_str(op->payload, "client_msg_id", "");
    if (code_points(text) > tenant_limits(op->tenant)->message_chars) {
        return invalid(op, "/text", "The text is longer than this app allows.");
    }
    if (strlen(client) > CLIENT_MSG_ID_MAX) {
        return invalid(op, "/client_msg_id", "client_msg_id is longer than 64 bytes.");
    }
    return good_id(op, "reply_to_id", "/reply_to_id") && good_id(op, "thread_id", "/thread_id");
}

static bool add_json(struct op *op, struct buf *b, const char *key, size_t max, const char *pointer)
{
    const json_t *v = json_object_get(op->payload, key);
    if (v == NULL) {
        return true;
    }
    size_t len;
    const char *text = json_write(op->arena, v, &len);
    if (len > max) {
        return invalid(op, pointer, "It is too large.");
    }
    buf_addf(b, ",\"%s\":", key);
    buf_add(b, text, len);
    return true;
}

static void add_text(struct op *op, struct buf *b, const char *key)
{
    const char *text = json_str(op->payload, key, NULL);
    if (text != NULL) {
        buf_addf(b, ",\"%s\":", key);
        buf_add_json_string(b, text, strlen(text));
    }
}

/* Exactly what was given, in one order, so that a message has one form for ever. */
static bool write_body(struct send *s)
{
    struct op *op = s->op;
    struct buf b = {0};
    buf_addf(&b, "{\"type\":\"%s\"", json_str(op->payload, "type", "text"));
    add_text(op, &b, "text");
    bool ok = add_json(op, &b, "data", DATA_MAX, "/data");
    add_text(op, &b, "reply_to_id");
    add_text(op, &b, "thread_id");
    ok = ok && add_json(op, &b, "mentions", DATA_MAX, "/mentions") && add_json(op, &b, "metadata", METADATA_MAX, "/metadata");
    buf_addc(&b, '}');
    s->body = arena_dup(op->arena, b.data, b.len);
    s->body_len = b.len;
    buf_free(&b);
    return ok;
}

/* ---- steps ---- */

/* Worker: the direct conversation is made before its first entry; the other one's nodes are told. */
static enum step_result ensure_direct(struct op *op)
{
    struct send *s = op->data;
    struct conversation c;
    if (groups_direct(op->tenant, op->arena, &op->user, &s->to, &c, &s->made, &op->err) != 0) {
        return STEP_FAIL;
    }
    if (s->made) {
        peers_rejoin(op->tenant, op->arena, &s->to, 1, &s->conv, true);
        peers_rejoin(op->tenant, op->arena, &op->user, 1, &s->conv, true);
    }
    return STEP_NEXT;
}

static enum step_result join_direct(struct op *op)
{
    struct send *s = op->data;
    members_check(op->app, &op->user, &s->conv);
    members_check(op->app, &s->to, &s->conv);
    return STEP_NEXT;
}

static void committed(struct write *w)
{
    struct op *op = ((struct send *)((char *)w - offsetof(struct send, write)))->op;
    char mid[ID_TEXT_MAX], conv[ID_TEXT_MAX], at[CLOCK_TEXT_MAX];
    if (append_result(w->row.status, &op->err) != 0) {
        op_resume(op, STEP_FAIL);
        return;
    }
    op->reply_text =
        arena_printf(op->arena, "{\"ok\":true,\"message\":{\"id\":\"%s\",\"conversation_id\":\"%s\",\"seq\":%lld,\"created_at\":\"%s\"}%s}",
                     msg_id_print(&w->row.entry.mid, mid), conv_id_print(&w->row.entry.conv, conv), (long long)w->row.entry.seq,
                     clock_format(w->row.entry.created_ms, at), w->row.status == APPEND_DUPLICATE ? ",\"duplicate\":true" : "");
    op_resume(op, STEP_DONE);
}

static enum step_result commit(struct op *op)
{
    struct send *s = op->data;
    outbox_row(op->tenant, &s->write.row, &s->conv, ENTRY_MESSAGE, &op->user, json_str(op->payload, "client_msg_id", ""), s->body,
               s->body_len);
    s->write.done = committed;
    return writer_put(&s->write, op->app, &op->err) == 0 ? STEP_WAIT : STEP_FAIL;
}

static enum step_result refuse(struct op *op)
{
    (void)op;
    return STEP_FAIL;
}

static bool addressed(struct op *op, struct send *s)
{
    if (json_object_get(op->payload, "to") == NULL) {
        return payload_conv(op, "conversation_id", &s->conv);
    }
    if (!payload_user(op, "to", &s->to)) {
        return false;
    }
    s->conv = groups_direct_id(op->tenant, &op->user, &s->to);
    return true;
}

void ev_message_send(struct op *op)
{
    static const struct op_step known[] = {{commit, false}, {0}};
    static const struct op_step first[] = {{ensure_direct, true}, {join_direct, false}, {commit, false}, {0}};
    static const struct op_step no[] = {{refuse, false}, {0}};
    struct send *s = arena_alloc(op->arena, sizeof(*s));
    const struct hub_user *u = hub_user_find(&op->app->id, &op->user);
    op->data = s;
    s->op = op;
    if (!addressed(op, s) || !fits(op) || !within_rates(op, &s->conv) || !write_body(s)) {
        op_run(op, no, 0);
    } else if (s->to.s[0] == '\0' || (u != NULL && hub_member_of(u, &s->conv) != NULL)) {
        op_run(op, known, 0);
    } else {
        op_run(op, first, 0);
    }
}
