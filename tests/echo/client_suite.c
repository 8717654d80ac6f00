/* Profile client-suite: a partner for the official JavaScript client's own tests, which want these namespaces, refusals and events. */
#include "tests/echo/echo.h"

#include "core/clock.h"
#include "realtime/sock.h"

enum { ROOT, FOO, TIMEOUT_SOCKET, VALID, ASD, ABC, NO };
static const char *const namespaces[] = {
    [ROOT] = "/", [FOO] = "/foo", [TIMEOUT_SOCKET] = "/timeout_socket", [VALID] = "/valid", [ASD] = "/asd", [ABC] = "/abc", [NO] = "/no"};

static const char *refuse(const struct peer *p, int ns)
{
    if (ns == NO) {
        return "Auth failed (custom namespace)";
    }
    return ns == ROOT && strstr(p->query, "\"fail\":") != NULL ? "Auth failed (main namespace)" : NULL;
}

/* What the client came with. */
static struct buf handshake(const struct peer *p, const struct sio_packet *connect)
{
    struct buf out = {0};
    bool auth = connect != NULL && connect->raw != NULL;
    buf_addf(&out, "{\"address\":\"%s\",\"issued\":%lld,\"query\":%s,\"auth\":", p->link->address->text, (long long)clock_wall_ms(),
             p->query);
    buf_add(&out, auth ? connect->raw : "{}", auth ? connect->raw_len : 2);
    buf_addc(&out, '}');
    return out;
}

static void connected(struct peer *p, int ns, const struct sio_packet *packet)
{
    if (ns == ABC) {
        struct buf text = handshake(p, packet);
        echo_emit(p, ns, "handshake", text.data, text.len, NULL);
        buf_free(&text);
    }
}

/* ---- events ---- */

struct call {
    struct peer *peer;
    int ns;
    const struct sio_packet *packet;
};

static void emit(const struct call *c, const char *name, const char *args)
{
    echo_emit(c->peer, c->ns, name, args, strlen(args), NULL);
}

static const json_t *arg(const struct call *c)
{
    return json_array_get(c->packet->data, 1);
}

static bool is_binary(const struct call *c, const json_t *v)
{
    return c->packet->binary && json_is_true(json_object_get(v, "_placeholder"));
}

static void on_hi(const struct call *c)
{
    emit(c, "hi", "");
}

static void on_echo(const struct call *c)
{
    echo_ack(c->peer, c->ns, c->packet, c->packet->raw, c->packet->raw_len, c->packet);
}

static void on_ack(const struct call *c)
{
    echo_ask(c->peer, c->ns, "ack");
}

static const char *now(char text[CLOCK_TEXT_MAX + 2])
{
    char plain[CLOCK_TEXT_MAX];
    snprintf(text, CLOCK_TEXT_MAX + 2, "\"%s\"", clock_format(clock_wall_ms(), plain));
    return text;
}

static void on_get_ack_date(const struct call *c)
{
    char text[CLOCK_TEXT_MAX + 2];
    now(text);
    echo_ack(c->peer, c->ns, c->packet, text, strlen(text), NULL);
}

static void on_get_date(const struct call *c)
{
    char text[CLOCK_TEXT_MAX + 2];
    emit(c, "takeDate", now(text));
}

static void on_get_date_obj(const struct call *c)
{
    char text[CLOCK_TEXT_MAX + 2], object[CLOCK_TEXT_MAX + 16];
    snprintf(object, sizeof(object), "{\"date\":%s}", now(text));
    emit(c, "takeDateObj", object);
}

static void on_get_utf8(const struct call *c)
{
    static const char *const texts[] = {"\"てすと\"", "\"Я Б Г Д Ж Й\"", "\"Ä ä Ü ü ß\"", "\"utf8 — string\"", "\"utf8 — string\""};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        emit(c, "takeUtf8", texts[i]);
    }
}

static void on_false(const struct call *c)
{
    emit(c, "false", "false");
}

static void emit_bytes(const struct call *c, const char *name)
{
    static const char args[] = "{\"_placeholder\":true,\"num\":0}";
    struct sio_blob blob = {"asdfasdf", 8};
    const struct sio_packet from = {.count = 1, .blobs = &blob};
    echo_emit(c->peer, c->ns, name, args, strlen(args), &from);
}

static void on_doge(const struct call *c)
{
    emit_bytes(c, "doge");
}

