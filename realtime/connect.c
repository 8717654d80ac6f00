/* connect.c: from a token to session.ready: verify the token (worker), enter the hub, claim presence and read the conversations (worker), accept. */
#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "realtime/catchup.h"
#include "realtime/engineio.h"
#include "realtime/members.h"
#include "realtime/online.h"
#include "realtime/pages.h"
#include "realtime/session.h"
#include "realtime/socketio.h"
#include "realtime/spec.h"
#include "realtime/watch.h"
#include "storage/groups.h"
#include "storage/marks.h"
#include "tenants/tokens.h"

#include <stddef.h>

#define PAGE 1000
#define PAGES_MAX 10

/* One connect on its way; its arena holds everything. */
struct joining {
    struct arena *arena;
    struct conn_ref conn;
    const char *token_text, *origin;
    enum event_where where;
    uint64_t revocations; /* session_revocations() before the verification */
    struct device_id device;
    struct token token;
    struct user user;
    struct err err;
    struct tenant *tenant; /* loading: one reference */
    struct presence_claim claim;
    struct presence now;
    bool changed;
    struct membership *pages[PAGES_MAX];
    int counts[PAGES_MAX];
};

static bool is_outage(enum err_code code)
{
    return code == ERR_STORAGE_UNAVAILABLE || code == ERR_UNCERTAIN || code == ERR_UPSTREAM_TIMEOUT || code == ERR_BUSY ||
           code == ERR_INTERNAL;
}

/* A refusal tells the client to stop; trouble of ours only cuts the transport, so that it comes back. */
static void turn_away(struct session *s, const struct err *e)
{
    struct err told = *e;
    s->state = SESSION_ENDING;
    if (node.draining) {
        conn_close(s->conn, "server shutting down");
        return;
    }
    if (is_outage(e->code)) {
        metric_add(METRIC_CONNECTIONS_TOTAL, err_name(e->code), NULL, 1);
        conn_close(s->conn, "storage unavailable");
        return;
    }
    if (e->code == ERR_UNKNOWN_KID || e->code == ERR_NOT_FOUND) {
        told.code = ERR_INVALID_TOKEN;
    }
    metric_add(METRIC_AUTH_FAILED, err_name(told.code), NULL, 1);
    conn_refuse(s->conn, &told);
}

static struct session *session_of(struct conn_ref ref, enum session_state state)
{
    struct conn *c = conn_get(ref);
    struct session *s = c == NULL ? NULL : conn_user(c);
    return s != NULL && s->state == state ? s : NULL;
}

/* ---- conversations ---- */

static void load_work(void *arg)
{
    struct joining *j = arg;
    struct err away = {0};
    struct memberships_query q = {.user = j->user.id, .device = j->device.s, .with_left = true, .limit = PAGE};
    if (online_set(j->tenant, j->arena, &j->claim, &j->now, &j->changed, &away) != 0) {
        j->changed = false; /* without Redis nobody hears of it; the refresh makes up for it */
    }
    if (j->where != EVENT_ROOT) {
        return;
    }
    if (marks_device_seen(j->tenant, j->arena, &j->user.id, &j->device, &j->err) != 0) {
        return;
    }
    for (int i = 0, n = PAGE; i < PAGES_MAX && n == PAGE; i++) {
        if (groups_memberships(j->tenant, j->arena, &q, &j->pages[i], &j->counts[i], &j->err) != 0) {
            return;
        }
        n = j->counts[i];
        if (n > 0) {
            q.after_ms = j->pages[i][n - 1].conversation.last_ms;
            q.after_id = j->pages[i][n - 1].conversation.id;
        }
    }
}

static int take_seats(struct session *s, const struct membership *m, int n, struct conv_id *fresh)
{
    int count = 0;
    struct user_id user = hub_user_id(s->user);
    for (int i = 0; i < n; i++) {
        bool is_fresh = false;
        struct seat_start start = {.joined_seq = m[i].me.joined_seq,
                                   .left_seq = m[i].me.left_seq,
                                   .delivered_seq = m[i].me.delivered_seq,
                                   .read_seq = m[i].me.read_seq,
                                   .last_seq = m[i].conversation.last_seq,
                                   .members_seq = m[i].conversation.members_seq,
                                   .member_count = m[i].conversation.member_count};
        if (hub_start_is_old(s->user->app, &m[i].conversation.id, &start)) {
            members_check(s->user->app, &user, &m[i].conversation.id);
            continue;
        }
        struct seat *seat = hub_seat_add(s, &m[i].conversation.id, &start, &is_fresh);
        if (seat != NULL) {
            pages_add(s, seat);
        }
        if (is_fresh) {
            fresh[count++] = m[i].conversation.id;
        }
    }
    return count;
}

