#include "realtime/link.h"

#include "core/metrics.h"
#include "realtime/sock.h"

#include <assert.h>

#define LINGER_MS 30000 /* an ended polling session owes the client its end for so long */
#define FLUSH_MS 5000   /* a closing WebSocket may take so long for what is queued */
#define CLOSE_GOING_AWAY 1001
#define FRAME_COST 64 /* what a queued frame costs beside its bytes */

#define CONTAINER(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

static struct {
    struct link **by_sid;
    size_t buckets, count; /* a power of two; links in the table */
    int open;
    size_t bytes, shown; /* queued; as the metric has it */
    struct link *dirty, *closing, *gone;
} links;

static const char *transport_name(enum eio_transport t)
{
    return t == EIO_WEBSOCKET ? "websocket" : "polling";
}

/* ---- table ---- */

/* The sid's random part is as good as a hash. */
static size_t bucket_of(const char *sid, size_t buckets)
{
    uint64_t h;
    memcpy(&h, sid + EIO_NODE_LEN, sizeof(h));
    return (size_t)(h * 0x9e3779b97f4a7c15u >> 32) & (buckets - 1);
}

static void table_grow(void)
{
    size_t buckets = links.buckets == 0 ? 1024 : links.buckets * 2;
    struct link **fresh = calloc(buckets, sizeof(*fresh));
    if (fresh == NULL) {
        fputs("out of memory: sessions\n", stderr);
        abort();
    }
    for (size_t i = 0; i < links.buckets; i++) {
        for (struct link *l = links.by_sid[i]; l != NULL;) {
            struct link *next = l->next_by_sid, **b = &fresh[bucket_of(l->sid, buckets)];
            l->next_by_sid = *b;
            *b = l;
            l = next;
        }
    }
    free(links.by_sid);
    links.by_sid = fresh;
    links.buckets = buckets;
}

static void table_add(struct link *l)
{
    if (links.count >= links.buckets) {
        table_grow();
    }
    struct link **b = &links.by_sid[bucket_of(l->sid, links.buckets)];
    l->next_by_sid = *b;
    *b = l;
    links.count++;
}

static void table_del(struct link *l)
{
    struct link **b = &links.by_sid[bucket_of(l->sid, links.buckets)];
    while (*b != l) {
        b = &(*b)->next_by_sid;
    }
    *b = l->next_by_sid;
    if (--links.count == 0) {
        free(links.by_sid);
        links.by_sid = NULL;
        links.buckets = 0;
    }
}

struct link *link_find(const char *sid)
{
    if (links.buckets == 0 || strlen(sid) != EIO_SID_LEN) {
        return NULL;
    }
    for (struct link *l = links.by_sid[bucket_of(sid, links.buckets)]; l != NULL; l = l->next_by_sid) {
        if (memcmp(l->sid, sid, EIO_SID_LEN) == 0) {
            bool owes = l->state == LINK_ENDED && l->eio.transport == EIO_POLLING && l->held == NULL;
            return l->state == LINK_OPEN || owes ? l : NULL;
        }
    }
    return NULL;
}

int link_open_count(void)
{
    return links.open;
}

/* ---- queue ---- */

static void push(struct link *l, struct frame *f)
{
    if (l->count == l->room) {
        struct frame **more = calloc(l->room * 2, sizeof(struct frame *));
        if (more == NULL) {
            fputs("out of memory: queue\n", stderr);
            abort();
        }
        for (uint32_t i = 0; i < l->count; i++) {
            more[i] = link_peek(l, i);
        }
        if (l->queue != l->slots) {
            free(l->queue);
        }
        l->queue = more;
        l->room *= 2;
        l->head = 0;
    }
    if (l->count == 0) {
        l->progress_ms = loop_now_ms();
    }
    l->queue[(l->head + l->count++) & (l->room - 1)] = f;
    l->bytes += f->len + FRAME_COST;
    links.bytes += f->len + FRAME_COST;
    l->queued++;
}

struct frame *link_peek(const struct link *l, uint32_t i)
{
    return i < l->count ? l->queue[(l->head + i) & (l->room - 1)] : NULL;
}

static void queue_shrink(struct link *l)
{
    if (l->queue != l->slots) {
        free(l->queue);
    }
    l->queue = l->slots;
    l->room = LINK_SLOTS;
    l->head = 0;
}

void link_pop(struct link *l)
{
    struct frame *f = link_peek(l, 0);
    l->bytes -= f->len + FRAME_COST;
    links.bytes -= f->len + FRAME_COST;
    l->progress_ms = loop_now_ms();
    l->head = (l->head + 1) & (l->room - 1);
    l->sent++;
    if (--l->count == 0 && l->queue != l->slots) {
        queue_shrink(l);
    }
    frame_unref(f);
}

static bool ready(const struct link *l)
{
    return l->eio.transport == EIO_WEBSOCKET ? websocket_ready(l) : polling_ready(l);
}

