/* SPDX-License-Identifier: Apache-2.0 */
#include "common/tls.h"

#include <netinet/in.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define TLS_ROLES 4
#define TLS_KEY_SIZE 32
#define TLS_IDENTITY_SIZE 32
#define TLS_SESSIONS_MAX 256
#define TLS_UNTRUSTED_MAX (64u << 10)    /* taken from a peer before the handshake is done */
#define TLS_CLIENT_HELLO_MAX (16u << 10) /* ours have 500 bytes; OpenSSL would allocate 128 KiB if told to */
#define TLS_SESSION_SECONDS 7200

static const unsigned char tls_name[5] = {'v', 'i', 'n', 'e', '1'};

struct tls_key {
	char identity[TLS_IDENTITY_SIZE]; /* "" where this pair of roles may not talk */
	uint8_t key[TLS_KEY_SIZE];
};

/* The last session with one peer, so that the next connection resumes it. */
struct tls_session {
	uint8_t address[sizeof(struct sockaddr_in6)];
	enum tls_role peer;
	SSL_SESSION *session;
};

struct tls_context {
	SSL_CTX *ssl;
	BIO_METHOD *method;
	unsigned n_users;               /* the creator and each connection */
	struct tls_key from[TLS_ROLES]; /* for those who connect to us, by their role */
	struct tls_key to[TLS_ROLES];   /* for those we connect to */
	struct tls_session sessions[TLS_SESSIONS_MAX];
	size_t n_sessions, next_session;
};

enum tls_fault { TLS_FAULT_NONE, TLS_FAULT_SECRET, TLS_FAULT_ROLE, TLS_FAULT_OLD, TLS_FAULT_OTHER };

struct tls {
	struct tls_context *context;
	SSL *ssl;
	int fd;
	int io_error; /* errno of the last read or write, 0 if it was the end */
	enum tls_role peer;
	bool is_server, is_done, is_resumed, is_wrong_role, is_broken;
	bool has_ticket; /* just come */
	bool is_short;   /* the kernel's last bytes were all it had */
	bool is_more;    /* another record follows at once */
	uint8_t events;
	uint8_t n_first;  /* of first[] */
	uint8_t first[9]; /* record and handshake header of a peer not yet trusted */
	uint32_t n_taken; /* bytes of a peer not yet trusted */
	enum tls_fault fault;
	char reason[96];
};

const char *tls_role_name(enum tls_role role)
{
	static const char *const names[TLS_ROLES] = {"none", "vined", "node", "client"};
	return (unsigned)role < TLS_ROLES ? names[role] : "unknown";
}

/* ---- keys */

static int tls_derive(const uint8_t secret[TLS_SECRET_SIZE], const char *pair, uint8_t key[TLS_KEY_SIZE])
{
	char info[64];
	snprintf(info, sizeof info, "vine 1 %s", pair);
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *x = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	char sha256[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, sha256, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret, TLS_SECRET_SIZE),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, strlen(info)),
		OSSL_PARAM_construct_end(),
	};
	bool ok = x && EVP_KDF_derive(x, key, TLS_KEY_SIZE, params) == 1;
	EVP_KDF_CTX_free(x);
	EVP_KDF_free(kdf);
	return ok ? 0 : -ENOTSUP;
}

static int tls_key_make(struct tls_key *k, const uint8_t secret[TLS_SECRET_SIZE], enum tls_role from, enum tls_role to)
{
	char pair[TLS_IDENTITY_SIZE - 6];
	snprintf(pair, sizeof pair, "%s>%s", tls_role_name(from), tls_role_name(to));
	snprintf(k->identity, sizeof k->identity, "vine1 %s", pair);
	return tls_derive(secret, pair, k->key);
}

static SSL_SESSION *tls_key_session(SSL *ssl, const struct tls_key *k)
{
	static const unsigned char suite[2] = {0x13, 0x01}; /* TLS_AES_128_GCM_SHA256 */
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, suite);
	SSL_SESSION *s = SSL_SESSION_new();
	if (s && cipher && SSL_SESSION_set1_id_context(s, tls_name, sizeof tls_name) &&
	    SSL_SESSION_set1_master_key(s, k->key, sizeof k->key) && SSL_SESSION_set_cipher(s, cipher) &&
	    SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION))
		return s;
	SSL_SESSION_free(s);
	return NULL;
}

/* ---- what OpenSSL asks for */

