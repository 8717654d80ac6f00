#include "storage/entries.h"

#include "core/clock.h"
#include "storage/pg-private.h"

const char *entry_event(enum entry_kind kind)
{
    switch (kind) {
#define K(name, number, wire) \
    case ENTRY_##name: \
        return wire;
        ENTRY_KINDS(K)
#undef K
    }
    return NULL;
}

#define ADD(out, literal) buf_add(out, literal, sizeof(literal) - 1)

/* Ids and user ids hold nothing that JSON would escape. */
static void add_plain(struct buf *out, const char *s)
{
    buf_addc(out, '"');
    buf_adds(out, s);
    buf_addc(out, '"');
}

/* The members of the body object, without its braces, after a comma; nothing for an empty object. */
static void splice_body(struct buf *out, const char *body, size_t len)
{
    size_t from = 1;
    while (from < len && (body[from] == ' ' || body[from] == '\n' || body[from] == '\t' || body[from] == '\r')) {
        from++;
    }
    if (len < 2 || body[from] == '}') {
        buf_addc(out, '}');
        return;
    }
    buf_addc(out, ',');
    buf_add(out, body + from, len - from);
}

void entry_encode(struct buf *out, const struct entry *en, bool for_sender)
{
    char text[ID_TEXT_MAX > CLOCK_TEXT_MAX ? ID_TEXT_MAX : CLOCK_TEXT_MAX];
    buf_reserve(out, en->body_len + 512);
    ADD(out, "{\"id\":");
    add_plain(out, msg_id_print(&en->mid, text));
    ADD(out, ",\"conversation_id\":");
    add_plain(out, conv_id_print(&en->conv, text));
    ADD(out, ",\"seq\":");
    buf_addu(out, (uint64_t)en->seq);
    if (en->kind == ENTRY_MESSAGE) {
        ADD(out, ",\"sender_id\":");
        add_plain(out, en->sender.s);
    } else if (en->sender.s[0] != '\0') {
        ADD(out, ",\"actor_id\":");
        add_plain(out, en->sender.s);
    }
    if (for_sender && en->client_msg_id[0] != '\0') {
        ADD(out, ",\"client_msg_id\":");
        buf_add_json_string(out, en->client_msg_id, strlen(en->client_msg_id));
    }
    ADD(out, ",\"created_at\":");
    add_plain(out, clock_format(en->created_ms, text));
    splice_body(out, en->body, en->body_len);
}

void entry_read(const struct pg_rows *r, int i, int c, const struct conv_id *conv, struct entry *en_r)
{
    struct entry en = {
        .conv = *conv, .seq = pg_get_int(r, i, c), .created_ms = pg_get_ms(r, i, c + 1), .kind = (enum entry_kind)pg_get_int(r, i, c + 2)};
    pg_get_uuid(r, i, c + 3, en.mid.b);
    pg_get_id(r, i, c + 4, en.sender.s, sizeof(en.sender.s));
    pg_get_id(r, i, c + 5, en.client_msg_id, sizeof(en.client_msg_id));
    en.body = (const char *)pg_get_bytea(r, i, c + 6, &en.body_len);
    *en_r = en;
}

static int list(const struct tenant *t, enum pg_statement s, struct arena *a, const struct conv_id *id, int64_t from, int64_t to, int limit,
                size_t max_bytes, struct entry **en_r, int *count_r, struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_uuid(&q, id->b);
    pg_bigint(&q, from);
    pg_bigint(&q, to);
    pg_int(&q, limit);
    pg_bigint(&q, max_bytes > 0 ? (int64_t)max_bytes : 1);
    if (pg_query(t, s, &q, &rows, e) < 0) {
        return -1;
    }
    struct entry *en = arena_array(a, (size_t)rows.n, sizeof(*en));
    for (int i = 0; i < rows.n; i++) {
        entry_read(&rows, i, 0, id, &en[i]);
    }
    *en_r = en;
    *count_r = rows.n;
    return 0;
}

int entries_after(const struct tenant *t, struct arena *a, const struct conv_id *id, int64_t after, int64_t upto, int limit,
                  size_t max_bytes, struct entry **en_r, int *count_r, struct err *e)
{
    return list(t, PG_ENTRIES_AFTER, a, id, after, upto, limit, max_bytes, en_r, count_r, e);
}

int entries_before(const struct tenant *t, struct arena *a, const struct conv_id *id, int64_t before, int64_t after, int limit,
                   size_t max_bytes, struct entry **en_r, int *count_r, struct err *e)
{
    return list(t, PG_ENTRIES_BEFORE, a, id, before, after, limit, max_bytes, en_r, count_r, e);
}

int entries_get(const struct tenant *t, struct arena *a, const struct conv_id *id, const struct msg_id *mid, struct entry *en_r,
                struct err *e)
{
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_uuid(&q, id->b);
    pg_uuid(&q, mid->b);
    if (pg_query(t, PG_ENTRIES_GET, &q, &rows, e) < 0) {
        return -1;
    }
    if (rows.n == 0) {
        return 0;
    }
    entry_read(&rows, 0, 0, id, en_r);
    return 1;
}

int entries_heads(const struct tenant *t, struct arena *a, const struct conv_id *ids, int n, int64_t *last_r, struct err *e)
{
    struct pg_array convs = pg_array(a, PG_TYPE_UUID, n);
    for (int i = 0; i < n; i++) {
        pg_add(&convs, ids[i].b, 16);
    }
    struct pg_args q = {.arena = a};
    struct pg_rows rows;
    pg_array_arg(&q, &convs);
    if (pg_query(t, PG_ENTRIES_HEADS, &q, &rows, e) < 0) {
        return -1;
    }
    for (int i = 0; i < rows.n; i++) {
        last_r[i] = pg_get_int(&rows, i, 0);
    }
    return 0;
}
