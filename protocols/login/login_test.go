package login

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/auth"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/protocols"
	"github.com/dirpost/dirpost/protocols/certs"
)

// TestPasswords: what happens to a name and a password.
func TestPasswords(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "Test CA")
	own, other := issue(t, ca, certs.Request{Serial: big.NewInt(1)}), issue(t, ca, certs.Request{Serial: big.NewInt(2)})
	revoked := issue(t, ca, certs.Request{Serial: big.NewInt(3)})
	s := newSite(t, ca, []*x509.Certificate{revoked.Cert}, strings.Join([]string{
		person("alice", "mailLocalAddress: alice@example.org", "mailLocalAddress: press-office@example.org"),
		person("dora@example.org", "mail: d2@example.org", "mailLocalAddress: d2@example.org"), person("dora"),
		person("bob", mapped(other)),
		person("closed", "dpAccountStatus: nologin"),
		person("suspended", "dpAccountStatus: suspended"),
		person("deleted", "dpAccountStatus: deleted"),
		person("reader", "dpMailService: imap"),
		person("home", "dpAllowedNetwork: 127.0.0.0/8"),
		person("office", "dpAllowedNetwork: 192.0.2.0/24"),
		person("bycert", "dpAuthPolicy: certificate"),
		person("bypass", "dpAuthPolicy: password"),
		person("byboth", "dpAuthPolicy: both", mapped(own), "dpCertSPKI: "+lookup.KeysOf(revoked.Cert).SPKI),
	}, ""))
	clear, far := tcpPeer(t, "127.0.0.1:99", false), tcpPeer(t, "198.51.100.1:99", true)
	with := map[string]protocols.Peer{
		"no certificate": s.connect(t, nil), "own": s.connect(t, own), "other": s.connect(t, other), "revoked": s.connect(t, revoked),
	}
	plain := with["no certificate"]
	tests := []struct {
		name    string
		peer    protocols.Peer
		login   string
		authzid string
		pass    string // empty = the right one
		service directory.Service
		want    error
		method  directory.Method
	}{
		{"by uid", plain, "alice", "", "", directory.IMAP, nil, directory.ByPassword},
		{"the case of a uid does not matter", plain, "ALICE", "", "", directory.IMAP, nil, directory.ByPassword},
		{"by address", plain, "alice@example.org", "", "", directory.Submission, nil, directory.ByPassword},
		{"in the clear on loopback", clear, "alice", "", "", directory.IMAP, nil, directory.ByPassword},
		{"by unix socket", unixPeer, "alice", "", "", directory.IMAP, nil, directory.ByPassword},
		{"in the clear elsewhere", tcpPeer(t, "192.0.2.1:9", false), "alice", "", "", directory.IMAP, directory.ErrRefused, ""},
		{"wrong password", plain, "alice", "", "battery staple", directory.IMAP, directory.ErrWrong, ""},
		{"nobody", plain, "nobody", "", "", directory.IMAP, directory.ErrWrong, ""},
		{"a filter is a name like others", plain, "*)(uid=*", "", "", directory.IMAP, directory.ErrWrong, ""},
		{"a star is too", plain, "*", "", "", directory.IMAP, directory.ErrWrong, ""},
		{"a DN is no name", plain, "uid=alice,ou=people," + base, "", "", directory.IMAP, directory.ErrWrong, ""},
		{"the uid of one, the address of another", plain, "dora@example.org", "", "", directory.IMAP, directory.ErrRefused, ""},
		{"nothing is trimmed", plain, "alice\t", "", "", directory.IMAP, directory.ErrWrong, ""},

		{"as oneself by uid", plain, "alice", "alice", "", directory.IMAP, nil, directory.ByPassword},
		{"as oneself by an address", plain, "alice", "press-office@example.org", "", directory.IMAP, nil, directory.ByPassword},
		{"as somebody else", plain, "alice", "bob", "", directory.IMAP, directory.ErrRefused, ""},
		{"as somebody else with a wrong password", plain, "alice", "bob", "battery staple", directory.IMAP, directory.ErrWrong, ""},

		{"nologin", plain, "closed", "", "", directory.IMAP, directory.ErrRefused, ""},
		{"suspended", plain, "suspended", "", "", directory.IMAP, directory.ErrRefused, ""},
		{"suspended with a wrong password", plain, "suspended", "", "battery staple", directory.IMAP, directory.ErrWrong, ""},
		{"deleted", plain, "deleted", "", "", directory.IMAP, directory.ErrRefused, ""},
		{"a service one has", plain, "reader", "", "", directory.IMAP, nil, directory.ByPassword},
		{"a service one has not", plain, "reader", "", "", directory.Submission, directory.ErrRefused, ""},
		{"in the own network", plain, "home", "", "", directory.IMAP, nil, directory.ByPassword},
		{"a unix socket is at home", unixPeer, "home", "", "", directory.IMAP, nil, directory.ByPassword},
		{"outside of it", far, "home", "", "", directory.IMAP, directory.ErrRefused, ""},
		{"outside of the office", plain, "office", "", "", directory.IMAP, directory.ErrRefused, ""},

		{"policy certificate", plain, "bycert", "", "", directory.IMAP, directory.ErrRefused, ""},
		{"policy certificate, wrong password", plain, "bycert", "", "battery staple", directory.IMAP, directory.ErrWrong, ""},
		{"policy password", plain, "bypass", "", "", directory.IMAP, nil, directory.ByPassword},
		{"policy both, both there", with["own"], "byboth", "", "", directory.IMAP, nil, directory.ByBoth},
		{"policy both, wrong password", with["own"], "byboth", "", "battery staple", directory.IMAP, directory.ErrWrong, ""},
		{"policy both, no certificate", plain, "byboth", "", "", directory.IMAP, directory.ErrRefused, ""},
		{"policy both, another's certificate", with["other"], "byboth", "", "", directory.IMAP, directory.ErrRefused, ""},
		{"policy both, revoked certificate", with["revoked"], "byboth", "", "", directory.IMAP, directory.ErrRefused, ""},
		{"policy either does not mind another's certificate", with["other"], "alice", "", "", directory.IMAP, nil, directory.ByPassword},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pass := tt.pass
			if pass == "" {
				pass = password
			}
			s.log.Reset()
			c := Credentials{Service: tt.service, AuthzID: tt.authzid, Login: tt.login, Password: pass}
			id, err := s.door.Authenticate(t.Context(), tt.peer, c)
			answered(t, s, id, err, tt.want, tt.method)
		})
	}
}

