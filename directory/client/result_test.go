package client

import (
	"errors"
	"fmt"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
)

// The results that no server at hand gives on demand.
func TestBindError(t *testing.T) {
	t.Parallel()
	code := func(n uint16) error { return ldap.NewError(n, errors.New("text")) }
	policy := func(n int8) *ldap.SimpleBindResult {
		return &ldap.SimpleBindResult{Controls: []ldap.Control{&ldap.ControlBeheraPasswordPolicy{Expire: -1, Grace: -1, Error: n}}}
	}
	tests := []struct {
		name   string
		result *ldap.SimpleBindResult
		err    error
		want   error
	}{
		{"success", policy(-1), nil, nil},
		{"success without the control", &ldap.SimpleBindResult{}, nil, nil},
		{"success, but expired: 0 is no absence", policy(0), nil, directory.ErrRefused},
		{"success, but must change", policy(2), nil, directory.ErrRefused},
		{"49", policy(-1), code(49), directory.ErrWrong},
		{"49 of a locked account that says so", policy(1), code(49), directory.ErrRefused},
		{"49 of AD, wrong password", nil, ldap.NewError(49, errors.New("80090308: AcceptSecurityContext error, data 52e, v4563")), directory.ErrWrong},
		{"49 of AD, disabled", nil, ldap.NewError(49, errors.New("80090308: AcceptSecurityContext error, data 533, v4563")), directory.ErrRefused},
		{"49 of AD, must change", nil, ldap.NewError(49, errors.New("80090308: AcceptSecurityContext error, data 773, v4563")), directory.ErrRefused},
		{"19", nil, code(19), directory.ErrRefused},
		{"48", nil, code(48), directory.ErrRefused},
		{"50", nil, code(50), directory.ErrRefused},
		{"53", nil, code(53), directory.ErrRefused},
		{"1", nil, code(1), directory.ErrUnavailable},
		{"3", nil, code(3), directory.ErrUnavailable},
		{"8, stronger authentication required: our fault", nil, code(8), directory.ErrUnavailable},
		{"10, a referral", nil, code(10), directory.ErrUnavailable},
		{"32", nil, code(32), directory.ErrUnavailable},
		{"51", nil, code(51), directory.ErrUnavailable},
		{"52", policy(-1), code(52), directory.ErrUnavailable},
		{"80", nil, code(80), directory.ErrUnavailable},
		{"a code nobody knows", nil, code(4711), directory.ErrUnavailable},
		{"network", nil, code(ldap.ErrorNetwork), directory.ErrUnavailable},
		{"end of the connection", nil, errors.New("unable to read LDAP response packet: EOF"), directory.ErrUnavailable},
		{"our own time-out", nil, fmt.Errorf("bind: %w", errTimeout), directory.ErrUnavailable},
	}
	sentinels := []error{directory.ErrWrong, directory.ErrRefused, directory.ErrUnavailable}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := bindError("uid=a", tt.result, tt.err)
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("bindError() = %v, want %v", err, tt.want)
			}
			for _, s := range sentinels {
				if got, want := errors.Is(err, s), s == tt.want; got != want {
					t.Errorf("errors.Is(%v, %v) = %v, want %v", err, s, got, want)
				}
			}
		})
	}
}

// A part is not the answer: neither what ends with a referral nor, where nobody asks for the rest, values in a range.
func TestWhole(t *testing.T) {
	t.Parallel()
	c := &Client{}
	if err := c.whole(nil, &ldap.SearchResult{Referrals: []string{"ldap://127.0.0.1"}}); err == nil {
		t.Error("a referral is taken for an answer")
	}
	if err := c.whole(nil, &ldap.SearchResult{}); err != nil {
		t.Errorf("nothing found: %v", err)
	}
	for attr, ok := range map[string]bool{
		"member": true, "userCertificate;binary": true, "member;range=0-1499": false, "member;Range=1500-*": false,
	} {
		_, err := c.Entry(&ldap.Entry{DN: "cn=g", Attributes: []*ldap.EntryAttribute{{Name: attr}}})
		if (err == nil) != ok {
			t.Errorf("Entry() with %s: %v, want ok = %v", attr, err, ok)
		}
	}
}
