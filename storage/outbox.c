#include "storage/outbox.h"

#include "core/crypto.h"
#include "core/log.h"
#include "core/metrics.h"
#include "storage/pg-private.h"

#include <assert.h>

#define OUTBOX_MAX 1000
#define DEADLOCK_TRIES 5

/* HMAC over parts that are each preceded by their length, so that no two lists of parts give the same bytes. */
static void hash_mid(const struct tenant *t, const struct conv_id *conv, enum entry_kind kind, const char *sender,
                     const char *client_msg_id, struct msg_id *mid_r)
{
    uint8_t text[4 + 16 + 1 + USER_ID_MAX + 1 + CLIENT_MSG_ID_MAX], hash[SHA256_LEN];
    size_t n = 0, sender_len = strlen(sender), client_len = strlen(client_msg_id);
    memcpy(text, kind == ENTRY_MESSAGE ? "mid1" : "ctl1", 4); /* the ids of messages and of changes to groups do not meet */
    memcpy(text + 4, conv->b, 16);
    n = 20;
    text[n++] = (uint8_t)sender_len;
    memcpy(text + n, sender, sender_len);
    n += sender_len;
    text[n++] = (uint8_t)client_len;
    memcpy(text + n, client_msg_id, client_len);
    n += client_len;
    crypto_hmac_sha256(tenant_id_key(t), 32, text, n, hash);
    memcpy(mid_r->b, hash, 16);
}

void outbox_row(const struct tenant *t, struct append *row, const struct conv_id *conv, enum entry_kind kind, const struct user_id *sender,
                const char *client_msg_id, const char *body, size_t body_len)
{
    assert(strlen(client_msg_id) <= CLIENT_MSG_ID_MAX);
    *row = (struct append){.app = *tenant_app(t), .member_limit = (int)tenant_limits(t)->group_members};
    row->entry = (struct entry){.conv = *conv, .kind = kind, .sender = *sender, .body = body, .body_len = body_len};
    snprintf(row->entry.client_msg_id, sizeof(row->entry.client_msg_id), "%s", client_msg_id);
    if (client_msg_id[0] == '\0') {
        row->entry.mid = msg_id_new();
    } else {
        hash_mid(t, conv, kind, sender->s, client_msg_id, &row->entry.mid);
    }
}

/* A batch being prepared: rows without in-batch repetitions, each with the index of its conversation. */
struct batch {
    struct arena *arena;
    struct append **rows; /* in the order given */
    int n;
    bool wait;
};

static int compare_conv(const struct append *a, const struct append *b)
{
    int c = memcmp(a->app.b, b->app.b, 16);
    return c != 0 ? c : memcmp(a->entry.conv.b, b->entry.conv.b, 16);
}

/* By app, conversation, mid, then position. */
static int compare_place(const void *x, const void *y, void *ctx)
{
    struct append *const *rows = ctx;
    int i = *(const int *)x, j = *(const int *)y;
    int c = compare_conv(rows[i], rows[j]);
    if (c == 0) {
        c = memcmp(rows[i]->entry.mid.b, rows[j]->entry.mid.b, 16);
    }
    return c != 0 ? c : i - j;
}

static int *sorted_places(struct arena *a, struct append **rows, int n)
{
    int *place = arena_array(a, (size_t)n, sizeof(*place));
    for (int i = 0; i < n; i++) {
        place[i] = i;
    }
    qsort_r(place, (size_t)n, sizeof(*place), compare_place, rows);
    return place;
}

static void add_conversations(const struct batch *b, struct pg_args *q)
{
    int *place = sorted_places(b->arena, b->rows, b->n);
    int *k = arena_array(b->arena, (size_t)b->n, sizeof(*k));
    int count = 0;
    for (int i = 0; i < b->n; i++) {
        count += i == 0 || compare_conv(b->rows[place[i - 1]], b->rows[place[i]]) != 0;
        k[place[i]] = count;
    }
    struct pg_array apps = pg_array(b->arena, PG_TYPE_UUID, count), convs = pg_array(b->arena, PG_TYPE_UUID, count),
                    index = pg_array(b->arena, PG_TYPE_INT4, b->n);
    for (int i = 0; i < b->n; i++) {
        if (i == 0 || k[place[i - 1]] != k[place[i]]) {
            pg_add(&apps, b->rows[place[i]]->app.b, 16);
            pg_add(&convs, b->rows[place[i]]->entry.conv.b, 16);
        }
    }
    for (int i = 0; i < b->n; i++) {
        pg_add_int(&index, k[i], 4);
    }
    pg_array_arg(q, &apps);
    pg_array_arg(q, &convs);
    pg_array_arg(q, &index);
}

