package ldapd

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory/dit"
	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// A control belongs to some operations; on others, and when it is unknown, it is 12 if it is critical and nothing if not.
func TestControls(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	ava := sequence(octets("sn"), octets("Brandt"))
	operations := []struct {
		name string
		op   *ber.Packet
		tag  int
		code int // without a control
		page bool
		dsa  bool
	}{
		{"bind", saslBind("EXTERNAL", ""), bindResponse, 0, false, false},
		{"search", searchAll("ou=services," + base), searchDone, 0, true, true},
		{"modify", operationOf(6, octets("cn=none,"+base), sequence()), modifyResponse, ldap.LDAPResultNoSuchObject, false, true},
		{"add", operationOf(8, octets("ou=people,"+base), sequence()), addResponse, -1, false, true},
		{"delete", deletion("cn=none," + base), deleteResponse, ldap.LDAPResultNoSuchObject, false, true},
		{"rename", operationOf(12, octets("cn=none,"+base), octets("cn=x"), boolean(true)), modifyDNResponse, ldap.LDAPResultNoSuchObject, false, true},
		{"compare", operationOf(14, octets("uid=bob,ou=people,"+base), ava), compareResponse, ldap.LDAPResultCompareTrue, false, true},
		{"extended", extendedOf(whoAmI), extendedResponse, 0, false, false},
	}
	value := sequence(integer(10), octets("")).Bytes()
	for _, o := range operations {
		t.Run(o.name, func(t *testing.T) {
			w := r.wire(t)
			w.external()
			try := func(name string, refused bool, controls ...*ber.Packet) {
				t.Helper()
				w.send(request(5, o.op, controls...))
				got, _ := w.result()
				if got.id != 5 || got.tag != o.tag {
					t.Errorf("%s: answered by %+v, want tag %d", name, got, o.tag)
				}
				if (got.code == ldap.LDAPResultUnavailableCriticalExtension) != refused {
					t.Errorf("%s: code %d, want refused %v", name, got.code, refused)
				}
				if !refused && o.code >= 0 && got.code != o.code {
					t.Errorf("%s: code %d, want %d", name, got.code, o.code)
				}
			}
			try("none", false)
			try("unknown", false, control("1.2.3.4", false, nil))
			try("unknown, critical", true, control("1.2.3.4", true, nil))
			try("unknown, critical, behind a known one", true, control(passwordPolicy, true, nil), control("1.2.3.4", true, nil))
			try("password policy, critical", false, control(passwordPolicy, true, nil))
			try("paged results", false, control(pagedResults, false, value))
			try("paged results, critical", !o.page, control(pagedResults, true, value))
			try("ManageDsaIT, critical", !o.dsa, control(manageDsaIT, true, nil))
			try("subentries, critical", !o.page, control(subentries, true, boolean(false).Bytes()))
		})
	}
}

func TestControlValues(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	tests := []struct {
		name     string
		controls []*ber.Packet
		code     int
		entries  bool
	}{
		{"subentries only: there are none", []*ber.Packet{control(subentries, true, boolean(true).Bytes())}, 0, false},
		{"no subentries", []*ber.Packet{control(subentries, true, boolean(false).Bytes())}, 0, true},
		{"subentries without a value", []*ber.Packet{control(subentries, true, nil)}, ldap.LDAPResultProtocolError, false},
		{"page that is no sequence", []*ber.Packet{control(pagedResults, false, []byte("x"))}, ldap.LDAPResultProtocolError, false},
		{"page of negative size", []*ber.Packet{paged(-1, "")}, ldap.LDAPResultProtocolError, false},
		{"two pages", []*ber.Packet{paged(10, ""), paged(10, "")}, ldap.LDAPResultProtocolError, false},
		{"17 controls", slicesOf(17, control("1.2.3", false, nil)), ldap.LDAPResultAdminLimitExceeded, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := r.wire(t)
			w.external()
			w.send(request(1, searchAll(base), tt.controls...))
			got, entries := w.result()
			if got.tag != searchDone || got.code != tt.code || (entries > 0) != tt.entries {
				t.Errorf("got %+v and %d entries, want code %d, entries %v", got, entries, tt.code, tt.entries)
			}
		})
	}
}

