/* keys.h: every Redis key and its lifetime. Only this file makes one: p1:<app>:{<tag>}:<what>[:<id>]; the tag is the slot ("sNN", one of 64 conversation
 * shards, or "u:<user>"); "-" stands for the deployment.
 *
 *   what         tag    type   lifetime                       content
 *   nodes        sNN    set    none (its node or the closer)  nodes that host an online member of a conversation
 *   members      sNN    hash   1 day                          group map: user → "perms role joined_seq muted_until_ms"; "#version" = members_seq
 *   floor        sNN    string 5 minutes                      the version below which no group map may be written (a slow reader's)
 *   user         u:     hash   1 day                          user map: name, status, text, last_seen; "n:<node>" → lease end (wall ms) | devices
 *   watchers     u:     hash   1 hour                         node → watch end (wall ms): who wants presence of this user
 *   bus:<node>   –      channel                               frames to a node: p1:bus:<node>
 *   invalidate   –      channel                               p1:bus:all: apps, keys, tokens and users that changed
 *   incarnation  -      string none                           random; another value = Redis lost its memory
 *   attached:<node> -   string 1 day                          counts attaches of a node
 *   sent:<node>  -      hash   1 day                          publisher's frame numbers by receiving node
 *   index:<node> -      set    none (its node or the closer)  the keys of the sets (nodes) that name a node */
#ifndef STORAGE_KEYS_H
#define STORAGE_KEYS_H

#include "core/tenant.h"

struct rkey {
    char s[256];
};
#define NODE_ID_MAX 24

struct rkey key_nodes(const struct app_id *app, const struct conv_id *conv);
struct rkey key_members(const struct tenant *t, const struct conv_id *conv);
struct rkey key_floor(const struct tenant *t, const struct conv_id *conv);
struct rkey key_user(const struct app_id *app, const struct user_id *user);
struct rkey key_watchers(const struct app_id *app, const struct user_id *user);
struct rkey key_bus(const char *node); /* node "": what stands before the node, for scripts that find the nodes themselves */
struct rkey key_bus_all(void);
struct rkey key_incarnation(void);
struct rkey key_attached(const char *node);
struct rkey key_sent(const char *node);
struct rkey key_index(const char *node);
/* A member of an index: 0, or -1 when the text is no key of a set of nodes. */
int key_from_index(const char *text, size_t len, struct rkey *key_r) __attribute__((warn_unused_result));

#endif
