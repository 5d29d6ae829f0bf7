package ldapd

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// What is no LDAP, too long, or out of place ends in a notice of disconnection.
func TestNotices(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	bind := request(1, simpleBind("", ""))
	tests := []struct {
		name string
		in   []byte
		code int
	}{
		{"an HTTP request", []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), ldap.LDAPResultProtocolError},
		{"a TLS hello", []byte("\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"), ldap.LDAPResultProtocolError},
		{"indefinite length", []byte("\x30\x80\x02\x01\x01"), ldap.LDAPResultProtocolError},
		{"element longer than its message", []byte("\x30\x05\x02\x01\x01\x4a\x7f"), ldap.LDAPResultProtocolError},
		{"a response", []byte("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"), ldap.LDAPResultProtocolError},
		{"a good message before it", append(bytes.Clone(bind), 0xff, 0xff), ldap.LDAPResultProtocolError},
		{"message number 0", request(0, simpleBind("", "")), ldap.LDAPResultProtocolError},
		{"2 GiB announced", []byte("\x30\x84\x7f\xff\xff\xff"), ldap.LDAPResultAdminLimitExceeded},
		{"64 KiB before a bind", request(1, deletion(strings.Repeat("x", 64<<10))), ldap.LDAPResultAdminLimitExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := r.wire(t)
			w.send(tt.in)
			if bytes.HasPrefix(tt.in, bind) {
				w.receive()
			}
			w.notice(tt.code)
		})
	}
}

// How long a message may be depends on who sends it, and is told by its first octets.
func TestMessageSizes(t *testing.T) {
	t.Parallel()
	r := start(t, Options{MaxStrangerBytes: 1000, MaxBytes: 2000, MaxAdminBytes: 3000})
	tests := []struct {
		name string
		bind *ber.Packet
		max  int
	}{
		{"stranger", simpleBind("", ""), 1000},
		{"person", simpleBind(alice, "alice-password"), 2000},
		{"administrator who may be anywhere", simpleBind(carol, "carol-password"), 2000},
		{"local administrator", saslBind("EXTERNAL", ""), 3000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := r.wire(t)
			w.send(request(1, tt.bind))
			if got := w.receive(); got.code != 0 {
				t.Fatalf("bind: %+v", got)
			}
			// The headers of a delete take 11 octets here.
			w.send(request(2, deletion("cn="+strings.Repeat("x", tt.max-11-3))))
			if got := w.receive(); got.tag != deleteResponse {
				t.Errorf("at the limit: %+v", got)
			}
			w.send([]byte{0x30, 0x82, byte((tt.max - 3) >> 8), byte(tt.max - 3)})
			w.notice(ldap.LDAPResultAdminLimitExceeded)
		})
	}
}

func TestDeepFilter(t *testing.T) {
	t.Parallel()
	w := start(t, Options{}).wire(t)
	filter := tagged(7, "cn")
	for range 1000 {
		not := ber.Encode(ber.ClassContext, ber.TypeConstructed, 2, nil, "")
		not.AppendChild(filter)
		filter = not
	}
	w.send(request(1, operationOf(3, octets(base), enumerated(2), enumerated(0), integer(0), integer(0), boolean(false), filter, sequence())))
	if got := w.receive(); got.id != 1 || got.tag != searchDone || got.code != ldap.LDAPResultAdminLimitExceeded {
		t.Errorf("got %+v, want code %d", got, ldap.LDAPResultAdminLimitExceeded)
	}
	w.send(request(2, extendedOf(whoAmI)))
	if got := w.receive(); got.id != 2 || got.code != 0 {
		t.Errorf("the session does not go on: %+v", got)
	}
}

// Two operations at work with one number cannot be told apart by the client. The first stands still here, because the
// client does not read.
func TestSameNumberTwice(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	r.grow(t)
	w := r.wire(t)
	w.external()
	w.send(request(5, searchAll(base)), request(5, searchAll(base)))
	w.notice(ldap.LDAPResultProtocolError)
}

func TestStartTLSAmongOthers(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	r.grow(t)
	w := r.wire(t)
	w.external()
	w.send(request(5, searchAll(base)), request(6, extendedOf(startTLS)))
	answers := map[int64]int{}
	for len(answers) < 2 {
		got, _ := w.result()
		answers[got.id] = got.code
	}
	if answers[5] != 0 || answers[6] != ldap.LDAPResultOperationsError {
		t.Errorf("codes %v, want 0 for 5 and %d for 6", answers, ldap.LDAPResultOperationsError)
	}
}

