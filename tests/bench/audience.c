/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * audience: one publisher and many receivers of whom each loses packets on its own leg and asks for
 * them, through the data plane of this very process. Measures first without loss, then with, and says
 * what the worker's thread took for each packet, what the publisher heard of it all, and how much
 * of what was lost came in the end.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "datarelay.h"
#include "natproto/bytes.h"
#include "natproto/rtcp.h"

#define SIZE        1200
#define SPAN        4096 /* packets that a receiver remembers, a power of two */
#define LOST_MAX    1024
#define NACK_MAX    200
#define WAIT_US     (15 * 1000) /* a receiver asks after that, and again after the other */
#define RETRY_US    (60 * 1000)
#define TRIES       12
#define PLI_US      G_USEC_PER_SEC /* each receiver asks for a picture so often */
#define DRAIN_US    (1500 * 1000)
#define RATIO_LIMIT 1.3

static struct {
  int receivers, rate, burst, seconds;
  double loss, uplink_loss;
  gboolean judge;
} opt = {.receivers = 500, .rate = 250, .burst = 10, .seconds = 5, .loss = 5, .uplink_loss = 0};

static const GOptionEntry entries[] = {
    {"receivers", 0, 0, G_OPTION_ARG_INT, &opt.receivers, "how many (500)", "N"},
    {"rate", 0, 0, G_OPTION_ARG_INT, &opt.rate, "packets of the publisher a second (250)", "N"},
    {"burst", 0, 0, G_OPTION_ARG_INT, &opt.burst, "of them at once (10)", "N"},
    {"seconds", 0, 0, G_OPTION_ARG_INT, &opt.seconds, "of each part (5)", "S"},
    {"loss", 0, 0, G_OPTION_ARG_DOUBLE, &opt.loss, "on each receiver's leg (5)", "PERCENT"},
    {"uplink-loss", 0, 0, G_OPTION_ARG_DOUBLE, &opt.uplink_loss, "on the publisher's (0)",
        "PERCENT"},
    {"judge", 0, 0, G_OPTION_ARG_NONE, &opt.judge, "fail if the CPU is over its limit", NULL},
    {NULL},
};

typedef struct {
  guint16 seq;
  guint8 tries;
  gint64 due_us;
} Lost;

typedef struct {
  NatProbe *probe;
  NatSessionCounters *counters;
  gboolean started;
  guint16 highest;
  guint8 seen[SPAN / 8];
  Lost lost[LOST_MAX];
  guint n_lost;
  gint64 due_us, pli_us;
  guint64 got, dropped, repaired, given_up;
} Receiver;

typedef struct {
  gint64 cpu_ns;
  guint64 sent, resent, asked,
      answered;             /* by the relay, to all; packets asked for, and of them sent */
  guint64 missed, repaired; /* by receivers; of them in the end there */
  guint pli, voices;        /* that the publisher heard; SSRCs of reports */
  double seconds;
} Part;

static DataRelay *relay;
static NatProbe *publisher;
static NatSessionCounters *publisher_counters;
static Receiver *receivers;
static guint16 next_seq;
static gboolean losing;
static GHashTable *voices;
static guint n_pli;
static GRand *rng;

static gboolean
falls (double percent)
{
  return losing && g_rand_double (rng) * 100 < percent;
}

/* ---- Publisher ------------------------------------------------------------------------- */

static void
publish (guint16 seq)
{
  guint8 rtp[SIZE];

  nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, seq, seq * 3000u);
  nat_probe_send (publisher, rtp, sizeof rtp);
}

static void
send_burst (void)
{
  for (int i = 0; i < opt.burst; i++, next_seq++) {
    if (!falls (opt.uplink_loss))
      publish (next_seq);
  }
}

