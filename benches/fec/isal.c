// ISA-L as a contestant, with the calls that its documentation proposes: for each line "JOB K M TIMES" it says how many
// nanoseconds that took. Its matrix is another one than ours (Cauchy's); that makes no difference to the time.
#include <isa-l/erasure_code.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LEN = 1316, SHARDS = 256 };

static unsigned char shards[SHARDS][LEN], rebuilt[SHARDS][LEN];
static unsigned char generator[SHARDS * SHARDS], tables[32 * SHARDS * SHARDS];

static uint32_t number(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 32;
}

static void draw(uint64_t *state, int k, int m, int *all) {
    for (int at = 0; at < k + m; at++) all[at] = at;
    for (;;) {
        int data = 0;
        for (int at = 0; at < m; at++) {
            int other = at + number(state) % (k + m - at), lost = all[other];
            all[other] = all[at];
            all[at] = lost;
            data += lost < k;
        }
        if (data) return;
    }
}

static void encode(int k, int m) {
    unsigned char *data[SHARDS], *parity[SHARDS];
    for (int at = 0; at < k; at++) data[at] = shards[at];
    for (int at = 0; at < m; at++) parity[at] = shards[k + at];
    ec_encode_data(LEN, k, m, tables, data, parity);
}

static void rebuild(int k, int m, const int *lost) {
    static unsigned char rows[SHARDS * SHARDS], inverse[SHARDS * SHARDS], wanted[SHARDS * SHARDS];
    static unsigned char wanted_tables[32 * SHARDS * SHARDS];
    unsigned char gone[SHARDS] = {0}, *from[SHARDS], *to[SHARDS];
    int there = 0, missing = 0;
    for (int at = 0; at < m; at++) gone[lost[at]] = 1;
    for (int at = 0; there < k; at++) {
        if (gone[at]) continue;
        from[there] = shards[at];
        memcpy(rows + k * there++, generator + k * at, k);
    }
    if (gf_invert_matrix(rows, inverse, k)) exit(1);
    for (int at = 0; at < k; at++) {
        if (!gone[at]) continue;
        to[missing] = rebuilt[missing];
        memcpy(wanted + k * missing++, inverse + k * at, k);
    }
    ec_init_tables(k, missing, wanted, wanted_tables);
    ec_encode_data(LEN, k, missing, wanted_tables, from, to);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

int main(void) {
    char job[16];
    int k, m, times;
    uint64_t state = 2, noise = 1;
    while (scanf("%15s %d %d %d", job, &k, &m, &times) == 4 && k > 0 && m > 0 && k + m < SHARDS) {
        for (int at = 0; at < k; at++)
            for (int byte = 0; byte < LEN; byte++) shards[at][byte] = number(&noise);
        gf_gen_cauchy1_matrix(generator, k + m, k);
        ec_init_tables(k, m, generator + k * k, tables);
        encode(k, m);
        int *lost = malloc(sizeof *lost * times * (k + m));
        for (int at = 0; at < times; at++) draw(&state, k, m, lost + at * (k + m));
        int64_t begin = now();
        for (int at = 0; at < times; at++) {
            if (job[0] == 'e') encode(k, m);
            else rebuild(k, m, lost + at * (k + m));
        }
        int64_t end = now();
        int first = k;
        for (int at = 0; at < m; at++)
            if (lost[(times - 1) * (k + m) + at] < first) first = lost[(times - 1) * (k + m) + at];
        if (job[0] == 'r' && memcmp(rebuilt[0], shards[first], LEN)) return 1;
        printf("%lld\n", (long long)(end - begin));
        fflush(stdout);
        free(lost);
    }
}
