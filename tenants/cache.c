#include "tenants/cache.h"

#include "core/clock.h"
#include "core/crypto.h"

#define RETRY_MS 1000 /* while storage is away it is asked again this often, not by every caller */

void cache_key(uint8_t key_r[CACHE_KEY_LEN], const struct app_id *app, const char *first, const char *second)
{
    char text[sizeof(app->b) + 2 * 512];
    memcpy(text, app->b, sizeof(app->b));
    int n =
        snprintf(text + sizeof(app->b), sizeof(text) - sizeof(app->b), "%s\n%s", first != NULL ? first : "", second != NULL ? second : "");
    crypto_sha256(text, sizeof(app->b) + (size_t)n, key_r);
}

void *cache_value_new(size_t size, void (*free_value)(void *))
{
    struct cache_value *v = calloc(1, size);
    if (v == NULL) {
        fputs("out of memory: cache\n", stderr);
        abort();
    }
    atomic_init(&v->refs, 1);
    v->free = free_value;
    return v;
}

static void hold(struct cache_value *v)
{
    atomic_fetch_add(&v->refs, 1);
}

void cache_release(void *value)
{
    struct cache_value *v = value;
    if (v != NULL && atomic_fetch_sub(&v->refs, 1) == 1) {
        v->free(v);
    }
}

static struct cache_slot *set_of(struct cache *c, const uint8_t key[CACHE_KEY_LEN])
{
    uint32_t hash;
    memcpy(&hash, key, sizeof(hash));
    return c->slots + (size_t)(hash % c->sets) * CACHE_WAYS;
}

static struct cache_slot *slot_of(struct cache *c, const uint8_t key[CACHE_KEY_LEN])
{
    struct cache_slot *set = set_of(c, key);
    for (int i = 0; i < CACHE_WAYS; i++) {
        if (set[i].value != NULL && memcmp(set[i].key, key, CACHE_KEY_LEN) == 0) {
            return &set[i];
        }
    }
    return NULL;
}

static struct cache_slot *victim_of(struct cache *c, const uint8_t key[CACHE_KEY_LEN])
{
    struct cache_slot *set = set_of(c, key), *victim = set;
    for (int i = 0; i < CACHE_WAYS && victim->value != NULL; i++) {
        if (set[i].value == NULL || set[i].at_ms < victim->at_ms) {
            victim = &set[i];
        }
    }
    return victim;
}

static struct cache_value *find(struct cache *c, const uint8_t key[CACHE_KEY_LEN], int64_t *at_ms_r, int64_t *asked_ms_r)
{
    struct cache_value *v = NULL;
    pthread_mutex_lock(&c->lock);
    const struct cache_slot *slot = slot_of(c, key);
    if (slot != NULL) {
        v = slot->value;
        *at_ms_r = slot->at_ms;
        *asked_ms_r = slot->asked_ms;
        hold(v);
    }
    pthread_mutex_unlock(&c->lock);
    return v;
}

void *cache_find(struct cache *c, const uint8_t key[CACHE_KEY_LEN], int64_t *at_ms_r)
{
    int64_t asked_ms;
    return find(c, key, at_ms_r, &asked_ms);
}

uint64_t cache_stamp(struct cache *c)
{
    pthread_mutex_lock(&c->lock);
    uint64_t stamp = c->drops;
    pthread_mutex_unlock(&c->lock);
    return stamp;
}

void cache_put(struct cache *c, const uint8_t key[CACHE_KEY_LEN], const struct app_id *app, void *value, int64_t at_ms, uint64_t stamp)
{
    struct cache_value *old = NULL;
    pthread_mutex_lock(&c->lock);
    if (c->drops == stamp) {
        struct cache_slot *slot = slot_of(c, key);
        slot = slot != NULL ? slot : victim_of(c, key);
        old = slot->value;
        memcpy(slot->key, key, CACHE_KEY_LEN);
        slot->app = *app;
        slot->at_ms = slot->asked_ms = at_ms;
        slot->value = value;
        hold(value);
    }
    pthread_mutex_unlock(&c->lock);
    cache_release(old);
}

void cache_drop(struct cache *c, const struct app_id *app, bool (*matches)(const void *value, const void *arg), const void *arg)
{
    static const struct app_id every;
    bool all = app_id_equal(app, &every);
    pthread_mutex_lock(&c->lock);
    c->drops++;
    for (size_t i = 0; i < (size_t)c->sets * CACHE_WAYS; i++) {
        struct cache_slot *slot = &c->slots[i];
        if (slot->value != NULL && (all || app_id_equal(&slot->app, app)) && (matches == NULL || matches(slot->value, arg))) {
            cache_release(slot->value);
            *slot = (struct cache_slot){.value = NULL};
        }
    }
    pthread_mutex_unlock(&c->lock);
}

static void forget(struct cache *c, const uint8_t key[CACHE_KEY_LEN])
{
    pthread_mutex_lock(&c->lock);
    struct cache_slot *slot = slot_of(c, key);
    if (slot != NULL) {
        cache_release(slot->value);
        *slot = (struct cache_slot){.value = NULL};
    }
    pthread_mutex_unlock(&c->lock);
}

static bool is_away(const struct err *e)
{
    return e->code == ERR_STORAGE_UNAVAILABLE || e->code == ERR_UPSTREAM_TIMEOUT || e->code == ERR_BUSY;
}

/* Storage did not answer: a kept value stands in unless it was dropped meanwhile, and is not asked for again for a while. */
static bool postpone(struct cache *c, const uint8_t key[CACHE_KEY_LEN], int64_t now, uint64_t stamp)
{
    pthread_mutex_lock(&c->lock);
    bool stands = c->drops == stamp;
    struct cache_slot *slot = stands ? slot_of(c, key) : NULL;
    if (slot != NULL) {
        slot->asked_ms = now;
    }
    pthread_mutex_unlock(&c->lock);
    return stands;
}

static int load_anew(struct cache *c, const struct cache_want *w, struct cache_value *kept, struct cache_value **value_r,
                     struct err *away_r, struct err *e)
{
    struct cache_value *fresh;
    struct err why = {.code = ERR_OK};
    int64_t now = clock_mono_ms();
    uint64_t stamp = cache_stamp(c);
    int found = w->load(w->ctx, &fresh, &why);
    if (found == 1) {
        cache_put(c, w->key, &w->app, fresh, now, stamp);
        *value_r = fresh;
    } else if (found == 0) {
        forget(c, w->key);
    } else if (kept != NULL && is_away(&why) && postpone(c, w->key, now, stamp)) {
        hold(kept);
        *value_r = kept;
        found = 1;
    } else {
        *e = why;
    }
    *away_r = why;
    return found;
}

int cache_get(struct cache *c, struct arena *a, const struct cache_want *w, struct cache_value **value_r, struct err *away_r, struct err *e)
{
    int64_t at_ms = 0, asked_ms = 0, now = clock_mono_ms();
    struct err away = {.code = ERR_OK};
    struct cache_value *v = find(c, w->key, &at_ms, &asked_ms);
    if (v != NULL && now - at_ms >= w->fresh_ms && now - asked_ms < RETRY_MS) {
        err_set(&away, ERR_STORAGE_UNAVAILABLE, "The database cannot be reached; try again shortly.");
    } else if (v == NULL || now - at_ms >= w->fresh_ms) {
        struct cache_value *kept = v;
        int found = load_anew(c, w, kept, &v, &away, e);
        cache_release(kept);
        if (found != 1) {
            return found;
        }
    }
    arena_defer(a, cache_release, v);
    *value_r = v;
    *away_r = away;
    return 1;
}