static void
publisher_hears (const NatRtcpPacket *packet)
{
  NatRtcpNackEntry entry;

  if (packet->type == NAT_RTCP_RR)
    g_hash_table_add (voices, GUINT_TO_POINTER (nat_rtcp_sender_ssrc (packet)));
  n_pli += packet->type == NAT_RTCP_PSFB;
  for (guint i = 0; nat_rtcp_nack_entry (packet, i, &entry); i++) {
    if (!falls (opt.uplink_loss))
      publish (entry.first);
    for (guint bit = 0; bit < 16; bit++) {
      if (entry.following >> bit & 1 && !falls (opt.uplink_loss))
        publish ((guint16)(entry.first + 1 + bit));
    }
  }
}

static void
read_publisher (void)
{
  guint8 data[2048];
  gssize n;

  while ((n = recv (publisher->fd, data, sizeof data, MSG_DONTWAIT)) > 0) {
    gsize len = (gsize)n;
    NatRtcpPacket packet;
    NatRtcpIter it;

    if (nat_demux (data, len) != NAT_PACKET_RTCP ||
        nat_srtcp_unprotect (publisher->from_relay, data, &len) != NAT_SRTCP_OK ||
        !nat_rtcp_iter_init (&it, data, len))
      continue;
    while (nat_rtcp_iter_next (&it, &packet))
      publisher_hears (&packet);
  }
}

/* ---- Receivers ------------------------------------------------------------------------- */

static void
mark (Receiver *r, guint16 seq, gboolean seen)
{
  guint8 bit = (guint8)(1 << seq % 8);

  if (seen)
    r->seen[seq % SPAN / 8] |= bit;
  else
    r->seen[seq % SPAN / 8] &= (guint8)~bit;
}

static gboolean
has (const Receiver *r, guint16 seq)
{
  return r->seen[seq % SPAN / 8] >> seq % 8 & 1;
}

static void
take_packet (Receiver *r, guint16 seq, gint64 now_us)
{
  gint16 ahead = (gint16)(guint16)(seq - r->highest);

  if (!r->started) {
    r->started = TRUE;
    r->highest = (guint16)(seq - 1);
    ahead = 1;
  }
  for (gint i = 1; i < ahead; i++) {
    guint16 missing = (guint16)(r->highest + i);
    mark (r, missing, FALSE);
    if (r->n_lost < LOST_MAX)
      r->lost[r->n_lost++] = (Lost){missing, 0, now_us + WAIT_US};
    r->dropped++;
    r->due_us = MIN (r->due_us, now_us + WAIT_US);
  }
  if (ahead > 0)
    r->highest = seq;
  else if (!has (r, seq))
    r->repaired++;
  mark (r, seq, TRUE);
  r->got++;
}

static void
read_receiver (Receiver *r, gint64 now_us)
{
  guint8 data[2048];
  gssize n;

  while ((n = recv (r->probe->fd, data, sizeof data, MSG_DONTWAIT)) > 0) {
    if (n == SIZE && nat_demux (data, (gsize)n) == NAT_PACKET_RTP && !falls (opt.loss))
      take_packet (r, nat_read_u16 (data + 2), now_us);
  }
}

/* What is here by now goes from the list, what is due is asked for. */
static guint
collect (Receiver *r, guint16 seqs[NACK_MAX], gint64 now_us)
{
  guint n = 0, kept = 0;

  r->due_us = G_MAXINT64;
  for (guint i = 0; i < r->n_lost; i++) {
    Lost *lost = &r->lost[i];

    if (has (r, lost->seq))
      continue;
    if (lost->tries == TRIES) {
      r->given_up++;
      continue;
    }
    if (lost->due_us <= now_us && n < NACK_MAX) {
      seqs[n++] = lost->seq;
      lost->tries++;
      lost->due_us = now_us + RETRY_US;
    }
    r->due_us = MIN (r->due_us, lost->due_us);
    r->lost[kept++] = *lost;
  }
  r->n_lost = kept;
  return n;
}

