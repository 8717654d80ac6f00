#include "storage/groups.h"

#include "core/clock.h"
#include "core/crypto.h"
#include "storage/entries.h"
#include "storage/pg-private.h"

#define CONVERSATION_COLUMNS 14
#define MEMBER_COLUMNS 9

static void read_conversation(const struct pg_rows *r, int i, struct conversation *c_r)
{
    struct conversation c = {.kind = pg_get_text(r, i, 1), .name = pg_get_text(r, i, 2)};
    pg_get_uuid(r, i, 0, c.id.b);
    c.external_id = pg_get_text(r, i, 3);
    c.created_by = pg_get_text(r, i, 4);
    c.metadata = pg_get_json(r, i, 5);
    c.frozen = pg_get_int(r, i, 6) != 0;
    c.member_count = (int)pg_get_int(r, i, 7);
    c.version = pg_get_int(r, i, 8);
    c.created_ms = pg_get_ms(r, i, 9);
    c.updated_ms = pg_get_ms(r, i, 10);
    c.last_seq = pg_get_int(r, i, 11);
    c.members_seq = pg_get_int(r, i, 12);
    c.last_ms = pg_get_ms(r, i, 13);
    *c_r = c;
}

static void read_member(const struct pg_rows *r, int i, int c, struct member *m_r)
{
    struct member m = {.role = pg_get_text(r, i, c + 1), .perms = (int)pg_get_int(r, i, c + 2)};
    pg_get_id(r, i, c, m.user.s, sizeof(m.user.s));
    m.joined_ms = pg_get_ms(r, i, c + 3);
    m.joined_seq = pg_get_int(r, i, c + 4);
    m.left_seq = pg_get_int(r, i, c + 5);
    m.muted_until_ms = pg_get_ms(r, i, c + 6);
    m.delivered_seq = pg_get_int(r, i, c + 7);
    m.read_seq = pg_get_int(r, i, c + 8);
    *m_r = m;
}

json_t *conversation_json(struct arena *a, const struct conversation *c)
{
    char id[ID_TEXT_MAX], created[CLOCK_TEXT_MAX], updated[CLOCK_TEXT_MAX];
    conv_id_print(&c->id, id);
    clock_format(c->created_ms, created);
    clock_format(c->updated_ms, updated);
    if (conv_id_is_direct(&c->id)) {
        return json_own(a, json_pack("{s:s, s:s, s:i, s:s, s:s, s:I}", "id", id, "kind", c->kind, "member_count", c->member_count,
                                     "created_at", created, "updated_at", updated, "last_seq", (json_int_t)c->last_seq));
    }
    return json_own(a, json_pack("{s:s, s:s, s:s, s:s*, s:b, s:i, s:O, s:s*, s:s, s:s, s:I}", "id", id, "kind", c->kind, "name", c->name,
                                 "external_id", c->external_id, "frozen", c->frozen, "member_count", c->member_count, "metadata",
                                 c->metadata, "created_by", c->created_by, "created_at", created, "updated_at", updated, "last_seq",
                                 (json_int_t)c->last_seq));
}

json_t *member_json(struct arena *a, const struct member *m)
{
    char joined[CLOCK_TEXT_MAX];
    return json_own(a, json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "user_id", m->user.s, "role", m->role, "joined_at",
                                 clock_format(m->joined_ms, joined), "joined_seq", (json_int_t)m->joined_seq, "delivered_seq",
                                 (json_int_t)m->delivered_seq, "read_seq", (json_int_t)m->read_seq));
}

int groups_get(const struct tenant *t, struct arena *a, const struct conv_id *id, struct conversation *c_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_uuid(&q, id->b);
    if (pg_query(t, PG_GROUPS_GET, &q, &rows, e) < 0) {
        return -1;
    }
    if (rows.n == 0) {
        return 0;
    }
    read_conversation(&rows, 0, c_r);
    return 1;
}

int groups_list(const struct tenant *t, struct arena *a, const struct groups_query *w, struct conversation **c_r, int *count_r,
                struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, w->external_id);
    pg_time(&q, w->updated_after_ms);
    pg_time(&q, w->after_ms);
    pg_uuid(&q, w->after_id.b);
    pg_int(&q, w->limit);
    if (w->member != NULL) {
        pg_text(&q, w->member->s);
    }
    if (pg_query(t, w->member != NULL ? PG_GROUPS_LIST_OF : PG_GROUPS_LIST, &q, &rows, e) < 0) {
        return -1;
    }
    struct conversation *c = arena_array(a, (size_t)rows.n, sizeof(*c));
    for (int i = 0; i < rows.n; i++) {
        read_conversation(&rows, i, &c[i]);
    }
    *c_r = c;
    *count_r = rows.n;
    return 0;
}

