package smtpd

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"path/filepath"
	"testing"

	"github.com/dirpost/dirpost/protocols/certs"
)

// TestReload: certificates are chosen by the name a client asks for, and new ones replace them under sessions that do not
// notice: one in the middle of a message, one in the middle of a chunk, one that only then begins with TLS.
func TestReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	pair := func(serial, name string) certs.Pair {
		key, err := w.ca.Issue(certs.Request{Subject: pkix.Name{CommonName: serial}, Server: true, DNS: []string{name}})
		w.must(err)
		p := certs.Pair{Cert: filepath.Join(dir, serial+".pem"), Key: filepath.Join(dir, serial+".key")}
		w.must(key.Write(p.Cert, p.Key))
		return p
	}
	store, err := certs.Open([]certs.Pair{pair("first", "localhost"), pair("second", "mx.example.org")})
	w.must(err)
	w.tls = store.Server(nil)
	_, mx := w.serve("mx", Options{})
	_, submissions := w.serve("submissions", Options{})
	secured := func(addr, name string) *talker {
		config := w.dial.Clone()
		config.ServerName = name
		if addr == submissions {
			k := talkTo(t, addr).secure(config)
			k.want("220")
			return k
		}
		k := dial(t, addr)
		k.do("EHLO client.test", "250")
		k.do("STARTTLS", "220")
		return k.secure(config)
	}
	shown := func(addr, name, want string) {
		t.Helper()
		if got := secured(addr, name).certificate(); got != want {
			t.Errorf("who asks for %s gets the certificate %s, want %s", name, got, want)
		}
	}
	for _, addr := range []string{mx, submissions} {
		shown(addr, "localhost", "first")
		shown(addr, "mx.example.org", "second")
	}

	message, chunk, clear := secured(mx, "localhost"), secured(mx, "mx.example.org"), dial(t, mx)
	message.do("EHLO client.test", "250")
	message.mail("ann@example.net", "bob@example.org")
	message.raw("Subject: x\r\n\r\nbefore\r\n")
	chunk.do("EHLO client.test", "250")
	chunk.do("MAIL FROM:<ann@example.net>", "250")
	chunk.do("RCPT TO:<bob@example.org>", "250")
	chunk.raw("BDAT 21 LAST\r\nSubject: x\r\n")
	clear.do("EHLO client.test", "250")

	w.must(store.Reload([]certs.Pair{pair("third", "localhost"), pair("fourth", "mx.example.org")}))

	message.do("after\r\n.", "250")
	message.do("NOOP", "250")
	chunk.raw("\r\nafter\r\n")
	chunk.want("250")
	clear.do("STARTTLS", "220")
	clear = clear.secure(w.dial)
	if got := clear.certificate(); got != "third" {
		t.Errorf("who begins with TLS after the reload gets %s", got)
	}
	for _, addr := range []string{mx, submissions} {
		shown(addr, "localhost", "third")
		shown(addr, "mx.example.org", "fourth")
	}
	if got := len(w.inbox("bob")); got != 2 {
		t.Errorf("got %d messages, want 2", got)
	}
}

// certificate is the name of the certificate that the server has shown.
func (k *talker) certificate() string {
	return k.conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
}
