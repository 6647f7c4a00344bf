/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * natkeepalives: many registered mappings, each with a Binding every so often. They come from one socket
 * that is bound to no address and names another one of 127.0.0.0/8 in each message. Negotiations are
 * not what is measured: sessions are made as tickets under the relay's own secret, as clients have them
 * that a restarted relay must revive, and registered with their first Binding.
 *
 * Prints one JSON object when all are registered, and one at the end.
 */
#include <errno.h>
#include <glib.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "histogram.h"
#include "natproto/challenge.h"
#include "natproto/crypto.h"
#include "natproto/stunauth.h"
#include "natproto/ticket.h"
#include "udpsocket.h"

#define BATCH        64
#define DATAGRAM     1024
#define FIRST_IP     0x7f100000u /* 127.16.0.0: none that a relay listens on */
#define NAP_US       300
#define CYCLES_MAX   5 /* in which all must be registered */
#define LAST_WAIT_NS (500 * G_GINT64_CONSTANT (1000000))

static struct {
  char *to, *secrets;
  int mappings, streams;
  double interval, seconds;
} opt = {.mappings = 100000, .streams = 1000, .interval = 5, .seconds = 10};

static const GOptionEntry entries[] = {
    {"to", 0, 0, G_OPTION_ARG_STRING, &opt.to, "the relay", "ADDRESS:PORT"},
    {"secrets", 0, 0, G_OPTION_ARG_STRING, &opt.secrets, "of the relay's state directory", "FILE"},
    {"mappings", 'n', 0, G_OPTION_ARG_INT, &opt.mappings, "that are registered", "N"},
    {"streams", 0, 0, G_OPTION_ARG_INT, &opt.streams, "that they belong to", "N"},
    {"interval", 'i', 0, G_OPTION_ARG_DOUBLE, &opt.interval, "between Bindings of one", "S"},
    {"seconds", 't', 0, G_OPTION_ARG_DOUBLE, &opt.seconds, "after all are registered", "S"},
    {NULL},
};

typedef struct {
  char *username;
  guint8 key[NAT_STUN_KEY_SIZE], epoch[NAT_EPOCH_SIZE];
  char nonce[NAT_NONCE_LEN + 1]; /* "" = none yet */
  guint32 serial;                /* of the request under way; goes into its transaction id */
  gint64 sent_ns;                /* of its turn's first request; 0 = answered */
  gboolean registered;
} Mapping;

typedef struct {
  struct mmsghdr messages[BATCH];
  struct iovec iov[BATCH];
  struct sockaddr_in peers[BATCH];
  guint8 data[BATCH][DATAGRAM];
  union {
    struct cmsghdr head;
    guint8 bytes[CMSG_SPACE (sizeof (struct in_pktinfo))];
  } control[BATCH];
  guint n;
} Batch;

static struct {
  guint64 requests, answered, unanswered, challenges, refused;
  BenchHistogram taken;
} counts;

static Mapping *mappings;
static guint n_registered;
static struct sockaddr_in relay;
static int fd;
static Batch in, out;

static void
die (const char *what)
{
  g_printerr ("natkeepalives: %s: %s\n", what, g_strerror (errno));
  exit (1);
}

/* ---- Sessions ------------------------------------------------------------------------ */

/* The last of the lines "NUMBER HEX" is the newest. */
static NatSecrets *
read_secrets (guint32 *number)
{
  NatSecrets *secrets = nat_secrets_new ();
  FILE *f = opt.secrets ? fopen (opt.secrets, "r") : NULL;
  char hex[65];

  if (!f)
    die ("--secrets");
  while (fscanf (f, "%u %64[0-9a-f]", number, hex) == 2) {
    guint8 secret[32];

    for (guint i = 0; i < sizeof secret; i++)
      secret[i] =
          (guint8)(g_ascii_xdigit_value (hex[2 * i]) << 4 | g_ascii_xdigit_value (hex[2 * i + 1]));
    nat_secrets_add (secrets, *number, secret);
  }
  fclose (f);
  if (nat_secrets_current (secrets) == 0)
    die ("--secrets holds none");
  *number = nat_secrets_current (secrets);
  return secrets;
}

static void
make_mapping (NatSecrets *secrets, guint32 number, Mapping *m, guint stream)
{
  NatTicket t = {.role = NAT_ROLE_SUBSCRIBER, .password_secret = number};
  char username[NAT_TICKET_TEXT_MAX + 1], password[NAT_PASSWORD_TEXT + 1];
  guint8 iv[12];

  nat_crypto_random (t.session_id, sizeof t.session_id);
  nat_crypto_random (iv, sizeof iv);
  nat_crypto_random (m->epoch, sizeof m->epoch);
  t.expires_s = t.token_expires_s = time (NULL) + 3000;
  g_snprintf (t.stream, sizeof t.stream, "keepalives/%u", stream);
  nat_ticket_seal (secrets, &t, iv, username);
  nat_ticket_password (secrets, number, t.session_id, password);
  nat_stun_key (username, strlen (username), NAT_REALM, password, m->key);
  m->username = g_strdup (username);
}

