/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Every setting of natrelay-server, once: its place in NatConfig, on the command line, in the environment,
 * in natrelay-server.conf (whose example is made of these rows), in --help and in the man page.
 *
 * NAT_OPTION (kind, field, name, where, when, argument, default, min, max, example, help, more)
 *   kind     TEXT, LIST (may be repeated; in the file and the environment separated by ';'), NUMBER, FLAG, OPEN
 *   where    LINE (command line only), FILE (natrelay-server.conf and the environment only), BOTH
 *   when     SIGHUP: may change while the relay runs; START: only by a restart
 *   default, min, max  of a NUMBER
 *   example  what the example file shows; NULL: the default of a NUMBER, "false" of a FLAG
 *   help     one phrase, for --help; without the default of a NUMBER, which is added
 *   more     further sentences, for the man page and the example file */

/* clang-format off */
NAT_OPTION (TEXT, config, "config", LINE, START, "FILE", 0, 0, 0, NULL,
    "read settings from FILE; the environment and the command line win",
    "")
NAT_OPTION (LIST, listen, "listen", BOTH, START, "ADDRESS:PORT", 0, 0, 0, "0.0.0.0:8443;[::]:8443",
    "listen here, TCP (HTTPS) and UDP (media) alike; may be repeated; port 0 takes a free one (default 0.0.0.0:8443 and [::]:8443; with --open 127.0.0.1:8443 and [::1]:8443)",
    "Some firewalls let only port 443 out: listen there as well if it is free.")
NAT_OPTION (LIST, public_address, "public-address", BOTH, START, "ADDRESS", 0, 0, 0, "203.0.113.7",
    "the address that clients see, when this machine sits behind 1:1 NAT, as in many clouds; may be repeated",
    "Clients send media to where they reached the relay by HTTPS, so most do without this. Clients behind a proxy need it, since they do not see that address; and it is put into the certificate that the relay makes, and the lines that it prints. At most one IPv4 and one IPv6 address are of use.")
NAT_OPTION (TEXT, state_dir, "state-dir", BOTH, START, "DIRECTORY", 0, 0, 0, "/var/lib/natrelay",
    "where certificate, keys and secrets are kept; made on the first start (default: /var/lib/natrelay for root and the service, else ~/.local/state/natrelay)",
    "Whoever can read this directory can pass for the relay.")
NAT_OPTION (TEXT, certificate, "certificate", BOTH, SIGHUP, "FILE", 0, 0, 0, "/etc/natrelay/fullchain.pem",
    "certificate chain in PEM, for instance from Let's Encrypt (default: a self-signed one in the state directory)",
    "Without one the relay makes a certificate of its own, and clients pin it by tls-fingerprint.")
NAT_OPTION (TEXT, private_key, "private-key", BOTH, SIGHUP, "FILE", 0, 0, 0, "/etc/natrelay/privkey.pem",
    "private key of the certificate in PEM",
    "")
NAT_OPTION (LIST, token_key, "token-key", BOTH, SIGHUP, "FILE", 0, 0, 0, "/etc/natrelay/issuer.pem",
    "also take access tokens signed with this key: a public key in PEM (EC P-256 for ES256, Ed25519 for EdDSA) or 64 hex digits (HS256); may be repeated",
    "A token that has a \"kid\" is checked with the key whose file is so named, without the ending: issuer.pem is \"issuer\".")
NAT_OPTION (LIST, jwks, "jwks", BOTH, SIGHUP, "FILE|URL", 0, 0, 0, "https://issuer.example.org/.well-known/jwks.json",
    "also take access tokens signed with a key of this JSON Web Key set (RFC 7517), a file or an https:// URL: RSA (RS256), EC P-256 (ES256), Ed25519 (EdDSA), in a file also oct (HS256); may be repeated",
    "A URL is fetched in the background: when its Cache-Control says so, and when a token names a key that is not there. While it cannot be had, the keys of the last time stay good. http:// is taken for 127.0.0.1, ::1 and localhost only.")
NAT_OPTION (NUMBER, jwks_refresh_min, "jwks-refresh-min", FILE, SIGHUP, "SECONDS", 30, 1, 3600, NULL,
    "shortest time from one fetch of a key set to the next, whatever it says and whoever asks",
    "One that failed is tried again sooner.")
