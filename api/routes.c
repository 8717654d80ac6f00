#include "api/routes.h"

const struct route routes[] = {
#define R(operation, method, path, listener, auth, scope, rate, feature, handler) \
    {operation, #method, path, LISTENER_##listener, AUTH_##auth, SCOPE_##scope, RATE_##rate, FEATURE_##feature, handler},
    API_ROUTES(R)
#undef R
        {.operation = NULL},
};
