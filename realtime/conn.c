#include "realtime/conn.h"

#include "core/log.h"
#include "core/metrics.h"
#include "core/rate.h"
#include "realtime/link.h"
#include "realtime/overload.h"
#include "realtime/sock.h"
#include "realtime/socketio.h"

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
    bool used, leaving;
    char id[EIO_SID_LEN + 1];
    void *user;
    const char *reason;
    struct conn *next; /* free, or ended */
};

/* What a link's user is: the namespaces of one Engine.IO session. */
struct peer {
    struct link *link;
    struct conn *conns[NS_COUNT];
    int64_t left_until_ms[NS_COUNT]; /* packets under way to a namespace just left are dropped until then */
    int64_t join_by_ms;              /* 0 = has joined */
    struct sio_decoder decoder;
    struct rate_bucket connects;
    struct loop_timer timer;
};

static struct {
    struct conn **chunks;
    uint32_t count;
    struct conn *free, *ended;
} slab;

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
    int64_t now = loop_now_ms(), due = p->join_by_ms;
    if (sio_collecting(&p->decoder) && (due == 0 || p->decoder.since_ms + SIO_RUN_MS_MAX < due)) {
        due = p->decoder.since_ms + SIO_RUN_MS_MAX;
    }
    if (due == 0) {
        loop_timer_stop(&p->timer);
    } else {
        loop_timer_start(&p->timer, due - now, on_timer);
    }
}

static void on_timer(struct loop_timer *t)
{
    struct peer *p = (struct peer *)((char *)t - offsetof(struct peer, timer));
    int64_t now = loop_now_ms();
    if (sio_collecting(&p->decoder) && now >= p->decoder.since_ms + SIO_RUN_MS_MAX) {
        link_close(p->link, "parse error", LINK_FLUSH);
    } else if (p->join_by_ms != 0 && now >= p->join_by_ms) {
        link_close(p->link, "connect timeout", LINK_FLUSH);
    } else {
        arm(p);
    }
}

static bool joined(const struct peer *p)
{
    for (int i = 0; i < NS_COUNT; i++) {
        if (p->conns[i] != NULL && p->conns[i]->state == CONN_OPEN) {
            return true;
        }
    }
    return false;
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
    p->left_until_ms[c->ns] = loop_now_ms() + node.config->ping_interval;
    if (!joined(p) && p->join_by_ms == 0) {
        p->join_by_ms = loop_now_ms() + node.config->connect_timeout;
        arm(p);
    }
}

/* A body may hold as much as the deployment takes, since clients fill it up to what the handshake says; each packet in it only what the app allows. */
void conn_set_limits(struct conn *c, const struct conn_limits *limits)
{
    if (!live(c)) {
        return;
    }
    struct peer *p = c->link->user;
    struct sio_decoder *d = &p->decoder;
    bool more = joined(p);
    c->link->body_limit = (size_t)node.config->max_payload;
    c->link->limit = more && c->link->limit > limits->message ? c->link->limit : limits->message;
    d->attachments_most = more && d->attachments_most > limits->attachments ? d->attachments_most : limits->attachments;
    d->bytes_most = more && d->bytes_most > limits->attachment_bytes ? d->bytes_most : limits->attachment_bytes;
}

