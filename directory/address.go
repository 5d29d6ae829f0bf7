package directory

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

// Faults of an address; [ParseAddress] wraps one of them.
var (
	ErrNoDomain   = errors.New("address has no domain")
	ErrTooLong    = errors.New("address is too long")
	ErrBadAddress = errors.New("address is not usable")
)

// Limits of RFC 5321 section 4.5.3.1, in octets.
const (
	MaxLocal  = 64
	MaxDomain = 255
)

// An Address is a mailbox address without display name or quotes. Domain is in lower case, in A-labels; Local is as it
// was written, because RFC 5321 section 2.4 leaves its case to the domain that owns it. Our own domains ignore the case:
// compare by [Address.Key].
type Address struct{ Local, Domain string }

// ParseAddress reads local@domain. The local part must be a dot-atom (RFC 5321 section 4.1.2): quoted ones, which no
// account of ours has, are refused, for they carry parameters and relays past careless code. Errors wrap ErrNoDomain,
// ErrTooLong or ErrBadAddress.
func ParseAddress(s string) (Address, error) {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return Address{}, fmt.Errorf("%w: %q", ErrNoDomain, clip(s))
	}
	local, domain := s[:at], s[at+1:]
	if domain == "" {
		return Address{}, fmt.Errorf("%w: %q", ErrNoDomain, clip(s))
	}
	if len(local) > MaxLocal || len(domain) > MaxDomain {
		return Address{}, fmt.Errorf("%w: %q", ErrTooLong, clip(s))
	}
	if !dotAtom(local) {
		return Address{}, fmt.Errorf("%w: the part before the @ of %q is not a dot-atom", ErrBadAddress, clip(s))
	}
	domain, err := ParseDomain(domain)
	if err != nil {
		return Address{}, err
	}
	return Address{local, domain}, nil
}

// ParseDomain returns the lower-case A-label form of a mail domain. Address literals ([192.0.2.1]) are refused.
func ParseDomain(s string) (string, error) {
	domain, err := idna.Lookup.ToASCII(s)
	domain = strings.TrimSuffix(strings.ToLower(domain), ".")
	if err == nil && hostName(domain) {
		// An A-label that another set of rules made may come out as another one, or not at all.
		if again, err := idna.Lookup.ToASCII(domain); err == nil && again == domain {
			return domain, nil
		}
	}
	return "", fmt.Errorf("%w: bad domain %q", ErrBadAddress, clip(s))
}

// hostName reports whether a name in ASCII keeps the limits of RFC 1035 section 2.3.4, which package idna does not look at.
func hostName(domain string) bool {
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return len(domain) <= 253
}

// String returns local@domain, and nothing for the zero Address.
func (a Address) String() string {
	if a.IsZero() {
		return ""
	}
	return a.Local + "@" + a.Domain
}

// IsZero reports whether a is no address: the null reverse-path.
func (a Address) IsZero() bool { return a == Address{} }

// Key is the form that addresses of our own domains are compared and searched in: lower case.
func (a Address) Key() string { return strings.ToLower(a.String()) }

// Base returns the address without its detail ("+tag", RFC 5233), and whether it had one.
func (a Address) Base() (Address, bool) {
	plus := strings.IndexByte(a.Local, '+')
	if plus <= 0 {
		return a, false
	}
	return Address{a.Local[:plus], a.Domain}, true
}

// dotAtom reports whether s is atoms of RFC 5322 section 3.2.3 with single dots between them. Letters above ASCII are
// refused until an attribute can hold them (SMTPUTF8).
func dotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			if !atext(atom[i]) {
				return false
			}
		}
	}
	return true
}

func atext(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// clip bounds what an error text repeats of hostile input.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
