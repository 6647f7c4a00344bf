#!/bin/sh
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# natrelay-token as a person runs it: token-tool.sh PATH-OF-NATRELAY-TOKEN. TAP.

tool=$1
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
trap 'exit 99' HUP INT TERM
unset STATE_DIRECTORY
NATRELAY_STATE_DIR=$dir/state
export NATRELAY_STATE_DIR
mkdir "$NATRELAY_STATE_DIR"
umask 022
n=0
failed=0

# check WHAT COMMAND...: the command must succeed.
check() {
  what=$1
  shift
  n=$((n + 1))
  if "$@"; then
    echo "ok $n $what"
  else
    echo "not ok $n $what"
    failed=1
    sed 's/^/# out: /' "$dir/out"
    sed 's/^/# err: /' "$dir/err"
  fi
}

# run STATUS ARGUMENTS...: what the tool says goes to $dir/out and $dir/err; input: $dir/in.
: > "$dir/in"
run() {
  want=$1
  shift
  "$tool" "$@" < "$dir/in" > "$dir/out" 2> "$dir/err"
  got=$?
  [ "$got" = "$want" ] || echo "# status $got instead of $want" >> "$dir/err"
  [ "$got" = "$want" ]
}
says() { grep -q -e "$1" "$dir/out"; }
complains() { grep -q -e "$1" "$dir/err"; }
silent() { [ ! -s "$dir/$1" ]; }
mode() { [ "$(stat -c %a "$1")" = "$2" ]; }
# The token that was printed goes to $dir/$1, and is the next input.
keep() { cp "$dir/out" "$dir/$1" && cp "$dir/out" "$dir/in"; }
lines() { [ "$(wc -l < "$dir/out")" = "$1" ]; }

# --- help
check "--help" run 0 --help
check "--help names every command" says "natrelay-token keygen"
check "no command: help, but the status says no" run 2
check "unknown command" run 2 destroy
check "unknown command is named" complains '"destroy" is not a command; they are create, static, credential, inspect'
check "--version" run 0 --version
check "--version tells it" says '^natrelay-token [0-9]'
for command in create static credential inspect keygen; do
  check "$command --help" run 0 $command --help
  check "$command --help begins with the usage" says "natrelay-token $command \[OPTION"
  check "$command: unknown option" run 2 $command --frobnicate
done

# --- keys
check "create without any key" run 1 create --publish door
check "create without any key says what to do" complains 'natrelay-server once.*--key'
check "create without any key prints no token" silent out
check "keygen needs a file" run 2 keygen
check "keygen HS256" run 0 keygen --algorithm HS256 --out "$dir/state/token.key"
check "keygen HS256 prints nothing of the secret" silent out
check "the key is its owner's alone" mode "$dir/state/token.key" 600
check "the key is 64 hex digits" grep -qxE '[0-9a-f]{64}' "$dir/state/token.key"
cp "$dir/state/token.key" "$dir/before"
check "keygen does not overwrite" run 1 keygen --algorithm HS256 --out "$dir/state/token.key"
check "keygen says so" complains 'is there already'
check "the key is as it was" cmp -s "$dir/before" "$dir/state/token.key"
ln -s "$dir/nowhere" "$dir/link"
check "keygen does not follow a link" run 1 keygen --out "$dir/link"
check "nothing was made behind the link" [ ! -e "$dir/nowhere" ]
check "keygen into a folder that is not there" run 1 keygen --out "$dir/no/key"
check "keygen names the file" complains "$dir/no/key cannot be written"
check "keygen of an unknown algorithm" run 2 keygen --algorithm RS256 --out "$dir/rs"
check "keygen names those it knows" complains 'EdDSA, ES256 or HS256'
check "nothing was written" [ ! -e "$dir/rs" ]
for algorithm in EdDSA ES256; do
  check "keygen $algorithm" run 0 keygen --algorithm $algorithm --out "$dir/$algorithm.key"
  check "$algorithm: the public key is printed" says 'BEGIN PUBLIC KEY'
  cp "$dir/out" "$dir/$algorithm.pem"
  check "$algorithm: the private key is not" sh -c "! grep -q PRIVATE '$dir/out'"
  check "$algorithm: the private key is its owner's alone" mode "$dir/$algorithm.key" 600
  check "$algorithm: the file holds it" grep -q 'BEGIN PRIVATE KEY' "$dir/$algorithm.key"
