#include "realtime/runs.h"

/* Moves upto through what touches it, not beyond top. */
static bool absorb(struct runs *r)
{
    int64_t before = r->upto;
    int gone = 0;
    while (gone < r->count && r->beyond[gone].from <= r->upto + 1 && r->upto < r->top) {
        struct run *first = &r->beyond[gone];
        if (first->to > r->top) {
            r->upto = r->top;
            first->from = r->top + 1;
            break;
        }
        r->upto = first->to > r->upto ? first->to : r->upto;
        gone++;
    }
    r->count -= gone;
    if (gone > 0) {
        memmove(r->beyond, r->beyond + gone, (size_t)r->count * sizeof(*r->beyond));
    }
    return r->upto > before;
}

static void make_room(struct runs *r)
{
    if (r->count < r->room) {
        return;
    }
    r->room = r->room == 0 ? 1 : r->room * 2; /* an idle connection keeps one: what it was never asked to acknowledge */
    r->beyond = realloc(r->beyond, (size_t)r->room * sizeof(*r->beyond));
    if (r->beyond == NULL) {
        fputs("out of memory: runs\n", stderr);
        abort();
    }
}

void runs_note(struct runs *r, int64_t seq)
{
    if (seq <= r->upto) {
        return;
    }
    int i = r->count;
    while (i > 0 && r->beyond[i - 1].from > seq) {
        i--;
    }
    struct run *before = i > 0 ? &r->beyond[i - 1] : NULL, *after = i < r->count ? &r->beyond[i] : NULL;
    bool joins_before = before != NULL && before->to + 1 >= seq, joins_after = after != NULL && after->from == seq + 1;
    if (joins_before && joins_after && before->to < seq) {
        before->to = after->to;
        r->count--;
        memmove(after, after + 1, (size_t)(r->count - i) * sizeof(*after));
    } else if (joins_before) {
        before->to = before->to > seq ? before->to : seq;
    } else if (joins_after) {
        after->from = seq;
    } else if (r->count < RUNS_MAX) {
        make_room(r);
        memmove(&r->beyond[i + 1], &r->beyond[i], (size_t)(r->count - i) * sizeof(*r->beyond));
        r->beyond[i] = (struct run){seq, seq};
        r->count++;
    }
}

bool runs_add(struct runs *r, int64_t seq)
{
    if (seq <= r->upto) {
        return false;
    }
    r->top = seq > r->top ? seq : r->top;
    runs_note(r, seq);
    return absorb(r);
}

bool runs_raise(struct runs *r, int64_t seq)
{
    if (seq <= r->upto) {
        return false;
    }
    r->top = seq > r->top ? seq : r->top;
    int gone = 0;
    while (gone < r->count && r->beyond[gone].to <= seq) {
        gone++;
    }
    r->count -= gone;
    if (gone > 0) {
        memmove(r->beyond, r->beyond + gone, (size_t)r->count * sizeof(*r->beyond));
    }
    if (r->count > 0 && r->beyond[0].from <= seq) {
        r->beyond[0].from = seq + 1;
    }
    r->upto = seq;
    absorb(r);
    return true;
}

void runs_free(struct runs *r)
{
    free(r->beyond);
    r->beyond = NULL;
    r->count = r->room = 0;
}
