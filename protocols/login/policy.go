package login

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
)

// Limits of credentials, in octets.
const (
	maxName     = directory.MaxLocal + 1 + directory.MaxDomain // the longest address
	maxPassword = 1024
)

// check refuses what cannot be a name or a password before anybody is asked. An empty password never reaches LDAP, where
// a bind without one succeeds and proves nothing (RFC 4513 section 5.1.2).
func (c Credentials) check() error {
	if c.AuthzID != "" && !plausible(c.AuthzID) {
		return fmt.Errorf("%w: authorization identity %q is no name", directory.ErrWrong, clip(c.AuthzID))
	}
	switch {
	case c.External:
		return nil
	case !plausible(c.Login):
		return fmt.Errorf("%w: %q is no name", directory.ErrWrong, clip(c.Login))
	case c.Password == "":
		return fmt.Errorf("%w: empty password", directory.ErrWrong)
	case len(c.Password) > maxPassword || strings.ContainsRune(c.Password, 0):
		return fmt.Errorf("%w: not a password: too long or with a NUL", directory.ErrWrong)
	}
	return nil
}

// plausible reports whether s could be a uid or an address. Nothing is trimmed or folded: the directory compares.
func plausible(s string) bool {
	return s != "" && len(s) <= maxName && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// permit says whether an account that is proven may come in here and now.
func permit(acct directory.Account, peer protocols.Peer, service directory.Service) error {
	switch {
	case acct.Status != directory.Active:
		return fmt.Errorf("%w: %s is %s", directory.ErrRefused, acct.Login, acct.Status)
	case !acct.Allows(service):
		return fmt.Errorf("%w: %s may not use %s", directory.ErrRefused, acct.Login, service)
	case !near(acct.Networks, peer):
		return fmt.Errorf("%w: %s may not log in from %s", directory.ErrRefused, acct.Login, peer)
	}
	return nil
}

// near reports whether the peer is in one of networks; no networks are all. A unix socket counts as loopback. A peer who
// came through a forwarder is where that one says, but never on this machine.
func near(networks []netip.Prefix, peer protocols.Peer) bool {
	if len(networks) == 0 {
		return true
	}
	addrs := []netip.Addr{peer.Addr.Addr().Unmap().WithZone("")}
	if peer.Forwarded && addrs[0].IsLoopback() {
		return false
	}
	if peer.Unix {
		addrs = []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	return slices.ContainsFunc(networks, func(network netip.Prefix) bool {
		return slices.ContainsFunc(addrs, network.Contains)
	})
}

// oneself reports whether authzid names the account itself: its uid or one of its own addresses, which many clients
// send without being told to.
func oneself(acct directory.Account, authzid string) bool {
	if authzid == "" || strings.EqualFold(authzid, acct.Login) {
		return true
	}
	addr, err := directory.ParseAddress(authzid)
	if err != nil {
		return false
	}
	own := func(a directory.Address) bool { return a.Key() == addr.Key() }
	return own(acct.Mail) || slices.ContainsFunc(acct.Addresses, own)
}

// clip bounds what a log line repeats of hostile input.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
