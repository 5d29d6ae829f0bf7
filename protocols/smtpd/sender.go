package smtpd

import (
	"strings"

	"github.com/dirpost/dirpost/directory"
)

// parseSender reads a reverse-path as go-smtp gives it, without brackets and quotes; "" is the null one. What is no
// address of ours to be delivered to, only to be shown and answered, need not be as tidy as a recipient: dots may stand
// anywhere and host names may have underscores, as real ones do. What could mean something to careless code (spaces,
// quotes, a second @) is refused.
func parseSender(from string) (directory.Address, error) {
	if from == "" {
		return directory.Address{}, nil
	}
	if !ascii(from) {
		return directory.Address{}, replyASCII
	}
	if addr, err := directory.ParseAddress(from); err == nil {
		return addr, nil
	}
	at := strings.LastIndexByte(from, '@')
	if at <= 0 {
		return directory.Address{}, replyNoSender
	}
	addr := directory.Address{Local: from[:at], Domain: strings.ToLower(from[at+1:])}
	if len(addr.Local) > directory.MaxLocal*2 || len(addr.Domain) > directory.MaxDomain || addr.Domain == "" {
		return directory.Address{}, replyNoSender
	}
	if !only(addr.Local, ".!#$%&'*+-/=?^_`{|}~") || !only(addr.Domain, ".-_") {
		return directory.Address{}, replyNoSender
	}
	return addr, nil
}

// only reports whether s consists of letters, digits and the marks given.
func only(s, marks string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte(marks, c) >= 0:
		default:
			return false
		}
	}
	return true
}

// ascii reports whether s is printable ASCII. Others need SMTPUTF8 (RFC 6531), which is not offered.
func ascii(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