NAT_OPTION (NUMBER, jwks_refresh_max, "jwks-refresh-max", FILE, SIGHUP, "SECONDS", 3600, 1, 86400, NULL,
    "longest time between two fetches of a key set: so long a key that its issuer withdrew may stay good",
    "A set that says nothing of its age is fetched every ten minutes.")
NAT_OPTION (TEXT, static_tokens, "static-tokens", BOTH, SIGHUP, "FILE", 0, 0, 0, "/etc/natrelay/static-tokens",
    "also take the random tokens whose hashes stand in FILE, a line each with what it allows; natrelay-token static writes them",
    "Take a line out, and SIGHUP ends the sessions of its token.")
NAT_OPTION (LIST, credential_secret, "credential-secret", BOTH, SIGHUP, "FILE", 0, 0, 0, "/etc/natrelay/credentials.key",
    "also take time-limited credentials made with this secret (64 hex digits): user name TIME:NAME, password base64 (HMAC-SHA256 (secret, user name)); may be repeated",
    "What they allow, say credential-publish and credential-subscribe. natrelay-token credential makes one.")
NAT_OPTION (LIST, credential_publish, "credential-publish", BOTH, SIGHUP, "GLOB", 0, 0, 0, "cameras/{name}",
    "streams that a holder of time-limited credentials may publish; {name} is the name in them",
    "")
NAT_OPTION (LIST, credential_subscribe, "credential-subscribe", BOTH, SIGHUP, "GLOB", 0, 0, 0, "cameras/**",
    "streams that a holder of time-limited credentials may watch; {name} is the name in them",
    "")
NAT_OPTION (TEXT, access_callback, "access-callback", BOTH, SIGHUP, "URL", 0, 0, 0, "https://app.example.org/natrelay/access",
    "ask this web server, by POST of JSON, about everybody whom the token lets in; it says yes or no, and without its answer it is no",
    "Answers are kept as long as they say. Sessions that live are asked about anew, and end at a no. PROTOCOL.md, section 2.7, has question and answer. https://, or http:// to this machine.")
NAT_OPTION (FLAG, access_callback_tokens, "access-callback-tokens", BOTH, SIGHUP, NULL, 0, 0, 0, NULL,
    "tokens that the relay does not know itself are not refused, but sent to access-callback, which decides alone",
    "Only then does a token leave the relay.")
NAT_OPTION (NUMBER, access_callback_grace, "access-callback-grace", FILE, SIGHUP, "SECONDS", 300, 0, 86400, NULL,
    "time that a session goes on while access-callback does not answer about it",
    "")
NAT_OPTION (NUMBER, access_timeout, "access-timeout", FILE, SIGHUP, "MS", 3000, 100, 30000, NULL,
    "time for an answer of access-callback, and of a URL of jwks",
    "")
NAT_OPTION (TEXT, access_ca, "access-ca", BOTH, SIGHUP, "FILE", 0, 0, 0, "/etc/natrelay/ca.pem",
    "authorities in PEM that access-callback and URLs of jwks are checked with (default: the system's)",
    "")
NAT_OPTION (NUMBER, audit, "audit", FILE, SIGHUP, "0|1", 1, 0, 1, NULL,
    "a line in the log about everybody who is let in, kept out or put out: who, from where, what and why; 0 = none",
    "No token, password or whole session id stands in it. Of those who are kept out, at most ten in ten seconds are shown, and how many more there were.")
NAT_OPTION (OPEN, open, "open", BOTH, START, "anyone", 0, 0, 0, "false",
    "no access tokens: everybody may publish and watch; on this machine only, unless --open=anyone",
    "")
NAT_OPTION (NUMBER, workers, "workers", BOTH, START, "N", 1, 0, 64, NULL,
    "threads that forward media; 0 = one for each core",
    "")
NAT_OPTION (NUMBER, cache_mb, "cache-mb", BOTH, START, "MIB", 512, 0, 65536, NULL,
    "memory for packets that receivers may ask for again, taken as streams need it; 0 = none, and so no repair",
    "Two seconds of each stream are worth keeping, or all since its last picture that stands alone.")
NAT_OPTION (NUMBER, max_memory_mb, "max-memory-mb", BOTH, START, "MIB", 0, 0, 16777216, NULL,
    "memory for the whole relay, under any traffic; at least 128; 0 = three quarters of what the machine, or the relay's control group, has",
    "When it gets short the cache of packets shrinks first, then whoever wants something new is refused; those who are there go on.")
