#include "tests/fuzz/fake_lws.h"

#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define PIECE 512 /* rx_buffer_size */

struct lws fakes[FAKES_MAX];
static lws_callback_function *callback;
static struct lws *adopting;

/* ---- connections ---- */

struct lws *fake_adopted(void)
{
    return adopting;
}

static void destroy(struct lws *wsi, bool opened)
{
    if (opened) {
        callback(wsi, wsi->ws ? LWS_CALLBACK_CLOSED : LWS_CALLBACK_CLOSED_HTTP, NULL, NULL, 0);
    }
    callback(wsi, LWS_CALLBACK_WSI_DESTROY, NULL, NULL, 0);
    fake_closed(wsi);
    *wsi = (struct lws){0};
}

/* A callback that returns otherwise than 0 ends its connection. */
static bool call(struct lws *wsi, enum lws_callback_reasons why, const void *in, size_t len)
{
    if (callback(wsi, why, NULL, (void *)in, len) == 0) {
        return true;
    }
    destroy(wsi, true);
    return false;
}

struct lws *lws_adopt_descriptor_vhost_via_info(const lws_adopt_desc_t *info)
{
    struct lws *wsi = &fakes[info->fd.sockfd - FAKE_FD];
    HOLDS(!wsi->used);
    *wsi = (struct lws){.used = true, .opaque = info->opaque, .room = SIZE_MAX};
    return wsi;
}

void fake_http(struct lws *wsi, const struct fake_request *r)
{
    wsi->request = *r;
    wsi->transaction = true;
    wsi->body_left = r->length > 0 ? (size_t)r->length : 0;
    if (call(wsi, LWS_CALLBACK_HTTP, r->path, strlen(r->path)) && r->method == LWSHUMETH_POST && r->length == 0 && wsi->transaction) {
        call(wsi, LWS_CALLBACK_HTTP_BODY_COMPLETION, NULL, 0);
    }
}

void fake_body(struct lws *wsi, const char *p, size_t len)
{
    HOLDS(len <= wsi->body_left);
    while (len > 0) {
        size_t n = len < PIECE ? len : PIECE;
        char *copy = exact_copy(p, n);
        wsi->body_left -= n;
        bool open = call(wsi, LWS_CALLBACK_HTTP_BODY, copy, n);
        free(copy);
        if (!open) {
            return;
        }
        p += n;
        len -= n;
    }
    if (wsi->body_left == 0) {
        call(wsi, LWS_CALLBACK_HTTP_BODY_COMPLETION, NULL, 0);
    }
}

void fake_upgrade(struct lws *wsi, const struct fake_request *r)
{
    wsi->request = *r;
    if (call(wsi, LWS_CALLBACK_HTTP_CONFIRM_UPGRADE, r->upgrade, strlen(r->upgrade))) {
        wsi->ws = true;
        call(wsi, LWS_CALLBACK_ESTABLISHED, NULL, 0);
    }
}

void fake_frame(struct lws *wsi, const char *p, size_t len, bool binary, bool final)
{
    if (!wsi->fragmented) {
        wsi->binary = binary;
        wsi->first = true;
    }
    wsi->fragmented = !final;
    do {
        size_t n = len < PIECE ? len : PIECE;
        char *copy = exact_copy(p, n);
        wsi->remaining = len - n;
        wsi->final = final && wsi->remaining == 0;
        bool open = call(wsi, LWS_CALLBACK_RECEIVE, copy, n);
        free(copy);
        if (!open) {
            return;
        }
        wsi->first = false;
        p += n;
        len -= n;
    } while (len > 0);
}

void fake_peer_closes(struct lws *wsi)
{
    if (call(wsi, LWS_CALLBACK_WS_PEER_INITIATED_CLOSE, NULL, 0)) {
        destroy(wsi, true);
    }
}

void fake_lose(struct lws *wsi)
{
    destroy(wsi, true);
}

void fake_serve(void)
{
    for (int i = 0; i < FAKES_MAX; i++) {
        struct lws *wsi = &fakes[i];
        if (wsi->used && wsi->kill) {
            destroy(wsi, true);
        } else if (wsi->used && wsi->wants_write && wsi->room > 0) {
            wsi->wants_write = wsi->buffered = false;
            call(wsi, LWS_CALLBACK_SERVER_WRITEABLE, NULL, 0);
        }
    }
}

/* ---- what the gateway calls ---- */

struct lws_context *lws_create_context(const struct lws_context_creation_info *info)
{
    callback = info->protocols[0].callback;
    return (struct lws_context *)(void *)fakes;
}

struct lws_vhost *lws_create_vhost(struct lws_context *context, const struct lws_context_creation_info *info)
{
    (void)info;
    return (struct lws_vhost *)(void *)context;
}

void lws_context_destroy(struct lws_context *context)
{
    (void)context;
}

void lws_cancel_service(struct lws_context *context)
{
    (void)context;
}

void lws_set_log_level(int level, void (*log)(int level, const char *line))
{
    (void)level;
    (void)log;
}

void *lws_get_opaque_user_data(const struct lws *wsi)
{
    return wsi->opaque;
}

