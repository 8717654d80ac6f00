#include "core/json.h"

#include "core/crypto.h"

#include <assert.h>
#include <pthread.h>

static void seed_once(void)
{
    size_t seed;
    crypto_random(&seed, sizeof(seed));
    json_object_seed(seed | 1); /* 0 would mean: choose one yourself, from the clock */
}

static void release(void *v)
{
    json_decref(v);
}

json_t *json_own(struct arena *a, json_t *v)
{
    if (v == NULL) {
        fputs("a JSON value could not be made: out of memory or invalid UTF-8\n", stderr);
        abort();
    }
    arena_defer(a, release, v);
    return v;
}

/* jansson recurses per level; this scan refuses deep text before it does. */
static bool too_deep(const char *s, size_t len)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_DEPTH_MAX) {
                return true;
            }
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return false;
}

static json_t *load(struct arena *a, const char *text, size_t len, size_t flags, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, seed_once);
    if (len == 0) {
        err_set(e, ERR_MALFORMED_JSON, "There is no JSON: the text is empty.");
        return NULL;
    }
    if (too_deep(text, len)) {
        err_set(e, ERR_MALFORMED_JSON, "The JSON is nested more than %d levels deep.", JSON_DEPTH_MAX);
        return NULL;
    }
    if (memchr(text, '\0', len) != NULL) { /* jansson skips one behind a number */
        err_set(e, ERR_MALFORMED_JSON, "The JSON holds a NUL.");
        return NULL;
    }
    json_error_t why;
    json_t *v = json_loadb(text, len, flags | JSON_DECODE_ANY, &why);
    if (v == NULL) {
        err_set(e, ERR_MALFORMED_JSON, "Line %d, column %d: %.100s.", why.line, why.column, why.text);
        return NULL;
    }
    return json_own(a, v);
}

json_t *json_read(struct arena *a, const char *text, size_t len, struct err *e)
{
    return load(a, text, len, JSON_REJECT_DUPLICATES, e);
}

/* ---- what jansson does not take ---- */

static size_t digits(const char *s, size_t len)
{
    size_t n = 0;
    while (n < len && s[n] >= '0' && s[n] <= '9') {
        n++;
    }
    return n;
}

/* RFC 8259, section 6. */
static bool is_number(const char *s, size_t len)
{
    size_t i = len > 0 && s[0] == '-', whole = digits(s + i, len - i);
    if (whole == 0 || (whole > 1 && s[i] == '0')) {
        return false;
    }
    i += whole;
    if (i < len && s[i] == '.') {
        size_t n = digits(s + i + 1, len - i - 1);
        if (n == 0) {
            return false;
        }
        i += 1 + n;
    }
    if (i < len && (s[i] == 'e' || s[i] == 'E')) {
        i += 1 + (i + 1 < len && (s[i + 1] == '+' || s[i + 1] == '-'));
        size_t n = digits(s + i, len - i);
        if (n == 0) {
            return false;
        }
        i += n;
    }
    return i == len;
}

/* Makes the number at s one that always fits, without moving what is behind it. What is no number stays, to be refused. Returns its length. */
static size_t tame_number(char *s, size_t len)
{
    static const size_t fits = 18; /* digits of an int64_t */
    size_t n = 0;
    while (n < len && memchr("+-.eE0123456789", s[n], 15) != NULL) {
        n++;
    }
    if ((n > fits || memchr(s, 'e', n) != NULL || memchr(s, 'E', n) != NULL) && is_number(s, n)) {
        memset(s, ' ', n);
        memcpy(s, "0.0", 3);
    }
    return n;
}

/* The same for the escape at s. */
static size_t tame_escape(char *s, size_t len)
{
    if (len < 6 || s[1] != 'u') {
        return len < 2 ? len : 2;
    }
    const char hex[5] = {s[2], s[3], s[4], s[5]};
    bool valid = strspn(hex, "0123456789abcdefABCDEF") == 4;
    unsigned long code = strtoul(hex, NULL, 16);
    if (valid && (code == 0 || (code >= 0xd800 && code <= 0xdfff))) {
        memcpy(s + 2, "fffd", 4);
    }
    return 6;
}

static void tame(char *s, size_t len)
{
    bool in_string = false;
    for (size_t i = 0; i < len;) {
        if (in_string && s[i] == '\\') {
            i += tame_escape(s + i, len - i);
        } else if (!in_string && (s[i] == '-' || (s[i] >= '0' && s[i] <= '9'))) {
            i += tame_number(s + i, len - i);
        } else {
            in_string ^= s[i++] == '"';
        }
    }
}

json_t *json_read_loosely(struct arena *a, const char *text, size_t len, struct err *e)
{
    char *copy = arena_dup(a, text, len);
    tame(copy, len);
    return load(a, copy, len, 0, e);
}

char *json_write(struct arena *a, const json_t *v, size_t *len_r)
{
    size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15);
    size_t size = 512;
    char *out = arena_alloc(a, size + 1);
    size_t len = json_dumpb(v, out, size, flags);
    if (len > size) {
        out = arena_alloc(a, len + 1);
        len = json_dumpb(v, out, len, flags);
    }
    assert(len > 0); /* fails only for NULL and for values that contain themselves */
    out[len] = '\0';
    if (len_r != NULL) {
        *len_r = len;
    }
    return out;
}

const char *json_str(const json_t *object, const char *key, const char *otherwise)
{
    const json_t *v = json_object_get(object, key);
    return json_is_string(v) ? json_string_value(v) : otherwise;
}

int64_t json_int(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *v = json_object_get(object, key);
    return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

bool json_bool(const json_t *object, const char *key, bool otherwise)
{
    const json_t *v = json_object_get(object, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

void json_merge_patch(json_t *target, const json_t *patch)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)patch, key, value) {
        json_t *old = json_object_get(target, key);
        if (json_is_null(value)) {
            json_object_del(target, key);
        } else if (!json_is_object(value)) {
            json_object_set(target, key, value);
        } else if (json_is_object(old)) {
            json_merge_patch(old, value);
        } else {
            json_t *fresh = json_object();
            json_merge_patch(fresh, value);
            json_object_set_new(target, key, fresh);
        }
    }
}
