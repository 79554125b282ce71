"""Tells twistd that there is a ``wsfactory`` command; everything else is imported only when it is used."""

from twisted.application.service import ServiceMaker

wsfactory = ServiceMaker(
    "wsfactory",
    "wsfactory.twisted.service",
    "A WebSocket server: an echo to try, or a protocol of yours.",
    "wsfactory",
)
