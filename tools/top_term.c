/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/top_term.h"

#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#define ENTER "\033[?1049h\033[?25l\033[?7l\033[2J"
#define LEAVE "\033[0m\033[?7h\033[?25h\033[?1049l"
#define LEAVE_MSEC 200
#define KEYS_MOST 4096u
#define PENDING_MOST ((size_t)1 << 20)

struct top_term {
	int in, out, signals; /* out: opened anew if it can be, so that not waiting for it is nobody else's business */
	struct termios before;
	struct buf keys, pending; /* pending: what is not written yet */
	struct top_screen shown;  /* without cells: nothing */
	bool is_drawn_anew;
	int signal;
	enum top_paint paint;
};

/* For handlers of a crash alone, which find nothing else. */
static struct {
	struct termios before;
	volatile sig_atomic_t is_raw;
	int fd;
} crash;

bool top_term_is_there(void)
{
	const char *term = getenv("TERM");
	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term && *term && !streq(term, "dumb");
}

bool top_term_is_ascii(void)
{
	setlocale(LC_CTYPE, "");
	return !streq(nl_langinfo(CODESET), "UTF-8");
}

static unsigned from_environment(const char *name, unsigned other)
{
	const char *text = getenv(name);
	unsigned long n = text ? strtoul(text, NULL, 10) : 0;
	return n && n <= TOP_SIDE_MOST ? (unsigned)n : other;
}

void top_term_size(unsigned *w, unsigned *h)
{
	struct winsize size = {0};
	bool is_known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
	*w = is_known ? size.ws_col : from_environment("COLUMNS", 100);
	*h = is_known ? size.ws_row : from_environment("LINES", 40);
}

/* ---- modes */

static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH};
static const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGSYS};

/* Only calls that a handler may make. */
static void leave_in_a_crash(int signal)
{
	if (crash.is_raw) {
		crash.is_raw = false;
		if (write(crash.fd, LEAVE, sizeof LEAVE - 1) < 0)
			errno = 0;
		tcsetattr(STDIN_FILENO, TCSANOW, &crash.before);
	}
	raise(signal);
}

static void catch_crashes(void)
{
	/* The second time it is as it was: it ends by the signal. */
	struct sigaction action = {.sa_handler = leave_in_a_crash, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < countof(crashes); i++)
		sigaction(crashes[i], &action, NULL);
}

/* For exit() out of somewhere below. */
static void leave_at_exit(void)
{
	if (!crash.is_raw)
		return;
	crash.is_raw = false;
	if (write(crash.fd, LEAVE, sizeof LEAVE - 1) < 0)
		errno = 0;
	tcsetattr(STDIN_FILENO, TCSANOW, &crash.before);
}

static int enter(struct top_term *t)
{
	struct termios raw = t->before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | IEXTEN);
	raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL | INLCR | IGNCR);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(t->in, TCSADRAIN, &raw) < 0)
		return -errno;
	crash.is_raw = true;
	top_screen_fini(&t->shown);
	buf_consume(&t->pending, t->pending.n);
	buf_puts(&t->pending, ENTER);
	t->is_drawn_anew = true;
	return 0;
}

/* A while for a terminal that reads slowly; one that does not read at all is not waited for. */
static void flush(struct top_term *t, int msec)
{
	while (t->pending.n) {
		struct pollfd p = {.fd = t->out, .events = POLLOUT};
		ssize_t n = write(t->out, t->pending.at, t->pending.n);
		if (n > 0)
			buf_consume(&t->pending, (size_t)n);
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			return;
		else if (!msec || poll(&p, 1, msec) <= 0)
			return;
	}
}

static void leave(struct top_term *t)
{
	buf_puts(&t->pending, LEAVE);
	flush(t, LEAVE_MSEC);
	buf_consume(&t->pending, t->pending.n);
	tcsetattr(t->in, TCSANOW, &t->before);
	crash.is_raw = false;
}

/* As any program is stopped: what started it has the terminal as it was. */
static void stop(struct top_term *t)
{
	leave(t);
	raise(SIGSTOP);
}

/* ---- from the beginning to the end */

