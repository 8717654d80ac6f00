#include "tests/echo/echo.h"

#include <unistd.h>

#define RAW 1 /* index of /engine.io in gateway_setup.paths */

const struct profile *echo_profile;
static struct sio_service service;
static struct buf query; /* of the request that is being read */

/* ---- sending ---- */

static void send_text(struct link *l, const struct buf *text, const struct sio_packet *from)
{
    struct frame *f = frame_text(text->data, text->len), *last = f;
    for (int i = 0; from != NULL && i < from->count; i++) {
        last = last->next = frame_binary(from->blobs[i].data, from->blobs[i].len);
    }
    link_send(l, f);
    frame_unref(f);
}

static void send_packet(struct peer *p, int ns, enum sio_type type, int64_t ack_id, const struct buf *json, const struct sio_packet *from)
{
    struct buf text = {0};
    buf_addc(&text, '4');
    sio_add(&text, type, echo_profile->namespaces[ns], ack_id, from != NULL ? from->count : 0, json->data, json->len);
    send_text(p->link, &text, from);
    buf_free(&text);
}

static void send_event(struct peer *p, int ns, const char *name, int64_t ack_id, const char *args, size_t len,
                       const struct sio_packet *from)
{
    struct buf json = {0};
    buf_addc(&json, '[');
    buf_add_json_string(&json, name, strlen(name));
    buf_adds(&json, len > 0 ? "," : "");
    buf_add(&json, args, len);
    buf_addc(&json, ']');
    send_packet(p, ns, SIO_EVENT, ack_id, &json, from);
    buf_free(&json);
}

void echo_emit(struct peer *p, int ns, const char *name, const char *args, size_t len, const struct sio_packet *from)
{
    send_event(p, ns, name, SIO_NO_ACK, args, len, from);
}

void echo_ask(struct peer *p, int ns, const char *name)
{
    send_event(p, ns, name, p->asked++, NULL, 0, NULL);
}

void echo_ack(struct peer *p, int ns, const struct sio_packet *packet, const char *args, size_t len, const struct sio_packet *from)
{
    struct buf json = {0};
    if (packet->ack_id == SIO_NO_ACK) {
        return;
    }
    buf_addc(&json, '[');
    buf_add(&json, args, len);
    buf_addc(&json, ']');
    send_packet(p, ns, SIO_ACK, packet->ack_id, &json, from);
    buf_free(&json);
}

static void send_connect_error(struct peer *p, const char *nsp, const char *message)
{
    struct buf text = {0};
    buf_addc(&text, '4');
    sio_add_connect_error(&text, nsp, message, NULL);
    send_text(p->link, &text, NULL);
    buf_free(&text);
}

/* ---- the query ---- */

void echo_on_pair(int i, const char *pair, size_t len)
{
    const char *eq = memchr(pair, '=', len);
    size_t key = eq != NULL ? (size_t)(eq - pair) : len, value = eq != NULL ? len - key - 1 : 0;
    if (i == 0) {
        buf_clear(&query);
    }
    if (!eio_utf8_valid(pair, len)) {
        return;
    }
    buf_addc(&query, query.len == 0 ? '{' : ',');
    buf_add_json_string(&query, pair, key);
    buf_addc(&query, ':');
    buf_add_json_string(&query, eq != NULL ? eq + 1 : "", value);
}

void echo_end(void)
{
    buf_free(&query);
}

/* ---- Socket.IO ---- */

static void join(struct peer *p, int ns, const struct sio_packet *packet)
{
    const char *why = echo_profile->refuse != NULL ? echo_profile->refuse(p, ns) : NULL;
    if (why != NULL) {
        send_connect_error(p, packet->nsp, why);
        sio_left(&p->session, ns, loop_now_ms());
        return;
    }
    struct buf text = {0};
    eio_make_sid("", p->ids[ns]);
    buf_addc(&text, '4');
    sio_add_connect(&text, packet->nsp, p->ids[ns]);
    send_text(p->link, &text, NULL);
    buf_free(&text);
    sio_joined(&p->session, ns);
    echo_profile->connected(p, ns, packet);
}

