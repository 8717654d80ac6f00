#include "api/after.h"

#include "api/node.h"
#include "core/log.h"
#include "storage/bus.h"
#include "storage/presence.h"
#include "tenants/apikeys.h"
#include "tenants/registry.h"
#include "tenants/tokens.h"

/* ---- invalidation ---- */

static void forget(const char *what, const struct app_id *app, const struct user_id *user)
{
    bool all = strcmp(what, "all") == 0; /* the app is zeroed then: every app */
    bool app_wide = all || strcmp(what, "app") == 0;
    if (app_wide) {
        registry_invalidate(app);
    }
    if (app_wide || strcmp(what, "key") == 0) {
        apikeys_invalidate(app);
    }
    tokens_invalidate(app, app_wide || user == NULL || user->s[0] == '\0' ? NULL : user);
}

static void on_item(const struct bus_item *item, void *ctx)
{
    (void)ctx;
    forget(item->event, &item->app, &item->user);
}

int after_start(struct err *e)
{
    return bus_listen_start(on_item, NULL, e);
}

void after_stop(void)
{
    bus_listen_stop();
}

static void tell(const char *what, const struct app_id *app, const struct user_id *user)
{
    struct bus_item item = {.kind = BUS_INVALIDATE, .app = *app, .event = what, .payload = ""};
    if (user != NULL) {
        item.user = *user;
    }
    forget(what, app, user);
    bus_invalidate(&item);
}

void after_app(const struct app_id *app)
{
    tell("app", app, NULL);
}

void after_keys(const struct app_id *app)
{
    tell("key", app, NULL);
}

void after_tokens(const struct app_id *app, const struct user_id *user)
{
    tell("tokens", app, user);
}

void after_user(const struct app_id *app, const struct user_id *user)
{
    tell("user", app, user);
}

/* ---- entries and memberships ---- */

void after_entry(const struct append *row)
{
    char self[NODE_ID_MAX + 1];
    struct bus_item item = {.kind = BUS_ENTRY, .app = row->app, .conv = row->entry.conv, .entry = row->entry};
    node_id(self);
    bus_publish_items(self, &item, 1);
}

void after_membership(const struct tenant *t, struct arena *a, const struct user_id *users, int n, const char *event, const json_t *payload)
{
    char self[NODE_ID_MAX + 1], (*nodes)[NODE_ID_MAX + 1];
    int count;
    struct err e = {0};
    if (n == 0) {
        return;
    }
    if (presence_nodes(t, a, users, n, &nodes, &count, &e) < 0) {
        log_warn("membership_untold", "%s is not announced: %s", event, e.msg);
        return;
    }
    if (count == 0) {
        return;
    }
    size_t len;
    const char *text = json_write(a, payload, &len);
    struct bus_item *items = arena_array(a, (size_t)n, sizeof(*items));
    for (int i = 0; i < n; i++) {
        items[i] = (struct bus_item){
            .kind = BUS_USER, .app = *tenant_app(t), .user = users[i], .event = event, .payload = text, .payload_len = len, .rejoin = true};
    }
    node_id(self);
    bus_publish_to_nodes(self, nodes, count, items, n);
}