static void add_rows(const struct batch *b, struct pg_args *q)
{
    struct arena *a = b->arena;
    int n = b->n;
    struct pg_array mids = pg_array(a, PG_TYPE_UUID, n), senders = pg_array(a, PG_TYPE_TEXT, n), clients = pg_array(a, PG_TYPE_TEXT, n),
                    kinds = pg_array(a, PG_TYPE_INT2, n), trusted = pg_array(a, PG_TYPE_BOOL, n), limits = pg_array(a, PG_TYPE_INT4, n),
                    versions = pg_array(a, PG_TYPE_INT8, n), bodies = pg_array(a, PG_TYPE_BYTEA, n);
    for (int i = 0; i < n; i++) {
        const struct append *r = b->rows[i];
        pg_add(&mids, r->entry.mid.b, 16);
        pg_add_text(&senders, r->entry.sender.s);
        pg_add_text(&clients, r->entry.client_msg_id[0] != '\0' ? r->entry.client_msg_id : NULL);
        pg_add_int(&kinds, r->entry.kind, 2);
        pg_add_int(&trusted, r->trusted, 1);
        pg_add_int(&limits, r->member_limit, 4);
        pg_add_int(&versions, r->expected_version, 8);
        pg_add(&bodies, r->entry.body, r->entry.body_len);
    }
    const struct pg_array *all[] = {&mids, &senders, &clients, &kinds, &trusted, &limits, &versions, &bodies};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        pg_array_arg(q, all[i]);
    }
}

/* One call of append_entries(); a deadlock or a serialisation failure is certain to have kept nothing. */
static int run(const struct batch *b, struct pg_rows *rows_r, struct err *e)
{
    for (int attempt = 1;; attempt++) {
        struct pg_args q = {.arena = b->arena};
        add_conversations(b, &q);
        add_rows(b, &q);
        pg_bool(&q, b->wait);
        int result = pg_query_open(PG_APPEND, &q, rows_r, e);
        if (result == 0 || strncmp(pg_failure()->sqlstate, "40", 2) != 0 || attempt == DEADLOCK_TRIES) {
            return result;
        }
    }
}

static bool is_bad_row(void)
{
    const char *s = pg_failure()->sqlstate;
    return strncmp(s, "21", 2) == 0 || strncmp(s, "22", 2) == 0 || strncmp(s, "23", 2) == 0;
}

static void take_results(const struct batch *b, const struct pg_rows *rows)
{
    int written = 0, repeated = 0;
    assert(rows->n == b->n);
    for (int i = 0; i < b->n; i++) {
        struct append *r = b->rows[i];
        r->status = (enum append_status)pg_get_int(rows, i, 0);
        if (r->status == APPEND_WRITTEN || r->status == APPEND_DUPLICATE) {
            r->entry.seq = pg_get_int(rows, i, 1);
            r->entry.created_ms = pg_get_int(rows, i, 2);
            written += r->status == APPEND_WRITTEN;
            repeated += r->status == APPEND_DUPLICATE;
        }
    }
    metric_add(METRIC_COMMITTED, NULL, NULL, written);
    metric_add(METRIC_DUPLICATES, NULL, NULL, repeated);
}

/* Appends; a batch that holds a row which cannot be stored is halved until that row stands alone. *kept: something was stored by an earlier part. */
static int append_all(const struct batch *b, bool *kept, struct err *e)
{
    struct pg_rows rows;
    if (run(b, &rows, e) == 0) {
        take_results(b, &rows);
        *kept = true;
        return 0;
    }
    if (!is_bad_row()) {
        return -1;
    }
    if (b->n == 1) {
        b->rows[0]->status = strcmp(pg_failure()->sqlstate, "23505") == 0 ? APPEND_EXISTS : APPEND_BAD_ROW;
        log_warn("bad_row", "an entry of kind %d cannot be stored: SQLSTATE %s", (int)b->rows[0]->entry.kind, pg_failure()->sqlstate);
        return 0;
    }
    struct batch first = *b, second = *b;
    first.n = b->n / 2;
    second.rows += first.n;
    second.n -= first.n;
    return append_all(&first, kept, e) < 0 ? -1 : append_all(&second, kept, e);
}

