/* ids.h: one C type per kind of id, so that a group id where an app id belongs does not compile.
 *
 * Server-made ids are TypeIDs 0.3 (prefix, "_", 26 characters of lowercase Crockford base32 of 128 bits). App, key, group and job ids are
 * UUIDv7 (RFC 9562). Message and direct-conversation ids are keyed hashes: a direct conversation carries UUID version 8, so that the kind of
 * a conversation can be read off its 16 bytes ("grp_" or "dir_") wherever it is stored. User ids belong to the tenant. */
#ifndef CORE_IDS_H
#define CORE_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ID_TEXT_MAX 40 /* longest prefix, "_", 26 characters, NUL, with room */
#define USER_ID_MAX 128
#define DEVICE_ID_MAX 64
#define CLIENT_MSG_ID_MAX 64

/* clang-format off */
/*     C type   prefix */
#define UUID_IDS(I) \
    I(app, "app") \
    I(key, "key") \
    I(msg, "msg") \
    I(req, "req")
/* clang-format on */

/* For each row: struct app_id, app_id_new(), app_id_parse(), app_id_print(), app_id_equal(). */
#define I(name, prefix) \
    struct name##_id { \
        uint8_t b[16]; \
    }; \
    struct name##_id name##_id_new(void);                                                           /* a fresh UUIDv7 */ \
    int name##_id_parse(const char *s, struct name##_id *id_r) __attribute__((warn_unused_result)); /* 0, or -1: not of this form */ \
    char *name##_id_print(const struct name##_id *id, char out[ID_TEXT_MAX]);                       /* returns out */ \
    bool name##_id_equal(const struct name##_id *a, const struct name##_id *b);
UUID_IDS(I)
#undef I

/* A conversation: a group (UUIDv7, "grp_") or a direct one (UUIDv8 made of a keyed hash, "dir_"). */
struct conv_id {
    uint8_t b[16];
};
struct conv_id conv_id_new_group(void);
struct conv_id conv_id_from_hash(const uint8_t hash[16]); /* sets version 8 and the variant */
bool conv_id_is_direct(const struct conv_id *id);
int conv_id_parse(const char *s, struct conv_id *id_r) __attribute__((warn_unused_result)); /* -1 also when prefix and version disagree */
char *conv_id_print(const struct conv_id *id, char out[ID_TEXT_MAX]);
bool conv_id_equal(const struct conv_id *a, const struct conv_id *b);

/* The tenant's own id of a user: 1–128 of [A-Za-z0-9@._:-]. */
struct user_id {
    char s[USER_ID_MAX + 1];
};
int user_id_parse(const char *s, struct user_id *id_r) __attribute__((warn_unused_result));
bool user_id_equal(const struct user_id *a, const struct user_id *b);

/* The client's own id of a device: 1–64 of [A-Za-z0-9._-]. */
struct device_id {
    char s[DEVICE_ID_MAX + 1];
};
int device_id_parse(const char *s, struct device_id *id_r) __attribute__((warn_unused_result));

/* The general form behind the typed functions. `prefix` may be empty. typeid_parse: 0, or -1 when s is not exactly prefix, "_", 26 characters
 * of the alphabet with a first character <= '7'. */
int typeid_parse(const char *s, const char *prefix, uint8_t b_r[16]) __attribute__((warn_unused_result));
char *typeid_print(const char *prefix, const uint8_t b[16], char out[ID_TEXT_MAX]);

/* UUID in its 8-4-4-4-12 text form, as Postgres prints it. */
#define UUID_TEXT_MAX 37
char *uuid_print(const uint8_t b[16], char out[UUID_TEXT_MAX]);
int uuid_parse(const char *s, uint8_t b_r[16]) __attribute__((warn_unused_result));
void uuid_v7(uint8_t b_r[16]);

#endif
