#include "tests/fuzz/client.h"

#include "core/json.h"
#include "realtime/socketio.h"
#include "tests/fuzz/fuzz.h"

struct user users[USERS_MAX];
int users_count;
struct client clients[CLIENTS_MAX];
int clients_count, clients_asked;

/* What has come on a connection and is not read yet. */
static struct wire {
    struct buf in;
    int client;
    bool owed;   /* an answer */
    bool closed; /* a close frame has come */
} wires[FAKES_MAX];

/* ---- Socket.IO ---- */

static int namespace_of(const char *name)
{
    for (int i = 0; i < NS_COUNT; i++) {
        if (strcmp(namespace_names[i], name) == 0) {
            return i;
        }
    }
    return NOBODY;
}

static struct user *user_by_id(const char *id)
{
    for (int i = users_count - 1; i >= 0; i--) {
        if (strcmp(users[i].id, id) == 0) {
            return &users[i];
        }
    }
    HOLDS(!"a known id");
    return NULL;
}

/* The numbers say whether anything was lost, doubled, reordered or given to another. */
static void read_event(struct user *u, struct arena *a, const struct sio_packet *p)
{
    const char *name = sio_event_name(a, p);
    const json_t *payload = json_array_get(p->data, 1);
    long n = (long)json_int(payload, "n", -1), whose = (long)json_int(payload, "u", -1);
    HOLDS(json_array_size(p->data) == 2 && (whose == -1 || u == &users[whose]));
    if (strcmp(name, "message.new") == 0) {
        HOLDS(n == u->received + 1);
        u->received = n;
    } else if (strcmp(name, "typing.updated") == 0) {
        HOLDS(n > u->seen_volatile);
        u->seen_volatile = n;
    } else if (strcmp(name, "group.updated") == 0) {
        HOLDS(n > u->seen_fan_out);
        u->seen_fan_out = n;
    } else {
        HOLDS(!"an event that was sent after the end");
    }
}

static void read_connect_error(struct arena *a, const char *text, size_t len)
{
    struct err e;
    const char *json = text[1] == '/' ? memchr(text, ',', len) : text;
    HOLDS(json++ != NULL);
    json_t *v = json_read(a, json, len - (size_t)(json - text), &e);
    HOLDS(v != NULL && json_str(v, "message", NULL) != NULL);
}

static void read_socketio(struct client *c, const char *text, size_t len)
{
    struct arena *a = arena_new("client");
    struct sio_packet p;
    struct err e;
    if (len > 0 && text[0] == '4') {
        read_connect_error(a, text, len);
        arena_free(&a);
        return;
    }
    HOLDS(sio_read(a, text, len, &p, &e) == 0);
    int ns = namespace_of(p.nsp);
    HOLDS(ns != NOBODY);
    if (p.type == SIO_CONNECT) {
        c->in[ns] = user_by_id(json_str(p.data, "sid", ""));
        HOLDS(c->in[ns]->accepted);
    } else if (p.type == SIO_DISCONNECT) {
        c->in[ns] = NULL;
    } else if (p.type == SIO_ACK) {
        HOLDS(c->in[ns] != NULL && ++c->in[ns]->acks_received <= c->in[ns]->acks_sent);
    } else {
        HOLDS(c->in[ns] != NULL);
        read_event(c->in[ns], a, &p);
    }
    c->attachments = p.count;
    arena_free(&a);
}

/* ---- Engine.IO ---- */

static int read_open(const struct eio_packet *p)
{
    struct arena *a = arena_new("client");
    struct err e;
    HOLDS(p->type == EIO_OPEN && clients_count < CLIENTS_MAX);
    json_t *v = json_read(a, p->data, p->len, &e);
    const char *sid = json_str(v, "sid", "");
    HOLDS(v != NULL && strlen(sid) == EIO_SID_LEN && json_object_size(v) == 5);
    struct client *c = &clients[clients_count];
    *c = (struct client){0};
    memcpy(c->sid, sid, EIO_SID_LEN + 1);
    arena_free(&a);
    return clients_count++;
}

