/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* SFrame (RFC 9605): header, key schedule, seal and open, for the AES-GCM suites. */

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
  NAT_SFRAME_NONE = 0,
  NAT_SFRAME_AES_128_GCM_SHA256_128 = 4, /* RFC 9605 table 1 */
  NAT_SFRAME_AES_256_GCM_SHA512_128 = 5,
} NatSframeSuite;

#define NAT_SFRAME_HEADER_MAX 17
#define NAT_SFRAME_TAG_SIZE   16

typedef struct {
  guint64 kid, ctr;
  gsize len; /* bytes of the header */
} NatSframeHeader;

/* buf: NAT_SFRAME_HEADER_MAX bytes. Returns the length. */
gsize nat_sframe_header_write (guint8 *buf, guint64 kid, guint64 ctr);
/* FALSE: cut, or not in its shortest form. */
gboolean nat_sframe_header_parse (NatSframeHeader *h, const guint8 *data, gsize len);

typedef struct _NatSframeKey NatSframeKey; /* one thread at a time */
/* RFC 9605 section 4.4.2: from a base key and its KID. */
NatSframeKey *nat_sframe_key_new (
    NatSframeSuite suite, guint64 kid, gconstpointer base_key, gsize base_key_len);
void nat_sframe_key_free (NatSframeKey *k);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatSframeKey, nat_sframe_key_free)

/* out: len + NAT_SFRAME_HEADER_MAX + NAT_SFRAME_TAG_SIZE bytes, not overlapping in.
 * Returns the ciphertext's length (header, text, tag), 0 on a library failure. */
gsize nat_sframe_seal (NatSframeKey *k, guint64 ctr, gconstpointer metadata, gsize metadata_len,
    gconstpointer in, gsize len, guint8 *out);
/* h was parsed from the start of data. out: may be data itself. FALSE: not genuine. */
gboolean nat_sframe_open (NatSframeKey *k, const NatSframeHeader *h, gconstpointer metadata,
    gsize metadata_len, const guint8 *data, gsize len, guint8 *out, gsize *out_len);

G_END_DECLS
