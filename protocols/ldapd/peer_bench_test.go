package ldapd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/schema/slapdtest"
	"github.com/go-ldap/ldap/v3"
)

// BenchmarkBesideSlapd puts the same people into slapd and into this server, and asks both the same over TCP, one
// connection after another and eight at once: what a recipient costs, and what a login.
func BenchmarkBesideSlapd(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		for _, s := range []struct {
			name  string
			start func(*testing.B, int) string
		}{{"slapd", peerSlapd}, {"ldapd", peerOwn}} {
			b.Run(fmt.Sprintf("%d/%s", n, s.name), func(b *testing.B) {
				uri := s.start(b, n)
				search := func(c *ldap.Conn) error {
					return searchAddress(c, fmt.Sprintf("u%06d@example.org", rand.IntN(n)))
				}
				bind := func(c *ldap.Conn) error { return c.Bind(fmt.Sprintf("uid=u%06d,%s", rand.IntN(n), people), "bench") }
				for _, conns := range []int{1, 8} {
					b.Run(fmt.Sprintf("search/%d", conns), func(b *testing.B) { hammer(b, uri, conns, search) })
					b.Run(fmt.Sprintf("bind/%d", conns), func(b *testing.B) { hammer(b, uri, conns, bind) })
				}
			})
		}
	}
}

// hammer does b.N operations over so many connections.
func hammer(b *testing.B, uri string, conns int, do func(*ldap.Conn) error) {
	var group sync.WaitGroup
	left := make(chan struct{}, conns)
	for range conns {
		c, err := ldap.DialURL(uri)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		if err := c.Bind(nameOf("frontend"), "frontend-password"); err != nil {
			b.Fatal(err)
		}
		group.Go(func() {
			for range left {
				if err := do(c); err != nil {
					b.Error(err)
				}
			}
		})
	}
	b.ResetTimer()
	for range b.N {
		left <- struct{}{}
	}
	close(left)
	group.Wait()
}

// benchPeople is the tree of the benchmarks as LDIF, for slapd.
func benchPeople(n int) string {
	var b strings.Builder
	for _, e := range benchEntries(n) {
		fmt.Fprintf(&b, "dn: %s\n", e.DN)
		for _, a := range e.Attributes {
			for _, v := range a.Values {
				fmt.Fprintf(&b, "%s: %s\n", a.Name, v)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func benchEntries(n int) []dit.Entry {
	const password = "{SSHA}7f0bGi3LBjadu4m2I8Lm1S7Yh91zYWx0c2FsdA==" // "bench"
	entries := []dit.Entry{
		entry(base, "objectClass", "dcObject", "objectClass", "organization", "dc", "example", "o", "Example"),
		entry(people, "objectClass", "organizationalUnit", "ou", "people"),
		entry("ou=services,"+base, "objectClass", "organizationalUnit", "ou", "services"),
		entry(nameOf("frontend"), "objectClass", "applicationProcess", "objectClass", "simpleSecurityObject", "cn", "frontend",
			"userPassword", "frontend-password"),
	}
	for i := range n {
		u := fmt.Sprintf("u%06d", i)
		entries = append(entries, entry("uid="+u+","+people, "objectClass", "inetOrgPerson", "objectClass", "inetLocalMailRecipient",
			"objectClass", "dpMailAccount", "uid", u, "cn", "User "+u, "sn", u, "mail", u+"@example.org",
			"mailLocalAddress", u+"@example.org", "mailLocalAddress", u+".alias@example.org", "dpAccountStatus", "active",
			"dpMailboxId", "m-"+u, "userPassword", password))
	}
	return entries
}

func peerSlapd(b *testing.B, n int) (uri string) {
	b.Helper()
	file := filepath.Join(b.TempDir(), "people.ldif")
	if err := os.WriteFile(file, []byte(benchPeople(n)), 0o600); err != nil {
		b.Fatal(err)
	}
	s := slapdtest.Start(b, slapdtest.Options{})
	s.Stop(b)
	s.Restore(b, file)
	s.Start(b)
	return s.URI
}

func peerOwn(b *testing.B, n int) (uri string) {
	b.Helper()
	tree, err := dit.Open(filepath.Join(b.TempDir(), "directory.db"), dit.Options{Suffixes: []string{base}, ServiceUIDs: []int{os.Getuid()}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { tree.Close() })
	local := tree.Peer(os.Getuid(), os.Getgid())
	entries := benchEntries(n)
	add := func(e dit.Entry) {
		if err := tree.Add(context.Background(), local, e); err != nil {
			b.Error(err)
		}
	}
	for _, e := range entries[:4] {
		add(e)
	}
	var group sync.WaitGroup
	todo := make(chan dit.Entry)
	for range 64 {
		group.Go(func() {
			for e := range todo {
				add(e)
			}
		})
	}
	for _, e := range entries[4:] {
		todo <- e
	}
	close(todo)
	group.Wait()
	return serve(b, tree, Options{MaxConnsOfPeer: -1}).uri()
}
