/* An eventfd as a flag that can be polled. */
#ifndef SMX_SIGNAL_FD_H
#define SMX_SIGNAL_FD_H

/* -1 with errno when there is none to be had. */
int smx_signal_fd_new(void);
void smx_signal_fd_raise(int fd);
void smx_signal_fd_lower(int fd);

#endif
