#!/bin/sh
# The Debian packages that the tests use: `deps.sh check` names the missing ones and the command, `deps.sh install`
# installs them; with `peers` also those of `make peers`. No service of theirs is started: the tests run their own on loopback.
set -eu

packages="slapd slapd-contrib ldap-utils swaks libnet-ssleay-perl curl isync openssl strace gcc libc6-dev python3 e2fsprogs bc postfix-ldap dovecot-core dovecot-ldap"
command="make deps"
if [ "${2:-}" = peers ]; then
	packages="$packages 389-ds-base libnss3-tools"
	command="tools/deps.sh install peers"
fi

missing=""
for p in $packages; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q '^install ok installed$' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

case "${1:-}" in
check)
	echo "the tests need packages that are not installed:$missing" >&2
	echo "install them with: $command" >&2
	exit 1
	;;
install) ;;
*)
	echo "usage: deps.sh check|install [peers]" >&2
	exit 2
	;;
esac

sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo

# While this file says 101, Debian's packages start nothing.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap '$sudo rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
	$sudo chmod 755 $policy
fi
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
