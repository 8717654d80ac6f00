#include "tests/unit/unit.h"

#include "core/config.h"

#include <sys/stat.h>
#include <unistd.h>

static char path[] = "/tmp/parley-secret-XXXXXX";

static int clean(void **state)
{
    (void)state;
    clearenv();
    return 0;
}

static void write_secret(const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static void defaults_and_values(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    setenv("PARLEY_API_PORT", "1234", 1);
    setenv("PARLEY_DATA_DIR", "/x", 1);
    assert_int_equal(config_load(&c, 'A', &e), 0);
    assert_int_equal(c.api_port, 1234);
    assert_int_equal(c.admin_port, 8082);
    assert_string_equal(c.redis, "127.0.0.1:6379");
    assert_string_equal(c.master_key, "");
}

static void refusals(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"PARLEY_API_PORT", "0"},
        {"PARLEY_API_PORT", "65536"},
        {"PARLEY_API_PORT", "x"},
        {"PARLEY_API_PORT", ""},
        {"PARLEY_API_PORTS", "1"},
        {"PARLEY_MASTER_KEY", "abc"},
        {"PARLEY_MASTER_KEY_FILE", "/nonexistent"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct config c;
        struct err e = {0};
        clearenv();
        setenv(bad[i][0], bad[i][1], 1);
        assert_int_equal(config_load(&c, 'A', &e), -1);
        assert_non_null(strstr(e.msg, "PARLEY_"));
    }
}

static void secrets_come_from_private_files(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    setenv("PARLEY_MASTER_KEY_FILE", path, 1);
    write_secret("s3cret\n", 0600);
    assert_int_equal(config_load(&c, 'A', &e), 0);
    assert_string_equal(c.master_key, "s3cret");
    write_secret("s3cret\n", 0640);
    assert_int_equal(config_load(&c, 'A', &e), -1);
    assert_non_null(strstr(e.msg, "chmod"));
    assert_null(strstr(e.msg, "s3cret"));
    static const char *const unusable[] = {"", "\n", "\nsecond"};
    for (size_t i = 0; i < COUNT(unusable); i++) {
        write_secret(unusable[i], 0600);
        assert_int_equal(config_load(&c, 'A', &e), -1);
    }
    write_secret("first\nsecond\n", 0400);
    assert_int_equal(config_load(&c, 'A', &e), 0);
    assert_string_equal(c.master_key, "first");
}

static void long_secrets_are_not_cut(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    char text[4098];
    memset(text, 's', sizeof(text));
    setenv("PARLEY_MASTER_KEY_FILE", path, 1);
    text[4096] = '\0';
    write_secret(text, 0600);
    assert_int_equal(config_load(&c, 'A', &e), 0);
    assert_int_equal(strlen(c.master_key), 4096);
    text[4096] = 's';
    text[4097] = '\0';
    write_secret(text, 0600);
    assert_int_equal(config_load(&c, 'A', &e), -1);
}

/* Neither a directory nor a FIFO is a secret, and neither may hold up the start. */
static void only_regular_files_hold_secrets(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    char fifo[] = "/tmp/parley-fifo-XXXXXX";
    int fd = mkstemp(fifo);
    close(fd);
    unlink(fifo);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    const char *const paths[] = {"/tmp", fifo};
    for (size_t i = 0; i < COUNT(paths); i++) {
        setenv("PARLEY_MASTER_KEY_FILE", paths[i], 1);
        assert_int_equal(config_load(&c, 'A', &e), -1);
        assert_non_null(strstr(e.msg, "regular file"));
    }
    unlink(fifo);
}

/* One environment serves all programs of the stack. */
static void what_is_not_ours_is_left_alone(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    static const char *const others[] = {"PARLEY_DATA_DIR", "PARLEY_TEST_X",  "PARLEY_DEV_DEMO",
                                         "PARLEYX",         "PARLEY_WORKERS", "PARLEY_ADMIN_KEY_FILE"};
    for (size_t i = 0; i < COUNT(others); i++) {
        setenv(others[i], "/nonexistent", 1);
    }
    assert_int_equal(config_load(&c, 'M', &e), 0);
    assert_int_equal(config_load(&c, 'R', &e), -1); /* the gateway does read WORKERS */
    assert_non_null(strstr(e.msg, "PARLEY_WORKERS"));
}

static void refusals_say_what_to_do(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"PARLEY_API_PROT", "1", "unknown setting PARLEY_API_PROT; did you mean PARLEY_API_PORT?"},
        {"PARLEY_MASTERKEY_FILE", "/x", "did you mean PARLEY_MASTER_KEY_FILE?"},
        {"PARLEY_COLOUR", "red", "docs/CONFIG.md"},
        {"PARLEY_ADMIN_KEY", "ply_adm_topsecret", "PARLEY_ADMIN_KEY_FILE"}, /* a secret of another program, too */
        {"PARLEY_DATABASE_PASSWORD", "topsecret", "PARLEY_DATABASE_PASSWORD_FILE"},
        {"PARLEY_WORKERS", "0", "from 1 to 64"},
        {"PARLEY_WORKERS", " 4", "whole number"},
        {"PARLEY_WORKERS", "+4", "whole number"},
        {"PARLEY_WORKERS", "4k", "whole number"},
        {"PARLEY_WORKERS", "99999999999999999999", "whole number"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct config c;
        struct err e = {0};
        clearenv();
        setenv(cases[i][0], cases[i][1], 1);
        assert_int_equal(config_load(&c, 'R', &e), -1);
        if (strstr(e.msg, cases[i][2]) == NULL) {
            fail_msg("%s: %s", cases[i][0], e.msg);
        }
        assert_null(strstr(e.msg, "topsecret"));
    }
}

static void the_documentation_names_every_setting(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    config_print_docs(f);
    fclose(f);
#define C(kind, field, variable, otherwise, min, max, programs, doc) assert_non_null(strstr(text, "| `PARLEY_" variable));
    CONFIG(C)
#undef C
    assert_non_null(strstr(text, "| `PARLEY_MASTER_KEY_FILE` |"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults_and_values, clean),
        cmocka_unit_test_setup(refusals, clean),
        cmocka_unit_test_setup(secrets_come_from_private_files, clean),
        cmocka_unit_test_setup(long_secrets_are_not_cut, clean),
        cmocka_unit_test_setup(only_regular_files_hold_secrets, clean),
        cmocka_unit_test_setup(what_is_not_ours_is_left_alone, clean),
        cmocka_unit_test_setup(refusals_say_what_to_do, clean),
        cmocka_unit_test_setup(the_documentation_names_every_setting, clean),
    };
    int fd = mkstemp(path);
    close(fd);
    int failed = cmocka_run_group_tests_name("config", tests, NULL, NULL);
    unlink(path);
    return failed;
}
