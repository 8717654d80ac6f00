#include "realtime/accept.h"

#include "core/crypto.h"
#include "core/log.h"
#include "core/metrics.h"
#include "realtime/gateway.h"
#include "realtime/link.h"
#include "realtime/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096
#define ACCEPTS_PER_TURN 64
#define PAUSE_MS 100 /* after accept() has run out of descriptors */
#define ADDRESS_BUCKETS 4096
#define UNSENT_MAX 131072 /* bytes that the kernel holds for a peer that does not read: what else is queued for it is ours to count */

#define LISTENERS_MAX 2

static struct {
    struct lws_vhost *vhost;
    struct listener {
        int fd;
        uv_poll_t poll;
    } listeners[LISTENERS_MAX];
    int listening;
    struct loop_timer pause;
    struct address *by_key[ADDRESS_BUCKETS];
    uint64_t seed;
    int socks, ending;
    bool killed; /* in this turn */
    struct sock *gone;
} a;

/* ---- addresses ---- */

static struct address **bucket_of(const uint8_t key[16])
{
    uint64_t half[2];
    memcpy(half, key, sizeof(half));
    uint64_t h = ((half[0] ^ a.seed) * 0x9e3779b97f4a7c15u ^ half[1]) * (a.seed | 1);
    return &a.by_key[h >> 52 & (ADDRESS_BUCKETS - 1)];
}

static struct address *address_get(const struct sockaddr_storage *sa)
{
    uint8_t key[16] = {[10] = 0xff, [11] = 0xff};
    if (sa->ss_family == AF_INET6) {
        memcpy(key, &((const struct sockaddr_in6 *)sa)->sin6_addr, 16);
    } else {
        memcpy(key + 12, &((const struct sockaddr_in *)sa)->sin_addr, 4);
    }
    struct address **bucket = bucket_of(key);
    for (struct address *p = *bucket; p != NULL; p = p->next) {
        if (memcmp(p->key, key, sizeof(key)) == 0) {
            return address_ref(p);
        }
    }
    struct address *fresh = calloc(1, sizeof(*fresh));
    if (fresh == NULL) {
        return NULL;
    }
    memcpy(fresh->key, key, sizeof(key));
    bool mapped = IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)key);
    inet_ntop(mapped ? AF_INET : AF_INET6, mapped ? key + 12 : key, fresh->text, sizeof(fresh->text));
    fresh->next = *bucket;
    *bucket = fresh;
    metric_add(METRIC_ADDRESSES, NULL, NULL, 1);
    return address_ref(fresh);
}

struct address *address_ref(struct address *p)
{
    p->refs++;
    return p;
}

void address_unref(struct address *p)
{
    if (--p->refs > 0) {
        return;
    }
    struct address **q = bucket_of(p->key);
    while (*q != p) {
        q = &(*q)->next;
    }
    *q = p->next;
    metric_add(METRIC_ADDRESSES, NULL, NULL, -1);
    free(p);
}

/* ---- sockets ---- */

int sock_count(void)
{
    return a.socks;
}

int sock_ending_count(void)
{
    return a.ending;
}

void sock_set_ending(struct sock *s)
{
    a.ending += s->state != SOCK_ENDING;
    s->state = SOCK_ENDING;
}

void sock_lost(struct sock *s)
{
    struct link *l = s->link;
    enum sock_state was = s->state;
    loop_timer_stop(&s->timer);
    a.ending -= was == SOCK_ENDING;
    s->state = SOCK_DEAD;
    s->link = NULL;
    if (l == NULL) {
        return;
    }
    if (l->held == s) {
        l->held = NULL;
    }
    if (l->poster == s) {
        l->poster = NULL;
    }
    if (l->ws == s) {
        l->ws = NULL;
    }
    if (l->probe == s) {
        l->probe = NULL;
        eio_probe_stop(&l->eio);
    }
    if (was != SOCK_PROBE) {
        link_close(l, was == SOCK_WS ? "transport close" : "transport error", LINK_CUT);
    }
    link_settle(l);
}

static void direct_kill(struct sock *s)
{
    lws_set_timeout(s->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_ASYNC);
    a.killed = true;
}

const struct sock_ops sock_direct = {.answer = http_direct_answer,
                                     .answer_held = http_direct_answer_held,
                                     .hold = polling_direct_hold,
                                     .hung_up = polling_direct_hung_up,
                                     .send = websocket_direct_send,
                                     .send_short = websocket_direct_send_short,
                                     .close = websocket_direct_close,
                                     .kill = direct_kill};

