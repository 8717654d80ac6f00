/* WebSocket: lws reads frames and answers pings; what we send goes past it, gathered into one writev() per turn. lws's own buffer comes into play for the tail of a
 * frame that the kernel took a part of. */
#include "realtime/link.h"
#include "realtime/sock.h"

#include <errno.h>
#include <sys/uio.h>

#define PROBE_MS 10000
#define PROBE_TICK_MS 100 /* a poll that waits during a probe is ended at the next one */
#define CLOSE_MS 5000     /* the peer must answer our close frame within this */
#define FRAGMENTS_MAX 1000
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

/* Drops what the kernel took from the queue. The rest of a frame that was begun goes into lws's buffer. 0, or -1: broken. */
static int took(struct link *l, size_t n)
{
    struct frame *f;
    while (n > 0 && (f = link_peek(l, 0)) != NULL) {
        size_t size = f->head + f->len;
        if (n < size) {
            size_t left = size - n;
            if (lws_write(l->ws->wsi, (unsigned char *)f->bytes + n, left, LWS_WRITE_HTTP) < (int)left) {
                return -1;
            }
            n = size;
        }
        n -= size;
        link_pop(l);
    }
    return 0;
}

/* One writev(). 1: all of it was taken, go on; 0: wait; -1: broken. */
static int write_some(struct link *l)
{
    struct iovec iov[GATHER];
    struct frame *f;
    size_t total = 0;
    int n = 0;
    for (; n < GATHER && (f = link_peek(l, (uint32_t)n)) != NULL; n++) {
        iov[n] = (struct iovec){f->bytes, f->head + f->len};
        total += iov[n].iov_len;
    }
    ssize_t wrote = writev(l->ws->fd, iov, n);
    if (wrote < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : errno == EINTR ? 1 : -1;
    }
    if (took(l, (size_t)wrote) < 0) {
        return -1;
    }
    return (size_t)wrote == total;
}

void websocket_flush(struct link *l)
{
    struct sock *s = l->ws;
    while (s != NULL && l->count > 0) {
        int rc = s->state == SOCK_DEAD ? -1 : lws_partial_buffered(s->wsi) ? 0 : write_some(l);
        if (rc < 0) {
            sock_kill(s);
            return;
        }
        if (rc == 0) {
            wait_writable(s);
            return;
        }
    }
    if (s != NULL && l->state == LINK_ENDED) {
        websocket_end(s, l->close_code);
    }
}

/* Control frames of our own and the answer to a probe: few and small, so lws may buffer them behind whatever it holds. */
static void send_raw(struct sock *s, const void *p, size_t len)
{
    unsigned char copy[LWS_PRE + 32];
    memcpy(copy + LWS_PRE, p, len);
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
    sock_set_ending(s);
    buf_free(&s->rx);
    loop_timer_start(&s->timer, CLOSE_MS, on_timer);
}

void websocket_end(struct sock *s, uint16_t code)
{
    unsigned char frame[4] = {0x88, code != 0 ? 2 : 0, (unsigned char)(code >> 8), (unsigned char)code};
    if (s->state == SOCK_DEAD) {
        return;
    }
    let_go(s);
    s->bye = true;
    send_raw(s, frame, code != 0 ? 4 : 2);
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
    send_raw(s, answer, sizeof(answer) - 1);
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

int websocket_receive(struct sock *s, const void *p, size_t len)
{
    struct link *l = s->link;
    if (s->state == SOCK_ENDING || l == NULL || l->state != LINK_OPEN) {
        return s->state == SOCK_DEAD ? -1 : 0;
    }
    size_t rest = lws_remaining_packet_payload(s->wsi);
    if (s->rx.len + len + rest > l->limit) {
        return refuse_message(s, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE);
    }
    if (lws_is_first_fragment(s->wsi)) {
        s->binary = lws_frame_is_binary(s->wsi);
        s->fragments = 0;
        buf_clear(&s->rx);
    }
    bool last = lws_is_final_fragment(s->wsi);
    if (!last && rest == 0 && ++s->fragments > FRAGMENTS_MAX) {
        return refuse_message(s, LWS_CLOSE_STATUS_POLICY_VIOLATION);
    }
    if (last && s->rx.len == 0) {
        packet(s, p, len, s->binary);
        return 0;
    }
    if (s->rx.len == 0 && s->rx.cap < len + rest) {
        buf_reserve(&s->rx, len + rest);
    }
    buf_add(&s->rx, p, len);
    if (!last) {
        eio_progress(&l->eio, loop_now_ms());
        return 0;
    }
    struct buf whole = s->rx;
    s->rx = (struct buf){0};
    packet(s, whole.data, whole.len, s->binary);
    buf_free(&whole);
    return 0;
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
