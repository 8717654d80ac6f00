/* HTTP/1.1 around Engine.IO: what is read of a request, how it is answered. */
#include "realtime/gateway.h"
#include "realtime/sock.h"

#include <ctype.h>

/* ---- answers ---- */

static const char *status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {{200, "OK"},        {204, "No Content"},      {400, "Bad Request"},       {403, "Forbidden"},
                 {404, "Not Found"}, {411, "Length Required"}, {413, "Payload Too Large"}, {503, "Service Unavailable"}};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].status == status) {
            return texts[i].text;
        }
    }
    return "Error";
}

static int write_answer(struct sock *s, const struct answer *w)
{
    struct buf out = {0};
    buf_reserve(&out, LWS_PRE + 512 + w->len);
    out.len = LWS_PRE;
    buf_addf(&out, "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\n", w->status, status_text(w->status), w->len);
    if (w->type != NULL) {
        buf_addf(&out, "Content-Type: %s\r\n", w->type);
    }
    buf_adds(&out, w->extra != NULL ? w->extra : "");
    buf_adds(&out, s->cors != NULL ? s->cors : "");
    buf_adds(&out, w->close || s->last ? "Connection: close\r\n\r\n" : "\r\n");
    buf_add(&out, w->body, w->len);
    size_t len = out.len - LWS_PRE;
    int n = lws_write(s->wsi, (unsigned char *)out.data + LWS_PRE, len, LWS_WRITE_HTTP);
    buf_free(&out);
    s->broken = n < (int)len;
    return s->broken ? -1 : 0;
}

static void on_idle(struct loop_timer *t)
{
    sock_kill((struct sock *)((char *)t - offsetof(struct sock, timer)));
}

/* Never while a body is outstanding: lws would discard it in a loop that it may not leave. */
static int transaction_end(struct sock *s)
{
    free(s->cors);
    s->cors = NULL;
    s->state = SOCK_IDLE;
    if (lws_http_transaction_completed(s->wsi)) {
        return -1;
    }
    lws_set_timeout(s->wsi, NO_PENDING_TIMEOUT, 0); /* lws keeps its timers in one sorted list */
    loop_timer_start(&s->timer, HTTP_IDLE_MS, on_idle);
    return 0;
}

int http_direct_answer(struct sock *s, const struct answer *w, bool end)
{
    if (write_answer(s, w) < 0 || (end && w->close)) {
        return -1;
    }
    return end ? transaction_end(s) : 0;
}

void http_direct_answer_held(struct sock *s, const struct answer *w)
{
    lws_rx_flow_control(s->wsi, 1);
    if (http_direct_answer(s, w, true) < 0) {
        sock_kill(s);
    }
}

int http_write(struct sock *s, const struct answer *w)
{
    return s->ops->answer(s, w, false);
}

int http_answer(struct sock *s, const struct answer *w)
{
    return s->ops->answer(s, w, true);
}

void http_answer_held(struct sock *s, const struct answer *w)
{
    if (s->state != SOCK_DEAD) {
        s->ops->answer_held(s, w);
    }
}

int http_refuse(struct sock *s, enum eio_refusal r, bool close)
{
    struct buf body = {0};
    eio_add_refusal(&body, r);
    struct answer w = {.status = eio_refusal_status(r), .type = "application/json", .body = body.data, .len = body.len, .close = close};
    int rc = http_answer(s, &w);
    buf_free(&body);
    return rc;
}

/* ---- requests ---- */

bool http_header(struct lws *wsi, enum lws_token_indexes h, char *out, size_t size)
{
    out[0] = '\0';
    return lws_hdr_total_length(wsi, h) > 0 && lws_hdr_copy(wsi, out, (int)size, h) >= 0;
}

static bool origin_allowed(const char *origin)
{
    const char *list = node.config->origins;
    if (origin[0] == '\0' || strcmp(list, "*") == 0) {
        return true;
    }
    while (*list != '\0') {
        size_t skip = strspn(list, ", "), len = strcspn(list + skip, ", ");
        if (len > 0 && strlen(origin) == len && strncasecmp(origin, list + skip, len) == 0) {
            return true;
        }
        list += skip + len;
    }
    return false;
}

