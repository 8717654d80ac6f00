/* bus_item.c: the wire form of an item: [u32 length][16 bytes MAC][body]. Numbers are big-endian. A body is the kind, then the fields of that kind in the order
 * of put_fields(); ids and names are [u8 length][bytes], texts [u32 length][bytes][NUL]. */
#include "core/crypto.h"
#include "core/log.h"
#include "core/metrics.h"
#include "storage/bus-private.h"

#include <assert.h>

#define MAC_LEN 16
#define HEAD_LEN (4 + MAC_LEN)
#define EVENT_MAX 63

static uint8_t mac_key[32];
static bool mac_key_set;

void bus_start(const struct config *c)
{
    size_t len = c->master_key != NULL ? strlen(c->master_key) : 0;
    if (len != 64) {
        log_error("bad_master_key", "PARLEY_MASTER_KEY_FILE must hold 64 hexadecimal digits");
        exit(1);
    }
    crypto_hkdf_sha256(c->master_key, len, "bus", mac_key, sizeof(mac_key));
    mac_key_set = true;
}

static void mac(const char *body, size_t len, uint8_t out[SHA256_LEN])
{
    assert(mac_key_set);
    crypto_hmac_sha256(mac_key, sizeof(mac_key), body, len, out);
}

/* ---- writing ---- */

static void put_number(struct buf *b, uint64_t n, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) {
        buf_addc(b, (char)(n >> (8 * i)));
    }
}

static void put_name(struct buf *b, const char *s)
{
    size_t len = s != NULL ? strlen(s) : 0;
    assert(len <= UINT8_MAX);
    put_number(b, len, 1);
    buf_add(b, s, len);
}

static void put_text(struct buf *b, const char *p, size_t len)
{
    assert(len <= UINT32_MAX);
    put_number(b, len, 4);
    buf_add(b, p, len);
    buf_addc(b, '\0');
}

static void put_event(struct buf *b, const struct bus_item *item)
{
    assert(item->event != NULL && strlen(item->event) <= EVENT_MAX);
    put_text(b, item->event, strlen(item->event));
    put_text(b, item->payload, item->payload != NULL ? item->payload_len : 0);
}

static void put_entry(struct buf *b, const struct entry *en)
{
    put_number(b, (uint64_t)en->seq, 8);
    put_number(b, (uint64_t)en->created_ms, 8);
    put_number(b, (uint64_t)en->kind, 1);
    buf_add(b, en->mid.b, sizeof(en->mid.b));
    put_name(b, en->sender.s);
    put_name(b, en->client_msg_id);
    put_text(b, en->body, en->body_len);
}

static void put_fields(struct buf *b, const struct bus_item *item)
{
    buf_add(b, item->app.b, sizeof(item->app.b));
    switch (item->kind) {
    case BUS_ENTRY:
        buf_add(b, item->conv.b, sizeof(item->conv.b));
        put_entry(b, &item->entry);
        return;
    case BUS_EPHEMERAL:
        buf_add(b, item->conv.b, sizeof(item->conv.b));
        put_name(b, item->user.s);
        put_event(b, item);
        return;
    case BUS_USER:
        put_name(b, item->user.s);
        put_number(b, item->rejoin, 1);
        put_event(b, item);
        return;
    case BUS_PRESENCE:
        put_name(b, item->user.s);
        put_text(b, item->payload, item->payload_len);
        return;
    case BUS_INVALIDATE:
        put_name(b, item->user.s);
        put_event(b, item);
        return;
    }
    abort();
}

void bus_item_encode(struct buf *out, const struct bus_item *item)
{
    static const char head[HEAD_LEN];
    size_t start = out->len;
    buf_add(out, head, sizeof(head));
    put_number(out, item->kind, 1);
    put_fields(out, item);
    size_t len = out->len - start - HEAD_LEN;
    assert(len <= UINT32_MAX);
    uint8_t digest[SHA256_LEN];
    mac(out->data + start + HEAD_LEN, len, digest);
    for (int i = 0; i < 4; i++) {
        out->data[start + (size_t)i] = (char)(len >> (8 * (3 - i)));
    }
    memcpy(out->data + start + 4, digest, MAC_LEN);
}

/* ---- reading ---- */

