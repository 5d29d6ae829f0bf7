package schema_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/schema"
	"github.com/dirpost/dirpost/schema/slapdtest"
)

// slapd loads our definitions, and understands them as we do: what it publishes reads back equal.
func TestSlapdLoads(t *testing.T) {
	t.Parallel()
	s := slapdtest.Start(t, slapdtest.Options{})
	c, err := ldap.DialURL(s.URI)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	result, err := c.Search(ldap.NewSearchRequest("cn=Subschema", ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{"attributeTypes", "objectClasses"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	published := schema.New()
	for _, kind := range [][2]string{{"attributeTypes", "attributetype"}, {"objectClasses", "objectclass"}} {
		for _, v := range result.Entries[0].GetEqualFoldAttributeValues(kind[0]) {
			// One that refers to a later one fails here; ours do not, which is seen below.
			if err := published.Parse(kind[1] + " " + v + "\n"); err != nil && strings.Contains(v, "NAME 'dp") {
				t.Error(err)
			}
		}
	}
	own := 0
	for _, want := range schema.Load().AttributeTypes {
		if !strings.HasPrefix(want.Name(), "dp") {
			continue
		}
		own++
		got := published.Attribute(want.Name())
		if got == nil {
			t.Errorf("slapd has no %s", want.Name())
		} else if g, w := fmt.Sprintf("%+v", *got), fmt.Sprintf("%+v", *want); g != w {
			t.Errorf("slapd has %s, want %s", g, w)
		}
	}
	for _, want := range schema.Load().ObjectClasses {
		if !strings.HasPrefix(want.Name(), "dp") {
			continue
		}
		own++
		got := published.Class(want.Name())
		if got == nil {
			t.Errorf("slapd has no %s", want.Name())
		} else if g, w := fmt.Sprintf("%+v", *got), fmt.Sprintf("%+v", *want); g != w {
			t.Errorf("slapd has %s, want %s", g, w)
		}
	}
	if own != 48 {
		t.Errorf("%d definitions of ours, want 40 attribute types and 8 classes", own)
	}
}

// The .schema form loads too, in a slapd.conf.
func TestSchemaFileLoads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "dirpost.schema")
	conf := filepath.Join(dir, "slapd.conf")
	var text strings.Builder
	for _, name := range []string{"core", "cosine", "inetorgperson", "misc"} {
		fmt.Fprintf(&text, "include /etc/ldap/schema/%s.schema\n", name)
	}
	fmt.Fprintf(&text, "include %s\n", file)
	for name, content := range map[string]string{file: schema.OpenLDAP, conf: text.String()} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("/usr/sbin/slaptest", "-u", "-f", conf).CombinedOutput(); err != nil {
		t.Errorf("slaptest: %v\n%s(without slaptest: apt-get install slapd)", err, out)
	}
}