// answered holds the outcome of a login against what is wanted: one answer, and one line in the log without the
// password.
func answered(t *testing.T, s *site, id directory.Identity, err, want error, method directory.Method) {
	t.Helper()
	for _, answer := range []error{directory.ErrWrong, directory.ErrRefused, directory.ErrUnavailable} {
		if errors.Is(err, answer) != (answer == want) {
			t.Errorf("Authenticate: %v, want %v alone", err, want)
		}
	}
	if id.Method != method || (err == nil) != (id.Login != "") {
		t.Errorf("identity %q by %q, want method %q", id.Login, id.Method, method)
	}
	text := s.log.String()
	if got := strings.Count(text, "login failed"); (got == 1) != (err != nil) {
		t.Errorf("%d failures in the log, want one for a failure and none for a success:\n%s", got, text)
	}
	if strings.Contains(text, password) || strings.Contains(text, "battery staple") {
		t.Errorf("a password is in the log:\n%s", text)
	}
}

// TestCertificates: EXTERNAL is offered exactly where it succeeds, and no certificate breaks a handshake.
func TestCertificates(t *testing.T) {
	t.Parallel()
	ca, foreign := newAuthority(t, "Test CA"), newAuthority(t, "Foreign CA")
	now := time.Now()
	keys := map[string]*certs.KeyPair{}
	make := func(name string, ca *certs.KeyPair, r certs.Request) *certs.KeyPair {
		r.Serial = big.NewInt(int64(len(keys) + 1))
		keys[name] = issue(t, ca, r)
		return keys[name]
	}
	shared := make("of two accounts", ca, certs.Request{})
	s := newSite(t, ca, []*x509.Certificate{make("revoked", ca, certs.Request{}).Cert}, strings.Join([]string{
		person("alice", mapped(make("valid", ca, certs.Request{}))),
		person("revoked", mapped(keys["revoked"])),
		person("expired", mapped(make("expired", ca, certs.Request{NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}))),
		person("early", mapped(make("not yet valid", ca, certs.Request{NotBefore: now.Add(time.Hour)}))),
		person("foreign", mapped(make("foreign", foreign, certs.Request{}))),
		person("server", mapped(make("for servers", ca, certs.Request{Server: true}))),
		person("mail", "dpCertEmail: mail@example.org"),
		person("two", mapped(shared)),
		person("twins", "dpCertSPKI: "+lookup.KeysOf(shared.Cert).SPKI),
		person("bypass", "dpAuthPolicy: password", mapped(make("policy password", ca, certs.Request{}))),
		person("bycert", "dpAuthPolicy: certificate", mapped(make("policy certificate", ca, certs.Request{}))),
		person("byboth", "dpAuthPolicy: both", mapped(make("policy both", ca, certs.Request{}))),
		person("closed", "dpAccountStatus: nologin", mapped(make("nologin", ca, certs.Request{}))),
		person("sender", "dpMailService: submission", mapped(make("another service", ca, certs.Request{}))),
		person("office", "dpAllowedNetwork: 192.0.2.0/24", mapped(make("another network", ca, certs.Request{}))),
	}, ""))
	make("mapped to nobody", ca, certs.Request{Emails: []string{"alice@example.org"}}) // mail is not dpCertEmail
	make("by e-mail", ca, certs.Request{Emails: []string{"mail@example.org"}})
	keys["none"] = nil
	tests := []struct {
		name string
		want error // nil = EXTERNAL is offered
		uid  string
	}{
		{"valid", nil, "alice"},
		{"by e-mail", nil, "mail"},
		{"policy certificate", nil, "bycert"},
		{"none", directory.ErrWrong, ""},
		{"foreign", directory.ErrWrong, ""},
		{"for servers", directory.ErrWrong, ""},
		{"mapped to nobody", directory.ErrWrong, ""},
		{"expired", directory.ErrRefused, ""},
		{"not yet valid", directory.ErrRefused, ""},
		{"revoked", directory.ErrRefused, ""},
		{"of two accounts", directory.ErrRefused, ""},
		{"policy password", directory.ErrRefused, ""},
		{"policy both", directory.ErrRefused, ""},
		{"nologin", directory.ErrRefused, ""},
		{"another service", directory.ErrRefused, ""},
		{"another network", directory.ErrRefused, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, ok := keys[tt.name]
			if !ok {
				t.Fatal("no such certificate")
			}
			peer := s.connect(t, key)
			offer := s.door.Mechanisms(t.Context(), peer, directory.IMAP)
			want := []string{"PLAIN", "LOGIN"}
			if tt.want == nil {
				want = []string{"EXTERNAL", "PLAIN", "LOGIN"}
			}
			if !slices.Equal(offer, want) {
				t.Errorf("offered %q, want %q", offer, want)
			}
			s.log.Reset()
			id, err := s.door.Authenticate(t.Context(), peer, Credentials{Service: directory.IMAP, External: true})
			method := directory.ByCertificate
			if tt.want != nil {
				method = ""
			}
			answered(t, s, id, err, tt.want, method)
			if id.Login != tt.uid {
				t.Errorf("let in %q, want %q", id.Login, tt.uid)
			}
		})
	}
}

