#include "api/cors.h"

#include "api/routes.h"

static const char *origins = "";

void cors_start(const char *list)
{
    origins = list;
}

static bool listed(const char *origin)
{
    size_t len = strlen(origin);
    for (const char *p = origins; *p != '\0';) {
        p += strspn(p, ", ");
        size_t n = strcspn(p, ", ");
        if ((n == 1 && p[0] == '*') || (n == len && strncasecmp(p, origin, len) == 0)) {
            return true;
        }
        p += n;
    }
    return false;
}

static bool admitted(const struct req *r)
{
    const char *origin = r->headers.origin;
    if (origin == NULL || r->route == NULL || r->admin || (r->route->auth != AUTH_U && r->route->auth != AUTH_KU)) {
        return false;
    }
    return listed(origin) && (r->tenant == NULL || tenant_origin_allowed(r->tenant, origin));
}

void cors_preflight(struct req *r, const char *allow)
{
    reply_empty(r, 204);
    reply_header(r, "Allow", allow);
    if (r->headers.cors_method != NULL && admitted(r)) {
        reply_header(r, "Access-Control-Allow-Methods", allow);
        reply_header(r, "Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match, If-None-Match, X-Request-Id");
        reply_header(r, "Access-Control-Max-Age", "600");
    }
}

void cors_reply(struct req *r)
{
    if (r->headers.origin == NULL || r->route == NULL) {
        return;
    }
    reply_header(r, "Vary", "Origin");
    if (admitted(r)) {
        reply_header(r, "Access-Control-Allow-Origin", arena_strdup(r->arena, r->headers.origin));
        reply_header(r, "Access-Control-Expose-Headers", "ETag, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id");
    }
}