/* What a client can heed. The rest, of the app as a whole or fixed, is in the documentation. */
static json_t *limits_of(const struct tenant *t)
{
    const struct tenant_limits *l = tenant_limits(t);
    const struct {
        const char *name;
        int64_t value;
    } list[] = {
        {"max_payload", l->max_payload},
        {"message_chars", l->message_chars},
        {"group_members", l->group_members},
        {"sends_per_user", l->sends_per_user},
        {"sends_per_conversation", l->sends_per_conversation},
        {"connections_per_user", l->connections_per_user},
        {"events_per_second", l->events_per_second},
        {"events_burst", l->events_burst},
        {"events_in_flight", l->events_in_flight},
        {"refused_events", node.config->refused_events},
        {"attachments", l->attachments},
        {"attachment_bytes", l->attachment_bytes},
        {"attachment_ms", SIO_RUN_MS_MAX},
        {"event_name_bytes", EVENT_NAME_MAX},
        {"json_depth", JSON_DEPTH_MAX},
        {"packets_per_post", EIO_PACKETS_PER_POST},
        {"send_queue", node.config->send_queue},
    };
    json_t *limits = json_object();
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        json_object_set_new(limits, list[i].name, json_integer(list[i].value));
    }
    return limits;
}

static void set_limits(struct session *s)
{
    const struct tenant_limits *l = tenant_limits(s->user->app->tenant);
    struct conn_limits c = {.message = l->max_payload, .attachments = (int)l->attachments, .attachment_bytes = l->attachment_bytes};
    conn_set_limits(s->conn, &c);
}

static void say_ready(struct session *s, struct joining *j)
{
    const struct tenant *t = s->user->app->tenant;
    char now[CLOCK_TEXT_MAX], expires[CLOCK_TEXT_MAX];
    json_t *ready =
        json_pack("{s:O, s:s, s:s, s:s, s:s, s:o, s:o, s:s}", "user", user_json(j->arena, &j->user), "device_id", s->device.s, "session_id",
                  conn_id(s->conn), "node", node.id, "server_time", clock_format(clock_wall_ms(), now), "features", session_features(t),
                  "limits", limits_of(t), "token_expires_at", clock_format(s->exp_ms, expires));
    size_t len;
    const char *text = json_write(j->arena, json_own(j->arena, ready), &len);
    session_emit(s, EV_SESSION_READY, text, len);
}

static void joining_free(struct joining *j)
{
    if (j->tenant != NULL) {
        tenant_unref(j->tenant);
    }
    struct arena *a = j->arena;
    arena_free(&a);
}

static void load_done(void *arg)
{
    struct joining *j = arg;
    struct session *s = session_of(j->conn, SESSION_LOADING);
    if (j->changed) {
        const char *payload = online_payload(j->arena, &j->now);
        watch_tell(tenant_app(j->tenant), &j->user.id, payload, strlen(payload));
    }
    if (s != NULL && (j->err.code != ERR_OK || node.draining)) {
        turn_away(s, &j->err);
    } else if (s != NULL) {
        s->state = SESSION_READY;
        session_connected(s);
        set_limits(s);
        conn_accept(s->conn);
        say_ready(s, j);
        session_live(s);
        for (int i = 0; i < PAGES_MAX && j->counts[i] > 0; i++) {
            struct conv_id *fresh = arena_array(j->arena, (size_t)j->counts[i], sizeof(*fresh));
            catchup_attach(s->user->app, fresh, take_seats(s, j->pages[i], j->counts[i], fresh));
        }
        pages_go(s);
        if (s->again) {
            members_reload(s->user);
        }
    }
    joining_free(j);
}

/* ---- token ---- */

static void verify_work(void *arg)
{
    struct joining *j = arg;
    if (tokens_verify(j->arena, j->token_text, &j->token, &j->user, &j->err) == 0 && !tenant_origin_allowed(j->token.tenant, j->origin)) {
        err_set(&j->err, ERR_INVALID_TOKEN, "This app does not allow connections from the page's origin.");
    }
    if (j->err.code == ERR_OK && j->where == EVENT_GAME && !tenant_has(j->token.tenant, FEATURE_GAMES)) {
        err_set(&j->err, ERR_FEATURE_DISABLED, "The feature games is switched off for this app.");
    }
}

