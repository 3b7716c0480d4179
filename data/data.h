/* SPDX-License-Identifier: Apache-2.0
 * What bytes are: content addresses, trees, packs, sealing. Reads and writes files; knows no cache, mount or task.
 *
 * Files, top to bottom: seal.c (a directory becomes a tree), archive.c (an archive does), archive_stream.c (its bytes, uncompressed
 * and checked), archive_gzip.c (gzip's), archive_zip.c (a zip agrees with itself), walk.c (names of a directory), linked.c
 * (files of several names), feeder.c (reads and digests ahead), assembler.c (packs and blobs), builder.c (makes an index),
 * compose.c (files of several trees as one directory), export.c and compare.c (a tree against files), tree.c (reads an index), address.c (content addresses). decisions/0002 has
 * the format. */
#ifndef DATA_H
#define DATA_H

#include "common/base.h"
#include "common/digest.h"

#include <sys/stat.h>
#include <sys/types.h>

/* ---- content addresses */

#define DATA_SMALL_MAX (128u << 10) /* larger files are blobs of their own */
#define DATA_PATH_MAX 4096u         /* of a path in a tree, with a leading slash */
#define DATA_PACK_CHUNK (256u << 10)
#define DATA_PACK_FULL (4u << 20) /* a pack closes after the file that brings it here */
#define DATA_PACK_HALF (2u << 20) /* ... or on leaving a directory from here on */

/* Of a file of this size: size / 512 rounded up to a power of two, within 32 KiB and 1 MiB. */
uint32_t data_chunk_size(uint64_t size);
uint64_t data_n_chunks(uint64_t size, uint32_t chunk_size);

/* The address of what has these chunks. */
void data_address(uint64_t size, uint32_t chunk_size, const struct digest *chunks, struct digest *address);

/* Of bytes in memory, by the rule for files. */
void data_address_of(const void *p, size_t n, struct digest *address);

/* ---- trees: an index, read-only, in memory of its own. Any number of threads may read one. */

enum tree_type { TREE_DIRECTORY = 1, TREE_FILE = 2, TREE_LINK = 3 };

struct tree_node { /* as on disk */
	uint32_t name;
	uint8_t name_size;
	uint8_t type;
	uint16_t mode; /* permissions and sticky bit */
	int64_t mtime_sec;
	uint32_t mtime_nsec;
	uint32_t parent; /* the root's is itself */
	uint32_t first;  /* directory: first child; file: content; link: its target in the text */
	uint32_t n;      /* directory: children; link: length of the target */
	uint32_t n_directories;
	uint32_t reserved;
};

struct tree_content {
	uint64_t size;
	uint8_t address[DIGEST_SIZE];
};

enum tree_blob_kind { TREE_BLOB_FILE = 1, TREE_BLOB_PACK = 2 };

struct tree_blob {
	uint8_t address[DIGEST_SIZE];
	uint64_t size;
	uint64_t first_chunk; /* chunks of a tree are numbered across its blobs */
	uint32_t chunk_size;
	uint32_t kind;
};

struct tree_extent {
	uint64_t offset;
	uint32_t blob; /* TREE_NO_BLOB: an empty file */
	uint32_t reserved;
};

#define TREE_NO_BLOB UINT32_MAX

struct tree;

/* Takes over `p` (from malloc, n bytes of a .vti) in every case. Verifies every digest and offset; `id` NULL: whatever it is. 0, -EBADMSG (damaged or hostile),
 * -EPROTONOSUPPORT (a format we do not know), -ESTALE (a good tree, but not `id`). */
int tree_take(void *p, size_t n, const struct digest *id, struct tree **out);
/* The same of what tree_bytes() gives of a draft. */
int tree_take_draft(void *p, size_t n, struct tree **out);
/* Reads a file of at most 4 GiB. 0 or as above or -errno. */
int tree_read(int fd, const struct digest *id, struct tree **out);
void tree_free(struct tree *t);
DEFINE_FREEP(struct tree, tree_free)

const struct digest *tree_id(const struct tree *t); /* of a draft: the digest of names, attributes and sizes */
const struct digest *tree_layout_id(const struct tree *t);
/* The bytes that it was read from, all *n of them: of a draft its names. */
const void *tree_bytes(const struct tree *t, size_t *n);
uint32_t tree_n_nodes(const struct tree *t);
uint64_t tree_size(const struct tree *t); /* sum of its files' sizes */
const struct tree_node *tree_node(const struct tree *t, uint32_t i);
const char *tree_name(const struct tree *t, uint32_t i);   /* NUL-terminated; "" for the root */
const char *tree_target(const struct tree *t, uint32_t i); /* of a link */
uint64_t tree_file_size(const struct tree *t, uint32_t i);
/* The child of a directory by name: its number, or -ENOENT. */
int64_t tree_child(const struct tree *t, uint32_t directory, const char *name, size_t n);
/* By a path from the root ("" is the root; no "..", links are not followed): number, -ENOENT, -ENOTDIR. */
int64_t tree_find(const struct tree *t, const char *path);
/* The path of a node, yours to free. */
char *tree_path(const struct tree *t, uint32_t i);

/* Trees that are single files, as one directory: a draft whose root has node i + 1 for files[i], under names[i]: single components in the order of raw bytes, no two alike. 0, -EBADMSG (they
 * are not), -EOVERFLOW. Nothing is borrowed. */
int tree_compose(const struct tree *const *files, const char *const *names, size_t n, struct tree **out);

