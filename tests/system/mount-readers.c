/* SPDX-License-Identifier: Apache-2.0
 * Readers of a mount, each comparing what it reads with the original: mount-readers N SECONDS MOUNTED ORIGINAL. Every read goes to the server
 * (O_DIRECT). Prints reads, errors, wrong bytes, and the longest and the sum of the pauses over 1 ms of any reader. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096u

struct result {
	uint64_t n_reads, n_errors, n_wrong, longest_usec, n_pauses;
};

static uint64_t now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void read_on(struct result *r, unsigned seed, uint64_t until, const char *mounted, const char *original)
{
	struct stat st;
	int fd = open(mounted, O_RDONLY | O_DIRECT), own = open(original, O_RDONLY);
	uint8_t *got, *want;
	if (fd < 0 || own < 0 || fstat(own, &st) < 0 || posix_memalign((void **)&got, BLOCK, 16 * BLOCK) ||
	    posix_memalign((void **)&want, BLOCK, 16 * BLOCK)) {
		perror("mount-readers");
		_exit(1);
	}
	uint64_t n_blocks = (uint64_t)st.st_size / BLOCK - 16;
	while (now_usec() < until) {
		off_t at = (off_t)((uint64_t)rand_r(&seed) % n_blocks * BLOCK);
		size_t n = (1 + (unsigned)rand_r(&seed) % 16) * BLOCK;
		uint64_t start = now_usec();
		ssize_t got_n = pread(fd, got, n, at);
		uint64_t took = now_usec() - start;
		if (got_n != (ssize_t)n) {
			r->n_errors++;
			fprintf(stderr, "read of %zu at %lld: %zd %s\n", n, (long long)at, got_n,
				got_n < 0 ? strerror(errno) : "");
		} else if (pread(own, want, n, at) != (ssize_t)n || memcmp(got, want, n) != 0) {
			r->n_wrong++;
		}
		r->n_reads++;
		r->n_pauses += took > 1000;
		if (took > r->longest_usec)
			r->longest_usec = took;
	}
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 125;
	unsigned n = (unsigned)atoi(argv[1]);
	uint64_t until = now_usec() + (uint64_t)(atof(argv[2]) * 1e6);
	struct result *at = mmap(NULL, n * sizeof *at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
		      sum = {0};
	for (unsigned i = 0; i < n; i++) {
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			read_on(&at[i], i + 1, until, argv[3], argv[4]);
			_exit(0);
		}
	}
	int status, bad = 0;
	while (wait(&status) > 0)
		bad |= status != 0;
	for (unsigned i = 0; i < n; i++) {
		sum.n_reads += at[i].n_reads;
		sum.n_errors += at[i].n_errors;
		sum.n_wrong += at[i].n_wrong;
		sum.n_pauses += at[i].n_pauses;
		if (at[i].longest_usec > sum.longest_usec)
			sum.longest_usec = at[i].longest_usec;
	}
	printf("reads=%llu errors=%llu wrong=%llu longest_usec=%llu pauses=%llu\n", (unsigned long long)sum.n_reads,
	       (unsigned long long)sum.n_errors, (unsigned long long)sum.n_wrong, (unsigned long long)sum.longest_usec,
	       (unsigned long long)sum.n_pauses);
	return bad || sum.n_errors || sum.n_wrong;
}
