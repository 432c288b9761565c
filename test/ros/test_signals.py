"""How a process notes that it is asked to end."""

import subprocess
import sys

SCRIPT = """
import signal, sys
from facefusion_ros.ros.signals import Ending

ending = Ending()
assert not ending.wait(0.01)
lines = 0

def interrupt(frame, event, argument):
    global lines
    if event == 'line':
        lines += 1
        signal.raise_signal(signal.SIGTERM)
    return interrupt

sys.settrace(interrupt)
signal.raise_signal(signal.SIGINT)
sys.settrace(None)
assert lines > 1
print(ending.wait(40), ending.asked)
ending.close()
signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_may_interrupt_the_handling_of_another_at_any_line():
    done = subprocess.run([sys.executable, '-c', SCRIPT], capture_output=True, text=True, timeout=40)
    assert (done.returncode, done.stdout, done.stderr) == (0, 'True True\n', '')
