#!/bin/bash
# What live.sh has done in its Debian tree: the README, and what systemd may do to a service. Each line of output is a check.
set -u
cd /root
base=dc=example,dc=org

# want WHAT PATTERN COMMAND...: the command prints something that the pattern fits.
want() {
	local what=$1 pattern=$2 out
	shift 2
	out=$("$@" 2>&1)
	if grep -qE -- "$pattern" <<<"$out"; then
		echo "PASS  $what"
	else
		printf 'FAIL  %s: no "%s" in\n%s\n' "$what" "$pattern" "$out"
		exit 1
	fi
}

main() { systemctl show dirpost -p MainPID --value; }
imap() { curl -sSk --user "$1:$1 has a password" "imaps://localhost/INBOX" -X "$2"; }
submit() { swaks --server "localhost:$1" "$2" --auth PLAIN --auth-user "$3@example.org" --auth-password "$3 has a password" --from "$3@example.org" --to "$4@example.org" --h-Subject "$5"; }
by_certificate() { (printf 'a AUTHENTICATE EXTERNAL =\r\n'; sleep 1; printf 'b LOGOUT\r\n'; sleep 1) | openssl s_client -quiet -connect localhost:993 -cert alice.pem -key alice.key 2>/dev/null; }
greeting() { exec 5<>"/dev/tcp/127.0.0.1/$1" && read -r -t 30 line <&5 && echo "$line"; exec 5>&-; }
secret() { (umask 077; echo "$1 has a password" >"$1.pw"); }

# people adds whom the tour has; "$@" is who does it.
people() {
	for name in alice bob carol; do
		secret $name
		want "user $name" "receives" dirpost "$@" user add $name --mail $name@example.org --password-file $name.pw
	done
	want "role" "is received by" dirpost "$@" role add both@example.org --occupant alice --occupant bob
	[ -e alice.pem ] || {
		openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj "/CN=Class 3" -days 30
		openssl req -newkey rsa:2048 -nodes -keyout alice.key -out alice.csr -subj "/CN=Alice"
		echo extendedKeyUsage=clientAuth >use
		openssl x509 -req -in alice.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out alice.pem -days 30 -extfile use
	} 2>/dev/null
	want "authority" "may log users in" dirpost "$@" authority add class3 ca.pem --trust sha256
	want "certificate" "logs in with" dirpost "$@" cert add alice alice.pem
	sleep 11 # the authority counts
}

# mail uses the ports that mail programs use.
mail() {
	want "mail in" "250 2.0.0 accepted" swaks --server localhost --from you@example.net --to alice@example.org --h-Subject stranger
	want "submission, 587 STARTTLS" "250 2.0.0 accepted" submit 587 -tls alice bob s587
	want "submission, 465" "250 2.0.0 accepted" submit 465 -tlsc carol bob s465
	want "IMAP, 993" "SEARCH 1" imap bob "SEARCH SUBJECT s587"
	want "IMAP, 143 STARTTLS" "SEARCH 2" curl -sSk --ssl-reqd --user "bob:bob has a password" imap://localhost/INBOX -X "SEARCH SUBJECT s465"
	want "EXTERNAL" "a OK" by_certificate
	want "status" "certificate" dirpost status
}

start() {
	want "systemd-analyze verify is silent" "^$" systemd-analyze verify --man=no dirpost.service dirpost.socket
	systemctl daemon-reload && systemctl -q enable --now dirpost.socket dirpost.service || exit 1
}

remove() {
	systemctl -q disable --now dirpost.socket dirpost.service
	rm -rf /etc/dirpost /var/lib/dirpost /var/cache/dirpost /etc/systemd/system/dirpost.*
	userdel dirpost
	systemctl daemon-reload
}

# hammer connects to a port again and again for some seconds, and tells of refusals.
hammer() {
	local end=$((SECONDS + 6)) refused=0 answered=0
	while [ $SECONDS -lt $end ]; do
		if (greeting "$1" >/dev/null) 2>/dev/null; then answered=$((answered + 1)); else refused=$((refused + 1)); fi
	done
	echo "port $1: $refused refused, answered=$answered"
}

