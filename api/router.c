#include "api/router.h"

#include "api/auth.h"
#include "api/cors.h"
#include "api/health.h"
#include "api/limits.h"
#include "api/problem.h"
#include "api/routes.h"
#include "api/spec.h"
#include "api/target.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"

static bool check_replies;

void router_start(const struct config *c)
{
    const char *check = getenv("PARLEY_TEST_CHECK_REPLIES");
    check_replies = check != NULL && strcmp(check, "1") == 0;
    problem_start(c->docs_url);
    cors_start(c->origins);
}

/* ---- identity of the request ---- */

static void take_request_id(struct req *r)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    const char *given = r->headers.request_id;
    size_t len = given != NULL ? strlen(given) : 0;
    if (len > 0 && len <= REQUEST_ID_MAX && strspn(given, allowed) == len) {
        snprintf(r->request_id, sizeof(r->request_id), "%s", given);
    } else {
        char text[ID_TEXT_MAX];
        struct req_id id = req_id_new();
        snprintf(r->request_id, sizeof(r->request_id), "%s", req_id_print(&id, text));
    }
}

/* ---- match ---- */

static bool served_here(const struct req *r, const struct route *route)
{
    return (route->listener & (r->admin ? LISTENER_ADMIN : LISTENER_PUBLIC)) != 0;
}

static int no_method(struct req *r, const char *allow, struct err *e)
{
    reply_header(r, "Allow", arena_printf(r->arena, "%s, OPTIONS", allow));
    return err_set(e, ERR_METHOD_NOT_ALLOWED, "This resource takes %s.", allow);
}

