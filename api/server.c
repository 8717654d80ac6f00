#include "api/server.h"

#include "api/listen.h"
#include "api/peers.h"
#include "api/router.h"
#include "core/log.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 4096
#define CONNECTIONS_PER_ADDRESS 1024
#define ADMIN_CONNECTIONS_MAX 256
#define ADMIN_THREADS 2
#define IDLE_SECONDS 15
#define CONNECTION_MEMORY 32768
/* A body up to this size is read to its end before its refusal is sent: a peer that is still writing would not read it. */
#define DRAIN_MAX 8388608

struct exchange {
    struct req req;
    struct arena *arena;
    struct buf body;
    int64_t received;
    bool headed;
};

static struct {
    struct MHD_Daemon *public, *admin;
    atomic_bool draining;
    atomic_int in_progress;
} server;

static bool is_admin; /* its address tells the operator's listener */

/* ---- life of an exchange ---- */

static void *exchange_begin(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct arena *a = arena_new("request");
    struct exchange *x = arena_alloc(a, sizeof(*x));
    const union MHD_ConnectionInfo *context = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    x->arena = a;
    x->req.arena = a;
    x->req.admin = cls == &is_admin;
    x->req.target = arena_strdup(a, uri);
    if (context != NULL) {
        peers_step(context->socket_context);
    }
    atomic_fetch_add(&server.in_progress, 1);
    return x;
}

static void exchange_end(void *cls, struct MHD_Connection *connection, void **con_cls, enum MHD_RequestTerminationCode why)
{
    (void)cls;
    (void)why;
    struct exchange *x = *con_cls;
    if (x == NULL) {
        return;
    }
    *con_cls = NULL;
    const union MHD_ConnectionInfo *context = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (context != NULL) {
        peers_step(context->socket_context);
    }
    buf_free(&x->body);
    struct arena *a = x->arena;
    arena_free(&a);
    atomic_fetch_sub(&server.in_progress, 1);
}

static void connection_changed(void *cls, struct MHD_Connection *connection, void **socket_context,
                               enum MHD_ConnectionNotificationCode code)
{
    (void)cls;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        peers_remove(*socket_context);
        *socket_context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *socket_context = fd != NULL ? peers_add(fd->connect_fd) : NULL;
}

/* ---- headers ---- */

struct framing {
    int lengths, encodings, hosts, types, authorizations;
    bool chunked, odd, bad_name, http10;
    int64_t length;
};

/* RFC 9110 5.6.2. A name with a space before its colon is the classic way to hide a header from one of two parsers. */
static bool is_token(const char *name)
{
    static const char allowed[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    return name[0] != '\0' && strspn(name, allowed) == strlen(name);
}

static enum MHD_Result look_at_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct framing *f = cls;
    (void)kind;
    const char *v = value != NULL ? value : "";
    f->bad_name = f->bad_name || !is_token(name);
    if (strcasecmp(name, "Content-Length") == 0) {
        f->lengths++;
        f->odd = f->odd || v[0] == '\0' || strlen(v) > 18 || strspn(v, "0123456789") != strlen(v);
        f->length = strtoll(v, NULL, 10);
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        f->encodings++;
        f->chunked = strcasecmp(v, "chunked") == 0;
    } else if (strcasecmp(name, "Host") == 0) {
        f->hosts++;
    } else if (strcasecmp(name, "Authorization") == 0) {
        f->authorizations++;
    } else if (strcasecmp(name, "Content-Type") == 0) {
        f->types++;
    }
    return MHD_YES;
}

/* What two parsers could read differently is not served (RFC 9112, 6.1 and 6.3). NULL when the framing is plain. */
static const char *ambiguous(const struct framing *f)
{
    if (f->bad_name) {
        return "A header's name holds a byte that is not allowed there.";
    }
    if (f->lengths > 0 && f->encodings > 0) {
        return "Content-Length and Transfer-Encoding exclude each other.";
    }
    if (f->lengths > 1 || f->odd) {
        return "Send one Content-Length, in decimal digits.";
    }
    if (f->encodings > 1 || (f->encodings == 1 && !f->chunked)) {
        return "The only Transfer-Encoding taken is chunked.";
    }
    if (f->hosts > 1 || (f->hosts == 0 && !f->http10)) {
        return "Send one Host.";
    }
    return f->authorizations > 1 || f->types > 1 ? "Send each header once." : NULL;
}

static void take_ip(struct exchange *x, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *sa = info != NULL ? info->client_addr : NULL;
    const void *address = NULL;
    if (sa != NULL && sa->sa_family == AF_INET) {
        address = &((const struct sockaddr_in *)sa)->sin_addr;
    } else if (sa != NULL && sa->sa_family == AF_INET6) {
        address = &((const struct sockaddr_in6 *)sa)->sin6_addr;
    }
    if (address == NULL || inet_ntop(sa->sa_family, address, x->req.ip, sizeof(x->req.ip)) == NULL) {
        snprintf(x->req.ip, sizeof(x->req.ip), "local");
    }
    if (strncmp(x->req.ip, "::ffff:", 7) == 0 && strchr(x->req.ip, '.') != NULL) {
        memmove(x->req.ip, x->req.ip + 7, strlen(x->req.ip + 7) + 1);
    }
}

static void take_headers(struct exchange *x, struct MHD_Connection *connection)
{
#define H(field, name) x->req.headers.field = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
    REQ_HEADERS(H)
#undef H
    take_ip(x, connection);
}

