package ldapd

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// benchRig is a server with a thousand recipients, and one of them with a password in the cheapest form that is verified.
func benchRig(b *testing.B) *rig {
	b.Helper()
	r := start(b, Options{})
	local := r.tree.Peer(os.Getuid(), os.Getgid())
	for i := range 1000 {
		uid := fmt.Sprintf("user%d", i)
		e := entry("uid="+uid+",ou=people,"+base, "objectClass", "inetOrgPerson", "objectClass", "inetLocalMailRecipient",
			"objectClass", "dpMailAccount", "uid", uid, "cn", uid, "sn", uid, "mailLocalAddress", uid+"@example.org",
			"mailLocalAddress", uid+".alias@example.org", "dpAccountStatus", "active", "dpMailboxId", "m-"+uid,
			// The password is "bench".
			"userPassword", "{SSHA}7f0bGi3LBjadu4m2I8Lm1S7Yh91zYWx0c2FsdA==")
		if err := r.tree.Add(context.Background(), local, e); err != nil {
			b.Fatal(err)
		}
	}
	return r
}

func (r *rig) benchConn(b *testing.B) *ldap.Conn {
	b.Helper()
	raw, err := net.Dial("unix", r.socket)
	if err != nil {
		b.Fatal(err)
	}
	c := ldap.NewConn(raw, false)
	c.Start()
	b.Cleanup(func() { c.Close() })
	if err := c.ExternalBind(); err != nil {
		b.Fatal(err)
	}
	return c
}

// BenchmarkBind is a login by password: one bind on a connection that stays.
func BenchmarkBind(b *testing.B) {
	c := benchRig(b).benchConn(b)
	for b.Loop() {
		if err := c.Bind("uid=user7,ou=people,"+base, "bench"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSearchByAddress is what RCPT costs: one search for an address, its catch-all and its domain.
func BenchmarkSearchByAddress(b *testing.B) {
	c := benchRig(b).benchConn(b)
	for b.Loop() {
		if err := searchAddress(c, "user7.alias@example.org"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSearchByAddressAtOnce is the same by many sessions over one connection.
func BenchmarkSearchByAddressAtOnce(b *testing.B) {
	c := benchRig(b).benchConn(b)
	b.SetParallelism(8)
	b.RunParallel(func(p *testing.PB) {
		for i := 0; p.Next(); i++ {
			if err := searchAddress(c, fmt.Sprintf("user%d.alias@example.org", i%1000)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func searchAddress(c *ldap.Conn, address string) error {
	filter := "(|(mailLocalAddress=" + address + ")(mailLocalAddress=@example.org)(&(objectClass=dpMailDomain)(associatedDomain=example.org)))"
	found, err := c.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, filter,
		[]string{"mailLocalAddress", "mailHost", "dpMailboxId", "dpAccountStatus"}, nil))
	if err == nil && len(found.Entries) != 1 {
		err = fmt.Errorf("%s: %d entries", address, len(found.Entries))
	}
	return err
}