static int tls_on_offer(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *n, SSL_SESSION **session)
{
	struct tls *t = SSL_get_app_data(ssl);
	const struct tls_key *k = &t->context->to[t->peer];
	*session = NULL;
	if (md && EVP_MD_get_type(md) != NID_sha256)
		return 1;
	*session = tls_key_session(ssl, k);
	*id = (const unsigned char *)k->identity;
	*n = strlen(k->identity);
	return *session != NULL;
}

static int tls_on_identity(SSL *ssl, const unsigned char *id, size_t n, SSL_SESSION **session)
{
	struct tls *t = SSL_get_app_data(ssl);
	*session = NULL;
	for (unsigned role = 1; role < TLS_ROLES; role++) {
		const struct tls_key *k = &t->context->from[role];
		if (!k->identity[0] || n != strlen(k->identity) || memcmp(id, k->identity, n) != 0)
			continue;
		uint8_t data = (uint8_t)role;
		*session = tls_key_session(ssl, k);
		/* Goes into the tickets made from this session, and so tells the role when one comes back. */
		if (!*session || !SSL_SESSION_set1_ticket_appdata(*session, &data, 1))
			return 0;
		t->peer = (enum tls_role)role;
		t->is_resumed = false;
		return 1;
	}
	if (n > 6 && memcmp(id, "vine1 ", 6) == 0)
		t->is_wrong_role = true;
	return 1;
}

static SSL_TICKET_RETURN tls_on_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t n_name,
				       SSL_TICKET_STATUS status, void *arg)
{
	(void)name, (void)n_name, (void)arg;
	struct tls *t = SSL_get_app_data(ssl);
	void *data = NULL;
	size_t n = 0;
	if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	if (!SSL_SESSION_get0_ticket_appdata(session, &data, &n) || n != 1)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	uint8_t role = *(const uint8_t *)data;
	if (!role || role >= TLS_ROLES || !t->context->from[role].identity[0])
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	t->peer = (enum tls_role)role;
	t->is_resumed = true;
	return SSL_TICKET_RETURN_USE_RENEW;
}

/* ---- sessions kept for resumption */

static bool tls_address(int fd, uint8_t address[sizeof(struct sockaddr_in6)])
{
	struct sockaddr_storage at = {0};
	socklen_t n = sizeof at;
	if (getpeername(fd, (struct sockaddr *)&at, &n) != 0)
		return false;
	memcpy(address, &at, sizeof(struct sockaddr_in6));
	return true;
}

static struct tls_session *tls_session_find(struct tls_context *c, int fd, enum tls_role peer, bool make)
{
	uint8_t address[sizeof(struct sockaddr_in6)];
	if (!tls_address(fd, address))
		return NULL;
	for (size_t i = 0; i < c->n_sessions; i++)
		if (c->sessions[i].peer == peer && memcmp(c->sessions[i].address, address, sizeof address) == 0)
			return &c->sessions[i];
	if (!make)
		return NULL;
	struct tls_session *s = &c->sessions[c->next_session];
	c->next_session = (c->next_session + 1) % TLS_SESSIONS_MAX;
	c->n_sessions = min(c->n_sessions + 1, (size_t)TLS_SESSIONS_MAX);
	SSL_SESSION_free(s->session);
	*s = (struct tls_session){.peer = peer};
	memcpy(s->address, address, sizeof address);
	return s;
}

static int tls_on_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls *t = SSL_get_app_data(ssl);
	if (t->is_server)
		return 0;
	t->has_ticket = true;
	if (!SSL_SESSION_is_resumable(session))
		return 0;
	struct tls_session *s = tls_session_find(t->context, t->fd, t->peer, true);
	if (!s || !SSL_SESSION_set1_ticket_appdata(session, tls_name, sizeof tls_name))
		return 0;
	SSL_SESSION_free(s->session);
	s->session = session;
	return 1;
}

/* ---- bytes. A BIO of our own: it counts what comes before trust, raises no SIGPIPE and keeps errno. */

static bool tls_is_tolerable(struct tls *t, const uint8_t *p, size_t n)
{
	t->n_taken += (uint32_t)n;
	if (!t->is_server || t->n_taken > TLS_UNTRUSTED_MAX)
		return t->n_taken <= TLS_UNTRUSTED_MAX;
	size_t more = min(n, sizeof t->first - t->n_first);
	memcpy(t->first + t->n_first, p, more);
	t->n_first += (uint8_t)more;
	if (t->n_first < sizeof t->first || t->first[0] != 0x16)
		return true;
	uint32_t size = (uint32_t)t->first[6] << 16 | (uint32_t)t->first[7] << 8 | t->first[8];
	return size <= TLS_CLIENT_HELLO_MAX;
}

