/* The front: terminates HTTP and WebSocket for sessions of other gateways, and decides nothing. A request waits here for the owner's answer like a GET that waits; of
 * a WebSocket the pieces of messages go to the owner as lws hands them out, and whole frames come back, ready to be written. */
#include "realtime/relay_conn.h"

#include "core/metrics.h"
#include "realtime/gateway.h"

#include <errno.h>
#include <unistd.h>

#define BODY_MS 15000   /* as in polling.c: for a body to be complete */
#define SWALLOW_MS 5000 /* after an early answer */
#define SWALLOW_MAX 4000000
#define FLUSH_MS 5000 /* for what is left to be written to a WebSocket that ends */
#define ANSWER_MAX (256u << 20)
#define GOING_AWAY 1001

#define CONTAINER(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

/* A client of another gateway's. */
struct visit {
    struct relay_stream stream;
    bool websocket;
    char sid[EIO_SID_LEN + 1];
    /* a request */
    bool is_get;
    bool begun;    /* some of its body has come */
    bool answered; /* before the end of its body, which is swallowed */
    bool heading;  /* the answer's head has come, its body is coming */
    size_t seen;
    struct relay_answer head;
    /* a WebSocket */
    bool paused; /* nothing is read from it */
    bool ended;  /* by the owner: the close frame follows what is left */
    uint16_t code;
    size_t whole;    /* bytes of `body` that are whole frames: pongs of lws's own may stand behind them */
    size_t owed;     /* bytes in lws's hands of which the owner has not heard */
    struct buf body; /* what goes to the client: of the answer, or frames */
};

static struct visit *visit_new(struct sock *s, const struct request *r, bool websocket)
{
    struct visit *v = calloc(1, sizeof(*v));
    if (v == NULL) {
        fputs("out of memory: relay\n", stderr);
        abort();
    }
    v->websocket = websocket;
    v->is_get = r->method == EIO_GET && !websocket;
    memcpy(v->sid, r->query.sid, EIO_SID_LEN);
    v->stream.sock = s;
    s->visit = v;
    relay_stream_add(relay_conn_for(v->sid, true), &v->stream, RELAY_STREAM_NONE);
    if (websocket) {
        metric_add(METRIC_RELAY_WEBSOCKETS, "front", NULL, 1);
    } else {
        metric_add(METRIC_RELAY_REQUESTS, "front", NULL, 1);
    }
    return v;
}

static void visit_end(struct visit *v)
{
    if (v->websocket) {
        metric_add(METRIC_RELAY_WEBSOCKETS, "front", NULL, -1);
    }
    v->stream.sock->visit = NULL;
    relay_stream_del(&v->stream);
    buf_free(&v->body);
    free(v);
}

static void tell(struct visit *v, enum relay_type type, const void *data, size_t len)
{
    relay_send(&v->stream, type, NULL, 0, data, len);
}

static void tell_gone(const struct relay_stream *s, enum relay_gone why, const char *sid)
{
    char payload[RELAY_GONE_LEN];
    payload[0] = (char)why;
    memcpy(payload + 1, sid, EIO_SID_LEN);
    relay_send(s, RELAY_GONE, NULL, 0, payload, sizeof(payload));
}

void relay_front_lost(struct sock *s)
{
    struct visit *v = s->visit;
    tell_gone(&v->stream, v->is_get ? RELAY_GONE_UNTOLD : RELAY_GONE_LOST, v->sid);
    visit_end(v);
}

/* ---- requests ---- */

static void on_late(struct loop_timer *t)
{
    sock_kill(CONTAINER(t, struct sock, timer));
}

static void hold(struct sock *s)
{
    s->state = SOCK_HELD;
    loop_timer_stop(&s->timer);
    s->ops->hold(s);
}

int relay_front_request(struct sock *s, const struct request *r)
{
    struct relay_request q = {
        .method = r->method, .websocket = strcmp(r->query.transport, "websocket") == 0, .octets = r->octets, .length = r->length};
    struct buf payload = {0};
    struct visit *v = visit_new(s, r, false);
    memcpy(q.sid, v->sid, sizeof(q.sid));
    relay_request_write(&payload, &q);
    tell(v, RELAY_REQUEST, payload.data, payload.len);
    buf_free(&payload);
    if (r->method != EIO_POST) {
        hold(s);
        if (relay_draining) {
            tell(v, RELAY_LET_GO, NULL, 0);
        }
        return 0;
    }
    s->state = SOCK_BODY;
    loop_timer_start(&s->timer, BODY_MS, on_late);
    return r->expects ? http_continue(s) : 0;
}