/* What is left; `bad` sticks, and everything read after it is zero. */
struct reader {
    const char *p, *end;
    bool bad;
};

static const char *take(struct reader *r, size_t len)
{
    if (r->bad || len > (size_t)(r->end - r->p)) {
        r->bad = true;
        return NULL;
    }
    const char *p = r->p;
    r->p += len;
    return p;
}

static uint64_t get_number(struct reader *r, int bytes)
{
    const char *p = take(r, (size_t)bytes);
    uint64_t n = 0;
    for (int i = 0; p != NULL && i < bytes; i++) {
        n = n << 8 | (uint8_t)p[i];
    }
    return n;
}

static void get_bytes(struct reader *r, void *out, size_t len)
{
    const char *p = take(r, len);
    if (p != NULL) {
        memcpy(out, p, len);
    }
}

static void get_name(struct reader *r, char *out, size_t max)
{
    size_t len = get_number(r, 1);
    const char *p = take(r, len);
    if (p == NULL || len > max || memchr(p, '\0', len) != NULL) {
        r->bad = true;
        return;
    }
    memcpy(out, p, len);
    out[len] = '\0';
}

static const char *get_text(struct reader *r, size_t *len_r)
{
    size_t len = get_number(r, 4);
    const char *p = take(r, len);
    const char *end = take(r, 1);
    if (p == NULL || end == NULL || *end != '\0') {
        r->bad = true;
        return NULL;
    }
    *len_r = len;
    return p;
}

static void get_event(struct reader *r, struct bus_item *item)
{
    size_t len = 0;
    item->event = get_text(r, &len);
    if (item->event == NULL || len > EVENT_MAX || strlen(item->event) != len) {
        r->bad = true;
        return;
    }
    item->payload = get_text(r, &item->payload_len);
}

static bool known_entry(uint64_t kind)
{
    switch (kind) {
#define K(name, number, wire) case number:
        ENTRY_KINDS(K)
#undef K
        return true;
    default:
        return false;
    }
}

static void get_entry(struct reader *r, struct bus_item *item)
{
    struct entry *en = &item->entry;
    en->conv = item->conv;
    en->seq = (int64_t)get_number(r, 8);
    en->created_ms = (int64_t)get_number(r, 8);
    uint64_t kind = get_number(r, 1);
    if (!known_entry(kind) || en->seq <= 0) {
        r->bad = true;
        return;
    }
    en->kind = (enum entry_kind)kind;
    get_bytes(r, en->mid.b, sizeof(en->mid.b));
    get_name(r, en->sender.s, USER_ID_MAX);
    get_name(r, en->client_msg_id, CLIENT_MSG_ID_MAX);
    en->body = get_text(r, &en->body_len);
}

static void get_fields(struct reader *r, struct bus_item *item)
{
    uint64_t kind = get_number(r, 1);
    get_bytes(r, item->app.b, sizeof(item->app.b));
    item->kind = (enum bus_kind)kind;
    switch (kind) {
    case BUS_ENTRY:
        get_bytes(r, item->conv.b, sizeof(item->conv.b));
        get_entry(r, item);
        return;
    case BUS_EPHEMERAL:
        get_bytes(r, item->conv.b, sizeof(item->conv.b));
        get_name(r, item->user.s, USER_ID_MAX);
        get_event(r, item);
        return;
    case BUS_USER:
        get_name(r, item->user.s, USER_ID_MAX);
        item->rejoin = get_number(r, 1) != 0;
        get_event(r, item);
        return;
    case BUS_PRESENCE:
        get_name(r, item->user.s, USER_ID_MAX);
        item->payload = get_text(r, &item->payload_len);
        return;
    case BUS_INVALIDATE:
        get_name(r, item->user.s, USER_ID_MAX);
        get_event(r, item);
        return;
    default:
        r->bad = true;
    }
}

int bus_item_decode(const char *p, size_t len, size_t *used_r, struct bus_item *item_r)
{
    struct reader head = {.p = p, .end = p + len};
    size_t body_len = get_number(&head, 4);
    const char *given = take(&head, MAC_LEN);
    const char *body = take(&head, body_len);
    uint8_t digest[SHA256_LEN];
    if (head.bad) {
        return -1;
    }
    mac(body, body_len, digest);
    if (!crypto_equal(digest, given, MAC_LEN)) {
        return -1;
    }
    struct bus_item item = {0};
    struct reader r = {.p = body, .end = body + body_len};
    get_fields(&r, &item);
    if (r.bad || r.p != r.end) {
        return -1;
    }
    *used_r = HEAD_LEN + body_len;
    *item_r = item;
    return 0;
}

