/* A complete producer of native datagrams, in C99 with POSIX sockets.
 *
 *     cc -std=c99 -O2 -o producer producer.c
 *     ./producer GROUP PORT INTERFACE [COUNT [INTERVAL_MS [STREAM]]]
 *     ./producer 239.3.3.3 7000 127.0.0.1 20 100
 *
 * Sends COUNT readings (default 10), one every INTERVAL_MS (default 1000), to GROUP:PORT through the interface
 * that has the address INTERFACE; a heartbeat after each second of silence; and the end of the session, also
 * on Ctrl-C. The format is described in docs/wire-format.md. On a microcontroller, keep everything up to
 * `build` and replace the socket calls, the clocks and the random session id. */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE 1

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEADER_BYTES = 28, CRC_BYTES = 4, PAYLOAD_BYTES_MAX = 1400 };
enum kind { DATA = 0, HEARTBEAT = 2, END = 3 };
static const int64_t HEARTBEAT_US = 1000000;

struct producer {
    int fd;
    struct sockaddr_in target;
    uint32_t stream;
    uint32_t session;
    uint64_t sequence;
    int64_t last_sent_us; /* monotonic */
};

/* CRC-32 of IEEE 802.3: reflected polynomial 0xEDB88320, start and final XOR 0xFFFFFFFF. */
static uint32_t crc_table[256];

static void crc_table_make(void)
{
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t c = n;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
        crc_table[n] = c;
    }
}

static uint32_t crc32_of(const uint8_t *bytes, size_t len)
{
    uint32_t c = 0xFFFFFFFFu;
    for (size_t i = 0; i < len; i++)
        c = crc_table[(c ^ bytes[i]) & 0xFF] ^ (c >> 8);
    return c ^ 0xFFFFFFFFu;
}

/* Big-endian, whatever the processor's byte order is. */
static uint8_t *put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

/* Writes one datagram to `out`, which holds HEADER_BYTES + len + CRC_BYTES; returns its length. */
static size_t build(uint8_t *out, enum kind kind, uint32_t stream, uint32_t session, uint64_t sequence,
                    uint64_t timestamp_us, const void *payload, size_t len)
{
    uint8_t *at = out;
    *at++ = 'T';
    *at++ = 'C';
    *at++ = (uint8_t)(1 << 4 | kind); /* version 1 */
    *at++ = 0;                        /* flags */
    at = put(at, stream, 4);
    at = put(at, session, 4);
    at = put(at, sequence, 8);
    at = put(at, timestamp_us, 8);
    if (len > 0)
        memcpy(at, payload, len);
    at += len;
    at = put(at, crc32_of(out, (size_t)(at - out)), 4);
    return (size_t)(at - out);
}

static int64_t now_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void emit(struct producer *p, enum kind kind, const void *payload, size_t len)
{
    uint8_t datagram[HEADER_BYTES + PAYLOAD_BYTES_MAX + CRC_BYTES];
    uint64_t timestamp_us = (uint64_t)now_us(CLOCK_REALTIME); /* 0 where there is no clock */
    size_t size = build(datagram, kind, p->stream, p->session, p->sequence, timestamp_us, payload, len);
    if (sendto(p->fd, datagram, size, 0, (struct sockaddr *)&p->target, sizeof p->target) < 0)
        perror("sendto"); /* a lost datagram is normal: go on */
    p->last_sent_us = now_us(CLOCK_MONOTONIC);
}

/* Sends one reading; its number is the next one. */
static void send_reading(struct producer *p, const char *text)
{
    size_t len = strlen(text);
    emit(p, DATA, text, len < PAYLOAD_BYTES_MAX ? len : PAYLOAD_BYTES_MAX);
    p->sequence++;
}

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
    (void)signal;
    stopped = 1;
}

/* Sleeps, with a heartbeat after each second of silence. */
static void wait_until(struct producer *p, int64_t deadline_us)
{
    while (!stopped) {
        int64_t now = now_us(CLOCK_MONOTONIC);
        int64_t heartbeat = p->last_sent_us + HEARTBEAT_US;
        if (now >= heartbeat) {
            emit(p, HEARTBEAT, NULL, 0);
        } else if (now >= deadline_us) {
            return;
        } else {
            int64_t us = (deadline_us < heartbeat ? deadline_us : heartbeat) - now;
            struct timespec t = { us / 1000000, us % 1000000 * 1000 };
            nanosleep(&t, NULL); /* a signal ends it early */
        }
    }
}

/* New at every start of the producer. A boot counter in flash does as well. */
static uint32_t new_session(void)
{
    uint32_t session = (uint32_t)now_us(CLOCK_REALTIME) ^ (uint32_t)getpid() << 16;
    FILE *f = fopen("/dev/urandom", "rb");
    if (f != NULL) {
        if (fread(&session, sizeof session, 1, f) != 1)
            fputs("no random bytes: the session id is made from the time\n", stderr);
        fclose(f);
    }
    return session;
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 7) {
        fputs("usage: producer GROUP PORT INTERFACE [COUNT [INTERVAL_MS [STREAM]]]\n", stderr);
        return 2;
    }
    long count = argc > 4 ? atol(argv[4]) : 10;
    long interval_ms = argc > 5 ? atol(argv[5]) : 1000;
    struct producer p = { .stream = argc > 6 ? (uint32_t)strtoul(argv[6], NULL, 10) : 7 };
    struct in_addr interface;
    unsigned char ttl = 1;

    struct sigaction on_stop = { .sa_handler = stop };
    sigaction(SIGINT, &on_stop, NULL);
    sigaction(SIGTERM, &on_stop, NULL);

    crc_table_make();
    p.session = new_session();
    p.target.sin_family = AF_INET;
    p.target.sin_port = htons((uint16_t)atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &p.target.sin_addr) != 1 || inet_pton(AF_INET, argv[3], &interface) != 1) {
        fputs("GROUP and INTERFACE are IPv4 addresses such as 239.3.3.3 and 127.0.0.1\n", stderr);
        return 2;
    }
    p.fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (p.fd < 0 || setsockopt(p.fd, IPPROTO_IP, IP_MULTICAST_IF, &interface, sizeof interface) < 0
        || setsockopt(p.fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof ttl) < 0) {
        perror("socket");
        return 1;
    }

    int64_t start = p.last_sent_us = now_us(CLOCK_MONOTONIC);
    for (long n = 0; n < count; n++) {
        char text[64];
        wait_until(&p, start + (int64_t)n * interval_ms * 1000);
        if (stopped)
            break;
        snprintf(text, sizeof text, "temperature=%.2f n=%ld", 21.5 + (double)(n % 20) / 100, n);
        send_reading(&p, text);
    }
    for (int i = 0; i < 3; i++) /* each may be lost */
        emit(&p, END, NULL, 0);
    close(p.fd);
    return 0;
}
