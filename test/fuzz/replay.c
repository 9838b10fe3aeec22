/* Runs a fuzz target over files and directories, once each, without libFuzzer: in tests, and to look at a finding. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

static size_t replay_file(const char *path)
{
    struct smx_buffer bytes = {0};
    FILE *file = fopen(path, "rb");
    if (!file)
        return 0;
    for (size_t len = 1; len > 0; bytes.len += len)
        len = fread(smx_buffer_reserve(&bytes, 4096), 1, 4096, file);
    fclose(file);
    uint8_t *exact = malloc(bytes.len + 1); /* so that a read behind the end is seen */
    for (size_t i = 0; exact && i < bytes.len; i++)
        exact[i + 1] = bytes.data[i];
    LLVMFuzzerTestOneInput(exact + 1, bytes.len);
    free(exact);
    smx_buffer_fini(&bytes);
    return 1;
}

static size_t replay(const char *path)
{
    DIR *directory = opendir(path);
    size_t count = 0;
    if (!directory)
        return replay_file(path);
    for (struct dirent *entry; (entry = readdir(directory));) {
        struct smx_buffer inner = {0};
        smx_buffer_printf(&inner, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.')
            count += replay_file((const char *)inner.data);
        smx_buffer_fini(&inner);
    }
    closedir(directory);
    return count;
}

int main(int argc, char **argv)
{
    size_t count = 0;
    for (int i = 1; i < argc; i++)
        count += replay(argv[i]);
    printf("%s: %zu inputs\n", argv[0], count);
    return count > 0 ? 0 : 1;
}
