/* The callbacks of libwebsockets and HTTP around Engine.IO. Written against 4.1.6 (Debian 12); the faults of its HTTP/1.1 side are named where they are worked
 * around, here and in polling.c. */
#include "realtime/gateway.h"

#include "core/log.h"
#include "realtime/accept.h"
#include "realtime/link.h"
#include "realtime/sock.h"

#include <ctype.h>

#define IDLE_MS 30000     /* between requests on one connection */
#define HEADERS_MAX 16384 /* request line and headers; lws hangs up beyond it */
#define RX_BUFFER 512     /* per connection */
#define SERVICE_BUFFER 32768
#define TX_MAX 131072
#define HEADER_SECONDS 5
#define WAIT_TICK_MS 50
#define RELEASE_MS 500
#define NOT_FOUND_BODY "{\"type\":\"about:blank\",\"title\":\"There is no such resource\",\"status\":404,\"code\":\"not_found\"}"

struct gateway_setup gateway_setup = {.paths = {"/socket.io"}};

static struct {
    struct lws_context *context;
    uv_prepare_t turn;
    struct loop_timer wait;
    int64_t until_ms;
    void (*done)(void);
} g;

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

int http_write(struct sock *s, const struct answer *w)
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
    buf_adds(&out, w->close ? "Connection: close\r\n\r\n" : "\r\n");
    buf_add(&out, w->body, w->len);
    size_t len = out.len - LWS_PRE;
    int n = lws_write(s->wsi, (unsigned char *)out.data + LWS_PRE, len, LWS_WRITE_HTTP);
    buf_free(&out);
    return n < (int)len ? -1 : 0;
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
    loop_timer_start(&s->timer, IDLE_MS, on_idle);
    return 0;
}

int http_answer(struct sock *s, const struct answer *w)
{
    if (http_write(s, w) < 0 || w->close) {
        return -1;
    }
    return transaction_end(s);
}

void http_answer_later(struct sock *s, const struct answer *w)
{
    if (s->state != SOCK_DEAD && http_answer(s, w) < 0) {
        sock_kill(s);
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

static bool header(struct lws *wsi, enum lws_token_indexes h, char *out, size_t size)
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

/* Digits only: two headers arrive as one joined text, and lws takes anything for a number. */
static int64_t body_length(struct lws *wsi)
{
    char text[24];
    int64_t n = 0;
    if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) == 0) {
        return -1;
    }
    if (!header(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, text, sizeof(text)) || text[0] == '\0' || strlen(text) > 15) {
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

static int read_request(struct lws *wsi, struct request *r)
{
    static char text[HEADERS_MAX]; /* loop thread only; too large for the stack of a callback */
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
    }
    bool readable = header(wsi, WSI_TOKEN_ORIGIN, r->origin, sizeof(r->origin)) || lws_hdr_total_length(wsi, WSI_TOKEN_ORIGIN) == 0;
    r->origin_allowed = readable && origin_allowed(r->origin);
    r->chunked = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0;
    r->expects = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_EXPECT) > 0;
    r->octets = header(wsi, WSI_TOKEN_HTTP_CONTENT_TYPE, text, sizeof(text)) && strncasecmp(text, "application/octet-stream", 24) == 0;
    if (r->options) {
        header(wsi, WSI_TOKEN_HTTP_AC_REQUEST_HEADERS, r->asked_headers, sizeof(r->asked_headers));
    }
    return 0;
}

static bool printable(const char *s)
{
    for (; *s != '\0'; s++) {
        if (!isprint((unsigned char)*s)) {
            return false;
        }
    }
    return true;
}

static void set_cors(struct sock *s, const struct request *r)
{
    struct buf out = {0};
    size_t len;
    free(s->cors);
    s->cors = NULL;
    if (r->origin[0] != '\0' && r->origin_allowed && printable(r->origin)) {
        buf_addf(&out, "Access-Control-Allow-Origin: %s\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n", r->origin);
        s->cors = buf_steal(&out, &len);
    }
}

/* The session that the request names, if it is alive. */
static struct link *session_of(const struct request *r)
{
    struct link *l = r->query.has_sid ? link_find(r->query.sid) : NULL;
    if (l != NULL && l->state == LINK_ENDED) {
        return r->method == EIO_GET ? l : NULL;
    }
    return l != NULL && link_alive(l) ? l : NULL;
}

static enum eio_refusal check(const struct request *r, const struct link *l, bool upgrade)
{
    struct eio_request q = {.query = &r->query,
                            .method = r->method,
                            .upgrade = upgrade,
                            .origin = r->origin[0] != '\0' ? r->origin : NULL,
                            .origin_allowed = r->origin_allowed,
                            .session = l != NULL ? &l->eio : NULL};
    return eio_check(&q);
}

/* ---- plain HTTP ---- */