NAT_OPTION (FLAG, busy_poll, "busy-poll", BOTH, START, NULL, 0, 0, 0, NULL,
    "workers never sleep but look at their sockets again and again: saves the time of a wake-up, and costs a whole core for each worker, busy or not; leave the rest of the machine a core",
    "")
NAT_OPTION (FLAG, verify_media, "verify-media", BOTH, START, NULL, 0, 0, 0, NULL,
    "check each packet of media with the publisher's key before it is kept or forwarded, where the relay has the key",
    "So not even somebody who can forge the publisher's address gets a packet to the subscribers, who would refuse it in any case. It costs about 0.5 µs of a core for each packet that comes in, and nothing for those that go out. Streams with a passphrase, whose keys the relay does not know, and streams in clear are forwarded as ever.")
NAT_OPTION (FLAG, core_dumps, "core-dumps", BOTH, START, NULL, 0, 0, 0, NULL,
    "let the system write a core dump if the relay crashes, and debuggers of the same user look in",
    "A dump holds all keys and tokens that the relay had. Where dumps go and how large they may be is the system's to say (core(5)).")
NAT_OPTION (FLAG, verbose, "verbose", BOTH, SIGHUP, NULL, 0, 0, 0, NULL,
    "log more",
    "")
NAT_OPTION (FLAG, check, "check", LINE, START, NULL, 0, 0, 0, NULL,
    "look at all settings, certificate and keys included, say what is wrong, and end",
    "")
NAT_OPTION (FLAG, version, "version", LINE, START, NULL, 0, 0, 0, NULL,
    "print the version",
    "")
NAT_OPTION (FLAG, help, "help", LINE, START, NULL, 0, 0, 0, NULL,
    "print this",
    "")
NAT_OPTION (NUMBER, max_sessions, "max-sessions", FILE, SIGHUP, "N", 100000, 1, 10000000, NULL,
    "sessions at a time",
    "")
NAT_OPTION (NUMBER, max_sessions_per_subject, "max-sessions-per-subject", FILE, SIGHUP, "N", 50000, 0, 10000000, NULL,
    "sessions at a time of one token subject; 0 = no limit",
    "")
NAT_OPTION (NUMBER, max_sessions_per_address, "max-sessions-per-address", FILE, SIGHUP, "N", 4096, 0, 10000000, NULL,
    "sessions at a time that one address (IPv6: one /64) negotiated; 0 = no limit",
    "")
NAT_OPTION (NUMBER, max_streams, "max-streams", FILE, SIGHUP, "N", 0, 0, 10000000, NULL,
    "streams that are published at a time; 0 = no limit but that of sessions, as for the next three",
    "")
NAT_OPTION (NUMBER, max_streams_per_subject, "max-streams-per-subject", FILE, SIGHUP, "N", 0, 0, 10000000, NULL,
    "streams that one token subject publishes at a time",
    "")
NAT_OPTION (NUMBER, max_streams_per_address, "max-streams-per-address", FILE, SIGHUP, "N", 0, 0, 10000000, NULL,
    "streams at a time whose publishers negotiated from one address (IPv6: one /64)",
    "")
NAT_OPTION (NUMBER, max_subscribers_per_stream, "max-subscribers-per-stream", FILE, SIGHUP, "N", 0, 0, 10000000, NULL,
    "subscribers of one stream, or of one pattern, at a time",
    "")
NAT_OPTION (NUMBER, max_patterns, "max-patterns", FILE, SIGHUP, "N", 4096, 0, 10000000, NULL,
    "patterns (room/*) that are subscribed to at a time, however many subscribe to each; 0 = no limit",
    "")
NAT_OPTION (NUMBER, max_patterns_per_stream, "max-patterns-per-stream", FILE, SIGHUP, "N", 64, 0, 10000000, NULL,
    "patterns at a time that could match one and the same stream; 0 = no limit",
    "")
NAT_OPTION (NUMBER, max_posts_per_second, "max-posts-per-second", FILE, SIGHUP, "N", 50, 0, 1000000, NULL,
    "new sessions that one address may ask for, sustained; 0 = no limit, nor one for an hour",
    "")
NAT_OPTION (NUMBER, max_posts_burst, "max-posts-burst", FILE, SIGHUP, "N", 500, 1, 1000000, NULL,
    "new sessions that one address may ask for at once",
    "")
