/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What natrelaysink and natrelaysrc spend on the secrecy of one packet of 1200 bytes, without GStreamer and sockets: sealing,
 * and opening with replay window and all. Then what a passphrase costs once, and another key.
 */
#include <string.h>
#include "micro.h"
#include "natproto/passphrase.h"

#define PACKET 1160 /* and SFrame's header and tag make about 1200 of it */
#define BATCH  64   /* sealed anew in front of each opening: no counter is taken twice */

typedef struct {
  NatSframeSealer *sealer;
  NatSframeOpener *opener;
  NatMediaKey key;
  guint8 packet[PACKET];
  guint8 sealed[BATCH][PACKET + NAT_SFRAME_HEADER_MAX + NAT_SFRAME_TAG_SIZE];
  gsize lens[BATCH];
} Scene;

static void
run_seal (gpointer data)
{
  Scene *s = data;

  for (guint i = 0; i < BATCH; i++) {
    s->lens[i] = nat_sframe_sealer_seal (s->sealer, s->packet, sizeof s->packet, s->sealed[i]);
    bench_require (s->lens[i] > sizeof s->packet, "a packet is sealed");
  }
}

static void
run_both (gpointer data)
{
  Scene *s = data;

  run_seal (s);
  for (guint i = 0; i < BATCH; i++)
    bench_require (nat_sframe_opener_open (s->opener, s->sealed[i], &s->lens[i]) == NAT_OPEN_OK,
        "a packet is opened");
}

/* A key for another SSRC, as after a roll or a restart. */
static void
run_key (gpointer data)
{
  Scene *s = data;

  nat_sframe_sealer_free (s->sealer);
  s->sealer = nat_sframe_sealer_new (&s->key);
  bench_require (nat_sframe_sealer_seal (s->sealer, s->packet, sizeof s->packet, s->sealed[0]) > 0,
      "a packet is sealed");
}

static void
run_stretch (gpointer data)
{
  guint8 stretched[NAT_STRETCHED_SIZE];

  nat_passphrase_stretch ((const guint8 *)"correct horse battery", 21, "door", stretched);
}

static void
measure (Scene *s, NatSframeSuite suite, const char *bits, double seconds)
{
  g_autofree char *seal = g_strdup_printf ("sframe-seal-%s", bits);
  g_autofree char *both = g_strdup_printf ("sframe-seal-and-open-%s", bits);
  g_autofree char *key = g_strdup_printf ("sframe-new-key-%s", bits);

  nat_media_key_generate (&s->key, suite);
  s->sealer = nat_sframe_sealer_new (&s->key);
  s->opener = nat_sframe_opener_new ();
  nat_sframe_opener_set_keys (s->opener, &s->key, 1);
  bench_micro_report (seal, seconds, run_seal, s, BATCH);
  bench_micro_report (both, seconds, run_both, s, BATCH);
  bench_micro_report (key, seconds, run_key, s, 1);
  nat_sframe_opener_free (s->opener);
  nat_sframe_sealer_free (s->sealer);
}

int
main (int argc, char **argv)
{
  static Scene s;
  double seconds = bench_micro_seconds (argc, argv);

  memset (s.packet, 0x5a, sizeof s.packet);
  memcpy (s.packet, "\x80\x60\0\1\0\0\0\2\0\0\0\7", 12);
  measure (&s, NAT_SFRAME_AES_128_GCM_SHA256_128, "128", seconds);
  measure (&s, NAT_SFRAME_AES_256_GCM_SHA512_128, "256", seconds);
  bench_micro_report ("passphrase-stretch", seconds, run_stretch, NULL, 1);
  return 0;
}