/* Each namespace counts by itself: a chat is not ended by a game of the same client. */
static void replace_oldest(struct hub_user *u, enum event_where where)
{
    static const char payload[] = "{\"reason\":\"too_many_connections\"}";
    int live = 0;
    struct session *oldest = NULL;
    for (struct session *s = u->sessions; s != NULL; s = s->next_of_user) {
        if (s->state != SESSION_ENDING && s->where == where) {
            oldest = oldest != NULL ? oldest : s;
            live++;
        }
    }
    if (live > (int)tenant_limits(u->app->tenant)->connections_per_user) {
        session_emit(oldest, EV_SESSION_REPLACED, payload, sizeof(payload) - 1);
        session_disconnect(oldest, "replaced");
    }
}

static void enter_hub(struct session *s, const struct joining *j)
{
    struct hub_user *u = hub_user_get(j->token.tenant, &j->token.user);
    session_set_tenant(u->app, j->token.tenant);
    loop_timer_stop(&u->grace);
    hub_session_add(u, s);
    free(u->name);
    u->name = strdup(j->user.name);
    u->claimed = true;
    s->state = SESSION_LOADING;
    s->device = j->token.device.s[0] != '\0' ? j->token.device : j->device;
    s->token = strdup(j->token_text);
    s->exp_ms = j->token.exp_ms;
    if (u->name == NULL || s->token == NULL) {
        fputs("out of memory: session\n", stderr);
        abort();
    }
    replace_oldest(u, s->where);
}

/* Too many of its app are here: the client shall come back later, perhaps elsewhere, so only the transport is closed. */
static bool is_full(const struct tenant *t)
{
    const struct hub_app *app = hub_app_find(tenant_app(t));
    return app != NULL && app->session_count >= (int64_t)tenant_limits(t)->connections_per_app;
}

static void verify_done(void *arg)
{
    struct joining *j = arg;
    struct session *s = session_of(j->conn, SESSION_VERIFYING);
    if (s == NULL) {
        joining_free(j);
        return;
    }
    if (j->err.code != ERR_OK || node.draining) {
        turn_away(s, &j->err);
        joining_free(j);
        return;
    }
    if (is_full(j->token.tenant)) {
        metric_add(METRIC_REFUSED, "app", NULL, 1);
        s->state = SESSION_ENDING;
        conn_close(s->conn, "app full");
        joining_free(j);
        return;
    }
    enter_hub(s, j);
    j->device = s->device;
    j->tenant = tenant_ref(s->user->app->tenant);
    j->claim = (struct presence_claim){
        .user = hub_user_id(s->user), .name = arena_strdup(j->arena, s->user->name), .devices = online_devices(j->arena, s->user)};
    if (j->revocations != session_revocations()) {
        session_recheck(&s->user->app->id, &j->claim.user);
    }
    loop_work(load_work, load_done, j);
}

/* What a client sends in `auth`: other members belong to Socket.IO itself. */
static int read_auth(struct joining *j, const json_t *auth, struct err *e)
{
    const char *token = json_str(auth, "token", NULL);
    const json_t *device = json_object_get(auth, "device_id");
    if (token == NULL || token[0] == '\0') {
        return err_set(e, ERR_MISSING_CREDENTIALS, "Connect with auth: {token}, a user token of POST /v1/tokens.");
    }
    if (device_id_parse(device == NULL ? "default" : json_string_value(device) != NULL ? json_string_value(device) : "", &j->device) != 0) {
        return err_at(e, ERR_VALIDATION_FAILED, "/device_id", "device_id must be 1 to 64 characters of A-Z a-z 0-9 . _ -");
    }
    j->token_text = arena_strdup(j->arena, token);
    return 0;
}

void session_connect(struct conn *c, const json_t *auth)
{
    struct err e = {0};
    struct session *s = session_new(c);
    struct arena *a = arena_new("connect");
    struct joining *j = arena_alloc(a, sizeof(*j));
    j->arena = a;
    j->conn = conn_ref_of(c);
    j->where = s->where;
    j->revocations = session_revocations();
    j->origin = conn_origin(c) == NULL ? NULL : arena_strdup(a, conn_origin(c));
    if (read_auth(j, auth, &e) != 0) {
        turn_away(s, &e);
        joining_free(j);
        return;
    }
    loop_work(verify_work, verify_done, j);
}