static int tls_bio_read(BIO *b, char *p, int n)
{
	struct tls *t = BIO_get_data(b);
	BIO_clear_retry_flags(b);
	ssize_t r = recv(t->fd, p, (size_t)n, MSG_DONTWAIT);
	t->io_error = r < 0 ? errno : 0;
	t->is_short = r < n;
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_read(b);
	if (r > 0 && !t->is_done && !tls_is_tolerable(t, (const uint8_t *)p, (size_t)r)) {
		t->io_error = EMSGSIZE;
		return -1;
	}
	return (int)r;
}

static int tls_bio_write(BIO *b, const char *p, int n)
{
	struct tls *t = BIO_get_data(b);
	BIO_clear_retry_flags(b);
	ssize_t r = send(t->fd, p, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT | (t->is_more ? MSG_MORE : 0));
	t->io_error = r < 0 ? errno : 0;
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_write(b);
	return (int)r;
}

static long tls_bio_control(BIO *b, int what, long number, void *p)
{
	(void)b, (void)number, (void)p;
	return what == BIO_CTRL_FLUSH || what == BIO_CTRL_DUP;
}

static BIO_METHOD *tls_method_new(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "vine");
	if (m && BIO_meth_set_read(m, tls_bio_read) && BIO_meth_set_write(m, tls_bio_write) &&
	    BIO_meth_set_ctrl(m, tls_bio_control))
		return m;
	BIO_meth_free(m);
	return NULL;
}

/* ---- contexts */

