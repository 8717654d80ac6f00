#include "realtime/engineio.h"

#include "core/crypto.h"

#define PROGRESS_FACTOR 4 /* an upload can stretch the wait for a pong to so many timeouts */

/* ---- base64 ---- */

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static int base64_read(struct arena *a, const char *s, size_t len, char **out_r, size_t *len_r)
{
    if (len % 4 != 0) {
        return -1;
    }
    size_t pad = len == 0 || s[len - 1] != '=' ? 0 : s[len - 2] != '=' ? 1 : 2;
    size_t digits = len - pad, n = 0;
    char *out = arena_alloc(a, len / 4 * 3 + 1);
    uint32_t bits = 0;
    int have = 0;
    for (size_t i = 0; i < digits; i++) {
        int v = base64_value(s[i]);
        if (v < 0) {
            return -1;
        }
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (char)(bits >> have);
        }
    }
    if ((bits & ((1u << have) - 1)) != 0) {
        return -1;
    }
    *out_r = out;
    *len_r = n;
    return 0;
}

void eio_add_binary(struct buf *out, const void *p, size_t len)
{
    const unsigned char *b = p;
    buf_reserve(out, 1 + (len + 2) / 3 * 4);
    char *o = out->data + out->len;
    *o++ = 'b';
    size_t i = 0;
    for (; i + 2 < len; i += 3) {
        uint32_t v = (uint32_t)b[i] << 16 | (uint32_t)b[i + 1] << 8 | b[i + 2];
        *o++ = base64_digits[v >> 18];
        *o++ = base64_digits[v >> 12 & 63];
        *o++ = base64_digits[v >> 6 & 63];
        *o++ = base64_digits[v & 63];
    }
    if (i < len) {
        uint32_t v = (uint32_t)b[i] << 16 | (i + 1 < len ? (uint32_t)b[i + 1] << 8 : 0);
        *o++ = base64_digits[v >> 18];
        *o++ = base64_digits[v >> 12 & 63];
        *o++ = i + 1 < len ? base64_digits[v >> 6 & 63] : '=';
        *o++ = '=';
    }
    *o = '\0';
    out->len = (size_t)(o - out->data);
}

/* ---- packets ---- */

int eio_decode(struct arena *a, const char *text, size_t len, struct eio_packet *p_r)
{
    struct eio_packet p = {.type = EIO_MESSAGE};
    if (len == 0) {
        return -1;
    }
    if (text[0] == 'b') {
        char *bytes;
        if (base64_read(a, text + 1, len - 1, &bytes, &p.len) < 0) {
            return -1;
        }
        p.binary = true;
        p.data = bytes;
    } else if (text[0] >= '0' && text[0] <= '6') {
        p.type = (enum eio_type)(text[0] - '0');
        p.data = text + 1;
        p.len = len - 1;
    } else {
        return -1;
    }
    *p_r = p;
    return 0;
}

int eio_payload_next(struct eio_payload *it, struct arena *a, struct eio_packet *p_r)
{
    if (it->next == NULL) {
        return 0;
    }
    if (it->left == 0 || ++it->packets > EIO_PACKETS_PER_POST) {
        return -1;
    }
    const char *start = it->next;
    const char *end = memchr(start, EIO_SEPARATOR, it->left);
    size_t len = end != NULL ? (size_t)(end - start) : it->left;
    it->left -= len;
    it->next = NULL;
    if (end != NULL) {
        it->next = end + 1;
        it->left--;
    }
    return eio_decode(a, start, len, p_r) < 0 ? -1 : 1;
}

/* Length of the well-formed sequence at p (RFC 3629), or 0. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < n) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool beyond = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f); /* surrogates, above U+10FFFF */
    return overlong || beyond ? 0 : n;
}