func slicesOf(n int, p *ber.Packet) []*ber.Packet {
	all := make([]*ber.Packet, n)
	for i := range all {
		all[i] = p
	}
	return all
}

func TestBindAnswers(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	own := "gidNumber=" + strconv.Itoa(os.Getgid()) + "+uidNumber=" + strconv.Itoa(os.Getuid()) + ",cn=peercred,cn=external,cn=auth"
	tests := []struct {
		name string
		tcp  bool
		op   *ber.Packet
		code int
		who  string // afterwards
	}{
		{"anonymous", true, simpleBind("", ""), 0, ""},
		{"person", true, simpleBind(alice, "alice-password"), 0, "dn:" + alice},
		{"wrong password", true, simpleBind(alice, "bob-password"), ldap.LDAPResultInvalidCredentials, ""},
		{"nobody", true, simpleBind("uid=nobody,ou=people,"+base, "x"), ldap.LDAPResultInvalidCredentials, ""},
		{"name without a password, RFC 4513 5.1.2", true, simpleBind(alice, ""), ldap.LDAPResultUnwillingToPerform, ""},
		{"version 2", true, operationOf(0, integer(2), octets(""), tagged(0, "")), ldap.LDAPResultProtocolError, ""},
		{"Kerberos 4", true, operationOf(0, integer(3), octets(""), tagged(1, "")), ldap.LDAPResultAuthMethodNotSupported, ""},
		{"unknown mechanism", false, saslBind("PLAIN", "\x00alice\x00alice-password"), ldap.LDAPResultAuthMethodNotSupported, ""},
		{"external by TCP", true, saslBind("EXTERNAL", ""), ldap.LDAPResultAuthMethodNotSupported, ""},
		{"external", false, saslBind("EXTERNAL", ""), 0, "dn:" + own},
		{"external in lower case", false, saslBind("external", ""), 0, "dn:" + own},
		{"external as oneself", false, saslBind("EXTERNAL", "dn:"+own), 0, "dn:" + own},
		{"external as whom the administrator may act", false, saslBind("EXTERNAL", "dn:"+alice), 0, "dn:" + alice},
		{"external as a login name", false, saslBind("EXTERNAL", "u:alice"), ldap.LDAPResultInsufficientAccessRights, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := r.wire(t)
			if tt.tcp {
				w = r.wireTCP(t)
			}
			// Who was somebody before is nobody after a bind that fails.
			w.send(request(1, simpleBind(carol, "carol-password")), request(2, tt.op), request(3, extendedOf(whoAmI)))
			if got := w.receive(); got.code != 0 {
				t.Fatalf("carol's bind: %+v", got)
			}
			if got := w.receive(); got.id != 2 || got.tag != bindResponse || got.code != tt.code {
				t.Errorf("bind: %+v, want code %d", got, tt.code)
			}
			got := w.receive()
			if value := got.op.Children[3].Data.String(); got.code != 0 || value != tt.who {
				t.Errorf("who am I: %q, want %q", value, tt.who)
			}
		})
	}
}

func TestExtendedAnswers(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	tests := []struct {
		name string
		op   *ber.Packet
		code int
	}{
		{"unknown", extendedOf("1.2.3.4"), ldap.LDAPResultProtocolError},
		{"who am I with a value", extendedWith(whoAmI, "x"), ldap.LDAPResultProtocolError},
		{"password modify with garbage", extendedWith(passwordModify, "x"), ldap.LDAPResultProtocolError},
		{"password modify for nobody", extendedWith(passwordModify, string(sequence(tagged(0, "uid=none,ou=people,"+base), tagged(2, "new-password")).Bytes())),
			ldap.LDAPResultNoSuchObject},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := r.wire(t)
			w.external()
			w.send(request(1, tt.op))
			if got := w.receive(); got.tag != extendedResponse || got.code != tt.code {
				t.Errorf("got %+v, want code %d", got, tt.code)
			}
		})
	}
}

func TestMoveToTheRoot(t *testing.T) {
	t.Parallel()
	w := start(t, Options{}).wire(t)
	w.external()
	w.send(request(1, operationOf(12, octets(alice), octets("uid=alice"), boolean(true), tagged(0, ""))))
	if got := w.receive(); got.tag != modifyDNResponse || got.code != ldap.LDAPResultUnwillingToPerform {
		t.Errorf("got %+v, want %d", got, ldap.LDAPResultUnwillingToPerform)
	}
}

