#include "realtime/relay_conn.h"

#include "core/crypto.h"

#include <netdb.h>
#include <unistd.h>

#define KNOWN_MAX 512
#define SEEKING_MAX 64 /* unknown nodes that are looked for at once */
#define ASK_MS 250
#define RETRY_MS 500 /* after a node could not be reached */
#define BACKLOG 128

static struct {
    bool on;
    uv_tcp_t listener;
    char address[RELAY_ADDRESS_MAX + 1];
    struct known {
        struct relay_node node;
        int64_t failed_ms;
    } known[KNOWN_MAX];
    int known_count;
    uint64_t reading;
    bool greeted;
    void (*miss)(void);
    int64_t asked_ms;
    struct loop_timer ask;
} r;

bool relay_draining;

/* ---- who is there ---- */

uint64_t relay_reading(void)
{
    return ++r.reading;
}

void relay_on_miss(void (*fn)(void))
{
    r.miss = fn;
}

static bool same_prefix(const char *a, const char *b)
{
    return strncmp(a, b, EIO_NODE_LEN) == 0;
}

static struct known *known_by_prefix(const char *sid)
{
    for (int i = 0; i < r.known_count; i++) {
        if (same_prefix(r.known[i].node.id, sid)) {
            return &r.known[i];
        }
    }
    return NULL;
}

static int64_t failed_ms(const char *id)
{
    for (int i = 0; i < r.known_count; i++) {
        if (strcmp(r.known[i].node.id, id) == 0) {
            return r.known[i].failed_ms;
        }
    }
    return -RETRY_MS;
}

void relay_node_failed(const char *id)
{
    for (int i = 0; i < r.known_count; i++) {
        if (strcmp(r.known[i].node.id, id) == 0) {
            r.known[i].failed_ms = loop_now_ms();
        }
    }
}

static void ask(struct loop_timer *t)
{
    int64_t wait = r.asked_ms + ASK_MS - loop_now_ms();
    if (wait > 0) {
        loop_timer_start(t, wait, ask);
        return;
    }
    r.asked_ms = loop_now_ms();
    r.miss();
}

/* A new gateway makes itself known: the others have read the leases before there was its own, and its first clients may land there. */
static void greet(void)
{
    for (int i = 0; i < r.known_count; i++) {
        (void)relay_conn_for(r.known[i].node.id, false);
    }
    r.greeted = true;
}

void relay_node_seen(const char *id)
{
    const struct known *k = known_by_prefix(id);
    if (r.miss != NULL && (k == NULL || strcmp(k->node.id, id) != 0)) {
        ask(&r.ask);
    }
}

void relay_nodes(const struct relay_node *nodes, int n, uint64_t reading)
{
    static struct known fresh[KNOWN_MAX];
    n = n < KNOWN_MAX ? n : KNOWN_MAX;
    for (int i = 0; i < n; i++) {
        fresh[i] = (struct known){nodes[i], failed_ms(nodes[i].id)};
    }
    memcpy(r.known, fresh, (size_t)n * sizeof(fresh[0]));
    r.known_count = n;
    for (struct relay_conn *c = relay_conns; c != NULL; c = c->next) {
        if (c->state != RELAY_SEEKING || c->doomed != NULL) {
            continue;
        }
        const struct known *k = known_by_prefix(c->peer);
        if (k != NULL) {
            relay_conn_dial(c, &k->node);
        } else if (c->reading < reading) {
            relay_conn_doom(c, "unknown");
        }
    }
    if (!r.greeted) {
        greet();
    }
}

static struct relay_conn *seek(const char *sid)
{
    int seeking = 0;
    char prefix[EIO_NODE_LEN + 1];
    for (const struct relay_conn *c = relay_conns; c != NULL; c = c->next) {
        seeking += c->state == RELAY_SEEKING;
    }
    if (r.miss == NULL || seeking >= SEEKING_MAX) {
        return NULL;
    }
    snprintf(prefix, sizeof(prefix), "%s", sid);
    struct relay_conn *c = relay_conn_new(RELAY_FRONT, prefix);
    c->reading = r.reading;
    ask(&r.ask);
    return c;
}

struct relay_conn *relay_conn_for(const char *sid, bool may_seek)
{
    for (struct relay_conn *c = relay_conns; c != NULL; c = c->next) {
        bool usable = c->side == RELAY_FRONT && c->state != RELAY_DROPPED && c->doomed == NULL;
        if (usable && same_prefix(c->peer, sid)) {
            return may_seek || c->state != RELAY_SEEKING ? c : NULL;
        }
    }
    const struct known *k = known_by_prefix(sid);
    if (k == NULL) {
        return may_seek ? seek(sid) : NULL;
    }
    if (loop_now_ms() - k->failed_ms < RETRY_MS) {
        return NULL;
    }
    struct relay_conn *c = relay_conn_new(RELAY_FRONT, k->node.id);
    relay_conn_dial(c, &k->node);
    return c;
}

