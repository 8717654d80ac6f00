/* Long polling. lws (4.1.6) neither notices that the peer of a waiting GET has hung up nor survives its half-close without spinning, so a waiting GET is taken out
 * of its reading and watched by an epoll instance of our own, which sits in the loop as one descriptor. */
#include "realtime/link.h"
#include "realtime/sock.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MS 15000   /* a POST must be complete after this */
#define SWALLOW_MS 5000 /* after an early answer */
#define SWALLOW_MAX 4000000
#define PLAIN_TEXT "text/plain; charset=UTF-8"
#define NO_STORE "Cache-Control: no-store\r\n"

static struct {
    int fd;
    uv_poll_t poll;
} watcher = {.fd = -1};

/* ---- peers that hang up ---- */

static void hung_up(struct sock *s)
{
    if (s->state == SOCK_HELD) {
        sock_kill(s);
    }
}

static void on_watcher(uv_poll_t *poll, int status, int events)
{
    struct epoll_event ev[64];
    (void)poll;
    (void)status;
    (void)events;
    int n = epoll_wait(watcher.fd, ev, 64, 0);
    for (int i = 0; i < n; i++) {
        hung_up(ev[i].data.ptr); /* gone sockets are freed at the end of the turn */
    }
}

int polling_start(struct err *e)
{
    watcher.fd = epoll_create1(EPOLL_CLOEXEC);
    if (watcher.fd < 0) {
        return err_set(e, ERR_INTERNAL, "epoll_create1: %s.", strerror(errno));
    }
    uv_poll_init(node.loop, &watcher.poll, watcher.fd);
    uv_poll_start(&watcher.poll, UV_READABLE, on_watcher);
    return 0;
}

static void on_closed(uv_handle_t *h)
{
    (void)h;
    close(watcher.fd);
    watcher.fd = -1;
}

void polling_stop(void)
{
    uv_close((uv_handle_t *)&watcher.poll, on_closed);
}

/* One shot: a socket that is not held any more may fire once, which is ignored. Closing the descriptor removes it. */
void polling_direct_hold(struct sock *s)
{
    lws_set_timeout(s->wsi, NO_PENDING_TIMEOUT, 0);
    lws_rx_flow_control(s->wsi, 0);
    struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = s};
    epoll_ctl(watcher.fd, s->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, s->fd, &ev);
    s->watched = true;
}

