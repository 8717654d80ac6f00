#include "api/service.h"

#include "api/health.h"
#include "api/routes.h"
#include "api/spec.h"
#include "core/clock.h"
#include "core/embed.h"
#include "core/metrics.h"

static const char *asyncapi;
static size_t asyncapi_len;

int service_start(struct err *e)
{
    const struct embed *file = embed_find("openapi/realtime.yaml");
    if (file == NULL) {
        return 0;
    }
    static struct arena *kept;
    kept = arena_new("realtime.yaml");
    json_t *document = json_read_yaml(kept, file->data, file->len, e);
    if (document == NULL) {
        return -1;
    }
    asyncapi = json_write(kept, document, &asyncapi_len);
    return 0;
}

/* ---- about ---- */

static json_t *feature_list(void)
{
    json_t *list = json_array();
    for (int i = 0; i < FEATURE_COUNT; i++) {
        json_array_append_new(
            list, json_pack("{s:s, s:b}", "name", feature_name((enum feature)i), "default", (int)(feature_defaults() >> i & 1)));
    }
    return list;
}

static json_t *limit_list(void)
{
    json_t *limits = json_object();
#define L(name, otherwise, doc) json_object_set_new(limits, #name, json_integer(tenant_limits_default.name));
    TENANT_LIMITS(L, L)
#undef L
    json_object_set_new(limits, "body_bytes", json_integer(BODY_MAX));
    return limits;
}

int api_service_info(struct req *r, struct err *e)
{
    char now[CLOCK_TEXT_MAX];
    (void)e;
    json_t *body = json_pack("{s:s, s:s, s:s, s:o, s:o}", "name", "parley", "version", PARLEY_VERSION, "server_time",
                             clock_format(clock_wall_ms(), now), "features", feature_list(), "limits", limit_list());
    return reply_json(r, 200, json_own(r->arena, body));
}

int api_service_openapi(struct req *r, struct err *e)
{
    size_t len;
    const char *text = spec_text(&len);
    (void)e;
    r->reply.cache_control = "public, max-age=300";
    return reply_bytes(r, 200, "application/json", text, len);
}

int api_service_asyncapi(struct req *r, struct err *e)
{
    if (asyncapi == NULL) {
        return err_set(e, ERR_NOT_FOUND, "This build has no description of the realtime interface.");
    }
    r->reply.cache_control = "public, max-age=300";
    return reply_bytes(r, 200, "application/json", asyncapi, asyncapi_len);
}

/* ---- probes ---- */

#define PLAIN "text/plain; charset=utf-8"

static int plain(struct req *r, int status, const char *text)
{
    return reply_bytes(r, status, PLAIN, text, strlen(text));
}

int api_service_livez(struct req *r, struct err *e)
{
    (void)e;
    return plain(r, 200, "ok\n");
}

int api_service_readyz(struct req *r, struct err *e)
{
    const char *text, *exclude = NULL;
    (void)e;
    struct buf list = {0};
    size_t i;
    json_t *one;
    json_array_foreach (json_object_get(r->query, "exclude"), i, one) {
        buf_addf(&list, "%s,", json_string_value(one));
    }
    if (list.data != NULL) {
        exclude = arena_strdup(r->arena, list.data);
    }
    buf_free(&list);
    bool ready = health_ready(r->arena, exclude, &text);
    return plain(r, ready ? 200 : 503, json_bool(r->query, "verbose", false) ? text : ready ? "ok\n" : "not ready\n");
}

int api_service_startupz(struct req *r, struct err *e)
{
    (void)e;
    bool started = health_started();
    return plain(r, started ? 200 : 503, started ? "ok\n" : "starting\n");
}

int api_service_metrics(struct req *r, struct err *e)
{
    struct buf out = {0};
    (void)e;
    metrics_print(&out);
    const char *text = arena_dup(r->arena, out.data, out.len);
    size_t len = out.len;
    buf_free(&out);
    return reply_bytes(r, 200, "text/plain; version=0.0.4; charset=utf-8", text, len);
}