NAT_OPTION (NUMBER, max_posts_per_hour, "max-posts-per-hour", FILE, SIGHUP, "N", 20000, 0, 10000000, NULL,
    "new sessions that one address may ask for in an hour; 0 = no limit",
    "")
NAT_OPTION (NUMBER, max_posts_per_hour_per_subject, "max-posts-per-hour-per-subject", FILE, SIGHUP, "N", 200000, 0, 10000000, NULL,
    "new sessions that the tokens of one subject may ask for in an hour; 0 = no limit",
    "It bounds what sessions leave behind when they end before their tickets: 50 bytes for each, for an hour and a half at most.")
NAT_OPTION (NUMBER, max_connections, "max-connections", FILE, SIGHUP, "N", 1024, 4, 100000, NULL,
    "HTTPS connections at a time",
    "")
NAT_OPTION (NUMBER, max_connections_per_address, "max-connections-per-address", FILE, SIGHUP, "N", 64, 1, 100000, NULL,
    "HTTPS connections at a time of one address (IPv6: one /64)",
    "")
NAT_OPTION (NUMBER, max_handshakes, "max-handshakes", FILE, SIGHUP, "N", 64, 1, 100000, NULL,
    "TLS handshakes under way at a time",
    "")
NAT_OPTION (NUMBER, max_websockets, "max-websockets", FILE, SIGHUP, "N", 4096, 0, 100000, NULL,
    "WebSocket connections at a time, for clients that UDP does not reach; 0 = none",
    "Each takes some 20 kB while it idles. From none to some, and back, only by a restart.")
NAT_OPTION (NUMBER, max_websockets_per_address, "max-websockets-per-address", FILE, SIGHUP, "N", 1024, 1, 100000, NULL,
    "WebSocket connections at a time of one address (IPv6: one /64)",
    "All clients behind one proxy have its address.")
NAT_OPTION (NUMBER, max_kbps_per_stream, "max-kbps-per-stream", FILE, SIGHUP, "N", 0, 0, 100000000, NULL,
    "kbit/s that may be published on one stream; 0 = no limit, as for all of these",
    "What goes beyond it is dropped, and counted under the limit's name; other streams feel nothing of it. A second's worth may come at once.")
NAT_OPTION (NUMBER, max_packets_per_stream, "max-packets-per-stream", FILE, SIGHUP, "N", 0, 0, 100000000, NULL,
    "packets a second that may be published on one stream",
    "")
NAT_OPTION (NUMBER, max_kbps_per_subject, "max-kbps-per-subject", FILE, SIGHUP, "N", 0, 0, 100000000, NULL,
    "kbit/s that may be published with the tokens of one subject, all streams together",
    "Where a token says less (max-kbps), that holds.")
NAT_OPTION (NUMBER, max_packets_per_subject, "max-packets-per-subject", FILE, SIGHUP, "N", 0, 0, 100000000, NULL,
    "packets a second that may be published with the tokens of one subject",
    "Where a token says less (max-packets), that holds.")
NAT_OPTION (NUMBER, max_kbps_per_address, "max-kbps-per-address", FILE, SIGHUP, "N", 0, 0, 100000000, NULL,
    "kbit/s that may be published from one address (IPv6: one /64)",
    "")
NAT_OPTION (NUMBER, max_packets_per_address, "max-packets-per-address", FILE, SIGHUP, "N", 0, 0, 100000000, NULL,
    "packets a second that may be published from one address (IPv6: one /64)",
    "")
NAT_OPTION (NUMBER, max_kbps, "max-kbps", FILE, SIGHUP, "N", 0, 0, 100000000, NULL,
    "kbit/s that may be published in all",
    "Who sends most loses most of it; a limit for each stream beside it protects the others.")
NAT_OPTION (NUMBER, max_packets, "max-packets", FILE, SIGHUP, "N", 0, 0, 100000000, NULL,
    "packets a second that may be published in all",
    "")
NAT_OPTION (NUMBER, request_timeout, "request-timeout", FILE, SIGHUP, "SECONDS", 10, 1, 600, NULL,
    "time for a whole HTTPS request",
    "")
NAT_OPTION (NUMBER, socket_buffer, "socket-buffer", FILE, START, "BYTES", 0, 0, 1073741824, NULL,
    "receive and send buffer of a UDP socket; 0 = 8 MiB",
    "The system may allow less: see net.core.rmem_max and net.core.wmem_max.")
/* clang-format on */