// TestExternalExchange: EXTERNAL by SASL, with and without the name that some clients send along.
func TestExternalExchange(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "Test CA")
	key := issue(t, ca, certs.Request{})
	s := newSite(t, ca, nil, person("alice", mapped(key))+person("bob"))
	peer := s.connect(t, key)
	tests := []struct {
		authzid string
		want    error
	}{
		{"", nil},
		{"alice", nil},
		{"alice@example.org", nil},
		{"bob", directory.ErrRefused},
		{"nobody", directory.ErrRefused},
	}
	for _, tt := range tests {
		var in []directory.Identity
		server, err := s.door.SASL(t.Context(), peer, directory.IMAP, "EXTERNAL", func(id directory.Identity) { in = append(in, id) })
		if err != nil {
			t.Fatal(err)
		}
		_, done, err := server.Next([]byte(tt.authzid))
		if !errors.Is(err, tt.want) || done != (tt.want == nil) {
			t.Errorf("authzid %q: done %v, %v, want %v", tt.authzid, done, err, tt.want)
		}
		if done && (len(in) != 1 || in[0].Login != "alice" || in[0].Method != directory.ByCertificate || in[0].Since.IsZero()) {
			t.Errorf("authzid %q: let in %+v", tt.authzid, in)
		}
		if !done && len(in) != 0 {
			t.Errorf("authzid %q: let in %+v", tt.authzid, in)
		}
	}

	// A handshake that broke off has named a certificate and not shown that its key is there.
	broken := *peer.TLS
	broken.HandshakeComplete = false
	peer.TLS = &broken
	_, err := s.door.Authenticate(t.Context(), peer, Credentials{Service: directory.IMAP, External: true})
	if !errors.Is(err, directory.ErrWrong) {
		t.Errorf("half a handshake: %v, want ErrWrong", err)
	}
}