bool eio_utf8_valid(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t i = 0;
    while (i < len) {
        uint64_t word;
        if (len - i >= sizeof(word)) {
            memcpy(&word, p + i, sizeof(word));
            if ((word & 0x8080808080808080u) == 0) {
                i += sizeof(word);
                continue;
            }
        }
        if (p[i] < 0x80) {
            i++;
            continue;
        }
        size_t n = utf8_sequence(p + i, len - i);
        if (n == 0) {
            return false;
        }
        i += n;
    }
    return true;
}

void eio_add_open(struct buf *out, const char *sid, bool upgrades, int ping_interval_ms, int ping_timeout_ms, int max_payload)
{
    buf_addf(out, "0{\"sid\":\"%s\",\"upgrades\":[%s],\"pingInterval\":%d,\"pingTimeout\":%d,\"maxPayload\":%d}", sid,
             upgrades ? "\"websocket\"" : "", ping_interval_ms, ping_timeout_ms, max_payload);
}

void eio_make_sid(const char *node, char out[EIO_SID_LEN + 1])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char random[EIO_SID_LEN];
    size_t named = strnlen(node, EIO_NODE_LEN);
    crypto_random(random, sizeof(random));
    for (size_t i = 0; i < EIO_SID_LEN; i++) {
        out[i] = i < named ? node[i] : digits[random[i] & 63];
    }
    out[EIO_SID_LEN] = '\0';
}

/* ---- requests ---- */

static const struct {
    int code, status;
    const char *text;
} refusals[] = {
#define R(name, code, status, text) [EIO_R_##name] = {code, status, text},
    EIO_REFUSALS(R)
#undef R
};

int eio_refusal_status(enum eio_refusal r)
{
    return refusals[r].status;
}

const char *eio_refusal_text(enum eio_refusal r)
{
    return refusals[r].text;
}

void eio_add_refusal(struct buf *out, enum eio_refusal r)
{
    buf_addf(out, "{\"code\":%d,\"message\":\"%s\"}", refusals[r].code, refusals[r].text);
}

static void copy_cut(char *out, size_t size, const char *value, size_t len)
{
    size_t n = len < size ? len : size - 1;
    memcpy(out, value, n);
    out[n] = '\0';
}

void eio_query_add(struct eio_query *q, const char *pair, size_t len)
{
    const char *eq = memchr(pair, '=', len);
    size_t key = eq != NULL ? (size_t)(eq - pair) : len;
    const char *value = eq != NULL ? eq + 1 : pair + len;
    size_t n = len - (size_t)(value - pair);
    if (key == 9 && memcmp(pair, "transport", 9) == 0) {
        copy_cut(q->transport, sizeof(q->transport), value, n);
    } else if (key == 3 && memcmp(pair, "sid", 3) == 0) {
        q->has_sid = true;
        copy_cut(q->sid, sizeof(q->sid), value, n);
    } else if (key == 3 && memcmp(pair, "EIO", 3) == 0) {
        copy_cut(q->version, sizeof(q->version), value, n);
    } else if (key == 3 && memcmp(pair, "b64", 3) == 0) {
        q->base64 = n == 1 && value[0] == '1';
    }
}

static bool field_value(const char *s)
{
    for (; *s != '\0'; s++) {
        if (((unsigned char)*s < 0x20 && *s != '\t') || *s == 0x7f) {
            return false;
        }
    }
    return true;
}

static enum eio_refusal check_known(const struct eio_request *r, bool websocket)
{
    if (r->session == NULL) {
        return EIO_R_UNKNOWN_SID;
    }
    if (r->upgrade) {
        return r->origin_allowed ? EIO_ADMITTED : EIO_R_FORBIDDEN;
    }
    if (websocket || r->session->transport != EIO_POLLING || r->method == EIO_OTHER_METHOD) {
        return EIO_R_BAD_REQUEST;
    }
    return EIO_ADMITTED;
}

