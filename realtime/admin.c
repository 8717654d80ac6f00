#include "realtime/admin.h"

#include "core/buf.h"
#include "core/metrics.h"
#include "realtime/loop.h"
#include "realtime/session.h"

#define REQUEST_MAX 4096
#define TIME_MS 5000
#define CLIENTS_MAX 64
#define BACKLOG 64

struct client {
    uv_tcp_t tcp;
    uv_write_t write;
    struct loop_timer timer;
    struct client *next, *prev;
    char request[REQUEST_MAX + 1];
    size_t len;
    struct buf answer;
};

static struct {
    uv_tcp_t listener;
    struct client clients; /* head of a ring */
    int count;
} admin;

static void on_client_closed(uv_handle_t *h)
{
    struct client *c = h->data;
    c->next->prev = c->prev;
    c->prev->next = c->next;
    admin.count--;
    buf_free(&c->answer);
    free(c);
}

static void client_close(struct client *c)
{
    loop_timer_stop(&c->timer);
    if (!uv_is_closing((uv_handle_t *)&c->tcp)) {
        uv_close((uv_handle_t *)&c->tcp, on_client_closed);
    }
}

static void on_timeout(struct loop_timer *t)
{
    client_close((struct client *)((char *)t - offsetof(struct client, timer)));
}

static void on_written(uv_write_t *w, int status)
{
    (void)status;
    client_close(w->data);
}

static void answer(struct client *c, const char *status, const char *type, const struct buf *body)
{
    buf_addf(&c->answer, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
             status, type, body->len);
    buf_add(&c->answer, body->data, body->len);
    uv_buf_t out = uv_buf_init(c->answer.data, (unsigned)c->answer.len);
    uv_read_stop((uv_stream_t *)&c->tcp);
    c->write.data = c;
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &out, 1, on_written) < 0) {
        client_close(c);
    }
}

static void answer_readyz(struct client *c, bool verbose)
{
    struct buf body = {0};
    bool ready = session_ready(verbose ? &body : NULL) && !node.draining;
    if (verbose && node.draining) {
        buf_adds(&body, "draining\n");
    }
    metric_set(METRIC_READY, NULL, NULL, ready);
    buf_adds(&body, ready ? "ok\n" : "not ready\n");
    answer(c, ready ? "200 OK" : "503 Service Unavailable", "text/plain; charset=utf-8", &body);
    buf_free(&body);
}

static void answer_metrics(struct client *c)
{
    struct buf body = {0};
    metric_set(METRIC_READY, NULL, NULL, session_ready(NULL) && !node.draining);
    metrics_print(&body);
    answer(c, "200 OK", "text/plain; version=0.0.4; charset=utf-8", &body);
    buf_free(&body);
}

static void answer_text(struct client *c, const char *status, const char *text)
{
    struct buf body = {0};
    buf_adds(&body, text);
    answer(c, status, "text/plain; charset=utf-8", &body);
    buf_free(&body);
}

static void serve(struct client *c)
{
    char target[64];
    if (sscanf(c->request, "GET %63s HTTP/1.", target) != 1) {
        answer_text(c, "405 Method Not Allowed", "GET only\n");
    } else if (strcmp(target, "/livez") == 0) {
        answer_text(c, "200 OK", "ok\n");
    } else if (strcmp(target, "/readyz") == 0 || strcmp(target, "/readyz?verbose") == 0 || strcmp(target, "/readyz?verbose=1") == 0) {
        answer_readyz(c, target[7] == '?');
    } else if (strcmp(target, "/metrics") == 0) {
        answer_metrics(c);
    } else {
        answer_text(c, "404 Not Found", "not found\n");
    }
}

static void on_room(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    struct client *c = h->data;
    (void)suggested;
    *out = uv_buf_init(c->request + c->len, (unsigned)(REQUEST_MAX - c->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *unused)
{
    struct client *c = stream->data;
    (void)unused;
    if (n < 0) {
        client_close(c);
        return;
    }
    c->len += (size_t)n;
    c->request[c->len] = '\0';
    if (strstr(c->request, "\r\n\r\n") != NULL) {
        serve(c);
    } else if (c->len == REQUEST_MAX) {
        answer_text(c, "431 Request Header Fields Too Large", "too large\n");
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    if (status < 0) {
        return;
    }
    struct client *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return;
    }
    uv_tcp_init(node.loop, &c->tcp);
    c->tcp.data = c;
    c->next = &admin.clients;
    c->prev = admin.clients.prev;
    c->prev->next = admin.clients.prev = c;
    admin.count++;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) < 0 || admin.count > CLIENTS_MAX) {
        client_close(c);
        return;
    }
    loop_timer_start(&c->timer, TIME_MS, on_timeout);
    uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read);
}

int admin_start(struct err *e)
{
    struct sockaddr_storage sa;
    const char *host = node.config->admin_address;
    int port = node.config->realtime_admin_port;
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)&sa) < 0 && uv_ip6_addr(host, port, (struct sockaddr_in6 *)&sa) < 0) {
        return err_set(e, ERR_VALIDATION_FAILED, "PARLEY_ADMIN_ADDRESS: %.60s is not a numeric address.", host);
    }
    admin.clients.next = admin.clients.prev = &admin.clients;
    uv_tcp_init(node.loop, &admin.listener);
    int rc = uv_tcp_bind(&admin.listener, (struct sockaddr *)&sa, 0);
    if (rc == 0) {
        rc = uv_listen((uv_stream_t *)&admin.listener, BACKLOG, on_connection);
    }
    return rc == 0 ? 0 : err_set(e, ERR_INTERNAL, "Cannot listen on %.60s:%d: %s.", host, port, uv_strerror(rc));
}

void admin_stop(void)
{
    for (struct client *c = admin.clients.next; c != &admin.clients; c = c->next) {
        client_close(c);
    }
    uv_close((uv_handle_t *)&admin.listener, NULL);
}
