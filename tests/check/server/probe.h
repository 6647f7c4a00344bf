/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A client of the relay in a few calls, for tests: one UDP socket, natproto, no thread. Every call waits
 * itself, with a limit; what arrives meanwhile and was not asked for is kept for later. */

#include <glib.h>

#include "natproto/address.h"
#include "natproto/demux.h"
#include "natproto/messages.h"
#include "natproto/srtcp.h"
#include "natproto/stunauth.h"
#include "natproto/ticket.h"

G_BEGIN_DECLS

#define NAT_PROBE_TIMEOUT (-1)  /* no answer in time */
#define NAT_PROBE_WAIT_MS 20000 /* long: only failures wait for all of it */

typedef enum {
  NAT_PROBE_SELECT = 1 << 0, /* USE-CANDIDATE */
  NAT_PROBE_NO_EPOCH = 1 << 1,
  NAT_PROBE_UNKNOWN = 1 << 2, /* an attribute that must be understood and is not */
} NatProbeFlags;

typedef struct {
  int fd;
  gboolean carried; /* fd is no UDP socket, but connected to who passes datagrams on */
  NatAddress local, relay;
  char username[NAT_TICKET_TEXT_MAX + 1];
  char password[NAT_PASSWORD_TEXT + 1];
  guint8 key[NAT_STUN_KEY_SIZE];
  guint8 epoch[NAT_EPOCH_SIZE];
  char nonce[128]; /* "" = none yet */
  GQueue inbox;    /* GBytes */

  /* From the last answer. */
  gboolean authentic; /* it carried integrity, and that was right */
  guint8 boot_id[NAT_BOOT_ID_SIZE];
  NatAddress mapped;
  guint32 version;
  NatReason reason; /* of a 403 */
  gsize answer_len;

  NatSrtcp *to_relay, *from_relay; /* after the first success */
} NatProbe;

/* bind: "127.0.0.1", "[::1]", with or without ":PORT". */
NatProbe *nat_probe_new (const char *bind, const NatAddress *relay);
/* fd: a socket of packets, which is the probe's from now on, to somebody who passes them on as if they came
 * from local. */
NatProbe *nat_probe_new_carried (int fd, const NatAddress *local);
void nat_probe_free (NatProbe *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatProbe, nat_probe_free)
/* Another socket, same credentials and keys: the client's mapping moved. */
void nat_probe_rebind (NatProbe *p, const char *bind);

void nat_probe_set_credentials (NatProbe *p, const char *username, const char *password);
/* Makes ticket and password as the relay's control does, from its secrets. */
void nat_probe_set_ticket (NatProbe *p, NatSecrets *secrets, const NatTicket *ticket);

/* Asks without credentials; size: the request's length in bytes. Returns the error code (401, and
 * then the nonce is kept) or NAT_PROBE_TIMEOUT. */
gint nat_probe_challenge (NatProbe *p, gsize size, guint timeout_ms);
/* The authenticated request; buf holds NAT_DATAGRAM_MAX. Returns its length. */
gsize nat_probe_request (NatProbe *p, NatProbeFlags flags, guint8 *buf);
/* Sends one and waits for its answer: 0 is success, else the error code, or NAT_PROBE_TIMEOUT. */
gint nat_probe_exchange (NatProbe *p, const guint8 *request, gsize len, guint timeout_ms);
/* Challenge if needed, request, and once more with a fresh nonce after 401 or 438. */
gint nat_probe_bind (NatProbe *p, NatProbeFlags flags);

void nat_probe_send (NatProbe *p, gconstpointer data, gsize len);
/* The next datagram of that kind; its length, or -1 in time. buf holds NAT_DATAGRAM_MAX. */
gssize nat_probe_receive (NatProbe *p, NatPacketKind kind, guint8 *buf, guint timeout_ms);
/* The next indication's reason, or NAT_REASON_NONE in time. */
NatReason nat_probe_indication (NatProbe *p, guint timeout_ms);
/* One plain compound, protected and sent. */
void nat_probe_send_rtcp (NatProbe *p, const guint8 *data, gsize len);
/* The next RTCP compound, opened; its plain length, -1 in time, -2 if it is not genuine. */
gssize nat_probe_receive_rtcp (NatProbe *p, guint8 *buf, guint timeout_ms);

/* An RTP packet of len bytes (at least 12) with a recognisable payload. */
void nat_probe_write_rtp (guint8 *buf, gsize len, guint32 ssrc, guint16 seq, guint32 timestamp);
/* One of NAT_PROBE_RTP bytes. */
#define NAT_PROBE_RTP 200
void nat_probe_send_rtp (NatProbe *p, guint32 ssrc, guint16 seq);
/* A compound of a sender report and a CNAME; buf holds 128 bytes. Returns its length. */
gsize nat_probe_write_sr (guint8 *buf, guint32 ssrc, guint64 ntp);

G_END_DECLS