// Ten thousand binds in one go are done one after the other, each before what was sent behind it.
func TestPipelinedBinds(t *testing.T) {
	r := start(t, Options{})
	w := r.wire(t)
	before := runtime.NumGoroutine()
	const n = 10_000
	go func() {
		var all []byte
		for id := range int64(n) {
			op := simpleBind("", "")
			if id%2 == 1 {
				op = saslBind("EXTERNAL", "")
			}
			all = append(append(all, request(2*id+1, op)...), request(2*id+2, extendedOf(whoAmI))...)
		}
		w.Write(all)
	}()
	most := 0
	for id := range int64(n) {
		if got := w.receive(); got.id != 2*id+1 || got.code != 0 {
			t.Fatalf("bind %d: %+v", id, got)
		}
		got := w.receive()
		if who := got.op.Children[3].Data.String(); got.id != 2*id+2 || (who != "") != (id%2 == 1) {
			t.Fatalf("who am I after bind %d: %+v, %q", id, got, who)
		}
		most = max(most, runtime.NumGoroutine())
	}
	if most > before+10 {
		t.Errorf("%d goroutines, %d before", most, before)
	}
}

// Ten thousand searches by a client that does not read: 64 run, the others stay with the client, and when the client
// does read, all are answered.
func TestPipelinedSearches(t *testing.T) {
	r := start(t, Options{})
	w := r.wire(t)
	w.external()
	before := runtime.NumGoroutine()
	const n = 10_000
	go func() {
		var all []byte
		for id := range int64(n) {
			all = append(all, request(id+1, searchAll(base))...)
		}
		w.Write(all)
	}()
	answered := map[int64]bool{}
	most := 0
	for range n {
		got, _ := w.result()
		if got.code != 0 || answered[got.id] {
			t.Fatalf("got %+v, answered before: %v", got, answered[got.id])
		}
		answered[got.id] = true
		most = max(most, runtime.NumGoroutine())
	}
	if most > before+2*64 { // some have answered and are about to end
		t.Errorf("%d goroutines, %d before", most, before)
	}
}

// A client that does not read loses its connection, and with it ends what was at work for it.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	r := start(t, Options{WriteTimeout: 50 * time.Millisecond})
	r.grow(t)
	w := r.wire(t)
	w.external()
	for id := range int64(10) {
		w.send(request(id+1, searchAll(base)))
	}
	r.ended(t)
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	short := 50 * time.Millisecond
	tests := []struct {
		name string
		opts Options
		send []byte
	}{
		{"nothing is sent", Options{IdleTimeout: short}, nil},
		{"nothing more is sent", Options{IdleTimeout: short}, request(1, simpleBind("", ""))},
		{"half a message", Options{MessageTimeout: short}, []byte{0x30, 0x50, 0x02}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, tt.opts).wire(t)
			w.send(tt.send)
			if len(tt.send) > 3 {
				w.receive()
			}
			w.notice(ldap.LDAPResultAdminLimitExceeded)
		})
	}
	t.Run("no handshake after StartTLS", func(t *testing.T) {
		t.Parallel()
		w := start(t, Options{HandshakeTimeout: short}).wire(t)
		w.send(request(1, extendedOf(startTLS)))
		w.receive()
		w.closed()
	})
	t.Run("a message that comes octet by octet", func(t *testing.T) {
		t.Parallel()
		w := start(t, Options{MessageTimeout: short}).wire(t)
		w.send([]byte{0x30, 0x83, 0, 0xf0, 0})
		for range 10_000 { // far beyond the time-out, which ends it
			if _, err := w.Write([]byte{0}); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
		t.Error("the connection stays")
	})
}

// A client that closes its side while it waits for answers is gone: its operations end.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	r.grow(t)
	w := r.wire(t)
	w.external()
	w.send(request(1, searchAll(base)))
	w.receive()
	if err := w.Conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	r.ended(t)
}

func TestConnectionsOfOneAddress(t *testing.T) {
	t.Parallel()
	r := start(t, Options{MaxConnsOfPeer: 2})
	first, second := r.wireTCP(t), r.wireTCP(t)
	for _, w := range []*wire{first, second} {
		w.send(request(1, simpleBind("", "")))
		w.receive()
	}
	r.wireTCP(t).closed()
	first.Close()
	r.ended(t)
	third := r.wireTCP(t)
	third.send(request(1, simpleBind("", "")))
	if got := third.receive(); got.code != 0 {
		t.Errorf("after one has left: %+v", got)
	}
}