bool relay_takes(const struct request *q, bool may_seek)
{
    const char *sid = q->query.sid;
    if (!r.on || !q->query.has_sid || strlen(sid) != EIO_SID_LEN || same_prefix(sid, node.id)) {
        return false;
    }
    bool too_large = q->method == EIO_POST && q->length > node.config->max_payload;
    return !too_large && relay_conn_for(sid, may_seek) != NULL;
}

/* ---- life ---- */

static void on_connection(uv_stream_t *listener, int status)
{
    if (status == 0) {
        relay_conn_accept(listener);
    }
}

const char *relay_address(void)
{
    return r.address;
}

/* What the others are told: a name, or the address it listens on. */
static void make_address(const struct sockaddr_storage *sa)
{
    const char *address = node.config->relay_address, *told = node.config->relay_advertise;
    bool v6 = sa->ss_family == AF_INET6;
    int port = ntohs(v6 ? ((const struct sockaddr_in6 *)sa)->sin6_port : ((const struct sockaddr_in *)sa)->sin_port);
    char name[65] = "";
    if (told[0] == '\0') {
        bool any = strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
        gethostname(name, sizeof(name) - 1);
        told = any ? name : address;
    }
    bool bracket = strchr(told, ':') != NULL && told[0] != '[';
    snprintf(r.address, sizeof(r.address), "%s%.64s%s:%d", bracket ? "[" : "", told, bracket ? "]" : "", port);
}

static int listen_at(const struct addrinfo *ai)
{
    struct sockaddr_storage sa;
    int len = sizeof(sa), rc = uv_tcp_bind(&r.listener, ai->ai_addr, 0);
    rc = rc < 0 ? rc : uv_listen((uv_stream_t *)&r.listener, BACKLOG, on_connection);
    rc = rc < 0 ? rc : uv_tcp_getsockname(&r.listener, (struct sockaddr *)&sa, &len);
    if (rc == 0) {
        make_address(&sa);
    }
    return rc;
}

int relay_start(struct err *e)
{
    const struct config *c = node.config;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICHOST}, *ai;
    char port[8];
    snprintf(port, sizeof(port), "%d", c->relay_port);
    if (getaddrinfo(c->relay_address, port, &hints, &ai) != 0) {
        return err_set(e, ERR_VALIDATION_FAILED, "PARLEY_RELAY_ADDRESS: %.60s is not a numeric address.", c->relay_address);
    }
    if (strlen(c->relay_advertise) > 64) {
        freeaddrinfo(ai);
        return err_set(e, ERR_VALIDATION_FAILED, "PARLEY_RELAY_ADVERTISE is longer than 64 bytes.");
    }
    crypto_hkdf_sha256(c->master_key, strlen(c->master_key), "relay", relay_secret, sizeof(relay_secret));
    int rc = uv_tcp_init(node.loop, &r.listener);
    rc = rc < 0 ? rc : listen_at(ai);
    freeaddrinfo(ai);
    if (rc < 0) {
        return err_set(e, ERR_INTERNAL, "Cannot listen on %.60s:%s for the relay: %s.", c->relay_address, port, uv_strerror(rc));
    }
    r.asked_ms = -ASK_MS;
    r.on = true;
    return 0;
}

void relay_drain(void)
{
    relay_draining = true;
    for (struct relay_conn *c = relay_conns; c != NULL; c = c->next) {
        if (c->side == RELAY_FRONT) {
            relay_conn_each(c, relay_front_let_go);
        }
    }
}

int relay_busy(void)
{
    int n = 0;
    for (const struct relay_conn *c = relay_conns; c != NULL; c = c->next) {
        n += c->state != RELAY_DROPPED && relay_conn_backlog(c) > 0;
        n += c->side == RELAY_FRONT ? (int)c->streams.count : 0;
    }
    return n;
}

void relay_stop(void)
{
    if (!r.on) {
        return;
    }
    r.on = false;
    loop_timer_stop(&r.ask);
    for (struct relay_conn *c = relay_conns; c != NULL; c = c->next) {
        relay_conn_doom(c, "stop");
    }
    relay_turn_begin();
    uv_close((uv_handle_t *)&r.listener, NULL);
    crypto_wipe(relay_secret, sizeof(relay_secret));
}
