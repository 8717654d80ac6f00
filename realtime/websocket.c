/* WebSocket: lws reads frames and answers pings; what we send goes past it, gathered into one writev() per turn. lws's own buffer comes into play for the tail of a
 * frame that the kernel took a part of. */
#include "realtime/link.h"
#include "realtime/sock.h"

#include <errno.h>
#include <sys/uio.h>

#define PROBE_MS 10000
#define PROBE_TICK_MS 100  /* a poll that waits during a probe is ended at the next one */
#define CLOSE_MS 5000      /* the peer must answer our close frame within this */
#define FRAGMENTS_MAX 1000 /* of one message */
#define CLOSE_CODES_END 5000
#define GATHER 64

static void on_timer(struct loop_timer *t);

/* ---- sending ---- */

bool websocket_ready(const struct link *l)
{
    return l->ws != NULL && !l->ws->blocked;
}

static void wait_writable(struct sock *s)
{
    s->blocked = true;
    lws_callback_on_writable(s->wsi);
}

/* How many frames the kernel has with its first n bytes. The rest of a frame that was begun goes into lws's buffer. -1: broken. */
static int took(struct sock *s, const struct iovec *frames, size_t n)
{
    int count = 0;
    for (; n > 0; count++) {
        size_t size = frames[count].iov_len;
        if (n < size) {
            size_t left = size - n;
            if (lws_write(s->wsi, (unsigned char *)frames[count].iov_base + n, left, LWS_WRITE_HTTP) < (int)left) {
                return -1;
            }
            n = size;
        }
        n -= size;
    }
    return count;
}

/* One writev(). */
int websocket_direct_send(struct sock *s, const struct iovec *frames, int n)
{
    size_t total = 0;
    if (lws_get_close_length(s->wsi) > 0) { /* lws has found a fault in the peer's frames: nothing goes behind its close frame */
        s->blocked = true;
        return 0;
    }
    for (int i = 0; i < n; i++) {
        total += frames[i].iov_len;
    }
    ssize_t wrote = lws_partial_buffered(s->wsi) ? 0 : writev(s->fd, frames, n);
    if (wrote < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        return -1;
    }
    if (wrote < (ssize_t)total) {
        wait_writable(s);
    }
    return wrote > 0 ? took(s, frames, (size_t)wrote) : 0;
}

void websocket_flush(struct link *l)
{
    struct sock *s = l->ws;
    while (s != NULL && l->count > 0) {
        struct iovec frames[GATHER];
        struct frame *f;
        int n = 0;
        for (; n < GATHER && (f = link_peek(l, (uint32_t)n)) != NULL; n++) {
            frames[n] = (struct iovec){f->bytes, f->head + f->len};
        }
        s->blocked = false;
        int taken = s->state == SOCK_DEAD ? -1 : s->ops->send(s, frames, n);
        for (int i = 0; i < taken; i++) {
            link_pop(l);
        }
        if (taken < 0) {
            sock_kill(s);
            return;
        }
        if (s->blocked) {
            return;
        }
    }
    if (s != NULL && l->state == LINK_ENDED) {
        websocket_end(s, l->close_code);
    }
}

void websocket_writable(struct sock *s)
{
    struct link *l = s->link;
    s->blocked = false;
    if (l != NULL && l->ws == s) {
        websocket_flush(l);
        link_settle(l);
    }
}

/* lws may buffer it behind whatever it holds. */
void websocket_direct_send_short(struct sock *s, const void *frame, size_t len)
{
    unsigned char copy[LWS_PRE + 32];
    memcpy(copy + LWS_PRE, frame, len);
    if (lws_write(s->wsi, copy + LWS_PRE, len, LWS_WRITE_HTTP) < (int)len) {
        sock_kill(s);
    }
}

static void let_go(struct sock *s)
{
    struct link *l = s->link;
    s->link = NULL;
    if (l != NULL && l->ws == s) {
        l->ws = NULL;
    }
    if (l != NULL && l->probe == s) {
        l->probe = NULL;
        eio_probe_stop(&l->eio);
    }
    buf_free(&s->rx);
}

void websocket_direct_close(struct sock *s, uint16_t code)
{
    unsigned char frame[4] = {0x88, code != 0 ? 2 : 0, (unsigned char)(code >> 8), (unsigned char)code};
    sock_set_ending(s);
    loop_timer_start(&s->timer, CLOSE_MS, on_timer);
    s->bye = true;
    websocket_direct_send_short(s, frame, code != 0 ? 4 : 2);
}

void websocket_end(struct sock *s, uint16_t code)
{
    if (s->state != SOCK_DEAD) {
        let_go(s);
        s->ops->close(s, code);
    }
}

/* ---- receiving ---- */

/* The client upgrades once its poll has ended. */
static void end_poll(struct link *l)
{
    if (l->eio.probe == EIO_PROBED && l->held != NULL) {
        polling_answer(l, l->count == 0 ? "6" : NULL);
    }
}

static void on_timer(struct loop_timer *t)
{
    struct sock *s = (struct sock *)((char *)t - offsetof(struct sock, timer));
    if (s->state != SOCK_PROBE || loop_now_ms() >= s->until_ms) {
        sock_kill(s);
        return;
    }
    end_poll(s->link);
    loop_timer_start(&s->timer, PROBE_TICK_MS, on_timer);
}

