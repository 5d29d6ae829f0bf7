package slapdtest

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/schema/slapd"
)

func TestStart(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{Peer: "cn=root,dc=example,dc=org"})
	tree, err := slapd.Tree(s.Base, "Example Association")
	if err != nil {
		t.Fatal(err)
	}
	s.Load(t, slapd.LDIF(tree))
	pid := s.Pid()
	s.Stop(t)
	if _, err := s.dial(time.Now().Add(time.Second)); err == nil {
		t.Fatal("a stopped server takes connections")
	}
	s.Start(t)
	if s.Pid() == pid {
		t.Errorf("pid %d after the second start, want another", pid)
	}

	dials := map[string]func() (*ldap.Conn, error){
		"ldaps": func() (*ldap.Conn, error) {
			return ldap.DialURL(s.LDAPS, ldap.DialWithTLSConfig(&tls.Config{RootCAs: s.CA}))
		},
		"StartTLS": func() (*ldap.Conn, error) {
			c, err := ldap.DialURL(s.URI)
			if err != nil {
				return nil, err
			}
			return c, c.StartTLS(&tls.Config{RootCAs: s.CA, ServerName: "localhost"})
		},
		"EXTERNAL over ldapi": func() (*ldap.Conn, error) {
			c, err := ldap.DialURL(s.LDAPI)
			if err != nil {
				return nil, err
			}
			return c, c.ExternalBind()
		},
	}
	for name, dial := range dials {
		t.Run(name, func(t *testing.T) {
			c, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if name == "EXTERNAL over ldapi" {
				who, err := c.WhoAmI(nil)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := who.AuthzID, "dn:"+s.RootDN; got != want {
					t.Errorf("who am I = %q, want %q", got, want)
				}
				return
			}
			if err := c.Bind(s.RootDN, s.RootPassword); err != nil {
				t.Fatal(err)
			}
			got, err := c.Search(ldap.NewSearchRequest(s.Base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectClass=*)", []string{"1.1"}, nil))
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Entries) != len(tree) {
				t.Errorf("%d entries after the restart, want %d", len(got.Entries), len(tree))
			}
		})
	}
}