static void
make_mappings (void)
{
  guint32 number = 0;
  NatSecrets *secrets = read_secrets (&number);

  mappings = g_new0 (Mapping, opt.mappings);
  for (int i = 0; i < opt.mappings; i++)
    make_mapping (secrets, number, &mappings[i], (guint)(i % opt.streams));
  nat_secrets_free (secrets);
}

/* ---- Requests ------------------------------------------------------------------------ */

static void
flush_out (void)
{
  for (guint at = 0; at < out.n;) {
    int n = sendmmsg (fd, out.messages + at, out.n - at, 0);

    if (n < 0 && errno != EAGAIN && errno != ENOBUFS && errno != EINTR)
      die ("cannot send");
    at += n > 0 ? (guint)n : 0;
  }
  out.n = 0;
}

static void
name_source (guint slot, guint index)
{
  struct cmsghdr *c = &out.control[slot].head;
  struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl (FIRST_IP + index)};

  c->cmsg_level = IPPROTO_IP;
  c->cmsg_type = IP_PKTINFO;
  c->cmsg_len = CMSG_LEN (sizeof info);
  memcpy (CMSG_DATA (c), &info, sizeof info);
}

/* The first request, or the challenge's answer once there is a nonce. */
static gsize
write_request (Mapping *m, guint8 *buf)
{
  static const guint8 algorithms[] = {0, 2, 0, 0};
  NatStunAuthChallenge asked = {
      .realm = {(const guint8 *)NAT_REALM, strlen (NAT_REALM)},
      .nonce = {(const guint8 *)m->nonce, (guint16)strlen (m->nonce)},
      .password_algorithms = {algorithms, sizeof algorithms},
  };
  guint8 id[12] = {0};
  NatStunWriter w;

  m->serial++;
  memcpy (id, &m->serial, sizeof m->serial);
  nat_stun_writer_init (&w, buf, DATAGRAM, NAT_STUN_BINDING_REQUEST, id);
  if (!m->nonce[0]) {
    nat_stun_writer_pad_to (&w, 200, NAT_STUN_FINGERPRINT_SIZE);
  } else {
    nat_stunauth_add_answer (&w, m->username, &asked);
    nat_stun_writer_add (&w, NAT_ATTR_EPOCH, m->epoch, sizeof m->epoch);
    nat_stun_writer_add_flag (&w, NAT_ATTR_USE_CANDIDATE);
    nat_stun_writer_add_integrity (&w, m->key, sizeof m->key);
  }
  return nat_stun_writer_finish (&w);
}

static void
send_request (guint index)
{
  guint slot;

  if (out.n == BATCH)
    flush_out ();
  slot = out.n++;
  name_source (slot, index);
  out.iov[slot].iov_len = write_request (&mappings[index], out.data[slot]);
  counts.requests++;
}

static void
take_turn (guint index)
{
  Mapping *m = &mappings[index];

  if (m->sent_ns)
    counts.unanswered++;
  m->sent_ns = bench_now_ns ();
  send_request (index);
}

/* ---- Answers ------------------------------------------------------------------------- */

static void
take_success (Mapping *m, const NatStunMessage *msg, gint64 now)
{
  if (!nat_stun_verify (msg, m->key, sizeof m->key)) {
    counts.refused++;
    return;
  }
  counts.answered++;
  bench_histogram_add (&counts.taken, now - m->sent_ns);
  m->sent_ns = 0;
  n_registered += m->registered ? 0 : 1;
  m->registered = TRUE;
}

static void
take_answer (guint index, const guint8 *data, gsize len, gint64 now)
{
  Mapping *m = &mappings[index];
  NatStunAuthChallenge asked;
  NatStunMessage msg;

  if (nat_stun_parse (&msg, data, len) != NAT_STUN_OK || !m->sent_ns ||
      memcmp (msg.transaction_id, &m->serial, sizeof m->serial) != 0)
    return;
  if (msg.type == NAT_STUN_BINDING_SUCCESS) {
    take_success (m, &msg, now);
  } else if (nat_stunauth_challenge (&msg, &asked) && asked.nonce.len < sizeof m->nonce) {
    memcpy (m->nonce, asked.nonce.data, asked.nonce.len);
    m->nonce[asked.nonce.len] = 0;
    counts.challenges++;
    send_request (index);
  } else {
    counts.refused++;
  }
}

/* Which of ours it came to. */
static guint
index_of (struct msghdr *m)
{
  for (struct cmsghdr *c = CMSG_FIRSTHDR (m); c; c = CMSG_NXTHDR (m, c)) {
    struct in_pktinfo info;

    if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO)
      continue;
    memcpy (&info, CMSG_DATA (c), sizeof info);
    return ntohl (info.ipi_addr.s_addr) - FIRST_IP;
  }
  return G_MAXUINT;
}

