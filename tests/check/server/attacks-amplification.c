/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What somebody may gain who writes his victim's address on his datagrams: never a byte or a datagram more than he sent.
 * The measured factors stand in docs/SECURITY.md. */

#include <string.h>
#include <sys/socket.h>

#include "attackfield.h"
#include "natproto/crypto.h"

typedef struct Kind Kind;
typedef gsize (*WriteKind) (AttackField *f, guint8 *buf, const Kind *kind);

/* A datagram that somebody may send who can forge his victim's address. */
struct Kind {
  const char *name;
  WriteKind write;
  gsize size;
  guint32 number;    /* message type, or SSRC */
  gboolean answered; /* if not even this is, the test looks at the wrong thing */
};

static gsize
kind_noise (AttackField *f, guint8 *buf, const Kind *kind)
{
  static const guint8 heads[][4] = {{22, 254, 253, 0}, {0xc3, 0, 0, 1}, {0x40, 0, 0, 0xc8},
      {0x1b, 0, 0, 0}, {'O', 'P', 'T', 'I'}, {0, 0, 0, 1}, {0x12, 0x34, 1, 0}};

  nat_crypto_random (buf, kind->size);
  if (kind->size >= 4 && kind->number < G_N_ELEMENTS (heads))
    memcpy (buf, heads[kind->number], 4);
  return kind->size;
}

static gsize
kind_stun (AttackField *f, guint8 *buf, const Kind *kind)
{
  NatStunWriter w;
  guint8 id[12];

  nat_crypto_random (id, sizeof id);
  nat_stun_writer_init (&w, buf, NAT_DATAGRAM_MAX, (guint16)kind->number, id);
  nat_stun_writer_pad_to (&w, kind->size, NAT_STUN_FINGERPRINT_SIZE);
  return nat_stun_writer_finish (&w);
}

static gsize
kind_bare_header (AttackField *f, guint8 *buf, const Kind *kind)
{
  kind_stun (f, buf, kind);
  attack_put_u16 (buf + 2, 0);
  return NAT_STUN_HEADER_SIZE;
}

/* With the victim's user name and nonce, as far as the path shows them, but no password. */
static gsize
kind_registration (AttackField *f, guint8 *buf, const Kind *kind)
{
  AttackBend bend = attack_straight;
  NatProbe forger = *f->subscriber;

  memset (forger.key, 0, sizeof forger.key);
  if (kind->number == 1)
    bend.mac = 16;
  if (kind->number == 2)
    bend.attribute = 0;
  if (kind->number == 3)
    bend.algorithm = NULL;
  if (kind->number == 4)
    strcpy (forger.username, "x");
  return attack_write_bent (&forger, &bend, buf);
}

static gsize
kind_rtp (AttackField *f, guint8 *buf, const Kind *kind)
{
  nat_probe_write_rtp (buf, kind->size, kind->number, f->seq, 1);
  return kind->size;
}

static gsize
kind_rtcp (AttackField *f, guint8 *buf, const Kind *kind)
{
  nat_crypto_random (buf, kind->size);
  attack_write_bye (buf, kind->number);
  return kind->size;
}

static const Kind kinds[] = {
    {"nothing at all", kind_noise, 0, 99, FALSE},
    {"one byte", kind_noise, 1, 99, FALSE},
    {"noise, 2,048 bytes", kind_noise, 2048, 0, FALSE},
    {"longer than the relay reads", kind_noise, 3000, 0, FALSE},
    {"DTLS ClientHello", kind_noise, 200, 0, FALSE},
    {"QUIC Initial", kind_noise, 1200, 1, FALSE},
    {"TURN ChannelData", kind_noise, 200, 2, FALSE},
    {"NTP", kind_noise, 48, 3, FALSE},
    {"SIP OPTIONS", kind_noise, 300, 4, FALSE},
    {"memcached", kind_noise, 15, 5, FALSE},
    {"DNS", kind_noise, 60, 6, FALSE},
    {"Binding, header only", kind_bare_header, 0, NAT_STUN_BINDING_REQUEST, FALSE},
    {"Binding, 28 bytes", kind_stun, 28, NAT_STUN_BINDING_REQUEST, FALSE},
    {"Binding, 100 bytes", kind_stun, 100, NAT_STUN_BINDING_REQUEST, FALSE},
    {"Binding, 124 bytes", kind_stun, 124, NAT_STUN_BINDING_REQUEST, TRUE},
    {"Binding, 160 bytes", kind_stun, 160, NAT_STUN_BINDING_REQUEST, TRUE},
    {"Binding, 1,200 bytes", kind_stun, 1200, NAT_STUN_BINDING_REQUEST, TRUE},
    {"Binding indication", kind_stun, 200, NAT_STUN_BINDING_INDICATION, FALSE},
    {"Binding success", kind_stun, 200, NAT_STUN_BINDING_SUCCESS, FALSE},
    {"Binding error", kind_stun, 200, NAT_STUN_BINDING_ERROR, FALSE},
    {"TURN Allocate", kind_stun, 200, 0x0003, FALSE},
    {"TURN Send", kind_stun, 200, 0x0016, FALSE},
    {"registration, wrong password", kind_registration, 0, 0, TRUE},
    {"registration, 16 bytes of integrity", kind_registration, 0, 1, TRUE},
    {"registration, no integrity", kind_registration, 0, 2, TRUE},
    {"registration, no algorithm", kind_registration, 0, 3, TRUE},
    {"registration, unknown user", kind_registration, 0, 4, TRUE},
    {"RTP, header only", kind_rtp, 12, VIDEO_SSRC, FALSE},
    {"RTP, 35 bytes", kind_rtp, 35, VIDEO_SSRC, FALSE},
    {"RTP, 36 bytes", kind_rtp, 36, VIDEO_SSRC, TRUE},
    {"RTP, 1,200 bytes", kind_rtp, 1200, VIDEO_SSRC, TRUE},
    {"RTP of an unknown SSRC", kind_rtp, 1200, ATTACKER, TRUE}, /* for 30 s after a start */
    {"RTCP, 28 bytes", kind_rtcp, 28, VIDEO_SSRC, FALSE},
    {"RTCP, 100 bytes", kind_rtcp, 100, VIDEO_SSRC, TRUE},
};