static void deliver(struct peer *p, int ns, const struct sio_packet *packet)
{
    if (packet->type == SIO_EVENT) {
        echo_profile->event(p, ns, sio_event_name(p->session.decoder.arena, packet), packet);
    } else if (echo_profile->acked != NULL) {
        echo_profile->acked(p, ns, packet);
    }
}

static void on_timer(struct loop_timer *t);

static void arm(struct peer *p)
{
    int64_t due = sio_due_ms(&p->session);
    if (due == 0 || p->link->state != LINK_OPEN) {
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
    }
    arm(p);
}

/* ---- what links tell us ---- */

void link_on_open(struct link *l)
{
    if (echo_profile->opening_ms > 0) { /* the loop stands still; nobody else is being served */
        usleep((useconds_t)echo_profile->opening_ms * 1000);
    }
    if (l->path == RAW) {
        return;
    }
    struct peer *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        fputs("out of memory: session\n", stderr);
        abort();
    }
    service = (struct sio_service){.names = echo_profile->namespaces,
                                   .count = echo_profile->count,
                                   .join_ms = echo_profile->connect_timeout,
                                   .grace_ms = node.config->ping_interval};
    p->link = l;
    l->user = p;
    buf_addc(&query, '}');
    p->query = strdup(query.data);
    sio_session_init(&p->session, &service, p->places, loop_now_ms());
    p->session.decoder.loosely = true;
    arm(p);
}

static void echo_raw(struct link *l, const void *data, size_t len, bool binary)
{
    struct buf text = {0};
    buf_addc(&text, '4');
    buf_add(&text, data, len);
    struct frame *f = binary ? frame_binary(data, len) : frame_text(text.data, text.len);
    link_send(l, f);
    frame_unref(f);
    buf_free(&text);
}

void link_on_message(struct link *l, const void *data, size_t len, bool binary)
{
    struct peer *p = l->user;
    struct err e;
    int ns;
    if (p == NULL) {
        echo_raw(l, data, len, binary);
        return;
    }
    const struct sio_packet *packet = &p->session.decoder.packet;
    switch (sio_input(&p->session, data, len, binary, loop_now_ms(), &ns, &e)) {
    case SIO_JOIN:
        join(p, ns, packet);
        break;
    case SIO_JOIN_UNKNOWN:
        send_connect_error(p, packet->nsp, "Invalid namespace");
        break;
    case SIO_DELIVER:
        deliver(p, ns, packet);
        break;
    case SIO_BROKEN:
        link_close(l, "parse error", LINK_FLUSH);
        break;
    case SIO_IGNORE:
    case SIO_JOIN_AGAIN:
    case SIO_LEAVE:
        break;
    }
    sio_done(&p->session);
    arm(p);
}

void link_on_proven(struct link *l)
{
    (void)l;
}

void link_on_close(struct link *l, const char *reason)
{
    struct peer *p = l->user;
    (void)reason;
    if (p == NULL) {
        return;
    }
    loop_timer_stop(&p->timer);
    sio_session_end(&p->session);
    free(p->query);
    free(p);
    l->user = NULL;
}

bool link_on_turn_end(void)
{
    return false;
}

/* ---- profile conformance ---- */

static void conformance_connected(struct peer *p, int ns, const struct sio_packet *packet)
{
    bool given = packet->raw != NULL;
    echo_emit(p, ns, "auth", given ? packet->raw : "{}", given ? packet->raw_len : 2, NULL);
}

static void conformance_event(struct peer *p, int ns, const char *name, const struct sio_packet *packet)
{
    if (ns != 0) {
        return;
    }
    if (strcmp(name, "message") == 0) {
        echo_emit(p, ns, "message-back", packet->raw, packet->raw_len, packet);
    } else if (strcmp(name, "message-with-ack") == 0) {
        echo_ack(p, ns, packet, packet->raw, packet->raw_len, packet);
    }
}

static const char *const conformance_namespaces[] = {"/", "/custom"};

const struct profile echo_conformance = {.name = "conformance",
                                         .ping_interval = 300,
                                         .ping_timeout = 200,
                                         .connect_timeout = 1000,
                                         .namespaces = conformance_namespaces,
                                         .count = 2,
                                         .connected = conformance_connected,
                                         .event = conformance_event};