int relay_front_body(struct sock *s, const char *p, size_t len)
{
    struct visit *v = s->visit;
    if (len == 0) {
        return 0;
    }
    if (!v->begun && http_is_request_line(p, len)) {
        tell_gone(&v->stream, RELAY_GONE_UNREAD, v->sid);
        visit_end(v);
        return -1;
    }
    v->begun = true;
    v->seen += len;
    if (v->answered) {
        return v->seen > SWALLOW_MAX ? -1 : 0;
    }
    for (size_t at = 0; at < len; at += RELAY_PIECE_MAX) {
        tell(v, RELAY_BODY, p + at, len - at < RELAY_PIECE_MAX ? len - at : RELAY_PIECE_MAX);
    }
    return 0;
}

int relay_front_body_end(struct sock *s)
{
    struct visit *v = s->visit;
    if (v->answered) {
        return -1;
    }
    if (v->stream.conn == NULL) {
        visit_end(v);
        return http_refuse(s, EIO_R_UNKNOWN_SID, false);
    }
    tell(v, RELAY_BODY_END, NULL, 0);
    hold(s);
    return 0;
}

/* The owner cannot be asked: its session is as good as unknown. */
static void refuse(struct visit *v)
{
    struct sock *s = v->stream.sock;
    struct buf body = {0};
    if (s->state != SOCK_HELD) {
        return; /* the body comes first */
    }
    visit_end(v);
    eio_add_refusal(&body, EIO_R_UNKNOWN_SID);
    struct answer w = {.status = eio_refusal_status(EIO_R_UNKNOWN_SID), .type = "application/json", .body = body.data, .len = body.len};
    http_answer_held(s, &w);
    buf_free(&body);
}

static void deliver(struct visit *v)
{
    struct sock *s = v->stream.sock;
    struct relay_answer h = v->head;
    struct buf body = v->body;
    struct answer w = {.status = h.status,
                       .type = h.type[0] != '\0' ? h.type : NULL,
                       .extra = h.extra[0] != '\0' ? h.extra : NULL,
                       .body = body.data,
                       .len = body.len,
                       .close = h.close};
    v->body = (struct buf){0};
    v->heading = false;
    if (s->state == SOCK_HELD) {
        struct visit was = *v;
        w.close = w.close || !h.end; /* an early answer that comes late: the body is there */
        visit_end(v);
        http_answer_held(s, &w);
        if (s->broken && was.is_get) {
            tell_gone(&was.stream, RELAY_GONE_UNTOLD, was.sid);
        }
    } else if (!h.end && http_write(s, &w) == 0) {
        v->answered = true;
        loop_timer_start(&s->timer, SWALLOW_MS, on_late);
    } else {
        sock_kill(s);
    }
    buf_free(&body);
}

static int on_answer(struct visit *v, const struct relay_frame *f)
{
    if (v->websocket || v->heading || v->answered || relay_answer_read(f, &v->head) < 0 || v->head.len > ANSWER_MAX) {
        return -1;
    }
    v->heading = true;
    if (v->head.len == 0) {
        deliver(v);
    }
    return 0;
}

static int on_answer_body(struct visit *v, const struct relay_frame *f)
{
    if (!v->heading || f->len > v->head.len - v->body.len) {
        return -1;
    }
    buf_add(&v->body, f->data, f->len);
    if (v->body.len == v->head.len) {
        deliver(v);
    }
    return 0;
}

/* ---- WebSockets ---- */

void relay_front_open(struct sock *s, const struct request *r)
{
    struct visit *v = visit_new(s, r, true);
    loop_timer_stop(&s->timer);
    s->state = SOCK_WS;
    tell(v, RELAY_OPEN, v->sid, EIO_SID_LEN);
}

static void pause_reading(struct visit *v, bool paused)
{
    if (v->paused != paused) {
        v->paused = paused;
        lws_rx_flow_control(v->stream.sock->wsi, paused ? 0 : 1);
    }
}

int relay_front_receive(struct sock *s, const struct piece *p)
{
    struct visit *v = s->visit;
    const char *data = p->data;
    size_t at = 0;
    do {
        char head[RELAY_PIECE_HEAD];
        size_t len = p->len - at < RELAY_PIECE_MAX ? p->len - at : RELAY_PIECE_MAX;
        bool end = at + len == p->len;
        struct relay_piece piece = {
            .first = p->first && at == 0, .last = p->last && end, .binary = p->binary, .rest = p->rest + (p->len - at - len)};
        relay_piece_write(head, &piece);
        relay_send(&v->stream, RELAY_PIECE, head, sizeof(head), data + at, len);
        at += len;
    } while (at < p->len);
    if (v->stream.conn != NULL && v->stream.conn->congested) {
        pause_reading(v, true);
    }
    return 0;
}

