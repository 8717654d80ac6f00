/* switches.c: an app's settings have changed: what that means for its live sessions. */
#include "realtime/session.h"

json_t *session_features(const struct tenant *t)
{
    json_t *list = json_array();
    for (int f = 0; f < FEATURE_COUNT; f++) {
        if (tenant_has(t, (enum feature)f)) {
            json_array_append_new(list, json_string(feature_name((enum feature)f)));
        }
    }
    return list;
}

static bool same_features(const struct tenant *a, const struct tenant *b)
{
    for (int f = 0; f < FEATURE_COUNT; f++) {
        if (tenant_has(a, (enum feature)f) != tenant_has(b, (enum feature)f)) {
            return false;
        }
    }
    return true;
}

static void tell(struct hub_user *u, const char *payload, size_t len)
{
    bool games = tenant_has(u->app->tenant, FEATURE_GAMES);
    session_emit_all(u, EV_FEATURES_CHANGED, payload, len);
    for (struct session *s = u->sessions; s != NULL && !games; s = s->next_of_user) {
        if (s->where == EVENT_GAME && s->state != SESSION_ENDING) {
            session_disconnect(s, "feature_disabled");
        }
    }
}

void session_set_tenant(struct hub_app *app, const struct tenant *t)
{
    if (tenant_version(t) < tenant_version(app->tenant)) {
        return; /* what a verification had read before the change */
    }
    bool same = same_features(t, app->tenant);
    hub_app_set_tenant(app, t);
    if (same) {
        return;
    }
    struct arena *a = arena_new("features");
    size_t len, at = 0;
    const char *payload = json_write(a, json_own(a, json_pack("{s:o}", "features", session_features(t))), &len);
    for (struct hub_user *u = hub_user_next(&at); u != NULL; u = hub_user_next(&at)) {
        if (u->app == app) {
            tell(u, payload, len);
        }
    }
    arena_free(&a);
}
