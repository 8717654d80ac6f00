/* The callbacks of libwebsockets and HTTP around Engine.IO. Written against 4.1.6 (Debian 12); the faults of its HTTP/1.1 side are named where they are worked
 * around, here and in polling.c. */
#include "realtime/gateway.h"

#include "core/log.h"
#include "realtime/accept.h"
#include "realtime/link.h"
#include "realtime/sock.h"

#define RX_BUFFER 512 /* per connection */
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

/* ---- requests ---- */

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
    bool echo = r->asked_headers[0] != '\0' && http_printable(r->asked_headers);
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
    if (http_read(s->wsi, &r) < 0) {
        return -1;
    }
    s->last = r.last;
    http_set_cors(s, &r);
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
    if (lws_hdr_total_length(s->wsi, WSI_TOKEN_UPGRADE) != 9 || !http_header(s->wsi, WSI_TOKEN_UPGRADE, protocol, sizeof(protocol)) ||
        strcasecmp(protocol, "websocket") != 0) {
        return -1;
    }
    if (http_read(s->wsi, &r) < 0 || r.method != EIO_GET) {
        return -1;
    }
    http_set_cors(s, &r);
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
    if (http_read(s->wsi, &r) < 0) {
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

static int on_piece(struct sock *s, const void *data, size_t len)
{
    struct piece p = {.data = data,
                      .len = len,
                      .rest = lws_remaining_packet_payload(s->wsi),
                      .first = lws_is_first_fragment(s->wsi),
                      .last = lws_is_final_fragment(s->wsi),
                      .binary = lws_frame_is_binary(s->wsi)};
    return websocket_receive(s, &p);
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
        return on_piece(s, in, len);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        websocket_writable(s);
        return 0;
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
        .max_http_header_data = HTTP_HEADERS_MAX,
        .pt_serv_buf_size = SERVICE_BUFFER,
        .timeout_secs = HEADER_SECONDS,
        .timeout_secs_ah_idle = HEADER_SECONDS,
        .keepalive_timeout = HTTP_IDLE_MS / 1000,
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
