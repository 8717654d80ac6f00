/* fixture.h: an arena for each test, or for a group of them. */
#ifndef TESTS_UNIT_FIXTURE_H
#define TESTS_UNIT_FIXTURE_H

#include "core/arena.h"

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new("test");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

#endif
