#include "storage/keys.h"

#include <assert.h>
#include <stdarg.h>

#define SHARDS 64

static struct rkey __attribute__((format(printf, 1, 2))) make(const char *fmt, ...)
{
    struct rkey k;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(k.s, sizeof(k.s), fmt, ap);
    va_end(ap);
    assert(n > 0 && (size_t)n < sizeof(k.s));
    return k;
}

/* The last byte is random in a group's id and part of the hash in a direct one's. */
static unsigned shard(const struct conv_id *conv)
{
    return conv->b[15] % SHARDS;
}

static struct rkey conversation_key(const struct app_id *app, const struct conv_id *conv, const char *what)
{
    char a[ID_TEXT_MAX], c[ID_TEXT_MAX];
    return make("p1:%s:{s%02u}:%s:%s", app_id_print(app, a), shard(conv), what, conv_id_print(conv, c));
}

static struct rkey user_key(const struct app_id *app, const struct user_id *user, const char *what)
{
    char a[ID_TEXT_MAX];
    return make("p1:%s:{u:%s}:%s", app_id_print(app, a), user->s, what);
}

static struct rkey node_key(const char *what, const char *node)
{
    assert(strlen(node) <= NODE_ID_MAX);
    return make("p1:-:{-}:%s:%s", what, node);
}

struct rkey key_nodes(const struct app_id *app, const struct conv_id *conv)
{
    return conversation_key(app, conv, "nodes");
}

struct rkey key_members(const struct tenant *t, const struct conv_id *conv)
{
    return conversation_key(tenant_app(t), conv, "members");
}

struct rkey key_floor(const struct tenant *t, const struct conv_id *conv)
{
    return conversation_key(tenant_app(t), conv, "floor");
}

struct rkey key_user(const struct app_id *app, const struct user_id *user)
{
    return user_key(app, user, "user");
}

struct rkey key_watchers(const struct app_id *app, const struct user_id *user)
{
    return user_key(app, user, "watchers");
}

struct rkey key_bus(const char *node)
{
    assert(strlen(node) <= NODE_ID_MAX);
    return make("p1:bus:%s", node);
}

struct rkey key_bus_all(void)
{
    return make("p1:bus:all");
}

struct rkey key_incarnation(void)
{
    return make("p1:-:{-}:incarnation");
}

struct rkey key_attached(const char *node)
{
    return node_key("attached", node);
}

struct rkey key_sent(const char *node)
{
    return node_key("sent", node);
}

struct rkey key_index(const char *node)
{
    return node_key("index", node);
}

int key_from_index(const char *text, size_t len, struct rkey *key_r)
{
    struct rkey k;
    if (len >= sizeof(k.s) || memchr(text, '\0', len) != NULL) {
        return -1;
    }
    memcpy(k.s, text, len);
    k.s[len] = '\0';
    /* p1:<app>:{sNN}:nodes:<conversation> */
    char app[ID_TEXT_MAX], conv[ID_TEXT_MAX];
    unsigned n;
    int end = 0;
    struct app_id a;
    struct conv_id c;
    if (sscanf(k.s, "p1:%39[^:]:{s%2u}:nodes:%39[^:]%n", app, &n, conv, &end) != 3 || end != (int)len || app_id_parse(app, &a) != 0 ||
        conv_id_parse(conv, &c) != 0 || shard(&c) != n) {
        return -1;
    }
    *key_r = k;
    return 0;
}
