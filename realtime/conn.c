#include "realtime/conn.h"

#include "core/log.h"
#include "core/metrics.h"
#include "core/rate.h"
#include "realtime/link.h"
#include "realtime/sock.h"
#include "realtime/socketio.h"

#define LIMIT_BEFORE_AUTH 65536
#define CHUNK 256 /* connections of one slab */

enum conn_state {
    CONN_PENDING, /* session_connect() has been called, the answer is open */
    CONN_OPEN,
    CONN_ENDED /* session_closed() follows at the end of the turn */
};

struct conn {
    struct link *link;
    uint32_t index, generation;
    enum namespace ns : 8;
    enum conn_state state : 8;
    bool used;
    char id[EIO_SID_LEN + 1];
    void *user;
    const char *reason;
    struct conn *next; /* free, or ended */
};

/* What a link's user is: the namespaces of one Engine.IO session. */
struct peer {
    struct link *link;
    struct conn *conns[NS_COUNT];
    struct sio_session session;
    struct sio_place places[NS_COUNT];
    struct rate_bucket connects;
    struct loop_timer timer;
};

static struct {
    struct conn **chunks;
    uint32_t count;
    struct conn *free, *ended;
} slab;

static struct sio_service service = {.names = namespace_names, .count = NS_COUNT};
static const struct rate_limit connects_limit = {.per_second = 1, .burst = 10};

/* ---- slab ---- */

static void slab_grow(void)
{
    uint32_t chunk = slab.count / CHUNK;
    struct conn **chunks = realloc(slab.chunks, (chunk + 1) * sizeof(*chunks));
    struct conn *fresh = calloc(CHUNK, sizeof(*fresh));
    if (chunks == NULL || fresh == NULL) {
        fputs("out of memory: connections\n", stderr);
        abort();
    }
    slab.chunks = chunks;
    slab.chunks[chunk] = fresh;
    for (uint32_t i = 0; i < CHUNK; i++) {
        fresh[i].index = slab.count++;
        fresh[i].next = slab.free;
        slab.free = &fresh[i];
    }
}

static struct conn *conn_new(struct link *l, enum namespace ns)
{
    if (slab.free == NULL) {
        slab_grow();
    }
    struct conn *c = slab.free;
    slab.free = c->next;
    *c = (struct conn){.link = l, .index = c->index, .generation = c->generation + 1, .ns = ns, .used = true};
    eio_make_sid("", c->id);
    return c;
}

static void conn_free(struct conn *c)
{
    c->used = false;
    c->user = NULL;
    c->link = NULL;
    c->next = slab.free;
    slab.free = c;
}

struct conn_ref conn_ref_of(const struct conn *c)
{
    return (struct conn_ref){c->index, c->generation};
}

static bool live(const struct conn *c)
{
    return c->used && c->state != CONN_ENDED && c->link->state == LINK_OPEN;
}

struct conn *conn_get(struct conn_ref r)
{
    if (r.index >= slab.count) {
        return NULL;
    }
    struct conn *c = &slab.chunks[r.index / CHUNK][r.index % CHUNK];
    return c->generation == r.generation && live(c) ? c : NULL;
}

/* ---- sending ---- */

static void send_text(struct link *l, const struct buf *text)
{
    struct frame *f = frame_text(text->data, text->len);
    link_send(l, f);
    frame_unref(f);
}

static void send_packet(struct link *l, enum sio_type type, const char *nsp, int64_t ack_id, const char *json, size_t len)
{
    struct buf text = {0};
    buf_addc(&text, '4');
    sio_add(&text, type, nsp, ack_id, 0, json, len);
    send_text(l, &text);
    buf_free(&text);
}

void conn_send(struct conn *c, struct frame *f)
{
    if (c->state == CONN_OPEN) {
        link_send(c->link, frame_in(f, c->ns));
    }
}

void conn_emit(struct conn *c, enum rt_event ev, const char *payload, size_t len)
{
    struct frame *f = frame_new(ev, payload, len, SIO_NO_ACK);
    conn_send(c, f);
    frame_unref(f);
}

