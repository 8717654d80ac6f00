#include "api/target.h"

int target_split(struct arena *a, const char *target, const char **path_r, const char **query_r, struct err *e)
{
    if (target[0] != '/') {
        return err_set(e, ERR_BAD_REQUEST, "The request target must be an absolute path.");
    }
    for (const char *p = target; *p != '\0'; p++) {
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f) {
            return err_set(e, ERR_BAD_REQUEST, "The request target holds bytes that must be percent-encoded.");
        }
    }
    size_t len = strcspn(target, "?#");
    *path_r = arena_dup(a, target, len);
    *query_r = target[len] == '?' ? target + len + 1 : NULL;
    return 0;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
        return (c | 0x20) - 'a' + 10;
    }
    return -1;
}

char *target_decode(struct arena *a, const char *text, size_t len, bool query)
{
    char *out = arena_alloc(a, len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '%') {
            int high = i + 2 < len ? hex(text[i + 1]) : -1, low = i + 2 < len ? hex(text[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0)) {
                return NULL;
            }
            out[n++] = (char)(high * 16 + low);
            i += 2;
        } else {
            out[n++] = query && text[i] == '+' ? ' ' : text[i];
        }
    }
    out[n] = '\0';
    json_t *utf8 = json_string(out); /* jansson refuses what is not UTF-8 */
    if (utf8 == NULL) {
        return NULL;
    }
    json_decref(utf8);
    return out;
}

int target_match(struct arena *a, const char *template, const char *path, json_t *params_r)
{
    int count = 0;
    while (*template == '/' && *path == '/') {
        template ++;
        path++;
        size_t want = strcspn(template, "/"), have = strcspn(path, "/");
        if (template[0] == '{') {
            char *value = have > 0 ? target_decode(a, path, have, false) : NULL;
            if (value == NULL) {
                return -1;
            }
            if (params_r != NULL) {
                json_object_set_new(params_r, arena_dup(a, template + 1, want - 2), json_string(value));
            }
            count++;
        } else if (want != have || memcmp(template, path, want) != 0) {
            return -1;
        }
        template += want;
        path += have;
    }
    return *template == '\0' && *path == '\0' ? count : -1;
}

int target_query(struct arena *a, const char *query, json_t **values_r, struct err *e)
{
    json_t *values = json_own(a, json_object());
    for (const char *p = query != NULL ? query : ""; *p != '\0';) {
        size_t len = strcspn(p, "&"), name_len = strcspn(p, "=&");
        char *name = target_decode(a, p, name_len, true);
        char *value = name_len < len ? target_decode(a, p + name_len + 1, len - name_len - 1, true) : "";
        if (name == NULL || value == NULL) {
            return err_set(e, ERR_BAD_REQUEST, "The query holds an escape that is not valid UTF-8.");
        }
        if (json_object_get(values, name) != NULL) {
            return err_set(e, ERR_BAD_REQUEST, "The query parameter %.60s stands twice.", name);
        }
        if (len > 0) {
            json_object_set_new(values, name, json_string(value));
        }
        p += len + (p[len] == '&');
    }
    *values_r = values;
    return 0;
}
