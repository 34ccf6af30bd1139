#!/usr/bin/env python3
"""A complete subscriber of a relay's stream over UDP, in plain Python 3.

    subscriber.py ADDRESS PORT NAME [COUNT [TOKEN]]
    subscriber.py 127.0.0.1 4023 main 20

Asks the relay for the stream, renews, asks again after a restart of the relay, and writes each datagram as a line of
hexadecimal digits; ends after COUNT of them (default: never) or at Ctrl-C, and says so to the relay.
The exchange is described in docs/udp-subscribe.md.
"""

import hashlib
import hmac
import os
import signal
import socket
import struct
import sys
import time

MAGIC = b"tidesub1"
ASK, SUBSCRIBE, LEAVE = 1, 2, 3
COOKIE, GRANTED, REFUSED, ENDED = 129, 130, 131, 132
REASONS = {1: "there is no such stream", 2: "another token is expected", 3: "there are too many subscribers"}
ANSWER_BYTES, REQUEST_BYTES_MIN = 40, 64


class Subscriber:
    def __init__(self, relay, name, token):
        family = socket.AF_INET6 if ":" in relay[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.connect(relay)  # only the relay's datagrams come in
        self.name = name.encode()
        self.key = hashlib.sha256(token.encode()).digest() if token else None
        self.nonce, self.cookie = os.urandom(8), bytes(16)
        self.lease_ends = None  # subscribed while this lies ahead
        self.due = time.monotonic()  # when to send something next

    def _proof(self, kind):
        """Proves that this subscriber knows the token, which is not sent."""
        if self.key is None:
            return b""
        said = b"tidecast lease 1" + bytes([kind]) + self.nonce + self.cookie + self.name
        return hashlib.sha256(self.key).digest()[:8] + hmac.digest(self.key, said, "sha256")

    def _send(self, kind):
        proof = self._proof(kind)
        head = MAGIC + struct.pack(">BBBB4x", kind, 0, len(self.name), len(proof))
        request = head + self.nonce + self.cookie + self.name + proof
        try:
            self.socket.send(request.ljust(REQUEST_BYTES_MIN, b"\0"))
        except OSError:
            pass  # like one that is lost: it is sent again
        self.due = time.monotonic() + 1

    def _ask(self):
        self.nonce, self.cookie, self.lease_ends = os.urandom(8), bytes(16), None
        self._send(ASK)

    def _poll(self):
        if self.lease_ends is not None and time.monotonic() < self.lease_ends:
            self._send(SUBSCRIBE)  # with the cookie of before
        else:
            self._ask()

    def _answer(self, answer):
        kind, code, lease, renew = struct.unpack_from(">BBHH", answer, 8)
        if answer[16:24] != self.nonce:
            return
        if kind == COOKIE:
            self.cookie = answer[24:40]
            self._send(SUBSCRIBE)
        elif kind == GRANTED:
            self.lease_ends = time.monotonic() + lease
            self.due = time.monotonic() + renew
        elif kind == REFUSED and code in REASONS:
            sys.exit(f"refused: {REASONS[code]}")
        elif kind == REFUSED and self.lease_ends is not None:
            self._ask()  # the relay was restarted
        elif kind == ENDED:
            self.lease_ends = None  # asks again in a second

    def datagrams(self):
        """The stream's datagrams, one after the other."""
        while True:
            wait = self.due - time.monotonic()
            if wait <= 0:
                self._poll()
                continue
            self.socket.settimeout(wait)
            try:
                datagram = self.socket.recv(65536)
            except socket.timeout:
                continue
            except OSError:
                time.sleep(0.1)  # nobody listens there at present
                continue
            if len(datagram) == ANSWER_BYTES and datagram.startswith(MAGIC):
                self._answer(datagram)
            else:
                yield datagram

    def leave(self):
        if self.lease_ends is not None:
            self._send(LEAVE)


def main(arguments):
    if not 3 <= len(arguments) <= 5:
        sys.exit(__doc__.strip())
    count = int(arguments[3]) if len(arguments) > 3 else None
    token = arguments[4] if len(arguments) > 4 else ""

    def interrupt(*_):
        raise KeyboardInterrupt

    # Said explicitly: a service manager sends SIGTERM, and a background process may have SIGINT ignored.
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)

    subscriber = Subscriber((arguments[0], int(arguments[1])), arguments[2], token)
    try:
        for number, datagram in enumerate(subscriber.datagrams(), 1):
            print(datagram.hex(), flush=True)
            if number == count:
                break
    except KeyboardInterrupt:
        pass
    finally:
        subscriber.leave()


if __name__ == "__main__":
    main(sys.argv[1:])
