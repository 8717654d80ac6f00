/* page.h: lists: {"data": […], "has_more": true, "next_cursor": "…", "prev_cursor": null}. A handler asks storage for limit + 1 rows. */
#ifndef API_PAGE_H
#define API_PAGE_H

#include "api/cursor.h"
#include "api/req.h"

#define PAGE_LIMIT 25

struct page {
    int limit;
    bool continued; /* there is a cursor: `at` is the last row seen */
    struct cursor at;
    const char *query; /* what the cursor belongs to */
};

/* Reads limit and cursor of the query. */
int page_start(struct req *r, struct page *p, struct err *e) __attribute__((warn_unused_result));

/* Replies with data (an array, at most limit items); `last` is the keyset of its last item, used when more. */
int page_reply(struct req *r, const struct page *p, json_t *data, bool more, const struct cursor *last);

/* A complete list. */
int page_reply_all(struct req *r, json_t *data);

#endif