/* RFC 9110, section 7.6.1: the client will not use the connection again. */
static bool wants_close(struct lws *wsi)
{
    char text[128];
    const char *p = text;
    if (!http_header(wsi, WSI_TOKEN_CONNECTION, text, sizeof(text))) {
        return false;
    }
    while (*p != '\0') {
        size_t skip = strspn(p, ", \t"), len = strcspn(p + skip, ", \t");
        if (len == 5 && strncasecmp(p + skip, "close", 5) == 0) {
            return true;
        }
        p += skip + len;
    }
    return false;
}

/* Digits only: two headers arrive as one joined text, and lws takes anything for a number. */
static int64_t body_length(struct lws *wsi)
{
    char text[24];
    int64_t n = 0;
    if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) == 0) {
        return -1;
    }
    if (!http_header(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, text, sizeof(text)) || text[0] == '\0' || strlen(text) > 15) {
        return -2;
    }
    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '9') {
            return -2;
        }
        n = n * 10 + (*p - '0');
    }
    return n;
}

static int find_path(const char *uri, size_t len)
{
    if (len > 1 && uri[len - 1] == '/') {
        len--;
    }
    for (int i = 0; i < GATEWAY_PATHS_MAX && gateway_setup.paths[i] != NULL; i++) {
        if (strlen(gateway_setup.paths[i]) == len && memcmp(gateway_setup.paths[i], uri, len) == 0) {
            return i;
        }
    }
    return -1;
}

int http_read(struct lws *wsi, struct request *r)
{
    static char text[HTTP_HEADERS_MAX]; /* loop thread only; too large for the stack of a callback */
    char *uri;
    int len;
    *r = (struct request){.length = body_length(wsi)};
    int method = lws_http_get_uri_and_method(wsi, &uri, &len);
    if (method < 0) {
        return -1;
    }
    r->method = method == LWSHUMETH_GET ? EIO_GET : method == LWSHUMETH_POST ? EIO_POST : EIO_OTHER_METHOD;
    r->options = method == LWSHUMETH_OPTIONS;
    r->head = method == LWSHUMETH_HEAD;
    r->path = find_path(uri, (size_t)len);
    r->livez = r->method == EIO_GET && len == 6 && memcmp(uri, "/livez", 6) == 0;
    for (int i = 0; (len = lws_hdr_copy_fragment(wsi, text, sizeof(text), WSI_TOKEN_HTTP_URI_ARGS, i)) >= 0; i++) {
        eio_query_add(&r->query, text, (size_t)len);
        if (gateway_setup.on_pair != NULL) {
            gateway_setup.on_pair(i, text, (size_t)len);
        }
    }
    bool readable = http_header(wsi, WSI_TOKEN_ORIGIN, r->origin, sizeof(r->origin)) || lws_hdr_total_length(wsi, WSI_TOKEN_ORIGIN) == 0;
    r->origin_allowed = readable && origin_allowed(r->origin);
    r->last = wants_close(wsi);
    r->chunked = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0;
    r->expects = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_EXPECT) > 0;
    r->octets = http_header(wsi, WSI_TOKEN_HTTP_CONTENT_TYPE, text, sizeof(text)) && strncasecmp(text, "application/octet-stream", 24) == 0;
    if (r->options) {
        http_header(wsi, WSI_TOKEN_HTTP_AC_REQUEST_HEADERS, r->asked_headers, sizeof(r->asked_headers));
    }
    return 0;
}

bool http_printable(const char *s)
{
    for (; *s != '\0'; s++) {
        if (!isprint((unsigned char)*s)) {
            return false;
        }
    }
    return true;
}

void http_set_cors(struct sock *s, const struct request *r)
{
    struct buf out = {0};
    size_t len;
    free(s->cors);
    s->cors = NULL;
    if (r->origin[0] != '\0' && r->origin_allowed && http_printable(r->origin)) {
        buf_addf(&out, "Access-Control-Allow-Origin: %s\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n", r->origin);
        s->cors = buf_steal(&out, &len);
    }
}