int groups_members(const struct tenant *t, struct arena *a, const struct conv_id *id, const char *role, const char *after, int limit,
                   struct member **m_r, int *count_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_uuid(&q, id->b);
    pg_text(&q, role);
    pg_text(&q, after);
    pg_int(&q, limit);
    if (pg_query(t, PG_GROUPS_MEMBERS, &q, &rows, e) < 0) {
        return -1;
    }
    struct member *m = arena_array(a, (size_t)rows.n, sizeof(*m));
    for (int i = 0; i < rows.n; i++) {
        read_member(&rows, i, 0, &m[i]);
    }
    *m_r = m;
    *count_r = rows.n;
    return 0;
}

int groups_member(const struct tenant *t, struct arena *a, const struct conv_id *id, const struct user_id *user, struct member *m_r,
                  struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_uuid(&q, id->b);
    pg_text(&q, user->s);
    if (pg_query(t, PG_GROUPS_MEMBER, &q, &rows, e) < 0) {
        return -1;
    }
    if (rows.n == 0) {
        return 0;
    }
    read_member(&rows, 0, 0, m_r);
    return 1;
}

struct conv_id groups_direct_id(const struct tenant *t, const struct user_id *a, const struct user_id *b)
{
    const struct user_id *low = strcmp(a->s, b->s) <= 0 ? a : b, *high = low == a ? b : a;
    char text[2 * USER_ID_MAX + 8];
    uint8_t hash[SHA256_LEN];
    int len = snprintf(text, sizeof(text), "dir1 %s %s", low->s, high->s); /* user ids hold no blank */
    crypto_hmac_sha256(tenant_id_key(t), 32, text, (size_t)len, hash);
    return conv_id_from_hash(hash);
}

int groups_direct(const struct tenant *t, struct arena *a, const struct user_id *u1, const struct user_id *u2, struct conversation *c_r,
                  bool *made_r, struct err *e)
{
    struct conv_id id = groups_direct_id(t, u1, u2);
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_uuid(&q, id.b);
    pg_text(&q, u1->s);
    pg_text(&q, u2->s);
    if (pg_query(t, PG_GROUPS_DIRECT, &q, &rows, e) < 0) {
        return -1;
    }
    if (rows.n == 0) {
        return err_set(e, ERR_NOT_FOUND, "There is no such user, or the user is deactivated.");
    }
    int found = groups_get(t, a, &id, c_r, e);
    if (found <= 0) {
        return found < 0 ? -1 : err_set(e, ERR_NOT_FOUND, "The conversation has been deleted.");
    }
    *made_r = pg_get_int(&rows, 0, 0) != 0;
    return 0;
}

static void read_membership(const struct pg_rows *r, int i, bool with_last, struct membership *m_r)
{
    int c = CONVERSATION_COLUMNS;
    struct membership m = {.unread = 0};
    read_conversation(r, i, &m.conversation);
    read_member(r, i, c, &m.me);
    c += MEMBER_COLUMNS;
    m.other_user = pg_get_text(r, i, c++);
    if (with_last) {
        m.unread = pg_get_int(r, i, c++);
        if (!pg_is_null(r, i, c)) {
            m.last = arena_alloc(r->arena, sizeof(*m.last));
            entry_read(r, i, c, &m.conversation.id, m.last);
        }
    }
    *m_r = m;
}

int groups_memberships(const struct tenant *t, struct arena *a, const struct memberships_query *w, struct membership **m_r, int *count_r,
                       struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_text(&q, w->user.s);
    pg_text(&q, w->device);
    pg_bool(&q, w->with_left);
    pg_text(&q, w->kind);
    pg_time(&q, w->updated_after_ms);
    pg_time(&q, w->after_ms);
    pg_uuid(&q, w->after_id.b);
    pg_int(&q, w->limit);
    if (pg_query(t, w->with_last ? PG_MEMBERSHIPS_LAST : PG_MEMBERSHIPS, &q, &rows, e) < 0) {
        return -1;
    }
    struct membership *m = arena_array(a, (size_t)rows.n, sizeof(*m));
    for (int i = 0; i < rows.n; i++) {
        read_membership(&rows, i, w->with_last, &m[i]);
    }
    *m_r = m;
    *count_r = rows.n;
    return 0;
}
