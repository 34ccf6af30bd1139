#!/usr/bin/env python3
"""A producer of sealed native datagrams, in Python 3 with the package `cryptography`.

    sealed.py KEYFILE GROUP PORT INTERFACE [COUNT [INTERVAL_MS [STREAM]]]
    sealed.py sensor-7.key 239.3.3.3 7000 127.0.0.1 20 100

Like producer.py, but every datagram has a tag, and the readings are encrypted. KEYFILE has a line ID:HEX or
ID/STREAM:HEX, as `tidecast key` writes it. The format is described in docs/wire-format.md.
"""

import hashlib
import hmac
import math
import os
import signal
import socket
import struct
import sys
import time
import zlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION = 1
DATA, HEARTBEAT, END = 0, 2, 3
SEALED, ENCRYPTED = 2, 4
HEARTBEAT_SECONDS = 1.0


def read_key(path):
    """The first key of a file: its id, its stream or None, and its 32 bytes."""
    with open(path, encoding="ascii") as lines:
        line = next(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    name, digits = line.split(":")
    key_id, _, stream = name.partition("/")
    key = bytes.fromhex(digits)
    if len(key) != 32 or not 0 <= int(key_id) <= 15:
        sys.exit(f"{path}: expected ID:HEX with an id up to 15 and 64 hexadecimal digits")
    return int(key_id), int(stream) if stream else None, key


def derive(key, info, length):
    return HKDF(hashes.SHA256(), length, salt=None, info=info).derive(key)


class Producer:
    def __init__(self, key_file, group, port, interface, stream):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        self.target = (group, port)
        self.stream = stream
        # New at every start, or a nonce would be used twice.
        self.session = int.from_bytes(os.urandom(4), "big")
        self.sequence = 0
        self.last_sent = time.monotonic()
        self.key_id, only_stream, key = read_key(key_file)
        if only_stream is None:
            key = derive(key, b"tidecast stream" + struct.pack(">I", stream), 32)
        elif only_stream != stream:
            sys.exit(f"{key_file}: the key is for stream {only_stream}, not for {stream}")
        keys = derive(key, b"tidecast session" + struct.pack(">I", self.session), 48)
        self.data_key, self.control_key = AESGCM(keys[:16]), keys[16:]

    def _emit(self, kind, sequence, payload=b""):
        timestamp = time.time_ns() // 1000
        flags = SEALED | (ENCRYPTED if kind == DATA else 0) | self.key_id << 4
        head = struct.pack(
            ">2sBBIIQQ", b"TC", VERSION << 4 | kind, flags, self.stream, self.session, sequence, timestamp
        )
        if kind == DATA:
            nonce = struct.pack(">QI", sequence, timestamp & 0xFFFFFFFF)
            body = head + self.data_key.encrypt(nonce, payload, head)  # ciphertext and tag
        else:
            body = head + hmac.digest(self.control_key, head, hashlib.sha256)[:16]
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
    if not 4 <= len(arguments) <= 7:
        sys.exit(__doc__.strip())
    key_file, group, port, interface = arguments[0], arguments[1], int(arguments[2]), arguments[3]
    count, interval_ms, stream = [int(a) for a in arguments[4:]] + [10, 1000, 7][len(arguments) - 4 :]

    def interrupt(*_):
        raise KeyboardInterrupt

    # Said explicitly: a service manager sends SIGTERM, and a background process may have SIGINT ignored.
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)

    producer = Producer(key_file, group, port, interface, stream)
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
