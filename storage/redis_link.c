#include "storage/redis_link.h"

#include "core/log.h"

#define CONNECT_MS 1000
#define QUEUE_MAX (32u << 20) /* bytes that wait to be sent */
#define READ_LEN 65536

struct pending {
    struct pending *next;
    void (*done)(const redisReply *r, void *arg);
    void *arg;
};

struct redis_link {
    uv_loop_t *loop;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } io;
    uv_timer_t timer;
    uv_connect_t connect;
    uv_getaddrinfo_t resolve;
    struct redis_address address;
    const char *password;
    struct redis_link_events events;
    redisReader *reader;
    int elements; /* of the reply being read */
    struct pending *first, **last;
    const char *why; /* why it is being closed, NULL while it is not */
    int open;        /* handles and requests that will still call back */
    bool ready;
    char bytes[READ_LEN];
};

struct write {
    uv_write_t req;
    char *bytes;
};

/* ---- the end ---- */

static void answer_first(struct redis_link *l, const redisReply *r)
{
    struct pending *p = l->first;
    l->first = p->next;
    if (l->first == NULL) {
        l->last = &l->first;
    }
    p->done(r, p->arg);
    free(p);
}

static void one_closed(struct redis_link *l)
{
    if (--l->open > 0) {
        return;
    }
    while (l->first != NULL) {
        answer_first(l, NULL);
    }
    l->events.gone(l, l->why, l->events.ctx);
    redisReaderFree(l->reader);
    free(l);
}

static void on_handle_closed(uv_handle_t *handle)
{
    one_closed(handle->data);
}

void redis_link_close(struct redis_link *l, const char *why)
{
    if (l->why != NULL) {
        return;
    }
    l->why = why;
    l->ready = false;
    uv_cancel((uv_req_t *)&l->resolve); /* refused when it is over or runs: on_resolved() sees `why` */
    uv_close(&l->io.handle, on_handle_closed);
    uv_close((uv_handle_t *)&l->timer, on_handle_closed);
}

/* ---- reading ---- */

static void take_replies(struct redis_link *l)
{
    while (l->why == NULL) {
        void *reply = NULL;
        if (redisReaderGetReply(l->reader, &reply) != REDIS_OK) {
            redis_link_close(l, "reply that is not of the protocol");
            return;
        }
        if (reply == NULL) {
            break;
        }
        if (l->first != NULL) {
            answer_first(l, reply);
        } else {
            l->events.push(l, reply, l->events.ctx);
        }
        freeReplyObject(reply);
    }
    if (l->reader->len - l->reader->pos > REPLY_BYTES_MAX) {
        redis_link_close(l, "reply too large");
    }
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct redis_link *l = handle->data;
    *buf = uv_buf_init(l->bytes, sizeof(l->bytes));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct redis_link *l = stream->data;
    if (n < 0) {
        redis_link_close(l, n == UV_EOF ? "closed by Redis" : "read failed");
    } else if (n > 0 && redisReaderFeed(l->reader, buf->base, (size_t)n) != REDIS_OK) {
        redis_link_close(l, "reply that is not of the protocol");
    } else if (n > 0) {
        take_replies(l);
    }
}

/* ---- writing ---- */

static void on_written(uv_write_t *req, int status)
{
    struct write *w = (struct write *)req;
    struct redis_link *l = req->data;
    redisFreeCommand(w->bytes);
    free(w);
    if (status < 0) {
        redis_link_close(l, "write failed");
    }
}

static void *must_alloc(size_t size)
{
    void *p = calloc(1, size);
    if (p == NULL) {
        log_error("out_of_memory", "a link to Redis needs %zu bytes", size);
        abort();
    }
    return p;
}

static int send_command(struct redis_link *l, int argc, const char **argv, const size_t *lens, void (*done)(const redisReply *r, void *arg),
                        void *arg)
{
    char *bytes = NULL;
    int len = redisFormatCommandArgv(&bytes, argc, argv, lens);
    if (len < 0) {
        return -1;
    }
    struct write *w = must_alloc(sizeof(*w));
    *w = (struct write){.req.data = l, .bytes = bytes};
    uv_buf_t buf = uv_buf_init(bytes, (unsigned)len);
    if (uv_write(&w->req, &l->io.stream, &buf, 1, on_written) != 0) {
        redisFreeCommand(bytes);
        free(w);
        return -1;
    }
    if (done != NULL) {
        struct pending *p = must_alloc(sizeof(*p));
        *p = (struct pending){.done = done, .arg = arg};
        *l->last = p;
        l->last = &p->next;
    }
    return 0;
}

