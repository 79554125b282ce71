"""Start the Autobahn|Testsuite on the loopback interface: ``python2.7 fuzzer.py -m fuzzingserver -s spec.json -u 0``.

Runs on CPython 2.7, in the environment that testsuite.py makes.  The suite's own command listens on all interfaces.
"""

import autobahntestsuite.choosereactor  # noqa: F401 (the suite wants to choose the reactor first)
from autobahn.twisted import websocket
from twisted.internet import reactor

websocket.listenWS = lambda factory, _tls=None: reactor.listenTCP(factory.port, factory, interface="127.0.0.1")

from autobahntestsuite import wstest  # noqa: E402 (it takes listenWS by name)

wstest.run()
