#include "api/problem.h"

#include "api/routes.h"
#include "core/log.h"

/* Registered by the draft of the RateLimit fields. */
#define QUOTA_EXCEEDED "https://iana.org/assignments/http-problem-types#quota-exceeded"

static const char *docs = "";

void problem_start(const char *docs_url)
{
    docs = docs_url;
}

json_t *problem_json(struct arena *a, const struct err *e)
{
    int status = err_http_status(e->code);
    const char *type = status == 429 ? QUOTA_EXCEEDED : arena_printf(a, "%s/errors/%s", docs, err_name(e->code));
    const char *detail = status >= 500 ? "The request could not be served; try again, and quote request_id when it persists." : e->msg;
    return json_own(a, json_pack("{s:s, s:s, s:i, s:s, s:s, s:b}", "type", type, "title", err_title(e->code), "status", status, "detail",
                                 detail, "code", err_name(e->code), "retryable", err_retryable(e->code)));
}

static json_t *one_error(const char *pointer, const char *code, const char *detail)
{
    return json_pack("{s:s, s:s, s:s}", "pointer", pointer, "code", code, "detail", detail);
}

static void add_errors(struct req *r, const struct err *e, json_t *problem)
{
    json_t *errors = json_array();
    for (int i = 0; r->report != NULL && i < r->report->count && i < SCHEMA_PROBLEMS_MAX; i++) {
        const struct schema_problem *p = &r->report->problems[i];
        json_array_append_new(errors, one_error(p->pointer, p->code, p->detail));
    }
    if (json_array_size(errors) == 0 && (e->code == ERR_VALIDATION_FAILED || e->pointer[0] != '\0')) {
        json_array_append_new(errors, one_error(e->pointer, "not_allowed", e->msg));
    }
    if (json_array_size(errors) > 0) {
        json_object_set(problem, "errors", errors);
    }
    json_decref(errors);
}

static void add_violated(struct req *r, json_t *problem)
{
    json_t *list = json_array();
    for (int i = 0; i < 2 && r->violated[i] != NULL; i++) {
        json_array_append_new(list, json_string(r->violated[i]));
    }
    json_object_set_new(problem, "violated-policies", list);
}

static void add_retry_after(struct req *r, int status)
{
    int64_t seconds = status == 429 ? (r->retry_after_ms + 999) / 1000 : 1;
    seconds = seconds < 1 ? 1 : seconds > 3600 ? 3600 : seconds;
    reply_header(r, "Retry-After", arena_printf(r->arena, "%lld", (long long)seconds));
}

void problem_reply(struct req *r, const struct err *e)
{
    int status = err_http_status(e->code);
    json_t *problem = problem_json(r->arena, e);
    json_object_set_new(problem, "instance", json_string(r->path));
    json_object_set_new(problem, "request_id", json_string(r->request_id));
    r->reply.header_count = 0;
    r->reply.cache_control = NULL;
    if (status >= 500) {
        log_warn("request_failed", "%s %s: %s: %s", r->method, r->route != NULL ? r->route->operation : "-", err_name(e->code), e->msg);
    } else {
        add_errors(r, e, problem);
    }
    if (r->extra_name != NULL) {
        json_object_set_new(problem, r->extra_name, json_string(r->extra_value));
    }
    if (status == 429) {
        add_violated(r, problem);
    }
    if (status == 429 || status == 503) {
        add_retry_after(r, status);
    }
    if (status == 401) {
        reply_header(r, "WWW-Authenticate", "Bearer realm=\"parley\"");
    }
    reply_json(r, status, problem);
    r->reply.type = "application/problem+json";
}