static size_t command_size(const struct redis_cmd *c)
{
    size_t size = 0;
    for (int i = 0; i < c->argc; i++) {
        size += c->lens[i] + 16;
    }
    return size;
}

int redis_link_send(struct redis_link *l, const struct redis_cmd *c, void (*done)(const redisReply *r, void *arg), void *arg)
{
    if (!l->ready || uv_stream_get_write_queue_size(&l->io.stream) + command_size(c) > QUEUE_MAX) {
        return -1;
    }
    return send_command(l, c->argc, c->argv, c->lens, done, arg);
}

/* ---- the start ---- */

static void become_ready(struct redis_link *l)
{
    l->ready = true;
    uv_timer_stop(&l->timer);
    l->events.ready(l, l->events.ctx);
}

static void on_auth(const redisReply *r, void *arg)
{
    struct redis_link *l = arg;
    if (r == NULL) {
        return;
    }
    if (r->type != REDIS_REPLY_STATUS) {
        redis_link_close(l, "Redis refuses the password");
        return;
    }
    become_ready(l);
}

static void on_connected(uv_connect_t *req, int status)
{
    struct redis_link *l = req->data;
    if (status != 0 || l->why != NULL) {
        redis_link_close(l, "cannot connect");
        return;
    }
    if (l->address.port != 0) {
        uv_tcp_nodelay(&l->io.tcp, 1);
    }
    if (uv_read_start(&l->io.stream, on_room, on_read) != 0) {
        redis_link_close(l, "cannot read");
        return;
    }
    if (l->password[0] == '\0') {
        become_ready(l);
        return;
    }
    const char *argv[] = {"AUTH", l->password};
    size_t lens[] = {4, strlen(l->password)};
    if (send_command(l, 2, argv, lens, on_auth, l) != 0) {
        redis_link_close(l, "cannot write");
    }
}

static void connect_to(struct redis_link *l, const struct sockaddr *to)
{
    if (uv_tcp_connect(&l->connect, &l->io.tcp, to, on_connected) != 0) {
        redis_link_close(l, "cannot connect");
    }
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct redis_link *l = req->data;
    if (l->why == NULL && status == 0 && found != NULL) {
        connect_to(l, found->ai_addr);
    } else {
        redis_link_close(l, "the name of PARLEY_REDIS cannot be resolved");
    }
    uv_freeaddrinfo(found);
    one_closed(l);
}

static void resolve(struct redis_link *l)
{
    char port[8];
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    snprintf(port, sizeof(port), "%d", l->address.port);
    if (uv_getaddrinfo(l->loop, &l->resolve, on_resolved, l->address.host, port, &hints) != 0) {
        redis_link_close(l, "the name of PARLEY_REDIS cannot be resolved");
        return;
    }
    l->open++;
}

static void connect_tcp(struct redis_link *l)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (uv_ip4_addr(l->address.host, l->address.port, &v4) == 0) {
        connect_to(l, (const struct sockaddr *)&v4);
    } else if (uv_ip6_addr(l->address.host, l->address.port, &v6) == 0) {
        connect_to(l, (const struct sockaddr *)&v6);
    } else {
        resolve(l);
    }
}

static void on_late(uv_timer_t *timer)
{
    redis_link_close(timer->data, "no connection in time");
}

/* The first turn of the timer connects, so that nothing calls back from within redis_link_open(); the second is the deadline. */
static void on_first_turn(uv_timer_t *timer)
{
    struct redis_link *l = timer->data;
    uv_timer_start(timer, on_late, CONNECT_MS, 0);
    if (l->address.port == 0) {
        uv_pipe_connect(&l->connect, &l->io.pipe, l->address.host, on_connected);
    } else {
        connect_tcp(l);
    }
}

struct redis_link *redis_link_open(uv_loop_t *loop, const struct redis_address *address, const char *password,
                                   const struct redis_link_events *events)
{
    struct redis_link *l = must_alloc(sizeof(*l));
    l->loop = loop;
    l->address = *address;
    l->password = password;
    l->events = *events;
    l->last = &l->first;
    l->reader = redisReaderCreate();
    if (l->reader == NULL || uv_timer_init(loop, &l->timer) != 0 ||
        (address->port == 0 ? uv_pipe_init(loop, &l->io.pipe, 0) : uv_tcp_init(loop, &l->io.tcp)) != 0) {
        log_error("out_of_memory", "a link to Redis cannot be made");
        abort();
    }
    redis_bound_reader(l->reader, &l->elements);
    l->open = 2;
    l->io.handle.data = l->timer.data = l->connect.data = l->resolve.data = l;
    uv_timer_start(&l->timer, on_first_turn, 0, 0);
    return l;
}