// Passwords are taken where nobody can listen: under TLS, by unix socket, from this machine.
func TestPasswordsInTheClear(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	ours, theirs := socketPair(t)
	served := make(chan struct{})
	go func() {
		r.ServeConn(far{theirs})
		close(served)
	}()
	w := newWire(t, ours)
	w.send(request(1, simpleBind(alice, "alice-password")), request(2, simpleBind("", "")))
	if got := w.receive(); got.code != ldap.LDAPResultConfidentialityRequired {
		t.Errorf("bind in the clear: %+v, want %d", got, ldap.LDAPResultConfidentialityRequired)
	}
	if got := w.receive(); got.code != 0 {
		t.Errorf("anonymous bind in the clear: %+v, want success", got)
	}
	w.send(request(3, extendedOf(startTLS)))
	if got := w.receive(); got.code != 0 {
		t.Fatalf("StartTLS: %+v", got)
	}
	secure := newWire(t, tls.Client(ours, r.client))
	secure.send(request(4, simpleBind(alice, "alice-password")))
	if got := secure.receive(); got.code != 0 {
		t.Errorf("bind under TLS: %+v, want success", got)
	}
	secure.send(request(5, ber.Encode(ber.ClassApplication, ber.TypePrimitive, 2, nil, "")))
	<-served
}

// far is a connection from another machine.
type far struct{ net.Conn }

func (far) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }
func (far) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 389} }

func TestStartTLSAnswers(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	t.Run("octets behind the request end the connection", func(t *testing.T) {
		w := r.wireTCP(t)
		w.send(request(1, extendedOf(startTLS)), request(2, simpleBind("", "")))
		w.closed()
	})
	t.Run("twice", func(t *testing.T) {
		w := r.wireTCP(t)
		w.send(request(1, extendedOf(startTLS)))
		if got := w.receive(); got.code != 0 || got.oid != startTLS {
			t.Fatalf("got %+v", got)
		}
		secure := newWire(t, tls.Client(w.Conn, r.client))
		secure.send(request(2, extendedOf(startTLS)))
		if got := secure.receive(); got.code != ldap.LDAPResultOperationsError {
			t.Errorf("got %+v, want %d", got, ldap.LDAPResultOperationsError)
		}
	})
	t.Run("no TLS after it", func(t *testing.T) {
		w := r.wireTCP(t)
		w.send(request(1, extendedOf(startTLS)))
		if got := w.receive(); got.code != 0 {
			t.Fatalf("got %+v", got)
		}
		w.send(request(2, simpleBind("", "")))
		for {
			if _, err := w.in.ReadByte(); err != nil { // an alert, then the end
				if isTimeout(err) {
					t.Error("the connection stays")
				}
				return
			}
		}
	})
	t.Run("without a certificate", func(t *testing.T) {
		ours, theirs := socketPair(t)
		go New(r.tree, Options{}).ServeConn(theirs)
		w := newWire(t, ours)
		w.send(request(1, extendedOf(startTLS)))
		if got := w.receive(); got.code != ldap.LDAPResultProtocolError {
			t.Errorf("got %+v, want %d", got, ldap.LDAPResultProtocolError)
		}
	})
}

