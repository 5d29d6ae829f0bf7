// Package slapd holds the reference configuration of OpenLDAP's slapd for dirpost: cn=config with modules, indexes,
// limits, access rules and overlays, the identities of local programs, and the base tree that entries are added to.
//
// An administrator renders it once ([Config.Render], as `dirpost directory slapd` prints it), loads it by slapadd, starts slapd, and then applies [Authz] by
// ldapmodify: set in the bootstrap, those values crash slapadd 2.5. The access rules say who may read and write what;
// each has its reason beside it in config.ldif.tmpl.
//
// Start reading at [Config].
package slapd

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"github.com/dirpost/dirpost/schema"
)

// ErrValue is wrapped when a value cannot stand in the configuration.
var ErrValue = errors.New("unusable value")

//go:embed config.ldif.tmpl
var configText string

var configTemplate = template.Must(template.New("config").Parse(configText))

// Config is what differs between installations. Suffix, the passwords and the folders are required. Folders are absolute
// paths.
type Config struct {
	Suffix         string // the naming context, such as dc=example,dc=org
	RootDN         string // may do everything below Suffix; empty = cn=root,Suffix
	RootPassword   string // of RootDN; a hash such as {SSHA}... is better than clear text
	ConfigPassword string // of cn=config
	Run            string // folder of the pid file
	Data           string // folder of the database
	Modules        string // folder of slapd's modules; empty = that of Debian
	Schema         string // folder of core.ldif and its like; empty = that of Debian
	Cert, Key      string // PEM files: certificate of the server and its key; both empty = no TLS
	CA             string // PEM file: authorities of client certificates; empty = none
	MaxBytes       int64  // bound of the database file; 0 = 1 GiB
}

// Render returns the LDIF of cn=config for slapadd -n0. A value that would break out of its line is an error that wraps
// ErrValue.
func (c Config) Render() (string, error) {
	suffix, err := normal(c.Suffix)
	if err != nil {
		return "", err
	}
	c.Suffix = suffix
	for _, d := range []struct {
		field *string
		value string
	}{{&c.RootDN, "cn=root," + suffix}, {&c.Modules, "/usr/lib/ldap"}, {&c.Schema, "/etc/ldap/schema"}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 30
	}
	values := []string{c.RootDN, c.RootPassword, c.ConfigPassword, c.Run, c.Data, c.Modules, c.Schema}
	if c.Cert != "" || c.Key != "" || c.CA != "" {
		values = append(values, c.Cert, c.Key)
	}
	if c.CA != "" {
		values = append(values, c.CA)
	}
	for _, v := range values {
		if err := check(v); err != nil {
			return "", err
		}
	}
	var b strings.Builder
	err = configTemplate.Execute(&b, struct {
		Config
		SuffixRegexp, Own string
	}{c, regexp.QuoteMeta(suffix), schema.LDIF})
	if err != nil {
		return "", fmt.Errorf("render cn=config: %w", err)
	}
	return b.String(), nil
}

// A Peer is a local account that becomes a service entry when it binds by SASL EXTERNAL over ldapi. Never map uid 0 on
// Debian: its slapd gives root `manage` on cn=config by exactly that identity, and every program of root would become
// the service.
type Peer struct {
	UID, GID int
	DN       string
}

// Authz returns the change of cn=config, for ldapmodify after the first start, that maps the given local accounts, and
// client certificates by their e-mail address, to entries.
func Authz(suffix string, peers ...Peer) (string, error) {
	suffix, err := normal(suffix)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("dn: cn=config\nchangetype: modify\nreplace: olcAuthzRegexp\n")
	for i, p := range peers {
		if err := check(p.DN); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "olcAuthzRegexp: {%d}^gidNumber=%d\\+uidNumber=%d,cn=peercred,cn=external,cn=auth$ %s\n", i, p.GID, p.UID, p.DN)
	}
	fmt.Fprintf(&b, "olcAuthzRegexp: {%d}^email=([^,]+),cn=[^,]+$ ldap:///ou=people,%s??sub?(%s=$1)\n", len(peers), suffix, schema.AttrDpCertEmail)
	return b.String(), nil
}

// normal returns a suffix as slapd compares it, lower case and without blanks behind commas: the regular expressions of
// the access rules are matched against that form.
func normal(suffix string) (string, error) {
	if suffix == "" || !strings.Contains(suffix, "=") || strings.ContainsAny(suffix, "\"\\+<>;") {
		return "", fmt.Errorf("%w: suffix %q", ErrValue, suffix)
	}
	rdns := strings.Split(strings.ToLower(suffix), ",")
	for i, rdn := range rdns {
		rdns[i] = strings.TrimSpace(rdn)
	}
	return strings.Join(rdns, ","), check(suffix)
}

// check refuses what would end the line, or be taken for base64 or a file name, in LDIF.
func check(value string) error {
	if value == "" || strings.IndexFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 || strings.ContainsRune(" :<", rune(value[0])) {
		return fmt.Errorf("%w: %q is empty or not printable ASCII", ErrValue, value)
	}
	return nil
}