static void on_getbin(const struct call *c)
{
    emit_bytes(c, "takebin");
}

static void on_buffa(const struct call *c)
{
    if (is_binary(c, arg(c))) {
        emit(c, "buffack", "");
    }
}

static void on_blob(const struct call *c)
{
    if (is_binary(c, arg(c))) {
        emit(c, "back", "");
    }
}

/* An object with a text, bytes and a text. */
static bool is_mixed(const struct call *c)
{
    const json_t *o = arg(c);
    return strcmp(json_str(o, "hello", ""), "lol") == 0 && is_binary(c, json_object_get(o, "message")) &&
           strcmp(json_str(o, "goodbye", ""), "gotcha") == 0;
}

static void on_jsonbuff(const struct call *c)
{
    if (is_mixed(c)) {
        emit(c, "jsonbuff-ack", "");
    }
}

static void on_jsonblob(const struct call *c)
{
    if (is_mixed(c)) {
        emit(c, "jsonblob-ack", "");
    }
}

/* Bytes and what follows them must come in this order. */
static void on_first(const struct call *c)
{
    c->peer->got[0] = is_binary(c, arg(c));
}

static void on_abuff2(const struct call *c)
{
    if (c->peer->got[0]) {
        emit(c, "abuff2-ack", "");
    }
}

static void on_blob2(const struct call *c)
{
    const json_t *v = arg(c);
    c->peer->got[1] = c->peer->got[0] && json_is_string(v) && strcmp(json_string_value(v), "second") == 0;
}

static void on_blob3(const struct call *c)
{
    if (c->peer->got[1] && is_binary(c, arg(c))) {
        emit(c, "blob3-ack", "");
    }
}

static void on_get_handshake(const struct call *c)
{
    struct buf text = handshake(c->peer, NULL);
    echo_ack(c->peer, c->ns, c->packet, text.data, text.len, NULL);
    buf_free(&text);
}

static void on_get_id(const struct call *c)
{
    char text[EIO_SID_LEN + 3];
    snprintf(text, sizeof(text), "\"%s\"", c->peer->ids[c->ns]);
    echo_ack(c->peer, c->ns, c->packet, text, strlen(text), NULL);
}

static const struct {
    int ns;
    const char *name;
    void (*call)(const struct call *c);
} events[] = {
    {ROOT, "hi", on_hi},
    {ROOT, "echo", on_echo},
    {ROOT, "ack", on_ack},
    {ROOT, "getAckDate", on_get_ack_date},
    {ROOT, "getDate", on_get_date},
    {ROOT, "getDateObj", on_get_date_obj},
    {ROOT, "getUtf8", on_get_utf8},
    {ROOT, "false", on_false},
    {ROOT, "doge", on_doge},
    {ROOT, "getbin", on_getbin},
    {ROOT, "buffa", on_buffa},
    {ROOT, "jsonbuff", on_jsonbuff},
    {ROOT, "abuff1", on_first},
    {ROOT, "abuff2", on_abuff2},
    {ROOT, "blob", on_blob},
    {ROOT, "jsonblob", on_jsonblob},
    {ROOT, "blob1", on_first},
    {ROOT, "blob2", on_blob2},
    {ROOT, "blob3", on_blob3},
    {ROOT, "getHandshake", on_get_handshake},
    {ROOT, "getId", on_get_id},
    {FOO, "getId", on_get_id},
};

static void event(struct peer *p, int ns, const char *name, const struct sio_packet *packet)
{
    struct call c = {p, ns, packet};
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (events[i].ns == ns && strcmp(events[i].name, name) == 0) {
            events[i].call(&c);
        }
    }
}

static void acked(struct peer *p, int ns, const struct sio_packet *packet)
{
    const json_t *number = json_array_get(packet->data, 0), *object = json_array_get(packet->data, 1);
    if (packet->ack_id < p->asked && json_integer_value(number) == 5 && json_is_true(json_object_get(object, "test"))) {
        echo_emit(p, ns, "got it", NULL, 0, NULL);
    }
}

const struct profile echo_client_suite = {.name = "client-suite",
                                          .ping_interval = 2000,
                                          .ping_timeout = 20000,
                                          .connect_timeout = 45000,
                                          .opening_ms = 10,
                                          .namespaces = namespaces,
                                          .count = sizeof(namespaces) / sizeof(namespaces[0]),
                                          .refuse = refuse,
                                          .connected = connected,
                                          .event = event,
                                          .acked = acked};