void conn_ack(struct conn *c, int64_t ack_id, const char *payload, size_t len)
{
    if (c->state != CONN_OPEN) {
        return;
    }
    struct buf text = {0};
    buf_addc(&text, '4');
    sio_add(&text, SIO_ACK, namespace_names[c->ns], ack_id, 0, "[", 1);
    buf_add(&text, payload, len);
    buf_addc(&text, ']');
    send_text(c->link, &text);
    buf_free(&text);
}

uint64_t conn_queued(const struct conn *c)
{
    return c->link->queued;
}

uint64_t conn_proven(const struct conn *c)
{
    return c->link->proven;
}

size_t conn_backlog(const struct conn *c)
{
    return c->link->bytes;
}

/* ---- life of a connection ---- */

static void on_timer(struct loop_timer *t);

static void arm(struct peer *p)
{
    int64_t due = sio_due_ms(&p->session);
    if (due == 0) {
        loop_timer_stop(&p->timer);
    } else {
        loop_timer_start(&p->timer, due - loop_now_ms(), on_timer);
    }
}

static void on_timer(struct loop_timer *t)
{
    struct peer *p = (struct peer *)((char *)t - offsetof(struct peer, timer));
    const char *why = sio_beat(&p->session, loop_now_ms());
    if (why != NULL) {
        link_close(p->link, why, LINK_FLUSH);
    } else {
        arm(p);
    }
}

/* Takes c off its link; session_closed() follows. */
static void end(struct conn *c, const char *reason)
{
    struct peer *p = c->link->user;
    c->state = CONN_ENDED;
    c->reason = reason;
    c->next = slab.ended;
    slab.ended = c;
    p->conns[c->ns] = NULL;
    sio_left(&p->session, c->ns, loop_now_ms());
    arm(p);
}

void conn_accept(struct conn *c)
{
    if (!live(c) || c->state != CONN_PENDING) {
        return;
    }
    struct peer *p = c->link->user;
    struct buf text = {0};
    c->state = CONN_OPEN;
    c->link->limit = (size_t)node.config->max_payload;
    sio_joined(&p->session, c->ns);
    arm(p);
    buf_addc(&text, '4');
    sio_add_connect(&text, namespace_names[c->ns], c->id);
    send_text(c->link, &text);
    buf_free(&text);
    metric_add(METRIC_CONNECTIONS_TOTAL, "accepted", NULL, 1);
}

static void send_connect_error(struct link *l, const char *nsp, const char *message, const char *data)
{
    struct buf text = {0};
    buf_addc(&text, '4');
    sio_add_connect_error(&text, nsp, message, data);
    send_text(l, &text);
    buf_free(&text);
}

void conn_refuse(struct conn *c, const struct err *e)
{
    if (!live(c) || c->state != CONN_PENDING) {
        return;
    }
    struct buf data = {0};
    buf_addf(&data, "{\"code\":\"%s\",\"detail\":", err_name(e->code));
    buf_add_json_string(&data, e->msg, strlen(e->msg));
    buf_addf(&data, ",\"retryable\":%s}", err_retryable(e->code) ? "true" : "false");
    send_connect_error(c->link, namespace_names[c->ns], err_name(e->code), data.data);
    buf_free(&data);
    metric_add(METRIC_CONNECTIONS_TOTAL, err_name(e->code), NULL, 1);
    end(c, "refused");
}

void conn_disconnect(struct conn *c, const char *reason)
{
    if (live(c)) {
        send_packet(c->link, SIO_DISCONNECT, namespace_names[c->ns], SIO_NO_ACK, NULL, 0);
        end(c, reason);
    }
}

void conn_close(struct conn *c, const char *reason)
{
    if (live(c)) {
        link_close(c->link, reason, LINK_FLUSH);
    }
}

/* ---- facts ---- */

const char *conn_id(const struct conn *c)
{
    return c->id;
}

const char *conn_transport(const struct conn *c)
{
    return c->link->eio.transport == EIO_WEBSOCKET ? "websocket" : "polling";
}

const char *conn_address(const struct conn *c)
{
    return c->link->address->text;
}

const char *conn_origin(const struct conn *c)
{
    return c->link->origin;
}

