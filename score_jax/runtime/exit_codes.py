"""Exit codes of every command: whether the work is done, and whether the same command is worth another try.

code  meaning                                                                a supervisor
0     the work is finished                                                   ends
1     a bug, whose traceback is on stderr                                    ends, or tries a few times
2     what a person must mend; one line says what                            ends
75    the world failed: a network, a service, another process of the job    runs the same command again, after a while
130   Ctrl-C; what is done is saved                                          ends
143   asked to stop by SIGTERM; what is done is saved, the work goes on      runs the same command again, elsewhere
"""

import signal

DONE, BUG, MEND = 0, 1, 2
AGAIN = 75
"""EX_TEMPFAIL of sysexits.h."""
INTERRUPTED, STOPPED = 128 + signal.SIGINT, 128 + signal.SIGTERM
"""As a shell has it of a command that a signal ended."""
