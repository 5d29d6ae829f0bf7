#!/bin/bash
# peers.sh GROUP...   dirpost beside Dovecot, Postfix and slapd in one run, on one machine, by the measuring bench
#
# BENCH names the bench's folder (its README.md says what it is and which Debian packages the others need). Each group is run
# on the rival and then on dirpost, REPS times; the lines go to OUT and their ratios to standard output. DIR keeps the state of all.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
BENCH=$(realpath "${BENCH:?the folder of the bench}")
export BENCH REPS=${REPS:-3} PEER_USERS=${PEER_USERS:-2000} TUNED=${TUNED:-1}
DIR=$(realpath -m "${DIR:-$(mktemp -d /var/tmp/dirpost-peers.XXXXXX)}")
OUT=$(realpath -m "${OUT:-$DIR/lines.jsonl}")
mkdir -p "$DIR/rival" "$DIR/own"
chmod 755 "$DIR" "$DIR/rival" "$DIR/own"
export MAILBENCH=${MAILBENCH:-$DIR/mailbench}
[ -x "$MAILBENCH" ] || (cd "$BENCH/mailbench" && go build -o "$MAILBENCH" .)
sysctl -qw fs.inotify.max_user_instances=65536 2>/dev/null || true

# own COMMAND...: with the ports of dirpost, which are not those of the rivals.
own() {
	LDAP_PORT=23890 IMAP_PORT=21430 IMAPS_PORT=29930 LMTP_PORT=22424 SMTP_PORT=22525 "$@"
}
cleanup() {
	own "$here/peer.sh" stop "$DIR/own" || true
	local p
	for p in postfix dovecot slapd; do "$BENCH/peers/$p.sh" stop "$DIR/rival" >/dev/null 2>&1 || true; done
}
trap cleanup EXIT

"$BENCH/peers/slapd.sh" start "$DIR/rival" >/dev/null
"$BENCH/peers/dovecot.sh" start "$DIR/rival" >/dev/null
"$BENCH/peers/postfix.sh" start "$DIR/rival" >/dev/null
own "$here/peer.sh" start "$DIR/own" >/dev/null

BIG=${BIG:-1:10000}
if [ ! -e "$DIR/corpus" ]; then
	# Dovecot reads a home only if its own account may enter it; without this it would serve an empty mailbox, very fast.
	install -d -o 65500 -g 65500 -m 700 "$DIR/rival/mail/user${BIG%%:*}"
	"$MAILBENCH" corpus -n "${BIG##*:}" -seed 42 -maildir "$DIR/rival/mail/user${BIG%%:*}/Maildir" -uid 65500 -gid 65500 >/dev/null
	"$MAILBENCH" corpus -n "${BIG##*:}" -seed 42 -maildir "$DIR/own/dirpost/data/homes/m-${BIG%%:*}/Maildir" >/dev/null
	touch "$DIR/corpus"
fi

rival() { # GROUP
	local pids="$BENCH/peers/dovecot.sh pid $DIR/rival" files="$DIR/rival/mail/user*/Maildir/new"
	[ "$1" = ldap ] && pids="$BENCH/peers/slapd.sh pid $DIR/rival"
	NAME=rival OUT=$OUT BIG=$BIG PIDS=$pids FILES=$files CERTS=$DIR/rival/tls \
		RESTART="$BENCH/peers/dovecot.sh restart $DIR/rival" FORGET="$BENCH/peers/dovecot.sh forget $DIR/rival" \
		LDAP_ADDR=127.0.0.1:13890 IMAP_ADDR=127.0.0.1:11430 IMAPS_ADDR=127.0.0.1:19930 LMTP_ADDR=127.0.0.1:12424 SMTP_ADDR=127.0.0.1:12525 \
		"$BENCH/suite.sh" "$1"
}
dirpost() { # GROUP
	NAME=dirpost OUT=$OUT BIG=$BIG PIDS="$here/peer.sh pid $DIR/own" FILES="$DIR/own/dirpost/data/homes/m-*/Maildir/new" CERTS=$DIR/own/tls \
		RESTART="$here/peer.sh restart $DIR/own" FORGET="$here/peer.sh forget $DIR/own" \
		LDAP_ADDR=127.0.0.1:23890 IMAP_ADDR=127.0.0.1:21430 IMAPS_ADDR=127.0.0.1:29930 LMTP_ADDR=127.0.0.1:22424 SMTP_ADDR=127.0.0.1:22525 \
		own "$BENCH/suite.sh" "$1"
}

for g in "${@:-lmtp}"; do
	rival "$g"
	dirpost "$g"
done
(cd "$here" && go run . "$OUT")
