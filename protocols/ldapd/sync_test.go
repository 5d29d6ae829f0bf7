package ldapd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

const people = "ou=people," + base

// dial connects to a side and binds as its administrator, or as somebody.
func (s *side) dial(t *testing.T, who string) *ldap.Conn {
	t.Helper()
	if who == "admin" && s.name == "ldapd" {
		path, err := url.PathUnescape(strings.TrimPrefix(s.admin[len(s.admin)-1], "ldapi://"))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c := ldap.NewConn(raw, false)
		c.Start()
		t.Cleanup(func() { c.Close() })
		if err := c.ExternalBind(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c, err := ldap.DialURL(s.uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	switch who {
	case "admin":
		err = c.Bind("cn=root,"+base, "root-password")
	default:
		err = c.Bind(nameOf(who), who+"-password")
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A consumer writes down what a synchronization tells it, in words that are the same for every server.
type consumer struct {
	side    *side
	who     string
	base    string
	filter  string
	cookie  string
	names   map[uuid.UUID]string
	content map[string]bool // names of the entries it has
	stale   map[string]bool // those not named since a refresh began
}

func newConsumer(s *side, who, base, filter string) *consumer {
	return &consumer{side: s, who: who, base: base, filter: filter, names: map[uuid.UUID]string{}, content: map[string]bool{}}
}

// A syncFeed is one synchronization under way.
type syncFeed struct {
	*consumer
	t     *testing.T
	conn  *ldap.Conn
	lines chan string // closed at the end
	err   error       // after that
}

func (c *consumer) begin(t *testing.T, mode ldap.ControlSyncRequestMode) *syncFeed {
	t.Helper()
	conn := c.side.dial(t, c.who)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	c.stale = map[string]bool{}
	for name := range c.content {
		c.stale[name] = true
	}
	req := ldap.NewSearchRequest(c.base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, c.filter, []string{"cn"}, nil)
	var cookie []byte
	if c.cookie != "" {
		cookie = []byte(c.cookie)
	}
	r := conn.Syncrepl(ctx, req, 100, mode, cookie, false)
	f := &syncFeed{consumer: c, t: t, conn: conn, lines: make(chan string, 1000)}
	go func() {
		defer close(f.lines)
		for r.Next() {
			for _, control := range r.Controls() {
				f.take(r.Entry(), control)
			}
		}
		f.err = r.Err()
	}()
	return f
}

// take writes down one message.
func (f *syncFeed) take(e *ldap.Entry, control ldap.Control) {
	switch c := control.(type) {
	case *ldap.ControlSyncState:
		f.keep(c.Cookie)
		was := f.names[c.EntryUUID]
		delete(f.stale, was)
		delete(f.content, was)
		if c.State == ldap.SyncStateDelete {
			f.lines <- "delete " + was // of one that moves away slapd tells the new name, we tell the old: that it is hidden may be the point
			return
		}
		f.names[c.EntryUUID], f.content[e.DN] = e.DN, true
		f.lines <- fmt.Sprintf("%s %s cn=%s", map[ldap.ControlSyncStateState]string{ldap.SyncStateAdd: "add", ldap.SyncStateModify: "modify"}[c.State],
			e.DN, strings.Join(e.GetAttributeValues("cn"), "|"))
	case *ldap.ControlSyncDone:
		f.keep(c.Cookie)
		f.done(c.RefreshDeletes)
	case *ldap.ControlSyncInfo:
		f.info(c)
	}
}

func (f *syncFeed) info(c *ldap.ControlSyncInfo) {
	switch {
	case c.NewCookie != nil:
		f.keep(c.NewCookie.Cookie)
	case c.RefreshDelete != nil:
		f.keep(c.RefreshDelete.Cookie)
		f.done(true)
	case c.RefreshPresent != nil:
		f.keep(c.RefreshPresent.Cookie)
		f.done(false)
	case c.SyncIdSet != nil:
		f.keep(c.SyncIdSet.Cookie)
		for _, id := range c.SyncIdSet.SyncUUIDs {
			name := f.names[id]
			delete(f.stale, name)
			if name != "" && c.SyncIdSet.RefreshDeletes {
				delete(f.content, name)
				f.lines <- "gone " + name
			}
		}
	}
}

func (f *syncFeed) keep(cookie []byte) {
	if len(cookie) > 0 {
		f.cookie = string(cookie)
	}
}

// done ends the refresh: in the mode of slapd's present phase, what was not named is gone.
func (f *syncFeed) done(deletes bool) {
	for name := range f.stale {
		if !deletes {
			delete(f.content, name)
			f.lines <- "gone " + name
		}
	}
	f.lines <- "done"
}

// next waits for so many lines.
func (f *syncFeed) next(n int) (lines []string) {
	f.t.Helper()
	for range n {
		select {
		case line, ok := <-f.lines:
			if !ok {
				f.t.Fatalf("the feed ended after %q: %v", lines, f.err)
			}
			lines = append(lines, line)
		case <-time.After(patience):
			f.t.Fatalf("%s: nothing after %q", f.side.name, lines)
		}
	}
	return lines
}

// rest waits for the end.
func (f *syncFeed) rest() (lines []string) {
	f.t.Helper()
	for {
		select {
		case line, ok := <-f.lines:
			if !ok {
				return lines
			}
			lines = append(lines, line)
		case <-time.After(patience):
			f.t.Fatalf("%s: no end after %q", f.side.name, lines)
		}
	}
}

func person(uid string, more ...string) *ldap.AddRequest {
	r := ldap.NewAddRequest("uid="+uid+","+people, nil)
	r.Attribute("objectClass", append([]string{"inetOrgPerson", "dpMailAccount"}, more...))
	r.Attribute("uid", []string{uid})
	r.Attribute("cn", []string{uid})
	r.Attribute("sn", []string{uid})
	r.Attribute("dpAccountStatus", []string{"active"})
	return r
}

func replace(uid, attribute string, values ...string) *ldap.ModifyRequest {
	r := ldap.NewModifyRequest("uid="+uid+","+people, nil)
	r.Replace(attribute, values)
	return r
}

// The sequence that the walk of TestSyncSameAsSlapd makes on every server.
func syncWalk(t *testing.T, s *side) (seen []string) {
	admin := s.dial(t, "admin")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
	}
	note := func(what string, lines []string) { seen = append(append(seen, "-- "+what), lines...) }
	must(admin.Add(person("dora")))
	c := newConsumer(s, "frontend", people, "(objectClass=dpMailAccount)")
	feed := c.begin(t, ldap.SyncRequestModeRefreshAndPersist)
	note("refresh", feed.next(6))
	must(admin.Add(person("emil")))
	note("an entry comes", feed.next(1))
	must(admin.Modify(replace("emil", "cn", "Emil")))
	note("it changes", feed.next(1))
	must(admin.Modify(replace("emil", "userPassword", "a new password")))
	note("its password changes, which nobody reads", feed.next(1))
	must(admin.ModifyDN(ldap.NewModifyDNRequest("uid=emil,"+people, "uid=emile", true, "")))
	note("it is renamed", feed.next(1))
	must(admin.Modify(replace("emile", "uid", "emile", "second")))
	note("it has another name", feed.next(1))
	drop := ldap.NewModifyRequest("uid=emile,"+people, nil)
	drop.Delete("dpAccountStatus", nil)
	drop.Delete("objectClass", []string{"dpMailAccount"})
	must(admin.Modify(drop))
	note("it stops to match", feed.next(1))
	must(admin.Modify(replace("emile", "cn", "unseen")))
	again := ldap.NewModifyRequest("uid=emile,"+people, nil)
	again.Add("objectClass", []string{"dpMailAccount"})
	again.Add("dpAccountStatus", []string{"active"})
	must(admin.Modify(again))
	note("it matches again", feed.next(1))
	must(admin.ModifyDN(ldap.NewModifyDNRequest("uid=emile,"+people, "uid=emile", false, "ou=services,"+base)))
	note("it leaves the subtree", feed.next(1))
	must(admin.Del(ldap.NewDelRequest("uid=dora,"+people, nil)))
	note("an entry goes", feed.next(1))
	feed.conn.Close()
	feed.rest()

	must(admin.Add(person("fred")))
	must(admin.Modify(replace("fred", "cn", "Fred")))
	must(admin.Del(ldap.NewDelRequest("uid=erin,"+people, nil)))
	feed = c.begin(t, ldap.SyncRequestModeRefreshAndPersist)
	note("what came while it was away", feed.next(3))
	must(admin.Add(person("gerd")))
	note("and what comes then", feed.next(1))
	feed.conn.Close()
	feed.rest()

	note("once, with nothing new", c.begin(t, ldap.SyncRequestModeRefreshOnly).rest())
	must(admin.Modify(replace("gerd", "cn", "Gerd")))
	note("once, with a change", c.begin(t, ldap.SyncRequestModeRefreshOnly).rest())
	note("once, from the start", newConsumer(s, "frontend", people, "(cn=Gerd)").begin(t, ldap.SyncRequestModeRefreshOnly).rest())
	return seen
}

// A consumer cannot tell slapd and this server apart: the same changes arrive in the same order.
func TestSyncSameAsSlapd(t *testing.T) {
	t.Parallel()
	want, got := syncWalk(t, slapdSide(t, t.TempDir())), syncWalk(t, ownSide(t, t.TempDir()))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("slapd (-), ldapd (+):\n%s\nall of ldapd: %q", diff, got)
	}
}

// A consumer whose cookie the server does not know gets everything, and learns what is gone by that.
func TestSyncUnknownCookie(t *testing.T) {
	t.Parallel()
	s := ownSide(t, t.TempDir())
	admin := s.dial(t, "admin")
	for _, cookie := range []string{"rid=000,csn=20200101000000.000000Z#000000#000#000000", "what"} {
		c := newConsumer(s, "frontend", people, "(objectClass=dpMailAccount)")
		c.begin(t, ldap.SyncRequestModeRefreshOnly).rest()
		if err := admin.Add(person("dora")); err != nil {
			t.Fatal(err)
		}
		c.begin(t, ldap.SyncRequestModeRefreshOnly).rest()
		if err := admin.Del(ldap.NewDelRequest("uid=dora,"+people, nil)); err != nil {
			t.Fatal(err)
		}
		c.cookie = cookie
		lines := c.begin(t, ldap.SyncRequestModeRefreshOnly).rest()
		got := strings.Join(lines[len(lines)-2:], ", ")
		if want := "gone uid=dora," + people + ", done"; got != want || c.content["uid=dora,"+people] || c.cookie == cookie {
			t.Errorf("after %q: %q ends with %q and cookie %q, want %q and a new one", cookie, lines, got, c.cookie, want)
		}
	}
}

// Searches that wait for changes end with whatever needs the connection to itself, and with the server.
func TestSyncGivesWay(t *testing.T) {
	t.Parallel()
	r := start(t, Options{MaxConsumers: 1})
	s := &side{name: "ldapd", uri: r.uri(), admin: []string{r.uriI()}}
	c := newConsumer(s, "admin", base, "(cn=nobody)")
	feed := c.begin(t, ldap.SyncRequestModeRefreshAndPersist)
	feed.next(1)
	second := newConsumer(s, "admin", base, "(cn=nobody)").begin(t, ldap.SyncRequestModeRefreshAndPersist)
	if lines := second.rest(); !ldap.IsErrorWithCode(second.err, ldap.LDAPResultBusy) {
		t.Errorf("a second consumer gets %q, %v, want %d", lines, second.err, ldap.LDAPResultBusy)
	}
	if err := feed.conn.ExternalBind(); err != nil {
		t.Errorf("a bind beside the feed: %v", err)
	}
	if feed.rest(); !ldap.IsErrorWithCode(feed.err, ldap.LDAPResultUnavailable) {
		t.Errorf("the feed ends with %v, want %d", feed.err, ldap.LDAPResultUnavailable)
	}
	feed = c.begin(t, ldap.SyncRequestModeRefreshAndPersist)
	feed.next(1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		t.Errorf("shutdown beside a feed: %v", err)
	}
	feed.rest()
}

// Each change is judged by what the consumer may read then, before and after.
func TestSyncAccess(t *testing.T) {
	t.Parallel()
	s := ownSide(t, t.TempDir())
	admin := s.dial(t, "admin")
	if err := admin.Modify(replace("alice", "dpPublicListing", "FALSE")); err != nil { // else everybody sees her
		t.Fatal(err)
	}
	feed := newConsumer(s, "alice", people, "(objectClass=inetOrgPerson)").begin(t, ldap.SyncRequestModeRefreshAndPersist)
	before := feed.next(2)
	if want := []string{"add " + alice + " cn=Alice Adler", "done"}; !cmp.Equal(before, want) {
		t.Errorf("alice gets %q, want %q", before, want)
	}
	for _, change := range []func() error{
		func() error { return admin.Modify(replace("bob", "cn", "Bobby")) },
		func() error { return admin.Add(person("dora")) },
		func() error { return admin.Modify(replace("alice", "cn", "Alicia")) },
		func() error { return admin.Del(ldap.NewDelRequest("uid=dora,"+people, nil)) },
		func() error { return admin.ModifyDN(ldap.NewModifyDNRequest(alice, "uid=alicia", true, "")) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := feed.next(2), []string{"modify " + alice + " cn=Alicia", "delete " + alice}; !cmp.Equal(got, want) {
		t.Errorf("then alice gets %q, want %q", got, want)
	}
}

func TestSyncControlRefused(t *testing.T) {
	t.Parallel()
	c := start(t, Options{}).dialAdmin(t)
	tests := []struct {
		name     string
		controls []ldap.Control
		want     uint16
	}{
		{"mode unknown", []ldap.Control{ldap.NewControlString("1.3.6.1.4.1.4203.1.9.1.1", true, "\x30\x03\x0a\x01\x02")}, ldap.LDAPResultProtocolError},
		{"no value", []ldap.Control{ldap.NewControlString("1.3.6.1.4.1.4203.1.9.1.1", true, "")}, ldap.LDAPResultProtocolError},
		{"with pages", []ldap.Control{ldap.NewControlPaging(10), ldap.NewControlString("1.3.6.1.4.1.4203.1.9.1.1", true, "\x30\x03\x0a\x01\x01")}, ldap.LDAPResultProtocolError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := c.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(cn=*)", nil, tt.controls))
			if !ldap.IsErrorWithCode(err, tt.want) {
				t.Errorf("got %v, want %d", err, tt.want)
			}
		})
	}
	_, err := c.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", nil,
		[]ldap.Control{ldap.NewControlString("1.3.6.1.4.1.4203.1.9.1.1", true, "\x30\x03\x0a\x01\x01")}))
	var refused *ldap.Error
	if !errors.As(err, &refused) || refused.ResultCode != ldap.LDAPResultUnavailableCriticalExtension {
		t.Errorf("the root DSE: %v, want %d", err, ldap.LDAPResultUnavailableCriticalExtension)
	}
}
