#include "realtime/socketio.h"

struct cursor {
    const char *p, *end;
};

static int bad(struct err *e, const char *what)
{
    return err_set(e, ERR_BAD_REQUEST, "Socket.IO packet: %s.", what);
}

/* The decimal number at the cursor: how many digits it has (0: none), or -1: too many. */
static int read_digits(struct cursor *c, int max, int64_t *n_r)
{
    int64_t n = 0;
    int digits = 0;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9') {
        if (++digits > max) {
            return -1;
        }
        n = n * 10 + (*c->p++ - '0');
    }
    *n_r = n;
    return digits;
}

static int read_type(struct cursor *c, struct sio_packet *p, struct err *e)
{
    if (c->p == c->end || *c->p < '0' || *c->p > '6') {
        return bad(e, "unknown type");
    }
    p->type = (enum sio_type)(*c->p++ - '0');
    if (p->type == SIO_CONNECT_ERROR) {
        return bad(e, "CONNECT_ERROR comes from servers only");
    }
    if (p->type != SIO_BINARY_EVENT && p->type != SIO_BINARY_ACK) {
        return 0;
    }
    int64_t n;
    if (read_digits(c, 2, &n) < 1 || c->p == c->end || *c->p != '-') {
        return bad(e, "no count of attachments");
    }
    c->p++;
    if (n > SIO_ATTACHMENTS_MAX) {
        return bad(e, "too many attachments");
    }
    p->binary = true;
    p->count = (int)n;
    p->type = p->type == SIO_BINARY_EVENT ? SIO_EVENT : SIO_ACK;
    return 0;
}

static int read_namespace(struct arena *a, struct cursor *c, struct sio_packet *p, struct err *e)
{
    p->nsp = "/";
    if (c->p == c->end || *c->p != '/') {
        return 0;
    }
    const char *comma = memchr(c->p, ',', (size_t)(c->end - c->p));
    const char *end = comma != NULL ? comma : c->end;
    size_t len = (size_t)(end - c->p);
    if (len > SIO_NAMESPACE_MAX) {
        return bad(e, "namespace too long");
    }
    if (memchr(c->p, '\0', len) != NULL) {
        return bad(e, "NUL in the namespace");
    }
    p->nsp = arena_dup(a, c->p, len);
    c->p = comma != NULL ? comma + 1 : c->end;
    return 0;
}

/* Each placeholder must name an attachment; the same one twice and one never named are fine. */
static bool placeholders_valid(const json_t *v, int count)
{
    const char *key;
    json_t *item;
    size_t i;
    if (json_is_object(v)) {
        if (json_is_true(json_object_get(v, "_placeholder"))) {
            const json_t *num = json_object_get(v, "num");
            return json_is_integer(num) && json_integer_value(num) >= 0 && json_integer_value(num) < count;
        }
        json_object_foreach ((json_t *)v, key, item) {
            if (!placeholders_valid(item, count)) {
                return false;
            }
        }
    } else if (json_is_array(v)) {
        json_array_foreach (v, i, item) {
            if (!placeholders_valid(item, count)) {
                return false;
            }
        }
    }
    return true;
}