static void tell_written(struct visit *v)
{
    char count[4];
    relay_put(count, v->owed, sizeof(count));
    if (v->owed > 0) {
        tell(v, RELAY_WROTE, count, sizeof(count));
        v->owed = 0;
    }
}

/* Gives whole frames to the kernel, and to lws what the kernel does not take of them. 0, or -1: broken. */
static int write_whole(struct visit *v)
{
    struct sock *s = v->stream.sock;
    ssize_t n = write(s->fd, v->body.data, v->whole);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        return -1;
    }
    n = n < 0 ? 0 : n;
    size_t rest = v->whole - (size_t)n;
    if (rest > 0 && lws_write(s->wsi, (unsigned char *)v->body.data + n, rest, LWS_WRITE_HTTP) < (int)rest) {
        return -1;
    }
    v->owed += v->whole;
    v->body.len -= v->whole;
    memmove(v->body.data, v->body.data + v->whole, v->body.len);
    v->whole = 0;
    return 0;
}

static void flush(struct visit *v)
{
    struct sock *s = v->stream.sock;
    if (!lws_partial_buffered(s->wsi) && v->whole > 0 && write_whole(v) < 0) {
        sock_kill(s);
        return;
    }
    if (lws_partial_buffered(s->wsi)) {
        lws_callback_on_writable(s->wsi);
        return;
    }
    tell_written(v);
    if (v->body.len == 0) {
        buf_free(&v->body);
    }
    if (v->ended) {
        uint16_t code = v->code;
        visit_end(v);
        websocket_end(s, code);
    }
}

void relay_front_writable(struct sock *s)
{
    flush(s->visit);
}

static int on_data(struct visit *v, const struct relay_frame *f)
{
    if (!v->websocket) {
        return -1;
    }
    buf_add(&v->body, f->data + 1, f->len - 1);
    if (f->data[0] != 0) {
        v->whole = v->body.len;
        flush(v);
    }
    return 0;
}

static int on_end(struct visit *v, const struct relay_frame *f)
{
    struct sock *s = v->stream.sock;
    if (!v->websocket) {
        return -1;
    }
    v->ended = true;
    v->code = (uint16_t)relay_get(f->data, 2);
    relay_stream_del(&v->stream);
    v->body.len = v->whole;
    pause_reading(v, false);
    loop_timer_start(&s->timer, FLUSH_MS, on_late);
    flush(v);
    return 0;
}

/* ---- what comes from the connection ---- */

int relay_front_frame(struct relay_conn *c, const struct relay_frame *f)
{
    struct relay_stream *s = relay_stream_find(c, f->stream);
    if (s == NULL) {
        return 0; /* the client has gone, the owner does not know it yet */
    }
    struct visit *v = CONTAINER(s, struct visit, stream);
    switch (f->type) {
    case RELAY_ANSWER:
        return on_answer(v, f);
    case RELAY_ANSWER_BODY:
        return on_answer_body(v, f);
    case RELAY_DATA:
        return on_data(v, f);
    case RELAY_END:
        return on_end(v, f);
    case RELAY_KILL:
        sock_kill(s->sock);
        return 0;
    default:
        return -1;
    }
}

static void end_websocket(struct visit *v)
{
    struct sock *s = v->stream.sock;
    tell_gone(&v->stream, RELAY_GONE_LOST, v->sid);
    pause_reading(v, false);
    visit_end(v);
    websocket_end(s, GOING_AWAY);
}

void relay_front_cut(struct relay_stream *s)
{
    struct visit *v = CONTAINER(s, struct visit, stream);
    if (v->websocket) {
        end_websocket(v);
    } else {
        refuse(v);
    }
}

void relay_front_resume(struct relay_stream *s)
{
    struct visit *v = CONTAINER(s, struct visit, stream);
    if (v->websocket) {
        pause_reading(v, false);
    }
}

void relay_front_let_go(struct relay_stream *s)
{
    struct visit *v = CONTAINER(s, struct visit, stream);
    if (v->websocket) {
        end_websocket(v);
    } else {
        tell(v, RELAY_LET_GO, NULL, 0);
    }
}
