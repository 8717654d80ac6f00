/* Connections between gateways: dialled or accepted, proven, then frames both ways until either side has heard nothing for too long. A connection that is to end is
 * marked, and ended between turns, so that nothing dies in the middle of a callback. */
#include "realtime/relay_conn.h"

#include "core/crypto.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/rate.h"

#include <netdb.h>

#define SEEK_MS 1500    /* for the leases to be read */
#define CONNECT_MS 3000 /* dialling and proving, each side */
#define LOOK_MS 500     /* how often these are looked at */
#define BEAT_MS 2000
#define SILENT_MS 8000
#define CONGESTED (4u << 20)    /* bytes to be written: readers of clients stop, WebSockets count as blocked */
#define RELAXED (1u << 20)      /* until so few are left */
#define BACKLOG_MAX (64u << 20) /* what cannot wait, bodies and answers, ends the connection here */
#define UNPROVEN_MAX 64         /* accepted connections that have not proven themselves */
#define EARLY_HEAD 9            /* u8 type, u32 stream, u32 length */

struct relay_conn *relay_conns;
uint8_t relay_secret[RELAY_SECRET_LEN];
static struct relay_conn *dirty;

static void touch(struct relay_conn *c)
{
    if (!c->dirty) {
        c->dirty = true;
        c->next_dirty = dirty;
        dirty = c;
    }
}

void relay_conn_doom(struct relay_conn *c, const char *why)
{
    if (c->doomed == NULL && c->state != RELAY_DROPPED) {
        c->doomed = why;
        touch(c);
    }
}

/* ---- streams ---- */

static bool same_stream(const void *item, const void *key)
{
    return ((const struct relay_stream *)item)->id == *(const uint32_t *)key;
}

static uint64_t hash_of(uint32_t id)
{
    return table_hash(&id, sizeof(id), 0);
}

struct relay_stream *relay_stream_find(const struct relay_conn *c, uint32_t id)
{
    return table_find(&c->streams, hash_of(id), &id);
}

void relay_stream_add(struct relay_conn *c, struct relay_stream *s, uint32_t id)
{
    while (id == RELAY_STREAM_NONE) { /* numbers come round after 4 * 10^9 */
        id = ++c->last_stream;
        id = relay_stream_find(c, id) == NULL ? id : RELAY_STREAM_NONE;
    }
    s->conn = c;
    s->id = id;
    table_put(&c->streams, hash_of(id), s);
}

void relay_stream_del(struct relay_stream *s)
{
    if (s->conn != NULL) {
        table_take(&s->conn->streams, hash_of(s->id), &s->id);
        s->conn = NULL;
    }
}

void relay_conn_each(struct relay_conn *c, void (*fn)(struct relay_stream *s))
{
    size_t n = c->streams.count, i = 0, at = 0;
    struct relay_stream **all = calloc(n + 1, sizeof(*all));
    if (all == NULL) {
        fputs("out of memory: streams\n", stderr);
        abort();
    }
    for (struct relay_stream *s; (s = table_next(&c->streams, &at)) != NULL;) {
        all[i++] = s;
    }
    for (i = 0; i < n; i++) { /* each ends itself at most */
        fn(all[i]);
    }
    free(all);
}

/* ---- writing ---- */

size_t relay_conn_backlog(const struct relay_conn *c)
{
    return c->early.len + c->waiting.len + c->writing.len;
}

static void add_frame(struct relay_conn *c, enum relay_type type, uint32_t stream, const void *head, size_t head_len, const void *data,
                      size_t len)
{
    char early[EARLY_HEAD];
    if (c->state == RELAY_UP) {
        relay_frame_add(&c->waiting, &c->out, type, stream, head, head_len, data, len);
    } else {
        early[0] = (char)type;
        relay_put(early + 1, stream, 4);
        relay_put(early + 5, head_len + len, 4);
        buf_add(&c->early, early, sizeof(early));
        buf_add(&c->early, head, head_len);
        buf_add(&c->early, data, len);
    }
    touch(c);
    size_t backlog = relay_conn_backlog(c);
    c->congested = c->congested || backlog > CONGESTED;
    if (backlog > BACKLOG_MAX) {
        relay_conn_doom(c, "backlog");
    }
}

void relay_send(const struct relay_stream *s, enum relay_type type, const void *head, size_t head_len, const void *data, size_t len)
{
    if (s->conn != NULL && s->conn->doomed == NULL) {
        add_frame(s->conn, type, s->id, head, head_len, data, len);
    }
}

static void flush(struct relay_conn *c);