#define COPIES 4

static void
measure (AttackField *f, NatProbe *from, const char *name, const guint8 *data, gsize len,
    gboolean answered)
{
  guint8 buf[65536];
  gsize in = 0, out = 0, answers = 0;
  gssize n;

  for (guint i = 0; i < COPIES; i++, in += len)
    nat_probe_send (from, data, len);
  data_relay_sync (f->r);
  while ((n = recv (from->fd, buf, sizeof buf, MSG_DONTWAIT)) >= 0) {
    g_assert_cmpuint ((gsize)n, <=, len);
    out += (gsize)n;
    answers++;
  }
  g_test_message ("%s: %" G_GSIZE_FORMAT " bytes in, %" G_GSIZE_FORMAT " out, factor %.2f", name,
      in, out, in ? (double)out / (double)in : 0);
  g_assert_cmpuint (answers, <=, COPIES);
  g_assert_cmpuint (out, <=, in);
  g_assert_true (answered == (out > 0));
}

/* Every kind of datagram, from an address that the relay does not know: no answer is longer than what it answers,
 * and none comes twice. */
static void
test_of_every_kind (AttackField *f, gconstpointer unused)
{
  guint8 buf[4096];

  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++) {
    g_autoptr (NatProbe) victim = nat_probe_new ("127.0.0.1", &f->r->address);
    gsize len = kinds[i].write (f, buf, &kinds[i]);

    measure (f, victim, kinds[i].name, buf, len, kinds[i].answered);
  }
  attack_assert_nothing_moved (f);
}

/* The same at the address of a registered client, where answers may be had by sending again what it sent. */
static void
test_at_a_client (AttackField *f, gconstpointer unused)
{
  NatProbe *victim = f->subscriber;
  guint8 buf[4096], rtp[NAT_DATAGRAM_MAX];
  gsize len;

  for (guint i = 0; i < 5; i++)
    data_relay_assert_passes (f->publisher, victim, VIDEO_SSRC, f->seq++);
  data_relay_sync (f->r);
  while (recv (victim->fd, buf, sizeof buf, MSG_DONTWAIT) >= 0)
    continue;
  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++) {
    gboolean stun = kinds[i].write == kind_stun || kinds[i].write == kind_registration;

    len = kinds[i].write (f, buf, &kinds[i]);
    measure (f, victim, kinds[i].name, buf, len, stun && kinds[i].answered);
  }
  len = attack_capture_registration (victim, buf);
  measure (f, victim, "a registration again", buf, len, TRUE);
  len = nat_srtcp_protect (victim->to_relay, buf, attack_write_nack (buf, 3));
  nat_probe_send (victim, buf, len);
  for (guint i = 0; i < 3; i++)
    g_assert_cmpint (
        nat_probe_receive (victim, NAT_PACKET_RTP, rtp, NAT_PROBE_WAIT_MS), ==, ATTACK_SIZE);
  measure (f, victim, "a NACK again", buf, len, FALSE);
  attack_assert_nothing_moved (f);
}

/* Hints to strangers who send a known SSRC are a hundred a second, however many ask. */
static void
test_hint_flood (AttackField *f, gconstpointer unused)
{
  gint64 start = g_get_monotonic_time ();
  guint8 buf[NAT_DATAGRAM_MAX];
  guint64 hints = 0, sent = 0;

  while (g_get_monotonic_time () - start < 300000 || sent < 3000) {
    attack_send_rtp (f->stranger, VIDEO_SSRC, (guint16)sent++);
    if (sent % 50 == 0)
      data_relay_sync (f->r);
    while (recv (f->stranger->fd, buf, sizeof buf, MSG_DONTWAIT) >= 0)
      hints++;
  }
  g_assert_cmpuint (hints, >, 0);
  g_assert_cmpuint (
      hints, <=, 50 + 1 + 100 * (guint64)(g_get_monotonic_time () - start) / G_USEC_PER_SEC);
  attack_assert_nothing_moved (f);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(path, func)                                                                            \
  g_test_add ("/amplification/" path, AttackField, NULL, attack_set_up, func, attack_tear_down)
  ADD ("of-every-kind", test_of_every_kind);
  ADD ("at-a-client", test_at_a_client);
  ADD ("hint-flood", test_hint_flood);
  return g_test_run ();
}
