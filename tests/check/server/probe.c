/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "probe.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "natproto/crypto.h"
#include "natproto/rtcp.h"
#include "natproto/stun.h"

static void
open_socket (NatProbe *p, const char *bind_text)
{
  struct sockaddr_storage sa;
  struct sockaddr *name = (struct sockaddr *)&sa;
  socklen_t len;
  NatAddress address;

  g_assert_true (nat_address_from_text (&address, bind_text, 0));
  len = nat_address_to_sockaddr (&address, name);
  p->fd = socket (name->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  g_assert_cmpint (p->fd, >=, 0);
  g_assert_cmpint (bind (p->fd, name, len), ==, 0);
  len = sizeof sa;
  g_assert_cmpint (getsockname (p->fd, name, &len), ==, 0);
  g_assert_true (nat_address_from_sockaddr (&p->local, name, len));
}

static NatProbe *
make (void)
{
  NatProbe *p = g_new0 (NatProbe, 1);

  g_queue_init (&p->inbox);
  nat_crypto_random (p->epoch, sizeof p->epoch);
  return p;
}

NatProbe *
nat_probe_new (const char *bind, const NatAddress *relay)
{
  NatProbe *p = make ();

  p->relay = *relay;
  open_socket (p, bind);
  return p;
}

NatProbe *
nat_probe_new_carried (int fd, const NatAddress *local)
{
  NatProbe *p = make ();

  p->carried = TRUE;
  p->fd = fd;
  p->local = *local;
  return p;
}

static void
empty_inbox (NatProbe *p)
{
  GBytes *bytes;

  while ((bytes = g_queue_pop_head (&p->inbox)))
    g_bytes_unref (bytes);
}

void
nat_probe_free (NatProbe *p)
{
  if (!p)
    return;
  close (p->fd);
  empty_inbox (p);
  nat_srtcp_free (p->to_relay);
  nat_srtcp_free (p->from_relay);
  g_free (p);
}

void
nat_probe_rebind (NatProbe *p, const char *bind)
{
  close (p->fd);
  empty_inbox (p);
  p->nonce[0] = '\0';
  open_socket (p, bind);
}

void
nat_probe_set_credentials (NatProbe *p, const char *username, const char *password)
{
  g_strlcpy (p->username, username, sizeof p->username);
  g_strlcpy (p->password, password, sizeof p->password);
  nat_stun_key (p->username, strlen (p->username), NAT_REALM, p->password, p->key);
}

void
nat_probe_set_ticket (NatProbe *p, NatSecrets *secrets, const NatTicket *ticket)
{
  char username[NAT_TICKET_TEXT_MAX + 1], password[NAT_PASSWORD_TEXT + 1];
  guint8 iv[12];

  nat_crypto_random (iv, sizeof iv);
  g_assert_cmpuint (nat_ticket_seal (secrets, ticket, iv, username), >, 0);
  g_assert_true (
      nat_ticket_password (secrets, ticket->password_secret, ticket->session_id, password));
  nat_probe_set_credentials (p, username, password);
}

/* ---- Datagrams --------------------------------------------------------- */

void
nat_probe_send (NatProbe *p, gconstpointer data, gsize len)
{
  struct sockaddr_storage sa;
  socklen_t n = nat_address_to_sockaddr (&p->relay, (struct sockaddr *)&sa);

  if (p->carried)
    n = 0;
  g_assert_cmpint (
      sendto (p->fd, data, len, MSG_NOSIGNAL, n > 0 ? (struct sockaddr *)&sa : NULL, n), ==,
      (gssize)len);
}

/* Anything that is not from the relay's very address fails the test: that is the promise. */
static GBytes *
read_one (NatProbe *p, gint64 deadline_us)
{
  guint8 buf[65536];
  struct sockaddr_storage sa;
  socklen_t len = sizeof sa;
  NatAddress from;
  gint64 left = deadline_us - g_get_monotonic_time ();
  gssize n;

  if (poll (&(struct pollfd){p->fd, POLLIN, 0}, 1, (int)CLAMP (left / 1000 + 1, 0, 60000)) <= 0)
    return NULL;
  n = recvfrom (p->fd, buf, sizeof buf, 0, (struct sockaddr *)&sa, &len);
  if (n < 0 || (p->carried && n == 0))
    return NULL;
  if (p->carried)
    return g_bytes_new (buf, (gsize)n);
  g_assert_true (nat_address_from_sockaddr (&from, (struct sockaddr *)&sa, len));
  g_assert_true (nat_address_equal (&from, &p->relay));
  return g_bytes_new (buf, (gsize)n);
}

static gboolean
is_kind (GBytes *bytes, NatPacketKind kind)
{
  gsize len;
  const guint8 *data = g_bytes_get_data (bytes, &len);

  return nat_demux (data, len) == kind;
}

static GBytes *
take_kept (NatProbe *p, NatPacketKind kind)
{
  for (GList *link = p->inbox.head; link; link = link->next) {
    GBytes *bytes = link->data;
    if (is_kind (bytes, kind)) {
      g_queue_delete_link (&p->inbox, link);
      return bytes;
    }
  }
  return NULL;
}

static GBytes *
next_of (NatProbe *p, NatPacketKind kind, gint64 deadline_us)
{
  GBytes *bytes = take_kept (p, kind);

  while (!bytes && (bytes = read_one (p, deadline_us))) {
    if (!is_kind (bytes, kind)) {
      g_queue_push_tail (&p->inbox, bytes);
      bytes = NULL;
      if (g_get_monotonic_time () >= deadline_us)
        return NULL;
    }
  }
  return bytes;
}

static gint64
deadline (guint timeout_ms)
{
  return g_get_monotonic_time () + (gint64)timeout_ms * 1000;
}

gssize
nat_probe_receive (NatProbe *p, NatPacketKind kind, guint8 *buf, guint timeout_ms)
{
  g_autoptr (GBytes) bytes = next_of (p, kind, deadline (timeout_ms));
  gsize len;
  const guint8 *data;

  if (!bytes)
    return -1;
  data = g_bytes_get_data (bytes, &len);
  g_assert_cmpuint (len, <=, NAT_DATAGRAM_MAX);
  memcpy (buf, data, len);
  return (gssize)len;
}

/* ---- STUN -------------------------------------------------------------- */

static void
keep_answer (NatProbe *p, const NatStunMessage *m)
{
  NatStunAuthChallenge challenge;
  guint32 reason;

  p->answer_len = m->len;
  p->authentic = nat_stun_verify (m, p->key, sizeof p->key);
  nat_stun_mapped_address (m, &p->mapped);
  if (!nat_stun_slice_u32 (&m->version, &p->version))
    p->version = G_MAXUINT32;
  p->reason = nat_stun_slice_u32 (&m->reason, &reason) ? (NatReason)reason : NAT_REASON_NONE;
  if (m->boot_id.len == sizeof p->boot_id)
    memcpy (p->boot_id, m->boot_id.data, sizeof p->boot_id);
  if (nat_stunauth_challenge (m, &challenge)) {
    g_assert_cmpuint (challenge.nonce.len, <, sizeof p->nonce);
    memcpy (p->nonce, challenge.nonce.data, challenge.nonce.len);
    p->nonce[challenge.nonce.len] = '\0';
  }
}

static gint
wait_answer (NatProbe *p, const guint8 transaction_id[12], guint timeout_ms)
{
  gint64 end = deadline (timeout_ms);
  GQueue others = G_QUEUE_INIT;
  GBytes *bytes;
  gint code = NAT_PROBE_TIMEOUT;

  while (code == NAT_PROBE_TIMEOUT && (bytes = next_of (p, NAT_PACKET_STUN, end))) {
    gsize len;
    const guint8 *data = g_bytes_get_data (bytes, &len);
    NatStunMessage m;

    g_assert_cmpint (nat_stun_parse (&m, data, len), ==, NAT_STUN_OK);
    g_assert_true (m.has_fingerprint);
    if (memcmp (m.transaction_id, transaction_id, 12) == 0) {
      code = m.type == NAT_STUN_BINDING_SUCCESS ? 0 : (gint)nat_stun_error_code (&m, NULL);
      keep_answer (p, &m);
      g_bytes_unref (bytes);
    } else {
      g_queue_push_tail (&others, bytes);
    }
  }
  while ((bytes = g_queue_pop_tail (&others)))
    g_queue_push_head (&p->inbox, bytes);
  return code;
}

gint
nat_probe_challenge (NatProbe *p, gsize size, guint timeout_ms)
{
  guint8 buf[NAT_DATAGRAM_MAX], id[12];
  NatStunWriter w;

  nat_crypto_random (id, sizeof id);
  nat_stun_writer_init (&w, buf, sizeof buf, NAT_STUN_BINDING_REQUEST, id);
  nat_stun_writer_pad_to (&w, size, NAT_STUN_FINGERPRINT_SIZE);
  return nat_probe_exchange (p, buf, nat_stun_writer_finish (&w), timeout_ms);
}

gsize
nat_probe_request (NatProbe *p, NatProbeFlags flags, guint8 *buf)
{
  static const guint8 algorithms[4] = {0, NAT_STUN_PASSWORD_ALGORITHM_SHA256, 0, 0};
  NatStunAuthChallenge challenge = {
      {(const guint8 *)NAT_REALM, strlen (NAT_REALM)},
      {(const guint8 *)p->nonce, strlen (p->nonce)},
      {algorithms, sizeof algorithms},
  };
  NatStunWriter w;
  guint8 id[12];

  nat_crypto_random (id, sizeof id);
  nat_stun_writer_init (&w, buf, NAT_DATAGRAM_MAX, NAT_STUN_BINDING_REQUEST, id);
  nat_stunauth_add_answer (&w, p->username, &challenge);
  if (!(flags & NAT_PROBE_NO_EPOCH))
    nat_stun_writer_add (&w, NAT_ATTR_EPOCH, p->epoch, sizeof p->epoch);
  if (flags & NAT_PROBE_SELECT)
    nat_stun_writer_add_flag (&w, NAT_ATTR_USE_CANDIDATE);
  if (flags & NAT_PROBE_UNKNOWN)
    nat_stun_writer_add_u32 (&w, 0x7f01, 1);
  nat_stun_writer_add_integrity (&w, p->key, sizeof p->key);
  return nat_stun_writer_finish (&w);
}

gint
nat_probe_exchange (NatProbe *p, const guint8 *request, gsize len, guint timeout_ms)
{
  nat_probe_send (p, request, len);
  return wait_answer (p, request + 8, timeout_ms);
}

static void
make_contexts (NatProbe *p)
{
  if (p->to_relay)
    return;
  p->to_relay = nat_srtcp_new (p->password, NAT_SRTCP_CLIENT_TO_RELAY, p->boot_id, p->epoch);
  p->from_relay = nat_srtcp_new (p->password, NAT_SRTCP_RELAY_TO_CLIENT, p->boot_id, p->epoch);
}

gint
nat_probe_bind (NatProbe *p, NatProbeFlags flags)
{
  guint8 buf[NAT_DATAGRAM_MAX];
  gint code;

  if (!p->nonce[0]) {
    code = nat_probe_challenge (p, 200, NAT_PROBE_WAIT_MS);
    if (code != 401)
      return code;
  }
  code = nat_probe_exchange (p, buf, nat_probe_request (p, flags, buf), NAT_PROBE_WAIT_MS);
  if (code == 401 || code == 438)
    code = nat_probe_exchange (p, buf, nat_probe_request (p, flags, buf), NAT_PROBE_WAIT_MS);
  if (code == 0 && p->authentic)
    make_contexts (p);
  return code;
}

NatReason
nat_probe_indication (NatProbe *p, guint timeout_ms)
{
  gint64 end = deadline (timeout_ms);
  GBytes *bytes;

  while ((bytes = next_of (p, NAT_PACKET_STUN, end))) {
    gsize len;
    const guint8 *data = g_bytes_get_data (bytes, &len);
    NatStunMessage m;
    guint32 reason = NAT_REASON_NONE;

    g_assert_cmpint (nat_stun_parse (&m, data, len), ==, NAT_STUN_OK);
    if (m.type == NAT_STUN_BINDING_INDICATION)
      g_assert_true (nat_stun_slice_u32 (&m.reason, &reason));
    g_bytes_unref (bytes);
    if (reason != NAT_REASON_NONE)
      return (NatReason)reason;
  }
  return NAT_REASON_NONE;
}

/* ---- RTCP, RTP --------------------------------------------------------- */

void
nat_probe_send_rtcp (NatProbe *p, const guint8 *data, gsize len)
{
  guint8 buf[NAT_DATAGRAM_MAX];

  g_assert_cmpuint (len, <=, sizeof buf - NAT_SRTCP_OVERHEAD);
  memcpy (buf, data, len);
  len = nat_srtcp_protect (p->to_relay, buf, len);
  g_assert_cmpuint (len, >, 0);
  nat_probe_send (p, buf, len);
}

gssize
nat_probe_receive_rtcp (NatProbe *p, guint8 *buf, guint timeout_ms)
{
  gssize n = nat_probe_receive (p, NAT_PACKET_RTCP, buf, timeout_ms);
  gsize len = (gsize)n;

  if (n < 0)
    return -1;
  return nat_srtcp_unprotect (p->from_relay, buf, &len) == NAT_SRTCP_OK ? (gssize)len : -2;
}

static void
put_u32 (guint8 *p, guint32 value)
{
  value = GUINT32_TO_BE (value);
  memcpy (p, &value, 4);
}

void
nat_probe_write_rtp (guint8 *buf, gsize len, guint32 ssrc, guint16 seq, guint32 timestamp)
{
  g_assert_cmpuint (len, >=, 12);
  buf[0] = 0x80;
  buf[1] = 96;
  buf[2] = (guint8)(seq >> 8);
  buf[3] = (guint8)seq;
  put_u32 (buf + 4, timestamp);
  put_u32 (buf + 8, ssrc);
  for (gsize i = 12; i < len; i++)
    buf[i] = (guint8)(i * 7 + seq);
}

void
nat_probe_send_rtp (NatProbe *p, guint32 ssrc, guint16 seq)
{
  guint8 rtp[NAT_PROBE_RTP];

  nat_probe_write_rtp (rtp, sizeof rtp, ssrc, seq, seq * 3000u);
  nat_probe_send (p, rtp, sizeof rtp);
}

gsize
nat_probe_write_sr (guint8 *buf, guint32 ssrc, guint64 ntp)
{
  memset (buf, 0, 28);
  buf[0] = 0x80;
  buf[1] = NAT_RTCP_SR;
  buf[3] = 6;
  put_u32 (buf + 4, ssrc);
  put_u32 (buf + 8, (guint32)(ntp >> 32));
  put_u32 (buf + 12, (guint32)ntp);
  return 28 + nat_rtcp_write_sdes_cname (buf + 28, 100, ssrc, "camera");
}
