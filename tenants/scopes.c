#include "tenants/scopes.h"

static const char *const names[] = {
#define S(name, wire) [SCOPE_##name] = wire,
    SCOPES(S)
#undef S
};

const char *scope_name(enum scope s)
{
    return names[s];
}

uint64_t scopes_all(void)
{
    return (UINT64_C(1) << SCOPE_COUNT) - 1;
}

int scopes_parse(const json_t *list, uint64_t *set_r)
{
    uint64_t set = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        int s = 0;
        while (s < SCOPE_COUNT && (name == NULL || strcmp(names[s], name) != 0)) {
            s++;
        }
        if (s == SCOPE_COUNT) {
            return (int)i + 1;
        }
        set |= UINT64_C(1) << s;
    }
    *set_r = set;
    return 0;
}

json_t *scopes_json(uint64_t set)
{
    json_t *list = json_array();
    for (int s = 0; s < SCOPE_COUNT; s++) {
        if ((set >> s & 1) != 0) {
            json_array_append_new(list, json_string(names[s]));
        }
    }
    return list;
}
