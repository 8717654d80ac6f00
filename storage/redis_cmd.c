/* redis_cmd.c: building commands and reading replies; no I/O. */
#include "core/embed.h"
#include "core/log.h"
#include "storage/redis-private.h"

#include <assert.h>
#include <openssl/sha.h>
#include <pthread.h>

#define SHA1_HEX (2 * SHA_DIGEST_LENGTH)

static struct {
    const char *file, *text;
    size_t len;
    char sha[SHA1_HEX + 1];
} scripts[] = {
#define S(name, path) [SCRIPT_##name] = {.file = path},
    REDIS_SCRIPTS(S)
#undef S
};
static pthread_once_t scripts_once = PTHREAD_ONCE_INIT;

static void load_scripts(void)
{
    for (size_t i = 0; i < SCRIPT_COUNT; i++) {
        const struct embed *f = embed_find(scripts[i].file);
        assert(f != NULL);
        scripts[i].text = f->data;
        scripts[i].len = f->len;
        unsigned char digest[SHA_DIGEST_LENGTH];
        SHA1((const unsigned char *)f->data, f->len, digest);
        for (size_t k = 0; k < SHA_DIGEST_LENGTH; k++) {
            snprintf(scripts[i].sha + 2 * k, 3, "%02x", digest[k]);
        }
    }
}

const char *redis_script_text(enum redis_script s)
{
    pthread_once(&scripts_once, load_scripts);
    return scripts[s].text;
}

void redis_arg(struct redis_cmd *c, const void *p, size_t len)
{
    if (c->argc == c->room) {
        int room = c->room * 2;
        const char **argv = arena_array(c->arena, (size_t)room, sizeof(*argv));
        size_t *lens = arena_array(c->arena, (size_t)room, sizeof(*lens));
        memcpy(argv, c->argv, (size_t)c->argc * sizeof(*argv));
        memcpy(lens, c->lens, (size_t)c->argc * sizeof(*lens));
        c->argv = argv;
        c->lens = lens;
        c->room = room;
    }
    c->argv[c->argc] = p != NULL ? p : "";
    c->lens[c->argc++] = p != NULL ? len : 0;
}

void redis_text(struct redis_cmd *c, const char *s)
{
    redis_arg(c, s, strlen(s));
}

void redis_number(struct redis_cmd *c, int64_t n)
{
    redis_text(c, arena_printf(c->arena, "%lld", (long long)n));
}

void redis_key(struct redis_cmd *c, struct rkey key)
{
    redis_text(c, arena_strdup(c->arena, key.s));
}

struct redis_cmd *redis_cmd(struct arena *a, const char *name)
{
    struct redis_cmd *c = arena_alloc(a, sizeof(*c));
    c->arena = a;
    c->script = -1;
    c->room = 8;
    c->argv = arena_array(a, (size_t)c->room, sizeof(*c->argv));
    c->lens = arena_array(a, (size_t)c->room, sizeof(*c->lens));
    redis_text(c, name);
    return c;
}

struct redis_cmd *redis_cmd_script(struct arena *a, enum redis_script s, int keys)
{
    pthread_once(&scripts_once, load_scripts);
    struct redis_cmd *c = redis_cmd(a, "EVALSHA");
    c->script = (int)s;
    redis_arg(c, scripts[s].sha, SHA1_HEX);
    redis_number(c, keys);
    return c;
}

bool text_number(const char *s, size_t len, int64_t *n_r)
{
    bool negative = len > 0 && s[0] == '-';
    size_t i = negative ? 1 : 0;
    int64_t n = 0;
    if (i == len || len - i > 18) {
        return false;
    }
    for (; i < len; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return false;
        }
        n = n * 10 + (s[i] - '0');
    }
    *n_r = negative ? -n : n;
    return true;
}

const redisReply *reply_at(const redisReply *r, size_t i)
{
    return r != NULL && r->type == REDIS_REPLY_ARRAY && i < r->elements ? r->element[i] : NULL;
}

const char *reply_text(const redisReply *r)
{
    return r != NULL && (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS) && strlen(r->str) == r->len ? r->str : NULL;
}

int64_t reply_number(const redisReply *r, int64_t otherwise)
{
    if (r != NULL && r->type == REDIS_REPLY_INTEGER) {
        return r->integer;
    }
    const char *s = reply_text(r);
    int64_t n;
    return s != NULL && text_number(s, r->len, &n) ? n : otherwise;
}

/* The type of an array's length differs between the hiredis of Debian 12 and 13. */
#if HIREDIS_MAJOR >= 1
typedef size_t array_len;
#else
typedef int array_len;
#endif

/* hiredis's own, kept when the first reader is bounded; all readers have the same. */
static redisReplyObjectFunctions bounded;
static void *(*create_array)(const redisReadTask *task, array_len elements);
static pthread_once_t bounded_once = PTHREAD_ONCE_INIT;

static void *create_bounded_array(const redisReadTask *task, array_len elements)
{
    int *count = task->privdata;
    if (task->parent == NULL) {
        *count = 0;
    }
    if (elements > (array_len)(REPLY_ELEMENTS_MAX - *count)) {
        return NULL;
    }
    *count += (int)elements;
    return create_array(task, elements);
}

static void make_bounded(void)
{
    redisReader *r = redisReaderCreate();
    assert(r != NULL);
    bounded = *r->fn;
    redisReaderFree(r);
    create_array = bounded.createArray;
    bounded.createArray = create_bounded_array;
}

void redis_bound_reader(redisReader *r, int *count)
{
    pthread_once(&bounded_once, make_bounded);
    r->fn = &bounded;
    r->privdata = count;
}

int redis_bad_reply(const redisReply *r, struct err *e)
{
    if (r != NULL && r->type == REDIS_REPLY_ERROR) {
        log_warn("redis_error", "Redis answered: %.120s", r->str);
    } else {
        log_warn("redis_error", "Redis answered with a reply of type %d, which is not expected", r != NULL ? r->type : 0);
    }
    return err_set(e, ERR_STORAGE_UNAVAILABLE, "The cache did not answer as expected; try again.");
}

int redis_address_parse(const char *text, struct redis_address *r)
{
    struct redis_address out = {.port = 0};
    size_t len = text != NULL ? strlen(text) : 0;
    if (len == 0 || len >= sizeof(out.host)) {
        return -1;
    }
    if (strchr(text, '/') != NULL) {
        memcpy(out.host, text, len + 1);
        *r = out;
        return 0;
    }
    const char *colon = strrchr(text, ':');
    int64_t port;
    if (colon == NULL || colon == text || !text_number(colon + 1, strlen(colon + 1), &port) || port < 1 || port > 65535) {
        return -1;
    }
    bool brackets = text[0] == '[' && colon[-1] == ']';
    snprintf(out.host, sizeof(out.host), "%.*s", (int)(colon - text) - (brackets ? 2 : 0), text + (brackets ? 1 : 0));
    out.port = (int)port;
    *r = out;
    return 0;
}