done

# --- create and inspect
check "create with the relay's key" run 0 create --publish door
check "one line" lines 1
check "a JWT" says '^[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*$'
keep door
check "inspect from standard input" run 0 inspect
check "without a key nothing was verified, and it says so" says 'NOT VERIFIED'
check "inspect shows the content" says '"publish":\["door"\]'
check "when it ends is told as a date without a key, too" says "expires: *$(date -u -d '+30 days' +%Y-%m-%d)"
check "inspect -" run 0 inspect -
check "inspect TOKEN" run 0 inspect "$(cat "$dir/door")"
check "inspect with the key" run 0 inspect --key "$dir/state/token.key"
check "it is good" says 'good: signed with the key'
check "30 days are the default" says "expires: *$(date -u -d '+30 days' +%Y-%m-%d)"
check "inspect with another key" run 1 inspect --key "$dir/EdDSA.pem"
check "it is refused" says 'REFUSED'
check "and the reason told" complains 'another algorithm'
check "the error does not quote the token" sh -c "! grep -qF \"\$(cut -d. -f3 '$dir/door')\" '$dir/err'"

for algorithm in EdDSA ES256; do
  check "$algorithm: create with everything" run 0 create --key "$dir/$algorithm.key" --kid $algorithm \
    --subject "camera 1" --publish 'house/*' --publish 'yard/**' --subscribe '**' --expires never \
    --takeover --admin --list --max-kbps 4000 --max-packets 500 --id token-1
  keep everything
  check "$algorithm: the public key verifies it" run 0 inspect --key "$dir/$algorithm.pem"
  check "$algorithm: never expires" says 'expires: *never'
  check "$algorithm: kid" says "\"kid\":\"$algorithm\""
  check "$algorithm: subject" says '"sub":"camera 1"'
  check "$algorithm: id" says '"jti":"token-1"'
  check "$algorithm: publish" says '"publish":\["house/\*","yard/\*\*"\]'
  check "$algorithm: subscribe" says '"subscribe":\["\*\*"\]'
  check "$algorithm: flags" says '"list":true,"admin":true,"takeover":true,"max-kbps":4000,"max-packets":500'
  check "$algorithm: no end in it" sh -c "! grep -q '\"exp\"' '$dir/out'"
  check "$algorithm: the public key does not sign" run 1 create --key "$dir/$algorithm.pem" --publish x
  check "$algorithm: and says why" complains 'private key'
done
check "the other key refuses it" run 1 inspect --key "$dir/EdDSA.pem"

check "create --expires 90s" run 0 create --publish a --expires 90s
keep short
check "two tokens differ, by their ids" run 0 create --publish door
check "indeed" sh -c "! cmp -s '$dir/out' '$dir/door'"

# --- static tokens: the list has the hash of what is printed
list=$dir/list
printf '# ours, without an end of its line' > "$list"
chmod 640 "$list"
check "static" run 0 static --file "$list" --publish 'house/*' --subject 'camera 1' --max-kbps 4000
check "one line" lines 1
check "a word of its own kind" says '^nrt_[A-Za-z0-9_-]\{43\}$'
keep static
hash=$(tr -d '\n' < "$dir/static" | sha256sum | cut -d' ' -f1)
check "the list has its hash" grep -q "^$hash {" "$list"
check "and what it allows" grep -q '"sub":"camera 1".*"publish":\["house/\*"\].*"max-kbps":4000' "$list"
check "and no end" sh -c "! grep -q '\"exp\"' '$list'"
check "but not the token" sh -c "! grep -qF \"\$(cat '$dir/static')\" '$list'"
check "what stood there stands there" grep -qx '# ours, without an end of its line' "$list"
check "and whose it was, it is" mode "$list" 640
check "another one" run 0 static --file "$list" --subscribe '**' --expires 1h --list
check "with an end" grep -q '"exp":[0-9]*,"subscribe":\["\*\*"\],"list":true' "$list"
check "three lines" [ "$(wc -l < "$list")" = 3 ]
check "a list that is not there" run 0 static --file "$dir/new" --admin
check "is its owner's alone" mode "$dir/new" 600
check "a list that cannot be" run 1 static --file "$dir/no/list" --publish a
check "is named" complains "$dir/no/list cannot be written"
check "no token without its line" silent out
check "without a list" run 2 static --publish a
check "for nothing" run 2 static --file "$list"
check "a bad pattern" run 1 static --file "$list" --publish 'a//b'
check "is explained" complains ' is neither a stream'
check "and adds nothing" [ "$(wc -l < "$list")" = 3 ]

