/*
 * Drives the real program ($SNAKEMUX_PROGRAM, else ../../priv/snakemux) with the misbehaving commands of
 * test/support/process ($SNAKEMUX_SUPPORT). Who is still there is asked of /proc alone: every process of a test carries
 * a mark of its own in its environment, whatever it forks, wherever it hides.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { GONE_MS = 2000, WAIT_MS = 10000 };

/* One guardian under test. `owner` is the process that has started it: ourselves, or one that can be killed. */
struct subject {
    pid_t guardian;
    pid_t owner;
    int in;
    int out;
    int err;
    char mark[64];
};

static const char *const stubborn[] = {
    "ignores_term.sh", "leaves_grandchild.sh", "daemonizes.py", "forks_forever.py", "stops_itself.sh",
};
enum { STUBBORN = sizeof(stubborn) / sizeof(stubborn[0]) };

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void pause_ms(int ms)
{
    poll(NULL, 0, ms);
}

static size_t read_file(const char *pid, const char *name, char *bytes, size_t cap)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%.20s/%s", pid, name);
    int fd = open(path, O_RDONLY);
    ssize_t len = fd < 0 ? 0 : read(fd, bytes, cap);
    if (fd >= 0)
        close(fd);
    return len > 0 ? (size_t)len : 0;
}

static bool carries(const char *pid, const char *mark)
{
    char environment[65536];
    size_t len = read_file(pid, "environ", environment, sizeof(environment));
    return memmem(environment, len, mark, strlen(mark)) != NULL; /* a zombie's environment is empty */
}

static pid_t parent_of(const char *pid)
{
    char stat[512] = {0};
    read_file(pid, "stat", stat, sizeof(stat) - 1);
    const char *name_end = strrchr(stat, ')');
    return name_end ? (pid_t)atoi(name_end + 3) : -1;
}

/* Calls `visit` with every process that carries the mark. */
static int visit_marked(const struct subject *subject, void (*visit)(pid_t pid, pid_t parent, void *data), void *data)
{
    int count = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *entry = readdir(proc); entry; entry = readdir(proc)) {
        if (!isdigit((unsigned char)entry->d_name[0]) || !carries(entry->d_name, subject->mark))
            continue;
        count++;
        if (visit)
            visit((pid_t)atoi(entry->d_name), parent_of(entry->d_name), data);
    }
    closedir(proc);
    return count;
}

struct child_search {
    pid_t parent;
    pid_t found;
};

static void match_child(pid_t pid, pid_t parent, void *data)
{
    struct child_search *search = data;
    if (parent == search->parent)
        search->found = pid;
}

/* The inner guardian is the only child of the process that we have started, and it has CMD as a child. */
static pid_t inner_of(const struct subject *subject)
{
    struct child_search search = {.parent = subject->guardian};
    visit_marked(subject, match_child, &search);
    assert_true(search.found > 0);
    return search.found;
}

static _Noreturn void become_guardian(const struct subject *subject, const int pipes[3][2], char **arguments)
{
    dup2(pipes[0][0], 0);
    dup2(pipes[1][1], 1);
    dup2(pipes[2][1], 2);
    setenv("SMX_TEST_MARK", subject->mark, 1);
    signal(SIGPIPE, SIG_IGN); /* as a BEAM does */
    signal(SIGFPE, SIG_IGN);
    const char *program = getenv("SNAKEMUX_PROGRAM");
    execv(program ? program : "../../priv/snakemux", arguments);
    _exit(99);
}

/* Turns "ignores_term.sh" into its path; other words stay. */
static const char *support(const char *name)
{
    static char path[512];
    const char *directory = getenv("SNAKEMUX_SUPPORT");
    snprintf(path, sizeof(path), "%s/%s", directory ? directory : "../support/process", name);
    return access(path, X_OK) == 0 ? path : name;
}

enum { OWN_PROCESS = 1, ONE_OUTPUT = 2, LEAK_STDIN = 4 };

/*
 * OWN_PROCESS: the owner is a process of its own, which can be killed. LEAK_STDIN: somebody else holds the other end
 * of the guardian's stdin as well. ONE_OUTPUT: stdout and stderr are one pipe.
 */
