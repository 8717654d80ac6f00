#include "core/embed.h"

extern const struct embed embed_files[]; /* $(BUILD)/embed_data.c, ends with a NULL name */

const struct embed *embed_each(size_t i)
{
    return embed_files[i].name != NULL ? &embed_files[i] : NULL;
}

const struct embed *embed_find(const char *name)
{
    for (const struct embed *f = embed_files; f->name != NULL; f++) {
        if (strcmp(f->name, name) == 0) {
            return f;
        }
    }
    return NULL;
}
