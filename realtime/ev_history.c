/* ev_history.c: history.get and sync: entries as their events, {"event":…,"data":…}. */
#include "realtime/dispatch.h"

#include "core/clock.h"
#include "storage/entries.h"
#include "storage/groups.h"

#define HISTORY_LIMIT 50
#define SYNC_LIMIT 500

/* What of a conversation a user may see. */
struct window {
    struct conv_id conv;
    bool known;           /* from the hub: no need to ask storage */
    bool member;          /* now */
    int64_t joined, left; /* left INT64_MAX = a member now */
    int64_t delivered, read;
};

static void window_from_hub(const struct op *op, struct window *w)
{
    const struct hub_user *u = hub_user_find(&op->app->id, &op->user);
    const struct hub_member *m = u == NULL ? NULL : hub_member_of(u, &w->conv);
    if (m != NULL) {
        w->known = w->member = true;
        w->joined = m->joined_seq;
        w->left = INT64_MAX;
        w->delivered = m->delivered_seq;
        w->read = m->read_seq;
    }
}

/* Worker. 1 the user is or was a member, 0 never, -1. */
static int window_find(struct op *op, struct window *w)
{
    struct member m;
    if (w->known) {
        return 1;
    }
    int found = groups_member(op->tenant, op->arena, &w->conv, &op->user, &m, &op->err);
    if (found == 1) {
        w->member = m.left_seq == 0;
        w->joined = m.joined_seq;
        w->left = w->member ? INT64_MAX : m.left_seq;
        w->delivered = m.delivered_seq;
        w->read = m.read_seq;
    }
    return found;
}

static void add_entry(const struct op *op, struct buf *out, const struct entry *en, bool first)
{
    const char *event = entry_event(en->kind);
    if (event != NULL) {
        buf_addf(out, "%s{\"event\":\"%s\",\"data\":", first ? "" : ",", event);
        entry_encode(out, en, user_id_equal(&en->sender, &op->user));
        buf_addc(out, '}');
    }
}

static void add_entries(const struct op *op, struct buf *out, const struct entry *en, int n)
{
    bool first = true;
    buf_addc(out, '[');
    for (int i = 0; i < n; i++) {
        add_entry(op, out, &en[i], first);
        first = first && entry_event(en[i].kind) == NULL;
    }
    buf_addc(out, ']');
}

static const char *keep(struct op *op, struct buf *b)
{
    const char *text = arena_dup(op->arena, b->data, b->len);
    buf_free(b);
    return text;
}

/* Of an answer: half of what the client takes in one packet, and of what may be queued for it. */
static size_t budget(void)
{
    int most = node.config->max_payload < node.config->send_queue ? node.config->max_payload : node.config->send_queue;
    return (size_t)most / 2;
}

/* ---- history.get ---- */

static enum step_result read_history(struct op *op)
{
    struct window *w = op->data;
    struct entry *en;
    int n, limit = (int)json_int(op->payload, "limit", HISTORY_LIMIT);
    bool upward = json_object_get(op->payload, "after_seq") != NULL, more;
    int found = window_find(op, w);
    if (found != 1) {
        return found < 0 ? STEP_FAIL : op_fail(op, ERR_NOT_FOUND, "There is no such conversation.");
    }
    if (upward) {
        int64_t after = json_int(op->payload, "after_seq", 0);
        after = after > w->joined ? after : w->joined;
        if (entries_after(op->tenant, op->arena, &w->conv, after, w->left, limit + 1, budget(), &en, &n, &op->err) != 0) {
            return STEP_FAIL;
        }
        int64_t head = 0;
        more = n > limit;
        n = more ? limit : n;
        if (!more && n > 0) { /* the page may have been cut by its size */
            if (entries_heads(op->tenant, op->arena, &w->conv, 1, &head, &op->err) != 0) {
                return STEP_FAIL;
            }
            more = en[n - 1].seq < (head < w->left ? head : w->left);
        }
    } else {
        int64_t before = json_int(op->payload, "before_seq", INT64_MAX);
        int64_t end = w->left < INT64_MAX && w->left + 1 < before ? w->left + 1 : before;
        if (entries_before(op->tenant, op->arena, &w->conv, end, w->joined, limit, budget(), &en, &n, &op->err) != 0) {
            return STEP_FAIL;
        }
        more = n > 0 && en[0].seq > w->joined + 1;
    }
    struct buf b = {0};
    buf_adds(&b, "{\"ok\":true,\"entries\":");
    add_entries(op, &b, en, n);
    buf_addf(&b, ",\"has_more\":%s}", more ? "true" : "false");
    op->reply_text = keep(op, &b);
    return STEP_DONE;
}

static enum step_result refuse(struct op *op)
{
    (void)op;
    return STEP_FAIL;
}

void ev_history_get(struct op *op)
{
    static const struct op_step steps[] = {{read_history, true}, {0}};
    static const struct op_step no[] = {{refuse, false}, {0}};
    struct window *w = arena_alloc(op->arena, sizeof(*w));
    op->data = w;
    if (!payload_conv(op, "conversation_id", &w->conv)) {
        op_run(op, no, 0);
        return;
    }
    window_from_hub(op, w);
    op_run_in_turn(op, steps, OP_DEADLINE_MS);
}

/* ---- sync ---- */

struct sync {
    struct window *windows;
    int64_t *cursors, *heads;
    int n;
    json_t *left; /* asked for, but the user is not in it (any more) */
    int entries;  /* given so far */
    size_t bytes;
};

