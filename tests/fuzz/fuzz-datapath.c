/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Any bytes as a program: what control posts, what clients and strangers send, from where and when, and what
 * the system refuses. The relay's data plane carries it out (sim/smallworld.h), and all that it sends is held
 * against its promises (sim/promises.h). In the end time passes, and nothing may be left.
 *
 * The first byte says with how many workers; then each operation is a byte and its arguments. programs.py writes
 * such programs by the names below. */

#include <errno.h>
#include <string.h>

#include "natproto/bytes.h"
#include "natproto/sframekeys.h"
#include "natserver/data/verify.h"
#include "promises.h"

#define OPERATIONS_MAX 256
#define ROOM           (NAT_DATAGRAM_MAX - NAT_SRTCP_OVERHEAD)

int LLVMFuzzerTestOneInput (const guint8 *data, gsize size);

static const guint8 *input;
static gsize left;
static guint16 seqs[3];
static NatMediaKey keys[2];
static NatSframeSealer *sealers[G_N_ELEMENTS (keys)];

/* ---- Arguments --------------------------------------------------------- */

static guint8
byte (void)
{
  if (left == 0)
    return 0;
  left--;
  return *input++;
}

static SmallActor
actor (void)
{
  return (SmallActor)(byte () % SMALL_ACTORS);
}

static guint
place (void)
{
  return byte () % SMALL_PLACES;
}

/* Length, then as many bytes. */
static gsize
bytes (guint8 *buf, gsize room)
{
  gsize n = byte ();

  n = MIN (n, MIN (left, room));
  if (n > 0)
    memcpy (buf, input, n);
  input += n;
  left -= n;
  return n;
}

/* ---- Control ----------------------------------------------------------- */

static void
op_add (void)
{
  SmallActor who = actor ();
  guint8 how = byte ();

  small_add (who, (how >> 1) * 8u, how & 1);
}

static void
op_renew (void)
{
  small_renew (actor ());
}

static void
op_end (void)
{
  SmallActor who = actor ();

  small_end_session (who, (NatReason)(NAT_REASON_ENDED + byte () % 4));
}

static void
op_describe (void)
{
  SmallActor who = actor ();
  guint tracks = byte () % 8, how = byte ();

  small_describe (who, tracks, how >> 1, how & 1);
}

/* From now on media of that stream is verified, under one key or two, or not any more. */
static void
op_verify (void)
{
  SmallActor who = actor ();
  guint n = byte () % (G_N_ELEMENTS (keys) + 1);

  if (small_ticket (who)->role == 0)
    return;
  nat_dataplane_set_verifier (
      small.dp, small_ticket (who)->stream, n > 0 ? nat_verifier_new (keys, n) : NULL);
  small_pass (1000);
}

static void
op_time (void)
{
  static const gint64 spans_ms[] = {1, 5, 20, 50, 100, 250, 500, 1000, 3100, 10000, 29000, 31000,
      61000, 130000, 1800000, 3700000};

  small_pass (spans_ms[byte () % G_N_ELEMENTS (spans_ms)] * 1000);
}

static void
op_refuse (void)
{
  static const int codes[] = {
      EAGAIN, ENOBUFS, EPERM, EMSGSIZE, EINVAL, EIO, ECONNREFUSED, ENETUNREACH, EINTR};

  small.refusal = codes[byte () % G_N_ELEMENTS (codes)];
  small.refusals = byte () % 16;
}

/* ---- Clients ----------------------------------------------------------- */

static void
op_challenge (void)
{
  guint where = place ();

  small_challenge (where, 20 + byte () * 6u);
}

static void
op_bind (void)
{
  SmallActor who = actor ();
  guint where = place (), how = byte ();

  small_bind (who, where, how & 31, how & 32);
}

static void
op_epoch (void)
{
  SmallActor who = actor ();

  if (small_ticket (who)->role != 0)
    small_new_epoch (who);
}

static void
op_hang_up (void)
{
  small_hang_up (place ());
}

static guint32
source (guint8 which)
{
  static const guint32 ssrcs[] = {SMALL_A_VIDEO, SMALL_A_AUDIO, SMALL_B_VIDEO, 0x01020304};

  return ssrcs[which % G_N_ELEMENTS (ssrcs)];
}

/* Sequence numbers go on, with gaps and steps back as the argument says. */
static guint16
next_seq (guint8 which, guint8 step)
{
  guint16 *seq = &seqs[which % G_N_ELEMENTS (seqs)];

  *seq = (guint16)(*seq + (step == 255     ? 5000
                              : step > 200 ? 0x10000 - (step - 200)
                                           : 1 + step / 8));
  return *seq;
}

static void
op_media (void)
{
  guint8 buf[NAT_DATAGRAM_MAX];
  guint where = place ();
  guint8 which = byte (), step = byte (), size = byte ();
  gsize len =
      small_write_rtp (buf, size * 8u, source (which), next_seq (which, step), (size & 1) != 0);

  small_deliver (where, buf, len, len);
}

/* One that is sealed, with a byte of it changed perhaps. */
static void
op_sealed (void)
{
  guint8 rtp[NAT_DATAGRAM_MAX / 2], buf[NAT_DATAGRAM_MAX];
  guint where = place ();
  guint8 which = byte (), step = byte (), size = byte (), at = byte (), change = byte ();
  gsize len = small_write_rtp (
      rtp, 24 + size * 3u, source (which), next_seq (which, step), (size & 1) != 0);

  len = nat_sframe_sealer_seal (sealers[size % G_N_ELEMENTS (keys)], rtp, len, buf);
  if (len == 0)
    return;
  buf[at % len] ^= change;
  small_deliver (where, buf, len, len);
}