// TestResumedSession: a TLS session is resumed with the certificate of old, and it is worth what it is worth now.
func TestResumedSession(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "Test CA")
	key := issue(t, ca, certs.Request{})
	s := newSite(t, ca, nil, person("alice", mapped(key)))
	cert := key.TLS()
	client := &tls.Config{
		ServerName: "localhost", InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil },
	}
	c := Credentials{Service: directory.IMAP, External: true}
	if _, err := s.door.Authenticate(t.Context(), s.connectAs(t, client), c); err != nil {
		t.Fatal(err)
	}
	s.slapd.Load(t, "dn: uid=alice,ou=people,"+base+"\nchangetype: modify\ndelete: dpCertSHA256\n\n")
	peer := s.connectAs(t, client)
	if !peer.TLS.DidResume {
		t.Fatal("the session was not resumed")
	}
	if _, err := s.door.Authenticate(t.Context(), peer, c); !errors.Is(err, directory.ErrWrong) {
		t.Errorf("a mapping that is gone: %v, want ErrWrong", err)
	}
	if offer := s.door.Mechanisms(t.Context(), peer, directory.IMAP); slices.Contains(offer, "EXTERNAL") {
		t.Errorf("offered %q", offer)
	}
}

// TestOutage: while the directory is down nobody is wrong, and all is well again without a restart.
func TestOutage(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "Test CA")
	key := issue(t, ca, certs.Request{})
	s := newSite(t, ca, nil, person("alice", mapped(key)))
	peer := s.connect(t, key)
	logins := map[string]Credentials{
		"right": {Service: directory.IMAP, Login: "alice", Password: password},
		"wrong": {Service: directory.IMAP, Login: "alice", Password: "battery staple"},
		"cert":  {Service: directory.IMAP, External: true},
	}
	try := func(want map[string]error) {
		t.Helper()
		for name, c := range logins {
			s.log.Reset()
			id, err := s.door.Authenticate(t.Context(), peer, c)
			var method directory.Method
			if want[name] == nil {
				method = map[bool]directory.Method{false: directory.ByPassword, true: directory.ByCertificate}[c.External]
			}
			answered(t, s, id, err, want[name], method)
		}
	}
	up := map[string]error{"wrong": directory.ErrWrong}
	try(up)
	s.slapd.Stop(t)
	down := directory.ErrUnavailable
	try(map[string]error{"right": down, "wrong": down, "cert": down})
	if offer := s.door.Mechanisms(t.Context(), peer, directory.IMAP); !slices.Equal(offer, []string{"PLAIN", "LOGIN"}) {
		t.Errorf("offered %q while it is down", offer)
	}
	s.slapd.Start(t)
	for wait := time.Now().Add(20 * time.Second); time.Now().Before(wait); {
		if _, err := s.door.Authenticate(t.Context(), peer, logins["right"]); err == nil {
			break
		}
	}
	try(up)
}

// TestSecondOutage: a password that fits, and a certificate that nobody can judge now, is no refusal.
func TestSecondOutage(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "Test CA")
	key := issue(t, ca, certs.Request{})
	s := newSite(t, ca, nil, person("byboth", "dpAuthPolicy: both", mapped(key)))
	s.door.prover = auth.New(s.client, deadDoor(t).accounts, auth.Options{})
	c := Credentials{Service: directory.IMAP, Login: "byboth", Password: password}
	id, err := s.door.Authenticate(t.Context(), s.connect(t, key), c)
	answered(t, s, id, err, directory.ErrUnavailable, "")
}

// TestBeat: the answer to a failure comes on the beat, whether the account exists or not; one to an outage comes at once.
func TestBeat(t *testing.T) {
	t.Parallel()
	const beat = 250 * time.Millisecond
	s := newSite(t, newAuthority(t, "Test CA"), nil, person("alice"))
	s.door.opts.FailureTime = beat
	took := func(login string) time.Duration {
		start := time.Now()
		s.door.Authenticate(t.Context(), unixPeer, Credentials{Service: directory.IMAP, Login: login, Password: "battery staple"})
		return time.Since(start)
	}
	for _, login := range []string{"alice", "nobody", ""} {
		if got := took(login); got < beat {
			t.Errorf("login %q was answered after %v, want %v or a multiple", login, got, beat)
		}
	}
	dead := deadDoor(t)
	dead.opts.FailureTime = time.Hour
	if _, err := dead.Authenticate(t.Context(), unixPeer, Credentials{Login: "alice", Password: "x"}); !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("outage: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), beat)
	defer cancel()
	if _, err := dead.Authenticate(ctx, unixPeer, Credentials{}); !errors.Is(err, directory.ErrWrong) {
		t.Errorf("who leaves does not wait: %v", err)
	}
}