static void on_written(uv_write_t *w, int status)
{
    struct relay_conn *c = w->data;
    buf_free(&c->writing);
    if (status < 0) {
        relay_conn_doom(c, "lost");
        return;
    }
    flush(c);
    if (c->congested && relay_conn_backlog(c) < RELAXED) {
        c->congested = false;
        relay_conn_each(c, c->side == RELAY_FRONT ? relay_front_resume : relay_owner_resume);
    }
}

static void flush(struct relay_conn *c)
{
    if (c->writing.len > 0 || c->waiting.len == 0 || c->state == RELAY_DROPPED) {
        return;
    }
    c->writing = c->waiting;
    c->waiting = (struct buf){0};
    uv_buf_t b = uv_buf_init(c->writing.data, (unsigned)c->writing.len);
    c->write.data = c;
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &b, 1, on_written) < 0) {
        buf_free(&c->writing);
        relay_conn_doom(c, "lost");
    }
}

/* ---- the start ---- */

static void set_state(struct relay_conn *c, enum relay_state state)
{
    c->state = state;
    c->since_ms = c->heard_ms = loop_now_ms();
}

static void send_early(struct relay_conn *c)
{
    struct buf early = c->early;
    c->early = (struct buf){0};
    for (size_t at = 0; at < early.len;) {
        const char *p = early.data + at;
        size_t len = (size_t)relay_get(p + 5, 4);
        add_frame(c, (enum relay_type)p[0], (uint32_t)relay_get(p + 1, 4), NULL, 0, p + EARLY_HEAD, len);
        at += EARLY_HEAD + len;
    }
    buf_free(&early);
}

static void go_up(struct relay_conn *c)
{
    bool front = c->side == RELAY_FRONT;
    relay_shake_keys(&c->shake, front ? &c->out : &c->in, front ? &c->in : &c->out);
    for (struct relay_conn *other = relay_conns; other != NULL; other = other->next) {
        if (other != c && other->side == c->side && other->state == RELAY_UP && strcmp(other->peer, c->peer) == 0) {
            relay_conn_doom(other, "replaced"); /* a front has one, so it knows that this one is dead */
        }
    }
    set_state(c, RELAY_UP);
    if (!front) {
        relay_node_seen(c->peer);
    }
    log_info("relay_up", front ? "connected with gateway %s, to relay to it" : "gateway %s has connected, to relay to this one", c->peer);
    send_early(c);
}

/* Takes its part of the handshake from p. How much; 0: more is needed. */
static size_t shake(struct relay_conn *c, const char *p, size_t len)
{
    char out[RELAY_CHALLENGE_LEN];
    if (c->side == RELAY_FRONT) {
        if (len < RELAY_CHALLENGE_LEN) {
            return 0;
        }
        if (relay_challenge_read(&c->shake, p) < 0) {
            relay_conn_doom(c, "auth");
            return len;
        }
        relay_proof_make(&c->shake, out);
        buf_add(&c->waiting, out, RELAY_PROOF_LEN);
        touch(c);
        go_up(c);
        return RELAY_CHALLENGE_LEN;
    }
    bool greeted = c->peer[0] != '\0';
    size_t wanted = greeted ? RELAY_PROOF_LEN : RELAY_HELLO_LEN;
    if (len < wanted) {
        return 0;
    }
    if (greeted ? relay_proof_read(&c->shake, p) < 0 : relay_hello_read(&c->shake, p, node.id, c->peer) < 0) {
        relay_conn_doom(c, greeted ? "auth" : "hello");
    } else if (greeted) {
        go_up(c);
    } else {
        relay_challenge_make(&c->shake, out);
        buf_add(&c->waiting, out, sizeof(out));
        touch(c);
    }
    return wanted;
}

/* ---- reading ---- */

static void serve(struct relay_conn *c, const struct relay_frame *f)
{
    if (f->type == RELAY_PING) {
        add_frame(c, RELAY_PONG, RELAY_STREAM_NONE, NULL, 0, NULL, 0);
    } else if (f->type != RELAY_PONG && (c->side == RELAY_FRONT ? relay_front_frame(c, f) : relay_owner_frame(c, f)) < 0) {
        relay_conn_doom(c, "payload");
    }
}

/* Takes one thing from p. How much; 0: more is needed. */
static size_t take(struct relay_conn *c, const char *p, size_t len)
{
    struct relay_frame f;
    size_t used = 0;
    const char *why;
    if (c->state != RELAY_UP) {
        return shake(c, p, len);
    }
    int rc = relay_frame_next(&c->in, c->side == RELAY_FRONT ? RELAY_OWNER : RELAY_FRONT, p, len, &f, &used, &why);
    if (rc < 0) {
        relay_conn_doom(c, why);
        return len;
    }
    if (rc > 0) {
        serve(c, &f);
    }
    return used;
}