/* Several of equal size in one message of the system; the last may be shorter. */
static void
op_burst (void)
{
  static guint8 buf[65536];
  guint where = place ();
  guint8 which = byte (), size = byte (), n = (guint8)(1 + byte () % 64), tail = byte ();
  gsize segment = 24 + size * 3u, len = 0;

  for (guint i = 0; i < n; i++)
    len += small_write_rtp (buf + len, segment, source (which), next_seq (which, 0), i + 1u == n);
  if (n > 1)
    len -= MIN (tail, segment - 1);
  small_deliver (where, buf, len, segment);
}

static gsize
write_sender_report (guint8 *buf, guint32 ssrc)
{
  gsize len = 28;

  memset (buf, 0, len);
  buf[0] = 0x80;
  buf[1] = NAT_RTCP_SR;
  buf[3] = 6;
  nat_write_u32 (buf + 4, ssrc);
  nat_write_u32 (buf + 8, (guint32)(small.now_us >> 20));
  nat_write_u32 (buf + 16, seqs[0] * 750u);
  return len + nat_rtcp_write_sdes_cname (buf + len, ROOM - len, ssrc, "camera@example");
}

static gsize
write_report (guint8 *buf, guint32 ssrc, guint8 lost)
{
  NatRtcpReportBlock block = {.ssrc = ssrc,
      .fraction_lost = lost,
      .cumulative_lost = lost,
      .highest_seq = seqs[0],
      .jitter = 10,
      .lsr = (guint32)(small.now_us >> 4),
      .dlsr = lost};

  return nat_rtcp_write_rr (buf, ROOM, 0x77, &block, 1);
}

static gsize
write_question (guint8 *buf, guint8 which)
{
  guint16 asked[64];
  guint n = 1 + byte () % G_N_ELEMENTS (asked), first = n;
  guint8 back = byte ();

  for (guint i = 0; i < n; i++)
    asked[i] = (guint16)(seqs[which % G_N_ELEMENTS (seqs)] - back - 2 * (first - i));
  return nat_rtcp_write_nack (buf, ROOM, 0x77, source (which), asked, &n);
}

/* What comes is sealed by who has the key: so readers behind the seal are reached, too. */
static void
op_feedback (void)
{
  guint8 buf[NAT_DATAGRAM_MAX];
  SmallActor who = actor ();
  guint where = place ();
  guint8 kind = byte (), which = byte ();
  gsize len = 0;

  switch (kind % 7) {
  case 0: len = write_sender_report (buf, source (which)); break;
  case 1: len = write_report (buf, source (which), byte ()); break;
  case 2: len = write_question (buf, which); break;
  case 3: len = nat_rtcp_write_pli (buf, ROOM, 0x77, source (which)); break;
  case 4:
    len = write_report (buf, source (which), 0);
    len += nat_rtcp_write_bye (buf + len, ROOM - len, source (which));
    break;
  case 5: len = bytes (buf, ROOM); break;
  default:
    len = write_report (buf, source (which), 0);
    len += bytes (buf + len, ROOM - len);
    break;
  }
  small_feedback (who, where, buf, len);
}

/* ---- Strangers --------------------------------------------------------- */

static void
op_raw (void)
{
  guint8 buf[256];
  guint where = place (), segment = byte ();
  gsize len = bytes (buf, sizeof buf);

  if (len > 0)
    small_deliver (where, buf, len, segment > 0 ? MIN (segment, len) : len);
}

/* Something that went by comes from anywhere, with a bit of it changed, or cut. */
static void
repeat (const SmallDatagram *ring, guint n)
{
  guint where = place (), index = byte (), at = 8u * byte ();
  guint8 change = byte (), cut = byte ();
  SmallDatagram d;

  if (n == 0)
    return;
  at += change & 7;
  d = ring[index % MIN (n, SMALL_HISTORY)];
  if (change != 0)
    d.data[at % d.len] ^= change;
  if (cut != 0)
    d.len = MAX (d.len - MIN (cut, d.len), 1);
  small_deliver (where, d.data, d.len, d.len);
}

static void
op_replay (void)
{
  repeat (small.heard, small.n_heard);
}

static void
op_reflect (void)
{
  repeat (small.sent, small.n_sent);
}

/* ---- The program ------------------------------------------------------- */

static void (*const operations[]) (void) = {
    op_add,
    op_renew,
    op_end,
    op_describe,
    op_time,
    op_refuse,
    op_challenge,
    op_bind,
    op_epoch,
    op_hang_up,
    op_media,
    op_burst,
    op_feedback,
    op_raw,
    op_replay,
    op_reflect,
    op_verify,
    op_sealed,
};

static void
make_keys (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (keys); i++) {
    keys[i] = (NatMediaKey){.kid = i, .suite = NAT_SFRAME_AES_128_GCM_SHA256_128, .key = {1, i}};
    sealers[i] = nat_sframe_sealer_new (&keys[i]);
  }
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  input = data;
  left = size;
  memset (seqs, 0, sizeof seqs);
  make_keys ();
  small_begin (1 + byte () % SMALL_WORKERS_MAX);
  for (guint i = 0; i < OPERATIONS_MAX && left > 0; i++)
    operations[byte () % G_N_ELEMENTS (operations)]();
  small_finish ();
  small_end ();
  for (guint i = 0; i < G_N_ELEMENTS (keys); i++)
    nat_sframe_sealer_free (sealers[i]);
  return 0;
}
