/* The gateway's transport side in one process: link.c, conn.c, polling.c, websocket.c, http.c, gateway.c and accept.c are real, below them is fake_lws.c, beside
 * them fake_loop.c, above them the event side of this file. An input is a script, one action a line: a letter, a digit for the connection (c), a digit for the
 * client (k, in the order of their handshakes), the rest.
 *
 *   hc       handshake by polling            mcTEXT   WebSocket text message          ad       what becomes of connects: a accept, r refuse, p leave
 *   wc       handshake by WebSocket          bcBYTES  binary message                           pending, c close, d disconnect
 *   uck      upgrade                         fcTEXT   a fragment; m or b ends it      sND      the server does D to the N-th user: see act()
 *   gck      poll                            Mcd      a message of d * 10 kB          E        an event for everybody
 *   pckBODY  post                            xc       the connection is lost          z        all sessions are closed; Z: and no new ones
 *   PckBODY  post half of it, qc the rest    Xc       the peer closes WebSocket       tN       N * 50 ms pass
 *   Ncd      post d * 10 kB                  yc       is lost, not noticed yet        kcd      the kernel takes d * 16 bytes more, Kc everything
 *   QckM…    a request by method M and query, $ = the client's sid                    od       Origin of what follows
 * A line that begins with + leaves the turn open. */
#include "realtime/accept.c"

#include "core/metrics.h"
#include "core/rate.h"
#include "realtime/gateway.h"
#include "realtime/socketio.h"
#include "tests/fuzz/client.h"
#include "tests/fuzz/fake_loop.h"
#include "tests/fuzz/fuzz.h"

#define HTTP_CONNECTIONS FAKES_MAX
#define LINE_MAX_BYTES 4096
#define LARGE 10000
#define FORGOTTEN_MS 60000 /* longer than any deadline */

static const struct config config = {.ping_interval = 1000,
                                     .ping_timeout = 800,
                                     .max_payload = 100000,
                                     .connect_timeout = 3000,
                                     .send_queue = 65536,
                                     .send_stall = 5000,
                                     .connections_per_address = 5,
                                     .origins = "http://a.example"};
static char policy; /* what becomes of connects */
static const char *origin;
static long connects, closes, fan_outs, volatiles;

/* Always the same, so that a script does the same each time. */
static uint64_t random_state;
void __wrap_crypto_random(void *p, size_t len);
void __wrap_crypto_random(void *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        random_state = random_state * 6364136223846793005u + 1442695040888963407u;
        ((unsigned char *)p)[i] = (unsigned char)(random_state >> 56);
    }
}

/* ---- the event side ---- */

static struct frame *event_frame(enum rt_event ev, const struct user *u, long n, size_t padding, int64_t ack_id)
{
    struct buf payload = {0};
    buf_addf(&payload, "{\"n\":%ld,\"u\":%ld", n, u != NULL ? (long)(u - users) : -1L);
    if (padding > 0) {
        buf_addf(&payload, ",\"padding\":\"%0*d\"", (int)padding, 0);
    }
    buf_addc(&payload, '}');
    struct frame *f = frame_new(ev, payload.data, payload.len, ack_id);
    buf_free(&payload);
    return f;
}

static void emit(struct user *u, struct frame *f)
{
    conn_send(u->conn, f);
    frame_unref(f);
}

static bool live(const struct user *u)
{
    return u->conn != NULL && conn_get(u->ref) == u->conn;
}

/* A binary event with two attachments, which nothing may part. */
static void send_attachments(struct user *u)
{
    char text[128];
    int n = snprintf(text, sizeof(text), "452-[\"message.new\",{\"n\":%ld,\"u\":%ld,\"a\":{\"_placeholder\":true,\"num\":0}}]", u->sent + 1,
                     (long)(u - users));
    if (strcmp(conn_namespace(u->conn), "/") == 0) {
        struct frame *f = frame_text(text, (size_t)n);
        f->next = frame_binary("\0\x01\xff", 3);
        f->next->next = frame_binary("", 0);
        u->sent++;
        emit(u, f);
    }
}

static void refuse(struct user *u)
{
    struct err e;
    err_set(&e, ERR_INVALID_TOKEN, "no \"%s\"", u->id);
    conn_refuse(u->conn, &e);
}

/* What is sent to a connection that has ended may never arrive. */
static void act_on_ended(struct user *u)
{
    emit(u, event_frame(EV_SERVER_DRAINING, u, 0, 0, SIO_NO_ACK));
    conn_ack(u->conn, 1, "{}", 2);
    conn_accept(u->conn);
    conn_disconnect(u->conn, "late");
    conn_close(u->conn, "late");
}

