/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* libsrtp2 at the other end, in both directions, with the master key that the header promises;
 * the derivation once more by hand; then what must be refused. The source is included, for the end of
 * the index is 2^31 packets away. */

#include "natproto/srtcp.c"

#include "vectors.h"

#ifdef HAVE_LIBSRTP2
#include <srtp2/srtp.h>
#endif

#define PASSWORD "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define ROOM     256

static const guint8 boot_id[NAT_BOOT_ID_SIZE] = {0xb0, 1, 2, 3};
static const guint8 epoch[NAT_EPOCH_SIZE] = {0xe0, 4, 5, 6};

/* RR of 2222 without blocks, PLI for 1111: 20 bytes, the last 12 of them sealed. */
static const guint8 compound[] = {
    0x80, 0xc9, 0, 1, 0, 0, 0x08, 0xae, 0x81, 0xce, 0, 2, 0, 0, 0x08, 0xae, 0, 0, 0x04, 0x57};

static NatSrtcp *
make (NatSrtcpDirection direction)
{
  return nat_srtcp_new (PASSWORD, direction, boot_id, epoch);
}

static gsize
protect (NatSrtcp *s, guint8 buf[ROOM])
{
  memcpy (buf, compound, sizeof compound);
  return nat_srtcp_protect (s, buf, sizeof compound);
}

/* On a copy, so that buf may be tried again. */
static NatSrtcpStatus
unprotect (NatSrtcp *s, const guint8 *buf, gsize len)
{
  g_autofree guint8 *copy = g_memdup2 (buf, len);
  NatSrtcpStatus status = nat_srtcp_unprotect (s, copy, &len);

  if (status == NAT_SRTCP_OK)
    g_assert_cmpmem (copy, len, compound, sizeof compound);
  return status;
}

static void
test_master (void)
{
  guint8 salt[32], want[28], got[28];

  memcpy (salt, boot_id, 16);
  memcpy (salt + 16, epoch, 16);
  nat_crypto_hkdf (PASSWORD, 43, salt, 32, "natrelay srtcp client to relay v1", 33, want, 28);
  nat_srtcp_master (PASSWORD, NAT_SRTCP_CLIENT_TO_RELAY, boot_id, epoch, got);
  g_assert_cmpmem (got, 28, want, 28);
  nat_crypto_hkdf (PASSWORD, 43, salt, 32, "natrelay srtcp relay to client v1", 33, want, 28);
  nat_srtcp_master (PASSWORD, NAT_SRTCP_RELAY_TO_CLIENT, boot_id, epoch, got);
  g_assert_cmpmem (got, 28, want, 28);
}

static void
test_layout (void)
{
  g_autoptr (NatSrtcp) s = make (NAT_SRTCP_CLIENT_TO_RELAY);
  guint8 buf[ROOM];

  for (guint i = 0; i < 300; i++) {
    gsize len = protect (s, buf);

    g_assert_cmpuint (len, ==, sizeof compound + NAT_SRTCP_OVERHEAD);
    /* The first 8 bytes in the clear, the E flag and the index in the last 4. */
    g_assert_cmpmem (buf, 8, compound, 8);
    g_assert_true (memcmp (buf + 8, compound + 8, 12) != 0);
    g_assert_cmphex (buf[len - 4], ==, 0x80);
    g_assert_cmphex (buf[len - 3], ==, 0);
    g_assert_cmpuint (buf[len - 2] << 8 | buf[len - 1], ==, i);
  }
}

static void
test_round_trip (void)
{
  g_autoptr (NatSrtcp) out = make (NAT_SRTCP_RELAY_TO_CLIENT);
  g_autoptr (NatSrtcp) in = make (NAT_SRTCP_RELAY_TO_CLIENT);
  guint8 buf[ROOM];

  for (gsize n = 8; n + NAT_SRTCP_OVERHEAD <= ROOM; n++) {
    g_autofree guint8 *exact = g_malloc (n + NAT_SRTCP_OVERHEAD);
    gsize len;

    for (gsize i = 0; i < n; i++)
      exact[i] = buf[i] = (guint8)(i * n);
    len = nat_srtcp_protect (out, exact, n);
    g_assert_cmpuint (len, ==, n + NAT_SRTCP_OVERHEAD);
    g_assert_cmpint (nat_srtcp_unprotect (in, exact, &len), ==, NAT_SRTCP_OK);
    g_assert_cmpmem (exact, len, buf, n);
  }
  g_assert_cmpuint (nat_srtcp_protect (out, buf, 7), ==, 0);
  g_assert_cmpuint (nat_srtcp_protect (out, buf, 0), ==, 0);
}

