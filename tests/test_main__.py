import subprocess
import sys

from anyteacher import __version__


def test_the_package_is_run_as_the_command():
    command = [sys.executable, "-m", "anyteacher"]
    shown = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"anyteacher {__version__}\n"
    wrong = subprocess.run([*command, "fitt"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "no command 'fitt'. Did you mean fit?" in wrong.stderr
