/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The relay's log: one line per message. Where standard error is the journal's, it gets the message with its level and
 * fields (NATRELAY_STREAM and the like), which journalctl can select by; elsewhere it is a line on standard error. Code says what it has to say by GLib's g_warning, g_message and
 * g_debug; this is the handler behind them. Every kind of message has its own small budget, so that no
 * stranger can fill a disk by repeating himself. Never log a token, a key, a password, a username or a
 * whole session id. */

#include <glib.h>

G_BEGIN_DECLS

#define NAT_LOG_BURST     10                    /* messages of one kind ... */
#define NAT_LOG_WINDOW_US (10 * G_USEC_PER_SEC) /* ... in this time */
#define NAT_LOG_KINDS     64                    /* budgets; kinds that collide share one */

typedef struct {
  struct {
    gint64 window_us; /* start of the window, monotonic */
    guint count;      /* messages in it, those held back included; 0 = never used */
  } kinds[NAT_LOG_KINDS];
} NatLogGate;

/* TRUE: say it. The kind of a message is its text up to the first digit, colon, quote or parenthesis.
 * *held: how many of this kind were held back in the window before. */
gboolean nat_log_gate_allows (NatLogGate *gate, const char *text, gint64 now_us, guint *held);
/* Takes over GLib's log. verbose: debug messages are shown too. Called again it only changes that. */
void nat_log_init (gboolean verbose);
/* From now on, until the end, a thread writes what is said: nobody waits for whoever reads it. */
void nat_log_begin_thread (void);
void nat_log_end_thread (void);
/* A line about who may what (control/audit.h); budgeted: only as many of a kind as of other messages, beside those. Nothing while
 * the log is not ours, or when it is switched off. */
void nat_log_audit (const char *line, gboolean budgeted);
void nat_log_set_audit (gboolean on); /* at first it is on */
/* What happened, with what it happened to: NATRELAY_EVENT and so on in the journal. NULL = is not about one. */
typedef struct {
  const char *event; /* a word that stays, whatever the sentence says */
  const char *stream, *role, *subject, *address;
  const char *session; /* its whole id, of which 8 characters are told */
} NatLogEvent;
void nat_log_event (GLogLevelFlags level, const NatLogEvent *event, const char *format, ...)
    G_GNUC_PRINTF (3, 4);
/* The last words of a program that cannot go on. */
void nat_log_error (const char *text);
/* TRUE if the descriptor leads to the systemd journal, where many may read. */
gboolean nat_log_is_journal (int fd);

G_END_DECLS
