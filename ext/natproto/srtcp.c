/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/srtcp.h"

#include <string.h>

#include "natproto/bytes.h"
#include "natproto/crypto.h"

/* On the wire (RFC 7714 section 9.2): 8 bytes in the clear, ciphertext, tag, and a word of E flag and
 * index. The tag covers the 8 bytes and that word. */

#define CLEAR_SIZE   8
#define TRAILER_SIZE 4
#define E_FLAG       0x80000000u
#define INDEX_MAX    0x7fffffffu
#define REPLAY_WORDS 4

G_STATIC_ASSERT ((REPLAY_WORDS - 1) * 64 == NAT_SRTCP_WINDOW);
G_STATIC_ASSERT (NAT_AEAD_TAG_SIZE + TRAILER_SIZE == NAT_SRTCP_OVERHEAD);

struct _NatSrtcp {
  NatAead *aead;
  guint8 salt[NAT_AEAD_NONCE_SIZE];
  guint32 next_index; /* sending; beyond INDEX_MAX: used up */
  NatReplay replay;   /* receiving */
  guint64 words[REPLAY_WORDS];
};

void
nat_srtcp_master (const char *password, NatSrtcpDirection direction,
    const guint8 boot_id[NAT_BOOT_ID_SIZE], const guint8 epoch[NAT_EPOCH_SIZE],
    guint8 master[NAT_SRTCP_MASTER_SIZE])
{
  const char *label =
      direction == NAT_SRTCP_CLIENT_TO_RELAY ? NAT_LABEL_SRTCP_CLIENT : NAT_LABEL_SRTCP_RELAY;
  guint8 salt[NAT_BOOT_ID_SIZE + NAT_EPOCH_SIZE];

  memcpy (salt, boot_id, NAT_BOOT_ID_SIZE);
  memcpy (salt + NAT_BOOT_ID_SIZE, epoch, NAT_EPOCH_SIZE);
  nat_crypto_hkdf (password, strlen (password), salt, sizeof salt, label, strlen (label), master,
      NAT_SRTCP_MASTER_SIZE);
}

/* RFC 3711 section 4.3.1 and .3: one block of AES in counter mode over label and master salt, which
 * RFC 7714 section 11 pads on the right. One block is enough for what GCM needs. */
static void
derive (const guint8 master[NAT_SRTCP_MASTER_SIZE], guint8 label, guint8 out[16])
{
  guint8 x[16] = {0};

  memcpy (x, master + 16, NAT_AEAD_NONCE_SIZE);
  x[7] ^= label;
  nat_crypto_aes128_block (master, x, out);
}

NatSrtcp *
nat_srtcp_new (const char *password, NatSrtcpDirection direction,
    const guint8 boot_id[NAT_BOOT_ID_SIZE], const guint8 epoch[NAT_EPOCH_SIZE])
{
  NatSrtcp *s = g_new0 (NatSrtcp, 1);
  guint8 master[NAT_SRTCP_MASTER_SIZE], block[16];

  nat_srtcp_master (password, direction, boot_id, epoch, master);
  derive (master, 3, block);
  s->aead = nat_aead_new (block, sizeof block);
  derive (master, 5, block);
  memcpy (s->salt, block, sizeof s->salt);
  nat_replay_init (&s->replay, s->words, REPLAY_WORDS);
  nat_crypto_wipe (master, sizeof master);
  nat_crypto_wipe (block, sizeof block);
  return s;
}

void
nat_srtcp_free (NatSrtcp *s)
{
  if (s == NULL)
    return;
  nat_aead_free (s->aead);
  nat_crypto_wipe (s, sizeof *s);
  g_free (s);
}

/* RFC 7714 section 9.1: zeros, SSRC, zeros, index, all under the salt. */
static void
make_nonce (const NatSrtcp *s, const guint8 *ssrc, guint32 index, guint8 nonce[NAT_AEAD_NONCE_SIZE])
{
  memset (nonce, 0, NAT_AEAD_NONCE_SIZE);
  memcpy (nonce + 2, ssrc, 4);
  nat_write_u32 (nonce + 8, index);
  for (guint i = 0; i < NAT_AEAD_NONCE_SIZE; i++)
    nonce[i] ^= s->salt[i];
}

static void
make_aad (const guint8 *data, guint32 trailer, guint8 aad[CLEAR_SIZE + TRAILER_SIZE])
{
  memcpy (aad, data, CLEAR_SIZE);
  nat_write_u32 (aad + CLEAR_SIZE, trailer);
}

gsize
nat_srtcp_protect (NatSrtcp *s, guint8 *data, gsize len)
{
  guint8 nonce[NAT_AEAD_NONCE_SIZE], aad[CLEAR_SIZE + TRAILER_SIZE];
  guint32 trailer = E_FLAG | s->next_index;

  if (len < CLEAR_SIZE || s->next_index > INDEX_MAX)
    return 0;
  make_nonce (s, data + 4, s->next_index, nonce);
  make_aad (data, trailer, aad);
  /* Used even if sealing fails: an index never comes back. */
  s->next_index++;
  if (!nat_aead_seal (
          s->aead, nonce, aad, sizeof aad, data + CLEAR_SIZE, len - CLEAR_SIZE, data + CLEAR_SIZE))
    return 0;
  nat_write_u32 (data + len + NAT_AEAD_TAG_SIZE, trailer);
  return len + NAT_SRTCP_OVERHEAD;
}

NatSrtcpStatus
nat_srtcp_unprotect (NatSrtcp *s, guint8 *data, gsize *len)
{
  guint8 nonce[NAT_AEAD_NONCE_SIZE], aad[CLEAR_SIZE + TRAILER_SIZE];
  guint32 trailer, index;

  if (*len < CLEAR_SIZE + NAT_SRTCP_OVERHEAD)
    return NAT_SRTCP_SHORT;
  trailer = nat_read_u32 (data + *len - TRAILER_SIZE);
  index = trailer & INDEX_MAX;
  if ((trailer & E_FLAG) == 0)
    return NAT_SRTCP_FORGED;
  if (!nat_replay_check (&s->replay, index))
    return NAT_SRTCP_REPLAYED;
  make_nonce (s, data + 4, index, nonce);
  make_aad (data, trailer, aad);
  if (!nat_aead_open (s->aead, nonce, aad, sizeof aad, data + CLEAR_SIZE,
          *len - CLEAR_SIZE - TRAILER_SIZE, data + CLEAR_SIZE))
    return NAT_SRTCP_FORGED;
  nat_replay_commit (&s->replay, index);
  *len -= NAT_SRTCP_OVERHEAD;
  return NAT_SRTCP_OK;
}