static void act(struct user *u, char what)
{
    if (u->conn == NULL) {
        HOLDS(conn_get(u->ref) == NULL);
        return;
    }
    if (!live(u)) {
        act_on_ended(u);
        return;
    }
    if (what == 'a' && !u->accepted) {
        u->accepted = true;
        conn_accept(u->conn);
    } else if (what == 'r') {
        refuse(u);
    } else if (what == 'd') {
        conn_disconnect(u->conn, "by the script");
    } else if (what == 'c') {
        conn_close(u->conn, "by the script");
    } else if (!u->accepted) {
        emit(u, event_frame(EV_SERVER_DRAINING, u, 0, 0, SIO_NO_ACK));
    } else if (what == 'v') {
        emit(u, event_frame(EV_TYPING_UPDATED, u, ++volatiles, 0, SIO_NO_ACK));
    } else if (what == 'A') {
        send_attachments(u);
    } else {
        u->sent++;
        emit(u, event_frame(EV_MESSAGE_NEW, u, u->sent, what == 'B' ? 20000 : what == 'b' ? 300 : 0, what == 'k' ? u->sent : SIO_NO_ACK));
    }
}

void session_connect(struct conn *c, const json_t *auth)
{
    connects++;
    HOLDS(conn_user(c) == NULL && (auth == NULL || json_is_object(auth)));
    if (users_count == USERS_MAX) {
        conn_close(c, "enough");
        return;
    }
    struct user *u = &users[users_count++];
    *u = (struct user){.conn = c, .ref = conn_ref_of(c)};
    snprintf(u->id, sizeof(u->id), "%s", conn_id(c));
    conn_set_user(c, u);
    HOLDS(live(u));
    if (policy != 'p') {
        act(u, policy);
    }
}

void session_event(struct conn *c, const char *name, json_t *args, bool binary, int64_t ack_id)
{
    struct user *u = conn_user(c);
    (void)binary;
    HOLDS(u != NULL && u->accepted && live(u));
    if (ack_id >= 0) {
        char *text = json_dumps(args, JSON_COMPACT);
        u->acks_sent++;
        conn_ack(c, ack_id, text, strlen(text));
        free(text);
    }
    act(u, name[0]);
}

void session_acked(struct conn *c, int64_t ack_id, const json_t *args)
{
    struct user *u = conn_user(c);
    HOLDS(u != NULL && u->accepted && live(u) && ack_id >= 0 && json_is_array(args));
}

void session_proven(struct conn *c)
{
    struct user *u = conn_user(c);
    HOLDS(u != NULL && live(u) && conn_proven(c) > u->proven && conn_proven(c) <= conn_queued(c));
    u->proven = conn_proven(c);
}

void session_closed(struct conn *c, const char *reason)
{
    struct user *u = conn_user(c);
    closes++;
    HOLDS(reason != NULL);
    if (u != NULL) {
        HOLDS(u->conn == c && !live(u));
        act_on_ended(u);
        u->conn = NULL;
    }
}

static void fan_out(void)
{
    struct frame *f = event_frame(EV_GROUP_UPDATED, NULL, ++fan_outs, 0, SIO_NO_ACK);
    for (int i = 0; i < users_count; i++) {
        if (live(&users[i])) {
            conn_send(users[i].conn, f);
        }
    }
    frame_unref(f);
}

/* ---- turns ---- */

static void check_link(struct link *l)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < l->count; i++) {
        bytes += link_peek(l, i)->len + 64;
    }
    HOLDS(l->bytes == bytes && l->queued - l->sent == l->count);
    HOLDS(l->state != LINK_OPEN || l->count == 0 || bytes - link_peek(l, 0)->len - 64 <= (size_t)config.send_queue);
    HOLDS(l->proven <= l->sent && l->ping_number <= l->queued);
    HOLDS(l->held == NULL || l->eio.transport == EIO_POLLING);
    HOLDS(l->ws == NULL || l->eio.transport == EIO_WEBSOCKET);
    HOLDS((l->probe != NULL) == (l->eio.probe != EIO_NO_PROBE));
}

static void turn(void)
{
    fake_serve();
    link_turn_end();
    sock_turn_end((struct lws_context *)(void *)fakes);
    for (int i = 0; i < clients_count; i++) {
        struct link *l = link_find(clients[i].sid);
        if (l != NULL) {
            check_link(l);
        }
    }
}

/* ---- the script ---- */

/* The connection, made if there is none: two addresses share them. NULL: they have too many. */
static struct lws *connection(char digit)
{
    int i = (digit & 15) % FAKES_MAX;
    if (!fakes[i].used) {
        struct sockaddr_storage sa = {.ss_family = AF_INET};
        ((struct sockaddr_in *)&sa)->sin_addr.s_addr = htonl(0x0a000001u + (uint32_t)i % 2);
        fakes[i].lost = false;
        adopt(FAKE_FD + i, &sa);
    }
    return fakes[i].used ? &fakes[i] : NULL;
}

