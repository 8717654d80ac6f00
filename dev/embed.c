/* embed.c: build tool. `embed NAME=FILE …` prints a C file that defines embed_files[] (core/embed.h), in the order given. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t print_bytes(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        exit(1);
    }
    size_t n = 0;
    for (int c; (c = getc(f)) != EOF; n++) {
        printf(n % 32 == 0 ? "\n%d," : "%d,", c > 127 ? c - 256 : c);
    }
    fclose(f);
    return n;
}

int main(int argc, char **argv)
{
    size_t *len = calloc((size_t)argc, sizeof(*len));
    if (len == NULL) {
        return 1;
    }
    puts("#include \"core/embed.h\"\nextern const struct embed embed_files[];");
    for (int i = 1; i < argc; i++) {
        const char *path = strchr(argv[i], '=');
        if (path == NULL) {
            fprintf(stderr, "usage: embed NAME=FILE ...\n");
            return 2;
        }
        printf("static const char data%d[] = {", i);
        len[i] = print_bytes(path + 1);
        puts("0};");
    }
    puts("const struct embed embed_files[] = {");
    for (int i = 1; i < argc; i++) {
        printf("{\"%.*s\", data%d, %zu},\n", (int)strcspn(argv[i], "="), argv[i], i, len[i]);
    }
    puts("{0, 0, 0}};");
    free(len);
    return ferror(stdout) || fflush(stdout) != 0;
}
