/* The Engine.IO codec. The first byte of an input says what the others are:
 *   P  a polling body          B  bytes to be sent as base64      U  text whose UTF-8 is judged
 *   Q  a byte of facts and the query of a request                 S  a session: one letter for each thing that happens */
#include "tests/fuzz/fuzz.h"

#include "realtime/engineio.h"

/* ---- packets ---- */

static void add_packet(struct buf *out, const struct eio_packet *p)
{
    if (p->binary) {
        eio_add_binary(out, p->data, p->len);
    } else {
        buf_addc(out, (char)('0' + (int)p->type));
        buf_add(out, p->data, p->len);
    }
}

/* Written again, an accepted packet is the text that was read: there is one encoding of each. */
static void payload(const char *body, size_t size)
{
    struct arena *a = arena_new("fuzz");
    struct buf again = {0};
    char *copy = exact_copy(body, size);
    struct eio_payload it = {copy, size, 0};
    struct eio_packet p;
    int rc, packets = 0;
    while ((rc = eio_payload_next(&it, a, &p)) > 0) {
        if (packets++ > 0) {
            buf_addc(&again, EIO_SEPARATOR);
        }
        HOLDS(!p.binary || p.type == EIO_MESSAGE);
        add_packet(&again, &p);
    }
    HOLDS(packets <= EIO_PACKETS_PER_POST);
    HOLDS(again.len <= size && (again.len == 0 || memcmp(again.data, body, again.len) == 0));
    HOLDS(rc < 0 || again.len == size);
    HOLDS(rc < 0 || packets > 0);
    buf_free(&again);
    free(copy);
    arena_free(&a);
}

static void base64(const char *bytes, size_t size)
{
    struct arena *a = arena_new("fuzz");
    struct buf text = {0};
    struct eio_packet p;
    eio_add_binary(&text, bytes, size);
    HOLDS(text.len == 1 + (size + 2) / 3 * 4);
    HOLDS(eio_decode(a, text.data, text.len, &p) == 0);
    HOLDS(p.binary && p.type == EIO_MESSAGE && p.len == size && memcmp(p.data, bytes, size) == 0);
    buf_free(&text);
    arena_free(&a);
}

/* The definition of RFC 3629 by code points instead of by bytes. */
static bool utf8_by_code_point(const unsigned char *p, size_t len)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    for (size_t i = 0; i < len;) {
        int more = p[i] < 0x80 ? 0 : (p[i] & 0xe0) == 0xc0 ? 1 : (p[i] & 0xf0) == 0xe0 ? 2 : (p[i] & 0xf8) == 0xf0 ? 3 : -1;
        if (more < 0 || (size_t)more >= len - i) {
            return false;
        }
        uint32_t c = more == 0 ? p[i] : p[i] & (0x3fu >> more);
        for (int k = 1; k <= more; k++) {
            if ((p[i + (size_t)k] & 0xc0) != 0x80) {
                return false;
            }
            c = c << 6 | (p[i + (size_t)k] & 0x3f);
        }
        if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
            return false;
        }
        i += 1 + (size_t)more;
    }
    return true;
}

static void utf8(const char *text, size_t size)
{
    char *copy = exact_copy(text, size);
    HOLDS(eio_utf8_valid(copy, size) == utf8_by_code_point((const unsigned char *)copy, size));
    free(copy);
}

/* ---- requests ---- */

static void check_refusal(enum eio_refusal r)
{
    struct buf body = {0};
    HOLDS(r >= 0 && r < EIO_ADMITTED);
    eio_add_refusal(&body, r);
    HOLDS(eio_refusal_status(r) == 400 || eio_refusal_status(r) == 403);
    HOLDS(strstr(body.data, eio_refusal_text(r)) != NULL);
    buf_free(&body);
}

static bool is(const char *text, const char *wanted)
{
    return strcmp(text, wanted) == 0;
}