/* ---- reply ---- */

static enum MHD_Result send_reply(struct exchange *x, struct MHD_Connection *connection)
{
    struct reply *reply = &x->req.reply;
    /* The arena lives until exchange_end(), when the library has sent or given up the reply. */
    struct MHD_Response *response = MHD_create_response_from_buffer(reply->len, (void *)reply->body, MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        return MHD_NO;
    }
    for (int i = 0; i < reply->header_count; i++) {
        MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
    }
    if (reply->type != NULL) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->type);
    }
    if (reply->close || atomic_load(&server.draining)) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    }
    enum MHD_Result queued = MHD_queue_response(connection, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    router_done(&x->req);
    return queued;
}

/* First call: the headers are there. */
static enum MHD_Result on_headers(struct exchange *x, struct MHD_Connection *connection, const char *method, const char *version)
{
    struct framing f = {.http10 = strcmp(version, "HTTP/1.0") == 0};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, look_at_header, &f);
    take_headers(x, connection);
    x->req.method = arena_strdup(x->arena, method);
    x->req.has_body = f.encodings > 0 || f.length > 0;
    x->headed = true;
    router_head(&x->req, f.length);
    const char *trouble = ambiguous(&f);
    if (trouble != NULL) {
        struct err e = {0};
        err_set(&e, ERR_BAD_REQUEST, "%s", trouble);
        router_refuse(&x->req, &e);
        x->req.reply.close = true;
        return send_reply(x, connection);
    }
    bool expects = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Expect") != NULL;
    if (x->req.reply.status == 0 || (x->req.has_body && !expects && f.length <= DRAIN_MAX)) {
        return MHD_YES;
    }
    x->req.reply.close = x->req.has_body;
    return send_reply(x, connection);
}

static enum MHD_Result on_data(struct exchange *x, const char *data, size_t *size)
{
    x->received += (int64_t)*size;
    if (x->received > DRAIN_MAX) {
        return MHD_NO;
    }
    if (x->req.reply.status == 0 && x->received <= BODY_MAX) {
        buf_add(&x->body, data, *size);
    }
    *size = 0;
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
                                  const char *data, size_t *size, void **con_cls)
{
    struct exchange *x = *con_cls;
    (void)cls;
    (void)url;
    if (!x->headed) {
        return on_headers(x, connection, method, version);
    }
    if (*size > 0) {
        return on_data(x, data, size);
    }
    if (x->req.reply.status == 0) {
        router_body(&x->req, x->body.data != NULL ? x->body.data : "", x->received > BODY_MAX ? (size_t)x->received : x->body.len);
    }
    return send_reply(x, connection);
}

/* ---- listeners ---- */

static void library_log(void *cls, const char *format, va_list ap)
{
    char text[256];
    (void)cls;
    vsnprintf(text, sizeof(text), format, ap);
    text[strcspn(text, "\n")] = '\0';
    log_debug("http", "%s", text);
}

static struct MHD_Daemon *start(int fd, bool admin, unsigned threads)
{
    unsigned connections = admin ? ADMIN_CONNECTIONS_MAX : CONNECTIONS_MAX,
             per_address = admin ? ADMIN_CONNECTIONS_MAX : CONNECTIONS_PER_ADDRESS;
    void *cls = admin ? &is_admin : NULL;
    return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, cls,
                            MHD_OPTION_EXTERNAL_LOGGER, library_log, NULL, MHD_OPTION_LISTEN_SOCKET, (MHD_socket)fd,
                            MHD_OPTION_THREAD_POOL_SIZE, threads, MHD_OPTION_CONNECTION_LIMIT, connections,
                            MHD_OPTION_PER_IP_CONNECTION_LIMIT, per_address, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                            MHD_OPTION_URI_LOG_CALLBACK, exchange_begin, cls, MHD_OPTION_NOTIFY_COMPLETED, exchange_end, NULL,
                            MHD_OPTION_NOTIFY_CONNECTION, connection_changed, NULL, MHD_OPTION_END);
}

int server_start(const struct config *c, struct err *e)
{
    int public = listen_on(c->api_address, c->api_port, "PARLEY_API", e);
    int admin = public >= 0 ? listen_on(c->admin_address, c->admin_port, "PARLEY_ADMIN", e) : -1;
    if (admin < 0) {
        return -1;
    }
    peers_start();
    server.public = start(public, false, (unsigned)c->api_threads);
    server.admin = start(admin, true, ADMIN_THREADS);
    if (server.public == NULL || server.admin == NULL) {
        return err_set(e, ERR_INTERNAL,
                       "The HTTP library cannot start its threads; lower PARLEY_API_THREADS or raise the limits of the process.");
    }
    return 0;
}

static void quiesce(struct MHD_Daemon *d)
{
    MHD_socket fd = MHD_quiesce_daemon(d);
    if (fd != MHD_INVALID_SOCKET) {
        close(fd);
    }
}

void server_quiesce(void)
{
    atomic_store(&server.draining, true);
    quiesce(server.public);
    quiesce(server.admin);
}

bool server_stop(int timeout_ms)
{
    for (int waited = 0; atomic_load(&server.in_progress) > 0 && waited < timeout_ms; waited += 10) {
        usleep(10 * 1000);
    }
    bool finished = atomic_load(&server.in_progress) == 0;
    MHD_stop_daemon(server.public);
    MHD_stop_daemon(server.admin);
    return finished;
}
