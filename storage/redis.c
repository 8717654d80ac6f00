#include "storage/redis.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "storage/redis-private.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

#define CONNECT_MS 300
#define COMMAND_MS 1000
#define RETRY_MS 200 /* after a failure a thread does not try again for this long */

static struct redis_address address;
static const char *password = "";
static pthread_key_t thread_key;
static pthread_once_t thread_key_once = PTHREAD_ONCE_INIT;

static _Thread_local redisContext *link_;
static _Thread_local int64_t retry_at_ms;
static _Thread_local int elements;         /* of the reply being read; a thread reads one at a time */
static _Thread_local bool forbidden, away; /* away: told to the log already */

static void on_thread_exit(void *unused)
{
    (void)unused;
    redis_thread_end();
}

static void make_thread_key(void)
{
    int r = pthread_key_create(&thread_key, on_thread_exit);
    assert(r == 0);
}

void redis_start(const struct config *c)
{
    if (redis_address_parse(c->redis, &address) != 0) {
        log_error("bad_redis_address", "PARLEY_REDIS must be host:port or the path of a unix socket");
        exit(1);
    }
    password = c->redis_password != NULL ? c->redis_password : "";
    retry_at_ms = 0;
    away = false;
    signal(SIGPIPE, SIG_IGN); /* hiredis writes to sockets that the other side may have closed */
}

void redis_forbid_on_this_thread(void)
{
    forbidden = true;
}

void redis_thread_end(void)
{
    if (link_ != NULL) {
        redisFree(link_);
        link_ = NULL;
    }
}

/* ---- one connection ---- */

