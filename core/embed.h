/* embed.h: files that are part of the programs: "openapi/rest.yaml", "lua/fan_out.lua" (from storage/lua), "migrations/0001_core.sql". Made at build time by
 * dev/embed.c. */
#ifndef CORE_EMBED_H
#define CORE_EMBED_H

#include <stddef.h>

struct embed {
    const char *name;
    const char *data; /* len bytes and a NUL */
    size_t len;
};

const struct embed *embed_find(const char *name); /* NULL: there is none */
const struct embed *embed_each(size_t i);         /* sorted by name; NULL past the end */

#endif
