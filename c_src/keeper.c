/* Owns the private directory, the pipe and the start of the guardian; knows nothing of gRPC, nor of frames. */
#include "keeper.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

enum { MAX_BASE = 50, PATH_SIZE = 128 }; /* a socket's path has at most 107 bytes */

static bool fail(struct smx_error *why, const char *what)
{
    return smx_error_set(why, SMX_UNAVAILABLE, "worker_down", "%s: %s", what, strerror(errno));
}

/* ---- The private directory ---- */

static const char *path_of(const struct smx_keeper *keeper, const char *name, char path[PATH_SIZE])
{
    snprintf(path, PATH_SIZE, "%s/%s", (const char *)keeper->directory.data, name);
    return path;
}

/* Ours, and closed to all others: whoever could write here could pose as the worker. */
static bool make_private(const char *path, struct smx_error *why)
{
    struct stat about;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return fail(why, path);
    if (lstat(path, &about) < 0)
        return fail(why, path);
    if (!S_ISDIR(about.st_mode) || about.st_uid != geteuid() || (about.st_mode & 077) != 0)
        return smx_error_set(why, SMX_PERMISSION_DENIED, "worker_down",
                             "%s must be a directory of this user with mode 0700: remove it", path);
    return true;
}

/* What fronts that were killed have left: sockets named after their process. */
static void sweep(const char *directory)
{
    DIR *entries = opendir(directory);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        char path[PATH_SIZE + 256];
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        if (pid <= 0 || strcmp(end, ".socket") != 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
            continue;
        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        unlink(path);
    }
    if (entries)
        closedir(entries);
}

static bool find_directory(struct smx_keeper *keeper, struct smx_error *why)
{
    char path[PATH_SIZE];
    const char *base = getenv("XDG_RUNTIME_DIR");
    if (keeper->directory.len > 0)
        return true;
    int len = base && base[0] == '/' && strlen(base) < MAX_BASE
                  ? snprintf(path, sizeof(path), "%s/snakemux_legacy", base)
                  : snprintf(path, sizeof(path), "/tmp/snakemux_legacy-%u", (unsigned)geteuid());
    if (!make_private(path, why))
        return false;
    if (keeper->share) {
        snprintf(path + len, sizeof(path) - (size_t)len, "/%s", keeper->share);
        if (!make_private(path, why))
            return false;
    } else {
        sweep(path);
    }
    smx_buffer_append(&keeper->directory, path, strlen(path) + 1);
    return true;
}

/* ---- The address ---- */

static bool wants_port(char *const *command)
{
    for (; *command; command++)
        if (strstr(*command, "{port}"))
            return true;
    return false;
}

/* A port of the loopback interface that nobody listens on now: the wanted one, if it is free. */
static unsigned free_port(unsigned wanted)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)wanted)};
    socklen_t size = sizeof(address);
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    bool bound =
        bind(fd, (struct sockaddr *)&address, size) == 0 && getsockname(fd, (struct sockaddr *)&address, &size) == 0;
    close(fd);
    return bound ? ntohs(address.sin_port) : wanted ? free_port(0) : 0;
}

static void set_address(struct smx_keeper *keeper, const char *text)
{
    keeper->address.len = 0;
    smx_buffer_append(&keeper->address, text, strlen(text) + 1);
}

/* Where the worker is to listen: where it did before, if it can. */
static void choose_address(struct smx_keeper *keeper)
{
    char text[PATH_SIZE + 8], path[PATH_SIZE], name[32] = "socket";
    unsigned port = 0;
    if (wants_port(keeper->command)) {
        if (keeper->address.len > 0)
            sscanf((const char *)keeper->address.data, "127.0.0.1:%u", &port);
        snprintf(text, sizeof(text), "127.0.0.1:%u", free_port(port));
    } else {
        if (!keeper->share)
            snprintf(name, sizeof(name), "%ld.socket", (long)getpid());
        snprintf(text, sizeof(text), "unix:%s", path_of(keeper, name, path));
        unlink(path);
    }
    set_address(keeper, text);
}

/* The file `address` tells the fronts that join. */
static bool read_address(struct smx_keeper *keeper)
{
    char path[PATH_SIZE], text[PATH_SIZE] = "";
    FILE *in = fopen(path_of(keeper, "address", path), "re");
    bool read = in && fgets(text, sizeof(text), in) && text[0];
    if (in)
        fclose(in);
    if (read)
        set_address(keeper, text);
    return read;
}

static bool write_address(const struct smx_keeper *keeper, struct smx_error *why)
{
    char path[PATH_SIZE];
    FILE *out = fopen(path_of(keeper, "address", path), "we");
    if (!out)
        return fail(why, path);
    bool written = fputs((const char *)keeper->address.data, out) >= 0;
    return (fclose(out) == 0 && written) || fail(why, path);
}