static void flush(struct link *l)
{
    if (l->eio.transport == EIO_WEBSOCKET) {
        websocket_flush(l);
    } else {
        polling_flush(l);
    }
}

void link_touch(struct link *l)
{
    if (!l->dirty && l->state == LINK_OPEN) {
        l->dirty = true;
        l->next_dirty = links.dirty;
        links.dirty = l;
    }
}

/* The packet under way does not count: a single large answer is no sign of a slow consumer. */
static bool over_budget(const struct link *l)
{
    const struct frame *first = link_peek(l, 0);
    return first != NULL && l->bytes - first->len - FRAME_COST > (size_t)node.config->send_queue;
}

static bool stalled(const struct link *l)
{
    return l->count > 0 && loop_now_ms() - l->progress_ms > node.config->send_stall;
}

void link_send(struct link *l, struct frame *f)
{
    if (l->state != LINK_OPEN || (f->droppable && !ready(l))) {
        return;
    }
    bool slow = stalled(l);
    for (; f != NULL; f = f->next) {
        push(l, f->binary && l->base64 ? frame_base64(f) : frame_ref(f));
    }
    if (over_budget(l)) {
        flush(l);
    }
    if ((slow || over_budget(l)) && l->state == LINK_OPEN) {
        metric_add(METRIC_SENDQ_CUT, NULL, NULL, 1);
        link_close(l, "slow consumer", LINK_CUT);
        return;
    }
    link_touch(l);
}

/* ---- heartbeat ---- */

static void on_beat(struct loop_timer *t)
{
    struct link *l = CONTAINER(t, struct link, timer);
    link_alive(l);
}

bool link_alive(struct link *l)
{
    int64_t now = loop_now_ms();
    if (l->state != LINK_OPEN) {
        return false;
    }
    switch (eio_beat(&l->eio, now)) {
    case EIO_EXPIRED:
        link_close(l, "ping timeout", LINK_CUT);
        return false;
    case EIO_SEND_PING: {
        struct frame *ping = frame_text("2", 1);
        link_send(l, ping);
        frame_unref(ping);
        l->ping_number = l->queued;
        break;
    }
    case EIO_WAIT:
        break;
    }
    if (l->state == LINK_OPEN) {
        loop_timer_start(&l->timer, l->eio.due_ms - now, on_beat);
    }
    return l->state == LINK_OPEN;
}

/* ---- life ---- */

struct link *link_new(enum eio_transport t, const struct eio_query *q, uint8_t path, struct address *address, const char *origin)
{
    struct link *l = calloc(1, sizeof(*l));
    if (l == NULL) {
        fputs("out of memory: session\n", stderr);
        abort();
    }
    l->queue = l->slots;
    l->room = LINK_SLOTS;
    l->base64 = q->base64;
    l->path = path;
    l->address = address_ref(address);
    address->links++;
    l->limit = (size_t)node.config->max_payload;
    if (origin[0] != '\0') {
        l->origin = strdup(origin);
    }
    eio_session_init(&l->eio, t, node.config->ping_interval, node.config->ping_timeout, loop_now_ms());
    eio_make_sid(node.id, l->sid);
    table_add(l);
    links.open++;
    metric_add(METRIC_CONNECTIONS, transport_name(t), NULL, 1);
    loop_timer_start(&l->timer, l->eio.interval_ms, on_beat);
    struct buf open = {0};
    eio_add_open(&open, l->sid, t == EIO_POLLING, l->eio.interval_ms, l->eio.timeout_ms, node.config->max_payload);
    struct frame *f = frame_text(open.data, open.len);
    link_send(l, f);
    frame_unref(f);
    buf_free(&open);
    link_on_open(l);
    return l;
}

void link_switched(struct link *l)
{
    metric_add(METRIC_CONNECTIONS, transport_name(EIO_POLLING), NULL, -1);
    metric_add(METRIC_CONNECTIONS, transport_name(EIO_WEBSOCKET), NULL, 1);
    link_touch(l);
}

void link_close(struct link *l, const char *reason, enum link_end end)
{
    if (l->state != LINK_OPEN) {
        return;
    }
    l->state = LINK_CLOSING;
    l->reason = reason;
    l->end = end;
    if (node.draining) {
        l->close_code = CLOSE_GOING_AWAY;
    }
    loop_timer_stop(&l->timer);
    l->next_closing = links.closing;
    links.closing = l;
}

void link_close_all(const char *reason)
{
    for (size_t i = 0; i < links.buckets; i++) {
        for (struct link *l = links.by_sid[i]; l != NULL; l = l->next_by_sid) {
            link_close(l, reason, LINK_FLUSH);
        }
    }
}

int link_flushing_count(void)
{
    int n = 0;
    for (size_t i = 0; i < links.buckets; i++) {
        for (struct link *l = links.by_sid[i]; l != NULL; l = l->next_by_sid) {
            n += l->ws != NULL || l->probe != NULL;
        }
    }
    return n;
}

