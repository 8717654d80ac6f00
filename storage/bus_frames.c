/* bus_frames.c: what goes over the links of a bus: frames that come in and their numbers, and the scripts that attach, detach and send. */
#include "core/clock.h"
#include "core/crypto.h"
#include "core/log.h"
#include "core/metrics.h"
#include "storage/bus_loop.h"

#include <assert.h>

#define ATTACH_MAX 1000 /* conversations of one script call */

/* ---- nodes ---- */

static struct bus_node *find_node(struct bus_nodes *nodes, const char *name)
{
    for (int i = 0; i < nodes->count; i++) {
        if (strcmp(nodes->node[i].name, name) == 0) {
            return &nodes->node[i];
        }
    }
    return NULL;
}

/* The place of a new node: the next free one, else that of the node longest unheard of. */
static struct bus_node *add_node(struct bus_nodes *nodes, const char *name)
{
    struct bus_node *n = &nodes->node[0];
    if (nodes->count < BUS_NODES_MAX) {
        n = &nodes->node[nodes->count++];
    } else {
        for (int i = 1; i < BUS_NODES_MAX; i++) {
            n = nodes->node[i].at_ms < n->at_ms ? &nodes->node[i] : n;
        }
    }
    *n = (struct bus_node){0};
    snprintf(n->name, sizeof(n->name), "%s", name);
    return n;
}

static void note_receiver(struct bus *b, const char *name)
{
    if (strlen(name) > NODE_ID_MAX || name[0] == '\0') {
        return;
    }
    struct bus_node *n = find_node(&b->receivers, name);
    n = n != NULL ? n : add_node(&b->receivers, name);
    n->at_ms = clock_mono_ms();
}

/* ---- coming in ---- */

static void check_number(struct bus *b, const struct bus_header *h)
{
    int64_t now = clock_mono_ms();
    struct bus_node *n = find_node(&b->publishers, h->publisher);
    if (n == NULL) {
        /* Its frames of the last seconds should have been heard, unless this node has subscribed only since. */
        if (h->kind == '=' && h->number > 0 && b->up && now - b->up_ms > 2 * BUS_RECENT_MS) {
            bus_doubt(b, "gap");
        }
        n = add_node(&b->publishers, h->publisher);
    } else if (h->number != (h->kind == '=' ? n->number : n->number + 1)) {
        bus_doubt(b, "gap");
    }
    n->number = h->number;
    n->at_ms = now;
}

static void item_for_node(const struct bus_item *item, void *ctx)
{
    struct bus *b = ctx;
    if (!b->closing) {
        b->cb.on_item(item, b->cb.ctx);
    }
}

static void item_for_all(const struct bus_item *item, void *ctx)
{
    if (item->kind == BUS_INVALIDATE) {
        item_for_node(item, ctx);
    } else {
        metric_add(METRIC_BUS_REFUSED, "kind", NULL, 1);
    }
}

static void frame(struct bus *b, const char *channel, const redisReply *body)
{
    struct bus_header h;
    size_t used;
    bool all = strcmp(channel, key_bus_all().s) == 0;
    metric_add(METRIC_BUS_MESSAGES, "in", NULL, 1);
    if (bus_header_parse(body->str, body->len, &used, &h) != 0) {
        metric_add(METRIC_BUS_REFUSED, "header", NULL, 1);
        return;
    }
    const char *items = body->str + used;
    size_t len = body->len - used;
    if (all) {
        bus_each(items, len, item_for_all, b);
        return;
    }
    if (strcmp(h.publisher, b->node) == 0) {
        if (h.kind == '!') {
            bus_heard_itself(b, h.number);
        }
        return;
    }
    if (h.kind == '!') {
        metric_add(METRIC_BUS_REFUSED, "header", NULL, 1);
        return;
    }
    check_number(b, &h);
    if (h.kind == ' ') {
        bus_each(items, len, item_for_node, b);
    }
}