/* The rows that are the first of their mid, in order; firsts_r[i] is the row that stands for rows[i]. */
static int fold(struct arena *a, struct append **rows, int n, struct append **kept, struct append **firsts)
{
    int *place = sorted_places(a, rows, n);
    for (int i = 0; i < n; i++) {
        struct append *r = rows[place[i]], *before = i > 0 ? rows[place[i - 1]] : NULL;
        bool repeats = before != NULL && compare_conv(before, r) == 0 && msg_id_equal(&before->entry.mid, &r->entry.mid);
        firsts[place[i]] = repeats ? firsts[place[i - 1]] : r;
    }
    int count = 0;
    for (int i = 0; i < n; i++) {
        if (firsts[i] == rows[i]) {
            kept[count++] = rows[i];
        }
    }
    return count;
}

static int append_batch(struct arena *a, struct append **rows, int n, bool wait, struct err *e)
{
    struct append **kept = arena_array(a, (size_t)n, sizeof(*kept)), **firsts = arena_array(a, (size_t)n, sizeof(*firsts));
    struct batch b = {.arena = a, .rows = kept, .n = fold(a, rows, n, kept, firsts), .wait = wait};
    bool stored = false;
    if (append_all(&b, &stored, e) < 0) {
        bool known = e->code != ERR_UNCERTAIN && !stored;
        return err_set(e, known ? ERR_STORAGE_UNAVAILABLE : ERR_UNCERTAIN,
                       known ? "The database cannot store this now; try again shortly."
                             : "It is not known whether this was stored. Send the same request again.");
    }
    for (int i = 0; i < n; i++) {
        struct append *first = firsts[i];
        if (first != rows[i]) {
            rows[i]->status = first->status == APPEND_WRITTEN ? APPEND_DUPLICATE : first->status;
            rows[i]->entry.seq = first->entry.seq;
            rows[i]->entry.created_ms = first->entry.created_ms;
        }
    }
    return 0;
}

int outbox_append(struct append **rows, int n, bool wait, struct err *e)
{
    assert(n >= 0 && n <= OUTBOX_MAX);
    if (n == 0) {
        return 0;
    }
    struct arena *a = arena_new("outbox");
    int result = append_batch(a, rows, n, wait, e);
    arena_free(&a);
    return result;
}

int append_result(enum append_status s, struct err *e)
{
    switch (s) {
    case APPEND_WRITTEN:
    case APPEND_DUPLICATE:
    case APPEND_UNCHANGED:
        return 0;
    case APPEND_NOT_FOUND:
        return err_set(e, ERR_NOT_FOUND, "There is no such conversation or member.");
    case APPEND_NOT_A_MEMBER:
        return err_set(e, ERR_NOT_A_MEMBER, "The user is not a member of this conversation.");
    case APPEND_MUTED:
        return err_set(e, ERR_USER_MUTED, "The user is muted in this conversation.");
    case APPEND_FROZEN:
        return err_set(e, ERR_CONVERSATION_FROZEN, "The conversation is frozen; nothing can be written until it is unfrozen.");
    case APPEND_ROLE:
        return err_set(e, ERR_ROLE_REQUIRED, "The member's role does not permit this.");
    case APPEND_LATER:
        return err_set(e, ERR_BUSY, "The conversation is busy; try again.");
    case APPEND_LAST_OWNER:
        return err_set(e, ERR_LAST_OWNER, "Make another member an owner first.");
    case APPEND_MEMBER_LIMIT:
        return err_set(e, ERR_MEMBER_LIMIT, "The group has reached its member limit.");
    case APPEND_UNKNOWN_USER:
        return err_set(e, ERR_NOT_FOUND, "A user does not exist or is deactivated; create or reactivate it first.");
    case APPEND_UNKNOWN_ROLE:
        return err_set(e, ERR_VALIDATION_FAILED, "There is no such role.");
    case APPEND_VERSION:
        return err_set(e, ERR_VERSION_MISMATCH, "The group has changed meanwhile; read it again and repeat the change.");
    case APPEND_EXISTS:
        return err_set(e, ERR_ALREADY_EXISTS, "A group with this id or external_id exists already.");
    case APPEND_BAD_ROW:
        return err_set(e, ERR_VALIDATION_FAILED, "This cannot be stored.");
    }
    return err_set(e, ERR_INTERNAL, "Unknown outcome of an append.");
}
