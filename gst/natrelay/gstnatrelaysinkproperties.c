/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaysinkproperties.h"
#include "gstnatrelayelement.h"
#include "natproto/messages.h"

static void
install_roll_key (GObjectClass *klass, GCallback roll_key)
{
  /**
   * GstNatRelaySink::roll-key:
   * @object: the element
   *
   * Action signal: changes to a new media key some ten seconds from now, when those who watch have been given it, so that no
   * packet is lost. A minute later the old one is forgotten. So whoever may not watch any more cannot, and whoever comes
   * does not get the key to a recording made before. (Rolling happens by itself before a key is used up, after 2^31 packets.) The
   * field "key-rolls" of #GstNatRelaySink:stats counts those that came into use.
   *
   * Returns: %FALSE if there is nothing to roll: not started, not sealed, or a roll is under way
   *
   * Since: 0.1
   */
  g_signal_new_class_handler ("roll-key", G_OBJECT_CLASS_TYPE (klass),
      G_SIGNAL_RUN_LAST | G_SIGNAL_ACTION, roll_key, NULL, NULL, NULL, G_TYPE_BOOLEAN, 0);
}

void
gst_nat_relay_sink_properties_install (GObjectClass *klass, GCallback roll_key)
{
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY;

  gst_nat_relay_connection_install (klass);
  install_roll_key (klass, roll_key);
  /**
   * GstNatRelaySink:encryption:
   *
   * How payloads are sealed (SFrame, RFC 9605). The receivers follow what the sender chose, unless
   * #GstNatRelaySrc:encryption asks for more.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, GST_NAT_RELAY_SINK_PROP_ENCRYPTION,
      g_param_spec_enum ("encryption", "Encryption",
          "How media payloads are sealed (default aes-128-gcm; aes-256-gcm where a policy asks for "
          "it; none lets everybody on the way watch)",
          GST_TYPE_NAT_RELAY_ENCRYPTION, GST_NAT_RELAY_SINK_DEFAULT_ENCRYPTION, flags));
  /**
   * GstNatRelaySink:wait-for-connection:
   *
   * Hold the pipeline until the relay was reached for the first time, instead of dropping packets. What comes while a connection
   * was lost later is dropped.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, GST_NAT_RELAY_SINK_PROP_WAIT_FOR_CONNECTION,
      g_param_spec_boolean ("wait-for-connection", "Wait for connection",
          "Hold packets until the first connection instead of dropping them (default false, right "
          "for live input; true keeps a file's beginning)",
          GST_NAT_RELAY_SINK_DEFAULT_WAIT_FOR_CONNECTION, flags));
  /**
   * GstNatRelaySink:sync:
   *
   * Follow the clock where the input is not live, so that a file is sent at the speed at which it plays. Live
   * input is never delayed.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, GST_NAT_RELAY_SINK_PROP_SYNC,
      g_param_spec_boolean ("sync", "Sync",
          "Send input that is not live at its own speed (default true; false sends a file as fast "
          "as it is read)",
          GST_NAT_RELAY_SINK_DEFAULT_SYNC, flags));
  /**
   * GstNatRelaySink:takeover:
   *
   * Take the stream's place even if another publisher holds it, where the access token allows that.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, GST_NAT_RELAY_SINK_PROP_TAKEOVER,
      g_param_spec_boolean ("takeover", "Take over",
          "Replace another publisher of the same stream (default false; true for a spare that is "
          "to win)",
          GST_NAT_RELAY_SINK_DEFAULT_TAKEOVER, flags));
  /**
   * GstNatRelaySink:mtu:
   *
   * Largest datagram in bytes, for encoded input: the payloaders that are plugged in make RTP packets of at most
   * 40 bytes less, which leaves room for sealing and marks. It may change while packets flow. Where less than that is found to get
   * through to the relay, they make less (stats has the figure), and the element message "natrelay-path-size" tells. Whoever
   * brings RTP chooses the size where it is made, and is warned about packets of more than 1200 bytes
   * that this does not allow either.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, GST_NAT_RELAY_SINK_PROP_MTU,
      g_param_spec_uint ("mtu", "MTU",
          "Largest datagram in bytes made of encoded input (default 1200, which gets through "
          "everywhere; up to 1472 saves a little on paths that take it)",
          GST_NAT_RELAY_SINK_MTU_MIN, NAT_DATAGRAM_MAX, GST_NAT_RELAY_SINK_DEFAULT_MTU,
          G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_PLAYING));
  /**
   * GstNatRelaySink:stats:
   *
   * application/x-natrelay-statistics: packets-sent, bytes-sent, packets-sent-dropped (no connection, the
   * socket was full, or another track was flushed); packets-retransmitted, bytes-retransmitted (both are part of what was sent),
   * packet-nack-received, packets-asked (sequence numbers in those), packets-asked-gone (too old to be sent
   * again); key-rolls (see #GstNatRelaySink::roll-key); local-address, mapped-address (as the relay sees this client), relay-address, transport; mtu; rtt-ms;
   * estimated-bitrate (bits per second) and loss (share) of the link to the relay; rtcp-packets-sent, rtcp-packets-received, rtcp-packets-refused,
   * datagrams-refused; rebinds, reconnects, attempts; last-error, last-error-cause; of those who watch, as they
   * report it to the relay: subscribers, subscribers-worst-loss, subscribers-median-loss (shares),
   * subscribers-worst-rtt-ms, subscribers-median-rtt-ms.
   *
   * Names are srtsink's where the meaning is (hence packet-nack-received); all other counts of packets begin with
   * "packets-", of bytes with "bytes-".
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, GST_NAT_RELAY_SINK_PROP_STATS,
      g_param_spec_boxed ("stats", "Statistics", "Counters and addresses of the connection",
          GST_TYPE_STRUCTURE, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));
  /**
   * GstNatRelaySink:estimated-bitrate:
   *
   * What the link to the relay can take, RTP headers included, from how packets arrive there (RFC 8888): growing
   * delay lowers it before anything is lost. Each notable change is notified, on a thread of the element's
   * own, and posted as the element message "natrelay-bitrate" with the same figure and the share of packets
   * lost. Set an encoder's bitrate to about 90 % of it, less what other tracks take. A sender that stays far
   * below what the link can take is told of half as much again, or more where its pictures' packets show the room.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, GST_NAT_RELAY_SINK_PROP_ESTIMATED_BITRATE,
      g_param_spec_uint ("estimated-bitrate", "Estimated bitrate",
          "What the link to the relay can take, in bits per second (0 = not known yet); give an "
          "encoder 90 % of it",
          0, G_MAXUINT, 0, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));
}
