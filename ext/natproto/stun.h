/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* STUN messages (RFC 8489) over the caller's bytes: no allocation, no I/O. Reading
 * leaves slices into the datagram; writing fills the caller's buffer and remembers an
 * overflow until the end, so that call sites need no check per attribute. */

#include <glib.h>
#include "natproto/address.h"
#include "natproto/messages.h"

G_BEGIN_DECLS

typedef struct {
  const guint8 *data; /* NULL: the attribute is absent */
  guint16 len;        /* bytes, without padding */
} NatStunSlice;

typedef struct {
  const guint8 *bytes; /* the whole message; must outlive this struct */
  gsize len;
  guint16 type;                 /* method and class, as on the wire; see NatStunType */
  const guint8 *transaction_id; /* 12 bytes */
  /* First occurrence counts (RFC 8489 section 14). */
  NatStunSlice username, realm, nonce, software, userhash;
  NatStunSlice password_algorithm, password_algorithms;
  NatStunSlice error_code, xor_mapped_address, unknown_attributes;
  NatStunSlice boot_id, epoch, version, reason;
  NatStunSlice integrity; /* MESSAGE-INTEGRITY (SHA-1), never accepted, known for tools */
  NatStunSlice integrity_sha256;
  gboolean use_candidate;
  gboolean has_fingerprint;    /* present and, as parse succeeded, right */
  guint16 unknown_required[8]; /* comprehension-required attributes that we do not know */
  guint n_unknown_required;    /* how many were seen, at most 8 counted */
} NatStunMessage;

typedef enum {
  NAT_STUN_OK,
  NAT_STUN_NOT_STUN, /* too short, no cookie, high bits set, length not of 4 or not the datagram's */
  NAT_STUN_BAD_ATTRIBUTE,   /* an attribute runs over the end, or has an impossible size */
  NAT_STUN_BAD_FINGERPRINT, /* present but wrong */
} NatStunStatus;

/* Cheap look at a datagram: right header and cookie, and length equal to len. */
gboolean nat_stun_is_message (const guint8 *data, gsize len);
/* Attributes after an integrity attribute are ignored, except a stronger integrity and FINGERPRINT. */
NatStunStatus nat_stun_parse (NatStunMessage *msg, const guint8 *data, gsize len);
/* 300..699, or 0 if absent or malformed. reason (may be NULL) is a slice of the text, not terminated. */
guint nat_stun_error_code (const NatStunMessage *msg, NatStunSlice *reason);
gboolean nat_stun_mapped_address (const NatStunMessage *msg, NatAddress *out);
/* For the 4-byte attributes; FALSE if absent or of another size. */
gboolean nat_stun_slice_u32 (const NatStunSlice *slice, guint32 *out);
/* TRUE if the slice holds exactly this text. Not constant-time: not for secrets. */
gboolean nat_stun_slice_equal (const NatStunSlice *slice, const char *text);

typedef struct {
  guint8 *buf;
  gsize cap, len;
  gboolean overflow;
} NatStunWriter;

void nat_stun_writer_init (
    NatStunWriter *w, guint8 *buf, gsize cap, guint16 type, const guint8 transaction_id[12]);
void nat_stun_writer_add (NatStunWriter *w, guint16 attribute, gconstpointer data, gsize len);
void nat_stun_writer_add_text (NatStunWriter *w, guint16 attribute, const char *text);
void nat_stun_writer_add_u32 (NatStunWriter *w, guint16 attribute, guint32 value);
void nat_stun_writer_add_flag (NatStunWriter *w, guint16 attribute);
void nat_stun_writer_add_error (NatStunWriter *w, guint code, const char *reason);
void nat_stun_writer_add_mapped_address (NatStunWriter *w, const NatAddress *address);
/* MESSAGE-INTEGRITY-SHA256, all 32 bytes, keyed with key_len bytes. */
void nat_stun_writer_add_integrity (NatStunWriter *w, gconstpointer key, gsize key_len);
/* Adds PADDING so that the finished message, tail_len bytes still to come included, is at least
 * total bytes long; adds nothing if it is already. */
void nat_stun_writer_pad_to (NatStunWriter *w, gsize total, gsize tail_len);
/* FINGERPRINT, and the end. Returns the message's length, or 0 when it did not fit. */
gsize nat_stun_writer_finish (NatStunWriter *w);

#define NAT_STUN_INTEGRITY_SIZE   36 /* bytes that add_integrity adds */
#define NAT_STUN_FINGERPRINT_SIZE 8  /* bytes that finish adds */

G_END_DECLS
