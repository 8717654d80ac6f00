/* routes.h: THE table of REST operations.
 *
 * To add a route: (1) a row here, (2) the operation of that name in openapi/rest.yaml, (3) the handler, (4) a scenario. At start the program compares this
 * table with the specification, both ways, and refuses to run when they differ (api/spec.c).
 *
 * listener  PUBLIC, ADMIN (the operator's) or BOTH
 * auth      P platform-admin key · K API key · U user token · KU either · NONE. On the operator's listener the platform key with the header Parley-App stands
 *           for a key with all scopes of that app.
 * scope     what an API key needs; NONE where no key is taken
 * rate      what the call costs its caller: PROBE nothing, CALL one token, BULK ten
 * feature   must be on for the app (core/features.h) */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include "api/req.h"
#include "core/features.h"
#include "tenants/scopes.h"

/* clang-format off */
#define API_ROUTES(R) \
    /* operationId              method  path                                               listener auth  scope           rate   feature   handler */ \
    R("apps.list",              GET,    "/v1/apps",                                        ADMIN,  P,    NONE,           CALL,  CORE,     api_apps_list) \
    R("apps.create",            POST,   "/v1/apps",                                        ADMIN,  P,    NONE,           CALL,  CORE,     api_apps_create) \
    R("apps.read",              GET,    "/v1/apps/{app_id}",                               ADMIN,  P,    NONE,           CALL,  CORE,     api_apps_read) \
    R("apps.update",            PATCH,  "/v1/apps/{app_id}",                               ADMIN,  P,    NONE,           CALL,  CORE,     api_apps_update) \
    R("apps.delete",            DELETE, "/v1/apps/{app_id}",                               ADMIN,  P,    NONE,           CALL,  CORE,     api_apps_delete) \
    R("app.read",               GET,    "/v1/app",                                         BOTH,   K,    APP_READ,       CALL,  CORE,     api_app_read) \
    R("app.update",             PATCH,  "/v1/app",                                         BOTH,   K,    APP_WRITE,      CALL,  CORE,     api_app_update) \
    R("apiKeys.list",           GET,    "/v1/api-keys",                                    BOTH,   K,    KEYS_READ,      CALL,  CORE,     api_keys_list) \
    R("apiKeys.create",         POST,   "/v1/api-keys",                                    BOTH,   K,    KEYS_WRITE,     CALL,  CORE,     api_keys_create) \
    R("apiKeys.update",         PATCH,  "/v1/api-keys/{key_id}",                           BOTH,   K,    KEYS_WRITE,     CALL,  CORE,     api_keys_update) \
    R("apiKeys.revoke",         DELETE, "/v1/api-keys/{key_id}",                           BOTH,   K,    KEYS_WRITE,     CALL,  CORE,     api_keys_revoke) \
    R("apiKeys.rotate",         POST,   "/v1/api-keys/{key_id}/rotations",                 BOTH,   K,    KEYS_WRITE,     CALL,  CORE,     api_keys_rotate) \
    R("signingKeys.list",       GET,    "/v1/signing-keys",                                BOTH,   K,    KEYS_READ,      CALL,  CORE,     api_signing_keys_list) \
    R("signingKeys.create",     POST,   "/v1/signing-keys",                                BOTH,   K,    KEYS_WRITE,     CALL,  CORE,     api_signing_keys_create) \
    R("signingKeys.get",        GET,    "/v1/signing-keys/{kid}",                          BOTH,   K,    KEYS_READ,      CALL,  CORE,     api_signing_keys_get) \
    R("signingKeys.revoke",     DELETE, "/v1/signing-keys/{kid}",                          BOTH,   K,    KEYS_WRITE,     CALL,  CORE,     api_signing_keys_revoke) \
    R("apps.jwks",              GET,    "/v1/apps/{app_id}/jwks.json",                     BOTH,   NONE, NONE,           CALL,  CORE,     api_apps_jwks) \
    R("tokens.mint",            POST,   "/v1/tokens",                                      BOTH,   K,    TOKENS_WRITE,   CALL,  CORE,     api_tokens_mint) \
    R("tokens.introspect",      POST,   "/v1/tokens/introspect",                           BOTH,   K,    TOKENS_WRITE,   CALL,  CORE,     api_tokens_introspect) \
    R("users.revokeTokens",     POST,   "/v1/users/{user_id}/token-revocations",           BOTH,   K,    TOKENS_WRITE,   CALL,  CORE,     api_users_revoke_tokens) \
    R("tokens.revoke",          POST,   "/v1/token-revocations",                           BOTH,   K,    TOKENS_WRITE,   CALL,  CORE,     api_tokens_revoke) \
    R("users.list",             GET,    "/v1/users",                                       BOTH,   K,    USERS_READ,     CALL,  CORE,     api_users_list) \
    R("users.batch",            POST,   "/v1/users/batch",                                 BOTH,   K,    USERS_WRITE,    BULK,  CORE,     api_users_batch) \
    R("users.read",             GET,    "/v1/users/{user_id}",                             BOTH,   K,    USERS_READ,     CALL,  CORE,     api_users_read) \
    R("users.upsert",           PUT,    "/v1/users/{user_id}",                             BOTH,   K,    USERS_WRITE,    CALL,  CORE,     api_users_upsert) \
    R("users.update",           PATCH,  "/v1/users/{user_id}",                             BOTH,   K,    USERS_WRITE,    CALL,  CORE,     api_users_update) \
    R("users.deactivate",       DELETE, "/v1/users/{user_id}",                             BOTH,   K,    USERS_WRITE,    CALL,  CORE,     api_users_deactivate) \
    R("users.reactivate",       POST,   "/v1/users/{user_id}/reactivations",               BOTH,   K,    USERS_WRITE,    CALL,  CORE,     api_users_reactivate) \
    R("me.read",                GET,    "/v1/me",                                          PUBLIC, U,    NONE,           CALL,  CORE,     api_me_read) \
    R("me.update",              PATCH,  "/v1/me",                                          PUBLIC, U,    NONE,           CALL,  CORE,     api_me_update) \
    R("groups.list",            GET,    "/v1/groups",                                      BOTH,   K,    GROUPS_READ,    CALL,  GROUPS,   api_groups_list) \
    R("groups.create",          POST,   "/v1/groups",                                      BOTH,   KU,   GROUPS_WRITE,   CALL,  GROUPS,   api_groups_create) \
    R("groups.read",            GET,    "/v1/groups/{group_id}",                           BOTH,   KU,   GROUPS_READ,    CALL,  GROUPS,   api_groups_read) \
    R("groups.update",          PATCH,  "/v1/groups/{group_id}",                           BOTH,   KU,   GROUPS_WRITE,   CALL,  GROUPS,   api_groups_update) \
    R("groups.delete",          DELETE, "/v1/groups/{group_id}",                           BOTH,   KU,   GROUPS_WRITE,   CALL,  GROUPS,   api_groups_delete) \
    R("members.list",           GET,    "/v1/groups/{group_id}/members",                   BOTH,   KU,   GROUPS_READ,    CALL,  GROUPS,   api_members_list) \
    R("members.batch",          POST,   "/v1/groups/{group_id}/members/batch",             BOTH,   KU,   GROUPS_WRITE,   BULK,  GROUPS,   api_members_batch) \
    R("members.put",            PUT,    "/v1/groups/{group_id}/members/{user_id}",         BOTH,   KU,   GROUPS_WRITE,   CALL,  GROUPS,   api_members_put) \
    R("members.remove",         DELETE, "/v1/groups/{group_id}/members/{user_id}",         BOTH,   KU,   GROUPS_WRITE,   CALL,  GROUPS,   api_members_remove) \
    R("conversations.direct",   PUT,    "/v1/conversations/direct/{user_a}/{user_b}",      BOTH,   KU,   GROUPS_WRITE,   CALL,  CORE,     api_conversations_direct) \
    R("conversations.list",     GET,    "/v1/conversations",                               BOTH,   KU,   GROUPS_READ,    CALL,  CORE,     api_conversations_list) \
    R("conversations.read",     GET,    "/v1/conversations/{conversation_id}",             BOTH,   KU,   GROUPS_READ,    CALL,  CORE,     api_conversations_read) \
    R("roles.list",             GET,    "/v1/roles",                                       BOTH,   K,    APP_READ,       CALL,  GROUPS,   api_roles_list) \
    R("roles.read",             GET,    "/v1/roles/{name}",                                BOTH,   K,    APP_READ,       CALL,  GROUPS,   api_roles_read) \
    R("roles.put",              PUT,    "/v1/roles/{name}",                                BOTH,   K,    APP_WRITE,      CALL,  GROUPS,   api_roles_put) \
    R("roles.delete",           DELETE, "/v1/roles/{name}",                                BOTH,   K,    APP_WRITE,      CALL,  GROUPS,   api_roles_delete) \
    R("messages.send",          POST,   "/v1/conversations/{conversation_id}/messages",    BOTH,   KU,   MESSAGES_WRITE, CALL,  CORE,     api_messages_send) \
    R("messages.list",          GET,    "/v1/conversations/{conversation_id}/messages",    BOTH,   KU,   MESSAGES_READ,  CALL,  CORE,     api_messages_list) \
    R("service.info",           GET,    "/v1/info",                                        BOTH,   NONE, NONE,           CALL,  CORE,     api_service_info) \
    R("service.openapi",        GET,    "/v1/openapi.json",                                BOTH,   NONE, NONE,           CALL,  CORE,     api_service_openapi) \
    R("service.asyncapi",       GET,    "/v1/asyncapi.json",                               BOTH,   NONE, NONE,           CALL,  CORE,     api_service_asyncapi) \
    R("service.livez",          GET,    "/livez",                                          BOTH,   NONE, NONE,           PROBE, CORE,     api_service_livez) \
    R("service.readyz",         GET,    "/readyz",                                         BOTH,   NONE, NONE,           PROBE, CORE,     api_service_readyz) \
    R("service.startupz",       GET,    "/startupz",                                       ADMIN,  NONE, NONE,           PROBE, CORE,     api_service_startupz) \
    R("service.metrics",        GET,    "/metrics",                                        ADMIN,  NONE, NONE,           PROBE, CORE,     api_service_metrics)
/* clang-format on */

enum route_listener { LISTENER_PUBLIC = 1, LISTENER_ADMIN = 2, LISTENER_BOTH = 3 };
enum route_auth { AUTH_NONE, AUTH_P, AUTH_K, AUTH_U, AUTH_KU };
enum route_rate { RATE_PROBE = 0, RATE_CALL = 1, RATE_BULK = 10 };
enum { SCOPE_NONE = SCOPE_COUNT };

struct route {
    const char *operation;
    const char *method, *path;
    enum route_listener listener;
    enum route_auth auth;
    int scope;
    enum route_rate rate;
    enum feature feature;
    api_handler *handler;
};

#define R(operation, method, path, listener, auth, scope, rate, feature, handler) api_handler handler;
API_ROUTES(R)
#undef R

extern const struct route routes[]; /* ends with a NULL operation */

#endif
