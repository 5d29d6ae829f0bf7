package directory_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/directory/provision"
	"github.com/dirpost/dirpost/directory/view"
)

// seedRoutes adds entries of every kind that mail can be for.
func seedRoutes(t *testing.T, s *server, p *provision.Provisioner) {
	t.Helper()
	c := s.connect(t, s.admin)
	for _, login := range []string{"alice", "bob", "carol", "dave", "erin", "frank", "gina", "hugo", "ida", "jack", "kim"} {
		user(t, p, login)
		s.set(t, c, person(login), "dpMailboxId", "m-"+login)
	}
	for login, status := range map[string]directory.Status{"carol": directory.Suspended, "erin": directory.NoLogin} {
		if err := p.SetStatus(t.Context(), login, status); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.DeleteUser(t.Context(), "dave"); err != nil {
		t.Fatal(err)
	}
	if err := p.AddAlias(t.Context(), "alice", address(t, "info@example.org")); err != nil {
		t.Fatal(err)
	}
	s.set(t, c, person("frank"), "dpForward", "frank@example.com", "bob@example.org")
	s.set(t, c, person("gina"), "dpForward", "alice@example.org")
	s.set(t, c, person("gina"), "dpForwardKeep", "FALSE")
	for from, to := range map[string]string{"hugo": "ida", "ida": "hugo"} {
		s.set(t, c, person(from), "dpForward", to+"@example.org")
		s.set(t, c, person(from), "dpForwardKeep", "FALSE")
	}
	s.set(t, c, person("jack"), "mailHost", "node2.example.org")
	s.set(t, c, person("kim"), "mailHost", "NODE1.example.org")
	s.set(t, c, person("kim"), "dpQuotaBytes", "0")
	seedDomains(t, s, c)
	seedGroups(t, s, c)
}

func seedDomains(t *testing.T, s *server, c *client.Client) {
	t.Helper()
	add := func(name string, pairs ...string) {
		t.Helper()
		s.add(t, c, "associatedDomain="+name+","+domains, append([]string{"objectClass", "domain", "objectClass", "domainRelatedObject", "objectClass", "dpMailDomain",
			"dc", strings.Split(name, ".")[0], "associatedDomain", name}, pairs...)...)
	}
	s.set(t, c, "associatedDomain=example.org,"+domains, "dpQuotaBytes", "1000")
	s.set(t, c, "associatedDomain=example.org,"+domains, "dpRequiredLocalPart", "abuse", "carol")
	add("lists.example.org", "dpTransport", "smtp:lists.internal.example:25")
	add("alias.example", "dpAliasDomainOf", "Example.org")
	add("alias2.example", "dpAliasDomainOf", "alias.example")
	add("circle1.example", "dpAliasDomainOf", "circle2.example")
	add("circle2.example", "dpAliasDomainOf", "circle1.example")
	add("suspended.example", "dpAccountStatus", "suspended")
	add("deleted.example", "dpAccountStatus", "deleted")
	add("bare.example")
	add("catch.example")
	s.set(t, c, person("bob"), "mailLocalAddress", "bob@example.org", "@catch.example")
}

func seedGroups(t *testing.T, s *server, c *client.Client) {
	t.Helper()
	received := func(class, mail string, pairs ...string) []string {
		return append([]string{"objectClass", class, "objectClass", "inetLocalMailRecipient", "objectClass", "dpMailRecipient", "mailLocalAddress", mail}, pairs...)
	}
	group := func(cn string, pairs ...string) {
		t.Helper()
		s.add(t, c, "cn="+cn+","+groups, received("groupOfNames", cn+"@example.org", append(pairs, "cn", cn)...)...)
	}
	role := func(cn string, pairs ...string) {
		t.Helper()
		s.add(t, c, "cn="+cn+","+roles, received("organizationalRole", cn+"@example.org", append(pairs, "cn", cn)...)...)
	}
	route := func(cn string, pairs ...string) {
		t.Helper()
		s.add(t, c, "cn="+cn+","+routes, received("applicationProcess", cn+"@example.org", append(pairs, "cn", cn)...)...)
	}
	group("board", "member", person("alice"), "member", person("carol"), "rfc822MailMember", "auditor@example.com", "rfc822MailMember", "Bob@Example.org", "rfc822MailMember", "nobody@example.org")
	group("everyone", "member", person("bob"), "member", "cn=board,"+groups, "member", person("erin"))
	group("all", "member", "cn=everyone,"+groups)
	s.set(t, c, "cn=everyone,"+groups, "member", person("bob"), "cn=board,"+groups, person("erin"), "cn=all,"+groups)
	role("press", "roleOccupant", person("alice"), "roleOccupant", person("bob"), "roleOccupant", person("nobody"))
	role("chair", "roleOccupant", "cn=board,"+groups)
	role("vacant")
	role("resting", "roleOccupant", person("alice"), "dpAccountStatus", "suspended")
	role("remote", "roleOccupant", person("jack"), "roleOccupant", "cn=tracker,"+routes)
	route("tracker", "mailRoutingAddress", "support@issue.example.com", "dpTransport", "smtp:issue.internal.example:25")
	route("hosted", "mailHost", "mail.example.com")
	route("rewritten", "mailRoutingAddress", "alice@example.org")
	route("away", "mailRoutingAddress", "alice@example.com")
	route("refusing", "dpTransport", "error:550 moved")
	route("nothing")
	group("deep0", "member", person("alice"))
	for i := 1; i <= 11; i++ {
		group(fmt.Sprintf("deep%d", i), "member", fmt.Sprintf("cn=deep%d,%s", i-1, groups))
	}
	many := []string{"rfc822MailMember", "u0@example.com", "member", person("alice")}
	for i := 1; i < 60; i++ {
		many = append(many, "rfc822MailMember", fmt.Sprintf("u%d@example.com", i))
	}
	group("many", many...)
}

func TestRoute(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in  string
		mailboxes []string
		remote    []string
		transport string
		err       error
	}{
		{"person", "alice@example.org", []string{"alice"}, nil, "", nil},
		{"in any case", "ALICE@Example.ORG", []string{"alice"}, nil, "", nil},
		{"alias", "info@example.org", []string{"alice"}, nil, "", nil},
		{"detail", "alice+list@example.org", []string{"alice"}, nil, "", nil},
		{"detail of an alias", "info+a+b@example.org", []string{"alice"}, nil, "", nil},
		{"a plus in front is no detail", "+alice@example.org", nil, nil, "", directory.ErrNoSuchAddress},
		{"nobody", "nobody@example.org", nil, nil, "", directory.ErrNoSuchAddress},
		{"filter characters are text", "*@example.org", nil, nil, "", directory.ErrNoSuchAddress},
		{"foreign domain", "alice@example.com", nil, nil, "", directory.ErrNotLocal},
		{"deleted domain", "alice@deleted.example", nil, nil, "", directory.ErrNotLocal},
		{"suspended domain", "alice@suspended.example", nil, nil, "", directory.ErrSuspended},
		{"receives only", "erin@example.org", []string{"erin"}, nil, "", nil},
		{"deleted", "dave@example.org", nil, nil, "", directory.ErrNoSuchAddress},
		{"suspended role", "resting@example.org", nil, nil, "", directory.ErrSuspended},

		{"alias domain", "alice@alias.example", []string{"alice"}, nil, "", nil},
		{"alias of an alias domain", "alice+x@alias2.example", []string{"alice"}, nil, "", nil},
		{"nobody in an alias domain", "nobody@alias.example", nil, nil, "", directory.ErrNoSuchAddress},
		{"alias domains in a circle", "alice@circle1.example", nil, nil, "", directory.ErrTooMany},
		{"catch-all", "anything@catch.example", []string{"bob"}, nil, "", nil},
		{"relayed domain", "anything@lists.example.org", nil, nil, "smtp:lists.internal.example:25", nil},

		{"postmaster falls back", "Postmaster@example.org", []string{"root"}, nil, "", nil},
		{"postmaster of an alias domain", "postmaster@alias.example", []string{"root"}, nil, "", nil},
		{"required local part falls back", "abuse@example.org", []string{"root"}, nil, "", nil},
		{"its detail too", "abuse+x@example.org", []string{"root"}, nil, "", nil},
		{"required and suspended falls back", "carol@example.org", []string{"root"}, nil, "", nil},
		{"postmaster without a fallback: the administrators", "postmaster@bare.example", []string{"root"}, nil, "", nil},
		{"postmaster goes before the catch-all only with a fallback", "postmaster@catch.example", []string{"bob"}, nil, "", nil},

		{"role", "press@example.org", []string{"alice", "bob"}, nil, "", nil},
		{"vacant role", "vacant@example.org", nil, nil, "", directory.ErrNoSuchAddress},
		{"group: suspended and unknown members are left out", "board@example.org", []string{"alice", "bob"}, []string{"auditor@example.com"}, "", nil},
		{"group in a role", "chair@example.org", []string{"alice", "bob"}, []string{"auditor@example.com"}, "", nil},
		{"groups in a circle: each mailbox once", "everyone@example.org", []string{"bob", "erin", "alice"}, []string{"auditor@example.com"}, "", nil},
		{"ten levels", "deep9@example.org", []string{"alice"}, nil, "", nil},
		{"eleven levels", "deep11@example.org", nil, nil, "", directory.ErrTooMany},
		{"more recipients than allowed", "many@example.org", nil, nil, "", directory.ErrTooMany},

		{"forward, with a copy", "frank@example.org", []string{"frank", "bob"}, []string{"frank@example.com"}, "", nil},
		{"forward to ours, without a copy", "gina@example.org", []string{"alice"}, nil, "", nil},
		{"forwards in a circle", "hugo@example.org", nil, nil, "", directory.ErrNoSuchAddress},
		{"rewritten to ours", "rewritten@example.org", []string{"alice"}, nil, "", nil},
		{"rewritten to others", "away@example.org", nil, []string{"alice@example.com"}, "", nil},
		{"transport", "tracker@example.org", nil, []string{"support@issue.example.com"}, "smtp:issue.internal.example:25", nil},
		{"transport that refuses", "refusing@example.org", nil, nil, "", directory.Refusal{Code: 550, Enhanced: "5.2.0", Text: "moved"}},
		{"other host", "hosted@example.org", nil, nil, "smtp:mail.example.com:25", nil},
		{"mailbox on another node", "jack@example.org", nil, nil, "smtp:node2.example.org:25", nil},
		{"mailbox on this node", "kim@example.org", []string{"kim"}, nil, "", nil},
		{"role of those who are elsewhere", "remote@example.org", nil, []string{"jack@example.org", "support@issue.example.com"}, "", nil},
		{"entry that is for nothing", "nothing@example.org", nil, nil, "", directory.ErrNoSuchAddress},
	}
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		seedRoutes(t, s, p)
		c := s.connect(t, s.admin)
		s.set(t, c, person("root"), "dpMailboxId", "m-root")
		// The same answers from the directory, from a view that is told of changes, and from one that asks for them.
		opts := lookup.Options{Base: base, Node: "node1.example.org", MaxRecipients: 40}
		resolvers := map[string]*lookup.Resolver{"live": lookup.New(s.frontend(t), opts)}
		for _, means := range means() {
			c, v, _ := s.fed(t, means, "", nil)
			eventually(t, "the view is current", current(v))
			opts.View = v
			resolvers[means] = lookup.New(c, opts)
		}
		for source, r := range resolvers {
			t.Run(source, func(t *testing.T) {
				for _, tt := range tests {
					t.Run(tt.name, func(t *testing.T) {
						got, err := r.Route(t.Context(), address(t, tt.in), nil)
						if len(got.Steps) == 0 {
							t.Errorf("Route(%s), %v: no step tells why", tt.in, err)
						}
						if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
							t.Fatalf("Route(%s) error = %v, want %v", tt.in, err, tt.err)
						}
						var mailboxes, remote []string
						for _, m := range got.Mailboxes {
							mailboxes = append(mailboxes, m.Login)
							if want := "m-" + m.Login; m.ID != want {
								t.Errorf("mailbox id %q, want %q", m.ID, want)
							}
						}
						for _, a := range got.Remote {
							remote = append(remote, a.String())
						}
						if !slices.Equal(mailboxes, tt.mailboxes) || !slices.Equal(remote, tt.remote) || got.Transport != tt.transport {
							t.Errorf("Route(%s) = %v, %v, %q; want %v, %v, %q\n%v", tt.in, mailboxes, remote, got.Transport, tt.mailboxes, tt.remote, tt.transport, got.Steps)
						}
					})
				}
				for in, want := range map[string]int64{"alice@example.org": 1000, "kim@example.org": 0} {
					if got, err := r.Route(t.Context(), address(t, in), nil); err != nil || got.Mailboxes[0].Quota.Bytes != want {
						t.Errorf("quota of %s = %+v, %v; want %d: the domain's, unless there is an own one", in, got.Mailboxes, err, want)
					}
				}
				for in, want := range map[string]bool{"Example.org": true, "lists.example.org": true, "example.com": false, "deleted.example": false, "": false, "[192.0.2.1]": false} {
					if got, err := r.Local(t.Context(), in); err != nil || got != want {
						t.Errorf("Local(%q) = %v, %v; want %v", in, got, err, want)
					}
				}
			})
		}
	})
}

