#include "realtime/peers.h"

#include "core/json.h"
#include "core/log.h"
#include "realtime/catchup.h"
#include "realtime/fanout.h"
#include "realtime/loop.h"
#include "realtime/members.h"
#include "realtime/online.h"
#include "realtime/session.h"
#include "realtime/spec.h"
#include "realtime/watch.h"
#include "storage/presence.h"
#include "tenants/registry.h"
#include "tenants/tokens.h"

static struct bus *bus;
static bool up;

/* ---- what comes ---- */

/* The conversation that an event to a user is about: {"conversation":{"id":…}} or {"conversation_id":…}. */
static bool conversation_of(const json_t *payload, struct conv_id *conv_r)
{
    const char *id = json_str(payload, "conversation_id", NULL);
    id = id != NULL ? id : json_str(json_object_get(payload, "conversation"), "id", "");
    return conv_id_parse(id, conv_r) == 0;
}

static void for_user(const struct bus_item *item)
{
    struct hub_user *u = hub_user_find(&item->app, &item->user);
    enum rt_event ev;
    struct conv_id conv;
    struct err e = {0};
    if (u == NULL) {
        return;
    }
    if (!item->rejoin) {
        if (event_of_name(item->event, &ev) == 1) {
            session_emit_all(u, ev, item->payload, item->payload_len);
        }
        return;
    }
    struct arena *a = arena_new("bus user");
    const json_t *payload = json_read(a, item->payload, item->payload_len, &e);
    if (conversation_of(payload, &conv)) {
        struct user_id user = hub_user_id(u);
        members_check(u->app, &user, &conv);
    } else {
        members_reload(u);
    }
    arena_free(&a);
}

static void ephemeral(const struct bus_item *item)
{
    struct hub_conv *c = hub_conv_find(&item->app, &item->conv);
    enum rt_event ev;
    if (c != NULL && event_of_name(item->event, &ev) == 1) {
        fanout_ephemeral(c, ev, item->payload, item->payload_len, &item->user);
    }
}

static void invalidate(const struct bus_item *item)
{
    const struct user_id *user = item->user.s[0] != '\0' ? &item->user : NULL;
    if (strcmp(item->event, "app") == 0) {
        registry_invalidate(&item->app);
    }
    tokens_invalidate(&item->app, user);
    session_recheck(&item->app, user);
}

static void on_item(const struct bus_item *item, void *ctx)
{
    (void)ctx;
    struct entry en;
    switch (item->kind) {
    case BUS_ENTRY:
        en = item->entry;
        en.conv = item->conv;
        catchup_entry(&item->app, &en, "bus");
        break;
    case BUS_EPHEMERAL:
        ephemeral(item);
        break;
    case BUS_USER:
        for_user(item);
        break;
    case BUS_PRESENCE:
        watch_tell(&item->app, &item->user, item->payload, item->payload_len);
        break;
    case BUS_INVALIDATE:
        invalidate(item);
        break;
    }
}

/* Whatever the bus carries may have been missed: entries, memberships, revocations, presence. */
static void on_doubt(const char *why, void *ctx)
{
    (void)ctx;
    size_t at = 0;
    catchup_all(why, true);
    /* In this order: who enters a conversation after the claims are back is told over the bus, who did before is found. */
    online_refresh(members_reload_all);
    for (struct hub_app *app = hub_app_next(&at); app != NULL; app = hub_app_next(&at)) {
        registry_invalidate(&app->id);
        tokens_invalidate(&app->id, NULL);
    }
    session_recheck(NULL, NULL);
}

static void on_state(bool is_up, void *ctx)
{
    (void)ctx;
    up = is_up;
}

/* ---- what goes ---- */

void peers_start(void)
{
    struct bus_callbacks cb = {.on_item = on_item, .on_doubt = on_doubt, .on_state = on_state};
    bus = bus_new(node.loop, node.config, node.id, &cb);
}

void peers_stop(void (*done)(void *ctx), void *ctx)
{
    bus_close(bus, done, ctx);
    bus = NULL;
    up = false;
}

bool peers_up(void)
{
    return up;
}

void peers_attach(const struct app_id *apps, const struct conv_id *convs, int n, void (*done)(bool ok, void *ctx), void *ctx)
{
    if (bus != NULL) {
        bus_attach(bus, apps, convs, n, done, ctx);
    } else if (done != NULL) {
        done(false, ctx);
    }
}

void peers_detach(const struct app_id *app, const struct conv_id *convs, int n)
{
    enum { MAX = 256 };
    struct app_id apps[MAX];
    for (int from = 0; bus != NULL && from < n; from += MAX) {
        int some = n - from < MAX ? n - from : MAX;
        for (int i = 0; i < some; i++) {
            apps[i] = *app;
        }
        bus_detach(bus, apps, convs + from, some);
    }
}

void peers_fan_out(const struct bus_item *items, int n)
{
    if (bus != NULL && n > 0) {
        bus_fan_out(bus, items, n);
    }
}

void peers_rejoin(const struct tenant *t, struct arena *a, const struct user_id *users, int n, const struct conv_id *conv, bool added)
{
    char id[ID_TEXT_MAX];
    char(*nodes)[NODE_ID_MAX + 1];
    int count;
    struct err e = {0};
    if (n == 0 || presence_nodes(t, a, users, n, &nodes, &count, &e) != 0 || count == 0) {
        return; /* without Redis the doubt that follows its return makes every node reload */
    }
    conv_id_print(conv, id);
    const char *payload =
        added ? arena_printf(a, "{\"conversation\":{\"id\":\"%s\"}}", id) : arena_printf(a, "{\"conversation_id\":\"%s\"}", id);
    struct bus_item *items = arena_array(a, (size_t)n, sizeof(*items));
    for (int i = 0; i < n; i++) {
        items[i] = (struct bus_item){.kind = BUS_USER,
                                     .app = *tenant_app(t),
                                     .user = users[i],
                                     .event = added ? "conversation.added" : "conversation.removed",
                                     .payload = payload,
                                     .payload_len = strlen(payload),
                                     .rejoin = true};
    }
    bus_publish_to_nodes(node.id, nodes, count, items, n);
}
