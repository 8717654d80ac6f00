#include "api/limits.h"

#include "core/clock.h"
#include "core/crypto.h"

#include <pthread.h>

#define SHARDS 64
#define SLOTS 2048 /* a shard; a power of two */
#define PROBES 8

struct slot {
    uint64_t name; /* 0 = free */
    int64_t used_ms;
    struct rate_bucket bucket;
};
static struct shard {
    pthread_mutex_t lock;
    struct slot slots[SLOTS];
} shards[SHARDS];

static struct {
    struct rate_limit key, user, failed_auth;
    uint8_t salt[16]; /* names cannot be made to collide */
} limits;

void limits_start(const struct config *c)
{
    limits.key = (struct rate_limit){(uint32_t)c->rest_per_key, (uint32_t)c->rest_per_key * 2};
    limits.user = (struct rate_limit){(uint32_t)c->rest_per_user, (uint32_t)c->rest_per_user * 3};
    limits.failed_auth = (struct rate_limit){(uint32_t)c->failed_auth_per_minute, (uint32_t)c->failed_auth_per_minute};
    crypto_random(limits.salt, sizeof(limits.salt));
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&shards[i].lock, NULL);
    }
}

struct rate_limit limits_per_key(void)
{
    return limits.key;
}

struct rate_limit limits_per_user(void)
{
    return limits.user;
}

static uint64_t hash_name(const char *kind, const char *who)
{
    uint8_t text[320], hash[SHA256_LEN];
    uint64_t h;
    memcpy(text, limits.salt, sizeof(limits.salt));
    int len = snprintf((char *)text + sizeof(limits.salt), sizeof(text) - sizeof(limits.salt), "%s %s", kind, who);
    size_t used = sizeof(limits.salt) + (size_t)len;
    crypto_sha256(text, used < sizeof(text) ? used : sizeof(text), hash);
    memcpy(&h, hash, sizeof(h));
    return h | 1;
}

static struct slot *find_slot(struct shard *s, uint64_t name)
{
    struct slot *oldest = NULL;
    for (int i = 0; i < PROBES; i++) {
        struct slot *slot = &s->slots[((name >> 8) + (uint64_t)i) & (SLOTS - 1)];
        if (slot->name == name) {
            return slot;
        }
        if (oldest == NULL || slot->used_ms < oldest->used_ms) {
            oldest = slot;
        }
    }
    *oldest = (struct slot){.name = name};
    return oldest;
}

static bool take(const char *kind, const char *who, const struct rate_limit *limit, uint32_t cost, int64_t now_ms,
                 int64_t *retry_after_ms_r, uint32_t *left_r)
{
    uint64_t name = hash_name(kind, who);
    struct shard *s = &shards[name >> 58 & (SHARDS - 1)];
    pthread_mutex_lock(&s->lock);
    struct slot *slot = find_slot(s, name);
    slot->used_ms = clock_mono_ms();
    bool taken = rate_take(&slot->bucket, limit, cost, now_ms, retry_after_ms_r);
    int64_t left = (int64_t)limit->burst - (slot->bucket.tokens_milli + 999) / 1000;
    pthread_mutex_unlock(&s->lock);
    if (left_r != NULL) {
        *left_r = left > 0 ? (uint32_t)left : 0;
    }
    return taken;
}

bool limits_take(const char *kind, const char *who, const struct rate_limit *limit, uint32_t cost, int64_t *retry_after_ms_r,
                 uint32_t *left_r)
{
    return take(kind, who, limit, cost, clock_mono_ms() + 1, retry_after_ms_r, left_r);
}

bool limits_auth_failed(const char *ip, int64_t *retry_after_ms_r)
{
    /* A clock sixty times slower makes "per second" per minute. */
    int64_t wait = 0;
    bool within = take("failed_auth", ip, &limits.failed_auth, 1, clock_mono_ms() / 60 + 1, &wait, NULL);
    *retry_after_ms_r = wait * 60;
    return within;
}