static void
test_keys_differ (void)
{
  guint8 other_boot[NAT_BOOT_ID_SIZE], other_epoch[NAT_EPOCH_SIZE], buf[ROOM];
  g_autoptr (NatSrtcp) s = make (NAT_SRTCP_CLIENT_TO_RELAY);
  g_autoptr (NatSrtcp) same = make (NAT_SRTCP_CLIENT_TO_RELAY);
  NatSrtcp *others[4];
  gsize len = protect (s, buf);

  memcpy (other_boot, boot_id, sizeof other_boot);
  memcpy (other_epoch, epoch, sizeof other_epoch);
  other_boot[15] ^= 1;
  other_epoch[15] ^= 1;
  others[0] = make (NAT_SRTCP_RELAY_TO_CLIENT);
  others[1] = nat_srtcp_new (PASSWORD, NAT_SRTCP_CLIENT_TO_RELAY, other_boot, epoch);
  others[2] = nat_srtcp_new (PASSWORD, NAT_SRTCP_CLIENT_TO_RELAY, boot_id, other_epoch);
  others[3] = nat_srtcp_new ("x" PASSWORD, NAT_SRTCP_CLIENT_TO_RELAY, boot_id, epoch);
  for (guint i = 0; i < G_N_ELEMENTS (others); i++) {
    g_assert_cmpint (unprotect (others[i], buf, len), ==, NAT_SRTCP_FORGED);
    nat_srtcp_free (others[i]);
  }
  g_assert_cmpint (unprotect (same, buf, len), ==, NAT_SRTCP_OK);
}

static void
test_tampered (void)
{
  g_autoptr (NatSrtcp) out = make (NAT_SRTCP_CLIENT_TO_RELAY);
  g_autoptr (NatSrtcp) in = make (NAT_SRTCP_CLIENT_TO_RELAY);
  guint8 buf[ROOM];
  gsize len = protect (out, buf);

  for (gsize bit = 0; bit < len * 8; bit++) {
    buf[bit / 8] ^= 1 << bit % 8;
    g_assert_cmpint (unprotect (in, buf, len), ==, NAT_SRTCP_FORGED);
    buf[bit / 8] ^= 1 << bit % 8;
  }
  for (gsize n = 0; n < len; n++)
    g_assert_cmpint (unprotect (in, buf, n), ==,
        n < 8 + NAT_SRTCP_OVERHEAD ? NAT_SRTCP_SHORT : NAT_SRTCP_FORGED);
  /* None of the forgeries, some with a far index, moved the window. */
  g_assert_cmpint (unprotect (in, buf, len), ==, NAT_SRTCP_OK);
  g_assert_cmpint (unprotect (in, buf, len), ==, NAT_SRTCP_REPLAYED);
}

static void
test_replay (void)
{
  g_autoptr (NatSrtcp) out = make (NAT_SRTCP_CLIENT_TO_RELAY);
  g_autoptr (NatSrtcp) in = make (NAT_SRTCP_CLIENT_TO_RELAY);
  guint8 kept[NAT_SRTCP_WINDOW + 2][ROOM];
  gsize len = 0;

  for (guint i = 0; i < G_N_ELEMENTS (kept); i++)
    len = protect (out, kept[i]);
  g_assert_cmpint (unprotect (in, kept[NAT_SRTCP_WINDOW], len), ==, NAT_SRTCP_OK);
  /* NAT_SRTCP_WINDOW behind is too old, one less is not. */
  g_assert_cmpint (unprotect (in, kept[0], len), ==, NAT_SRTCP_REPLAYED);
  g_assert_cmpint (unprotect (in, kept[1], len), ==, NAT_SRTCP_OK);
  g_assert_cmpint (unprotect (in, kept[1], len), ==, NAT_SRTCP_REPLAYED);
  g_assert_cmpint (unprotect (in, kept[NAT_SRTCP_WINDOW + 1], len), ==, NAT_SRTCP_OK);
  g_assert_cmpint (unprotect (in, kept[1], len), ==, NAT_SRTCP_REPLAYED);
  g_assert_cmpint (unprotect (in, kept[2], len), ==, NAT_SRTCP_OK);
}

