#include "storage/platform.h"

struct platform {
    char unused;
};

const struct platform *platform_get(void)
{
    static const struct platform one;
    return &one;
}