static void on_room(uv_handle_t *h, size_t wanted, uv_buf_t *b)
{
    static char room[65536]; /* what is read is used before anything else is */
    (void)h;
    (void)wanted;
    *b = uv_buf_init(room, sizeof(room));
}

static void on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *b)
{
    struct relay_conn *c = tcp->data;
    size_t at = 0, used = 1;
    if (n <= 0 || c->doomed != NULL) {
        if (n < 0) {
            relay_conn_doom(c, n == UV_EOF ? "closed" : "lost");
        }
        return;
    }
    c->heard_ms = loop_now_ms();
    buf_add(&c->received, b->base, (size_t)n);
    while (c->doomed == NULL && at < c->received.len && (used = take(c, c->received.data + at, c->received.len - at)) > 0) {
        at += used;
    }
    c->received.len -= at;
    memmove(c->received.data, c->received.data + at, c->received.len);
}

/* ---- life ---- */

static void conn_free(struct relay_conn *c)
{
    struct relay_conn **p = &relay_conns;
    if (c->open || c->resolving) {
        return; /* there is more to come */
    }
    while (*p != c) {
        p = &(*p)->next;
    }
    *p = c->next;
    buf_free(&c->writing);
    free(c);
}

static void on_closed(uv_handle_t *h)
{
    struct relay_conn *c = h->data;
    c->open = false;
    conn_free(c);
}

static void note_end(const struct relay_conn *c, enum relay_state was)
{
    static struct rate_bucket bucket;
    static const struct rate_limit limit = {.per_second = 1, .burst = 20};
    if (strcmp(c->doomed, "stop") == 0 || was == RELAY_SEEKING) { /* clients name what nodes they like */
        return;
    }
    metric_add(METRIC_RELAY_ERRORS, c->doomed, NULL, 1);
    if (!rate_take(&bucket, &limit, 1, loop_now_ms(), NULL)) {
        return; /* whoever can reach the port can make these lines */
    }
    if (was == RELAY_UP) {
        log_event(strcmp(c->doomed, "closed") == 0 ? LOG_INFO : LOG_WARN, "relay_lost",
                  "the relay's connection with gateway %s has ended: %s", c->peer, c->doomed);
    } else if (c->side == RELAY_OWNER) {
        log_warn("relay_refused", "a connection to the relay's port was refused: %s", c->doomed);
    } else {
        log_warn("relay_unreachable", "gateway %s cannot be reached over the relay: %s", c->peer, c->doomed);
    }
}

static void forget_conn(struct relay_stream *s)
{
    s->conn = NULL;
}

static void drop(struct relay_conn *c)
{
    enum relay_state was = c->state;
    struct relay_conn lost = {.streams = c->streams};
    note_end(c, was);
    if (c->side == RELAY_FRONT && was != RELAY_UP) {
        relay_node_failed(c->peer);
    }
    c->state = RELAY_DROPPED;
    c->streams = (struct table){.same = same_stream};
    loop_timer_stop(&c->timer);
    relay_conn_each(&lost, forget_conn);
    relay_conn_each(&lost, c->side == RELAY_FRONT ? relay_front_cut : relay_owner_cut);
    table_free(&lost.streams);
    buf_free(&c->early);
    buf_free(&c->waiting);
    buf_free(&c->received);
    crypto_wipe(&c->shake, sizeof(c->shake));
    if (c->resolving) {
        uv_cancel((uv_req_t *)&c->resolve);
    }
    if (c->open) {
        uv_close((uv_handle_t *)&c->tcp, on_closed);
    } else {
        conn_free(c);
    }
}

void relay_turn_begin(void)
{
    for (struct relay_conn **p = &dirty; *p != NULL;) {
        struct relay_conn *c = *p;
        if (c->doomed != NULL) {
            *p = c->next_dirty;
            c->dirty = true; /* never again in the list */
            drop(c);
        } else {
            p = &c->next_dirty;
        }
    }
}

void relay_turn_end(void)
{
    struct relay_conn *doomed = NULL;
    while (dirty != NULL) {
        struct relay_conn *c = dirty;
        dirty = c->next_dirty;
        c->dirty = false;
        flush(c);
        if (c->doomed != NULL) {
            c->dirty = true;
            c->next_dirty = doomed;
            doomed = c;
        }
    }
    dirty = doomed;
}