static struct timeval milliseconds(int ms)
{
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

int redis_receive(redisContext *c, int64_t deadline, redisReply **reply_r)
{
    for (;;) {
        void *reply = NULL;
        if (redisGetReplyFromReader(c, &reply) != REDIS_OK) {
            return -1;
        }
        if (reply != NULL) {
            *reply_r = reply;
            return 1;
        }
        int64_t left = deadline - clock_mono_ms();
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        int ready = poll(&p, 1, left > 0 ? (int)left : 0);
        if (ready == 0) {
            return 0;
        }
        if (c->reader->len - c->reader->pos > REPLY_BYTES_MAX) {
            return -1;
        }
        if ((ready < 0 && errno != EINTR) || (ready > 0 && redisBufferRead(c) != REDIS_OK)) {
            return -1;
        }
    }
}

static int authenticate(redisContext *c, struct err *e)
{
    redisReply *reply = NULL;
    const char *argv[] = {"AUTH", password};
    int done = 0;
    if (password[0] == '\0') {
        return 0;
    }
    if (redisAppendCommandArgv(c, 2, argv, NULL) != REDIS_OK || redisBufferWrite(c, &done) != REDIS_OK || !done ||
        redis_receive(c, clock_mono_ms() + CONNECT_MS, &reply) != 1) {
        return err_set(e, ERR_STORAGE_UNAVAILABLE, "The cache is not available; try again.");
    }
    bool ok = reply->type == REDIS_REPLY_STATUS;
    if (!ok) {
        log_warn("redis_auth", "Redis refuses the password of PARLEY_REDIS_PASSWORD_FILE");
    }
    freeReplyObject(reply);
    return ok ? 0 : err_set(e, ERR_STORAGE_UNAVAILABLE, "The cache is not available; try again.");
}

redisContext *redis_open(struct err *e)
{
    assert(address.host[0] != '\0'); /* redis_start() */
    struct timeval connect = milliseconds(CONNECT_MS);
    redisContext *c = address.port == 0 ? redisConnectUnixWithTimeout(address.host, connect)
                                        : redisConnectWithTimeout(address.host, address.port, connect);
    if (c == NULL || c->err != 0 || redisSetTimeout(c, milliseconds(COMMAND_MS)) != REDIS_OK) {
        err_set(e, ERR_STORAGE_UNAVAILABLE, "The cache is not available; try again.");
    } else {
        redis_bound_reader(c->reader, &elements);
        if (authenticate(c, e) == 0) {
            return c;
        }
    }
    if (c != NULL) {
        redisFree(c);
    }
    return NULL;
}

/* ---- the link of a thread ---- */

static void give_up(const char *what)
{
    if (!away) {
        log_warn("redis_away", "Redis: %s", what);
    }
    away = true;
    redis_thread_end();
    retry_at_ms = clock_mono_ms() + RETRY_MS;
}

static int open_link(struct err *e)
{
    if (link_ != NULL) {
        return 0;
    }
    if (clock_mono_ms() < retry_at_ms) {
        return err_set(e, ERR_STORAGE_UNAVAILABLE, "The cache is not available; try again.");
    }
    link_ = redis_open(e);
    if (link_ == NULL) {
        give_up("cannot connect");
        return -1;
    }
    pthread_once(&thread_key_once, make_thread_key);
    pthread_setspecific(thread_key, link_);
    return 0;
}

static void free_reply(void *reply)
{
    freeReplyObject(reply);
}

/* How far an exchange came: how many replies are there. */
static int exchange(struct arena *a, struct redis_cmd **c, int n, redisReply **replies, int *got_r, bool *timeout_r)
{
    for (int i = 0; i < n; i++) {
        if (redisAppendCommandArgv(link_, c[i]->argc, c[i]->argv, c[i]->lens) != REDIS_OK) {
            return -1;
        }
    }
    for (int done = 0; !done;) {
        if (redisBufferWrite(link_, &done) != REDIS_OK) {
            return -1;
        }
    }
    int64_t deadline = clock_mono_ms() + COMMAND_MS;
    for (int i = 0; i < n; i++) {
        int r = redis_receive(link_, deadline, &replies[i]);
        *timeout_r = r == 0;
        if (r != 1) {
            return -1;
        }
        arena_defer(a, free_reply, replies[i]);
        *got_r = i + 1;
    }
    return 0;
}

/* A link that was idle may have been closed by a Redis that has come back since: one more try on a new one. */
static int exchange_on_fresh_link(struct arena *a, struct redis_cmd **c, int n, redisReply **replies, struct err *e)
{
    bool reused = link_ != NULL;
    for (;;) {
        int got = 0;
        bool timeout = false;
        if (open_link(e) != 0) {
            metric_add(METRIC_REDIS_COMMANDS, "lost", NULL, n);
            return -1;
        }
        if (exchange(a, c, n, replies, &got, &timeout) == 0) {
            away = false;
            return 0;
        }
        bool again = reused && got == 0 && !timeout;
        if (again) {
            redis_thread_end();
            reused = false;
            continue;
        }
        give_up(timeout ? "no answer in time" : "connection lost");
        metric_add(METRIC_REDIS_COMMANDS, "lost", NULL, n);
        return err_set(e, ERR_STORAGE_UNAVAILABLE, "The cache is not available; try again.");
    }
}

static bool unknown_script(const struct redis_cmd *c, const redisReply *r)
{
    return c->script >= 0 && r->type == REDIS_REPLY_ERROR && strncmp(r->str, "NOSCRIPT", 8) == 0;
}

static int send_scripts_whole(struct arena *a, struct redis_cmd **c, int n, redisReply **replies, struct err *e)
{
    struct redis_cmd **again = arena_array(a, (size_t)n, sizeof(*again));
    redisReply **answers = arena_array(a, (size_t)n, sizeof(*answers));
    int count = 0;
    for (int i = 0; i < n; i++) {
        if (unknown_script(c[i], replies[i])) {
            const char *text = redis_script_text((enum redis_script)c[i]->script);
            c[i]->argv[0] = "EVAL";
            c[i]->lens[0] = 4;
            c[i]->argv[1] = text;
            c[i]->lens[1] = strlen(text);
            again[count++] = c[i];
        }
    }
    if (count == 0) {
        return 0;
    }
    if (exchange_on_fresh_link(a, again, count, answers, e) != 0) {
        return -1;
    }
    for (int i = 0, k = 0; i < n && k < count; i++) {
        if (again[k] == c[i]) {
            replies[i] = answers[k++];
        }
    }
    return 0;
}

int redis_run(struct arena *a, struct redis_cmd **c, int n, redisReply **replies_r, struct err *e)
{
    assert(!forbidden);
    if (n == 0) {
        return 0;
    }
    redisReply **replies = arena_array(a, (size_t)n, sizeof(*replies));
    if (exchange_on_fresh_link(a, c, n, replies, e) != 0 || send_scripts_whole(a, c, n, replies, e) != 0) {
        return -1;
    }
    int errors = 0;
    for (int i = 0; i < n; i++) {
        errors += replies[i]->type == REDIS_REPLY_ERROR;
        replies_r[i] = replies[i];
    }
    metric_add(METRIC_REDIS_COMMANDS, "ok", NULL, n - errors);
    if (errors > 0) {
        metric_add(METRIC_REDIS_COMMANDS, "error", NULL, errors);
    }
    return 0;
}

int redis_run1(struct arena *a, struct redis_cmd *c, redisReply **reply_r, struct err *e)
{
    redisReply *reply = NULL;
    if (redis_run(a, &c, 1, &reply, e) != 0) {
        return -1;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        return redis_bad_reply(reply, e);
    }
    *reply_r = reply;
    return 0;
}

int redis_ping(struct err *e)
{
    struct arena *a = arena_new("redis ping");
    redisReply *reply = NULL;
    int r = redis_run1(a, redis_cmd(a, "PING"), &reply, e);
    arena_free(&a);
    return r;
}