disturb() {
	want "exposure below 2" "exposure level for dirpost.service: [01]\." systemd-analyze security dirpost.service
	want "reload" "StatusText=reloaded" sh -c 'systemctl reload dirpost; systemctl show -p StatusText dirpost'
	echo 'nonsense = 1' >>/etc/dirpost/dirpost.toml
	want "a reload that cannot be is refused" "failed" systemctl reload dirpost
	sed -i '/^nonsense/d' /etc/dirpost/dirpost.toml
	for port in 25 143 587; do hammer $port >hammer.$port & done
	for n in 1 2 3 4 5 6 7 8 9 10; do systemctl restart dirpost || exit 1; sleep 0.3; done
	wait
	for port in 25 143 587; do want "ten restarts refuse nobody at $port" ": 0 refused, answered=[1-9]" cat hammer.$port; done

	mkdir -p /run/systemd/system/dirpost.service.d
	printf '[Service]\nWatchdogSec=4s\n' >/run/systemd/system/dirpost.service.d/watchdog.conf
	systemctl daemon-reload && systemctl restart dirpost
	kill -STOP "$(main)"
	want "the watchdog starts it anew, a client waits" "^220" greeting 25
	want "the journal says why" "watchdog" journalctl -u dirpost -n 4000
	kill -KILL "$(main)"
	want "so does a kill" "^220" greeting 25
	rm -r /run/systemd/system/dirpost.service.d && systemctl daemon-reload

	(printf 'a LOGIN alice "alice has a password"\r\n'; sleep 1; printf 'b SELECT INBOX\r\nc IDLE\r\n'; sleep 4) | openssl s_client -quiet -connect localhost:993 >idle 2>/dev/null &
	sleep 3
	systemctl stop dirpost.socket || exit 1
	wait
	want "a stop says BYE" "BYE" cat idle
	want "the stop is one" "^inactive$" systemctl is-active dirpost.service
	systemctl start dirpost
	want "the facility is mail" '"SYSLOG_FACILITY":"2"' journalctl -t dirpost -o json -n 1
}

case $1 in
embedded)
	(umask 077; echo administrator-1 >admin.pw)
	want "init" "made /etc/systemd/system/dirpost.socket" dirpost init --domain example.org --password-file admin.pw
	start
	people
	mail
	disturb
	printf 'dn: uid=bob,ou=people,%s\nchangetype: modify\nreplace: dpQuotaMessages\ndpQuotaMessages: 2\n' $base >full.ldif
	want "bob's mailbox is full" "modifying" ldapmodify -Q -Y EXTERNAL -H ldapi://%2Frun%2Fdirpost%2Fldapi -f full.ldif
	sleep 1
	want "a message for two is taken for one" "250 2.0.0 accepted" swaks --server localhost --from you@example.net --to both@example.org --h-Subject queued
	want "and waits for the other" "you@example.net" dirpost queue list
	;;
rebooted)
	want "it started with the machine" "^active$" systemctl is-active dirpost.service
	want "the queue is as it was" "you@example.net" dirpost queue list
	sed -i 's/dpQuotaMessages: 2/dpQuotaMessages: 100/' full.ldif
	want "room for bob" "modifying" ldapmodify -Q -Y EXTERNAL -H ldapi://%2Frun%2Fdirpost%2Fldapi -f full.ldif
	want "retry" "is tried now" dirpost queue retry "$(dirpost queue list --json | sed -n 's/.*"id": "\(.*\)".*/\1/p')"
	sleep 1
	want "bob has it" "SEARCH 3" imap bob "SEARCH SUBJECT queued"
	;;
restored)
	(until [ -e enough ]; do swaks --server localhost --from you@example.net --to carol@example.org --silent 3 && echo >>acknowledged; done) &
	sleep 2
	before=$(wc -l <acknowledged)
	want "backup while mail arrives" "messages" dirpost backup /srv/mail.tar
	touch enough && wait
	remove
	want "restore" "restored" dirpost restore /srv/mail.tar
	start
	sleep 1
	have=$(imap carol "SEARCH ALL" | wc -w)
	[ $((have - 2)) -ge "$before" ] && echo "PASS  all $before messages from before the backup" || { echo "FAIL  $((have - 2)) messages, want $before"; exit 1; }
	;;
slapd)
	remove
	rm -rf /etc/ldap/slapd.d/* /var/lib/ldap/*
	secret root
	dirpost directory slapd --base $base --password-file root.pw >slapd.ldif || exit 1
	want "slapadd of the reference configuration" "^$" slapadd -n0 -F /etc/ldap/slapd.d -l slapd.ldif
	chown -R openldap:openldap /etc/ldap/slapd.d
	systemctl -q unmask slapd && systemctl daemon-reload && systemctl start slapd || exit 1
	install -d /etc/dirpost && (umask 077; openssl rand -hex 16 >/etc/dirpost/frontend)
	want "init with slapd" "made /etc/systemd/system/dirpost.socket" dirpost --as cn=root,$base --as-password-file root.pw init --domain example.org \
		--ldap-uri ldapi:/// --bind-password-file /etc/dirpost/frontend --password-file admin.pw
	start
	people --as uid=admin,ou=people,$base --as-password-file admin.pw
	mail
	want "what dirpost reads, without --as" "=> mailbox of alice" dirpost address show alice@example.org
	;;
esac