static int tls_context_set(SSL_CTX *s)
{
	SSL_CTX_set_mode(s, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(s, 0);
	SSL_CTX_set_options(s, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_session_cache_mode(s, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_set_timeout(s, TLS_SESSION_SECONDS);
	SSL_CTX_set_psk_use_session_callback(s, tls_on_offer);
	SSL_CTX_set_psk_find_session_callback(s, tls_on_identity);
	SSL_CTX_sess_set_new_cb(s, tls_on_session);
	return SSL_CTX_set_min_proto_version(s, TLS1_3_VERSION) && SSL_CTX_set_max_proto_version(s, TLS1_3_VERSION) &&
	       SSL_CTX_set_ciphersuites(s, "TLS_AES_128_GCM_SHA256") && SSL_CTX_set1_groups_list(s, "X25519:P-256") &&
	       SSL_CTX_set_num_tickets(s, 1) && SSL_CTX_set_session_ticket_cb(s, NULL, tls_on_ticket, NULL) &&
	       SSL_CTX_set_session_id_context(s, tls_name, sizeof tls_name);
}

struct tls_context *tls_context_new(const uint8_t secret[TLS_SECRET_SIZE], enum tls_role own, unsigned peers)
{
	assert(own > TLS_ROLE_NONE && own < TLS_ROLES);
	assert(peers && !(peers & 1u) && peers < 1u << TLS_ROLES);
	struct tls_context *c = NEW(struct tls_context);
	c->n_users = 1;
	c->method = tls_method_new();
	c->ssl = SSL_CTX_new(TLS_method());
	int r = c->method && c->ssl && tls_context_set(c->ssl) ? 0 : -ENOTSUP;
	for (unsigned role = 1; r == 0 && role < TLS_ROLES; role++) {
		if (!(peers & 1u << role))
			continue;
		r = tls_key_make(&c->from[role], secret, (enum tls_role)role, own);
		if (r == 0)
			r = tls_key_make(&c->to[role], secret, own, (enum tls_role)role);
	}
	ERR_clear_error();
	if (r == 0)
		return c;
	tls_context_free(c);
	errno = -r;
	return NULL;
}

/* Connections still use it; the last one frees it. */
static void tls_context_unref(struct tls_context *c)
{
	assert(c->n_users > 0);
	if (--c->n_users)
		return;
	for (size_t i = 0; i < c->n_sessions; i++)
		SSL_SESSION_free(c->sessions[i].session);
	SSL_CTX_free(c->ssl);
	BIO_meth_free(c->method);
	OPENSSL_cleanse(c->from, sizeof c->from);
	OPENSSL_cleanse(c->to, sizeof c->to);
	free(c);
}

void tls_context_free(struct tls_context *c)
{
	if (c)
		tls_context_unref(c);
}

/* ---- connections */

static struct tls *tls_new(struct tls_context *c, int fd)
{
	struct tls *t = NEW(struct tls);
	t->context = c;
	c->n_users++;
	t->fd = fd;
	t->ssl = SSL_new(c->ssl);
	BIO *b = t->ssl ? BIO_new(c->method) : NULL;
	if (!b)
		abort(); /* a small allocation, as any other */
	BIO_set_data(b, t);
	BIO_set_init(b, 1);
	SSL_set_bio(t->ssl, b, b);
	SSL_set_app_data(t->ssl, t);
	return t;
}

struct tls *tls_accept(struct tls_context *c, int fd)
{
	struct tls *t = tls_new(c, fd);
	t->is_server = true;
	t->events = EPOLLIN;
	SSL_set_accept_state(t->ssl);
	return t;
}

struct tls *tls_connect(struct tls_context *c, int fd, enum tls_role peer)
{
	assert(peer > TLS_ROLE_NONE && peer < TLS_ROLES);
	assert(c->to[peer].identity[0]);
	struct tls *t = tls_new(c, fd);
	t->peer = peer;
	t->events = EPOLLOUT;
	SSL_set_connect_state(t->ssl);
	/* Whoever answers with a certificate instead of the key is none of ours. */
	SSL_set_verify(t->ssl, SSL_VERIFY_PEER, NULL);
	struct tls_session *s = tls_session_find(c, fd, peer, false);
	if (s && s->session && SSL_SESSION_is_resumable(s->session))
		SSL_set_session(t->ssl, s->session);
	return t;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	/* Else the session would count as broken, and its ticket would go with it. */
	if (t->is_done && !t->is_broken)
		SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(t->ssl);
	tls_context_unref(t->context);
	free(t);
}

/* ---- what went wrong */

static int tls_fail(struct tls *t, enum tls_fault fault, const char *reason)
{
	t->is_broken = true;
	t->fault = fault;
	snprintf(t->reason, sizeof t->reason, "%s", reason);
	return -EPROTO;
}

static int tls_fail_by(struct tls *t, int code)
{
	switch (code) {
	case SSL_R_BINDER_DOES_NOT_VERIFY:
	case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
	case SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER: /* what OpenSSL 3.0 answers to a wrong binder */
		return tls_fail(t, TLS_FAULT_SECRET, "wrong secret");
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
	case SSL_R_VERSION_TOO_LOW:
		return tls_fail(t, TLS_FAULT_OLD, "too old: TLS 1.3 is needed");
	case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
	case SSL_R_NO_SHARED_CIPHER:
	case SSL_R_NO_SUITABLE_KEY_SHARE:
		return tls_fail(t, TLS_FAULT_OTHER, "TLS without a key of this cluster");
	case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
		return tls_fail(t, TLS_FAULT_ROLE,
				"wrong role: the peer is not what was asked for, or takes none such");
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		return tls_fail(t, TLS_FAULT_OTHER, "TLS, but not Vine: it answered with a certificate");
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_HTTP_REQUEST:
	case SSL_R_HTTPS_PROXY_REQUEST:
	case SSL_R_PACKET_LENGTH_TOO_LONG:
	case SSL_R_ENCRYPTED_LENGTH_TOO_LONG:
	case SSL_R_DATA_LENGTH_TOO_LONG:
	case SSL_R_UNEXPECTED_MESSAGE:
	case SSL_R_LENGTH_MISMATCH:
	case SSL_R_LENGTH_TOO_SHORT:
	case SSL_R_BAD_RECORD_TYPE:
		return tls_fail(t, TLS_FAULT_OTHER, "not TLS");
	default:
		return tls_fail(t, TLS_FAULT_OTHER, "broken TLS");
	}
}

static int tls_protocol_error(struct tls *t)
{
	unsigned long e = ERR_peek_error();
	int code = ERR_GET_LIB(e) == ERR_LIB_SSL ? ERR_GET_REASON(e) : 0;
	if (code == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		t->is_broken = true;
		snprintf(t->reason, sizeof t->reason, "closed without a word");
		return -ECONNRESET;
	}
	if (!t->is_done && t->is_wrong_role)
		return tls_fail(t, TLS_FAULT_ROLE, "wrong role");
	int r = tls_fail_by(t, code);
	if (t->fault == TLS_FAULT_OTHER && t->is_done)
		snprintf(t->reason, sizeof t->reason, "altered on the way: %s", ERR_reason_error_string(e));
	return r;
}

/* What an OpenSSL call that returned `r` means in our terms. */
static int tls_error(struct tls *t, int r)
{
	int error = SSL_get_error(t->ssl, r);
	int result = -EPROTO;
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
		t->events = error == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT;
		result = -EAGAIN;
	} else if (error == SSL_ERROR_ZERO_RETURN) {
		result = 0;
	} else if (t->io_error == EMSGSIZE && !t->is_done) {
		result = tls_fail(t, TLS_FAULT_OTHER, "not TLS: too much before the handshake");
	} else if (error == SSL_ERROR_SYSCALL) {
		t->is_broken = true;
		result = t->io_error ? -t->io_error : -ECONNRESET;
		snprintf(t->reason, sizeof t->reason, "%s",
			 t->io_error ? strerror(t->io_error) : "closed without a word");
	} else {
		result = tls_protocol_error(t);
	}
	ERR_clear_error();
	return result;
}

/* ---- talking */

/* On the connecting side whatever came by a ticket bears our name, and a session made of the key nothing. */
static bool tls_is_marked(SSL_SESSION *session)
{
	void *data = NULL;
	size_t n = 0;
	return SSL_SESSION_get0_ticket_appdata(session, &data, &n) && n > 0;
}

int tls_handshake(struct tls *t)
{
	assert(!t->is_done && !t->is_broken);
	ERR_clear_error();
	int r = SSL_do_handshake(t->ssl);
	if (r != 1) {
		r = tls_error(t, r);
		return r ? r : -ECONNRESET;
	}
	/* Every good handshake rests on a key of ours; without one neither side knows whom it talks to. */
	if (!SSL_session_reused(t->ssl) || t->peer == TLS_ROLE_NONE)
		return tls_fail(t, TLS_FAULT_OTHER, "TLS without a key of this cluster");
	if (!t->is_server)
		t->is_resumed = tls_is_marked(SSL_get0_session(t->ssl));
	t->is_done = true;
	t->events = EPOLLIN;
	/* Records that came together are taken by one call, not by two for each. Not before: then what follows the handshake would lie where no poll
	 * announces it. */
	SSL_set_read_ahead(t->ssl, 1);
	return 0;
}

/* A ticket wakes OpenSSL's handshake machine, which takes a write buffer of 16 KiB and keeps it till something is written. It
 * is given back, but not while a record is half read: its head would go with the buffers. */
static void tls_release(struct tls *t)
{
	if (streq(SSL_rstate_string(t->ssl), "RH") && SSL_free_buffers(t->ssl))
		t->has_ticket = false;
}

ssize_t tls_read(struct tls *t, void *p, size_t n)
{
	assert(t->is_done && n > 0);
	size_t got = 0;
	ERR_clear_error();
	int r = SSL_read_ex(t->ssl, p, n, &got);
	if (r != 1)
		r = tls_error(t, r);
	if ((r == 1 || r == -EAGAIN) && t->has_ticket)
		tls_release(t);
	return got ? (ssize_t)got : r;
}

ssize_t tls_write(struct tls *t, const void *p, size_t n)
{
	assert(t->is_done && n > 0);
	size_t put = 0;
	ERR_clear_error();
	/* One record at a time, and each alone would end in a packet of its own, far from full. */
	t->is_more = n > SSL3_RT_MAX_PLAIN_LENGTH;
	int r = SSL_write_ex(t->ssl, p, n, &put);
	t->is_more = false;
	if (r == 1)
		return (ssize_t)put;
	r = tls_error(t, r);
	return r ? r : -EPIPE;
}

unsigned tls_events(const struct tls *t)
{
	assert(t->events == EPOLLIN || t->events == EPOLLOUT);
	return t->events;
}

bool tls_has_pending(const struct tls *t)
{
	return SSL_has_pending(t->ssl) == 1;
}

bool tls_is_drained(const struct tls *t)
{
	return t->is_short && !tls_has_pending(t);
}

void tls_shutdown(struct tls *t)
{
	/* After a fatal error OpenSSL has sent its alert; nothing may follow it. */
	if (!t->is_done || t->is_broken)
		return;
	ERR_clear_error();
	SSL_shutdown(t->ssl);
	ERR_clear_error();
}

enum tls_role tls_peer_role(const struct tls *t)
{
	return t->is_done ? t->peer : TLS_ROLE_NONE;
}

bool tls_is_resumed(const struct tls *t)
{
	return t->is_done && t->is_resumed;
}

bool tls_is_final(const struct tls *t)
{
	return t->fault == TLS_FAULT_SECRET || t->fault == TLS_FAULT_ROLE || t->fault == TLS_FAULT_OLD;
}

const char *tls_reason(const struct tls *t)
{
	return t->reason;
}