static void
test_index_used_up (void)
{
  g_autoptr (NatSrtcp) out = make (NAT_SRTCP_CLIENT_TO_RELAY);
  g_autoptr (NatSrtcp) in = make (NAT_SRTCP_CLIENT_TO_RELAY);
  guint8 buf[ROOM];
  gsize len;

  out->next_index = INDEX_MAX;
  len = protect (out, buf);
  g_assert_cmpmem (buf + len - 4, 4, "\xff\xff\xff\xff", 4);
  g_assert_cmpint (unprotect (in, buf, len), ==, NAT_SRTCP_OK);
  g_assert_cmpuint (protect (out, buf), ==, 0);
  g_assert_cmpuint (protect (out, buf), ==, 0);
}

/* ---- libsrtp2 ---------------------------------------------------------- */

#ifdef HAVE_LIBSRTP2

static srtp_t
peer_new (NatSrtcpDirection direction, srtp_ssrc_type_t type)
{
  guint8 master[NAT_SRTCP_MASTER_SIZE];
  srtp_policy_t policy = {0};
  srtp_t peer;

  nat_srtcp_master (PASSWORD, direction, boot_id, epoch, master);
  srtp_crypto_policy_set_aes_gcm_128_16_auth (&policy.rtp);
  srtp_crypto_policy_set_aes_gcm_128_16_auth (&policy.rtcp);
  policy.ssrc.type = type;
  policy.key = master;
  policy.window_size = 128;
  g_assert_cmpint (srtp_create (&peer, &policy), ==, srtp_err_status_ok);
  return peer;
}

static void
test_to_peer (void)
{
  g_autoptr (NatSrtcp) s = make (NAT_SRTCP_CLIENT_TO_RELAY);
  srtp_t peer = peer_new (NAT_SRTCP_CLIENT_TO_RELAY, ssrc_any_inbound);
  guint8 buf[ROOM];

  for (guint i = 0; i < 1000; i++) {
    int len = (int)protect (s, buf);

    g_assert_cmpint (srtp_unprotect_rtcp (peer, buf, &len), ==, srtp_err_status_ok);
    g_assert_cmpmem (buf, len, compound, sizeof compound);
  }
  srtp_dealloc (peer);
}

static void
test_from_peer (void)
{
  g_autoptr (NatSrtcp) s = make (NAT_SRTCP_RELAY_TO_CLIENT);
  srtp_t peer = peer_new (NAT_SRTCP_RELAY_TO_CLIENT, ssrc_any_outbound);
  guint8 buf[ROOM];

  for (guint i = 0; i < 1000; i++) {
    int len = sizeof compound;

    memcpy (buf, compound, sizeof compound);
    g_assert_cmpint (srtp_protect_rtcp (peer, buf, &len), ==, srtp_err_status_ok);
    g_assert_cmpint (unprotect (s, buf, len), ==, NAT_SRTCP_OK);
  }
  srtp_dealloc (peer);
}

#else

static void
test_to_peer (void)
{
  g_test_skip ("libsrtp2 is not here");
}

static void
test_from_peer (void)
{
  g_test_skip ("libsrtp2 is not here");
}

#endif

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#ifdef HAVE_LIBSRTP2
  g_assert_cmpint (srtp_init (), ==, srtp_err_status_ok);
#endif
  g_test_add_func ("/srtcp/to-libsrtp2", test_to_peer);
  g_test_add_func ("/srtcp/from-libsrtp2", test_from_peer);
  g_test_add_func ("/srtcp/master", test_master);
  g_test_add_func ("/srtcp/layout", test_layout);
  g_test_add_func ("/srtcp/round-trip", test_round_trip);
  g_test_add_func ("/srtcp/keys-differ", test_keys_differ);
  g_test_add_func ("/srtcp/tampered", test_tampered);
  g_test_add_func ("/srtcp/replay", test_replay);
  g_test_add_func ("/srtcp/index-used-up", test_index_used_up);
  return g_test_run ();
}