void lws_set_opaque_user_data(struct lws *wsi, void *data)
{
    wsi->opaque = data;
}

static const char *header(const struct lws *wsi, enum lws_token_indexes h)
{
    static char length[24];
    const struct fake_request *r = &wsi->request;
    snprintf(length, sizeof(length), "%ld", r->length);
    switch ((int)h) {
    case WSI_TOKEN_HTTP_CONTENT_LENGTH:
        return r->length >= 0 ? length : NULL;
    case WSI_TOKEN_ORIGIN:
        return r->origin;
    case WSI_TOKEN_UPGRADE:
        return r->upgrade;
    case WSI_TOKEN_HTTP_CONTENT_TYPE:
        return r->type;
    default:
        return NULL;
    }
}

int lws_hdr_total_length(struct lws *wsi, enum lws_token_indexes h)
{
    const char *text = header(wsi, h);
    return text != NULL ? (int)strlen(text) : 0;
}

int lws_hdr_copy(struct lws *wsi, char *dest, int len, enum lws_token_indexes h)
{
    const char *text = header(wsi, h);
    int n = text != NULL ? (int)strlen(text) : 0;
    if (n >= len) {
        return -1;
    }
    memcpy(dest, text != NULL ? text : "", (size_t)n + 1);
    return n;
}

/* The arguments of the query, one by one. */
int lws_hdr_copy_fragment(struct lws *wsi, char *dest, int len, enum lws_token_indexes h, int index)
{
    const char *p = h == WSI_TOKEN_HTTP_URI_ARGS ? wsi->request.query : "";
    for (; index > 0 && *p != '\0'; index--) {
        p += strcspn(p, "&");
        p += *p == '&';
    }
    size_t n = strcspn(p, "&");
    if (*p == '\0' || n >= (size_t)len) {
        return -1;
    }
    memcpy(dest, p, n);
    dest[n] = '\0';
    return (int)n;
}

int lws_http_get_uri_and_method(struct lws *wsi, char **uri, int *len)
{
    *uri = (char *)wsi->request.path;
    *len = (int)strlen(wsi->request.path);
    return wsi->request.method;
}

int lws_http_transaction_completed(struct lws *wsi)
{
    HOLDS(!wsi->ws && wsi->transaction && wsi->body_left == 0);
    wsi->transaction = false;
    return 0;
}

int lws_rx_flow_control(struct lws *wsi, int enable)
{
    wsi->paused = enable == 0;
    return 0;
}

void lws_set_timeout(struct lws *wsi, enum pending_timeout reason, int secs)
{
    (void)reason;
    wsi->kill = wsi->kill || secs == LWS_TO_KILL_ASYNC;
}

int lws_callback_on_writable(struct lws *wsi)
{
    wsi->wants_write = true;
    return 0;
}

int lws_partial_buffered(struct lws *wsi)
{
    return wsi->buffered;
}

/* lws takes all of it, and keeps what the kernel does not want yet. */
int lws_write(struct lws *wsi, unsigned char *buf, size_t len, enum lws_write_protocol protocol)
{
    HOLDS(protocol == LWS_WRITE_HTTP);
    if (wsi->lost) {
        return -1;
    }
    if (len > wsi->room) {
        wsi->buffered = true;
        wsi->room = 0;
    }
    fake_wrote(wsi, buf, len);
    return (int)len;
}

int lws_is_first_fragment(struct lws *wsi)
{
    return wsi->first;
}

int lws_is_final_fragment(struct lws *wsi)
{
    return wsi->final;
}

int lws_frame_is_binary(struct lws *wsi)
{
    return wsi->binary;
}

size_t lws_remaining_packet_payload(struct lws *wsi)
{
    return wsi->remaining;
}

/* ---- what the gateway asks the kernel for past lws ---- */

ssize_t __wrap_writev(int fd, const struct iovec *iov, int n);
ssize_t __wrap_recv(int fd, void *p, size_t len, int flags);
int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *ev);

ssize_t __wrap_writev(int fd, const struct iovec *iov, int n)
{
    struct lws *wsi = &fakes[fd - FAKE_FD];
    size_t wrote = 0;
    HOLDS(wsi->used && wsi->ws && !wsi->buffered);
    if (wsi->lost || wsi->room == 0) {
        errno = wsi->lost ? EPIPE : EAGAIN;
        return -1;
    }
    for (int i = 0; i < n && wsi->room > 0; i++) {
        size_t take = iov[i].iov_len < wsi->room ? iov[i].iov_len : wsi->room;
        fake_wrote(wsi, iov[i].iov_base, take);
        wsi->room -= wsi->room == SIZE_MAX ? 0 : take;
        wrote += take;
    }
    return (ssize_t)wrote;
}

ssize_t __wrap_recv(int fd, void *p, size_t len, int flags)
{
    (void)p;
    (void)len;
    (void)flags;
    if (fakes[fd - FAKE_FD].lost) {
        return 0;
    }
    errno = EAGAIN;
    return -1;
}

int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *ev)
{
    (void)epoll;
    (void)op;
    (void)ev;
    HOLDS(fakes[fd - FAKE_FD].used);
    return 0;
}
