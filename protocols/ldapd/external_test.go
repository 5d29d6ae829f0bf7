package ldapd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"testing"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols/certs"
	"github.com/go-ldap/ldap/v3"
)

// Who shows a certificate, under StartTLS or TLS from the start, may bind by it as whom it proves, and as nobody else.
func TestExternalByCertificate(t *testing.T) {
	t.Parallel()
	r := start(t, Options{Certificate: func(_ context.Context, chain []*x509.Certificate) (string, error) {
		switch name := chain[0].Subject.CommonName; name {
		case "alice":
			return alice, nil
		case "ghost":
			return "uid=ghost,ou=people," + base, nil
		case "unknown":
			return "", fmt.Errorf("%w: nobody has it", directory.ErrWrong)
		default:
			return "", fmt.Errorf("%w: no authority answers", directory.ErrUnavailable)
		}
	}})
	tests := []struct {
		name, holder string // holder "" = no certificate
		want         uint16
		who          string
	}{
		{"a certificate of alice", "alice", 0, "dn:" + alice},
		{"of an entry that is gone", "ghost", ldap.LDAPResultInvalidCredentials, ""},
		{"of nobody", "unknown", ldap.LDAPResultInvalidCredentials, ""},
		{"that cannot be judged now", "later", ldap.LDAPResultUnavailable, ""},
		{"none", "", ldap.LDAPResultAuthMethodNotSupported, ""},
	}
	for _, tt := range tests {
		config := r.client.Clone()
		if tt.holder != "" {
			pair, err := certs.SelfSigned(certs.Request{Subject: pkix.Name{CommonName: tt.holder}, Client: true})
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = []tls.Certificate{pair.TLS()}
		}
		for _, way := range []string{"StartTLS", "ldaps"} {
			t.Run(tt.name+", "+way, func(t *testing.T) {
				t.Parallel()
				c := r.dialTLS(t, way == "ldaps", config)
				dse, err := c.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{"supportedSASLMechanisms", "supportedExtension"}, nil))
				if err != nil {
					t.Fatal(err)
				}
				if got := len(dse.Entries[0].GetAttributeValues("supportedSASLMechanisms")) == 1; got != (tt.holder != "") {
					t.Errorf("EXTERNAL is offered: %t, with a certificate: %t", got, tt.holder != "")
				}
				if err := c.ExternalBind(); tt.want == 0 && err != nil || tt.want != 0 && !ldap.IsErrorWithCode(err, tt.want) {
					t.Errorf("bind: %v, want %d", err, tt.want)
				}
				if who, err := c.WhoAmI(nil); err != nil || who.AuthzID != tt.who {
					t.Errorf("who am I: %v, %v; want %q", who, err, tt.who)
				}
			})
		}
	}
}

// dialTLS connects under TLS.
func (r *rig) dialTLS(t *testing.T, first bool, config *tls.Config) *ldap.Conn {
	t.Helper()
	url := "ldap://" + r.tcp
	if first {
		url = "ldaps://" + r.tls
	}
	c, err := ldap.DialURL(url, ldap.DialWithTLSConfig(config))
	if err != nil {
		t.Fatal(err)
	}
	c.SetTimeout(patience)
	t.Cleanup(func() { c.Close() })
	if !first {
		if err := c.StartTLS(config); err != nil {
			t.Fatal(err)
		}
	}
	return c
}