void smx_keeper_target(const struct smx_keeper *keeper, struct smx_buffer *out)
{
    const char *address = (const char *)keeper->address.data;
    smx_buffer_printf(out, "%s%s", strncmp(address, "unix:", 5) == 0 ? "" : "ipv4:", address);
}

/* ---- The guardian ---- */

/* The argument with all its places filled in; the caller's. */
static char *fill(const struct smx_keeper *keeper, const char *argument)
{
    const char *address = (const char *)keeper->address.data, *colon = strrchr(address, ':');
    char max_message[32];
    snprintf(max_message, sizeof(max_message), "%zu", keeper->max_message);
    const struct {
        const char *place;
        const char *value;
    } fillings[] = {{"{address}", address}, {"{port}", colon + 1}, {"{max_message}", max_message}};
    struct smx_buffer text = {0};
    while (*argument) {
        size_t i = 0;
        while (i < 3 && strncmp(argument, fillings[i].place, strlen(fillings[i].place)) != 0)
            i++;
        if (i < 3) {
            smx_buffer_append_span(&text, smx_span_of(fillings[i].value));
            argument += strlen(fillings[i].place);
        } else {
            smx_buffer_append(&text, argument++, 1);
        }
    }
    smx_buffer_append(&text, "", 1);
    return (char *)text.data;
}

/* `in` becomes its stdin; what it prints goes to our stderr. Nothing else of ours reaches it. */
static bool spawn(struct smx_keeper *keeper, int in, struct smx_error *why)
{
    size_t count = 0;
    while (keeper->command[count])
        count++;
    char **argv = smx_alloc((count + 5) * sizeof(*argv));
    size_t size = 0;
    argv[size++] = "snakemux";
    argv[size++] = "exec";
    if (keeper->share)
        argv[size++] = "--orphan";
    argv[size++] = "--";
    for (size_t i = 0; i < count; i++)
        argv[size + i] = fill(keeper, keeper->command[i]);
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t signals;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
    posix_spawnattr_init(&attributes);
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    pid_t child;
    errno = posix_spawn(&child, "/proc/self/exe", &files, &attributes, argv, environ);
    bool spawned = errno == 0 || fail(why, "the guardian can't be started");
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    for (size_t i = 0; i < count; i++)
        free(argv[size + i]);
    free(argv);
    return spawned;
}

static bool start_alone(struct smx_keeper *keeper, struct smx_error *why)
{
    int ends[2];
    choose_address(keeper);
    if (pipe2(ends, O_CLOEXEC) < 0)
        return fail(why, "a pipe");
    keeper->hold = ends[1];
    keeper->held = true;
    bool spawned = spawn(keeper, ends[0], why);
    close(ends[0]);
    return spawned;
}

/* Under the lock. */
static bool join_or_start(struct smx_keeper *keeper, struct smx_error *why)
{
    char path[PATH_SIZE];
    path_of(keeper, "life", path);
    if (mkfifo(path, 0600) < 0 && errno != EEXIST)
        return fail(why, path);
    keeper->hold = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC); /* ENXIO: there is no guardian */
    bool joined = keeper->hold >= 0 && read_address(keeper);
    int in = joined ? -1 : open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (keeper->hold < 0)
        keeper->hold = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    keeper->held = keeper->hold >= 0;
    if (!keeper->held)
        fail(why, path);
    if (keeper->held && !joined) {
        read_address(keeper);
        choose_address(keeper);
        joined = write_address(keeper, why) && spawn(keeper, in, why);
    }
    if (in >= 0)
        close(in);
    return joined;
}

static bool start_shared(struct smx_keeper *keeper, struct smx_error *why)
{
    char path[PATH_SIZE];
    int lock = open(path_of(keeper, "lock", path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0) {
        fail(why, path);
        if (lock >= 0)
            close(lock);
        return false;
    }
    bool good = join_or_start(keeper, why);
    close(lock);
    return good;
}

bool smx_keeper_start(struct smx_keeper *keeper, struct smx_error *why)
{
    smx_keeper_drop(keeper);
    if (!find_directory(keeper, why))
        return false;
    return keeper->share ? start_shared(keeper, why) : start_alone(keeper, why);
}

void smx_keeper_drop(struct smx_keeper *keeper)
{
    if (keeper->held)
        close(keeper->hold);
    keeper->held = false;
}

void smx_keeper_fini(struct smx_keeper *keeper)
{
    smx_keeper_drop(keeper);
    smx_buffer_fini(&keeper->directory);
    smx_buffer_fini(&keeper->address);
}