static void query(const char *text, size_t size)
{
    struct eio_query q = {0};
    struct eio_session session;
    uint8_t facts = size > 0 ? (uint8_t)*text : 0;
    const char *p = text + (size > 0), *end = text + size;
    while (p < end) {
        const char *amp = memchr(p, '&', (size_t)(end - p));
        size_t len = amp != NULL ? (size_t)(amp - p) : (size_t)(end - p);
        char *pair = exact_copy(p, len);
        eio_query_add(&q, pair, len);
        free(pair);
        p += len + (amp != NULL);
    }
    HOLDS(memchr(q.transport, '\0', sizeof(q.transport)) != NULL);
    HOLDS(memchr(q.sid, '\0', sizeof(q.sid)) != NULL);
    HOLDS(memchr(q.version, '\0', sizeof(q.version)) != NULL);
    eio_session_init(&session, facts & 1 ? EIO_WEBSOCKET : EIO_POLLING, 1000, 1000, 0);
    struct eio_request r = {.query = &q,
                            .method = (enum eio_method)((facts >> 1 & 3) % 3),
                            .upgrade = facts & 8,
                            .origin = facts & 16 ? (facts & 1 ? "http://a\r\nb" : "http://a.example") : NULL,
                            .origin_allowed = facts & 32,
                            .session = facts & 64 ? &session : NULL};
    enum eio_refusal verdict = eio_check(&r);
    if (verdict != EIO_ADMITTED) {
        check_refusal(verdict);
        return;
    }
    HOLDS(is(q.transport, "polling") || is(q.transport, "websocket"));
    HOLDS(r.upgrade == is(q.transport, "websocket"));
    HOLDS(q.has_sid ? r.session != NULL : is(q.version, "4") && r.method == EIO_GET && r.origin_allowed);
    HOLDS(!q.has_sid || r.upgrade || session.transport == EIO_POLLING);
    HOLDS(!r.upgrade || r.origin_allowed);
}

/* ---- sessions ---- */

static void check_session(const struct eio_session *s, int64_t now, bool was_websocket)
{
    HOLDS(!was_websocket || s->transport == EIO_WEBSOCKET);
    HOLDS(s->probe == EIO_NO_PROBE || s->transport == EIO_POLLING);
    HOLDS(s->due_ms <= now + (s->awaiting_pong ? s->timeout_ms : s->interval_ms));
    HOLDS(!s->awaiting_pong || s->due_ms <= s->latest_ms);
}

static enum eio_verdict input(struct eio_session *s, bool from_probe, enum eio_type type, const char *data, int64_t now)
{
    struct eio_packet p = {.type = type, .data = data, .len = strlen(data)};
    enum eio_verdict v = eio_input(s, from_probe, &p, now);
    bool for_probes = v == EIO_ANSWER_PROBE || v == EIO_SWITCH || v == EIO_DROP_SOCKET;
    HOLDS(for_probes == from_probe);
    HOLDS(from_probe || (v == EIO_DELIVER) == (type == EIO_MESSAGE));
    return v;
}

/* One thing happens. False: the session is over. */
static bool happen(struct eio_session *s, char what, int64_t *now)
{
    bool probing = s->probe != EIO_NO_PROBE;
    int64_t due = s->due_ms;
    switch (what) {
    case 'o':
        HOLDS(eio_probe_start(s) == (s->transport == EIO_POLLING && !probing));
        return true;
    case 'x':
        eio_probe_stop(s);
        return true;
    case '?':
        return !probing || input(s, true, EIO_PING, "probe", *now) == EIO_ANSWER_PROBE;
    case '^':
        return !probing || input(s, true, EIO_UPGRADE, "", *now) == EIO_SWITCH;
    case '/':
        HOLDS(!probing || input(s, true, EIO_MESSAGE, "x", *now) == EIO_DROP_SOCKET);
        return true;
    case '>':
        eio_progress(s, *now);
        HOLDS(s->due_ms >= due);
        return true;
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6': {
        enum eio_verdict v = input(s, false, (enum eio_type)(what - '0'), "", *now);
        return v != EIO_END && v != EIO_BROKEN;
    }
    default:
        *now += 1 + (unsigned char)what % 32 * 100;
        break;
    }
    bool awaited = s->awaiting_pong, late = *now >= s->due_ms;
    enum eio_beat beat = eio_beat(s, *now);
    HOLDS(beat == (!late ? EIO_WAIT : awaited ? EIO_EXPIRED : EIO_SEND_PING));
    return beat != EIO_EXPIRED;
}

static void session(const char *script, size_t size)
{
    struct eio_session s;
    int64_t now = 1000;
    eio_session_init(&s, size % 2 == 0 ? EIO_POLLING : EIO_WEBSOCKET, 2500, 2000, now);
    for (size_t i = 0; i < size; i++) {
        bool was_websocket = s.transport == EIO_WEBSOCKET;
        if (!happen(&s, script[i], &now)) {
            return;
        }
        check_session(&s, now, was_websocket);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *rest = (const char *)data + 1;
    if (size == 0) {
        return 0;
    }
    switch (data[0]) {
    case 'P':
        payload(rest, size - 1);
        break;
    case 'B':
        base64(rest, size - 1);
        break;
    case 'U':
        utf8(rest, size - 1);
        break;
    case 'Q':
        query(rest, size - 1);
        break;
    case 'S':
        session(rest, size - 1);
        break;
    default:
        break;
    }
    return 0;
}