static bool reserved(const char *name)
{
    static const char *const names[] = {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int check_data(const struct sio_packet *p, struct err *e)
{
    const json_t *name;
    switch (p->type) {
    case SIO_CONNECT:
        return (p->data == NULL || json_is_object(p->data)) && p->ack_id == SIO_NO_ACK ? 0 : bad(e, "CONNECT takes an object");
    case SIO_DISCONNECT:
        return p->data == NULL && p->ack_id == SIO_NO_ACK ? 0 : bad(e, "DISCONNECT takes nothing");
    case SIO_EVENT:
        name = json_array_get(p->data, 0);
        if (!json_is_string(name) && !json_is_number(name)) {
            return bad(e, "an event is an array that starts with its name");
        }
        return json_is_string(name) && reserved(json_string_value(name)) ? bad(e, "reserved event name") : 0;
    case SIO_ACK:
        return json_is_array(p->data) && p->ack_id != SIO_NO_ACK ? 0 : bad(e, "an ack is an id and an array");
    case SIO_CONNECT_ERROR:
    case SIO_BINARY_EVENT:
    case SIO_BINARY_ACK:
        break;
    }
    return bad(e, "unknown type");
}

static void skip_blanks(struct cursor *c)
{
    while (c->p < c->end && memchr(" \t\r\n", *c->p, 4) != NULL) {
        c->p++;
    }
}

static void skip_name(struct cursor *c)
{
    bool quoted = *c->p == '"';
    for (c->p += quoted; *c->p != (quoted ? '"' : ','); c->p++) {
        if (!quoted && c->p == c->end) {
            return;
        }
        c->p += *c->p == '\\';
    }
    c->p += quoted;
}

/* What p->raw is of the valid text [from, end). */
static void keep_raw(struct arena *a, struct sio_packet *p, const char *from, const char *end)
{
    struct cursor c = {from, end};
    if (p->type == SIO_EVENT || p->type == SIO_ACK) {
        c.p++;
        do {
            c.end--;
        } while (*c.end != ']');
        skip_blanks(&c);
    }
    if (p->type == SIO_EVENT) {
        skip_name(&c);
        skip_blanks(&c);
        c.p += c.p < c.end; /* the comma */
        skip_blanks(&c);
    }
    while (c.end > c.p && memchr(" \t\r\n", c.end[-1], 4) != NULL) {
        c.end--;
    }
    p->raw_len = (size_t)(c.end - c.p);
    p->raw = arena_dup(a, c.p, p->raw_len);
}

static int read_packet(struct arena *a, const char *text, size_t len, bool loosely, struct sio_packet *p_r, struct err *e)
{
    struct cursor c = {text, text + len};
    struct sio_packet p = {.ack_id = SIO_NO_ACK};
    if (read_type(&c, &p, e) < 0 || read_namespace(a, &c, &p, e) < 0) {
        return -1;
    }
    int64_t id;
    int digits = read_digits(&c, SIO_ACK_DIGITS_MAX, &id);
    if (digits < 0) {
        return bad(e, "ack id too long");
    }
    if (digits > 0) {
        p.ack_id = id;
    }
    if (c.p < c.end) {
        if (*c.p != '[' && *c.p != '{') {
            return bad(e, "neither an array nor an object");
        }
        p.data = (loosely ? json_read_loosely : json_read)(a, c.p, (size_t)(c.end - c.p), e);
        if (p.data == NULL) {
            return -1;
        }
    }
    if (check_data(&p, e) < 0) {
        return -1;
    }
    if (p.binary && !placeholders_valid(p.data, p.count)) {
        return bad(e, "a placeholder names no attachment");
    }
    if (loosely && p.data != NULL) {
        keep_raw(a, &p, c.p, c.end);
    }
    p.blobs = arena_array(a, (size_t)p.count + 1, sizeof(*p.blobs));
    *p_r = p;
    return 0;
}

int sio_read(struct arena *a, const char *text, size_t len, struct sio_packet *p_r, struct err *e)
{
    return read_packet(a, text, len, false, p_r, e);
}

const char *sio_event_name(struct arena *a, const struct sio_packet *p)
{
    const json_t *name = json_array_get(p->data, 0);
    return json_is_string(name) ? json_string_value(name) : json_write(a, name, NULL);
}

/* ---- reassembly ---- */

bool sio_collecting(const struct sio_decoder *d)
{
    return d->arena != NULL && d->have < d->packet.count;
}

void sio_release(struct sio_decoder *d)
{
    arena_free(&d->arena);
    *d = (struct sio_decoder){.loosely = d->loosely};
}

static int feed_text(struct sio_decoder *d, const void *p, size_t len, int64_t now_ms, struct err *e)
{
    if (d->arena != NULL) {
        return bad(e, "text between attachments");
    }
    d->arena = arena_new("packet");
    if (read_packet(d->arena, p, len, d->loosely, &d->packet, e) < 0) {
        sio_release(d);
        return -1;
    }
    d->since_ms = now_ms;
    return d->packet.count == 0;
}

static int feed_binary(struct sio_decoder *d, const void *p, size_t len, int64_t now_ms, struct err *e)
{
    if (!sio_collecting(d)) {
        return bad(e, "an attachment of no packet");
    }
    if (len > SIO_RUN_BYTES_MAX - d->bytes || now_ms - d->since_ms > SIO_RUN_MS_MAX) {
        return bad(e, "attachments too large or too slow");
    }
    d->bytes += len;
    d->packet.blobs[d->have++] = (struct sio_blob){arena_dup(d->arena, p, len), len};
    return d->have == d->packet.count;
}

int sio_feed(struct sio_decoder *d, const void *p, size_t len, bool binary, int64_t now_ms, struct err *e)
{
    return binary ? feed_binary(d, p, len, now_ms, e) : feed_text(d, p, len, now_ms, e);
}

/* ---- sessions ---- */

void sio_session_init(struct sio_session *s, const struct sio_service *service, struct sio_place *places, int64_t now_ms)
{
    *s = (struct sio_session){.service = service, .places = places, .join_by_ms = now_ms + service->join_ms};
}

void sio_session_end(struct sio_session *s)
{
    sio_release(&s->decoder);
}

static int find_namespace(const struct sio_service *service, const char *name)
{
    int ns = service->count - 1;
    while (ns >= 0 && strcmp(service->names[ns], name) != 0) {
        ns--;
    }
    return ns;
}

static enum sio_verdict join(struct sio_session *s, int ns)
{
    if (ns < 0) {
        return SIO_JOIN_UNKNOWN;
    }
    if (s->places[ns].state != SIO_OUTSIDE) {
        return SIO_JOIN_AGAIN;
    }
    s->places[ns].state = SIO_JOINING;
    return SIO_JOIN;
}

static enum sio_verdict on_packet(struct sio_session *s, int ns, int64_t now_ms, struct err *e)
{
    enum sio_type type = s->decoder.packet.type;
    if (type == SIO_CONNECT) {
        return join(s, ns);
    }
    const struct sio_place *place = ns >= 0 ? &s->places[ns] : NULL;
    if (place == NULL || place->state == SIO_OUTSIDE) {
        if (place != NULL && now_ms < place->left_until_ms) {
            return SIO_IGNORE;
        }
        bad(e, "for a namespace without CONNECT");
        return SIO_BROKEN;
    }
    if (type == SIO_DISCONNECT) {
        sio_left(s, ns, now_ms);
        return SIO_LEAVE;
    }
    if (place->state != SIO_JOINED) { /* official clients wait for the reply */
        bad(e, "before the answer to CONNECT");
        return SIO_BROKEN;
    }
    return SIO_DELIVER;
}

enum sio_verdict sio_input(struct sio_session *s, const void *p, size_t len, bool binary, int64_t now_ms, int *ns_r, struct err *e)
{
    *ns_r = -1;
    switch (sio_feed(&s->decoder, p, len, binary, now_ms, e)) {
    case 0:
        return SIO_IGNORE;
    case 1:
        *ns_r = find_namespace(s->service, s->decoder.packet.nsp);
        return on_packet(s, *ns_r, now_ms, e);
    default:
        return SIO_BROKEN;
    }
}

void sio_done(struct sio_session *s)
{
    if (!sio_collecting(&s->decoder)) {
        sio_release(&s->decoder);
    }
}

void sio_joined(struct sio_session *s, int ns)
{
    s->places[ns].state = SIO_JOINED;
    s->join_by_ms = 0;
}

static bool joined_any(const struct sio_session *s)
{
    for (int i = 0; i < s->service->count; i++) {
        if (s->places[i].state == SIO_JOINED) {
            return true;
        }
    }
    return false;
}

void sio_left(struct sio_session *s, int ns, int64_t now_ms)
{
    s->places[ns] = (struct sio_place){.state = SIO_OUTSIDE, .left_until_ms = now_ms + s->service->grace_ms};
    if (s->join_by_ms == 0 && !joined_any(s)) {
        s->join_by_ms = now_ms + s->service->join_ms;
    }
}

int64_t sio_due_ms(const struct sio_session *s)
{
    int64_t run_by_ms = s->decoder.since_ms + SIO_RUN_MS_MAX;
    bool earlier = sio_collecting(&s->decoder) && (s->join_by_ms == 0 || run_by_ms < s->join_by_ms);
    return earlier ? run_by_ms : s->join_by_ms;
}

const char *sio_beat(const struct sio_session *s, int64_t now_ms)
{
    if (sio_collecting(&s->decoder) && now_ms >= s->decoder.since_ms + SIO_RUN_MS_MAX) {
        return "parse error";
    }
    return s->join_by_ms != 0 && now_ms >= s->join_by_ms ? "connect timeout" : NULL;
}

/* ---- writing ---- */

void sio_add(struct buf *out, enum sio_type type, const char *nsp, int64_t ack_id, int attachments, const char *json, size_t len)
{
    if (attachments > 0) {
        buf_addc(out, type == SIO_EVENT ? '5' : '6');
        buf_addu(out, (uint64_t)attachments);
        buf_addc(out, '-');
    } else {
        buf_addc(out, (char)('0' + (int)type));
    }
    if (strcmp(nsp, "/") != 0) {
        buf_adds(out, nsp);
        buf_addc(out, ','); /* the Swift client reads up to it, even if nothing follows */
    }
    if (ack_id >= 0) {
        buf_addu(out, (uint64_t)ack_id);
    }
    buf_add(out, json, len);
}

void sio_add_connect(struct buf *out, const char *nsp, const char *sid)
{
    char json[80];
    int n = snprintf(json, sizeof(json), "{\"sid\":\"%s\"}", sid);
    sio_add(out, SIO_CONNECT, nsp, SIO_NO_ACK, 0, json, (size_t)n);
}

void sio_add_connect_error(struct buf *out, const char *nsp, const char *message, const char *data_json)
{
    struct buf json = {0};
    buf_adds(&json, "{\"message\":");
    buf_add_json_string(&json, message, strlen(message));
    if (data_json != NULL) {
        buf_adds(&json, ",\"data\":");
        buf_adds(&json, data_json);
    }
    buf_addc(&json, '}');
    sio_add(out, SIO_CONNECT_ERROR, nsp, SIO_NO_ACK, 0, json.data, json.len);
    buf_free(&json);
}