void conn_accept(struct conn *c)
{
    if (!live(c) || c->state != CONN_PENDING) {
        return;
    }
    struct peer *p = c->link->user;
    struct buf text = {0};
    c->state = CONN_OPEN;
    p->join_by_ms = 0;
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

void conn_leave(struct conn *c, const char *reason)
{
    struct peer *p = live(c) ? c->link->user : NULL;
    c->leaving = true;
    for (int i = 0; i < NS_COUNT; i++) {
        if (p == NULL || (p->conns[i] != NULL && !p->conns[i]->leaving)) {
            return;
        }
    }
    link_close(c->link, reason, LINK_FLUSH);
}

/* ---- facts ---- */

uint32_t conn_spread(const struct conn *c, uint32_t n)
{
    uint32_t random;
    memcpy(&random, c->link->sid + EIO_SID_LEN - sizeof(random), sizeof(random));
    return n == 0 ? 0 : (random * 2654435761u >> 8) % n;
}

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

static void broken(struct peer *p)
{
    link_close(p->link, "parse error", LINK_FLUSH);
}

static void on_connect(struct peer *p, int ns, const struct sio_packet *packet)
{
    if (!rate_take(&p->connects, &connects_limit, 1, loop_now_ms(), NULL)) {
        link_close(p->link, "forced close", LINK_FLUSH);
    } else if (ns < 0) {
        metric_add(METRIC_CONNECTIONS_TOTAL, "invalid_namespace", NULL, 1);
        send_connect_error(p->link, packet->nsp, "Invalid namespace", NULL);
    } else if (p->conns[ns] == NULL) { /* else: asked twice, and the JS client means nothing by it */
        p->conns[ns] = conn_new(p->link, (enum namespace)ns);
        session_connect(p->conns[ns], packet->data);
    }
}

/* The name is copied: it goes with the array's first item. */
static void on_event(struct peer *p, struct conn *c, struct sio_packet *packet)
{
    const char *name = arena_strdup(p->decoder.arena, sio_event_name(p->decoder.arena, packet));
    json_array_remove(packet->data, 0);
    session_event(c, name, packet->data, packet->count > 0, packet->ack_id);
}

static void on_packet(struct peer *p, struct sio_packet *packet)
{
    int ns = NS_COUNT - 1;
    while (ns >= 0 && strcmp(namespace_names[ns], packet->nsp) != 0) {
        ns--;
    }
    struct conn *c = ns >= 0 ? p->conns[ns] : NULL;
    if (packet->type == SIO_CONNECT) {
        on_connect(p, ns, packet);
    } else if (c == NULL) {
        if (ns < 0 || loop_now_ms() >= p->left_until_ms[ns]) {
            broken(p);
        }
    } else if (packet->type == SIO_DISCONNECT) {
        end(c, "client namespace disconnect");
    } else if (c->state != CONN_OPEN) {
        broken(p); /* official clients wait for the reply */
    } else if (packet->type == SIO_EVENT) {
        on_event(p, c, packet);
    } else {
        session_acked(c, packet->ack_id, packet->data);
    }
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
    size_t most = (size_t)node.config->payload_before_auth;
    l->limit = l->body_limit = l->limit < most ? l->limit : most;
    p->decoder.attachments_most = node.config->attachments;
    p->decoder.bytes_most = (size_t)node.config->attachment_bytes;
    p->join_by_ms = loop_now_ms() + node.config->connect_timeout;
    arm(p);
}

/* The namespace that a CONNECT packet is for, told by its first bytes; -1 none of ours, or no CONNECT. */
static int connect_of(const struct sio_decoder *d, const char *p, size_t len)
{
    if (len == 0 || p[0] != '0' || sio_collecting(d)) {
        return -1;
    }
    if (len == 1 || p[1] != '/') {
        return NS_ROOT;
    }
    const char *comma = memchr(p, ',', len);
    size_t name = (comma != NULL ? (size_t)(comma - p) : len) - 1;
    for (int i = 0; i < NS_COUNT; i++) {
        if (strlen(namespace_names[i]) == name && memcmp(namespace_names[i], p + 1, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* A new namespace while there are to be none: the transport is closed before anything is parsed, and the client comes back in a while or elsewhere. One that is
 * connected already is asked for again by clients that mean nothing by it. */
static const char *unwelcome(const struct peer *p, const char *data, size_t len)
{
    int ns = connect_of(&p->decoder, data, len);
    return ns >= 0 && p->conns[ns] == NULL ? overload_refuses() : NULL;
}

void link_on_message(struct link *l, const void *data, size_t len, bool binary)
{
    struct peer *p = l->user;
    struct err e;
    if (len > l->limit) { /* in a polling body; of WebSocket it does not come so far */
        link_close(l, "payload too large", LINK_FLUSH);
        return;
    }
    const char *why = binary ? NULL : unwelcome(p, data, len);
    if (why != NULL) {
        link_close(l, why, LINK_FLUSH);
        return;
    }
    switch (sio_feed(&p->decoder, data, len, binary, loop_now_ms(), &e)) {
    case 1:
        on_packet(p, &p->decoder.packet);
        sio_release(&p->decoder);
        arm(p);
        break;
    case 0:
        arm(p);
        break;
    default:
        log_debug("bad_packet", "%s: %s", l->address->text, e.msg);
        broken(p);
    }
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
    sio_release(&p->decoder);
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