void bus_pushed(struct bus *b, const redisReply *r)
{
    const char *kind = reply_text(reply_at(r, 0)), *channel = reply_text(reply_at(r, 1));
    const redisReply *body = reply_at(r, 2);
    if (kind == NULL || channel == NULL || body == NULL) {
        bus_drop(b, r->type == REDIS_REPLY_ERROR ? "Redis refuses the subscription" : "a push of an unknown form");
    } else if (strcmp(kind, "subscribe") == 0) {
        b->subscriptions++;
        if (b->subscriptions == 2 && b->commands_ready) {
            bus_tick(b, clock_mono_ms());
        }
    } else if (strcmp(kind, "message") == 0 && body->type == REDIS_REPLY_STRING) {
        frame(b, channel, body);
    }
}

void bus_subscribe(struct bus *b)
{
    struct arena *a = arena_new("bus subscribe");
    struct redis_cmd *c = redis_cmd(a, "SUBSCRIBE");
    redis_key(c, key_bus(b->node));
    redis_key(c, key_bus_all());
    if (redis_link_send(b->subscriber, c, NULL, NULL) != 0) {
        bus_drop(b, "cannot subscribe");
    }
    arena_free(&a);
}

/* ---- answers ---- */

/* What Redis says about its memory: another incarnation or fewer attaches than there were means that it lost some of it. */
static void adopt(struct bus *b, const char *incarnation, int64_t attached, int64_t least)
{
    if (b->incarnation[0] != '\0' && (strcmp(b->incarnation, incarnation) != 0 || attached < least)) {
        bus_doubt(b, "incarnation");
        b->ticked_ms = 0;
    }
    snprintf(b->incarnation, sizeof(b->incarnation), "%s", incarnation);
    b->attached = attached;
}

/* An error. Scripts are loaded when a link opens: where one is missing all are, and the order of commands would be lost by sending some again. */
static void refused(struct bus *b, const redisReply *r)
{
    if (r == NULL) {
        return;
    }
    metric_add(METRIC_REDIS_COMMANDS, "error", NULL, 1);
    if (r->type == REDIS_REPLY_ERROR && strncmp(r->str, "NOSCRIPT", 8) == 0) {
        bus_drop(b, "Redis has forgotten the scripts");
    } else {
        log_warn("redis_error", "Redis answered: %.120s", r->type == REDIS_REPLY_ERROR ? r->str : "something of an unexpected type");
    }
}

/* {incarnation, attached, …} from element `at`; false when it is not of that form. */
static bool take_memory(struct bus *b, const redisReply *r, size_t at, int64_t least)
{
    const char *incarnation = reply_text(reply_at(r, at));
    int64_t attached = reply_number(reply_at(r, at + 1), -1);
    if (incarnation == NULL || attached < 0) {
        refused(b, r);
        return false;
    }
    metric_add(METRIC_REDIS_COMMANDS, "ok", NULL, 1);
    adopt(b, incarnation, attached, least);
    return true;
}

static void on_loaded(const redisReply *r, void *arg)
{
    struct bus *b = arg;
    if (r == NULL) {
        return;
    }
    if (r->type == REDIS_REPLY_ERROR) {
        bus_drop(b, "Redis refuses the scripts");
        return;
    }
    b->commands_ready = true;
    if (b->subscriptions == 2) {
        bus_tick(b, clock_mono_ms());
    }
}

static void on_one_loaded(const redisReply *r, void *arg)
{
    if (r != NULL && r->type == REDIS_REPLY_ERROR) {
        bus_drop(arg, "Redis refuses the scripts");
    }
}

void bus_load_scripts(struct bus *b)
{
    static const enum redis_script needed[] = {SCRIPT_FAN_OUT, SCRIPT_SEND, SCRIPT_ATTACH, SCRIPT_DETACH, SCRIPT_TICK};
    size_t count = sizeof(needed) / sizeof(needed[0]);
    struct arena *a = arena_new("bus scripts");
    for (size_t i = 0; i < count; i++) {
        struct redis_cmd *c = redis_cmd(a, "SCRIPT");
        redis_text(c, "LOAD");
        redis_text(c, redis_script_text(needed[i]));
        if (redis_link_send(b->commands, c, i + 1 == count ? on_loaded : on_one_loaded, b) != 0) {
            bus_drop(b, "cannot load scripts");
            break;
        }
    }
    arena_free(&a);
}