static bool takes_request(const struct lws *wsi)
{
    return wsi != NULL && !wsi->ws && !wsi->transaction && !wsi->kill;
}

static void request(struct lws *wsi, int method, const char *query, long length)
{
    struct fake_request r = {.method = method, .path = "/socket.io/", .query = query, .origin = origin, .length = length};
    struct eio_query q = {0};
    int client = NOBODY;
    for (const char *p = query; *p != '\0'; p += strcspn(p, "&"), p += *p == '&') {
        eio_query_add(&q, p, strcspn(p, "&"));
    }
    for (int i = 0; i < clients_count && q.has_sid; i++) {
        client = strcmp(clients[i].sid, q.sid) == 0 ? i : client;
    }
    client_asks(wsi, client);
    if (method == 'u') {
        r.method = LWSHUMETH_GET;
        r.upgrade = "websocket";
        fake_upgrade(wsi, &r);
    } else {
        fake_http(wsi, &r);
    }
}

static const char *sid_of(char digit)
{
    return clients[(digit & 15) % CLIENTS_MAX].sid;
}

static void plain_request(struct lws *wsi, int method, const char *transport, const char *sid, long length)
{
    static char query[128];
    snprintf(query, sizeof(query), "EIO=4&transport=%s%s%s", transport, sid != NULL ? "&sid=" : "", sid != NULL ? sid : "");
    if (takes_request(wsi) && (sid != NULL || clients_asked < CLIENTS_MAX)) {
        request(wsi, method, query, length);
    }
}

static void raw_request(struct lws *wsi, const char *sid, char method, const char *text)
{
    static char query[LINE_MAX_BYTES * 2];
    size_t n = 0;
    for (; *text != '\0' && n < sizeof(query) - EIO_SID_LEN - 1; text++) {
        if (*text == '$') {
            memcpy(query + n, sid, strlen(sid));
            n += strlen(sid);
        } else {
            query[n++] = *text;
        }
    }
    query[n] = '\0';
    int known = method == 'g' ? LWSHUMETH_GET : method == 'p' ? LWSHUMETH_POST : method == 'o' ? LWSHUMETH_OPTIONS : LWSHUMETH_DELETE;
    if (takes_request(wsi) && clients_asked < CLIENTS_MAX) {
        request(wsi, method == 'u' ? 'u' : known, query, method == 'p' ? 0 : -1);
    }
}

static char rest_of_post[FAKES_MAX][LINE_MAX_BYTES];

static void post(struct lws *wsi, const char *sid, const char *body, size_t len, bool half)
{
    size_t now = half ? len / 2 : len;
    plain_request(wsi, LWSHUMETH_POST, "polling", sid, (long)len);
    if (wsi != NULL && wsi->used && wsi->body_left == len && len > 0 && wsi->transaction) {
        memcpy(rest_of_post[wsi - fakes], body + now, half ? len - now : 0);
        fake_body(wsi, body, now);
    }
}

static void post_rest(struct lws *wsi)
{
    if (wsi->transaction && wsi->body_left > 0 && wsi->body_left < LINE_MAX_BYTES && !wsi->kill) {
        fake_body(wsi, rest_of_post[wsi - fakes], wsi->body_left);
    }
}

/* lws hangs up on text that is not UTF-8. */
static void message(struct lws *wsi, const char *p, size_t len, bool binary, bool final)
{
    bool is_binary = wsi->fragmented ? wsi->binary : binary;
    if (!wsi->ws || wsi->kill || wsi->lost) {
        return;
    }
    if (!is_binary && !eio_utf8_valid(p, len)) {
        fake_lose(wsi);
    } else {
        fake_frame(wsi, p, len, is_binary, final);
    }
}

static void large(struct lws *wsi, char digit, bool by_post)
{
    size_t len = (size_t)(digit & 15) * LARGE + 2;
    char *text = malloc(len);
    memset(text, 'x', len);
    memcpy(text, "42", 2);
    if (by_post) {
        post(wsi, sid_of('0'), text, len, false);
    } else {
        message(wsi, text, len, false, true);
    }
    free(text);
}

static void lose(struct lws *wsi)
{
    if (wsi->paused && wsi->opaque != NULL) {
        sock_kill(wsi->opaque); /* as polling.c's watcher does */
    } else {
        fake_lose(wsi);
    }
}