static void
speak (Receiver *r, gint64 now_us)
{
  guint32 own = 0x10000000u + (guint32)(r - receivers);
  gboolean wants_picture = losing && now_us - r->pli_us >= PLI_US;
  guint16 seqs[NACK_MAX];
  guint n = r->due_us <= now_us ? collect (r, seqs, now_us) : 0;
  guint8 buf[NAT_DATAGRAM_MAX];
  gsize len;

  if (n == 0 && !wants_picture)
    return;
  len = nat_rtcp_write_rr (buf, sizeof buf, own, NULL, 0);
  if (n > 0)
    len += nat_rtcp_write_nack (buf + len, sizeof buf - len, own, VIDEO_SSRC, seqs, &n);
  if (wants_picture) {
    len += nat_rtcp_write_pli (buf + len, sizeof buf - len, own, VIDEO_SSRC);
    r->pli_us = now_us;
  }
  nat_probe_send_rtcp (r->probe, buf, len);
}

static void
serve_receivers (void)
{
  for (int i = 0; i < opt.receivers; i++) {
    gint64 now_us = g_get_monotonic_time ();

    read_receiver (&receivers[i], now_us);
    speak (&receivers[i], now_us);
  }
}

/* ---- Measuring ------------------------------------------------------------------------- */

/* CPU nanoseconds of the worker's thread. */
static gint64
worker_cpu_ns (void)
{
  GDir *dir = g_dir_open ("/proc/self/task", 0, NULL);
  gint64 ns = 0;

  for (const char *tid; dir && (tid = g_dir_read_name (dir));) {
    g_autofree char *comm = g_strdup_printf ("/proc/self/task/%s/comm", tid);
    g_autofree char *stat = g_strdup_printf ("/proc/self/task/%s/schedstat", tid);
    g_autofree char *name = NULL, *text = NULL;

    if (g_file_get_contents (comm, &name, NULL, NULL) && g_str_has_prefix (name, "nat-data") &&
        g_file_get_contents (stat, &text, NULL, NULL))
      ns += g_ascii_strtoll (text, NULL, 10);
  }
  g_dir_close (dir);
  return ns;
}

static void
read_counts (Part *p, gint sign)
{
  p->cpu_ns += sign * worker_cpu_ns ();
  for (int i = 0; i < opt.receivers; i++) {
    const Receiver *r = &receivers[i];
    const NatSessionCounters *c = r->counters;
    guint64 answered = nat_counter_get (&c->repairs_sent);

    p->sent += (guint64)sign * nat_counter_get (&c->packets_sent);
    p->resent += (guint64)sign * answered;
    p->answered += (guint64)sign * answered;
    p->asked += (guint64)sign * (answered + nat_counter_get (&c->repairs_limited) +
                                    nat_counter_get (&c->repairs_unknown));
    p->missed += (guint64)sign * r->dropped;
    p->repaired += (guint64)sign * r->repaired;
  }
}

static void
run (Part *p, gboolean with_loss)
{
  gint64 start = g_get_monotonic_time (), end = start + opt.seconds * G_USEC_PER_SEC;
  gint64 pause_us = (gint64)opt.burst * G_USEC_PER_SEC / opt.rate, next = start;

  memset (p, 0, sizeof *p);
  losing = with_loss;
  n_pli = 0;
  g_hash_table_remove_all (voices);
  read_counts (p, -1);
  for (gint64 now = start; now < end + DRAIN_US; now = g_get_monotonic_time ()) {
    if (now >= next && now < end) {
      send_burst ();
      next += pause_us;
      if (now - next > G_USEC_PER_SEC)
        next = now; /* the machine stood still */
    }
    if (now >= end)
      losing = FALSE; /* what is asked for now shall come */
    read_publisher ();
    serve_receivers ();
    if (next - g_get_monotonic_time () > 2000)
      g_usleep (1000);
  }
  read_counts (p, 1);
  p->pli = n_pli;
  p->voices = g_hash_table_size (voices);
  p->seconds = opt.seconds;
}

static double
ratio (guint64 part, guint64 whole)
{
  return whole > 0 ? (double)part / (double)whole : 1;
}

static gboolean
expect (gboolean fact, const char *what)
{
  if (!fact)
    printf ("FAILED: %s\n", what);
  return fact;
}