static int answer_options(struct sock *s, const struct request *r)
{
    char extra[512];
    bool echo = r->asked_headers[0] != '\0' && printable(r->asked_headers);
    snprintf(extra, sizeof(extra), "Access-Control-Allow-Methods: GET,POST\r\nAccess-Control-Max-Age: 600\r\n%s%s%s",
             echo ? "Access-Control-Allow-Headers: " : "", echo ? r->asked_headers : "",
             echo ? "\r\nVary: Access-Control-Request-Headers\r\n" : "");
    struct answer w = {.status = 204, .extra = extra, .close = r->length != -1};
    return http_answer(s, &w);
}

static int answer_elsewhere(struct sock *s, const struct request *r)
{
    bool close = r->length != -1 || r->method != EIO_GET;
    struct answer missing = {
        .status = 404, .type = "application/problem+json", .body = NOT_FOUND_BODY, .len = sizeof(NOT_FOUND_BODY) - 1, .close = close};
    struct answer alive = {.status = 200, .type = "application/json", .body = "{\"status\":\"ok\"}", .len = 15, .close = close};
    return http_answer(s, r->livez ? &alive : &missing);
}

/* A request whose body cannot be read as one. Positive: there is nothing wrong. */
static int refuse_framing(struct sock *s, const struct request *r)
{
    struct answer length = {.status = 411, .type = "text/plain", .close = true};
    if ((r->chunked && r->length != -1) || r->length == -2) {
        return http_refuse(s, EIO_R_BAD_REQUEST, true);
    }
    if (r->chunked || (r->method == EIO_POST && r->length == -1)) {
        return http_answer(s, &length);
    }
    return 1;
}

static int on_request(struct sock *s)
{
    struct request r;
    loop_timer_stop(&s->timer);
    if (read_request(s->wsi, &r) < 0) {
        return -1;
    }
    set_cors(s, &r);
    int rc = refuse_framing(s, &r);
    if (rc <= 0) {
        return rc;
    }
    struct answer bodiless = {.status = 400, .close = true};
    if (r.head) {
        return http_answer(s, &bodiless);
    }
    if (r.path < 0) {
        return answer_elsewhere(s, &r);
    }
    if (r.options) {
        return answer_options(s, &r);
    }
    struct link *l = session_of(&r);
    enum eio_refusal refusal = check(&r, l, false);
    if (r.method == EIO_POST) {
        return polling_post(s, &r, refusal == EIO_ADMITTED ? l : NULL, refusal);
    }
    if (refusal != EIO_ADMITTED || r.length > 0) {
        return http_refuse(s, refusal != EIO_ADMITTED ? refusal : EIO_R_BAD_REQUEST, r.length != -1 || r.method != EIO_GET);
    }
    if (l != NULL) {
        return polling_get(s, l);
    }
    struct answer busy = {.status = 503, .type = "text/plain", .close = true};
    bool full = s->address->links >= node.config->connections_per_address;
    return node.draining || full ? http_answer(s, &busy) : polling_open(s, &r);
}

/* ---- upgrades ---- */

static int refuse_upgrade(struct sock *s, int status, const char *text)
{
    struct answer w = {.status = status, .type = "text/html", .body = text, .len = strlen(text), .close = true};
    (void)!http_write(s, &w);
    return -1;
}

/* On a kept-alive connection lws comes here with a freed pointer when it does not know the protocol asked for: decide by the header alone. */
static int on_upgrade(struct sock *s)
{
    char protocol[10];
    struct request r;
    loop_timer_stop(&s->timer);
    if (lws_hdr_total_length(s->wsi, WSI_TOKEN_UPGRADE) != 9 || !header(s->wsi, WSI_TOKEN_UPGRADE, protocol, sizeof(protocol)) ||
        strcasecmp(protocol, "websocket") != 0) {
        return -1;
    }
    if (read_request(s->wsi, &r) < 0 || r.method != EIO_GET) {
        return -1;
    }
    set_cors(s, &r);
    if (r.path < 0) {
        return refuse_upgrade(s, 404, "Not found");
    }
    enum eio_refusal refusal = check(&r, session_of(&r), true);
    if (refusal != EIO_ADMITTED) {
        return refuse_upgrade(s, eio_refusal_status(refusal), eio_refusal_text(refusal));
    }
    if (lws_hdr_total_length(s->wsi, WSI_TOKEN_PROTOCOL) > 0) {
        return refuse_upgrade(s, 400, "Sec-WebSocket-Protocol is not supported");
    }
    if (node.draining && !r.query.has_sid) {
        return refuse_upgrade(s, 503, "Draining");
    }
    return 0;
}

static int on_established(struct sock *s)
{
    struct request r;
    free(s->cors);
    s->cors = NULL;
    if (read_request(s->wsi, &r) < 0) {
        return -1;
    }
    struct link *l = session_of(&r);
    if (r.query.has_sid && l == NULL) {
        websocket_end(s, 0);
        return 0;
    }
    websocket_open(s, &r, l);
    return 0;
}

static int on_writable(struct sock *s)
{
    struct link *l = s->link;
    s->blocked = false;
    if (l != NULL && l->ws == s) {
        websocket_flush(l);
        link_settle(l);
    }
    return 0;
}

