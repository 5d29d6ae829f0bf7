package slapd_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/schema/slapd"
	"github.com/dirpost/dirpost/schema/slapdtest"
)

func complete() slapd.Config {
	return slapd.Config{Suffix: "dc=example,dc=org", RootPassword: "secret", ConfigPassword: "secret", Run: "/run", Data: "/data", Cert: "/cert", Key: "/key", CA: "/ca"}
}

func TestRender(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*slapd.Config)
		want   string // must be in the text; empty = ErrValue
	}{
		{"defaults of Debian", func(c *slapd.Config) {}, "\nolcModulePath: /usr/lib/ldap\n"},
		{"root DN below the suffix", func(c *slapd.Config) {}, "\nolcRootDN: cn=root,dc=example,dc=org\n"},
		{"suffix as slapd compares it", func(c *slapd.Config) { c.Suffix = "DC=Example, DC=org" }, "\nolcSuffix: dc=example,dc=org\n"},
		{"dots of the suffix are no wildcards", func(c *slapd.Config) { c.Suffix = "o=example.org" }, `,o=example\.org$"`},
		{"own schema is in it", func(c *slapd.Config) {}, "\ndn: cn=dirpost,cn=schema,cn=config\n"},
		{"TLS", func(c *slapd.Config) {}, "\nolcTLSCertificateFile: /cert\nolcTLSCertificateKeyFile: /key\nolcTLSCACertificateFile: /ca\nolcTLSVerifyClient: try\n"},
		{"TLS without client certificates", func(c *slapd.Config) { c.CA = "" }, "\nolcTLSCertificateKeyFile: /key\nolcPasswordHash: "},
		{"no TLS", func(c *slapd.Config) { c.Cert, c.Key, c.CA = "", "", "" }, "\nolcArgsFile: /run/slapd.args\nolcPasswordHash: "},
		{"a certificate without its key", func(c *slapd.Config) { c.Key = "" }, ""},
		{"client certificates without TLS", func(c *slapd.Config) { c.Cert, c.Key = "", "" }, ""},
		{"no suffix", func(c *slapd.Config) { c.Suffix = "" }, ""},
		{"suffix that ends the quotes of a rule", func(c *slapd.Config) { c.Suffix = `dc=a" by * write` }, ""},
		{"no password", func(c *slapd.Config) { c.RootPassword = "" }, ""},
		{"password that ends the line", func(c *slapd.Config) { c.RootPassword = "a\nolcAccess: to * by * write" }, ""},
		{"password that LDIF reads as base64", func(c *slapd.Config) { c.ConfigPassword = ":YQ==" }, ""},
		{"folder that LDIF reads as a file name", func(c *slapd.Config) { c.Data = "<file:///etc/passwd" }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := complete()
			tt.change(&c)
			got, err := c.Render()
			if tt.want == "" {
				if !errors.Is(err, slapd.ErrValue) {
					t.Errorf("Render() error = %v, want %v", err, slapd.ErrValue)
				}
				return
			}
			if err != nil || !strings.Contains(got, tt.want) {
				t.Errorf("Render() = %d bytes, %v; want %q in them", len(got), err, tt.want)
			}
		})
	}
}

// The configuration and the tree fit each other for each kind of suffix, and the access rules find the containers.
func TestTree(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"dc=example,dc=org", "o=example.org", "ou=mail,o=example.org"} {
		t.Run(base, func(t *testing.T) {
			t.Parallel()
			s := slapdtest.Start(t, slapdtest.Options{Base: base})
			tree, err := slapd.Tree(base, "Verein für Tests")
			if err != nil {
				t.Fatal(err)
			}
			s.Load(t, slapd.LDIF(tree))
			c, err := ldap.DialURL(s.URI)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			got, err := c.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectClass=*)", nil, nil))
			if err != nil {
				t.Fatal(err)
			}
			// Rule {10}: the suffix and the four containers that hold public entries.
			if len(got.Entries) != 5 {
				t.Errorf("anonymous sees %d entries, want 5", len(got.Entries))
			}
		})
	}
}

func TestTreeRefuses(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][2]string{
		"no organisation":        {"dc=example,dc=org", ""},
		"suffix named by cn":     {"cn=example", "Example"},
		"no suffix":              {"", "Example"},
		"suffix that is no name": {"example", "Example"},
	} {
		if _, err := slapd.Tree(args[0], args[1]); !errors.Is(err, slapd.ErrValue) {
			t.Errorf("%s: Tree(%q, %q) error = %v, want %v", name, args[0], args[1], err, slapd.ErrValue)
		}
	}
}

func TestAuthzRefuses(t *testing.T) {
	t.Parallel()
	if _, err := slapd.Authz("dc=example,dc=org", slapd.Peer{UID: 1, GID: 1, DN: "cn=a\ndn: cn=config"}); !errors.Is(err, slapd.ErrValue) {
		t.Errorf("Authz with a DN of two lines: error = %v, want %v", err, slapd.ErrValue)
	}
}

func TestLDIF(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, value, want string
	}{
		{"plain", "Example", "o: Example\n"},
		{"beyond ASCII", "für", "o:: ZsO8cg==\n"},
		{"line break", "a\nb", "o:: YQpi\n"},
		{"looks like base64", ":a", "o:: OmE=\n"},
		{"blank at the end", "a ", "o:: YSA=\n"},
		{"empty", "", "o: \n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := slapd.LDIF([]slapd.Entry{{DN: "o=x", Attributes: []slapd.Attribute{{Name: "o", Values: []string{tt.value}}}}})
			if want := "dn: o=x\n" + tt.want + "\n"; got != want {
				t.Errorf("LDIF = %q, want %q", got, want)
			}
		})
	}
}
