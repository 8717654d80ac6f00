#include "api/req.h"

#include "api/spec.h"
#include "core/clock.h"

#include <assert.h>
#include <stdarg.h>

const char *req_param(const struct req *r, const char *name)
{
    const char *value = json_str(r->params, name, NULL);
    assert(value != NULL);
    return value;
}

static int no_such(struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "There is no such resource in this app.");
}

int req_param_conv(const struct req *r, const char *name, struct conv_id *id_r, struct err *e)
{
    return conv_id_parse(req_param(r, name), id_r) == 0 ? 0 : no_such(e);
}

int req_param_user(const struct req *r, const char *name, struct user_id *id_r, struct err *e)
{
    return user_id_parse(req_param(r, name), id_r) == 0 ? 0 : no_such(e);
}

int64_t req_time(const json_t *object, const char *name)
{
    const char *text = json_str(object, name, NULL);
    int64_t ms;
    return text != NULL && clock_parse(text, &ms) == 0 ? ms : 0;
}

static int stale(struct err *e)
{
    return err_set(e, ERR_VERSION_MISMATCH, "The resource is not at the version named by If-Match; read it again.");
}

int req_if_match(const struct req *r, int64_t *version_r, struct err *e)
{
    const char *text = r->headers.if_match;
    if (text == NULL || strcmp(text, "*") == 0) {
        *version_r = 0;
        return 0;
    }
    char *end;
    if (text[0] != '"' || text[1] < '1' || text[1] > '9') {
        return stale(e);
    }
    long long n = strtoll(text + 1, &end, 10);
    if (*end == '.') {
        end += 1 + strspn(end + 1, "0123456789");
    }
    if (strcmp(end, "\"") != 0) {
        return stale(e);
    }
    *version_r = n;
    return 0;
}

int req_check_version(const struct req *r, int64_t version, struct err *e)
{
    int64_t wanted;
    if (req_if_match(r, &wanted, e) < 0) {
        return -1;
    }
    return wanted == 0 || wanted == version ? 0 : stale(e);
}

#define OVERTAKEN_MAX 20
bool req_overtaken(const struct req *r, int attempt, struct err *e)
{
    if (e->code != ERR_VERSION_MISMATCH || r->headers.if_match != NULL) {
        return false;
    }
    if (attempt >= OVERTAKEN_MAX) {
        err_set(e, ERR_BUSY, "Many changes of this resource arrive at once; try again.");
        return false;
    }
    return true;
}

bool req_is_user(const struct req *r)
{
    return r->caller == CALLER_USER;
}

int req_check(struct req *r, const char *writable, const json_t *value, struct err *e)
{
    struct schema_report *report = arena_alloc(r->arena, sizeof(*report));
    if (spec_check_writable(writable, value, report) == 0) {
        return 0;
    }
    r->report = report;
    return err_set(e, ERR_VALIDATION_FAILED, "%d %s invalid.", report->count, report->count == 1 ? "field is" : "fields are");
}

int req_check_size(struct req *r, const json_t *value, size_t max, const char *pointer, struct err *e)
{
    size_t len = 0;
    if (value != NULL) {
        json_write(r->arena, value, &len);
    }
    return len <= max ? 0 : err_at(e, ERR_VALIDATION_FAILED, pointer, "It has %zu bytes as JSON, the limit is %zu.", len, max);
}

/* ---- replies ---- */

int reply_bytes(struct req *r, int status, const char *type, const char *text, size_t len)
{
    r->reply.status = status;
    r->reply.type = type;
    r->reply.body = text;
    r->reply.len = len;
    return 0;
}

int reply_json(struct req *r, int status, const json_t *body)
{
    size_t len;
    const char *text = json_write(r->arena, body, &len);
    return reply_bytes(r, status, "application/json", text, len);
}

int reply_empty(struct req *r, int status)
{
    return reply_bytes(r, status, NULL, "", 0);
}

void reply_header(struct req *r, const char *name, const char *value)
{
    assert(r->reply.header_count < REPLY_HEADERS_MAX);
    r->reply.headers[r->reply.header_count++] = (struct reply_header){name, value};
}

void reply_location(struct req *r, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    reply_header(r, "Location", arena_strdup(r->arena, text));
}

/* RFC 9110 13.1.2: a list of tags, compared weakly, or "*". */
static bool none_match_hits(const char *list, const char *tag)
{
    size_t len = strlen(tag);
    if (strcmp(list, "*") == 0) {
        return true;
    }
    for (const char *at = strstr(list, tag); at != NULL; at = strstr(at + 1, tag)) {
        if (at[len] == '\0' || at[len] == ',' || at[len] == ' ') {
            return true;
        }
    }
    return false;
}

int reply_resource(struct req *r, int status, const json_t *body, int64_t version)
{
    return reply_tagged(r, status, body, arena_printf(r->arena, "\"%lld\"", (long long)version));
}

int reply_tagged(struct req *r, int status, const json_t *body, const char *tag)
{
    bool reads = strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;
    reply_header(r, "ETag", tag);
    if (reads && r->headers.if_none_match != NULL && none_match_hits(r->headers.if_none_match, tag)) {
        return reply_empty(r, 304);
    }
    return reply_json(r, status, body);
}