/* One conversation's part: what is above the cursor, within the window and what is left of the budget. */
static int sync_one(struct op *op, struct sync *s, int i, struct buf *out)
{
    struct window *w = &s->windows[i];
    struct entry *en = NULL;
    char id[ID_TEXT_MAX];
    int n = 0, limit = (int)json_int(op->payload, "limit", SYNC_LIMIT) - s->entries;
    int64_t head = s->heads[i] < w->left ? s->heads[i] : w->left;
    int64_t after = s->cursors[i] > w->joined ? s->cursors[i] : w->joined;
    size_t size = budget() > s->bytes ? budget() - s->bytes : 0, before = out->len;
    if (after < head && limit > 0 && size > 0 &&
        entries_after(op->tenant, op->arena, &w->conv, after, head, limit, size, &en, &n, &op->err) != 0) {
        return -1;
    }
    s->entries += n;
    int64_t last = n > 0 ? en[n - 1].seq : after;
    buf_addf(out, "%s\"%s\":{\"entries\":", out->data[out->len - 1] == '{' ? "" : ",", conv_id_print(&w->conv, id));
    add_entries(op, out, en, n);
    buf_addf(out, ",\"head\":%lld,\"has_more\":%s}", (long long)head, last < head ? "true" : "false");
    s->bytes += out->len - before;
    return 0;
}

/* Windows first: a head is not told to somebody who may not see it. */
static int find_windows(struct op *op, struct sync *s)
{
    int kept = 0;
    struct conv_id *ids = arena_array(op->arena, (size_t)s->n, sizeof(*ids));
    for (int i = 0; i < s->n; i++) {
        int found = window_find(op, &s->windows[i]);
        char id[ID_TEXT_MAX];
        if (found < 0) {
            return -1;
        }
        if (found == 0 || !s->windows[i].member) {
            json_array_append_new(s->left, json_string(conv_id_print(&s->windows[i].conv, id)));
        }
        if (found == 1) {
            s->windows[kept] = s->windows[i];
            s->cursors[kept] = s->cursors[i];
            ids[kept++] = s->windows[i].conv;
        }
    }
    s->n = kept;
    s->heads = arena_array(op->arena, (size_t)kept, sizeof(*s->heads));
    return kept == 0 ? 0 : entries_heads(op->tenant, op->arena, ids, kept, s->heads, &op->err);
}

/* Conversations joined since the cursor, which is the wall clock of the answer that gave it. */
static int joined_since(struct op *op, json_t *joined)
{
    struct memberships_query q = {.user = op->user, .limit = 1000};
    struct membership *m;
    int n;
    int64_t since;
    const char *cursor = json_str(op->payload, "cursor", NULL);
    if (cursor == NULL) {
        return 0;
    }
    if (clock_parse(cursor, &since) != 0) {
        return err_at(&op->err, ERR_INVALID_CURSOR, "/cursor", "Use the cursor of an earlier sync.");
    }
    if (groups_memberships(op->tenant, op->arena, &q, &m, &n, &op->err) != 0) {
        return -1;
    }
    for (int i = 0; i < n; i++) {
        char id[ID_TEXT_MAX];
        if (m[i].me.joined_ms >= since) {
            json_array_append_new(joined, json_string(conv_id_print(&m[i].conversation.id, id)));
        }
    }
    return 0;
}

/* The user's own marks, so that another device's reading shows. */
static void add_receipts(const struct op *op, const struct sync *s, struct buf *out)
{
    char id[ID_TEXT_MAX];
    buf_adds(out, ",\"receipts\":[");
    for (int i = 0; i < s->n; i++) {
        const struct window *w = &s->windows[i];
        buf_addf(out, "%s{\"conversation_id\":\"%s\",\"user_id\":\"%s\",\"delivered_seq\":%lld,\"read_seq\":%lld}", i > 0 ? "," : "",
                 conv_id_print(&w->conv, id), op->user.s, (long long)w->delivered, (long long)w->read);
    }
    buf_addc(out, ']');
}

static enum step_result read_sync(struct op *op)
{
    struct sync *s = op->data;
    char now[CLOCK_TEXT_MAX];
    json_t *joined = json_own(op->arena, json_array());
    clock_format(clock_wall_ms(), now);
    if (find_windows(op, s) != 0 || joined_since(op, joined) != 0) {
        return STEP_FAIL;
    }
    struct buf b = {0};
    buf_adds(&b, "{\"ok\":true,\"conversations\":{");
    for (int i = 0; i < s->n; i++) {
        if (sync_one(op, s, i, &b) != 0) {
            buf_free(&b);
            return STEP_FAIL;
        }
    }
    buf_addf(&b, "},\"joined\":%s,\"left\":%s", json_write(op->arena, joined, NULL), json_write(op->arena, s->left, NULL));
    add_receipts(op, s, &b);
    buf_addf(&b, ",\"cursor\":\"%s\"}", now);
    op->reply_text = keep(op, &b);
    return STEP_DONE;
}

void ev_sync(struct op *op)
{
    static const struct op_step steps[] = {{read_sync, true}, {0}};
    struct sync *s = arena_alloc(op->arena, sizeof(*s));
    json_t *asked = json_object_get(op->payload, "conversations"), *seq;
    const char *id;
    s->windows = arena_array(op->arena, json_object_size(asked), sizeof(*s->windows));
    s->cursors = arena_array(op->arena, json_object_size(asked), sizeof(*s->cursors));
    s->left = json_own(op->arena, json_array());
    op->data = s;
    json_object_foreach (asked, id, seq) {
        struct window *w = &s->windows[s->n];
        if (conv_id_parse(id, &w->conv) != 0) {
            json_array_append_new(s->left, json_string(id));
            continue;
        }
        window_from_hub(op, w);
        s->cursors[s->n++] = json_integer_value(seq);
    }
    op_run_in_turn(op, steps, OP_DEADLINE_MS);
}
