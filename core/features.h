/* features.h: the one table of what an app can switch on and off. CORE is always on. To add one: a row here. */
#ifndef CORE_FEATURES_H
#define CORE_FEATURES_H

#include <stdint.h>

/* clang-format off */
/*    enum            wire name         on by default  what it is */
#define FEATURES(F) \
    F(CORE,           "core",           1, "Apps, users, direct conversations, messages") \
    F(GROUPS,         "groups",         1, "Groups and their members") \
    F(TYPING,         "typing",         1, "Typing indicators") \
    F(PRESENCE,       "presence",       1, "Who is online") \
    F(RECEIPTS,       "receipts",       1, "Delivered and read watermarks") \
    F(GAMES,          "games",          0, "Game rooms in the /game namespace")
/* clang-format on */

enum feature {
#define F(name, wire, on, doc) FEATURE_##name,
    FEATURES(F)
#undef F
        FEATURE_COUNT
};

const char *feature_name(enum feature f);
int feature_find(const char *name, enum feature *f_r) __attribute__((warn_unused_result)); /* 1 found, 0 not */
uint64_t feature_defaults(void);                                                           /* bit i = feature i */

#endif
