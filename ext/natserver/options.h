/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Every setting of natrelay-server, once: its place in NatConfig, on the command line, in
 * natrelay-server.conf and in --help.
 *
 * NAT_OPTION (kind, field, name, where, argument, default, min, max, help)
 *   kind   TEXT, LIST (may be repeated; in the file separated by ';'), NUMBER, FLAG, OPEN
 *   where  LINE (command line only), FILE (natrelay-server.conf only), BOTH
 *   default, min, max  of a NUMBER */

/* clang-format off */
NAT_OPTION (TEXT, config, "config", LINE, "FILE", 0, 0, 0,
    "read settings from FILE; what stands on the command line wins")
NAT_OPTION (LIST, listen, "listen", BOTH, "ADDRESS:PORT", 0, 0, 0,
    "listen here, TCP and UDP alike; may be repeated; port 0 takes a free one (default 0.0.0.0:8443 and [::]:8443; with --open 127.0.0.1:8443 and [::1]:8443)")
NAT_OPTION (LIST, public_address, "public-address", BOTH, "ADDRESS", 0, 0, 0,
    "the address that clients see, when this machine sits behind 1:1 NAT; may be repeated (IPv4, IPv6)")
NAT_OPTION (TEXT, state_dir, "state-dir", BOTH, "DIRECTORY", 0, 0, 0,
    "where certificate, keys and secrets are kept; made on the first start")
NAT_OPTION (TEXT, certificate, "certificate", BOTH, "FILE", 0, 0, 0,
    "certificate chain in PEM (default: a self-signed one in the state directory)")
NAT_OPTION (TEXT, private_key, "private-key", BOTH, "FILE", 0, 0, 0,
    "private key of the certificate in PEM")
NAT_OPTION (LIST, token_key, "token-key", BOTH, "FILE", 0, 0, 0,
    "also take access tokens signed with this key: a public key in PEM (EC P-256, Ed25519) or 64 hex digits (HS256); a token's \"kid\" is the file's name without its ending; may be repeated")
NAT_OPTION (NUMBER, workers, "workers", BOTH, "N", 1, 0, 64,
    "threads that forward media (default 1); 0 = one for each core")
NAT_OPTION (OPEN, open, "open", BOTH, "anyone", 0, 0, 0,
    "no access tokens: everybody may publish and watch; on this machine only, unless --open=anyone")
NAT_OPTION (FLAG, verbose, "verbose", BOTH, NULL, 0, 0, 0,
    "log more")
NAT_OPTION (FLAG, version, "version", LINE, NULL, 0, 0, 0,
    "print the version")
NAT_OPTION (FLAG, help, "help", LINE, NULL, 0, 0, 0,
    "print this")
NAT_OPTION (NUMBER, max_sessions, "max-sessions", FILE, "N", 100000, 1, 10000000,
    "sessions at a time")
NAT_OPTION (NUMBER, max_sessions_per_subject, "max-sessions-per-subject", FILE, "N", 50000, 0, 10000000,
    "sessions at a time of one token subject; 0 = no limit")
NAT_OPTION (NUMBER, max_sessions_per_address, "max-sessions-per-address", FILE, "N", 4096, 0, 10000000,
    "sessions at a time that one address (IPv6: one /64) negotiated; 0 = no limit")
NAT_OPTION (NUMBER, max_posts_per_second, "max-posts-per-second", FILE, "N", 50, 0, 1000000,
    "new sessions that one address may ask for, sustained; 0 = no limit")
NAT_OPTION (NUMBER, max_posts_burst, "max-posts-burst", FILE, "N", 500, 1, 1000000,
    "new sessions that one address may ask for at once")
NAT_OPTION (NUMBER, max_connections, "max-connections", FILE, "N", 1024, 4, 100000,
    "HTTPS connections at a time")
NAT_OPTION (NUMBER, max_connections_per_address, "max-connections-per-address", FILE, "N", 64, 1, 100000,
    "HTTPS connections at a time of one address (IPv6: one /64)")
NAT_OPTION (NUMBER, max_handshakes, "max-handshakes", FILE, "N", 64, 1, 100000,
    "TLS handshakes under way at a time")
NAT_OPTION (NUMBER, request_timeout, "request-timeout", FILE, "SECONDS", 10, 1, 600,
    "time for a whole HTTPS request")
NAT_OPTION (NUMBER, socket_buffer, "socket-buffer", FILE, "BYTES", 0, 0, 1073741824,
    "receive and send buffer of a UDP socket; 0 = 8 MiB")
/* clang-format on */