void sock_kill(struct sock *s)
{
    if (s->state != SOCK_DEAD) {
        sock_lost(s);
        s->ops->kill(s);
    }
}

static void sock_clear(struct sock *s)
{
    if (s->post != NULL) {
        buf_free(&s->post->body);
        free(s->post);
    }
    buf_free(&s->rx);
    free(s->cors);
    free(s);
}

void sock_gone(struct sock *s)
{
    sock_lost(s);
    s->address->sockets--;
    address_unref(s->address);
    a.socks--;
    metric_add(METRIC_SOCKETS, NULL, NULL, -1);
    s->gone = true;
    s->next = a.gone;
    a.gone = s;
}

/* lws looks at its timers only after events of its own. */
void sock_turn_end(struct lws_context *context)
{
    if (a.killed && context != NULL) {
        a.killed = false;
        lws_cancel_service(context);
    }
    while (a.gone != NULL) {
        struct sock *s = a.gone;
        a.gone = s->next;
        sock_clear(s);
    }
}

/* ---- listener ---- */

static void adopt(int fd, const struct sockaddr_storage *sa)
{
    int one = 1, unsent = UNSENT_MAX;
    struct address *address = address_get(sa);
    struct sock *s = calloc(1, sizeof(*s));
    if (address == NULL || s == NULL || address->sockets >= node.config->connections_per_address) {
        if (address != NULL) {
            address_unref(address);
        }
        free(s);
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
    *s = (struct sock){.ops = &sock_direct, .fd = fd, .address = address};
    address->sockets++;
    a.socks++;
    metric_add(METRIC_SOCKETS, NULL, NULL, 1);
    lws_adopt_desc_t desc = {.vh = a.vhost, .type = LWS_ADOPT_HTTP | LWS_ADOPT_SOCKET, .fd.sockfd = fd, .opaque = s};
    struct lws *wsi = lws_adopt_descriptor_vhost_via_info(&desc);
    if (wsi != NULL) {
        s->wsi = wsi;
    } else if (!s->gone) {
        sock_gone(s); /* lws has closed the descriptor, without WSI_DESTROY */
    }
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void resume(struct loop_timer *t)
{
    (void)t;
    for (int i = 0; i < a.listening; i++) {
        uv_poll_start(&a.listeners[i].poll, UV_READABLE, on_readable);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    const struct listener *at = (struct listener *)((char *)poll - offsetof(struct listener, poll));
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage sa;
        socklen_t len = sizeof(sa);
        int fd = accept4(at->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            adopt(fd, &sa);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_warn("accept_failed", "accepting pauses: %s; raise the limit of open files or add gateways", strerror(errno));
            uv_poll_stop(poll);
            loop_timer_start(&a.pause, PAUSE_MS, resume);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

static int listen_on(const struct addrinfo *ai)
{
    int one = 1, fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

static int start_one(const char *address, const char *port, struct err *e)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICHOST}, *ai;
    struct listener *at = &a.listeners[a.listening];
    if (getaddrinfo(address, port, &hints, &ai) != 0) {
        return err_set(e, ERR_VALIDATION_FAILED, "PARLEY_REALTIME_ADDRESS: %.60s is not a numeric address.", address);
    }
    at->fd = listen_on(ai);
    freeaddrinfo(ai);
    if (at->fd < 0) {
        return err_set(e, ERR_INTERNAL, "Cannot listen on %.60s:%s: %s.", address, port, strerror(errno));
    }
    uv_poll_init(node.loop, &at->poll, at->fd);
    a.listening++;
    return 0;
}

int accept_start(struct lws_vhost *vhost, struct err *e)
{
    char port[8];
    struct err unused;
    snprintf(port, sizeof(port), "%d", node.config->realtime_port);
    a.vhost = vhost;
    crypto_random(&a.seed, sizeof(a.seed));
    if (start_one(node.config->realtime_address, port, e) < 0) {
        return -1;
    }
    if (gateway_setup.also != NULL) {
        (void)!start_one(gateway_setup.also, port, &unused);
    }
    resume(NULL);
    return 0;
}

static void on_closed(uv_handle_t *h)
{
    close(((struct listener *)((char *)h - offsetof(struct listener, poll)))->fd);
}

void accept_stop(void)
{
    loop_timer_stop(&a.pause);
    while (a.listening > 0) {
        uv_close((uv_handle_t *)&a.listeners[--a.listening].poll, on_closed);
    }
}
