/* The owner: a relayed request or WebSocket is a struct sock like any other, with operations of its own. polling.c and websocket.c know no difference. */
#include "realtime/relay_conn.h"

#include "core/metrics.h"
#include "realtime/link.h"

#include <sys/uio.h>

#define STREAMS_MAX 262144 /* of one connection */

struct guest {
    struct sock sock; /* first: freed as one (accept.c) */
    struct relay_stream stream;
    bool websocket;
    size_t under_way; /* bytes of DATA that the front has not written yet */
};

static struct guest *guest_of(const struct sock *s)
{
    return (struct guest *)s;
}

/* Nothing comes or goes any more; freed at the end of the turn. */
static void leave(struct sock *s)
{
    struct guest *g = guest_of(s);
    relay_stream_del(&g->stream);
    if (!s->gone) {
        if (g->websocket) {
            metric_add(METRIC_RELAY_WEBSOCKETS, "owner", NULL, -1);
        }
        sock_retire(s);
    }
}

/* ---- operations ---- */

static int guest_answer(struct sock *s, const struct answer *w, bool end)
{
    struct guest *g = guest_of(s);
    struct relay_answer head = {.status = w->status, .end = end, .close = w->close, .len = (uint32_t)w->len};
    struct buf payload = {0};
    snprintf(head.type, sizeof(head.type), "%s", w->type != NULL ? w->type : "");
    snprintf(head.extra, sizeof(head.extra), "%s", w->extra != NULL ? w->extra : "");
    relay_answer_write(&payload, &head);
    relay_send(&g->stream, RELAY_ANSWER, NULL, 0, payload.data, payload.len);
    buf_free(&payload);
    for (size_t at = 0; at < w->len; at += RELAY_PIECE_MAX) {
        size_t len = w->len - at < RELAY_PIECE_MAX ? w->len - at : RELAY_PIECE_MAX;
        relay_send(&g->stream, RELAY_ANSWER_BODY, NULL, 0, (const char *)w->body + at, len);
    }
    if (end) {
        leave(s);
    }
    return 0;
}

static void guest_answer_held(struct sock *s, const struct answer *w)
{
    guest_answer(s, w, true);
}

static void guest_hold(struct sock *s)
{
    (void)s; /* the front tells us when the client hangs up */
}

static bool guest_hung_up(const struct sock *s)
{
    (void)s;
    return false;
}

/* Whole frames. */
static void send_data(struct guest *g, const char *p, size_t len)
{
    for (size_t at = 0; at < len; at += RELAY_PIECE_MAX) {
        size_t some = len - at < RELAY_PIECE_MAX ? len - at : RELAY_PIECE_MAX;
        relay_send(&g->stream, RELAY_DATA, at + some == len ? "\1" : "\0", 1, p + at, some);
    }
}

static bool must_wait(const struct guest *g)
{
    return g->under_way >= RELAY_WINDOW || g->stream.conn->congested;
}

static int guest_send(struct sock *s, const struct iovec *frames, int n)
{
    struct guest *g = guest_of(s);
    struct buf several = {0};
    int taken = 0;
    if (g->stream.conn == NULL) {
        return -1;
    }
    for (; taken < n && !must_wait(g); taken++) {
        if (several.len > 0 && several.len + frames[taken].iov_len > RELAY_PIECE_MAX) {
            send_data(g, several.data, several.len);
            buf_clear(&several);
        }
        buf_add(&several, frames[taken].iov_base, frames[taken].iov_len);
        g->under_way += frames[taken].iov_len;
    }
    if (several.len > 0) {
        send_data(g, several.data, several.len);
    }
    buf_free(&several);
    s->blocked = must_wait(g);
    return taken;
}

static void guest_send_short(struct sock *s, const void *frame, size_t len)
{
    guest_of(s)->under_way += len;
    send_data(guest_of(s), frame, len);
}

static void guest_close(struct sock *s, uint16_t code)
{
    char payload[2];
    relay_put(payload, code, sizeof(payload));
    relay_send(&guest_of(s)->stream, RELAY_END, NULL, 0, payload, sizeof(payload));
    leave(s);
}

static void guest_kill(struct sock *s)
{
    relay_send(&guest_of(s)->stream, RELAY_KILL, NULL, 0, NULL, 0);
    leave(s);
}

static const struct sock_ops relayed = {.answer = guest_answer,
                                        .answer_held = guest_answer_held,
                                        .hold = guest_hold,
                                        .hung_up = guest_hung_up,
                                        .send = guest_send,
                                        .send_short = guest_send_short,
                                        .close = guest_close,
                                        .kill = guest_kill};

/* ---- what comes from the connection ---- */

