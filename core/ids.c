#include "core/ids.h"

#include "core/clock.h"
#include "core/crypto.h"

static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

/* 128 bits as 26 digits of 5 bits: the first digit holds the top three. */
char *typeid_print(const char *prefix, const uint8_t b[16], char out[ID_TEXT_MAX])
{
    char digits[27];
    unsigned __int128 n = 0;
    for (int i = 0; i < 16; i++) {
        n = n << 8 | b[i];
    }
    for (int i = 25; i >= 0; i--) {
        digits[i] = alphabet[(unsigned)n & 31];
        n >>= 5;
    }
    digits[26] = '\0';
    snprintf(out, ID_TEXT_MAX, "%s%s%s", prefix, prefix[0] != '\0' ? "_" : "", digits);
    return out;
}

int typeid_parse(const char *s, const char *prefix, uint8_t b_r[16])
{
    size_t len = strlen(prefix);
    if (len > 0) {
        if (strncmp(s, prefix, len) != 0 || s[len] != '_') {
            return -1;
        }
        s += len + 1;
    }
    if (strnlen(s, 27) != 26 || s[0] > '7') {
        return -1;
    }
    unsigned __int128 n = 0;
    for (int i = 0; i < 26; i++) {
        const char *digit = strchr(alphabet, s[i]);
        if (digit == NULL) {
            return -1;
        }
        n = n << 5 | (unsigned)(digit - alphabet);
    }
    for (int i = 15; i >= 0; i--) {
        b_r[i] = (uint8_t)n;
        n >>= 8;
    }
    return 0;
}

void uuid_v7(uint8_t b_r[16])
{
    int64_t ms = clock_wall_ms();
    crypto_random(b_r, 16);
    for (int i = 0; i < 6; i++) {
        b_r[i] = (uint8_t)(ms >> (40 - 8 * i));
    }
    b_r[6] = (uint8_t)(0x70 | (b_r[6] & 0x0f));
    b_r[8] = (uint8_t)(0x80 | (b_r[8] & 0x3f));
}

char *uuid_print(const uint8_t b[16], char out[UUID_TEXT_MAX])
{
    static const char hex[] = "0123456789abcdef";
    char *p = out;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *p++ = '-';
        }
        *p++ = hex[b[i] >> 4];
        *p++ = hex[b[i] & 15];
    }
    *p = '\0';
    return out;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int uuid_parse(const char *s, uint8_t b_r[16])
{
    uint8_t b[16];
    if (strnlen(s, UUID_TEXT_MAX) != 36) {
        return -1;
    }
    for (int i = 0; i < 16; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && *s++ != '-') {
            return -1;
        }
        int high = hex_value(s[0]), low = hex_value(s[1]);
        if (high < 0 || low < 0) {
            return -1;
        }
        b[i] = (uint8_t)(high << 4 | low);
        s += 2;
    }
    memcpy(b_r, b, 16);
    return 0;
}

#define I(name, prefix) \
    struct name##_id name##_id_new(void) \
    { \
        struct name##_id id; \
        uuid_v7(id.b); \
        return id; \
    } \
    int name##_id_parse(const char *s, struct name##_id *id_r) \
    { \
        return typeid_parse(s, prefix, id_r->b); \
    } \
    char *name##_id_print(const struct name##_id *id, char out[ID_TEXT_MAX]) \
    { \
        return typeid_print(prefix, id->b, out); \
    } \
    bool name##_id_equal(const struct name##_id *a, const struct name##_id *b) \
    { \
        return memcmp(a->b, b->b, 16) == 0; \
    }
UUID_IDS(I)
#undef I

static bool has_version(const uint8_t b[16], unsigned version)
{
    return b[6] >> 4 == version && b[8] >> 6 == 2;
}

struct conv_id conv_id_new_group(void)
{
    struct conv_id id;
    uuid_v7(id.b);
    return id;
}

struct conv_id conv_id_from_hash(const uint8_t hash[16])
{
    struct conv_id id;
    memcpy(id.b, hash, 16);
    id.b[6] = (uint8_t)(0x80 | (id.b[6] & 0x0f));
    id.b[8] = (uint8_t)(0x80 | (id.b[8] & 0x3f));
    return id;
}

bool conv_id_is_direct(const struct conv_id *id)
{
    return has_version(id->b, 8);
}

int conv_id_parse(const char *s, struct conv_id *id_r)
{
    uint8_t b[16];
    bool direct = strncmp(s, "dir_", 4) == 0;
    if (typeid_parse(s, direct ? "dir" : "grp", b) < 0 || !has_version(b, direct ? 8 : 7)) {
        return -1;
    }
    memcpy(id_r->b, b, 16);
    return 0;
}

char *conv_id_print(const struct conv_id *id, char out[ID_TEXT_MAX])
{
    return typeid_print(conv_id_is_direct(id) ? "dir" : "grp", id->b, out);
}

bool conv_id_equal(const struct conv_id *a, const struct conv_id *b)
{
    return memcmp(a->b, b->b, 16) == 0;
}

/* 1 to max characters, each a letter, a digit or one of `others`. */
static bool well_formed(const char *s, size_t max, const char *others, size_t *len_r)
{
    size_t n = strnlen(s, max + 1);
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && strchr(others, c) == NULL) {
            return false;
        }
    }
    *len_r = n;
    return n >= 1 && n <= max;
}

int user_id_parse(const char *s, struct user_id *id_r)
{
    size_t n;
    if (!well_formed(s, USER_ID_MAX, "@._:-", &n) || strcmp(s, ".") == 0 || strcmp(s, "..") == 0) { /* no URL path keeps these two */
        return -1;
    }
    memset(id_r, 0, sizeof(*id_r));
    memcpy(id_r->s, s, n);
    return 0;
}

bool user_id_equal(const struct user_id *a, const struct user_id *b)
{
    return strcmp(a->s, b->s) == 0;
}

int device_id_parse(const char *s, struct device_id *id_r)
{
    size_t n;
    if (!well_formed(s, DEVICE_ID_MAX, "._-", &n)) {
        return -1;
    }
    memset(id_r, 0, sizeof(*id_r));
    memcpy(id_r->s, s, n);
    return 0;
}
