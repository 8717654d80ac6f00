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
    write_secret("", 0600);
    assert_int_equal(config_load(&c, 'A', &e), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults_and_values, clean),
        cmocka_unit_test_setup(refusals, clean),
        cmocka_unit_test_setup(secrets_come_from_private_files, clean),
    };
    int fd = mkstemp(path);
    close(fd);
    int failed = cmocka_run_group_tests_name("config", tests, NULL, NULL);
    unlink(path);
    return failed;
}
