/* messages.c: sending into a conversation and reading its history. */
#include "api/conv.h"
#include "api/limits.h"
#include "api/routes.h"
#include "core/metrics.h"

#define DATA_MAX 32768
#define HISTORY_LIMIT 50
#define HISTORY_BYTES 1048576

/* ---- send: what is asked ---- */

static int check_sender(struct req *r, struct user_id *sender_r, struct err *e)
{
    const char *given = json_str(r->body, "sender_id", NULL);
    bool system = strcmp(json_str(r->body, "type", "text"), "system") == 0;
    struct user u;
    if (req_is_user(r)) {
        *sender_r = r->user.id;
        if (given != NULL && strcmp(given, r->user.id.s) != 0) {
            return err_at(e, ERR_VALIDATION_FAILED, "/sender_id", "A user token sends as its own user only.");
        }
        return system ? err_at(e, ERR_VALIDATION_FAILED, "/type", "Users do not send system messages.") : 0;
    }
    if (given == NULL) {
        sender_r->s[0] = '\0';
        return system ? 0 : err_at(e, ERR_VALIDATION_FAILED, "/sender_id", "Name the sender, or send a message of type system.");
    }
    if (user_id_parse(given, sender_r) < 0) {
        return err_at(e, ERR_VALIDATION_FAILED, "/sender_id", "It is not a user id.");
    }
    int found = users_get(r->tenant, r->arena, sender_r, &u, e);
    if (found == 1) {
        return u.deactivated_ms == 0 ? 0 : err_set(e, ERR_USER_BANNED, "The sender is deactivated.");
    }
    return found == 0 ? err_at(e, ERR_VALIDATION_FAILED, "/sender_id", "There is no such user in this app.") : -1;
}

static size_t characters(const char *s)
{
    size_t n = 0;
    for (; *s != '\0'; s++) {
        n += ((unsigned char)*s & 0xc0) != 0x80;
    }
    return n;
}

static int check_content(struct req *r, struct err *e)
{
    const char *type = json_str(r->body, "type", "text"), *text = json_str(r->body, "text", NULL);
    const json_t *data = json_object_get(r->body, "data");
    uint32_t max = tenant_limits(r->tenant)->message_chars;
    if (strcmp(type, "text") == 0 && text == NULL) {
        return err_at(e, ERR_VALIDATION_FAILED, "/text", "A text message needs its text.");
    }
    if (strcmp(type, "custom") == 0 && data == NULL) {
        return err_at(e, ERR_VALIDATION_FAILED, "/data", "A custom message needs its data.");
    }
    if (strcmp(type, "system") == 0 && text == NULL && data == NULL) {
        return err_at(e, ERR_VALIDATION_FAILED, "/text", "A system message needs text or data.");
    }
    if (text != NULL && characters(text) > max) {
        return err_at(e, ERR_VALIDATION_FAILED, "/text", "It has %zu characters, this app's limit is %u.", characters(text), max);
    }
    if (req_check_size(r, data, DATA_MAX, "/data", e) < 0) {
        return -1;
    }
    return req_check_size(r, json_object_get(r->body, "metadata"), METADATA_MAX, "/metadata", e);
}

static int take_limit(struct req *r, const char *policy, const char *who, uint32_t per_second, uint32_t burst, struct err *e)
{
    struct rate_limit limit = {per_second, burst};
    if (limits_take(policy, who, &limit, 1, &r->retry_after_ms, NULL)) {
        return 0;
    }
    metric_add(METRIC_RATELIMITED, policy, NULL, 1);
    r->violated[0] = policy;
    return err_set(e, ERR_RATE_LIMITED, "Too many messages; wait as long as Retry-After says.");
}

static int check_limits(struct req *r, const struct conv_id *conv, struct err *e)
{
    const struct tenant_limits *l = tenant_limits(r->tenant);
    char app[ID_TEXT_MAX], id[ID_TEXT_MAX], who[ID_TEXT_MAX + USER_ID_MAX + 2];
    app_id_print(tenant_app(r->tenant), app);
    snprintf(who, sizeof(who), "%s %s", app, r->user.id.s);
    if (req_is_user(r) && take_limit(r, "sends_per_user", who, l->sends_per_user, l->sends_per_user * 3, e) < 0) {
        return -1;
    }
    snprintf(who, sizeof(who), "%s %s", app, conv_id_print(conv, id));
    if (take_limit(r, "sends_per_conversation", who, l->sends_per_conversation, l->sends_per_conversation, e) < 0) {
        return -1;
    }
    return take_limit(r, "sends_per_app", app, l->sends_per_app, l->sends_per_app, e);
}

/* What is stored: the content alone, in one order. */
static const char *content(struct req *r, size_t *len_r)
{
    static const char *const kept[] = {"text", "data", "reply_to_id", "thread_id", "mentions", "metadata"};
    json_t *v = json_own(r->arena, json_pack("{s:s}", "type", json_str(r->body, "type", "text")));
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        json_t *value = json_object_get(r->body, kept[i]);
        if (value != NULL) {
            json_object_set(v, kept[i], value);
        }
    }
    return json_write(r->arena, v, len_r);
}

/* ---- send: what is answered ---- */

static int reply_message(struct req *r, int status, const struct entry *en)
{
    struct buf text = {0};
    conv_encode_message(&text, en, true);
    char *body = arena_dup(r->arena, text.data, text.len);
    size_t len = text.len;
    buf_free(&text);
    return reply_bytes(r, status, "application/json", body, len);
}