// The connections of a local account that is not ours count together, as its programs could take all places.
func TestConnectionsOfOneAccount(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Log("not root: there is no other account to be")
		return
	}
	r := start(t, Options{MaxConnsOfPeer: 1})
	if err := errors.Join(os.Chmod(filepath.Dir(r.socket), 0o755), os.Chmod(r.socket, 0o666)); err != nil {
		t.Fatal(err)
	}
	whoami := func(uid uint32) *exec.Cmd {
		run := exec.Command("ldapwhoami", "-Q", "-Y", "EXTERNAL", "-H", r.uriI())
		run.SysProcAttr, run.Dir = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}, "/"
		return run
	}
	held := exec.Command("/usr/bin/python3", "-c", "import socket,sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print('in', flush=True); s.recv(1)", r.socket)
	held.SysProcAttr, held.Dir = whoami(70001).SysProcAttr, "/"
	said, err := held.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Start(); err != nil {
		t.Fatal(err)
	}
	defer held.Wait()
	defer held.Process.Kill()
	if _, err := io.ReadFull(said, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[uint32]bool{70001: false, 70002: true, 0: true} {
		if out, err := whoami(uid).CombinedOutput(); (err == nil) != want {
			t.Errorf("%d is let in: %t, %s; want %t", uid, err == nil, out, want)
		}
	}
}

// Wrong passwords are answered later and later, right ones at once.
func TestFailedBindsWait(t *testing.T) {
	t.Parallel()
	r := start(t, Options{Unbraked: []netip.Prefix{}})
	w := r.wireTCP(t)
	took := func(password string, want int) time.Duration {
		began := time.Now()
		w.send(request(1, simpleBind(alice, password)))
		if got := w.receive(); got.code != want {
			t.Fatalf("bind with %q: %+v, want %d", password, got, want)
		}
		return time.Since(began)
	}
	for range brakeFree {
		took("wrong", ldap.LDAPResultInvalidCredentials)
	}
	if got := took("wrong", ldap.LDAPResultInvalidCredentials); got < brakeFirst {
		t.Errorf("the fourth was answered after %v, want %v at least", got, brakeFirst)
	}
	if got := took("wrong", ldap.LDAPResultInvalidCredentials); got < 2*brakeFirst {
		t.Errorf("the fifth was answered after %v, want %v at least", got, 2*brakeFirst)
	}
	took("alice-password", 0)
	if r.brake.failed(netip.MustParseAddr("127.0.0.1")) != 4*brakeFirst {
		t.Error("the good bind was counted")
	}
}

func TestBindsOfUnbrakedAddresses(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	for _, w := range []*wire{r.wireTCP(t), r.wire(t)} {
		w.send(request(1, simpleBind(alice, "wrong")))
		if got := w.receive(); got.code != ldap.LDAPResultInvalidCredentials {
			t.Errorf("got %+v", got)
		}
	}
	if n := len(r.brake.failures); n != 0 {
		t.Errorf("%d addresses are counted, want none", n)
	}
}

// The reader takes hostile messages of all sizes without the memory they announce.
func TestAnnouncedMemory(t *testing.T) {
	r := start(t, Options{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 50 {
		w := r.wire(t)
		w.external()
		w.send([]byte{0x30, 0x83, 0xf0, 0, 0}) // 15 MiB, within an administrator's limit
		w.Close()
	}
	for range 50 {
		r.ended(t)
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 50 {
		t.Errorf("%d MiB were taken for messages that did not come", got)
	}
}

// A name and a text from a hostile client come back to nobody else, and never break an answer.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	w := r.wire(t)
	w.external()
	for i, dn := range []string{"\x00", "\xff\xfe", "cn=\\", "cn=a,,", strings.Repeat("cn=x,", 5000) + base} {
		w.send(request(int64(i+1), deletion(dn)))
		if got := w.receive(); got.tag != deleteResponse || (got.code != ldap.LDAPResultInvalidDNSyntax && got.code != ldap.LDAPResultNoSuchObject) {
			t.Errorf("%.20q: %+v", dn, got)
		}
	}
}