uint32_t tree_n_contents(const struct tree *t);
const struct tree_content *tree_content(const struct tree *t, uint32_t content);
const struct tree_extent *tree_extent(const struct tree *t, uint32_t content);
uint32_t tree_n_blobs(const struct tree *t);
const struct tree_blob *tree_blob(const struct tree *t, uint32_t blob);
uint64_t tree_n_chunks(const struct tree *t);
uint32_t tree_blob_of(const struct tree *t, uint64_t chunk); /* that it lies in */
void tree_chunk_digest(const struct tree *t, uint64_t chunk, struct digest *d);

/* ---- sealing */

/* What tells that a file is as it was. */
struct signature {
	uint64_t inode, size;
	int64_t mtime_sec, ctime_sec;
	uint32_t mtime_nsec, ctime_nsec;
};

void signature_of(const struct stat *st, struct signature *s);
bool signature_is_equal(const struct signature *a, const struct signature *b);

/* A blob's chunks, as a sink stores and a memory remembers them. */
struct blob_chunks {
	struct digest address;
	uint64_t size;
	uint32_t chunk_size;
	uint32_t n;
	struct digest *chunks; /* owned by whoever holds the struct; free() */
};

/* Where a tree's bytes go, and what was digested before. Every callback may be called from several threads at once; -errno ends the sealing. */
struct seal_store {
	void *arg;
	/* A new blob of this size: reserve the room. */
	int (*begin)(void *arg, uint64_t size, void **blob);
	int (*write)(void *arg, void *blob, uint64_t offset, const void *p, size_t n);
	/* Not NULL: this file of that size may itself become the blob: 1 and the blob, into which nothing is written, while nobody else can write to the file; 0: it is to be copied. The descriptor is borrowed until
	 * commit or abort. */
	int (*take)(void *arg, int fd, uint64_t size, void **blob);
	/* Publish it, or drop it if it is there; the blob is gone afterwards. */
	int (*commit)(void *arg, void *blob, const struct blob_chunks *chunks);
	void (*abort)(void *arg, void *blob);
	/* True if this file, so signed, has this content. NULL: nothing is remembered. */
	bool (*recall_file)(void *arg, const char *path, const struct signature *s, struct digest *address);
	void (*learn_file)(void *arg, const char *path, const struct signature *s, const struct digest *address);
	/* True if the blob known under `key` (a file's address, or the digest of a pack's members) is held; fills `chunks`. */
	bool (*recall_blob)(void *arg, const struct digest *key, struct blob_chunks *chunks);
	void (*learn_blob)(void *arg, const struct digest *key, const struct blob_chunks *chunks);
};

struct seal_progress {
	uint64_t files_found, files_done, bytes_found, bytes_done, bytes_read;
};

struct seal_options {
	const struct seal_store *store;
	unsigned n_threads; /* 0: as many as there are cores */
	void (*on_progress)(void *arg,
			    const struct seal_progress *p); /* a few times a second, from the calling thread; NULL */
	void *arg;
	const bool *is_cancelled; /* set by anybody: -ECANCELED */
	/* Of a directory, NULL: all of it. Any thread: is what lies at this path below it to be sealed (of a directory: anything below it)? */
	bool (*is_wanted)(void *arg, const char *path);
	/* Of a directory, NULL: its names are known and no content is read yet; from the calling thread. `draft` is a tree without contents: files have sizes, no extents, no blobs, and the
	 * numbers that they will have; signatures[i] is what the walk saw of node i. Both are the callee's. */
	void (*on_names)(void *arg, struct tree *draft, struct signature *signatures);
};

/* What went wrong or was left out, a line each, at most `most`; the rest is counted. */
struct seal_report {
	char *lines[64];
	unsigned n, n_more;
};

void seal_report_fini(struct seal_report *r);
void seal_report_add(struct seal_report *r, const char *fmt, ...) _printf_(2, 3);

/* The result of sealing: the bytes of a .vti, ready for tree_take() or to be written. 0 or -errno; `errors` lists what is unreadable or changed thrice (-EACCES, -ESTALE ...; of several kinds -EIO), `notes` what was left
 * out (sockets, devices, setuid bits cleared). `path` names it in messages. */
int seal_directory(int directory, const char *path, const struct seal_options *o, void **vti, size_t *n,
		   struct seal_report *errors, struct seal_report *notes);

/* An archive (tar in any of its dialects and zip, compressed by gzip, bzip2, xz, zstd or not), streamed, never extracted. `fd` may be a pipe. Bounds: names as
 * path_check, 10 million entries, 1 TiB in all. */
int seal_archive(int fd, const char *path, const struct seal_options *o, void **vti, size_t *n,
		 struct seal_report *errors, struct seal_report *notes);

/* One file as a tree of one node. */
int seal_file(int fd, const char *path, const struct seal_options *o, void **vti, size_t *n,
	      struct seal_report *errors);

/* ---- trees against files */

/* Where a tree's bytes come from: n bytes of a blob into p; 0 or -errno. Any thread. */
struct blob_reader {
	void *arg;
	int (*read)(void *arg, const struct tree_blob *blob, uint64_t offset, void *p, size_t n);
};

/* n bytes of a file from `offset` (short at its end): how many, or -errno. Not verified here: the reader's blobs are. */
ssize_t tree_read_file(const struct tree *t, uint32_t i, const struct blob_reader *r, uint64_t offset, void *p,
		       size_t n);

/* Writes the tree below an empty directory. */
int tree_export(const struct tree *t, const struct blob_reader *r, int directory, struct seal_report *errors);

/* Says how two trees differ, a line each ("+ path", "- path", "M path", "m path" for attributes alone); returns how many. */
uint64_t tree_diff(const struct tree *a, const struct tree *b, void (*line)(void *arg, char mark, const char *path),
		   void *arg);

#endif