enum eio_refusal eio_check(const struct eio_request *r)
{
    bool websocket = strcmp(r->query->transport, "websocket") == 0;
    if (!websocket && strcmp(r->query->transport, "polling") != 0) {
        return EIO_R_UNKNOWN_TRANSPORT;
    }
    if (r->origin != NULL && !field_value(r->origin)) {
        return EIO_R_BAD_REQUEST;
    }
    if (r->upgrade && !websocket) {
        return EIO_R_BAD_REQUEST;
    }
    if (r->query->has_sid) {
        return check_known(r, websocket);
    }
    if (r->method != EIO_GET) {
        return EIO_R_BAD_METHOD;
    }
    if (websocket && !r->upgrade) {
        return EIO_R_BAD_REQUEST;
    }
    if (!r->origin_allowed) {
        return EIO_R_FORBIDDEN;
    }
    return strcmp(r->query->version, "4") == 0 ? EIO_ADMITTED : EIO_R_UNSUPPORTED_VERSION;
}

/* ---- sessions ---- */

void eio_session_init(struct eio_session *s, enum eio_transport t, int interval_ms, int timeout_ms, int64_t now_ms)
{
    *s = (struct eio_session){.transport = t, .interval_ms = interval_ms, .timeout_ms = timeout_ms, .due_ms = now_ms + interval_ms};
}

static enum eio_verdict probe_input(struct eio_session *s, const struct eio_packet *p)
{
    if (!p->binary && p->type == EIO_PING && p->len == 5 && memcmp(p->data, "probe", 5) == 0) {
        s->probe = EIO_PROBED;
        return EIO_ANSWER_PROBE;
    }
    if (!p->binary && p->type == EIO_UPGRADE) {
        s->probe = EIO_NO_PROBE;
        s->transport = EIO_WEBSOCKET;
        return EIO_SWITCH;
    }
    return EIO_DROP_SOCKET;
}

enum eio_verdict eio_input(struct eio_session *s, bool from_probe, const struct eio_packet *p, int64_t now_ms)
{
    if (from_probe) {
        return probe_input(s, p);
    }
    switch (p->type) {
    case EIO_MESSAGE:
        return EIO_DELIVER;
    case EIO_PONG:
        if (!s->awaiting_pong) {
            return EIO_IGNORE;
        }
        s->awaiting_pong = false;
        s->due_ms = now_ms + s->interval_ms - s->late_ms;
        return EIO_PROVEN;
    case EIO_CLOSE:
        return EIO_END;
    case EIO_PING:
        return EIO_BROKEN; /* in version 4 the server pings */
    case EIO_OPEN:
    case EIO_UPGRADE:
    case EIO_NOOP:
        break;
    }
    return EIO_IGNORE;
}

bool eio_probe_start(struct eio_session *s)
{
    if (s->transport != EIO_POLLING || s->probe != EIO_NO_PROBE) {
        return false;
    }
    s->probe = EIO_PROBE_OPEN;
    return true;
}

void eio_probe_stop(struct eio_session *s)
{
    s->probe = EIO_NO_PROBE;
}

enum eio_beat eio_beat(struct eio_session *s, int64_t now_ms)
{
    if (now_ms < s->due_ms) {
        return EIO_WAIT;
    }
    if (s->awaiting_pong) {
        return EIO_EXPIRED;
    }
    int64_t late = now_ms - s->due_ms, on_time = s->due_ms + s->timeout_ms, least = now_ms + s->timeout_ms / 2;
    s->awaiting_pong = true;
    s->late_ms = late < s->interval_ms / 2 ? (int)late : 0;
    s->latest_ms = now_ms + (int64_t)s->timeout_ms * PROGRESS_FACTOR;
    s->due_ms = on_time > least ? on_time : least;
    return EIO_SEND_PING;
}

void eio_progress(struct eio_session *s, int64_t now_ms)
{
    int64_t until = now_ms + s->timeout_ms;
    if (s->awaiting_pong && until > s->due_ms) {
        s->due_ms = until < s->latest_ms ? until : s->latest_ms;
    }
}