// A recipient costs one question to the directory, and none with a view of it that is told of changes.
func TestRouteCost(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		user(t, p, "alice")
		var asked atomic.Int64
		c := s.counting(t, &asked)
		r := lookup.New(c, lookup.Options{Base: base})
		for _, in := range []string{"alice@example.org", "alice+detail@example.org", "nobody@example.org", "alice@example.com"} {
			if err := c.Ping(t.Context()); err != nil { // the bind is not counted
				t.Fatal(err)
			}
			before := asked.Load()
			r.Route(t.Context(), address(t, in), nil)
			if got := asked.Load() - before; got != 1 {
				t.Errorf("Route(%s) asked %d times, want 1", in, got)
			}
		}
		_, v, _ := s.fed(t, "", "", nil)
		eventually(t, "the view is current, or there will be none", func() bool { return current(v)() || v.Abandoned() })
		want := map[string]int64{
			view.Poll: 4, // whoever is not in the view may be new
			view.TTL:  4,
		}[os.Getenv("DIRPOST_TEST_FEED")]
		r = lookup.New(c, lookup.Options{Base: base, View: v})
		before := asked.Load()
		for range 2 { // what is learned is kept, but for logins
			for _, in := range []string{"alice@example.org", "nobody@example.org", "alice@example.com"} {
				r.Route(t.Context(), address(t, in), nil)
			}
		}
		if _, err := r.Account(t.Context(), "alice"); err != nil {
			t.Error(err)
		}
		if got := asked.Load() - before; got != want {
			t.Errorf("with a view the directory was asked %d times, want %d", got, want)
		}
	})
}