/* ---- frames ---- */

int bus_header_parse(const char *p, size_t len, size_t *used_r, struct bus_header *h_r)
{
    struct bus_header h = {.kind = ' '};
    const char *line = memchr(p, '\n', len < 64 ? len : 64);
    const char *space = line != NULL ? memchr(p, ' ', (size_t)(line - p)) : NULL;
    if (space == NULL || space == p || space - p > NODE_ID_MAX || memchr(p, '\0', (size_t)(space - p)) != NULL) {
        return -1;
    }
    memcpy(h.publisher, p, (size_t)(space - p));
    const char *digit = space + 1;
    if (*digit == '=' || *digit == '!') {
        h.kind = *digit++;
    }
    if (digit == line || line - digit > 18) {
        return -1;
    }
    for (; digit < line; digit++) {
        if (*digit < '0' || *digit > '9') {
            return -1;
        }
        h.number = h.number * 10 + (*digit - '0');
    }
    *used_r = (size_t)(line - p) + 1;
    *h_r = h;
    return 0;
}

void bus_each(const char *p, size_t len, void (*fn)(const struct bus_item *item, void *ctx), void *ctx)
{
    while (len > 0) {
        struct bus_item item;
        size_t used;
        if (bus_item_decode(p, len, &used, &item) != 0) {
            metric_add(METRIC_BUS_REFUSED, "item", NULL, 1);
            log_warn("bus_refused", "an item of a bus frame is forged or cut; the rest of the frame is dropped");
            return;
        }
        fn(&item, ctx);
        p += used;
        len -= used;
    }
}

struct placed {
    const struct bus_item *item;
    int position;
};

static int same_place(const struct bus_item *x, const struct bus_item *y)
{
    int n = memcmp(x->app.b, y->app.b, sizeof(x->app.b));
    return n != 0 ? n : memcmp(x->conv.b, y->conv.b, sizeof(x->conv.b));
}

static int by_place(const void *x, const void *y)
{
    const struct placed *a = x, *b = y;
    int n = same_place(a->item, b->item);
    return n != 0 ? n : a->position - b->position;
}

static void free_blobs(void *p)
{
    struct bus_gathered *g = p;
    for (int i = 0; i < g->count; i++) {
        buf_free(&g->blobs[i]);
    }
}

static size_t size_hint(const struct bus_item *item)
{
    return 512 + item->payload_len + item->entry.body_len;
}

int bus_gather(struct arena *a, const struct bus_item *items, int n, struct bus_gathered *g_r)
{
    size_t bytes = 0;
    int taken = 0;
    struct placed *order = arena_array(a, (size_t)n, sizeof(*order));
    while (taken < n && (taken == 0 || bytes + size_hint(&items[taken]) <= BUS_FRAME_MAX)) {
        assert(items[taken].kind == BUS_ENTRY || items[taken].kind == BUS_EPHEMERAL);
        bytes += size_hint(&items[taken]);
        order[taken] = (struct placed){.item = &items[taken], .position = taken};
        taken++;
    }
    qsort(order, (size_t)taken, sizeof(*order), by_place);
    struct bus_gathered *g = arena_alloc(a, sizeof(*g));
    g->apps = arena_array(a, (size_t)taken, sizeof(*g->apps));
    g->convs = arena_array(a, (size_t)taken, sizeof(*g->convs));
    g->blobs = arena_array(a, (size_t)taken, sizeof(*g->blobs));
    arena_defer(a, free_blobs, g);
    for (int i = 0; i < taken; i++) {
        if (i == 0 || same_place(order[i].item, order[i - 1].item) != 0) {
            g->apps[g->count] = order[i].item->app;
            g->convs[g->count++] = order[i].item->conv;
        }
        bus_item_encode(&g->blobs[g->count - 1], order[i].item);
    }
    *g_r = *g;
    return taken;
}
