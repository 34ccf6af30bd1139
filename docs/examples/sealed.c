/* A producer of sealed native datagrams, in C99 with POSIX sockets and OpenSSL 3.
 *
 *     cc -std=c99 -O2 -o sealed sealed.c -lcrypto
 *     ./sealed KEYFILE GROUP PORT INTERFACE [COUNT [INTERVAL_MS [STREAM]]]
 *     ./sealed sensor-7.key 239.3.3.3 7000 127.0.0.1 20 100
 *
 * Like producer.c, but every datagram has a tag, and the readings are encrypted. KEYFILE has a line ID:HEX or
 * ID/STREAM:HEX, as `tidecast key` writes it. The format is described in docs/wire-format.md. On a
 * microcontroller, HKDF, HMAC-SHA-256 and AES-128-GCM come from Mbed TLS or from its own hardware. */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE 1

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEADER_BYTES = 28, TAG_BYTES = 16, CRC_BYTES = 4, PAYLOAD_BYTES_MAX = 1400, KEY_BYTES = 32 };
enum { SEALED = 2, ENCRYPTED = 4 };
enum kind { DATA = 0, HEARTBEAT = 2, END = 3 };
static const int64_t HEARTBEAT_US = 1000000;

struct producer {
    int fd;
    struct sockaddr_in target;
    uint32_t stream;
    uint32_t session;
    uint64_t sequence;
    int64_t last_sent_us; /* monotonic */
    unsigned key_id;
    uint8_t keys[16 + KEY_BYTES]; /* of this session: for data, for the rest */
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

/* HKDF of RFC 5869 with SHA-256, without a salt; `info` is a text and a number. */
static int derive(const uint8_t *key, const char *text, uint32_t number, uint8_t *out, size_t len)
{
    uint8_t info[32];
    size_t text_len = strlen(text);
    char digest[] = "SHA256";
    memcpy(info, text, text_len);
    put(info + text_len, number, 4);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key, KEY_BYTES),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, text_len + 4),
        OSSL_PARAM_construct_end(),
    };
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    int done = EVP_KDF_derive(context, out, len, params);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return done == 1;
}

/* Reads the first key of a file, and derives the keys of this session. */
static int read_key(struct producer *p, const char *path)
{
    char line[256] = "";
    uint8_t key[KEY_BYTES];
    unsigned long only_stream;
    int at = 0;
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return 0;
    while (fgets(line, sizeof line, f) != NULL && (line[0] == '#' || line[0] == '\n'))
        ;
    fclose(f);
    int of_stream = sscanf(line, "%u/%lu:%n", &p->key_id, &only_stream, &at) == 2 && at > 0;
    if (!of_stream && (sscanf(line, "%u:%n", &p->key_id, &at) != 1 || at == 0))
        return 0;
    for (int i = 0; i < KEY_BYTES; i++) {
        unsigned byte;
        if (sscanf(line + at + 2 * i, "%2x", &byte) != 1)
            return 0;
        key[i] = (uint8_t)byte;
    }
    if (p->key_id > 15 || (of_stream && only_stream != p->stream))
        return 0;
    if (!of_stream && !derive(key, "tidecast stream", p->stream, key, sizeof key))
        return 0;
    return derive(key, "tidecast session", p->session, p->keys, sizeof p->keys);
}

/* Encrypts a payload in place, and writes the tag behind it. */
static int encrypt(const struct producer *p, const uint8_t *header, uint8_t *payload, size_t len)
{
    uint8_t nonce[12];
    int part, done;
    memcpy(nonce, header + 12, 8);     /* the number */
    memcpy(nonce + 8, header + 24, 4); /* the low half of the timestamp */
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    done = EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), NULL, p->keys, nonce) == 1
        && EVP_EncryptUpdate(context, NULL, &part, header, HEADER_BYTES) == 1
        && EVP_EncryptUpdate(context, payload, &part, payload, (int)len) == 1
        && EVP_EncryptFinal_ex(context, payload + len, &part) == 1
        && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, payload + len) == 1;
    EVP_CIPHER_CTX_free(context);
    return done;
}

/* Writes the tag of a header without a payload behind it. */
static int authenticate(const struct producer *p, uint8_t *header)
{
    uint8_t whole[EVP_MAX_MD_SIZE];
    if (HMAC(EVP_sha256(), p->keys + 16, KEY_BYTES, header, HEADER_BYTES, whole, NULL) == NULL)
        return 0;
    memcpy(header + HEADER_BYTES, whole, TAG_BYTES);
    return 1;
}

/* Writes one datagram to `out`, which holds HEADER_BYTES + len + TAG_BYTES + CRC_BYTES; returns its length, or 0
 * if it cannot be sealed. Only readings have a payload. */
static size_t build(const struct producer *p, uint8_t *out, enum kind kind, uint64_t timestamp_us,
                    const void *payload, size_t len)
{
    uint8_t *at = out;
    *at++ = 'T';
    *at++ = 'C';
    *at++ = (uint8_t)(1 << 4 | kind); /* version 1 */
    *at++ = (uint8_t)(SEALED | (kind == DATA ? ENCRYPTED : 0) | p->key_id << 4);
    at = put(at, p->stream, 4);
    at = put(at, p->session, 4);
    at = put(at, p->sequence, 8);
    at = put(at, timestamp_us, 8);
    if (len > 0)
        memcpy(at, payload, len);
    if (!(kind == DATA ? encrypt(p, out, at, len) : authenticate(p, out)))
        return 0;
    at += len + TAG_BYTES;
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
    uint8_t datagram[HEADER_BYTES + PAYLOAD_BYTES_MAX + TAG_BYTES + CRC_BYTES];
    uint64_t timestamp_us = (uint64_t)now_us(CLOCK_REALTIME); /* 0 where there is no clock */
    size_t size = build(p, datagram, kind, timestamp_us, payload, len);
    if (size == 0)
        fputs("cannot seal\n", stderr);
    else if (sendto(p->fd, datagram, size, 0, (struct sockaddr *)&p->target, sizeof p->target) < 0)
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

/* New at every start of the producer, or a nonce would be used twice. A boot counter in flash does as well; without
 * a clock it must be one. */
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
    if (argc < 5 || argc > 8) {
        fputs("usage: sealed KEYFILE GROUP PORT INTERFACE [COUNT [INTERVAL_MS [STREAM]]]\n", stderr);
        return 2;
    }
    long count = argc > 5 ? atol(argv[5]) : 10;
    long interval_ms = argc > 6 ? atol(argv[6]) : 1000;
    struct producer p = { .stream = argc > 7 ? (uint32_t)strtoul(argv[7], NULL, 10) : 7 };
    struct in_addr interface;
    unsigned char ttl = 1;

    struct sigaction on_stop = { .sa_handler = stop };
    sigaction(SIGINT, &on_stop, NULL);
    sigaction(SIGTERM, &on_stop, NULL);

    crc_table_make();
    p.session = new_session();
    if (!read_key(&p, argv[1])) {
        fprintf(stderr, "%s: expected a key of this stream, as `tidecast key` writes it\n", argv[1]);
        return 2;
    }
    p.target.sin_family = AF_INET;
    p.target.sin_port = htons((uint16_t)atoi(argv[3]));
    if (inet_pton(AF_INET, argv[2], &p.target.sin_addr) != 1 || inet_pton(AF_INET, argv[4], &interface) != 1) {
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
