/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* RTCP compound packets (RFC 3550 section 6, RFC 4585): a walk over them, and the few that
 * the relay writes itself. */

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
  NAT_RTCP_SR = 200,
  NAT_RTCP_RR = 201,
  NAT_RTCP_SDES = 202,
  NAT_RTCP_BYE = 203,
  NAT_RTCP_APP = 204,
  NAT_RTCP_RTPFB = 205, /* FMT 1: generic NACK */
  NAT_RTCP_PSFB = 206,  /* FMT 1: PLI, FMT 4: FIR */
} NatRtcpType;
#define NAT_RTCP_FMT_NACK 1
#define NAT_RTCP_FMT_PLI  1
#define NAT_RTCP_FMT_FIR  4

typedef struct {
  const guint8 *data; /* this packet, header first */
  gsize len;          /* bytes, padding removed on the last */
  guint8 type;
  guint8 count; /* RC, SC or FMT: the low five bits */
} NatRtcpPacket;

typedef struct {
  const guint8 *data;
  gsize len, pos;
} NatRtcpIter;

/* Checks all of a compound first (version, lengths, padding only on the last, first packet SR or
 * RR, or RTPFB/PSFB alone as RFC 5506 allows): FALSE if it is not sound. */
gboolean nat_rtcp_iter_init (NatRtcpIter *it, const guint8 *data, gsize len);
gboolean nat_rtcp_iter_next (NatRtcpIter *it, NatRtcpPacket *packet);

guint32 nat_rtcp_sender_ssrc (const NatRtcpPacket *packet); /* 0 if there is none */
/* For RTPFB and PSFB: the media source; for FIR: the first FCI's SSRC. FALSE if too short. */
gboolean nat_rtcp_media_ssrc (const NatRtcpPacket *packet, guint32 *ssrc);

typedef struct {
  guint64 ntp; /* 32.32 fixed point */
  guint32 rtp_time, packets, bytes;
} NatRtcpSenderInfo;
gboolean nat_rtcp_sender_info (const NatRtcpPacket *sr, NatRtcpSenderInfo *info);

typedef struct {
  guint32 ssrc;
  guint8 fraction_lost;   /* of 256 */
  gint32 cumulative_lost; /* packets, 24 bits signed */
  guint32 highest_seq;    /* extended */
  guint32 jitter;         /* in clock-rate units */
  guint32 lsr, dlsr;      /* RFC 3550's; dlsr in 1/65536 s */
} NatRtcpReportBlock;
/* The index-th report block of an SR or RR. */
gboolean nat_rtcp_report_block (
    const NatRtcpPacket *packet, guint index, NatRtcpReportBlock *block);

/* Generic NACK (RFC 4585 section 6.2.1): an entry asks for packet first, and for first + 1 + i where
 * bit i of following is set. */
typedef struct {
  guint16 first, following;
} NatRtcpNackEntry;
/* The index-th entry of an RTPFB of FMT 1. */
gboolean nat_rtcp_nack_entry (const NatRtcpPacket *packet, guint index, NatRtcpNackEntry *entry);

/* Writers: return bytes written, 0 if cap is too small. */
gsize nat_rtcp_write_rr (guint8 *buf, gsize cap, guint32 sender_ssrc,
    const NatRtcpReportBlock *blocks, guint n_blocks); /* at most 31 */
gsize nat_rtcp_write_sdes_cname (guint8 *buf, gsize cap, guint32 ssrc, const char *cname);
gsize nat_rtcp_write_pli (guint8 *buf, gsize cap, guint32 sender_ssrc, guint32 media_ssrc);
/* seqs: in the order of the circle, none twice. As many as fit into cap; *n_seqs becomes that number. */
gsize nat_rtcp_write_nack (guint8 *buf, gsize cap, guint32 sender_ssrc, guint32 media_ssrc,
    const guint16 *seqs, guint *n_seqs);
gsize nat_rtcp_write_bye (guint8 *buf, gsize cap, guint32 ssrc);

G_END_DECLS