# --- credentials, which openssl agrees about
check "credential" run 0 credential --secret "$dir/state/token.key" --name camera-1 --expires 1h
username=$(sed -n 's/^username=//p' "$dir/out")
password=$(sed -n 's/^password=//p' "$dir/out")
check "TIME:NAME" sh -c "printf %s '$username' | grep -qx '[0-9]*:camera-1'"
check "in an hour" [ "$((${username%%:*} - $(date +%s)))" -gt 3500 ]
check "base64 of the HMAC" [ "$password" = "$(printf %s "$username" | openssl dgst -sha256 -mac HMAC \
  -macopt "hexkey:$(cat "$dir/state/token.key")" -binary | base64)" ]
check "both in one word" says "^auth-token=$(printf '%s:%s' "$username" "$password" | base64 -w0)\$"
check "not for ever" run 2 credential --secret "$dir/state/token.key" --name a --expires never
check "not without a name" run 2 credential --secret "$dir/state/token.key"
check "not with a colon in it" run 1 credential --secret "$dir/state/token.key" --name a:b
check "not with a pair of keys" run 1 credential --secret "$dir/EdDSA.key" --name a
check "which is explained" complains 'shared secret'

# --- wrong use
check "a token for nothing" run 2 create
check "says what is missing" complains 'say what it is for with --publish'
check "--takeover alone" run 2 create --subscribe a --takeover
check "a word too many" run 2 create door
check "is explained" complains 'given as --publish GLOB'
check "a bad pattern" run 1 create --publish 'a/**/b'
check "is explained" complains ' is neither a stream'
check "among good ones" run 1 create --publish door --subscribe 'house/*' --subscribe '/yard'
check "it is the one that is named" complains '"/yard" is neither'
for time in 0d 30 d -1d 1.5h 99999999999999999999d 101y forever '' '3 d' 3dd; do
  check "--expires '$time'" run 2 create --publish a "--expires=$time"
done
check "a key that is none" sh -c "echo hello > '$dir/bad.key'"
check "is refused" run 1 create --key "$dir/bad.key" --publish a
check "with the file's name" complains "$dir/bad.key"
check "--max-kbps -1" run 2 create --publish a --max-kbps=-1
check "--max-packets -1" run 2 create --publish a --max-packets=-1
check "--max-kbps x" run 2 create --publish a --max-kbps=x

# --- what is no token
for text in '' hello 'e30.e30' 'a.b.c' "$(head -c 5000 /dev/zero | tr '\0' A)"; do
  printf '%s' "$text" > "$dir/in"
  check "inspect refuses $(printf '%.8s' "$text")" run 1 inspect
  check "and says so" complains 'access token'
done
head -c 100 /dev/zero > "$dir/in"
check "inspect refuses zero bytes" run 1 inspect
check "two tokens at once" run 2 inspect a b
# {"alg":"none"} and {"sub":"<U+009B>2J"}, which would clear the screen of some terminals.
printf 'eyJhbGciOiJub25lIn0.%s.' "$(printf '{"sub":"\302\2332J"}' | base64 -w0 | tr '+/' '-_' | tr -d =)" \
  > "$dir/in"
check "inspect shows a forged token" run 0 inspect
check "but lets no control character through" says '\\u009b2J'
check "and refuses it with a key" run 1 inspect --key "$dir/state/token.key"

# --- where the relay's key is
unset NATRELAY_STATE_DIR
STATE_DIRECTORY=$dir/state:/elsewhere
export STATE_DIRECTORY
check "STATE_DIRECTORY, as under systemd" run 0 create --publish door
unset STATE_DIRECTORY
if [ "$(id -u)" != 0 ]; then
  XDG_STATE_HOME=$dir/home
  export XDG_STATE_HOME
  mkdir -p "$dir/home"
  cp -r "$dir/state" "$dir/home/natrelay"
  check "the user's state directory" run 0 create --publish door
fi

echo "1..$n"
exit $failed
