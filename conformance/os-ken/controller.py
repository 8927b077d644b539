"""Run an os-ken app as a controller on 127.0.0.1:6653, as the command osken-manager did up to os-ken 3.

    PYTHON controller.py APP        APP is a module, of os-ken or in the environment's apps/ (see venv)

What the app logs goes to standard error.
"""

import logging
import os
import pathlib
import sys

# Native threads, os-ken's default, can't be ended, and the switch tester ends its own.
os.environ["OSKEN_HUB_TYPE"] = "eventlet"
# No name is looked up here.
os.environ["EVENTLET_NO_GREENDNS"] = "yes"

from os_ken.lib import hub  # noqa: E402

hub.patch(thread=False)

from os_ken import cfg, flags  # noqa: E402, F401 (flags registers the switch tester's settings)
from os_ken.base.app_manager import AppManager  # noqa: E402


def run(app, beside=None):
    """Returns when the app's services end, which those of a switch app never do.

    `beside` is a function to run at the same time.
    """
    cfg.CONF(args=["--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", "6653"], project="os_ken")
    if beside:
        hub.spawn(beside)
    AppManager.run_apps([app])


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    sys.path.append(str(pathlib.Path(sys.prefix) / "apps"))
    run(sys.argv[1])
