/* A complete subscriber of a relay's stream over UDP, in C99 with POSIX sockets.
 *
 *     cc -std=c99 -O2 -o subscriber subscriber.c
 *     ./subscriber ADDRESS PORT NAME [COUNT]
 *     ./subscriber 127.0.0.1 4023 main 20
 *
 * Asks the relay at this IPv4 address for the stream, renews, asks again after a restart of the relay, and writes each
 * datagram as a line of hexadecimal digits; ends after COUNT of them (default: never) or at Ctrl-C, and says so to the
 * relay. It presents no token; subscriber.py shows how one is proved. The exchange is described in
 * docs/udp-subscribe.md. */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE 1

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ASK = 1, SUBSCRIBE = 2, LEAVE = 3, COOKIE = 129, GRANTED = 130, REFUSED = 131, ENDED = 132 };
enum { ANSWER_BYTES = 40, REQUEST_BYTES_MIN = 64, NAME_AT = 40, TEXT_BYTES_MAX = 255 };
static const char MAGIC[8] = { 't', 'i', 'd', 'e', 's', 'u', 'b', '1' };

struct subscriber {
    int fd;
    const char *name;
    uint8_t nonce[8], cookie[16];
    int64_t lease_ends_ms; /* 0: not subscribed */
    int64_t due_ms;        /* when to send something next */
};

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
    (void)signal;
    stopped = 1;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void send_request(struct subscriber *s, uint8_t kind)
{
    uint8_t request[NAME_AT + TEXT_BYTES_MAX] = { 0 };
    size_t name = strlen(s->name);
    memcpy(request, MAGIC, sizeof MAGIC);
    request[8] = kind;
    request[10] = (uint8_t)name;
    memcpy(request + 16, s->nonce, sizeof s->nonce);
    memcpy(request + 24, s->cookie, sizeof s->cookie);
    memcpy(request + NAME_AT, s->name, name);
    size_t length = NAME_AT + name;
    /* One that cannot be sent is like one that is lost: it is sent again. */
    if (send(s->fd, request, length < REQUEST_BYTES_MIN ? REQUEST_BYTES_MIN : length, 0) < 0)
        usleep(100000);
    s->due_ms = now_ms() + 1000;
}

static void ask(struct subscriber *s)
{
    FILE *random = fopen("/dev/urandom", "rb");
    if (!random || fread(s->nonce, sizeof s->nonce, 1, random) != 1) {
        perror("/dev/urandom");
        exit(1);
    }
    fclose(random);
    memset(s->cookie, 0, sizeof s->cookie);
    s->lease_ends_ms = 0;
    send_request(s, ASK);
}

static unsigned u16_at(const uint8_t *bytes)
{
    return (unsigned)bytes[0] << 8 | bytes[1];
}

static void take_answer(struct subscriber *s, const uint8_t *answer)
{
    static const char *const reasons[] = { "", "there is no such stream", "a token is expected",
                                           "there are too many subscribers" };
    if (memcmp(answer + 16, s->nonce, sizeof s->nonce) != 0)
        return;
    switch (answer[8]) {
    case COOKIE:
        memcpy(s->cookie, answer + 24, sizeof s->cookie);
        send_request(s, SUBSCRIBE);
        break;
    case GRANTED:
        s->lease_ends_ms = now_ms() + 1000 * (int64_t)u16_at(answer + 10);
        s->due_ms = now_ms() + 1000 * (int64_t)u16_at(answer + 12);
        break;
    case REFUSED:
        if (answer[9] >= 1 && answer[9] <= 3) {
            fprintf(stderr, "refused: %s\n", reasons[answer[9]]);
            exit(1);
        }
        if (s->lease_ends_ms)
            ask(s); /* the relay was restarted */
        break;
    case ENDED:
        s->lease_ends_ms = 0; /* asks again in a second */
        break;
    }
}

static void print_line(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        printf("%02x", bytes[i]);
    putchar('\n');
    fflush(stdout);
}

static void receive(struct subscriber *s, long count)
{
    static uint8_t bytes[65536];
    for (long got = 0; !stopped && (count == 0 || got < count);) {
        int64_t wait = s->due_ms - now_ms();
        if (wait <= 0) {
            if (s->lease_ends_ms > now_ms())
                send_request(s, SUBSCRIBE); /* with the cookie of before */
            else
                ask(s);
            continue;
        }
        struct pollfd ready = { s->fd, POLLIN, 0 };
        if (poll(&ready, 1, (int)wait) <= 0)
            continue;
        ssize_t length = recv(s->fd, bytes, sizeof bytes, 0);
        if (length < 0)
            continue; /* nobody listens there at present */
        if (length == ANSWER_BYTES && memcmp(bytes, MAGIC, sizeof MAGIC) == 0) {
            take_answer(s, bytes);
        } else {
            print_line(bytes, (size_t)length);
            got++;
        }
    }
    if (s->lease_ends_ms)
        send_request(s, LEAVE);
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: %s ADDRESS PORT NAME [COUNT]\n", argv[0]);
        return 2;
    }
    struct sockaddr_in relay = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2])) };
    if (inet_pton(AF_INET, argv[1], &relay.sin_addr) != 1) {
        fprintf(stderr, "%s: expected an IPv4 address\n", argv[1]);
        return 2;
    }
    struct subscriber s = { .name = argv[3], .due_ms = now_ms() };
    if (strlen(s.name) > TEXT_BYTES_MAX) {
        fprintf(stderr, "expected a name of at most %d bytes\n", TEXT_BYTES_MAX);
        return 2;
    }
    s.fd = socket(AF_INET, SOCK_DGRAM, 0);
    /* From here on only the relay's datagrams come in. */
    if (s.fd < 0 || connect(s.fd, (const struct sockaddr *)&relay, sizeof relay) < 0) {
        perror(argv[1]);
        return 1;
    }
    struct sigaction action = { .sa_handler = stop };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    receive(&s, argc > 4 ? atol(argv[4]) : 0);
    return 0;
}