static void answer_probe(struct sock *s)
{
    static const char answer[] = "\x81\x06"
                                 "3probe";
    s->ops->send_short(s, answer, sizeof(answer) - 1);
    if (s->link != NULL) {
        end_poll(s->link);
    }
}

static void become_transport(struct sock *s)
{
    struct link *l = s->link;
    loop_timer_stop(&s->timer);
    l->probe = NULL;
    l->ws = s;
    s->state = SOCK_WS;
    if (l->held != NULL) {
        polling_release(l);
    }
    if (l->poster != NULL) { /* correct clients have finished theirs */
        l->poster->post->refusal = EIO_R_BAD_REQUEST;
        l->poster->link = NULL;
        l->poster = NULL;
    }
    link_switched(l);
}

static void packet(struct sock *s, const void *p, size_t len, bool binary)
{
    struct link *l = s->link;
    struct arena *a = arena_new("message");
    struct eio_packet packet = {.type = EIO_MESSAGE, .binary = true, .data = p, .len = len};
    bool probe = s->state == SOCK_PROBE;
    if (!binary && eio_decode(a, p, len, &packet) < 0) {
        if (probe) {
            websocket_end(s, 0);
        } else {
            link_close(l, "parse error", LINK_FLUSH);
        }
        arena_free(&a);
        return;
    }
    switch (link_feed(l, &packet, probe)) {
    case EIO_ANSWER_PROBE:
        answer_probe(s);
        break;
    case EIO_SWITCH:
        become_transport(s);
        break;
    case EIO_DROP_SOCKET:
        websocket_end(s, 0);
        break;
    default:
        break;
    }
    arena_free(&a);
}

/* By a close frame of our own: lws would lose its place in the peer's frames and reset the connection before the peer has read why. What still comes is swallowed. */
static int refuse_message(struct sock *s, enum lws_close_status status)
{
    struct link *l = s->link;
    bool transport = s->state == SOCK_WS;
    websocket_end(s, (uint16_t)status);
    if (transport) {
        link_close(l, "transport error", LINK_CUT);
    }
    return 0;
}

int websocket_receive(struct sock *s, const struct piece *p)
{
    struct link *l = s->link;
    if (s->state == SOCK_ENDING || l == NULL || l->state != LINK_OPEN) {
        return s->state == SOCK_DEAD ? -1 : 0;
    }
    if (s->rx.len + p->len + p->rest > l->limit) {
        return refuse_message(s, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE);
    }
    if (p->first) {
        s->binary = p->binary;
        s->fragments = 0;
        buf_clear(&s->rx);
    }
    if (p->rest == 0 && ++s->fragments > FRAGMENTS_MAX) {
        return refuse_message(s, LWS_CLOSE_STATUS_POLICY_VIOLATION);
    }
    if (p->last && s->rx.len == 0) {
        packet(s, p->data, p->len, s->binary);
        return 0;
    }
    if (s->rx.len == 0 && s->rx.cap < p->len + p->rest) {
        buf_reserve(&s->rx, p->len + p->rest);
    }
    buf_add(&s->rx, p->data, p->len);
    if (!p->last) {
        eio_progress(&l->eio, loop_now_ms());
        return 0;
    }
    if (p->len == 0 && !s->binary &&
        !eio_utf8_valid(s->rx.data, s->rx.len)) { /* the one case that lws lets pass: an empty end within a character */
        return refuse_message(s, LWS_CLOSE_STATUS_INVALID_PAYLOAD);
    }
    struct buf whole = s->rx;
    s->rx = (struct buf){0};
    packet(s, whole.data, whole.len, s->binary);
    buf_free(&whole);
    return 0;
}

/* A code that nobody may send (lws refuses those below 5000), or half of one. */
static bool close_valid(const unsigned char *payload, size_t len)
{
    return len == 0 || (len >= 2 && (payload[0] << 8 | payload[1]) < CLOSE_CODES_END);
}

int websocket_peer_closes(struct sock *s, const void *payload, size_t len)
{
    struct link *l = s->link;
    bool transport = s->state == SOCK_WS, valid = close_valid(payload, len);
    if (s->bye) {
        return -1; /* no second close frame */
    }
    if (valid) {
        let_go(s);
        sock_set_ending(s);
        loop_timer_start(&s->timer, CLOSE_MS, on_timer);
    } else {
        websocket_end(s, LWS_CLOSE_STATUS_PROTOCOL_ERR);
    }
    if (transport) {
        link_close(l, "transport close", LINK_CUT);
    }
    return valid ? 0 : -1;
}

/* ---- opening ---- */

void websocket_open(struct sock *s, const struct request *r, struct link *l)
{
    loop_timer_stop(&s->timer);
    if (l == NULL) {
        l = link_new(EIO_WEBSOCKET, &r->query, (uint8_t)r->path, s->address, r->origin);
        s->state = SOCK_WS;
        s->link = l;
        l->ws = s;
        return;
    }
    if (l->state != LINK_OPEN || !eio_probe_start(&l->eio)) {
        websocket_end(s, 0);
        return;
    }
    s->state = SOCK_PROBE;
    s->link = l;
    l->probe = s;
    s->until_ms = loop_now_ms() + PROBE_MS;
    loop_timer_start(&s->timer, PROBE_TICK_MS, on_timer);
}