bool polling_direct_hung_up(const struct sock *s)
{
    char c;
    ssize_t n = recv(s->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

/* ---- GET ---- */

/* Takes packets from the queue into one body: at most EIO_PACKETS_PER_POLL with the tail, and max_payload unless a single packet is larger. */
static void gather(struct link *l, struct buf *body, const char *tail)
{
    size_t most = (size_t)node.config->max_payload;
    int packets = tail != NULL ? 1 : 0;
    for (struct frame *f; packets < EIO_PACKETS_PER_POLL && (f = link_peek(l, 0)) != NULL; packets++) {
        size_t len = f->binary ? (size_t)(f->len + 2) / 3 * 4 + 1 : f->len;
        if (body->len > 0 && body->len + 1 + len > most) {
            break;
        }
        if (body->len > 0) {
            buf_addc(body, EIO_SEPARATOR);
        }
        if (f->binary) {
            eio_add_binary(body, f->bytes + f->head, f->len);
        } else {
            buf_add(body, f->bytes + f->head, f->len);
        }
        link_pop(l);
    }
    if (tail != NULL) {
        if (body->len > 0) {
            buf_addc(body, EIO_SEPARATOR);
        }
        buf_adds(body, tail);
    }
}

static struct answer packets_answer(const struct buf *body)
{
    return (struct answer){.status = 200, .type = PLAIN_TEXT, .extra = NO_STORE, .body = body->data, .len = body->len};
}

/* Packets that were taken from the queue and did not go out are lost, and the session with them. */
static void lose_with(const struct sock *s, struct link *l)
{
    if (s->broken) {
        link_close(l, "transport error", LINK_CUT);
    }
}

static int answer_now(struct sock *s, struct link *l, const char *tail)
{
    struct buf body = {0};
    gather(l, &body, tail);
    struct answer w = packets_answer(&body);
    int rc = http_answer(s, &w);
    buf_free(&body);
    lose_with(s, l);
    return rc;
}

void polling_answer(struct link *l, const char *tail)
{
    struct sock *s = l->held;
    struct buf body = {0};
    gather(l, &body, tail);
    struct answer w = packets_answer(&body);
    l->held = NULL;
    s->link = NULL;
    http_answer_held(s, &w);
    buf_free(&body);
    lose_with(s, l);
}

void polling_release(struct link *l)
{
    struct sock *s = l->held;
    struct answer noop = {.status = 200, .type = PLAIN_TEXT, .extra = NO_STORE, .body = "6", .len = 1};
    l->held = NULL;
    s->link = NULL;
    http_answer_held(s, &noop);
}

bool polling_ready(const struct link *l)
{
    return l->held != NULL && l->count < EIO_PACKETS_PER_POLL;
}

void polling_flush(struct link *l)
{
    if (l->held != NULL && l->count > 0) {
        polling_answer(l, NULL);
    }
}

int polling_open(struct sock *s, const struct request *r)
{
    struct link *l = link_new(EIO_POLLING, &r->query, (uint8_t)r->path, s->address, r->origin);
    return answer_now(s, l, NULL);
}

int polling_get(struct sock *s, struct link *l)
{
    if (l->state == LINK_ENDED) {
        l->end = LINK_CUT;
        int rc = answer_now(s, l, "1");
        link_settle(l);
        return rc;
    }
    if (l->held != NULL) {
        bool gone = l->held->ops->hung_up(l->held);
        link_close(l, "transport error", LINK_CUT);
        struct answer overlap = {.status = 400, .type = PLAIN_TEXT};
        return gone ? http_refuse(s, EIO_R_UNKNOWN_SID, false) : http_answer(s, &overlap);
    }
    if (l->count > 0) {
        return answer_now(s, l, NULL);
    }
    l->held = s;
    s->link = l;
    s->state = SOCK_HELD;
    loop_timer_stop(&s->timer);
    s->ops->hold(s);
    return 0;
}

/* ---- POST ---- */

static int too_large(struct sock *s)
{
    struct answer w = {.status = 413, .type = PLAIN_TEXT, .close = true};
    s->post->answered = true;
    return http_write(s, &w);
}

static void on_timer(struct loop_timer *t)
{
    struct sock *s = (struct sock *)((char *)t - offsetof(struct sock, timer));
    if (s->state == SOCK_BODY) {
        sock_kill(s);
    }
}

int polling_post(struct sock *s, const struct request *r, struct link *l, enum eio_refusal refusal)
{
    size_t limit = l != NULL ? l->limit : (size_t)node.config->max_payload;
    s->post = calloc(1, sizeof(*s->post));
    if (s->post == NULL) {
        return -1;
    }
    s->post->refusal = refusal;
    s->state = SOCK_BODY;
    if ((size_t)r->length > limit) {
        loop_timer_start(&s->timer, SWALLOW_MS, on_timer);
        return too_large(s);
    }
    loop_timer_start(&s->timer, BODY_MS, on_timer);
    if (l != NULL && l->poster != NULL) {
        link_close(l, "transport error", LINK_CUT);
        s->post->refusal = EIO_R_BAD_REQUEST;
    } else if (l != NULL && r->octets) {
        link_close(l, "parse error", LINK_CUT);
        s->post->refusal = EIO_R_BAD_REQUEST;
    } else if (l != NULL) {
        l->poster = s;
        s->link = l;
    }
    if (r->expects) {
        static unsigned char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        return lws_write(s->wsi, go_on, sizeof(go_on) - 1, LWS_WRITE_HTTP) < 0 ? -1 : 0;
    }
    return 0;
}

/* lws (4.1.6) hands out a pipelined request's own head as its body and then never leaves its loop. A body of ours never starts like a request line. */
static bool is_request_line(const char *p, size_t len)
{
    static const char method[] = "post ";
    size_t n = len < sizeof(method) - 1 ? len : sizeof(method) - 1;
    bool blank = (unsigned char)p[0] <= 0x20 && p[0] != EIO_SEPARATOR;
    return blank || (p[0] >= 'A' && p[0] <= 'Z') || strncasecmp(p, method, n) == 0;
}

/* The connection is lost, the session is not: nothing of it was read. */
static int leave(struct sock *s)
{
    if (s->link != NULL) {
        s->link->poster = NULL;
        s->link = NULL;
    }
    return -1;
}

int polling_body(struct sock *s, const char *p, size_t len)
{
    struct post *post = s->post;
    if (post == NULL) {
        return -1;
    }
    if (len == 0) {
        return 0;
    }
    if (post->seen == 0 && is_request_line(p, len)) {
        return leave(s);
    }
    post->seen += len;
    if (post->answered) {
        return post->seen > SWALLOW_MAX ? -1 : 0;
    }
    if (s->link != NULL) {
        eio_progress(&s->link->eio, loop_now_ms());
    }
    if (post->refusal == EIO_ADMITTED) {
        buf_add(&post->body, p, len);
    }
    return 0;
}

/* Feeds the body's packets. EIO_ADMITTED, or why the answer is a refusal. */
static enum eio_refusal feed(struct link *l, const struct buf *body)
{
    if (!link_alive(l)) {
        return EIO_R_UNKNOWN_SID;
    }
    struct arena *a = arena_new("body");
    struct eio_payload it = {body->len > 0 ? body->data : "", body->len, 0};
    struct eio_packet p;
    int rc = eio_utf8_valid(it.next, it.left) ? 1 : -1;
    while (rc > 0 && l->state == LINK_OPEN && (rc = eio_payload_next(&it, a, &p)) > 0) {
        if (link_feed(l, &p, false) == EIO_BROKEN) {
            rc = -1;
        }
    }
    arena_free(&a);
    if (rc < 0) {
        link_close(l, "parse error", LINK_FLUSH);
    }
    if (l->state == LINK_OPEN || strcmp(l->reason, "parse error") != 0) {
        return rc < 0 ? EIO_R_BAD_REQUEST : EIO_ADMITTED;
    }
    l->end = LINK_CUT; /* this answer tells the client of the end: no later poll has to */
    return EIO_R_BAD_REQUEST;
}

int polling_body_end(struct sock *s)
{
    struct post *post = s->post;
    struct link *l = s->link;
    if (post == NULL || post->answered) {
        return -1;
    }
    enum eio_refusal refusal = post->refusal;
    s->link = NULL;
    if (l != NULL) {
        l->poster = NULL;
        refusal = feed(l, &post->body);
    }
    buf_free(&post->body);
    free(post);
    s->post = NULL;
    if (refusal != EIO_ADMITTED) {
        return http_refuse(s, refusal, false);
    }
    struct answer ok = {.status = 200, .type = "text/html", .extra = NO_STORE, .body = "ok", .len = 2};
    return http_answer(s, &ok);
}
