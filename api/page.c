#include "api/page.h"

#include "api/routes.h"

/* App, operation and every filter, names in order. */
static const char *what_decides(struct req *r)
{
    char app[ID_TEXT_MAX] = "-";
    struct buf text = {0};
    if (r->tenant != NULL) {
        app_id_print(tenant_app(r->tenant), app);
    }
    json_t *filters = json_own(r->arena, json_copy(r->query));
    json_object_del(filters, "cursor");
    json_object_del(filters, "limit");
    char *sorted = json_dumps(filters, JSON_SORT_KEYS | JSON_COMPACT);
    buf_addf(&text, "%s %s %s %s %s", app, r->route->operation, req_is_user(r) ? r->user.id.s : "", r->path, sorted);
    free(sorted);
    const char *kept = arena_strdup(r->arena, text.data);
    buf_free(&text);
    return kept;
}

int page_start(struct req *r, struct page *p, struct err *e)
{
    const char *cursor = json_str(r->query, "cursor", NULL);
    p->limit = (int)json_int(r->query, "limit", PAGE_LIMIT);
    p->query = what_decides(r);
    p->continued = cursor != NULL;
    p->at = (struct cursor){.ms = 0};
    return cursor == NULL ? 0 : cursor_read(r->arena, p->query, cursor, &p->at, e);
}

int page_reply(struct req *r, const struct page *p, json_t *data, bool more, const struct cursor *last)
{
    const char *next = more ? cursor_write(r->arena, p->query, last) : NULL;
    json_t *body =
        json_own(r->arena, json_pack("{s:O, s:b, s:s?, s:n}", "data", data, "has_more", more, "next_cursor", next, "prev_cursor"));
    return reply_json(r, 200, body);
}

int page_reply_all(struct req *r, json_t *data)
{
    return page_reply(r, NULL, data, false, NULL);
}
