#!/bin/bash
# peer.sh start|stop|restart|pid DIR, forget DIR N   one dirpost on the measuring bench, all state under DIR/dirpost
#
# BENCH names the bench's folder: its peers/common.sh has the ports and the users. DIRPOST names the binary (bin/dirpost of
# this tree). Accounts are loaded into the embedded directory, with the {SSHA} hashes that the other servers check too.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "${BENCH:?the folder of the bench}/peers/common.sh"
: "${DIRPOST:=$here/../../bin/dirpost}"
cmd=${1:?start, stop, restart, pid or forget}; dir=$(realpath -m "${2:?directory}")
d=$dir/dirpost
conf=$d/dirpost.toml

configure() {
	mkdir -p "$d/tls"
	make_certs "$dir"
	cp "$dir/tls/server.pem" "$d/tls/server.pem"
	cp "$dir/tls/server.key" "$d/tls/server.key"
	echo administrator | "$DIRPOST" -c "$conf" init --domain example.test --data "$d/data" --cache "$d/cache" --password-file - >/dev/null
	# Addresses of the bench instead of the well-known ports; no limits that one client on one machine would hit.
	sed -i -e "s#^mx = .*#mx = [\"$HOST:$SMTP_PORT\"]#; s#^submission = .*#submission = []#; s#^submissions = .*#submissions = []#" \
		-e "s#^lmtp = .*#lmtp = [\"$HOST:$LMTP_PORT\"]#; s#^imap = .*#imap = [\"$HOST:$IMAP_PORT\"]#; s#^imaps = .*#imaps = [\"$HOST:$IMAPS_PORT\"]#" \
		-e "s#^ldap = .*#ldap = [\"$HOST:$LDAP_PORT\"]#; s#^ldapi = .*#ldapi = \"$d/ldapi\"#" \
		-e "s#^level = .*#level = \"warn\"#" "$conf"
}

load() {
	"$MAILBENCH" ldif -dirpost -users "$PEER_USERS" -ca "$dir/tls/ca.pem" >"$d/users.ldif"
	# The containers are there already (-c): only what is new counts.
	ldapadd -c -Q -Y EXTERNAL -H "ldapi://${d//\//%2F}%2Fldapi" -f "$d/users.ldif" >"$d/load.log" 2>&1 || true
	grep -q "uid=user$((PEER_USERS - 1))," "$d/load.log" || die "the users were not loaded: $d/load.log"
	touch "$d/loaded"
}

launch() {
	"$DIRPOST" -c "$conf" serve >>"$d/dirpost.log" 2>&1 &
	echo $! >"$d/pid"
	local port
	for port in $SMTP_PORT $LMTP_PORT $IMAP_PORT $IMAPS_PORT $LDAP_PORT; do wait_port "$port"; done
}

case $cmd in
start)
	[ -s "$conf" ] || configure
	launch
	[ -e "$d/loaded" ] || load
	cat "$d/pid"
	;;
stop) stop_pid "$(cat "$d/pid")" ;;
restart) "$0" stop "$dir"; "$0" start "$dir" ;;
pid) cat "$d/pid" ;;
forget) rm -rf "$d/cache/m-${3:?user number}" ;;
*) die "unknown command $cmd" ;;
esac
