/* Owns nothing; knows eventfd only. */
#include "signal_fd.h"

#include "util.h"

#include <sys/eventfd.h>
#include <unistd.h>

int smx_signal_fd_new(void)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void smx_signal_fd_raise(int fd)
{
    uint64_t one = 1;
    if (write(fd, &one, sizeof(one)) < 0)
        return; /* it is raised already: nothing else can happen to an eventfd */
}

void smx_signal_fd_lower(int fd)
{
    uint64_t count;
    if (read(fd, &count, sizeof(count)) < 0)
        return; /* it is lowered already */
}