const char *conn_namespace(const struct conn *c)
{
    return namespace_names[c->ns];
}

void conn_set_user(struct conn *c, void *user)
{
    c->user = user;
}

void *conn_user(const struct conn *c)
{
    return c->user;
}

/* ---- packets ---- */

/* Clients mean nothing by asking again, but may not ask for ever. */
static void on_connect(struct peer *p, int ns, enum sio_verdict verdict, const struct sio_packet *packet)
{
    if (!rate_take(&p->connects, &connects_limit, 1, loop_now_ms(), NULL)) {
        link_close(p->link, "forced close", LINK_FLUSH);
    } else if (verdict == SIO_JOIN_UNKNOWN) {
        metric_add(METRIC_CONNECTIONS_TOTAL, "invalid_namespace", NULL, 1);
        send_connect_error(p->link, packet->nsp, "Invalid namespace", NULL);
    } else if (verdict == SIO_JOIN) {
        p->conns[ns] = conn_new(p->link, (enum namespace)ns);
        session_connect(p->conns[ns], packet->data);
    }
}

/* The name is copied: it goes with the array's first item. */
static void on_event(struct conn *c, struct arena *a, struct sio_packet *packet)
{
    const char *name = arena_strdup(a, sio_event_name(a, packet));
    json_array_remove(packet->data, 0);
    session_event(c, name, packet->data, packet->count > 0, packet->ack_id);
}

/* ---- what links tell us ---- */

void link_on_open(struct link *l)
{
    struct peer *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        fputs("out of memory: session\n", stderr);
        abort();
    }
    p->link = l;
    l->user = p;
    l->limit = l->limit < LIMIT_BEFORE_AUTH ? l->limit : LIMIT_BEFORE_AUTH;
    service.join_ms = node.config->connect_timeout;
    service.grace_ms = node.config->ping_interval;
    sio_session_init(&p->session, &service, p->places, loop_now_ms());
    arm(p);
}

void link_on_message(struct link *l, const void *data, size_t len, bool binary)
{
    struct peer *p = l->user;
    struct sio_packet *packet = &p->session.decoder.packet;
    struct err e;
    int ns;
    enum sio_verdict verdict = sio_input(&p->session, data, len, binary, loop_now_ms(), &ns, &e);
    switch (verdict) {
    case SIO_JOIN:
    case SIO_JOIN_AGAIN:
    case SIO_JOIN_UNKNOWN:
        on_connect(p, ns, verdict, packet);
        break;
    case SIO_LEAVE:
        end(p->conns[ns], "client namespace disconnect");
        break;
    case SIO_DELIVER:
        if (packet->type == SIO_EVENT) {
            on_event(p->conns[ns], p->session.decoder.arena, packet);
        } else {
            session_acked(p->conns[ns], packet->ack_id, packet->data);
        }
        break;
    case SIO_BROKEN:
        log_debug("bad_packet", "%s: %s", l->address->text, e.msg);
        link_close(l, "parse error", LINK_FLUSH);
        break;
    case SIO_IGNORE:
        break;
    }
    sio_done(&p->session);
    arm(p);
}

void link_on_proven(struct link *l)
{
    struct peer *p = l->user;
    for (int i = 0; i < NS_COUNT; i++) {
        if (p->conns[i] != NULL && p->conns[i]->state == CONN_OPEN) {
            session_proven(p->conns[i]);
        }
    }
}

void link_on_close(struct link *l, const char *reason)
{
    struct peer *p = l->user;
    loop_timer_stop(&p->timer);
    for (int i = 0; i < NS_COUNT; i++) {
        if (p->conns[i] != NULL) {
            p->conns[i]->state = CONN_ENDED;
            session_closed(p->conns[i], reason);
            conn_free(p->conns[i]);
        }
    }
    sio_session_end(&p->session);
    free(p);
    l->user = NULL;
}

bool link_on_turn_end(void)
{
    bool any = slab.ended != NULL;
    while (slab.ended != NULL) {
        struct conn *c = slab.ended;
        slab.ended = c->next;
        session_closed(c, c->reason);
        conn_free(c);
    }
    return any;
}
