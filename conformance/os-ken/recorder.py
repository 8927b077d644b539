"""os-ken's switch tester as an app that is told which tests to run, and writes each result as JSON.

os-ken's own `OfTester` runs every test below a directory and logs a report for people. `Recorder` is
that same tester: how a test runs and what passes is os-ken's code, not ours. Added here: the tests come
as a list, a result is a line of JSON, a test that raises something else than os-ken's four kinds of
failure (which ends `OfTester` for good) is recorded as failed, no test takes forever, and the tester switch,
an Open vSwitch, gets time for its cache to follow its flows, so that it drops no packet that it should report.

One bug of os-ken's is mended here, because with it no switch can pass the tests that write SCTP ports: it
takes the checksum of SCTP packets from the text that Python 3 prints for their bytes.

The settings come in the environment, because os-ken makes its apps without arguments:

    OS_KEN_TESTS    lines `FILE#NUMBER`: a file below os-ken's of13 directory, without `.json`, and
                    which of its tests, from 0
    OS_KEN_SETTLE   seconds between the last flow's barrier reply and the first packet; os-ken's own are 0
    OS_KEN_RESULTS  file that gets one line a test: {"test": .., "says": .., "failure": null or text}
"""

import json
import logging
import os
import pathlib
import time
import traceback

import os_ken.tests.switch
from os_ken.lib import hub
from os_ken.lib.packet import sctp
from os_ken.tests.switch import tester

SUITES = pathlib.Path(os_ken.tests.switch.__file__).parent / "of13"

# Seconds.
TESTER_SETTLES = 0.1
# A test that neither ends nor fails: os-ken waits without limit for a switch that has gone away.
# Meter tests send for 30 seconds, the longest that any test takes.
LONGEST_TEST = 60

# What it iterates over is `str(data)`: of text with a character a byte, that text.
checksum_of_text = sctp.sctp._checksum
sctp.sctp._checksum = lambda packet, data: checksum_of_text(packet, data.decode("latin-1"))


class Recorder(tester.OfTester):
    def _set_logger(self):
        self.last = LastMessage()
        self.logger.propagate = False
        self.logger.setLevel(logging.INFO)
        self.logger.addHandler(self.last)

    # What OfTester's thread runs.
    def _test_sequential_execute(self, _directory):
        wanted = pathlib.Path(os.environ["OS_KEN_TESTS"]).read_text().split()
        files = {}
        with open(os.environ["OS_KEN_RESULTS"], "a", buffering=1) as results:
            for name in wanted:
                file, number = name.split("#")
                if file not in files:
                    files[file] = tester.TestFile(str(SUITES / f"{file}.json"), self.logger)
                test = files[file].tests[int(number)]
                start = time.monotonic()
                failure = self._outcome(test)
                print(
                    json.dumps(
                        {
                            "test": name,
                            "says": test.description,
                            "failure": failure,
                            "seconds": round(time.monotonic() - start, 2),
                        }
                    ),
                    file=results,
                )
        os._exit(0)

    def _test_initialize_flow(self, datapath):
        super()._test_initialize_flow(datapath)
        if datapath is self.tester_sw:
            hub.sleep(TESTER_SETTLES)

    def _one_time_packet_send(self, pkt):
        hub.sleep(float(os.environ["OS_KEN_SETTLE"]))
        super()._one_time_packet_send(pkt)

    def _outcome(self, test):
        """None where the test passed, else why it did not."""
        try:
            with hub.Timeout(LONGEST_TEST):
                if self._test_execute(test, None) == tester.TEST_OK:
                    return None
            return self.last.text
        except hub.Timeout:
            return f"No end within {LONGEST_TEST} s"
        except Exception as error:  # os-ken asserts what it got: an answer of another type, or two of them
            line = traceback.extract_tb(error.__traceback__)[-1].line
            return f"{type(error).__name__}: {str(error) or line}"
        finally:
            self.waiter = None


class LastMessage(logging.Handler):
    """The last thing that the tester logged: of a failure, its text."""

    text = ""

    def emit(self, record):
        self.text = record.getMessage().strip()