// counting is a client of the frontend that counts what it asks.
func (s *server) counting(t *testing.T, asked *atomic.Int64) *client.Client {
	t.Helper()
	socket := strings.NewReplacer("ldapi://", "", "%2F", "/").Replace(s.uri)
	return s.connect(t, client.Options{
		BindDN: provision.FrontendDN(base), Password: "frontend-password",
		Dial: func(ctx context.Context) (net.Conn, error) {
			raw, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
			return counted{raw, asked}, err
		},
	})
}

// counted counts what is written: an LDAP request is one write.
type counted struct {
	net.Conn
	writes *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// An outage is never taken for an unknown address, login or sender, nor is a base that is not there.
func TestLookupOutage(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		user(t, p, "alice")
		c := s.frontend(t)
		alice := directory.Account{DN: person("alice")}
		check := func(when string, r *lookup.Resolver, want error) {
			t.Helper()
			_, route := r.Route(t.Context(), address(t, "alice@example.org"), nil)
			_, login := r.Account(t.Context(), "alice")
			_, send := r.MaySend(t.Context(), alice, address(t, "alice@example.org"))
			_, local := r.Local(t.Context(), "example.org")
			_, authorities := r.Authorities(t.Context())
			for what, err := range map[string]error{"Route": route, "Account": login, "MaySend": send, "Local": local, "Authorities": authorities} {
				if !errors.Is(err, want) || want == nil && err != nil {
					t.Errorf("%s %s: error = %v, want %v", what, when, err, want)
				}
			}
		}
		fresh := func() *lookup.Resolver { return lookup.New(c, lookup.Options{Base: base}) }
		check("with another base", lookup.New(c, lookup.Options{Base: "dc=nowhere"}), directory.ErrUnavailable)
		check("before", fresh(), nil)
		s.stop()
		check("during the outage", fresh(), directory.ErrUnavailable)
		s.start()
		check("after", fresh(), nil)
	})
}