static void on_beat(struct loop_timer *t)
{
    struct relay_conn *c = (struct relay_conn *)((char *)t - offsetof(struct relay_conn, timer));
    int64_t now = loop_now_ms();
    if (c->state != RELAY_UP) {
        int64_t most = c->state == RELAY_SEEKING ? SEEK_MS : CONNECT_MS;
        if (now - c->since_ms >= most) {
            relay_conn_doom(c, "timeout");
        }
        loop_timer_start(t, LOOK_MS, on_beat);
        return;
    }
    if (now - c->heard_ms >= SILENT_MS) {
        relay_conn_doom(c, "silent");
    } else if (c->side == RELAY_FRONT) {
        add_frame(c, RELAY_PING, RELAY_STREAM_NONE, NULL, 0, NULL, 0);
    }
    loop_timer_start(t, BEAT_MS, on_beat);
}

struct relay_conn *relay_conn_new(enum relay_side side, const char *peer)
{
    struct relay_conn *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        fputs("out of memory: relay\n", stderr);
        abort();
    }
    c->side = side;
    c->streams.same = same_stream;
    snprintf(c->peer, sizeof(c->peer), "%s", peer);
    memcpy(c->shake.secret, relay_secret, sizeof(c->shake.secret));
    set_state(c, RELAY_SEEKING);
    c->next = relay_conns;
    relay_conns = c;
    loop_timer_start(&c->timer, LOOK_MS, on_beat);
    return c;
}

static int start_reading(struct relay_conn *c)
{
    uv_tcp_nodelay(&c->tcp, 1);
    set_state(c, RELAY_SHAKING);
    return uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read);
}

static int open_handle(struct relay_conn *c)
{
    int rc = uv_tcp_init(node.loop, &c->tcp);
    c->tcp.data = c;
    c->open = rc == 0;
    return rc;
}

/* ---- dialling ---- */

static void on_connected(uv_connect_t *r, int status)
{
    struct relay_conn *c = r->data;
    char hello[RELAY_HELLO_LEN];
    if (c->state != RELAY_DIALLING) {
        return;
    }
    if (status < 0 || start_reading(c) < 0) {
        relay_conn_doom(c, "connect");
        return;
    }
    relay_hello_make(&c->shake, node.id, c->peer, hello);
    buf_add(&c->waiting, hello, sizeof(hello));
    touch(c);
}

static void on_resolved(uv_getaddrinfo_t *r, int status, struct addrinfo *ai)
{
    struct relay_conn *c = r->data;
    c->resolving = false;
    if (c->state == RELAY_DROPPED) {
        conn_free(c);
    } else {
        c->connect.data = c;
        if (status < 0 || open_handle(c) < 0 || uv_tcp_connect(&c->connect, &c->tcp, ai->ai_addr, on_connected) < 0) {
            relay_conn_doom(c, "connect");
        }
    }
    uv_freeaddrinfo(ai);
}

void relay_conn_dial(struct relay_conn *c, const struct relay_node *n)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    char host[RELAY_ADDRESS_MAX + 1];
    const char *colon = strrchr(n->address, ':'), *from = n->address;
    size_t len = colon != NULL ? (size_t)(colon - n->address) : 0;
    if (len >= 2 && from[0] == '[' && from[len - 1] == ']') {
        from++;
        len -= 2;
    }
    snprintf(host, sizeof(host), "%.*s", (int)len, from);
    snprintf(c->peer, sizeof(c->peer), "%s", n->id);
    set_state(c, RELAY_DIALLING);
    c->resolve.data = c;
    c->resolving = len > 0 && uv_getaddrinfo(node.loop, &c->resolve, on_resolved, host, colon + 1, &hints) == 0;
    if (!c->resolving) {
        relay_conn_doom(c, "connect");
    }
}

/* ---- accepting ---- */

/* Proving takes a moment: whoever has been at it for the longest will not. */
static void make_room(void)
{
    struct relay_conn *oldest = NULL;
    int n = 0;
    for (struct relay_conn *c = relay_conns; c != NULL; c = c->next) {
        if (c->side == RELAY_OWNER && c->state == RELAY_SHAKING && c->doomed == NULL) {
            n++;
            oldest = c; /* new ones are first in the list */
        }
    }
    if (n > UNPROVEN_MAX) {
        relay_conn_doom(oldest, "crowded");
    }
}

void relay_conn_accept(uv_stream_t *listener)
{
    struct relay_conn *c = relay_conn_new(RELAY_OWNER, "");
    if (open_handle(c) < 0 || uv_accept(listener, (uv_stream_t *)&c->tcp) < 0 || start_reading(c) < 0) {
        relay_conn_doom(c, "accept");
    }
    make_room();
}