/* ---- each second ---- */

static void on_ticked(const redisReply *r, void *arg)
{
    struct bus *b = arg;
    if (r != NULL && !take_memory(b, r, 0, b->attached)) {
        bus_drop(b, "Redis refuses the heartbeat");
    }
}

static void new_incarnation(char out[25])
{
    crypto_random_base62(out, 24);
}

void bus_tick(struct bus *b, int64_t now_ms)
{
    char fresh[25];
    struct arena *a = arena_new("bus tick");
    struct redis_cmd *c = redis_cmd_script(a, SCRIPT_TICK, 3);
    redis_key(c, key_incarnation());
    redis_key(c, key_attached(b->node));
    redis_key(c, key_sent(b->node));
    redis_text(c, b->node);
    redis_key(c, key_bus(""));
    new_incarnation(fresh);
    redis_text(c, fresh);
    redis_number(c, now_ms);
    redis_text(c, BUS_SENT_TTL);
    for (int i = 0; i < b->receivers.count; i++) {
        if (now_ms - b->receivers.node[i].at_ms < BUS_RECENT_MS) {
            redis_text(c, b->receivers.node[i].name);
        }
    }
    b->ticked_ms = now_ms;
    if (redis_link_send(b->commands, c, on_ticked, b) != 0) {
        bus_drop(b, "too much waits to be sent");
    }
    arena_free(&a);
}

/* ---- attach, detach ---- */

struct attach_part {
    struct bus_attach_call *call;
    int n;
};

static void on_attached(const redisReply *r, void *arg)
{
    struct attach_part *part = arg;
    struct bus_attach_call *call = part->call;
    struct bus *b = call->bus;
    if (r == NULL || !take_memory(b, r, 0, b->attached + part->n)) {
        call->ok = false;
    }
    free(part);
    if (--call->left == 0) {
        bus_answered(b, call);
    }
}

static int send_attach(struct bus_attach_call *call, const struct app_id *apps, const struct conv_id *convs, int n)
{
    struct bus *b = call->bus;
    char fresh[25];
    struct arena *a = arena_new("bus attach");
    struct redis_cmd *c = redis_cmd_script(a, SCRIPT_ATTACH, 3 + n);
    redis_key(c, key_incarnation());
    redis_key(c, key_attached(b->node));
    redis_key(c, key_index(b->node));
    for (int i = 0; i < n; i++) {
        redis_key(c, key_nodes(&apps[i], &convs[i]));
    }
    redis_text(c, b->node);
    new_incarnation(fresh);
    redis_text(c, fresh);
    redis_text(c, BUS_SENT_TTL);
    struct attach_part *part = calloc(1, sizeof(*part));
    assert(part != NULL);
    *part = (struct attach_part){.call = call, .n = n};
    int r = redis_link_send(b->commands, c, on_attached, part);
    if (r != 0) {
        free(part);
    }
    arena_free(&a);
    return r;
}

void bus_attach(struct bus *b, const struct app_id *apps, const struct conv_id *convs, int n, void (*done)(bool ok, void *ctx), void *ctx)
{
    struct bus_attach_call *call = calloc(1, sizeof(*call));
    assert(call != NULL);
    *call = (struct bus_attach_call){.bus = b, .ok = b->up, .done = done, .ctx = ctx};
    for (int i = 0; i < n && call->ok; i += ATTACH_MAX) {
        if (send_attach(call, apps + i, convs + i, n - i < ATTACH_MAX ? n - i : ATTACH_MAX) != 0) {
            call->ok = false;
            break;
        }
        call->left++;
    }
    if (call->left == 0) {
        bus_answered(b, call);
    }
}

static void on_detached(const redisReply *r, void *arg)
{
    if (r != NULL && r->type != REDIS_REPLY_INTEGER) {
        refused(arg, r);
    }
}