enum eio_verdict link_feed(struct link *l, const struct eio_packet *p, bool from_probe)
{
    enum eio_verdict v = eio_input(&l->eio, from_probe, p, loop_now_ms());
    switch (v) {
    case EIO_DELIVER:
        link_on_message(l, p->data, p->len, p->binary);
        break;
    case EIO_PROVEN:
        loop_timer_start(&l->timer, l->eio.due_ms - loop_now_ms(), on_beat);
        if (l->sent >= l->ping_number && l->proven < l->ping_number) {
            l->proven = l->ping_number;
            link_on_proven(l);
        }
        break;
    case EIO_END:
        link_close(l, "transport close", LINK_BYE);
        break;
    case EIO_BROKEN:
        link_close(l, "parse error", LINK_FLUSH);
        return v;
    case EIO_ANSWER_PROBE:
    case EIO_SWITCH:
    case EIO_DROP_SOCKET:
        return v;
    case EIO_IGNORE:
        break;
    }
    return EIO_IGNORE;
}

static void drop_queue(struct link *l)
{
    while (l->count > 0) {
        link_pop(l);
    }
}

static void on_linger_over(struct loop_timer *t)
{
    struct link *l = CONTAINER(t, struct link, timer);
    if (l->ws != NULL) {
        struct sock *s = l->ws;
        l->ws = NULL;
        s->link = NULL;
        sock_kill(s);
    }
    drop_queue(l);
    l->end = LINK_CUT;
    link_settle(l);
}

/* An ended polling session without a waiting GET is remembered, so that the client hears of the end at its next poll. */
static bool owes_an_end(const struct link *l)
{
    return l->eio.transport == EIO_POLLING && l->end == LINK_FLUSH;
}

void link_settle(struct link *l)
{
    bool busy = l->held != NULL || l->poster != NULL || l->ws != NULL || l->probe != NULL;
    if (l->state != LINK_ENDED || busy || owes_an_end(l)) {
        return;
    }
    loop_timer_stop(&l->timer);
    drop_queue(l);
    table_del(l);
    l->state = LINK_CLOSING; /* nobody finds it again; freed once */
    l->next_closing = links.gone;
    links.gone = l;
}

static void end_polling(struct link *l)
{
    if (l->poster != NULL) {
        l->poster->link = NULL; /* its answer will be "Session ID unknown" */
        l->poster->post->refusal = l->end == LINK_FLUSH ? EIO_R_BAD_REQUEST : EIO_R_UNKNOWN_SID;
        l->poster = NULL;
    }
    if (l->held != NULL) {
        polling_answer(l, l->end == LINK_BYE ? "6" : "1");
        l->end = LINK_CUT;
    } else if (owes_an_end(l)) {
        loop_timer_start(&l->timer, LINGER_MS, on_linger_over);
    }
}

static void end_websocket(struct link *l)
{
    if (l->ws == NULL) {
        return;
    }
    if (l->end == LINK_CUT && l->count > 0) {
        struct sock *s = l->ws;
        l->ws = NULL;
        s->link = NULL;
        sock_kill(s);
        return;
    }
    websocket_flush(l);
    if (l->ws != NULL && l->count > 0) {
        loop_timer_start(&l->timer, FLUSH_MS, on_linger_over);
    }
}

static void end_link(struct link *l)
{
    l->state = LINK_ENDED;
    links.open--;
    l->address->links--;
    metric_add(METRIC_CONNECTIONS, transport_name(l->eio.transport), NULL, -1);
    metric_add(METRIC_DISCONNECTS, l->reason, NULL, 1);
    link_on_close(l, l->reason);
    if (l->probe != NULL) {
        websocket_end(l->probe, l->close_code);
    }
    if (l->eio.transport == EIO_POLLING) {
        end_polling(l);
    } else {
        end_websocket(l);
    }
    link_settle(l);
}

static void free_gone(void)
{
    while (links.gone != NULL) {
        struct link *l = links.gone;
        links.gone = l->next_closing;
        queue_shrink(l);
        address_unref(l->address);
        free(l->origin);
        free(l);
    }
}

void link_turn_end(void)
{
    bool more;
    do {
        more = link_on_turn_end();
        while (links.closing != NULL) {
            struct link *l = links.closing;
            links.closing = l->next_closing;
            end_link(l);
            more = true;
        }
        while (links.dirty != NULL) {
            struct link *l = links.dirty;
            links.dirty = l->next_dirty;
            l->dirty = false;
            if (l->state == LINK_OPEN) {
                flush(l);
                more = true;
            }
        }
    } while (more);
    if (links.bytes != links.shown) {
        links.shown = links.bytes;
        metric_set(METRIC_SENDQ_BYTES, NULL, NULL, (int64_t)links.bytes);
    }
    free_gone();
}