/* ---- libwebsockets ---- */

static int on_open_socket(struct sock *s, enum lws_callback_reasons why, void *in, size_t len)
{
    switch (why) {
    case LWS_CALLBACK_HTTP:
        return on_request(s);
    case LWS_CALLBACK_HTTP_BODY:
        return polling_body(s, in, len);
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        return polling_body_end(s);
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return on_upgrade(s);
    case LWS_CALLBACK_ESTABLISHED:
        return on_established(s);
    case LWS_CALLBACK_RECEIVE:
        return websocket_receive(s, in, len);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return on_writable(s);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return s->bye ? -1 : 0; /* no second close frame */
    case LWS_CALLBACK_CLOSED:
    case LWS_CALLBACK_CLOSED_HTTP:
        sock_lost(s);
        return 0;
    default:
        return 0;
    }
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t len)
{
    (void)user;
    struct sock *s = wsi != NULL ? lws_get_opaque_user_data(wsi) : NULL;
    if (s == NULL) {
        return 0;
    }
    s->wsi = wsi;
    if (why == LWS_CALLBACK_WSI_DESTROY) {
        lws_set_opaque_user_data(wsi, NULL);
        sock_gone(s);
        return 0;
    }
    if (s->state == SOCK_DEAD) {
        bool input = why == LWS_CALLBACK_HTTP || why == LWS_CALLBACK_HTTP_BODY || why == LWS_CALLBACK_HTTP_BODY_COMPLETION ||
                     why == LWS_CALLBACK_HTTP_CONFIRM_UPGRADE || why == LWS_CALLBACK_ESTABLISHED || why == LWS_CALLBACK_RECEIVE;
        return input ? -1 : 0;
    }
    return on_open_socket(s, why, in, len);
}

/* What peers do wrong is no operator's business. */
static void on_lws_log(int level, const char *line)
{
    (void)level;
    log_debug("libwebsockets", "%.*s", (int)strcspn(line, "\n"), line);
}

static const struct lws_protocols protocols[] = {
    {.name = "parley", .callback = on_lws, .rx_buffer_size = RX_BUFFER, .tx_packet_size = TX_MAX},
    {.name = NULL},
};

static struct lws_vhost *make_context(void)
{
    static const lws_retry_bo_t no_validity_timer = {.secs_since_valid_ping = 0, .secs_since_valid_hangup = 0};
    void *loops[] = {node.loop};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .options =
            LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_VALIDATE_UTF8 | LWS_SERVER_OPTION_DISABLE_IPV6,
        .foreign_loops = loops,
        .max_http_header_data = HEADERS_MAX,
        .pt_serv_buf_size = SERVICE_BUFFER,
        .timeout_secs = HEADER_SECONDS,
        .timeout_secs_ah_idle = HEADER_SECONDS,
        .keepalive_timeout = IDLE_MS / 1000,
        .retry_and_idle_policy = &no_validity_timer,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
    };
    lws_set_log_level(LLL_ERR | LLL_WARN, on_lws_log);
    g.context = lws_create_context(&info);
    return g.context != NULL ? lws_create_vhost(g.context, &info) : NULL;
}

/* ---- life ---- */

static void on_turn(uv_prepare_t *unused)
{
    (void)unused;
    link_turn_end();
    sock_turn_end(g.context);
}

static struct lws_vhost *vhost;

int gateway_init(struct err *e)
{
    vhost = make_context();
    if (vhost == NULL) {
        return err_set(e, ERR_INTERNAL, "libwebsockets does not start; is its libuv plug-in (libwebsockets-evlib-uv) installed?");
    }
    uv_prepare_init(node.loop, &g.turn);
    uv_prepare_start(&g.turn, on_turn);
    return polling_start(e);
}

int gateway_listen(struct err *e)
{
    return accept_start(vhost, e);
}

void gateway_stop_listening(void)
{
    accept_stop();
}

/* lws destroys its sockets in later turns. */
static void on_release(struct loop_timer *t)
{
    if (sock_count() > 0 && loop_now_ms() < g.until_ms) {
        loop_timer_start(t, WAIT_TICK_MS, on_release);
        return;
    }
    polling_stop();
    uv_close((uv_handle_t *)&g.turn, NULL);
    g.done();
}

static void on_wait(struct loop_timer *t)
{
    if (link_flushing_count() + sock_ending_count() > 0 && loop_now_ms() < g.until_ms) {
        loop_timer_start(t, WAIT_TICK_MS, on_wait);
        return;
    }
    struct lws_context *context = g.context;
    g.context = NULL;
    lws_context_destroy(context);
    g.until_ms = loop_now_ms() + RELEASE_MS;
    loop_timer_start(t, 0, on_release);
}

void gateway_stop(int wait_ms, void (*done)(void))
{
    accept_stop();
    g.done = done;
    g.until_ms = loop_now_ms() + wait_ms;
    link_close_all("server shutting down");
    loop_timer_start(&g.wait, WAIT_TICK_MS, on_wait);
}
