#include "core/features.h"

static const struct {
    const char *name;
    int on;
} features[] = {
#define F(name, wire, on, doc) [FEATURE_##name] = {wire, on},
    FEATURES(F)
#undef F
};

const char *feature_name(enum feature f)
{
    return features[f].name;
}

int feature_find(const char *name, enum feature *f_r)
{
    for (int i = 0; i < FEATURE_COUNT; i++) {
        if (strcmp(features[i].name, name) == 0) {
            *f_r = (enum feature)i;
            return 1;
        }
    }
    return 0;
}

uint64_t feature_defaults(void)
{
    uint64_t set = 0;
    for (int i = 0; i < FEATURE_COUNT; i++) {
        if (features[i].on) {
            set |= UINT64_C(1) << i;
        }
    }
    return set;
}
