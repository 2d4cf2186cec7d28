"""Runs a program at a terminal and types lines, each once a prompt stands there: one JSON object
with the exit code and all that the terminal showed on stdout.

usage: keyfiles_prompt.py PROMPT LINE[,LINE...] PROGRAM ARGUMENT...
"""

import json
import os
import pty
import sys
import termios
import time

# A program that neither asks nor ends is broken.
SHOWN_BYTES_MAX = 1_000_000
# Between the prompt and the terminal's silence.
SILENCE_S_MAX = 20


def wait_for_silence(terminal):
    """Nobody types within the microseconds in which the terminal still shows it."""
    end = time.monotonic() + SILENCE_S_MAX
    while termios.tcgetattr(terminal)[3] & termios.ECHO:
        if time.monotonic() > end:
            sys.exit("the terminal shows what is typed")
        time.sleep(0.005)


def main(prompt, lines, program, *arguments):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(program, [program, *arguments])
    lines = lines.split(",")
    shown, typed = b"", 0
    while len(shown) < SHOWN_BYTES_MAX:
        try:
            read = os.read(terminal, 4096)
        # What Linux says when the last writer is gone.
        except OSError:
            break
        if not read:
            break
        shown += read
        if shown.count(prompt.encode()) > typed and typed < len(lines):
            wait_for_silence(terminal)
            os.write(terminal, lines[typed].encode() + b"\n")
            typed += 1
    _, status = os.waitpid(pid, 0)
    shown = shown.decode(errors="replace")
    return {"code": os.waitstatus_to_exitcode(status), "shown": shown, "typed": typed}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
