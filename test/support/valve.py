"""Runs a program whose stdout passes only while the valve is open: SIGUSR1 closes and opens it.

The BEAM always reads what its ports write, so it can't be made to stop; this can. stdin is the program's own.
usage: valve.py PROGRAM ARG...
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> None:
    opened = threading.Event()
    opened.set()
    signal.signal(signal.SIGUSR1, lambda *_: opened.clear() if opened.is_set() else opened.set())
    program = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, bufsize=0)
    os.close(0)

    def copy() -> None:
        while opened.wait() and (data := os.read(program.stdout.fileno(), 65536)):
            try:
                while data:
                    data = data[os.write(1, data) :]
            except BrokenPipeError:
                return  # whoever read it has gone, and the program will notice that by its stdin

    copier = threading.Thread(target=copy, daemon=True)
    copier.start()
    status = program.wait()
    opened.set()
    copier.join()
    os._exit(status)


if __name__ == "__main__":
    main()
