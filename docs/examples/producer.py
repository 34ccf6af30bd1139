#!/usr/bin/env python3
"""A complete producer of native datagrams, in plain Python 3.

    producer.py GROUP PORT INTERFACE [COUNT [INTERVAL_MS [STREAM]]]
    producer.py 239.3.3.3 7000 127.0.0.1 20 100

Sends COUNT readings (default 10), one every INTERVAL_MS (default 1000), to GROUP:PORT through the interface that
has the address INTERFACE; a heartbeat after each second of silence; and the end of the session, also on Ctrl-C.
The format is described in docs/wire-format.md.
"""

import math
import os
import signal
import socket
import struct
import sys
import time
import zlib

VERSION = 1
DATA, HEARTBEAT, END = 0, 2, 3
HEARTBEAT_SECONDS = 1.0


class Producer:
    def __init__(self, group, port, interface, stream):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        self.target = (group, port)
        self.stream = stream
        self.session = int.from_bytes(os.urandom(4), "big")  # new at every start
        self.sequence = 0
        self.last_sent = time.monotonic()

    def _emit(self, kind, sequence, payload=b""):
        timestamp = time.time_ns() // 1000
        head = struct.pack(
            ">2sBBIIQQ", b"TC", VERSION << 4 | kind, 0, self.stream, self.session, sequence, timestamp
        )
        body = head + payload
        self.socket.sendto(body + struct.pack(">I", zlib.crc32(body)), self.target)
        self.last_sent = time.monotonic()

    def send(self, payload):
        """Sends one reading; its number is the next one."""
        number = self.sequence
        self.sequence += 1  # before sending: Ctrl-C may come in between, and a number must never be used twice
        self._emit(DATA, number, payload)

    def wait_until(self, deadline):
        """Sleeps, with a heartbeat after each second of silence."""
        while True:
            now = time.monotonic()
            heartbeat = self.last_sent + HEARTBEAT_SECONDS
            if now >= heartbeat:
                self._emit(HEARTBEAT, self.sequence)
            elif now >= deadline:
                return
            else:
                time.sleep(min(deadline, heartbeat) - now)

    def finish(self):
        """Says three times, since each may be lost, that no more readings come."""
        for _ in range(3):
            self._emit(END, self.sequence)


def main(arguments):
    if not 3 <= len(arguments) <= 6:
        sys.exit(__doc__.strip())
    group, port, interface = arguments[0], int(arguments[1]), arguments[2]
    count, interval_ms, stream = [int(a) for a in arguments[3:]] + [10, 1000, 7][len(arguments) - 3 :]

    def interrupt(*_):
        raise KeyboardInterrupt

    # Said explicitly: a service manager sends SIGTERM, and a background process may have SIGINT ignored.
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)

    producer = Producer(group, port, interface, stream)
    start = time.monotonic()
    try:
        for n in range(count):
            producer.wait_until(start + n * interval_ms / 1000)
            producer.send(b"temperature=%.2f n=%d" % (21.5 + math.sin(n / 10), n))
    except KeyboardInterrupt:
        pass
    finally:
        producer.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