static struct sock *guest_new(struct relay_conn *c, uint32_t id, bool websocket)
{
    struct guest *g = calloc(1, sizeof(*g));
    if (g == NULL) {
        fputs("out of memory: relay\n", stderr);
        abort();
    }
    g->sock.ops = &relayed;
    g->sock.fd = -1;
    g->websocket = websocket;
    g->stream.sock = &g->sock;
    relay_stream_add(c, &g->stream, id);
    if (websocket) {
        metric_add(METRIC_RELAY_WEBSOCKETS, "owner", NULL, 1);
    } else {
        metric_add(METRIC_RELAY_REQUESTS, "owner", NULL, 1);
    }
    return &g->sock;
}

/* What lws would do with a callback's result. */
static void hang_up_if(struct sock *s, int rc)
{
    if (rc < 0) {
        sock_kill(s);
    }
}

static int begin(struct relay_conn *c, const struct relay_frame *f)
{
    struct relay_request q = {.method = EIO_GET, .websocket = true, .length = -1};
    bool upgrade = f->type == RELAY_OPEN;
    if (f->stream == RELAY_STREAM_NONE || c->streams.count >= STREAMS_MAX || (!upgrade && relay_request_read(f, &q) < 0)) {
        return -1;
    }
    if (upgrade) {
        memcpy(q.sid, f->data, EIO_SID_LEN);
    }
    struct request r = {.method = q.method, .octets = q.octets, .length = q.length, .origin_allowed = true, .query.has_sid = true};
    snprintf(r.query.transport, sizeof(r.query.transport), "%s", q.websocket ? "websocket" : "polling");
    memcpy(r.query.sid, q.sid, EIO_SID_LEN);
    struct sock *s = guest_new(c, f->stream, upgrade);
    if (upgrade) {
        gateway_upgraded(s, &r);
    } else {
        hang_up_if(s, gateway_serve(s, &r));
    }
    return 0;
}

static int on_piece(struct sock *s, const struct relay_frame *f)
{
    struct relay_piece head;
    relay_piece_read(f, &head);
    struct piece p = {.data = f->data + RELAY_PIECE_HEAD,
                      .len = f->len - RELAY_PIECE_HEAD,
                      .rest = head.rest,
                      .first = head.first,
                      .last = head.last,
                      .binary = head.binary};
    if (!guest_of(s)->websocket) {
        return -1;
    }
    hang_up_if(s, websocket_receive(s, &p));
    return 0;
}

static int on_wrote(struct sock *s, const struct relay_frame *f)
{
    struct guest *g = guest_of(s);
    size_t n = (size_t)relay_get(f->data, 4);
    if (!g->websocket || n > g->under_way) {
        return -1;
    }
    g->under_way -= n;
    relay_owner_resume(&g->stream);
    return 0;
}

/* `stream` may have been answered while this was on its way: what the answer held is lost, and the session with it. */
static void on_gone(const struct relay_stream *stream, const struct relay_frame *f)
{
    char sid[EIO_SID_LEN + 1] = "";
    memcpy(sid, f->data + 1, EIO_SID_LEN);
    struct link *l = stream == NULL && f->data[0] == RELAY_GONE_UNTOLD ? link_find(sid) : NULL;
    if (l != NULL) {
        link_close(l, "transport error", LINK_CUT);
    }
    if (stream != NULL && f->data[0] == RELAY_GONE_UNREAD) {
        polling_leave(stream->sock);
    }
    if (stream != NULL) {
        leave(stream->sock);
    }
}

static void on_let_go(struct sock *s)
{
    struct link *l = s->link;
    if (s->state == SOCK_HELD && l != NULL) {
        polling_answer(l, l->count == 0 ? "6" : NULL);
        link_settle(l);
    }
}

int relay_owner_frame(struct relay_conn *c, const struct relay_frame *f)
{
    struct relay_stream *stream = relay_stream_find(c, f->stream);
    if (f->type == RELAY_REQUEST || f->type == RELAY_OPEN) {
        return stream != NULL ? -1 : begin(c, f);
    }
    if (f->type == RELAY_GONE) {
        on_gone(stream, f);
        return 0;
    }
    if (stream == NULL) {
        return 0; /* has been answered, the front does not know it yet */
    }
    struct sock *s = stream->sock;
    switch (f->type) {
    case RELAY_BODY:
        hang_up_if(s, polling_body(s, f->data, f->len));
        return 0;
    case RELAY_BODY_END:
        hang_up_if(s, polling_body_end(s));
        return 0;
    case RELAY_PIECE:
        return on_piece(s, f);
    case RELAY_WROTE:
        return on_wrote(s, f);
    case RELAY_LET_GO:
        on_let_go(s);
        return 0;
    default:
        return -1;
    }
}

void relay_owner_cut(struct relay_stream *s)
{
    leave(s->sock);
}

void relay_owner_resume(struct relay_stream *s)
{
    struct sock *sock = s->sock;
    if (sock->blocked && s->conn != NULL && !must_wait(guest_of(sock))) {
        websocket_writable(sock);
    }
}
