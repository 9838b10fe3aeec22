/*
 * Owns how descendants are found in /proc, signalled and reaped.
 * Must not know why they have to go, nor anything of gRPC or terms.
 */
#include "descendants.h"

#include "util.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct pid_set {
    pid_t *pids;
    size_t count;
    size_t cap;
};

static bool pid_set_has(const struct pid_set *set, pid_t pid)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->pids[i] == pid)
            return true;
    return false;
}

static void pid_set_add(struct pid_set *set, pid_t pid)
{
    if (set->count == set->cap) {
        set->cap = set->cap ? set->cap * 2 : 64;
        set->pids = smx_realloc(set->pids, set->cap * sizeof(*set->pids));
    }
    set->pids[set->count++] = pid;
}

/* The parent of a running process, -1 when it has ended meanwhile, also as a zombie. */
static pid_t parent_of(const char *pid)
{
    char path[64];
    char stat[512]; /* the state and the parent come within the first 100 bytes */
    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t len = read(fd, stat, sizeof(stat) - 1);
    close(fd);
    if (len <= 0)
        return -1;
    stat[len] = '\0';
    /* The second field is the program's name in parentheses, which may itself hold parentheses and spaces. */
    const char *name_end = strrchr(stat, ')');
    if (!name_end || strlen(name_end) < 4 || name_end[2] == 'Z' || name_end[2] == 'X')
        return -1;
    return (pid_t)strtol(name_end + 3, NULL, 10);
}

/*
 * One walk through /proc. Signals at once, not after the walk: a process that keeps forking and ending its parent
 * would be gone under this pid by then. Returns how many it found that are not yet in the set.
 */
static size_t signal_new(struct pid_set *seen, pid_t self, int signal)
{
    DIR *proc = opendir("/proc");
    if (!proc)
        return 0;
    size_t found = 0;
    for (struct dirent *entry = readdir(proc); entry; entry = readdir(proc)) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        pid_t parent = parent_of(entry->d_name);
        if (parent < 0 || (parent != self && !pid_set_has(seen, parent)) || pid_set_has(seen, pid))
            continue;
        kill(pid, signal);
        /* A stopped worker would see the TERM only when somebody continues it. */
        if (signal != SIGKILL)
            kill(pid, SIGCONT);
        pid_set_add(seen, pid);
        found++;
    }
    closedir(proc);
    return found;
}

void smx_descendants_signal(const struct smx_descendants *descendants, int signal)
{
    struct pid_set seen = {0};
    while (signal_new(&seen, getpid(), signal) > 0)
        ;
    /* Without /proc only the first child and its process group can be reached. */
    if (seen.count == 0 && !descendants->ended && descendants->first > 0) {
        kill(descendants->first, signal);
        kill(-descendants->first, signal);
    }
    free(seen.pids);
}

bool smx_descendants_reap(struct smx_descendants *descendants)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid < 0 && errno == ECHILD)
            return false;
        if (pid <= 0)
            return true;
        if (pid == descendants->first) {
            descendants->ended = true;
            descendants->status = status;
        }
    }
}

static int count_children(pid_t self)
{
    int count = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *entry = proc ? readdir(proc) : NULL; entry; entry = readdir(proc))
        if (isdigit((unsigned char)entry->d_name[0]) && parent_of(entry->d_name) == self)
            count++;
    if (proc)
        closedir(proc);
    return count > 0 ? count : 1;
}

int smx_descendants_kill(struct smx_descendants *descendants, int64_t ms)
{
    int64_t deadline = smx_now_ms() + ms;
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    while (smx_descendants_reap(descendants)) {
        if (smx_now_ms() >= deadline)
            return count_children(getpid());
        smx_descendants_signal(descendants, SIGKILL);
        /* A death wakes it; the time-out is for those that were born between the walk and their parent's death. */
        sigtimedwait(&child, NULL, &(struct timespec){.tv_nsec = 5000000});
    }
    return 0;
}