static int open_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < countof(caught); i++)
		sigaddset(&set, caught[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int top_term_new(struct top_term **out)
{
	_cleanup_(top_term_freep) struct top_term *t = NEW(struct top_term);
	const char *no_colour = getenv("NO_COLOR");
	t->in = STDIN_FILENO;
	t->out = -1;
	t->signals = -1;
	t->paint = no_colour && *no_colour ? TOP_NO_COLOURS : TOP_COLOURS;
	if (tcgetattr(t->in, &t->before) < 0)
		return -errno;
	t->out = open("/proc/self/fd/1", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (t->out < 0)
		t->out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	t->signals = t->out < 0 ? -errno : open_signals();
	if (t->signals < 0)
		return t->signals;
	crash.before = t->before;
	crash.fd = t->out;
	catch_crashes();
	atexit(leave_at_exit);
	int r = enter(t);
	if (!r)
		*out = steal(t);
	return r;
}

void top_term_free(struct top_term *t)
{
	if (!t)
		return;
	if (crash.is_raw)
		leave(t);
	top_screen_fini(&t->shown);
	buf_fini(&t->keys);
	buf_fini(&t->pending);
	close_fd(t->out);
	close_fd(t->signals);
	free(t);
}

/* ---- drawing */

static bool is_same_row(const struct top_term *t, const struct top_screen *s, unsigned y)
{
	size_t n = s->w * sizeof *s->cells;
	return !t->is_drawn_anew && t->shown.cells &&
	       memcmp(t->shown.cells + (size_t)y * s->w, s->cells + (size_t)y * s->w, n) == 0;
}

static void keep(struct top_term *t, const struct top_screen *s)
{
	top_screen_fini(&t->shown);
	t->shown = *s;
	t->shown.cells = xmemdup(s->cells, (size_t)s->w * s->h * sizeof *s->cells);
	t->is_drawn_anew = false;
}

void top_term_draw(struct top_term *t, const struct top_screen *s)
{
	flush(t, 0);
	/* It has not read all of the last one: this one waits for it, or the next one does. */
	if (t->pending.n > (t->is_drawn_anew ? PENDING_MOST : 0))
		return;
	if (t->shown.w != s->w || t->shown.h != s->h)
		t->is_drawn_anew = true;
	if (t->is_drawn_anew)
		buf_puts(&t->pending, "\033[0m\033[2J");
	for (unsigned y = 0; y < s->h; y++) {
		if (is_same_row(t, s, y))
			continue;
		buf_printf(&t->pending, "\033[%u;1H\033[2K", y + 1);
		top_screen_line(s, y, t->paint, &t->pending);
	}
	keep(t, s);
	flush(t, 0);
}

/* ---- waiting */

static unsigned on_signal(struct top_term *t, int signal)
{
	switch (signal) {
	case SIGWINCH:
		t->is_drawn_anew = true;
		return TOP_RESIZED;
	case SIGTSTP:
		stop(t);
		return 0; /* SIGCONT is pending */
	case SIGCONT:
		enter(t);
		return TOP_RESIZED;
	default:
		t->signal = signal;
		return TOP_ENDED;
	}
}

static unsigned read_signals(struct top_term *t)
{
	struct signalfd_siginfo info;
	unsigned happened = 0;
	while (read(t->signals, &info, sizeof info) == (ssize_t)sizeof info)
		happened |= on_signal(t, (int)info.ssi_signo);
	return happened;
}

static unsigned read_keys(struct top_term *t, short revents)
{
	char bytes[256];
	ssize_t n = revents & POLLIN ? read(t->in, bytes, sizeof bytes) : 0;
	if (n > 0 && t->keys.n < KEYS_MOST)
		buf_put(&t->keys, bytes, (size_t)n);
	return n > 0 ? TOP_TYPED : n < 0 && (errno == EINTR || errno == EAGAIN) ? 0 : TOP_ENDED;
}

unsigned top_term_wait(struct top_term *t, int fd, int msec)
{
	struct pollfd p[] = {{.fd = t->signals, .events = POLLIN},
			     {.fd = t->in, .events = POLLIN},
			     {.fd = fd, .events = POLLIN},
			     {.fd = t->pending.n ? t->out : -1, .events = POLLOUT}};
	unsigned happened = 0;
	if (poll(p, countof(p), msec) < 0)
		return errno == EINTR ? 0 : TOP_ENDED;
	if (p[0].revents)
		happened |= read_signals(t);
	if (p[1].revents && !(happened & TOP_ENDED))
		happened |= read_keys(t, p[1].revents);
	if (p[2].revents)
		happened |= TOP_ANSWERED;
	if (p[3].revents)
		flush(t, 0);
	return happened;
}

struct buf *top_term_keys(struct top_term *t)
{
	return &t->keys;
}

int top_term_signal(const struct top_term *t)
{
	return t->signal;
}