/* The most literal template that fits and has the method. */
static const struct route *best_route(struct req *r, const char *method, bool *known_r, char *allow, size_t size)
{
    const struct route *best = NULL;
    int fewest = 0;
    *known_r = false;
    allow[0] = '\0';
    for (const struct route *route = routes; route->operation != NULL; route++) {
        int n = served_here(r, route) ? target_match(r->arena, route->path, r->path, NULL) : -1;
        if (n < 0) {
            continue;
        }
        *known_r = true;
        size_t used = strlen(allow);
        if (strstr(allow, route->method) == NULL) {
            snprintf(allow + used, size - used, "%s%s%s", used > 0 ? ", " : "", route->method,
                     strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
        }
        if (strcmp(route->method, method) == 0 && (best == NULL || n < fewest)) {
            best = route;
            fewest = n;
        }
    }
    return best;
}

static int match(struct req *r, struct err *e)
{
    char allow[80];
    bool known;
    const char *wanted = strcmp(r->method, "HEAD") == 0 ? "GET" : r->method;
    if (strcmp(r->method, "OPTIONS") == 0) {
        wanted = r->headers.cors_method != NULL ? r->headers.cors_method : "";
    }
    r->route = best_route(r, wanted, &known, allow, sizeof(allow));
    if (!known) {
        return err_set(e, ERR_NOT_FOUND, "There is nothing at this path.");
    }
    if (strcmp(r->method, "OPTIONS") == 0) {
        cors_preflight(r, arena_printf(r->arena, "%s, OPTIONS", allow));
        return 0;
    }
    if (r->route == NULL) {
        return no_method(r, allow, e);
    }
    r->operation = spec_operation(r->route->operation);
    r->params = json_own(r->arena, json_object());
    target_match(r->arena, r->route->path, r->path, r->params);
    return 0;
}

static int check_storage(const struct req *r, struct err *e)
{
    bool needed = r->route->auth != AUTH_NONE || strcmp(r->route->operation, "apps.jwks") == 0;
    return needed && health_storage_away() ? err_set(e, ERR_STORAGE_UNAVAILABLE, "Postgres did not answer when last looked at.") : 0;
}

/* ---- rate ---- */

/* r tokens are left; after t seconds the bucket is full, or, when the call is refused, it will be let through: what Retry-After says too. */
static void add_limit_fields(struct req *r, const char *policy, const struct rate_limit *limit, uint32_t left, bool taken)
{
    uint32_t window = (limit->burst + limit->per_second - 1) / limit->per_second;
    int64_t t = taken ? (limit->burst - left + limit->per_second - 1) / limit->per_second : (r->retry_after_ms + 999) / 1000;
    reply_header(r, "RateLimit-Policy", arena_printf(r->arena, "\"%s\";q=%u;w=%u", policy, limit->burst, window));
    reply_header(r, "RateLimit", arena_printf(r->arena, "\"%s\";r=%u;t=%lld", policy, left, (long long)t));
}

static int check_rate(struct req *r, struct err *e)
{
    char who[USER_ID_MAX + ID_TEXT_MAX + 2], id[ID_TEXT_MAX];
    struct rate_limit limit = r->caller == CALLER_KEY || r->caller == CALLER_PLATFORM ? limits_per_key() : limits_per_user();
    const char *policy = r->caller == CALLER_USER ? "user" : r->caller == CALLER_NONE ? "address" : "key";
    uint32_t left;
    if (r->route->rate == RATE_PROBE) {
        return 0;
    }
    if (r->caller == CALLER_USER) {
        snprintf(who, sizeof(who), "%s %s", app_id_print(tenant_app(r->tenant), id), r->user.id.s);
    } else if (r->caller == CALLER_KEY) {
        key_id_print(&r->key, who);
    } else {
        snprintf(who, sizeof(who), "%s", r->caller == CALLER_PLATFORM ? "platform" : r->ip);
    }
    bool taken = limits_take(policy, who, &limit, r->route->rate, &r->retry_after_ms, &left);
    add_limit_fields(r, policy, &limit, left, taken);
    if (taken) {
        return 0;
    }
    metric_add(METRIC_RATELIMITED, policy, NULL, 1);
    r->violated[0] = policy;
    return err_set(e, ERR_RATE_LIMITED, "Too many requests; wait as long as Retry-After says.");
}

/* ---- size and content type ---- */

static bool is_type(const char *header, const char *type)
{
    size_t len = strlen(type);
    const char *charset = strcasestr(header, "charset=");
    bool utf8 = charset == NULL || strncasecmp(charset + 8 + (charset[8] == '"'), "utf-8", 5) == 0;
    return utf8 && strncasecmp(header, type, len) == 0 && (header[len] == '\0' || header[len] == ';' || header[len] == ' ');
}

static int check_announced(struct req *r, int64_t length, struct err *e)
{
    const struct operation *op = r->operation;
    const char *type = r->headers.content_type;
    if (!r->has_body) {
        return 0;
    }
    if (length > BODY_MAX) {
        return err_set(e, ERR_PAYLOAD_TOO_LARGE, "The body is larger than %d bytes.", BODY_MAX);
    }
    if (r->headers.content_encoding != NULL && strcasecmp(r->headers.content_encoding, "identity") != 0) {
        return err_set(e, ERR_UNSUPPORTED_MEDIA_TYPE, "Send the body without Content-Encoding.");
    }
    if (op->body == NULL) {
        return err_set(e, ERR_BAD_REQUEST, "This operation takes no body.");
    }
    bool fits = type != NULL && (is_type(type, "application/json") || (op->merge_patch && is_type(type, "application/merge-patch+json")));
    return fits ? 0
                : err_set(e, ERR_UNSUPPORTED_MEDIA_TYPE, "Send Content-Type: application/json%s.",
                          op->merge_patch ? " or application/merge-patch+json" : "");
}

/* ---- schema ---- */

static int refuse_report(struct req *r, struct schema_report *report, struct err *e)
{
    r->report = report;
    return err_set(e, ERR_VALIDATION_FAILED, "%d %s invalid.", report->count, report->count == 1 ? "field is" : "fields are");
}

static int check_params(struct req *r, struct err *e)
{
    struct schema_report report;
    if (spec_check(r->operation->params, r->params, &report) < 0) {
        return err_set(e, ERR_NOT_FOUND, "There is no such resource in this app.");
    }
    return 0;
}

static int check_query(struct req *r, const char *query, struct err *e)
{
    struct schema_report *report = arena_alloc(r->arena, sizeof(*report));
    if (target_query(r->arena, query, &r->query, e) < 0) {
        return -1;
    }
    spec_type_query(r->operation, r->query);
    if (spec_check(r->operation->query, r->query, report) == 0) {
        return 0;
    }
    for (int i = 0; i < report->count && i < SCHEMA_PROBLEMS_MAX; i++) {
        const struct schema_problem *p = &report->problems[i];
        if (strcmp(p->code, "unknown_field") == 0) {
            r->report = report;
            return err_set(e, ERR_UNKNOWN_PARAMETER, "The query parameter %s %s.", p->pointer + 1, p->detail);
        }
    }
    return refuse_report(r, report, e);
}

static int check_body(struct req *r, const char *body, size_t len, struct err *e)
{
    struct schema_report *report = arena_alloc(r->arena, sizeof(*report));
    if (len == 0 || r->operation->body == NULL) {
        return r->operation->body_required ? err_set(e, ERR_MALFORMED_JSON, "This operation needs a JSON body.") : 0;
    }
    r->body = json_read(r->arena, body, len, e);
    if (r->body == NULL) {
        return -1;
    }
    return spec_check(r->operation->body, r->body, report) == 0 ? 0 : refuse_report(r, report, e);
}

/* ---- reply ---- */

static const char *status_class(int status)
{
    static const char *const classes[] = {"1xx", "2xx", "3xx", "4xx", "5xx"};
    return classes[status / 100 - 1];
}

static void verify_reply(struct req *r)
{
    struct err e = {0};
    const struct reply *reply = &r->reply;
    if (r->operation == NULL || spec_check_reply(r->operation, reply->status, reply->type, reply->body, reply->len, &e) == 0) {
        return;
    }
    log_error("reply_mismatch", "%s", e.msg);
    err_set(&e, ERR_INTERNAL, "The reply does not conform to the specification.");
    problem_reply(r, &e);
}

static void complete(struct req *r)
{
    if (check_replies) {
        verify_reply(r);
    }
    reply_header(r, "X-Request-Id", r->request_id);
    reply_header(r, "Cache-Control", r->reply.cache_control != NULL ? r->reply.cache_control : "no-store");
    reply_header(r, "X-Content-Type-Options", "nosniff");
    cors_reply(r);
}

void router_refuse(struct req *r, const struct err *e)
{
    struct reply_header kept[REPLY_HEADERS_MAX];
    int n = 0;
    for (int i = 0; i < r->reply.header_count; i++) {
        const char *name = r->reply.headers[i].name;
        if (strcmp(name, "Allow") == 0 || strncmp(name, "RateLimit", 9) == 0) {
            kept[n++] = r->reply.headers[i];
        }
    }
    problem_reply(r, e);
    for (int i = 0; i < n; i++) {
        reply_header(r, kept[i].name, kept[i].value);
    }
    complete(r);
}

static int head(struct req *r, int64_t length, struct err *e)
{
    const char *query = NULL;
    r->path = "/";
    if (strlen(r->target) > TARGET_MAX) {
        return err_set(e, ERR_URI_TOO_LONG, "The request target is longer than %d bytes.", TARGET_MAX);
    }
    if (target_split(r->arena, r->target, &r->path, &query, e) < 0 || match(r, e) < 0) {
        return -1;
    }
    if (r->reply.status != 0) {
        complete(r); /* OPTIONS */
        return 0;
    }
    if (r->headers.if_match != NULL && (strcmp(r->method, "PUT") == 0 || strcmp(r->method, "POST") == 0)) {
        return err_set(e, ERR_BAD_REQUEST, "If-Match is for PATCH and DELETE; it would be ignored here.");
    }
    if (check_storage(r, e) < 0 || auth_check(r, e) < 0 || check_rate(r, e) < 0 || check_announced(r, length, e) < 0) {
        return -1;
    }
    return check_params(r, e) < 0 ? -1 : check_query(r, query, e);
}

void router_head(struct req *r, int64_t announced_length)
{
    struct err e = {0};
    int64_t start = clock_mono_us();
    take_request_id(r);
    log_context(NULL, r->request_id);
    if (head(r, announced_length, &e) < 0) {
        router_refuse(r, &e);
    }
    r->busy_us += clock_mono_us() - start;
}

void router_body(struct req *r, const char *body, size_t len)
{
    struct err e = {0};
    int64_t start = clock_mono_us();
    log_context(r->tenant != NULL ? tenant_app(r->tenant) : NULL, r->request_id);
    if (len > BODY_MAX) {
        err_set(&e, ERR_PAYLOAD_TOO_LARGE, "The body is larger than %d bytes.", BODY_MAX);
        router_refuse(r, &e);
    } else if (check_body(r, body, len, &e) < 0 || r->route->handler(r, &e) < 0) {
        router_refuse(r, &e);
    } else {
        complete(r);
    }
    r->busy_us += clock_mono_us() - start;
}

void router_done(struct req *r)
{
    const char *route = r->route != NULL ? r->route->operation : "none";
    metric_observe_us(METRIC_HTTP_SECONDS, route, status_class(r->reply.status), r->busy_us);
    log_debug("request", "%s %s %d %lld us", r->method, route, r->reply.status, (long long)r->busy_us);
}