void bus_detach(struct bus *b, const struct app_id *apps, const struct conv_id *convs, int n)
{
    for (int i = 0; i < n && b->commands_ready; i += ATTACH_MAX) {
        int part = n - i < ATTACH_MAX ? n - i : ATTACH_MAX;
        struct arena *a = arena_new("bus detach");
        struct redis_cmd *c = redis_cmd_script(a, SCRIPT_DETACH, 1 + part);
        redis_key(c, key_index(b->node));
        for (int k = 0; k < part; k++) {
            redis_key(c, key_nodes(&apps[i + k], &convs[i + k]));
        }
        redis_text(c, b->node);
        if (redis_link_send(b->commands, c, on_detached, b) != 0) {
            log_debug("bus_detach", "a detach was not sent; the closer of the lease will remove what is left");
        }
        arena_free(&a);
    }
}

/* ---- going out ---- */

static void on_fanned_out(const redisReply *r, void *arg)
{
    struct bus *b = arg;
    if (r == NULL) {
        bus_failed("the link was lost");
        return;
    }
    if (!take_memory(b, r, 1, b->attached)) {
        bus_failed("Redis has refused");
        return;
    }
    if (reply_number(reply_at(r, 0), 0) != 1) {
        bus_doubt(b, "incarnation");
        bus_failed("Redis has lost its memory");
        return;
    }
    for (size_t i = 3; i < r->elements; i++) {
        const char *name = reply_text(r->element[i]);
        if (name != NULL) {
            note_receiver(b, name);
            metric_add(METRIC_BUS_MESSAGES, "out", NULL, 1);
        }
    }
}

static void fan_out(struct bus *b, struct arena *a, const struct bus_gathered *g)
{
    struct redis_cmd *c = redis_cmd_script(a, SCRIPT_FAN_OUT, 3 + g->count);
    redis_key(c, key_incarnation());
    redis_key(c, key_attached(b->node));
    redis_key(c, key_sent(b->node));
    for (int i = 0; i < g->count; i++) {
        redis_key(c, key_nodes(&g->apps[i], &g->convs[i]));
    }
    redis_text(c, b->node);
    redis_key(c, key_bus(""));
    redis_text(c, b->incarnation);
    redis_number(c, b->attached);
    redis_text(c, BUS_SENT_TTL);
    for (int i = 0; i < g->count; i++) {
        redis_arg(c, g->blobs[i].data, g->blobs[i].len);
    }
    if (redis_link_send(b->commands, c, on_fanned_out, b) != 0) {
        bus_failed("too much waits to be sent");
    }
}

void bus_fan_out(struct bus *b, const struct bus_item *items, int n)
{
    if (n > 0 && !b->commands_ready) {
        bus_failed("Redis is away");
        return;
    }
    struct arena *a = arena_new("bus fan-out");
    for (int done = 0; done < n;) {
        struct bus_gathered g;
        done += bus_gather(a, items + done, n - done, &g);
        fan_out(b, a, &g);
    }
    arena_free(&a);
}

static void on_sent(const redisReply *r, void *arg)
{
    struct bus *b = arg;
    if (r != NULL && r->type == REDIS_REPLY_INTEGER) {
        metric_add(METRIC_REDIS_COMMANDS, "ok", NULL, 1);
        metric_add(METRIC_BUS_MESSAGES, "out", NULL, r->integer);
        return;
    }
    refused(b, r);
    bus_failed(r == NULL ? "the link was lost" : "Redis has refused");
}

void bus_send(struct bus *b, char (*nodes)[NODE_ID_MAX + 1], int count, const struct bus_item *item)
{
    struct arena *a = arena_new("bus send");
    struct buf blob = {0};
    int others = 0;
    bus_item_encode(&blob, item);
    struct redis_cmd *c = redis_cmd_script(a, SCRIPT_SEND, 1);
    redis_key(c, key_sent(b->node));
    redis_text(c, b->node);
    redis_key(c, key_bus(""));
    redis_text(c, BUS_SENT_TTL);
    redis_arg(c, blob.data, blob.len);
    for (int i = 0; i < count; i++) {
        if (strcmp(nodes[i], b->node) != 0) {
            redis_text(c, nodes[i]);
            note_receiver(b, nodes[i]);
            others++;
        }
    }
    if (others > 0 && (!b->commands_ready || redis_link_send(b->commands, c, on_sent, b) != 0)) {
        bus_failed("Redis is away");
    }
    buf_free(&blob);
    arena_free(&a);
}