// An operation that panics is a bug. Here it is a server without a directory.
func TestPanic(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	s := New(nil, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	for _, op := range []*ber.Packet{deletion("cn=x"), simpleBind("cn=x", "secret")} {
		ours, theirs := socketPair(t)
		done := make(chan struct{})
		go func() {
			s.ServeConn(theirs)
			close(done)
		}()
		w := newWire(t, ours)
		w.send(request(1, op))
		if got := w.receive(); got.id != 1 || got.code != ldap.LDAPResultOther {
			t.Errorf("got %+v, want %d", got, ldap.LDAPResultOther)
		}
		w.closed()
		<-done
	}
	if got := strings.Count(log.String(), "operation panicked"); got != 2 {
		t.Errorf("%d panics in the log, want 2", got)
	}
}

// A lockedBuffer takes the log of many goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestLogHasNoPasswords(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	r := start(t, Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	c := r.dialAs(t, alice)
	if _, err := c.PasswordModify(ldap.NewPasswordModifyRequest("", "alice-password", "alice-new-password")); err != nil {
		t.Fatal(err)
	}
	change := ldap.NewModifyRequest(alice, nil)
	change.Replace("userPassword", []string{"alice-third-password"})
	if err := c.Modify(change); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compare(alice, "userPassword", "alice-third-password"); err == nil {
		t.Error("compare of a password is not refused")
	}
	if err := c.Bind(alice, "alice-password"); code(err) != ldap.LDAPResultInvalidCredentials {
		t.Errorf("bind with the old password: %v", err)
	}
	c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ldap session", "ldap operation", "operations=5"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log has no %q:\n%s", want, log.String())
		}
	}
	for _, secret := range []string{"alice-password", "alice-new-password", "alice-third-password"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("log has the password %s:\n%s", secret, log.String())
		}
	}
}

func TestSessionLogNamesTheSubject(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	r.dialAs(t, alice).Close()
	if got := r.ended(t); got != alice {
		t.Errorf("session of %q, want %q", got, alice)
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	w := r.wire(t)
	w.external()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	w.notice(ldap.LDAPResultUnavailable)
	if _, err := net.Dial("unix", r.socket); err == nil {
		t.Error("a connection is taken after shutdown")
	}
}

// What is at work when a shutdown begins is still answered. The search stands still until the client reads.
func TestShutdownLetsOperationsEnd(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	r.grow(t)
	w := r.wire(t)
	w.external()
	w.send(request(1, searchAll(base)))
	w.receive()
	down := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		down <- r.Shutdown(ctx)
	}()
	for { // the socket is closed once the shutdown has begun
		c, err := net.Dial("unix", r.socket)
		if err != nil {
			break
		}
		c.Close()
	}
	if got, entries := w.result(); got.id != 1 || got.code != 0 || entries != 23 {
		t.Errorf("after %d entries %+v, want 23 and the result", entries, got)
	}
	w.notice(ldap.LDAPResultUnavailable)
	if err := <-down; err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// A client that does not take its answers cannot hold a shutdown for longer than it may take.
func TestShutdownCuts(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	r.grow(t)
	w := r.wire(t)
	w.external()
	w.send(request(1, searchAll(base)))
	w.receive()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := r.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("shutdown: %v, want %v", err, context.DeadlineExceeded)
	}
	r.ended(t)
}

// An operation that waits without writing is cut as well. Here it is the answer to a wrong password.
func TestShutdownCutsWhoWaits(t *testing.T) {
	t.Parallel()
	r := start(t, Options{Unbraked: []netip.Prefix{}})
	guesser := netip.MustParseAddr("127.0.0.1")
	for range 50 {
		r.brake.failed(guesser)
	}
	w := r.wireTCP(t)
	w.send(request(1, simpleBind(alice, "wrong")))
	for counted := 50; counted == 50; { // until the bind has failed and its answer waits
		r.brake.mu.Lock()
		counted = r.brake.failures[netip.PrefixFrom(guesser, 32)].count
		r.brake.mu.Unlock()
		runtime.Gosched()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	began := time.Now()
	if err := r.Shutdown(ctx); err != context.Canceled {
		t.Errorf("shutdown: %v, want %v", err, context.Canceled)
	}
	r.ended(t)
	if took := time.Since(began); took > brakeLongest/2 {
		t.Errorf("the session ended after %v, want at once", took)
	}
}

// grow adds entries of 8 MiB together, more than the sockets between a server and its client hold.
func (r *rig) grow(t testing.TB) {
	t.Helper()
	local := r.tree.Peer(os.Getuid(), os.Getgid())
	for i := range 16 {
		name := "big" + strconv.Itoa(i)
		e := entry("uid="+name+",ou=people,"+base, "objectClass", "inetOrgPerson", "uid", name, "cn", name, "sn", name)
		e.Attributes = append(e.Attributes, dit.Attribute{Name: "jpegPhoto", Values: [][]byte{bytes.Repeat([]byte{0xff}, 512<<10)}})
		if err := r.tree.Add(context.Background(), local, e); err != nil {
			t.Fatal(err)
		}
	}
}