/* TRUE if there may be more. */
static gboolean
read_some (void)
{
  gint64 now;
  int n;

  for (guint i = 0; i < BATCH; i++)
    in.messages[i].msg_hdr.msg_controllen = sizeof in.control[i];
  n = recvmmsg (fd, in.messages, BATCH, MSG_DONTWAIT, NULL);
  now = bench_now_ns ();
  for (int i = 0; i < n; i++) {
    guint index = index_of (&in.messages[i].msg_hdr);

    if (index < (guint)opt.mappings)
      take_answer (index, in.data[i], in.messages[i].msg_len, now);
  }
  return n == BATCH;
}

/* ---- The course ---------------------------------------------------------------------- */

/* Turns come evenly; ends when the last of count has had its own. */
static void
run_turns (guint count)
{
  gint64 start = bench_now_ns ();
  double step_ns = opt.interval * 1e9 / opt.mappings;

  for (guint done = 0; done < count;) {
    guint due = (guint)MIN ((double)(bench_now_ns () - start) / step_ns, count);
    gboolean more;

    for (guint i = 0; done < due && i < BATCH; i++, done++)
      take_turn (done % (guint)opt.mappings);
    more = read_some ();
    flush_out ();
    if (!more && done >= due)
      g_usleep (NAP_US);
  }
}

static void
read_last (void)
{
  for (gint64 end = bench_now_ns () + LAST_WAIT_NS; bench_now_ns () < end; g_usleep (NAP_US)) {
    while (read_some ())
      flush_out ();
    flush_out ();
  }
}

static double
own_cpu_s (void)
{
  struct timespec t;

  clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void
register_all (void)
{
  gint64 start = bench_now_ns ();

  for (guint cycle = 0; cycle < CYCLES_MAX && n_registered < (guint)opt.mappings; cycle++) {
    run_turns ((guint)opt.mappings);
    read_last ();
  }
  if (n_registered < (guint)opt.mappings) {
    g_printerr ("natkeepalives: only %u of %d were registered\n", n_registered, opt.mappings);
    exit (1);
  }
  printf ("{\"registered\": %u, \"seconds\": %.2f}\n", n_registered,
      (double)(bench_now_ns () - start) * 1e-9);
  fflush (stdout);
}

static void
keep_alive (void)
{
  guint cycles = (guint)MAX (opt.seconds / opt.interval + 0.5, 1);
  double cpu = own_cpu_s (), seconds = cycles * opt.interval;

  memset (&counts, 0, sizeof counts);
  run_turns (cycles * (guint)opt.mappings);
  read_last ();
  for (int i = 0; i < opt.mappings; i++)
    counts.unanswered += mappings[i].sent_ns != 0;
  printf ("{\"mappings\": %d, \"streams\": %d, \"interval\": %.1f, \"seconds\": %.1f, "
          "\"requests\": %" G_GUINT64_FORMAT ", \"answered\": %" G_GUINT64_FORMAT
          ", \"unanswered\": %" G_GUINT64_FORMAT ", \"challenges\": %" G_GUINT64_FORMAT
          ", \"refused\": %" G_GUINT64_FORMAT ", \"answered_per_second\": %.0f, "
          "\"p50_us\": %.0f, \"p99_us\": %.0f, \"own_share\": %.3f}\n",
      opt.mappings, opt.streams, opt.interval, seconds, counts.requests, counts.answered,
      counts.unanswered, counts.challenges, counts.refused, (double)counts.answered / seconds,
      bench_histogram_us (&counts.taken, 0.5), bench_histogram_us (&counts.taken, 0.99),
      (own_cpu_s () - cpu) / seconds);
}

static void
make_batch (Batch *b, const struct sockaddr_in *to)
{
  for (guint i = 0; i < BATCH; i++) {
    b->iov[i] = (struct iovec){b->data[i], DATAGRAM};
    b->peers[i] = to ? *to : (struct sockaddr_in){0};
    b->messages[i].msg_hdr = (struct msghdr){
        .msg_name = &b->peers[i],
        .msg_namelen = sizeof b->peers[i],
        .msg_iov = &b->iov[i],
        .msg_iovlen = 1,
        .msg_control = &b->control[i],
        .msg_controllen = sizeof b->control[i],
    };
  }
}

static void
open_socket (void)
{
  NatAddress any = bench_address ("0.0.0.0:0", 0), to = bench_address (opt.to, 0);
  BenchSockaddr sa = bench_sockaddr (&to);
  GError *error = NULL;
  int on = 1;

  memcpy (&relay, &sa.sa, sizeof relay);
  fd = bench_udp_socket (&any, &error);
  if (fd < 0 || setsockopt (fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) < 0)
    die ("no socket");
  make_batch (&in, NULL);
  make_batch (&out, &relay);
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("- many registered mappings");
  GError *error = NULL;

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error) || !opt.to || opt.mappings < 1 ||
      opt.mappings > 0xe00000 || opt.streams < 1 || opt.interval <= 0) {
    g_printerr ("natkeepalives: %s\n", error ? error->message : "--to and --secrets are needed");
    return 2;
  }
  bench_come_first ();
  make_mappings ();
  open_socket ();
  register_all ();
  keep_alive ();
  for (int i = 0; i < opt.mappings; i++)
    g_free (mappings[i].username);
  g_free (mappings);
  close (fd);
  return 0;
}
