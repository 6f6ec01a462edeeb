/* Ctrl-C: the first asks to stop, the second ends the program at once. */
#ifndef TANDEM_INTERRUPT_H
#define TANDEM_INTERRUPT_H

#include <signal.h>

/* Installs the handler; the flag it returns turns 1 on SIGINT or SIGTERM. */
const volatile sig_atomic_t *cli_catch_interrupt(void);

#endif