static int
report (const Part *clean, const Part *lossy)
{
  double before = (double)clean->cpu_ns / 1000 / (double)MAX (clean->sent, 1);
  double after = (double)lossy->cpu_ns / 1000 / (double)MAX (lossy->sent, 1);
  gboolean ok = TRUE;

  printf (
      "%d receivers, %d packets/s in bursts of %d, %.1f %% loss on each leg, %.1f %% before the "
      "relay\n",
      opt.receivers, opt.rate, opt.burst, opt.loss, opt.uplink_loss);
  printf ("without loss: %" G_GUINT64_FORMAT " packets out, %.3f us each\n", clean->sent, before);
  printf ("with loss:    %" G_GUINT64_FORMAT " packets out, %" G_GUINT64_FORMAT
          " of them again, %.3f us each: %.2f times\n",
      lossy->sent, lossy->resent, after, after / before);
  printf ("asked for %" G_GUINT64_FORMAT ", answered %.2f %%; missed %" G_GUINT64_FORMAT
          ", repaired %.3f %%\n",
      lossy->asked, 100 * ratio (lossy->answered, lossy->asked), lossy->missed,
      100 * ratio (lossy->repaired, lossy->missed));
  printf ("the publisher heard %u voice(s), %.2f picture requests/s, %" G_GUINT64_FORMAT
          " packets asked for\n",
      lossy->voices, lossy->pli / lossy->seconds,
      nat_counter_get (&publisher_counters->repairs_asked));
  ok &= expect (lossy->resent > 0, "something was sent again");
  ok &= expect (lossy->voices == 1, "the publisher hears one voice");
  ok &= expect (
      lossy->pli <= 2 * (lossy->seconds + DRAIN_US / 1e6) + 1, "at most two pictures a second");
  ok &= expect (ratio (lossy->answered, lossy->asked) > 0.99, "over 99 % answered");
  ok &= expect (ratio (lossy->repaired, lossy->missed) > 0.99, "over 99 % repaired");
  if (opt.judge)
    ok &= expect (after <= RATIO_LIMIT * before, "CPU for each packet within its limit");
  return ok ? 0 : 1;
}

/* ---- Set-up ---------------------------------------------------------------------------- */

static void
set_up (void)
{
  NatDataTimes times;
  NatTicket ticket;
  struct rlimit files;

  getrlimit (RLIMIT_NOFILE, &files);
  files.rlim_cur = MIN (files.rlim_max, (rlim_t)opt.receivers + 256);
  setrlimit (RLIMIT_NOFILE, &files);
  data_relay_default_times (&times);
  times.consent_us = (gint64)3600 * G_USEC_PER_SEC;
  relay = data_relay_new ("127.0.0.1", FALSE, &times);
  publisher = data_relay_publish (relay, &ticket, &publisher_counters);
  receivers = g_new0 (Receiver, opt.receivers);
  for (int i = 0; i < opt.receivers; i++) {
    receivers[i].probe = data_relay_subscribe (relay, NULL, &receivers[i].counters);
    receivers[i].due_us = G_MAXINT64;
  }
  voices = g_hash_table_new (NULL, NULL);
  rng = g_rand_new_with_seed (4711);
}

static void
tear_down (void)
{
  for (int i = 0; i < opt.receivers; i++) {
    nat_probe_free (receivers[i].probe);
    nat_session_counters_unref (receivers[i].counters);
  }
  g_free (receivers);
  nat_probe_free (publisher);
  nat_session_counters_unref (publisher_counters);
  data_relay_free (relay);
  g_hash_table_unref (voices);
  g_rand_free (rng);
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("- an audience that loses packets");
  g_autoptr (GError) error = NULL;
  Part clean, lossy;
  int code;

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error)) {
    g_printerr ("audience: %s\n", error->message);
    return 2;
  }
  set_up ();
  run (&clean, FALSE);
  run (&lossy, TRUE);
  code = report (&clean, &lossy);
  tear_down ();
  return code;
}