static struct subject start(int flags, const char *command, const char *argument)
{
    static int serial;
    struct subject subject = {0};
    snprintf(subject.mark, sizeof(subject.mark), "smx-test-%d-%d", (int)getpid(), serial++);
    char *arguments[] = {"snakemux", "exec", "--", strdup(support(command)), (char *)argument, NULL};
    int pipes[3][2];
    int pids[2];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pipe2(pipes[i], O_CLOEXEC), 0);
    assert_int_equal(pipe2(pids, O_CLOEXEC), 0);
    if (flags & ONE_OUTPUT) {
        close(pipes[2][1]);
        pipes[2][1] = fcntl(pipes[1][1], F_DUPFD_CLOEXEC, 0);
    }
    subject.owner = flags & OWN_PROCESS ? fork() : getpid();
    if (subject.owner == 0 || !(flags & OWN_PROCESS)) {
        pid_t guardian = fork();
        if (guardian == 0)
            become_guardian(&subject, (const int(*)[2])pipes, arguments);
        assert_int_equal(write(pids[1], &guardian, sizeof(guardian)), sizeof(guardian));
        if (subject.owner == 0)
            for (;;)
                pause();
    }
    assert_int_equal(read(pids[0], &subject.guardian, sizeof(subject.guardian)), sizeof(subject.guardian));
    close(pids[0]);
    close(pids[1]);
    close(pipes[0][0]);
    close(pipes[1][1]);
    close(pipes[2][1]);
    subject.in = pipes[0][1];
    if ((flags & OWN_PROCESS) && !(flags & LEAK_STDIN)) {
        close(subject.in);
        subject.in = -1;
    }
    subject.out = pipes[1][0];
    subject.err = pipes[2][0];
    free(arguments[3]);
    return subject;
}

/* Reads until the bytes end with `end`, or to the end of the file. Returns the length. */
static size_t read_until(int fd, const char *end, char *bytes, size_t cap)
{
    size_t len = 0;
    int64_t deadline = now_ms() + WAIT_MS;
    while (len < cap - 1) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&readable, 1, (int)(deadline - now_ms())), 1);
        ssize_t got = read(fd, bytes + len, end ? 1 : cap - 1 - len);
        assert_true(got >= 0);
        len += (size_t)got;
        bytes[len] = '\0';
        if (got == 0 || (end && len >= strlen(end) && strcmp(bytes + len - strlen(end), end) == 0))
            break;
    }
    return len;
}

static void await_ready(const struct subject *subject)
{
    char bytes[64];
    read_until(subject->out, "ready\n", bytes, sizeof(bytes));
    assert_string_equal(bytes, "ready\n");
}

static void end_input(struct subject *subject)
{
    close(subject->in);
    subject->in = -1;
}

static void say(const struct subject *subject, const char *line)
{
    assert_int_equal(write(subject->in, line, strlen(line)), (int)strlen(line));
}

static void assert_all_gone_within(const struct subject *subject, int ms)
{
    int64_t start = now_ms();
    int left = visit_marked(subject, NULL, NULL);
    while (left > 0 && now_ms() - start < ms) {
        pause_ms(10);
        left = visit_marked(subject, NULL, NULL);
    }
    if (left > 0)
        fail_msg("%d processes are still there after %d ms", left, ms);
}