int api_messages_send(struct req *r, struct err *e)
{
    struct conv_id conv;
    struct user_id sender;
    struct append row;
    size_t len;
    if (req_param_conv(r, "conversation_id", &conv, e) < 0 || check_sender(r, &sender, e) < 0 || check_content(r, e) < 0 ||
        check_limits(r, &conv, e) < 0) {
        return -1;
    }
    const char *body = content(r, &len);
    outbox_row(r->tenant, &row, &conv, ENTRY_MESSAGE, &sender, json_str(r->body, "client_msg_id", ""), body, len);
    if (conv_append(r, &row, e) < 0) {
        return -1;
    }
    return reply_message(r, row.status == APPEND_DUPLICATE ? 200 : 201, &row.entry);
}

/* ---- history ---- */

struct range {
    int64_t after, before; /* what the caller may see: after < seq < before */
    struct entry *entries;
    int count;
};

/* A user sees what came after joining, and nothing after leaving. */
static int visible(struct req *r, struct conversation *c_r, struct range *range_r, struct err *e)
{
    struct member me;
    struct conv_id id;
    *range_r = (struct range){.after = 0, .before = INT64_MAX};
    if (req_param_conv(r, "conversation_id", &id, e) < 0) {
        return -1;
    }
    int found = groups_get(r->tenant, r->arena, &id, c_r, e);
    if (found != 1) {
        return found == 0 ? err_set(e, ERR_NOT_FOUND, "There is no such conversation in this app.") : -1;
    }
    if (!req_is_user(r)) {
        return 0;
    }
    found = groups_member(r->tenant, r->arena, &id, &r->user.id, &me, e);
    if (found != 1) {
        return found == 0 ? err_set(e, ERR_NOT_A_MEMBER, "The user is not a member of this conversation.") : -1;
    }
    range_r->after = me.joined_seq;
    range_r->before = me.left_seq != 0 ? me.left_seq + 1 : INT64_MAX;
    return 0;
}

static int64_t newer(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t older(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int read_before(struct req *r, const struct conv_id *id, struct range *w, int64_t before, int limit, struct err *e)
{
    return entries_before(r->tenant, r->arena, id, older(before, w->before), w->after, limit, HISTORY_BYTES, &w->entries, &w->count, e);
}

static int read_after(struct req *r, const struct conv_id *id, struct range *w, int64_t after, int limit, struct err *e)
{
    int64_t upto = w->before == INT64_MAX ? INT64_MAX : w->before - 1;
    return entries_after(r->tenant, r->arena, id, newer(after, w->after), upto, limit, HISTORY_BYTES, &w->entries, &w->count, e);
}

static int read_around(struct req *r, const struct conv_id *id, struct range *w, int64_t around, int limit, struct err *e)
{
    struct range older_half = *w;
    if (read_before(r, id, &older_half, around + 1, limit - limit / 2, e) < 0 ||
        (limit > 1 && read_after(r, id, w, around, limit / 2, e) < 0)) {
        return -1;
    }
    int n = older_half.count + w->count;
    struct entry *all = arena_array(r->arena, (size_t)n + 1, sizeof(*all));
    for (int i = 0; i < n; i++) {
        all[i] = i < older_half.count ? older_half.entries[i] : w->entries[i - older_half.count];
    }
    w->entries = all;
    w->count = n;
    return 0;
}

static const char *encode_page(struct req *r, const struct range *w, bool more, bool descending, size_t *len_r)
{
    struct buf out = {0};
    buf_adds(&out, "{\"data\":[");
    for (int i = 0; i < w->count; i++) {
        const struct entry *en = &w->entries[descending ? w->count - 1 - i : i];
        if (i > 0) {
            buf_addc(&out, ',');
        }
        conv_encode_message(&out, en, req_is_user(r) && user_id_equal(&en->sender, &r->user.id));
    }
    buf_addf(&out, "],\"has_more\":%s,\"next_cursor\":null,\"prev_cursor\":null}", more ? "true" : "false");
    const char *text = arena_dup(r->arena, out.data, out.len);
    *len_r = out.len;
    buf_free(&out);
    return text;
}

int api_messages_list(struct req *r, struct err *e)
{
    struct conversation c;
    struct range w;
    size_t len;
    int limit = (int)json_int(r->query, "limit", HISTORY_LIMIT), read;
    int64_t before = json_int(r->query, "before_seq", -1), after = json_int(r->query, "after_seq", -1),
            around = json_int(r->query, "around_seq", -1);
    if ((before >= 0) + (after >= 0) + (around >= 0) > 1) {
        return err_at(e, ERR_VALIDATION_FAILED, "/before_seq", "Give at most one of before_seq, after_seq and around_seq.");
    }
    if (visible(r, &c, &w, e) < 0) {
        return -1;
    }
    if (after >= 0) {
        read = read_after(r, &c.id, &w, after, limit, e);
    } else if (around >= 0) {
        read = read_around(r, &c.id, &w, around, limit, e);
    } else {
        read = read_before(r, &c.id, &w, before >= 0 ? before : INT64_MAX, limit, e);
    }
    if (read < 0) {
        return -1;
    }
    int64_t newest = older(c.last_seq, w.before == INT64_MAX ? INT64_MAX : w.before - 1);
    bool more = w.count > 0 && (after >= 0 ? w.entries[w.count - 1].seq < newest : w.entries[0].seq > w.after + 1);
    const char *text = encode_page(r, &w, more, strcmp(json_str(r->query, "direction", "asc"), "desc") == 0, &len);
    return reply_bytes(r, 200, "application/json", text, len);
}
