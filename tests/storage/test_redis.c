/* Presence, watches and the bus against a real Redis that belongs to the test (it is flushed): PARLEY_REDIS, PARLEY_REDIS_PASSWORD_FILE,
 * PARLEY_MASTER_KEY_FILE; PARLEY_TEST_REDIS_PID lets it be stopped. */
#include "core/clock.h"
#include "core/metrics.h"
#include "core/tenant-private.h"
#include "storage/bus-private.h"
#include "storage/leases.h"
#include "storage/presence.h"
#include "storage/redis-private.h"
#include "storage/redis.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

static struct config config;
static struct arena *arena;
static struct tenant *tenant;
static struct err error;
static int64_t shift_ms;

static int64_t shifted_wall(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + shift_ms;
}

static int64_t mono(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static const char *secret(const char *variable)
{
    static char lines[4][256];
    static int used;
    const char *path = getenv(variable);
    FILE *f = path != NULL ? fopen(path, "r") : NULL;
    if (f == NULL) {
        return "";
    }
    char *line = lines[used++];
    if (fgets(line, 256, f) == NULL) {
        line[0] = '\0';
    }
    line[strcspn(line, "\n")] = '\0';
    fclose(f);
    return line;
}

/* A command of the test's own, as somebody else's client would send it. */
static redisReply *raw(const char *fmt, ...)
{
    va_list ap;
    redisContext *c = redis_open(&error);
    assert_non_null(c);
    va_start(ap, fmt);
    redisReply *r = redisvCommand(c, fmt, ap);
    va_end(ap);
    redisFree(c);
    assert_non_null(r);
    return r;
}
#define RAW(...) freeReplyObject(raw(__VA_ARGS__))

static int64_t raw_number(const char *command, struct rkey key)
{
    redisReply *r = raw("%s %s", command, key.s);
    int64_t n = r->integer;
    freeReplyObject(r);
    return n;
}

static int set_up(void **state)
{
    (void)state;
    config.redis = getenv("PARLEY_REDIS");
    if (config.redis == NULL) {
        fprintf(stderr, "PARLEY_REDIS is not set\n");
        return -1;
    }
    config.redis_password = secret("PARLEY_REDIS_PASSWORD_FILE");
    config.master_key = secret("PARLEY_MASTER_KEY_FILE");
    redis_start(&config);
    bus_start(&config);
    clock_replace(shifted_wall, mono);
    struct app_id app = app_id_new();
    tenant = tenant_new(&app);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    redis_thread_end();
    tenant_unref(tenant);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    shift_ms = 0;
    redis_start(&config);
    arena = arena_new("test");
    for (int64_t deadline = mono() + 1000; redis_ping(&error) != 0 && mono() < deadline;) {
        poll(NULL, 0, 20); /* a thread whose link failed waits a little */
    }
    RAW("FLUSHALL");
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static struct user_id user(const char *s)
{
    struct user_id u;
    assert_int_equal(user_id_parse(s, &u), 0);
    return u;
}

/* ---- presence ---- */

static struct presence now;
static bool changed;

static void claim(const char *node, const char *who, const char *devices, const char *status, const char *text)
{
    struct presence_claim c = {.user = user(who), .name = "Ann", .status = status, .text = text, .devices = devices};
    assert_int_equal(presence_claim(tenant, arena, node, &c, 1, &now, &changed, &error), 0);
}

static struct presence get(const char *who)
{
    struct user_id u = user(who);
    struct presence p;
    assert_int_equal(presence_get(tenant, arena, &u, 1, &p, &error), 0);
    return p;
}

static void presence_of_two_nodes(void **state)
{
    (void)state;
    assert_string_equal(get("ann").status, "offline");
    assert_int_equal(get("ann").last_seen_ms, 0);
    claim("n1", "ann", "phone,desk", "away", "lunch");
    assert_true(changed);
    assert_string_equal(now.status, "away");
    claim("n2", "ann", "tab", NULL, NULL);
    assert_false(changed);
    assert_string_equal(get("ann").status, "away");
    assert_string_equal(get("ann").text, "lunch");
    claim("n1", "ann", "", NULL, NULL);
    assert_false(changed);
    assert_int_equal(get("ann").last_seen_ms, 0);
    int64_t before = shifted_wall();
    claim("n2", "ann", "", NULL, NULL);
    assert_true(changed);
    assert_string_equal(now.status, "offline");
    assert_string_equal(now.text, "");
    assert_true(get("ann").last_seen_ms >= before);
    assert_int_equal(get("ann").last_seen_ms, now.last_seen_ms);
}

static void invisible_is_offline(void **state)
{
    (void)state;
    claim("n1", "ann", "d", "online", NULL);
    claim("n1", "ann", "d", "invisible", NULL);
    assert_true(changed);
    assert_string_equal(now.status, "offline");
    int64_t seen = now.last_seen_ms;
    assert_true(seen > 0);
    shift_ms = 5000;
    claim("n1", "ann", "d", NULL, "secret");
    assert_false(changed);
    claim("n1", "ann", "", NULL, NULL);
    assert_false(changed);
    assert_int_equal(get("ann").last_seen_ms, seen);
    assert_string_equal(get("ann").text, "");
}

static void a_lease_runs_out(void **state)
{
    (void)state;
    claim("dead", "ann", "d", "busy", "x");
    int64_t renewed = shifted_wall();
    shift_ms = PRESENCE_LEASE_MS + 1000;
    assert_string_equal(get("ann").status, "offline");
    assert_in_range(get("ann").last_seen_ms, renewed - 1000, renewed + 1000);
    char(*nodes)[NODE_ID_MAX + 1];
    int count;
    struct user_id ann = user("ann");
    assert_int_equal(presence_nodes(tenant, arena, &ann, 1, &nodes, &count, &error), 0);
    assert_int_equal(count, 0);
    claim("n2", "ann", "d", NULL, NULL);
    assert_true(changed);
    assert_string_equal(now.status, "busy");
    assert_in_range(now.last_seen_ms, renewed - 1000, renewed + 1000);
    assert_int_equal(raw_number("HEXISTS", (struct rkey){"x n:dead"}), 0);
}

static void many_users_at_once(void **state)
{
    (void)state;
    struct presence_claim c[200];
    struct user_id users[200];
    struct presence p[200];
    char(*nodes)[NODE_ID_MAX + 1];
    int count;
    for (int i = 0; i < 200; i++) {
        users[i] = user(arena_printf(arena, "u%d", i));
        c[i] = (struct presence_claim){.user = users[i], .status = i % 2 ? "online" : "away", .devices = "d"};
    }
    assert_int_equal(presence_claim(tenant, arena, "n1", c, 100, NULL, NULL, &error), 0);
    assert_int_equal(presence_claim(tenant, arena, "n2", c + 50, 100, NULL, NULL, &error), 0);
    assert_int_equal(presence_get(tenant, arena, users, 200, p, &error), 0);
    for (int i = 0; i < 200; i++) {
        assert_string_equal(p[i].status, i >= 150 ? "offline" : i % 2 ? "online" : "away");
    }
    assert_int_equal(presence_nodes(tenant, arena, users, 200, &nodes, &count, &error), 0);
    assert_int_equal(count, 2);
    assert_int_equal(presence_get(tenant, arena, users, 0, p, &error), 0);
}

static void presence_of_junk(void **state)
{
    (void)state;
    struct user_id ann = user("ann");
    struct presence p;
    RAW("SET %s junk", key_user(tenant_app(tenant), &ann).s);
    assert_int_equal(presence_get(tenant, arena, &ann, 1, &p, &error), -1);
    assert_int_equal(error.code, ERR_STORAGE_UNAVAILABLE);
    RAW("DEL %s", key_user(tenant_app(tenant), &ann).s);
    RAW("HSET %s n:x junk n:y 99999999999999999999 n:zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz 9999999999999 status strange last_seen x text %b",
        key_user(tenant_app(tenant), &ann).s, "\xff\xfe", (size_t)2);
    assert_string_equal(get("ann").status, "offline");
    RAW("HSET %s n:ok 9999999999999|d", key_user(tenant_app(tenant), &ann).s);
    p = get("ann");
    assert_string_equal(p.status, "online");
    assert_string_equal(json_write(arena, presence_json(arena, &p), NULL), "{\"status\":\"online\",\"last_seen_at\":null}");
    char text[300];
    memset(text, 'x', 127);
    snprintf(text + 127, sizeof(text) - 127, "\xc3\xa9");
    claim("n1", "ann", "d", "away", text);
    assert_int_equal(strlen(now.text), 127);
}

static void watches(void **state)
{
    (void)state;
    struct user_id users[] = {user("ann"), user("bob")};
    char(*nodes)[NODE_ID_MAX + 1];
    int count;
    assert_int_equal(presence_watch(tenant, arena, "n1", users, 2, 60, &error), 0);
    assert_int_equal(presence_watch(tenant, arena, "n2", users, 1, 600, &error), 0);
    assert_int_equal(presence_watchers(tenant, arena, &users[0], &nodes, &count, &error), 0);
    assert_int_equal(count, 2);
    shift_ms = 61000;
    assert_int_equal(presence_watchers(tenant, arena, &users[0], &nodes, &count, &error), 0);
    assert_int_equal(count, 1);
    assert_string_equal(nodes[0], "n2");
    assert_int_equal(presence_watch(tenant, arena, "n2", users, 1, 0, &error), 0);
    assert_int_equal(presence_watchers(tenant, arena, &users[0], &nodes, &count, &error), 0);
    assert_int_equal(count, 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(presence_watch(tenant, arena, arena_printf(arena, "w%d", i), users, 1, 60, &error), 0);
        shift_ms += 2000;
    }
    assert_true(raw_number("HLEN", key_watchers(tenant_app(tenant), &users[0])) <= 65);
}

/* ---- the bus of a loop ---- */

struct node {
    struct bus *bus;
    const char *name;
    bool up, closed;
    int ups, downs, items, doubts, incarnation, gap, reconnect, heartbeat, attached, failed;
    int64_t seqs[64];
    char event[64], payload[64];
    bool rejoin;
};
static uv_loop_t loop;
static uv_timer_t beat;
static struct node one, two;

static void on_item(const struct bus_item *item, void *ctx)
{
    struct node *n = ctx;
    if (n->items < 64) {
        n->seqs[n->items] = item->entry.seq;
    }
    n->items++;
    if (item->event != NULL) {
        snprintf(n->event, sizeof(n->event), "%s", item->event);
        snprintf(n->payload, sizeof(n->payload), "%s", item->payload);
    }
    n->rejoin = item->rejoin;
}

static void on_doubt(const char *why, void *ctx)
{
    struct node *n = ctx;
    n->doubts++;
    n->incarnation += strcmp(why, "incarnation") == 0;
    n->gap += strcmp(why, "gap") == 0;
    n->reconnect += strcmp(why, "reconnect") == 0;
    n->heartbeat += strcmp(why, "heartbeat") == 0;
}

static void on_state(bool up, void *ctx)
{
    struct node *n = ctx;
    n->up = up;
    n->ups += up;
    n->downs += !up;
}

static void on_attached(bool ok, void *ctx)
{
    struct node *n = ctx;
    n->attached += ok;
    n->failed += !ok;
}

static void on_closed(void *ctx)
{
    ((struct node *)ctx)->closed = true;
}

static void on_beat(uv_timer_t *t)
{
    (void)t;
}

/* Turns the loop until the condition holds, at most that long. */
#define UNTIL(ms, condition) \
    do { \
        int64_t deadline_ = mono() + (ms); \
        while (!(condition) && mono() < deadline_) { \
            uv_run(&loop, UV_RUN_ONCE); \
        } \
        assert_true(condition); \
    } while (0)
#define TURN(ms) \
    for (int64_t deadline_ = mono() + (ms); mono() < deadline_;) { \
        uv_run(&loop, UV_RUN_ONCE); \
    }

static void open_node(struct node *n, const char *name, const struct config *c)
{
    *n = (struct node){.name = name};
    struct bus_callbacks cb = {.on_item = on_item, .on_doubt = on_doubt, .on_state = on_state, .ctx = n};
    n->bus = bus_new(&loop, c, name, &cb);
}

static void close_node(struct node *n)
{
    bus_close(n->bus, on_closed, n);
    assert_false(n->closed);
    UNTIL(2000, n->closed);
}

static void start_loop(void)
{
    uv_loop_init(&loop);
    uv_timer_init(&loop, &beat);
    uv_timer_start(&beat, on_beat, 5, 5);
}

static void stop_loop(void)
{
    uv_close((uv_handle_t *)&beat, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static int begin_bus(void **state)
{
    begin(state);
    start_loop();
    open_node(&one, "abc-one", &config);
    open_node(&two, "abc-two", &config);
    assert_false(bus_up(one.bus));
    UNTIL(3000, one.up && two.up && one.reconnect == 1 && two.reconnect == 1);
    return 0;
}

static int end_bus(void **state)
{
    close_node(&one);
    close_node(&two);
    stop_loop();
    return end(state);
}

static struct bus_item entry(const struct conv_id *conv, int64_t seq)
{
    struct bus_item item = {.kind = BUS_ENTRY, .app = *tenant_app(tenant), .conv = *conv};
    item.entry = (struct entry){.conv = *conv, .seq = seq, .kind = ENTRY_MESSAGE, .mid = msg_id_new(), .body = "{}", .body_len = 2};
    return item;
}

static void attach(struct node *n, const struct conv_id *conv)
{
    int before = n->attached;
    bus_attach(n->bus, tenant_app(tenant), conv, 1, on_attached, n);
    assert_int_equal(n->attached, before);
    UNTIL(1000, n->attached == before + 1);
}

static void others_hear(void **state)
{
    (void)state;
    struct conv_id conv = conv_id_new_group(), private = conv_id_new_group();
    attach(&one, &conv);
    attach(&one, &private);
    attach(&two, &conv);
    struct bus_item items[] = {entry(&conv, 1), entry(&private, 1), entry(&conv, 2)};
    bus_fan_out(one.bus, items, 3);
    UNTIL(1000, two.items == 2);
    assert_int_equal(two.seqs[0], 1);
    assert_int_equal(two.seqs[1], 2);
    bus_fan_out(two.bus, items, 1);
    UNTIL(1000, one.items == 1);
    bus_publish_items("", items, 3);
    UNTIL(1000, one.items == 4 && two.items == 4);
    bus_publish_items(one.name, items, 1);
    UNTIL(1000, two.items == 5);
    TURN(1500);
    assert_int_equal(one.items, 4);
    assert_int_equal(one.doubts + two.doubts, 2);
    assert_int_equal(bus_failures(), 0);
}

static void nobody_else_nothing_sent(void **state)
{
    (void)state;
    struct conv_id conv = conv_id_new_group();
    attach(&one, &conv);
    int64_t before = metric_get(METRIC_BUS_MESSAGES, "out", NULL);
    struct bus_item item = entry(&conv, 1);
    bus_fan_out(one.bus, &item, 1);
    bus_publish_items(one.name, &item, 1);
    attach(&two, &conv);
    bus_detach(two.bus, tenant_app(tenant), &conv, 1);
    bus_detach(two.bus, tenant_app(tenant), &conv, 1);
    TURN(100);
    bus_fan_out(one.bus, &item, 1);
    TURN(100);
    assert_int_equal(metric_get(METRIC_BUS_MESSAGES, "out", NULL), before);
    assert_int_equal(one.items + two.items, 0);
    assert_int_equal(raw_number("SCARD", key_nodes(tenant_app(tenant), &conv)), 1);
    assert_int_equal(raw_number("SCARD", key_index("abc-two")), 0);
}

static void to_nodes(void **state)
{
    (void)state;
    char nodes[2][NODE_ID_MAX + 1] = {"abc-one", "abc-two"};
    struct bus_item item = {.kind = BUS_USER,
                            .app = *tenant_app(tenant),
                            .user = user("ann"),
                            .event = "conversation.added",
                            .payload = "{\"a\":1}",
                            .payload_len = 7,
                            .rejoin = true};
    bus_send(one.bus, nodes, 2, &item);
    UNTIL(1000, two.items == 1);
    assert_true(two.rejoin);
    assert_string_equal(two.event, "conversation.added");
    assert_string_equal(two.payload, "{\"a\":1}");
    bus_publish_to_nodes("abc-two", nodes, 2, &item, 1);
    UNTIL(1000, one.items == 1);
    struct bus_item revoked = {.kind = BUS_INVALIDATE, .app = *tenant_app(tenant), .user = user("ann"), .event = "tokens"};
    bus_invalidate(&revoked);
    UNTIL(1000, one.items == 2 && two.items == 2);
    assert_string_equal(one.event, "tokens");
    bus_send(one.bus, nodes, 1, &item);
    bus_publish_to_nodes("x", nodes, 0, &item, 1);
    TURN(100);
    assert_int_equal(one.items, 2);
}

static void numbers(void **state)
{
    (void)state;
    struct conv_id conv = conv_id_new_group();
    struct buf b = {0};
    struct bus_item item = entry(&conv, 1);
    attach(&two, &conv);
    bus_fan_out(one.bus, &item, 1);
    UNTIL(1000, two.items == 1);
    TURN(1200); /* the word about the last number is in order */
    assert_int_equal(two.gap, 0);
    RAW("HINCRBY %s abc-two 1", key_sent("abc-one").s); /* a frame that got lost */
    UNTIL(2000, two.gap == 1);
    RAW("HINCRBY %s abc-two 1", key_sent("abc-one").s);
    bus_fan_out(one.bus, &item, 1);
    UNTIL(1000, two.items == 2 && two.gap == 2);
    int64_t refused = metric_get(METRIC_BUS_REFUSED, "item", NULL);
    bus_item_encode(&b, &item);
    b.data[b.len - 3] ^= 1;
    RAW("PUBLISH p1:bus:abc-two evil%b", " 1\n", (size_t)3);
    redisContext *c = redis_open(&error);
    struct buf frame = {0};
    buf_adds(&frame, "evil 2\n");
    buf_add(&frame, b.data, b.len);
    freeReplyObject(redisCommand(c, "PUBLISH p1:bus:abc-two %b", frame.data, frame.len));
    freeReplyObject(redisCommand(c, "PUBLISH p1:bus:abc-two %s", "no header"));
    freeReplyObject(redisCommand(c, "PUBLISH p1:bus:abc-two %s", ""));
    freeReplyObject(redisCommand(c, "PUBLISH p1:bus:all %b", frame.data, frame.len));
    for (int i = 0; i < 600; i++) {
        freeReplyObject(redisCommand(c, "PUBLISH p1:bus:abc-two %s", arena_printf(arena, "p%d 1\n", i)));
    }
    redisFree(c);
    UNTIL(1000, metric_get(METRIC_BUS_REFUSED, "item", NULL) == refused + 3);
    TURN(50);
    assert_int_equal(two.items, 2);
    assert_int_equal(metric_get(METRIC_BUS_REFUSED, "header", NULL), 2);
    buf_free(&b);
    buf_free(&frame);
}

static void wiped(void **state)
{
    (void)state;
    struct conv_id conv = conv_id_new_group();
    struct bus_item item = entry(&conv, 1);
    attach(&one, &conv);
    attach(&two, &conv);
    TURN(1100);
    uint64_t failures = bus_failures();
    RAW("FLUSHALL");
    bus_fan_out(one.bus, &item, 1); /* names the old incarnation */
    UNTIL(500, one.incarnation == 1);
    assert_int_equal(bus_failures(), failures + 1);
    UNTIL(2500, two.incarnation == 1);
    attach(&one, &conv);
    attach(&two, &conv);
    bus_fan_out(one.bus, &item, 1);
    UNTIL(1000, two.items == 1);
    TURN(2500);
    assert_int_equal(one.incarnation, 1);
    assert_int_equal(two.incarnation, 1);
    RAW("SET %s 0", key_attached("abc-two").s); /* an old snapshot */
    UNTIL(2500, two.incarnation == 2);
    TURN(1500);
    assert_int_equal(two.incarnation, 2);
    assert_int_equal(one.incarnation, 1);
}

static void old_snapshot_seen_by_attach(void **state)
{
    (void)state;
    struct conv_id conv = conv_id_new_group();
    attach(&one, &conv);
    attach(&one, &conv);
    TURN(1100);
    RAW("SET %s 1", key_attached("abc-one").s);
    attach(&one, &conv);
    UNTIL(100, one.incarnation == 1);
}

static void links_cut(void **state)
{
    (void)state;
    struct conv_id conv = conv_id_new_group();
    struct bus_item item = entry(&conv, 1);
    for (int round = 0; round < 3; round++) {
        const char *type = round == 0 ? "pubsub" : "normal";
        int ups = one.ups;
        RAW("CLIENT KILL TYPE %s", type);
        UNTIL(3000, one.ups > ups && two.ups > ups && one.reconnect == one.ups && two.reconnect == two.ups);
        assert_int_equal(one.downs, one.ups - 1);
        attach(&two, &conv);
        int items = two.items;
        bus_fan_out(one.bus, &item, 1);
        UNTIL(1000, two.items == items + 1);
    }
    RAW("SCRIPT FLUSH");
    int ups = one.ups;
    bus_publish_items("", &item, 1); /* the blocking face sends the script whole */
    UNTIL(1000, two.items == 4);
    UNTIL(3000, one.ups > ups && two.ups > ups);
}

static void down(void **state)
{
    (void)state;
    begin(state);
    start_loop();
    const char *addresses[] = {"/nonexistent/redis.sock", "127.0.0.1:1", "[::1]:1", "no-such-host.invalid:6379"};
    struct conv_id conv = conv_id_new_group();
    struct bus_item item = entry(&conv, 1);
    for (size_t i = 0; i < 4; i++) {
        struct config c = config;
        c.redis = addresses[i];
        open_node(&one, "abc-one", &c);
        uint64_t failures = bus_failures();
        bus_attach(one.bus, tenant_app(tenant), &conv, 1, on_attached, &one);
        bus_detach(one.bus, tenant_app(tenant), &conv, 1);
        bus_fan_out(one.bus, &item, 1);
        assert_int_equal(bus_failures(), failures + 1);
        assert_int_equal(one.failed, 0);
        UNTIL(500, one.failed == 1);
        TURN(300);
        bus_attach(one.bus, tenant_app(tenant), &conv, 1, on_attached, &one);
        close_node(&one);
        assert_int_equal(one.failed, 2);
        assert_int_equal(one.ups + one.downs + one.doubts, 0);
        redis_thread_end();
        redis_start(&c);
        poll(NULL, 0, 250);
        int64_t start = mono();
        for (int k = 0; k < 50; k++) {
            assert_int_equal(redis_ping(&error), -1);
        }
        assert_true(i == 3 || mono() - start < 500);
    }
    stop_loop();
    end(state);
}

static void closed_at_any_moment(void **state)
{
    (void)state;
    begin(state);
    start_loop();
    for (int turns = 0; turns < 30; turns++) {
        open_node(&one, "abc-one", &config);
        for (int i = 0; i < turns; i++) {
            uv_run(&loop, UV_RUN_NOWAIT);
        }
        close_node(&one);
    }
    stop_loop();
    end(state);
}

static void many_attached(void **state)
{
    (void)state;
    int n = 2500;
    struct app_id *apps = arena_array(arena, (size_t)n, sizeof(*apps));
    struct conv_id *convs = arena_array(arena, (size_t)n, sizeof(*convs));
    for (int i = 0; i < n; i++) {
        apps[i] = *tenant_app(tenant);
        convs[i] = conv_id_new_group();
    }
    bus_attach(one.bus, apps, convs, n, on_attached, &one);
    bus_attach(one.bus, apps, convs, 0, on_attached, &one);
    UNTIL(3000, one.attached == 2);
    assert_int_equal(raw_number("SCARD", key_index("abc-one")), n);
    assert_int_equal(raw_number("SCARD", key_nodes(&apps[n - 1], &convs[n - 1])), 1);
    RAW("SADD %s junk p1:bus:all", key_index("abc-one").s);
    lease_forget_in_redis("abc-one");
    assert_int_equal(raw_number("EXISTS", key_index("abc-one")), 0);
    assert_int_equal(raw_number("EXISTS", key_attached("abc-one")), 0);
    assert_int_equal(raw_number("EXISTS", key_nodes(&apps[0], &convs[0])), 0);
    UNTIL(2500, one.incarnation == 1); /* it was not dead: it learns that it was forgotten */
}

static void stopped(void **state)
{
    (void)state;
    const char *pid = getenv("PARLEY_TEST_REDIS_PID");
    struct conv_id conv = conv_id_new_group();
    struct bus_item item = entry(&conv, 1);
    assert_non_null(pid); /* dev/with-stores sets it */
    attach(&two, &conv);
    assert_int_equal(redis_ping(&error), 0);
    uint64_t failures = bus_failures();
    assert_int_equal(kill(atoi(pid), SIGSTOP), 0);
    bus_fan_out(one.bus, &item, 1);
    int64_t start = mono();
    assert_int_equal(redis_ping(&error), -1);
    assert_in_range(mono() - start, 0, 1300);
    UNTIL(4000, !one.up && !two.up && one.heartbeat == 1 && bus_failures() == failures + 1);
    TURN(1500);
    assert_int_equal(kill(atoi(pid), SIGCONT), 0);
    UNTIL(5000, one.up && two.up);
    poll(NULL, 0, 250);
    assert_int_equal(redis_ping(&error), 0);
}

/* ---- the subscriber thread ---- */

static atomic_int heard_all, heard_tokens;

static void on_invalid(const struct bus_item *item, void *ctx)
{
    (void)ctx;
    assert_int_equal(item->kind, BUS_INVALIDATE);
    if (strcmp(item->event, "all") == 0) {
        heard_all++;
    } else if (strcmp(item->event, "tokens") == 0 && strcmp(item->user.s, "ann") == 0) {
        heard_tokens++;
    }
}

#define WAIT(ms, condition) \
    do { \
        for (int64_t deadline_ = mono() + (ms); !(condition) && mono() < deadline_;) { \
            poll(NULL, 0, 10); \
        } \
        assert_true(condition); \
    } while (0)

static void listener(void **state)
{
    (void)state;
    struct bus_item revoked = {.kind = BUS_INVALIDATE, .app = *tenant_app(tenant), .user = user("ann"), .event = "tokens"};
    assert_int_equal(bus_listen_start(on_invalid, NULL, &error), 0);
    WAIT(2000, heard_all == 1);
    bus_invalidate(&revoked);
    WAIT(1000, heard_tokens == 1);
    RAW("PUBLISH p1:bus:all junk");
    RAW("CLIENT KILL TYPE pubsub");
    WAIT(3000, heard_all == 2);
    bus_invalidate(&revoked);
    WAIT(1000, heard_tokens == 2);
    WAIT(1500, mono() > 0);
    int64_t start = mono();
    bus_listen_stop();
    assert_true(mono() - start < 1000);
    bus_listen_stop();
}

/* ---- servers that are not Redis ---- */

static struct {
    int fd;
    const char *bytes;
    size_t len;
    atomic_bool stop;
} odd;

static void *odd_server(void *unused)
{
    (void)unused;
    while (!atomic_load(&odd.stop)) {
        struct pollfd p = {.fd = odd.fd, .events = POLLIN};
        if (poll(&p, 1, 20) == 1) {
            int fd = accept(odd.fd, NULL, NULL);
            char junk[4096];
            ssize_t n = 0;
            for (int i = 0; i < 8 && (p.fd = fd, poll(&p, 1, 30)) == 1 && (n = read(fd, junk, sizeof(junk))) > 0; i++) {
                n = write(fd, odd.bytes, odd.len);
            }
            close(fd);
        }
    }
    return NULL;
}

static const char *const odd_replies[] = {
    "",
    "$-1\r\n",
    "*-1\r\n",
    "-ERR no\r\n",
    "-NOSCRIPT no\r\n",
    "+OK\r\n",
    ":1\r\n",
    "*0\r\n",
    "*1\r\n$7\r\nmessage\r\n",
    "$3\r\nabc",
    "$99999999999\r\n",
    "*2147483647\r\n",
    "*4294967297\r\n",
    "*99999999999999999999\r\n",
    "$-5\r\n",
    "*-5\r\n",
    ":abc\r\n",
    ">3\r\n$7\r\nmessage\r\n",
    "_\r\n",
    "HTTP/1.1 200 OK\r\n\r\n",
    "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
    "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$-1\r\n",
    "*3\r\n$7\r\nmessage\r\n*0\r\n:1\r\n",
    "*3\r\n:1\r\n:1\r\n:1\r\n",
    "*4\r\n$1\r\n1\r\n$-1\r\n:-1\r\n*0\r\n",
    "*2\r\n$3\r\na\0b\r\n:1\r\n",
    "*2\r\n$60\r\n"
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n:5\r\n",
    "+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
};

static void not_redis(void **state)
{
    (void)state;
    arena = arena_new("test");
    start_loop();
    char path[64];
    snprintf(path, sizeof(path), "/tmp/parley-odd-%d.sock", (int)getpid());
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, path, strlen(path) + 1);
    odd.fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(odd.fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(listen(odd.fd, 16), 0);
    struct config c = config;
    c.redis = path;
    struct conv_id conv = conv_id_new_group();
    struct bus_item item = entry(&conv, 1);
    struct user_id ann = user("ann");
    struct presence p;
    struct presence_claim mine = {.user = ann, .devices = "d"};
    char(*nodes)[NODE_ID_MAX + 1];
    int count;
    for (size_t i = 0; i < 2 * sizeof(odd_replies) / sizeof(odd_replies[0]); i++) {
        pthread_t thread;
        odd.bytes = odd_replies[i / 2];
        odd.len = strlen(odd.bytes) + (odd.bytes[0] == '*' && strstr(odd.bytes, "$3\r\na") != NULL ? 8 : 0);
        atomic_store(&odd.stop, false);
        assert_int_equal(pthread_create(&thread, NULL, odd_server, NULL), 0);
        c.redis_password = i % 2 ? "secret" : "";
        redis_start(&c);
        open_node(&one, "abc-one", &c);
        for (int k = 0; k < 4; k++) {
            TURN(15);
            bus_attach(one.bus, tenant_app(tenant), &conv, 1, on_attached, &one);
            bus_fan_out(one.bus, &item, 1);
        }
        close_node(&one);
        redis_start(&c); /* tries again at once */
        (void)!presence_claim(tenant, arena, "n", &mine, 1, &p, NULL, &error);
        redis_start(&c);
        (void)!presence_nodes(tenant, arena, &ann, 1, &nodes, &count, &error);
        (void)!presence_watchers(tenant, arena, &ann, &nodes, &count, &error);
        bus_publish_items("", &item, 1);
        lease_forget_in_redis("n");
        redis_thread_end();
        atomic_store(&odd.stop, true);
        pthread_join(thread, NULL);
        assert_int_equal(one.ups, 0);
    }
    close(odd.fd);
    unlink(path);
    stop_loop();
    redis_start(&config);
    arena_free(&arena);
}

int main(int argc, char **argv)
{
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
#define BUS(f) cmocka_unit_test_setup_teardown(f, begin_bus, end_bus)
#define ONE(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        ONE(presence_of_two_nodes),
        ONE(invisible_is_offline),
        ONE(a_lease_runs_out),
        ONE(many_users_at_once),
        ONE(presence_of_junk),
        ONE(watches),
        BUS(others_hear),
        BUS(nobody_else_nothing_sent),
        BUS(to_nodes),
        BUS(numbers),
        BUS(wiped),
        BUS(old_snapshot_seen_by_attach),
        BUS(links_cut),
        cmocka_unit_test(down),
        cmocka_unit_test(closed_at_any_moment),
        BUS(many_attached),
        BUS(stopped),
        ONE(listener),
        cmocka_unit_test(not_redis),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