static void read_packet(struct wire *w, const struct eio_packet *p, bool websocket)
{
    if (w->client == NOBODY) {
        w->client = read_open(p);
        return;
    }
    struct client *c = &clients[w->client];
    HOLDS(!c->ended);
    HOLDS(c->attachments == 0 || p->binary || p->type != EIO_MESSAGE);
    switch (p->type) {
    case EIO_MESSAGE:
        if (p->binary) {
            HOLDS(c->attachments-- > 0);
        } else {
            read_socketio(c, p->data, p->len);
        }
        break;
    case EIO_CLOSE:
        HOLDS(!websocket);
        c->ended = true;
        break;
    case EIO_PING:
        HOLDS(p->len == 0);
        break;
    case EIO_PONG:
        HOLDS(websocket && p->len == 5 && memcmp(p->data, "probe", 5) == 0);
        break;
    case EIO_NOOP:
        HOLDS(!websocket);
        break;
    case EIO_OPEN:
    case EIO_UPGRADE:
        HOLDS(!"a packet that servers do not send");
    }
}

/* ---- HTTP and WebSocket ---- */

static void read_body(struct wire *w, const char *body, size_t len)
{
    struct arena *a = arena_new("client");
    struct eio_payload it = {body, len, 0};
    struct eio_packet p;
    int rc;
    HOLDS(eio_utf8_valid(body, len));
    while ((rc = eio_payload_next(&it, a, &p)) > 0) {
        read_packet(w, &p, false);
    }
    HOLDS(rc == 0 && it.packets > 0 && it.packets <= EIO_PACKETS_PER_POLL);
    arena_free(&a);
}

/* An answer is written at once and whole. */
static void read_answer(struct wire *w)
{
    int status;
    size_t length;
    char type[32] = "";
    buf_addc(&w->in, '\0');
    const char *head_end = strstr(w->in.data, "\r\n\r\n"), *t = strstr(w->in.data, "Content-Type: ");
    HOLDS(head_end != NULL && w->owed);
    HOLDS(sscanf(w->in.data, "HTTP/1.1 %d %*[^\r]\r\nContent-Length: %zu", &status, &length) == 2);
    HOLDS(w->in.len - 1 == (size_t)(head_end - w->in.data) + 4 + length);
    if (t != NULL && t < head_end) {
        sscanf(t, "Content-Type: %31[^;\r]", type);
    }
    if (status == 200 && strcmp(type, "text/plain") == 0) {
        read_body(w, head_end + 4, length);
    }
    w->owed = false;
    buf_clear(&w->in);
}

/* One frame from the front. 0: it is not complete. */
static size_t read_frame(struct wire *w)
{
    const unsigned char *p = (const unsigned char *)w->in.data;
    size_t have = w->in.len, head = 2, len;
    if (have < 2) {
        return 0;
    }
    len = p[1];
    HOLDS((p[0] & 0xf0) == 0x80 && len < 128); /* whole and unmasked */
    if (len >= 126) {
        size_t bytes = len == 126 ? 2 : 8;
        head += bytes;
        len = 0;
        for (size_t i = 0; i < bytes && have >= head; i++) {
            len = len << 8 | p[2 + i];
        }
    }
    if (have < head || have - head < len) {
        return 0;
    }
    struct arena *a = arena_new("client");
    struct eio_packet packet = {.type = EIO_MESSAGE, .binary = true, .data = (const char *)p + head, .len = len};
    HOLDS(!w->closed);
    switch (p[0] & 15) {
    case 1:
        HOLDS(eio_utf8_valid(packet.data, len) && eio_decode(a, packet.data, len, &packet) == 0);
        read_packet(w, &packet, true);
        break;
    case 2:
        read_packet(w, &packet, true);
        break;
    case 8:
        HOLDS(len == 0 || len == 2);
        w->closed = true;
        break;
    default:
        HOLDS(!"a frame that is neither text nor binary nor close");
    }
    arena_free(&a);
    return head + len;
}

void fake_wrote(struct lws *wsi, const void *p, size_t len)
{
    struct wire *w = &wires[wsi - fakes];
    buf_add(&w->in, p, len);
    if (!wsi->ws) {
        read_answer(w);
        return;
    }
    for (size_t n; (n = read_frame(w)) > 0;) {
        memmove(w->in.data, w->in.data + n, w->in.len - n);
        w->in.len -= n;
    }
}

void fake_closed(struct lws *wsi)
{
    struct wire *w = &wires[wsi - fakes];
    buf_free(&w->in);
    *w = (struct wire){.client = NOBODY};
}

void client_asks(const struct lws *wsi, int client)
{
    wires[wsi - fakes].client = client;
    clients_asked += client == NOBODY;
    wires[wsi - fakes].owed = true;
}

void clients_reset(void)
{
    for (int i = 0; i < FAKES_MAX; i++) {
        buf_free(&wires[i].in);
        wires[i] = (struct wire){.client = NOBODY};
    }
    memset(clients, 0, sizeof(clients));
    memset(users, 0, sizeof(users));
    clients_count = clients_asked = users_count = 0;
}