/* The guardian's exit code; also takes the rest of its output, to its end: nothing may hold it open. */
static int finish(struct subject *subject)
{
    static char rest[1 << 20];
    read_until(subject->out, NULL, rest, sizeof(rest));
    read_until(subject->err, NULL, rest, sizeof(rest));
    int status = 0;
    if (subject->owner == getpid())
        assert_int_equal(waitpid(subject->guardian, &status, 0), subject->guardian);
    else
        waitpid(subject->owner, NULL, 0);
    if (subject->in >= 0)
        close(subject->in);
    close(subject->out);
    close(subject->err);
    assert_int_equal(visit_marked(subject, NULL, NULL), 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void kill_owner(struct subject *subject)
{
    kill(subject->owner, SIGKILL);
}

static void kill_guardian(struct subject *subject)
{
    kill(subject->guardian, SIGKILL);
}

static void kill_inner(struct subject *subject)
{
    kill(inner_of(subject), SIGKILL);
}

enum { ANY_CODE = 1000 };

/* All at once, for each takes the second of its grace. */
static void kill_all_stubborn(int flags, void (*act)(struct subject *), int code)
{
    struct subject subjects[STUBBORN];
    for (int i = 0; i < STUBBORN; i++) {
        subjects[i] = start(flags, stubborn[i], NULL);
        await_ready(&subjects[i]);
    }
    int64_t started = now_ms();
    for (int i = 0; i < STUBBORN; i++)
        act(&subjects[i]);
    for (int i = 0; i < STUBBORN; i++)
        assert_all_gone_within(&subjects[i], (int)(started + GONE_MS - now_ms()));
    for (int i = 0; i < STUBBORN; i++) {
        int got = finish(&subjects[i]);
        if (code != ANY_CODE)
            assert_int_equal(got, code);
    }
}

static void test_the_exit_code_of_the_command_is_passed_on(void **state)
{
    (void)state;
    struct subject subject = start(0, "exits_before_child.sh", NULL);
    assert_int_equal(finish(&subject), 5);
    subject = start(0, "true", NULL);
    assert_int_equal(finish(&subject), 0);
}

static void test_a_signal_becomes_128_and_its_number(void **state)
{
    (void)state;
    struct subject subject = start(0, "stops_itself.sh", NULL);
    await_ready(&subject);
    struct child_search worker = {.parent = inner_of(&subject)};
    visit_marked(&subject, match_child, &worker);
    kill(worker.found, SIGSEGV);
    kill(worker.found, SIGCONT);
    assert_int_equal(finish(&subject), 128 + SIGSEGV);
}

static void test_a_missing_program_is_127_and_an_advice(void **state)
{
    (void)state;
    char bytes[512];
    struct subject subject = start(0, "no-such-program", NULL);
    read_until(subject.err, "\n", bytes, sizeof(bytes));
    assert_non_null(strstr(bytes, "can't run no-such-program: No such file or directory: give its full path"));
    assert_int_equal(finish(&subject), 127);
}

static void test_a_file_that_is_no_program_is_126_and_an_advice(void **state)
{
    (void)state;
    char bytes[512];
    struct subject subject = start(0, "/etc/passwd", NULL);
    read_until(subject.err, "\n", bytes, sizeof(bytes));
    assert_non_null(strstr(bytes, "chmod +x"));
    assert_int_equal(finish(&subject), 126);
}

static void test_stdout_and_stderr_stay_apart(void **state)
{
    (void)state;
    char bytes[64];
    struct subject subject = start(0, "sh", "-c");
    /* sh -c without a command complains on stderr */
    read_until(subject.err, "\n", bytes, sizeof(bytes));
    assert_non_null(strstr(bytes, "-c"));
    assert_int_equal(read_until(subject.out, NULL, bytes, sizeof(bytes)), 0);
    assert_int_not_equal(finish(&subject), 0);
}

static void test_one_pipe_for_both_outputs_gets_both(void **state)
{
    (void)state;
    char bytes[64];
    struct subject subject = start(ONE_OUTPUT, "sh", "-c");
    read_until(subject.out, "\n", bytes, sizeof(bytes));
    assert_non_null(strstr(bytes, "-c"));
    assert_int_not_equal(finish(&subject), 0);
}

static void test_megabytes_come_whole_and_in_order(void **state)
{
    (void)state;
    enum { LINES = 200000 };
    struct subject subject = start(0, "prints_megabytes.py", "200000");
    await_ready(&subject);
    FILE *lines = fdopen(dup(subject.out), "r");
    char line[256];
    int number = 0;
    while (number < LINES && fgets(line, sizeof(line), lines))
        assert_int_equal(atoi(line), number++);
    assert_int_equal(number, LINES);
    assert_null(fgets(line, sizeof(line), lines));
    fclose(lines);
    assert_int_equal(finish(&subject), 0);
}

static void test_the_command_inherits_nothing(void **state)
{
    (void)state;
    char bytes[512];
    int leak = open("/dev/null", O_RDONLY); /* not close-on-exec */
    struct subject subject = start(0, "tells_what_it_inherited.sh", NULL);
    close(leak);
    read_until(subject.out, NULL, bytes, sizeof(bytes));
    assert_string_equal(bytes, "SigBlk: 0000000\nSigIgn: 0000000\nfds 0 1 2\nstdin /dev/null\n"
                               "leads its session\n");
    assert_int_equal(finish(&subject), 0);
}

static void test_the_end_of_stdin_kills_whatever_the_command_does(void **state)
{
    (void)state;
    kill_all_stubborn(0, end_input, ANY_CODE);
}

static void test_the_owner_killed_kills_whatever_the_command_does(void **state)
{
    (void)state;
    kill_all_stubborn(OWN_PROCESS, kill_owner, ANY_CODE);
}

static void test_the_owner_killed_is_noticed_when_somebody_else_holds_stdin(void **state)
{
    (void)state;
    struct subject subject = start(OWN_PROCESS | LEAK_STDIN, "ignores_term.sh", NULL);
    await_ready(&subject);
    kill(subject.owner, SIGKILL);
    assert_all_gone_within(&subject, GONE_MS);
    finish(&subject);
}

static void test_the_guardian_killed_kills_whatever_the_command_does(void **state)
{
    (void)state;
    kill_all_stubborn(0, kill_guardian, -SIGKILL);
}

static void test_the_inner_guardian_killed_kills_whatever_the_command_does(void **state)
{
    (void)state;
    kill_all_stubborn(0, kill_inner, 128 + SIGKILL);
}

static void test_a_stopped_guardian_does_not_save_the_command(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct subject subject = start(OWN_PROCESS, "leaves_grandchild.sh", NULL);
        await_ready(&subject);
        pid_t inner = inner_of(&subject);
        kill(which == 0 ? subject.guardian : inner, SIGSTOP);
        kill(subject.owner, SIGKILL);
        assert_all_gone_within(&subject, GONE_MS);
        finish(&subject);
    }
}

static void test_a_command_that_ends_takes_its_children_with_it(void **state)
{
    (void)state;
    struct subject subject = start(0, "exits_before_child.sh", NULL);
    await_ready(&subject);
    assert_all_gone_within(&subject, GONE_MS);
    assert_int_equal(finish(&subject), 5);
}

static void test_stop_lets_a_polite_command_finish(void **state)
{
    (void)state;
    char bytes[16];
    struct subject subject = start(0, "says_bye.py", NULL);
    await_ready(&subject);
    say(&subject, "stop 9000\n");
    read_until(subject.out, NULL, bytes, sizeof(bytes));
    assert_string_equal(bytes, "bye\n");
    assert_int_equal(finish(&subject), 7);
}

static void test_the_end_of_stdin_lets_a_polite_command_finish_too(void **state)
{
    (void)state;
    char bytes[16];
    struct subject subject = start(0, "says_bye.py", NULL);
    await_ready(&subject);
    end_input(&subject);
    read_until(subject.out, NULL, bytes, sizeof(bytes));
    assert_string_equal(bytes, "bye\n");
    assert_int_equal(finish(&subject), 7);
}

static void test_stop_kills_a_stubborn_command_after_its_time(void **state)
{
    (void)state;
    struct subject subject = start(0, "ignores_term.sh", NULL);
    await_ready(&subject);
    int64_t started = now_ms();
    say(&subject, "stop 300\n");
    assert_int_equal(finish(&subject), 128 + SIGKILL);
    assert_true(now_ms() - started >= 300);
    assert_true(now_ms() - started < GONE_MS);
}

static void test_a_stop_is_shortened_by_the_end_of_stdin(void **state)
{
    (void)state;
    struct subject subject = start(0, "ignores_term.sh", NULL);
    await_ready(&subject);
    say(&subject, "stop 2147483647\n");
    end_input(&subject);
    assert_all_gone_within(&subject, GONE_MS);
    assert_int_equal(finish(&subject), 128 + SIGKILL);
}

static void test_a_term_to_the_guardian_is_a_stop(void **state)
{
    (void)state;
    struct subject subject = start(0, "says_bye.py", NULL);
    await_ready(&subject);
    kill(subject.guardian, SIGTERM);
    assert_int_equal(finish(&subject), 7);
}

static void test_other_lines_on_stdin_change_nothing(void **state)
{
    (void)state;
    char bytes[512];
    struct subject subject = start(0, "says_bye.py", NULL);
    await_ready(&subject);
    const char *const lines[] = {"stop\n", "stop -1\n", "stop 5 6\n", "stopp 5\n", "\xff\xfe\n"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        say(&subject, lines[i]);
        read_until(subject.err, "\n", bytes, sizeof(bytes));
        assert_non_null(strstr(bytes, "stop Milliseconds"));
    }
    for (int i = 0; i < 1000; i++)
        say(&subject, "stop 0 and a line that is longer than any that the guardian would keep in mind");
    say(&subject, "\n");
    read_until(subject.err, "\n", bytes, sizeof(bytes));
    say(&subject, "stop 9000\n");
    assert_int_equal(finish(&subject), 7);
}

static void test_a_command_may_close_its_stdout(void **state)
{
    (void)state;
    struct subject subject = start(0, "closes_stdout.sh", NULL);
    await_ready(&subject);
    struct pollfd out = {.fd = subject.out, .events = POLLIN};
    assert_int_equal(poll(&out, 1, 100), 0); /* the guardian's own stdout tells of its end, and stays open */
    say(&subject, "stop 0\n");
    assert_int_equal(finish(&subject), 128 + SIGTERM);
}

static void test_an_owner_that_reads_nothing_does_not_stop_the_watch(void **state)
{
    (void)state;
    struct subject subject = start(OWN_PROCESS, "prints_megabytes.py", NULL);
    await_ready(&subject);
    kill(subject.owner, SIGKILL);
    assert_all_gone_within(&subject, GONE_MS);
    finish(&subject);
}

static void test_an_owner_that_closes_our_stdout_has_gone(void **state)
{
    (void)state;
    struct subject subject = start(0, "ignores_term.sh", NULL);
    await_ready(&subject);
    close(subject.out);
    subject.out = open("/dev/null", O_RDONLY);
    assert_all_gone_within(&subject, GONE_MS);
    finish(&subject);
}

/* Ticks of the clock (10 ms) that a process has had of the processor. */
static long ticks_of(pid_t pid)
{
    char name[16];
    char stat[512] = {0};
    long user = 0;
    long system = 0;
    snprintf(name, sizeof(name), "%d", (int)pid);
    read_file(name, "stat", stat, sizeof(stat) - 1);
    const char *name_end = strrchr(stat, ')');
    assert_non_null(name_end);
    assert_int_equal(sscanf(name_end, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system), 2);
    return user + system;
}

static void test_an_idle_guardian_costs_nothing(void **state)
{
    (void)state;
    struct subject subject = start(0, "closes_stdout.sh", NULL);
    await_ready(&subject);
    pid_t inner = inner_of(&subject);
    long before = ticks_of(subject.guardian) + ticks_of(inner);
    pause_ms(500);
    assert_in_range(ticks_of(subject.guardian) + ticks_of(inner) - before, 0, 1);
    say(&subject, "stop 0\n");
    finish(&subject);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_exit_code_of_the_command_is_passed_on),
        cmocka_unit_test(test_a_signal_becomes_128_and_its_number),
        cmocka_unit_test(test_a_missing_program_is_127_and_an_advice),
        cmocka_unit_test(test_a_file_that_is_no_program_is_126_and_an_advice),
        cmocka_unit_test(test_stdout_and_stderr_stay_apart),
        cmocka_unit_test(test_one_pipe_for_both_outputs_gets_both),
        cmocka_unit_test(test_megabytes_come_whole_and_in_order),
        cmocka_unit_test(test_the_command_inherits_nothing),
        cmocka_unit_test(test_the_end_of_stdin_kills_whatever_the_command_does),
        cmocka_unit_test(test_the_owner_killed_kills_whatever_the_command_does),
        cmocka_unit_test(test_the_owner_killed_is_noticed_when_somebody_else_holds_stdin),
        cmocka_unit_test(test_the_guardian_killed_kills_whatever_the_command_does),
        cmocka_unit_test(test_the_inner_guardian_killed_kills_whatever_the_command_does),
        cmocka_unit_test(test_a_stopped_guardian_does_not_save_the_command),
        cmocka_unit_test(test_a_command_that_ends_takes_its_children_with_it),
        cmocka_unit_test(test_stop_lets_a_polite_command_finish),
        cmocka_unit_test(test_the_end_of_stdin_lets_a_polite_command_finish_too),
        cmocka_unit_test(test_stop_kills_a_stubborn_command_after_its_time),
        cmocka_unit_test(test_a_stop_is_shortened_by_the_end_of_stdin),
        cmocka_unit_test(test_a_term_to_the_guardian_is_a_stop),
        cmocka_unit_test(test_other_lines_on_stdin_change_nothing),
        cmocka_unit_test(test_a_command_may_close_its_stdout),
        cmocka_unit_test(test_an_owner_that_reads_nothing_does_not_stop_the_watch),
        cmocka_unit_test(test_an_owner_that_closes_our_stdout_has_gone),
        cmocka_unit_test(test_an_idle_guardian_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