/* What happens on a connection. `line` is NUL-terminated and at least two long. */
static void on_connection(struct lws *wsi, const char *line, size_t len)
{
    const char *rest = line + 2;
    char digit = len > 2 ? line[2] : '0';
    size_t left = len - 2;
    switch (line[0]) {
    case 'h':
        plain_request(wsi, LWSHUMETH_GET, "polling", NULL, -1);
        break;
    case 'w':
        plain_request(wsi, 'u', "websocket", NULL, -1);
        break;
    case 'u':
        plain_request(wsi, 'u', "websocket", sid_of(digit), -1);
        break;
    case 'g':
        plain_request(wsi, LWSHUMETH_GET, "polling", sid_of(digit), -1);
        break;
    case 'p':
    case 'P':
        post(wsi, sid_of(digit), rest + (left > 0), left - (left > 0), line[0] == 'P');
        break;
    case 'Q':
        raw_request(wsi, sid_of(digit), left > 1 ? rest[1] : 'g', left > 2 ? rest + 2 : "");
        break;
    case 'q':
        post_rest(wsi);
        break;
    case 'm':
    case 'b':
    case 'f':
        message(wsi, rest, left, line[0] == 'b', line[0] != 'f');
        break;
    case 'M':
    case 'N':
        large(wsi, digit, line[0] == 'N');
        break;
    case 'x':
        lose(wsi);
        break;
    case 'X':
        if (wsi->ws) {
            fake_peer_closes(wsi);
        }
        break;
    case 'y':
        wsi->lost = true;
        break;
    case 'k':
        wsi->room = (size_t)(digit & 15) * 16;
        break;
    case 'K':
        wsi->room = SIZE_MAX;
        break;
    default:
        break;
    }
}

static void elsewhere(const char *line, size_t len)
{
    static const char *const origins[] = {NULL, "http://a.example", "http://b.example", "a\x01z"};
    char digit = len > 1 ? line[1] : '0';
    switch (line[0]) {
    case 'a':
        policy = digit;
        break;
    case 'o':
        origin = origins[digit & 3];
        break;
    case 's':
        if (users_count > 0) {
            act(&users[(digit & 63) % users_count], len > 2 ? line[2] : 'e');
        }
        break;
    case 'E':
        fan_out();
        break;
    case 't':
        fake_clock_advance(len > 1 ? strtol(line + 1, NULL, 10) % 1000 * 50 : 50, turn);
        break;
    case 'Z':
        node.draining = true;
        link_close_all("server shutting down");
        break;
    case 'z':
        link_close_all("server shutting down");
        break;
    default:
        break;
    }
}

static void run_line(const char *p, size_t len)
{
    static char line[LINE_MAX_BYTES];
    bool open_turn = len > 0 && p[0] == '+';
    p += open_turn;
    len -= open_turn;
    if (len == 0 || len >= sizeof(line)) {
        return;
    }
    memcpy(line, p, len);
    line[len] = '\0';
    if (strchr("hwugpPQqmbfMNxXykK", line[0]) != NULL) {
        struct lws *wsi = len > 1 ? connection(line[1]) : NULL;
        if (wsi != NULL) {
            on_connection(wsi, line, len);
        }
    } else {
        elsewhere(line, len);
    }
    if (!open_turn) {
        turn();
    }
}

/* Everybody leaves and every deadline passes: nothing may be left, whatever happened. */
static void finish(void)
{
    for (int i = 0; i < FAKES_MAX; i++) {
        if (fakes[i].used) {
            fake_lose(&fakes[i]);
        }
    }
    turn();
    fake_clock_advance(FORGOTTEN_MS, turn);
    HOLDS(connects == closes);
    HOLDS(link_open_count() == 0 && link_flushing_count() == 0);
    HOLDS(sock_count() == 0 && sock_ending_count() == 0);
    HOLDS(metric_get(METRIC_CONNECTIONS, "polling", NULL) == 0 && metric_get(METRIC_CONNECTIONS, "websocket", NULL) == 0);
    HOLDS(metric_get(METRIC_SENDQ_BYTES, NULL, NULL) == 0);
    HOLDS(metric_get(METRIC_SOCKETS, NULL, NULL) == 0 && metric_get(METRIC_ADDRESSES, NULL, NULL) == 0);
    HOLDS(fake_timers_idle());
    for (int i = 0; i < clients_count; i++) {
        HOLDS(link_find(clients[i].sid) == NULL);
    }
    for (int i = 0; i < ADDRESS_BUCKETS; i++) {
        HOLDS(a.by_key[i] == NULL);
    }
}

static void start_once(void)
{
    static uv_loop_t loop;
    struct err e;
    if (node.loop == NULL) {
        uv_loop_init(&loop);
        node.loop = &loop;
        node.config = &config;
        log_start("fuzz", "", LOG_ERROR);
        HOLDS(gateway_init(&e) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data, *end = p + size;
    start_once();
    clients_reset();
    fake_clock_reset();
    node.draining = false;
    random_state = 1;
    policy = 'a';
    origin = NULL;
    while (p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        size_t len = eol != NULL ? (size_t)(eol - p) : (size_t)(end - p);
        run_line(p, len);
        p += len + 1;
    }
    finish();
    return 0;
}
